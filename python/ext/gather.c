/* ext/gather.c -- asyncio.gather.
 *
 *     outer (_GatheringFuture) --- _children ---> list of futures, one twice if it was given twice
 *       ^                                           |
 *       '------ gather-done <--- done callbacks ----'    one for all of them
 *
 * The *gather-done* counts the children that are done. When all are, it sets the outer future's result; with the
 * first that raised, its exception, unless exceptions are to be returned. The rest run on, and have their exceptions
 * marked as seen. That ring of references opens as the children end, each of which drops its callbacks.
 *
 * The outer future is an asyncio Future with two more fields, made by type() so that how the base lies in memory is
 * the interpreter's business; the fields are slots, reached by their offsets. Its cancel() cancels the children and
 * notes that; it is cancelled itself only as they end.
 */
#include "ext/gather.h"

#include "ext/asyncio.h"
#include "ext/compat.h"

#include <stddef.h>
#include <structmember.h>

typedef struct GatherDone {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    struct state *state;
    PyObject *outer; /* NULL until all children are there */
    PyObject *children;
    PyObject *waiter; /* the task that called, in the call graph; or None */
    Py_ssize_t n_futures, n_done;
    bool returns_exceptions;
} GatherDone;

#define SLOT(object, offset) (*(PyObject **)(void *)((char *)(object) + (offset)))

/* ---- a child is done ------------------------------------------------------------------------------------- */

static int
mark_exception_seen(struct state *state, PyObject *future)
{
    const int is_cancelled = iora__future_is_cancelled(state, future);
    PyObject *exception;

    if (is_cancelled != 0)
        return is_cancelled < 0 ? -1 : 0;
    if ((exception = iora__future_ask(state, future, IORA__ASK_EXCEPTION)) == NULL)
        return -1;
    Py_DECREF(exception);
    return 0;
}

/* What a child came to as an exception, or None: a new reference. */
static PyObject *
failure_of(struct state *state, PyObject *future)
{
    const int is_cancelled = iora__future_is_cancelled(state, future);

    return is_cancelled < 0 ? NULL
           : is_cancelled   ? iora__future_cancelled_error(state, future)
                            : iora__future_ask(state, future, IORA__ASK_EXCEPTION);
}

static PyObject *
cancelled_with_message(struct state *state, PyObject *future)
{
    PyObject *message = PyObject_GetAttr(future, state->asyncio.str__cancel_message);
    PyObject *error;

    if (message == Py_None)
        Py_SETREF(message, PyUnicode_FromString(""));
    error = message != NULL ? PyObject_CallOneArg(state->asyncio.cancelled_error, message) : NULL;
    Py_XDECREF(message);
    return error;
}

/* A child's exception as a result, or its result. */
static PyObject *
outcome_of(struct state *state, PyObject *future)
{
    const int is_cancelled = iora__future_is_cancelled(state, future);
    PyObject *exception;

    if (is_cancelled != 0)
        return is_cancelled < 0 ? NULL : cancelled_with_message(state, future);
    exception = iora__future_ask(state, future, IORA__ASK_EXCEPTION);
    if (exception != Py_None)
        return exception;
    Py_DECREF(exception);
    return iora__future_ask(state, future, IORA__ASK_RESULT);
}

static PyObject *
results_of(GatherDone *done)
{
    const Py_ssize_t n = PyList_GET_SIZE(done->children);
    PyObject *const results = PyList_New(n);

    for (Py_ssize_t i = 0; results != NULL && i < n; i++) {
        PyObject *const child = PyList_GET_ITEM(done->children, i);
        PyObject *const item = done->returns_exceptions ? outcome_of(done->state, child)
                                                        : iora__future_ask(done->state, child, IORA__ASK_RESULT);

        if (item == NULL) {
            Py_DECREF(results);
            return NULL;
        }
        PyList_SET_ITEM(results, i, item);
    }
    return results;
}

static int
finish(GatherDone *done, PyObject *last)
{
    struct state *const state = done->state;
    PyObject *const results = results_of(done);
    PyObject *const requested = SLOT(done->outer, state->asyncio.gathering_requested);
    PyObject *error;
    int rc;

    if (results == NULL)
        return -1;
    if (requested != NULL && PyObject_IsTrue(requested) > 0) {
        error = iora__future_cancelled_error(state, last);
        rc = error == NULL ? -1 : iora__future_set_exception(state, done->outer, error);
        Py_XDECREF(error);
    } else {
        rc = iora__future_set_result(state, done->outer, results);
    }
    Py_DECREF(results);
    return rc;
}

static int
note_done(GatherDone *done, PyObject *future)
{
    struct state *const state = done->state;
    int is_done, rc;

    done->n_done++;
    if (iora__forget_awaited_by(state, future, done->waiter) < 0)
        return -1;
    if ((is_done = done->outer == NULL ? 1 : iora__future_is_done(state, done->outer)) < 0)
        return -1;
    if (is_done)
        return mark_exception_seen(state, future);
    if (!done->returns_exceptions) {
        PyObject *const exception = failure_of(state, future);

        if (exception == NULL)
            return -1;
        if (exception != Py_None) {
            rc = iora__future_set_exception(state, done->outer, exception);
            Py_DECREF(exception);
            return rc;
        }
        Py_DECREF(exception);
    }
    return done->n_done == done->n_futures ? finish(done, future) : 0;
}

static PyObject *
gather_done_call(PyObject *self, PyObject *const *args, size_t n, PyObject *names)
{
    if (PyVectorcall_NARGS(n) != 1 || names != NULL) {
        PyErr_SetString(PyExc_TypeError, "a future was expected");
        return NULL;
    }
    return note_done((GatherDone *)self, args[0]) < 0 ? NULL : Py_NewRef(Py_None);
}

static int
gather_done_traverse(GatherDone *done, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(done));
    Py_VISIT(done->outer);
    Py_VISIT(done->children);
    Py_VISIT(done->waiter);
    return 0;
}

static int
gather_done_clear(GatherDone *done)
{
    Py_CLEAR(done->outer);
    Py_CLEAR(done->children);
    Py_CLEAR(done->waiter);
    return 0;
}

static void
gather_done_dealloc(GatherDone *done)
{
    PyTypeObject *const type = Py_TYPE(done);

    PyObject_GC_UnTrack(done);
    (void)gather_done_clear(done);
    PyObject_GC_Del(done);
    Py_DECREF(type);
}

static PyObject *
gather_done_qualname(PyObject *self, void *unused)
{
    (void)self;
    (void)unused;
    return PyUnicode_FromString("gather.<locals>._done_callback");
}

static PyGetSetDef gather_done_getset[] = {
    {"__qualname__", gather_done_qualname, NULL, NULL, NULL},
    {0},
};

static PyMemberDef gather_done_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(GatherDone, vectorcall), READONLY, NULL},
    {0},
};

static PyType_Slot gather_done_slots[] = {
    {Py_tp_dealloc, gather_done_dealloc},
    {Py_tp_traverse, gather_done_traverse},
    {Py_tp_clear, gather_done_clear},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, gather_done_members},
    {Py_tp_getset, gather_done_getset},
    {0},
};

static PyType_Spec gather_done_spec = {
    .name = "iora._c.GatherDone",
    .basicsize = sizeof(GatherDone),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = gather_done_slots,
};

static GatherDone *
make_done(struct state *state, bool returns_exceptions)
{
    GatherDone *done =
        PyObject_GC_New(GatherDone, (PyTypeObject *)state->asyncio.gather_done_type);

    if (done == NULL)
        return NULL;
    done->vectorcall = gather_done_call;
    done->state = state;
    done->outer = NULL;
    done->waiter = NULL;
    done->n_futures = done->n_done = 0;
    done->returns_exceptions = returns_exceptions;
    done->children = PyList_New(0);
    PyObject_GC_Track((PyObject *)done);
    if (done->children == NULL)
        Py_CLEAR(done);
    return done;
}

/* ---- the outer future -------------------------------------------------------------------------------------- */

/* The class knows the module, which the method of a class that type() made cannot ask its type for. */
static struct state *
state_of_outer(PyObject *self)
{
    PyObject *const module = PyObject_GetAttrString(self, "_module");
    struct state *const state = module != NULL ? PyModule_GetState(module) : NULL;

    Py_XDECREF(module);
    return state;
}

static PyObject *
gathering_cancel(PyObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"msg", NULL};
    struct state *const state = state_of_outer(self);
    PyObject *message = Py_None, *children;
    int is, any = 0;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|O:cancel", names, &message) ||
        state == NULL || (is = iora__future_is_done(state, self)) < 0)
        return NULL;
    if (is)
        Py_RETURN_FALSE;
    children = Py_XNewRef(SLOT(self, state->asyncio.gathering_children));
    for (Py_ssize_t i = 0; children != NULL && i < PyList_GET_SIZE(children); i++) {
        PyObject *const child = Py_NewRef(PyList_GET_ITEM(children, i));

        is = iora__future_cancel(state, child, message);
        Py_DECREF(child);
        if (is < 0) {
            Py_DECREF(children);
            return NULL;
        }
        any |= is;
    }
    Py_XDECREF(children);
    if (any)
        Py_XSETREF(SLOT(self, state->asyncio.gathering_requested), Py_NewRef(Py_True));
    return PyBool_FromLong(any);
}

static PyMethodDef cancel_method = {
    "cancel", (PyCFunction)(void (*)(void))gathering_cancel, METH_VARARGS | METH_KEYWORDS,
    PyDoc_STR("cancel($self, /, msg=None)\n--\n\nCancel the children."),
};

/* Where a slot's value lies in an object of the class; -1. */
static Py_ssize_t
offset_of_slot(PyObject *class, const char *name)
{
    PyObject *const descriptor = PyObject_GetAttrString(class, name);
    Py_ssize_t offset = -1;

    if (descriptor == NULL)
        return -1;
    if (Py_IS_TYPE(descriptor, &PyMemberDescr_Type))
        offset = ((PyMemberDescrObject *)descriptor)->d_member->offset;
    else
        PyErr_SetString(PyExc_SystemError, "a slot is not what it was");
    Py_DECREF(descriptor);
    return offset;
}

static int
make_gathering_type(PyObject *module, struct state *state)
{
    struct asyncio *const asyncio = &state->asyncio;
    PyObject *cancel;

    asyncio->gathering_type = PyObject_CallFunction(
        (PyObject *)&PyType_Type, "s(O){s:(ss),s:s,s:O}", "_GatheringFuture", asyncio->future_type,
        "__slots__", "_children", "_cancel_requested", "__module__", "asyncio.tasks", "_module",
        module);
    if (asyncio->gathering_type == NULL)
        return -1;
    cancel = PyDescr_NewMethod((PyTypeObject *)asyncio->gathering_type, &cancel_method);
    if (cancel == NULL || PyObject_SetAttrString(asyncio->gathering_type, "cancel", cancel) < 0) {
        Py_XDECREF(cancel);
        return -1;
    }
    Py_DECREF(cancel);
    asyncio->gathering_children = offset_of_slot(asyncio->gathering_type, "_children");
    asyncio->gathering_requested = offset_of_slot(asyncio->gathering_type, "_cancel_requested");
    return asyncio->gathering_children < 0 || asyncio->gathering_requested < 0 ? -1 : 0;
}

static PyObject *
make_outer(struct state *state, PyObject *children, PyObject *loop)
{
    PyObject *const args[] = {NULL, loop};
    PyObject *const outer =
        PyObject_Vectorcall(state->asyncio.gathering_type, args + 1,
                            0 | PY_VECTORCALL_ARGUMENTS_OFFSET, state->asyncio.names_loop);

    if (outer == NULL)
        return NULL;
    SLOT(outer, state->asyncio.gathering_children) = Py_NewRef(children);
    SLOT(outer, state->asyncio.gathering_requested) = Py_NewRef(Py_False);
    return outer;
}

/* ---- coroutines that were given ------------------------------------------------------------------------------ */

/* A coroutine equals nothing but itself, so a table of addresses finds one that was given twice. A dictionary took 30
 * ns for each. The table is a power of two, at most half full. */
struct seen {
    struct seen_entry {
        PyObject *coroutine;
        Py_ssize_t child; /* the place of its future among the children */
    } *entries;
    size_t mask;
};

static int
seen_open(struct seen *seen, Py_ssize_t n)
{
    size_t size = 8;

    while (size < 2 * (size_t)n)
        size *= 2;
    seen->mask = size - 1;
    seen->entries = PyMem_Calloc(size, sizeof *seen->entries);
    if (seen->entries != NULL)
        return 0;
    PyErr_NoMemory();
    return -1;
}

/* Where it is, or belongs. */
static struct seen_entry *
seen_find(const struct seen *seen, PyObject *coroutine)
{
    size_t at = ((uintptr_t)coroutine >> 4) * 0x9e3779b97f4a7c15u >> 32 & seen->mask;

    while (seen->entries[at].coroutine != NULL && seen->entries[at].coroutine != coroutine)
        at = (at + 1) & seen->mask;
    return &seen->entries[at];
}

/* ---- the call ---------------------------------------------------------------------------------------------- */

struct call {
    struct state *state;
    GatherDone *done;
    PyObject *loop;    /* that of the first future */
    PyObject *futures; /* a dict: argument to future; but for coroutines: */
    struct seen seen;
    PyObject *ended;   /* a list of those that were done already; NULL for none */
    PyObject *context;
};

static int
remember_ended(struct call *call, PyObject *future)
{
    if (call->ended == NULL && (call->ended = PyList_New(0)) == NULL)
        return -1;
    return PyList_Append(call->ended, future);
}

static int
watch(struct call *call, PyObject *future)
{
    const int is_done = iora__future_is_done(call->state, future);

    if (is_done < 0)
        return -1;
    if (is_done)
        return remember_ended(call, future);
    if (iora__note_awaited_by(call->state, future, call->done->waiter) < 0)
        return -1;
    return iora__future_add_callback(call->state, future, (PyObject *)call->done, call->context);
}

/* An argument not seen before: its future, a new reference. */
static PyObject *
take_new(struct call *call, PyObject *arg)
{
    struct state *const state = call->state;
    PyObject *const future = iora__ensure_future(state, arg, call->loop);

    if (future == NULL)
        return NULL;
    if (call->loop == NULL && (call->loop = iora__future_loop(state, future)) == NULL)
        goto fail;
    /* The caller has no hold on a future that was made for him. */
    if (future != arg && iora__task_disown(state, future) < 0)
        goto fail;
    call->done->n_futures++;
    if (watch(call, future) < 0)
        goto fail;
    return future;
fail:
    Py_DECREF(future);
    return NULL;
}

static int
add_child(struct call *call, PyObject *future)
{
    int rc;

    if (future == NULL)
        return -1;
    rc = PyList_Append(call->done->children, future);
    Py_DECREF(future);
    return rc;
}

static int
take_coroutine(struct call *call, PyObject *coroutine)
{
    PyObject *const children = call->done->children;
    struct seen_entry *const entry = seen_find(&call->seen, coroutine);

    if (entry->coroutine != NULL)
        return add_child(call, Py_NewRef(PyList_GET_ITEM(children, entry->child)));
    entry->coroutine = coroutine;
    entry->child = PyList_GET_SIZE(children);
    return add_child(call, take_new(call, coroutine));
}

static int
take(struct call *call, PyObject *arg)
{
    PyObject *future;

    if (PyCoro_CheckExact(arg))
        return take_coroutine(call, arg);
    if (call->futures == NULL && (call->futures = PyDict_New()) == NULL)
        return -1;
    if ((future = PyDict_GetItemWithError(call->futures, arg)) != NULL)
        return add_child(call, Py_NewRef(future));
    if (PyErr_Occurred() || (future = take_new(call, arg)) == NULL)
        return -1;
    if (PyDict_SetItem(call->futures, arg, future) < 0) {
        Py_DECREF(future);
        return -1;
    }
    return add_child(call, future);
}

static PyObject *
complete(struct call *call)
{
    GatherDone *const done = call->done;
    PyObject *const outer = make_outer(call->state, done->children, call->loop);

    if (outer == NULL)
        return NULL;
    done->outer = Py_NewRef(outer);
    for (Py_ssize_t i = 0; call->ended != NULL && i < PyList_GET_SIZE(call->ended); i++) {
        if (note_done(done, PyList_GET_ITEM(call->ended, i)) < 0) {
            Py_DECREF(outer);
            return NULL;
        }
    }
    return outer;
}

/* In the call graph the task that calls waits for the children. */
static int
find_waiter(struct call *call)
{
    PyObject *loop;

    if (call->state->asyncio.add_awaited_by == NULL)
        return 0;
    if ((loop = iora__running_loop(call->state)) == NULL)
        return PyErr_Occurred() ? -1 : 0;
    call->done->waiter = iora__current_task(call->state, loop);
    Py_DECREF(loop);
    return call->done->waiter == NULL ? -1 : 0;
}

static PyObject *
gather_some(struct state *state, PyObject *const *args, Py_ssize_t n, bool returns_exceptions)
{
    struct call call = {.state = state};
    PyObject *outer = NULL;

    call.done = make_done(state, returns_exceptions);
    call.context = PyContext_CopyCurrent();
    if (call.done == NULL || call.context == NULL || seen_open(&call.seen, n) < 0 ||
        find_waiter(&call) < 0)
        goto done;
    for (Py_ssize_t i = 0; i < n; i++) {
        if (take(&call, args[i]) < 0)
            goto done;
    }
    outer = complete(&call);
done:
    Py_XDECREF(call.done);
    Py_XDECREF(call.loop);
    Py_XDECREF(call.futures);
    Py_XDECREF(call.ended);
    PyMem_Free(call.seen.entries);
    Py_XDECREF(call.context);
    return outer;
}

static PyObject *
gather_nothing(struct state *state)
{
    PyObject *const loop = iora__event_loop(state);
    PyObject *const outer = loop != NULL ? iora__create_future(state, loop) : NULL;
    PyObject *const nothing = PyList_New(0);
    int rc = -1;

    if (outer != NULL && nothing != NULL)
        rc = iora__future_set_result(state, outer, nothing);
    Py_XDECREF(loop);
    Py_XDECREF(nothing);
    if (rc == 0)
        return outer;
    Py_XDECREF(outer);
    return NULL;
}

static PyObject *
gather(PyObject *module, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    struct state *const state = PyModule_GetState(module);
    int returns_exceptions = 0;

    for (Py_ssize_t i = 0; names != NULL && i < PyTuple_GET_SIZE(names); i++) {
        PyObject *const name = PyTuple_GET_ITEM(names, i);

        if (PyUnicode_CompareWithASCIIString(name, "return_exceptions") != 0) {
            PyErr_Format(PyExc_TypeError, "gather() got an unexpected keyword argument '%U'", name);
            return NULL;
        }
        if ((returns_exceptions = PyObject_IsTrue(args[n + i])) < 0)
            return NULL;
    }
    return n == 0 ? gather_nothing(state) : gather_some(state, args, n, returns_exceptions);
}

static PyMethodDef functions[] = {
    {"gather", (PyCFunction)(void (*)(void))gather, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("gather($module, /, *coros_or_futures, return_exceptions=False)\n--\n\n"
               "A future for the list of the results of all.")},
    {0},
};

int
iora__gather_add(PyObject *module, struct state *state)
{
    state->asyncio.gather_done_type = PyType_FromModuleAndSpec(module, &gather_done_spec, NULL);
    if (state->asyncio.gather_done_type == NULL || make_gathering_type(module, state) < 0)
        return -1;
    return PyModule_AddFunctions(module, functions);
}
