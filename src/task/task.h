/* task/task.h -- a task's control block, the scheduler's part of a loop, and how a task waits.
 *
 * For the layers above (sync/): to make a task wait, fill in its own waiter, put it on a queue, and end
 * in a tail call to iora__park(). To wake it: iora__waiter_grant(). Theory in sched.c and waiter.c.
 */
#ifndef IORA_TASK_TASK_H
#define IORA_TASK_TASK_H

#include <iora.h>

#include "core/loop.h"
#include "coro/context.h"
#include "coro/stack.h"
#include "sys/seam.h"

enum iora__task_state {
    IORA__TASK_FREE,     /* the block is in the free list; its id is 0 */
    IORA__TASK_MADE,     /* has arguments and no owner yet */
    IORA__TASK_READY,    /* started, has not run */
    IORA__TASK_RUNNING,  /* its function has begun: running, ready or waiting */
    IORA__TASK_ENDING,   /* its function has returned; its children have not all ended */
    IORA__TASK_DONE      /* ended, not yet collected */
};

enum iora__owner_kind { IORA__OWNER_TASK, IORA__OWNER_GROUP, IORA__OWNER_RUN };

enum {
    IORA__FUEL = 128,        /* operations in a row that need not suspend */
    IORA__ARGUMENTS = 64,    /* bytes of arguments that fit in the block */
    IORA__DEAF_AFTER = 1000  /* deliveries of a cancel that a task may ignore */
};

/* What a kind of waiting is: how it ends other than by being granted, and how it is told to people. */
struct iora__wait_class {
    const char *what; /* "lock", "sleep": stands in reports */
    /* The waiter's scope was cancelled. Ends the wait by iora__waiter_grant(w, -ECANCELED), or lets it
     * go on, having changed _class to one that is not cancelled again. NULL: the wait goes on. */
    void (*cancel)(struct iora__waiter *waiter);
    /* Of one that goes on: hand the cancel to what it waits for (iora__cancel_pass_on()). */
    void (*pass_on)(struct iora__waiter *waiter);
    /* It was granted, and taken out of its queue. NULL: the task goes on with the code. Clauses of a
     * select and waits for several tasks have more to do. */
    void (*granted)(struct iora__waiter *waiter, int rc);
    /* What it waited for has failed, and it is about to be told so: a chance to record why. May be NULL. */
    void (*failed)(struct iora__waiter *waiter, int rc);
    /* The task that must act for this wait to end, if it is one known task; NULL if not. */
    struct iora__task *(*holder)(const struct iora__waiter *waiter);
    bool names_descriptor; /* its `slot` is a descriptor's number */
    bool only_looks; /* waiting for a task this way does not collect it */
    bool joins;      /* nothing but that task's end, or those tasks', lets the waiter go on */
};

struct iora__locals;
struct iora__error_record;

struct iora__task {
    /* What a switch touches: one cache line. */
    struct iora__coro coro;
    struct iora__ready ready;
    int16_t fuel;      /* operations left; <= 0 makes the next one take the slow way */
    int16_t fuel_full; /* what it is set to at each resumption: 0 while cancelled */
    uint8_t state;
    bool cancelled;      /* some scope between here and the nearest shield is, or the shield itself */
    bool root_cancelled; /* iora_cancel() */
    uint8_t stack_class;

    struct iora__waiter wait; /* the one thing it waits for */

    iora_loop *loop;
    uint64_t id; /* 0 while the block is free */
    struct iora__owner *owner;
    struct iora__link sibling;
    struct iora__owner children;

    /* From here to `is_detached` all is zero in a new task. */
    iora_scope *scope; /* the innermost; NULL: only the root */
    struct iora__waitq joiners;
    struct iora__link on_done; /* handles that wait for its end */
    struct iora__locals *locals;
    struct iora__error_record *error;
    struct iora__task *consumer; /* of a generator: who waits for it to emit; of a free block: the next */
    int32_t result;
    uint32_t deliveries; /* of the cancel in force */
    bool name_is_ours;
    bool arguments_on_heap;
    bool is_generator;
    bool is_detached;

    uint32_t stack_slot;
    char *stack_base;
    const char *name;
    const char *site;
    int (*enter)(void *);
    struct iora__task *searched; /* await.c's; NULL but during a search */
    /* The arguments are read before anything can be waited for. */
    union {
        void *arguments; /* arguments_inline, the heap, or what a plain function was given */
        int64_t waiting_since_ns;
    };
    union {
        char arguments_inline[IORA__ARGUMENTS] __attribute__((aligned(16)));
        struct iora__timer timer;
        struct iora__op op;
    } u;
};

struct iora__block_slab;
struct iora__site_use;
struct iora__alternate_stack;

/* The scheduler's part of a loop. */
struct iora__sched {
    iora_loop *loop;
    struct iora__coro loop_coro; /* the loop's own stack */
    struct iora__stacks stacks;
    struct iora__task *free_blocks;
    struct iora__block_slab *slabs;
    struct iora__owner run; /* owns the main task, detached ones, and those of callbacks */
    const struct iora__task *main; /* the run's, who alone collects it; NULL: none is run */
    uint64_t next_id, last_id; /* ids taken from the process's counter and not yet used */
    size_t alive;           /* tasks made and not yet collected */
    struct iora__waiter *last_to_pass_on; /* scope.c: of the list of those; NULL: it is empty */
    struct iora__link starved; /* tasks whose stack could not be guarded; tried again by the timer */
    struct iora__timer starved_timer;
    bool starvation_told;
    struct iora__site_use *site_uses; /* debug mode: stack use per spawn site */
    bool watches_overflow;
    struct iora__alternate_stack *alternate_stack; /* NULL: the thread had one, or none is needed */
#if IORA__SWITCH_IS_CALL
    struct iora__coro ended; /* of a task that has left its stack for good: released by the loop's */
    char *ended_base;
    uint32_t ended_slot;
    uint8_t ended_class;
    bool has_ended;
#endif
    uint8_t default_class;
};

/* ---- the current task ------------------------------------------------------------------------------- */

static inline struct iora__task *
iora__self(void)
{
    iora_loop *const loop = iora__running;

    return loop != NULL ? loop->current : NULL;
}

/* The slow way into an operation: no task, a cancelled scope, or the budget used up (others run first).
 * 0: go on. */
int iora__look_at_scope(struct iora__task *task);

static inline int
iora__enter_slowly(struct iora__task *task)
{
    const int rc = iora__look_at_scope(task);

    IORA__KNOWN(rc < 0 || task != NULL);
    return rc;
}

/* Whether the task may go on with an operation as it stands. */
static inline bool
iora__may_enter(struct iora__task *task)
{
    iora__seam_moment(IORA__MOMENT_ENTER, task);
    if (__builtin_expect(task == NULL || task->fuel <= 0, 0))
        return false;
    task->fuel--;
    return true;
}

/* What every suspending function does first: 0, or the code to return with nothing done. */
static inline int
iora__enter(struct iora__task *task)
{
    return iora__may_enter(task) ? 0 : iora__enter_slowly(task);
}

/* The hot ones do it in two functions, so that the usual way needs no stack frame:
 *
 *     if (!iora__may_enter(self))
 *         return get_slowly(self, ...);     which enters slowly, and then does get() too
 *     return get(self, ...);
 */
#define IORA__SLOW __attribute__((noinline, cold))

/* ---- waiting ------------------------------------------------------------------------------------------ */

/* Give the processor to whoever is next; returns what the task is woken with. A tail call wherever
 * nothing is left to do afterwards. */
int iora__park(struct iora__task *task);

/* Give it to `next`, which is not in the ready queue, ahead of all. Always a tail call. */
int iora__hand_over(struct iora__task *task, struct iora__task *next);

static inline void
iora__wake(struct iora__task *task, int rc)
{
    task->coro.context.result = rc;
    iora__ready_push(task->loop, &task->ready);
}

/* Begin to wait: the task's own waiter, for an object. */
static inline struct iora__waiter *
iora__wait_begin(struct iora__task *task, const struct iora__wait_class *class, void *object,
                 void *slot)
{
    struct iora__waiter *const waiter = &task->wait;

    waiter->_class = class;
    waiter->_object = object;
    waiter->_slot = slot;
    waiter->_rc = 0;
    task->waiting_since_ns = task->loop->turn_ns;
    return waiter;
}

static inline void
iora__waitq_push(struct iora__waitq *queue, struct iora__waiter *waiter)
{
    waiter->_queue = queue;
    waiter->_next = NULL;
    waiter->_prev = queue->_last;
    if (queue->_last != NULL)
        queue->_last->_next = waiter;
    else
        queue->_first = waiter;
    queue->_last = waiter;
}

static inline void
iora__waitq_remove(struct iora__waiter *waiter)
{
    struct iora__waitq *const queue = waiter->_queue;

    IORA__KNOWN(queue != NULL);
    if (waiter->_prev != NULL)
        waiter->_prev->_next = waiter->_next;
    else
        queue->_first = waiter->_next;
    if (waiter->_next != NULL)
        waiter->_next->_prev = waiter->_prev;
    else
        queue->_last = waiter->_prev;
    waiter->_queue = NULL;
}

/* End a wait with a code: out of its queue, and its task made ready, or what its class says. A pending
 * -ECANCELED in the waiter's _rc, left by a cancel that had to wait, takes precedence. */
static inline void
iora__waiter_grant(struct iora__waiter *waiter, int rc)
{
    const struct iora__wait_class *const class = waiter->_class;

    IORA__KNOWN(class != NULL); /* it waits */
    if (waiter->_queue != NULL)
        iora__waitq_remove(waiter);
    if (class->granted != NULL) {
        class->granted(waiter, rc);
        return;
    }
    if (rc < 0 && class->failed != NULL && waiter->_rc == 0)
        class->failed(waiter, rc);
    waiter->_class = NULL;
    iora__wake(waiter->_task, waiter->_rc != 0 ? waiter->_rc : rc);
}

/* descriptor.c: submit the op in the task's control block, all of it but _done filled in, and wait for its end.
 * Returns what it ended with. The class's cancel is iora__op_wait_cancel; `object` is the waiter's, from before
 * the op is submitted. Not to be called without looking at the scope first (iora__enter). */
int iora__op_await(struct iora__task *task, const struct iora__wait_class *class, void *object);
void iora__op_wait_cancel(struct iora__waiter *waiter);

/* For a cancel handler: the wait goes on, and the cancel to what it waits for, by the class's pass_on. */
void iora__cancel_pass_on(struct iora__waiter *waiter);

/* A cancel handler for waits that just end. */
void iora__wait_cancel(struct iora__waiter *waiter);

/* Grant all of a queue the same code. */
void iora__waitq_grant_all(struct iora__waitq *queue, int rc);

/* ---- tasks and scopes ----------------------------------------------------------------------------------- */

/* The block of a handle; NULL, and why in *rc, for a null, stale or foreign one. */
struct iora__task *iora__task_find(iora_task handle, int *rc);

static inline iora_task
iora__task_handle(const struct iora__task *task)
{
    return (iora_task){(struct iora__task *)task, task->id};
}

static inline iora_task
iora__task_null(int rc)
{
    return (iora_task){NULL, (uint64_t)-(int64_t)rc};
}

void iora__task_cancel(struct iora__task *task);

/* Work out anew whether the task is cancelled; if it now is and waits, end the wait. */
void iora__task_update(struct iora__task *task);

/* Forget a task that is done: its code, record and block are gone. */
void iora__task_collect(struct iora__task *task);

/* The same for one whose result nobody took: a failure is told to the error hook. */
void iora__task_drop(struct iora__task *task);

/* A task's result as others see it: that it was cancelled is not that they are. */
static inline int
iora__task_result(const struct iora__task *task)
{
    return task->result == -ECANCELED ? IORA_E_TASK_CANCELED : task->result;
}

/* await.c: what awaiting does with a task that has ended, for select too: its code, and the record of a failure
 * in the one who waited; the task is collected. The record alone, where ending wakes who waits. */
int iora__task_take_result(struct iora__task *self, struct iora__task *task);
void iora__error_note_await(struct iora__task *waiter, struct iora__task *awaited, int rc);

/* task.c: the task that owns it, as a child or in a group; NULL if the run does. */
struct iora__task *iora__task_owner(const struct iora__task *task);

/* Cancel all that `owner` owns; wait, cancelled or not, until all of it has ended; forget what has. */
void iora__owner_cancel(struct iora__owner *owner);
int iora__owner_join(struct iora__task *task, struct iora__owner *owner);
void iora__owner_drop_members(struct iora__owner *owner);
void iora__owner_init(struct iora__owner *owner, enum iora__owner_kind kind);

/* generator.c: it was cancelled as a whole; if it sleeps until it is asked, it must wake. */
void iora__generator_cancelled(struct iora__task *task);

/* group.c: a member has ended. True if the member is to be collected at once. */
bool iora__group_member_done(iora_group *group, struct iora__task *member, bool awaited);
/* Whether it takes members; the error that a spawn into it answers if not. */
int iora__group_check(const iora_group *group);

/* ---- scheduler -------------------------------------------------------------------------------------------- */

int iora__sched_make(iora_loop *loop);
/* The two halves of starting a made task: give it owner, stack claim and place (READY, and in no queue yet),
 * or throw it away. */
int iora__task_adopt(struct iora__task *task, enum iora__go how, void *owner, size_t stack_size,
                     const char *site);
void iora__task_discard(struct iora__task *task);
void iora__task_resume(struct iora__ready *ready);

/* future.c: callbacks that wait, for a future or a task, in the ring of a head that may be zero. To add one: 0, or
 * -EBUSY for a handle that is pending; to have all called soon, in the order they were asked for; to forget them. */
int iora__callbacks_add(struct iora__link *callbacks, iora_loop *loop, iora_handle *handle,
                        iora_callback_fn *fn, void *arg);
void iora__callbacks_call_linked(struct iora__link *callbacks);
void iora__callbacks_drop(struct iora__link *callbacks);

static inline void
iora__callbacks_call(struct iora__link *callbacks)
{
    if (iora__link_is_linked(callbacks))
        iora__callbacks_call_linked(callbacks);
}

/* block.c: control blocks. */
int iora__blocks_refill(struct iora__sched *sched);
void iora__blocks_release(struct iora__sched *sched);

/* A block with an id; NULL without memory. */
static inline struct iora__task *
iora__block_alloc(struct iora__sched *sched)
{
    struct iora__task *task;

    if ((sched->free_blocks == NULL || sched->next_id == sched->last_id) &&
        iora__blocks_refill(sched) < 0)
        return NULL;
    task = sched->free_blocks;
    sched->free_blocks = task->consumer;
    task->id = sched->next_id++;
    return task;
}

static inline void
iora__block_free(struct iora__sched *sched, struct iora__task *task)
{
    task->id = 0;
    task->state = IORA__TASK_FREE;
    task->consumer = sched->free_blocks;
    sched->free_blocks = task;
}

/* error.c: the error record. */
void iora__error_note(struct iora__task *task, int code, struct iora__task *cause,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));
void iora__error_free(struct iora__error_record *record);
struct iora__error_record *iora__error_of_end(struct iora__task *task);
void iora__error_append(iora_error **list, iora_error **last, struct iora__error_record *record);
void iora__error_give(struct iora__task *task, iora_error *list, int own_code, int first_code);
void iora__error_report(struct iora__task *task, const char *how);
void iora__error_describe(const struct iora__task *task, char *text, size_t size);

/* local.c: task-locals. */
void iora__locals_inherit(struct iora__task *child, const struct iora__task *parent);
void iora__locals_drop(struct iora__task *task);

/* report.c. */
void iora__report_deadlock(struct iora__sched *sched);
void iora__report_lock_cycle(struct iora__task *task);
struct iora__task *iora__task_blocker(const struct iora__task *task);
void iora__note_stack_use(struct iora__task *task);
void iora__report_stack_uses(struct iora__sched *sched);

/* interrupt.c: have SIGINT cancel the main task, if nobody has said what else it does (*out is NULL then). The
 * end of that: whether one came. To die of it. */
struct iora__interrupt;
int iora__interrupt_watch(struct iora__task *task, struct iora__interrupt **out);
bool iora__interrupt_unwatch(struct iora__interrupt *interrupt);
void iora__interrupt_die(void);

/* overflow.c: name the task that overflows its stack. 0 or -errno; nothing is told if it cannot be. */
int iora__overflow_watch(struct iora__sched *sched);
void iora__overflow_unwatch(struct iora__sched *sched);

#endif
