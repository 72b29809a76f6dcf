/* ext/listener.c -- a listening socket that makes transports.
 *
 * One multi accept is pending while it listens. For each connection the protocol is made and its transport, within
 * the poll, in a copy of the context in which listening began; connection_made() comes in the drain. How many are
 * accepted in a turn is the backend's budget.
 *
 * Out of descriptors or memory: the loop's exception handler is told, and the server's `_retry` called, which has it
 * listen again after a second, as asyncio does. What concerns one connection only is passed over.
 *
 * The descriptor is the socket object's, which the server closes; the backend has it only while we listen.
 */
#include "ext/listener.h"

#include "ext/compat.h"
#include "ext/state.h"
#include "ext/transport.h"

#include <stddef.h>
#include <structmember.h>

typedef struct ListenerObject {
    PyObject_HEAD
    LoopObject *loop;
    PyObject *sock;
    PyObject *factory;
    PyObject *server;
    PyObject *context;
    struct iora__link in_loop; /* while it listens; a reference */
    struct iora__op accept;
    iora_address peer;
    int fd;
} ListenerObject;

static bool
is_listening(const ListenerObject *listener)
{
    return iora__link_is_linked(&listener->in_loop);
}

static void
stop(ListenerObject *listener)
{
    LoopObject *const loop = listener->loop;

    if (!is_listening(listener))
        return;
    iora__list_remove(&listener->in_loop);
    if (listener->accept._state != IORA__OP_IDLE)
        (void)iora__op_cancel(loop->core, &listener->accept);
    /* A transport that has the number: the socket was closed, and it is no more ours. */
    if (loop->descriptors[listener->fd].transport == NULL &&
        !iora__loop_release(loop, listener->fd)) {
        PyObject *const result = PyObject_CallMethod(listener->sock, "detach", NULL);

        if (result == NULL)
            PyErr_WriteUnraisable((PyObject *)listener);
        Py_XDECREF(result);
    }
    Py_DECREF(listener); /* the caller has another */
}

/* ---- connections ---------------------------------------------------------------------------------- */

static void
report_failed(ListenerObject *listener, PyObject *protocol)
{
    LoopObject *const loop = listener->loop;
    PyObject *exception, *details, *result = NULL;

    if (iora__must_leave()) {
        iora__loop_keep_exception(loop);
        return;
    }
    exception = iora__take_exception();
    if (!loop->debug) {
        Py_DECREF(exception);
        return;
    }
    details =
        Py_BuildValue("{s:s,s:O}", "message", "Error on transport creation for incoming connection",
                      "exception", exception);
    if (details != NULL &&
        (protocol == NULL || PyDict_SetItemString(details, "protocol", protocol) == 0))
        result = iora__loop_tell_handler(loop, exception, details);
    if (result == NULL)
        iora__loop_keep_exception(loop);
    Py_XDECREF(result);
    Py_XDECREF(details);
    Py_DECREF(exception);
}

static void
begin_connection(ListenerObject *listener, int fd)
{
    LoopObject *const loop = listener->loop;
    PyObject *const context = PyContext_Copy(listener->context);
    PyObject *protocol = NULL;
    TransportObject *transport = NULL;

    if (context != NULL && PyContext_Enter(context) == 0) {
        if ((protocol = PyObject_CallNoArgs(listener->factory)) != NULL)
            transport = iora__transport_new(loop, fd, NULL, protocol, context, listener->server,
                                            &listener->peer);
        (void)PyContext_Exit(context);
    }
    if (transport == NULL) {
        iora__sockets_of(loop)->close(loop->core->backend_state, fd);
        report_failed(listener, protocol);
    }
    Py_XDECREF(protocol);
    Py_XDECREF(transport);
    Py_XDECREF(context);
}

/* ---- what goes wrong -------------------------------------------------------------------------------- */

static bool
is_exhausted(int code)
{
    return code == -EMFILE || code == -ENFILE || code == -ENOBUFS || code == -ENOMEM;
}

/* What accept(2) tells of the connection that it would have given. */
static bool
concerns_one(int code)
{
    return code == -ECONNABORTED || code == -EPROTO || code == -ENETDOWN || code == -ENOPROTOOPT ||
           code == -EHOSTDOWN || code == -ENONET || code == -EHOSTUNREACH || code == -ENETUNREACH ||
           code == -EOPNOTSUPP;
}

static int
submit(ListenerObject *listener)
{
    return iora__op_submit(listener->loop->core, &listener->accept);
}

static void
fail(ListenerObject *listener, int code)
{
    LoopObject *const loop = listener->loop;
    PyObject *exception, *result;

    if (concerns_one(code) && submit(listener) >= 0)
        return;
    stop(listener);
    exception = iora__os_error(code);
    result = PyObject_CallMethod(listener->server, is_exhausted(code) ? "_retry" : "_give_up",
                                 "OOO", listener, listener->sock, exception);
    Py_DECREF(exception);
    if (result == NULL)
        iora__loop_keep_exception(loop);
    Py_XDECREF(result);
}

static void
accepted(struct iora__op *op)
{
    ListenerObject *const listener = iora__container_of(op, ListenerObject, accept);
    LoopObject *const loop = listener->loop;

    iora__loop_take_gil(loop);
    Py_INCREF(listener);
    if (op->_res >= 0)
        begin_connection(listener, op->_res);
    else
        fail(listener, op->_res);
    if (loop->write_policy == IORA__WRITE_PER_CALLBACK)
        iora__loop_flush(loop);
    Py_DECREF(listener);
}

/* ---- what Python calls --------------------------------------------------------------------------------- */

static PyObject *
listener_start(ListenerObject *listener, PyObject *unused)
{
    LoopObject *const loop = listener->loop;
    int rc;

    (void)unused;
    if (is_listening(listener))
        Py_RETURN_NONE;
    if (iora__loop_check_closed(loop) < 0 ||
        (listener->fd = PyObject_AsFileDescriptor(listener->sock)) < 0 ||
        iora__loop_adopt(loop, listener->sock, listener->fd) < 0)
        return NULL;
    listener->accept = (struct iora__op){._done = accepted,
                                         ._fd = listener->fd,
                                         ._kind = IORA__OP_ACCEPT,
                                         ._flags = IORA__OP_MULTI,
                                         ._base = &listener->peer};
    if ((rc = submit(listener)) < 0) {
        iora__sockets_of(loop)->release(loop->core->backend_state, listener->fd);
        (void)iora__raise(rc);
        return NULL;
    }
    iora__list_push_tail(&loop->listeners, &listener->in_loop);
    Py_INCREF(listener);
    Py_RETURN_NONE;
}

static PyObject *
listener_stop(ListenerObject *listener, PyObject *unused)
{
    (void)unused;
    stop(listener);
    Py_RETURN_NONE;
}

PyObject *
iora__loop_listen(LoopObject *loop, PyObject *const *args, Py_ssize_t n)
{
    ListenerObject *listener;

    if (n != 3) {
        PyErr_SetString(PyExc_TypeError, "_listen() takes three arguments");
        return NULL;
    }
    listener =
        (ListenerObject *)loop->state->listener_type->tp_alloc(loop->state->listener_type, 0);
    if (listener == NULL)
        return NULL;
    listener->loop = (LoopObject *)Py_NewRef((PyObject *)loop);
    listener->sock = Py_NewRef(args[0]);
    listener->factory = Py_NewRef(args[1]);
    listener->server = Py_NewRef(args[2]);
    if ((listener->context = PyContext_CopyCurrent()) == NULL) {
        Py_DECREF(listener);
        return NULL;
    }
    return (PyObject *)listener;
}

void
iora__loop_drop_listeners(LoopObject *loop)
{
    while (!iora__list_is_empty(&loop->listeners)) {
        ListenerObject *const listener =
            iora__container_of(loop->listeners._next, ListenerObject, in_loop);

        Py_INCREF(listener);
        stop(listener);
        Py_DECREF(listener);
    }
}

int
iora__loop_traverse_listeners(LoopObject *loop, visitproc visit, void *arg)
{
    for (struct iora__link *at = loop->listeners._next; at != NULL && at != &loop->listeners;
         at = at->_next)
        Py_VISIT(iora__container_of(at, ListenerObject, in_loop));
    return 0;
}

static int
listener_traverse(ListenerObject *listener, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(listener));
    Py_VISIT(listener->loop);
    Py_VISIT(listener->sock);
    Py_VISIT(listener->factory);
    Py_VISIT(listener->server);
    Py_VISIT(listener->context);
    return 0;
}

/* Not the loop, which the methods need. */
static int
listener_clear(ListenerObject *listener)
{
    Py_CLEAR(listener->factory);
    Py_CLEAR(listener->server);
    return 0;
}

static void
listener_dealloc(ListenerObject *listener)
{
    PyTypeObject *const type = Py_TYPE(listener);

    PyObject_GC_UnTrack(listener);
    (void)listener_clear(listener);
    Py_XDECREF(listener->sock);
    Py_XDECREF(listener->context);
    Py_XDECREF(listener->loop);
    type->tp_free((PyObject *)listener);
    Py_DECREF(type);
}

static PyMethodDef listener_methods[] = {
    {"start", (PyCFunction)listener_start, METH_NOARGS, NULL},
    {"stop", (PyCFunction)listener_stop, METH_NOARGS, NULL},
    {0},
};

static PyMemberDef listener_members[] = {
    {"sock", T_OBJECT, offsetof(ListenerObject, sock), READONLY, NULL},
    {0},
};

static PyType_Slot listener_slots[] = {
    {Py_tp_dealloc, listener_dealloc}, {Py_tp_traverse, listener_traverse},
    {Py_tp_clear, listener_clear},     {Py_tp_methods, listener_methods},
    {Py_tp_members, listener_members}, {0},
};

static PyType_Spec listener_spec = {
    .name = "iora._c.Listener",
    .basicsize = sizeof(ListenerObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = listener_slots,
};

int
iora__listener_add_type(PyObject *module, struct state *state)
{
    state->listener_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &listener_spec, NULL);
    return state->listener_type == NULL ? -1 : 0;
}
