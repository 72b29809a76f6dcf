/* ext/condition.h -- asyncio.Condition in C (theory in condition.c). */
#ifndef IORA_EXT_CONDITION_H
#define IORA_EXT_CONDITION_H

#include "ext/sync.h"

enum {
    IORA__CONDITION_ACQUIRE,
    IORA__CONDITION_RELEASE,
    IORA__CONDITION_LOCKED,
    IORA__CONDITION_HIDDEN
};

typedef struct {
    SyncObject sync;
    PyObject *lock;
    PyObject *hidden
        [IORA__CONDITION_HIDDEN]; /* what was put in the place of the lock's methods, mostly NULL */
} ConditionObject;

int iora__condition_add_type(PyObject *module, struct state *state);

/* Take the lock if that can be done at once: 1. 0: await iora__condition_acquire(). */
int iora__condition_try(ConditionObject *condition);
PyObject *iora__condition_acquire(ConditionObject *condition);
int iora__condition_release(ConditionObject *condition);

/* What wait() gives. */
PyObject *iora__condition_wait(ConditionObject *condition);
/* Wake n of those who wait. The lock must be held, which is not checked. */
int iora__condition_notify(ConditionObject *condition, Py_ssize_t n);

#endif
