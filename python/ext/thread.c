/* ext/thread.c -- asyncio.to_thread.
 *
 * The function runs in the loop's default executor, within a copy of the caller's context. For a loop of ours that
 * is its pool (pool.c), and the job enters the context itself.
 */
#include "ext/thread.h"

#include "ext/asyncio.h"
#include "ext/awaitable.h"
#include "ext/function.h"
#include "ext/pool.h"

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

/* The future of the call, a new reference. */
static PyObject *
run_in_pool(LoopObject *loop, PyObject *call)
{
    PyObject *const context = PyContext_CopyCurrent();
    PyObject *const future = context != NULL ? iora__pool_run(loop, call, context) : NULL;

    Py_XDECREF(context);
    return future;
}

static PyObject *
run_in_executor(struct state *state, PyObject *call)
{
    PyObject *const loop = iora__get_running_loop(state);
    PyObject *const bound = loop != NULL ? in_copied_context(state, call) : NULL;
    PyObject *const args[] = {loop, Py_None, bound};
    PyObject *const future =
        bound != NULL ? PyObject_VectorcallMethod(state->asyncio.str_run_in_executor, args,
                                                  3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)
                      : NULL;

    Py_XDECREF(loop);
    Py_XDECREF(bound);
    return future;
}

static enum iora__outcome
step(AwaitableObject *self, PyObject *value, PyObject **out)
{
    struct state *const state = self->state;
    LoopObject *ours;

    if (value == NULL)
        return IORA__RAISE;
    if (self->phase == 1) {
        *out = Py_NewRef(value);
        return IORA__RETURN;
    }
    self->phase = 1;
    ours = iora__running_loop_of_ours(state);
    *out = ours != NULL && iora__pool_is_used(ours) ? run_in_pool(ours, self->refs[CALL])
                                                    : run_in_executor(state, self->refs[CALL]);
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
