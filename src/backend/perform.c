/* backend/perform.c -- the system call behind an operation.
 *
 * Here stand the calls alone: who waits, when they are tried and what their results mean for readiness is the
 * backend's. A call that a signal interrupted is made again: none of them waits, so none can be interrupted
 * for long.
 */
#include "backend/perform.h"

#include "sys/seam.h"
#include "sys/sys.h"

static int
accept_one(const struct iora__op *op)
{
    iora_address *const peer = op->_base;
    socklen_t length = sizeof peer->bytes;
    int rc;

    if (peer == NULL)
        return iora__sys_accept(op->_fd, NULL, NULL);
    rc = iora__sys_accept(op->_fd, (struct sockaddr *)peer->bytes, &length);
    if (rc >= 0)
        peer->length = length;
    return rc;
}

/* Where to receive to: the op's memory, or what its owner gives now. */
static int
find_memory(struct iora__op *op)
{
    if (op->_take == NULL)
        return 0;
    op->_base = op->_take(op, &op->_size);
    return op->_base != NULL ? 0 : -ENOMEM;
}

static int
move_bytes(struct iora__op *op, bool is_ready, size_t size)
{
    switch ((enum iora__op_kind)op->_kind) {
    case IORA__OP_RECV:
        return iora__sys_recv(op->_fd, op->_base, size, (int)op->_detail);
    case IORA__OP_SEND:
        return iora__sys_send(op->_fd, op->_base, size, (int)op->_detail);
    case IORA__OP_READ:
        return is_ready ? iora__sys_read(op->_fd, op->_base, size)
                        : iora__sys_read_nowait(op->_fd, op->_base, size);
    case IORA__OP_WRITE:
        return is_ready ? iora__sys_write(op->_fd, op->_base, size)
                        : iora__sys_write_nowait(op->_fd, op->_base, size);
    default:
        return -EINVAL;
    }
}

static int
perform_once(struct iora__op *op, bool is_ready, size_t *asked)
{
    int rc;

    switch ((enum iora__op_kind)op->_kind) {
    case IORA__OP_ACCEPT:
        return accept_one(op);
    case IORA__OP_CONNECT:
        return iora__sys_connect(op->_fd, op->_base, (socklen_t)op->_detail);
    case IORA__OP_RECVMSG:
        return iora__sys_recvmsg(op->_fd, op->_base, (int)op->_detail);
    case IORA__OP_SENDMSG:
        return iora__sys_sendmsg(op->_fd, op->_base, (int)op->_detail);
    default:
        break;
    }
    if ((rc = find_memory(op)) < 0)
        return rc;
    *asked = iora__seam_bytes(op->_size);
    rc = move_bytes(op, is_ready, *asked);
    if (rc == -EAGAIN && op->_take != NULL)
        (void)op->_take(op, NULL);
    return rc;
}

int
iora__op_perform(struct iora__op *op, bool is_ready, size_t *asked)
{
    int rc;

    *asked = 0;
    do {
        rc = perform_once(op, is_ready, asked);
    } while (rc == -EINTR);
    return rc;
}

int
iora__op_connected(const struct iora__op *op)
{
    int error = 0;
    socklen_t size = sizeof error;
    const int rc = iora__sys_getsockopt(op->_fd, SOL_SOCKET, SO_ERROR, &error, &size);

    return rc < 0 ? rc : -error;
}
