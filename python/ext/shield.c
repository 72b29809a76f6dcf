/* ext/shield.c -- asyncio.shield.
 *
 *     inner --- done callback ---> link <--- done callback --- outer
 *                                   '---> inner, outer
 *
 * The outer future becomes what the inner one does. When the outer one is done first, which means cancelled, the *link*
 * comes off the inner one, whose exception then is nobody's but its own.
 */
#include "ext/shield.h"

#include "ext/asyncio.h"
#include "ext/function.h"

#include <stddef.h>
#include <structmember.h>

typedef struct Link {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    struct state *state;
    PyObject *inner, *outer;
    PyObject *waiter; /* the task that called, in the call graph; else NULL */
} Link;

static int
copy_outcome(struct state *state, PyObject *from, PyObject *to)
{
    const int is_cancelled = iora__future_is_cancelled(state, from);
    PyObject *exception, *result;
    int rc;

    if (is_cancelled < 0)
        return -1;
    if (is_cancelled)
        return iora__future_cancel(state, to, NULL);
    if ((exception = iora__future_ask(state, from, IORA__ASK_EXCEPTION)) == NULL)
        return -1;
    if (exception != Py_None) {
        rc = iora__future_set_exception(state, to, exception);
    } else {
        result = iora__future_ask(state, from, IORA__ASK_RESULT);
        rc = result == NULL ? -1 : iora__future_set_result(state, to, result);
        Py_XDECREF(result);
    }
    Py_DECREF(exception);
    return rc;
}

static int
inner_done(Link *link)
{
    int is;

    if (iora__forget_awaited_by(link->state, link->inner, link->waiter) < 0)
        return -1;
    is = iora__future_is_done(link->state, link->outer);
    return is != 0 ? is : copy_outcome(link->state, link->inner, link->outer);
}

static int
outer_done(Link *link)
{
    const int is = iora__future_is_done(link->state, link->inner);

    if (is != 0)
        return is;
    return iora__forget_awaited_by(link->state, link->inner, link->waiter) < 0
               ? -1
               : iora__future_remove_callback(link->state, link->inner, (PyObject *)link);
}

static PyObject *
link_call(PyObject *self, PyObject *const *args, size_t n, PyObject *names)
{
    Link *const link = (Link *)self;
    int rc;

    if (PyVectorcall_NARGS(n) != 1 || names != NULL) {
        PyErr_SetString(PyExc_TypeError, "a future was expected");
        return NULL;
    }
    Py_INCREF(link);
    rc = args[0] == link->outer ? outer_done(link) : inner_done(link);
    Py_DECREF(link);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

static int
link_traverse(Link *link, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(link));
    Py_VISIT(link->inner);
    Py_VISIT(link->outer);
    Py_VISIT(link->waiter);
    return 0;
}

static int
link_clear(Link *link)
{
    Py_CLEAR(link->inner);
    Py_CLEAR(link->outer);
    Py_CLEAR(link->waiter);
    return 0;
}

static void
link_dealloc(Link *link)
{
    PyTypeObject *const type = Py_TYPE(link);

    PyObject_GC_UnTrack(link);
    (void)link_clear(link);
    PyObject_GC_Del(link);
    Py_DECREF(type);
}

static PyObject *
link_qualname(PyObject *self, void *unused)
{
    (void)self;
    (void)unused;
    return PyUnicode_FromString("shield.<locals>._done_callback");
}

static PyGetSetDef link_getset[] = {
    {"__qualname__", link_qualname, NULL, NULL, NULL},
    {0},
};

static PyMemberDef link_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Link, vectorcall), READONLY, NULL},
    {0},
};

static PyType_Slot link_slots[] = {
    {Py_tp_dealloc, link_dealloc},
    {Py_tp_traverse, link_traverse},
    {Py_tp_clear, link_clear},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, link_members},
    {Py_tp_getset, link_getset},
    {0},
};

static PyType_Spec link_spec = {
    .name = "iora._c.ShieldLink",
    .basicsize = sizeof(Link),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = link_slots,
};

static Link *
make_link(struct state *state, PyObject *inner, PyObject *outer)
{
    Link *const link = PyObject_GC_New(Link, (PyTypeObject *)state->asyncio.shield_type);

    if (link == NULL)
        return NULL;
    link->vectorcall = link_call;
    link->state = state;
    link->inner = Py_NewRef(inner);
    link->outer = Py_NewRef(outer);
    link->waiter = NULL;
    PyObject_GC_Track((PyObject *)link);
    return link;
}

static int
note_waiter(Link *link)
{
    struct state *const state = link->state;
    PyObject *loop;

    if (state->asyncio.add_awaited_by == NULL)
        return 0;
    if ((loop = iora__running_loop(state)) == NULL)
        return PyErr_Occurred() ? -1 : 0;
    link->waiter = iora__current_task(state, loop);
    Py_DECREF(loop);
    return link->waiter == NULL ? -1 : iora__note_awaited_by(state, link->inner, link->waiter);
}

/* The outer future of one that is not done. */
static PyObject *
shielding(struct state *state, PyObject *inner)
{
    PyObject *const loop = iora__future_loop(state, inner);
    PyObject *outer = loop != NULL ? iora__create_future(state, loop) : NULL;
    Link *const link = outer != NULL ? make_link(state, inner, outer) : NULL;

    if (link == NULL || note_waiter(link) < 0 ||
        iora__future_add_callback(state, inner, (PyObject *)link, NULL) < 0 ||
        iora__future_add_callback(state, outer, (PyObject *)link, NULL) < 0)
        Py_CLEAR(outer);
    Py_XDECREF(loop);
    Py_XDECREF(link);
    return outer;
}

static PyObject *
shield(PyObject *module, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const parameters[] = {"arg", NULL};
    struct state *const state = PyModule_GetState(module);
    PyObject *arg, *inner, *outer;
    int is;

    if (iora__take_args("shield", parameters, 1, args, n, names, &arg) < 0 ||
        (inner = iora__ensure_future(state, arg, NULL)) == NULL)
        return NULL;
    if ((is = iora__future_is_done(state, inner)) > 0)
        return inner;
    outer = is < 0 ? NULL : shielding(state, inner);
    Py_DECREF(inner);
    return outer;
}

static PyMethodDef functions[] = {
    {"shield", (PyCFunction)(void (*)(void))shield, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("shield($module, /, arg)\n--\n\n"
               "A future that becomes what the other does; cancelling it leaves the other alone.")},
    {0},
};

int
iora__shield_add(PyObject *module, struct state *state)
{
    state->asyncio.shield_type = PyType_FromModuleAndSpec(module, &link_spec, NULL);
    return state->asyncio.shield_type == NULL ? -1 : PyModule_AddFunctions(module, functions);
}
