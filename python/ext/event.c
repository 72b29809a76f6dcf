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
        return iora__sync_wait(self, &event->waiters, out);
    }
    if (self->phase == 1 && self->refs[IORA__FUTURE] != NULL &&
        iora__sync_wait_ended(self, &event->waiters) < 0)
        return IORA__RAISE;
    if (value == NULL)
        return IORA__RAISE;
    *out = Py_NewRef(Py_True);
    return IORA__RETURN;
}

static const struct iora__awaitable_kind wait_kind = {"wait", "Event.wait", step_of_wait};

static PyObject *
event_wait(struct state *state, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const none[] = {NULL};

    (void)state;
    if (iora__take_args("Event.wait", none, 0, args + 1, n - 1, names, NULL) < 0)
        return NULL;
    return (PyObject *)iora__sync_awaitable((SyncObject *)args[0], &wait_kind);
}

static PyObject *
event_set(EventObject *self, PyObject *unused)
{
    (void)unused;
    if (self->is_set)
        Py_RETURN_NONE;
    self->is_set = true;
    if (iora__waiters_wake(self->sync.state, &self->waiters, PY_SSIZE_T_MAX, Py_True) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
event_clear(EventObject *self, PyObject *unused)
{
    (void)unused;
    self->is_set = false;
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
    static char *names[] = {NULL};

    if (!PyArg_ParseTupleAndKeywords(args, keywords, ":Event", names))
        return -1;
    iora__waiters_clear(&self->waiters);
    self->is_set = false;
    return 0;
}

static int
event_traverse(EventObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->sync.loop);
    return iora__waiters_traverse(&self->waiters, visit, arg);
}

static int
event_tp_clear(EventObject *self)
{
    Py_CLEAR(self->sync.loop);
    iora__waiters_clear(&self->waiters);
    return 0;
}

static void
event_dealloc(EventObject *self)
{
    PyTypeObject *const type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    (void)event_tp_clear(self);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyObject *
event_repr(EventObject *self)
{
    return iora__sync_repr((PyObject *)self, PyUnicode_FromString(self->is_set ? "set" : "unset"),
                           &self->waiters);
}

static PyObject *
get_waiters(EventObject *self, void *unused)
{
    (void)unused;
    return iora__waiters_as_deque(self->sync.state, &self->waiters);
}

static int
set_waiters(EventObject *self, PyObject *waiters, void *unused)
{
    (void)unused;
    return iora__waiters_set(&self->waiters, waiters);
}

static PyGetSetDef event_getset[] = {
    {"_waiters", (getter)get_waiters, (setter)set_waiters, NULL, NULL},
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
    {Py_tp_dealloc, event_dealloc},
    {Py_tp_traverse, event_traverse},
    {Py_tp_clear, event_tp_clear},
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
