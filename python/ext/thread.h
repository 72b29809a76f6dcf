/* ext/thread.h -- asyncio.to_thread (theory in thread.c). */
#ifndef IORA_EXT_THREAD_H
#define IORA_EXT_THREAD_H

#include <Python.h>

struct state;

int iora__thread_add(PyObject *module, struct state *state);

#endif
