/* bench/net/echo_iora.c -- the echo server on iora: a task for each connection, which reads and writes.
 *
 *     echo_iora read       iora_read() into 2 KiB on the stack, as one writes it
 *     echo_iora tight      the same with 1 KiB. A message fills it, and a read that fills its
 *                          buffer does not tell whether more is there: the next one has to ask
 *     echo_iora exactly    iora_read_exactly() of 1 KiB, as a protocol does that knows its lengths */

#include "server.h"

#include <errno.h>
#include <iora.h>
#include <string.h>
#include <unistd.h>

static uint64_t bytes;

static int
serve(iora_stream *client, void *arg)
{
    char buffer[2 * SERVER_MESSAGE];
    int n, rc = 0;

    (void)arg;
    while (rc == 0 && (n = iora_read(client, buffer, sizeof(buffer))) > 0) {
        rc = iora_write(client, buffer, (size_t)n);
        bytes += (unsigned)n;
    }
    return rc;
}

static int
serve_tight(iora_stream *client, void *arg)
{
    char buffer[SERVER_MESSAGE];
    int n, rc = 0;

    (void)arg;
    while (rc == 0 && (n = iora_read(client, buffer, sizeof(buffer))) > 0) {
        rc = iora_write(client, buffer, (size_t)n);
        bytes += (unsigned)n;
    }
    return rc;
}

static int
serve_exactly(iora_stream *client, void *arg)
{
    char buffer[SERVER_MESSAGE];
    int rc = 0;

    (void)arg;
    while (rc == 0 && (rc = iora_read_exactly(client, buffer, sizeof(buffer))) == 0) {
        rc = iora_write(client, buffer, sizeof(buffer));
        bytes += sizeof(buffer);
    }
    return rc;
}

static int
until_the_input_ends(void)
{
    iora_stream *input;
    char unused[64];
    int rc;

    if ((rc = iora_stream_from_fd(STDIN_FILENO, NULL, &input)) < 0)
        return rc;
    while ((rc = iora_read(input, unused, sizeof(unused))) > 0)
        continue;
    iora_stream_abort(input);
    return rc;
}

static int
run(iora_client_fn *how)
{
    iora_server *server;
    int rc;

    if ((rc = iora_start_server_on(server_listen(), how, NULL, NULL, &server)) < 0)
        return rc;
    rc = until_the_input_ends();
    (void)iora_server_stop(server, iora_ms(0));
    return rc;
}
IORA_ASYNC(run, iora_client_fn *);

int
main(int argc, char **argv)
{
    iora_client_fn *how = serve;

    server_about(argc, argv, IORA_LINKAGE);
    if (argc > 1 && strcmp(argv[1], "tight") == 0)
        how = serve_tight;
    else if (argc > 1 && strcmp(argv[1], "exactly") == 0)
        how = serve_exactly;
    const int rc = iora_run(run, how);
    if (rc < 0) {
        errno = -rc;
        server_fail("iora");
    }
    server_report(bytes / SERVER_MESSAGE);
    return 0;
}
