/* ext/lock.c -- asyncio.Lock in C.
 *
 * release() wakes the first who waits and does not hand the lock over: it is free until he runs, and nobody
 * overtakes him, for whoever comes takes a free lock only if nobody waits. He takes himself out of the list when he
 * runs, and takes the lock. If he was cancelled meanwhile and the lock is free, he wakes the next.
 *
 * `async with` of a lock that can be had takes it at the call and allocates nothing.
 */
#include "ext/lock.h"

#include "ext/compat.h"
#include "ext/function.h"
#include "ext/running.h"
#include "ext/state.h"

#include <stddef.h>
#include <structmember.h>

static int
wake_first(LockObject *lock)
{
    const struct state *const state = lock->sync.state;
    PyObject *const future = iora__waiters_get(&lock->sync.waiters, 0);
    int rc;

    if (future == NULL)
        return PyErr_Occurred() ? -1 : 0;
    rc = iora__future_wake(state, future, Py_True);
    Py_DECREF(future);
    return rc < 0 ? -1 : 0;
}

int
iora__lock_try(LockObject *lock)
{
    int is_nobodys_turn;

    if (lock->is_locked)
        return 0;
    is_nobodys_turn = iora__waiters_all_cancelled(lock->sync.state, &lock->sync.waiters);
    if (is_nobodys_turn > 0)
        lock->is_locked = true;
    return is_nobodys_turn;
}

int
iora__lock_release(LockObject *lock)
{
    if (!lock->is_locked) {
        PyErr_SetString(PyExc_RuntimeError, "Lock is not acquired.");
        return -1;
    }
    lock->is_locked = false;
    return wake_first(lock);
}

/* Cancelled while it waited. The exception stays set. */
static void
pass_on(LockObject *lock)
{
    PyObject *exception;

    if (lock->is_locked || !PyErr_ExceptionMatches(lock->sync.state->cancelled_error))
        return;
    exception = iora__take_exception();
    if (wake_first(lock) < 0)
        Py_XDECREF(exception);
    else
        iora__raise_exception(exception);
}

static enum iora__outcome
acquire(AwaitableObject *self, PyObject *value, PyObject *result, PyObject **out)
{
    LockObject *const lock = (LockObject *)self->refs[IORA__OWNER];
    int taken;

    if (self->phase == 0) {
        self->phase = 1;
        if ((taken = iora__lock_try(lock)) == 0)
            return iora__sync_wait(self, &lock->sync.waiters, out);
        if (taken < 0)
            return IORA__RAISE;
    } else {
        if (iora__sync_wait_ended(self, &lock->sync.waiters) < 0)
            return IORA__RAISE;
        if (value == NULL) {
            pass_on(lock);
            return IORA__RAISE;
        }
        lock->is_locked = true;
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

static const struct iora__awaitable_kind acquire_kind = {"acquire", "Lock.acquire",
                                                         step_of_acquire};
static const struct iora__awaitable_kind enter_kind = {"__aenter__", "Lock.__aenter__",
                                                       step_of_enter};

PyObject *
iora__lock_acquire(LockObject *lock)
{
    return (PyObject *)iora__sync_awaitable(&lock->sync, &acquire_kind);
}

static PyObject *
lock_acquire(struct state *state, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const none[] = {NULL};

    (void)state;
    if (iora__take_args("Lock.acquire", none, 0, args + 1, n - 1, names, NULL) < 0)
        return NULL;
    return iora__lock_acquire((LockObject *)args[0]);
}

static PyObject *
lock_release(LockObject *lock, PyObject *unused)
{
    (void)unused;
    return iora__lock_release(lock) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
lock_locked(LockObject *lock, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(lock->is_locked);
}

/* ---- async with -------------------------------------------------------------------------------------- */

static int
is_plain(SyncObject *self)
{
    static const char *const names[] = {"acquire", "release", NULL};

    return iora__sync_is_plain(self, &self->state->plain_lock, self->state->lock_type, names);
}

int
iora__lock_is_plain(PyObject *object, const struct state *state)
{
    return PyObject_TypeCheck(object, state->lock_type) ? is_plain((SyncObject *)object) : 0;
}

static PyObject *
lock_enter(LockObject *lock, PyObject *unused)
{
    const int plain = is_plain(&lock->sync);
    int taken;

    (void)unused;
    if (plain <= 0)
        return plain < 0 ? NULL : iora__sync_enter_by_methods(&lock->sync);
    if ((taken = iora__lock_try(lock)) < 0)
        return NULL;
    if (taken > 0)
        return iora__awaitable_ready(lock->sync.state);
    return (PyObject *)iora__sync_awaitable(&lock->sync, &enter_kind);
}

static PyObject *
lock_exit(LockObject *lock, PyObject *const *args, Py_ssize_t n)
{
    const int plain = is_plain(&lock->sync);

    (void)args;
    (void)n;
    if (plain <= 0)
        return plain < 0 ? NULL : iora__sync_exit_by_methods(&lock->sync);
    return iora__lock_release(lock) < 0 ? NULL : iora__awaitable_ready(lock->sync.state);
}

/* ---- the type ------------------------------------------------------------------------------------------ */

static int
lock_init(LockObject *lock, PyObject *args, PyObject *keywords)
{
    static const char *const none[] = {NULL};

    if (iora__take_init_args("Lock.__init__", none, 0, args, keywords, NULL) < 0)
        return -1;
    iora__waiters_clear(&lock->sync.waiters);
    lock->is_locked = false;
    return 0;
}

static PyObject *
lock_repr(LockObject *lock)
{
    return iora__sync_repr(&lock->sync,
                           PyUnicode_FromString(lock->is_locked ? "locked" : "unlocked"));
}

static PyGetSetDef lock_getset[] = {
    {"_waiters", (getter)iora__sync_get_waiters_or_none, (setter)iora__sync_set_waiters, NULL,
     NULL},
    {0},
};

static PyMemberDef lock_members[] = {
    {"_loop", T_OBJECT, offsetof(SyncObject, loop), 0, NULL},
    {"_locked", T_BOOL, offsetof(LockObject, is_locked), 0, NULL},
    {0},
};

static PyMethodDef lock_methods[] = {
    {"release", (PyCFunction)lock_release, METH_NOARGS,
     PyDoc_STR("release($self, /)\n--\n\nUnlock it, and wake the first who waits.")},
    {"locked", (PyCFunction)lock_locked, METH_NOARGS,
     PyDoc_STR("locked($self, /)\n--\n\nWhether it is locked.")},
    {"__aenter__", (PyCFunction)lock_enter, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))lock_exit, METH_FASTCALL, NULL},
    {0},
};

static const struct iora__function lock_functions[] = {
    {"acquire", "Lock.acquire", "asyncio.locks", "(self)", "Wait for the lock and take it: True.",
     lock_acquire},
    {0},
};

static PyType_Slot lock_slots[] = {
    {Py_tp_new, iora__sync_new},
    {Py_tp_init, lock_init},
    {Py_tp_dealloc, iora__sync_dealloc},
    {Py_tp_traverse, iora__sync_traverse},
    {Py_tp_clear, iora__sync_clear},
    {Py_tp_setattro, iora__sync_setattro},
    {Py_tp_repr, lock_repr},
    {Py_tp_methods, lock_methods},
    {Py_tp_members, lock_members},
    {Py_tp_getset, lock_getset},
    {0},
};

static PyType_Spec lock_spec = {
    .name = "iora._c.Lock",
    .basicsize = sizeof(LockObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = lock_slots,
};

int
iora__lock_add_type(PyObject *module, struct state *state)
{
    state->lock_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &lock_spec, NULL);
    if (state->lock_type == NULL ||
        iora__function_add_to_type(state->lock_type, state, lock_functions) < 0)
        return -1;
    return PyModule_AddType(module, state->lock_type);
}
