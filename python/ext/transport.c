/* ext/transport.c -- a connected stream socket under a protocol: TCP and Unix alike.
 *
 * The descriptor has one owner at a time:
 *
 *     the backend   from the accept or the adoption on; the transport says when it is closed
 *     a socket      an object of Python's, once there is one: it was given by the user, or somebody asked for
 *                   get_extra_info('socket'). Then the backend gives the descriptor back (release) and the object
 *                   closes it, so that it shows -1 afterwards, as asyncio's do
 *
 * Connections that nobody asks for their socket never have the object. Addresses are kept as the kernel gave
 * them, and become tuples when asked for.
 *
 * A socket that is closed behind our back takes its number with it, and the number may be given to a new
 * descriptor at once. The loop's table says whose a number is. Whoever takes one over finds the former owner there,
 * which then has lost its connection (EBADF) and touches the number no more. And before a socket object is closed
 * it is asked whether the number is still its.
 *
 *     made --- connection_made --- reading <---> paused
 *                                     |  close(), end of stream, an error, abort()
 *                                  closing: what is queued is still sent, nothing is read
 *                                     |  the queue is empty, or given up
 *                                   lost (conn_lost > 0) --- next turn: connection_lost() --- closed
 *
 * Invariants:
 * (1) A pending op references its transport, and the collector hears of it from the loop.
 * (2) SystemExit and KeyboardInterrupt out of a protocol are kept (iora__loop_keep_exception) and leave the loop at
 *     the drain: the poll goes on, and others get their bytes.
 * (3) After connection_lost() nothing of the protocol is called.
 *
 * The class is derived from asyncio.Transport, for those who ask isinstance(). It is the C type that derives, since
 * asyncio.BaseTransport has a slot, with which a second base in C would not fit: the slot is our first field. Traverse
 * and dealloc are ours alone and do not chain up, which would hang the collector.
 */
#include "ext/transport.h"

#include "ext/compat.h"
#include "ext/function.h"
#include "ext/state.h"
#include "ext/streams.h"
#include "ext/table.h"

#include "sys/sys.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <structmember.h>
#include <sys/un.h>

enum { HIGH_WATER = 64 * 1024 };

static void *
backend_of(const TransportObject *transport)
{
    return transport->loop->core->backend_state;
}

/* ---- errors --------------------------------------------------------------------------------------- */

bool
iora__must_leave(void)
{
    return PyErr_ExceptionMatches(PyExc_SystemExit) ||
           PyErr_ExceptionMatches(PyExc_KeyboardInterrupt);
}

void
iora__transport_report(TransportObject *transport, const char *message, PyObject *exception)
{
    PyObject *const details = Py_BuildValue(
        "{s:s,s:O,s:O,s:O}", "message", message, "exception", exception, "transport", transport,
        "protocol", transport->protocol != NULL ? transport->protocol : Py_None);
    PyObject *const result =
        details != NULL ? iora__loop_tell_handler(transport->loop, exception, details) : NULL;

    Py_XDECREF(details);
    if (result == NULL)
        iora__loop_keep_exception(transport->loop);
    Py_XDECREF(result);
}

PyObject *
iora__os_error(int code)
{
    (void)iora__raise(code);
    return iora__take_exception();
}

int
iora__transport_say(TransportObject *transport, const char *format)
{
    PyObject *result;

    if (!transport->loop->debug)
        return 0;
    result = PyObject_CallMethod(transport->loop->state->logger, "debug", "sO", format, transport);
    if (result == NULL)
        PyErr_WriteUnraisable((PyObject *)transport);
    Py_XDECREF(result);
    return 0;
}

PyObject *
iora__transport_done(TransportObject *transport)
{
    return iora__loop_raise_kept(transport->loop) < 0 ? NULL : Py_NewRef(Py_None);
}

/* ---- whose the descriptor is ------------------------------------------------------------------------ */

static void
leave_table(TransportObject *transport)
{
    struct descriptor *const entry = &transport->loop->descriptors[transport->fd];

    IORA__KNOWN(iora__link_is_linked(&transport->in_loop)); /* it leaves once */
    iora__list_remove(&transport->in_loop);
    if (entry->transport == (PyObject *)transport)
        entry->transport = NULL;
}

static int
force_close(TransportObject *transport, PyObject *exception, PyObject *context)
{
    int rc;

    if (transport->conn_lost > 0 || transport->protocol == NULL)
        return 0;
    iora__transport_stop(transport, &transport->send, &transport->is_sending);
    if (!transport->is_sending)
        iora__transport_drop_pieces(transport);
    transport->is_closing = true;
    iora__transport_stop_reading(transport);
    rc = iora__transport_lose(transport, exception, context);
    if (!transport->is_sending)
        Py_CLEAR(transport->send_context); /* last: that may run anything */
    return rc;
}

bool
iora__loop_release(LoopObject *loop, int fd)
{
    if (iora__loop_is_forked(loop->core))
        return false;
    iora__sockets_of(loop)->release(loop->core->backend_state, fd);
    return true;
}

/* The number is another's now, or nobody's. */
static void
lose_number(TransportObject *transport)
{
    PyObject *const exception = iora__os_error(-EBADF);

    Py_INCREF(transport);
    leave_table(transport);
    transport->owning = IORA__FD_GONE;
    if (force_close(transport, exception, transport->context) < 0)
        PyErr_WriteUnraisable((PyObject *)transport);
    Py_DECREF(transport);
    Py_DECREF(exception);
}

/* Whether a socket object still has the number; -1. */
static int
is_number_of(PyObject *sock, int fd)
{
    PyObject *const number = PyObject_CallMethod(sock, "fileno", NULL);
    const int has = number == NULL ? -1 : PyLong_AsLong(number) == fd;

    Py_XDECREF(number);
    return has;
}

int
iora__loop_adopt(LoopObject *loop, PyObject *sock, int fd)
{
    const struct iora__sockets *const sockets = iora__sockets_of(loop);
    TransportObject *owner;
    int rc, has;

    if (iora__loop_make_room(loop, fd) < 0)
        return -1;
    owner = (TransportObject *)loop->descriptors[fd].transport;
    if (owner != NULL) {
        if (owner->sock == NULL || owner->sock == sock)
            has = 1;
        else if ((has = is_number_of(owner->sock, fd)) < 0)
            return -1;
        if (has) {
            PyErr_Format(PyExc_RuntimeError, "File descriptor %d is used by transport %R", fd,
                         owner);
            return -1;
        }
        lose_number(owner);
        sockets->release(loop->core->backend_state, fd);
    }
    rc = sockets->adopt(loop->core->backend_state, fd);
    return rc < 0 ? iora__raise(rc) : 0;
}

static int
enter_table(TransportObject *transport)
{
    LoopObject *const loop = transport->loop;
    TransportObject *former;

    if (iora__loop_make_room(loop, transport->fd) < 0)
        return -1;
    former = (TransportObject *)loop->descriptors[transport->fd].transport;
    if (former != NULL)
        lose_number(former);
    loop->descriptors[transport->fd].transport = (PyObject *)transport;
    iora__list_push_tail(&loop->transports, &transport->in_loop);
    transport->owning = IORA__FD_ADOPTED;
    return 0;
}

int
iora__transport_check_free(PyObject *object, PyObject *fd)
{
    if (object == NULL || ((TransportObject *)object)->is_closing)
        return 0;
    PyErr_Format(PyExc_RuntimeError, "File descriptor %R is used by transport %R", fd, object);
    return -1;
}

static int
close_socket(TransportObject *transport, bool was_adopted)
{
    PyObject *const sock = transport->sock;
    const int has = is_number_of(sock, transport->fd);
    const bool is_left = was_adopted && !iora__loop_release(transport->loop, transport->fd);
    PyObject *result;

    if (has <= 0)
        return has;
    result = PyObject_CallMethod(sock, is_left ? "detach" : "close", NULL);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static int
close_descriptor(TransportObject *transport)
{
    const uint8_t owning = transport->owning;

    if (owning == IORA__FD_GONE)
        return 0;
    if (owning == IORA__FD_ADOPTED)
        leave_table(transport);
    transport->owning = IORA__FD_GONE;
    if (transport->sock != NULL)
        return close_socket(transport, owning == IORA__FD_ADOPTED);
    if (owning == IORA__FD_BARE || iora__loop_release(transport->loop, transport->fd))
        iora__sys_close(transport->fd);
    return 0;
}

/* ---- the end ---------------------------------------------------------------------------------------- */

void
iora__transport_stop(TransportObject *transport, struct iora__op *op, bool *is_pending)
{
    if (!*is_pending)
        return;
    if (iora__op_cancel(transport->loop->core, op) != IORA__OP_DONE)
        return; /* its `_done` will come */
    *is_pending = false;
    Py_DECREF(transport); /* the caller has another */
}

static int
schedule_lost(TransportObject *transport, PyObject *exception, PyObject *context)
{
    PyObject *const args[] = {exception};
    PyObject *const method = PyObject_GetAttrString((PyObject *)transport, "_call_connection_lost");
    HandleObject *handle;

    if (method == NULL)
        return -1;
    handle = iora__handle_new(transport->loop, method, args, 1, context);
    Py_DECREF(method);
    return handle == NULL ? -1 : iora__loop_push(transport->loop, handle);
}

/* For want of memory nobody may be left with a connection that is lost, and its descriptor: the next flush, which is
 * before the loop waits, tries again. */
int
iora__transport_lose(TransportObject *transport, PyObject *exception, PyObject *context)
{
    transport->conn_lost++;
    if (iora__loop_check_closed(transport->loop) < 0)
        return -1;
    if (schedule_lost(transport, exception, context) == 0)
        return 0;
    if (!PyErr_ExceptionMatches(PyExc_MemoryError))
        return -1;
    PyErr_Clear();
    transport->lost_by = Py_NewRef(exception);
    if (!iora__link_is_linked(&transport->in_unsent)) {
        iora__list_push_tail(&transport->loop->unsent, &transport->in_unsent);
        Py_INCREF(transport);
    }
    return 0;
}

bool
iora__transport_lose_at_last(TransportObject *transport)
{
    if (transport->lost_by == NULL)
        return true;
    if (schedule_lost(transport, transport->lost_by, transport->context) < 0) {
        PyErr_Clear();
        return false;
    }
    Py_CLEAR(transport->lost_by);
    return true;
}

void
iora__transport_fail(TransportObject *transport, PyObject *exception, const char *message)
{
    if (!PyErr_GivenExceptionMatches(exception, PyExc_OSError))
        iora__transport_report(transport, message, exception);
    else
        (void)iora__transport_say(transport, "%r: a fatal error on the socket");
    if (force_close(transport, exception, transport->context) < 0)
        PyErr_WriteUnraisable((PyObject *)transport);
    Py_DECREF(exception);
}

void
iora__transport_fail_by_protocol(TransportObject *transport, const char *message)
{
    if (iora__must_leave())
        iora__loop_keep_exception(transport->loop);
    else
        iora__transport_fail(transport, iora__take_exception(), message);
}

int
iora__transport_close(TransportObject *transport, PyObject *context)
{
    if (transport->is_closing)
        return 0;
    iora__transport_flush(transport);
    if (transport->is_closing) /* that has failed */
        return 0;
    transport->is_closing = true;
    iora__transport_stop_reading(transport);
    return transport->count == 0 && transport->conn_lost == 0
               ? iora__transport_lose(transport, Py_None, context)
               : 0;
}

/* Whatever is raised stays so. */
static void
detach_from_server(TransportObject *transport)
{
    PyObject *const server = transport->server;
    PyObject *result, *raised;

    if (server == NULL)
        return;
    transport->server = NULL;
    raised = PyErr_Occurred() ? iora__take_exception() : NULL;
    result = PyObject_CallMethodNoArgs(server, transport->loop->state->str__detach);
    if (result == NULL)
        PyErr_WriteUnraisable(server);
    Py_XDECREF(result);
    Py_DECREF(server);
    if (raised != NULL)
        iora__raise_exception(raised);
}

/* By the loop, one turn after the connection was lost. */
static PyObject *
transport_call_connection_lost(TransportObject *transport, PyObject *exception)
{
    PyObject *const protocol = transport->protocol;
    PyObject *result = Py_NewRef(Py_None), *raised = NULL;

    if (protocol != NULL)
        Py_XSETREF(result, PyObject_CallMethodOneArg(
                               protocol, transport->loop->state->str_connection_lost, exception));
    if (result == NULL)
        raised = iora__take_exception();
    if (close_descriptor(transport) < 0)
        PyErr_WriteUnraisable((PyObject *)transport);
    Py_CLEAR(transport->protocol);
    detach_from_server(transport);
    if (raised != NULL)
        iora__raise_exception(raised);
    return result;
}

/* ---- what can be asked ------------------------------------------------------------------------------------ */

static PyObject *
address_of_path(const struct sockaddr_un *address, socklen_t length)
{
    const size_t size = length > offsetof(struct sockaddr_un, sun_path)
                            ? length - offsetof(struct sockaddr_un, sun_path)
                            : 0;

    if (size > 0 && address->sun_path[0] == '\0')
        return PyBytes_FromStringAndSize(address->sun_path, (Py_ssize_t)size);
    return PyUnicode_DecodeFSDefaultAndSize(address->sun_path,
                                            (Py_ssize_t)strnlen(address->sun_path, size));
}

/* As the socket module says it; NULL for a family of which we know nothing. */
static PyObject *
address_of(const struct sockaddr *address, socklen_t length)
{
    const struct sockaddr_in *const ip4 = (const void *)address;
    const struct sockaddr_in6 *const ip6 = (const void *)address;
    char host[INET6_ADDRSTRLEN];

    switch (address->sa_family) {
    case AF_INET:
        (void)inet_ntop(AF_INET, &ip4->sin_addr, host, sizeof host);
        return Py_BuildValue("(si)", host, (int)ntohs(ip4->sin_port));
    case AF_INET6:
        (void)inet_ntop(AF_INET6, &ip6->sin6_addr, host, sizeof host);
        return Py_BuildValue("(siII)", host, (int)ntohs(ip6->sin6_port),
                             (unsigned)ntohl(ip6->sin6_flowinfo), (unsigned)ip6->sin6_scope_id);
    case AF_UNIX:
        return address_of_path((const void *)address, length);
    default:
        return Py_NewRef(Py_None);
    }
}

static int
note_extra(TransportObject *transport, const char *key, PyObject *value)
{
    int rc = -1;

    if (value != NULL && (transport->extra != NULL || (transport->extra = PyDict_New()) != NULL))
        rc = PyDict_SetItemString(transport->extra, key, value);
    Py_XDECREF(value);
    return rc;
}

/* Keep a name: of the usual families as it is, of others as what Python makes of it. */
static int
keep_name(TransportObject *transport, union iora__name *name, const char *key,
          const struct sockaddr *address, socklen_t length)
{
    if (length > 0 && length <= sizeof *name &&
        (address->sa_family == AF_INET || address->sa_family == AF_INET6)) {
        memcpy(name, address, length);
        return 0;
    }
    if (transport->extra != NULL && PyDict_GetItemString(transport->extra, key) != NULL)
        return 0;
    return note_extra(transport, key,
                      length > 0 ? address_of(address, length) : Py_NewRef(Py_None));
}

static int
ask_name(TransportObject *transport, bool peer)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    const int rc = iora__sockets_of(transport->loop)
                       ->name(backend_of(transport), transport->fd, peer,
                              (struct sockaddr *)&address, &length);

    return keep_name(transport, peer ? &transport->peer_name : &transport->own_name,
                     peer ? "peername" : "sockname", (struct sockaddr *)&address,
                     rc < 0 ? 0 : length);
}

static PyObject *
name_as_extra(TransportObject *transport, const union iora__name *name, const char *key)
{
    if (name->family != 0 &&
        note_extra(transport, key, address_of((const void *)name, sizeof *name)) < 0)
        return NULL;
    return transport->extra != NULL ? PyDict_GetItemString(transport->extra, key) : NULL;
}

/* The socket object, made if there is none: from then on it closes the descriptor. Borrowed; NULL without an
 * exception if there can be none. */
static PyObject *
socket_of(TransportObject *transport)
{
    const int family = transport->own_name.family != 0 ? transport->own_name.family : AF_UNIX;
    PyObject *result;

    if (transport->sock != NULL || transport->owning == IORA__FD_GONE)
        return transport->sock;
    transport->sock =
        PyObject_CallFunction(transport->loop->state->socket_type, "iiii", family, SOCK_STREAM,
                              family == AF_UNIX ? 0 : IPPROTO_TCP, transport->fd);
    if (transport->sock == NULL)
        return NULL;
    if ((result = PyObject_CallMethod(transport->sock, "setblocking", "O", Py_False)) == NULL)
        return NULL;
    Py_DECREF(result);
    return transport->sock;
}

static PyObject *
socket_as_extra(TransportObject *transport)
{
    PyObject *const sock = socket_of(transport);

    if (sock == NULL ||
        note_extra(transport, "socket",
                   PyObject_CallOneArg(transport->loop->state->transport_socket, sock)) < 0)
        return NULL;
    return PyDict_GetItemString(transport->extra, "socket");
}

/* Borrowed; NULL with or without an exception. */
static PyObject *
find_extra(TransportObject *transport, PyObject *name)
{
    PyObject *value = NULL;

    if (transport->extra != NULL &&
        ((value = PyDict_GetItemWithError(transport->extra, name)) != NULL || PyErr_Occurred()))
        return value;
    if (!PyUnicode_Check(name))
        return NULL;
    if (PyUnicode_CompareWithASCIIString(name, "socket") == 0)
        return socket_as_extra(transport);
    if (PyUnicode_CompareWithASCIIString(name, "peername") == 0)
        return name_as_extra(transport, &transport->peer_name, "peername");
    if (PyUnicode_CompareWithASCIIString(name, "sockname") == 0)
        return name_as_extra(transport, &transport->own_name, "sockname");
    return NULL;
}

static PyObject *
transport_get_extra_info(TransportObject *transport, PyObject *const *args, Py_ssize_t n,
                         PyObject *names)
{
    static const char *const parameters[] = {"name", "default", NULL};
    PyObject *given[] = {NULL, Py_None}, *value;

    if (iora__take_args("get_extra_info", parameters, 1, args, n, names, given) < 0)
        return NULL;
    value = find_extra(transport, given[0]);
    if (value == NULL && PyErr_Occurred())
        return NULL;
    return Py_NewRef(value != NULL ? value : given[1]);
}

static PyObject *
get_extra(TransportObject *transport, void *unused)
{
    (void)unused;
    if (socket_as_extra(transport) == NULL && PyErr_Occurred())
        return NULL;
    if (name_as_extra(transport, &transport->peer_name, "peername") == NULL && PyErr_Occurred())
        return NULL;
    if (name_as_extra(transport, &transport->own_name, "sockname") == NULL && PyErr_Occurred())
        return NULL;
    if (transport->extra == NULL)
        transport->extra = PyDict_New();
    return Py_XNewRef(transport->extra);
}

static PyObject *
get_sock(TransportObject *transport, void *unused)
{
    PyObject *const sock = transport->owning == IORA__FD_GONE ? Py_None : socket_of(transport);

    (void)unused;
    return Py_XNewRef(sock);
}

static PyObject *
get_protocol(TransportObject *transport, void *unused)
{
    (void)unused;
    return Py_NewRef(transport->protocol != NULL ? transport->protocol : Py_None);
}

static PyObject *
transport_get_protocol(TransportObject *transport, PyObject *unused)
{
    (void)unused;
    return get_protocol(transport, NULL);
}

static PyObject *
transport_repr(TransportObject *transport)
{
    const char *const name = strrchr(Py_TYPE(transport)->tp_name, '.');

    if (transport->owning == IORA__FD_GONE)
        return PyUnicode_FromFormat("<%s closed fd=%d>", name + 1, transport->fd);
    return PyUnicode_FromFormat("<%s %sfd=%d read=%s write=<%s, bufsize=%zu>>", name + 1,
                                transport->is_closing ? "closing " : "", transport->fd,
                                transport->is_receiving ? "polling" : "idle",
                                transport->is_sending ? "polling" : "idle", transport->queued);
}

/* ---- what it can be told -------------------------------------------------------------------------------- */

static PyObject *
transport_close(TransportObject *transport, PyObject *unused)
{
    (void)unused;
    return iora__transport_close(transport, NULL) < 0 ? NULL : iora__transport_done(transport);
}

static PyObject *
transport_abort(TransportObject *transport, PyObject *unused)
{
    (void)unused;
    iora__transport_flush(transport);
    return force_close(transport, Py_None, NULL) < 0 ? NULL : iora__transport_done(transport);
}

static PyObject *
transport_pause_reading(TransportObject *transport, PyObject *unused)
{
    (void)unused;
    if (transport->is_closing || transport->is_paused)
        Py_RETURN_NONE;
    transport->is_paused = true;
    iora__transport_stop_reading(transport);
    (void)iora__transport_say(transport, "%r pauses reading");
    Py_RETURN_NONE;
}

static PyObject *
transport_resume_reading(TransportObject *transport, PyObject *unused)
{
    PyObject *context;

    (void)unused;
    if (transport->is_closing || !transport->is_paused)
        Py_RETURN_NONE;
    if ((context = PyContext_CopyCurrent()) == NULL)
        return NULL;
    Py_SETREF(transport->context, context);
    transport->is_paused = false;
    iora__transport_start_reading(transport);
    (void)iora__transport_say(transport, "%r resumes reading");
    return iora__transport_done(transport);
}

static PyObject *
transport_start(TransportObject *transport, PyObject *unused)
{
    (void)unused;
    iora__transport_start_reading(transport);
    return iora__transport_done(transport);
}

static PyObject *
transport_is_reading(TransportObject *transport, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(!transport->is_paused && !transport->is_closing);
}

static PyObject *
transport_is_closing(TransportObject *transport, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(transport->is_closing);
}

static PyObject *
transport_can_write_eof(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    Py_RETURN_TRUE;
}

static PyObject *
transport_write(TransportObject *transport, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    PyObject *const data = iora__only_arg("write", "data", args, n, names);

    return data != NULL ? iora__transport_write(transport, data) : NULL;
}

static PyObject *
transport_writelines(TransportObject *transport, PyObject *const *args, Py_ssize_t n,
                     PyObject *names)
{
    PyObject *const list = iora__only_arg("writelines", "list_of_data", args, n, names);

    return list != NULL ? iora__transport_writelines(transport, list) : NULL;
}

static int
set_protocol(TransportObject *transport, PyObject *protocol)
{
    const int is_buffered =
        PyObject_IsInstance(protocol, transport->loop->state->buffered_protocol);

    const int is_stream = iora__stream_is_plain(transport->loop->state, protocol);

    if (is_buffered < 0 || is_stream < 0)
        return -1;
    transport->is_stream = is_stream;
    Py_XSETREF(transport->protocol, Py_NewRef(protocol));
    if (transport->is_buffered != (bool)is_buffered) {
        transport->is_buffered = is_buffered;
        iora__transport_retarget(transport);
    }
    return 0;
}

static PyObject *
transport_set_protocol(TransportObject *transport, PyObject *const *args, Py_ssize_t n,
                       PyObject *names)
{
    PyObject *const protocol = iora__only_arg("set_protocol", "protocol", args, n, names);

    return protocol == NULL || set_protocol(transport, protocol) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
transport_get_write_buffer_size(TransportObject *transport, PyObject *unused)
{
    (void)unused;
    iora__transport_flush(transport);
    return iora__loop_raise_kept(transport->loop) < 0 ? NULL : PyLong_FromSize_t(transport->queued);
}

static PyObject *
transport_get_write_buffer_limits(TransportObject *transport, PyObject *unused)
{
    (void)unused;
    return Py_BuildValue("(nn)", (Py_ssize_t)transport->low, (Py_ssize_t)transport->high);
}

static int
as_limit(PyObject *given, Py_ssize_t *limit)
{
    return given != Py_None ? iora__take_size(given, limit) : 0;
}

static PyObject *
transport_set_write_buffer_limits(TransportObject *transport, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"high", "low", NULL};
    PyObject *high_given = Py_None, *low_given = Py_None;
    Py_ssize_t high = HIGH_WATER, low = 0;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|OO:set_write_buffer_limits", names,
                                     &high_given, &low_given) ||
        as_limit(low_given, &low) < 0)
        return NULL;
    if (low_given != Py_None)
        high = low > PY_SSIZE_T_MAX / 4 ? PY_SSIZE_T_MAX : 4 * low;
    if (as_limit(high_given, &high) < 0)
        return NULL;
    if (low_given == Py_None)
        low = high / 4;
    if (!(high >= low && low >= 0)) {
        PyErr_Format(PyExc_ValueError, "high (%zd) must be >= low (%zd) must be >= 0", high, low);
        return NULL;
    }
    transport->high = (size_t)high;
    transport->low = (size_t)low;
    iora__transport_flush(transport);
    iora__transport_check_high(transport);
    return iora__transport_done(transport);
}

/* ---- making ------------------------------------------------------------------------------------------------- */

/* Have the loop call something soon; steals the callback. */
static int
call_soon(TransportObject *transport, PyObject *callback, PyObject *const *args, Py_ssize_t n)
{
    HandleObject *handle = NULL;

    if (callback != NULL)
        handle = iora__handle_new(transport->loop, callback, args, n, transport->context);
    Py_XDECREF(callback);
    return handle == NULL ? -1 : iora__loop_push(transport->loop, handle);
}

/* The protocol hears of the connection, then reading begins, then who waits for it is told. */
static int
begin(TransportObject *transport)
{
    PyObject *const self[] = {(PyObject *)transport};

    if (call_soon(
            transport,
            PyObject_GetAttr(transport->protocol, transport->loop->state->str_connection_made),
            self, 1) < 0)
        return -1;
    return call_soon(transport,
                     PyObject_GetAttr((PyObject *)transport, transport->loop->state->str__start),
                     NULL, 0);
}

static int
note_names(TransportObject *transport, const iora_address *peer)
{
    if (ask_name(transport, false) < 0)
        return -1;
    if (peer == NULL)
        return ask_name(transport, true);
    return keep_name(transport, &transport->peer_name, "peername",
                     (const struct sockaddr *)peer->bytes, peer->length);
}

static int
attach_to_server(TransportObject *transport, PyObject *server)
{
    PyObject *result;

    if (server == NULL)
        return 0;
    if ((result = PyObject_CallMethodNoArgs(server, transport->loop->state->str__attach)) == NULL)
        return -1;
    Py_DECREF(result);
    transport->server = Py_NewRef(server);
    return 0;
}

static void
send_small_packets(const TransportObject *transport)
{
    const int one = 1;

    if (transport->own_name.family != 0)
        (void)iora__sockets_of(transport->loop)
            ->set_option(backend_of(transport), transport->fd, IPPROTO_TCP, TCP_NODELAY, &one,
                         sizeof one); /* of use, not needed */
}

static TransportObject *
allocate(LoopObject *loop, int fd, PyObject *context)
{
    PyTypeObject *const type = loop->state->transport_type;
    TransportObject *const transport = (TransportObject *)type->tp_alloc(type, 0);

    if (transport == NULL)
        return NULL;
    transport->loop = (LoopObject *)Py_NewRef((PyObject *)loop);
    transport->context = Py_NewRef(context);
    transport->fd = fd;
    transport->pieces = transport->few;
    transport->capacity = IORA__FEW_PIECES;
    transport->high = HIGH_WATER;
    transport->low = HIGH_WATER / 4;
    return transport;
}

static TransportObject *
make(LoopObject *loop, int fd, PyObject *sock, PyObject *protocol, PyObject *context,
     PyObject *server, PyObject *extra, const iora_address *peer)
{
    TransportObject *const transport = allocate(loop, fd, context);

    if (transport == NULL)
        return NULL;
    if ((extra != NULL && (transport->extra = PyDict_Copy(extra)) == NULL) ||
        set_protocol(transport, protocol) < 0 || enter_table(transport) < 0)
        goto fail;
    if (note_names(transport, peer) < 0 || attach_to_server(transport, server) < 0)
        goto fail_table;
    transport->sock = Py_XNewRef(sock);
    send_small_packets(transport);
    if (begin(transport) == 0)
        return transport;
    Py_CLEAR(transport->sock);
    detach_from_server(transport);
fail_table:
    leave_table(transport);
    transport->owning = IORA__FD_GONE;
fail:
    Py_DECREF(transport);
    return NULL;
}

TransportObject *
iora__transport_new(LoopObject *loop, int fd, PyObject *sock, PyObject *protocol, PyObject *context,
                    PyObject *server, const iora_address *peer)
{
    return make(loop, fd, sock, protocol, context, server, NULL, peer);
}

static int
tell_waiter(TransportObject *transport, PyObject *waiter)
{
    PyObject *const args[] = {waiter, Py_None};

    return waiter == Py_None
               ? 0
               : call_soon(transport,
                           Py_NewRef(transport->loop->state->set_result_unless_cancelled), args, 2);
}

PyObject *
iora__loop_make_transport(LoopObject *loop, PyObject *const *args, Py_ssize_t n)
{
    TransportObject *transport = NULL;
    PyObject *context;
    int fd;

    if (n != 5) {
        PyErr_SetString(PyExc_TypeError, "_make_transport() takes five arguments");
        return NULL;
    }
    if (iora__loop_check_closed(loop) < 0 || (fd = PyObject_AsFileDescriptor(args[0])) < 0 ||
        iora__loop_adopt(loop, args[0], fd) < 0)
        return NULL;
    if ((context = PyContext_CopyCurrent()) != NULL)
        transport = make(loop, fd, args[0], args[1], context, args[4] != Py_None ? args[4] : NULL,
                         args[3] != Py_None ? args[3] : NULL, NULL);
    Py_XDECREF(context);
    if (transport == NULL) {
        iora__sockets_of(loop)->release(loop->core->backend_state, fd);
        return NULL;
    }
    if (tell_waiter(transport, args[2]) < 0) {
        (void)force_close(transport, Py_None, NULL);
        Py_DECREF(transport);
        return NULL;
    }
    return (PyObject *)transport;
}

/* ---- the loop's ---------------------------------------------------------------------------------------------- */

PyObject *
iora__loop_transports_of(LoopObject *loop, PyObject *server)
{
    PyObject *const list = PyList_New(0);

    for (struct iora__link *at = loop->transports._next;
         list != NULL && at != NULL && at != &loop->transports; at = at->_next) {
        TransportObject *const transport = iora__container_of(at, TransportObject, in_loop);

        if (transport->server == server && PyList_Append(list, (PyObject *)transport) < 0) {
            Py_DECREF(list);
            return NULL;
        }
    }
    return list;
}

void
iora__loop_drop_transports(LoopObject *loop)
{
    struct iora__link *link;

    while ((link = iora__list_pop(&loop->unsent)) != NULL)
        Py_DECREF(iora__container_of(link, TransportObject, in_unsent));
    while ((link = loop->transports._next) != &loop->transports) {
        TransportObject *const transport = iora__container_of(link, TransportObject, in_loop);

        Py_INCREF(transport);
        iora__transport_stop(transport, &transport->recv, &transport->is_receiving);
        iora__transport_stop(transport, &transport->send, &transport->is_sending);
        if (iora__loop_is_forked(loop->core)) {
            if (close_descriptor(transport) < 0)
                PyErr_WriteUnraisable((PyObject *)transport);
        } else {
            leave_table(transport);
            (void)iora__loop_release(loop, transport->fd);
            transport->owning = IORA__FD_BARE;
        }
        Py_DECREF(transport);
    }
}

int
iora__loop_traverse_transports(LoopObject *loop, visitproc visit, void *arg)
{
    for (struct iora__link *at = loop->transports._next; at != NULL && at != &loop->transports;
         at = at->_next) {
        TransportObject *const transport = iora__container_of(at, TransportObject, in_loop);

        if (transport->is_receiving)
            Py_VISIT(transport);
        if (transport->is_sending)
            Py_VISIT(transport);
        if (iora__link_is_linked(&transport->in_unsent))
            Py_VISIT(transport);
    }
    return 0;
}

/* ---- ending -------------------------------------------------------------------------------------------------- */

static int
transport_traverse(TransportObject *transport, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(transport));
    Py_VISIT(transport->extra);
    Py_VISIT(transport->loop);
    Py_VISIT(transport->protocol);
    Py_VISIT(transport->context);
    Py_VISIT(transport->send_context);
    Py_VISIT(transport->sock);
    Py_VISIT(transport->server);
    Py_VISIT(transport->dict);
    Py_VISIT(transport->target);
    Py_VISIT(transport->exception);
    Py_VISIT(transport->lost_by);
    return 0;
}

/* Not the loop: its methods may still be called, and it is in a cycle only by what is cleared here. */
static int
transport_clear(TransportObject *transport)
{
    Py_CLEAR(transport->extra);
    Py_CLEAR(transport->protocol);
    Py_CLEAR(transport->server);
    Py_CLEAR(transport->dict);
    Py_CLEAR(transport->target);
    Py_CLEAR(transport->exception);
    Py_CLEAR(transport->lost_by);
    return 0;
}

static void
transport_finalize(PyObject *self)
{
    TransportObject *const transport = (TransportObject *)self;
    PyObject *error_type, *error_value, *error_traceback;

    if (transport->owning == IORA__FD_GONE)
        return;
    PyErr_Fetch(&error_type, &error_value, &error_traceback);
    if (PyErr_ResourceWarning(self, 1, "unclosed transport %R", self) < 0)
        PyErr_WriteUnraisable(self);
    Py_INCREF(self);
    if (transport->owning == IORA__FD_ADOPTED) { /* the loop goes with us */
        iora__transport_stop(transport, &transport->recv, &transport->is_receiving);
        iora__transport_stop(transport, &transport->send, &transport->is_sending);
    }
    if (close_descriptor(transport) < 0)
        PyErr_WriteUnraisable(self);
    detach_from_server(transport);
    Py_DECREF(self);
    PyErr_Restore(error_type, error_value, error_traceback);
}

static void
transport_dealloc(TransportObject *transport)
{
    PyTypeObject *const type = Py_TYPE(transport);

    if (PyObject_CallFinalizerFromDealloc((PyObject *)transport) < 0)
        return;
    PyObject_GC_UnTrack(transport);
    if (transport->weak_references != NULL)
        PyObject_ClearWeakRefs((PyObject *)transport);
    (void)transport_clear(transport);
    iora__transport_drop_pieces(transport);
    Py_CLEAR(transport->sock);
    Py_CLEAR(transport->context);
    Py_CLEAR(transport->send_context);
    Py_CLEAR(transport->loop);
    type->tp_free((PyObject *)transport);
    Py_DECREF(type);
}

/* ---- what Python sees --------------------------------------------------------------------------------------------- */

static PyGetSetDef transport_getset[] = {
    {"_extra", (getter)get_extra, NULL, NULL, NULL},
    {"_sock", (getter)get_sock, NULL, NULL, NULL},
    {"_protocol", (getter)get_protocol, NULL, NULL, NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {0},
};

static PyMemberDef transport_members[] = {
    {"_loop", T_OBJECT, offsetof(TransportObject, loop), READONLY, NULL},
    {"_server", T_OBJECT, offsetof(TransportObject, server), READONLY, NULL},
    {"_sock_fd", T_INT, offsetof(TransportObject, fd), READONLY, NULL},
    {"_conn_lost", T_UINT, offsetof(TransportObject, conn_lost), READONLY, NULL},
    {"_closing", T_BOOL, offsetof(TransportObject, is_closing), READONLY, NULL},
    {"_paused", T_BOOL, offsetof(TransportObject, is_paused), READONLY, NULL},
    {"_eof", T_BOOL, offsetof(TransportObject, has_eof), READONLY, NULL},
    {"_protocol_paused", T_BOOL, offsetof(TransportObject, protocol_is_paused), READONLY, NULL},
    {"_high_water", T_PYSSIZET, offsetof(TransportObject, high), READONLY, NULL},
    {"_low_water", T_PYSSIZET, offsetof(TransportObject, low), READONLY, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(TransportObject, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TransportObject, weak_references), READONLY, NULL},
    {0},
};

static PyMethodDef transport_methods[] = {
    METHOD("write", transport_write, METH_FASTCALL | METH_KEYWORDS,
           "write($self, data)\n--\n\nSend bytes, when the running callback returns or as soon "
           "as may be."),
    METHOD("writelines", transport_writelines, METH_FASTCALL | METH_KEYWORDS,
           "writelines($self, list_of_data)\n--\n\nSend several pieces."),
    METHOD("write_eof", iora__transport_write_eof, METH_NOARGS,
           "write_eof($self, /)\n--\n\nEnd the sending side, after what was written."),
    METHOD("can_write_eof", transport_can_write_eof, METH_NOARGS,
           "can_write_eof($self, /)\n--\n\n"),
    METHOD("close", transport_close, METH_NOARGS,
           "close($self, /)\n--\n\nClose when all that was written is sent."),
    METHOD("abort", transport_abort, METH_NOARGS, "abort($self, /)\n--\n\nClose now."),
    METHOD("is_closing", transport_is_closing, METH_NOARGS, "is_closing($self, /)\n--\n\n"),
    METHOD("is_reading", transport_is_reading, METH_NOARGS, "is_reading($self, /)\n--\n\n"),
    METHOD("pause_reading", transport_pause_reading, METH_NOARGS,
           "pause_reading($self, /)\n--\n\nReceive nothing for now."),
    METHOD("resume_reading", transport_resume_reading, METH_NOARGS,
           "resume_reading($self, /)\n--\n\nReceive again."),
    METHOD("set_protocol", transport_set_protocol, METH_FASTCALL | METH_KEYWORDS,
           "set_protocol($self, protocol)\n--\n\nHave another protocol from now on."),
    METHOD("get_protocol", transport_get_protocol, METH_NOARGS, "get_protocol($self, /)\n--\n\n"),
    METHOD("get_extra_info", transport_get_extra_info, METH_FASTCALL | METH_KEYWORDS,
           "get_extra_info($self, name, default=None)\n--\n\n"),
    METHOD("get_write_buffer_size", transport_get_write_buffer_size, METH_NOARGS,
           "get_write_buffer_size($self, /)\n--\n\nWhat the kernel had no room for, in bytes."),
    METHOD("get_write_buffer_limits", transport_get_write_buffer_limits, METH_NOARGS,
           "get_write_buffer_limits($self, /)\n--\n\n"),
    METHOD("set_write_buffer_limits", transport_set_write_buffer_limits,
           METH_VARARGS | METH_KEYWORDS,
           "set_write_buffer_limits($self, high=None, low=None)\n--\n\n"),
    METHOD("_call_connection_lost", transport_call_connection_lost, METH_O, ""),
    METHOD("_start", transport_start, METH_NOARGS, ""),
    {0},
};

static PyType_Slot transport_slots[] = {
    {Py_tp_dealloc, transport_dealloc},
    {Py_tp_finalize, transport_finalize},
    {Py_tp_traverse, transport_traverse},
    {Py_tp_clear, transport_clear},
    {Py_tp_repr, transport_repr},
    {Py_tp_methods, transport_methods},
    {Py_tp_members, transport_members},
    {Py_tp_getset, transport_getset},
    {0},
};

static PyType_Spec transport_spec = {
    .name = "iora._c.SocketTransport",
    .basicsize = sizeof(TransportObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = transport_slots,
};

int
iora__transport_add_type(PyObject *module, struct state *state)
{
    const PyTypeObject *const base = (PyTypeObject *)state->asyncio_transport;

    if (base->tp_basicsize != offsetof(TransportObject, loop)) {
        PyErr_SetString(PyExc_ImportError, "asyncio.Transport has other slots than `_extra`");
        return -1;
    }
    state->transport_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &transport_spec, state->asyncio_transport);
    return state->transport_type == NULL ? -1 : PyModule_AddType(module, state->transport_type);
}
