/* iora/executor.h -- functions that block, in threads; and other threads that call into a loop.
 *
 *     static int hash_file(void *arg) { ... }                  blocks, or computes for long
 *
 *     struct job job = {.path = path};
 *     int rc = iora_to_thread(hash_file, &job);                others run meanwhile
 *
 *     rc = iora_run_threadsafe(remote, fetch, url, &data);     the other way: in a thread, have a loop run a task
 *
 * Rule       A thread works on memory of the task that waits. So a cancelled wait returns only when the
 *            function has: a deadline of 5 s round a call of 60 s takes 60 s. Give a hook that makes the
 *            function return early, or use iora_to_thread_owned(), whose function works on a copy.
 * Pools      Each loop has one, made when it is first needed: min(32, processors + 4) threads that come as
 *            they are needed, and as many jobs waiting as memory has room. Look-ups of names have another one.
 *            A pool of your own has its own limits, and several loops may share it. A thread that has had
 *            nothing to do for 10 s ends. All signals are blocked in them.
 * Simulation In a simulated loop a function runs on the loop's thread at an instant of virtual time, so that
 *            a run can be repeated. It must not wait for another job.
 *
 * Every function that suspends may also return IORA_E_NO_LOOP and IORA_E_NO_TASK.
 *
 * Example    examples/11_executor.c
 * Guide      docs/guide/cancellation.md
 */
#ifndef IORA_EXECUTOR_H
#define IORA_EXECUTOR_H

#include <iora/task.h>

IORA_BEGIN

typedef struct iora_pool iora_pool;

/** What runs in a thread: 0 or a count, or a negative code. */
typedef int iora_thread_fn(void *arg);

/** How a pool is made. Every zero means the default. */
typedef struct iora_pool_options {
    size_t size;       /* sizeof(iora_pool_options), set by the initialiser */
    unsigned threads;  /* at most so many; default min(32, processors + 4) */
    unsigned queue;    /* jobs that may wait for a thread; a call beyond them is refused; 0: no limit */
    size_t stack_size; /* of a thread; default the system's (8 MiB of address space) */
    const char *name;  /* of its threads, 15 bytes at most, as ps and gdb show it; default "iora-pool" */
} iora_pool_options;

/* clang-format off */
#define IORA_POOL_OPTIONS_INIT { sizeof(iora_pool_options), 0, 0, 0, NULL }
/* clang-format on */

/** Make a pool of threads. `options` may be NULL. Any thread. 0; -EINVAL; -ENOMEM. No thread is started yet. */
IORA_API IORA_MUST_USE int iora_pool_new(const iora_pool_options *options, iora_pool **out);

/** Free a pool that no job uses: its threads end and are joined. -EBUSY while jobs run or wait (those of
 *  iora_to_thread_owned() that were given up do not count: their threads end by themselves). NULL is
 *  allowed. Any thread but its own. In a forked child it does nothing and returns 0. */
IORA_API int iora_pool_free(iora_pool *pool);

/**
 * Run fn(arg) in a thread of the loop's pool, and wait for it.
 *
 * Returns   what fn returned; -EAGAIN if no thread could be started and none is there, or as many jobs wait as
 *           the pool's queue may hold; -ENOMEM; for the
 *           loop's first job also -EMFILE, -ENFILE (it needs an eventfd); IORA_E_FORKED; -ECANCELED: fn was
 *           not begun.
 * Suspends.
 * Cancel    before fn has begun it never will, and the call returns -ECANCELED. Once it has begun the call
 *           returns what fn returns, when it does; the cancel is seen by the next call that may suspend.
 */
IORA_API int iora_to_thread(iora_thread_fn *fn, void *arg);

/** The same in a pool of yours (NULL: the loop's), with a hook that is called on the loop's thread, while
 *  fn may be running, when the wait is cancelled: it makes fn return early, in whatever way fn knows.
 *  `stop` may be NULL. */
IORA_API int iora_to_thread_in(iora_pool *pool, iora_thread_fn *fn, void *arg,
                               void (*stop)(void *arg));

/**
 * Run fn on a copy of what `data` points to; when it returns, the copy is copied back. If it is not begun, or given
 * up, the data stays as it is.
 *
 * Returns   as iora_to_thread_in().
 * Cancel    returns -ECANCELED at once. If fn has begun it goes on by itself, and `drop` (may be NULL) is
 *           then called with the copy, in the thread that ran fn, to free what fn has made. If it has not,
 *           it never will, and nothing is dropped.
 */
IORA_API int iora_to_thread_owned(iora_pool *pool, iora_thread_fn *fn, void *data, size_t size,
                                  void (*drop)(void *copy));

/**
 * int iora_run_threadsafe(remote, f, args...): from another thread, have the loop run f(args...) as a task
 * of its own and block until it has ended. asyncio's run_coroutine_threadsafe(...).result().
 *
 * What the arguments point to may be the caller's own variables: he waits.
 *
 * Returns   what f returned; IORA_E_CLOSED if the loop was gone or went before f could begin; the error of
 *           the spawn; IORA_E_TASK_CANCELED if the task was cancelled, by the end of the run for one; -EDEADLK in
 *           the loop's own thread.
 * Blocks    the thread; a loop that it runs stands still.
 * Threads   any that runs no loop whose turn the task would need.
 */
#define iora_run_threadsafe(remote, ...)                                                           \
    IORA__CAT(IORA__RUN_THREADSAFE_, IORA__COUNT(__VA_ARGS__))(remote, __VA_ARGS__)

IORA_API int iora__run_threadsafe(iora_remote *remote, int (*enter)(void *), void *arguments,
                                  const char *name);

/* clang-format off */
#define IORA__RUN_THREADSAFE_1(remote, f)                                                          \
    iora__run_threadsafe((remote), f##__enter, NULL, #f)
#define IORA__RUN_THREADSAFE_N(remote, f, ...)                                                     \
    __extension__({                                                                                \
        struct f##__arguments _iora_arguments = {__VA_ARGS__};                                     \
        iora__run_threadsafe((remote), f##__enter, &_iora_arguments, #f);                          \
    })
/* clang-format on */
#define IORA__RUN_THREADSAFE_2 IORA__RUN_THREADSAFE_N
#define IORA__RUN_THREADSAFE_3 IORA__RUN_THREADSAFE_N
#define IORA__RUN_THREADSAFE_4 IORA__RUN_THREADSAFE_N
#define IORA__RUN_THREADSAFE_5 IORA__RUN_THREADSAFE_N
#define IORA__RUN_THREADSAFE_6 IORA__RUN_THREADSAFE_N
#define IORA__RUN_THREADSAFE_7 IORA__RUN_THREADSAFE_N
#define IORA__RUN_THREADSAFE_8 IORA__RUN_THREADSAFE_N
#define IORA__RUN_THREADSAFE_9 IORA__RUN_THREADSAFE_N

IORA_END

#endif
