/* tests/c/test_scope.c -- deadlines, scopes that are cancelled by hand, and cleanup. */
#include "test.h"

#include <math.h>

/* ---- what the tests use ---------------------------------------------------------------------------------------- */

static void
at(const char *what)
{
    test_trace("%s@%lld", what, test_ms());
}

static int
say(const char *word)
{
    test_trace("%s", word);
    return 0;
}
IORA_ASYNC(say, const char *);

/* Sleeps, then returns a code, or the sleep's. */
static int
work(iora_duration d, int code)
{
    const int rc = iora_sleep(d);

    return rc < 0 ? rc : code;
}
IORA_ASYNC(work, iora_duration, int);

/* ---- the three forms -------------------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(timeout, of_an_expression_that_takes_too_long_is_etimedout)
{
    const iora_instant began = iora_now();

    CHECK_EQ(iora_wait_for(iora_sleep(iora_s(60)), iora_ms(5)), -ETIMEDOUT);
    CHECK(iora_to_ns(iora_between(began, iora_now())) >= 5000000);
    if (test_where() == TEST_SIM)
        CHECK_EQ(test_ms(), 5);
    CHECK(!iora_is_cancelled());
    CHECK_EQ(iora_yield(), 0);
}

TEST_TASK(timeout, of_an_expression_in_time_is_its_value)
{
    CHECK_EQ(iora_wait_for(work(iora_ms(5), 17), iora_ms(10)), 17);
    CHECK_EQ(iora_wait_for(work(iora_ms(5), -EIO), iora_ms(10)), -EIO);
    CHECK_EQ(iora_wait_for(work(iora_ms(5), -ECANCELED), iora_ms(10)), -ECANCELED);
    CHECK_EQ(test_ms(), 15);
}

TEST_TASK(timeout, maps_no_code_but_ecanceled)
{
    CHECK_EQ(iora_wait_for((iora_sleep(iora_s(1)), 3), iora_ms(1)), 3);
    CHECK_EQ(iora_wait_for((iora_sleep(iora_s(1)), 0), iora_ms(1)), 0);
    CHECK_EQ(iora_wait_for((iora_sleep(iora_s(1)), -EIO), iora_ms(1)), -EIO);
    CHECK_EQ(iora_wait_for((iora_sleep(iora_s(1)), IORA_E_TASK_CANCELED), iora_ms(1)),
             IORA_E_TASK_CANCELED);
}

TEST_TASK(timeout, block_maps_rc_where_it_ends)
{
    int rc = 0;

    IORA_TIMEOUT(rc, iora_ms(10)) {
        rc = iora_sleep(iora_s(1));
        CHECK_EQ(rc, -ECANCELED);
    }
    CHECK_EQ(rc, -ETIMEDOUT);
    IORA_TIMEOUT(rc, iora_ms(10)) {
        rc = iora_sleep(iora_ms(1));
    }
    CHECK_EQ(rc, 0);
    IORA_TIMEOUT(rc, iora_ms(10))
        rc = work(iora_ms(1), 5);
    CHECK_EQ(rc, 5);
    CHECK_EQ(test_ms(), 12);
}

TEST_TASK(timeout, begin_and_end_map_the_code_they_are_given)
{
    iora_scope scope;

    iora_timeout_begin(&scope, iora_ms(10));
    CHECK(!iora_timed_out(&scope));
    CHECK_EQ(iora_sleep(iora_s(1)), -ECANCELED);
    CHECK(iora_timed_out(&scope));
    CHECK(iora_is_cancelled());
    CHECK_EQ(iora_timeout_end(&scope, -ECANCELED), -ETIMEDOUT);
    CHECK(iora_timed_out(&scope));
    CHECK(!iora_is_cancelled());
}

TEST_TASK(timeout, ended_twice_does_nothing_more)
{
    iora_scope scope;

    iora_timeout_begin(&scope, iora_ms(0));
    CHECK_EQ(iora_timeout_end(&scope, -ECANCELED), -ETIMEDOUT);
    CHECK_EQ(iora_timeout_end(&scope, -ECANCELED), -ECANCELED);
    CHECK_EQ(iora_timeout_end(&scope, 7), 7);
}

/* ---- ways out of a block ------------------------------------------------------------------------------------------ */

static void
check_that_nothing_is_cancelled(long long ms)
{
    CHECK(!iora_is_cancelled());
    CHECK_EQ(iora_sleep(iora_ms(100)), 0); /* no deadline is left that would pass meanwhile */
    CHECK_EQ(test_ms(), ms + 100);
}

TEST_TASK(timeout, break_leaves_the_block_and_not_a_loop_round_it)
{
    int rc = 0, rounds = 0;

    for (; rounds < 3; rounds++) {
        IORA_TIMEOUT(rc, iora_ms(10)) {
            rc = iora_sleep(iora_s(1));
            if (rc < 0)
                break;
            rc = 99;
        }
        CHECK_EQ(rc, -ETIMEDOUT);
    }
    CHECK_EQ(rounds, 3);
    check_that_nothing_is_cancelled(30);
}

TEST_TASK(timeout, continue_leaves_the_block_and_not_a_loop_round_it)
{
    int rc = 0, rounds = 0;

    for (; rounds < 3; rounds++) {
        IORA_TIMEOUT(rc, iora_ms(10)) {
            rc = iora_sleep(iora_s(1));
            if (rc < 0)
                continue;
            rc = 99;
        }
        CHECK_EQ(rc, -ETIMEDOUT);
    }
    CHECK_EQ(rounds, 3);
    check_that_nothing_is_cancelled(30);
}

TEST_TASK(timeout, goto_out_of_a_block_ends_the_scope_and_maps_rc)
{
    int rc = 0;

    IORA_TIMEOUT(rc, iora_ms(10)) {
        rc = iora_sleep(iora_s(1));
        goto out;
    }
out:
    CHECK_EQ(rc, -ETIMEDOUT);
    check_that_nothing_is_cancelled(10);
}

TEST_TASK(timeout, goto_out_of_two_blocks_ends_both)
{
    int rc = 0;

    IORA_TIMEOUT(rc, iora_ms(20)) {
        IORA_TIMEOUT(rc, iora_ms(10)) {
            rc = iora_sleep(iora_s(1));
            goto out;
        }
    }
out:
    CHECK_EQ(rc, -ETIMEDOUT);
    check_that_nothing_is_cancelled(10);
}

static int
return_out_of_a_block(int *after)
{
    int rc = 0;

    *after = 0;
    IORA_TIMEOUT(rc, iora_ms(10)) {
        rc = iora_sleep(iora_s(1));
        return rc;
    }
    *after = 1;
    return rc;
}

TEST_TASK(timeout, return_out_of_a_block_ends_the_scope_and_returns_its_value_unmapped)
{
    int after;

    CHECK_EQ(return_out_of_a_block(&after), -ECANCELED);
    CHECK_EQ(after, 0);
    check_that_nothing_is_cancelled(10);
}

/* ---- which durations ---------------------------------------------------------------------------------------------- */

TEST_TASK(timeout, of_nothing_or_less_refuses_the_first_call_which_does_nothing)
{
    static const double spans[] = {0, -1, -1e300, (double)NAN, -(double)INFINITY};
    iora_lock lock = IORA_LOCK_INIT;

    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
        CHECK_EQ(iora_wait_for(iora_lock_acquire(&lock), iora_s(spans[i])), -ETIMEDOUT);
        CHECK(!iora_lock_is_locked(&lock));
    }
    CHECK_EQ(test_ms(), 0);
}

TEST_TASK(timeout, of_nothing_lets_what_does_not_suspend_pass)
{
    CHECK_EQ(iora_wait_for(5, iora_ms(0)), 5);
}

TEST_TASK(timeout, for_ever_never_passes)
{
    iora_census census;

    CHECK_EQ(iora_wait_for(work(iora_s(1e6), 4), IORA_FOREVER), 4);
    CHECK_EQ(iora_wait_for(work(iora_s(1e6), 5), iora_s(1e300)), 5);
    CHECK_EQ(iora_wait_for(work(iora_s(1e6), 6), iora_s((double)INFINITY)), 6);
    iora_loop_census(iora_loop_running(), &census);
    CHECK_EQ(census.timers, 0);
}

TEST_TASK(timeout, leaves_no_timer_behind)
{
    iora_census census;

    CHECK_EQ(iora_wait_for(work(iora_ms(1), 4), iora_s(100)), 4);
    iora_loop_census(iora_loop_running(), &census);
    CHECK_EQ(census.timers, 0);
}

TEST_TASK(timeout, at_an_instant)
{
    const iora_instant began = iora_now();
    iora_scope scope;

    iora_timeout_begin_at(&scope, iora_after(began, iora_ms(10)));
    CHECK_EQ(iora_sleep(iora_s(1)), -ECANCELED);
    CHECK_EQ(iora_timeout_end(&scope, -ECANCELED), -ETIMEDOUT);
    CHECK_EQ(test_ms(), 10);
    iora_timeout_begin_at(&scope, iora_after(began, iora_ms(20)));
    CHECK_EQ(iora_sleep(iora_s(1)), -ECANCELED);
    CHECK_EQ(iora_timeout_end(&scope, -ECANCELED), -ETIMEDOUT);
    CHECK_EQ(test_ms(), 20);
}

TEST_TASK(timeout, at_an_instant_that_has_passed_is_due)
{
    const iora_instant past[] = {{0}, {INT64_MIN}, iora_now()};

    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    for (size_t i = 0; i < sizeof past / sizeof *past; i++) {
        iora_scope scope;

        iora_timeout_begin_at(&scope, past[i]);
        CHECK(iora_timed_out(&scope));
        CHECK_EQ(iora_yield(), -ECANCELED);
        CHECK_EQ(iora_timeout_end(&scope, -ECANCELED), -ETIMEDOUT);
    }
}

TEST_TASK(timeout, at_the_end_of_time_never_passes)
{
    iora_scope scope;

    iora_timeout_begin_at(&scope, (iora_instant){INT64_MAX});
    CHECK_EQ(iora_sleep(iora_s(1e6)), 0);
    CHECK_EQ(iora_timeout_end(&scope, 0), 0);
}

/* ---- one inside the other ------------------------------------------------------------------------------------------- */

/* What an inner and an outer scope return if a long sleep is in both. */
static void
check_nested(iora_duration outer_d, iora_duration inner_d, int inner_expected, int outer_expected)
{
    iora_scope outer, inner;
    int rc;

    iora_timeout_begin(&outer, outer_d);
    iora_timeout_begin(&inner, inner_d);
    rc = iora_timeout_end(&inner, iora_sleep(iora_s(1)));
    CHECK_EQ(rc, inner_expected);
    rc = iora_timeout_end(&outer, rc);
    CHECK_EQ(rc, outer_expected);
}

TEST_TASK(timeout, of_two_the_inner_one_reports_if_it_alone_passed)
{
    check_nested(iora_ms(20), iora_ms(10), -ETIMEDOUT, -ETIMEDOUT);
    CHECK_EQ(test_ms(), 10);
}

TEST_TASK(timeout, of_two_the_outer_one_reports_if_it_alone_passed)
{
    check_nested(iora_ms(10), iora_ms(20), -ECANCELED, -ETIMEDOUT);
    CHECK_EQ(test_ms(), 10);
}

TEST_TASK(timeout, of_two_the_outer_one_reports_if_both_passed)
{
    check_nested(iora_ms(10), iora_ms(10), -ECANCELED, -ETIMEDOUT);
    check_nested(iora_ms(0), iora_ms(0), -ECANCELED, -ETIMEDOUT);
    CHECK_EQ(test_ms(), 10);
}

TEST_TASK(timeout, that_passed_inside_is_over_for_what_follows_outside)
{
    int rc = 0;

    IORA_TIMEOUT(rc, iora_ms(30)) {
        rc = iora_wait_for(iora_sleep(iora_s(1)), iora_ms(10));
        CHECK_EQ(rc, -ETIMEDOUT);
        rc = iora_sleep(iora_ms(10));
        CHECK_EQ(rc, 0);
        rc = iora_sleep(iora_s(1));
        CHECK_EQ(rc, -ECANCELED);
    }
    CHECK_EQ(rc, -ETIMEDOUT);
    CHECK_EQ(test_ms(), 30);
}

TEST_TASK(timeout, opened_in_a_cancelled_scope_refuses_everything_at_once)
{
    int rc = 0;

    IORA_TIMEOUT(rc, iora_ms(0)) {
        CHECK_EQ(iora_wait_for(iora_sleep(iora_ms(1)), iora_s(10)), -ECANCELED);
        CHECK_EQ(iora_wait_for(iora_sleep(iora_ms(1)), iora_ms(0)), -ECANCELED);
        CHECK_EQ(iora_wait_for(iora_sleep(iora_ms(1)), IORA_FOREVER), -ECANCELED);
    }
    CHECK_EQ(rc, 0);
    CHECK_EQ(test_ms(), 0);
}

static int
time_out_while_cancelled(iora_duration d)
{
    const int rc = iora_wait_for((iora_sleep(iora_s(1)), iora_sleep(iora_s(1))), d);

    test_trace("%s", iora_err_name(rc));
    return rc;
}
IORA_ASYNC(time_out_while_cancelled, iora_duration);

TEST_TASK(timeout, that_passed_in_a_task_that_is_cancelled_too_does_not_report)
{
    const iora_task first = iora_go(time_out_while_cancelled, iora_ms(10));
    const iora_task last = iora_go(time_out_while_cancelled, iora_ms(30));

    CHECK_EQ(iora_sleep(iora_ms(20)), 0);
    CHECK_EQ(iora_await(first), -ETIMEDOUT); /* it was over before */
    CHECK_EQ(iora_cancel(last), 0);
    CHECK_EQ(iora_await(last), IORA_E_TASK_CANCELED);
    CHECK_TRACE("ETIMEDOUT ECANCELED");
}

static int
pass_and_be_cancelled_at_once(void)
{
    int rc = 0;

    IORA_TIMEOUT(rc, iora_ms(10)) {
        rc = iora_sleep(iora_s(1));
        CHECK_EQ(rc, -ECANCELED);
        CHECK_EQ(iora_cancel(iora_current()), 0);
    }
    return rc == -ECANCELED ? 1 : 0;
}
IORA_ASYNC(pass_and_be_cancelled_at_once);

TEST_TASK(timeout, that_passed_before_the_task_was_cancelled_does_not_report_either)
{
    CHECK_EQ(iora_await(iora_go(pass_and_be_cancelled_at_once)), 1);
}

TEST_TASK(timeout, of_a_thousand_nested_ones_the_outermost_that_passed_reports)
{
    enum { DEPTH = 1000, PASSES = 400 };
    static iora_scope scopes[DEPTH];
    int rc;

    for (int i = 0; i < DEPTH; i++)
        iora_timeout_begin(&scopes[i], iora_ms(i < PASSES ? 100 : 10));
    rc = iora_sleep(iora_s(1));
    for (int i = DEPTH - 1; i >= 0; i--) {
        rc = iora_timeout_end(&scopes[i], rc);
        CHECK_EQ(rc, i > PASSES ? -ECANCELED : -ETIMEDOUT);
    }
    CHECK_EQ(test_ms(), 10);
}

TEST_TASK(timeout, end_closes_the_scopes_inside_that_were_left_open)
{
    iora_scope outer, middle, inner;
    iora_census census;

    iora_timeout_begin(&outer, iora_ms(30));
    iora_timeout_begin(&middle, iora_ms(20));
    iora_timeout_begin(&inner, iora_ms(10));
    CHECK_EQ(iora_sleep(iora_s(1)), -ECANCELED);
    CHECK_EQ(iora_timeout_end(&outer, -ECANCELED), -ECANCELED); /* it was not its deadline */
    CHECK(!iora_is_cancelled());
    iora_loop_census(iora_loop_running(), &census);
    CHECK_EQ(census.timers, 0);
    CHECK_EQ(iora_timeout_end(&inner, -ECANCELED), -ECANCELED);
    CHECK_EQ(iora_timeout_end(&middle, 3), 3);
    check_that_nothing_is_cancelled(10);
}

TEST_TASK(timeout, is_level_triggered)
{
    int rc = 0;

    IORA_TIMEOUT(rc, iora_ms(10)) {
        for (int i = 0; i < 5; i++)
            CHECK_EQ(iora_sleep(iora_ms(100)), -ECANCELED);
        rc = -ECANCELED;
    }
    CHECK_EQ(rc, -ETIMEDOUT);
    CHECK_EQ(test_ms(), 10);
}

TEST_TASK(timeout, that_passes_while_the_task_runs_is_seen_by_the_next_call)
{
    iora_event event = IORA_EVENT_INIT;
    int rc = 0;

    /* The scope's timer and the other's are due together; the wait is settled by the first. */
    IORA_TIMEOUT(rc, iora_ms(10)) {
        (void)iora_go(work, iora_ms(10), 0);
        CHECK_EQ(iora_sleep_until(iora_after(iora_now(), iora_ms(10))), -ECANCELED);
        iora_event_set(&event);
        CHECK_EQ(iora_event_wait(&event), -ECANCELED);
    }
    CHECK_EQ(rc, 0);
}

TEST_TASK(timeout, that_comes_after_the_result_at_the_same_instant_lets_the_result_through)
{
    iora_scope scope;

    iora_timeout_begin(&scope, IORA_FOREVER);
    iora_timeout_reset(&scope, iora_ms(10));
    CHECK_EQ(iora_timeout_end(&scope, 0), 0);
    /* The sleep's timer is set after the scope's here, and before it there. */
    CHECK_EQ(iora_wait_for(iora_sleep(iora_ms(10)), iora_ms(10)), -ETIMEDOUT);
    CHECK_EQ(test_ms(), 10);
}

/* ---- reset ------------------------------------------------------------------------------------------------------------ */

TEST_TASK(timeout, reset_moves_the_deadline_on)
{
    iora_scope scope;

    iora_timeout_begin(&scope, iora_ms(10));
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(iora_sleep(iora_ms(8)), 0);
        iora_timeout_reset(&scope, iora_ms(10));
    }
    CHECK_EQ(iora_sleep(iora_s(1)), -ECANCELED);
    CHECK_EQ(iora_timeout_end(&scope, -ECANCELED), -ETIMEDOUT);
    CHECK_EQ(test_ms(), 50);
}

TEST_TASK(timeout, reset_brings_the_deadline_nearer)
{
    iora_scope scope;

    iora_timeout_begin(&scope, iora_s(10));
    iora_timeout_reset(&scope, iora_ms(10));
    CHECK_EQ(iora_sleep(iora_s(1)), -ECANCELED);
    CHECK_EQ(iora_timeout_end(&scope, -ECANCELED), -ETIMEDOUT);
    CHECK_EQ(test_ms(), 10);
}

TEST_TASK(timeout, reset_to_for_ever_takes_the_deadline_away_and_gives_it_back)
{
    iora_scope scope;

    iora_timeout_begin(&scope, iora_ms(10));
    iora_timeout_reset(&scope, IORA_FOREVER);
    CHECK_EQ(iora_sleep(iora_ms(100)), 0);
    iora_timeout_reset(&scope, iora_ms(10));
    CHECK_EQ(iora_sleep(iora_ms(100)), -ECANCELED);
    CHECK_EQ(iora_timeout_end(&scope, -ECANCELED), -ETIMEDOUT);
    CHECK_EQ(test_ms(), 110);
}

TEST_TASK(timeout, reset_to_nothing_is_due_at_once)
{
    iora_scope scope;

    iora_timeout_begin(&scope, iora_ms(10));
    iora_timeout_reset(&scope, iora_ms(0));
    CHECK(iora_timed_out(&scope));
    CHECK_EQ(iora_yield(), -ECANCELED);
    CHECK_EQ(iora_timeout_end(&scope, -ECANCELED), -ETIMEDOUT);
}

TEST_TASK(timeout, reset_does_not_bring_back_a_deadline_that_has_passed)
{
    iora_scope scope;

    iora_timeout_begin(&scope, iora_ms(10));
    CHECK_EQ(iora_sleep(iora_s(1)), -ECANCELED);
    iora_timeout_reset(&scope, iora_s(10));
    CHECK(iora_timed_out(&scope));
    CHECK_EQ(iora_sleep(iora_ms(1)), -ECANCELED);
    CHECK_EQ(iora_timeout_end(&scope, -ECANCELED), -ETIMEDOUT);
    iora_timeout_reset(&scope, iora_ms(1)); /* of a scope that has ended: nothing */
    check_that_nothing_is_cancelled(10);
}

static int
reset_somebody_elses(iora_scope *scope)
{
    iora_timeout_reset(scope, iora_ms(0));
    return 0;
}
IORA_ASYNC(reset_somebody_elses, iora_scope *);

TEST_TASK(timeout, reset_of_a_scope_that_waits_ends_the_wait)
{
    iora_scope scope;

    iora_timeout_begin(&scope, iora_s(10));
    (void)iora_go(reset_somebody_elses, &scope);
    CHECK_EQ(iora_sleep(iora_s(1)), -ECANCELED);
    CHECK_EQ(iora_timeout_end(&scope, -ECANCELED), -ETIMEDOUT);
    CHECK_EQ(test_ms(), 0);
}

/* ---- outside of a task -------------------------------------------------------------------------------------------------- */

static void
use_scopes_outside_of_a_task(void)
{
    iora_scope scope;
    int rc = 0;

    iora_timeout_begin(&scope, iora_ms(0));
    iora_timeout_reset(&scope, iora_ms(0));
    iora_scope_cancel(&scope);
    CHECK(!iora_is_cancelled());
    CHECK(!iora_timed_out(&scope));
    CHECK_EQ(iora_timeout_end(&scope, -ECANCELED), -ECANCELED);
    iora_timeout_begin_at(&scope, (iora_instant){0});
    CHECK_EQ(iora_timeout_end(&scope, 5), 5);
    iora_cleanup_begin(&scope, iora_ms(0));
    CHECK_EQ(iora_timeout_end(&scope, 6), 6);
    CHECK_EQ(iora_wait_for(7, iora_ms(0)), 7);
    CHECK_EQ(iora_cleanup(8, iora_ms(0)), 8);
    IORA_TIMEOUT(rc, iora_ms(0))
        rc = 9;
    CHECK_EQ(rc, 9);
}

static void
use_scopes_in_callback(void *arg)
{
    *(bool *)arg = true;
    use_scopes_outside_of_a_task();
}

TEST_TASK(scope, does_nothing_in_a_callback)
{
    iora_handle handle = {0};
    bool called = false;

    CHECK_EQ(iora_call_soon(iora_loop_running(), &handle, use_scopes_in_callback, &called), 0);
    CHECK_EQ(iora_yield(), 0);
    CHECK(called);
}

TEST(scope, does_nothing_without_a_loop)
{
    use_scopes_outside_of_a_task();
}

/* ---- cancelled by hand --------------------------------------------------------------------------------------------------- */

static int
cancel_scope(iora_scope *scope)
{
    iora_scope_cancel(scope);
    return 0;
}
IORA_ASYNC(cancel_scope, iora_scope *);

TEST_TASK(scope, cancelled_by_another_task_ends_its_wait_and_returns_ecanceled_as_it_is)
{
    iora_scope scope;

    iora_timeout_begin(&scope, IORA_FOREVER);
    (void)iora_go(cancel_scope, &scope);
    CHECK_EQ(iora_sleep(IORA_FOREVER), -ECANCELED);
    CHECK(!iora_timed_out(&scope));
    CHECK_EQ(iora_timeout_end(&scope, -ECANCELED), -ECANCELED);
    check_that_nothing_is_cancelled(0);
}

static void
cancel_scope_from_callback(void *arg)
{
    iora_scope_cancel(arg);
}

TEST_TASK(scope, cancelled_by_a_callback_ends_its_wait)
{
    iora_handle handle = {0};
    iora_scope scope;

    iora_timeout_begin(&scope, iora_s(10));
    CHECK_EQ(iora_call_soon(iora_loop_running(), &handle, cancel_scope_from_callback, &scope), 0);
    CHECK_EQ(iora_sleep(IORA_FOREVER), -ECANCELED);
    CHECK_EQ(iora_timeout_end(&scope, -ECANCELED), -ECANCELED);
}

TEST_TASK(scope, cancelled_by_its_own_task_refuses_the_next_call)
{
    iora_scope outer, inner;

    iora_timeout_begin(&outer, IORA_FOREVER);
    iora_timeout_begin(&inner, IORA_FOREVER);
    iora_scope_cancel(&inner);
    CHECK_EQ(iora_yield(), -ECANCELED);
    CHECK_EQ(iora_timeout_end(&inner, -ECANCELED), -ECANCELED);
    CHECK_EQ(iora_yield(), 0); /* it does not reach outside */
    iora_scope_cancel(&outer);
    iora_timeout_begin(&inner, IORA_FOREVER);
    CHECK_EQ(iora_yield(), -ECANCELED); /* but inside */
    CHECK_EQ(iora_timeout_end(&inner, -ECANCELED), -ECANCELED);
    CHECK_EQ(iora_timeout_end(&outer, -ECANCELED), -ECANCELED);
    iora_scope_cancel(&outer); /* has ended: nothing */
    CHECK_EQ(iora_yield(), 0);
}

TEST_TASK(scope, cancelled_by_hand_whose_deadline_passes_before_its_end_is_etimedout)
{
    iora_scope scope;

    iora_timeout_begin(&scope, iora_ms(5));
    iora_scope_cancel(&scope);
    CHECK_EQ(iora_yield(), -ECANCELED);
    CHECK_EQ(iora_cleanup(iora_sleep(iora_ms(10)), iora_s(1)), 0);
    CHECK_EQ(iora_timeout_end(&scope, -ECANCELED), -ETIMEDOUT);
}

TEST_TASK(scope, is_cancelled_is_no_delivery)
{
    int rc = 0;

    CHECK(!iora_is_cancelled());
    IORA_TIMEOUT(rc, iora_ms(0)) {
        for (int i = 0; i < 5000; i++)
            CHECK(iora_is_cancelled());
        (void)iora_go(say, "other");
        CHECK_EQ(iora_yield(), -ECANCELED); /* the first delivery: immediate */
        CHECK_TRACE("");
        CHECK_EQ(iora_yield(), -ECANCELED); /* the second: through the ready queue */
        CHECK_TRACE("other");
    }
}

/* Keep the thread busy for so long, in which the loop does not turn. */
static void
compute(iora_duration d)
{
    const iora_instant until = iora_after(iora_now(), d);

    while (iora_now()._ns < until._ns)
        continue;
}

TEST_TASK_REAL(scope, is_cancelled_sees_a_deadline_that_passes_in_a_computation)
{
    iora_scope outer, inner;
    int rc = 0;

    IORA_TIMEOUT(rc, iora_ms(1)) {
        compute(iora_ms(2));
        CHECK(iora_is_cancelled());
        rc = iora_yield();
        CHECK_EQ(rc, -ECANCELED);
    }
    CHECK_EQ(rc, -ETIMEDOUT);
    CHECK(!iora_is_cancelled());

    iora_timeout_begin(&outer, iora_ms(1));
    iora_timeout_begin(&inner, iora_s(3600));
    compute(iora_ms(2));
    CHECK(iora_is_cancelled());
    CHECK(iora_timed_out(&outer) && !iora_timed_out(&inner));
    CHECK_EQ(iora_timeout_end(&inner, -ECANCELED), -ECANCELED);
    CHECK_EQ(iora_timeout_end(&outer, -ECANCELED), -ETIMEDOUT);
}

TEST_TASK_REAL(scope, is_cancelled_sees_no_deadline_outside_of_a_cleanup_but_the_cleanups_own)
{
    int rc = 0, cleanup = 0;

    IORA_TIMEOUT(rc, iora_ms(1)) {
        IORA_CLEANUP(cleanup, iora_s(3600)) {
            compute(iora_ms(2));
            CHECK(!iora_is_cancelled());
        }
        CHECK(iora_is_cancelled());
        IORA_CLEANUP(cleanup, iora_ms(1)) {
            compute(iora_ms(2));
            CHECK(iora_is_cancelled());
        }
        rc = -ECANCELED;
    }
    CHECK_EQ(rc, -ETIMEDOUT);
}

struct computation {
    bool begun; /* on a busy machine the deadline may pass before */
    bool saw_it, saw_it_in_cleanup;
};

static int
computes(struct computation *computation)
{
    int rc = 0;

    computation->begun = true;
    compute(iora_ms(12));
    IORA_CLEANUP(rc, iora_s(3600)) {
        computation->saw_it_in_cleanup = iora_is_cancelled();
    }
    computation->saw_it = iora_is_cancelled();
    return computation->saw_it ? -ECANCELED : rc;
}
IORA_ASYNC(computes, struct computation *);

static void
check_computation(const struct computation *computation)
{
    CHECK(computation->saw_it || !computation->begun);
    CHECK(!computation->saw_it_in_cleanup || !computation->begun);
}

/* It looked at the task's own blocks only: a member of a group computed on beyond the group's deadline. */
TEST_TASK_REAL(scope, is_cancelled_sees_the_deadline_of_who_owns_and_awaits_the_task)
{
    struct computation child = {0}, member = {0};
    int rc = 0;

    IORA_TIMEOUT(rc, iora_ms(10)) {
        rc = iora_await(iora_go(computes, &child));
    }
    CHECK_EQ(rc, -ETIMEDOUT);
    check_computation(&child);

    rc = 0;
    IORA_TIMEOUT(rc, iora_ms(10)) {
        IORA_GROUP(rc, group) {
            (void)iora_group_go(&group, computes, &member);
        }
    }
    CHECK_EQ(rc, -ETIMEDOUT);
    check_computation(&member);
}

/* ---- cleanup ---------------------------------------------------------------------------------------------------------------- */

static int
clean_up(iora_duration takes, iora_duration at_most)
{
    int rc = iora_sleep(IORA_FOREVER);

    CHECK_EQ(rc, -ECANCELED);
    at("cancelled");
    CHECK(iora_is_cancelled());
    rc = iora_cleanup((iora_is_cancelled() ? at("never") : at("cleaning"), iora_sleep(takes)),
                      at_most);
    test_trace("%s@%lld", iora_err_name(rc), test_ms());
    CHECK_EQ(iora_yield(), -ECANCELED);
    return 5;
}
IORA_ASYNC(clean_up, iora_duration, iora_duration);

TEST_TASK(cleanup, is_out_of_reach_of_a_cancel_that_came_before)
{
    const iora_task task = iora_go(clean_up, iora_ms(20), iora_ms(100));

    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), 5);
    CHECK_TRACE("cancelled@1 cleaning@1 OK@21");
}

TEST_TASK(cleanup, has_a_deadline_of_its_own)
{
    const iora_task task = iora_go(clean_up, iora_s(1), iora_ms(20));

    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), 5);
    CHECK_TRACE("cancelled@1 cleaning@1 ECANCELED@21"); /* an enclosing scope is cancelled */
}

TEST_TASK(cleanup, that_takes_too_long_is_etimedout_if_nothing_outside_is_cancelled)
{
    CHECK_EQ(iora_cleanup(iora_sleep(iora_s(1)), iora_ms(20)), -ETIMEDOUT);
    CHECK_EQ(test_ms(), 20);
}

TEST_TASK(cleanup, of_no_time_is_refused_at_once)
{
    CHECK_EQ(iora_cleanup(iora_sleep(iora_s(1)), iora_ms(0)), -ETIMEDOUT);
    CHECK_EQ(iora_cleanup(iora_sleep(iora_s(1)), iora_ms(-1)), -ETIMEDOUT);
    CHECK_EQ(test_ms(), 0);
}

static int
cancelled_in_cleanup(void)
{
    int rc = 0;

    IORA_CLEANUP(rc, iora_s(1)) {
        CHECK_EQ(iora_sleep(iora_ms(20)), 0);
        CHECK(!iora_is_cancelled());
    }
    at("cleaned");
    CHECK(iora_is_cancelled());
    CHECK_EQ(iora_yield(), -ECANCELED);
    return 6;
}
IORA_ASYNC(cancelled_in_cleanup);

TEST_TASK(cleanup, keeps_a_cancel_that_comes_meanwhile_for_afterwards)
{
    const iora_task task = iora_go(cancelled_in_cleanup);

    CHECK_EQ(iora_sleep(iora_ms(10)), 0);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), 6);
    CHECK_TRACE("cleaned@20");
}

TEST_TASK(cleanup, keeps_a_deadline_that_passes_meanwhile_for_afterwards)
{
    int rc = 0;

    IORA_TIMEOUT(rc, iora_ms(10)) {
        rc = iora_cleanup(iora_sleep(iora_ms(20)), iora_s(1));
        CHECK_EQ(rc, 0);
        rc = iora_sleep(iora_s(1));
    }
    CHECK_EQ(rc, -ETIMEDOUT);
    CHECK_EQ(test_ms(), 20);
}

TEST_TASK(cleanup, keeps_a_scope_cancelled_by_hand_for_afterwards)
{
    iora_scope outside;

    iora_timeout_begin(&outside, IORA_FOREVER);
    (void)iora_go(cancel_scope, &outside);
    CHECK_EQ(iora_cleanup(iora_sleep(iora_ms(20)), iora_s(1)), 0);
    CHECK_EQ(iora_yield(), -ECANCELED);
    CHECK_EQ(iora_timeout_end(&outside, 0), 0);
}

TEST_TASK(cleanup, nested_in_another_has_both_deadlines)
{
    int rc = 0;

    IORA_CLEANUP(rc, iora_ms(30)) {
        /* A shield hides what is outside of it, a shield's deadline too. */
        CHECK_EQ(iora_cleanup(iora_sleep(iora_ms(20)), iora_ms(10)), -ETIMEDOUT);
        CHECK_EQ(iora_cleanup(iora_sleep(iora_ms(40)), iora_ms(50)), 0);
        rc = iora_yield();
    }
    CHECK_EQ(rc, -ETIMEDOUT);
    CHECK_EQ(test_ms(), 50);
}

TEST_TASK(cleanup, timeout_inside_works_as_anywhere)
{
    int rc = 0;

    IORA_TIMEOUT(rc, iora_ms(0)) {
        IORA_CLEANUP(rc, iora_s(1)) {
            CHECK_EQ(iora_wait_for(iora_sleep(iora_ms(20)), iora_ms(10)), -ETIMEDOUT);
            CHECK_EQ(iora_wait_for(iora_sleep(iora_ms(20)), iora_ms(30)), 0);
        }
        CHECK_EQ(rc, 0);
        rc = iora_yield();
    }
    CHECK_EQ(rc, -ETIMEDOUT);
    CHECK_EQ(test_ms(), 30);
}

TEST_TASK(cleanup, does_not_cancel_what_it_awaits)
{
    int rc = 0;

    IORA_TIMEOUT(rc, iora_ms(0)) {
        rc = iora_cleanup(iora_await(iora_go(work, iora_ms(10), 4)), iora_s(1));
    }
    CHECK_EQ(rc, 4);
}

TEST_TASK(cleanup, break_and_goto_out_of_it_end_it)
{
    int rc = 0;

    IORA_TIMEOUT(rc, iora_ms(0)) {
        IORA_CLEANUP(rc, iora_s(1)) {
            break;
        }
        CHECK_EQ(iora_yield(), -ECANCELED);
        IORA_CLEANUP(rc, iora_s(1)) {
            goto out;
        }
    }
out:
    check_that_nothing_is_cancelled(0);
}

/* ---- deaf in shields ---------------------------------------------------------------------------------------------------------- */

static bool stop;

static int
clean_up_for_ever(iora_duration d)
{
    while (!stop)
        (void)iora_cleanup(iora_sleep(iora_s(10)), d);
    return 0;
}
IORA_ASYNC(clean_up_for_ever, iora_duration);

static int
stop_later(iora_duration d)
{
    for (int i = 0; i < 100; i++)
        CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_sleep(d), 0);
    stop = true;
    return 0;
}
IORA_ASYNC(stop_later, iora_duration);

/* It opens one shield after the other, each of them due at once. */
TEST_TASK(cleanup, of_no_time_again_and_again_lets_others_run_and_is_reported_as_deaf)
{
    const iora_task deaf = iora_go(clean_up_for_ever, iora_ms(0));

    CHECK_EQ(iora_cancel(deaf), 0);
    CHECK_EQ(iora_await(iora_go(stop_later, iora_s(3))), 0);
    CHECK_EQ(iora_await(deaf), 0);
    CHECK(test_logged("clean_up_for_ever"));
    CHECK(test_logged("has ignored"));
}

static int
sleep_and_yield(void)
{
    (void)iora_sleep(iora_s(10));
    return iora_yield();
}

static int
clean_up_too_long_for_ever(void)
{
    while (!stop)
        (void)iora_cleanup(sleep_and_yield(), iora_ms(1));
    return 0;
}
IORA_ASYNC(clean_up_too_long_for_ever);

TEST_TASK(cleanup, that_takes_too_long_again_and_again_lets_others_run_and_is_reported_as_deaf)
{
    const iora_task deaf = iora_go(clean_up_too_long_for_ever);

    CHECK_EQ(iora_cancel(deaf), 0);
    CHECK_EQ(iora_await(iora_go(stop_later, iora_s(3))), 0);
    CHECK_EQ(iora_await(deaf), 0);
    CHECK(test_logged("has ignored"));
}

static int
clean_up_well_and_go_on(void)
{
    while (!stop) {
        (void)iora_yield();
        CHECK_EQ(iora_cleanup(iora_yield(), iora_s(1)), 0);
    }
    return 0;
}
IORA_ASYNC(clean_up_well_and_go_on);

TEST_TASK(cleanup, that_goes_well_between_does_not_make_a_deaf_task_less_deaf)
{
    const iora_task deaf = iora_go(clean_up_well_and_go_on);

    CHECK_EQ(iora_cancel(deaf), 0);
    CHECK_EQ(iora_await(iora_go(stop_later, iora_s(3))), 0);
    CHECK_EQ(iora_await(deaf), 0);
    CHECK(test_logged("has ignored"));
}

static int
yield_in_a_shield(void)
{
    return iora_cleanup(iora_yield(), iora_ms(0));
}

static int
yield_in_one_shield_after_the_other(void)
{
    while (!stop) {
        (void)iora_yield();
        (void)yield_in_a_shield();
        (void)iora_cleanup(yield_in_a_shield(), iora_ms(0));
    }
    return 0;
}
IORA_ASYNC(yield_in_one_shield_after_the_other);

TEST_TASK(cleanup, within_cleanup_again_and_again_is_reported_as_deaf)
{
    const iora_task deaf = iora_go(yield_in_one_shield_after_the_other);

    CHECK_EQ(iora_cancel(deaf), 0);
    CHECK_EQ(iora_await(iora_go(stop_later, iora_s(3))), 0);
    CHECK_EQ(iora_await(deaf), 0);
    CHECK(test_logged("has ignored"));
}
