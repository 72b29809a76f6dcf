/* tests/fault/scenarios_select.c -- select over mixtures: one thing happens, and the others have not. */
#include "fault.h"

#include <fcntl.h>
#include <unistd.h>

enum { ITEMS = 4 };

static iora_queue queue = IORA_QUEUE_INIT(sizeof(int), 2);
static iora_channel channel = IORA_CHANNEL_INIT(sizeof(int));
static iora_semaphore semaphore = IORA_BOUNDED_SEMAPHORE_INIT(1);
static iora_lock lock;
static iora_event event, never;
static iora_future future;

/* How often each thing happened: to who gave it, and to who selected it. */
static int given[8], selected[8];

static int
gives(int what)
{
    IN_TASK;

    for (int i = 0; i < ITEMS; i++) {
        const int rc = EXPECT_UNLESS_CANCELLED(what == 0   ? iora_queue_put(&queue, &i)
                                               : what == 1 ? iora_channel_send(&channel, &i)
                                                           : iora_yield(),
                                               0);

        if (rc < 0)
            return rc;
        given[what]++;
    }
    return 0;
}
IORA_ASYNC(gives, int);

/* Keeps lock and permit from the others for a while. */
static int
holds(void)
{
    IN_TASK;
    int rc = 0;

    for (int i = 0; i < 3 && rc == 0; i++) {
        if ((rc = EXPECT_UNLESS_CANCELLED(iora_lock_acquire(&lock), 0)) < 0)
            return rc;
        rc = EXPECT_UNLESS_CANCELLED(iora_semaphore_acquire(&semaphore), 0);
        (void)iora_yield();
        if (rc == 0)
            CHECK_EQ(iora_semaphore_release(&semaphore), 0);
        CHECK_EQ(iora_lock_release(&lock), 0);
    }
    return rc;
}
IORA_ASYNC(holds);

static int
ends_when_all_have(const iora_task *tasks, size_t n)
{
    IN_TASK;

    return EXPECT_UNLESS_CANCELLED(iora_gather_n(tasks, n), 0, -ESRCH);
}
IORA_ASYNC(ends_when_all_have, const iora_task *, size_t);

/* Take whatever comes until all who give have ended. */
static int
selects(void)
{
    static iora_task givers[4];
    iora_task supervisor;
    int item = -1, rc = 1;

    for (int i = 0; i < 3; i++)
        givers[i] = SPAWN(iora_go(gives, i));
    givers[3] = SPAWN(iora_go(holds));
    supervisor = SPAWN(iora_go(ends_when_all_have, givers, 4));
    while (rc > 0) {
        iora_clause clauses[] = {
            iora_on_task(supervisor),    iora_on_event(&never),
            iora_on_get(&queue, &item),  iora_on_receive(&channel, &item),
            iora_on_acquire(&semaphore), iora_on_lock(&lock),
        };

        /* The last two can happen nearly always: only every second time. */
        rc = iora_select(clauses, (selected[2] + selected[3]) % 2 == 0 ? 6 : 4);
        if (EXPECT(rc < 0 ? rc : 0, 0) < 0)
            break;
        EXPECT(clauses[rc].rc, 0);
        selected[rc]++;
        if (rc == 4)
            CHECK_EQ(iora_semaphore_release(&semaphore), 0);
        if (rc == 5)
            CHECK_EQ(iora_lock_release(&lock), 0);
        if (rc >= 4 && EXPECT(iora_yield(), 0) < 0)
            break;
    }
    for (int i = 0; i < 4; i++)
        (void)iora_await(givers[i]);
    (void)iora_await(supervisor);
    return 0;
}
IORA_ASYNC(selects);

SCENARIO(select, mixture, ANYWHERE)
{
    int item;

    RUN(selects);
    while (iora_queue_get_nowait(&queue, &item) == 0)
        selected[2]++;
    CHECK_EQ(selected[2], given[0]);
    CHECK_EQ(selected[3], given[1]);
    CHECK_EQ(iora_semaphore_value(&semaphore), 1);
    CHECK(!iora_lock_is_locked(&lock));
    CHECK_EQ(iora_queue_destroy(&queue), 0);
    CHECK_EQ_UNARMED(given[0] + given[1] + given[2], 3 * ITEMS);
}

/* Both sides select: what one puts or sends the other gets or receives, the other way round as well. */
static int
trades(int which)
{
    IN_TASK;

    for (int i = 0; i < ITEMS; i++) {
        int in = -1;
        iora_clause clauses[] = {
            which == 0 ? iora_on_put(&queue, &i) : iora_on_get(&queue, &in),
            which == 0 ? iora_on_receive(&channel, &in) : iora_on_send(&channel, &i),
            iora_on_event(&event),
        };
        const int rc = iora_select(clauses, 3);

        if (EXPECT_UNLESS_CANCELLED(rc < 0 ? rc : 0, 0) < 0) {
            CHECK_EQ(in, -1);
            return rc;
        }
        if (rc == 2 || EXPECT(clauses[rc].rc, 0) < 0)
            break;
        given[which == 0 ? rc : 4 + rc]++;
    }
    return 0;
}
IORA_ASYNC(trades, int);

static int
lets_trade(void)
{
    const iora_task traders[] = {SPAWN(iora_go(trades, 0)), SPAWN(iora_go(trades, 1))};

    for (int i = 0; i < 8; i++)
        EXPECT(iora_yield(), 0);
    iora_event_set(&event);
    EXPECT(iora_gather_n(traders, 2), 0);
    return 0;
}
IORA_ASYNC(lets_trade);

SCENARIO(select, both_sides, ANYWHERE)
{
    int item;

    RUN(lets_trade);
    while (iora_queue_get_nowait(&queue, &item) == 0)
        given[4]++;
    CHECK_EQ(given[0], given[4]); /* put and got */
    CHECK_EQ(given[1], given[5]); /* received and sent */
    CHECK_EQ(iora_queue_destroy(&queue), 0);
}

/* ---- time and futures ----------------------------------------------------------------------------------- */

static int
sets_the_future(void)
{
    IN_TASK;

    (void)iora_sleep(iora_ms(7));
    CHECK_EQ(iora_future_set(&future, 5, &future), 0);
    return 0;
}
IORA_ASYNC(sets_the_future);

static int
selects_with_time(void)
{
    void *value = NULL;
    const iora_task setter = SPAWN(iora_go(sets_the_future));
    int rc;

    for (int i = 0; i < 3; i++) {
        iora_clause clauses[] = {
            iora_on_event(&never),
            iora_on_future(&future, &value),
            iora_on_sleep(iora_ms(5)),
            iora_on_sleep_until(iora_after(iora_now(), iora_ms(50))),
        };

        rc = iora_select(clauses, 4);
        if (EXPECT(rc < 0 ? rc : 0, 0) < 0)
            break;
        CHECK_EQ_UNARMED(rc, i == 0 ? 2 : 1);
        if (rc == 1)
            CHECK(value == &future && clauses[1].rc == 5);
    }
    EXPECT(iora_wait_for(iora_select((iora_clause[]){iora_on_event(&never)}, 1), iora_ms(1)),
           -ETIMEDOUT);
    return EXPECT(iora_await(setter), 0);
}
IORA_ASYNC(selects_with_time);

SCENARIO(select, with_time, SIM)
{
    RUN(selects_with_time);
}

/* ---- descriptors ------------------------------------------------------------------------------------------ */

static int pipes[2][2];

static int
writes(int which)
{
    IN_TASK;
    int rc = 0;

    for (int i = 0; i < 3 && rc == 0; i++) {
        rc = EXPECT_UNLESS_CANCELLED(iora_yield(), 0);
        CHECK_EQ(write(pipes[which][1], "x", 1), 1);
        given[which]++;
    }
    return rc;
}
IORA_ASYNC(writes, int);

static int
selects_pipes(void)
{
    static iora_task writers[2];
    iora_task supervisor;
    bool alone = false;

    for (int i = 0; i < 2; i++)
        writers[i] = SPAWN(iora_go(writes, i));
    supervisor = SPAWN(iora_go(ends_when_all_have, writers, 2));
    while (!alone) {
        char byte;
        iora_clause clauses[] = {
            iora_on_readable(pipes[0][0]), iora_on_readable(pipes[1][0]), iora_on_event(&never),
            iora_on_task(supervisor),      iora_on_readable(pipes[0][0]), /* the same once more */
        };
        const int rc = iora_select(clauses, 5);

        if (EXPECT(rc < 0 ? rc : 0, 0) < 0)
            break;
        if (rc != 3 && EXPECT(clauses[rc].rc, 0) == 0) {
            CHECK_EQ(read(pipes[rc % 4][0], &byte, 1), 1);
            selected[rc % 4]++;
        } else {
            alone = true;
        }
    }
    EXPECT(iora_select((iora_clause[]){iora_on_writable(pipes[0][1]), iora_on_event(&never)}, 2),
           0);
    EXPECT(iora_await(supervisor), -ESRCH, 0);
    return 0;
}
IORA_ASYNC(selects_pipes);

SCENARIO(select, descriptors, REAL | AMPLE)
{
    char bytes[8];

    for (int i = 0; i < 2; i++)
        CHECK_EQ(pipe2(pipes[i], O_CLOEXEC | O_NONBLOCK), 0);
    RUN(selects_pipes);
    for (int i = 0; i < 2; i++) {
        const ssize_t rest = read(pipes[i][0], bytes, sizeof bytes);

        CHECK_EQ(selected[i] + (rest > 0 ? rest : 0), given[i]);
        (void)close(pipes[i][0]);
        (void)close(pipes[i][1]);
    }
}
