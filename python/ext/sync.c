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
        self->state = PyModule_GetState(Py_NewRef(iora__module_of(type)));
    return (PyObject *)self;
}

int
iora__sync_traverse(PyObject *object, visitproc visit, void *arg)
{
    const SyncObject *const self = (const SyncObject *)object;

    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->state->module);
    Py_VISIT(self->loop);
    return iora__waiters_traverse(&self->waiters, visit, arg);
}

int
iora__sync_clear(PyObject *object)
{
    SyncObject *const self = (SyncObject *)object;

    Py_CLEAR(self->loop);
    iora__waiters_clear(&self->waiters);
    return 0;
}

void
iora__sync_dealloc(PyObject *self)
{
    PyTypeObject *const type = Py_TYPE(self);
    PyObject *const module = ((SyncObject *)self)->state->module;

    PyObject_GC_UnTrack(self);
    (void)iora__sync_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
    Py_DECREF(module);
}

/* ---- whose methods ---- */

int
iora__sync_setattro(PyObject *object, PyObject *name, PyObject *value)
{
    PyObject *hidden;

    if (PyObject_GenericSetAttr(object, name, value) < 0)
        return -1;
    if (value == NULL)
        return 0;
    if ((hidden = PyObject_GetAttr((PyObject *)Py_TYPE(object), name)) == NULL)
        PyErr_Clear();
    else if (PyCallable_Check(hidden))
        ((SyncObject *)object)->is_shadowed = true;
    Py_XDECREF(hidden);
    return 0;
}

static int
has_same(PyTypeObject *one, PyTypeObject *other, const char *name)
{
    PyObject *const here = PyObject_GetAttrString((PyObject *)one, name);
    PyObject *const there = here != NULL ? PyObject_GetAttrString((PyObject *)other, name) : NULL;
    const int is_same = there == NULL ? -1 : here == there;

    Py_XDECREF(here);
    Py_XDECREF(there);
    return is_same;
}

static int
find_out(PyTypeObject *class, struct plain_class *known, PyTypeObject *type,
         const char *const *names)
{
    int is_plain = 1;

    for (; is_plain == 1 && *names != NULL; names++)
        is_plain = has_same(class, type, *names);
    if (is_plain >= 0)
        *known = (struct plain_class){class->tp_version_tag, is_plain};
    return is_plain;
}

int
iora__class_is_plain(PyTypeObject *class, struct plain_class *known, PyTypeObject *type,
                     const char *const *names)
{
    if (known->version == class->tp_version_tag && known->version != 0)
        return known->is_plain;
    return find_out(class, known, type, names);
}

int
iora__sync_is_plain(SyncObject *self, struct plain_class *known, PyTypeObject *type,
                    const char *const *names)
{
    return self->is_shadowed ? 0 : iora__class_is_plain(Py_TYPE(self), known, type, names);
}

PyObject *
iora__sync_public_class(PyObject **known, const char *where, const char *name)
{
    PyObject *module;

    if (*known == NULL && (module = PyImport_ImportModule(where)) != NULL) {
        *known = PyObject_GetAttrString(module, name);
        Py_DECREF(module);
    }
    return *known;
}

/* ---- async with ---- */

static enum iora__outcome
step_of_enter(AwaitableObject *self, PyObject *value, PyObject **out)
{
    if (value == NULL)
        return IORA__RAISE;
    if (self->phase == 0) {
        self->phase = 1;
        *out = PyObject_CallMethodNoArgs(self->refs[IORA__OWNER], self->state->str_acquire);
        return *out == NULL ? IORA__RAISE : IORA__AWAIT;
    }
    *out = Py_NewRef(Py_None);
    return IORA__RETURN;
}

static const struct iora__awaitable_kind enter_kind = {
    "__aenter__", "_ContextManagerMixin.__aenter__", step_of_enter};

PyObject *
iora__sync_enter_by_methods(SyncObject *self)
{
    return (PyObject *)iora__sync_awaitable(self, &enter_kind);
}

PyObject *
iora__sync_exit_by_methods(SyncObject *self)
{
    PyObject *const answer = PyObject_CallMethodNoArgs((PyObject *)self, self->state->str_release);

    if (answer == NULL)
        return NULL;
    Py_DECREF(answer);
    return iora__awaitable_ready(self->state);
}

/* ---- futures and reports ---- */

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
iora__sync_repr(SyncObject *self, PyObject *what)
{
    PyObject *const plain = what != NULL ? PyBaseObject_Type.tp_repr((PyObject *)self) : NULL;
    PyObject *const inner =
        plain != NULL ? PyUnicode_Substring(plain, 1, PyUnicode_GET_LENGTH(plain) - 1) : NULL;
    const Py_ssize_t n = inner != NULL ? iora__waiters_count(&self->waiters) : 0;
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
    return waiters->deque == NULL ? (Py_ssize_t)waiters->ring.count : PyObject_Size(waiters->deque);
}

PyObject *
iora__waiters_get(const struct waiters *waiters, Py_ssize_t i)
{
    PyObject *item;

    if (waiters->deque == NULL)
        return (size_t)i < waiters->ring.count ? Py_NewRef(iora__ring_at(&waiters->ring, (size_t)i))
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

PyObject *
iora__sync_get_waiters(SyncObject *self, void *unused)
{
    (void)unused;
    return iora__waiters_as_deque(self->state, &self->waiters);
}

PyObject *
iora__sync_get_waiters_or_none(SyncObject *self, void *unused)
{
    if (self->waiters.deque == NULL && self->waiters.ring.slots == NULL)
        Py_RETURN_NONE;
    return iora__sync_get_waiters(self, unused);
}

int
iora__sync_set_waiters(SyncObject *self, PyObject *waiters, void *unused)
{
    (void)unused;
    return iora__waiters_set(&self->waiters, waiters);
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
