/* bench/net/echo_uv.c -- the echo server on libuv.
 *
 * Answers are sent by uv_try_write, which is the faster way: uv_write takes a request for each, and
 * calls back. What it does not take goes by uv_write. All connections read into one buffer, as
 * libuv asks for memory only when there is something to read. */

#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define BUFFER          65536
#define TEXT(x)         TEXT_OF(x)
#define TEXT_OF(x)      #x
#define UV_VERSION_TEXT TEXT(UV_VERSION_MAJOR) "." TEXT(UV_VERSION_MINOR) "." TEXT(UV_VERSION_PATCH)

struct rest {
    uv_write_t write;
    char data[];
};

static char buffer[BUFFER];
static uint64_t bytes;

static void
must(int rc, const char *what)
{
    if (rc < 0) {
        errno = -rc;
        server_fail(what);
    }
}

static void
free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void
lend(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    (void)handle;
    (void)suggested;
    *out = uv_buf_init(buffer, sizeof(buffer));
}

static void
free_rest(uv_write_t *write, int status)
{
    (void)status;
    free(write->data);
}

static void
write_rest(uv_stream_t *client, const char *data, size_t n)
{
    struct rest *rest = malloc(sizeof(*rest) + n);

    if (rest == NULL)
        server_fail("malloc");
    memcpy(rest->data, data, n);
    rest->write.data = rest;
    const uv_buf_t piece = uv_buf_init(rest->data, (unsigned)n);
    must(uv_write(&rest->write, client, &piece, 1, free_rest), "uv_write");
}

static void
answer(uv_stream_t *client, ssize_t n, const uv_buf_t *read)
{
    if (n < 0) {
        uv_close((uv_handle_t *)client, free_handle);
        return;
    }
    bytes += (size_t)n;
    const uv_buf_t piece = uv_buf_init(read->base, (unsigned)n);
    int sent = uv_try_write(client, &piece, 1);
    if (sent < 0)
        sent = 0;
    if (sent < n)
        write_rest(client, read->base + sent, (size_t)(n - sent));
}

static void
accept_one(uv_stream_t *listener, int status)
{
    uv_tcp_t *client = malloc(sizeof(*client));

    must(status, "accept");
    if (client == NULL)
        server_fail("malloc");
    must(uv_tcp_init(listener->loop, client), "uv_tcp_init");
    must(uv_accept(listener, (uv_stream_t *)client), "uv_accept");
    must(uv_read_start((uv_stream_t *)client, lend, answer), "uv_read_start");
}

static void
stop(uv_poll_t *input, int status, int events)
{
    (void)status;
    (void)events;
    uv_stop(input->loop);
}

int
main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t listener;
    uv_poll_t input;

    server_about(argc, argv, "libuv " UV_VERSION_TEXT);
    must(uv_tcp_init(loop, &listener), "uv_tcp_init");
    must(uv_tcp_open(&listener, server_listen()), "uv_tcp_open");
    must(uv_listen((uv_stream_t *)&listener, SERVER_BACKLOG, accept_one), "uv_listen");
    must(uv_poll_init(loop, &input, 0), "uv_poll_init");
    must(uv_poll_start(&input, UV_READABLE | UV_DISCONNECT, stop), "uv_poll_start");
    uv_run(loop, UV_RUN_DEFAULT);
    server_report(bytes / SERVER_MESSAGE);
    return 0;
}
