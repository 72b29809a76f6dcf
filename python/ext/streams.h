/* ext/streams.h -- asyncio's streams: what runs for each packet and each read (theory in streams.c). */
#ifndef IORA_EXT_STREAMS_H
#define IORA_EXT_STREAMS_H

#include <Python.h>

struct state;

int iora__streams_add_types(PyObject *module, struct state *state);

/* Whether a protocol's data_received() is the one of ours, in its class and in itself; -1. */
int iora__stream_is_plain(struct state *state, PyObject *protocol);
/* What that does: 0, or -1 with an exception. */
int iora__stream_feed(PyObject *protocol, PyObject *data);

#endif
