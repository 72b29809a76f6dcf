/* tests/c/test_ops.c -- operations on sockets as backend/backend.h promises them, on every backend. */
#include "ops.h"
#include "pump.h"
#include "test.h"

#include <netinet/tcp.h>
#include <sys/uio.h>

static void
check_is_still_pending(struct probe *probe)
{
    CHECK_EQ(probe->ended, 0);
    CHECK_EQ(probe->op._state, IORA__OP_SUBMITTED);
}

TEST_EXEMPT_ALL(op, TEST_STINGY, "of what one call does")
TEST_EXEMPT_ALL(multi_recv, TEST_STINGY, "of what one call does")
TEST_EXEMPT_ALL(multi_accept, TEST_STINGY, "of what one call does")
TEST_EXEMPT_ALL(stream_end, TEST_STINGY, "of what one call does")
TEST_EXEMPT_ALL(closed_number, TEST_STINGY, "of what one call does")
TEST_EXEMPT_ALL(borrowed_op, TEST_STINGY, "of what one call does")
TEST_EXEMPT_ALL(adopted_descriptor, TEST_STINGY, "of what one call does")

/* ---- receiving and sending ------------------------------------------------------------------------ */

TEST_EVERYWHERE(op, that_can_be_done_at_once_is)
{
    struct probe probe;
    char bytes[8];
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        CHECK_EQ(at_once(&probe, IORA__OP_SEND, ends[0], "hello", 5, 0), 5);
        turn_some(test_loop());
        CHECK_EQ(at_once(&probe, IORA__OP_RECV, ends[1], bytes, sizeof bytes, 0), 5);
        CHECK_EQ(memcmp(bytes, "hello", 5), 0);
        CHECK_EQ(probe.calls, completes_late() ? 1 : 0);
        CHECK_EQ(ops_pending(), 0);
    }
}

TEST_EVERYWHERE(op, that_cannot_is_pending_until_it_can)
{
    struct probe probe;
    char bytes[8];
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        CHECK_EQ(begin(&probe, IORA__OP_RECV, ends[1], bytes, sizeof bytes), IORA__OP_PENDING);
        CHECK_EQ(ops_pending(), 1);
        turn_some(test_loop());
        check_is_still_pending(&probe);
        CHECK_EQ(send_text(ends[0], "hello"), 5);
        CHECK_EQ(settle(&probe), 5);
        CHECK_EQ(probe.calls, 1);
        CHECK_EQ(ops_pending(), 0);
    }
}

TEST_EVERYWHERE(op, on_a_number_that_is_no_descriptor_is_refused)
{
    static const enum iora__op_kind kinds[] = {IORA__OP_ACCEPT, IORA__OP_RECV,  IORA__OP_SEND,
                                               IORA__OP_READ,   IORA__OP_WRITE, IORA__OP_CLOSE};
    struct probe probe;
    int ends[2];
    char byte;

    unix_pair(ends);
    close_ends(ends);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        CHECK_EQ(begin(&probe, kinds[i], ends[0], &byte, 1), -EBADF);
    CHECK_EQ(begin(&probe, IORA__OP_RECV, -1, &byte, 1), -EBADF);
    CHECK_EQ(ops_pending(), 0);
}

TEST_EVERYWHERE(op, of_reading_and_writing_works_on_sockets_too)
{
    char bytes[8];
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        CHECK_EQ(perform(IORA__OP_WRITE, ends[0], "abc", 3), 3);
        CHECK_EQ(perform(IORA__OP_READ, ends[1], bytes, sizeof bytes), 3);
        CHECK_EQ(memcmp(bytes, "abc", 3), 0);
        CHECK_EQ(sockets()->shutdown(backend_state(), ends[0], SHUT_WR), 0);
        CHECK_EQ(perform(IORA__OP_READ, ends[1], bytes, sizeof bytes), 0);
    }
}

TEST_EVERYWHERE(op, of_a_message_gathers_and_scatters)
{
    char first[3], second[8];
    struct iovec from[] = {{(void *)(uintptr_t) "ab", 2},
                           {(void *)(uintptr_t) "", 0},
                           {(void *)(uintptr_t) "cdef", 4}};
    struct iovec to[] = {{first, sizeof first}, {second, sizeof second}};
    struct msghdr sent = {.msg_iov = from, .msg_iovlen = 3};
    struct msghdr received = {.msg_iov = to, .msg_iovlen = 2};
    struct probe probe;
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        CHECK_EQ(begin(&probe, IORA__OP_RECVMSG, ends[1], &received, 0), IORA__OP_PENDING);
        CHECK_EQ(perform(IORA__OP_SENDMSG, ends[0], &sent, 0), 6);
        CHECK_EQ(settle(&probe), 6);
        CHECK_EQ(memcmp(first, "abc", 3), 0);
        CHECK_EQ(memcmp(second, "def", 3), 0);
        CHECK_EQ(received.msg_flags & (MSG_TRUNC | MSG_CTRUNC), 0);
    }
}

/* Send n bytes, and receive and compare as many, in a stream whose bytes follow a rule. */
static void
send_by_rule(int fd, size_t *at, size_t n)
{
    unsigned char bytes[4096];

    for (size_t i = 0; i < n; i++)
        bytes[i] = byte_at(*at + i);
    CHECK_EQ(perform(IORA__OP_SEND, fd, bytes, n), n);
    *at += n;
    turn_some(test_loop());
}

static void
receive_by_rule(int fd, size_t *at, size_t n)
{
    unsigned char bytes[4096];

    CHECK_EQ(perform(IORA__OP_RECV, fd, bytes, n), n);
    for (size_t i = 0; i < n; i++)
        CHECK_EQ(bytes[i], byte_at(*at + i));
    *at += n;
}

TEST_EVERYWHERE(op, receives_in_order_whatever_lies_between)
{
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        size_t sent = 0, received = 0;

        send_by_rule(ends[0], &sent, 1000);
        receive_by_rule(ends[1], &received, 600);
        send_by_rule(ends[0], &sent, 500);
        receive_by_rule(ends[1], &received, 200);
        send_by_rule(ends[0], &sent, 3000);
        receive_by_rule(ends[1], &received, 3700);
    }
}

TEST_EVERYWHERE(op, that_peeks_leaves_the_bytes)
{
    struct probe probe;
    char bytes[8];
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        CHECK_EQ(send_text(ends[0], "abc"), 3);
        prepare(&probe, IORA__OP_RECV, ends[1], bytes, 2);
        probe.op._detail = MSG_PEEK;
        (void)submit(&probe);
        CHECK_EQ(settle(&probe), 2);
        CHECK_EQ(memcmp(bytes, "ab", 2), 0);
        expect_text(ends[1], "abc");
    }
}

/* ---- first come, first served --------------------------------------------------------------------- */

TEST_EVERYWHERE(op, that_reads_is_served_in_turn)
{
    struct probe probes[3];
    char bytes[3] = "";
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        for (int i = 0; i < 3; i++)
            CHECK_EQ(begin(&probes[i], IORA__OP_RECV, ends[1], &bytes[i], 1), IORA__OP_PENDING);
        CHECK_EQ(send_text(ends[0], "a"), 1);
        CHECK_EQ(settle(&probes[0]), 1);
        CHECK_EQ(probes[1].calls + probes[2].calls, 0);
        CHECK_EQ(send_text(ends[0], "bc"), 2);
        CHECK_EQ(settle(&probes[2]), 1);
        CHECK_EQ(probes[1].ended, 1);
        CHECK_EQ(memcmp(bytes, "abc", 3), 0);
    }
}

TEST_EVERYWHERE(op, that_comes_late_does_not_overtake_who_waits)
{
    struct probe first, second;
    char bytes[2];
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        CHECK_EQ(begin(&first, IORA__OP_RECV, ends[1], &bytes[0], 1), IORA__OP_PENDING);
        CHECK_EQ(send_text(ends[0], "ab"), 2);
        (void)begin(&second, IORA__OP_RECV, ends[1], &bytes[1], 1);
        CHECK_EQ(settle(&second), 1);
        CHECK_EQ(settle(&first), 1);
        CHECK_EQ(memcmp(bytes, "ab", 2), 0);
    }
}

static struct probe third;
static char third_byte;

static void
begin_third(struct probe *probe)
{
    (void)begin(&third, IORA__OP_RECV, probe->op._fd, &third_byte, 1);
}

TEST_EVERYWHERE(op, that_comes_while_others_are_served_does_not_overtake_them)
{
    struct probe first, second;
    char bytes[2];
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        CHECK_EQ(begin(&first, IORA__OP_RECV, ends[1], &bytes[0], 1), IORA__OP_PENDING);
        CHECK_EQ(begin(&second, IORA__OP_RECV, ends[1], &bytes[1], 1), IORA__OP_PENDING);
        first.then = begin_third;
        CHECK_EQ(send_text(ends[0], "abc"), 3);
        CHECK_EQ(settle(&second), 1);
        CHECK_EQ(settle(&third), 1);
        CHECK_EQ(memcmp(bytes, "ab", 2), 0);
        CHECK_EQ(third_byte, 'c');
    }
}

TEST_EVERYWHERE(op, whose_first_is_cancelled_has_its_turn)
{
    struct probe first, second;
    char bytes[2];
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        CHECK_EQ(begin(&first, IORA__OP_RECV, ends[1], &bytes[0], 1), IORA__OP_PENDING);
        CHECK_EQ(begin(&second, IORA__OP_RECV, ends[1], &bytes[1], 1), IORA__OP_PENDING);
        CHECK_EQ(cancel(&first), -ECANCELED);
        CHECK_EQ(send_text(ends[0], "x"), 1);
        CHECK_EQ(settle(&second), 1);
        CHECK_EQ(bytes[1], 'x');
    }
}

static void
fill_up(int fd)
{
    static const char block[16384];
    struct probe probe;
    int rc;

    do {
        (void)begin_with(&probe, IORA__OP_SEND, fd, block, sizeof block, IORA__OP_NOWAIT);
        rc = settle(&probe);
    } while (rc > 0);
    CHECK_EQ(rc, -EAGAIN);
}

static void
empty(int fd)
{
    static char block[16384];
    struct probe probe;
    int rc;

    do {
        turn_some(test_loop());
        (void)begin_with(&probe, IORA__OP_RECV, fd, block, sizeof block, IORA__OP_NOWAIT);
        rc = settle(&probe);
    } while (rc > 0);
    CHECK_EQ(rc, -EAGAIN);
}

TEST_EVERYWHERE(op, that_writes_waits_in_a_line_of_its_own)
{
    struct probe sends[2], reads;
    char byte;
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        fill_up(ends[0]);
        CHECK_EQ(begin(&reads, IORA__OP_RECV, ends[0], &byte, 1), IORA__OP_PENDING);
        CHECK_EQ(begin(&sends[0], IORA__OP_SEND, ends[0], "a", 1), IORA__OP_PENDING);
        CHECK_EQ(begin(&sends[1], IORA__OP_SEND, ends[0], "b", 1), IORA__OP_PENDING);
        turn_some(test_loop());
        CHECK_EQ(sends[0].calls + sends[1].calls, 0);
        CHECK_EQ(send_text(ends[1], "x"), 1);
        CHECK_EQ(settle(&reads), 1);
        CHECK_EQ(sends[0].calls + sends[1].calls, 0);
        CHECK_EQ(cancel(&sends[0]), -ECANCELED);
        empty(ends[1]);
        CHECK_EQ(settle(&sends[1]), 1);
        turn_some(test_loop());
        CHECK_EQ(ops_pending(), 0);
    }
}

/* ---- cancelling, not waiting ---------------------------------------------------------------------- */

TEST_EVERYWHERE(op, that_is_cancelled_has_taken_nothing)
{
    struct probe probe;
    char bytes[8] = "kept";
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        CHECK_EQ(begin(&probe, IORA__OP_RECV, ends[1], bytes, sizeof bytes), IORA__OP_PENDING);
        CHECK_EQ(cancel(&probe), -ECANCELED);
        CHECK_EQ(probe.calls, completes_late() ? 1 : 0);
        CHECK_EQ(ops_pending(), 0);
        CHECK_EQ(send_text(ends[0], "abc"), 3);
        turn_some(test_loop());
        CHECK_STR(bytes, "kept");
        expect_text(ends[1], "abc");
    }
}

TEST_EVERYWHERE(op, that_must_not_wait_says_so)
{
    struct sockaddr_in address;
    const int listener = listen_tcp(1, &address);
    struct probe probe;
    char byte;
    int ends[2];

    CHECK_EQ(at_once(&probe, IORA__OP_ACCEPT, listener, NULL, 0, IORA__OP_NOWAIT), -EAGAIN);
    FOR_EACH_PAIR(ends)
    {
        CHECK_EQ(at_once(&probe, IORA__OP_RECV, ends[1], &byte, 1, IORA__OP_NOWAIT), -EAGAIN);
        CHECK_EQ(at_once(&probe, IORA__OP_SEND, ends[0], "x", 1, IORA__OP_NOWAIT), 1);
        turn_some(test_loop());
        CHECK_EQ(at_once(&probe, IORA__OP_RECV, ends[1], &byte, 1, IORA__OP_NOWAIT), 1);
        fill_up(ends[0]);
    }
    close_fd(listener);
}

TEST_EVERYWHERE(op, that_must_not_wait_overtakes_nobody)
{
    struct probe waits, tries;
    char bytes[2];
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        CHECK_EQ(begin(&waits, IORA__OP_RECV, ends[1], &bytes[0], 1), IORA__OP_PENDING);
        CHECK_EQ(at_once(&tries, IORA__OP_RECV, ends[1], &bytes[1], 1, IORA__OP_NOWAIT), -EAGAIN);
        CHECK_EQ(cancel(&waits), -ECANCELED);
    }
}

/* ---- memory that is taken ------------------------------------------------------------------------- */

struct taker {
    struct probe probe;
    char memory[4];
    int taken; /* and not given back */
    int asked;
    bool refuses;
};

static void *
take_memory(struct iora__op *op, size_t *size)
{
    struct taker *const taker = iora__container_of(op, struct taker, probe.op);

    if (size == NULL) {
        taker->taken--;
        return NULL;
    }
    taker->taken++;
    taker->asked++;
    *size = sizeof taker->memory;
    return taker->refuses ? NULL : taker->memory;
}

static int
begin_taking(struct taker *taker, int fd, uint8_t flags)
{
    *taker = (struct taker){.refuses = taker->refuses};
    prepare(&taker->probe, IORA__OP_RECV, fd, NULL, 0);
    taker->probe.op._take = take_memory;
    taker->probe.op._flags = flags;
    return submit(&taker->probe);
}

TEST_EVERYWHERE(op, takes_memory_when_there_is_something_to_receive)
{
    struct taker taker = {.refuses = false};
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        CHECK_EQ(begin_taking(&taker, ends[1], 0), IORA__OP_PENDING);
        turn_some(test_loop());
        CHECK_EQ(taker.taken, 0);
        if (test_where() == TEST_SIM)
            CHECK_EQ(taker.asked, 0); /* it knows */
        CHECK_EQ(send_text(ends[0], "abcdef"), 6);
        CHECK_EQ(settle(&taker.probe), 4);
        CHECK_EQ(taker.taken, 1);
        CHECK(taker.probe.op._base == taker.memory);
        CHECK_EQ(memcmp(taker.memory, "abcd", 4), 0);
        (void)begin_taking(&taker, ends[1], 0);
        CHECK_EQ(settle(&taker.probe), 2);
        CHECK_EQ(taker.taken, 1);
    }
}

TEST_EVERYWHERE(op, that_is_given_no_memory_ends_and_loses_nothing)
{
    struct taker taker = {.refuses = true};
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        CHECK_EQ(send_text(ends[0], "abc"), 3);
        turn_some(test_loop());
        (void)begin_taking(&taker, ends[1], 0);
        CHECK_EQ(settle(&taker.probe), -ENOMEM);
        CHECK_EQ(begin_taking(&taker, ends[1], IORA__OP_MULTI), IORA__OP_PENDING);
        CHECK_EQ(settle(&taker.probe), -ENOMEM);
        CHECK_EQ(taker.probe.results, 0);
        expect_text(ends[1], "abc");
    }
}

static int
receive_one_of_file(int fd)
{
    char byte;

    return perform(IORA__OP_READ, fd, &byte, 1);
}

/* What is no socket is asked for memory before it is known whether something is there. */
TEST_REAL(op, on_a_pipe_gives_back_the_memory_it_did_not_need)
{
    struct taker taker = {.refuses = false};
    int ends[2];

    CHECK_EQ(pipe(ends), 0);
    CHECK_EQ(sockets()->adopt(backend_state(), ends[0]), 0);
    prepare(&taker.probe, IORA__OP_READ, ends[0], NULL, 0);
    taker.probe.op._take = take_memory;
    CHECK_EQ(submit(&taker.probe), IORA__OP_PENDING);
    turn_some(test_loop());
    CHECK_EQ(taker.taken, 0);
    CHECK_EQ(write(ends[1], "abc", 3), 3);
    CHECK_EQ(settle(&taker.probe), 3);
    CHECK_EQ(taker.taken, 1);
    CHECK_EQ(memcmp(taker.memory, "abc", 3), 0);
    taker = (struct taker){.refuses = true};
    prepare(&taker.probe, IORA__OP_READ, ends[0], NULL, 0);
    taker.probe.op._take = take_memory;
    CHECK_EQ(write(ends[1], "d", 1), 1);
    (void)submit(&taker.probe);
    CHECK_EQ(settle(&taker.probe), -ENOMEM);
    CHECK_EQ(receive_one_of_file(ends[0]), 1);
    close_fd(ends[0]);
    CHECK_EQ(close(ends[1]), 0);
}

/* ---- multi ops ------------------------------------------------------------------------------------ */

static void
turn_until_collected(struct collector *collector, const char *text)
{
    while (collector->count < strlen(text)) {
        int results = collector->probe.calls;

        turn_until(test_loop(), &collector->probe.calls, results + 1);
    }
    CHECK_EQ(collector->count, strlen(text));
    CHECK_EQ(memcmp(collector->bytes, text, strlen(text)), 0);
}

TEST_EVERYWHERE(multi_recv, without_memory_to_lend_ends_and_loses_nothing)
{
    struct collector collector = {.stops = false};
    int ends[2];

    unix_pair(ends);
    CHECK_EQ(send_text(ends[0], "abc"), 3);
    turn_some(test_loop());
    iora__seam_arm_allocation(1, true);
    (void)begin_collecting(&collector, ends[1], NULL, 0);
    CHECK_EQ(settle(&collector.probe), -ENOMEM);
    (void)iora__seam_disarm();
    CHECK_EQ(collector.count, 0);
    expect_text(ends[1], "abc");
    close_ends(ends);
}

TEST_EVERYWHERE(multi_recv, goes_on_until_the_end_of_the_stream)
{
    struct collector collector = {.stops = false};
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        CHECK_EQ(send_text(ends[0], "one"), 3);
        turn_some(test_loop());
        CHECK_EQ(begin_collecting(&collector, ends[1], NULL, 0), IORA__OP_PENDING);
        CHECK_EQ(collector.probe.calls, 0);
        turn_until_collected(&collector, "one");
        CHECK_EQ(send_text(ends[0], "two"), 3);
        turn_until_collected(&collector, "onetwo");
        check_is_still_pending(&collector.probe);
        CHECK_EQ(sockets()->shutdown(backend_state(), ends[0], SHUT_WR), 0);
        CHECK_EQ(settle(&collector.probe), 0);
        CHECK_EQ(collector.probe.ended, 1);
        CHECK_EQ(ops_pending(), 0);
    }
}

TEST_EVERYWHERE(multi_recv, hears_the_end_that_comes_with_the_last_bytes)
{
    struct collector collector = {.stops = false};
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        CHECK_EQ(begin_collecting(&collector, ends[1], NULL, 0), IORA__OP_PENDING);
        turn_some(test_loop());
        CHECK_EQ(send_text(ends[0], "last"), 4);
        CHECK_EQ(sockets()->shutdown(backend_state(), ends[0], SHUT_WR), 0);
        CHECK_EQ(settle(&collector.probe), 0);
        CHECK_EQ(collector.count, 4);
    }
}

TEST_EVERYWHERE(multi_recv, uses_the_memory_it_is_given)
{
    struct collector collector = {.stops = false};
    char memory[2];
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        CHECK_EQ(begin_collecting(&collector, ends[1], memory, sizeof memory), IORA__OP_PENDING);
        CHECK_EQ(send_text(ends[0], "abcde"), 5);
        turn_until_collected(&collector, "abcde");
        CHECK(collector.probe.op._base == memory);
        CHECK(collector.probe.results >= 3);
        CHECK_EQ(cancel(&collector.probe), -ECANCELED);
    }
}

TEST_EVERYWHERE(multi_recv, takes_memory_for_each_result)
{
    struct taker taker = {.refuses = false};
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        CHECK_EQ(begin_taking(&taker, ends[1], IORA__OP_MULTI), IORA__OP_PENDING);
        CHECK_EQ(send_text(ends[0], "abcdefghij"), 10);
        turn_until(test_loop(), &taker.probe.results, 3);
        CHECK_EQ(taker.taken, taker.probe.results);
        CHECK_EQ(memcmp(taker.memory, "ij", 2), 0);
        CHECK_EQ(cancel(&taker.probe), -ECANCELED);
    }
}

TEST_EVERYWHERE(multi_recv, can_be_cancelled_by_what_it_calls)
{
    struct collector collector = {.stops = true};
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        CHECK_EQ(begin_collecting(&collector, ends[1], NULL, 0), IORA__OP_PENDING);
        CHECK_EQ(send_text(ends[0], "one"), 3);
        CHECK_EQ(settle(&collector.probe), -ECANCELED);
        CHECK_EQ(collector.probe.results, 1);
        CHECK_EQ(send_text(ends[0], "two"), 3);
        turn_some(test_loop());
        CHECK_EQ(collector.count, 3);
        CHECK_EQ(ops_pending(), 0);
        expect_text(ends[1], "two");
    }
}

TEST_EVERYWHERE(multi_recv, that_is_cancelled_leaves_the_rest_to_the_next)
{
    struct collector collector = {.stops = true};
    struct probe next;
    char memory[2], rest[8];
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        CHECK_EQ(begin_collecting(&collector, ends[1], memory, sizeof memory), IORA__OP_PENDING);
        CHECK_EQ(begin(&next, IORA__OP_RECV, ends[1], rest, sizeof rest), IORA__OP_PENDING);
        CHECK_EQ(send_text(ends[0], "abcdef"), 6);
        CHECK_EQ(settle(&next), 4);
        CHECK_EQ(memcmp(rest, "cdef", 4), 0);
        CHECK_EQ(settle(&collector.probe), -ECANCELED);
        CHECK_EQ(collector.count, 2);
    }
}

TEST_EVERYWHERE(multi_recv, has_a_budget_in_each_turn)
{
    struct probe probe;
    char byte;
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        for (int i = 0; i < 100; i++)
            CHECK_EQ(send_text(ends[0], "x"), 1);
        turn_some(test_loop());
        prepare(&probe, IORA__OP_RECV, ends[1], &byte, 1);
        probe.op._flags = IORA__OP_MULTI;
        (void)submit(&probe);
        CHECK(iora_loop_run_once(test_loop(), iora_ns(0)) >= 0);
        CHECK(probe.results > 0);
        CHECK(probe.results <= 16);
        turn_until(test_loop(), &probe.results, 100);
        CHECK_EQ(cancel(&probe), -ECANCELED);
    }
}

static int accepted[100];
static int accepted_count;

static void
keep_accepted(struct probe *probe)
{
    if (probe->op._state != IORA__OP_IDLE)
        accepted[accepted_count++] = probe->res;
}

TEST_EVERYWHERE(multi_accept, has_a_budget_in_each_turn)
{
    struct sockaddr_un name;
    const socklen_t length = abstract_name(&name, "budget");
    const int listener = listen_at(AF_UNIX, &name, length, 128);
    struct probe probe;
    int clients[100];

    for (int i = 0; i < 100; i++) {
        clients[i] = make_socket(AF_UNIX);
        CHECK_EQ(connect_to(clients[i], &name, length), 0);
    }
    prepare(&probe, IORA__OP_ACCEPT, listener, NULL, 0);
    probe.op._flags = IORA__OP_MULTI;
    probe.then = keep_accepted;
    CHECK_EQ(submit(&probe), IORA__OP_PENDING);
    CHECK_EQ(accepted_count, 0);
    CHECK(iora_loop_run_once(test_loop(), iora_ns(0)) >= 0);
    CHECK_EQ(accepted_count, 64);
    turn_until(test_loop(), &accepted_count, 100);
    CHECK_EQ(cancel(&probe), -ECANCELED);
    for (int i = 0; i < 100; i++) {
        close_fd(clients[i]);
        close_fd(accepted[i]);
    }
    close_fd(listener);
}

static void
keep_one_and_stop(struct probe *probe)
{
    keep_accepted(probe);
    if (!probe->ended && probe->results == 1 &&
        iora__op_cancel(test_loop(), &probe->op) == IORA__OP_DONE)
        note_end(probe);
}

TEST_EVERYWHERE(multi_accept, can_be_cancelled_by_what_it_calls)
{
    struct sockaddr_in address;
    const int listener = listen_tcp(8, &address);
    struct probe probe;
    int clients[3];

    for (int i = 0; i < 3; i++) {
        clients[i] = make_socket(AF_INET);
        CHECK_EQ(connect_to(clients[i], &address, sizeof address), 0);
    }
    prepare(&probe, IORA__OP_ACCEPT, listener, NULL, 0);
    probe.op._flags = IORA__OP_MULTI;
    probe.then = keep_one_and_stop;
    CHECK_EQ(submit(&probe), IORA__OP_PENDING);
    CHECK_EQ(settle(&probe), -ECANCELED);
    CHECK_EQ(accepted_count, 1);
    for (int i = 1; i < 3; i++)
        accepted[i] = perform(IORA__OP_ACCEPT, listener, NULL, 0);
    for (int i = 0; i < 3; i++) {
        CHECK(accepted[i] >= 0);
        close_fd(clients[i]);
        close_fd(accepted[i]);
    }
    close_fd(listener);
}

/* ---- ends ----------------------------------------------------------------------------------------- */

TEST_EVERYWHERE(stream_end, comes_after_all_bytes)
{
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        CHECK_EQ(send_text(ends[0], "all of it"), 9);
        close_fd(ends[0]);
        expect_text(ends[1], "all of it");
        CHECK_EQ(receive_one(ends[1]), 0);
        CHECK_EQ(receive_one(ends[1]), 0);
        ends[0] = make_socket(AF_INET);
    }
}

TEST_EVERYWHERE(stream_end, wakes_who_waits_to_receive)
{
    struct probe probes[2];
    char byte;
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        for (int i = 0; i < 2; i++)
            CHECK_EQ(begin(&probes[i], IORA__OP_RECV, ends[1], &byte, 1), IORA__OP_PENDING);
        close_fd(ends[0]);
        CHECK_EQ(settle(&probes[0]), 0);
        CHECK_EQ(settle(&probes[1]), 0);
        ends[0] = make_socket(AF_INET);
    }
}

TEST_EVERYWHERE(stream_end, of_one_direction_leaves_the_other)
{
    struct probe probe;
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        CHECK_EQ(send_text(ends[0], "question"), 8);
        CHECK_EQ(sockets()->shutdown(backend_state(), ends[0], SHUT_WR), 0);
        expect_text(ends[1], "question");
        CHECK_EQ(receive_one(ends[1]), 0);
        CHECK_EQ(send_text(ends[1], "answer"), 6);
        expect_text(ends[0], "answer");
        CHECK_EQ(at_once(&probe, IORA__OP_SEND, ends[0], "x", 1, 0), -EPIPE);
    }
}

TEST_EVERYWHERE(stream_end, of_receiving_ends_who_waits)
{
    struct probe probe;
    char byte;
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        CHECK_EQ(begin(&probe, IORA__OP_RECV, ends[1], &byte, 1), IORA__OP_PENDING);
        CHECK_EQ(sockets()->shutdown(backend_state(), ends[1], SHUT_RD), 0);
        CHECK_EQ(settle(&probe), 0);
    }
}

TEST_EVERYWHERE(stream_end, of_receiving_is_told_to_a_unix_peer_that_sends)
{
    struct probe probe;
    int ends[2];

    unix_pair(ends);
    CHECK_EQ(sockets()->shutdown(backend_state(), ends[1], SHUT_RD), 0);
    CHECK_EQ(at_once(&probe, IORA__OP_SEND, ends[0], "x", 1, 0), -EPIPE);
    close_ends(ends);
}

TEST_EVERYWHERE(stream_end, is_a_reset_if_bytes_were_not_read)
{
    struct probe probe;
    char byte;
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        CHECK_EQ(send_text(ends[0], "unread"), 6);
        turn_some(test_loop());
        CHECK_EQ(begin(&probe, IORA__OP_RECV, ends[0], &byte, 1), IORA__OP_PENDING);
        close_fd(ends[1]);
        CHECK_EQ(settle(&probe), -ECONNRESET);
        CHECK_EQ(receive_one(ends[0]), 0);
        CHECK_EQ(send_text(ends[0], "x"), -EPIPE);
        ends[1] = make_socket(AF_INET);
    }
}

TEST_EVERYWHERE(stream_end, is_a_reset_if_the_other_does_not_linger)
{
    const struct linger linger = {.l_onoff = 1};
    int ends[2];

    tcp_pair(ends);
    CHECK_EQ(sockets()->set_option(backend_state(), ends[1], SOL_SOCKET, SO_LINGER, &linger,
                                   sizeof linger),
             0);
    close_fd(ends[1]);
    CHECK_EQ(receive_one(ends[0]), -ECONNRESET);
    close_fd(ends[0]);
}

TEST_EVERYWHERE(stream_end, is_found_out_by_sending)
{
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        const bool tcp = pair_kind == 0;
        int rc;

        close_fd(ends[1]);
        turn_some(test_loop());
        rc = send_text(ends[0], "x");
        CHECK_EQ(rc, tcp ? 1 : -EPIPE);
        turn_some(test_loop());
        CHECK_EQ(send_text(ends[0], "x"), -EPIPE);
        CHECK_EQ(receive_one(ends[0]), 0);
        ends[1] = make_socket(AF_INET);
    }
}

TEST_EVERYWHERE(stream_end, ends_who_waits_for_room)
{
    struct probe probe;
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        fill_up(ends[0]);
        CHECK_EQ(begin(&probe, IORA__OP_SEND, ends[0], "x", 1), IORA__OP_PENDING);
        turn_some(test_loop());
        close_fd(ends[1]);
        CHECK(settle(&probe) == -ECONNRESET || probe.res == -EPIPE);
        ends[1] = make_socket(AF_INET);
    }
}

/* ---- connecting ----------------------------------------------------------------------------------- */

TEST_EVERYWHERE(connect, reaches_who_listens_and_both_know_their_names)
{
    struct sockaddr_in address, local, remote;
    const int listener = listen_tcp(4, &address);
    const int client = make_socket(AF_INET);
    iora_address peer = {0};
    socklen_t length;
    int server;

    CHECK_EQ(connect_to(client, &address, sizeof address), 0);
    server = perform(IORA__OP_ACCEPT, listener, &peer, 0);
    CHECK(server >= 0);
    length = sizeof local;
    CHECK_EQ(sockets()->name(backend_state(), client, false, (struct sockaddr *)&local, &length),
             0);
    CHECK_EQ(peer.length, sizeof local);
    CHECK_EQ(memcmp(peer.bytes, &local, sizeof local), 0);
    CHECK_EQ(sockets()->name(backend_state(), server, true, (struct sockaddr *)&remote, &length),
             0);
    CHECK_EQ(memcmp(&remote, &local, sizeof local), 0);
    CHECK_EQ(sockets()->name(backend_state(), client, true, (struct sockaddr *)&remote, &length),
             0);
    CHECK_EQ(memcmp(&remote, &address, sizeof address), 0);
    CHECK_EQ(sockets()->name(backend_state(), server, false, (struct sockaddr *)&local, &length),
             0);
    CHECK_EQ(memcmp(&local, &address, sizeof address), 0);
    CHECK_EQ(send_text(client, "hi"), 2);
    expect_text(server, "hi");
    close_fd(client);
    close_fd(server);
    close_fd(listener);
}
TEST_EXEMPT(connect, reaches_who_listens_and_both_know_their_names, TEST_STINGY,
            "of what one call does")

TEST_EVERYWHERE(connect, reaches_version_six_too)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t length = sizeof address;
    const int listener = make_socket(AF_INET6);
    int client, server;

    if (sockets()->bind(backend_state(), listener, (struct sockaddr *)&address, length) ==
        -EADDRNOTAVAIL) {
        close_fd(listener);
        test_skip("no IPv6");
    }
    CHECK_EQ(sockets()->listen(backend_state(), listener, 4), 0);
    CHECK_EQ(
        sockets()->name(backend_state(), listener, false, (struct sockaddr *)&address, &length), 0);
    client = make_socket(AF_INET6);
    CHECK_EQ(connect_to(client, &address, sizeof address), 0);
    server = perform(IORA__OP_ACCEPT, listener, NULL, 0);
    CHECK_EQ(send_text(server, "six"), 3);
    expect_text(client, "six");
    close_fd(client);
    close_fd(server);
    close_fd(listener);
}
TEST_EXEMPT(connect, reaches_version_six_too, TEST_STINGY, "of what one call does")

TEST_EVERYWHERE(connect, of_a_unix_socket_has_an_unnamed_peer)
{
    struct sockaddr_un name;
    const socklen_t length = abstract_name(&name, "unnamed");
    const int listener = listen_at(AF_UNIX, &name, length, 4);
    const int client = make_socket(AF_UNIX);
    iora_address peer = {0};
    struct sockaddr_un remote;
    socklen_t size = sizeof remote;
    int server;

    CHECK_EQ(connect_to(client, &name, length), 0);
    server = perform(IORA__OP_ACCEPT, listener, &peer, 0);
    CHECK(server >= 0);
    CHECK_EQ(peer.length, sizeof(sa_family_t));
    CHECK_EQ(((struct sockaddr *)peer.bytes)->sa_family, AF_UNIX);
    CHECK_EQ(sockets()->name(backend_state(), client, true, (struct sockaddr *)&remote, &size), 0);
    CHECK_EQ(size, length);
    CHECK_EQ(memcmp(&remote, &name, length), 0);
    close_fd(client);
    close_fd(server);
    close_fd(listener);
}

TEST_EVERYWHERE(connect, where_nobody_listens_is_refused)
{
    struct sockaddr_in address;
    struct sockaddr_un name;
    const socklen_t length = abstract_name(&name, "nobody");
    int fd;

    close_fd(listen_tcp(1, &address));
    fd = make_socket(AF_INET);
    CHECK_EQ(connect_to(fd, &address, sizeof address), -ECONNREFUSED);
    close_fd(fd);
    fd = make_socket(AF_UNIX);
    CHECK_EQ(connect_to(fd, &name, length), -ECONNREFUSED);
    name = (struct sockaddr_un){.sun_family = AF_UNIX, .sun_path = "no-such-path"};
    CHECK_EQ(connect_to(fd, &name, sizeof name), -ENOENT);
    close_fd(fd);
}

TEST_EVERYWHERE(connect, twice_is_an_error)
{
    struct sockaddr_un name;
    const socklen_t length = abstract_name(&name, "twice");
    const int listener = listen_at(AF_UNIX, &name, length, 4);
    const int fd = make_socket(AF_UNIX);

    CHECK_EQ(connect_to(fd, &name, length), 0);
    CHECK_EQ(connect_to(fd, &name, length), -EISCONN);
    close_fd(fd);
    close_fd(listener);
}

/* Connections beyond the backlog: how many sockets fit is the system's. */
static int
fill_backlog(struct probe *probes, int *clients, int max, const void *address, socklen_t length)
{
    int count = 0;

    do {
        CHECK(count < max);
        clients[count] = make_socket(((const struct sockaddr *)address)->sa_family);
        (void)begin_connect(&probes[count], clients[count], address, length);
        turn_some(test_loop());
    } while (probes[count++].ended);
    return count;
}

static void
check_full_backlog(int listener, const void *address, socklen_t length)
{
    struct probe probes[16];
    int clients[16], servers[16];
    const int count = fill_backlog(probes, clients, 15, address, length);
    const int extra = make_socket(((const struct sockaddr *)address)->sa_family);

    CHECK(count > 1);
    (void)begin_connect(&probes[count], extra, address, length);
    turn_some(test_loop());
    CHECK_EQ(cancel(&probes[count]), -ECANCELED);
    close_fd(extra);
    servers[0] = perform(IORA__OP_ACCEPT, listener, NULL, 0);
    CHECK_EQ(settle(&probes[count - 1]), 0);
    for (int i = 1; i < count; i++)
        servers[i] = perform(IORA__OP_ACCEPT, listener, NULL, 0);
    CHECK_EQ(send_text(clients[count - 1], "here"), 4);
    expect_text(servers[count - 1], "here");
    for (int i = 0; i < count; i++) {
        close_fd(clients[i]);
        close_fd(servers[i]);
    }
    close_fd(listener);
}

TEST_EVERYWHERE(connect, to_a_full_backlog_waits_for_room)
{
    struct sockaddr_un name;
    const socklen_t length = abstract_name(&name, "full");

    check_full_backlog(listen_at(AF_UNIX, &name, length, 2), &name, length);
}
TEST_EXEMPT(connect, to_a_full_backlog_waits_for_room, TEST_STINGY, "of what one call does")

/* The kernel's TCP tries again after a second: too long for a test. */
TEST(connect, to_a_full_tcp_backlog_waits_for_room)
{
    struct sockaddr_in address;
    const int listener = listen_tcp(2, &address);

    check_full_backlog(listener, &address, sizeof address);
}

TEST_EVERYWHERE(connect, to_a_full_backlog_is_refused_when_the_listener_goes)
{
    struct sockaddr_un name;
    const socklen_t length = abstract_name(&name, "goes");
    const int listener = listen_at(AF_UNIX, &name, length, 2);
    struct probe probes[16];
    int clients[16];
    const int count = fill_backlog(probes, clients, 16, &name, length);

    close_fd(listener);
    CHECK_EQ(settle(&probes[count - 1]), -ECONNREFUSED);
    CHECK_EQ(receive_one(clients[0]), -ECONNRESET);
    for (int i = 0; i < count; i++)
        close_fd(clients[i]);
}

TEST_EVERYWHERE(accept, waits_for_who_connects)
{
    struct sockaddr_in address;
    const int listener = listen_tcp(4, &address);
    const int client = make_socket(AF_INET);
    struct probe probe;

    CHECK_EQ(begin(&probe, IORA__OP_ACCEPT, listener, NULL, 0), IORA__OP_PENDING);
    turn_some(test_loop());
    CHECK_EQ(probe.calls, 0);
    CHECK_EQ(connect_to(client, &address, sizeof address), 0);
    CHECK(settle(&probe) >= 0);
    close_fd(probe.res);
    close_fd(client);
    close_fd(listener);
}

TEST_EVERYWHERE(accept, of_a_socket_that_does_not_listen_fails)
{
    const int fd = make_socket(AF_INET);

    CHECK_EQ(perform(IORA__OP_ACCEPT, fd, NULL, 0), -EINVAL);
    close_fd(fd);
}

/* ---- names ---------------------------------------------------------------------------------------- */

TEST_EVERYWHERE(bind, to_what_is_in_use_fails)
{
    struct sockaddr_in address;
    struct sockaddr_un name;
    const socklen_t length = abstract_name(&name, "in-use");
    const int tcp = listen_tcp(1, &address);
    const int local = listen_at(AF_UNIX, &name, length, 1);
    const int other_tcp = make_socket(AF_INET);
    const int other_local = make_socket(AF_UNIX);

    CHECK_EQ(
        sockets()->bind(backend_state(), other_tcp, (struct sockaddr *)&address, sizeof address),
        -EADDRINUSE);
    CHECK_EQ(sockets()->bind(backend_state(), other_local, (struct sockaddr *)&name, length),
             -EADDRINUSE);
    close_fd(local);
    CHECK_EQ(sockets()->bind(backend_state(), other_local, (struct sockaddr *)&name, length), 0);
    close_fd(tcp);
    close_fd(other_tcp);
    close_fd(other_local);
}

TEST_EVERYWHERE(listen, without_an_address_gets_a_port)
{
    struct sockaddr_in address = {0};
    socklen_t length = sizeof address;
    const int fd = make_socket(AF_INET);

    CHECK_EQ(sockets()->listen(backend_state(), fd, 1), 0);
    CHECK_EQ(sockets()->name(backend_state(), fd, false, (struct sockaddr *)&address, &length), 0);
    CHECK_EQ(address.sin_family, AF_INET);
    CHECK(address.sin_port != 0);
    close_fd(fd);
}

/* Two sockets of one address. */
static void
bind_both(int fds[2], int sharing)
{
    struct sockaddr_in address = loopback(0);
    socklen_t length = sizeof address;
    const int one = 1;

    for (int i = 0; i < 2; i++) {
        fds[i] = make_socket(AF_INET);
        CHECK_EQ(
            sockets()->set_option(backend_state(), fds[i], SOL_SOCKET, sharing, &one, sizeof one),
            0);
        CHECK_EQ(sockets()->bind(backend_state(), fds[i], (struct sockaddr *)&address, length), 0);
        CHECK_EQ(
            sockets()->name(backend_state(), fds[i], false, (struct sockaddr *)&address, &length),
            0);
    }
}

TEST_EVERYWHERE(listen, where_somebody_listens_fails)
{
    int fds[2];

    bind_both(fds, SO_REUSEADDR);
    CHECK_EQ(sockets()->listen(backend_state(), fds[0], 1), 0);
    CHECK_EQ(sockets()->listen(backend_state(), fds[1], 1), -EADDRINUSE);
    close_ends(fds);
}

TEST_EVERYWHERE(listen, where_the_port_is_shared_is_allowed)
{
    int fds[2];

    bind_both(fds, SO_REUSEPORT);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(sockets()->listen(backend_state(), fds[i], 1), 0);
    close_ends(fds);
}

static void
name_a_path(char path[108], const char *text)
{
    (void)snprintf(path, 108, "/tmp/iora-test-%d-%s", (int)getpid(), text);
}

static int
connect_to_path(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    const int fd = make_socket(AF_UNIX);
    int rc;

    memcpy(name.sun_path, path, strlen(path));
    rc = connect_to(fd, &name, sizeof name);
    close_fd(fd);
    return rc;
}

TEST_EVERYWHERE(bind, to_a_path_replaces_only_what_is_dead)
{
    struct iora__path_claim claim, none;
    char path[108];
    int first, second, other;

    name_a_path(path, "replaced");
    first = listen_at_path(path, &claim);
    CHECK_EQ(connect_to_path(path), 0);
    other = make_socket(AF_UNIX);
    CHECK_EQ(sockets()->listen_path(backend_state(), other, path, 0600, 4, &none), -EADDRINUSE);
    close_fd(first);
    CHECK_EQ(connect_to_path(path), -ECONNREFUSED);
    second = listen_at_path(path, &claim);
    CHECK_EQ(connect_to_path(path), 0);
    sockets()->unbind_path(backend_state(), &claim);
    CHECK_EQ(connect_to_path(path), -ENOENT);
    close_fd(second);
    close_fd(other);
}

TEST_EVERYWHERE(bind, to_a_path_is_undone_only_by_its_own_socket)
{
    struct iora__path_claim first_claim, second_claim;
    char path[108];
    int first, second;

    name_a_path(path, "claimed");
    first = listen_at_path(path, &first_claim);
    sockets()->unbind_path(backend_state(), &first_claim);
    second = listen_at_path(path, &second_claim);
    sockets()->unbind_path(backend_state(), &first_claim);
    CHECK_EQ(connect_to_path(path), 0);
    sockets()->unbind_path(backend_state(), &second_claim);
    CHECK_EQ(connect_to_path(path), -ENOENT);
    close_fd(first);
    close_fd(second);
}

TEST_EVERYWHERE(bind, to_a_path_that_is_too_long_fails)
{
    struct iora__path_claim claim;
    char path[200];
    const int fd = make_socket(AF_UNIX);

    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    CHECK_EQ(sockets()->listen_path(backend_state(), fd, path, 0600, 4, &claim), -ENAMETOOLONG);
    close_fd(fd);
}

TEST_EVERYWHERE(socket_option, is_what_it_was_set_to)
{
    const int one = 1;
    int value = 0, ends[2];
    socklen_t length = sizeof value;

    tcp_pair(ends);
    CHECK_EQ(
        sockets()->set_option(backend_state(), ends[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one),
        0);
    CHECK_EQ(
        sockets()->get_option(backend_state(), ends[0], IPPROTO_TCP, TCP_NODELAY, &value, &length),
        0);
    CHECK(value != 0);
    CHECK_EQ(length, sizeof value);
    CHECK_EQ(
        sockets()->get_option(backend_state(), ends[0], SOL_SOCKET, SO_DOMAIN, &value, &length), 0);
    CHECK_EQ(value, AF_INET);
    CHECK_EQ(sockets()->get_option(backend_state(), ends[0], SOL_SOCKET, SO_ERROR, &value, &length),
             0);
    CHECK_EQ(value, 0);
    close_ends(ends);
}

/* ---- what is refused, by the simulation as by the kernel ---------------------------------------- */

static int
bind_to(int fd, const void *address, socklen_t length)
{
    return sockets()->bind(backend_state(), fd, address, length);
}

static int
get_int_option(int fd, int option)
{
    int value = -1;
    socklen_t length = sizeof value;

    CHECK_EQ(sockets()->get_option(backend_state(), fd, SOL_SOCKET, option, &value, &length), 0);
    return value;
}

TEST_EVERYWHERE(socket, of_a_family_that_there_is_not_is_refused)
{
    CHECK_EQ(sockets()->socket(backend_state(), AF_MAX, SOCK_STREAM), -EAFNOSUPPORT);
}

TEST_EVERYWHERE(bind, to_what_is_no_address_of_the_family_fails)
{
    struct sockaddr_in address = loopback(0);
    const struct sockaddr_un unnamed = {.sun_family = AF_UNIX};
    const struct sockaddr_in6 other = {.sin6_family = AF_INET6};
    const int tcp = make_socket(AF_INET), local = make_socket(AF_UNIX);

    CHECK_EQ(bind_to(tcp, &address, 1), -EINVAL);
    CHECK_EQ(bind_to(tcp, &address, sizeof address - 1), -EINVAL);
    CHECK_EQ(bind_to(tcp, &other, sizeof other), -EAFNOSUPPORT);
    CHECK_EQ(bind_to(local, &address, sizeof address), -EINVAL);
    CHECK_EQ(connect_to(local, &unnamed, sizeof unnamed.sun_family), -EINVAL);
    CHECK_EQ(connect_to(tcp, &address, sizeof address - 1), -EINVAL);
    close_fd(tcp);
    close_fd(local);
}

TEST_EVERYWHERE(bind, twice_is_an_error)
{
    const struct sockaddr_in address = loopback(0);
    const int fd = make_socket(AF_INET);

    CHECK_EQ(bind_to(fd, &address, sizeof address), 0);
    CHECK_EQ(bind_to(fd, &address, sizeof address), -EINVAL);
    close_fd(fd);
}

TEST_EVERYWHERE(bind, to_a_path_by_its_address_makes_it_once)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    const int first = make_socket(AF_UNIX), second = make_socket(AF_UNIX);
    struct iora__path_claim claim;
    int successor;

    name_a_path(name.sun_path, "by-address");
    CHECK_EQ(bind_to(first, &name, sizeof name), 0);
    CHECK_EQ(bind_to(second, &name, sizeof name), -EADDRINUSE);
    CHECK_EQ(connect_to_path(name.sun_path), -ECONNREFUSED);
    successor = listen_at_path(name.sun_path, &claim); /* in the place of what nobody listens on */
    CHECK_EQ(connect_to_path(name.sun_path), 0);
    sockets()->unbind_path(backend_state(), &claim);
    close_fd(first);
    close_fd(second);
    close_fd(successor);
}

TEST_EVERYWHERE(listen, on_what_is_connected_or_has_no_name_fails)
{
    const int unnamed = make_socket(AF_UNIX);
    int ends[2];

    tcp_pair(ends);
    CHECK_EQ(sockets()->listen(backend_state(), ends[0], 1), -EINVAL);
    CHECK_EQ(sockets()->listen(backend_state(), unnamed, 1), -EINVAL);
    close_ends(ends);
    close_fd(unnamed);
}

TEST_EVERYWHERE(listen, without_a_name_is_given_one)
{
    const int listener = make_socket(AF_INET), client = make_socket(AF_INET);
    struct sockaddr_in address = {0};
    socklen_t length = sizeof address;

    CHECK_EQ(sockets()->listen(backend_state(), listener, 1), 0);
    CHECK_EQ(sockets()->listen(backend_state(), listener, 2), 0); /* again, with another backlog */
    CHECK_EQ(
        sockets()->name(backend_state(), listener, false, (struct sockaddr *)&address, &length), 0);
    CHECK_EQ(address.sin_addr.s_addr, htonl(INADDR_ANY));
    CHECK(address.sin_port != 0);
    CHECK_EQ(connect_to(client, &address, sizeof address), 0); /* 0.0.0.0 is this host */
    CHECK_EQ(sockets()->name(backend_state(), client, true, (struct sockaddr *)&address, &length),
             0);
    CHECK_EQ(address.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    close_fd(client);
    close_fd(listener);
}

TEST_EVERYWHERE(connect, to_any_address_of_version_six_reaches_this_host)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6};
    const int client = make_socket(AF_INET6);
    socklen_t length = sizeof address;
    int listener = make_socket(AF_INET6);

    if (bind_to(listener, &address, sizeof address) == 0) { /* not every machine has it */
        CHECK_EQ(sockets()->listen(backend_state(), listener, 1), 0);
        CHECK_EQ(
            sockets()->name(backend_state(), listener, false, (struct sockaddr *)&address, &length),
            0);
        CHECK_EQ(connect_to(client, &address, sizeof address), 0);
        CHECK_EQ(
            sockets()->name(backend_state(), client, true, (struct sockaddr *)&address, &length),
            0);
        CHECK_EQ(memcmp(&address.sin6_addr, &in6addr_loopback, sizeof in6addr_loopback), 0);
    }
    close_fd(client);
    close_fd(listener);
}

TEST_EVERYWHERE(connect, from_any_address_has_a_name_on_the_host_it_reaches)
{
    struct sockaddr_in any = {.sin_family = AF_INET}, address, local;
    const int listener = listen_tcp(1, &address), client = make_socket(AF_INET);
    socklen_t length = sizeof local;

    CHECK_EQ(bind_to(client, &any, sizeof any), 0);
    CHECK_EQ(connect_to(client, &address, sizeof address), 0);
    CHECK_EQ(sockets()->name(backend_state(), client, false, (struct sockaddr *)&local, &length),
             0);
    CHECK_EQ(local.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    CHECK(local.sin_port != 0);
    close_fd(client);
    close_fd(listener);
}

TEST_EVERYWHERE(name, of_what_has_none_is_told_so)
{
    struct sockaddr_in address;
    struct sockaddr_un local;
    socklen_t length = sizeof address;
    const int tcp = make_socket(AF_INET), unnamed = make_socket(AF_UNIX);

    CHECK_EQ(sockets()->name(backend_state(), tcp, true, (struct sockaddr *)&address, &length),
             -ENOTCONN);
    CHECK_EQ(sockets()->name(backend_state(), tcp, false, (struct sockaddr *)&address, &length), 0);
    CHECK_EQ(address.sin_family, AF_INET);
    CHECK_EQ(address.sin_port, 0);
    length = sizeof local;
    CHECK_EQ(sockets()->name(backend_state(), unnamed, false, (struct sockaddr *)&local, &length),
             0);
    CHECK_EQ(local.sun_family, AF_UNIX);
    CHECK_EQ(length, sizeof local.sun_family);
    close_fd(tcp);
    close_fd(unnamed);
}

TEST_EVERYWHERE(socket_option, tells_what_a_socket_is)
{
    const int fd = make_socket(AF_UNIX);
    struct sockaddr_in address;
    const int listener = listen_tcp(1, &address);

    CHECK_EQ(get_int_option(fd, SO_TYPE), SOCK_STREAM);
    CHECK_EQ(get_int_option(fd, SO_DOMAIN), AF_UNIX);
    CHECK_EQ(get_int_option(fd, SO_ACCEPTCONN), 0);
    CHECK_EQ(get_int_option(listener, SO_ACCEPTCONN), 1);
    close_fd(fd);
    close_fd(listener);
}

TEST_EVERYWHERE(socket_option, says_how_long_its_value_is)
{
    const int fd = make_socket(AF_INET);
    int values[4] = {-1, -1, -1, -1};
    socklen_t length = sizeof values;

    CHECK_EQ(
        sockets()->get_option(backend_state(), fd, SOL_SOCKET, SO_REUSEADDR, values, &length), 0);
    CHECK_EQ(length, sizeof values[0]);
    CHECK_EQ(values[0], 0);
    CHECK_EQ(values[1], -1);
    close_fd(fd);
}

TEST_EVERYWHERE(socket_option, without_a_value_is_refused)
{
    const int fd = make_socket(AF_INET), one = 1;

    CHECK_EQ(sockets()->set_option(backend_state(), fd, SOL_SOCKET, SO_REUSEADDR, &one, 0),
             -EINVAL);
    CHECK_EQ(sockets()->set_option(backend_state(), fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one),
             0);
    CHECK_EQ(get_int_option(fd, SO_REUSEADDR), 1);
    close_fd(fd);
}

TEST_EVERYWHERE(stream_end, is_for_what_is_connected)
{
    const int fd = make_socket(AF_INET);
    int ends[2];

    CHECK_EQ(sockets()->shutdown(backend_state(), fd, SHUT_WR), -ENOTCONN);
    unix_pair(ends);
    CHECK_EQ(sockets()->shutdown(backend_state(), ends[0], 7), -EINVAL);
    CHECK_EQ(sockets()->shutdown(backend_state(), ends[0], SHUT_WR), 0);
    CHECK_EQ(sockets()->shutdown(backend_state(), ends[0], SHUT_WR), 0); /* again */
    CHECK_EQ(receive_one(ends[1]), 0);
    close_ends(ends);
    close_fd(fd);
}

TEST_EVERYWHERE(op, on_what_is_not_connected_is_refused)
{
    const int tcp = make_socket(AF_INET), local = make_socket(AF_UNIX);

    CHECK_EQ(receive_one(tcp), -ENOTCONN);
    CHECK_EQ(receive_one(local), -EINVAL);
    CHECK_EQ(send_text(tcp, "a"), -EPIPE);
    CHECK_EQ(send_text(local, "a"), -ENOTCONN);
    close_fd(tcp);
    close_fd(local);
}

TEST_EVERYWHERE(op, of_no_bytes_ends_at_once_and_takes_none)
{
    int ends[2];

    unix_pair(ends);
    CHECK_EQ(send_text(ends[0], ""), 0);
    CHECK_EQ(send_text(ends[0], "a"), 1);
    CHECK_EQ(perform(IORA__OP_RECV, ends[1], ends, 0), 0);
    CHECK_EQ(receive_one(ends[1]), 1);
    close_ends(ends);
}

/* What the kernel hides behind the number of a descriptor, the simulation says itself. */
TEST(simulated_network, refuses_every_call_on_a_number_that_is_none)
{
    const int none = make_socket(AF_UNIX);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    struct iora__path_claim claim;
    socklen_t length = sizeof name;
    int value = 1;

    close_fd(none);
    CHECK_EQ(bind_to(none, &name, sizeof name), -EBADF);
    CHECK_EQ(sockets()->listen(backend_state(), none, 1), -EBADF);
    CHECK_EQ(sockets()->listen_path(backend_state(), none, "path", 0600, 1, &claim), -EBADF);
    CHECK_EQ(sockets()->shutdown(backend_state(), none, SHUT_WR), -EBADF);
    CHECK_EQ(sockets()->name(backend_state(), none, false, (struct sockaddr *)&name, &length),
             -EBADF);
    CHECK_EQ(
        sockets()->set_option(backend_state(), none, SOL_SOCKET, SO_RCVBUF, &value, sizeof value),
        -EBADF);
    CHECK_EQ(sockets()->get_option(backend_state(), none, SOL_SOCKET, SO_RCVBUF, &value, &length),
             -EBADF);
}

TEST(simulated_network, refuses_what_it_does_not_simulate)
{
    const int tcp = make_socket(AF_INET);
    struct iora__path_claim claim;
    struct msghdr with_control = {.msg_control = &claim, .msg_controllen = sizeof claim};
    struct probe probe;
    int ends[2];

    CHECK_EQ(sockets()->socket(backend_state(), AF_INET, SOCK_DGRAM), -EPROTONOSUPPORT);
    CHECK_EQ(sockets()->listen_path(backend_state(), tcp, "path", 0600, 1, &claim), -EINVAL);
    unix_pair(ends);
    CHECK_EQ(perform(IORA__OP_SENDMSG, ends[0], &with_control, 0), -ENOTSUP);
    prepare(&probe, IORA__OP_RECV, ends[0], &probe, 1);
    probe.op._detail = MSG_OOB;
    CHECK_EQ(submit(&probe), -EOPNOTSUPP);
    sockets()->release(backend_state(), ends[0]); /* of no use outside: it stays */
    CHECK_EQ(send_text(ends[1], "a"), 1);
    CHECK_EQ(receive_one(ends[0]), 1);
    close_ends(ends);
    close_fd(tcp);
}

TEST(simulated_network, remembers_a_dozen_options_of_a_socket)
{
    const int fd = make_socket(AF_INET), one = 1;
    int set = 0;

    while (set < 100 && sockets()->set_option(backend_state(), fd, IPPROTO_TCP, 1000 + set, &one,
                                              sizeof one) == 0)
        set++;
    CHECK_EQ(set, 12);
    CHECK_EQ(sockets()->set_option(backend_state(), fd, IPPROTO_TCP, 2000, &one, sizeof one),
             -ENOBUFS);
    CHECK_EQ(sockets()->set_option(backend_state(), fd, IPPROTO_TCP, 1000, &one, sizeof one), 0);
    close_fd(fd);
}

TEST(simulated_network, lets_wait_who_sends_or_receives_before_it_is_connected)
{
    struct probe connecting, receiving, sending;
    struct sockaddr_in address;
    const int listener = listen_tcp(1, &address), fd = make_socket(AF_INET);
    char byte;
    int other;

    CHECK_EQ(begin_connect(&connecting, fd, &address, sizeof address), IORA__OP_PENDING);
    CHECK_EQ(begin(&receiving, IORA__OP_RECV, fd, &byte, 1), IORA__OP_PENDING);
    CHECK_EQ(begin(&sending, IORA__OP_SEND, fd, "x", 1), IORA__OP_PENDING);
    CHECK_EQ(connect_to(fd, &address, sizeof address), -EALREADY);
    CHECK_EQ(settle(&connecting), 0);
    CHECK_EQ(settle(&sending), 1);
    other = perform(IORA__OP_ACCEPT, listener, NULL, 0);
    expect_text(other, "x");
    CHECK_EQ(send_text(other, "y"), 1);
    CHECK_EQ(settle(&receiving), 1);
    CHECK_EQ(byte, 'y');
    close_fd(fd);
    close_fd(other);
    close_fd(listener);
}

/* How much one end may send before the other has read. */
static int
room_between(const int ends[2])
{
    static const char bytes[256 * 1024];
    int sum = 0, rc;
    struct probe probe;

    while ((rc = at_once(&probe, IORA__OP_SEND, ends[0], bytes, sizeof bytes, IORA__OP_NOWAIT)) > 0)
        sum += rc;
    CHECK_EQ(rc, -EAGAIN);
    return sum;
}

TEST(simulated_network, has_the_room_between_two_ends_that_was_asked_for)
{
    const int size = 1000, none = 0;
    int ends[2];

    unix_pair(ends);
    CHECK_EQ(
        sockets()->set_option(backend_state(), ends[1], SOL_SOCKET, SO_RCVBUF, &size, sizeof size),
        0);
    CHECK_EQ(room_between(ends), 1000);
    close_ends(ends);
    unix_pair(ends);
    CHECK_EQ(
        sockets()->set_option(backend_state(), ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size),
        0);
    CHECK_EQ(room_between(ends), 1000);
    close_ends(ends);
    unix_pair(ends);
    CHECK_EQ(
        sockets()->set_option(backend_state(), ends[0], SOL_SOCKET, SO_SNDBUF, &none, sizeof none),
        0);
    CHECK_EQ(
        sockets()->set_option(backend_state(), ends[0], SOL_SOCKET, SO_RCVBUF, &none, sizeof none),
        0);
    CHECK_EQ(room_between(ends), 1);
    close_ends(ends);
}

/* ---- numbers that are used again ------------------------------------------------------------------ */

TEST_EVERYWHERE(closed_number, that_is_used_again_hears_nothing_of_the_old)
{
    struct probe probe;
    char byte = 0;
    int old[2], new[2];

    unix_pair(old);
    CHECK_EQ(begin(&probe, IORA__OP_RECV, old[1], &byte, 1), IORA__OP_PENDING);
    CHECK(iora_loop_run_once(test_loop(), iora_ns(0)) >= 0);
    CHECK_EQ(send_text(old[0], "for the old one"), 15);
    if (!probe.ended) /* where ops end late, sending has turned the loop */
        CHECK_EQ(cancel(&probe), -ECANCELED);
    close_ends(old);
    unix_pair(new);
    CHECK_EQ(new[0] + new[1], old[0] + old[1]);
    CHECK_EQ(begin(&probe, IORA__OP_RECV, new[1], &byte, 1), IORA__OP_PENDING);
    turn_some(test_loop());
    CHECK_EQ(probe.calls, 0);
    CHECK_EQ(send_text(new[0], "n"), 1);
    CHECK_EQ(settle(&probe), 1);
    CHECK_EQ(byte, 'n');
    close_ends(new);
}

static struct swapper {
    struct probe probes[2];
    struct probe fresh;
    int ends[2][2], spare[2];
    char bytes[2], byte;
    int swapped;
} swapper;

/* The first of two that are ready in the same wait puts a new socket in the place of the other. */
static void
swap_the_other(struct probe *probe)
{
    const int self = probe == &swapper.probes[0] ? 0 : 1;
    struct probe *const other = &swapper.probes[1 - self];
    struct probe closing;

    if (swapper.swapped++ > 0 || other->ended)
        return;
    CHECK_EQ(iora__op_cancel(test_loop(), &other->op), IORA__OP_DONE);
    note_end(other);
    CHECK_EQ(begin(&closing, IORA__OP_CLOSE, swapper.ends[1 - self][1], NULL, 0), IORA__OP_DONE);
    unix_pair(swapper.spare);
    CHECK_EQ(swapper.spare[0], swapper.ends[1 - self][1]);
    CHECK_EQ(begin(&swapper.fresh, IORA__OP_RECV, swapper.spare[0], &swapper.byte, 1),
             IORA__OP_PENDING);
    swapper.ends[1 - self][1] = swapper.spare[0];
}

TEST_IN(closed_number, that_is_used_again_in_the_same_wait_hears_nothing, TEST_SIM | TEST_EPOLL)
{
    for (int i = 0; i < 2; i++) {
        unix_pair(swapper.ends[i]);
        prepare(&swapper.probes[i], IORA__OP_RECV, swapper.ends[i][1], &swapper.bytes[i], 1);
        swapper.probes[i].then = swap_the_other;
        CHECK_EQ(submit(&swapper.probes[i]), IORA__OP_PENDING);
    }
    CHECK(iora_loop_run_once(test_loop(), iora_ns(0)) >= 0);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(send_text(swapper.ends[i][0], "x"), 1);
    turn_until(test_loop(), &swapper.swapped, 1);
    turn_some(test_loop());
    CHECK_EQ(swapper.swapped, 1);
    CHECK_EQ(swapper.fresh.calls, 0);
    CHECK_EQ(cancel(&swapper.fresh), -ECANCELED);
    for (int i = 0; i < 2; i++)
        close_ends(swapper.ends[i]);
    close_fd(swapper.spare[1]);
}

static void
stop_and_close(struct probe *probe)
{
    struct probe closing;

    if (iora__op_cancel(test_loop(), &probe->op) == IORA__OP_DONE)
        note_end(probe);
    CHECK_EQ(begin(&closing, IORA__OP_CLOSE, probe->op._fd, NULL, 0), IORA__OP_DONE);
}

TEST_IN(closed_number, may_be_closed_by_what_its_multi_op_calls, TEST_SIM | TEST_EPOLL)
{
    struct probe probe;
    int ends[2];

    for (int tcp = 0; tcp < 2; tcp++) {
        if (tcp)
            tcp_pair(ends);
        else
            unix_pair(ends);
        CHECK_EQ(send_text(ends[0], "bytes"), 5);
        prepare(&probe, IORA__OP_RECV, ends[1], NULL, 0);
        probe.op._flags = IORA__OP_MULTI;
        probe.then = stop_and_close;
        CHECK_EQ(submit(&probe), IORA__OP_PENDING);
        CHECK_EQ(settle(&probe), -ECANCELED);
        CHECK_EQ(probe.calls, 1);
        turn_some(test_loop());
        close_fd(ends[0]);
    }
}

/* ---- back-pressure -------------------------------------------------------------------------------- */

TEST_EVERYWHERE(back_pressure, loses_and_changes_no_byte)
{
    const bool slow = test_under_sanitizer() || test_under_valgrind();
    int ends[2];

    FOR_EACH_PAIR(ends)
    {
        pump_both_ways(ends, slow ? 8000000 : 16000000, 1);
    }
}
TEST_EXEMPT(back_pressure, loses_and_changes_no_byte, TEST_STINGY, "64 million bytes, one by one")

/* ---- descriptors of the user's -------------------------------------------------------------------- */

TEST_REAL(borrowed_op, works_and_changes_nothing)
{
    struct probe probe;
    char bytes[8];
    int ends[2];

    open_pair(ends);
    CHECK_EQ(begin_with(&probe, IORA__OP_RECV, ends[1], bytes, sizeof bytes, IORA__OP_BORROWED),
             IORA__OP_PENDING);
    turn_some(test_loop());
    CHECK_EQ(probe.calls, 0);
    CHECK_EQ(write(ends[0], "abc", 3), 3);
    CHECK_EQ(settle(&probe), 3);
    (void)begin_with(&probe, IORA__OP_SEND, ends[1], "de", 2, IORA__OP_BORROWED);
    CHECK_EQ(settle(&probe), 2);
    CHECK_EQ(read(ends[0], bytes, sizeof bytes), 2);
    CHECK_EQ(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
    CHECK_EQ(fcntl(ends[0], F_GETFL) & O_NONBLOCK, 0);
    CHECK_EQ(begin_with(&probe, IORA__OP_RECV, ends[1], bytes, 1, IORA__OP_BORROWED),
             IORA__OP_PENDING);
    CHECK_EQ(cancel(&probe), -ECANCELED);
    close_both(ends);
}

TEST_REAL(borrowed_op, that_sends_waits_for_room)
{
    static char drained[1 << 20];
    struct probe probe;
    int ends[2];

    open_pair(ends);
    fill(ends[0]);
    CHECK_EQ(begin_with(&probe, IORA__OP_SEND, ends[0], "x", 1, IORA__OP_BORROWED),
             IORA__OP_PENDING);
    turn_some(test_loop());
    CHECK_EQ(probe.calls, 0);
    while (recv(ends[1], drained, sizeof drained, MSG_DONTWAIT) > 0)
        continue;
    CHECK_EQ(settle(&probe), 1);
    close_both(ends);
}

TEST_REAL(borrowed_op, that_must_not_wait_says_so)
{
    struct probe probe;
    int ends[2];
    char byte;

    open_pair(ends);
    CHECK_EQ(at_once(&probe, IORA__OP_RECV, ends[0], &byte, 1, IORA__OP_BORROWED | IORA__OP_NOWAIT),
             -EAGAIN);
    CHECK_EQ(write(ends[1], "x", 1), 1);
    CHECK_EQ(at_once(&probe, IORA__OP_RECV, ends[0], &byte, 1, IORA__OP_BORROWED | IORA__OP_NOWAIT),
             1);
    close_both(ends);
}

TEST_REAL(borrowed_op, reads_and_writes_pipes)
{
    struct probe probe;
    char bytes[8];
    int ends[2];

    open_pipe(ends);
    CHECK_EQ(begin_with(&probe, IORA__OP_READ, ends[RD], bytes, sizeof bytes, IORA__OP_BORROWED),
             IORA__OP_PENDING);
    {
        struct probe writes;

        (void)begin_with(&writes, IORA__OP_WRITE, ends[WR], "pipe", 4, IORA__OP_BORROWED);
        CHECK_EQ(settle(&writes), 4);
    }
    CHECK_EQ(settle(&probe), 4);
    CHECK_EQ(begin_with(&probe, IORA__OP_READ, ends[RD], bytes, sizeof bytes, IORA__OP_BORROWED),
             IORA__OP_PENDING);
    (void)close(ends[WR]);
    CHECK_EQ(settle(&probe), 0);
    (void)close(ends[RD]);
}

TEST_REAL(borrowed_op, accepts_a_descriptor_of_the_users)
{
    struct sockaddr_in address = loopback(0);
    socklen_t length = sizeof address;
    const int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
    const int listener = socket(AF_INET, type, 0);
    const int client = socket(AF_INET, type, 0);
    iora_address peer = {0};
    struct probe accepting, connecting, probe;

    CHECK_EQ(bind(listener, (struct sockaddr *)&address, length), 0);
    CHECK_EQ(listen(listener, 1), 0);
    CHECK_EQ(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    CHECK_EQ(begin_with(&accepting, IORA__OP_ACCEPT, listener, &peer, 0, IORA__OP_BORROWED),
             IORA__OP_PENDING);
    prepare(&connecting, IORA__OP_CONNECT, client, &address, 0);
    connecting.op._detail = length;
    connecting.op._flags = IORA__OP_BORROWED;
    (void)submit(&connecting);
    CHECK_EQ(settle(&connecting), 0);
    CHECK(settle(&accepting) >= 0);
    CHECK_EQ(peer.length, sizeof address);
    CHECK_EQ(begin(&probe, IORA__OP_SEND, accepting.res, "x", 1), -EBADF); /* not ours */
    CHECK_EQ(write(accepting.res, "x", 1), 1);
    (void)close(accepting.res);
    (void)close(client);
    (void)close(listener);
}

TEST_REAL(borrowed_op, of_accepting_is_refused_where_it_would_block_the_loop)
{
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct probe probe;

    CHECK_EQ(listen(listener, 1), 0);
    CHECK_EQ(begin_with(&probe, IORA__OP_ACCEPT, listener, NULL, 0, IORA__OP_BORROWED), -EINVAL);
    (void)close(listener);
}

TEST(borrowed_op, is_nothing_that_a_simulation_can_do)
{
    struct probe probe;
    char byte;
    int ends[2];

    open_pair(ends);
    CHECK_EQ(begin_with(&probe, IORA__OP_RECV, ends[0], &byte, 1, IORA__OP_BORROWED), -ENOTSUP);
    CHECK_EQ(begin(&probe, IORA__OP_POLL, ends[0], NULL, 0), -ENOTSUP);
    CHECK_EQ(sockets()->adopt(backend_state(), ends[0]), -ENOTSUP);
    close_both(ends);
}

TEST_REAL(adopted_descriptor, is_served_and_given_back)
{
    struct probe probe;
    char bytes[8];
    int ends[2];

    open_pair(ends);
    CHECK_EQ(sockets()->adopt(backend_state(), ends[1]), 0);
    CHECK_EQ(begin(&probe, IORA__OP_RECV, ends[1], bytes, sizeof bytes), IORA__OP_PENDING);
    CHECK_EQ(write(ends[0], "abc", 3), 3);
    CHECK_EQ(settle(&probe), 3);
    sockets()->release(backend_state(), ends[1]);
    CHECK_EQ(begin(&probe, IORA__OP_RECV, ends[1], bytes, sizeof bytes), -EBADF);
    CHECK_EQ(sockets()->adopt(backend_state(), -1), -EBADF);
    close_both(ends);
}
