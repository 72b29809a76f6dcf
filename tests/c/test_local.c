/* tests/c/test_local.c -- task-local values. */
#include "waiting.h"

static const iora_local user = {NULL};
static const iora_local place = {NULL};

static void
trace_end(void *value)
{
    test_trace("-%s", (const char *)value);
}

static const iora_local traced = {trace_end};

static void
bind(const iora_local *key, const char *value)
{
    CHECK_EQ(iora_local_set(key, (void *)value), 0);
}

/* Values are literals; none is shown as such. */
static const char *
bound(const iora_local *key)
{
    const char *const value = iora_local_get(key);

    return value != NULL ? value : "none";
}

/* ---- binding --------------------------------------------------------------------------------- */

TEST_TASK(local, is_unbound_before_it_is_set)
{
    CHECK(iora_local_get(&user) == NULL);
}

TEST_TASK(local, keys_do_not_meet)
{
    bind(&user, "ann");
    CHECK_STR(bound(&place), "none");
    bind(&place, "home");
    CHECK_STR(bound(&user), "ann");
    CHECK_STR(bound(&place), "home");
}

TEST_TASK(local, is_what_was_set_last)
{
    bind(&user, "ann");
    bind(&place, "home");
    bind(&user, "bob");
    CHECK_STR(bound(&user), "bob");
    CHECK_STR(bound(&place), "home");
    bind(&user, NULL);
    CHECK_STR(bound(&user), "none");
}

TEST_TASK(local, is_kept_across_suspensions)
{
    bind(&user, "ann");
    let_all_run();
    CHECK_STR(bound(&user), "ann");
}

/* ---- inheriting ------------------------------------------------------------------------------ */

static int
look(void)
{
    (void)iora_yield();
    test_trace("%s", bound(&user));
    return 0;
}
IORA_ASYNC(look);

TEST_TASK(local, is_inherited_as_it_was_at_the_spawn)
{
    iora_task before, after;

    iora_go(look);
    bind(&user, "ann");
    before = iora_go(look);
    bind(&user, "bob");
    after = iora_go(look);
    CHECK_EQ(iora_gather(before, after), 0);
    CHECK_TRACE("none ann bob");
}

static int
look_in_a_grandchild(void)
{
    return iora_await(iora_go(look));
}
IORA_ASYNC(look_in_a_grandchild);

TEST_TASK(local, is_inherited_by_children_of_all_kinds_and_their_children)
{
    int rc = 0;

    bind(&user, "ann");
    bind(&place, "home");
    CHECK_EQ(iora_await(iora_go(look_in_a_grandchild)), 0);
    CHECK_EQ(iora_await(iora_go_eager(look)), 0);
    iora_go_detached(look);
    let_all_run();
    IORA_GROUP(rc, group) {
        iora_group_go(&group, look);
    }
    CHECK_EQ(rc, 0);
    CHECK_TRACE("ann ann ann ann");
}

static int
rebind_and_look(const char *name)
{
    test_trace("%s", bound(&user));
    bind(&user, name);
    (void)iora_yield();
    test_trace("%s", bound(&user));
    return 0;
}
IORA_ASYNC(rebind_and_look, const char *);

TEST_TASK(local, binding_anew_changes_only_ones_own)
{
    bind(&user, "ann");
    CHECK_EQ(iora_gather(iora_go(rebind_and_look, "bob"), iora_go(rebind_and_look, "cid")), 0);
    CHECK_TRACE("ann ann bob cid");
    CHECK_STR(bound(&user), "ann");
}

static iora_task spawned_by_callback;

static void
spawn(void *arg)
{
    (void)arg;
    spawned_by_callback = iora_go(look);
}

TEST_TASK(local, is_not_inherited_from_a_callback)
{
    iora_handle handle = {0};

    bind(&user, "ann");
    CHECK_EQ(iora_call_soon(test_loop(), &handle, spawn, NULL), 0);
    let_all_run();
    CHECK_EQ(iora_await(spawned_by_callback), 0);
    CHECK_TRACE("none");
}

/* ---- the end of a value ---------------------------------------------------------------------- */

static int
bind_and_end(const char *value)
{
    bind(&traced, value);
    return 0;
}
IORA_ASYNC(bind_and_end, const char *);

TEST_TASK(local, value_ends_with_its_task)
{
    const iora_task task = iora_go(bind_and_end, "a");

    let_all_run();
    CHECK_TRACE("-a"); /* before anybody awaits it */
    CHECK_EQ(iora_await(task), 0);
    CHECK_TRACE("-a");
}

static int
sleep_ms(int ms)
{
    (void)iora_sleep(iora_ms(ms));
    test_trace("slept%d", ms);
    return 0;
}
IORA_ASYNC(sleep_ms, int);

static int
bind_and_leave_it_to_a_detached(void)
{
    bind(&traced, "a");
    iora_go_detached(sleep_ms, 30);
    iora_go_detached(sleep_ms, 20);
    return 0;
}
IORA_ASYNC(bind_and_leave_it_to_a_detached);

TEST_TASK(local, value_ends_once_when_the_last_who_sees_it_has_ended)
{
    CHECK_EQ(iora_await(iora_go(bind_and_leave_it_to_a_detached)), 0);
    CHECK_EQ(iora_sleep(iora_ms(50)), 0);
    CHECK_TRACE("slept20 slept30 -a");
}

TEST_TASK(local, value_ends_when_it_is_bound_anew_and_nobody_else_sees_it)
{
    bind(&traced, "a");
    bind(&user, "ann");
    bind(&traced, "b");
    CHECK_TRACE("-a");
    CHECK_STR(bound(&traced), "b");
    bind(&traced, "c");
    CHECK_TRACE("-a -b");
    CHECK_STR(bound(&user), "ann");
}

TEST_TASK(local, value_that_a_child_sees_stays_when_it_is_bound_anew)
{
    iora_task child;

    bind(&traced, "a");
    child = iora_go(sleep_ms, 10);
    bind(&traced, "b");
    bind(&traced, "c");
    CHECK_TRACE("-b"); /* the child does not see that one */
    CHECK_EQ(iora_await(child), 0);
    CHECK_TRACE("-b slept10 -a");
    CHECK_STR(bound(&traced), "c");
}

static int
bind_several(void)
{
    bind(&traced, "a");
    bind(&user, "ann");
    CHECK_EQ(iora_await(iora_go(bind_and_end, "b")), 0);
    iora_go(sleep_ms, 10);
    bind(&traced, "c");
    test_trace("end");
    return 0;
}
IORA_ASYNC(bind_several);

TEST_TASK(local, every_value_ends_exactly_once)
{
    CHECK_EQ(iora_await(iora_go(bind_several)), 0);
    CHECK_TRACE("-b end slept10 -a -c");
}

static void
bind_again(void *value)
{
    if (strcmp(value, "first") == 0)
        bind(&user, "bound by a destructor");
}

static const iora_local bound_again = {bind_again};

TEST_TASK(local, destructor_may_bind_values_itself)
{
    bind(&bound_again, "first");
    bind(&bound_again, "second");
    CHECK_STR(bound(&user), "bound by a destructor");
    CHECK_STR(bound(&bound_again), "second");
}

TEST_TASK(local, binding_anew_for_ever_keeps_nothing)
{
    long alive;

    bind(&user, "ann");
    bind(&place, "home");
    alive = iora__seam_read().alive;
    for (int i = 0; i < 1000; i++) {
        bind(&user, "bob");
        bind(&place, "away");
    }
    CHECK_EQ(iora__seam_read().alive, alive);
}

/* A server's main task: a value for each client, who runs while the next one's is bound. */
TEST_TASK(local, binding_anew_for_each_of_overlapping_children_keeps_only_what_they_see)
{
    const long alive = iora__seam_read().alive;

    for (int i = 0; i < 200; i++) {
        bind(&user, "client");
        iora_go_detached(sleep_ms, 2); /* so three at most run at once */
        let_all_run();
    }
    CHECK(iora__seam_read().alive - alive < 20);
}

static int destructor_rc;

static void
bind_at_the_end(void *value)
{
    (void)value;
    destructor_rc = iora_local_set(&user, "too late");
}

static const iora_local bound_at_the_end = {bind_at_the_end};

static int
bind_what_binds_at_the_end(void)
{
    bind(&bound_at_the_end, "a");
    return 0;
}
IORA_ASYNC(bind_what_binds_at_the_end);

TEST_TASK(local, destructor_in_an_ended_task_binds_nothing)
{
    CHECK_EQ(iora_await(iora_go(bind_what_binds_at_the_end)), 0);
    CHECK_EQ(destructor_rc, IORA_E_NO_TASK);
}

/* ---- where it cannot be ---------------------------------------------------------------------- */

TEST_TASK(local, set_without_memory_says_so_and_changes_nothing)
{
    bind(&user, "ann");
    for (long n = 1; n <= 2; n++) {
        iora__seam_arm_allocation(n, true);
        CHECK_EQ(iora_local_set(&place, "home"), -ENOMEM);
        CHECK_EQ(iora_local_set(&user, "bob"), -ENOMEM);
        (void)iora__seam_disarm();
        CHECK_STR(bound(&place), "none");
        CHECK_STR(bound(&user), "ann");
    }
}

static int
local_set(void)
{
    return iora_local_set(&user, "nobody");
}

TEST(local, set_needs_a_task)
{
    check_needs_a_task(local_set);
    CHECK(iora_local_get(&user) == NULL);
}

TEST_TASK(local, set_does_not_look_at_the_scope)
{
    CHECK_EQ(CANCELLED(iora_local_set(&user, "ann")), 0);
    CHECK_STR(bound(&user), "ann");
}
