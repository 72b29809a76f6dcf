/* tests/c/test_stream.c -- streams: what is written is read, on every backend. */
#include "test.h"

#include <sys/socket.h>

static void
make_pair(iora_stream **a, iora_stream **b)
{
    CHECK_EQ(iora_stream_pair(a, b), 0);
}

static void
close_both_streams(iora_stream *a, iora_stream *b)
{
    CHECK_EQ(iora_stream_close(a), 0);
    CHECK_EQ(iora_stream_close(b), 0);
}

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
    iora_for_each(rc, iora_lines, &line, b)
    {
        (void)snprintf(expected, sizeof expected, "line %d\n", n++);
        CHECK_STR(line, expected);
    }
    CHECK_EQ(rc, 0);
    CHECK_EQ(n, 1000);
    CHECK(iora_at_eof(b));
    CHECK_EQ(iora_await(writer), 0);
    close_both_streams(a, b);
}

static int
echo(iora_stream *client, void *arg)
{
    char data[1024];
    int rc;

    (void)arg;
    while ((rc = iora_read(client, data, sizeof data)) > 0 &&
           (rc = iora_write(client, data, (size_t)rc)) == 0)
        continue;
    return rc;
}

TEST_TASK_EVERYWHERE(server, echoes)
{
    iora_server *server;
    iora_stream *stream;
    char data[16];

    CHECK_EQ(iora_start_server("127.0.0.1", 0, echo, NULL, NULL, &server), 0);
    CHECK_EQ(iora_open_connection("127.0.0.1", iora_server_port(server), NULL, &stream), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(iora_write(stream, "hello", 5), 0);
        CHECK_EQ(iora_read_exactly(stream, data, 5), 0);
        CHECK_EQ(memcmp(data, "hello", 5), 0);
    }
    CHECK_EQ(iora_server_clients(server), 1);
    CHECK_EQ(iora_stream_close(stream), 0);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

/* ---- between the end of a wait and what comes after it -------------------------------------------------- */

/* Two readers whose bytes come in one poll: the first to run does something to the second, whose read has
 * been granted a byte, but wants two. */
struct two {
    iora_stream *mine[2], *peers[2];
    iora_task readers[2];
    int begun;
    void (*fn)(struct two *two, int other);
};

static int
read_two_bytes(struct two *two, int index)
{
    char data[2];
    const int rc = iora_read_exactly(two->mine[index], data, 2);

    if (two->begun++ == 0) {
        CHECK_EQ(rc, 0);
        two->fn(two, 1 - index);
    }
    return rc;
}
IORA_ASYNC(read_two_bytes, struct two *, int);

/* The result of the one to whom it was done. */
static int
meet_between(struct two *two)
{
    int codes[2];

    for (int i = 0; i < 2; i++) {
        make_pair(&two->mine[i], &two->peers[i]);
        two->readers[i] = iora_go(read_two_bytes, two, i);
    }
    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK_EQ(iora_write(two->peers[0], "ab", 2), 0);
    CHECK_EQ(iora_write(two->peers[1], "a", 1), 0);
    for (int i = 0; i < 2; i++)
        codes[i] = iora_wait_for(iora_await(two->readers[i]), iora_s(5));
    CHECK_EQ(codes[0], 0);
    return codes[1];
}

static void
cancel_other(struct two *two, int other)
{
    CHECK_EQ(iora_cancel(two->readers[other]), 0);
}

TEST_TASK_EVERYWHERE(stream, read_of_several_receives_is_cancelled_between_them)
{
    struct two two = {.fn = cancel_other};
    char byte;

    CHECK_EQ(meet_between(&two), IORA_E_TASK_CANCELED);
    CHECK_EQ(iora_read_exactly(two.mine[1], &byte, 1), 0);
    CHECK_EQ(byte, 'a');
    close_both_streams(two.mine[0], two.peers[0]);
    close_both_streams(two.mine[1], two.peers[1]);
}

static void
close_other(struct two *two, int other)
{
    CHECK_EQ(iora_stream_close(two->mine[other]), 0);
}

TEST_TASK_EVERYWHERE(stream, read_of_several_receives_ends_when_the_stream_is_closed_between_them)
{
    struct two two = {.fn = close_other};

    CHECK_EQ(meet_between(&two), IORA_E_CLOSED);
    close_both_streams(two.mine[0], two.peers[0]);
    CHECK_EQ(iora_stream_close(two.peers[1]), 0);
}

/* ---- clients that are to end --------------------------------------------------------------------------------- */

static int requests;

static int
count_requests(iora_stream *client, void *arg)
{
    char data[16];
    int rc;

    (void)arg;
    while ((rc = iora_read(client, data, sizeof data)) > 0)
        requests += rc;
    return rc;
}

/* The kernel has the bytes, but nobody has looked yet: no turn of the loop lies between. */
TEST_TASK_REAL(server, lets_clients_read_what_has_arrived_without_anyone_having_looked)
{
    iora_server *server;
    iora_stream *stream;

    CHECK_EQ(iora_start_server("127.0.0.1", 0, count_requests, NULL, NULL, &server), 0);
    CHECK_EQ(iora_open_connection("127.0.0.1", iora_server_port(server), NULL, &stream), 0);
    while (iora_server_clients(server) == 0)
        CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK_EQ(send(iora_stream_fd(stream), "hello", 5, 0), 5);
    iora_server_close_clients(server);
    CHECK_EQ(iora_server_stop(server, iora_s(5)), 0);
    CHECK_EQ(requests, 5);
    CHECK_EQ(iora_stream_close(stream), 0);
}

/* The kernel chooses a port for the first address; on the second somebody else may have it. */
TEST_TASK_REAL(server, takes_another_port_if_the_chosen_one_is_taken_on_another_address)
{
    bool went_on = false;

    for (int n = 1; n < 40; n++) {
        struct iora__seam_counts counts;
        iora_server *server;
        int rc;

        iora__seam_arm_call(n, 0, false);
        rc = iora_start_server("localhost", 0, count_requests, NULL, NULL, &server);
        counts = iora__seam_disarm();
        if (counts.failures > 0 && counts.last_call == IORA__CALL_BIND) {
            CHECK_EQ(rc, 0);
            went_on = true;
        }
        if (rc == 0)
            CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
    }
    CHECK(went_on);
}
