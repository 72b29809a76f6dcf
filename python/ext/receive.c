/* ext/receive.c -- a transport's reading side.
 *
 * One multi recv is pending while the transport reads. The backend calls back from within its wait, so the
 * protocol hears of bytes before any callback runs. Where they are received to:
 *
 *     lent      the backend's buffer, which all share: a bytes object of the exact size is made of it. An idle
 *               connection has no memory.
 *     direct    a bytes object of DIRECT_SIZE, cut to size after: from FULL_READS reads on that filled the lent
 *               buffer, until one would have fitted in. At 64 KiB that saves a copy worth 0.65 us of 10, below
 *               16 KiB it costs more than it saves (Debian's 3.11.2, loopback).
 *     buffer    what a BufferedProtocol gives. Nothing runs between get_buffer() and the call, so the reference is
 *               enough; the buffer is exported only for the moment.
 *
 * get_buffer() runs in the middle of the backend's call, where its op must not be cancelled. What it asks for
 * (close, pause, another protocol) is therefore looked at when it returns: if nothing is to be read now, it has
 * given no memory, the op ends, and is begun again when it is wanted. What it writes is sent after what comes now has
 * been delivered: a send that fails ends the connection, and what the peer said last would be lost.
 *
 * How much one connection may receive in a turn, before others have theirs, is the backend's budget: 64 KiB, or one
 * direct read.
 */
#include "ext/compat.h"
#include "ext/state.h"
#include "ext/streams.h"
#include "ext/transport.h"

enum { DIRECT_SIZE = 256 * 1024, LENT_SIZE = 64 * 1024, FULL_READS = 2 };

/* Unless it is for within the backend's call, what it wrote is sent while its context is entered. */
static PyObject *
call_protocol(TransportObject *transport, PyObject *name, PyObject *arg, bool is_within_backend)
{
    PyObject *const protocol = Py_NewRef(transport->protocol); /* both may be exchanged meanwhile */
    PyObject *const context = Py_NewRef(transport->context);
    PyObject *const args[] = {protocol, arg};
    PyObject *result = NULL;

    if (PyContext_Enter(context) == 0) {
        result = PyObject_VectorcallMethod(name, args, arg != NULL ? 2 : 1, NULL);
        if (!is_within_backend)
            iora__loop_callback_returned(transport->loop);
        if (PyContext_Exit(context) < 0)
            Py_CLEAR(result);
    }
    Py_DECREF(context);
    Py_DECREF(protocol);
    return result;
}

PyObject *
iora__transport_call(TransportObject *transport, PyObject *name, PyObject *arg)
{
    return call_protocol(transport, name, arg, false);
}

static bool
may_read(const TransportObject *transport)
{
    return !transport->is_paused && !transport->is_closing && !transport->has_end &&
           transport->owning == IORA__FD_ADOPTED;
}

/* ---- where to ---------------------------------------------------------------------------------------- */

static void *
take_bytes(TransportObject *transport, size_t *size)
{
    transport->target = PyBytes_FromStringAndSize(NULL, DIRECT_SIZE);
    if (transport->target == NULL) {
        transport->exception = iora__take_exception();
        return NULL;
    }
    *size = DIRECT_SIZE;
    return PyBytes_AS_STRING(transport->target);
}

/* The memory of what get_buffer() gave, which is kept as the target. */
static void *
export_target(TransportObject *transport, PyObject *given, size_t *size)
{
    Py_buffer view;
    void *memory;

    if (PyObject_GetBuffer(given, &view, PyBUF_WRITABLE) < 0)
        return NULL;
    memory = view.buf;
    *size = (size_t)view.len;
    PyBuffer_Release(&view);
    if (*size == 0) {
        PyErr_SetString(PyExc_RuntimeError, "get_buffer() returned an empty buffer");
        return NULL;
    }
    transport->target = Py_NewRef(given);
    return memory;
}

static void *
take_buffer(TransportObject *transport, size_t *size)
{
    PyObject *const hint = PyLong_FromLong(-1);
    PyObject *given = NULL;
    void *memory = NULL;

    transport->is_taking = true;
    if (hint != NULL)
        given = call_protocol(transport, transport->loop->state->str_get_buffer, hint, true);
    transport->is_taking = false;
    Py_XDECREF(hint);
    if (given != NULL && may_read(transport) && transport->is_buffered)
        memory = export_target(transport, given, size);
    Py_XDECREF(given);
    if (PyErr_Occurred())
        transport->exception = iora__take_exception();
    return memory;
}

static void *
take(struct iora__op *op, size_t *size)
{
    TransportObject *const transport = iora__container_of(op, TransportObject, recv);

    iora__loop_take_gil(transport->loop);
    Py_CLEAR(transport->target);
    if (size == NULL || !may_read(transport))
        return NULL;
    return transport->is_buffered ? take_buffer(transport, size) : take_bytes(transport, size);
}

static void
choose_target(TransportObject *transport)
{
    const bool takes = transport->is_buffered || transport->full_reads >= FULL_READS;

    transport->recv._take = takes ? take : NULL;
}

void
iora__transport_retarget(TransportObject *transport)
{
    transport->full_reads = 0;
    if (!transport->is_taking)
        choose_target(transport);
}

/* ---- what came ---------------------------------------------------------------------------------------- */

static void
deliver_count(TransportObject *transport, int n)
{
    PyObject *const count = PyLong_FromLong(n);
    PyObject *const result =
        count == NULL
            ? NULL
            : iora__transport_call(transport, transport->loop->state->str_buffer_updated, count);

    Py_XDECREF(count);
    if (result == NULL)
        iora__transport_fail_by_protocol(transport,
                                         "Fatal error: protocol.buffer_updated() call failed.");
    Py_XDECREF(result);
}

static void
count_full_read(TransportObject *transport, int n)
{
    const uint8_t before = transport->full_reads;

    transport->full_reads = n < LENT_SIZE ? 0 : before < FULL_READS ? before + 1 : before;
    if (transport->full_reads != before)
        choose_target(transport);
}

static PyObject *
bytes_received(TransportObject *transport, int n)
{
    PyObject *data = transport->target;

    transport->target = NULL;
    if (data == NULL)
        return PyBytes_FromStringAndSize(transport->recv._base, n);
    (void)_PyBytes_Resize(&data, n); /* NULL if it fails */
    return data;
}

static int
hand_over(TransportObject *transport, PyObject *data)
{
    PyObject *const result =
        iora__transport_call(transport, transport->loop->state->str_data_received, data);

    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static void
deliver_bytes(TransportObject *transport, int n)
{
    PyObject *const data = bytes_received(transport, n);
    int rc = -1;

    count_full_read(transport, n);
    if (data != NULL)
        rc = transport->is_stream ? iora__stream_feed(transport->protocol, data) : IORA__NOT_FED;
    if (rc == IORA__NOT_FED)
        rc = hand_over(transport, data);
    Py_XDECREF(data);
    if (rc < 0)
        iora__transport_fail_by_protocol(transport,
                                         "Fatal error: protocol.data_received() call failed.");
}

static void
deliver_end(TransportObject *transport)
{
    PyObject *result;
    int keep_open;

    transport->has_end = true;
    (void)iora__transport_say(transport, "%r received EOF");
    result = iora__transport_call(transport, transport->loop->state->str_eof_received, NULL);
    keep_open = result == NULL ? -1 : PyObject_IsTrue(result);
    Py_XDECREF(result);
    if (keep_open < 0)
        iora__transport_fail_by_protocol(transport,
                                         "Fatal error: protocol.eof_received() call failed.");
    else if (!keep_open && iora__transport_close(transport, transport->context) < 0)
        PyErr_WriteUnraisable((PyObject *)transport);
}

static void
deliver_error(TransportObject *transport, int code)
{
    PyObject *const exception = transport->exception;

    transport->exception = NULL;
    if (exception == NULL) {
        iora__transport_fail(transport, iora__os_error(code),
                             "Fatal read error on socket transport");
        return;
    }
    iora__raise_exception(exception);
    iora__transport_fail_by_protocol(transport, "Fatal error: protocol.get_buffer() call failed.");
}

static void
deliver(TransportObject *transport, int res)
{
    if (res < 0 && (transport->exception != NULL || may_read(transport)))
        deliver_error(transport, res);
    else if (!may_read(transport))
        return;
    else if (res == 0)
        deliver_end(transport);
    else if (transport->target != NULL && transport->is_buffered)
        deliver_count(transport, res);
    else
        deliver_bytes(transport, res);
}

static void
received(struct iora__op *op)
{
    TransportObject *const transport = iora__container_of(op, TransportObject, recv);
    const bool is_over = op->_state == IORA__OP_IDLE;

    iora__loop_take_gil(transport->loop);
    if (is_over)
        transport->is_receiving = false; /* its reference is dropped below */
    else
        Py_INCREF(transport);
    /* No memory was given, and none was asked for by who is to be heard: begun again below. */
    if (op->_res != -ENOMEM || op->_take == NULL || transport->exception != NULL)
        deliver(transport, op->_res);
    Py_CLEAR(transport->target);
    op->_base = NULL; /* it may be a target's that is gone; an op without memory is lent the backend's */
    if (is_over)
        iora__transport_start_reading(transport);
    if (transport->loop->write_policy == IORA__WRITE_PER_CALLBACK)
        iora__loop_flush(transport->loop);
    Py_DECREF(transport);
}

/* ---- whether ------------------------------------------------------------------------------------------ */

void
iora__transport_start_reading(TransportObject *transport)
{
    int rc;

    if (transport->is_receiving || !may_read(transport))
        return;
    transport->recv = (struct iora__op){
        ._done = received, ._fd = transport->fd, ._kind = IORA__OP_RECV, ._flags = IORA__OP_MULTI};
    choose_target(transport);
    if ((rc = iora__op_submit(transport->loop->core, &transport->recv)) < 0) {
        iora__transport_fail(transport, iora__os_error(rc), "Fatal read error on socket transport");
        return;
    }
    transport->is_receiving = true;
    Py_INCREF(transport);
}

void
iora__transport_stop_reading(TransportObject *transport)
{
    if (!transport->is_taking)
        iora__transport_stop(transport, &transport->recv, &transport->is_receiving);
}
