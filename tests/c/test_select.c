/* tests/c/test_select.c -- waiting for one of several things, of which exactly one happens. */
#include "model_select.h"

#include "real.h"

static iora_queue queue = IORA_QUEUE_INIT(sizeof(int), 2);
static iora_channel channel = IORA_CHANNEL_INIT(sizeof(int));
static iora_semaphore semaphore = IORA_SEMAPHORE_INIT(0);
static iora_lock lock;
static iora_event event;
static iora_future future;

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void
put_now(int item)
{
    CHECK_EQ(iora_queue_put_nowait(&queue, &item), 0);
}

static int
get_now(void)
{
    int item = -1;

    CHECK_EQ(iora_queue_get_nowait(&queue, &item), 0);
    return item;
}

/* Nobody is left waiting for any of the objects above. */
static void
check_nobody_waits(void)
{
    CHECK(queue._getters._first == NULL && queue._putters._first == NULL);
    CHECK(channel._senders._first == NULL && channel._receivers._first == NULL);
    CHECK(semaphore._waiters._first == NULL);
    CHECK(lock._waiters._first == NULL);
    CHECK(event._waiters._first == NULL);
    CHECK(future._waiters._first == NULL);
    CHECK_EQ(iora_queue_destroy(&queue), 0);
}

/* ---- each kind of clause --------------------------------------------------------------------- */

/* Do one of the things, as another task would. */
enum deed { PUT, GET, SEND, RECEIVE, RELEASE, UNLOCK, SET, END, SETTLE };

static int
do_later(enum deed deed)
{
    int item = 40 + (int)deed;

    if (deed == UNLOCK)
        CHECK_EQ(iora_lock_acquire(&lock), 0);
    CHECK_EQ(iora_sleep(iora_ms(5)), 0);
    switch (deed) {
    case PUT:
        return iora_queue_put(&queue, &item);
    case GET:
        return iora_queue_get(&queue, &item);
    case SEND:
        return iora_channel_send(&channel, &item);
    case RECEIVE:
        return iora_channel_receive(&channel, &item);
    case RELEASE:
        return iora_semaphore_release(&semaphore);
    case UNLOCK:
        return iora_lock_release(&lock);
    case SET:
        iora_event_set(&event);
        return 0;
    case END:
        return 17;
    case SETTLE:
        return iora_future_set(&future, 3, &future);
    }
    return -EINVAL;
}
IORA_ASYNC(do_later, enum deed);

/* One clause, waited for: index 0, its code in rc, not before it could happen. */
static void
check_waits_for(iora_clause clause, int rc)
{
    const long long began = test_ms();

    CHECK_EQ(iora_select(&clause, 1), 0);
    CHECK_EQ(clause.rc, rc);
    CHECK_EQ(test_ms() - began, 5);
}

TEST_TASK(select, waits_to_get)
{
    int item = 0;

    iora_go(do_later, PUT);
    check_waits_for(iora_on_get(&queue, &item), 0);
    CHECK_EQ(item, 40 + PUT);
    check_nobody_waits();
}

TEST_TASK(select, waits_to_put)
{
    int item = 3;

    put_now(1);
    put_now(2);
    iora_go(do_later, GET);
    check_waits_for(iora_on_put(&queue, &item), 0);
    CHECK_EQ(get_now(), 2);
    CHECK_EQ(get_now(), 3);
    check_nobody_waits();
}

TEST_TASK(select, waits_to_receive)
{
    int item = 0;

    iora_go(do_later, SEND);
    check_waits_for(iora_on_receive(&channel, &item), 0);
    CHECK_EQ(item, 40 + SEND);
}

TEST_TASK(select, waits_to_send)
{
    int item = 3;

    iora_go(do_later, RECEIVE);
    check_waits_for(iora_on_send(&channel, &item), 0);
}

TEST_TASK(select, waits_to_acquire)
{
    iora_go(do_later, RELEASE);
    check_waits_for(iora_on_acquire(&semaphore), 0);
    CHECK_EQ(iora_semaphore_value(&semaphore), 0);
}

TEST_TASK(select, waits_for_a_lock_and_then_holds_it)
{
    iora_go(do_later, UNLOCK);
    CHECK_EQ(iora_yield(), 0);
    check_waits_for(iora_on_lock(&lock), 0);
    CHECK_EQ(iora_lock_release(&lock), 0);
    CHECK(!iora_lock_is_locked(&lock));
}

TEST_TASK(select, waits_for_an_event)
{
    iora_go(do_later, SET);
    check_waits_for(iora_on_event(&event), 0);
    CHECK(iora_event_is_set(&event));
}

TEST_TASK(select, waits_for_a_task_and_collects_it)
{
    iora_task task = iora_go(do_later, END);

    check_waits_for(iora_on_task(task), 17);
    CHECK_EQ(iora_await(task), -ESRCH);
}

TEST_TASK(select, waits_for_a_future_and_takes_its_value)
{
    void *value = NULL;

    iora_go(do_later, SETTLE);
    check_waits_for(iora_on_future(&future, &value), 3);
    CHECK(value == &future);
}

TEST_TASK(select, waits_for_a_duration)
{
    check_waits_for(iora_on_sleep(iora_ms(5)), 0);
}

TEST_TASK(select, waits_until_an_instant)
{
    check_waits_for(iora_on_sleep_until(iora_after(iora_now(), iora_ms(5))), 0);
}

/* ---- clauses that can happen at once --------------------------------------------------------- */

static void
check_happens(iora_clause clause, int rc)
{
    const long long began = test_ms();

    CHECK_EQ(iora_select(&clause, 1), 0);
    CHECK_EQ(clause.rc, rc);
    CHECK_EQ(test_ms() - began, 0);
}

TEST_TASK(select, does_at_once_what_can_be_done)
{
    int item = 1;
    void *value = NULL;

    check_happens(iora_on_put(&queue, &item), 0);
    item = 0;
    check_happens(iora_on_get(&queue, &item), 0);
    CHECK_EQ(item, 1);
    CHECK_EQ(iora_semaphore_release(&semaphore), 0);
    check_happens(iora_on_acquire(&semaphore), 0);
    CHECK_EQ(iora_semaphore_value(&semaphore), 0);
    check_happens(iora_on_lock(&lock), 0);
    CHECK(iora_lock_is_locked(&lock));
    iora_event_set(&event);
    check_happens(iora_on_event(&event), 0);
    CHECK_EQ(iora_future_set(&future, 5, &item), 0);
    check_happens(iora_on_future(&future, &value), 5);
    CHECK(value == &item);
    check_happens(iora_on_future(&future, NULL), 5);
    check_happens(iora_on_sleep(iora_ns(0)), 0);
    check_happens(iora_on_sleep(iora_s(-1)), 0);
    check_happens(iora_on_sleep_until(iora_now()), 0);
    check_nobody_waits();
}

TEST_TASK(select, meets_at_once_who_waits_at_a_channel)
{
    int item = 0;

    iora_go(do_later, SEND);
    iora_go(do_later, RECEIVE); /* the two would meet, if main was not faster */
    CHECK_EQ(iora_sleep(iora_ms(4)), 0);
    iora_go(do_later, SEND);
    CHECK_EQ(iora_sleep(iora_ms(6)), 0);
    check_happens(iora_on_receive(&channel, &item), 0);
    CHECK_EQ(item, 40 + SEND);
    iora_go(do_later, RECEIVE);
    CHECK_EQ(iora_sleep(iora_ms(6)), 0);
    check_happens(iora_on_send(&channel, &item), 0);
}

static int
fail_with(int code)
{
    return code;
}
IORA_ASYNC(fail_with, int);

TEST_TASK(select, takes_a_task_that_has_ended)
{
    iora_task task = iora_go(fail_with, -EIO);

    let_all_run();
    check_happens(iora_on_task(task), -EIO);
    CHECK_EQ(iora_await(task), -ESRCH);
}

/* -EAGAIN and -EDEADLK mean something inside select; a task or future may end with them all the same. */
TEST_TASK(select, takes_any_code_of_a_task)
{
    static const int codes[] = {-EAGAIN, -EDEADLK, -EINVAL, -ENOENT, -EPERM, IORA_E_CLOSED, 1, 0};

    for (size_t i = 0; i < COUNT(codes); i++) {
        iora_task ended = iora_go(fail_with, codes[i]), ends;

        let_all_run();
        check_happens(iora_on_task(ended), codes[i]);
        CHECK_EQ(iora_await(ended), -ESRCH);
        ends = iora_go(fail_with, codes[i]);
        check_happens(iora_on_task(ends), codes[i]);
        CHECK_EQ(iora_await(ends), -ESRCH);
    }
}

TEST_TASK(select, takes_any_code_of_a_future)
{
    static const int codes[] = {-EAGAIN, -EDEADLK, -EINVAL, -EIO, 1};

    for (size_t i = 0; i < COUNT(codes); i++) {
        iora_future its = IORA_FUTURE_INIT;
        void *value = NULL;

        CHECK_EQ(iora_future_set(&its, codes[i], &its), 0);
        check_happens(iora_on_future(&its, &value), codes[i]);
        CHECK(value == (codes[i] >= 0 ? &its : NULL));
    }
}

/* ---- exactly one ----------------------------------------------------------------------------- */

TEST_TASK(select, of_several_that_can_happen_the_first_does)
{
    int item = -1, sent = 9;
    iora_clause clauses[] = {iora_on_get(&queue, &item), iora_on_acquire(&semaphore),
                             iora_on_event(&event), iora_on_put(&queue, &sent)};

    put_now(1);
    CHECK_EQ(iora_semaphore_release(&semaphore), 0);
    iora_event_set(&event);
    CHECK_EQ(iora_select(clauses, COUNT(clauses)), 0);
    CHECK_EQ(item, 1);
    CHECK_EQ(iora_semaphore_value(&semaphore), 1);
    CHECK_EQ(iora_select(clauses, COUNT(clauses)), 1);
    CHECK_EQ(iora_semaphore_value(&semaphore), 0);
    CHECK_EQ(iora_select(clauses, COUNT(clauses)), 2);
    iora_event_clear(&event);
    CHECK_EQ(iora_select(clauses, COUNT(clauses)), 3);
    CHECK_EQ(get_now(), 9);
    check_nobody_waits();
}

/* Wait for everything at once and say which it was. */
static int
wait_for_any(int *item)
{
    int sent = 77;
    void *value = NULL;
    iora_clause clauses[] = {
        iora_on_event(&event),         iora_on_get(&queue, item),   iora_on_receive(&channel, item),
        iora_on_acquire(&semaphore),   iora_on_lock(&lock),         iora_on_future(&future, &value),
        iora_on_send(&channel, &sent), iora_on_sleep(iora_ms(100)), iora_on_sleep(iora_ms(90)),
    };
    const int index = iora_select(clauses, COUNT(clauses));

    if (index == 4)
        CHECK_EQ(iora_lock_release(&lock), 0);
    CHECK(index == 5 || value == NULL);
    return index;
}
IORA_ASYNC(wait_for_any, int *);

/* With the lock held by main, everything is done after it was waited for. */
static iora_task
somebody_waits_for_any(int *item)
{
    iora_task task;

    CHECK_EQ(iora_lock_acquire(&lock), 0);
    task = iora_go(wait_for_any, item);
    let_all_run();
    return task;
}

TEST_TASK(select, what_did_not_win_has_not_happened)
{
    int item = -1, extra = -1;
    iora_task task = somebody_waits_for_any(&item);

    /* All of it before the winner runs: only the first counts. */
    CHECK_EQ(iora_semaphore_release(&semaphore), 0);
    put_now(5);
    CHECK_EQ(iora_channel_send_nowait(&channel, &extra), -EAGAIN);
    CHECK_EQ(iora_channel_receive_nowait(&channel, &extra), -EAGAIN);
    CHECK_EQ(iora_semaphore_release(&semaphore), 0);
    CHECK_EQ(iora_lock_release(&lock), 0);
    CHECK(!iora_lock_is_locked(&lock));
    iora_event_set(&event);
    CHECK_EQ(iora_future_set(&future, 0, &item), 0);
    CHECK_EQ(iora_await(task), 3);
    CHECK_EQ(item, -1);
    CHECK_EQ(iora_semaphore_value(&semaphore), 1);
    CHECK_EQ(get_now(), 5);
    check_nobody_waits();
}

TEST_TASK(select, any_of_a_mixture_can_win)
{
    int item = -1, sent = 6;
    void *value = NULL;
    iora_task task = somebody_waits_for_any(&item);

    iora_event_set(&event);
    iora_event_clear(&event);
    CHECK_EQ(iora_await(task), 0);

    CHECK_EQ(iora_lock_release(&lock), 0);
    task = somebody_waits_for_any(&item);
    put_now(5);
    CHECK(iora_queue_is_empty(&queue));
    CHECK_EQ(iora_await(task), 1);
    CHECK_EQ(item, 5);

    CHECK_EQ(iora_lock_release(&lock), 0);
    task = somebody_waits_for_any(&item);
    CHECK_EQ(iora_channel_send(&channel, &sent), 0);
    CHECK_EQ(iora_await(task), 2);
    CHECK_EQ(item, 6);

    CHECK_EQ(iora_lock_release(&lock), 0);
    task = somebody_waits_for_any(&item);
    CHECK_EQ(iora_lock_release(&lock), 0);
    CHECK(iora_lock_is_locked(&lock)); /* it is the other's before he runs */
    CHECK_EQ(iora_await(task), 4);

    task = somebody_waits_for_any(&item);
    CHECK_EQ(iora_channel_receive(&channel, &sent), 0);
    CHECK_EQ(sent, 77);
    CHECK_EQ(iora_await(task), 6);

    CHECK_EQ(iora_lock_release(&lock), 0);
    task = somebody_waits_for_any(&item);
    CHECK_EQ(iora_await(task), 8); /* nothing happens for 90 ms */

    CHECK_EQ(iora_lock_release(&lock), 0);
    task = somebody_waits_for_any(&item);
    CHECK_EQ(iora_future_set(&future, 0, &item), 0);
    CHECK_EQ(iora_await(task), 5);
    CHECK_EQ(iora_future_await(&future, &value), 0);
    CHECK(value == &item);
    check_nobody_waits();
}

TEST_TASK(select, cancelled_one_took_nothing)
{
    int item = -1;
    iora_task task = somebody_waits_for_any(&item);
    iora_census census;

    CHECK_EQ(iora_cancel(task), 0);
    iora_loop_census(test_loop(), &census);
    CHECK_EQ(census.timers, 0);
    put_now(5);
    CHECK_EQ(iora_semaphore_release(&semaphore), 0);
    CHECK_EQ(iora_lock_release(&lock), 0);
    CHECK(!iora_lock_is_locked(&lock));
    CHECK_EQ(iora_await(task), IORA_E_TASK_CANCELED);
    CHECK_EQ(item, -1);
    CHECK_EQ(iora_semaphore_value(&semaphore), 1);
    CHECK_EQ(get_now(), 5);
    check_nobody_waits();
}

TEST_TASK(select, cancel_after_it_was_decided_is_seen_by_the_next_call)
{
    int item = -1;
    iora_task task = somebody_waits_for_any(&item);

    put_now(5);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), 1);
    CHECK_EQ(item, 5);
    CHECK_EQ(iora_lock_release(&lock), 0);
    check_nobody_waits();
}

static int
take_item(int *item)
{
    return iora_queue_get(&queue, item);
}
IORA_ASYNC(take_item, int *);

TEST_TASK(select, waits_in_turn_with_plain_calls)
{
    int first = -1, second = -1, third = -1;

    iora_go(take_item, &first);
    iora_task task = somebody_waits_for_any(&second);
    iora_go(take_item, &third);
    let_all_run();
    put_now(1);
    put_now(2);
    put_now(3);
    CHECK_EQ(iora_await(task), 1);
    let_all_run();
    CHECK_EQ(first, 1);
    CHECK_EQ(second, 2);
    CHECK_EQ(third, 3);
    CHECK_EQ(iora_lock_release(&lock), 0);
    check_nobody_waits();
}

TEST_TASK(select, ended_one_leaves_its_place_to_the_next)
{
    int first = -1, second = -1;
    iora_task task = somebody_waits_for_any(&first);

    iora_go(take_item, &second);
    let_all_run();
    iora_event_set(&event);
    put_now(1);
    CHECK_EQ(iora_await(task), 0);
    let_all_run();
    CHECK_EQ(first, -1);
    CHECK_EQ(second, 1);
    CHECK_EQ(iora_lock_release(&lock), 0);
    check_nobody_waits();
}

/* ---- the same object twice ------------------------------------------------------------------- */

static int
get_twice(int *a, int *b)
{
    iora_clause clauses[] = {iora_on_get(&queue, a), iora_on_get(&queue, b), iora_on_event(&event),
                             iora_on_event(&event),  iora_on_lock(&lock),    iora_on_lock(&lock)};

    return iora_select(clauses, COUNT(clauses));
}
IORA_ASYNC(get_twice, int *, int *);

TEST_TASK(select, same_object_in_two_clauses_happens_once)
{
    int a = -1, b = -1;
    iora_task task = iora_go(get_twice, &a, &b);

    CHECK_EQ(iora_lock_acquire(&lock), 0);
    let_all_run();
    put_now(1);
    put_now(2);
    CHECK_EQ(iora_await(task), 0);
    CHECK_EQ(a, 1);
    CHECK_EQ(b, -1);
    CHECK_EQ(get_now(), 2);

    task = iora_go(get_twice, &a, &b);
    let_all_run();
    iora_event_set(&event);
    iora_event_clear(&event);
    CHECK_EQ(iora_await(task), 2);

    task = iora_go(get_twice, &a, &b);
    let_all_run();
    CHECK_EQ(iora_lock_release(&lock), 0);
    CHECK_EQ(iora_await(task), 4);
    CHECK(iora_lock_is_locked(&lock)); /* the task ended with it */
    check_nobody_waits();
}

TEST_TASK(select, same_task_in_two_clauses_is_collected_once)
{
    iora_task task = iora_go(do_later, END);
    iora_clause clauses[] = {iora_on_task(task), iora_on_task(task)};

    CHECK_EQ(iora_select(clauses, 2), 0);
    CHECK_EQ(clauses[0].rc, 17);
    CHECK_EQ(iora_await(task), -ESRCH);
}

static int
end_with_both(int *items)
{
    iora_clause clauses[] = {iora_on_send(&channel, &items[0]),
                             iora_on_receive(&channel, &items[1])};

    return iora_select(clauses, 2);
}
IORA_ASYNC(end_with_both, int *);

TEST_TASK(select, does_not_meet_itself_at_a_channel)
{
    int items[] = {1, 0};

    CHECK_EQ(iora_wait_for(end_with_both(items), iora_ms(10)), -ETIMEDOUT);
    CHECK_EQ(items[1], 0);
    check_nobody_waits();
}

TEST_TASK(select, two_meet_each_other_at_a_channel)
{
    int first[] = {1, 0}, second[] = {2, 0};
    int codes[2];

    CHECK_EQ(iora_gather_all(codes, iora_go(end_with_both, first), iora_go(end_with_both, second)),
             0);
    CHECK_EQ(codes[0], 1); /* it waited, and the second sent */
    CHECK_EQ(codes[1], 0);
    CHECK_EQ(first[1], 2);
    CHECK_EQ(second[1], 0);
    check_nobody_waits();
}

/* ---- channels crossed: of two selects that can meet in two ways, one way happens ------------- */

static iora_channel crossed[2] = {IORA_CHANNEL_INIT(sizeof(int)), IORA_CHANNEL_INIT(sizeof(int))};

static int
send_on_one_receive_on_other(int sends_on, int value, int *received)
{
    iora_clause clauses[] = {iora_on_send(&crossed[sends_on], &value),
                             iora_on_receive(&crossed[1 - sends_on], received)};

    return iora_select(clauses, 2);
}
IORA_ASYNC(send_on_one_receive_on_other, int, int, int *);

TEST_TASK(select, two_that_could_meet_on_two_channels_meet_on_one)
{
    int got[2] = {0, 0}, codes[2];

    CHECK_EQ(iora_gather_all(codes, iora_go(send_on_one_receive_on_other, 0, 10, &got[0]),
                             iora_go(send_on_one_receive_on_other, 1, 20, &got[1])),
             0);
    CHECK_EQ(codes[0], 1);
    CHECK_EQ(codes[1], 0);
    CHECK_EQ(got[0], 20);
    CHECK_EQ(got[1], 0);
    for (int i = 0; i < 2; i++)
        CHECK(crossed[i]._senders._first == NULL && crossed[i]._receivers._first == NULL);
}

/* ---- what ends a clause with an error -------------------------------------------------------- */

static int
select_one(iora_clause *clause)
{
    return iora_select(clause, 1);
}
IORA_ASYNC(select_one, iora_clause *);

TEST_TASK(select, shutdown_and_close_win_with_their_code)
{
    int item = -1;
    iora_clause get = iora_on_get(&queue, &item), put = iora_on_put(&queue, &item);
    iora_clause receive = iora_on_receive(&channel, &item);
    iora_task getter = iora_go(select_one, &get), receiver = iora_go(select_one, &receive);

    let_all_run();
    iora_queue_shutdown(&queue, false);
    iora_channel_close(&channel);
    CHECK_EQ(iora_gather(getter, receiver), 0);
    CHECK_EQ(get.rc, IORA_E_SHUTDOWN);
    CHECK_EQ(receive.rc, IORA_E_CLOSED);
    check_happens(get, IORA_E_SHUTDOWN);
    check_happens(put, IORA_E_SHUTDOWN);
    check_happens(receive, IORA_E_CLOSED);
    check_happens(iora_on_send(&channel, &item), IORA_E_CLOSED);
    check_nobody_waits();
}

TEST_TASK(select, put_without_memory_wins_with_its_code)
{
    int item = 1;
    iora_clause clause = iora_on_put(&queue, &item);

    iora__seam_arm_allocation(1, true);
    CHECK_EQ(iora_select(&clause, 1), 0);
    (void)iora__seam_disarm();
    CHECK_EQ(clause.rc, -ENOMEM);
    CHECK(iora_queue_is_empty(&queue));
}

TEST_TASK(select, task_that_somebody_else_cancelled_wins_with_that)
{
    int item;
    iora_task task = iora_go(take_item, &item);
    iora_clause clause = iora_on_task(task);

    let_all_run();
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_select(&clause, 1), 0);
    CHECK_EQ(clause.rc, IORA_E_TASK_CANCELED);
}

TEST_TASK(select, stale_and_null_tasks_win_with_their_code)
{
    iora_task task = iora_go(fail_with, 0);

    CHECK_EQ(iora_await(task), 0);
    check_happens(iora_on_task(task), -ESRCH);
    check_happens(iora_on_task(iora_go_sized(1, fail_with, 0)), -EINVAL);
}

TEST_TASK(select, task_that_waits_for_itself_is_a_deadlock)
{
    int item = -1;
    iora_clause clauses[] = {iora_on_get(&queue, &item), iora_on_task(iora_current())};

    CHECK_EQ(iora_select(clauses, 2), -EDEADLK);
    CHECK_EQ(iora_lock_acquire(&lock), 0);
    clauses[1] = iora_on_lock(&lock);
    CHECK_EQ(iora_select(clauses, 2), -EDEADLK);
    put_now(1);
    CHECK_EQ(iora_select(clauses, 2), 0); /* the first can happen */
    check_nobody_waits();
}

TEST_TASK(select, cancel_does_not_pass_to_a_task_that_is_waited_for)
{
    iora_task task = iora_go(do_later, END);
    iora_clause clause = iora_on_task(task);

    CHECK_EQ(iora_wait_for(iora_select(&clause, 1), iora_ms(1)), -ETIMEDOUT);
    CHECK_EQ(iora_await(task), 17);
}

TEST_TASK(select, failed_task_leaves_an_error_record_as_await_does)
{
    iora_task task = iora_go(fail_with, -EIO);
    iora_clause clause = iora_on_task(task);

    CHECK_EQ(iora_select(&clause, 1), 0);
    CHECK(iora_error_last() != NULL);
    CHECK_EQ(iora_error_last()->code, -EIO);
    CHECK_STR(iora_error_last()->what, "await fail_with");
    CHECK(iora_error_last()->cause != NULL);

    task = iora_go(fail_with, -ENOENT);
    let_all_run();
    clause = iora_on_task(task);
    CHECK_EQ(iora_select(&clause, 1), 0);
    CHECK_EQ(iora_error_last()->code, -ENOENT);
    CHECK_STR(iora_error_last()->what, "await fail_with");
    CHECK(iora_error_last()->cause != NULL);
}

/* ---- durations ------------------------------------------------------------------------------- */

TEST_TASK(select, shortest_duration_wins)
{
    iora_clause clauses[] = {iora_on_sleep(iora_ms(30)), iora_on_sleep(iora_ms(10)),
                             iora_on_sleep(IORA_FOREVER),
                             iora_on_sleep_until(iora_after(iora_now(), iora_ms(20)))};
    const long long began = test_ms();
    iora_census census;

    CHECK_EQ(iora_select(clauses, COUNT(clauses)), 1);
    CHECK_EQ(test_ms() - began, 10);
    iora_loop_census(test_loop(), &census);
    CHECK_EQ(census.timers, 0);
}

TEST_TASK(select, of_equal_durations_the_first_wins)
{
    iora_clause clauses[] = {iora_on_sleep(IORA_FOREVER), iora_on_sleep(iora_ms(10)),
                             iora_on_sleep(iora_ms(10))};

    CHECK_EQ(iora_select(clauses, COUNT(clauses)), 1);
}

/* A loop round a select may keep its clauses: each call sleeps anew. */
TEST_TASK(select, clauses_can_be_used_again)
{
    int item = -1;
    iora_clause clauses[] = {iora_on_get(&queue, &item), iora_on_sleep(iora_ms(10))};
    const long long began = test_ms();

    for (int i = 1; i <= 3; i++) {
        CHECK_EQ(iora_select(clauses, 2), 1);
        CHECK_EQ(test_ms() - began, i * 10);
    }
    put_now(4);
    CHECK_EQ(iora_select(clauses, 2), 0);
    CHECK_EQ(item, 4);
    CHECK_EQ(iora_select(clauses, 2), 1);
    CHECK_EQ(test_ms() - began, 40);
    check_nobody_waits();
}

TEST_TASK(select, instant_that_has_come_wins_again)
{
    iora_clause clause = iora_on_sleep_until(iora_after(iora_now(), iora_ms(10)));
    const long long began = test_ms();

    CHECK_EQ(iora_select(&clause, 1), 0);
    CHECK_EQ(iora_select(&clause, 1), 0);
    CHECK_EQ(test_ms() - began, 10);
}

TEST_TASK(select, sleep_of_zero_is_what_to_do_otherwise)
{
    int item = -1;
    iora_clause clauses[] = {iora_on_get(&queue, &item), iora_on_sleep(iora_ns(0))};

    CHECK_EQ(iora_select(clauses, 2), 1);
    put_now(3);
    CHECK_EQ(iora_select(clauses, 2), 0);
    CHECK_EQ(item, 3);
    check_nobody_waits();
}

TEST_TASK(select, deadline_round_it_ends_it)
{
    int item = -1;
    iora_clause clause = iora_on_get(&queue, &item);

    CHECK_EQ(iora_wait_for(iora_select(&clause, 1), iora_ms(5)), -ETIMEDOUT);
    put_now(1);
    CHECK_EQ(get_now(), 1);
    check_nobody_waits();
}

/* ---- calls that are refused ------------------------------------------------------------------ */

TEST_TASK(select, takes_1_to_64_clauses)
{
    iora_clause clauses[65];
    int item = -1;

    for (int i = 0; i < 65; i++)
        clauses[i] = iora_on_get(&queue, &item);
    CHECK_EQ(iora_select(clauses, 0), -EINVAL);
    CHECK_EQ(iora_select(clauses, 65), -EINVAL);
    clauses[63] = iora_on_sleep(iora_ms(1));
    CHECK_EQ(iora_select(clauses, 64), 63);
    check_nobody_waits();
}

TEST_TASK(select, in_a_cancelled_scope_does_nothing)
{
    int item = -1;
    iora_clause clauses[] = {iora_on_get(&queue, &item), iora_on_sleep(iora_ns(0))};

    put_now(1);
    CHECK_EQ(CANCELLED(iora_select(clauses, 2)), -ECANCELED);
    CHECK_EQ(CANCELLED(iora_select(clauses, 0)), -ECANCELED);
    CHECK_EQ(item, -1);
    CHECK_EQ(get_now(), 1);
    check_nobody_waits();
}

static int
select_now(void)
{
    iora_clause clause = iora_on_sleep(iora_ns(0));

    return iora_select(&clause, 1);
}

TEST(select, needs_a_task)
{
    check_needs_a_task(select_now);
}

TEST_TASK(select, waiting_needs_no_memory)
{
    int item = -1;
    iora_task task = somebody_waits_for_any(&item);

    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), IORA_E_TASK_CANCELED);
    CHECK_EQ(iora_lock_release(&lock), 0);
    task = iora_go(wait_for_any, &item);
    CHECK_EQ(iora_lock_acquire(&lock), 0);
    iora__seam_arm_allocation(1, true);
    let_all_run();
    CHECK_EQ(iora_semaphore_release(&semaphore), 0);
    let_all_run();
    CHECK_EQ(iora__seam_disarm().allocations, 0);
    CHECK_EQ(iora_await(task), 3);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static void
fill_pipe(int fd)
{
    static const char some[4096];

    CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    while (write(fd, some, sizeof some) > 0)
        continue;
    CHECK_EQ(errno, EAGAIN);
}

static void
drain_pipe(int fd)
{
    char some[4096];

    CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    while (read(fd, some, sizeof some) > 0)
        continue;
}

static int
write_later(int fd)
{
    CHECK_EQ(iora_sleep(iora_ms(2)), 0);
    put_bytes(fd, 1);
    return 0;
}
IORA_ASYNC(write_later, int);

static int
drain_later(int fd)
{
    CHECK_EQ(iora_sleep(iora_ms(2)), 0);
    drain_pipe(fd);
    return 0;
}
IORA_ASYNC(drain_later, int);

static size_t
pending_ops(void)
{
    iora_census census;

    iora_loop_census(test_loop(), &census);
    return census.ops;
}

/* Nothing of a select that has returned is left in the loop, not even a completion that is late. */
static void
check_nothing_pends(void)
{
    CHECK_EQ(pending_ops(), 0);
    CHECK(iora_to_ns(iora_loop_timeout(test_loop())) > 0);
}

TEST_TASK_REAL(select, waits_for_a_descriptor_to_read)
{
    int ends[2], item;
    iora_clause clauses[2];

    open_pipe(ends);
    clauses[0] = iora_on_get(&queue, &item);
    clauses[1] = iora_on_readable(ends[RD]);
    iora_go(write_later, ends[WR]);
    CHECK_EQ(iora_select(clauses, 2), 1);
    CHECK_EQ(clauses[1].rc, 0);
    CHECK_EQ(iora_select(clauses, 2), 1); /* it is still there to read */
    check_nothing_pends();
    check_nobody_waits();
    close_both(ends);
}

TEST_TASK_REAL(select, waits_for_a_descriptor_to_write)
{
    int ends[2];
    iora_clause clauses[2];

    open_pipe(ends);
    fill_pipe(ends[WR]);
    clauses[0] = iora_on_writable(ends[WR]);
    clauses[1] = iora_on_event(&event);
    iora_go(drain_later, ends[RD]);
    CHECK_EQ(iora_select(clauses, 2), 0);
    CHECK_EQ(clauses[0].rc, 0);
    put_bytes(ends[WR], 1);
    check_nobody_waits();
    close_both(ends);
}

TEST_TASK_REAL(select, descriptor_that_did_not_win_is_left_alone)
{
    int ends[2];
    iora_clause clauses[3];

    open_pipe(ends);
    clauses[0] = iora_on_readable(ends[RD]);
    clauses[1] = iora_on_sleep(iora_ms(1));
    clauses[2] = iora_on_readable(ends[RD]);
    CHECK_EQ(iora_select(clauses, 3), 1);
    check_nothing_pends();
    put_bytes(ends[WR], 1);
    CHECK_EQ(iora_yield(), 0);
    take_bytes(ends[RD], 1);
    close_both(ends);
}

TEST_TASK_REAL(select, same_descriptor_in_two_clauses_wins_once)
{
    int ends[2];
    iora_clause clauses[2];

    open_pipe(ends);
    clauses[0] = iora_on_readable(ends[RD]);
    clauses[1] = iora_on_readable(ends[RD]);
    iora_go(write_later, ends[WR]);
    CHECK_EQ(iora_select(clauses, 2), 0);
    check_nothing_pends();
    close_both(ends);
}

TEST_TASK_REAL(select, both_sides_of_a_socket_in_two_clauses)
{
    int ends[2];
    iora_clause clauses[2];

    open_pair(ends);
    clauses[0] = iora_on_readable(ends[0]);
    clauses[1] = iora_on_writable(ends[0]);
    CHECK_EQ(iora_select(clauses, 2), 1);
    fill(ends[0]);
    iora_go(write_later, ends[1]);
    CHECK_EQ(iora_select(clauses, 2), 0);
    check_nothing_pends();
    close_both(ends);
}

TEST_TASK_REAL(select, of_two_descriptors_that_are_ready_the_first_wins)
{
    int a[2], b[2];
    iora_clause clauses[2];

    open_pipe(a);
    open_pipe(b);
    put_bytes(b[WR], 1);
    put_bytes(a[WR], 1);
    clauses[0] = iora_on_readable(a[RD]);
    clauses[1] = iora_on_readable(b[RD]);
    CHECK_EQ(iora_select(clauses, 2), 0);
    CHECK_EQ(iora_select(clauses, 2), 0);
    close_both(a);
    close_both(b);
}

TEST_TASK_REAL(select, end_of_a_pipe_is_readable)
{
    int ends[2];
    iora_clause clause;

    open_pipe(ends);
    clause = iora_on_readable(ends[RD]);
    (void)close(ends[WR]);
    CHECK_EQ(iora_select(&clause, 1), 0);
    CHECK_EQ(clause.rc, 0);
    (void)close(ends[RD]);
}

TEST_TASK_REAL(select, file_that_is_always_ready_wins_at_once)
{
    const int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int item = -1;
    iora_clause clauses[] = {iora_on_get(&queue, &item), iora_on_readable(fd),
                             iora_on_sleep(iora_s(1000)), iora_on_writable(null)};

    CHECK_EQ(iora_select(clauses, 4), 1);
    CHECK_EQ(clauses[1].rc, 0);
    clauses[1] = iora_on_event(&event);
    CHECK_EQ(iora_select(clauses, 4), 3);
    CHECK_EQ(clauses[3].rc, 0);
    check_nobody_waits();
    (void)close(fd);
    (void)close(null);
}

TEST_TASK_REAL(select, bad_descriptor_wins_with_its_code)
{
    int ends[2], item = -1;
    iora_clause clauses[4];
    iora_census census;

    open_pipe(ends);
    clauses[0] = iora_on_get(&queue, &item);
    clauses[1] = iora_on_readable(ends[RD]);
    clauses[2] = iora_on_sleep(iora_s(1000));
    clauses[3] = iora_on_readable(-1);
    CHECK_EQ(iora_select(clauses, 4), 3);
    CHECK_EQ(clauses[3].rc, -EBADF);
    clauses[3] = iora_on_writable(fcntl(0, F_DUPFD, 900) + 1);
    CHECK_EQ(iora_select(clauses, 4), 3);
    CHECK_EQ(clauses[3].rc, -EBADF);
    (void)close(900);
    iora_loop_census(test_loop(), &census); /* those before it were taken back */
    CHECK_EQ(census.ops, 0);
    CHECK_EQ(census.timers, 0);
    check_nobody_waits();
    close_both(ends);
}

static int
select_readable(int fd, int *item)
{
    iora_clause clauses[] = {iora_on_readable(fd), iora_on_get(&queue, item)};

    return iora_select(clauses, 2);
}
IORA_ASYNC(select_readable, int, int *);

TEST_TASK_REAL(select, cancelled_while_it_waits_for_a_descriptor_lets_go_of_it)
{
    int ends[2], item = -1;
    iora_task task;

    open_pipe(ends);
    task = iora_go(select_readable, ends[RD], &item);
    let_all_run();
    CHECK_EQ(pending_ops(), 1);
    CHECK_EQ(iora_cancel(task), 0);
    put_now(1);
    CHECK_EQ(iora_await(task), IORA_E_TASK_CANCELED);
    check_nothing_pends();
    CHECK_EQ(item, -1);
    CHECK_EQ(get_now(), 1);
    check_nobody_waits();
    close_both(ends);
}

TEST_TASK_REAL(select, decided_one_stays_so_while_its_descriptors_end)
{
    int ends[2], item = -1;
    iora_task task;

    open_pipe(ends);
    task = iora_go(select_readable, ends[RD], &item);
    let_all_run();
    put_now(1); /* decided; with @late the poll has yet to end */
    put_bytes(ends[WR], 1);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), 1);
    CHECK_EQ(item, 1);
    check_nothing_pends();
    check_nobody_waits();
    close_both(ends);
}

TEST_TASK(select, descriptors_are_not_for_simulated_loops)
{
    iora_clause clauses[] = {iora_on_event(&event), iora_on_readable(0)};

    CHECK_EQ(iora_select(clauses, 2), 1);
    CHECK_EQ(clauses[1].rc, -ENOTSUP);
    check_nobody_waits();
}

/* ---- at random ------------------------------------------------------------------------------- */

TEST(select, does_as_its_model_at_random)
{
    RUN_SEEDS(3000, try_select);
}
