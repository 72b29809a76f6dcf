/* tests/c/test_await.c -- waiting for tasks: await, shield, gather, gather_all, wait. */
#include "test.h"

/* ---- what the tests spawn ------------------------------------------------------------------------------------ */

static void
at(const char *what)
{
    test_trace("%s@%lld", what, test_ms());
}

/* Sleeps, and returns a code. */
static int
worker(iora_duration d, int code)
{
    const int rc = iora_sleep(d);

    return rc < 0 ? rc : code;
}
IORA_ASYNC(worker, iora_duration, int);

/* The same, and says how it went. */
static int
loud_worker(const char *word, iora_duration d, int code)
{
    const int rc = worker(d, code);

    test_trace("%s%s@%lld", word, rc == -ECANCELED ? "-cancelled" : "", test_ms());
    return rc;
}
IORA_ASYNC(loud_worker, const char *, iora_duration, int);

/* Never ends by itself; cancelled, it takes some time over it, and returns a code. */
static int
slow_to_end(const char *word, iora_duration cleanup, int code)
{
    (void)iora_sleep(IORA_FOREVER);
    test_trace("%s-cancelled@%lld", word, test_ms());
    (void)iora_cleanup(iora_sleep(cleanup), IORA_FOREVER);
    test_trace("%s-ended@%lld", word, test_ms());
    return code;
}
IORA_ASYNC(slow_to_end, const char *, iora_duration, int);

static iora_task
stale(void)
{
    const iora_task task = iora_go(worker, iora_ms(0), 0);

    CHECK_EQ(iora_await(task), 0);
    return task;
}

static iora_task
null(void)
{
    return iora_go_sized(1, worker, iora_ms(0), 0);
}

static iora_task
ended(int code)
{
    const iora_task task = iora_go_eager(worker, iora_ms(0), code);

    CHECK_EQ(iora_yield(), 0);
    CHECK(iora_task_is_done(task));
    return task;
}

static int
await_and_say(const char *word, iora_task task)
{
    const int rc = iora_await(task);

    test_trace("%s:%s", word, iora_err_name(rc));
    return rc;
}
IORA_ASYNC(await_and_say, const char *, iora_task);

static size_t
tasks_alive(void)
{
    iora_census census;

    iora_loop_census(iora_loop_running(), &census);
    return census.tasks - 1; /* but for the current one */
}

/* ---- await ---------------------------------------------------------------------------------------------------- */

TEST_TASK(await, returns_what_the_function_returned)
{
    CHECK_EQ(iora_await(iora_go(worker, iora_ms(1), 0)), 0);
    CHECK_EQ(iora_await(iora_go(worker, iora_ms(1), 123)), 123);
    CHECK_EQ(iora_await(iora_go(worker, iora_ms(1), -EIO)), -EIO);
    CHECK_EQ(iora_await(iora_go(worker, iora_ms(1), IORA_E_CLOSED)), IORA_E_CLOSED);
    CHECK_EQ(tasks_alive(), 0);
}

TEST_TASK(await, of_an_ended_task_does_not_suspend)
{
    const iora_task task = ended(4);

    (void)iora_go(loud_worker, "other", iora_ms(0), 0);
    CHECK_EQ(iora_await(task), 4);
    CHECK_TRACE("");
}

TEST_TASK(await, a_second_time_is_esrch)
{
    const iora_task task = iora_go(worker, iora_ms(1), 5);

    CHECK_EQ(iora_await(task), 5);
    CHECK_EQ(iora_await(task), -ESRCH);
    CHECK_EQ(iora_await(task), -ESRCH);
}

TEST_TASK(await, gives_all_who_waited_the_same_code_and_later_ones_esrch)
{
    const iora_task task = iora_go(worker, iora_ms(10), -EPIPE);
    iora_task waiters[3];

    waiters[0] = iora_go(await_and_say, "a", task);
    waiters[1] = iora_go(await_and_say, "b", task);
    waiters[2] = iora_go(await_and_say, "c", task);
    CHECK_EQ(iora_sleep(iora_ms(20)), 0);
    CHECK_EQ(iora_await(task), -ESRCH);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(iora_await(waiters[i]), -EPIPE);
    CHECK_TRACE("a:EPIPE b:EPIPE c:EPIPE");
}

TEST_TASK(await, of_a_null_handle_is_the_error_of_its_spawn)
{
    CHECK_EQ(iora_await(null()), -EINVAL);
}

TEST_TASK(await, of_a_task_that_somebody_else_cancelled_says_so)
{
    const iora_task task = iora_go(worker, IORA_FOREVER, 0);

    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), IORA_E_TASK_CANCELED);
    CHECK(!iora_is_cancelled());
    CHECK_EQ(iora_yield(), 0); /* it was not us */
}

TEST_TASK(await, of_a_task_that_returns_ecanceled_of_its_own_does_not_look_like_our_cancel)
{
    CHECK_EQ(iora_await(iora_go(worker, iora_ms(1), -ECANCELED)), IORA_E_TASK_CANCELED);
    CHECK_EQ(iora_await(ended(-ECANCELED)), IORA_E_TASK_CANCELED);
}

/* ---- cancelled awaits ------------------------------------------------------------------------------------------- */

/* Awaits somebody who writes into its frame. */
static int
write_late(int *out)
{
    const int rc = iora_sleep(iora_s(1));

    (void)iora_cleanup(iora_sleep(iora_ms(50)), IORA_FOREVER);
    *out = 42;
    return rc;
}
IORA_ASYNC(write_late, int *);

static int
await_a_writer(void)
{
    int out = 0;
    const int rc = iora_await(iora_go(write_late, &out));

    CHECK_EQ(out, 42); /* nobody writes here any more */
    at("left");
    return rc;
}
IORA_ASYNC(await_a_writer);

TEST_TASK_EVERYWHERE(await, cancelled_while_waiting_cancels_and_joins)
{
    const iora_task task = iora_go(await_a_writer);
    const iora_instant began = iora_now();

    CHECK_EQ(iora_sleep(iora_ms(10)), 0);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), IORA_E_TASK_CANCELED);
    CHECK(iora_to_s(iora_between(began, iora_now())) < 0.9);
    if (test_where() == TEST_SIM)
        CHECK_TRACE("left@60");
}

static int
await_with_a_cancel_pending(iora_task *task)
{
    CHECK_EQ(iora_cancel(iora_current()), 0);
    CHECK_EQ(iora_await(*task), -ECANCELED);
    at("left");
    return 0;
}
IORA_ASYNC(await_with_a_cancel_pending, iora_task *);

TEST_TASK(await, cancelled_at_entry_cancels_and_joins)
{
    iora_task task = iora_go(slow_to_end, "task", iora_ms(5), 3);

    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_await(iora_go(await_with_a_cancel_pending, &task)), 0);
    CHECK_EQ(iora_await(task), -ESRCH);
    CHECK_TRACE("task-cancelled@0 task-ended@5 left@5");
}

TEST_TASK(await, cancelled_at_entry_of_a_task_that_never_ran_lets_it_run_to_its_first_suspension)
{
    iora_task task = iora_go(loud_worker, "task", iora_ms(5), 3);

    CHECK_EQ(iora_await(iora_go_eager(await_with_a_cancel_pending, &task)), 0);
    CHECK_TRACE("task-cancelled@0 left@0");
}

TEST_TASK(await, cancelled_at_entry_of_an_ended_task_collects_it)
{
    iora_task task = ended(3);

    CHECK_EQ(iora_await(iora_go(await_with_a_cancel_pending, &task)), 0);
    CHECK_EQ(iora_await(task), -ESRCH);
    CHECK_EQ(tasks_alive(), 0);
}

TEST_TASK(await, cancelled_is_ecanceled_even_if_the_awaited_one_ends_well)
{
    const iora_task task = iora_go(slow_to_end, "task", iora_ms(5), 7);

    CHECK_EQ(iora_wait_for(iora_await(task), iora_ms(10)), -ETIMEDOUT);
    CHECK_EQ(iora_await(task), -ESRCH);
    CHECK_TRACE("task-cancelled@10 task-ended@15");
}

TEST_TASK(await, cancelled_again_while_it_joins_changes_nothing)
{
    const iora_task task = iora_go(slow_to_end, "task", iora_ms(20), 7);
    const iora_task waiter = iora_go(await_and_say, "waiter", task);

    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(iora_cancel(waiter), 0);
        CHECK_EQ(iora_cancel(task), 0);
        CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    }
    CHECK_EQ(iora_await(waiter), IORA_E_TASK_CANCELED);
    CHECK_TRACE("task-cancelled@1 task-ended@21 waiter:ECANCELED");
}

TEST_TASK(await, result_that_came_before_the_cancel_is_kept)
{
    const iora_task task = iora_go(worker, iora_ms(10), 5);
    const iora_task waiter = iora_go(await_and_say, "waiter", task);

    CHECK_EQ(iora_sleep(iora_ms(10)), 0); /* our timer came first: the task has not run yet */
    CHECK_EQ(iora_yield(), 0);            /* now it has ended, and the waiter is ready */
    CHECK_EQ(iora_cancel(waiter), 0);
    CHECK_EQ(iora_await(waiter), 5);
    CHECK_TRACE("waiter:OK");
}

TEST_TASK(await, cancel_that_came_before_the_result_is_kept)
{
    const iora_task task = iora_go(worker, iora_ms(10), 5);
    const iora_task waiter = iora_go(await_and_say, "waiter", task);

    CHECK_EQ(iora_sleep(iora_ms(10)), 0); /* the task is ready, with its sleep's result */
    CHECK_EQ(iora_cancel(waiter), 0);
    CHECK_EQ(iora_await(waiter), IORA_E_TASK_CANCELED);
    CHECK_TRACE("waiter:ECANCELED");
}

TEST_TASK(await, of_one_waiter_cancelled_is_a_cancel_by_somebody_else_to_the_others)
{
    const iora_task task = iora_go(worker, iora_s(1), 0);
    const iora_task a = iora_go(await_and_say, "a", task), b = iora_go(await_and_say, "b", task);

    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK_EQ(iora_cancel(a), 0);
    CHECK_EQ(iora_await(a), IORA_E_TASK_CANCELED);
    CHECK_EQ(iora_await(b), IORA_E_TASK_CANCELED);
    CHECK_TRACE("a:ECANCELED b:IORA_E_TASK_CANCELED");
}

/* Each awaits the next; the last one sleeps. */
static int link_of_chain(int left);
IORA_ASYNC(link_of_chain, int);

static int
link_of_chain(int left)
{
    return left > 0 ? iora_await(iora_go(link_of_chain, left - 1)) : iora_sleep(IORA_FOREVER);
}

TEST_TASK(await, a_cancel_goes_down_a_chain_of_ten_thousand)
{
#if defined(__SANITIZE_THREAD__)
    test_skip("ThreadSanitizer has room for 8,128 stacks");
#endif
    const iora_task first = iora_go(link_of_chain, 10000);

    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK_EQ(tasks_alive(), 10001);
    CHECK_EQ(iora_cancel(first), 0);
    CHECK_EQ(iora_await(first), IORA_E_TASK_CANCELED);
    CHECK_EQ(tasks_alive(), 0);
}

static int gathering_link(int left);
IORA_ASYNC(gathering_link, int);

static int
gathering_link(int left)
{
    return left > 0 ? iora_gather(iora_go(gathering_link, left - 1)) : iora_sleep(IORA_FOREVER);
}

TEST_TASK(gather, a_cancel_goes_down_a_chain_of_ten_thousand)
{
#if defined(__SANITIZE_THREAD__)
    test_skip("ThreadSanitizer has room for 8,128 stacks");
#endif
    const iora_task first = iora_go(gathering_link, 10000);

    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK_EQ(iora_cancel(first), 0);
    CHECK_EQ(iora_await(first), IORA_E_TASK_CANCELED);
    CHECK_EQ(tasks_alive(), 0);
}

/* ---- await: rings -------------------------------------------------------------------------------------------------- */

TEST_TASK(await, of_oneself_is_edeadlk)
{
    const iora_task self = iora_current();
    int code = 0;

    CHECK_EQ(iora_await(self), -EDEADLK);
    CHECK_EQ(iora_shield(self), -EDEADLK);
    CHECK_EQ(iora_gather(self), -EDEADLK);
    CHECK_EQ(iora_gather_all(&code, self), 0);
    CHECK_EQ(code, -EDEADLK);
}

/* Three tasks of which each awaits the next. */
static iora_task ring[3];

static int
await_next_in_ring(int index, int count)
{
    const int rc = iora_await(ring[(index + 1) % count]);

    test_trace("%d:%s", index, iora_err_name(rc));
    return rc;
}
IORA_ASYNC(await_next_in_ring, int, int);

static void
make_ring(int count)
{
    for (int i = 0; i < count; i++)
        ring[i] = iora_go(await_next_in_ring, i, count);
    CHECK_EQ(iora_await(ring[0]), -EDEADLK);
}

TEST_TASK(await, in_a_ring_of_two_is_edeadlk_to_the_one_that_closes_it)
{
    make_ring(2);
    CHECK_TRACE("1:EDEADLK 0:EDEADLK");
}

TEST_TASK(await, in_a_ring_of_three_is_edeadlk_to_the_one_that_closes_it)
{
    make_ring(3);
    CHECK_TRACE("2:EDEADLK 1:EDEADLK 0:EDEADLK");
}

static int
shield_from(iora_task task)
{
    return iora_shield(task);
}
IORA_ASYNC(shield_from, iora_task);

TEST_TASK(await, in_a_ring_with_a_shield_in_it_is_edeadlk)
{
    const iora_task other = iora_go(shield_from, iora_current());

    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_await(other), -EDEADLK);
}

static int
await_main(iora_task main_task)
{
    const int rc = iora_await(main_task);

    test_trace("%s", iora_err_name(rc));
    return 0;
}
IORA_ASYNC(await_main, iora_task);

TEST_TASK(await, in_a_ring_with_a_gather_in_it_is_edeadlk)
{
    const iora_task main_task = iora_current();

    CHECK_EQ(iora_gather(iora_go(worker, iora_ms(1), 0), iora_go_detached(await_main, main_task)),
             0);
    CHECK_TRACE("EDEADLK");
}

enum { LAYERS = 8, LAYER = 4 };

static iora_task crowd[LAYERS + 1][LAYER], closing;
static iora_event crowd_is_there;

static int
joins_layer_below(int layer)
{
    return iora_gather_n(crowd[layer - 1], LAYER);
}
IORA_ASYNC(joins_layer_below, int);

static int
closes_the_ring(void)
{
    const int rc = iora_event_wait(&crowd_is_there);

    CHECK_EQ(iora_await(closing), -EDEADLK);
    return rc;
}
IORA_ASYNC(closes_the_ring);

static int
awaits_who_closes(void)
{
    return iora_await(crowd[0][0]);
}
IORA_ASYNC(awaits_who_closes);

static int
returns_three(void)
{
    return 3;
}
IORA_ASYNC(returns_three);

static int
awaits_main(iora_task main_task, int *answer)
{
    *answer = iora_await(main_task);
    (void)iora_go_detached(returns_three); /* where the main task was, had it been collected */
    return 0;
}
IORA_ASYNC(awaits_main, iora_task, int *);

static int
main_that_is_awaited(int *answer)
{
    (void)iora_go_detached(awaits_main, iora_current(), answer);
    return iora_yield() < 0 ? -EIO : 7;
}
IORA_ASYNC(main_that_is_awaited, int *);

/* Who awaited the main task collected it, and its run read the end of the task that was made in its place. */
TEST_EVERYWHERE(await, of_the_main_task_leaves_it_to_its_run)
{
    int answer = 0;

    CHECK_EQ(test_run(main_that_is_awaited, &answer), 7);
    CHECK_EQ(answer, 7);
}

/* Everybody of a layer gathers the whole layer below: 4 to the 8th ways lead down, and the ring is found beside them. */
TEST_TASK(await, a_ring_beside_a_crowd_is_refused)
{
    const iora_task bottom = iora_go(closes_the_ring);

    for (int i = 0; i < LAYER; i++)
        crowd[0][i] = bottom;
    for (int layer = 1; layer <= LAYERS; layer++) {
        for (int i = 0; i < LAYER; i++)
            crowd[layer][i] = iora_go(joins_layer_below, layer);
    }
    closing = iora_go(awaits_who_closes);
    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    iora_event_set(&crowd_is_there);
    CHECK_EQ(iora_await(closing), 0);
    CHECK_EQ(iora_gather_n(crowd[LAYERS], LAYER), 0);
}

/* With its operations used up, an await lets others run at its very entry. */
static int
await_with_an_empty_budget(iora_task *other)
{
    iora_event event = IORA_EVENT_INIT;

    iora_event_set(&event);
    for (int i = 0; i < 128; i++)
        CHECK_EQ(iora_event_wait(&event), 0);
    return iora_await(*other);
}
IORA_ASYNC(await_with_an_empty_budget, iora_task *);

TEST_TASK(await, sees_a_ring_that_was_closed_while_others_ran_at_its_entry)
{
    iora_task other, first;

    first = iora_go(await_with_an_empty_budget, &other);
    other = iora_go(await_main, first);
    CHECK_EQ(iora_await(first), -EDEADLK);
    CHECK_EQ(iora_await(other), 0);
    CHECK_TRACE("EDEADLK");
}

/* The task that a child awaits cannot end before the child has. */
TEST_TASK(await, of_ones_owner_is_edeadlk)
{
    const iora_task main_task = iora_current();

    CHECK_EQ(iora_await(iora_go(await_main, main_task)), 0);
    (void)iora_go(await_main, main_task);
    CHECK_EQ(iora_sleep(iora_ms(1)), 0); /* main does not await it, but will join it */
    CHECK_TRACE("EDEADLK EDEADLK");
}

static int
grandchild_awaits_main(iora_task main_task)
{
    return iora_await(iora_go(await_main, main_task));
}
IORA_ASYNC(grandchild_awaits_main, iora_task);

TEST_TASK(await, of_ones_owners_owner_is_edeadlk)
{
    (void)iora_go(grandchild_awaits_main, iora_current());
    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK_TRACE("EDEADLK");
}

TEST_TASK(await, of_the_owner_of_ones_group_is_edeadlk)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, await_main, iora_current());
        CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    }
    CHECK_EQ(rc, 0);
    CHECK_TRACE("EDEADLK");
}

/* Awaits a task, and keeps to itself how that went. */
static int
await_quietly(iora_task task)
{
    (void)iora_await(task);
    return 0;
}
IORA_ASYNC(await_quietly, iora_task);

static int
sleep_then_await(iora_duration d, iora_task task)
{
    int rc = iora_sleep(d);

    if (rc == 0)
        rc = iora_await(task);
    test_trace("%s", iora_err_name(rc));
    return rc;
}
IORA_ASYNC(sleep_then_await, iora_duration, iora_task);

/* main owns the child, which awaits the other: so the other cannot await main, though main awaits nobody. */
TEST_TASK(await, in_a_ring_that_an_owner_would_close_is_edeadlk)
{
    const iora_task other = iora_go_detached(sleep_then_await, iora_ms(5), iora_current());

    (void)iora_go(await_quietly, other);
    CHECK_EQ(iora_sleep(iora_ms(10)), 0);
    CHECK_TRACE("EDEADLK");
    test_expect_log(); /* of the failure, which nobody took */
}

static int
gather_one_of(iora_task task)
{
    return iora_gather(task);
}
IORA_ASYNC(gather_one_of, iora_task);

TEST_TASK(await, in_a_ring_of_gathers_in_gathers_is_edeadlk)
{
    const iora_task other = iora_go_detached(sleep_then_await, iora_ms(5), iora_current());
    const iora_task inner = iora_go_detached(gather_one_of, other);
    const iora_task outer = iora_go_detached(gather_one_of, inner);

    CHECK_EQ(iora_gather(iora_go(gather_one_of, outer)), -EDEADLK);
    CHECK_TRACE("EDEADLK");
}

static int
await_in_a_generator(int *out, iora_task task)
{
    const int rc = iora_await(task);

    return rc < 0 ? rc : iora_emit(out, rc);
}
IORA_ASYNC(await_in_a_generator, int *, iora_task);

TEST_TASK(await, in_a_ring_with_a_generator_in_it_is_edeadlk)
{
    const iora_task other = iora_go_detached(sleep_then_await, iora_ms(5), iora_current());
    int x, rc;

    iora_for_each(rc, await_in_a_generator, &x, other)
        CHECK(false);
    CHECK_EQ(rc, -EDEADLK);
    CHECK_TRACE("EDEADLK");
}

/* Waits for main, but would get over it. */
static int
look_at_main(iora_task main_task)
{
    return iora_wait_for(iora_wait(&main_task, 1, IORA_ALL_COMPLETED), iora_s(10));
}
IORA_ASYNC(look_at_main, iora_task);

static int
select_main(iora_task main_task)
{
    iora_clause clauses[] = {iora_on_task(main_task), iora_on_sleep(iora_ms(5))};

    return iora_wait_for(iora_select(clauses, 2), iora_s(10));
}
IORA_ASYNC(select_main, iora_task);

TEST_TASK(await, of_one_that_has_another_way_out_than_our_end_is_no_ring)
{
    const iora_task looking = iora_go_detached(look_at_main, iora_current());
    const iora_task selecting = iora_go_detached(select_main, iora_current());

    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_await(selecting), 1);
    CHECK_EQ(iora_wait_for(iora_await(looking), iora_ms(5)), -ETIMEDOUT);
    CHECK_EQ(iora_await(looking), -ESRCH);
}

static int
wait_for_main_every_way(iora_task main_task)
{
    int code = 0;

    CHECK_EQ(iora_gather(main_task), -EDEADLK);
    CHECK_EQ(iora_gather_all(&code, main_task), 0);
    CHECK_EQ(code, -EDEADLK);
    return 0;
}
IORA_ASYNC(wait_for_main_every_way, iora_task);

TEST_TASK(gather, of_ones_owner_is_edeadlk)
{
    CHECK_EQ(iora_await(iora_go(wait_for_main_every_way, iora_current())), 0);
}

/* ---- shield ---------------------------------------------------------------------------------------------------------- */

TEST_TASK(shield, returns_the_result_and_collects)
{
    const iora_task task = iora_go(worker, iora_ms(1), 6);

    CHECK_EQ(iora_shield(task), 6);
    CHECK_EQ(iora_shield(task), -ESRCH);
    CHECK_EQ(iora_shield(ended(7)), 7);
    CHECK_EQ(tasks_alive(), 0);
}

TEST_TASK(shield, cancelled_lets_the_task_go_on_uncollected)
{
    const iora_task task = iora_go(loud_worker, "task", iora_ms(20), 6);

    CHECK_EQ(iora_wait_for(iora_shield(task), iora_ms(10)), -ETIMEDOUT);
    CHECK_EQ(test_ms(), 10);
    CHECK(!iora_task_is_done(task));
    CHECK_EQ(iora_await(task), 6);
    CHECK_TRACE("task@20");
}

TEST_TASK(shield, cancelled_at_entry_does_nothing)
{
    const iora_task task = ended(6);

    CHECK_EQ(iora_wait_for(iora_shield(task), iora_ms(0)), -ETIMEDOUT);
    CHECK_EQ(iora_shield(task), 6);
}

TEST_TASK(shield, of_a_null_handle_is_the_error_of_its_spawn)
{
    CHECK_EQ(iora_shield(null()), -EINVAL);
}

TEST_TASK(shield, of_a_task_that_somebody_else_cancelled_says_so)
{
    const iora_task task = iora_go(worker, IORA_FOREVER, 0);

    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_shield(task), IORA_E_TASK_CANCELED);
}

/* ---- gather ---------------------------------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(gather, returns_0_when_all_have_succeeded)
{
    CHECK_EQ(iora_gather(iora_go(worker, iora_ms(3), 0), iora_go(worker, iora_ms(1), 7),
                         iora_go(worker, iora_ms(2), 9)),
             0);
    CHECK_EQ(tasks_alive(), 0);
}

TEST_TASK(gather, runs_them_at_the_same_time)
{
    CHECK_EQ(iora_gather(iora_go(worker, iora_ms(30), 0), iora_go(worker, iora_ms(20), 0)), 0);
    CHECK_EQ(test_ms(), 30);
}

TEST_TASK(gather, of_none_returns_0)
{
    CHECK_EQ(iora_gather_n(NULL, 0), 0);
    CHECK_EQ(iora_gather_all_n(NULL, NULL, 0), 0);
}

TEST_TASK(gather, cancels_the_rest_at_the_first_error_and_joins_them)
{
    CHECK_EQ(iora_gather(iora_go(slow_to_end, "a", iora_ms(20), 0),
                         iora_go(worker, iora_ms(10), -EIO),
                         iora_go(slow_to_end, "b", iora_ms(30), -EPIPE)),
             -EIO);
    at("gathered");
    CHECK_TRACE("a-cancelled@10 b-cancelled@10 a-ended@30 b-ended@40 gathered@40");
    CHECK_EQ(tasks_alive(), 0);
}

TEST_TASK(gather, sees_an_error_among_tasks_that_have_ended_already)
{
    const iora_task failed = ended(-EIO);

    CHECK_EQ(iora_gather(iora_go(slow_to_end, "a", iora_ms(1), 0), failed,
                         iora_go(slow_to_end, "b", iora_ms(1), 0)),
             -EIO);
    CHECK_TRACE("a-cancelled@0 b-cancelled@0 a-ended@1 b-ended@1");
}

TEST_TASK(gather, of_tasks_that_have_all_ended_does_not_suspend)
{
    const iora_task a = ended(0), b = ended(1);

    (void)iora_go(loud_worker, "other", iora_ms(0), 0);
    CHECK_EQ(iora_gather(a, b), 0);
    CHECK_TRACE("");
    CHECK_EQ(iora_await(a), -ESRCH);
}

TEST_TASK(gather, counts_a_task_that_somebody_else_cancelled_as_an_error)
{
    const iora_task a = iora_go(worker, IORA_FOREVER, 0), b = iora_go(worker, IORA_FOREVER, 0);

    CHECK_EQ(iora_cancel(a), 0);
    CHECK_EQ(iora_gather(a, b), IORA_E_TASK_CANCELED);
}

static void
gather_many(int count, int failing)
{
    iora_task *const tasks = malloc((size_t)count * sizeof *tasks);

    for (int i = 0; i < count; i++)
        tasks[i] = iora_go(worker, iora_ms(i + 1), i == failing ? -EIO : 0);
    CHECK_EQ(iora_gather_n(tasks, (size_t)count), failing < 0 ? 0 : -EIO);
    for (int i = 0; i < count; i++)
        CHECK_EQ(iora_await(tasks[i]), -ESRCH);
    free(tasks);
}

TEST_TASK(gather, takes_16_tasks_and_17_and_a_thousand)
{
    gather_many(16, -1);
    gather_many(17, -1);
    gather_many(1000, -1);
}

TEST_TASK(gather, of_more_than_16_tasks_ends_at_the_first_error_too)
{
    gather_many(100, 40);
    CHECK_EQ(test_ms(), 41);
}

TEST_TASK(gather, of_many_works_without_memory)
{
    iora__seam_arm_allocation(1, true);
    gather_many(40, -1);
    (void)iora__seam_disarm();
}

/* With no memory at all the error record cannot be made either; the code is what counts. */
TEST_TASK(gather, of_many_without_memory_cancels_the_rest_at_an_error)
{
    iora__seam_arm_allocation(1, true);
    gather_many(40, 20);
    (void)iora__seam_disarm();
    CHECK_EQ(test_ms(), 21);
}

TEST_TASK(gather, with_a_null_handle_cancels_and_joins_the_rest)
{
    CHECK_EQ(iora_gather(iora_go(slow_to_end, "a", iora_ms(2), 0), null(),
                         iora_go(slow_to_end, "b", iora_ms(1), 0)),
             -EINVAL);
    at("gathered");
    CHECK_TRACE("a-cancelled@0 b-cancelled@0 b-ended@1 a-ended@2 gathered@2");
}

TEST_TASK(gather, with_a_stale_handle_cancels_and_joins_the_rest)
{
    const iora_task gone = stale();

    CHECK_EQ(iora_gather(gone, iora_go(slow_to_end, "a", iora_ms(1), 0)), -ESRCH);
    CHECK_TRACE("a-cancelled@0 a-ended@1");
}

TEST_TASK(gather, with_itself_among_them_cancels_and_joins_the_rest)
{
    CHECK_EQ(iora_gather(iora_go(slow_to_end, "a", iora_ms(1), 0), iora_current()), -EDEADLK);
    CHECK_TRACE("a-cancelled@0 a-ended@1");
}

TEST_TASK(gather, of_the_same_task_twice_takes_its_result_twice)
{
    const iora_task running = iora_go(worker, iora_ms(1), 5), done = ended(5);
    int codes[2] = {0, 0};

    CHECK_EQ(iora_gather(running, running), 0);
    CHECK_EQ(iora_gather_all(codes, done, done), 0);
    CHECK_EQ(codes[0], 5);
    CHECK_EQ(codes[1], 5);
}

static int
gather_two(iora_task a, iora_task b)
{
    const int rc = iora_gather(a, b);

    test_trace("gather:%s@%lld", iora_err_name(rc), test_ms());
    return rc;
}
IORA_ASYNC(gather_two, iora_task, iora_task);

TEST_TASK(gather, cancelled_cancels_all_and_joins_all)
{
    const iora_task a = iora_go(slow_to_end, "a", iora_ms(10), 0);
    const iora_task b = iora_go(slow_to_end, "b", iora_ms(20), -EIO);
    const iora_task task = iora_go(gather_two, a, b);

    CHECK_EQ(iora_sleep(iora_ms(5)), 0);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), IORA_E_TASK_CANCELED);
    CHECK_TRACE("a-cancelled@5 b-cancelled@5 a-ended@15 b-ended@25 gather:ECANCELED@25");
    CHECK_EQ(tasks_alive(), 0);
}

TEST_TASK(gather, cancelled_at_entry_cancels_all_and_joins_all)
{
    const iora_task a = iora_go(slow_to_end, "a", iora_ms(10), 0);
    const iora_task b = iora_go(slow_to_end, "b", iora_ms(20), -EIO);
    const iora_task task = iora_go(gather_two, a, b);

    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), IORA_E_TASK_CANCELED);
    CHECK_TRACE("a-cancelled@0 b-cancelled@0 a-ended@10 b-ended@20 gather:ECANCELED@20");
    CHECK_EQ(tasks_alive(), 0);
}

TEST_TASK(gather, of_many_cancelled_joins_all_without_memory_too)
{
    enum { COUNT = 40 };
    iora_task tasks[COUNT];

    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < COUNT; i++)
            tasks[i] = iora_go(worker, iora_s(1 + i), 0);
        if (round == 1)
            iora__seam_arm_allocation(1, true);
        CHECK_EQ(iora_wait_for(iora_gather_n(tasks, COUNT), iora_ms(10)), -ETIMEDOUT);
        (void)iora__seam_disarm();
        CHECK_EQ(tasks_alive(), 0);
        CHECK_EQ(test_ms(), 10 * (round + 1));
    }
}

/* Awaited one by one, each after the thousandth counted as a call that ignores the cancel, and took 1 ms. */
TEST_TASK(gather, of_thousands_cancelled_without_memory_is_not_taken_for_deaf)
{
    enum { COUNT = 1500 };
    static iora_task tasks[COUNT];

    for (int i = 0; i < COUNT; i++)
        tasks[i] = iora_go(worker, iora_s(1), 0);
    iora__seam_arm_allocation(1, true);
    CHECK_EQ(iora_wait_for(iora_gather_n(tasks, COUNT), iora_ms(10)), -ETIMEDOUT);
    (void)iora__seam_disarm();
    CHECK_EQ(tasks_alive(), 0);
    CHECK_EQ(test_ms(), 10);
}

/* ---- gather_all ------------------------------------------------------------------------------------------------------ */

TEST_TASK(gather_all, writes_each_code_and_cancels_nothing)
{
    int codes[4];

    CHECK_EQ(iora_gather_all(codes, iora_go(worker, iora_ms(1), -EIO),
                             iora_go(worker, iora_ms(30), 7), iora_go(worker, iora_ms(2), 0),
                             iora_go(worker, iora_ms(3), -ECANCELED)),
             0);
    CHECK_EQ(codes[0], -EIO);
    CHECK_EQ(codes[1], 7);
    CHECK_EQ(codes[2], 0);
    CHECK_EQ(codes[3], IORA_E_TASK_CANCELED);
    CHECK_EQ(test_ms(), 30);
}

TEST_TASK(gather_all, writes_the_codes_of_null_and_stale_handles_and_waits_for_the_rest)
{
    const iora_task gone = stale();
    int codes[3];

    CHECK_EQ(iora_gather_all(codes, null(), iora_go(worker, iora_ms(5), 8), gone), 0);
    CHECK_EQ(codes[0], -EINVAL);
    CHECK_EQ(codes[1], 8);
    CHECK_EQ(codes[2], -ESRCH);
    CHECK_EQ(test_ms(), 5);
}

TEST_TASK(gather_all, takes_a_thousand_with_memory_and_without)
{
    enum { COUNT = 1000 };
    static iora_task tasks[COUNT];
    static int codes[COUNT];

    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < COUNT; i++)
            tasks[i] = iora_go(worker, iora_ms((i * 7) % 13), i % 3 == 0 ? -i - 1 : i);
        if (round == 1)
            iora__seam_arm_allocation(1, true);
        CHECK_EQ(iora_gather_all_n(codes, tasks, COUNT), 0);
        (void)iora__seam_disarm();
        for (int i = 0; i < COUNT; i++)
            CHECK_EQ(codes[i], i % 3 == 0 ? -i - 1 : i);
        CHECK_EQ(tasks_alive(), 0);
    }
}

TEST_TASK(gather_all, without_a_place_for_the_codes_is_einval)
{
    const iora_task task = iora_go(worker, iora_ms(1), 8);

    CHECK_EQ(iora_gather_all_n(NULL, &task, 1), -EINVAL);
    CHECK_EQ(iora_await(task), 8);
}

TEST_TASK(gather_all, cancelled_cancels_all_and_joins_all)
{
    int codes[2];

    CHECK_EQ(iora_wait_for(iora_gather_all(codes, iora_go(slow_to_end, "a", iora_ms(10), 0),
                                           iora_go(slow_to_end, "b", iora_ms(20), -EIO)),
                           iora_ms(5)),
             -ETIMEDOUT);
    at("gathered");
    CHECK_TRACE("a-cancelled@5 b-cancelled@5 a-ended@15 b-ended@25 gathered@25");
}

/* ---- wait --------------------------------------------------------------------------------------------------------------- */

static void
go_three(iora_task tasks[3], int second_code)
{
    tasks[0] = iora_go(worker, iora_ms(30), 1);
    tasks[1] = iora_go(worker, iora_ms(20), second_code);
    tasks[2] = iora_go(worker, iora_ms(10), 3);
}

TEST_TASK(wait, for_all_collects_none)
{
    iora_task tasks[3];

    go_three(tasks, -EIO);
    CHECK_EQ(iora_wait(tasks, 3, IORA_ALL_COMPLETED), 3);
    CHECK_EQ(test_ms(), 30);
    CHECK_EQ(iora_await(tasks[0]), 1);
    CHECK_EQ(iora_await(tasks[1]), -EIO);
    CHECK_EQ(iora_await(tasks[2]), 3);
}

TEST_TASK(wait, for_the_first_returns_when_one_has_ended)
{
    iora_task tasks[3];

    go_three(tasks, 2);
    CHECK_EQ(iora_wait(tasks, 3, IORA_FIRST_COMPLETED), 1);
    CHECK_EQ(test_ms(), 10);
    CHECK(!iora_task_is_done(tasks[0]));
    CHECK(!iora_task_is_done(tasks[1]));
    CHECK(iora_task_is_done(tasks[2]));
    CHECK_EQ(iora_gather_n(tasks, 3), 0);
    CHECK_EQ(test_ms(), 30);
}

TEST_TASK(wait, for_the_first_error_returns_when_one_has_failed)
{
    iora_task tasks[3];

    go_three(tasks, -EIO);
    CHECK_EQ(iora_wait(tasks, 3, IORA_FIRST_ERROR), 2);
    CHECK_EQ(test_ms(), 20);
    CHECK(!iora_task_is_done(tasks[0]));
    CHECK_EQ(iora_await(tasks[1]), -EIO);
}

TEST_TASK(wait, for_the_first_error_returns_when_all_have_ended_without_one)
{
    iora_task tasks[3];

    go_three(tasks, 2);
    CHECK_EQ(iora_wait(tasks, 3, IORA_FIRST_ERROR), 3);
    CHECK_EQ(test_ms(), 30);
}

TEST_TASK(wait, for_the_first_error_counts_a_task_that_somebody_else_cancelled)
{
    iora_task tasks[3];

    go_three(tasks, 2);
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_cancel(tasks[0]), 0);
    CHECK_EQ(iora_wait(tasks, 3, IORA_FIRST_ERROR), 1);
    CHECK_EQ(test_ms(), 0);
    CHECK_EQ(iora_await(tasks[0]), IORA_E_TASK_CANCELED);
}

TEST_TASK(wait, counts_all_that_end_at_the_same_instant)
{
    iora_task tasks[3];

    for (int i = 0; i < 3; i++)
        tasks[i] = iora_go(worker, iora_ms(10), i);
    CHECK_EQ(iora_wait(tasks, 3, IORA_FIRST_COMPLETED), 3);
    CHECK_EQ(iora_gather_n(tasks, 3), 0);
}

TEST_TASK(wait, does_not_suspend_if_the_condition_holds)
{
    const iora_task tasks[2] = {iora_go(worker, iora_s(1), 0), ended(-EIO)};

    (void)iora_go(loud_worker, "other", iora_ms(0), 0);
    CHECK_EQ(iora_wait(tasks, 2, IORA_FIRST_COMPLETED), 1);
    CHECK_EQ(iora_wait(tasks, 2, IORA_FIRST_ERROR), 1);
    CHECK_EQ(iora_wait(NULL, 0, IORA_ALL_COMPLETED), 0);
    CHECK_EQ(iora_wait(NULL, 0, IORA_FIRST_COMPLETED), 0);
    CHECK_TRACE("");
    CHECK_EQ(iora_await(tasks[1]), -EIO);
}

TEST_TASK(wait, with_a_null_or_stale_handle_waits_for_none)
{
    const iora_task gone = stale();
    iora_task tasks[2] = {iora_go(worker, iora_ms(10), 0), gone};

    CHECK_EQ(iora_wait(tasks, 2, IORA_ALL_COMPLETED), -ESRCH);
    tasks[1] = null();
    CHECK_EQ(iora_wait(tasks, 2, IORA_FIRST_COMPLETED), -EINVAL);
    CHECK_EQ(test_ms(), 0);
    CHECK_EQ(iora_await(tasks[0]), 0);
}

TEST_TASK(wait, cancelled_lets_the_tasks_go_on)
{
    iora_task tasks[3];

    go_three(tasks, 2);
    CHECK_EQ(iora_wait_for(iora_wait(tasks, 3, IORA_ALL_COMPLETED), iora_ms(15)), -ETIMEDOUT);
    CHECK_EQ(test_ms(), 15);
    CHECK_EQ(iora_wait_for(iora_wait(tasks, 3, IORA_ALL_COMPLETED), iora_ms(0)), -ETIMEDOUT);
    CHECK_EQ(iora_gather_n(tasks, 3), 0);
    CHECK_EQ(test_ms(), 30);
}

TEST_TASK(wait, also_sees_what_somebody_else_collects_meanwhile)
{
    const iora_task task = iora_go(worker, iora_ms(10), 0);
    const iora_task waiter = iora_go(await_and_say, "waiter", task);

    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_wait(&task, 1, IORA_ALL_COMPLETED), 1);
    CHECK(iora_task_is_done(task));
    CHECK_EQ(iora_await(task), -ESRCH);
    CHECK_EQ(iora_await(waiter), 0);
}

TEST_TASK(wait, takes_more_than_16_tasks_or_says_enomem)
{
    enum { COUNT = 100 };
    iora_task tasks[COUNT];

    for (int i = 0; i < COUNT; i++)
        tasks[i] = iora_go(worker, iora_ms(COUNT - i), 0);
    iora__seam_arm_allocation(1, true);
    CHECK_EQ(iora_wait(tasks, COUNT, IORA_FIRST_COMPLETED), -ENOMEM);
    (void)iora__seam_disarm();
    CHECK_EQ(iora_wait(tasks, COUNT, IORA_FIRST_COMPLETED), 1);
    CHECK(iora_task_is_done(tasks[COUNT - 1]));
    CHECK_EQ(iora_wait(tasks, COUNT, IORA_ALL_COMPLETED), COUNT);
    CHECK_EQ(iora_gather_n(tasks, COUNT), 0);
}

/* asyncio's as_completed, by hand. */
TEST_TASK(wait, again_and_again_sees_the_rest)
{
    iora_task tasks[3];
    int left = 3;

    go_three(tasks, 2);
    while (left > 0) {
        CHECK(iora_wait(tasks, (size_t)left, IORA_FIRST_COMPLETED) >= 1);
        for (int i = 0; i < left; i++) {
            if (iora_task_is_done(tasks[i])) {
                test_trace("%d@%lld", iora_await(tasks[i]), test_ms());
                tasks[i--] = tasks[--left];
            }
        }
    }
    CHECK_TRACE("3@10 2@20 1@30");
}

static int
waits_for_itself(void)
{
    const iora_task self = iora_current();

    return iora_wait(&self, 1, IORA_ALL_COMPLETED);
}
IORA_ASYNC(waits_for_itself);

TEST(wait, of_oneself_is_edeadlk)
{
    CHECK_EQ(test_run(waits_for_itself), -EDEADLK);
}
