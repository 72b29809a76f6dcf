/* bench/net/http_event.c -- the web server on libevent's evhttp: a short JSON for every request. */

#define _GNU_SOURCE
#include "server.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <unistd.h>

static const char body[] = "{\"hello\": \"world\"}\n";
static uint64_t requests;

static void
answer(struct evhttp_request *request, void *arg)
{
    requests++;
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type",
                      "application/json");
    evbuffer_add_reference(evhttp_request_get_output_buffer(request), body, sizeof(body) - 1, NULL,
                           NULL);
    evhttp_send_reply(request, HTTP_OK, "OK", NULL);
    (void)arg;
}

static void
stop(int fd, short what, void *base)
{
    (void)fd;
    (void)what;
    event_base_loopbreak(base);
}

int
main(int argc, char **argv)
{
    server_about(argc, argv, "libevent " LIBEVENT_VERSION ", evhttp");
    struct event_config *config = event_config_new();

    if (config == NULL || event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) != 0)
        server_fail("event_config");
    struct event_base *base = event_base_new_with_config(config);
    struct evhttp *server = base != NULL ? evhttp_new(base) : NULL;
    if (server == NULL)
        server_fail("evhttp_new");
    evhttp_set_gencb(server, answer, NULL);
    struct event *input = event_new(base, STDIN_FILENO, EV_READ, stop, base);
    if (input == NULL || event_add(input, NULL) != 0)
        server_fail("event_add");
    if (evhttp_accept_socket(server, server_listen()) != 0)
        server_fail("evhttp_accept_socket");
    if (event_base_dispatch(base) < 0)
        server_fail("event_base_dispatch");
    server_report(requests);
    return 0;
}
