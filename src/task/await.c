/* task/await.c -- waiting for tasks: await, shield, gather, wait.
 *
 * Who waits for a task is on its queue of *joiners*. When it ends it hands its result to all of them and is
 * collected; without joiners it stays, done, until somebody asks or its owner ends.
 *
 * A task that is awaited may write through pointers into the waiter's frame. So a waiter that is cancelled
 * cancels what it waits for and stays until that has ended: its wait's class changes to one that is not
 * cancelled again, and -ECANCELED is kept in the waiter, to take precedence over the result.
 *
 * So waits in a ring would not end by a cancel either. Before a task begins to wait it is made sure that what it
 * awaits does not wait for it in turn, nor for one that owns it, since an owner ends after what it owns. Whoever
 * closes a ring, be it of awaits, gathers or owners, gets -EDEADLK. The search goes up from the one that begins to
 * wait, through who must wait for it, which are few, and comes to each task once: `searched` links those it has come to.
 * (After RING_STEPS it gives up: a ring beyond is left to the report of deadlocks.)
 *
 * gather and wait put one waiter per task on their own stack, up to INLINE_WAITERS, else on the heap. Without
 * heap gather looks each millisecond whether one has failed, and awaits one after the other when that is known:
 * slower to notice an error (and a deadlock not at all), but it cannot fail.
 */
#include "task/task.h"

#include "sys/alloc.h"

enum { INLINE_WAITERS = 16, RING_STEPS = 10000 };

struct iora__task *
iora__task_find(iora_task handle, int *rc)
{
    struct iora__task *const task = handle._block;

    if (task == NULL) {
        *rc = handle._id != 0 ? iora_task_error(handle) : -ESRCH; /* all zero: it was never one */
        return NULL;
    }
    if (task->id != handle._id) {
        *rc = -ESRCH;
        return NULL;
    }
    if (task->loop != iora__running) {
        *rc = iora__running != NULL ? IORA_E_WRONG_THREAD
                                    : iora__loop_check(task->loop, "a function that takes a task");
        return *rc < 0 ? NULL : task;
    }
    *rc = 0;
    return task;
}

/* ---- await --------------------------------------------------------------------------------------------------- */

static struct iora__task *
joined_task(const struct iora__waiter *waiter)
{
    return waiter->_object;
}

void
iora__error_note_await(struct iora__task *waiter, struct iora__task *awaited, int rc)
{
    if (rc < 0)
        iora__error_note(waiter, rc, awaited, "await %s", awaited->name);
}

static void
await_failed(struct iora__waiter *waiter, int rc)
{
    if (rc != -ECANCELED)
        iora__error_note_await(waiter->_task, waiter->_object, rc);
}

static void
cancel_awaited(struct iora__waiter *waiter)
{
    iora__task_cancel(waiter->_object);
}

static const struct iora__wait_class await_ends = {.what = "task (both are cancelled)",
                                                   .pass_on = cancel_awaited,
                                                   .failed = await_failed,
                                                   .holder = joined_task,
                                                   .joins = true};

static void
cancel_await(struct iora__waiter *waiter)
{
    waiter->_class = &await_ends;
    waiter->_rc = -ECANCELED;
    iora__cancel_pass_on(waiter);
}

static const struct iora__wait_class awaiting = {.what = "task",
                                                 .cancel = cancel_await,
                                                 .failed = await_failed,
                                                 .holder = joined_task,
                                                 .joins = true};
static const struct iora__wait_class shielding = {.what = "task, shielded from its cancels",
                                                  .cancel = iora__wait_cancel,
                                                  .failed = await_failed,
                                                  .holder = joined_task,
                                                  .joins = true};

/* Tasks that a search has come to, first to last; the last links to itself, all others have NULL. */
struct search {
    struct iora__task *first, *last;
};

static void
come_to(struct search *search, struct iora__task *task)
{
    if (task == NULL || task->searched != NULL)
        return;
    if (search->last != NULL)
        search->last->searched = task;
    else
        search->first = task;
    search->last = task->searched = task;
}

static void
come_to_joiners(struct search *search, const struct iora__task *task, int *steps)
{
    for (const struct iora__waiter *at = task->joiners._first; at != NULL && --*steps >= 0;
         at = at->_next) {
        if (at->_class->joins)
            come_to(search, at->_task);
    }
}

static struct iora__task *
next_searched(const struct iora__task *task)
{
    return task->searched != task ? task->searched : NULL;
}

static void
end_search(struct search *search)
{
    struct iora__task *next;

    for (struct iora__task *at = search->first; at != NULL; at = next) {
        next = next_searched(at);
        at->searched = NULL;
    }
}

/* Whether `task` cannot end before `from` has: it is that one, owns it at whatever distance, or waits for one of
 * which that is true. */
static bool
ends_after(const struct iora__task *task, struct iora__task *from)
{
    struct search search = {NULL, NULL};
    struct iora__task *at;
    int steps = RING_STEPS;

    come_to(&search, from);
    for (at = from; at != NULL && at != task && --steps >= 0; at = next_searched(at)) {
        come_to(&search, iora__task_owner(at));
        come_to_joiners(&search, at, &steps);
    }
    end_search(&search);
    return at == task;
}

/* Whether `task` waits, directly or through others, for `self`. */
static bool
waits_for(const struct iora__task *task, struct iora__task *self)
{
    const struct iora__wait_class *const class = task->wait._class;

    if (task->scope == NULL && iora__list_is_empty(&task->children._members) &&
        (class == NULL || !class->joins))
        return task == self; /* it owns none and waits for none */
    return ends_after(task, self);
}

int
iora__task_take_result(struct iora__task *self, struct iora__task *task)
{
    const int rc = iora__task_result(task);

    iora__error_note_await(self, task, rc);
    iora__task_collect(task);
    return rc;
}

/* Who is cancelled before it even waits still may not leave what he awaits behind. */
static int
cancel_and_join(struct iora__task *self, struct iora__task *task)
{
    if (task->state == IORA__TASK_DONE) {
        iora__task_collect(task);
        return -ECANCELED;
    }
    iora__task_cancel(task);
    iora__waitq_push(&task->joiners, iora__wait_begin(self, &await_ends, task, NULL));
    self->wait._rc = -ECANCELED;
    return iora__park(self);
}

/* What is left once the way in was taken; `entered` is what came of that. */
static int
await_entered(struct iora__task *self, iora_task handle, int entered)
{
    int rc;
    struct iora__task *const task = iora__task_find(handle, &rc);

    if (task == NULL)
        return self != NULL && entered < 0 ? entered : rc;
    if (self == NULL)
        return entered;
    if (waits_for(task, self))
        return entered < 0 ? entered : -EDEADLK;
    if (entered < 0)
        return cancel_and_join(self, task);
    if (task->state == IORA__TASK_DONE)
        return iora__task_take_result(self, task);
    iora__waitq_push(&task->joiners, iora__wait_begin(self, &awaiting, task, NULL));
    return iora__park(self);
}

int
iora_await(iora_task handle)
{
    struct iora__task *const self = iora__self();
    const int entered = iora__enter(self); /* others may run here, and collect it or close a ring */

    return await_entered(self, handle, entered);
}

int
iora_shield(iora_task handle)
{
    struct iora__task *const self = iora__self();
    int rc = iora__enter(self);
    struct iora__task *task;

    if (rc < 0)
        return rc;
    if ((task = iora__task_find(handle, &rc)) == NULL)
        return rc;
    if (waits_for(task, self))
        return -EDEADLK;
    if (task->state == IORA__TASK_DONE)
        return iora__task_take_result(self, task);
    iora__waitq_push(&task->joiners, iora__wait_begin(self, &shielding, task, NULL));
    return iora__park(self);
}

/* ---- joining what one owns -------------------------------------------------------------------------------------- */

static const struct iora__wait_class joining = {.what = "its children to end"};

void
iora__owner_cancel(struct iora__owner *owner)
{
    for (struct iora__link *at = owner->_members._next; at != &owner->_members; at = at->_next)
        iora__task_cancel(iora__container_of(at, struct iora__task, sibling));
}

int
iora__owner_join(struct iora__task *task, struct iora__owner *owner)
{
    while (owner->_live > 0) {
        (void)iora__wait_begin(task, &joining, owner, NULL);
        (void)iora__park(task);
    }
    return 0;
}

/* ---- several at once ----------------------------------------------------------------------------------------------- */

/* A wait for several tasks. Each task's waiter has the join in its slot. */
struct join {
    struct iora__task *self;
    struct iora__waiter *waiters;
    size_t count;
    size_t pending;
    int *codes;   /* gather_all's; NULL: the first error cancels the rest */
    int rc;       /* the first error */
    size_t done;  /* wait's: how many have ended */
    bool failed;  /* wait's: whether one of them failed */
    iora_wait_until what;
    struct iora__waiter inline_waiters[INLINE_WAITERS];
};

static int
join_init(struct join *join, struct iora__task *self, size_t count)
{
    join->self = self;
    join->count = count;
    join->pending = 0;
    join->codes = NULL;
    join->rc = 0;
    join->done = 0;
    join->failed = false;
    join->waiters = join->inline_waiters;
    if (count > INLINE_WAITERS)
        join->waiters = iora__alloc_array(count, sizeof *join->waiters);
    return join->waiters == NULL ? -ENOMEM : 0;
}

static void
join_fini(struct join *join)
{
    if (join->waiters != join->inline_waiters)
        iora__free(join->waiters);
}

static void
join_add(struct join *join, size_t index, struct iora__task *task,
         const struct iora__wait_class *class)
{
    struct iora__waiter *const waiter = &join->waiters[index];

    *waiter = (struct iora__waiter){._task = join->self,
                                    ._class = class,
                                    ._object = task,
                                    ._slot = join,
                                    ._index = (uint32_t)index};
    iora__waitq_push(&task->joiners, waiter);
    join->pending++;
}

static void
cancel_pending(struct join *join)
{
    for (size_t i = 0; i < join->count; i++) {
        if (join->waiters[i]._queue != NULL)
            iora__task_cancel(join->waiters[i]._object);
    }
}

static void
cancel_gathered(struct iora__waiter *waiter)
{
    cancel_pending(waiter->_object);
}

static const struct iora__wait_class gather_ends = {.what = "tasks (all are cancelled)",
                                                    .pass_on = cancel_gathered,
                                                    .joins = true};

static void
cancel_gather(struct iora__waiter *waiter)
{
    waiter->_class = &gather_ends;
    waiter->_rc = -ECANCELED;
    iora__cancel_pass_on(waiter);
}

static const struct iora__wait_class gathering = {
    .what = "tasks", .cancel = cancel_gather, .joins = true};

/* One of the tasks has, or had, ended. */
static void
gather_one(struct join *join, size_t index, struct iora__task *task, int rc)
{
    if (join->codes != NULL) {
        join->codes[index] = rc;
    } else if (rc < 0 && join->rc == 0) {
        join->rc = rc;
        if (task != NULL)
            iora__error_note_await(join->self, task, rc);
        cancel_pending(join);
    }
}

static void
gather_granted(struct iora__waiter *waiter, int rc)
{
    struct join *const join = waiter->_slot;

    join->pending--;
    gather_one(join, waiter->_index, waiter->_object, rc);
    if (join->pending == 0 && join->self->wait._class != NULL)
        iora__waiter_grant(&join->self->wait, 0);
}

static const struct iora__wait_class gathered = {
    .what = "task", .granted = gather_granted, .joins = true};

/* Collect those that had ended before: last of all, so that who is named twice has a result twice. */
static void
collect_ended(const struct join *join, const iora_task *tasks)
{
    for (size_t i = 0; i < join->count; i++) {
        int rc;
        struct iora__task *const task = iora__task_find(tasks[i], &rc);

        if (task != NULL && task->state == IORA__TASK_DONE)
            iora__task_collect(task);
    }
}

/* Begin to wait for each task, or take its result if it has one. */
static void
gather_begin(struct join *join, const iora_task *tasks)
{
    bool some_had_ended = false;

    for (size_t i = 0; i < join->count; i++)
        join->waiters[i]._queue = NULL;
    for (size_t i = 0; i < join->count; i++) {
        int rc;
        struct iora__task *const task = iora__task_find(tasks[i], &rc);

        if (task == NULL) {
            gather_one(join, i, NULL, rc);
        } else if (task->state == IORA__TASK_DONE) {
            gather_one(join, i, task, iora__task_result(task));
            some_had_ended = true;
        } else if (waits_for(task, join->self)) {
            gather_one(join, i, NULL, -EDEADLK);
        } else {
            join_add(join, i, task, &gathered);
            if (join->rc < 0)
                iora__task_cancel(task);
        }
    }
    if (some_had_ended)
        collect_ended(join, tasks);
}

static int
gather_joined(struct join *join, const iora_task *tasks, bool cancelled)
{
    int rc = 0;

    gather_begin(join, tasks);
    if (cancelled)
        cancel_pending(join);
    if (join->pending > 0) {
        (void)iora__wait_begin(join->self, cancelled ? &gather_ends : &gathering, join, NULL);
        rc = iora__park(join->self);
    }
    if (cancelled || rc == -ECANCELED)
        return -ECANCELED;
    return join->rc;
}

/* ---- several, without memory for waiters ----------------------------------------------------------------------- */

/* The first that has failed or cannot be awaited; n if none has. *ended: whether none is left to wait for. */
static size_t
find_failed(struct iora__task *self, const iora_task *tasks, size_t n, bool *ended)
{
    *ended = true;
    for (size_t i = 0; i < n; i++) {
        int rc;
        const struct iora__task *const task = iora__task_find(tasks[i], &rc);

        if (task == NULL || (task->state == IORA__TASK_DONE ? iora__task_result(task) < 0
                                                            : waits_for(task, self)))
            return i;
        *ended &= task->state == IORA__TASK_DONE;
    }
    return n;
}

/* All but those that are not awaited either: they wait for self, or are it. */
static void
cancel_all(struct iora__task *self, const iora_task *tasks, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int rc;
        struct iora__task *const task = iora__task_find(tasks[i], &rc);

        if (task != NULL && !waits_for(task, self))
            iora__task_cancel(task);
    }
}

/* The gather has entered once: each of these is no call that ignores a cancel. */
static int
await_in_turn(struct iora__task *self, iora_task handle)
{
    return await_entered(self, handle, self->cancelled ? -ECANCELED : 0);
}

/* One after the other; the one that has failed (n: none) last, so that its error is the latest. */
static int
gather_in_turn(struct iora__task *self, int *codes, const iora_task *tasks, size_t n,
               size_t failed)
{
    int cancelled = 0, rc;

    for (size_t i = 0; i < n; i++) {
        if (i == failed)
            continue;
        if ((rc = await_in_turn(self, tasks[i])) == -ECANCELED && cancelled == 0)
            cancel_all(self, tasks, n);
        cancelled = rc == -ECANCELED ? rc : cancelled;
        if (codes != NULL)
            codes[i] = rc == -ECANCELED ? IORA_E_TASK_CANCELED : rc;
    }
    rc = failed < n ? await_in_turn(self, tasks[failed]) : 0;
    return cancelled < 0 ? cancelled : rc;
}

static int
gather_without_memory(struct iora__task *self, int *codes, const iora_task *tasks, size_t n)
{
    size_t failed = n;
    bool ended = false;

    while (codes == NULL && failed == n && !ended && !self->cancelled) {
        failed = find_failed(self, tasks, n, &ended);
        if (failed == n && !ended)
            (void)iora_sleep(iora_ms(1));
    }
    if (failed < n || self->cancelled)
        cancel_all(self, tasks, n);
    return gather_in_turn(self, codes, tasks, n, failed);
}

/* ---- gather -------------------------------------------------------------------------------------------------------- */

static int
gather(int *codes, const iora_task *tasks, size_t n)
{
    struct iora__task *const self = iora__self();
    struct join join;
    int rc = iora__enter(self);

    if (rc < 0 && rc != -ECANCELED)
        return rc;
    if (join_init(&join, self, n) < 0)
        return gather_without_memory(self, codes, tasks, n);
    join.codes = codes;
    rc = gather_joined(&join, tasks, rc == -ECANCELED);
    join_fini(&join);
    return rc;
}

int
iora_gather_n(const iora_task *tasks, size_t n)
{
    return gather(NULL, tasks, n);
}

int
iora_gather_all_n(int *codes, const iora_task *tasks, size_t n)
{
    return codes != NULL || n == 0 ? gather(codes, tasks, n) : -EINVAL;
}

/* ---- wait ---------------------------------------------------------------------------------------------------------- */

static void
remove_waiters(struct join *join)
{
    for (size_t i = 0; i < join->count; i++) {
        if (join->waiters[i]._queue != NULL)
            iora__waitq_remove(&join->waiters[i]);
    }
}

static bool
has_seen_enough(const struct join *join)
{
    return join->done == join->count ||
           (join->what == IORA_FIRST_COMPLETED && join->done > 0) ||
           (join->what == IORA_FIRST_ERROR && join->failed);
}

static void
see_one(struct join *join, int rc)
{
    join->done++;
    join->failed |= rc < 0;
}

static void
looked_granted(struct iora__waiter *waiter, int rc)
{
    struct join *const join = waiter->_slot;

    see_one(join, rc);
    if (has_seen_enough(join) && join->self->wait._class != NULL)
        iora__waiter_grant(&join->self->wait, 0);
}

static const struct iora__wait_class looking = {
    .what = "task", .granted = looked_granted, .only_looks = true};
static const struct iora__wait_class waiting = {.what = "some of several tasks",
                                                .cancel = iora__wait_cancel};

static int
check_all(const struct iora__task *self, const iora_task *tasks, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int rc;
        const struct iora__task *const task = iora__task_find(tasks[i], &rc);

        if (task == NULL)
            return rc;
        if (task == self)
            return -EDEADLK;
    }
    return 0;
}

static int
wait_joined(struct join *join, const iora_task *tasks)
{
    int rc = 0;

    for (size_t i = 0; i < join->count; i++) {
        struct iora__task *const task = tasks[i]._block;

        join->waiters[i]._queue = NULL;
        if (task->state == IORA__TASK_DONE)
            see_one(join, iora__task_result(task));
        else
            join_add(join, i, task, &looking);
    }
    if (!has_seen_enough(join)) {
        (void)iora__wait_begin(join->self, &waiting, join, NULL);
        rc = iora__park(join->self);
    }
    remove_waiters(join);
    return rc < 0 ? rc : (int)join->done;
}

int
iora_wait(const iora_task *tasks, size_t n, iora_wait_until what)
{
    struct iora__task *const self = iora__self();
    struct join join;
    int rc;

    if ((rc = iora__enter(self)) < 0 || (rc = check_all(self, tasks, n)) < 0 ||
        (rc = join_init(&join, self, n)) < 0)
        return rc;
    join.what = what;
    rc = wait_joined(&join, tasks);
    join_fini(&join);
    return rc;
}
