/* backend/sim/sockets.c -- stream sockets without a kernel.
 *
 * A socket's number is the lowest free one from 2^30 on, and is used again at once: who keeps a number for
 * longer than his socket is found out. Real descriptors have no such numbers.
 *
 *            connect                      arrives, the backlog has room
 *     FRESH ---------> CONNECTING -------------------------------------> CONNECTED
 *       |   <---------            -----. nobody listens: FRESH again       ^
 *       | listen                       |                                   | accept
 *       v                              | the backlog is full               |
 *     LISTENING                   connectors --- an accept makes room -----'
 *
 * What will be accepted, the *embryo*, is made as soon as somebody connects, so that later steps need no
 * memory. Each end has a *flow* (flow.c) of what comes to it. Behind the bytes comes the end (fin), by
 * close or shutdown, or a reset (rst); and all of it is scheduled (sim.c), once per socket at a time.
 *
 * Ends are as Linux has them:
 * (1) Closing with bytes unread, or with SO_LINGER of 0, resets the peer: he reads what had arrived, then
 *     ECONNRESET once, then the end; his sends fail with ECONNRESET once, then EPIPE.
 * (2) Else the peer reads the end. TCP lets him send on, once; what comes back is a reset, which he is
 *     told of as EPIPE when he sends again. The Unix family says EPIPE at once.
 * (3) A listener that is closed resets those nobody has accepted, and refuses those for whom there was
 *     no room.
 *
 * All addresses are this one host's. TCP's 4 and 6 have nothing to do with each other here (as with
 * IPV6_V6ONLY), and there are no datagrams.
 */
#include "backend/sim/sim.h"

#include "sys/alloc.h"

#include <netinet/in.h>
#include <string.h>

enum { NUMBERS_MIN = 16, BACKLOG_MAX = 4096, BUFFER_BITS_MIN = 10, BUFFER_BITS_MAX = 16 };

/* ---- numbers -------------------------------------------------------------------------------------- */

struct iora__sim_socket *
iora__sim_find(const struct iora__sim *sim, int fd)
{
    const size_t at = (size_t)fd - IORA__SIM_FIRST_FD;

    return fd >= IORA__SIM_FIRST_FD && at < sim->number_count ? sim->numbers[at] : NULL;
}

static int
grow_numbers(struct iora__sim *sim)
{
    const size_t count = sim->number_count > 0 ? sim->number_count * 2 : NUMBERS_MIN;
    struct iora__sim_socket **const numbers = iora__alloc_array(count, sizeof(void *));

    if (numbers == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        numbers[i] = i < sim->number_count ? sim->numbers[i] : NULL;
    iora__free(sim->numbers);
    sim->numbers = numbers;
    sim->number_count = count;
    return 0;
}

static int
give_number(struct iora__sim *sim, struct iora__sim_socket *socket)
{
    int rc;

    while (sim->lowest < sim->number_count && sim->numbers[sim->lowest] != NULL)
        sim->lowest++;
    if (sim->lowest == sim->number_count && (rc = grow_numbers(sim)) < 0)
        return rc;
    sim->numbers[sim->lowest] = socket;
    socket->fd = IORA__SIM_FIRST_FD + (int)sim->lowest;
    return socket->fd;
}

static void
take_number(struct iora__sim *sim, const struct iora__sim_socket *socket)
{
    const size_t at = (size_t)socket->fd - IORA__SIM_FIRST_FD;

    sim->numbers[at] = NULL;
    sim->lowest = at < sim->lowest ? at : sim->lowest;
}

/* ---- making and freeing ----------------------------------------------------------------------------- */

static struct iora__sim_socket *
make_socket(struct iora__sim *sim, int family)
{
    struct iora__sim_socket *const socket = iora__zalloc(sizeof *socket);

    if (socket == NULL)
        return NULL;
    socket->fd = -1;
    socket->family = family;
    socket->in.capacity =
        sim->seeded ? (size_t)1 << (BUFFER_BITS_MIN +
                                    iora__sim_draw(sim, BUFFER_BITS_MAX - BUFFER_BITS_MIN + 1))
                    : IORA__SIM_BUFFER;
    if (family == AF_UNIX) { /* unnamed, until it is bound */
        socket->local.length = socket->remote.length = sizeof(sa_family_t);
        ((struct sockaddr *)socket->local.bytes)->sa_family = AF_UNIX;
        ((struct sockaddr *)socket->remote.bytes)->sa_family = AF_UNIX;
    }
    iora__list_init(&socket->readers);
    iora__list_init(&socket->writers);
    iora__list_init(&socket->embryos);
    iora__list_init(&socket->connectors);
    iora__list_push_tail(&sim->sockets, &socket->in_all);
    return socket;
}

static void
free_socket(struct iora__sim *sim, struct iora__sim_socket *socket)
{
    if (socket->fd >= 0)
        take_number(sim, socket);
    iora__sim_unname(socket);
    iora__list_remove(&socket->in_all);
    iora__list_discard(&socket->in_listeners);
    iora__list_discard(&socket->in_listener);
    iora__list_discard(&socket->in_ready);
    iora__list_discard(&socket->in_schedule);
    iora__free(socket->in.ring);
    iora__free(socket);
}

/* The lists they are in go with them: nothing is taken out of one. */
void
iora__sim_free_all(struct iora__sim *sim)
{
    struct iora__link *link;

    while ((link = iora__list_pop(&sim->sockets)) != NULL) {
        struct iora__sim_socket *const socket =
            iora__container_of(link, struct iora__sim_socket, in_all);

        iora__free(socket->in.ring);
        iora__free(socket);
    }
}

static void
join(struct iora__sim_socket *a, struct iora__sim_socket *b)
{
    a->peer = b;
    b->peer = a;
    a->state = b->state = IORA__SIM_CONNECTED;
}

int
iora__sim_socket(void *state, int family, int type)
{
    struct iora__sim *const sim = state;
    struct iora__sim_socket *socket;
    int rc;

    if (family != AF_INET && family != AF_INET6 && family != AF_UNIX)
        return -EAFNOSUPPORT;
    if (type != SOCK_STREAM)
        return -EPROTONOSUPPORT;
    if ((socket = make_socket(sim, family)) == NULL)
        return -ENOMEM;
    if ((rc = give_number(sim, socket)) < 0)
        free_socket(sim, socket);
    return rc;
}

int
iora__sim_socket_pair(void *state, int type, int out[2])
{
    struct iora__sim *const sim = state;
    struct iora__sim_socket *socket;
    int first, second;

    if ((first = iora__sim_socket(state, AF_UNIX, type)) < 0)
        return first;
    socket = iora__sim_find(sim, first);
    if ((second = iora__sim_socket(state, AF_UNIX, type)) < 0) {
        free_socket(sim, socket);
        return second;
    }
    join(socket, iora__sim_find(sim, second));
    out[0] = first;
    out[1] = second;
    return 0;
}

/* ---- options -------------------------------------------------------------------------------------- */

/* The entry of an option, or a free one for it; NULL: all are taken. */
static struct iora__sim_option *
find_option(struct iora__sim_socket *socket, int level, int option)
{
    for (int i = 0; i < IORA__SIM_OPTIONS; i++) {
        struct iora__sim_option *const at = &socket->options[i];

        if (at->length == 0 || (at->level == level && at->option == option))
            return at;
    }
    return NULL;
}

bool
iora__sim_has_option(struct iora__sim_socket *socket, int level, int option)
{
    const struct iora__sim_option *const found = find_option(socket, level, option);
    int value = 0;

    if (found != NULL && found->length == sizeof value)
        memcpy(&value, found->value, sizeof value);
    return value != 0;
}

/* ---- closing ---------------------------------------------------------------------------------------- */

static bool
does_not_linger(struct iora__sim_socket *socket)
{
    const struct iora__sim_option *const found = find_option(socket, SOL_SOCKET, SO_LINGER);
    struct linger linger = {0};

    if (found != NULL && found->length == sizeof linger)
        memcpy(&linger, found->value, sizeof linger);
    return linger.l_onoff != 0 && linger.l_linger == 0;
}

/* Tell the peer, and let him alone. */
static void
part_from_peer(struct iora__sim *sim, struct iora__sim_socket *socket)
{
    struct iora__sim_socket *const peer = socket->peer;
    const bool is_unix = iora__sim_is_unix(socket);
    const size_t unread = socket->in.arrived + (is_unix ? socket->in.in_flight : 0);

    peer->peer = NULL;
    if (unread > 0 || (!is_unix && does_not_linger(socket))) {
        peer->in.rst = true;
    } else {
        peer->in.fin |= !socket->shut_write;
        peer->in.rst |= socket->in.in_flight > 0;
    }
    iora__sim_schedule(sim, peer);
}

static void
close_embryo(struct iora__sim *sim, struct iora__sim_socket *embryo)
{
    if (embryo->peer != NULL) {
        embryo->peer->peer = NULL;
        embryo->peer->in.rst = true;
        iora__sim_schedule(sim, embryo->peer);
    }
    free_socket(sim, embryo);
}

static void
stop_listening(struct iora__sim *sim, struct iora__sim_socket *socket)
{
    struct iora__link *link;

    iora__list_remove(&socket->in_listeners);
    while ((link = iora__list_pop(&socket->embryos)) != NULL)
        close_embryo(sim, iora__container_of(link, struct iora__sim_socket, in_listener));
    while ((link = iora__list_pop(&socket->connectors)) != NULL)
        iora__sim_schedule(sim, iora__container_of(link, struct iora__sim_socket, in_listener));
}

/* Connect no longer. */
static void
withdraw(struct iora__sim *sim, struct iora__sim_socket *socket)
{
    free_socket(sim, socket->embryo);
    socket->embryo = NULL;
    socket->state = IORA__SIM_FRESH;
    iora__list_discard(&socket->in_listener);
    iora__list_discard(&socket->in_schedule);
}

void
iora__sim_close(struct iora__sim *sim, struct iora__sim_socket *socket)
{
    if (socket->state == IORA__SIM_LISTENING)
        stop_listening(sim, socket);
    if (socket->state == IORA__SIM_CONNECTING)
        withdraw(sim, socket);
    if (socket->peer != NULL)
        part_from_peer(sim, socket);
    free_socket(sim, socket);
}

/* ---- connecting ----------------------------------------------------------------------------------------- */

int
iora__sim_connect(struct iora__sim *sim, struct iora__sim_socket *socket,
                  const struct sockaddr *address, socklen_t length)
{
    iora_address remote;
    int rc;

    if (socket->state == IORA__SIM_CONNECTING)
        return -EALREADY;
    if (socket->state != IORA__SIM_FRESH)
        return -EISCONN;
    if ((rc = iora__sim_copy_address(socket->family, address, length, &remote)) < 0)
        return rc;
    if ((socket->embryo = make_socket(sim, socket->family)) == NULL)
        return -ENOMEM;
    iora__sim_name_itself(sim, socket, &remote);
    socket->remote = remote;
    socket->state = IORA__SIM_CONNECTING;
    iora__sim_schedule(sim, socket);
    return 0;
}

/* There is room for the one that connects. */
static void
establish(struct iora__sim *sim, struct iora__sim_socket *listener, struct iora__sim_socket *socket)
{
    struct iora__sim_socket *const embryo = socket->embryo;

    socket->embryo = NULL;
    embryo->local = socket->remote;
    embryo->remote = socket->local;
    join(socket, embryo);
    iora__list_push_tail(&listener->embryos, &embryo->in_listener);
    listener->waiting++;
    iora__sim_mark_ready(sim, listener);
    iora__sim_mark_ready(sim, socket);
}

static void
arrive_at_listener(struct iora__sim *sim, struct iora__sim_socket *socket)
{
    struct iora__sim_socket *listener;
    const int rc = iora__sim_look_up(sim, &socket->remote, &listener);

    if (rc < 0) {
        withdraw(sim, socket);
        socket->error = -rc;
        iora__sim_mark_ready(sim, socket);
    } else if (listener->waiting < listener->backlog) {
        establish(sim, listener, socket);
    } else {
        iora__list_push_tail(&listener->connectors, &socket->in_listener);
    }
}

int
iora__sim_accept(struct iora__sim *sim, struct iora__sim_socket *listener, iora_address *peer)
{
    struct iora__sim_socket *embryo;
    struct iora__link *link;
    int rc;

    if (iora__list_is_empty(&listener->embryos))
        return -EAGAIN;
    embryo = iora__container_of(listener->embryos._next, struct iora__sim_socket, in_listener);
    if ((rc = give_number(sim, embryo)) < 0)
        return rc;
    iora__list_remove(&embryo->in_listener);
    listener->waiting--;
    if (peer != NULL)
        *peer = embryo->remote;
    if ((link = iora__list_pop(&listener->connectors)) != NULL)
        establish(sim, listener, iora__container_of(link, struct iora__sim_socket, in_listener));
    return rc;
}

/* ---- arriving --------------------------------------------------------------------------------------------- */

static void
arrive_reset(struct iora__sim_socket *socket)
{
    socket->in.rst = false;
    socket->error = socket->in.ended && !iora__sim_is_unix(socket) ? EPIPE : ECONNRESET;
    socket->reset = true;
}

/* Bytes in one part or, with a seed, in some; what is behind them with the last, or after it. */
static void
arrive_at_peer(struct iora__sim *sim, struct iora__sim_socket *socket)
{
    struct iora__sim_flow *const in = &socket->in;
    const bool had_bytes = in->in_flight > 0;

    if (had_bytes) {
        const size_t n = iora__sim_part_of(sim, in->in_flight);

        in->in_flight -= n;
        in->arrived += n;
    }
    if (in->in_flight > 0 || ((in->fin || in->rst) && had_bytes && iora__sim_flip(sim))) {
        iora__sim_schedule(sim, socket);
    } else {
        in->ended |= in->fin;
        in->fin = false;
        if (in->rst)
            arrive_reset(socket);
    }
    iora__sim_mark_ready(sim, socket);
}

void
iora__sim_arrive(struct iora__sim *sim, struct iora__sim_socket *socket)
{
    if (socket->state == IORA__SIM_CONNECTING)
        arrive_at_listener(sim, socket);
    else
        arrive_at_peer(sim, socket);
}

/* ---- what is asked without waiting ---------------------------------------------------------------------------- */

int
iora__sim_listen(void *state, int fd, int backlog)
{
    struct iora__sim *const sim = state;
    struct iora__sim_socket *const socket = iora__sim_find(sim, fd);

    if (socket == NULL)
        return -EBADF;
    if (socket->state != IORA__SIM_FRESH && socket->state != IORA__SIM_LISTENING)
        return -EINVAL;
    if (iora__sim_is_unix(socket) && socket->local.length == sizeof(sa_family_t))
        return -EINVAL;
    if (socket->state == IORA__SIM_FRESH) {
        if (iora__sim_is_taken(sim, socket))
            return -EADDRINUSE;
        iora__sim_name_itself(sim, socket, NULL);
        socket->state = IORA__SIM_LISTENING;
        iora__list_push_tail(&sim->listeners, &socket->in_listeners);
    }
    /* One more than was asked for, as in Linux. */
    socket->backlog = backlog >= 0 && backlog < BACKLOG_MAX ? (size_t)backlog + 1 : BACKLOG_MAX;
    return 0;
}

static void
shut_write(struct iora__sim *sim, struct iora__sim_socket *socket)
{
    if (socket->shut_write)
        return;
    socket->shut_write = true;
    if (socket->peer != NULL) {
        socket->peer->in.fin = true;
        iora__sim_schedule(sim, socket->peer);
    }
}

int
iora__sim_shutdown(void *state, int fd, int how)
{
    struct iora__sim *const sim = state;
    struct iora__sim_socket *const socket = iora__sim_find(sim, fd);

    if (socket == NULL)
        return -EBADF;
    if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
        return -EINVAL;
    if (socket->state != IORA__SIM_CONNECTED || (socket->reset && !iora__sim_is_unix(socket)))
        return -ENOTCONN;
    if (how != SHUT_RD)
        shut_write(sim, socket);
    if (how != SHUT_WR)
        socket->shut_read = true;
    iora__sim_mark_ready(sim, socket);
    return 0;
}

/* The room between two ends, as far as it is asked for. */
static void
set_buffer(struct iora__sim_socket *socket, int option, int size)
{
    if (option == SO_RCVBUF)
        socket->in.capacity = size > 0 ? (size_t)size : 1;
    else if (option == SO_SNDBUF && socket->peer != NULL)
        socket->peer->in.capacity = size > 0 ? (size_t)size : 1;
}

int
iora__sim_set_option(void *state, int fd, int level, int option, const void *value,
                     socklen_t length)
{
    struct iora__sim_socket *const socket = iora__sim_find(state, fd);
    struct iora__sim_option *entry;
    int number;

    if (socket == NULL)
        return -EBADF;
    if (length == 0 || length > IORA__SIM_OPTION_SIZE)
        return -EINVAL;
    if ((entry = find_option(socket, level, option)) == NULL)
        return -ENOBUFS;
    entry->level = level;
    entry->option = option;
    entry->length = length;
    memcpy(entry->value, value, length);
    if (level == SOL_SOCKET && length == sizeof number) {
        memcpy(&number, value, sizeof number);
        set_buffer(socket, option, number);
    }
    return 0;
}

static int
own_option(struct iora__sim_socket *socket, int option, int *value)
{
    switch (option) {
    case SO_ERROR:
        *value = socket->error;
        socket->error = 0;
        return 0;
    case SO_TYPE:
        *value = SOCK_STREAM;
        return 0;
    case SO_DOMAIN:
        *value = socket->family;
        return 0;
    case SO_ACCEPTCONN:
        *value = socket->state == IORA__SIM_LISTENING;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

/* What was set, else 0. */
int
iora__sim_get_option(void *state, int fd, int level, int option, void *value, socklen_t *length)
{
    struct iora__sim_socket *const socket = iora__sim_find(state, fd);
    const struct iora__sim_option *found;
    const void *from;
    socklen_t size;
    int number = 0;

    if (socket == NULL)
        return -EBADF;
    from = &number;
    size = sizeof number;
    found = find_option(socket, level, option);
    if ((level != SOL_SOCKET || own_option(socket, option, &number) < 0) && found != NULL &&
        found->length > 0) {
        from = found->value;
        size = found->length;
    }
    if (size < *length)
        *length = size;
    memcpy(value, from, *length);
    return 0;
}
