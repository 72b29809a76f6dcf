/* ext/taskgroup.h -- asyncio.TaskGroup (theory in taskgroup.c). */
#ifndef IORA_EXT_TASKGROUP_H
#define IORA_EXT_TASKGROUP_H

#include <Python.h>

struct state;

/* The function behind the done callback of its tasks. */
PyObject *iora__taskgroup_note_done(PyObject *group, PyObject *task);

int iora__taskgroup_add(PyObject *module, struct state *state);

#endif
