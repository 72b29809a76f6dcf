/* ext/run.c -- running the loop: the drain, blocking, signals.
 *
 * A *batch* is what is in the ring when it begins. stop() lets the batch end and nothing after it run; asyncio
 * says the same of its turn. Several batches may run between two polls, within the core's slice, and a long
 * one may be interrupted by a poll. Programs' tests tend to count turns ("after two sleep(0) the other side has
 * read it"), which holds where each turn polls, as asyncio's does. So in debug mode, in which tests run as a
 * rule, and with IORA_POLL_EVERY_TURN in the environment, a batch is followed by a poll.
 *
 * The GIL is released only round a wait that may block. Until it is, nobody else can touch the ring; while it
 * is, `is_blocked` tells other threads to wake us. The backend delivers from within its wait: the first `_done`
 * that has something to do with Python takes the GIL back (iora__loop_take_gil), for all that follow.
 *
 * An exception that must leave the loop (SystemExit, KeyboardInterrupt, one from a signal handler) stays set,
 * and the drain ends; nothing of Python runs between there and the end of the turn.
 *
 * Signals. The interpreter's handler only notes the signal and writes to its wake-up descriptor, ours while we
 * run in the main thread: so a signal wakes the loop whichever thread it lands on. What the program had there
 * comes back when we end. After a wait, and once a turn, the interpreter is asked to run its handlers.
 */
#include "ext/compat.h"
#include "ext/loop.h"
#include "ext/state.h"
#include "ext/transport.h"

#include "sys/sys.h"

/* ---- the drain ------------------------------------------------------------------------------------ */

static int
say_slow(LoopObject *loop, HandleObject *handle, double took)
{
    PyObject *const task =
        handle->callback != NULL ? PyObject_GetAttrString(handle->callback, "__self__") : NULL;
    PyObject *result, *what = (PyObject *)handle, *seconds;
    int is_task = 0;

    PyErr_Clear();
    if (task != NULL) {
        PyObject *const type = PyObject_GetAttr(loop->state->tasks, loop->state->str_Task);

        is_task = type != NULL ? PyObject_IsInstance(task, type) : -1;
        Py_XDECREF(type);
        if (is_task > 0)
            what = task;
    }
    if (is_task < 0) {
        Py_XDECREF(task);
        return -1;
    }
    seconds = PyFloat_FromDouble(took);
    result = seconds == NULL ? NULL
                             : PyObject_CallMethod(loop->state->logger, "warning", "sOO",
                                                   "Executing %s took %.3f seconds", what, seconds);
    Py_XDECREF(seconds);
    Py_XDECREF(task);
    if (result == NULL)
        return -1;
    Py_DECREF(result);
    return 0;
}

static int
run_timed(LoopObject *loop, HandleObject *handle)
{
    const int64_t began_ns = iora__loop_now_ns(loop->core);
    int rc;

    loop->current_handle = (PyObject *)handle;
    rc = iora__handle_run(handle);
    loop->current_handle = NULL;
    if (rc == 0 && loop->core != NULL) {
        const double took = (double)(iora__loop_now_ns(loop->core) - began_ns) * 1e-9;

        if (took >= loop->slow_callback_duration)
            rc = say_slow(loop, handle, took);
    }
    return rc;
}

static int
run_next(LoopObject *loop)
{
    HandleObject *const handle = (HandleObject *)iora__ring_pop(&loop->ready);
    int rc = 0;

    loop->batch--;
    handle->flags &= (uint8_t)~IORA__QUEUED;
    if (!(handle->flags & IORA__CANCELLED))
        rc = loop->debug ? run_timed(loop, handle) : iora__handle_run(handle);
    Py_DECREF(handle);
    return rc;
}

/* Descriptors that are ready and timers that are due, in the order the core found them. */
static void
take_from_core(iora_loop *core)
{
    struct iora__link *link;

    while ((link = iora__list_pop(&core->ready._link)) != NULL) {
        struct iora__ready *const ready = iora__container_of(link, struct iora__ready, _link);

        ready->_run(ready);
    }
}

static void
run_slice(iora_loop *core, LoopObject *loop)
{
    iora__loop_begin_slice(core);
    while (core->slice > 0) {
        if (loop->batch == 0) {
            if ((loop->is_stopping || loop->polls_each_turn || loop->debug) && core->callbacks_run > 0)
                return;
            if ((loop->batch = loop->ready.count) == 0)
                return;
        }
        iora__loop_count_callback(core);
        if (run_next(loop) < 0)
            return;
        if (!iora__list_is_empty(&loop->unsent) && loop->write_policy != IORA__WRITE_PER_TURN)
            iora__loop_flush(loop);
    }
}

static void
drain(iora_loop *core, void *arg)
{
    LoopObject *const loop = arg;

    take_from_core(core);
    if (PyErr_Occurred() || iora__loop_raise_kept(loop) < 0)
        return;
    run_slice(core, loop);
    if (!PyErr_Occurred())
        iora__loop_flush(loop);
}

static bool
has_ready(iora_loop *core, void *arg)
{
    const LoopObject *const loop = arg;

    (void)core;
    return loop->ready.count > 0 || loop->kept != NULL || !iora__list_is_empty(&loop->unsent);
}

/* ---- blocking ---------------------------------------------------------------------------------------- */

static void
before_block(iora_loop *core, void *arg)
{
    LoopObject *const loop = arg;

    (void)core;
    loop->is_woken = false;
    loop->is_blocked = true;
    loop->released = PyEval_SaveThread();
}

void
iora__loop_take_gil(LoopObject *loop)
{
    if (!loop->is_blocked)
        return;
    PyEval_RestoreThread(loop->released);
    loop->is_blocked = false;
}

static void
after_block(iora_loop *core, void *arg)
{
    (void)core;
    iora__loop_take_gil(arg);
}

void
iora__loop_wake(LoopObject *loop)
{
    if (!loop->is_blocked || loop->is_woken)
        return;
    loop->is_woken = true;
    iora__mailbox_wake(loop->core);
}

void
iora__loop_init_guest(LoopObject *loop)
{
    loop->guest = (struct iora__guest){drain, has_ready, before_block, after_block, loop};
    loop->core->guest = &loop->guest;
}

/* ---- signals ------------------------------------------------------------------------------------------ */

/* The interpreter calls its handlers by itself; of the bytes the Python part sees whether that was enough. */
static void
read_signals(void *arg)
{
    LoopObject *const loop = arg;
    char bytes[64];
    ssize_t n;

    while ((n = iora__sys_recv(loop->signal_fds[0], bytes, sizeof bytes, MSG_DONTWAIT)) > 0) {
        PyObject *const numbers = PyBytes_FromStringAndSize(bytes, n);
        PyObject *const result =
            numbers != NULL ? PyObject_CallMethod((PyObject *)loop, "_on_wake_up", "O", numbers)
                            : NULL;

        if (result == NULL)
            PyErr_WriteUnraisable((PyObject *)loop);
        Py_XDECREF(result);
        Py_XDECREF(numbers);
    }
}

static int
make_signal_fds(LoopObject *loop)
{
    int rc;

    if (loop->signal_fds[0] >= 0)
        return 0;
    if ((rc = iora__sys_socketpair(SOCK_STREAM, loop->signal_fds)) < 0)
        return iora__raise(rc);
    iora_watcher_init(&loop->signal_watcher, loop->core, loop->signal_fds[0]);
    if ((rc = iora_watcher_on_readable(&loop->signal_watcher, read_signals, loop)) < 0) {
        iora__loop_close_signal_fds(loop);
        return iora__raise(rc);
    }
    return 0;
}

void
iora__loop_close_signal_fds(LoopObject *loop)
{
    if (loop->signal_fds[0] < 0)
        return;
    iora_watcher_close(&loop->signal_watcher);
    iora__sys_close(loop->signal_fds[0]);
    iora__sys_close(loop->signal_fds[1]);
    loop->signal_fds[0] = loop->signal_fds[1] = -1;
}

/* Which threads hear of signals in Python: the main one of the main interpreter. */
static int
is_main_thread(void)
{
    PyObject *const threading = PyImport_ImportModule("threading");
    PyObject *main_thread, *ident;
    unsigned long id;

    if (threading == NULL)
        return -1;
    main_thread = PyObject_CallMethod(threading, "main_thread", NULL);
    Py_DECREF(threading);
    if (main_thread == NULL)
        return -1;
    ident = PyObject_GetAttrString(main_thread, "ident");
    Py_DECREF(main_thread);
    if (ident == NULL)
        return -1;
    id = PyLong_AsUnsignedLongMask(ident);
    Py_DECREF(ident);
    return PyInterpreterState_Get() == PyInterpreterState_Main() &&
           id == PyThread_get_thread_ident();
}

/* signal.set_wakeup_fd(fd): the one it had before, -1 for none; -2 with an exception. */
static long
set_wakeup_fd(long fd)
{
    PyObject *const signal = PyImport_ImportModule("_signal");
    PyObject *function = NULL, *args = NULL, *keywords = NULL, *before = NULL;
    long result = -2;

    if (signal != NULL && (function = PyObject_GetAttrString(signal, "set_wakeup_fd")) != NULL &&
        (args = Py_BuildValue("(l)", fd)) != NULL &&
        (keywords = Py_BuildValue("{s:O}", "warn_on_full_buffer", Py_False)) != NULL &&
        (before = PyObject_Call(function, args, keywords)) != NULL)
        result = PyLong_AsLong(before);
    Py_XDECREF(before);
    Py_XDECREF(keywords);
    Py_XDECREF(args);
    Py_XDECREF(function);
    Py_XDECREF(signal);
    return result;
}

enum { NOT_HEARING = -3 };

static int
hear_signals(LoopObject *loop, long *before)
{
    const int is_main = is_main_thread();

    *before = NOT_HEARING;
    if (is_main <= 0)
        return is_main;
    if (make_signal_fds(loop) < 0)
        return -1;
    *before = set_wakeup_fd(loop->signal_fds[1]);
    return *before == -2 ? -1 : 0;
}

/* Unless somebody has put another in the place of ours meanwhile. */
static int
hear_signals_no_more(const LoopObject *loop, long before)
{
    long ours;

    if (before == NOT_HEARING)
        return 0;
    ours = set_wakeup_fd(before);
    if (ours >= 0 && ours != loop->signal_fds[1])
        ours = set_wakeup_fd(ours);
    return ours == -2 ? -1 : 0;
}

/* ---- running --------------------------------------------------------------------------------------------- */

static int
check_may_run(LoopObject *loop)
{
    PyObject *running;

    if (iora__loop_check_closed(loop) < 0)
        return -1;
    if (loop->is_running) {
        PyErr_SetString(PyExc_RuntimeError, "This event loop is already running");
        return -1;
    }
    if ((running = PyObject_CallMethod(loop->state->events, "_get_running_loop", NULL)) == NULL)
        return -1;
    Py_DECREF(running);
    if (running != Py_None) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Cannot run the event loop while another loop is running");
        return -1;
    }
    return 0;
}

PyObject *
iora__loop_set_origin_tracking(LoopObject *loop, PyObject *enabled)
{
    const int enable = PyObject_IsTrue(enabled);
    PyObject *const sys = PyImport_ImportModule("sys");
    PyObject *result = NULL, *depth;

    if (sys == NULL || enable < 0)
        goto done;
    if (enable == loop->tracks_origins) {
        result = Py_NewRef(Py_None);
        goto done;
    }
    if (enable) {
        if ((depth = PyObject_CallMethod(sys, "get_coroutine_origin_tracking_depth", NULL)) == NULL)
            goto done;
        loop->saved_origin_depth = (int)PyLong_AsLong(depth);
        Py_DECREF(depth);
    }
    result = PyObject_CallMethod(sys, "set_coroutine_origin_tracking_depth", "i",
                                 enable ? 10 : loop->saved_origin_depth);
    if (result != NULL)
        loop->tracks_origins = enable;
done:
    Py_XDECREF(sys);
    return result;
}

static int
track_origins(LoopObject *loop, bool enabled)
{
    PyObject *const result = iora__loop_set_origin_tracking(loop, enabled ? Py_True : Py_False);

    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* sys.set_asyncgen_hooks(firstiter, finalizer), with what was there before in *before. */
static int
set_asyncgen_hooks(LoopObject *loop, PyObject **before)
{
    PyObject *const sys = PyImport_ImportModule("sys");
    PyObject *first = NULL, *last = NULL, *result = NULL;

    *before = NULL;
    if (sys != NULL && (*before = PyObject_CallMethod(sys, "get_asyncgen_hooks", NULL)) != NULL &&
        (first = PyObject_GetAttrString((PyObject *)loop, "_asyncgen_firstiter_hook")) != NULL &&
        (last = PyObject_GetAttrString((PyObject *)loop, "_asyncgen_finalizer_hook")) != NULL)
        result = PyObject_CallMethod(sys, "set_asyncgen_hooks", "OO", first, last);
    if (result == NULL)
        Py_CLEAR(*before);
    Py_XDECREF(result);
    Py_XDECREF(first);
    Py_XDECREF(last);
    Py_XDECREF(sys);
    return *before == NULL ? -1 : 0;
}

static int
restore_asyncgen_hooks(PyObject *before)
{
    PyObject *const sys = PyImport_ImportModule("sys");
    PyObject *const function =
        sys != NULL ? PyObject_GetAttrString(sys, "set_asyncgen_hooks") : NULL;
    PyObject *const result = function != NULL ? PyObject_Call(function, before, NULL) : NULL;

    Py_XDECREF(result);
    Py_XDECREF(function);
    Py_XDECREF(sys);
    return result == NULL ? -1 : 0;
}

static int
set_running(LoopObject *loop, PyObject *running)
{
    PyObject *const result =
        PyObject_CallMethod(loop->state->events, "_set_running_loop", "O", running);

    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static int
turn_until_stopped(LoopObject *loop)
{
    int rc;

    do {
        rc = iora__loop_turn(loop->core, loop->is_stopping ? INT64_MIN : INT64_MAX);
        if (PyErr_Occurred() || PyErr_CheckSignals() < 0)
            return -1;
        if (rc < 0)
            return iora__raise(rc);
    } while (!loop->is_stopping || loop->batch > 0);
    return 0;
}

/* Undo something whatever is set, and keep what was set first. */
#define UNDO(call)                                                                                 \
    do {                                                                                           \
        PyObject *const raised = PyErr_Occurred() ? iora__take_exception() : NULL;                 \
        const bool failed = (call) < 0;                                                            \
        if (raised != NULL) {                                                                      \
            if (failed)                                                                            \
                PyErr_WriteUnraisable((PyObject *)loop);                                           \
            iora__raise_exception(raised);                                                         \
        }                                                                                          \
    } while (0)

PyObject *
iora__loop_run_forever(LoopObject *loop, PyObject *unused)
{
    PyObject *hooks;
    long wakeup_fd;
    int rc;

    (void)unused;
    if (check_may_run(loop) < 0)
        return NULL;
    if ((rc = iora__loop_enter(loop->core)) < 0) {
        (void)iora__raise(rc);
        return NULL;
    }
    Py_INCREF(loop);
    loop->is_running = true;
    loop->thread_id = PyThread_get_thread_ident();
    if (track_origins(loop, loop->debug) < 0)
        goto leave;
    if (set_asyncgen_hooks(loop, &hooks) < 0)
        goto stop_tracking;
    if (hear_signals(loop, &wakeup_fd) < 0)
        goto restore_hooks;
    if (set_running(loop, (PyObject *)loop) < 0)
        goto restore_wakeup_fd;
    (void)turn_until_stopped(loop);
    UNDO(set_running(loop, Py_None));
restore_wakeup_fd:
    UNDO(hear_signals_no_more(loop, wakeup_fd));
restore_hooks:
    UNDO(restore_asyncgen_hooks(hooks));
    Py_DECREF(hooks);
stop_tracking:
    UNDO(track_origins(loop, false));
leave:
    loop->is_stopping = false;
    loop->is_running = false;
    Py_CLEAR(loop->task_keywords);
    Py_CLEAR(loop->future_keywords);
    loop->batch = 0;
    iora__loop_leave(loop->core);
    Py_DECREF(loop);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}
