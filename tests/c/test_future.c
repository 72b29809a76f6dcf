/* tests/c/test_future.c -- results that are set once. */
#include "waiting.h"

#include <pthread.h>
#include <time.h>

static iora_future future;
static int some_value, other_value;

static int
await_future(const char *name)
{
    void *value = &future;
    const int rc = iora_future_await(&future, &value);

    test_trace("%s:%s", name, rc > 0 ? "result" : iora_err_name(rc));
    CHECK(value == (rc >= 0 ? &some_value : (void *)&future));
    return rc;
}
IORA_ASYNC(await_future, const char *);

static void
set(int rc)
{
    CHECK_EQ(iora_future_set(&future, rc, &some_value), 0);
}

/* ---- setting and awaiting -------------------------------------------------------------------- */

TEST_TASK(future, initialiser_and_zeroed_memory_make_one_that_is_not_set)
{
    iora_future other = IORA_FUTURE_INIT;

    CHECK(!iora_future_is_done(&future));
    CHECK(!iora_future_is_done(&other));
    CHECK_EQ(iora_wait_for(iora_future_await(&future, NULL), iora_ms(1)), -ETIMEDOUT);
    CHECK_EQ(iora_wait_for(iora_future_await(&other, NULL), iora_ms(1)), -ETIMEDOUT);
}

TEST_TASK(future, await_returns_its_code_and_value)
{
    const iora_task waiter = iora_go(await_future, "waiter");

    let_all_run();
    CHECK_TRACE("");
    set(7);
    CHECK(iora_future_is_done(&future));
    CHECK_EQ(iora_await(waiter), 7);
    CHECK_TRACE("waiter:result");
}

TEST_TASK(future, set_one_is_awaited_at_once_any_number_of_times)
{
    void *value = NULL;

    set(3);
    iora_go(await_future, "other");
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(iora_future_await(&future, &value), 3);
        CHECK(value == &some_value);
    }
    CHECK_EQ(iora_future_await(&future, NULL), 3);
    CHECK_TRACE(""); /* it did not suspend */
}

TEST_TASK(future, all_who_wait_get_the_result_in_the_order_of_waiting)
{
    iora_go(await_future, "a");
    iora_go(await_future, "b");
    iora_go(await_future, "c");
    let_all_run();
    set(0);
    let_all_run();
    CHECK_TRACE("a:OK b:OK c:OK");
}

TEST_TASK(future, error_leaves_the_value_alone)
{
    const iora_task waiter = iora_go(await_future, "waiter");

    let_all_run();
    set(-EIO);
    CHECK_EQ(iora_await(waiter), -EIO);
    CHECK_EQ(await_future("main"), -EIO);
    CHECK_TRACE("waiter:EIO main:EIO");
}

TEST_TASK(future, is_set_once_only)
{
    void *value = NULL;

    set(1);
    CHECK_EQ(iora_future_set(&future, 2, &other_value), -EALREADY);
    CHECK_EQ(iora_future_await(&future, &value), 1);
    CHECK(value == &some_value);
}

TEST_TASK(future, cancelled_await_leaves_it_and_the_others_alone)
{
    iora_task a = iora_go(await_future, "a");

    iora_go(await_future, "b");
    let_all_run();
    CHECK_EQ(iora_cancel(a), 0);
    let_all_run();
    CHECK(!iora_future_is_done(&future));
    CHECK_TRACE("a:ECANCELED");
    set(0);
    let_all_run();
    CHECK_TRACE("a:ECANCELED b:OK");
}

TEST_TASK(future, cancel_after_it_was_set_is_seen_by_the_next_call)
{
    iora_task waiter = iora_go(await_future, "waiter");

    let_all_run();
    set(4);
    CHECK_EQ(iora_cancel(waiter), 0);
    CHECK_EQ(iora_await(waiter), 4);
}

TEST_TASK(future, await_in_a_cancelled_scope_does_nothing)
{
    void *value = NULL;

    CHECK_EQ(CANCELLED(iora_future_await(&future, &value)), -ECANCELED);
    set(1);
    CHECK_EQ(CANCELLED(iora_future_await(&future, &value)), -ECANCELED);
    CHECK(value == NULL);
}

TEST_TASK(future, waiting_needs_no_memory)
{
    iora_task waiter = iora_go(await_future, "waiter");

    CHECK_EQ(iora_yield(), 0);
    iora__seam_arm_allocation(1, true);
    let_all_run();
    set(0);
    let_all_run();
    CHECK_EQ(iora__seam_disarm().allocations, 0);
    CHECK_EQ(iora_await(waiter), 0);
}

static int
future_await(void)
{
    return iora_future_await(&future, NULL);
}

TEST(future, await_needs_a_task)
{
    check_needs_a_task(future_await);
    set(1);
    check_needs_a_task(future_await);
}

/* ---- callbacks ------------------------------------------------------------------------------- */

static iora_handle handles[3];

static void
trace_call(void *arg)
{
    test_trace("%s", (const char *)arg);
}

static int
call_when_done(int handle, const char *name)
{
    return iora_future_on_done(&future, test_loop(), &handles[handle], trace_call, (void *)name);
}

TEST_TASK(future, callbacks_run_in_the_order_they_were_asked_for)
{
    CHECK_EQ(call_when_done(0, "first"), 0);
    CHECK_EQ(call_when_done(1, "second"), 0);
    CHECK_EQ(call_when_done(2, "third"), 0);
    let_all_run();
    CHECK_TRACE("");
    set(0);
    CHECK_TRACE(""); /* not inside set, but from the ready queue */
    let_all_run();
    CHECK_TRACE("first second third");
}

TEST_TASK(future, callback_of_a_set_one_runs_soon)
{
    set(0);
    CHECK_EQ(call_when_done(0, "called"), 0);
    CHECK_TRACE("");
    let_all_run();
    CHECK_TRACE("called");
}

TEST_TASK(future, callback_whose_handle_is_pending_is_refused)
{
    iora_future other = IORA_FUTURE_INIT;

    CHECK_EQ(iora_call_soon(test_loop(), &handles[0], trace_call, "soon"), 0);
    CHECK_EQ(call_when_done(0, "no"), -EBUSY);
    let_all_run();
    CHECK_EQ(call_when_done(0, "yes"), 0);
    CHECK(iora_handle_is_pending(&handles[0]));
    CHECK_EQ(call_when_done(0, "no"), -EBUSY);
    CHECK_EQ(iora_future_on_done(&other, test_loop(), &handles[0], trace_call, "no"), -EBUSY);
    CHECK_EQ(iora_call_soon(test_loop(), &handles[0], trace_call, "no"), -EBUSY);
    set(0);
    CHECK_EQ(call_when_done(0, "no"), -EBUSY);
    let_all_run();
    CHECK_TRACE("soon yes");
}

TEST_TASK(future, callback_can_be_taken_back)
{
    for (int i = 0; i < 3; i++)
        CHECK_EQ(call_when_done(i, "called"), 0);
    CHECK(iora_handle_cancel(&handles[1]));
    CHECK(!iora_handle_cancel(&handles[1]));
    set(0);
    CHECK(iora_handle_cancel(&handles[2]));
    let_all_run();
    CHECK_TRACE("called");
}

TEST_TASK(future, callbacks_all_taken_back_leave_it_usable)
{
    CHECK_EQ(call_when_done(0, "no"), 0);
    CHECK(iora_handle_cancel(&handles[0]));
    CHECK_EQ(call_when_done(0, "yes"), 0);
    set(0);
    let_all_run();
    CHECK_TRACE("yes");
}

static void
set_future(void *arg)
{
    CHECK_EQ(iora_future_set(arg, 5, &some_value), 0);
}

TEST_TASK(future, is_set_from_a_callback)
{
    iora_timer timer = {0};
    const long long began = test_ms();

    CHECK_EQ(iora_call_later(test_loop(), &timer, iora_ms(30), set_future, &future), 0);
    CHECK_EQ(await_future("main"), 5);
    CHECK_EQ(test_ms() - began, 30);
}

static void
ask_again(void *arg)
{
    static iora_future next = IORA_FUTURE_INIT;

    CHECK_EQ(iora_future_on_done(&next, test_loop(), arg, trace_call, "again"), 0);
    CHECK_EQ(iora_future_set(&next, 0, NULL), 0);
}

TEST_TASK(future, callback_may_use_its_handle_again)
{
    CHECK_EQ(iora_future_on_done(&future, test_loop(), &handles[0], ask_again, &handles[0]), 0);
    set(0);
    let_all_run();
    CHECK_TRACE("again");
}

/* ---- from another thread --------------------------------------------------------------------- */

static iora_remote *remote;

static void *
set_from_thread(void *arg)
{
    const struct timespec pause = {0, 2000000};

    (void)arg;
    (void)nanosleep(&pause, NULL);
    CHECK_EQ(iora_remote_set_future(remote, &future, 9, &some_value), 0);
    return NULL;
}

TEST_TASK_EVERYWHERE(future, is_set_from_a_thread)
{
    pthread_t thread;

    CHECK_EQ(iora_remote_open(test_loop(), &remote), 0);
    CHECK_EQ(pthread_create(&thread, NULL, set_from_thread, NULL), 0);
    CHECK_EQ(call_when_done(0, "callback"), 0);
    CHECK_EQ(await_future("main"), 9);
    CHECK_EQ(iora_yield(), 0);
    CHECK_TRACE("main:result callback");
    CHECK_EQ(pthread_join(thread, NULL), 0);
    iora_remote_close(remote);
}

TEST_TASK_EVERYWHERE(future, set_from_afar_is_not_set_again)
{
    void *value = NULL;

    CHECK_EQ(iora_remote_open(test_loop(), &remote), 0);
    set(1);
    CHECK_EQ(iora_remote_set_future(remote, &future, 2, &other_value), 0);
    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK_EQ(iora_future_await(&future, &value), 1);
    CHECK(value == &some_value);
    iora_remote_close(remote);
}

TEST_TASK_EVERYWHERE(future, set_before_the_loop_takes_notice_of_afar_stays_so)
{
    void *value = NULL;

    CHECK_EQ(iora_remote_open(test_loop(), &remote), 0);
    CHECK_EQ(iora_remote_set_future(remote, &future, 2, &other_value), 0);
    CHECK(!iora_future_is_done(&future));
    set(1);
    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK_EQ(iora_future_await(&future, &value), 1);
    CHECK(value == &some_value);
    iora_remote_close(remote);
}

TEST(future, is_not_set_from_afar_once_the_loop_is_gone)
{
    iora_loop *const loop = test_loop();

    CHECK_EQ(iora_remote_open(loop, &remote), 0);
    test_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    CHECK_EQ(iora_remote_set_future(remote, &future, 1, &some_value), IORA_E_CLOSED);
    CHECK(!iora_future_is_done(&future));
    iora_remote_close(remote);
}

TEST(future, refuses_the_code_that_means_the_waiter_is_cancelled)
{
    iora_future fresh = IORA_FUTURE_INIT;

    CHECK_EQ(iora_future_set(&fresh, -ECANCELED, NULL), -EINVAL);
    CHECK(!iora_future_is_done(&fresh));
}

/* The second sending linked the handle to itself. */
TEST(future, is_sent_from_other_threads_once)
{
    iora_future fresh = IORA_FUTURE_INIT;
    iora_remote *way_in;

    CHECK_EQ(iora_remote_open(test_loop(), &way_in), 0);
    CHECK_EQ(iora_remote_set_future(way_in, &fresh, -ECANCELED, NULL), -EINVAL);
    CHECK_EQ(iora_remote_set_future(way_in, &fresh, 7, NULL), 0);
    CHECK_EQ(iora_remote_set_future(way_in, &fresh, 8, NULL), -EALREADY);
    CHECK(iora_loop_run_once(test_loop(), iora_ns(0)) >= 0);
    CHECK(iora_future_is_done(&fresh));
    iora_remote_close(way_in);
}
