/* tests/fault/scenarios_groups.c -- groups of each policy, nested, and left in each way. */
#include "fault.h"

static iora_event never;
static int members, ended; /* that waited to be cancelled, and have cleaned up */

static int
waits_and_cleans_up(void)
{
    IN_TASK;

    members++;
    EXPECT(iora_event_wait(&never), -ECANCELED);
    EXPECT(iora_cleanup(iora_yield(), iora_s(10)), 0);
    ended++;
    return -ECANCELED;
}
IORA_ASYNC(waits_and_cleans_up);

/* Ends with the code after some yields. Whatever keeps it from that, it is not the only one to wait for it. */
static int
ends_with(iora_group *group, int yields, int code)
{
    IN_TASK;

    while (yields-- > 0) {
        if (EXPECT_UNLESS_CANCELLED(iora_yield(), 0) < 0) {
            if (group != NULL)
                iora_group_cancel(group);
            return -ECANCELED;
        }
    }
    return code;
}
IORA_ASYNC(ends_with, iora_group *, int, int);

/* Whether it was spawned; if not its error is the block's. */
static bool
is_spawned(iora_task task, int *rc)
{
    if (iora_task_is_valid(SPAWN(task)))
        return true;
    *rc = EXPECT(iora_task_error(task), 0, IORA_E_CLOSED);
    return false;
}

static int
fails_fast(void)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        if (!is_spawned(iora_group_go(&group, waits_and_cleans_up), &rc) ||
            !is_spawned(iora_group_go(&group, waits_and_cleans_up), &rc) ||
            !is_spawned(iora_group_go(&group, ends_with, &group, 2, -EIO), &rc))
            break;
        rc = EXPECT(iora_event_wait(&never), -ECANCELED);
    }
    EXPECT(rc, -EIO, 0, IORA_E_CLOSED);
    CHECK_EQ(ended, members);
    CHECK_EQ_UNARMED(ended, 2);
    return 0;
}
IORA_ASYNC(fails_fast);

SCENARIO(groups, fail_fast, ANYWHERE)
{
    RUN(fails_fast);
}

static int
succeeds(void)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        for (int i = 0; i < 5; i++)
            (void)SPAWN(iora_group_go(&group, ends_with, NULL, i, i));
    }
    EXPECT(rc, 0);
    IORA_GROUP(rc, group) {
        for (int i = 0; i < 5; i++)
            (void)SPAWN(iora_group_go(&group, ends_with, NULL, i, 0));
        rc = EXPECT(iora_yield(), 0);
    }
    return EXPECT(rc, 0);
}
IORA_ASYNC(succeeds);

SCENARIO(groups, all_well, ANYWHERE)
{
    RUN(succeeds);
}

static int
isolates(void)
{
    int rc = 0;

    IORA_GROUP_OF(rc, group, IORA_GROUP_ISOLATE) {
        for (int i = 0; i < 6; i++)
            (void)SPAWN(iora_group_go(&group, ends_with, NULL, i, i % 3 == 1 ? -EIO : 0));
        EXPECT(iora_group_next(&group, NULL, NULL), -EINVAL);
        (void)SPAWN(iora_group_go(&group, waits_and_cleans_up));
        rc = EXPECT(iora_yield(), 0);
        for (int i = 0; i < 10 && rc == 0; i++)
            rc = EXPECT(iora_yield(), 0);
        iora_group_cancel(&group);
        EXPECT(iora_task_error(SPAWN(iora_group_go(&group, ends_with, NULL, 1, 0))), IORA_E_CLOSED);
    }
    EXPECT(rc, 0);
    CHECK_EQ(ended, members);
    return 0;
}
IORA_ASYNC(isolates);

SCENARIO(groups, isolate, ANYWHERE)
{
    fault_expect_errors(2);
    RUN(isolates);
}

/* In the order they end. */
static int
takes_as_completed(unsigned flags, int count)
{
    int rc = 0, taken = 0;

    IORA_GROUP_OF(rc, group, flags) {
        iora_task task;
        int code;

        for (int i = 0; i < count; i++)
            (void)SPAWN(iora_group_go(&group, ends_with, NULL, count - i, i));
        while ((rc = EXPECT(iora_group_next(&group, &task, &code), taken < count ? 0 : -ENOENT,
                            -ENOENT)) == 0) {
            CHECK(iora_task_is_done(task));
            CHECK_EQ_UNARMED(code, count - 1 - taken);
            CHECK(code >= 0 || code == IORA_E_TASK_CANCELED);
            taken++;
        }
        CHECK(rc != -ENOENT || iora_group_live(&group) == 0);
        if (rc == -ENOENT)
            rc = 0;
    }
    CHECK_EQ_UNARMED(taken, count);
    return EXPECT(rc, 0);
}

static int
takes_from_each(void)
{
    int rc = EXPECT(takes_as_completed(IORA_GROUP_FAIL_FAST, 5), 0);

    if (rc == 0)
        rc = EXPECT(takes_as_completed(IORA_GROUP_ISOLATE | IORA_GROUP_KEEP, 5), 0);
    return rc;
}
IORA_ASYNC(takes_from_each);

SCENARIO(groups, next, ANYWHERE)
{
    RUN(takes_from_each);
}

static int
takes_failures(void)
{
    int rc = 0, failed = 0, code;

    IORA_GROUP_OF(rc, group, IORA_GROUP_ISOLATE | IORA_GROUP_KEEP) {
        for (int i = 0; i < 6; i++)
            (void)SPAWN(iora_group_go(&group, ends_with, NULL, i, i % 2 ? -EIO : 0));
        for (int i = 0; i < 4 && rc == 0; i++) {
            rc = EXPECT(iora_group_next(&group, NULL, &code), 0, -ENOENT);
            failed += rc == 0 && code == -EIO;
        }
    }
    EXPECT(rc, 0, -ENOENT);
    CHECK_EQ_UNARMED(failed, 2);
    return 0;
}
IORA_ASYNC(takes_failures);

SCENARIO(groups, next_of_failures, ANYWHERE)
{
    fault_expect_errors(1); /* the one that nobody took */
    RUN(takes_failures);
}

/* ---- nested ---------------------------------------------------------------------------------------- */

/* Whatever becomes of it, who waits in the outer group does not wait for ever. */
static int
has_a_group(iora_group *outer, int code)
{
    IN_TASK;
    int rc = 0;

    IORA_GROUP(rc, inner) {
        (void)SPAWN(iora_group_go(&inner, waits_and_cleans_up));
        if (is_spawned(iora_group_go(&inner, ends_with, &inner, 2, code), &rc))
            rc = EXPECT(iora_event_wait(&never), -ECANCELED);
    }
    EXPECT(rc, code, 0, IORA_E_CLOSED);
    if (rc != code)
        iora_group_cancel(outer);
    return rc;
}
IORA_ASYNC(has_a_group, iora_group *, int);

static int starts_others(iora_group *group, int depth);
IORA_ASYNC(starts_others, iora_group *, int);

static int
starts_others(iora_group *group, int depth)
{
    IN_TASK;

    for (int i = 0; i < 2 && depth > 0; i++)
        (void)SPAWN(iora_group_go(group, starts_others, group, depth - 1));
    return EXPECT(iora_yield(), 0);
}

static int
nests(void)
{
    int rc = 0, within = 0;

    IORA_GROUP(rc, outer) {
        (void)SPAWN(iora_group_go(&outer, starts_others, &outer, 2));
        (void)SPAWN(iora_group_go(&outer, waits_and_cleans_up));
        IORA_GROUP(within, group) {
            (void)SPAWN(iora_group_go(&group, waits_and_cleans_up));
            if (is_spawned(iora_group_go(&outer, has_a_group, &outer, -EIO), &within))
                within = EXPECT(iora_event_wait(&never), -ECANCELED);
        }
        rc = EXPECT(within, -ECANCELED, -EIO, 0, IORA_E_CLOSED);
        if (rc == 0)
            iora_group_cancel(&outer);
    }
    EXPECT(rc, -EIO, 0, IORA_E_CLOSED);
    CHECK_EQ(ended, members);
    return 0;
}
IORA_ASYNC(nests);

SCENARIO(groups, nested, ANYWHERE)
{
    RUN(nests);
}

/* ---- ways out ---------------------------------------------------------------------------------------- */

static int
leaves(int way)
{
    int rc = 0;

    for (int i = 0; i < 2; i++) {
        IORA_GROUP(rc, group) {
            (void)SPAWN(iora_group_go(&group, waits_and_cleans_up));
            rc = EXPECT(iora_yield(), 0);
            rc = rc < 0 ? rc : -EAGAIN;
            if (way == 0)
                break;
            if (way == 1)
                return rc;
            if (way == 2)
                goto out;
        }
    }
out:
    return rc;
}

static int
leaves_in_each_way(void)
{
    for (int way = 0; way < 4; way++) {
        EXPECT(leaves(way), -EAGAIN, 0);
        CHECK_EQ(ended, members);
    }
    return 0;
}
IORA_ASYNC(leaves_in_each_way);

SCENARIO(groups, left_in_each_way, ANYWHERE)
{
    RUN(leaves_in_each_way);
}

static int
begins_and_ends(void)
{
    iora_group group;
    int rc;

    EXPECT(iora_group_begin(&group, 0), 0);
    (void)SPAWN(iora_group_go(&group, ends_with, NULL, 3, 0));
    (void)SPAWN(iora_group_go(&group, waits_and_cleans_up));
    rc = EXPECT(iora_yield(), 0);
    rc = iora_group_end(&group, rc < 0 ? rc : -EPERM);
    EXPECT(rc, -EPERM, 0);
    CHECK_EQ(iora_group_end(&group, 5), 5);
    CHECK_EQ(iora_task_error(SPAWN(iora_group_go(&group, ends_with, NULL, 1, 0))), IORA_E_CLOSED);
    EXPECT(iora_group_next(&group, NULL, NULL), IORA_E_CLOSED);
    CHECK_EQ(ended, members);
    return 0;
}
IORA_ASYNC(begins_and_ends);

SCENARIO(groups, begin_and_end, ANYWHERE)
{
    RUN(begins_and_ends);
}
