/* tests/fault/scenarios_futures.c -- futures, and what other threads send through a remote. */
#include "fault.h"

#include <pthread.h>

static iora_future future;
static int value, told;

static int
awaits(int times)
{
    IN_TASK;
    void *got = NULL;
    int rc = 0;

    while (times-- > 0 && rc >= 0) {
        got = NULL;
        rc = EXPECT_UNLESS_CANCELLED(iora_future_await(&future, &got), 3);
        CHECK(rc < 0 ? got == NULL : got == &value);
    }
    return rc;
}
IORA_ASYNC(awaits, int);

static void
tell(void *arg)
{
    (*(int *)arg)++;
}

static int
sets(void)
{
    static iora_handle handles[3];
    iora_task tasks[3];

    for (int i = 0; i < 2; i++)
        CHECK_EQ(iora_future_on_done(&future, iora_loop_running(), &handles[i], tell, &told), 0);
    for (int i = 0; i < 3; i++)
        tasks[i] = SPAWN(iora_go(awaits, 2));
    EXPECT(iora_yield(), 0);
    CHECK_EQ(iora_future_set(&future, 3, &value), 0);
    CHECK_EQ(iora_future_set(&future, 4, NULL), -EALREADY);
    CHECK_EQ(iora_future_on_done(&future, iora_loop_running(), &handles[2], tell, &told), 0);
    EXPECT(iora_gather_n(tasks, 3), 0);
    EXPECT(iora_yield(), 0);
    CHECK_EQ_UNARMED(told, 3);
    for (int i = 0; i < 3; i++)
        (void)iora_handle_cancel(&handles[i]);
    return 0;
}
IORA_ASYNC(sets);

SCENARIO(futures, set_by_a_task, ANYWHERE)
{
    RUN(sets);
}

/* ---- threads --------------------------------------------------------------------------------------------- */

enum { CALLS = 5 };

static iora_remote *remote;
static iora_handle calls[CALLS];
static iora_timer timer;
static pthread_t thread;
static bool has_thread, all_sent;
static int fired;

static void *
sends(void *arg)
{
    for (int i = 0; i < CALLS; i++)
        CHECK_EQ(iora_remote_call_soon(remote, &calls[i], tell, &told), 0);
    CHECK_EQ(iora_remote_call_later(remote, &timer, iora_ns(0), tell, &fired), 0);
    CHECK_EQ(iora_remote_set_future(remote, &future, 3, &value), 0);
    return arg;
}

static int
hears_from_a_thread(void)
{
    int rc = EXPECT(iora_remote_open(iora_loop_running(), &remote), 0);

    if (rc < 0)
        return rc;
    if (pthread_create(&thread, NULL, sends, NULL) != 0)
        return -EAGAIN;
    has_thread = true;
    rc = EXPECT(iora_gather(SPAWN(iora_go(awaits, 1)), SPAWN(iora_go(awaits, 2))), 0);
    if (rc == 0)
        rc = EXPECT(iora_yield(), 0);
    all_sent = rc == 0;
    return rc;
}
IORA_ASYNC(hears_from_a_thread);

/* The thread may send to a loop that runs no more; it is heard when that runs again, or not at all. */
SCENARIO(futures, set_by_a_thread, ANYWHERE | THREADED)
{
    RUN(hears_from_a_thread);
    if (has_thread)
        CHECK_EQ(pthread_join(thread, NULL), 0);
    if (all_sent) {
        CHECK_EQ(told, CALLS);
        CHECK_EQ(fired, 1);
    } else if (has_thread) {
        for (int i = 0; i < 20 && !iora_future_is_done(&future); i++)
            EXPECT(iora_loop_run_once(fault_loop(), iora_ms(1)), 0, 1);
        CHECK_EQ(told, CALLS);
        EXPECT(iora_loop_run_once(fault_loop(), iora_ns(0)), 0, 1);
        CHECK_EQ(fired, 1);
    }
    iora_remote_close(remote);
}

static void *
sends_to_a_closed_loop(void *arg)
{
    const int rc = iora_remote_call_soon(arg, &calls[0], tell, &told);

    CHECK(rc == 0 || rc == IORA_E_CLOSED);
    iora_remote_close(arg);
    return NULL;
}

/* A remote outlives its loop; whoever lets go last frees what is between them. */
SCENARIO(futures, remote_of_a_loop_that_goes, ANYWHERE)
{
    iora_remote *second = NULL;

    if (fault_loop() == NULL || EXPECT(iora_remote_open(fault_loop(), &remote), 0) < 0)
        return;
    (void)EXPECT(iora_remote_open(fault_loop(), &second), 0);
    CHECK_EQ(pthread_create(&thread, NULL, sends_to_a_closed_loop, remote), 0);
    iora_loop *const loop = fault_loop();
    fault_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(told, 0);
    if (second != NULL)
        CHECK_EQ(iora_remote_call_soon(second, &calls[1], tell, &told), IORA_E_CLOSED);
    iora_remote_close(second);
}

/* The last remote goes while the loop waits for nothing else: it must look again, and see that all is over. */
static void *
closes(void *arg)
{
    iora_remote_close(arg);
    return NULL;
}

static int
waits_in_vain(void)
{
    const int rc = EXPECT(iora_remote_open(iora_loop_running(), &remote), 0);

    if (rc < 0)
        return rc;
    if (pthread_create(&thread, NULL, closes, remote) != 0)
        return -EAGAIN;
    has_thread = true;
    return EXPECT(iora_future_await(&future, NULL), -ECANCELED);
}
IORA_ASYNC(waits_in_vain);

SCENARIO(futures, remote_that_goes, ANYWHERE | THREADED)
{
    fault_expect_log("deadlock");
    fault_expect_log("waits_in_vain");
    if (fault_loop() == NULL)
        return;
    EXPECT(iora_run_in(fault_loop(), waits_in_vain), -EDEADLK);
    if (has_thread)
        CHECK_EQ(pthread_join(thread, NULL), 0);
}

/* What was sent before the remote was closed still happens, though nothing else could wake the loop. */
static int
sends_and_closes(void)
{
    int rc = EXPECT(iora_remote_open(iora_loop_running(), &remote), 0);

    if (rc < 0)
        return rc;
    CHECK_EQ(iora_remote_set_future(remote, &future, 3, &value), 0);
    iora_remote_close(remote);
    rc = EXPECT(iora_future_await(&future, NULL), 3);
    return rc < 0 ? rc : 0;
}
IORA_ASYNC(sends_and_closes);

SCENARIO(futures, sent_and_closed, ANYWHERE)
{
    RUN(sends_and_closes);
}
