/* task/sleep.c -- giving way, and sleeping.
 *
 * A sleeping task's timer lies in its control block: setting it allocates nothing and cannot fail.
 */
#include "task/task.h"

static inline int
give_way(struct iora__task *task)
{
    iora__wake(task, 0);
    return iora__park(task);
}

static IORA__SLOW int
give_way_slowly(struct iora__task *task)
{
    const int rc = iora__enter_slowly(task);

    return rc < 0 ? rc : give_way(task);
}

int
iora_yield(void)
{
    struct iora__task *const task = iora__self();

    return iora__may_enter(task) ? give_way(task) : give_way_slowly(task);
}

static void
wake_up(struct iora__timer *timer)
{
    struct iora__task *const task = iora__container_of(timer, struct iora__task, u.timer);

    iora__waiter_grant(&task->wait, 0);
}

static void
cancel_sleep(struct iora__waiter *waiter)
{
    iora__loop_timer_clear(waiter->_task->loop, &waiter->_task->u.timer);
    iora__waiter_grant(waiter, -ECANCELED);
}

static const struct iora__wait_class sleeping = {.what = "sleep", .cancel = cancel_sleep};

static int
sleep_until_ns(struct iora__task *task, int64_t deadline_ns)
{
    task->u.timer._link._next = NULL;
    task->u.timer._fire = wake_up;
    if (deadline_ns != INT64_MAX)
        iora__loop_timer_set(task->loop, &task->u.timer, deadline_ns);
    (void)iora__wait_begin(task, &sleeping, NULL, NULL);
    return iora__park(task);
}

int
iora_sleep(iora_duration d)
{
    struct iora__task *const task = iora__self();
    int rc;

    if (d._ns <= 0)
        return iora_yield();
    if ((rc = iora__enter(task)) < 0)
        return rc;
    return sleep_until_ns(task, iora__loop_deadline(task->loop, d));
}

int
iora_sleep_until(iora_instant when)
{
    struct iora__task *const task = iora__self();
    int rc;

    if (task != NULL && when._ns <= iora__loop_now_ns(task->loop))
        return iora_yield();
    if ((rc = iora__enter(task)) < 0)
        return rc;
    return sleep_until_ns(task, when._ns);
}

iora_instant
iora_now(void)
{
    return iora__running != NULL ? iora_loop_now(iora__running) : (iora_instant){0};
}
