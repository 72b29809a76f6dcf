/* ext/attempt.h -- a call that is tried whenever a descriptor is ready (theory in attempt.c). */
#ifndef IORA_EXT_ATTEMPT_H
#define IORA_EXT_ATTEMPT_H

#include <Python.h>

#include "ext/loop.h"

int iora__attempt_add_type(PyObject *module, struct state *state);

/* loop._attempt(fd, writing, function, *args) */
PyObject *iora__loop_attempt(LoopObject *loop, PyObject *const *args, Py_ssize_t n);

#endif
