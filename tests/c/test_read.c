/* tests/c/test_read.c -- reading from a stream: what each call gives, and that no cancel loses a byte. */
#include "chance.h"
#include "streams.h"

#include <limits.h>
#include <sys/mman.h>

enum { LIMIT = 64 * 1024 }; /* of a line, by default */

/* ---- read --------------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(read, gives_what_is_there_and_no_more_than_was_asked_for)
{
    iora_stream *a, *b;
    char data[16];

    make_pair(&a, &b);
    put_alone(a, "hello");
    CHECK_EQ(iora_read(b, data, 3), 3);
    CHECK_EQ(memcmp(data, "hel", 3), 0);
    CHECK_EQ(iora_read(b, data, sizeof data), 2);
    CHECK_EQ(memcmp(data, "lo", 2), 0);
    close_both_streams(a, b);
}
TEST_EXEMPT(read, gives_what_is_there_and_no_more_than_was_asked_for, TEST_STINGY,
            "of what one call does")

TEST_TASK_EVERYWHERE(read, of_no_bytes_returns_0_and_does_not_wait)
{
    iora_stream *a, *b;
    char data[1];

    make_pair(&a, &b);
    CHECK_EQ(iora_read(b, data, 0), 0);
    CHECK(!iora_at_eof(b));
    put_alone(a, "x");
    CHECK_EQ(iora_read(b, data, 0), 0);
    CHECK_EQ(iora_read_exactly(b, data, 0), 0);
    take(b, "x");
    close_both_streams(a, b);
}

TEST_TASK_EVERYWHERE(read, returns_0_at_the_end_again_and_again)
{
    iora_stream *a, *b;
    char *view;

    make_pair(&a, &b);
    put(a, "last");
    CHECK_EQ(iora_stream_close(a), 0);
    take(b, "last");
    take_end(b);
    take_end(b);
    CHECK_EQ(iora_readline(b, &view), 0);
    CHECK_EQ(iora_read_all(b, 10, &view), 0);
    CHECK_EQ(iora_stream_close(b), 0);
}

TEST_TASK_EVERYWHERE(read, waits_for_the_first_byte)
{
    iora_stream *a, *b;
    iora_task reader;
    char data[8];

    make_pair(&a, &b);
    reader = iora_go(read_into, b, data, sizeof data);
    let_all_run();
    CHECK(!iora_task_is_done(reader));
    put(a, "x");
    CHECK_EQ(iora_await(reader), 1);
    close_both_streams(a, b);
}

TEST_TASK_EVERYWHERE(read, that_was_cancelled_has_read_nothing)
{
    iora_stream *a, *b;
    char data[8];

    make_pair(&a, &b);
    CHECK_EQ(iora_wait_for(iora_read(b, data, sizeof data), iora_ms(2)), -ETIMEDOUT);
    put_alone(a, "all");
    CHECK_EQ(CANCELLED(iora_read(b, data, sizeof data)), -ECANCELED);
    take(b, "all");
    close_both_streams(a, b);
}

/* F5: the bytes came, and then the cancel, before the reader went on. */
TEST_TASK_EVERYWHERE(read, that_had_its_bytes_returns_them_though_it_was_cancelled_after)
{
    iora_stream *a, *b, *x, *y;
    iora_task reader, canceller;
    char data[8];
    int rc;

    make_pair(&a, &b);
    make_pair(&x, &y);
    reader = iora_go(read_into, b, data, sizeof data);
    canceller = iora_go(cancel_when_told, y, reader);
    let_all_run();
    put(x, "!");
    put(a, "all");
    CHECK_EQ(iora_await(canceller), 0);
    rc = iora_await(reader);
    if (rc == IORA_E_TASK_CANCELED)
        take(b, "all");
    else
        CHECK_EQ(rc, 3);
    close_both_streams(a, b);
    close_both_streams(x, y);
}

/* ---- read_exactly ----------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(read, exactly_waits_for_all_parts)
{
    iora_stream *a, *b;
    iora_task reader;
    char data[6];

    make_pair(&a, &b);
    reader = iora_go(read_exactly_into, b, data, sizeof data);
    put_alone(a, "ab");
    put_alone(a, "cd");
    CHECK(!iora_task_is_done(reader));
    put(a, "efgh");
    CHECK_EQ(iora_await(reader), 0);
    CHECK_EQ(memcmp(data, "abcdef", 6), 0);
    take(b, "gh");
    close_both_streams(a, b);
}

/* F23 */
TEST_TASK_EVERYWHERE(read, exactly_that_was_cancelled_leaves_what_came_in_the_stream)
{
    iora_stream *a, *b;
    char data[10];

    make_pair(&a, &b);
    put(a, "abc");
    CHECK_EQ(iora_wait_for(iora_read_exactly(b, data, sizeof data), iora_ms(2)), -ETIMEDOUT);
    CHECK_EQ(iora_stream_readable(b), 3);
    put(a, "d");
    CHECK_EQ(iora_wait_for(iora_read_exactly(b, data, sizeof data), iora_ms(2)), -ETIMEDOUT);
    take(b, "abcd");
    close_both_streams(a, b);
}

TEST_TASK_EVERYWHERE(read, exactly_leaves_what_came_before_an_early_end)
{
    iora_stream *a, *b;
    char data[10];

    make_pair(&a, &b);
    put(a, "abc");
    CHECK_EQ(iora_stream_close(a), 0);
    CHECK_EQ(iora_read_exactly(b, data, sizeof data), IORA_E_INCOMPLETE);
    CHECK(!iora_at_eof(b));
    CHECK_EQ(iora_read_exactly(b, data, sizeof data), IORA_E_INCOMPLETE);
    take(b, "abc");
    CHECK(iora_at_eof(b));
    CHECK_EQ(iora_read_exactly(b, data, 1), IORA_E_INCOMPLETE);
    CHECK_EQ(iora_stream_close(b), 0);
}

/* F15: more than the stream would buffer. */
TEST_TASK_EVERYWHERE(read, exactly_can_be_more_than_the_limit)
{
    enum { N = 5 * LIMIT + 123 };
    char *const sent = make_run(1, N), *const got = malloc(N);
    iora_stream *a, *b;
    iora_task writer;

    make_pair(&a, &b);
    writer = iora_go(write_all, a, (const char *)sent, (size_t)N);
    CHECK_EQ(iora_read_exactly(b, got, N), 0);
    check_run(1, 0, got, N);
    CHECK_EQ(iora_await(writer), 0);
    close_both_streams(a, b);
    free(sent);
    free(got);
}

/* F23 */
TEST_TASK_EVERYWHERE(read, of_more_than_the_limit_says_how_much_it_had_when_it_was_cancelled)
{
    enum { N = 3 * LIMIT, SENT = LIMIT + 1000 };
    char *const sent = make_run(1, SENT), *const got = malloc(N);
    iora_stream *a, *b;
    iora_task writer;
    size_t count;

    make_pair(&a, &b);
    writer = iora_go(write_all, a, (const char *)sent, (size_t)SENT);
    CHECK_EQ(iora_wait_for(iora_read_exactly(b, got, N), iora_ms(30)), -ETIMEDOUT);
    count = iora_read_count(b);
    CHECK(count <= SENT);
    check_run(1, 0, got, count);
    take_run(b, 1, count, SENT - count);
    CHECK_EQ(iora_await(writer), 0); /* bytes that are sent one by one may not all have found room before */
    close_both_streams(a, b);
    free(sent);
    free(got);
}

static int
write_all_and_end(iora_stream *stream, const char *data, size_t n)
{
    CHECK_EQ(iora_write(stream, data, n), 0);
    return iora_write_eof(stream);
}
IORA_ASYNC(write_all_and_end, iora_stream *, const char *, size_t);

TEST_TASK_EVERYWHERE(read, of_more_than_the_limit_says_how_much_it_had_at_an_early_end)
{
    enum { N = 3 * LIMIT, SENT = LIMIT + 1000 };
    char *const sent = make_run(1, SENT), *const got = malloc(N);
    iora_stream *a, *b;
    iora_task writer;

    make_pair(&a, &b);
    writer = iora_go(write_all_and_end, a, (const char *)sent, (size_t)SENT);
    CHECK_EQ(iora_read_exactly(b, got, N), IORA_E_INCOMPLETE);
    CHECK_EQ(iora_read_count(b), SENT);
    check_run(1, 0, got, SENT);
    CHECK_EQ(iora_read_exactly(b, got, N), IORA_E_INCOMPLETE);
    CHECK_EQ(iora_read_count(b), 0);
    CHECK_EQ(iora_await(writer), 0);
    close_both_streams(a, b);
    free(sent);
    free(got);
}

/* ---- between two parts of one call -------------------------------------------------------------------- */

static int
read_to_semicolon(iora_stream *stream)
{
    char *view;

    return iora_read_until(stream, ";", 1, &view);
}
IORA_ASYNC(read_to_semicolon, iora_stream *);

static int
read_to_end(iora_stream *stream)
{
    char *view;

    return iora_read_all(stream, 1000, &view);
}
IORA_ASYNC(read_to_end, iora_stream *);

static int
read_ten(iora_stream *stream)
{
    char data[10];

    return iora_read_exactly(stream, data, sizeof data);
}
IORA_ASYNC(read_ten, iora_stream *);

static char huge[2 * LIMIT];

static int
read_huge(iora_stream *stream)
{
    return iora_read_exactly(stream, huge, sizeof huge);
}
IORA_ASYNC(read_huge, iora_stream *);

static iora_task
start_reading(int how, iora_stream *stream)
{
    switch (how) {
    case 0:
        return iora_go(read_to_semicolon, stream);
    case 1:
        return iora_go(read_to_end, stream);
    case 2:
        return iora_go(read_ten, stream);
    default:
        return iora_go(read_huge, stream);
    }
}

/* F21, F22: a cancel that came with the first part was forgotten, and the reader waited for the second for ever. */
TEST_TASK_EVERYWHERE(read, ends_by_a_cancel_that_comes_between_two_parts)
{
    for (int how = 0; how < 4; how++) {
        iora_stream *a, *b, *x, *y;
        iora_task reader, canceller;

        make_pair(&a, &b);
        make_pair(&x, &y);
        reader = start_reading(how, b);
        canceller = iora_go(cancel_when_told, y, reader);
        let_all_run();
        put(x, "!");
        put(a, "part");
        CHECK_EQ(iora_await(canceller), 0);
        CHECK_EQ(iora_await(reader), IORA_E_TASK_CANCELED);
        if (how < 3 || iora_read_count(b) == 0)
            take(b, "part");
        else
            CHECK_EQ(memcmp(huge, "part", 4), 0);
        close_both_streams(a, b);
        close_both_streams(x, y);
    }
}

/* The closer waited for the reader, who had begun to wait for the next part. */
TEST_TASK_EVERYWHERE(read, ends_by_a_close_that_comes_between_two_parts)
{
    for (int how = 0; how < 4; how++) {
        iora_stream *a, *b, *x, *y;
        iora_task reader, closer;

        make_pair(&a, &b);
        make_pair(&x, &y);
        reader = start_reading(how, b);
        closer = iora_go(close_when_told, y, b);
        let_all_run();
        put(x, "!");
        put(a, "part");
        CHECK_EQ(iora_await(closer), 0);
        CHECK_EQ(iora_await(reader), IORA_E_CLOSED);
        iora_stream_abort(a);
        close_both_streams(x, y);
    }
}

/* ---- read_until, readline ------------------------------------------------------------------------------- */

static void
check_split(const char *text, const char *separator, size_t at)
{
    const size_t size = strlen(separator);
    iora_stream *a, *b;
    char *view, first[64];
    const char *rest = text;
    int rc;

    (void)snprintf(first, sizeof first, "%.*s", (int)at, text);
    make_pair(&a, &b);
    put_alone(a, first);
    for (const char *end; (end = strstr(rest, separator)) != NULL; rest = end + size) {
        char part[64];

        (void)snprintf(part, sizeof part, "%.*s", (int)(end + size - rest), rest);
        if (at < (size_t)(end + size - text) && at != SIZE_MAX) {
            CHECK_EQ(iora_wait_for(iora_read_until(b, separator, size, &view), iora_ms(1)),
                     -ETIMEDOUT);
            put_alone(a, text + at);
            at = SIZE_MAX;
        }
        CHECK_VIEW(iora_read_until(b, separator, size, &view), view, part);
    }
    if (at != SIZE_MAX)
        put_alone(a, text + at);
    CHECK_EQ(iora_write_eof(a), 0);
    rc = iora_read_until(b, separator, size, &view);
    CHECK_EQ(rc, IORA_E_INCOMPLETE);
    take(b, rest);
    take_end(b);
    close_both_streams(a, b);
}

TEST_TASK_EVERYWHERE(read, until_finds_a_separator_however_it_is_split)
{
    static const struct {
        const char *text, *separator;
    } cases[] = {{"GET /\r\n\r\nxx\r\n\r\n\r\n\r\nrest", "\r\n\r\n"},
                 {"aaaabaabaab", "aab"},
                 {"aaaaaaa", "aaa"},
                 {";;a;bc", ";"}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t at = 0; at <= strlen(cases[i].text); at++)
            check_split(cases[i].text, cases[i].separator, at);
    }
}

TEST_TASK_EVERYWHERE(read, until_wants_a_separator)
{
    iora_stream *a, *b;
    char *view;

    make_pair(&a, &b);
    put_alone(a, "x;y");
    CHECK_EQ(iora_read_until(b, "", 0, &view), -EINVAL);
    CHECK_VIEW(iora_read_until(b, ";", 1, &view), view, "x;");
    take(b, "y");
    close_both_streams(a, b);
}

TEST_TASK_EVERYWHERE(read, until_may_have_a_nul_in_its_separator)
{
    iora_stream *a, *b;
    char *view;

    make_pair(&a, &b);
    CHECK_EQ(iora_write(a, "a\0b\0\0c", 6), 0);
    CHECK_EQ(iora_read_until(b, "\0\0", 2, &view), 5);
    CHECK_EQ(memcmp(view, "a\0b\0\0", 6), 0);
    take(b, "c");
    close_both_streams(a, b);
}

TEST_TASK_EVERYWHERE(read, line_gives_lines_and_what_comes_last_without_a_newline)
{
    iora_stream *a, *b;
    char *line;

    make_pair(&a, &b);
    put(a, "one\n\ntwo\r\nlast");
    CHECK_EQ(iora_write_eof(a), 0);
    CHECK_VIEW(iora_readline(b, &line), line, "one\n");
    CHECK_VIEW(iora_readline(b, &line), line, "\n");
    CHECK_VIEW(iora_readline(b, &line), line, "two\r\n");
    CHECK_VIEW(iora_readline(b, &line), line, "last");
    CHECK_VIEW(iora_readline(b, &line), line, "");
    CHECK(iora_at_eof(b));
    close_both_streams(a, b);
}

static int
write_run(iora_stream *stream, unsigned run, size_t n, const char *behind)
{
    char *const data = make_run(run, n);
    int rc;

    for (size_t i = 0; i < n; i++)
        data[i] = data[i] == '\n' || data[i] == ';' ? '.' : data[i];
    rc = iora_write(stream, data, n);
    free(data);
    if (rc == 0)
        rc = iora_write(stream, behind, strlen(behind));
    return rc;
}
IORA_ASYNC(write_run, iora_stream *, unsigned, size_t, const char *);

TEST_TASK_EVERYWHERE(read, line_can_be_as_long_as_the_limit)
{
    iora_stream *a, *b;
    iora_task writer;
    char *line;

    make_pair(&a, &b);
    writer = iora_go(write_run, a, 1u, (size_t)LIMIT - 1, "\nnext\n");
    CHECK_EQ(iora_readline(b, &line), LIMIT);
    CHECK_EQ(line[LIMIT - 1], '\n');
    CHECK_EQ(line[LIMIT], '\0');
    CHECK_VIEW(iora_readline(b, &line), line, "next\n");
    CHECK_EQ(iora_await(writer), 0);
    close_both_streams(a, b);
}

TEST_TASK_EVERYWHERE(read, line_beyond_the_limit_stays_in_the_stream)
{
    static char data[LIMIT];
    iora_stream *a, *b;
    iora_task writer;
    char *line;

    make_pair(&a, &b);
    writer = iora_go(write_run, a, 1u, (size_t)LIMIT, "\nnext\n");
    CHECK_EQ(iora_readline(b, &line), IORA_E_LIMIT);
    CHECK_EQ(iora_readline(b, &line), IORA_E_LIMIT);
    CHECK_EQ(iora_read_until(b, ";", 1, &line), IORA_E_LIMIT);
    CHECK_EQ(iora_stream_readable(b), LIMIT);
    CHECK_EQ(iora_read_exactly(b, data, LIMIT), 0);
    CHECK_EQ((unsigned char)data[0], byte_at(1, 0));
    CHECK_EQ((unsigned char)data[LIMIT - 1], byte_at(1, LIMIT - 1));
    CHECK_VIEW(iora_readline(b, &line), line, "\n");
    CHECK_VIEW(iora_readline(b, &line), line, "next\n");
    CHECK_EQ(iora_await(writer), 0);
    close_both_streams(a, b);
}

TEST_TASK_EVERYWHERE(read, until_counts_the_separator_against_the_limit)
{
    iora_stream *a, *b;
    iora_task writer;
    char *view;

    make_pair(&a, &b);
    writer = iora_go(write_run, a, 1u, (size_t)LIMIT - 1, ";;");
    CHECK_EQ(iora_read_until(b, ";;", 2, &view), IORA_E_LIMIT);
    CHECK_EQ(iora_read_until(b, ";", 1, &view), LIMIT);
    take(b, ";");
    CHECK_EQ(iora_await(writer), 0);
    close_both_streams(a, b);
}

TEST_TASK_EVERYWHERE(read, until_that_was_cancelled_loses_nothing)
{
    iora_stream *a, *b;
    char *view;

    make_pair(&a, &b);
    put(a, "ab");
    CHECK_EQ(iora_wait_for(iora_readline(b, &view), iora_ms(2)), -ETIMEDOUT);
    put(a, "c\nd");
    CHECK_EQ(CANCELLED(iora_readline(b, &view)), -ECANCELED);
    CHECK_VIEW(iora_readline(b, &view), view, "abc\n");
    CHECK_EQ(iora_wait_for(iora_readline(b, &view), iora_ms(2)), -ETIMEDOUT);
    take(b, "d");
    close_both_streams(a, b);
}

/* ---- views ---------------------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(read, view_is_followed_by_a_nul_that_costs_no_byte)
{
    iora_stream *a, *b;
    char *view;

    make_pair(&a, &b);
    put_alone(a, "one;two;three");
    CHECK_VIEW(iora_read_until(b, ";", 1, &view), view, "one;");
    CHECK_EQ(iora_stream_readable(b), strlen("two;three"));
    CHECK_VIEW(iora_read_until(b, ";", 1, &view), view, "two;");
    take(b, "three");
    close_both_streams(a, b);
}
TEST_EXEMPT(read, view_is_followed_by_a_nul_that_costs_no_byte, TEST_STINGY,
            "of what lies in the buffer")

TEST_TASK_EVERYWHERE(read, view_stays_until_the_next_read_whatever_comes_meanwhile)
{
    iora_stream *a, *b;
    char *view;

    make_pair(&a, &b);
    put_alone(a, "one\ntw");
    CHECK_VIEW(iora_readline(b, &view), view, "one\n");
    put_alone(a, "o\nthree\n");
    CHECK_STR(view, "one\n");
    CHECK(!iora_at_eof(b));
    CHECK_VIEW(iora_readline(b, &view), view, "two\n");
    CHECK_VIEW(iora_readline(b, &view), view, "three\n");
    close_both_streams(a, b);
}

TEST_TASK_EVERYWHERE(read, view_may_be_written_to)
{
    iora_stream *a, *b;
    char *view;

    make_pair(&a, &b);
    put_alone(a, "one\ntwo\n");
    CHECK_EQ(iora_readline(b, &view), 4);
    memset(view, 'x', 4);
    CHECK_VIEW(iora_readline(b, &view), view, "two\n");
    memset(view, 'x', 4);
    put(a, "three\n");
    CHECK_VIEW(iora_readline(b, &view), view, "three\n");
    close_both_streams(a, b);
}

TEST_TASK_EVERYWHERE(read, view_is_over_even_if_the_next_read_is_refused_for_its_arguments)
{
    iora_stream *a, *b;
    char *view;

    make_pair(&a, &b);
    put_alone(a, "one\ntwo\n");
    CHECK_EQ(iora_readline(b, &view), 4);
    CHECK_EQ(iora_read_until(b, "", 0, &view), -EINVAL);
    CHECK_EQ(iora_read(b, NULL, 0), 0);
    CHECK_VIEW(iora_readline(b, &view), view, "two\n");
    close_both_streams(a, b);
}

/* ---- read_all ------------------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(read, all_reads_to_the_end)
{
    enum { N = 3 * LIMIT + 77 };
    char *const sent = make_run(2, N);
    iora_stream *a, *b;
    iora_task writer;
    char *view;

    make_pair(&a, &b);
    writer = iora_go(write_all, a, (const char *)sent, (size_t)N);
    CHECK_EQ(iora_wait_for(iora_read_all(b, SIZE_MAX, &view), iora_ms(50)), -ETIMEDOUT);
    CHECK_EQ(iora_await(writer), 0);
    CHECK_EQ(iora_write_eof(a), 0);
    CHECK_EQ(iora_read_all(b, N, &view), N);
    check_run(2, 0, view, N);
    CHECK_EQ(view[N], '\0');
    CHECK(iora_at_eof(b));
    CHECK_EQ(iora_read_all(b, N, &view), 0);
    CHECK_STR(view, "");
    close_both_streams(a, b);
    free(sent);
}
TEST_EXEMPT(read, all_reads_to_the_end, TEST_STINGY, "nobody reads while it waits for its writer")

TEST_TASK_EVERYWHERE(read, all_of_more_than_the_maximum_leaves_it_in_the_stream)
{
    iora_stream *a, *b;
    char *view;

    make_pair(&a, &b);
    put(a, "12345");
    CHECK_EQ(iora_write_eof(a), 0);
    CHECK_EQ(iora_read_all(b, 0, &view), IORA_E_LIMIT);
    CHECK_EQ(iora_read_all(b, 4, &view), IORA_E_LIMIT);
    CHECK_VIEW(iora_read_all(b, 5, &view), view, "12345");
    CHECK_EQ(iora_read_all(b, 0, &view), 0);
    close_both_streams(a, b);
}

/* What read_all() left is more than a line may be. */
TEST_TASK_EVERYWHERE(read, goes_on_otherwise_after_an_all_that_was_too_much)
{
    enum { N = 2 * LIMIT };
    iora_stream *a, *b;
    iora_task writer;
    char *view;

    make_pair(&a, &b);
    writer = iora_go(write_run, a, 1u, (size_t)N, "\nline\n");
    CHECK_EQ(iora_read_all(b, N - 1, &view), IORA_E_LIMIT);
    CHECK_EQ(iora_stream_readable(b), N);
    CHECK_EQ(iora_readline(b, &view), IORA_E_LIMIT);
    CHECK_EQ(iora_read_exactly(b, huge, sizeof huge), 0);
    CHECK_EQ((unsigned char)huge[N - 1], byte_at(1, N - 1));
    CHECK_VIEW(iora_readline(b, &view), view, "\n");
    CHECK_VIEW(iora_readline(b, &view), view, "line\n");
    CHECK_EQ(iora_await(writer), 0);
    close_both_streams(a, b);
}

/* ---- lines ------------------------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(read, lines_left_early_leave_the_others_in_the_stream)
{
    iora_stream *a, *b;
    char *line;
    int rc, n = 0;

    make_pair(&a, &b);
    put_alone(a, "1\n2\n3\nrest");
    iora_for_each(rc, iora_lines, &line, b) {
        if (++n == 2)
            break;
    }
    CHECK_EQ(n, 2);
    CHECK_VIEW(iora_readline(b, &line), line, "3\n");
    take(b, "rest");
    close_both_streams(a, b);
}

TEST_TASK_EVERYWHERE(read, lines_end_with_the_error_of_the_stream)
{
    iora_stream *a, *b;
    iora_task writer;
    char *line;
    int rc, n = 0;

    make_pair(&a, &b);
    writer = iora_go(write_run, a, 1u, (size_t)LIMIT + 1, "\n");
    iora_for_each(rc, iora_lines, &line, b)
        n++;
    CHECK_EQ(rc, IORA_E_LIMIT);
    CHECK_EQ(n, 0);
    CHECK_EQ(iora_await(writer), 0);
    iora_stream_abort(a);
    iora_stream_abort(b);
}

TEST_TASK_EVERYWHERE(read, lines_that_were_cancelled_lose_nothing)
{
    iora_stream *a, *b;
    char *line;
    int rc = 0, n = 0;

    make_pair(&a, &b);
    put(a, "1\n2");
    IORA_TIMEOUT(rc, iora_ms(50)) {
        iora_for_each(rc, iora_lines, &line, b)
            n++;
    }
    CHECK_EQ(rc, -ETIMEDOUT);
    CHECK_EQ(n, 1);
    take(b, "2");
    close_both_streams(a, b);
}

/* ---- who may read --------------------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(read, is_one_tasks_at_a_time)
{
    iora_stream *a, *b;
    iora_task reader;
    char data[8], *view;

    make_pair(&a, &b);
    reader = iora_go(read_into, b, data, sizeof data);
    let_all_run();
    CHECK_EQ(iora_read(b, data, 1), -EBUSY);
    CHECK_EQ(iora_read_exactly(b, data, 1), -EBUSY);
    CHECK_EQ(iora_readline(b, &view), -EBUSY);
    CHECK_EQ(iora_read_until(b, ";", 1, &view), -EBUSY);
    CHECK_EQ(iora_read_all(b, 1, &view), -EBUSY);
    put(b, "a writer is another thing");
    put(a, "x");
    CHECK_EQ(iora_await(reader), 1);
    put(a, "y");
    take(b, "y");
    take(a, "a writer is another thing");
    close_both_streams(a, b);
}

TEST_TASK_EVERYWHERE(read, looks_at_its_scope_first)
{
    iora_stream *a, *b;
    char data[8], *view;

    make_pair(&a, &b);
    put_alone(a, "x;\n");
    CHECK_EQ(CANCELLED(iora_read(b, data, 1)), -ECANCELED);
    CHECK_EQ(CANCELLED(iora_read_exactly(b, data, 1)), -ECANCELED);
    CHECK_EQ(CANCELLED(iora_read_until(b, ";", 1, &view)), -ECANCELED);
    CHECK_EQ(CANCELLED(iora_readline(b, &view)), -ECANCELED);
    CHECK_EQ(CANCELLED(iora_read_all(b, 1, &view)), -ECANCELED);
    CHECK_EQ(iora_stream_readable(b), 0);
    take(b, "x;\n");
    close_both_streams(a, b);
}

static int
read_nowhere(void)
{
    char byte;

    return iora_read(no_stream(), &byte, 1);
}

static int
read_line_nowhere(void)
{
    char *line;

    return iora_readline(no_stream(), &line);
}

TEST(read, needs_a_task)
{
    check_needs_a_task(read_nowhere);
    check_needs_a_task(read_line_nowhere);
}

/* ---- the end ---------------------------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(read, is_at_eof_only_when_nothing_is_left)
{
    iora_stream *a, *b;
    char *view;

    make_pair(&a, &b);
    CHECK(!iora_at_eof(b));
    put(a, "one\ntwo");
    CHECK_EQ(iora_write_eof(a), 0);
    CHECK(!iora_at_eof(b));
    CHECK_EQ(iora_readline(b, &view), 4);
    CHECK(!iora_at_eof(b));
    CHECK_EQ(iora_read_until(b, "\n", 1, &view), IORA_E_INCOMPLETE);
    CHECK(!iora_at_eof(b));
    CHECK_EQ(iora_readline(b, &view), 3);
    CHECK(iora_at_eof(b));
    close_both_streams(a, b);
}

TEST_TASK_EVERYWHERE(read, is_told_that_the_connection_was_reset)
{
    iora_stream *a, *b;
    char byte;

    make_pair(&a, &b);
    put(b, "never read");
    let_all_run();
    iora_stream_abort(a);
    CHECK_EQ(iora_read(b, &byte, 1), -ECONNRESET);
    CHECK_EQ(iora_read(b, &byte, 1), -ECONNRESET);
    CHECK(!iora_at_eof(b));
    iora_stream_abort(b);
}

/* ---- a model ----------------------------------------------------------------------------------------------------- */

/* One writes a run in pieces of all sizes. One reads it by random calls, a third of which are cancelled. What
 * was read is byte for byte what was written. Lines end wherever the run has a newline. */
enum { MODEL_RUN = 3, MODEL_BYTES = 40000 };

static int
write_in_pieces(iora_stream *stream)
{
    static char data[20000];
    size_t place = 0;

    while (place < MODEL_BYTES) {
        size_t n = (size_t)below(one_in(8) ? (int)sizeof data : one_in(2) ? 300 : 10) + 1;

        n = n < MODEL_BYTES - place ? n : MODEL_BYTES - place;
        fill_run(MODEL_RUN, place, data, n);
        MUST_EQ(iora_write(stream, data, n), 0);
        place += n;
        if (one_in(3))
            MUST_EQ(iora_sleep(iora_us(below(3000))), 0);
    }
    return iora_write_eof(stream);
}
IORA_ASYNC(write_in_pieces, iora_stream *);

static void
must_be_run(size_t place, const void *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        MUST(((const unsigned char *)data)[i] == byte_at(MODEL_RUN, place + i));
}

static size_t
line_length(size_t place, unsigned char end)
{
    size_t n = 0;

    while (place + n < MODEL_BYTES) {
        if (byte_at(MODEL_RUN, place + n++) == end)
            break;
    }
    return n;
}

/* One call: how many bytes it gave, or its code. */
static int
read_somehow(iora_stream *stream, size_t place)
{
    static char data[70000];
    const size_t left = MODEL_BYTES - place;
    const unsigned char end = one_in(2) ? '\n' : byte_at(MODEL_RUN, place + (size_t)below(300));
    size_t n;
    char *view;
    int rc;

    switch (below(6)) {
    case 0:
        n = (size_t)below(5000) + 1;
        if ((rc = iora_read(stream, data, n)) > 0)
            must_be_run(place, data, (size_t)rc);
        MUST(rc <= (int)n);
        return rc;
    case 1:
        n = (size_t)below(one_in(3) ? 9000 : 20) + 1;
        rc = iora_read_exactly(stream, data, n);
        MUST(rc != 0 || n <= left);
        MUST(rc != IORA_E_INCOMPLETE || n > left);
        if (rc == 0)
            must_be_run(place, data, n);
        return rc == 0 ? (int)n : rc;
    case 2:
        rc = iora_read_exactly(stream, data,
                               sizeof data); /* more than the limit, and than there is */
        MUST(rc < 0);
        must_be_run(place, data, iora_read_count(stream));
        return (int)iora_read_count(stream);
    case 3:
        if ((rc = iora_readline(stream, &view)) >= 0) {
            MUST_EQ(rc, line_length(place, '\n'));
            must_be_run(place, view, (size_t)rc);
            MUST_EQ(view[rc], 0);
        }
        return rc;
    case 4:
        if ((rc = iora_read_until(stream, (const char *)&end, 1, &view)) >= 0) {
            MUST_EQ(rc, line_length(place, end));
            must_be_run(place, view, (size_t)rc);
            memset(view, 0, (size_t)rc);
        }
        return rc;
    default:
        n = (size_t)below(2000);
        if ((rc = iora_read_all(stream, n, &view)) >= 0) {
            MUST_EQ(rc, left);
            must_be_run(place, view, (size_t)rc);
        }
        return rc;
    }
}

/* All of what is to be read into has to be there, and writable: the kernel takes no count that ends beyond the address
 * space, and qemu's user mode none that ends in pages which cannot be written. */
TEST_TASK_EVERYWHERE(read, of_more_than_an_int_says_gives_what_is_there)
{
    const size_t size = (size_t)INT_MAX + 1;
    iora_stream *a, *b;
    char *const data = mmap(NULL, size, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    CHECK(data != MAP_FAILED);
    make_pair(&a, &b);
    put_alone(a, "abc");
    CHECK_EQ(iora_read(b, data, size), 3);
    CHECK_STR(data, "abc");
    close_both_streams(a, b);
    CHECK_EQ(munmap(data, size), 0);
}
TEST_EXEMPT(read, of_more_than_an_int_says_gives_what_is_there, TEST_STINGY,
            "of how much one read gives")

static int
model_main(void)
{
    iora_stream *a, *b;
    iora_task writer;
    size_t place = 0;

    make_pair(&a, &b);
    writer = iora_go(write_in_pieces, a);
    while (!iora_at_eof(b)) {
        iora_scope scope;
        int rc;

        iora_timeout_begin(&scope, one_in(3) ? iora_us(below(2000)) : IORA_FOREVER);
        rc = read_somehow(b, place);
        if (rc > 0)
            place += (size_t)rc;
        rc = iora_timeout_end(&scope, rc);
        MUST(rc >= 0 || rc == -ECANCELED || rc == -ETIMEDOUT || rc == IORA_E_LIMIT ||
             rc == IORA_E_INCOMPLETE);
        MUST(place <= MODEL_BYTES);
    }
    MUST_EQ(place, MODEL_BYTES);
    MUST_EQ(iora_await(writer), 0);
    close_both_streams(a, b);
    return 0;
}
IORA_ASYNC(model_main);

TEST(read, does_as_its_model_at_random)
{
    RUN_SEEDS(300, model_main);
}
