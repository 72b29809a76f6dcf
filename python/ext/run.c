/* ext/run.c -- running the loop: the drain, blocking, signals.
 *
 * The ring holds handles, and steps, which have none (step.c). A *batch* is what is in it when it begins. stop() lets the batch end and nothing after it run; asyncio
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
#include "ext/step.h"
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
    PyObject *const first = iora__ring_pop(&loop->ready);
    HandleObject *handle;
    int rc = 0;

    loop->batch--;
    if (PyContext_CheckExact(first))
        return iora__step_run(loop, first);
    handle = (HandleObject *)first;
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

bool
iora__loop_must_wake(LoopObject *loop)
{
    const bool must = loop->is_blocked && !loop->is_woken;

    loop->is_woken |= must;
    return must;
}

void
iora__loop_wake(LoopObject *loop)
{
    if (iora__loop_must_wake(loop))
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

/* signal.set_wakeup_fd(), and what it takes to bring back what was there: at the end there may be no memory to make it.
 * All NULL if this is not a thread that hears of signals. The interpreter takes memory to look at a keyword. */
struct hearing {
    PyObject *set, *args, *keywords;
};

static void
drop_hearing(struct hearing *hearing)
{
    Py_CLEAR(hearing->set);
    Py_CLEAR(hearing->args);
    Py_CLEAR(hearing->keywords);
}

static int
hear_signals(LoopObject *loop, struct hearing *hearing)
{
    const int is_main = is_main_thread();
    PyObject *signal, *ours = NULL, *before = NULL;

    *hearing = (struct hearing){0};
    if (is_main <= 0)
        return is_main;
    if (make_signal_fds(loop) < 0)
        return -1;
    if ((signal = PyImport_ImportModule("_signal")) != NULL &&
        (hearing->set = PyObject_GetAttrString(signal, "set_wakeup_fd")) != NULL &&
        (hearing->keywords = Py_BuildValue("{s:O}", "warn_on_full_buffer", Py_False)) != NULL &&
        (hearing->args = PyTuple_New(1)) != NULL &&
        (ours = Py_BuildValue("(i)", loop->signal_fds[1])) != NULL &&
        (before = PyObject_Call(hearing->set, ours, hearing->keywords)) != NULL)
        PyTuple_SET_ITEM(hearing->args, 0, before);
    Py_XDECREF(ours);
    Py_XDECREF(signal);
    if (before == NULL)
        drop_hearing(hearing);
    else if (PyLong_AsLong(before) == -1)
        Py_CLEAR(hearing->keywords); /* where nobody is told, no warning is to be left out */
    return before == NULL ? -1 : 0;
}

/* Unless somebody has put another in the place of ours meanwhile. */
static int
hear_as_before(const LoopObject *loop, const struct hearing *hearing)
{
    PyObject *const found = PyObject_Call(hearing->set, hearing->args, hearing->keywords);
    PyObject *args, *result = found;
    const long fd = found != NULL ? PyLong_AsLong(found) : -1;

    if (fd >= 0 && fd != loop->signal_fds[1]) {
        args = PyTuple_Pack(1, found);
        result = args != NULL ? PyObject_Call(hearing->set, args, hearing->keywords) : NULL;
        Py_XDECREF(args);
        Py_XDECREF(result);
    }
    Py_XDECREF(found);
    return result == NULL ? -1 : 0;
}

static int
hear_signals_no_more(const LoopObject *loop, struct hearing *hearing)
{
    const int rc = hearing->set != NULL ? hear_as_before(loop, hearing) : 0;

    drop_hearing(hearing);
    return rc;
}

/* ---- running --------------------------------------------------------------------------------------------- */

static int
set_running(LoopObject *loop, PyObject *running)
{
    PyObject *const result =
        PyObject_CallMethod(loop->state->events, "_set_running_loop", "O", running);

    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Up to 3.13 saying that nothing runs takes memory. Where there was none we stand there for a running loop, and the next
 * who asks us finds that out. */
static int
forget_running(LoopObject *loop)
{
    if (set_running(loop, Py_None) == 0)
        return 0;
    PyErr_Clear();
    return set_running(loop, Py_None);
}

static bool
has_been_forgotten(const LoopObject *loop, PyObject *running)
{
    return PyObject_TypeCheck(running, loop->state->loop_type) && !((LoopObject *)running)->is_running;
}

static int
check_is_free(LoopObject *loop)
{
    PyObject *running;
    int rc = 0;

    if (loop->is_running) {
        PyErr_SetString(PyExc_RuntimeError, "This event loop is already running");
        return -1;
    }
    if ((running = PyObject_CallMethod(loop->state->events, "_get_running_loop", NULL)) == NULL)
        return -1;
    if (running != Py_None && has_been_forgotten(loop, running)) {
        rc = set_running(loop, Py_None);
    } else if (running != Py_None) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Cannot run the event loop while another loop is running");
        rc = -1;
    }
    Py_DECREF(running);
    return rc;
}

PyObject *
iora__loop_check_running(LoopObject *loop, PyObject *unused)
{
    (void)unused;
    return check_is_free(loop) < 0 ? NULL : Py_NewRef(Py_None);
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

/* What was there before, and the function that brings it back: at the end there may be no memory to look for it. */
struct hooks {
    PyObject *before, *set;
};

static void
drop_hooks(struct hooks *hooks)
{
    Py_CLEAR(hooks->before);
    Py_CLEAR(hooks->set);
}

/* sys.set_asyncgen_hooks(firstiter, finalizer) */
static int
set_asyncgen_hooks(LoopObject *loop, struct hooks *hooks)
{
    PyObject *const sys = PyImport_ImportModule("sys");
    PyObject *first = NULL, *last = NULL, *result = NULL;

    *hooks = (struct hooks){0};
    if (sys != NULL &&
        (hooks->before = PyObject_CallMethod(sys, "get_asyncgen_hooks", NULL)) != NULL &&
        (hooks->set = PyObject_GetAttrString(sys, "set_asyncgen_hooks")) != NULL &&
        (first = PyObject_GetAttrString((PyObject *)loop, "_asyncgen_firstiter_hook")) != NULL &&
        (last = PyObject_GetAttrString((PyObject *)loop, "_asyncgen_finalizer_hook")) != NULL)
        result = PyObject_CallFunctionObjArgs(hooks->set, first, last, NULL);
    if (result == NULL)
        drop_hooks(hooks);
    Py_XDECREF(first);
    Py_XDECREF(last);
    Py_XDECREF(sys);
    Py_XDECREF(result);
    return hooks->before == NULL ? -1 : 0;
}

static int
restore_asyncgen_hooks(struct hooks *hooks)
{
    PyObject *const result = PyObject_Call(hooks->set, hooks->before, NULL);

    Py_XDECREF(result);
    drop_hooks(hooks);
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
    struct hooks hooks;
    struct hearing hearing;
    iora_loop *outer;
    int rc;

    (void)unused;
    if (iora__loop_check_closed(loop) < 0 || check_is_free(loop) < 0)
        return NULL;
    /* One of ours that runs and of which asyncio has been told that it does not goes on when this one has ended. */
    outer = iora__running;
    iora__running = NULL;
    if ((rc = iora__loop_enter(loop->core)) < 0) {
        iora__running = outer;
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
    if (hear_signals(loop, &hearing) < 0)
        goto restore_hooks;
    if (set_running(loop, (PyObject *)loop) < 0)
        goto stop_hearing;
    (void)turn_until_stopped(loop);
    UNDO(forget_running(loop));
stop_hearing:
    UNDO(hear_signals_no_more(loop, &hearing));
restore_hooks:
    UNDO(restore_asyncgen_hooks(&hooks));
stop_tracking:
    UNDO(track_origins(loop, false));
leave:
    loop->is_stopping = false;
    loop->is_running = false;
    Py_CLEAR(loop->task_keywords);
    Py_CLEAR(loop->future_keywords);
    iora__bound_clear(&loop->bound);
    loop->batch = 0;
    iora__loop_leave(loop->core);
    iora__running = outer;
    Py_DECREF(loop);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}
