/* ext/barrier.c -- asyncio.Barrier in C.
 *
 *     FILLING --- the last party comes ---> DRAINING --- the last one leaves ---> FILLING
 *        |                                     |
 *        |--- reset(), somebody is in ---------+----> RESETTING --- the last one leaves ---> FILLING
 *        '--- abort() -------------------------'----> BROKEN --- reset() ---> RESETTING or FILLING
 *
 * All of it happens under the lock of one condition, which is notified at each change. Whoever comes while it drains
 * or resets waits outside. One who is cancelled inside leaves, and the barrier can be used as before.
 *
 * wait() goes through these phases; from ENTER on it holds the lock and gives it back at the end:
 *
 *     LOCK --> ENTER (wait while others leave) --> INSIDE (wait while it fills) --> out
 */
#include "ext/barrier.h"

#include "ext/compat.h"
#include "ext/function.h"
#include "ext/state.h"

#include <stddef.h>
#include <structmember.h>

enum { BEGIN, LOCK, ENTER, INSIDE };

static BarrierObject *
barrier_of(const AwaitableObject *self)
{
    return (BarrierObject *)self->refs[IORA__OWNER];
}

static int
notify_all(BarrierObject *barrier)
{
    return iora__condition_notify(barrier->condition, PY_SSIZE_T_MAX);
}

static enum iora__outcome
raise_broken(const BarrierObject *barrier, const char *text)
{
    PyErr_SetString(barrier->sync.state->broken_barrier_error, text);
    return IORA__RAISE;
}

/* Take the lock; the step goes on in `phase` when it has it. IORA__RETURN: it has. */
static enum iora__outcome
take_lock(AwaitableObject *self, uint8_t phase, PyObject **out)
{
    ConditionObject *const condition = barrier_of(self)->condition;
    const int taken = iora__condition_try(condition);

    self->phase = phase;
    if (taken != 0)
        return taken < 0 ? IORA__RAISE : IORA__RETURN;
    *out = iora__condition_acquire(condition);
    return *out == NULL ? IORA__RAISE : IORA__AWAIT;
}

/* Give the lock back, with or without an exception set. */
static enum iora__outcome
give_lock_back(AwaitableObject *self, enum iora__outcome outcome)
{
    PyObject *const exception = PyErr_Occurred() ? iora__take_exception() : NULL;

    if (iora__condition_release(barrier_of(self)->condition) < 0) {
        if (exception != NULL)
            iora__chain_exception(exception);
        return IORA__RAISE;
    }
    if (exception != NULL)
        iora__raise_exception(exception);
    return outcome;
}

static enum iora__outcome
wait_for_change(AwaitableObject *self, uint8_t phase, PyObject **out)
{
    self->phase = phase;
    *out = iora__condition_wait(barrier_of(self)->condition);
    return *out == NULL ? IORA__RAISE : IORA__AWAIT;
}

/* ---- wait ------------------------------------------------------------------------------------------------ */

/* Somebody who was in leaves. An exception that is set stays. */
static int
leave(BarrierObject *barrier)
{
    PyObject *exception;
    int rc;

    if (--barrier->count > 0)
        return 0;
    if (barrier->state == IORA__RESETTING || barrier->state == IORA__DRAINING)
        barrier->state = IORA__FILLING;
    exception = PyErr_Occurred() ? iora__take_exception() : NULL;
    rc = notify_all(barrier);
    if (rc < 0 && exception != NULL)
        iora__chain_exception(exception);
    else if (exception != NULL)
        iora__raise_exception(exception);
    return rc;
}

static enum iora__outcome
come_out(AwaitableObject *self, PyObject **out)
{
    BarrierObject *const barrier = barrier_of(self);

    if (!PyErr_Occurred() && (barrier->state == IORA__BROKEN || barrier->state == IORA__RESETTING))
        (void)raise_broken(barrier, "Abort or reset of barrier");
    (void)leave(barrier);
    if (!PyErr_Occurred())
        *out = PyLong_FromSsize_t(self->number);
    return give_lock_back(self, PyErr_Occurred() ? IORA__RAISE : IORA__RETURN);
}

static enum iora__outcome
stay_inside(AwaitableObject *self, PyObject *value, PyObject **out)
{
    const BarrierObject *const barrier = barrier_of(self);

    if (value != NULL && barrier->state == IORA__FILLING) {
        if (wait_for_change(self, INSIDE, out) == IORA__AWAIT)
            return IORA__AWAIT;
    }
    return come_out(self, out);
}

static enum iora__outcome
come_in(AwaitableObject *self, PyObject **out)
{
    BarrierObject *const barrier = barrier_of(self);

    self->number = barrier->count++;
    if (self->number + 1 < barrier->parties)
        return stay_inside(self, Py_None, out);
    barrier->state = IORA__DRAINING;
    (void)notify_all(barrier);
    return come_out(self, out);
}

static enum iora__outcome
enter(AwaitableObject *self, PyObject *value, PyObject **out)
{
    const BarrierObject *const barrier = barrier_of(self);

    if (value != NULL && barrier->state != IORA__DRAINING && barrier->state != IORA__RESETTING &&
        barrier->state != IORA__BROKEN)
        return come_in(self, out);
    if (value != NULL && barrier->state == IORA__BROKEN)
        (void)raise_broken(barrier, "Barrier aborted");
    else if (value != NULL && wait_for_change(self, ENTER, out) == IORA__AWAIT)
        return IORA__AWAIT;
    return give_lock_back(self, IORA__RAISE);
}

static enum iora__outcome
step_of_wait(AwaitableObject *self, PyObject *value, PyObject **out)
{
    enum iora__outcome outcome;

    switch (self->phase) {
    case BEGIN:
        outcome = take_lock(self, LOCK, out);
        return outcome == IORA__RETURN ? enter(self, Py_None, out) : outcome;
    case LOCK:
        return value == NULL ? IORA__RAISE : enter(self, value, out);
    case ENTER:
        return enter(self, value, out);
    default:
        return stay_inside(self, value, out);
    }
}

/* ---- reset, abort ------------------------------------------------------------------------------------------ */

static enum iora__outcome
change(AwaitableObject *self, enum iora__barrier_state state, PyObject **out)
{
    BarrierObject *const barrier = barrier_of(self);

    barrier->state = state;
    if (notify_all(barrier) < 0)
        return give_lock_back(self, IORA__RAISE);
    *out = Py_NewRef(Py_None);
    return give_lock_back(self, IORA__RETURN);
}

static enum iora__outcome
lock_for_change(AwaitableObject *self, PyObject *value, PyObject **out)
{
    if (self->phase == BEGIN)
        return take_lock(self, LOCK, out);
    return value == NULL ? IORA__RAISE : IORA__RETURN;
}

static enum iora__outcome
step_of_reset(AwaitableObject *self, PyObject *value, PyObject **out)
{
    const enum iora__outcome locked = lock_for_change(self, value, out);

    return locked != IORA__RETURN
               ? locked
               : change(self, barrier_of(self)->count > 0 ? IORA__RESETTING : IORA__FILLING, out);
}

static enum iora__outcome
step_of_abort(AwaitableObject *self, PyObject *value, PyObject **out)
{
    const enum iora__outcome locked = lock_for_change(self, value, out);

    return locked != IORA__RETURN ? locked : change(self, IORA__BROKEN, out);
}

static const struct iora__awaitable_kind wait_kind = {"wait", "Barrier.wait", step_of_wait};
static const struct iora__awaitable_kind reset_kind = {"reset", "Barrier.reset", step_of_reset};
static const struct iora__awaitable_kind abort_kind = {"abort", "Barrier.abort", step_of_abort};

static PyObject *
make(const struct iora__awaitable_kind *kind, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const none[] = {NULL};

    if (iora__take_args(kind->qualname, none, 0, args + 1, n - 1, names, NULL) < 0)
        return NULL;
    if (((BarrierObject *)args[0])->condition == NULL) {
        PyErr_SetString(PyExc_AttributeError, "_cond");
        return NULL;
    }
    return (PyObject *)iora__sync_awaitable((SyncObject *)args[0], kind);
}

static PyObject *
barrier_wait(struct state *state, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    (void)state;
    return make(&wait_kind, args, n, names);
}

static PyObject *
barrier_reset(struct state *state, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    (void)state;
    return make(&reset_kind, args, n, names);
}

static PyObject *
barrier_abort(struct state *state, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    (void)state;
    return make(&abort_kind, args, n, names);
}

static PyObject *
barrier_enter(BarrierObject *self, PyObject *unused)
{
    (void)unused;
    return PyObject_CallMethodNoArgs((PyObject *)self, self->sync.state->str_wait);
}

static PyObject *
barrier_exit(BarrierObject *self, PyObject *const *args, Py_ssize_t n)
{
    (void)args;
    (void)n;
    return iora__awaitable_ready(self->sync.state);
}

/* ---- the type -------------------------------------------------------------------------------------------------- */

static int
barrier_init(BarrierObject *self, PyObject *args, PyObject *keywords)
{
    static const char *const parameters[] = {"parties", NULL};
    PyObject *class, *condition, *given;
    Py_ssize_t parties;

    if (iora__take_init_args("Barrier.__init__", parameters, 1, args, keywords, &given) < 0)
        return -1;
    parties = PyNumber_AsSsize_t(given, PyExc_OverflowError);
    if (parties == -1 && PyErr_Occurred())
        return -1;
    if (parties < 1) {
        PyErr_SetString(PyExc_ValueError, "parties must be > 0");
        return -1;
    }
    class =
        iora__sync_public_class(&self->sync.state->public_condition, "iora._locks", "Condition");
    if (class == NULL || (condition = PyObject_CallNoArgs(class)) == NULL)
        return -1;
    Py_XSETREF(self->condition, (ConditionObject *)condition);
    self->parties = parties;
    self->count = 0;
    self->state = IORA__FILLING;
    return 0;
}

static int
barrier_traverse(BarrierObject *self, visitproc visit, void *arg)
{
    Py_VISIT(self->condition);
    return iora__sync_traverse((PyObject *)self, visit, arg);
}

static int
barrier_clear(BarrierObject *self)
{
    Py_CLEAR(self->condition);
    return iora__sync_clear((PyObject *)self);
}

static void
barrier_dealloc(BarrierObject *self)
{
    PyObject_GC_UnTrack(self);
    (void)barrier_clear(self);
    iora__sync_dealloc((PyObject *)self);
}

static Py_ssize_t
n_waiting(const BarrierObject *self)
{
    return self->state == IORA__FILLING ? self->count : 0;
}

static PyObject *
barrier_repr(BarrierObject *self)
{
    static const char *const names[] = {"filling", "draining", "resetting", "broken"};
    PyObject *const what = self->state == IORA__BROKEN
                               ? PyUnicode_FromString("broken")
                               : PyUnicode_FromFormat("%s, waiters:%zd/%zd", names[self->state],
                                                      n_waiting(self), self->parties);

    return iora__sync_repr(&self->sync, what);
}

static PyObject *
get_n_waiting(BarrierObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromSsize_t(n_waiting(self));
}

static PyObject *
get_broken(BarrierObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(self->state == IORA__BROKEN);
}

static PyGetSetDef barrier_getset[] = {
    {"n_waiting", (getter)get_n_waiting, NULL, PyDoc_STR("How many tasks wait for the others."),
     NULL},
    {"broken", (getter)get_broken, NULL, PyDoc_STR("Whether abort() was called."), NULL},
    {0},
};

static PyMemberDef barrier_members[] = {
    {"_loop", T_OBJECT, offsetof(SyncObject, loop), 0, NULL},
    {"_cond", T_OBJECT, offsetof(BarrierObject, condition), READONLY, NULL},
    {"_count", T_PYSSIZET, offsetof(BarrierObject, count), READONLY, NULL},
    {"_parties", T_PYSSIZET, offsetof(BarrierObject, parties), READONLY, NULL},
    {"parties", T_PYSSIZET, offsetof(BarrierObject, parties), READONLY,
     PyDoc_STR("How many tasks must come.")},
    {0},
};

static PyMethodDef barrier_methods[] = {
    {"__aenter__", (PyCFunction)barrier_enter, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))barrier_exit, METH_FASTCALL, NULL},
    {0},
};

static const struct iora__function barrier_functions[] = {
    {"wait", "Barrier.wait", "asyncio.locks", "(self)",
     "Wait until all parties have come: which of them this one is, from 0.", barrier_wait},
    {"reset", "Barrier.reset", "asyncio.locks", "(self)",
     "Begin anew; who waits gets a BrokenBarrierError.", barrier_reset},
    {"abort", "Barrier.abort", "asyncio.locks", "(self)",
     "Break it: who waits and who comes gets a BrokenBarrierError.", barrier_abort},
    {0},
};

static PyType_Slot barrier_slots[] = {
    {Py_tp_new, iora__sync_new},      {Py_tp_init, barrier_init},
    {Py_tp_dealloc, barrier_dealloc}, {Py_tp_traverse, barrier_traverse},
    {Py_tp_clear, barrier_clear},     {Py_tp_repr, barrier_repr},
    {Py_tp_methods, barrier_methods}, {Py_tp_members, barrier_members},
    {Py_tp_getset, barrier_getset},   {0},
};

static PyType_Spec barrier_spec = {
    .name = "iora._c.Barrier",
    .basicsize = sizeof(BarrierObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = barrier_slots,
};

int
iora__barrier_add_type(PyObject *module, struct state *state)
{
    PyTypeObject *const type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &barrier_spec, NULL);
    int rc = -1;

    if (type != NULL && iora__function_add_to_type(type, state, barrier_functions) == 0)
        rc = PyModule_AddType(module, type);
    Py_XDECREF(type);
    return rc;
}
