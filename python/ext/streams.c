/* ext/streams.c -- asyncio's streams: what runs for each packet and each read.
 *
 * The three types are bases for asyncio's own classes (iora/_streams.py), of which they replace the methods and fields
 * that matter: what happens once for each connection is inherited.
 *
 *     StreamReader            its buffer, feed_data() and the reads
 *     StreamWriter            write(), drain()
 *     StreamReaderProtocol    data_received()
 *
 * A reader's buffer is in one of three states:
 *
 *     chunk      one bytes object as it was received, read up to `start`; or nothing. A read that takes all of it gets
 *                the object itself: a line that came alone is never copied, and who waits holds no memory
 *     gathered   a bytearray: more came while something was left. When it is empty, it goes
 *     touched    the same, once Python has seen it as `_buffer`: it stays for good
 *
 * The fields that asyncio's classes set are members here, so the inherited methods and ours see the same.
 */
#include "ext/streams.h"

#include "ext/awaitable.h"
#include "ext/compat.h"
#include "ext/function.h"
#include "ext/running.h"
#include "ext/state.h"
#include "ext/sync.h"
#include "ext/table.h"
#include "ext/transport.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    struct state *state;
    PyObject *loop;
    PyObject *chunk;    /* NULL, or bytes of which something is left */
    Py_ssize_t start;   /* so much of the chunk was read */
    PyObject *gathered; /* NULL, or a bytearray: then there is no chunk */
    PyObject *waiter;   /* here and below: NULL or None, none */
    PyObject *exception;
    PyObject *transport;
    Py_ssize_t limit;
    bool is_touched;
    char eof;
    char paused;
} ReaderObject;

typedef struct {
    PyObject_HEAD
    struct state *state;
    PyObject *transport;
    PyObject *protocol;
    PyObject *reader;
    PyObject *loop;
} WriterObject;

typedef struct {
    PyObject_HEAD
    struct state *state;
    PyObject *reader;        /* a weak reference */
    PyObject *drain_waiters; /* a deque; NULL: an empty one that nobody has looked at */
    char paused;
    char connection_lost;
} ProtocolObject;

static bool
is_none(const PyObject *object)
{
    return object == NULL || object == Py_None;
}

/* What __init__ should have set is not there. */
static void
raise_missing(PyObject *self, const char *name)
{
    PyErr_Format(PyExc_AttributeError, "'%.200s' object has no attribute '%s'",
                 Py_TYPE(self)->tp_name, name);
}

static int
call(PyObject *object, const char *name)
{
    PyObject *const result = PyObject_CallMethod(is_none(object) ? Py_None : object, name, NULL);

    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* ---- the buffer ---------------------------------------------------------------------------------------- */

static Py_ssize_t
size_of(const ReaderObject *reader)
{
    if (reader->gathered != NULL)
        return PyByteArray_GET_SIZE(reader->gathered);
    return reader->chunk != NULL ? PyBytes_GET_SIZE(reader->chunk) - reader->start : 0;
}

static const char *
bytes_of(const ReaderObject *reader)
{
    if (reader->gathered != NULL)
        return PyByteArray_AS_STRING(reader->gathered);
    return reader->chunk != NULL ? PyBytes_AS_STRING(reader->chunk) + reader->start : NULL;
}

/* Forget the first n bytes. */
static int
drop(ReaderObject *reader, Py_ssize_t n)
{
    if (n == size_of(reader) && !reader->is_touched) {
        Py_CLEAR(reader->gathered);
        Py_CLEAR(reader->chunk);
        return 0;
    }
    if (reader->gathered != NULL)
        return PySequence_DelSlice(reader->gathered, 0, n);
    reader->start += n;
    return 0;
}

/* Take the first n bytes out: a bytes object. */
static PyObject *
take(ReaderObject *reader, Py_ssize_t n)
{
    PyObject *taken;

    if (reader->chunk != NULL && reader->start == 0 && n == PyBytes_GET_SIZE(reader->chunk)) {
        taken = reader->chunk;
        reader->chunk = NULL;
        return taken;
    }
    if ((taken = PyBytes_FromStringAndSize(bytes_of(reader), n)) != NULL && drop(reader, n) < 0)
        Py_CLEAR(taken);
    return taken;
}

/* Have a bytearray. */
static int
gather(ReaderObject *reader)
{
    if (reader->gathered != NULL)
        return 0;
    if ((reader->gathered = PyByteArray_FromStringAndSize(bytes_of(reader), size_of(reader))) ==
        NULL)
        return -1;
    Py_CLEAR(reader->chunk);
    return 0;
}

static int
append(ReaderObject *reader, PyObject *data)
{
    Py_buffer view;
    Py_ssize_t before;

    if (reader->gathered == NULL && reader->chunk == NULL && PyBytes_CheckExact(data)) {
        reader->chunk = Py_NewRef(data);
        reader->start = 0;
        return 0;
    }
    if (gather(reader) < 0 || PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
        return -1;
    before = PyByteArray_GET_SIZE(reader->gathered);
    if (PyByteArray_Resize(reader->gathered, before + view.len) < 0) {
        PyBuffer_Release(&view);
        return -1;
    }
    memcpy(PyByteArray_AS_STRING(reader->gathered) + before, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return 0;
}

static PyObject *
get_buffer(ReaderObject *reader, void *unused)
{
    (void)unused;
    if (gather(reader) < 0)
        return NULL;
    reader->is_touched = true;
    return Py_NewRef(reader->gathered);
}

static int
set_buffer(ReaderObject *reader, PyObject *buffer, void *unused)
{
    (void)unused;
    if (buffer == NULL || !PyByteArray_Check(buffer)) {
        PyErr_SetString(PyExc_TypeError, "_buffer must be a bytearray");
        return -1;
    }
    Py_CLEAR(reader->chunk);
    /* A fresh one, as __init__ makes it, has been seen by nobody. */
    reader->is_touched = PyByteArray_GET_SIZE(buffer) > 0 || Py_REFCNT(buffer) > 1;
    Py_XSETREF(reader->gathered, reader->is_touched ? Py_NewRef(buffer) : NULL);
    return 0;
}

static PyObject *
get_limit(ReaderObject *reader, void *unused)
{
    (void)unused;
    return PyLong_FromSsize_t(reader->limit);
}

/* Any number, of which what is compared with it sees as much as Py_ssize_t can hold. */
static int
set_limit(ReaderObject *reader, PyObject *limit, void *unused)
{
    (void)unused;
    if (limit != NULL)
        return iora__take_size(limit, &reader->limit);
    PyErr_SetString(PyExc_TypeError, "_limit cannot be deleted");
    return -1;
}

/* ---- who feeds it --------------------------------------------------------------------------------------- */

static int
wake(ReaderObject *reader)
{
    PyObject *const waiter = reader->waiter;
    int rc = 0;

    PyObject *result;

    reader->waiter = NULL;
    if (!is_none(waiter)) {
        result = PyObject_CallMethodOneArg(waiter, reader->state->str_set_result, Py_None);
        if (result == NULL && (rc = iora__future_is_done(reader->state, waiter)) > 0)
            PyErr_Clear(); /* it was cancelled */
        rc = result == NULL && rc <= 0 ? -1 : 0;
        Py_XDECREF(result);
    }
    Py_XDECREF(waiter);
    return rc;
}

static int
pause_transport(ReaderObject *reader)
{
    if (is_none(reader->transport) || reader->paused ||
        size_of(reader) - reader->limit <= reader->limit)
        return 0;
    if (call(reader->transport, "pause_reading") == 0) {
        reader->paused = 1;
        return 0;
    }
    if (!PyErr_ExceptionMatches(PyExc_NotImplementedError))
        return -1;
    PyErr_Clear(); /* then all has to be kept */
    Py_CLEAR(reader->transport);
    return 0;
}

static int
resume_transport(ReaderObject *reader)
{
    if (!reader->paused || size_of(reader) > reader->limit)
        return 0;
    reader->paused = 0;
    return call(reader->transport, "resume_reading");
}

static int
feed(ReaderObject *reader, PyObject *data)
{
    const Py_ssize_t size = PyObject_Size(data);

    if (reader->eof) {
        PyErr_SetString(PyExc_AssertionError, "feed_data after feed_eof");
        return -1;
    }
    if (size <= 0)
        return size < 0 ? -1 : 0;
    return append(reader, data) < 0 || wake(reader) < 0 ? -1 : pause_transport(reader);
}

static PyObject *
reader_feed_data(ReaderObject *reader, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    PyObject *const data = iora__only_arg("feed_data", "data", args, n, names);

    return data == NULL || feed(reader, data) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
reader_feed_eof(ReaderObject *reader, PyObject *unused)
{
    (void)unused;
    reader->eof = 1;
    return wake(reader) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
reader_at_eof(ReaderObject *reader, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(reader->eof && size_of(reader) == 0);
}

static PyObject *
reader_wakeup_waiter(ReaderObject *reader, PyObject *unused)
{
    (void)unused;
    return wake(reader) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
reader_maybe_resume_transport(ReaderObject *reader, PyObject *unused)
{
    (void)unused;
    return resume_transport(reader) < 0 ? NULL : Py_NewRef(Py_None);
}

/* ---- who reads ------------------------------------------------------------------------------------------- */

enum { READER, SEPARATOR, BLOCKS }; /* what an awaitable refers to */

/* Whether it is of the class that users see, and of no subclass; -1. */
static int
is_exactly_ours(PyObject *reader, struct state *state)
{
    const PyObject *const class =
        iora__sync_public_class(&state->public_stream_reader, "iora._streams", "StreamReader");

    return class == NULL ? -1 : (PyObject *)Py_TYPE(reader) == class;
}

/* Whether no subclass has put another in the place of a method that readline() and read(-1) are made of; -1. */
static int
is_plain_reader(PyObject *reader, struct state *state)
{
    static const char *const names[] = {"read", "readuntil", NULL};
    const int is = is_exactly_ours(reader, state);

    if (is != 0)
        return is;
    return iora__class_is_plain(Py_TYPE(reader), &state->plain_reader, state->stream_reader_type,
                                names);
}

/* asyncio's own method, which calls what the subclass has. */
static PyObject *
call_stock(const struct state *state, const char *name, PyObject *reader)
{
    return PyObject_CallMethod(state->stock_stream_reader, name, "O", reader);
}

static ReaderObject *
reader_of(const AwaitableObject *self)
{
    return (ReaderObject *)self->refs[READER];
}

/* It was given an exception, or has never been initialized. */
static enum iora__outcome
raise_kept(ReaderObject *reader)
{
    if (reader->exception == NULL)
        raise_missing((PyObject *)reader, "_exception");
    else
        PyErr_SetObject((PyObject *)Py_TYPE(reader->exception), reader->exception);
    return IORA__RAISE;
}

enum { READ, READEXACTLY, READUNTIL, READLINE };

static const struct iora__awaitable_kind kinds[4];

/* Wait for more. */
static enum iora__outcome
wait_for_data(AwaitableObject *self, PyObject **out)
{
    ReaderObject *const reader = reader_of(self);
    PyObject *waiter;

    if (!is_none(reader->waiter)) {
        PyErr_Format(PyExc_RuntimeError,
                     "%s() called while another coroutine is already waiting for incoming data",
                     self->kind == &kinds[READLINE] ? "readuntil" : self->kind->name);
        return IORA__RAISE;
    }
    if (reader->paused) { /* or it would wait for ever */
        reader->paused = 0;
        if (call(reader->transport, "resume_reading") < 0)
            return IORA__RAISE;
    }
    if (reader->loop == NULL) {
        raise_missing((PyObject *)reader, "_loop");
        return IORA__RAISE;
    }
    if ((waiter = iora__create_future(reader->state, reader->loop)) == NULL)
        return IORA__RAISE;
    Py_XSETREF(reader->waiter, Py_NewRef(waiter));
    self->phase = 1;
    *out = waiter;
    return IORA__AWAIT;
}

/* At the beginning of each step. */
static enum iora__outcome
go_on(AwaitableObject *self, PyObject *value)
{
    ReaderObject *const reader = reader_of(self);

    if (self->phase == 1)
        Py_CLEAR(reader->waiter);
    self->phase = 2;
    return value == NULL ? IORA__RAISE : IORA__RETURN;
}

static enum iora__outcome
give(ReaderObject *reader, Py_ssize_t n, PyObject **out)
{
    if ((*out = take(reader, n)) == NULL)
        return IORA__RAISE;
    if (resume_transport(reader) == 0)
        return IORA__RETURN;
    Py_CLEAR(*out);
    return IORA__RAISE;
}

/* What came before the end, which is less than was asked for. */
static enum iora__outcome
raise_incomplete(ReaderObject *reader, PyObject *expected)
{
    PyObject *const partial = take(reader, size_of(reader));
    PyObject *const error = partial != NULL && expected != NULL
                                ? PyObject_CallFunctionObjArgs(reader->state->incomplete_read_error,
                                                               partial, expected, NULL)
                                : NULL;

    if (error != NULL)
        PyErr_SetObject(reader->state->incomplete_read_error, error);
    Py_XDECREF(error);
    Py_XDECREF(partial);
    Py_XDECREF(expected);
    return IORA__RAISE;
}

static enum iora__outcome
step_of_readexactly(AwaitableObject *self, PyObject *value, PyObject **out)
{
    ReaderObject *const reader = reader_of(self);

    if (self->phase == 0 && self->number < 0) {
        PyErr_SetString(PyExc_ValueError, "readexactly size can not be less than zero");
        return IORA__RAISE;
    }
    if (self->phase == 0 && value != NULL && reader->exception != Py_None)
        return raise_kept(reader);
    if (go_on(self, value) == IORA__RAISE)
        return IORA__RAISE;
    if (size_of(reader) >= self->number)
        return self->number > 0 ? give(reader, self->number, out)
                                : ((*out = PyBytes_FromStringAndSize(NULL, 0)), IORA__RETURN);
    if (reader->eof)
        return raise_incomplete(reader, PyLong_FromSsize_t(self->number));
    return wait_for_data(self, out);
}

/* Up to the end, in blocks of the limit, so that a paused transport goes on. */
static enum iora__outcome
read_all(AwaitableObject *self, PyObject **out)
{
    ReaderObject *const reader = reader_of(self);
    PyObject *empty;

    while (size_of(reader) > 0) {
        const Py_ssize_t size = size_of(reader);
        const bool is_last = size < reader->limit || reader->limit <= 0;
        PyObject *block;
        int rc;

        if (give(reader, is_last ? size : reader->limit, &block) == IORA__RAISE)
            return IORA__RAISE;
        rc = PyList_Append(self->refs[BLOCKS], block);
        Py_DECREF(block);
        if (rc < 0)
            return IORA__RAISE;
    }
    if (reader->exception != Py_None)
        return raise_kept(reader);
    if (!reader->eof)
        return wait_for_data(self, out);
    if ((empty = PyBytes_FromStringAndSize(NULL, 0)) == NULL)
        return IORA__RAISE;
    *out = PyObject_CallMethod(empty, "join", "O", self->refs[BLOCKS]);
    Py_DECREF(empty);
    return *out == NULL ? IORA__RAISE : IORA__RETURN;
}

static enum iora__outcome
step_of_read(AwaitableObject *self, PyObject *value, PyObject **out)
{
    ReaderObject *const reader = reader_of(self);
    const bool is_first = self->phase == 0;
    const Py_ssize_t size = size_of(reader), n = self->number;

    if (is_first && value != NULL && reader->exception != Py_None)
        return raise_kept(reader);
    if (go_on(self, value) == IORA__RAISE)
        return IORA__RAISE;
    if (n < 0)
        return self->refs[BLOCKS] != NULL || (self->refs[BLOCKS] = PyList_New(0)) != NULL
                   ? read_all(self, out)
                   : IORA__RAISE;
    if (n > 0 && size == 0 && !reader->eof && is_first)
        return wait_for_data(self, out);
    return give(reader, n < size ? n : size, out);
}

static enum iora__outcome
raise_overrun(const ReaderObject *reader, const char *message, Py_ssize_t consumed)
{
    PyObject *const error =
        PyObject_CallFunction(reader->state->limit_overrun_error, "sn", message, consumed);

    if (error != NULL)
        PyErr_SetObject(reader->state->limit_overrun_error, error);
    Py_XDECREF(error);
    return IORA__RAISE;
}

enum { MORE = -1, TOO_LONG = -2, TOO_LONG_SO_FAR = -3 };

/* Where a separator ends, looking from `*from` on, up to where there is none; or one of these. */
static Py_ssize_t
find(const ReaderObject *reader, const char *separator, Py_ssize_t length, Py_ssize_t *from)
{
    const Py_ssize_t size = size_of(reader);
    const char *const bytes = bytes_of(reader), *at;

    if (size - *from < length)
        return MORE;
    at = length == 1 ? memchr(bytes + *from, separator[0], (size_t)(size - *from))
                     : memmem(bytes + *from, (size_t)(size - *from), separator, (size_t)length);
    if (at != NULL) {
        *from = at - bytes;
        return *from > reader->limit ? TOO_LONG : *from + length;
    }
    *from = size + 1 - length;
    return *from > reader->limit ? TOO_LONG_SO_FAR : MORE;
}

static enum iora__outcome
step_of_readuntil(AwaitableObject *self, PyObject *value, PyObject **out)
{
    ReaderObject *const reader = reader_of(self);
    PyObject *const separator = self->refs[SEPARATOR];
    Py_ssize_t end;

    if (self->phase == 0 && PyBytes_GET_SIZE(separator) == 0) {
        PyErr_SetString(PyExc_ValueError, "Separator should be at least one-byte string");
        return IORA__RAISE;
    }
    if (self->phase == 0 && value != NULL && reader->exception != Py_None)
        return raise_kept(reader);
    if (go_on(self, value) == IORA__RAISE)
        return IORA__RAISE;
    end = find(reader, PyBytes_AS_STRING(separator), PyBytes_GET_SIZE(separator), &self->number);
    if (end >= 0)
        return give(reader, end, out);
    if (end == TOO_LONG)
        return raise_overrun(reader, "Separator is found, but chunk is longer than limit",
                             self->number);
    if (end == TOO_LONG_SO_FAR)
        return raise_overrun(reader, "Separator is not found, and chunk exceed the limit",
                             self->number);
    return reader->eof ? raise_incomplete(reader, Py_NewRef(Py_None)) : wait_for_data(self, out);
}

/* A line that is too long is dropped: with its end, or all that came of it. */
static enum iora__outcome
drop_line(ReaderObject *reader, bool has_end, Py_ssize_t length)
{
    if (drop(reader, has_end ? length + 1 : size_of(reader)) == 0 && resume_transport(reader) == 0)
        PyErr_SetString(PyExc_ValueError,
                        has_end ? "Separator is found, but chunk is longer than limit"
                                : "Separator is not found, and chunk exceed the limit");
    return IORA__RAISE;
}

static enum iora__outcome
step_of_readline(AwaitableObject *self, PyObject *value, PyObject **out)
{
    ReaderObject *const reader = reader_of(self);
    Py_ssize_t end;

    if (self->phase == 0 && value != NULL && reader->exception != Py_None)
        return raise_kept(reader);
    if (go_on(self, value) == IORA__RAISE)
        return IORA__RAISE;
    end = find(reader, "\n", 1, &self->number);
    if (end == TOO_LONG || end == TOO_LONG_SO_FAR)
        return drop_line(reader, end == TOO_LONG, self->number);
    if (end < 0 && !reader->eof)
        return wait_for_data(self, out);
    return give(reader, end < 0 ? size_of(reader) : end, out);
}

static const struct iora__awaitable_kind kinds[4] = {
    {"read", "StreamReader.read", step_of_read},
    {"readexactly", "StreamReader.readexactly", step_of_readexactly},
    {"readuntil", "StreamReader.readuntil", step_of_readuntil},
    {"readline", "StreamReader.readline", step_of_readline},
};

static AwaitableObject *
new_read(struct state *state, PyObject *reader, int kind)
{
    AwaitableObject *const self = iora__awaitable_new(state, &kinds[kind]);

    if (self != NULL)
        self->refs[READER] = Py_NewRef(reader);
    return self;
}

static int
take_size(PyObject *const *args, Py_ssize_t n, PyObject *names, int kind, Py_ssize_t *size)
{
    static const char *const parameters[] = {"n", NULL};
    PyObject *given = NULL;

    if (iora__take_args(kinds[kind].qualname, parameters, kind == READEXACTLY, args + 1, n - 1,
                        names, &given) < 0)
        return -1;
    if (given != NULL)
        *size = PyNumber_AsSsize_t(given, NULL); /* too large is as large as can be */
    return *size == -1 && PyErr_Occurred() ? -1 : 0;
}

static PyObject *
new_sized_read(struct state *state, PyObject *reader, int kind, Py_ssize_t size)
{
    AwaitableObject *const self = new_read(state, reader, kind);

    if (self != NULL)
        self->number = size;
    return (PyObject *)self;
}

static PyObject *
reader_read(struct state *state, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    Py_ssize_t size = -1;
    int plain = 1;

    if (take_size(args, n, names, READ, &size) < 0 ||
        (size < 0 && (plain = is_plain_reader(args[0], state)) < 0))
        return NULL;
    return plain ? new_sized_read(state, args[0], READ, size)
                 : call_stock(state, "read", args[0]);
}

static PyObject *
reader_readexactly(struct state *state, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    Py_ssize_t size = -1;

    return take_size(args, n, names, READEXACTLY, &size) < 0
               ? NULL
               : new_sized_read(state, args[0], READEXACTLY, size);
}

static PyObject *
reader_readline(struct state *state, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const none[] = {NULL};
    int plain;

    if (iora__take_args("StreamReader.readline", none, 0, args + 1, n - 1, names, NULL) < 0 ||
        (plain = is_plain_reader(args[0], state)) < 0)
        return NULL;
    return plain ? (PyObject *)new_read(state, args[0], READLINE)
                 : call_stock(state, "readline", args[0]);
}

static PyObject *
reader_readuntil(struct state *state, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const parameters[] = {"separator", NULL};
    PyObject *given = NULL, *separator;
    AwaitableObject *self;

    if (iora__take_args("StreamReader.readuntil", parameters, 0, args + 1, n - 1, names, &given) <
        0)
        return NULL;
    if (given != NULL && PyTuple_Check(given)) /* several: of 3.13, and its own method knows how */
        return PyObject_CallMethod(state->stock_stream_reader, "readuntil", "OO", args[0], given);
    separator = given != NULL ? PyBytes_FromObject(given) : PyBytes_FromStringAndSize("\n", 1);
    if (separator == NULL)
        return NULL;
    if ((self = new_read(state, args[0], READUNTIL)) == NULL)
        Py_DECREF(separator);
    else
        self->refs[SEPARATOR] = separator;
    return (PyObject *)self;
}

/* ---- who writes ------------------------------------------------------------------------------------------ */

/* The transport if it is one of ours, whose methods nothing hides. */
static TransportObject *
plain_transport(const WriterObject *writer)
{
    TransportObject *const transport = (TransportObject *)writer->transport;

    return Py_TYPE(transport) == writer->state->transport_type && transport->dict == NULL
               ? transport
               : NULL;
}

static PyObject *
writer_write(WriterObject *writer, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    PyObject *const data = iora__only_arg("write", "data", args, n, names);
    PyObject *result;

    if (data == NULL)
        return NULL;
    if (writer->transport == NULL) {
        raise_missing((PyObject *)writer, "_transport");
        return NULL;
    }
    if (plain_transport(writer) != NULL)
        return iora__transport_write(plain_transport(writer), data);
    result = PyObject_CallMethodOneArg(writer->transport, writer->state->str_write, data);
    if (result == NULL)
        return NULL;
    Py_DECREF(result);
    Py_RETURN_NONE;
}

/* 1 if the reader was given an exception, which is set then. */
static int
has_reader_failed(WriterObject *writer)
{
    PyObject *exception;
    int is_ours;

    if (writer->reader == Py_None)
        return 0;
    if (writer->reader == NULL) {
        raise_missing((PyObject *)writer, "_reader");
        return -1;
    }
    if ((is_ours = is_exactly_ours(writer->reader, writer->state)) < 0)
        return -1;
    exception = is_ours ? Py_XNewRef(((ReaderObject *)writer->reader)->exception)
                        : PyObject_CallMethod(writer->reader, "exception", NULL);
    if (is_none(exception)) {
        Py_XDECREF(exception);
        return PyErr_Occurred() ? -1 : 0;
    }
    PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
    Py_DECREF(exception);
    return 1;
}

static int
is_transport_closing(WriterObject *writer)
{
    PyObject *answer;
    int is;

    if (writer->transport == NULL) {
        raise_missing((PyObject *)writer, "_transport");
        return -1;
    }
    if (plain_transport(writer) != NULL)
        return plain_transport(writer)->is_closing;
    answer = PyObject_CallMethodNoArgs(writer->transport, writer->state->str_is_closing);
    is = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return is;
}

/* The protocol lets writers go on: nothing to wait for, as far as we know it. */
static bool
may_go_on(const WriterObject *writer)
{
    const ProtocolObject *const protocol = (ProtocolObject *)writer->protocol;

    return protocol != NULL &&
           PyObject_TypeCheck(writer->protocol, writer->state->stream_protocol_type) &&
           !protocol->paused && !protocol->connection_lost;
}

enum { BEGIN, TURNED, HELPED };

static enum iora__outcome
step_of_drain(AwaitableObject *self, PyObject *value, PyObject **out)
{
    WriterObject *const writer = (WriterObject *)self->refs[0];
    int rc;

    if (value == NULL)
        return IORA__RAISE;
    if (self->phase == BEGIN) {
        if (has_reader_failed(writer) != 0 || (rc = is_transport_closing(writer)) < 0)
            return IORA__RAISE;
        if (rc > 0) { /* connection_lost() is to be heard of first */
            self->phase = TURNED;
            return IORA__YIELD;
        }
    }
    if (self->phase != HELPED && !may_go_on(writer)) {
        self->phase = HELPED;
        if (writer->protocol == NULL) {
            raise_missing((PyObject *)writer, "_protocol");
            return IORA__RAISE;
        }
        *out = PyObject_CallMethod(writer->protocol, "_drain_helper", NULL);
        return *out == NULL ? IORA__RAISE : IORA__AWAIT;
    }
    *out = Py_NewRef(Py_None);
    return IORA__RETURN;
}

static const struct iora__awaitable_kind drain_kind = {"drain", "StreamWriter.drain",
                                                       step_of_drain};

static PyObject *
writer_drain(struct state *state, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const none[] = {NULL};
    AwaitableObject *self;

    if (iora__take_args("StreamWriter.drain", none, 0, args + 1, n - 1, names, NULL) < 0)
        return NULL;
    if ((self = iora__awaitable_new(state, &drain_kind)) != NULL)
        self->refs[0] = Py_NewRef(args[0]);
    return (PyObject *)self;
}

/* ---- the protocol ---------------------------------------------------------------------------------------- */

int
iora__stream_feed(PyObject *self, PyObject *data)
{
    ProtocolObject *const protocol = (ProtocolObject *)self;
    PyObject *reader;
    int rc;

    if (is_none(protocol->reader) || (reader = iora__weakly_referenced(protocol->reader)) == NULL)
        return 0;
    rc = is_exactly_ours(reader, protocol->state);
    if (rc >= 0)
        rc = rc > 0 ? feed((ReaderObject *)reader, data) : IORA__NOT_FED;
    Py_DECREF(reader);
    return rc;
}

static int
feed_by_method(ProtocolObject *protocol, PyObject *data)
{
    PyObject *const reader = iora__weakly_referenced(protocol->reader);
    PyObject *const result =
        reader != NULL ? PyObject_CallMethodOneArg(reader, protocol->state->str_feed_data, data)
                       : Py_NewRef(Py_None);

    Py_XDECREF(reader);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static PyObject *
protocol_data_received(PyObject *protocol, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    PyObject *const data = iora__only_arg("data_received", "data", args, n, names);

    int rc;

    if (data == NULL)
        return NULL;
    rc = iora__stream_feed(protocol, data);
    if (rc == IORA__NOT_FED)
        rc = feed_by_method((ProtocolObject *)protocol, data);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

int
iora__stream_is_plain(struct state *state, PyObject *protocol)
{
    PyObject *method;
    int is;

    if (!PyObject_TypeCheck(protocol, state->stream_protocol_type))
        return 0;
    if ((method = PyObject_GetAttr(protocol, state->str_data_received)) == NULL)
        return -1;
    is = PyCFunction_Check(method) &&
         PyCFunction_GET_FUNCTION(method) == (PyCFunction)(void (*)(void))protocol_data_received &&
         PyCFunction_GET_SELF(method) == protocol;
    Py_DECREF(method);
    return is;
}

static int
set_reader(ProtocolObject *protocol, PyObject *reference, void *unused)
{
    (void)unused;
    if (reference == NULL || (reference != Py_None && !PyWeakref_CheckRef(reference))) {
        PyErr_SetString(PyExc_TypeError, "_stream_reader_wr must be a weak reference or None");
        return -1;
    }
    Py_XSETREF(protocol->reader, Py_NewRef(reference));
    return 0;
}

/* asyncio's class makes a deque for each connection, which takes 760 bytes and few ever need. */
static int
set_drain_waiters(ProtocolObject *protocol, PyObject *waiters, void *unused)
{
    const bool is_empty = waiters != NULL && protocol->state != NULL &&
                          Py_IS_TYPE(waiters, (PyTypeObject *)protocol->state->deque) &&
                          PyObject_Size(waiters) == 0;

    (void)unused;
    Py_XSETREF(protocol->drain_waiters, is_empty ? NULL : Py_XNewRef(waiters));
    return 0;
}

static PyObject *
get_drain_waiters(ProtocolObject *protocol, void *unused)
{
    (void)unused;
    if (protocol->drain_waiters == NULL)
        protocol->drain_waiters = PyObject_CallNoArgs(protocol->state->deque);
    return Py_XNewRef(protocol->drain_waiters);
}

static PyObject *
get_reader(ProtocolObject *protocol, void *unused)
{
    (void)unused;
    return Py_NewRef(protocol->reader != NULL ? protocol->reader : Py_None);
}

/* ---- the types ------------------------------------------------------------------------------------------- */

/* Each has the state behind its header, and with it a reference to the module. */
static PyObject *
new_with_state(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *const self = type->tp_alloc(type, 0);

    (void)args;
    (void)keywords;
    if (self != NULL)
        ((ReaderObject *)self)->state = PyModule_GetState(Py_NewRef(iora__module_of(type)));
    return self;
}

static int
reader_traverse(ReaderObject *reader, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(reader));
    if (reader->state != NULL)
        Py_VISIT(reader->state->module);
    Py_VISIT(reader->loop);
    Py_VISIT(reader->waiter);
    Py_VISIT(reader->exception);
    Py_VISIT(reader->transport);
    return 0;
}

static int
reader_clear(ReaderObject *reader)
{
    Py_CLEAR(reader->loop);
    Py_CLEAR(reader->waiter);
    Py_CLEAR(reader->exception);
    Py_CLEAR(reader->transport);
    return 0;
}

static void
free_object(PyObject *self)
{
    PyTypeObject *const type = Py_TYPE(self);
    PyObject *const module = ((ReaderObject *)self)->state->module;

    type->tp_free(self);
    Py_DECREF(type);
    Py_DECREF(module);
}

static void
reader_dealloc(ReaderObject *reader)
{
    PyObject_GC_UnTrack(reader);
    (void)reader_clear(reader);
    Py_CLEAR(reader->chunk);
    Py_CLEAR(reader->gathered);
    free_object((PyObject *)reader);
}

static int
writer_traverse(WriterObject *writer, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(writer));
    if (writer->state != NULL)
        Py_VISIT(writer->state->module);
    Py_VISIT(writer->transport);
    Py_VISIT(writer->protocol);
    Py_VISIT(writer->reader);
    Py_VISIT(writer->loop);
    return 0;
}

static int
writer_clear(WriterObject *writer)
{
    Py_CLEAR(writer->transport);
    Py_CLEAR(writer->protocol);
    Py_CLEAR(writer->reader);
    Py_CLEAR(writer->loop);
    return 0;
}

static void
writer_dealloc(WriterObject *writer)
{
    PyObject_GC_UnTrack(writer);
    (void)writer_clear(writer);
    free_object((PyObject *)writer);
}

static int
protocol_traverse(ProtocolObject *protocol, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(protocol));
    if (protocol->state != NULL)
        Py_VISIT(protocol->state->module);
    Py_VISIT(protocol->reader);
    Py_VISIT(protocol->drain_waiters);
    return 0;
}

static int
protocol_clear(ProtocolObject *protocol)
{
    Py_CLEAR(protocol->reader);
    Py_CLEAR(protocol->drain_waiters);
    return 0;
}

static void
protocol_dealloc(ProtocolObject *protocol)
{
    PyObject_GC_UnTrack(protocol);
    (void)protocol_clear(protocol);
    free_object((PyObject *)protocol);
}

static PyMemberDef reader_members[] = {
    {"_loop", T_OBJECT_EX, offsetof(ReaderObject, loop), 0, NULL},
    {"_waiter", T_OBJECT, offsetof(ReaderObject, waiter), 0, NULL},
    {"_exception", T_OBJECT_EX, offsetof(ReaderObject, exception), 0, NULL},
    {"_transport", T_OBJECT, offsetof(ReaderObject, transport), 0, NULL},
    {"_eof", T_BOOL, offsetof(ReaderObject, eof), 0, NULL},
    {"_paused", T_BOOL, offsetof(ReaderObject, paused), 0, NULL},
    {0},
};

static PyGetSetDef reader_getset[] = {
    {"_buffer", (getter)get_buffer, (setter)set_buffer, NULL, NULL},
    {"_limit", (getter)get_limit, (setter)set_limit, NULL, NULL},
    {0},
};

static PyMethodDef reader_methods[] = {
    METHOD("feed_data", reader_feed_data, METH_FASTCALL | METH_KEYWORDS,
           "feed_data($self, data)\n--\n\nGive bytes to who reads."),
    {"feed_eof", (PyCFunction)reader_feed_eof, METH_NOARGS,
     PyDoc_STR("feed_eof($self)\n--\n\nNothing more will come.")},
    {"at_eof", (PyCFunction)reader_at_eof, METH_NOARGS,
     PyDoc_STR("at_eof($self)\n--\n\nWhether all was read, and nothing more will come.")},
    {"_wakeup_waiter", (PyCFunction)reader_wakeup_waiter, METH_NOARGS, NULL},
    {"_maybe_resume_transport", (PyCFunction)reader_maybe_resume_transport, METH_NOARGS, NULL},
    {0},
};

static const struct iora__function reader_functions[] = {
    {"read", "StreamReader.read", "asyncio.streams", "(self, n=-1)",
     "Read up to n bytes, at least one; without n, all up to the end.", reader_read},
    {"readexactly", "StreamReader.readexactly", "asyncio.streams", "(self, n)",
     "Read n bytes, or raise IncompleteReadError.", reader_readexactly},
    {"readuntil", "StreamReader.readuntil", "asyncio.streams", "(self, separator=b'\\n')",
     "Read up to a separator, with it.", reader_readuntil},
    {"readline", "StreamReader.readline", "asyncio.streams", "(self)",
     "Read a line, with its end if it has one; b'' at the end.", reader_readline},
    {0},
};

static PyType_Slot reader_slots[] = {
    {Py_tp_new, new_with_state},       {Py_tp_dealloc, reader_dealloc},
    {Py_tp_traverse, reader_traverse}, {Py_tp_clear, reader_clear},
    {Py_tp_methods, reader_methods},   {Py_tp_members, reader_members},
    {Py_tp_getset, reader_getset},     {0},
};

static PyType_Spec reader_spec = {
    .name = "iora._c.StreamReader",
    .basicsize = sizeof(ReaderObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = reader_slots,
};

static PyMemberDef writer_members[] = {
    {"_transport", T_OBJECT_EX, offsetof(WriterObject, transport), 0, NULL},
    {"_protocol", T_OBJECT_EX, offsetof(WriterObject, protocol), 0, NULL},
    {"_reader", T_OBJECT_EX, offsetof(WriterObject, reader), 0, NULL},
    {"_loop", T_OBJECT_EX, offsetof(WriterObject, loop), 0, NULL},
    {0},
};

static PyMethodDef writer_methods[] = {
    METHOD("write", writer_write, METH_FASTCALL | METH_KEYWORDS,
           "write($self, data)\n--\n\nSend bytes; await drain() not to have too many queued."),
    {0},
};

static const struct iora__function writer_functions[] = {
    {"drain", "StreamWriter.drain", "asyncio.streams", "(self)", "Wait until more may be written.",
     writer_drain},
    {0},
};

static PyType_Slot writer_slots[] = {
    {Py_tp_new, new_with_state},
    {Py_tp_dealloc, writer_dealloc},
    {Py_tp_traverse, writer_traverse},
    {Py_tp_clear, writer_clear},
    {Py_tp_methods, writer_methods},
    {Py_tp_members, writer_members},
    {0},
};

static PyType_Spec writer_spec = {
    .name = "iora._c.StreamWriter",
    .basicsize = sizeof(WriterObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = writer_slots,
};

static PyMemberDef protocol_members[] = {
    {"_paused", T_BOOL, offsetof(ProtocolObject, paused), 0, NULL},
    {"_connection_lost", T_BOOL, offsetof(ProtocolObject, connection_lost), 0, NULL},
    {0},
};

static PyGetSetDef protocol_getset[] = {
    {"_drain_waiters", (getter)get_drain_waiters, (setter)set_drain_waiters, NULL, NULL},
    {"_stream_reader_wr", (getter)get_reader, (setter)set_reader, NULL, NULL},
    {0},
};

static PyMethodDef protocol_methods[] = {
    METHOD("data_received", protocol_data_received, METH_FASTCALL | METH_KEYWORDS,
           "data_received($self, data)\n--\n\n"),
    {0},
};

static PyType_Slot protocol_slots[] = {
    {Py_tp_new, new_with_state},         {Py_tp_dealloc, protocol_dealloc},
    {Py_tp_traverse, protocol_traverse}, {Py_tp_clear, protocol_clear},
    {Py_tp_methods, protocol_methods},   {Py_tp_members, protocol_members},
    {Py_tp_getset, protocol_getset},     {0},
};

static PyType_Spec protocol_spec = {
    .name = "iora._c.StreamReaderProtocol",
    .basicsize = sizeof(ProtocolObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = protocol_slots,
};

static PyTypeObject *
add_type(PyObject *module, struct state *state, PyType_Spec *spec,
         const struct iora__function *functions)
{
    PyTypeObject *const type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);

    if (type == NULL || PyModule_AddType(module, type) < 0 ||
        (functions != NULL && iora__function_add_to_type(type, state, functions) < 0)) {
        Py_XDECREF(type);
        return NULL;
    }
    return type;
}

int
iora__streams_add_types(PyObject *module, struct state *state)
{
    if ((state->stream_reader_type = add_type(module, state, &reader_spec, reader_functions)) ==
            NULL ||
        (state->stream_writer_type = add_type(module, state, &writer_spec, writer_functions)) ==
            NULL ||
        (state->stream_protocol_type = add_type(module, state, &protocol_spec, NULL)) == NULL)
        return -1;
    return 0;
}
