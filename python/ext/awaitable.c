/* ext/awaitable.c -- coroutines written in C.
 *
 * An awaitable is what a call of an `async def` gives: it does nothing until it is awaited, is awaited once, and
 * warns if it never is. Its body is a *step*, a C function that is called once for each stretch between two awaits
 * and says what it wants next (awaitable.h):
 *
 *     step(self, value, &out)  --> IORA__AWAIT   out is awaited; what comes of it goes to the next step
 *                              --> IORA__YIELD   suspends for one turn of the loop
 *                              --> IORA__RETURN, IORA__RAISE: the end
 *
 * The rest is here: send, throw and close go to what is awaited first, as `yield from` would have it.
 *
 *     NEW --- first send --> RUNNING <--> SUSPENDED
 *      |                        |             |
 *      '-- close, throw --------+-------------'--> DONE     nothing is referenced any more
 *
 * One type serves all kinds, of one size, so that dropped ones are kept for the next whatever they were. They are
 * coroutines to asyncio and to collections.abc by what they can do. To inspect.iscoroutine() they are not: that
 * asks for the interpreter's own type.
 *
 * A value is returned without an exception by am_send, which is what the interpreter uses up to 3.11 and tasks use
 * on all versions. From 3.12 on `await` takes tp_iternext, and a value other than None travels in a StopIteration:
 * ours are of a subclass whose objects are kept for the next when they are dropped. One object used again and
 * again was rejected: it would keep the last value alive.
 */
#include "ext/awaitable.h"

#include "ext/compat.h"
#include "ext/state.h"

#include <stddef.h>
#include <structmember.h>

enum { NEW, SUSPENDED, RUNNING, DONE };

static PySendResult awaitable_am_send(AwaitableObject *self, PyObject *value, PyObject **out);

/* ---- making and ending --------------------------------------------------------------------------- */

/* One of the free list, alive again: PyObject_Init() without the call. */
static AwaitableObject *
revive(struct state *state)
{
    AwaitableObject *const self =
        (AwaitableObject *)state->awaitables.items[--state->awaitables.count];

#ifdef Py_TRACE_REFS
    return (AwaitableObject *)PyObject_Init((PyObject *)self, state->awaitable_type);
#else
    Py_INCREF(state->awaitable_type);
    Py_SET_REFCNT((PyObject *)self, 1);
    return self;
#endif
}

AwaitableObject *
iora__awaitable_new(struct state *state, const struct iora__awaitable_kind *kind)
{
    AwaitableObject *self;

    if (state->awaitables.count > 0) {
        self = revive(state);
    } else if (state->is_gone) {
        PyErr_SetString(PyExc_RuntimeError, "iora has been torn down");
        return NULL;
    } else {
        self = PyObject_GC_New(AwaitableObject, state->awaitable_type);
        if (self == NULL)
            return NULL;
    }
    Py_INCREF(state->module);
    self->state = state;
    self->kind = kind;
    self->inner = NULL;
    self->weak_references = NULL;
    for (int i = 0; i < IORA__AWAITABLE_REFS; i++)
        self->refs[i] = NULL;
    self->number = 0;
    self->phase = 0;
    self->status = NEW;
    self->is_finalized = false;
    PyObject_GC_Track((PyObject *)self);
    return self;
}

static int
awaitable_clear(AwaitableObject *self)
{
    Py_CLEAR(self->inner);
    for (int i = 0; i < IORA__AWAITABLE_REFS; i++)
        Py_CLEAR(self->refs[i]);
    return 0;
}

static int
awaitable_traverse(AwaitableObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->state->module);
    Py_VISIT(self->inner);
    for (int i = 0; i < IORA__AWAITABLE_REFS; i++)
        Py_VISIT(self->refs[i]);
    return 0;
}

/* It is done, and references nothing. */
static void
free_done(AwaitableObject *self)
{
    PyTypeObject *const type = Py_TYPE(self);
    struct state *const state = self->state;
    PyObject *const module = state->module;

    PyObject_GC_UnTrack(self);
    if (self->weak_references != NULL)
        PyObject_ClearWeakRefs((PyObject *)self);
    /* What was finalized is marked, and could not be finalized again. */
    if (!self->is_finalized && !state->is_gone && state->awaitables.count < IORA__FREE_HANDLES_MAX)
        state->awaitables.items[state->awaitables.count++] = (PyObject *)self;
    else
        PyObject_GC_Del(self);
    Py_DECREF(type);
    Py_DECREF(module);
}

static void
awaitable_dealloc(AwaitableObject *self)
{
    if (self->status == DONE) {
        free_done(self);
        return;
    }
    /* Its end lets go of what it was to await, which may be one of us: how deep that goes the interpreter limits. */
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, awaitable_dealloc);
    PyObject_GC_Track(self);
    if (PyObject_CallFinalizerFromDealloc((PyObject *)self) == 0)
        free_done(self);
    Py_TRASHCAN_END;
}

void
iora__awaitable_free_list_clear(struct state *state)
{
    while (state->awaitables.count > 0)
        PyObject_GC_Del(state->awaitables.items[--state->awaitables.count]);
    while (state->stops.count > 0)
        PyObject_GC_Del(state->stops.items[--state->stops.count]);
}

static PyObject *
return_self(PyObject *self)
{
    return Py_NewRef(self);
}

/* ---- what is awaited ------------------------------------------------------------------------------- */

static bool
is_iterable_coroutine(PyObject *object)
{
    PyObject *const code =
        PyGen_CheckExact(object) ? PyObject_GetAttrString(object, "gi_code") : NULL;
    bool is = false;

    if (code != NULL) {
        is = ((PyCodeObject *)code)->co_flags & CO_ITERABLE_COROUTINE;
        Py_DECREF(code);
    }
    return is;
}

PyObject *
iora__await_iter(PyObject *awaitable)
{
    const PyAsyncMethods *const methods = Py_TYPE(awaitable)->tp_as_async;
    PyObject *iterator;

    if (PyCoro_CheckExact(awaitable) || is_iterable_coroutine(awaitable))
        return Py_NewRef(awaitable);
    if (methods == NULL || methods->am_await == NULL) {
        PyErr_Format(PyExc_TypeError, "object %.100s can't be used in 'await' expression",
                     Py_TYPE(awaitable)->tp_name);
        return NULL;
    }
    iterator = methods->am_await(awaitable);
    if (iterator != NULL && !PyIter_Check(iterator)) {
        PyErr_Format(PyExc_TypeError, "__await__() returned non-iterator of type '%.100s'",
                     Py_TYPE(iterator)->tp_name);
        Py_CLEAR(iterator);
    }
    return iterator;
}

/* Its close(), if it has one. */
static int
close_iterator(struct state *state, PyObject *iterator)
{
    PyObject *const method = PyObject_GetAttr(iterator, state->str_close);
    PyObject *result;

    if (method == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError))
            return -1;
        PyErr_Clear();
        return 0;
    }
    result = PyObject_CallNoArgs(method);
    Py_DECREF(method);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* The value of the StopIteration that is set; NULL leaves any other exception. */
static PyObject *
take_stop_value(void)
{
    PyObject *exception, *value;

    if (!PyErr_Occurred())
        return Py_NewRef(Py_None);
    if (!PyErr_ExceptionMatches(PyExc_StopIteration))
        return NULL;
    if ((exception = iora__take_exception()) == NULL)
        return NULL;
    value = Py_NewRef(((PyStopIterationObject *)exception)->value);
    Py_DECREF(exception);
    return value;
}

/* Throw the exception that is set into what is awaited. */
static PySendResult
throw_into(AwaitableObject *self, PyObject **out)
{
    PyObject *exception, *method;

    if (PyErr_ExceptionMatches(PyExc_GeneratorExit)) {
        exception = iora__take_exception();
        if (close_iterator(self->state, self->inner) < 0)
            Py_DECREF(exception);
        else
            iora__raise_exception(exception);
        return PYGEN_ERROR;
    }
    exception = iora__take_exception();
    if ((method = PyObject_GetAttr(self->inner, self->state->str_throw)) == NULL) {
        if (PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_Clear();
            iora__raise_exception(exception);
        } else {
            Py_DECREF(exception);
        }
        return PYGEN_ERROR;
    }
    *out = PyObject_CallOneArg(method, exception);
    Py_DECREF(method);
    Py_DECREF(exception);
    if (*out != NULL)
        return PYGEN_NEXT;
    return (*out = take_stop_value()) != NULL ? PYGEN_RETURN : PYGEN_ERROR;
}

/* ---- running ------------------------------------------------------------------------------------------ */

/* Send to what is awaited. Of a chain of ours the interpreter knows nothing: it is told, so that it ends in a
 * RecursionError. What is another's is checked there. */
static PySendResult
send_into(AwaitableObject *self, PyObject *value, PyObject **out)
{
    PySendResult sent;

    if (!Py_IS_TYPE(self->inner, self->state->awaitable_type))
        return PyIter_Send(self->inner, value, out);
    if (Py_EnterRecursiveCall(" while awaiting"))
        return PYGEN_ERROR;
    sent = awaitable_am_send((AwaitableObject *)self->inner, value, out);
    Py_LeaveRecursiveCall();
    return sent;
}

/* A StopIteration must not leave a coroutine as an exception of its body. */
static void
convert_stop(void)
{
    PyObject *stop, *error;

    if (!PyErr_ExceptionMatches(PyExc_StopIteration))
        return;
    stop = iora__take_exception();
    PyErr_SetString(PyExc_RuntimeError, "coroutine raised StopIteration");
    if ((error = iora__take_exception()) == NULL) {
        Py_DECREF(stop);
        return;
    }
    PyException_SetCause(error, Py_NewRef(stop));
    PyException_SetContext(error, stop);
    iora__raise_exception(error);
}

static void
finish(AwaitableObject *self)
{
    self->status = DONE;
    (void)awaitable_clear(self);
}

/* Go from step to step while there is nothing to wait for. Takes the reference to value; NULL: an exception is set. */
static PySendResult
run_steps(AwaitableObject *self, PyObject *value, PyObject **out)
{
    for (;;) {
        PyObject *result = NULL;
        const enum iora__outcome outcome = self->kind->step(self, value, &result);
        PySendResult sent;

        Py_XDECREF(value);
        switch (outcome) {
        case IORA__RETURN:
            finish(self);
            *out = result;
            return PYGEN_RETURN;
        case IORA__RAISE:
            convert_stop();
            self->status = DONE;
            {
                PyObject *const exception = iora__take_exception();

                (void)awaitable_clear(self);
                iora__raise_exception(exception);
            }
            return PYGEN_ERROR;
        case IORA__YIELD:
            self->status = SUSPENDED;
            *out = Py_NewRef(Py_None);
            return PYGEN_NEXT;
        case IORA__AWAIT:
            break;
        }
        self->inner = iora__await_iter(result);
        Py_DECREF(result);
        value = NULL;
        if (self->inner == NULL)
            continue;
        sent = send_into(self, Py_None, &value);
        if (sent == PYGEN_NEXT) {
            self->status = SUSPENDED;
            *out = value;
            return PYGEN_NEXT;
        }
        if (sent == PYGEN_ERROR)
            value = NULL;
        Py_CLEAR(self->inner);
    }
}

/* Go on with a value (borrowed), or with the exception that is set if it is NULL. */
static PySendResult
go_on(AwaitableObject *self, PyObject *value, PyObject **out)
{
    PySendResult sent;
    PyObject *got = NULL;

    self->status = RUNNING;
    if (self->inner == NULL)
        return run_steps(self, Py_XNewRef(value), out);
    sent = value != NULL ? send_into(self, value, &got) : throw_into(self, &got);
    if (sent == PYGEN_NEXT) {
        self->status = SUSPENDED;
        *out = got;
        return PYGEN_NEXT;
    }
    Py_CLEAR(self->inner);
    return run_steps(self, sent == PYGEN_RETURN ? got : NULL, out);
}

static int
check_usable(AwaitableObject *self)
{
    if (self->status == RUNNING)
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
    else if (self->status == DONE)
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
    else
        return 0;
    return -1;
}

static PySendResult
take_turn(AwaitableObject *self, PyObject **out)
{
    if (self->status == NEW) {
        self->status = SUSPENDED;
        *out = Py_NewRef(Py_None);
        return PYGEN_NEXT;
    }
    self->status = DONE;
    *out = self->refs[0];
    self->refs[0] = NULL;
    return PYGEN_RETURN;
}

static PySendResult
awaitable_am_send(AwaitableObject *self, PyObject *value, PyObject **out)
{
    PySendResult sent;

    *out = NULL;
    if (self->status >= RUNNING && check_usable(self) < 0)
        return PYGEN_ERROR;
    if (self->status == NEW && value != Py_None) {
        PyErr_SetString(PyExc_TypeError, "can't send non-None value to a just-started coroutine");
        return PYGEN_ERROR;
    }
    if (self->kind->is_turn)
        return take_turn(self, out);
    Py_INCREF(self);
    sent = go_on(self, value, out);
    Py_DECREF(self);
    return sent;
}

/* With the exception that is set. */
static PySendResult
throw_set(AwaitableObject *self, PyObject **out)
{
    PySendResult sent;

    *out = NULL;
    if (self->status == NEW) {
        PyObject *const exception = iora__take_exception();

        finish(self);
        iora__raise_exception(exception);
        return PYGEN_ERROR;
    }
    Py_INCREF(self);
    sent = go_on(self, NULL, out);
    Py_DECREF(self);
    return sent;
}

static PyObject *
awaitable_await(AwaitableObject *self)
{
    if (self->status == SUSPENDED) {
        PyErr_SetString(PyExc_RuntimeError, "coroutine is being awaited already");
        return NULL;
    }
    return Py_NewRef((PyObject *)self);
}

/* ---- what a generator gives by exceptions -------------------------------------------------------------- */

static PyObject *
raise_stop(PyObject *value)
{
    PyObject *exception;

    if (value == Py_None) {
        PyErr_SetNone(PyExc_StopIteration);
    } else if ((exception = PyObject_CallOneArg(PyExc_StopIteration, value)) != NULL) {
        PyErr_SetObject(PyExc_StopIteration, exception);
        Py_DECREF(exception);
    }
    Py_DECREF(value);
    return NULL;
}

static PyObject *
as_call_result(PySendResult sent, PyObject *out)
{
    return sent == PYGEN_RETURN ? raise_stop(out) : out;
}

#if PY_VERSION_HEX >= 0x030c0000

typedef struct {
    PyStopIterationObject stop;
    struct state *state; /* holds the module; NULL in one that was made from outside */
} LightStopObject;

static void
stop_dealloc(PyObject *object)
{
    PyStopIterationObject *const stop = (PyStopIterationObject *)object;
    PyTypeObject *const type = Py_TYPE(object);
    struct state *const state = ((LightStopObject *)object)->state;
    PyObject *const module = state != NULL ? state->module : NULL;

    PyObject_GC_UnTrack(object);
    Py_CLEAR(stop->dict);
    Py_CLEAR(stop->args);
    Py_CLEAR(stop->notes);
    Py_CLEAR(stop->traceback);
    Py_CLEAR(stop->context);
    Py_CLEAR(stop->cause);
    Py_CLEAR(stop->value);
    if (state != NULL && !state->is_gone && state->stops.count < IORA__FREE_HANDLES_MAX)
        state->stops.items[state->stops.count++] = object;
    else
        PyObject_GC_Del(object);
    Py_DECREF(type);
    Py_XDECREF(module);
}

static int
stop_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    return ((PyTypeObject *)PyExc_StopIteration)->tp_traverse(object, visit, arg);
}

static PyType_Slot stop_slots[] = {
    {Py_tp_dealloc, stop_dealloc},
    {Py_tp_traverse, stop_traverse},
    {0},
};

static PyType_Spec stop_spec = {
    .name = "iora._c.StopIteration",
    .basicsize = sizeof(LightStopObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = stop_slots,
};

/* For `await`, which looks at nothing but the value. */
static PyObject *
raise_light_stop(struct state *state, PyObject *value)
{
    PyStopIterationObject *stop;

    if (state->stops.count == 0)
        return raise_stop(value);
    stop = (PyStopIterationObject *)PyObject_Init(state->stops.items[--state->stops.count],
                                                  state->stop_type);
    stop->args = PyTuple_New(0); /* the one empty tuple */
    stop->suppress_context = 0;
    stop->value = value;
    Py_INCREF(state->module);
    PyObject_GC_Track((PyObject *)stop);
    PyErr_SetRaisedException((PyObject *)stop);
    return NULL;
}

#endif

static PyObject *
awaitable_next(AwaitableObject *self)
{
    struct state *const state = self->state;
    PyObject *out;
    const PySendResult sent = awaitable_am_send(self, Py_None, &out);

    if (sent != PYGEN_RETURN)
        return out;
    if (out == Py_None) {
        Py_DECREF(out);
        return NULL;
    }
#if PY_VERSION_HEX >= 0x030c0000
    return raise_light_stop(state, out);
#else
    (void)state;
    return raise_stop(out);
#endif
}

static PyObject *
awaitable_send(AwaitableObject *self, PyObject *value)
{
    PyObject *out;
    const PySendResult sent = awaitable_am_send(self, value, &out);

    return as_call_result(sent, out);
}

/* Set the exception that throw(type[, value[, traceback]]) means. */
static int
set_thrown(PyObject *const *args, Py_ssize_t n)
{
    PyObject *const type = n > 0 ? args[0] : NULL;
    PyObject *const traceback = n > 2 && args[2] != Py_None ? args[2] : NULL;
    PyObject *value = n > 1 && args[1] != Py_None ? args[1] : NULL;

    if (n < 1 || n > 3) {
        PyErr_Format(PyExc_TypeError, "throw expected 1 to 3 arguments, got %zd", n);
        return -1;
    }
    if (traceback != NULL && !PyTraceBack_Check(traceback)) {
        PyErr_SetString(PyExc_TypeError, "throw() third argument must be a traceback object");
        return -1;
    }
    if (PyExceptionInstance_Check(type)) {
        if (value != NULL) {
            PyErr_SetString(PyExc_TypeError, "instance exception may not have a separate value");
            return -1;
        }
        value = Py_NewRef(type);
    } else if (PyExceptionClass_Check(type)) {
        PyErr_SetObject(type, value);
        if ((value = iora__take_exception()) == NULL)
            return -1;
    } else {
        PyErr_Format(PyExc_TypeError,
                     "exceptions must be classes or instances deriving from BaseException, not %s",
                     Py_TYPE(type)->tp_name);
        return -1;
    }
    if (traceback != NULL)
        (void)PyException_SetTraceback(value, traceback);
    iora__raise_exception(value);
    return 0;
}

static PyObject *
awaitable_throw(AwaitableObject *self, PyObject *const *args, Py_ssize_t n)
{
    PySendResult sent;
    PyObject *out;

    if (check_usable(self) < 0 || set_thrown(args, n) < 0)
        return NULL;
    sent = throw_set(self, &out);
    return as_call_result(sent, out);
}

static PyObject *
awaitable_close(AwaitableObject *self, PyObject *unused)
{
    PyObject *out;

    (void)unused;
    if (self->status == NEW)
        finish(self);
    if (self->status == DONE)
        Py_RETURN_NONE;
    if (check_usable(self) < 0)
        return NULL;
    PyErr_SetNone(PyExc_GeneratorExit);
    switch (throw_set(self, &out)) {
    case PYGEN_NEXT:
        Py_DECREF(out);
        PyErr_SetString(PyExc_RuntimeError, "coroutine ignored GeneratorExit");
        return NULL;
    case PYGEN_RETURN:
        return out;
    case PYGEN_ERROR:
        break;
    }
    if (!PyErr_ExceptionMatches(PyExc_GeneratorExit))
        return NULL;
    PyErr_Clear();
    Py_RETURN_NONE;
}

static void
awaitable_finalize(PyObject *object)
{
    AwaitableObject *const self = (AwaitableObject *)object;
    PyObject *error_type, *error_value, *error_traceback, *result;

    self->is_finalized = true;
    if (self->status == DONE)
        return;
    PyErr_Fetch(&error_type, &error_value, &error_traceback);
    if (self->status == NEW) {
        if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "coroutine '%s' was never awaited",
                             self->kind->qualname) < 0)
            PyErr_WriteUnraisable(object);
        finish(self);
    } else if ((result = awaitable_close(self, NULL)) == NULL) {
        PyErr_WriteUnraisable(object);
        if (self->status == SUSPENDED) /* it ignored the GeneratorExit */
            finish(self);
    } else {
        Py_DECREF(result);
    }
    PyErr_Restore(error_type, error_value, error_traceback);
}

/* ---- what Python sees -------------------------------------------------------------------------------- */

static PyObject *
awaitable_repr(AwaitableObject *self)
{
    return PyUnicode_FromFormat("<coroutine object %s at %p>", self->kind->qualname, self);
}

static PyObject *
get_name(AwaitableObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(self->kind->name);
}

static PyObject *
get_qualname(AwaitableObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(self->kind->qualname);
}

static PyObject *
get_await(AwaitableObject *self, void *unused)
{
    (void)unused;
    return Py_NewRef(self->inner != NULL ? self->inner : Py_None);
}

static PyObject *
get_running(AwaitableObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(self->status == RUNNING);
}

static PyObject *
get_suspended(AwaitableObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(self->status == SUSPENDED);
}

static PyObject *
get_none(AwaitableObject *self, void *unused)
{
    (void)self;
    (void)unused;
    Py_RETURN_NONE;
}

static PyGetSetDef awaitable_getset[] = {
    {"__name__", (getter)get_name, NULL, NULL, NULL},
    {"__qualname__", (getter)get_qualname, NULL, NULL, NULL},
    {"cr_await", (getter)get_await, NULL, NULL, NULL},
    {"cr_running", (getter)get_running, NULL, NULL, NULL},
    {"cr_suspended", (getter)get_suspended, NULL, NULL, NULL},
    {"cr_frame", (getter)get_none, NULL, NULL, NULL},
    {"cr_code", (getter)get_none, NULL, NULL, NULL},
    {"cr_origin", (getter)get_none, NULL, NULL, NULL},
    {0},
};

static PyMemberDef awaitable_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(AwaitableObject, weak_references), READONLY, NULL},
    {0},
};

static PyMethodDef awaitable_methods[] = {
    {"send", (PyCFunction)awaitable_send, METH_O,
     PyDoc_STR("send($self, value, /)\n--\n\nGo on with a value, to the next await or the end.")},
    {"throw", (PyCFunction)(void (*)(void))awaitable_throw, METH_FASTCALL,
     PyDoc_STR(
         "throw($self, type, value=None, traceback=None, /)\n--\n\nGo on with an exception.")},
    {"close", (PyCFunction)awaitable_close, METH_NOARGS,
     PyDoc_STR("close($self, /)\n--\n\nEnd it by a GeneratorExit.")},
    {0},
};

static PyType_Slot awaitable_slots[] = {
    {Py_tp_dealloc, awaitable_dealloc},
    {Py_tp_finalize, awaitable_finalize},
    {Py_tp_traverse, awaitable_traverse},
    {Py_tp_clear, awaitable_clear},
    {Py_tp_repr, awaitable_repr},
    {Py_tp_iter, return_self}, /* what __await__() gives is iterated over, too */
    {Py_tp_iternext, awaitable_next},
    {Py_am_await, awaitable_await},
    {Py_am_send, awaitable_am_send},
    {Py_tp_methods, awaitable_methods},
    {Py_tp_members, awaitable_members},
    {Py_tp_getset, awaitable_getset},
    {0},
};

static PyType_Spec awaitable_spec = {
    .name = "iora._c.coroutine",
    .basicsize = sizeof(AwaitableObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = awaitable_slots,
};

/* ---- what is ready ------------------------------------------------------------------------------------- */

static PySendResult
ready_am_send(PyObject *self, PyObject *value, PyObject **out)
{
    (void)self;
    (void)value;
    *out = Py_NewRef(Py_None);
    return PYGEN_RETURN;
}

/* No value and no exception: None. */
static PyObject *
ready_next(PyObject *self)
{
    (void)self;
    return NULL;
}

static PyObject *
ready_send(PyObject *self, PyObject *value)
{
    (void)self;
    (void)value;
    return raise_stop(Py_NewRef(Py_None));
}

static PyObject *
ready_throw(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    (void)self;
    (void)set_thrown(args, n);
    return NULL;
}

static PyObject *
ready_close(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    Py_RETURN_NONE;
}

static PyMethodDef ready_methods[] = {
    {"send", ready_send, METH_O, PyDoc_STR("send($self, value, /)\n--\n\n")},
    {"throw", (PyCFunction)(void (*)(void))ready_throw, METH_FASTCALL,
     PyDoc_STR("throw($self, type, value=None, traceback=None, /)\n--\n\n")},
    {"close", ready_close, METH_NOARGS, PyDoc_STR("close($self, /)\n--\n\n")},
    {0},
};

static int
ready_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static void
ready_dealloc(PyObject *self)
{
    PyTypeObject *const type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyType_Slot ready_slots[] = {
    {Py_tp_dealloc, ready_dealloc},
    {Py_tp_traverse, ready_traverse},
    {Py_tp_iter, return_self},
    {Py_tp_iternext, ready_next},
    {Py_am_await, return_self},
    {Py_am_send, ready_am_send},
    {Py_tp_methods, ready_methods},
    {0},
};

static PyType_Spec ready_spec = {
    .name = "iora._c.ready",
    .basicsize = sizeof(PyObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = ready_slots,
};

PyObject *
iora__awaitable_ready(struct state *state)
{
    if (state->ready == NULL)
        PyErr_SetString(PyExc_RuntimeError, "iora has been torn down");
    return Py_XNewRef(state->ready);
}

static int
make_ready(PyObject *module, struct state *state)
{
    PyTypeObject *const type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &ready_spec, NULL);

    if (type == NULL)
        return -1;
    if ((state->ready = PyObject_GC_New(PyObject, type)) != NULL)
        PyObject_GC_Track(state->ready);
    Py_DECREF(type);
    return state->ready == NULL ? -1 : 0;
}

#if PY_VERSION_HEX >= 0x030c0000
/* The first ones, as the interpreter makes them; from then on they go round. */
static int
make_stops(PyObject *module, struct state *state)
{
    enum { STOPS = 4 };
    PyObject *made[STOPS] = {NULL};
    int rc = 0;

    state->stop_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &stop_spec, PyExc_StopIteration);
    if (state->stop_type == NULL)
        return -1;
    for (int i = 0; i < STOPS; i++) {
        if ((made[i] = PyObject_CallNoArgs((PyObject *)state->stop_type)) == NULL) {
            rc = -1;
            continue;
        }
        ((LightStopObject *)made[i])->state = state;
        Py_INCREF(module);
    }
    for (int i = 0; i < STOPS; i++)
        Py_XDECREF(made[i]);
    return rc;
}
#endif

int
iora__awaitable_add_types(PyObject *module, struct state *state)
{
    state->awaitable_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &awaitable_spec, NULL);
#if PY_VERSION_HEX >= 0x030c0000
    if (make_stops(module, state) < 0)
        return -1;
#endif
    return state->awaitable_type == NULL ? -1 : make_ready(module, state);
}
