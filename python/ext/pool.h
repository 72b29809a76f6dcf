/* ext/pool.h -- a loop's own threads: what run_in_executor(None, ...) runs in (theory in pool.c). */
#ifndef IORA_EXT_POOL_H
#define IORA_EXT_POOL_H

#include "ext/loop.h"

/* run_in_executor(executor, func, *args) of a loop. */
PyObject *iora__loop_run_in_executor(LoopObject *loop, PyObject *const *args, Py_ssize_t n, PyObject *names);

/* A future for call(), called in one of the loop's threads within that context. */
PyObject *iora__pool_run(LoopObject *loop, PyObject *call, PyObject *context);

/* Whether that is what run_in_executor(None, call) comes to, as far as anybody can see. */
bool iora__pool_is_used(LoopObject *loop);

/* The executor in its place: the one that was set, or one that is made now since somebody wants to see it; NULL with
 * an exception. And setting it. */
PyObject *iora__pool_get_executor(LoopObject *loop, void *unused);
int iora__pool_set_executor(LoopObject *loop, PyObject *executor, void *unused);

/* The loop is done with its pool, whose threads end once what they have been given is done. */
void iora__pool_drop(LoopObject *loop);

int iora__pool_add_type(PyObject *module, struct state *state);

#endif
