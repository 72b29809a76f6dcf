/* tests/load/roles.c -- the server and its clients (load.h): each a program of iora's own C functions.
 *
 * The server echoes. Every message is made of its connection's number and its own, and compared when it comes back:
 * bytes of another connection, of another message, or in another order are seen.
 */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- what roles do alike --------------------------------------------------------------------------- */

int
load_next(iora_stream *commands)
{
    char command;
    const int rc = iora_read(commands, &command, 1);

    return rc > 0 ? command : rc;
}

int
load_done(const struct role *role)
{
    return write(role->answers, "", 1) == 1 ? 0 : -EPIPE;
}

int
load_problem(struct figures *figures, int rc, const char *what, int connection)
{
    if (figures->problem[0] == '\0')
        (void)snprintf(figures->problem, sizeof figures->problem, "%s of connection %d: %s", what,
                       connection, iora_err_name(rc));
    return rc;
}

/* splitmix64. */
static uint64_t
draw(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static iora_duration
some_time(uint64_t *state, double mean_s)
{
    return iora_s(mean_s * 2 * (double)(draw(state) >> 11) / (double)(UINT64_C(1) << 53));
}

/* The message of that number on that connection: its bytes, and how many. */
static size_t
make_message(char message[MESSAGE_MAX], int connection, uint64_t number)
{
    uint64_t state = ((uint64_t)connection << 32) + number;
    const size_t size = 1 + draw(&state) % MESSAGE_MAX;

    for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
        const uint64_t word = draw(&state);

        memcpy(message + at, &word, size - at < sizeof word ? size - at : sizeof word);
    }
    return size;
}

static int
connect_to(const struct role *role, uint16_t port, int connection, iora_stream **out)
{
    const iora_connect_options options = {.size = sizeof options, .each = iora_s(60)};
    char host[16];
    int rc;

    (void)snprintf(host, sizeof host, "127.0.0.%d", 1 + connection % ADDRESSES);
    rc = iora_open_connection(host, port, &options, out);
    if (rc == 0)
        role->figures->connections++;
    else if (rc != -ECANCELED)
        (void)load_problem(role->figures, rc, "connecting", connection);
    return rc;
}

/* Send a message, and wait for it. */
static int
exchange(const struct role *role, iora_stream *stream, int connection, uint64_t number)
{
    char message[MESSAGE_MAX], answer[MESSAGE_MAX];
    const size_t size = make_message(message, connection, number);
    int rc;

    if ((rc = iora_write(stream, message, size)) < 0)
        return load_problem(role->figures, rc, "writing", connection);
    if ((rc = iora_read_exactly(stream, answer, size)) < 0)
        return load_problem(role->figures, rc, "reading", connection);
    role->figures->wrong += memcmp(message, answer, size) != 0;
    role->figures->messages++;
    role->figures->bytes += size;
    return 0;
}

/* ---- the server ------------------------------------------------------------------------------------- */

static struct figures *server_figures;
static int clients;

static int
echo(iora_stream *client, void *arg)
{
    char data[MESSAGE_MAX];
    int rc;

    (void)arg;
    if (++clients > server_figures->connections)
        server_figures->connections = clients;
    while ((rc = iora_read(client, data, sizeof data)) > 0) {
        server_figures->bytes += (size_t)rc;
        if ((rc = iora_write(client, data, (size_t)rc)) < 0)
            break;
    }
    clients--;
    return rc;
}

int
load_serve(const struct role *role)
{
    iora_stream *commands;
    iora_server *server;
    int rc;

    server_figures = role->figures;
    if ((rc = iora_stream_from_fd(role->commands, NULL, &commands)) < 0)
        return rc;
    if ((rc = iora_start_server("0.0.0.0", 0, echo, NULL, NULL, &server)) < 0)
        goto fail_commands;
    role->figures->port = iora_server_port(server);
    while ((rc = load_done(role)) == 0 && (rc = load_next(commands)) > 0)
        continue;
    (void)iora_server_stop(server, iora_s(5));
fail_commands:
    iora_stream_abort(commands);
    return rc;
}

/* ---- many that are held ------------------------------------------------------------------------------- */

static struct {
    const struct role *role;
    iora_semaphore connecting;
    int connected, quiet; /* how many are */
    iora_event all_connected, all_quiet, end;
    iora_instant until;
    uint32_t *latencies_us;
    size_t latency_count, latency_room;
} hold;

static int
note_latency(iora_duration taken)
{
    if (hold.latency_count == hold.latency_room) {
        const size_t room = hold.latency_room * 2 + 4096;
        uint32_t *const more = realloc(hold.latencies_us, room * sizeof *more);

        if (more == NULL)
            return -ENOMEM;
        hold.latencies_us = more;
        hold.latency_room = room;
    }
    hold.latencies_us[hold.latency_count++] = (uint32_t)(iora_to_ns(taken) / 1000);
    return 0;
}

static int
talk(iora_stream *stream, int connection)
{
    uint64_t state = (uint64_t)connection, number = 0;
    int rc = 0;

    while (rc == 0) {
        const iora_instant next = iora_after(iora_now(), some_time(&state, hold.role->plan->pause));
        iora_instant began;

        if (next._ns >= hold.until._ns)
            return 0;
        if ((rc = iora_sleep_until(next)) < 0)
            return rc;
        began = iora_now();
        if ((rc = exchange(hold.role, stream, connection, number++)) == 0)
            rc = note_latency(iora_between(began, iora_now()));
    }
    return rc;
}

static void
count_up(int *count, iora_event *all)
{
    if (++*count == hold.role->plan->connections)
        iora_event_set(all);
}

static int
open_one(int connection, iora_stream **out)
{
    int rc = iora_semaphore_acquire(&hold.connecting);

    if (rc < 0)
        return rc;
    rc = connect_to(hold.role, hold.role->ports.beside, connection, out);
    (void)iora_semaphore_release(&hold.connecting);
    return rc;
}

/* A connection's whole life. All begin to talk when all are there, and end when all have had nothing to say. */
static int
live(int connection)
{
    iora_stream *stream;
    int rc;

    if ((rc = open_one(connection, &stream)) < 0)
        return rc;
    count_up(&hold.connected, &hold.all_connected);
    if ((rc = iora_event_wait(&hold.all_connected)) < 0 || (rc = talk(stream, connection)) < 0)
        goto out;
    count_up(&hold.quiet, &hold.all_quiet);
    if ((rc = iora_event_wait(&hold.end)) == 0 && iora_stream_readable(stream) > 0)
        hold.role->figures->wrong++; /* more than was sent */
out:
    iora_stream_abort(stream);
    return rc;
}
IORA_ASYNC(live, int);

static int
compare_latencies(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static void
sum_up(struct figures *figures)
{
    const size_t n = hold.latency_count;

    if (n == 0)
        return;
    qsort(hold.latencies_us, n, sizeof *hold.latencies_us, compare_latencies);
    figures->p50_us = hold.latencies_us[n / 2];
    figures->p99_us = hold.latencies_us[n / 100 * 99];
    figures->most_us = hold.latencies_us[n - 1];
}

/* What the role says and waits for, while the connections live. */
static int
conduct(const struct role *role, iora_stream *commands)
{
    const iora_instant began = iora_now();
    int rc;

    hold.until = iora_after(began, IORA_FOREVER);
    if ((rc = iora_event_wait(&hold.all_connected)) < 0)
        return rc;
    hold.until = iora_after(iora_now(), iora_s(role->plan->seconds));
    role->figures->seconds = iora_to_s(iora_between(began, iora_now()));
    if ((rc = load_done(role)) < 0 || (rc = iora_event_wait(&hold.all_quiet)) < 0)
        return rc;
    sum_up(role->figures);
    if ((rc = load_done(role)) < 0)
        return rc;
    rc = load_next(commands); /* to end; until then nothing happens */
    iora_event_set(&hold.end);
    return rc < 0 ? rc : 0;
}
IORA_ASYNC(conduct, const struct role *, iora_stream *);

int
load_hold(const struct role *role)
{
    iora_stream *commands;
    int rc;

    hold.role = role;
    hold.connecting = (iora_semaphore)IORA_SEMAPHORE_INIT(AT_ONCE);
    if ((rc = iora_stream_from_fd(role->commands, NULL, &commands)) < 0)
        return rc;
    IORA_GROUP(rc, group) {
        iora_group_go(&group, conduct, role, commands);
        for (int i = 0; i < role->plan->connections; i++)
            iora_group_go(&group, live, i);
    }
    iora_stream_abort(commands);
    free(hold.latencies_us);
    return rc;
}

/* ---- a few that are fast ------------------------------------------------------------------------------ */

static int
be_fast(const struct role *role, iora_stream *stream, int connection, iora_instant until)
{
    uint64_t number = 0;
    int rc = 0;

    while (rc == 0 && iora_now()._ns < until._ns)
        rc = exchange(role, stream, connection, number++);
    return rc;
}
IORA_ASYNC(be_fast, const struct role *, iora_stream *, int, iora_instant);

/* All of one server for a window. */
static int
measure_once(const struct role *role, iora_stream **streams)
{
    const iora_instant began = iora_now(), until = iora_after(began, iora_s(role->plan->window));
    int rc = 0;

    role->figures->messages = 0;
    IORA_GROUP(rc, group) {
        for (int i = 0; i < role->plan->fast; i++)
            iora_group_go(&group, be_fast, role, streams[i], i, until);
    }
    role->figures->seconds = iora_to_s(iora_between(began, iora_now()));
    return rc;
}

static int
measure_when_told(const struct role *role, iora_stream *commands, iora_stream **beside,
                  iora_stream **alone)
{
    int rc;

    while ((rc = load_done(role)) == 0 && (rc = load_next(commands)) > 0) {
        if ((rc = measure_once(role, rc == LOAD_ALONE ? alone : beside)) < 0)
            return rc;
    }
    return rc;
}

int
load_be_fast(const struct role *role)
{
    const int fast = role->plan->fast;
    iora_stream **const streams = calloc(2 * (size_t)fast, sizeof *streams);
    iora_stream *commands;
    int rc;

    if (streams == NULL)
        return -ENOMEM;
    if ((rc = iora_stream_from_fd(role->commands, NULL, &commands)) < 0)
        goto fail_streams;
    for (int i = 0; i < 2 * fast && rc == 0; i++)
        rc = connect_to(role, i < fast ? role->ports.beside : role->ports.alone, i, &streams[i]);
    if (rc == 0)
        rc = measure_when_told(role, commands, streams, streams + fast);
    for (int i = 0; i < 2 * fast; i++)
        iora_stream_abort(streams[i]);
    iora_stream_abort(commands);
fail_streams:
    free(streams);
    return rc;
}

/* ---- many that are slow ------------------------------------------------------------------------------- */

enum {
    BYTE_S = 10, /* a byte each 10 s, */
    DEAF = 50,   /* but one in so many sends much and reads nothing */
    DEAF_BYTES = 256 * 1024,
    DEAF_WINDOW = 4 * 1024 /* of its socket */
};

static iora_semaphore slow_connecting = IORA_SEMAPHORE_INIT(AT_ONCE);
static iora_event slow_connected;

static int
trickle(const struct role *role, iora_stream *stream, int connection)
{
    uint64_t state = (uint64_t)connection;
    int rc = 0;

    while (rc == 0) {
        const char sent = (char)draw(&state);
        char received;

        if ((rc = iora_sleep(some_time(&state, BYTE_S))) < 0 ||
            (rc = iora_write(stream, &sent, 1)) < 0 ||
            (rc = iora_read_exactly(stream, &received, 1)) < 0)
            break;
        role->figures->wrong += sent != received;
        role->figures->messages++;
    }
    return rc;
}

static int
be_deaf(iora_stream *stream)
{
    static const char bytes[DEAF_BYTES];
    const int window = DEAF_WINDOW;
    int rc;

    (void)setsockopt(iora_stream_fd(stream), SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
    if ((rc = iora_write(stream, bytes, sizeof bytes)) < 0)
        return rc;
    return iora_sleep(IORA_FOREVER);
}

static int
be_slow(const struct role *role, int connection)
{
    iora_stream *stream;
    int rc = iora_semaphore_acquire(&slow_connecting);

    if (rc < 0)
        return rc;
    rc = connect_to(role, role->ports.beside, connection, &stream);
    (void)iora_semaphore_release(&slow_connecting);
    if (rc < 0)
        return rc;
    if (role->figures->connections == role->plan->slow)
        iora_event_set(&slow_connected);
    rc = connection % DEAF == 0 ? be_deaf(stream) : trickle(role, stream, connection);
    iora_stream_abort(stream);
    return rc == -ECANCELED ? rc : load_problem(role->figures, rc, "slow traffic", connection);
}
IORA_ASYNC(be_slow, const struct role *, int);

int
load_be_slow(const struct role *role)
{
    iora_stream *commands;
    int rc;

    if ((rc = iora_stream_from_fd(role->commands, NULL, &commands)) < 0)
        return rc;
    IORA_GROUP(rc, group) {
        for (int i = 0; i < role->plan->slow; i++)
            iora_group_go(&group, be_slow, role, i);
        if ((rc = iora_event_wait(&slow_connected)) == 0 && (rc = load_done(role)) == 0)
            rc = load_next(commands);
        iora_group_cancel(&group);
    }
    iora_stream_abort(commands);
    return rc;
}
