/* tests/c/test_stream.c -- streams as such: how they begin, and all the ways in which they end. */
#include "chance.h"
#include "child.h"
#include "streams.h"

#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/uio.h>

TEST_TASK_EVERYWHERE(stream, carries_bytes)
{
    iora_stream *a, *b;
    char data[16];

    make_pair(&a, &b);
    CHECK_EQ(iora_write(a, "hello", 5), 0);
    CHECK_EQ(iora_read_exactly(b, data, 5), 0);
    CHECK_EQ(memcmp(data, "hello", 5), 0);
    close_both_streams(a, b);
}

static int
write_lines(iora_stream *stream)
{
    int rc = 0;

    for (int i = 0; i < 1000 && rc == 0; i++) {
        char line[64];
        const int n = snprintf(line, sizeof line, "line %d\n", i);

        rc = iora_write(stream, line, (size_t)n);
    }
    CHECK_EQ(iora_write_eof(stream), 0);
    return rc;
}
IORA_ASYNC(write_lines, iora_stream *);

TEST_TASK_EVERYWHERE(stream, has_lines)
{
    iora_stream *a, *b;
    char *line, expected[64];
    iora_task writer;
    int n = 0, rc;

    make_pair(&a, &b);
    writer = iora_go(write_lines, a);
    iora_for_each(rc, iora_lines, &line, b) {
        (void)snprintf(expected, sizeof expected, "line %d\n", n++);
        CHECK_STR(line, expected);
    }
    CHECK_EQ(rc, 0);
    CHECK_EQ(n, 1000);
    CHECK(iora_at_eof(b));
    CHECK_EQ(iora_await(writer), 0);
    close_both_streams(a, b);
}

/* Each call moves a few bytes only, and some are refused though they could be made. */
static int
write_a_run_and_lines(iora_stream *stream)
{
    static char data[100 * 1000];

    fill_run(1, 0, data, sizeof data);
    CHECK_EQ(iora_write(stream, data, sizeof data), 0);
    return write_lines(stream);
}
IORA_ASYNC(write_a_run_and_lines, iora_stream *);

TEST_TASK_REAL(stream, carries_bytes_of_a_kernel_that_gives_and_takes_few_at_a_time)
{
    static const struct {
        size_t most;
        unsigned refused;
    } cases[] = {{1000, 0}, {7000, 2}, {77, 3}, {0, 2}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        iora_stream *a, *b;
        iora_task writer;
        char *line;
        int rc, n = 0;

        make_pair(&a, &b);
        iora__seam_be_stingy(cases[i].most, cases[i].refused);
        writer = iora_go(write_a_run_and_lines, a);
        take_run(b, 1, 0, 100 * 1000);
        iora_for_each(rc, iora_lines, &line, b) {
            CHECK_EQ(atoi(line + 5), n);
            n++;
        }
        CHECK_EQ(rc, 0);
        CHECK_EQ(n, 1000);
        CHECK_EQ(iora_await(writer), 0);
        close_both_streams(a, b);
        iora__seam_be_stingy(0, 0);
    }
}

/* ---- from a descriptor ------------------------------------------------------------------------------ */

static bool
is_nonblocking(int fd)
{
    return fcntl(fd, F_GETFL) & O_NONBLOCK;
}

static bool
is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

TEST_TASK_REAL(stream, from_a_socket_is_closed_with_its_descriptor)
{
    iora_stream *stream;
    char byte;
    int ends[2];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    CHECK_EQ(iora_stream_from_fd(ends[0], NULL, &stream), 0);
    CHECK_EQ(iora_stream_fd(stream), ends[0]);
    CHECK(is_nonblocking(ends[0]));
    CHECK_EQ(write(ends[1], "in", 2), 2);
    take(stream, "in");
    put(stream, "o");
    CHECK_EQ(read(ends[1], &byte, 1), 1);
    CHECK_EQ(iora_stream_close(stream), 0);
    CHECK(!is_open(ends[0]));
    CHECK_EQ(read(ends[1], &byte, 1), 0);
    (void)close(ends[1]);
}

TEST_TASK_REAL(stream, from_the_ends_of_a_pipe_carries_bytes_one_way)
{
    char *const data = make_run(1, 300 * 1000);
    iora_stream *in, *out;
    iora_address address;
    iora_task writer;
    int ends[2];

    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    CHECK_EQ(iora_stream_from_fd(ends[0], NULL, &in), 0);
    CHECK_EQ(iora_stream_from_fd(ends[1], NULL, &out), 0);
    CHECK_EQ(iora_write_eof(out), -ENOTSUP);
    CHECK_EQ(iora_stream_peer(in, &address), -ENOTSOCK);
    CHECK_EQ(iora_stream_local(out, &address), -ENOTSOCK);
    writer = iora_go(write_all, out, (const char *)data, (size_t)300 * 1000);
    take_run(in, 1, 0, 200 * 1000);
    take_run(in, 1, 200 * 1000, 100 * 1000);
    CHECK_EQ(iora_await(writer), 0);
    CHECK_EQ(iora_stream_close(out), 0);
    take_end(in);
    CHECK_EQ(iora_stream_close(in), 0);
    free(data);
}

/* F30: SIGPIPE does what it does by default here, and must not come. */
TEST_TASK_REAL(stream, from_a_pipe_that_nobody_reads_says_epipe_and_raises_no_signal)
{
    iora_stream *out;
    int ends[2];

    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    CHECK_EQ(iora_stream_from_fd(ends[1], NULL, &out), 0);
    (void)close(ends[0]);
    CHECK_EQ(iora_write(out, "x", 1), -EPIPE);
    CHECK_EQ(iora_flush(out), -EPIPE);
    CHECK_EQ(iora_stream_close(out), -EPIPE);
}
TEST_EXEMPT(stream, from_a_pipe_that_nobody_reads_says_epipe_and_raises_no_signal, TEST_STINGY,
            "a call that was refused has not said it")

TEST_TASK_REAL(stream, from_the_wrong_end_of_a_pipe_says_so)
{
    iora_stream *in, *out;
    char byte;
    int ends[2];

    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    CHECK_EQ(iora_stream_from_fd(ends[0], NULL, &in), 0);
    CHECK_EQ(iora_stream_from_fd(ends[1], NULL, &out), 0);
    CHECK_EQ(iora_write(in, "x", 1), -EBADF);
    CHECK_EQ(iora_read(out, &byte, 1), -EBADF);
    iora_stream_abort(in);
    iora_stream_abort(out);
}
TEST_EXEMPT(stream, from_the_wrong_end_of_a_pipe_says_so, TEST_STINGY,
            "a call that was refused has not said it")

TEST_TASK_REAL(stream, refuses_descriptors_that_are_none_and_leaves_them_as_they_are)
{
    iora_connect_options options = IORA_CONNECT_OPTIONS_INIT;
    char path[] = "/tmp/iora-test-XXXXXX";
    iora_stream *stream;
    int ends[2], fd;

    CHECK_EQ(iora_stream_from_fd(-1, NULL, &stream), -EBADF);
    CHECK_EQ(iora_stream_from_fd(12345, NULL, &stream), -EBADF);
    CHECK((fd = mkostemp(path, O_CLOEXEC)) >= 0);
    (void)unlink(path);
    CHECK_EQ(iora_stream_from_fd(fd, NULL, &stream), -EINVAL);
    (void)close(fd);

    CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), 0);
    CHECK_EQ(iora_stream_from_fd(ends[0], NULL, &stream), -EINVAL);
    CHECK(is_open(ends[0]) && !is_nonblocking(ends[0]));
    (void)close(ends[0]);
    (void)close(ends[1]);

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    options.line_limit = 15;
    CHECK_EQ(iora_stream_from_fd(ends[0], &options, &stream), -EINVAL);
    options.line_limit = ((size_t)1 << 30) + 1;
    CHECK_EQ(iora_stream_from_fd(ends[0], &options, &stream), -EINVAL);
    options = (iora_connect_options){0};
    CHECK_EQ(iora_stream_from_fd(ends[0], &options, &stream), -EINVAL);
    CHECK(!is_nonblocking(ends[0]));
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static int
waits_for(int fd)
{
    return iora_wait_readable(fd);
}
IORA_ASYNC(waits_for, int);

TEST_TASK_REAL(stream, is_not_made_of_a_descriptor_that_somebody_waits_for)
{
    iora_stream *stream;
    iora_task waiting;
    int ends[2];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    waiting = iora_go(waits_for, ends[0]);
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora_stream_from_fd(ends[0], NULL, &stream), -EBUSY);
    CHECK_EQ(write(ends[1], "x", 1), 1);
    CHECK_EQ(iora_await(waiting), 0);
    CHECK_EQ(iora_stream_from_fd(ends[0], NULL, &stream), 0);
    CHECK_EQ(iora_stream_close(stream), 0);
    (void)close(ends[1]);
}

static void
is_not_called(void *arg)
{
    (void)arg;
    test_fail(__FILE__, __LINE__, "it was");
}

TEST_TASK_REAL(stream, is_one_for_a_descriptor_at_most)
{
    iora_stream *stream, *other;
    iora_watcher watcher;
    char byte;
    int ends[2];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    CHECK_EQ(iora_stream_from_fd(ends[0], NULL, &stream), 0);
    CHECK_EQ(iora_stream_from_fd(ends[0], NULL, &other), -EBUSY);
    CHECK_EQ(iora_sock_recv(ends[0], &byte, 1, 0), -EBUSY);
    CHECK_EQ(iora_sock_send(ends[0], "x", 1, 0), -EBUSY);
    CHECK_EQ(iora_fd_read(ends[0], &byte, 1), -EBUSY);
    CHECK_EQ(iora_fd_write(ends[0], "x", 1), -EBUSY);
    CHECK_EQ(iora_wait_readable(ends[0]), -EBUSY);
    CHECK_EQ(iora_wait_writable(ends[0]), -EBUSY);
    iora_watcher_init(&watcher, iora_loop_running(), ends[0]);
    CHECK_EQ(iora_watcher_on_readable(&watcher, is_not_called, NULL), -EBUSY);
    CHECK_EQ(iora_watcher_on_writable(&watcher, is_not_called, NULL), -EBUSY);
    CHECK_EQ(write(ends[1], "x", 1), 1);
    take(stream, "x");
    CHECK_EQ(iora_stream_close(stream), 0);
    (void)close(ends[1]);
}

TEST_TASK(stream, from_a_descriptor_is_nothing_for_a_simulated_loop)
{
    iora_stream *stream;

    CHECK_EQ(iora_stream_from_fd(0, NULL, &stream), -ENOTSUP);
}

TEST_TASK_REAL(stream, limits_are_those_of_its_options)
{
    iora_connect_options options = IORA_CONNECT_OPTIONS_INIT;
    iora_stream *stream;
    char *line;
    int ends[2];

    options.line_limit = 16;
    options.write_limit = 16;
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    CHECK_EQ(iora_stream_from_fd(ends[0], &options, &stream), 0);
    CHECK_EQ(write(ends[1], "123456789012345\n1234567890123456\n", 33), 33);
    CHECK_VIEW(iora_readline(stream, &line), line, "123456789012345\n");
    CHECK_EQ(iora_readline(stream, &line), IORA_E_LIMIT);
    take(stream, "1234567890123456\n");
    for (int rc = 0; rc == 0;) {
        rc = iora_wait_for(iora_write(stream, "12345678", 8), iora_ms(5));
        CHECK(rc == 0 || rc == -ETIMEDOUT);
        CHECK(iora_stream_unsent(stream) <= 16);
    }
    iora_stream_abort(stream);
    (void)close(ends[1]);
}

/* ---- what it is -------------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(stream, says_how_much_is_buffered)
{
    iora_stream *a, *b;
    char *view;

    make_pair(&a, &b);
    CHECK_EQ(iora_stream_readable(b), 0);
    CHECK_EQ(iora_stream_unsent(a), 0);
    put_alone(a, "one\ntwo");
    CHECK_EQ(iora_stream_readable(b), 0); /* nothing is received that nobody asked for */
    CHECK_EQ(iora_readline(b, &view), 4);
    CHECK_EQ(iora_stream_readable(b), 3);
    CHECK_EQ(iora_stream_unsent(a), 0);
    close_both_streams(a, b);
}
TEST_EXEMPT(stream, says_how_much_is_buffered, TEST_STINGY, "of what lies in the buffer")

TEST_TASK_EVERYWHERE(stream, of_a_pair_has_unnamed_addresses)
{
    char text[IORA_ADDRESS_TEXT];
    iora_address address;
    iora_stream *a, *b;

    make_pair(&a, &b);
    CHECK_EQ(iora_stream_peer(a, &address), 0);
    CHECK_STR(iora_address_format(&address, text, sizeof text), "unix:");
    CHECK_EQ(iora_stream_local(a, &address), 0);
    CHECK_STR(iora_address_format(&address, text, sizeof text), "unix:");
    close_both_streams(a, b);
}

TEST(stream, pair_needs_a_loop)
{
    iora_stream *a, *b;

    CHECK_EQ(iora_stream_pair(&a, &b), IORA_E_NO_LOOP);
    CHECK_EQ(iora_stream_from_fd(0, NULL, &a), IORA_E_NO_LOOP);
}

/* F7: what was made before the failure is undone. */
TEST_TASK_EVERYWHERE(stream, pair_without_memory_leaves_nothing_behind)
{
    iora_stream *a, *b;
    int failures = 0;

    for (long n = 1; n < 20; n++) {
        int rc;

        iora__seam_arm_allocation(n, false);
        rc = iora_stream_pair(&a, &b);
        if (iora__seam_disarm().failures == 0) {
            CHECK_EQ(rc, 0);
            close_both_streams(a, b);
            break;
        }
        CHECK_EQ(rc, -ENOMEM);
        failures++;
    }
    CHECK(failures >= 2);
}

/* ---- closing ------------------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(stream, close_of_none_is_allowed)
{
    CHECK_EQ(iora_stream_close(NULL), 0);
    iora_stream_abort(NULL);
}

TEST_TASK_EVERYWHERE(stream, close_ends_who_reads)
{
    iora_stream *a, *b;
    iora_task reader;
    char data[8];

    make_pair(&a, &b);
    reader = iora_go(read_into, b, data, sizeof data);
    let_all_run();
    CHECK_EQ(iora_stream_close(b), 0);
    CHECK_EQ(iora_await(reader), IORA_E_CLOSED);
    take_end(a);
    CHECK_EQ(iora_stream_close(a), 0);
}

TEST_TASK_EVERYWHERE(stream, abort_ends_who_reads_and_who_writes)
{
    iora_stream *a, *b;
    iora_task reader, writer;
    char *data;
    char byte;

    make_pair(&a, &b);
    (void)write_until_full(a, 1);
    data = make_run(1, BLOCK);
    reader = iora_go(read_into, a, &byte, (size_t)1);
    writer = iora_go(write_all, a, (const char *)data, (size_t)BLOCK);
    let_all_run();
    iora_stream_abort(a);
    CHECK_EQ(iora_await(reader), IORA_E_CLOSED);
    CHECK_EQ(iora_await(writer), IORA_E_CLOSED);
    CHECK_EQ(iora_stream_close(b), 0);
    free(data);
}

TEST_TASK_EVERYWHERE(stream, close_sends_what_is_buffered_first)
{
    iora_stream *a, *b;
    iora_task reader;
    size_t taken;

    make_pair(&a, &b);
    taken = write_until_full(a, 1);
    reader = iora_go(take_all_of_run, b, 1u, taken);
    CHECK_EQ(iora_stream_close(a), 0);
    CHECK_EQ(iora_await(reader), 0);
    CHECK_EQ(iora_stream_close(b), 0);
}

/* F41 */
TEST_TASK(stream, close_waits_5_seconds_for_a_peer_who_does_not_read)
{
    iora_stream *a, *b;
    long long began_ms;
    size_t taken;

    make_pair(&a, &b);
    taken = write_until_full(a, 1);
    began_ms = test_ms();
    CHECK_EQ(iora_stream_close(a), -ETIMEDOUT);
    CHECK_EQ(test_ms() - began_ms, 5000);
    CHECK(taken > 0);
    iora_stream_abort(b);
}

TEST_TASK_EVERYWHERE(stream, close_that_is_cancelled_drops_what_is_buffered)
{
    iora_stream *a, *b;

    make_pair(&a, &b);
    (void)write_until_full(a, 1);
    CHECK_EQ(CANCELLED(iora_stream_close(a)), -ECANCELED);
    iora_stream_abort(b);

    make_pair(&a, &b);
    (void)write_until_full(a, 1);
    CHECK_EQ(iora_wait_for(iora_stream_close(a), iora_ms(5)), -ETIMEDOUT);
    iora_stream_abort(b);

    make_pair(&a, &b);
    CHECK_EQ(CANCELLED(iora_stream_close(a)), -ECANCELED);
    take_end(b);
    CHECK_EQ(iora_stream_close(b), 0);
}

static int
close_it(iora_stream *stream)
{
    return iora_stream_close(stream);
}
IORA_ASYNC(close_it, iora_stream *);

TEST_TASK_EVERYWHERE(stream, takes_no_calls_while_it_is_being_closed)
{
    iora_stream *a, *b;
    iora_task closer;
    char byte, *view;

    make_pair(&a, &b);
    (void)write_until_full(a, 1);
    closer = iora_go(close_it, a);
    let_all_run();
    CHECK_EQ(iora_read(a, &byte, 1), IORA_E_CLOSED);
    CHECK_EQ(iora_readline(a, &view), IORA_E_CLOSED);
    CHECK_EQ(iora_write(a, "x", 1), IORA_E_CLOSED);
    CHECK_EQ(iora_flush(a), IORA_E_CLOSED);
    CHECK_EQ(iora_write_eof(a), IORA_E_CLOSED);
    CHECK_EQ(iora_stream_close(a), IORA_E_CLOSED);
    iora_stream_abort(a); /* cuts the closing short */
    CHECK_EQ(iora_await(closer), -ETIMEDOUT);
    iora_stream_abort(b);
}

TEST_TASK_EVERYWHERE(stream, abort_sends_nothing_more)
{
    iora_stream *a, *b;
    size_t taken, n = 0;
    char data[4096];
    int rc;

    make_pair(&a, &b);
    taken = write_until_full(a, 1);
    iora_stream_abort(a);
    while ((rc = iora_read(b, data, sizeof data)) > 0) {
        check_run(1, n, data, (size_t)rc);
        n += (size_t)rc;
    }
    CHECK(rc == 0 || rc == -ECONNRESET);
    CHECK(n < taken);
    iora_stream_abort(b);
}

static void
abort_it(void *stream)
{
    iora_stream_abort(stream);
}

TEST_TASK_EVERYWHERE(stream, may_be_aborted_by_a_callback)
{
    iora_handle handle = {0};
    iora_stream *a, *b;
    char byte;

    make_pair(&a, &b);
    (void)write_until_full(b, 1);
    CHECK_EQ(iora_call_soon(test_loop(), &handle, abort_it, b), 0);
    CHECK_EQ(iora_read(b, &byte, 1), IORA_E_CLOSED);
    iora_stream_abort(a);
}

static void
close_in_callback(void *stream)
{
    CHECK_EQ(iora_stream_close(stream), IORA_E_NO_TASK);
}

TEST_TASK_EVERYWHERE(stream, that_is_closed_outside_of_a_task_is_aborted)
{
    iora_handle handle = {0};
    iora_stream *a, *b;

    make_pair(&a, &b);
    CHECK_EQ(iora_call_soon(test_loop(), &handle, close_in_callback, a), 0);
    take_end(b);
    CHECK_EQ(iora_stream_close(b), 0);
}

/* ---- a loop that goes before its streams ------------------------------------------------------------------- */

static iora_stream *left[6];

static int
leave_streams(void)
{
    char *view;

    make_pair(&left[0], &left[1]);
    make_pair(&left[2], &left[3]);
    make_pair(&left[4], &left[5]);
    put_alone(left[0], "view;more");
    CHECK_EQ(iora_read_until(left[1], ";", 1, &view), 5);
    (void)write_until_full(left[2], 1);
    return 0;
}
IORA_ASYNC(leave_streams);

static int
use_left_stream(void)
{
    char byte;

    CHECK_EQ(iora_read(left[0], &byte, 1), IORA_E_CLOSED);
    CHECK_EQ(iora_write(left[1], "x", 1), IORA_E_CLOSED);
    CHECK_EQ(iora_stream_close(left[0]), 0);
    iora_stream_abort(left[1]);
    return 0;
}
IORA_ASYNC(use_left_stream);

static int
make_pair_in_task(iora_stream **ends)
{
    return iora_stream_pair(&ends[0], &ends[1]);
}
IORA_ASYNC(make_pair_in_task, iora_stream **);

static int
read_of_another_loop(iora_stream *stream)
{
    char byte;

    CHECK_EQ(iora_read(stream, &byte, 1), IORA_E_WRONG_THREAD);
    CHECK_EQ(iora_write(stream, "x", 1), IORA_E_WRONG_THREAD);
    return 0;
}
IORA_ASYNC(read_of_another_loop, iora_stream *);

TEST_EVERYWHERE(stream, is_of_no_use_in_another_loop)
{
    iora_loop *const other = test_loop_with(test_options());
    iora_stream *ends[2];

    CHECK_EQ(test_run(make_pair_in_task, ends), 0);
    CHECK_EQ(iora_run_in(other, read_of_another_loop, ends[0]), 0);
    iora_stream_abort(ends[0]);
    iora_stream_abort(ends[1]);
}

/* It closed the other loop's descriptor, or waited 5 s for that loop to send what was buffered. */
static int
close_of_another_loop(iora_stream *stream)
{
    CHECK_EQ(iora_stream_close(stream), IORA_E_WRONG_THREAD);
    return 0;
}
IORA_ASYNC(close_of_another_loop, iora_stream *);

static int
use_and_close(iora_stream **ends)
{
    put(ends[0], "x");
    take(ends[1], "x");
    CHECK_EQ(iora_stream_close(ends[0]), 0);
    return iora_stream_close(ends[1]);
}
IORA_ASYNC(use_and_close, iora_stream **);

TEST_EVERYWHERE(stream, is_not_closed_in_another_loop)
{
    iora_loop *const other = test_loop_with(test_options());
    iora_stream *ends[2];

    CHECK_EQ(test_run(make_pair_in_task, ends), 0);
    CHECK_EQ(iora_run_in(other, close_of_another_loop, ends[0]), 0);
    CHECK_EQ(test_run(use_and_close, ends), 0);
}

TEST_EVERYWHERE(stream, outlives_its_loop_only_to_be_closed)
{
    iora_loop_options options = IORA_LOOP_OPTIONS_INIT;
    iora_address address;
    iora_loop *loop;

    options.backend = test_where() == TEST_SIM ? IORA_BACKEND_SIM : options.backend;
    options.complete_late = test_where() == TEST_LATE;
    loop = test_loop_with(&options);
    CHECK_EQ(iora_run_in(loop, leave_streams), 0);
    test_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    CHECK_EQ(iora_stream_peer(left[2], &address), IORA_E_CLOSED);
    CHECK_EQ(test_run(use_left_stream), 0);
    CHECK_EQ(iora_stream_close(left[2]), 0);
    iora_stream_abort(left[3]);
    iora_stream_abort(left[4]);
    CHECK_EQ(iora_stream_close(left[5]), 0);
}

/* ---- a forked child ------------------------------------------------------------------------------------------ */

/* F11: parent and child share one epoll set, and what the child took out of it the parent waited for in vain. */
TEST_TASK_REAL(stream, that_a_forked_child_closes_stays_the_parents)
{
    iora_stream *a, *b;
    iora_task reader;
    char data[8];
    int status;
    pid_t pid;

    make_pair(&a, &b);
    CHECK_EQ(iora_wait_for(iora_read(b, data, sizeof data), iora_ms(2)), -ETIMEDOUT);
    if ((pid = fork()) == 0) {
        iora_stream_abort(b);
        iora_stream_abort(a);
        _exit(EXIT_SUCCESS);
    }
    CHECK_EQ(TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)), pid);
    CHECK_EQ(status, 0);
    reader = iora_go(read_into, b, data, sizeof data);
    let_all_run();
    put(a, "x");
    CHECK_EQ(iora_wait_for(iora_shield(reader), iora_ms(test_patience_ms())), 1);
    close_both_streams(a, b);
}

TEST_TASK_REAL(stream, takes_no_calls_in_a_forked_child)
{
    iora_stream *a, *b;
    int status;
    pid_t pid;

    make_pair(&a, &b);
    put_alone(a, "parent's");
    if ((pid = fork()) == 0) {
        char data[8];

        CHECK_EQ(iora_read(b, data, sizeof data), IORA_E_FORKED);
        CHECK_EQ(iora_write(b, data, sizeof data), IORA_E_FORKED);
        _exit(EXIT_SUCCESS);
    }
    CHECK_EQ(TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)), pid);
    CHECK_EQ(status, 0);
    take(b, "parent's");
    close_both_streams(a, b);
}

/* ---- what the peer sees ------------------------------------------------------------------------------------------ */

TEST_TASK_EVERYWHERE(stream, with_bytes_unread_resets_its_peer_when_it_is_closed)
{
    iora_stream *a, *b;
    char byte;

    make_pair(&a, &b);
    put(a, "unread");
    let_all_run();
    CHECK_EQ(iora_stream_close(b), 0);
    CHECK_EQ(iora_read(a, &byte, 1), -ECONNRESET);
    CHECK_EQ(iora_stream_close(a), 0);
}

/* F5: descriptors that come with the bytes are nobody's, and must not stay open; nor does the read stop at them. */
TEST_TASK_REAL(stream, goes_on_where_descriptors_were_passed)
{
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec piece = {(void *)"quest ", 6};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *const header = CMSG_FIRSTHDR(&message);
    iora_stream *stream;
    iora_task reader;
    char data[9];
    int ends[2], passed[2];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    CHECK_EQ(pipe2(passed, O_CLOEXEC | O_NONBLOCK), 0);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &passed[1], sizeof passed[1]);
    CHECK_EQ(iora_stream_from_fd(ends[0], NULL, &stream), 0);
    for (int i = 0; i < 2; i++) { /* with nobody waiting for it, and with somebody */
        if (i == 1) {
            reader = iora_go(read_exactly_into, stream, data, sizeof data);
            let_all_run();
        }
        CHECK_EQ(write(ends[1], "re", 2), 2);
        CHECK_EQ(sendmsg(ends[1], &message, 0), 6);
        CHECK_EQ(write(ends[1], "!", 1), 1);
        if (i == 0)
            CHECK_EQ(iora_read_exactly(stream, data, sizeof data), 0);
        else
            CHECK_EQ(iora_await(reader), 0);
        CHECK_EQ(memcmp(data, "request !", 9), 0);
    }
    (void)close(passed[1]);
    CHECK_EQ(read(passed[0], data, 1), 0); /* nobody has it open any more */
    (void)close(passed[0]);
    (void)close(ends[1]);
    CHECK_EQ(iora_stream_close(stream), 0);
}

/* ---- at random ------------------------------------------------------------------------------------------------ */

/* Of each end of a pair one task reads, one writes, both in scopes that may be cancelled, and one closes it at some
 * moment. Whatever meets: all of them end, within the time that a close may take, and every byte is the right one. */
struct end {
    iora_stream *stream;
    unsigned run, peers_run;
    size_t sent, received; /* places in the runs */
    char data[200 * 1000]; /* what was read */
};

static iora_duration
some_time(void)
{
    return one_in(2) ? IORA_FOREVER : iora_us(below(3000));
}

static int
write_on(struct end *end)
{
    while (end->stream != NULL) {
        const size_t n = (size_t)below(one_in(6) ? 300 * 1000 : 3000) + 1;
        char *const data = malloc(n);
        struct iovec pieces[3];
        int rc;

        MUST(data != NULL);
        fill_run(end->run, end->sent, data, n);
        pieces[0] = (struct iovec){data, n / 3};
        pieces[1] = (struct iovec){data + n / 3, n / 2 - n / 3};
        pieces[2] = (struct iovec){data + n / 2, n - n / 2};
        if (one_in(5))
            rc = iora_wait_for(iora_flush(end->stream), some_time());
        else if ((rc = iora_wait_for(iora_writev(end->stream, pieces, 3), some_time())) == 0)
            end->sent += n;
        free(data);
        if (rc < 0 && rc != -ETIMEDOUT) {
            MUST(rc == IORA_E_CLOSED || rc == IORA_E_TORN || rc == -EPIPE || rc == -ECONNRESET);
            break;
        }
        if (one_in(5))
            MUST_EQ(iora_sleep(iora_us(below(3000))), 0);
    }
    return 0;
}
IORA_ASYNC(write_on, struct end *);

static int
read_on(struct end *end)
{
    while (end->stream != NULL) {
        char *const data = end->data;
        const size_t n = (size_t)below(one_in(8) ? (int)sizeof end->data : 5000) + 1;
        const bool exactly = one_in(2);
        iora_scope scope;
        int rc;

        iora_timeout_begin(&scope, some_time());
        rc = exactly ? iora_read_exactly(end->stream, data, n) : iora_read(end->stream, data, n);
        if (exactly && rc == 0)
            rc = (int)n;
        else if (exactly && n > 64 * 1024 && end->stream != NULL)
            rc = rc == IORA_E_CLOSED || rc == -ECONNRESET ? rc : (int)iora_read_count(end->stream);
        if (rc > 0) {
            for (size_t i = 0; i < (size_t)rc; i++)
                MUST((unsigned char)data[i] == byte_at(end->peers_run, end->received + i));
            end->received += (size_t)rc;
        }
        rc = iora_timeout_end(&scope, rc);
        if (rc == 0 && end->stream != NULL && iora_at_eof(end->stream))
            break;
        if (rc < 0 && rc != -ETIMEDOUT && rc != -ECANCELED) {
            MUST(rc == IORA_E_CLOSED || rc == IORA_E_INCOMPLETE || rc == -ECONNRESET);
            break;
        }
        if (one_in(5))
            MUST_EQ(iora_sleep(iora_us(below(3000))), 0);
    }
    return 0;
}
IORA_ASYNC(read_on, struct end *);

static int
close_at_some_time(struct end *end)
{
    iora_stream *const stream = end->stream;

    MUST_EQ(iora_sleep(iora_us(below(40000))), 0);
    end->stream = NULL; /* others make no more calls */
    if (one_in(3))
        iora_stream_abort(stream);
    else
        (void)iora_wait_for(iora_stream_close(stream), some_time());
    return 0;
}
IORA_ASYNC(close_at_some_time, struct end *);

static int
use_a_pair_somehow(void)
{
    static struct end a, b;
    iora_task tasks[6];
    const iora_instant began = iora_now();

    a = (struct end){.run = 1, .peers_run = 2};
    b = (struct end){.run = 2, .peers_run = 1};
    make_pair(&a.stream, &b.stream);
    for (int i = 0; i < 2; i++) {
        struct end *const end = i == 0 ? &a : &b;

        tasks[3 * i] = iora_go(write_on, end);
        tasks[3 * i + 1] = iora_go(read_on, end);
        tasks[3 * i + 2] = iora_go(close_at_some_time, end);
    }
    MUST_EQ(iora_gather_n(tasks, 6), 0);
    MUST(iora_to_s(iora_between(began, iora_now())) < 6);
    return 0;
}
IORA_ASYNC(use_a_pair_somehow);

TEST(stream, ends_whatever_meets_at_random)
{
    RUN_SEEDS(500, use_a_pair_somehow);
}
