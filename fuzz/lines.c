/* fuzz/lines.c -- every way to read a stream, in any order, against a model.
 *
 * The input is a list of choices: how long lines may be; whether bytes arrive at once or by pieces and late, from a
 * seed; then what to do next, write some bytes, read by one of the calls, or let time pass. It all happens in a
 * simulated loop. What does not wait must answer as the model says, and each read has a deadline, after which
 * it may have lost nothing.
 *
 * The model is the list of all bytes ever written, and how many of them were taken. With late pieces (a seed)
 * a read may also time out, or iora_read() give fewer bytes; whatever is given must be the next bytes.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SENT_MAX = 40000 };

static struct {
    bool seeded;
    size_t limit;
    unsigned char sent[SENT_MAX];
    size_t count; /* of `sent` */
    size_t taken;
    bool ended;
    iora_stream *writer, *reader;
    iora_task ender;
    iora_event finished;
    char *view; /* the last one, */
    int view_size;
    size_t view_at; /* and what of `sent` it shows */
} fuzz;

static void
require(bool condition, const char *what, int rc)
{
    if (condition)
        return;
    fuzz_fail("%s: %d %s; taken %zu of %zu, limit %zu%s%s", what, rc,
              rc < 0 ? iora_err_name(rc) : "", fuzz.taken, fuzz.count, fuzz.limit,
              fuzz.ended ? ", ended" : "", fuzz.seeded ? ", with pieces" : "");
}

/* ---- the model ------------------------------------------------------------------------------------------- */

static size_t
left(void)
{
    return fuzz.count - fuzz.taken;
}

static const unsigned char *
front(void)
{
    return fuzz.sent + fuzz.taken;
}

/* What iora_read_until() answers once all that was written has arrived: a count, a code, or 0: it waits. */
static int
expect_until(const char *separator, size_t size)
{
    const unsigned char *const found = memmem(front(), left(), separator, size);

    if (found != NULL && (size_t)(found - front()) + size <= fuzz.limit)
        return (int)((size_t)(found - front()) + size);
    if (left() >= fuzz.limit)
        return IORA_E_LIMIT;
    return fuzz.ended ? IORA_E_INCOMPLETE : 0;
}

/* ---- checks ------------------------------------------------------------------------------------------------ */

/* That a read has not ended in time is right if the answer has yet to come. */
static bool
may_time_out(bool waits)
{
    return waits || fuzz.seeded;
}

/* The view shows what it should, and goes on to until the next read. */
static void
check_view(const char *what)
{
    if (fuzz.view == NULL)
        return;
    require(memcmp(fuzz.view, fuzz.sent + fuzz.view_at, (size_t)fuzz.view_size) == 0, what, 0);
    require(fuzz.view[fuzz.view_size] == '\0', "the NUL behind a view", 0);
}

static void
take_view(char *view, int size)
{
    fuzz.view = view;
    fuzz.view_size = size;
    fuzz.view_at = fuzz.taken;
    fuzz.taken += (size_t)size;
    check_view("a view");
}

/* Before a read: the last view is still as it was. Perhaps write to it, which is allowed. */
static void
leave_view(unsigned choice)
{
    check_view("a view, at its end");
    if (fuzz.view != NULL && choice % 4 == 0)
        memset(fuzz.view, '\n', (size_t)fuzz.view_size);
    fuzz.view = NULL;
}

static void
check_state(void)
{
    require(iora_stream_readable(fuzz.reader) <= left(), "iora_stream_readable()", 0);
    require(!iora_at_eof(fuzz.reader) || (fuzz.ended && left() == 0), "iora_at_eof()", 0);
}

/* ---- reads --------------------------------------------------------------------------------------------------- */

static void
read_some(size_t n, iora_duration patience)
{
    char data[512];
    int rc = iora_wait_for(iora_read(fuzz.reader, data, n), patience);

    if (rc == -ETIMEDOUT) {
        require(may_time_out(n > 0 && left() == 0 && !fuzz.ended), "iora_read()", rc);
        return;
    }
    require(rc >= 0 && (size_t)rc <= n && (size_t)rc <= left(), "iora_read()", rc);
    require(rc > 0 || n == 0 || (fuzz.ended && left() == 0), "iora_read() of nothing", rc);
    require(memcmp(data, front(), (size_t)rc) == 0, "the bytes of iora_read()", rc);
    fuzz.taken += (size_t)rc;
}

static void
read_exactly(size_t n, iora_duration patience)
{
    char *const data = malloc(n + 1); /* so that a byte too much is seen */
    const bool waits = left() < n && !fuzz.ended;
    size_t got;
    int rc = iora_wait_for(iora_read_exactly(fuzz.reader, data, n), patience);

    require(rc == 0 || rc == -ETIMEDOUT || rc == IORA_E_INCOMPLETE, "iora_read_exactly()", rc);
    require(rc != 0 || left() >= n, "iora_read_exactly() of what is not there", rc);
    require(rc != -ETIMEDOUT || may_time_out(waits), "iora_read_exactly() in time", rc);
    require(rc != IORA_E_INCOMPLETE || (fuzz.ended && left() < n), "iora_read_exactly() at the end",
            rc);
    got = rc == 0 ? n : iora_read_count(fuzz.reader);
    require(got <= left() && got <= n, "iora_read_count()", rc);
    require(rc == 0 || n > fuzz.limit || got == 0, "iora_read_count() within the limit", rc);
    require(memcmp(data, front(), got) == 0, "the bytes of iora_read_exactly()", rc);
    fuzz.taken += got;
    free(data);
}

static void
read_until(const char *separator, size_t size, iora_duration patience)
{
    const int expected = expect_until(separator, size);
    char *view;
    int rc = iora_wait_for(iora_read_until(fuzz.reader, separator, size, &view), patience);

    if (rc == -ETIMEDOUT)
        require(may_time_out(expected == 0), "iora_read_until()", rc);
    else
        require(rc == expected, "iora_read_until()", rc);
    if (rc > 0)
        take_view(view, rc);
}

static void
read_line(iora_duration patience)
{
    int expected = expect_until("\n", 1);
    const bool waits = expected == 0;
    char *view;
    int rc = iora_wait_for(iora_readline(fuzz.reader, &view), patience);

    if (expected == IORA_E_INCOMPLETE)
        expected = (int)left();
    if (rc == -ETIMEDOUT)
        require(may_time_out(waits), "iora_readline()", rc);
    else
        require(rc == expected, "iora_readline()", rc);
    if (rc == 0)
        require(*view == '\0', "the view of no line", rc);
    if (rc > 0)
        take_view(view, rc);
}

static void
read_all(size_t max, iora_duration patience)
{
    const bool is_too_much = left() > max, waits = !is_too_much && !fuzz.ended;
    char *view;
    int rc = iora_wait_for(iora_read_all(fuzz.reader, max, &view), patience);

    if (rc == -ETIMEDOUT)
        require(may_time_out(waits), "iora_read_all()", rc);
    else
        require(rc == (is_too_much ? IORA_E_LIMIT : (int)left()) && !waits, "iora_read_all()", rc);
    if (rc > 0)
        take_view(view, rc);
}

/* ---- what happens ---------------------------------------------------------------------------------------------- */

/* Few different bytes, so that separators come up. */
static void
write_some(size_t n)
{
    static const char alphabet[] = {'a', '\n', 'b', '\r', '\n', '\0', 'a', 'a'};
    const unsigned first = fuzz_byte();

    if (fuzz.ended || n > SENT_MAX - fuzz.count)
        return;
    for (size_t i = 0; i < n; i++) {
        const unsigned letter = i % 4 == 0 && n < 32 ? fuzz_byte() : first + (unsigned)(i * i / 3);

        fuzz.sent[fuzz.count + i] = (unsigned char)alphabet[letter % sizeof alphabet];
    }
    require(iora_write(fuzz.writer, fuzz.sent + fuzz.count, n) == 0, "iora_write()", 0);
    fuzz.count += n;
}

/* A task of its own, since it waits until the peer has read. */
static int
say_end(void)
{
    return iora_write_eof(fuzz.writer);
}
IORA_ASYNC(say_end);

static void
end_writing(void)
{
    if (fuzz.ended)
        return;
    fuzz.ended = true;
    fuzz.ender = iora_go(say_end);
}

static void
do_something(void)
{
    static const char separators[][4] = {"\r\n", "aa", "\n\n", "aba", "a", "\n\ra"};
    const unsigned choice = fuzz_byte(), what = choice % 16;
    const iora_duration patience = iora_us(1 + choice / 16 * 100);
    size_t n;

    if (what >= 6)
        leave_view(choice / 16);
    switch (what) {
    case 0:
    case 1:
    case 2:
        write_some(fuzz_byte() % 32);
        break;
    case 3:
        write_some(fuzz_byte() * 8);
        break;
    case 4:
        if (fuzz_byte() % 4 == 0)
            end_writing();
        break;
    case 5:
        (void)iora_sleep(patience);
        break;
    case 6:
    case 7:
        read_some(fuzz_byte() % 48, patience);
        break;
    case 8:
        read_some(fuzz_byte() * 2, patience);
        break;
    case 9:
        read_exactly(fuzz_byte() % 64, patience);
        break;
    case 10:
        read_exactly(fuzz_byte() * 6, patience);
        break;
    case 11:
    case 12:
        n = fuzz_byte() % (sizeof separators / sizeof separators[0]);
        read_until(separators[n], strlen(separators[n]), patience);
        break;
    case 13:
    case 14:
        read_line(patience);
        break;
    default:
        read_all(fuzz_byte() * 4, patience);
        break;
    }
    check_state();
}

/* In the end everything is there, once. */
static void
read_the_rest(void)
{
    leave_view(1);
    end_writing();
    while (left() > 0) {
        const size_t before = fuzz.taken;

        read_some(500, iora_s(10));
        require(fuzz.taken > before, "reading the rest", 0);
    }
    read_some(1, iora_s(10));
    require(iora_at_eof(fuzz.reader), "iora_at_eof() at the end", 0);
    require(iora_await(fuzz.ender) == 0, "iora_write_eof()", 0);
}

static int
hand_over(iora_stream *stream, void *arg)
{
    (void)arg;
    fuzz.writer = stream;
    return iora_event_wait(&fuzz.finished);
}

static int
run(void)
{
    const iora_connect_options options = {.size = sizeof options, .line_limit = fuzz.limit};
    iora_server *server;

    require(iora_start_unix_server("@fuzz", hand_over, NULL, NULL, &server) == 0, "a server", 0);
    require(iora_open_unix_connection("@fuzz", &options, &fuzz.reader) == 0, "a connection", 0);
    while (fuzz.writer == NULL)
        (void)iora_sleep(iora_ms(1));
    while (!fuzz_is_over())
        do_something();
    read_the_rest();
    iora_event_set(&fuzz.finished);
    require(iora_stream_close(fuzz.reader) == 0, "closing", 0);
    return iora_server_stop(server, iora_s(1));
}
IORA_ASYNC(run);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    iora_loop *loop;
    unsigned seed;

    memset(&fuzz, 0, sizeof fuzz);
    fuzz_begin(data, size);
    seed = fuzz_byte() % 16;
    fuzz.seeded = seed != 0;
    fuzz.limit = 16 + fuzz_byte();
    loop = fuzz_loop(seed);
    require(iora_run_in(loop, run) == 0, "the run", 0);
    fuzz_end_loop(loop);
    return 0;
}
