/* tests/c/test_generator.c -- async generators. */
#include "test.h"
#include "waiting.h"

/* ---- generators -------------------------------------------------------------------------------------------------- */

static void
at(const char *what)
{
    test_trace("%s@%lld", what, test_ms());
}

static int
say(const char *word)
{
    test_trace("%s", word);
    return 0;
}
IORA_ASYNC(say, const char *);

/* from, from + 1, ..., to - 1; then a code. Says how it was closed. */
static int
counter(int *out, int from, int to, int code)
{
    int rc = 0;

    for (int i = from; i < to && rc == 0; i++)
        rc = iora_emit(out, i);
    if (rc < 0)
        test_trace("closed:%s", iora_err_name(rc));
    return rc < 0 ? rc : code;
}
IORA_ASYNC(counter, int *, int, int, int);

/* The same, sleeping before each value and at its end. */
static int
slow_counter(int *out, int to, iora_duration pause, iora_duration cleanup)
{
    int rc = 0;

    for (int i = 0; i < to && rc == 0; i++) {
        rc = iora_sleep(pause);
        if (rc == 0)
            rc = iora_emit(out, i);
    }
    (void)iora_cleanup(iora_sleep(cleanup), IORA_FOREVER);
    at("cleaned");
    return rc;
}
IORA_ASYNC(slow_counter, int *, int, iora_duration, iora_duration);

static size_t
tasks_alive(void)
{
    iora_census census;

    iora_loop_census(iora_loop_running(), &census);
    return census.tasks - 1; /* but for the current one */
}

/* ---- values --------------------------------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(generator, gives_its_values_in_order_and_then_ends)
{
    int x, rc, sum = 0;

    iora_for_each(rc, counter, &x, 0, 1000, 0)
        sum += x == sum % 1000 ? 1 : 1000000;
    CHECK_EQ(rc, 0);
    CHECK_EQ(sum, 1000);
    CHECK_EQ(tasks_alive(), 0);
}

static int
loud(int *out, int to)
{
    int rc = 0;

    for (int i = 0; i < to && rc == 0; i++) {
        test_trace("makes%d", i);
        rc = iora_emit(out, i);
    }
    test_trace("ends");
    return rc;
}
IORA_ASYNC(loud, int *, int);

TEST_TASK(generator, that_ended_by_a_cancel_is_closed_without_a_wait)
{
    int x;
    const iora_gen gen = iora_gen_open(counter, &x, 0, 3, 0);

    CHECK_EQ(iora_gen_next(gen), 1);
    CHECK_EQ(iora_cancel(gen._task), 0);
    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK_EQ(iora_gen_close(gen), 0);
    CHECK_EQ(iora_gen_close(gen), 0);
}

TEST_TASK(generator, that_ended_by_a_cancel_is_collected_by_a_next_that_is_cancelled)
{
    int x;
    const iora_gen gen = iora_gen_open(counter, &x, 0, 3, 0);

    CHECK_EQ(iora_gen_next(gen), 1);
    CHECK_EQ(iora_cancel(gen._task), 0);
    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK_TRACE("closed:ECANCELED");
    CHECK_EQ(CANCELLED(iora_gen_next(gen)), -ECANCELED);
    CHECK_EQ(iora_gen_next(gen), -ESRCH);
}

TEST_TASK(generator, runs_in_lock_step_with_its_consumer)
{
    int x, rc;

    iora_for_each(rc, loud, &x, 2)
        test_trace("takes%d", x);
    CHECK_TRACE("makes0 takes0 makes1 takes1 ends");
}

TEST_TASK(generator, runs_only_while_its_consumer_waits_for_it)
{
    int x, rc;

    iora_for_each(rc, loud, &x, 2) {
        test_trace("takes%d", x);
        CHECK_EQ(iora_sleep(iora_ms(10)), 0);
        test_trace("slept");
    }
    CHECK_TRACE("makes0 takes0 slept makes1 takes1 slept ends");
}

TEST_TASK(generator, hand_over_passes_by_the_ready_queue)
{
    int x, rc;

    (void)iora_go(say, "other");
    iora_for_each(rc, loud, &x, 2)
        test_trace("takes%d", x);
    CHECK_TRACE("makes0 takes0 makes1 takes1 ends other"); /* its end is a task's end */
}

static int
pairs(int *number, const char **word)
{
    static const char *const words[] = {"zero", "one", "two"};
    int rc = 0;

    for (int i = 0; i < 3 && rc == 0; i++) {
        *number = i;
        *word = words[i];
        rc = iora_emit_ready();
    }
    return rc;
}
IORA_ASYNC(pairs, int *, const char **);

TEST_TASK(generator, gives_several_values_at_a_time)
{
    int number, rc;
    const char *word;

    iora_for_each(rc, pairs, &number, &word)
        test_trace("%d=%s", number, word);
    CHECK_EQ(rc, 0);
    CHECK_TRACE("0=zero 1=one 2=two");
}

TEST_TASK(generator, may_be_empty)
{
    int x = -1, rc;

    iora_for_each(rc, counter, &x, 0, 0, 0)
        CHECK(false);
    CHECK_EQ(rc, 0);
    CHECK_EQ(x, -1);
}

TEST_TASK(generator, may_sleep_between_its_values)
{
    int x, rc;

    iora_for_each(rc, slow_counter, &x, 3, iora_ms(10), iora_ms(5))
        test_trace("%d@%lld", x, test_ms());
    CHECK_EQ(rc, 0);
    CHECK_TRACE("0@10 1@20 2@30 cleaned@35");
}

TEST_TASK(generator, error_ends_the_loop_and_is_its_result)
{
    int x, rc, seen = 0;

    iora_for_each(rc, counter, &x, 0, 3, -EIO)
        seen++;
    CHECK_EQ(rc, -EIO);
    CHECK_EQ(seen, 3);
}

TEST_TASK(generator, result_above_0_is_an_end_too)
{
    int x, rc, seen = 0;

    iora_for_each(rc, counter, &x, 0, 3, 7)
        seen++;
    CHECK_EQ(rc, 0);
    CHECK_EQ(seen, 3);
}

TEST_TASK(generator, that_cannot_be_made_says_why)
{
    int x, rc;
    iora_gen gen;

    iora__seam_arm_call(1, 0, true); /* a stack cannot be had, or a block */
    gen = iora_gen_open(counter, &x, 0, 3, 0);
    (void)iora__seam_disarm();
    if (iora_task_is_valid(gen._task)) /* there was room for one */
        CHECK_EQ(iora_gen_close(gen), 0);
    gen = (iora_gen){iora_go_sized(1, say, "never")};
    CHECK_EQ(iora_gen_next(gen), -EINVAL);
    CHECK_EQ(iora_gen_close(gen), 0);
    rc = iora_gen_next((iora_gen){iora_current()});
    CHECK_EQ(rc, -EINVAL); /* no generator */
}

struct big {
    char bytes[300];
};

static int
letters(char *out, struct big big)
{
    int rc = 0;

    for (int i = 0; big.bytes[i] != '\0' && rc == 0; i++)
        rc = iora_emit(out, big.bytes[i]);
    return rc;
}
IORA_ASYNC(letters, char *, struct big);

TEST_TASK(generator, takes_arguments_larger_than_64_bytes)
{
    struct big big = {"abc"};
    char c;
    int rc;

    iora_for_each(rc, letters, &c, big)
        test_trace("%c", c);
    CHECK_EQ(rc, 0);
    CHECK_TRACE("a b c");
}

TEST_TASK(generator, that_cannot_get_memory_for_its_arguments_is_enomem)
{
    struct big big = {"abc"};
    char c;
    int rc;

    iora__seam_arm_allocation(1, true);
    iora_for_each(rc, letters, &c, big)
        CHECK(false);
    (void)iora__seam_disarm();
    CHECK_EQ(rc, -ENOMEM);
}

/* ---- leaving in the middle ---------------------------------------------------------------------------------------------- */

TEST_TASK(generator, break_closes_it_and_waits_for_its_cleanup)
{
    int x, rc;

    iora_for_each(rc, slow_counter, &x, 10, iora_ms(1), iora_ms(50)) {
        if (x == 2)
            break;
    }
    CHECK_EQ(rc, 0);
    CHECK_EQ(x, 2);
    CHECK_EQ(test_ms(), 53);
    CHECK_TRACE("cleaned@53");
    CHECK_EQ(tasks_alive(), 0);
}

TEST_TASK(generator, goto_closes_it_and_waits_for_its_cleanup)
{
    int x, rc;

    iora_for_each(rc, slow_counter, &x, 10, iora_ms(1), iora_ms(50))
        goto out;
out:
    CHECK_EQ(rc, 0);
    CHECK_TRACE("cleaned@51");
    CHECK_EQ(tasks_alive(), 0);
}

static int
return_from_loop(void)
{
    int x, rc;

    iora_for_each(rc, slow_counter, &x, 10, iora_ms(1), iora_ms(50))
        return 44;
    return rc;
}

TEST_TASK(generator, return_closes_it_and_waits_for_its_cleanup)
{
    CHECK_EQ(return_from_loop(), 44);
    CHECK_TRACE("cleaned@51");
    CHECK_EQ(tasks_alive(), 0);
}

TEST_TASK(generator, continue_goes_on_with_the_next_value)
{
    int x, rc, sum = 0;

    iora_for_each(rc, counter, &x, 0, 10, 0) {
        if (x % 2 == 0)
            continue;
        sum += x;
    }
    CHECK_EQ(rc, 0);
    CHECK_EQ(sum, 1 + 3 + 5 + 7 + 9);
}

TEST_TASK(generator, is_told_of_its_close_by_emit)
{
    int x, rc;

    iora_for_each(rc, counter, &x, 0, 10, 0)
        break;
    CHECK_EQ(rc, 0);
    CHECK_TRACE("closed:ECANCELED");
}

static int
fails_in_cleanup(int *out)
{
    int rc = iora_emit(out, 1);

    if (rc < 0)
        rc = -EIO;
    return rc;
}
IORA_ASYNC(fails_in_cleanup, int *);

TEST_TASK(generator, error_of_its_cleanup_is_the_loops_result)
{
    int x, rc;

    iora_for_each(rc, fails_in_cleanup, &x)
        break;
    CHECK_EQ(rc, -EIO);
}

TEST_TASK(generator, break_out_of_nested_loops_closes_both)
{
    int x, y, outer_rc, rc = 0;

    iora_for_each(outer_rc, slow_counter, &x, 3, iora_ms(1), iora_ms(10)) {
        iora_for_each(rc, slow_counter, &y, 3, iora_ms(1), iora_ms(100))
            break;
        break;
    }
    CHECK_EQ(outer_rc, 0);
    CHECK_TRACE("cleaned@102 cleaned@112");
}

/* Emits in its cleanup, which is refused without suspending. */
static int
emits_in_cleanup(int *out)
{
    int rc = iora_emit(out, 1);

    CHECK_EQ(rc, -ECANCELED);
    CHECK_EQ(iora_emit(out, 2), -ECANCELED);
    CHECK_EQ(iora_cleanup(iora_emit(out, 3), iora_s(1)), -ECANCELED);
    CHECK_EQ(iora_cleanup(iora_sleep(iora_ms(5)), iora_s(1)), 0);
    CHECK_EQ(iora_emit(out, 4), -ECANCELED);
    at("cleaned");
    return rc;
}
IORA_ASYNC(emits_in_cleanup, int *);

TEST_TASK(generator, emits_no_more_once_it_is_closed)
{
    int x, rc, seen = 0;

    iora_for_each(rc, emits_in_cleanup, &x) {
        seen++;
        break;
    }
    CHECK_EQ(rc, 0);
    CHECK_EQ(seen, 1);
    CHECK_TRACE("cleaned@5");
}

/* What was taken stays what it was: a refused emit has done nothing. */
TEST_TASK(generator, emit_that_is_refused_writes_nothing)
{
    int x, rc;

    iora_for_each(rc, emits_in_cleanup, &x)
        break;
    CHECK_EQ(rc, 0);
    CHECK_EQ(x, 1);
}

/* ---- cancel ------------------------------------------------------------------------------------------------------------------ */

static int
consume_slowly(iora_duration pause, iora_duration body)
{
    int x, rc;

    iora_for_each(rc, slow_counter, &x, 100, pause, iora_ms(50)) {
        rc = iora_sleep(body);
        if (rc < 0)
            break;
    }
    test_trace("%s@%lld", iora_err_name(rc), test_ms());
    return rc;
}
IORA_ASYNC(consume_slowly, iora_duration, iora_duration);

TEST_TASK(generator, consumer_cancelled_while_it_waits_closes_it_and_waits_for_its_cleanup)
{
    const iora_task task = iora_go(consume_slowly, iora_ms(100), iora_ms(0));

    CHECK_EQ(iora_sleep(iora_ms(10)), 0);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), IORA_E_TASK_CANCELED);
    CHECK_TRACE("cleaned@60 ECANCELED@60");
    CHECK_EQ(tasks_alive(), 0);
}

TEST_TASK(generator, consumer_cancelled_in_the_body_closes_it_and_waits_for_its_cleanup)
{
    const iora_task task = iora_go(consume_slowly, iora_ms(1), iora_ms(100));

    CHECK_EQ(iora_sleep(iora_ms(10)), 0);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), IORA_E_TASK_CANCELED);
    CHECK_TRACE("cleaned@60 ECANCELED@60");
}

TEST_TASK(generator, deadline_of_the_consumer_closes_it)
{
    int rc = iora_wait_for(consume_slowly(iora_ms(100), iora_ms(0)), iora_ms(10));

    CHECK_EQ(rc, -ETIMEDOUT);
    CHECK_TRACE("cleaned@60 ECANCELED@60");
}

TEST_TASK(generator, deadline_round_one_next_closes_it)
{
    int x;
    const iora_gen gen =
        iora_gen_open(slow_counter, &x, 10, iora_ms(10), iora_ms(5));

    CHECK_EQ(iora_wait_for(iora_gen_next(gen), iora_ms(20)), 1);
    CHECK_EQ(iora_wait_for(iora_gen_next(gen), iora_ms(4)), -ETIMEDOUT);
    CHECK_EQ(test_ms(), 19);
    CHECK_EQ(iora_gen_next(gen), -ESRCH);
    CHECK_TRACE("cleaned@19");
}

TEST_TASK(generator, next_in_a_cancelled_scope_closes_it)
{
    int x;
    const iora_gen gen =
        iora_gen_open(slow_counter, &x, 10, iora_ms(10), iora_ms(5));

    CHECK_EQ(iora_gen_next(gen), 1);
    CHECK_EQ(iora_wait_for(iora_gen_next(gen), iora_ms(0)), -ETIMEDOUT);
    CHECK_EQ(test_ms(), 15);
    CHECK_EQ(iora_gen_next(gen), -ESRCH);
    CHECK_TRACE("cleaned@15");
}

/* A consumer that is cancelled between the value and its resumption has the value. */
static int
take_two(int *taken)
{
    int x, rc;

    iora_for_each(rc, slow_counter, &x, 2, iora_ms(10), iora_ms(0))
        (*taken)++;
    return rc;
}
IORA_ASYNC(take_two, int *);

TEST_TASK(generator, value_that_came_before_the_cancel_is_kept)
{
    int taken = 0;
    const iora_task task = iora_go(take_two, &taken);

    CHECK_EQ(iora_sleep(iora_ms(15)), 0);
    CHECK_EQ(taken, 1);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), IORA_E_TASK_CANCELED);
    CHECK_EQ(taken, 1);
}

/* ---- scopes are its own -------------------------------------------------------------------------------------------------------- */

/* A deadline that is open over its emits. */
static int
with_deadline(int *out, iora_duration d)
{
    int rc = 0;

    IORA_TIMEOUT(rc, d) {
        for (int i = 0; rc == 0; i++)
            rc = iora_emit(out, i);
    }
    test_trace("%s@%lld", iora_err_name(rc), test_ms());
    return rc;
}
IORA_ASYNC(with_deadline, int *, iora_duration);

TEST_TASK(generator, deadline_left_open_over_an_emit_is_the_generators)
{
    int x, rc, seen = 0;

    iora_for_each(rc, with_deadline, &x, iora_ms(10)) {
        seen++;
        CHECK_EQ(iora_sleep(iora_ms(30)), 0); /* not the consumer's deadline */
    }
    CHECK_EQ(rc, -ETIMEDOUT);
    CHECK_EQ(seen, 1);
    CHECK_TRACE("ETIMEDOUT@30"); /* told when it is asked again */
}

TEST_TASK(generator, deadline_that_passes_between_two_nexts_does_not_run_it_behind_its_consumer)
{
    int x, rc;

    iora_for_each(rc, with_deadline, &x, iora_ms(10)) {
        CHECK_EQ(iora_sleep(iora_ms(30)), 0);
        CHECK_TRACE("");
    }
    CHECK_EQ(rc, -ETIMEDOUT);
}

/* Goes on after its deadline. */
static int
after_deadline(int *out)
{
    int rc = 0;

    IORA_TIMEOUT(rc, iora_ms(10)) {
        rc = iora_emit(out, 1);
    }
    CHECK_EQ(rc, -ETIMEDOUT);
    return iora_emit(out, 2);
}
IORA_ASYNC(after_deadline, int *);

TEST_TASK(generator, may_go_on_after_its_own_deadline)
{
    int x, rc;

    iora_for_each(rc, after_deadline, &x) {
        test_trace("%d", x);
        CHECK_EQ(iora_sleep(iora_ms(20)), 0);
    }
    CHECK_EQ(rc, 0);
    CHECK_TRACE("1 2");
}

TEST_TASK(generator, scope_of_the_consumer_opened_between_two_nexts_is_the_consumers)
{
    int x, rc;
    const iora_gen gen = iora_gen_open(slow_counter, &x, 2, iora_ms(10), iora_ms(0));

    IORA_TIMEOUT(rc, iora_ms(100)) {
        rc = iora_gen_next(gen);
        CHECK_EQ(rc, 1);
    }
    CHECK_EQ(iora_sleep(iora_ms(200)), 0);
    CHECK_EQ(iora_gen_next(gen), 1);
    CHECK_EQ(iora_gen_next(gen), 0);
}

static int
group_inside(int *out)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        int x;

        (void)iora_group_go(&group, counter, &x, 0, 0, 0);
        for (int i = 0; i < 3 && rc == 0; i++)
            rc = iora_emit(out, i);
    }
    return rc;
}
IORA_ASYNC(group_inside, int *);

TEST_TASK(generator, may_emit_from_within_a_group)
{
    int x, rc, sum = 0;

    iora_for_each(rc, group_inside, &x)
        sum += x + 1;
    CHECK_EQ(rc, 0);
    CHECK_EQ(sum, 6);
}

/* ---- by hand ------------------------------------------------------------------------------------------------------------------------ */

TEST_TASK(generator, by_hand_next_fills_the_variable_then_says_0_then_esrch)
{
    int x = -1;
    const iora_gen gen = iora_gen_open(counter, &x, 5, 7, 0);

    CHECK_EQ(x, -1); /* it runs from the first next on */
    CHECK_EQ(iora_gen_next(gen), 1);
    CHECK_EQ(x, 5);
    CHECK_EQ(iora_gen_next(gen), 1);
    CHECK_EQ(x, 6);
    CHECK_EQ(iora_gen_next(gen), 0);
    CHECK_EQ(iora_gen_next(gen), -ESRCH);
    CHECK_EQ(iora_gen_close(gen), 0);
}

TEST_TASK(generator, by_hand_error_closes_it)
{
    int x;
    const iora_gen gen = iora_gen_open(counter, &x, 0, 0, -EIO);

    CHECK_EQ(iora_gen_next(gen), -EIO);
    CHECK_EQ(iora_gen_next(gen), -ESRCH);
    CHECK_EQ(iora_gen_close(gen), 0);
}

TEST_TASK(generator, close_runs_its_cleanup_and_waits_for_it)
{
    int x;
    const iora_gen gen = iora_gen_open(slow_counter, &x, 10, iora_ms(1), iora_ms(50));

    CHECK_EQ(iora_gen_next(gen), 1);
    CHECK_EQ(iora_gen_close(gen), 0);
    CHECK_EQ(test_ms(), 51);
    CHECK_EQ(iora_gen_close(gen), 0);
    CHECK_EQ(iora_gen_next(gen), -ESRCH);
    CHECK_TRACE("cleaned@51");
}

TEST_TASK(generator, close_returns_the_error_of_its_cleanup)
{
    int x;
    const iora_gen gen = iora_gen_open(fails_in_cleanup, &x);

    CHECK_EQ(iora_gen_next(gen), 1);
    CHECK_EQ(iora_gen_close(gen), -EIO);
}

TEST_TASK(generator, close_completes_in_a_cancelled_scope_too)
{
    int x, rc = 0;
    const iora_gen gen = iora_gen_open(slow_counter, &x, 10, iora_ms(1), iora_ms(50));

    CHECK_EQ(iora_gen_next(gen), 1);
    IORA_TIMEOUT(rc, iora_ms(0)) {
        CHECK_EQ(iora_gen_close(gen), 0);
        CHECK_TRACE("cleaned@51");
    }
}

static int
close_it_when(iora_duration d, iora_duration cleanup)
{
    int x, rc;
    const iora_gen gen = iora_gen_open(slow_counter, &x, 10, d, cleanup);

    CHECK_EQ(iora_gen_next(gen), 1);
    rc = iora_gen_close(gen);
    at("closed");
    return rc;
}
IORA_ASYNC(close_it_when, iora_duration, iora_duration);

TEST_TASK(generator, close_goes_on_when_it_is_cancelled_meanwhile)
{
    const iora_task task = iora_go(close_it_when, iora_ms(1), iora_ms(50));

    CHECK_EQ(iora_sleep(iora_ms(10)), 0);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), 0);
    CHECK_TRACE("cleaned@51 closed@51");
}

TEST_TASK(generator, that_was_never_asked_runs_to_its_first_suspension_when_it_is_closed)
{
    int x = -1;
    const iora_gen gen = iora_gen_open(loud, &x, 10);

    CHECK_EQ(iora_yield(), 0);
    CHECK_TRACE(""); /* not before */
    CHECK_EQ(iora_gen_close(gen), 0);
    CHECK_TRACE("makes0 ends");
}

static int
open_and_leave(int ask)
{
    static int x;
    const iora_gen gen = iora_gen_open(slow_counter, &x, 10, iora_ms(1), iora_ms(50));

    for (int i = 0; i < ask; i++)
        CHECK_EQ(iora_gen_next(gen), 1);
    return 3;
}
IORA_ASYNC(open_and_leave, int);

TEST_TASK(generator, left_open_ends_with_its_owner)
{
    CHECK_EQ(iora_await(iora_go(open_and_leave, 2)), 3);
    CHECK_EQ(iora_await(iora_go(open_and_leave, 0)), 3);
    CHECK_TRACE("cleaned@52 cleaned@102");
    CHECK_EQ(tasks_alive(), 0);
}

/* ---- who may use it ------------------------------------------------------------------------------------------------------------------- */

static int
use_anothers(iora_gen gen)
{
    CHECK_EQ(iora_gen_next(gen), -EBUSY);
    CHECK_EQ(iora_gen_close(gen), -EBUSY);
    return 0;
}
IORA_ASYNC(use_anothers, iora_gen);

TEST_TASK(generator, used_by_a_task_that_is_not_its_owner_is_ebusy)
{
    int x;
    const iora_gen gen = iora_gen_open(counter, &x, 0, 2, 0);

    CHECK_EQ(iora_await(iora_go(use_anothers, gen)), 0);
    CHECK_EQ(iora_gen_next(gen), 1);
    CHECK_EQ(iora_await(iora_go(use_anothers, gen)), 0);
    CHECK_EQ(iora_gen_next(gen), 1);
    CHECK_EQ(iora_gen_next(gen), 0);
}

TEST_TASK(generator, emit_in_a_task_that_is_no_generator_is_einval)
{
    int x = 1;

    CHECK_EQ(iora_emit(&x, 2), -EINVAL);
    CHECK_EQ(iora_emit_ready(), -EINVAL);
}

static int
asks_itself(int *out, iora_gen *self)
{
    CHECK_EQ(iora_gen_next(*self), -EBUSY);
    return iora_emit(out, 1);
}
IORA_ASYNC(asks_itself, int *, iora_gen *);

TEST_TASK(generator, that_asks_itself_is_ebusy)
{
    int x;
    iora_gen gen;

    gen = iora_gen_open(asks_itself, &x, &gen);
    CHECK_EQ(iora_gen_next(gen), 1);
    CHECK_EQ(iora_gen_close(gen), 0);
}

static void
open_in_callback(void *arg)
{
    const iora_gen gen = iora_gen_open(counter, arg, 0, 2, 0);

    CHECK_EQ(iora_task_error(gen._task), IORA_E_NO_TASK);
    test_trace("callback");
}

static void
open_in_destructor(void *out)
{
    iora_gen gen = iora_gen_open(counter, out, 0, 3, 0);
    int rc = 0;

    CHECK_EQ(iora_gen_next(gen), IORA_E_NO_TASK);
    CHECK_EQ(iora_gen_close(gen), 0);
    iora_for_each(rc, counter, out, 0, 3, 0)
        test_trace("%d", *(int *)out);
    CHECK_EQ(rc, IORA_E_NO_TASK);
    test_trace("refused");
}

static int
leaves_a_value_that_opens_a_generator(int *x)
{
    static const iora_local key = {open_in_destructor};

    return iora_local_set(&key, x);
}
IORA_ASYNC(leaves_a_value_that_opens_a_generator, int *);

TEST_TASK(generator, is_not_opened_by_a_task_that_has_returned)
{
    static int x;

    CHECK_EQ(iora_await(iora_go(leaves_a_value_that_opens_a_generator, &x)), 0);
    CHECK_TRACE("refused");
    CHECK_EQ(tasks_alive(), 0);
}

TEST_TASK(generator, is_opened_by_tasks_only)
{
    iora_handle handle = {0};
    int x;

    CHECK_EQ(iora_call_soon(iora_loop_running(), &handle, open_in_callback, &x), 0);
    CHECK_EQ(iora_yield(), 0);
    CHECK_TRACE("callback");
}

/* ---- generators of generators ------------------------------------------------------------------------------------------------------------ */

static int
squares(int *out, int to)
{
    int x, rc;

    iora_for_each(rc, counter, &x, 0, to, 0) {
        rc = iora_emit(out, x * x);
        if (rc < 0)
            break;
    }
    return rc;
}
IORA_ASYNC(squares, int *, int);

static int
sums(int *out, int to)
{
    int x, rc, sum = 0;

    iora_for_each(rc, squares, &x, to) {
        sum += x;
        rc = iora_emit(out, sum);
        if (rc < 0)
            break;
    }
    return rc;
}
IORA_ASYNC(sums, int *, int);

TEST_TASK(generator, nests)
{
    int x, rc;

    iora_for_each(rc, sums, &x, 5)
        test_trace("%d", x);
    CHECK_EQ(rc, 0);
    CHECK_TRACE("0 1 5 14 30");
}

TEST_TASK(generator, nested_is_closed_from_the_outermost_inwards)
{
    int x, rc;

    iora_for_each(rc, sums, &x, 100) {
        if (x > 10)
            break;
    }
    CHECK_EQ(rc, 0);
    CHECK_TRACE("closed:ECANCELED");
    CHECK_EQ(tasks_alive(), 0);
}

TEST_TASK(generator, two_at_once_are_independent)
{
    int x, y;
    const iora_gen a = iora_gen_open(counter, &x, 0, 3, 0);
    const iora_gen b = iora_gen_open(counter, &y, 10, 13, 0);

    while (iora_gen_next(a) > 0 && iora_gen_next(b) > 0)
        test_trace("%d+%d", x, y);
    CHECK_EQ(iora_gen_close(b), 0);
    CHECK_TRACE("0+10 1+11 2+12 closed:ECANCELED");
}

static int recursive(int *out, int depth);
IORA_ASYNC(recursive, int *, int);

static int
recursive(int *out, int depth)
{
    int x, rc;

    if (depth == 0)
        return iora_emit(out, 0);
    iora_for_each(rc, recursive, &x, depth - 1) {
        rc = iora_emit(out, x + 1);
        if (rc < 0)
            break;
    }
    return rc;
}

TEST_TASK(generator, a_chain_of_two_thousand_hands_its_value_up_and_is_closed)
{
    int x, rc;

    iora_for_each(rc, recursive, &x, 2000)
        CHECK_EQ(x, 2000);
    CHECK_EQ(rc, 0);
    iora_for_each(rc, recursive, &x, 2000)
        break;
    CHECK_EQ(rc, 0);
    CHECK_EQ(tasks_alive(), 0);
}

/* ---- the others ------------------------------------------------------------------------------------------------------------------------------ */

static bool stop;

static int
stop_soon(void)
{
    for (int i = 0; i < 10; i++)
        CHECK_EQ(iora_yield(), 0);
    stop = true;
    return 0;
}
IORA_ASYNC(stop_soon);

static int
emit_for_ever(int *out)
{
    int rc = 0;

    while (rc == 0)
        rc = iora_emit(out, 1);
    return rc;
}
IORA_ASYNC(emit_for_ever, int *);

TEST_TASK(generator, that_never_waits_lets_others_run)
{
    int x, rc;
    long steps = 0;

    (void)iora_go(stop_soon);
    iora_for_each(rc, emit_for_ever, &x) {
        steps++;
        if (stop)
            break;
    }
    CHECK_EQ(rc, 0);
    CHECK(steps > 128);       /* it need not give way every time */
    CHECK(steps < 128 * 100); /* but does now and then */
}

static void
set_stop(void *arg)
{
    (void)arg;
    stop = true;
}

TEST_TASK_REAL(generator, that_never_waits_lets_a_timer_fire)
{
    iora_timer timer = {0};
    int x, rc;

    CHECK_EQ(iora_call_later(iora_loop_running(), &timer, iora_ms(2), set_stop, NULL), 0);
    iora_for_each(rc, emit_for_ever, &x) {
        if (stop)
            break;
    }
    CHECK_EQ(rc, 0);
}

static int
deaf_generator(int *out)
{
    while (!stop)
        (void)iora_emit(out, 1);
    return 0;
}
IORA_ASYNC(deaf_generator, int *);

static int
stop_after_two_seconds(void)
{
    CHECK_EQ(iora_sleep(iora_s(2)), 0);
    stop = true;
    return 0;
}
IORA_ASYNC(stop_after_two_seconds);

TEST_TASK(generator, that_ignores_its_close_lets_others_live_and_is_reported)
{
    int x, rc;

    (void)iora_go(stop_after_two_seconds);
    iora_for_each(rc, deaf_generator, &x)
        break;
    CHECK_EQ(rc, 0);
    CHECK(test_logged("\"deaf_generator\""));
    CHECK(test_logged("ignored 1000 times"));
}

/* A generator among all tasks can be cancelled by anybody. */
static int
cancel_generator(iora_task task)
{
    CHECK_EQ(iora_cancel(task), 0);
    return 0;
}
IORA_ASYNC(cancel_generator, iora_task);

TEST_TASK(generator, cancelled_by_somebody_else_while_its_consumer_waits)
{
    int x;
    const iora_gen gen = iora_gen_open(slow_counter, &x, 10, iora_ms(10), iora_ms(5));

    CHECK_EQ(iora_gen_next(gen), 1);
    (void)iora_go(cancel_generator, gen._task);
    CHECK_EQ(iora_gen_next(gen), IORA_E_TASK_CANCELED);
    CHECK_EQ(iora_gen_next(gen), -ESRCH);
    CHECK_TRACE("cleaned@15");
}

static int
emits_in_its_cleanup_scope(int *out)
{
    int rc = iora_sleep(iora_ms(10));

    CHECK_EQ(rc, -ECANCELED);
    CHECK_EQ(iora_cleanup(iora_emit(out, 1), iora_s(1)), -ECANCELED);
    return rc;
}
IORA_ASYNC(emits_in_its_cleanup_scope, int *);

TEST_TASK(generator, cancelled_by_somebody_else_while_its_consumer_waits_emits_no_more)
{
    int x = 0;
    const iora_gen gen = iora_gen_open(emits_in_its_cleanup_scope, &x);

    (void)iora_go(cancel_generator, gen._task);
    CHECK_EQ(iora_gen_next(gen), IORA_E_TASK_CANCELED);
    CHECK_EQ(x, 0);
}

TEST_TASK(generator, cancelled_by_somebody_else_between_two_nexts)
{
    int x;
    const iora_gen gen = iora_gen_open(slow_counter, &x, 10, iora_ms(10), iora_ms(5));

    CHECK_EQ(iora_gen_next(gen), 1);
    CHECK_EQ(iora_await(iora_go(cancel_generator, gen._task)), 0);
    CHECK_EQ(iora_sleep(iora_ms(50)), 0);
    CHECK_EQ(iora_gen_next(gen), IORA_E_TASK_CANCELED);
    CHECK_EQ(iora_gen_close(gen), 0);
    CHECK_TRACE("cleaned@15");
}

TEST_TASK(generator, cancelled_by_somebody_else_before_it_was_asked)
{
    int x;
    const iora_gen gen = iora_gen_open(counter, &x, 0, 10, 0);

    CHECK_EQ(iora_cancel(gen._task), 0);
    CHECK_EQ(iora_gen_next(gen), IORA_E_TASK_CANCELED);
    CHECK_EQ(iora_gen_close(gen), 0);
    CHECK_TRACE("closed:ECANCELED");
}
