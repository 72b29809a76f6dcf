/* tests/fault/scenarios_generators.c -- generators to their end, left in the middle, and that fail. */
#include "fault.h"

static iora_lock source; /* a generator holds it for as long as it is open */
static int opened, closed;

/* Emits the numbers below `count`; its cleanup suspends, and returns `code`. */
static int
counts(int *out, int count, int code)
{
    int rc = EXPECT_UNLESS_CANCELLED(iora_lock_acquire(&source), 0), at_end = 0;

    if (rc < 0)
        return rc;
    opened++;
    for (int i = 0; i < count && rc == 0; i++)
        rc = EXPECT_UNLESS_CANCELLED(iora_emit(out, i), 0);
    IORA_CLEANUP(at_end, iora_s(10)) {
        at_end = EXPECT(iora_yield(), 0);
    }
    CHECK_EQ(iora_lock_release(&source), 0);
    closed++;
    return code < 0 ? code : rc;
}
IORA_ASYNC(counts, int *, int, int);

static void
check_closed(void)
{
    CHECK(!iora_lock_is_locked(&source));
    CHECK_EQ(closed, opened);
}

static int
consumes_all(void)
{
    int x, rc, sum = 0;

    iora_for_each(rc, counts, &x, 10, 0)
        sum += x;
    EXPECT(rc, 0);
    check_closed();
    CHECK_EQ_UNARMED(sum, 45);
    iora_for_each(rc, counts, &x, 3, -EIO)
        sum += x;
    EXPECT(rc, -EIO);
    check_closed();
    return 0;
}
IORA_ASYNC(consumes_all);

SCENARIO(generators, to_the_end, ANYWHERE)
{
    RUN(consumes_all);
    check_closed();
}

/* ---- left in the middle -------------------------------------------------------------------------------- */

static int
leaves(int way, int code)
{
    int x, rc;

    iora_for_each(rc, counts, &x, 10, code) {
        if (x < 3)
            continue;
        if (way == 0)
            break;
        if (way == 1)
            return 77;
        if (way == 2)
            goto out;
        if (way == 3 && EXPECT(iora_yield(), 0) < 0)
            break;
    }
out:
    return rc;
}

static int
leaves_in_each_way(void)
{
    for (int way = 0; way < 4; way++) {
        EXPECT(leaves(way, 0), way == 1 ? 77 : 0, 0);
        check_closed();
        EXPECT(leaves(way, -EIO), way == 1 ? 77 : -EIO, -EIO, 0);
        check_closed();
    }
    return 0;
}
IORA_ASYNC(leaves_in_each_way);

SCENARIO(generators, left_in_each_way, ANYWHERE)
{
    RUN(leaves_in_each_way);
    check_closed();
}

static int
opens_by_hand(void)
{
    int x = -1;
    iora_gen gen = iora_gen_open(counts, &x, 5, 0), unused, forgotten;

    if (EXPECT(iora_gen_next(gen), 1) == 1)
        CHECK_EQ(x, 0);
    EXPECT(iora_gen_next(gen), 1, -ESRCH);
    EXPECT(iora_gen_close(gen), 0);
    check_closed();
    EXPECT(iora_gen_next(gen), -ESRCH);
    EXPECT(iora_gen_close(gen), 0);

    unused = iora_gen_open(counts, &x, 5, 0);
    EXPECT(iora_gen_close(unused), 0);
    check_closed();

    /* The end of its owner closes what is left open. */
    forgotten = iora_gen_open(counts, &x, 5, 0);
    EXPECT(iora_gen_next(forgotten), 1);
    return 0;
}
IORA_ASYNC(opens_by_hand);

SCENARIO(generators, by_hand, ANYWHERE)
{
    RUN(opens_by_hand);
    check_closed();
}

/* In a cleanup scope it emits too, and is closed there. */
static int
counts_out_of_reach(int *out, int count)
{
    int rc = 0;

    opened++;
    IORA_CLEANUP(rc, iora_s(1000)) {
        for (int i = 0; i < count && rc == 0; i++)
            rc = EXPECT_UNLESS_CANCELLED(iora_emit(out, i), 0);
        EXPECT(iora_yield(), 0);
    }
    closed++;
    return rc;
}
IORA_ASYNC(counts_out_of_reach, int *, int);

static int
leaves_one_out_of_reach(void)
{
    int x, rc;

    iora_for_each(rc, counts_out_of_reach, &x, 10) {
        if (x == 2)
            break;
    }
    check_closed();
    EXPECT(rc, 0);
    return EXPECT(iora_yield(), 0);
}
IORA_ASYNC(leaves_one_out_of_reach);

SCENARIO(generators, left_out_of_reach, ANYWHERE)
{
    RUN(leaves_one_out_of_reach);
    check_closed();
}

/* ---- in other ways of life -------------------------------------------------------------------------------- */

static int
yields_first(int value)
{
    IN_TASK;
    const int rc = EXPECT_UNLESS_CANCELLED(iora_yield(), 0);

    return rc < 0 ? rc : value;
}
IORA_ASYNC(yields_first, int);

/* Consumes another, and has tasks of its own. */
static int
squares(int *out, int count)
{
    int x, rc;

    iora_for_each(rc, counts, &x, count, 0) {
        const int y =
            EXPECT_UNLESS_CANCELLED(iora_await(SPAWN(iora_go(yields_first, x * x))), x * x);

        if (y < 0)
            return y;
        if (EXPECT_UNLESS_CANCELLED(iora_emit(out, y), 0) < 0)
            break;
    }
    return rc;
}
IORA_ASYNC(squares, int *, int);

static int
consumes_in_a_task(int limit, int *sum)
{
    IN_TASK;
    int x, rc;

    iora_for_each(rc, squares, &x, 6) {
        *sum += x;
        if (x >= limit)
            break;
    }
    check_closed();
    return EXPECT_UNLESS_CANCELLED(rc, 0);
}
IORA_ASYNC(consumes_in_a_task, int, int *);

static int
consumes_nested(void)
{
    int sums[3] = {0};

    EXPECT(iora_await(SPAWN(iora_go(consumes_in_a_task, 100, &sums[0]))), 0);
    EXPECT(iora_await(SPAWN(iora_go(consumes_in_a_task, 4, &sums[1]))), 0);
    CHECK_EQ_UNARMED(sums[0], 55);
    CHECK_EQ_UNARMED(sums[1], 5);
    {
        const iora_task task = SPAWN(iora_go(consumes_in_a_task, 100, &sums[2]));

        EXPECT(iora_yield(), 0);
        EXPECT(iora_yield(), 0);
        EXPECT(iora_cancel(task), 0);
        EXPECT(iora_await(task), IORA_E_TASK_CANCELED);
    }
    return 0;
}
IORA_ASYNC(consumes_nested);

SCENARIO(generators, nested, ANYWHERE)
{
    RUN(consumes_nested);
    check_closed();
}

/* Opens a deadline and leaves it open over its emits. */
static int
ticks(int *out, iora_duration each)
{
    int rc = 0;

    IORA_TIMEOUT(rc, iora_ms(100)) {
        for (int i = 0; rc == 0; i++) {
            rc = EXPECT_UNLESS_CANCELLED(iora_sleep(each), 0);
            if (rc == 0)
                rc = EXPECT_UNLESS_CANCELLED(iora_emit(out, i), 0);
        }
    }
    return rc;
}
IORA_ASYNC(ticks, int *, iora_duration);

static int
consumes_slowly(void)
{
    int x = 0, rc = 0, within = 0;

    iora_for_each(rc, ticks, &x, iora_ms(30)) {
        if (EXPECT(iora_sleep(iora_ms(5)), 0) < 0)
            break;
    }
    EXPECT(rc, -ETIMEDOUT, 0);
    CHECK_EQ_UNARMED(x, 1);
    IORA_TIMEOUT(within, iora_ms(45)) {
        iora_for_each(rc, ticks, &x, iora_ms(20))
            within = EXPECT_UNLESS_CANCELLED(iora_sleep(iora_ms(1)), 0);
        within = rc;
    }
    EXPECT(within, -ETIMEDOUT);
    /* The generator's deadline passes while it stands in emit; it is told when it is asked again. */
    iora_for_each(rc, ticks, &x, iora_ms(10)) {
        if (EXPECT(iora_sleep(iora_ms(200)), 0) < 0)
            break;
    }
    EXPECT(rc, -ETIMEDOUT, 0);
    return 0;
}
IORA_ASYNC(consumes_slowly);

SCENARIO(generators, with_a_deadline, SIM)
{
    RUN(consumes_slowly);
}
