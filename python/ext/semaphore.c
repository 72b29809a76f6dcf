/* ext/semaphore.c -- asyncio.Semaphore and BoundedSemaphore in C.
 *
 * Who is woken has his permit: the value is counted down as his future is set, so nobody can overtake him. If he was
 * cancelled before he ran, he gives it back. Whoever leaves the list wakes as many as there are permits for: some may
 * have come, and waited behind him, while there were any.
 *
 * It cannot be had as long as anybody waits, so it is locked then, whatever its value.
 */
#include "ext/semaphore.h"

#include "ext/compat.h"
#include "ext/function.h"
#include "ext/running.h"
#include "ext/state.h"

#include <stddef.h>
#include <structmember.h>

static int
is_locked(SemaphoreObject *self)
{
    int is_nobodys_turn;

    if (self->value == 0)
        return 1;
    is_nobodys_turn = iora__waiters_all_cancelled(self->sync.state, &self->sync.waiters);
    return is_nobodys_turn < 0 ? -1 : !is_nobodys_turn;
}

/* Give a permit to the first who waits for one: 1, 0 if nobody does. */
static int
wake_next(SemaphoreObject *self)
{
    const struct state *const state = self->sync.state;
    PyObject *future;
    int rc = 0;

    for (Py_ssize_t i = 0; (future = iora__waiters_get(&self->sync.waiters, i)) != NULL; i++) {
        self->value--;
        rc = iora__future_wake(state, future, Py_True);
        Py_DECREF(future);
        if (rc == 0)
            self->value++;
        if (rc != 0)
            return rc;
    }
    return PyErr_Occurred() ? -1 : 0;
}

static int
wake_all_that_may(SemaphoreObject *self)
{
    int rc = 1;

    while (rc > 0 && self->value > 0)
        rc = wake_next(self);
    return rc;
}

static int
give_back(SemaphoreObject *self, PyObject *future)
{
    const struct state *const state = self->sync.state;
    const int is_done = iora__future_is_done(state, future);
    const int is_cancelled = is_done > 0 ? iora__future_is_cancelled(state, future) : 0;

    if (is_done < 0 || is_cancelled < 0)
        return -1;
    if (is_done && !is_cancelled)
        self->value++;
    return 0;
}

/* Out of the list with an exception, which stays set unless another takes its place. */
static void
leave(SemaphoreObject *self, PyObject *future)
{
    const bool is_cancelled = PyErr_ExceptionMatches(self->sync.state->cancelled_error);
    PyObject *const exception = iora__take_exception();

    if ((is_cancelled && give_back(self, future) < 0) || wake_all_that_may(self) < 0)
        Py_XDECREF(exception);
    else
        iora__raise_exception(exception);
}

static enum iora__outcome
acquire(AwaitableObject *self, PyObject *value, PyObject *result, PyObject **out)
{
    SemaphoreObject *const semaphore = (SemaphoreObject *)self->refs[IORA__OWNER];
    int locked;

    if (self->phase == 0) {
        self->phase = 1;
        if ((locked = is_locked(semaphore)) > 0)
            return iora__sync_wait(self, &semaphore->sync.waiters, out);
        if (locked < 0)
            return IORA__RAISE;
        semaphore->value--;
    } else {
        if (iora__sync_wait_ended(self, &semaphore->sync.waiters) < 0)
            return IORA__RAISE;
        if (value == NULL) {
            leave(semaphore, self->refs[IORA__FUTURE]);
            return IORA__RAISE;
        }
        if (wake_all_that_may(semaphore) < 0)
            return IORA__RAISE;
    }
    *out = Py_NewRef(result);
    return IORA__RETURN;
}

static enum iora__outcome
step_of_acquire(AwaitableObject *self, PyObject *value, PyObject **out)
{
    return acquire(self, value, Py_True, out);
}

static enum iora__outcome
step_of_enter(AwaitableObject *self, PyObject *value, PyObject **out)
{
    return acquire(self, value, Py_None, out);
}

static const struct iora__awaitable_kind acquire_kind = {"acquire", "Semaphore.acquire",
                                                         step_of_acquire};
static const struct iora__awaitable_kind enter_kind = {"__aenter__", "Semaphore.__aenter__",
                                                       step_of_enter};

static PyObject *
semaphore_acquire(struct state *state, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const none[] = {NULL};

    (void)state;
    if (iora__take_args("Semaphore.acquire", none, 0, args + 1, n - 1, names, NULL) < 0)
        return NULL;
    return (PyObject *)iora__sync_awaitable((SyncObject *)args[0], &acquire_kind);
}

static int
release(SemaphoreObject *self)
{
    if (self->value >= self->bound) {
        PyErr_SetString(PyExc_ValueError, "BoundedSemaphore released too many times");
        return -1;
    }
    self->value++;
    return wake_next(self) < 0 ? -1 : 0;
}

static PyObject *
semaphore_release(SemaphoreObject *self, PyObject *unused)
{
    (void)unused;
    return release(self) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
semaphore_locked(SemaphoreObject *self, PyObject *unused)
{
    const int locked = is_locked(self);

    (void)unused;
    return locked < 0 ? NULL : PyBool_FromLong(locked);
}

/* ---- async with --------------------------------------------------------------------------------------- */

static int
is_plain(SyncObject *self)
{
    static const char *const names[] = {"acquire", "release", "locked", NULL};

    return iora__sync_is_plain(self, &self->state->plain_semaphore, self->state->semaphore_type,
                               names);
}

static PyObject *
semaphore_enter(SemaphoreObject *self, PyObject *unused)
{
    const int plain = is_plain(&self->sync);
    int locked;

    (void)unused;
    if (plain <= 0)
        return plain < 0 ? NULL : iora__sync_enter_by_methods(&self->sync);
    if ((locked = is_locked(self)) < 0)
        return NULL;
    if (locked)
        return (PyObject *)iora__sync_awaitable(&self->sync, &enter_kind);
    self->value--;
    return iora__awaitable_ready(self->sync.state);
}

static PyObject *
semaphore_exit(SemaphoreObject *self, PyObject *const *args, Py_ssize_t n)
{
    const int plain = is_plain(&self->sync);

    (void)args;
    (void)n;
    if (plain <= 0)
        return plain < 0 ? NULL : iora__sync_exit_by_methods(&self->sync);
    return release(self) < 0 ? NULL : iora__awaitable_ready(self->sync.state);
}

/* ---- the types ------------------------------------------------------------------------------------------- */

static int
init(SemaphoreObject *self, PyObject *args, PyObject *keywords, bool is_bounded)
{
    static const char *const parameters[] = {"value", NULL};
    PyObject *given = NULL;
    Py_ssize_t value = 1;

    if (iora__take_init_args(is_bounded ? "BoundedSemaphore.__init__" : "Semaphore.__init__",
                             parameters, 0, args, keywords, &given) < 0)
        return -1;
    if (given != NULL && (value = PyNumber_AsSsize_t(given, PyExc_OverflowError)) == -1 &&
        PyErr_Occurred())
        return -1;
    if (value < 0) {
        PyErr_SetString(PyExc_ValueError, "Semaphore initial value must be >= 0");
        return -1;
    }
    iora__waiters_clear(&self->sync.waiters);
    self->value = value;
    self->bound = is_bounded ? value : PY_SSIZE_T_MAX;
    return 0;
}

static int
semaphore_init(SemaphoreObject *self, PyObject *args, PyObject *keywords)
{
    return init(self, args, keywords, false);
}

static int
bounded_init(SemaphoreObject *self, PyObject *args, PyObject *keywords)
{
    return init(self, args, keywords, true);
}

static PyObject *
semaphore_repr(SemaphoreObject *self)
{
    const int locked = is_locked(self);

    return locked < 0
               ? NULL
               : iora__sync_repr(&self->sync,
                                 locked ? PyUnicode_FromString("locked")
                                        : PyUnicode_FromFormat("unlocked, value:%zd", self->value));
}

static PyGetSetDef semaphore_getset[] = {
    {"_waiters", (getter)iora__sync_get_waiters_or_none, (setter)iora__sync_set_waiters, NULL,
     NULL},
    {0},
};

static PyMemberDef semaphore_members[] = {
    {"_loop", T_OBJECT, offsetof(SyncObject, loop), 0, NULL},
    {"_value", T_PYSSIZET, offsetof(SemaphoreObject, value), 0, NULL},
    {0},
};

static PyMemberDef bounded_members[] = {
    {"_bound_value", T_PYSSIZET, offsetof(SemaphoreObject, bound), 0, NULL},
    {0},
};

static PyMethodDef semaphore_methods[] = {
    {"release", (PyCFunction)semaphore_release, METH_NOARGS,
     PyDoc_STR("release($self, /)\n--\n\nGive a permit back, or to the first who waits for one.")},
    {"locked", (PyCFunction)semaphore_locked, METH_NOARGS,
     PyDoc_STR("locked($self, /)\n--\n\nWhether acquire() has to wait.")},
    {"__aenter__", (PyCFunction)semaphore_enter, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))semaphore_exit, METH_FASTCALL, NULL},
    {0},
};

static const struct iora__function semaphore_functions[] = {
    {"acquire", "Semaphore.acquire", "asyncio.locks", "(self)",
     "Wait for a permit and take it: True.", semaphore_acquire},
    {0},
};

static PyType_Slot semaphore_slots[] = {
    {Py_tp_new, iora__sync_new},
    {Py_tp_init, semaphore_init},
    {Py_tp_dealloc, iora__sync_dealloc},
    {Py_tp_traverse, iora__sync_traverse},
    {Py_tp_clear, iora__sync_clear},
    {Py_tp_setattro, iora__sync_setattro},
    {Py_tp_repr, semaphore_repr},
    {Py_tp_methods, semaphore_methods},
    {Py_tp_members, semaphore_members},
    {Py_tp_getset, semaphore_getset},
    {0},
};

static PyType_Spec semaphore_spec = {
    .name = "iora._c.Semaphore",
    .basicsize = sizeof(SemaphoreObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = semaphore_slots,
};

static PyType_Slot bounded_slots[] = {
    {Py_tp_init, bounded_init},
    {Py_tp_dealloc, iora__sync_dealloc},
    {Py_tp_traverse, iora__sync_traverse},
    {Py_tp_clear, iora__sync_clear},
    {Py_tp_members, bounded_members},
    {0},
};

static PyType_Spec bounded_spec = {
    .name = "iora._c.BoundedSemaphore",
    .basicsize = sizeof(SemaphoreObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = bounded_slots,
};

int
iora__semaphore_add_types(PyObject *module, struct state *state)
{
    PyTypeObject *bounded;
    int rc;

    state->semaphore_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &semaphore_spec, NULL);
    if (state->semaphore_type == NULL ||
        iora__function_add_to_type(state->semaphore_type, state, semaphore_functions) < 0 ||
        PyModule_AddType(module, state->semaphore_type) < 0)
        return -1;
    bounded = (PyTypeObject *)PyType_FromModuleAndSpec(module, &bounded_spec,
                                                       (PyObject *)state->semaphore_type);
    rc = bounded != NULL ? PyModule_AddType(module, bounded) : -1;
    Py_XDECREF(bounded);
    return rc;
}
