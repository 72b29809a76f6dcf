/* ext/create.c -- making tasks, and finding them: create_task, ensure_future, current_task, all_tasks,
 * get_running_loop.
 *
 * Tasks are the loop's to make: create_task() passes on what it was given, as asyncio does from 3.14 on.
 *
 * Registering. Up to 3.13 _asyncio enters each task in a WeakSet by calling its method `add`, written in Python
 * (150 to 220 ns with the callback that takes a dead task out). A *registrar* stands for that method as an
 * attribute of that one set, and for the callback, and does the same to the same set; whoever iterates over it
 * has its removals put off as before. Its type is not the module's, which would stay as long as asyncio otherwise.
 */
#include "ext/create.h"

#include "core/list.h"
#include "ext/asyncio.h"
#include "ext/compat.h"
#include "ext/table.h"

#include <stddef.h>
#include <structmember.h>

static struct state *
state_of(PyObject *module)
{
    return PyModule_GetState(module);
}

/* ---- making ------------------------------------------------------------------------------------------ */

static PyObject *
create_task_in(struct state *state, PyObject *loop, PyObject *coroutine)
{
    PyObject *const args[] = {loop, coroutine};

    return PyObject_VectorcallMethod(state->asyncio.str_create_task, args,
                                     2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
}

static PyObject *
create_task(PyObject *module, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    enum { MAX = 8 };
    struct state *const state = state_of(module);
    const Py_ssize_t n_all = n + (names == NULL ? 0 : PyTuple_GET_SIZE(names));
    PyObject *all[1 + MAX], *task;

    if (n > 1 || n_all == 0 || n_all > MAX) {
        PyErr_Format(PyExc_TypeError,
                     "create_task() takes 1 positional argument but %zd were given", n);
        return NULL;
    }
    if ((all[0] = iora__get_running_loop(state)) == NULL)
        return NULL;
    for (Py_ssize_t i = 0; i < n_all; i++)
        all[1 + i] = args[i];
    task = PyObject_VectorcallMethod(state->asyncio.str_create_task, all,
                                     (size_t)(1 + n) | PY_VECTORCALL_ARGUMENTS_OFFSET, names);
    Py_DECREF(all[0]);
    return task;
}

/* coroutine.close(), whatever is set. */
static void
close_coroutine(struct state *state, PyObject *coroutine)
{
    PyObject *const raised = iora__take_exception();
    PyObject *const result = PyObject_CallMethodNoArgs(coroutine, state->asyncio.str_close);

    if (result == NULL)
        PyErr_WriteUnraisable(coroutine);
    Py_XDECREF(result);
    iora__raise_exception(raised);
}

static PyObject *
future_of_loop(struct state *state, PyObject *future, PyObject *loop)
{
    PyObject *theirs;

    if (loop == NULL)
        return Py_NewRef(future);
    if ((theirs = iora__future_loop(state, future)) == NULL)
        return NULL;
    Py_DECREF(theirs);
    if (theirs == loop)
        return Py_NewRef(future);
    PyErr_SetString(PyExc_ValueError,
                    "The future belongs to a different loop than the one specified "
                    "as the loop argument");
    return NULL;
}

/* A coroutine that awaits what is no coroutine. */
static PyObject *
wrap_awaitable(PyObject *awaitable)
{
    PyObject *const module = PyImport_ImportModule("iora._tasks");
    PyObject *const coroutine =
        module != NULL ? PyObject_CallMethod(module, "_wrap_awaitable", "(O)", awaitable) : NULL;

    Py_XDECREF(module);
    return coroutine;
}

int
iora__is_awaitable(PyObject *object)
{
    PyObject *const inspect = PyImport_ImportModule("inspect");
    PyObject *const answer =
        inspect != NULL ? PyObject_CallMethod(inspect, "isawaitable", "(O)", object) : NULL;
    const int is = answer == NULL ? -1 : PyObject_IsTrue(answer);

    Py_XDECREF(inspect);
    Py_XDECREF(answer);
    return is;
}

PyObject *
iora__ensure_future(struct state *state, PyObject *object, PyObject *loop)
{
    PyObject *coroutine, *task;
    int is;

    if ((is = iora__future_check(state, object)) != 0)
        return is < 0 ? NULL : future_of_loop(state, object, loop);
    if ((is = iora__coroutine_check(state, object)) < 0)
        return NULL;
    if (is) {
        coroutine = Py_NewRef(object);
    } else if ((is = iora__is_awaitable(object)) > 0) {
        coroutine = wrap_awaitable(object);
    } else {
        if (is == 0)
            PyErr_SetString(PyExc_TypeError,
                            "An asyncio.Future, a coroutine or an awaitable is required");
        return NULL;
    }
    if (coroutine == NULL)
        return NULL;
    if ((loop = loop != NULL ? Py_NewRef(loop) : iora__event_loop(state)) == NULL) {
        Py_DECREF(coroutine);
        return NULL;
    }
    task = create_task_in(state, loop, coroutine);
    if (task == NULL && coroutine == object && PyErr_ExceptionMatches(PyExc_RuntimeError))
        close_coroutine(state, coroutine);
    Py_DECREF(loop);
    Py_DECREF(coroutine);
    return task;
}

static PyObject *
ensure_future(PyObject *module, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"coro_or_future", "loop", NULL};
    PyObject *object, *loop = Py_None;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|$O:ensure_future", names, &object, &loop))
        return NULL;
    return iora__ensure_future(state_of(module), object, loop == Py_None ? NULL : loop);
}

/* ---- finding ------------------------------------------------------------------------------------------- */

static PyObject *
get_running_loop(PyObject *module, PyObject *unused)
{
    (void)unused;
    return iora__get_running_loop(state_of(module));
}

static PyObject *
current_task(PyObject *module, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"loop", NULL};
    struct state *const state = state_of(module);
    PyObject *loop = Py_None, *task;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|O:current_task", names, &loop))
        return NULL;
    if ((loop = loop == Py_None ? iora__get_running_loop(state) : Py_NewRef(loop)) == NULL)
        return NULL;
    task = iora__current_task(state, loop);
    Py_DECREF(loop);
    return task;
}

/* Whether it is the loop's and not done. */
static int
is_unfinished(struct state *state, PyObject *task, PyObject *loop)
{
    PyObject *const theirs = iora__future_loop(state, task);
    int is;

    if (theirs == NULL)
        return -1;
    Py_DECREF(theirs);
    if (theirs != loop)
        return 0;
    is = iora__future_is_done(state, task);
    return is < 0 ? -1 : !is;
}

static int
add_unfinished(struct state *state, PyObject *task, PyObject *loop, PyObject *found)
{
    const int is = is_unfinished(state, task, loop);

    return is > 0 ? PySet_Add(found, task) : is;
}

/* A copy is made first, without running anything of Python: other threads may register tasks meanwhile. */
static int
add_those_of(struct state *state, PyObject *set, bool weakly, PyObject *loop, PyObject *found)
{
    PyObject *const copy = PySequence_List(set);
    int rc = copy == NULL ? -1 : 0;

    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(copy); i++) {
        PyObject *const item = PyList_GET_ITEM(copy, i);
        PyObject *const task = weakly ? PyObject_CallNoArgs(item) : Py_NewRef(item);

        rc = task == NULL ? -1 : task == Py_None ? 0 : add_unfinished(state, task, loop, found);
        Py_XDECREF(task);
    }
    Py_XDECREF(copy);
    return rc;
}

/* The tasks in asyncio.tasks' container of this name, if it has that. */
static int
add_registered(struct state *state, const char *name, bool weakly, PyObject *loop, PyObject *found)
{
    PyObject *const container = PyObject_GetAttrString(state->asyncio.tasks, name);
    PyObject *set;
    int rc;

    if (container == NULL) {
        PyErr_Clear();
        return 0;
    }
    set = weakly ? PyObject_GetAttrString(container, "data") : Py_NewRef(container);
    rc = set == NULL ? -1 : add_those_of(state, set, weakly, loop, found);
    Py_XDECREF(set);
    Py_DECREF(container);
    return rc;
}

static PyObject *
all_tasks(PyObject *module, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"loop", NULL};
    struct state *const state = state_of(module);
    PyObject *loop = Py_None, *found;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|O:all_tasks", names, &loop))
        return NULL;
    if ((loop = loop == Py_None ? iora__get_running_loop(state) : Py_NewRef(loop)) == NULL)
        return NULL;
    /* The eager ones first: one that turns into a usual one meanwhile is in one of them. */
    found = PySet_New(NULL);
    if (found != NULL && (add_registered(state, "_eager_tasks", false, loop, found) < 0 ||
                          add_registered(state, "_all_tasks", true, loop, found) < 0 ||
                          add_registered(state, "_scheduled_tasks", true, loop, found) < 0))
        Py_CLEAR(found);
    Py_DECREF(loop);
    return found;
}

/* ---- registering --------------------------------------------------------------------------------------- */

typedef struct Registrar {
    PyObject_HEAD
    PyObject *data;             /* the set of weak references */
    PyObject *iterating;        /* a set: who iterates over it */
    PyObject *pending_removals; /* a list of the weak references to take out then */
    PyObject *set;              /* a weak reference to the WeakSet, for the rest */
} Registrar;

/* The callback of the weak references. */
static PyObject *
registrar_remove(PyObject *self, PyObject *reference)
{
    Registrar *const registrar = (Registrar *)self;

    if (PySet_GET_SIZE(registrar->iterating) > 0) {
        if (PyList_Append(registrar->pending_removals, reference) < 0)
            return NULL;
    } else if (PySet_Discard(registrar->data, reference) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
commit_removals(const Registrar *registrar)
{
    PyObject *const set = PyObject_CallNoArgs(registrar->set);
    PyObject *result;

    if (set == NULL || set == Py_None)
        return set;
    result = PyObject_CallMethod(set, "_commit_removals", NULL);
    Py_DECREF(set);
    return result;
}

static PyObject *
registrar_add(PyObject *self, PyObject *task, PyObject *on_death)
{
    Registrar *const registrar = (Registrar *)self;
    PyObject *reference, *result;
    int rc;

    IORA__KNOWN(self != NULL); /* it is bound */
    if (PyList_GET_SIZE(registrar->pending_removals) > 0) {
        if ((result = commit_removals(registrar)) == NULL)
            return NULL;
        Py_DECREF(result);
    }
    if ((reference = PyWeakref_NewRef(task, on_death)) == NULL)
        return NULL;
    rc = PySet_Add(registrar->data, reference);
    Py_DECREF(reference);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

static int
registrar_traverse(Registrar *registrar, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(registrar));
    Py_VISIT(registrar->data);
    Py_VISIT(registrar->iterating);
    Py_VISIT(registrar->pending_removals);
    Py_VISIT(registrar->set);
    return 0;
}

static int
registrar_clear(Registrar *registrar)
{
    Py_CLEAR(registrar->data);
    Py_CLEAR(registrar->iterating);
    Py_CLEAR(registrar->pending_removals);
    Py_CLEAR(registrar->set);
    return 0;
}

static void
registrar_dealloc(Registrar *registrar)
{
    PyTypeObject *const type = Py_TYPE(registrar);

    PyObject_GC_UnTrack(registrar);
    (void)registrar_clear(registrar);
    PyObject_GC_Del(registrar);
    Py_DECREF(type);
}

static PyType_Slot registrar_slots[] = {
    {Py_tp_dealloc, registrar_dealloc},
    {Py_tp_traverse, registrar_traverse},
    {Py_tp_clear, registrar_clear},
    {0},
};

static PyType_Spec registrar_spec = {
    .name = "iora._c.Registrar",
    .basicsize = sizeof(Registrar),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = registrar_slots,
};

static Registrar *
make_registrar(PyObject *set)
{
    PyTypeObject *const type = (PyTypeObject *)PyType_FromSpec(&registrar_spec);
    Registrar *registrar = type != NULL ? PyObject_GC_New(Registrar, type) : NULL;

    Py_XDECREF(type);
    if (registrar == NULL)
        return NULL;
    registrar->data = PyObject_GetAttrString(set, "data");
    registrar->iterating = PyObject_GetAttrString(set, "_iterating");
    registrar->pending_removals = PyObject_GetAttrString(set, "_pending_removals");
    registrar->set = PyWeakref_NewRef(set, NULL);
    PyObject_GC_Track((PyObject *)registrar);
    if (registrar->data == NULL || registrar->iterating == NULL || registrar->set == NULL ||
        registrar->pending_removals == NULL) {
        Py_CLEAR(registrar);
    } else if (!PyAnySet_Check(registrar->data) || !PyAnySet_Check(registrar->iterating) ||
               !PyList_Check(registrar->pending_removals)) {
        PyErr_SetString(PyExc_TypeError, "a WeakSet was expected");
        Py_CLEAR(registrar);
    }
    return registrar;
}

/* Two functions bound to each other: `add` to the callback that it gives each weak reference, and that to the
 * registrar. */
static PyMethodDef remove_method = {"_remove", registrar_remove, METH_O, NULL};

static PyObject *
add_with_callback(PyObject *callback, PyObject *task)
{
    return registrar_add(PyCFunction_GET_SELF(callback), task, callback);
}

static PyMethodDef add_method = {
    "add",
    add_with_callback,
    METH_O,
    PyDoc_STR("add($self, item, /)\n--\n\nAs WeakSet.add()."),
};

/* registrar_of(set): what does as its method `add`. */
static PyObject *
registrar_of(PyObject *module, PyObject *set)
{
    Registrar *const registrar = make_registrar(set);
    PyObject *const callback =
        registrar != NULL ? PyCFunction_New(&remove_method, (PyObject *)registrar) : NULL;
    PyObject *const add = callback != NULL ? PyCFunction_New(&add_method, callback) : NULL;

    (void)module;
    Py_XDECREF(registrar);
    Py_XDECREF(callback);
    return add;
}

/* ---- the functions ------------------------------------------------------------------------------------- */

static PyMethodDef functions[] = {
    METHOD("create_task", create_task, METH_FASTCALL | METH_KEYWORDS,
           "create_task($module, coro, **kwargs)\n--\n\n"
           "Have the running loop run a coroutine; a Task."),
    METHOD("ensure_future", ensure_future, METH_VARARGS | METH_KEYWORDS,
           "ensure_future($module, coro_or_future, *, loop=None)\n--\n\n"
           "A Future as it is, anything else that can be awaited as a Task."),
    METHOD("get_running_loop", get_running_loop, METH_NOARGS,
           "get_running_loop($module, /)\n--\n\nThe loop that this thread is running."),
    METHOD("current_task", current_task, METH_VARARGS | METH_KEYWORDS,
           "current_task($module, /, loop=None)\n--\n\nThe Task that is running, or None."),
    METHOD("all_tasks", all_tasks, METH_VARARGS | METH_KEYWORDS,
           "all_tasks($module, /, loop=None)\n--\n\nThe loop's Tasks that are not done."),
    METHOD("_registrar_of", registrar_of, METH_O, ""),
    {0},
};

int
iora__create_add(PyObject *module, struct state *state)
{
    (void)state;
    return PyModule_AddFunctions(module, functions);
}
