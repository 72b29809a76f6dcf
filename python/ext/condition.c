/* ext/condition.c -- asyncio.Condition in C.
 *
 * wait() comes back with the lock held, whatever happened: a cancel while it takes the lock again is kept until it has
 * it, and the last one is raised. Who leaves with an exception may have been notified, so another is in his place.
 *
 *     0 release the lock, wait --> 1 notified, or an exception --> 2 take the lock, again and again --> the end
 *
 * The lock may be anybody's: asyncio's, ours, one given by the user. A lock of ours that does by its methods what they
 * do is used directly. acquire, release and locked are the lock's methods; they can be set on the condition, and then
 * everything goes by them.
 */
#include "ext/condition.h"

#include "ext/compat.h"
#include "ext/function.h"
#include "ext/lock.h"
#include "ext/state.h"

#include <stddef.h>
#include <structmember.h>

enum {
    ERROR = IORA__FUTURE + 1,
    FIRST_ERROR
}; /* refs of wait(): the last cancel, and what ended the wait */

/* ---- the lock ---------------------------------------------------------------------------------------- */

/* It, if it can be used directly; NULL without an exception if not. */
static LockObject *
own_lock(ConditionObject *self)
{
    for (int i = 0; i < IORA__CONDITION_HIDDEN; i++) {
        if (self->hidden[i] != NULL)
            return NULL;
    }
    if (self->lock == NULL) {
        PyErr_SetString(PyExc_AttributeError, "_lock");
        return NULL;
    }
    return iora__lock_is_plain(self->lock, self->sync.state) > 0 ? (LockObject *)self->lock : NULL;
}

static PyObject *
call_method(ConditionObject *self, PyObject *name)
{
    return PyErr_Occurred() ? NULL : PyObject_CallMethodNoArgs((PyObject *)self, name);
}

static int
is_locked(ConditionObject *self)
{
    const LockObject *const lock = own_lock(self);
    PyObject *answer;
    int is_true;

    if (lock != NULL)
        return lock->is_locked;
    answer = call_method(self, self->sync.state->str_locked);
    is_true = answer != NULL ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    return is_true;
}

int
iora__condition_try(ConditionObject *self)
{
    LockObject *const lock = own_lock(self);

    return lock != NULL ? iora__lock_try(lock) : PyErr_Occurred() ? -1 : 0;
}

PyObject *
iora__condition_acquire(ConditionObject *self)
{
    LockObject *const lock = own_lock(self);

    return lock != NULL ? iora__lock_acquire(lock)
                        : call_method(self, self->sync.state->str_acquire);
}

int
iora__condition_release(ConditionObject *self)
{
    LockObject *const lock = own_lock(self);
    PyObject *answer;

    if (lock != NULL)
        return iora__lock_release(lock);
    answer = call_method(self, self->sync.state->str_release);
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

/* ---- waiting ------------------------------------------------------------------------------------------- */

int
iora__condition_notify(ConditionObject *self, Py_ssize_t n)
{
    return iora__waiters_wake(self->sync.state, &self->sync.waiters, n, Py_False) < 0 ? -1 : 0;
}

static enum iora__outcome
begin_wait(AwaitableObject *self, PyObject **out)
{
    ConditionObject *const condition = (ConditionObject *)self->refs[IORA__OWNER];
    const int locked = is_locked(condition);
    PyObject *future;

    if (locked == 0)
        PyErr_SetString(PyExc_RuntimeError, "cannot wait on un-acquired lock");
    if (locked <= 0 || (future = iora__sync_create_future(&condition->sync)) == NULL)
        return IORA__RAISE;
    self->refs[IORA__FUTURE] = future;
    if (iora__condition_release(condition) < 0 ||
        iora__waiters_add(self->state, &condition->sync.waiters, future) < 0)
        return IORA__RAISE;
    self->phase = 1;
    *out = Py_NewRef(future);
    return IORA__AWAIT;
}

/* Raise an exception as if while another was handled. Takes both. */
static void
raise_after(PyObject *exception, PyObject *handled)
{
    if (handled == exception)
        Py_CLEAR(handled);
    if (handled != NULL)
        PyException_SetContext(exception, handled);
    iora__raise_exception(exception);
}

/* The wait is over and has the lock, or will never have it. An exception is set if it has not. */
static enum iora__outcome
end_wait(AwaitableObject *self, PyObject **out)
{
    ConditionObject *const condition = (ConditionObject *)self->refs[IORA__OWNER];
    PyObject *exception = PyErr_Occurred() ? iora__take_exception() : NULL;
    PyObject *first = self->refs[FIRST_ERROR];

    self->refs[FIRST_ERROR] = NULL;
    if (exception == NULL) {
        exception = self->refs[ERROR];
        self->refs[ERROR] = NULL;
    }
    if (exception == NULL) {
        exception = first;
        first = NULL;
    }
    if (exception == NULL) {
        *out = Py_NewRef(Py_True);
        return IORA__RETURN;
    }
    if (iora__condition_notify(condition, 1) < 0) {
        Py_DECREF(exception);
        Py_XDECREF(first);
    } else {
        raise_after(exception, first);
    }
    return IORA__RAISE;
}

static enum iora__outcome
take_lock_again(AwaitableObject *self, PyObject **out)
{
    ConditionObject *const condition = (ConditionObject *)self->refs[IORA__OWNER];
    const int taken = iora__condition_try(condition);

    self->phase = 2;
    if (taken == 0 && (*out = iora__condition_acquire(condition)) != NULL)
        return IORA__AWAIT;
    return end_wait(self, out);
}

static enum iora__outcome
step_of_wait(AwaitableObject *self, PyObject *value, PyObject **out)
{
    ConditionObject *const condition = (ConditionObject *)self->refs[IORA__OWNER];

    switch (self->phase) {
    case 0:
        return begin_wait(self, out);
    case 1:
        (void)iora__sync_wait_ended(self, &condition->sync.waiters);
        if (PyErr_Occurred())
            self->refs[FIRST_ERROR] = iora__take_exception();
        return take_lock_again(self, out);
    default:
        if (value != NULL || !PyErr_ExceptionMatches(self->state->cancelled_error))
            return end_wait(self, out);
        Py_XSETREF(self->refs[ERROR], iora__take_exception());
        return take_lock_again(self, out);
    }
}

static const struct iora__awaitable_kind wait_kind = {"wait", "Condition.wait", step_of_wait};

PyObject *
iora__condition_wait(ConditionObject *self)
{
    return (PyObject *)iora__sync_awaitable(&self->sync, &wait_kind);
}

static PyObject *
condition_wait(struct state *state, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const none[] = {NULL};

    (void)state;
    if (iora__take_args("Condition.wait", none, 0, args + 1, n - 1, names, NULL) < 0)
        return NULL;
    return iora__condition_wait((ConditionObject *)args[0]);
}

enum { PREDICATE = IORA__FUTURE };

static enum iora__outcome
step_of_wait_for(AwaitableObject *self, PyObject *value, PyObject **out)
{
    PyObject *answer;
    int is_true;

    if (value == NULL || (answer = PyObject_CallNoArgs(self->refs[PREDICATE])) == NULL)
        return IORA__RAISE;
    if ((is_true = PyObject_IsTrue(answer)) > 0) {
        *out = answer;
        return IORA__RETURN;
    }
    Py_DECREF(answer);
    if (is_true < 0)
        return IORA__RAISE;
    *out = PyObject_CallMethodNoArgs(self->refs[IORA__OWNER], self->state->str_wait);
    return *out == NULL ? IORA__RAISE : IORA__AWAIT;
}

static const struct iora__awaitable_kind wait_for_kind = {"wait_for", "Condition.wait_for",
                                                          step_of_wait_for};

static PyObject *
condition_wait_for(struct state *state, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const parameters[] = {"predicate", NULL};
    PyObject *predicate;
    AwaitableObject *self;

    (void)state;
    if (iora__take_args("Condition.wait_for", parameters, 1, args + 1, n - 1, names, &predicate) <
        0)
        return NULL;
    if ((self = iora__sync_awaitable((SyncObject *)args[0], &wait_for_kind)) != NULL)
        self->refs[PREDICATE] = Py_NewRef(predicate);
    return (PyObject *)self;
}

/* ---- notifying ------------------------------------------------------------------------------------------- */

static PyObject *
notify_checked(ConditionObject *self, Py_ssize_t n)
{
    const int locked = is_locked(self);

    if (locked == 0)
        PyErr_SetString(PyExc_RuntimeError, "cannot notify on un-acquired lock");
    return locked <= 0 || iora__condition_notify(self, n) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
condition_notify(ConditionObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"n", NULL};
    Py_ssize_t n = 1;

    return PyArg_ParseTupleAndKeywords(args, keywords, "|n:notify", names, &n)
               ? notify_checked(self, n)
               : NULL;
}

static PyObject *
condition_notify_all(ConditionObject *self, PyObject *unused)
{
    static const char *const names[] = {"notify", NULL};
    struct state *const state = self->sync.state;
    const int plain =
        iora__sync_is_plain(&self->sync, &state->plain_condition, state->condition_type, names);
    PyObject *result;

    (void)unused;
    if (plain != 0)
        return plain < 0 ? NULL : notify_checked(self, PY_SSIZE_T_MAX);
    result = PyObject_CallMethod((PyObject *)self, "notify", "n",
                                 iora__waiters_count(&self->sync.waiters));
    if (result == NULL)
        return NULL;
    Py_DECREF(result);
    Py_RETURN_NONE;
}

/* ---- async with ------------------------------------------------------------------------------------------ */

static PyObject *
condition_enter(ConditionObject *self, PyObject *unused)
{
    const int taken = iora__condition_try(self);

    (void)unused;
    if (taken < 0)
        return NULL;
    return taken > 0 ? iora__awaitable_ready(self->sync.state)
                     : iora__sync_enter_by_methods(&self->sync);
}

static PyObject *
condition_exit(ConditionObject *self, PyObject *const *args, Py_ssize_t n)
{
    (void)args;
    (void)n;
    return iora__condition_release(self) < 0 ? NULL : iora__awaitable_ready(self->sync.state);
}

/* ---- the type ----------------------------------------------------------------------------------------------- */

static int
condition_init(ConditionObject *self, PyObject *args, PyObject *keywords)
{
    static const char *const parameters[] = {"lock", NULL};
    static const char *const needed[] = {"locked", "acquire", "release"};
    struct state *const state = self->sync.state;
    PyObject *lock = Py_None, *class, *method;

    if (iora__take_init_args("Condition.__init__", parameters, 0, args, keywords, &lock) < 0)
        return -1;
    if (lock == Py_None) {
        if ((class = iora__sync_public_class(&state->public_lock, "iora._locks", "Lock")) == NULL ||
            (lock = PyObject_CallNoArgs(class)) == NULL)
            return -1;
    } else {
        Py_INCREF(lock);
    }
    for (int i = 0; i < 3 && !PyObject_TypeCheck(lock, state->lock_type); i++) {
        if ((method = PyObject_GetAttrString(lock, needed[i])) == NULL) {
            Py_DECREF(lock);
            return -1;
        }
        Py_DECREF(method);
    }
    iora__waiters_clear(&self->sync.waiters);
    Py_XSETREF(self->lock, lock);
    return 0;
}

static int
condition_traverse(ConditionObject *self, visitproc visit, void *arg)
{
    Py_VISIT(self->lock);
    for (int i = 0; i < IORA__CONDITION_HIDDEN; i++)
        Py_VISIT(self->hidden[i]);
    return iora__sync_traverse((PyObject *)self, visit, arg);
}

static int
condition_clear(ConditionObject *self)
{
    Py_CLEAR(self->lock);
    for (int i = 0; i < IORA__CONDITION_HIDDEN; i++)
        Py_CLEAR(self->hidden[i]);
    return iora__sync_clear((PyObject *)self);
}

static void
condition_dealloc(ConditionObject *self)
{
    PyObject_GC_UnTrack(self);
    (void)condition_clear(self);
    iora__sync_dealloc((PyObject *)self);
}

static PyObject *
condition_repr(ConditionObject *self)
{
    const int locked = is_locked(self);

    return locked < 0
               ? NULL
               : iora__sync_repr(&self->sync, PyUnicode_FromString(locked ? "locked" : "unlocked"));
}

static const char *const names_of_hidden[IORA__CONDITION_HIDDEN] = {"acquire", "release", "locked"};

static PyObject *
get_method(ConditionObject *self, void *which)
{
    const int i = (int)((const char *const *)which - names_of_hidden);

    if (self->hidden[i] != NULL)
        return Py_NewRef(self->hidden[i]);
    if (self->lock != NULL)
        return PyObject_GetAttrString(self->lock, names_of_hidden[i]);
    PyErr_SetString(PyExc_AttributeError, names_of_hidden[i]);
    return NULL;
}

static int
set_method(ConditionObject *self, PyObject *value, void *which)
{
    const int i = (int)((const char *const *)which - names_of_hidden);

    Py_XSETREF(self->hidden[i], Py_XNewRef(value));
    return 0;
}

static PyGetSetDef condition_getset[] = {
    {"_waiters", (getter)iora__sync_get_waiters, (setter)iora__sync_set_waiters, NULL, NULL},
    {"acquire", (getter)get_method, (setter)set_method, NULL,
     (void *)(names_of_hidden + IORA__CONDITION_ACQUIRE)},
    {"release", (getter)get_method, (setter)set_method, NULL,
     (void *)(names_of_hidden + IORA__CONDITION_RELEASE)},
    {"locked", (getter)get_method, (setter)set_method, NULL,
     (void *)(names_of_hidden + IORA__CONDITION_LOCKED)},
    {0},
};

static PyMemberDef condition_members[] = {
    {"_loop", T_OBJECT, offsetof(SyncObject, loop), 0, NULL},
    {"_lock", T_OBJECT_EX, offsetof(ConditionObject, lock), 0, NULL},
    {0},
};

static PyMethodDef condition_methods[] = {
    {"notify", (PyCFunction)(void (*)(void))condition_notify, METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("notify($self, /, n=1)\n--\n\nWake n of those who wait. The lock must be held.")},
    {"notify_all", (PyCFunction)condition_notify_all, METH_NOARGS,
     PyDoc_STR("notify_all($self, /)\n--\n\nWake all who wait. The lock must be held.")},
    {"__aenter__", (PyCFunction)condition_enter, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))condition_exit, METH_FASTCALL, NULL},
    {0},
};

static const struct iora__function condition_functions[] = {
    {"wait", "Condition.wait", "asyncio.locks", "(self)",
     "Release the lock, wait to be notified, take the lock again: True.", condition_wait},
    {"wait_for", "Condition.wait_for", "asyncio.locks", "(self, predicate)",
     "wait() until predicate() is true, and return what it gave.", condition_wait_for},
    {0},
};

static PyType_Slot condition_slots[] = {
    {Py_tp_new, iora__sync_new},
    {Py_tp_init, condition_init},
    {Py_tp_dealloc, condition_dealloc},
    {Py_tp_traverse, condition_traverse},
    {Py_tp_clear, condition_clear},
    {Py_tp_setattro, iora__sync_setattro},
    {Py_tp_repr, condition_repr},
    {Py_tp_methods, condition_methods},
    {Py_tp_members, condition_members},
    {Py_tp_getset, condition_getset},
    {0},
};

static PyType_Spec condition_spec = {
    .name = "iora._c.Condition",
    .basicsize = sizeof(ConditionObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = condition_slots,
};

int
iora__condition_add_type(PyObject *module, struct state *state)
{
    state->condition_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &condition_spec, NULL);
    if (state->condition_type == NULL ||
        iora__function_add_to_type(state->condition_type, state, condition_functions) < 0)
        return -1;
    return PyModule_AddType(module, state->condition_type);
}
