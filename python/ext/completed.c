/* ext/completed.c -- asyncio.as_completed.
 *
 * The futures that are done wait in `done` for who asks for them, and who asks before there is one waits for a future
 * in `waiting`:
 *
 *     each future --- done callback: the iterator ---> done:    a list, and how far it has been read
 *                                                      waiting: a list, first come first
 *
 * Whoever is woken takes the next himself, so what is done cannot be lost by a cancel between; he who is cancelled then
 * wakes the next who waits, and gives back his turn: the iteration goes on until all have been had.
 *
 * `async for` gets the futures themselves. `for` gets coroutines, one for each, that come to what the next future did.
 * When the time is up, all who ask for what is not done get TimeoutError.
 *
 * It begins with the call from 3.13 on. Before that it was a generator, and began when it was first asked; the tests of
 * those versions insist.
 */
#include "ext/completed.h"

#include "ext/asyncio.h"
#include "ext/awaitable.h"
#include "ext/compat.h"
#include "ext/function.h"

#include <stddef.h>
#include <structmember.h>

typedef struct Completed {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    struct state *state;
    PyObject *loop;
    PyObject *todo;    /* a set: those that are not done */
    PyObject *done;    /* a list: futures, and None for each that had no more time */
    PyObject *waiting; /* a list of futures */
    PyObject *handle;  /* the timer's; NULL for none */
    PyObject *waiter;  /* the task that called, in the call graph; else NULL */
    PyObject *given, *timeout; /* the arguments, until it begins */
    Py_ssize_t n_taken;
    Py_ssize_t n_left; /* so many have not been asked for */
} Completed;

/* ---- what is done --------------------------------------------------------------------------------------- */

static int
wake_next(Completed *self)
{
    while (PyList_GET_SIZE(self->waiting) > 0) {
        PyObject *const future = Py_NewRef(PyList_GET_ITEM(self->waiting, 0));
        int rc = PySequence_DelItem(self->waiting, 0);

        if (rc == 0)
            rc = iora__future_wake(self->state, future, Py_None);
        Py_DECREF(future);
        if (rc != 0)
            return rc < 0 ? -1 : 0;
    }
    return 0;
}

static int
put(Completed *self, PyObject *item)
{
    return PyList_Append(self->done, item) < 0 ? -1 : wake_next(self);
}

/* The next that is done: a new reference, None if its time was up; NULL without an exception for none yet. */
static PyObject *
take(Completed *self)
{
    PyObject *item;

    if (self->n_taken == PyList_GET_SIZE(self->done))
        return NULL;
    item = Py_NewRef(PyList_GET_ITEM(self->done, self->n_taken));
    if (PyList_SetItem(self->done, self->n_taken++, Py_NewRef(Py_None)) < 0)
        Py_CLEAR(item);
    return item;
}

static int
note_done(Completed *self, PyObject *future)
{
    if (iora__forget_awaited_by(self->state, future, self->waiter) < 0)
        return -1;
    if (PySet_GET_SIZE(self->todo) == 0) /* the time was up before */
        return 0;
    if (PySet_Discard(self->todo, future) < 0 || put(self, future) < 0)
        return -1;
    if (PySet_GET_SIZE(self->todo) == 0 && self->handle != NULL)
        iora__cancel_handle(self->state, self->handle);
    return 0;
}

static int
end_time(Completed *self)
{
    struct state *const state = self->state;
    PyObject *const todo = PySequence_List(self->todo);
    int rc = todo == NULL ? -1 : 0;

    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(todo); i++) {
        PyObject *const future = PyList_GET_ITEM(todo, i);

        if ((rc = iora__future_remove_callback(state, future, (PyObject *)self)) == 0 &&
            (rc = iora__forget_awaited_by(state, future, self->waiter)) == 0)
            rc = put(self, Py_None);
    }
    Py_XDECREF(todo);
    return rc < 0 ? -1 : PySet_Clear(self->todo);
}

/* With a future: it is done. Without: the time is up. */
static PyObject *
completed_call(PyObject *object, PyObject *const *args, size_t n, PyObject *names)
{
    Completed *const self = (Completed *)object;
    int rc;

    if (PyVectorcall_NARGS(n) > 1 || names != NULL) {
        PyErr_SetString(PyExc_TypeError, "a future was expected");
        return NULL;
    }
    Py_INCREF(self);
    rc = PyVectorcall_NARGS(n) == 1 ? note_done(self, args[0]) : end_time(self);
    Py_DECREF(self);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

/* ---- beginning ------------------------------------------------------------------------------------------ */

/* The futures of what was given, each once. */
static int
take_all(Completed *self, PyObject *given)
{
    PyObject *const set = PySet_New(given);
    PyObject *const list = set != NULL ? PySequence_List(set) : NULL;
    int rc = list == NULL ? -1 : 0;

    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(list); i++) {
        PyObject *const future =
            iora__ensure_future(self->state, PyList_GET_ITEM(list, i), self->loop);

        rc = future == NULL ? -1 : PySet_Add(self->todo, future);
        Py_XDECREF(future);
    }
    Py_XDECREF(set);
    Py_XDECREF(list);
    return rc;
}

static int
watch_all(Completed *self)
{
    PyObject *const list = PySequence_List(self->todo);
    int rc = list == NULL ? -1 : 0;

    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(list); i++) {
        PyObject *const future = PyList_GET_ITEM(list, i);

        if ((rc = iora__note_awaited_by(self->state, future, self->waiter)) == 0)
            rc = iora__future_add_callback(self->state, future, (PyObject *)self, NULL);
    }
    Py_XDECREF(list);
    return rc;
}

/* What can be awaited is one thing, not several. */
static int
check_several(struct state *state, PyObject *given)
{
    int is = iora__future_check(state, given);

    if (is == 0)
        is = iora__coroutine_check(state, given);
    if (is == 0)
        is = iora__is_awaitable(given);
    if (is > 0)
        PyErr_Format(PyExc_TypeError, "expects an iterable of awaitables, not %s",
                     Py_TYPE(given)->tp_name);
    return is == 0 ? 0 : -1;
}

static int
begin_with(Completed *self, PyObject *given, PyObject *timeout)
{
    struct state *const state = self->state;

    if (check_several(state, given) < 0 || (self->loop = iora__event_loop(state)) == NULL)
        return -1;
    if (state->asyncio.add_awaited_by != NULL &&
        (self->waiter = iora__current_task(state, self->loop)) == NULL)
        return -1;
    if (take_all(self, given) < 0 || watch_all(self) < 0)
        return -1;
    self->n_left = PySet_GET_SIZE(self->todo);
    if (self->n_left > 0 && timeout != Py_None) {
        PyObject *const args[] = {self->loop, timeout, (PyObject *)self};

        self->handle = PyObject_VectorcallMethod(state->asyncio.str_call_later, args,
                                                 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        return self->handle == NULL ? -1 : 0;
    }
    return 0;
}

static int
begin(Completed *self)
{
    PyObject *const given = self->given, *const timeout = self->timeout;
    int rc;

    if (given == NULL)
        return 0;
    self->given = self->timeout = NULL;
    rc = begin_with(self, given, timeout);
    Py_DECREF(given);
    Py_DECREF(timeout);
    return rc;
}

/* ---- asking ------------------------------------------------------------------------------------------------ */

enum { ITERATOR, WAITING };
enum { BEGUN, WAITED };
enum { THE_FUTURE, ITS_RESULT }; /* what is asked for, in `number` */

static enum iora__outcome
give(AwaitableObject *self, PyObject *future, PyObject **out)
{
    if (future == Py_None) {
        Py_DECREF(future);
        PyErr_SetNone(PyExc_TimeoutError);
        return IORA__RAISE;
    }
    if (self->number == THE_FUTURE) {
        *out = future;
        return IORA__RETURN;
    }
    *out = iora__future_ask(self->state, future, IORA__ASK_RESULT);
    Py_DECREF(future);
    return *out != NULL ? IORA__RETURN : IORA__RAISE;
}

static enum iora__outcome
wait_for_one(AwaitableObject *self, Completed *completed, PyObject **out)
{
    PyObject *const future = iora__create_future(self->state, completed->loop);

    if (future == NULL || PyList_Append(completed->waiting, future) < 0) {
        Py_XDECREF(future);
        return IORA__RAISE;
    }
    Py_XSETREF(self->refs[WAITING], future);
    self->phase = WAITED;
    *out = Py_NewRef(future);
    return IORA__AWAIT;
}

/* Cancelled, or closed: nothing is taken. Whatever is set. */
static void
give_up(AwaitableObject *self, Completed *completed)
{
    PyObject *const raised = iora__take_exception();
    const Py_ssize_t at = PySequence_Index(completed->waiting, self->refs[WAITING]);
    int rc = 0;

    completed->n_left++;
    if (at >= 0)
        rc = PySequence_DelItem(completed->waiting, at);
    else
        PyErr_Clear();
    if (completed->n_taken < PyList_GET_SIZE(completed->done) && wake_next(completed) < 0)
        rc = -1;
    if (rc < 0)
        PyErr_WriteUnraisable((PyObject *)completed);
    iora__raise_exception(raised);
}

static enum iora__outcome
step(AwaitableObject *self, PyObject *value, PyObject **out)
{
    Completed *const completed = (Completed *)self->refs[ITERATOR];
    PyObject *future;

    if (value == NULL) {
        give_up(self, completed);
        return IORA__RAISE;
    }
    if ((future = take(completed)) != NULL)
        return give(self, future, out);
    return PyErr_Occurred() ? IORA__RAISE : wait_for_one(self, completed, out);
}

static const struct iora__awaitable_kind asking = {
    "_wait_for_one", "_AsCompletedIterator._wait_for_one", step};

static PyObject *
ask_for_one(Completed *self, int what)
{
    AwaitableObject *const awaitable = iora__awaitable_new(self->state, &asking);

    if (awaitable == NULL)
        return NULL;
    awaitable->refs[ITERATOR] = Py_NewRef((PyObject *)self);
    awaitable->number = what;
    return (PyObject *)awaitable;
}

static PyObject *
completed_next(Completed *self)
{
    if (begin(self) < 0 || self->n_left == 0)
        return NULL;
    self->n_left--;
    return ask_for_one(self, ITS_RESULT);
}

/* Raising for the end is left to the await. */
static enum iora__outcome
step_of_anext(AwaitableObject *self, PyObject *value, PyObject **out)
{
    Completed *const completed = (Completed *)self->refs[ITERATOR];

    if (self->phase == BEGUN && value != NULL) {
        if (begin(completed) < 0)
            return IORA__RAISE;
        if (completed->n_left == 0) {
            PyErr_SetNone(PyExc_StopAsyncIteration);
            return IORA__RAISE;
        }
        completed->n_left--;
    }
    return step(self, value, out);
}

static const struct iora__awaitable_kind going_on = {
    "__anext__", "_AsCompletedIterator.__anext__", step_of_anext};

static PyObject *
completed_anext(Completed *self)
{
    AwaitableObject *const awaitable = iora__awaitable_new(self->state, &going_on);

    if (awaitable == NULL)
        return NULL;
    awaitable->refs[ITERATOR] = Py_NewRef((PyObject *)self);
    awaitable->number = THE_FUTURE;
    return (PyObject *)awaitable;
}

/* ---- the type -------------------------------------------------------------------------------------------- */

static int
completed_traverse(Completed *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->loop);
    Py_VISIT(self->todo);
    Py_VISIT(self->done);
    Py_VISIT(self->waiting);
    Py_VISIT(self->handle);
    Py_VISIT(self->waiter);
    Py_VISIT(self->given);
    Py_VISIT(self->timeout);
    return 0;
}

static int
completed_clear(Completed *self)
{
    Py_CLEAR(self->loop);
    Py_CLEAR(self->todo);
    Py_CLEAR(self->done);
    Py_CLEAR(self->waiting);
    Py_CLEAR(self->handle);
    Py_CLEAR(self->waiter);
    Py_CLEAR(self->given);
    Py_CLEAR(self->timeout);
    return 0;
}

static void
completed_dealloc(Completed *self)
{
    PyTypeObject *const type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    (void)completed_clear(self);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyObject *
completed_qualname(PyObject *self, void *unused)
{
    (void)self;
    (void)unused;
    return PyUnicode_FromString("_AsCompletedIterator._handle_completion");
}

static PyGetSetDef completed_getset[] = {
    {"__qualname__", completed_qualname, NULL, NULL, NULL},
    {0},
};

static PyMemberDef completed_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Completed, vectorcall), READONLY, NULL},
    {0},
};

static PyType_Slot completed_slots[] = {
    {Py_tp_dealloc, completed_dealloc},
    {Py_tp_traverse, completed_traverse},
    {Py_tp_clear, completed_clear},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, completed_next},
    {Py_am_aiter, PyObject_SelfIter},
    {Py_am_anext, completed_anext},
    {Py_tp_members, completed_members},
    {Py_tp_getset, completed_getset},
    {0},
};

static PyType_Spec completed_spec = {
    .name = "iora._c._AsCompletedIterator",
    .basicsize = sizeof(Completed),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = completed_slots,
};

/* ---- the call ---------------------------------------------------------------------------------------------- */

static Completed *
make(struct state *state, PyObject *given, PyObject *timeout)
{
    Completed *self = PyObject_GC_New(Completed, (PyTypeObject *)state->asyncio.completed_type);

    if (self == NULL)
        return NULL;
    self->vectorcall = completed_call;
    self->state = state;
    self->loop = self->handle = self->waiter = NULL;
    self->given = Py_NewRef(given);
    self->timeout = Py_NewRef(timeout);
    self->n_taken = self->n_left = 0;
    self->todo = PySet_New(NULL);
    self->done = PyList_New(0);
    self->waiting = PyList_New(0);
    PyObject_GC_Track((PyObject *)self);
    if (self->todo == NULL || self->done == NULL || self->waiting == NULL)
        Py_CLEAR(self);
    return self;
}

static PyObject *
as_completed(PyObject *module, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"fs", "timeout", NULL};
    struct state *const state = PyModule_GetState(module);
    PyObject *given, *timeout = Py_None;
    Completed *self;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|$O:as_completed", names, &given,
                                     &timeout) ||
        (self = make(state, given, timeout)) == NULL)
        return NULL;
    if (PY_VERSION_HEX >= 0x030d0000 && begin(self) < 0)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static PyMethodDef functions[] = {
    {"as_completed", (PyCFunction)(void (*)(void))as_completed, METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("as_completed($module, /, fs, *, timeout=None)\n--\n\n"
               "Iterate over futures as they are done: by `async for` over themselves, by `for` "
               "over\ncoroutines for what they come to.")},
    {0},
};

int
iora__completed_add(PyObject *module, struct state *state)
{
    state->asyncio.completed_type = PyType_FromModuleAndSpec(module, &completed_spec, NULL);
    return state->asyncio.completed_type == NULL ? -1 : PyModule_AddFunctions(module, functions);
}
