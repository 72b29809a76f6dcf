/* ext/lock.h -- asyncio.Lock in C (theory in lock.c). */
#ifndef IORA_EXT_LOCK_H
#define IORA_EXT_LOCK_H

#include "ext/sync.h"

typedef struct {
    SyncObject sync;
    char is_locked;
} LockObject;

int iora__lock_add_type(PyObject *module, struct state *state);

/* Whether it does by its methods what the C functions here do. */
int iora__lock_is_plain(PyObject *object, const struct state *state);

/* Take it if it is free and nobody's turn: 1, else 0. */
int iora__lock_try(LockObject *lock);
PyObject *iora__lock_acquire(LockObject *lock);
/* -1 with RuntimeError if it is not locked. */
int iora__lock_release(LockObject *lock);

#endif
