/* tests/c/test_handle.c -- callbacks that run soon: order, cancelling, asking again. */
#include "test.h"

static void
trace_word(void *word)
{
    test_trace("%s", (const char *)word);
}

static void
soon(iora_handle *handle, iora_callback_fn *fn, void *arg)
{
    CHECK_EQ(iora_call_soon(test_loop(), handle, fn, arg), 0);
}

/* Turn until nothing is ready any more. */
static void
run_all(void)
{
    int rc;

    while ((rc = iora_loop_run_once(test_loop(), iora_ns(0))) > 0)
        continue;
    CHECK_EQ(rc, 0);
}

/* ---- order --------------------------------------------------------------------------------------------- */

struct numbered {
    iora_handle handle;
    int number;
    int *next;
};

static void
check_is_next(void *arg)
{
    const struct numbered *const it = arg;

    CHECK_EQ(it->number, (*it->next)++);
}

TEST_EVERYWHERE(callback, many_run_first_in_first_out)
{
    enum { N = 20000 };
    struct numbered *const all = calloc(N, sizeof *all);
    int next = 0;

    for (int i = 0; i < N; i++) {
        all[i].number = i;
        all[i].next = &next;
        soon(&all[i].handle, check_is_next, &all[i]);
    }
    run_all();
    CHECK_EQ(next, N);
    free(all);
}

static int
traces(const char *word)
{
    test_trace("%s", word);
    return 0;
}
IORA_ASYNC(traces, const char *);

static int
mixes_tasks_and_callbacks(void)
{
    static iora_handle handles[3];

    (void)iora_go(traces, "task-1");
    soon(&handles[0], trace_word, "callback-1");
    soon(&handles[1], trace_word, "callback-2");
    (void)iora_go(traces, "task-2");
    (void)iora_go(traces, "task-3");
    soon(&handles[2], trace_word, "callback-3");
    return iora_yield();
}
IORA_ASYNC(mixes_tasks_and_callbacks);

TEST_EVERYWHERE(callback, shares_one_queue_with_tasks)
{
    CHECK_EQ(test_run(mixes_tasks_and_callbacks), 0);
    CHECK_TRACE("task-1 callback-1 callback-2 task-2 task-3 callback-3");
}

static void
ask_for_another(void *word)
{
    static iora_handle another;

    soon(&another, trace_word, word);
    test_trace("asked");
}

TEST_EVERYWHERE(callback, asked_for_in_a_callback_runs_after_what_is_ready)
{
    iora_handle first = {0}, second = {0};

    soon(&first, ask_for_another, "third");
    soon(&second, trace_word, "second");
    run_all();
    CHECK_TRACE("asked second third");
}

/* ---- one handle ------------------------------------------------------------------------------------------ */

TEST_EVERYWHERE(callback, that_is_pending_is_refused_and_stays_as_it_was)
{
    iora_handle handle = {0};

    soon(&handle, trace_word, "old");
    CHECK_EQ(iora_call_soon(test_loop(), &handle, trace_word, "new"), -EBUSY);
    run_all();
    CHECK_TRACE("old");
}

static size_t
ready(void)
{
    iora_census census;

    iora_loop_census(test_loop(), &census);
    return census.ready;
}

TEST_EVERYWHERE(callback, cancel_takes_it_back)
{
    iora_handle handle = {0}, other = {0};

    CHECK(!iora_handle_cancel(&handle)); /* never asked for */
    soon(&handle, trace_word, "canceled");
    soon(&other, trace_word, "other");
    CHECK(iora_handle_is_pending(&handle));
    CHECK_EQ(ready(), 2);
    CHECK(iora_handle_cancel(&handle));
    CHECK_EQ(ready(), 1);
    CHECK(!iora_handle_is_pending(&handle));
    CHECK(!iora_handle_cancel(&handle));
    memset(&handle, 0xa5, sizeof handle); /* its memory is free for use */
    run_all();
    CHECK_TRACE("other");
    CHECK(!iora_handle_cancel(&other)); /* it has run */
}

static void
cancel_other(void *other)
{
    CHECK(iora_handle_cancel(other));
    test_trace("cancels");
}

TEST_EVERYWHERE(callback, cancel_reaches_one_of_the_same_turn)
{
    iora_handle first = {0}, second = {0}, third = {0};

    soon(&first, cancel_other, &second);
    soon(&second, trace_word, "canceled");
    soon(&third, trace_word, "third");
    run_all();
    CHECK_TRACE("cancels third");
}

static void
look_at_itself(void *handle)
{
    CHECK(!iora_handle_is_pending(handle));
    CHECK(!iora_handle_cancel(handle));
    test_trace("looked");
}

TEST_EVERYWHERE(callback, is_not_pending_in_its_own_callback)
{
    iora_handle handle = {0};

    soon(&handle, look_at_itself, &handle);
    CHECK(iora_handle_is_pending(&handle));
    run_all();
    CHECK_TRACE("looked");
}

struct again {
    iora_handle handle;
    int left;
};

static void
ask_again(void *arg)
{
    struct again *const again = arg;

    test_trace("%d", again->left);
    if (again->left-- > 0)
        soon(&again->handle, ask_again, again);
}

TEST_EVERYWHERE(callback, may_be_used_again_in_its_own_callback)
{
    struct again again = {.left = 3};

    soon(&again.handle, ask_again, &again);
    run_all();
    CHECK_TRACE("3 2 1 0");
    again.left = 0;
    soon(&again.handle, ask_again, &again);
    run_all();
    CHECK_TRACE("3 2 1 0 0");
}

TEST_EVERYWHERE(callback, may_be_freed_in_its_own_callback)
{
    for (int i = 0; i < 10; i++) {
        iora_handle *const handle = calloc(1, sizeof *handle);

        soon(handle, free, handle);
    }
    run_all(); /* the sanitizers look at what the loop touches afterwards */
}

/* Always ready, and yet timers fire. */
static void
ask_until_stopped(void *arg)
{
    struct again *const again = arg;

    if (again->left != 0)
        soon(&again->handle, ask_until_stopped, again);
}

static void
let_it_end(void *again)
{
    ((struct again *)again)->left = 0;
}

TEST_REAL(callback, that_asks_for_itself_for_ever_lets_timers_fire)
{
    struct again again = {.left = 1};
    iora_timer timer = {0};

    soon(&again.handle, ask_until_stopped, &again);
    CHECK_EQ(iora_call_later(test_loop(), &timer, iora_ms(3), let_it_end, &again), 0);
    run_all();
    CHECK_EQ(again.left, 0);
}

/* ---- where it runs ------------------------------------------------------------------------------------------- */

static void
try_what_tasks_do(void *unused)
{
    const iora_task current = iora_current();

    (void)unused;
    CHECK(!iora_task_is_valid(current));
    CHECK_EQ(iora_task_error(current), IORA_E_NO_TASK);
    CHECK_EQ(iora_yield(), IORA_E_NO_TASK);
    CHECK_EQ(iora_sleep(iora_ms(1)), IORA_E_NO_TASK);
    CHECK_EQ(iora_wait_readable(0), IORA_E_NO_TASK);
    CHECK_EQ(iora_await(iora_go(traces, "task")), IORA_E_NO_TASK);
    test_trace("callback");
}

static int
lets_a_callback_run(void)
{
    static iora_handle handle;

    soon(&handle, try_what_tasks_do, NULL);
    CHECK_EQ(iora_yield(), 0);
    return iora_yield();
}
IORA_ASYNC(lets_a_callback_run);

/* Also when a task runs before and after it; and what it spawns belongs to the run. */
TEST_EVERYWHERE(callback, runs_outside_of_any_task)
{
    CHECK_EQ(test_run(lets_a_callback_run), 0);
    CHECK_TRACE("callback task");
}
