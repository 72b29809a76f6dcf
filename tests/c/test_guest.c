/* tests/c/test_guest.c -- an embedder that brings its own ready queue and rules about blocking. */
#include "test.h"

#include "core/loop.h"

struct own_queue {
    int ready;
    int drained;
    int blocked;
    bool inside;
};

static void
drain_own(iora_loop *loop, void *arg)
{
    struct own_queue *const queue = arg;

    (void)loop;
    CHECK(!queue->inside);
    queue->drained += queue->ready;
    queue->ready = 0;
}

static bool
own_is_ready(iora_loop *loop, void *arg)
{
    (void)loop;
    return ((const struct own_queue *)arg)->ready > 0;
}

static void
before_block(iora_loop *loop, void *arg)
{
    struct own_queue *const queue = arg;

    (void)loop;
    queue->inside = true;
}

static void
after_block(iora_loop *loop, void *arg)
{
    struct own_queue *const queue = arg;

    (void)loop;
    queue->inside = false;
    queue->blocked++;
}

static void
add_one(struct iora__timer *timer)
{
    (void)timer;
    test_trace("due");
}

TEST_EVERYWHERE(guest, drains_its_own_queue_and_is_told_of_polls_that_block)
{
    struct own_queue queue = {.ready = 2};
    const struct iora__guest guest = {drain_own, own_is_ready, before_block, after_block, &queue};
    iora_loop *const loop = test_loop();
    struct iora__timer timer = {._fire = add_one};

    loop->guest = &guest;
    /* Something is ready: the poll does not block, and nobody is told. */
    CHECK_EQ(iora_loop_run_once(loop, IORA_FOREVER), 0);
    CHECK_EQ(queue.drained, 2);
    CHECK_EQ(queue.blocked, 0);
    /* Nothing is: the loop sleeps until the timer. */
    iora__loop_timer_set(loop, &timer, iora__loop_now_ns(loop) + 1000000);
    while (iora__timer_is_set(&timer))
        CHECK_EQ(iora_loop_run_once(loop, IORA_FOREVER), 0);
    CHECK(queue.blocked >= 1);
    CHECK_TRACE("due");
    /* What is ready shows outside, too. */
    queue.ready = 1;
    CHECK_EQ(iora_to_ns(iora_loop_timeout(loop)), 0);
    CHECK_EQ(iora_loop_run_once(loop, iora_ns(0)), 0);
    CHECK_EQ(queue.drained, 3);
    loop->guest = NULL;
}
