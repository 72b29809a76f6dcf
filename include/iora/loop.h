/* iora/loop.h -- the event loop: callbacks, timers, watched descriptors, wake-ups.
 *
 * This is the low-level face, for frameworks and for code that lives in another loop. Programs that
 * run async functions need none of it: iora_run() (iora/task.h) makes a loop and ends it.
 *
 * One turn of the loop waits for what the operating system has to tell (not at all while something
 * is ready), makes due timers ready, and runs what is ready, first in first out. Callbacks and tasks
 * share that one queue. A callback runs on the loop's own stack and cannot suspend. Without waiting
 * for the queue to empty, the loop asks the operating system again after 256 resumptions of tasks,
 * after 61 callbacks, or when it finds that callbacks have run for 50 us.
 *
 * Memory     Handles, timers and watchers are the caller's, embedded where he likes; all-zero is
 *            idle. An object that is pending must stay where it is until its callback has begun,
 *            or until it was cancelled or closed.
 * Threads    Everything belongs to the thread that runs the loop, except the iora_remote_* family.
 *            With IORA_DEBUG=1 a call from another thread is refused with IORA_E_WRONG_THREAD and
 *            the log hook is told.
 * Fork       A loop belongs to the process that made it. In a forked child running it returns
 *            IORA_E_FORKED.
 */
#ifndef IORA_LOOP_H
#define IORA_LOOP_H

#include <iora/base.h>

IORA_BEGIN

typedef struct iora_loop iora_loop;
typedef struct iora_remote iora_remote;
typedef struct iora_handle iora_handle;
typedef struct iora_timer iora_timer;
typedef struct iora_watcher iora_watcher;

/** A callback; `arg` is what was given with it. */
typedef void iora_callback_fn(void *arg);

/* ---- the loop ------------------------------------------------------------------------------ */

/** Where a loop's time and events come from. */
typedef enum iora_backend {
    IORA_BACKEND_EPOLL, /* the kernel */
    IORA_BACKEND_SIM    /* simulation: a virtual clock that jumps when everything is blocked */
} iora_backend;

/** Told of an error that nobody can be given: a failed task that nobody awaited, a member of an
 *  isolating group. `text` is whole sentences, valid during the call. Runs on the loop's stack or
 *  on a task's, in the loop's thread; must not suspend. */
typedef void iora_error_hook(void *arg, int code, const char *text);

/** Told what a person should know: deadlock reports, deaf tasks, limits met, and in debug mode slow
 *  callbacks and misuse. `text` may have several lines; valid during the call. */
typedef void iora_log_hook(void *arg, const char *text);

/** How a loop is made. Start from IORA_LOOP_OPTIONS_INIT; every zero means the default. */
typedef struct iora_loop_options {
    size_t size;          /* sizeof(iora_loop_options), set by the initialiser */
    iora_backend backend; /* default: epoll */
    bool complete_late;   /* no operation finishes on the spot: shows that a program can bear it */
    uint64_t seed;        /* not 0: ready things run in an order drawn from this seed (sim only) */
    size_t stack_size;    /* bytes of address space per task, guard included, rounded up to a power of
                             two; 16 KiB to 1 GiB, default 256 KiB */
    bool overflow_report; /* take SIGSEGV to name the task that overflowed its stack; on with
                             `debug` */
    bool debug;           /* as with IORA_DEBUG=1 in the environment */
    iora_error_hook *on_error; /* default: one line to stderr */
    iora_log_hook *on_log;     /* default: stderr */
    void *hook_arg;            /* given to both hooks */
} iora_loop_options;

/* clang-format off */
#define IORA_LOOP_OPTIONS_INIT                                                                     \
    { sizeof(iora_loop_options), IORA_BACKEND_EPOLL, false, 0, 0, false, false, NULL, NULL, NULL }
/* clang-format on */

/**
 * Make a loop. It belongs to the thread that first runs it.
 *
 * `options` may be NULL. Returns 0 and the loop in *out, which the caller frees with
 * iora_loop_free(); -EINVAL (sizes out of range, a seed without sim, a `size` that is not this
 * library's), -ENOMEM, or what epoll_create1(2) says (-EMFILE, -ENFILE).
 */
IORA_API IORA_MUST_USE int iora_loop_new(const iora_loop_options *options, iora_loop **out);

/**
 * Free a loop that is not running, and all it holds: detached tasks are cancelled and joined,
 * pending callbacks and timers are dropped without being called, watchers stop, remotes answer
 * IORA_E_CLOSED from now on. NULL is allowed. Returns 0, or -EBUSY for a loop that is running, or is
 * being freed: the tasks that end in it, and its hooks, may ask.
 */
IORA_API int iora_loop_free(iora_loop *loop);

/**
 * Run until iora_loop_stop() is called. The turn in which it is called is finished first.
 *
 * Returns 0; -EBUSY if this thread is running a loop already; IORA_E_FORKED; IORA_E_WRONG_THREAD in
 * debug mode; or what the backend's wait failed with, -ENOMEM for one (nothing is lost: it may be
 * called again).
 */
IORA_API int iora_loop_run(iora_loop *loop);

/**
 * Run one turn, waiting for at most `max_wait` for something to happen (iora_ns(0): not at all).
 * For a loop that lives in another one (docs/guide/embedding.md). Nobody is told of a deadlock: what the tasks wait
 * for may come from the other loop. Returns 1 if something is ready to run at once, 0 if
 * not, or as iora_loop_run().
 */
IORA_API int iora_loop_run_once(iora_loop *loop, iora_duration max_wait);

/** End iora_loop_run() after the current turn; a stop before the run ends the next one after a turn.
 *  Loop's thread only. */
IORA_API void iora_loop_stop(iora_loop *loop);

/** The loop that this thread is running; NULL for none. */
IORA_API iora_loop *iora_loop_running(void);

/** The loop's clock, read now (about 20 ns). Monotonic; virtual with the sim backend. */
IORA_API iora_instant iora_loop_now(iora_loop *loop);

/**
 * A descriptor for another loop to watch: readable when iora_loop_run_once(loop, iora_ns(0)) has
 * something to do, apart from timers (see iora_loop_timeout()). It is the loop's: never close it.
 * Returns -ENOTSUP for the sim backend, or what epoll_create1(2) says.
 */
IORA_API IORA_MUST_USE int iora_loop_fd(iora_loop *loop);

/** For how long at most another loop may sleep before it must run this one: 0 while something is
 *  ready or a turn is needed to hear of everything, the time until the next timer or the next attempt
 *  to connect to a full backlog, or IORA_FOREVER.
 *  Ask after each run_once(). */
IORA_API iora_duration iora_loop_timeout(iora_loop *loop);

/** Set the hooks (NULL restores the default, stderr) and the argument that both get. */
IORA_API void iora_loop_set_hooks(iora_loop *loop, iora_error_hook *on_error,
                                  iora_log_hook *on_log, void *arg);

/** What is alive in a loop, for tests that want to see nothing left behind. */
typedef struct iora_census {
    size_t tasks;     /* not yet ended, or ended and not yet collected */
    size_t stacks;    /* bound to a task */
    size_t timers;    /* armed */
    size_t ops;       /* operations that the backend holds, watchers included */
    size_t remotes;   /* open */
    size_t ready;     /* callbacks and tasks waiting to run */
} iora_census;

/** Count what is alive. Loop's thread; or any, while the loop does not run. */
IORA_API void iora_loop_census(const iora_loop *loop, iora_census *out);

/* ---- callbacks and timers -------------------------------------------------------------------- */

/** One callback to be run soon. */
struct iora_handle {
    struct iora__ready _ready;
    iora_callback_fn *_fn;
    void *_arg;
    iora_loop *_loop;
    iora_handle *_next_remote;
    int64_t _delay_ns;
};

/** One callback to be run at an instant. */
struct iora_timer {
    struct iora_handle _handle;
    struct iora__timer _timer;
};

/**
 * Run fn(arg) in this or the next turn, after everything that is ready now.
 *
 * Returns 0; -EBUSY if the handle is pending already (it stays so, with its old callback);
 * IORA_E_WRONG_THREAD in debug mode. Cannot fail for want of memory. Loop's thread.
 */
IORA_API int iora_call_soon(iora_loop *loop, iora_handle *handle, iora_callback_fn *fn, void *arg);

/** Run fn(arg) once `delay` has passed, never before; at the next turn if it is 0 or negative, never
 *  if it is IORA_FOREVER. Timers due at the same instant run in the order they were set. A pending
 *  timer is set anew. Returns 0, or IORA_E_WRONG_THREAD in debug mode. Loop's thread. */
IORA_API int iora_call_later(iora_loop *loop, iora_timer *timer, iora_duration delay,
                             iora_callback_fn *fn, void *arg);

/** As iora_call_later(), at an instant of the loop's clock. */
IORA_API int iora_call_at(iora_loop *loop, iora_timer *timer, iora_instant when,
                          iora_callback_fn *fn, void *arg);

/** Make sure that the callback does not run (any more). Returns true if it was pending, false if it
 *  had begun already or was never asked for. The memory is free for use, unless the handle is on its way
 *  from another thread. Loop's thread. */
IORA_API bool iora_handle_cancel(iora_handle *handle);
IORA_API bool iora_timer_cancel(iora_timer *timer);

/** Whether the callback is still to come: it was asked for, also by iora_task_on_done() or
 *  iora_future_on_done(), and has not begun. Loop's thread. */
IORA_API bool iora_handle_is_pending(const iora_handle *handle);
IORA_API bool iora_timer_is_pending(const iora_timer *timer);

/* ---- watched descriptors --------------------------------------------------------------------- */

/**
 * A descriptor whose readiness is reported to callbacks: level-triggered (a callback is called again
 * each turn for as long as the descriptor stays ready), each side on its own. The descriptor remains
 * the user's and is never changed: no O_NONBLOCK, no ownership. Close the watcher before you close
 * the descriptor; if the order is wrong all the same, the loop does not spin.
 */
struct iora_watcher {
    iora_loop *_loop;
    int _fd;
    struct iora__side *_sides[2];
};

/** Prepare a watcher for a descriptor. Nothing is watched yet; several watchers of one descriptor
 *  are allowed. Cannot fail. */
IORA_API void iora_watcher_init(iora_watcher *watcher, iora_loop *loop, int fd);

/**
 * Call fn(arg) whenever the descriptor can be read (has data, is at its end, was reset, hung up), or
 * written. NULL stops that side. Setting a side again replaces its callback.
 *
 * Returns 0; -EBADF for no open descriptor; -EBUSY for a stream's; -EPERM for one that is always ready
 * and cannot be watched (regular files, directories, /dev/null); -ENOTSUP with the sim backend; -ENOMEM,
 * -ENOSPC (epoll_ctl(2)); IORA_E_FORKED; IORA_E_CLOSED if it watched when its loop was freed;
 * IORA_E_WRONG_THREAD in debug mode. A watcher that watched nothing then is not told: it is not to be used
 * after its loop. Loop's thread.
 */
IORA_API int iora_watcher_on_readable(iora_watcher *watcher, iora_callback_fn *fn, void *arg);
IORA_API int iora_watcher_on_writable(iora_watcher *watcher, iora_callback_fn *fn, void *arg);

/** Stop both sides. Afterwards no callback of this watcher runs and its memory is free for use, also
 *  when called from inside its own callback. Twice is fine. Loop's thread. */
IORA_API void iora_watcher_close(iora_watcher *watcher);

/* ---- other threads --------------------------------------------------------------------------- */

/**
 * Open a way into the loop for other threads. While one is open the loop counts as something that
 * can still be woken, so a program that waits for it is not deadlocked.
 *
 * Returns 0 and the remote in *out; -ENOMEM; what eventfd(2) says (-EMFILE); IORA_E_FORKED;
 * IORA_E_WRONG_THREAD in debug mode. Loop's thread. The
 * remote may be used by several threads at once and outlives the loop.
 */
IORA_API IORA_MUST_USE int iora_remote_open(iora_loop *loop, iora_remote **out);

/** Give up the remote: its memory goes, pending calls still happen. Exactly once, from any thread
 *  that knows that no other is using it. NULL is allowed. */
IORA_API void iora_remote_close(iora_remote *remote);

/**
 * Have the loop run fn(arg) in its thread, waking it if it sleeps (one write for a whole batch).
 * The handle must be idle and belongs to the loop's thread from here on.
 *
 * Returns 0; IORA_E_CLOSED if the loop is gone (the callback will not run). Any thread; async-signal
 * safe.
 */
IORA_API int iora_remote_call_soon(iora_remote *remote, iora_handle *handle, iora_callback_fn *fn,
                                   void *arg);

/** The same with a timer; the delay counts from when the loop takes notice, so it is never early. */
IORA_API int iora_remote_call_later(iora_remote *remote, iora_timer *timer, iora_duration delay,
                                    iora_callback_fn *fn, void *arg);
IORA_API int iora_remote_call_at(iora_remote *remote, iora_timer *timer, iora_instant when,
                                 iora_callback_fn *fn, void *arg);

IORA_END

#endif
