/* tests/fault/scenarios_connect.c -- clients that look for a server, and some who find none. */
#include "traffic.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static iora_server *server;
static uint16_t port;

/* Answers each line by the same, in brackets. */
static int
brackets(iora_stream *stream, void *arg)
{
    char *line, text[128];
    int rc;

    (void)arg;
    while ((rc = WELL_UNLESS_CANCELLED(iora_readline(stream, &line))) > 0) {
        const int n = snprintf(text, sizeof text, "[%.*s]\n", rc - 1, line);

        if ((rc = WELL_UNLESS_CANCELLED(iora_write(stream, text, (size_t)n))) < 0)
            break;
    }
    return rc;
}

static int
ask(iora_stream *stream, int number)
{
    char text[64];
    const int n = snprintf(text, sizeof text, "question %d\n", number);

    return iora_write(stream, text, (size_t)n);
}

static int
read_answer(iora_stream *stream, int number)
{
    char text[64], *line;
    const int n = snprintf(text, sizeof text, "[question %d]\n", number);
    int rc = iora_wait_for(iora_readline(stream, &line), patience());

    if (rc <= 0)
        return rc < 0 ? rc : IORA_E_INCOMPLETE;
    if (line[rc - 1] != '\n') {
        CHECK(fault_is_armed()); /* an answer that was cut */
        return IORA_E_INCOMPLETE;
    }
    CHECK(rc == n && memcmp(line, text, (size_t)n) == 0);
    return 0;
}

static int
exchange(iora_stream *stream, int number)
{
    const int rc = WELL(ask(stream, number));

    return rc < 0 ? rc : WELL(read_answer(stream, number));
}

/* ---- one name, several addresses ----------------------------------------------------------------------------- */

static size_t addresses;
static int reached;

static int
connect_by_family(int family)
{
    const iora_connect_options options = {.size = sizeof options, .family = family};
    iora_stream *stream;
    iora_address peer;
    int rc = iora_wait_for(iora_open_connection("localhost", port, &options, &stream), patience());

    if (WELL(rc) < 0)
        return rc;
    rc = WELL(iora_stream_peer(stream, &peer));
    CHECK(rc < 0 || iora_address_port(&peer) == port);
    reached += exchange(stream, family) == 0;
    finish(&stream);
    return rc;
}

static int
connects_to_all(void)
{
    iora_address address;

    if (WELL(iora_start_server("localhost", 0, brackets, NULL, NULL, &server)) < 0)
        return 0;
    port = iora_server_port(server);
    addresses = iora_server_address_count(server);
    for (size_t i = 0; i < addresses; i++) {
        struct sockaddr_in any;

        CHECK_EQ(iora_server_address(server, i, &address), 0);
        CHECK_EQ(iora_address_port(&address), port);
        memcpy(&any, address.bytes, sizeof any);
        (void)connect_by_family(any.sin_family);
    }
    CHECK_EQ(iora_server_address(server, addresses, &address), -EINVAL);
    (void)connect_by_family(0);
    (void)WELL(iora_server_stop(server, patience()));
    return 0;
}
IORA_ASYNC(connects_to_all);

SCENARIO(connect, addresses, ANYWHERE)
{
    fault_expect_log("pauses accepting");
    RUN(connects_to_all);
    CHECK(fault_is_armed() || (addresses > 0 && reached == (int)addresses + 1));
}

/* ---- the first address is refused ------------------------------------------------------------------------------- */

/* See to it that nobody listens on the port at ::1, by having it: a descriptor, or -1. */
static int
hold_port(void)
{
    struct sockaddr_in6 address = {
        .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT, .sin6_port = htons(port)};
    const int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

static int
connects_to_second(void)
{
    int held = -1;

    if (WELL(iora_start_server("127.0.0.1", 0, brackets, NULL, NULL, &server)) < 0)
        return 0;
    port = iora_server_port(server);
    if (fault_where() != SIM && (held = hold_port()) < 0)
        reached++; /* there is no ::1, or somebody has it */
    else
        (void)connect_by_family(0); /* where there is IPv6, ::1 comes first */
    if (held >= 0)
        (void)close(held);
    (void)WELL(iora_server_stop(server, patience()));
    return 0;
}
IORA_ASYNC(connects_to_second);

SCENARIO(connect, second, ANYWHERE)
{
    fault_expect_log("pauses accepting");
    RUN(connects_to_second);
    CHECK_EQ_UNARMED(reached, 1);
}

/* ---- nobody is there -------------------------------------------------------------------------------------------- */

enum { NOBODYS_PORT = 1 }; /* one that the kernel chose and got back may be anybody's by now */

static int refusals;

static int
is_refused(void)
{
    iora_stream *stream = NULL;
    int rc;

    rc = EXPECT(iora_open_connection("localhost", NOBODYS_PORT, NULL, &stream), -ECONNREFUSED,
                -ETIMEDOUT, -EADDRNOTAVAIL, -ENETUNREACH, -ENOBUFS, -EAFNOSUPPORT);
    CHECK(rc < 0 && stream == NULL);
    refusals += rc == -ECONNREFUSED;
    rc = EXPECT(iora_open_unix_connection("@iora-faults-nobody", NULL, &stream), -ECONNREFUSED,
                -ETIMEDOUT, -EADDRNOTAVAIL, -ENETUNREACH, -EAFNOSUPPORT);
    CHECK(rc < 0 && stream == NULL);
    refusals += rc == -ECONNREFUSED;
    return 0;
}
IORA_ASYNC(is_refused);

SCENARIO(connect, refused, ANYWHERE)
{
    RUN(is_refused);
    CHECK_EQ_UNARMED(refusals, 2);
}

/* ---- a client that tries again ------------------------------------------------------------------------------------ */

enum { QUESTIONS = 3, TRIES = 6 };

static char name[64];
static int drops, answered, tries;
static iora_event client_done;

/* The first two connections are dropped: one at once, one with its question read. */
static int
drops_some(iora_stream *stream, void *arg)
{
    char *line;

    if (++drops == 1)
        return 0;
    if (drops == 2) {
        (void)WELL_UNLESS_CANCELLED(iora_readline(stream, &line));
        return 0;
    }
    return brackets(stream, arg);
}

/* Comes after its client. */
static int
serves_later(void)
{
    IN_TASK;
    int rc = WELL(iora_sleep(iora_ms(2)));

    if (rc < 0 || (rc = WELL(iora_start_unix_server(name, drops_some, NULL, NULL, &server))) < 0)
        return rc;
    rc = iora_wait_for(iora_event_wait(&client_done), iora_s(20));
    (void)WELL(rc);
    return WELL(iora_server_stop(server, patience()));
}
IORA_ASYNC(serves_later);

/* Ask once, by the connection there is or a new one. */
static int
try_once(iora_stream **stream, int number)
{
    int rc = 0;

    if (*stream == NULL)
        rc = iora_wait_for(iora_open_unix_connection(name, NULL, stream), patience());
    if (rc == 0)
        rc = ask(*stream, number);
    return rc == 0 ? read_answer(*stream, number) : rc;
}

static int
ask_until_answered(iora_stream **stream, int number)
{
    int rc = -EAGAIN;

    for (int i = 0; i < TRIES && rc < 0 && rc != -ECANCELED; i++) {
        rc = try_once(stream, number);
        tries++;
        if (rc < 0) {
            give_up(stream);
            (void)iora_sleep(iora_ms(1 << i));
        }
    }
    answered += rc == 0;
    return rc;
}

static int
asks_again(void)
{
    IN_TASK;
    iora_stream *stream = NULL;
    int rc = 0;

    for (int i = 0; i < QUESTIONS && rc == 0; i++)
        rc = ask_until_answered(&stream, i);
    finish(&stream);
    iora_event_set(&client_done);
    return rc == -ENOENT && fault_is_armed() ? 0 : WELL(rc);
}
IORA_ASYNC(asks_again);

static int
tries_again(void)
{
    int rc = 0;

    IORA_GROUP_OF(rc, group, IORA_GROUP_ISOLATE) {
        if (!iora_task_is_valid(SPAWN(iora_group_go(&group, asks_again))))
            iora_event_set(&client_done);
        (void)SPAWN(iora_group_go(&group, serves_later));
    }
    (void)WELL(rc);
    return 0;
}
IORA_ASYNC(tries_again);

SCENARIO(connect, retries, ANYWHERE)
{
    fault_expect_log("pauses accepting");
    (void)snprintf(name, sizeof name, "@iora-faults-%d", (int)getpid());
    RUN(tries_again);
    CHECK_EQ_UNARMED(answered, QUESTIONS);
    CHECK(fault_is_armed() || tries > QUESTIONS);
}
