/* task/descriptor.c -- a task that waits for an operation.
 *
 * The op lies in the task's control block, since a task waits for one thing at a time. A cancel ends it; where
 * the backend completes late the task goes on only when the op has ended, with whichever of result and cancel
 * came first. So nobody leaves a wait while the kernel holds his memory, and no descriptor, byte or connection
 * that an op has got is lost.
 */
#include "task/task.h"

/* From within the poll: the task runs when all that the poll has found was delivered. If there are many tasks, what
 * it was suspended in is cold by now, and so is what it waits for: these it needs first. */
static void
op_ended(struct iora__op *op)
{
    struct iora__task *const task = iora__container_of(op, struct iora__task, u.op);

    iora__coro_prefetch(&task->coro);
    __builtin_prefetch(task->wait._object);
    iora__waiter_grant(&task->wait, op->_res);
}

static const struct iora__wait_class op_ends = {.what = "descriptor (cancelled)",
                                                .names_descriptor = true};

void
iora__op_wait_cancel(struct iora__waiter *waiter)
{
    struct iora__task *const task = waiter->_task;

    if (iora__op_cancel(task->loop, &task->u.op) == IORA__OP_DONE)
        iora__waiter_grant(waiter, task->u.op._res);
    else
        waiter->_class = &op_ends;
}

int
iora__op_await(struct iora__task *task, const struct iora__wait_class *class, void *object)
{
    struct iora__op *const op = &task->u.op;
    int rc;

    op->_done = op_ended;
    task->wait._object = object;
    rc = iora__op_submit(task->loop, op);
    if (rc != IORA__OP_PENDING)
        return rc < 0 ? rc : op->_res;
    (void)iora__wait_begin(task, class, object, (void *)(intptr_t)op->_fd);
    return iora__park(task);
}

/* ---- readiness ------------------------------------------------------------------------------------ */

static const struct iora__wait_class polling_read = {.what = "descriptor to read",
                                                     .names_descriptor = true,
                                                     .cancel = iora__op_wait_cancel};
static const struct iora__wait_class polling_write = {.what = "descriptor to write",
                                                      .names_descriptor = true,
                                                      .cancel = iora__op_wait_cancel};

static int
poll_descriptor(int fd, uint8_t events)
{
    struct iora__task *const task = iora__self();
    int rc;

    if ((rc = iora__enter(task)) < 0)
        return rc;
    task->u.op = (struct iora__op){._fd = fd, ._kind = IORA__OP_POLL, ._events = events};
    rc = iora__op_await(task, events == IORA__READABLE ? &polling_read : &polling_write, NULL);
    if (rc == -EPERM)
        return 0; /* a file that is always ready: poll(2) says so too */
    return rc < 0 ? rc : 0;
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
