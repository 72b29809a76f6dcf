/* ext/sync.h -- what the locks and queues have in common (theory in sync.c). */
#ifndef IORA_EXT_SYNC_H
#define IORA_EXT_SYNC_H

#include <Python.h>

#include "ext/awaitable.h"
#include "ext/ring.h"

struct state;

typedef struct {
    PyObject_HEAD
    struct state *state;
    PyObject *loop; /* NULL until somebody has to wait */
} SyncObject;

/* Futures of those who wait, first come first. */
struct waiters {
    struct ring ring;
    PyObject *deque; /* in the place of the ring, once Python has seen it */
};

/* tp_new of all of them. */
PyObject *iora__sync_new(PyTypeObject *type, PyObject *args, PyObject *keywords);

/* A future of the running loop, to which the object is bound from now on. */
PyObject *iora__sync_create_future(SyncObject *self);

/* What object.__repr__ says, with more: "<... [locked, waiters:2]>". `state` is stolen; NULL gives NULL. */
PyObject *iora__sync_repr(PyObject *self, PyObject *what, const struct waiters *waiters);

/* ---- waiters ---- */

Py_ssize_t iora__waiters_count(const struct waiters *waiters);
/* The ith: a new reference; NULL without an exception if there is none any more. */
PyObject *iora__waiters_get(const struct waiters *waiters, Py_ssize_t i);
/* Take out the first: a reference; NULL without an exception if there is none. */
PyObject *iora__waiters_pop(const struct state *state, struct waiters *waiters);
int iora__waiters_add(const struct state *state, struct waiters *waiters, PyObject *future);
/* 1; 0 if it was not there. */
int iora__waiters_remove(const struct state *state, struct waiters *waiters, PyObject *future);
/* Whether there is nobody whose future is not cancelled. */
int iora__waiters_all_cancelled(const struct state *state, const struct waiters *waiters);
/* Set the result of the first n that are not done: how many those were. */
Py_ssize_t iora__waiters_wake(const struct state *state, const struct waiters *waiters,
                              Py_ssize_t n, PyObject *result);

/* As a deque, from now on. A new reference. */
PyObject *iora__waiters_as_deque(const struct state *state, struct waiters *waiters);
/* None if nobody has ever waited, else the deque. */
PyObject *iora__waiters_as_deque_or_none(const struct state *state, struct waiters *waiters);
/* A setter for either: a deque, or None. */
int iora__waiters_set(struct waiters *waiters, PyObject *deque);

int iora__waiters_traverse(const struct waiters *waiters, visitproc visit, void *arg);
void iora__waiters_clear(struct waiters *waiters);

/* ---- waiting, in a step ---- */

enum { IORA__OWNER, IORA__FUTURE }; /* refs of an awaitable: whose it is, and what it waits for */

/* An awaitable of the kind, of an object. */
AwaitableObject *iora__sync_awaitable(SyncObject *owner, const struct iora__awaitable_kind *kind);

/* Wait for a new future among the waiters; what the step returns. */
enum iora__outcome iora__sync_wait(AwaitableObject *self, struct waiters *waiters, PyObject **out);

/* Not among them any more. An exception that is set stays. */
int iora__sync_wait_ended(AwaitableObject *self, struct waiters *waiters);

#endif
