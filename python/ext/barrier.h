/* ext/barrier.h -- asyncio.Barrier in C (theory in barrier.c). */
#ifndef IORA_EXT_BARRIER_H
#define IORA_EXT_BARRIER_H

#include "ext/condition.h"

enum iora__barrier_state { IORA__FILLING, IORA__DRAINING, IORA__RESETTING, IORA__BROKEN };

typedef struct {
    SyncObject sync;
    ConditionObject *condition; /* NULL before init */
    Py_ssize_t parties;
    Py_ssize_t count; /* tasks in wait() that came in and have not left */
    enum iora__barrier_state state;
} BarrierObject;

int iora__barrier_add_type(PyObject *module, struct state *state);

#endif
