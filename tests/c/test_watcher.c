/* tests/c/test_watcher.c -- descriptors of the user's: watched by callbacks, waited for by tasks. */
#include "real.h"
#include "test.h"
#include "turns.h"
#include "waiting.h"

#include <stdlib.h>
#include <sys/ioctl.h>

static void
count_up(void *count)
{
    (*(int *)count)++;
}

static void
trace_word(void *word)
{
    test_trace("%s", (const char *)word);
}

/* Make a watcher and watch its readable side. */
static void
watch(iora_watcher *watcher, int fd, iora_callback_fn *fn, void *arg)
{
    iora_watcher_init(watcher, test_loop(), fd);
    CHECK_EQ(iora_watcher_on_readable(watcher, fn, arg), 0);
}

static size_t
ops_pending(void)
{
    iora_census census;

    iora_loop_census(test_loop(), &census);
    return census.ops;
}

static void
stop_loop(void *loop)
{
    iora_loop_stop(loop);
}

/* How many turns the loop makes while nothing should happen: with a timer to end it, very few. */
static long
turns_in_10_ms(void)
{
    iora_timer timer = {0};

    CHECK_EQ(iora_call_later(test_loop(), &timer, iora_ms(10), stop_loop, test_loop()), 0);
    count_turns();
    CHECK_EQ(iora_loop_run(test_loop()), 0);
    return turns_counted();
}

/* ---- what a watcher tells ---------------------------------------------------------------------------------- */

struct drainer {
    iora_watcher watcher;
    int fd;
    int calls;
};

static void
take_one(void *arg)
{
    struct drainer *const drainer = arg;

    take_bytes(drainer->fd, 1);
    drainer->calls++;
}

TEST_REAL(watcher, is_called_again_until_the_descriptor_is_drained)
{
    struct drainer drainer = {.calls = 0};
    int ends[2];

    open_pipe(ends);
    drainer.fd = ends[RD];
    watch(&drainer.watcher, ends[RD], take_one, &drainer);
    turn_some(test_loop());
    CHECK_EQ(drainer.calls, 0);
    put_bytes(ends[WR], 4);
    turn_until(test_loop(), &drainer.calls, 4);
    turn_some(test_loop());
    CHECK_EQ(drainer.calls, 4);
    iora_watcher_close(&drainer.watcher);
    close_both(ends);
}

TEST_REAL(watcher, is_called_each_turn_while_nobody_reads)
{
    iora_watcher watcher;
    int ends[2], calls = 0;

    open_pipe(ends);
    put_bytes(ends[WR], 1);
    watch(&watcher, ends[RD], count_up, &calls);
    for (int i = 1; i <= 10; i++) {
        CHECK(iora_loop_run_once(test_loop(), iora_ns(0)) >= 0);
        CHECK_EQ(calls, i);
    }
    iora_watcher_close(&watcher);
    close_both(ends);
}

TEST_REAL(watcher, has_two_sides_each_on_its_own)
{
    iora_watcher watcher;
    int ends[2], readable = 0, writable = 0;

    open_pair(ends);
    watch(&watcher, ends[0], count_up, &readable);
    turn_some(test_loop());
    CHECK_EQ(readable + writable, 0);
    CHECK_EQ(iora_watcher_on_writable(&watcher, count_up, &writable), 0);
    turn_until(test_loop(), &writable, 3);
    CHECK_EQ(readable, 0);
    CHECK_EQ(iora_watcher_on_writable(&watcher, NULL, NULL), 0);
    writable = 0;
    put_bytes(ends[1], 1);
    turn_until(test_loop(), &readable, 3);
    CHECK_EQ(writable, 0);
    CHECK_EQ(iora_watcher_on_writable(&watcher, count_up, &writable), 0);
    CHECK_EQ(iora_watcher_on_readable(&watcher, NULL, NULL), 0);
    readable = 0;
    turn_until(test_loop(), &writable, 3);
    CHECK_EQ(readable, 0);
    iora_watcher_close(&watcher);
    close_both(ends);
}

TEST_REAL(watcher, writable_side_waits_for_room)
{
    static char rest[1 << 20];
    iora_watcher watcher;
    int ends[2], calls = 0;

    open_pair(ends);
    fill(ends[0]);
    iora_watcher_init(&watcher, test_loop(), ends[0]);
    CHECK_EQ(iora_watcher_on_writable(&watcher, count_up, &calls), 0);
    turn_some(test_loop());
    CHECK_EQ(calls, 0);
    while (recv(ends[1], rest, sizeof rest, MSG_DONTWAIT) > 0)
        continue;
    turn_until(test_loop(), &calls, 1);
    iora_watcher_close(&watcher);
    close_both(ends);
}

TEST_REAL(watcher, setting_and_stopping_twice_is_fine)
{
    iora_watcher watcher;
    int ends[2], calls = 0;

    open_pipe(ends);
    iora_watcher_init(&watcher, test_loop(), ends[RD]);
    CHECK_EQ(iora_watcher_on_readable(&watcher, NULL, NULL), 0);
    iora_watcher_close(&watcher);
    CHECK_EQ(iora_watcher_on_readable(&watcher, count_up, &calls), 0);
    CHECK_EQ(iora_watcher_on_readable(&watcher, count_up, &calls), 0);
    CHECK_EQ(ops_pending(), 1);
    put_bytes(ends[WR], 1);
    CHECK(iora_loop_run_once(test_loop(), iora_ns(0)) >= 0);
    CHECK_EQ(calls, 1);
    CHECK_EQ(iora_watcher_on_readable(&watcher, NULL, NULL), 0);
    CHECK_EQ(iora_watcher_on_readable(&watcher, NULL, NULL), 0);
    iora_watcher_close(&watcher);
    iora_watcher_close(&watcher);
    CHECK_EQ(ops_pending(), 0);
    turn_some(test_loop());
    CHECK_EQ(calls, 1);
    CHECK_EQ(iora_watcher_on_readable(&watcher, count_up, &calls), 0); /* and may be used again */
    turn_until(test_loop(), &calls, 2);
    iora_watcher_close(&watcher);
    close_both(ends);
}

TEST_REAL(watcher, setting_a_side_again_replaces_its_callback)
{
    iora_watcher watcher;
    int ends[2], before = 0, after = 0;

    open_pipe(ends);
    put_bytes(ends[WR], 1);
    watch(&watcher, ends[RD], count_up, &before);
    CHECK(iora_loop_run_once(test_loop(), iora_ns(0)) >= 0);
    CHECK_EQ(before, 1);
    CHECK_EQ(iora_watcher_on_readable(&watcher, count_up, &after), 0);
    turn_until(test_loop(), &after, 2);
    CHECK_EQ(before, 1);
    iora_watcher_close(&watcher);
    close_both(ends);
}

static iora_watcher swapping;

static void
replace_itself(void *word)
{
    test_trace("first");
    CHECK_EQ(iora_watcher_on_readable(&swapping, trace_word, word), 0);
}

TEST_REAL(watcher, may_replace_its_callback_in_its_callback)
{
    int ends[2];

    open_pipe(ends);
    put_bytes(ends[WR], 1);
    watch(&swapping, ends[RD], replace_itself, (void *)"second");
    for (int i = 0; i < 3; i++)
        CHECK(iora_loop_run_once(test_loop(), iora_ns(0)) >= 0);
    CHECK_TRACE("first second second");
    iora_watcher_close(&swapping);
    close_both(ends);
}

/* ---- closing inside callbacks --------------------------------------------------------------------------------- */

struct closer {
    iora_watcher *watcher; /* on the heap; gone in the callback */
    int calls;
};

static void
close_and_free(void *arg)
{
    struct closer *const closer = arg;

    iora_watcher_close(closer->watcher);
    free(closer->watcher);
    closer->watcher = NULL;
    closer->calls++;
}

TEST_REAL(watcher, may_be_closed_and_freed_in_its_own_callback)
{
    struct closer closer = {malloc(sizeof *closer.watcher), 0};
    int ends[2];

    open_pipe(ends);
    put_bytes(ends[WR], 1);
    watch(closer.watcher, ends[RD], close_and_free, &closer);
    turn_until(test_loop(), &closer.calls, 1);
    turn_some(test_loop());
    CHECK_EQ(closer.calls, 1);
    CHECK_EQ(ops_pending(), 0);
    close_both(ends);
}

/* Both sides are ready in the same turn; whichever comes first, the other does not come any more. */
TEST_REAL(watcher, may_be_closed_in_the_callback_of_its_other_side)
{
    struct closer closer = {malloc(sizeof *closer.watcher), 0};
    int ends[2];

    open_pair(ends);
    put_bytes(ends[1], 1);
    watch(closer.watcher, ends[0], close_and_free, &closer);
    CHECK_EQ(iora_watcher_on_writable(closer.watcher, close_and_free, &closer), 0);
    turn_until(test_loop(), &closer.calls, 1);
    turn_some(test_loop());
    CHECK_EQ(closer.calls, 1);
    CHECK_EQ(ops_pending(), 0);
    close_both(ends);
}

TEST_REAL(watcher, may_be_closed_in_the_callback_of_another)
{
    struct closer closer = {malloc(sizeof *closer.watcher), 0};
    iora_watcher first;
    int ends[2];

    open_pipe(ends);
    put_bytes(ends[WR], 1);
    watch(&first, ends[RD], close_and_free, &closer);
    watch(closer.watcher, ends[RD], close_and_free, &closer); /* is gone before its turn */
    CHECK(iora_loop_run_once(test_loop(), iora_ns(0)) >= 0);
    CHECK_EQ(closer.calls, 1);
    iora_watcher_close(&first);
    turn_some(test_loop());
    CHECK_EQ(ops_pending(), 0);
    close_both(ends);
}

/* ---- several on one descriptor ---------------------------------------------------------------------------------- */

TEST_REAL(watcher, several_may_watch_one_descriptor)
{
    iora_watcher watchers[3];
    int ends[2], calls[3] = {0};

    open_pipe(ends);
    for (int i = 0; i < 3; i++)
        watch(&watchers[i], ends[RD], count_up, &calls[i]);
    put_bytes(ends[WR], 1);
    for (int i = 0; i < 3; i++)
        turn_until(test_loop(), &calls[i], 1);
    iora_watcher_close(&watchers[1]);
    calls[1] = 0;
    turn_until(test_loop(), &calls[0], calls[0] + 3);
    turn_until(test_loop(), &calls[2], calls[2] + 3);
    CHECK_EQ(calls[1], 0);
    iora_watcher_close(&watchers[0]);
    iora_watcher_close(&watchers[2]);
    close_both(ends);
}

static int
waits_readable(int fd)
{
    return iora_wait_readable(fd);
}
IORA_ASYNC(waits_readable, int);

static int
waits_writable(int fd)
{
    return iora_wait_writable(fd);
}
IORA_ASYNC(waits_writable, int);

static int
waits_beside_a_watcher(int ends[2], int *calls)
{
    const iora_task waiting = iora_go(waits_readable, ends[RD]);

    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK(!iora_task_is_done(waiting));
    CHECK_EQ(*calls, 0);
    put_bytes(ends[WR], 1);
    CHECK_EQ(iora_await(waiting), 0);
    while (*calls < 3) /* the watcher is level-triggered as before */
        CHECK_EQ(iora_sleep(iora_us(100)), 0);
    return iora_wait_for(iora_wait_readable(ends[RD]), iora_s(10));
}
IORA_ASYNC(waits_beside_a_watcher, int *, int *);

TEST_REAL(watcher, and_a_waiting_task_share_a_descriptor)
{
    iora_watcher watcher;
    int ends[2], calls = 0;

    open_pipe(ends);
    watch(&watcher, ends[RD], count_up, &calls);
    CHECK_EQ(test_run(waits_beside_a_watcher, ends, &calls), 0);
    iora_watcher_close(&watcher);
    close_both(ends);
}

TEST_REAL(watcher, five_hundred_ready_at_once_are_all_called)
{
    enum { N = 500 }; /* more than one wait delivers, and more than one chunk of records */
    static struct drainer drainers[N];
    static int ends[N][2];
    int done = 0;

    for (int i = 0; i < N; i++) {
        open_pipe(ends[i]);
        drainers[i].fd = ends[i][RD];
        watch(&drainers[i].watcher, ends[i][RD], take_one, &drainers[i]);
        put_bytes(ends[i][WR], 1);
    }
    CHECK_EQ(ops_pending(), N);
    for (int turns = 0; done < N; turns++) {
        CHECK(turns < 100);
        CHECK(iora_loop_run_once(test_loop(), iora_ns(0)) >= 0);
        done = 0;
        for (int i = 0; i < N; i++)
            done += drainers[i].calls;
    }
    for (int i = 0; i < N; i++) {
        CHECK_EQ(drainers[i].calls, 1);
        iora_watcher_close(&drainers[i].watcher);
        close_both(ends[i]);
    }
}

/* ---- the descriptor stays as it is --------------------------------------------------------------------------------- */

static int
waits_both_ways(int fd)
{
    (void)iora_wait_for(iora_wait_readable(fd), iora_ms(1));
    return iora_wait_for(iora_wait_writable(fd), iora_ms(1));
}
IORA_ASYNC(waits_both_ways, int);

static void
check_is_left_alone(int fd)
{
    const int status = fcntl(fd, F_GETFL), descriptor = fcntl(fd, F_GETFD);
    iora_watcher watcher;
    int calls = 0;

    CHECK_EQ(status & O_NONBLOCK, 0);
    iora_watcher_init(&watcher, test_loop(), fd);
    (void)iora_watcher_on_readable(&watcher, count_up, &calls);
    (void)iora_watcher_on_writable(&watcher, count_up, &calls);
    CHECK_EQ(fcntl(fd, F_GETFL), status);
    turn_some(test_loop());
    CHECK_EQ(fcntl(fd, F_GETFL), status);
    iora_watcher_close(&watcher);
    (void)test_run(waits_both_ways, fd);
    CHECK_EQ(fcntl(fd, F_GETFL), status);
    CHECK_EQ(fcntl(fd, F_GETFD), descriptor);
}

/* A terminal: its two ends. */
static void
open_terminal(int ends[2])
{
    if ((ends[0] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0)
        test_skip("no pseudo-terminals here");
    CHECK_EQ(grantpt(ends[0]), 0);
    CHECK_EQ(unlockpt(ends[0]), 0);
    CHECK((ends[1] = open(ptsname(ends[0]), O_RDWR | O_NOCTTY | O_CLOEXEC)) >= 0);
}

TEST_REAL(watcher, never_changes_a_descriptor)
{
    int ends[2];
    const int null = open("/dev/null", O_RDWR); /* inherited: no close-on-exec */

    check_is_left_alone(null);
    (void)close(null);
    open_pipe(ends);
    check_is_left_alone(ends[RD]);
    check_is_left_alone(ends[WR]);
    close_both(ends);
    open_pair(ends);
    check_is_left_alone(ends[0]);
    close_both(ends);
    open_terminal(ends);
    check_is_left_alone(ends[1]);
    close_both(ends);
}

static void
read_line(void *arg)
{
    struct drainer *const drainer = arg;
    char line[64] = "";

    CHECK(read(drainer->fd, line, sizeof line - 1) > 0);
    CHECK_STR(line, "hello\n");
    drainer->calls++;
}

TEST_REAL(watcher, reads_a_terminal_in_blocking_mode_line_by_line)
{
    struct drainer drainer = {.calls = 0};
    int ends[2];

    open_terminal(ends);
    drainer.fd = ends[1];
    watch(&drainer.watcher, ends[1], read_line, &drainer);
    CHECK_EQ(write(ends[0], "hel", 3), 3); /* no line yet */
    turn_some(test_loop());
    CHECK_EQ(drainer.calls, 0);
    CHECK_EQ(write(ends[0], "lo\n", 3), 3);
    turn_until(test_loop(), &drainer.calls, 1);
    turn_some(test_loop());
    CHECK_EQ(drainer.calls, 1);
    CHECK_EQ(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
    iora_watcher_close(&drainer.watcher);
    close_both(ends);
}

/* ---- ends of streams ------------------------------------------------------------------------------------------------- */

TEST_REAL(watcher, of_a_pipe_sees_the_other_end_go)
{
    iora_watcher reading, writing;
    int ends[2], calls = 0;

    open_pipe(ends);
    watch(&reading, ends[RD], count_up, &calls);
    turn_some(test_loop());
    CHECK_EQ(calls, 0);
    (void)close(ends[WR]);
    turn_until(test_loop(), &calls, 2);
    iora_watcher_close(&reading);
    (void)close(ends[RD]);

    open_pipe(ends);
    CHECK_EQ(fcntl(ends[WR], F_SETPIPE_SZ, 4096), 4096);
    for (int i = 0; i < 64; i++)
        put_bytes(ends[WR], 64); /* it is full */
    calls = 0;
    iora_watcher_init(&writing, test_loop(), ends[WR]);
    CHECK_EQ(iora_watcher_on_writable(&writing, count_up, &calls), 0);
    turn_some(test_loop());
    CHECK_EQ(calls, 0);
    (void)close(ends[RD]);
    turn_until(test_loop(), &calls, 2);
    iora_watcher_close(&writing);
    (void)close(ends[WR]);
}

TEST_REAL(watcher, of_a_socket_sees_the_hang_up_on_both_sides)
{
    iora_watcher watcher;
    int ends[2], readable = 0, writable = 0;

    open_pair(ends);
    fill(ends[0]);
    watch(&watcher, ends[0], count_up, &readable);
    CHECK_EQ(iora_watcher_on_writable(&watcher, count_up, &writable), 0);
    turn_some(test_loop());
    CHECK_EQ(readable + writable, 0);
    (void)close(ends[1]);
    turn_until(test_loop(), &readable, 1);
    turn_until(test_loop(), &writable, 1);
    iora_watcher_close(&watcher);
    (void)close(ends[0]);
}

/* ---- what cannot be watched ---------------------------------------------------------------------------------------------- */

static void
check_refused(int fd, int rc)
{
    iora_watcher watcher;
    int calls = 0;

    iora_watcher_init(&watcher, test_loop(), fd);
    CHECK_EQ(iora_watcher_on_readable(&watcher, count_up, &calls), rc);
    CHECK_EQ(iora_watcher_on_writable(&watcher, count_up, &calls), rc);
    CHECK_EQ(ops_pending(), 0);
    turn_some(test_loop());
    CHECK_EQ(calls, 0);
    iora_watcher_close(&watcher);
}

TEST_REAL(watcher, refuses_what_is_no_descriptor)
{
    int ends[2];

    (void)test_loop(); /* whose own descriptors come first */
    open_pipe(ends);
    close_both(ends);
    check_refused(ends[RD], -EBADF);
    check_refused(-1, -EBADF);
    check_refused(INT32_MIN, -EBADF);
    check_refused(19999, -EBADF);
}

static long
resident_pages(void)
{
    FILE *const file = fopen("/proc/self/statm", "re");
    long pages = 0;

    CHECK_EQ(fscanf(file, "%*d %ld", &pages), 1);
    (void)fclose(file);
    return pages;
}

/* What is known of descriptors is kept by number; a wild one must not cost the memory of a table. */
TEST_REAL(watcher, refuses_a_wild_number_without_making_room_for_it)
{
    long before;

    (void)test_loop();
    before = resident_pages();
    check_refused(INT32_MAX, -EBADF);
    CHECK_EQ(test_run(waits_readable, INT32_MAX - 1000), -EBADF);
    CHECK(resident_pages() - before < 10000);
}

TEST_REAL(watcher, refuses_files_that_are_always_ready)
{
    FILE *const file = tmpfile();
    const int directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    check_refused(fileno(file), -EPERM);
    check_refused(directory, -EPERM);
    check_refused(null, -EPERM);
    (void)fclose(file);
    (void)close(directory);
    (void)close(null);
}

TEST(watcher, knows_no_descriptors_in_simulation)
{
    int ends[2];

    open_pipe(ends);
    check_refused(ends[RD], -ENOTSUP);
    CHECK_EQ(test_run(waits_readable, ends[RD]), -ENOTSUP);
    CHECK_EQ(test_run(waits_writable, ends[WR]), -ENOTSUP);
    close_both(ends);
}

/* Closing costs the kernel's registration at once: nothing is left to come up later. */
TEST_REAL(watcher, closed_before_its_descriptor_leaves_nothing_behind)
{
    iora_watcher watcher;
    int ends[2], calls = 0;

    open_pipe(ends);
    put_bytes(ends[WR], 1);
    watch(&watcher, ends[RD], count_up, &calls);
    turn_until(test_loop(), &calls, 1);
    iora_watcher_close(&watcher);
    iora__seam_arm_call(0, 0, false);
    turn_some(test_loop());
    CHECK(iora__seam_read().calls <= 5); /* the five polls */
    close_both(ends);
}

/* ---- closed in the wrong order ------------------------------------------------------------------------------------------- */

TEST_REAL(watcher, whose_descriptor_is_closed_falls_silent)
{
    iora_watcher watcher;
    int ends[2], calls = 0;

    open_pipe(ends);
    put_bytes(ends[WR], 1);
    watch(&watcher, ends[RD], count_up, &calls);
    turn_until(test_loop(), &calls, 1);
    (void)close(ends[RD]);
    CHECK(turns_in_10_ms() <= 3);
    CHECK_EQ(calls, 1);
    iora_watcher_close(&watcher);
    CHECK(turns_in_10_ms() <= 3);
    CHECK_EQ(ops_pending(), 0);
    (void)close(ends[WR]);
}
TEST_EXEMPT(watcher, whose_descriptor_is_closed_falls_silent, TEST_SIGNALS, "it counts turns, and each signal makes one")

/* The file lives on, is readable, and epoll cannot be told to forget it. */
TEST_REAL(watcher, closed_after_its_descriptor_does_not_spin_while_a_duplicate_lives)
{
    iora_watcher watcher;
    int ends[2], duplicate, calls = 0;

    open_pipe(ends);
    put_bytes(ends[WR], 1);
    watch(&watcher, ends[RD], count_up, &calls);
    turn_until(test_loop(), &calls, 1);
    CHECK((duplicate = dup(ends[RD])) >= 0);
    (void)close(ends[RD]);
    iora_watcher_close(&watcher);
    calls = 0;
    CHECK(turns_in_10_ms() <= 5);
    CHECK(turns_in_10_ms() <= 3);
    CHECK_EQ(calls, 0);
    (void)close(duplicate);
    (void)close(ends[WR]);
}
TEST_EXEMPT(watcher, closed_after_its_descriptor_does_not_spin_while_a_duplicate_lives, TEST_SIGNALS, "it counts turns, and each signal makes one")

TEST_REAL(watcher, of_a_number_used_again_hears_the_new_file_only)
{
    iora_watcher before, after;
    int ends[2], others[2], duplicate, calls = 0, number;

    open_pipe(ends);
    put_bytes(ends[WR], 1);
    watch(&before, ends[RD], count_up, &calls);
    turn_until(test_loop(), &calls, 1);
    CHECK((duplicate = dup(ends[RD])) >= 0);
    number = ends[RD];
    (void)close(number);
    iora_watcher_close(&before);

    open_pipe(others);
    CHECK_EQ(dup2(others[RD], number), number); /* another file by the same number */
    calls = 0;
    watch(&after, number, count_up, &calls);
    CHECK(turns_in_10_ms() <= 5);
    CHECK_EQ(calls, 0);
    put_bytes(others[WR], 1);
    turn_until(test_loop(), &calls, 3);
    iora_watcher_close(&after);
    (void)close(number);
    close_both(others);
    (void)close(duplicate);
    (void)close(ends[WR]);
}
TEST_EXEMPT(watcher, of_a_number_used_again_hears_the_new_file_only, TEST_SIGNALS, "it counts turns, and each signal makes one")

/* The first watcher was never closed, and the old file goes on reporting under the number. */
TEST_REAL(watcher, on_a_number_used_again_under_another_does_not_spin)
{
    iora_watcher before, after;
    int ends[2], others[2], duplicate, old_calls = 0, calls = 0, number;

    open_pipe(ends);
    put_bytes(ends[WR], 1);
    watch(&before, ends[RD], count_up, &old_calls);
    turn_until(test_loop(), &old_calls, 1);
    CHECK((duplicate = dup(ends[RD])) >= 0);
    number = ends[RD];
    open_pipe(others);
    CHECK_EQ(dup2(others[RD], number), number);
    watch(&after, number, count_up, &calls);
    old_calls = 0;
    CHECK(turns_in_10_ms() <= 5);
    CHECK_EQ(calls, 0);
    CHECK_EQ(old_calls, 0);
    put_bytes(others[WR], 1);
    turn_until(test_loop(), &calls, 1);
    iora_watcher_close(&before);
    iora_watcher_close(&after);
    (void)close(number);
    close_both(others);
    (void)close(duplicate);
    (void)close(ends[WR]);
}
TEST_EXEMPT(watcher, on_a_number_used_again_under_another_does_not_spin, TEST_SIGNALS, "it counts turns, and each signal makes one")

/* When the loop finds out that the descriptor is gone, who still watches it is called once. */
TEST_REAL(watcher, is_called_once_when_its_descriptor_turns_out_to_be_gone)
{
    iora_watcher watcher, other;
    int ends[2], calls = 0;

    open_pipe(ends);
    watch(&watcher, ends[RD], count_up, &calls);
    watch(&other, ends[RD], count_up, &calls);
    turn_some(test_loop());
    (void)close(ends[RD]);
    iora_watcher_close(&other); /* the kernel is to be told, and says no */
    turn_until(test_loop(), &calls, 1);
    turn_some(test_loop());
    CHECK_EQ(calls, 1);
    CHECK_EQ(ops_pending(), 0);
    CHECK_EQ(iora_watcher_on_readable(&watcher, count_up, &calls), -EBADF);
    iora_watcher_close(&watcher);
    (void)close(ends[WR]);
}

/* What forces a rebuilt set must not cost the others theirs. */
TEST_REAL(watcher, goes_on_in_a_rebuilt_set)
{
    iora_watcher stale, watcher;
    struct drainer drainer = {.calls = 0};
    int ends[2], others[2], duplicate, calls = 0;

    open_pipe(others);
    drainer.fd = others[RD];
    watch(&drainer.watcher, others[RD], take_one, &drainer);
    iora_watcher_init(&watcher, test_loop(), others[WR]);
    CHECK_EQ(iora_watcher_on_writable(&watcher, count_up, &calls), 0);
    open_pipe(ends);
    put_bytes(ends[WR], 1);
    watch(&stale, ends[RD], count_up, &calls);
    turn_some(test_loop());
    CHECK((duplicate = dup(ends[RD])) >= 0);
    (void)close(ends[RD]);
    iora_watcher_close(&stale);
    iora__seam_arm_call(0, 0, false);
    turn_some(test_loop());
    CHECK(iora__seam_read().calls >= 5 + 4); /* polls, and a new set with two registrations */
    put_bytes(others[WR], 2);
    turn_until(test_loop(), &drainer.calls, 2);
    calls = 0;
    turn_until(test_loop(), &calls, 2);
    iora_watcher_close(&drainer.watcher);
    iora_watcher_close(&watcher);
    close_both(others);
    (void)close(duplicate);
    (void)close(ends[WR]);
}

/* ---- the kernel says no ----------------------------------------------------------------------------------------------------- */

TEST_REAL(watcher, is_idle_when_the_kernel_refuses_it)
{
    static const int codes[] = {-ENOMEM, -ENOSPC};
    iora_watcher watcher;
    int ends[2], calls = 0;

    open_pipe(ends);
    put_bytes(ends[WR], 1);
    iora_watcher_init(&watcher, test_loop(), ends[RD]);
    for (int i = 0; i < 2; i++) {
        iora__seam_arm_call(1, i, false);
        CHECK_EQ(iora_watcher_on_readable(&watcher, count_up, &calls), codes[i]);
        CHECK_EQ(iora__seam_disarm().last_call, IORA__CALL_EPOLL_CTL);
        CHECK_EQ(ops_pending(), 0);
    }
    iora__seam_arm_allocation(1, false);
    CHECK_EQ(iora_watcher_on_readable(&watcher, count_up, &calls), -ENOMEM);
    (void)iora__seam_disarm();
    turn_some(test_loop());
    CHECK_EQ(calls, 0);
    CHECK_EQ(iora_watcher_on_readable(&watcher, count_up, &calls), 0);
    turn_until(test_loop(), &calls, 1);
    iora_watcher_close(&watcher);
    close_both(ends);
}

/* Two tasks wait; when the first is served the kernel has no memory to go on watching for the second. */
static int
outlives_a_refusal(int fds[2])
{
    const iora_task first = iora_go(waits_readable, fds[0]);
    const iora_task second = iora_go(waits_writable, fds[0]);
    static char rest[1 << 20];

    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    put_bytes(fds[1], 1);
    CHECK_EQ(iora_await(first), 0);
    iora__seam_arm_call(1, 0, false);
    while (recv(fds[1], rest, sizeof rest, MSG_DONTWAIT) > 0)
        continue;
    CHECK_EQ(iora_await(second), 0);
    CHECK_EQ(iora__seam_read().failures, 1);
    CHECK_EQ(iora__seam_disarm().last_call, IORA__CALL_EPOLL_CTL);
    return 0;
}
IORA_ASYNC(outlives_a_refusal, int *);

TEST_REAL(watcher, wait_outlives_a_kernel_short_of_memory)
{
    int fds[2];

    open_pair(fds);
    fill(fds[0]);
    CHECK_EQ(test_run(outlives_a_refusal, fds), 0);
    close_both(fds);
}

/* ---- tasks that wait ---------------------------------------------------------------------------------------------------------- */

static int
is_woken_by_bytes(int ends[2])
{
    const iora_task waiting = iora_go(waits_readable, ends[RD]);

    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK(!iora_task_is_done(waiting));
    put_bytes(ends[WR], 1);
    CHECK_EQ(iora_await(waiting), 0);
    CHECK_EQ(iora_wait_readable(ends[RD]), 0); /* it still is */
    CHECK_EQ(iora_wait_writable(ends[WR]), 0);
    return 0;
}
IORA_ASYNC(is_woken_by_bytes, int *);

TEST_REAL(watcher, wait_ends_when_the_descriptor_is_ready)
{
    int ends[2];

    open_pipe(ends);
    CHECK_EQ(test_run(is_woken_by_bytes, ends), 0);
    CHECK_EQ(ops_pending(), 0);
    close_both(ends);
}

static int
finds_always_ready(int fd)
{
    int yields = 0;
    iora_handle handle = {0};

    CHECK_EQ(iora_call_soon(iora_loop_running(), &handle, count_up, &yields), 0);
    CHECK_EQ(iora_wait_readable(fd), 0);
    CHECK_EQ(iora_wait_writable(fd), 0);
    CHECK_EQ(yields, 0); /* it has not suspended */
    CHECK(iora_handle_cancel(&handle));
    return 0;
}
IORA_ASYNC(finds_always_ready, int);

TEST_REAL(watcher, wait_for_a_file_that_is_always_ready_ends_at_once)
{
    FILE *const file = tmpfile();
    const int directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    CHECK_EQ(test_run(finds_always_ready, fileno(file)), 0);
    CHECK_EQ(test_run(finds_always_ready, directory), 0);
    CHECK_EQ(test_run(finds_always_ready, null), 0);
    (void)fclose(file);
    (void)close(directory);
    (void)close(null);
}

TEST_REAL(watcher, wait_for_no_descriptor_says_so)
{
    int ends[2];

    (void)test_loop();
    open_pipe(ends);
    close_both(ends);
    CHECK_EQ(test_run(waits_readable, ends[RD]), -EBADF);
    CHECK_EQ(test_run(waits_writable, ends[RD]), -EBADF);
    CHECK_EQ(test_run(waits_readable, -1), -EBADF);
}

static int
is_cancelled(int fd)
{
    const iora_task waiting = iora_go(waits_readable, fd);

    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK_EQ(ops_pending(), 1);
    CHECK_EQ(iora_cancel(waiting), 0);
    CHECK_EQ(iora_await(waiting), IORA_E_TASK_CANCELED);
    CHECK_EQ(ops_pending(), 0);
    return 0;
}
IORA_ASYNC(is_cancelled, int);

TEST_REAL(watcher, wait_is_ended_by_a_cancel)
{
    int ends[2];

    open_pipe(ends);
    CHECK_EQ(test_run(is_cancelled, ends[RD]), 0);
    close_both(ends);
}

static int
is_cancelled_before(int fd)
{
    CHECK_EQ(CANCELLED(iora_wait_readable(fd)), -ECANCELED);
    CHECK_EQ(CANCELLED(iora_wait_writable(fd)), -ECANCELED);
    CHECK_EQ(ops_pending(), 0);
    return 0;
}
IORA_ASYNC(is_cancelled_before, int);

TEST_REAL(watcher, wait_in_a_cancelled_scope_does_nothing)
{
    int ends[2];

    open_pipe(ends);
    put_bytes(ends[WR], 1);
    CHECK_EQ(test_run(is_cancelled_before, ends[RD]), 0);
    close_both(ends);
}

static int
times_out(int ends[2])
{
    for (int i = 0; i < 3; i++) {
        const int64_t began_ns = real_ns();

        CHECK_EQ(iora_wait_for(iora_wait_readable(ends[RD]), iora_ms(2)), -ETIMEDOUT);
        CHECK(real_ns() - began_ns >= 2000000);
        CHECK_EQ(ops_pending(), 0);
    }
    put_bytes(ends[WR], 1);
    return iora_wait_for(iora_wait_readable(ends[RD]), iora_s(10));
}
IORA_ASYNC(times_out, int *);

TEST_REAL(watcher, wait_is_ended_by_a_deadline)
{
    int ends[2];

    open_pipe(ends);
    CHECK_EQ(test_run(times_out, ends), 0);
    close_both(ends);
}

static int
settles_once(int ends[2])
{
    const iora_task waiting = iora_go(waits_readable, ends[RD]);
    int rc;

    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    put_bytes(ends[WR], 1);
    CHECK_EQ(iora_cancel(waiting), 0); /* the loop has not seen the byte: the cancel is first */
    rc = iora_await(waiting);
    CHECK_EQ(rc, IORA_E_TASK_CANCELED);
    return iora_wait_readable(ends[RD]); /* and the byte is there for the next */
}
IORA_ASYNC(settles_once, int *);

TEST_REAL(watcher, wait_is_settled_by_what_comes_first)
{
    int ends[2];

    open_pipe(ends);
    CHECK_EQ(test_run(settles_once, ends), 0);
    close_both(ends);
}

static int
reads_and_writes(int fds[2])
{
    const iora_task reader = iora_go(waits_readable, fds[0]);
    const iora_task writer = iora_go(waits_writable, fds[0]);
    static char rest[1 << 20];

    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK(!iora_task_is_done(reader) && !iora_task_is_done(writer));
    put_bytes(fds[1], 1);
    CHECK_EQ(iora_await(reader), 0);
    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK(!iora_task_is_done(writer));
    while (recv(fds[1], rest, sizeof rest, MSG_DONTWAIT) > 0)
        continue;
    return iora_await(writer);
}
IORA_ASYNC(reads_and_writes, int *);

TEST_REAL(watcher, one_task_may_wait_to_read_and_another_to_write)
{
    int fds[2];

    open_pair(fds);
    fill(fds[0]);
    CHECK_EQ(test_run(reads_and_writes, fds), 0);
    CHECK_EQ(ops_pending(), 0);
    close_both(fds);
}

static int
wakes_both(int ends[2])
{
    const iora_task one = iora_go(waits_readable, ends[RD]);
    const iora_task two = iora_go(waits_readable, ends[RD]);

    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    put_bytes(ends[WR], 1);
    return iora_gather(one, two);
}
IORA_ASYNC(wakes_both, int *);

TEST_REAL(watcher, two_tasks_may_wait_for_the_same)
{
    int ends[2];

    open_pipe(ends);
    CHECK_EQ(test_run(wakes_both, ends), 0);
    close_both(ends);
}

/* A select whose clauses share a descriptor, both of them ready at once, and a watcher that must not notice. */
static int
selects_on_one_descriptor(int fd)
{
    for (int i = 0; i < 20; i++) {
        iora_clause clauses[] = {iora_on_readable(fd), iora_on_writable(fd)};
        const int won = iora_select(clauses, 2);

        CHECK(won == 0 || won == 1);
        CHECK_EQ(clauses[won].rc, 0);
    }
    return 0;
}
IORA_ASYNC(selects_on_one_descriptor, int);

TEST_REAL(watcher, survives_a_select_with_both_sides_of_its_descriptor)
{
    iora_watcher watcher;
    int fds[2], calls = 0;

    open_pair(fds);
    put_bytes(fds[1], 1);
    watch(&watcher, fds[0], count_up, &calls);
    CHECK_EQ(test_run(selects_on_one_descriptor, fds[0]), 0);
    calls = 0;
    turn_until(test_loop(), &calls, 2);
    iora_watcher_close(&watcher);
    CHECK_EQ(ops_pending(), 0);
    close_both(fds);
}

/* ---- a number used again under tasks -------------------------------------------------------------------------------------------- */

static int
waits_for_one_file_after_another(void)
{
    int ends[2], duplicates[20];

    for (int i = 0; i < 20;
         i++) { /* the same numbers each time, and the old files live on, readable */
        open_pipe(ends);
        CHECK_EQ(iora_wait_for(iora_wait_readable(ends[RD]), iora_us(200)), -ETIMEDOUT);
        put_bytes(ends[WR], 1);
        CHECK_EQ(iora_wait_readable(ends[RD]), 0);
        CHECK((duplicates[i] = fcntl(ends[RD], F_DUPFD_CLOEXEC, 100)) >= 0);
        close_both(ends);
    }
    for (int i = 0; i < 20; i++)
        (void)close(duplicates[i]);
    return 0;
}
IORA_ASYNC(waits_for_one_file_after_another);

TEST_REAL(watcher, wait_is_for_the_file_that_has_the_number_now)
{
    CHECK_EQ(test_run(waits_for_one_file_after_another), 0);
}

/* A waiting loop is not spun by a task whose descriptor was closed under it either; the task stays. */
static int
has_its_descriptor_closed(int ends[2])
{
    const iora_task waiting = iora_go(waits_readable, ends[RD]);
    int duplicate;

    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK((duplicate = dup(ends[RD])) >= 0);
    (void)close(ends[RD]);
    CHECK_EQ(iora_cancel(waiting), 0);
    CHECK_EQ(iora_await(waiting), IORA_E_TASK_CANCELED);
    put_bytes(ends[WR], 1); /* a stale event, if anybody asks */
    count_turns();
    CHECK_EQ(iora_sleep(iora_ms(10)), 0);
    CHECK(turns_counted() <= 5);
    return close(duplicate);
}
IORA_ASYNC(has_its_descriptor_closed, int *);

TEST_REAL(watcher, wait_whose_descriptor_was_closed_does_not_spin)
{
    int ends[2];

    open_pipe(ends);
    CHECK_EQ(test_run(has_its_descriptor_closed, ends), 0);
    (void)close(ends[WR]);
}
TEST_EXEMPT(watcher, wait_whose_descriptor_was_closed_does_not_spin, TEST_SIGNALS, "it counts turns, and each signal makes one")
