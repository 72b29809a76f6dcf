/* iora/server.h -- listening sockets, and a task for each client.
 *
 *     static int serve(iora_stream *client, void *arg)
 *     {
 *         char *line;
 *         int rc;
 *         while ((rc = iora_readline(client, &line)) > 0 && (rc = iora_write(client, line, rc)) == 0)
 *             continue;
 *         return rc;
 *     }
 *     ...
 *     iora_server *server;
 *     int rc = iora_start_server("localhost", 7777, serve, NULL, NULL, &server);
 *     if (rc == 0)
 *         rc = iora_wait_signal(SIGINT, SIGTERM);
 *     return rc < 0 ? rc : iora_server_stop(server, iora_s(10));
 *
 * Clients    Each is served by a task of its own, which runs serve(client, arg). When it returns the stream
 *            is closed; it may close the stream itself before. A failure (what serve returns, or else what that
 *            close says) is told the loop's error hook and touches no other client; -ECONNRESET, -EPIPE and
 *            IORA_E_INCOMPLETE, which any peer can cause, are not told, nor is a close in vain at a peer
 *            that reads nothing. What else is a client's own affair, -ETIMEDOUT of a deadline of yours for
 *            one, serve turns into 0.
 * Owner      The server belongs to the task that starts it: it is stopped, its clients cancelled and
 *            joined, when that task ends. iora_server_stop() does so before; after either it is gone.
 * Crowds     64 connections at most are accepted before the others get their turn. When the process or
 *            the system is out of descriptors or memory the listener is kept, accepting pauses (50 ms,
 *            doubling up to 1 s) and goes on by itself; the log hook is told once a second at most.
 * Unix       A path is replaced only if it is a socket that nobody listens on, and unlinked at the end only
 *            if it is still the one that was made. While it is taken there is a file PATH.iora-lock
 *            beside it, by which of several programs that start at once one gets it.
 * Threads    Everything belongs to the loop's thread.
 *
 * Every function that suspends may also return -ECANCELED, IORA_E_NO_LOOP and IORA_E_NO_TASK.
 *
 * Examples   examples/09_web_server.c, examples/10_chat.c
 * Guide      docs/guide/streams.md
 */
#ifndef IORA_SERVER_H
#define IORA_SERVER_H

#include <iora/stream.h>

IORA_BEGIN

typedef struct iora_server iora_server;

/** What serves a client: 0, or a code that the error hook is told. */
typedef int iora_client_fn(iora_stream *client, void *arg);

/** How a server is made. Every zero means the default. */
typedef struct iora_server_options {
    size_t size;        /* sizeof(iora_server_options), set by the initialiser */
    int family;         /* AF_INET or AF_INET6 only; 0: any */
    int backlog;        /* connections the kernel keeps waiting; default 4,096 or the system's limit */
    size_t max_clients; /* at most so many at a time: the rest waits in the backlog; 0: no limit */
    bool reuse_port;    /* SO_REUSEPORT: several processes listen on one port */
    unsigned mode;      /* of a Unix socket's path; default 0600 */
    size_t line_limit;  /* of the clients' streams, as in iora_connect_options */
    size_t write_limit;
    size_t stack_size;  /* of the clients' tasks, as for iora_go_sized(); 0: the loop's default */
} iora_server_options;

/* clang-format off */
#define IORA_SERVER_OPTIONS_INIT                                                                   \
    { sizeof(iora_server_options), 0, 0, 0, false, 0, 0, 0, 0 }
/* clang-format on */

/**
 * Listen on a port of a host's addresses: all of them, or every address of this machine for NULL. Port 0
 * lets the kernel choose one, the same for all addresses (iora_server_port()). `options` may be NULL.
 *
 * Returns   0 and the server in *out; -EADDRINUSE, -EADDRNOTAVAIL, -EACCES; what iora_getaddrinfo() says;
 *           -EINVAL for bad options; -EMFILE, -ENFILE, -ENOMEM, IORA_E_STACK_LIMIT.
 * Suspends  for the look-up of a name. Clients are served from when the loop next turns.
 * Cancel    nothing is left open.
 */
IORA_API IORA_MUST_USE int iora_start_server(const char *host, uint16_t port, iora_client_fn *serve,
                                             void *arg, const iora_server_options *options,
                                             iora_server **out);

/** The same for a Unix socket's path, or with a leading '@' a name of the abstract namespace. -EADDRINUSE if
 *  somebody listens there or the path is no socket; -ENAMETOOLONG; what bind(2) says. */
IORA_API IORA_MUST_USE int iora_start_unix_server(const char *path, iora_client_fn *serve, void *arg,
                                                  const iora_server_options *options,
                                                  iora_server **out);

/** The same for a listening socket that you bring (socket activation): it is the server's from here on, but
 *  a Unix socket's path is not unlinked. -EBADF; -EINVAL if it does not listen; -ENOTSUP in a simulated loop. */
IORA_API IORA_MUST_USE int iora_start_server_on(int fd, iora_client_fn *serve, void *arg,
                                                const iora_server_options *options,
                                                iora_server **out);

/** Listen no longer. Clients are served to their end. Does not suspend; twice is fine. */
IORA_API void iora_server_close(iora_server *server);

/** Let the clients end: from here on each reads the end of its stream once it has read what has arrived,
 *  as if its peer had said that nothing more will come. So a request that is being served is answered, and
 *  an idle connection ends. Does not suspend. */
IORA_API void iora_server_close_clients(iora_server *server);

/** Cancel the clients' tasks. Does not suspend. */
IORA_API void iora_server_abort_clients(iora_server *server);

/** Wait until the server is closed and no client is left. 0; -ECANCELED, and the server goes on; -EDEADLK in a
 *  task of the server's own. Suspends. */
IORA_API int iora_server_wait_closed(iora_server *server);

/**
 * Stop gracefully: close, close the clients, wait for them `grace` at most, abort those that are left, wait
 * for these too. The server is gone afterwards. NULL is allowed. Several tasks may stop a server at once: each
 * returns when all has ended, the shortest grace counts, and all are told if clients had to be aborted. The owner
 * may end meanwhile, which cancels the clients.
 *
 * Returns   0; -ETIMEDOUT if clients had to be aborted; -ECANCELED; -EDEADLK in a task of the server's own,
 *           that of a client, which it would wait for: nothing was done then.
 * Suspends. Always completes: cancelled, it aborts at once.
 */
IORA_API int iora_server_stop(iora_server *server, iora_duration grace);

/** The port it listens on (the first address's); 0 for a Unix socket. */
IORA_API uint16_t iora_server_port(const iora_server *server);

/** How many addresses it listens on, and one of them: 0, or -EINVAL beyond the last. */
IORA_API size_t iora_server_address_count(const iora_server *server);
IORA_API int iora_server_address(const iora_server *server, size_t index, iora_address *out);

/** How many clients are being served now. */
IORA_API size_t iora_server_clients(const iora_server *server);

IORA_END

#endif
