/* ext/transport.c -- a connected stream socket under a protocol: TCP and Unix alike.
 *
 * The descriptor belongs to one owner at a time. It comes with a socket object; the backend adopts it, and gets
 * it taken away (release) just before that object is closed: when the connection is lost, the transport is
 * dropped unclosed, or the loop is closed. Until then it is the transport's alone, and stands in the loop's
 * table so that add_reader() refuses it.
 *
 *     made --- connection_made --- reading <---> paused
 *                                     |  close(), end of stream, an error, abort()
 *                                  closing: what is queued is still sent, nothing is read
 *                                     |  the queue is empty, or given up
 *                                   lost (conn_lost > 0) --- next turn: connection_lost() --- closed
 *
 * Reading is one multi recv. Its bytes are delivered from within the poll, out of the loop's buffer, in a copy of
 * the context in which the transport was made; a BufferedProtocol's memory is filled directly. Its get_buffer()
 * runs in the middle of the backend's call, where the op cannot be cancelled: what it asks for then (close, pause)
 * is seen to when the backend calls back.
 *
 * Writing tries at once. What the kernel does not take is queued, as bytes objects (a copy of what could change),
 * and sent by one sendmsg for up to GATHER_MAX pieces.
 *
 * Invariants:
 * (1) A transport whose op is pending is referenced by that (`pins`).
 * (2) SystemExit and KeyboardInterrupt out of a protocol are kept (iora__loop_keep_exception) and leave the loop at
 *     the drain: the poll goes on, and others get their bytes.
 * (3) After connection_lost() nothing of the protocol is called.
 *
 * asyncio.Transport has a slot of its own, so a C struct cannot derive from it; `__class__` answers for it.
 */
#include "ext/transport.h"

#include "ext/compat.h"
#include "ext/state.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <structmember.h>

enum { GATHER_MAX = 64, HIGH_WATER = 64 * 1024, WARN_AFTER = 5 };

struct gather {
    struct msghdr message;
    struct iovec pieces[GATHER_MAX];
};

struct TransportObject {
    PyObject_HEAD
    LoopObject *loop;
    PyObject *protocol; /* NULL once lost */
    PyObject *sock;     /* NULL once closed */
    PyObject *extra;
    PyObject *server;  /* may be NULL */
    PyObject *context; /* that of what the poll delivers */
    PyObject *dict;
    PyObject *weak_references;
    struct iora__link in_loop;
    struct iora__op recv;
    struct iora__op send;
    struct gather *gather; /* while sending waits */
    struct ring queue;     /* what is to be sent */
    size_t queued;         /* bytes in it */
    size_t sent_of_first;
    size_t high, low;
    Py_buffer buffer; /* of a BufferedProtocol, between get_buffer() and buffer_updated() */
    int fd;
    unsigned conn_lost;
    bool has_buffer;
    bool is_buffered;
    bool is_receiving; /* the multi recv is pending */
    bool is_sending;
    bool is_taking;   /* get_buffer() runs */
    bool has_refused; /* and gave nothing: that ends the op */
    bool is_paused;
    bool is_closing;
    bool has_eof; /* write_eof() was called */
    bool has_end; /* the peer has sent its end */
    bool protocol_is_paused;
};

static void start_reading(TransportObject *transport);
static int flush(TransportObject *transport);

static const struct iora__sockets *
sockets_of(const TransportObject *transport)
{
    return transport->loop->core->backend->sockets;
}

static void *
backend_of(const TransportObject *transport)
{
    return transport->loop->core->backend_state;
}

/* ---- errors --------------------------------------------------------------------------------------- */

static bool
must_leave(void)
{
    return PyErr_ExceptionMatches(PyExc_SystemExit) ||
           PyErr_ExceptionMatches(PyExc_KeyboardInterrupt);
}

/* Tell the loop's exception handler. The exception is borrowed. */
static void
tell_handler(TransportObject *transport, const char *message, PyObject *exception)
{
    PyObject *const details = Py_BuildValue(
        "{s:s,s:O,s:O,s:O}", "message", message, "exception", exception, "transport", transport,
        "protocol", transport->protocol != NULL ? transport->protocol : Py_None);
    PyObject *const result = details == NULL
                                 ? NULL
                                 : PyObject_CallMethodOneArg(
                                       (PyObject *)transport->loop,
                                       transport->loop->state->str_call_exception_handler, details);

    Py_XDECREF(details);
    if (result == NULL)
        iora__loop_keep_exception(transport->loop);
    Py_XDECREF(result);
}

static PyObject *
os_error(int code)
{
    (void)iora__raise(code);
    return iora__take_exception();
}

/* ---- the end ---------------------------------------------------------------------------------------- */

static void
drop_queue(TransportObject *transport)
{
    iora__ring_clear(&transport->queue);
    transport->queued = 0;
    transport->sent_of_first = 0;
    PyMem_Free(transport->gather);
    transport->gather = NULL;
}

static void
stop_op(TransportObject *transport, struct iora__op *op, bool *is_pending)
{
    if (!*is_pending)
        return;
    if (iora__op_cancel(transport->loop->core, op) != IORA__OP_DONE)
        return; /* its `_done` will come */
    *is_pending = false;
    Py_DECREF(transport); /* the caller has another */
}

static void
stop_reading(TransportObject *transport)
{
    if (!transport->is_taking)
        stop_op(transport, &transport->recv, &transport->is_receiving);
}

/* Have the loop call transport._connection_lost(exception) soon. */
static int
lose_soon(TransportObject *transport, PyObject *exception)
{
    PyObject *const method = iora__loop_check_closed(transport->loop) == 0
                                 ? PyObject_GetAttrString((PyObject *)transport, "_connection_lost")
                                 : NULL;
    PyObject *const args[] = {exception};
    HandleObject *handle;

    if (method == NULL)
        return -1;
    transport->conn_lost++;
    handle = iora__handle_new(transport->loop, method, args, 1, NULL);
    Py_DECREF(method);
    return handle == NULL ? -1 : iora__loop_push(transport->loop, handle);
}

static int
force_close(TransportObject *transport, PyObject *exception)
{
    if (transport->conn_lost > 0 || transport->sock == NULL)
        return 0;
    stop_op(transport, &transport->send, &transport->is_sending);
    drop_queue(transport);
    transport->is_closing = true;
    stop_reading(transport);
    return lose_soon(transport, exception);
}

/* What cannot be borne: the connection is over. Steals the exception. */
static void
fail(TransportObject *transport, PyObject *exception, const char *message)
{
    if (!PyErr_GivenExceptionMatches(exception, PyExc_OSError))
        tell_handler(transport, message, exception);
    if (force_close(transport, exception) < 0)
        PyErr_WriteUnraisable((PyObject *)transport);
    Py_DECREF(exception);
}

/* The same for an exception that the protocol raised, and that is set. */
static void
fail_by_protocol(TransportObject *transport, const char *message)
{
    if (must_leave())
        iora__loop_keep_exception(transport->loop);
    else
        fail(transport, iora__take_exception(), message);
}

/* The backend has the descriptor no longer: true. In a forked child the kernel's set is the parent's too, and must
 * not hear of it: there the descriptor goes with the backend, and no socket object may close it. */
static bool
give_back(TransportObject *transport)
{
    if (!iora__link_is_linked(&transport->in_loop))
        return true;
    iora__list_remove(&transport->in_loop);
    transport->loop->descriptors[transport->fd].transport = NULL;
    if (iora__loop_is_forked(transport->loop->core))
        return false;
    sockets_of(transport)->release(backend_of(transport), transport->fd);
    return true;
}

static int
close_socket(TransportObject *transport)
{
    PyObject *const sock = transport->sock;
    PyObject *result;

    if (sock == NULL)
        return 0;
    transport->sock = NULL;
    result = PyObject_CallMethod(sock, give_back(transport) ? "close" : "detach", NULL);
    Py_DECREF(sock);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* By the loop, one turn after the connection was lost. */
static PyObject *
transport_connection_lost(TransportObject *transport, PyObject *exception)
{
    PyObject *const protocol = transport->protocol, *const server = transport->server;
    PyObject *result = NULL, *raised = NULL;

    transport->protocol = NULL;
    if (protocol != NULL) {
        result = PyObject_CallMethodOneArg(protocol, transport->loop->state->str_connection_lost,
                                           exception);
        if (result == NULL)
            raised = iora__take_exception();
        Py_XDECREF(result);
        Py_DECREF(protocol);
    }
    if (close_socket(transport) < 0)
        PyErr_WriteUnraisable((PyObject *)transport);
    transport->server = NULL;
    if (server != NULL) {
        PyObject *const detached = PyObject_CallMethod(server, "_detach", "O", transport);

        if (detached == NULL)
            PyErr_WriteUnraisable(server);
        Py_XDECREF(detached);
        Py_DECREF(server);
    }
    if (raised != NULL) {
        iora__raise_exception(raised);
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- reading ------------------------------------------------------------------------------------------ */

static void
release_buffer(TransportObject *transport)
{
    if (!transport->has_buffer)
        return;
    transport->has_buffer = false;
    PyBuffer_Release(&transport->buffer);
}

/* Call a method of the protocol in the transport's context. */
static PyObject *
call_protocol(TransportObject *transport, PyObject *name, PyObject *arg)
{
    PyObject *const args[] = {transport->protocol, arg};
    PyObject *result = NULL;

    if (PyContext_Enter(transport->context) < 0)
        return NULL;
    Py_INCREF(args[0]); /* the protocol may be exchanged */
    result = PyObject_VectorcallMethod(name, args, arg != NULL ? 2 : 1, NULL);
    Py_DECREF(args[0]);
    if (PyContext_Exit(transport->context) < 0)
        Py_CLEAR(result);
    return result;
}

/* Ask the protocol for memory. False: it has none for us, or wants none now. */
static bool
get_buffer(TransportObject *transport)
{
    PyObject *const hint = PyLong_FromLong(-1);
    PyObject *buffer = NULL;

    if (hint != NULL)
        buffer = call_protocol(transport, transport->loop->state->str_get_buffer, hint);
    Py_XDECREF(hint);
    if (buffer != NULL && PyObject_GetBuffer(buffer, &transport->buffer, PyBUF_WRITABLE) == 0)
        transport->has_buffer = true;
    Py_XDECREF(buffer);
    if (transport->has_buffer && transport->buffer.len == 0) {
        release_buffer(transport);
        PyErr_SetString(PyExc_RuntimeError, "get_buffer() returned an empty buffer");
    }
    if (!transport->has_buffer)
        fail_by_protocol(transport, "Fatal error: protocol.get_buffer() call failed.");
    else if (transport->is_paused || transport->is_closing || !transport->is_buffered)
        release_buffer(transport);
    return transport->has_buffer;
}

/* Memory of the protocol's to receive into (backend.h: _take). */
static void *
take_buffer(struct iora__op *op, size_t *size)
{
    TransportObject *const transport = iora__container_of(op, TransportObject, recv);

    iora__loop_take_gil(transport->loop);
    if (size == NULL) { /* there was nothing to receive */
        release_buffer(transport);
        return NULL;
    }
    if (!transport->has_buffer) {
        transport->is_taking = true;
        transport->has_refused = !get_buffer(transport);
        transport->is_taking = false;
        if (transport->has_refused)
            return NULL;
    }
    *size = (size_t)transport->buffer.len;
    return transport->buffer.buf;
}

static void
deliver_buffered(TransportObject *transport, int n)
{
    PyObject *const count = PyLong_FromLong(n);
    PyObject *result = NULL;

    release_buffer(transport);
    if (count != NULL)
        result = call_protocol(transport, transport->loop->state->str_buffer_updated, count);
    Py_XDECREF(count);
    if (result == NULL)
        fail_by_protocol(transport, "Fatal error: protocol.buffer_updated() call failed.");
    Py_XDECREF(result);
}

static void
deliver_bytes(TransportObject *transport, const void *bytes, int n)
{
    PyObject *const data = PyBytes_FromStringAndSize(bytes, n);
    PyObject *result = NULL;

    if (data != NULL)
        result = call_protocol(transport, transport->loop->state->str_data_received, data);
    Py_XDECREF(data);
    if (result == NULL)
        fail_by_protocol(transport, "Fatal error: protocol.data_received() call failed.");
    Py_XDECREF(result);
}

static int
close_transport(TransportObject *transport)
{
    if (transport->is_closing)
        return 0;
    transport->is_closing = true;
    stop_reading(transport);
    return transport->queued == 0 ? lose_soon(transport, Py_None) : 0;
}

static void
deliver_end(TransportObject *transport)
{
    PyObject *result;
    int keep_open;

    release_buffer(transport);
    transport->has_end = true;
    result = call_protocol(transport, transport->loop->state->str_eof_received, NULL);
    keep_open = result == NULL ? -1 : PyObject_IsTrue(result);
    Py_XDECREF(result);
    if (keep_open < 0)
        fail_by_protocol(transport, "Fatal error: protocol.eof_received() call failed.");
    else if (!keep_open && close_transport(transport) < 0)
        PyErr_WriteUnraisable((PyObject *)transport);
}

static void
received(struct iora__op *op)
{
    TransportObject *const transport = iora__container_of(op, TransportObject, recv);
    const bool is_over = op->_state == IORA__OP_IDLE;

    iora__loop_take_gil(transport->loop);
    if (is_over)
        transport->is_receiving = false; /* its pin is dropped below */
    else
        Py_INCREF(transport);
    if (transport->has_refused || transport->conn_lost > 0 || transport->is_closing ||
        transport->is_paused)
        release_buffer(transport);
    else if (op->_res < 0 && op->_res != -ECANCELED)
        fail(transport, os_error(op->_res), "Fatal read error on socket transport");
    else if (op->_res == 0)
        deliver_end(transport);
    else if (op->_res > 0 && transport->has_buffer)
        deliver_buffered(transport, op->_res);
    else if (op->_res > 0)
        deliver_bytes(transport, op->_base, op->_res);
    transport->has_refused = false;
    if (is_over)
        start_reading(transport); /* if it is to go on after all */
    Py_DECREF(transport);
}

static void
start_reading(TransportObject *transport)
{
    int rc;

    if (transport->is_receiving || transport->is_closing || transport->is_paused ||
        transport->has_end || transport->sock == NULL || transport->loop->core == NULL)
        return;
    transport->recv._done = received;
    transport->recv._fd = transport->fd;
    transport->recv._kind = IORA__OP_RECV;
    transport->recv._flags = IORA__OP_MULTI;
    transport->recv._take = transport->is_buffered ? take_buffer : NULL;
    rc = iora__op_submit(transport->loop->core, &transport->recv);
    if (rc < 0) {
        fail(transport, os_error(rc), "Fatal read error on socket transport");
        return;
    }
    transport->is_receiving = true;
    Py_INCREF(transport);
}

/* ---- writing -------------------------------------------------------------------------------------------- */

/* Tell the protocol that writing pauses or goes on. */
static void
tell_flow(TransportObject *transport, PyObject *name, const char *message)
{
    PyObject *result, *exception;

    if (transport->protocol == NULL)
        return;
    if ((result = PyObject_CallMethodNoArgs(transport->protocol, name)) == NULL) {
        if (must_leave()) {
            iora__loop_keep_exception(transport->loop);
            return;
        }
        exception = iora__take_exception();
        tell_handler(transport, message, exception);
        Py_DECREF(exception);
    }
    Py_XDECREF(result);
}

static void
maybe_pause_protocol(TransportObject *transport)
{
    if (transport->queued <= transport->high || transport->protocol_is_paused)
        return;
    transport->protocol_is_paused = true;
    tell_flow(transport, transport->loop->state->str_pause_writing,
              "protocol.pause_writing() failed");
}

static void
maybe_resume_protocol(TransportObject *transport)
{
    if (!transport->protocol_is_paused || transport->queued > transport->low)
        return;
    transport->protocol_is_paused = false;
    tell_flow(transport, transport->loop->state->str_resume_writing,
              "protocol.resume_writing() failed");
}

/* So many bytes of the queue are gone. */
static void
advance(TransportObject *transport, size_t n)
{
    transport->queued -= n;
    n += transport->sent_of_first;
    while (transport->queue.count > 0) {
        const size_t size = (size_t)PyBytes_GET_SIZE(iora__ring_at(&transport->queue, 0));

        if (n < size)
            break;
        n -= size;
        Py_DECREF(iora__ring_pop(&transport->queue));
    }
    transport->sent_of_first = n;
}

/* Describe the head of the queue to sendmsg. */
static void
gather(TransportObject *transport)
{
    struct gather *const gather = transport->gather;
    size_t skip = transport->sent_of_first;
    size_t n = 0;

    while (n < transport->queue.count && n < GATHER_MAX) {
        PyObject *const piece = iora__ring_at(&transport->queue, n);

        gather->pieces[n].iov_base = PyBytes_AS_STRING(piece) + skip;
        gather->pieces[n].iov_len = (size_t)PyBytes_GET_SIZE(piece) - skip;
        skip = 0;
        n++;
    }
    gather->message = (struct msghdr){.msg_iov = gather->pieces, .msg_iovlen = n};
}

static void
write_failed(TransportObject *transport, int code)
{
    drop_queue(transport);
    fail(transport, os_error(code), "Fatal write error on socket transport");
}

static void
queue_is_empty(TransportObject *transport)
{
    PyMem_Free(transport->gather);
    transport->gather = NULL;
    if (transport->is_closing) {
        if (transport->conn_lost == 0 && lose_soon(transport, Py_None) < 0)
            PyErr_WriteUnraisable((PyObject *)transport);
    } else if (transport->has_eof) {
        (void)sockets_of(transport)->shutdown(backend_of(transport), transport->fd, SHUT_WR);
    }
}

static void
sent(struct iora__op *op)
{
    TransportObject *const transport = iora__container_of(op, TransportObject, send);

    iora__loop_take_gil(transport->loop);
    transport->is_sending = false; /* its pin is dropped below */
    if (transport->conn_lost == 0) {
        if (op->_res < 0) {
            if (op->_res != -ECANCELED)
                write_failed(transport, op->_res);
        } else {
            advance(transport, (size_t)op->_res);
            if (flush(transport) < 0)
                fail_by_protocol(transport, "Fatal write error on socket transport");
            maybe_resume_protocol(transport);
        }
    }
    Py_DECREF(transport);
}

/* Send what is queued until the kernel takes no more. -1: no memory. */
static int
flush(TransportObject *transport)
{
    int rc;

    if (transport->is_sending)
        return 0;
    while (transport->queued > 0) {
        if (transport->gather == NULL &&
            (transport->gather = PyMem_Malloc(sizeof *transport->gather)) == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        gather(transport);
        transport->send = (struct iora__op){._done = sent,
                                            ._fd = transport->fd,
                                            ._kind = IORA__OP_SENDMSG,
                                            ._base = &transport->gather->message};
        rc = iora__op_submit(transport->loop->core, &transport->send);
        if (rc == IORA__OP_PENDING) {
            transport->is_sending = true;
            Py_INCREF(transport);
            return 0;
        }
        rc = rc < 0 ? rc : transport->send._res;
        if (rc < 0) {
            write_failed(transport, rc);
            return 0;
        }
        advance(transport, (size_t)rc);
    }
    queue_is_empty(transport);
    return 0;
}

/* Queue what is left of a piece; a copy, unless it cannot change. */
static int
enqueue(TransportObject *transport, PyObject *data, const Py_buffer *view, size_t from)
{
    const size_t size = (size_t)view->len - from;
    PyObject *piece;

    if (size == 0)
        return 0;
    piece = PyBytes_CheckExact(data) && from == 0
                ? Py_NewRef(data)
                : PyBytes_FromStringAndSize((const char *)view->buf + from, (Py_ssize_t)size);
    if (piece == NULL)
        return -1;
    if (iora__ring_push(&transport->queue, piece) < 0) {
        Py_DECREF(piece);
        return -1;
    }
    transport->queued += size;
    return 0;
}

/* Try to send at once, when nothing is queued: how much went, or a code. */
static int
send_now(TransportObject *transport, const Py_buffer *view)
{
    struct iora__op op = {._done = sent,
                          ._fd = transport->fd,
                          ._kind = IORA__OP_SEND,
                          ._flags = IORA__OP_NOWAIT,
                          ._base = view->buf,
                          ._size = (size_t)view->len};
    const int rc = iora__op_submit(transport->loop->core, &op);

    return rc < 0 ? rc : op._res == -EAGAIN ? 0 : op._res;
}

/* Whether writing is of use: 1; 0 if it is dropped in silence; -1. */
static int
may_write(TransportObject *transport)
{
    if (transport->has_eof) {
        PyErr_SetString(PyExc_RuntimeError, "Cannot call write() after write_eof()");
        return -1;
    }
    if (transport->conn_lost == 0 && transport->sock != NULL && transport->loop->core != NULL)
        return 1;
    if (transport->conn_lost++ >= WARN_AFTER) {
        PyObject *const result = PyObject_CallMethod(transport->loop->state->logger, "warning", "s",
                                                     "socket.send() raised exception.");

        if (result == NULL)
            return -1;
        Py_DECREF(result);
    }
    return 0;
}

static int
write_view(TransportObject *transport, PyObject *data, const Py_buffer *view)
{
    int rc = 0;

    if (transport->queued == 0) {
        if ((rc = send_now(transport, view)) < 0) {
            write_failed(transport, rc);
            return 0;
        }
        if (rc == view->len)
            return 0;
    }
    if (enqueue(transport, data, view, (size_t)rc) < 0 || flush(transport) < 0)
        return -1;
    maybe_pause_protocol(transport);
    return 0;
}

static int
check_data(PyObject *data)
{
    if (PyBytes_Check(data) || PyByteArray_Check(data) || PyMemoryView_Check(data))
        return 0;
    PyErr_Format(PyExc_TypeError, "data argument must be a bytes-like object, not '%.200s'",
                 Py_TYPE(data)->tp_name);
    return -1;
}

/* What a call into the protocol raised, and must leave the loop, leaves the method that made the call. */
static PyObject *
none_or_kept(TransportObject *transport, int rc)
{
    if (rc < 0 || iora__loop_raise_kept(transport->loop) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
transport_write(TransportObject *transport, PyObject *data)
{
    Py_buffer view;
    int rc;

    if (check_data(data) < 0 || PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    rc = may_write(transport);
    if (rc > 0)
        rc = view.len > 0 ? write_view(transport, data, &view) : 0;
    PyBuffer_Release(&view);
    return none_or_kept(transport, rc);
}

static PyObject *
transport_writelines(TransportObject *transport, PyObject *pieces)
{
    PyObject *const list = PySequence_Fast(pieces, "writelines() needs an iterable");
    int rc;

    if (list == NULL)
        return NULL;
    rc = may_write(transport);
    for (Py_ssize_t i = 0; rc > 0 && i < PySequence_Fast_GET_SIZE(list); i++) {
        PyObject *const data = PySequence_Fast_GET_ITEM(list, i);
        Py_buffer view;

        if (check_data(data) < 0 || PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
            rc = -1;
            break;
        }
        if (enqueue(transport, data, &view, 0) < 0)
            rc = -1;
        PyBuffer_Release(&view);
    }
    Py_DECREF(list);
    if (rc > 0 && (rc = transport->queued > 0 ? flush(transport) : 0) == 0)
        maybe_pause_protocol(transport);
    return none_or_kept(transport, rc);
}

static PyObject *
transport_write_eof(TransportObject *transport, PyObject *unused)
{
    int rc;

    (void)unused;
    if (transport->is_closing || transport->has_eof)
        Py_RETURN_NONE;
    if (iora__loop_check_closed(transport->loop) < 0)
        return NULL;
    transport->has_eof = true;
    if (transport->queued > 0)
        Py_RETURN_NONE;
    rc = sockets_of(transport)->shutdown(backend_of(transport), transport->fd, SHUT_WR);
    if (rc < 0) {
        (void)iora__raise(rc);
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- what else a transport can ------------------------------------------------------------------------------ */

static PyObject *
transport_close(TransportObject *transport, PyObject *unused)
{
    (void)unused;
    return close_transport(transport) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
transport_abort(TransportObject *transport, PyObject *unused)
{
    (void)unused;
    return force_close(transport, Py_None) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
transport_pause_reading(TransportObject *transport, PyObject *unused)
{
    (void)unused;
    if (!transport->is_closing && !transport->is_paused) {
        transport->is_paused = true;
        stop_reading(transport);
    }
    Py_RETURN_NONE;
}

static PyObject *
transport_resume_reading(TransportObject *transport, PyObject *unused)
{
    (void)unused;
    if (!transport->is_closing && transport->is_paused) {
        transport->is_paused = false;
        start_reading(transport);
    }
    return none_or_kept(transport, 0);
}

static PyObject *
transport_start(TransportObject *transport, PyObject *unused)
{
    (void)unused;
    start_reading(transport);
    return none_or_kept(transport, 0);
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

/* Note what kind of protocol it is. */
static int
set_protocol(TransportObject *transport, PyObject *protocol)
{
    const int is_buffered =
        PyObject_IsInstance(protocol, transport->loop->state->buffered_protocol);

    if (is_buffered < 0)
        return -1;
    Py_XSETREF(transport->protocol, Py_NewRef(protocol));
    if (transport->is_buffered == (bool)is_buffered)
        return 0;
    transport->is_buffered = is_buffered;
    if (transport->is_receiving && !transport->is_taking) {
        stop_reading(transport);
        start_reading(transport);
    }
    return 0;
}

static PyObject *
transport_set_protocol(TransportObject *transport, PyObject *protocol)
{
    return set_protocol(transport, protocol) < 0 ? NULL : none_or_kept(transport, 0);
}

static PyObject *
transport_get_protocol(TransportObject *transport, PyObject *unused)
{
    (void)unused;
    return Py_NewRef(transport->protocol != NULL ? transport->protocol : Py_None);
}

static PyObject *
transport_get_extra_info(TransportObject *transport, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"name", "default", NULL};
    PyObject *name, *fallback = Py_None, *value;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|O:get_extra_info", names, &name, &fallback))
        return NULL;
    value = PyDict_GetItemWithError(transport->extra, name);
    if (value == NULL && PyErr_Occurred())
        return NULL;
    return Py_NewRef(value != NULL ? value : fallback);
}

static PyObject *
transport_get_write_buffer_size(TransportObject *transport, PyObject *unused)
{
    (void)unused;
    return PyLong_FromSize_t(transport->queued);
}

static PyObject *
transport_get_write_buffer_limits(TransportObject *transport, PyObject *unused)
{
    (void)unused;
    return Py_BuildValue("(nn)", (Py_ssize_t)transport->low, (Py_ssize_t)transport->high);
}

static PyObject *
transport_set_write_buffer_limits(TransportObject *transport, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"high", "low", NULL};
    PyObject *high_given = Py_None, *low_given = Py_None;
    Py_ssize_t high = HIGH_WATER, low = 0;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|OO:set_write_buffer_limits", names,
                                     &high_given, &low_given))
        return NULL;
    if (low_given != Py_None && (low = PyNumber_AsSsize_t(low_given, PyExc_OverflowError)) == -1 &&
        PyErr_Occurred())
        return NULL;
    if (high_given != Py_None)
        high = PyNumber_AsSsize_t(high_given, PyExc_OverflowError);
    else if (low_given != Py_None)
        high = low > PY_SSIZE_T_MAX / 4 ? PY_SSIZE_T_MAX : 4 * low;
    if (high == -1 && PyErr_Occurred())
        return NULL;
    if (low_given == Py_None)
        low = high / 4;
    if (!(high >= low && low >= 0)) {
        PyErr_Format(PyExc_ValueError, "high (%zd) must be >= low (%zd) must be >= 0", high, low);
        return NULL;
    }
    transport->high = (size_t)high;
    transport->low = (size_t)low;
    maybe_pause_protocol(transport);
    return none_or_kept(transport, 0);
}

static PyObject *
transport_repr(TransportObject *transport)
{
    const char *const state = transport->sock == NULL ? "closed "
                              : transport->is_closing ? "closing "
                                                      : "";

    return PyUnicode_FromFormat("<SocketTransport %sfd=%d read=%s write=<%s, bufsize=%zu>>", state,
                                transport->fd, transport->is_receiving ? "polling" : "idle",
                                transport->is_sending ? "polling" : "idle", transport->queued);
}

int
iora__transport_check_free(PyObject *object, PyObject *fd)
{
    if (object == NULL || ((TransportObject *)object)->is_closing)
        return 0;
    PyErr_Format(PyExc_RuntimeError, "File descriptor %R is used by transport %R", fd, object);
    return -1;
}

/* ---- making ------------------------------------------------------------------------------------------------- */

static int
call_soon(TransportObject *transport, PyObject *callback, PyObject *const *args, Py_ssize_t n)
{
    HandleObject *handle = NULL;

    if (callback != NULL)
        handle = iora__handle_new(transport->loop, callback, args, n, NULL);
    Py_XDECREF(callback);
    return handle == NULL ? -1 : iora__loop_push(transport->loop, handle);
}

/* The protocol hears of the connection, then reading begins, then who waits for it is told. */
static int
begin(TransportObject *transport, PyObject *waiter)
{
    PyObject *const self[] = {(PyObject *)transport};
    PyObject *const wake[] = {waiter, Py_None};

    if (call_soon(transport, PyObject_GetAttrString(transport->protocol, "connection_made"), self,
                  1) < 0 ||
        call_soon(transport, PyObject_GetAttrString((PyObject *)transport, "_start"), NULL, 0) < 0)
        return -1;
    if (waiter == Py_None)
        return 0;
    return call_soon(transport, Py_NewRef(transport->loop->state->set_result_unless_cancelled),
                     wake, 2);
}

static int
note_address(PyObject *extra, PyObject *sock, const char *key, const char *method)
{
    PyObject *address;
    int rc;

    if (PyDict_GetItemString(extra, key) != NULL)
        return 0;
    if ((address = PyObject_CallMethod(sock, method, NULL)) == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_OSError))
            return -1;
        PyErr_Clear();
        address = Py_NewRef(Py_None);
    }
    rc = PyDict_SetItemString(extra, key, address);
    Py_DECREF(address);
    return rc;
}

static int
fill_extra(TransportObject *transport, PyObject *extra)
{
    PyObject *wrapped;
    int rc;

    transport->extra = extra != Py_None ? PyDict_Copy(extra) : PyDict_New();
    if (transport->extra == NULL ||
        (wrapped = PyObject_CallOneArg(transport->loop->state->transport_socket,
                                       transport->sock)) == NULL)
        return -1;
    rc = PyDict_SetItemString(transport->extra, "socket", wrapped);
    Py_DECREF(wrapped);
    if (rc < 0 || note_address(transport->extra, transport->sock, "sockname", "getsockname") < 0)
        return -1;
    return note_address(transport->extra, transport->sock, "peername", "getpeername");
}

static int
adopt(TransportObject *transport)
{
    const int one = 1;
    int rc;

    if (iora__loop_make_room(transport->loop, transport->fd) < 0)
        return -1;
    if ((rc = sockets_of(transport)->adopt(backend_of(transport), transport->fd)) < 0)
        return iora__raise(rc);
    iora__list_push_tail(&transport->loop->transports, &transport->in_loop);
    transport->loop->descriptors[transport->fd].transport = (PyObject *)transport;
    /* Fails on what is not TCP, and need not succeed. */
    (void)sockets_of(transport)->set_option(backend_of(transport), transport->fd, IPPROTO_TCP,
                                            TCP_NODELAY, &one, sizeof one);
    return 0;
}

PyObject *
iora__loop_make_transport(LoopObject *loop, PyObject *const *args, Py_ssize_t n)
{
    TransportObject *transport;

    if (n != 5) {
        PyErr_SetString(PyExc_TypeError, "_make_transport() takes five arguments");
        return NULL;
    }
    if (iora__loop_check_closed(loop) < 0)
        return NULL;
    transport =
        (TransportObject *)loop->state->transport_type->tp_alloc(loop->state->transport_type, 0);
    if (transport == NULL)
        return NULL;
    transport->loop = (LoopObject *)Py_NewRef((PyObject *)loop);
    transport->high = HIGH_WATER;
    transport->low = HIGH_WATER / 4;
    if ((transport->fd = PyObject_AsFileDescriptor(args[0])) < 0 ||
        set_protocol(transport, args[1]) < 0 ||
        (transport->context = PyContext_CopyCurrent()) == NULL || adopt(transport) < 0)
        goto fail;
    transport->sock = Py_NewRef(args[0]);
    if (fill_extra(transport, args[3]) < 0 || begin(transport, args[2]) < 0)
        goto fail;
    if (args[4] != Py_None) {
        PyObject *const attached = PyObject_CallMethod(args[4], "_attach", "O", transport);

        if (attached == NULL)
            goto fail;
        Py_DECREF(attached);
        transport->server = Py_NewRef(args[4]);
    }
    return (PyObject *)transport;

fail:
    Py_DECREF(transport);
    return NULL;
}

/* ---- ending -------------------------------------------------------------------------------------------------- */

void
iora__loop_drop_transports(LoopObject *loop)
{
    while (!iora__list_is_empty(&loop->transports)) {
        TransportObject *const transport =
            iora__container_of(loop->transports._next, TransportObject, in_loop);

        Py_INCREF(transport);
        stop_op(transport, &transport->recv, &transport->is_receiving);
        stop_op(transport, &transport->send, &transport->is_sending);
        if (iora__loop_is_forked(loop->core) ? close_socket(transport) < 0 : !give_back(transport))
            PyErr_WriteUnraisable((PyObject *)transport);
        Py_DECREF(transport);
    }
}

static int
transport_traverse(TransportObject *transport, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(transport));
    Py_VISIT(transport->loop);
    Py_VISIT(transport->protocol);
    Py_VISIT(transport->sock);
    Py_VISIT(transport->extra);
    Py_VISIT(transport->server);
    Py_VISIT(transport->context);
    Py_VISIT(transport->dict);
    return 0;
}

/* Not the loop: its methods may still be called, and it is in a cycle only by what is cleared here. */
static int
transport_clear(TransportObject *transport)
{
    Py_CLEAR(transport->protocol);
    Py_CLEAR(transport->extra);
    Py_CLEAR(transport->server);
    Py_CLEAR(transport->dict);
    return 0;
}

static void
transport_finalize(PyObject *self)
{
    TransportObject *const transport = (TransportObject *)self;
    PyObject *error_type, *error_value, *error_traceback;

    if (transport->sock == NULL)
        return;
    PyErr_Fetch(&error_type, &error_value, &error_traceback);
    if (PyErr_ResourceWarning(self, 1, "unclosed transport %R", self) < 0)
        PyErr_WriteUnraisable(self);
    if (close_socket(transport) < 0)
        PyErr_WriteUnraisable(self);
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
    (void)give_back(transport); /* of one that was never finished */
    (void)transport_clear(transport);
    release_buffer(transport);
    drop_queue(transport);
    Py_CLEAR(transport->context);
    Py_CLEAR(transport->loop);
    type->tp_free((PyObject *)transport);
    Py_DECREF(type);
}

/* ---- what Python sees --------------------------------------------------------------------------------------------- */

static PyObject *
get_class(TransportObject *transport, void *unused)
{
    (void)unused;
    return Py_NewRef(transport->loop->state->asyncio_transport);
}

static PyGetSetDef transport_getset[] = {
    {"__class__", (getter)get_class, NULL, NULL, NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {0},
};

static PyMemberDef transport_members[] = {
    {"_loop", T_OBJECT, offsetof(TransportObject, loop), READONLY, NULL},
    {"_extra", T_OBJECT, offsetof(TransportObject, extra), READONLY, NULL},
    {"_protocol_paused", T_BOOL, offsetof(TransportObject, protocol_is_paused), READONLY, NULL},
    {"_conn_lost", T_UINT, offsetof(TransportObject, conn_lost), READONLY, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(TransportObject, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TransportObject, weak_references), READONLY, NULL},
    {0},
};

#define METHOD(name, flags, text)                                                                  \
    {                                                                                              \
#name, (PyCFunction)(void (*)(void))transport_##name, flags, PyDoc_STR(text)               \
    }
#define KEYWORDS (METH_VARARGS | METH_KEYWORDS)

static PyMethodDef transport_methods[] = {
    METHOD(write, METH_O,
           "write($self, data, /)\n--\n\nSend bytes: at once, or as soon as may be."),
    METHOD(writelines, METH_O, "writelines($self, list_of_data, /)\n--\n\nSend several pieces."),
    METHOD(write_eof, METH_NOARGS, "write_eof($self, /)\n--\n\nEnd the sending side."),
    METHOD(can_write_eof, METH_NOARGS, "can_write_eof($self, /)\n--\n\n"),
    METHOD(close, METH_NOARGS, "close($self, /)\n--\n\nClose when all that was written is sent."),
    METHOD(abort, METH_NOARGS, "abort($self, /)\n--\n\nClose now."),
    METHOD(is_closing, METH_NOARGS, "is_closing($self, /)\n--\n\n"),
    METHOD(is_reading, METH_NOARGS, "is_reading($self, /)\n--\n\n"),
    METHOD(pause_reading, METH_NOARGS, "pause_reading($self, /)\n--\n\n"),
    METHOD(resume_reading, METH_NOARGS, "resume_reading($self, /)\n--\n\n"),
    METHOD(set_protocol, METH_O, "set_protocol($self, protocol, /)\n--\n\n"),
    METHOD(get_protocol, METH_NOARGS, "get_protocol($self, /)\n--\n\n"),
    METHOD(get_extra_info, KEYWORDS, "get_extra_info($self, name, default=None)\n--\n\n"),
    METHOD(get_write_buffer_size, METH_NOARGS, "get_write_buffer_size($self, /)\n--\n\n"),
    METHOD(get_write_buffer_limits, METH_NOARGS, "get_write_buffer_limits($self, /)\n--\n\n"),
    METHOD(set_write_buffer_limits, KEYWORDS,
           "set_write_buffer_limits($self, high=None, low=None)\n--\n\n"),
    {"_connection_lost", (PyCFunction)transport_connection_lost, METH_O, NULL},
    {"_start", (PyCFunction)transport_start, METH_NOARGS, NULL},
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
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = transport_slots,
};

int
iora__transport_add_type(PyObject *module, struct state *state)
{
    state->transport_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &transport_spec, NULL);
    return state->transport_type == NULL ? -1 : PyModule_AddType(module, state->transport_type);
}
