/* os/pool.c -- a pool of threads.
 *
 * It knows nothing of loops. A *job* is a link and what to do with it; jobs are taken in the order they came.
 * A *worker* is a thread of the pool:
 *
 *          submit, none is idle, below the limit                    the queue is empty
 *   (none) -------------------------------------> takes jobs, runs them ------------> idle
 *                                                     ^                                | |
 *                                                     | submit: the one that was idle  | | 10 s, or the
 *                                                     | for the shortest time is woken | | pool closes
 *                                                     '--------------------------------' v
 *                                                                                     (none)
 *
 * A worker that tells of a job's end is *returning*: it will look at the queue in a moment. Who is told may have
 * another job at once, for which that worker is the best, and nobody need be woken. One that was started or woken is
 * *coming* until it has the mutex.
 *
 * An idle worker waits on a *word* of its own: SPINNING, then ASLEEP, until it is WOKEN. Who wakes one calls the
 * kernel only if it is asleep, and wakes nobody else. The spinning is for a loop that submits one job after the
 * other: os/spin.h.
 *
 * Invariants:
 * (1) For each job in the queue there is a worker that returns or is coming; or else none is idle.
 * (2) There are at most `limit` workers, and one at least while there are jobs.
 * (3) The word becomes WOKEN under the mutex, as the worker leaves the list of idle ones. So a worker that gives
 *     up waiting knows, by looking under the mutex, whether it was woken.
 * (4) `in_use` counts the jobs whose owners wait for them. The pool is freed when there are none. Workers that
 *     still run a job then run one that was *given up*: they are detached, each with a reference to the pool,
 *     and the last of them frees it. All others are joined.
 *
 * A bound on the queue (iora_pool_options.queue) refuses what comes beyond it, so that who has too much to do can
 * say so while there is time. A job that a worker comes for or returns to does not count: it waits for nobody. The
 * bound saves no memory: a job lies in that of who waits for it.
 *
 * Fork. In a child there are no workers. The mutex may be held for ever by one that is not there, who was changing
 * what it guards: then nothing is touched, and what the pool holds stays. Else it can be freed, and nobody joined.
 *
 * Rejected: a condition variable (wakes a worker through the mutex, and not the one whose stack is still in the
 * cache); handing the job over by the worker's record (then a cancel must find it there).
 */
#include "os/pool.h"

#include "os/spin.h"
#include "sys/alloc.h"
#include "sys/sys.h"
#include "sys/thread.h"

#include <stdio.h>
#include <string.h>

enum { NAME = 16, THREADS_MAX = 32, THREADS_MORE = 4 };

#ifdef IORA_SEAMS
int64_t iora__pool_idle_ns = INT64_C(10) * 1000000000;
#else
static const int64_t iora__pool_idle_ns = INT64_C(10) * 1000000000;
#endif

enum word { SPINNING, ASLEEP, WOKEN };

struct worker {
    struct iora__link in_pool;
    struct iora__link in_idle;
    struct iora_pool *pool;
    const struct iora__link *job; /* that it runs */
    pthread_t thread;
    atomic_int word;
    int64_t spin_ns;
    bool given_up; /* its job is */
    bool detached; /* the pool is being freed without it */
};

struct iora_pool {
    pthread_mutex_t mutex;
    struct iora__link queue;
    struct iora__link workers;
    struct iora__link idle; /* the one that has become so last is first */
    const struct iora__pool_work *work;
    unsigned queued;
    unsigned bound; /* of the queue; 0: none */
    unsigned limit;
    unsigned count;      /* of workers */
    unsigned coming;     /* of these */
    unsigned references; /* of detached workers, and of who frees the pool */
    atomic_size_t in_use;
    atomic_uint returning;
    bool closing;
    bool spins;
    int pid;
    size_t stack_size;
    char name[NAME];
};

static void
lock(iora_pool *pool)
{
    (void)pthread_mutex_lock(&pool->mutex);
}

static void
unlock(iora_pool *pool)
{
    (void)pthread_mutex_unlock(&pool->mutex);
}

/* ---- making ------------------------------------------------------------------------------------- */

static int
check_options(const iora_pool_options *options)
{
    if (options->size != sizeof *options)
        return -EINVAL;
    if (options->stack_size != 0 && options->stack_size < iora__sys_thread_stack_min())
        return -EINVAL;
    if (options->name != NULL && strlen(options->name) >= NAME)
        return -EINVAL;
    return 0;
}

static unsigned
default_threads(unsigned processors)
{
    const unsigned threads = processors + THREADS_MORE;

    return threads < THREADS_MAX ? threads : THREADS_MAX;
}

/* Of a kind that spins a little before it sleeps: it is held for some ten instructions. */
static void
make_mutex(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attributes;

    (void)pthread_mutexattr_init(&attributes);
    (void)pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ADAPTIVE_NP);
    (void)pthread_mutex_init(mutex, &attributes);
    (void)pthread_mutexattr_destroy(&attributes);
}

int
iora_pool_new(const iora_pool_options *options, iora_pool **out)
{
    static const iora_pool_options defaults = IORA_POOL_OPTIONS_INIT;
    const unsigned processors = iora__sys_processors();
    iora_pool *pool;

    if (options == NULL)
        options = &defaults;
    if (out == NULL || check_options(options) < 0)
        return -EINVAL;
    if ((pool = iora__zalloc(sizeof *pool)) == NULL)
        return -ENOMEM;
    make_mutex(&pool->mutex);
    iora__list_init(&pool->queue);
    iora__list_init(&pool->workers);
    iora__list_init(&pool->idle);
    pool->limit = options->threads != 0 ? options->threads : default_threads(processors);
    pool->bound = options->queue;
    pool->references = 1;
    pool->spins = processors > 1;
    pool->pid = iora__sys_pid();
    pool->stack_size = options->stack_size;
    (void)snprintf(pool->name, sizeof pool->name, "%s",
                   options->name != NULL ? options->name : "iora-pool");
    *out = pool;
    return 0;
}

/* ---- waiting for jobs ------------------------------------------------------------------------------ */

static bool
is_woken(void *self)
{
    const struct worker *const worker = self;

    return atomic_load_explicit(&worker->word, memory_order_acquire) == WOKEN;
}

/* Until it is woken, or has been idle for too long. */
static void
sleep_idle(struct worker *self)
{
    const int64_t until_ns = iora__sys_clock_ns() + iora__pool_idle_ns;
    int expected = SPINNING;
    int64_t left_ns = iora__pool_idle_ns;

    if (!atomic_compare_exchange_strong(&self->word, &expected, ASLEEP))
        return;
    while (left_ns > 0 && !is_woken(self)) {
        (void)iora__sys_futex_wait(&self->word, ASLEEP, left_ns);
        left_ns = until_ns - iora__sys_clock_ns();
    }
}

/* Be idle; the mutex is held before and after. False if the worker is to end. */
static bool
await_jobs(struct worker *self)
{
    iora_pool *const pool = self->pool;

    atomic_store(&self->word, SPINNING);
    iora__list_insert_before(pool->idle._next, &self->in_idle);
    unlock(pool);
    if (!pool->spins || !iora__spin(&self->spin_ns, is_woken, self))
        sleep_idle(self);
    lock(pool);
    if (is_woken(self)) {
        pool->coming--;
        return true;
    }
    iora__list_remove(&self->in_idle);
    return false;
}

/* Take one out of the list of idle ones; the mutex is held. Whether the kernel must be told, after that. */
static bool
mark_woken(struct worker *worker)
{
    iora__list_remove(&worker->in_idle);
    worker->pool->coming++;
    return atomic_exchange(&worker->word, WOKEN) == ASLEEP;
}

/* ---- working ----------------------------------------------------------------------------------------- */

static void
release(iora_pool *pool)
{
    const bool is_last = --pool->references == 0;

    unlock(pool);
    if (!is_last)
        return;
    (void)pthread_mutex_destroy(&pool->mutex);
    iora__free(pool);
}

/* The worker's end; the mutex is held. Who closes the pool joins it and frees its record, unless he has left it
 * to itself. */
static void
leave(struct worker *self)
{
    iora_pool *const pool = self->pool;

    if (self->detached) {
        release(pool);
        iora__free(self);
    } else if (pool->closing) {
        unlock(pool);
    } else {
        iora__list_remove(&self->in_pool);
        pool->count--;
        iora__sys_thread_detach(self->thread);
        unlock(pool);
        iora__free(self);
    }
}

/* The mutex is held before and after. */
static void
run_job(struct worker *self, struct iora__link *job)
{
    iora_pool *const pool = self->pool;
    const struct iora__pool_work *const work = pool->work;
    bool returns;

    self->job = job;
    pool->queued--;
    unlock(pool);
    if ((returns = work->run(job))) {
        atomic_fetch_add(&pool->returning, 1);
        work->tell(job);
    }
    lock(pool);
    if (returns)
        atomic_fetch_sub(&pool->returning, 1);
    self->job = NULL;
    self->given_up = false;
}

static void *
work(void *arg)
{
    struct worker *const self = arg;
    iora_pool *const pool = self->pool;
    struct iora__link *job;

    iora__sys_thread_set_name(pool->name);
    lock(pool);
    pool->coming--;
    do {
        while ((job = iora__list_pop(&pool->queue)) != NULL)
            run_job(self, job);
    } while (!pool->closing && await_jobs(self));
    leave(self);
    return NULL;
}

/* The mutex is held, so that the new worker finds its own record complete. */
static int
add_worker(iora_pool *pool)
{
    struct worker *const worker = iora__zalloc(sizeof *worker);
    int rc;

    if (worker == NULL)
        return -ENOMEM;
    worker->pool = pool;
    worker->spin_ns = IORA__SPIN_MAX_NS;
    if ((rc = iora__sys_thread_start(&worker->thread, pool->stack_size, work, worker)) < 0) {
        iora__free(worker);
        return rc;
    }
    iora__list_push_tail(&pool->workers, &worker->in_pool);
    pool->count++;
    pool->coming++;
    return 0;
}

/* ---- jobs ----------------------------------------------------------------------------------------------- */

/* Whether as many jobs wait as may, beside those that a worker is about to take; the mutex is held. */
static bool
is_full(const iora_pool *pool)
{
    const uint64_t taken = (uint64_t)pool->coming + atomic_load(&pool->returning);

    return pool->bound != 0 && pool->queued >= pool->bound + taken;
}

int
iora__pool_submit(iora_pool *pool, struct iora__link *job, const struct iora__pool_work *work)
{
    struct worker *woken = NULL;
    bool is_asleep = false;
    int rc = 0;

    lock(pool);
    pool->work = work;
    if (pool->queued < atomic_load(&pool->returning)) {
        /* one is coming */
    } else if (!iora__list_is_empty(&pool->idle)) {
        woken = iora__container_of(pool->idle._next, struct worker, in_idle);
        is_asleep = mark_woken(woken);
    } else if (pool->count == pool->limit || (rc = add_worker(pool)) < 0) {
        if (pool->count > 0) /* one of them will come to it */
            rc = is_full(pool) ? -EAGAIN : 0;
    }
    if (rc == 0) {
        iora__list_push_tail(&pool->queue, job);
        pool->queued++;
        atomic_fetch_add(&pool->in_use, 1);
    }
    unlock(pool);
    if (is_asleep)
        iora__sys_futex_wake(&woken->word);
    return rc;
}

bool
iora__pool_cancel(iora_pool *pool, struct iora__link *job)
{
    bool is_queued;

    lock(pool);
    is_queued = iora__link_is_linked(job);
    if (is_queued) {
        iora__list_remove(job);
        pool->queued--;
        atomic_fetch_sub(&pool->in_use, 1);
    }
    unlock(pool);
    return is_queued;
}

void
iora__pool_end_job(iora_pool *pool)
{
    atomic_fetch_sub(&pool->in_use, 1);
}

void
iora__pool_give_up(iora_pool *pool, const struct iora__link *job)
{
    lock(pool);
    for (struct iora__link *at = pool->workers._next; at != &pool->workers; at = at->_next) {
        struct worker *const worker = iora__container_of(at, struct worker, in_pool);

        worker->given_up |= worker->job == job;
    }
    unlock(pool);
}

/* ---- freeing ---------------------------------------------------------------------------------------------- */

/* Wake the idle, leave those to themselves that nobody knows when they return, and put the rest, idle or about
 * to be, in `joined`. The mutex is held. */
static void
part_with_workers(iora_pool *pool, struct iora__link *joined)
{
    struct iora__link workers, *link;

    iora__list_init(joined);
    iora__list_take_all(&pool->workers, &workers);
    while ((link = iora__list_pop(&workers)) != NULL) {
        struct worker *const worker = iora__container_of(link, struct worker, in_pool);

        if (worker->given_up) {
            worker->detached = true;
            pool->references++;
            iora__sys_thread_detach(worker->thread);
            continue;
        }
        iora__list_push_tail(joined, link);
        if (iora__link_is_linked(&worker->in_idle) && mark_woken(worker))
            iora__sys_futex_wake(&worker->word);
    }
}

/* Free the records of workers that have ended, or once they have. */
static void
free_workers(struct iora__link *workers, bool are_here)
{
    struct iora__link *link;

    while ((link = iora__list_pop(workers)) != NULL) {
        struct worker *const worker = iora__container_of(link, struct worker, in_pool);

        if (are_here)
            iora__sys_thread_join(worker->thread);
        iora__free(worker);
    }
}

static void
free_in_child(iora_pool *pool)
{
    if (pthread_mutex_trylock(&pool->mutex) != 0)
        return;
    free_workers(&pool->workers, false);
    pool->references = 1; /* those of detached workers too are not here */
    release(pool);
}

int
iora_pool_free(iora_pool *pool)
{
    struct iora__link joined;

    if (pool == NULL)
        return 0;
    if (pool->pid != iora__sys_pid()) {
        free_in_child(pool);
        return 0;
    }
    lock(pool);
    if (atomic_load(&pool->in_use) > 0) {
        unlock(pool);
        return -EBUSY;
    }
    pool->closing = true;
    part_with_workers(pool, &joined);
    unlock(pool);
    free_workers(&joined, true);
    lock(pool);
    release(pool);
    return 0;
}
