/* ext/step.c -- what asyncio's tasks and futures ask a loop for, run without a handle.
 *
 * Most of what a loop runs was asked for by _asyncio, which drops the handle that call_soon() returns at once:
 *
 *     step       call_soon(TaskStepMethWrapper, context=...)             a task begins, or goes on at once
 *     wake-up    call_soon(<built-in over task_wakeup>, future, context=...)  what a task waited for is done
 *     done       call_soon(callback, future, context=...)                a done callback; here only those of our
 *                                                                        own gather() and TaskGroup
 *
 * These lie in the ring as three parts, `context, callback, argument` (NULL: none), where anything else is one handle;
 * nothing else in the ring is a context. They are told by the callback: iora._steps catches one of each from
 * a task of its own as the module is imported, and is_step() and is_wake_up() look whether they are what we know. If
 * not, or with IORA_NO_STEP=1, everything has a handle; what a program sees is the same.
 *
 * Who could see that there is no handle is asked for by the ordinary way: debug mode, and a loop whose call_soon() is
 * somebody else's (a subclass, an attribute of the class or of the object) and may call ours and look at what it
 * gets. An exception that the loop's handler is told of gets a handle then.
 *
 * The functions behind are called as the interpreter would call them, past the checks of a call from Python. No field
 * of a task is touched: these change with each version.
 */
#include "ext/step.h"

#include "ext/compat.h"
#include "ext/table.h"
#include "ext/transport.h"

#include <string.h>

/* ---- in the ring ---------------------------------------------------------------------------------------- */

enum { PARTS = 3 };

int
iora__step_push(LoopObject *loop, PyObject *const *args, Py_ssize_t n)
{
    if (iora__ring_reserve(&loop->ready, PARTS) < 0)
        return -1;
    iora__ring_put(&loop->ready, Py_NewRef(args[n]));
    iora__ring_put(&loop->ready, Py_NewRef(args[0]));
    iora__ring_put(&loop->ready, n == 2 ? Py_NewRef(args[1]) : NULL);
    return 0;
}

static PyObject *
call(const struct state *state, PyObject *callback, PyObject *argument)
{
    if (argument == NULL)
        return Py_TYPE(callback)->tp_call(callback, state->no_args, NULL);
    if (PyCFunction_CheckExact(callback))
        return PyCFunction_GET_FUNCTION(callback)(PyCFunction_GET_SELF(callback), argument);
    return PyObject_CallOneArg(callback, argument);
}

/* Give the exception that is set to the loop's handler. */
static int
report(LoopObject *loop, PyObject *context, PyObject *callback, PyObject *argument)
{
    PyObject *const exception = iora__take_exception();
    HandleObject *const handle =
        iora__handle_new(loop, callback, &argument, argument != NULL, context);
    int rc;

    if (handle == NULL) {
        Py_DECREF(exception);
        return -1;
    }
    Py_CLEAR(handle->source_traceback); /* in debug mode: that would be here */
    iora__raise_exception(exception);
    rc = iora__handle_report(handle);
    Py_DECREF(handle);
    return rc;
}

int
iora__step_run(LoopObject *loop, PyObject *context)
{
    PyObject *const callback = iora__ring_pop(&loop->ready);
    PyObject *const argument = iora__ring_pop(&loop->ready);
    PyObject *result = NULL;
    int rc = 0;

    loop->batch -= PARTS - 1;
    if (PyContext_Enter(context) == 0) {
        result = call(loop->state, callback, argument);
        iora__loop_callback_returned(loop);
        if (PyContext_Exit(context) < 0)
            Py_CLEAR(result);
    }
    if (result != NULL)
        Py_DECREF(result);
    else
        rc = report(loop, context, callback, argument);
    Py_XDECREF(argument);
    Py_DECREF(callback);
    Py_DECREF(context);
    return rc;
}

/* ---- knowing them ----------------------------------------------------------------------------------------- */

static bool
is_of(PyObject *callback, PyObject *task)
{
    PyObject *const self = PyObject_GetAttrString(callback, "__self__");

    if (self == NULL)
        PyErr_Clear();
    Py_XDECREF(self); /* the callback has it */
    return self == task;
}

/* By the type, which must not be that of anything else. */
static bool
is_step(PyObject *callback, PyObject *task)
{
    const char *const name = strrchr(Py_TYPE(callback)->tp_name, '.');
    const char *const last = name != NULL ? name + 1 : Py_TYPE(callback)->tp_name;

    return strcmp(last, "TaskStepMethWrapper") == 0 && Py_TYPE(callback)->tp_call != NULL &&
           is_of(callback, task);
}

static bool
is_wake_up(PyObject *callback, PyObject *task)
{
    return PyCFunction_CheckExact(callback) && PyCFunction_GET_FLAGS(callback) == METH_O &&
           is_of(callback, task);
}

/* _know_steps(task, step, wake_up): whether they are known from now on. */
static PyObject *
know_steps(PyObject *module, PyObject *args)
{
    struct state *const state = PyModule_GetState(module);
    PyObject *task, *step, *wake_up;

    if (!PyArg_ParseTuple(args, "OOO:_know_steps", &task, &step, &wake_up))
        return NULL;
    if (!is_step(step, task) || !is_wake_up(wake_up, task))
        Py_RETURN_FALSE;
    state->wake_up_function = PyCFunction_GET_FUNCTION(wake_up);
    Py_XSETREF(state->step_type, (PyTypeObject *)Py_NewRef((PyObject *)Py_TYPE(step)));
    Py_RETURN_TRUE;
}

bool
iora__step_note_names(struct state *state, PyObject *names)
{
    if (PyTuple_GET_SIZE(names) != 1 ||
        PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "context") != 0)
        return false;
    Py_XSETREF(state->step_names, Py_NewRef(names));
    return true;
}

static PyMethodDef functions[] = {
    METHOD("_know_steps", know_steps, METH_VARARGS, ""),
    {0},
};

int
iora__step_add(PyObject *module, struct state *state)
{
    state->no_args = PyTuple_New(0);
    return state->no_args == NULL ? -1 : PyModule_AddFunctions(module, functions);
}
