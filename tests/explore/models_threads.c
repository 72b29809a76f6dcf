/* explore/models_threads.c -- models of jobs, pools and calls into a loop that wait for their answer (core/lane.c,
 * os/pool.c, io/thread.c, os/resolve.c, task/block.c). */
#include "kernel.h"
#include "models.h"

#include "core/loop.h"
#include "os/pool.h"
#include "os/resolve.h"

#include <fcntl.h>
#include <netdb.h>

static struct {
    iora_pool *pool; /* NULL: the loop's own */
    iora_remote *remote; /* NULL: nobody waits for the job's beginning */
    iora_future has_begun;
    int begun, ended, dropped;
    bool stopped;
} it;

static void
begin(iora_pool *pool)
{
    memset(&it, 0, sizeof it);
    it.pool = pool;
}

static int
do_job(void *arg)
{
    CHECK(iora_loop_running() == NULL);
    it.begun++;
    (*(int *)arg)++;
    if (it.remote != NULL)
        CHECK_EQ(iora_remote_set_future(it.remote, &it.has_begun, 0, NULL), 0);
    explore_point("work");
    it.ended++;
    return 7;
}

/* ---- jobs -------------------------------------------------------------------------------------------------- */

static int
calls(int *count)
{
    return iora_to_thread_in(it.pool, do_job, count, NULL);
}
IORA_ASYNC(calls, int *);

static int
calls_twice(int *count)
{
    CHECK_EQ(calls(count), 7);
    CHECK_EQ(*count, 1);
    return calls(count);
}
IORA_ASYNC(calls_twice, int *);

MODEL(thread, a_job_comes_back_to_a_loop_that_sleeps)
{
    iora_loop *const loop = model_loop();
    int count = 0;

    begin(NULL);
    CHECK_EQ(iora_run_in(loop, calls, &count), 7);
    CHECK_EQ(count, 1);
    CHECK_EQ(iora_loop_free(loop), 0);
}

/* The second is submitted while the thread that ended the first is about to look for more. */
MODEL(thread, one_job_after_the_other_finds_the_thread_that_returns)
{
    iora_loop *const loop = model_loop();
    int count = 0;

    begin(NULL);
    CHECK_EQ(iora_run_in(loop, calls_twice, &count), 7);
    CHECK_EQ(count, 2);
    CHECK_EQ(iora_loop_free(loop), 0);
}

MODEL(thread, where_there_are_two_processors_both_spin)
{
    iora_loop *loop;
    int count = 0;

    explore_set_processors(2);
    loop = model_loop();
    begin(NULL);
    CHECK_EQ(iora_run_in(loop, calls_twice, &count), 7);
    CHECK_EQ(count, 2);
    CHECK_EQ(iora_loop_free(loop), 0);
}

static int
gathers_two(int *counts)
{
    return iora_gather(iora_go(calls, &counts[0]), iora_go(calls, &counts[1]));
}
IORA_ASYNC(gathers_two, int *);

MODEL(pool, one_thread_takes_two_jobs)
{
    iora_loop *const loop = model_loop();
    int counts[2] = {0};

    begin(model_pool(1, 0));
    CHECK_EQ(iora_run_in(loop, gathers_two, counts), 0);
    CHECK_EQ(counts[0] + counts[1], 2);
    CHECK_EQ(iora_pool_free(it.pool), 0);
    CHECK_EQ(iora_loop_free(loop), 0);
}

MODEL(pool, two_threads_take_a_job_each)
{
    iora_loop *const loop = model_loop();
    int counts[2] = {0};

    begin(model_pool(2, 0));
    CHECK_EQ(iora_run_in(loop, gathers_two, counts), 0);
    CHECK_EQ(counts[0] + counts[1], 2);
    CHECK_EQ(iora_pool_free(it.pool), 0);
    CHECK_EQ(iora_loop_free(loop), 0);
}

MODEL_TIMED(pool, an_idle_thread_s_time_is_over_as_a_job_comes)
{
    iora_loop *const loop = model_loop();
    int count = 0;

    begin(model_pool(1, 0));
    CHECK_EQ(iora_run_in(loop, calls_twice, &count), 7);
    CHECK_EQ(count, 2);
    CHECK_EQ(iora_pool_free(it.pool), 0);
    CHECK_EQ(iora_loop_free(loop), 0);
}

static int
has_too_many(int *counts)
{
    iora_task tasks[3];
    int refused = 0;

    for (int i = 0; i < 3; i++)
        tasks[i] = iora_go(calls, &counts[i]);
    for (int i = 0; i < 3; i++) {
        const int rc = iora_await(tasks[i]);

        CHECK(rc == 7 || rc == -EAGAIN);
        CHECK_EQ(counts[i], rc == 7);
        refused += rc == -EAGAIN;
    }
    return refused;
}
IORA_ASYNC(has_too_many, int *);

MODEL(pool, a_full_queue_refuses_what_it_has_no_room_for)
{
    iora_loop *const loop = model_loop();
    int counts[3] = {0};

    begin(model_pool(1, 1));
    CHECK(iora_run_in(loop, has_too_many, counts) <= 1); /* one is for the thread, and one may wait */
    CHECK_EQ(iora_pool_free(it.pool), 0);
    CHECK_EQ(iora_loop_free(loop), 0);
}

static void
use_pool(void *arg)
{
    iora_loop *const loop = model_loop();

    CHECK_EQ(iora_run_in(loop, calls, arg), 7);
    CHECK_EQ(iora_loop_free(loop), 0);
}

MODEL(pool, two_loops_share_one)
{
    struct explore__thread *other;
    int counts[2] = {0};

    begin(model_pool(1, 0));
    other = explore_start("other", use_pool, &counts[1]);
    use_pool(&counts[0]);
    explore_join(other);
    CHECK_EQ(counts[0] + counts[1], 2);
    CHECK_EQ(iora_pool_free(it.pool), 0);
}

/* ---- cancelled -------------------------------------------------------------------------------------------- */

static void
note_stop(void *arg)
{
    CHECK_EQ(*(int *)arg <= 1, 1);
    it.stopped = true;
}

static int
calls_stoppable(int *count)
{
    const int rc = iora_to_thread_in(it.pool, do_job, count, note_stop);

    CHECK(rc == 7 || (rc == -ECANCELED && *count == 0 && !it.stopped));
    return rc;
}
IORA_ASYNC(calls_stoppable, int *);

/* Until the job has been submitted, or if somebody is to tell, has begun. */
static void
await_begin(void)
{
    CHECK_EQ(it.remote != NULL ? iora_future_await(&it.has_begun, NULL) : iora_yield(), 0);
}

static int
cancels(int *count)
{
    const iora_task task = iora_go(calls_stoppable, count);
    int rc;

    await_begin();
    (void)iora_cancel(task);
    rc = iora_await(task);
    CHECK(rc == 7 || rc == IORA_E_TASK_CANCELED);
    return 0;
}
IORA_ASYNC(cancels, int *);

MODEL(pool, a_job_is_cancelled_as_a_thread_takes_it)
{
    iora_loop *const loop = model_loop();
    int count = 0;

    begin(model_pool(1, 0));
    CHECK_EQ(iora_run_in(loop, cancels, &count), 0);
    CHECK_EQ(iora_pool_free(it.pool), 0);
    CHECK_EQ(it.ended, it.begun);
    CHECK_EQ(iora_loop_free(loop), 0);
}

MODEL(pool, a_job_is_cancelled_as_it_ends)
{
    iora_loop *const loop = model_loop();
    int count = 0;

    begin(model_pool(1, 0));
    it.remote = model_remote(loop);
    CHECK_EQ(iora_run_in(loop, cancels, &count), 0);
    CHECK_EQ(it.ended, 1);
    CHECK_EQ(iora_pool_free(it.pool), 0);
    iora_remote_close(it.remote);
    CHECK_EQ(iora_loop_free(loop), 0);
}

MODEL(pool, of_two_jobs_the_one_that_waits_is_cancelled)
{
    iora_loop *const loop = model_loop();
    int counts[2] = {0};
    struct explore__thread *other;

    begin(model_pool(1, 0));
    other = explore_start("other", use_pool, &counts[1]);
    CHECK_EQ(iora_run_in(loop, cancels, &counts[0]), 0);
    explore_join(other);
    CHECK_EQ(counts[1], 1);
    CHECK_EQ(iora_pool_free(it.pool), 0);
    CHECK_EQ(iora_loop_free(loop), 0);
}

static void
drop_copy(void *copy)
{
    CHECK_EQ(*(int *)copy, 1);
    it.dropped++;
}

static int
owns(int *count)
{
    return iora_to_thread_owned(it.pool, do_job, count, sizeof *count, drop_copy);
}
IORA_ASYNC(owns, int *);

static int
gives_up(int *count)
{
    const iora_task task = iora_go(owns, count);
    int rc;

    await_begin();
    (void)iora_cancel(task);
    rc = iora_await(task);
    CHECK(rc == 7 || rc == IORA_E_TASK_CANCELED);
    return rc == 7;
}
IORA_ASYNC(gives_up, int *);

/* Whose the copy is at the end: the task's, or the thread's. And loop and pool go meanwhile. */
static void
give_up_and_go(iora_pool *pool, bool waits_for_begin)
{
    iora_loop *const loop = model_loop();
    int count = 0, came_back;

    begin(pool);
    it.remote = waits_for_begin ? model_remote(loop) : NULL;
    came_back = iora_run_in(loop, gives_up, &count);
    iora_remote_close(it.remote);
    CHECK_EQ(iora_pool_free(pool), 0);
    CHECK_EQ(iora_loop_free(loop), 0);
    CHECK(!came_back || (count == 1 && it.dropped == 0));
    CHECK(it.dropped <= it.begun);
}

MODEL(pool, a_job_is_given_up_as_a_thread_takes_it_and_the_pool_goes)
{
    give_up_and_go(model_pool(1, 0), false);
}

MODEL(thread, a_job_is_given_up_as_a_thread_takes_it_and_the_loop_goes)
{
    give_up_and_go(NULL, false);
}

static void
try_to_free_pool(void *arg)
{
    const int rc = iora_pool_free(it.pool);

    (void)arg;
    CHECK(rc == 0 || rc == -EBUSY);
    if (rc == 0)
        it.pool = NULL;
}

MODEL(pool, a_job_is_given_up_as_it_ends_and_the_pool_goes)
{
    give_up_and_go(model_pool(1, 0), true);
}

/* Who gives a pool back before it is out of use is told so. */
MODEL(pool, is_freed_or_busy_as_its_last_job_ends)
{
    iora_loop *const loop = model_loop();
    struct explore__thread *other;
    int count = 0;

    begin(model_pool(1, 0));
    CHECK_EQ(iora_run_in(loop, calls, &count), 7);
    other = explore_start("other", try_to_free_pool, NULL);
    CHECK_EQ(iora_loop_free(loop), 0);
    explore_join(other);
    CHECK(it.pool == NULL);
}

/* ---- names ------------------------------------------------------------------------------------------------ */

static int
resolve_nothing(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **out)
{
    (void)host;
    (void)service;
    (void)hints;
    (void)out;
    explore_point("work");
    return IORA_E_NAME;
}

static int
asks(void)
{
    struct addrinfo *found;

    return iora_getaddrinfo("example.org", "80", NULL, &found);
}
IORA_ASYNC(asks);

static int
asks_and_cancels(void)
{
    const iora_task task = iora_go(asks);
    int rc;

    CHECK_EQ(iora_yield(), 0);
    (void)iora_cancel(task);
    rc = iora_await(task);
    CHECK(rc == IORA_E_NAME || rc == IORA_E_TASK_CANCELED);
    return 0;
}
IORA_ASYNC(asks_and_cancels);

MODEL(names, a_look_up_is_cancelled_as_the_answer_comes_and_the_loop_goes)
{
    iora_loop *const loop = model_loop();

    begin(NULL);
    iora__resolve_instead = resolve_nothing;
    CHECK_EQ(iora_run_in(loop, asks_and_cancels), 0);
    CHECK_EQ(iora_loop_free(loop), 0);
}

/* ---- files ------------------------------------------------------------------------------------------------ */

struct file_op {
    struct iora__op op;
    int done;
    char bytes[4];
};

static void
note_done(struct iora__op *op)
{
    iora__container_of(op, struct file_op, op)->done++;
}

/* The process's name in /proc can neither be waited for nor be asked not to wait. */
MODEL(thread, a_file_s_read_is_cancelled_as_a_thread_does_it)
{
    iora_loop *const loop = model_loop();
    const int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
    struct file_op file = {.op = {._done = note_done,
                                  ._kind = IORA__OP_READ,
                                  ._fd = fd,
                                  ._flags = IORA__OP_BORROWED}};
    int rc;

    CHECK(fd >= 0);
    file.op._base = file.bytes;
    file.op._size = sizeof file.bytes;
    CHECK_EQ(iora__op_submit(loop, &file.op), IORA__OP_PENDING);
    rc = iora__op_cancel(loop, &file.op);
    while (rc == IORA__OP_PENDING && file.done == 0)
        CHECK(iora_loop_run_once(loop, IORA_FOREVER) >= 0);
    CHECK_EQ(file.op._res, rc == IORA__OP_PENDING ? (int)sizeof file.bytes : -ECANCELED);
    iora__sys_close(fd);
    CHECK_EQ(iora_loop_free(loop), 0);
}

/* ---- calls into a loop ------------------------------------------------------------------------------------- */

struct caller {
    iora_remote *remote;
    int rc;
};

static int
adds(int a, int b)
{
    const int rc = iora_yield();

    return rc < 0 ? rc : a + b;
}
IORA_ASYNC(adds, int, int);

static void
call_in(void *arg)
{
    struct caller *const caller = arg;

    caller->rc = iora_run_threadsafe(caller->remote, adds, 3, 4);
    iora_remote_close(caller->remote);
    caller->remote = NULL;
}

static int
yields_while_there_are_callers(struct caller *callers, int count)
{
    iora_handle handle = {0};

    (void)handle;
    for (int i = 0; i < count; i++) {
        while (callers[i].remote != NULL) {
            const int rc = iora_sleep(iora_ms(1));

            if (rc < 0)
                return rc;
        }
    }
    return 0;
}
IORA_ASYNC(yields_while_there_are_callers, struct caller *, int);

MODEL_TIMED(threadsafe, two_threads_call_and_get_their_answers)
{
    iora_loop *const loop = model_loop();
    struct caller callers[2] = {{model_remote(loop), 0}, {model_remote(loop), 0}};
    struct explore__thread *first, *second;

    first = explore_start("first", call_in, &callers[0]);
    second = explore_start("second", call_in, &callers[1]);
    CHECK_EQ(iora_run_in(loop, yields_while_there_are_callers, callers, 2), 0);
    explore_join(first);
    explore_join(second);
    CHECK_EQ(callers[0].rc, 7);
    CHECK_EQ(callers[1].rc, 7);
    CHECK_EQ(iora_loop_free(loop), 0);
}

MODEL_TIMED(threadsafe, where_there_are_two_processors_the_thread_spins)
{
    struct caller caller = {0};
    struct explore__thread *thread;
    iora_loop *loop;

    explore_set_processors(2);
    loop = model_loop();
    caller.remote = model_remote(loop);
    thread = explore_start("caller", call_in, &caller);
    CHECK_EQ(iora_run_in(loop, yields_while_there_are_callers, &caller, 1), 0);
    explore_join(thread);
    CHECK_EQ(caller.rc, 7);
    CHECK_EQ(iora_loop_free(loop), 0);
}

static iora_future answered;

static void
call_in_and_tell(void *arg)
{
    struct caller *const caller = arg;

    caller->rc = iora_run_threadsafe(caller->remote, adds, 3, 4);
    CHECK_EQ(iora_remote_set_future(caller->remote, &answered, 0, NULL), 0);
}

static int
awaits_answered(void)
{
    return iora_future_await(&answered, NULL);
}
IORA_ASYNC(awaits_answered);

MODEL(threadsafe, a_thread_calls_a_loop_that_sleeps)
{
    iora_loop *const loop = model_loop();
    struct caller caller = {model_remote(loop), 0};
    struct explore__thread *const thread = explore_start("caller", call_in_and_tell, &caller);

    answered = (iora_future)IORA_FUTURE_INIT;
    CHECK_EQ(iora_run_in(loop, awaits_answered), 0);
    explore_join(thread);
    CHECK_EQ(caller.rc, 7);
    iora_remote_close(caller.remote);
    CHECK_EQ(iora_loop_free(loop), 0);
}

static int
ends_soon(void)
{
    return iora_yield();
}
IORA_ASYNC(ends_soon);

/* Served, cancelled by the run's end, or refused; but always answered. */
MODEL(threadsafe, a_thread_calls_as_the_run_ends_and_the_loop_goes)
{
    iora_loop *const loop = model_loop();
    struct caller caller = {model_remote(loop), 0};
    struct explore__thread *const thread = explore_start("caller", call_in, &caller);

    CHECK_EQ(iora_run_in(loop, ends_soon), 0);
    CHECK_EQ(iora_loop_free(loop), 0);
    explore_join(thread);
    CHECK(caller.rc == 7 || caller.rc == IORA_E_TASK_CANCELED || caller.rc == IORA_E_CLOSED);
}

/* ---- what loops share ---------------------------------------------------------------------------------------- */

static void
run_a_loop(void *arg)
{
    iora_loop *const loop = model_loop();

    (void)arg;
    CHECK_EQ(iora_run_in(loop, ends_soon), 0);
    CHECK_EQ(iora_loop_free(loop), 0);
}

MODEL(blocks, two_loops_take_and_leave_slabs)
{
    struct explore__thread *const other = explore_start("other", run_a_loop, NULL);

    run_a_loop(NULL);
    run_a_loop(NULL);
    explore_join(other);
}
