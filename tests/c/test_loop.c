/* tests/c/test_loop.c -- the loop: making, running, embedding, forking, freeing; who gets his turn when. */
#include "child.h"
#include "real.h"
#include "test.h"
#include "waiting.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static void
trace_word(void *word)
{
    test_trace("%s", (const char *)word);
}

static void
count_up(void *count)
{
    (*(int *)count)++;
}

static void
stop_loop(void *loop)
{
    iora_loop_stop(loop);
}

static void
soon(iora_handle *handle, iora_callback_fn *fn, void *arg)
{
    CHECK_EQ(iora_call_soon(test_loop(), handle, fn, arg), 0);
}

/* ---- making one ------------------------------------------------------------------------------------ */

static int
try_options(iora_loop_options options)
{
    iora_loop *loop = NULL;
    const int rc = iora_loop_new(&options, &loop);

    CHECK_EQ(loop != NULL, rc == 0);
    CHECK_EQ(iora_loop_free(loop), 0);
    return rc;
}

TEST(loop, options_of_another_library_are_refused)
{
    iora_loop_options options = IORA_LOOP_OPTIONS_INIT;

    options.size--;
    CHECK_EQ(try_options(options), -EINVAL);
    options.size += 2;
    CHECK_EQ(try_options(options), -EINVAL);
    options.size = 0;
    CHECK_EQ(try_options(options), -EINVAL);
}

TEST(loop, an_unknown_backend_is_refused)
{
    iora_loop_options options = IORA_LOOP_OPTIONS_INIT;

    options.backend = (iora_backend)(IORA_BACKEND_SIM + 1);
    CHECK_EQ(try_options(options), -EINVAL);
}

TEST(loop, a_seed_needs_simulation)
{
    iora_loop_options options = IORA_LOOP_OPTIONS_INIT;

    options.seed = 1;
    CHECK_EQ(try_options(options), -EINVAL);
    options.backend = IORA_BACKEND_SIM;
    CHECK_EQ(try_options(options), 0);
}

TEST(loop, stack_sizes_out_of_range_are_refused)
{
    static const size_t wrong[] = {1, 16 * 1024 - 1, ((size_t)1 << 30) + 1, SIZE_MAX};
    static const size_t right[] = {0, 16 * 1024, 16 * 1024 + 1, (size_t)1 << 30};
    iora_loop_options options = IORA_LOOP_OPTIONS_INIT;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        options.stack_size = wrong[i];
        CHECK_EQ(try_options(options), -EINVAL);
    }
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        options.stack_size = right[i];
        CHECK_EQ(try_options(options), 0);
    }
}

TEST(loop, needs_a_place_for_the_result)
{
    CHECK_EQ(iora_loop_new(NULL, NULL), -EINVAL);
}

TEST(loop, has_defaults)
{
    iora_loop *loop;

    CHECK_EQ(iora_loop_new(NULL, &loop), 0);
    CHECK_EQ(iora_loop_run_once(loop, iora_ns(0)), 0);
    CHECK_EQ(iora_loop_free(loop), 0);
    CHECK_EQ(iora_loop_free(NULL), 0);
}

/* Every system call in turn, and every allocation: a code, and nothing left over (the census sees to that). */
TEST(loop, making_it_fails_cleanly)
{
    int failures = 0;

    for (long n = 1; n <= 5; n++) {
        iora_loop_options options = IORA_LOOP_OPTIONS_INIT;
        int rc;

        iora__seam_arm_call(n, 0, false);
        rc = try_options(options);
        failures += iora__seam_disarm().failures > 0 && rc < 0;
        iora__seam_arm_allocation(n, false);
        rc = try_options(options);
        CHECK_EQ(rc, iora__seam_disarm().failures > 0 ? -ENOMEM : 0);
    }
    CHECK(failures >= 2); /* the page that tells a fork, and the epoll set */
}

/* ---- running --------------------------------------------------------------------------------------- */

TEST_EVERYWHERE(loop, a_stop_ends_the_run_after_the_turn)
{
    iora_handle before = {0}, after = {0};

    soon(&before, stop_loop, test_loop());
    soon(&after, trace_word, "same-turn");
    CHECK_EQ(iora_loop_run(test_loop()), 0);
    CHECK_TRACE("same-turn");
}

TEST_EVERYWHERE(loop, a_stop_before_the_run_ends_it_after_one_turn)
{
    iora_handle handle = {0};

    iora_loop_stop(test_loop());
    CHECK_EQ(iora_loop_run(test_loop()), 0); /* nothing to do, and it does not wait for anything */
    soon(&handle, trace_word, "ran");
    iora_loop_stop(test_loop());
    CHECK_EQ(iora_loop_run(test_loop()), 0);
    CHECK_TRACE("ran");
}

TEST_EVERYWHERE(loop, can_run_again_after_a_stop)
{
    iora_handle handle = {0};
    iora_timer timer = {0};

    for (int i = 0; i < 3; i++) {
        soon(&handle, trace_word, "once");
        CHECK_EQ(iora_call_later(test_loop(), &timer, iora_ms(2), stop_loop, test_loop()), 0);
        CHECK_EQ(iora_loop_run(test_loop()), 0);
    }
    CHECK_TRACE("once once once");
}

TEST_EVERYWHERE(loop, run_once_says_whether_more_is_ready)
{
    static iora_handle handles[1000];
    int count = 0;

    CHECK_EQ(iora_loop_run_once(test_loop(), iora_ns(0)), 0);
    for (int i = 0; i < 1000; i++)
        soon(&handles[i], count_up, &count);
    CHECK_EQ(iora_loop_run_once(test_loop(), IORA_FOREVER), 1);
    CHECK(count > 0 && count < 1000);
    while (iora_loop_run_once(test_loop(), IORA_FOREVER) == 1)
        continue;
    CHECK_EQ(count, 1000);
}

TEST(loop, run_once_waits_as_long_as_it_may)
{
    iora_timer timer = {0};
    int fired = 0;

    CHECK_EQ(test_ms(), 0);
    CHECK_EQ(iora_loop_run_once(test_loop(), iora_ms(50)), 0);
    CHECK_EQ(test_ms(), 50);
    CHECK_EQ(iora_call_later(test_loop(), &timer, iora_ms(20), count_up, &fired), 0);
    CHECK_EQ(iora_loop_run_once(test_loop(), iora_ms(50)), 0);
    CHECK_EQ(test_ms(), 70);
    CHECK_EQ(fired, 1);
}

TEST(loop, run_once_with_no_or_negative_time_does_not_wait)
{
    iora_timer timer = {0};
    int fired = 0;

    CHECK_EQ(iora_call_later(test_loop(), &timer, iora_ms(20), count_up, &fired), 0);
    CHECK_EQ(test_ms(), 0);
    CHECK_EQ(iora_loop_run_once(test_loop(), iora_ns(0)), 0);
    CHECK_EQ(iora_loop_run_once(test_loop(), iora_ms(-5)), 0);
    CHECK_EQ(iora_loop_run_once(test_loop(), iora_ns(INT64_MIN)), 0);
    CHECK_EQ(test_ms(), 0);
    CHECK_EQ(fired, 0);
    CHECK(iora_timer_cancel(&timer));
}

TEST_REAL(loop, run_once_really_waits)
{
    const int64_t began_ns = real_ns();

    CHECK_EQ(iora_loop_run_once(test_loop(), iora_ms(15)), 0);
    CHECK(real_ns() - began_ns >= 15 * 1000000);
}
TEST_EXEMPT(loop, run_once_really_waits, TEST_SIGNALS, "a signal ends run_once")

static int
empty(void)
{
    return 0;
}
IORA_ASYNC(empty);

static void
run_all_ways(void *other)
{
    CHECK_EQ(iora_loop_run(test_loop()), -EBUSY);
    CHECK_EQ(iora_loop_run_once(test_loop(), iora_ns(0)), -EBUSY);
    CHECK_EQ(iora_loop_run(other), -EBUSY);
    CHECK_EQ(iora_loop_run_once(other, iora_ns(0)), -EBUSY);
    CHECK_EQ(iora_run(empty), -EBUSY);
    CHECK_EQ(iora_run_in(test_loop(), empty), -EBUSY);
    CHECK_EQ(iora_run_in(other, empty), -EBUSY);
    CHECK_EQ(iora_loop_free(test_loop()), -EBUSY);
    test_trace("refused");
}

static int
runs_all_ways(iora_loop *other)
{
    run_all_ways(other);
    return iora_yield();
}
IORA_ASYNC(runs_all_ways, iora_loop *);

TEST_EVERYWHERE(loop, run_inside_run_is_refused)
{
    iora_loop *const other = test_loop_with(test_options());
    iora_handle handle = {0};

    soon(&handle, run_all_ways, other);
    CHECK_EQ(iora_loop_run_once(test_loop(), iora_ns(0)), 0);
    CHECK_EQ(test_run(runs_all_ways, other), 0);
    CHECK_TRACE("refused refused");
}

static void
check_running(void *loop)
{
    CHECK(iora_loop_running() == loop);
    test_trace("here");
}

static int
checks_running(iora_loop *loop)
{
    check_running(loop);
    return iora_yield();
}
IORA_ASYNC(checks_running, iora_loop *);

TEST_EVERYWHERE(loop, running_tells_which)
{
    iora_handle handle = {0};

    CHECK(iora_loop_running() == NULL);
    soon(&handle, check_running, test_loop());
    CHECK_EQ(iora_loop_run_once(test_loop(), iora_ns(0)), 0);
    CHECK(iora_loop_running() == NULL);
    CHECK_EQ(test_run(checks_running, test_loop()), 0);
    CHECK(iora_loop_running() == NULL);
    CHECK_TRACE("here here");
}

TEST(loop, timeout_is_until_the_first_timer)
{
    iora_loop *const loop = test_loop();
    iora_timer near = {0}, far = {0};
    iora_handle handle = {0};
    int count = 0;

    CHECK_EQ(iora_to_ns(iora_loop_timeout(loop)), INT64_MAX);
    CHECK_EQ(iora_call_later(loop, &far, iora_s(9), count_up, &count), 0);
    CHECK_EQ(iora_to_ns(iora_loop_timeout(loop)), 9000000000);
    CHECK_EQ(iora_call_later(loop, &near, iora_ms(3), count_up, &count), 0);
    CHECK_EQ(iora_to_ns(iora_loop_timeout(loop)), 3000000);
    soon(&handle, count_up, &count);
    CHECK_EQ(iora_to_ns(iora_loop_timeout(loop)), 0);
    CHECK(iora_handle_cancel(&handle));
    CHECK_EQ(iora_call_later(loop, &near, iora_ms(-3), count_up, &count), 0);
    CHECK_EQ(iora_to_ns(iora_loop_timeout(loop)), 0);
    CHECK_EQ(iora_loop_run_once(loop, iora_ns(0)), 0);
    CHECK_EQ(count, 1);
    CHECK(iora_timer_cancel(&far));
    CHECK_EQ(iora_to_ns(iora_loop_timeout(loop)), INT64_MAX);
}

TEST_REAL(loop, clock_is_the_monotonic_one)
{
    const int64_t before_ns = real_ns();
    const int64_t now_ns = iora_loop_now(test_loop())._ns;

    CHECK(before_ns <= now_ns && now_ns <= real_ns());
}

static int
sleeps(iora_duration d)
{
    return iora_sleep(d);
}
IORA_ASYNC(sleeps, iora_duration);

TEST(loop, simulated_clock_jumps_to_what_comes_next)
{
    CHECK_EQ(test_ms(), 0);
    CHECK_EQ(test_run(sleeps, iora_s(365.0 * 86400)), 0);
    CHECK_EQ(test_ms(), 365LL * 86400 * 1000);
}

TEST_REAL(loop, an_interrupted_wait_goes_on)
{
    CHECK_EQ(test_run(sleeps, iora_ns(0)), 0); /* stacks and all are there */
    iora__seam_arm_call(1, 0, false);          /* EINTR */
    CHECK_EQ(test_run(sleeps, iora_ms(5)), 0);
    CHECK_EQ(iora__seam_read().failures, 1);
    CHECK_EQ(iora__seam_disarm().last_call, IORA__CALL_EPOLL_WAIT);
}

TEST_REAL(loop, a_kernel_without_epoll_pwait2_will_do)
{
    const iora_duration nap = iora_us(1500);
    int64_t began_ns;

    CHECK_EQ(test_run(sleeps, iora_ns(0)), 0); /* stacks and all are there */
    began_ns = real_ns();
    iora__seam_arm_call(1, 1, true); /* ENOSYS */
    CHECK_EQ(test_run(sleeps, nap), 0);
    CHECK(iora__seam_read().failures > 0);
    CHECK(iora__seam_disarm().calls <= 3); /* nor does it spin out the rest of a millisecond */
    CHECK(real_ns() - began_ns >= iora_to_ns(nap));
}

/* ---- hooks ------------------------------------------------------------------------------------------- */

struct heard {
    int errors, logs, code;
    char text[512];
};

static void
hear_error(void *arg, int code, const char *text)
{
    struct heard *const heard = arg;

    heard->errors++;
    heard->code = code;
    (void)snprintf(heard->text, sizeof heard->text, "%s", text);
}

static void
hear_log(void *arg, const char *text)
{
    (void)text;
    ((struct heard *)arg)->logs++;
}

static int
fails(void)
{
    return -EIO;
}
IORA_ASYNC(fails);

static int
leaves_a_failure(void)
{
    (void)iora_go_detached(fails);
    return iora_yield();
}
IORA_ASYNC(leaves_a_failure);

static int
waits_for_ever(void)
{
    static iora_event never;

    return iora_event_wait(&never);
}
IORA_ASYNC(waits_for_ever);

TEST_EVERYWHERE(loop, hooks_get_their_argument)
{
    struct heard heard = {0};

    iora_loop_set_hooks(test_loop(), hear_error, hear_log, &heard);
    CHECK_EQ(test_run(leaves_a_failure), 0);
    CHECK_EQ(heard.errors, 1);
    CHECK_EQ(heard.code, -EIO);
    CHECK(strstr(heard.text, "\"fails\"") != NULL && strstr(heard.text, "EIO") != NULL);
    CHECK_EQ(heard.logs, 0);
    CHECK_EQ(test_run(waits_for_ever), -EDEADLK);
    CHECK(heard.logs > 0);
    CHECK_EQ(heard.errors, 1);
}

static void
use_no_hooks(void)
{
    iora_loop_set_hooks(test_loop(), NULL, NULL, NULL);
    CHECK_EQ(test_run(leaves_a_failure), 0);
    CHECK_EQ(test_run(waits_for_ever), -EDEADLK);
}

TEST(loop, without_hooks_stderr_is_told)
{
    const struct child child = child_run(use_no_hooks);

    child_check_ok(&child);
    CHECK(strstr(child.output, "iora: task ") != NULL);
    CHECK(strstr(child.output, "\"fails\"") != NULL);
    CHECK(strstr(child.output, "iora: deadlock") != NULL);
}

/* ---- inside another loop ------------------------------------------------------------------------------- */

/* poll(2) as the outer loop, until *count is n. A descriptor that does not come up fails the test. */
static void
live_in_poll(iora_loop *loop, const int *count, int n)
{
    for (int turns = 0; *count < n; turns++) {
        const int64_t timeout_ns = iora_to_ns(iora_loop_timeout(loop));
        const bool for_ever = timeout_ns == INT64_MAX;
        const int ms = for_ever ? test_patience_ms() : (int)((timeout_ns + 999999) / 1000000);
        struct pollfd entry = {.fd = iora_loop_fd(loop), .events = POLLIN};
        const int rc = poll(&entry, 1, ms);

        CHECK(rc > 0 || !for_ever || errno == EINTR);
        CHECK(iora_loop_run_once(loop, iora_ns(0)) >= 0);
        CHECK(turns < 1000);
    }
}

/* Nothing to do: the outer loop may sleep, and its poll does not come back for ours. */
static void
check_sleeps_in_poll(iora_loop *loop)
{
    struct pollfd entry = {.fd = iora_loop_fd(loop), .events = POLLIN};

    CHECK_EQ(iora_to_ns(iora_loop_timeout(loop)), INT64_MAX);
    CHECK_EQ(poll(&entry, 1, 0), 0);
}

TEST(loop, simulation_has_no_descriptor)
{
    CHECK_EQ(iora_loop_fd(test_loop()), -ENOTSUP);
}

TEST_REAL(loop, embedded_runs_timers_and_callbacks)
{
    iora_timer timer = {0};
    iora_handle handle = {0};
    int count = 0;

    CHECK_EQ(iora_loop_fd(test_loop()), iora_loop_fd(test_loop()));
    check_sleeps_in_poll(test_loop());
    CHECK_EQ(iora_call_later(test_loop(), &timer, iora_ms(5), count_up, &count), 0);
    soon(&handle, count_up, &count);
    live_in_poll(test_loop(), &count, 2);
    check_sleeps_in_poll(test_loop());
}

struct reader {
    iora_watcher watcher;
    int fd;
    int count;
};

static void
read_one(void *arg)
{
    struct reader *const reader = arg;

    take_bytes(reader->fd, 1);
    reader->count++;
}

static void
watch(struct reader *reader, int fd)
{
    reader->fd = fd;
    iora_watcher_init(&reader->watcher, test_loop(), fd);
    CHECK_EQ(iora_watcher_on_readable(&reader->watcher, read_one, reader), 0);
}

TEST_REAL(loop, embedded_hears_descriptors)
{
    struct reader reader = {0};
    int ends[2];

    open_pipe(ends);
    watch(&reader, ends[RD]);
    check_sleeps_in_poll(test_loop());
    put_bytes(ends[WR], 3);
    live_in_poll(test_loop(), &reader.count, 3);
    check_sleeps_in_poll(test_loop());
    iora_watcher_close(&reader.watcher);
    close_both(ends);
}

static int
waits_readable(int fd, int *count)
{
    const int rc = iora_wait_readable(fd);

    *count += rc == 0;
    return rc;
}
IORA_ASYNC(waits_readable, int, int *);

static int
waits_writable(int fd, int *count)
{
    const int rc = iora_wait_writable(fd);

    *count += rc == 0;
    return rc;
}
IORA_ASYNC(waits_writable, int, int *);

struct two_waits {
    int fd;
    int count;
};

static void
start_two_waits(void *arg)
{
    struct two_waits *const both = arg;

    (void)iora_go_detached(waits_readable, both->fd, &both->count);
    (void)iora_go_detached(waits_writable, both->fd, &both->count);
}

/* What woke the one must not make the loop deaf for the other. */
TEST_REAL(loop, embedded_hears_the_second_of_two_tasks_on_one_descriptor)
{
    struct two_waits both = {0};
    iora_handle handle = {0};
    static char drain[1 << 20];
    int ends[2];

    open_pair(ends);
    fill(ends[0]);
    both.fd = ends[0];
    soon(&handle, start_two_waits, &both);
    CHECK_EQ(iora_loop_run_once(test_loop(), iora_ns(0)), 0);
    check_sleeps_in_poll(test_loop());
    put_bytes(ends[1], 1);
    live_in_poll(test_loop(), &both.count, 1);
    while (recv(ends[1], drain, sizeof drain, MSG_DONTWAIT) > 0)
        continue;
    live_in_poll(test_loop(), &both.count, 2);
    close_both(ends);
}

static void *
call_through(void *remote)
{
    static iora_handle handle;
    static int *count;

    count = *(int **)((void **)remote + 1);
    real_sleep_ms(5);
    CHECK_EQ(iora_remote_call_soon(*(iora_remote **)remote, &handle, count_up, count), 0);
    return NULL;
}

TEST_REAL(loop, embedded_hears_other_threads)
{
    iora_remote *remote;
    pthread_t thread;
    int count = 0;

    CHECK_EQ(iora_remote_open(test_loop(), &remote), 0);
    check_sleeps_in_poll(test_loop());
    CHECK_EQ(pthread_create(&thread, NULL, call_through, (void *[]){remote, &count}), 0);
    live_in_poll(test_loop(), &count, 1);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    turn_some(test_loop()); /* the thread may have woken it after it had been heard */
    check_sleeps_in_poll(test_loop());
    iora_remote_close(remote);
}

static int
waits_for_a_signal(int *count)
{
    const int rc = iora_wait_signal(SIGUSR1);

    *count += rc == SIGUSR1;
    return rc;
}
IORA_ASYNC(waits_for_a_signal, int *);

TEST_REAL(loop, embedded_hears_signals)
{
    int count = 0;

    (void)iora_go_in(test_loop(), waits_for_a_signal, &count);
    CHECK_EQ(iora_loop_run_once(test_loop(), iora_ns(0)), 0);
    check_sleeps_in_poll(test_loop());
    CHECK_EQ(raise(SIGUSR1), 0);
    live_in_poll(test_loop(), &count, 1);
    turn_some(test_loop()); /* who listens no more has sent word of that */
    check_sleeps_in_poll(test_loop());
}

static int
sleeps_in_thread(void *arg)
{
    (void)arg;
    real_sleep_ms(5);
    return 0;
}

static int
waits_for_a_thread(int *count)
{
    const int rc = iora_to_thread(sleeps_in_thread, NULL);

    *count += rc == 0;
    return rc;
}
IORA_ASYNC(waits_for_a_thread, int *);

TEST_REAL(loop, embedded_hears_the_end_of_a_job)
{
    int count = 0;

    (void)iora_go_in(test_loop(), waits_for_a_thread, &count);
    CHECK_EQ(iora_loop_run_once(test_loop(), iora_ns(0)), 0);
    live_in_poll(test_loop(), &count, 1);
    check_sleeps_in_poll(test_loop());
}

/* A registration that nobody can remove any more: the file lives on in a duplicate. */
static void
leave_a_stale_registration(int *alive)
{
    struct reader reader = {0};
    int ends[2];

    open_pipe(ends);
    watch(&reader, ends[RD]);
    turn_some(test_loop());
    *alive = dup(ends[RD]);
    put_bytes(ends[WR], 1);
    (void)close(ends[RD]); /* in the wrong order */
    iora_watcher_close(&reader.watcher);
    (void)close(ends[WR]);
}

TEST_REAL(loop, embedded_sleeps_again_after_a_stale_event)
{
    int alive;

    CHECK(iora_loop_fd(test_loop()) >= 0);
    leave_a_stale_registration(&alive);
    turn_some(test_loop());
    check_sleeps_in_poll(test_loop());
    (void)close(alive);
}

TEST_REAL(loop, embedded_hears_everything_after_the_set_was_rebuilt)
{
    struct reader reader = {0};
    iora_remote *remote;
    pthread_t thread;
    int ends[2], alive, count = 0;
    const int fd = iora_loop_fd(test_loop());

    open_pipe(ends);
    watch(&reader, ends[RD]);
    CHECK_EQ(iora_remote_open(test_loop(), &remote), 0);
    leave_a_stale_registration(&alive);
    turn_some(test_loop());
    CHECK_EQ(iora_loop_fd(test_loop()), fd);
    check_sleeps_in_poll(test_loop());
    put_bytes(ends[WR], 1);
    live_in_poll(test_loop(), &reader.count, 1);
    CHECK_EQ(pthread_create(&thread, NULL, call_through, (void *[]){remote, &count}), 0);
    live_in_poll(test_loop(), &count, 1);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    turn_some(test_loop()); /* the thread may have woken it after it had been heard */
    check_sleeps_in_poll(test_loop());
    iora_remote_close(remote);
    iora_watcher_close(&reader.watcher);
    close_both(ends);
    (void)close(alive);
}

/* A listener at an abstract name, whose backlog is full. */
static int
listen_without_room(const char *name, int clients[3])
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const socklen_t length =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(address.sun_path + 1, name, strlen(name));
    CHECK_EQ(bind(listener, (struct sockaddr *)&address, length), 0);
    CHECK_EQ(listen(listener, 0), 0);
    for (int i = 0; i < 3; i++) {
        clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(clients[i], (struct sockaddr *)&address, length);
    }
    return listener;
}

static int
connects_in_vain(const char *name, int *count)
{
    iora_stream *stream;
    const int rc = iora_wait_for(iora_open_unix_connection(name, NULL, &stream), iora_ms(20));

    *count += rc == -ETIMEDOUT;
    return rc == -ETIMEDOUT ? 0 : rc;
}
IORA_ASYNC(connects_in_vain, const char *, int *);

/* The outer loop turned ours without a pause as long as the next attempt was not due. */
TEST_REAL(loop, embedded_sleeps_while_it_waits_for_room_in_a_backlog)
{
    int clients[3], count = 0;
    char name[64] = "@";

    (void)snprintf(name + 1, sizeof name - 1, "iora-test-no-room-%d", getpid());

    const int listener = listen_without_room(name + 1, clients);
    const iora_task task = iora_go_in(test_loop(), connects_in_vain, (const char *)name, &count);

    live_in_poll(test_loop(), &count, 1);
    turn_some(test_loop());
    CHECK(iora_task_is_done(task));
    check_sleeps_in_poll(test_loop());
    for (int i = 0; i < 3; i++)
        (void)close(clients[i]);
    (void)close(listener);
}

/* What another loop's callbacks do: none of ours runs. */
TEST_REAL(loop, embedded_runs_tasks_that_are_started_from_outside)
{
    int ends[2], count = 0;

    open_pipe(ends);
    CHECK(iora_task_is_valid(iora_go_in(test_loop(), waits_readable, ends[RD], &count)));
    CHECK_EQ(iora_to_ns(iora_loop_timeout(test_loop())), 0);
    CHECK_EQ(count, 0);
    CHECK(iora_loop_running() == NULL);
    CHECK_EQ(iora_loop_run_once(test_loop(), iora_ns(0)), 0);
    check_sleeps_in_poll(test_loop());
    put_bytes(ends[WR], 1);
    live_in_poll(test_loop(), &count, 1);
    check_sleeps_in_poll(test_loop());
    close_both(ends);
}

static int
waits_for_good(iora_event *event)
{
    const int rc = iora_event_wait(event);

    test_trace(rc == -ECANCELED ? "cancelled" : "?");
    return rc;
}
IORA_ASYNC(waits_for_good, iora_event *);

TEST_EVERYWHERE(loop, task_started_from_outside_can_be_cancelled_from_there)
{
    iora_event never = IORA_EVENT_INIT;
    const iora_task task = iora_go_in(test_loop(), waits_for_good, &never);

    turn_some(test_loop());
    CHECK(!iora_task_is_done(task));
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_to_ns(iora_loop_timeout(test_loop())), 0);
    turn_some(test_loop());
    CHECK_TRACE("cancelled");
    CHECK_EQ(iora_cancel(task), -ESRCH);
}

TEST_EVERYWHERE(loop, freeing_ends_a_task_that_was_started_from_outside_and_never_ran)
{
    iora_event never = IORA_EVENT_INIT;
    iora_loop *const loop = test_loop_with(test_options());

    CHECK(iora_task_is_valid(iora_go_in(loop, waits_for_good, &never)));
    test_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    CHECK_TRACE("cancelled");
}

static int
starts_in(iora_loop *loop, iora_event *event, int *rc)
{
    const iora_task task = iora_go_in(loop, waits_for_good, event);

    *rc = iora_task_error(task);
    return iora_is_cancelled() ? -ECANCELED : 0;
}
IORA_ASYNC(starts_in, iora_loop *, iora_event *, int *);

TEST_EVERYWHERE(loop, task_is_started_in_the_running_loop_but_not_in_another)
{
    iora_event never = IORA_EVENT_INIT;
    iora_loop *const other = test_loop_with(test_options());
    int rc = 1;

    CHECK_EQ(test_run(starts_in, other, &never, &rc), 0);
    CHECK_EQ(rc, -EBUSY);
    CHECK_TRACE("");
    CHECK_EQ(test_run(starts_in, test_loop(), &never, &rc), 0);
    CHECK_EQ(rc, 0);
    CHECK_TRACE("cancelled"); /* by the end of the run, as what is detached */
}

/* ---- fork ------------------------------------------------------------------------------------------------ */

static void
use_the_parents_loop(void)
{
    iora_remote *remote;

    CHECK_EQ(iora_loop_run(test_loop()), IORA_E_FORKED);
    CHECK_EQ(iora_loop_run_once(test_loop(), iora_ns(0)), IORA_E_FORKED);
    CHECK_EQ(iora_run_in(test_loop(), empty), IORA_E_FORKED);
    CHECK_EQ(iora_task_error(iora_go_in(test_loop(), empty)), IORA_E_FORKED);
    CHECK_EQ(iora_remote_open(test_loop(), &remote), IORA_E_FORKED);
    CHECK_EQ(iora_run(empty), 0); /* one of its own is fine */
    CHECK_EQ(iora_loop_free(test_loop()), 0);
}

static void
fork_and_go_on(void)
{
    struct child child;

    CHECK_EQ(test_run(sleeps, iora_ms(1)), 0);
    child = child_run(use_the_parents_loop);
    child_check_ok(&child);
    CHECK_EQ(test_run(sleeps, iora_ms(1)), 0);
}

TEST_EVERYWHERE(loop, a_forked_child_is_told)
{
    fork_and_go_on();
}

TEST_EVERYWHERE(loop, a_forked_child_is_told_by_a_kernel_without_wipe_on_fork)
{
    iora__seam_arm_call(2, 0, false);
    (void)test_loop();
    CHECK_EQ(iora__seam_read().failures, 1);
    CHECK_EQ(iora__seam_disarm().last_call, IORA__CALL_MADVISE);
    fork_and_go_on();
}

/* As in qemu's user mode. */
TEST_EVERYWHERE(loop, a_forked_child_is_told_where_no_advice_is_heeded)
{
    iora__seam_be_deaf();
    fork_and_go_on();
}

/* Forked in the middle of a run, with a task and a watcher that wait for descriptors. */
struct forking {
    int ends[2];
    int waited;
    struct reader reader;
    int reader_ends[2];
    pid_t pid;
};

static void
fork_here(void *arg)
{
    struct forking *const it = arg;
    int status;

    CHECK((it->pid = fork()) >= 0);
    if (it->pid == 0)
        return;
    CHECK_EQ(TEMP_FAILURE_RETRY(waitpid(it->pid, &status, 0)), it->pid);
    CHECK_EQ(status, 0);
    put_bytes(it->ends[WR], 1);
    put_bytes(it->reader_ends[WR], 1);
}

static int
forks_while_another_waits(struct forking *it, bool in_callback)
{
    iora_handle handle = {0};
    int rc = 0;

    (void)iora_go_detached(waits_readable, it->ends[RD], &it->waited);
    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    if (in_callback)
        soon(&handle, fork_here, it);
    else
        fork_here(it);
    for (int i = 0; i < 1000 && it->waited == 0 && rc == 0; i++)
        rc = iora_sleep(iora_ms(1)); /* the child does not come back from this */
    return rc;
}
IORA_ASYNC(forks_while_another_waits, struct forking *, bool);

/* The child's copy of the loop ends without a word to the kernel's epoll set, which is the parent's too. */
static void
fork_inside_a_run(bool in_callback)
{
    struct forking it = {.waited = 0};
    int rc;

    open_pipe(it.ends);
    open_pipe(it.reader_ends);
    watch(&it.reader, it.reader_ends[RD]);
    rc = test_run(forks_while_another_waits, &it, in_callback);
    if (it.pid == 0) {
        iora_watcher_close(&it.reader.watcher);
        _exit(rc == IORA_E_FORKED && iora_loop_free(test_loop()) == 0 && test_log()[0] == '\0'
                  ? EXIT_SUCCESS
                  : EXIT_FAILURE);
    }
    CHECK_EQ(rc, 0);
    CHECK_EQ(it.waited, 1);
    turn_until(test_loop(), &it.reader.count, 1);
    iora_watcher_close(&it.reader.watcher);
    close_both(it.ends);
    close_both(it.reader_ends);
}

TEST_REAL(loop, a_child_forked_in_a_callback_takes_nothing_from_its_parent)
{
    fork_inside_a_run(true);
}

TEST_REAL(loop, a_child_forked_in_a_task_takes_nothing_from_its_parent)
{
#if defined(__SANITIZE_THREAD__)
    test_skip("ThreadSanitizer takes a child forked on another stack for a second thread");
#endif
    fork_inside_a_run(false);
}

static int
add_one(int *count)
{
    const int rc = iora_sleep(iora_ns(1));

    ++*count;
    return rc;
}
IORA_ASYNC(add_one, int *);

static void
run_another_loop_in_a_child(void *arg)
{
    int status;
    const pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0) {
        iora_loop *loop = NULL;
        iora_handle handle = {0};
        int count = 0;
        const bool well = iora_loop_new(NULL, &loop) == 0 &&
                          iora_call_soon(loop, &handle, count_up, &count) == 0 &&
                          iora_loop_run_once(loop, iora_ns(0)) == 0 && count == 1 &&
                          iora_loop_running() == NULL && iora_loop_free(loop) == 0;

        _exit(well ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    CHECK_EQ(TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)), pid);
    *(int *)arg = status;
}

/* A child for one run each: afterwards it is forgotten there that the parent's loop ran. */
struct child_run {
    bool in_own_loop;
    int status;
};

static void
run_tasks_in_a_child(void *arg)
{
    struct child_run *const it = arg;
    const pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0) {
        iora_loop *loop = NULL;
        int count = 0;
        const bool well = iora_loop_new(NULL, &loop) == 0 &&
                          (it->in_own_loop ? iora_run_in(loop, add_one, &count)
                                           : iora_run(add_one, &count)) == 0 &&
                          count == 1 && iora_loop_running() == NULL && iora_loop_free(loop) == 0;

        _exit(well ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    CHECK_EQ(TEMP_FAILURE_RETRY(waitpid(pid, &it->status, 0)), pid);
}

static int
runs_tasks_in_a_child(struct child_run *it)
{
    run_tasks_in_a_child(it);
    return 0;
}
IORA_ASYNC(runs_tasks_in_a_child, struct child_run *);

TEST_REAL(loop, a_child_forked_in_a_callback_may_run_a_loop_of_its_own)
{
    iora_handle handle = {0};
    int status = -1;

    soon(&handle, run_another_loop_in_a_child, &status);
    turn_some(test_loop());
    CHECK_EQ(status, 0);
}

TEST_REAL(loop, a_child_forked_in_a_callback_may_run_tasks)
{
    for (int i = 0; i < 2; i++) {
        struct child_run it = {.in_own_loop = i == 1, .status = -1};
        iora_handle handle = {0};

        soon(&handle, run_tasks_in_a_child, &it);
        turn_some(test_loop());
        CHECK_EQ(it.status, 0);
    }
}

TEST_REAL(loop, a_child_forked_in_a_task_may_run_tasks)
{
#if defined(__SANITIZE_THREAD__)
    test_skip("ThreadSanitizer takes a child forked on another stack for a second thread");
#endif
    for (int i = 0; i < 2; i++) {
        struct child_run it = {.in_own_loop = i == 1, .status = -1};

        CHECK_EQ(test_run(runs_tasks_in_a_child, &it), 0);
        CHECK_EQ(it.status, 0);
    }
}

/* ---- freeing it ------------------------------------------------------------------------------------------ */

TEST_EVERYWHERE(loop, freeing_drops_callbacks_and_timers_uncalled)
{
    iora_loop *const loop = test_loop_with(test_options());
    static iora_handle handles[2];
    static iora_timer timers[2];
    int count = 0;

    for (int i = 0; i < 2; i++) {
        CHECK_EQ(iora_call_soon(loop, &handles[i], count_up, &count), 0);
        CHECK_EQ(iora_call_later(loop, &timers[i], iora_ms(i * 1000), count_up, &count), 0);
    }
    test_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    CHECK_EQ(count, 0);
    for (int i = 0; i < 2; i++) { /* they are idle, and of use to another loop */
        CHECK(!iora_handle_is_pending(&handles[i]));
        CHECK(!iora_timer_cancel(&timers[i]));
        soon(&handles[i], count_up, &count);
        CHECK_EQ(iora_call_later(test_loop(), &timers[i], iora_ns(0), count_up, &count), 0);
    }
    turn_until(test_loop(), &count, 4);
}

static int
sleeps_and_cleans_up(int *canceled)
{
    const int rc = iora_sleep(iora_s(3600));

    *canceled += rc == -ECANCELED && iora_cleanup(iora_sleep(iora_ms(2)), iora_s(1)) == 0;
    return rc;
}
IORA_ASYNC(sleeps_and_cleans_up, int *);

static void
start_sleepers(void *canceled)
{
    for (int i = 0; i < 2; i++)
        (void)iora_go_detached(sleeps_and_cleans_up, canceled);
}

TEST_EVERYWHERE(loop, freeing_cancels_and_joins_detached_tasks)
{
    iora_loop *const loop = test_loop_with(test_options());
    iora_handle handle = {0};
    int canceled = 0;

    CHECK_EQ(iora_call_soon(loop, &handle, start_sleepers, &canceled), 0);
    CHECK_EQ(iora_loop_run_once(loop, iora_ns(0)), 0);
    test_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    CHECK_EQ(canceled, 2);
}

TEST_EVERYWHERE(loop, freeing_with_tasks_drops_callbacks_uncalled_too)
{
    iora_loop *const loop = test_loop_with(test_options());
    iora_handle starts = {0}, handle = {0};
    iora_timer timer = {0};
    int canceled = 0, count = 0;

    CHECK_EQ(iora_call_soon(loop, &starts, start_sleepers, &canceled), 0);
    CHECK_EQ(iora_loop_run_once(loop, iora_ns(0)), 0);
    CHECK_EQ(iora_call_soon(loop, &handle, count_up, &count), 0);
    CHECK_EQ(iora_call_later(loop, &timer, iora_ns(0), count_up, &count), 0);
    test_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    CHECK_EQ(canceled, 2);
    CHECK_EQ(count, 0);
}

static int
sets_a_timer_at_its_end(iora_timer *timer, int *count)
{
    CHECK_EQ(iora_sleep(iora_s(3600)), -ECANCELED);
    CHECK_EQ(iora_call_later(iora_loop_running(), timer, iora_s(3600), count_up, count), 0);
    return 0;
}
IORA_ASYNC(sets_a_timer_at_its_end, iora_timer *, int *);

static void
start_a_timer_setter(void *timer_and_count)
{
    void **const both = timer_and_count;

    (void)iora_go_detached(sets_a_timer_at_its_end, both[0], both[1]);
}

TEST_EVERYWHERE(loop, freeing_drops_what_tasks_ask_for_at_their_end)
{
    iora_loop *const loop = test_loop_with(test_options());
    iora_handle handle = {0};
    iora_timer timer = {0};
    int count = 0;
    void *both[] = {&timer, &count};

    CHECK_EQ(iora_call_soon(loop, &handle, start_a_timer_setter, both), 0);
    CHECK_EQ(iora_loop_run_once(loop, iora_ns(0)), 0);
    test_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    CHECK(!iora_timer_is_pending(&timer));
    CHECK_EQ(count, 0);
}

static int
frees_its_loop_at_its_end(int *freed)
{
    CHECK_EQ(iora_sleep(iora_s(3600)), -ECANCELED);
    *freed = iora_loop_free(iora_loop_running());
    return -EIO; /* told to the error hook, when no task runs any more */
}
IORA_ASYNC(frees_its_loop_at_its_end, int *);

struct freeing {
    iora_loop *loop;
    int freed, ran;
};

static void
free_and_run_in_hook(void *arg, int code, const char *text)
{
    struct freeing *const it = arg;

    (void)code;
    (void)text;
    it->freed = iora_loop_free(it->loop);
    it->ran = iora_loop_run_once(it->loop, iora_ns(0));
}

TEST_EVERYWHERE(loop, that_is_being_freed_is_neither_freed_nor_run_by_what_ends_in_it)
{
    iora_loop_options options = *test_options();
    struct freeing it = {NULL, 0, 0};
    int freed = 0;

    options.on_error = free_and_run_in_hook;
    options.hook_arg = &it;
    CHECK_EQ(iora_loop_new(&options, &it.loop), 0);
    CHECK_EQ(iora_task_error(iora_go_in(it.loop, frees_its_loop_at_its_end, &freed)), 0);
    CHECK_EQ(iora_loop_run_once(it.loop, iora_ns(0)), 0);
    CHECK_EQ(iora_loop_free(it.loop), 0);
    CHECK_EQ(freed, -EBUSY);
    CHECK_EQ(it.freed, -EBUSY);
    CHECK_EQ(it.ran, -EBUSY);
}

TEST_REAL(loop, freeing_stops_watchers)
{
    iora_loop_options options = *test_options();
    iora_loop *loop;
    static struct reader readers[2];
    iora_handle handle = {0};
    int ends[2], canceled = 0;

    options.complete_late = test_where() == TEST_LATE;
    loop = test_loop_with(&options);
    open_pipe(ends);
    for (int i = 0; i < 2; i++) {
        iora_watcher_init(&readers[i].watcher, loop, ends[RD]);
        CHECK_EQ(iora_watcher_on_readable(&readers[i].watcher, read_one, &readers[i]), 0);
    }
    iora_watcher_close(&readers[1].watcher); /* the late mode still has its operation */
    /* Freeing will turn the loop, for their end. */
    CHECK_EQ(iora_call_soon(loop, &handle, start_sleepers, &canceled), 0);
    CHECK_EQ(iora_loop_run_once(loop, iora_ns(0)), 0);
    put_bytes(ends[WR], 1);
    test_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    CHECK_EQ(canceled, 2);
    iora_watcher_close(&readers[0].watcher);
    CHECK_EQ(iora_watcher_on_readable(&readers[0].watcher, read_one, readers), IORA_E_CLOSED);
    CHECK_EQ(readers[0].count, 0);
    close_both(ends);
}

/* ---- threads ----------------------------------------------------------------------------------------------- */

struct own_loop {
    int yields;
    int rc;
};

static int
yields_and_sleeps(int *yields)
{
    int rc = 0;

    for (; rc == 0 && *yields < 1000; (*yields)++)
        rc = *yields % 100 == 0 ? iora_sleep(iora_us(200)) : iora_yield();
    return rc;
}
IORA_ASYNC(yields_and_sleeps, int *);

static void *
run_own_loop(void *arg)
{
    struct own_loop *const own = arg;

    own->rc = iora_run(yields_and_sleeps, &own->yields);
    return NULL;
}

TEST_IN(loop, two_run_in_two_threads, TEST_EPOLL)
{
    struct own_loop owns[2] = {{0}};
    pthread_t threads[2];

    for (int i = 0; i < 2; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, run_own_loop, &owns[i]), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
        CHECK_EQ(owns[i].rc, 0);
        CHECK_EQ(owns[i].yields, 1000);
    }
}

static void *
use_a_foreign_loop(void *fd)
{
    iora_loop *const loop = test_loop();
    iora_watcher watcher;
    iora_remote *remote;
    iora_handle handle = {0};
    iora_timer timer = {0};

    CHECK_EQ(iora_call_soon(loop, &handle, count_up, NULL), IORA_E_WRONG_THREAD);
    CHECK(test_logged("iora_call_soon"));
    CHECK(test_logged("another thread"));
    CHECK_EQ(iora_call_later(loop, &timer, iora_ms(1), count_up, NULL), IORA_E_WRONG_THREAD);
    CHECK(test_logged("iora_call_later"));
    CHECK_EQ(iora_call_at(loop, &timer, iora_loop_now(loop), count_up, NULL), IORA_E_WRONG_THREAD);
    CHECK_EQ(iora_remote_open(loop, &remote), IORA_E_WRONG_THREAD);
    CHECK(test_logged("iora_remote_open"));
    iora_watcher_init(&watcher, loop, *(int *)fd);
    CHECK_EQ(iora_watcher_on_readable(&watcher, count_up, NULL), IORA_E_WRONG_THREAD);
    CHECK_EQ(iora_watcher_on_writable(&watcher, count_up, NULL), IORA_E_WRONG_THREAD);
    CHECK(test_logged("watcher"));
    test_clear_log();
    CHECK_EQ(iora_loop_run(loop), IORA_E_WRONG_THREAD);
    CHECK_EQ(iora_loop_run_once(loop, iora_ns(0)), IORA_E_WRONG_THREAD);
    CHECK_EQ(iora_run_in(loop, empty), IORA_E_WRONG_THREAD);
    CHECK(test_logged("another thread"));
    return NULL;
}

TEST_EVERYWHERE(loop, debug_mode_refuses_other_threads)
{
    pthread_t thread;
    int ends[2];

    test_options()->debug = true;
    CHECK_EQ(test_run(empty), 0); /* it is this thread's from here on */
    open_pipe(ends);
    CHECK_EQ(pthread_create(&thread, NULL, use_a_foreign_loop, &ends[RD]), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(test_run(empty), 0);
    close_both(ends);
}

/* ---- fairness ---------------------------------------------------------------------------------------------- */

/* A callback that asks for itself again, so that something is always ready. At its first run it makes a
 * descriptor readable. */
struct busy {
    iora_handle handle;
    int runs, max;
    int work_us;
    int fd;
    const int *until; /* it ends when this is not 0 */
};

static void
keep_busy(void *arg)
{
    struct busy *const busy = arg;

    if (busy->runs == 0)
        put_bytes(busy->fd, 1);
    real_work_us(busy->work_us);
    if (*busy->until == 0 && busy->runs++ < busy->max)
        soon(&busy->handle, keep_busy, busy);
}

/* How often that runs before the loop has seen that the descriptor is ready. */
static int
runs_before_a_poll(int work_us)
{
    struct reader reader = {0};
    struct busy busy = {.work_us = work_us, .until = &reader.count, .max = 10000};
    int ends[2];

    open_pipe(ends);
    busy.fd = ends[WR];
    watch(&reader, ends[RD]);
    soon(&busy.handle, keep_busy, &busy);
    turn_until(test_loop(), &reader.count, 1);
    turn_some(test_loop());
    iora_watcher_close(&reader.watcher);
    close_both(ends);
    return busy.runs;
}

TEST_REAL(loop, polls_after_61_callbacks)
{
    CHECK(runs_before_a_poll(0) <= 62);
}

TEST_REAL(loop, polls_after_61_callbacks_in_debug_mode_too)
{
    test_options()->debug = true;
    test_expect_log(); /* a busy machine may leave one of them for long */
    CHECK(runs_before_a_poll(0) <= 62);
}

TEST_REAL(loop, polls_when_callbacks_have_taken_long)
{
    CHECK(runs_before_a_poll(100) <= 10); /* it looks at the clock at every eighth */
}

TEST_REAL(loop, polls_when_callbacks_have_taken_long_in_debug_mode_too)
{
    test_options()->debug = true;
    test_expect_log(); /* a busy machine may leave one of them for long */
    CHECK(runs_before_a_poll(100) <= 10);
}

static int
yields_until(const int *stop, int *runs)
{
    while (*stop == 0 && *runs < 100000) {
        (*runs)++;
        CHECK_EQ(iora_yield(), 0);
    }
    return 0;
}
IORA_ASYNC(yields_until, const int *, int *);

static int
yields_in_pairs(const int *stop, int *runs, int fd)
{
    put_bytes(fd, 1); /* the poll of this turn is over */
    return iora_gather(iora_go(yields_until, stop, runs), iora_go(yields_until, stop, runs));
}
IORA_ASYNC(yields_in_pairs, const int *, int *, int);

static void
check_polls_after_256_resumptions(void)
{
    struct reader reader = {0};
    int ends[2], runs = 0;

    open_pipe(ends);
    watch(&reader, ends[RD]);
    CHECK_EQ(test_run(yields_in_pairs, &reader.count, &runs, ends[WR]), 0);
    CHECK(runs > 100 && runs <= 258);
    iora_watcher_close(&reader.watcher);
    close_both(ends);
}

TEST_REAL(loop, polls_after_256_resumptions)
{
    check_polls_after_256_resumptions();
}

TEST_REAL(loop, polls_after_256_resumptions_in_debug_mode_too)
{
    test_expect_log();
    test_options()->debug = true;
    check_polls_after_256_resumptions();
}

/* The other half of the bargain: what is ready does not cost a system call each time round. */
TEST_REAL(loop, polls_seldom_while_callbacks_are_ready)
{
    const int never = 0;
    struct busy busy = {.until = &never, .max = 6100, .runs = 1};
    struct reader reader = {0};
    int ends[2];

    open_pipe(ends);
    watch(&reader, ends[RD]);
    turn_some(test_loop());
    soon(&busy.handle, keep_busy, &busy);
    iora__seam_arm_call(0, 0, false);
    while (iora_loop_run_once(test_loop(), iora_ns(0)) == 1)
        continue;
    CHECK(iora__seam_read().calls >= 6100 / 61);
    CHECK(iora__seam_read().calls <= 6100 / 8 + 2);
    iora_watcher_close(&reader.watcher);
    close_both(ends);
}

TEST_REAL(loop, polls_seldom_while_tasks_are_ready)
{
    struct reader reader = {0};
    int ends[2], stop = 0, runs = 0;

    open_pipe(ends);
    watch(&reader, ends[RD]);
    CHECK_EQ(test_run(empty), 0);
    iora__seam_arm_call(0, 0, false);
    CHECK_EQ(test_run(yields_in_pairs, &stop, &runs, ends[WR]), 0);
    CHECK(runs >= 100000);
    CHECK(iora__seam_read().calls <= runs / 128);
    iora_watcher_close(&reader.watcher);
    close_both(ends);
}

/* ---- seeded order -------------------------------------------------------------------------------------------- */

enum { RUNNERS = 12 };

static int
leaves_its_number(int number, char *order)
{
    for (int i = 0; i < 3; i++) {
        (void)sprintf(order + strlen(order), "%c", 'a' + number);
        CHECK_EQ(iora_yield(), 0);
    }
    return 0;
}
IORA_ASYNC(leaves_its_number, int, char *);

static int
starts_runners(char *order)
{
    for (int i = 0; i < RUNNERS; i++)
        (void)iora_go(leaves_its_number, i, order);
    return iora_sleep(iora_ms(1));
}
IORA_ASYNC(starts_runners, char *);

static void
order_of(uint64_t seed, char order[RUNNERS * 3 + 1])
{
    iora_loop_options options = *test_options();
    iora_loop *loop;

    options.backend = IORA_BACKEND_SIM;
    options.seed = seed;
    loop = test_loop_with(&options);
    order[0] = '\0';
    CHECK_EQ(iora_run_in(loop, starts_runners, order), 0);
    CHECK_EQ(strlen(order), RUNNERS * 3);
    test_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
}

TEST(loop, the_same_seed_gives_the_same_order)
{
    for (uint64_t seed = 1; seed < 20; seed++) {
        char once[RUNNERS * 3 + 1], again[RUNNERS * 3 + 1];

        order_of(seed, once);
        order_of(seed, again);
        CHECK_STR(again, once);
    }
}

TEST(loop, different_seeds_give_different_orders)
{
    char orders[20][RUNNERS * 3 + 1];
    int same = 0;

    for (int i = 0; i < 20; i++) {
        order_of((uint64_t)i, orders[i]); /* 0: in order */
        for (int j = 0; j < i; j++)
            same += strcmp(orders[i], orders[j]) == 0;
    }
    CHECK_STR(orders[0], "abcdefghijklabcdefghijklabcdefghijkl");
    CHECK_EQ(same, 0);
}

/* Whatever the order, the promises hold: each task goes on in its own order, and none is left out. */
TEST(loop, a_seeded_order_leaves_nobody_out)
{
    for (uint64_t seed = 1; seed < 50; seed++) {
        char order[RUNNERS * 3 + 1];
        int seen[RUNNERS] = {0};

        order_of(seed, order);
        for (int i = 0; i < RUNNERS * 3; i++)
            seen[order[i] - 'a']++;
        for (int i = 0; i < RUNNERS; i++)
            CHECK_EQ(seen[i], 3);
    }
}

static int
adds_one(int *count)
{
    (*count)++;
    return iora_yield();
}
IORA_ASYNC(adds_one, int *);

static int
starts_another_eagerly(int *count)
{
    (void)iora_go_eager(adds_one, count);
    return adds_one(count);
}
IORA_ASYNC(starts_another_eagerly, int *);

static int
starts_one_eagerly(void)
{
    int others = 0, eager = 0;

    for (int i = 0; i < 10; i++)
        (void)iora_go(adds_one, &others);
    (void)iora_go_eager(adds_one, &eager);
    CHECK_EQ(eager, 1);
    CHECK_EQ(others, 0);
    (void)iora_go_eager(starts_another_eagerly, &eager);
    CHECK_EQ(eager, 3);
    CHECK_EQ(others, 0);
    return iora_sleep(iora_ms(1));
}
IORA_ASYNC(starts_one_eagerly);

static int others_before = -1;

static int
looks_who_has_run(const int *others)
{
    others_before = *others;
    return 0;
}
IORA_ASYNC(looks_who_has_run, const int *);

static void
start_eagerly(void *others)
{
    (*(int *)others) = 0;
    (void)iora_go_eager(looks_who_has_run, (const int *)others);
}

/* From a task, from a task that was itself started so, and from a callback. */
TEST(loop, a_seeded_order_leaves_eager_starts_eager)
{
    for (uint64_t seed = 1; seed < 30; seed++) {
        iora_loop_options options = *test_options();
        static iora_handle handles[11];
        iora_loop *loop;
        int others = 0;

        options.backend = IORA_BACKEND_SIM;
        options.seed = seed;
        loop = test_loop_with(&options);
        CHECK_EQ(iora_run_in(loop, starts_one_eagerly), 0);
        CHECK_EQ(iora_call_soon(loop, &handles[0], start_eagerly, &others), 0);
        for (int i = 1; i <= 10; i++)
            CHECK_EQ(iora_call_soon(loop, &handles[i], count_up, &others), 0);
        CHECK_EQ(iora_loop_run_once(loop, iora_ns(0)), 0);
        CHECK_EQ(others_before, 0);
        test_forget_loop(loop);
        CHECK_EQ(iora_loop_free(loop), 0);
    }
}
