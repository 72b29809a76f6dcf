/* io/server.c -- servers: listeners, a task that accepts for each, a task for each client.
 *
 * A server is a task, the *supervisor*, child of the task that started it. It holds an isolating group with all
 * that runs for the server in it: an *acceptor* for each listener, and the clients. So whatever ends the supervisor
 * ends them all, and nobody is left who uses the server's memory, which goes with it.
 *
 *     OPEN -- close --> CLOSED (no listeners; clients live) -- stop ---> the supervisor's group ends -> freed
 *        `----------------------- the owner ends: the supervisor is cancelled --------------------------^
 *
 * Several tasks may stop one server, and its owner may end meanwhile. While any is in a stop the struct is theirs: the
 * last of them to leave frees it, and the supervisor does not.
 *
 * Should somebody cancel the supervisor by itself, all of that ends too, but the struct stays for the user's
 * stop, or until the loop goes.
 *
 * Invariants:
 * (1) A connection that was accepted is a client's from then on: if his task cannot be made, it is closed.
 * (2) An acceptor accepts 64 at most, then lets the others run.
 * (3) Nothing that accept(2) can say ends a listener but its own close. What one client has caused (ECONNABORTED
 *     and the like, accept(2) lists them) is passed over; what the system lacks makes it pause: 50 ms, doubling
 *     up to 1 s. (asyncio #78 and joyent/libuv #690 are the listener closed for good and the endless loop.)
 * (4) A client's stream is closed by the one who serves it, or after him, exactly once: the stream tells.
 */
#include <iora/group.h>
#include <iora/server.h>
#include <iora/sync.h>

#include "io/net.h"
#include "io/stream.h"
#include "sys/alloc.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum {
    BACKLOG_DEFAULT = 4096,
    ACCEPTS_IN_A_ROW = 64,
    PORTS_TRIED = 16,
    MODE_DEFAULT = 0600,
    TOLD_EVERY_NS = 1000 * 1000 * 1000
};

static const iora_duration PAUSE_MIN = IORA_MS(50);
static const int64_t PAUSE_MAX_NS = INT64_C(1000) * 1000 * 1000;

struct listener {
    iora_server *server;
    int fd; /* -1: closed */
    iora_task acceptor;
    iora_address address;
    struct iora__path_claim claim;
};

struct client {
    struct iora__link in_server;
    iora_stream *stream; /* NULL once it is closed */
    iora_task task;
};

struct iora_server {
    iora_loop *loop;
    struct iora__link in_loop;
    iora_task supervisor;
    iora_client_fn *serve;
    void *arg;
    iora_server_options options;
    bool is_closed;
    unsigned drains;  /* how often all clients were told to end */
    unsigned aborts;  /* how often they were cancelled */
    unsigned stops;   /* tasks that are in iora_server_stop() */
    bool cut_short;   /* one of these had to abort clients */
    int64_t told_ns; /* when the log hook was last told of a pause */
    struct iora__link clients; /* that have begun */
    size_t client_count;       /* those that have not, too */
    iora_group *group;         /* the supervisor's, while it is open */
    iora_event stop;           /* set: the supervisor ends */
    struct iora__waitq gone;   /* who waits for the last client */
    struct iora__waitq fewer;  /* acceptors that wait for one client fewer */
    size_t listener_count, open_listeners;
    struct listener listeners[];
};

/* ---- clients ---------------------------------------------------------------------------------------------- */

static bool
is_any_peers_fault(int rc)
{
    return rc == -ECONNRESET || rc == -EPIPE || rc == IORA_E_INCOMPLETE;
}

/* Whether nothing is left that could serve anybody. */
static bool
is_gone(const iora_server *server)
{
    return server->is_closed && server->client_count == 0 && server->open_listeners == 0;
}

static void
tell_if_gone(iora_server *server)
{
    if (is_gone(server))
        iora__waitq_grant_all(&server->gone, 0);
}

static void
count_client_out(iora_server *server)
{
    server->client_count--;
    iora__waitq_grant_all(&server->fewer, 0); /* all look again: the first may find nobody at his address */
    tell_if_gone(server);
}

/* A client's task. It owns the connection from before its first suspension. What was said to all clients since it
 * was started, it has not heard. */
static int
serve_client(iora_server *server, int fd, unsigned drains, unsigned aborts)
{
    struct client client = {.task = iora_current()};
    int rc, closed;

    iora__list_push_tail(&server->clients, &client.in_server);
    if (aborts != server->aborts)
        (void)iora_cancel(client.task);
    rc = iora__stream_make(server->loop, fd, server->options.line_limit,
                           server->options.write_limit, &client.stream);
    if (rc < 0) {
        iora__fd_close(server->loop, fd);
    } else {
        client.stream->holder = &client.stream;
        client.stream->drained = drains != server->drains;
        rc = server->serve(client.stream, server->arg);
        closed = iora_stream_close(client.stream);
        if (rc >= 0 && closed != -ECANCELED && closed != -ETIMEDOUT) /* a peer that reads nothing */
            rc = closed;
    }
    iora__list_remove(&client.in_server);
    count_client_out(server);
    return is_any_peers_fault(rc) ? 0 : rc;
}
IORA_ASYNC(serve_client, iora_server *, int, unsigned, unsigned);

/* ---- accepting ---------------------------------------------------------------------------------------------- */

/* What accept(2) says because of one client, who is gone. */
static bool
is_over_with(int rc)
{
    switch (-rc) {
    case ECONNABORTED:
    case EINTR:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case ETIMEDOUT:
        return true;
    default:
        return false;
    }
}

static void
tell_of_pause(iora_server *server, int rc)
{
    const int64_t now_ns = iora__loop_now_ns(server->loop);

    if (server->told_ns != 0 && now_ns - server->told_ns < TOLD_EVERY_NS)
        return;
    server->told_ns = now_ns;
    iora__loop_log(server->loop, "a server pauses accepting: %s (%s)", iora_strerror(rc),
                   iora_err_name(rc));
}

static const struct iora__wait_class accepting = {.what = "connections, descriptor",
                                                  .names_descriptor = true,
                                                  .cancel = iora__op_wait_cancel};
static const struct iora__wait_class waiting_for_fewer = {.what = "a client fewer",
                                                          .cancel = iora__wait_cancel};

static bool
is_full(const iora_server *server)
{
    const size_t max = server->options.max_clients;

    return max != 0 && server->client_count >= max;
}

/* Looks at the scope first and, having waited, again. */
static int
wait_for_fewer(iora_server *server, struct iora__task *task)
{
    int rc;

    while ((rc = iora__enter(task)) == 0 && is_full(server)) {
        iora__waitq_push(&server->fewer, iora__wait_begin(task, &waiting_for_fewer, server, NULL));
        if ((rc = iora__park(task)) < 0)
            break;
    }
    return rc;
}

/* Accept a connection that may be served now. While this acceptor waited for it, others may have taken the last
 * place: then it waits here, accepted, as it would in the backlog. */
static int
accept_one(struct listener *listener, struct iora__task *task)
{
    iora_server *const server = listener->server;
    int fd, rc;

    if ((rc = wait_for_fewer(server, task)) < 0)
        return rc;
    task->u.op = (struct iora__op){._fd = listener->fd, ._kind = IORA__OP_ACCEPT};
    if ((fd = iora__op_await(task, &accepting, NULL)) < 0)
        return fd;
    if (is_full(server) && (rc = wait_for_fewer(server, task)) < 0) {
        iora__fd_close(server->loop, fd);
        return rc;
    }
    return fd;
}

static int
start_client(iora_server *server, int fd)
{
    iora_task task;
    int rc;

    if (server->is_closed) {
        iora__fd_close(server->loop, fd);
        return -ECANCELED;
    }
    if (iora__address_family(&server->listeners[0].address) != AF_UNIX)
        (void)iora__no_delay(server->loop, fd); /* a peer that has gone already is told by the first read */
    task = IORA__START(IORA__GO_GROUP, server->group, server->options.stack_size, serve_client,
                       server, fd, server->drains, server->aborts);
    if ((rc = iora_task_error(task)) < 0)
        iora__fd_close(server->loop, fd);
    else
        server->client_count++;
    return rc == IORA_E_CLOSED ? -ECANCELED : rc; /* the group is ending, and the acceptor with it */
}

/* Wait for the system to have again what it lacked: twice as long each time. */
static int
pause_accepting(iora_server *server, iora_duration *pause, int why)
{
    const iora_duration now = *pause;

    tell_of_pause(server, why);
    pause->_ns = now._ns * 2 < PAUSE_MAX_NS ? now._ns * 2 : PAUSE_MAX_NS;
    return iora_sleep(now);
}

static int
accept_all(struct listener *listener)
{
    iora_server *const server = listener->server;
    struct iora__task *const task = iora__self();
    iora_duration next_pause = PAUSE_MIN;
    unsigned in_a_row = 0;
    int rc = 0;

    while (rc != -ECANCELED) {
        rc = accept_one(listener, task);
        if (rc >= 0)
            rc = start_client(server, rc);
        if (rc == 0)
            next_pause = PAUSE_MIN;
        else if (rc != -ECANCELED && !is_over_with(rc))
            rc = pause_accepting(server, &next_pause, rc);
        if (++in_a_row % ACCEPTS_IN_A_ROW == 0)
            (void)iora_yield();
    }
    return rc;
}
IORA_ASYNC(accept_all, struct listener *);

/* ---- the supervisor ------------------------------------------------------------------------------------------- */

static void
close_listener(struct listener *listener)
{
    iora_loop *const loop = listener->server->loop;

    if (listener->fd < 0)
        return;
    loop->backend->sockets->unbind_path(loop->backend_state, &listener->claim);
    iora__fd_close(loop, listener->fd);
    listener->fd = -1;
    listener->server->open_listeners--;
    tell_if_gone(listener->server);
}

/* An acceptor owns its listener: it closes it when it has left the accept. */
static int
accept_and_close(struct listener *listener)
{
    const int rc = accept_all(listener);

    close_listener(listener);
    return rc;
}
IORA_ASYNC(accept_and_close, struct listener *);

static void
free_server(iora_server *server)
{
    iora__list_remove(&server->in_loop);
    iora__free(server);
}

void
iora__servers_free(struct iora__io *io)
{
    struct iora__link *link;

    while ((link = iora__list_pop(&io->servers)) != NULL)
        iora__free(iora__container_of(link, iora_server, in_loop));
}

/* Whether the task that started the server has returned: nobody can use the server any more. */
static bool
owner_has_ended(void)
{
    const struct iora__task *const owner = iora__task_owner(iora__self());

    return owner != NULL && owner->state == IORA__TASK_ENDING;
}

static int
supervise(iora_server *server)
{
    int rc = 0;

    IORA_GROUP_OF(rc, group, IORA_GROUP_ISOLATE) {
        server->group = &group;
        for (size_t i = 0; i < server->listener_count && rc == 0; i++) {
            struct listener *const listener = &server->listeners[i];

            listener->acceptor = iora_group_go(&group, accept_and_close, listener);
            rc = iora_task_error(listener->acceptor);
        }
        if (rc == 0)
            rc = iora_event_wait(&server->stop);
    }
    server->group = NULL;
    iora_server_close(server); /* of listeners whose acceptors could not begin */
    if (owner_has_ended() && server->stops == 0)
        free_server(server);
    return rc;
}
IORA_ASYNC(supervise, iora_server *);

/* ---- starting -------------------------------------------------------------------------------------------------- */

static int
check_options(const iora_server_options *options)
{
    if (options->size != sizeof *options || options->backlog < 0)
        return -EINVAL;
    if (options->family != 0 && options->family != AF_INET && options->family != AF_INET6)
        return -EINVAL;
    if (options->mode > 0777)
        return -EINVAL;
    if (options->stack_size != 0 && iora__stack_class_of(options->stack_size) < 0)
        return -EINVAL;
    return iora__stream_check_limits(options->line_limit, options->write_limit);
}

/* A server with room for so many listeners, and none yet. */
static int
make_server(iora_client_fn *serve, void *arg, const iora_server_options *options, size_t max,
            iora_server **out)
{
    static const iora_server_options defaults = IORA_SERVER_OPTIONS_INIT;
    iora_loop *const loop = iora__running;
    iora_server *server;
    struct iora__io *io;

    if (loop == NULL || iora__self() == NULL)
        return loop == NULL ? IORA_E_NO_LOOP : IORA_E_NO_TASK;
    if (options == NULL)
        options = &defaults;
    if (serve == NULL || check_options(options) < 0)
        return -EINVAL;
    if ((io = iora__io_of(loop)) == NULL ||
        (server = iora__zalloc(sizeof *server + max * sizeof server->listeners[0])) == NULL)
        return -ENOMEM;
    server->loop = loop;
    server->serve = serve;
    server->arg = arg;
    server->options = *options;
    if (options->backlog == 0)
        server->options.backlog = BACKLOG_DEFAULT;
    iora__list_init(&server->clients);
    iora__list_push_tail(&io->servers, &server->in_loop);
    *out = server;
    return 0;
}

/* Start the supervisor, which starts the acceptors at once. */
static int
start_supervisor(iora_server *server)
{
    server->supervisor = iora_go_eager(supervise, server);
    if (iora_task_is_valid(server->supervisor) && iora_task_is_done(server->supervisor))
        return iora_await(server->supervisor);
    return iora_task_error(server->supervisor);
}

/* Whatever went wrong before (rc) or does now, the server is gone then. */
static int
start(iora_server *server, int rc, iora_server **out)
{
    if (rc == 0)
        rc = start_supervisor(server);
    if (rc < 0) {
        iora_server_close(server);
        free_server(server);
        return rc;
    }
    *out = server;
    return 0;
}

/* Listen on a bound socket (that of a claim does so already), which is the server's if that worked. */
static int
add_listener(iora_server *server, int fd, const struct iora__path_claim *claim)
{
    struct listener *const listener = &server->listeners[server->listener_count];
    const struct iora__sockets *const sockets = server->loop->backend->sockets;
    socklen_t length = sizeof listener->address.bytes;
    int rc = 0;

    if (claim == NULL)
        rc = sockets->listen(server->loop->backend_state, fd, server->options.backlog);
    if (rc == 0)
        rc = sockets->name(server->loop->backend_state, fd, false,
                           (struct sockaddr *)listener->address.bytes, &length);
    if (rc < 0)
        return rc;
    listener->server = server;
    listener->fd = fd;
    listener->address.length = length;
    if (claim != NULL)
        listener->claim = *claim;
    server->listener_count++;
    server->open_listeners++;
    return 0;
}

static int
set_flag(iora_server *server, int fd, int level, int option)
{
    static const int on = 1;

    return server->loop->backend->sockets->set_option(server->loop->backend_state, fd, level,
                                                      option, &on, sizeof on);
}

static int
bind_address(iora_server *server, int fd, const iora_address *address)
{
    const struct iora__sockets *const sockets = server->loop->backend->sockets;
    int rc = set_flag(server, fd, SOL_SOCKET, SO_REUSEADDR);

    if (rc == 0 && server->options.reuse_port)
        rc = set_flag(server, fd, SOL_SOCKET, SO_REUSEPORT);
    if (rc == 0 && iora__address_family(address) == AF_INET6)
        rc = set_flag(server, fd, IPPROTO_IPV6, IPV6_V6ONLY);
    if (rc == 0)
        rc = sockets->bind(server->loop->backend_state, fd,
                           (const struct sockaddr *)address->bytes, address->length);
    return rc;
}

static int
listen_on_address(iora_server *server, const iora_address *address)
{
    const int fd = server->loop->backend->sockets->socket(
        server->loop->backend_state, iora__address_family(address), SOCK_STREAM);
    int rc;

    if (fd < 0)
        return fd;
    rc = bind_address(server, fd, address);
    if (rc == 0)
        rc = add_listener(server, fd, NULL);
    if (rc < 0)
        iora__fd_close(server->loop, fd);
    return rc;
}

static void
set_port(iora_address *address, uint16_t port)
{
    const uint16_t in_order = htons(port);

    /* In both families the port comes behind the family. */
    memcpy(address->bytes + offsetof(struct sockaddr_in, sin_port), &in_order, sizeof in_order);
}

/* Listen on all of a list. The port that the kernel chooses for the first is everybody's. A machine without
 * IPv6 has no socket for it: that address is left out, if it is not the only one. */
static int
listen_on_all(iora_server *server, const struct addrinfo *list)
{
    int rc = IORA_E_NAME;

    for (; list != NULL; list = list->ai_next) {
        iora_address address = iora__address_of(list->ai_addr, list->ai_addrlen);
        int one;

        if (server->listener_count > 0)
            set_port(&address, iora_server_port(server));
        one = listen_on_address(server, &address);
        if (one < 0 && one != -EAFNOSUPPORT && one != -EADDRNOTAVAIL)
            return one;
        if (rc != 0)
            rc = one;
    }
    return rc;
}

/* The same; where the kernel chose a port for the first address that somebody has at another, once more. */
static int
listen_on_a_list(iora_server *server, const struct addrinfo *list, bool may_choose)
{
    int rc = listen_on_all(server, list);

    for (int i = 1; i < PORTS_TRIED && rc == -EADDRINUSE && may_choose; i++) {
        for (size_t at = 0; at < server->listener_count; at++)
            close_listener(&server->listeners[at]);
        server->listener_count = 0;
        rc = listen_on_all(server, list);
    }
    return rc;
}

static size_t
length_of(const struct addrinfo *list)
{
    size_t n = 0;

    for (; list != NULL; list = list->ai_next)
        n++;
    return n;
}

int
iora_start_server(const char *host, uint16_t port, iora_client_fn *serve, void *arg,
                  const iora_server_options *options, iora_server **out)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *list;
    iora_server *server;
    char service[8];
    int rc;

    if (options != NULL)
        hints.ai_family = options->family;
    (void)snprintf(service, sizeof service, "%u", (unsigned)port);
    if ((rc = iora_getaddrinfo(host, service, &hints, &list)) < 0)
        return rc;
    if ((rc = make_server(serve, arg, options, length_of(list), &server)) == 0)
        rc = start(server, listen_on_a_list(server, list, port == 0), out);
    freeaddrinfo(list);
    return rc;
}

static int
listen_on_path(iora_server *server, const char *path)
{
    const struct iora__sockets *const sockets = server->loop->backend->sockets;
    const unsigned mode = server->options.mode != 0 ? server->options.mode : MODE_DEFAULT;
    struct iora__path_claim claim = {0};
    iora_address address;
    int fd, rc;

    if ((rc = iora_address_unix(path, &address)) < 0)
        return rc;
    if (path[0] == '@')
        return listen_on_address(server, &address);
    if ((fd = sockets->socket(server->loop->backend_state, AF_UNIX, SOCK_STREAM)) < 0)
        return fd;
    if ((rc = sockets->listen_path(server->loop->backend_state, fd, path, mode,
                                   server->options.backlog, &claim)) < 0)
        goto fail_fd;
    if ((rc = add_listener(server, fd, &claim)) < 0)
        goto fail_path;
    return 0;

fail_path:
    sockets->unbind_path(server->loop->backend_state, &claim);
fail_fd:
    iora__fd_close(server->loop, fd);
    return rc;
}

int
iora_start_unix_server(const char *path, iora_client_fn *serve, void *arg,
                       const iora_server_options *options, iora_server **out)
{
    iora_server *server;
    int rc;

    if ((rc = make_server(serve, arg, options, 1, &server)) < 0)
        return rc;
    return start(server, listen_on_path(server, path), out);
}

/* Whether a descriptor that was adopted listens. */
static int
check_listens(iora_server *server, int fd)
{
    int listens = 0;
    socklen_t size = sizeof listens;
    const int rc = server->loop->backend->sockets->get_option(
        server->loop->backend_state, fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size);

    if (rc < 0)
        return rc == -ENOTSOCK ? -EINVAL : rc;
    return listens ? 0 : -EINVAL;
}

int
iora_start_server_on(int fd, iora_client_fn *serve, void *arg, const iora_server_options *options,
                     iora_server **out)
{
    const struct iora__sockets *sockets;
    iora_server *server;
    int rc;

    if ((rc = make_server(serve, arg, options, 1, &server)) < 0)
        return rc;
    sockets = server->loop->backend->sockets;
    if ((rc = sockets->adopt(server->loop->backend_state, fd)) < 0)
        goto fail_server;
    if ((rc = check_listens(server, fd)) < 0 || (rc = add_listener(server, fd, NULL)) < 0) {
        sockets->release(server->loop->backend_state, fd);
        goto fail_server;
    }
    if ((rc = start_supervisor(server)) < 0) {
        if (server->listeners[0].fd >= 0)
            sockets->release(server->loop->backend_state, fd);
        goto fail_server;
    }
    *out = server;
    return 0;

fail_server:
    free_server(server);
    return rc;
}

/* ---- stopping ---------------------------------------------------------------------------------------------------- */

void
iora_server_close(iora_server *server)
{
    if (server->is_closed)
        return;
    server->is_closed = true;
    for (size_t i = 0; i < server->listener_count; i++) {
        struct listener *const listener = &server->listeners[i];

        if (iora_task_is_valid(listener->acceptor))
            (void)iora_cancel(listener->acceptor); /* who closes it */
        else
            close_listener(listener);
    }
    tell_if_gone(server);
}

void
iora_server_close_clients(iora_server *server)
{
    server->drains++;
    for (struct iora__link *at = server->clients._next; at != &server->clients; at = at->_next) {
        const struct client *const client = iora__container_of(at, struct client, in_server);

        if (client->stream != NULL)
            iora__stream_drain(client->stream);
    }
}

void
iora_server_abort_clients(iora_server *server)
{
    struct iora__link *at = server->clients._next;

    server->aborts++;
    while (at != &server->clients) {
        const struct client *const client = iora__container_of(at, struct client, in_server);

        at = at->_next;
        (void)iora_cancel(client->task);
    }
}

static const struct iora__wait_class waiting_for_clients = {.what = "a server's clients",
                                                            .cancel = iora__wait_cancel};
static const struct iora__wait_class clients_end = {.what = "a server's clients to end"};

static int
wait_closed(iora_server *server, struct iora__task *task, const struct iora__wait_class *class)
{
    if (is_gone(server))
        return 0;
    iora__waitq_push(&server->gone, iora__wait_begin(task, class, server, NULL));
    return iora__park(task);
}

/* Let those who are left be served to their end. An acceptor that is still about to end is nobody's concern. */
static int
wait_for_clients(iora_server *server, struct iora__task *task)
{
    int rc;

    if (server->client_count == 0)
        return 0;
    if ((rc = iora__enter(task)) < 0)
        return rc;
    return wait_closed(server, task, &waiting_for_clients);
}

/* Whether the task is one of the server's own, which cannot wait for itself to end. */
static bool
is_inside(const struct iora__task *task, const iora_server *server)
{
    for (; task != NULL; task = iora__task_owner(task)) {
        if (task == server->supervisor._block)
            return true;
    }
    return false;
}

int
iora_server_wait_closed(iora_server *server)
{
    struct iora__task *const task = iora__self();
    const int rc = iora__enter(task);

    if (rc < 0)
        return rc;
    return is_inside(task, server) ? -EDEADLK : wait_closed(server, task, &waiting_for_clients);
}

static void
abort_the_rest(iora_server *server)
{
    server->cut_short |= server->client_count > 0;
    iora_server_abort_clients(server);
}

int
iora_server_stop(iora_server *server, iora_duration grace)
{
    struct iora__task *const task = iora__self();
    int rc;

    if (server == NULL)
        return 0;
    if (task == NULL)
        return iora__enter_slowly(NULL);
    if (is_inside(task, server))
        return -EDEADLK;
    iora__seam_moment(IORA__MOMENT_ENTER, task);
    server->stops++;
    iora_server_close(server);
    iora_server_close_clients(server);
    rc = task->cancelled ? -ECANCELED : iora_wait_for(wait_for_clients(server, task), grace);
    if (rc < 0)
        abort_the_rest(server);
    (void)wait_closed(server, task, &clients_end);
    iora_event_set(&server->stop);
    (void)iora_await(server->supervisor); /* -ESRCH: another stop has, or the owner has ended */
    if (rc == 0 && server->cut_short)
        rc = -ETIMEDOUT;
    if (--server->stops == 0)
        free_server(server);
    return task->cancelled ? -ECANCELED : rc;
}

/* ---- what it is ---------------------------------------------------------------------------------------------------- */

uint16_t
iora_server_port(const iora_server *server)
{
    return server->listener_count > 0 ? iora_address_port(&server->listeners[0].address) : 0;
}

size_t
iora_server_address_count(const iora_server *server)
{
    return server->listener_count;
}

int
iora_server_address(const iora_server *server, size_t index, iora_address *out)
{
    if (index >= server->listener_count)
        return -EINVAL;
    *out = server->listeners[index].address;
    return 0;
}

size_t
iora_server_clients(const iora_server *server)
{
    return server->client_count;
}
