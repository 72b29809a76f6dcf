/* ext/event.c -- asyncio.Event in C.
 *
 * set() wakes all who wait now, even if clear() follows at once; a waiter comes back with True then, whatever the
 * event says by the time he runs. He takes himself out of the list.
 */
#include "ext/event.h"

#include "ext/function.h"
#include "ext/state.h"

#include <stddef.h>
#include <structmember.h>

static enum iora__outcome
step_of_wait(AwaitableObject *self, PyObject *value, PyObject **out)
{
    EventObject *const event = (EventObject *)self->refs[IORA__OWNER];

    if (self->phase == 0 && !event->is_set) {
        self->phase = 1;
        return iora__sync_wait(self, &event->sync.waiters, out);
    }
    if (self->phase == 1 && self->refs[IORA__FUTURE] != NULL &&
        iora__sync_wait_ended(self, &event->sync.waiters) < 0)
        return IORA__RAISE;
    if (value == NULL)
        return IORA__RAISE;
    *out = Py_NewRef(Py_True);
    return IORA__RETURN;
}

static const struct iora__awaitable_kind wait_kind = {"wait", "Event.wait", step_of_wait};

PyObject *
iora__event_wait(EventObject *self)
{
    return (PyObject *)iora__sync_awaitable(&self->sync, &wait_kind);
}

static PyObject *
event_wait(struct state *state, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const none[] = {NULL};

    (void)state;
    if (iora__take_args("Event.wait", none, 0, args + 1, n - 1, names, NULL) < 0)
        return NULL;
    return iora__event_wait((EventObject *)args[0]);
}

int
iora__event_set(EventObject *self)
{
    if (self->is_set)
        return 0;
    self->is_set = true;
    return iora__waiters_wake(self->sync.state, &self->sync.waiters, PY_SSIZE_T_MAX, Py_True) < 0
               ? -1
               : 0;
}

void
iora__event_clear(EventObject *self)
{
    self->is_set = false;
}

static PyObject *
event_set(EventObject *self, PyObject *unused)
{
    (void)unused;
    return iora__event_set(self) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
event_clear(EventObject *self, PyObject *unused)
{
    (void)unused;
    iora__event_clear(self);
    Py_RETURN_NONE;
}

static PyObject *
event_is_set(EventObject *self, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(self->is_set);
}

/* ---- the type --------------------------------------------------------------------------------------- */

static int
event_init(EventObject *self, PyObject *args, PyObject *keywords)
{
    static const char *const none[] = {NULL};

    if (iora__take_init_args("Event.__init__", none, 0, args, keywords, NULL) < 0)
        return -1;
    iora__waiters_clear(&self->sync.waiters);
    self->is_set = false;
    return 0;
}

static PyObject *
event_repr(EventObject *self)
{
    return iora__sync_repr(&self->sync, PyUnicode_FromString(self->is_set ? "set" : "unset"));
}

static PyGetSetDef event_getset[] = {
    {"_waiters", (getter)iora__sync_get_waiters, (setter)iora__sync_set_waiters, NULL, NULL},
    {0},
};

static PyMemberDef event_members[] = {
    {"_loop", T_OBJECT, offsetof(SyncObject, loop), 0, NULL},
    {"_value", T_BOOL, offsetof(EventObject, is_set), 0, NULL},
    {0},
};

static PyMethodDef event_methods[] = {
    {"set", (PyCFunction)event_set, METH_NOARGS,
     PyDoc_STR("set($self, /)\n--\n\nWake all who wait; nobody waits until clear().")},
    {"clear", (PyCFunction)event_clear, METH_NOARGS,
     PyDoc_STR("clear($self, /)\n--\n\nHave wait() wait from now on.")},
    {"is_set", (PyCFunction)event_is_set, METH_NOARGS,
     PyDoc_STR("is_set($self, /)\n--\n\nWhether wait() returns at once.")},
    {0},
};

static const struct iora__function event_functions[] = {
    {"wait", "Event.wait", "asyncio.locks", "(self)", "Wait until the event is set: True.",
     event_wait},
    {0},
};

static PyType_Slot event_slots[] = {
    {Py_tp_new, iora__sync_new},
    {Py_tp_init, event_init},
    {Py_tp_dealloc, iora__sync_dealloc},
    {Py_tp_traverse, iora__sync_traverse},
    {Py_tp_clear, iora__sync_clear},
    {Py_tp_setattro, iora__sync_setattro},
    {Py_tp_repr, event_repr},
    {Py_tp_methods, event_methods},
    {Py_tp_members, event_members},
    {Py_tp_getset, event_getset},
    {0},
};

static PyType_Spec event_spec = {
    .name = "iora._c.Event",
    .basicsize = sizeof(EventObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = event_slots,
};

int
iora__event_add_type(PyObject *module, struct state *state)
{
    state->event_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &event_spec, NULL);
    if (state->event_type == NULL ||
        iora__function_add_to_type(state->event_type, state, event_functions) < 0)
        return -1;
    return PyModule_AddType(module, state->event_type);
}
