/* ext/schedule.c -- call_soon, call_soon_threadsafe, call_later, call_at.
 *
 * The ring is guarded by the GIL, so another thread pushes to it as the loop's own does; it wakes the loop if
 * that waits, once for as long as it does.
 *
 * A time is the caller's float, and when() gives it back. The wheel has it as nanoseconds, rounded up: a
 * callback never sees loop.time() before its time. Infinity never comes; NaN is refused.
 */
#include "ext/loop.h"
#include "ext/state.h"
#include "ext/step.h"

#include <math.h>

/* Compared by itself: PyUnicode_CompareWithASCIIString() is 10 ns of each callback. */
static inline bool
is_context(PyObject *name)
{
    enum { LENGTH = sizeof "context" - 1 };

    return PyUnicode_GET_LENGTH(name) == LENGTH && PyUnicode_IS_COMPACT_ASCII(name) &&
           memcmp(PyUnicode_1BYTE_DATA(name), "context", LENGTH) == 0;
}

/* The context of (callback, *args, *, context=None): borrowed, NULL for none. -1 for other keywords. */
static int
take_context(PyObject *const *args, Py_ssize_t n, PyObject *names, PyObject **context)
{
    const Py_ssize_t n_names = names == NULL ? 0 : PyTuple_GET_SIZE(names);

    *context = NULL;
    for (Py_ssize_t i = 0; i < n_names; i++) {
        PyObject *const name = PyTuple_GET_ITEM(names, i);

        if (!is_context(name)) {
            PyErr_Format(PyExc_TypeError, "unexpected keyword argument '%U'", name);
            return -1;
        }
        if (args[n + i] != Py_None)
            *context = args[n + i];
    }
    if (*context != NULL && !PyContext_CheckExact(*context)) {
        PyErr_Format(PyExc_TypeError, "a contextvars.Context was expected, got %R", *context);
        return -1;
    }
    return 0;
}

static const char *const soon_first[] = {"callback", NULL};
static const char *const later_first[] = {"delay", "callback", NULL};
static const char *const at_first[] = {"when", "callback", NULL};

int
iora__loop_check_callback(LoopObject *loop, PyObject *callback, const char *method)
{
    PyObject *const checks[] = {loop->state->iscoroutine, loop->state->iscoroutinefunction};

    for (int i = 0; i < 2; i++) {
        PyObject *const answer = PyObject_CallOneArg(checks[i], callback);

        if (answer == NULL)
            return -1;
        const int is_true = PyObject_IsTrue(answer);
        Py_DECREF(answer);
        if (is_true > 0)
            PyErr_Format(PyExc_TypeError, "coroutines cannot be used with %s()", method);
        if (is_true != 0)
            return -1;
    }
    if (!PyCallable_Check(callback)) {
        PyErr_Format(PyExc_TypeError, "a callable object was expected by %s(), got %R", method,
                     callback);
        return -1;
    }
    return 0;
}

static int
check_debug(LoopObject *loop, PyObject *callback, const char *method)
{
    if (loop->is_running && PyThread_get_thread_ident() != loop->thread_id) {
        PyErr_SetString(PyExc_RuntimeError, "Non-thread-safe operation invoked on an event loop "
                                            "other than the current one");
        return -1;
    }
    return iora__loop_check_callback(loop, callback, method);
}

PyObject *
iora__loop_make_ready(LoopObject *loop, PyObject *const *args, Py_ssize_t n, PyObject *context)
{
    HandleObject *const handle = iora__handle_new(loop, args[0], args + 1, n - 1, context);

    if (handle == NULL)
        return NULL;
    Py_INCREF(handle);
    if (iora__loop_push(loop, handle) < 0) {
        Py_DECREF(handle);
        return NULL;
    }
    return (PyObject *)handle;
}

/* A step, in a context (`*, context=...`), of a loop that is asked by nobody but _asyncio. */
static inline bool
is_step(LoopObject *loop, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    return names != NULL && n > 0 && iora__step_is_known(loop->state, args, n) &&
           (names == loop->state->step_names || iora__step_note_names(loop->state, names)) &&
           PyContext_CheckExact(args[n]) && !loop->debug && !loop->is_closed &&
           iora__loop_is_plain(loop);
}

PyObject *
iora__loop_call_soon(LoopObject *loop, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    PyObject *context;

    if (is_step(loop, args, n, names))
        return iora__step_push(loop, args, n) < 0 ? NULL : Py_NewRef(Py_None);
    if (n < 1)
        return iora__loop_call_in_order(loop, "call_soon", soon_first, args, n, names, iora__loop_call_soon);
    if (take_context(args, n, names, &context) < 0 || iora__loop_check_closed(loop) < 0 ||
        (loop->debug && check_debug(loop, args[0], "call_soon") < 0))
        return NULL;
    return iora__loop_make_ready(loop, args, n, context);
}

PyObject *
iora__loop_call_soon_threadsafe(LoopObject *loop, PyObject *const *args, Py_ssize_t n,
                                PyObject *names)
{
    PyObject *context, *handle;

    if (n < 1)
        return iora__loop_call_in_order(loop, "call_soon_threadsafe", soon_first, args, n, names,
                                        iora__loop_call_soon_threadsafe);
    if (take_context(args, n, names, &context) < 0 || iora__loop_check_closed(loop) < 0 ||
        (loop->debug && iora__loop_check_callback(loop, args[0], "call_soon_threadsafe") < 0))
        return NULL;
    if ((handle = iora__loop_make_ready(loop, args, n, context)) != NULL)
        iora__loop_wake(loop);
    return handle;
}

/* ---- timers ---------------------------------------------------------------------------------------- */

static int64_t
deadline_of(double when)
{
    const double ns = ceil(when * 1e9);

    return ns >= 9223372036854775807.0 ? INT64_MAX : ns <= -9223372036854775808.0 ? 0 : (int64_t)ns;
}

static int
as_time(PyObject *value, const char *name, double *out)
{
    if (value == Py_None) {
        PyErr_Format(PyExc_TypeError, "%s must not be None", name);
        return -1;
    }
    /* The two that are usual without the way through tp_as_number. */
    *out = PyFloat_CheckExact(value)  ? PyFloat_AS_DOUBLE(value)
           : PyLong_CheckExact(value) ? PyLong_AsDouble(value)
                                      : PyFloat_AsDouble(value);
    if (*out == -1.0 && PyErr_Occurred())
        return -1;
    if (isnan(*out)) {
        PyErr_Format(PyExc_ValueError, "%s must not be NaN", name);
        return -1;
    }
    return 0;
}

static void
become_ready(struct iora__timer *due)
{
    TimerObject *const timer = iora__container_of(due, TimerObject, timer);

    iora__ready_push(timer->handle.loop->core, &timer->ready);
}

/* In the drain, after what the poll told: from the core's queue to ours, with its reference. */
static void
run_due(struct iora__ready *ready)
{
    TimerObject *const timer = iora__container_of(ready, TimerObject, ready);

    iora__list_remove(&timer->in_loop);
    iora__ring_release(&timer->handle.loop->ready);
    iora__loop_push_promised(timer->handle.loop, &timer->handle);
}

static PyObject *
schedule(LoopObject *loop, double when, PyObject *const *args, Py_ssize_t n, PyObject *context)
{
    TimerObject *const timer = iora__timer_new(loop, when, args[0], args + 1, n - 1, context);
    const int64_t deadline_ns = deadline_of(when);

    if (timer == NULL)
        return NULL;
    if (iora__ring_promise(&loop->ready) < 0) {
        Py_DECREF(timer);
        return NULL;
    }
    timer->timer._fire = become_ready;
    timer->ready._run = run_due;
    iora__list_push_tail(&loop->timers, &timer->in_loop);
    if (deadline_ns != INT64_MAX)
        iora__loop_timer_set(loop->core, &timer->timer, deadline_ns);
    return Py_NewRef((PyObject *)timer); /* the other is the loop's */
}

void
iora__loop_drop_timer(LoopObject *loop, TimerObject *timer)
{
    if (!iora__link_is_linked(&timer->in_loop))
        return;
    iora__list_remove(&timer->in_loop);
    iora__ring_release(&loop->ready);
    iora__loop_timer_clear(loop->core, &timer->timer);
    iora__list_discard(&timer->ready._link);
    Py_DECREF(timer);
}

PyObject *
iora__loop_call_at(LoopObject *loop, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    PyObject *context;
    double when;

    if (n < 2)
        return iora__loop_call_in_order(loop, "call_at", at_first, args, n, names, iora__loop_call_at);
    if (take_context(args, n, names, &context) < 0 || as_time(args[0], "when", &when) < 0 ||
        iora__loop_check_closed(loop) < 0 ||
        (loop->debug && check_debug(loop, args[1], "call_at") < 0))
        return NULL;
    return schedule(loop, when, args + 1, n - 1, context);
}

/* call_later() of a loop whose call_at() is another's. */
static PyObject *
call_at_of_another(LoopObject *loop, double when, PyObject *const *args, Py_ssize_t n,
                   PyObject *names)
{
    const Py_ssize_t n_all = n + (names == NULL ? 0 : PyTuple_GET_SIZE(names));
    PyObject *const method = PyObject_GetAttr((PyObject *)loop, loop->state->str_call_at);
    PyObject **all = method != NULL ? PyMem_New(PyObject *, (size_t)n_all) : NULL;
    PyObject *result = NULL, *time = PyFloat_FromDouble(when);

    if (all != NULL && time != NULL) {
        all[0] = time;
        for (Py_ssize_t i = 1; i < n_all; i++)
            all[i] = args[i];
        result = PyObject_Vectorcall(method, all, (size_t)n, names);
    }
    PyMem_Free(all);
    Py_XDECREF(time);
    Py_XDECREF(method);
    return result;
}

PyObject *
iora__loop_call_later(LoopObject *loop, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    PyObject *context;
    double delay, when;

    if (n < 2)
        return iora__loop_call_in_order(loop, "call_later", later_first, args, n, names, iora__loop_call_later);
    if (as_time(args[0], "delay", &delay) < 0 || take_context(args, n, names, &context) < 0 ||
        iora__loop_check_closed(loop) < 0)
        return NULL;
    when = (double)iora__loop_now_ns(loop->core) * 1e-9 + delay;
    if (!iora__loop_is_plain(loop))
        return call_at_of_another(loop, when, args, n, names);
    if (loop->debug && check_debug(loop, args[1], "call_later") < 0)
        return NULL;
    return schedule(loop, when, args + 1, n - 1, context);
}
