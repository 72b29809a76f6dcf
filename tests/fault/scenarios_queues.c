/* tests/fault/scenarios_queues.c -- queues of each kind, and channels: no item is lost, none comes twice. */
#include "fault.h"

enum { ITEMS = 12, PRODUCERS = 2, CONSUMERS = 2 };

/* What became of each item: how often its put, and its get, said that it had happened. */
static int put[ITEMS], got[ITEMS];
static iora_queue *queue;

static int
produces(int first, int step)
{
    IN_TASK;

    for (int item = first; item < ITEMS; item += step) {
        const int rc = EXPECT_UNLESS_CANCELLED(iora_queue_put(queue, &item), 0, IORA_E_SHUTDOWN);

        if (rc < 0)
            return rc;
        put[item]++;
    }
    return 0;
}
IORA_ASYNC(produces, int, int);

static int
consumes(void)
{
    IN_TASK;

    for (;;) {
        int item = -1;
        const int rc = iora_queue_get(queue, &item);

        if (rc == IORA_E_SHUTDOWN)
            return 0;
        if (EXPECT_UNLESS_CANCELLED(rc, 0) < 0) {
            CHECK_EQ(item, -1);
            return rc;
        }
        got[item]++;
        (void)iora_yield();
        CHECK_EQ(iora_queue_task_done(queue), 0);
    }
}
IORA_ASYNC(consumes);

static void
take_the_rest(void)
{
    int item;

    while (iora_queue_get_nowait(queue, &item) == 0) {
        got[item]++;
        CHECK_EQ(iora_queue_task_done(queue), 0);
    }
    CHECK_EQ(iora_queue_task_done(queue), -EINVAL);
    CHECK_EQ(iora_queue_destroy(queue), 0);
    for (int i = 0; i < ITEMS; i++) {
        CHECK_EQ(got[i], put[i]);
        CHECK_EQ_UNARMED(got[i], 1);
    }
}

static int
uses_the_queue(bool joins)
{
    iora_task producers[PRODUCERS], consumers[CONSUMERS];
    bool consumed = true;
    int rc;

    for (int i = 0; i < CONSUMERS; i++) {
        consumers[i] = SPAWN(iora_go(consumes));
        consumed &= iora_task_is_valid(consumers[i]);
    }
    for (int i = 0; i < PRODUCERS; i++)
        producers[i] = SPAWN(iora_go(produces, i, PRODUCERS));
    if (!consumed) /* a full queue would keep the producers for ever */
        iora_queue_shutdown(queue, false);
    rc = EXPECT(iora_gather_n(producers, PRODUCERS), 0, IORA_E_SHUTDOWN);
    if (rc == 0 && joins)
        rc = EXPECT(iora_queue_join(queue), 0);
    iora_queue_shutdown(queue, false);
    EXPECT(iora_gather_n(consumers, CONSUMERS), 0);
    return 0;
}
IORA_ASYNC(uses_the_queue, bool);

SCENARIO(queues, fifo, ANYWHERE)
{
    static iora_queue fifo = IORA_QUEUE_INIT(sizeof(int), 3);

    queue = &fifo;
    RUN(uses_the_queue, true);
    take_the_rest();
}

SCENARIO(queues, lifo_without_bound, ANYWHERE)
{
    static iora_queue lifo = IORA_LIFO_QUEUE_INIT(sizeof(int), 0);

    queue = &lifo;
    RUN(uses_the_queue, false);
    take_the_rest();
}

static int
compare_ints(const void *a, const void *b)
{
    return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
}

SCENARIO(queues, priority, ANYWHERE)
{
    static iora_queue priority = IORA_PRIORITY_QUEUE_INIT(sizeof(int), 5, compare_ints);

    queue = &priority;
    RUN(uses_the_queue, true);
    take_the_rest();
}

/* Nobody takes anything until all is there; the store grows several times. */
static int
fills_and_empties(void)
{
    int item, before = -1, rc = 0;

    for (int i = 0; i < 40 && rc == 0; i++) {
        item = 39 - i;
        rc = EXPECT(iora_queue_put(queue, &item), 0);
    }
    CHECK_EQ_UNARMED(iora_queue_size(queue), 40);
    while (!iora_queue_is_empty(queue) && EXPECT(iora_queue_get(queue, &item), 0) == 0) {
        CHECK(item > before);
        before = item;
    }
    CHECK_EQ_UNARMED(before, 39);
    return 0;
}
IORA_ASYNC(fills_and_empties);

SCENARIO(queues, that_grow, ANYWHERE)
{
    static iora_queue priority = IORA_PRIORITY_QUEUE_INIT(sizeof(int), 0, compare_ints);

    queue = &priority;
    RUN(fills_and_empties);
    CHECK_EQ(iora_queue_destroy(queue), 0);
}

/* ---- ends ------------------------------------------------------------------------------------------- */

static int
puts_until_shutdown(void)
{
    IN_TASK;
    int item = 0, rc;

    while ((rc = iora_queue_put(queue, &item)) == 0)
        put[0]++;
    return rc == IORA_E_SHUTDOWN ? 0 : EXPECT(rc, 0);
}
IORA_ASYNC(puts_until_shutdown);

static int
joins(void)
{
    IN_TASK;

    return EXPECT(iora_queue_join(queue), 0);
}
IORA_ASYNC(joins);

static int
shuts_down(void)
{
    iora_task putters[2], joiner;
    int item;

    for (int i = 0; i < 2; i++)
        putters[i] = SPAWN(iora_go(puts_until_shutdown));
    joiner = SPAWN(iora_go(joins));
    EXPECT(iora_yield(), 0);
    if (EXPECT(iora_queue_get_nowait(queue, &item), 0, -EAGAIN) == 0)
        CHECK_EQ(iora_queue_task_done(queue), 0);
    iora_queue_shutdown(queue, true);
    EXPECT(iora_gather(putters[0], putters[1], joiner), 0);
    CHECK(iora_queue_is_empty(queue));
    return 0;
}
IORA_ASYNC(shuts_down);

SCENARIO(queues, shut_down_at_once, ANYWHERE)
{
    static iora_queue fifo = IORA_QUEUE_INIT(sizeof(int), 2);

    queue = &fifo;
    RUN(shuts_down);
    CHECK_EQ(iora_queue_destroy(queue), 0);
}

/* ---- channels ------------------------------------------------------------------------------------------ */

static iora_channel channel = IORA_CHANNEL_INIT(sizeof(int));

static int
sends(int first, int step)
{
    IN_TASK;

    for (int item = first; item < ITEMS; item += step) {
        const int rc =
            EXPECT_UNLESS_CANCELLED(iora_channel_send(&channel, &item), 0, IORA_E_CLOSED);

        if (rc < 0)
            return rc;
        put[item]++;
    }
    return 0;
}
IORA_ASYNC(sends, int, int);

static int
receives(void)
{
    IN_TASK;

    for (;;) {
        int item = -1;
        const int rc = iora_channel_receive(&channel, &item);

        if (rc == IORA_E_CLOSED)
            return 0;
        if (EXPECT_UNLESS_CANCELLED(rc, 0) < 0) {
            CHECK_EQ(item, -1);
            return rc;
        }
        got[item]++;
    }
}
IORA_ASYNC(receives);

static int
uses_the_channel(void)
{
    iora_task senders[PRODUCERS], receivers[CONSUMERS];
    bool received = true;

    for (int i = 0; i < CONSUMERS; i++) {
        receivers[i] = SPAWN(iora_go(receives));
        received &= iora_task_is_valid(receivers[i]);
    }
    for (int i = 0; i < PRODUCERS; i++)
        senders[i] = SPAWN(iora_go(sends, i, PRODUCERS));
    if (!received)
        iora_channel_close(&channel);
    EXPECT(iora_gather_n(senders, PRODUCERS), 0, IORA_E_CLOSED);
    iora_channel_close(&channel);
    EXPECT(iora_gather_n(receivers, CONSUMERS), 0);
    return 0;
}
IORA_ASYNC(uses_the_channel);

SCENARIO(queues, channel, ANYWHERE)
{
    int item = 0;

    RUN(uses_the_channel);
    for (int i = 0; i < ITEMS; i++) {
        CHECK_EQ(got[i], put[i]);
        CHECK_EQ_UNARMED(got[i], 1);
    }
    iora_channel_close(&channel);
    CHECK_EQ(iora_channel_send_nowait(&channel, &item), IORA_E_CLOSED);
    CHECK_EQ(iora_channel_receive_nowait(&channel, &item), IORA_E_CLOSED);
}

/* Two that answer each other, so that each switch goes straight to the other. */
static iora_channel there = IORA_CHANNEL_INIT(sizeof(int)), back = IORA_CHANNEL_INIT(sizeof(int));

static int
answers(void)
{
    IN_TASK;
    int x, rc;

    while ((rc = iora_channel_receive(&there, &x)) == 0) {
        x++;
        if ((rc = iora_channel_send(&back, &x)) < 0)
            break;
    }
    iora_channel_close(&there);
    iora_channel_close(&back);
    return rc == IORA_E_CLOSED ? 0 : EXPECT(rc, 0);
}
IORA_ASYNC(answers);

static int
asks(void)
{
    const iora_task other = SPAWN(iora_go(answers));
    int rc = iora_task_error(other);

    for (int x = 0; x < 10 && rc == 0;) {
        const int before = x;

        if ((rc = EXPECT(iora_channel_send(&there, &x), 0, IORA_E_CLOSED)) == 0 &&
            (rc = EXPECT(iora_channel_receive(&back, &x), 0, IORA_E_CLOSED)) == 0)
            CHECK_EQ(x, before + 1);
        else
            CHECK_EQ(x, before);
    }
    iora_channel_close(&there);
    iora_channel_close(&back);
    return EXPECT(iora_await(other), 0);
}
IORA_ASYNC(asks);

SCENARIO(queues, channels_there_and_back, ANYWHERE)
{
    RUN(asks);
}
