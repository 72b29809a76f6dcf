/* ext/sync.c -- what the locks and queues have in common: a loop, and those who wait.
 *
 * An object is bound to a loop when somebody first has to wait for it, and refuses another loop from then on.
 *
 * Who waits is a future of asyncio's in a list of *waiters*: the task awaits it, so a cancel reaches it as any other,
 * without our knowing. Therefore a waiter may be done at any time, and whoever wakes one asks first. The list is a
 * ring in C. When Python looks at it (`_waiters`, which tests and libraries do) it becomes a real deque for good,
 * which may be changed or replaced from outside.
 *
 * Waking one calls methods of the loop, which may be anybody's and do anything: no pointer into a ring is kept
 * across it, and what is walked through is walked by number.
 */
#include "ext/sync.h"

#include "ext/running.h"
#include "ext/state.h"

/* ---- the object ------------------------------------------------------------------------------------ */

PyObject *
iora__sync_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    SyncObject *const self = (SyncObject *)type->tp_alloc(type, 0);

    (void)args;
    (void)keywords;
    if (self != NULL)
        self->state = iora__state_of(type);
    return (PyObject *)self;
}

PyObject *
iora__sync_create_future(SyncObject *self)
{
    PyObject *const loop = iora__get_running_loop(self->state);
    PyObject *future;

    if (loop == NULL)
        return NULL;
    if (self->loop == NULL || self->loop == Py_None)
        Py_XSETREF(self->loop, Py_NewRef(loop));
    if (self->loop != loop) {
        PyErr_Format(PyExc_RuntimeError, "%R is bound to a different event loop", self);
        Py_DECREF(loop);
        return NULL;
    }
    future = iora__create_future(self->state, loop);
    Py_DECREF(loop);
    return future;
}

PyObject *
iora__sync_repr(PyObject *self, PyObject *what, const struct waiters *waiters)
{
    PyObject *const plain = what != NULL ? PyBaseObject_Type.tp_repr(self) : NULL;
    PyObject *const inner =
        plain != NULL ? PyUnicode_Substring(plain, 1, PyUnicode_GET_LENGTH(plain) - 1) : NULL;
    const Py_ssize_t n = inner != NULL && waiters != NULL ? iora__waiters_count(waiters) : 0;
    PyObject *text = NULL;

    if (inner != NULL && n > 0)
        text = PyUnicode_FromFormat("<%U [%U, waiters:%zd]>", inner, what, n);
    else if (inner != NULL && n == 0)
        text = PyUnicode_FromFormat("<%U [%U]>", inner, what);
    Py_XDECREF(inner);
    Py_XDECREF(plain);
    Py_XDECREF(what);
    return text;
}

/* ---- waiters ----------------------------------------------------------------------------------------- */

Py_ssize_t
iora__waiters_count(const struct waiters *waiters)
{
    return waiters->deque == NULL ? (Py_ssize_t)waiters->ring.count
                                  : PyObject_Size(waiters->deque);
}

PyObject *
iora__waiters_get(const struct waiters *waiters, Py_ssize_t i)
{
    PyObject *item;

    if (waiters->deque == NULL)
        return (size_t)i < waiters->ring.count
                   ? Py_NewRef(iora__ring_at(&waiters->ring, (size_t)i))
                   : NULL;
    item = PySequence_GetItem(waiters->deque, i);
    if (item == NULL && PyErr_ExceptionMatches(PyExc_IndexError))
        PyErr_Clear();
    return item;
}

PyObject *
iora__waiters_pop(const struct state *state, struct waiters *waiters)
{
    PyObject *item;

    if (waiters->deque == NULL)
        return waiters->ring.count > 0 ? iora__ring_pop(&waiters->ring) : NULL;
    item = PyObject_CallMethodNoArgs(waiters->deque, state->str_popleft);
    if (item == NULL && PyErr_ExceptionMatches(PyExc_IndexError))
        PyErr_Clear();
    return item;
}

int
iora__waiters_add(const struct state *state, struct waiters *waiters, PyObject *future)
{
    PyObject *answer;

    if (waiters->deque == NULL) {
        if (iora__ring_push(&waiters->ring, future) < 0)
            return -1;
        Py_INCREF(future);
        return 0;
    }
    answer = PyObject_CallMethodOneArg(waiters->deque, state->str_append, future);
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

static int
remove_from_ring(struct ring *ring, PyObject *future)
{
    const size_t mask = ring->capacity - 1;
    size_t i = 0;

    while (i < ring->count && iora__ring_at(ring, i) != future)
        i++;
    if (i == ring->count)
        return 0;
    for (; i > 0; i--)
        ring->slots[(ring->first + i) & mask] = ring->slots[(ring->first + i - 1) & mask];
    ring->slots[ring->first] = future;
    Py_DECREF(iora__ring_pop(ring));
    return 1;
}

int
iora__waiters_remove(const struct state *state, struct waiters *waiters, PyObject *future)
{
    PyObject *answer;

    if (waiters->deque == NULL)
        return remove_from_ring(&waiters->ring, future);
    answer = PyObject_CallMethodOneArg(waiters->deque, state->str_remove, future);
    if (answer == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError))
            return -1;
        PyErr_Clear();
        return 0;
    }
    Py_DECREF(answer);
    return 1;
}

int
iora__waiters_all_cancelled(const struct state *state, const struct waiters *waiters)
{
    PyObject *future;
    int cancelled = 1;

    for (Py_ssize_t i = 0; cancelled > 0 && (future = iora__waiters_get(waiters, i)) != NULL; i++) {
        cancelled = iora__future_is_cancelled(state, future);
        Py_DECREF(future);
    }
    return cancelled > 0 && PyErr_Occurred() ? -1 : cancelled;
}

Py_ssize_t
iora__waiters_wake(const struct state *state, const struct waiters *waiters, Py_ssize_t n,
                   PyObject *result)
{
    Py_ssize_t woken = 0;
    PyObject *future;
    int rc;

    for (Py_ssize_t i = 0; woken < n && (future = iora__waiters_get(waiters, i)) != NULL; i++) {
        rc = iora__future_wake(state, future, result);
        Py_DECREF(future);
        if (rc < 0)
            return -1;
        woken += rc;
    }
    return woken < n && PyErr_Occurred() ? -1 : woken;
}

PyObject *
iora__waiters_as_deque(const struct state *state, struct waiters *waiters)
{
    PyObject *deque;

    if (waiters->deque != NULL)
        return Py_NewRef(waiters->deque);
    if ((deque = PyObject_CallNoArgs(state->deque)) == NULL)
        return NULL;
    waiters->deque = deque;
    while (waiters->ring.count > 0) {
        PyObject *const future = iora__ring_pop(&waiters->ring);
        const int rc = iora__waiters_add(state, waiters, future);

        Py_DECREF(future);
        if (rc < 0)
            return NULL;
    }
    iora__ring_clear(&waiters->ring);
    return Py_NewRef(deque);
}

PyObject *
iora__waiters_as_deque_or_none(const struct state *state, struct waiters *waiters)
{
    if (waiters->deque == NULL && waiters->ring.slots == NULL)
        Py_RETURN_NONE;
    return iora__waiters_as_deque(state, waiters);
}

int
iora__waiters_set(struct waiters *waiters, PyObject *deque)
{
    if (deque == NULL) {
        PyErr_SetString(PyExc_AttributeError, "cannot delete it");
        return -1;
    }
    iora__ring_clear(&waiters->ring);
    Py_XSETREF(waiters->deque, deque == Py_None ? NULL : Py_NewRef(deque));
    return 0;
}

int
iora__waiters_traverse(const struct waiters *waiters, visitproc visit, void *arg)
{
    Py_VISIT(waiters->deque);
    for (size_t i = 0; i < waiters->ring.count; i++)
        Py_VISIT(iora__ring_at(&waiters->ring, i));
    return 0;
}

void
iora__waiters_clear(struct waiters *waiters)
{
    iora__ring_clear(&waiters->ring);
    Py_CLEAR(waiters->deque);
}

/* ---- waiting, in a step ------------------------------------------------------------------------------- */

AwaitableObject *
iora__sync_awaitable(SyncObject *owner, const struct iora__awaitable_kind *kind)
{
    AwaitableObject *const self = iora__awaitable_new(owner->state, kind);

    if (self != NULL)
        self->refs[IORA__OWNER] = Py_NewRef((PyObject *)owner);
    return self;
}

enum iora__outcome
iora__sync_wait(AwaitableObject *self, struct waiters *waiters, PyObject **out)
{
    PyObject *const future = iora__sync_create_future((SyncObject *)self->refs[IORA__OWNER]);

    if (future == NULL)
        return IORA__RAISE;
    if (iora__waiters_add(self->state, waiters, future) < 0) {
        Py_DECREF(future);
        return IORA__RAISE;
    }
    Py_XSETREF(self->refs[IORA__FUTURE], future);
    *out = Py_NewRef(future);
    return IORA__AWAIT;
}

int
iora__sync_wait_ended(AwaitableObject *self, struct waiters *waiters)
{
    PyObject *type, *value, *traceback;

    if (!PyErr_Occurred())
        return iora__waiters_remove(self->state, waiters, self->refs[IORA__FUTURE]);
    PyErr_Fetch(&type, &value, &traceback);
    const int rc = iora__waiters_remove(self->state, waiters, self->refs[IORA__FUTURE]);
    if (rc < 0)
        PyErr_Clear();
    PyErr_Restore(type, value, traceback);
    return rc;
}
