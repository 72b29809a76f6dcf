/* tests/c/test_group.c -- groups of tasks. */
#include "test.h"

/* ---- what the tests spawn ------------------------------------------------------------------------------------ */

static void
at(const char *what)
{
    test_trace("%s@%lld", what, test_ms());
}

/* Sleeps, then returns a code, or the sleep's; says how it went. */
static int
member(const char *word, iora_duration d, int code)
{
    const int rc = iora_sleep(d);

    test_trace("%s%s@%lld", word, rc == -ECANCELED ? "-cancelled" : "", test_ms());
    return rc < 0 ? rc : code;
}
IORA_ASYNC(member, const char *, iora_duration, int);

/* Never ends by itself; cancelled, it takes some time over it, and returns a code. */
static int
slow_to_end(const char *word, iora_duration cleanup, int code)
{
    (void)iora_sleep(IORA_FOREVER);
    test_trace("%s-cancelled@%lld", word, test_ms());
    (void)iora_cleanup(iora_sleep(cleanup), IORA_FOREVER);
    test_trace("%s-ended@%lld", word, test_ms());
    return code < 0 ? iora_fail(code, "%s fails", word) : code;
}
IORA_ASYNC(slow_to_end, const char *, iora_duration, int);

static int
quiet(iora_duration d, int code)
{
    const int rc = iora_sleep(d);

    return rc < 0 ? rc : code;
}
IORA_ASYNC(quiet, iora_duration, int);

static int
fail_with(const char *reason, iora_duration d, int code)
{
    const int rc = iora_sleep(d);

    return rc < 0 ? rc : iora_fail(code, "%s", reason);
}
IORA_ASYNC(fail_with, const char *, iora_duration, int);

static size_t
tasks_alive(void)
{
    iora_census census;

    iora_loop_census(iora_loop_running(), &census);
    return census.tasks - 1; /* but for the current one */
}

/* ---- the end -------------------------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(group, does_not_close_before_all_members_have_ended)
{
    int rc = 0, codes = 0;

    IORA_GROUP(rc, group) {
        for (int i = 1; i <= 5; i++)
            (void)iora_group_go(&group, quiet, iora_ms(i), i);
        codes = (int)iora_group_live(&group);
    }
    CHECK_EQ(rc, 0);
    CHECK_EQ(codes, 5);
    CHECK_EQ(tasks_alive(), 0);
}

TEST_TASK(group, members_run_at_the_same_time_as_the_block)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, member, "a", iora_ms(10), 0);
        (void)iora_group_go(&group, member, "b", iora_ms(30), 7);
        rc = iora_sleep(iora_ms(20));
        at("block");
        CHECK_EQ(iora_group_live(&group), 1);
    }
    at("end");
    CHECK_EQ(rc, 0);
    CHECK_TRACE("a@10 block@20 b@30 end@30");
}

TEST_TASK(group, without_members_ends_at_once)
{
    int rc = 4;

    IORA_GROUP(rc, group) {
        CHECK_EQ(iora_group_live(&group), 0);
    }
    CHECK_EQ(rc, 4);
    IORA_GROUP(rc, group) {
        rc = -EIO;
    }
    CHECK_EQ(rc, -EIO);
    CHECK_EQ(test_ms(), 0);
}

TEST_TASK(group, begin_and_end_without_a_block)
{
    iora_group group;

    CHECK_EQ(iora_group_begin(&group, IORA_GROUP_FAIL_FAST), 0);
    (void)iora_group_go(&group, member, "a", iora_ms(10), 0);
    CHECK_EQ(iora_group_end(&group, 3), 3);
    CHECK_EQ(iora_group_end(&group, 5), 5); /* has ended: nothing more */
    CHECK_TRACE("a@10");
}

/* ---- fail fast ------------------------------------------------------------------------------------------------- */

TEST_TASK(group_fail_fast, the_first_failure_cancels_the_others_and_is_the_groups)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, slow_to_end, "a", iora_ms(20), 0);
        (void)iora_group_go(&group, member, "b", iora_ms(10), -EIO);
        (void)iora_group_go(&group, member, "c", iora_ms(50), -EPIPE);
    }
    at("end");
    CHECK_EQ(rc, -EIO);
    CHECK_TRACE("b@10 a-cancelled@10 c-cancelled@10 a-ended@30 end@30");
}

TEST_TASK(group_fail_fast, a_failure_cancels_the_block_while_it_waits)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, member, "a", iora_ms(10), -EIO);
        rc = iora_sleep(iora_s(10));
        CHECK_EQ(rc, -ECANCELED);
        CHECK(iora_is_cancelled());
        at("block");
    }
    CHECK_EQ(rc, -EIO);
    CHECK(!iora_is_cancelled());
    CHECK_EQ(iora_yield(), 0);
    CHECK_TRACE("a@10 block@10");
}

TEST_TASK(group_fail_fast, a_failure_stays_the_first_error_when_the_block_fails_of_it)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, member, "a", iora_ms(10), -EIO);
        rc = iora_sleep(iora_s(10));
        rc = -EPIPE;
    }
    CHECK_EQ(rc, -EIO);
}

TEST_TASK(group_fail_fast, the_blocks_failure_cancels_the_members_and_is_the_groups)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, slow_to_end, "a", iora_ms(20), -EPIPE);
        rc = iora_sleep(iora_ms(10));
        rc = -EIO;
    }
    CHECK_EQ(rc, -EIO);
    CHECK_TRACE("a-cancelled@10 a-ended@30");
}

static int
give_up(void)
{
    iora_scope scope;

    iora_timeout_begin(&scope, IORA_FOREVER);
    iora_scope_cancel(&scope);
    return iora_timeout_end(&scope, iora_yield());
}

TEST_TASK(group_fail_fast, ecanceled_of_a_scope_in_the_block_is_the_blocks_failure)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, slow_to_end, "a", iora_ms(20), -EPIPE);
        CHECK_EQ(iora_sleep(iora_ms(10)), 0);
        rc = give_up();
        CHECK_EQ(rc, -ECANCELED);
    }
    CHECK_EQ(rc, -ECANCELED);
    CHECK(!iora_is_cancelled());
    CHECK_TRACE("a-cancelled@10 a-ended@30");
}

TEST_TASK(group_fail_fast, ecanceled_of_a_scope_in_the_block_stays_so_when_the_block_is_left)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, member, "a", iora_ms(10), 0);
        CHECK_EQ(iora_yield(), 0);
        rc = give_up();
        break;
    }
    CHECK_EQ(rc, -ECANCELED);
    CHECK_TRACE("a-cancelled@0");
}

TEST_TASK(group_fail_fast, a_member_cancelled_by_somebody_else_is_no_failure)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        const iora_task task = iora_group_go(&group, member, "a", IORA_FOREVER, 0);

        (void)iora_group_go(&group, member, "b", iora_ms(10), 0);
        rc = iora_yield();
        CHECK_EQ(iora_cancel(task), 0);
    }
    CHECK_EQ(rc, 0);
    CHECK_TRACE("a-cancelled@0 b@10");
}

static int
await_one(iora_task task)
{
    return iora_await(task);
}
IORA_ASYNC(await_one, iora_task);

TEST_TASK(group_fail_fast, a_member_whose_awaited_task_was_cancelled_has_failed)
{
    const iora_task outside = iora_go(quiet, IORA_FOREVER, 0);
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, await_one, outside);
        (void)iora_group_go(&group, member, "b", iora_ms(10), 0);
        rc = iora_yield();
        CHECK_EQ(iora_cancel(outside), 0);
    }
    CHECK_EQ(rc, IORA_E_TASK_CANCELED);
    CHECK_TRACE("b-cancelled@0");
}

TEST_TASK(group_fail_fast, an_awaited_failure_counts_as_well)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        const iora_task task = iora_group_go(&group, member, "a", iora_ms(10), -EIO);

        (void)iora_group_go(&group, member, "b", iora_ms(20), 0);
        CHECK_EQ(iora_await(task), -EIO);
        rc = iora_yield();
        CHECK_EQ(rc, -ECANCELED);
    }
    CHECK_EQ(rc, -EIO);
    CHECK_TRACE("a@10 b-cancelled@10");
}

TEST_TASK(group_fail_fast, an_awaited_member_is_collected_and_its_value_is_the_awaiters)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        const iora_task task = iora_group_go(&group, quiet, iora_ms(10), 9);

        CHECK_EQ(iora_await(task), 9);
        CHECK_EQ(iora_await(task), -ESRCH);
        CHECK_EQ(tasks_alive(), 0);
    }
    CHECK_EQ(rc, 0);
}

TEST_TASK(group_fail_fast, failure_goes_to_no_error_hook)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, quiet, iora_ms(1), -EIO);
        (void)iora_group_go(&group, slow_to_end, "a", iora_ms(1), -EPIPE);
    }
    CHECK_EQ(rc, -EIO);
    CHECK_STR(test_log(), "");
}

/* ---- all errors are kept ------------------------------------------------------------------------------------------ */

TEST_TASK(group, keeps_all_failures_in_the_order_of_time)
{
    const iora_error *error;
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, slow_to_end, "second", iora_ms(10), -EPIPE);
        (void)iora_group_go(&group, slow_to_end, "third", iora_ms(20), -EBADF);
        (void)iora_group_go(&group, fail_with, "first", iora_ms(5), -EIO);
        (void)iora_group_go(&group, quiet, iora_s(1), 0);
    }
    CHECK_EQ(rc, -EIO);
    error = iora_error_last();
    CHECK_EQ(error->code, -EIO);
    CHECK_STR(error->what, "first");
    CHECK_STR(error->task, "fail_with");
    CHECK(strstr(error->spawned, "test_group.c:") != NULL);
    error = error->next;
    CHECK_EQ(error->code, -EPIPE);
    CHECK_STR(error->what, "second fails");
    error = error->next;
    CHECK_EQ(error->code, -EBADF);
    CHECK_STR(error->what, "third fails");
    CHECK(error->next == NULL);
}

TEST_TASK(group, keeps_the_blocks_own_failure_first_if_it_was_first)
{
    const iora_error *error;
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, slow_to_end, "member", iora_ms(10), -EPIPE);
        rc = iora_yield();
        rc = iora_fail(-EIO, "the block");
    }
    CHECK_EQ(rc, -EIO);
    error = iora_error_last();
    CHECK_EQ(error->code, -EIO);
    CHECK_STR(error->what, "the block");
    CHECK_EQ(error->next->code, -EPIPE);
    CHECK(error->next->next == NULL);
}

TEST_TASK(group, keeps_a_hundred_failures)
{
    int rc = 0, count = 0;

    IORA_GROUP(rc, group) {
        for (int i = 0; i < 100; i++)
            (void)iora_group_go(&group, slow_to_end, "one", iora_ms(i), -EPIPE);
        rc = iora_yield();
        iora_group_cancel(&group);
    }
    CHECK_EQ(rc, -EPIPE);
    for (const iora_error *error = iora_error_last(); error != NULL; error = error->next)
        count++;
    CHECK_EQ(count, 100);
}

/* ---- isolating ------------------------------------------------------------------------------------------------------- */

TEST_TASK(group_isolate, a_failure_goes_to_the_error_hook_and_the_others_go_on)
{
    int rc = 0;

    IORA_GROUP_OF(rc, group, IORA_GROUP_ISOLATE) {
        (void)iora_group_go(&group, member, "a", iora_ms(10), -EIO);
        (void)iora_group_go(&group, member, "b", iora_ms(20), 0);
        rc = iora_sleep(iora_ms(15));
        CHECK_EQ(rc, 0);
        CHECK(test_logged("EIO"));
        CHECK(test_logged("\"member\""));
    }
    CHECK_EQ(rc, 0);
    CHECK_TRACE("a@10 b@20");
}

TEST_TASK(group_isolate, collects_members_as_they_end)
{
    int rc = 0;

    IORA_GROUP_OF(rc, group, IORA_GROUP_ISOLATE) {
        for (int i = 0; i < 10; i++) {
            const iora_task task = iora_group_go(&group, quiet, iora_ms(1), 0);

            rc = iora_sleep(iora_ms(2));
            CHECK_EQ(iora_await(task), -ESRCH);
            CHECK_EQ(tasks_alive(), 0);
        }
    }
    CHECK_EQ(rc, 0);
}

TEST_TASK(group_isolate, an_awaited_failure_is_the_awaiters_alone)
{
    int rc = 0;

    IORA_GROUP_OF(rc, group, IORA_GROUP_ISOLATE) {
        CHECK_EQ(iora_await(iora_group_go(&group, quiet, iora_ms(1), -EIO)), -EIO);
    }
    CHECK_EQ(rc, 0);
    CHECK_STR(test_log(), "");
}

TEST_TASK(group_isolate, a_member_cancelled_by_somebody_else_is_no_news)
{
    int rc = 0;

    IORA_GROUP_OF(rc, group, IORA_GROUP_ISOLATE) {
        const iora_task task = iora_group_go(&group, member, "a", IORA_FOREVER, 0);

        CHECK_EQ(iora_cancel(task), 0);
    }
    CHECK_EQ(rc, 0);
    CHECK_STR(test_log(), "");
}

TEST_TASK(group_isolate, the_blocks_own_failure_cancels_the_members)
{
    int rc = 0;

    IORA_GROUP_OF(rc, group, IORA_GROUP_ISOLATE) {
        (void)iora_group_go(&group, slow_to_end, "a", iora_ms(20), 0);
        rc = iora_yield();
        rc = -EIO;
    }
    CHECK_EQ(rc, -EIO);
    CHECK_TRACE("a-cancelled@0 a-ended@20");
}

TEST_TASK(group_keep, members_are_kept_for_next_or_the_end)
{
    int rc = 0, code = 0;

    IORA_GROUP_OF(rc, group, IORA_GROUP_ISOLATE | IORA_GROUP_KEEP) {
        const iora_task good = iora_group_go(&group, quiet, iora_ms(1), 5);
        const iora_task bad = iora_group_go(&group, quiet, iora_ms(2), -EIO);
        iora_task task;

        (void)iora_group_go(&group, quiet, iora_ms(3), -EPIPE);
        rc = iora_sleep(iora_ms(10));
        CHECK_EQ(rc, 0);
        CHECK_EQ(tasks_alive(), 3);
        CHECK(iora_task_is_done(good));
        CHECK_EQ(iora_group_next(&group, &task, &code), 0);
        CHECK_EQ(code, 5);
        CHECK(iora_task_is_same(task, good));
        CHECK_EQ(iora_group_next(&group, &task, &code), 0);
        CHECK_EQ(code, -EIO);
        CHECK(iora_task_is_same(task, bad));
        CHECK_STR(test_log(), "");
    }
    CHECK_EQ(rc, 0);
    CHECK(test_logged("EPIPE"));  /* nobody took it */
    CHECK(!test_logged("EIO"));   /* next did */
}

TEST_TASK(group_keep, a_failure_that_next_waits_for_is_its_and_not_the_error_hooks)
{
    int rc = 0, code = 0;

    IORA_GROUP_OF(rc, group, IORA_GROUP_ISOLATE | IORA_GROUP_KEEP) {
        (void)iora_group_go(&group, quiet, iora_ms(5), -EIO);
        CHECK_EQ(iora_group_next(&group, NULL, &code), 0);
        CHECK_EQ(code, -EIO);
        CHECK_EQ(iora_group_next(&group, NULL, &code), -ENOENT);
    }
    CHECK_EQ(rc, 0);
    CHECK_STR(test_log(), "");
}

/* ---- next --------------------------------------------------------------------------------------------------------------- */

static void
next_in_callback(void *group)
{
    CHECK_EQ(iora_group_next(group, NULL, NULL), IORA_E_NO_TASK);
}

TEST_TASK(group_next, needs_a_task)
{
    iora_handle handle = {0};
    int rc = 0;

    IORA_GROUP(rc, group) {
        CHECK_EQ(iora_call_soon(test_loop(), &handle, next_in_callback, &group), 0);
        CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    }
    CHECK_EQ(rc, 0);
}

TEST_TASK(group_next, gives_the_members_in_the_order_they_end)
{
    int rc = 0, code;

    IORA_GROUP(rc, group) {
        iora_task tasks[3], task;

        tasks[0] = iora_group_go(&group, quiet, iora_ms(30), 10);
        tasks[1] = iora_group_go(&group, quiet, iora_ms(10), 11);
        tasks[2] = iora_group_go(&group, quiet, iora_ms(20), 12);
        while ((rc = iora_group_next(&group, &task, &code)) == 0) {
            test_trace("%d@%lld", code, test_ms());
            CHECK(iora_task_is_same(task, tasks[code - 10]));
            CHECK_EQ(iora_await(task), -ESRCH); /* collected */
        }
        CHECK_EQ(rc, -ENOENT);
        rc = 0;
    }
    CHECK_EQ(rc, 0);
    CHECK_TRACE("11@10 12@20 10@30");
}

TEST_TASK(group_next, takes_null_for_what_is_not_wanted)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, quiet, iora_ms(1), 0);
        CHECK_EQ(iora_group_next(&group, NULL, NULL), 0);
        (void)iora_group_go(&group, quiet, iora_ms(0), 0);
        CHECK_EQ(iora_sleep(iora_ms(1)), 0);
        CHECK_EQ(iora_group_next(&group, NULL, NULL), 0);
        CHECK_EQ(iora_group_next(&group, NULL, NULL), -ENOENT);
    }
    CHECK_EQ(rc, 0);
}

TEST_TASK(group_next, goes_on_when_further_members_are_started)
{
    int rc = 0, taken = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, quiet, iora_ms(1), 0);
        while (iora_group_next(&group, NULL, NULL) == 0) {
            if (++taken < 10)
                (void)iora_group_go(&group, quiet, iora_ms(1), 0);
        }
    }
    CHECK_EQ(rc, 0);
    CHECK_EQ(taken, 10);
    CHECK_EQ(test_ms(), 10);
}

TEST_TASK(group_next, tells_of_a_member_that_somebody_else_cancelled)
{
    int rc = 0, code = 0;

    IORA_GROUP(rc, group) {
        CHECK_EQ(iora_cancel(iora_group_go(&group, quiet, IORA_FOREVER, 0)), 0);
        CHECK_EQ(iora_group_next(&group, NULL, &code), 0);
        CHECK_EQ(code, IORA_E_TASK_CANCELED);
    }
    CHECK_EQ(rc, 0);
}

TEST_TASK(group_next, is_refused_by_an_isolating_group_that_keeps_nothing)
{
    int rc = 0;

    IORA_GROUP_OF(rc, group, IORA_GROUP_ISOLATE)
        CHECK_EQ(iora_group_next(&group, NULL, NULL), -EINVAL);
    CHECK_EQ(rc, 0);
}

TEST_TASK(group_next, of_a_closed_group_is_closed)
{
    iora_group group;

    CHECK_EQ(iora_group_begin(&group, 0), 0);
    CHECK_EQ(iora_group_end(&group, 0), 0);
    CHECK_EQ(iora_group_next(&group, NULL, NULL), IORA_E_CLOSED);
}

TEST_TASK(group_next, cancelled_has_taken_nothing)
{
    int rc = 0, code = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, quiet, iora_ms(10), 7);
        CHECK_EQ(iora_wait_for(iora_group_next(&group, NULL, &code), iora_ms(5)), -ETIMEDOUT);
        CHECK_EQ(iora_sleep(iora_ms(10)), 0);
        CHECK_EQ(iora_wait_for(iora_group_next(&group, NULL, &code), iora_ms(0)), -ETIMEDOUT);
        CHECK_EQ(code, 0);
        CHECK_EQ(iora_group_next(&group, NULL, &code), 0);
        CHECK_EQ(code, 7);
    }
    CHECK_EQ(rc, 0);
}

TEST_TASK(group_next, is_cancelled_by_a_failure_in_a_fail_fast_group)
{
    int rc = 0, code = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, member, "a", iora_ms(10), -EIO);
        (void)iora_group_go(&group, member, "b", iora_ms(20), 0);
        rc = iora_group_next(&group, NULL, &code);
        CHECK_EQ(rc, -ECANCELED);
        CHECK_EQ(code, 0);
    }
    CHECK_EQ(rc, -EIO);
    CHECK_TRACE("a@10 b-cancelled@10");
}

static int
take_next(iora_group *group, const char *word)
{
    int code = 0;
    const int rc = iora_group_next(group, NULL, &code);

    test_trace("%s:%s:%d", word, iora_err_name(rc), code);
    return 0;
}
IORA_ASYNC(take_next, iora_group *, const char *);

TEST_TASK(group_next, several_who_wait_are_served_in_their_order_and_told_when_none_is_left)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        iora_task takers[3];

        (void)iora_group_go(&group, quiet, iora_ms(10), 1);
        (void)iora_group_go(&group, quiet, iora_ms(20), 2);
        takers[0] = iora_go(take_next, &group, "a");
        takers[1] = iora_go(take_next, &group, "b");
        takers[2] = iora_go(take_next, &group, "c");
        CHECK_EQ(iora_gather_n(takers, 3), 0);
    }
    CHECK_EQ(rc, 0);
    CHECK_TRACE("a:OK:1 b:OK:2 c:ENOENT:0");
}

/* ---- cancel ----------------------------------------------------------------------------------------------------------------- */

TEST_TASK(group_cancel, cancels_members_and_block_and_is_no_error)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, slow_to_end, "a", iora_ms(20), 0);
        (void)iora_group_go(&group, member, "b", IORA_FOREVER, 0);
        rc = iora_sleep(iora_ms(10));
        CHECK_EQ(rc, 0);
        iora_group_cancel(&group);
        at("not-waited");
        rc = iora_yield();
        CHECK_EQ(rc, -ECANCELED);
    }
    CHECK_EQ(rc, 0);
    CHECK_EQ(iora_yield(), 0);
    CHECK_TRACE("not-waited@10 a-cancelled@10 b-cancelled@10 a-ended@30");
}

static int
cancel_group(iora_group *group)
{
    iora_group_cancel(group);
    return 0;
}
IORA_ASYNC(cancel_group, iora_group *);

TEST_TASK(group_cancel, from_another_task_ends_the_blocks_wait)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_go(cancel_group, &group);
        rc = iora_sleep(IORA_FOREVER);
        CHECK_EQ(rc, -ECANCELED);
    }
    CHECK_EQ(rc, 0);
}

TEST_TASK(group_cancel, from_a_member_while_the_group_ends)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, slow_to_end, "a", iora_ms(20), 0);
        (void)iora_group_go(&group, cancel_group, &group);
    }
    CHECK_EQ(rc, 0);
    CHECK_TRACE("a-cancelled@0 a-ended@20");
}

TEST_TASK(group_cancel, keeps_a_failure_that_it_brings_about)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, slow_to_end, "a", iora_ms(20), -EIO);
        rc = iora_yield();
        iora_group_cancel(&group);
        iora_group_cancel(&group);
    }
    CHECK_EQ(rc, -EIO);
}

TEST_TASK(group_cancel, of_a_closed_group_does_nothing)
{
    iora_group group;

    CHECK_EQ(iora_group_begin(&group, 0), 0);
    CHECK_EQ(iora_group_end(&group, 0), 0);
    iora_group_cancel(&group);
    CHECK_EQ(iora_yield(), 0);
}

/* ---- cancelled from outside ------------------------------------------------------------------------------------------------ */

TEST_TASK(group, deadline_outside_cancels_the_members_while_the_group_ends)
{
    int rc = 0, inner = 0;

    IORA_TIMEOUT(rc, iora_ms(10)) {
        IORA_GROUP(inner, group) {
            (void)iora_group_go(&group, slow_to_end, "a", iora_ms(20), 0);
            (void)iora_group_go(&group, member, "b", iora_s(1), 0);
        }
        CHECK_EQ(inner, -ECANCELED);
        at("end");
        rc = inner;
    }
    CHECK_EQ(rc, -ETIMEDOUT);
    CHECK_TRACE("a-cancelled@10 b-cancelled@10 a-ended@30 end@30");
}

TEST_TASK(group, deadline_outside_ends_the_blocks_wait_and_then_the_members)
{
    int rc = 0, inner = 0;

    IORA_TIMEOUT(rc, iora_ms(10)) {
        IORA_GROUP(inner, group) {
            (void)iora_group_go(&group, slow_to_end, "a", iora_ms(20), 0);
            inner = iora_sleep(iora_s(1));
            at("block");
        }
        rc = inner;
    }
    CHECK_EQ(rc, -ETIMEDOUT);
    CHECK_TRACE("block@10 a-cancelled@10 a-ended@30");
}

TEST_TASK(group, in_a_cancelled_scope_cancels_its_members_at_the_end_even_if_the_block_says_0)
{
    int rc = 0, inner = 0;

    IORA_TIMEOUT(rc, iora_ms(0)) {
        IORA_GROUP(inner, group) {
            (void)iora_group_go(&group, member, "a", IORA_FOREVER, 0);
        }
        CHECK_EQ(inner, -ECANCELED);
    }
    CHECK_TRACE("a-cancelled@0");
}

static int
group_in_a_task(void)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, slow_to_end, "a", iora_ms(20), -EIO);
    }
    test_trace("%s", iora_err_name(rc));
    return rc;
}
IORA_ASYNC(group_in_a_task);

TEST_TASK(group, in_a_cancelled_task_ends_when_its_members_have)
{
    const iora_task task = iora_go(group_in_a_task);

    CHECK_EQ(iora_sleep(iora_ms(10)), 0);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), IORA_E_TASK_CANCELED);
    CHECK_TRACE("a-cancelled@10 a-ended@30 ECANCELED");
}

TEST_TASK(group, members_that_ignore_a_cancel_are_waited_for)
{
    int rc = 0, inner = 0;

    IORA_TIMEOUT(rc, iora_ms(10)) {
        IORA_GROUP(inner, group) {
            (void)iora_group_go(&group, slow_to_end, "a", iora_ms(100), 0);
        }
        rc = inner;
    }
    CHECK_EQ(rc, -ETIMEDOUT);
    CHECK_EQ(test_ms(), 110);
}

TEST_TASK(group, deadline_opened_inside_and_left_open_ends_with_it)
{
    iora_scope left_open;
    iora_census census;
    int rc = 0;

    IORA_GROUP(rc, group) {
        iora_timeout_begin(&left_open, iora_ms(50));
        (void)iora_group_go(&group, member, "a", iora_ms(10), 0);
    }
    CHECK_EQ(rc, 0);
    iora_loop_census(iora_loop_running(), &census);
    CHECK_EQ(census.timers, 0);
    CHECK_EQ(iora_sleep(iora_ms(100)), 0);
}

/* ---- ways out of the block: all wait until the members, cancelled, have ended -------------------------------------------------- */

TEST_TASK(group, break_cancels_the_members_and_waits_for_them)
{
    int rc = 0, rounds = 0;

    for (; rounds < 2; rounds++) {
        IORA_GROUP(rc, group) {
            (void)iora_group_go(&group, slow_to_end, "a", iora_ms(5), 0);
            rc = iora_yield();
            break;
        }
        at("out");
        CHECK_EQ(rc, 0);
    }
    CHECK_EQ(rounds, 2);
    CHECK_TRACE("a-cancelled@0 a-ended@5 out@5 a-cancelled@5 a-ended@10 out@10");
}

TEST_TASK(group, goto_cancels_the_members_and_waits_for_them)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, slow_to_end, "a", iora_ms(5), 0);
        rc = iora_yield();
        goto out;
    }
out:
    at("out");
    CHECK_EQ(rc, 0);
    CHECK_TRACE("a-cancelled@0 a-ended@5 out@5");
}

static int
return_from_block(void)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, slow_to_end, "a", iora_ms(5), 0);
        rc = iora_yield();
        return 33;
    }
    return rc;
}

TEST_TASK(group, return_cancels_the_members_and_waits_for_them)
{
    CHECK_EQ(return_from_block(), 33);
    at("out");
    CHECK_TRACE("a-cancelled@0 a-ended@5 out@5");
}

TEST_TASK(group, break_keeps_a_failure_of_a_member)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, slow_to_end, "a", iora_ms(5), -EIO);
        rc = iora_yield();
        break;
    }
    CHECK_EQ(rc, -EIO);
}

TEST_TASK(group, break_out_of_a_loop_inside_is_no_way_out)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        for (;;) {
            (void)iora_group_go(&group, member, "a", iora_ms(5), 0);
            break;
        }
    }
    CHECK_EQ(rc, 0);
    CHECK_TRACE("a@5");
}

/* ---- spawning ----------------------------------------------------------------------------------------------------------------- */

static void
check_refused(iora_group *group)
{
    const iora_task task = iora_group_go(group, member, "never", iora_ms(0), 0);

    CHECK(!iora_task_is_valid(task));
    CHECK_EQ(iora_task_error(task), IORA_E_CLOSED);
}

TEST_TASK(group_go, into_a_closed_group_is_refused)
{
    iora_group group;

    CHECK_EQ(iora_group_begin(&group, 0), 0);
    CHECK_EQ(iora_group_end(&group, 0), 0);
    check_refused(&group);
    CHECK_EQ(iora_yield(), 0);
    CHECK_TRACE("");
}

TEST_TASK(group_go, into_a_group_whose_members_were_cancelled_is_refused)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        iora_group_cancel(&group);
        check_refused(&group);
    }
    CHECK_EQ(rc, 0);
    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, quiet, iora_ms(1), -EIO);
        CHECK_EQ(iora_sleep(iora_s(1)), -ECANCELED);
        check_refused(&group);
    }
    CHECK_EQ(rc, -EIO);
}

static int spawn_more(iora_group *group, int left);
IORA_ASYNC(spawn_more, iora_group *, int);

static int
spawn_more(iora_group *group, int left)
{
    int rc = iora_sleep(iora_ms(1));

    test_trace("%d@%lld", left, test_ms());
    if (left > 0)
        (void)iora_group_go(group, spawn_more, group, left - 1);
    return rc;
}

TEST_TASK(group_go, works_for_members_too_also_while_the_group_ends)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, spawn_more, &group, 3);
    }
    CHECK_EQ(rc, 0);
    CHECK_TRACE("3@1 2@2 1@3 0@4");
}

static int
spawn_when_cancelled(iora_group *group)
{
    (void)iora_sleep(IORA_FOREVER);
    check_refused(group);
    return 0;
}
IORA_ASYNC(spawn_when_cancelled, iora_group *);

TEST_TASK(group_go, is_refused_to_members_that_are_being_cancelled)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, spawn_when_cancelled, &group);
        CHECK_EQ(iora_yield(), 0);
        rc = -EIO;
    }
    CHECK_EQ(rc, -EIO);
}

static void
go_member(void *arg)
{
    (void)iora_group_go((iora_group *)arg, member, "a", iora_ms(5), 0);
}

TEST_TASK(group_go, works_from_a_callback)
{
    iora_handle handle = {0};
    int rc = 0;

    IORA_GROUP(rc, group) {
        CHECK_EQ(iora_call_soon(iora_loop_running(), &handle, go_member, &group), 0);
        rc = iora_yield();
    }
    CHECK_EQ(rc, 0);
    CHECK_TRACE("a@5");
}

static int
member_with_children(void)
{
    (void)iora_go(slow_to_end, "grandchild", iora_ms(20), 0);
    return iora_sleep(iora_ms(10));
}
IORA_ASYNC(member_with_children);

TEST_TASK(group, members_count_until_their_children_have_ended)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, member_with_children);
        CHECK_EQ(iora_sleep(iora_ms(15)), 0);
        CHECK_EQ(iora_group_live(&group), 1);
    }
    at("end");
    CHECK_TRACE("grandchild-cancelled@10 grandchild-ended@30 end@30");
}

/* ---- groups in groups ----------------------------------------------------------------------------------------------------------- */

TEST_TASK(group, nested_ends_with_the_failure_that_is_its_own)
{
    int rc = 0, inner = 0;

    IORA_GROUP(rc, outer) {
        (void)iora_group_go(&outer, member, "outer", iora_ms(30), 0);
        IORA_GROUP(inner, group) {
            (void)iora_group_go(&group, member, "inner", iora_ms(50), 0);
            (void)iora_group_go(&group, member, "bad", iora_ms(10), -EIO);
        }
        CHECK_EQ(inner, -EIO);
        CHECK_EQ(iora_yield(), 0); /* handled here: the outer one goes on */
    }
    CHECK_EQ(rc, 0);
    CHECK_TRACE("bad@10 inner-cancelled@10 outer@30");
}

TEST_TASK(group, nested_is_cancelled_by_a_failure_in_the_outer_one)
{
    int rc = 0, inner = 0;

    IORA_GROUP(rc, outer) {
        (void)iora_group_go(&outer, member, "bad", iora_ms(10), -EIO);
        IORA_GROUP(inner, group) {
            (void)iora_group_go(&group, slow_to_end, "inner", iora_ms(20), 0);
        }
        CHECK_EQ(inner, -ECANCELED);
        rc = inner;
    }
    CHECK_EQ(rc, -EIO);
    CHECK_TRACE("bad@10 inner-cancelled@10 inner-ended@30");
}

static int nested_groups(int depth);
IORA_ASYNC(nested_groups, int);

static int
nested_groups(int depth)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        if (depth > 0)
            (void)iora_group_go(&group, nested_groups, depth - 1);
        else
            (void)iora_group_go(&group, quiet, IORA_FOREVER, 0);
    }
    return rc;
}

TEST_TASK(group, a_cancel_goes_down_a_chain_of_ten_thousand)
{
#if defined(__SANITIZE_THREAD__)
    test_skip("ThreadSanitizer has room for 8,128 stacks");
#endif
    const iora_task task = iora_go(nested_groups, 10000);

    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), IORA_E_TASK_CANCELED);
    CHECK_EQ(tasks_alive(), 0);
}

/* ---- deadlines of a group ---------------------------------------------------------------------------------------------------------- */

TEST_TASK(group, is_a_scope_that_can_be_cancelled_as_one)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, member, "a", iora_ms(10), 0);
        iora_scope_cancel(&group._scope);
        CHECK_EQ(iora_yield(), -ECANCELED);
    }
    CHECK_EQ(iora_yield(), 0);
    CHECK_TRACE("a-cancelled@0");
}

/* ---- outside of a task ---------------------------------------------------------------------------------------------------------------- */

static void
use_group_outside_of_a_task(int expected)
{
    iora_group group;
    int rc = 0;
    bool entered = false;

    CHECK_EQ(iora_group_begin(&group, 0), expected);
    CHECK_EQ(iora_task_error(iora_group_go(&group, quiet, iora_ms(0), 0)),
             expected == IORA_E_NO_LOOP ? IORA_E_NO_LOOP : IORA_E_CLOSED);
    CHECK_EQ(iora_group_next(&group, NULL, NULL), IORA_E_CLOSED);
    CHECK_EQ(iora_group_live(&group), 0);
    iora_group_cancel(&group);
    CHECK_EQ(iora_group_end(&group, 6), 6);
    IORA_GROUP(rc, block)
        entered = true;
    CHECK(!entered);
    CHECK_EQ(rc, expected);
}

static void
use_group_in_callback(void *arg)
{
    *(bool *)arg = true;
    use_group_outside_of_a_task(IORA_E_NO_TASK);
}

TEST_TASK(group, is_closed_in_a_callback)
{
    iora_handle handle = {0};
    bool called = false;

    CHECK_EQ(iora_call_soon(iora_loop_running(), &handle, use_group_in_callback, &called), 0);
    CHECK_EQ(iora_yield(), 0);
    CHECK(called);
}

TEST(group, is_closed_without_a_loop)
{
    use_group_outside_of_a_task(IORA_E_NO_LOOP);
}
