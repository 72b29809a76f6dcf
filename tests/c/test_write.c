/* tests/c/test_write.c -- writing to a stream: all or nothing, in order, with bounded memory, and how it ends. */
#include "streams.h"

#include <sys/uio.h>

enum {
    LIMIT = 64 * 1024, /* of the write buffer, by default */
    MUCH = 512 * 1024  /* more than buffer and kernel hold together */
};

/* ---- all or nothing -------------------------------------------------------------------------------- */

/* F12, F23: writes are cancelled while they wait for room, again and again; what comes out is what was taken. */
TEST_TASK_EVERYWHERE(write, that_is_cancelled_has_taken_nothing)
{
    iora_stream *a, *b;
    size_t taken = 0, read = 0;
    char block[BLOCK];

    make_pair(&a, &b);
    for (int i = 0; i < 20; i++) {
        for (;;) {
            int rc;

            fill_run(1, taken, block, sizeof block);
            rc = iora_wait_for(iora_write(a, block, sizeof block), iora_ms(2));
            if (rc == -ETIMEDOUT)
                break;
            CHECK_EQ(rc, 0);
            taken += sizeof block;
        }
        CHECK(taken > read);
        take_run(b, 1, read, (taken - read) / 2 + 1);
        read += (taken - read) / 2 + 1;
    }
    CHECK_EQ(CANCELLED(iora_write(a, block, sizeof block)), -ECANCELED);
    take_run(b, 1, read, taken - read);
    CHECK_EQ(iora_write_eof(a), 0);
    take_end(b);
    close_both_streams(a, b);
}

TEST_TASK_EVERYWHERE(write, waits_for_room_before_it_takes_a_byte)
{
    iora_stream *a, *b;
    size_t taken, unsent;
    iora_task writer;
    char *data;

    make_pair(&a, &b);
    taken = write_until_full(a, 1);
    unsent = iora_stream_unsent(a);
    CHECK(unsent > LIMIT - BLOCK && unsent <= LIMIT);
    data = make_run(2, BLOCK);
    writer = iora_go(write_all, a, (const char *)data, (size_t)BLOCK);
    let_all_run();
    CHECK(!iora_task_is_done(writer));
    CHECK_EQ(iora_stream_unsent(a), unsent);
    take_run(b, 1, 0, taken);
    CHECK_EQ(iora_await(writer), 0);
    take_run(b, 2, 0, BLOCK);
    free(data);
    close_both_streams(a, b);
}
TEST_EXEMPT(write, waits_for_room_before_it_takes_a_byte, TEST_STINGY,
            "of what a full kernel has not taken")

/* F13 */
TEST_TASK_EVERYWHERE(write, to_a_reader_who_does_not_read_buffers_no_more_than_the_limit)
{
    static char pieces[64][1000];
    struct iovec vector[64];
    iora_stream *a, *b;
    int rc = 0;

    make_pair(&a, &b);
    for (int i = 0; i < 64; i++)
        vector[i] = (struct iovec){pieces[i], sizeof pieces[i]};
    for (int i = 0; i < 100 && rc == 0; i++) {
        rc = iora_wait_for(iora_writev(a, vector, 64), iora_ms(2));
        CHECK(iora_stream_unsent(a) <= LIMIT);
    }
    CHECK_EQ(rc, -ETIMEDOUT);
    iora_stream_abort(a);
    iora_stream_abort(b);
}

TEST_TASK_EVERYWHERE(write, of_no_bytes_does_nothing)
{
    iora_stream *a, *b;

    make_pair(&a, &b);
    CHECK_EQ(iora_write(a, NULL, 0), 0);
    CHECK_EQ(iora_writev(a, NULL, 0), 0);
    put(a, "x");
    take(b, "x");
    close_both_streams(a, b);
}

/* F17 */
TEST_TASK_EVERYWHERE(write, of_more_bytes_than_there_can_be_is_refused)
{
    char byte = 'x';
    const struct iovec pieces[] = {{&byte, SIZE_MAX / 2}, {&byte, SIZE_MAX / 2}, {&byte, 3}};
    iora_stream *a, *b;

    make_pair(&a, &b);
    CHECK_EQ(iora_write(a, &byte, SIZE_MAX), -EINVAL);
    CHECK_EQ(iora_writev(a, pieces, 3), -EINVAL); /* one byte, if the sum may overflow */
    put(a, "y");
    take(b, "y");
    close_both_streams(a, b);
}

/* ---- long ones --------------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(write, beyond_the_limit_returns_when_the_rest_fits_into_the_buffer)
{
    char *const data = make_run(1, MUCH);
    iora_stream *a, *b;
    iora_task writer;
    size_t read = 0;

    make_pair(&a, &b);
    writer = iora_go(write_all, a, (const char *)data, (size_t)MUCH);
    let_all_run();
    CHECK(!iora_task_is_done(writer));
    while (!iora_task_is_done(writer)) {
        take_run(b, 1, read, 5000);
        read += 5000;
        CHECK_EQ(iora_yield(), 0);
    }
    CHECK_EQ(iora_await(writer), 0);
    CHECK(read < MUCH && iora_stream_unsent(a) <= LIMIT);
    take_run(b, 1, read, MUCH - read);
    close_both_streams(a, b);
    free(data);
}

TEST_TASK_EVERYWHERE(write, beyond_the_limit_that_is_cancelled_half_way_tears_the_stream)
{
    char *const data = make_run(1, MUCH);
    iora_stream *a, *b;
    char byte;
    int rc, n = 0;

    make_pair(&a, &b);
    CHECK_EQ(iora_wait_for(iora_write(a, data, MUCH), iora_ms(5)), IORA_E_TORN);
    CHECK_EQ(iora_write(a, "x", 1), IORA_E_TORN);
    CHECK_EQ(iora_flush(a), IORA_E_TORN);
    CHECK_EQ(iora_write_eof(a), IORA_E_TORN);
    CHECK_EQ(iora_stream_unsent(a), 0);
    put(b, "still read");
    take(a, "still read");
    CHECK_EQ(iora_stream_close(a), IORA_E_TORN);
    while ((rc = iora_read(b, &byte, 1)) == 1)
        CHECK_EQ((unsigned char)byte, byte_at(1, (size_t)n++));
    CHECK_EQ(rc, 0);
    CHECK(n > 0 && n < MUCH);
    CHECK_EQ(iora_stream_close(b), 0);
    free(data);
}

TEST_TASK_EVERYWHERE(write, beyond_the_limit_that_was_cancelled_before_its_first_byte_tears_nothing)
{
    char *const data = make_run(2, MUCH);
    iora_stream *a, *b;
    size_t taken;

    make_pair(&a, &b);
    taken = write_until_full(a, 1);
    CHECK_EQ(iora_wait_for(iora_write(a, data, MUCH), iora_ms(5)), -ETIMEDOUT);
    take_run(b, 1, 0, taken);
    put(a, "fine");
    take(b, "fine");
    close_both_streams(a, b);
    free(data);
}

TEST_TASK_REAL(write, without_memory_for_a_buffer_sends_from_the_callers)
{
    static char data[LIMIT];
    iora_stream *a, *b;
    iora_task reader;

    make_pair(&a, &b);
    reader = iora_go(take_all_of_run, b, 1u, 8 * sizeof data);
    for (size_t at = 0; at < 8 * sizeof data; at += sizeof data) {
        fill_run(1, at, data, sizeof data);
        iora__seam_arm_allocation(1, true);
        CHECK_EQ(iora_write(a, data, sizeof data), 0);
        CHECK_EQ(iora_stream_unsent(a), 0);
        (void)iora__seam_disarm();
    }
    CHECK_EQ(iora_write_eof(a), 0);
    CHECK_EQ(iora_await(reader), 0);
    close_both_streams(a, b);
}

/* ---- writev ---------------------------------------------------------------------------------------------- */

static int
write_pieces(iora_stream *stream, const struct iovec *pieces, int count)
{
    return iora_writev(stream, pieces, count);
}
IORA_ASYNC(write_pieces, iora_stream *, const struct iovec *, int);

/* A run in `count` pieces of these sizes, in turn. */
static void
check_pieces(int count, const size_t *sizes, int size_count, bool is_full_before)
{
    static struct iovec pieces[1024];
    iora_stream *a, *b;
    iora_task writer;
    size_t n = 0, before = 0;
    char *data;

    for (int i = 0; i < count; i++)
        n += sizes[i % size_count];
    data = make_run(1, n + 1);
    n = 0;
    for (int i = 0; i < count; i++) {
        pieces[i] =
            (struct iovec){sizes[i % size_count] > 0 ? data + n : NULL, sizes[i % size_count]};
        n += pieces[i].iov_len;
    }
    make_pair(&a, &b);
    if (is_full_before)
        before = write_until_full(a, 2);
    writer = iora_go(write_pieces, a, (const struct iovec *)pieces, count);
    take_run(b, 2, 0, before);
    take_run(b, 1, 0, n);
    CHECK_EQ(iora_await(writer), 0);
    CHECK_EQ(iora_write_eof(a), 0);
    take_end(b);
    close_both_streams(a, b);
    free(data);
}

/* F12 */
TEST_TASK_EVERYWHERE(write, of_many_pieces_is_that_of_their_bytes)
{
    static const size_t small[] = {1, 0, 7, 0, 0, 100, 3}, huge[] = {100000, 1, 0, 70000},
                        none[] = {0}, mixed[] = {0, 0, 50000, 3, 65536, 0}, one[] = {1};

    for (int full = 0; full < 2; full++) {
        check_pieces(1024, small, 7, full);
        check_pieces(1024, one, 1, full);
        check_pieces(17, one, 1, full);
        check_pieces(9, huge, 4, full);
        check_pieces(100, none, 1, full);
        check_pieces(30, mixed, 6, full);
    }
}

TEST_TASK_EVERYWHERE(write, of_too_many_pieces_is_refused)
{
    static struct iovec pieces[1025];
    iora_stream *a, *b;

    make_pair(&a, &b);
    CHECK_EQ(iora_writev(a, pieces, 1025), -EINVAL);
    CHECK_EQ(iora_writev(a, pieces, -1), -EINVAL);
    CHECK_EQ(iora_writev(a, pieces, 1024), 0);
    close_both_streams(a, b);
}

/* ---- errors -------------------------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(write, error_of_buffered_bytes_is_told_by_the_next_call)
{
    iora_stream *a, *b;
    int rc;

    make_pair(&a, &b);
    (void)write_until_full(a, 1);
    iora_stream_abort(b);
    let_all_run();
    CHECK_EQ(iora_stream_unsent(a), 0);
    rc = iora_flush(a);
    CHECK(rc == -EPIPE || rc == -ECONNRESET);
    CHECK_EQ(iora_write(a, "x", 1), rc);
    CHECK_EQ(iora_write_eof(a), rc);
    CHECK_EQ(iora_stream_close(a), rc);
}

TEST_TASK_EVERYWHERE(write, that_waits_for_room_is_told_of_the_error)
{
    iora_stream *a, *b;
    iora_task writer;
    char *data;
    int rc;

    make_pair(&a, &b);
    (void)write_until_full(a, 1);
    data = make_run(1, BLOCK);
    writer = iora_go(write_all, a, (const char *)data, (size_t)BLOCK);
    let_all_run();
    iora_stream_abort(b);
    rc = iora_await(writer);
    CHECK(rc == -EPIPE || rc == -ECONNRESET);
    CHECK_EQ(iora_stream_close(a), rc);
    free(data);
}

TEST_TASK_EVERYWHERE(write, to_a_peer_who_has_gone_fails_and_goes_on_failing)
{
    iora_stream *a, *b;
    int rc = 0;

    make_pair(&a, &b);
    CHECK_EQ(iora_stream_close(b), 0);
    let_all_run();
    for (int i = 0; i < 5 && rc == 0; i++) {
        rc = iora_write(a, "x", 1);
        let_all_run();
    }
    CHECK_EQ(rc, -EPIPE);
    CHECK_EQ(iora_write(a, "x", 1), -EPIPE);
    CHECK_EQ(iora_stream_close(a), -EPIPE);
}

/* ---- flush ------------------------------------------------------------------------------------------------------ */

static int
flush_it(iora_stream *stream)
{
    return iora_flush(stream);
}
IORA_ASYNC(flush_it, iora_stream *);

TEST_TASK_EVERYWHERE(write, flush_waits_until_nothing_is_buffered)
{
    iora_stream *a, *b;
    iora_task flusher;
    size_t taken;

    make_pair(&a, &b);
    CHECK_EQ(iora_flush(a), 0);
    taken = write_until_full(a, 1);
    flusher = iora_go(flush_it, a);
    let_all_run();
    CHECK(!iora_task_is_done(flusher));
    CHECK(iora_stream_unsent(a) > 0);
    take_run(b, 1, 0, taken);
    CHECK_EQ(iora_await(flusher), 0);
    CHECK_EQ(iora_stream_unsent(a), 0);
    close_both_streams(a, b);
}

TEST_TASK_EVERYWHERE(write, flush_that_was_cancelled_leaves_the_bytes_on_their_way)
{
    iora_stream *a, *b;
    size_t taken, unsent;

    make_pair(&a, &b);
    taken = write_until_full(a, 1);
    unsent = iora_stream_unsent(a);
    CHECK_EQ(iora_wait_for(iora_flush(a), iora_ms(2)), -ETIMEDOUT);
    CHECK_EQ(iora_stream_unsent(a), unsent);
    take_run(b, 1, 0, taken);
    CHECK_EQ(iora_stream_unsent(a), 0);
    close_both_streams(a, b);
}
TEST_EXEMPT(write, flush_that_was_cancelled_leaves_the_bytes_on_their_way, TEST_STINGY,
            "of what a full kernel has not taken")

/* ---- the end of writing --------------------------------------------------------------------------------------------- */

static int
write_eof(iora_stream *stream)
{
    return iora_write_eof(stream);
}
IORA_ASYNC(write_eof, iora_stream *);

TEST_TASK_EVERYWHERE(write, eof_comes_after_all_that_was_written)
{
    iora_stream *a, *b;
    iora_task ender;
    size_t taken;

    make_pair(&a, &b);
    taken = write_until_full(a, 1);
    ender = iora_go(write_eof, a);
    let_all_run();
    CHECK(!iora_task_is_done(ender));
    take_run(b, 1, 0, taken);
    take_end(b);
    CHECK_EQ(iora_await(ender), 0);
    CHECK_EQ(iora_write_eof(a), 0);
    CHECK_EQ(iora_write(a, "x", 1), -EPIPE);
    CHECK_EQ(iora_write(a, "", 0), -EPIPE);
    close_both_streams(a, b);
}

TEST_TASK_EVERYWHERE(write, eof_that_was_cancelled_has_ended_nothing)
{
    iora_stream *a, *b;
    size_t taken;

    make_pair(&a, &b);
    taken = write_until_full(a, 1);
    CHECK_EQ(iora_wait_for(iora_write_eof(a), iora_ms(2)), -ETIMEDOUT);
    CHECK_EQ(CANCELLED(iora_write_eof(a)), -ECANCELED);
    take_run(b, 1, 0, taken);
    put(a, "more");
    take(b, "more");
    close_both_streams(a, b);
}

/* F20b */
TEST_TASK_EVERYWHERE(write, goes_on_after_the_peers_end)
{
    iora_stream *a, *b;
    iora_task reader;
    char *data;

    make_pair(&a, &b);
    put(a, "request");
    CHECK_EQ(iora_write_eof(a), 0);
    take(b, "request");
    take_end(b);
    data = make_run(1, MUCH);
    reader = iora_go(take_all_of_run, a, 1u, (size_t)MUCH);
    for (size_t at = 0; at < MUCH; at += MUCH / 8)
        CHECK_EQ(iora_write(b, data + at, MUCH / 8), 0);
    CHECK_EQ(iora_stream_close(b), 0);
    CHECK_EQ(iora_await(reader), 0);
    CHECK_EQ(iora_stream_close(a), 0);
    free(data);
}

TEST_TASK_EVERYWHERE(write, eof_of_both_sides_leaves_two_streams_to_be_closed)
{
    iora_stream *a, *b;

    make_pair(&a, &b);
    put(a, "a");
    put(b, "b");
    CHECK_EQ(iora_write_eof(a), 0);
    CHECK_EQ(iora_write_eof(b), 0);
    take(a, "b");
    take(b, "a");
    take_end(a);
    take_end(b);
    close_both_streams(a, b);
}

/* ---- who may write -------------------------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(write, is_one_tasks_at_a_time)
{
    iora_stream *a, *b;
    iora_task writer;
    size_t taken;
    char *data;

    make_pair(&a, &b);
    taken = write_until_full(a, 1);
    data = make_run(2, BLOCK);
    writer = iora_go(write_all, a, (const char *)data, (size_t)BLOCK);
    let_all_run();
    CHECK_EQ(iora_write(a, "x", 1), -EBUSY);
    CHECK_EQ(iora_writev(a, NULL, 0), -EBUSY);
    CHECK_EQ(iora_flush(a), -EBUSY);
    CHECK_EQ(iora_write_eof(a), -EBUSY);
    put(b, "a reader is another thing");
    take(a, "a reader is another thing");
    take_run(b, 1, 0, taken);
    CHECK_EQ(iora_await(writer), 0);
    take_run(b, 2, 0, BLOCK);
    close_both_streams(a, b);
    free(data);
}

TEST_TASK_EVERYWHERE(write, looks_at_its_scope_first)
{
    iora_stream *a, *b;
    const struct iovec piece = {(void *)"x", 1};

    make_pair(&a, &b);
    CHECK_EQ(CANCELLED(iora_write(a, "x", 1)), -ECANCELED);
    CHECK_EQ(CANCELLED(iora_writev(a, &piece, 1)), -ECANCELED);
    CHECK_EQ(CANCELLED(iora_flush(a)), -ECANCELED);
    CHECK_EQ(iora_write_eof(a), 0);
    take_end(b);
    close_both_streams(a, b);
}

static int
write_nowhere(void)
{
    return iora_write(no_stream(), "x", 1);
}

static int
flush_nowhere(void)
{
    return iora_flush(no_stream());
}

static int
end_nowhere(void)
{
    return iora_write_eof(no_stream());
}

TEST(write, needs_a_task)
{
    check_needs_a_task(write_nowhere);
    check_needs_a_task(flush_nowhere);
    check_needs_a_task(end_nowhere);
}

/* ---- a close under it --------------------------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(write, that_waits_for_room_ends_by_a_close_and_what_was_buffered_is_sent)
{
    iora_stream *a, *b;
    iora_task writer, closer, x_closer;
    iora_stream *x, *y;
    size_t taken;
    char *data;

    make_pair(&a, &b);
    make_pair(&x, &y);
    taken = write_until_full(a, 1);
    data = make_run(2, BLOCK);
    writer = iora_go(write_all, a, (const char *)data, (size_t)BLOCK);
    closer = iora_go(close_when_told, y, a);
    let_all_run();
    put(x, "!");
    CHECK_EQ(iora_await(writer), IORA_E_CLOSED);
    CHECK(!iora_task_is_done(closer));
    take_run(b, 1, 0, taken);
    take_end(b);
    CHECK_EQ(iora_await(closer), 0);
    CHECK_EQ(iora_stream_close(b), 0);
    x_closer = iora_go(close_when_told, x, y);
    put(y, "!");
    CHECK_EQ(iora_await(x_closer), 0);
    CHECK_EQ(iora_stream_close(x), 0);
    free(data);
}

TEST_TASK_EVERYWHERE(write, beyond_the_limit_is_torn_by_a_close)
{
    char *const data = make_run(1, MUCH);
    iora_stream *a, *b;
    iora_task writer;

    make_pair(&a, &b);
    writer = iora_go(write_all, a, (const char *)data, (size_t)MUCH);
    let_all_run();
    CHECK_EQ(iora_stream_close(a), IORA_E_TORN);
    CHECK_EQ(iora_await(writer), IORA_E_TORN);
    iora_stream_abort(b);
    free(data);
}

/* The kernel had taken so much that the rest fitted into the buffer, and then the stream was closed, before the
 * writer went on. He filled the buffer of a stream that was shut, and the closer waited for a peer who does not
 * read. When the loop polls for the writer is not known here: so the close comes at each of many moments. */
TEST_TASK(write, ends_by_a_close_that_comes_between_two_parts)
{
    for (int moment = 0; moment < 600; moment++) {
        const size_t n = 140 * 1000;
        char *const data = make_run(1, n);
        iora_stream *a, *b;
        iora_task writer;
        int rc;

        make_pair(&a, &b);
        writer = iora_go(write_all, a, (const char *)data, n);
        let_all_run();
        take_run(b, 1, 0, 15 * 1000);
        for (int i = 0; i < moment; i++)
            CHECK_EQ(iora_yield(), 0);
        rc = iora_stream_close(a);
        CHECK(rc == IORA_E_TORN || rc == -ETIMEDOUT);
        rc = iora_await(writer);
        CHECK(rc == IORA_E_TORN || rc == 0);
        CHECK_EQ(iora_stream_close(b), 0);
        free(data);
    }
}
