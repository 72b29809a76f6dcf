/* tests/c/test_cancel.c -- cancellation: at entry, while waiting, again and again, and ignored.
 *
 * What every suspending function must do is tried on all of them: see CALL() below. */
#include "test.h"

#include <unistd.h>

/* ---- what the tests spawn ------------------------------------------------------------------------------------ */

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

static int
return_code(int code)
{
    return code;
}
IORA_ASYNC(return_code, int);

static int
sleep_for_ever(void)
{
    return iora_sleep(IORA_FOREVER);
}
IORA_ASYNC(sleep_for_ever);

static int
emit_for_ever(int *out)
{
    int rc = 0;

    while (rc == 0)
        rc = iora_emit(out, 1);
    return rc;
}
IORA_ASYNC(emit_for_ever, int *);

/* ---- one of everything that can be waited for ------------------------------------------------------------------- */

/* Half of it can be had at once, half of it never. */
static struct {
    iora_lock lock_free, lock_held, lock_own;
    iora_event event_up, event_down;
    iora_condition condition;
    iora_semaphore permits, no_permits;
    iora_barrier barrier;
    iora_queue queue_of_one, queue_empty, queue_full;
    iora_channel channel;
    iora_future future_set, future_unset;
    iora_group closed_group;
    iora_task running, ended, stale, null;
    iora_gen gen_stale;
    int emitted;
} world;

static int
hold_lock(void)
{
    CHECK_EQ(iora_lock_acquire(&world.lock_held), 0);
    return sleep_for_ever();
}
IORA_ASYNC(hold_lock);

static void
make_world(void)
{
    static const iora_queue bounded = IORA_QUEUE_INIT(sizeof(int), 1);
    static const iora_channel channel = IORA_CHANNEL_INIT(sizeof(int));
    static const iora_semaphore one = IORA_SEMAPHORE_INIT(1), none = IORA_SEMAPHORE_INIT(0);
    static const iora_barrier two = IORA_BARRIER_INIT(2);
    const int item = 7;

    iora_event_set(&world.event_up);
    world.permits = one;
    world.no_permits = none;
    world.barrier = two;
    world.queue_of_one = world.queue_empty = world.queue_full = bounded;
    world.queue_of_one._maxsize = 2;
    CHECK_EQ(iora_queue_put_nowait(&world.queue_of_one, &item), 0);
    CHECK_EQ(iora_queue_put_nowait(&world.queue_full, &item), 0);
    world.channel = channel;
    CHECK_EQ(iora_future_set(&world.future_set, 0, NULL), 0);
    CHECK_EQ(iora_group_begin(&world.closed_group, 0), 0);
    CHECK_EQ(iora_group_end(&world.closed_group, 0), 0);
    world.stale = iora_go(return_code, 0);
    CHECK_EQ(iora_await(world.stale), 0);
    world.null = iora_go_sized(1, return_code, 0);
    world.gen_stale = iora_gen_open(emit_for_ever, &world.emitted);
    CHECK_EQ(iora_gen_close(world.gen_stale), 0);
    world.running = iora_go_detached(sleep_for_ever);
    (void)iora_go_detached(hold_lock);
    world.ended = iora_go(return_code, 3);
    CHECK_EQ(iora_yield(), 0);
    CHECK(iora_lock_is_locked(&world.lock_held));
}

/* What a call that was refused must have left as it was. */
static void
check_world(void)
{
    CHECK(!iora_lock_is_locked(&world.lock_free));
    CHECK(!iora_lock_is_locked(&world.lock_own));
    CHECK_EQ(iora_semaphore_value(&world.permits), 1);
    CHECK_EQ(iora_barrier_waiting(&world.barrier), 0);
    CHECK_EQ(iora_queue_size(&world.queue_of_one), 1);
    CHECK_EQ(iora_queue_size(&world.queue_full), 1);
    CHECK_EQ(iora_queue_size(&world.queue_empty), 0);
    CHECK_EQ(iora_channel_send_nowait(&world.channel, &(int){1}), -EAGAIN);
    CHECK(!iora_task_is_done(world.running));
    CHECK(iora_task_is_done(world.ended));
}

static void
end_world(void)
{
    CHECK_EQ(iora_queue_destroy(&world.queue_of_one), 0);
    CHECK_EQ(iora_queue_destroy(&world.queue_full), 0);
    CHECK_EQ(iora_queue_destroy(&world.queue_empty), 0);
}

/* ---- what is tried on each call ------------------------------------------------------------------------------------ */

typedef int call_fn(void);

static int
call_twice_cancelled(call_fn *call)
{
    CHECK_EQ(iora_cancel(iora_current()), 0);
    CHECK_EQ(call(), -ECANCELED);
    CHECK_EQ(call(), -ECANCELED);
    return 0;
}
IORA_ASYNC(call_twice_cancelled, __typeof__(call_fn *));

/* Cancelled at entry it returns -ECANCELED and has done nothing, even if it could finish at once. */
static void
check_refused(call_fn *call)
{
    make_world();
    CHECK_EQ(iora_await(iora_go(call_twice_cancelled, call)), 0);
    CHECK_EQ(test_ms(), 0);
    check_world();
    end_world();
}

static bool stop;

static int
call_until_stopped(call_fn *call)
{
    while (!stop)
        (void)call();
    return 0;
}
IORA_ASYNC(call_until_stopped, __typeof__(call_fn *));

/* Another task, in need of turns and of the clock. */
static int
live_a_little(void)
{
    for (int i = 0; i < 20; i++)
        CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_sleep(iora_s(2)), 0);
    stop = true;
    return 0;
}
IORA_ASYNC(live_a_little);

/* A task that ignores that it is cancelled stops neither the others nor the clock, and is reported. */
static void
check_deaf(call_fn *call)
{
    iora_task deaf;

    make_world();
    deaf = iora_go(call_until_stopped, call);
    CHECK_EQ(iora_cancel(deaf), 0);
    CHECK_EQ(iora_await(iora_go(live_a_little)), 0);
    CHECK_EQ(iora_await(deaf), 0);
    CHECK(test_logged("\"call_until_stopped\""));
    CHECK(test_logged("has ignored 1000 times"));
    check_world();
    end_world();
}

static int
yield_a_little(void)
{
    for (int i = 0; i < 20; i++)
        CHECK_EQ(iora_yield(), 0);
    stop = true;
    return 0;
}
IORA_ASYNC(yield_a_little);

/* A task that calls something that need not suspend, for ever, lets the others have their turns. */
static void
check_fair(call_fn *call)
{
    iora_task busy;

    make_world();
    busy = iora_go(call_until_stopped, call);
    CHECK_EQ(iora_await(iora_go(yield_a_little)), 0);
    CHECK_EQ(iora_await(busy), 0);
    end_world();
}

#define CALL(name, expression)                                                                     \
    static int call_##name(void)                                                                   \
    {                                                                                              \
        return expression;                                                                         \
    }                                                                                              \
    TEST_TASK(cancelled_at_entry_is_refused, name)                                                 \
    {                                                                                              \
        check_refused(call_##name);                                                                \
    }                                                                                              \
    TEST_TASK(deaf_lets_others_live, name)                                                         \
    {                                                                                              \
        check_deaf(call_##name);                                                                   \
    }

#define CALL_THAT_NEED_NOT_SUSPEND(name, expression)                                               \
    CALL(name, expression)                                                                         \
    TEST_TASK(busy_lets_others_run, name)                                                          \
    {                                                                                              \
        check_fair(call_##name);                                                                   \
    }

static int item;
static int codes[2];

CALL(yield, iora_yield())
CALL(sleep, iora_sleep(iora_ms(1)))
CALL(sleep_for_nothing, iora_sleep(iora_ms(0)))
CALL(sleep_for_ever, iora_sleep(IORA_FOREVER))
CALL(sleep_until_past, iora_sleep_until((iora_instant){0}))
CALL(sleep_until_for_ever, iora_sleep_until((iora_instant){INT64_MAX}))
CALL(await_new, iora_await(iora_go(sleep_for_ever)))
CALL(await_eager, iora_await(iora_go_eager(return_code, 0)))
CALL_THAT_NEED_NOT_SUSPEND(await_stale, iora_await(world.stale))
CALL_THAT_NEED_NOT_SUSPEND(await_null, iora_await(world.null))
CALL_THAT_NEED_NOT_SUSPEND(await_self, iora_await(iora_current()))
CALL(shield_running, iora_shield(world.running))
CALL(shield_ended, iora_shield(world.ended))
CALL_THAT_NEED_NOT_SUSPEND(shield_stale, iora_shield(world.stale))
CALL_THAT_NEED_NOT_SUSPEND(gather_none, iora_gather_n(NULL, 0))
CALL(gather_new, iora_gather(iora_go(sleep_for_ever), iora_go(sleep_for_ever)))
CALL_THAT_NEED_NOT_SUSPEND(gather_stale, iora_gather(world.stale))
CALL(gather_all_new, iora_gather_all(codes, iora_go(sleep_for_ever), iora_go(return_code, 3)))
CALL(wait_running, iora_wait(&world.running, 1, IORA_ALL_COMPLETED))
CALL_THAT_NEED_NOT_SUSPEND(wait_ended, iora_wait(&world.ended, 1, IORA_FIRST_COMPLETED))
CALL_THAT_NEED_NOT_SUSPEND(wait_none, iora_wait(NULL, 0, IORA_ALL_COMPLETED))
CALL_THAT_NEED_NOT_SUSPEND(wait_stale, iora_wait(&world.stale, 1, IORA_ALL_COMPLETED))
CALL_THAT_NEED_NOT_SUSPEND(gen_next_stale, iora_gen_next(world.gen_stale))
CALL_THAT_NEED_NOT_SUSPEND(emit_in_a_task_that_is_no_generator, iora_emit(&item, 1))
CALL_THAT_NEED_NOT_SUSPEND(group_next_closed, iora_group_next(&world.closed_group, NULL, NULL))

static int
lock_and_release(void)
{
    const int rc = iora_lock_acquire(&world.lock_free);

    return rc < 0 ? rc : iora_lock_release(&world.lock_free);
}
CALL_THAT_NEED_NOT_SUSPEND(lock_free, lock_and_release())
CALL(lock_held, iora_lock_acquire(&world.lock_held))
CALL_THAT_NEED_NOT_SUSPEND(event_up, iora_event_wait(&world.event_up))
CALL(event_down, iora_event_wait(&world.event_down))

static int
wait_for_condition(void)
{
    int rc;

    CHECK_EQ(iora_lock_acquire_nowait(&world.lock_own), 0);
    rc = iora_condition_wait(&world.condition, &world.lock_own);
    CHECK_EQ(iora_lock_release(&world.lock_own), 0);
    return rc;
}
CALL(condition, wait_for_condition())

static int
acquire_and_release(void)
{
    const int rc = iora_semaphore_acquire(&world.permits);

    return rc < 0 ? rc : iora_semaphore_release(&world.permits);
}
CALL_THAT_NEED_NOT_SUSPEND(semaphore_with_a_permit, acquire_and_release())
CALL(semaphore_without_permits, iora_semaphore_acquire(&world.no_permits))
CALL(barrier, iora_barrier_wait(&world.barrier))

static int
put_and_get(void)
{
    int rc = iora_queue_put(&world.queue_of_one, &item);

    return rc < 0 ? rc : iora_queue_get(&world.queue_of_one, &item);
}
CALL_THAT_NEED_NOT_SUSPEND(queue_with_room_and_items, put_and_get())
CALL(queue_get_of_an_item, iora_queue_get(&world.queue_of_one, &item))
CALL(queue_get_from_an_empty_one, iora_queue_get(&world.queue_empty, &item))
CALL(queue_put_to_a_full_one, iora_queue_put(&world.queue_full, &item))
CALL(queue_join, iora_queue_join(&world.queue_full))
CALL_THAT_NEED_NOT_SUSPEND(queue_join_of_an_empty_one, iora_queue_join(&world.queue_empty))
CALL(channel_send, iora_channel_send(&world.channel, &item))
CALL(channel_receive, iora_channel_receive(&world.channel, &item))
CALL_THAT_NEED_NOT_SUSPEND(future_set, iora_future_await(&world.future_set, NULL))
CALL(future_unset, iora_future_await(&world.future_unset, NULL))

static int
select_one(iora_clause clause)
{
    return iora_select(&clause, 1);
}
CALL_THAT_NEED_NOT_SUSPEND(select_that_can_happen, select_one(iora_on_event(&world.event_up)))
CALL(select_that_cannot_happen, select_one(iora_on_event(&world.event_down)))
CALL(select_get, select_one(iora_on_get(&world.queue_of_one, &item)))
CALL(select_sleep, select_one(iora_on_sleep(iora_ms(1))))

/* One group or generator after the other. */
static int
end_a_group(void)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, sleep_for_ever);
        rc = iora_yield();
    }
    return rc;
}
CALL(group_with_a_member, end_a_group())

static int
next_of_a_group(void)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        (void)iora_group_go(&group, sleep_for_ever);
        rc = iora_group_next(&group, NULL, NULL);
    }
    return rc;
}
CALL(group_next, next_of_a_group())

static int
consume_one(void)
{
    int rc = 0, value;

    iora_for_each(rc, emit_for_ever, &value)
        break;
    return rc;
}
CALL(generator, consume_one())

static int
time_out(void)
{
    return iora_wait_for(iora_sleep(iora_s(1)), iora_ms(0));
}
CALL(timeout_of_nothing, time_out())

/* ---- a watched descriptor: real loops only ------------------------------------------------------------------------------ */

static int
wait_for_stdin(void)
{
    return iora_wait_readable(STDIN_FILENO);
}

static int
wait_for_cancelled_descriptor(void)
{
    CHECK_EQ(iora_cancel(iora_current()), 0);
    CHECK_EQ(iora_wait_readable(-1), -ECANCELED);
    CHECK_EQ(iora_wait_writable(-1), -ECANCELED);
    CHECK_EQ(wait_for_stdin(), -ECANCELED);
    return 0;
}
IORA_ASYNC(wait_for_cancelled_descriptor);

TEST_TASK_EVERYWHERE(cancelled_at_entry_is_refused, waiting_for_a_descriptor)
{
    CHECK_EQ(iora_await(iora_go(wait_for_cancelled_descriptor)), 0);
}

/* ---- deliveries --------------------------------------------------------------------------------------------------------- */

static int
yield_cancelled(void)
{
    CHECK_EQ(iora_cancel(iora_current()), 0);
    (void)iora_go_detached(say, "other");
    CHECK_EQ(iora_yield(), -ECANCELED);
    test_trace("first");
    CHECK_EQ(iora_yield(), -ECANCELED);
    test_trace("second");
    (void)iora_go_detached(say, "other");
    CHECK_EQ(iora_sleep(iora_s(1)), -ECANCELED);
    test_trace("third");
    return 0;
}
IORA_ASYNC(yield_cancelled);

TEST_TASK(cancel, first_delivery_is_immediate_and_later_ones_pass_through_the_ready_queue)
{
    CHECK_EQ(iora_await(iora_go(yield_cancelled)), 0);
    CHECK_TRACE("first other second other third");
    CHECK_EQ(test_ms(), 0);
}

static int
sleep_then_yield(void)
{
    CHECK_EQ(iora_sleep(IORA_FOREVER), -ECANCELED);
    (void)iora_go_detached(say, "other");
    CHECK_EQ(iora_yield(), -ECANCELED);
    test_trace("second");
    return 0;
}
IORA_ASYNC(sleep_then_yield);

TEST_TASK(cancel, ending_a_wait_is_a_first_delivery)
{
    const iora_task task = iora_go(sleep_then_yield);

    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), 0);
    CHECK_TRACE("other second");
}

static int
count_lines(const char *text)
{
    int lines = 0;

    for (; *text != '\0'; text++)
        lines += *text == '\n';
    return lines;
}

TEST_TASK(cancel, ignored_a_thousand_times_is_reported_once_and_then_costs_a_millisecond_a_call)
{
    int rc = 0;

    for (int round = 0; round < 2; round++) { /* each scope anew */
        test_clear_log();
        IORA_TIMEOUT(rc, iora_ms(0)) {
            for (int i = 0; i < 1000; i++)
                CHECK_EQ(iora_yield(), -ECANCELED);
            CHECK_EQ(test_ms(), 5 * round);
            CHECK_STR(test_log(), "");
            for (int i = 0; i < 5; i++)
                CHECK_EQ(iora_sleep(iora_s(1)), -ECANCELED);
        }
        CHECK_EQ(test_ms(), 5 * (round + 1));
        CHECK(test_logged("ignored 1000 times"));
        CHECK(test_logged("test_cancel.c") || test_logged("iora_run"));
        CHECK_EQ(count_lines(test_log()), 1);
    }
    CHECK_EQ(iora_yield(), 0);
}

static int
time_out_again_and_again(void)
{
    while (!stop)
        CHECK_EQ(iora_wait_for(iora_yield(), iora_ms(0)), -ETIMEDOUT);
    return 0;
}
IORA_ASYNC(time_out_again_and_again);

TEST_TASK(cancel, immediate_deliveries_in_one_scope_after_the_other_let_others_run)
{
    const iora_task task = iora_go(time_out_again_and_again);

    CHECK_EQ(iora_await(iora_go(yield_a_little)), 0);
    CHECK_EQ(iora_await(task), 0);
}

static void
set_stop(void *arg)
{
    (void)arg;
    stop = true;
}

TEST_TASK_REAL(cancel, immediate_deliveries_in_one_scope_after_the_other_let_a_timer_fire)
{
    iora_timer timer = {0};

    CHECK_EQ(iora_call_later(iora_loop_running(), &timer, iora_ms(2), set_stop, NULL), 0);
    CHECK_EQ(time_out_again_and_again(), 0);
}

static int
yield_for_ever(void)
{
    while (!stop)
        (void)iora_yield();
    return 0;
}
IORA_ASYNC(yield_for_ever);

TEST_TASK(cancel, many_deaf_tasks_together_leave_room_for_the_others)
{
    iora_task deaf[20];

    for (int i = 0; i < 20; i++) {
        deaf[i] = iora_go(yield_for_ever);
        CHECK_EQ(iora_cancel(deaf[i]), 0);
    }
    CHECK_EQ(iora_await(iora_go(live_a_little)), 0);
    CHECK_EQ(iora_gather_n(deaf, 20), 0);
    CHECK(test_logged("ignored 1000 times"));
    CHECK_EQ(count_lines(test_log()), 20);
}

/* However long a thousand deliveries take. */
static void
stop_once_it_was_told(void *arg)
{
    iora_timer *const timer = arg;

    if (test_logged("ignored 1000 times"))
        stop = true;
    else
        CHECK_EQ(iora_call_later(iora_loop_running(), timer, iora_ms(1), stop_once_it_was_told, timer), 0);
}

TEST_TASK_REAL(cancel, a_deaf_task_leaves_the_real_clock_to_the_others)
{
    const iora_task deaf = iora_go(yield_for_ever);
    iora_timer timer = {0};

    CHECK_EQ(iora_cancel(deaf), 0);
    CHECK_EQ(iora_call_later(iora_loop_running(), &timer, iora_ms(1), stop_once_it_was_told, &timer), 0);
    CHECK_EQ(iora_await(deaf), 0);
}

/* ---- level-triggered ------------------------------------------------------------------------------------------------------- */

static int
call_many_things(void)
{
    iora_event event = IORA_EVENT_INIT;
    iora_lock lock = IORA_LOCK_INIT;

    CHECK_EQ(iora_sleep(iora_s(1)), -ECANCELED);
    CHECK_EQ(iora_event_wait(&event), -ECANCELED);
    CHECK_EQ(iora_lock_acquire(&lock), -ECANCELED);
    CHECK_EQ(iora_await(iora_go(return_code, 0)), -ECANCELED);
    CHECK_EQ(iora_wait_for(iora_sleep(iora_s(1)), iora_s(5)), -ECANCELED);
    CHECK_EQ(iora_cleanup(iora_sleep(iora_ms(3)), iora_s(5)), 0);
    CHECK_EQ(iora_yield(), -ECANCELED);
    return 12;
}
IORA_ASYNC(call_many_things);

TEST_TASK(cancel, is_seen_by_every_call_until_the_function_returns)
{
    const iora_task task = iora_go(call_many_things);

    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), 12);
    CHECK_EQ(test_ms(), 3);
}

TEST_TASK(cancel, of_oneself_is_seen_by_the_next_call)
{
    CHECK_EQ(iora_await(iora_go(yield_cancelled)), 0);
    CHECK(!iora_is_cancelled());
}

static int
returns_ecanceled(void)
{
    return iora_yield();
}
IORA_ASYNC(returns_ecanceled);

TEST_TASK(cancel, is_ecanceled_to_the_one_and_task_canceled_to_all_others)
{
    const iora_task task = iora_go(returns_ecanceled);

    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), IORA_E_TASK_CANCELED);
}

/* ---- iora_cancel ------------------------------------------------------------------------------------------------------------- */

static int
free_and_yield(char *gift)
{
    int rc;

    test_trace("runs");
    free(gift); /* what it was given is not lost */
    rc = iora_yield();
    test_trace("%s", iora_err_name(rc));
    return rc;
}
IORA_ASYNC(free_and_yield, char *);

TEST_TASK(cancel, before_it_started_lets_the_function_run_to_its_first_suspension)
{
    const iora_task task = iora_go(free_and_yield, malloc(100));

    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), IORA_E_TASK_CANCELED);
    CHECK_TRACE("runs ECANCELED");
}

static int
main_ends_at_once(void)
{
    (void)iora_go(free_and_yield, malloc(100));
    return 0;
}
IORA_ASYNC(main_ends_at_once);

TEST(cancel, before_it_started_by_the_end_of_the_run_lets_it_run_too)
{
    CHECK_EQ(test_run(main_ends_at_once), 0);
    CHECK_TRACE("runs ECANCELED");
}

TEST_TASK(cancel, returns_0_for_an_ended_task_and_esrch_for_a_collected_one)
{
    const iora_task task = iora_go(return_code, 5);

    CHECK_EQ(iora_yield(), 0);
    CHECK(iora_task_is_done(task));
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), 5);
    CHECK_EQ(iora_cancel(task), -ESRCH);
    CHECK_EQ(iora_cancel(iora_go_sized(1, return_code, 5)), -EINVAL);
}

TEST_TASK(cancel, twice_is_once)
{
    const iora_task task = iora_go(sleep_then_yield);

    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), 0);
    CHECK_TRACE("other second");
}

TEST_TASK(cancel, does_not_suspend)
{
    const iora_task task = iora_go(sleep_then_yield);

    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_TRACE("");
    CHECK(!iora_task_is_done(task));
    CHECK_EQ(iora_await(task), 0);
}

static void
cancel_task(void *arg)
{
    CHECK_EQ(iora_cancel(*(iora_task *)arg), 0);
}

TEST_TASK(cancel, works_from_a_callback)
{
    iora_task task = iora_go(sleep_for_ever);
    iora_timer timer = {0};

    CHECK_EQ(iora_call_later(iora_loop_running(), &timer, iora_ms(5), cancel_task, &task), 0);
    CHECK_EQ(iora_await(task), IORA_E_TASK_CANCELED);
    CHECK_EQ(test_ms(), 5);
}

static int
loud_sleeper(const char *word)
{
    const int rc = iora_sleep(IORA_FOREVER);

    at(word);
    return rc;
}
IORA_ASYNC(loud_sleeper, const char *);

static int
parent_that_takes_its_time(void)
{
    (void)iora_go(loud_sleeper, "child");
    CHECK_EQ(iora_sleep(IORA_FOREVER), -ECANCELED);
    CHECK_EQ(iora_cleanup(iora_sleep(iora_ms(10)), IORA_FOREVER), 0);
    at("parent");
    return 0;
}
IORA_ASYNC(parent_that_takes_its_time);

TEST_TASK(cancel, of_an_owner_reaches_its_children_when_it_returns)
{
    const iora_task task = iora_go(parent_that_takes_its_time);

    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), 0);
    CHECK_TRACE("parent@11 child@11");
}

static int
child_of_one_that_ends(void)
{
    (void)iora_sleep(IORA_FOREVER);
    CHECK_EQ(iora_cleanup(iora_sleep(iora_ms(10)), IORA_FOREVER), 0);
    at("child");
    return 0;
}
IORA_ASYNC(child_of_one_that_ends);

static int
parent_that_ends(void)
{
    (void)iora_go(child_of_one_that_ends);
    return iora_yield() < 0 ? -EIO : 8;
}
IORA_ASYNC(parent_that_ends);

TEST_TASK(cancel, of_a_task_that_has_returned_and_joins_its_children_changes_nothing)
{
    const iora_task task = iora_go(parent_that_ends);

    CHECK_EQ(iora_sleep(iora_ms(5)), 0);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), 8);
    CHECK_TRACE("child@10");
}

/* ---- result and cancel are settled at one point, first come ----------------------------------------------------------------- */

/* What a waiter got, and what its next call gets. */
static int
call_then_yield(call_fn *call)
{
    const int rc = call();

    test_trace("%s then %s", iora_err_name(rc), iora_err_name(iora_yield()));
    return 0;
}
IORA_ASYNC(call_then_yield, __typeof__(call_fn *));

typedef void give_fn(void);

/* Let it wait, give it what it waits for, and cancel it: in this order, or the other. */
static void
settle(call_fn *call, give_fn *give, bool gift_first)
{
    const iora_task task = iora_go(call_then_yield, call);

    CHECK_EQ(iora_yield(), 0);
    if (gift_first)
        give();
    CHECK_EQ(iora_cancel(task), 0);
    if (!gift_first)
        give();
    CHECK_EQ(iora_await(task), 0);
    CHECK_TRACE(gift_first ? "OK then ECANCELED" : "ECANCELED then ECANCELED");
}

static void
give_event(void)
{
    iora_event_set(&world.event_down);
}

TEST_TASK(settled_at_one_point, event_first)
{
    settle(call_event_down, give_event, true);
}

TEST_TASK(settled_at_one_point, event_last)
{
    settle(call_event_down, give_event, false);
}

static void
give_permit(void)
{
    CHECK_EQ(iora_semaphore_release(&world.no_permits), 0);
}

TEST_TASK(settled_at_one_point, permit_first_is_the_waiters)
{
    make_world();
    settle(call_semaphore_without_permits, give_permit, true);
    CHECK_EQ(iora_semaphore_value(&world.no_permits), 0);
    end_world();
}

TEST_TASK(settled_at_one_point, permit_last_is_not_lost)
{
    make_world();
    settle(call_semaphore_without_permits, give_permit, false);
    CHECK_EQ(iora_semaphore_value(&world.no_permits), 1);
    end_world();
}

static void
give_item(void)
{
    const int gift = 77;

    CHECK_EQ(iora_queue_put_nowait(&world.queue_empty, &gift), 0);
}

TEST_TASK(settled_at_one_point, item_first_is_the_waiters)
{
    make_world();
    settle(call_queue_get_from_an_empty_one, give_item, true);
    CHECK_EQ(item, 77);
    CHECK_EQ(iora_queue_size(&world.queue_empty), 0);
    end_world();
}

TEST_TASK(settled_at_one_point, item_last_is_not_lost)
{
    make_world();
    settle(call_queue_get_from_an_empty_one, give_item, false);
    CHECK_EQ(item, 0);
    CHECK_EQ(iora_queue_size(&world.queue_empty), 1);
    end_world();
}

static void
give_future(void)
{
    CHECK_EQ(iora_future_set(&world.future_unset, 0, NULL), 0);
}

TEST_TASK(settled_at_one_point, future_first)
{
    settle(call_future_unset, give_future, true);
}

TEST_TASK(settled_at_one_point, future_last)
{
    settle(call_future_unset, give_future, false);
}

static int
sleep_ten_ms(void)
{
    return iora_sleep(iora_ms(10));
}

static int
sleep_and_cancel(iora_task *task)
{
    CHECK_EQ(iora_sleep(iora_ms(10)), 0);
    CHECK_EQ(iora_cancel(*task), 0);
    return 0;
}
IORA_ASYNC(sleep_and_cancel, iora_task *);

TEST_TASK(settled_at_one_point, timer_and_cancel_at_the_same_instant)
{
    iora_task sleeper;

    /* Both timers fire in one turn: by the time of the cancel the sleep has its result. */
    (void)iora_go(sleep_and_cancel, &sleeper);
    sleeper = iora_go(call_then_yield, sleep_ten_ms);
    CHECK_EQ(iora_await(sleeper), 0);
    CHECK_TRACE("OK then ECANCELED");
}

static int
wait_and_count(int *woken)
{
    const int rc = iora_event_wait(&world.event_down);

    *woken += rc == 0;
    return rc;
}
IORA_ASYNC(wait_and_count, int *);

TEST_TASK(settled_at_one_point, one_of_many_cancelled_leaves_the_others_waiting)
{
    iora_task tasks[5];
    int woken = 0;

    for (int i = 0; i < 5; i++)
        tasks[i] = iora_go(wait_and_count, &woken);
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_cancel(tasks[0]), 0); /* first, middle and last of the queue */
    CHECK_EQ(iora_cancel(tasks[2]), 0);
    CHECK_EQ(iora_cancel(tasks[4]), 0);
    iora_event_set(&world.event_down);
    CHECK_EQ(iora_gather_n(tasks + 1, 1), 0);
    CHECK_EQ(iora_gather_n(tasks + 3, 1), 0);
    CHECK_EQ(woken, 2);
}

/* ---- monkeys ------------------------------------------------------------------------------------------------------------ */

/* Tasks that do one thing after the other at random, cancel each other at random, and sometimes ignore it. Nothing
 * may be lost, nobody left behind, whatever the order. */

enum { MONKEY_TASKS = 400, MONKEYS_KNOWN = 16, PERMITS = 2 };

static struct {
    uint64_t random;
    int tasks; /* that may still be started */
    iora_task known[MONKEYS_KNOWN];
    iora_lock lock;
    bool locked;
    iora_semaphore semaphore;
    int permits_taken;
    iora_queue queue;
    int items_put, items_taken;
} zoo;

static unsigned
pick(unsigned n)
{
    zoo.random = zoo.random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(zoo.random >> 33) % n;
}

static iora_duration
some_time(void)
{
    return iora_ms(pick(4) == 0 ? 0 : pick(30));
}

static int monkey(int depth);
IORA_ASYNC(monkey, int);
static int monkey_generator(int *out, int depth);
IORA_ASYNC(monkey_generator, int *, int);

static bool
may_start(int count)
{
    zoo.tasks -= count;
    return zoo.tasks > 0;
}

static iora_task
start_monkey(int depth)
{
    const unsigned how = pick(8);
    const iora_task task = how == 0   ? iora_go_eager(monkey, depth - 1)
                           : how == 1 ? iora_go_detached(monkey, depth - 1)
                                      : iora_go(monkey, depth - 1);

    zoo.known[pick(MONKEYS_KNOWN)] = task;
    return task;
}

static int
gather_some(int depth, bool all)
{
    iora_task tasks[20];
    int results[20];
    const unsigned count = pick(10) == 0 ? 20 : pick(4);

    for (unsigned i = 0; i < count; i++)
        tasks[i] = start_monkey(depth);
    return all ? iora_gather_all_n(results, tasks, count) : iora_gather_n(tasks, count);
}

static int
group_some(int depth)
{
    int rc = 0;

    IORA_GROUP_OF(rc, group, pick(3)) {
        const unsigned count = pick(5);

        for (unsigned i = 0; i < count; i++)
            zoo.known[pick(MONKEYS_KNOWN)] = iora_group_go(&group, monkey, depth - 1);
        if (pick(3) == 0)
            (void)iora_group_next(&group, NULL, NULL);
        if (pick(4) == 0)
            iora_group_cancel(&group);
        if (pick(4) == 0)
            break;
        if (pick(8) == 0)
            return monkey(depth - 1);
        rc = monkey(depth - 1);
    }
    return rc;
}

static int
consume_some(int depth)
{
    int x, rc;

    iora_for_each(rc, monkey_generator, &x, depth - 1) {
        if (pick(4) == 0)
            break;
        if (pick(8) == 0)
            return monkey(depth - 1);
    }
    return rc;
}

static int
hold_the_lock(void)
{
    int rc = iora_lock_acquire(&zoo.lock);

    if (rc < 0)
        return rc;
    CHECK(!zoo.locked);
    zoo.locked = true;
    rc = iora_sleep(some_time());
    zoo.locked = false;
    CHECK_EQ(iora_lock_release(&zoo.lock), 0);
    return rc;
}

static int
hold_a_permit(void)
{
    int rc = iora_semaphore_acquire(&zoo.semaphore);

    if (rc < 0)
        return rc;
    CHECK(++zoo.permits_taken <= PERMITS);
    rc = iora_sleep(some_time());
    zoo.permits_taken--;
    CHECK_EQ(iora_semaphore_release(&zoo.semaphore), 0);
    return rc;
}

static int
move_an_item(void)
{
    int one = 1, rc;

    if (pick(2) == 0) {
        rc = iora_wait_for(iora_queue_put(&zoo.queue, &one), some_time());
        zoo.items_put += rc == 0;
    } else {
        rc = iora_wait_for(iora_queue_get(&zoo.queue, &one), some_time());
        zoo.items_taken += rc == 0;
    }
    return rc;
}

static int
wait_for_somebody(void)
{
    const iora_task task = zoo.known[pick(MONKEYS_KNOWN)];

    switch (pick(4)) {
    case 0:
        return iora_wait_for(iora_await(task), some_time());
    case 1:
        return iora_wait_for(iora_gather(task, zoo.known[pick(MONKEYS_KNOWN)]), some_time());
    case 2:
        return iora_wait_for(iora_shield(task), some_time());
    default:
        return iora_wait_for(iora_wait(&task, 1, pick(3)), some_time());
    }
}

static int
select_something(void)
{
    int one = 1;
    iora_clause clauses[] = {iora_on_acquire(&zoo.semaphore), iora_on_sleep(some_time()),
                             iora_on_get(&zoo.queue, &one)};
    const int rc = iora_select(clauses, 3);

    if (rc == 0 && clauses[0].rc == 0)
        CHECK_EQ(iora_semaphore_release(&zoo.semaphore), 0);
    zoo.items_taken += rc == 2 && clauses[2].rc == 0;
    return rc;
}

static int
a_step_in_time(int depth)
{
    return iora_wait_for(monkey(depth - 1), some_time());
}

static int
one_step(int depth)
{
    const bool deeper = depth > 0 && may_start(0);

    switch (pick(deeper ? 18 : 9)) {
    case 0:
        return iora_yield();
    case 1:
        return iora_sleep(some_time());
    case 2:
        return hold_the_lock();
    case 3:
        return hold_a_permit();
    case 4:
        return move_an_item();
    case 5:
        return wait_for_somebody();
    case 6:
        return select_something();
    case 7:
        (void)iora_cancel(zoo.known[pick(MONKEYS_KNOWN)]);
        return 0;
    case 8:
        return pick(4) == 0 ? -EIO : 0;
    case 9:
        return may_start(1) ? iora_await(start_monkey(depth)) : 0;
    case 10:
        return may_start(4) ? gather_some(depth, false) : 0;
    case 11:
        return may_start(4) ? gather_some(depth, true) : 0;
    case 12:
        return may_start(3) ? group_some(depth) : 0;
    case 13:
        return may_start(1) ? consume_some(depth) : 0;
    case 14:
        return a_step_in_time(depth);
    case 15:
        return iora_cleanup(monkey(depth - 1), some_time());
    case 16:
        return may_start(1) ? (start_monkey(depth), iora_yield()) : 0;
    default:
        return iora_cleanup(a_step_in_time(depth), iora_ms(pick(50)));
    }
}

static int
monkey(int depth)
{
    const unsigned steps = pick(6);
    int rc = 0;

    for (unsigned i = 0; i < steps; i++) {
        rc = one_step(depth);
        if (rc == -ECANCELED && pick(8) > 0)
            break; /* most do as they are told */
    }
    return rc > 0 ? 0 : rc;
}

static int
monkey_generator(int *out, int depth)
{
    int rc = 0;

    for (int i = 0; i < 5 && rc != -ECANCELED; i++) {
        rc = pick(3) == 0 ? monkey(depth) : iora_emit(out, i);
        if (pick(6) == 0)
            rc = iora_wait_for(iora_emit(out, -i), some_time());
    }
    return rc;
}

static int
zoo_keeper(void)
{
    for (int i = 0; i < 5; i++) {
        (void)iora_wait_for(monkey(6), iora_ms(200));
        (void)iora_wait_for(iora_await(iora_go(monkey, 6)), iora_ms(200));
    }
    return 0;
}
IORA_ASYNC(zoo_keeper);

static void
open_zoo(uint64_t seed)
{
    static const iora_semaphore semaphore = IORA_SEMAPHORE_INIT(PERMITS);
    static const iora_queue queue = IORA_QUEUE_INIT(sizeof(int), 3);
    iora_loop_options options = IORA_LOOP_OPTIONS_INIT;
    iora_loop *loop;
    iora_census left;

    memset(&zoo, 0, sizeof zoo);
    zoo.random = seed;
    zoo.tasks = MONKEY_TASKS;
    zoo.semaphore = semaphore;
    zoo.queue = queue;
    options.backend = IORA_BACKEND_SIM;
    options.seed = seed % 3; /* a third in the order of arrival */
    loop = test_loop_with(&options);
    CHECK_EQ(iora_run_in(loop, zoo_keeper), 0);
    CHECK(!iora_lock_is_locked(&zoo.lock));
    CHECK_EQ(iora_semaphore_value(&zoo.semaphore), PERMITS);
    CHECK_EQ(iora_queue_size(&zoo.queue), zoo.items_put - zoo.items_taken);
    CHECK_EQ(iora_queue_destroy(&zoo.queue), 0);
    iora_loop_census(loop, &left);
    CHECK_EQ(left.tasks, 0);
    CHECK_EQ(left.stacks, 0);
    CHECK_EQ(left.timers, 0);
    CHECK_EQ(left.ready, 0);
    test_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    test_clear_log();
}

/* ThreadSanitizer takes 0.36 ms to make and unmake a stack: 0.2 s a seed, in place of 1 ms. */
#if defined(__SANITIZE_THREAD__)
enum { ZOOS = 30 };
#else
enum { ZOOS = 150 };
#endif

TEST(cancel, whatever_monkeys_do_nothing_is_lost)
{
    const char *const seeds = getenv("IORA_MONKEYS"); /* how many to try; or "=N", for the one */
    const bool is_one = seeds != NULL && seeds[0] == '=';
    const uint64_t last = seeds == NULL ? ZOOS : strtoull(seeds + is_one, NULL, 10);

    test_expect_log();
    for (uint64_t seed = is_one ? last : 1; seed <= last; seed++) {
        fprintf(stderr, "IORA_MONKEYS==%llu\n", (unsigned long long)seed); /* shown if it fails */
        open_zoo(seed);
    }
}
