/* ext/asyncio.c -- asyncio's futures, tasks and loops as our functions use them.
 *
 * Futures, tasks and loops are anybody's: they are used through their public methods, which may be overridden
 * and may run any code. The caller holds what it passes. Shortcuts exist where they cannot be told from that:
 *
 *  - The loop that runs, if it is one of ours (running.c). Who tells asyncio that no loop is running while one of
 *    ours is, is not heard here.
 *  - What exactly _asyncio's Future or Task is, or a gather's outer future, has its questions answered by the C
 *    functions behind the method descriptors.
 *  - The current task is read from the dictionary that _asyncio keeps them in (up to 3.13), so who swaps tasks is
 *    heard.
 */
#include "ext/asyncio.h"

#include "ext/compat.h"
#include "ext/table.h"

#include <stddef.h>

/* ---- the state --------------------------------------------------------------------------------------- */

#define FIELD(module, name, field)                                                                 \
    {                                                                                              \
        module, name, offsetof(struct asyncio, field)                                              \
    }

static const struct import fields[] = {
    FIELD("_asyncio", "Task", task_type),
    FIELD("_asyncio", "Future", future_type),
    FIELD("asyncio.events", NULL, events),
    FIELD("asyncio.futures", NULL, futures),
    FIELD("asyncio.tasks", NULL, tasks),
    FIELD("asyncio.coroutines", NULL, coroutines),
    FIELD("asyncio.tasks", "current_task", current_task),
    FIELD("asyncio.exceptions", "CancelledError", cancelled_error),
    FIELD("asyncio.coroutines", "iscoroutine", iscoroutine),
    FIELD("functools", "partial", partial),
    FIELD("concurrent.futures", "Future", concurrent_future),
};

/* Those that only some versions have. */
static const struct import optional_fields[] = {
    FIELD("_asyncio", "_current_tasks", current_tasks),
    FIELD("asyncio", "future_add_to_awaited_by", add_awaited_by),
    FIELD("asyncio", "future_discard_from_awaited_by", discard_awaited_by),
};

/* What is made or fetched elsewhere, for the collector. */
static const size_t others[] = {
    offsetof(struct asyncio, gathering_type),
    offsetof(struct asyncio, gather_done_type),
    offsetof(struct asyncio, shield_type),
    offsetof(struct asyncio, task_group_type),
    offsetof(struct asyncio, timeout_type),
    offsetof(struct asyncio, counter_type),
    offsetof(struct asyncio, chain_type),
    offsetof(struct asyncio, completed_type),
    offsetof(struct asyncio, timeout_class),
    offsetof(struct asyncio, wake_up),
    offsetof(struct asyncio, expire),
    offsetof(struct asyncio, finish_chain),
    offsetof(struct asyncio, start_coroutine),
    offsetof(struct asyncio, log_destroy_pending),
    offsetof(struct asyncio, task_methods.add_done_callback),
    offsetof(struct asyncio, future_methods.add_done_callback),
    offsetof(struct asyncio, names_context),
    offsetof(struct asyncio, names_loop),
    offsetof(struct asyncio, names_msg),
};

#define WORD(word) {#word, offsetof(struct asyncio, str_##word)},
static const struct word words[] = {IORA__ASYNCIO_WORDS(WORD)};

/* The C function behind a method without arguments; NULL if it is not that. */
static PyCFunction
method_of(PyTypeObject *type, const char *name)
{
    PyObject *const descriptor = PyObject_GetAttrString((PyObject *)type, name);
    PyCFunction function = NULL;

    if (descriptor == NULL) {
        PyErr_Clear();
        return NULL;
    }
    if (Py_IS_TYPE(descriptor, &PyMethodDescr_Type)) {
        const PyMethodDef *const def = ((PyMethodDescrObject *)descriptor)->d_method;

        function = def->ml_flags == METH_NOARGS ? def->ml_meth : NULL;
    }
    Py_DECREF(descriptor); /* the type keeps it */
    return function;
}

static int
find_methods(PyTypeObject *type, struct future_methods *methods)
{
    *methods = (struct future_methods){.call = {
                                           [IORA__ASK_DONE] = method_of(type, "done"),
                                           [IORA__ASK_CANCELLED] = method_of(type, "cancelled"),
                                           [IORA__ASK_EXCEPTION] = method_of(type, "exception"),
                                           [IORA__ASK_RESULT] = method_of(type, "result"),
                                       }};
    methods->add_done_callback = PyObject_GetAttrString((PyObject *)type, "add_done_callback");
    return methods->add_done_callback == NULL ? -1 : 0;
}

int
iora__asyncio_fill(struct asyncio *asyncio)
{
    if (iora__import_all(asyncio, fields, COUNT(fields)) < 0 ||
        iora__intern_all(asyncio, words, COUNT(words)) < 0)
        return -1;
    for (size_t i = 0; i < COUNT(optional_fields); i++) {
        if (iora__import(asyncio, &optional_fields[i]) < 0) {
            if (!PyErr_ExceptionMatches(PyExc_AttributeError))
                return -1;
            PyErr_Clear();
        }
    }
    if (find_methods(asyncio->future_type, &asyncio->future_methods) < 0 ||
        find_methods(asyncio->task_type, &asyncio->task_methods) < 0)
        return -1;
    asyncio->log_destroy_pending =
        PyObject_GetAttrString((PyObject *)asyncio->task_type, "_log_destroy_pending");
    if (asyncio->log_destroy_pending == NULL)
        return -1;
    asyncio->names_context = Py_BuildValue("(s)", "context");
    asyncio->names_loop = Py_BuildValue("(s)", "loop");
    asyncio->names_msg = Py_BuildValue("(s)", "msg");
    return asyncio->names_context == NULL || asyncio->names_loop == NULL ||
                   asyncio->names_msg == NULL
               ? -1
               : 0;
}

int
iora__asyncio_traverse(struct asyncio *asyncio, visitproc visit, void *arg)
{
    for (size_t i = 0; i < COUNT(fields); i++)
        Py_VISIT(*AT(asyncio, fields[i].offset));
    for (size_t i = 0; i < COUNT(optional_fields); i++)
        Py_VISIT(*AT(asyncio, optional_fields[i].offset));
    for (size_t i = 0; i < COUNT(others); i++)
        Py_VISIT(*AT(asyncio, others[i]));
    return 0;
}

void
iora__asyncio_clear(struct asyncio *asyncio)
{
    for (size_t i = 0; i < COUNT(fields); i++)
        Py_CLEAR(*AT(asyncio, fields[i].offset));
    for (size_t i = 0; i < COUNT(optional_fields); i++)
        Py_CLEAR(*AT(asyncio, optional_fields[i].offset));
    for (size_t i = 0; i < COUNT(others); i++)
        Py_CLEAR(*AT(asyncio, others[i]));
}

void
iora__asyncio_free(struct asyncio *asyncio)
{
    for (size_t i = 0; i < COUNT(words); i++)
        Py_CLEAR(*AT(asyncio, words[i].offset));
}

/* ---- which loop, which task ---------------------------------------------------------------------- */

PyObject *
iora__event_loop(struct state *state)
{
    struct LoopObject *const ours = iora__running_loop_of_ours(state);

    return ours != NULL ? Py_NewRef((PyObject *)ours)
                        : PyObject_CallMethodNoArgs(state->asyncio.events,
                                                    state->asyncio.str_get_event_loop);
}

PyObject *
iora__current_task(struct state *state, PyObject *loop)
{
    PyObject *task;

    if (state->asyncio.current_tasks == NULL)
        return PyObject_CallOneArg(state->asyncio.current_task, loop);
    task = PyDict_GetItemWithError(state->asyncio.current_tasks, loop);
    return task == NULL && PyErr_Occurred() ? NULL : Py_NewRef(task == NULL ? Py_None : task);
}

int
iora__loop_time(struct state *state, PyObject *loop, double *out)
{
    PyObject *const now = PyObject_CallMethodNoArgs(loop, state->asyncio.str_time);

    if (now == NULL)
        return -1;
    *out = PyFloat_AsDouble(now);
    Py_DECREF(now);
    return *out == -1.0 && PyErr_Occurred() ? -1 : 0;
}

PyObject *
iora__loop_soon(struct state *state, PyObject *loop, PyObject *function, PyObject *arg)
{
    PyObject *const args[] = {loop, function, arg};

    return PyObject_VectorcallMethod(state->asyncio.str_call_soon, args,
                                     3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
}

PyObject *
iora__loop_at(struct state *state, PyObject *loop, PyObject *when, PyObject *function,
              PyObject *arg)
{
    PyObject *const args[] = {loop, when, function, arg};

    return PyObject_VectorcallMethod(state->asyncio.str_call_at, args,
                                     4 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
}

PyObject *
iora__loop_later(struct state *state, PyObject *loop, PyObject *delay, PyObject *function,
                 PyObject *arg)
{
    PyObject *const args[] = {loop, delay, function, arg};

    return PyObject_VectorcallMethod(state->asyncio.str_call_later, args,
                                     4 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
}

void
iora__cancel_handle(struct state *state, PyObject *handle)
{
    PyObject *const raised = PyErr_Occurred() ? iora__take_exception() : NULL;
    PyObject *const result = PyObject_CallMethodNoArgs(handle, state->asyncio.str_cancel);

    if (result == NULL)
        PyErr_WriteUnraisable(handle);
    Py_XDECREF(result);
    if (raised != NULL)
        iora__raise_exception(raised);
}

/* ---- futures: questions ------------------------------------------------------------------------------ */

static int
as_truth(PyObject *answer)
{
    int is;

    if (answer == NULL)
        return -1;
    is = answer == Py_True ? 1 : answer == Py_False ? 0 : PyObject_IsTrue(answer);
    Py_DECREF(answer);
    return is;
}

static int
as_rc(PyObject *result)
{
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* As asyncio.isfuture(): the class says so, and the object does not deny it. */
int
iora__future_check(struct state *state, PyObject *object)
{
    PyObject *class, *found;
    int is;

    if (PyCoro_CheckExact(object))
        return 0;
    if (PyObject_TypeCheck(object, state->asyncio.task_type) ||
        PyObject_TypeCheck(object, state->asyncio.future_type))
        return 1;
    if ((class = PyObject_GetAttrString(object, "__class__")) == NULL)
        return -1;
    found = PyObject_GetAttr(class, state->asyncio.str__asyncio_future_blocking);
    Py_DECREF(class);
    if (found == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError))
            return -1;
        PyErr_Clear();
        return 0;
    }
    Py_DECREF(found);
    if ((found = PyObject_GetAttr(object, state->asyncio.str__asyncio_future_blocking)) == NULL)
        return -1;
    is = found != Py_None;
    Py_DECREF(found);
    return is;
}

int
iora__coroutine_check(struct state *state, PyObject *object)
{
    if (PyCoro_CheckExact(object))
        return 1;
    return as_truth(PyObject_CallOneArg(state->asyncio.iscoroutine, object));
}

PyObject *
iora__future_ask(const struct state *state, PyObject *future, enum iora__question question)
{
    PyObject *const names[] = {state->asyncio.str_done, state->asyncio.str_cancelled,
                               state->asyncio.str_exception, state->asyncio.str_result};
    PyCFunction function = NULL;

    if (Py_IS_TYPE(future, state->asyncio.task_type))
        function = state->asyncio.task_methods.call[question];
    else if (Py_IS_TYPE(future, state->asyncio.future_type) ||
             Py_IS_TYPE(future, (PyTypeObject *)state->asyncio.gathering_type))
        function = state->asyncio.future_methods.call[question];
    return function != NULL ? function(future, NULL)
                            : PyObject_CallMethodNoArgs(future, names[question]);
}

PyObject *
iora__future_loop(struct state *state, PyObject *future)
{
    PyObject *const loop = PyObject_CallMethodNoArgs(future, state->asyncio.str_get_loop);

    if (loop != NULL || !PyErr_ExceptionMatches(PyExc_AttributeError))
        return loop;
    PyErr_Clear();
    return PyObject_GetAttr(future, state->asyncio.str__loop);
}

PyObject *
iora__future_cancelled_error(struct state *state, PyObject *future)
{
    return PyObject_CallMethodNoArgs(future, state->asyncio.str__make_cancelled_error);
}

PyObject *
iora__future_convert(struct state *state, PyObject *exception)
{
    return PyObject_CallMethod(state->asyncio.futures, "_convert_future_exc", "(O)", exception);
}

/* ---- futures: what is done to them ------------------------------------------------------------------- */

int
iora__future_add_callback(struct state *state, PyObject *future, PyObject *callback,
                          PyObject *context)
{
    PyObject *const args[] = {future, callback, context};
    PyObject *const names = context != NULL ? state->asyncio.names_context : NULL;

    if (Py_IS_TYPE(future, state->asyncio.task_type))
        return as_rc(
            PyObject_Vectorcall(state->asyncio.task_methods.add_done_callback, args, 2, names));
    return as_rc(PyObject_VectorcallMethod(state->asyncio.str_add_done_callback, args,
                                           2 | PY_VECTORCALL_ARGUMENTS_OFFSET, names));
}

int
iora__task_disown(struct state *state, PyObject *task)
{
    PyObject *const descriptor = state->asyncio.log_destroy_pending;
    const descrsetfunc set = Py_TYPE(descriptor)->tp_descr_set;

    if (Py_IS_TYPE(task, state->asyncio.task_type) && set != NULL)
        return set(descriptor, task, Py_False);
    return PyObject_SetAttr(task, state->asyncio.str__log_destroy_pending, Py_False);
}

int
iora__future_remove_callback(struct state *state, PyObject *future, PyObject *callback)
{
    return as_rc(
        PyObject_CallMethodOneArg(future, state->asyncio.str_remove_done_callback, callback));
}

int
iora__future_set_result(struct state *state, PyObject *future, PyObject *result)
{
    return as_rc(PyObject_CallMethodOneArg(future, state->asyncio.str_set_result, result));
}

int
iora__future_set_exception(struct state *state, PyObject *future, PyObject *exception)
{
    return as_rc(PyObject_CallMethodOneArg(future, state->asyncio.str_set_exception, exception));
}

int
iora__future_cancel(struct state *state, PyObject *future, PyObject *message)
{
    PyObject *const args[] = {future, message};

    return as_truth(PyObject_VectorcallMethod(state->asyncio.str_cancel, args,
                                              1 | PY_VECTORCALL_ARGUMENTS_OFFSET,
                                              message != NULL ? state->asyncio.names_msg : NULL));
}

static long
as_count(PyObject *count)
{
    long n;

    if (count == NULL)
        return -1;
    n = PyLong_AsLong(count);
    Py_DECREF(count);
    return n;
}

long
iora__task_cancelling(struct state *state, PyObject *task)
{
    return as_count(PyObject_CallMethodNoArgs(task, state->asyncio.str_cancelling));
}

long
iora__task_uncancel(struct state *state, PyObject *task)
{
    return as_count(PyObject_CallMethodNoArgs(task, state->asyncio.str_uncancel));
}

/* ---- the call graph ------------------------------------------------------------------------------------ */

static int
tell(PyObject *function, PyObject *future, PyObject *waiter)
{
    PyObject *const args[] = {future, waiter};

    if (function == NULL || waiter == NULL || waiter == Py_None)
        return 0;
    return as_rc(PyObject_Vectorcall(function, args, 2, NULL));
}

int
iora__note_awaited_by(struct state *state, PyObject *future, PyObject *waiter)
{
    return tell(state->asyncio.add_awaited_by, future, waiter);
}

int
iora__forget_awaited_by(struct state *state, PyObject *future, PyObject *waiter)
{
    return tell(state->asyncio.discard_awaited_by, future, waiter);
}
