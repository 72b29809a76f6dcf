/* ext/sleep.h -- asyncio.sleep (theory in sleep.c). */
#ifndef IORA_EXT_SLEEP_H
#define IORA_EXT_SLEEP_H

#include <Python.h>

struct state;

int iora__sleep_add(PyObject *module, struct state *state);

/* number <= 0, for a number of any type: -1 with an exception. */
int iora__is_past(PyObject *number);

#endif
