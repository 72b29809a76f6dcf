/* tests/c/test_sync.c -- lock, event, condition, semaphore, barrier. */
#include "chance.h"

/* All zero, each test in its own process: what the header says makes an object. */
static iora_lock lock;
static iora_event event;
static iora_condition condition;

/* ---- lock ------------------------------------------------------------------------------------ */

static int
take(const char *name)
{
    const int rc = iora_lock_acquire(&lock);

    test_trace("%s:%s", name, iora_err_name(rc));
    return rc;
}

/* Take the lock, give others a chance, release it. */
static int
use_lock(const char *name)
{
    int rc = take(name);

    if (rc == 0) {
        (void)iora_yield();
        rc = iora_lock_release(&lock);
    }
    return rc;
}
IORA_ASYNC(use_lock, const char *);

static void
hold_lock(void)
{
    CHECK_EQ(iora_lock_acquire(&lock), 0);
}

TEST_TASK(lock, initialiser_and_zeroed_memory_make_a_free_one)
{
    static iora_lock other = IORA_LOCK_INIT;

    CHECK(!iora_lock_is_locked(&lock));
    CHECK(!iora_lock_is_locked(&other));
    CHECK_EQ(iora_lock_acquire(&lock), 0);
    CHECK_EQ(iora_lock_acquire(&other), 0);
    CHECK(iora_lock_is_locked(&lock));
    CHECK_EQ(iora_lock_release(&lock), 0);
    CHECK_EQ(iora_lock_release(&other), 0);
    CHECK(!iora_lock_is_locked(&lock));
}

TEST_TASK(lock, is_taken_in_the_order_of_waiting)
{
    hold_lock();
    iora_go(use_lock, "a");
    iora_go(use_lock, "b");
    iora_go(use_lock, "c");
    let_all_run();
    CHECK_TRACE("");
    CHECK_EQ(iora_lock_release(&lock), 0);
    let_all_run();
    CHECK_TRACE("a:OK b:OK c:OK");
    CHECK(!iora_lock_is_locked(&lock));
}

static int
hold_lock_a_while(void)
{
    int rc = iora_lock_acquire(&lock);

    if (rc == 0) {
        rc = iora_sleep(iora_ms(10));
        (void)iora_lock_release(&lock);
    }
    return rc;
}
IORA_ASYNC(hold_lock_a_while);

/* F25: who gave up waiting for a task and takes the lock it holds or has asked for is not stuck: the task goes on. */
TEST_TASK(lock, held_by_a_task_nobody_awaits_any_more_is_released)
{
    iora_task holder, next;

    holder = iora_go(hold_lock_a_while);
    next = iora_go(hold_lock_a_while);
    CHECK_EQ(iora_wait_for(iora_shield(next), iora_ms(5)), -ETIMEDOUT);
    CHECK_EQ(iora_lock_acquire(&lock), 0);
    CHECK_EQ(test_ms(), 20);
    CHECK(iora_task_is_done(holder) && iora_task_is_done(next));
    CHECK_EQ(iora_lock_release(&lock), 0);
    CHECK_EQ(iora_await(holder), 0);
    CHECK_EQ(iora_await(next), 0);
}

TEST_TASK(lock, belongs_to_the_waiter_before_he_runs)
{
    const iora_task waiter = iora_go(use_lock, "waiter");

    hold_lock();
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_lock_release(&lock), 0);
    CHECK(iora_lock_is_locked(&lock));
    CHECK_EQ(iora_lock_acquire_nowait(&lock), -EAGAIN);
    CHECK_EQ(iora_lock_release(&lock), -EPERM);
    CHECK_TRACE("");
    CHECK_EQ(iora_await(waiter), 0);
}

TEST_TASK(lock, nobody_overtakes_who_waits)
{
    hold_lock();
    iora_go(use_lock, "a");
    iora_go(use_lock, "b");
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_lock_release(&lock), 0);
    CHECK_EQ(use_lock("releaser"), 0);
    CHECK_TRACE("a:OK b:OK releaser:OK");
}

TEST_TASK(lock, cancelled_waiter_leaves_and_the_others_keep_their_places)
{
    iora_task b;

    hold_lock();
    iora_go(use_lock, "a");
    b = iora_go(use_lock, "b");
    iora_go(use_lock, "c");
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_cancel(b), 0);
    CHECK_EQ(iora_await(b), IORA_E_TASK_CANCELED);
    CHECK_EQ(iora_lock_release(&lock), 0);
    let_all_run();
    CHECK_TRACE("b:ECANCELED a:OK c:OK");
}

TEST_TASK(lock, whose_only_waiter_was_cancelled_becomes_free)
{
    const iora_task waiter = iora_go(use_lock, "waiter");

    hold_lock();
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_cancel(waiter), 0);
    CHECK_EQ(iora_lock_release(&lock), 0);
    CHECK(!iora_lock_is_locked(&lock));
    CHECK_EQ(iora_await(waiter), IORA_E_TASK_CANCELED);
}

static int
take_and_look_at_the_scope(void)
{
    CHECK_EQ(iora_lock_acquire(&lock), 0);
    CHECK(iora_is_cancelled());
    CHECK_EQ(iora_yield(), -ECANCELED);
    CHECK(iora_lock_is_locked(&lock));
    CHECK_EQ(iora_lock_release(&lock), 0);
    return -ECANCELED;
}
IORA_ASYNC(take_and_look_at_the_scope);

TEST_TASK(lock, cancel_after_the_grant_is_seen_by_the_next_call)
{
    const iora_task waiter = iora_go(take_and_look_at_the_scope);

    hold_lock();
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_lock_release(&lock), 0);
    CHECK_EQ(iora_cancel(waiter), 0);
    CHECK_EQ(iora_await(waiter), IORA_E_TASK_CANCELED);
    CHECK(!iora_lock_is_locked(&lock));
}

TEST_TASK(lock, acquire_again_is_a_deadlock)
{
    hold_lock();
    CHECK_EQ(iora_lock_acquire(&lock), -EDEADLK);
    CHECK_EQ(iora_lock_acquire_nowait(&lock), -EDEADLK);
    CHECK_EQ(iora_lock_release(&lock), 0);
    CHECK(!iora_lock_is_locked(&lock));
}

static int
release_lock(void)
{
    return iora_lock_release(&lock);
}
IORA_ASYNC(release_lock);

TEST_TASK(lock, only_its_holder_releases_it)
{
    CHECK_EQ(iora_lock_release(&lock), -EPERM);
    hold_lock();
    CHECK_EQ(iora_await(iora_go(release_lock)), -EPERM);
    CHECK(iora_lock_is_locked(&lock));
    CHECK_EQ(iora_lock_release(&lock), 0);
    CHECK_EQ(iora_lock_release(&lock), -EPERM);
}

TEST(lock, release_outside_of_a_task_is_refused)
{
    CHECK_EQ(iora_lock_release(&lock), -EPERM);
}

static int
try_lock(void)
{
    const int rc = iora_lock_acquire_nowait(&lock);

    return rc == 0 ? iora_lock_release(&lock) : rc;
}
IORA_ASYNC(try_lock);

TEST_TASK(lock, nowait_takes_a_free_one_only)
{
    CHECK_EQ(iora_await(iora_go(try_lock)), 0);
    hold_lock();
    CHECK_EQ(iora_await(iora_go(try_lock)), -EAGAIN);
    CHECK_EQ(iora_lock_release(&lock), 0);
}

TEST_TASK(lock, nowait_does_not_look_at_the_scope)
{
    CHECK_EQ(CANCELLED(iora_lock_acquire_nowait(&lock)), 0);
    CHECK(iora_lock_is_locked(&lock));
    CHECK_EQ(CANCELLED(iora_lock_release(&lock)), 0);
}

TEST_TASK(lock, acquire_in_a_cancelled_scope_does_nothing)
{
    CHECK_EQ(CANCELLED(iora_lock_acquire(&lock)), -ECANCELED);
    CHECK(!iora_lock_is_locked(&lock));
}

static int
take_within_10_ms(void)
{
    return iora_wait_for(iora_lock_acquire(&lock), iora_ms(10));
}
IORA_ASYNC(take_within_10_ms);

TEST_TASK(lock, wait_ends_at_a_deadline)
{
    const long long began = test_ms();

    hold_lock();
    CHECK_EQ(iora_await(iora_go(take_within_10_ms)), -ETIMEDOUT);
    CHECK_EQ(test_ms() - began, 10);
    CHECK_EQ(iora_lock_release(&lock), 0);
    CHECK(!iora_lock_is_locked(&lock));
}

static bool inside;

/* The event is set: waiting for it suspends only where the budget of operations is used up. */
static int
use_lock_often(void)
{
    for (int i = 0; i < 300; i++) {
        CHECK_EQ(iora_lock_acquire(&lock), 0);
        CHECK(!inside);
        inside = true;
        CHECK_EQ(iora_event_wait(&event), 0);
        inside = false;
        CHECK_EQ(iora_lock_release(&lock), 0);
    }
    test_trace("done");
    return 0;
}
IORA_ASYNC(use_lock_often);

TEST_TASK(lock, excludes_others_also_where_an_operation_gives_way)
{
    iora_event_set(&event);
    CHECK_EQ(iora_gather(iora_go(use_lock_often), iora_go(use_lock_often), iora_go(use_lock_often)),
             0);
    CHECK_TRACE("done done done");
}

static int
acquire(void)
{
    return iora_lock_acquire(&lock);
}

static int
acquire_nowait(void)
{
    return iora_lock_acquire_nowait(&lock);
}

TEST(lock, acquire_needs_a_task)
{
    check_needs_a_task(acquire);
    check_needs_a_task(acquire_nowait);
    CHECK(!iora_lock_is_locked(&lock));
}

/* The holder is gone and so is its name: the report must not look at it. */
static int
keep_the_lock(void)
{
    CHECK_EQ(iora_task_set_name(iora_current(), "a name that goes with its task"), 0);
    return iora_lock_acquire(&lock);
}
IORA_ASYNC(keep_the_lock);

static int
wait_for_a_lock_that_nobody_releases(void)
{
    CHECK_EQ(iora_await(iora_go(keep_the_lock)), 0);
    return iora_lock_acquire(&lock);
}
IORA_ASYNC(wait_for_a_lock_that_nobody_releases);

TEST(lock, kept_by_a_task_that_has_ended_is_a_deadlock)
{
    CHECK_EQ(test_run(wait_for_a_lock_that_nobody_releases), -EDEADLK);
    CHECK(test_logged("waits for lock kept by a task that has ended"));
}

/* ---- event ----------------------------------------------------------------------------------- */

static int
wait_for_event(const char *name)
{
    const int rc = iora_event_wait(&event);

    test_trace("%s:%s", name, iora_err_name(rc));
    return rc;
}
IORA_ASYNC(wait_for_event, const char *);

TEST_TASK(event, initialiser_and_zeroed_memory_make_one_that_is_not_set)
{
    static iora_event other = IORA_EVENT_INIT;

    CHECK(!iora_event_is_set(&event));
    CHECK(!iora_event_is_set(&other));
    CHECK_EQ(iora_wait_for(iora_event_wait(&event), iora_ms(1)), -ETIMEDOUT);
    CHECK_EQ(iora_wait_for(iora_event_wait(&other), iora_ms(1)), -ETIMEDOUT);
}

TEST_TASK(event, set_wakes_all_in_the_order_of_waiting)
{
    iora_go(wait_for_event, "a");
    iora_go(wait_for_event, "b");
    iora_go(wait_for_event, "c");
    let_all_run();
    CHECK_TRACE("");
    iora_event_set(&event);
    CHECK_TRACE("");
    let_all_run();
    CHECK_TRACE("a:OK b:OK c:OK");
}

TEST_TASK(event, stays_set_until_cleared)
{
    iora_event_set(&event);
    iora_event_set(&event);
    CHECK(iora_event_is_set(&event));
    CHECK_EQ(iora_event_wait(&event), 0);
    CHECK_EQ(iora_event_wait(&event), 0);
    iora_event_clear(&event);
    CHECK(!iora_event_is_set(&event));
    CHECK_EQ(iora_wait_for(iora_event_wait(&event), iora_ms(1)), -ETIMEDOUT);
}

TEST_TASK(event, wait_for_a_set_one_does_not_suspend)
{
    iora_event_set(&event);
    iora_go(wait_for_event, "other");
    CHECK_EQ(wait_for_event("main"), 0);
    let_all_run();
    CHECK_TRACE("main:OK other:OK");
}

TEST_TASK(event, set_and_cleared_at_once_still_wakes_who_waited)
{
    iora_go(wait_for_event, "before");
    CHECK_EQ(iora_yield(), 0);
    iora_event_set(&event);
    iora_event_clear(&event);
    iora_go(wait_for_event, "after");
    let_all_run();
    CHECK_TRACE("before:OK");
}

TEST_TASK(event, cancelled_waiter_leaves_and_the_others_go_on_waiting)
{
    iora_task b;

    iora_go(wait_for_event, "a");
    b = iora_go(wait_for_event, "b");
    iora_go(wait_for_event, "c");
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_cancel(b), 0);
    let_all_run();
    CHECK_TRACE("b:ECANCELED");
    iora_event_set(&event);
    let_all_run();
    CHECK_TRACE("b:ECANCELED a:OK c:OK");
}

TEST_TASK(event, cancel_after_set_is_seen_by_the_next_call)
{
    const iora_task waiter = iora_go(wait_for_event, "waiter");

    CHECK_EQ(iora_yield(), 0);
    iora_event_set(&event);
    CHECK_EQ(iora_cancel(waiter), 0);
    CHECK_EQ(iora_await(waiter), 0);
    CHECK_TRACE("waiter:OK");
}

static void
set_event(void *arg)
{
    iora_event_set(arg);
}

TEST_TASK(event, can_be_set_from_a_callback)
{
    iora_timer timer = {0};
    const long long began = test_ms();

    CHECK_EQ(iora_call_later(iora_loop_running(), &timer, iora_ms(20), set_event, &event), 0);
    CHECK_EQ(iora_event_wait(&event), 0);
    CHECK_EQ(test_ms() - began, 20);
}

TEST_TASK(event, wait_in_a_cancelled_scope_does_nothing)
{
    CHECK_EQ(CANCELLED(iora_event_wait(&event)), -ECANCELED);
    iora_event_set(&event);
    CHECK_EQ(CANCELLED(iora_event_wait(&event)), -ECANCELED);
}

static int
event_wait(void)
{
    iora_event_set(&event);
    return iora_event_wait(&event);
}

TEST(event, wait_needs_a_task)
{
    check_needs_a_task(event_wait);
}

/* ---- condition ------------------------------------------------------------------------------- */

/* Wait with the lock, and say whether it is held afterwards. */
static int
wait_for_condition(const char *name)
{
    int rc;

    if ((rc = iora_lock_acquire(&lock)) < 0)
        return rc;
    rc = iora_condition_wait(&condition, &lock);
    test_trace("%s:%s", name, iora_err_name(rc));
    CHECK_EQ(iora_lock_release(&lock), 0);
    return rc;
}
IORA_ASYNC(wait_for_condition, const char *);

TEST_TASK(condition, wait_lets_go_of_the_lock_and_returns_with_it)
{
    static iora_condition other = IORA_CONDITION_INIT;

    CHECK_EQ(iora_condition_notify(&other, 1), 0);
    CHECK_EQ(iora_condition_notify_all(&condition), 0);
    iora_go(wait_for_condition, "waiter");
    let_all_run();
    CHECK(!iora_lock_is_locked(&lock));
    hold_lock();
    CHECK_EQ(iora_condition_notify(&condition, 1), 1);
    let_all_run();
    CHECK_TRACE("");
    CHECK_EQ(iora_lock_release(&lock), 0);
    let_all_run();
    CHECK_TRACE("waiter:OK");
    CHECK(!iora_lock_is_locked(&lock));
}

static int
condition_wait(void)
{
    return iora_condition_wait(&condition, &lock);
}
IORA_ASYNC(condition_wait);

TEST_TASK(condition, wait_without_the_lock_is_refused)
{
    CHECK_EQ(iora_condition_wait(&condition, &lock), -EPERM);
    hold_lock();
    CHECK_EQ(iora_await(iora_go(condition_wait)), -EPERM);
    CHECK_EQ(iora_lock_release(&lock), 0);
    CHECK_EQ(iora_condition_notify_all(&condition), 0);
}

TEST_TASK(condition, notify_wakes_the_first_n)
{
    iora_go(wait_for_condition, "a");
    iora_go(wait_for_condition, "b");
    iora_go(wait_for_condition, "c");
    iora_go(wait_for_condition, "d");
    let_all_run();
    CHECK_EQ(iora_condition_notify(&condition, 0), 0);
    CHECK_EQ(iora_condition_notify(&condition, 1), 1);
    let_all_run();
    CHECK_TRACE("a:OK");
    CHECK_EQ(iora_condition_notify(&condition, 2), 2);
    let_all_run();
    CHECK_TRACE("a:OK b:OK c:OK");
    CHECK_EQ(iora_condition_notify(&condition, 5), 1);
    CHECK_EQ(iora_condition_notify(&condition, 5), 0);
    let_all_run();
    CHECK_TRACE("a:OK b:OK c:OK d:OK");
}

TEST_TASK(condition, notify_all_wakes_all_and_no_later_one)
{
    iora_go(wait_for_condition, "a");
    iora_go(wait_for_condition, "b");
    let_all_run();
    CHECK_EQ(iora_condition_notify_all(&condition), 2);
    iora_go(wait_for_condition, "late");
    let_all_run();
    CHECK_TRACE("a:OK b:OK");
}

TEST_TASK(condition, notified_waiters_queue_for_the_lock_behind_others)
{
    iora_go(wait_for_condition, "waiter");
    let_all_run();
    hold_lock();
    iora_go(use_lock, "before");
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_condition_notify_all(&condition), 1);
    iora_go(use_lock, "after");
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_lock_release(&lock), 0);
    let_all_run();
    CHECK_TRACE("before:OK waiter:OK after:OK");
}

TEST_TASK(condition, notify_without_the_lock_makes_the_waiter_its_holder_at_once)
{
    iora_go(wait_for_condition, "waiter");
    let_all_run();
    CHECK(!iora_lock_is_locked(&lock));
    CHECK_EQ(iora_condition_notify(&condition, 1), 1);
    CHECK(iora_lock_is_locked(&lock));
    CHECK_EQ(iora_lock_acquire_nowait(&lock), -EAGAIN);
    let_all_run();
    CHECK_TRACE("waiter:OK");
}

TEST_TASK(condition, cancelled_wait_returns_with_the_lock)
{
    const iora_task waiter = iora_go(wait_for_condition, "waiter");

    let_all_run();
    hold_lock();
    CHECK_EQ(iora_cancel(waiter), 0);
    let_all_run();
    CHECK_TRACE("");
    CHECK_EQ(iora_lock_release(&lock), 0);
    CHECK_EQ(iora_await(waiter), IORA_E_TASK_CANCELED);
    CHECK_TRACE("waiter:ECANCELED");
    CHECK(!iora_lock_is_locked(&lock));
}

TEST_TASK(condition, cancelled_waiter_takes_no_notification)
{
    const iora_task first = iora_go(wait_for_condition, "first");

    iora_go(wait_for_condition, "second");
    let_all_run();
    hold_lock();
    CHECK_EQ(iora_cancel(first), 0); /* and now it waits for the lock */
    CHECK_EQ(iora_condition_notify(&condition, 1), 1);
    CHECK_EQ(iora_lock_release(&lock), 0);
    let_all_run();
    CHECK_TRACE("first:ECANCELED second:OK");
}

TEST_TASK(condition, cancel_after_notify_is_seen_by_the_next_call)
{
    const iora_task waiter = iora_go(wait_for_condition, "waiter");

    let_all_run();
    hold_lock();
    CHECK_EQ(iora_condition_notify(&condition, 1), 1);
    CHECK_EQ(iora_cancel(waiter), 0);
    let_all_run();
    CHECK_EQ(iora_lock_release(&lock), 0);
    CHECK_EQ(iora_await(waiter), 0);
    CHECK_TRACE("waiter:OK");
}

static int
wait_within_10_ms(void)
{
    int rc;

    if ((rc = iora_lock_acquire(&lock)) < 0)
        return rc;
    rc = iora_wait_for(iora_condition_wait(&condition, &lock), iora_ms(10));
    CHECK_EQ(iora_lock_release(&lock), 0);
    return rc;
}
IORA_ASYNC(wait_within_10_ms);

TEST_TASK(condition, deadline_waits_for_the_lock_too)
{
    const iora_task waiter = iora_go(wait_within_10_ms);
    const long long began = test_ms();

    CHECK_EQ(iora_yield(), 0);
    hold_lock();
    CHECK_EQ(iora_sleep(iora_ms(25)), 0);
    CHECK_EQ(iora_lock_release(&lock), 0);
    CHECK_EQ(iora_await(waiter), -ETIMEDOUT);
    CHECK_EQ(test_ms() - began, 25);
    CHECK(!iora_lock_is_locked(&lock));
}

TEST_TASK(condition, wait_in_a_cancelled_scope_keeps_the_lock)
{
    iora_go(use_lock, "other");
    hold_lock();
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(CANCELLED(iora_condition_wait(&condition, &lock)), -ECANCELED);
    CHECK_EQ(iora_lock_acquire(&lock), -EDEADLK); /* it is still ours */
    CHECK_TRACE("");
    CHECK_EQ(iora_condition_notify_all(&condition), 0);
    CHECK_EQ(iora_lock_release(&lock), 0);
}

static int
wait_with(iora_lock *its_lock)
{
    int rc;

    if ((rc = iora_lock_acquire(its_lock)) < 0 ||
        (rc = iora_condition_wait(&condition, its_lock)) < 0)
        return rc;
    return iora_lock_release(its_lock);
}
IORA_ASYNC(wait_with, iora_lock *);

TEST_TASK(condition, each_waiter_gets_the_lock_he_came_with)
{
    iora_lock other = IORA_LOCK_INIT;
    iora_task a = iora_go(wait_with, &lock), b = iora_go(wait_with, &other);

    let_all_run();
    CHECK_EQ(iora_condition_notify_all(&condition), 2);
    CHECK(iora_lock_is_locked(&lock));
    CHECK(iora_lock_is_locked(&other));
    CHECK_EQ(iora_gather(a, b), 0);
    CHECK(!iora_lock_is_locked(&lock));
    CHECK(!iora_lock_is_locked(&other));
}

TEST(condition, wait_needs_a_task)
{
    check_needs_a_task(condition_wait);
}

/* ---- semaphore ------------------------------------------------------------------------------- */

static iora_semaphore semaphore = IORA_SEMAPHORE_INIT(0);

static int
acquire_permit(const char *name)
{
    const int rc = iora_semaphore_acquire(&semaphore);

    test_trace("%s:%s", name, iora_err_name(rc));
    return rc;
}
IORA_ASYNC(acquire_permit, const char *);

TEST_TASK(semaphore, counts_its_permits)
{
    static iora_semaphore two = IORA_SEMAPHORE_INIT(2);

    CHECK_EQ(iora_semaphore_value(&two), 2);
    CHECK_EQ(iora_semaphore_acquire(&two), 0);
    CHECK_EQ(iora_semaphore_acquire_nowait(&two), 0);
    CHECK_EQ(iora_semaphore_value(&two), 0);
    CHECK_EQ(iora_semaphore_acquire_nowait(&two), -EAGAIN);
    CHECK_EQ(iora_wait_for(iora_semaphore_acquire(&two), iora_ms(1)), -ETIMEDOUT);
    CHECK_EQ(iora_semaphore_release(&two), 0);
    CHECK_EQ(iora_semaphore_release(&two), 0);
    CHECK_EQ(iora_semaphore_release(&two), 0);
    CHECK_EQ(iora_semaphore_value(&two), 3);
}

TEST_TASK(semaphore, bounded_refuses_more_than_it_began_with)
{
    static iora_semaphore two = IORA_BOUNDED_SEMAPHORE_INIT(2);

    CHECK_EQ(iora_semaphore_release(&two), -EOVERFLOW);
    CHECK_EQ(iora_semaphore_acquire(&two), 0);
    CHECK_EQ(iora_semaphore_release(&two), 0);
    CHECK_EQ(iora_semaphore_release(&two), -EOVERFLOW);
    CHECK_EQ(iora_semaphore_value(&two), 2);
}

TEST_TASK(semaphore, permits_go_out_in_the_order_of_waiting)
{
    iora_go(acquire_permit, "a");
    iora_go(acquire_permit, "b");
    iora_go(acquire_permit, "c");
    let_all_run();
    CHECK_EQ(iora_semaphore_release(&semaphore), 0);
    CHECK_EQ(iora_semaphore_release(&semaphore), 0);
    let_all_run();
    CHECK_TRACE("a:OK b:OK");
    CHECK_EQ(iora_semaphore_value(&semaphore), 0);
}

TEST_TASK(semaphore, nobody_overtakes_who_waits)
{
    iora_go(acquire_permit, "waiter");
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_semaphore_release(&semaphore), 0);
    CHECK_EQ(iora_semaphore_value(&semaphore), 0);
    CHECK_EQ(iora_semaphore_acquire_nowait(&semaphore), -EAGAIN);
    CHECK_EQ(iora_wait_for(acquire_permit("releaser"), iora_ms(1)), -ETIMEDOUT);
    CHECK_TRACE("waiter:OK releaser:ECANCELED");
}

TEST_TASK(semaphore, cancelled_waiter_takes_no_permit)
{
    iora_task a = iora_go(acquire_permit, "a");

    iora_go(acquire_permit, "b");
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_cancel(a), 0);
    CHECK_EQ(iora_semaphore_release(&semaphore), 0);
    CHECK_EQ(iora_semaphore_release(&semaphore), 0);
    let_all_run();
    CHECK_TRACE("a:ECANCELED b:OK");
    CHECK_EQ(iora_semaphore_value(&semaphore), 1);
}

TEST_TASK(semaphore, cancel_after_the_grant_leaves_the_permit_with_the_waiter)
{
    iora_task waiter = iora_go(acquire_permit, "waiter");

    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_semaphore_release(&semaphore), 0);
    CHECK_EQ(iora_cancel(waiter), 0);
    CHECK_EQ(iora_await(waiter), 0);
    CHECK_TRACE("waiter:OK");
    CHECK_EQ(iora_semaphore_value(&semaphore), 0);
}

TEST_TASK(semaphore, acquire_in_a_cancelled_scope_does_nothing)
{
    CHECK_EQ(iora_semaphore_release(&semaphore), 0);
    CHECK_EQ(CANCELLED(iora_semaphore_acquire(&semaphore)), -ECANCELED);
    CHECK_EQ(iora_semaphore_value(&semaphore), 1);
}

TEST_TASK(semaphore, nowait_does_not_look_at_the_scope)
{
    CHECK_EQ(CANCELLED(iora_semaphore_release(&semaphore)), 0);
    CHECK_EQ(CANCELLED(iora_semaphore_acquire_nowait(&semaphore)), 0);
    CHECK_EQ(iora_semaphore_value(&semaphore), 0);
}

static void
release_permit(void *arg)
{
    CHECK_EQ(iora_semaphore_release(arg), 0);
}

TEST_TASK(semaphore, can_be_released_from_a_callback)
{
    iora_handle handle = {0};

    CHECK_EQ(iora_call_soon(iora_loop_running(), &handle, release_permit, &semaphore), 0);
    CHECK_EQ(iora_semaphore_acquire(&semaphore), 0);
}

static int
semaphore_acquire(void)
{
    static iora_semaphore one = IORA_SEMAPHORE_INIT(1);
    const int rc = iora_semaphore_acquire(&one);

    CHECK_EQ(iora_semaphore_value(&one), 1);
    return rc;
}

TEST(semaphore, acquire_needs_a_task)
{
    check_needs_a_task(semaphore_acquire);
}

/* ---- barrier --------------------------------------------------------------------------------- */

static iora_barrier barrier = IORA_BARRIER_INIT(3);

static void
trace_arrival(const char *name, int rc)
{
    if (rc >= 0)
        test_trace("%s:%d", name, rc);
    else
        test_trace("%s:%s", name, iora_err_name(rc));
}

static int
arrive(const char *name)
{
    const int rc = iora_barrier_wait(&barrier);

    trace_arrival(name, rc);
    return rc;
}

static int
party(const char *name)
{
    (void)arrive(name);
    return 0;
}
IORA_ASYNC(party, const char *);

TEST_TASK(barrier, opens_when_all_have_come_and_says_in_which_order)
{
    iora_go(party, "a");
    iora_go(party, "b");
    let_all_run();
    CHECK_TRACE("");
    CHECK_EQ(iora_barrier_waiting(&barrier), 2);
    CHECK_EQ(arrive("last"), 2);
    CHECK_EQ(iora_barrier_waiting(&barrier), 0);
    CHECK_TRACE("last:2"); /* the last one does not suspend */
    let_all_run();
    CHECK_TRACE("last:2 a:0 b:1");
}

static int
arrive_twice(const char *name)
{
    (void)arrive(name);
    return arrive(name);
}
IORA_ASYNC(arrive_twice, const char *);

TEST_TASK(barrier, next_round_begins_at_once)
{
    iora_go(arrive_twice, "a");
    iora_go(arrive_twice, "b");
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(arrive("main"), 2);
    CHECK_EQ(arrive("main"), 0); /* before the others have even left the first round */
    let_all_run();
    CHECK_TRACE("main:2 a:0 b:1 b:2 main:0 a:1");
}

TEST_TASK(barrier, cancelled_waiter_leaves_and_the_others_move_up)
{
    iora_task a = iora_go(party, "a");

    iora_go(party, "b");
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_cancel(a), 0);
    CHECK_EQ(iora_barrier_waiting(&barrier), 1);
    iora_go(party, "c");
    let_all_run();
    CHECK_TRACE("a:ECANCELED");
    iora_go(party, "d");
    let_all_run();
    CHECK_TRACE("a:ECANCELED d:2 b:0 c:1");
}

TEST_TASK(barrier, cancel_after_it_opened_is_seen_by_the_next_call)
{
    iora_task a = iora_go(party, "a");

    iora_go(party, "b");
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_barrier_wait(&barrier), 2);
    CHECK_EQ(iora_cancel(a), 0);
    CHECK_EQ(iora_await(a), 0);
    CHECK_TRACE("a:0 b:1");
}

TEST_TASK(barrier, abort_breaks_it_for_all_until_reset)
{
    iora_go(party, "a");
    iora_go(party, "b");
    CHECK_EQ(iora_yield(), 0);
    iora_barrier_abort(&barrier);
    CHECK(iora_barrier_is_broken(&barrier));
    CHECK_EQ(iora_barrier_waiting(&barrier), 0);
    CHECK_EQ(iora_barrier_wait(&barrier), IORA_E_BROKEN);
    let_all_run();
    CHECK_TRACE("a:IORA_E_BROKEN b:IORA_E_BROKEN");
    iora_barrier_reset(&barrier);
    CHECK(!iora_barrier_is_broken(&barrier));
    CHECK_EQ(iora_wait_for(iora_barrier_wait(&barrier), iora_ms(1)), -ETIMEDOUT);
}

TEST_TASK(barrier, reset_sends_away_who_waits_and_takes_new_ones)
{
    iora_go(party, "a");
    CHECK_EQ(iora_yield(), 0);
    iora_barrier_reset(&barrier);
    CHECK(!iora_barrier_is_broken(&barrier));
    iora_go(party, "b");
    iora_go(party, "c");
    iora_go(party, "d");
    let_all_run();
    CHECK_TRACE("a:IORA_E_BROKEN d:2 b:0 c:1");
}

TEST_TASK(barrier, of_one_never_waits)
{
    iora_barrier one = IORA_BARRIER_INIT(1);

    CHECK_EQ(iora_barrier_wait(&one), 0);
    CHECK_EQ(iora_barrier_wait(&one), 0);
}

TEST_TASK(barrier, of_no_parties_is_refused)
{
    iora_barrier zeroed;

    memset(&zeroed, 0, sizeof zeroed);
    CHECK_EQ(iora_barrier_wait(&zeroed), -EINVAL);
}

TEST_TASK(barrier, wait_in_a_cancelled_scope_does_nothing)
{
    CHECK_EQ(CANCELLED(iora_barrier_wait(&barrier)), -ECANCELED);
    CHECK_EQ(iora_barrier_waiting(&barrier), 0);
    iora_barrier_abort(&barrier);
    CHECK_EQ(CANCELLED(iora_barrier_wait(&barrier)), -ECANCELED);
}

static int
barrier_wait(void)
{
    return iora_barrier_wait(&barrier);
}

TEST(barrier, wait_needs_a_task)
{
    check_needs_a_task(barrier_wait);
    CHECK_EQ(iora_barrier_waiting(&barrier), 0);
}

/* ---- waiting allocates nothing --------------------------------------------------------------- */

static int
wait_for_all_kinds(void)
{
    CHECK_EQ(iora_lock_acquire(&lock), 0);
    CHECK_EQ(iora_condition_wait(&condition, &lock), 0);
    CHECK_EQ(iora_lock_release(&lock), 0);
    CHECK_EQ(iora_event_wait(&event), 0);
    CHECK_EQ(iora_semaphore_acquire(&semaphore), 0);
    return iora_barrier_wait(&barrier);
}
IORA_ASYNC(wait_for_all_kinds);

TEST_TASK(sync, waiting_needs_no_memory)
{
    iora_task waiter = iora_go(wait_for_all_kinds);

    hold_lock();
    CHECK_EQ(iora_yield(), 0);
    iora__seam_arm_allocation(1, true);
    CHECK_EQ(iora_lock_release(&lock), 0);
    let_all_run();
    CHECK_EQ(iora_condition_notify_all(&condition), 1);
    let_all_run();
    iora_event_set(&event);
    let_all_run();
    CHECK_EQ(iora_semaphore_release(&semaphore), 0);
    let_all_run();
    CHECK_EQ(iora_barrier_waiting(&barrier), 1);
    CHECK_EQ(iora__seam_disarm().allocations, 0);
    CHECK_EQ(iora_cancel(waiter), 0);
    CHECK_EQ(iora_await(waiter), IORA_E_TASK_CANCELED);
}

/* ---- at random: a lock and a condition ------------------------------------------------------- */

enum { OPERATIONS = 30 };

/* A worker in one of the lines has in `expected` what it returns when the lock is his. */
static struct {
    struct worker *owner;
    struct line lock, condition;
} locks;

static void
model_pass_on(void)
{
    locks.owner = line_pop(&locks.lock);
    if (locks.owner != NULL)
        locks.owner->waits = false;
}

static void
model_relock(struct worker *worker, int rc)
{
    worker->cancellable = false;
    worker->expected = rc;
    line_add(&locks.lock, worker);
    if (locks.owner == NULL)
        model_pass_on();
}

static void
leave_locks(struct worker *worker)
{
    if (line_remove(&locks.condition, worker)) {
        model_relock(worker, -ECANCELED);
    } else {
        MUST(line_remove(&locks.lock, worker));
        worker_settled(worker, -ECANCELED);
    }
}

static void
model_acquire(struct worker *worker)
{
    worker->expected = 0;
    if (locks.owner == NULL) {
        locks.owner = worker;
    } else {
        worker_waits(worker);
        line_add(&locks.lock, worker);
    }
}

static void
acquire_at_random(struct worker *worker)
{
    if (one_in(4)) {
        MUST_EQ(iora_lock_acquire_nowait(&lock), locks.owner == NULL ? 0 : -EAGAIN);
        if (locks.owner == NULL)
            locks.owner = worker;
    } else if (one_in(8)) {
        MUST_EQ(CANCELLED(iora_lock_acquire(&lock)), -ECANCELED);
    } else {
        model_acquire(worker);
        const int rc = IN_WORKERS_SCOPE(worker, iora_lock_acquire(&lock));
        MUST(!worker->waits);
        MUST_EQ(rc, worker->expected);
        MUST_EQ(rc == 0, locks.owner == worker);
    }
}

static void
wait_at_random(struct worker *worker)
{
    worker_waits(worker);
    line_add(&locks.condition, worker);
    model_pass_on();
    const int rc = IN_WORKERS_SCOPE(worker, iora_condition_wait(&condition, &lock));
    MUST(!worker->waits);
    MUST_EQ(rc, worker->expected);
    MUST(locks.owner == worker);
}

static void
release_at_random(void)
{
    model_pass_on();
    MUST_EQ(iora_lock_release(&lock), 0);
}

static void
notify_at_random(void)
{
    const int n = below(3);
    int woken = 0;

    for (; woken < n && locks.condition.count > 0; woken++)
        model_relock(line_pop(&locks.condition), 0);
    MUST_EQ(iora_condition_notify(&condition, (size_t)n), woken);
}

static void
operate_lock(struct worker *worker)
{
    const bool holds = locks.owner == worker;

    switch (below(8)) {
    case 0:
        MUST_EQ(iora_yield(), 0);
        break;
    case 1:
        cancel_somebody(worker, leave_locks);
        break;
    case 2:
        notify_at_random();
        break;
    case 3:
        MUST_EQ(holds ? iora_lock_acquire(&lock) : iora_lock_release(&lock),
                holds ? -EDEADLK : -EPERM);
        break;
    case 4:
        if (holds)
            wait_at_random(worker);
        break;
    default:
        if (holds)
            release_at_random();
        else
            acquire_at_random(worker);
    }
    MUST_EQ(iora_lock_is_locked(&lock), locks.owner != NULL);
}

static int
work_with_lock(struct worker *worker)
{
    for (int i = 0; i < OPERATIONS; i++)
        operate_lock(worker);
    if (locks.owner == worker)
        release_at_random();
    chance.workers_live--;
    return 0;
}
IORA_ASYNC(work_with_lock, struct worker *);

static int
try_locks(void)
{
    memset(&locks, 0, sizeof locks);
    RUN_WORKERS(work_with_lock, leave_locks);
    MUST(!iora_lock_is_locked(&lock));
    MUST(lock._waiters._first == NULL && condition._waiters._first == NULL);
    return 0;
}
IORA_ASYNC(try_locks);

TEST(lock, with_condition_does_as_its_model_at_random)
{
    RUN_SEEDS(3000, try_locks);
}

/* ---- at random: a semaphore ------------------------------------------------------------------ */

static struct {
    iora_semaphore semaphore;
    size_t value, bound;
    int held; /* permits taken and not given back; negative if more were given than taken */
    struct line line;
} permits;

static void
leave_permits(struct worker *worker)
{
    MUST(line_remove(&permits.line, worker));
    worker_settled(worker, -ECANCELED);
}

static void
acquire_permit_at_random(struct worker *worker)
{
    worker->expected = 0;
    if (permits.value > 0) {
        permits.value--;
    } else {
        worker_waits(worker);
        line_add(&permits.line, worker);
    }
    const int rc = IN_WORKERS_SCOPE(worker, iora_semaphore_acquire(&permits.semaphore));
    MUST(!worker->waits);
    MUST_EQ(rc, worker->expected);
    permits.held += rc == 0;
}

static void
acquire_permit_nowait(void)
{
    const int rc = iora_semaphore_acquire_nowait(&permits.semaphore);

    MUST_EQ(rc, permits.value > 0 ? 0 : -EAGAIN);
    permits.value -= rc == 0;
    permits.held += rc == 0;
}

static void
release_permit_at_random(void)
{
    struct worker *const first = line_pop(&permits.line);
    int expected = 0;

    if (first != NULL)
        worker_settled(first, 0);
    else if (permits.value < permits.bound)
        permits.value++;
    else
        expected = -EOVERFLOW;
    MUST_EQ(iora_semaphore_release(&permits.semaphore), expected);
    permits.held -= expected == 0;
}

static void
operate_semaphore(struct worker *worker)
{
    switch (below(7)) {
    case 0:
        MUST_EQ(iora_yield(), 0);
        break;
    case 1:
        cancel_somebody(worker, leave_permits);
        break;
    case 2:
        MUST_EQ(CANCELLED(iora_semaphore_acquire(&permits.semaphore)), -ECANCELED);
        break;
    case 3:
        acquire_permit_nowait();
        break;
    case 4:
        acquire_permit_at_random(worker);
        break;
    default:
        release_permit_at_random();
    }
    MUST_EQ(iora_semaphore_value(&permits.semaphore), permits.value);
}

static int
work_with_semaphore(struct worker *worker)
{
    for (int i = 0; i < OPERATIONS; i++)
        operate_semaphore(worker);
    chance.workers_live--;
    return 0;
}
IORA_ASYNC(work_with_semaphore, struct worker *);

static int
try_semaphore(void)
{
    const size_t n = (size_t)below(4);

    memset(&permits, 0, sizeof permits);
    permits.value = n;
    permits.bound = one_in(2) && n > 0 ? n : SIZE_MAX;
    permits.semaphore = permits.bound == n ? (iora_semaphore)IORA_BOUNDED_SEMAPHORE_INIT(n)
                                           : (iora_semaphore)IORA_SEMAPHORE_INIT(n);
    RUN_WORKERS(work_with_semaphore, leave_permits);
    MUST_EQ(permits.held + (int)iora_semaphore_value(&permits.semaphore), (int)n);
    MUST(permits.semaphore._waiters._first == NULL);
    return 0;
}
IORA_ASYNC(try_semaphore);

TEST(semaphore, does_as_its_model_at_random)
{
    RUN_SEEDS(3000, try_semaphore);
}

/* Its bound was 0, so that every release overflowed. */
static int
releases_a_zeroed_semaphore(void)
{
    iora_semaphore zeroed;

    memset(&zeroed, 0, sizeof zeroed);
    CHECK_EQ(iora_semaphore_acquire_nowait(&zeroed), -EAGAIN);
    CHECK_EQ(iora_semaphore_release(&zeroed), 0);
    return iora_semaphore_acquire(&zeroed);
}
IORA_ASYNC(releases_a_zeroed_semaphore);

TEST(semaphore, of_zeroed_memory_has_no_permit_and_no_bound)
{
    CHECK_EQ(test_run(releases_a_zeroed_semaphore), 0);
}

TEST(semaphore, bounded_by_zero_refuses_every_release)
{
    static iora_semaphore none = IORA_BOUNDED_SEMAPHORE_INIT(0);

    CHECK_EQ(iora_semaphore_release(&none), -EOVERFLOW);
}
