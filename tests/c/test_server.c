/* tests/c/test_server.c -- servers. */
#include "streams.h"

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
