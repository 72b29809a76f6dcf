/* ext/step.h -- what asyncio's tasks and futures ask a loop for, run without a handle (theory in step.c). */
#ifndef IORA_EXT_STEP_H
#define IORA_EXT_STEP_H

#include "ext/loop.h"
#include "ext/state.h"
#include "ext/taskgroup.h"

/* callback(*args) is a step, a wake-up or a done callback of ours. */
static inline bool
iora__step_is_known(const struct state *state, PyObject *const *args, Py_ssize_t n)
{
    PyObject *const callback = args[0];

    if (state->step_type == NULL)
        return false;
    if (n == 1)
        return Py_IS_TYPE(callback, state->step_type);
    if (n != 2)
        return false;
    if (PyCFunction_CheckExact(callback))
        return PyCFunction_GET_FUNCTION(callback) == state->wake_up_function ||
               PyCFunction_GET_FUNCTION(callback) == iora__taskgroup_note_done;
    return Py_IS_TYPE(callback, (PyTypeObject *)state->asyncio.gather_done_type);
}

/* Whether these are the names of the keywords (context); then they are known by their address from now on. */
bool iora__step_note_names(struct state *state, PyObject *names);

/* Put one into the ring, to run in the context that comes after the n parts of the call; -1 with MemoryError. */
int iora__step_push(LoopObject *loop, PyObject *const *args, Py_ssize_t n);

/* Run the one whose first part, the context, has been taken out of the ring; takes that reference. As
 * iora__handle_run(). */
int iora__step_run(LoopObject *loop, PyObject *context);

int iora__step_add(PyObject *module, struct state *state);

#endif
