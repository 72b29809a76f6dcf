/* tests/fault/scenarios_streams.c -- two ends of a stream, and whatever may happen to one of them. */
#include "traffic.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

static iora_stream *left, *right;

/* The two streams; false if they cannot be had. */
static bool
open_pair(void)
{
    return WELL(iora_stream_pair(&left, &right)) == 0;
}

static void
finish_both(void)
{
    finish(&left);
    finish(&right);
}

static int
sends(iora_stream **stream, struct flow *flow)
{
    IN_TASK;
    return flow_send(stream, flow);
}
IORA_ASYNC(sends, iora_stream **, struct flow *);

static int
receives(iora_stream **stream, struct flow *flow)
{
    IN_TASK;
    return flow_receive(stream, flow);
}
IORA_ASYNC(receives, iora_stream **, struct flow *);

/* ---- both ways at once ---------------------------------------------------------------------------------- */

static struct flow there = {.name = 1, .total = 180000}, back = {.name = 2, .total = 150000};

static int
crosses(void)
{
    int rc = 0;

    if (!open_pair())
        return 0;
    IORA_GROUP_OF(rc, group, IORA_GROUP_ISOLATE) {
        if (!iora_task_is_valid(SPAWN(iora_group_go(&group, sends, &left, &there))))
            give_up(&left);
        if (!iora_task_is_valid(SPAWN(iora_group_go(&group, sends, &right, &back))))
            give_up(&right);
        (void)SPAWN(iora_group_go(&group, receives, &left, &back));
        (void)SPAWN(iora_group_go(&group, receives, &right, &there));
        rc = 0;
    }
    (void)WELL(rc);
    finish_both();
    return 0;
}
IORA_ASYNC(crosses);

SCENARIO(streams, both_ways, ANYWHERE)
{
    RUN(crosses);
    flow_settle(&there);
    flow_settle(&back);
}

/* ---- lines ------------------------------------------------------------------------------------------------ */

enum { LINES = 30 };

static int lines_written, lines_read;

/* Lines of 1, 2, 5, 10, 17 ... bytes, '\n' included. */
static int
make_line(int number, char line[4096])
{
    const int n = number * number % 4000;

    for (int i = 0; i < n; i++)
        line[i] = (char)('a' + (unsigned char)flow_byte(number, (size_t)i) % 26);
    line[n] = '\n';
    line[n + 1] = '\0';
    return n + 1;
}

static int
writes_lines(void)
{
    IN_TASK;
    char line[4096];
    int rc = 0;

    while (lines_written < LINES && rc == 0) {
        const size_t n = (size_t)make_line(lines_written, line), half = n / 2;
        const struct iovec pieces[] = {{line, half}, {line + half, 0}, {line + half, n - half}};

        rc =
            WELL(lines_written % 2 == 0 ? iora_write(left, line, n) : iora_writev(left, pieces, 3));
        lines_written += rc == 0;
    }
    finish(&left);
    return rc;
}
IORA_ASYNC(writes_lines);

/* The last line may be cut, if its writer was. */
static int
reads_lines(void)
{
    char *line, expected[4096];
    bool was_cut = false;
    int rc = 0;

    iora_for_each(rc, iora_lines, &line, right) {
        const size_t n = (size_t)make_line(lines_read, expected), size = strlen(line);

        CHECK(!was_cut && size <= n && memcmp(line, expected, size) == 0);
        was_cut = size < n;
        CHECK(!was_cut || fault_is_armed());
        lines_read += !was_cut;
    }
    return WELL(rc);
}

static int
passes_lines(void)
{
    iora_task writer;

    if (!open_pair())
        return 0;
    writer = SPAWN(iora_go(writes_lines));
    if (iora_task_is_valid(writer)) {
        if (reads_lines() < 0)
            give_up(&right);
        (void)WELL(iora_await(writer));
    }
    finish_both();
    return 0;
}
IORA_ASYNC(passes_lines);

SCENARIO(streams, lines, ANYWHERE)
{
    RUN(passes_lines);
    CHECK(lines_read <= lines_written + 1);
    CHECK_EQ_UNARMED(lines_read, LINES);
}

/* ---- separators, and lines that are too long -------------------------------------------------------------- */

enum { LIMIT = 64, PARTS = 12 };

static int parts_read;

/* "part 3 xxxx\r\n\r\n"; each third one is longer than the limit. */
static size_t
make_part(int number, char part[256])
{
    const int padding = number % 3 == 2 ? 100 : number * 3;
    const int n = snprintf(part, 256, "part %d ", number);

    memset(part + n, 'x', (size_t)padding);
    memcpy(part + n + padding, "\r\n\r\n", 5);
    return (size_t)(n + padding + 4);
}

static int
sends_parts(iora_stream *client, void *arg)
{
    char part[256];
    int rc = 0;

    (void)arg;
    for (int i = 0; i < PARTS && rc == 0; i++)
        rc = WELL(iora_write(client, part, make_part(i, part)));
    return 0;
}

/* The part that is too long for a view, by its pieces. */
static int
read_long_part(iora_stream *stream, const char *part, size_t size)
{
    char data[256];
    size_t got = 0;
    int rc = 1;

    CHECK(iora_stream_readable(stream) >= LIMIT);
    while (got < size && rc > 0) {
        const size_t n = size - got < 10 ? size - got : 10;

        if ((rc = WELL(iora_read(stream, data, n))) > 0) {
            CHECK(memcmp(data, part + got, (size_t)rc) == 0);
            got += (size_t)rc;
        }
    }
    return rc;
}

static int
read_parts(iora_stream *stream)
{
    char part[256], *data;
    int rc = 1;

    for (parts_read = 0; parts_read < PARTS && rc > 0; parts_read++) {
        const size_t size = make_part(parts_read, part);

        rc = iora_read_until(stream, "\r\n\r\n", 4, &data);
        if (rc == IORA_E_LIMIT) {
            CHECK(size > LIMIT);
            rc = read_long_part(stream, part, size);
        } else if (WELL(rc) > 0) {
            CHECK_EQ(rc, size);
            CHECK(memcmp(data, part, size + 1) == 0);
        }
    }
    parts_read -= rc <= 0;
    if (rc > 0)
        rc = iora_read_until(stream, "\r\n\r\n", 4, &data);
    return rc == IORA_E_INCOMPLETE ? 0 : WELL(rc);
}

static int
reads_parts(void)
{
    const iora_connect_options options = {.size = sizeof options, .line_limit = LIMIT};
    iora_server *server;
    iora_stream *stream = NULL;

    if (WELL(iora_start_server("127.0.0.1", 0, sends_parts, NULL, NULL, &server)) < 0)
        return 0;
    if (WELL(iora_open_connection("127.0.0.1", iora_server_port(server), &options, &stream)) == 0) {
        int rc = iora_wait_for(read_parts(stream), patience());

        (void)WELL(rc);
    }
    finish(&stream);
    (void)WELL(iora_server_stop(server, patience()));
    return 0;
}
IORA_ASYNC(reads_parts);

SCENARIO(streams, parts, ANYWHERE)
{
    fault_expect_log("pauses accepting");
    RUN(reads_parts);
    CHECK_EQ_UNARMED(parts_read, PARTS);
}

/* ---- exactly so many, with deadlines in between -------------------------------------------------------------- */

static struct flow counted = {.name = 3, .total = 150000};
static int deadlines;

static int
sends_haltingly(void)
{
    IN_TASK;
    char data[3000];
    int rc = 0;

    for (size_t at = 0; at < counted.total && rc == 0; at += sizeof data) {
        flow_fill(counted.name, at, data, sizeof data);
        if (at % 30000 == 0)
            rc = WELL(iora_sleep(iora_us(1500)));
        if (rc == 0)
            rc = WELL(iora_write(left, data, sizeof data));
    }
    if (rc == 0)
        rc = WELL(iora_write_eof(left));
    counted.said_end = rc == 0;
    finish(&left);
    return rc;
}
IORA_ASYNC(sends_haltingly);

/* What a read that came to nothing has left in the caller's memory counts; all else stays in the stream. */
static int
read_counted(char *data, size_t n)
{
    const size_t left_over = counted.total - counted.received;
    int rc = 0, how = 0;

    if (n > left_over)
        n = left_over;
    IORA_TIMEOUT(rc, iora_ms(1 + deadlines / 4)) {
        rc = how = iora_read_exactly(right, data, n);
    }
    flow_took(&counted, data, how == 0 ? n : iora_read_count(right));
    if (how == -ECANCELED && rc == -ETIMEDOUT) {
        deadlines++;
        return 0;
    }
    return WELL(how);
}

static int
counts(void)
{
    char *const data = malloc(counted.total);
    iora_task sender;
    int rc = 0;

    CHECK(data != NULL);
    if (open_pair() && iora_task_is_valid(sender = SPAWN(iora_go(sends_haltingly)))) {
        for (size_t n = 1; counted.received < counted.total && rc == 0; n = n * 3 % 80000 + 1)
            rc = read_counted(data, n);
        if (rc == 0)
            counted.saw_end = WELL(iora_read(right, data, 1)) == 0;
        else
            give_up(&right);
        (void)WELL(iora_await(sender));
    }
    finish_both();
    free(data);
    return 0;
}
IORA_ASYNC(counts);

SCENARIO(streams, counts, ANYWHERE)
{
    RUN(counts);
    flow_settle(&counted);
    CHECK(fault_is_armed() || fault_where() != SIM || deadlines > 0);
}

/* ---- a reader that is slower than its writer ------------------------------------------------------------------ */

static struct flow pressed = {.name = 4, .total = 400000};
static size_t most_unsent;

static int
presses(void)
{
    IN_TASK;
    char *const data = malloc(200000);
    size_t sent = 0;
    int rc = 0;

    CHECK(data != NULL);
    while (sent < pressed.total && rc == 0) {
        const size_t n = sent < 200000 ? 12500 : 200000;

        flow_fill(pressed.name, sent, data, n);
        rc = WELL(iora_write(left, data, n));
        sent += n;
        if (iora_stream_unsent(left) > most_unsent)
            most_unsent = iora_stream_unsent(left);
        if (rc == 0 && sent % 50000 == 0)
            rc = WELL(iora_flush(left));
        CHECK(rc < 0 || sent % 50000 != 0 || iora_stream_unsent(left) == 0);
    }
    finish(&left); /* which sends the rest */
    free(data);
    return rc;
}
IORA_ASYNC(presses);

static int
is_pressed(void)
{
    char data[9000];
    iora_task presser;
    int rc = 1;

    if (open_pair() && iora_task_is_valid(presser = SPAWN(iora_go(presses)))) {
        while (rc > 0) {
            if ((rc = WELL(iora_yield())) == 0 &&
                (rc = WELL(iora_read(right, data, sizeof data))) > 0)
                flow_took(&pressed, data, (size_t)rc);
        }
        if (rc < 0)
            give_up(&right);
        (void)WELL(iora_await(presser));
    }
    finish_both();
    return 0;
}
IORA_ASYNC(is_pressed);

SCENARIO(streams, pressure, ANYWHERE)
{
    RUN(is_pressed);
    CHECK(most_unsent <= 65536);
    CHECK_EQ_UNARMED(pressed.received, pressed.total);
}

/* ---- many pieces as one -------------------------------------------------------------------------------------- */

enum { PIECES = 40 };

static struct flow pieced = {.name = 5};

static int
writes_pieces(void)
{
    IN_TASK;
    char *const data = malloc(pieced.total);
    struct iovec pieces[PIECES];
    size_t at = 0;
    int rc;

    CHECK(data != NULL);
    flow_fill(pieced.name, 0, data, pieced.total);
    for (size_t i = 0; i < PIECES; i++) {
        pieces[i] = (struct iovec){data + at, i * i * 6 % 7000}; /* the first is empty */
        at += pieces[i].iov_len;
    }
    CHECK(at <= pieced.total);
    if ((rc = WELL(iora_writev(left, pieces, PIECES))) == 0 &&
        (rc = WELL(iora_write(left, data + at, pieced.total - at))) == 0)
        rc = WELL(iora_write_eof(left));
    pieced.said_end = rc == 0;
    if (rc < 0)
        give_up(&left);
    free(data);
    return rc;
}
IORA_ASYNC(writes_pieces);

static int
passes_pieces(void)
{
    iora_task writer;

    pieced.total = 150000;
    if (open_pair() && iora_task_is_valid(writer = SPAWN(iora_go(writes_pieces)))) {
        (void)flow_receive(&right, &pieced);
        (void)WELL(iora_await(writer));
    }
    finish_both();
    return 0;
}
IORA_ASYNC(passes_pieces);

SCENARIO(streams, pieces, ANYWHERE)
{
    RUN(passes_pieces);
    flow_settle(&pieced);
}

/* ---- a question that ends before its answer begins ---------------------------------------------------------------- */

static struct flow question = {.name = 6, .total = 80000}, answer = {.name = 7, .total = 90000};

static int
answers(void)
{
    IN_TASK;
    int rc = flow_receive(&right, &question);

    if (rc == 0)
        rc = flow_send(&right, &answer);
    if (rc < 0)
        give_up(&right);
    return rc;
}
IORA_ASYNC(answers);

static int
asks(void)
{
    iora_task other;
    char data[1];

    if (open_pair() && iora_task_is_valid(other = SPAWN(iora_go(answers)))) {
        if (flow_send(&left, &question) == 0) {
            CHECK_EQ_UNARMED(iora_write(left, "x", 1), -EPIPE);
            if (flow_receive(&left, &answer) == 0) {
                CHECK(iora_at_eof(left));
                (void)WELL(iora_read(left, data, 1));
            }
        }
        (void)WELL(iora_await(other));
    }
    finish_both();
    return 0;
}
IORA_ASYNC(asks);

SCENARIO(streams, half_close, ANYWHERE)
{
    RUN(asks);
    flow_settle(&question);
    flow_settle(&answer);
}

/* ---- a proxy --------------------------------------------------------------------------------------------------------- */

static struct flow up = {.name = 8, .total = 120000}, down = {.name = 9, .total = 120000};
static iora_stream *client, *front, *behind, *service;
static bool proxy_failed;

static int
copies(iora_stream **from, iora_stream **to)
{
    IN_TASK;
    char data[16 * 1024];
    int rc = 1;

    while (rc > 0) {
        rc = *from != NULL ? WELL(iora_read(*from, data, sizeof data)) : IORA_E_CLOSED;
        if (rc > 0) {
            const int n = rc;

            rc = *to != NULL ? WELL(iora_write(*to, data, (size_t)n)) : IORA_E_CLOSED;
            rc = rc == 0 ? n : rc;
        }
    }
    if (rc == 0)
        rc = *to != NULL ? WELL(iora_write_eof(*to)) : IORA_E_CLOSED;
    if (rc < 0) {
        proxy_failed = true;
        give_up(from);
        give_up(to);
    }
    return rc;
}
IORA_ASYNC(copies, iora_stream **, iora_stream **);

static void
start_or_give_up(iora_task task)
{
    if (!iora_task_is_valid(task)) {
        give_up(&front);
        give_up(&behind);
        give_up(&client);
        give_up(&service);
    }
}

static int
proxies(void)
{
    int rc = 0;

    if (WELL(iora_stream_pair(&client, &front)) < 0)
        return 0;
    if (WELL(iora_stream_pair(&behind, &service)) == 0) {
        IORA_GROUP_OF(rc, group, IORA_GROUP_ISOLATE) {
            start_or_give_up(SPAWN(iora_group_go(&group, copies, &front, &behind)));
            start_or_give_up(SPAWN(iora_group_go(&group, copies, &behind, &front)));
            start_or_give_up(SPAWN(iora_group_go(&group, sends, &client, &up)));
            start_or_give_up(SPAWN(iora_group_go(&group, sends, &service, &down)));
            start_or_give_up(SPAWN(iora_group_go(&group, receives, &client, &down)));
            start_or_give_up(SPAWN(iora_group_go(&group, receives, &service, &up)));
        }
        (void)WELL(rc);
    }
    finish(&client);
    finish(&front);
    finish(&behind);
    finish(&service);
    return 0;
}
IORA_ASYNC(proxies);

SCENARIO(streams, proxy, ANYWHERE)
{
    RUN(proxies);
    CHECK(fault_is_armed() || !proxy_failed);
    if (proxy_failed)
        return; /* then two that come to their ends need not be of the same connection's */
    flow_settle(&up);
    flow_settle(&down);
}

/* ---- a stream that is closed under those who use it -------------------------------------------------------------------- */

static int ended_in_it;

static int
reads_until_closed(void)
{
    IN_TASK;
    char data[16];
    int rc = IORA_E_CLOSED;

    if (left != NULL)
        rc = EXPECT_UNLESS_CANCELLED(iora_read(left, data, sizeof data), IORA_E_CLOSED, -ECONNRESET,
                                     0);
    ended_in_it++;
    return rc == IORA_E_CLOSED ? 0 : rc;
}
IORA_ASYNC(reads_until_closed);

static int
writes_until_closed(void)
{
    IN_TASK;
    char *const data = calloc(1, 400000);
    int rc = IORA_E_TORN;

    CHECK(data != NULL);
    if (left != NULL)
        rc = EXPECT_UNLESS_CANCELLED(iora_write(left, data, 400000), IORA_E_TORN, IORA_E_CLOSED,
                                     -EPIPE, -ECONNRESET);
    ended_in_it++;
    free(data);
    return rc == IORA_E_TORN ? 0 : rc;
}
IORA_ASYNC(writes_until_closed);

static int
closes_under_them(void)
{
    iora_stream *mine;
    int rc = 0;

    if (!open_pair())
        return 0;
    mine = left;
    IORA_GROUP_OF(rc, group, IORA_GROUP_ISOLATE) {
        (void)SPAWN(iora_group_go(&group, reads_until_closed));
        (void)SPAWN(iora_group_go(&group, writes_until_closed));
        (void)iora_yield();
        left = NULL;
        (void)EXPECT(iora_stream_close(mine), IORA_E_TORN, 0, -EPIPE, -ECONNRESET);
    }
    (void)WELL(rc);
    finish(&right);
    return 0;
}
IORA_ASYNC(closes_under_them);

SCENARIO(streams, closed, ANYWHERE)
{
    RUN(closes_under_them);
    CHECK_EQ_UNARMED(ended_in_it, 2);
}

/* ---- all that there is ------------------------------------------------------------------------------------- */

static struct flow whole = {.name = 11, .total = 90000};

static int
sends_whole(void)
{
    IN_TASK;

    return flow_send(&left, &whole);
}
IORA_ASYNC(sends_whole);

/* What was too much at first stays, and is had when there is room for it. */
static int
reads_whole(void)
{
    char *data;
    int rc = iora_read_all(right, whole.total / 2, &data);

    if (EXPECT(rc < 0 ? rc : IORA_E_LIMIT, IORA_E_LIMIT, -ECONNRESET, IORA_E_TORN) != IORA_E_LIMIT)
        return rc;
    if (rc >= 0) { /* its sender gave up before the half of it */
        flow_took(&whole, data, (size_t)rc);
        return rc;
    }
    if ((rc = WELL(iora_read_all(right, whole.total, &data))) >= 0) {
        flow_took(&whole, data, (size_t)rc);
        whole.saw_end = true;
    }
    return rc;
}

static int
passes_the_whole(void)
{
    iora_task sender;

    if (!open_pair())
        return 0;
    sender = SPAWN(iora_go(sends_whole));
    if (iora_task_is_valid(sender)) {
        if (reads_whole() < 0)
            give_up(&right);
        (void)WELL(iora_await(sender));
    }
    finish_both();
    return 0;
}
IORA_ASYNC(passes_the_whole);

SCENARIO(streams, whole, ANYWHERE)
{
    RUN(passes_the_whole);
    flow_settle(&whole);
}

/* ---- pipes that somebody else has made --------------------------------------------------------------------------------- */

static struct flow piped = {.name = 10, .total = 200000};
static iora_stream *source, *sink;

static int
sends_through_pipe(void)
{
    IN_TASK;
    int rc = flow_write(&sink, &piped);

    if (rc == 0 && fault_is_slow())
        rc = WELL(iora_flush(sink)); /* the 5 s of a close are real */
    if (rc == 0)
        piped.said_end = finish(&sink) == 0; /* a pipe has no half-close */
    return rc;
}
IORA_ASYNC(sends_through_pipe);

static int
wrap(int fd, iora_stream **out)
{
    const int rc = WELL(iora_stream_from_fd(fd, NULL, out));

    if (rc < 0)
        (void)close(fd);
    return rc;
}

static int
uses_pipe(void)
{
    int ends[2];
    iora_task sender;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return 0;
    if (wrap(ends[0], &source) < 0)
        source = NULL;
    if (wrap(ends[1], &sink) < 0)
        sink = NULL;
    if (source != NULL && sink != NULL &&
        iora_task_is_valid(sender = SPAWN(iora_go(sends_through_pipe)))) {
        (void)flow_receive(&source, &piped);
        (void)WELL(iora_await(sender));
    }
    finish(&source);
    finish(&sink);
    return 0;
}
IORA_ASYNC(uses_pipe);

SCENARIO(streams, pipes, REAL)
{
    RUN(uses_pipe);
    flow_settle(&piped);
}
