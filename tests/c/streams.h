/* tests/c/streams.h -- what the tests of streams, servers and connections share. */
#ifndef IORA_TESTS_STREAMS_H
#define IORA_TESTS_STREAMS_H

#include "waiting.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- streams ---------------------------------------------------------------------------------- */

static inline void
make_pair(iora_stream **a, iora_stream **b)
{
    CHECK_EQ(iora_stream_pair(a, b), 0);
}

static inline void
close_both_streams(iora_stream *a, iora_stream *b)
{
    CHECK_EQ(iora_stream_close(a), 0);
    CHECK_EQ(iora_stream_close(b), 0);
}

/* What is given to a call that must not look at it. */
static inline iora_stream *
no_stream(void)
{
    static _Alignas(16) char nothing[1024];

    return (iora_stream *)(void *)nothing;
}

/* Write a text, without its NUL. */
static inline void
put(iora_stream *stream, const char *text)
{
    CHECK_EQ(iora_write(stream, text, strlen(text)), 0);
}

/* Write a text that the other side reads by itself, before anything that follows. */
static inline void
put_alone(iora_stream *stream, const char *text)
{
    put(stream, text);
    let_all_run();
}

/* What comes next is this text. */
static inline void
take(iora_stream *stream, const char *text)
{
    char data[256];
    const size_t n = strlen(text);

    CHECK(n <= sizeof data);
    CHECK_EQ(iora_read_exactly(stream, data, n), 0);
    CHECK_EQ(memcmp(data, text, n), 0);
}

static inline void
take_end(iora_stream *stream)
{
    char byte;

    CHECK_EQ(iora_read(stream, &byte, 1), 0);
    CHECK(iora_at_eof(stream));
}

#define CHECK_VIEW(call, view, text)                                                               \
    do {                                                                                           \
        CHECK_EQ((call), strlen(text));                                                            \
        CHECK_STR((view), (text));                                                                 \
    } while (0)

/* ---- long runs of bytes that can be told from each other --------------------------------------------- */

/* The byte at a place of a run. Neither a place that is off by a power of two nor another run looks alike. */
static inline unsigned char
byte_at(unsigned run, size_t place)
{
    uint64_t x =
        (uint64_t)place * UINT64_C(0x9e3779b97f4a7c15) + run * UINT64_C(0xbf58476d1ce4e5b9);

    return (unsigned char)((x ^ (x >> 29)) >> 24);
}

static inline void
fill_run(unsigned run, size_t place, void *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((unsigned char *)data)[i] = byte_at(run, place + i);
}

static inline void
check_run(unsigned run, size_t place, const void *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (((const unsigned char *)data)[i] != byte_at(run, place + i))
            test_fail(__FILE__, __LINE__, "the byte at %zu is not what was written there",
                      place + i);
    }
}

/* A run in memory of its own. */
static inline char *
make_run(unsigned run, size_t n)
{
    char *const data = malloc(n);

    CHECK(data != NULL);
    fill_run(run, 0, data, n);
    return data;
}

/* Read n bytes of a run, in whatever pieces. */
static inline void
take_run(iora_stream *stream, unsigned run, size_t place, size_t n)
{
    static char data[16384];

    while (n > 0) {
        const int rc = iora_read(stream, data, n < sizeof data ? n : sizeof data);

        CHECK(rc > 0);
        check_run(run, place, data, (size_t)rc);
        place += (size_t)rc;
        n -= (size_t)rc;
    }
}

enum { BLOCK = 10000 };

/* Write blocks of a run until there is no room for one more: how many bytes were taken. */
static inline size_t
write_until_full(iora_stream *stream, unsigned run)
{
    static char block[BLOCK];
    size_t taken = 0;

    for (;;) {
        int rc;

        fill_run(run, taken, block, sizeof block);
        rc = iora_wait_for(iora_write(stream, block, sizeof block), iora_ms(5));
        if (rc == -ETIMEDOUT)
            return taken;
        CHECK_EQ(rc, 0);
        taken += sizeof block;
    }
}

/* ---- servers ----------------------------------------------------------------------------------------- */

/* Serve a client with what it sends. */
static inline int
echo(iora_stream *client, void *arg)
{
    char data[1024];
    int rc;

    (void)arg;
    while ((rc = iora_read(client, data, sizeof data)) > 0 &&
           (rc = iora_write(client, data, (size_t)rc)) == 0)
        continue;
    return rc;
}

/* ---- tasks that do one thing -------------------------------------------------------------------------- */

/* Wait for a byte of one stream, then cancel a task or close another stream. With a byte sent to the first just
 * before what a third task waits for, that happens between the end of its wait and its next step. */
static inline int
cancel_when_told(iora_stream *told, iora_task task)
{
    char byte;

    CHECK_EQ(iora_read(told, &byte, 1), 1);
    return iora_cancel(task);
}
IORA_ASYNC(cancel_when_told, iora_stream *, iora_task);

static inline int
close_when_told(iora_stream *told, iora_stream *stream)
{
    char byte;

    CHECK_EQ(iora_read(told, &byte, 1), 1);
    return iora_stream_close(stream);
}
IORA_ASYNC(close_when_told, iora_stream *, iora_stream *);

static inline int
read_into(iora_stream *stream, char *data, size_t n)
{
    return iora_read(stream, data, n);
}
IORA_ASYNC(read_into, iora_stream *, char *, size_t);

static inline int
read_exactly_into(iora_stream *stream, char *data, size_t n)
{
    return iora_read_exactly(stream, data, n);
}
IORA_ASYNC(read_exactly_into, iora_stream *, char *, size_t);

static inline int
write_all(iora_stream *stream, const char *data, size_t n)
{
    return iora_write(stream, data, n);
}
IORA_ASYNC(write_all, iora_stream *, const char *, size_t);

static inline int
take_all_of_run(iora_stream *stream, unsigned run, size_t n)
{
    take_run(stream, run, 0, n);
    take_end(stream);
    return 0;
}
IORA_ASYNC(take_all_of_run, iora_stream *, unsigned, size_t);

#endif
