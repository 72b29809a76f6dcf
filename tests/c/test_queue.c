/* tests/c/test_queue.c -- queues between tasks, and the rendezvous channel. */
#include "model_queue.h"

/* ---- putting and getting --------------------------------------------------------------------- */

static iora_queue queue = IORA_QUEUE_INIT(sizeof(int), 0);
static iora_queue queue_of_two = IORA_QUEUE_INIT(sizeof(int), 2);
static iora_queue stack = IORA_LIFO_QUEUE_INIT(sizeof(int), 0);

static void
put_now(iora_queue *to, int item)
{
    CHECK_EQ(iora_queue_put_nowait(to, &item), 0);
}

static int
get_now(iora_queue *from)
{
    int item = -1;

    CHECK_EQ(iora_queue_get_nowait(from, &item), 0);
    return item;
}

static int
put(iora_queue *to, int item)
{
    const int rc = iora_queue_put(to, &item);

    if (rc == 0)
        test_trace("put%d", item);
    else
        test_trace("put%d:%s", item, iora_err_name(rc));
    return 0;
}
IORA_ASYNC(put, iora_queue *, int);

static int
get(iora_queue *from, const char *name)
{
    int item = -1;
    const int rc = iora_queue_get(from, &item);

    if (rc == 0)
        test_trace("%s:%d", name, item);
    else
        test_trace("%s:%s", name, iora_err_name(rc));
    CHECK(rc == 0 || item == -1);
    return 0;
}
IORA_ASYNC(get, iora_queue *, const char *);

static int
join(iora_queue *it)
{
    test_trace("joined:%s", iora_err_name(iora_queue_join(it)));
    return 0;
}
IORA_ASYNC(join, iora_queue *);

/* Nobody waits, so its memory can go. */
static void
done_with(iora_queue *it)
{
    CHECK_EQ(iora_queue_destroy(it), 0);
}

TEST(queue, gives_first_in_first_out)
{
    for (int i = 0; i < 100; i++)
        put_now(&queue, i);
    CHECK_EQ(iora_queue_size(&queue), 100);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(get_now(&queue), i);
    CHECK(iora_queue_is_empty(&queue));
    done_with(&queue);
}

TEST(queue, keeps_the_order_while_it_goes_round_and_grows)
{
    int in = 0, out = 0;

    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 7; i++)
            put_now(&queue, in++);
        for (int i = 0; i < 5; i++)
            CHECK_EQ(get_now(&queue), out++);
    }
    while (!iora_queue_is_empty(&queue))
        CHECK_EQ(get_now(&queue), out++);
    CHECK_EQ(out, in);
    done_with(&queue);
}

TEST(queue, lifo_gives_last_in_first_out)
{
    for (int i = 0; i < 20; i++)
        put_now(&stack, i);
    for (int i = 19; i >= 10; i--)
        CHECK_EQ(get_now(&stack), i);
    put_now(&stack, 100);
    CHECK_EQ(get_now(&stack), 100);
    CHECK_EQ(get_now(&stack), 9);
    done_with(&stack);
}

TEST(queue, without_maxsize_is_never_full)
{
    for (int i = 0; i < 10000; i++)
        put_now(&queue, i);
    CHECK(!iora_queue_is_full(&queue));
    CHECK_EQ(iora_queue_size(&queue), 10000);
    done_with(&queue);
}

TEST(queue, nowait_says_when_it_would_have_to_wait)
{
    int item = 7;

    CHECK_EQ(iora_queue_get_nowait(&queue_of_two, &item), -EAGAIN);
    CHECK_EQ(item, 7);
    put_now(&queue_of_two, 1);
    CHECK(!iora_queue_is_full(&queue_of_two));
    put_now(&queue_of_two, 2);
    CHECK(iora_queue_is_full(&queue_of_two));
    CHECK_EQ(iora_queue_put_nowait(&queue_of_two, &item), -EAGAIN);
    CHECK_EQ(iora_queue_size(&queue_of_two), 2);
    CHECK_EQ(get_now(&queue_of_two), 1);
    CHECK_EQ(get_now(&queue_of_two), 2);
    done_with(&queue_of_two);
}

TEST_TASK(queue, item_is_handed_to_the_first_getter)
{
    iora_go(get, &queue, "a");
    iora_go(get, &queue, "b");
    iora_go(get, &queue, "c");
    let_all_run();
    put_now(&queue, 1);
    CHECK(iora_queue_is_empty(&queue)); /* it is a's already: nobody can come between */
    CHECK_EQ(iora_queue_get_nowait(&queue, &(int){0}), -EAGAIN);
    put_now(&queue, 2);
    let_all_run();
    CHECK_TRACE("a:1 b:2");
}

TEST_TASK(queue, putters_put_in_the_order_of_waiting)
{
    put_now(&queue_of_two, 1);
    put_now(&queue_of_two, 2);
    iora_go(put, &queue_of_two, 3);
    iora_go(put, &queue_of_two, 4);
    iora_go(put, &queue_of_two, 5);
    let_all_run();
    CHECK_TRACE("");
    CHECK_EQ(get_now(&queue_of_two), 1);
    CHECK(iora_queue_is_full(&queue_of_two)); /* the first putter's item took the place at once */
    CHECK_EQ(iora_queue_put_nowait(&queue_of_two, &(int){9}), -EAGAIN);
    let_all_run();
    CHECK_TRACE("put3");
    for (int i = 2; i <= 5; i++)
        CHECK_EQ(get_now(&queue_of_two), i);
    let_all_run();
    CHECK_TRACE("put3 put4 put5");
    done_with(&queue_of_two);
}

static int
put_many(iora_queue *to)
{
    for (int i = 0; i < 1000; i++)
        CHECK_EQ(iora_queue_put(to, &i), 0);
    return 0;
}
IORA_ASYNC(put_many, iora_queue *);

static int
get_many(iora_queue *from)
{
    for (int i = 0; i < 1000; i++) {
        int item = -1;

        CHECK_EQ(iora_queue_get(from, &item), 0);
        CHECK_EQ(item, i);
    }
    return 0;
}
IORA_ASYNC(get_many, iora_queue *);

TEST_TASK(queue, keeps_the_order_also_where_an_operation_gives_way)
{
    CHECK_EQ(iora_gather(iora_go(put_many, &queue), iora_go(get_many, &queue)), 0);
    CHECK_EQ(iora_gather(iora_go(get_many, &queue_of_two), iora_go(put_many, &queue_of_two)), 0);
    done_with(&queue);
    done_with(&queue_of_two);
}

TEST_TASK(queue, cancelled_getter_takes_nothing)
{
    iora_task a = iora_go(get, &queue, "a");

    iora_go(get, &queue, "b");
    let_all_run();
    CHECK_EQ(iora_cancel(a), 0);
    put_now(&queue, 1);
    put_now(&queue, 2);
    let_all_run();
    CHECK_TRACE("a:ECANCELED b:1");
    CHECK_EQ(get_now(&queue), 2);
    done_with(&queue);
}

TEST_TASK(queue, cancelled_putter_puts_nothing)
{
    iora_task three;

    put_now(&queue_of_two, 1);
    put_now(&queue_of_two, 2);
    three = iora_go(put, &queue_of_two, 3);
    iora_go(put, &queue_of_two, 4);
    let_all_run();
    CHECK_EQ(iora_cancel(three), 0);
    CHECK_EQ(get_now(&queue_of_two), 1);
    let_all_run();
    CHECK_TRACE("put3:ECANCELED put4");
    CHECK_EQ(get_now(&queue_of_two), 2);
    CHECK_EQ(get_now(&queue_of_two), 4);
    done_with(&queue_of_two);
}

TEST_TASK(queue, cancel_after_the_hand_over_leaves_the_item_with_the_getter)
{
    iora_task getter = iora_go(get, &queue, "getter");

    let_all_run();
    put_now(&queue, 1);
    CHECK_EQ(iora_cancel(getter), 0);
    let_all_run();
    CHECK_TRACE("getter:1");
}

TEST_TASK(queue, cancel_after_the_put_was_done_does_not_undo_it)
{
    iora_task putter;

    put_now(&queue_of_two, 1);
    put_now(&queue_of_two, 2);
    putter = iora_go(put, &queue_of_two, 3);
    let_all_run();
    CHECK_EQ(get_now(&queue_of_two), 1);
    CHECK_EQ(iora_cancel(putter), 0);
    let_all_run();
    CHECK_TRACE("put3");
    CHECK_EQ(get_now(&queue_of_two), 2);
    CHECK_EQ(get_now(&queue_of_two), 3);
    done_with(&queue_of_two);
}

TEST_TASK(queue, waits_end_at_a_deadline)
{
    const long long began = test_ms();
    int item = 3;

    CHECK_EQ(iora_wait_for(iora_queue_get(&queue_of_two, &item), iora_ms(10)), -ETIMEDOUT);
    put_now(&queue_of_two, 1);
    put_now(&queue_of_two, 2);
    CHECK_EQ(iora_wait_for(iora_queue_put(&queue_of_two, &item), iora_ms(10)), -ETIMEDOUT);
    CHECK_EQ(iora_wait_for(iora_queue_join(&queue_of_two), iora_ms(10)), -ETIMEDOUT);
    CHECK_EQ(test_ms() - began, 30);
    CHECK_EQ(iora_queue_size(&queue_of_two), 2);
    done_with(&queue_of_two);
}

TEST_TASK(queue, calls_in_a_cancelled_scope_do_nothing)
{
    int item = 1;

    CHECK_EQ(CANCELLED(iora_queue_put(&queue, &item)), -ECANCELED);
    CHECK(iora_queue_is_empty(&queue));
    put_now(&queue, 2);
    CHECK_EQ(CANCELLED(iora_queue_get(&queue, &item)), -ECANCELED);
    CHECK_EQ(item, 1);
    CHECK_EQ(iora_queue_size(&queue), 1);
    CHECK_EQ(get_now(&queue), 2);
    CHECK_EQ(iora_queue_task_done(&queue), 0);
    CHECK_EQ(CANCELLED(iora_queue_join(&queue)), -ECANCELED);
    done_with(&queue);
}

TEST_TASK(queue, nowait_does_not_look_at_the_scope)
{
    int item = 5;

    CHECK_EQ(CANCELLED(iora_queue_put_nowait(&queue, &item)), 0);
    item = 0;
    CHECK_EQ(CANCELLED(iora_queue_get_nowait(&queue, &item)), 0);
    CHECK_EQ(item, 5);
    done_with(&queue);
}

static int
queue_put(void)
{
    return iora_queue_put(&queue, &(int){1});
}

static int
queue_get(void)
{
    return iora_queue_get(&queue, &(int){1});
}

static int
queue_join(void)
{
    return iora_queue_join(&queue);
}

TEST(queue, put_get_and_join_need_a_task)
{
    check_needs_a_task(queue_put);
    CHECK(iora_queue_is_empty(&queue));
    check_needs_a_task(queue_get);
    check_needs_a_task(queue_join);
}

/* ---- items of any size ----------------------------------------------------------------------- */

enum { BIGGEST = 1000 };

static void
fill(unsigned char *item, size_t size, int seed)
{
    for (size_t i = 0; i < size; i++)
        item[i] = (unsigned char)(seed * 31 + (int)i);
}

static void
check_filled(const unsigned char *item, size_t size, int seed)
{
    for (size_t i = 0; i < size; i++)
        CHECK_EQ(item[i], (unsigned char)(seed * 31 + (int)i));
    CHECK_EQ(item[size], 0xee); /* and nothing behind it was touched */
}

static int
first_byte_decides(const void *a, const void *b)
{
    return *(const unsigned char *)a - *(const unsigned char *)b;
}

static int
all_are_equal(const void *a, const void *b)
{
    (void)a;
    (void)b;
    return 0;
}

/* In order of arrival, through the store, past getters and from putters who wait. */
static int
get_sized(iora_queue *from, size_t size, int seed)
{
    unsigned char item[BIGGEST + 1];

    memset(item, 0xee, sizeof item);
    CHECK_EQ(iora_queue_get(from, item), 0);
    check_filled(item, size, seed);
    return 0;
}
IORA_ASYNC(get_sized, iora_queue *, size_t, int);

static int
put_sized(iora_queue *to, size_t size, int seed)
{
    unsigned char item[BIGGEST];

    fill(item, size, seed);
    return iora_queue_put(to, item);
}
IORA_ASYNC(put_sized, iora_queue *, size_t, int);

static void
check_size(iora_queue *it, size_t size)
{
    for (int i = 0; i < 5; i++)
        iora_go(put_sized, it, size, i); /* two of them wait */
    let_all_run();
    for (int i = 0; i < 5; i++)
        CHECK_EQ(get_sized(it, size, i), 0);
    for (int i = 0; i < 5; i++)
        iora_go(get_sized, it, size, i);
    let_all_run();
    for (int i = 0; i < 5; i++)
        CHECK_EQ(put_sized(it, size, i), 0);
    let_all_run();
    done_with(it);
}

TEST_TASK(queue, items_of_any_size_arrive_whole)
{
    static const size_t sizes[] = {0, 1, 8, 24, BIGGEST};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        iora_queue fifo = IORA_QUEUE_INIT(sizes[i], 3);
        iora_queue priority = IORA_PRIORITY_QUEUE_INIT(sizes[i], 3, all_are_equal);

        check_size(&fifo, sizes[i]);
        check_size(&priority, sizes[i]);
    }
}

TEST_TASK(queue, tokens_of_no_size_need_no_address)
{
    iora_queue tokens = IORA_QUEUE_INIT(0, 0);
    iora_queue ordered = IORA_PRIORITY_QUEUE_INIT(0, 0, all_are_equal);

    CHECK_EQ(iora_queue_put(&tokens, NULL), 0);
    CHECK_EQ(iora_queue_get(&tokens, NULL), 0);
    CHECK_EQ(iora_queue_get_nowait(&tokens, NULL), -EAGAIN);
    CHECK_EQ(iora_queue_put(&ordered, NULL), 0);
    CHECK_EQ(iora_queue_get(&ordered, NULL), 0);
    done_with(&tokens);
    done_with(&ordered);
}

TEST(queue, of_items_too_big_for_any_memory_says_so)
{
    iora_queue giant = IORA_QUEUE_INIT(SIZE_MAX / 2, 0);
    iora_queue giant_heap = IORA_PRIORITY_QUEUE_INIT(SIZE_MAX - 3, 0, first_byte_decides);

    CHECK_EQ(iora_queue_put_nowait(&giant, ""), -ENOMEM);
    CHECK_EQ(iora_queue_put_nowait(&giant_heap, ""), -ENOMEM);
    CHECK(iora_queue_is_empty(&giant));
}

/* ---- priority -------------------------------------------------------------------------------- */

struct job {
    int urgency;
    int number;
};

static int
compare_jobs(const void *a, const void *b)
{
    return ((const struct job *)a)->urgency - ((const struct job *)b)->urgency;
}

static iora_queue jobs = IORA_PRIORITY_QUEUE_INIT(sizeof(struct job), 0, compare_jobs);

static struct job
get_job(iora_queue *from)
{
    struct job job = {-1, -1};

    CHECK_EQ(iora_queue_get_nowait(from, &job), 0);
    return job;
}

TEST(queue, priority_gives_the_least_first)
{
    for (int i = 0; i < 200; i++) {
        const struct job job = {i * 77 % 200, i};

        CHECK_EQ(iora_queue_put_nowait(&jobs, &job), 0);
    }
    for (int i = 0; i < 200; i++)
        CHECK_EQ(get_job(&jobs).urgency, i);
    done_with(&jobs);
}

TEST(queue, priority_gives_equals_in_the_order_they_came)
{
    for (int i = 0; i < 300; i++) {
        const struct job job = {i % 3, i};

        CHECK_EQ(iora_queue_put_nowait(&jobs, &job), 0);
    }
    for (int i = 0; i < 300; i++) {
        const struct job job = get_job(&jobs);

        CHECK_EQ(job.urgency, i / 100);
        CHECK_EQ(job.number, i % 100 * 3 + i / 100);
    }
    done_with(&jobs);
}

static int
put_job(iora_queue *to, int urgency, int number)
{
    const struct job job = {urgency, number};

    return iora_queue_put(to, &job);
}
IORA_ASYNC(put_job, iora_queue *, int, int);

TEST_TASK(queue, priority_takes_its_putters_in_the_order_of_waiting)
{
    iora_queue small = IORA_PRIORITY_QUEUE_INIT(sizeof(struct job), 1, compare_jobs);

    CHECK_EQ(put_job(&small, 5, 0), 0);
    iora_go(put_job, &small, 9, 1);
    iora_go(put_job, &small, 1, 2);
    let_all_run();
    CHECK_EQ(get_job(&small).number, 0);
    CHECK_EQ(get_job(&small).number, 1);
    CHECK_EQ(get_job(&small).number, 2);
    done_with(&small);
}

struct wide {
    _Alignas(16) int key;
};

static int
compare_wide(const void *a, const void *b)
{
    CHECK_EQ((uintptr_t)a % _Alignof(struct wide), 0);
    CHECK_EQ((uintptr_t)b % _Alignof(struct wide), 0);
    return ((const struct wide *)a)->key - ((const struct wide *)b)->key;
}

TEST(queue, priority_compares_items_where_their_type_may_lie)
{
    iora_queue wide = IORA_PRIORITY_QUEUE_INIT(sizeof(struct wide), 0, compare_wide);
    struct wide item;

    for (int i = 20; i > 0; i--) {
        item.key = i;
        CHECK_EQ(iora_queue_put_nowait(&wide, &item), 0);
    }
    for (int i = 1; i <= 20; i++) {
        CHECK_EQ(iora_queue_get_nowait(&wide, &item), 0);
        CHECK_EQ(item.key, i);
    }
    done_with(&wide);
}

/* ---- dealing with items ---------------------------------------------------------------------- */

TEST_TASK(queue, join_waits_until_all_is_dealt_with)
{
    put_now(&queue, 1);
    put_now(&queue, 2);
    iora_go(join, &queue);
    iora_go(join, &queue);
    CHECK_EQ(get_now(&queue), 1);
    CHECK_EQ(get_now(&queue), 2);
    CHECK_EQ(iora_queue_task_done(&queue), 0);
    let_all_run();
    CHECK_TRACE("");
    CHECK_EQ(iora_queue_task_done(&queue), 0);
    let_all_run();
    CHECK_TRACE("joined:OK joined:OK");
    done_with(&queue);
}

TEST_TASK(queue, join_of_an_untouched_one_returns_at_once)
{
    CHECK_EQ(iora_queue_join(&queue), 0);
}

TEST_TASK(queue, task_done_counts_every_put_once)
{
    CHECK_EQ(iora_queue_task_done(&queue), -EINVAL);
    put_now(&queue, 1);
    CHECK_EQ(get_now(&queue), 1);
    CHECK_EQ(iora_queue_task_done(&queue), 0);
    CHECK_EQ(iora_queue_task_done(&queue), -EINVAL);
    done_with(&queue);
}

TEST_TASK(queue, items_handed_over_count_for_join_too)
{
    iora_go(get, &queue, "getter");
    let_all_run();
    put_now(&queue, 1);
    iora_go(join, &queue);
    let_all_run();
    CHECK_TRACE("getter:1");
    CHECK_EQ(iora_queue_task_done(&queue), 0);
    let_all_run();
    CHECK_TRACE("getter:1 joined:OK");
}

TEST_TASK(queue, items_of_waiting_putters_count_once_they_are_put)
{
    put_now(&queue_of_two, 1);
    put_now(&queue_of_two, 2);
    iora_go(put, &queue_of_two, 3);
    let_all_run();
    for (int i = 1; i <= 3; i++) {
        CHECK_EQ(get_now(&queue_of_two), i);
        CHECK_EQ(iora_queue_task_done(&queue_of_two), 0);
    }
    CHECK_EQ(iora_queue_task_done(&queue_of_two), -EINVAL);
    CHECK_EQ(iora_queue_join(&queue_of_two), 0);
    done_with(&queue_of_two);
}

TEST_TASK(queue, cancelled_join_leaves_the_others_waiting)
{
    iora_task first;

    put_now(&queue, 1);
    first = iora_go(join, &queue);
    iora_go(join, &queue);
    let_all_run();
    CHECK_EQ(iora_cancel(first), 0);
    let_all_run();
    CHECK_TRACE("joined:ECANCELED");
    CHECK_EQ(get_now(&queue), 1);
    CHECK_EQ(iora_queue_task_done(&queue), 0);
    let_all_run();
    CHECK_TRACE("joined:ECANCELED joined:OK");
    done_with(&queue);
}

/* ---- shutdown -------------------------------------------------------------------------------- */

TEST_TASK(queue, shut_down_gives_what_it_has_and_takes_nothing)
{
    put_now(&queue, 1);
    put_now(&queue, 2);
    iora_queue_shutdown(&queue, false);
    CHECK_EQ(iora_queue_put(&queue, &(int){3}), IORA_E_SHUTDOWN);
    CHECK_EQ(iora_queue_put_nowait(&queue, &(int){3}), IORA_E_SHUTDOWN);
    CHECK_EQ(get(&queue, "main"), 0);
    CHECK_EQ(get_now(&queue), 2);
    CHECK_EQ(get(&queue, "main"), 0);
    CHECK_EQ(iora_queue_get_nowait(&queue, &(int){0}), IORA_E_SHUTDOWN);
    CHECK_TRACE("main:1 main:IORA_E_SHUTDOWN");
    done_with(&queue);
}

TEST_TASK(queue, shutdown_ends_the_waiting_of_getters)
{
    iora_go(get, &queue, "a");
    iora_go(get, &queue, "b");
    let_all_run();
    iora_queue_shutdown(&queue, false);
    iora_queue_shutdown(&queue, false);
    let_all_run();
    CHECK_TRACE("a:IORA_E_SHUTDOWN b:IORA_E_SHUTDOWN");
}

TEST_TASK(queue, shutdown_ends_the_waiting_of_putters_and_keeps_the_items)
{
    put_now(&queue_of_two, 1);
    put_now(&queue_of_two, 2);
    iora_go(put, &queue_of_two, 3);
    let_all_run();
    iora_queue_shutdown(&queue_of_two, false);
    let_all_run();
    CHECK_TRACE("put3:IORA_E_SHUTDOWN");
    CHECK_EQ(get_now(&queue_of_two), 1);
    CHECK_EQ(get_now(&queue_of_two), 2);
    CHECK_EQ(iora_queue_get_nowait(&queue_of_two, &(int){0}), IORA_E_SHUTDOWN);
    done_with(&queue_of_two);
}

TEST_TASK(queue, shutdown_leaves_join_waiting_for_what_was_put)
{
    put_now(&queue, 1);
    iora_go(join, &queue);
    let_all_run();
    iora_queue_shutdown(&queue, false);
    let_all_run();
    CHECK_TRACE("");
    CHECK_EQ(get_now(&queue), 1);
    CHECK_EQ(iora_queue_task_done(&queue), 0);
    let_all_run();
    CHECK_TRACE("joined:OK");
    done_with(&queue);
}

TEST_TASK(queue, shut_down_immediately_drops_its_items_and_ends_join)
{
    put_now(&queue_of_two, 1);
    put_now(&queue_of_two, 2);
    iora_go(put, &queue_of_two, 3);
    iora_go(join, &queue_of_two);
    let_all_run();
    iora_queue_shutdown(&queue_of_two, true);
    CHECK(iora_queue_is_empty(&queue_of_two));
    CHECK_EQ(iora_queue_get_nowait(&queue_of_two, &(int){0}), IORA_E_SHUTDOWN);
    let_all_run();
    CHECK_TRACE("joined:OK put3:IORA_E_SHUTDOWN");
    CHECK_EQ(iora_queue_task_done(&queue_of_two), -EINVAL);
    done_with(&queue_of_two);
}

TEST_TASK(queue, shut_down_immediately_still_waits_for_what_was_taken)
{
    put_now(&queue, 1);
    put_now(&queue, 2);
    CHECK_EQ(get_now(&queue), 1);
    iora_go(join, &queue);
    let_all_run();
    iora_queue_shutdown(&queue, true);
    let_all_run();
    CHECK_TRACE("");
    CHECK_EQ(iora_queue_task_done(&queue), 0);
    let_all_run();
    CHECK_TRACE("joined:OK");
    done_with(&queue);
}

TEST_TASK(queue, shut_down_again_immediately_drops_the_rest)
{
    put_now(&queue, 1);
    iora_queue_shutdown(&queue, false);
    CHECK_EQ(iora_queue_size(&queue), 1);
    iora_queue_shutdown(&queue, true);
    CHECK(iora_queue_is_empty(&queue));
    CHECK_EQ(iora_queue_join(&queue), 0);
    done_with(&queue);
}

/* ---- memory ---------------------------------------------------------------------------------- */

TEST_TASK(queue, destroy_refuses_while_somebody_waits)
{
    iora_task waiter = iora_go(get, &queue_of_two, "getter");

    let_all_run();
    CHECK_EQ(iora_queue_destroy(&queue_of_two), -EBUSY);
    CHECK_EQ(iora_cancel(waiter), 0);
    CHECK_EQ(iora_await(waiter), 0);

    put_now(&queue_of_two, 1);
    put_now(&queue_of_two, 2);
    waiter = iora_go(put, &queue_of_two, 3);
    let_all_run();
    CHECK_EQ(iora_queue_destroy(&queue_of_two), -EBUSY);
    CHECK_EQ(get_now(&queue_of_two), 1);
    CHECK_EQ(iora_await(waiter), 0);

    waiter = iora_go(join, &queue_of_two);
    let_all_run();
    CHECK_EQ(iora_queue_destroy(&queue_of_two), -EBUSY);
    CHECK_EQ(iora_queue_size(&queue_of_two), 2); /* nothing was done */
    CHECK_EQ(iora_cancel(waiter), 0);
    CHECK_EQ(iora_await(waiter), 0);
    done_with(&queue_of_two);
}

TEST_TASK(queue, destroyed_one_is_empty_and_usable)
{
    put_now(&queue, 1);
    done_with(&queue);
    done_with(&queue);
    CHECK(iora_queue_is_empty(&queue));
    CHECK_EQ(iora_queue_join(&queue), 0);
    put_now(&queue, 2);
    CHECK_EQ(get_now(&queue), 2);
    done_with(&queue);
}

TEST_TASK(queue, put_without_memory_says_so_and_loses_nothing)
{
    iora_queue *const kinds[] = {&queue, &stack};

    for (int kind = 0; kind < 2; kind++) {
        int stored = 0;

        iora__seam_arm_allocation(3, true);
        while (iora_queue_put(kinds[kind], &stored) == 0)
            stored++;
        CHECK_EQ(iora_queue_put_nowait(kinds[kind], &stored), -ENOMEM);
        (void)iora__seam_disarm();
        CHECK_EQ(iora_queue_size(kinds[kind]), stored);
        put_now(kinds[kind], stored);
        for (int i = 0; i <= stored; i++)
            CHECK_EQ(get_now(kinds[kind]), kind == 0 ? i : stored - i);
        for (int i = 0; i <= stored; i++)
            CHECK_EQ(iora_queue_task_done(kinds[kind]), 0);
        CHECK_EQ(iora_queue_task_done(kinds[kind]), -EINVAL);
        done_with(kinds[kind]);
    }
}

TEST(queue, priority_without_memory_says_so_and_loses_nothing)
{
    struct job job = {100, 0};
    int stored = 0;

    iora__seam_arm_allocation(3, true);
    for (; iora_queue_put_nowait(&jobs, &job) == 0; stored++)
        job.urgency--;
    (void)iora__seam_disarm();
    CHECK(stored > 0);
    CHECK_EQ(iora_queue_size(&jobs), stored);
    for (int i = 0; i < stored; i++)
        CHECK_EQ(get_job(&jobs).urgency, 100 - stored + 1 + i);
    done_with(&jobs);
}

TEST_TASK(queue, waiting_and_handing_over_need_no_memory)
{
    iora_go(get, &queue_of_two, "getter");
    put_now(&queue_of_two, 1); /* its memory comes */
    put_now(&queue_of_two, 2);
    iora_go(put, &queue_of_two, 3);
    CHECK_EQ(iora_yield(), 0);
    iora__seam_arm_allocation(1, true);
    let_all_run();
    CHECK_EQ(get_now(&queue_of_two), 2);
    CHECK_EQ(get_now(&queue_of_two), 3);
    put_now(&queue_of_two, 4);
    CHECK_EQ(iora__seam_disarm().allocations, 0);
    CHECK_TRACE("getter:1 put3");
    done_with(&queue_of_two);
}

/* ---- channel --------------------------------------------------------------------------------- */

static iora_channel channel = IORA_CHANNEL_INIT(sizeof(int));

static int
send(int item)
{
    const int rc = iora_channel_send(&channel, &item);

    if (rc == 0)
        test_trace("sent%d", item);
    else
        test_trace("send%d:%s", item, iora_err_name(rc));
    return 0;
}
IORA_ASYNC(send, int);

static int
receive(const char *name)
{
    int item = -1;
    const int rc = iora_channel_receive(&channel, &item);

    if (rc == 0)
        test_trace("%s:%d", name, item);
    else
        test_trace("%s:%s", name, iora_err_name(rc));
    CHECK(rc == 0 || item == -1);
    return 0;
}
IORA_ASYNC(receive, const char *);

TEST_TASK(channel, send_waits_for_a_receiver)
{
    iora_go(send, 1);
    let_all_run();
    CHECK_TRACE("");
    CHECK_EQ(receive("main"), 0);
    let_all_run();
    CHECK_TRACE("main:1 sent1");
}

TEST_TASK(channel, receive_waits_for_a_sender)
{
    iora_go(receive, "a");
    let_all_run();
    CHECK_EQ(send(1), 0);
    CHECK_TRACE("sent1"); /* who comes second does not suspend */
    let_all_run();
    CHECK_TRACE("sent1 a:1");
}

TEST_TASK(channel, both_sides_are_served_in_the_order_of_waiting)
{
    iora_go(send, 1);
    iora_go(send, 2);
    iora_go(send, 3);
    let_all_run();
    for (int i = 0; i < 3; i++)
        CHECK_EQ(receive("main"), 0);
    let_all_run();
    CHECK_TRACE("main:1 main:2 main:3 sent1 sent2 sent3");
    iora_go(receive, "a");
    iora_go(receive, "b");
    let_all_run();
    CHECK_EQ(send(4), 0);
    CHECK_EQ(send(5), 0);
    let_all_run();
    CHECK_TRACE("main:1 main:2 main:3 sent1 sent2 sent3 sent4 sent5 a:4 b:5");
}

TEST_TASK(channel, nowait_works_if_the_other_side_waits)
{
    int item = 1;

    CHECK_EQ(iora_channel_send_nowait(&channel, &item), -EAGAIN);
    CHECK_EQ(iora_channel_receive_nowait(&channel, &item), -EAGAIN);
    iora_go(receive, "a");
    let_all_run();
    CHECK_EQ(CANCELLED(iora_channel_send_nowait(&channel, &item)), 0);
    CHECK_EQ(iora_channel_send_nowait(&channel, &item), -EAGAIN);
    iora_go(send, 2);
    let_all_run();
    CHECK_EQ(CANCELLED(iora_channel_receive_nowait(&channel, &item)), 0);
    CHECK_EQ(item, 2);
    let_all_run();
    CHECK_TRACE("a:1 sent2");
}

TEST_TASK(channel, cancelled_sender_has_not_sent_and_cancelled_receiver_has_not_received)
{
    iora_task a = iora_go(send, 1);

    iora_go(send, 2);
    let_all_run();
    CHECK_EQ(iora_cancel(a), 0);
    CHECK_EQ(receive("main"), 0);
    let_all_run();
    CHECK_TRACE("main:2 send1:ECANCELED sent2");
    a = iora_go(receive, "a");
    iora_go(receive, "b");
    let_all_run();
    CHECK_EQ(iora_cancel(a), 0);
    CHECK_EQ(send(3), 0);
    let_all_run();
    CHECK_TRACE("main:2 send1:ECANCELED sent2 sent3 a:ECANCELED b:3");
}

TEST_TASK(channel, cancel_after_they_met_undoes_nothing)
{
    iora_task a = iora_go(receive, "a");

    let_all_run();
    CHECK_EQ(send(1), 0);
    CHECK_EQ(iora_cancel(a), 0);
    let_all_run();
    CHECK_TRACE("sent1 a:1");
}

TEST_TASK(channel, close_ends_all_that_wait_and_all_that_come)
{
    iora_channel other = IORA_CHANNEL_INIT(sizeof(int));
    int item = 1;

    iora_go(send, 1);
    iora_go(send, 2);
    let_all_run();
    iora_channel_close(&channel);
    iora_channel_close(&channel);
    let_all_run();
    CHECK_TRACE("send1:IORA_E_CLOSED send2:IORA_E_CLOSED");
    CHECK_EQ(iora_channel_send(&channel, &item), IORA_E_CLOSED);
    CHECK_EQ(iora_channel_receive(&channel, &item), IORA_E_CLOSED);
    CHECK_EQ(iora_channel_send_nowait(&channel, &item), IORA_E_CLOSED);
    CHECK_EQ(iora_channel_receive_nowait(&channel, &item), IORA_E_CLOSED);
    iora_channel_close(&other);
    CHECK_EQ(iora_channel_receive(&other, &item), IORA_E_CLOSED);
}

TEST_TASK(channel, close_ends_receivers_too)
{
    iora_go(receive, "a");
    let_all_run();
    iora_channel_close(&channel);
    let_all_run();
    CHECK_TRACE("a:IORA_E_CLOSED");
}

TEST_TASK(channel, calls_in_a_cancelled_scope_do_nothing)
{
    int item = 7;

    iora_go(send, 1);
    let_all_run();
    CHECK_EQ(CANCELLED(iora_channel_receive(&channel, &item)), -ECANCELED);
    CHECK_EQ(item, 7);
    CHECK_EQ(receive("main"), 0);
    iora_go(receive, "a");
    let_all_run();
    CHECK_EQ(CANCELLED(iora_channel_send(&channel, &item)), -ECANCELED);
    CHECK_EQ(send(2), 0);
    let_all_run();
    CHECK_TRACE("main:1 sent1 sent2 a:2");
}

static int
receive_sized(iora_channel *from, size_t size, int seed)
{
    unsigned char item[BIGGEST + 1];

    memset(item, 0xee, sizeof item);
    CHECK_EQ(iora_channel_receive(from, item), 0);
    check_filled(item, size, seed);
    return 0;
}
IORA_ASYNC(receive_sized, iora_channel *, size_t, int);

static int
send_sized(iora_channel *to, size_t size, int seed)
{
    unsigned char item[BIGGEST];

    fill(item, size, seed);
    return iora_channel_send(to, item);
}
IORA_ASYNC(send_sized, iora_channel *, size_t, int);

TEST_TASK(channel, items_of_any_size_arrive_whole)
{
    static const size_t sizes[] = {0, 1, 8, 24, BIGGEST};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        iora_channel sized = IORA_CHANNEL_INIT(sizes[i]);

        iora_go(send_sized, &sized, sizes[i], 1);
        let_all_run();
        CHECK_EQ(receive_sized(&sized, sizes[i], 1), 0);
        iora_go(receive_sized, &sized, sizes[i], 2);
        let_all_run();
        CHECK_EQ(send_sized(&sized, sizes[i], 2), 0);
        let_all_run();
    }
}

TEST_TASK(channel, signals_of_no_size_need_no_address)
{
    iora_channel signals = {0};

    iora_go(send_sized, &signals, (size_t)0, 0);
    let_all_run();
    CHECK_EQ(iora_channel_receive(&signals, NULL), 0);
    CHECK_EQ(iora_channel_send_nowait(&signals, NULL), -EAGAIN);
}

static int
channel_send(void)
{
    return iora_channel_send(&channel, &(int){1});
}

static int
channel_receive(void)
{
    return iora_channel_receive(&channel, &(int){1});
}

TEST(channel, send_and_receive_need_a_task)
{
    check_needs_a_task(channel_send);
    check_needs_a_task(channel_receive);
}

/* ---- at random ------------------------------------------------------------------------------- */

TEST(queue, does_as_its_model_at_random)
{
    RUN_SEEDS(3000, try_queue);
}

/* ---- at random: deadlines -------------------------------------------------------------------- */

/* Without a model: what was put comes out once, what was not does not. */

enum { VALUES_MAX = WORKERS_MAX * OPERATIONS + 1 };

static struct {
    iora_queue queue;
    int last_value;
    bool was_put[VALUES_MAX];
    int times_got[VALUES_MAX];
} traffic;

static void
put_with_deadline(void)
{
    const struct item item = make_item(++traffic.last_value);
    const int rc = iora_wait_for(iora_queue_put(&traffic.queue, &item), iora_ms(below(4)));

    MUST(rc == 0 || rc == -ETIMEDOUT);
    traffic.was_put[item.value] = rc == 0;
}

static void
get_with_deadline(void)
{
    struct item item = {0, 0};
    const int rc = iora_wait_for(iora_queue_get(&traffic.queue, &item), iora_ms(below(4)));

    MUST(rc == 0 || (rc == -ETIMEDOUT && item.value == 0));
    if (rc == 0)
        traffic.times_got[item.value]++;
}

static int
put_or_get(struct worker *worker)
{
    for (int i = 0; i < OPERATIONS; i++) {
        if (one_in(4))
            MUST_EQ(iora_sleep(iora_ms(below(3))), 0);
        else if (worker->index % 2 == 0)
            put_with_deadline();
        else
            get_with_deadline();
    }
    chance.workers_live--;
    return 0;
}
IORA_ASYNC(put_or_get, struct worker *);

static int
try_traffic(void)
{
    struct item item;

    memset(&traffic, 0, sizeof traffic);
    traffic.queue = (iora_queue)IORA__QUEUE_INIT((uint8_t)below(3), sizeof(struct item),
                                                 (size_t)below(3), compare_items);
    RUN_WORKERS(put_or_get, leave_queue);
    while (iora_queue_get_nowait(&traffic.queue, &item) == 0)
        traffic.times_got[item.value]++;
    for (int value = 1; value <= traffic.last_value; value++)
        MUST_EQ(traffic.times_got[value], traffic.was_put[value]);
    MUST_EQ(iora_queue_destroy(&traffic.queue), 0);
    return 0;
}
IORA_ASYNC(try_traffic);

TEST(queue, loses_and_doubles_nothing_at_deadlines)
{
    RUN_SEEDS(2000, try_traffic);
}
