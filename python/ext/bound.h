/* ext/bound.h -- methods of a loop that are bound once and not at each call (theory in bound.c). */
#ifndef IORA_EXT_BOUND_H
#define IORA_EXT_BOUND_H

#include <Python.h>

#include <stdbool.h>

struct LoopObject;
struct state;

enum { IORA__BOUND_METHODS = 9 };

struct bound_methods {
    unsigned version; /* that of the class they were found in */
    PyObject *methods[IORA__BOUND_METHODS];
};

int iora__bound_fill(struct state *state);

/* tp_getattro and tp_setattro of loops. */
PyObject *iora__bound_getattro(PyObject *loop, PyObject *name);
int iora__bound_setattro(PyObject *loop, PyObject *name, PyObject *value);

int iora__bound_traverse(const struct bound_methods *bound, visitproc visit, void *arg);
void iora__bound_clear(struct bound_methods *bound);

#endif
