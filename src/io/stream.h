/* io/stream.h -- a stream's inside, for the files that read, write, connect and serve (theory in stream.c). */
#ifndef IORA_IO_STREAM_H
#define IORA_IO_STREAM_H

#include <iora/stream.h>

#include "io/buffer.h"
#include "task/task.h"

enum {
    IORA__LIMIT_DEFAULT = 64 * 1024,
    IORA__LIMIT_MAX = 1 << 30
};

/* A loop's part for streams. */
struct iora__io {
    struct iora__window_pool windows;
    struct iora__link streams;
    struct iora__link servers;
};

enum iora__stream_state {
    IORA__STREAM_OPEN,
    IORA__STREAM_CLOSING, /* takes no more calls; what is buffered is being sent */
    IORA__STREAM_SHUT     /* sends no more; the descriptor is closed as soon as nothing is pending on it */
};

struct iora_stream {
    iora_loop *loop; /* NULL: it is gone */
    int fd; /* -1: closed */
    uint8_t state;
    bool is_pipe;
    bool at_end;    /* the end was read */
    bool drained;   /* what has not arrived by now counts as the end (iora_server_close_clients()) */
    bool wrote_end; /* iora_write_eof() */
    bool sending;   /* `op` sends from the ring */
    uint32_t users; /* calls that have not returned, and `op` while it is pending */
    uint32_t line_limit, write_limit;
    int read_error, write_error;
    struct iora__task *reader, *writer;
    struct iora__window in;
    uint32_t in_limit; /* how many bytes it may hold for the read that goes on */
    uint32_t in_wish; /* a capacity for `in` that the last reads would have filled */
    uint32_t view;    /* so many bytes of `in` are handed out, till the next read */
    char under_nul;   /* the byte behind them, where a NUL stands meanwhile */
    bool has_nul;
    size_t count; /* iora_read_count() */
    struct iora__ring out;
    struct iora__op op;         /* sends from `out` */
    struct iora__waitq waiting; /* for the ring to get emptier, or for the end */
    struct iora__link in_loop;
    iora_stream **holder; /* told NULL when the stream is closed */
};

/* The loop's part, made if need be. NULL without memory. */
struct iora__io *iora__io_of(iora_loop *loop);

/* A stream over an owned descriptor, which is the stream's from here on; on failure it stays the caller's. */
int iora__stream_make(iora_loop *loop, int fd, size_t line_limit, size_t write_limit,
                      iora_stream **out);
/* What stream options of any kind say of the limits: 0, or -EINVAL. */
int iora__stream_check_limits(size_t line_limit, size_t write_limit);

/* Close an owned descriptor that no stream has yet. */
static inline void
iora__fd_close(iora_loop *loop, int fd)
{
    const struct iora__sockets *const sockets = loop->backend->sockets;

    (iora__loop_is_forked(loop) ? sockets->close_forked : sockets->close)(loop->backend_state, fd);
}

/* Something that kept a stream from being closed or freed is over: it may be gone afterwards. */
void iora__stream_settle(iora_stream *stream);

/* write.c: wake who waits for room that there is now, or for what never comes. */
void iora__stream_tell_writers(iora_stream *stream);

/* A call begins: 0, or the code to return. */
static inline int
iora__stream_enter(iora_stream *stream, struct iora__task *task, struct iora__task **side)
{
    const int rc = iora__enter(task);

    if (rc < 0)
        return rc;
    if (stream->state != IORA__STREAM_OPEN)
        return IORA_E_CLOSED;
    if (stream->loop != task->loop)
        return IORA_E_WRONG_THREAD;
    if (*side != NULL)
        return -EBUSY;
    *side = task;
    stream->users++;
    return 0;
}

/* It ends: the stream may be gone then. */
static inline void
iora__stream_leave(iora_stream *stream, struct iora__task **side)
{
    *side = NULL;
    stream->users--;
    if (__builtin_expect(stream->state == IORA__STREAM_OPEN, 1))
        return;
    iora__stream_tell_writers(stream);
    iora__stream_settle(stream);
}

/* server.c: those that were not stopped; their tasks have ended. */
void iora__servers_free(struct iora__io *io);

/* read.c: let what has arrived be all. */
void iora__stream_drain(iora_stream *stream);

/* write.c: wait until the ring has room for n bytes (with the ring empty: for everything). */
int iora__stream_wait_room(iora_stream *stream, struct iora__task *task, size_t n);

#endif
