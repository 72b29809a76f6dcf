/* ext/create.h -- making tasks, and finding them (theory in create.c). */
#ifndef IORA_EXT_CREATE_H
#define IORA_EXT_CREATE_H

#include <Python.h>

struct state;

int iora__create_add(PyObject *module, struct state *state);

#endif
