/* ext/loop.c -- the loop that asyncio sees.
 *
 * A loop object is a loop of the core's with a guest (core/loop.h): the ring of handles is the ready queue, and
 * the core polls, keeps the timers and wakes. What happens for each callback, timer and readiness is here in C
 * (schedule.c, run.c, watch.c); what happens once for each program or connection is Python
 * (iora/_rare.py), which is mixed in by the class that users see:
 *
 *     class EventLoop(_c.Loop, Rare, asyncio.AbstractEventLoop)
 *
 * The C base comes first: a C type over a Python class with its own traverse would hang the collector.
 *
 * Life: open --- close() ---> closed (what can be asked still can) --- core is NULL --- dropped. It is closed before it
 * lets go of anything, which may run anything: what that could add would outlive the core. A loop that is dropped open
 * says so by a ResourceWarning and closes itself.
 */
#include "ext/loop.h"

#include "ext/attempt.h"
#include "ext/compat.h"
#include "ext/listener.h"
#include "ext/pool.h"
#include "ext/state.h"
#include "ext/table.h"
#include "ext/transport.h"

#include "sys/sys.h"

#include <stdlib.h>
#include <structmember.h>

/* ---- for all files ------------------------------------------------------------------------------- */

int
iora__raise(int code)
{
    if (code == -ENOMEM) {
        PyErr_NoMemory();
    } else if (code > -4096) {
        errno = -code;
        PyErr_SetFromErrno(PyExc_OSError);
    } else {
        PyErr_SetString(PyExc_RuntimeError, iora_strerror(code));
    }
    return -1;
}

int
iora__loop_check_closed(LoopObject *loop)
{
    if (!loop->is_closed)
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
    return -1;
}

int
iora__loop_push(LoopObject *loop, HandleObject *handle)
{
    if (iora__ring_push(&loop->ready, (PyObject *)handle) < 0) {
        Py_DECREF(handle);
        return -1;
    }
    handle->flags |= IORA__QUEUED;
    return 0;
}

void
iora__loop_push_promised(LoopObject *loop, HandleObject *handle)
{
    iora__ring_put(&loop->ready, (PyObject *)handle);
    handle->flags |= IORA__QUEUED;
}

void
iora__loop_keep_exception(LoopObject *loop)
{
    PyObject *const exception = iora__take_exception();

    if (loop->kept == NULL)
        loop->kept = exception;
    else
        Py_DECREF(exception);
}

int
iora__loop_raise_kept(LoopObject *loop)
{
    PyObject *const exception = loop->kept;

    if (exception == NULL)
        return 0;
    loop->kept = NULL;
    iora__raise_exception(exception);
    return -1;
}

/* ---- making ---------------------------------------------------------------------------------------- */

static PyObject *
loop_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    LoopObject *const loop = (LoopObject *)type->tp_alloc(type, 0);

    (void)args;
    (void)keywords;
    if (loop == NULL)
        return NULL;
    loop->module = Py_NewRef(iora__module_of(type));
    loop->state = PyModule_GetState(loop->module);
    loop->is_closed = true; /* until it has a core */
    loop->signal_fds[0] = loop->signal_fds[1] = -1;
    iora__list_init(&loop->timers);
    iora__list_init(&loop->transports);
    iora__list_init(&loop->unsent);
    iora__list_init(&loop->listeners);
    loop->write_policy = IORA__WRITE_PER_CALLBACK;
    return (PyObject *)loop;
}

/* Whether an attribute of the object's class is the one that we gave it. */
static int
is_ours(LoopObject *loop, PyObject *name)
{
    PyObject *const found = PyObject_GetAttr((PyObject *)Py_TYPE(loop), name);
    PyObject *const ours =
        found != NULL ? PyObject_GetAttr((PyObject *)loop->state->loop_type, name) : NULL;
    const int is = ours == NULL ? -1 : found == ours;

    Py_XDECREF(found);
    Py_XDECREF(ours);
    return is;
}

/* Whether a variable of the environment is set, and to more than nothing, as the interpreter's own count. */
static bool
is_in_environment(const char *name)
{
    const char *const value = getenv(name);

    return value != NULL && *value != '\0';
}

bool
iora__loop_ask_class(LoopObject *loop)
{
    const struct asyncio *const asyncio = &loop->state->asyncio;
    const int is_plain = is_ours(loop, asyncio->str_call_soon) > 0 &&
                         is_ours(loop, asyncio->str_call_at) > 0 &&
                         is_ours(loop, asyncio->str_call_soon_threadsafe) > 0 &&
                         is_ours(loop, asyncio->str_run_in_executor) > 0;

    if (PyErr_Occurred())
        PyErr_Clear();
    else
        loop->plain = (struct plain_class){Py_TYPE(loop)->tp_version_tag, is_plain};
    return is_plain;
}

static int
open_core(LoopObject *loop)
{
    int rc = iora_loop_new(NULL, &loop->core);

    if (rc < 0)
        return iora__raise(rc);
    if ((rc = iora__mailbox_make(loop->core)) < 0) {
        (void)iora_loop_free(loop->core);
        loop->core = NULL;
        return iora__raise(rc);
    }
    iora__loop_init_guest(loop);
    loop->is_closed = false;
    return 0;
}

static int
loop_init(LoopObject *loop, PyObject *args, PyObject *keywords)
{
    PyObject *debug, *selector; /* asyncio.SelectorEventLoop takes one; we wait in our own way */
    int is_debug;

    if (!PyArg_ParseTuple(args, "|O:EventLoop", &selector) ||
        (keywords != NULL && !PyArg_ValidateKeywordArguments(keywords)))
        return -1;
    if (loop->core != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the loop has been made already");
        return -1;
    }
    if ((debug = PyObject_CallNoArgs(loop->state->is_debug_mode)) == NULL)
        return -1;
    is_debug = PyObject_IsTrue(debug);
    Py_DECREF(debug);
    if (is_debug < 0 || (loop->asyncgens = PyObject_CallNoArgs(loop->state->weak_set)) == NULL)
        return -1;
    loop->debug = is_debug;
    loop->polls_each_turn = is_in_environment("IORA_POLL_EVERY_TURN");
    loop->slow_callback_duration = 0.1;
    return open_core(loop);
}

/* ---- ending ------------------------------------------------------------------------------------------ */

static void
drop_callbacks(LoopObject *loop)
{
    iora__ring_clear(&loop->ready);
    while (!iora__list_is_empty(&loop->timers))
        iora__loop_drop_timer(loop, iora__container_of(loop->timers._next, TimerObject, in_loop));
    iora__loop_drop_watches(loop);
}

/* What was written last is sent before, while a send that fails can still be told to its protocol's loop. */
static void
become_closed(LoopObject *loop)
{
    if (!loop->is_closed && loop->core != NULL)
        iora__loop_flush(loop);
    loop->is_closed = true;
}

static void
close_core(LoopObject *loop)
{
    if (loop->core == NULL)
        return;
    become_closed(loop);
    iora__loop_drop_transports(loop);
    iora__loop_drop_listeners(loop);
    drop_callbacks(loop);
    iora__loop_close_signal_fds(loop);
    (void)iora_loop_free(loop->core);
    loop->core = NULL;
}

static PyObject *
loop_close(LoopObject *loop, PyObject *unused)
{
    PyObject *executor, *function, *args, *keywords, *result = NULL;

    (void)unused;
    if (loop->is_running) {
        PyErr_SetString(PyExc_RuntimeError, "Cannot close a running event loop");
        return NULL;
    }
    if (loop->is_closed)
        Py_RETURN_NONE;
    if (loop->debug) {
        result = PyObject_CallMethod(loop->state->logger, "debug", "sO", "Close %r", loop);
        if (result == NULL)
            return NULL;
        Py_DECREF(result);
    }
    if ((result = PyObject_CallMethod((PyObject *)loop, "_before_close", NULL)) == NULL)
        return NULL;
    Py_DECREF(result);
    close_core(loop);
    loop->executor_shutdown_called = true;
    iora__pool_drop(loop);
    executor = loop->default_executor;
    loop->default_executor = NULL;
    if (executor == NULL || executor == Py_None) {
        Py_XDECREF(executor);
        Py_RETURN_NONE;
    }
    function = PyObject_GetAttrString(executor, "shutdown");
    args = PyTuple_New(0);
    keywords = Py_BuildValue("{s:O}", "wait", Py_False);
    result = function != NULL && args != NULL && keywords != NULL
                 ? PyObject_Call(function, args, keywords)
                 : NULL;
    Py_XDECREF(function);
    Py_XDECREF(args);
    Py_XDECREF(keywords);
    Py_DECREF(executor);
    return result;
}

static void
loop_finalize(PyObject *self)
{
    LoopObject *const loop = (LoopObject *)self;
    PyObject *error_type, *error_value, *error_traceback, *result;

    if (loop->core == NULL)
        return;
    PyErr_Fetch(&error_type, &error_value, &error_traceback);
    if (PyErr_ResourceWarning(self, 1, "unclosed event loop %R", self) < 0)
        PyErr_WriteUnraisable(self);
    if (!loop->is_running) {
        if ((result = loop_close(loop, NULL)) == NULL)
            PyErr_WriteUnraisable(self);
        Py_XDECREF(result);
    }
    PyErr_Restore(error_type, error_value, error_traceback);
}

static int
loop_traverse(LoopObject *loop, visitproc visit, void *arg)
{
    int rc;

    Py_VISIT(Py_TYPE(loop));
    Py_VISIT(loop->module);
    for (size_t i = 0; i < loop->ready.count; i++)
        Py_VISIT(iora__ring_at(&loop->ready, i));
    for (struct iora__link *at = loop->timers._next; at != NULL && at != &loop->timers;
         at = at->_next)
        Py_VISIT(iora__container_of(at, TimerObject, in_loop));
    if ((rc = iora__bound_traverse(&loop->bound, visit, arg)) != 0)
        return rc;
    Py_VISIT(loop->kept);
    Py_VISIT(loop->exception_handler);
    Py_VISIT(loop->task_factory);
    Py_VISIT(loop->task_keywords);
    Py_VISIT(loop->future_keywords);
    Py_VISIT(loop->default_executor);
    Py_VISIT(loop->pool);
    Py_VISIT(loop->asyncgens);
    if ((rc = iora__loop_traverse_transports(loop, visit, arg)) != 0 ||
        (rc = iora__loop_traverse_listeners(loop, visit, arg)) != 0)
        return rc;
    return iora__loop_traverse_watches(loop, visit, arg);
}

static int
loop_clear(LoopObject *loop)
{
    become_closed(loop);
    if (loop->core != NULL) {
        iora__loop_drop_transports(loop);
        iora__loop_drop_listeners(loop);
        drop_callbacks(loop);
    }
    iora__bound_clear(&loop->bound);
    Py_CLEAR(loop->kept);
    Py_CLEAR(loop->exception_handler);
    Py_CLEAR(loop->task_factory);
    Py_CLEAR(loop->task_keywords);
    Py_CLEAR(loop->future_keywords);
    Py_CLEAR(loop->default_executor);
    iora__pool_drop(loop);
    Py_CLEAR(loop->asyncgens);
    return 0;
}

static void
loop_dealloc(LoopObject *loop)
{
    PyTypeObject *const type = Py_TYPE(loop);
    PyObject *const module = loop->module;

    if (PyObject_CallFinalizerFromDealloc((PyObject *)loop) < 0)
        return;
    PyObject_GC_UnTrack(loop);
    (void)loop_clear(loop);
    close_core(loop);
    iora__ring_clear(&loop->ready);
    type->tp_free((PyObject *)loop);
    Py_DECREF(type);
    Py_DECREF(module);
}

/* ---- tasks --------------------------------------------------------------------------------------------- */

#if PY_VERSION_HEX < 0x030c0000
/* "Task-7". From 3.12 on _asyncio makes a task's name when somebody asks. Before, it makes each by a printf, which is a
 * third of making the task; ours are counted apart from those of tasks that are made past the loop. */
static PyObject *
name_of_next_task(struct state *state)
{
    char digits[20], *at = digits + sizeof digits;
    unsigned long long number = ++state->asyncio.tasks_named;
    PyObject *name;

    do
        *--at = (char)('0' + number % 10);
    while ((number /= 10) > 0);

    const Py_ssize_t n = digits + sizeof digits - at;
    if ((name = PyUnicode_New(5 + n, 127)) == NULL)
        return NULL;
    memcpy(PyUnicode_1BYTE_DATA(name), "Task-", 5);
    memcpy(PyUnicode_1BYTE_DATA(name) + 5, at, (size_t)n);
    return name;
}

/* The name is held meanwhile: making a task may run Python, which may make another with the same keywords. */
static PyObject *
call_task_type(struct state *state, PyObject *args, PyObject *keywords)
{
    PyObject *const name = name_of_next_task(state);
    PyObject *task = NULL;

    if (name != NULL && PyDict_SetItem(keywords, state->asyncio.str_name, name) == 0)
        task = PyObject_Call((PyObject *)state->asyncio.task_type, args, keywords);
    Py_XDECREF(name);
    return task;
}
#else
static PyObject *
call_task_type(struct state *state, PyObject *args, PyObject *keywords)
{
    return PyObject_Call((PyObject *)state->asyncio.task_type, args, keywords);
}
#endif

/* {"loop": self}. It is kept while the loop runs: making one is a tenth of making a
 * task. Only for _asyncio's own types, which do not change it. */
static PyObject *
keywords_for(LoopObject *loop, PyObject **kept)
{
    PyObject *keywords = Py_XNewRef(*kept);

    if (keywords == NULL && (keywords = Py_BuildValue("{s:O}", "loop", loop)) != NULL &&
        loop->is_running)
        *kept = Py_NewRef(keywords);
    return keywords;
}

#if PY_VERSION_HEX < 0x030c0000
/* {"loop": self} with the arguments that have names. */
static PyObject *
keywords_with(LoopObject *loop, PyObject *const *args, PyObject *names)
{
    const Py_ssize_t n_names = PyTuple_GET_SIZE(names);
    PyObject *const keywords = Py_BuildValue("{s:O}", "loop", loop);

    for (Py_ssize_t i = 0; keywords != NULL && i < n_names; i++) {
        if (PyDict_SetItem(keywords, PyTuple_GET_ITEM(names, i), args[i]) < 0) {
            Py_DECREF(keywords);
            return NULL;
        }
    }
    return keywords;
}

/* Who has no name gets one here too, so that no two have the same. */
static PyObject *
make_task_with(LoopObject *loop, PyObject *coroutine, PyObject *const *args, PyObject *names)
{
    struct state *const state = loop->state;
    PyObject *const keywords = keywords_with(loop, args, names);
    PyObject *const positional = keywords != NULL ? PyTuple_Pack(1, coroutine) : NULL;
    PyObject *name, *task = NULL;

    if (positional != NULL) {
        name = PyDict_GetItemWithError(keywords, state->asyncio.str_name);
        if (name == NULL || name == Py_None)
            task = PyErr_Occurred() ? NULL : call_task_type(state, positional, keywords);
        else
            task = PyObject_Call((PyObject *)state->asyncio.task_type, positional, keywords);
    }
    Py_XDECREF(keywords);
    Py_XDECREF(positional);
    return task;
}
#endif

static PyObject *
make_task(LoopObject *loop, PyObject *coroutine)
{
    PyObject *const keywords = keywords_for(loop, &loop->task_keywords);
    PyObject *const args = keywords != NULL ? PyTuple_Pack(1, coroutine) : NULL;
    PyObject *const task = args != NULL ? call_task_type(loop->state, args, keywords) : NULL;

    Py_XDECREF(keywords);
    Py_XDECREF(args);
    return task;
}

/* create_task(coro, **keywords). The class of tasks is looked up at each call. */
static PyObject *
loop_create_task(LoopObject *loop, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const first[] = {"coro", NULL};
    struct state *const state = loop->state;
    const Py_ssize_t n_names = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    PyObject *stack[2 + 8], *type, *all_names, *task;

    if (n < 1)
        return iora__loop_call_in_order(loop, "create_task", first, args, n, names, loop_create_task);
    if (n > 1 || n_names > 7) {
        PyErr_SetString(PyExc_TypeError, "create_task() takes a coroutine and keyword arguments");
        return NULL;
    }
    if (iora__loop_check_closed(loop) < 0)
        return NULL;
    if (loop->task_factory != NULL && loop->task_factory != Py_None) {
        PyObject *const method =
            PyObject_GetAttrString((PyObject *)loop, "_create_task_by_factory");

        task = method != NULL ? PyObject_Vectorcall(method, args, 1, names) : NULL;
        Py_XDECREF(method);
        return task;
    }
    if ((type = PyObject_GetAttr(state->tasks, state->str_Task)) == NULL)
        return NULL;
    if (n_names == 0 && type == (PyObject *)state->asyncio.task_type) {
        task = make_task(loop, args[0]);
        Py_DECREF(type);
        return task;
    }
#if PY_VERSION_HEX < 0x030c0000
    if (type == (PyObject *)state->asyncio.task_type) {
        task = make_task_with(loop, args[0], args + 1, names);
        Py_DECREF(type);
        return task;
    }
#endif
    all_names = n_names == 0 ? Py_NewRef(state->task_keywords)
                             : PySequence_Concat(state->task_keywords, names);
    if (all_names == NULL) {
        Py_DECREF(type);
        return NULL;
    }
    stack[1] = args[0];
    stack[2] = (PyObject *)loop;
    for (Py_ssize_t i = 0; i < n_names; i++)
        stack[3 + i] = args[1 + i];
    task = PyObject_Vectorcall(type, stack + 1, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, all_names);
    Py_DECREF(all_names);
    Py_DECREF(type);
    return task;
}

static PyObject *
loop_create_future(LoopObject *loop, PyObject *unused)
{
    PyObject *const keywords = keywords_for(loop, &loop->future_keywords);
    PyObject *const args = keywords != NULL ? PyTuple_New(0) : NULL;
    PyObject *const future =
        args != NULL
            ? PyObject_Call((PyObject *)loop->state->asyncio.future_type, args, keywords)
            : NULL;

    (void)unused;
    Py_XDECREF(keywords);
    Py_XDECREF(args);
    return future;
}

static PyObject *
loop_set_task_factory(LoopObject *loop, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const parameters[] = {"factory", NULL};
    PyObject *factory;

    if (iora__take_args("set_task_factory", parameters, 1, args, n, names, &factory) < 0)
        return NULL;
    if (factory != Py_None && !PyCallable_Check(factory)) {
        PyErr_SetString(PyExc_TypeError, "task factory must be a callable or None");
        return NULL;
    }
    Py_XSETREF(loop->task_factory, Py_NewRef(factory));
    Py_RETURN_NONE;
}

static PyObject *
or_none(PyObject *object)
{
    return Py_NewRef(object != NULL ? object : Py_None);
}

static PyObject *
loop_get_task_factory(LoopObject *loop, PyObject *unused)
{
    (void)unused;
    return or_none(loop->task_factory);
}

/* ---- states ---------------------------------------------------------------------------------------------- */

static PyObject *
loop_stop(LoopObject *loop, PyObject *unused)
{
    (void)unused;
    loop->is_stopping = true;
    Py_RETURN_NONE;
}

static PyObject *
loop_is_running(LoopObject *loop, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(loop->is_running);
}

static PyObject *
loop_is_closed(LoopObject *loop, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(loop->is_closed);
}

static PyObject *
loop_time(LoopObject *loop, PyObject *unused)
{
    const int64_t now_ns = loop->core != NULL ? iora__loop_now_ns(loop->core)
                                              : iora__sys_clock_ns(); /* the same clock */

    (void)unused;
    return PyFloat_FromDouble((double)now_ns * 1e-9);
}

static PyObject *
loop_get_debug(LoopObject *loop, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(loop->debug);
}

static PyObject *
loop_set_debug(LoopObject *loop, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const parameters[] = {"enabled", NULL};
    PyObject *enabled;
    int is_true;

    if (iora__take_args("set_debug", parameters, 1, args, n, names, &enabled) < 0 ||
        (is_true = PyObject_IsTrue(enabled)) < 0)
        return NULL;
    loop->debug = is_true;
    if (!loop->is_running)
        Py_RETURN_NONE;
    return PyObject_CallMethod(
        (PyObject *)loop, "call_soon_threadsafe", "NO",
        PyObject_GetAttrString((PyObject *)loop, "_set_coroutine_origin_tracking"), enabled);
}

static PyObject *
loop_check_closed(LoopObject *loop, PyObject *unused)
{
    (void)unused;
    return iora__loop_check_closed(loop) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
loop_check_callback(LoopObject *loop, PyObject *args)
{
    PyObject *callback;
    const char *method;

    if (!PyArg_ParseTuple(args, "Os:_check_callback", &callback, &method) ||
        iora__loop_check_callback(loop, callback, method) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
get_debug(LoopObject *loop, void *unused)
{
    (void)unused;
    return PyBool_FromLong(loop->debug);
}

static PyObject *
get_closed(LoopObject *loop, void *unused)
{
    (void)unused;
    return PyBool_FromLong(loop->is_closed);
}

static PyObject *
get_stopping(LoopObject *loop, void *unused)
{
    (void)unused;
    return PyBool_FromLong(loop->is_stopping);
}

static PyObject *
get_thread_id(LoopObject *loop, void *unused)
{
    (void)unused;
    return loop->is_running ? PyLong_FromUnsignedLong(loop->thread_id) : Py_NewRef(Py_None);
}

static PyObject *
get_current_handle(LoopObject *loop, void *unused)
{
    (void)unused;
    return or_none(loop->current_handle);
}

/* What has threads to wait for: the pool, the default executor. */
static PyObject *
get_executors(LoopObject *loop, void *unused)
{
    PyObject *const executor = loop->default_executor == Py_None ? NULL : loop->default_executor;

    (void)unused;
    return loop->pool == NULL ? PyTuple_Pack(executor != NULL, executor)
                              : PyTuple_Pack(1 + (executor != NULL), loop->pool, executor);
}

static PyGetSetDef loop_getset[] = {
    {"_debug", (getter)get_debug, NULL, NULL, NULL},
    {"_closed", (getter)get_closed, NULL, NULL, NULL},
    {"_stopping", (getter)get_stopping, NULL, NULL, NULL},
    {"_thread_id", (getter)get_thread_id, NULL, NULL, NULL},
    {"_current_handle", (getter)get_current_handle, NULL, NULL, NULL},
    {"_default_executor", (getter)iora__pool_get_executor, (setter)iora__pool_set_executor, NULL, NULL},
    {"_executors", (getter)get_executors, NULL, NULL, NULL},
    {0},
};

static PyMemberDef loop_members[] = {
    {"slow_callback_duration", T_DOUBLE, offsetof(LoopObject, slow_callback_duration), 0, NULL},
    {"_polls_each_turn", T_BOOL, offsetof(LoopObject, polls_each_turn), 0, NULL},
    {"_write_policy", T_UBYTE, offsetof(LoopObject, write_policy), 0, NULL},
    {"_exception_handler", T_OBJECT, offsetof(LoopObject, exception_handler), 0, NULL},
    {"_task_factory", T_OBJECT, offsetof(LoopObject, task_factory), 0, NULL},
    {"_asyncgens", T_OBJECT, offsetof(LoopObject, asyncgens), 0, NULL},
    {"_asyncgens_shutdown_called", T_BOOL, offsetof(LoopObject, asyncgens_shutdown_called), 0,
     NULL},
    {"_executor_shutdown_called", T_BOOL, offsetof(LoopObject, executor_shutdown_called), 0, NULL},
    {0},
};

#define KEYWORDS (METH_FASTCALL | METH_KEYWORDS)

static PyMethodDef loop_methods[] = {
    METHOD("run_forever", iora__loop_run_forever, METH_NOARGS,
           "run_forever($self, /)\n--\n\nRun until stop() is called."),
    METHOD("stop", loop_stop, METH_NOARGS,
           "stop($self, /)\n--\n\nEnd run_forever() once what is ready now has run."),
    METHOD("is_running", loop_is_running, METH_NOARGS, "is_running($self, /)\n--\n\n"),
    METHOD("is_closed", loop_is_closed, METH_NOARGS, "is_closed($self, /)\n--\n\n"),
    METHOD("close", loop_close, METH_NOARGS,
           "close($self, /)\n--\n\nDrop all callbacks. The loop must not be running."),
    METHOD("time", loop_time, METH_NOARGS, "time($self, /)\n--\n\nThe loop's clock, in seconds."),
    METHOD("call_soon", iora__loop_call_soon, KEYWORDS,
           "call_soon($self, callback, *args, context=None)\n--\n\n"
           "Call callback(*args) after everything that is ready now."),
    METHOD("call_soon_threadsafe", iora__loop_call_soon_threadsafe, KEYWORDS,
           "call_soon_threadsafe($self, callback, *args, context=None)\n--\n\n"
           "As call_soon(), from any thread or signal handler."),
    METHOD("call_later", iora__loop_call_later, KEYWORDS,
           "call_later($self, delay, callback, *args, context=None)\n--\n\n"
           "Call callback(*args) in `delay` seconds."),
    METHOD("call_at", iora__loop_call_at, KEYWORDS,
           "call_at($self, when, callback, *args, context=None)\n--\n\n"
           "Call callback(*args) at a time of the loop's clock."),
    METHOD("run_in_executor", iora__loop_run_in_executor, KEYWORDS,
           "run_in_executor($self, executor, func, *args)\n--\n\n"
           "A future for func(*args), called in a thread of the executor (None: the loop's own)."),
    METHOD("create_future", loop_create_future, METH_NOARGS, "create_future($self, /)\n--\n\n"),
    METHOD("create_task", loop_create_task, KEYWORDS,
           "create_task($self, coro, **kwargs)\n--\n\nHave a coroutine run."),
    METHOD("set_task_factory", loop_set_task_factory, KEYWORDS,
           "set_task_factory($self, factory)\n--\n\n"),
    METHOD("get_task_factory", loop_get_task_factory, METH_NOARGS,
           "get_task_factory($self, /)\n--\n\n"),
    METHOD("add_reader", iora__loop_add_reader, KEYWORDS,
           "add_reader($self, fd, callback, *args)\n--\n\n"
           "Call callback(*args) while the descriptor can be read."),
    METHOD("add_writer", iora__loop_add_writer, KEYWORDS,
           "add_writer($self, fd, callback, *args)\n--\n\n"
           "Call callback(*args) while the descriptor can be written."),
    METHOD("remove_reader", iora__loop_remove_reader, KEYWORDS,
           "remove_reader($self, fd)\n--\n\nWhether there was one."),
    METHOD("remove_writer", iora__loop_remove_writer, KEYWORDS,
           "remove_writer($self, fd)\n--\n\nWhether there was one."),
    /* The pidfd watcher of CPython 3.12 calls these. */
    METHOD("_add_reader", iora__loop_add_reader, KEYWORDS, ""),
    METHOD("_remove_reader", iora__loop_remove_reader, KEYWORDS, ""),
    METHOD("_attempt", iora__loop_attempt, METH_FASTCALL,
           "_attempt($self, fd, writing, function, *args)\n--\n\n"
           "A future for function(*args), called each time that the descriptor is ready until it "
           "raises no\n"
           "BlockingIOError."),
    METHOD("_make_transport", iora__loop_make_transport, METH_FASTCALL,
           "_make_transport($self, sock, protocol, waiter, extra, server)\n--\n\n"),
    METHOD("_transports_of", iora__loop_transports_of, METH_O, ""),
    METHOD("_listen", iora__loop_listen, METH_FASTCALL, ""),
    METHOD("get_debug", loop_get_debug, METH_NOARGS, "get_debug($self, /)\n--\n\n"),
    METHOD("set_debug", loop_set_debug, KEYWORDS, "set_debug($self, enabled)\n--\n\n"),
    METHOD("_check_running", iora__loop_check_running, METH_NOARGS, ""),
    METHOD("_check_closed", loop_check_closed, METH_NOARGS, ""),
    METHOD("_check_callback", loop_check_callback, METH_VARARGS, ""),
    METHOD("_set_coroutine_origin_tracking", iora__loop_set_origin_tracking, METH_O, ""),
    {0},
};

static PyType_Slot loop_slots[] = {
    {Py_tp_new, loop_new},           {Py_tp_init, loop_init},
    {Py_tp_dealloc, loop_dealloc},   {Py_tp_finalize, loop_finalize},
    {Py_tp_traverse, loop_traverse}, {Py_tp_clear, loop_clear},
    {Py_tp_methods, loop_methods},   {Py_tp_members, loop_members},
    {Py_tp_getset, loop_getset},     {Py_tp_setattro, iora__bound_setattro},
#if PY_VERSION_HEX < 0x030c0000
    {Py_tp_getattro, iora__bound_getattro},
#endif
    {0},
};

static PyType_Spec loop_spec = {
    .name = "iora._c.Loop",
    .basicsize = sizeof(LoopObject),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = loop_slots,
};

int
iora__loop_add_type(PyObject *module, struct state *state)
{
    state->loop_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &loop_spec, NULL);
    return state->loop_type == NULL ? -1 : PyModule_AddType(module, state->loop_type);
}
