/* task/descriptor.c -- waiting until a user's descriptor is ready.
 *
 * The poll op lies in the task's control block. A cancel ends it; where the backend completes late the task
 * goes on only when the op has ended, with whichever of result and cancel came first.
 */
#include "task/task.h"

static int
code_of(const struct iora__op *op)
{
    return op->_res < 0 ? op->_res : 0;
}

static void
polled(struct iora__op *op)
{
    struct iora__task *const task = iora__container_of(op, struct iora__task, u.op);

    iora__waiter_grant(&task->wait, code_of(op));
}

static const struct iora__wait_class polling_ends = {.what = "descriptor (cancelled)"};

static void
cancel_poll(struct iora__waiter *waiter)
{
    struct iora__task *const task = waiter->_task;

    if (iora__op_cancel(task->loop, &task->u.op) == IORA__OP_DONE)
        iora__waiter_grant(waiter, code_of(&task->u.op));
    else
        waiter->_class = &polling_ends;
}

static const struct iora__wait_class polling_read = {.what = "descriptor to read", .cancel = cancel_poll};
static const struct iora__wait_class polling_write = {.what = "descriptor to write", .cancel = cancel_poll};

static int
poll_descriptor(int fd, uint8_t events)
{
    struct iora__task *const task = iora__self();
    int rc;

    if ((rc = iora__enter(task)) < 0)
        return rc;
    task->u.op = (struct iora__op){
        ._done = polled, ._fd = fd, ._kind = IORA__OP_POLL, ._events = events};
    rc = iora__op_submit(task->loop, &task->u.op);
    if (rc == -EPERM)
        return 0; /* a file that is always ready: poll(2) says so too */
    if (rc != IORA__OP_PENDING)
        return rc < 0 ? rc : code_of(&task->u.op);
    (void)iora__wait_begin(task, events == IORA__READABLE ? &polling_read : &polling_write, NULL,
                           (void *)(intptr_t)fd);
    return iora__park(task);
}

int
iora_wait_readable(int fd)
{
    return poll_descriptor(fd, IORA__READABLE);
}

int
iora_wait_writable(int fd)
{
    return poll_descriptor(fd, IORA__WRITABLE);
}
