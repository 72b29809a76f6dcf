/* ext/shield.h -- asyncio.shield (theory in shield.c). */
#ifndef IORA_EXT_SHIELD_H
#define IORA_EXT_SHIELD_H

#include <Python.h>

struct state;

int iora__shield_add(PyObject *module, struct state *state);

#endif
