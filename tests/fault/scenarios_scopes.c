/* tests/fault/scenarios_scopes.c -- deadlines and cleanup. Those that sleep do so in simulated time only. */
#include "fault.h"

static iora_event never;

static int
sleeps(iora_duration d, int code)
{
    const int rc = EXPECT_UNLESS_CANCELLED(iora_sleep(d), 0);

    return rc < 0 ? rc : code;
}

static int
sleeps_as_task(iora_duration d, int code)
{
    IN_TASK;

    return sleeps(d, code);
}
IORA_ASYNC(sleeps_as_task, iora_duration, int);

/* ---- deadlines ------------------------------------------------------------------------------------- */

static int
nests_timeouts(void)
{
    const iora_instant began = iora_now();
    int outer = 0, middle = 0, inner = 0;

    IORA_TIMEOUT(outer, iora_ms(100)) {
        IORA_TIMEOUT(middle, iora_ms(50)) {
            IORA_TIMEOUT(inner, iora_ms(200)) {
                inner = sleeps(iora_s(1), 0);
            }
            EXPECT(inner, -ECANCELED);
            middle = inner;
        }
        EXPECT(middle, -ETIMEDOUT);
        outer = sleeps(iora_ms(20), 0);
        if (outer == 0)
            outer = sleeps(iora_s(1), 0);
    }
    EXPECT(outer, -ETIMEDOUT);
    CHECK_EQ_UNARMED(iora_to_ns(iora_between(began, iora_now())), 100000000);
    return 0;
}
IORA_ASYNC(nests_timeouts);

SCENARIO(scopes, nested_timeouts, SIM)
{
    RUN(nests_timeouts);
}

static int
takes_each_form(void)
{
    iora_scope first, second;
    int rc;

    EXPECT(iora_wait_for(sleeps(iora_ms(5), 3), iora_ms(10)), 3);
    EXPECT(iora_wait_for(sleeps(iora_ms(10), 3), iora_ms(5)), -ETIMEDOUT);
    EXPECT(iora_wait_for(iora_await(SPAWN(iora_go(sleeps_as_task, iora_ms(10), 3))), iora_ms(5)),
           -ETIMEDOUT);
    EXPECT(iora_wait_for(sleeps(iora_ms(1), 4), IORA_FOREVER), 4);

    iora_timeout_begin(&first, iora_ms(10));
    iora_timeout_begin(&second, IORA_FOREVER);
    iora_timeout_reset(&first, iora_ms(30));
    rc = EXPECT(sleeps(iora_ms(20), 0), 0);
    iora_timeout_reset(&second, iora_ms(5));
    if (rc == 0)
        rc = sleeps(iora_ms(20), 0);
    EXPECT(iora_timeout_end(&first, rc), -ECANCELED, 0); /* the second was left open */
    CHECK_EQ(iora_timeout_end(&second, 9), 9);

    iora_timeout_begin_at(&first, iora_after(iora_now(), iora_ms(5)));
    rc = iora_timeout_end(&first, iora_event_wait(&never));
    EXPECT(rc, -ETIMEDOUT);
    return 0;
}
IORA_ASYNC(takes_each_form);

SCENARIO(scopes, each_form, SIM)
{
    RUN(takes_each_form);
}

/* Deadlines that need no clock: they have passed, or never do. */
static int
has_passed(void)
{
    int rc = 0;

    for (int i = 0; i < 2; i++) {
        IORA_TIMEOUT(rc, i == 0 ? iora_ns(0) : iora_s(-1)) {
            EXPECT(iora_yield(), -ECANCELED);
            EXPECT(iora_yield(), -ECANCELED);
            rc = EXPECT(iora_await(SPAWN(iora_go(sleeps_as_task, IORA_FOREVER, 0))), -ECANCELED);
        }
        EXPECT(rc, -ETIMEDOUT);
    }
    IORA_TIMEOUT(rc, IORA_FOREVER) {
        rc = EXPECT(iora_wait_for(iora_yield(), iora_s(100)), 0);
    }
    EXPECT(rc, 0);
    return EXPECT(iora_yield(), 0);
}
IORA_ASYNC(has_passed);

SCENARIO(scopes, passed_or_never, ANYWHERE)
{
    RUN(has_passed);
}

static int
leaves(int way)
{
    int rc = 0;

    for (int i = 0; i < 2; i++) {
        IORA_TIMEOUT(rc, iora_s(50)) {
            rc = EXPECT(iora_yield(), 0);
            if (way == 0)
                break;
            if (way == 1)
                return rc;
            if (way == 2)
                goto out;
        }
        EXPECT(iora_yield(), 0);
    }
out:
    return rc;
}

static int
leaves_in_each_way(void)
{
    for (int way = 0; way < 4; way++)
        EXPECT(leaves(way), 0);
    return 0;
}
IORA_ASYNC(leaves_in_each_way);

SCENARIO(scopes, left_in_each_way, ANYWHERE)
{
    RUN(leaves_in_each_way);
}

/* ---- cleanup ----------------------------------------------------------------------------------------- */

static iora_lock door;
static int opened, closed;

static int
closes(iora_duration d)
{
    int rc = EXPECT_UNLESS_CANCELLED(iora_lock_acquire(&door), 0);

    if (rc < 0)
        return rc;
    rc = sleeps(d, 0);
    CHECK_EQ(iora_lock_release(&door), 0);
    closed++;
    return rc;
}

static int
opens_and_closes(iora_duration patience)
{
    IN_TASK;
    int rc = 0, cleaning = 0;

    opened++;
    IORA_TIMEOUT(rc, iora_ms(10)) {
        rc = sleeps(iora_s(1), 0);
        IORA_CLEANUP(cleaning, patience) {
            cleaning = closes(iora_ms(5));
        }
        EXPECT(cleaning, 0, -ETIMEDOUT);
        EXPECT(iora_yield(), -ECANCELED, 0);
    }
    EXPECT_UNLESS_CANCELLED(rc, -ETIMEDOUT);
    if (rc != -ETIMEDOUT)
        return rc;
    /* Too little time: what was begun is cut short, and ends. */
    cleaning = iora_cleanup(closes(iora_ms(50)), iora_ms(1));
    return EXPECT(cleaning, -ETIMEDOUT);
}
IORA_ASYNC(opens_and_closes, iora_duration);

static int
cleans_up(void)
{
    iora_task tasks[3];
    int codes[3];

    for (int i = 0; i < 3; i++)
        tasks[i] = SPAWN(iora_go(opens_and_closes, iora_ms(100)));
    EXPECT(iora_gather_all_n(codes, tasks, 3), 0);
    CHECK_EQ_UNARMED(codes[2], -ETIMEDOUT);
    for (int i = 0; i < 2; i++) {
        const iora_task task = SPAWN(iora_go(opens_and_closes, iora_ms(100)));

        EXPECT(sleeps(iora_ms(i == 0 ? 2 : 12), 0), 0);
        EXPECT(iora_cancel(task), 0);
        EXPECT(iora_await(task), IORA_E_TASK_CANCELED);
    }
    return 0;
}
IORA_ASYNC(cleans_up);

SCENARIO(scopes, cleanup, SIM)
{
    RUN(cleans_up);
    CHECK(!iora_lock_is_locked(&door));
    CHECK_EQ_UNARMED(opened, 5);
}

static int
cleans_up_at_once(int *done)
{
    IN_TASK;
    const int rc = iora_event_wait(&never);

    IORA_CLEANUP(*done, iora_s(10)) {
        IORA_TIMEOUT(*done, iora_s(5)) {
            *done = EXPECT(iora_await(SPAWN(iora_go(sleeps_as_task, iora_ns(0), 1))), 1);
        }
    }
    EXPECT(*done, 1);
    return EXPECT(rc, -ECANCELED);
}
IORA_ASYNC(cleans_up_at_once, int *);

static int
cancels_cleaners(void)
{
    int done[3] = {0}, rc = 0;
    iora_task tasks[3];

    for (int i = 0; i < 3; i++)
        tasks[i] = SPAWN(iora_go(cleans_up_at_once, &done[i]));
    rc = EXPECT(iora_yield(), 0);
    for (int i = 0; i < 3; i++)
        EXPECT(iora_cancel(tasks[i]), 0);
    EXPECT(iora_gather_n(tasks, 3), IORA_E_TASK_CANCELED);
    for (int i = 0; i < 3; i++)
        CHECK_EQ_UNARMED(done[i], 1);
    return rc;
}
IORA_ASYNC(cancels_cleaners);

SCENARIO(scopes, cleanup_at_once, ANYWHERE)
{
    RUN(cancels_cleaners);
}

/* ---- who does not listen -------------------------------------------------------------------------------- */

static int
is_deaf(int calls)
{
    IN_TASK;

    while (calls-- > 0)
        (void)iora_event_wait(&never);
    return 0;
}
IORA_ASYNC(is_deaf, int);

static int
is_not_disturbed(void)
{
    const iora_task deaf = SPAWN(iora_go(is_deaf, 1030));
    int rc = EXPECT(iora_yield(), 0);

    EXPECT(iora_cancel(deaf), 0);
    for (int i = 0; i < 5 && rc == 0; i++)
        rc = EXPECT(iora_yield(), 0);
    CHECK_EQ_UNARMED(iora_task_is_done(deaf), false);
    EXPECT(iora_await(deaf), 0);
    return rc;
}
IORA_ASYNC(is_not_disturbed);

SCENARIO_EVERY(scopes, deaf_task, SIM, 13)
{
    fault_expect_log("has ignored 1000 times that it is cancelled");
    RUN(is_not_disturbed);
}

/* ---- instants --------------------------------------------------------------------------------------------------- */

static int
sleeps_until(iora_instant when)
{
    IN_TASK;

    return EXPECT_UNLESS_CANCELLED(iora_sleep_until(when), 0);
}
IORA_ASYNC(sleeps_until, iora_instant);

static int
meets_at_an_instant(void)
{
    const iora_instant now = iora_now(), soon = iora_after(now, iora_ms(5));
    const iora_instant late = iora_after(now, iora_ms(9));
    const iora_task sleeper = SPAWN(iora_go(sleeps_until, soon));
    iora_clause clauses[] = {iora_on_sleep_until(soon), iora_on_sleep_until(late)};
    iora_scope scope;
    int rc;

    rc = iora_select(clauses, 2);
    EXPECT(rc < 0 ? rc : 0, 0);
    CHECK(rc <= 0);
    if (iora_task_is_valid(sleeper))
        EXPECT(iora_await(sleeper), 0);
    iora_timeout_begin_at(&scope, late);
    rc = iora_sleep(IORA_FOREVER);
    EXPECT(iora_timeout_end(&scope, rc), -ETIMEDOUT);
    iora_timeout_begin_at(&scope, now); /* which has passed */
    rc = iora_yield();
    EXPECT(iora_timeout_end(&scope, rc), -ETIMEDOUT);
    return 0;
}
IORA_ASYNC(meets_at_an_instant);

SCENARIO(scopes, instants, SIM)
{
    RUN(meets_at_an_instant);
}
