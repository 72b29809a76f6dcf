/* backend/sim/names.c -- under which addresses sockets are found.
 *
 * Every address is this host's: a program under test may pretend that 10.1.2.3 is its database and find
 * there what listens at 10.1.2.3, or at 0.0.0.0. A connection comes from the address that it goes to.
 *
 * Names last as long as their socket, with one exception, as in a file system: a *path* stays when its
 * socket is gone, connecting to it is then refused, and binding to it fails, until unbind_path, or
 * listen_path which replaces what nobody listens on. There are no directories and no modes.
 *
 * A port that the simulation chooses is free of those that were bound; that of a socket that connects
 * is the next in turn, and nobody is kept from binding to it.
 */
#include "backend/sim/sim.h"

#include "sys/alloc.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

enum { FIRST_PORT = 32768, PORTS = 28232, DEVICE = 1 };

struct iora__sim_path {
    struct iora__link in_all;
    struct iora__sim_socket *socket; /* NULL: it was closed */
    uint64_t inode;
    iora_address address;
};

/* ---- addresses ---------------------------------------------------------------------------------- */

static int
family_of(const iora_address *address)
{
    return ((const struct sockaddr *)address->bytes)->sa_family;
}

static in_port_t *
port_at(iora_address *address)
{
    return family_of(address) == AF_INET ? &((struct sockaddr_in *)address->bytes)->sin_port
                                         : &((struct sockaddr_in6 *)address->bytes)->sin6_port;
}

static uint16_t
port_of(const iora_address *address)
{
    return ntohs(*port_at((iora_address *)address));
}

static const void *
host_of(const iora_address *address, size_t *size)
{
    if (family_of(address) == AF_INET) {
        *size = sizeof(struct in_addr);
        return &((const struct sockaddr_in *)address->bytes)->sin_addr;
    }
    *size = sizeof(struct in6_addr);
    return &((const struct sockaddr_in6 *)address->bytes)->sin6_addr;
}

static bool
is_any(const iora_address *address)
{
    static const unsigned char zero[sizeof(struct in6_addr)];
    size_t size;
    const void *const host = host_of(address, &size);

    return memcmp(host, zero, size) == 0;
}

static void
set_host_to_loopback(iora_address *address)
{
    if (family_of(address) == AF_INET)
        ((struct sockaddr_in *)address->bytes)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        ((struct sockaddr_in6 *)address->bytes)->sin6_addr = in6addr_loopback;
}

static bool
is_same(const iora_address *a, const iora_address *b)
{
    return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0;
}

/* Whether something sent to one of them could be meant for the other. */
static bool
do_overlap(const iora_address *a, const iora_address *b)
{
    size_t size;
    const void *host;

    if (family_of(a) != family_of(b))
        return false;
    if (family_of(a) == AF_UNIX)
        return is_same(a, b);
    if (port_of(a) != port_of(b))
        return false;
    host = host_of(a, &size);
    return is_any(a) || is_any(b) || memcmp(host, host_of(b, &size), size) == 0;
}

static socklen_t
length_of_inet(int family)
{
    return family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

/* A copy as it was given, but for a path's NUL. */
static int
copy_given(int family, const struct sockaddr *address, socklen_t length, iora_address *out)
{
    const size_t prefix = offsetof(struct sockaddr_un, sun_path);

    if (length < sizeof(sa_family_t))
        return -EINVAL;
    if (address->sa_family != family)
        return family == AF_UNIX ? -EINVAL : -EAFNOSUPPORT;
    if (family == AF_UNIX ? length > sizeof(struct sockaddr_un) : length < length_of_inet(family))
        return -EINVAL;
    *out = (iora_address){.length = family == AF_UNIX ? length : length_of_inet(family)};
    memcpy(out->bytes, address, out->length);
    if (family == AF_UNIX && length > prefix && out->bytes[prefix] != '\0')
        out->length =
            (uint32_t)(prefix + strnlen((const char *)out->bytes + prefix, length - prefix) + 1);
    return 0;
}

int
iora__sim_copy_address(int family, const struct sockaddr *address, socklen_t length,
                       iora_address *out)
{
    int rc;

    if ((rc = copy_given(family, address, length, out)) < 0)
        return rc;
    if (family == AF_UNIX && out->length == sizeof(sa_family_t))
        return -EINVAL;
    if (family != AF_UNIX && is_any(out))
        set_host_to_loopback(out);
    return 0;
}

/* ---- paths ----------------------------------------------------------------------------------------- */

static bool
is_path(const iora_address *address)
{
    const size_t prefix = offsetof(struct sockaddr_un, sun_path);

    return family_of(address) == AF_UNIX && address->length > prefix &&
           address->bytes[prefix] != '\0';
}

static struct iora__sim_path *
find_path(const struct iora__sim *sim, const iora_address *address)
{
    for (struct iora__link *at = sim->paths._next; at != &sim->paths; at = at->_next) {
        struct iora__sim_path *const path = iora__container_of(at, struct iora__sim_path, in_all);

        if (is_same(&path->address, address))
            return path;
    }
    return NULL;
}

static void
free_path(struct iora__sim_path *path)
{
    if (path->socket != NULL)
        path->socket->path = NULL;
    iora__list_remove(&path->in_all);
    iora__free(path);
}

void
iora__sim_free_paths(struct iora__sim *sim)
{
    while (!iora__list_is_empty(&sim->paths))
        free_path(iora__container_of(sim->paths._next, struct iora__sim_path, in_all));
}

static int
bind_to_path(struct iora__sim *sim, struct iora__sim_socket *socket, const iora_address *address)
{
    struct iora__sim_path *const path = iora__zalloc(sizeof *path);

    if (path == NULL)
        return -ENOMEM;
    path->socket = socket;
    path->address = *address;
    path->inode = ++sim->next_inode;
    iora__list_push_tail(&sim->paths, &path->in_all);
    socket->path = path;
    socket->local = *address;
    return 0;
}

static bool
is_listened_on(const struct iora__sim_path *path)
{
    return path->socket != NULL && path->socket->state == IORA__SIM_LISTENING;
}

int
iora__sim_listen_path(void *state, int fd, const char *path, unsigned mode, int backlog,
                      struct iora__path_claim *claim)
{
    struct iora__sim *const sim = state;
    struct iora__sim_socket *const socket = iora__sim_find(sim, fd);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    struct iora__sim_path *old;
    iora_address address;
    int rc;

    (void)mode;
    if (socket == NULL)
        return -EBADF;
    if (!iora__sim_is_unix(socket) || socket->path != NULL || path[0] == '\0')
        return -EINVAL;
    if (strlen(path) >= sizeof name.sun_path)
        return -ENAMETOOLONG;
    memcpy(name.sun_path, path, strlen(path) + 1);
    if ((rc = copy_given(AF_UNIX, (struct sockaddr *)&name, sizeof name, &address)) < 0)
        return rc;
    old = find_path(sim, &address);
    if (old != NULL && is_listened_on(old))
        return -EADDRINUSE;
    if ((rc = bind_to_path(sim, socket, &address)) < 0)
        return rc;
    if (old != NULL)
        free_path(old);
    *claim = (struct iora__path_claim){.device = DEVICE, .inode = socket->path->inode};
    memcpy(claim->path, name.sun_path, sizeof claim->path);
    if ((rc = iora__sim_listen(state, fd, backlog)) < 0)
        iora__sim_unbind_path(state, claim);
    return rc;
}

void
iora__sim_unbind_path(void *state, const struct iora__path_claim *claim)
{
    struct iora__sim *const sim = state;

    for (struct iora__link *at = sim->paths._next; at != &sim->paths; at = at->_next) {
        struct iora__sim_path *const path = iora__container_of(at, struct iora__sim_path, in_all);

        if (claim->device == DEVICE && path->inode == claim->inode) {
            free_path(path);
            return;
        }
    }
}

/* ---- binding ---------------------------------------------------------------------------------------- */

static bool
may_share(struct iora__sim_socket *a, struct iora__sim_socket *b)
{
    if (iora__sim_has_option(a, SOL_SOCKET, SO_REUSEPORT) &&
        iora__sim_has_option(b, SOL_SOCKET, SO_REUSEPORT))
        return true;
    return iora__sim_has_option(a, SOL_SOCKET, SO_REUSEADDR) &&
           iora__sim_has_option(b, SOL_SOCKET, SO_REUSEADDR) && b->state != IORA__SIM_LISTENING;
}

/* Whether a socket at that address would be in the way of one that is bound. */
static bool
is_in_use(const struct iora__sim *sim, struct iora__sim_socket *socket, const iora_address *address)
{
    for (struct iora__link *at = sim->bound._next; at != &sim->bound; at = at->_next) {
        struct iora__sim_socket *const other =
            iora__container_of(at, struct iora__sim_socket, in_bound);

        if (other != socket && do_overlap(&other->local, address) && !may_share(socket, other))
            return true;
    }
    return false;
}

bool
iora__sim_is_taken(const struct iora__sim *sim, struct iora__sim_socket *socket)
{
    return iora__link_is_linked(&socket->in_bound) && is_in_use(sim, socket, &socket->local);
}

static void
next_port(struct iora__sim *sim, iora_address *address)
{
    *port_at(address) = htons((uint16_t)(FIRST_PORT + sim->next_port));
    sim->next_port = (uint16_t)((sim->next_port + 1) % PORTS);
}

static int
choose_port(struct iora__sim *sim, struct iora__sim_socket *socket, iora_address *address)
{
    for (int i = 0; i < PORTS; i++) {
        next_port(sim, address);
        if (!is_in_use(sim, socket, address))
            return 0;
    }
    return -EADDRINUSE;
}

int
iora__sim_bind(void *state, int fd, const struct sockaddr *given, socklen_t length)
{
    struct iora__sim *const sim = state;
    struct iora__sim_socket *const socket = iora__sim_find(sim, fd);
    iora_address address;
    int rc;

    if (socket == NULL)
        return -EBADF;
    if ((rc = copy_given(socket->family, given, length, &address)) < 0)
        return rc;
    if (socket->state != IORA__SIM_FRESH || socket->path != NULL ||
        iora__link_is_linked(&socket->in_bound) || address.length == sizeof(sa_family_t))
        return -EINVAL;
    if (is_path(&address))
        return find_path(sim, &address) != NULL ? -EADDRINUSE : bind_to_path(sim, socket, &address);
    if (socket->family != AF_UNIX && port_of(&address) == 0) {
        if ((rc = choose_port(sim, socket, &address)) < 0)
            return rc;
    } else if (is_in_use(sim, socket, &address)) {
        return -EADDRINUSE;
    }
    socket->local = address;
    iora__list_push_tail(&sim->bound, &socket->in_bound);
    return 0;
}

void
iora__sim_name_itself(struct iora__sim *sim, struct iora__sim_socket *socket,
                      const iora_address *towards)
{
    if (iora__sim_is_unix(socket))
        return;
    if (socket->local.length == 0) {
        if (towards != NULL) {
            socket->local = *towards;
        } else {
            socket->local.length = length_of_inet(socket->family);
            ((struct sockaddr *)socket->local.bytes)->sa_family = (sa_family_t)socket->family;
        }
        next_port(sim, &socket->local);
    } else if (towards != NULL && is_any(&socket->local)) {
        const in_port_t port = *port_at(&socket->local);

        socket->local = *towards;
        *port_at(&socket->local) = port;
    }
}

void
iora__sim_unname(struct iora__sim_socket *socket)
{
    iora__list_discard(&socket->in_bound);
    if (socket->path != NULL)
        socket->path->socket = NULL;
}

/* ---- finding ------------------------------------------------------------------------------------------- */

int
iora__sim_look_up(const struct iora__sim *sim, const iora_address *address,
                  struct iora__sim_socket **out)
{
    if (is_path(address)) {
        struct iora__sim_path *const path = find_path(sim, address);

        if (path == NULL)
            return -ENOENT;
        *out = path->socket;
        return is_listened_on(path) ? 0 : -ECONNREFUSED;
    }
    for (struct iora__link *at = sim->listeners._next; at != &sim->listeners; at = at->_next) {
        struct iora__sim_socket *const listener =
            iora__container_of(at, struct iora__sim_socket, in_listeners);

        if (do_overlap(&listener->local, address)) {
            *out = listener;
            return 0;
        }
    }
    return -ECONNREFUSED;
}

int
iora__sim_name(void *state, int fd, bool peer, struct sockaddr *out, socklen_t *length)
{
    struct iora__sim_socket *const socket = iora__sim_find(state, fd);
    iora_address address;

    if (socket == NULL)
        return -EBADF;
    if (peer && socket->state != IORA__SIM_CONNECTED)
        return -ENOTCONN;
    address = peer ? socket->remote : socket->local;
    if (address.length == 0) { /* unbound: all zero but the family */
        address.length = length_of_inet(socket->family);
        ((struct sockaddr *)address.bytes)->sa_family = (sa_family_t)socket->family;
    }
    memcpy(out, address.bytes, address.length < *length ? address.length : *length);
    *length = address.length;
    return 0;
}
