/* ext/streams.h -- asyncio's streams: what runs for each packet and each read (theory in streams.c). */
#ifndef IORA_EXT_STREAMS_H
#define IORA_EXT_STREAMS_H

#include <Python.h>

struct state;

int iora__streams_add_types(PyObject *module, struct state *state);

/* Whether a protocol's data_received() is the one of ours, in its class and in itself; -1. */
int iora__stream_is_plain(struct state *state, PyObject *protocol);
/* What that does, without a context, as long as it runs none of the user's: 0, or -1 with an exception; IORA__NOT_FED if
 * the reader's class is the user's, whose feed_data() has not been called. */
enum { IORA__NOT_FED = 1 };
int iora__stream_feed(PyObject *protocol, PyObject *data);

#endif
