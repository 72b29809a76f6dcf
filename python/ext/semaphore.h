/* ext/semaphore.h -- asyncio.Semaphore and BoundedSemaphore in C (theory in semaphore.c). */
#ifndef IORA_EXT_SEMAPHORE_H
#define IORA_EXT_SEMAPHORE_H

#include "ext/sync.h"

typedef struct {
    SyncObject sync;
    Py_ssize_t value;
    Py_ssize_t bound; /* the most that release() may make it; PY_SSIZE_T_MAX: no bound */
} SemaphoreObject;

int iora__semaphore_add_types(PyObject *module, struct state *state);

#endif
