/* tests/c/test_server.c -- servers: clients, limits, all the ways to stop, paths, and what goes wrong outside. */
#include "chance.h"
#include "child.h"
#include "streams.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

static iora_server *
start(iora_client_fn *serve, void *arg)
{
    iora_server *server;

    CHECK_EQ(iora_start_server("127.0.0.1", 0, serve, arg, NULL, &server), 0);
    return server;
}

static iora_stream *
connect_to(const iora_server *server)
{
    iora_stream *stream;

    CHECK_EQ(iora_open_connection("127.0.0.1", iora_server_port(server), NULL, &stream), 0);
    return stream;
}

static void
check_echo(iora_stream *stream, const char *text)
{
    put(stream, text);
    take(stream, text);
}

static void
wait_for_clients(const iora_server *server, size_t n)
{
    for (int i = 0; i < test_patience_ms() && iora_server_clients(server) != n; i++)
        let_all_run();
    CHECK_EQ(iora_server_clients(server), n);
}

/* ---- serving ------------------------------------------------------------------------------------ */

TEST_TASK_EVERYWHERE(server, echoes)
{
    iora_server *const server = start(echo, NULL);
    iora_stream *stream = connect_to(server);

    for (int i = 0; i < 3; i++)
        check_echo(stream, "hello");
    CHECK_EQ(iora_server_clients(server), 1);
    CHECK_EQ(iora_stream_close(stream), 0);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

TEST_TASK_EVERYWHERE(server, serves_many_clients_at_once)
{
    enum { N = 200 };
    iora_server *const server = start(echo, NULL);
    iora_stream *streams[N];

    for (int i = 0; i < N; i++)
        streams[i] = connect_to(server);
    for (int i = 0; i < N; i++) {
        char text[16];

        (void)snprintf(text, sizeof text, "client %d", i);
        put(streams[i], text);
    }
    for (int i = N - 1; i >= 0; i--) {
        char text[16];

        (void)snprintf(text, sizeof text, "client %d", i);
        take(streams[i], text);
    }
    CHECK_EQ(iora_server_clients(server), N);
    for (int i = 0; i < N; i++)
        CHECK_EQ(iora_stream_close(streams[i]), 0);
    wait_for_clients(server, 0);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

/* What the client function is given, and what of it is told. */
struct behaviour {
    int rc;      /* what it returns */
    bool closes; /* it closes its stream itself */
    bool aborts; /* ... or aborts it */
    int served;
};

static int
behave(iora_stream *client, void *arg)
{
    struct behaviour *const how = arg;
    char byte;

    how->served++;
    if (iora_read(client, &byte, 1) == 1)
        (void)iora_write(client, &byte, 1);
    if (how->closes)
        CHECK_EQ(iora_stream_close(client), 0);
    if (how->aborts)
        iora_stream_abort(client);
    return how->rc;
}

static void
check_behaviour(struct behaviour how, const char *told)
{
    iora_server *const server = start(behave, &how);

    for (int i = 0; i < 2; i++) {
        iora_stream *const stream = connect_to(server);

        put(stream, "x");
        take(stream, "x");
        take_end(stream);
        CHECK_EQ(iora_stream_close(stream), 0);
    }
    CHECK_EQ(how.served, 2);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
    if (told != NULL)
        CHECK(test_logged(told));
    else
        CHECK_STR(test_log(), "");
    test_clear_log();
}

TEST_TASK_EVERYWHERE(server, closes_the_stream_when_its_client_function_returns)
{
    check_behaviour((struct behaviour){.rc = 0}, NULL);
    check_behaviour((struct behaviour){.rc = 17}, NULL);
}

TEST_TASK_EVERYWHERE(server, lets_the_client_function_close_its_stream_itself)
{
    check_behaviour((struct behaviour){.closes = true}, NULL);
    check_behaviour((struct behaviour){.aborts = true}, NULL);
}

TEST_TASK_EVERYWHERE(server, tells_the_error_hook_of_failures_but_those_that_any_peer_can_cause)
{
    check_behaviour((struct behaviour){.rc = -ECONNRESET}, NULL);
    check_behaviour((struct behaviour){.rc = -EPIPE}, NULL);
    check_behaviour((struct behaviour){.rc = IORA_E_INCOMPLETE}, NULL);
    check_behaviour((struct behaviour){.rc = -EIO}, "EIO");
    check_behaviour((struct behaviour){.rc = IORA_E_LIMIT, .closes = true}, "IORA_E_LIMIT");
}

TEST_TASK_EVERYWHERE(server, is_not_told_of_a_peer_who_resets)
{
    iora_server *const server = start(echo, NULL);

    for (int i = 0; i < 10; i++) {
        iora_stream *const stream = connect_to(server);

        check_echo(stream, "x");
        put(stream, "the answer to this");
        let_all_run(); /* is never read */
        iora_stream_abort(stream);
    }
    wait_for_clients(server, 0);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

static int
count_served(iora_stream *client, void *arg)
{
    char byte;

    ++*(int *)arg;
    return iora_read(client, &byte, 1);
}

TEST_TASK_EVERYWHERE(server, gives_its_options_to_the_clients_streams)
{
    iora_server_options options = IORA_SERVER_OPTIONS_INIT;
    iora_server *server;
    iora_stream *stream;
    int served = 0;

    options.line_limit = 15;
    CHECK_EQ(iora_start_server("127.0.0.1", 0, count_served, &served, &options, &server), -EINVAL);
    options.line_limit = 0;
    options.family = AF_UNIX;
    CHECK_EQ(iora_start_server("127.0.0.1", 0, count_served, &served, &options, &server), -EINVAL);
    options.family = 0;
    options.backlog = -1;
    CHECK_EQ(iora_start_server("127.0.0.1", 0, count_served, &served, &options, &server), -EINVAL);
    options.backlog = 0;
    options.mode = 01000;
    CHECK_EQ(iora_start_server("127.0.0.1", 0, count_served, &served, &options, &server), -EINVAL);
    options.mode = 0;
    options.size--;
    CHECK_EQ(iora_start_server("127.0.0.1", 0, count_served, &served, &options, &server), -EINVAL);
    options.size++;
    CHECK_EQ(iora_start_server("127.0.0.1", 0, NULL, NULL, &options, &server), -EINVAL);
    options.stack_size = 1 << 20;
    CHECK_EQ(iora_start_server("127.0.0.1", 0, count_served, &served, &options, &server), 0);
    stream = connect_to(server);
    put(stream, "x");
    take_end(stream);
    CHECK_EQ(iora_stream_close(stream), 0);
    CHECK_EQ(served, 1);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

TEST_TASK_EVERYWHERE(server, keeps_a_port_that_is_taken_from_another)
{
    iora_server *const server = start(echo, NULL);
    iora_server *other;

    CHECK_EQ(iora_start_server("127.0.0.1", iora_server_port(server), echo, NULL, NULL, &other),
             -EADDRINUSE);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
    CHECK_EQ(iora_start_server("127.0.0.1", 0, echo, NULL, NULL, &other), 0);
    CHECK_EQ(iora_server_stop(other, iora_s(1)), 0);
}

TEST_TASK_REAL(server, shares_a_port_if_both_say_so)
{
    iora_server_options options = IORA_SERVER_OPTIONS_INIT;
    iora_server *one, *other;

    options.reuse_port = true;
    CHECK_EQ(iora_start_server("127.0.0.1", 0, echo, NULL, &options, &one), 0);
    CHECK_EQ(iora_start_server("127.0.0.1", iora_server_port(one), echo, NULL, &options, &other),
             0);
    CHECK_EQ(iora_server_port(one), iora_server_port(other));
    for (int i = 0; i < 20; i++) {
        iora_stream *const stream = connect_to(one);

        check_echo(stream, "x");
        CHECK_EQ(iora_stream_close(stream), 0);
    }
    CHECK_EQ(iora_server_stop(one, iora_s(1)), 0);
    CHECK_EQ(iora_server_stop(other, iora_s(1)), 0);
}

/* ---- addresses -------------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(server, listens_on_all_addresses_of_a_host_with_one_port)
{
    iora_address address;
    iora_server *server;
    size_t n;

    CHECK_EQ(iora_start_server("localhost", 0, echo, NULL, NULL, &server), 0);
    n = iora_server_address_count(server);
    CHECK(n >= 1);
    CHECK(iora_server_port(server) != 0);
    for (size_t i = 0; i < n; i++) {
        char host[64], text[IORA_ADDRESS_TEXT];
        iora_stream *stream;

        CHECK_EQ(iora_server_address(server, i, &address), 0);
        CHECK_EQ(iora_address_port(&address), iora_server_port(server));
        (void)iora_address_format(&address, text, sizeof text);
        (void)snprintf(host, sizeof host, "%s", text[0] == '[' ? "::1" : "127.0.0.1");
        CHECK_EQ(iora_open_connection(host, iora_server_port(server), NULL, &stream), 0);
        check_echo(stream, host);
        CHECK_EQ(iora_stream_close(stream), 0);
    }
    CHECK_EQ(iora_server_address(server, n, &address), -EINVAL);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

/* The port that the kernel chose for one address was somebody's at the other. */
TEST_TASK_REAL(server, chooses_another_port_if_the_first_is_not_free_everywhere)
{
    int variant = 0, binds = 0;

    while (iora__seam_errno(IORA__CALL_BIND, variant) != EADDRINUSE)
        variant++;
    for (long n = 1; n < 40; n++) {
        struct iora__seam_counts counts;
        iora_server *server;
        int rc;

        iora__seam_arm_call(n, variant, false);
        rc = iora_start_server("localhost", 0, echo, NULL, NULL, &server);
        counts = iora__seam_disarm();
        if (counts.failures > 0 && counts.last_call == IORA__CALL_BIND) {
            CHECK_EQ(rc, 0);
            binds++;
        }
        if (rc == 0)
            CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
    }
    CHECK(binds > 0);
    test_expect_log();
}

TEST_TASK_EVERYWHERE(server, without_a_host_listens_on_every_address)
{
    iora_server *server;
    iora_stream *stream;

    CHECK_EQ(iora_start_server(NULL, 0, echo, NULL, NULL, &server), 0);
    stream = connect_to(server);
    check_echo(stream, "x");
    CHECK_EQ(iora_stream_close(stream), 0);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

TEST_TASK_EVERYWHERE(server, on_a_name_that_is_none_is_refused)
{
    iora_server *server;

    CHECK_EQ(CANCELLED(iora_start_server("127.0.0.1", 0, echo, NULL, NULL, &server)), -ECANCELED);
    CHECK_EQ(iora_start_server("192.0.2.1", 0, echo, NULL, NULL, &server) ==
                 (test_where() == TEST_SIM ? 0 : -EADDRNOTAVAIL),
             true);
    if (test_where() == TEST_SIM)
        CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

static int
start_pipe_server(int fd)
{
    iora_server *server;

    return iora_start_server_on(fd, echo, NULL, NULL, &server);
}

TEST_TASK_REAL(server, on_a_pipe_is_refused_and_the_pipe_stays)
{
    int ends[2];

    CHECK_EQ(pipe(ends), 0);
    CHECK_EQ(start_pipe_server(ends[0]), -EINVAL);
    CHECK_EQ(write(ends[1], "x", 1), 1);
    CHECK_EQ(close(ends[0]), 0);
    CHECK_EQ(close(ends[1]), 0);
}

TEST_TASK_EVERYWHERE(server, of_no_family_is_refused)
{
    iora_server_options options = IORA_SERVER_OPTIONS_INIT;
    iora_server *server;

    options.family = AF_UNIX;
    CHECK_EQ(iora_start_server("127.0.0.1", 0, echo, NULL, &options, &server), -EINVAL);
    CHECK_EQ(iora_start_unix_server("@none", echo, NULL, &options, &server), -EINVAL);
    options.family = AF_INET;
    options.size = 1;
    CHECK_EQ(iora_start_server("127.0.0.1", 0, echo, NULL, &options, &server), -EINVAL);
}

/* It was started, and paused at each client. */
TEST_TASK_EVERYWHERE(server, whose_clients_can_have_no_such_stack_is_refused)
{
    static const size_t sizes[] = {100, SIZE_MAX};
    iora_server_options options = IORA_SERVER_OPTIONS_INIT;
    iora_server *server;

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        options.stack_size = sizes[i];
        CHECK_EQ(iora_start_server("127.0.0.1", 0, echo, NULL, &options, &server), -EINVAL);
    }
    options.stack_size = (size_t)16 << 10;
    CHECK_EQ(iora_start_server("127.0.0.1", 0, echo, NULL, &options, &server), 0);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

static void
stop_in_callback(void *arg)
{
    CHECK_EQ(iora_server_stop(arg, iora_s(1)), IORA_E_NO_TASK);
}

TEST_TASK_EVERYWHERE(server, is_stopped_by_a_task)
{
    iora_server *const server = start(echo, NULL);
    iora_handle handle = {0};

    CHECK_EQ(iora_call_soon(test_loop(), &handle, stop_in_callback, server), 0);
    let_all_run();
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

static int
start_nowhere(void)
{
    iora_server *server;

    return iora_start_unix_server("@nowhere", echo, NULL, NULL, &server);
}

static int
wait_nowhere(void)
{
    return iora_server_wait_closed(NULL);
}

TEST(server, needs_a_task)
{
    check_needs_a_task(start_nowhere);
    check_needs_a_task(wait_nowhere);
}

/* ---- a crowd ------------------------------------------------------------------------------------------ */

static int most, now_served;

static int
serve_until_told(iora_stream *client, void *arg)
{
    char byte;

    (void)arg;
    now_served++;
    most = most > now_served ? most : now_served;
    while (iora_read(client, &byte, 1) == 1)
        (void)iora_write(client, &byte, 1);
    now_served--;
    return 0;
}

TEST_TASK_EVERYWHERE(server, serves_no_more_clients_at_a_time_than_its_maximum)
{
    enum { MAX = 3, N = 12 };
    iora_server_options options = IORA_SERVER_OPTIONS_INIT;
    iora_stream *streams[N];
    iora_server *server;

    options.max_clients = MAX;
    CHECK_EQ(iora_start_server("127.0.0.1", 0, serve_until_told, NULL, &options, &server), 0);
    for (int i = 0; i < N; i++)
        streams[i] = connect_to(server);
    for (int i = 0; i < N; i++) {
        check_echo(streams[i], "x");
        CHECK(iora_server_clients(server) <= MAX);
        CHECK_EQ(iora_stream_close(streams[i]), 0);
    }
    CHECK_EQ(most, MAX);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

/* Each of the acceptors saw that one more client was allowed, and each took one. */
TEST_TASK_EVERYWHERE(server, with_several_addresses_has_one_maximum_for_all)
{
    static const char *const hosts[] = {"127.0.0.1", "::1"};
    iora_server_options options = IORA_SERVER_OPTIONS_INIT;
    iora_stream *streams[6];
    iora_server *server;

    options.max_clients = 1;
    CHECK_EQ(iora_start_server("localhost", 0, serve_until_told, NULL, &options, &server), 0);
    if (iora_server_address_count(server) < 2)
        test_skip("localhost has one address only");
    let_all_run();
    for (int i = 0; i < 6; i++)
        CHECK_EQ(iora_open_connection(hosts[i % 2], iora_server_port(server), NULL, &streams[i]),
                 0);
    for (int i = 0; i < 6; i++)
        put_alone(streams[i], "x");
    for (int left = 6; left > 0; left--) { /* the one who is served leaves */
        int served = -1;

        for (int round = 0; served < 0; round++) {
            CHECK(round < test_patience_ms());
            for (int i = 0; i < 6; i++) {
                char byte;

                if (streams[i] != NULL &&
                    iora_wait_for(iora_read(streams[i], &byte, 1), iora_us(100)) == 1)
                    served = i;
            }
        }
        CHECK_EQ(iora_stream_close(streams[served]), 0);
        streams[served] = NULL;
    }
    CHECK_EQ(most, 1);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

static iora_event leaves = IORA_EVENT_INIT;

static int
leave_at_once(iora_stream *client, void *arg)
{
    (void)client;
    (void)arg;
    iora_event_set(&leaves);
    return 0;
}

/* The acceptor had been told that there was room, was cancelled before it went on, and accepted all the same. */
TEST_TASK_EVERYWHERE(server, that_is_closed_as_a_client_makes_room_ends)
{
    iora_server_options options = IORA_SERVER_OPTIONS_INIT;
    iora_server *server;
    iora_stream *stream;

    options.max_clients = 1;
    CHECK_EQ(iora_start_server("127.0.0.1", 0, leave_at_once, NULL, &options, &server), 0);
    stream = connect_to(server);
    CHECK_EQ(iora_event_wait(&leaves), 0);
    iora_server_close(server);
    CHECK_EQ(iora_server_wait_closed(server), 0);
    CHECK_EQ(iora_stream_close(stream), 0);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

/* Of two acceptors each had room for one when it began to wait; the second one's client is accepted and waits. */
TEST_TASK(server, that_is_closed_lets_go_of_whom_it_accepted_and_had_no_room_for)
{
    iora_server_options options = IORA_SERVER_OPTIONS_INIT;
    iora_server *server;
    iora_stream *first, *second;
    char byte;

    options.max_clients = 1;
    CHECK_EQ(iora_start_server("localhost", 0, echo, NULL, &options, &server), 0);
    CHECK_EQ(iora_server_address_count(server), 2);
    CHECK_EQ(iora_open_connection("127.0.0.1", iora_server_port(server), NULL, &first), 0);
    CHECK_EQ(iora_open_connection("::1", iora_server_port(server), NULL, &second), 0);
    let_all_run();
    CHECK_EQ(iora_server_clients(server), 1);
    iora_server_close(server);
    CHECK_EQ(iora_wait_for(iora_read(second, &byte, 1), iora_s(1)), 0);
    check_echo(first, "x");
    CHECK_EQ(iora_stream_close(first), 0);
    CHECK_EQ(iora_stream_close(second), 0);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

/* ---- closing --------------------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(server, that_is_closed_serves_its_clients_to_their_end)
{
    iora_server *const server = start(echo, NULL);
    iora_stream *const stream = connect_to(server);
    const uint16_t port = iora_server_port(server);
    iora_stream *other;

    check_echo(stream, "before");
    iora_server_close(server);
    iora_server_close(server);
    let_all_run();
    CHECK_EQ(iora_open_connection("127.0.0.1", port, NULL, &other), -ECONNREFUSED);
    check_echo(stream, "after");
    CHECK_EQ(iora_wait_for(iora_server_wait_closed(server), iora_ms(2)), -ETIMEDOUT);
    CHECK_EQ(iora_stream_close(stream), 0);
    CHECK_EQ(iora_server_wait_closed(server), 0);
    CHECK_EQ(iora_server_wait_closed(server), 0);
    CHECK_EQ(CANCELLED(iora_server_wait_closed(server)), -ECANCELED);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

static int
wait_closed(iora_server *server)
{
    return iora_server_wait_closed(server);
}
IORA_ASYNC(wait_closed, iora_server *);

TEST_TASK_EVERYWHERE(server, wait_closed_wakes_all_who_wait)
{
    iora_server *const server = start(echo, NULL);
    iora_task waiters[3];

    for (int i = 0; i < 3; i++)
        waiters[i] = iora_go(wait_closed, server);
    let_all_run();
    CHECK(!iora_task_is_done(waiters[0]));
    iora_server_close(server);
    CHECK_EQ(iora_gather_n(waiters, 3), 0);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

static int
answer_slowly(iora_stream *client, void *arg)
{
    char *line;
    int rc;

    (void)arg;
    while ((rc = iora_readline(client, &line)) > 0) {
        if ((rc = iora_sleep(iora_ms(20))) < 0 || (rc = iora_write(client, "answer\n", 7)) < 0)
            return rc;
    }
    return rc;
}

TEST_TASK_EVERYWHERE(server, close_clients_lets_each_answer_what_has_arrived)
{
    iora_server *const server = start(answer_slowly, NULL);
    iora_stream *const busy = connect_to(server), *const idle = connect_to(server),
                       *const half = connect_to(server);
    char *line;

    put(busy, "1\n2\n3\n");
    put(half, "not a whole li");
    wait_for_clients(server, 3);
    let_all_run();
    let_all_run();
    iora_server_close(server);
    iora_server_close_clients(server);
    take_end(idle);
    for (int i = 0; i < 3; i++)
        CHECK_VIEW(iora_readline(busy, &line), line, "answer\n");
    take_end(busy);
    CHECK_VIEW(iora_readline(half, &line), line, "answer\n");
    take_end(half);
    CHECK_EQ(iora_server_wait_closed(server), 0);
    CHECK_EQ(iora_stream_close(busy), 0);
    CHECK_EQ(iora_stream_close(idle), 0);
    CHECK_EQ(iora_stream_close(half), 0);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

static int
count_bytes(iora_stream *client, void *arg)
{
    char data[16];
    int rc;

    while ((rc = iora_read(client, data, sizeof data)) > 0)
        *(int *)arg += rc;
    return rc;
}

/* The kernel has the bytes, but nobody has looked yet: no turn of the loop lies between. */
TEST_TASK_REAL(server, close_clients_lets_each_read_what_nobody_has_looked_for)
{
    int count = 0;
    iora_server *const server = start(count_bytes, &count);
    iora_stream *const stream = connect_to(server);

    wait_for_clients(server, 1);
    let_all_run();
    CHECK_EQ(send(iora_stream_fd(stream), "hello", 5, 0), 5);
    iora_server_close_clients(server);
    CHECK_EQ(iora_server_stop(server, iora_s(5)), 0);
    CHECK_EQ(count, 5);
    CHECK_EQ(iora_stream_close(stream), 0);
}

/* Those who come later are not meant. */
TEST_TASK_EVERYWHERE(server, close_clients_of_one_that_listens_on_concerns_those_who_are_there)
{
    iora_server *const server = start(echo, NULL);
    iora_stream *const early = connect_to(server);
    iora_stream *late;

    check_echo(early, "x");
    iora_server_close_clients(server);
    take_end(early);
    late = connect_to(server);
    check_echo(late, "x");
    CHECK_EQ(iora_stream_close(early), 0);
    CHECK_EQ(iora_stream_close(late), 0);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

static int
note_end(iora_stream *client, void *arg)
{
    char byte;
    const int rc = iora_read(client, &byte, 1);

    test_trace("%s", iora_err_name(rc));
    (void)arg;
    return rc;
}

TEST_TASK_EVERYWHERE(server, abort_clients_cancels_their_tasks)
{
    iora_server *const server = start(note_end, NULL);
    iora_stream *const one = connect_to(server), *const two = connect_to(server);
    iora_stream *three;

    wait_for_clients(server, 2);
    let_all_run();
    iora_server_abort_clients(server);
    take_end(one);
    take_end(two);
    CHECK_TRACE("ECANCELED ECANCELED");
    three = connect_to(server);
    put(three, "x");
    take_end(three);
    CHECK_TRACE("ECANCELED ECANCELED OK");
    CHECK_EQ(iora_stream_close(one), 0);
    CHECK_EQ(iora_stream_close(two), 0);
    CHECK_EQ(iora_stream_close(three), 0);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

/* ---- stopping ---------------------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(server, stop_of_none_is_allowed)
{
    CHECK_EQ(iora_server_stop(NULL, iora_s(1)), 0);
}

TEST_TASK_EVERYWHERE(server, stop_lets_requests_be_answered)
{
    iora_server *const server = start(answer_slowly, NULL);
    iora_stream *const stream = connect_to(server);
    char *line;

    put(stream, "request\n");
    wait_for_clients(server, 1);
    let_all_run();
    let_all_run();
    CHECK_EQ(iora_server_stop(server, iora_s(5)), 0);
    CHECK_VIEW(iora_readline(stream, &line), line, "answer\n");
    take_end(stream);
    CHECK_EQ(iora_stream_close(stream), 0);
}

static int
sleep_for_an_hour(iora_stream *client, void *arg)
{
    (void)client;
    (void)arg;
    return iora_sleep(iora_s(3600));
}

TEST_TASK_EVERYWHERE(server, stop_aborts_who_takes_longer_than_the_grace)
{
    iora_server *const server = start(sleep_for_an_hour, NULL);
    iora_stream *const stream = connect_to(server);
    long long began_ms;

    wait_for_clients(server, 1);
    began_ms = test_ms();
    CHECK_EQ(iora_server_stop(server, iora_ms(10)), -ETIMEDOUT);
    CHECK(test_ms() - began_ms >= 10 && test_ms() - began_ms < test_patience_ms());
    take_end(stream);
    CHECK_EQ(iora_stream_close(stream), 0);
}

/* It waited for ever: the grace was over before the waiting began, and nothing ended it then. */
TEST_TASK_EVERYWHERE(server, stop_without_grace_aborts_at_once)
{
    iora_server *const server = start(sleep_for_an_hour, NULL);
    iora_stream *const stream = connect_to(server);

    wait_for_clients(server, 1);
    CHECK_EQ(iora_server_stop(server, iora_s(0)), -ETIMEDOUT);
    take_end(stream);
    CHECK_EQ(iora_stream_close(stream), 0);
}

TEST_TASK_EVERYWHERE(server, stop_without_grace_returns_0_if_nobody_had_to_be_aborted)
{
    CHECK_EQ(iora_server_stop(start(echo, NULL), iora_s(0)), 0);
    CHECK_EQ(iora_server_stop(start(echo, NULL), iora_s(-1)), 0);
}

TEST_TASK_EVERYWHERE(server, stop_works_in_every_order)
{
    for (int how = 0; how < 32; how++) {
        iora_server *const server = start(how & 16 ? sleep_for_an_hour : echo, NULL);
        iora_stream *const stream = connect_to(server);
        int rc;

        if (how & 1)
            let_all_run();
        if (how & 2)
            iora_server_close_clients(server);
        if (how & 4)
            iora_server_close(server);
        if (how & 8)
            iora_server_abort_clients(server);
        rc = iora_server_stop(server, how & 16 ? iora_ms(2) : iora_s(10));
        CHECK(rc == 0 || (rc == -ETIMEDOUT && how & 16));
        iora_stream_abort(stream);
    }
}

TEST_TASK_EVERYWHERE(server, stop_that_is_cancelled_aborts_at_once_and_completes)
{
    iora_server *server = start(sleep_for_an_hour, NULL);
    iora_stream *stream = connect_to(server);

    wait_for_clients(server, 1);
    CHECK_EQ(CANCELLED(iora_server_stop(server, iora_s(1000))), -ECANCELED);
    take_end(stream);
    CHECK_EQ(iora_stream_close(stream), 0);

    server = start(sleep_for_an_hour, NULL);
    stream = connect_to(server);
    wait_for_clients(server, 1);
    CHECK_EQ(iora_wait_for(iora_server_stop(server, iora_s(1000)), iora_ms(5)), -ETIMEDOUT);
    take_end(stream);
    CHECK_EQ(iora_stream_close(stream), 0);
}

TEST_TASK_EVERYWHERE(server, stop_at_once_after_the_start_works)
{
    for (int i = 0; i < 3; i++)
        CHECK_EQ(iora_server_stop(start(echo, NULL), iora_s(1)), 0);
}

static int
stops(iora_server *server, iora_duration grace)
{
    return iora_server_stop(server, grace);
}
IORA_ASYNC(stops, iora_server *, iora_duration);

/* The first of them freed it, and then the second did. */
TEST_TASK_EVERYWHERE(server, that_two_tasks_stop_goes_with_the_last_of_them)
{
    iora_server *server = start(echo, NULL);
    iora_task first, second;
    iora_stream *stream;

    CHECK_EQ(iora_gather(iora_go(stops, server, iora_s(1)), iora_go(stops, server, iora_s(1))), 0);

    for (int cancels = 0; cancels < 2; cancels++) {
        server = start(sleep_for_an_hour, NULL);
        stream = connect_to(server);
        wait_for_clients(server, 1);
        first = iora_go(stops, server, iora_s(1000));
        second = iora_go(stops, server, cancels ? iora_s(1000) : iora_ms(2));
        let_all_run();
        if (cancels)
            CHECK_EQ(iora_cancel(second), 0);
        CHECK_EQ(iora_await(second), cancels ? IORA_E_TASK_CANCELED : -ETIMEDOUT);
        CHECK_EQ(iora_await(first), -ETIMEDOUT); /* a client was aborted */
        take_end(stream);
        CHECK_EQ(iora_stream_close(stream), 0);
    }
}

static iora_server *own;

static int
stop_from_inside(iora_stream *client, void *arg)
{
    (void)client;
    *(int *)arg = iora_server_stop(own, iora_s(1));
    iora_server_close(own); /* that it may */
    return 0;
}

TEST_TASK_EVERYWHERE(server, stop_by_a_client_would_wait_for_itself)
{
    iora_stream *stream;
    int rc = 0;

    own = start(stop_from_inside, &rc);
    stream = connect_to(own);
    CHECK_EQ(iora_server_wait_closed(own), 0);
    CHECK_EQ(rc, -EDEADLK);
    CHECK_EQ(iora_stream_close(stream), 0);
    CHECK_EQ(iora_server_stop(own, iora_s(1)), 0);
}

static int
wait_from_inside(iora_stream *client, void *arg)
{
    (void)client;
    *(int *)arg = iora_server_wait_closed(own);
    return 0;
}

TEST_TASK_EVERYWHERE(server, wait_closed_by_a_client_would_wait_for_itself)
{
    iora_stream *stream;
    int rc = 0;
    char byte;

    own = start(wait_from_inside, &rc);
    stream = connect_to(own);
    CHECK_EQ(iora_read(stream, &byte, 1), 0); /* it is served, and left */
    CHECK_EQ(rc, -EDEADLK);
    CHECK_EQ(iora_stream_close(stream), 0);
    CHECK_EQ(iora_server_stop(own, iora_s(1)), 0);
}

/* Clients who do all sorts of things, on both sides, and a server that is told all sorts of things, until it is
 * stopped at some moment, or its owner ends, or is cancelled. It ends, in time, whatever they do. */
static int
serve_somehow(iora_stream *client, void *arg)
{
    static const int codes[] = {0, 5, -EPIPE, -ECONNRESET, IORA_E_INCOMPLETE};
    char data[2000], *line;
    int rc = 0;

    (void)arg;
    for (int i = below(6); i > 0 && rc >= 0; i--) {
        switch (below(6)) {
        case 0:
            rc = iora_sleep(iora_us(below(5000)));
            break;
        case 1:
            rc = iora_readline(client, &line);
            break;
        case 2:
            rc = iora_wait_for(iora_read_exactly(client, data, 100), iora_us(below(2000)));
            rc = rc == -ETIMEDOUT ? 0 : rc;
            break;
        case 3:
            memset(data, 'x', sizeof data);
            rc = iora_write(client, data, sizeof data);
            break;
        case 4:
            rc = iora_cleanup(iora_flush(client), iora_ms(2)); /* heeds no cancel */
            break;
        default:
            rc = iora_write_eof(client);
            break;
        }
    }
    if (one_in(4))
        (void)iora_stream_close(client);
    else if (one_in(4))
        iora_stream_abort(client);
    return codes[below(5)];
}

static int
be_a_client_somehow(uint16_t port)
{
    iora_stream *stream;
    char data[3000];
    int rc = 0;

    if (iora_open_connection("127.0.0.1", port, NULL, &stream) < 0)
        return 0;
    for (int i = below(8); i > 0 && rc >= 0; i--) {
        switch (below(4)) {
        case 0:
            rc = iora_sleep(iora_us(below(5000)));
            break;
        case 1:
            rc = iora_wait_for(iora_read(stream, data, sizeof data), iora_us(below(3000)));
            rc = rc == -ETIMEDOUT ? 0 : rc;
            break;
        case 2:
            memset(data, '\n', sizeof data);
            rc = iora_write(stream, data, (size_t)below(sizeof data));
            break;
        default:
            rc = iora_write_eof(stream);
            break;
        }
    }
    if (one_in(2))
        iora_stream_abort(stream);
    else
        (void)iora_cleanup(iora_stream_close(stream), iora_s(10));
    return 0;
}
IORA_ASYNC(be_a_client_somehow, uint16_t);

static int
run_a_server_somehow(void)
{
    iora_server_options options = IORA_SERVER_OPTIONS_INIT;
    iora_server *server;
    long long began_ms;
    bool was_closed = false;
    int rc;

    options.max_clients = one_in(2) ? 0 : (size_t)below(4) + 1;
    options.write_limit = one_in(2) ? 0 : 100;
    options.backlog = below(3);
    rc = iora_start_server("127.0.0.1", 0, serve_somehow, NULL, &options, &server);
    if (rc == -ECANCELED)
        return rc;
    MUST_EQ(rc, 0);
    for (int i = below(20); i > 0; i--) {
        (void)iora_go(be_a_client_somehow, iora_server_port(server));
        if (one_in(4))
            (void)iora_sleep(iora_us(below(3000)));
        if (one_in(10))
            iora_server_close_clients(server);
        if (one_in(10))
            iora_server_abort_clients(server);
        if (one_in(20)) {
            iora_server_close(server);
            was_closed = true;
        }
        if (was_closed && one_in(4))
            (void)iora_wait_for(iora_server_wait_closed(server), iora_ms(1));
    }
    if (one_in(4))
        return 0; /* its owner ends */
    began_ms = iora_to_ns(iora_between((iora_instant){0}, iora_now())) / 1000000;
    rc = iora_server_stop(server, iora_us(below(8000)));
    MUST(rc == 0 || rc == -ETIMEDOUT || rc == -ECANCELED);
    MUST(iora_to_ns(iora_between((iora_instant){0}, iora_now())) / 1000000 - began_ms < 6000);
    return 0;
}
IORA_ASYNC(run_a_server_somehow);

static int
run_servers_somehow(void)
{
    for (int i = 0; i < 3; i++) {
        const iora_task owner = iora_go(run_a_server_somehow);

        if (one_in(3)) {
            MUST_EQ(iora_sleep(iora_us(below(9000))), 0);
            (void)iora_cancel(owner);
        }
        const int rc = iora_await(owner);

        MUST(rc == 0 || rc == IORA_E_TASK_CANCELED);
    }
    return 0;
}
IORA_ASYNC(run_servers_somehow);

TEST(server, ends_whatever_its_clients_do_and_whenever_it_is_stopped)
{
    RUN_SEEDS(2000, run_servers_somehow);
}

/* ---- the owner ------------------------------------------------------------------------------------------------ */

static uint16_t left_port;

static int
start_and_leave(iora_client_fn *serve)
{
    iora_server *const server = start(serve, NULL);
    iora_stream *const stream = connect_to(server), *const waiting = connect_to(server);

    let_all_run();
    left_port = iora_server_port(server);
    iora_stream_abort(stream);
    iora_stream_abort(waiting);
    iora_stream_abort(connect_to(server)); /* nobody has accepted it yet */
    return 0;
}
IORA_ASYNC(start_and_leave, iora_client_fn *);

TEST_TASK_EVERYWHERE(server, is_stopped_when_its_owner_ends)
{
    iora_client_fn *const serve[] = {sleep_for_an_hour, echo};

    for (int i = 0; i < 4; i++) {
        iora_stream *stream;

        CHECK_EQ(iora_await(iora_go(start_and_leave, serve[i % 2])), 0);
        CHECK_EQ(iora_open_connection("127.0.0.1", left_port, NULL, &stream), -ECONNREFUSED);
    }
}

static int
leave_in_the_middle(int steps)
{
    iora_server *const server = start(echo, NULL);
    iora_stream *streams[4];

    for (int i = 0; i < 4; i++)
        streams[i] = connect_to(server);
    for (int i = 0; i < steps; i++)
        CHECK_EQ(iora_yield(), 0);
    for (int i = 0; i < 4; i++)
        iora_stream_abort(streams[i]);
    return 0;
}
IORA_ASYNC(leave_in_the_middle, int);

TEST_TASK_EVERYWHERE(server, whose_owner_ends_in_the_middle_of_an_accept_says_nothing)
{
    for (int steps = 0; steps < 100; steps += steps < 10 ? 1 : 7)
        CHECK_EQ(iora_await(iora_go(leave_in_the_middle, steps)), 0);
}

/* The next connection was accepted, and that came late, when there was nobody any more to serve it. The log said
 * that a server paused. */
static int
leave_with_a_full_backlog(int steps)
{
    iora_server *const server = start(echo, NULL);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons(iora_server_port(server))};
    int clients[4];

    for (int i = 0; i < 4; i++) {
        CHECK((clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0);
        CHECK_EQ(TEMP_FAILURE_RETRY(connect(clients[i], (struct sockaddr *)&address, sizeof address)),
                 0);
    }
    for (int i = 0; i < steps; i++)
        CHECK_EQ(iora_yield(), 0);
    for (int i = 0; i < 4; i++)
        (void)close(clients[i]);
    return 0;
}
IORA_ASYNC(leave_with_a_full_backlog, int);

TEST_TASK_REAL(server, whose_owner_ends_with_a_full_backlog_says_nothing)
{
    for (int steps = 0; steps < 400; steps += steps < 10 ? 1 : 7)
        CHECK_EQ(iora_await(iora_go(leave_with_a_full_backlog, steps)), 0);
}

static int
start_and_leave_on(iora_event *leave, iora_server **out)
{
    *out = start(sleep_for_an_hour, NULL);
    return iora_event_wait(leave);
}
IORA_ASYNC(start_and_leave_on, iora_event *, iora_server **);

/* The supervisor freed it, and who was in the middle of a stop went on with it. */
TEST_TASK_EVERYWHERE(server, whose_owner_ends_while_another_stops_it_goes_with_the_stop)
{
    for (int steps = 0; steps < 12; steps++) {
        iora_event leave = IORA_EVENT_INIT;
        iora_server *server;
        const iora_task owner = iora_go_eager(start_and_leave_on, &leave, &server);
        iora_stream *const stream = connect_to(server);
        iora_task stop;

        wait_for_clients(server, 1);
        iora_event_set(&leave);
        stop = iora_go_eager(stops, server, steps % 2 ? iora_s(1000) : iora_s(0));
        for (int i = 0; i < steps / 2; i++)
            CHECK_EQ(iora_yield(), 0);
        CHECK_EQ(iora_await(owner), 0);
        CHECK_EQ(iora_await(stop), steps % 2 ? 0 : -ETIMEDOUT);
        take_end(stream);
        CHECK_EQ(iora_stream_close(stream), 0);
    }
}

static int
wait_closed_as_owner(void)
{
    iora_server *const server = start(echo, NULL);

    return iora_server_wait_closed(server);
}
IORA_ASYNC(wait_closed_as_owner);

TEST_TASK_EVERYWHERE(server, is_stopped_when_its_owner_is_cancelled)
{
    const iora_task owner = iora_go(wait_closed_as_owner);

    let_all_run();
    CHECK_EQ(iora_cancel(owner), 0);
    CHECK_EQ(iora_await(owner), IORA_E_TASK_CANCELED);
}

/* ---- a listener that is brought ------------------------------------------------------------------------------- */

static int
bound_socket(struct sockaddr_in *address)
{
    socklen_t length = sizeof *address;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK(fd >= 0);
    CHECK_EQ(bind(fd, (struct sockaddr *)address, sizeof *address), 0);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)address, &length), 0);
    return fd;
}

TEST_TASK_REAL(server, on_a_listener_of_the_users_serves_and_closes_it)
{
    struct sockaddr_in address;
    const int fd = bound_socket(&address);
    iora_server *server;
    iora_stream *stream;

    CHECK_EQ(listen(fd, 10), 0);
    CHECK_EQ(iora_start_server_on(fd, echo, NULL, NULL, &server), 0);
    CHECK_EQ(iora_server_port(server), ntohs(address.sin_port));
    stream = connect_to(server);
    check_echo(stream, "x");
    CHECK_EQ(iora_stream_close(stream), 0);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
    CHECK(fcntl(fd, F_GETFD) < 0);
}

TEST_TASK_REAL(server, refuses_a_socket_that_does_not_listen_and_leaves_it_as_it_is)
{
    struct sockaddr_in address;
    const int fd = bound_socket(&address);
    iora_server *server;

    CHECK_EQ(iora_start_server_on(fd, echo, NULL, NULL, &server), -EINVAL);
    CHECK_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    CHECK_EQ(iora_start_server_on(-1, echo, NULL, NULL, &server), -EBADF);
    CHECK_EQ(iora_start_server_on(12345, echo, NULL, NULL, &server), -EBADF);
    CHECK_EQ(listen(fd, 10), 0);
    CHECK_EQ(iora_start_server_on(fd, NULL, NULL, NULL, &server), -EINVAL);
    CHECK_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    (void)close(fd);
}

TEST_TASK(server, on_a_real_listener_is_nothing_for_a_simulated_loop)
{
    iora_server *server;

    CHECK_EQ(iora_start_server_on(0, echo, NULL, NULL, &server), -ENOTSUP);
}

/* F7: whichever allocation fails, the listener stays the user's or was closed with the server, never both. */
TEST_TASK_REAL(server, that_could_not_be_started_leaves_the_listener_to_the_user)
{
    struct sockaddr_in address;
    int failures = 0;

    for (long n = 1; n < 30; n++) {
        const int fd = bound_socket(&address);
        iora_server *server;
        int rc;

        CHECK_EQ(listen(fd, 10), 0);
        iora__seam_arm_allocation(n, true);
        rc = iora_start_server_on(fd, echo, NULL, NULL, &server);
        if (iora__seam_disarm().failures == 0) {
            CHECK_EQ(rc, 0);
            CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
            break;
        }
        CHECK(rc < 0);
        CHECK_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
        CHECK_EQ(close(fd), 0);
        failures++;
    }
    CHECK(failures > 0);
}

/* ---- Unix sockets ------------------------------------------------------------------------------------------------ */

static char directory[64], path[108];

/* A directory of one's own, and a path in it. */
static void
make_directory(void)
{
    (void)snprintf(directory, sizeof directory, "/tmp/iora-test-XXXXXX");
    CHECK(mkdtemp(directory) != NULL);
    (void)snprintf(path, sizeof path, "%s/socket", directory);
}

/* It is empty again. */
static void
remove_directory(void)
{
    CHECK_EQ(rmdir(directory), 0);
}

static bool
exists(void)
{
    struct stat about;

    return lstat(path, &about) == 0;
}

static iora_server *
start_at_path(void)
{
    iora_server *server;

    CHECK_EQ(iora_start_unix_server(path, echo, NULL, NULL, &server), 0);
    return server;
}

static void
check_path_is_served(void)
{
    iora_stream *stream;

    CHECK_EQ(iora_open_unix_connection(path, NULL, &stream), 0);
    check_echo(stream, "x");
    CHECK_EQ(iora_stream_close(stream), 0);
}

TEST_TASK_REAL(server, at_a_path_is_there_for_its_owner_only_whatever_the_umask)
{
    iora_server_options options = IORA_SERVER_OPTIONS_INIT;
    const mode_t before = umask(0);
    iora_server *server;
    struct stat about = {0}; /* MemorySanitizer does not know lstat(2) */

    make_directory();
    server = start_at_path();
    CHECK_EQ(lstat(path, &about), 0);
    CHECK_EQ(about.st_mode & 07777, 0600);
    CHECK_EQ(iora_server_port(server), 0);
    check_path_is_served();
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
    CHECK(!exists());

    options.mode = 0666;
    CHECK_EQ(iora_start_unix_server(path, echo, NULL, &options, &server), 0);
    CHECK_EQ(lstat(path, &about), 0);
    CHECK_EQ(about.st_mode & 07777, 0666);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
    CHECK_EQ(umask(before), 0);
    remove_directory();
}

/* F20 */
TEST_TASK_REAL(server, takes_the_place_of_a_socket_that_nobody_listens_on)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    iora_server *server;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    make_directory();
    memcpy(address.sun_path, path, strlen(path));
    CHECK_EQ(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    (void)close(fd);
    CHECK(exists());
    server = start_at_path();
    check_path_is_served();
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
    remove_directory();
}

/* F20 */
TEST_TASK_REAL(server, does_not_take_the_place_of_one_that_lives)
{
    iora_server *server, *other;

    make_directory();
    server = start_at_path();
    CHECK_EQ(iora_start_unix_server(path, echo, NULL, NULL, &other), -EADDRINUSE);
    check_path_is_served();
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
    CHECK(!exists());
    remove_directory();
}

/* F20: a live one whose backlog is full answers no connect, and lives all the same. */
TEST_TASK_REAL(server, does_not_take_the_place_of_one_that_is_busy)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int clients[4];
    iora_server *server;

    make_directory();
    memcpy(address.sun_path, path, strlen(path));
    CHECK_EQ(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    CHECK_EQ(listen(fd, 0), 0);
    for (int i = 0; i < 4; i++) {
        clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(clients[i], (struct sockaddr *)&address, sizeof address);
    }
    CHECK_EQ(iora_start_unix_server(path, echo, NULL, NULL, &server), -EADDRINUSE);
    CHECK(exists());
    for (int i = 0; i < 4; i++)
        (void)close(clients[i]);
    (void)close(fd);
    (void)unlink(path);
    remove_directory();
}

/* F20 */
TEST_TASK_REAL(server, does_not_take_the_place_of_a_file_that_is_no_socket)
{
    char target[128];
    iora_server *server;
    int fd;

    make_directory();
    CHECK((fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)) >= 0);
    CHECK_EQ(iora_start_unix_server(path, echo, NULL, NULL, &server), -EADDRINUSE);
    CHECK(exists());
    (void)close(fd);
    (void)unlink(path);

    (void)snprintf(target, sizeof target, "%s/target", directory);
    CHECK_EQ(symlink(target, path), 0);
    CHECK_EQ(iora_start_unix_server(path, echo, NULL, NULL, &server), -EADDRINUSE);
    CHECK(exists());
    (void)unlink(path);

    CHECK_EQ(mkdir(path, 0700), 0);
    CHECK_EQ(iora_start_unix_server(path, echo, NULL, NULL, &server), -EADDRINUSE);
    (void)rmdir(path);
    remove_directory();
}

/* The program holds a lock beside the path, as Wayland's do: the start took that for another server's that was being
 * started; without the lock it removed the file. */
TEST_TASK_REAL(server, leaves_a_lock_file_beside_its_path_alone)
{
    char lock_path[128];
    iora_server *server;
    int fd;

    make_directory();
    (void)snprintf(lock_path, sizeof lock_path, "%s.lock", path);
    CHECK((fd = open(lock_path, O_CREAT | O_RDWR | O_CLOEXEC, 0600)) >= 0);
    CHECK_EQ(iora_server_stop(start_at_path(), iora_s(1)), 0);
    CHECK_EQ(access(lock_path, F_OK), 0);
    CHECK_EQ(flock(fd, LOCK_EX | LOCK_NB), 0);
    server = start_at_path();
    check_path_is_served();
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
    (void)close(fd);
    CHECK_EQ(unlink(lock_path), 0);
    remove_directory();
}

/* F20: while it served, somebody has put another socket in its place. */
TEST_TASK_REAL(server, unlinks_its_own_path_only)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    iora_server *server;

    make_directory();
    server = start_at_path();
    CHECK_EQ(unlink(path), 0);
    memcpy(address.sun_path, path, strlen(path));
    CHECK_EQ(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
    CHECK(exists());
    (void)close(fd);
    (void)unlink(path);

    server = start_at_path();
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
    remove_directory();
}

TEST_TASK_REAL(server, on_a_listener_of_the_users_leaves_its_path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    iora_server *server;

    make_directory();
    memcpy(address.sun_path, path, strlen(path));
    CHECK_EQ(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    CHECK_EQ(listen(fd, 5), 0);
    CHECK_EQ(iora_start_server_on(fd, echo, NULL, NULL, &server), 0);
    check_path_is_served();
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
    CHECK(exists());
    (void)unlink(path);
    remove_directory();
}

/* F20: of processes that find the same dead socket exactly one gets the place, and keeps it. */
static void
race(int go, int told, int stay)
{
    iora_server *server;
    char byte;
    int rc;

    CHECK_EQ(read(go, &byte, 1), 0);
    rc = iora_start_unix_server(path, echo, NULL, NULL, &server);
    byte = rc == 0 ? 'y' : rc == -EADDRINUSE ? 'n' : '?';
    CHECK_EQ(write(told, &byte, 1), 1);
    CHECK_EQ(read(stay, &byte, 1), 0);
    if (rc == 0)
        CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

static int race_ends[3][2];

static int
race_in_child(void)
{
    race(race_ends[0][0], race_ends[1][1], race_ends[2][0]);
    return 0;
}
IORA_ASYNC(race_in_child);

static void
run_one_race(void)
{
    enum { RACERS = 4 };
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int dead = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char answers[RACERS];
    pid_t pids[RACERS];
    int winners = 0, fd;

    memcpy(address.sun_path, path, strlen(path));
    CHECK_EQ(bind(dead, (struct sockaddr *)&address, sizeof address), 0);
    (void)close(dead);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(pipe2(race_ends[i], O_CLOEXEC), 0);
    for (int i = 0; i < RACERS; i++) {
        if ((pids[i] = fork()) == 0) {
            (void)close(race_ends[0][1]);
            (void)close(race_ends[2][1]);
            CHECK_EQ(iora_run(race_in_child), 0);
            _exit(EXIT_SUCCESS);
        }
    }
    (void)close(race_ends[0][1]); /* go */
    for (int i = 0; i < RACERS; i++) {
        CHECK_EQ(TEMP_FAILURE_RETRY(read(race_ends[1][0], &answers[i], 1)), 1);
        CHECK(answers[i] != '?');
        winners += answers[i] == 'y';
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    (void)close(fd);
    CHECK_EQ(winners, 1);
    (void)close(race_ends[2][1]);
    for (int i = 0; i < RACERS; i++) {
        int status;

        CHECK_EQ(TEMP_FAILURE_RETRY(waitpid(pids[i], &status, 0)), pids[i]);
        CHECK_EQ(status, 0);
    }
    CHECK(!exists());
    (void)close(race_ends[0][0]);
    (void)close(race_ends[1][0]);
    (void)close(race_ends[1][1]);
    (void)close(race_ends[2][0]);
}

TEST_IN(server, of_many_processes_that_race_for_a_path_one_gets_it, TEST_EPOLL)
{
    make_directory();
    for (int i = 0; i < 25; i++)
        run_one_race();
    remove_directory();
}

TEST_TASK_EVERYWHERE(server, at_a_path_that_cannot_be_is_refused)
{
    char long_path[200];
    iora_server *server;

    memset(long_path, 'x', sizeof long_path);
    long_path[108] = '\0';
    CHECK_EQ(iora_start_unix_server(long_path, echo, NULL, NULL, &server), -ENAMETOOLONG);
    CHECK_EQ(iora_start_unix_server("", echo, NULL, NULL, &server), -EINVAL);
    if (test_where() != TEST_SIM)
        CHECK_EQ(iora_start_unix_server("/nowhere/at/all", echo, NULL, NULL, &server), -ENOENT);
}

TEST_TASK_EVERYWHERE(server, at_an_abstract_name_works_as_at_a_path)
{
    iora_server *server, *other;
    iora_stream *stream;
    char name[64];

    (void)snprintf(name, sizeof name, "@iora-test-%d", getpid());
    CHECK_EQ(iora_start_unix_server(name, echo, NULL, NULL, &server), 0);
    CHECK_EQ(iora_start_unix_server(name, echo, NULL, NULL, &other), -EADDRINUSE);
    CHECK_EQ(iora_open_unix_connection(name, NULL, &stream), 0);
    check_echo(stream, "x");
    CHECK_EQ(iora_stream_close(stream), 0);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
    CHECK_EQ(iora_open_unix_connection(name, NULL, &stream), -ECONNREFUSED);
}

TEST_TASK(server, at_a_path_works_in_a_simulated_loop)
{
    iora_server *server, *other;
    iora_stream *stream;

    CHECK_EQ(iora_start_unix_server("/run/x", echo, NULL, NULL, &server), 0);
    CHECK_EQ(iora_start_unix_server("/run/x", echo, NULL, NULL, &other), -EADDRINUSE);
    CHECK_EQ(iora_open_unix_connection("/run/x", NULL, &stream), 0);
    check_echo(stream, "x");
    CHECK_EQ(iora_stream_close(stream), 0);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
    CHECK_EQ(iora_open_unix_connection("/run/x", NULL, &stream), -ENOENT);
}

/* ---- out of descriptors --------------------------------------------------------------------------------------------- */

static int
connect_when_there_is_none(void)
{
    enum { CLIENTS = 12 };
    iora_server *const server = start(echo, NULL);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons(iora_server_port(server))};
    struct rlimit limit;
    int clients[CLIENTS], lines = 0, served;
    char byte;

    for (int i = 0; i < CLIENTS; i++)
        CHECK((clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0);
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = (rlim_t)clients[CLIENTS - 1] + 6;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (int i = 0; i < CLIENTS; i++)
        CHECK_EQ(TEMP_FAILURE_RETRY(connect(clients[i], (struct sockaddr *)&address, sizeof address)),
                 0);
    CHECK_EQ(iora_sleep(iora_ms(1300)), 0);
    served = (int)iora_server_clients(server);
    CHECK(served > 0 && served < CLIENTS);
    for (const char *at = test_log(); (at = strstr(at, "pauses accepting")) != NULL; at++)
        lines++;
    CHECK(lines >= 1 && lines <= 2); /* though there were five pauses */
    CHECK(test_logged("EMFILE"));

    for (int i = 0; i < served; i++) /* those that are served are served on, and go */
        CHECK_EQ(write(clients[i], "x", 1), 1);
    CHECK_EQ(iora_sleep(iora_ms(20)), 0);
    for (int i = 0; i < served; i++) {
        CHECK_EQ(recv(clients[i], &byte, 1, MSG_DONTWAIT), 1);
        (void)close(clients[i]);
    }
    for (int i = served; i < CLIENTS; i++) /* and the others have their turn */
        CHECK_EQ(write(clients[i], "y", 1), 1);
    for (int i = served; i < CLIENTS; i++) {
        CHECK_EQ(iora_wait_readable(clients[i]), 0);
        CHECK_EQ(recv(clients[i], &byte, 1, MSG_DONTWAIT), 1);
        (void)close(clients[i]);
    }
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
    return 0;
}
IORA_ASYNC(connect_when_there_is_none);

static void
be_out_of_descriptors(void)
{
    CHECK_EQ(test_run(connect_when_there_is_none), 0);
}

/* F9: the limit is real, and so is the time: pauses of 50, 100, ... ms. */
TEST_IN(server, pauses_when_there_are_no_descriptors_and_goes_on_by_itself, TEST_EPOLL)
{
    const struct child child = child_run(be_out_of_descriptors);

    child_check_ok(&child);
}

/* ---- descriptors and other programs ----------------------------------------------------------------- */

enum { NUMBERS = 256 };

/* Which numbers a program started now would find open. */
static void
note_inherited(bool inherited[NUMBERS])
{
    for (int fd = 0; fd < NUMBERS; fd++) {
        const int flags = fcntl(fd, F_GETFD);

        inherited[fd] = flags >= 0 && !(flags & FD_CLOEXEC);
    }
}

static int
do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int
open_all_kinds(void)
{
    bool inherited[NUMBERS];
    iora_server *tcp, *local;
    iora_stream *to_tcp, *to_local, *a, *b;
    iora_signals signals;
    char name[32];

    (void)snprintf(name, sizeof name, "@close-on-exec-%d", (int)getpid()); /* tests run side by side */
    tcp = start(echo, NULL);
    CHECK_EQ(iora_start_unix_server(name, echo, NULL, NULL, &local), 0);
    to_tcp = connect_to(tcp);
    CHECK_EQ(iora_open_unix_connection(name, NULL, &to_local), 0);
    make_pair(&a, &b);
    CHECK_EQ(iora_signals_open_of(&signals, SIGUSR1), 0);
    CHECK_EQ(iora_to_thread(do_nothing, NULL), 0);
    check_echo(to_tcp, "accepted");
    check_echo(to_local, "accepted");

    note_inherited(inherited);
    for (int fd = STDERR_FILENO + 1; fd < NUMBERS; fd++)
        CHECK(!inherited[fd]);

    iora_signals_close(&signals);
    close_both_streams(a, b);
    CHECK_EQ(iora_stream_close(to_tcp), 0);
    CHECK_EQ(iora_stream_close(to_local), 0);
    CHECK_EQ(iora_server_stop(tcp, iora_s(1)), 0);
    CHECK_EQ(iora_server_stop(local, iora_s(1)), 0);
    return 0;
}
IORA_ASYNC(open_all_kinds);

/* F8: the loop's own descriptors, listeners, connections of both ends, signals and threads. */
TEST_REAL(server, leaves_no_descriptor_to_a_program_that_is_started)
{
    bool inherited[NUMBERS];

    note_inherited(inherited);
    for (int fd = STDERR_FILENO + 1; fd < NUMBERS; fd++) /* what the test's own parent left open */
        if (inherited[fd])
            CHECK_EQ(fcntl(fd, F_SETFD, FD_CLOEXEC), 0);
    CHECK_EQ(test_run(open_all_kinds), 0);
}
