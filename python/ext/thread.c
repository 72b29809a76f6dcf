/* ext/thread.c -- asyncio.to_thread.
 *
 * The function runs in the loop's default executor, within a copy of the caller's context.
 */
#include "ext/thread.h"

#include "ext/asyncio.h"
#include "ext/awaitable.h"
#include "ext/function.h"

enum { CALL, CONTEXT };

/* functools.partial(context.run, function, *args, **keywords): what is kept until the first step is that without the
 * context, which is copied then. */
static PyObject *
bind_call(struct state *state, PyObject *first, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    const Py_ssize_t n_names = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    PyObject **const all = PyMem_New(PyObject *, (size_t)(1 + n + n_names));
    PyObject *partial;

    if (all == NULL)
        return PyErr_NoMemory();
    all[0] = first;
    for (Py_ssize_t i = 0; i < n + n_names; i++)
        all[1 + i] = args[i];
    partial = PyObject_Vectorcall(state->asyncio.partial, all, (size_t)(1 + n), names);
    PyMem_Free(all);
    return partial;
}

static PyObject *
in_copied_context(struct state *state, PyObject *call)
{
    PyObject *const context = PyContext_CopyCurrent();
    PyObject *const run = context != NULL ? PyObject_GetAttrString(context, "run") : NULL;
    PyObject *const bound = run != NULL ? bind_call(state, run, &call, 1, NULL) : NULL;

    Py_XDECREF(context);
    Py_XDECREF(run);
    return bound;
}

static enum iora__outcome
step(AwaitableObject *self, PyObject *value, PyObject **out)
{
    struct state *const state = self->state;
    PyObject *loop, *call;

    if (value == NULL)
        return IORA__RAISE;
    if (self->phase == 1) {
        *out = Py_NewRef(value);
        return IORA__RETURN;
    }
    self->phase = 1;
    if ((loop = iora__get_running_loop(state)) == NULL)
        return IORA__RAISE;
    if ((call = in_copied_context(state, self->refs[CALL])) != NULL) {
        PyObject *const args[] = {loop, Py_None, call};

        *out = PyObject_VectorcallMethod(state->asyncio.str_run_in_executor, args,
                                         3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        Py_DECREF(call);
    }
    Py_DECREF(loop);
    return *out != NULL ? IORA__AWAIT : IORA__RAISE;
}

static const struct iora__awaitable_kind threading = {"to_thread", "to_thread", step};

static PyObject *
to_thread(struct state *state, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    AwaitableObject *awaitable;

    if (n < 1) {
        PyErr_SetString(PyExc_TypeError,
                        "to_thread() missing 1 required positional argument: 'func'");
        return NULL;
    }
    if ((awaitable = iora__awaitable_new(state, &threading)) == NULL)
        return NULL;
    awaitable->refs[CALL] =
        n == 1 && names == NULL ? Py_NewRef(args[0]) : bind_call(state, args[0], args + 1, n - 1, names);
    if (awaitable->refs[CALL] == NULL)
        Py_CLEAR(awaitable);
    return (PyObject *)awaitable;
}

static const struct iora__function functions[] = {
    {"to_thread", "to_thread", "asyncio.threads", "(func, /, *args, **kwargs)",
     "What func(*args, **kwargs) returns in another thread.", to_thread},
    {0},
};

int
iora__thread_add(PyObject *module, struct state *state)
{
    return iora__function_add_to_module(module, state, functions);
}
