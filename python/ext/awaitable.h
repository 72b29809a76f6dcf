/* ext/awaitable.h -- coroutines written in C (theory in awaitable.c). */
#ifndef IORA_EXT_AWAITABLE_H
#define IORA_EXT_AWAITABLE_H

#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

struct state;
typedef struct AwaitableObject AwaitableObject;

/* What a step came to, and what it left in `out`. */
enum iora__outcome {
    IORA__RETURN, /* the result: a new reference */
    IORA__RAISE,  /* nothing; an exception is set */
    IORA__AWAIT,  /* what to await: a new reference. The next step gets what came of it */
    IORA__YIELD,  /* nothing; let the loop turn once */
};

struct iora__awaitable_kind {
    const char *name, *qualname;
    /* Run until the next await. `value` (borrowed) is the result of the last one, None the first time and after a
     * yield; NULL with an exception set if that raised, or one was thrown in. `phase` is 0 the first time. */
    enum iora__outcome (*step)(AwaitableObject *self, PyObject *value, PyObject **out);
    /* It suspends for one turn of the loop and comes to its first reference: only what is thrown in is the step's. */
    bool is_turn;
};

enum { IORA__AWAITABLE_REFS = 4 };

struct AwaitableObject {
    PyObject_HEAD
    struct state *state;
    const struct iora__awaitable_kind *kind;
    PyObject *inner; /* the iterator of what it awaits */
    PyObject *weak_references;
    /* The kind's: its arguments, and what it keeps between steps. Released at the end. */
    PyObject *refs[IORA__AWAITABLE_REFS];
    Py_ssize_t number;
    uint8_t phase;
    uint8_t status;
    bool is_finalized;
};

int iora__awaitable_add_types(PyObject *module, struct state *state);
void iora__awaitable_free_list_clear(struct state *state);

/* A new one, with no references in it. */
AwaitableObject *iora__awaitable_new(struct state *state, const struct iora__awaitable_kind *kind);

/* What has nothing to wait for and comes to None: a new reference to the one that all share. */
PyObject *iora__awaitable_ready(struct state *state);

/* The iterator of what can be awaited: a new reference; NULL with TypeError. */
PyObject *iora__await_iter(PyObject *awaitable);

#endif
