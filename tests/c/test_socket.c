/* tests/c/test_socket.c -- socket calls and reads on descriptors of the user's, which stay as they are. */
#include "real.h"
#include "streams.h"

#include <limits.h>
#include <netinet/in.h>
#include <pty.h>
#include <signal.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>

/* ---- helpers ------------------------------------------------------------------------------------ */

static int
recv_into(int fd, char *data, size_t n)
{
    return iora_sock_recv(fd, data, n, 0);
}
IORA_ASYNC(recv_into, int, char *, size_t);

static int
send_from(int fd, const char *data, size_t n)
{
    return iora_sock_send(fd, data, n, 0);
}
IORA_ASYNC(send_from, int, const char *, size_t);

static int
fd_read_into(int fd, char *data, size_t n)
{
    return iora_fd_read(fd, data, n);
}
IORA_ASYNC(fd_read_into, int, char *, size_t);

static int
fd_write_from(int fd, const char *data, size_t n)
{
    return iora_fd_write(fd, data, n);
}
IORA_ASYNC(fd_write_from, int, const char *, size_t);

static void
check_blocking(int fd)
{
    CHECK_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
}

static int
listener(struct sockaddr_in *address, int flags)
{
    socklen_t length = sizeof *address;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK_EQ(bind(fd, (struct sockaddr *)address, sizeof *address), 0);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)address, &length), 0);
    CHECK_EQ(listen(fd, 10), 0);
    return fd;
}

/* ---- sockets ---------------------------------------------------------------------------------------- */

TEST_TASK_REAL(socket, recv_and_send_wait_on_a_blocking_one_and_leave_it_so)
{
    static char block[BLOCK];
    iora_task reader, writer;
    char data[16];
    int ends[2];

    open_pair(ends);
    reader = iora_go(recv_into, ends[0], data, sizeof data);
    let_all_run();
    CHECK(!iora_task_is_done(reader));
    CHECK_EQ(iora_sock_send(ends[1], "hello", 5, 0), 5);
    CHECK_EQ(iora_await(reader), 5);
    CHECK_EQ(memcmp(data, "hello", 5), 0);

    fill(ends[0]);
    writer = iora_go(send_from, ends[0], (const char *)block, sizeof block);
    let_all_run();
    CHECK(!iora_task_is_done(writer));
    for (int i = 0; i < 100 && !iora_task_is_done(writer); i++) {
        CHECK(iora_sock_recv(ends[1], block, sizeof block, 0) > 0);
        CHECK_EQ(iora_yield(), 0);
    }
    CHECK(iora_await(writer) > 0);
    check_blocking(ends[0]);
    check_blocking(ends[1]);
    close_both(ends);
}
TEST_EXEMPT(socket, recv_and_send_wait_on_a_blocking_one_and_leave_it_so, TEST_STINGY,
            "of what one call does")

TEST_TASK_REAL(socket, send_returns_what_was_taken_at_once)
{
    char *const data = make_run(1, 8 << 20);
    int ends[2], rc;

    open_pair(ends);
    rc = iora_sock_send(ends[0], data, 8 << 20, 0);
    CHECK(rc > 0 && rc < 8 << 20);
    check_blocking(ends[0]);
    close_both(ends);
    free(data);
}

TEST_TASK_REAL(socket, recv_knows_the_end_and_the_flags)
{
    char data[4];
    int ends[2];

    open_pair(ends);
    CHECK_EQ(write(ends[1], "ab", 2), 2);
    CHECK_EQ(iora_sock_recv(ends[0], data, 4, MSG_PEEK), 2);
    CHECK_EQ(iora_sock_recv(ends[0], data, 1, 0), 1);
    CHECK_EQ(iora_sock_recv(ends[0], data, 4, 0), 1);
    CHECK_EQ(shutdown(ends[1], SHUT_WR), 0);
    CHECK_EQ(iora_sock_recv(ends[0], data, 4, 0), 0);
    CHECK_EQ(iora_sock_recv(ends[0], data, 4, 0), 0);
    close_both(ends);
}
TEST_EXEMPT(socket, recv_knows_the_end_and_the_flags, TEST_STINGY, "of what one call does")

TEST_TASK_REAL(socket, messages_go_and_come)
{
    char one[3], two[8];
    struct iovec out[2] = {{(void *)"hel", 3}, {(void *)"lo", 2}}, in[2] = {{one, 3}, {two, 8}};
    struct msghdr message = {.msg_iov = out, .msg_iovlen = 2};
    int ends[2];

    open_pair(ends);
    CHECK_EQ(iora_sock_sendmsg(ends[0], &message, 0), 5);
    message.msg_iov = in;
    CHECK_EQ(iora_sock_recvmsg(ends[1], &message, 0), 5);
    CHECK_EQ(memcmp(one, "hel", 3), 0);
    CHECK_EQ(memcmp(two, "lo", 2), 0);
    CHECK_EQ(iora_wait_for(iora_sock_recvmsg(ends[1], &message, 0), iora_ms(2)), -ETIMEDOUT);
    close_both(ends);
}

static int
accept_at(int fd)
{
    iora_address peer;
    const int rc = iora_sock_accept(fd, &peer);

    if (rc >= 0) {
        char text[IORA_ADDRESS_TEXT];

        CHECK(strncmp(iora_address_format(&peer, text, sizeof text), "127.0.0.1:", 10) == 0);
    }
    return rc;
}
IORA_ASYNC(accept_at, int);

TEST_TASK_REAL(socket, accept_and_connect_want_one_that_does_not_block)
{
    struct sockaddr_in address;
    const int fd = listener(&address, SOCK_NONBLOCK),
              blocking = listener(&(struct sockaddr_in){0}, 0);
    const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
              blocking_client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    iora_address to;
    iora_task acceptor;
    int accepted;

    CHECK_EQ(iora_address_parse("127.0.0.1", ntohs(address.sin_port), &to), 0);
    CHECK_EQ(iora_sock_accept(blocking, NULL), -EINVAL);
    CHECK_EQ(iora_sock_connect(blocking_client, &to), -EINVAL);
    acceptor = iora_go(accept_at, fd);
    let_all_run();
    CHECK_EQ(iora_sock_connect(client, &to), 0);
    CHECK((accepted = iora_await(acceptor)) >= 0);
    CHECK(fcntl(accepted, F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(accepted, F_GETFD) & FD_CLOEXEC);
    CHECK_EQ(iora_sock_send(client, "x", 1, 0), 1);
    CHECK_EQ(iora_sock_recv(accepted, &(char){0}, 1, 0), 1);
    check_blocking(blocking);
    (void)close(accepted);
    (void)close(client);
    (void)close(blocking_client);
    (void)close(blocking);
    (void)close(fd);
}

TEST_TASK_REAL(socket, connect_that_is_refused_says_so)
{
    struct sockaddr_in address;
    const int fd = listener(&address, 0);
    const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    iora_address to;

    CHECK_EQ(iora_address_parse("127.0.0.1", ntohs(address.sin_port), &to), 0);
    (void)close(fd);
    CHECK_EQ(iora_sock_connect(client, &to), -ECONNREFUSED);
    (void)close(client);
}

/* ---- pipes, files, terminals ---------------------------------------------------------------------------- */

TEST_TASK_REAL(socket, blocking_pipes_are_read_and_written_by_waiting)
{
    static char block[4096];
    iora_task reader, writer;
    char data[16];
    int ends[2], n = 0;

    open_pipe(ends);
    reader = iora_go(fd_read_into, ends[RD], data, sizeof data);
    let_all_run();
    CHECK(!iora_task_is_done(reader));
    CHECK_EQ(iora_fd_write(ends[WR], "abc", 3), 3);
    CHECK_EQ(iora_await(reader), 3);

    CHECK_EQ(fcntl(ends[WR], F_SETPIPE_SZ, 4096), 4096);
    CHECK_EQ(iora_fd_write(ends[WR], block, sizeof block), sizeof block);
    writer = iora_go(fd_write_from, ends[WR], (const char *)block, sizeof block);
    let_all_run();
    CHECK(!iora_task_is_done(writer));
    while (n < (int)sizeof block) {
        const int rc = iora_fd_read(ends[RD], block, sizeof block);

        CHECK(rc > 0);
        n += rc;
    }
    CHECK(iora_await(writer) > 0);
    check_blocking(ends[RD]);
    check_blocking(ends[WR]);
    (void)close(ends[WR]);
    while ((n = iora_fd_read(ends[RD], block, sizeof block)) > 0)
        continue;
    CHECK_EQ(n, 0);
    (void)close(ends[RD]);
}
TEST_EXEMPT(socket, blocking_pipes_are_read_and_written_by_waiting, TEST_STINGY,
            "of what one call does")

TEST_TASK_REAL(socket, regular_files_are_read_to_their_end)
{
    char path[] = "/tmp/iora-test-XXXXXX";
    const int fd = mkostemp(path, O_CLOEXEC);
    char data[100];
    int n = 0, rc;

    CHECK(fd >= 0);
    (void)unlink(path);
    CHECK_EQ(iora_fd_write(fd, "written here", 12), 12);
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    while ((rc = iora_fd_read(fd, data + n, 5)) > 0)
        n += rc;
    CHECK_EQ(rc, 0);
    CHECK_EQ(n, 12);
    CHECK_EQ(memcmp(data, "written here", 12), 0);
    check_blocking(fd);
    (void)close(fd);
}

TEST_TASK_REAL(socket, files_whose_pages_are_not_there_are_read_by_a_thread)
{
    enum { N = 256 * 1024 };
    char path[] = "/tmp/iora-test-XXXXXX";
    const int fd = mkostemp(path, O_CLOEXEC);
    char *const data = make_run(1, N);
    size_t n = 0;
    int rc;

    CHECK(fd >= 0);
    (void)unlink(path);
    CHECK_EQ(write(fd, data, N), N);
    CHECK_EQ(fsync(fd), 0);
    CHECK_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    while ((rc = iora_fd_read(fd, data, 10000)) > 0) {
        check_run(1, n, data, (size_t)rc);
        n += (size_t)rc;
    }
    CHECK_EQ(rc, 0);
    CHECK_EQ(n, N);
    (void)close(fd);
    free(data);
}

TEST_TASK_REAL(socket, dev_null_takes_all_and_gives_nothing)
{
    const int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    char data[8];

    CHECK_EQ(iora_fd_read(fd, data, sizeof data), 0);
    CHECK_EQ(iora_fd_write(fd, data, sizeof data), sizeof data);
    (void)close(fd);
}
TEST_EXEMPT(socket, dev_null_takes_all_and_gives_nothing, TEST_STINGY, "of what one call does")

static void
open_terminal(int *master, int *slave)
{
    struct termios raw;

    if (openpty(master, slave, NULL, NULL, NULL) < 0)
        test_skip("no pseudo terminal can be had");
    CHECK_EQ(tcgetattr(*slave, &raw), 0);
    cfmakeraw(&raw);
    CHECK_EQ(tcsetattr(*slave, TCSANOW, &raw), 0);
}

TEST_TASK_REAL(socket, a_terminal_is_read_once_it_is_readable)
{
    iora_task reader;
    int master, slave;
    char data[16];

    open_terminal(&master, &slave);
    CHECK_EQ(iora_wait_for(iora_fd_read(slave, data, sizeof data), iora_ms(2)), -ETIMEDOUT);
    reader = iora_go(fd_read_into, slave, data, sizeof data);
    let_all_run();
    CHECK(!iora_task_is_done(reader));
    CHECK_EQ(write(master, "typed", 5), 5);
    CHECK_EQ(iora_await(reader), 5);
    CHECK_EQ(memcmp(data, "typed", 5), 0);
    CHECK_EQ(iora_fd_write(slave, "shown", 5), 5);
    CHECK_EQ(iora_fd_read(master, data, sizeof data), 5);
    check_blocking(slave);
    check_blocking(master);
    (void)close(master);
    (void)close(slave);
}
TEST_EXEMPT(socket, a_terminal_is_read_once_it_is_readable, TEST_STINGY, "of what one call does")

/* The first took what was typed, and the second waited in the kernel for more, and with it the loop. */
TEST_TASK_REAL(socket, of_two_who_read_a_terminal_one_waits_on)
{
    iora_task first, second;
    char data[2][16];
    int master, slave;

    open_terminal(&master, &slave);
    first = iora_go(fd_read_into, slave, data[0], sizeof data[0]);
    second = iora_go(fd_read_into, slave, data[1], sizeof data[1]);
    let_all_run();
    CHECK_EQ(write(master, "one", 3), 3);
    CHECK_EQ(iora_await(first), 3);
    let_all_run();
    CHECK(!iora_task_is_done(second));
    CHECK_EQ(write(master, "second", 6), 6);
    CHECK_EQ(iora_await(second), 6);
    CHECK_EQ(memcmp(data[1], "second", 6), 0);
    (void)close(master);
    (void)close(slave);
}
TEST_EXEMPT(socket, of_two_who_read_a_terminal_one_waits_on, TEST_STINGY, "of what one call does")

static int
read_master(int master, int n)
{
    char data[1000];

    while (n > 0) {
        const int rc = iora_fd_read(master, data, sizeof data);

        if (rc <= 0)
            return rc;
        n -= rc;
    }
    return 0;
}
IORA_ASYNC(read_master, int, int);

/* A write to a blocking terminal waited in the kernel, and with it the loop, until somebody read all of it: for ever,
 * if that was another task. */
TEST_TASK_REAL(socket, a_terminal_is_not_written_to_beyond_its_room)
{
    enum { N = 100 * 1000 };
    char *const data = make_run(1, N);
    iora_task reader;
    int master, slave, n = 0;

    open_terminal(&master, &slave);
    reader = iora_go(read_master, master, (int)N);
    while (n < N) {
        const int rc = iora_fd_write(slave, data + n, (size_t)(N - n));

        CHECK(rc > 0);
        n += rc;
    }
    CHECK_EQ(iora_await(reader), 0);
    (void)close(master);
    (void)close(slave);
    free(data);
}

/* ---- who waits --------------------------------------------------------------------------------------------- */

TEST_TASK_REAL(socket, call_that_was_cancelled_has_done_nothing)
{
    struct sockaddr_in address;
    const int fd = listener(&address, SOCK_NONBLOCK);
    const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int pair[2], pipes[2], accepted;
    char data[8];

    open_pair(pair);
    open_pipe(pipes);
    CHECK_EQ(iora_wait_for(iora_sock_recv(pair[0], data, 8, 0), iora_ms(2)), -ETIMEDOUT);
    CHECK_EQ(iora_wait_for(iora_fd_read(pipes[RD], data, 8), iora_ms(2)), -ETIMEDOUT);
    CHECK_EQ(iora_wait_for(iora_sock_accept(fd, NULL), iora_ms(2)), -ETIMEDOUT);
    CHECK_EQ(write(pair[1], "x", 1), 1);
    CHECK_EQ(write(pipes[WR], "y", 1), 1);
    CHECK_EQ(connect(client, (struct sockaddr *)&address, sizeof address), 0);
    CHECK_EQ(CANCELLED(iora_sock_recv(pair[0], data, 8, 0)), -ECANCELED);
    CHECK_EQ(CANCELLED(iora_fd_read(pipes[RD], data, 8)), -ECANCELED);
    CHECK_EQ(CANCELLED(iora_fd_write(pipes[WR], data, 8)), -ECANCELED);
    CHECK_EQ(CANCELLED(iora_sock_accept(fd, NULL)), -ECANCELED);
    CHECK_EQ(iora_sock_recv(pair[0], data, 8, 0), 1);
    CHECK_EQ(iora_fd_read(pipes[RD], data, 8), 1);
    CHECK((accepted = iora_sock_accept(fd, NULL)) >= 0);
    (void)close(accepted);
    (void)close(client);
    (void)close(fd);
    close_both(pair);
    close_both(pipes);
}

TEST_TASK_REAL(socket, many_tasks_may_wait_on_one_descriptor)
{
    iora_task readers[3], writer;
    static char block[BLOCK];
    char data[3][8];
    int ends[2], codes[3];

    open_pair(ends);
    fill(ends[0]);
    for (int i = 0; i < 3; i++)
        readers[i] = iora_go(recv_into, ends[0], data[i], (size_t)1);
    writer = iora_go(send_from, ends[0], (const char *)block, sizeof block);
    let_all_run();
    CHECK_EQ(write(ends[1], "a", 1), 1);
    let_all_run();
    CHECK_EQ(iora_task_is_done(readers[0]) + iora_task_is_done(readers[1]) +
                 iora_task_is_done(readers[2]),
             1);
    CHECK(!iora_task_is_done(writer));
    CHECK_EQ(write(ends[1], "bc", 2), 2);
    CHECK_EQ(iora_gather_all_n(codes, readers, 3), 0);
    CHECK_EQ(codes[0] + codes[1] + codes[2], 3);
    while (!iora_task_is_done(writer)) {
        CHECK(recv(ends[1], block, sizeof block, MSG_DONTWAIT) > 0);
        let_all_run();
    }
    CHECK(iora_await(writer) > 0);
    close_both(ends);
}

/* F2, F3: the number is another descriptor's by the time the wait ends. */
TEST_TASK_REAL(socket, closed_under_a_call_ends_it_when_its_number_is_used_again)
{
    iora_stream *a, *b;
    iora_task reader;
    char data[8];
    int ends[2];

    open_pair(ends);
    reader = iora_go(recv_into, ends[0], data, sizeof data);
    let_all_run();
    close_both(ends);
    make_pair(&a, &b);
    CHECK(iora_stream_fd(a) == ends[0] || iora_stream_fd(b) == ends[0]);
    CHECK_EQ(iora_await(reader), -EBADF);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(iora_wait_for(iora_read(a, data, 1), iora_ms(2)), -ETIMEDOUT);
        put(a, "x");
        take(b, "x");
        put(b, "y");
        take(a, "y");
    }
    close_both_streams(a, b);
}

/* F2: a duplicate keeps the file, and with it the kernel's registration, alive. */
TEST_TASK_REAL(socket, closed_with_a_duplicate_left_does_not_disturb_the_next_of_its_number)
{
    iora_stream *a, *b;
    int ends[2], duplicate;
    char data[8];

    open_pair(ends);
    CHECK_EQ(iora_wait_for(iora_sock_recv(ends[0], data, 1, 0), iora_ms(2)), -ETIMEDOUT);
    duplicate = fcntl(ends[0], F_DUPFD_CLOEXEC, 100);
    (void)close(ends[0]);
    make_pair(&a, &b);
    CHECK_EQ(write(ends[1], "stale", 5), 5);
    CHECK_EQ(iora_wait_for(iora_read(a, data, 1), iora_ms(5)), -ETIMEDOUT);
    CHECK_EQ(iora_wait_for(iora_read(b, data, 1), iora_ms(5)), -ETIMEDOUT);
    put(a, "x");
    take(b, "x");
    CHECK_EQ(iora_sock_recv(duplicate, data, 8, 0), 5);
    (void)close(duplicate);
    (void)close(ends[1]);
    close_both_streams(a, b);
}
TEST_EXEMPT(socket, closed_with_a_duplicate_left_does_not_disturb_the_next_of_its_number, TEST_STINGY,
            "of what one call does")

/* ---- errors -------------------------------------------------------------------------------------------------- */

TEST_TASK_REAL(socket, calls_say_what_is_wrong_with_the_descriptor)
{
    char data[8];
    int ends[2];

    open_pipe(ends);
    CHECK_EQ(iora_sock_recv(-1, data, 8, 0), -EBADF);
    CHECK_EQ(iora_sock_recv(12345, data, 8, 0), -EBADF);
    CHECK_EQ(iora_fd_read(-1, data, 8), -EBADF);
    CHECK_EQ(iora_fd_write(12345, data, 8), -EBADF);
    CHECK_EQ(iora_sock_recv(ends[RD], data, 8, 0), -ENOTSOCK);
    CHECK_EQ(iora_sock_send(ends[WR], data, 8, 0), -ENOTSOCK);
    CHECK_EQ(iora_fd_read(ends[WR], data, 8), -EBADF);
    CHECK_EQ(iora_fd_write(ends[RD], data, 8), -EBADF);
    close_both(ends);
}
TEST_EXEMPT(socket, calls_say_what_is_wrong_with_the_descriptor, TEST_STINGY,
            "a call that was refused has not said it")

/* There the call waits until the descriptor is ready, which it never is in the way that it was not opened for. */
TEST_TASK_REAL(socket, calls_say_what_is_wrong_with_the_descriptor_without_preadv2)
{
    char data[8];
    int ends[2];

    open_pipe(ends);
    iora__seam_arm_calls(1, 0, LONG_MAX); /* ENOSYS */
    CHECK_EQ(iora_wait_for(iora_fd_read(ends[WR], data, 8), iora_ms(100)), -EBADF);
    CHECK_EQ(iora__seam_disarm().last_call, IORA__CALL_PREADV2);
    iora__seam_arm_calls(1, 0, LONG_MAX);
    CHECK_EQ(iora_wait_for(iora_fd_write(ends[RD], data, 8), iora_ms(100)), -EBADF);
    CHECK_EQ(iora__seam_disarm().last_call, IORA__CALL_PREADV2);
    close_both(ends);
}
TEST_EXEMPT(socket, calls_say_what_is_wrong_with_the_descriptor_without_preadv2, TEST_STINGY,
            "a call that was refused has not said it")

/* F30: the signal does what it does by default here. */
TEST_TASK_REAL(socket, calls_raise_no_sigpipe_and_leave_it_as_it_was)
{
    struct iovec piece = {(void *)"x", 1};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    struct sigaction action;
    sigset_t mask;
    int ends[2];

    open_pair(ends);
    (void)close(ends[1]);
    CHECK_EQ(iora_sock_send(ends[0], "x", 1, 0), -EPIPE);
    CHECK_EQ(iora_sock_sendmsg(ends[0], &message, 0), -EPIPE);
    CHECK_EQ(iora_fd_write(ends[0], "x", 1), -EPIPE);
    (void)close(ends[0]);
    open_pipe(ends);
    (void)close(ends[RD]);
    CHECK_EQ(iora_fd_write(ends[WR], "x", 1), -EPIPE);
    (void)close(ends[WR]);
    CHECK_EQ(sigaction(SIGPIPE, NULL, &action), 0);
    CHECK(action.sa_handler == SIG_DFL);
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    CHECK_EQ(sigismember(&mask, SIGPIPE), 0);
}

TEST_TASK(socket, calls_are_nothing_for_a_simulated_loop)
{
    iora_address address;
    char data[8];

    CHECK_EQ(iora_address_parse("127.0.0.1", 1, &address), 0);
    CHECK_EQ(iora_sock_recv(0, data, 8, 0), -ENOTSUP);
    CHECK_EQ(iora_sock_send(0, data, 8, 0), -ENOTSUP);
    CHECK_EQ(iora_sock_accept(0, NULL), -ENOTSUP);
    CHECK_EQ(iora_sock_connect(0, &address), -ENOTSUP);
    CHECK_EQ(iora_fd_read(0, data, 8), -ENOTSUP);
    CHECK_EQ(iora_fd_write(0, data, 8), -ENOTSUP);
}

static int
recv_nowhere(void)
{
    char byte;

    return iora_sock_recv(0, &byte, 1, 0);
}

static int
read_fd_nowhere(void)
{
    char byte;

    return iora_fd_read(0, &byte, 1);
}

TEST(socket, calls_need_a_task)
{
    check_needs_a_task(recv_nowhere);
    check_needs_a_task(read_fd_nowhere);
}

/* F11 */
TEST_TASK_REAL(socket, calls_in_a_forked_child_are_refused_and_take_nothing)
{
    int ends[2], status;
    char data[8];
    pid_t pid;

    open_pair(ends);
    CHECK_EQ(write(ends[1], "x", 1), 1);
    if ((pid = fork()) == 0) {
        CHECK_EQ(iora_sock_recv(ends[0], data, 8, 0), IORA_E_FORKED);
        CHECK_EQ(iora_fd_read(ends[0], data, 8), IORA_E_FORKED);
        _exit(EXIT_SUCCESS);
    }
    CHECK_EQ(TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)), pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(iora_sock_recv(ends[0], data, 8, 0), 1);
    close_both(ends);
}
