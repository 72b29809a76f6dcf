/* ext/pool.c -- a loop's own threads: what run_in_executor(None, ...) and to_thread() run in.
 *
 * asyncio has a ThreadPoolExecutor there, whose way from a call to its result is a dozen locks and objects in Python.
 * A *pool* does what that does, with threads of `threading` that are made, named and counted as its own are:
 *
 *     loop     job --- an idle worker? ---> handed to the one that was idle last
 *                 '--- else -------------> a new thread, up to the maximum; the queue of jobs
 *     worker   runs it; puts its `finish` into the loop's ring; wakes the loop if that is blocked
 *     loop     finish: sets the future, unless that was cancelled
 *
 * All of it is guarded by the GIL. A *worker* lies on its thread's stack; idle, it waits for a lock of its own that
 * whoever hands it a job (or ends the pool) releases. A worker that has nothing left to do wakes the loop after
 * it has let go of the GIL: else the loop, woken, would wait for it. A job whose future was cancelled before its
 * turn is not run.
 *
 * Who gives a job away is told if there is no memory for it; a worker could tell nobody. So a job has from the start what
 * its end needs: the handle of `finish`, with a place promised in the ring. A new worker's lock is made by who starts it.
 * A job and its handle hold each other until one of them is used (deliver() or withdraw()).
 *
 * A job holds its loop, a pool does not: so a loop that is dropped goes, and its threads with it. At the end of
 * the interpreter iora._pool ends all pools and waits, as concurrent.futures does.
 *
 * Who looks at the executor (`_default_executor`), or sets one, gets a real one, which is used from then on; the pool
 * ends what it has. A loop whose methods are somebody else's does so too, by them.
 */
#include "ext/pool.h"

#include "ext/asyncio.h"
#include "ext/compat.h"
#include "ext/ring.h"
#include "ext/table.h"

#include <pythread.h>
#include <stddef.h>
#include <structmember.h>

struct worker {
    PyThread_type_lock lock; /* held while there is nothing to do */
    PyObject *job;           /* what it was handed; NULL: end */
    struct worker *next;     /* that is idle */
};

typedef struct PoolObject {
    PyObject_HEAD
    struct state *state;
    struct ring jobs;
    struct worker *idle;
    PyObject *threads; /* a list: those that were started */
    Py_ssize_t most;
    PyObject *weak_references;
    bool is_shut;
} PoolObject;

typedef struct JobObject {
    PyObject_HEAD
    struct state *state;
    LoopObject *loop;
    PyObject *future;
    PyObject *call, *args; /* args is NULL for none */
    PyObject *context;     /* NULL: the thread's */
    HandleObject *finish;  /* until it is pushed: it has a promise of the ring's */
    PyObject *result;      /* what came of it: a result or */
    PyObject *exception;
} JobObject;

/* ---- jobs -------------------------------------------------------------------------------------------- */

static int
job_traverse(JobObject *job, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(job));
    Py_VISIT(job->state->module);
    Py_VISIT(job->loop);
    Py_VISIT(job->future);
    Py_VISIT(job->call);
    Py_VISIT(job->args);
    Py_VISIT(job->context);
    Py_VISIT(job->finish);
    Py_VISIT(job->result);
    Py_VISIT(job->exception);
    return 0;
}

/* It will not be delivered. */
static void
withdraw(JobObject *job)
{
    if (job->finish == NULL)
        return;
    iora__ring_release(&job->loop->ready);
    Py_CLEAR(job->finish);
}

static int
job_clear(JobObject *job)
{
    withdraw(job);
    Py_CLEAR(job->loop);
    Py_CLEAR(job->future);
    Py_CLEAR(job->call);
    Py_CLEAR(job->args);
    Py_CLEAR(job->context);
    Py_CLEAR(job->result);
    Py_CLEAR(job->exception);
    return 0;
}

static void
job_dealloc(JobObject *job)
{
    PyTypeObject *const type = Py_TYPE(job);
    PyObject *const module = job->state->module;

    PyObject_GC_UnTrack(job);
    (void)job_clear(job);
    PyObject_GC_Del(job);
    Py_DECREF(type);
    Py_DECREF(module);
}

static PyType_Slot job_slots[] = {
    {Py_tp_dealloc, job_dealloc},
    {Py_tp_traverse, job_traverse},
    {Py_tp_clear, job_clear},
    {0},
};

static PyType_Spec job_spec = {
    .name = "iora._c.Job",
    .basicsize = sizeof(JobObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = job_slots,
};

static int
prepare_finish(JobObject *job)
{
    PyObject *const self = (PyObject *)job;

    if (iora__ring_promise(&job->loop->ready) < 0)
        return -1;
    if ((job->finish = iora__handle_new(job->loop, job->state->finish_job, &self, 1, NULL)) != NULL)
        return 0;
    iora__ring_release(&job->loop->ready);
    return -1;
}

/* Takes the reference to args. */
static JobObject *
make_job(LoopObject *loop, PyObject *call, PyObject *args, PyObject *context)
{
    struct state *const state = loop->state;
    JobObject *job = PyObject_GC_New(JobObject, state->job_type);

    if (job == NULL) {
        Py_XDECREF(args);
        return NULL;
    }
    Py_INCREF(state->module);
    job->state = state;
    job->loop = (LoopObject *)Py_NewRef((PyObject *)loop);
    job->call = Py_NewRef(call);
    job->args = args;
    job->context = Py_XNewRef(context);
    job->finish = NULL;
    job->result = job->exception = NULL;
    job->future = iora__create_future(state, (PyObject *)loop);
    PyObject_GC_Track((PyObject *)job);
    if (job->future == NULL || prepare_finish(job) < 0)
        Py_CLEAR(job);
    return job;
}

static PyObject *
call_job(JobObject *job)
{
    PyObject *result;

    if (job->context != NULL && PyContext_Enter(job->context) < 0)
        return NULL;
    result = job->args != NULL ? PyObject_Call(job->call, job->args, NULL)
                               : PyObject_CallNoArgs(job->call);
    if (job->context != NULL && PyContext_Exit(job->context) < 0)
        Py_CLEAR(result);
    return result;
}

/* By the call_soon_threadsafe() of somebody else. */
static void
deliver_by_method(JobObject *job)
{
    struct state *const state = job->state;
    PyObject *const args[] = {(PyObject *)job->loop, state->finish_job, (PyObject *)job};
    PyObject *const handle = PyObject_VectorcallMethod(state->asyncio.str_call_soon_threadsafe, args,
                                                       3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);

    if (handle == NULL)
        PyErr_WriteUnraisable((PyObject *)job);
    Py_XDECREF(handle);
}

/* Have the loop finish it. By what it must be woken for that, a reference that the caller gets; or NULL. */
static struct iora__mailbox *
deliver(JobObject *job)
{
    LoopObject *const loop = job->loop;
    HandleObject *finish;

    if (loop->is_closed) {
        withdraw(job); /* nobody waits */
        return NULL;
    }
    if (!iora__loop_is_plain(loop)) {
        withdraw(job);
        deliver_by_method(job);
        return NULL;
    }
    finish = job->finish;
    job->finish = NULL;
    iora__ring_release(&loop->ready);
    iora__loop_push_promised(loop, finish);
    return iora__loop_must_wake(loop) ? iora__mailbox_hold(loop->core) : NULL;
}

/* In a worker; returns as deliver(). */
static struct iora__mailbox *
run_job(JobObject *job)
{
    const int is_done = iora__future_is_done(job->state, job->future);

    if (is_done != 0) {
        if (is_done < 0)
            PyErr_WriteUnraisable((PyObject *)job);
        withdraw(job);
        return NULL;
    }
    if ((job->result = call_job(job)) == NULL)
        job->exception = iora__take_exception();
    Py_CLEAR(job->call); /* what was called may go in this thread, as the caller expects */
    Py_CLEAR(job->args);
    return deliver(job);
}

static int
set_future(JobObject *job)
{
    PyObject *exception;
    int rc;

    if (job->exception == NULL)
        return iora__future_set_result(job->state, job->future, job->result);
    if ((exception = iora__future_convert(job->state, job->exception)) == NULL)
        return -1;
    rc = iora__future_set_exception(job->state, job->future, exception);
    Py_DECREF(exception);
    return rc;
}

/* In the loop. */
static PyObject *
finish_job(PyObject *module, PyObject *object)
{
    JobObject *const job = (JobObject *)object;
    int rc = iora__future_is_cancelled(job->state, job->future);

    (void)module;
    if (rc == 0)
        rc = set_future(job);
    Py_CLEAR(job->exception); /* its frames may hold us */
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

/* ---- workers ------------------------------------------------------------------------------------------- */

static void
wake(struct iora__mailbox *mailbox)
{
    if (mailbox == NULL)
        return;
    iora__mailbox_signal(mailbox);
    iora__mailbox_release(mailbox);
}

/* Idle until handed a job: a reference; NULL: to end. */
static PyObject *
wait_for_job(PoolObject *pool, struct worker *worker, struct iora__mailbox *to_wake)
{
    worker->job = NULL;
    worker->next = pool->idle;
    pool->idle = worker;
    Py_BEGIN_ALLOW_THREADS
    wake(to_wake);
    PyThread_acquire_lock(worker->lock, WAIT_LOCK);
    Py_END_ALLOW_THREADS
    return worker->job;
}

static PyObject *
next_job(PoolObject *pool, struct worker *worker, struct iora__mailbox *to_wake)
{
    if (pool->jobs.count == 0 && !pool->is_shut)
        return wait_for_job(pool, worker, to_wake);
    wake(to_wake);
    return pool->jobs.count > 0 ? iora__ring_pop(&pool->jobs) : NULL;
}

static void
free_lock(PyObject *capsule)
{
    PyThread_free_lock(PyCapsule_GetPointer(capsule, NULL));
}

/* A worker's, in a capsule. */
static PyObject *
make_lock(void)
{
    const PyThread_type_lock lock = PyThread_allocate_lock();
    PyObject *const capsule = lock != NULL ? PyCapsule_New(lock, NULL, free_lock) : PyErr_NoMemory();

    if (lock != NULL && capsule == NULL)
        PyThread_free_lock(lock);
    return capsule;
}

/* What the threads run. */
static PyObject *
pool_work(PoolObject *pool, PyObject *lock)
{
    struct worker worker = {.lock = PyCapsule_GetPointer(lock, NULL)};
    struct iora__mailbox *to_wake = NULL;
    PyObject *job;

    if (worker.lock == NULL)
        return NULL;
    PyThread_acquire_lock(worker.lock, WAIT_LOCK);
    while ((job = next_job(pool, &worker, to_wake)) != NULL) {
        to_wake = run_job((JobObject *)job);
        Py_DECREF(job);
    }
    PyThread_release_lock(worker.lock);
    Py_RETURN_NONE;
}

/* NULL: to end. */
static void
hand_to_idle(PoolObject *pool, PyObject *job)
{
    struct worker *const worker = pool->idle;

    pool->idle = worker->next;
    worker->job = job;
    PyThread_release_lock(worker->lock);
}

/* One more thread; the GIL is let go of until it runs. */
static int
start_thread(PoolObject *pool)
{
    PyObject *const module = PyImport_ImportModule("iora._pool");
    PyObject *const lock = module != NULL ? make_lock() : NULL;
    PyObject *const result =
        lock != NULL ? PyObject_CallMethod(module, "start_thread", "OOO", pool, lock, pool->threads) : NULL;

    Py_XDECREF(module);
    Py_XDECREF(lock);
    Py_XDECREF(result);
    if (result != NULL)
        return 0;
    if (PyList_GET_SIZE(pool->threads) == 0 || !PyErr_ExceptionMatches(PyExc_RuntimeError))
        return -1;
    PyErr_Clear(); /* the system has no more: those that there are will do */
    return 0;
}

/* Takes the reference. */
static int
submit(PoolObject *pool, PyObject *job)
{
    if (pool->idle == NULL && PyList_GET_SIZE(pool->threads) < pool->most && start_thread(pool) < 0)
        goto fail;
    if (pool->is_shut) {
        PyErr_SetString(PyExc_RuntimeError, "cannot schedule new futures after shutdown");
        goto fail;
    }
    if (pool->idle != NULL)
        hand_to_idle(pool, job);
    else if (iora__ring_push(&pool->jobs, job) < 0)
        goto fail;
    return 0;
fail:
    Py_DECREF(job);
    return -1;
}

/* ---- the pool -------------------------------------------------------------------------------------------- */

static void
shut(PoolObject *pool)
{
    pool->is_shut = true;
    while (pool->idle != NULL)
        hand_to_idle(pool, NULL);
}

static int
join_threads(PoolObject *pool)
{
    PyObject *const threads = PyList_GetSlice(pool->threads, 0, PyList_GET_SIZE(pool->threads));
    int rc = threads != NULL ? 0 : -1;

    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(threads); i++) {
        PyObject *const result = PyObject_CallMethod(PyList_GET_ITEM(threads, i), "join", NULL);

        rc = result != NULL ? 0 : -1;
        Py_XDECREF(result);
    }
    Py_XDECREF(threads);
    return rc;
}

static PyObject *
pool_shutdown(PoolObject *pool, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"wait", NULL};
    int wait = true;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|$p:shutdown", names, &wait))
        return NULL;
    shut(pool);
    return wait && join_threads(pool) < 0 ? NULL : Py_NewRef(Py_None);
}

static int
pool_traverse(PoolObject *pool, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(pool));
    Py_VISIT(pool->state->module);
    Py_VISIT(pool->threads);
    for (size_t i = 0; i < pool->jobs.count; i++)
        Py_VISIT(iora__ring_at(&pool->jobs, i));
    return 0;
}

/* Its threads hold it: there are none. */
static void
pool_dealloc(PoolObject *pool)
{
    PyTypeObject *const type = Py_TYPE(pool);
    PyObject *const module = pool->state->module;

    PyObject_GC_UnTrack(pool);
    if (pool->weak_references != NULL)
        PyObject_ClearWeakRefs((PyObject *)pool);
    iora__ring_clear(&pool->jobs);
    Py_CLEAR(pool->threads);
    PyObject_GC_Del(pool);
    Py_DECREF(type);
    Py_DECREF(module);
}

static PyMethodDef pool_methods[] = {
    METHOD("_work", pool_work, METH_O, ""),
    METHOD("shutdown", pool_shutdown, METH_VARARGS | METH_KEYWORDS,
           "shutdown($self, *, wait=True)\n--\n\n"
           "Take no more, and end the threads once they have done what there is; wait for that."),
    {0},
};

static PyMemberDef pool_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(PoolObject, weak_references), READONLY, NULL},
    {0},
};

static PyType_Slot pool_slots[] = {
    {Py_tp_dealloc, pool_dealloc}, {Py_tp_traverse, pool_traverse}, {Py_tp_methods, pool_methods},
    {Py_tp_members, pool_members}, {0},
};

static PyType_Spec pool_spec = {
    .name = "iora._c.Pool",
    .basicsize = sizeof(PoolObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = pool_slots,
};

/* iora._pool.call(): NULL with an exception. */
static PyObject *
ask(const char *call, PyObject *pool)
{
    PyObject *const module = PyImport_ImportModule("iora._pool");
    PyObject *const answer =
        module == NULL ? NULL : PyObject_CallMethod(module, call, pool != NULL ? "O" : NULL, pool);

    Py_XDECREF(module);
    return answer;
}

static PyObject *
make_pool(LoopObject *loop)
{
    struct state *const state = loop->state;
    PoolObject *pool = PyObject_GC_New(PoolObject, state->pool_type);
    PyObject *most = NULL;

    if (pool == NULL)
        return NULL;
    Py_INCREF(state->module);
    pool->state = state;
    pool->jobs = (struct ring){0};
    pool->idle = NULL;
    pool->weak_references = NULL;
    pool->is_shut = false;
    pool->threads = PyList_New(0);
    PyObject_GC_Track((PyObject *)pool);
    if (pool->threads != NULL && (most = ask("register", (PyObject *)pool)) != NULL)
        pool->most = PyLong_AsSsize_t(most);
    Py_XDECREF(most);
    if (PyErr_Occurred())
        Py_CLEAR(pool);
    return (PyObject *)pool;
}

/* ---- what a loop has of it -------------------------------------------------------------------------------- */

static bool
has_executor(const LoopObject *loop)
{
    return (loop->default_executor != NULL && loop->default_executor != Py_None) ||
           (loop->pool != NULL && ((PoolObject *)loop->pool)->is_shut);
}

bool
iora__pool_is_used(LoopObject *loop)
{
    return !loop->is_closed && !loop->debug && !loop->executor_shutdown_called &&
           !has_executor(loop) && iora__loop_is_plain(loop);
}

static PyObject *
run_in_pool(LoopObject *loop, JobObject *job)
{
    PyObject *const future = job != NULL ? Py_NewRef(job->future) : NULL;

    if (future == NULL)
        return NULL;
    if ((loop->pool == NULL && (loop->pool = make_pool(loop)) == NULL) ||
        submit((PoolObject *)loop->pool, Py_NewRef((PyObject *)job)) < 0) {
        Py_DECREF(future);
        withdraw(job);
        Py_DECREF(job);
        return NULL;
    }
    Py_DECREF(job);
    return future;
}

PyObject *
iora__pool_run(LoopObject *loop, PyObject *call, PyObject *context)
{
    return run_in_pool(loop, make_job(loop, call, NULL, context));
}

static PyObject *
tuple_of(PyObject *const *items, Py_ssize_t n)
{
    PyObject *const tuple = PyTuple_New(n);

    for (Py_ssize_t i = 0; tuple != NULL && i < n; i++)
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(items[i]));
    return tuple;
}

static PyObject *
run_by_executor(LoopObject *loop, PyObject *executor, PyObject *const *args, Py_ssize_t n)
{
    PyObject *const method = PyObject_GetAttrString((PyObject *)loop, "_run_by_executor");
    PyObject *const rest = tuple_of(args, n);
    PyObject *const all = rest != NULL ? Py_BuildValue("(OO)", executor, rest) : NULL;
    PyObject *const future = method != NULL && all != NULL ? PyObject_Call(method, all, NULL) : NULL;

    Py_XDECREF(method);
    Py_XDECREF(rest);
    Py_XDECREF(all);
    return future;
}

static PyObject *
run_by_default(LoopObject *loop, PyObject *const *args, Py_ssize_t n)
{
    PyObject *future, *executor, *rest = NULL;

    if (loop->executor_shutdown_called) {
        PyErr_SetString(PyExc_RuntimeError, "Executor shutdown has been called");
        return NULL;
    }
    if (!has_executor(loop)) {
        if (n > 1 && (rest = tuple_of(args + 1, n - 1)) == NULL)
            return NULL;
        return run_in_pool(loop, make_job(loop, args[0], rest, NULL));
    }
    if ((executor = iora__pool_get_executor(loop, NULL)) == NULL)
        return NULL;
    future = run_by_executor(loop, executor, args, n);
    Py_DECREF(executor);
    return future;
}

PyObject *
iora__loop_run_in_executor(LoopObject *loop, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const first[] = {"executor", "func", NULL};

    if (n < 2)
        return iora__loop_call_in_order(loop, "run_in_executor", first, args, n, names, iora__loop_run_in_executor);
    if (iora__refuse_names("run_in_executor", names) < 0 || iora__loop_check_closed(loop) < 0 ||
        (loop->debug && iora__loop_check_callback(loop, args[1], "run_in_executor") < 0))
        return NULL;
    return args[0] == Py_None ? run_by_default(loop, args + 1, n - 1)
                              : run_by_executor(loop, args[0], args + 1, n - 1);
}

PyObject *
iora__pool_get_executor(LoopObject *loop, void *unused)
{
    PyObject *executor = loop->default_executor;

    (void)unused;
    if ((executor == NULL || executor == Py_None) && loop->pool != NULL && !loop->is_closed) {
        if ((executor = ask("make_executor", NULL)) == NULL)
            return NULL;
        Py_XSETREF(loop->default_executor, executor);
        shut((PoolObject *)loop->pool);
    }
    return Py_NewRef(executor != NULL ? executor : Py_None);
}

int
iora__pool_set_executor(LoopObject *loop, PyObject *executor, void *unused)
{
    (void)unused;
    Py_XSETREF(loop->default_executor, Py_XNewRef(executor));
    if (loop->pool != NULL)
        shut((PoolObject *)loop->pool);
    return 0;
}

void
iora__pool_drop(LoopObject *loop)
{
    if (loop->pool != NULL)
        shut((PoolObject *)loop->pool);
    Py_CLEAR(loop->pool);
}

static PyMethodDef functions[] = {
    METHOD("_finish_job", finish_job, METH_O, ""),
    {0},
};

int
iora__pool_add_type(PyObject *module, struct state *state)
{
    state->job_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &job_spec, NULL);
    state->pool_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &pool_spec, NULL);
    if (state->job_type == NULL || state->pool_type == NULL ||
        PyModule_AddFunctions(module, functions) < 0)
        return -1;
    state->finish_job = PyObject_GetAttrString(module, "_finish_job");
    return state->finish_job == NULL ? -1 : 0;
}
