/* io/socket.c -- socket calls and reads on a descriptor of the user's.
 *
 * Each is one op, borrowed: tried at once by a call that does not wait, and again when the descriptor is ready.
 * The descriptor is not changed. That is why accepting and connecting, which have no flag that says so, want
 * one that is non-blocking.
 */
#include <iora/net.h>

#include "task/task.h"

#include <limits.h>

static const struct iora__wait_class using_descriptor = {.what = "descriptor",
                                                         .names_descriptor = true,
                                                         .cancel = iora__op_wait_cancel};

static int
do_op(enum iora__op_kind kind, int fd, const void *base, size_t size, uint32_t detail)
{
    struct iora__task *const task = iora__self();
    int rc;

    if ((rc = iora__enter(task)) < 0)
        return rc;
    task->u.op = (struct iora__op){
        ._fd = fd,
        ._kind = (uint8_t)kind,
        ._flags = IORA__OP_BORROWED,
        ._base = (void *)base,
        ._size = size < INT_MAX ? size : INT_MAX,
        ._detail = detail,
    };
    return iora__op_await(task, &using_descriptor, NULL);
}

int
iora_sock_recv(int fd, void *data, size_t n, int flags)
{
    return do_op(IORA__OP_RECV, fd, data, n, (uint32_t)flags);
}

int
iora_sock_send(int fd, const void *data, size_t n, int flags)
{
    return do_op(IORA__OP_SEND, fd, data, n, (uint32_t)flags);
}

int
iora_sock_recvmsg(int fd, struct msghdr *message, int flags)
{
    return do_op(IORA__OP_RECVMSG, fd, message, 0, (uint32_t)flags);
}

int
iora_sock_sendmsg(int fd, const struct msghdr *message, int flags)
{
    return do_op(IORA__OP_SENDMSG, fd, message, 0, (uint32_t)flags);
}

int
iora_sock_accept(int fd, iora_address *peer)
{
    return do_op(IORA__OP_ACCEPT, fd, peer, 0, 0);
}

int
iora_sock_connect(int fd, const iora_address *address)
{
    return do_op(IORA__OP_CONNECT, fd, address->bytes, 0, address->length);
}

int
iora_fd_read(int fd, void *data, size_t n)
{
    return do_op(IORA__OP_READ, fd, data, n, 0);
}

int
iora_fd_write(int fd, const void *data, size_t n)
{
    return do_op(IORA__OP_WRITE, fd, data, n, 0);
}
