/* ext/chain.c -- a future that follows another: wrap_future, run_coroutine_threadsafe.
 *
 * One of the two is concurrent.futures', which belongs to no loop and is done in any thread; the other is asyncio's.
 * A *chain* is the done callback of both:
 *
 *     source is done  --> the target becomes what it did, in the target's loop if it has one
 *     target is cancelled --> the source is cancelled, in the source's loop if it has one
 *
 * A closed loop is left alone.
 *
 * A future of concurrent.futures keeps its callbacks when it is done, so that the chain lets go of both as soon as the
 * target is set: else what was done in the thread would wait for the collector.
 */
#include "ext/chain.h"

#include "ext/asyncio.h"
#include "ext/compat.h"
#include "ext/function.h"
#include "ext/table.h"

#include <stddef.h>
#include <structmember.h>

/* The two, and their loops: NULL for those of concurrent.futures. */
struct ends {
    PyObject *source, *target;
    PyObject *source_loop, *target_loop;
};

typedef struct Chain {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    struct state *state;
    struct ends ends; /* zeroed when they are let go of */
} Chain;

/* Held while we work with them, for another thread may have the chain let go of them. */
static struct ends
hold_ends(const Chain *chain)
{
    return (struct ends){Py_XNewRef(chain->ends.source), Py_XNewRef(chain->ends.target),
                         Py_XNewRef(chain->ends.source_loop), Py_XNewRef(chain->ends.target_loop)};
}

static void
release_ends(const struct ends *ends)
{
    Py_XDECREF(ends->source);
    Py_XDECREF(ends->target);
    Py_XDECREF(ends->source_loop);
    Py_XDECREF(ends->target_loop);
}

static void
let_go(Chain *chain)
{
    const struct ends ends = chain->ends;

    chain->ends = (struct ends){0};
    release_ends(&ends);
}

/* ---- becoming what the source did ------------------------------------------------------------------------ */

static int
copy_exception(struct state *state, PyObject *exception, PyObject *to)
{
    PyObject *const ours = iora__future_convert(state, exception);
    const int rc = ours == NULL ? -1 : iora__future_set_exception(state, to, ours);

    Py_XDECREF(ours);
    return rc;
}

static int
copy_result(struct state *state, PyObject *from, PyObject *to)
{
    PyObject *const exception = iora__future_ask(state, from, IORA__ASK_EXCEPTION);
    PyObject *result;
    int rc;

    if (exception == NULL)
        return -1;
    if (exception != Py_None) {
        rc = copy_exception(state, exception, to);
    } else {
        result = iora__future_ask(state, from, IORA__ASK_RESULT);
        rc = result == NULL ? -1 : iora__future_set_result(state, to, result);
        Py_XDECREF(result);
    }
    Py_DECREF(exception);
    return rc;
}

/* Whether a future of concurrent.futures may be set. */
static int
may_set(struct state *state, PyObject *future)
{
    PyObject *const answer =
        PyObject_CallMethodNoArgs(future, state->asyncio.str_set_running_or_notify_cancel);
    const int is = answer == NULL ? -1 : PyObject_IsTrue(answer);

    Py_XDECREF(answer);
    return is;
}

static int
copy_to_concurrent(struct state *state, const struct ends *ends)
{
    int is;

    if ((is = iora__future_is_cancelled(state, ends->source)) < 0 ||
        (is && iora__future_cancel(state, ends->target, NULL) < 0))
        return -1;
    is = may_set(state, ends->target);
    return is <= 0 ? is : copy_result(state, ends->source, ends->target);
}

static int
copy_to_future(struct state *state, const struct ends *ends)
{
    int is;

    if ((is = iora__future_is_cancelled(state, ends->target)) != 0)
        return is < 0 ? -1 : 0;
    if ((is = iora__future_is_cancelled(state, ends->source)) < 0)
        return -1;
    return is ? iora__future_cancel(state, ends->target, NULL)
              : copy_result(state, ends->source, ends->target);
}

static int
finish(Chain *chain, const struct ends *ends)
{
    const int rc = ends->target_loop != NULL ? copy_to_future(chain->state, ends)
                                             : copy_to_concurrent(chain->state, ends);

    let_go(chain);
    return rc;
}

/* What the target's loop calls. */
static PyObject *
finish_chain(PyObject *module, PyObject *chain)
{
    const struct ends ends = hold_ends((Chain *)chain);
    int rc = 0;

    (void)module;
    if (ends.source != NULL)
        rc = finish((Chain *)chain, &ends);
    release_ends(&ends);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

/* ---- one of them is done ----------------------------------------------------------------------------------- */

static int
call_in(struct state *state, PyObject *loop, PyObject *function, PyObject *arg)
{
    PyObject *const args[] = {loop, function, arg};
    PyObject *const handle = PyObject_VectorcallMethod(
        state->asyncio.str_call_soon_threadsafe, args,
        (size_t)(arg == NULL ? 2 : 3) | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);

    Py_XDECREF(handle);
    return handle == NULL ? -1 : 0;
}

static int
is_closed(struct state *state, PyObject *loop)
{
    PyObject *const answer = PyObject_CallMethodNoArgs(loop, state->asyncio.str_is_closed);
    const int is = answer == NULL ? -1 : PyObject_IsTrue(answer);

    Py_XDECREF(answer);
    return is;
}

static int
source_done(Chain *chain, const struct ends *ends)
{
    struct state *const state = chain->state;
    int is;

    if (ends->target_loop == NULL || ends->target_loop == ends->source_loop)
        return finish(chain, ends);
    if ((is = is_closed(state, ends->target_loop)) != 0) {
        let_go(chain);
        return is;
    }
    return call_in(state, ends->target_loop, state->asyncio.finish_chain, (PyObject *)chain);
}

static int
target_done(Chain *chain, const struct ends *ends)
{
    struct state *const state = chain->state;
    PyObject *cancel;
    int is;

    if ((is = iora__future_is_cancelled(state, ends->target)) <= 0)
        return is;
    if (ends->source_loop == NULL || ends->source_loop == ends->target_loop)
        return iora__future_cancel(state, ends->source, NULL);
    if ((is = is_closed(state, ends->source_loop)) != 0)
        return is;
    if ((cancel = PyObject_GetAttr(ends->source, state->asyncio.str_cancel)) == NULL)
        return -1;
    is = call_in(state, ends->source_loop, cancel, NULL);
    Py_DECREF(cancel);
    return is;
}

static PyObject *
chain_call(PyObject *self, PyObject *const *args, size_t n, PyObject *names)
{
    Chain *const chain = (Chain *)self;
    struct ends ends;
    int rc = 0;

    if (PyVectorcall_NARGS(n) != 1 || names != NULL) {
        PyErr_SetString(PyExc_TypeError, "a future was expected");
        return NULL;
    }
    Py_INCREF(chain);
    ends = hold_ends(chain);
    if (ends.source != NULL)
        rc = args[0] == ends.target ? target_done(chain, &ends) : source_done(chain, &ends);
    release_ends(&ends);
    Py_DECREF(chain);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

static int
chain_traverse(Chain *chain, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(chain));
    Py_VISIT(chain->ends.source);
    Py_VISIT(chain->ends.target);
    Py_VISIT(chain->ends.source_loop);
    Py_VISIT(chain->ends.target_loop);
    return 0;
}

static int
chain_clear(Chain *chain)
{
    let_go(chain);
    return 0;
}

static void
chain_dealloc(Chain *chain)
{
    PyTypeObject *const type = Py_TYPE(chain);

    PyObject_GC_UnTrack(chain);
    (void)chain_clear(chain);
    PyObject_GC_Del(chain);
    Py_DECREF(type);
}

static PyObject *
chain_qualname(PyObject *self, void *unused)
{
    (void)self;
    (void)unused;
    return PyUnicode_FromString("_chain_future.<locals>._call_set_state");
}

static PyGetSetDef chain_getset[] = {
    {"__qualname__", chain_qualname, NULL, NULL, NULL},
    {0},
};

static PyMemberDef chain_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Chain, vectorcall), READONLY, NULL},
    {0},
};

static PyType_Slot chain_slots[] = {
    {Py_tp_dealloc, chain_dealloc},
    {Py_tp_traverse, chain_traverse},
    {Py_tp_clear, chain_clear},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, chain_members},
    {Py_tp_getset, chain_getset},
    {0},
};

static PyType_Spec chain_spec = {
    .name = "iora._c.Chain",
    .basicsize = sizeof(Chain),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = chain_slots,
};

/* Have the target follow the source; a loop is NULL for concurrent.futures'. */
static int
chain_futures(struct state *state, PyObject *source, PyObject *source_loop, PyObject *target,
              PyObject *target_loop)
{
    Chain *const chain = PyObject_GC_New(Chain, (PyTypeObject *)state->asyncio.chain_type);
    int rc;

    if (chain == NULL)
        return -1;
    chain->vectorcall = chain_call;
    chain->state = state;
    chain->ends = (struct ends){Py_NewRef(source), Py_NewRef(target), Py_XNewRef(source_loop),
                                Py_XNewRef(target_loop)};
    PyObject_GC_Track((PyObject *)chain);
    rc = iora__future_add_callback(state, target, (PyObject *)chain, NULL);
    if (rc == 0)
        rc = iora__future_add_callback(state, source, (PyObject *)chain, NULL);
    Py_DECREF(chain);
    return rc;
}

/* ---- wrap_future ------------------------------------------------------------------------------------------ */

static int
check_concurrent(struct state *state, PyObject *future)
{
    const int is = PyObject_IsInstance(future, state->asyncio.concurrent_future);

    if (is == 0)
        PyErr_Format(PyExc_AssertionError, "concurrent.futures.Future is expected, got %R", future);
    return is > 0 ? 0 : -1;
}

static PyObject *
follow(struct state *state, PyObject *future, PyObject *loop)
{
    PyObject *target = iora__create_future(state, loop);

    if (target != NULL && chain_futures(state, future, NULL, target, loop) < 0)
        Py_CLEAR(target);
    return target;
}

static PyObject *
wrap_future(PyObject *module, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"future", "loop", NULL};
    struct state *const state = PyModule_GetState(module);
    PyObject *future, *loop = Py_None, *target;
    int is;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|$O:wrap_future", names, &future, &loop) ||
        (is = iora__future_check(state, future)) < 0)
        return NULL;
    if (is)
        return Py_NewRef(future);
    if (check_concurrent(state, future) < 0 ||
        (loop = loop == Py_None ? iora__event_loop(state) : Py_NewRef(loop)) == NULL)
        return NULL;
    target = follow(state, future, loop);
    Py_DECREF(loop);
    return target;
}

/* ---- run_coroutine_threadsafe ------------------------------------------------------------------------------ */

/* The exception that is set is what the future comes to; and it goes on. */
static void
fail_future(struct state *state, PyObject *future)
{
    PyObject *const raised = iora__take_exception();
    const int may = may_set(state, future);

    if (may < 0 || (may && iora__future_set_exception(state, future, raised) < 0))
        PyErr_WriteUnraisable(future);
    iora__raise_exception(raised);
}

/* In the loop: (coroutine, future, loop). */
static PyObject *
start_coroutine(PyObject *module, PyObject *const *args, Py_ssize_t n)
{
    struct state *const state = PyModule_GetState(module);
    PyObject *task;
    int rc = -1;

    if (n != 3) {
        PyErr_SetString(PyExc_TypeError, "a coroutine, a future and a loop were expected");
        return NULL;
    }
    task = iora__ensure_future(state, args[0], args[2]);
    if (task != NULL)
        rc = chain_futures(state, task, args[2], args[1], NULL);
    Py_XDECREF(task);
    if (rc == 0)
        Py_RETURN_NONE;
    if (!PyErr_ExceptionMatches(PyExc_SystemExit) &&
        !PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        fail_future(state, args[1]);
    return NULL;
}

static PyObject *
run_coroutine_threadsafe(PyObject *module, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const parameters[] = {"coro", "loop", NULL};
    struct state *const state = PyModule_GetState(module);
    PyObject *given[2], *future, *handle;
    int is;

    if (iora__take_args("run_coroutine_threadsafe", parameters, 2, args, n, names, given) < 0 ||
        (is = iora__coroutine_check(state, given[0])) < 0)
        return NULL;
    if (!is) {
        PyErr_SetString(PyExc_TypeError, "A coroutine object is required");
        return NULL;
    }
    if ((future = PyObject_CallNoArgs(state->asyncio.concurrent_future)) == NULL)
        return NULL;

    PyObject *const call[] = {given[1], state->asyncio.start_coroutine, given[0], future, given[1]};
    handle = PyObject_VectorcallMethod(state->asyncio.str_call_soon_threadsafe, call,
                                       5 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    if (handle == NULL)
        Py_CLEAR(future);
    Py_XDECREF(handle);
    return future;
}

static PyMethodDef functions[] = {
    METHOD("wrap_future", wrap_future, METH_VARARGS | METH_KEYWORDS,
           "wrap_future($module, /, future, *, loop=None)\n--\n\n"
           "A future of the loop's that follows one of concurrent.futures."),
    METHOD("run_coroutine_threadsafe", run_coroutine_threadsafe, METH_FASTCALL | METH_KEYWORDS,
           "run_coroutine_threadsafe($module, /, coro, loop)\n--\n\n"
           "Have a loop of another thread run a coroutine; a concurrent.futures.Future."),
    METHOD("_finish_chain", finish_chain, METH_O, ""),
    METHOD("_start_coroutine", start_coroutine, METH_FASTCALL, ""),
    {0},
};

int
iora__chain_add(PyObject *module, struct state *state)
{
    struct asyncio *const asyncio = &state->asyncio;

    asyncio->chain_type = PyType_FromModuleAndSpec(module, &chain_spec, NULL);
    if (asyncio->chain_type == NULL || PyModule_AddFunctions(module, functions) < 0)
        return -1;
    asyncio->finish_chain = PyObject_GetAttrString(module, "_finish_chain");
    asyncio->start_coroutine = PyObject_GetAttrString(module, "_start_coroutine");
    return asyncio->finish_chain == NULL || asyncio->start_coroutine == NULL ? -1 : 0;
}
