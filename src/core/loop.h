/* core/loop.h -- the loop's inside, for the layers above (theory in loop.c). */
#ifndef IORA_CORE_LOOP_H
#define IORA_CORE_LOOP_H

#include <iora/loop.h>

#include "backend/backend.h"
#include "core/list.h"
#include "core/timers.h"

#include <pthread.h>

struct iora__lane;
struct iora__mailbox;
struct iora__sched;

/* What may run between two polls, the *slice*: 256 resumptions of tasks, or 61 callbacks, or any
 * mixture of them, in units of which one resumption costs 61 and one callback 256. */
enum {
    IORA__COST_RESUMPTION = 61,
    IORA__COST_CALLBACK = 256,
    IORA__SLICE = IORA__COST_RESUMPTION * IORA__COST_CALLBACK,
    IORA__CALLBACK_TIME_NS = 50 * 1000, /* callbacks that have taken this long end the slice too */
    IORA__SLOW_NS = 100 * 1000 * 1000   /* asyncio's slow_callback_duration: 100 ms */
};

/* For an embedder that brings its own ready queue and its own rules about blocking: Python. */
struct iora__guest {
    void (*drain)(iora_loop *loop, void *arg);   /* run what is ready; replaces the loop's own */
    bool (*is_ready)(iora_loop *loop, void *arg); /* whether anything is */
    void (*before_block)(iora_loop *loop, void *arg);
    void (*after_block)(iora_loop *loop, void *arg);
    void *arg;
};

struct iora_loop {
    /* What a switch between tasks touches. The head of the ready queue has no _run, so that "the
     * first is a task" is one comparison, also when the queue is empty. */
    struct iora__ready ready;
    struct iora__task *current; /* the task that is running; NULL on the loop's own stack */
    int32_t slice;              /* what may still run before the next poll */
    bool debug;
    bool shuffled; /* ready things are picked in a seeded order: no switch from task to task */

    bool stopping;
    bool running;
    bool complete_late;
    bool thread_known;
    pthread_t thread;

    const struct iora__backend *backend;
    void *backend_state;
    struct iora__link late;  /* ops whose completion was held back (complete_late) */
    struct iora__link sides; /* of all watchers */
    struct iora__link listeners; /* to signals */
    struct iora__timers timers;
    struct iora__mailbox *mailbox; /* NULL until a remote is opened, or a job submitted */
    struct iora__lane *lane;       /* what threads do for it; NULL until the first job */
    const struct iora__guest *guest;

    uint64_t random;
    size_t pinned; /* so many at the head of the ready queue go in its order, seeded or not */
    unsigned char *fork_canary; /* reads 1 in our process and 0 in a forked child */
    int pid;                    /* in place of the canary where the kernel has none; else 0 */
    int64_t turn_ns;            /* the clock as of this turn: what needs no exact time reads it */
    int64_t callbacks_began_ns; /* when this slice's first callback began; 0: none yet */
    unsigned callbacks_run;     /* in this slice */

    iora_error_hook *on_error;
    iora_log_hook *on_log;
    void *hook_arg;
    iora_loop_options options;

    struct iora__sched *sched; /* the tasks' part; NULL until the first task */
    void (*sched_free)(struct iora__sched *);
    struct iora__io *io; /* the streams' part; NULL until the first stream */
    void (*io_free)(struct iora__io *);
};

/* The loop this thread is running. The library's one thread-local, initial-exec: the default model
 * costs 2 ns a call. */
extern __thread iora_loop *iora__running __attribute__((tls_model("initial-exec")));

static inline int64_t
iora__loop_now_ns(iora_loop *loop)
{
    return loop->backend->now(loop->backend_state);
}

/* The instant that lies d from now; INT64_MAX for a duration that never ends. */
int64_t iora__loop_deadline(iora_loop *loop, iora_duration d);

static inline void
iora__ready_push(iora_loop *loop, struct iora__ready *ready)
{
    iora__list_push_tail(&loop->ready._link, &ready->_link);
}

/* Before all others, in a seeded order too. */
static inline void
iora__ready_push_first(iora_loop *loop, struct iora__ready *ready)
{
    iora__list_insert_before(loop->ready._link._next, &ready->_link);
    loop->pinned += loop->shuffled;
}

static inline void
iora__loop_timer_set(iora_loop *loop, struct iora__timer *timer, int64_t deadline_ns)
{
    iora__timer_set(&loop->timers, timer, deadline_ns);
}

static inline void
iora__loop_timer_clear(iora_loop *loop, struct iora__timer *timer)
{
    iora__timer_clear(&loop->timers, timer);
}

/* Submit and cancel as the backend's, with completions held back if the loop is to complete late. */
int iora__op_submit(iora_loop *loop, struct iora__op *op);
int iora__op_cancel(iora_loop *loop, struct iora__op *op);

/* In debug mode: tell the log hook of a callback or task that kept the loop from turning. */
void iora__loop_note_duration(iora_loop *loop, int64_t began_ns, const char *what, const void *at);

/* What may run before the next poll begins anew: for a guest's drain, which ends when `slice` is used up. */
void iora__loop_begin_slice(iora_loop *loop);
/* Count a callback against the slice; every eighth one looks at the clock. */
void iora__loop_count_callback(iora_loop *loop);

/* 0, or why this thread and process may not use the loop (told to the log hook). `what` names the
 * call. Looks at the thread in debug mode only. */
int iora__loop_check(iora_loop *loop, const char *what);

bool iora__loop_is_forked(const iora_loop *loop);

/* Whether this thread runs a loop. In a forked child nothing runs the parent's, though its thread was in the
 * middle of it. */
bool iora__thread_is_busy(void);

/* Become the loop this thread runs, and stop being it. */
int iora__loop_enter(iora_loop *loop);
void iora__loop_leave(iora_loop *loop);

/* One turn of an entered loop, waiting until_ns at most (INT64_MIN: not at all). */
int iora__loop_turn(iora_loop *loop, int64_t until_ns);

/* Whether nothing can ever happen again: nothing ready, and no timer, op or remote that could make
 * it so. */
bool iora__loop_is_dead(const iora_loop *loop);

void iora__loop_log(iora_loop *loop, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void iora__loop_report_error(iora_loop *loop, int code, const char *text);

/* The loop's random numbers (seeded: the same ones every time). */
uint64_t iora__loop_random(iora_loop *loop);

/* core/handle.c: make pending callbacks and timers idle, uncalled. */
void iora__handles_drop(iora_loop *loop);

/* core/watcher.c: stop all watchers; free what a backend that completes late held on to, when the loop
 * turns no more. */
void iora__watchers_stop(iora_loop *loop);
void iora__watchers_free(iora_loop *loop);

/* core/listener.c: have all of them listen no longer. */
void iora__listeners_close(iora_loop *loop);

/* core/remote.c: one that need not count as something that can wake the loop. */
int iora__remote_open(iora_loop *loop, bool counts, iora_remote **out);

/* core/remote.c: make the loop's mailbox if it has none; take what other threads sent; whether there is something;
 * free with the loop. */
int iora__mailbox_make(iora_loop *loop);
void iora__mailbox_take(iora_loop *loop);
/* Take one call back that may be on its way. The others stay so: what they call may run in a turn only. */
void iora__mailbox_take_back(iora_loop *loop, const iora_handle *handle);
bool iora__mailbox_has_mail(const iora_loop *loop);
size_t iora__mailbox_remotes(const iora_loop *loop);
void iora__mailbox_shut(iora_loop *loop);

/* Whether senders must wake the loop from now on. Who says that they must looks into the mailbox after it: what came
 * before woke nobody. */
void iora__mailbox_expect_wake(iora_loop *loop, bool expected);
void iora__mailbox_wake(iora_loop *loop);
/* The same for who holds the mailbox, of a loop that may be gone. */
void iora__mailbox_signal(struct iora__mailbox *mailbox);
/* Which thread runs the loop: the one that now does. */
void iora__mailbox_note_thread(iora_loop *loop);

/* A reference for a thread that will return an op, which the loop then finishes (core/lane.c); and its end. */
struct iora__mailbox *iora__mailbox_hold(iora_loop *loop);
void iora__mailbox_return(struct iora__mailbox *mailbox, struct iora__op *op);
void iora__mailbox_release(struct iora__mailbox *mailbox);

/* As iora_remote_call_soon(), but fn is called as the mail is taken, and also if the loop goes before it was:
 * then the handle's _loop is NULL. fn may end the handle's life. */
int iora__remote_deliver(iora_remote *remote, iora_handle *handle, iora_callback_fn *fn, void *arg);
/* Whether it leads into the loop of this thread, running or not. */
bool iora__remote_is_ours(const iora_remote *remote);
/* In a thread that has delivered mail: spin for its answer (os/spin.h); false if it has not come. */
bool iora__remote_spin(iora_remote *remote, bool (*has_come)(void *arg), void *arg);
/* In the loop, about to sleep: who got an answer may have another question at once. */
void iora__mailbox_spin(iora_loop *loop);

#endif
