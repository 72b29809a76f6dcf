/* tests/c/test_stream.c -- streams: what is written is read, on every backend. */
#include "test.h"

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
    CHECK_EQ(iora_read(b, data, sizeof data), 5);
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
