/* tests/fault/scenarios_sync.c -- lock, condition, semaphore, barrier, event: no permit is lost, no lock kept. */
#include "fault.h"

enum { TASKS = 3, ROUNDS = 3 };

/* ---- lock --------------------------------------------------------------------------------------------- */

static iora_lock lock;
static int inside, taken;

static int
takes_turns(void)
{
    IN_TASK;
    int rc = 0;

    for (int i = 0; i < ROUNDS && rc == 0; i++) {
        if ((rc = EXPECT_UNLESS_CANCELLED(iora_lock_acquire(&lock), 0)) < 0)
            return rc;
        CHECK_EQ(++inside, 1);
        taken++;
        CHECK_EQ(iora_lock_acquire_nowait(&lock), -EDEADLK);
        rc = EXPECT_UNLESS_CANCELLED(iora_yield(), 0);
        inside--;
        CHECK_EQ(iora_lock_release(&lock), 0);
    }
    CHECK_EQ(iora_lock_release(&lock), -EPERM);
    return rc;
}
IORA_ASYNC(takes_turns);

static int
has_all_take_turns(void)
{
    iora_task tasks[TASKS];

    for (int i = 0; i < TASKS; i++)
        tasks[i] = SPAWN(iora_go(takes_turns));
    return EXPECT(iora_gather_n(tasks, TASKS), 0);
}
IORA_ASYNC(has_all_take_turns);

SCENARIO(sync, lock, ANYWHERE)
{
    RUN(has_all_take_turns);
    CHECK(!iora_lock_is_locked(&lock));
    CHECK_EQ_UNARMED(taken, TASKS * ROUNDS);
}

/* ---- condition ------------------------------------------------------------------------------------------ */

static iora_condition condition;
static int stock, sold;
static bool sold_out;

static int
makes(int count)
{
    IN_TASK;
    int rc = 0;

    while (count-- > 0 && rc == 0) {
        if ((rc = EXPECT_UNLESS_CANCELLED(iora_lock_acquire(&lock), 0)) < 0)
            return rc;
        stock++;
        (void)iora_condition_notify(&condition, 1);
        CHECK_EQ(iora_lock_release(&lock), 0);
        rc = EXPECT_UNLESS_CANCELLED(iora_yield(), 0);
    }
    return rc;
}
IORA_ASYNC(makes, int);

/* Who takes no notification with him leaves it to the next: nobody waits while there is stock and nobody who
 * was told of it. */
static int
buys(void)
{
    IN_TASK;
    int rc = EXPECT_UNLESS_CANCELLED(iora_lock_acquire(&lock), 0);

    if (rc < 0)
        return rc;
    while (rc == 0 && !(sold_out && stock == 0)) {
        while (stock > 0) {
            stock--;
            sold++;
        }
        if (!sold_out)
            rc = EXPECT_UNLESS_CANCELLED(iora_condition_wait(&condition, &lock), 0);
        CHECK_EQ(iora_lock_acquire_nowait(&lock), -EDEADLK); /* it is ours, cancelled or not */
    }
    CHECK_EQ(iora_lock_release(&lock), 0);
    return rc;
}
IORA_ASYNC(buys);

static int
keeps_shop(void)
{
    const iora_task makers[] = {SPAWN(iora_go(makes, 3)), SPAWN(iora_go(makes, 2))};
    const iora_task buyers[] = {SPAWN(iora_go(buys)), SPAWN(iora_go(buys))};

    EXPECT(iora_gather_n(makers, 2), 0);
    if (EXPECT(iora_lock_acquire(&lock), 0) == 0) {
        sold_out = true;
        (void)iora_condition_notify_all(&condition);
        CHECK_EQ(iora_lock_release(&lock), 0);
    }
    EXPECT(iora_gather_n(buyers, 2), 0);
    EXPECT(iora_condition_wait(&condition, &lock), -EPERM);
    return 0;
}
IORA_ASYNC(keeps_shop);

SCENARIO(sync, condition, ANYWHERE)
{
    RUN(keeps_shop);
    CHECK(!iora_lock_is_locked(&lock));
    CHECK_EQ(iora_condition_notify_all(&condition), 0);
    CHECK_EQ_UNARMED(sold, 5);
}

/* ---- semaphore ------------------------------------------------------------------------------------------- */

static iora_semaphore semaphore = IORA_BOUNDED_SEMAPHORE_INIT(2);

static int
borrows(void)
{
    IN_TASK;
    int rc = 0;

    for (int i = 0; i < ROUNDS && rc == 0; i++) {
        rc = i == 1 ? iora_semaphore_acquire_nowait(&semaphore) : -EAGAIN;
        if (rc == -EAGAIN)
            rc = EXPECT_UNLESS_CANCELLED(iora_semaphore_acquire(&semaphore), 0);
        if (rc < 0)
            return rc;
        CHECK(++inside <= 2);
        taken++;
        rc = EXPECT_UNLESS_CANCELLED(iora_yield(), 0);
        inside--;
        CHECK_EQ(iora_semaphore_release(&semaphore), 0);
    }
    return rc;
}
IORA_ASYNC(borrows);

static int
lends(void)
{
    iora_task tasks[5];

    for (int i = 0; i < 5; i++)
        tasks[i] = SPAWN(iora_go(borrows));
    return EXPECT(iora_gather_n(tasks, 5), 0);
}
IORA_ASYNC(lends);

SCENARIO(sync, semaphore, ANYWHERE)
{
    RUN(lends);
    CHECK_EQ(iora_semaphore_value(&semaphore), 2);
    CHECK_EQ(iora_semaphore_release(&semaphore), -EOVERFLOW);
    CHECK_EQ_UNARMED(taken, 15);
}

/* ---- barrier ------------------------------------------------------------------------------------------------ */

static iora_barrier barrier = IORA_BARRIER_INIT(TASKS);
static int arrivals[ROUNDS];

static int
meets(void)
{
    IN_TASK;

    for (int round = 0; round < ROUNDS; round++) {
        const int order = iora_barrier_wait(&barrier);

        if (order < 0) {
            iora_barrier_abort(&barrier); /* the others would wait for ever */
            return EXPECT_UNLESS_CANCELLED(order, 0, IORA_E_BROKEN);
        }
        CHECK(order < TASKS);
        arrivals[round] |= 1 << order;
    }
    return 0;
}
IORA_ASYNC(meets);

static int
has_all_meet(void)
{
    iora_task tasks[TASKS];

    for (int i = 0; i < TASKS; i++) {
        tasks[i] = SPAWN(iora_go(meets));
        if (!iora_task_is_valid(tasks[i]))
            iora_barrier_abort(&barrier);
    }
    EXPECT(iora_gather_n(tasks, TASKS), 0, IORA_E_BROKEN);
    CHECK_EQ(iora_barrier_waiting(&barrier), 0);
    iora_barrier_reset(&barrier);
    CHECK(!iora_barrier_is_broken(&barrier));
    return 0;
}
IORA_ASYNC(has_all_meet);

SCENARIO(sync, barrier, ANYWHERE)
{
    RUN(has_all_meet);
    for (int i = 0; i < ROUNDS; i++)
        CHECK_EQ_UNARMED(arrivals[i], (1 << TASKS) - 1);
}

/* One leaves, another takes its place, and the others notice nothing. */
static int
has_one_leave(void)
{
    iora_task tasks[TASKS];
    bool all = true;

    for (int i = 0; i < TASKS - 1; i++)
        tasks[i] = SPAWN(iora_go(meets));
    EXPECT(iora_yield(), 0);
    EXPECT(iora_wait_for(iora_barrier_wait(&barrier), iora_ns(0)), -ETIMEDOUT);
    CHECK_EQ_UNARMED(iora_barrier_waiting(&barrier), TASKS - 1);
    tasks[TASKS - 1] = SPAWN(iora_go(meets));
    for (int i = 0; i < TASKS; i++)
        all &= iora_task_is_valid(tasks[i]);
    if (!all)
        iora_barrier_abort(&barrier);
    EXPECT(iora_gather_n(tasks, TASKS), 0, IORA_E_BROKEN);
    return 0;
}
IORA_ASYNC(has_one_leave);

SCENARIO(sync, barrier_that_one_leaves, ANYWHERE)
{
    RUN(has_one_leave);
    CHECK_EQ(iora_barrier_waiting(&barrier), 0);
}

/* ---- event ---------------------------------------------------------------------------------------------------- */

static iora_event event, acknowledged;
static int heard;

static int
listens(void)
{
    IN_TASK;
    int rc = 0;

    for (int i = 0; i < ROUNDS && rc == 0; i++) {
        if ((rc = EXPECT_UNLESS_CANCELLED(iora_event_wait(&event), 0)) == 0)
            heard++;
        iora_event_clear(&event);
        iora_event_set(&acknowledged);
    }
    iora_event_set(&acknowledged);
    return rc;
}
IORA_ASYNC(listens);

static int
signals(void)
{
    const iora_task listener = SPAWN(iora_go(listens));
    int rc = iora_task_error(listener);

    for (int i = 0; i < ROUNDS && rc == 0; i++) {
        iora_event_set(&event);
        CHECK(iora_event_is_set(&event));
        rc = EXPECT(iora_event_wait(&acknowledged), 0);
        if (!iora_task_is_done(listener))
            iora_event_clear(&acknowledged);
    }
    return EXPECT(iora_await(listener), 0);
}
IORA_ASYNC(signals);

SCENARIO(sync, event, ANYWHERE)
{
    RUN(signals);
    CHECK_EQ_UNARMED(heard, ROUNDS);
}
