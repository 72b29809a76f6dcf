/* task/scope.c -- cancellation and deadlines.
 *
 * Words. A task's scopes are a chain from the innermost outwards; the task itself is the last, its *root*. A
 * scope is *cancelled* by its deadline, by hand, or as the root by iora_cancel(), and stays so until it ends.
 * A *shield* (a cleanup scope) hides all that lies outside of it. The task is *cancelled* if any scope is
 * that it can see: worked out when something changes (iora__task_update), so that looking is one load.
 *
 * A *delivery* is one -ECANCELED handed to the task:
 *   - it waits: its wait is settled with the code, if nothing else settled it first;
 *   - it calls: the first call returns at once, later ones pass through the ready queue, so that others run;
 *   - after IORA__DEAF_AFTER deliveries the task is called deaf: told to the log, and each call costs 1 ms.
 * A task that waits for others passes its cancel on to them. A chain of such waits may be long, so this goes by a
 * list and not by recursion: who is cancelled while a cancel is being passed on is put at the list's end, linked
 * by the `slot` of its waiter, which such waits do not use.
 *
 * Deliveries are counted from when the task becomes cancelled to when it no longer is. A shield inside goes
 * on counting where the outside stood, and adds to it when it ends.
 *
 * Invariants:
 * (1) fuel_full is 0 iff the task is cancelled (sched.c, 4).
 * (2) A scope that is open has `_task`; ending it takes that away, so ending twice does nothing.
 * (3) No sequence of calls that ignore their codes keeps the loop from turning: a delivery at once costs a
 *     part of the slice, and with the slice used up it passes through the queue too.
 */
#include "task/task.h"

static const int64_t DEAF_PAUSE_NS = 1000000;

/* ---- delivery --------------------------------------------------------------------------------------------- */

static void
let_others_run(struct iora__task *task)
{
    iora__wake(task, 0);
    (void)iora__park(task);
}

static void
pause_is_over(struct iora__timer *timer)
{
    struct iora__task *const task = iora__container_of(timer, struct iora__task, u.timer);

    iora__waiter_grant(&task->wait, 0);
}

static const struct iora__wait_class deaf_pause = {.what = "pause (it ignores that it is cancelled)"};

static void
pause_deaf(struct iora__task *task)
{
    if (task->deliveries == IORA__DEAF_AFTER + 1)
        iora__loop_log(task->loop,
                       "task %llu \"%s\" (spawned at %s) has ignored %d times that it is cancelled; "
                       "each further call takes it 1 ms",
                       (unsigned long long)task->id, task->name, task->site, IORA__DEAF_AFTER);
    task->u.timer = (struct iora__timer){._fire = pause_is_over};
    iora__loop_timer_set(task->loop, &task->u.timer,
                         iora__loop_now_ns(task->loop) + DEAF_PAUSE_NS);
    (void)iora__wait_begin(task, &deaf_pause, NULL, NULL);
    (void)iora__park(task);
}

static int
deliver(struct iora__task *task)
{
    task->deliveries++;
    if (task->deliveries == 1 && (task->loop->slice -= IORA__COST_RESUMPTION) > 0)
        return -ECANCELED;
    if (task->deliveries <= IORA__DEAF_AFTER)
        let_others_run(task);
    else
        pause_deaf(task);
    return -ECANCELED;
}

int
iora__look_at_scope(struct iora__task *task)
{
    if (task == NULL)
        return iora__running != NULL ? IORA_E_NO_TASK : IORA_E_NO_LOOP;
    if (!task->cancelled) {
        let_others_run(task); /* its operations are used up; they are renewed when it is resumed */
        if (!task->cancelled) {
            task->fuel--;
            return 0;
        }
    }
    return deliver(task);
}

/* ---- the state ---------------------------------------------------------------------------------------------- */

static bool
sees_a_cancel(const struct iora__task *task)
{
    for (const iora_scope *scope = task->scope; scope != NULL; scope = scope->_parent) {
        if (scope->_cancelled)
            return true;
        if (scope->_shield)
            return false;
    }
    return task->root_cancelled;
}

/* How often the task had ignored, when the nearest shield was opened, what that hides. */
static uint32_t
ignored_outside(const struct iora__task *task)
{
    const iora_scope *scope = task->scope;

    while (scope != NULL && !scope->_shield)
        scope = scope->_parent;
    return scope != NULL ? scope->_deliveries : 0;
}

void
iora__cancel_pass_on(struct iora__waiter *waiter)
{
    struct iora__sched *const sched = waiter->_task->loop->sched;
    struct iora__waiter *const last = sched->last_to_pass_on;

    waiter->_slot = NULL;
    sched->last_to_pass_on = waiter;
    if (last != NULL) {
        last->_slot = waiter;
        return;
    }
    for (; waiter != NULL; waiter = waiter->_slot)
        waiter->_class->pass_on(waiter);
    sched->last_to_pass_on = NULL;
}

void
iora__task_update(struct iora__task *task)
{
    const bool cancelled = sees_a_cancel(task);
    struct iora__waiter *const wait = &task->wait;

    if (cancelled == task->cancelled)
        return;
    task->cancelled = cancelled;
    task->deliveries = cancelled ? ignored_outside(task) : 0;
    task->fuel_full = cancelled ? 0 : IORA__FUEL;
    task->fuel = task->fuel_full;
    if (cancelled && wait->_class != NULL && wait->_class->cancel != NULL) {
        if (task->deliveries < IORA__DEAF_AFTER) /* what comes after is told where it is delivered */
            task->deliveries++;
        wait->_class->cancel(wait);
    }
}

void
iora__task_cancel(struct iora__task *task)
{
    if (task->root_cancelled || task->state == IORA__TASK_DONE)
        return;
    task->root_cancelled = true;
    iora__task_update(task);
    if (task->is_generator)
        iora__generator_cancelled(task);
}

int
iora_cancel(iora_task handle)
{
    int rc;
    struct iora__task *const task = iora__task_find(handle, &rc);

    if (task == NULL)
        return rc;
    iora__task_cancel(task);
    return 0;
}

/* ---- scopes --------------------------------------------------------------------------------------------------- */

static void
expire(struct iora__timer *timer)
{
    iora_scope *const scope = iora__container_of(timer, iora_scope, _timer);

    scope->_fired = true;
    scope->_cancelled = true;
    iora__task_update(scope->_task);
}

/* Expire what is due of a task's deadlines, as the loop would at its next turn. False if those of its owner do not
 * reach what it runs. */
static bool
look_at_deadlines(struct iora__task *task, int64_t now_ns)
{
    for (iora_scope *scope = task->scope; scope != NULL; scope = scope->_parent) {
        if (iora__timer_is_set(&scope->_timer) && scope->_timer._deadline_ns <= now_ns) {
            iora__loop_timer_clear(task->loop, &scope->_timer);
            expire(&scope->_timer);
        }
        if (scope->_shield)
            return false;
    }
    return true;
}

/* For a computation, in which the loop does not turn. A deadline of an owner's cancels what that waits for: this task, or
 * one that owns it. */
bool
iora_is_cancelled(void)
{
    struct iora__task *const task = iora__self();

    if (task == NULL)
        return false;
    if (!task->cancelled) {
        const int64_t now_ns = iora__loop_now_ns(task->loop);
        struct iora__task *at = task;

        while (at != NULL && look_at_deadlines(at, now_ns))
            at = iora__task_owner(at);
    }
    return task->cancelled;
}

static void
arm(iora_scope *scope, int64_t deadline_ns, bool is_due)
{
    if (is_due)
        scope->_fired = scope->_cancelled = true;
    else if (deadline_ns != INT64_MAX)
        iora__loop_timer_set(scope->_task->loop, &scope->_timer, deadline_ns);
}

static struct iora__task *
open_scope(iora_scope *scope, bool shield)
{
    struct iora__task *const task = iora__self();

    *scope = (iora_scope){._task = task, ._shield = shield, ._timer = {._fire = expire}};
    if (task != NULL) {
        if (shield)
            scope->_deliveries = task->cancelled ? task->deliveries : ignored_outside(task);
        scope->_parent = task->scope;
        task->scope = scope;
    }
    return task;
}

static int64_t
deadline_in(struct iora__task *task, iora_duration d)
{
    return d._ns > 0 ? iora__loop_deadline(task->loop, d) : 0;
}

void
iora_timeout_begin(iora_scope *scope, iora_duration d)
{
    struct iora__task *const task = open_scope(scope, false);

    if (task == NULL)
        return;
    arm(scope, deadline_in(task, d), d._ns <= 0);
    if (scope->_cancelled)
        iora__task_update(task);
}

void
iora_timeout_begin_at(iora_scope *scope, iora_instant when)
{
    const struct iora__task *const task = iora__self();

    iora_timeout_begin(scope, task == NULL || when._ns == INT64_MAX
                                  ? IORA_FOREVER
                                  : iora_between(iora_loop_now(task->loop), when));
}

void
iora_cleanup_begin(iora_scope *scope, iora_duration d)
{
    struct iora__task *const task = open_scope(scope, true);

    if (task == NULL)
        return;
    arm(scope, deadline_in(task, d), d._ns <= 0);
    iora__task_update(task);
}

/* Take the innermost scope off the chain. */
static void
close_innermost(struct iora__task *task)
{
    iora_scope *const scope = task->scope;
    const uint32_t inside = task->cancelled ? task->deliveries : scope->_deliveries;

    iora__loop_timer_clear(task->loop, &scope->_timer);
    task->scope = scope->_parent;
    scope->_task = NULL;
    iora__task_update(task);
    if (scope->_shield && task->cancelled)
        task->deliveries = inside;
}

int
iora_timeout_end(iora_scope *scope, int rc)
{
    struct iora__task *const task = scope->_task;

    if (task == NULL)
        return rc;
    while (scope->_task != NULL)
        close_innermost(task);
    return rc == -ECANCELED && scope->_fired && !task->cancelled ? -ETIMEDOUT : rc;
}

void
iora_timeout_reset(iora_scope *scope, iora_duration d)
{
    struct iora__task *const task = scope->_task;

    if (task == NULL || scope->_fired)
        return;
    iora__loop_timer_clear(task->loop, &scope->_timer);
    arm(scope, deadline_in(task, d), d._ns <= 0);
    if (scope->_cancelled)
        iora__task_update(task);
}

void
iora_scope_cancel(iora_scope *scope)
{
    if (scope->_task == NULL)
        return;
    scope->_cancelled = true;
    iora__task_update(scope->_task);
}

void
iora__scope_block_leave(struct iora__scope_block *block)
{
    if (block->_entered)
        *block->_rc = iora_timeout_end(&block->_scope, *block->_rc);
}
