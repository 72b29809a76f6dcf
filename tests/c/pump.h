/* tests/c/pump.h -- many bytes through a connection, both ways at once, each of them looked at.
 *
 * They are sent and received in pieces of random sizes, far more than lie between the two ends, so that either
 * side waits for the other again and again.
 */
#ifndef IORA_TESTS_PUMP_H
#define IORA_TESTS_PUMP_H

#include "ops.h"

enum { PUMP_MAX = 100000 };

/* One direction of a connection: bytes by a rule, in pieces of random sizes. */
struct pump {
    struct probe sends, receives;
    unsigned char out[PUMP_MAX], in[PUMP_MAX];
    int from, to;
    size_t total, sent, received;
    uint64_t random;
    int finished;
};

static inline unsigned char
byte_at(size_t at)
{
    return (unsigned char)(at * 31 + (at >> 8) * 7 + (at >> 16));
}

static inline size_t
random_size(struct pump *pump)
{
    pump->random = pump->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (size_t)(pump->random >> 33) % ((pump->random >> 20) % 3 == 0 ? PUMP_MAX : 300) + 1;
}

static inline void pump_send(struct pump *pump);
static inline void pump_receive(struct pump *pump);

static inline void
pump_sent(struct pump *pump)
{
    CHECK(pump->sends.res > 0);
    pump->sent += (size_t)pump->sends.res;
}

static inline void
pump_received(struct pump *pump)
{
    CHECK(pump->receives.res > 0);
    for (int i = 0; i < pump->receives.res; i++)
        CHECK_EQ(pump->in[i], byte_at(pump->received + (size_t)i));
    pump->received += (size_t)pump->receives.res;
    pump->finished = pump->received == pump->total;
}

static inline void
after_send(struct probe *probe)
{
    struct pump *const pump = iora__container_of(probe, struct pump, sends);

    pump_sent(pump);
    pump_send(pump);
}

static inline void
after_receive(struct probe *probe)
{
    struct pump *const pump = iora__container_of(probe, struct pump, receives);

    pump_received(pump);
    pump_receive(pump);
}

static inline void
pump_send(struct pump *pump)
{
    int rc = IORA__OP_DONE;

    while (rc == IORA__OP_DONE && pump->sent < pump->total) {
        size_t n = random_size(pump);

        n = n < pump->total - pump->sent ? n : pump->total - pump->sent;
        for (size_t i = 0; i < n; i++)
            pump->out[i] = byte_at(pump->sent + i);
        prepare(&pump->sends, IORA__OP_SEND, pump->from, pump->out, n);
        pump->sends.then = after_send;
        if ((rc = submit(&pump->sends)) != IORA__OP_PENDING)
            pump_sent(pump);
    }
}

static inline void
pump_receive(struct pump *pump)
{
    int rc = IORA__OP_DONE;

    while (rc == IORA__OP_DONE && pump->received < pump->total) {
        prepare(&pump->receives, IORA__OP_RECV, pump->to, pump->in, random_size(pump));
        pump->receives.then = after_receive;
        if ((rc = submit(&pump->receives)) != IORA__OP_PENDING)
            pump_received(pump);
    }
}

static inline void
pump_both_ways(int ends[2], size_t total, uint64_t seed)
{
    static struct pump pumps[2];

    for (int i = 0; i < 2; i++) {
        pumps[i] = (struct pump){
            .from = ends[i], .to = ends[1 - i], .total = total, .random = seed + (uint64_t)i};
        pump_send(&pumps[i]);
    }
    turn_some(test_loop());
    CHECK(pumps[0].sent < total); /* held back: nobody reads yet */
    for (int i = 0; i < 2; i++)
        pump_receive(&pumps[i]);
    for (int i = 0; i < 2; i++)
        turn_until(test_loop(), &pumps[i].finished, 1);
    CHECK_EQ(ops_pending(), 0);
}

#endif
