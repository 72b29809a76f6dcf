/* ext/timeout.c -- asyncio.timeout, timeout_at, Timeout and wait_for.
 *
 *     created --- enter ---> active --- the time is up ---> expiring --- exit ---> expired
 *                              |                      (the task is cancelled)
 *                              '-------- exit ---> finished
 *
 * Whether the CancelledError that ends the block is ours shows at the exit: if our timer fired, and with our request
 * taken back no more are left than there were at entry. Then a TimeoutError takes its place. Where another exception
 * ends the block and a CancelledError is behind it, the TimeoutError is put between them.
 *
 * Nothing here waits, so leaving acts when it is called, without an awaitable of its own. Entering acts when it is
 * awaited: the task is that which awaits.
 *
 * wait_for() is 3.12's: what is awaited runs in the caller's task, within a Timeout. On 3.11 one thing stays as it is
 * there: a cancellation that comes after the time is up is not lost on what takes no notice of either. Without a timer
 * for what ends at once was rejected: who looks at the loop's timers would miss it.
 */
#include "ext/timeout.h"

#include "ext/asyncio.h"
#include "ext/awaitable.h"
#include "ext/compat.h"
#include "ext/function.h"
#include "ext/sleep.h"
#include "ext/table.h"

#include <stddef.h>
#include <structmember.h>

enum phase { CREATED, ENTERED, EXPIRING, EXPIRED, EXITED };

/* asyncio.timeouts._State: its names, and the values that it shows. */
static const char *const state_names[] = {"CREATED", "ENTERED", "EXPIRING", "EXPIRED", "EXITED"};
static const char *const state_values[] = {"created", "active", "expiring", "expired", "finished"};

typedef struct Timeout {
    PyObject_HEAD
    struct state *state;
    PyObject *when;   /* a number or None */
    PyObject *task;   /* from entry on */
    PyObject *handle; /* the timer's, while one is set */
    long cancelling;  /* the task's requests at entry */
    enum phase phase;
} Timeout;

/* ---- the timer ------------------------------------------------------------------------------------------- */

static PyObject *
expire(PyObject *module, PyObject *self)
{
    Timeout *const timeout = (Timeout *)self;

    (void)module;
    if (timeout->phase != ENTERED)
        Py_RETURN_NONE;
    if (iora__future_cancel(timeout->state, timeout->task, NULL) < 0)
        return NULL;
    timeout->phase = EXPIRING;
    Py_CLEAR(timeout->handle);
    Py_RETURN_NONE;
}

static void
stop_timer(Timeout *timeout)
{
    PyObject *const handle = timeout->handle;

    if (handle == NULL)
        return;
    timeout->handle = NULL;
    iora__cancel_handle(timeout->state, handle);
    Py_DECREF(handle);
}

/* when <= now */
static int
is_due(struct state *state, PyObject *loop, PyObject *when)
{
    PyObject *now;
    int is;

    if (PyFloat_CheckExact(when)) {
        double seconds;

        return iora__loop_time(state, loop, &seconds) < 0 ? -1 : PyFloat_AS_DOUBLE(when) <= seconds;
    }
    if ((now = PyObject_CallMethodNoArgs(loop, state->asyncio.str_time)) == NULL)
        return -1;
    is = PyObject_RichCompareBool(when, now, Py_LE);
    Py_DECREF(now);
    return is;
}

static int
start_timer(Timeout *timeout, PyObject *loop)
{
    struct state *const state = timeout->state;
    PyObject *const function = state->asyncio.expire;
    int is;

    if (timeout->when == Py_None)
        return 0;
    if ((is = is_due(state, loop, timeout->when)) < 0)
        return -1;
    timeout->handle = is ? iora__loop_soon(state, loop, function, (PyObject *)timeout)
                         : iora__loop_at(state, loop, timeout->when, function, (PyObject *)timeout);
    return timeout->handle == NULL ? -1 : 0;
}

static PyObject *
timeout_reschedule(Timeout *timeout, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    PyObject *const when = iora__only_arg("reschedule", "when", args, n, names);
    PyObject *loop;
    int rc;

    if (when == NULL)
        return NULL;
    if (timeout->phase == CREATED) {
        PyErr_SetString(PyExc_RuntimeError, "Timeout has not been entered");
        return NULL;
    }
    if (timeout->phase != ENTERED) {
        PyErr_Format(PyExc_RuntimeError, "Cannot change state of %s Timeout",
                     state_values[timeout->phase]);
        return NULL;
    }
    Py_XSETREF(timeout->when, Py_NewRef(when));
    stop_timer(timeout);
    if ((loop = iora__get_running_loop(timeout->state)) == NULL)
        return NULL;
    rc = start_timer(timeout, loop);
    Py_DECREF(loop);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

/* ---- entering -------------------------------------------------------------------------------------------- */

/* A class of somebody else's may have a reschedule() of its own. */
static int
start_by_method(Timeout *timeout)
{
    PyObject *const result =
        PyObject_CallMethod((PyObject *)timeout, "reschedule", "O", timeout->when);

    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static int
enter_in(Timeout *timeout, PyObject *loop)
{
    struct state *const state = timeout->state;
    PyObject *const task = iora__current_task(state, loop);

    if (task == NULL)
        return -1;
    if (task == Py_None) {
        Py_DECREF(task);
        PyErr_SetString(PyExc_RuntimeError, "Timeout should be used inside a task");
        return -1;
    }
    Py_XSETREF(timeout->task, task);
    timeout->phase = ENTERED;
    if ((timeout->cancelling = iora__task_cancelling(state, task)) < 0)
        return -1;
    return (PyObject *)Py_TYPE(timeout) == state->asyncio.timeout_class
               ? start_timer(timeout, loop)
               : start_by_method(timeout);
}

static int
enter(Timeout *timeout)
{
    PyObject *loop;
    int rc;

    if (timeout->phase != CREATED) {
        PyErr_SetString(PyExc_RuntimeError, "Timeout has already been entered");
        return -1;
    }
    if ((loop = iora__get_running_loop(timeout->state)) == NULL)
        return -1;
    rc = enter_in(timeout, loop);
    Py_DECREF(loop);
    return rc;
}

static enum iora__outcome
step_of_aenter(AwaitableObject *self, PyObject *value, PyObject **out)
{
    if (value == NULL || enter((Timeout *)self->refs[0]) < 0)
        return IORA__RAISE;
    *out = Py_NewRef(self->refs[0]);
    return IORA__RETURN;
}

static const struct iora__awaitable_kind entering = {"__aenter__", "Timeout.__aenter__",
                                                     step_of_aenter};

static PyObject *
timeout_aenter(Timeout *timeout, PyObject *unused)
{
    AwaitableObject *const awaitable = iora__awaitable_new(timeout->state, &entering);

    (void)unused;
    if (awaitable == NULL)
        return NULL;
    awaitable->refs[0] = Py_NewRef((PyObject *)timeout);
    return (PyObject *)awaitable;
}

/* ---- leaving --------------------------------------------------------------------------------------------- */

static bool
is_cancellation(const struct state *state, PyObject *exception)
{
    return PyErr_GivenExceptionMatches(exception, state->asyncio.cancelled_error);
}

static PyObject *
timeout_error_from(PyObject *cause)
{
    PyObject *const error = PyObject_CallNoArgs(PyExc_TimeoutError);

    if (error != NULL) {
        PyException_SetContext(error, Py_NewRef(cause));
        PyException_SetCause(error, Py_NewRef(cause));
    }
    return error;
}

/* Before the first CancelledError behind the exception, a TimeoutError. */
static int
insert_timeout_error(const struct state *state, PyObject *exception)
{
    PyObject *at = Py_NewRef(exception), *behind, *error;
    int rc = 0;

    while ((behind = PyException_GetContext(at)) != NULL && !is_cancellation(state, behind))
        Py_SETREF(at, behind);
    if (behind != NULL) {
        if ((error = timeout_error_from(behind)) != NULL)
            PyException_SetContext(at, error);
        else
            rc = -1;
        Py_DECREF(behind);
    }
    Py_DECREF(at);
    return rc;
}

static int
insert_in_group(const struct state *state, PyObject *exception)
{
    PyObject *exceptions;
    int rc = 0;

    /* ExceptionGroup is not in the C API: it is both of these. */
    if (!PyObject_TypeCheck(exception, (PyTypeObject *)PyExc_BaseExceptionGroup) ||
        !PyObject_TypeCheck(exception, (PyTypeObject *)PyExc_Exception))
        return 0;
    if ((exceptions = PyObject_GetAttrString(exception, "exceptions")) == NULL)
        return -1;
    for (Py_ssize_t i = 0; rc == 0 && i < PyTuple_GET_SIZE(exceptions); i++)
        rc = insert_timeout_error(state, PyTuple_GET_ITEM(exceptions, i));
    Py_DECREF(exceptions);
    return rc;
}

/* With the exception that the block ends by, or NULL. 0: it goes on; -1: another is set. */
static int
leave(Timeout *timeout, PyObject *exception)
{
    const struct state *const state = timeout->state;
    PyObject *error;
    long cancelling;

    stop_timer(timeout);
    if (timeout->phase == ENTERED)
        timeout->phase = EXITED;
    if (timeout->phase != EXPIRING)
        return 0;
    timeout->phase = EXPIRED;
    if ((cancelling = iora__task_uncancel(timeout->state, timeout->task)) < 0)
        return -1;
    if (cancelling > timeout->cancelling || exception == NULL)
        return 0;
    if (!is_cancellation(state, exception))
        return insert_timeout_error(state, exception) < 0 ? -1 : insert_in_group(state, exception);
    if ((error = timeout_error_from(exception)) != NULL)
        iora__raise_exception(error);
    return -1;
}

static PyObject *
timeout_aexit(Timeout *timeout, PyObject *const *args, Py_ssize_t n)
{
    if (n != 3) {
        PyErr_Format(PyExc_TypeError, "__aexit__() takes 3 arguments, got %zd", n);
        return NULL;
    }
    if (timeout->phase != ENTERED && timeout->phase != EXPIRING) {
        PyErr_SetNone(PyExc_AssertionError);
        return NULL;
    }
    if (leave(timeout, args[1] != Py_None ? args[1] : NULL) < 0)
        return NULL;
    return iora__awaitable_ready(timeout->state);
}

/* ---- the type -------------------------------------------------------------------------------------------- */

static PyObject *
timeout_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    Timeout *const timeout = (Timeout *)type->tp_alloc(type, 0);

    (void)args;
    (void)keywords;
    if (timeout != NULL) {
        timeout->state = iora__state_of(type);
        timeout->when = Py_NewRef(Py_None);
    }
    return (PyObject *)timeout;
}

static int
timeout_init(Timeout *timeout, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"when", NULL};
    PyObject *when;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O:Timeout", names, &when))
        return -1;
    Py_XSETREF(timeout->when, Py_NewRef(when));
    return 0;
}

static int
timeout_traverse(Timeout *timeout, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(timeout));
    Py_VISIT(timeout->when);
    Py_VISIT(timeout->task);
    Py_VISIT(timeout->handle);
    return 0;
}

static int
timeout_clear(Timeout *timeout)
{
    Py_CLEAR(timeout->when);
    Py_CLEAR(timeout->task);
    Py_CLEAR(timeout->handle);
    return 0;
}

static void
timeout_dealloc(Timeout *timeout)
{
    PyTypeObject *const type = Py_TYPE(timeout);

    PyObject_GC_UnTrack(timeout);
    (void)timeout_clear(timeout);
    type->tp_free((PyObject *)timeout);
    Py_DECREF(type);
}

static PyObject *
timeout_when(Timeout *timeout, PyObject *unused)
{
    (void)unused;
    return Py_NewRef(timeout->when);
}

static PyObject *
timeout_expired(Timeout *timeout, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(timeout->phase == EXPIRING || timeout->phase == EXPIRED);
}

/* "<Timeout [active] when=1.5>" */
static PyObject *
timeout_repr(Timeout *timeout)
{
    PyObject *rounded, *text;

    if (timeout->phase != ENTERED)
        return PyUnicode_FromFormat("<Timeout [%s]>", state_values[timeout->phase]);
    rounded = timeout->when == Py_None ? Py_NewRef(Py_None)
                                       : PyObject_CallMethod(timeout->when, "__round__", "i", 3);
    text = rounded != NULL ? PyUnicode_FromFormat("<Timeout [%s] when=%S>",
                                                  state_values[timeout->phase], rounded)
                           : NULL;
    Py_XDECREF(rounded);
    return text;
}

static PyObject *
get_state(Timeout *timeout, void *unused)
{
    PyObject *const module = PyImport_ImportModule("asyncio.timeouts");
    PyObject *const states = module != NULL ? PyObject_GetAttrString(module, "_State") : NULL;
    PyObject *const state =
        states != NULL ? PyObject_GetAttrString(states, state_names[timeout->phase]) : NULL;

    (void)unused;
    Py_XDECREF(module);
    Py_XDECREF(states);
    return state;
}

static PyGetSetDef timeout_getset[] = {
    {"_state", (getter)get_state, NULL, NULL, NULL},
    {0},
};

static PyMemberDef timeout_members[] = {
    {"_when", T_OBJECT, offsetof(Timeout, when), READONLY, NULL},
    {"_task", T_OBJECT, offsetof(Timeout, task), READONLY, NULL},
    {"_timeout_handler", T_OBJECT, offsetof(Timeout, handle), READONLY, NULL},
    {"_cancelling", T_LONG, offsetof(Timeout, cancelling), READONLY, NULL},
    {0},
};

static PyMethodDef timeout_methods[] = {
    METHOD("when", timeout_when, METH_NOARGS,
           "when($self, /)\n--\n\nThe deadline by the loop's clock, or None."),
    METHOD("reschedule", timeout_reschedule, METH_FASTCALL | METH_KEYWORDS,
           "reschedule($self, when)\n--\n\nHave another deadline."),
    METHOD("expired", timeout_expired, METH_NOARGS,
           "expired($self, /)\n--\n\nWhether the time has been up within the block."),
    METHOD("__aenter__", timeout_aenter, METH_NOARGS, "__aenter__($self, /)\n--\n\n"),
    METHOD("__aexit__", timeout_aexit, METH_FASTCALL,
           "__aexit__($self, exc_type, exc_val, exc_tb, /)\n--\n\n"),
    {0},
};

static PyType_Slot timeout_slots[] = {
    {Py_tp_new, timeout_new},         {Py_tp_init, timeout_init},
    {Py_tp_dealloc, timeout_dealloc}, {Py_tp_traverse, timeout_traverse},
    {Py_tp_clear, timeout_clear},     {Py_tp_repr, timeout_repr},
    {Py_tp_methods, timeout_methods}, {Py_tp_members, timeout_members},
    {Py_tp_getset, timeout_getset},   {0},
};

static PyType_Spec timeout_spec = {
    .name = "iora._c.Timeout",
    .basicsize = sizeof(Timeout),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = timeout_slots,
};

/* ---- making them ----------------------------------------------------------------------------------------- */

/* Of the class that users see, once iora._tasks has told us; steals when. */
static Timeout *
make(struct state *state, PyObject *when)
{
    PyTypeObject *const type = (PyTypeObject *)state->asyncio.timeout_class;
    Timeout *const timeout = (Timeout *)type->tp_alloc(type, 0);

    if (timeout == NULL) {
        Py_DECREF(when);
        return NULL;
    }
    timeout->state = state;
    timeout->when = when;
    return timeout;
}

/* loop.time() + delay; None for None. */
static PyObject *
deadline_of(struct state *state, PyObject *loop, PyObject *delay)
{
    PyObject *now, *when;
    double seconds;

    if (delay == Py_None)
        return Py_NewRef(Py_None);
    if (PyFloat_CheckExact(delay))
        return iora__loop_time(state, loop, &seconds) < 0
                   ? NULL
                   : PyFloat_FromDouble(seconds + PyFloat_AS_DOUBLE(delay));
    if ((now = PyObject_CallMethodNoArgs(loop, state->asyncio.str_time)) == NULL)
        return NULL;
    when = PyNumber_Add(now, delay);
    Py_DECREF(now);
    return when;
}

static PyObject *
timeout_in(struct state *state, PyObject *delay)
{
    PyObject *const loop = iora__get_running_loop(state);
    PyObject *const when = loop != NULL ? deadline_of(state, loop, delay) : NULL;

    Py_XDECREF(loop);
    return when != NULL ? (PyObject *)make(state, when) : NULL;
}

static PyObject *
timeout_call(PyObject *module, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    PyObject *const delay = iora__only_arg("timeout", "delay", args, n, names);

    return delay != NULL ? timeout_in(PyModule_GetState(module), delay) : NULL;
}

static PyObject *
timeout_at_call(PyObject *module, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    PyObject *const when = iora__only_arg("timeout_at", "when", args, n, names);

    return when != NULL ? (PyObject *)make(PyModule_GetState(module), Py_NewRef(when)) : NULL;
}

static PyObject *
set_timeout_class(PyObject *module, PyObject *class)
{
    struct state *const state = PyModule_GetState(module);

    if (!PyType_Check(class) ||
        !PyType_IsSubtype((PyTypeObject *)class, (PyTypeObject *)state->asyncio.timeout_type)) {
        PyErr_SetString(PyExc_TypeError, "a class derived from Timeout was expected");
        return NULL;
    }
    Py_XSETREF(state->asyncio.timeout_class, Py_NewRef(class));
    Py_RETURN_NONE;
}

/* ---- wait_for -------------------------------------------------------------------------------------------- */

enum { AWAITED, DELAY, WAITER = DELAY, TIMEOUT, RELEASE = TIMEOUT };
enum { BEGUN, WITHIN, CANCELLING };

static enum iora__outcome
await_within(AwaitableObject *self, PyObject **out)
{
    PyObject *const timeout = timeout_in(self->state, self->refs[DELAY]);

    if (timeout == NULL)
        return IORA__RAISE;
    self->refs[TIMEOUT] = timeout;
    if (enter((Timeout *)timeout) < 0)
        return IORA__RAISE;
    self->phase = WITHIN;
    *out = Py_NewRef(self->refs[AWAITED]);
    return IORA__AWAIT;
}

/* Once it is left: whether the task was cancelled by somebody else too, after the time was up. */
static int
was_cancelled_late(const Timeout *timeout)
{
    long cancelling;

    if (timeout->phase != EXPIRED)
        return 0;
    cancelling = iora__task_cancelling(timeout->state, timeout->task);
    return cancelling < 0 ? -1 : cancelling > timeout->cancelling;
}

static enum iora__outcome
return_in_time(AwaitableObject *self, PyObject *value, PyObject **out)
{
    const int is_late =
        PY_VERSION_HEX < 0x030c0000 ? was_cancelled_late((Timeout *)self->refs[TIMEOUT]) : 0;

    if (is_late != 0) {
        if (is_late > 0)
            PyErr_SetNone(self->state->asyncio.cancelled_error);
        return IORA__RAISE;
    }
    *out = Py_NewRef(value);
    return IORA__RETURN;
}

static enum iora__outcome
end_within(AwaitableObject *self, PyObject *value, PyObject **out)
{
    PyObject *const raised = value == NULL ? iora__take_exception() : NULL;
    const int rc = leave((Timeout *)self->refs[TIMEOUT], raised);

    if (rc == 0 && value != NULL)
        return return_in_time(self, value, out);
    if (rc == 0)
        iora__raise_exception(raised);
    else
        Py_XDECREF(raised);
    return IORA__RAISE;
}

/* Set the result of the waiter that it is bound to. */
static PyObject *
release(PyObject *waiter, PyObject *const *args, Py_ssize_t n)
{
    PyObject *const done = PyObject_CallMethod(waiter, "done", NULL);
    const int is = done == NULL ? -1 : PyObject_IsTrue(done);

    (void)args;
    (void)n;
    Py_XDECREF(done);
    if (is != 0)
        return is < 0 ? NULL : Py_NewRef(Py_None);
    return PyObject_CallMethod(waiter, "set_result", "O", Py_None);
}

static PyMethodDef release_method = {"_release_waiter", (PyCFunction)(void (*)(void))release,
                                     METH_FASTCALL, NULL};

/* Cancel it, and wait for its end rather than for it: so this can be cancelled. */
static enum iora__outcome
cancel_and_wait(AwaitableObject *self, PyObject **out)
{
    struct state *const state = self->state;
    PyObject *const future = self->refs[AWAITED];
    PyObject *const loop = iora__get_running_loop(state);
    PyObject *const waiter = loop != NULL ? iora__create_future(state, loop) : NULL;
    PyObject *const callback = waiter != NULL ? PyCFunction_New(&release_method, waiter) : NULL;

    Py_XDECREF(loop);
    Py_XSETREF(self->refs[WAITER], waiter);
    self->refs[RELEASE] = callback;
    if (callback == NULL || iora__future_add_callback(state, future, callback, NULL) < 0)
        return IORA__RAISE;
    self->phase = CANCELLING;
    if (iora__future_cancel(state, future, NULL) < 0) {
        PyObject *const raised = iora__take_exception();

        if (iora__future_remove_callback(state, future, callback) < 0)
            PyErr_WriteUnraisable(future);
        iora__raise_exception(raised);
        return IORA__RAISE;
    }
    *out = Py_NewRef(waiter);
    return IORA__AWAIT;
}

static enum iora__outcome
end_cancelling(AwaitableObject *self, PyObject *value, PyObject **out)
{
    struct state *const state = self->state;
    PyObject *const raised = value == NULL ? iora__take_exception() : NULL;
    PyObject *error;

    if (iora__future_remove_callback(state, self->refs[AWAITED], self->refs[RELEASE]) < 0) {
        Py_XDECREF(raised);
        return IORA__RAISE;
    }
    if (raised != NULL) {
        iora__raise_exception(raised);
        return IORA__RAISE;
    }
    *out = iora__future_ask(state, self->refs[AWAITED], IORA__ASK_RESULT);
    if (*out != NULL)
        return IORA__RETURN;
    if (PyErr_ExceptionMatches(state->asyncio.cancelled_error)) {
        PyObject *const cancelled = iora__take_exception();

        if ((error = timeout_error_from(cancelled)) != NULL)
            iora__raise_exception(error);
        Py_DECREF(cancelled);
    }
    return IORA__RAISE;
}

/* No time at all: what is done counts, a coroutine does not start. */
static enum iora__outcome
await_no_longer(AwaitableObject *self, PyObject **out)
{
    struct state *const state = self->state;
    PyObject *const future = iora__ensure_future(state, self->refs[AWAITED], NULL);
    int is_done;

    if (future == NULL)
        return IORA__RAISE;
    Py_SETREF(self->refs[AWAITED], future);
    if ((is_done = iora__future_is_done(state, future)) < 0)
        return IORA__RAISE;
    if (!is_done)
        return cancel_and_wait(self, out);
    *out = iora__future_ask(state, future, IORA__ASK_RESULT);
    return *out != NULL ? IORA__RETURN : IORA__RAISE;
}

static enum iora__outcome
step_of_wait_for(AwaitableObject *self, PyObject *value, PyObject **out)
{
    int is_past;

    if (self->phase == WITHIN)
        return end_within(self, value, out);
    if (self->phase == CANCELLING)
        return end_cancelling(self, value, out);
    is_past = self->refs[DELAY] == Py_None ? 0 : iora__is_past(self->refs[DELAY]);
    if (is_past < 0)
        return IORA__RAISE;
    return is_past ? await_no_longer(self, out) : await_within(self, out);
}

static const struct iora__awaitable_kind waiting = {"wait_for", "wait_for", step_of_wait_for};

static PyObject *
wait_for(struct state *state, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const parameters[] = {"fut", "timeout", NULL};
    PyObject *given[2];
    AwaitableObject *awaitable;

    if (iora__take_args("wait_for", parameters, 2, args, n, names, given) < 0 ||
        (awaitable = iora__awaitable_new(state, &waiting)) == NULL)
        return NULL;
    awaitable->refs[AWAITED] = Py_NewRef(given[0]);
    awaitable->refs[DELAY] = Py_NewRef(given[1]);
    return (PyObject *)awaitable;
}

static const struct iora__function coroutine_functions[] = {
    {"wait_for", "wait_for", "asyncio.tasks", "(fut, timeout)",
     "What the awaited comes to; TimeoutError, and it is cancelled, if that takes longer.",
     wait_for},
    {0},
};

static PyMethodDef functions[] = {
    METHOD("timeout", timeout_call, METH_FASTCALL | METH_KEYWORDS,
           "timeout($module, /, delay)\n--\n\n"
           "A Timeout in so many seconds; None for never."),
    METHOD("timeout_at", timeout_at_call, METH_FASTCALL | METH_KEYWORDS,
           "timeout_at($module, /, when)\n--\n\n"
           "A Timeout at a time of the loop's clock; None for never."),
    METHOD("_expire", expire, METH_O, "_expire($module, timeout, /)\n--\n\n"),
    METHOD("_set_timeout_class", set_timeout_class, METH_O, ""),
    {0},
};

int
iora__timeout_add(PyObject *module, struct state *state)
{
    struct asyncio *const asyncio = &state->asyncio;

    asyncio->timeout_type = PyType_FromModuleAndSpec(module, &timeout_spec, NULL);
    if (asyncio->timeout_type == NULL ||
        PyModule_AddType(module, (PyTypeObject *)asyncio->timeout_type) < 0 ||
        PyModule_AddFunctions(module, functions) < 0)
        return -1;
    asyncio->timeout_class = Py_NewRef(asyncio->timeout_type);
    asyncio->expire = PyObject_GetAttrString(module, "_expire");
    return asyncio->expire == NULL
               ? -1
               : iora__function_add_to_module(module, state, coroutine_functions);
}
