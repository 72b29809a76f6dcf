/* task/generator.c -- async generators: a task in lock step with its consumer.
 *
 *   unstarted --next--> running --emit--> emitted --next--> running ... --returns--> DONE, collected
 *                          ^                  |
 *                          `------------------'   control passes back and forth without the ready queue
 *
 * A generator is a child of the task that consumes it, and is in no ready queue until it is asked. The
 * consumer waits on the generator's joiners, as for any task: so its end needs nothing special. Emitting
 * takes the consumer off that queue and hands over to him.
 *
 * Invariants:
 * (1) Between two nexts the generator waits in emit, and nothing but next, close, or the cancel of its root
 *     (its owner ends) wakes it. A deadline of its own that passes meanwhile is told by emit when it is asked
 *     again, so that it never runs behind its consumer's back.
 * (2) A generator that was cancelled as a whole emits no more: also if it was cancelled already, by a deadline
 *     that it has not heard of, and if it stands in a cleanup scope, which hides the cancel.
 */
#include "task/task.h"

/* ---- the generator's side ----------------------------------------------------------------------------------- */

static void
hear_when_asked(struct iora__waiter *waiter)
{
    (void)waiter;
}

static const struct iora__wait_class emitted = {.what = "its consumer to ask for more",
                                                .cancel = hear_when_asked};

void
iora__generator_cancelled(struct iora__task *task)
{
    if (task->wait._class == &emitted)
        iora__waiter_grant(&task->wait, -ECANCELED);
    else if (task->state == IORA__TASK_READY && !iora__link_is_linked(&task->ready._link))
        iora__ready_push(task->loop, &task->ready); /* nobody has asked it yet; it must run to end */
}

/* 0 if it may hand something over. */
static inline int
check_emit(const struct iora__task *self)
{
    if (!self->is_generator)
        return -EINVAL;
    return self->consumer == NULL || self->root_cancelled ? -ECANCELED : 0;
}

static inline int
hand_to_consumer(struct iora__task *self)
{
    struct iora__task *const consumer = self->consumer;

    self->consumer = NULL;
    iora__waitq_remove(&consumer->wait);
    consumer->wait._class = NULL;
    consumer->coro.context.result = 1;
    (void)iora__wait_begin(self, &emitted, consumer, NULL);
    return iora__hand_over(self, consumer);
}

/* iora_emit() in two steps, between which it writes: who is refused must not have written. */
int
iora__emit_begin(void)
{
    struct iora__task *const self = iora__self();
    const int rc = iora__enter(self);

    return rc < 0 ? rc : check_emit(self);
}

int
iora__emit_end(void)
{
    struct iora__task *const self = iora__self();

    IORA__KNOWN(self != NULL); /* or it has not begun */
    return hand_to_consumer(self);
}

int
iora_emit_ready(void)
{
    const int rc = iora__emit_begin();

    return rc < 0 ? rc : iora__emit_end();
}

/* ---- the consumer's side ------------------------------------------------------------------------------------- */

static struct iora__task *
generator_of(const struct iora__waiter *waiter)
{
    return waiter->_object;
}

/* The generator has ended. */
static void
next_granted(struct iora__waiter *waiter, int rc)
{
    struct iora__task *const self = waiter->_task;
    const int code = waiter->_rc != 0 ? waiter->_rc : rc < 0 ? rc : 0;

    waiter->_class = NULL;
    generator_of(waiter)->consumer = NULL;
    if (code < 0 && code != -ECANCELED)
        iora__error_note(self, code, generator_of(waiter), "generator %s",
                         generator_of(waiter)->name);
    iora__wake(self, code);
}

static void
cancel_generator(struct iora__waiter *waiter)
{
    iora__task_cancel(generator_of(waiter));
}

static const struct iora__wait_class next_ends = {.what = "a generator (both are cancelled)",
                                                  .pass_on = cancel_generator,
                                                  .granted = next_granted,
                                                  .holder = generator_of};

static void
cancel_next(struct iora__waiter *waiter)
{
    waiter->_class = &next_ends;
    waiter->_rc = -ECANCELED;
    generator_of(waiter)->consumer = NULL;
    iora__cancel_pass_on(waiter);
}

static const struct iora__wait_class next = {.what = "a generator",
                                             .cancel = cancel_next,
                                             .granted = next_granted,
                                             .holder = generator_of};

/* Closing: being cancelled is what it was asked for. */
static void
close_granted(struct iora__waiter *waiter, int rc)
{
    waiter->_class = NULL;
    iora__wake(waiter->_task, rc < 0 && rc != IORA_E_TASK_CANCELED ? rc : 0);
}

static const struct iora__wait_class closing = {
    .what = "a generator to close", .granted = close_granted, .holder = generator_of};

iora_gen
iora__gen_open(const char *site, iora_task handle)
{
    const struct iora__task *const self = iora__self();
    struct iora__task *const task = handle._block;
    int rc;

    if (task == NULL)
        return (iora_gen){handle};
    rc = self == NULL || self->state != IORA__TASK_RUNNING
             ? IORA_E_NO_TASK /* none, or one that takes no more children */
             : iora__task_adopt(task, IORA__GO_CHILD, NULL, 0, site);
    if (rc < 0) {
        iora__task_discard(task);
        return (iora_gen){iora__task_null(rc)};
    }
    task->is_generator = true;
    return (iora_gen){handle};
}

/* The generator of a handle, if the current task may use it. */
static struct iora__task *
find_own(iora_gen gen, const struct iora__task *self, int *rc)
{
    struct iora__task *const task = iora__task_find(gen._task, rc);

    if (task == NULL)
        return NULL;
    if (!task->is_generator)
        *rc = -EINVAL;
    else if (task->owner != &self->children)
        *rc = -EBUSY;
    return *rc < 0 ? NULL : task;
}

/* The result of one that ended while nobody asked: its owner cannot have, so it was cancelled. */
static int
take_end(struct iora__task *self, struct iora__task *task)
{
    const int rc = iora__task_result(task);

    if (rc < 0)
        iora__error_note(self, rc, task, "generator %s", task->name);
    iora__task_collect(task);
    return rc < 0 ? rc : 0;
}

/* Whether it stands in emit or has not begun: then next hands over to it, else it is on its way already. */
static bool
is_asleep(const struct iora__task *task)
{
    return task->wait._class == &emitted ||
           (task->state == IORA__TASK_READY && !iora__link_is_linked(&task->ready._link));
}

/* Who is cancelled before it even asks closes the generator all the same. */
static int
close_cancelled(struct iora__task *self, struct iora__task *task)
{
    if (task->state == IORA__TASK_DONE) {
        iora__task_collect(task);
        return -ECANCELED;
    }
    iora__task_cancel(task);
    iora__waitq_push(&task->joiners, iora__wait_begin(self, &next_ends, task, NULL));
    self->wait._rc = -ECANCELED;
    return iora__park(self);
}

int
iora_gen_next(iora_gen gen)
{
    struct iora__task *const self = iora__self();
    const int entered = iora__enter(self);
    struct iora__task *task;
    int rc;

    if (self == NULL || (task = find_own(gen, self, &rc)) == NULL)
        return entered < 0 ? entered : rc;
    if (entered < 0)
        return close_cancelled(self, task);
    if (task->state == IORA__TASK_DONE)
        return take_end(self, task);
    iora__waitq_push(&task->joiners, iora__wait_begin(self, &next, task, NULL));
    task->consumer = self;
    if (!is_asleep(task))
        return iora__park(self);
    task->wait._class = NULL;
    task->coro.context.result = task->cancelled ? -ECANCELED : 0;
    return iora__hand_over(self, task);
}

int
iora_gen_close(iora_gen gen)
{
    struct iora__task *const self = iora__self();
    struct iora__task *task;
    int rc;

    if (self == NULL)
        return iora__enter_slowly(NULL);
    iora__seam_moment(IORA__MOMENT_ENTER, self);
    if ((task = find_own(gen, self, &rc)) == NULL)
        return rc == -ESRCH || !iora_task_is_valid(gen._task) ? 0 : rc;
    if (task->state == IORA__TASK_DONE) {
        rc = take_end(self, task);
        return rc == IORA_E_TASK_CANCELED ? 0 : rc;
    }
    task->consumer = NULL;
    iora__task_cancel(task);
    iora__waitq_push(&task->joiners, iora__wait_begin(self, &closing, task, NULL));
    return iora__park(self);
}

void
iora__gen_leave(struct iora__gen_loop *loop)
{
    const int rc = iora_gen_close(loop->_gen);

    if (*loop->_rc > 0) /* left in the middle: how the generator took it is the result */
        *loop->_rc = rc;
}
