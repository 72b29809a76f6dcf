/* tests/fault/traffic.h -- what the scenarios of streams share: bytes that tell where they belong.
 *
 * A *flow* is a number of bytes that go one way over one connection. Each byte follows from the flow's name
 * and from where it stands, so that one that is lost, doubled or on the wrong connection is seen at once. However
 * a run went, what was received is a beginning of what was sent; and all of it, if both sides came to the end.
 *
 * A stream that several tasks use is held by a pointer that they share: who gives up sets it to NULL.
 */
#ifndef IORA_TESTS_FAULT_TRAFFIC_H
#define IORA_TESTS_FAULT_TRAFFIC_H

#include "fault.h"

struct flow {
    int name;
    size_t total;
    size_t received;
    bool said_end; /* the sender has said that this is all, and nothing of it is buffered */
    bool saw_end;  /* the receiver was told so */
};

char flow_byte(int name, size_t at);
/* The bytes of a flow from `at` on; whether these are they. */
void flow_fill(int name, size_t at, char *data, size_t n);
void flow_check(int name, size_t at, const char *data, size_t n);

/* Write all of the flow, by pieces of many sizes; and say the end. Who fails gives the stream up. */
int flow_write(iora_stream **stream, struct flow *flow);
int flow_send(iora_stream **stream, struct flow *flow);
/* Read to the end by reads of many sizes. */
int flow_receive(iora_stream **stream, struct flow *flow);
/* Take so many further bytes for received. */
void flow_took(struct flow *flow, const char *data, size_t n);
/* What must be true of a flow at the end. */
void flow_settle(const struct flow *flow);

void give_up(iora_stream **stream);
/* Close it, if nobody gave it up. */
int finish(iora_stream **stream);

/* How long to wait for others who may have failed: short if something is to go wrong. */
iora_duration patience(void);

/* The code of a call that goes well unless something is to go wrong: then also what comes of a broken connection,
 * or of a peer that gave up. */
#define WELL(call) well(__FILE__, __LINE__, #call, (call))
/* The same in a task that the scenario itself may have cancelled. */
#define WELL_UNLESS_CANCELLED(call) well_unless_cancelled(__FILE__, __LINE__, #call, (call))
int well(const char *file, int line, const char *text, int rc);
int well_unless_cancelled(const char *file, int line, const char *text, int rc);

#endif
