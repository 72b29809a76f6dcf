/* backend/sim/flow.c -- the bytes on their way to a socket, and those that are there.
 *
 * A flow is a ring: `arrived` bytes that can be received, behind them `in_flight` ones. Sending adds to
 * the latter; arriving (sockets.c) only moves the border. A flow takes `capacity` bytes and no more,
 * which is what holds a sender back, but has memory only for what was in it at once: of thousands of
 * connections most carry a few bytes.
 */
#include "backend/sim/sim.h"

#include "sys/alloc.h"

#include <string.h>

enum { RING_MIN = 1024 };

size_t
iora__sim_room(const struct iora__sim_flow *flow)
{
    const size_t used = flow->arrived + flow->in_flight;

    return used < flow->capacity ? flow->capacity - used : 0;
}

/* What of the ring lies in one piece, from `at` bytes behind the first on. */
static size_t
piece_at(const struct iora__sim_flow *flow, size_t at, unsigned char **out)
{
    const size_t start = (flow->first + at) % flow->size;

    *out = flow->ring + start;
    return flow->size - start;
}

static size_t
min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void
copy_out(const struct iora__sim_flow *flow, size_t at, unsigned char *to, size_t n)
{
    while (n > 0) {
        unsigned char *from;
        const size_t piece = min(piece_at(flow, at, &from), n);

        memcpy(to, from, piece);
        to += piece;
        at += piece;
        n -= piece;
    }
}

static void
copy_in(const struct iora__sim_flow *flow, size_t at, const unsigned char *from, size_t n)
{
    while (n > 0) {
        unsigned char *to;
        const size_t piece = min(piece_at(flow, at, &to), n);

        memcpy(to, from, piece);
        from += piece;
        at += piece;
        n -= piece;
    }
}

static int
grow(struct iora__sim_flow *flow, size_t needed)
{
    const size_t used = flow->arrived + flow->in_flight;
    size_t size = flow->size > 0 ? flow->size : RING_MIN;
    unsigned char *ring;

    while (size < needed)
        size *= 2;
    if (size == flow->size)
        return 0;
    if ((ring = iora__alloc(size)) == NULL)
        return -ENOMEM;
    copy_out(flow, 0, ring, used);
    iora__free(flow->ring);
    flow->ring = ring;
    flow->size = size;
    flow->first = 0;
    return 0;
}

int
iora__sim_put(struct iora__sim_flow *flow, const struct iovec *parts, size_t n)
{
    const size_t used = flow->arrived + flow->in_flight;
    int rc;

    if ((rc = grow(flow, used + n)) < 0)
        return rc;
    for (size_t done = 0; done < n; parts++) {
        const size_t part = min(parts->iov_len, n - done);

        copy_in(flow, used + done, parts->iov_base, part);
        done += part;
    }
    flow->in_flight += n;
    return 0;
}

void
iora__sim_take(struct iora__sim_flow *flow, const struct iovec *parts, size_t n, bool peek)
{
    for (size_t done = 0; done < n; parts++) {
        const size_t part = min(parts->iov_len, n - done);

        copy_out(flow, done, parts->iov_base, part);
        done += part;
    }
    if (peek)
        return;
    flow->first = (flow->first + n) % flow->size;
    flow->arrived -= n;
}
