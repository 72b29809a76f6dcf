/* ext/chain.h -- a future that follows another: wrap_future, run_coroutine_threadsafe (theory in chain.c). */
#ifndef IORA_EXT_CHAIN_H
#define IORA_EXT_CHAIN_H

#include <Python.h>

struct state;

int iora__chain_add(PyObject *module, struct state *state);

#endif
