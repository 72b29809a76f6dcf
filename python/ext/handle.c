/* ext/handle.c -- asyncio.Handle and asyncio.TimerHandle in C.
 *
 * A handle is a callback with its arguments and its context. Up to three arguments lie in the handle, with a
 * free place before them, so that calling needs no tuple. The context is entered and left by two C calls.
 * Dropped handles are kept for the next ones (the module's free lists): most live for one turn.
 *
 *     made --- pushed ---> QUEUED --- popped ---> RUNNING ---> dropped, or kept by whoever has it
 *       |
 *       `-- (TimerObject) set in the wheel, in the loop's list --- due ---> core's ready --- drain ---> QUEUED
 *
 * Neither type derives from asyncio's: those have slots of their own, with which a C struct cannot share an
 * object, and a C type over a Python class with its own traverse hangs the collector. `__class__` answers
 * with asyncio's, which is what isinstance() asks.
 *
 * Invariants: who is in the ring, or in the loop's list of timers, is referenced by it. A cancel while the
 * callback runs lets go of nothing before it returns.
 */
#include "ext/handle.h"

#include "ext/compat.h"
#include "ext/loop.h"
#include "ext/state.h"
#include "ext/transport.h"

#include <stddef.h>
#include <structmember.h>

/* ---- making ------------------------------------------------------------------------------------ */

static PyObject *
allocate(struct free_list *list, PyTypeObject *type)
{
    if (list->count > 0) {
        PyObject *const object = PyObject_Init(list->items[--list->count], type);

        return object;
    }
    return (PyObject *)PyObject_GC_New(HandleObject, type);
}

/* Where it was made, as asyncio's handles know it in debug mode. */
static int
note_origin(HandleObject *handle)
{
    handle->source_traceback =
        PyObject_CallMethod(handle->loop->state->format_helpers, "extract_stack", NULL);
    return handle->source_traceback == NULL ? -1 : 0;
}

static int
fill(HandleObject *handle, struct LoopObject *loop, PyObject *callback, PyObject *const *args,
     Py_ssize_t n_args, PyObject *context)
{
    handle->loop = (struct LoopObject *)Py_NewRef((PyObject *)loop);
    handle->callback = Py_NewRef(callback);
    handle->context = context != NULL ? Py_NewRef(context) : PyContext_CopyCurrent();
    handle->args = NULL;
    handle->source_traceback = NULL;
    handle->repr = NULL;
    handle->weak_references = NULL;
    handle->flags = 0;
    handle->n_args = 0;
    if (n_args <= IORA__INLINE_ARGS) {
        for (Py_ssize_t i = 0; i < n_args; i++)
            handle->slots[1 + i] = Py_NewRef(args[i]);
        handle->n_args = (uint8_t)n_args;
    } else if ((handle->args = PyTuple_New(n_args)) != NULL) {
        for (Py_ssize_t i = 0; i < n_args; i++)
            PyTuple_SET_ITEM(handle->args, i, Py_NewRef(args[i]));
    } else {
        return -1;
    }
    if (handle->context == NULL)
        return -1;
    return loop->debug ? note_origin(handle) : 0;
}

HandleObject *
iora__handle_new(struct LoopObject *loop, PyObject *callback, PyObject *const *args,
                 Py_ssize_t n_args, PyObject *context)
{
    struct state *const state = loop->state;
    HandleObject *const handle = (HandleObject *)allocate(&state->handles, state->handle_type);

    if (handle == NULL)
        return NULL;
    if (fill(handle, loop, callback, args, n_args, context) < 0) {
        Py_DECREF(handle);
        return NULL;
    }
    PyObject_GC_Track((PyObject *)handle);
    return handle;
}

static PyObject *
allocate_timer(struct state *state)
{
    if (state->timers.count > 0)
        return allocate(&state->timers, state->timer_type);
    return (PyObject *)PyObject_GC_New(TimerObject, state->timer_type);
}

TimerObject *
iora__timer_new(struct LoopObject *loop, double when, PyObject *callback, PyObject *const *args,
                Py_ssize_t n_args, PyObject *context)
{
    TimerObject *const timer = (TimerObject *)allocate_timer(loop->state);

    if (timer == NULL)
        return NULL;
    timer->when = when;
    timer->timer = (struct iora__timer){0};
    timer->ready = (struct iora__ready){0};
    timer->in_loop = (struct iora__link){0};
    if (fill(&timer->handle, loop, callback, args, n_args, context) < 0) {
        Py_DECREF(timer);
        return NULL;
    }
    PyObject_GC_Track((PyObject *)timer);
    return timer;
}

/* ---- ending ------------------------------------------------------------------------------------- */

void
iora__handle_forget(HandleObject *handle)
{
    const uint8_t n_args = handle->n_args;
    PyObject *const args = handle->args;
    PyObject *const callback = handle->callback;
    PyObject *inline_args[IORA__INLINE_ARGS];

    /* Letting go may run anything, this handle's methods too: it is empty before that. */
    for (int i = 0; i < n_args; i++)
        inline_args[i] = handle->slots[1 + i];
    handle->n_args = 0;
    handle->args = NULL;
    handle->callback = NULL;
    for (int i = 0; i < n_args; i++)
        Py_DECREF(inline_args[i]);
    Py_XDECREF(args);
    Py_XDECREF(callback);
}

/* Not the loop: its own clear breaks the cycle, and our methods need it. */
static int
handle_clear(HandleObject *handle)
{
    iora__handle_forget(handle);
    return 0;
}

static int
handle_traverse(HandleObject *handle, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(handle));
    Py_VISIT(handle->loop);
    Py_VISIT(handle->callback);
    Py_VISIT(handle->context);
    Py_VISIT(handle->args);
    Py_VISIT(handle->source_traceback);
    for (int i = 0; i < handle->n_args; i++)
        Py_VISIT(handle->slots[1 + i]);
    return 0;
}

/* The type is looked at when the object's memory goes, so it goes after it; the loop goes last, since the module
 * and its state may go with it. */
static void
let_go(HandleObject *handle, struct free_list *list)
{
    struct LoopObject *const loop = handle->loop;
    PyTypeObject *const type = Py_TYPE(handle);

    PyObject_GC_UnTrack(handle);
    if (handle->weak_references != NULL)
        PyObject_ClearWeakRefs((PyObject *)handle);
    iora__handle_forget(handle);
    Py_XDECREF(handle->context);
    Py_XDECREF(handle->source_traceback);
    Py_XDECREF(handle->repr);
    if (!loop->state->is_gone && list->count < IORA__FREE_HANDLES_MAX)
        list->items[list->count++] = (PyObject *)handle;
    else
        PyObject_GC_Del(handle);
    Py_DECREF(type);
    Py_DECREF(loop);
}

static void
handle_dealloc(HandleObject *handle)
{
    let_go(handle, &handle->loop->state->handles);
}

static void
timer_dealloc(TimerObject *timer)
{
    let_go(&timer->handle, &timer->handle.loop->state->timers);
}

static void
clear_list(struct free_list *list)
{
    while (list->count > 0)
        PyObject_GC_Del(list->items[--list->count]);
}

void
iora__free_list_clear(struct state *state)
{
    clear_list(&state->handles);
    clear_list(&state->timers);
}

/* ---- running -------------------------------------------------------------------------------------- */

static PyObject *
args_tuple(const HandleObject *handle)
{
    if (handle->args != NULL)
        return Py_NewRef(handle->args);

    PyObject *const tuple = PyTuple_New(handle->n_args);
    for (int i = 0; tuple != NULL && i < handle->n_args; i++)
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(handle->slots[1 + i]));
    return tuple;
}

/* "f(1, 2) at file:line", as asyncio says it. */
static PyObject *
describe_callback(HandleObject *handle)
{
    struct LoopObject *const loop = handle->loop;
    PyObject *const args = args_tuple(handle);
    PyObject *text = NULL;

    if (args == NULL)
        return NULL;
#if PY_VERSION_HEX >= 0x030d0000
    PyObject *const format =
        PyObject_GetAttrString(loop->state->format_helpers, "_format_callback_source");
    PyObject *const positional = PyTuple_Pack(2, handle->callback, args);
    PyObject *const keywords = Py_BuildValue("{s:i}", "debug", (int)loop->debug);
    if (format != NULL && positional != NULL && keywords != NULL)
        text = PyObject_Call(format, positional, keywords);
    Py_XDECREF(format);
    Py_XDECREF(positional);
    Py_XDECREF(keywords);
#else
    text = PyObject_CallMethod(loop->state->format_helpers, "_format_callback_source", "OO",
                               handle->callback, args);
#endif
    Py_DECREF(args);
    return text;
}

/* What is handled is kept by who runs, a coroutine for one; where it has none, what is seen is that of who runs it. */
PyObject *
iora__loop_tell_handler(LoopObject *loop, PyObject *exception, PyObject *details)
{
    PyObject *const before = PyErr_GetHandledException();
    PyObject *below, *result;

    PyErr_SetHandledException(NULL);
    below = PyErr_GetHandledException();
    PyErr_SetHandledException(exception);
    result = PyObject_CallMethodOneArg((PyObject *)loop, loop->state->str_call_exception_handler,
                                       details);
    PyErr_SetHandledException(before != below ? before : NULL);
    Py_XDECREF(below);
    Py_XDECREF(before);
    return result;
}

int
iora__handle_report(HandleObject *handle)
{
    PyObject *exception, *callback, *message, *details = NULL, *result = NULL;

    if (PyErr_ExceptionMatches(PyExc_SystemExit) || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        return -1;
    exception = iora__take_exception();
    if ((callback = describe_callback(handle)) == NULL) {
        PyErr_Clear();
        callback = PyUnicode_FromString("that cannot be shown");
    }
    message = callback != NULL ? PyUnicode_FromFormat("Exception in callback %U", callback) : NULL;
    if (message != NULL)
        details = Py_BuildValue("{s:O,s:O,s:O}", "message", message, "exception", exception,
                                "handle", (PyObject *)handle);
    if (details != NULL && handle->source_traceback != NULL &&
        PyDict_SetItemString(details, "source_traceback", handle->source_traceback) < 0)
        Py_CLEAR(details);
    if (details != NULL)
        result = iora__loop_tell_handler(handle->loop, exception, details);
    Py_XDECREF(callback);
    Py_XDECREF(message);
    Py_XDECREF(details);
    Py_XDECREF(exception);
    if (result == NULL)
        return -1;
    Py_DECREF(result);
    return 0;
}

static PyObject *
call(HandleObject *handle)
{
    if (handle->args != NULL)
        return PyObject_Call(handle->callback, handle->args, NULL);
    return PyObject_Vectorcall(handle->callback, handle->slots + 1,
                               handle->n_args | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
}

int
iora__handle_run(HandleObject *handle)
{
    const uint8_t was_running = handle->flags & IORA__RUNNING; /* it is run by what it calls */
    PyObject *result = NULL;
    int rc = 0;

    handle->flags |= IORA__RUNNING;
    if (PyContext_Enter(handle->context) == 0) {
        result = call(handle);
        iora__loop_callback_returned(handle->loop);
        if (PyContext_Exit(handle->context) < 0)
            Py_CLEAR(result);
    }
    if (result != NULL)
        Py_DECREF(result);
    else
        rc = iora__handle_report(handle);
    handle->flags = (uint8_t)((handle->flags & ~IORA__RUNNING) | was_running);
    if ((handle->flags & (IORA__CANCELLED | IORA__RUNNING)) == IORA__CANCELLED)
        iora__handle_forget(handle);
    return rc;
}

/* ---- what Python sees ------------------------------------------------------------------------------- */

static PyObject *
handle_repr(HandleObject *handle)
{
    PyObject *parts, *part = NULL, *inner, *blank, *text = NULL;
    const bool is_timer = Py_TYPE(handle) == handle->loop->state->timer_type;

    if (handle->repr != NULL)
        return Py_NewRef(handle->repr);
    if ((parts = PyList_New(0)) == NULL)
        return NULL;
#define ADD(make)                                                                                  \
    do {                                                                                           \
        if ((part = (make)) == NULL || PyList_Append(parts, part) < 0)                             \
            goto fail;                                                                             \
        Py_CLEAR(part);                                                                            \
    } while (0)
    ADD(PyUnicode_FromString(is_timer ? "TimerHandle" : "Handle"));
    if (handle->flags & IORA__CANCELLED)
        ADD(PyUnicode_FromString("cancelled"));
    if (is_timer) {
        PyObject *const when = PyFloat_FromDouble(((TimerObject *)handle)->when);

        if (when == NULL)
            goto fail;
        part = PyUnicode_FromFormat("when=%R", when);
        Py_DECREF(when);
        ADD(part);
    }
    if (handle->callback != NULL)
        ADD(describe_callback(handle));
    if (handle->source_traceback != NULL && PySequence_Size(handle->source_traceback) > 0) {
        PyObject *const frame = PySequence_GetItem(handle->source_traceback, -1);
        PyObject *const file = frame != NULL ? PySequence_GetItem(frame, 0) : NULL;
        PyObject *const line = file != NULL ? PySequence_GetItem(frame, 1) : NULL;

        part = line != NULL ? PyUnicode_FromFormat("created at %S:%S", file, line) : NULL;
        Py_XDECREF(frame);
        Py_XDECREF(file);
        Py_XDECREF(line);
        ADD(part);
    }
#undef ADD
    if ((blank = PyUnicode_FromString(" ")) != NULL) {
        inner = PyUnicode_Join(blank, parts);
        text = inner != NULL ? PyUnicode_FromFormat("<%U>", inner) : NULL;
        Py_XDECREF(inner);
        Py_DECREF(blank);
    }
fail:
    Py_XDECREF(part);
    Py_DECREF(parts);
    return text;
}

int
iora__handle_cancel(HandleObject *handle)
{
    if (handle->flags & IORA__CANCELLED)
        return 0;
    handle->flags |= IORA__CANCELLED;
    if (handle->loop->debug && (handle->repr = handle_repr(handle)) == NULL)
        return -1;
    if (Py_TYPE(handle) == handle->loop->state->timer_type)
        iora__loop_drop_timer(handle->loop, (TimerObject *)handle);
    if (!(handle->flags & IORA__RUNNING))
        iora__handle_forget(handle);
    return 0;
}

static PyObject *
handle_cancel(PyObject *self, PyObject *unused)
{
    (void)unused;
    Py_INCREF(self); /* the loop's reference may be the last */
    const int rc = iora__handle_cancel((HandleObject *)self);
    Py_DECREF(self);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
handle_cancelled(HandleObject *handle, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(handle->flags & IORA__CANCELLED);
}

static PyObject *
handle_get_context(HandleObject *handle, PyObject *unused)
{
    (void)unused;
    return Py_NewRef(handle->context);
}

static PyObject *
handle_run_method(HandleObject *handle, PyObject *unused)
{
    (void)unused;
    if (handle->callback != NULL && iora__handle_run(handle) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
get_class(HandleObject *handle, void *unused)
{
    struct state *const state = handle->loop->state;

    (void)unused;
    return Py_NewRef(Py_TYPE(handle) == state->timer_type ? state->asyncio_timer
                                                          : state->asyncio_handle);
}

static PyObject *
get_callback(HandleObject *handle, void *unused)
{
    (void)unused;
    if (handle->callback == NULL || handle->flags & IORA__CANCELLED)
        Py_RETURN_NONE;
    return Py_NewRef(handle->callback);
}

static PyObject *
get_args(HandleObject *handle, void *unused)
{
    (void)unused;
    if (handle->callback == NULL || handle->flags & IORA__CANCELLED)
        Py_RETURN_NONE;
    return args_tuple(handle);
}

static PyObject *
get_cancelled(HandleObject *handle, void *unused)
{
    (void)unused;
    return PyBool_FromLong(handle->flags & IORA__CANCELLED);
}

static PyMemberDef handle_members[] = {
    {"_loop", T_OBJECT, offsetof(HandleObject, loop), READONLY, NULL},
    {"_context", T_OBJECT, offsetof(HandleObject, context), READONLY, NULL},
    {"_source_traceback", T_OBJECT, offsetof(HandleObject, source_traceback), READONLY, NULL},
    {"_repr", T_OBJECT, offsetof(HandleObject, repr), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(HandleObject, weak_references), READONLY, NULL},
    {0},
};

static PyGetSetDef handle_getset[] = {
    {"__class__", (getter)get_class, NULL, NULL, NULL},
    {"_callback", (getter)get_callback, NULL, NULL, NULL},
    {"_args", (getter)get_args, NULL, NULL, NULL},
    {"_cancelled", (getter)get_cancelled, NULL, NULL, NULL},
    {0},
};

static PyMethodDef handle_methods[] = {
    {"cancel", handle_cancel, METH_NOARGS,
     PyDoc_STR("cancel($self, /)\n--\n\nMake sure that the callback does not run any more.")},
    {"cancelled", (PyCFunction)handle_cancelled, METH_NOARGS,
     PyDoc_STR("cancelled($self, /)\n--\n\nWhether cancel() was called.")},
    {"get_context", (PyCFunction)handle_get_context, METH_NOARGS,
     PyDoc_STR("get_context($self, /)\n--\n\nThe context in which the callback runs.")},
    {"_run", (PyCFunction)handle_run_method, METH_NOARGS, NULL},
    {0},
};

static PyType_Slot handle_slots[] = {
    {Py_tp_dealloc, handle_dealloc}, {Py_tp_traverse, handle_traverse},
    {Py_tp_clear, handle_clear},     {Py_tp_repr, handle_repr},
    {Py_tp_methods, handle_methods}, {Py_tp_members, handle_members},
    {Py_tp_getset, handle_getset},   {0},
};

static PyType_Spec handle_spec = {
    .name = "iora._c.Handle",
    .basicsize = sizeof(HandleObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = handle_slots,
};

static PyObject *
timer_when(TimerObject *timer, PyObject *unused)
{
    (void)unused;
    return PyFloat_FromDouble(timer->when);
}

static PyObject *
get_scheduled(TimerObject *timer, void *unused)
{
    (void)unused;
    return PyBool_FromLong(iora__link_is_linked(&timer->in_loop));
}

static Py_hash_t
timer_hash(TimerObject *timer)
{
    PyObject *const when = PyFloat_FromDouble(timer->when);

    if (when == NULL)
        return -1;
    const Py_hash_t hash = PyObject_Hash(when);
    Py_DECREF(when);
    return hash;
}

/* asyncio compares callback, arguments and state for equality, and times for order. */
static int
are_equal(TimerObject *timer, PyObject *other)
{
    static const char *const names[] = {"_when", "_callback", "_args", "_cancelled"};
    int equal = 1;

    for (size_t i = 0; equal == 1 && i < sizeof names / sizeof *names; i++) {
        PyObject *const ours = PyObject_GetAttrString((PyObject *)timer, names[i]);
        PyObject *const theirs = ours != NULL ? PyObject_GetAttrString(other, names[i]) : NULL;

        equal = theirs != NULL ? PyObject_RichCompareBool(ours, theirs, Py_EQ) : -1;
        Py_XDECREF(ours);
        Py_XDECREF(theirs);
    }
    return equal;
}

static PyObject *
timer_compare(TimerObject *timer, PyObject *other, int how)
{
    const int is_timer = PyObject_IsInstance(other, timer->handle.loop->state->asyncio_timer);
    PyObject *when, *result;
    int equal = 0;

    if (is_timer <= 0)
        return is_timer < 0 ? NULL : Py_NewRef(Py_NotImplemented);
    if (how != Py_LT && how != Py_GT && (equal = are_equal(timer, other)) < 0)
        return NULL;
    if (how == Py_EQ || how == Py_NE)
        return PyBool_FromLong(how == Py_EQ ? equal : !equal);
    if (equal)
        Py_RETURN_TRUE;
    if ((when = PyObject_GetAttrString(other, "_when")) == NULL)
        return NULL;
    PyObject *const ours = PyFloat_FromDouble(timer->when);
    result = ours == NULL
                 ? NULL
                 : PyObject_RichCompare(ours, when, how == Py_LT || how == Py_LE ? Py_LT : Py_GT);
    Py_XDECREF(ours);
    Py_DECREF(when);
    return result;
}

static PyMemberDef timer_members[] = {
    {"_when", T_DOUBLE, offsetof(TimerObject, when), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(HandleObject, weak_references), READONLY, NULL},
    {0},
};

static PyGetSetDef timer_getset[] = {
    {"_scheduled", (getter)get_scheduled, NULL, NULL, NULL},
    {0},
};

static PyMethodDef timer_methods[] = {
    {"when", (PyCFunction)timer_when, METH_NOARGS,
     PyDoc_STR("when($self, /)\n--\n\nThe time of the loop's clock at which the callback is due.")},
    {0},
};

static PyType_Slot timer_slots[] = {
    {Py_tp_dealloc, timer_dealloc},
    {Py_tp_traverse, handle_traverse},
    {Py_tp_clear, handle_clear},
    {Py_tp_hash, timer_hash},
    {Py_tp_richcompare, timer_compare},
    {Py_tp_methods, timer_methods},
    {Py_tp_members, timer_members},
    {Py_tp_getset, timer_getset},
    {0},
};

static PyType_Spec timer_spec = {
    .name = "iora._c.TimerHandle",
    .basicsize = sizeof(TimerObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = timer_slots,
};

int
iora__handle_add_types(PyObject *module, struct state *state)
{
    state->handle_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &handle_spec, NULL);
    if (state->handle_type == NULL)
        return -1;
    state->timer_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &timer_spec,
                                                                 (PyObject *)state->handle_type);
    if (state->timer_type == NULL)
        return -1;
    return 0;
}
