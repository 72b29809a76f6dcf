/* tests/c/test_connect.c -- opening connections, and what connections meet: numbers that are used again, ends behind
 * requests, urgent bytes, crowds. */
#include "chance.h"
#include "streams.h"
#include "turns.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/un.h>

static int
hold(iora_stream *client, void *arg)
{
    (void)client;
    (void)arg;
    return iora_sleep(IORA_FOREVER);
}

static iora_server *
start_at(const char *host, uint16_t port, iora_client_fn *serve, const iora_server_options *options)
{
    iora_server *server;

    CHECK_EQ(iora_start_server(host, port, serve, NULL, options, &server), 0);
    return server;
}

static iora_stream *
connect_to(uint16_t port)
{
    iora_stream *stream;

    CHECK_EQ(iora_open_connection("127.0.0.1", port, NULL, &stream), 0);
    return stream;
}

/* A port that nobody listens on. */
static uint16_t
unused_port(void)
{
    iora_server *const server = start_at("127.0.0.1", 0, echo, NULL);
    const uint16_t port = iora_server_port(server);

    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
    return port;
}

/* ---- how it goes -------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(connect, opens_a_stream_that_knows_both_addresses)
{
    iora_server *const server = start_at("127.0.0.1", 0, echo, NULL);
    iora_stream *const stream = connect_to(iora_server_port(server));
    char text[IORA_ADDRESS_TEXT];
    iora_address address;

    CHECK_EQ(iora_stream_peer(stream, &address), 0);
    CHECK_EQ(iora_address_port(&address), iora_server_port(server));
    CHECK(strncmp(iora_address_format(&address, text, sizeof text), "127.0.0.1:", 10) == 0);
    CHECK_EQ(iora_stream_local(stream, &address), 0);
    CHECK(iora_address_port(&address) != 0);
    CHECK_EQ(iora_stream_close(stream), 0);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

TEST_TASK_EVERYWHERE(connect, that_is_refused_says_so)
{
    iora_stream *stream;

    CHECK_EQ(iora_open_connection("127.0.0.1", unused_port(), NULL, &stream), -ECONNREFUSED);
    CHECK_EQ(iora_open_connection("localhost", unused_port(), NULL, &stream), -ECONNREFUSED);
}

TEST_TASK_EVERYWHERE(connect, checks_its_options)
{
    iora_connect_options options = IORA_CONNECT_OPTIONS_INIT;
    char name[300];
    iora_stream *stream;

    CHECK_EQ(iora_open_connection(NULL, 1, NULL, &stream), -EINVAL);
    options.size--; /* of another version of this library */
    CHECK_EQ(iora_open_connection("127.0.0.1", 1, &options, &stream), -EINVAL);
    options.size++;
    options.family = AF_UNIX;
    CHECK_EQ(iora_open_connection("127.0.0.1", 1, &options, &stream), -EINVAL);
    options.family = 0;
    options.line_limit = 3;
    CHECK_EQ(iora_open_connection("127.0.0.1", 1, &options, &stream), -EINVAL);
    options.line_limit = 0;
    options.write_limit = SIZE_MAX;
    CHECK_EQ(iora_open_connection("127.0.0.1", 1, &options, &stream), -EINVAL);
    CHECK_EQ(iora_open_unix_connection("@x", &options, &stream), -EINVAL);
    memset(name, 'x', sizeof name);
    name[299] = '\0';
    CHECK_EQ(iora_open_connection(name, 1, NULL, &stream), -EINVAL);
    options = (iora_connect_options)IORA_CONNECT_OPTIONS_INIT;
    options.family = AF_INET6;
    CHECK_EQ(iora_open_connection("127.0.0.1", 1, &options, &stream), IORA_E_NAME);
    CHECK_EQ(CANCELLED(iora_open_connection("127.0.0.1", 1, NULL, &stream)), -ECANCELED);
    CHECK_EQ(CANCELLED(iora_open_unix_connection("@x", NULL, &stream)), -ECANCELED);
}

static int
connect_nowhere(void)
{
    iora_stream *stream;

    return iora_open_connection("127.0.0.1", 1, NULL, &stream);
}

static int
connect_unix_nowhere(void)
{
    iora_stream *stream;

    return iora_open_unix_connection("@x", NULL, &stream);
}

TEST(connect, needs_a_task)
{
    check_needs_a_task(connect_nowhere);
    check_needs_a_task(connect_unix_nowhere);
}

static int
has_no_delay(iora_stream *stream)
{
    socklen_t size = sizeof(int);
    int on = 0;

    CHECK_EQ(getsockopt(iora_stream_fd(stream), IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
    return on != 0;
}

static int
tell_no_delay(iora_stream *client, void *arg)
{
    (void)arg;
    return iora_write(client, has_no_delay(client) ? "y" : "n", 1);
}

TEST_TASK_REAL(connect, has_nagles_algorithm_off_on_both_sides)
{
    iora_server *const server = start_at("127.0.0.1", 0, tell_no_delay, NULL);
    iora_stream *const stream = connect_to(iora_server_port(server));

    CHECK(has_no_delay(stream));
    take(stream, "y");
    CHECK_EQ(iora_stream_close(stream), 0);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

TEST_TASK_EVERYWHERE(connect, comes_from_where_its_options_say)
{
    iora_server *const server = start_at("127.0.0.1", 0, echo, NULL);
    iora_connect_options options = IORA_CONNECT_OPTIONS_INIT;
    iora_address local, found;
    iora_stream *stream;
    char text[IORA_ADDRESS_TEXT];

    CHECK_EQ(iora_address_parse("127.0.0.3", 0, &local), 0);
    options.local = &local;
    CHECK_EQ(iora_open_connection("127.0.0.1", iora_server_port(server), &options, &stream), 0);
    CHECK_EQ(iora_stream_local(stream, &found), 0);
    CHECK(strncmp(iora_address_format(&found, text, sizeof text), "127.0.0.3:", 10) == 0);
    CHECK_EQ(iora_stream_close(stream), 0);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

/* ---- one address after the other --------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(connect, tries_the_next_address_when_one_refuses)
{
    static const char *const hosts[] = {"127.0.0.1", "::1"};

    for (int i = 0; i < 2; i++) {
        iora_stream *stream;
        iora_server *server;

        if (iora_start_server(hosts[i], 0, echo, NULL, NULL, &server) < 0)
            test_skip("no IPv6 here");
        CHECK_EQ(iora_open_connection("localhost", iora_server_port(server), NULL, &stream), 0);
        put(stream, "x");
        take(stream, "x");
        CHECK_EQ(iora_stream_close(stream), 0);
        CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
    }
}

/* A server that accepts nobody, with a full backlog. */
static iora_server *
start_full(const char *host, uint16_t port, iora_stream **clients, int *count)
{
    iora_server_options options = IORA_SERVER_OPTIONS_INIT;
    iora_server *server;

    options.max_clients = 1;
    options.backlog = 1;
    server = start_at(host, port, hold, &options);
    for (*count = 0; *count < 8; ++*count) {
        if (iora_wait_for(
                iora_open_connection(host, iora_server_port(server), NULL, &clients[*count]),
                iora_ms(100)) < 0)
            return server;
    }
    test_fail(__FILE__, __LINE__, "the backlog is never full");
}

static void
stop_full(iora_server *server, iora_stream **clients, int count)
{
    for (int i = 0; i < count; i++)
        iora_stream_abort(clients[i]);
    CHECK_EQ(iora_server_stop(server, iora_ms(1)), -ETIMEDOUT);
}

/* F18, F28: the time is that of all attempts together, each with its own. */
TEST_TASK(connect, gives_each_address_its_time)
{
    iora_connect_options options = IORA_CONNECT_OPTIONS_INIT;
    iora_stream *clients[2][8], *stream;
    iora_server *four, *six;
    long long began_ms;
    int count[2];

    four = start_full("127.0.0.1", 0, clients[0], &count[0]);
    began_ms = test_ms();
    CHECK_EQ(iora_open_connection("127.0.0.1", iora_server_port(four), NULL, &stream), -ETIMEDOUT);
    CHECK_EQ(test_ms() - began_ms, 10 * 1000);

    six = start_full("::1", iora_server_port(four), clients[1], &count[1]);
    options.each = iora_ms(300);
    began_ms = test_ms();
    CHECK_EQ(iora_open_connection("localhost", iora_server_port(four), &options, &stream),
             -ETIMEDOUT);
    CHECK_EQ(test_ms() - began_ms, 600);

    options.each = IORA_FOREVER;
    began_ms = test_ms();
    CHECK_EQ(
        iora_wait_for(iora_open_connection("localhost", iora_server_port(four), &options, &stream),
                      iora_s(100 * 365 * 86400.0)),
        -ETIMEDOUT);
    CHECK((test_ms() - began_ms) / 1000 == 100 * 365 * 86400LL);
    stop_full(six, clients[1], count[1]);
    stop_full(four, clients[0], count[0]);
}

TEST_TASK(connect, goes_on_to_the_next_address_when_ones_time_is_over)
{
    iora_stream *clients[8], *stream;
    iora_server *full, *other;
    long long began_ms, all_ms = 0;
    int count;

    for (int i = 0; i < 2; i++) {
        full = start_full(i == 0 ? "127.0.0.1" : "::1", 0, clients, &count);
        other = start_at(i == 0 ? "::1" : "127.0.0.1", iora_server_port(full), echo, NULL);
        began_ms = test_ms();
        CHECK_EQ(iora_open_connection("localhost", iora_server_port(full), NULL, &stream), 0);
        all_ms += test_ms() - began_ms;
        put(stream, "x");
        take(stream, "x");
        CHECK_EQ(iora_stream_close(stream), 0);
        CHECK_EQ(iora_server_stop(other, iora_s(1)), 0);
        stop_full(full, clients, count);
    }
    CHECK_EQ(all_ms, 10 * 1000); /* of the two orders one begins at the full one */
}

/* F7 */
TEST_TASK_EVERYWHERE(connect, that_is_cancelled_leaves_nothing_open)
{
    iora_stream *clients[8], *stream;
    iora_server *server;
    int count;

    if (test_where() != TEST_SIM) {
        server = start_at("127.0.0.1", 0, echo, NULL);
        for (int us = 0; us < 300; us += 10) {
            const int rc = iora_wait_for(
                iora_open_connection("127.0.0.1", iora_server_port(server), NULL, &stream),
                iora_us(us));

            CHECK(rc == 0 || rc == -ETIMEDOUT);
            if (rc == 0)
                CHECK_EQ(iora_stream_close(stream), 0);
        }
        CHECK_EQ(iora_server_stop(server, iora_s(5)), 0);
        return;
    }
    server = start_full("127.0.0.1", 0, clients, &count);
    for (int i = 0; i < 10; i++)
        CHECK_EQ(iora_wait_for(
                     iora_open_connection("127.0.0.1", iora_server_port(server), NULL, &stream),
                     iora_ms(5)),
                 -ETIMEDOUT);
    stop_full(server, clients, count);
}

/* ---- Unix sockets --------------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(connect, to_a_path_says_what_is_wrong_with_it)
{
    char path[200];
    iora_stream *stream;

    memset(path, 'x', sizeof path);
    path[108] = '\0';
    CHECK_EQ(iora_open_unix_connection(path, NULL, &stream), -ENAMETOOLONG);
    CHECK_EQ(iora_open_unix_connection("", NULL, &stream), -EINVAL);
    CHECK_EQ(iora_open_unix_connection("/nowhere/at/all", NULL, &stream), -ENOENT);
    CHECK_EQ(iora_open_unix_connection("@iora-test-nobody", NULL, &stream), -ECONNREFUSED);
}

static int
open_unix(const char *path, iora_stream **out)
{
    return iora_open_unix_connection(path, NULL, out);
}
IORA_ASYNC(open_unix, const char *, iora_stream **);

/* The kernel never tells when a Unix listener has room again. */
TEST_TASK_REAL(connect, to_a_unix_listener_with_a_full_backlog_is_tried_until_it_has_room)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    iora_stream *streams[8], *cancelled;
    iora_task tasks[8];
    char name[64];
    int accepted = 0;

    (void)snprintf(name, sizeof name, "@iora-test-full-%d", getpid());
    memcpy(address.sun_path + 1, name + 1, strlen(name + 1));
    CHECK_EQ(bind(fd, (struct sockaddr *)&address,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
             0);
    CHECK_EQ(listen(fd, 1), 0);
    for (int i = 0; i < 8; i++)
        tasks[i] = iora_go(open_unix, (const char *)name, &streams[i]);
    let_all_run();
    CHECK(!iora_task_is_done(tasks[7]));
    CHECK_EQ(iora_wait_for(iora_open_unix_connection(name, NULL, &cancelled), iora_ms(5)),
             -ETIMEDOUT);
    while (accepted < 8) {
        const int one = iora_sock_accept(fd, NULL);

        CHECK(one >= 0);
        CHECK_EQ(write(one, "hi", 2), 2);
        (void)close(one);
        accepted++;
    }
    for (int i = 0; i < 8; i++) {
        CHECK_EQ(iora_await(tasks[i]), 0);
        take(streams[i], "hi");
        take_end(streams[i]);
        CHECK_EQ(iora_stream_close(streams[i]), 0);
    }
    (void)close(fd);
}

/* ---- numbers that are used again ------------------------------------------------------------------------------ */

/* F2 (uvloop #645): many connections are opened, cancelled anywhere, and closed; their numbers are used again at
 * once. Every message says whose it is, and nobody may ever see another's. The server tells each client its
 * number, and from then on both sides of it send nothing but that. */
enum { VISITORS = 6, MESSAGE = 8 };

struct visits {
    iora_server *server;
    unsigned next_id;
    int live, done;
};

static void
make_message(unsigned id, unsigned at, char message[MESSAGE + 1])
{
    (void)snprintf(message, MESSAGE + 1, "%05u:%02u", id % 100000, at % 100);
}

static int
tell_and_echo(iora_stream *client, void *arg)
{
    struct visits *const visits = arg;
    const unsigned id = ++visits->next_id;
    char message[MESSAGE + 1], expected[MESSAGE + 1];
    int rc;

    make_message(id, 0, message);
    if ((rc = iora_write(client, message, MESSAGE)) < 0)
        return rc;
    for (unsigned at = 1; (rc = iora_read_exactly(client, message, MESSAGE)) == 0; at++) {
        make_message(id, at, expected);
        if (memcmp(message, expected, MESSAGE) != 0)
            test_fail(__FILE__, __LINE__, "client %u sent what is another's (seed %llu)", id,
                      (unsigned long long)chance.seed);
        if ((rc = iora_write(client, message, MESSAGE)) < 0)
            return rc;
    }
    return rc;
}

static int
visit_once(struct visits *visits, iora_stream **stream)
{
    char message[MESSAGE + 1], answer[MESSAGE + 1] = "";
    unsigned id;
    int rc;

    rc = iora_open_connection("127.0.0.1", iora_server_port(visits->server), NULL, stream);
    if (rc < 0)
        return rc;
    if ((rc = iora_read_exactly(*stream, answer, MESSAGE)) < 0)
        return rc;
    id = (unsigned)atoi(answer);
    make_message(id, 0, message);
    MUST(memcmp(message, answer, MESSAGE) == 0);
    for (unsigned at = 1; at < 6; at++) {
        make_message(id, at, message);
        if ((rc = iora_write(*stream, message, MESSAGE)) < 0 ||
            (rc = iora_read_exactly(*stream, answer, MESSAGE)) < 0)
            return rc;
        MUST(memcmp(message, answer, MESSAGE) == 0);
    }
    return 0;
}

static int
visit_on_and_on(struct visits *visits)
{
    while (visits->done < 150) {
        iora_stream *stream = NULL;
        const int rc = iora_wait_for(visit_once(visits, &stream),
                                     one_in(2) ? IORA_FOREVER : iora_us(below(3000)));

        MUST(rc == 0 || rc == -ETIMEDOUT);
        if (one_in(3))
            iora_stream_abort(stream);
        else
            MUST(iora_stream_close(stream) >= 0);
        visits->done++;
    }
    visits->live--;
    return 0;
}
IORA_ASYNC(visit_on_and_on, struct visits *);

static int
visit(void)
{
    struct visits visits = {.live = VISITORS};
    iora_task visitors[VISITORS];

    MUST_EQ(iora_start_server("127.0.0.1", 0, tell_and_echo, &visits, NULL, &visits.server), 0);
    for (int i = 0; i < VISITORS; i++)
        visitors[i] = iora_go(visit_on_and_on, &visits);
    MUST_EQ(iora_gather_n(visitors, VISITORS), 0);
    MUST_EQ(iora_server_stop(visits.server, iora_s(5)), 0);
    MUST(visits.next_id > 20);
    return 0;
}
IORA_ASYNC(visit);

TEST(connect, never_sees_anothers_bytes_at_random)
{
    RUN_SEEDS(100, visit);
}

TEST_TASK_REAL(connect, never_sees_anothers_bytes)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        begin_chance(seed, NULL);
        CHECK_EQ(visit(), 0);
    }
}

/* ---- what comes with a request ------------------------------------------------------------------------------------ */

static int
answer_requests(iora_stream *client, void *arg)
{
    char *request;
    int rc;

    (void)arg;
    while ((rc = iora_read_until(client, "\r\n\r\n", 4, &request)) > 0 &&
           (rc = iora_write(client, "answer", 6)) == 0)
        continue;
    return rc;
}

static int
raw_connection(uint16_t port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK_EQ(TEMP_FAILURE_RETRY(
                 connect(fd, (const struct sockaddr *)&address, sizeof address)),
             0);
    return fd;
}

static void
check_answer(int fd)
{
    char data[16];
    int n = 0, rc;

    while ((rc = iora_wait_for(iora_sock_recv(fd, data + n, sizeof data - (size_t)n, 0),
                               iora_ms(test_patience_ms()))) > 0 &&
           n + rc < 6)
        n += rc;
    CHECK(rc > 0);
    CHECK_EQ(memcmp(data, "answer", 6), 0);
}

/* F29: the end comes with the request, in one report of the kernel (tokio #4840, netty #6199). */
TEST_TASK_REAL(connect, request_that_is_followed_by_the_end_is_answered_and_the_end_is_seen)
{
    iora_server *const server = start_at("127.0.0.1", 0, answer_requests, NULL);

    for (int i = 0; i < 200; i++) {
        const int fd = raw_connection(iora_server_port(server));
        char byte;

        if (i % 3 == 1)
            CHECK_EQ(iora_yield(), 0);
        if (i % 3 == 2)
            let_all_run();
        CHECK_EQ(send(fd, "GET /\r\n\r\n", 9, 0), 9);
        CHECK_EQ(shutdown(fd, SHUT_WR), 0);
        check_answer(fd);
        CHECK_EQ(iora_wait_for(iora_sock_recv(fd, &byte, 1, 0), iora_ms(test_patience_ms())), 0);
        (void)close(fd);
    }
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

TEST_TASK_REAL(connect, request_with_an_urgent_byte_in_its_middle_is_answered)
{
    iora_server *const server = start_at("127.0.0.1", 0, answer_requests, NULL);

    for (int i = 0; i < 60; i++) {
        const int fd = raw_connection(iora_server_port(server));

        for (int request = 0; request < 3; request++) {
            CHECK_EQ(send(fd, "GET ", 4, 0), 4);
            if (i % 3 == 1)
                let_all_run();
            CHECK_EQ(send(fd, "!", 1, MSG_OOB), 1);
            if (i % 3 == 2)
                let_all_run();
            CHECK_EQ(send(fd, "/\r\n\r\n", 5, 0), 5);
            check_answer(fd);
        }
        (void)close(fd);
    }
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}

/* F18: a byte now and then keeps no deadline from passing. */
static int
drip(iora_stream *stream)
{
    int rc;

    while ((rc = iora_write(stream, "x", 1)) == 0 && (rc = iora_sleep(iora_s(1))) == 0)
        continue;
    return rc;
}
IORA_ASYNC(drip, iora_stream *);

TEST_TASK(connect, deadline_of_a_read_is_for_all_of_it)
{
    iora_stream *a, *b;
    iora_task dripper;
    char *line;

    make_pair(&a, &b);
    dripper = iora_go(drip, a);
    CHECK_EQ(iora_wait_for(iora_readline(b, &line), iora_s(4.5)), -ETIMEDOUT);
    CHECK_EQ(test_ms(), 4500);
    CHECK_EQ(iora_stream_readable(b), 5);
    CHECK_EQ(iora_cancel(dripper), 0);
    CHECK_EQ(iora_await(dripper), IORA_E_TASK_CANCELED);
    iora_stream_abort(a);
    iora_stream_abort(b);
}

/* F24, F29: a loop with nothing to do does nothing, whatever state its connections are in. */
TEST_TASK_REAL(connect, that_nobody_reads_does_not_keep_the_loop_busy)
{
    iora_server *const server = start_at("127.0.0.1", 0, hold, NULL);
    iora_stream *streams[5];
    char byte;

    for (int i = 0; i < 5; i++) {
        streams[i] = connect_to(iora_server_port(server));
        CHECK_EQ(iora_wait_for(iora_read(streams[i], &byte, 1), iora_ms(1)), -ETIMEDOUT);
    }
    put(streams[0], "never read");
    CHECK_EQ(iora_write_eof(streams[1]), 0);
    (void)write_until_full(streams[2], 1);
    iora_server_abort_clients(server); /* half of them gone, reset or ended */
    CHECK_EQ(iora_sleep(iora_ms(20)), 0);
    count_turns();
    CHECK_EQ(iora_sleep(iora_ms(100)), 0);
    CHECK(turns_counted() < 30);
    for (int i = 0; i < 5; i++)
        iora_stream_abort(streams[i]);
    CHECK_EQ(iora_server_stop(server, iora_s(1)), 0);
}
TEST_EXEMPT(connect, that_nobody_reads_does_not_keep_the_loop_busy, TEST_SIGNALS,
            "it counts turns, and each signal makes one")

/* F10, F26: a crowd at the door; 64 at most are let in before others have their turn. */
TEST_TASK_REAL(connect, of_a_crowd_leaves_others_their_turn)
{
    enum { CROWD = 300 };
    iora_server *const server = start_at("127.0.0.1", 0, hold, NULL);
    size_t before = 0, most = 0;
    int fds[CROWD];

    for (int i = 0; i < CROWD; i++)
        fds[i] = raw_connection(iora_server_port(server));
    while (iora_server_clients(server) < CROWD) {
        const size_t now = iora_server_clients(server);

        most = now - before > most ? now - before : most;
        before = now;
        CHECK_EQ(iora_yield(), 0);
    }
    CHECK(most <= 65);
    for (int i = 0; i < CROWD; i++)
        (void)close(fds[i]);
    CHECK_EQ(iora_server_stop(server, iora_ms(1)), -ETIMEDOUT);
}

/* ---- ten thousand ----------------------------------------------------------------------------------------------------- */

static bool come_and_go_ended;

static int
talk(uint16_t port, unsigned id)
{
    iora_stream *const stream = connect_to(port);
    char text[32];
    int n = 0;

    while (!come_and_go_ended) {
        (void)snprintf(text, sizeof text, "talker %u, sentence %d", id, n++);
        put(stream, text);
        take(stream, text);
    }
    CHECK_EQ(iora_stream_close(stream), 0);
    return n;
}
IORA_ASYNC(talk, uint16_t, unsigned);

TEST_TASK_IN(connect, ten_thousand_come_and_go_while_others_talk, TEST_EPOLL)
{
    enum { TALKERS = 4 };
    const int batch = 250, all = test_under_sanitizer() ? 1000 : 10000;
    iora_server *const server = start_at("127.0.0.1", 0, echo, NULL);
    const uint16_t port = iora_server_port(server);
    iora_stream *streams[250];
    iora_task talkers[TALKERS];

    for (unsigned i = 0; i < TALKERS; i++)
        talkers[i] = iora_go(talk, port, i);
    for (int come = 0; come < all; come += batch) {
        for (int i = 0; i < batch; i++)
            streams[i] = connect_to(port);
        for (int i = 0; i < batch; i++) {
            char text[32];

            (void)snprintf(text, sizeof text, "%d", come + i);
            if (i % 2 == 0) {
                put(streams[i], text);
                take(streams[i], text);
            }
            if (i % 3 == 0)
                iora_stream_abort(streams[i]);
            else
                CHECK_EQ(iora_stream_close(streams[i]), 0);
        }
    }
    come_and_go_ended = true;
    for (unsigned i = 0; i < TALKERS; i++)
        CHECK(iora_await(talkers[i]) > 10);
    CHECK_EQ(iora_server_stop(server, iora_s(10)), 0);
}
