/* tests/fault/scenarios_signals.c -- signals are heard or kept, and the handlers that were there come back. */
#include "fault.h"

#include <signal.h>

static void
is_there(int number)
{
    (void)number;
}

static void
set_handlers(void)
{
    const struct sigaction before = {.sa_handler = is_there};

    CHECK_EQ(sigaction(SIGUSR1, &before, NULL), 0);
    CHECK_EQ(sigaction(SIGUSR2, &before, NULL), 0);
}

static void
check_handlers(void)
{
    struct sigaction after;

    CHECK_EQ(sigaction(SIGUSR1, NULL, &after), 0);
    CHECK(after.sa_handler == is_there);
    CHECK_EQ(sigaction(SIGUSR2, NULL, &after), 0);
    CHECK(after.sa_handler == is_there);
}

/* ---- one after the other ------------------------------------------------------------------------- */

static iora_signals signals;
static int heard;

static int
raises(int number)
{
    IN_TASK;
    const int rc = EXPECT_UNLESS_CANCELLED(iora_yield(), 0);

    CHECK_EQ(raise(number), 0);
    return rc;
}
IORA_ASYNC(raises, int);

/* What came is there however often asking for it is cut short. */
static int
next_for_certain(void)
{
    int rc;

    do {
        rc = iora_cleanup(iora_signals_next(&signals), IORA_FOREVER);
    } while (fault_is_armed() && rc == -ETIMEDOUT);
    return rc;
}

static int
hears(void)
{
    int rc;

    if (EXPECT(iora_signals_open_of(&signals, SIGUSR1, SIGUSR2), 0) < 0)
        return 0;
    for (int i = 0; i < 3; i++) {
        const iora_task raiser = SPAWN(iora_go(raises, SIGUSR1));
        iora_clause clauses[] = {iora_on_signal(&signals), iora_on_task(raiser)};

        if (!iora_task_is_valid(raiser))
            break;
        rc = iora_signals_next(&signals);
        if (rc < 0) { /* it raises all the same: nothing is lost */
            EXPECT(rc, SIGUSR1);
            (void)iora_cleanup(iora_await(raiser), IORA_FOREVER);
            rc = next_for_certain();
        }
        CHECK_EQ(rc, SIGUSR1);
        heard++;
        rc = iora_select(clauses, 2);
        EXPECT(rc < 0 ? rc : 0, 0);
    }
    CHECK_EQ(raise(SIGUSR2), 0);
    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(next_for_certain(), SIGUSR1);
    rc = iora_signals_next(&signals);
    EXPECT(rc > 0 ? 0 : rc, 0);
    iora_signals_close(&signals);
    return 0;
}
IORA_ASYNC(hears);

SCENARIO(signals, one_after_the_other, ANYWHERE)
{
    set_handlers();
    RUN(hears);
    check_handlers();
    CHECK_EQ_UNARMED(heard, 3);
}

/* ---- many who wait ---------------------------------------------------------------------------------- */

static int spawned, listening;

static int
waits_for(int number)
{
    IN_TASK;
    iora_signals own;
    int rc = EXPECT(iora_signals_open_of(&own, number, SIGTERM), 0);

    listening++;
    if (rc < 0)
        return rc;
    rc = iora_signals_next(&own);
    iora_signals_close(&own);
    return EXPECT_UNLESS_CANCELLED(rc == number ? 0 : rc, 0);
}
IORA_ASYNC(waits_for, int);

static int
many_wait(void)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        for (int i = 0; i < 3; i++)
            spawned += iora_task_is_valid(
                SPAWN(iora_group_go(&group, waits_for, i < 2 ? SIGUSR1 : SIGUSR2)));
        while (rc == 0 && listening < spawned)
            rc = EXPECT_UNLESS_CANCELLED(iora_sleep(iora_us(100)), 0);
        CHECK_EQ(raise(SIGUSR1), 0);
        CHECK_EQ(raise(SIGUSR2), 0);
    }
    return EXPECT(rc, 0);
}
IORA_ASYNC(many_wait);

SCENARIO(signals, many_wait, ANYWHERE)
{
    set_handlers();
    RUN(many_wait);
    check_handlers();
}

/* ---- left open ------------------------------------------------------------------------------------------ */

static int
leaves_open(void)
{
    if (EXPECT(iora_signals_open_of(&signals, SIGUSR1), 0) < 0)
        return 0;
    CHECK_EQ(raise(SIGUSR1), 0);
    EXPECT(iora_yield(), 0);
    return 0;
}
IORA_ASYNC(leaves_open);

SCENARIO(signals, left_open, ANYWHERE)
{
    iora_loop *const loop = fault_another_loop();

    set_handlers();
    if (loop != NULL) {
        EXPECT(iora_run_in(loop, leaves_open), 0);
        fault_forget_loop(loop);
        CHECK_EQ(iora_loop_free(loop), 0);
    }
    check_handlers();
    CHECK_EQ(raise(SIGUSR1), 0);
    iora_signals_close(&signals);
}

/* ---- Ctrl-C ----------------------------------------------------------------------------------------------- */

static bool unwound;

static int
is_interrupted(void)
{
    int rc;

    CHECK_EQ(raise(SIGINT), 0);
    rc = iora_sleep(IORA_FOREVER);
    CHECK_EQ(rc, -ECANCELED);
    unwound = true;
    return 0;
}
IORA_ASYNC(is_interrupted);

SCENARIO(signals, interrupted, EPOLL)
{
    struct sigaction after, before = {.sa_handler = SIG_DFL};
    int status;

    CHECK_EQ(sigaction(SIGINT, &before, NULL), 0);
    status = iora_main(is_interrupted);
    CHECK(status == 0 ? unwound : fault_is_armed());
    CHECK_EQ(sigaction(SIGINT, NULL, &after), 0);
    CHECK(after.sa_handler == SIG_DFL);
}

/* ---- a call that does it all ---------------------------------------------------------------------------------- */

static int
waits_for_one_of_two(int *number)
{
    IN_TASK;
    const int rc = iora_wait_signal(SIGUSR1, SIGUSR2);

    *number = rc;
    return EXPECT_UNLESS_CANCELLED(rc > 0 ? 0 : rc, 0);
}
IORA_ASYNC(waits_for_one_of_two, int *);

static int
two_wait_for_one(void)
{
    int first = 0, second = 0, rc = 0;

    IORA_GROUP(rc, group) {
        (void)SPAWN(iora_group_go(&group, waits_for_one_of_two, &first));
        (void)SPAWN(iora_group_go(&group, waits_for_one_of_two, &second));
        rc = EXPECT_UNLESS_CANCELLED(iora_yield(), 0);
        while (rc == 0 && first == 0 && second == 0) { /* one may not have begun to listen */
            CHECK_EQ(raise(SIGUSR2), 0);
            rc = EXPECT_UNLESS_CANCELLED(iora_sleep(iora_us(100)), 0);
        }
        if (rc == 0 && (first == 0 || second == 0))
            iora_group_cancel(&group);
    }
    CHECK_EQ_UNARMED(first, SIGUSR2);
    CHECK_EQ_UNARMED(second, SIGUSR2);
    return EXPECT(rc, 0);
}
IORA_ASYNC(two_wait_for_one);

SCENARIO(signals, one_call, ANYWHERE)
{
    set_handlers();
    RUN(two_wait_for_one);
    check_handlers();
}
