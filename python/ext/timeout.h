/* ext/timeout.h -- asyncio.timeout, timeout_at, Timeout and wait_for (theory in timeout.c). */
#ifndef IORA_EXT_TIMEOUT_H
#define IORA_EXT_TIMEOUT_H

#include <Python.h>

struct state;

int iora__timeout_add(PyObject *module, struct state *state);

#endif
