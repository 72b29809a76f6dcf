/* ext/gather.h -- asyncio.gather (theory in gather.c). */
#ifndef IORA_EXT_GATHER_H
#define IORA_EXT_GATHER_H

#include <Python.h>

struct state;

int iora__gather_add(PyObject *module, struct state *state);

#endif
