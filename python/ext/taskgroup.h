/* ext/taskgroup.h -- asyncio.TaskGroup (theory in taskgroup.c). */
#ifndef IORA_EXT_TASKGROUP_H
#define IORA_EXT_TASKGROUP_H

#include <Python.h>

struct state;

int iora__taskgroup_add(PyObject *module, struct state *state);

#endif
