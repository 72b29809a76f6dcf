/* ext/sync.h -- what the locks and queues have in common (theory in sync.c). */
#ifndef IORA_EXT_SYNC_H
#define IORA_EXT_SYNC_H

#include <Python.h>

#include <stdbool.h>

#include "ext/awaitable.h"
#include "ext/ring.h"

struct plain_class;
struct state;

/* Futures of those who wait, first come first. */
struct waiters {
    struct ring ring;
    PyObject *deque; /* in the place of the ring, once Python has seen it */
};

typedef struct {
    PyObject_HEAD
    struct state *state;
    PyObject *loop; /* NULL until somebody has to wait */
    struct waiters waiters;
    bool is_shadowed; /* an attribute of the object hides a method */
} SyncObject;

/* tp_new of all of them. */
PyObject *iora__sync_new(PyTypeObject *type, PyObject *args, PyObject *keywords);

/* The slots of those that keep nothing else. */
int iora__sync_traverse(PyObject *self, visitproc visit, void *arg);
int iora__sync_clear(PyObject *self);
void iora__sync_dealloc(PyObject *self);
/* tp_setattro of all of them. */
int iora__sync_setattro(PyObject *self, PyObject *name, PyObject *value);

/* Whether the class has the methods of these names (a list that ends with NULL) from `type`, so that they need not be
 * called. -1 with an exception. */
int iora__class_is_plain(PyTypeObject *class, struct plain_class *known, PyTypeObject *type,
                         const char *const *names);
/* The same of the object's class and of the object itself. */
int iora__sync_is_plain(SyncObject *self, struct plain_class *known, PyTypeObject *type,
                        const char *const *names);

/* The class that users see, from one of iora's modules in Python. Borrowed. */
PyObject *iora__sync_public_class(PyObject **known, const char *where, const char *name);

/* `async with` of those that have acquire() and release(): by these methods, whosever they are. */
PyObject *iora__sync_enter_by_methods(SyncObject *self);
PyObject *iora__sync_exit_by_methods(SyncObject *self);

/* A future of the running loop, to which the object is bound from now on. */
PyObject *iora__sync_create_future(SyncObject *self);

/* What object.__repr__ says, with more: "<... [locked, waiters:2]>". `what` is stolen; NULL gives NULL. */
PyObject *iora__sync_repr(SyncObject *self, PyObject *what);

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
/* A deque in its place, or None: empty. */
int iora__waiters_set(struct waiters *waiters, PyObject *deque);

/* `_waiters`: a deque; or None if nobody has ever waited. */
PyObject *iora__sync_get_waiters(SyncObject *self, void *unused);
PyObject *iora__sync_get_waiters_or_none(SyncObject *self, void *unused);
int iora__sync_set_waiters(SyncObject *self, PyObject *waiters, void *unused);

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
