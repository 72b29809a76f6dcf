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

/* Receive into the op's memory, or into what its owner gives now. */
static int
receive(struct iora__op *op, size_t *asked)
{
    int rc;

    if (op->_take == NULL) {
        *asked = iora__seam_bytes(op->_size);
        return iora__sys_recv(op->_fd, op->_base, *asked, (int)op->_detail);
    }
    if ((op->_base = op->_take(op, &op->_size)) == NULL)
        return -ENOMEM;
    *asked = iora__seam_bytes(op->_size);
    rc = iora__sys_recv(op->_fd, op->_base, *asked, (int)op->_detail);
    if (rc == -EAGAIN)
        (void)op->_take(op, NULL);
    return rc;
}

/* The same from what is no socket. */
static int
read_file(struct iora__op *op, bool is_ready, size_t *asked)
{
    int rc;

    if (op->_take != NULL && (op->_base = op->_take(op, &op->_size)) == NULL)
        return -ENOMEM;
    *asked = iora__seam_bytes(op->_size);
    rc = is_ready ? iora__sys_read(op->_fd, op->_base, *asked)
                  : iora__sys_read_nowait(op->_fd, op->_base, *asked);
    if (rc == -EAGAIN && op->_take != NULL)
        (void)op->_take(op, NULL);
    return rc;
}

static int
send_or_write(const struct iora__op *op, bool is_ready, size_t *asked)
{
    *asked = iora__seam_bytes(op->_size);
    if (op->_kind == IORA__OP_SEND)
        return iora__sys_send(op->_fd, op->_base, *asked, (int)op->_detail);
    return is_ready ? iora__sys_write(op->_fd, op->_base, *asked)
                    : iora__sys_write_nowait(op->_fd, op->_base, *asked);
}

static int
perform_once(struct iora__op *op, bool is_ready, size_t *asked)
{
    switch ((enum iora__op_kind)op->_kind) {
    case IORA__OP_RECV:
        return receive(op, asked);
    case IORA__OP_READ:
        return read_file(op, is_ready, asked);
    case IORA__OP_SEND:
    case IORA__OP_WRITE:
        return send_or_write(op, is_ready, asked);
    case IORA__OP_ACCEPT:
        return accept_one(op);
    case IORA__OP_CONNECT:
        return iora__sys_connect(op->_fd, op->_base, (socklen_t)op->_detail);
    case IORA__OP_RECVMSG:
        return iora__sys_recvmsg(op->_fd, op->_base, (int)op->_detail);
    case IORA__OP_SENDMSG:
        return iora__sys_sendmsg(op->_fd, op->_base, (int)op->_detail);
    default:
        return -EINVAL;
    }
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
