/* task/sched.c -- running tasks on a loop: spawn, switch, end.
 *
 *   MADE --start--> READY --first run--> RUNNING --function returns--> ENDING --children ended--> DONE
 *     \                (a stack is bound)                                (the stack goes back)     |
 *      `--discard--> FREE <-------------------- collected: awaited, or its owner ended ------------'
 *
 * A task that is RUNNING is *current*, *ready* (in the loop's ready queue) or *waiting* (its waiter has a
 * class). It waits for one thing at a time.
 *
 * Switching. A task that suspends looks at the head of the ready queue. If that is a task, and the slice is not
 * used up, it switches to it directly; else to the loop's own stack, which polls and runs callbacks. All
 * that the suspended one still needs is done by whoever wakes it, so that every function on the way to
 * iora__park() ends in a tail call, and no return is executed on the way back but the user's own
 * (coro/context.h says what that is worth).
 *
 * Invariants:
 * (1) loop->current is the task that runs, NULL on the loop's own stack.
 * (2) A task has a stack from its first run to the return of its function, and its claim to one from start.
 * (3) A waker makes the task ready exactly once: granting takes the class away, and only a waiter with a
 *     class is granted or cancelled.
 * (4) `fuel` is positive only if no scope that matters is cancelled, so that looking at the scope and
 *     counting operations is one comparison.
 *
 * A stack whose guard cannot be installed when the task first runs (the kernel has no memory for a page
 * table) makes the task *starve*: it is tried again each millisecond. A spawn that succeeded always runs.
 *
 * Ending. The last thing a task does on its stack is to give it back and switch away for good. Where the
 * switch is a call (sanitizers, ucontext) the loop's stack does the giving back.
 */
#include "task/walk.h"

#include "sys/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t STARVED_RETRY_NS = 1000000;

/* How many turns in a row may fail to poll before a run gives up. */
enum { FAILED_TURNS_MAX = 1000 };

/* ---- the scheduler of a loop ------------------------------------------------------------------------- */

static void sched_free(struct iora__sched *sched);
static void retry_starved(struct iora__timer *timer);

static void
log_stacks(void *arg, const char *text)
{
    iora__loop_log(arg, "%s", text);
}

void
iora__owner_init(struct iora__owner *owner, enum iora__owner_kind kind)
{
    iora__list_init(&owner->_members);
    owner->_live = 0;
    owner->_kind = (uint8_t)kind;
    owner->_flags = 0;
    owner->_state = 0;
    owner->_stopped = false;
}

int
iora__sched_make(iora_loop *loop)
{
    const int class = iora__stack_class_of(loop->options.stack_size);
    struct iora__sched *sched;

    if (class < 0)
        return class;
    if ((sched = iora__zalloc(sizeof *sched)) == NULL)
        return -ENOMEM;
    sched->loop = loop;
    sched->default_class = (uint8_t)class;
    iora__stacks_init(&sched->stacks, log_stacks, loop);
    iora__owner_init(&sched->run, IORA__OWNER_RUN);
    iora__list_init(&sched->starved);
    sched->starved_timer._fire = retry_starved;
    loop->sched = sched;
    loop->sched_free = sched_free;
    if (loop->options.overflow_report || loop->debug)
        sched->watches_overflow = iora__overflow_watch(sched) == 0;
    return 0;
}

/* ---- stacks for tasks ---------------------------------------------------------------------------------- */

static void task_main(struct iora__coro *coro) __attribute__((noreturn));

static inline int
bind_stack(struct iora__task *task)
{
    struct iora__sched *const sched = task->loop->sched;
    struct iora__stack stack;
    const int rc = iora__stack_bind(&sched->stacks, task->stack_class, &stack);

    if (rc < 0)
        return rc;
    task->stack_slot = stack.slot;
    task->stack_base = stack.base;
    if (__builtin_expect(task->loop->debug, false))
        iora__stack_clean(stack.base, task->stack_class);
    iora__coro_make(&task->coro, stack.base, iora__stack_size(task->stack_class), task_main);
    return 0;
}

static void
starve(struct iora__task *task)
{
    struct iora__sched *const sched = task->loop->sched;

    iora__list_push_tail(&sched->starved, &task->ready._link);
    if (!iora__timer_is_set(&sched->starved_timer))
        iora__loop_timer_set(task->loop, &sched->starved_timer,
                             iora__loop_now_ns(task->loop) + STARVED_RETRY_NS);
    if (!sched->starvation_told)
        iora__loop_log(task->loop, "a stack cannot be guarded, for want of memory: tasks start late");
    sched->starvation_told = true;
}

static void
retry_starved(struct iora__timer *timer)
{
    struct iora__sched *const sched =
        iora__container_of(timer, struct iora__sched, starved_timer);
    struct iora__link *link;

    while ((link = iora__list_pop(&sched->starved)) != NULL)
        iora__list_push_tail(&sched->loop->ready._link, link);
}

/* ---- switching ------------------------------------------------------------------------------------------ */

static inline struct iora__task *
task_of(struct iora__ready *ready)
{
    return iora__container_of(ready, struct iora__task, ready);
}

static inline void
make_current(iora_loop *loop, struct iora__task *task)
{
    loop->current = task;
    task->fuel = task->fuel_full;
}

static inline int
switch_to_loop(struct iora__task *task)
{
    task->loop->current = NULL;
    return iora__coro_switch(&task->coro, &task->loop->sched->loop_coro);
}

/* Switch to a task that may have no stack yet. */
static IORA__SLOW int
switch_to_new(struct iora__task *task, struct iora__task *next)
{
    if (!iora__coro_has_stack(&next->coro) && bind_stack(next) < 0) {
        starve(next);
        return switch_to_loop(task);
    }
    make_current(task->loop, next);
    return iora__coro_switch(&task->coro, &next->coro);
}

static inline struct iora__ready *
first_ready(iora_loop *loop)
{
    return iora__container_of(loop->ready._link._next, struct iora__ready, _link);
}

int
iora__park(struct iora__task *task)
{
    iora__seam_moment(IORA__MOMENT_WAIT, task);

    iora_loop *const loop = task->loop;
    struct iora__ready *const first = first_ready(loop);

    if (__builtin_expect(first->_run == iora__task_resume, 1) &&
        (loop->slice -= IORA__COST_RESUMPTION) > 0) {
        struct iora__task *const next = task_of(first);

        iora__list_remove_first(&loop->ready._link, &first->_link);
        if (__builtin_expect(!iora__coro_has_stack(&next->coro), 0))
            return switch_to_new(task, next);
        make_current(loop, next);
        return iora__coro_switch(&task->coro, &next->coro);
    }
    return switch_to_loop(task);
}

/* The slice is used up: after the poll, but before all others. */
static IORA__SLOW int
hand_over_later(struct iora__task *task, struct iora__task *next)
{
    iora__ready_push_first(task->loop, &next->ready);
    return switch_to_loop(task);
}

int
iora__hand_over(struct iora__task *task, struct iora__task *next)
{
    iora__seam_moment(IORA__MOMENT_WAIT, task);

    iora_loop *const loop = task->loop;

    if ((loop->slice -= IORA__COST_RESUMPTION) <= 0)
        return hand_over_later(task, next);
    if (__builtin_expect(!iora__coro_has_stack(&next->coro), 0))
        return switch_to_new(task, next);
    loop->current = next; /* with the operations it had left: nobody else has had a turn */
    return iora__coro_switch(&task->coro, &next->coro);
}

#if IORA__SWITCH_IS_CALL
static void
release_ended(struct iora__sched *sched)
{
    if (!sched->has_ended)
        return;
    sched->has_ended = false;
    iora__coro_unmake(&sched->ended);
    iora__stack_unbind(&sched->stacks, sched->ended_class, sched->ended_base, sched->ended_slot);
}
#else
static void
release_ended(struct iora__sched *sched)
{
    (void)sched;
}
#endif

static void
run_timed(struct iora__sched *sched, struct iora__task *task)
{
    const int64_t began_ns = iora__loop_now_ns(sched->loop);
    char what[96];

    (void)snprintf(what, sizeof what, "task %llu \"%s\"", (unsigned long long)task->id, task->name);
    (void)iora__coro_switch(&sched->loop_coro, &task->coro); /* may be gone afterwards */
    iora__loop_note_duration(sched->loop, began_ns, what, task);
}

/* From the loop's own stack. */
void
iora__task_resume(struct iora__ready *ready)
{
    struct iora__task *const task = task_of(ready);
    iora_loop *const loop = task->loop;
    struct iora__sched *const sched = loop->sched;

    if (!iora__coro_has_stack(&task->coro) && bind_stack(task) < 0) {
        starve(task);
        return;
    }
    loop->slice -= IORA__COST_RESUMPTION;
    make_current(loop, task);
    iora__coro_adopt_thread(&sched->loop_coro);
    if (loop->debug)
        run_timed(sched, task);
    else
        (void)iora__coro_switch(&sched->loop_coro, &task->coro);
    release_ended(sched);
    iora__stacks_trim(&sched->stacks);
}

/* The current task's last act; its block may be gone already. Its stack is its own until it has left. */
struct task_stack {
    char *base;
    uint32_t slot;
    uint8_t class;
};

static void leave_stack(iora_loop *loop, const struct task_stack *stack) __attribute__((noreturn));

#if IORA__SWITCH_IS_CALL

static void
prepare_to_leave(struct iora__task *task, struct task_stack *stack)
{
    *stack = (struct task_stack){task->stack_base, task->stack_slot, task->stack_class};
    task->loop->sched->ended = task->coro;
    task->coro.context.sp = NULL;
}

static void
leave_stack(iora_loop *loop, const struct task_stack *stack)
{
    struct iora__sched *const sched = loop->sched;

    sched->ended_base = stack->base;
    sched->ended_slot = stack->slot;
    sched->ended_class = stack->class;
    sched->has_ended = true;
    loop->current = NULL;
    iora__coro_leave(&sched->ended, &sched->loop_coro);
}

#else

static void
prepare_to_leave(struct iora__task *task, struct task_stack *stack)
{
    *stack = (struct task_stack){task->stack_base, task->stack_slot, task->stack_class};
    iora__coro_unmake(&task->coro);
}

static void
leave_stack(iora_loop *loop, const struct task_stack *stack)
{
    struct iora__sched *const sched = loop->sched;
    struct iora__ready *const first = first_ready(loop);

    iora__stack_unbind(&sched->stacks, stack->class, stack->base, stack->slot);
    if (first->_run == iora__task_resume && (loop->slice -= IORA__COST_RESUMPTION) > 0) {
        struct iora__task *const next = task_of(first);

        iora__list_remove_first(&loop->ready._link, &first->_link);
        if (iora__coro_has_stack(&next->coro) || bind_stack(next) == 0) {
            make_current(loop, next);
            iora__coro_leave(NULL, &next->coro);
        }
        starve(next);
    }
    loop->current = NULL;
    iora__coro_leave(NULL, &sched->loop_coro);
}

#endif

/* ---- spawning --------------------------------------------------------------------------------------------- */

static void
init_block(struct iora__task *task, int (*enter)(void *), const char *name)
{
    const size_t zero_from = offsetof(struct iora__task, scope);
    const size_t zero_to = offsetof(struct iora__task, is_detached) + sizeof task->is_detached;

    task->fuel = IORA__FUEL;
    task->fuel_full = IORA__FUEL;
    task->state = IORA__TASK_MADE;
    task->cancelled = false;
    task->root_cancelled = false;
    memset((char *)task + zero_from, 0, zero_to - zero_from);
    task->name = name;
    task->site = "";
    task->enter = enter;
}

/* Why a task cannot be made in this thread as it stands; 0 once it can. */
static IORA__SLOW int
make_ready_for_tasks(iora_loop *loop)
{
    int rc;

    if (loop == NULL)
        return IORA_E_NO_LOOP;
    if (loop->sched == NULL && (rc = iora__sched_make(loop)) < 0)
        return rc;
    return 0;
}

/* A made task, or NULL and why. */
static inline struct iora__task *
make_task(int (*enter)(void *), const char *name, int *rc)
{
    iora_loop *const loop = iora__running;
    struct iora__task *task;

    if (__builtin_expect(loop == NULL || loop->sched == NULL, 0) &&
        (*rc = make_ready_for_tasks(loop)) < 0)
        return NULL;
    if ((task = iora__block_alloc(loop->sched)) == NULL) {
        *rc = -ENOMEM;
        return NULL;
    }
    init_block(task, enter, name);
    loop->sched->alive++;
    return task;
}

void
iora__task_discard(struct iora__task *task)
{
    struct iora__sched *const sched = task->loop->sched;

    if (task->arguments_on_heap)
        iora__free(task->arguments);
    sched->alive--;
    iora__block_free(sched, task);
}

/* Arguments that do not fit into the block. */
static IORA__SLOW iora_task
keep_on_heap(struct iora__task *task, const void *arguments, size_t size)
{
    if ((task->arguments = iora__alloc(size)) == NULL) {
        iora__task_discard(task);
        return iora__task_null(-ENOMEM);
    }
    task->arguments_on_heap = true;
    memcpy(task->arguments, arguments, size);
    return iora__task_handle(task);
}

iora_task
iora__task_make(int (*enter)(void *), const char *name, const void *arguments, size_t size)
{
    int rc;
    struct iora__task *const task = make_task(enter, name, &rc);

    if (task == NULL)
        return iora__task_null(rc);
    if (size > sizeof task->u.arguments_inline)
        return keep_on_heap(task, arguments, size);
    task->arguments = task->u.arguments_inline;
    /* A call of memcpy costs more than most arguments are worth. */
    if (size <= sizeof(uint64_t)) {
        for (size_t i = 0; i < size; i++)
            task->u.arguments_inline[i] = ((const char *)arguments)[i];
    } else {
        memcpy(task->u.arguments_inline, arguments, size);
    }
    return iora__task_handle(task);
}

/* The current task, as one that starts others. A task that is ending takes no more children and does not
 * suspend: what its error hook or a local's destructor starts is the run's, as from a callback. */
static struct iora__task *
spawner(const iora_loop *loop)
{
    return loop->current != NULL && loop->current->state == IORA__TASK_RUNNING ? loop->current
                                                                              : NULL;
}

static struct iora__owner *
owner_for(enum iora__go how, void *owner, struct iora__task *current, struct iora__sched *sched)
{
    if (how == IORA__GO_GROUP)
        return &((iora_group *)owner)->_owner;
    if (how == IORA__GO_DETACHED || current == NULL)
        return &sched->run;
    return &current->children;
}

static int
claim_stack(struct iora__sched *sched, struct iora__task *task, size_t stack_size)
{
    const int class = stack_size == 0 ? sched->default_class : iora__stack_class_of(stack_size);
    int rc;

    if (class < 0)
        return class;
    if ((rc = iora__stack_reserve(&sched->stacks, class)) < 0)
        return rc;
    task->stack_class = (uint8_t)class;
    return 0;
}

/* Run it now; the current task goes on when it suspends, before all others. */
static void
run_eagerly(struct iora__task *current, struct iora__task *task)
{
    iora_loop *const loop = task->loop;

    if (current == NULL) {
        iora__ready_push_first(loop, &task->ready);
        return;
    }
    const int16_t fuel = current->fuel;
    iora__ready_push_first(loop, &current->ready);
    (void)iora__hand_over(current, task);
    if (current->fuel > fuel)
        current->fuel = fuel; /* nobody else has had a turn */
}

int
iora__task_adopt(struct iora__task *task, enum iora__go how, void *owner, size_t stack_size,
                 const char *site)
{
    struct iora__sched *const sched = task->loop->sched;
    struct iora__task *const current = spawner(task->loop);
    int rc;

    if (how == IORA__GO_GROUP && (rc = iora__group_check(owner)) < 0)
        return rc;
    if ((rc = claim_stack(sched, task, stack_size)) < 0)
        return rc;
    task->owner = owner_for(how, owner, current, sched);
    task->site = site;
    task->is_detached = how == IORA__GO_DETACHED;
    iora__list_push_tail(&task->owner->_members, &task->sibling);
    task->owner->_live++;
    if (current != NULL && current->locals != NULL)
        iora__locals_inherit(task, current);
    task->state = IORA__TASK_READY;
    if (task->owner == &sched->run && sched->run._stopped)
        iora__task_cancel(task);
    return 0;
}

iora_task
iora__task_start(enum iora__go how, void *owner, size_t stack_size, const char *site,
                 iora_task handle)
{
    struct iora__task *const task = handle._block;
    int rc;

    if (task == NULL)
        return handle;
    if ((rc = iora__task_adopt(task, how, owner, stack_size, site)) < 0) {
        iora__task_discard(task);
        return iora__task_null(rc);
    }
    if (how == IORA__GO_EAGER)
        run_eagerly(spawner(task->loop), task);
    else
        iora__ready_push(task->loop, &task->ready);
    return handle;
}

static int
check_visit(iora_loop *loop)
{
    if (iora__loop_is_forked(loop))
        return IORA_E_FORKED;
    if (iora__running != loop && iora__thread_is_busy())
        return -EBUSY;
    return iora__loop_check(loop, "iora_go_in()");
}

void
iora__visit_begin(struct iora__visit *visit, iora_loop *loop)
{
    visit->_before = iora__running;
    visit->_rc = check_visit(loop);
    if (visit->_rc == 0)
        iora__running = loop; /* whose task the caller makes now */
}

iora_task
iora__visit_go(struct iora__visit *visit, const char *site, iora_task task)
{
    if (visit->_rc == 0)
        task = iora__task_start(IORA__GO_DETACHED, NULL, 0, site, task);
    else if (task._block != NULL)
        iora__task_discard(task._block);
    iora__running = visit->_before;
    return visit->_rc == 0 ? task : iora__task_null(visit->_rc);
}

iora_task
iora_go_fn(int (*fn)(void *arg), void *arg, const char *name)
{
    int rc;
    struct iora__task *const task = make_task(fn, name, &rc);

    if (task == NULL)
        return iora__task_null(rc);
    task->arguments = arg;
    return iora__task_start(IORA__GO_CHILD, NULL, 0, name, iora__task_handle(task));
}

/* ---- ending ------------------------------------------------------------------------------------------------- */

/* Hand the result to all who wait; true if one of them does not only look, and so collects. */
static bool
wake_joiners(struct iora__task *task)
{
    const int rc = iora__task_result(task);
    bool collected = false;

    while (task->joiners._first != NULL) {
        struct iora__waiter *const joiner = task->joiners._first;

        IORA__KNOWN(joiner->_class != NULL); /* it waits */
        collected |= !joiner->_class->only_looks;
        iora__waiter_grant(joiner, rc);
    }
    return collected;
}

static inline void
collect(struct iora__task *task)
{
    struct iora__sched *const sched = task->loop->sched;

    if (task == sched->main)
        return; /* awaited, by one that is detached: its run has yet to learn of its end */
    iora__list_discard(&task->sibling);
    if (task->error != NULL)
        iora__error_free(task->error);
    if (task->name_is_ours)
        iora__free((char *)task->name);
    sched->alive--;
    iora__block_free(sched, task);
}

void
iora__task_collect(struct iora__task *task)
{
    collect(task);
}

void
iora__task_drop(struct iora__task *task)
{
    if (task->result < 0 && task->result != -ECANCELED)
        iora__error_report(task, "and nobody awaited it");
    iora__task_collect(task);
}

void
iora__owner_drop_members(struct iora__owner *owner)
{
    struct iora__link *at = owner->_members._next;

    while (at != &owner->_members) {
        struct iora__task *const member = iora__container_of(at, struct iora__task, sibling);

        at = at->_next;
        if (member->state == IORA__TASK_DONE)
            iora__task_drop(member);
    }
}

/* Tell the owner that one of his has ended; true if it is to be collected. */
static bool
tell_owner(struct iora__task *task, bool awaited)
{
    struct iora__owner *const owner = task->owner;

    owner->_live--;
    switch ((enum iora__owner_kind)owner->_kind) {
    case IORA__OWNER_GROUP:
        return iora__group_member_done(iora__container_of(owner, iora_group, _owner), task,
                                       awaited);
    case IORA__OWNER_TASK: {
        struct iora__task *const parent = iora__container_of(owner, struct iora__task, children);

        if (owner->_live == 0 && parent->wait._class != NULL && parent->wait._object == owner)
            iora__waiter_grant(&parent->wait, 0);
        return awaited;
    }
    case IORA__OWNER_RUN:
        break;
    }
    if (!awaited && task->is_detached) {
        iora__task_drop(task);
        return false;
    }
    return awaited;
}

/* Its function has returned and its children have ended. */
static void
become_done(struct iora__task *task)
{
    bool awaited;

    task->state = IORA__TASK_DONE;
    if (task->result < 0 && task->result != -ECANCELED)
        (void)iora__error_of_end(task);
    iora__callbacks_call(&task->on_done);
    awaited = wake_joiners(task);
    if (tell_owner(task, awaited))
        collect(task);
}

__attribute__((noreturn)) static inline void
end(struct iora__task *task, int rc)
{
    iora_loop *const loop = task->loop;
    struct task_stack stack;

    task->result = rc;
    task->state = IORA__TASK_ENDING;
    if (!iora__list_is_empty(&task->children._members)) {
        iora__owner_cancel(&task->children);
        (void)iora__owner_join(task, &task->children);
        iora__owner_drop_members(&task->children);
    }
    if (task->locals != NULL)
        iora__locals_drop(task);
    if (loop->debug)
        iora__note_stack_use(task);
    prepare_to_leave(task, &stack);
    become_done(task);
    leave_stack(loop, &stack);
}

static void
task_main(struct iora__coro *coro)
{
    struct iora__task *const task = iora__container_of(coro, struct iora__task, coro);
    void *const on_heap = task->arguments_on_heap ? task->arguments : NULL; /* lost once it waits */
    int rc;

    iora__coro_begun(coro);
    task->state = IORA__TASK_RUNNING;
    rc = task->enter(task->arguments);
    if (on_heap != NULL)
        iora__free(on_heap);
    end(task, rc);
}

/* ---- runs ---------------------------------------------------------------------------------------------------- */

void
iora__run_begin(struct iora__run *run, iora_loop *loop)
{
    run->_loop = loop;
    run->_own = NULL;
    run->_text[0] = '\0';
    run->_heeds_interrupt = false;
    run->_interrupt = NULL;
    run->_interrupted = false;
    run->_rc = iora__thread_is_busy() ? -EBUSY : 0;
    if (run->_rc < 0)
        return;
    if (loop == NULL) {
        if ((run->_rc = iora_loop_new(NULL, &run->_own)) < 0)
            return;
        run->_loop = run->_own;
    }
    if ((run->_rc = iora__loop_enter(run->_loop)) < 0)
        (void)iora_loop_free(run->_own);
}

/* Turn the loop until `owner` owns nothing alive, or nothing can happen any more (-EDEADLK), or polling
 * fails for good. */
static int
turn_until_ended(struct iora__sched *sched, const struct iora__owner *owner,
                 const struct iora__task *task)
{
    iora_loop *const loop = sched->loop;
    int failed = 0, rc = 0;

    IORA__KNOWN(task != NULL || owner != NULL);
    while (task != NULL ? task->state != IORA__TASK_DONE : owner->_live > 0) {
        if (iora__loop_is_dead(loop))
            return -EDEADLK;
        rc = iora__loop_turn(loop, INT64_MAX);
        failed = rc < 0 ? failed + 1 : 0;
        if (failed > FAILED_TURNS_MAX || rc == IORA_E_FORKED)
            return rc;
    }
    return 0;
}

static void
cancel_if_it_was_not(struct iora__task *task, int depth, void *arg)
{
    (void)depth;
    if (task->root_cancelled || task->state == IORA__TASK_DONE)
        return;
    ++*(size_t *)arg;
    iora__task_cancel(task);
}

/* Cancel the owned as well as their owners. Returns how many had not been cancelled. */
static size_t
cancel_everybody(struct iora__sched *sched)
{
    size_t count = 0;

    iora__walk_tasks(sched, cancel_if_it_was_not, &count);
    return count;
}

/* Cancel all that runs, and what is started for the run meanwhile, and wait for it. What a task owns is cancelled when
 * it has returned; if that cannot be, since it waits to get back a lock that one of these holds, at once. */
static int
end_all(struct iora__sched *sched)
{
    int rc;

    sched->run._stopped = true;
    iora__owner_cancel(&sched->run);
    do
        rc = turn_until_ended(sched, &sched->run, NULL);
    while (rc == -EDEADLK && cancel_everybody(sched) > 0);
    sched->run._stopped = false;
    if (rc < 0 && rc != IORA_E_FORKED)
        iora__loop_log(sched->loop, "%u tasks would not end: %s", sched->run._live,
                       iora_strerror(rc));
    return rc;
}

static int
start_main(struct iora__run *run, struct iora__task *task)
{
    int rc;

    if (run->_heeds_interrupt && (rc = iora__interrupt_watch(task, &run->_interrupt)) < 0)
        return rc;
    if ((rc = iora__task_adopt(task, IORA__GO_CHILD, NULL, 0, "iora_run")) < 0)
        goto fail_interrupt;
    iora__ready_push(run->_loop, &task->ready);
    return 0;

fail_interrupt:
    (void)iora__interrupt_unwatch(run->_interrupt);
    return rc;
}

static int
run_main(struct iora__run *run, struct iora__task *task)
{
    struct iora__sched *const sched = run->_loop->sched;
    int rc;

    sched->main = task;
    rc = turn_until_ended(sched, NULL, task);
    run->_interrupted = iora__interrupt_unwatch(run->_interrupt);
    if (rc == 0)
        rc = task->result;
    else if (rc == -EDEADLK)
        iora__report_deadlock(sched);
    if (rc != IORA_E_FORKED)
        (void)end_all(sched);
    sched->main = NULL;
    if (task->state == IORA__TASK_DONE) {
        iora__error_describe(task, run->_text, sizeof run->_text);
        iora__task_collect(task);
    }
    iora__owner_drop_members(&sched->run);
    return rc;
}

int
iora__run_end(struct iora__run *run, iora_task main_task)
{
    struct iora__task *const task = main_task._block;
    int rc = run->_rc;

    if (rc < 0) {
        if (task != NULL)
            iora__task_discard(task);
        return rc;
    }
    if (task == NULL)
        rc = iora_task_error(main_task);
    else if ((rc = start_main(run, task)) < 0)
        iora__task_discard(task);
    IORA__KNOWN(rc != 0 || task != NULL); /* a null handle carries an error */
    if (rc == 0)
        rc = run_main(run, task);
    iora__loop_leave(run->_loop);
    (void)iora_loop_free(run->_own);
    return rc;
}

int
iora__exit_status(const struct iora__run *run, int rc)
{
    if (rc >= 0)
        return EXIT_SUCCESS;
    if (rc == -ECANCELED && run->_interrupted)
        iora__interrupt_die();
    fprintf(stderr, "error: %s (%s)%s%s\n", iora_strerror(rc), iora_err_name(rc),
            run->_text[0] != '\0' ? ": " : "", run->_text);
    return EXIT_FAILURE;
}

/* Of a task that has not ended and never will. */
static void
drop_done_callbacks(struct iora__task *task, int depth, void *arg)
{
    (void)depth;
    (void)arg;
    iora__callbacks_drop(&task->on_done);
}

static void
sched_free(struct iora__sched *sched)
{
    iora_loop *const loop = sched->loop;
    iora_loop *const outer = iora__running;

    if (sched->run._live > 0) {
        iora__running = loop;
        (void)end_all(sched);
        iora__running = outer;
    }
    iora__owner_drop_members(&sched->run);
    iora__walk_tasks(sched, drop_done_callbacks, NULL);
    if (sched->watches_overflow)
        iora__overflow_unwatch(sched);
    iora__report_stack_uses(sched);
    iora__stacks_fini(&sched->stacks);
    iora__blocks_release(sched);
    iora__free(sched);
    loop->sched = NULL;
}
