/* io/write.c -- writing to a stream.
 *
 * With nothing buffered the bytes are offered to the kernel at once, from the caller's memory. What it does not
 * take is copied to the ring, and the stream's op sends it from there, on and on, without a task. With something
 * buffered a write waits until the ring has room for all of it *before it takes a byte*: so a write of up to the
 * write limit is all or nothing. A longer one waits until the ring is empty, sends from the caller's memory, and
 * buffers the last piece; cancelled in between it has torn the stream, which takes no more then.
 *
 *   write(n):  n <= limit - buffered?  no: wait for room
 *              ring empty?  yes: send now ... rest > limit? send on, waiting ... rest to the ring
 *                           no:  all to the ring
 *
 * A ring that cannot be had (no memory) is no reason to tear the stream: the rest is sent from the caller's
 * memory as if it were too long.
 *
 * Errors come when they come: one that the op meets is kept, drops what is buffered, and is what the next call
 * returns.
 */
#include "io/stream.h"

#include <limits.h>
#include <sys/uio.h>

enum { PIECES_MAX = 1024 };

static const struct iora__wait_class writing = {.what = "stream to write, descriptor",
                                                .names_descriptor = true,
                                                .cancel = iora__op_wait_cancel};
static const struct iora__wait_class waiting_for_room = {.what = "room in a stream's buffer",
                                                         .cancel = iora__wait_cancel};

/* ---- the ring, and what sends from it ----------------------------------------------------------------- */

static size_t
room_of(const iora_stream *stream)
{
    return stream->write_limit - stream->out.size;
}

void
iora__stream_tell_writers(iora_stream *stream)
{
    struct iora__waiter *waiter = stream->waiting._first;

    while (waiter != NULL) {
        struct iora__waiter *const next = waiter->_next;

        if (waiter->_class == &waiting_for_room &&
            (stream->write_error != 0 || room_of(stream) >= (size_t)(uintptr_t)waiter->_slot))
            iora__waiter_grant(waiter, stream->write_error);
        waiter = next;
    }
}

static void
fail(iora_stream *stream, int error)
{
    if (stream->write_error == 0)
        stream->write_error = error;
    iora__ring_free(&stream->out);
}

/* What the op's end means. False when it sends no more. */
static bool
take_progress(iora_stream *stream, int rc)
{
    if (rc < 0)
        fail(stream, rc == -ECANCELED ? -ETIMEDOUT : rc); /* only the end of a close cancels it */
    else
        iora__ring_drop(&stream->out, (size_t)rc);
    return stream->out.size > 0 && stream->state != IORA__STREAM_SHUT;
}

static void sent(struct iora__op *op);

/* Send from the ring until it is empty, or the kernel takes no more. */
static void
send_on(iora_stream *stream)
{
    int rc;

    do {
        size_t n;
        char *const front = iora__ring_front(&stream->out, &n);

        stream->op = (struct iora__op){
            ._done = sent,
            ._fd = stream->fd,
            ._kind = stream->is_pipe ? IORA__OP_WRITE : IORA__OP_SEND,
            ._base = front,
            ._size = n,
        };
        rc = iora__op_submit(stream->loop, &stream->op);
        if (rc == IORA__OP_PENDING) {
            if (!stream->sending)
                stream->users++;
            stream->sending = true;
            return;
        }
    } while (take_progress(stream, rc < 0 ? rc : stream->op._res));
    if (stream->sending)
        stream->users--;
    stream->sending = false;
}

static void
sent(struct iora__op *op)
{
    iora_stream *const stream = iora__container_of(op, iora_stream, op);

    if (take_progress(stream, op->_res)) {
        send_on(stream);
    } else {
        stream->sending = false;
        stream->users--;
    }
    iora__stream_tell_writers(stream);
    if (stream->state == IORA__STREAM_SHUT)
        iora__stream_settle(stream);
}

/* ---- waiting ---------------------------------------------------------------------------------------------- */

int
iora__stream_wait_room(iora_stream *stream, struct iora__task *task, size_t n)
{
    if (stream->write_error != 0)
        return stream->write_error;
    if (room_of(stream) >= n)
        return 0;
    iora__waitq_push(&stream->waiting, iora__wait_begin(task, &waiting_for_room, stream,
                                                        (void *)(uintptr_t)n));
    return iora__park(task);
}

/* The same for a call: it finds the stream open, or says that it is not. */
static int
wait_open(iora_stream *stream, struct iora__task *task, size_t n)
{
    const int rc = iora__stream_wait_room(stream, task, n);
    const bool is_closed = stream->state != IORA__STREAM_OPEN;

    return is_closed && (rc == 0 || (rc == -ECANCELED && !task->cancelled)) ? IORA_E_CLOSED : rc;
}

/* ---- the caller's pieces ------------------------------------------------------------------------------------- */

/* What is left of the memory that the caller gave. */
struct pieces {
    const struct iovec *at;
    int count;
    size_t skip; /* bytes of the first that are done */
    size_t left; /* bytes in all */
};

static void
advance(struct pieces *pieces, size_t n)
{
    pieces->left -= n;
    n += pieces->skip;
    while (pieces->count > 0 && n >= pieces->at->iov_len) {
        n -= pieces->at->iov_len;
        pieces->at++;
        pieces->count--;
    }
    pieces->skip = n;
}

static int
await_op(iora_stream *stream, struct iora__task *task)
{
    const int rc = iora__op_await(task, &writing, stream);

    if (rc == -ECANCELED && !task->cancelled && stream->state != IORA__STREAM_OPEN)
        return IORA_E_CLOSED;
    return rc;
}

/* Send what the kernel takes of the first piece. */
static int
send_first(iora_stream *stream, struct iora__task *task, const struct pieces *pieces, uint8_t flags)
{
    const size_t n = pieces->at->iov_len - pieces->skip;

    task->u.op = (struct iora__op){
        ._fd = stream->fd,
        ._kind = stream->is_pipe ? IORA__OP_WRITE : IORA__OP_SEND,
        ._flags = flags,
        ._base = (char *)pieces->at->iov_base + pieces->skip,
        ._size = n < INT_MAX ? n : INT_MAX,
    };
    return await_op(stream, task);
}

/* The same of many pieces, by one call. Apart, so that a write of one piece has a small frame. */
static IORA__SLOW int
send_gathered(iora_stream *stream, struct iora__task *task, const struct pieces *pieces,
              uint8_t flags)
{
    enum { AT_ONCE = 16 };
    struct iovec vector[AT_ONCE];
    const int count = pieces->count < AT_ONCE ? pieces->count : AT_ONCE;
    struct msghdr message = {.msg_iov = vector, .msg_iovlen = (size_t)count};

    for (int i = 0; i < count; i++)
        vector[i] = pieces->at[i];
    vector[0].iov_base = (char *)vector[0].iov_base + pieces->skip;
    vector[0].iov_len -= pieces->skip;
    task->u.op = (struct iora__op){
        ._fd = stream->fd, ._kind = IORA__OP_SENDMSG, ._flags = flags, ._base = &message};
    return await_op(stream, task);
}

/* Offer the pieces to the kernel. *has_sent is true once it has taken a byte. 0, or an error. */
static int
send_once(iora_stream *stream, struct iora__task *task, struct pieces *pieces, uint8_t flags,
          bool *has_sent)
{
    const int rc = pieces->count == 1 || stream->is_pipe
                       ? send_first(stream, task, pieces, flags)
                       : send_gathered(stream, task, pieces, flags);

    if (rc < 0)
        return rc;
    advance(pieces, (size_t)rc);
    *has_sent |= rc > 0;
    return 0;
}

/* Copy what is left to the ring and let it be sent from there. */
static int
buffer_rest(iora_stream *stream, struct pieces *pieces)
{
    const bool was_empty = stream->out.size == 0;

    while (pieces->left > 0) {
        const char *const data = (const char *)pieces->at->iov_base + pieces->skip;
        const size_t n = pieces->at->iov_len - pieces->skip;

        if (iora__ring_append(&stream->out, stream->write_limit, data, n) < 0)
            return -ENOMEM; /* at the first byte, if at all: a ring has all its memory or none */
        advance(pieces, n);
    }
    if (was_empty && stream->out.size > 0)
        send_on(stream);
    return 0;
}

/* A write that has sent a part and cannot go on. */
static int
torn(iora_stream *stream, int rc)
{
    if (rc == -ECANCELED || rc == IORA_E_CLOSED)
        rc = IORA_E_TORN;
    fail(stream, rc);
    return rc;
}

/* Nothing is buffered: send from the caller's memory until what is left fits into the ring and is in it. */
static int
write_through(iora_stream *stream, struct iora__task *task, struct pieces *pieces)
{
    bool has_sent = false, may_buffer = true;
    int rc;

    rc = send_once(stream, task, pieces, IORA__OP_NOWAIT, &has_sent);
    if (rc == -EAGAIN)
        rc = 0;
    while (rc == 0 && pieces->left > 0) {
        if (stream->state != IORA__STREAM_OPEN) {
            rc = IORA_E_CLOSED;
            break;
        }
        if (may_buffer && pieces->left <= stream->write_limit) {
            if (buffer_rest(stream, pieces) == 0)
                return 0;
            may_buffer = false;
        }
        rc = task->cancelled ? -ECANCELED : send_once(stream, task, pieces, 0, &has_sent);
    }
    if (rc < 0 && has_sent)
        return torn(stream, rc);
    if (rc < 0 && rc != -ECANCELED && rc != IORA_E_CLOSED && rc != -ENOMEM)
        fail(stream, rc);
    return rc;
}

static int
write_pieces(iora_stream *stream, struct iora__task *task, struct pieces *pieces)
{
    const size_t limit = stream->write_limit;
    int rc;

    if (stream->wrote_end)
        return -EPIPE;
    rc = wait_open(stream, task, pieces->left < limit ? pieces->left : limit);
    if (rc < 0)
        return rc;
    if (pieces->left == 0)
        return 0;
    return stream->out.size == 0 ? write_through(stream, task, pieces)
                                 : buffer_rest(stream, pieces);
}

/* ---- the calls ----------------------------------------------------------------------------------------------- */

int
iora_writev(iora_stream *stream, const struct iovec *vector, int count)
{
    struct iora__task *const task = iora__self();
    struct pieces pieces = {.at = vector, .count = count};
    int rc;

    if (count < 0 || count > PIECES_MAX)
        return -EINVAL;
    for (int i = 0; i < count; i++) {
        if (vector[i].iov_len > SSIZE_MAX - pieces.left)
            return -EINVAL; /* as writev(2) says */
        pieces.left += vector[i].iov_len;
    }
    if ((rc = iora__stream_enter(stream, task, &stream->writer)) < 0)
        return rc;
    advance(&pieces, 0); /* past empty ones */
    rc = write_pieces(stream, task, &pieces);
    iora__stream_leave(stream, &stream->writer);
    return rc;
}

int
iora_write(iora_stream *stream, const void *data, size_t n)
{
    struct iora__task *const task = iora__self();
    const struct iovec piece = {(void *)data, n};
    struct pieces pieces = {.at = &piece, .count = 1, .left = n};
    int rc;

    if (n > SSIZE_MAX)
        return -EINVAL;
    if ((rc = iora__stream_enter(stream, task, &stream->writer)) < 0)
        return rc;
    rc = write_pieces(stream, task, &pieces);
    iora__stream_leave(stream, &stream->writer);
    return rc;
}

int
iora_flush(iora_stream *stream)
{
    struct iora__task *const task = iora__self();
    int rc;

    if ((rc = iora__stream_enter(stream, task, &stream->writer)) < 0)
        return rc;
    rc = wait_open(stream, task, stream->write_limit);
    iora__stream_leave(stream, &stream->writer);
    return rc;
}

int
iora_write_eof(iora_stream *stream)
{
    struct iora__task *const task = iora__self();
    int rc;

    if ((rc = iora__stream_enter(stream, task, &stream->writer)) < 0)
        return rc;
    if (stream->is_pipe) {
        rc = -ENOTSUP;
    } else if (!stream->wrote_end &&
               (rc = wait_open(stream, task, stream->write_limit)) == 0) {
        rc = stream->loop->backend->sockets->shutdown(stream->loop->backend_state, stream->fd,
                                                      SHUT_WR);
        stream->wrote_end = rc == 0;
    }
    iora__stream_leave(stream, &stream->writer);
    return rc;
}
