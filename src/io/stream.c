/* io/stream.c -- streams: how they begin and end.
 *
 * A stream is a descriptor that the backend owns, a window of bytes that were received and not yet taken, and a
 * ring of bytes that were written and not yet sent. read.c fills and empties the one, write.c the other. At most
 * one task reads and one writes, each with the op in its own control block; the stream's op is for what goes on
 * without a task: sending from the ring.
 *
 *                     close                 ring empty, failed, 5 s over, or cancelled; or abort
 *     OPEN ------------------------> CLOSING ----------------------------------------> SHUT
 *    reads, writes          who reads or writes is woken          descriptor closed, freed when nobody is in it
 *
 * Invariants:
 * (1) The ring is not empty iff `op` is sending from it, or sending has failed (and then it is empty).
 * (2) `users` counts the calls that have not returned and the op that has not ended. The stream is freed
 *     when it is SHUT and has none: so a call that was ended by a close finds its stream when it
 *     goes on, though the closer is gone.
 * (3) The descriptor is closed when no op is pending on it.
 * (4) The reading side has no memory unless it has bytes or a view is out; the writing side none unless it has
 *     bytes. What an idle connection costs is this struct.
 * (5) The end of the peer's bytes changes nothing on the writing side (aiohttp #3659, CPython gh-75828).
 */
#include "io/stream.h"

#include "sys/alloc.h"

static const iora_duration FLUSH_FOR = IORA_S(5);

/* ---- a loop's streams ------------------------------------------------------------------------------ */

/* Whoever still has a stream when its loop goes can do nothing with it but close it. One that was closed before
 * and waited for its op to end is nobody's. */
static void
io_free(struct iora__io *io)
{
    struct iora__link *link;

    while ((link = iora__list_pop(&io->streams)) != NULL) {
        iora_stream *const stream = iora__container_of(link, iora_stream, in_loop);

        iora__window_free(&stream->in, &io->windows);
        iora__ring_free(&stream->out);
        stream->loop = NULL; /* the backend closes the descriptor */
        stream->view = 0;
        stream->has_nul = false;
        if (stream->state != IORA__STREAM_OPEN)
            iora__free(stream);
        else
            stream->state = IORA__STREAM_SHUT;
    }
    iora__servers_free(io);
    iora__window_pool_free(&io->windows);
    iora__free(io);
}

struct iora__io *
iora__io_of(iora_loop *loop)
{
    if (loop->io != NULL)
        return loop->io;
    if ((loop->io = iora__zalloc(sizeof *loop->io)) == NULL)
        return NULL;
    iora__list_init(&loop->io->streams);
    iora__list_init(&loop->io->servers);
    loop->io_free = io_free;
    return loop->io;
}

/* ---- making ---------------------------------------------------------------------------------------- */

static bool
is_limit(size_t limit)
{
    return limit == 0 || (limit >= 16 && limit <= IORA__LIMIT_MAX);
}

int
iora__stream_check_limits(size_t line_limit, size_t write_limit)
{
    return is_limit(line_limit) && is_limit(write_limit) ? 0 : -EINVAL;
}

int
iora__stream_make(iora_loop *loop, int fd, size_t line_limit, size_t write_limit,
                  iora_stream **out)
{
    struct iora__io *const io = iora__io_of(loop);
    iora_stream *stream;

    if (io == NULL || (stream = iora__zalloc(sizeof *stream)) == NULL)
        return -ENOMEM;
    stream->loop = loop;
    stream->fd = fd;
    stream->line_limit = (uint32_t)(line_limit != 0 ? line_limit : IORA__LIMIT_DEFAULT);
    stream->write_limit = (uint32_t)(write_limit != 0 ? write_limit : IORA__LIMIT_DEFAULT);
    iora__list_push_tail(&io->streams, &stream->in_loop);
    *out = stream;
    return 0;
}

int
iora_stream_pair(iora_stream **a, iora_stream **b)
{
    iora_loop *const loop = iora__running;
    iora_stream *first;
    int ends[2], rc;

    if (loop == NULL)
        return IORA_E_NO_LOOP;
    rc = loop->backend->sockets->socket_pair(loop->backend_state, SOCK_STREAM, ends);
    if (rc < 0)
        return rc;
    if ((rc = iora__stream_make(loop, ends[0], 0, 0, &first)) < 0)
        goto fail_ends;
    if ((rc = iora__stream_make(loop, ends[1], 0, 0, b)) < 0)
        goto fail_first;
    *a = first;
    return 0;

fail_first:
    iora_stream_abort(first);
    iora__fd_close(loop, ends[1]);
    return rc;
fail_ends:
    iora__fd_close(loop, ends[0]);
    iora__fd_close(loop, ends[1]);
    return rc;
}

static int
is_pipe(iora_loop *loop, int fd)
{
    int type;
    socklen_t size = sizeof type;
    const int rc = loop->backend->sockets->get_option(loop->backend_state, fd, SOL_SOCKET, SO_TYPE,
                                                      &type, &size);

    if (rc == -ENOTSOCK)
        return 1;
    return rc < 0 ? rc : type == SOCK_STREAM ? 0 : -EINVAL;
}

int
iora_stream_from_fd(int fd, const iora_connect_options *options, iora_stream **out)
{
    static const iora_connect_options defaults = IORA_CONNECT_OPTIONS_INIT;
    iora_loop *const loop = iora__running;
    const struct iora__sockets *sockets;
    int pipe, rc;

    if (loop == NULL)
        return IORA_E_NO_LOOP;
    if (options == NULL)
        options = &defaults;
    if (options->size != sizeof *options ||
        iora__stream_check_limits(options->line_limit, options->write_limit) < 0)
        return -EINVAL;
    sockets = loop->backend->sockets;
    if ((rc = sockets->adopt(loop->backend_state, fd)) < 0)
        return rc;
    if ((pipe = rc = is_pipe(loop, fd)) < 0)
        goto fail_adopted;
    if ((rc = iora__stream_make(loop, fd, options->line_limit, options->write_limit, out)) < 0)
        goto fail_adopted;
    (*out)->is_pipe = pipe != 0;
    return 0;

fail_adopted:
    sockets->release(loop->backend_state, fd);
    return rc;
}

/* ---- calls ------------------------------------------------------------------------------------------- */

/* Close the descriptor once nothing is pending on it (3), free the stream once nobody is in it (2). */
void
iora__stream_settle(iora_stream *stream)
{
    if (stream->state != IORA__STREAM_SHUT || stream->reader != NULL || stream->writer != NULL ||
        stream->sending)
        return;
    if (stream->fd >= 0) {
        iora__fd_close(stream->loop, stream->fd);
        stream->fd = -1;
        iora__waitq_grant_all(&stream->waiting, 0);
    }
    if (stream->users > 0)
        return;
    iora__window_free(&stream->in, &stream->loop->io->windows);
    iora__ring_free(&stream->out);
    iora__list_remove(&stream->in_loop);
    iora__free(stream);
}

/* ---- the end ------------------------------------------------------------------------------------------- */

/* End the wait of a task that is inside a call. */
static void
interrupt(struct iora__task *task)
{
    if (task != NULL && task->wait._class != NULL && task->wait._class->cancel != NULL)
        task->wait._class->cancel(&task->wait);
}

/* From here on no call is taken, and those that wait end. */
static void
stop_calls(iora_stream *stream)
{
    stream->state = IORA__STREAM_CLOSING;
    if (stream->holder != NULL)
        *stream->holder = NULL;
    interrupt(stream->reader);
    interrupt(stream->writer);
}

/* Send no more: what is left in the ring is dropped. */
static void
shut(iora_stream *stream)
{
    stream->state = IORA__STREAM_SHUT;
    if (stream->sending && iora__op_cancel(stream->loop, &stream->op) == IORA__OP_DONE)
        stream->op._done(&stream->op);
    iora__stream_settle(stream);
}

static const struct iora__wait_class closing = {.what = "its stream to close"};

static void
wait_closed(iora_stream *stream, struct iora__task *task)
{
    while (stream->fd >= 0) {
        iora__waitq_push(&stream->waiting, iora__wait_begin(task, &closing, stream, NULL));
        (void)iora__park(task);
    }
}

/* Send what is buffered, for as long as that may take. */
static int
flush_at_the_end(iora_stream *stream, struct iora__task *task)
{
    iora_scope scope;
    int rc;

    if (stream->out.size == 0)
        return stream->write_error;
    if (task->cancelled)
        return -ECANCELED;
    iora_timeout_begin(&scope, FLUSH_FOR);
    rc = iora__stream_wait_room(stream, task, stream->write_limit);
    return iora_timeout_end(&scope, rc);
}

int
iora_stream_close(iora_stream *stream)
{
    struct iora__task *const task = iora__self();
    bool was_cancelled;
    int rc;

    if (stream == NULL)
        return 0;
    if (stream->loop == NULL) {
        iora__free(stream);
        return 0;
    }
    if (task == NULL) {
        iora_stream_abort(stream);
        return iora__enter_slowly(NULL);
    }
    if (stream->loop != task->loop)
        return IORA_E_WRONG_THREAD;
    iora__seam_moment(IORA__MOMENT_ENTER, task);
    if (stream->state != IORA__STREAM_OPEN)
        return IORA_E_CLOSED;
    was_cancelled = task->cancelled;
    stream->users++;
    stop_calls(stream);
    rc = flush_at_the_end(stream, task);
    shut(stream);
    wait_closed(stream, task);
    if (rc == 0)
        rc = stream->write_error; /* of a write that the close has torn */
    stream->users--;
    iora__stream_settle(stream);
    return was_cancelled ? -ECANCELED : rc;
}

void
iora_stream_abort(iora_stream *stream)
{
    if (stream == NULL)
        return;
    if (stream->loop == NULL) {
        iora__free(stream);
        return;
    }
    if (stream->state == IORA__STREAM_SHUT)
        return;
    stream->users++;
    if (stream->state == IORA__STREAM_OPEN)
        stop_calls(stream);
    shut(stream);
    stream->users--;
    iora__stream_settle(stream);
}

/* ---- what it is ------------------------------------------------------------------------------------------ */

static int
name_of(const iora_stream *stream, bool peer, iora_address *out)
{
    iora_address address = {.length = sizeof address.bytes};
    socklen_t length = sizeof address.bytes;
    int rc;

    if (stream->loop == NULL || stream->fd < 0)
        return IORA_E_CLOSED;
    rc = stream->loop->backend->sockets->name(stream->loop->backend_state, stream->fd, peer,
                                              (struct sockaddr *)address.bytes, &length);
    if (rc < 0)
        return rc;
    address.length = length;
    *out = address;
    return 0;
}

int
iora_stream_peer(const iora_stream *stream, iora_address *out)
{
    return name_of(stream, true, out);
}

int
iora_stream_local(const iora_stream *stream, iora_address *out)
{
    return name_of(stream, false, out);
}

int
iora_stream_fd(const iora_stream *stream)
{
    return stream->fd;
}

size_t
iora_stream_readable(const iora_stream *stream)
{
    return iora__window_size(&stream->in) - stream->view;
}

size_t
iora_stream_unsent(const iora_stream *stream)
{
    return stream->out.size;
}
