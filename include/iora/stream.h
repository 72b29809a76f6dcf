/* iora/stream.h -- connections that bytes flow through, read and written by awaiting.
 *
 *     iora_stream *stream;
 *     char *line;
 *     int rc = iora_open_connection("example.com", 80, NULL, &stream);
 *     if (rc < 0)
 *         return rc;
 *     rc = iora_write(stream, request, strlen(request));
 *     while (rc >= 0 && (rc = iora_readline(stream, &line)) > 0)
 *         puts(line);
 *     return iora_stream_close(stream), rc;
 *
 * What a reader gets  iora_read() fills your memory. The others give a *view*: a pointer into the stream's
 *               buffer, followed by a NUL, that is good until the next read of that stream or its close.
 *               Nothing is copied and nothing is to be freed. You may write to it.
 * What a writer gives  iora_write() takes all of it or none, up to 64 KiB at a time: what the kernel does
 *               not take at once stays in the stream's buffer and is sent by itself. With something in
 *               the buffer it first waits for room. No buffer grows without a bound.
 * Errors        of bytes that were buffered are told by the next write, flush or close.
 * Who           One task may read and one may write at a time; a second of a kind gets -EBUSY. Closing
 *               a stream under them ends their calls with IORA_E_CLOSED.
 * Idle          A stream in which nothing lies has no buffers.
 * Memory        iora_stream_close() frees it, however it went, unless that is said in a task of another loop.
 * Threads       Everything belongs to the loop's thread: in a task of another loop a call says
 *               IORA_E_WRONG_THREAD.
 * Cancel        No call loses a byte, unless it says so: what was received stays in the stream.
 *
 * Every function that suspends may also return -ECANCELED, IORA_E_FORKED, IORA_E_NO_LOOP and
 * IORA_E_NO_TASK: the last two outside of a task.
 *
 * Examples      examples/08_crawler.c, examples/10_chat.c, examples/12_pipeline.c
 * Guide         docs/guide/streams.md
 */
#ifndef IORA_STREAM_H
#define IORA_STREAM_H

#include <iora/net.h>
#include <iora/task.h>

IORA_BEGIN

typedef struct iora_stream iora_stream;

/* ---- opening ------------------------------------------------------------------------------------ */

/** How a connection is opened, and how the stream behaves. Every zero means the default. */
typedef struct iora_connect_options {
    size_t size;        /* sizeof(iora_connect_options), set by the initialiser */
    int family;         /* AF_INET or AF_INET6 only; 0: any */
    iora_duration each; /* how long to try one address before the next; default 10 s */
    const iora_address *local; /* bind to this before connecting; may be NULL */
    size_t line_limit;  /* bytes of the longest line or until-part, 16 to 1 GiB; default 64 KiB */
    size_t write_limit; /* bytes of the write buffer, 16 to 1 GiB; default 64 KiB */
} iora_connect_options;

/* clang-format off */
#define IORA_CONNECT_OPTIONS_INIT                                                                  \
    { sizeof(iora_connect_options), 0, { 0 }, NULL, 0, 0 }
/* clang-format on */

/**
 * Connect to a port of a host. The name is looked up (iora_getaddrinfo()) and its addresses are tried
 * in turn, each for `each` at most; Nagle's algorithm is off (TCP_NODELAY). `options` may be NULL.
 *
 * Returns   0 and the stream in *out, which the caller closes; the error of the last address that was
 *           tried (-ECONNREFUSED, -ETIMEDOUT, -ENETUNREACH, ...); what iora_getaddrinfo() says;
 *           -EINVAL for bad options; -EMFILE, -ENFILE, -ENOMEM.
 * Suspends  mostly. Cancel: nothing is left open.
 */
IORA_API IORA_MUST_USE int iora_open_connection(const char *host, uint16_t port,
                                                const iora_connect_options *options,
                                                iora_stream **out);

/** The same for a Unix socket's path, or with a leading '@' a name of the abstract namespace. A listener
 *  whose backlog is full is tried again until it has room, for `each` at most. -ENOENT, -EACCES,
 *  -ECONNREFUSED, -ETIMEDOUT; -EINVAL for an empty path, -ENAMETOOLONG for one beyond 107 bytes. */
IORA_API IORA_MUST_USE int iora_open_unix_connection(const char *path,
                                                     const iora_connect_options *options,
                                                     iora_stream **out);

/** Two streams that are connected to each other, both the caller's to close. Does not suspend. 0; -EMFILE,
 *  -ENFILE, -ENOMEM, IORA_E_NO_LOOP. */
IORA_API IORA_MUST_USE int iora_stream_pair(iora_stream **a, iora_stream **b);

/**
 * Make a stream of a descriptor: a connected stream socket, or an end of a pipe. From here on it is the
 * stream's: made non-blocking, closed with it. Does not suspend.
 *
 * Returns 0; -EBADF; -EINVAL for a file that is no stream socket and no pipe, or for bad options; -EBUSY for
 * one that is a stream's or server's already, or that somebody waits for; -ENOTSUP in a simulated loop;
 * -ENOMEM; IORA_E_NO_LOOP. On failure the descriptor stays yours.
 */
IORA_API IORA_MUST_USE int iora_stream_from_fd(int fd, const iora_connect_options *options,
                                               iora_stream **out);

/* ---- reading ------------------------------------------------------------------------------------ */

/**
 * Read what is there, n bytes at most (and INT_MAX).
 *
 * Returns   a count; 0 at the end (or for n == 0); -ECONNRESET and other errors of the connection;
 *           -EBUSY while another task reads; IORA_E_CLOSED.
 * Suspends  while nothing is there.
 * Cancel    nothing was read.
 */
IORA_API IORA_MUST_USE int iora_read(iora_stream *stream, void *data, size_t n);

/**
 * Read exactly n bytes into your memory.
 *
 * Returns   0; IORA_E_INCOMPLETE if the stream ends before; as iora_read().
 * Suspends  until all are there.
 * Cancel    nothing is lost: of n bytes up to the line limit those that came stay in the stream, and so
 *           they do at an early end. Of more than that, what came is in your memory, and iora_read_count()
 *           says how much.
 */
IORA_API IORA_MUST_USE int iora_read_exactly(iora_stream *stream, void *data, size_t n);

/** How many bytes the last iora_read_exactly() that failed has written to its caller's memory. */
IORA_API size_t iora_read_count(const iora_stream *stream);

/**
 * Read to the first separator, which is part of what is given: *data is a view.
 *
 * Returns   the count, separator included; IORA_E_LIMIT if the line limit was reached without one and
 *           IORA_E_INCOMPLETE if the stream ended without one: all that came stays in the stream,
 *           to be read otherwise; -EINVAL for an empty separator; as iora_read().
 * Suspends  until it has come.
 * Cancel    what came stays in the stream.
 */
IORA_API IORA_MUST_USE int iora_read_until(iora_stream *stream, const char *separator, size_t size,
                                           char **data);

/** Read a line, its '\n' included: *line is a view. As iora_read_until(), but the last line may lack its
 *  '\n', and at the end it returns 0. */
IORA_API IORA_MUST_USE int iora_readline(iora_stream *stream, char **line);

/** Read to the end of the stream, `max` bytes at most (and less than 1 GiB): *data is a view. Returns the
 *  count, 0 for nothing; IORA_E_LIMIT if more than max came, which stays in the stream; as iora_read().
 *  Suspends until the end has come. Cancel: what came stays in the stream. */
IORA_API IORA_MUST_USE int iora_read_all(iora_stream *stream, size_t max, char **data);

/** An async generator of lines: iora_for_each(rc, iora_lines, &line, stream) { ... }. Each line is a view,
 *  its '\n' included. rc is 0 at the end, else as iora_readline(). */
IORA_API int iora_lines(char **line, iora_stream *stream);
IORA_ASYNC(iora_lines, char **, iora_stream *);

/** Whether the end has been reached and nothing lies in the buffer. Does not suspend. */
IORA_API bool iora_at_eof(const iora_stream *stream);

/* ---- writing ------------------------------------------------------------------------------------ */

/**
 * Write n bytes: sent, or in the stream's buffer when this returns.
 *
 * Returns   0; -EPIPE, -ECONNRESET and other errors, also of bytes buffered before; -EBUSY while another task
 *           writes; -EPIPE after iora_write_eof(); IORA_E_CLOSED; IORA_E_TORN (see Cancel), then and after.
 * Suspends  while the buffer has no room for all of them; for n beyond the write limit until all but that
 *           much was sent.
 * Cancel    nothing was taken. Of n beyond the write limit (or without memory for a buffer) a part may have
 *           been sent: the stream's write side is broken then, and the call says IORA_E_TORN.
 */
IORA_API int iora_write(iora_stream *stream, const void *data, size_t n);

/** The same for several pieces of memory, as one. -EINVAL for more than 1,024 of them. */
IORA_API int iora_writev(iora_stream *stream, const struct iovec *pieces, int count);

/** Wait until the kernel has taken all that was written. Returns 0 or as iora_write(). Suspends while
 *  something is buffered. Cancel: the bytes stay in the buffer and go on. */
IORA_API int iora_flush(iora_stream *stream);

/** Say that nothing more will be written (half-close): the peer reads the end after all that was written,
 *  and this side can still read. Flushes first. 0, also the second time, or as iora_flush(); -ENOTCONN after
 *  the peer has reset the connection; -ENOTSUP for a pipe. Suspends while something is buffered. Cancel: as iora_flush(), and the end was not said. */
IORA_API int iora_write_eof(iora_stream *stream);

/* ---- the end -------------------------------------------------------------------------------------- */

/**
 * Close the stream: what is still buffered is sent, for 5 s at most, then the descriptor is closed and the
 * memory freed. A task that reads or writes gets IORA_E_CLOSED. NULL is allowed.
 *
 * Returns   0; the error that kept written bytes from being sent (-EPIPE, -ECONNRESET, -ETIMEDOUT for
 *           5 s without an end, IORA_E_TORN); IORA_E_CLOSED while another task closes it; -ECANCELED;
 *           IORA_E_WRONG_THREAD in a task of another loop: nothing was done then.
 * Suspends  while something is buffered. Always completes: cancelled, it drops what is buffered, and
 *           outside of a task it does as iora_stream_abort().
 */
IORA_API int iora_stream_close(iora_stream *stream);

/** Close it without sending what is buffered, and free it. Does not suspend, and may be called from a callback,
 *  or after its loop has gone. NULL is allowed. */
IORA_API void iora_stream_abort(iora_stream *stream);

/* ---- what it is ------------------------------------------------------------------------------------ */

/** The address of the other side, and of this one. Does not suspend. 0; -ENOTCONN; -ENOTSOCK for a pipe;
 *  IORA_E_CLOSED. */
IORA_API int iora_stream_peer(const iora_stream *stream, iora_address *out);
IORA_API int iora_stream_local(const iora_stream *stream, iora_address *out);

/** Its descriptor, which stays the stream's: for getsockopt(2) and the like. A number that is no real
 *  descriptor's in a simulated loop. */
IORA_API int iora_stream_fd(const iora_stream *stream);

/** How many bytes are buffered: received and not handed out, and still to be sent. */
IORA_API size_t iora_stream_readable(const iora_stream *stream);
IORA_API size_t iora_stream_unsent(const iora_stream *stream);

IORA_END

#endif
