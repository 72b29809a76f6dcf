/* iora/task.h -- async functions and the tasks that run them.
 *
 * A coroutine is an ordinary C function that may suspend. It returns int: 0 or a count, else a
 * negative code; results leave by out-parameters. Awaiting is calling: any function, at any depth,
 * may call one that suspends. To run a function beside others it is *spawned*:
 *
 *     static int fetch(const char *url, char **data) { ... }
 *     IORA_ASYNC(fetch, const char *, char **);            once, beside the function or prototype
 *
 *     iora_task t = iora_go(fetch, "http://example.com", &data);
 *     ...
 *     int rc = iora_await(t);
 *
 * Arguments are checked as in a call (a wrong type is an error, not a warning) and copied. What they
 * point to must outlive the task's owner, or its holder awaits the task before it returns.
 *
 * Owners     iora_go() makes a child of the current task. When a task's function returns, children
 *            that still run are cancelled and joined before the task counts as done.
 * Handles    An iora_task is a value and nothing is to be freed. The first await that returns
 *            *collects* the task: all who were waiting get the same code, later calls get -ESRCH. The
 *            null handle of a failed spawn answers everywhere with the spawn's error, -ENOMEM mostly.
 * Cancel     A function documented as suspending looks at its scope (iora/scope.h) at entry, even if
 *            it could finish at once: cancelled, it returns -ECANCELED and has done nothing. That
 *            code means exactly: your scope was cancelled, unwind. (What joins, await and gather and the
 *            next of a generator, cancels and joins what it was given even then.) A task that somebody else
 *            cancelled is IORA_E_TASK_CANCELED to those who await it.
 * Errors     Every suspending function may also return IORA_E_NO_LOOP or IORA_E_NO_TASK, if it is
 *            called outside of a task: not repeated below.
 * Threads    Everything here belongs to the loop's thread. A handle of another loop answers
 *            IORA_E_WRONG_THREAD.
 * Not kept   errno, the rounding mode, the signal mask and a C++ exception being handled are the
 *            thread's: they do not survive a suspension.
 *
 * Example    examples/02_say_after.c, examples/03_fetch.c
 */
#ifndef IORA_TASK_H
#define IORA_TASK_H

#include <iora/base.h>
#include <iora/go.h>
#include <iora/loop.h>

IORA_BEGIN

/* ---- running -------------------------------------------------------------------------------- */

/**
 * int iora_run(f, args...): make a loop, run f(args...) in it as the main task until it returns and
 * all its children have ended, and free the loop.
 *
 * Returns what f returned. -EBUSY if this thread runs a loop already; -EDEADLK if the program came
 * to a point where nothing could ever wake it: the log hook was told who waits for what, and all
 * tasks were cancelled and joined (it is told too if some would not end: they hold what another needs
 * to end, and join it); IORA_E_FORKED in a forked child of the loop's process; what
 * iora_loop_new() says; or what polling fails with, if it does a thousand times in a row.
 */
#define iora_run(...)                                                                              \
    __extension__({                                                                                \
        struct iora__run _iora_run;                                                                \
        iora__run_begin(&_iora_run, NULL);                                                         \
        iora__run_end(&_iora_run, IORA__MAKE(__VA_ARGS__));                                        \
    })

/** int iora_run_in(loop, f, args...): the same in a loop of your own, which can be used again. */
#define iora_run_in(loop, ...)                                                                     \
    __extension__({                                                                                \
        struct iora__run _iora_run;                                                                \
        iora__run_begin(&_iora_run, (loop));                                                       \
        iora__run_end(&_iora_run, IORA__MAKE(__VA_ARGS__));                                        \
    })

/**
 * int iora_main(f, args...): iora_run() for a program's main(): an error is told on stderr, and what
 * is returned is an exit status, 0 or 1.
 *
 * Ctrl-C    The first SIGINT cancels the main task, which unwinds as from any cancel; a second one kills the
 *           process, as SIGINT does by default. A run that so ends with -ECANCELED flushes the streams of
 *           stdio and lets the process die of SIGINT, which tells a shell that it was interrupted; functions
 *           of atexit(3) are not called. If the main task returns something else, that decides.
 *           All this holds only while the main task runs, only if SIGINT did what it does by default when the
 *           run began, and only for those that nothing waits for (iora/signal.h): a program that waits for
 *           SIGINT itself decides what it means. iora_run() does nothing with signals.
 */
#define iora_main(...)                                                                             \
    __extension__({                                                                                \
        struct iora__run _iora_run;                                                                \
        iora__run_begin(&_iora_run, NULL);                                                         \
        _iora_run._heeds_interrupt = true;                                                         \
        const int _iora_rc = iora__run_end(&_iora_run, IORA__MAKE(__VA_ARGS__));                   \
        iora__exit_status(&_iora_run, _iora_rc);                                                   \
    })

/* ---- spawning -------------------------------------------------------------------------------- */

/** iora_task iora_go(f, args...): run f(args...) as a child of the current task, from when the loop
 *  next comes to it; of the run itself from a callback, where there is no current task. Does not
 *  suspend. On failure the handle is null and says why wherever it is used: -ENOMEM,
 *  IORA_E_STACK_LIMIT, IORA_E_NO_LOOP. */
#define iora_go(...) IORA__START(IORA__GO_CHILD, NULL, 0, __VA_ARGS__)

/** The same, but f runs at once until it first suspends; then the caller goes on, before anything
 *  else that is ready. From a callback: f is next in the queue. */
#define iora_go_eager(...) IORA__START(IORA__GO_EAGER, NULL, 0, __VA_ARGS__)

/** The same, owned by the run: it may outlive the current task, is cancelled and joined when the run
 *  ends, and is collected when it ends; its failure goes to the error hook. Its arguments must not
 *  point into the caller's frame. */
#define iora_go_detached(...) IORA__START(IORA__GO_DETACHED, NULL, 0, __VA_ARGS__)

/** iora_task iora_go_sized(stack_size, f, args...): as iora_go(), with so many bytes of address space
 *  for the stack, rounded up to a power of two. -EINVAL below 16 KiB or above 1 GiB. */
#define iora_go_sized(stack_size, ...) IORA__START(IORA__GO_CHILD, NULL, (stack_size), __VA_ARGS__)

/**
 * iora_task iora_go_in(loop, f, args...): as iora_go_detached(), in a loop that need not run: the way in for a
 * program whose thread is another loop's, in which this one lives (docs/guide/embedding.md). f runs when the loop
 * is turned next; it is the loop's, and iora_loop_free() cancels and joins it. From within the loop's own tasks and
 * callbacks it is iora_go_detached().
 *
 * On failure the handle is null and says why: -ENOMEM; IORA_E_STACK_LIMIT; -EBUSY if this thread runs another loop;
 * IORA_E_FORKED; IORA_E_WRONG_THREAD in debug mode.
 */
#define iora_go_in(loop, ...)                                                                      \
    __extension__({                                                                                \
        struct iora__visit _iora_visit;                                                            \
        iora__visit_begin(&_iora_visit, (loop));                                                   \
        iora__visit_go(&_iora_visit, IORA__SITE, IORA__MAKE(__VA_ARGS__));                         \
    })

/** Spawn fn(arg) by address, without IORA_ASYNC: for code that gets its functions at run time. `name`
 *  is text that stays (__func__, a literal). */
IORA_API IORA_MUST_USE iora_task iora_go_fn(int (*fn)(void *arg), void *arg, const char *name);

/* ---- waiting for tasks ------------------------------------------------------------------------ */

/**
 * Wait until a task has ended, and collect it.
 *
 * Returns   what its function returned; -ESRCH for a task collected before; IORA_E_TASK_CANCELED if
 *           somebody else cancelled it; -EDEADLK for the current task itself, one that owns it, or one
 *           that waits, directly or through others, for these; -ECANCELED (see Cancel).
 * Suspends  unless the task has ended.
 * Cancel    cancels the task, and returns only when it has ended too: what it was given is free.
 */
IORA_API int iora_await(iora_task task);

/**
 * Wait for several, to their end.
 *
 * int iora_gather(t1, t2, ...) returns 0 when all have succeeded. At the first error it cancels the
 * rest, joins them, and returns that error. As an array: iora_gather_n(tasks, n).
 * int iora_gather_all(codes, t1, t2, ...) cancels nothing and writes each task's code (values >= 0
 * too) to codes[i]; it returns 0. As an array: iora_gather_all_n(codes, tasks, n).
 *
 * Returns   as said; the spawn's error for a null handle among them, -ESRCH for a stale one (the
 *           rest is cancelled and joined by gather, collected by gather_all).
 * Suspends  unless all have ended.
 * Cancel    cancels all, joins all, returns -ECANCELED.
 */
IORA_API int iora_gather_n(const iora_task *tasks, size_t n);
IORA_API int iora_gather_all_n(int *codes, const iora_task *tasks, size_t n);
#define iora_gather(...)                                                                           \
    __extension__({                                                                                \
        const iora_task _iora_tasks[] = {__VA_ARGS__};                                             \
        iora_gather_n(_iora_tasks, sizeof _iora_tasks / sizeof *_iora_tasks);                      \
    })
#define iora_gather_all(codes, ...)                                                                \
    __extension__({                                                                                \
        const iora_task _iora_tasks[] = {__VA_ARGS__};                                             \
        iora_gather_all_n((codes), _iora_tasks, sizeof _iora_tasks / sizeof *_iora_tasks);         \
    })

/** When iora_wait() has seen enough. */
typedef enum iora_wait_until {
    IORA_ALL_COMPLETED,
    IORA_FIRST_COMPLETED,
    IORA_FIRST_ERROR /* or all completed, if none fails */
} iora_wait_until;

/**
 * Wait until some of the tasks have ended, collecting none.
 *
 * Returns   how many have ended (see iora_task_is_done()); -ESRCH or the spawn's error if one of them
 *           was none to begin with; -EDEADLK for the current task; -ENOMEM for more than 16 tasks if memory ran out.
 * Suspends  unless the condition holds.
 * Cancel    -ECANCELED; the tasks go on.
 */
IORA_API int iora_wait(const iora_task *tasks, size_t n, iora_wait_until what);

/** Wait for a task as iora_await() does, but let a cancel end the waiting only: -ECANCELED at once, and
 *  the task goes on, uncollected. asyncio's shield(). */
IORA_API int iora_shield(iora_task task);

/* ---- giving way, and time ---------------------------------------------------------------------- */

/** Let everything that is ready run first. Returns 0 or -ECANCELED. Suspends, unless it is
 *  cancelled. */
IORA_API int iora_yield(void);

/** Sleep for at least d; for d <= 0 as iora_yield(). Returns 0 or -ECANCELED. Suspends, unless it is
 *  cancelled. */
IORA_API int iora_sleep(iora_duration d);

/** Sleep until an instant of the loop's clock is reached, as iora_sleep(). */
IORA_API int iora_sleep_until(iora_instant when);

/** The running loop's clock, read now; the instant 0 if no loop runs in this thread. */
IORA_API iora_instant iora_now(void);

/**
 * Wait until a descriptor of yours can be read or written. It is not changed and stays yours.
 *
 * Returns   0; at once for files that are always ready (regular ones, /dev/null); -EBADF; -EBUSY for a
 *           stream's; -ENOTSUP in a simulated loop; IORA_E_FORKED; what epoll_ctl(2) says; -ECANCELED.
 * Suspends  unless it fails or the file is always ready.
 */
IORA_API int iora_wait_readable(int fd);
IORA_API int iora_wait_writable(int fd);

/* ---- one task ----------------------------------------------------------------------------------- */

/** Cancel a task: its function sees -ECANCELED from the suspending call it is in or makes next, and
 *  from all it makes after, until it returns. Returns 0, also for a task that has ended; -ESRCH once
 *  it was collected. Does not suspend; the task ends in its own time. */
IORA_API int iora_cancel(iora_task task);

/** The task that is running; a null handle (IORA_E_NO_TASK, IORA_E_NO_LOOP) outside of one. */
IORA_API iora_task iora_current(void);

/** Whether the task's function has returned and its children have ended. True for stale handles. */
IORA_API bool iora_task_is_done(iora_task task);

/** Whether the handle is that of a spawn that worked (it may be stale all the same). */
static inline bool
iora_task_is_valid(iora_task task)
{
    return task._block != NULL;
}

/** 0, or why the spawn that gave this handle failed. */
static inline int
iora_task_error(iora_task task)
{
    return task._block != NULL ? 0 : -(int)task._id;
}

static inline bool
iora_task_is_same(iora_task a, iora_task b)
{
    return a._block == b._block && a._id == b._id;
}

/** The task's number, as it stands in reports; never used twice in a process. */
static inline uint64_t
iora_task_id(iora_task task)
{
    return task._block != NULL ? task._id : 0;
}

/** The task's name: what was set, else its function's. "" for a stale handle. Valid until the name is
 *  set anew or the task is collected. */
IORA_API const char *iora_task_name(iora_task task);

/** Name a task for reports; the text is copied. 0, -ESRCH, -ENOMEM. */
IORA_API int iora_task_set_name(iora_task task, const char *name);

/** Have fn(arg) called, from the ready queue, when the task has ended. The handle is the caller's
 *  memory (iora/loop.h) and is pending from here on: iora_handle_cancel() takes it back. 0; -ESRCH;
 *  -EBUSY for a handle that is pending. */
IORA_API int iora_task_on_done(iora_task task, iora_handle *handle, iora_callback_fn *fn, void *arg);

/** Write up to max handles of tasks that have not ended, owners before what they own. Returns how
 *  many there are. The running loop's; 0 outside of one. */
IORA_API size_t iora_all_tasks(iora_task *tasks, size_t max);

/* ---- task-local values --------------------------------------------------------------------------- */

/** A key; make it an object of static duration. */
typedef struct iora_local {
    void (*destroy)(void *value); /* called when nobody can see a value any more; may be NULL */
} iora_local;

/** Bind a value for the current task and for tasks it spawns from now on. They share it; binding anew
 *  changes only the one's who binds. 0; -ENOMEM; IORA_E_NO_TASK. The value must not be the address of
 *  a local variable: children see it until they end. */
IORA_API int iora_local_set(const iora_local *key, void *value);

/** The value bound nearest: in this task, or inherited when it was spawned. NULL for none. */
IORA_API void *iora_local_get(const iora_local *key);

/* ---- what went wrong, for people ------------------------------------------------------------------ */

/** A task's error record: more than a code can say. Belongs to the task; valid until the task records
 *  another error or ends. */
typedef struct iora_error {
    int code;
    const char *what;     /* "await fetch_url", "reading config" */
    const char *task;     /* the name of the task in which it arose */
    const char *spawned;  /* where that task was spawned, "file.c:12" */
    uint64_t task_id;
    const struct iora_error *cause; /* what led to it; NULL at the origin */
    const struct iora_error *next;  /* the next failure in the same group, in order of time */
} iora_error;

/** Record what went wrong and return code, so that `return iora_fail(rc, "reading %s", path);` reads
 *  as one thing. An earlier record of the same code becomes its cause (32
 *  of them at most are kept). Without memory, or outside
 *  of a task, only the code is returned, and there is no record. */
IORA_API int iora_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** The current task's latest record; NULL for none. Awaiting a task that failed makes one, with the
 *  task's own as cause (for the first of several who awaited it); so does the end of a group, with the failures of all its members. */
IORA_API const iora_error *iora_error_last(void);

/** asprintf(3) that returns the text, to be freed with free(), or NULL. */
IORA_API IORA_MUST_USE char *iora_sprintf(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* ---- reports ---------------------------------------------------------------------------------------- */

/** Write the tree of all tasks, a line at a time and without newlines: names, where spawned, what each
 *  waits for and since when. `write` NULL means stderr. Loop's thread. */
IORA_API void iora_dump_tasks(iora_loop *loop, void (*write)(void *arg, const char *line), void *arg);

/* ---- what the macros above are made of -------------------------------------------------------------- */

struct iora__run {
    iora_loop *_loop;
    iora_loop *_own;
    int _rc;
    bool _heeds_interrupt;
    struct iora__interrupt *_interrupt;
    bool _interrupted;
    char _text[256]; /* main's error record, for people */
};

/* A moment in a loop that does not run. */
struct iora__visit {
    iora_loop *_before; /* the loop that the thread ran, and runs again after it */
    int _rc;
};

IORA_API void iora__visit_begin(struct iora__visit *visit, iora_loop *loop);
IORA_API iora_task iora__visit_go(struct iora__visit *visit, const char *site, iora_task task);

IORA_API void iora__run_begin(struct iora__run *run, iora_loop *loop);
IORA_API int iora__run_end(struct iora__run *run, iora_task main_task);
IORA_API int iora__exit_status(const struct iora__run *run, int rc);

IORA_END

#endif
