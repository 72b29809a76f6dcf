/* tests/c/test_error.c -- codes, their names, and the records that say more than a code can. */
#include "waiting.h"

#include <limits.h>

/* ---- names and sentences --------------------------------------------------------------------- */

static const struct {
    int code;
    const char *name;
} own_codes[] = {
    {IORA_E_NO_LOOP, "IORA_E_NO_LOOP"},
    {IORA_E_NO_TASK, "IORA_E_NO_TASK"},
    {IORA_E_TASK_CANCELED, "IORA_E_TASK_CANCELED"},
    {IORA_E_CLOSED, "IORA_E_CLOSED"},
    {IORA_E_SHUTDOWN, "IORA_E_SHUTDOWN"},
    {IORA_E_BROKEN, "IORA_E_BROKEN"},
    {IORA_E_FORKED, "IORA_E_FORKED"},
    {IORA_E_WRONG_THREAD, "IORA_E_WRONG_THREAD"},
    {IORA_E_STACK_LIMIT, "IORA_E_STACK_LIMIT"},
    {IORA_E_LIMIT, "IORA_E_LIMIT"},
    {IORA_E_INCOMPLETE, "IORA_E_INCOMPLETE"},
    {IORA_E_TORN, "IORA_E_TORN"},
    {IORA_E_NAME, "IORA_E_NAME"},
    {IORA_E_NAME_AGAIN, "IORA_E_NAME_AGAIN"},
};

enum { OWN_CODES = sizeof own_codes / sizeof *own_codes, LAST_ERRNO = 4095 };

static void
check_is_a_sentence(const char *text)
{
    const size_t length = strlen(text);

    CHECK(length > 5);
    CHECK(text[length - 1] != '.' && text[length - 1] != '\n');
}

TEST(error, own_codes_lie_outside_of_the_kernels)
{
    for (int i = 0; i < OWN_CODES; i++)
        CHECK(own_codes[i].code < -LAST_ERRNO);
}

TEST(error, own_codes_have_their_names_and_a_sentence_each)
{
    for (int i = 0; i < OWN_CODES; i++) {
        CHECK_STR(iora_err_name(own_codes[i].code), own_codes[i].name);
        check_is_a_sentence(iora_strerror(own_codes[i].code));
        for (int k = 0; k < i; k++)
            CHECK(strcmp(iora_strerror(own_codes[i].code), iora_strerror(own_codes[k].code)) != 0);
    }
}

TEST(error, kernel_codes_have_the_names_and_sentences_of_libc)
{
    for (int number = 1; number <= LAST_ERRNO; number++) {
        const char *const name = strerrorname_np(number), *const text = strerrordesc_np(number);

        CHECK_STR(iora_err_name(-number), name != NULL ? name : "UNKNOWN");
        CHECK_STR(iora_strerror(-number), text != NULL ? text : "unknown error");
    }
    CHECK_STR(iora_err_name(-EAGAIN), "EAGAIN");
}

TEST(error, counts_are_no_errors)
{
    CHECK_STR(iora_err_name(0), "OK");
    CHECK_STR(iora_err_name(INT_MAX), "OK");
    CHECK_STR(iora_strerror(0), "success");
    CHECK_STR(iora_strerror(1), "success");
}

TEST(error, numbers_that_are_no_code_are_unknown)
{
    static const int numbers[] = {-4096, -4100, IORA_E_NAME_AGAIN - 1, INT_MIN};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        CHECK_STR(iora_err_name(numbers[i]), "UNKNOWN");
        CHECK_STR(iora_strerror(numbers[i]), "unknown error");
    }
}

TEST(error, version_of_the_library_is_that_of_the_header)
{
    char version[32];

    (void)snprintf(version, sizeof version, "%d.%d.%d", IORA_VERSION_MAJOR, IORA_VERSION_MINOR,
                   IORA_VERSION_PATCH);
    CHECK_STR(iora_version(), version);
    CHECK_STR(iora_version(), IORA_VERSION);
}

TEST(error, sprintf_gives_text_to_be_freed)
{
    char *const text = iora_sprintf("%s %d", "answer", 42);

    CHECK_STR(text, "answer 42");
    free(text);
}

/* ---- a task's record ------------------------------------------------------------------------- */

TEST_TASK(error, there_is_no_record_before_anything_failed)
{
    CHECK(iora_error_last() == NULL);
}

TEST_TASK(error, fail_records_what_where_and_who)
{
    const iora_error *error;

    CHECK_EQ(iora_fail(-EIO, "reading %s of %d", "block 7", 9), -EIO);
    error = iora_error_last();
    CHECK(error != NULL);
    CHECK_EQ(error->code, -EIO);
    CHECK_STR(error->what, "reading block 7 of 9");
    CHECK_STR(error->task, iora_task_name(iora_current()));
    CHECK_STR(error->spawned, "iora_run");
    CHECK_EQ(error->task_id, iora_task_id(iora_current()));
    CHECK(error->cause == NULL);
    CHECK(error->next == NULL);
}

TEST_TASK(error, earlier_record_of_the_same_code_becomes_the_cause)
{
    const iora_error *error;

    CHECK_EQ(iora_fail(-EIO, "reading"), -EIO);
    CHECK_EQ(iora_fail(-EIO, "loading, that is %s", iora_error_last()->what), -EIO);
    CHECK_EQ(iora_fail(-EIO, "starting"), -EIO);
    error = iora_error_last();
    CHECK_STR(error->what, "starting");
    CHECK_STR(error->cause->what, "loading, that is reading");
    CHECK_STR(error->cause->cause->what, "reading");
    CHECK(error->cause->cause->cause == NULL);
}

TEST_TASK(error, record_of_another_code_stands_alone)
{
    CHECK_EQ(iora_fail(-EIO, "reading"), -EIO);
    CHECK_EQ(iora_fail(-ENOENT, "opening"), -ENOENT);
    CHECK_EQ(iora_error_last()->code, -ENOENT);
    CHECK(iora_error_last()->cause == NULL);
}

TEST_TASK(error, record_keeps_the_name_the_task_had)
{
    CHECK_EQ(iora_task_set_name(iora_current(), "before"), 0);
    CHECK_EQ(iora_fail(-EIO, "reading"), -EIO);
    CHECK_EQ(iora_task_set_name(iora_current(), "after"), 0);
    CHECK_STR(iora_error_last()->task, "before");
}

TEST_TASK(error, record_may_be_long)
{
    static char text[10000];

    memset(text, 'x', sizeof text - 1);
    CHECK_EQ(iora_fail(-EIO, "%s", text), -EIO);
    CHECK_STR(iora_error_last()->what, text);
}

TEST_TASK(error, long_chain_is_freed_without_recursion)
{
    for (int i = 0; i < 50000; i++)
        CHECK_EQ(iora_fail(-EIO, "%d", i), -EIO);
    CHECK_STR(iora_error_last()->cause->what, "49998");
}

TEST(error, fail_outside_of_a_task_only_returns_the_code)
{
    CHECK_EQ(iora_fail(-EIO, "reading %s", "x"), -EIO);
    CHECK(iora_error_last() == NULL);
}

TEST_TASK(error, fail_without_memory_leaves_no_record_of_something_else)
{
    CHECK_EQ(iora_fail(-EPERM, "earlier"), -EPERM);
    iora__seam_arm_allocation(1, true);
    CHECK_EQ(iora_fail(-EIO, "reading"), -EIO);
    (void)iora__seam_disarm();
    CHECK(iora_error_last() == NULL);
}

/* ---- the chain of awaits --------------------------------------------------------------------- */

static int
read_block(void)
{
    return iora_fail(-EIO, "reading block %d", 7);
}
IORA_ASYNC(read_block);

static int
load_file(void)
{
    return iora_await(iora_go(read_block));
}
IORA_ASYNC(load_file);

static int
start_up(void)
{
    const int rc = iora_await(iora_go(load_file));

    return rc < 0 ? iora_fail(rc, "starting up") : rc;
}
IORA_ASYNC(start_up);

static int
fail_with(int code)
{
    return code;
}
IORA_ASYNC(fail_with, int);

TEST_TASK(error, chain_leads_from_where_it_shows_to_where_it_arose)
{
    const iora_error *error;

    CHECK_EQ(iora_await(iora_go(start_up)), -EIO);
    error = iora_error_last();
    CHECK_STR(error->what, "await start_up");
    CHECK_EQ(error->task_id, iora_task_id(iora_current()));
    CHECK_EQ(error->code, -EIO);
    error = error->cause;
    CHECK_STR(error->what, "starting up");
    CHECK_STR(error->task, "start_up");
    error = error->cause;
    CHECK_STR(error->what, "await load_file");
    CHECK_STR(error->task, "start_up");
    error = error->cause;
    CHECK_STR(error->what, "await read_block");
    CHECK_STR(error->task, "load_file");
    error = error->cause;
    CHECK_STR(error->what, "reading block 7");
    CHECK_STR(error->task, "read_block");
    CHECK(strstr(error->spawned, "test_error.c:") != NULL);
    CHECK(error->cause == NULL);
}

TEST_TASK(error, task_that_recorded_nothing_gets_a_plain_record)
{
    const iora_task task = iora_go(fail_with, -ENOENT);
    const uint64_t id = iora_task_id(task);

    CHECK_EQ(iora_await(task), -ENOENT);
    CHECK_STR(iora_error_last()->what, "await fail_with");
    CHECK_EQ(iora_error_last()->cause->code, -ENOENT);
    CHECK_STR(iora_error_last()->cause->what, iora_strerror(-ENOENT));
    CHECK_EQ(iora_error_last()->cause->task_id, id);
}

TEST_TASK(error, await_of_a_task_that_has_ended_makes_the_same_record)
{
    const iora_task task = iora_go(read_block);

    let_all_run();
    CHECK_EQ(iora_await(task), -EIO);
    CHECK_STR(iora_error_last()->what, "await read_block");
    CHECK_STR(iora_error_last()->cause->what, "reading block 7");
}

TEST_TASK(error, shield_and_gather_make_one_too)
{
    CHECK_EQ(iora_shield(iora_go(read_block)), -EIO);
    CHECK_STR(iora_error_last()->cause->what, "reading block 7");
    CHECK_EQ(iora_fail(-EPERM, "something else"), -EPERM);
    CHECK_EQ(iora_gather(iora_go(fail_with, 0), iora_go(read_block), iora_go(fail_with, -EINVAL)),
             -EIO);
    CHECK_STR(iora_error_last()->what, "await read_block");
    CHECK_STR(iora_error_last()->cause->what, "reading block 7");
}

TEST_TASK(error, success_makes_no_record)
{
    CHECK_EQ(iora_await(iora_go(fail_with, 0)), 0);
    CHECK_EQ(iora_await(iora_go(fail_with, 3)), 3);
    CHECK(iora_error_last() == NULL);
}

/* What a task got over is no cause of what it ended with. */
static int
get_over_an_error_and_fail(int code)
{
    CHECK_EQ(iora_fail(-EIO, "got over"), -EIO);
    return code;
}
IORA_ASYNC(get_over_an_error_and_fail, int);

static int
get_over_an_error_and_sleep(void)
{
    CHECK_EQ(iora_fail(-EIO, "got over"), -EIO);
    return iora_sleep(iora_s(1));
}
IORA_ASYNC(get_over_an_error_and_sleep);

TEST_TASK(error, what_a_task_got_over_is_not_the_cause)
{
    iora_task task;

    CHECK_EQ(iora_await(iora_go(get_over_an_error_and_fail, -ENOENT)), -ENOENT);
    CHECK_EQ(iora_error_last()->cause->code, -ENOENT);
    CHECK_STR(iora_error_last()->cause->what, iora_strerror(-ENOENT));

    task = iora_go(get_over_an_error_and_sleep);
    let_all_run();
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), IORA_E_TASK_CANCELED);
    CHECK_EQ(iora_error_last()->code, IORA_E_TASK_CANCELED);
    CHECK(iora_error_last()->cause == NULL || iora_error_last()->cause->code == -ECANCELED);
}

static int
wait_and_record(iora_task task)
{
    const int rc = iora_await(task);

    CHECK_EQ(iora_error_last()->code, rc);
    CHECK_STR(iora_error_last()->what, "await fail_with");
    return 0;
}
IORA_ASYNC(wait_and_record, iora_task);

TEST_TASK(error, all_who_wait_get_a_record_of_their_own)
{
    const iora_task task = iora_go(fail_with, -EIO);

    CHECK_EQ(
        iora_gather(iora_go_eager(wait_and_record, task), iora_go_eager(wait_and_record, task)), 0);
    CHECK(iora_error_last() == NULL);
}

TEST_TASK(error, await_without_memory_only_returns_the_code)
{
    for (long n = 1; n <= 3; n++) {
        const iora_task task = iora_go(get_over_an_error_and_fail, -ENOENT);

        iora__seam_arm_allocation(n, true);
        CHECK_EQ(iora_await(task), -ENOENT);
        (void)iora__seam_disarm();
        CHECK(iora_error_last() == NULL || iora_error_last()->cause == NULL);
    }
}

/* ---- groups ---------------------------------------------------------------------------------- */

static int
sleep_and_fail_at_the_end(int code, const char *what)
{
    CHECK_EQ(iora_sleep(iora_s(1000)), -ECANCELED);
    return iora_fail(code, "%s", what);
}
IORA_ASYNC(sleep_and_fail_at_the_end, int, const char *);

static int
sleep_long(void)
{
    return iora_sleep(iora_s(1000));
}
IORA_ASYNC(sleep_long);

TEST_TASK(error, group_keeps_all_failures_in_the_order_they_came)
{
    int rc = 0;
    const iora_error *error;

    IORA_GROUP(rc, group) {
        iora_group_go(&group, sleep_and_fail_at_the_end, -ENOSPC, "saving a");
        iora_group_go(&group, sleep_long); /* a cancel obeyed is no failure */
        iora_group_go(&group, sleep_and_fail_at_the_end, -ENOENT, "saving b");
        rc = iora_yield();
        iora_group_go(&group, read_block);
    }
    CHECK_EQ(rc, -EIO);
    error = iora_error_last();
    CHECK_EQ(error->code, -EIO);
    CHECK_STR(error->what, "reading block 7");
    CHECK_STR(error->task, "read_block");
    error = error->next;
    CHECK_EQ(error->code, -ENOSPC);
    CHECK_STR(error->what, "saving a");
    error = error->next;
    CHECK_EQ(error->code, -ENOENT);
    CHECK_STR(error->what, "saving b");
    CHECK(error->next == NULL);
}

TEST_TASK(error, failure_of_the_block_comes_before_those_of_the_members)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        iora_group_go(&group, sleep_and_fail_at_the_end, -ENOSPC, "saving");
        rc = iora_yield();
        rc = iora_fail(-EPERM, "the block failed");
    }
    CHECK_EQ(rc, -EPERM);
    CHECK_STR(iora_error_last()->what, "the block failed");
    CHECK(iora_error_last()->next != NULL);
    CHECK_STR(iora_error_last()->next->what, "saving");
}

TEST_TASK(error, failure_of_the_block_is_kept_beside_one_with_the_same_code)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        iora_group_go(&group, sleep_and_fail_at_the_end, -EPERM, "saving");
        rc = iora_yield();
        rc = iora_fail(-EPERM, "the block failed");
    }
    CHECK_EQ(rc, -EPERM);
    CHECK_STR(iora_error_last()->what, "the block failed");
    CHECK(iora_error_last()->next != NULL);
    CHECK_STR(iora_error_last()->next->what, "saving");
}

/* Whether some record in the list or its causes says so. */
static bool
tells_of(const iora_error *list, const char *what)
{
    for (; list != NULL; list = list->next) {
        for (const iora_error *error = list; error != NULL; error = error->cause) {
            if (strcmp(error->what, what) == 0)
                return true;
        }
    }
    return false;
}

TEST_TASK(error, awaited_member_of_a_group_keeps_what_it_recorded)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        rc = iora_await(iora_group_go(&group, read_block));
        CHECK_EQ(rc, -EIO);
        CHECK(tells_of(iora_error_last(), "reading block 7"));
    }
    CHECK_EQ(rc, -EIO);
    CHECK_STR(iora_error_last()->what, "await read_block");
    CHECK_STR(iora_error_last()->cause->what, "reading block 7");
    CHECK(iora_error_last()->next == NULL); /* one failure is told once */
}

TEST_TASK(error, failure_of_the_block_after_those_of_members_comes_last)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        iora_group_go(&group, read_block);
        CHECK_EQ(iora_sleep(iora_s(1)), -ECANCELED);
        rc = iora_fail(-EPERM, "the block failed too");
    }
    CHECK_EQ(rc, -EIO);
    CHECK_STR(iora_error_last()->what, "reading block 7");
    CHECK(iora_error_last()->next != NULL);
    CHECK_STR(iora_error_last()->next->what, "the block failed too");
    CHECK(iora_error_last()->next->next == NULL);
}

TEST_TASK(error, what_was_recorded_before_a_group_is_not_among_its_failures)
{
    int rc = 0;

    CHECK_EQ(iora_fail(-EINVAL, "long ago"), -EINVAL);
    IORA_GROUP(rc, group) {
        iora_group_go(&group, read_block);
        rc = iora_sleep(iora_s(1));
    }
    CHECK_EQ(rc, -EIO);
    CHECK_STR(iora_error_last()->what, "reading block 7");
    CHECK(!tells_of(iora_error_last(), "long ago"));
}

static int
open_a_group_that_fails(void)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        iora_group_go(&group, sleep_and_fail_at_the_end, -ENOSPC, "saving");
        rc = iora_yield();
        iora_group_go(&group, read_block);
    }
    return rc;
}
IORA_ASYNC(open_a_group_that_fails);

TEST_TASK(error, failures_of_a_group_are_the_cause_for_who_awaits_its_task)
{
    const iora_error *error;

    CHECK_EQ(iora_await(iora_go(open_a_group_that_fails)), -EIO);
    error = iora_error_last();
    CHECK_STR(error->what, "await open_a_group_that_fails");
    CHECK_STR(error->cause->what, "reading block 7");
    CHECK_STR(error->cause->next->what, "saving");
}

TEST_TASK(error, group_without_memory_keeps_no_record_of_something_else)
{
    for (long n = 1; n <= 4; n++) {
        int rc = 0;

        IORA_GROUP(rc, group) {
            iora_group_go(&group, get_over_an_error_and_fail, -ENOENT);
            iora__seam_arm_allocation(n, true);
            rc = iora_sleep(iora_s(1));
        }
        (void)iora__seam_disarm();
        CHECK_EQ(rc, -ENOENT);
        CHECK(iora_error_last() == NULL || iora_error_last()->code == -ENOENT);
    }
}

/* Each failure kept all the earlier ones of its code. */
static int
fails_again_and_again(void)
{
    const iora_error *error;
    int causes = 0;

    for (int i = 0; i < 1000; i++)
        (void)iora_fail(-EIO, "time %d", i);
    for (error = iora_error_last(); error->cause != NULL; error = error->cause)
        causes++;
    CHECK_EQ(causes, 32);
    CHECK_STR(iora_error_last()->what, "time 999");
    CHECK_STR(error->what, "time 967");
    return 0;
}
IORA_ASYNC(fails_again_and_again);

TEST(error, causes_of_a_task_that_fails_for_ever_are_bounded)
{
    CHECK_EQ(test_run(fails_again_and_again), 0);
}
