/* tests/fault/traffic.c -- flows of bytes that tell where they belong (see traffic.h). */
#include "traffic.h"

#include <stdlib.h>

/* Of one piece and of one read. Some are longer than a stream's buffer, one is a byte. */
static const size_t sizes[] = {1, 300, 5000, 70000, 20000, 40};

enum { SIZES = sizeof sizes / sizeof sizes[0], PIECE_MAX = 70000 };

char
flow_byte(int name, size_t at)
{
    return (char)(at * 31 + (at >> 8) * 17 + (size_t)name * 101 + 7);
}

void
flow_fill(int name, size_t at, char *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        data[i] = flow_byte(name, at + i);
}

void
flow_check(int name, size_t at, const char *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (data[i] != flow_byte(name, at + i))
            fault_fail(__FILE__, __LINE__, "byte %zu of flow %d is 0x%02x, not 0x%02x", at + i,
                       name, (unsigned char)data[i], (unsigned char)flow_byte(name, at + i));
    }
}

void
give_up(iora_stream **stream)
{
    iora_stream *const one = *stream;

    *stream = NULL;
    iora_stream_abort(one);
}

int
finish(iora_stream **stream)
{
    iora_stream *const one = *stream;

    *stream = NULL;
    return WELL(iora_stream_close(one));
}

int
flow_write(iora_stream **stream, struct flow *flow)
{
    char *const data = malloc(PIECE_MAX);
    size_t sent = 0;
    int rc = 0;

    CHECK(data != NULL);
    for (size_t piece = (size_t)flow->name; sent < flow->total && rc == 0; piece++) {
        const size_t size = sizes[piece % SIZES], left = flow->total - sent;
        const size_t n = size < left ? size : left;

        flow_fill(flow->name, sent, data, n);
        rc = *stream != NULL ? WELL(iora_write(*stream, data, n)) : IORA_E_CLOSED;
        sent += n;
    }
    if (rc < 0)
        give_up(stream);
    free(data);
    return rc;
}

int
flow_send(iora_stream **stream, struct flow *flow)
{
    int rc = flow_write(stream, flow);

    if (rc == 0)
        rc = *stream != NULL ? WELL(iora_write_eof(*stream)) : IORA_E_CLOSED;
    flow->said_end = rc == 0;
    if (rc < 0)
        give_up(stream);
    return rc;
}

void
flow_took(struct flow *flow, const char *data, size_t n)
{
    CHECK(n <= flow->total - flow->received);
    flow_check(flow->name, flow->received, data, n);
    flow->received += n;
}

int
flow_receive(iora_stream **stream, struct flow *flow)
{
    char *const data = malloc(PIECE_MAX);
    int rc = 1;

    CHECK(data != NULL);
    for (size_t piece = (size_t)flow->name + 2; rc > 0; piece++) {
        const size_t n = sizes[piece % SIZES];

        rc = *stream != NULL ? WELL(iora_read(*stream, data, n)) : IORA_E_CLOSED;
        if (rc > 0)
            flow_took(flow, data, (size_t)rc);
    }
    free(data);
    flow->saw_end = rc == 0;
    if (rc < 0)
        give_up(stream);
    return rc;
}

void
flow_settle(const struct flow *flow)
{
    if (!fault_is_armed())
        CHECK(flow->said_end && flow->saw_end);
    if (flow->said_end && flow->saw_end)
        CHECK_EQ(flow->received, flow->total);
}

iora_duration
patience(void)
{
    return fault_is_armed() ? iora_ms(300) : iora_s(20);
}

int
well(const char *file, int line, const char *text, int rc)
{
    static const int broken[] = {
        0,         -EPIPE,     -ECONNRESET,       -ECONNABORTED, -ECONNREFUSED,
        -ENOTCONN, -ETIMEDOUT, IORA_E_INCOMPLETE, IORA_E_TORN,   IORA_E_CLOSED};

    (void)fault_expect(file, line, text, rc < 0 ? rc : 0, broken, sizeof broken / sizeof broken[0]);
    return rc;
}

int
well_unless_cancelled(const char *file, int line, const char *text, int rc)
{
    return rc == -ECANCELED ? rc : well(file, line, text, rc);
}
