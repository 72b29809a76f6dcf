/* tests/fault/scenarios_loop.c -- the low-level face: loops, callbacks, timers, watchers, descriptors. */
#include "fault.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static int calls;

/* ---- loops --------------------------------------------------------------------------------------------- */

static int
nothing(void)
{
    return EXPECT(iora_yield(), 0);
}
IORA_ASYNC(nothing);

SCENARIO(loop, made_and_freed, ANYWHERE)
{
    for (int i = 0; i < 3; i++) {
        iora_loop *const loop = fault_another_loop();
        iora_loop *const other = fault_another_loop();

        if (loop != NULL && EXPECT(iora_run_in(loop, nothing), 0) == 0)
            EXPECT(iora_run_in(loop, nothing), 0);
        for (int k = 0; k < 2; k++) {
            iora_loop *const gone = k == 0 ? other : loop;

            fault_forget_loop(gone);
            CHECK_EQ(iora_loop_free(gone), 0);
        }
    }
}

/* iora_run() makes its own, over epoll. */
SCENARIO(loop, of_a_run, EPOLL)
{
    EXPECT(iora_run(nothing), 0);
}

SCENARIO(loop, with_an_overflow_report, ANYWHERE)
{
    fault_options()->overflow_report = true;
    RUN(nothing);
}

static iora_event never;
static int begun, cleaned;

static int
waits_and_cleans_up(void)
{
    IN_TASK;

    begun++;
    EXPECT(iora_event_wait(&never), -ECANCELED);
    EXPECT(iora_cleanup(iora_yield(), iora_s(10)), 0);
    cleaned++;
    return -ECANCELED;
}
IORA_ASYNC(waits_and_cleans_up);

static void
spawn_some(void *arg)
{
    (void)arg;
    for (int i = 0; i < 3; i++)
        (void)SPAWN(iora_go_detached(waits_and_cleans_up));
    (void)SPAWN(iora_go(waits_and_cleans_up));
    (void)SPAWN(iora_go_eager(waits_and_cleans_up));
}

/* Tasks that belong to the run, of a loop that nobody runs to their end. */
SCENARIO(loop, freed_with_tasks, ANYWHERE)
{
    static iora_handle handle;
    iora_loop *const loop = fault_loop();

    if (loop == NULL)
        return;
    CHECK_EQ(iora_call_soon(loop, &handle, spawn_some, NULL), 0);
    EXPECT(iora_loop_run_once(loop, iora_ns(0)), 0);
    fault_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    CHECK_EQ(cleaned, begun);
    CHECK_EQ_UNARMED(cleaned, 5);
}

static iora_loop *outer_loop;

static int
frees_a_loop_with_tasks(iora_loop *other)
{
    CHECK_EQ(iora_loop_free(other), 0);
    CHECK_EQ(cleaned, begun);
    CHECK(iora_loop_running() == outer_loop);
    return EXPECT(iora_yield(), 0);
}
IORA_ASYNC(frees_a_loop_with_tasks, iora_loop *);

SCENARIO(loop, with_tasks_freed_within_another, ANYWHERE)
{
    static iora_handle handle;
    iora_loop *const other = fault_another_loop();

    outer_loop = fault_another_loop();
    if (other == NULL || outer_loop == NULL)
        return;
    CHECK_EQ(iora_call_soon(other, &handle, spawn_some, NULL), 0);
    EXPECT(iora_loop_run_once(other, iora_ns(0)), 0);
    fault_forget_loop(other);
    if (EXPECT(iora_run_in(outer_loop, frees_a_loop_with_tasks, other), 0) == -ENOMEM)
        CHECK_EQ(iora_loop_free(other), 0); /* nobody did */
}

/* ---- callbacks and timers -------------------------------------------------------------------------------- */

static iora_handle handles[3];
static iora_timer timers[4];

static void
count(void *arg)
{
    (void)arg;
    calls++;
}

static void
call_again(void *arg)
{
    iora_loop *const loop = iora_loop_running();

    calls++;
    if (calls < 5)
        CHECK_EQ(iora_call_soon(loop, arg, call_again, arg), 0);
    else
        iora_loop_stop(loop);
}

/* What a poll failed with is told, and the loop can be run again. */
static void
run_until_stopped(iora_loop *loop)
{
    int rc, tries = 0;

    do {
        rc = EXPECT(iora_loop_run(loop), 0);
    } while (rc < 0 && ++tries < 100);
    CHECK_EQ(rc, 0);
}

static void
turn(iora_loop *loop, iora_duration wait)
{
    const int rc = iora_loop_run_once(loop, wait);

    EXPECT(rc == 1 ? 0 : rc, 0);
}

SCENARIO(loop, callbacks, ANYWHERE)
{
    iora_loop *const loop = fault_loop();

    if (loop == NULL)
        return;
    CHECK_EQ(iora_call_soon(loop, &handles[0], call_again, &handles[0]), 0);
    CHECK_EQ(iora_call_soon(loop, &handles[0], call_again, NULL), -EBUSY);
    CHECK_EQ(iora_call_soon(loop, &handles[1], count, NULL), 0);
    CHECK(iora_handle_cancel(&handles[1]));
    CHECK(!iora_handle_cancel(&handles[1]));
    run_until_stopped(loop);
    CHECK_EQ(calls, 5);
    /* Those that are pending when the loop goes are dropped. */
    CHECK_EQ(iora_call_soon(loop, &handles[2], count, NULL), 0);
    CHECK_EQ(iora_call_later(loop, &timers[0], iora_s(100), count, NULL), 0);
    fault_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    CHECK_EQ(calls, 5);
}

static void
stop_timers(void *arg)
{
    (void)arg;
    CHECK(iora_timer_cancel(&timers[1]));
    iora_loop_stop(iora_loop_running());
}

SCENARIO(loop, timers, SIM)
{
    iora_loop *const loop = fault_loop();
    iora_remote *remote = NULL; /* with one the simulation polls too */
    static iora_timer sent;

    if (loop == NULL)
        return;
    (void)EXPECT(iora_remote_open(loop, &remote), 0);
    if (remote != NULL)
        CHECK_EQ(iora_remote_call_at(remote, &sent, iora_loop_now(loop), count, NULL), 0);
    CHECK_EQ(iora_call_later(loop, &timers[0], iora_ms(5), count, NULL), 0);
    CHECK_EQ(iora_call_later(loop, &timers[1], iora_ms(50), count, NULL), 0);
    CHECK_EQ(
        iora_call_at(loop, &timers[2], iora_after(iora_loop_now(loop), iora_ms(10)), count, NULL),
        0);
    CHECK_EQ(iora_call_later(loop, &timers[3], iora_ms(20), stop_timers, NULL), 0);
    CHECK_EQ(iora_call_later(loop, &timers[2], iora_ms(15), count, NULL), 0); /* set anew */
    run_until_stopped(loop);
    CHECK_EQ(calls, remote != NULL ? 3 : 2);
    iora_remote_close(remote);
}

/* ---- watchers ------------------------------------------------------------------------------------------------ */

static iora_watcher reader, writer;
static int ends[2];

static void
make_pipe(void)
{
    CHECK_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
}

static void
close_pipe(void)
{
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void
write_one(void *arg)
{
    (void)arg;
    CHECK_EQ(write(ends[1], "x", 1), 1);
    CHECK_EQ(iora_watcher_on_writable(&writer, NULL, NULL), 0);
}

static void
read_one(void *arg)
{
    char byte;

    (void)arg;
    if (read(ends[0], &byte, 1) == 1)
        calls++;
    if (calls < 3 && EXPECT(iora_watcher_on_writable(&writer, write_one, NULL), 0) == 0)
        return;
    iora_watcher_close(&reader);
    iora_loop_stop(iora_loop_running());
}

SCENARIO(loop, watchers, REAL | AMPLE)
{
    iora_loop *const loop = fault_loop();

    if (loop == NULL)
        return;
    make_pipe();
    iora_watcher_init(&reader, loop, ends[0]);
    iora_watcher_init(&writer, loop, ends[1]);
    if (EXPECT(iora_watcher_on_readable(&reader, count, NULL), 0) == 0 &&
        EXPECT(iora_watcher_on_readable(&reader, read_one, NULL), 0) == 0 &&
        EXPECT(iora_watcher_on_writable(&writer, write_one, NULL), 0) == 0)
        run_until_stopped(loop);
    iora_watcher_close(&reader);
    iora_watcher_close(&writer);
    turn(loop, iora_ns(0)); /* what was held back comes to its end */
    CHECK_EQ_UNARMED(calls, 3);
    close_pipe();
}

/* The user closes first and keeps a duplicate: the kernel goes on reporting, and the loop does not spin. */
SCENARIO(loop, closed_with_a_duplicate, REAL | AMPLE)
{
    iora_loop *const loop = fault_loop();
    int other[2], duplicate, i = 0;

    if (loop == NULL)
        return;
    make_pipe();
    CHECK_EQ(pipe2(other, O_CLOEXEC | O_NONBLOCK), 0);
    duplicate = fcntl(ends[0], F_DUPFD_CLOEXEC, 20);
    iora_watcher_init(&reader, loop, ends[0]);
    iora_watcher_init(&writer, loop, other[0]);
    EXPECT(iora_watcher_on_readable(&reader, count, NULL), 0);
    EXPECT(iora_watcher_on_readable(&writer, count, NULL), 0);
    (void)close(ends[0]);
    iora_watcher_close(&reader);
    CHECK_EQ(write(ends[1], "x", 1), 1);
    for (; i < 10; i++)
        turn(loop, iora_us(100));
    CHECK_EQ(calls, 0);
    /* The other one is still watched. */
    CHECK_EQ(write(other[1], "x", 1), 1);
    for (; i < 40 && calls == 0; i++)
        turn(loop, iora_us(100));
    CHECK(writer._sides[0] == NULL || calls > 0);
    iora_watcher_close(&writer);
    turn(loop, iora_ns(0));
    (void)close(duplicate);
    (void)close(ends[1]);
    (void)close(other[0]);
    (void)close(other[1]);
}

/* The loop goes before its watchers are closed, or while what they held has not come to its end. */
SCENARIO(loop, freed_with_watchers, REAL | AMPLE)
{
    iora_loop *const loop = fault_loop();

    if (loop == NULL)
        return;
    make_pipe();
    iora_watcher_init(&reader, loop, ends[0]);
    iora_watcher_init(&writer, loop, ends[1]);
    EXPECT(iora_watcher_on_readable(&reader, count, NULL), 0);
    EXPECT(iora_watcher_on_writable(&writer, count, NULL), 0);
    turn(loop, iora_ns(0));
    iora_watcher_close(&writer);
    fault_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    CHECK_EQ_UNARMED(calls, fault_where() == LATE ? calls : 1);
    close_pipe();
}

/* Descriptors of which the table has to grow, and files that cannot be watched. */
SCENARIO(loop, many_descriptors, REAL | AMPLE)
{
    enum { WATCHED = 6 };
    static iora_watcher watchers[WATCHED];
    iora_loop *const loop = fault_loop();
    int descriptors[WATCHED], file;

    if (loop == NULL)
        return;
    make_pipe();
    for (int i = 0; i < WATCHED; i++) {
        descriptors[i] = fcntl(ends[0], F_DUPFD_CLOEXEC, 30 * (i + 1));
        iora_watcher_init(&watchers[i], loop, descriptors[i]);
        EXPECT(iora_watcher_on_readable(&watchers[i], count, NULL), 0);
        EXPECT(iora_watcher_on_writable(&watchers[i], count, NULL), 0);
    }
    file = open("/dev/null", O_RDWR | O_CLOEXEC);
    iora_watcher_init(&reader, loop, file);
    EXPECT(iora_watcher_on_readable(&reader, count, NULL), -EPERM);
    (void)close(file);
    iora_watcher_init(&reader, loop, 29);
    EXPECT(iora_watcher_on_readable(&reader, count, NULL), -EBADF);
    CHECK_EQ(write(ends[1], "x", 1), 1);
    for (int i = 0; i < 3; i++)
        turn(loop, iora_ns(0));
    CHECK(fault_is_armed() || calls >= WATCHED);
    for (int i = 0; i < WATCHED; i++) {
        iora_watcher_close(&watchers[i]);
        (void)close(descriptors[i]);
    }
    turn(loop, iora_ns(0));
    close_pipe();
}

/* In another loop: ours is told of by one descriptor, also after its set was rebuilt. */
SCENARIO(loop, within_another, REAL | AMPLE)
{
    iora_loop *const loop = fault_loop();
    int fd, i = 0;

    if (loop == NULL || (fd = iora_loop_fd(loop)) < 0) {
        EXPECT(loop == NULL ? 0 : fd, 0);
        return;
    }
    make_pipe();
    iora_watcher_init(&reader, loop, ends[0]);
    calls = 2;
    if (EXPECT(iora_watcher_on_readable(&reader, read_one, NULL), 0) == 0) {
        struct pollfd entry = {.fd = fd, .events = POLLIN};

        CHECK_EQ(poll(&entry, 1, 0), 0);
        CHECK_EQ(write(ends[1], "x", 1), 1);
        CHECK_EQ(poll(&entry, 1, 1000), 1);
        for (; i < 40 && calls < 3; i++)
            turn(loop, iora_ns(0));
        CHECK_EQ(calls, 3);
    }
    iora_watcher_close(&reader);
    turn(loop, iora_ns(0));
    close_pipe();
}

/* Everything that a fresh set must be told: the wake-up, the outer descriptor, and all that is watched. */
SCENARIO(loop, rebuilt, REAL | AMPLE)
{
    iora_loop *const loop = fault_loop();
    iora_remote *remote = NULL;
    int other[2], duplicate;

    if (loop == NULL)
        return;
    make_pipe();
    CHECK_EQ(pipe2(other, O_CLOEXEC | O_NONBLOCK), 0);
    (void)EXPECT(iora_remote_open(loop, &remote), 0);
    const int fd = iora_loop_fd(loop);
    EXPECT(fd < 0 ? fd : 0, 0);
    duplicate = fcntl(ends[0], F_DUPFD_CLOEXEC, 20);
    iora_watcher_init(&reader, loop, ends[0]);
    iora_watcher_init(&writer, loop, other[0]);
    const int watched = EXPECT(iora_watcher_on_readable(&writer, count, NULL), 0);
    EXPECT(iora_watcher_on_readable(&reader, count, NULL), 0);
    (void)close(ends[0]);
    iora_watcher_close(&reader);
    /* To the duplicate: it is reported under a number that is gone. */
    CHECK_EQ(write(ends[1], "x", 1), 1);
    for (int i = 0; i < 3; i++)
        turn(loop, iora_ns(0));
    CHECK_EQ(calls, 0);
    if (remote != NULL) {
        CHECK_EQ(iora_remote_call_soon(remote, &handles[0], count, NULL), 0);
        turn(loop, iora_ms(100));
        turn(loop, iora_ms(1));
        CHECK_EQ(calls, 1);
    }
    CHECK_EQ(write(other[1], "x", 1), 1);
    for (int i = 0; i < 40 && calls < 2 && watched == 0; i++)
        turn(loop, iora_ms(1));
    CHECK(watched < 0 || calls >= 2 || remote == NULL);
    iora_watcher_close(&writer);
    turn(loop, iora_ns(0));
    iora_remote_close(remote);
    (void)close(duplicate);
    (void)close(ends[1]);
    (void)close(other[0]);
    (void)close(other[1]);
}

/* ---- tasks that wait for descriptors --------------------------------------------------------------------------- */

static int pipes[2][2];

/* Close one's own end: the other side sees the end of the stream, whatever happened here. */
static int
hang_up(int which, int rc)
{
    (void)close(pipes[which][1]);
    pipes[which][1] = -1;
    return rc;
}

/* Answer each byte from one pipe with one to the other, until the stream ends. */
static int
plays(int which, bool serves)
{
    IN_TASK;
    const int in = pipes[which][0], out = pipes[!which][1];
    char byte = 'x';
    int rc = 0;

    if (serves)
        CHECK_EQ(write(out, &byte, 1), 1);
    while (rc == 0 && calls < 6) {
        const ssize_t n = read(in, &byte, 1);

        if (n == 0)
            break;
        if (n < 0) {
            CHECK_EQ(errno, EAGAIN);
            rc = EXPECT_UNLESS_CANCELLED(iora_wait_readable(in), 0);
            continue;
        }
        calls++;
        if ((rc = EXPECT_UNLESS_CANCELLED(iora_wait_writable(out), 0)) == 0)
            CHECK(write(out, &byte, 1) == 1 || errno == EPIPE);
    }
    return hang_up(!which, rc);
}
IORA_ASYNC(plays, int, bool);

static int
plays_and_waits(void)
{
    char byte;
    const iora_task players[] = {SPAWN(iora_go(plays, 0, true)), SPAWN(iora_go(plays, 1, false))};

    for (int i = 0; i < 2; i++) {
        if (!iora_task_is_valid(players[i]))
            (void)hang_up(!i, 0);
    }
    EXPECT(iora_gather_n(players, 2), 0);
    (void)!read(pipes[0][0], &byte, 1);
    EXPECT(iora_wait_readable(pipes[0][0]), 0); /* at its end */
    EXPECT(iora_wait_readable(-1), -EBADF);
    return 0;
}
IORA_ASYNC(plays_and_waits);

static void
close_pipes(void)
{
    for (int i = 0; i < 4; i++) {
        if (pipes[i / 2][i % 2] >= 0)
            (void)close(pipes[i / 2][i % 2]);
    }
}

SCENARIO(loop, wait_readable, REAL | AMPLE)
{
    for (int i = 0; i < 2; i++)
        CHECK_EQ(pipe2(pipes[i], O_CLOEXEC | O_NONBLOCK), 0);
    RUN(plays_and_waits);
    close_pipes();
}

static int
waits_for_data(int fd)
{
    IN_TASK;

    return EXPECT_UNLESS_CANCELLED(iora_wait_readable(fd), 0);
}
IORA_ASYNC(waits_for_data, int);

/* Several wait on one descriptor, some give up, the others are told. */
static int
waits_together(void)
{
    iora_task tasks[4];

    for (int i = 0; i < 4; i++)
        tasks[i] = SPAWN(iora_go(waits_for_data, pipes[i % 2][0]));
    EXPECT(iora_yield(), 0);
    EXPECT(iora_cancel(tasks[0]), 0);
    EXPECT(iora_await(tasks[0]), IORA_E_TASK_CANCELED);
    CHECK_EQ(write(pipes[0][1], "x", 1), 1);
    CHECK_EQ(write(pipes[1][1], "x", 1), 1);
    EXPECT(iora_gather_n(tasks + 1, 3), 0);
    EXPECT(iora_wait_for(iora_wait_writable(pipes[0][1]), iora_s(50)), 0);
    EXPECT(iora_wait_for(iora_wait_writable(pipes[0][1]), iora_ns(0)), -ETIMEDOUT);
    return 0;
}
IORA_ASYNC(waits_together);

SCENARIO(loop, several_wait_for_one, REAL | AMPLE)
{
    for (int i = 0; i < 2; i++)
        CHECK_EQ(pipe2(pipes[i], O_CLOEXEC | O_NONBLOCK), 0);
    RUN(waits_together);
    close_pipes();
}

static int
reads_a_socket(int fd)
{
    IN_TASK;
    char byte;
    const int rc = EXPECT_UNLESS_CANCELLED(iora_wait_readable(fd), 0);

    if (rc == 0)
        CHECK_EQ(read(fd, &byte, 1), 1);
    return rc;
}
IORA_ASYNC(reads_a_socket, int);

static int
writes_a_socket(int fd, int peer)
{
    IN_TASK;
    const int rc = EXPECT_UNLESS_CANCELLED(iora_wait_writable(fd), 0);

    CHECK_EQ(write(peer, "x", 1), 1);
    return rc;
}
IORA_ASYNC(writes_a_socket, int, int);

/* One side is done and takes the registration with it: the other must be armed again, or sleeps for ever. */
static int
uses_both_sides(int fd, int peer)
{
    const iora_task reads = SPAWN(iora_go(reads_a_socket, fd));
    const iora_task writes = SPAWN(iora_go(writes_a_socket, fd, peer));

    if (!iora_task_is_valid(writes))
        EXPECT(iora_cancel(reads), 0);
    EXPECT(iora_await(reads), 0);
    EXPECT(iora_await(writes), 0);
    return 0;
}
IORA_ASYNC(uses_both_sides, int, int);

SCENARIO(loop, both_sides_of_a_socket, REAL | AMPLE)
{
    int sockets[2];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets), 0);
    RUN(uses_both_sides, sockets[0], sockets[1]);
    (void)close(sockets[0]);
    (void)close(sockets[1]);
}
