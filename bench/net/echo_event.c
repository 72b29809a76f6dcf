/* bench/net/echo_event.c -- the echo server on libevent, in two ways.
 *
 *     echo_event plain       an edge-triggered event for each connection, recv and send by hand
 *     echo_event buffer      a bufferevent for each: what is read is moved to the output buffer,
 *                            without a copy
 *
 * The plain way does what echo_epoll does: EV_CLOSED is EPOLLRDHUP, so that a short read without it
 * has drained the socket. What a socket does not take at once becomes a bufferevent's. */

#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER 65536

static struct event_base *base;
static uint64_t bytes;

/* ---- a bufferevent ---- */

static void
move(struct bufferevent *client, void *arg)
{
    struct evbuffer *input = bufferevent_get_input(client);

    (void)arg;
    bytes += evbuffer_get_length(input);
    if (bufferevent_write_buffer(client, input) != 0)
        server_fail("bufferevent_write_buffer");
}

static void
end_buffered(struct bufferevent *client, short what, void *arg)
{
    (void)arg;
    if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0)
        bufferevent_free(client);
}

static struct bufferevent *
begin_buffered(int fd)
{
    struct bufferevent *client = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);

    if (client == NULL)
        server_fail("bufferevent_socket_new");
    bufferevent_setcb(client, move, NULL, end_buffered, NULL);
    if (bufferevent_enable(client, EV_READ | EV_WRITE) != 0)
        server_fail("bufferevent_enable");
    return client;
}

static void
accept_buffered(struct evconnlistener *listener, int fd, struct sockaddr *address, int length,
                void *arg)
{
    (void)listener;
    (void)address;
    (void)length;
    (void)arg;
    begin_buffered(fd);
}

/* ---- a plain event ---- */

static char buffer[BUFFER];

static void
end_plain(struct event *client)
{
    const int fd = event_get_fd(client);

    event_free(client);
    close(fd);
}

static void
buffer_rest(struct event *client, const char *data, size_t n)
{
    const int fd = event_get_fd(client);

    event_free(client);
    if (bufferevent_write(begin_buffered(fd), data, n) != 0)
        server_fail("bufferevent_write");
}

static void
answer(int fd, short what, void *arg)
{
    ssize_t n;

    while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0) {
        bytes += (size_t)n;
        ssize_t sent = send(fd, buffer, (size_t)n, MSG_NOSIGNAL);
        if (sent < 0)
            sent = 0;
        if (sent < n) {
            buffer_rest(arg, buffer + sent, (size_t)(n - sent));
            return;
        }
        if ((size_t)n < sizeof(buffer) && (what & EV_CLOSED) == 0)
            return;
    }
    if (n == 0 || errno != EAGAIN)
        end_plain(arg);
}

static void
accept_plain(struct evconnlistener *listener, int fd, struct sockaddr *address, int length,
             void *arg)
{
    const short what = EV_READ | EV_CLOSED | EV_ET | EV_PERSIST;
    struct event *client = event_new(base, fd, what, answer, event_self_cbarg());

    (void)listener;
    (void)address;
    (void)length;
    (void)arg;
    if (client == NULL || event_add(client, NULL) != 0)
        server_fail("event_add");
}

/* ---- the program ---- */

static void
stop(int fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    event_base_loopbreak(base);
}

int
main(int argc, char **argv)
{
    server_about(argc, argv, "libevent " LIBEVENT_VERSION);
    const bool plain = argc > 1 && strcmp(argv[1], "plain") == 0;
    struct event_config *config = event_config_new();

    if (config == NULL || event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) != 0)
        server_fail("event_config");
    base = event_base_new_with_config(config);
    if (base == NULL)
        server_fail("event_base_new");
    struct event *input = event_new(base, STDIN_FILENO, EV_READ, stop, NULL);
    if (input == NULL || event_add(input, NULL) != 0)
        server_fail("event_add");
    if (evconnlistener_new(base, plain ? accept_plain : accept_buffered, NULL,
                           LEV_OPT_CLOSE_ON_FREE, 0, server_listen()) == NULL)
        server_fail("evconnlistener_new");
    if (event_base_dispatch(base) < 0)
        server_fail("event_base_dispatch");
    server_report(bytes / SERVER_MESSAGE);
    return 0;
}
