/* ext/streams.h -- asyncio's streams: what runs for each packet and each read (theory in streams.c). */
#ifndef IORA_EXT_STREAMS_H
#define IORA_EXT_STREAMS_H

#include <Python.h>

struct state;

int iora__streams_add_types(PyObject *module, struct state *state);

#endif
