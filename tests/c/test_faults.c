/* tests/c/test_faults.c -- what the fault sweeps (tests/fault/) found, by name. */
#include "test.h"

static iora_event never;

static int
waits(void)
{
    return iora_event_wait(&never);
}
IORA_ASYNC(waits);

static int
ends_with(int code)
{
    (void)iora_yield();
    return code;
}
IORA_ASYNC(ends_with, int);

/* ---- generators that are closed while they stand in emit ------------------------------------------ */

static int
emits_below_a_deadline(int *out)
{
    int rc = 0;

    IORA_TIMEOUT(rc, iora_ms(10)) {
        rc = iora_emit(out, 1);
    }
    test_trace("%s", iora_err_name(rc));
    return rc;
}
IORA_ASYNC(emits_below_a_deadline, int *);

static int
is_slower_than_the_deadline(void)
{
    int x, rc;

    iora_for_each(rc, emits_below_a_deadline, &x) {
        CHECK_EQ(iora_sleep(iora_ms(20)), 0);
        break;
    }
    return rc;
}
IORA_ASYNC(is_slower_than_the_deadline);

TEST(faults, generator_whose_deadline_passed_in_emit_is_closed)
{
    CHECK_EQ(test_run(is_slower_than_the_deadline), 0);
    CHECK_TRACE("ECANCELED");
}

static int
emits_in_a_cleanup_scope(int *out)
{
    int rc = 0;

    IORA_CLEANUP(rc, iora_s(100)) {
        rc = iora_emit(out, 1);
        CHECK_EQ(iora_sleep(iora_ms(5)), 0); /* which is what the scope is for */
    }
    test_trace("%s", iora_err_name(rc));
    return rc;
}
IORA_ASYNC(emits_in_a_cleanup_scope, int *);

static int
leaves_at_once(void)
{
    int x, rc;

    iora_for_each(rc, emits_in_a_cleanup_scope, &x)
        break;
    return rc;
}
IORA_ASYNC(leaves_at_once);

TEST(faults, generator_in_a_cleanup_scope_is_closed_at_once)
{
    (void)test_ms();
    CHECK_EQ(test_run(leaves_at_once), 0);
    CHECK_TRACE("ECANCELED");
    CHECK_EQ(test_ms(), 5);
}

/* ---- gather without memory --------------------------------------------------------------------------- */

enum { MANY = 24 }; /* more than gather has room for on the stack */

static int
gather_without_memory(const iora_task *tasks, int *codes)
{
    int rc;

    iora__seam_arm_allocation(1, true);
    rc = codes == NULL ? iora_gather_n(tasks, MANY) : iora_gather_all_n(codes, tasks, MANY);
    (void)iora__seam_disarm();
    return rc;
}

/* The first waits until it is cancelled; one behind it fails. */
static int
has_one_that_fails(void)
{
    iora_task tasks[MANY];

    for (int i = 0; i < MANY; i++)
        tasks[i] = i == 0 ? iora_go(waits) : iora_go(ends_with, i == 20 ? -EIO : 0);
    CHECK_EQ(gather_without_memory(tasks, NULL), -EIO);
    for (int i = 0; i < MANY; i++)
        CHECK_EQ(iora_await(tasks[i]), -ESRCH);
    return 0;
}
IORA_ASYNC(has_one_that_fails);

TEST_EVERYWHERE(faults, gather_without_memory_notices_a_failure)
{
    CHECK_EQ(test_run(has_one_that_fails), 0);
}

static int
gathers_those_that_wait(void)
{
    iora_task tasks[MANY];

    for (int i = 0; i < MANY; i++)
        tasks[i] = iora_go(waits);
    return iora_wait_for(gather_without_memory(tasks, NULL), iora_ms(5));
}
IORA_ASYNC(gathers_those_that_wait);

TEST(faults, gather_without_memory_is_cancelled)
{
    CHECK_EQ(test_run(gathers_those_that_wait), -ETIMEDOUT);
    CHECK_EQ(test_ms(), 0);
}

static int
gathers_all(void)
{
    iora_task tasks[MANY];
    int codes[MANY];

    for (int i = 0; i < MANY; i++)
        tasks[i] = iora_go(ends_with, -i);
    CHECK_EQ(gather_without_memory(tasks, codes), 0);
    for (int i = 0; i < MANY; i++)
        CHECK_EQ(codes[i], -i);
    for (int i = 0; i < MANY; i++)
        tasks[i] = iora_go(ends_with, i);
    CHECK_EQ(gather_without_memory(tasks, NULL), 0);
    for (int i = 0; i < MANY; i++)
        tasks[i] = i == 7 ? iora_current() : iora_go(ends_with, 0);
    CHECK_EQ(gather_without_memory(tasks, NULL), -EDEADLK);
    return 0;
}
IORA_ASYNC(gathers_all);

TEST(faults, gather_without_memory_knows_each_result)
{
    CHECK_EQ(test_run(gathers_all), 0);
}

/* ---- codes ---------------------------------------------------------------------------------------------- */

TEST(faults, no_address_space_is_enomem_whatever_the_kernel_calls_it)
{
    iora_loop_options options = *test_options();
    iora_loop *loop;

    for (int variant = 0; variant < iora__seam_variants(IORA__CALL_MMAP); variant++) {
        iora__seam_arm_call(1, variant, false);
        CHECK_EQ(iora_loop_new(&options, &loop), -ENOMEM);
        CHECK_EQ(iora__seam_disarm().last_call, IORA__CALL_MMAP);
    }
}
