/* tests/c/test_thread.c -- functions in threads, pools of them, and tasks for other threads.
 *
 * What a thread does and when is settled by gates: a function says that it has begun, and returns when it is let.
 */
#include "real.h"
#include "test.h"
#include "waiting.h"

#include "child.h"
#include "core/lane.h"
#include "os/pool.h"

#include <dirent.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>

struct gate {
    sem_t begun, opened;
    int rc;
    atomic_int passed;
    void (*then)(struct gate *gate);
};

static void
make_gate(struct gate *gate, int rc)
{
    *gate = (struct gate){.rc = rc};
    CHECK_EQ(sem_init(&gate->begun, 0, 0), 0);
    CHECK_EQ(sem_init(&gate->opened, 0, 0), 0);
}

static void
wait_sem(sem_t *sem)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += test_patience_ms() / 1000;
    CHECK_EQ(TEMP_FAILURE_RETRY(sem_timedwait(sem, &until)), 0);
}

static void
open_gate(struct gate *gate)
{
    CHECK_EQ(sem_post(&gate->opened), 0);
}

/* In a thread. */
static int
pass_gate(void *arg)
{
    struct gate *const gate = arg;

    CHECK_EQ(sem_post(&gate->begun), 0);
    wait_sem(&gate->opened);
    atomic_fetch_add(&gate->passed, 1);
    return gate->rc;
}

static int
passes(iora_pool *pool, struct gate *gate)
{
    return iora_to_thread_in(pool, pass_gate, gate, NULL);
}
IORA_ASYNC(passes, iora_pool *, struct gate *);

static iora_pool *
make_pool(unsigned threads, unsigned queue)
{
    iora_pool_options options = IORA_POOL_OPTIONS_INIT;
    iora_pool *pool;

    options.threads = threads;
    options.queue = queue;
    CHECK_EQ(iora_pool_new(&options, &pool), 0);
    return pool;
}

/* How many threads of pools there are; a sanitizer has one of its own. */
static int
count_threads(void)
{
    DIR *const tasks = opendir("/proc/self/task");
    const struct dirent *entry;
    int count = 0;

    CHECK(tasks != NULL);
    while ((entry = readdir(tasks)) != NULL) {
        char path[300], name[16] = "";
        int fd;

        (void)snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
            continue;
        count += read(fd, name, 9) == 9 && strcmp(name, "iora-pool") == 0;
        (void)close(fd);
    }
    (void)closedir(tasks);
    return count;
}

/* Wait until so many threads are left; those that were not joined end when they like. */
static void
await_threads(int count)
{
    const int64_t began_ns = real_ns();

    while (count_threads() > count) {
        CHECK(real_ns() - began_ns < (int64_t)test_patience_ms() * 1000000);
        real_sleep_ms(1);
    }
}

static size_t
ops_pending(void)
{
    iora_census census;

    iora_loop_census(test_loop(), &census);
    return census.ops;
}

/* ---- calls ------------------------------------------------------------------------------------------- */

static int
add_one(void *number)
{
    ++*(int *)number;
    return 42;
}

TEST_TASK_REAL(thread, returns_what_the_function_returned)
{
    int number = 1;

    CHECK_EQ(iora_to_thread(add_one, &number), 42);
    CHECK_EQ(number, 2);
    CHECK_EQ(iora_to_thread_in(NULL, add_one, &number, NULL), 42);
    CHECK_EQ(number, 3);
}

static int
note_thread(void *thread)
{
    *(pthread_t *)thread = pthread_self();
    return iora_loop_running() == NULL ? 0 : -1;
}

TEST_TASK_REAL(thread, runs_in_another_thread_with_no_loop)
{
    pthread_t thread = pthread_self();

    CHECK_EQ(iora_to_thread(note_thread, &thread), 0);
    CHECK(!pthread_equal(thread, pthread_self()));
}

TEST_TASK_REAL(thread, others_run_meanwhile)
{
    struct gate gate;
    iora_task task;

    make_gate(&gate, 7);
    task = iora_go(passes, NULL, &gate);
    CHECK_EQ(iora_yield(), 0);
    wait_sem(&gate.begun);
    CHECK_EQ(ops_pending(), 1);
    CHECK_EQ(iora_yield(), 0);
    open_gate(&gate);
    CHECK_EQ(iora_await(task), 7);
    CHECK_EQ(ops_pending(), 0);
}

static int
return_cancelled(void *arg)
{
    (void)arg;
    return -ECANCELED;
}

TEST_TASK_REAL(thread, any_code_of_the_function_comes_through)
{
    CHECK_EQ(iora_to_thread(return_cancelled, NULL), -ECANCELED);
    CHECK(!iora_is_cancelled());
}

static int
call_to_thread(void)
{
    int number = 0;

    return iora_to_thread(add_one, &number);
}

static int
call_owned(void)
{
    return iora_to_thread_owned(NULL, add_one, NULL, 0, NULL);
}

TEST(thread, needs_a_task)
{
    check_needs_a_task(call_to_thread);
    check_needs_a_task(call_owned);
}

TEST_TASK_REAL(thread, in_a_cancelled_scope_nothing_is_begun)
{
    int number = 0;

    CHECK_EQ(CANCELLED(iora_to_thread(add_one, &number)), -ECANCELED);
    CHECK_EQ(CANCELLED(iora_to_thread_owned(NULL, add_one, &number, sizeof number, NULL)),
             -ECANCELED);
    CHECK_EQ(number, 0);
}

static int
report_signals(void *arg)
{
    sigset_t *const blocked = arg;

    return pthread_sigmask(SIG_SETMASK, NULL, blocked);
}

TEST_TASK_REAL(thread, signals_are_blocked_there)
{
    sigset_t blocked;

    CHECK_EQ(iora_to_thread(report_signals, &blocked), 0);
    CHECK(sigismember(&blocked, SIGINT) == 1 && sigismember(&blocked, SIGUSR1) == 1 &&
          sigismember(&blocked, SIGCHLD) == 1);
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &blocked), 0);
    CHECK_EQ(sigismember(&blocked, SIGINT), 0);
}

static int
report_name(void *arg)
{
    return pthread_getname_np(pthread_self(), arg, 16);
}

TEST_TASK_REAL(thread, has_the_name_of_its_pool)
{
    iora_pool_options options = IORA_POOL_OPTIONS_INIT;
    iora_pool *pool;
    char name[16];

    CHECK_EQ(iora_to_thread(report_name, name), 0);
    CHECK_STR(name, "iora-pool");
    options.name = "fifteen letters";
    CHECK_EQ(iora_pool_new(&options, &pool), 0);
    CHECK_EQ(iora_to_thread_in(pool, report_name, name, NULL), 0);
    CHECK_STR(name, "fifteen letters");
    CHECK_EQ(iora_pool_free(pool), 0);
}

static int
measure_stack(void *arg)
{
    pthread_attr_t attributes;

    CHECK_EQ(pthread_getattr_np(pthread_self(), &attributes), 0);
    CHECK_EQ(pthread_attr_getstacksize(&attributes, arg), 0);
    return pthread_attr_destroy(&attributes);
}

TEST_TASK_REAL(thread, has_the_stack_that_its_pool_was_made_with)
{
    iora_pool_options options = IORA_POOL_OPTIONS_INIT;
    iora_pool *pool;
    size_t size = 0;

    options.stack_size = 1 << 20;
    CHECK_EQ(iora_pool_new(&options, &pool), 0);
    CHECK_EQ(iora_to_thread_in(pool, measure_stack, &size, NULL), 0);
    CHECK_EQ(size, 1 << 20);
    CHECK_EQ(iora_pool_free(pool), 0);
}

static int
calls_once(void)
{
    int number = 0;

    return iora_to_thread(add_one, &number);
}
IORA_ASYNC(calls_once);

TEST_REAL(thread, works_in_debug_mode)
{
    test_options()->debug = true;
    test_expect_log();
    CHECK_EQ(test_run(calls_once), 42);
    CHECK(!test_logged("thread"));
}

/* ---- cancel ------------------------------------------------------------------------------------------- */

TEST_TASK_REAL(thread, cancelled_before_it_begins_it_never_does)
{
    iora_pool *const pool = make_pool(1, 0);
    struct gate first, second;
    iora_task tasks[2];

    make_gate(&first, 0);
    make_gate(&second, 0);
    tasks[0] = iora_go(passes, pool, &first);
    tasks[1] = iora_go(passes, pool, &second);
    CHECK_EQ(iora_yield(), 0);
    wait_sem(&first.begun);
    CHECK_EQ(iora_cancel(tasks[1]), 0);
    CHECK_EQ(iora_await(tasks[1]), IORA_E_TASK_CANCELED);
    CHECK_EQ(ops_pending(), 1);
    open_gate(&first);
    CHECK_EQ(iora_await(tasks[0]), 0);
    CHECK_EQ(iora_pool_free(pool), 0);
    CHECK_EQ(second.passed, 0);
}

static int
passes_and_asks(struct gate *gate)
{
    const int rc = iora_to_thread(pass_gate, gate);

    CHECK_EQ(rc, gate->rc);
    CHECK_EQ(gate->passed, 1);
    return iora_yield(); /* sees the cancel */
}
IORA_ASYNC(passes_and_asks, struct gate *);

TEST_TASK_REAL(thread, cancelled_once_begun_it_returns_when_the_function_does)
{
    struct gate gate;
    iora_task task;

    make_gate(&gate, 3);
    task = iora_go(passes_and_asks, &gate);
    CHECK_EQ(iora_yield(), 0);
    wait_sem(&gate.begun);
    CHECK_EQ(iora_cancel(task), 0);
    for (int i = 0; i < 10; i++)
        CHECK_EQ(iora_yield(), 0);
    CHECK(!iora_task_is_done(task));
    open_gate(&gate);
    CHECK_EQ(iora_await(task), IORA_E_TASK_CANCELED);
}

static pthread_t stopped_in;

static void
stop_gate(void *arg)
{
    struct gate *const gate = arg;

    stopped_in = pthread_self();
    gate->rc = -EINTR;
    open_gate(gate);
}

static int
passes_or_stops(struct gate *gate)
{
    const int rc = iora_to_thread_in(NULL, pass_gate, gate, stop_gate);

    CHECK_EQ(rc, -EINTR);
    return rc;
}
IORA_ASYNC(passes_or_stops, struct gate *);

TEST_TASK_REAL(thread, the_hook_makes_the_function_return_early)
{
    struct gate gate;
    iora_task task;

    make_gate(&gate, 0);
    task = iora_go(passes_or_stops, &gate);
    CHECK_EQ(iora_yield(), 0);
    wait_sem(&gate.begun);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), -EINTR);
    CHECK(pthread_equal(stopped_in, pthread_self()));
}

TEST_TASK_REAL(thread, the_hook_is_not_called_for_what_has_not_begun)
{
    iora_pool *const pool = make_pool(1, 0);
    struct gate first, second;
    iora_task task;

    make_gate(&first, 0);
    make_gate(&second, 0);
    task = iora_go(passes, pool, &first);
    CHECK_EQ(iora_yield(), 0);
    wait_sem(&first.begun);
    CHECK_EQ(iora_wait_for(iora_to_thread_in(pool, pass_gate, &second, stop_gate), iora_ms(1)),
             -ETIMEDOUT);
    CHECK_EQ(second.rc, 0);
    open_gate(&first);
    CHECK_EQ(iora_await(task), 0);
    CHECK_EQ(iora_pool_free(pool), 0);
}

/* ---- owned ---------------------------------------------------------------------------------------------- */

struct big {
    struct gate *gate;
    char text[1000];
    int number;
};

static int
work_on_copy(void *copy)
{
    struct big *const big = copy;

    pass_gate(big->gate);
    memset(big->text, 'y', sizeof big->text);
    big->number = 9;
    return 5;
}

static void
drop_copy(void *copy)
{
    struct big *const big = copy;

    CHECK_EQ(big->number, 9);
    CHECK_EQ(sem_post(&big->gate->begun), 0); /* for the second time */
}

TEST_TASK_REAL(thread, owned_the_copy_is_copied_back)
{
    struct gate gate;
    struct big big = {.gate = &gate, .text = "x"};

    make_gate(&gate, 0);
    open_gate(&gate);
    CHECK_EQ(iora_to_thread_owned(NULL, work_on_copy, &big, sizeof big, drop_copy), 5);
    CHECK_EQ(big.number, 9);
    CHECK(big.text[0] == 'y' && big.text[999] == 'y');
    wait_sem(&gate.begun);
    CHECK_EQ(sem_trywait(&gate.begun), -1); /* it was not dropped */
}

static int
owns(iora_pool *pool, struct big *big)
{
    return iora_to_thread_owned(pool, work_on_copy, big, sizeof *big, drop_copy);
}
IORA_ASYNC(owns, iora_pool *, struct big *);

TEST_TASK_REAL(thread, owned_it_is_given_up_at_once_and_dropped_when_it_returns)
{
    iora_pool *const pool = make_pool(1, 0);
    struct gate gate;
    struct big big = {.gate = &gate};
    iora_task task;

    make_gate(&gate, 0);
    task = iora_go(owns, pool, &big);
    CHECK_EQ(iora_yield(), 0);
    wait_sem(&gate.begun);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), IORA_E_TASK_CANCELED);
    CHECK_EQ(ops_pending(), 0);
    CHECK_EQ(gate.passed, 0);
    CHECK_EQ(big.number, 0);
    open_gate(&gate);
    wait_sem(&gate.begun); /* dropped */
    CHECK_EQ(big.number, 0);
    CHECK_EQ(iora_pool_free(pool), 0);
    await_threads(0);
}

TEST_TASK_REAL(thread, owned_and_not_begun_it_is_not_dropped)
{
    iora_pool *const pool = make_pool(1, 0);
    struct gate first, second;
    struct big big = {.gate = &second};
    iora_task task;

    make_gate(&first, 0);
    make_gate(&second, 0);
    task = iora_go(passes, pool, &first);
    CHECK_EQ(iora_yield(), 0);
    wait_sem(&first.begun);
    CHECK_EQ(iora_wait_for(owns(pool, &big), iora_ms(1)), -ETIMEDOUT);
    open_gate(&first);
    CHECK_EQ(iora_await(task), 0);
    CHECK_EQ(iora_pool_free(pool), 0);
    CHECK_EQ(second.passed, 0);
}

/* It was, over what others had written to the data meanwhile. */
TEST_TASK_REAL(thread, owned_and_not_begun_nothing_is_copied_back)
{
    iora_pool *const pool = make_pool(1, 0);
    struct gate first, second;
    struct big big = {.gate = &second};
    iora_task tasks[2];

    make_gate(&first, 0);
    make_gate(&second, 0);
    tasks[0] = iora_go(passes, pool, &first);
    CHECK_EQ(iora_yield(), 0);
    wait_sem(&first.begun);
    tasks[1] = iora_go(owns, pool, &big);
    CHECK_EQ(iora_yield(), 0);
    big.number = 42;
    CHECK_EQ(iora_cancel(tasks[1]), 0);
    CHECK_EQ(iora_await(tasks[1]), IORA_E_TASK_CANCELED);
    CHECK_EQ(big.number, 42);
    open_gate(&first);
    CHECK_EQ(iora_await(tasks[0]), 0);
    CHECK_EQ(iora_pool_free(pool), 0);
}

static int
add_one_and_say_cancelled(void *number)
{
    ++*(int *)number;
    return -ECANCELED;
}

TEST_TASK_REAL(thread, owned_the_copy_is_copied_back_whatever_the_function_returned)
{
    int number = 1;

    CHECK_EQ(iora_to_thread_owned(NULL, add_one_and_say_cancelled, &number, sizeof number, NULL),
             -ECANCELED);
    CHECK_EQ(number, 2);
}

TEST_TASK_REAL(thread, owned_of_nothing_works_and_of_too_much_is_refused)
{
    CHECK_EQ(iora_to_thread_owned(NULL, return_cancelled, NULL, 0, NULL), -ECANCELED);
    CHECK_EQ(iora_to_thread_owned(NULL, return_cancelled, NULL, SIZE_MAX, NULL), -ENOMEM);
}

/* ---- pools ----------------------------------------------------------------------------------------------- */

TEST(pool, options_are_checked)
{
    iora_pool_options options = IORA_POOL_OPTIONS_INIT;
    iora_pool *pool;

    CHECK_EQ(iora_pool_new(NULL, NULL), -EINVAL);
    options.name = "sixteen letters!";
    CHECK_EQ(iora_pool_new(&options, &pool), -EINVAL);
    options.name = NULL;
    options.stack_size = 100;
    CHECK_EQ(iora_pool_new(&options, &pool), -EINVAL);
    options.stack_size = 0;
    options.size--;
    CHECK_EQ(iora_pool_new(&options, &pool), -EINVAL);
    CHECK_EQ(iora_pool_free(NULL), 0);
    CHECK_EQ(iora_pool_new(NULL, &pool), 0);
    CHECK_EQ(count_threads(), 0);
    CHECK_EQ(iora_pool_free(pool), 0);
}

static int
trace_it(void *word)
{
    test_trace("%s", (const char *)word); /* one thread at a time */
    return 0;
}

static int
traces(iora_pool *pool, const char *word)
{
    return iora_to_thread_in(pool, trace_it, (void *)word, NULL);
}
IORA_ASYNC(traces, iora_pool *, const char *);

TEST_TASK_REAL(pool, refuses_what_its_queue_has_no_room_for)
{
    iora_pool *const pool = make_pool(1, 2);
    struct gate gate;
    iora_task running, queued[2], refused;

    make_gate(&gate, 0);
    running = iora_go(passes, pool, &gate);
    CHECK_EQ(iora_yield(), 0);
    wait_sem(&gate.begun);
    queued[0] = iora_go(traces, pool, "a");
    queued[1] = iora_go(traces, pool, "b");
    refused = iora_go(traces, pool, "c");
    CHECK_EQ(iora_await(refused), -EAGAIN);
    CHECK_EQ(iora_cancel(queued[0]), 0); /* makes room */
    CHECK_EQ(iora_await(queued[0]), IORA_E_TASK_CANCELED);
    queued[0] = iora_go(traces, pool, "d");
    CHECK_EQ(iora_yield(), 0);
    open_gate(&gate);
    CHECK_EQ(iora_gather(running, queued[1], queued[0]), 0);
    CHECK_TRACE("b d");
    CHECK_EQ(iora_pool_free(pool), 0);
}

/* The second of two was refused every time: it seemed to find one waiting, for which the thread was coming. */
TEST_TASK_REAL(pool, what_a_thread_is_coming_for_does_not_count_as_waiting)
{
    enum { THREADS = 2, MORE = 2 };
    iora_pool *const pool = make_pool(THREADS, MORE);

    for (int round = 0; round < 3; round++) { /* the threads are started, then woken */
        iora_task tasks[THREADS + MORE], refused;
        struct gate gate;

        make_gate(&gate, 0);
        for (int i = 0; i < THREADS + MORE; i++)
            tasks[i] = iora_go(passes, pool, &gate);
        refused = iora_go(passes, pool, &gate);
        CHECK_EQ(iora_await(refused), -EAGAIN);
        for (int i = 0; i < THREADS; i++)
            wait_sem(&gate.begun);
        CHECK_EQ(count_threads(), THREADS);
        for (int i = 0; i < THREADS + MORE; i++)
            open_gate(&gate);
        CHECK_EQ(iora_gather_n(tasks, THREADS + MORE), 0);
    }
    CHECK_EQ(iora_pool_free(pool), 0);
}

/* The third is cancelled in the queue; the fourth takes its place. */
TEST_TASK_REAL(pool, jobs_begin_in_the_order_they_came)
{
    iora_pool *const pool = make_pool(1, 0);
    struct gate gate;
    iora_task first, others[5];

    make_gate(&gate, 0);
    first = iora_go(passes, pool, &gate);
    for (int i = 0; i < 5; i++)
        others[i] = iora_go(traces, pool, (const char *[]){"a", "b", "c", "d", "e"}[i]);
    CHECK_EQ(iora_yield(), 0);
    wait_sem(&gate.begun);
    CHECK_EQ(iora_cancel(others[2]), 0);
    CHECK_EQ(iora_await(others[2]), IORA_E_TASK_CANCELED);
    open_gate(&gate);
    CHECK_EQ(iora_gather(first, others[0], others[1], others[3], others[4]), 0);
    CHECK_TRACE("a b d e");
    CHECK_EQ(count_threads(), 1);
    CHECK_EQ(iora_pool_free(pool), 0);
}

TEST_TASK_REAL(pool, has_no_more_threads_than_its_limit)
{
    enum { JOBS = 8, THREADS = 3 };
    iora_pool *const pool = make_pool(THREADS, 0);
    struct gate gate;
    iora_task tasks[JOBS];
    int begun;

    make_gate(&gate, 0);
    for (int i = 0; i < JOBS; i++)
        tasks[i] = iora_go(passes, pool, &gate);
    CHECK_EQ(iora_yield(), 0);
    for (int i = 0; i < THREADS; i++)
        wait_sem(&gate.begun);
    CHECK_EQ(count_threads(), THREADS);
    CHECK_EQ(sem_getvalue(&gate.begun, &begun), 0);
    CHECK_EQ(begun, 0);
    for (int i = 0; i < JOBS; i++)
        open_gate(&gate);
    CHECK_EQ(iora_gather_n(tasks, JOBS), 0);
    CHECK_EQ(gate.passed, JOBS);
    CHECK_EQ(iora_pool_free(pool), 0);
}

/* An idle thread serves the next job, also if the one before has only just told of its end. */
TEST_TASK_REAL(pool, one_job_after_the_other_needs_one_thread)
{
    iora_pool *const pool = make_pool(4, 0);
    int number = 0;

    for (int i = 0; i < 200; i++)
        CHECK_EQ(iora_to_thread_in(pool, add_one, &number, NULL), 42);
    CHECK_EQ(number, 200);
    CHECK_EQ(count_threads(), 1);
    CHECK_EQ(iora_pool_free(pool), 0);
}

TEST_TASK_REAL(pool, is_not_freed_while_a_job_runs_or_waits)
{
    iora_pool *const pool = make_pool(1, 0);
    struct gate gate;
    iora_task tasks[2];

    make_gate(&gate, 0);
    tasks[0] = iora_go(passes, pool, &gate);
    tasks[1] = iora_go(passes, pool, &gate);
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_pool_free(pool), -EBUSY);
    wait_sem(&gate.begun);
    CHECK_EQ(iora_pool_free(pool), -EBUSY);
    open_gate(&gate);
    CHECK_EQ(iora_await(tasks[0]), 0);
    wait_sem(&gate.begun);
    CHECK_EQ(iora_pool_free(pool), -EBUSY);
    open_gate(&gate);
    CHECK_EQ(iora_await(tasks[1]), 0);
    CHECK_EQ(iora_pool_free(pool), 0);
}

/* Two that were given up and one that is idle: that one is joined, and the last of the two frees the rest. */
TEST_TASK_REAL(pool, is_freed_with_threads_that_are_stuck)
{
    iora_pool *const pool = make_pool(3, 0);
    struct gate gate, idle;
    struct big big = {.gate = &gate};
    iora_task tasks[2], third;

    make_gate(&gate, 0);
    make_gate(&idle, 0);
    for (int i = 0; i < 2; i++)
        tasks[i] = iora_go(owns, pool, &big);
    third = iora_go(passes, pool, &idle);
    CHECK_EQ(iora_yield(), 0);
    for (int i = 0; i < 2; i++)
        wait_sem(&gate.begun);
    open_gate(&idle);
    CHECK_EQ(iora_await(third), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(iora_cancel(tasks[i]), 0);
        CHECK_EQ(iora_await(tasks[i]), IORA_E_TASK_CANCELED);
    }
    CHECK_EQ(iora_pool_free(pool), 0);
    await_threads(2);
    for (int i = 0; i < 2; i++) {
        open_gate(&gate);
        wait_sem(&gate.begun);
    }
    await_threads(0);
}

TEST_TASK_REAL(pool, idle_threads_end_and_others_come)
{
    iora_pool *const pool = make_pool(2, 0);
    int number = 0;

    iora__pool_idle_ns = 1000000;
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(iora_to_thread_in(pool, add_one, &number, NULL), 42);
        await_threads(0);
    }
    CHECK_EQ(number, 3);
    CHECK_EQ(iora_pool_free(pool), 0);
}

static bool
never_run(struct iora__link *job)
{
    (void)job;
    test_fail(__FILE__, __LINE__, "it ran");
}

TEST(pool, says_so_if_no_thread_can_be_started)
{
    static const struct iora__pool_work work = {never_run, NULL};
    iora_pool *const pool = make_pool(1, 0);
    struct iora__link job = {0};

    iora__seam_arm_call(1, 0, false);
    CHECK_EQ(iora__pool_submit(pool, &job, &work), -EAGAIN);
    (void)iora__seam_disarm();
    CHECK(!iora__link_is_linked(&job));
    CHECK_EQ(iora_pool_free(pool), 0);
}

struct gated_job {
    struct iora__link link;
    struct gate *gate;
};

static bool
pass_gate_of_job(struct iora__link *link)
{
    return pass_gate(iora__container_of(link, struct gated_job, link)->gate) == 0;
}

static void
tell_at_gate(struct iora__link *link)
{
    CHECK_EQ(sem_post(&iora__container_of(link, struct gated_job, link)->gate->begun), 0);
}

/* A job was refused for want of a second thread, by a pool whose first one could have run it in its turn. */
TEST(pool, a_thread_that_is_there_runs_the_job_if_no_other_can_be_started)
{
    static const struct iora__pool_work work = {pass_gate_of_job, tell_at_gate};

    for (int lacks_memory = 0; lacks_memory < 2; lacks_memory++) {
        iora_pool *const pool = make_pool(2, 1);
        struct gate gate;
        struct gated_job jobs[3] = {{{0}, &gate}, {{0}, &gate}, {{0}, &gate}};

        make_gate(&gate, 0);
        CHECK_EQ(iora__pool_submit(pool, &jobs[0].link, &work), 0);
        wait_sem(&gate.begun);
        if (lacks_memory)
            iora__seam_arm_allocation(1, true);
        else
            iora__seam_arm_call(1, 0, true);
        CHECK_EQ(iora__pool_submit(pool, &jobs[1].link, &work), 0);
        CHECK_EQ(iora__pool_submit(pool, &jobs[2].link, &work), -EAGAIN); /* the queue's bound */
        (void)iora__seam_disarm();
        CHECK_EQ(count_threads(), 1);
        open_gate(&gate);
        open_gate(&gate);
        for (int i = 0; i < 3; i++)
            wait_sem(&gate.begun); /* the first has ended, the second has begun, and ended */
        for (int i = 0; i < 2; i++)
            iora__pool_end_job(pool);
        CHECK_EQ(iora_pool_free(pool), 0);
    }
}

static int
runs_many(iora_pool *pool, int times)
{
    int number = 0;

    for (int i = 0; i < times; i++)
        CHECK_EQ(iora_to_thread_in(pool, add_one, &number, NULL), 42);
    return number == times ? 0 : -EIO;
}
IORA_ASYNC(runs_many, iora_pool *, int);

static int
runs_many_at_once(iora_pool *pool)
{
    enum { TASKS = 50 };
    iora_task tasks[TASKS];

    for (int i = 0; i < TASKS; i++)
        tasks[i] = iora_go(runs_many, pool, 40);
    return iora_gather_n(tasks, TASKS);
}
IORA_ASYNC(runs_many_at_once, iora_pool *);

static void *
runs_a_loop(void *pool)
{
    CHECK_EQ(iora_run(runs_many_at_once, (iora_pool *)pool), 0);
    return NULL;
}

TEST_REAL(pool, may_be_shared_by_loops)
{
    iora_pool *const pool = make_pool(3, 0);
    pthread_t other;

    CHECK_EQ(pthread_create(&other, NULL, runs_a_loop, pool), 0);
    CHECK_EQ(test_run(runs_many_at_once, pool), 0);
    CHECK_EQ(pthread_join(other, NULL), 0);
    CHECK_EQ(iora_pool_free(pool), 0);
}

/* Cancels at any moment: what is told twice, or lost, would hang or crash. */
static int
comes_and_goes(iora_pool *pool, int i)
{
    for (int k = 0; k < 20; k++) {
        int number = 0;
        const int rc = iora_wait_for(
            (i + k) % 2 == 0 ? iora_to_thread_in(pool, add_one, &number, NULL)
                             : iora_to_thread_owned(pool, add_one, &number, sizeof number, NULL),
            iora_us(5 * ((i * k) % 7)));

        CHECK(rc == 42 ? number == 1 : rc == -ETIMEDOUT);
    }
    return 0;
}
IORA_ASYNC(comes_and_goes, iora_pool *, int);

TEST_TASK_REAL(pool, bears_cancels_at_any_moment)
{
    enum { TASKS = 20 };
    iora_pool *const pool = make_pool(2, 0);
    iora_task tasks[TASKS];

    for (int i = 0; i < TASKS; i++)
        tasks[i] = iora_go(comes_and_goes, pool, i);
    CHECK_EQ(iora_gather_n(tasks, TASKS), 0);
    CHECK_EQ(iora_pool_free(pool), 0);
    await_threads(0);
}

/* ---- the loop's end, and fork ----------------------------------------------------------------------------- */

static struct gate stuck;
static struct big stuck_big = {.gate = &stuck};

static int
leaves_one_behind(void)
{
    const iora_task task = iora_go(owns, NULL, &stuck_big);

    CHECK_EQ(iora_yield(), 0);
    wait_sem(&stuck.begun);
    CHECK_EQ(iora_cancel(task), 0);
    return iora_await(task) == IORA_E_TASK_CANCELED ? 0 : -EIO;
}
IORA_ASYNC(leaves_one_behind);

TEST_REAL(thread, the_loop_goes_before_a_thread_that_is_stuck)
{
    iora_loop *const loop = test_loop();

    make_gate(&stuck, 0);
    CHECK_EQ(test_run(leaves_one_behind), 0);
    test_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    CHECK_EQ(stuck.passed, 0);
    open_gate(&stuck);
    wait_sem(&stuck.begun);
    await_threads(0);
}

static void
spawn_stuck(void *arg)
{
    (void)arg;
    CHECK(iora_task_is_valid(iora_go_detached(passes, NULL, &stuck)));
}

static void *
open_later(void *arg)
{
    real_sleep_ms(20);
    open_gate(arg);
    return NULL;
}

TEST_REAL(thread, the_loop_goes_only_when_its_tasks_threads_have_let_go)
{
    iora_loop *const loop = test_loop();
    iora_handle handle = {0};
    pthread_t other;

    make_gate(&stuck, 0);
    CHECK_EQ(iora_call_soon(loop, &handle, spawn_stuck, NULL), 0);
    CHECK(iora_loop_run_once(loop, iora_ns(0)) >= 0);
    wait_sem(&stuck.begun);
    CHECK_EQ(pthread_create(&other, NULL, open_later, &stuck), 0);
    test_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    CHECK_EQ(stuck.passed, 1);
    CHECK_EQ(pthread_join(other, NULL), 0);
}

static iora_pool *forked_pool;

static int
forks_and_calls(void)
{
    int number = 0, status;
    struct gate gate;
    iora_task task;
    pid_t pid;

    make_gate(&gate, 0);
    CHECK_EQ(iora_to_thread(add_one, &number), 42);
    task = iora_go(passes, forked_pool, &gate);
    CHECK_EQ(iora_yield(), 0);
    wait_sem(&gate.begun);
    if ((pid = fork()) == 0) {
        const bool well =
            iora_to_thread(add_one, &number) == IORA_E_FORKED &&
            iora_to_thread_in(forked_pool, add_one, &number, NULL) == IORA_E_FORKED &&
            iora_to_thread_owned(NULL, add_one, &number, sizeof number, NULL) == IORA_E_FORKED &&
            iora_pool_free(forked_pool) == 0 && iora_cancel(task) == 0;

        _exit(well ? 0 : 1);
    }
    CHECK_EQ(TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)), pid);
    CHECK_EQ(status, 0);
    open_gate(&gate);
    return iora_await(task);
}
IORA_ASYNC(forks_and_calls);

TEST_REAL(thread, in_a_forked_child_says_so)
{
    forked_pool = make_pool(1, 0);
    CHECK_EQ(test_run(forks_and_calls), 0);
    CHECK_EQ(iora_pool_free(forked_pool), 0);
}

static void
free_all_of_the_parents(void)
{
    CHECK_EQ(iora_loop_free(test_loop()), 0);
    CHECK_EQ(iora_pool_free(forked_pool), 0);
}

static int
uses_both_pools(void)
{
    int number = 0;

    CHECK_EQ(iora_to_thread_in(forked_pool, add_one, &number, NULL), 42);
    return iora_to_thread(add_one, &number) == 42 ? 0 : -EIO;
}
IORA_ASYNC(uses_both_pools);

TEST_REAL(thread, a_forked_child_may_free_the_loop_and_its_pools)
{
    struct child child;

    forked_pool = make_pool(1, 0);
    CHECK_EQ(test_run(uses_both_pools), 0);
    child = child_run(free_all_of_the_parents);
    child_check_ok(&child);
    CHECK_EQ(iora_pool_free(forked_pool), 0);
}

/* Fork a child that calls `entry` while a job runs in the parent, whose loop and pool those are. */
static void
fork_with_a_job(void (*entry)(void))
{
    iora_handle handle = {0};
    struct child child;

    forked_pool = make_pool(1, 0);
    make_gate(&stuck, 0);
    CHECK_EQ(iora_call_soon(test_loop(), &handle, spawn_stuck, NULL), 0);
    CHECK(iora_loop_run_once(test_loop(), iora_ns(0)) >= 0);
    wait_sem(&stuck.begun);
    test_expect_log(); /* that its tasks would not end */
    child = child_run(entry);
    child_check_ok(&child);
    CHECK_EQ(iora_pool_free(forked_pool), 0);
    open_gate(&stuck);
    while (ops_pending() > 0)
        CHECK(iora_loop_run_once(test_loop(), iora_ms(100)) >= 0);
    CHECK(iora_loop_run_once(test_loop(), iora_ns(0)) >= 0);
}

TEST_REAL(thread, a_forked_child_may_free_a_loop_with_jobs)
{
    fork_with_a_job(free_all_of_the_parents);
}

static long allocations_before;

static void
free_all_and_count(void)
{
    free_all_of_the_parents();
    CHECK_EQ(iora__seam_read().alive, allocations_before);
}

/* The pool and its threads' records stayed, and the mailbox with its descriptor, to which the job's thread had a
 * reference. */
TEST_REAL(thread, a_forked_child_kept_what_threads_of_its_parent_had)
{
    allocations_before = iora__seam_read().alive;
    fork_with_a_job(free_all_and_count);
}

/* ---- files ------------------------------------------------------------------------------------------------ */

struct file_op {
    struct iora__op op;
    int done;
    char bytes[16];
};

static void
file_done(struct iora__op *op)
{
    iora__container_of(op, struct file_op, op)->done++;
}

static void
make_file_op(struct file_op *it, enum iora__op_kind kind, int fd)
{
    memset(it, 0, sizeof *it);
    it->op = (struct iora__op){._done = file_done,
                               ._kind = (uint8_t)kind,
                               ._fd = fd,
                               ._flags = IORA__OP_BORROWED,
                               ._base = it->bytes,
                               ._size = 5};
}

/* A file that can neither be waited for nor be asked not to wait: the process's name, as it is kept in /proc. */
static int
open_file(const char *text)
{
    const int fd = open("/proc/self/comm", O_RDWR | O_CLOEXEC);

    CHECK(fd >= 0);
    CHECK_EQ(write(fd, text, strlen(text)), strlen(text)); /* which does not move where it reads */
    return fd;
}

static void *
take_bytes_of(struct iora__op *op, size_t *size)
{
    *size = 3;
    return iora__container_of(op, struct file_op, op)->bytes;
}

TEST_REAL(thread, reads_and_writes_what_cannot_be_waited_for)
{
    const int fd = open_file("hello, world");
    struct file_op it;

    make_file_op(&it, IORA__OP_READ, fd);
    CHECK_EQ(iora__op_submit(test_loop(), &it.op), IORA__OP_PENDING);
    CHECK_EQ(ops_pending(), 1);
    turn_until(test_loop(), &it.done, 1);
    CHECK_EQ(it.op._res, 5);
    CHECK_EQ(it.op._state, IORA__OP_IDLE);
    CHECK_STR(it.bytes, "hello");

    make_file_op(&it, IORA__OP_READ, fd);
    it.op._base = NULL;
    it.op._take = take_bytes_of;
    CHECK_EQ(iora__op_submit(test_loop(), &it.op), IORA__OP_PENDING);
    turn_until(test_loop(), &it.done, 1);
    CHECK_EQ(it.op._res, 3);
    CHECK(it.op._base == it.bytes);
    CHECK_STR(it.bytes, ", w");

    make_file_op(&it, IORA__OP_WRITE, fd);
    memcpy(it.bytes, "there", 5);
    CHECK_EQ(iora__op_submit(test_loop(), &it.op), IORA__OP_PENDING);
    turn_until(test_loop(), &it.done, 1);
    CHECK_EQ(it.op._res, 5);
    CHECK_EQ(pread(fd, it.bytes, 13, 0), 6);
    CHECK_EQ(memcmp(it.bytes, "there\n", 6), 0);
    (void)close(fd);
}

TEST_REAL(thread, a_read_is_cancelled_while_no_thread_has_it)
{
    const int fd = open_file("hello, world");
    struct file_op its[40]; /* more than a pool has threads */
    int cancelled = 0, count = 0;

    for (int i = 0; i < 40; i++) {
        make_file_op(&its[i], IORA__OP_READ, fd);
        its[i].op._size = 1;
        CHECK_EQ(iora__op_submit(test_loop(), &its[i].op), IORA__OP_PENDING);
    }
    for (int i = 39; i >= 0; i--) {
        if (iora__op_cancel(test_loop(), &its[i].op) == IORA__OP_DONE) {
            CHECK_EQ(its[i].op._res, -ECANCELED);
            cancelled++;
        } else {
            count++;
        }
    }
    for (int i = 0; i < 40; i++) {
        while (its[i].op._state != IORA__OP_IDLE)
            CHECK(iora_loop_run_once(test_loop(), iora_ms(100)) >= 0);
        CHECK(its[i].op._res == 0 || its[i].op._res == 1 || its[i].op._res == -ECANCELED);
    }
    CHECK_EQ(ops_pending(), 0);
    CHECK_EQ(cancelled + count, 40);
    (void)close(fd);
}

/* ---- tasks for other threads ------------------------------------------------------------------------------- */

struct caller {
    iora_remote *remote;
    int rc;
    int times;
    pthread_t thread;
};

static iora_event never;
static int children_ended;

static int
ends_late(void)
{
    int rc = iora_event_wait(&never);

    for (int i = 0; i < 5; i++)
        (void)iora_cleanup(iora_yield(), iora_s(10));
    children_ended++;
    return rc;
}
IORA_ASYNC(ends_late);

static int
adds(int a, int b, int *sum)
{
    CHECK(iora_loop_running() == test_loop());
    *sum = a + b;
    (void)iora_go(ends_late);
    return iora_yield() < 0 ? -EIO : a + b;
}
IORA_ASYNC(adds, int, int, int *);

static int
waits_for_ever(void)
{
    return iora_event_wait(&never);
}
IORA_ASYNC(waits_for_ever);

static void *
calls_adds(void *arg)
{
    struct caller *const caller = arg;
    int sum = 0;

    for (int i = 0; i < caller->times; i++) {
        const int rc = iora_run_threadsafe(caller->remote, adds, i, 2, &sum);

        if (rc == i + 2 && sum == i + 2)
            caller->rc++;
    }
    iora_remote_close(caller->remote);
    return NULL;
}

static void *
calls_for_ever(void *arg)
{
    struct caller *const caller = arg;

    caller->rc = iora_run_threadsafe(caller->remote, waits_for_ever);
    iora_remote_close(caller->remote);
    return NULL;
}

static void
start_caller(struct caller *caller, void *(*fn)(void *), int times)
{
    *caller = (struct caller){.times = times};
    CHECK_EQ(iora_remote_open(test_loop(), &caller->remote), 0);
    CHECK_EQ(pthread_create(&caller->thread, NULL, fn, caller), 0);
}

static int
sleeps_until_remotes_are_closed(void)
{
    iora_census census;

    do {
        CHECK_EQ(iora_sleep(iora_ms(1)), 0);
        iora_loop_census(test_loop(), &census);
    } while (census.remotes > 0);
    return 0;
}
IORA_ASYNC(sleeps_until_remotes_are_closed);

TEST_REAL(threadsafe, the_thread_gets_what_the_function_returns)
{
    struct caller callers[3];

    (void)test_loop();
    for (int i = 0; i < 3; i++)
        start_caller(&callers[i], calls_adds, 100);
    CHECK_EQ(test_run(sleeps_until_remotes_are_closed), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(pthread_join(callers[i].thread, NULL), 0);
        CHECK_EQ(callers[i].rc, 100);
    }
    CHECK_EQ(children_ended, 300);
}

static int
waits_until_called(void)
{
    iora_census census;

    do {
        CHECK_EQ(iora_sleep(iora_ms(1)), 0);
        iora_loop_census(test_loop(), &census);
    } while (census.tasks < 3); /* ours, the one that serves, and f */
    return 0;
}
IORA_ASYNC(waits_until_called);

TEST_REAL(threadsafe, the_runs_end_cancels_the_task)
{
    struct caller caller;

    start_caller(&caller, calls_for_ever, 1);
    CHECK_EQ(test_run(waits_until_called), 0);
    CHECK_EQ(pthread_join(caller.thread, NULL), 0);
    CHECK_EQ(caller.rc, IORA_E_TASK_CANCELED);
}

TEST_REAL(threadsafe, says_so_if_the_loop_goes_before_it_can_begin)
{
    iora_loop *const loop = test_loop();
    struct caller caller;

    start_caller(&caller, calls_for_ever, 1);
    while (iora_to_ns(iora_loop_timeout(loop)) != 0) /* until the call has come */
        real_sleep_ms(1);
    test_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    CHECK_EQ(pthread_join(caller.thread, NULL), 0);
    CHECK_EQ(caller.rc, IORA_E_CLOSED);
}

TEST_REAL(threadsafe, says_so_if_the_loop_is_gone)
{
    iora_loop *const loop = test_loop();
    iora_remote *remote;

    CHECK_EQ(iora_remote_open(loop, &remote), 0);
    test_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    CHECK_EQ(iora_run_threadsafe(remote, waits_for_ever), IORA_E_CLOSED);
    iora_remote_close(remote);
}

static int
calls_its_own_loop(void)
{
    iora_remote *remote;
    int rc;

    CHECK_EQ(iora_remote_open(iora_loop_running(), &remote), 0);
    rc = iora_run_threadsafe(remote, waits_for_ever);
    iora_remote_close(remote);
    return rc;
}
IORA_ASYNC(calls_its_own_loop);

TEST_EVERYWHERE(threadsafe, is_refused_in_the_loops_own_thread)
{
    iora_remote *remote;

    CHECK_EQ(test_run(calls_its_own_loop), -EDEADLK);
    CHECK_EQ(iora_remote_open(test_loop(), &remote), 0);
    CHECK_EQ(iora_run_threadsafe(remote, waits_for_ever),
             -EDEADLK); /* it does not run now, but is ours */
    iora_remote_close(remote);
}

/* To close signals took all mail that was on its way, wherever they were closed, and a call began there: in the task
 * that closed them, and with its locals; outside of a turn, where no task can begin; in another loop. */
static const iora_local secret;
static iora_signals usr1;

static int
tells_of_the_secret(void)
{
    return iora_local_get(&secret) != NULL ? -EPERM : 5;
}
IORA_ASYNC(tells_of_the_secret);

static void *
asks_for_the_secret(void *arg)
{
    struct caller *const caller = arg;

    caller->rc = iora_run_threadsafe(caller->remote, tells_of_the_secret);
    iora_remote_close(caller->remote);
    return NULL;
}

static void
start_and_await_mail(struct caller *caller)
{
    start_caller(caller, asks_for_the_secret, 1);
    while (!iora__mailbox_has_mail(test_loop()))
        real_sleep_ms(1);
}

static int
opens_usr1(void)
{
    return iora_signals_open_of(&usr1, SIGUSR1);
}
IORA_ASYNC(opens_usr1);

static int
closes_signals_with_a_secret(struct caller *caller)
{
    CHECK_EQ(iora_local_set(&secret, "of this task"), 0);
    CHECK_EQ(opens_usr1(), 0);
    start_and_await_mail(caller);
    iora_signals_close(&usr1);
    return sleeps_until_remotes_are_closed();
}
IORA_ASYNC(closes_signals_with_a_secret, struct caller *);

TEST_REAL(threadsafe, is_not_begun_by_a_task_that_closes_signals)
{
    struct caller caller;

    CHECK_EQ(test_run(closes_signals_with_a_secret, &caller), 0);
    CHECK_EQ(pthread_join(caller.thread, NULL), 0);
    CHECK_EQ(caller.rc, 5);
}

TEST_REAL(threadsafe, is_not_refused_where_signals_are_closed_between_two_runs)
{
    struct caller caller;

    CHECK_EQ(test_run(opens_usr1), 0);
    start_and_await_mail(&caller);
    iora_signals_close(&usr1);
    CHECK_EQ(test_run(sleeps_until_remotes_are_closed), 0);
    CHECK_EQ(pthread_join(caller.thread, NULL), 0);
    CHECK_EQ(caller.rc, 5);
}

static int
frees_loop(iora_loop *loop)
{
    return iora_loop_free(loop);
}
IORA_ASYNC(frees_loop, iora_loop *);

TEST_REAL(threadsafe, is_not_begun_in_the_loop_that_frees_its_own)
{
    iora_loop *const loop = test_loop();
    struct caller caller;

    CHECK_EQ(test_run(opens_usr1), 0);
    start_and_await_mail(&caller);
    test_forget_loop(loop);
    CHECK_EQ(test_run(frees_loop, loop), 0); /* in a new one */
    CHECK_EQ(pthread_join(caller.thread, NULL), 0);
    CHECK_EQ(caller.rc, IORA_E_CLOSED);
    iora_signals_close(&usr1);
}

static int
fails_loudly(void)
{
    return iora_fail(-EIO, "on purpose");
}
IORA_ASYNC(fails_loudly);

static void *
calls_what_fails(void *arg)
{
    struct caller *const caller = arg;

    caller->rc = iora_run_threadsafe(caller->remote, fails_loudly);
    iora_remote_close(caller->remote);
    return NULL;
}

/* And nobody else is told. */
TEST_REAL(threadsafe, a_failure_goes_to_the_thread)
{
    struct caller caller;

    start_caller(&caller, calls_what_fails, 1);
    CHECK_EQ(test_run(sleeps_until_remotes_are_closed), 0);
    CHECK_EQ(pthread_join(caller.thread, NULL), 0);
    CHECK_EQ(caller.rc, -EIO);
}

/* ---- wake-ups ------------------------------------------------------------------------------------------------ */

static int sent;

static void
count_sent(void *arg)
{
    (void)arg;
    sent++;
}

static int
sends_to_itself(iora_remote *remote)
{
    static iora_handle handles[10];

    CHECK_EQ(iora_sleep(iora_ms(1)), 0); /* a turn has been */
    iora__seam_arm_call(0, 0, false);
    for (int i = 0; i < 10; i++)
        CHECK_EQ(iora_remote_call_soon(remote, &handles[i], count_sent, NULL), 0);
    CHECK_EQ(iora__seam_read().calls, 0);
    while (sent < 10)
        CHECK_EQ(iora_yield(), 0);
    return 0;
}
IORA_ASYNC(sends_to_itself, iora_remote *);

TEST_REAL(remote, a_loop_that_is_awake_is_not_woken)
{
    iora_remote *remote;

    CHECK_EQ(iora_remote_open(test_loop(), &remote), 0);
    CHECK_EQ(test_run(sends_to_itself, remote), 0);
    iora_remote_close(remote);
}

static void
send_from_callback(void *arg)
{
    static iora_handle handle;

    CHECK_EQ(iora_remote_call_soon(arg, &handle, count_sent, NULL), 0);
}

/* What was sent while it turned shows at its descriptor when it has. The turn waits, so that the sender knows
 * that nobody need be woken. */
TEST_REAL(remote, what_comes_to_a_loop_within_another_is_told_by_its_descriptor)
{
    iora_loop *const loop = test_loop();
    iora_timer timer = {0};
    struct pollfd entry = {.fd = iora_loop_fd(loop), .events = POLLIN};
    iora_remote *remote;

    CHECK_EQ(iora_remote_open(loop, &remote), 0);
    CHECK(iora_loop_run_once(loop, iora_ns(0)) >= 0);
    CHECK_EQ(iora_call_later(loop, &timer, iora_us(10), send_from_callback, remote), 0);
    while (iora_timer_is_pending(&timer))
        CHECK(iora_loop_run_once(loop, IORA_FOREVER) >= 0);
    CHECK_EQ(poll(&entry, 1, 0), 1);
    CHECK_EQ(iora_loop_run_once(loop, iora_ns(0)), 0);
    CHECK_EQ(sent, 1);
    iora_remote_close(remote);
}
