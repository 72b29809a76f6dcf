/* sync/select.c -- wait for one of several things, of which exactly one then happens.
 *
 * Each clause has a *try*, which does the thing if it can be done at once, and a *start*, which puts the
 * clause's own waiter (or timer, or poll op) where it will be told. First all are tried in order; if none can
 * happen all are started, and the task waits.
 *
 * The first waiter that is granted *wins*: in that instant, before the granter goes on, all the others are
 * taken back, so nothing else can happen. The task is woken with the winner's index. A poll op that cannot be
 * taken back at once (a backend that completes late) holds the wake-up until it has ended.
 *
 *     trying --one can--> its index
 *        `--none--> waiting --a clause is granted, or cancelled--> settled --last op has ended--> resumed
 */
#include "sync/select.h"

#include "sync/sync.h"

enum { CLAUSES_MAX = 64 };

struct iora__select {
    struct iora__task *self;
    iora_clause *clauses;
    size_t count;
    size_t ops_ending; /* poll ops that were cancelled and have not ended */
    bool settled;
    int outcome;       /* the winner's index, or -ECANCELED */
};

/* ---- settling ---------------------------------------------------------------------------------------------------- */

static void
resume_if_ended(struct iora__select *select)
{
    if (select->settled && select->ops_ending == 0 && select->self->wait._class != NULL)
        iora__waiter_grant(&select->self->wait, select->outcome);
}

/* It is decided: take back all clauses but the winner (an index, or count for none). */
static void
settle(struct iora__select *select, int outcome, size_t winner)
{
    select->settled = true;
    select->outcome = outcome;
    for (size_t i = 0; i < select->count; i++) {
        if (i != winner)
            select->clauses[i]._class->stop(&select->clauses[i], select);
    }
    resume_if_ended(select);
}

static void
win(struct iora__select *select, iora_clause *clause, int rc)
{
    const size_t index = (size_t)(clause - select->clauses);

    clause->rc = rc;
    settle(select, (int)index, index);
}

static void
clause_granted(struct iora__waiter *waiter, int rc)
{
    iora_clause *const clause = iora__container_of(waiter, iora_clause, _waiter);

    waiter->_class = NULL;
    win(waiter->_task->wait._object, clause, rc);
}

static const struct iora__wait_class clause_wait = {.what = "select", .granted = clause_granted};

/* ---- clauses that wait in a queue ----------------------------------------------------------------------------------- */

int
iora__clause_start_in(struct iora__waitq *queue, iora_clause *clause, struct iora__select *select)
{
    clause->_waiter = (struct iora__waiter){._task = select->self,
                                            ._class = &clause_wait,
                                            ._object = clause->_object,
                                            ._slot = clause->_slot};
    iora__waitq_push(queue, &clause->_waiter);
    return 0;
}

void
iora__clause_stop_in_queue(iora_clause *clause, struct iora__select *select)
{
    (void)select;
    if (clause->_waiter._queue != NULL)
        iora__waitq_remove(&clause->_waiter);
    clause->_waiter._class = NULL;
}

static enum iora__attempt
try_get(iora_clause *clause, struct iora__task *self)
{
    (void)self;
    return iora__attempted(clause, iora_queue_get_nowait(clause->_object, clause->_slot));
}

static int
start_get(iora_clause *clause, struct iora__select *select)
{
    return iora__clause_start_in(&((iora_queue *)clause->_object)->_getters, clause, select);
}

static enum iora__attempt
try_put(iora_clause *clause, struct iora__task *self)
{
    (void)self;
    return iora__attempted(clause, iora_queue_put_nowait(clause->_object, clause->_slot));
}

static int
start_put(iora_clause *clause, struct iora__select *select)
{
    return iora__clause_start_in(&((iora_queue *)clause->_object)->_putters, clause, select);
}

static enum iora__attempt
try_receive(iora_clause *clause, struct iora__task *self)
{
    (void)self;
    return iora__attempted(clause, iora_channel_receive_nowait(clause->_object, clause->_slot));
}

static int
start_receive(iora_clause *clause, struct iora__select *select)
{
    return iora__clause_start_in(&((iora_channel *)clause->_object)->_receivers, clause, select);
}

static enum iora__attempt
try_send(iora_clause *clause, struct iora__task *self)
{
    (void)self;
    return iora__attempted(clause, iora_channel_send_nowait(clause->_object, clause->_slot));
}

static int
start_send(iora_clause *clause, struct iora__select *select)
{
    return iora__clause_start_in(&((iora_channel *)clause->_object)->_senders, clause, select);
}

static enum iora__attempt
try_acquire(iora_clause *clause, struct iora__task *self)
{
    (void)self;
    return iora__attempted(clause, iora_semaphore_acquire_nowait(clause->_object));
}

static int
start_acquire(iora_clause *clause, struct iora__select *select)
{
    return iora__clause_start_in(&((iora_semaphore *)clause->_object)->_waiters, clause, select);
}

static enum iora__attempt
try_lock(iora_clause *clause, struct iora__task *self)
{
    const int rc = iora_lock_acquire_nowait(clause->_object);

    (void)self;
    return rc == -EDEADLK ? IORA__WAITS_FOR_ITSELF : iora__attempted(clause, rc);
}

static int
start_lock(iora_clause *clause, struct iora__select *select)
{
    return iora__clause_start_in(&((iora_lock *)clause->_object)->_waiters, clause, select);
}

static enum iora__attempt
try_event(iora_clause *clause, struct iora__task *self)
{
    (void)self;
    return iora_event_is_set(clause->_object) ? iora__happened(clause, 0) : IORA__NOT_NOW;
}

static int
start_event(iora_clause *clause, struct iora__select *select)
{
    return iora__clause_start_in(&((iora_event *)clause->_object)->_waiters, clause, select);
}

static enum iora__attempt
try_future(iora_clause *clause, struct iora__task *self)
{
    const iora_future *const future = clause->_object;

    (void)self;
    if (!future->_done)
        return IORA__NOT_NOW;
    if (future->_rc >= 0 && clause->_slot != NULL)
        *(void **)clause->_slot = future->_value;
    return iora__happened(clause, future->_rc);
}

static int
start_future(iora_clause *clause, struct iora__select *select)
{
    return iora__clause_start_in(&((iora_future *)clause->_object)->_waiters, clause, select);
}

/* ---- tasks ------------------------------------------------------------------------------------------------------------ */

static iora_task
task_of_clause(const iora_clause *clause)
{
    return (iora_task){clause->_object, (uint64_t)clause->_when_ns};
}

static enum iora__attempt
try_task(iora_clause *clause, struct iora__task *self)
{
    int rc;
    struct iora__task *const task = iora__task_find(task_of_clause(clause), &rc);

    if (task == NULL)
        return iora__happened(clause, rc);
    if (task == self)
        return IORA__WAITS_FOR_ITSELF;
    if (task->state != IORA__TASK_DONE)
        return IORA__NOT_NOW;
    return iora__happened(clause, iora__task_take_result(self, task));
}

static void
task_granted(struct iora__waiter *waiter, int rc)
{
    iora__error_note_await(waiter->_task, waiter->_object, rc);
    clause_granted(waiter, rc);
}

static const struct iora__wait_class task_wait = {.what = "select", .granted = task_granted};

static int
start_task(iora_clause *clause, struct iora__select *select)
{
    (void)iora__clause_start_in(&((struct iora__task *)clause->_object)->joiners, clause, select);
    clause->_waiter._class = &task_wait;
    return 0;
}

/* ---- time --------------------------------------------------------------------------------------------------------------- */

static void
clause_timer_fires(struct iora__timer *timer)
{
    iora_clause *const clause = iora__container_of(timer, iora_clause, _u._timer);

    win(clause->_object, clause, 0);
}

static enum iora__attempt
try_time(iora_clause *clause, struct iora__task *self)
{
    const bool is_duration = clause->_slot != NULL; /* counts from here, at each select anew */
    const int64_t when_ns = is_duration
                                ? iora__loop_deadline(self->loop, iora_ns(clause->_when_ns))
                                : clause->_when_ns;

    clause->_u._timer._deadline_ns = when_ns;
    return when_ns <= iora__loop_now_ns(self->loop) ? iora__happened(clause, 0) : IORA__NOT_NOW;
}

static int
start_time(iora_clause *clause, struct iora__select *select)
{
    const int64_t when_ns = clause->_u._timer._deadline_ns;

    clause->_object = select;
    clause->_u._timer = (struct iora__timer){._fire = clause_timer_fires};
    if (when_ns != INT64_MAX)
        iora__loop_timer_set(select->self->loop, &clause->_u._timer, when_ns);
    return 0;
}

static void
stop_time(iora_clause *clause, struct iora__select *select)
{
    iora__loop_timer_clear(select->self->loop, &clause->_u._timer);
}

/* ---- descriptors ----------------------------------------------------------------------------------------------------------- */

static void
clause_polled(struct iora__op *op)
{
    iora_clause *const clause = iora__container_of(op, iora_clause, _u._op);
    struct iora__select *const select = clause->_object;

    if (!select->settled) {
        win(select, clause, op->_res < 0 ? op->_res : 0);
    } else {
        select->ops_ending--;
        resume_if_ended(select);
    }
}

static enum iora__attempt
try_descriptor(iora_clause *clause, struct iora__task *self)
{
    (void)clause;
    (void)self;
    return IORA__NOT_NOW; /* only the kernel knows: it answers when the op is submitted */
}

static int
start_descriptor(iora_clause *clause, struct iora__select *select)
{
    int rc;

    clause->_u._op = (struct iora__op){._done = clause_polled,
                                       ._fd = (int)clause->_when_ns,
                                       ._kind = IORA__OP_POLL,
                                       ._events = (uint8_t)(uintptr_t)clause->_slot};
    clause->_object = select;
    rc = iora__op_submit(select->self->loop, &clause->_u._op);
    if (rc == IORA__OP_PENDING)
        return 0;
    if (rc == IORA__OP_DONE)
        rc = clause->_u._op._res;
    return rc == -EPERM || rc > 0 ? IORA__OP_DONE : rc; /* a file that is always ready */
}

static void
stop_descriptor(iora_clause *clause, struct iora__select *select)
{
    struct iora__op *const op = &clause->_u._op;

    if (op->_state != IORA__OP_IDLE &&
        iora__op_cancel(select->self->loop, op) == IORA__OP_PENDING)
        select->ops_ending++;
}

/* ---- select ------------------------------------------------------------------------------------------------------------------ */

static void
cancel_select(struct iora__waiter *waiter)
{
    struct iora__select *const select = waiter->_object;

    if (!select->settled)
        settle(select, -ECANCELED, select->count);
}

static const struct iora__wait_class selecting = {.what = "one of several things",
                                                  .cancel = cancel_select};

/* The first that can happen at once; -EDEADLK; -EAGAIN for none. */
static int
try_all(iora_clause *clauses, size_t n, struct iora__task *self)
{
    for (size_t i = 0; i < n; i++) {
        switch (clauses[i]._class->try_now(&clauses[i], self)) {
        case IORA__HAPPENED:
            return (int)i;
        case IORA__WAITS_FOR_ITSELF:
            return -EDEADLK;
        case IORA__NOT_NOW:
            break;
        }
    }
    return -EAGAIN;
}

/* Start all. One that answers at once has happened; those before it are taken back. */
static void
start_all(struct iora__select *select)
{
    for (size_t i = 0; i < select->count; i++) {
        iora_clause *const clause = &select->clauses[i];
        const int rc = clause->_class->start(clause, select);

        if (rc != 0) {
            select->count = i;
            clause->rc = rc > 0 ? 0 : rc;
            settle(select, (int)i, select->count);
            return;
        }
    }
}

int
iora_select(iora_clause *clauses, size_t n)
{
    struct iora__task *const self = iora__self();
    struct iora__select select = {.self = self, .clauses = clauses, .count = n};
    int rc;

    if ((rc = iora__enter(self)) < 0)
        return rc;
    if (n == 0 || n > CLAUSES_MAX)
        return -EINVAL;
    if ((rc = try_all(clauses, n, self)) != -EAGAIN)
        return rc;
    start_all(&select);
    if (select.settled && select.ops_ending == 0)
        return select.outcome;
    (void)iora__wait_begin(self, &selecting, &select, NULL);
    return iora__park(self);
}

/* ---- making clauses --------------------------------------------------------------------------------------------------------------- */

#define QUEUED(name)                                                                               \
    static const struct iora__clause_class name##_clause = {                                       \
        .try_now = try_##name, .start = start_##name, .stop = iora__clause_stop_in_queue}

QUEUED(get);
QUEUED(put);
QUEUED(receive);
QUEUED(send);
QUEUED(acquire);
QUEUED(lock);
QUEUED(event);
QUEUED(future);
QUEUED(task);
static const struct iora__clause_class time_clause = {
    .try_now = try_time, .start = start_time, .stop = stop_time};
static const struct iora__clause_class descriptor_clause = {
    .try_now = try_descriptor, .start = start_descriptor, .stop = stop_descriptor};

static iora_clause
make(const struct iora__clause_class *class, void *object, void *slot)
{
    return (iora_clause){._class = class, ._object = object, ._slot = slot};
}

iora_clause
iora_on_get(iora_queue *queue, void *item)
{
    return make(&get_clause, queue, item);
}

iora_clause
iora_on_put(iora_queue *queue, const void *item)
{
    return make(&put_clause, queue, (void *)item);
}

iora_clause
iora_on_receive(iora_channel *channel, void *item)
{
    return make(&receive_clause, channel, item);
}

iora_clause
iora_on_send(iora_channel *channel, const void *item)
{
    return make(&send_clause, channel, (void *)item);
}

iora_clause
iora_on_acquire(iora_semaphore *semaphore)
{
    return make(&acquire_clause, semaphore, NULL);
}

iora_clause
iora_on_lock(iora_lock *lock)
{
    return make(&lock_clause, lock, NULL);
}

iora_clause
iora_on_event(iora_event *event)
{
    return make(&event_clause, event, NULL);
}

iora_clause
iora_on_task(iora_task task)
{
    iora_clause clause = make(&task_clause, task._block, NULL);

    clause._when_ns = (int64_t)task._id;
    return clause;
}

iora_clause
iora_on_future(iora_future *future, void **value)
{
    return make(&future_clause, future, value);
}

static iora_clause
on_descriptor(int fd, uintptr_t events)
{
    iora_clause clause = make(&descriptor_clause, NULL, (void *)events);

    clause._when_ns = fd;
    return clause;
}

iora_clause
iora_on_readable(int fd)
{
    return on_descriptor(fd, IORA__READABLE);
}

iora_clause
iora_on_writable(int fd)
{
    return on_descriptor(fd, IORA__WRITABLE);
}

iora_clause
iora_on_sleep(iora_duration d)
{
    iora_clause clause = make(&time_clause, NULL, (void *)(uintptr_t)1); /* see try_time() */

    clause._when_ns = d._ns;
    return clause;
}

iora_clause
iora_on_sleep_until(iora_instant when)
{
    iora_clause clause = make(&time_clause, NULL, NULL);

    clause._when_ns = when._ns;
    return clause;
}
