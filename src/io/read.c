/* io/read.c -- reading from a stream.
 *
 * iora_read() receives into its caller's memory. Everything else collects bytes in the stream's window, so that a
 * cancel loses none, and hands out a *view* of it: the bytes stay where they are until the next read begins,
 * with a NUL behind them; the byte that the NUL took the place of is kept and put back then.
 *
 * The window has no memory while a task waits for the first byte: the op asks for it (`_take`) when there is
 * something to receive. How much is received at once adapts: a read that fills the window makes the next
 * one twice as large, up to the line limit; a stream that falls idle begins again with a page.
 *
 * When a server lets its clients end, their streams are *drained*: what has arrived is read as ever, but where a
 * read would wait, it has come to the end.
 */
#include "io/stream.h"

#include <limits.h>
#include <string.h>

static const struct iora__wait_class reading = {.what = "stream to read, descriptor",
                                                .names_descriptor = true,
                                                .cancel = iora__op_wait_cancel};

static size_t
size_of(const iora_stream *stream)
{
    return iora__window_size(&stream->in);
}

static char *
bytes_of(const iora_stream *stream)
{
    return stream->in.base + stream->in.begin;
}

/* ---- views ------------------------------------------------------------------------------------------ */

static int
give_view(iora_stream *stream, size_t n, char **out)
{
    if (n == 0) {
        stream->under_nul = '\0';
        *out = &stream->under_nul; /* a view of nothing */
        return 0;
    }
    *out = bytes_of(stream);
    stream->view = (uint32_t)n;
    stream->under_nul = (*out)[n];
    stream->has_nul = true;
    (*out)[n] = '\0';
    return (int)n;
}

/* Take back what was handed out. */
static void
end_view(iora_stream *stream)
{
    const uint32_t n = stream->view;

    if (!stream->has_nul)
        return;
    bytes_of(stream)[n] = stream->under_nul;
    stream->has_nul = false;
    stream->view = 0;
    iora__window_drop(&stream->in, &stream->loop->io->windows, n);
}

/* ---- receiving --------------------------------------------------------------------------------------- */

/* What a call returns whose receive ended so. */
static int
received(iora_stream *stream, const struct iora__task *task, int rc)
{
    if (rc > 0)
        return rc;
    if (rc == -ECANCELED && !task->cancelled) {
        if (stream->state != IORA__STREAM_OPEN)
            return IORA_E_CLOSED;
        rc = stream->drained ? 0 : rc;
    }
    if (rc == -EAGAIN) /* asked not to wait, being drained */
        rc = 0;
    if (rc == 0)
        stream->at_end = true;
    else if (rc != -ECANCELED && rc != -ENOMEM)
        stream->read_error = rc;
    return rc;
}

/* Before each part of a call that needs several: others may have had their turn, in which the task was cancelled
 * or the stream closed. And they get it, however fast the peer is. */
static int
go_on(const iora_stream *stream, struct iora__task *task)
{
    const int rc = iora__enter(task);

    if (rc < 0)
        return rc;
    return stream->state == IORA__STREAM_OPEN ? 0 : IORA_E_CLOSED;
}

/* Receive with the op as it is prepared: a count, 0 at the end, or an error. */
static int
receive(iora_stream *stream, struct iora__task *task, void *base, size_t size,
        void *(*take)(struct iora__op *, size_t *))
{
    if (stream->at_end)
        return 0;
    if (stream->read_error != 0)
        return stream->read_error;
    task->u.op = (struct iora__op){
        ._fd = stream->fd,
        ._kind = stream->is_pipe ? IORA__OP_READ : IORA__OP_RECV,
        ._flags = stream->drained ? IORA__OP_NOWAIT : 0,
        ._base = base,
        ._size = size,
        ._take = take,
    };
    return received(stream, task, iora__op_await(task, &reading, stream));
}

/* Memory for what is there to be received; or (`size` NULL) it was not needed. */
static void *
take_room(struct iora__op *op, size_t *size)
{
    iora_stream *const stream = iora__container_of(op, struct iora__task, u.op)->wait._object;
    struct iora__window_pool *const pool = &stream->loop->io->windows;

    if (size != NULL)
        return iora__window_room(&stream->in, pool, stream->in_limit, stream->in_wish, size);
    iora__window_trim(&stream->in, pool);
    stream->in_wish = 0;
    return NULL;
}

/* Receive more into the window, of which there may be `limit` bytes in all: as receive(). */
static int
fill(iora_stream *stream, struct iora__task *task, size_t limit)
{
    int rc;

    if ((rc = go_on(stream, task)) < 0)
        return rc;
    stream->in_limit = (uint32_t)limit;
    rc = receive(stream, task, NULL, 0, take_room);
    if (rc <= 0) {
        iora__window_trim(&stream->in, &stream->loop->io->windows);
        return rc;
    }
    stream->in.end += (uint32_t)rc;
    if (stream->in.end + 1 == stream->in.capacity && stream->in_wish < IORA__LIMIT_DEFAULT)
        stream->in_wish = stream->in.capacity * 2;
    return rc;
}

/* Receive until the window has n bytes: 0, IORA_E_INCOMPLETE or an error. */
static int
fill_to(iora_stream *stream, struct iora__task *task, size_t n, size_t limit)
{
    while (size_of(stream) < n) {
        const int rc = fill(stream, task, limit);

        if (rc <= 0)
            return rc < 0 ? rc : IORA_E_INCOMPLETE;
    }
    return 0;
}

/* ---- the calls ------------------------------------------------------------------------------------------- */

static int
begin(iora_stream *stream, struct iora__task *task)
{
    const int rc = iora__stream_enter(stream, task, &stream->reader);

    if (rc == 0)
        end_view(stream);
    return rc;
}

static int
leave(iora_stream *stream, int rc)
{
    iora__stream_leave(stream, &stream->reader);
    return rc;
}

/* Move bytes that are there to the caller's memory. */
static size_t
take_bytes(iora_stream *stream, void *data, size_t n)
{
    const size_t taken = n < size_of(stream) ? n : size_of(stream);

    if (taken == 0)
        return 0;
    memcpy(data, bytes_of(stream), taken);
    iora__window_drop(&stream->in, &stream->loop->io->windows, taken);
    return taken;
}

int
iora_read(iora_stream *stream, void *data, size_t n)
{
    struct iora__task *const task = iora__self();
    int rc;

    if ((rc = begin(stream, task)) < 0)
        return rc;
    if (n > INT_MAX)
        n = INT_MAX;
    if ((rc = (int)take_bytes(stream, data, n)) == 0 && n > 0)
        rc = receive(stream, task, data, n, NULL);
    return leave(stream, rc);
}

/* More than the window may hold: straight into the caller's memory. */
static int
read_directly(iora_stream *stream, struct iora__task *task, char *data, size_t n)
{
    stream->count = take_bytes(stream, data, n);
    while (stream->count < n) {
        const size_t left = n - stream->count;
        int rc;

        if ((rc = go_on(stream, task)) < 0)
            return rc;
        rc = receive(stream, task, data + stream->count, left < INT_MAX ? left : INT_MAX, NULL);
        if (rc <= 0)
            return rc < 0 ? rc : IORA_E_INCOMPLETE;
        stream->count += (size_t)rc;
    }
    return 0;
}

int
iora_read_exactly(iora_stream *stream, void *data, size_t n)
{
    struct iora__task *const task = iora__self();
    int rc;

    if ((rc = begin(stream, task)) < 0)
        return rc;
    stream->count = 0;
    if (n > stream->line_limit)
        rc = read_directly(stream, task, data, n);
    else if ((rc = fill_to(stream, task, n, stream->line_limit)) == 0)
        (void)take_bytes(stream, data, n);
    return leave(stream, rc);
}

size_t
iora_read_count(const iora_stream *stream)
{
    return stream->count;
}

/* How many bytes there are up to the end of the first separator; 0 if there is none from *scanned on, and how
 * many need not be looked at again. */
static size_t
find(const iora_stream *stream, const char *separator, size_t size, size_t *scanned)
{
    const char *const bytes = bytes_of(stream);
    const size_t n = size_of(stream);
    const char *found;

    if (n < size)
        return 0;
    found = size == 1 ? memchr(bytes + *scanned, separator[0], n - *scanned)
                      : memmem(bytes + *scanned, n - *scanned, separator, size);
    *scanned = n - size + 1;
    return found != NULL ? (size_t)(found - bytes) + size : 0;
}

/* The count up to and with the separator; 0 at the end without one. */
static int
read_to(iora_stream *stream, struct iora__task *task, const char *separator, size_t size)
{
    size_t scanned = 0, n;
    int rc;

    while ((n = find(stream, separator, size, &scanned)) == 0) {
        if (size_of(stream) >= stream->line_limit)
            return IORA_E_LIMIT;
        if ((rc = fill(stream, task, stream->line_limit)) <= 0)
            return rc;
    }
    return n > stream->line_limit ? IORA_E_LIMIT : (int)n;
}

int
iora_read_until(iora_stream *stream, const char *separator, size_t size, char **data)
{
    struct iora__task *const task = iora__self();
    int rc;

    if ((rc = begin(stream, task)) < 0)
        return rc;
    rc = size == 0 ? -EINVAL : read_to(stream, task, separator, size);
    if (rc == 0)
        rc = IORA_E_INCOMPLETE;
    return leave(stream, rc < 0 ? rc : give_view(stream, (size_t)rc, data));
}

int
iora_readline(iora_stream *stream, char **line)
{
    struct iora__task *const task = iora__self();
    int rc;

    if ((rc = begin(stream, task)) < 0)
        return rc;
    if ((rc = read_to(stream, task, "\n", 1)) == 0)
        rc = (int)size_of(stream); /* the last line, or nothing */
    return leave(stream, rc < 0 ? rc : give_view(stream, (size_t)rc, line));
}

int
iora_read_all(iora_stream *stream, size_t max, char **data)
{
    struct iora__task *const task = iora__self();
    int rc;

    if ((rc = begin(stream, task)) < 0)
        return rc;
    if (max >= IORA__LIMIT_MAX)
        max = IORA__LIMIT_MAX - 1;
    rc = fill_to(stream, task, max + 1, max + 1);
    rc = rc == 0 ? IORA_E_LIMIT : rc != IORA_E_INCOMPLETE ? rc : (int)size_of(stream);
    return leave(stream, rc < 0 ? rc : give_view(stream, (size_t)rc, data));
}

int
iora_lines(char **line, iora_stream *stream)
{
    char *one;
    int rc;

    while ((rc = iora_readline(stream, &one)) > 0) {
        if ((rc = iora_emit(line, one)) < 0)
            return rc;
    }
    return rc;
}

bool
iora_at_eof(const iora_stream *stream)
{
    return stream->at_end && size_of(stream) == stream->view;
}

/* ---- for servers ----------------------------------------------------------------------------------------------- */

void
iora__stream_drain(iora_stream *stream)
{
    struct iora__task *const reader = stream->reader;

    stream->drained = true;
    if (reader != NULL && reader->wait._class == &reading)
        iora__op_wait_cancel(&reader->wait);
}
