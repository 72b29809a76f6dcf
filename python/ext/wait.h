/* ext/wait.h -- asyncio.wait (theory in wait.c). */
#ifndef IORA_EXT_WAIT_H
#define IORA_EXT_WAIT_H

#include <Python.h>

struct state;

int iora__wait_add(PyObject *module, struct state *state);

#endif
