/* ext/running.h -- the loop that runs in this thread, ours or another's, and its futures (theory in running.c). */
#ifndef IORA_EXT_RUNNING_H
#define IORA_EXT_RUNNING_H

#include <Python.h>

struct LoopObject;
struct state;

/* The loop of ours that runs in this thread: borrowed; NULL without an exception if there is none. */
struct LoopObject *iora__running_loop_of_ours(const struct state *state);

/* The loop that runs in this thread: a new reference. NULL without an exception if there is none. */
PyObject *iora__running_loop(const struct state *state);

/* The same, and RuntimeError if there is none. */
PyObject *iora__get_running_loop(const struct state *state);

/* loop.create_future() */
PyObject *iora__create_future(const struct state *state, PyObject *loop);

/* future.done(), future.cancelled(); -1 with an exception. */
int iora__future_is_done(const struct state *state, PyObject *future);
int iora__future_is_cancelled(const struct state *state, PyObject *future);

/* Set a future's result unless it is done: 1; 0 if it was. */
int iora__future_wake(const struct state *state, PyObject *future, PyObject *result);

#endif
