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
 * ended, and must not suspend. A *multi* op stays pending and calls `_done` again and again until it
 * is cancelled.
 *
 * A backend is one file that fills this table. What it is made of does not show above: the loop
 * treats all alike, and every test of operations runs on each.
 */
#ifndef IORA_BACKEND_BACKEND_H
#define IORA_BACKEND_BACKEND_H

#include "core/list.h"

enum { IORA__OP_PENDING = 0, IORA__OP_DONE = 1 };

enum iora__op_kind {
    IORA__OP_POLL /* wait until _fd, the user's and never changed, shows one of _events; _res: which */
};

enum iora__op_state { IORA__OP_IDLE, IORA__OP_SUBMITTED, IORA__OP_LATE };

enum { IORA__OP_MULTI = 1 }; /* _flags */

enum { IORA__READABLE = 1, IORA__WRITABLE = 2 }; /* _events, and the result of a poll */

struct iora__backend {
    const char *name;

    /* Make the backend's state; undo it. */
    int (*open)(void **state);
    void (*close)(void *state);

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

    /* Whether `descriptor` tells of everything that is waited for; if not, the next wait puts it right. */
    bool (*is_settled)(const void *state);

    /* A descriptor that is readable when wait would deliver something; -ENOTSUP. */
    int (*descriptor)(void *state);
};

extern const struct iora__backend iora__backend_epoll;
extern const struct iora__backend iora__backend_sim;

#endif
