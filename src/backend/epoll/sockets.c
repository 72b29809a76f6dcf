/* backend/epoll/sockets.c -- what is asked of sockets without waiting.
 *
 * The path of a Unix socket. If something lies there it is replaced only if it is a socket that nobody listens on,
 * which a connect tells. A socket that was just bound looks dead until it listens, and two processes that find the
 * same dead one would replace each other's new one: so whoever binds holds the lock of a file beside the path
 * (PATH.iora-lock, there only meanwhile), also where the path is free, until his socket listens. The lock's file may
 * have been unlinked by its last holder between our opening and our locking it: then its inode is not the path's
 * any more, and the lock is worth nothing. Who does not get it was too late: somebody else is taking the path. The
 * name is nobody else's, since the file is unlinked: PATH.lock is what programs lock beside a socket themselves.
 *
 * The mode is set on the socket before it is bound: the kernel gives the path the socket's mode, less the
 * umask, which is never touched. So there is no instant at which the path is open to more than it should be.
 *
 * At the end a path is unlinked only if device and inode are those that were bound (CPython gh-121252, uvloop
 * #28 are what happens otherwise).
 */
#include "backend/epoll/set.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

/* Whether the number is ours already, or somebody waits on it as the user's. */
static bool
is_in_use(const struct epoll *epoll, int fd)
{
    const struct record *const record = iora__epoll_find(epoll, fd);

    return record != NULL &&
           (record->kind != IORA__FD_BORROWED || !iora__list_is_empty(&record->ops));
}

/* ---- making them, taking them, giving them back ---------------------------------------------------------- */

static uint8_t
kind_of(int family, int type)
{
    return type == SOCK_STREAM && (family == AF_INET || family == AF_INET6) ? IORA__FD_TCP
                                                                            : IORA__FD_SOCKET;
}

static int
own_or_close(struct epoll *epoll, int fd, uint8_t kind, uint8_t ready)
{
    const int rc = iora__epoll_own(epoll, fd, kind, ready);

    if (rc < 0)
        iora__sys_close(fd);
    return rc < 0 ? rc : fd;
}

static int
make_socket(void *state, int family, int type)
{
    const int fd = iora__sys_socket(family, type);

    if (fd < 0)
        return fd;
    return own_or_close(state, fd, kind_of(family, type),
                        type == SOCK_STREAM ? 0 : IORA__READABLE | IORA__WRITABLE);
}

static int
make_pair(void *state, int type, int out[2])
{
    const uint8_t both = IORA__READABLE | IORA__WRITABLE;
    struct epoll *const epoll = state;
    int ends[2], rc;

    if ((rc = iora__sys_socketpair(type, ends)) < 0)
        return rc;
    if ((rc = own_or_close(epoll, ends[0], IORA__FD_SOCKET, both)) < 0) {
        iora__sys_close(ends[1]);
        return rc;
    }
    if ((rc = own_or_close(epoll, ends[1], IORA__FD_SOCKET, both)) < 0) {
        iora__epoll_disown(epoll, iora__epoll_find(epoll, ends[0]));
        iora__sys_close(ends[0]);
        return rc;
    }
    out[0] = ends[0];
    out[1] = ends[1];
    return 0;
}

static int
get_int(int fd, int option, int *value)
{
    socklen_t size = sizeof *value;

    return iora__sys_getsockopt(fd, SOL_SOCKET, option, value, &size);
}

/* What kind of file it is, or -EINVAL for one that cannot be owned. */
static int
kind_of_file(int fd)
{
    struct stat about;
    int family, type, rc;

    if ((rc = iora__sys_fstat(fd, &about)) < 0)
        return rc;
    if (S_ISFIFO(about.st_mode))
        return IORA__FD_PIPE;
    if (!S_ISSOCK(about.st_mode))
        return -EINVAL;
    if ((rc = get_int(fd, SO_DOMAIN, &family)) < 0 || (rc = get_int(fd, SO_TYPE, &type)) < 0)
        return rc;
    return kind_of(family, type);
}

static int
adopt(void *state, int fd)
{
    const int kind = fd < 0 ? -EBADF : kind_of_file(fd);
    bool was_blocking;
    int rc;

    if (kind < 0)
        return kind;
    if (is_in_use(state, fd))
        return -EBUSY;
    was_blocking = !iora__sys_is_nonblocking(fd);
    if ((rc = iora__sys_set_nonblocking(fd, true)) < 0)
        return rc;
    if ((rc = iora__epoll_own(state, fd, (uint8_t)kind, IORA__READABLE | IORA__WRITABLE)) < 0)
        goto fail;
    iora__epoll_find(state, fd)->was_blocking = was_blocking;
    return 0;

fail:
    if (was_blocking)
        (void)iora__sys_set_nonblocking(fd, false);
    return rc;
}

/* The user has it again as it was. */
static void
release(void *state, int fd)
{
    struct record *const record = iora__epoll_find(state, fd);

    iora__epoll_disown(state, record);
    if (record->was_blocking)
        (void)iora__sys_set_nonblocking(fd, false);
}

static void
close_now(void *state, int fd)
{
    iora__epoll_disown(state, iora__epoll_find(state, fd));
    iora__sys_close(fd);
}

static void
close_forked(void *state, int fd)
{
    iora__epoll_find(state, fd)->registered = false;
    close_now(state, fd);
}

/* ---- addresses, options ------------------------------------------------------------------------------------ */

static int
bind_address(void *state, int fd, const struct sockaddr *address, socklen_t length)
{
    (void)state;
    return iora__sys_bind(fd, address, length);
}

static int
listen_on(void *state, int fd, int backlog)
{
    const int rc = iora__sys_listen(fd, backlog);

    if (rc == 0)
        iora__epoll_find(state, fd)->ready |= IORA__READABLE;
    return rc;
}

static int
shut_down(void *state, int fd, int how)
{
    (void)state;
    return iora__sys_shutdown(fd, how);
}

static int
get_name(void *state, int fd, bool peer, struct sockaddr *out, socklen_t *length)
{
    (void)state;
    return peer ? iora__sys_getpeername(fd, out, length) : iora__sys_getsockname(fd, out, length);
}

static int
set_option(void *state, int fd, int level, int option, const void *value, socklen_t length)
{
    (void)state;
    return iora__sys_setsockopt(fd, level, option, value, length);
}

static int
get_option(void *state, int fd, int level, int option, void *value, socklen_t *length)
{
    (void)state;
    return iora__sys_getsockopt(fd, level, option, value, length);
}

/* ---- paths ----------------------------------------------------------------------------------------------------- */

static socklen_t
address_of_path(const char *path, struct sockaddr_un *address)
{
    const size_t length = strlen(path);

    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, path, length);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
}

/* 0 if a socket lies at the path and nobody listens there; -EADDRINUSE, or why it cannot be told. */
static int
probe(const char *path, const struct sockaddr_un *address, socklen_t length)
{
    struct stat about;
    int fd, rc;

    if ((rc = iora__sys_lstat(path, &about)) < 0)
        return rc;
    if (!S_ISSOCK(about.st_mode))
        return -EADDRINUSE;
    if ((fd = iora__sys_socket(AF_UNIX, SOCK_STREAM)) < 0)
        return fd;
    rc = iora__sys_connect(fd, (const struct sockaddr *)address, length);
    iora__sys_close(fd);
    return rc == -ECONNREFUSED ? 0 : -EADDRINUSE;
}

static bool
is_same_file(int fd, const char *path)
{
    struct stat opened, named;

    return iora__sys_fstat(fd, &opened) == 0 && iora__sys_lstat(path, &named) == 0 &&
           opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

/* With the lock held: bind to a free path, or take a dead one's place. */
static int
bind_to_path(int fd, const char *path)
{
    struct sockaddr_un address;
    const socklen_t length = address_of_path(path, &address);
    int rc = iora__sys_bind(fd, (const struct sockaddr *)&address, length);

    if (rc != -EADDRINUSE)
        return rc;
    if ((rc = probe(path, &address, length)) == 0)
        (void)iora__sys_unlink(path);
    else if (rc != -ENOENT)
        return rc;
    return iora__sys_bind(fd, (const struct sockaddr *)&address, length);
}

static int
listen_at_path(struct epoll *epoll, int fd, const char *path, int backlog,
               struct iora__path_claim *claim)
{
    struct stat about;
    int rc;

    if ((rc = bind_to_path(fd, path)) < 0)
        return rc;
    if ((rc = listen_on(epoll, fd, backlog)) < 0 || (rc = iora__sys_lstat(path, &about)) < 0) {
        (void)iora__sys_unlink(path);
        return rc;
    }
    claim->device = about.st_dev;
    claim->inode = about.st_ino;
    (void)snprintf(claim->path, sizeof claim->path, "%s", path);
    return 0;
}

static int
listen_path(void *state, int fd, const char *path, unsigned mode, int backlog,
            struct iora__path_claim *claim)
{
    char lock_path[sizeof claim->path + sizeof ".iora-lock"];
    int lock, rc;

    if (strlen(path) >= sizeof claim->path)
        return -ENAMETOOLONG;
    if ((rc = iora__sys_fchmod(fd, mode)) < 0)
        return rc;
    (void)snprintf(lock_path, sizeof lock_path, "%s.iora-lock", path);
    if ((lock = iora__sys_lock_file(lock_path)) < 0)
        return lock == -EWOULDBLOCK ? -EADDRINUSE : lock;
    rc = -EADDRINUSE;
    if (is_same_file(lock, lock_path)) {
        rc = listen_at_path(state, fd, path, backlog, claim);
        (void)iora__sys_unlink(lock_path);
    }
    iora__sys_close(lock);
    return rc;
}

static void
unbind_path(void *state, const struct iora__path_claim *claim)
{
    struct stat about;

    (void)state;
    if (claim->path[0] != '\0' && iora__sys_lstat(claim->path, &about) == 0 &&
        about.st_dev == claim->device && about.st_ino == claim->inode)
        (void)iora__sys_unlink(claim->path);
}

const struct iora__sockets iora__epoll_sockets = {
    .has_names = true,
    .socket = make_socket,
    .socket_pair = make_pair,
    .adopt = adopt,
    .release = release,
    .close = close_now,
    .close_forked = close_forked,
    .bind = bind_address,
    .listen_path = listen_path,
    .unbind_path = unbind_path,
    .listen = listen_on,
    .shutdown = shut_down,
    .name = get_name,
    .set_option = set_option,
    .get_option = get_option,
};
