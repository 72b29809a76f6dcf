/* backend/backend.h -- what the loop asks of an operating system, real or simulated.
 *
 * An *operation* (op) is something to be done or waited for, embedded in whoever owns it. It is
 * submitted, then either finishes on the spot or is pending until it is done or was cancelled:
 *
 *                submit -> IORA__OP_DONE (finished: _res is set, _done will not be called)
 *     IDLE  -----------------------------------------------------------------------> IDLE
 *        \                                                                            ^
 *         \ submit -> IORA__OP_PENDING                     _done(op), _res is set     |
 *          `-------------------------> PENDING ------------------------------------- -+
 *                                         |  cancel -> IORA__OP_DONE (_res is set)    |
 *                                         +------------------------------------------ +
 *                                         |  cancel -> IORA__OP_PENDING: _done comes
 *                                         `- once more, with the result or -ECANCELED
 *
 * submit may also answer -errno: nothing was started. `_done` is never called from inside submit or
 * cancel, only from inside wait; it may submit and cancel anything, free its own op if that has
 * ended, and must not suspend. Whoever cancels may be answered IORA__OP_DONE with a success in _res: it
 * counts.
 *
 * Descriptors. One that was made by socket(), socket_pair() or an accept, or was given by adopt(), is
 * *owned*: the backend's to use as it likes until a close op, release(), or the end of the backend. Any other
 * is the user's, *borrowed*: its ops carry IORA__OP_BORROWED, and it is never changed. On an owned
 * descriptor any number of ops may be pending; those that read are served first come first served, and so
 * are those that write. Before a descriptor is closed its ops must have been cancelled.
 *
 * A *multi* op (poll, accept, recv) stays pending and calls `_done` again and again, within a budget per
 * wait, until it is cancelled, or ends with an error or at the end of the stream; its _state is
 * IORA__OP_IDLE at that last call. It never finishes inside submit.
 *
 * Memory of a recv comes from one of three places: `_base` and `_size`; or `_take`, asked when there may be
 * something to receive, for an owner who keeps no buffer while he waits; or, of a multi recv without either,
 * from the backend. `_base` says at `_done` where the bytes are; the backend's own are valid during that call.
 * If it gives NULL the op ends with -ENOMEM. If nothing was there after all, `_take` is called once more, with
 * no place for a size: what it gave was not needed.
 *
 * A backend is one file (or folder) that fills these tables. What it is made of does not show above: the
 * loop treats all alike, and every test of operations runs on each.
 */
#ifndef IORA_BACKEND_BACKEND_H
#define IORA_BACKEND_BACKEND_H

#include <iora/net.h>

#include "core/list.h"

#include <sys/socket.h>

enum { IORA__OP_PENDING = 0, IORA__OP_DONE = 1 };

enum iora__op_kind {
    IORA__OP_POLL, /* wait until _fd, the user's and never changed, shows one of _events; _res: which */
    IORA__OP_ACCEPT,  /* _res: a new descriptor, owned. _base: a struct iora_address for the peer's, or
                         NULL. Borrowed: the new one is the user's */
    IORA__OP_CONNECT, /* _base: the address, _detail its length; it must stay until the op has ended */
    IORA__OP_RECV,    /* _base and _size, or _take; _detail: MSG_ flags. _res: a count, 0 at the end */
    IORA__OP_SEND,    /* the same. _res: a count, of what could be sent at once */
    IORA__OP_RECVMSG, /* _base: a struct msghdr; _detail: MSG_ flags */
    IORA__OP_SENDMSG,
    IORA__OP_READ, /* as recv and send, for what is no socket */
    IORA__OP_WRITE,
    IORA__OP_CLOSE, /* of an owned descriptor. _res is 0 */
    IORA__OP_WORK,  /* a function for a thread: the op is a struct iora__job's. No backend but sim
                       does it itself (core/lane.h) */
    IORA__OP_KINDS
};

enum iora__op_state {
    IORA__OP_IDLE,
    IORA__OP_SUBMITTED,
    IORA__OP_LATE,     /* it has ended, and that is held back (core/loop.c) */
    IORA__OP_IN_THREAD /* a thread does it (core/lane.c), or will */
};

enum { /* _flags */
    IORA__OP_MULTI = 1,
    IORA__OP_BORROWED = 2,
    IORA__OP_NOWAIT = 4 /* if it cannot be done at once, it ends with -EAGAIN instead of waiting */
};

enum { IORA__READABLE = 1, IORA__WRITABLE = 2 }; /* _events, and the result of a poll */

struct iora_pool;

/* What an IORA__OP_WORK belongs to (core/lane.h says what is done with it). */
struct iora__job {
    struct iora__op op;
    int (*fn)(void *arg);
    void (*stop)(void *arg); /* may be NULL */
    void *arg;
    struct iora_pool *pool; /* NULL: the loop's */
};

/* A name in the file system that a listening Unix socket was bound to. All zero: none. */
struct iora__path_claim {
    uint64_t device, inode;
    char path[108]; /* as in struct sockaddr_un; "" for none */
};

/* What is asked of sockets without waiting. Each returns what the call of that name does, or -errno. */
struct iora__sockets {
    /* Whether the hosts that the system can look up are on this network. */
    bool has_names;

    /* New owned descriptors. `type` is SOCK_STREAM or SOCK_DGRAM. */
    int (*socket)(void *state, int family, int type);
    int (*socket_pair)(void *state, int type, int out[2]);

    /* A descriptor of the user's becomes owned: 0, -EBADF, -EINVAL (no socket and no pipe), -ENOTSUP.
     * And the other way round: it is the user's again, its ops having been cancelled. */
    int (*adopt)(void *state, int fd);
    void (*release)(void *state, int fd);
    /* Close an owned descriptor at once: for sockets and pipes, whose close does not wait. */
    void (*close)(void *state, int fd);
    /* The same in a forked child, where the kernel must not be told of it: what it knows is the parent's. */
    void (*close_forked)(void *state, int fd);

    int (*bind)(void *state, int fd, const struct sockaddr *address, socklen_t length);
    /* Bind to a path with a mode, and listen. A socket that lies there is replaced if nobody listens on it. The
     * claim is for unbind_path, which unlinks the path if it is still that socket's. */
    int (*listen_path)(void *state, int fd, const char *path, unsigned mode, int backlog,
                       struct iora__path_claim *claim);
    void (*unbind_path)(void *state, const struct iora__path_claim *claim);
    int (*listen)(void *state, int fd, int backlog);
    int (*shutdown)(void *state, int fd, int how);
    /* Its own address, or its peer's. */
    int (*name)(void *state, int fd, bool peer, struct sockaddr *out, socklen_t *length);
    int (*set_option)(void *state, int fd, int level, int option, const void *value,
                      socklen_t length);
    int (*get_option)(void *state, int fd, int level, int option, void *value, socklen_t *length);
};

struct iora__backend {
    const char *name;

    /* Make the backend's state, with a seed for what it draws (0: none); undo it, owned descriptors too. */
    int (*open)(void **state, uint64_t seed);
    void (*close)(void *state);

    /* -EPERM: what this op is for cannot be waited for here; a thread may do it (core/lane.h). */
    int (*submit)(void *state, struct iora__op *op);
    int (*cancel)(void *state, struct iora__op *op);

    /* Return from wait whenever this eventfd is written to. Its counter is the backend's to drain. */
    int (*attach_wake)(void *state, int wake_fd);

    /* Deliver what has finished, waiting for it until until_ns (INT64_MAX: for ever; a time in the
     * past: not at all) if nothing has. 0, also when interrupted; -errno. */
    int (*wait)(void *state, int64_t until_ns);

    int64_t (*now)(void *state);

    /* How many ops are pending. */
    size_t (*pending)(const void *state);

    /* Whether anything can still come of them. A simulation knows that nobody is left to act. */
    bool (*is_awaiting)(const void *state);

    /* Until when (of `now`) `descriptor` tells of everything that is waited for; then a wait is due. INT64_MIN:
     * one is due at once, and puts it right; INT64_MAX: for ever. */
    int64_t (*settled_until)(const void *state);

    /* A descriptor that is readable when wait would deliver something; -ENOTSUP. */
    int (*descriptor)(void *state);

    const struct iora__sockets *sockets;
};

extern const struct iora__backend iora__backend_epoll;
extern const struct iora__backend iora__backend_sim;

#endif
