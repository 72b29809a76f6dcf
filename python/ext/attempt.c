/* ext/attempt.c -- a call that is tried whenever a descriptor is ready: what sock_recv() and its like wait on.
 *
 * An attempt watches a descriptor with a watcher of its own, so several may wait for one descriptor, and none
 * meets add_reader()'s. Each readiness makes a handle ready whose callback is the attempt. Called, it calls its
 * function; BlockingIOError and InterruptedError mean "again", anything else ends the future. A future that is
 * cancelled calls the attempt as its done callback, with itself as the argument; that ends it too.
 *
 *     watching --- function returned or raised ---> over
 *        '------- future done (cancelled) --------> over
 *
 * Who is watching is referenced by the loop's watcher, that is by itself: `self` is dropped when it is over.
 * When the loop is closed meanwhile the core forgets the watcher; the collector frees the rest, since a loop
 * that is gone is in no cycle with it.
 */
#include "ext/attempt.h"

#include "ext/compat.h"
#include "ext/state.h"

#include <stddef.h>
#include <structmember.h>

typedef struct AttemptObject {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    iora_watcher watcher;
    LoopObject *loop;
    HandleObject *handle; /* NULL when it is over */
    PyObject *function;
    PyObject *args;
    PyObject *future;
} AttemptObject;

static void
on_ready(void *arg)
{
    AttemptObject *const attempt = arg;
    HandleObject *const handle = attempt->handle;

    if (handle->flags & IORA__QUEUED)
        return;
    iora__loop_push_promised(attempt->loop, (HandleObject *)Py_NewRef((PyObject *)handle));
}

static void
end(AttemptObject *attempt)
{
    HandleObject *const handle = attempt->handle;

    if (handle == NULL)
        return;
    attempt->handle = NULL;
    iora__ring_release(&attempt->loop->ready);
    iora_watcher_close(&attempt->watcher);
    handle->flags |= IORA__CANCELLED; /* it may still be in the ring */
    Py_DECREF(handle);
}

/* Whether the future is done already; -1. */
static int
is_done(const AttemptObject *attempt)
{
    PyObject *const done =
        PyObject_CallMethodNoArgs(attempt->future, attempt->loop->state->str_done);
    const int is = done == NULL ? -1 : PyObject_IsTrue(done);

    Py_XDECREF(done);
    return is;
}

/* The function has ended, with a result or an exception: the future has it. */
static PyObject *
finish(AttemptObject *attempt, PyObject *result)
{
    struct state *const state = attempt->loop->state;
    PyObject *exception, *answer;
    int done;

    if (result == NULL && (PyErr_ExceptionMatches(PyExc_SystemExit) ||
                           PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)))
        return NULL;
    exception = result == NULL ? iora__take_exception() : NULL;
    end(attempt);
    if ((done = is_done(attempt)) == 0)
        answer =
            exception != NULL
                ? PyObject_CallMethodOneArg(attempt->future, state->str_set_exception, exception)
                : PyObject_CallMethodOneArg(attempt->future, state->str_set_result, result);
    else
        answer = done > 0 ? Py_NewRef(Py_None) : NULL;
    Py_XDECREF(exception);
    return answer;
}

static PyObject *
attempt_call(PyObject *self, PyObject *const *args, size_t n, PyObject *names)
{
    AttemptObject *const attempt = (AttemptObject *)self;
    PyObject *result, *answer;
    int done;

    (void)args;
    (void)names;
    if (PyVectorcall_NARGS(n) > 0) { /* by the future, which is done */
        end(attempt);
        Py_RETURN_NONE;
    }
    if (attempt->handle == NULL)
        Py_RETURN_NONE;
    if ((done = is_done(attempt)) != 0)
        return done < 0 ? NULL : Py_NewRef(Py_None);
    Py_INCREF(attempt);
    result = PyObject_Call(attempt->function, attempt->args, NULL);
    if (result == NULL && (PyErr_ExceptionMatches(PyExc_BlockingIOError) ||
                           PyErr_ExceptionMatches(PyExc_InterruptedError))) {
        PyErr_Clear();
        answer = Py_NewRef(Py_None);
    } else {
        answer = finish(attempt, result);
    }
    Py_XDECREF(result);
    Py_DECREF(attempt);
    return answer;
}

/* ---- making and ending -------------------------------------------------------------------------- */

static int
watch(AttemptObject *attempt, bool writing)
{
    const int rc = writing ? iora_watcher_on_writable(&attempt->watcher, on_ready, attempt)
                           : iora_watcher_on_readable(&attempt->watcher, on_ready, attempt);

    return rc < 0 ? iora__raise(rc) : 0;
}

static AttemptObject *
make(LoopObject *loop, int fd, PyObject *const *args, Py_ssize_t n)
{
    AttemptObject *const attempt = PyObject_GC_New(AttemptObject, loop->state->attempt_type);

    if (attempt == NULL)
        return NULL;
    attempt->vectorcall = attempt_call;
    iora_watcher_init(&attempt->watcher, loop->core, fd);
    attempt->loop = (LoopObject *)Py_NewRef((PyObject *)loop);
    attempt->handle = NULL;
    attempt->function = Py_NewRef(args[0]);
    attempt->args = PyTuple_New(n - 1);
    for (Py_ssize_t i = 1; attempt->args != NULL && i < n; i++)
        PyTuple_SET_ITEM(attempt->args, i - 1, Py_NewRef(args[i]));
    attempt->future = PyObject_CallMethod((PyObject *)loop, "create_future", NULL);
    if (attempt->args != NULL && attempt->future != NULL && iora__ring_promise(&loop->ready) == 0 &&
        (attempt->handle = iora__handle_new(loop, (PyObject *)attempt, NULL, 0, NULL)) == NULL)
        iora__ring_release(&loop->ready);
    PyObject_GC_Track((PyObject *)attempt);
    if (attempt->handle == NULL) {
        Py_DECREF(attempt);
        return NULL;
    }
    return attempt;
}

/* -1 with RuntimeError if a transport has it. */
static int
check_free(LoopObject *loop, int fd)
{
    PyObject *const number = PyLong_FromLong(fd);
    const int rc = number != NULL ? iora__loop_check_free(loop, fd, number) : -1;

    Py_XDECREF(number);
    return rc;
}

PyObject *
iora__loop_attempt(LoopObject *loop, PyObject *const *args, Py_ssize_t n)
{
    AttemptObject *attempt;
    PyObject *future = NULL, *added;
    int fd, writing;

    if (n < 3) {
        PyErr_SetString(PyExc_TypeError, "_attempt() needs a descriptor, a bool and a function");
        return NULL;
    }
    if ((fd = PyObject_AsFileDescriptor(args[0])) < 0 || (writing = PyObject_IsTrue(args[1])) < 0 ||
        iora__loop_check_closed(loop) < 0 || check_free(loop, fd) < 0)
        return NULL;
    if ((attempt = make(loop, fd, args + 2, n - 2)) == NULL)
        return NULL;
    added = PyObject_CallMethod(attempt->future, "add_done_callback", "O", attempt);
    if (added != NULL && watch(attempt, writing) == 0)
        future = Py_NewRef(attempt->future);
    else
        end(attempt);
    Py_XDECREF(added);
    Py_DECREF(attempt); /* the handle holds it, and it the handle */
    return future;
}

static int
attempt_traverse(AttemptObject *attempt, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(attempt));
    Py_VISIT(attempt->loop);
    Py_VISIT(attempt->function);
    Py_VISIT(attempt->args);
    Py_VISIT(attempt->future);
    /* While it watches, the handle is the watcher's, which no collector knows: then it is held from outside. */
    if (attempt->handle != NULL && attempt->watcher._loop == NULL)
        Py_VISIT(attempt->handle);
    return 0;
}

static int
attempt_clear(AttemptObject *attempt)
{
    end(attempt);
    Py_CLEAR(attempt->function);
    Py_CLEAR(attempt->args);
    Py_CLEAR(attempt->future);
    return 0;
}

static void
attempt_dealloc(AttemptObject *attempt)
{
    PyTypeObject *const type = Py_TYPE(attempt);

    PyObject_GC_UnTrack(attempt);
    (void)attempt_clear(attempt);
    Py_DECREF(attempt->loop);
    PyObject_GC_Del(attempt);
    Py_DECREF(type);
}

static PyMemberDef attempt_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(AttemptObject, vectorcall), READONLY, NULL},
    {0},
};

static PyType_Slot attempt_slots[] = {
    {Py_tp_dealloc, attempt_dealloc}, {Py_tp_traverse, attempt_traverse},
    {Py_tp_clear, attempt_clear},     {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, attempt_members}, {0},
};

static PyType_Spec attempt_spec = {
    .name = "iora._c.Attempt",
    .basicsize = sizeof(AttemptObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = attempt_slots,
};

int
iora__attempt_add_type(PyObject *module, struct state *state)
{
    state->attempt_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &attempt_spec, NULL);
    return state->attempt_type == NULL ? -1 : 0;
}
