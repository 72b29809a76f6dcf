/* tests/fault/scenarios_servers.c -- servers, and clients in every state, some of whom fail. */
#include "traffic.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static iora_server *server;
static uint16_t port; /* 0 if no server could be started */

static int
start_server(iora_client_fn *serve, const iora_server_options *options)
{
    const int rc = WELL(iora_start_server("127.0.0.1", 0, serve, NULL, options, &server));

    fault_expect_log("pauses accepting");
    port = rc == 0 ? iora_server_port(server) : 0;
    return rc;
}

/* Connect to it within what patience there is. */
static int
reach(iora_stream **out)
{
    return iora_wait_for(iora_open_connection("127.0.0.1", port, NULL, out), patience());
}

static int
echoes(iora_stream *stream, void *arg)
{
    char data[4000];
    int rc;

    (void)arg;
    while ((rc = iora_read(stream, data, sizeof data)) > 0 &&
           (rc = iora_write(stream, data, (size_t)rc)) == 0)
        continue;
    return rc; /* a client may leave without waiting for his echo */
}

/* ---- an echo for several ------------------------------------------------------------------------------------- */

enum { CLIENTS = 4, ROUNDS = 4 };

static int served_rounds;

static int
talks(iora_stream *stream, int name)
{
    char data[3000];
    size_t at = 0;
    int rc = 0;

    for (size_t round = 0; round < ROUNDS && rc == 0; round++) {
        const size_t n = round * 900 + 1;

        flow_fill(name, at, data, n);
        if ((rc = WELL(iora_write(stream, data, n))) == 0 &&
            (rc = WELL(iora_read_exactly(stream, data, n))) == 0) {
            flow_check(name, at, data, n);
            served_rounds++;
        }
        at += n;
    }
    return rc;
}

static int
is_client(int name)
{
    IN_TASK;
    iora_stream *stream;
    int rc = WELL(reach(&stream));

    if (rc < 0)
        return rc;
    rc = iora_wait_for(talks(stream, name), patience());
    finish(&stream);
    return WELL(rc);
}
IORA_ASYNC(is_client, int);

static int
serves_several(void)
{
    int rc = 0;

    if (start_server(echoes, NULL) < 0)
        return 0;
    IORA_GROUP_OF(rc, group, IORA_GROUP_ISOLATE) {
        for (int i = 0; i < CLIENTS; i++)
            (void)SPAWN(iora_group_go(&group, is_client, i));
    }
    (void)WELL(rc);
    (void)WELL(iora_server_stop(server, patience()));
    return 0;
}
IORA_ASYNC(serves_several);

SCENARIO(servers, echo, ANYWHERE)
{
    RUN(serves_several);
    CHECK_EQ_UNARMED(served_rounds, CLIENTS * ROUNDS);
}

/* ---- the end, with clients in all states ------------------------------------------------------------------------ */

enum kind {
    IDLE,      /* has said nothing */
    HALFWAY,   /* has sent a half of its request */
    COMPUTING, /* is being served by one who sleeps */
    FLOODED,   /* is being sent more than it takes */
    GONE,      /* has closed its side at once */
    STUBBORN,  /* is being served by one who does not look at his stream */
    KINDS
};

/* Stop with time for all; with too little for the stubborn one; by two tasks at once; by the calls that do not wait;
 * by leaving the task that owns it. */
enum way { STOP, HURRY, TWICE, ABORT, LEAVE };

enum { FLOOD = 150000 };

static const char *const requests[KINDS] = {"", "requ", "compute\n", "flood\n", "", "stay\n"};
static iora_event heard[KINDS], all_have_asked, never;
static int to_ask, handlers, handlers_ended;
static size_t got[KINDS];
static bool at_end[KINDS];

static int
floods(iora_stream *stream)
{
    char *const data = malloc(FLOOD);
    int rc;

    CHECK(data != NULL);
    flow_fill(FLOODED, 0, data, FLOOD);
    rc = iora_write(stream, data, FLOOD);
    if (rc == 0)
        rc = iora_flush(stream); /* a close would give up after 5 s of a clock that is real */
    free(data);
    return rc == IORA_E_TORN ? -ECANCELED : rc;
}

static int
computes(iora_stream *stream)
{
    const char result = flow_byte(COMPUTING, 0);
    const int rc = iora_sleep(iora_ms(2));

    return rc < 0 ? rc : iora_write(stream, &result, 1);
}

static bool
is_whole(const char *request)
{
    return strchr(request, '\n') != NULL;
}

static int
answer(iora_stream *stream, char letter)
{
    switch (letter) {
    case 'c':
        iora_event_set(&heard[COMPUTING]);
        return computes(stream);
    case 'f':
        iora_event_set(&heard[FLOODED]);
        return floods(stream);
    default:
        iora_event_set(&heard[STUBBORN]);
        return iora_event_wait(&never);
    }
}

static int
handle(iora_stream *stream)
{
    char *line;
    int rc;

    while ((rc = WELL_UNLESS_CANCELLED(iora_readline(stream, &line))) > 0) {
        if (!is_whole(line))
            return 0; /* what there is of a request when all have to end */
        if ((rc = answer(stream, line[0])) < 0)
            break;
    }
    return WELL_UNLESS_CANCELLED(rc);
}

static int
handles(iora_stream *stream, void *arg)
{
    int rc;

    (void)arg;
    handlers++;
    rc = handle(stream);
    handlers_ended++;
    return rc == -ECANCELED ? 0 : rc;
}

static void
has_asked(void)
{
    if (--to_ask == 0)
        iora_event_set(&all_have_asked);
}

/* Read what comes until the end, however that is told. */
static int
listens(iora_stream *stream, enum kind kind)
{
    char data[5000];
    int rc;

    while ((rc = iora_read(stream, data, sizeof data)) > 0) {
        flow_check((int)kind, got[kind], data, (size_t)rc);
        got[kind] += (size_t)rc;
    }
    at_end[kind] = rc == 0;
    return rc;
}

static int
ask(enum kind kind, iora_stream **out)
{
    int rc = WELL(reach(out));

    if (rc < 0)
        return rc;
    rc = WELL(iora_write(*out, requests[kind], strlen(requests[kind])));
    if (rc == 0)
        rc = WELL(iora_flush(*out)); /* it may go byte by byte */
    if (rc == 0 && is_whole(requests[kind]))
        rc = WELL(iora_wait_for(iora_event_wait(&heard[kind]), patience()));
    else if (rc == 0 && kind != GONE)
        rc = WELL(iora_sleep(iora_ms(1))); /* let it get there */
    if (rc < 0)
        give_up(out);
    return rc;
}

static int
asks(enum kind kind)
{
    IN_TASK;
    iora_stream *stream;
    int rc = ask(kind, &stream);

    has_asked();
    if (rc < 0)
        return rc;
    rc = iora_wait_for(iora_event_wait(&all_have_asked), patience());
    if (WELL(rc) == 0 && kind != GONE)
        rc = iora_wait_for(listens(stream, kind), patience());
    (void)iora_stream_close(stream);
    return rc == -ETIMEDOUT ? WELL(rc) : 0;
}
IORA_ASYNC(asks, enum kind);

static int
hurries(iora_duration grace)
{
    return EXPECT(iora_server_stop(server, grace), -ETIMEDOUT, 0);
}

static int
hurries_too(void)
{
    IN_TASK;
    (void)hurries(iora_ms(3));
    return 0;
}
IORA_ASYNC(hurries_too);

static int
end_server(enum way way)
{
    iora_task other;
    int rc;

    switch (way) {
    case STOP:
        return EXPECT(iora_server_stop(server, patience()), 0, -ETIMEDOUT);
    case HURRY:
        return hurries(iora_ms(3));
    case TWICE:
        other = SPAWN(iora_go_eager(hurries_too));
        if (iora_task_is_valid(other) && iora_task_is_done(other))
            break; /* and the server has gone */
        rc = hurries(iora_task_is_valid(other) ? patience() : iora_ms(3));
        if (iora_task_is_valid(other))
            (void)WELL(iora_await(other));
        return rc;
    case ABORT:
        iora_server_close(server);
        iora_server_close(server);
        iora_server_close_clients(server);
        iora_server_abort_clients(server);
        if ((rc = WELL(iora_server_wait_closed(server))) == 0)
            CHECK_EQ(iora_server_clients(server), 0);
        return EXPECT(iora_server_stop(server, iora_ms(0)), 0, -ETIMEDOUT);
    case LEAVE:
        break;
    }
    return 0;
}

static int
owns_server(enum way way)
{
    IN_TASK;
    int rc = start_server(handles, NULL);

    if (rc < 0)
        return rc;
    rc = iora_wait_for(iora_event_wait(&all_have_asked), patience());
    (void)WELL(rc);
    return end_server(way) == -ETIMEDOUT ? 0 : rc;
}
IORA_ASYNC(owns_server, enum way);

static int
ends_it(enum way way)
{
    int rc = 0;

    IORA_GROUP_OF(rc, group, IORA_GROUP_ISOLATE) {
        (void)SPAWN(iora_group_go(&group, owns_server, way));
        (void)iora_yield(); /* it starts the server */
        to_ask = way == STOP ? KINDS - 1 : KINDS;
        for (int kind = 0; port != 0 && kind < KINDS; kind++) {
            if ((kind != STUBBORN || way != STOP) &&
                !iora_task_is_valid(SPAWN(iora_group_go(&group, asks, (enum kind)kind))))
                has_asked();
        }
    }
    (void)WELL(rc);
    return 0;
}
IORA_ASYNC(ends_it, enum way);

/* However it ended: who served has ended, and nobody got what was not his. */
static void
check_end(void)
{
    CHECK_EQ(handlers_ended, handlers);
    CHECK_EQ_UNARMED(to_ask, 0);
    CHECK(got[IDLE] == 0 && got[HALFWAY] == 0 && got[STUBBORN] == 0);
    CHECK(got[COMPUTING] <= 1 && got[FLOODED] <= FLOOD);
}

SCENARIO(servers, stop, ANYWHERE)
{
    RUN(ends_it, STOP);
    check_end();
    CHECK_EQ_UNARMED(got[COMPUTING], 1);
    CHECK_EQ_UNARMED(got[FLOODED], FLOOD);
    CHECK(fault_is_armed() ||
          (at_end[IDLE] && at_end[HALFWAY] && at_end[COMPUTING] && at_end[FLOODED]));
}

SCENARIO(servers, hurry, ANYWHERE)
{
    RUN(ends_it, HURRY);
    check_end();
}

SCENARIO(servers, stopped_twice, ANYWHERE)
{
    RUN(ends_it, TWICE);
    check_end();
}

SCENARIO(servers, abort, ANYWHERE)
{
    RUN(ends_it, ABORT);
    check_end();
}

SCENARIO(servers, leave, ANYWHERE)
{
    RUN(ends_it, LEAVE);
    check_end();
}

/* ---- serving that fails ------------------------------------------------------------------------------------------- */

enum { BAD = 3 };

static int failed, bad_served;

static int
fails(iora_stream *stream, void *arg)
{
    char letter;
    int rc;

    (void)arg;
    if ((rc = WELL(iora_read_exactly(stream, &letter, 1))) < 0)
        return rc;
    failed++;
    switch (letter) {
    case '0':
        return iora_fail(-EIO, "this client is a bad one");
    case '1':
        return IORA_E_INCOMPLETE; /* as any peer can cause: nobody is told */
    default:
        (void)iora_stream_close(stream);
        return 0;
    }
}

static int
is_bad_client(int number)
{
    IN_TASK;
    const char letter = (char)('0' + number);
    iora_stream *stream;
    char data[8];
    int rc = WELL(reach(&stream));

    if (rc < 0)
        return rc;
    if ((rc = WELL(iora_write(stream, &letter, 1))) == 0) {
        rc = iora_wait_for(iora_read(stream, data, sizeof data), patience());
        bad_served += WELL(rc) == 0;
    }
    finish(&stream);
    return rc;
}
IORA_ASYNC(is_bad_client, int);

static int
serves_bad_ones(void)
{
    int rc = 0;

    if (start_server(fails, NULL) < 0)
        return 0;
    IORA_GROUP_OF(rc, group, IORA_GROUP_ISOLATE) {
        for (int i = 0; i < BAD; i++)
            (void)SPAWN(iora_group_go(&group, is_bad_client, i));
    }
    (void)WELL(rc);
    (void)WELL(iora_server_stop(server, patience()));
    return 0;
}
IORA_ASYNC(serves_bad_ones);

SCENARIO(servers, failing, ANYWHERE)
{
    fault_expect_errors(1);
    RUN(serves_bad_ones);
    CHECK_EQ_UNARMED(failed, BAD);
    CHECK_EQ_UNARMED(bad_served, BAD);
}

/* ---- more clients than may be ---------------------------------------------------------------------------------------- */

enum { CROWD = 6, AT_A_TIME = 2 };

static int inside, crowd_served;

static int
serves_few(iora_stream *stream, void *arg)
{
    int rc;

    CHECK(++inside <= AT_A_TIME);
    CHECK(iora_server_clients(server) <= AT_A_TIME);
    rc = echoes(stream, arg);
    inside--;
    return rc;
}

static int
comes_with_the_crowd(int name)
{
    IN_TASK;
    iora_stream *stream;
    int rc = WELL(reach(&stream));

    if (rc < 0)
        return rc;
    rc = iora_wait_for(talks(stream, name), patience());
    finish(&stream);
    crowd_served += WELL(rc) == 0;
    return rc;
}
IORA_ASYNC(comes_with_the_crowd, int);

static int
serves_a_crowd(void)
{
    const iora_server_options options = {.size = sizeof options, .max_clients = AT_A_TIME};
    int rc = 0;

    if (start_server(serves_few, &options) < 0)
        return 0;
    IORA_GROUP_OF(rc, group, IORA_GROUP_ISOLATE) {
        for (int i = 0; i < CROWD; i++)
            (void)SPAWN(iora_group_go(&group, comes_with_the_crowd, i));
    }
    (void)WELL(rc);
    (void)WELL(iora_server_stop(server, patience()));
    return 0;
}
IORA_ASYNC(serves_a_crowd);

SCENARIO(servers, crowd, ANYWHERE)
{
    RUN(serves_a_crowd);
    CHECK_EQ(inside, 0);
    CHECK_EQ_UNARMED(crowd_served, CROWD);
}

/* ---- more connections than descriptors ---------------------------------------------------------------------------------- */

enum { MANY = 24 };

static bool was_served_after_all;

/* One connection after another, all kept open, as long as they can be had. */
static void
use_up_descriptors(void)
{
    iora_stream *streams[MANY];
    char letter;
    int count = 0;

    while (count < MANY && WELL(reach(&streams[count])) == 0)
        count++;
    for (int i = 0; i < count; i++) {
        if (WELL(iora_write(streams[i], "x", 1)) == 0 && i < 2) {
            int rc = iora_wait_for(iora_read_exactly(streams[i], &letter, 1), patience());

            (void)WELL(rc);
        }
    }
    while (count > 0)
        finish(&streams[--count]);
}

/* Whatever there was too little of, the listener is still there afterwards. */
static int
comes_back(void)
{
    iora_stream *stream;
    char letter;
    int rc = WELL(reach(&stream));

    if (rc < 0)
        return rc;
    if ((rc = WELL(iora_write(stream, "y", 1))) == 0) {
        rc = iora_wait_for(iora_read_exactly(stream, &letter, 1), iora_s(3));
        CHECK(WELL(rc) < 0 || letter == 'y');
    }
    finish(&stream);
    return rc;
}

static int
runs_out(void)
{
    int rc;

    if (start_server(echoes, NULL) < 0)
        return 0;
    use_up_descriptors();
    rc = comes_back();
    was_served_after_all = rc == 0;
    if (fault_lacks_descriptors())
        CHECK(rc == 0 || rc == -EMFILE);
    (void)WELL(iora_server_stop(server, patience()));
    return 0;
}
IORA_ASYNC(runs_out);

SCENARIO_EVERY(servers, out_of_descriptors, ANYWHERE, 13)
{
    RUN(runs_out);
    CHECK(fault_is_armed() || was_served_after_all);
}

/* ---- paths ---------------------------------------------------------------------------------------------------------------- */

static char path[64];
static bool talked_by_path;

static int
serves_a_path(void)
{
    iora_stream *stream;
    iora_server *second;
    int rc = EXPECT(iora_start_unix_server(path, echoes, NULL, NULL, &server), 0, -EADDRINUSE);

    if (rc < 0)
        return 0;
    rc = EXPECT(iora_start_unix_server(path, echoes, NULL, NULL, &second), -EADDRINUSE, 0);
    if (rc == 0) /* which was told that nobody listens, and has taken the path over */
        (void)WELL(iora_server_stop(second, patience()));
    rc = iora_wait_for(iora_open_unix_connection(path, NULL, &stream), patience());
    if (EXPECT(rc, 0, -ENOENT, -ECONNREFUSED, -ETIMEDOUT) == 0) {
        rc = iora_wait_for(talks(stream, 1), patience());
        talked_by_path = WELL(rc) == 0;
        finish(&stream);
    }
    (void)WELL(iora_server_stop(server, patience()));
    return 0;
}
IORA_ASYNC(serves_a_path);

/* One that nothing lies at. */
static void
choose_path(void)
{
    (void)snprintf(path, sizeof path, "/tmp/iora-faults-%d.sock", (int)getpid());
    (void)unlink(path); /* of a run that was killed */
}

SCENARIO(servers, path, ANYWHERE)
{
    fault_expect_log("pauses accepting");
    choose_path();
    RUN(serves_a_path);
    CHECK(talked_by_path || fault_is_armed());
    CHECK(unlink(path) < 0 || fault_is_armed()); /* which stays if its owner cannot be told */
}

/* A socket that nobody listens on any more. */
static void
leave_dead_socket(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (fd < 0)
        return;
    CHECK(bind(fd, (const struct sockaddr *)&address, sizeof address) == 0);
    (void)close(fd);
}

SCENARIO(servers, dead_path, REAL)
{
    char lock_path[80];

    fault_expect_log("pauses accepting");
    choose_path();
    leave_dead_socket();
    RUN(serves_a_path);
    CHECK(talked_by_path || fault_is_armed());
    CHECK(unlink(path) < 0 || fault_is_armed()); /* the dead one, which could not be replaced */
    (void)snprintf(lock_path, sizeof lock_path, "%s.iora-lock", path);
    CHECK(unlink(lock_path) < 0 || fault_is_armed());
}

/* ---- a socket that somebody else has made -------------------------------------------------------------------------- */

static int
make_listener(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
          listen(fd, 8) == 0 && getsockname(fd, (struct sockaddr *)&address, &length) == 0);
    port = ntohs(address.sin_port);
    return fd;
}

/* Each end knows the other by the name that it has for itself. */
static void
compare_names(const iora_stream *stream)
{
    char text[IORA_ADDRESS_TEXT], expected[IORA_ADDRESS_TEXT];
    iora_address address, server_address;

    if (WELL(iora_stream_peer(stream, &address)) == 0) {
        CHECK_EQ(iora_address_parse("127.0.0.1", port, &server_address), 0);
        CHECK(strcmp(iora_address_format(&address, text, sizeof text),
                     iora_address_format(&server_address, expected, sizeof expected)) == 0);
    }
    if (WELL(iora_stream_local(stream, &address)) == 0)
        CHECK(iora_address_port(&address) != port);
    CHECK(iora_stream_fd(stream) >= 0);
}

static int
serves_on_a_socket(void)
{
    iora_stream *stream;
    const int fd = make_listener();
    int rc = WELL(iora_start_server_on(fd, echoes, NULL, NULL, &server));

    if (rc < 0) {
        (void)close(fd);
        return 0;
    }
    if (WELL(reach(&stream)) == 0) {
        compare_names(stream);
        rc = iora_wait_for(talks(stream, 5), patience());
        (void)WELL(rc);
        finish(&stream);
    }
    (void)WELL(iora_server_stop(server, patience()));
    return 0;
}
IORA_ASYNC(serves_on_a_socket);

SCENARIO(servers, on_a_socket, REAL | AMPLE)
{
    fault_expect_log("pauses accepting");
    RUN(serves_on_a_socket);
    CHECK_EQ_UNARMED(served_rounds, ROUNDS);
}
