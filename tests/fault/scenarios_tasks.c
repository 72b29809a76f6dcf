/* tests/fault/scenarios_tasks.c -- spawning, awaiting, and what belongs to a task. */
#include "fault.h"

static iora_event never; /* nobody sets it: who waits for it is cancelled */

/* ---- awaiting ----------------------------------------------------------------------------------- */

enum { BRANCHES = 3 };

static int tree(int depth, int *leaves);
IORA_ASYNC(tree, int, int *);

static int
tree(int depth, int *leaves)
{
    IN_TASK;
    int below[BRANCHES] = {0}, rc = 0;
    iora_task tasks[BRANCHES];

    if (depth == 0) {
        *leaves = 1;
        return EXPECT(iora_yield(), 0);
    }
    for (int i = 0; i < BRANCHES; i++)
        tasks[i] = SPAWN(iora_go(tree, depth - 1, &below[i]));
    for (int i = 0; i < BRANCHES; i++) {
        const int one = EXPECT(iora_await(tasks[i]), 0);

        rc = rc < 0 ? rc : one;
        *leaves += below[i];
    }
    return rc;
}

static int
grows_a_tree(int *leaves)
{
    return EXPECT(iora_await(SPAWN(iora_go(tree, 2, leaves))), 0);
}
IORA_ASYNC(grows_a_tree, int *);

SCENARIO(tasks, tree, ANYWHERE)
{
    int leaves = 0;

    RUN(grows_a_tree, &leaves);
    CHECK_EQ_UNARMED(leaves, 9);
    CHECK(leaves <= 9);
}

static int
ends_with(int yields, int code)
{
    IN_TASK;

    while (yields-- > 0) {
        const int rc = EXPECT_UNLESS_CANCELLED(iora_yield(), 0);

        if (rc < 0)
            return rc;
    }
    return code;
}
IORA_ASYNC(ends_with, int, int);

static int
awaits_one(iora_task task, int *code)
{
    IN_TASK;

    return *code = EXPECT(iora_await(task), 7, -ESRCH);
}
IORA_ASYNC(awaits_one, iora_task, int *);

static int
awaits_the_same(void)
{
    static int codes[3];
    const iora_task one = SPAWN(iora_go(ends_with, 3, 7));
    iora_task tasks[3];

    for (int i = 0; i < 3; i++)
        tasks[i] = SPAWN(iora_go(awaits_one, one, &codes[i]));
    EXPECT(iora_gather_n(tasks, 3), 0, -ESRCH);
    for (int i = 0; i < 3; i++)
        CHECK_EQ_UNARMED(codes[i], 7);
    EXPECT(iora_await(one), -ESRCH, 7);
    EXPECT(iora_await(one), -ESRCH);
    return 0;
}
IORA_ASYNC(awaits_the_same);

SCENARIO(tasks, awaited_by_several, ANYWHERE)
{
    RUN(awaits_the_same);
}

/* Each awaits the next; the last waits for ever. A cancel of the first reaches it, whatever the depth. */
static int awaits_down(int depth);
IORA_ASYNC(awaits_down, int);

static int
awaits_down(int depth)
{
    IN_TASK;

    if (depth == 0)
        return EXPECT(iora_event_wait(&never), -ECANCELED);
    return EXPECT_UNLESS_CANCELLED(iora_await(SPAWN(iora_go(awaits_down, depth - 1))), -ECANCELED);
}

static int
cancels_a_chain(void)
{
    const iora_task first = SPAWN(iora_go(awaits_down, 3000));
    int rc = 0;

    /* Each turn of this task is one further down. */
    for (int i = 0; i <= 3000 && rc == 0; i++)
        rc = EXPECT(iora_yield(), 0);
    EXPECT(iora_cancel(first), 0);
    EXPECT(iora_await(first), IORA_E_TASK_CANCELED);
    return 0;
}
IORA_ASYNC(cancels_a_chain);

SCENARIO_EVERY(tasks, chain_of_thousands, SIM, 331)
{
    RUN(cancels_a_chain);
}

static iora_task ring[2];

static int
awaits_the_other(int other, int expected)
{
    IN_TASK;

    EXPECT(iora_await(ring[other]), expected, 0, -EDEADLK, -ESRCH);
    return 0;
}
IORA_ASYNC(awaits_the_other, int, int);

static int
awaits_in_a_ring(void)
{
    ring[0] = SPAWN(iora_go(awaits_the_other, 1, 0));
    ring[1] = SPAWN(iora_go(awaits_the_other, 0, -EDEADLK));
    EXPECT(iora_await(iora_current()), -EDEADLK);
    EXPECT(iora_await(ring[0]), 0, -ESRCH);
    EXPECT(iora_await(ring[1]), -ESRCH, 0);
    return 0;
}
IORA_ASYNC(awaits_in_a_ring);

SCENARIO(tasks, awaited_in_a_ring, ANYWHERE)
{
    RUN(awaits_in_a_ring);
}

/* ---- children that are left behind ------------------------------------------------------------------ */

static int begun_to_wait, cleaned_up;

static int
waits_and_cleans_up(void)
{
    IN_TASK;

    begun_to_wait++;
    EXPECT(iora_event_wait(&never), -ECANCELED);
    EXPECT(iora_cleanup(iora_yield(), iora_s(10)), 0);
    cleaned_up++;
    return -ECANCELED;
}
IORA_ASYNC(waits_and_cleans_up);

static int
leaves_children(bool deeper)
{
    IN_TASK;

    for (int i = 0; i < 3; i++)
        (void)SPAWN(iora_go(waits_and_cleans_up));
    if (deeper)
        return EXPECT(iora_yield(), 0);
    (void)SPAWN(iora_go(waits_and_cleans_up));
    return 0;
}
IORA_ASYNC(leaves_children, bool);

static int
is_left_with_nothing(void)
{
    (void)SPAWN(iora_go(waits_and_cleans_up));
    EXPECT(iora_await(SPAWN(iora_go(leaves_children, true))), 0);
    EXPECT(iora_await(SPAWN(iora_go(leaves_children, false))), 0);
    return 0;
}
IORA_ASYNC(is_left_with_nothing);

SCENARIO(tasks, children_left_behind, ANYWHERE)
{
    RUN(is_left_with_nothing);
    CHECK_EQ(cleaned_up, begun_to_wait);
    CHECK_EQ_UNARMED(cleaned_up, 8);
}

static int
cancels_at_each_stage(void)
{
    iora_task ended = SPAWN(iora_go(ends_with, 0, 5));
    iora_task waiting = SPAWN(iora_go(waits_and_cleans_up)), fresh;

    EXPECT(iora_yield(), 0);
    fresh = SPAWN(iora_go(ends_with, 1, 0));
    EXPECT(iora_cancel(fresh), 0);
    EXPECT(iora_cancel(waiting), 0);
    EXPECT(iora_cancel(ended), 0);
    EXPECT(iora_await(ended), 5);
    EXPECT(iora_await(waiting), IORA_E_TASK_CANCELED);
    EXPECT(iora_await(fresh), IORA_E_TASK_CANCELED);
    EXPECT(iora_cancel(fresh), -ESRCH);
    return 0;
}
IORA_ASYNC(cancels_at_each_stage);

SCENARIO(tasks, cancelled_at_each_stage, ANYWHERE)
{
    RUN(cancels_at_each_stage);
    CHECK_EQ(cleaned_up, begun_to_wait);
}

/* ---- several at once ---------------------------------------------------------------------------------- */

static int
gathers(void)
{
    int codes[4] = {1, 1, 1, 1};

    EXPECT(iora_gather(SPAWN(iora_go(ends_with, 2, 0)), SPAWN(iora_go(waits_and_cleans_up)),
                       SPAWN(iora_go(ends_with, 1, -EIO)), SPAWN(iora_go(ends_with, 1, -EPERM))),
           -EIO, -EPERM);
    CHECK_EQ(cleaned_up, begun_to_wait);
    EXPECT(iora_gather_all(codes, SPAWN(iora_go(ends_with, 2, 3)),
                           SPAWN(iora_go(ends_with, 0, -EIO)), SPAWN(iora_go(ends_with, 3, -EPERM)),
                           iora_current()),
           0);
    CHECK_EQ_UNARMED(codes[0], 3);
    CHECK_EQ_UNARMED(codes[1], -EIO);
    CHECK_EQ_UNARMED(codes[2], -EPERM);
    CHECK_EQ_UNARMED(codes[3], -EDEADLK);
    return 0;
}
IORA_ASYNC(gathers);

SCENARIO(tasks, gather, ANYWHERE)
{
    RUN(gathers);
}

enum { MANY = 24 }; /* more than there are waiters on a stack */

static int
gathers_many(void)
{
    static int codes[MANY];
    iora_task tasks[MANY];

    for (int i = 0; i < MANY; i++)
        tasks[i] = SPAWN(iora_go(ends_with, i % 3, i == 17 ? -EIO : 0));
    EXPECT(iora_gather_n(tasks, MANY), -EIO);
    for (int i = 0; i < MANY; i++)
        tasks[i] = SPAWN(iora_go(ends_with, i % 3, -1 - i));
    EXPECT(iora_gather_all_n(codes, tasks, MANY), 0);
    for (int i = 0; i < MANY; i++)
        CHECK_EQ_UNARMED(codes[i], -1 - i);
    for (int i = 0; i < MANY; i++)
        EXPECT(iora_await(tasks[i]), -ESRCH);
    return 0;
}
IORA_ASYNC(gathers_many);

SCENARIO(tasks, gather_many, ANYWHERE)
{
    RUN(gathers_many);
}

/* One of many fails, and another would wait for ever if nobody cancelled it: also without memory. */
static int
gathers_with_one_that_stays(void)
{
    iora_task tasks[MANY];

    for (int i = 0; i < MANY; i++)
        tasks[i] = i == 0 ? SPAWN(iora_go(waits_and_cleans_up))
                          : SPAWN(iora_go(ends_with, 2, i == 20 ? -EIO : 0));
    EXPECT(iora_gather_n(tasks, MANY), -EIO);
    CHECK_EQ(cleaned_up, begun_to_wait);
    return 0;
}
IORA_ASYNC(gathers_with_one_that_stays);

SCENARIO(tasks, gather_with_one_that_stays, ANYWHERE)
{
    RUN(gathers_with_one_that_stays);
}

static void
wait_and_await(iora_wait_until what, int expected)
{
    iora_task tasks[MANY];
    int rc;

    for (int i = 0; i < MANY; i++)
        tasks[i] = SPAWN(iora_go(ends_with, 1 + i / 6, i == 9 ? -EIO : 0));
    rc = iora_wait(tasks, MANY, what);
    if (rc < 0)
        EXPECT(rc, 0);
    else
        CHECK_EQ_UNARMED(rc, expected);
    for (int i = 0; i < MANY; i++) {
        if (rc > 0 && what == IORA_ALL_COMPLETED)
            CHECK(iora_task_is_done(tasks[i]));
        (void)iora_cancel(tasks[i]);
        if (i < expected)
            EXPECT(iora_await(tasks[i]), i == 9 ? -EIO : 0, -EIO);
        else
            (void)iora_await(tasks[i]);
        EXPECT(iora_await(tasks[i]), -ESRCH);
    }
}

static int
waits(void)
{
    wait_and_await(IORA_ALL_COMPLETED, MANY);
    wait_and_await(IORA_FIRST_COMPLETED, 6);
    wait_and_await(IORA_FIRST_ERROR, 12);
    return 0;
}
IORA_ASYNC(waits);

SCENARIO(tasks, wait, ANYWHERE)
{
    RUN(waits);
}

static int
shields(void)
{
    const iora_task task = SPAWN(iora_go(ends_with, 5, 7));
    int rc = 0;

    IORA_TIMEOUT(rc, iora_ns(0)) {
        rc = iora_shield(task);
    }
    EXPECT(rc, -ETIMEDOUT);
    if (EXPECT(iora_shield(task), 7) == -ECANCELED)
        EXPECT(iora_await(task), -ESRCH, 7);
    return 0;
}
IORA_ASYNC(shields);

SCENARIO(tasks, shield, ANYWHERE)
{
    RUN(shields);
}

/* ---- other ways to spawn --------------------------------------------------------------------------------- */

static int steps;

static int steps_eagerly(int depth);
IORA_ASYNC(steps_eagerly, int);

static int
steps_eagerly(int depth)
{
    IN_TASK;
    iora_task below;
    int rc;

    steps++;
    if (depth == 0)
        return 0;
    below = SPAWN(iora_go_eager(steps_eagerly, depth - 1));
    rc = EXPECT(iora_yield(), 0);
    if (EXPECT(iora_await(below), 0) < 0)
        return rc;
    steps++;
    return rc;
}

static int
begins_eagerly(void)
{
    const iora_task task = SPAWN(iora_go_eager(steps_eagerly, 3));

    CHECK_EQ_UNARMED(steps, 4);
    EXPECT(iora_await(task), 0);
    CHECK_EQ_UNARMED(steps, 7);
    return 0;
}
IORA_ASYNC(begins_eagerly);

SCENARIO(tasks, eager, ANYWHERE)
{
    RUN(begins_eagerly);
}

struct large {
    int yields;
    int code;
    char more[200]; /* does not fit in a control block */
};

static int
runs_alone(struct large with)
{
    IN_TASK;

    for (int i = 0; i < with.yields; i++) {
        const int rc = EXPECT(iora_yield(), 0);

        if (rc < 0)
            return rc;
    }
    (void)SPAWN(iora_go(waits_and_cleans_up));
    CHECK(with.more[199] == 'x');
    return with.code;
}
IORA_ASYNC(runs_alone, struct large);

static int
detaches(void)
{
    struct large with = {.more = {[199] = 'x'}};

    for (int i = 0; i < 5; i++) {
        with.yields = i;
        with.code = i == 2 ? -EIO : 0;
        (void)SPAWN(iora_go_detached(runs_alone, with));
    }
    with.yields = 1;
    EXPECT(iora_await(SPAWN(iora_go(runs_alone, with))), 0);
    return EXPECT(iora_yield(), 0);
}
IORA_ASYNC(detaches);

SCENARIO(tasks, detached, ANYWHERE)
{
    fault_expect_errors(1);
    RUN(detaches);
    CHECK_EQ(cleaned_up, begun_to_wait);
}

static int
plain(void *arg)
{
    IN_TASK;

    *(int *)arg += 1;
    return EXPECT(iora_yield(), 0);
}

static iora_event gate;

static int
waits_at_the_gate(void)
{
    IN_TASK;

    return EXPECT(iora_event_wait(&gate), 0);
}
IORA_ASYNC(waits_at_the_gate);

enum {
    LARGE_STACKS = 72
}; /* eight to a slab, and more slabs than the table of slabs begins with */

static int
needs_large_stacks(void)
{
    static int count;
    const struct large with = {.more = {[199] = 'x'}};
    iora_task tasks[LARGE_STACKS];

    /* Refused, or without a stack: what was copied to the heap goes. */
    EXPECT(iora_task_error(iora_go_sized(100, runs_alone, with)), -EINVAL);
    EXPECT(iora_await(SPAWN(iora_go_sized(64 << 10, runs_alone, with))), 0);
    EXPECT(iora_await(SPAWN(iora_go_fn(plain, &count, "plain"))), 0);
    for (int i = 0; i < LARGE_STACKS; i++)
        tasks[i] = SPAWN(iora_go_sized((size_t)32 << 20, waits_at_the_gate));
    EXPECT(iora_yield(), 0);
    iora_event_set(&gate);
    EXPECT(iora_gather_n(tasks, LARGE_STACKS), 0);
    return EXPECT(iora_await(SPAWN(iora_go_sized(16 << 10, waits_at_the_gate))), 0);
}
IORA_ASYNC(needs_large_stacks);

SCENARIO(tasks, stacks_of_each_size, ANYWHERE)
{
    RUN(needs_large_stacks);
}

/* ---- many --------------------------------------------------------------------------------------------------- */

enum { THOUSANDS = 3000 };

static int
adds_one(int *sum)
{
    IN_TASK;

    (*sum)++;
    return 0;
}
IORA_ASYNC(adds_one, int *);

static int
spawns_thousands(int *sum)
{
    static iora_task tasks[THOUSANDS];

    for (int i = 0; i < THOUSANDS; i++)
        tasks[i] = SPAWN(iora_go(adds_one, sum));
    return EXPECT(iora_gather_n(tasks, THOUSANDS), 0);
}
IORA_ASYNC(spawns_thousands, int *);

SCENARIO(tasks, three_thousand, ANYWHERE)
{
    int sum = 0;

    RUN(spawns_thousands, &sum);
    CHECK_EQ_UNARMED(sum, THOUSANDS);
}

static int
has_thousands_waiting(void)
{
    static iora_task tasks[THOUSANDS];

    for (int i = 0; i < THOUSANDS; i++)
        tasks[i] = SPAWN(iora_go(waits_at_the_gate));
    EXPECT(iora_yield(), 0);
    iora_event_set(&gate);
    return EXPECT(iora_gather_n(tasks, THOUSANDS), 0);
}
IORA_ASYNC(has_thousands_waiting);

/* All have a stack at once: three slabs of them, and then so many free ones that they are trimmed. */
SCENARIO_EVERY(tasks, three_thousand_that_wait, ANYWHERE, 83)
{
    RUN(has_thousands_waiting);
}

/* ---- what belongs to a task ------------------------------------------------------------------------------------ */

static int told, named;

static void
tell(void *arg)
{
    (*(int *)arg)++;
}

static void
count_line(void *arg, const char *line)
{
    (void)line;
    (*(int *)arg)++;
}

static int
names_and_watches(void)
{
    static iora_handle handles[3];
    iora_task all[8], task = SPAWN(iora_go(ends_with, 2, 0));
    int lines = 0, rc;

    rc = EXPECT(iora_task_set_name(task, "the first name"), 0);
    if (rc == 0 && EXPECT(iora_task_set_name(task, "the second"), 0) == 0)
        CHECK(strcmp(iora_task_name(task), "the second") == 0);
    named += rc == 0;
    if (iora_task_is_valid(task)) {
        CHECK_EQ(iora_task_on_done(task, &handles[0], tell, &told), 0);
        CHECK_EQ(iora_task_on_done(task, &handles[1], tell, &told), 0);
        CHECK_EQ(iora_all_tasks(all, 8), 2);
        iora_dump_tasks(iora_loop_running(), count_line, &lines);
        CHECK_EQ(lines, 2);
    }
    EXPECT(iora_await(task), 0);
    EXPECT(iora_yield(), 0);
    CHECK_EQ_UNARMED(told, 2);
    EXPECT(iora_task_on_done(task, &handles[2], tell, &told), -ESRCH);
    (void)iora_handle_cancel(&handles[0]);
    (void)iora_handle_cancel(&handles[1]);
    return 0;
}
IORA_ASYNC(names_and_watches);

SCENARIO(tasks, names_and_callbacks, ANYWHERE)
{
    RUN(names_and_watches);
    CHECK_EQ_UNARMED(named, 1);
}

static int set, destroyed;

static void
destroy(void *value)
{
    (void)value;
    destroyed++;
}

static const iora_local key = {destroy}, other_key = {NULL};

static int inherits(int depth);
IORA_ASYNC(inherits, int);

static int
inherits(int depth)
{
    static int values[4];
    IN_TASK;
    void *const inherited = iora_local_get(&key);

    if (EXPECT(iora_local_set(&key, &values[depth]), 0) == 0) {
        set++;
        CHECK(iora_local_get(&key) == &values[depth]);
    } else {
        CHECK(iora_local_get(&key) == inherited);
    }
    CHECK(iora_local_get(&other_key) == NULL);
    if (depth == 0)
        return EXPECT(iora_yield(), 0);
    (void)SPAWN(iora_go(inherits, depth - 1));
    return EXPECT(iora_await(SPAWN(iora_go(inherits, depth - 1))), 0);
}

static int
leaves_an_estate(void)
{
    return EXPECT(iora_await(SPAWN(iora_go(inherits, 2))), 0);
}
IORA_ASYNC(leaves_an_estate);

SCENARIO(tasks, locals, ANYWHERE)
{
    RUN(leaves_an_estate);
    CHECK_EQ(destroyed, set);
    CHECK_EQ_UNARMED(set, 7);
}

/* ---- what went wrong ------------------------------------------------------------------------------------------- */

static int
reads(const char *path)
{
    IN_TASK;
    const int rc = EXPECT_UNLESS_CANCELLED(iora_yield(), 0);

    return rc < 0 ? rc : iora_fail(-EIO, "reading %s", path);
}
IORA_ASYNC(reads, const char *);

static int
loads(void)
{
    IN_TASK;
    const int rc = EXPECT_UNLESS_CANCELLED(iora_await(SPAWN(iora_go(reads, "config"))), -EIO);

    return rc < 0 ? iora_fail(rc, "loading %d", 1) : 0;
}
IORA_ASYNC(loads);

static int
length_of(const iora_error *error, bool sideways)
{
    int length = 0;

    for (; error != NULL; error = sideways ? error->next : error->cause)
        length++;
    return length;
}

static int
records_errors(void)
{
    int rc = 0, codes[2];

    EXPECT(iora_await(SPAWN(iora_go(loads))), -EIO);
    CHECK_EQ_UNARMED(length_of(iora_error_last(), false), 4);
    EXPECT(iora_gather_all(codes, SPAWN(iora_go(loads)), SPAWN(iora_go(reads, "another"))), 0);
    IORA_GROUP(rc, group) {
        (void)SPAWN(iora_group_go(&group, loads));
        (void)SPAWN(iora_group_go(&group, loads));
        (void)SPAWN(iora_group_go(&group, reads, "a third"));
    }
    EXPECT(rc, -EIO, 0);
    CHECK(length_of(iora_error_last(), true) <= 3);
    CHECK_EQ_UNARMED(iora_error_last()->code, -EIO);
    (void)iora_fail(-EPERM, "no %s", "cause");
    CHECK_EQ_UNARMED(length_of(iora_error_last(), false), 1);
    return 0;
}
IORA_ASYNC(records_errors);

SCENARIO(tasks, error_records, ANYWHERE)
{
    RUN(records_errors);
}

/* ---- what cannot go on --------------------------------------------------------------------------------------------- */

static iora_lock locks[2];

static int
takes_both(int first)
{
    IN_TASK;
    int rc = EXPECT_UNLESS_CANCELLED(iora_lock_acquire(&locks[first]), 0);

    if (rc < 0)
        return rc;
    if ((rc = EXPECT_UNLESS_CANCELLED(iora_yield(), 0)) == 0 &&
        (rc = EXPECT_UNLESS_CANCELLED(iora_lock_acquire(&locks[!first]), 0)) == 0)
        CHECK_EQ(iora_lock_release(&locks[!first]), 0);
    CHECK_EQ(iora_lock_release(&locks[first]), 0);
    return rc;
}
IORA_ASYNC(takes_both, int);

static int is_stuck(void);
IORA_ASYNC(is_stuck);

static int
is_stuck(void)
{
    EXPECT(iora_run(is_stuck), -EBUSY);
    EXPECT(iora_gather(SPAWN(iora_go(takes_both, 0)), SPAWN(iora_go(takes_both, 1))), -ECANCELED,
           0);
    return 0;
}

SCENARIO(tasks, deadlock, ANYWHERE)
{
    fault_expect_log("deadlock");
    fault_expect_log("is_stuck");
    fault_expect_log("takes_both");
    if (fault_loop() == NULL)
        return;
    EXPECT(iora_run_in(fault_loop(), is_stuck), -EDEADLK, 0);
    CHECK(!iora_lock_is_locked(&locks[0]) && !iora_lock_is_locked(&locks[1]));
}

/* ---- in debug mode ------------------------------------------------------------------------------------------------- */

SCENARIO(tasks, debug_mode, ANYWHERE)
{
    fault_options()->debug = true;
    fault_expect_log("stacks: ");
    fault_expect_log("without giving way");
    RUN(gathers);
}
