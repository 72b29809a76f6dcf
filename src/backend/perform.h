/* backend/perform.h -- the system call behind an operation on a real descriptor (perform.c). */
#ifndef IORA_BACKEND_PERFORM_H
#define IORA_BACKEND_PERFORM_H

#include "backend/backend.h"

enum iora__op_side { IORA__SIDE_READ, IORA__SIDE_WRITE };

/* Which side of its descriptor an op waits for. */
static inline enum iora__op_side
iora__op_side(const struct iora__op *op)
{
    switch ((enum iora__op_kind)op->_kind) {
    case IORA__OP_CONNECT:
    case IORA__OP_SEND:
    case IORA__OP_SENDMSG:
    case IORA__OP_WRITE:
        return IORA__SIDE_WRITE;
    default:
        return IORA__SIDE_READ;
    }
}

/* Make the call, without waiting: what it returned, -EAGAIN if it would have to wait. *asked: how many bytes
 * were asked for, if the op moves plain bytes; else 0. `is_ready`: the descriptor is known to be ready, or is
 * non-blocking, so that read(2) does not wait. */
int iora__op_perform(struct iora__op *op, bool is_ready, size_t *asked);

/* How a connect ended that was in progress when it was made: 0 or -errno. */
int iora__op_connected(const struct iora__op *op);

#endif
