/* io/connect.c -- streams to somewhere: names looked up, addresses tried in turn.
 *
 * Each address has its own deadline; what the last one failed with is the answer. A socket whose connect was
 * cancelled or failed is closed: nobody connects it again.
 */
#include "io/net.h"
#include "io/stream.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

static const iora_duration EACH_DEFAULT = IORA_S(10);

static const struct iora__wait_class connecting = {.what = "connection, descriptor",
                                                   .names_descriptor = true,
                                                   .cancel = iora__op_wait_cancel};

static int
check_options(const iora_connect_options *options)
{
    if (options->size != sizeof *options)
        return -EINVAL;
    if (options->family != 0 && options->family != AF_INET && options->family != AF_INET6)
        return -EINVAL;
    return iora__stream_check_limits(options->line_limit, options->write_limit);
}

int
iora__no_delay(iora_loop *loop, int fd)
{
    static const int on = 1;

    return loop->backend->sockets->set_option(loop->backend_state, fd, IPPROTO_TCP, TCP_NODELAY,
                                              &on, sizeof on);
}

static int
prepare(iora_loop *loop, int fd, int family, const iora_address *local)
{
    int rc = 0;

    if (local != NULL)
        rc = loop->backend->sockets->bind(loop->backend_state, fd,
                                          (const struct sockaddr *)local->bytes, local->length);
    if (rc == 0 && family != AF_UNIX)
        rc = iora__no_delay(loop, fd);
    return rc;
}

/* Wait until the socket is connected. */
static int
await_connect(struct iora__task *task, int fd, const iora_address *address)
{
    int rc;

    if ((rc = iora__enter(task)) < 0)
        return rc;
    task->u.op = (struct iora__op){._fd = fd,
                                   ._kind = IORA__OP_CONNECT,
                                   ._base = (void *)address->bytes,
                                   ._detail = address->length};
    return iora__op_await(task, &connecting, NULL);
}

/* One address: a stream, or why not. */
static int
try_address(struct iora__task *task, const iora_address *address,
            const iora_connect_options *options, iora_stream **out)
{
    iora_loop *const loop = task->loop;
    const int family = iora__address_family(address);
    const iora_duration each = options->each._ns != 0 ? options->each : EACH_DEFAULT;
    int fd, rc;

    fd = loop->backend->sockets->socket(loop->backend_state, family, SOCK_STREAM);
    if (fd < 0)
        return fd;
    rc = prepare(loop, fd, family, options->local);
    if (rc == 0)
        rc = iora_wait_for(await_connect(task, fd, address), each);
    if (rc == 0)
        rc = iora__stream_make(loop, fd, options->line_limit, options->write_limit, out);
    if (rc < 0)
        iora__fd_close(loop, fd);
    return rc;
}

static int
try_all(struct iora__task *task, const struct addrinfo *list, const iora_connect_options *options,
        iora_stream **out)
{
    int rc = IORA_E_NAME;

    for (; list != NULL; list = list->ai_next) {
        const iora_address address = iora__address_of(list->ai_addr, list->ai_addrlen);

        rc = try_address(task, &address, options, out);
        if (rc == 0 || rc == -ECANCELED || rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE)
            break;
    }
    return rc;
}

int
iora_open_connection(const char *host, uint16_t port, const iora_connect_options *options,
                     iora_stream **out)
{
    static const iora_connect_options defaults = IORA_CONNECT_OPTIONS_INIT;
    struct iora__task *const task = iora__self();
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list;
    char service[8];
    int rc;

    if (options == NULL)
        options = &defaults;
    if (host == NULL || check_options(options) < 0)
        return -EINVAL;
    hints.ai_family = options->family;
    (void)snprintf(service, sizeof service, "%u", (unsigned)port);
    if ((rc = iora_getaddrinfo(host, service, &hints, &list)) < 0)
        return rc;
    IORA__KNOWN(task != NULL); /* else there would be no list */
    rc = try_all(task, list, options, out);
    freeaddrinfo(list);
    return rc;
}

int
iora_open_unix_connection(const char *path, const iora_connect_options *options, iora_stream **out)
{
    static const iora_connect_options defaults = IORA_CONNECT_OPTIONS_INIT;
    struct iora__task *const task = iora__self();
    iora_address address;
    int rc;

    if (options == NULL)
        options = &defaults;
    if ((rc = check_options(options)) < 0 || (rc = iora_address_unix(path, &address)) < 0)
        return rc;
    if ((rc = iora__enter(task)) < 0)
        return rc;
    return try_address(task, &address, options, out);
}
