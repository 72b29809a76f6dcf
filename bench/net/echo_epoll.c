/* bench/net/echo_epoll.c -- the echo server as one writes it by hand: edge-triggered epoll.
 *
 * This is the yardstick, so it does nothing that can be left out. A connection is registered once,
 * for both directions. What is read is sent at once, from one buffer that all connections share and
 * that is larger than a message: a read that does not fill it has drained a TCP socket, unless the
 * event tells of an end or an error too, so the call that would say EAGAIN is saved. A message takes
 * recv and send, and one epoll_wait for as many of them as have come.
 *
 * What cannot be sent at once is kept in memory of the connection's own until it can; nothing more is
 * read meanwhile. With messages of 1 KiB that does not happen, but a server that leaves it out is
 * no server.
 *
 * Tried, and slower or no faster: level-triggered, one buffer for each connection, read and write
 * in place of recv and send. */

#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256
#define BUFFER 65536

struct connection {
    int fd;
    size_t unsent; /* bytes of `kept` */
    size_t sent;
    char *kept;
};

static char buffer[BUFFER];
static uint64_t bytes;
static int epoll_fd;
static int listener;

static void
watch(int fd, uint32_t events, void *owner)
{
    struct epoll_event event = {.events = events, .data = {.ptr = owner}};

    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        server_fail("epoll_ctl");
}

static void
accept_all(void)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *c = calloc(1, sizeof(*c));

        if (c == NULL)
            server_fail("calloc");
        c->fd = fd;
        watch(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, c);
    }
    if (errno != EAGAIN && errno != ECONNABORTED)
        server_fail("accept4");
}

static void
end(struct connection *c)
{
    close(c->fd);
    free(c->kept);
    free(c);
}

static void
keep(struct connection *c, const char *data, size_t n)
{
    c->kept = malloc(n);
    if (c->kept == NULL)
        server_fail("malloc");
    memcpy(c->kept, data, n);
    c->unsent = n;
    c->sent = 0;
}

/* Whether all that was kept is sent. */
static bool
send_kept(struct connection *c)
{
    const ssize_t n = send(c->fd, c->kept + c->sent, c->unsent - c->sent, MSG_NOSIGNAL);

    if (n > 0)
        c->sent += (size_t)n;
    if (c->sent < c->unsent)
        return false;
    free(c->kept);
    c->kept = NULL;
    c->unsent = 0;
    return true;
}

static void
serve(struct connection *c, uint32_t events)
{
    const bool more_to_tell = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    ssize_t n;

    if (c->unsent > 0 && !send_kept(c)) {
        if ((events & (EPOLLHUP | EPOLLERR)) != 0)
            end(c);
        return;
    }
    if ((events & EPOLLIN) == 0 && !more_to_tell)
        return;
    for (;;) {
        n = recv(c->fd, buffer, sizeof(buffer), 0);
        if (n <= 0)
            break;
        bytes += (size_t)n;
        const ssize_t sent = send(c->fd, buffer, (size_t)n, MSG_NOSIGNAL);
        if (sent != n) {
            keep(c, buffer + (sent > 0 ? sent : 0), (size_t)(n - (sent > 0 ? sent : 0)));
            return;
        }
        if ((size_t)n < sizeof(buffer) && !more_to_tell)
            return;
    }
    if (n == 0 || errno != EAGAIN)
        end(c);
}

int
main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];

    server_about(argc, argv, "edge-triggered epoll by hand");
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        server_fail("epoll_create1");
    listener = server_listen();
    watch(listener, EPOLLIN, &listener);
    watch(STDIN_FILENO, EPOLLIN, NULL);
    for (;;) {
        const int n = epoll_wait(epoll_fd, events, EVENTS, -1);

        for (int i = 0; i < n; i++) {
            void *owner = events[i].data.ptr;

            if (owner == NULL) {
                server_report(bytes / SERVER_MESSAGE);
                return 0;
            }
            if (owner == &listener)
                accept_all();
            else
                serve(owner, events[i].events);
        }
    }
}
