/* tests/c/test_task.c -- tasks: run, spawn, owners, handles, time, fairness.
 *
 * Words of a trace are "what@when", when in milliseconds of the virtual clock. */
#include "test.h"

#include <math.h>
#include <pthread.h>
#include <unistd.h>

/* ---- what the tests spawn ------------------------------------------------------------------------------------ */

static void
at(const char *what)
{
    test_trace("%s@%lld", what, test_ms());
}

static int
return_code(int code)
{
    return code;
}
IORA_ASYNC(return_code, int);

static int
say(const char *word)
{
    test_trace("%s", word);
    return 0;
}
IORA_ASYNC(say, const char *);

/* Sleeps, says how that ended, returns the code of the sleep or its own. */
static int
sleeper(const char *word, iora_duration d, int code)
{
    const int rc = iora_sleep(d);

    test_trace("%s%s@%lld", word, rc == -ECANCELED ? "-cancelled" : "", test_ms());
    return rc < 0 ? rc : code;
}
IORA_ASYNC(sleeper, const char *, iora_duration, int);

/* Sleeps for ever; once cancelled takes some time over it. */
static int
slow_to_end(const char *word, iora_duration cleanup)
{
    const int rc = iora_sleep(IORA_FOREVER);

    at(word);
    (void)iora_cleanup(iora_sleep(cleanup), IORA_FOREVER);
    test_trace("%s-ended@%lld", word, test_ms());
    return rc;
}
IORA_ASYNC(slow_to_end, const char *, iora_duration);

/* ---- await returns when the function has ------------------------------------------------------------------------ */

static int
add(int a, int b, int *sum)
{
    (void)iora_yield();
    *sum = a + b;
    return 0;
}
IORA_ASYNC(add, int, int, int *);

TEST_TASK_EVERYWHERE(task, await_returns_when_the_function_has)
{
    int sum = 0;

    CHECK_EQ(iora_await(iora_go(add, 2, 3, &sum)), 0);
    CHECK_EQ(sum, 5);
}

/* ---- run ----------------------------------------------------------------------------------------------------------- */

TEST(run, returns_what_the_function_returned)
{
    CHECK_EQ(test_run(return_code, 0), 0);
    CHECK_EQ(test_run(return_code, 7), 7);
    CHECK_EQ(test_run(return_code, -EIO), -EIO);
    CHECK_EQ(test_run(return_code, IORA_E_CLOSED), IORA_E_CLOSED);
}

TEST(run, makes_a_loop_of_its_own_and_frees_it)
{
    CHECK_EQ(iora_run(return_code, 1), 1);
    CHECK_EQ(iora_run(return_code, 2), 2);
    CHECK(iora_loop_running() == NULL);
}

static int
run_again(void)
{
    CHECK_EQ(iora_run(say, "never"), -EBUSY);
    CHECK_EQ(iora_run_in(test_loop(), say, "never"), -EBUSY);
    return iora_yield();
}
IORA_ASYNC(run_again);

TEST(run, inside_a_run_is_busy)
{
    CHECK_EQ(test_run(run_again), 0);
    CHECK_TRACE("");
}

static void
run_from_callback(void *arg)
{
    (void)arg;
    CHECK_EQ(iora_run(say, "never"), -EBUSY);
    iora_loop_stop(test_loop());
}

TEST(run, from_a_callback_is_busy)
{
    iora_handle handle = {0};

    CHECK_EQ(iora_call_soon(test_loop(), &handle, run_from_callback, NULL), 0);
    CHECK_EQ(iora_loop_run(test_loop()), 0);
    CHECK_TRACE("");
}

static int
leave_children_behind(void)
{
    CHECK(iora_task_is_valid(iora_go(slow_to_end, "child", iora_ms(20))));
    CHECK(iora_task_is_valid(iora_go_detached(slow_to_end, "detached", iora_ms(50))));
    return iora_sleep(iora_ms(10));
}
IORA_ASYNC(leave_children_behind);

TEST(run, ends_only_when_everything_has)
{
    CHECK_EQ(test_ms(), 0);
    CHECK_EQ(test_run(leave_children_behind), 0);
    CHECK_TRACE("child@10 child-ended@30 detached@30 detached-ended@80");
}

/* Started while the run ends, by one whom the end cancels. */
static int
start_another_when_cancelled(void)
{
    (void)iora_sleep(IORA_FOREVER);
    (void)iora_go_detached(slow_to_end, "another", iora_ms(0));
    return 0;
}
IORA_ASYNC(start_another_when_cancelled);

static int
leave_one_that_starts_another(void)
{
    (void)iora_go_detached(start_another_when_cancelled);
    return iora_sleep(iora_ms(10));
}
IORA_ASYNC(leave_one_that_starts_another);

TEST(run, cancels_what_is_detached_while_it_ends_too)
{
    CHECK_EQ(test_ms(), 0);
    CHECK_EQ(test_run(leave_one_that_starts_another), 0);
    CHECK_TRACE("another@10 another-ended@10");
}

TEST(run, what_is_detached_in_the_next_run_of_the_loop_is_not_cancelled)
{
    CHECK_EQ(test_ms(), 0);
    CHECK_EQ(test_run(leave_one_that_starts_another), 0);
    CHECK_EQ(test_run(leave_one_that_starts_another), 0);
    CHECK_TRACE("another@10 another-ended@10 another@20 another-ended@20");
}

/* -- iora_main -- */

static int
fail_with_a_reason(void)
{
    return iora_fail(-EIO, "reading %s", "the_file");
}
IORA_ASYNC(fail_with_a_reason);

/* What f() writes to stderr. */
static void
capture_stderr(void (*f)(void), char *text, size_t size)
{
    const int saved = dup(STDERR_FILENO);
    int pipe_ends[2];
    ssize_t n;

    CHECK_EQ(pipe(pipe_ends), 0);
    fflush(stderr);
    (void)dup2(pipe_ends[1], STDERR_FILENO);
    f();
    fflush(stderr);
    (void)dup2(saved, STDERR_FILENO);
    (void)close(saved);
    (void)close(pipe_ends[1]);
    n = read(pipe_ends[0], text, size - 1);
    (void)close(pipe_ends[0]);
    text[n > 0 ? n : 0] = '\0';
}

static int status;

static void
main_that_fails(void)
{
    status = iora_main(fail_with_a_reason);
}

static void
main_that_succeeds(void)
{
    status = iora_main(return_code, 5);
}

TEST(main, tells_an_error_on_stderr_and_returns_1)
{
    char text[1024];

    capture_stderr(main_that_fails, text, sizeof text);
    CHECK_EQ(status, 1);
    CHECK(strstr(text, "EIO") != NULL);
    CHECK(strstr(text, "reading the_file") != NULL);
}

TEST(main, says_nothing_and_returns_0_when_all_is_well)
{
    char text[1024];

    status = -1;
    capture_stderr(main_that_succeeds, text, sizeof text);
    CHECK_EQ(status, 0);
    CHECK_STR(text, "");
}

/* ---- deadlock ------------------------------------------------------------------------------------------------------- */

static iora_event never = IORA_EVENT_INIT;

static int
wait_for_never(const char *word, iora_duration cleanup)
{
    const int rc = iora_event_wait(&never);

    at(word);
    (void)iora_cleanup(iora_sleep(cleanup), IORA_FOREVER);
    test_trace("%s-ended@%lld", word, test_ms());
    return rc;
}
IORA_ASYNC(wait_for_never, const char *, iora_duration);

static int
all_wait_for_never(void)
{
    iora_task child = iora_go(wait_for_never, "child", iora_ms(30));
    int rc;

    CHECK_EQ(iora_task_set_name(child, "the_child"), 0);
    (void)iora_go_detached(wait_for_never, "detached", iora_ms(10));
    rc = iora_await(child);
    CHECK_EQ(rc, -ECANCELED);
    at("main");
    return 17;
}
IORA_ASYNC(all_wait_for_never);

TEST(deadlock, is_reported_and_everything_cancelled_and_joined)
{
    CHECK_EQ(test_ms(), 0);
    CHECK_EQ(test_run(all_wait_for_never), -EDEADLK);
    CHECK(test_logged("deadlock"));
    CHECK(test_logged("\"all_wait_for_never\""));
    CHECK(test_logged("waits for event"));
    CHECK(test_logged("\"the_child\""));
    CHECK_TRACE("child@0 detached@0 detached-ended@10 child-ended@30 main@30");
}

TEST(deadlock, leaves_the_loop_usable)
{
    CHECK_EQ(test_run(all_wait_for_never), -EDEADLK);
    CHECK(test_logged("deadlock"));
    CHECK_EQ(test_run(return_code, 3), 3);
}

static int
sleep_for_ever(void)
{
    return iora_sleep(IORA_FOREVER);
}
IORA_ASYNC(sleep_for_ever);

TEST(deadlock, is_a_sleep_for_ever_alone)
{
    CHECK_EQ(test_run(sleep_for_ever), -EDEADLK);
    CHECK(test_logged("sleep"));
}

static int
wait_while_another_sleeps(void)
{
    (void)iora_go_detached(sleeper, "sleeper", iora_s(3600), 0);
    return iora_wait_for(iora_event_wait(&never), iora_s(7200));
}
IORA_ASYNC(wait_while_another_sleeps);

TEST(deadlock, is_none_while_a_timer_runs)
{
    CHECK_EQ(test_ms(), 0);
    CHECK_EQ(test_run(wait_while_another_sleeps), -ETIMEDOUT);
    CHECK_EQ(test_ms(), 7200 * 1000);
}

/* A thread that sets an event through a remote, some time later. */
static struct sent {
    iora_remote *remote;
    iora_handle handle;
    iora_event event;
    useconds_t pause;
} sent;

static void
set_sent_event(void *arg)
{
    (void)arg;
    iora_event_set(&sent.event);
}

static void *
send_event(void *arg)
{
    (void)arg;
    (void)usleep(sent.pause);
    CHECK_EQ(iora_remote_call_soon(sent.remote, &sent.handle, set_sent_event, NULL), 0);
    return NULL;
}

TEST_TASK_EVERYWHERE(deadlock, is_none_while_a_remote_is_open)
{
    pthread_t thread;

    sent.pause = 20000;
    CHECK_EQ(iora_remote_open(iora_loop_running(), &sent.remote), 0);
    CHECK_EQ(pthread_create(&thread, NULL, send_event, NULL), 0);
    CHECK_EQ(iora_event_wait(&sent.event), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    iora_remote_close(sent.remote);
}

static int pipe_ends[2];

static void *
write_to_pipe(void *arg)
{
    (void)arg;
    (void)usleep(20000);
    CHECK_EQ(write(pipe_ends[1], "x", 1), 1);
    return NULL;
}

TEST_TASK_REAL(deadlock, is_none_while_a_descriptor_is_waited_for)
{
    pthread_t thread;

    CHECK_EQ(pipe(pipe_ends), 0);
    CHECK_EQ(pthread_create(&thread, NULL, write_to_pipe, NULL), 0);
    CHECK_EQ(iora_wait_readable(pipe_ends[0]), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    (void)close(pipe_ends[0]);
    (void)close(pipe_ends[1]);
}

/* ---- go ---------------------------------------------------------------------------------------------------------------- */

TEST_TASK(go, starts_when_the_loop_comes_to_it_not_inside_spawn)
{
    (void)iora_go(say, "child");
    test_trace("spawned");
    CHECK_EQ(iora_yield(), 0);
    CHECK_TRACE("spawned child");
}

TEST_TASK(go, order_is_first_in_first_out)
{
    (void)iora_go(say, "1");
    (void)iora_go(say, "2");
    (void)iora_go_detached(say, "3");
    (void)iora_go(say, "4");
    CHECK_EQ(iora_yield(), 0);
    CHECK_TRACE("1 2 3 4");
}

struct big {
    char bytes[200];
};

static int
check_big(struct big big, int last)
{
    for (int i = 0; i < (int)sizeof big.bytes; i++)
        CHECK_EQ(big.bytes[i], (char)i);
    return last;
}
IORA_ASYNC(check_big, struct big, int);

TEST_TASK(go, arguments_larger_than_64_bytes_are_copied)
{
    struct big big;
    iora_task task;

    for (int i = 0; i < (int)sizeof big.bytes; i++)
        big.bytes[i] = (char)i;
    task = iora_go(check_big, big, 42);
    memset(&big, 0xff, sizeof big);
    CHECK_EQ(iora_await(task), 42);
}

struct sixty_four {
    char bytes[64];
};
struct sixty_five {
    char bytes[65];
};

static int
last_of_64(struct sixty_four s)
{
    return s.bytes[63];
}
IORA_ASYNC(last_of_64, struct sixty_four);

static int
last_of_65(struct sixty_five s)
{
    return s.bytes[64];
}
IORA_ASYNC(last_of_65, struct sixty_five);

TEST_TASK(go, arguments_of_exactly_64_and_of_65_bytes_are_copied)
{
    struct sixty_four s64 = {{0}};
    struct sixty_five s65 = {{0}};
    iora_task a, b;

    s64.bytes[63] = 64;
    s65.bytes[64] = 65;
    a = iora_go(last_of_64, s64);
    b = iora_go(last_of_65, s65);
    s64.bytes[63] = s65.bytes[64] = 1;
    CHECK_EQ(iora_await(a), 64);
    CHECK_EQ(iora_await(b), 65);
}

static int
eight(char a, short b, int c, long d, float e, double f, const char *g, int *sum)
{
    *sum = (int)(a + b + c + d + (long)e + (long)f + (long)strlen(g));
    return 0;
}
IORA_ASYNC(eight, char, short, int, long, float, double, const char *, int *);

TEST_TASK(go, takes_eight_arguments_of_different_types)
{
    int sum;

    CHECK_EQ(iora_await(iora_go(eight, 1, 2, 3, 4, 5.0f, 6.0, "seven77", &sum)), 0);
    CHECK_EQ(sum, 28);
}

static int
plain(void *arg)
{
    CHECK_EQ(iora_yield(), 0);
    return *(int *)arg;
}

TEST_TASK(go_fn, spawns_by_address_with_argument_and_name)
{
    int value = 12;
    const iora_task task = iora_go_fn(plain, &value, "by address");

    CHECK_STR(iora_task_name(task), "by address");
    CHECK_EQ(iora_await(task), 12);
}

TEST_TASK(go, ten_thousand_tasks_live_at_once)
{
#if defined(__SANITIZE_THREAD__)
    test_skip("ThreadSanitizer has room for 8,128 stacks");
#endif
    enum { COUNT = 10000 };
    iora_task *const tasks = malloc(COUNT * sizeof *tasks);
    int *const codes = malloc(COUNT * sizeof *codes);
    iora_census census;

    for (int i = 0; i < COUNT; i++) {
        codes[i] = i;
        tasks[i] = iora_go_fn(plain, &codes[i], "one of many");
    }
    iora_loop_census(iora_loop_running(), &census);
    CHECK_EQ(census.tasks, COUNT + 1);
    CHECK_EQ(iora_all_tasks(NULL, 0), COUNT + 1);
    CHECK_EQ(iora_yield(), 0);
    iora_loop_census(iora_loop_running(), &census);
    CHECK_EQ(census.stacks, COUNT + 1);
    CHECK_EQ(iora_gather_all_n(codes, tasks, COUNT), 0);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(codes[i], i);
    free(tasks);
    free(codes);
}

/* -- eager -- */

static int
say_and_yield(const char *before, const char *after)
{
    test_trace("%s", before);
    CHECK_EQ(iora_yield(), 0);
    test_trace("%s", after);
    return 0;
}
IORA_ASYNC(say_and_yield, const char *, const char *);

TEST_TASK(go_eager, runs_at_once_until_it_first_suspends_then_the_caller_goes_on_before_all_others)
{
    (void)iora_go(say, "other");
    (void)iora_go_eager(say_and_yield, "before", "after");
    test_trace("caller");
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_yield(), 0);
    CHECK_TRACE("before caller other after");
}

TEST_TASK(go_eager, may_have_ended_when_it_returns)
{
    const iora_task task = iora_go_eager(return_code, 5);

    CHECK(iora_task_is_done(task));
    CHECK_EQ(iora_await(task), 5);
}

static int
eager_in_eager(void)
{
    (void)iora_go_eager(say_and_yield, "inner", "inner-end");
    test_trace("middle");
    CHECK_EQ(iora_yield(), 0);
    return 0;
}
IORA_ASYNC(eager_in_eager);

TEST_TASK(go_eager, nests)
{
    const iora_task task = iora_go_eager(eager_in_eager);

    test_trace("outer");
    CHECK_EQ(iora_await(task), 0);
    CHECK_TRACE("inner middle outer inner-end");
}

TEST_TASK(go_eager, goes_on_even_when_the_slice_is_used_up)
{
    int others = 0;

    /* More eager starts than a slice has resumptions. */
    (void)iora_go(say, "other");
    for (int i = 0; i < 1000; i++) {
        CHECK_EQ(iora_await(iora_go_eager(return_code, i)), i);
        others += test_traced()[0] != '\0';
    }
    CHECK(others > 0);
}

static void
go_from_callback(void *arg)
{
    (void)arg;
    (void)iora_go(say, "second");
    (void)iora_go_eager(say, "eager");
    CHECK_EQ(iora_task_error(iora_current()), IORA_E_NO_TASK);
    test_trace("callback");
}

TEST_TASK(go_eager, from_a_callback_is_next_in_the_queue)
{
    iora_handle handle = {0};

    CHECK_EQ(iora_call_soon(iora_loop_running(), &handle, go_from_callback, NULL), 0);
    (void)iora_go(say, "first");
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_yield(), 0);
    CHECK_TRACE("callback eager first second");
}

/* -- detached -- */

static int
detach_one(iora_task *detached)
{
    *detached = iora_go_detached(sleeper, "detached", iora_ms(20), 0);
    return 0;
}
IORA_ASYNC(detach_one, iora_task *);

TEST_TASK(go_detached, outlives_its_spawner_and_can_be_awaited_by_any)
{
    iora_task detached;

    CHECK_EQ(iora_await(iora_go(detach_one, &detached)), 0);
    CHECK(!iora_task_is_done(detached));
    CHECK_EQ(iora_await(detached), 0);
    CHECK_TRACE("detached@20");
}

TEST_TASK(go_detached, is_collected_when_it_ends)
{
    const iora_task task = iora_go_detached(return_code, 5);
    iora_census census;

    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_await(task), -ESRCH);
    iora_loop_census(iora_loop_running(), &census);
    CHECK_EQ(census.tasks, 1);
}

TEST_TASK(go_detached, failure_goes_to_the_error_hook)
{
    (void)iora_go_detached(return_code, -EIO);
    CHECK_EQ(iora_yield(), 0);
    CHECK(test_logged("\"return_code\""));
    CHECK(test_logged("EIO"));
}

TEST_TASK(go_detached, failure_that_is_awaited_does_not)
{
    CHECK_EQ(iora_await(iora_go_detached(return_code, -EIO)), -EIO);
}

/* -- sized -- */

static int
recurse(int depth)
{
    volatile char frame[1024];

    memset((char *)frame, depth, sizeof frame);
    return depth == 0 ? 0 : recurse(depth - 1) + (frame[17] == (char)depth);
}
IORA_ASYNC(recurse, int);

TEST_TASK(go_sized, gives_a_stack_of_that_size)
{
    CHECK_EQ(iora_await(iora_go_sized(4 << 20, recurse, 2048)), 2048);
    CHECK_EQ(iora_await(iora_go_sized(16 << 10, return_code, 3)), 3);
}

TEST_TASK(go_sized, refuses_sizes_out_of_range)
{
    CHECK_EQ(iora_task_error(iora_go_sized(16 * 1024 - 1, say, "never")), -EINVAL);
    CHECK_EQ(iora_task_error(iora_go_sized(1, say, "never")), -EINVAL);
    CHECK_EQ(iora_task_error(iora_go_sized(((size_t)1 << 30) + 1, say, "never")), -EINVAL);
    CHECK_EQ(iora_await(iora_go_sized(1, say, "never")), -EINVAL);
    CHECK_EQ(iora_yield(), 0);
    CHECK_TRACE("");
}

/* -- from callbacks -- */

static void
go_one(void *arg)
{
    *(iora_task *)arg = iora_go(sleeper, "run's", iora_ms(10), 0);
}

TEST_TASK(go, from_a_callback_makes_a_task_of_the_run)
{
    iora_handle handle = {0};
    iora_task task;

    CHECK_EQ(iora_call_soon(iora_loop_running(), &handle, go_one, &task), 0);
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_await(task), 0);
    CHECK_TRACE("run's@10");
}

static void
go_failing(void *arg)
{
    (void)arg;
    (void)iora_go(return_code, -EIO);
}

static int
yield_twice(iora_handle *handle)
{
    CHECK_EQ(iora_call_soon(iora_loop_running(), handle, go_failing, NULL), 0);
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_yield(), 0);
    CHECK_STR(test_log(), ""); /* somebody may still ask for it */
    return 0;
}
IORA_ASYNC(yield_twice, iora_handle *);

TEST(go, failure_of_what_a_callback_started_goes_to_the_error_hook_when_the_run_ends)
{
    iora_handle handle = {0};

    CHECK_EQ(test_run(yield_twice, &handle), 0);
    CHECK(test_logged("\"return_code\""));
    CHECK(test_logged("EIO"));
}

static int
slow_to_end_quietly(bool *ended)
{
    const int rc = iora_sleep(IORA_FOREVER);

    CHECK_EQ(iora_cleanup(iora_sleep(iora_ms(30)), IORA_FOREVER), 0);
    *ended = true;
    return rc;
}
IORA_ASYNC(slow_to_end_quietly, bool *);

static void
go_slow_to_end(void *arg)
{
    (void)iora_go(slow_to_end_quietly, arg);
    iora_loop_stop(iora_loop_running());
}

TEST(go, what_a_callback_started_is_cancelled_and_joined_when_the_loop_is_freed)
{
    iora_handle handle = {0};
    iora_loop *const loop = test_loop();
    bool ended = false;

    CHECK_EQ(iora_call_soon(loop, &handle, go_slow_to_end, &ended), 0);
    CHECK_EQ(iora_loop_run(loop), 0);
    CHECK_EQ(iora_loop_run_once(loop, iora_ns(0)), 0); /* it begins */
    test_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    CHECK(ended);
}

/* -- spawns that fail -- */

static void
check_null(iora_task task, int error)
{
    iora_handle handle = {0};
    iora_task pair[2];

    CHECK(!iora_task_is_valid(task));
    CHECK_EQ(iora_task_error(task), error);
    CHECK_EQ(iora_task_id(task), 0);
    CHECK(iora_task_is_done(task));
    CHECK_STR(iora_task_name(task), "");
    CHECK_EQ(iora_task_set_name(task, "name"), error);
    CHECK_EQ(iora_task_on_done(task, &handle, go_one, NULL), error);
    CHECK_EQ(iora_cancel(task), error);
    CHECK_EQ(iora_await(task), error);
    CHECK_EQ(iora_shield(task), error);
    CHECK_EQ(iora_wait(&task, 1, IORA_ALL_COMPLETED), error);
    pair[0] = task;
    pair[1] = iora_go(return_code, 0);
    CHECK_EQ(iora_gather_n(pair, 2), error);
}

TEST_TASK(go, a_spawn_that_fails_gives_a_null_handle_that_says_why_everywhere)
{
    struct big big = {{0}};
    iora_task task;

    check_null(iora_go_sized(1, say, "never"), -EINVAL);
    iora__seam_arm_allocation(1, true);
    task = iora_go(check_big, big, 1);
    (void)iora__seam_disarm();
    check_null(task, -ENOMEM);
}

TEST(go, without_a_loop_gives_a_null_handle)
{
    const iora_task task = iora_go(say, "never");

    CHECK_EQ(iora_task_error(task), IORA_E_NO_LOOP);
    CHECK_EQ(iora_await(task), IORA_E_NO_LOOP);
    CHECK_EQ(iora_task_error(iora_go_fn(plain, NULL, "never")), IORA_E_NO_LOOP);
    CHECK_EQ(iora_task_error(iora_go_detached(say, "never")), IORA_E_NO_LOOP);
    CHECK_EQ(iora_task_error(iora_go_eager(say, "never")), IORA_E_NO_LOOP);
}

/* ---- outside of a task ------------------------------------------------------------------------------------------------ */

static iora_task live_task;

static void
suspend_every_way(int expected)
{
    int code;

    CHECK_EQ(iora_yield(), expected);
    CHECK_EQ(iora_sleep(iora_ms(1)), expected);
    CHECK_EQ(iora_sleep(iora_ms(0)), expected);
    CHECK_EQ(iora_sleep_until((iora_instant){INT64_MAX}), expected);
    CHECK_EQ(iora_sleep_until((iora_instant){0}), expected);
    CHECK_EQ(iora_gather_n(&live_task, 1), expected);
    CHECK_EQ(iora_gather_all_n(&code, &live_task, 1), expected);
    CHECK_EQ(iora_wait(&live_task, 1, IORA_ALL_COMPLETED), expected);
    CHECK_EQ(iora_shield(live_task), expected);
    CHECK_EQ(iora_await(live_task), expected);
    CHECK_EQ(iora_wait_readable(0), expected);
    CHECK_EQ(iora_wait_writable(0), expected);
    CHECK_EQ(iora_emit_ready(), expected);
    CHECK_EQ(iora_gen_next((iora_gen){live_task}), expected);
    CHECK_EQ(iora_gen_close((iora_gen){live_task}), expected);
    CHECK_EQ(iora_task_error(iora_current()), expected);
}

static void
suspend_in_callback(void *arg)
{
    (void)arg;
    suspend_every_way(IORA_E_NO_TASK);
    test_trace("callback");
}

TEST_TASK(task, nothing_suspends_in_a_callback)
{
    iora_handle handle = {0};

    live_task = iora_go(sleeper, "sleeper", iora_ms(1), 4);
    CHECK_EQ(iora_call_soon(iora_loop_running(), &handle, suspend_in_callback, NULL), 0);
    CHECK_EQ(iora_await(live_task), 4);
    CHECK_TRACE("callback sleeper@1");
}

static void
go_live_task(void *arg)
{
    (void)arg;
    live_task = iora_go(sleep_for_ever);
}

TEST(task, nothing_suspends_without_a_loop)
{
    iora_handle handle = {0};

    CHECK_EQ(iora_call_soon(test_loop(), &handle, go_live_task, NULL), 0);
    CHECK_EQ(iora_loop_run_once(test_loop(), iora_ns(0)), 0);
    suspend_every_way(IORA_E_NO_LOOP);
    CHECK_EQ(iora_now()._ns, 0);
    CHECK_EQ(iora_cancel(live_task), 0);
    CHECK_EQ(iora_all_tasks(NULL, 0), 0);
    /* Collected with the loop, before the census. */
    CHECK_EQ(iora_loop_free(test_loop()), 0);
    test_forget_loop(test_loop());
}

/* ---- owners ----------------------------------------------------------------------------------------------------------- */

static int
parent_of_two(void)
{
    (void)iora_go(slow_to_end, "a", iora_ms(20));
    (void)iora_go(slow_to_end, "b", iora_ms(10));
    CHECK_EQ(iora_sleep(iora_ms(5)), 0);
    at("parent-returns");
    return 9;
}
IORA_ASYNC(parent_of_two);

TEST_TASK(owner, children_are_cancelled_and_joined_before_the_task_counts_as_done)
{
    iora_task parent;

    parent = iora_go(parent_of_two);
    CHECK_EQ(iora_sleep(iora_ms(6)), 0);
    CHECK(!iora_task_is_done(parent));
    CHECK_EQ(iora_await(parent), 9);
    at("done");
    CHECK_TRACE("parent-returns@5 a@5 b@5 b-ended@15 a-ended@25 done@25");
}

static int level(int n);
IORA_ASYNC(level, int);

static int
level(int n)
{
    int rc;

    if (n > 0)
        (void)iora_go(level, n - 1);
    rc = iora_sleep(n == 3 ? iora_ms(10) : IORA_FOREVER);
    test_trace("%d%s@%lld", n, rc == 0 ? "" : "-cancelled", test_ms());
    (void)iora_cleanup(iora_sleep(iora_ms(1)), IORA_FOREVER);
    return 0;
}

TEST_TASK(owner, the_rule_holds_at_every_level)
{
    CHECK_EQ(iora_await(iora_go(level, 3)), 0);
    at("done");
    CHECK_TRACE("3@10 2-cancelled@11 1-cancelled@12 0-cancelled@13 done@14");
}

static int
parent_of_a_failure(int code)
{
    (void)iora_go(return_code, code);
    return iora_sleep(iora_ms(1));
}
IORA_ASYNC(parent_of_a_failure, int);

TEST_TASK(owner, a_failure_nobody_collects_goes_to_the_error_hook)
{
    CHECK_EQ(iora_await(iora_go(parent_of_a_failure, -EIO)), 0);
    CHECK(test_logged("\"return_code\""));
    CHECK(test_logged("failed with EIO"));
}

TEST_TASK(owner, a_failure_to_end_nobody_collects_goes_there_too)
{
    CHECK_EQ(iora_await(iora_go(parent_of_a_failure, IORA_E_TASK_CANCELED)), 0);
    CHECK(test_logged("IORA_E_TASK_CANCELED"));
}

TEST_TASK(owner, a_success_nobody_collects_is_no_news)
{
    CHECK_EQ(iora_await(iora_go(parent_of_a_failure, 5)), 0);
    CHECK_STR(test_log(), "");
}

TEST_TASK(owner, that_a_child_was_cancelled_is_no_news)
{
    CHECK_EQ(iora_await(iora_go(parent_of_two)), 9);
    CHECK_STR(test_log(), "");
}

static int
fail_when_cancelled(void)
{
    (void)iora_sleep(IORA_FOREVER);
    return -EPIPE;
}
IORA_ASYNC(fail_when_cancelled);

static int
parent_of_one_that_fails_when_cancelled(void)
{
    (void)iora_go(fail_when_cancelled);
    return iora_yield();
}
IORA_ASYNC(parent_of_one_that_fails_when_cancelled);

TEST_TASK(owner, a_failure_while_being_cancelled_is_news)
{
    CHECK_EQ(iora_await(iora_go(parent_of_one_that_fails_when_cancelled)), 0);
    CHECK(test_logged("EPIPE"));
}

/* A hook that starts a task, as a program would to mend what broke. */
static iora_task mender;

static void
start_mender(void *arg, int code, const char *text)
{
    (void)arg;
    (void)text;
    CHECK_EQ(code, -EIO);
    mender = iora_go(sleeper, "mended", iora_ms(10), 0);
}

TEST_TASK(owner, the_error_hook_may_spawn)
{
    iora_loop_set_hooks(iora_loop_running(), start_mender, NULL, NULL);
    CHECK_EQ(test_ms(), 0);
    CHECK_EQ(iora_await(iora_go(parent_of_a_failure, -EIO)), 0);
    CHECK(iora_task_is_valid(mender));
    CHECK_EQ(iora_all_tasks(NULL, 0), 2); /* the run's, and not one of a task that is gone */
    CHECK_EQ(iora_await(mender), 0);
    CHECK_TRACE("mended@11");
}

TEST_TASK(owner, a_child_may_be_awaited_by_another_task)
{
    iora_task child = iora_go(sleeper, "child", iora_ms(10), 6);
    iora_task friend = iora_go_fn(plain, &(int){2}, "friend");

    CHECK_EQ(iora_await(friend), 2);
    CHECK_EQ(iora_await(child), 6);
}

/* ---- handles ------------------------------------------------------------------------------------------------------------- */

static void
check_stale(iora_task task)
{
    iora_handle handle = {0};
    int code = 0;

    CHECK(iora_task_is_valid(task));
    CHECK_EQ(iora_task_error(task), 0);
    CHECK(iora_task_is_done(task));
    CHECK_STR(iora_task_name(task), "");
    CHECK_EQ(iora_task_set_name(task, "name"), -ESRCH);
    CHECK_EQ(iora_task_on_done(task, &handle, go_one, NULL), -ESRCH);
    CHECK(!iora_handle_is_pending(&handle));
    CHECK_EQ(iora_cancel(task), -ESRCH);
    CHECK_EQ(iora_await(task), -ESRCH);
    CHECK_EQ(iora_shield(task), -ESRCH);
    CHECK_EQ(iora_wait(&task, 1, IORA_FIRST_COMPLETED), -ESRCH);
    CHECK_EQ(iora_gather_n(&task, 1), -ESRCH);
    CHECK_EQ(iora_gather_all_n(&code, &task, 1), 0);
    CHECK_EQ(code, -ESRCH);
}

TEST_TASK(handle, of_a_collected_task_is_stale_everywhere)
{
    const iora_task task = iora_go(return_code, 1);

    CHECK_EQ(iora_await(task), 1);
    check_stale(task);
}

TEST_TASK(handle, that_is_all_zero_is_stale_everywhere)
{
    const iora_task zero = {0};
    int code = 0;

    CHECK(!iora_task_is_valid(zero));
    CHECK(iora_task_is_done(zero));
    CHECK_STR(iora_task_name(zero), "");
    CHECK_EQ(iora_await(zero), -ESRCH);
    CHECK_EQ(iora_shield(zero), -ESRCH);
    CHECK_EQ(iora_cancel(zero), -ESRCH);
    CHECK_EQ(iora_wait(&zero, 1, IORA_ALL_COMPLETED), -ESRCH);
    CHECK_EQ(iora_gather(zero), -ESRCH);
    CHECK_EQ(iora_gather_all(&code, zero), 0);
    CHECK_EQ(code, -ESRCH);
    CHECK_EQ(iora_gen_next((iora_gen){zero}), -ESRCH);
    CHECK_EQ(iora_gen_close((iora_gen){zero}), 0);
}

static void *
use_from_a_thread_without_a_loop(void *arg)
{
    const iora_task task = *(iora_task *)arg;
    iora_handle handle = {0};

    CHECK_EQ(iora_await(task), IORA_E_WRONG_THREAD);
    CHECK_EQ(iora_cancel(task), IORA_E_WRONG_THREAD);
    CHECK_EQ(iora_task_set_name(task, "name"), IORA_E_WRONG_THREAD);
    CHECK_EQ(iora_task_on_done(task, &handle, go_one, NULL), IORA_E_WRONG_THREAD);
    CHECK_EQ(iora_shield(task), IORA_E_NO_LOOP);
    CHECK_EQ(iora_gather_n(&task, 1), IORA_E_NO_LOOP);
    return NULL;
}

static int
use_from_a_thread(void)
{
    iora_task task = iora_go(sleep_for_ever);
    pthread_t thread;

    CHECK_EQ(pthread_create(&thread, NULL, use_from_a_thread_without_a_loop, &task), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    return iora_yield();
}
IORA_ASYNC(use_from_a_thread);

TEST(handle, in_another_thread_is_refused_in_debug_mode)
{
    test_options()->debug = true;
    CHECK_EQ(test_run(use_from_a_thread), 0);
    CHECK(test_logged("another thread"));
}

TEST_TASK(handle, stays_stale_when_its_block_is_used_again)
{
    const iora_task task = iora_go(return_code, 1);
    iora_task again[100];

    CHECK_EQ(iora_await(task), 1);
    for (int i = 0; i < 100; i++)
        again[i] = iora_go(sleep_for_ever);
    check_stale(task);
    for (int i = 0; i < 100; i++)
        CHECK(!iora_task_is_same(task, again[i]));
}

static int
hand_out_current(iora_task *task)
{
    *task = iora_current();
    return 0;
}
IORA_ASYNC(hand_out_current, iora_task *);

TEST(handle, stays_stale_when_its_loop_is_gone)
{
    iora_task task;

    CHECK_EQ(iora_run(hand_out_current, &task), 0);
    CHECK(iora_task_is_done(task));
    CHECK_EQ(iora_cancel(task), -ESRCH);
    CHECK_EQ(test_run(return_code, 0), 0); /* takes over the memory of the loop that went */
    CHECK(iora_task_is_done(task));
    CHECK_EQ(iora_cancel(task), -ESRCH);
}

static int
use_foreign_handle(iora_task task)
{
    iora_handle handle = {0};

    CHECK_EQ(iora_await(task), IORA_E_WRONG_THREAD);
    CHECK_EQ(iora_shield(task), IORA_E_WRONG_THREAD);
    CHECK_EQ(iora_cancel(task), IORA_E_WRONG_THREAD);
    CHECK_EQ(iora_wait(&task, 1, IORA_ALL_COMPLETED), IORA_E_WRONG_THREAD);
    CHECK_EQ(iora_gather_n(&task, 1), IORA_E_WRONG_THREAD);
    CHECK_EQ(iora_task_on_done(task, &handle, go_one, NULL), IORA_E_WRONG_THREAD);
    return 0;
}
IORA_ASYNC(use_foreign_handle, iora_task);

TEST(handle, of_another_loop_is_refused)
{
    iora_loop *const other = test_loop_with(test_options());
    iora_handle handle = {0};

    CHECK_EQ(iora_call_soon(other, &handle, go_live_task, NULL), 0);
    CHECK_EQ(iora_loop_run_once(other, iora_ns(0)), 0);
    CHECK_EQ(test_run(use_foreign_handle, live_task), 0);
    test_forget_loop(other);
    CHECK_EQ(iora_loop_free(other), 0);
}

static void *
use_from_a_thread_with_a_loop(void *arg)
{
    iora_loop_options options = IORA_LOOP_OPTIONS_INIT;
    iora_loop *loop;

    options.backend = IORA_BACKEND_SIM;
    CHECK_EQ(iora_loop_new(&options, &loop), 0);
    CHECK_EQ(iora_run_in(loop, use_foreign_handle, *(iora_task *)arg), 0);
    CHECK_EQ(iora_loop_free(loop), 0);
    return NULL;
}

TEST_TASK(handle, in_a_thread_that_runs_another_loop_is_refused)
{
    iora_task task = iora_go(sleep_for_ever);
    pthread_t thread;

    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(pthread_create(&thread, NULL, use_from_a_thread_with_a_loop, &task), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK(!iora_task_is_done(task));
}

TEST_TASK(handle, ids_are_never_used_twice)
{
    uint64_t last = iora_task_id(iora_current());

    CHECK(last > 0);
    for (int i = 0; i < 1000; i++) {
        const iora_task task = iora_go(return_code, 0);

        CHECK(iora_task_id(task) > last);
        last = iora_task_id(task);
        CHECK_EQ(iora_await(task), 0);
    }
}

TEST_TASK(handle, of_the_current_task_is_the_one_its_spawner_got)
{
    iora_task current;
    const iora_task task = iora_go(hand_out_current, &current);

    CHECK_EQ(iora_await(task), 0);
    CHECK(iora_task_is_same(task, current));
    CHECK(!iora_task_is_same(task, iora_current()));
    CHECK(iora_task_is_same(iora_current(), iora_current()));
}

TEST(handle, there_is_no_current_task_outside_of_a_loop)
{
    CHECK_EQ(iora_task_error(iora_current()), IORA_E_NO_LOOP);
}

TEST_TASK(name, is_the_functions_until_one_is_set)
{
    const iora_task task = iora_go(return_code, 0);
    char text[] = "mine";

    CHECK_STR(iora_task_name(task), "return_code");
    CHECK_EQ(iora_task_set_name(task, text), 0);
    text[0] = '?'; /* it was copied */
    CHECK_STR(iora_task_name(task), "mine");
    CHECK_EQ(iora_task_set_name(task, "a longer one than that"), 0);
    CHECK_STR(iora_task_name(task), "a longer one than that");
    CHECK_EQ(iora_task_set_name(iora_current(), "main itself"), 0);
    CHECK_STR(iora_task_name(iora_current()), "main itself");
}

TEST_TASK(name, that_cannot_be_copied_leaves_the_old_one)
{
    const iora_task task = iora_go(return_code, 0);

    iora__seam_arm_allocation(1, true);
    CHECK_EQ(iora_task_set_name(task, "mine"), -ENOMEM);
    (void)iora__seam_disarm();
    CHECK_STR(iora_task_name(task), "return_code");
}

TEST_TASK(is_done, is_false_until_the_children_have_ended)
{
    const iora_task task = iora_go(parent_of_two);

    CHECK(!iora_task_is_done(task)); /* has not begun */
    CHECK_EQ(iora_sleep(iora_ms(10)), 0);
    CHECK(!iora_task_is_done(task)); /* has returned */
    CHECK_EQ(iora_sleep(iora_ms(20)), 0);
    CHECK(iora_task_is_done(task)); /* not collected */
    CHECK_EQ(iora_await(task), 9);
    CHECK(iora_task_is_done(task));
}

/* -- all tasks -- */

static void
trace_all(void)
{
    iora_task tasks[32];
    const size_t count = iora_all_tasks(tasks, 32);

    CHECK(count <= 32);
    for (size_t i = 0; i < count; i++)
        test_trace("%s", iora_task_name(tasks[i]));
}

static iora_task
named(iora_task task, const char *name)
{
    CHECK_EQ(iora_task_set_name(task, name), 0);
    return task;
}

static int
sleep_in_a_group(void)
{
    int rc = 0;

    (void)named(iora_go(sleep_for_ever), "child");
    IORA_GROUP(rc, outer) {
        (void)named(iora_group_go(&outer, sleep_for_ever), "outer1");
        (void)named(iora_group_go(&outer, sleep_for_ever), "outer2");
        IORA_TIMEOUT(rc, iora_s(10)) {
            IORA_GROUP(rc, inner) {
                (void)named(iora_group_go(&inner, sleep_for_ever), "inner");
            }
        }
    }
    return rc;
}
IORA_ASYNC(sleep_in_a_group);

TEST_TASK(all_tasks, are_listed_owners_before_what_they_own_with_groups)
{
    (void)named(iora_current(), "main");
    (void)named(iora_go(sleep_in_a_group), "grouper");
    (void)named(iora_go(sleep_for_ever), "last");
    (void)named(iora_go_detached(sleep_for_ever), "detached");
    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    trace_all();
    CHECK_TRACE("main grouper child inner outer1 outer2 last detached");
}

TEST_TASK(all_tasks, do_not_include_what_has_ended)
{
    (void)iora_go(return_code, 0);
    (void)named(iora_go(sleep_for_ever), "alive");
    CHECK_EQ(iora_yield(), 0);
    (void)named(iora_current(), "main");
    trace_all();
    CHECK_TRACE("main alive");
}

TEST_TASK(all_tasks, writes_up_to_max_and_returns_how_many_there_are)
{
    iora_task tasks[3];

    for (int i = 0; i < 9; i++)
        (void)iora_go(sleep_for_ever);
    tasks[2] = (iora_task){0};
    CHECK_EQ(iora_all_tasks(tasks, 2), 10);
    CHECK(iora_task_is_same(tasks[0], iora_current()));
    CHECK(!iora_task_is_valid(tasks[2]));
    CHECK_EQ(iora_all_tasks(NULL, 0), 10);
}

/* -- callbacks on done -- */

static void
trace_callback(void *arg)
{
    CHECK_EQ(iora_task_error(iora_current()), IORA_E_NO_TASK);
    test_trace("%s", (const char *)arg);
}

TEST_TASK(on_done, calls_from_the_ready_queue_in_the_order_asked)
{
    const iora_task task = iora_go(say, "task");
    iora_handle a = {0}, b = {0}, c = {0};

    CHECK_EQ(iora_task_on_done(task, &a, trace_callback, "a"), 0);
    CHECK_EQ(iora_task_on_done(task, &b, trace_callback, "b"), 0);
    CHECK_EQ(iora_task_on_done(task, &c, trace_callback, "c"), 0);
    CHECK_EQ(iora_await(task), 0);
    CHECK_EQ(iora_yield(), 0);
    CHECK_TRACE("task a b c");
}

TEST_TASK(on_done, of_a_task_that_has_ended_calls_soon)
{
    const iora_task task = iora_go(say, "task");
    iora_handle handle = {0};

    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_task_on_done(task, &handle, trace_callback, "callback"), 0);
    test_trace("asked");
    CHECK_EQ(iora_yield(), 0);
    CHECK_TRACE("task asked callback");
}

TEST_TASK(on_done, of_a_cancelled_task_is_called_when_it_has_ended)
{
    const iora_task task = iora_go(slow_to_end, "task", iora_ms(5));
    iora_handle handle = {0};

    CHECK_EQ(iora_task_on_done(task, &handle, trace_callback, "callback"), 0);
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_sleep(iora_ms(10)), 0);
    CHECK_TRACE("task@0 task-ended@5 callback");
}

TEST_TASK(on_done, of_a_pending_handle_is_busy)
{
    const iora_task task = iora_go(return_code, 0);
    iora_handle handle = {0};

    CHECK_EQ(iora_call_soon(iora_loop_running(), &handle, trace_callback, "soon"), 0);
    CHECK_EQ(iora_task_on_done(task, &handle, trace_callback, "done"), -EBUSY);
    CHECK_EQ(iora_await(task), 0);
    CHECK_TRACE("soon");
}

TEST_TASK(on_done, of_a_handle_that_waits_for_the_task_already_is_busy)
{
    const iora_task task = iora_go(return_code, 0);
    iora_handle handle = {0};

    CHECK_EQ(iora_task_on_done(task, &handle, trace_callback, "once"), 0);
    CHECK_EQ(iora_task_on_done(task, &handle, trace_callback, "twice"), -EBUSY);
    CHECK_EQ(iora_await(task), 0);
    CHECK_EQ(iora_yield(), 0);
    CHECK_TRACE("once");
}

TEST_TASK(on_done, of_a_handle_that_waits_for_the_task_is_pending_and_refused_elsewhere)
{
    const iora_task task = iora_go(return_code, 0), other = iora_go(return_code, 0);
    iora_future future = {0};
    iora_handle handle = {0};

    CHECK_EQ(iora_task_on_done(task, &handle, trace_callback, "done"), 0);
    CHECK(iora_handle_is_pending(&handle));
    CHECK_EQ(iora_call_soon(iora_loop_running(), &handle, trace_callback, "soon"), -EBUSY);
    CHECK_EQ(iora_task_on_done(other, &handle, trace_callback, "other"), -EBUSY);
    CHECK_EQ(iora_future_on_done(&future, iora_loop_running(), &handle, trace_callback, "set"),
             -EBUSY);
    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK_TRACE("done");
    CHECK(!iora_handle_is_pending(&handle));
    CHECK_EQ(iora_call_soon(iora_loop_running(), &handle, trace_callback, "soon"), 0);
    CHECK_EQ(iora_yield(), 0);
    CHECK_TRACE("done soon");
}

TEST_TASK(on_done, of_a_task_that_has_not_ended_can_be_taken_back)
{
    const iora_task task = iora_go(return_code, 0);
    iora_handle a = {0}, b = {0}, c = {0};

    CHECK_EQ(iora_task_on_done(task, &a, trace_callback, "a"), 0);
    CHECK_EQ(iora_task_on_done(task, &b, trace_callback, "b"), 0);
    CHECK_EQ(iora_task_on_done(task, &c, trace_callback, "c"), 0);
    CHECK(iora_handle_cancel(&b));
    CHECK(!iora_handle_cancel(&b));
    CHECK(!iora_handle_is_pending(&b));
    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK_TRACE("a c");
}

static int
never_end(void)
{
    return iora_cleanup(iora_sleep(IORA_FOREVER), IORA_FOREVER);
}
IORA_ASYNC(never_end);

static int
ask_of_one_that_never_ends(iora_handle *handle)
{
    CHECK_EQ(iora_task_on_done(iora_go_detached(never_end), handle, trace_callback, "done"), 0);
    return iora_yield();
}
IORA_ASYNC(ask_of_one_that_never_ends, iora_handle *);

TEST(on_done, of_a_task_that_never_ends_is_dropped_with_the_loop)
{
    iora_loop *const loop = test_loop();
    iora_handle handle = {0};

    CHECK_EQ(iora_run_in(loop, ask_of_one_that_never_ends, &handle), 0);
    CHECK(test_logged("1 tasks would not end: "));
    CHECK(iora_handle_is_pending(&handle));
    test_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    CHECK(!iora_handle_is_pending(&handle));
    CHECK_TRACE("");
}

TEST_TASK(on_done, a_callback_that_is_pending_can_be_taken_back)
{
    const iora_task task = iora_go(return_code, 0);
    iora_handle handle = {0};

    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_task_on_done(task, &handle, trace_callback, "never"), 0);
    CHECK(iora_handle_cancel(&handle));
    CHECK_EQ(iora_yield(), 0);
    CHECK_TRACE("");
}

/* ---- yield ------------------------------------------------------------------------------------------------------------- */

static int
yielder(const char *word, int times)
{
    for (int i = 1; i <= times; i++) {
        test_trace("%s%d", word, i);
        CHECK_EQ(iora_yield(), 0);
    }
    return 0;
}
IORA_ASYNC(yielder, const char *, int);

TEST_TASK(yield, lets_everything_that_is_ready_run_first)
{
    (void)iora_go(yielder, "a", 2);
    (void)iora_go(yielder, "b", 2);
    test_trace("main1");
    CHECK_EQ(iora_yield(), 0);
    test_trace("main2");
    CHECK_EQ(iora_yield(), 0);
    test_trace("main3");
    CHECK_TRACE("main1 a1 b1 main2 a2 b2 main3");
}

static void
trace_soon(void *arg)
{
    test_trace("%s", (const char *)arg);
}

TEST_TASK(yield, tasks_and_callbacks_share_one_queue)
{
    iora_handle one = {0}, two = {0};

    (void)iora_go(say, "task1");
    CHECK_EQ(iora_call_soon(iora_loop_running(), &one, trace_soon, "callback1"), 0);
    (void)iora_go(say, "task2");
    CHECK_EQ(iora_call_soon(iora_loop_running(), &two, trace_soon, "callback2"), 0);
    CHECK_EQ(iora_yield(), 0);
    CHECK_TRACE("task1 callback1 task2 callback2");
}

/* ---- sleep ------------------------------------------------------------------------------------------------------------- */

static int64_t
elapsed_ns(iora_instant since)
{
    return iora_to_ns(iora_between(since, iora_now()));
}

TEST_TASK(sleep, is_exact_in_virtual_time)
{
    static const int64_t spans_ns[] = {1, 63, 64, 65, 999, 1000000, 123456789,
                                       3600 * INT64_C(1000000000), 1000000 * INT64_C(1000000000)};

    for (size_t i = 0; i < sizeof spans_ns / sizeof *spans_ns; i++) {
        const iora_instant began = iora_now();

        CHECK_EQ(iora_sleep(iora_ns(spans_ns[i])), 0);
        CHECK_EQ(elapsed_ns(began), spans_ns[i]);
    }
}

TEST_TASK_EVERYWHERE(sleep, is_never_early)
{
    for (int64_t ns = 1; ns < 5000000; ns = ns * 3 + 1) {
        const iora_instant began = iora_now();

        CHECK_EQ(iora_sleep(iora_ns(ns)), 0);
        CHECK(elapsed_ns(began) >= ns);
    }
}

TEST_TASK(sleep, wakes_in_the_order_of_deadlines_and_of_equal_ones_in_the_order_they_were_set)
{
    (void)iora_go(sleeper, "c", iora_ms(3), 0);
    (void)iora_go(sleeper, "a", iora_ms(1), 0);
    (void)iora_go(sleeper, "b1", iora_ms(2), 0);
    (void)iora_go(sleeper, "b2", iora_ms(2), 0);
    (void)iora_go(sleeper, "b3", iora_ms(2), 0);
    CHECK_EQ(iora_sleep(iora_ms(10)), 0);
    CHECK_TRACE("a@1 b1@2 b2@2 b3@2 c@3");
}

TEST_TASK(sleep, of_a_deadline_that_two_durations_lead_to_wakes_in_the_order_set)
{
    (void)iora_go(sleeper, "first", iora_ms(100), 0);
    CHECK_EQ(iora_sleep(iora_ms(60)), 0);
    (void)iora_go(sleeper, "second", iora_ms(40), 0);
    CHECK_EQ(iora_sleep(iora_ms(60)), 0);
    CHECK_TRACE("first@100 second@100");
}

TEST_TASK(sleep, of_nothing_or_less_is_a_yield)
{
    static const double spans[] = {0, -1, -1e300, (double)NAN, -(double)INFINITY};
    iora_instant began = iora_now();

    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
        (void)iora_go(say, "other");
        CHECK_EQ(iora_sleep(iora_s(spans[i])), 0);
        test_trace("main");
    }
    CHECK_EQ(iora_sleep(iora_ns(INT64_MIN)), 0);
    CHECK_EQ(elapsed_ns(began), 0);
    CHECK_TRACE("other main other main other main other main other main");
}

TEST_TASK(sleep, that_overflows_is_for_ever)
{
    static const double spans[] = {1e300, (double)INFINITY, 9.3e9, 9.2233e9};

    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
        CHECK_EQ(test_ms(), (long long)i * 1000 * 1000);
        CHECK_EQ(iora_wait_for(iora_sleep(iora_s(spans[i])), iora_s(1000)), -ETIMEDOUT);
    }
}

TEST_TASK(sleep, for_ever_ends_with_a_cancel)
{
    const iora_task task = iora_go(sleeper, "task", IORA_FOREVER, 0);

    CHECK_EQ(iora_sleep(iora_s(100)), 0);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), IORA_E_TASK_CANCELED);
    CHECK_TRACE("task-cancelled@100000");
}

TEST_TASK(sleep_until, is_exact_in_virtual_time)
{
    const iora_instant began = iora_now();

    CHECK_EQ(iora_sleep_until(iora_after(began, iora_ms(7))), 0);
    CHECK_EQ(elapsed_ns(began), 7000000);
    CHECK_EQ(iora_sleep_until(iora_after(began, iora_ms(9))), 0);
    CHECK_EQ(elapsed_ns(began), 9000000);
}

TEST_TASK(sleep_until, of_now_or_before_is_a_yield)
{
    const iora_instant began = iora_now();
    const iora_instant past[] = {began, iora_after(began, iora_ns(-1)), {0}, {INT64_MIN}};

    for (size_t i = 0; i < sizeof past / sizeof *past; i++) {
        (void)iora_go(say, "other");
        CHECK_EQ(iora_sleep_until(past[i]), 0);
        test_trace("main");
    }
    CHECK_EQ(elapsed_ns(began), 0);
    CHECK_TRACE("other main other main other main other main");
}

TEST_TASK(sleep_until, of_before_takes_its_turn_as_a_yield_does)
{
    (void)iora_go(yielder, "a", 2);
    CHECK_EQ(iora_sleep_until((iora_instant){0}), 0);
    test_trace("main");
    CHECK_EQ(iora_yield(), 0);
    CHECK_TRACE("a1 main a2");
}

TEST_TASK(sleep_until, the_end_of_time_is_for_ever)
{
    CHECK_EQ(iora_wait_for(iora_sleep_until((iora_instant){INT64_MAX}), iora_s(1e9)), -ETIMEDOUT);
}

TEST_TASK_REAL(sleep_until, is_never_early)
{
    for (int i = 0; i < 5; i++) {
        const iora_instant when = iora_after(iora_now(), iora_us(700));

        CHECK_EQ(iora_sleep_until(when), 0);
        CHECK(iora_now()._ns >= when._ns);
    }
}

TEST(duration, conversions_saturate_and_nan_is_nothing)
{
    CHECK_EQ(iora_s(1.5)._ns, 1500000000);
    CHECK_EQ(iora_ms(20)._ns, 20000000);
    CHECK_EQ(iora_us(-3)._ns, -3000);
    CHECK_EQ(iora_s((double)NAN)._ns, 0);
    CHECK_EQ(iora_s(1e300)._ns, INT64_MAX);
    CHECK_EQ(iora_s(-1e300)._ns, INT64_MIN);
    CHECK_EQ(iora_duration_add(iora_s(1), IORA_FOREVER)._ns, INT64_MAX);
    CHECK_EQ(iora_duration_add(iora_ns(INT64_MIN), iora_ns(-1))._ns, INT64_MIN);
    CHECK_EQ(iora_after((iora_instant){5}, IORA_FOREVER)._ns, INT64_MAX);
}

TEST(duration, between_two_instants_is_exact_or_saturates)
{
    static const struct {
        int64_t from, to, between;
    } cases[] = {
        {5, 7, 2},
        {7, 5, -2},
        {INT64_MIN, 5, INT64_MAX},
        {INT64_MIN, INT64_MIN, 0},
        {INT64_MIN, INT64_MIN + 3, 3},
        {INT64_MIN, -1, INT64_MAX},
        {INT64_MAX, INT64_MIN, INT64_MIN},
        {INT64_MAX, INT64_MAX, 0},
        {0, INT64_MIN, INT64_MIN},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_EQ(iora_between((iora_instant){cases[i].from}, (iora_instant){cases[i].to})._ns,
                 cases[i].between);
}

TEST_TASK(duration, of_static_objects_is_a_constant)
{
    static const iora_duration patience = IORA_S(1.5);
    static const iora_duration brief = IORA_MS(2);

    CHECK_EQ(patience._ns, 1500000000);
    CHECK_EQ(brief._ns, 2000000);
}

/* ---- fairness ----------------------------------------------------------------------------------------------------------- */

static struct {
    bool stop;
    long turns;
    long heard_at; /* turns when the callback came; 0: not yet */
} fair;

static int
yield_until_stopped(void)
{
    while (!fair.stop) {
        fair.turns++;
        CHECK_EQ(iora_yield(), 0);
    }
    return 0;
}
IORA_ASYNC(yield_until_stopped);

static void
stop_yielding(void *arg)
{
    (void)arg;
    fair.heard_at = fair.turns;
    fair.stop = true;
}

/* Two tasks switch to each other; how many turns do they have until the callback comes? */
static void
check_heard(void)
{
    const iora_task a = iora_go(yield_until_stopped), b = iora_go(yield_until_stopped);

    CHECK_EQ(iora_gather(a, b), 0);
    CHECK(fair.heard_at > 0);
}

TEST_TASK_REAL(fair, a_watcher_is_heard_within_256_resumptions_of_tasks_that_yield_for_ever)
{
    iora_watcher watcher;
    int fds[2];

    CHECK_EQ(pipe(fds), 0);
    CHECK_EQ(write(fds[1], "x", 1), 1);
    iora_watcher_init(&watcher, iora_loop_running(), fds[0]);
    CHECK_EQ(iora_watcher_on_readable(&watcher, stop_yielding, NULL), 0);
    check_heard();
    /* One slice of what came before, one until the poll's news is at the head of the queue. */
    CHECK(fair.heard_at <= 2 * 256);
    iora_watcher_close(&watcher);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

TEST_TASK_EVERYWHERE(fair, a_remote_is_heard_within_256_resumptions_of_tasks_that_yield_for_ever)
{
    iora_remote *remote;
    iora_handle handle = {0};

    CHECK_EQ(iora_remote_open(iora_loop_running(), &remote), 0);
    CHECK_EQ(iora_remote_call_soon(remote, &handle, stop_yielding, NULL), 0);
    check_heard();
    CHECK(fair.heard_at <= 2 * 256);
    iora_remote_close(remote);
}

TEST_TASK_REAL(fair, a_timer_fires_while_tasks_yield_for_ever)
{
    iora_timer timer = {0};

    CHECK_EQ(iora_call_later(iora_loop_running(), &timer, iora_ms(2), stop_yielding, NULL), 0);
    check_heard();
}

static int
sleep_and_stop(void)
{
    CHECK_EQ(iora_sleep(iora_ms(2)), 0);
    stop_yielding(NULL);
    return 0;
}
IORA_ASYNC(sleep_and_stop);

TEST_TASK_REAL(fair, a_sleeper_wakes_while_tasks_yield_for_ever)
{
    (void)iora_go(sleep_and_stop);
    check_heard();
}

static int
spawn_for_ever(void)
{
    while (!fair.stop) {
        fair.turns++;
        CHECK_EQ(iora_await(iora_go(return_code, 0)), 0);
    }
    return 0;
}
IORA_ASYNC(spawn_for_ever);

static int
spawn_eagerly_for_ever(void)
{
    while (!fair.stop) {
        fair.turns++;
        CHECK_EQ(iora_await(iora_go_eager(return_code, 0)), 0);
    }
    return 0;
}
IORA_ASYNC(spawn_eagerly_for_ever);

TEST_TASK_REAL(fair, a_timer_fires_while_a_task_spawns_and_awaits_for_ever)
{
    iora_timer timer = {0};

    CHECK_EQ(iora_call_later(iora_loop_running(), &timer, iora_ms(2), stop_yielding, NULL), 0);
    CHECK_EQ(iora_await(iora_go(spawn_for_ever)), 0);
    fair.stop = false;
    CHECK_EQ(iora_call_later(iora_loop_running(), &timer, iora_ms(2), stop_yielding, NULL), 0);
    CHECK_EQ(iora_await(iora_go(spawn_eagerly_for_ever)), 0);
}

/* How many operations a task does in a row, that need not suspend, before another one runs. */
static int
count_operations(int (*operation)(void))
{
    int count = 0;

    CHECK_EQ(iora_yield(), 0); /* a fresh budget */
    fair.turns = 0;
    (void)iora_go(say, "other");
    while (test_traced()[0] == '\0') {
        CHECK_EQ(operation(), 0);
        count++;
        CHECK(count < 1000);
    }
    return count - 1; /* the last one let the other run */
}

static int
wait_for_a_set_event(void)
{
    static iora_event event;

    iora_event_set(&event);
    return iora_event_wait(&event);
}

TEST_TASK(fair, after_128_operations_that_need_not_suspend_the_next_one_yields)
{
    CHECK_EQ(count_operations(wait_for_a_set_event), 128);
}

static int
acquire_and_release(void)
{
    static iora_semaphore semaphore = IORA_SEMAPHORE_INIT(1);
    const int rc = iora_semaphore_acquire(&semaphore);

    return rc < 0 ? rc : iora_semaphore_release(&semaphore);
}

TEST_TASK(fair, semaphores_count_as_operations)
{
    CHECK_EQ(count_operations(acquire_and_release), 128);
}

static int
gather_nothing(void)
{
    return iora_gather_n(NULL, 0);
}

TEST_TASK(fair, gathering_nothing_counts_as_an_operation)
{
    CHECK_EQ(count_operations(gather_nothing), 128);
}

static int
await_ended_task(void)
{
    return iora_await(iora_go_eager(return_code, 0));
}

TEST_TASK(fair, awaiting_ended_tasks_lets_others_run)
{
    CHECK(count_operations(await_ended_task) <= 128);
}
