/* ext/completed.h -- asyncio.as_completed (theory in completed.c). */
#ifndef IORA_EXT_COMPLETED_H
#define IORA_EXT_COMPLETED_H

#include <Python.h>

struct state;

int iora__completed_add(PyObject *module, struct state *state);

#endif
