/* ext/bound.c -- methods of a loop that are bound once and not at each call.
 *
 * Up to 3.11 _asyncio fetches `loop.call_soon` as an object for each step of a task: that is looked up, made and
 * dropped again, a tenth of a sleep(0). So while a loop runs it keeps those of its own methods that are used the most,
 * bound to it, from their first use on; they hold it, so they go when it stops.
 *
 * That is not for who has put something else in their place. A class is asked again when it has changed (its version);
 * an attribute of the object that hides one of them is noticed as it is set, and ends this for that loop.
 *
 * The interpreter calls methods of such a class past its own caches. That costs what binding once saves, so a
 * method that is often called from Python is worth a place here, and the others lose some nanoseconds. From 3.12 on
 * _asyncio calls without making an object, and nothing would be won: there only what hides a method is noticed.
 */
#include "ext/bound.h"

#include "ext/loop.h"
#include "ext/state.h"

static const char *const names[IORA__BOUND_METHODS] = {
    "call_soon",  "get_debug", "create_task",          "create_future",   "call_later",
    "call_at",    "time",      "call_soon_threadsafe", "run_in_executor",
};

int
iora__bound_fill(struct state *state)
{
    for (int i = 0; i < IORA__BOUND_METHODS; i++) {
        if ((state->bound_names[i] = PyUnicode_InternFromString(names[i])) == NULL)
            return -1;
    }
    return 0;
}

int
iora__bound_traverse(const struct bound_methods *bound, visitproc visit, void *arg)
{
    for (int i = 0; i < IORA__BOUND_METHODS; i++)
        Py_VISIT(bound->methods[i]);
    return 0;
}

void
iora__bound_clear(struct bound_methods *bound)
{
    for (int i = 0; i < IORA__BOUND_METHODS; i++)
        Py_CLEAR(bound->methods[i]);
}

/* Look it up, and keep it if it is one of ours. */
static PyObject *
bind_method(LoopObject *loop, PyObject *name, int index)
{
    struct bound_methods *const bound = &loop->bound;
    PyObject *const found = PyObject_GenericGetAttr((PyObject *)loop, name);
    const unsigned version = Py_TYPE(loop)->tp_version_tag;

    if (found == NULL || !loop->is_running || loop->is_shadowed || version == 0 ||
        !PyCFunction_CheckExact(found) || PyCFunction_GET_SELF(found) != (PyObject *)loop)
        return found;
    if (bound->version != version)
        iora__bound_clear(bound);
    bound->version = version;
    Py_XSETREF(bound->methods[index], Py_NewRef(found));
    return found;
}

PyObject *
iora__bound_getattro(PyObject *self, PyObject *name)
{
    LoopObject *const loop = (LoopObject *)self;

    for (int i = 0; i < IORA__BOUND_METHODS; i++) {
        if (name != loop->state->bound_names[i])
            continue;
        if (loop->bound.methods[i] != NULL && loop->bound.version == Py_TYPE(self)->tp_version_tag)
            return Py_NewRef(loop->bound.methods[i]);
        return bind_method(loop, name, i);
    }
    return PyObject_GenericGetAttr(self, name);
}

/* Also for what is taken away again: who has hidden a method may have kept it. */
int
iora__bound_setattro(PyObject *self, PyObject *name, PyObject *value)
{
    LoopObject *const loop = (LoopObject *)self;

    if (PyObject_GenericSetAttr(self, name, value) < 0)
        return -1;
    for (int i = 0; i < IORA__BOUND_METHODS; i++) {
        if (PyUnicode_Compare(name, loop->state->bound_names[i]) == 0) {
            loop->is_shadowed = true;
            iora__bound_clear(&loop->bound);
        }
    }
    return 0;
}
