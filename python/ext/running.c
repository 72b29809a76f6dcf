/* ext/running.c -- the loop that runs in this thread, ours or another's, and its futures.
 *
 * Everything that waits asks for the running loop. asyncio's answer costs a system call up to 3.11 (getpid, some
 * 200 ns) and a call from 3.12 on; a loop of ours is found through the core's thread-local. The core's loops are
 * private to this extension, and each has a loop object for a guest. A forked child has no running loop.
 *
 * Everything is done by public methods, which may be anybody's: the loop's, a subclass's, a mock's. asyncio's own
 * futures are not asked whether they are done before they are woken: they refuse to be woken twice.
 */
#include "ext/running.h"

#include "ext/asyncio.h"
#include "ext/loop.h"
#include "ext/state.h"

struct LoopObject *
iora__running_loop_of_ours(const struct state *state)
{
    const iora_loop *const core = iora__running;
    LoopObject *loop;

    if (core == NULL || core->guest == NULL || iora__loop_is_forked(core))
        return NULL;
    loop = iora__container_of(core->guest, LoopObject, guest);
    return loop->state == state ? loop : NULL;
}

PyObject *
iora__running_loop(const struct state *state)
{
    PyObject *const ours = (PyObject *)iora__running_loop_of_ours(state);
    PyObject *loop;

    if (ours != NULL)
        return Py_NewRef(ours);
    loop = PyObject_CallMethodNoArgs(state->events, state->str__get_running_loop);
    if (loop == Py_None)
        Py_CLEAR(loop);
    return loop;
}

PyObject *
iora__get_running_loop(const struct state *state)
{
    PyObject *const loop = iora__running_loop(state);

    if (loop == NULL && !PyErr_Occurred())
        PyErr_SetString(PyExc_RuntimeError, "no running event loop");
    return loop;
}

PyObject *
iora__create_future(const struct state *state, PyObject *loop)
{
    return PyObject_CallMethodNoArgs(loop, state->str_create_future);
}

static int
ask(const struct state *state, PyObject *future, enum iora__question question)
{
    PyObject *const answer = iora__future_ask(state, future, question);
    const int is_true = answer != NULL ? PyObject_IsTrue(answer) : -1;

    Py_XDECREF(answer);
    return is_true;
}

int
iora__future_is_done(const struct state *state, PyObject *future)
{
    return ask(state, future, IORA__ASK_DONE);
}

int
iora__future_is_cancelled(const struct state *state, PyObject *future)
{
    return ask(state, future, IORA__ASK_CANCELLED);
}

int
iora__future_wake(const struct state *state, PyObject *future, PyObject *result)
{
    const bool says_so = Py_IS_TYPE(future, (PyTypeObject *)state->future_type);
    const int is_done = says_so ? 0 : iora__future_is_done(state, future);
    PyObject *answer;

    if (is_done != 0)
        return is_done < 0 ? -1 : 0;
    answer = PyObject_CallMethodOneArg(future, state->str_set_result, result);
    if (answer == NULL && says_so && PyErr_ExceptionMatches(state->invalid_state_error)) {
        PyErr_Clear();
        return 0;
    }
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 1;
}
