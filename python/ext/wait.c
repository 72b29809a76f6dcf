/* ext/wait.c -- asyncio.wait.
 *
 *     awaitable --- refs ---> waiter (a future), the futures, a counter
 *                                ^                                |
 *     each future --- done callback ---> counter -----------------'
 *
 * The *counter* counts down the futures that are not done, and sets the waiter when enough are. It is the done callback
 * of each, and is taken off those that are left when the wait ends in any way: a future that outlives many waits
 * keeps nothing of them. Where the wait ends at once, there is no waiter.
 */
#include "ext/wait.h"

#include "ext/asyncio.h"
#include "ext/awaitable.h"
#include "ext/compat.h"
#include "ext/function.h"

#include <stddef.h>
#include <structmember.h>

enum when { FIRST_COMPLETED, FIRST_EXCEPTION, ALL_COMPLETED };

static const char *const when_names[] = {"FIRST_COMPLETED", "FIRST_EXCEPTION", "ALL_COMPLETED"};

typedef struct Counter {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    struct state *state;
    PyObject *waiter;
    PyObject *handle; /* the timer's; NULL for none */
    Py_ssize_t n_left;
    enum when when;
} Counter;

/* ---- the counter ------------------------------------------------------------------------------------------- */

static int
release(Counter *counter)
{
    const int is_done = iora__future_is_done(counter->state, counter->waiter);

    return is_done != 0 ? is_done
                        : iora__future_set_result(counter->state, counter->waiter, Py_None);
}

/* Whether it raised. */
static int
has_failed(struct state *state, PyObject *future)
{
    const int is_cancelled = iora__future_is_cancelled(state, future);
    PyObject *exception;
    int has;

    if (is_cancelled != 0)
        return is_cancelled < 0 ? -1 : 0;
    if ((exception = iora__future_ask(state, future, IORA__ASK_EXCEPTION)) == NULL)
        return -1;
    has = exception != Py_None;
    Py_DECREF(exception);
    return has;
}

/* Whether the wait ends with this one. */
static int
is_enough(struct state *state, Py_ssize_t n_left, enum when when, PyObject *future)
{
    return n_left <= 0 || when == FIRST_COMPLETED
               ? 1
               : (when == FIRST_EXCEPTION ? has_failed(state, future) : 0);
}

static PyObject *
counter_call(PyObject *self, PyObject *const *args, size_t n, PyObject *names)
{
    Counter *const counter = (Counter *)self;
    int is;

    if (names != NULL || PyVectorcall_NARGS(n) > 1) {
        PyErr_SetString(PyExc_TypeError, "a future was expected");
        return NULL;
    }
    if (PyVectorcall_NARGS(n) == 1) { /* by a future; else by the timer */
        is = is_enough(counter->state, --counter->n_left, counter->when, args[0]);
        if (is <= 0)
            return is < 0 ? NULL : Py_NewRef(Py_None);
        if (counter->handle != NULL)
            iora__cancel_handle(counter->state, counter->handle);
    }
    return release(counter) < 0 ? NULL : Py_NewRef(Py_None);
}

static int
counter_traverse(Counter *counter, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(counter));
    Py_VISIT(counter->waiter);
    Py_VISIT(counter->handle);
    return 0;
}

static int
counter_clear(Counter *counter)
{
    Py_CLEAR(counter->waiter);
    Py_CLEAR(counter->handle);
    return 0;
}

static void
counter_dealloc(Counter *counter)
{
    PyTypeObject *const type = Py_TYPE(counter);

    PyObject_GC_UnTrack(counter);
    (void)counter_clear(counter);
    PyObject_GC_Del(counter);
    Py_DECREF(type);
}

static PyObject *
counter_qualname(PyObject *self, void *unused)
{
    (void)self;
    (void)unused;
    return PyUnicode_FromString("_wait.<locals>._on_completion");
}

static PyGetSetDef counter_getset[] = {
    {"__qualname__", counter_qualname, NULL, NULL, NULL},
    {0},
};

static PyMemberDef counter_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Counter, vectorcall), READONLY, NULL},
    {0},
};

static PyType_Slot counter_slots[] = {
    {Py_tp_dealloc, counter_dealloc},
    {Py_tp_traverse, counter_traverse},
    {Py_tp_clear, counter_clear},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, counter_members},
    {Py_tp_getset, counter_getset},
    {0},
};

static PyType_Spec counter_spec = {
    .name = "iora._c.WaitCounter",
    .basicsize = sizeof(Counter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = counter_slots,
};

static Counter *
make_counter(struct state *state, PyObject *loop, Py_ssize_t n, enum when when)
{
    Counter *counter = PyObject_GC_New(Counter, (PyTypeObject *)state->asyncio.counter_type);

    if (counter == NULL)
        return NULL;
    counter->vectorcall = counter_call;
    counter->state = state;
    counter->handle = NULL;
    counter->n_left = n;
    counter->when = when;
    counter->waiter = iora__create_future(state, loop);
    PyObject_GC_Track((PyObject *)counter);
    if (counter->waiter == NULL)
        Py_CLEAR(counter);
    return counter;
}

/* ---- what was given -------------------------------------------------------------------------------------- */

enum {
    FUTURES,
    TIMEOUT,
    WHEN,
    COUNTER
}; /* refs; WHEN is an argument, and then the task in the call graph */
enum { BEGUN, WAITED };

static int
take_when(struct state *state, PyObject *given, enum when *when)
{
    (void)state;
    for (int i = 0; PyUnicode_Check(given) && i < 3; i++) {
        if (PyUnicode_CompareWithASCIIString(given, when_names[i]) == 0) {
            *when = i;
            return 0;
        }
    }
    PyErr_Format(PyExc_ValueError, "Invalid return_when value: %S", given);
    return -1;
}

/* What was given is not one future or coroutine. */
static int
check_futures(struct state *state, PyObject *given)
{
    int is = iora__future_check(state, given);

    if (is == 0)
        is = iora__coroutine_check(state, given);
    if (is <= 0)
        return is;
    PyErr_Format(PyExc_TypeError, "expect a list of futures, not %s", Py_TYPE(given)->tp_name);
    return -1;
}

static int
check_none_is_coroutine(struct state *state, PyObject *futures)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(futures); i++) {
        const int is = iora__coroutine_check(state, PyList_GET_ITEM(futures, i));

        if (is > 0)
            PyErr_SetString(PyExc_TypeError,
                            "Passing coroutines is forbidden, use tasks explicitly.");
        if (is != 0)
            return -1;
    }
    return 0;
}

/* Each once, as a list. */
static PyObject *
as_list(struct state *state, PyObject *given, enum when *when, PyObject *when_given)
{
    PyObject *set, *list;
    int is;

    if (check_futures(state, given) < 0 || (is = PyObject_IsTrue(given)) < 0)
        return NULL;
    if (!is) {
        PyErr_SetString(PyExc_ValueError, "Set of Tasks/Futures is empty.");
        return NULL;
    }
    if (take_when(state, when_given, when) < 0 || (set = PySet_New(given)) == NULL)
        return NULL;
    list = PySequence_List(set);
    Py_DECREF(set);
    if (list != NULL && check_none_is_coroutine(state, list) < 0)
        Py_CLEAR(list);
    return list;
}

/* ---- the answer -------------------------------------------------------------------------------------------- */

/* (done, pending) */
static PyObject *
sort(struct state *state, PyObject *futures)
{
    PyObject *const done = PySet_New(NULL), *const pending = PySet_New(NULL);
    PyObject *answer = NULL;
    int rc = done == NULL || pending == NULL ? -1 : 0;

    for (Py_ssize_t i = 0; rc >= 0 && i < PyList_GET_SIZE(futures); i++) {
        PyObject *const future = PyList_GET_ITEM(futures, i);

        if ((rc = iora__future_is_done(state, future)) >= 0)
            rc = PySet_Add(rc ? done : pending, future);
    }
    if (rc >= 0)
        answer = PyTuple_Pack(2, done, pending);
    Py_XDECREF(done);
    Py_XDECREF(pending);
    return answer;
}

/* ---- the wait ---------------------------------------------------------------------------------------------- */
/* Its number: so many of the futures, from the first on, have the counter. */

static int
start_timer(AwaitableObject *self, PyObject *loop, Counter *counter)
{
    PyObject *const args[] = {loop, self->refs[TIMEOUT], (PyObject *)counter};

    if (self->refs[TIMEOUT] == Py_None)
        return 0;
    counter->handle = PyObject_VectorcallMethod(self->state->asyncio.str_call_later, args,
                                                3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    return counter->handle == NULL ? -1 : 0;
}

static int
watch(AwaitableObject *self, Counter *counter, PyObject *task)
{
    struct state *const state = self->state;
    PyObject *const context = PyContext_CopyCurrent();
    PyObject *const futures = self->refs[FUTURES];
    int rc = context == NULL ? -1 : 0;

    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(futures); i++) {
        PyObject *const future = PyList_GET_ITEM(futures, i);

        if ((rc = iora__future_add_callback(state, future, (PyObject *)counter, context)) < 0)
            break;
        self->number++;
        rc = iora__note_awaited_by(state, future, task);
    }
    Py_XDECREF(context);
    return rc;
}

/* Whatever is set. */
static void
stop(AwaitableObject *self)
{
    struct state *const state = self->state;
    Counter *const counter = (Counter *)self->refs[COUNTER];
    PyObject *const futures = self->refs[FUTURES];
    PyObject *const raised = PyErr_Occurred() ? iora__take_exception() : NULL;

    if (counter->handle != NULL)
        iora__cancel_handle(state, counter->handle);
    for (Py_ssize_t i = 0; i < self->number; i++) {
        PyObject *const future = PyList_GET_ITEM(futures, i);

        if (iora__future_remove_callback(state, future, (PyObject *)counter) < 0 ||
            iora__forget_awaited_by(state, future, self->refs[WHEN]) < 0)
            PyErr_WriteUnraisable(future);
    }
    if (raised != NULL)
        iora__raise_exception(raised);
}

static enum iora__outcome
begin_in(AwaitableObject *self, PyObject *loop, enum when when, PyObject **out)
{
    struct state *const state = self->state;
    Counter *const counter = make_counter(state, loop, PyList_GET_SIZE(self->refs[FUTURES]), when);

    if (counter == NULL)
        return IORA__RAISE;
    self->refs[COUNTER] = (PyObject *)counter;
    Py_XSETREF(self->refs[WHEN], state->asyncio.add_awaited_by == NULL
                                     ? Py_NewRef(Py_None)
                                     : iora__current_task(state, loop));
    self->phase = WAITED;
    if (self->refs[WHEN] == NULL || start_timer(self, loop, counter) < 0 ||
        watch(self, counter, self->refs[WHEN]) < 0) {
        stop(self);
        return IORA__RAISE;
    }
    *out = Py_NewRef(counter->waiter);
    return IORA__AWAIT;
}

static enum iora__outcome
begin(AwaitableObject *self, PyObject **out)
{
    struct state *const state = self->state;
    enum when when;
    PyObject *const futures = as_list(state, self->refs[FUTURES], &when, self->refs[WHEN]);
    PyObject *loop;
    enum iora__outcome outcome;

    if (futures == NULL)
        return IORA__RAISE;
    Py_SETREF(self->refs[FUTURES], futures);
    if ((loop = iora__get_running_loop(state)) == NULL)
        return IORA__RAISE;
    outcome = begin_in(self, loop, when, out);
    Py_DECREF(loop);
    return outcome;
}

static enum iora__outcome
step(AwaitableObject *self, PyObject *value, PyObject **out)
{
    if (self->phase == BEGUN)
        return begin(self, out);
    stop(self);
    if (value == NULL)
        return IORA__RAISE;
    *out = sort(self->state, self->refs[FUTURES]);
    return *out != NULL ? IORA__RETURN : IORA__RAISE;
}

static const struct iora__awaitable_kind waiting = {"wait", "wait", step};

static PyObject *
wait_call(struct state *state, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const parameters[] = {"fs", "timeout", "return_when", NULL};
    PyObject *given[] = {NULL, Py_None, NULL};
    AwaitableObject *awaitable;

    if (n > 1) {
        PyErr_Format(PyExc_TypeError, "wait() takes 1 positional argument but %zd were given", n);
        return NULL;
    }
    if (iora__take_args("wait", parameters, 1, args, n, names, given) < 0 ||
        (awaitable = iora__awaitable_new(state, &waiting)) == NULL)
        return NULL;
    awaitable->refs[FUTURES] = Py_NewRef(given[0]);
    awaitable->refs[TIMEOUT] = Py_NewRef(given[1]);
    awaitable->refs[WHEN] =
        given[2] != NULL ? Py_NewRef(given[2]) : PyUnicode_FromString(when_names[ALL_COMPLETED]);
    return (PyObject *)awaitable;
}

static const struct iora__function functions[] = {
    {"wait", "wait", "asyncio.tasks", "(fs, *, timeout=None, return_when='ALL_COMPLETED')",
     "The futures that are done and those that are not, when enough are or the time is up.",
     wait_call},
    {0},
};

int
iora__wait_add(PyObject *module, struct state *state)
{
    state->asyncio.counter_type = PyType_FromModuleAndSpec(module, &counter_spec, NULL);
    return state->asyncio.counter_type == NULL
               ? -1
               : iora__function_add_to_module(module, state, functions);
}
