/* ext/sleep.c -- asyncio.sleep.
 *
 * sleep(0) is one turn of the loop, without a future or a timer. Any other sleeps on a future of the loop's that a
 * timer sets; the timer goes with the sleeper.
 */
#include "ext/sleep.h"

#include "ext/asyncio.h"
#include "ext/awaitable.h"
#include "ext/function.h"

#include <math.h>

enum { DELAY, RESULT, HANDLE };
enum { BEGUN, YIELDED, SLEPT };

int
iora__is_past(PyObject *number)
{
    PyObject *zero;
    int is;

    if (PyFloat_CheckExact(number))
        return PyFloat_AS_DOUBLE(number) <= 0.0;
    if (PyLong_CheckExact(number)) {
        int overflow;
        const long seconds = PyLong_AsLongAndOverflow(number, &overflow);

        return overflow != 0 ? overflow < 0 : seconds <= 0;
    }
    if ((zero = PyLong_FromLong(0)) == NULL)
        return -1;
    is = PyObject_RichCompareBool(number, zero, Py_LE);
    Py_DECREF(zero);
    return is;
}

/* asyncio.futures._set_result_unless_cancelled(future, result) */
static PyObject *
wake_up(PyObject *module, PyObject *const *args, Py_ssize_t n)
{
    struct state *const state = PyModule_GetState(module);
    int is;

    if (n != 2) {
        PyErr_SetString(PyExc_TypeError, "a future and a result were expected");
        return NULL;
    }
    if ((is = iora__future_is_cancelled(state, args[0])) < 0 ||
        (!is && iora__future_set_result(state, args[0], args[1]) < 0))
        return NULL;
    Py_RETURN_NONE;
}

static int
check_number(PyObject *delay)
{
    const double seconds = PyFloat_AsDouble(delay);

    if (seconds == -1.0 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_TypeError))
            return -1;
        PyErr_Clear(); /* the loop's to judge */
        return 0;
    }
    if (!isnan(seconds))
        return 0;
    PyErr_SetString(PyExc_ValueError, "Invalid delay: NaN (not a number)");
    return -1;
}

/* A future that is set in so many seconds; the timer's handle is kept. */
static PyObject *
set_alarm(AwaitableObject *self)
{
    struct state *const state = self->state;
    PyObject *const loop = iora__get_running_loop(state);
    PyObject *future = loop != NULL ? iora__create_future(state, loop) : NULL;

    if (future != NULL) {
        PyObject *const args[] = {loop, self->refs[DELAY], state->asyncio.wake_up, future,
                                  self->refs[RESULT]};

        self->refs[HANDLE] = PyObject_VectorcallMethod(state->asyncio.str_call_later, args,
                                                       5 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        if (self->refs[HANDLE] == NULL)
            Py_CLEAR(future);
    }
    Py_XDECREF(loop);
    return future;
}

static enum iora__outcome
begin(AwaitableObject *self, PyObject **out)
{
    const int is_past = iora__is_past(self->refs[DELAY]);

    if (is_past > 0) {
        self->phase = YIELDED;
        return IORA__YIELD;
    }
    if (is_past < 0 || check_number(self->refs[DELAY]) < 0 || (*out = set_alarm(self)) == NULL)
        return IORA__RAISE;
    self->phase = SLEPT;
    return IORA__AWAIT;
}

static enum iora__outcome
step(AwaitableObject *self, PyObject *value, PyObject **out)
{
    if (self->phase == BEGUN)
        return begin(self, out);
    if (self->phase == SLEPT)
        iora__cancel_handle(self->state, self->refs[HANDLE]);
    if (value == NULL)
        return IORA__RAISE;
    *out = Py_NewRef(self->phase == SLEPT ? value : self->refs[RESULT]);
    return IORA__RETURN;
}

static const struct iora__awaitable_kind sleeping = {"sleep", "sleep", step};

/* sleep(0), told at the call. Its step is what is left of it when something is thrown in. */
static enum iora__outcome
step_of_turn(AwaitableObject *self, PyObject *value, PyObject **out)
{
    (void)self;
    (void)value;
    (void)out;
    return IORA__RAISE;
}

static const struct iora__awaitable_kind one_turn = {"sleep", "sleep", step_of_turn, .is_turn = true};

/* What can be compared without running anything. */
static bool
is_plainly_past(PyObject *delay)
{
    return (PyLong_CheckExact(delay) || PyFloat_CheckExact(delay)) && iora__is_past(delay) > 0;
}

static PyObject *
sleep_call(struct state *state, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const parameters[] = {"delay", "result", NULL};
    PyObject *given[] = {NULL, Py_None};
    AwaitableObject *awaitable;

    if (n == 1 && names == NULL)
        given[DELAY] = args[0];
    else if (iora__take_args("sleep", parameters, 1, args, n, names, given) < 0)
        return NULL;
    if (is_plainly_past(given[DELAY])) {
        if ((awaitable = iora__awaitable_new(state, &one_turn)) != NULL)
            awaitable->refs[0] = Py_NewRef(given[RESULT]);
        return (PyObject *)awaitable;
    }
    if ((awaitable = iora__awaitable_new(state, &sleeping)) == NULL)
        return NULL;
    awaitable->refs[DELAY] = Py_NewRef(given[DELAY]);
    awaitable->refs[RESULT] = Py_NewRef(given[RESULT]);
    return (PyObject *)awaitable;
}

static const struct iora__function functions[] = {
    {"sleep", "sleep", "asyncio.tasks", "(delay, result=None)",
     "Let others run for so many seconds; comes to `result`.", sleep_call},
    {0},
};

static PyMethodDef wake_up_method[] = {
    {"_set_result_unless_cancelled", (PyCFunction)(void (*)(void))wake_up, METH_FASTCALL,
     PyDoc_STR("_set_result_unless_cancelled($module, fut, result, /)\n--\n\n")},
    {0},
};

int
iora__sleep_add(PyObject *module, struct state *state)
{
    if (PyModule_AddFunctions(module, wake_up_method) < 0)
        return -1;
    state->asyncio.wake_up = PyObject_GetAttrString(module, "_set_result_unless_cancelled");
    return state->asyncio.wake_up == NULL ? -1
                                          : iora__function_add_to_module(module, state, functions);
}
