/* ext/queue.c -- asyncio.Queue, LifoQueue and PriorityQueue in C.
 *
 * Who waits to get or put is woken when it may have become possible, and tries again: items are not handed over. The
 * one who wakes him takes his future out of the list. If he cannot act on it any more, being cancelled, he wakes the
 * next.
 *
 * The items of a Queue lie in a ring. When Python looks at `_queue` they move into a deque for good. The other two have
 * a list, as in asyncio.
 *
 * A class that overrides what asyncio documents for it (_init, _get, _put), or a public method that others are made of,
 * is *not plain*: then everything goes through its methods. What a class is stays true for a version of the class;
 * the queue remembers both.
 */
#include "ext/queue.h"

#include "core/list.h"
#include "ext/compat.h"
#include "ext/function.h"
#include "ext/running.h"
#include "ext/state.h"

#include <math.h>
#include <stddef.h>
#include <structmember.h>

enum { ITEM = IORA__FUTURE + 1, RING_KEPT = 1024 };

/* ---- items -------------------------------------------------------------------------------------------- */

static Py_ssize_t
size(const QueueObject *self)
{
    return self->container == NULL ? (Py_ssize_t)self->ring.count : PyObject_Size(self->container);
}

static int
call_and_drop(PyObject *answer)
{
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

static int
add_to_container(const QueueObject *self, PyObject *container, PyObject *item)
{
    struct state *const state = self->sync.state;
    PyObject *const args[] = {container, item};

    if (self->order == IORA__HEAP)
        return call_and_drop(PyObject_Vectorcall(state->heappush, args, 2, NULL));
    if (PyList_CheckExact(container))
        return PyList_Append(container, item);
    return call_and_drop(PyObject_CallMethodOneArg(container, state->str_append, item));
}

/* The container is held meanwhile: what compares items, or a container of the program's, may take it away. */
static int
add(QueueObject *self, PyObject *item)
{
    PyObject *const container = Py_XNewRef(self->container);
    int rc;

    if (container != NULL) {
        rc = add_to_container(self, container, item);
        Py_DECREF(container);
        return rc;
    }
    if (iora__ring_push(&self->ring, item) < 0)
        return -1;
    Py_INCREF(item);
    return 0;
}

static PyObject *
take_from_ring(struct ring *ring)
{
    PyObject *item;

    if (ring->count == 0) {
        PyErr_SetString(PyExc_IndexError, "pop from an empty deque");
        return NULL;
    }
    item = iora__ring_pop(ring);
    if (ring->count == 0 && ring->capacity > RING_KEPT)
        iora__ring_clear(ring);
    return item;
}

static PyObject *
take_from_container(const QueueObject *self, PyObject *container)
{
    struct state *const state = self->sync.state;

    if (self->order == IORA__HEAP)
        return PyObject_CallOneArg(state->heappop, container);
    return PyObject_CallMethodNoArgs(container,
                                     self->order == IORA__LIFO ? state->str_pop : state->str_popleft);
}

static PyObject *
take(QueueObject *self)
{
    PyObject *const container = Py_XNewRef(self->container);
    PyObject *item;

    if (container == NULL)
        return take_from_ring(&self->ring);
    item = take_from_container(self, container);
    Py_DECREF(container);
    return item;
}

/* The container in which Python sees the items. */
static PyObject *
make_container(QueueObject *self)
{
    PyObject *container;

    if (self->container != NULL)
        return Py_NewRef(self->container);
    container =
        self->order == IORA__FIFO ? PyObject_CallNoArgs(self->sync.state->deque) : PyList_New(0);
    if (container == NULL)
        return NULL;
    self->container = container;
    while (self->ring.count > 0) {
        PyObject *const item = iora__ring_pop(&self->ring);
        const int rc = add(self, item);

        Py_DECREF(item);
        if (rc < 0)
            return NULL;
    }
    iora__ring_clear(&self->ring);
    return Py_NewRef(container);
}

/* ---- by the methods, or past them -------------------------------------------------------------------------- */

static const char *const methods[] = {"_init", "_get",       "_put",       "qsize", "empty",
                                      "full",  "get_nowait", "put_nowait", NULL};

static bool
is_plain(QueueObject *self)
{
    int plain;

    if (self->known.version == Py_TYPE(self)->tp_version_tag && self->known.version != 0)
        return self->known.is_plain && !self->sync.is_shadowed;
    plain = iora__sync_is_plain(&self->sync, &self->known, self->sync.state->queue_type, methods);
    if (plain < 0)
        PyErr_Clear(); /* a class whose attributes cannot be read is asked by its methods, and says so then */
    return plain > 0;
}

static int
ask(QueueObject *self, PyObject *question)
{
    PyObject *const answer = PyObject_CallMethodNoArgs((PyObject *)self, question);
    const int is_true = answer != NULL ? PyObject_IsTrue(answer) : -1;

    Py_XDECREF(answer);
    return is_true;
}

static int
is_empty_itself(const QueueObject *self)
{
    return self->container == NULL ? self->ring.count == 0 : PyObject_Not(self->container);
}

static int
is_empty(QueueObject *self)
{
    return is_plain(self) ? is_empty_itself(self) : ask(self, self->sync.state->str_empty);
}

static int
is_full_itself(QueueObject *self)
{
    Py_ssize_t count;
    PyObject *answer;

    if (self->max == 0)
        return 0;
    if (is_plain(self)) {
        count = size(self);
    } else {
        answer = PyObject_CallMethodNoArgs((PyObject *)self, self->sync.state->str_qsize);
        count = answer != NULL ? PyLong_AsSsize_t(answer) : -1;
        Py_XDECREF(answer);
        if (count == -1 && PyErr_Occurred())
            return -1;
    }
    return count < 0 ? -1 : count >= self->max;
}

static int
is_full(QueueObject *self)
{
    return is_plain(self) ? is_full_itself(self) : ask(self, self->sync.state->str_full);
}

static int
put_by_class(QueueObject *self, PyObject *item)
{
    if (is_plain(self))
        return add(self, item);
    return call_and_drop(
        PyObject_CallMethodOneArg((PyObject *)self, self->sync.state->str__put, item));
}

static PyObject *
get_by_class(QueueObject *self)
{
    return is_plain(self) ? take(self)
                          : PyObject_CallMethodNoArgs((PyObject *)self, self->sync.state->str__get);
}

/* ---- putting and getting ------------------------------------------------------------------------------------ */

static int
raise_shut(const QueueObject *self)
{
    PyObject *const class = iora__sync_public_class(&self->sync.state->queue_shut_down,
                                                    "iora._queues", "QueueShutDown");

    if (class != NULL)
        PyErr_SetNone(class);
    return -1;
}

static int
wake_next(const QueueObject *self, struct waiters *waiters)
{
    const struct state *const state = self->sync.state;
    PyObject *future;
    int rc = 0;

    if (waiters->deque == NULL && waiters->ring.count == 0)
        return 0;
    while (rc == 0 && (future = iora__waiters_pop(state, waiters)) != NULL) {
        rc = iora__future_wake(state, future, Py_None);
        Py_DECREF(future);
    }
    return rc < 0 || PyErr_Occurred() ? -1 : 0;
}

/* There is one item more. */
static int
note_put(QueueObject *self)
{
    self->unfinished++;
    if (self->finished != NULL)
        iora__event_clear(self->finished);
    return wake_next(self, &self->sync.waiters);
}

static int
put_nowait(QueueObject *self, PyObject *item)
{
    int full;

    if (self->is_shut)
        return raise_shut(self);
    if ((full = is_full(self)) != 0) {
        if (full > 0)
            PyErr_SetNone(self->sync.state->queue_full);
        return -1;
    }
    return put_by_class(self, item) < 0 ? -1 : note_put(self);
}

static PyObject *
get_nowait(QueueObject *self)
{
    const int empty = is_empty(self);
    PyObject *item;

    if (empty < 0)
        return NULL;
    if (empty) {
        if (self->is_shut)
            (void)raise_shut(self);
        else
            PyErr_SetNone(self->sync.state->queue_empty);
        return NULL;
    }
    if ((item = get_by_class(self)) == NULL)
        return NULL;
    if (wake_next(self, &self->putters) < 0)
        Py_CLEAR(item);
    return item;
}

/* One who waited leaves with an exception, which stays set unless another takes its place. */
static void
leave(AwaitableObject *self, struct waiters *waiters, int (*must_wait)(QueueObject *))
{
    QueueObject *const queue = (QueueObject *)self->refs[IORA__OWNER];
    PyObject *const future = self->refs[IORA__FUTURE];
    PyObject *const exception = iora__take_exception();
    int rc = call_and_drop(PyObject_CallMethodNoArgs(future, self->state->str_cancel));

    if (rc == 0)
        rc = iora__waiters_remove(self->state, waiters, future);
    if (rc >= 0)
        rc = must_wait(queue);
    if (rc == 0) {
        rc = iora__future_is_cancelled(self->state, future);
        if (rc == 0)
            rc = wake_next(queue, waiters);
    }
    if (rc < 0)
        Py_DECREF(exception);
    else
        iora__raise_exception(exception);
}

/* What put() and get() do before they try: IORA__RETURN if now they may. */
static enum iora__outcome
wait_until_may(AwaitableObject *self, PyObject *value, struct waiters *waiters,
               int (*must_wait)(QueueObject *), PyObject **out)
{
    QueueObject *const queue = (QueueObject *)self->refs[IORA__OWNER];
    int must;

    if (value == NULL) {
        leave(self, waiters, must_wait);
        return IORA__RAISE;
    }
    if ((must = must_wait(queue)) == 0)
        return IORA__RETURN;
    if (must > 0 && queue->is_shut)
        must = raise_shut(queue);
    return must < 0 ? IORA__RAISE : iora__sync_wait(self, waiters, out);
}

/* Whether the usual way is open: a plain queue whose items lie in its ring. */
static bool
is_simple(QueueObject *self)
{
    return self->container == NULL && is_plain(self);
}

static enum iora__outcome
step_of_get(AwaitableObject *self, PyObject *value, PyObject **out)
{
    QueueObject *const queue = (QueueObject *)self->refs[IORA__OWNER];
    enum iora__outcome outcome;

    if (value != NULL && queue->ring.count > 0 && is_simple(queue)) {
        *out = take_from_ring(&queue->ring);
        IORA__KNOWN(*out != NULL); /* something lay in it */
        if (wake_next(queue, &queue->putters) == 0)
            return IORA__RETURN;
        Py_DECREF(*out);
        return IORA__RAISE;
    }
    outcome = wait_until_may(self, value, &queue->sync.waiters, is_empty, out);
    if (outcome != IORA__RETURN)
        return outcome;
    *out = is_plain(queue)
               ? get_nowait(queue)
               : PyObject_CallMethodNoArgs((PyObject *)queue, self->state->str_get_nowait);
    return *out == NULL ? IORA__RAISE : IORA__RETURN;
}

static enum iora__outcome
step_of_put(AwaitableObject *self, PyObject *value, PyObject **out)
{
    QueueObject *const queue = (QueueObject *)self->refs[IORA__OWNER];
    enum iora__outcome outcome;

    if (value != NULL && is_simple(queue) && !queue->is_shut &&
        (queue->max == 0 || (Py_ssize_t)queue->ring.count < queue->max)) {
        if (add(queue, self->refs[ITEM]) < 0 || note_put(queue) < 0)
            return IORA__RAISE;
        *out = Py_NewRef(Py_None);
        return IORA__RETURN;
    }
    outcome = wait_until_may(self, value, &queue->putters, is_full, out);
    if (outcome != IORA__RETURN)
        return outcome;
    if (!is_plain(queue))
        *out = PyObject_CallMethodOneArg((PyObject *)queue, self->state->str_put_nowait,
                                         self->refs[ITEM]);
    else if (put_nowait(queue, self->refs[ITEM]) == 0)
        *out = Py_NewRef(Py_None);
    return *out == NULL ? IORA__RAISE : IORA__RETURN;
}

/* The event that says whether all is done, from now on kept up to date. */
static EventObject *
finished_event(QueueObject *self)
{
    PyObject *class;

    if (self->finished != NULL)
        return self->finished;
    class = iora__sync_public_class(&self->sync.state->public_event, "iora._locks", "Event");
    if (class != NULL)
        self->finished = (EventObject *)PyObject_CallNoArgs(class);
    if (self->finished != NULL && self->unfinished == 0)
        (void)iora__event_set(self->finished);
    return self->finished;
}

static enum iora__outcome
step_of_join(AwaitableObject *self, PyObject *value, PyObject **out)
{
    QueueObject *const queue = (QueueObject *)self->refs[IORA__OWNER];
    EventObject *event;

    if (value == NULL)
        return IORA__RAISE;
    if (self->phase == 0 && queue->unfinished > 0) {
        self->phase = 1;
        if ((event = finished_event(queue)) != NULL)
            *out = iora__event_wait(event);
        return *out == NULL ? IORA__RAISE : IORA__AWAIT;
    }
    *out = Py_NewRef(Py_None);
    return IORA__RETURN;
}

static const struct iora__awaitable_kind get_kind = {"get", "Queue.get", step_of_get};
static const struct iora__awaitable_kind put_kind = {"put", "Queue.put", step_of_put};
static const struct iora__awaitable_kind join_kind = {"join", "Queue.join", step_of_join};

static PyObject *
queue_get(struct state *state, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const none[] = {NULL};

    (void)state;
    if ((n > 1 || names != NULL) &&
        iora__take_args("Queue.get", none, 0, args + 1, n - 1, names, NULL) < 0)
        return NULL;
    return (PyObject *)iora__sync_awaitable((SyncObject *)args[0], &get_kind);
}

static PyObject *
queue_put(struct state *state, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const parameters[] = {"item", NULL};
    PyObject *item;
    AwaitableObject *self;

    (void)state;
    if (n == 2 && names == NULL)
        item = args[1];
    else if (iora__take_args("Queue.put", parameters, 1, args + 1, n - 1, names, &item) < 0)
        return NULL;
    if ((self = iora__sync_awaitable((SyncObject *)args[0], &put_kind)) != NULL)
        self->refs[ITEM] = Py_NewRef(item);
    return (PyObject *)self;
}

static PyObject *
queue_join(struct state *state, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const none[] = {NULL};

    (void)state;
    if (iora__take_args("Queue.join", none, 0, args + 1, n - 1, names, NULL) < 0)
        return NULL;
    return (PyObject *)iora__sync_awaitable((SyncObject *)args[0], &join_kind);
}

/* ---- methods ---------------------------------------------------------------------------------------------------- */

static PyObject *
queue_put_nowait(QueueObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const parameters[] = {"item", NULL};
    PyObject *item;

    if (iora__take_args("Queue.put_nowait", parameters, 1, args, n, names, &item) < 0 ||
        put_nowait(self, item) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
queue_get_nowait(QueueObject *self, PyObject *unused)
{
    (void)unused;
    return get_nowait(self);
}

static int
finish(QueueObject *self)
{
    return self->unfinished == 0 && self->finished != NULL ? iora__event_set(self->finished) : 0;
}

static PyObject *
queue_task_done(QueueObject *self, PyObject *unused)
{
    (void)unused;
    if (self->unfinished <= 0) {
        PyErr_SetString(PyExc_ValueError, "task_done() called too many times");
        return NULL;
    }
    self->unfinished--;
    return finish(self) < 0 ? NULL : Py_NewRef(Py_None);
}

static int
drop_items(QueueObject *self)
{
    PyObject *item;
    int empty;

    while ((empty = is_empty(self)) == 0) {
        if ((item = get_by_class(self)) == NULL)
            return -1;
        Py_DECREF(item);
        if (self->unfinished > 0)
            self->unfinished--;
    }
    return empty < 0 ? -1 : finish(self);
}

static int
wake_all(const QueueObject *self, struct waiters *waiters)
{
    int rc = 0;

    while (rc == 0 && iora__waiters_count(waiters) > 0)
        rc = wake_next(self, waiters);
    return rc;
}

static PyObject *
queue_shutdown(QueueObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"immediate", NULL};
    int immediate = 0;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|p:shutdown", names, &immediate))
        return NULL;
    self->is_shut = true;
    if ((immediate && drop_items(self) < 0) || wake_all(self, &self->sync.waiters) < 0 ||
        wake_all(self, &self->putters) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
queue_qsize(QueueObject *self, PyObject *unused)
{
    const Py_ssize_t count = size(self);

    (void)unused;
    return count < 0 ? NULL : PyLong_FromSsize_t(count);
}

static PyObject *
as_bool(int answer)
{
    return answer < 0 ? NULL : PyBool_FromLong(answer);
}

static PyObject *
queue_empty(QueueObject *self, PyObject *unused)
{
    (void)unused;
    return as_bool(is_empty_itself(self));
}

static PyObject *
queue_full(QueueObject *self, PyObject *unused)
{
    (void)unused;
    return as_bool(is_full_itself(self));
}

static PyObject *
queue_take(QueueObject *self, PyObject *unused)
{
    (void)unused;
    return take(self);
}

static PyObject *
queue_add(QueueObject *self, PyObject *item)
{
    return add(self, item) < 0 ? NULL : Py_NewRef(Py_None);
}

/* An empty container: none for a Queue, whose ring is one. */
static PyObject *
queue_make_empty(QueueObject *self, PyObject *maxsize)
{
    PyObject *const list = self->order != IORA__FIFO ? PyList_New(0) : NULL;

    (void)maxsize;
    if (self->order != IORA__FIFO && list == NULL)
        return NULL;
    iora__ring_clear(&self->ring);
    Py_XSETREF(self->container, list);
    Py_RETURN_NONE;
}

/* ---- what Python sees ---------------------------------------------------------------------------------------------- */

/* A list of the items, without a change of where they are; empty if what there is cannot be listed. */
static PyObject *
list_items(const QueueObject *self)
{
    PyObject *list;

    if (self->container != NULL)
        return PySequence_List(self->container);
    list = PyList_New((Py_ssize_t)self->ring.count);
    for (size_t i = 0; list != NULL && i < self->ring.count; i++)
        PyList_SET_ITEM(list, (Py_ssize_t)i, Py_NewRef(iora__ring_at(&self->ring, i)));
    return list;
}

/* The text and more; takes the text. */
static PyObject *
extend(PyObject *text, PyObject *more)
{
    PyObject *const both = text != NULL && more != NULL ? PyUnicode_Concat(text, more) : NULL;

    Py_XDECREF(text);
    Py_XDECREF(more);
    return both;
}

static PyObject *
queue_format(QueueObject *self, PyObject *unused)
{
    PyObject *const items = list_items(self);
    PyObject *text =
        items != NULL
            ? PyUnicode_FromFormat("maxsize=%R", self->maxsize != NULL ? self->maxsize : Py_None)
            : NULL;
    const Py_ssize_t getters = iora__waiters_count(&self->sync.waiters);
    const Py_ssize_t putters = iora__waiters_count(&self->putters);

    (void)unused;
    if (text != NULL && PyList_GET_SIZE(items) > 0)
        text = extend(text, PyUnicode_FromFormat(" _queue=%R", items));
    if (text != NULL && getters > 0)
        text = extend(text, PyUnicode_FromFormat(" _getters[%zd]", getters));
    if (text != NULL && putters > 0)
        text = extend(text, PyUnicode_FromFormat(" _putters[%zd]", putters));
    if (text != NULL && self->unfinished > 0)
        text = extend(text, PyUnicode_FromFormat(" tasks=%zd", self->unfinished));
    if (text != NULL && self->is_shut)
        text = extend(text, PyUnicode_FromString(" shutdown"));
    Py_XDECREF(items);
    return text;
}

/* "<Queue at 0x7f.. maxsize=0>", the address if it is asked for. */
static PyObject *
describe(QueueObject *self, bool with_address)
{
    PyObject *const inner = PyObject_CallMethod((PyObject *)self, "_format", NULL);
    PyObject *const name = inner != NULL ? PyType_GetName(Py_TYPE(self)) : NULL;
    PyObject *text = NULL;

    if (name != NULL)
        text = with_address ? PyUnicode_FromFormat("<%U at %p %S>", name, self, inner)
                            : PyUnicode_FromFormat("<%U %S>", name, inner);
    Py_XDECREF(inner);
    Py_XDECREF(name);
    return text;
}

static PyObject *
queue_str(QueueObject *self)
{
    return describe(self, false);
}

static PyObject *
queue_repr(QueueObject *self)
{
    return describe(self, true);
}

static PyObject *
get_maxsize(QueueObject *self, void *unused)
{
    (void)unused;
    return Py_NewRef(self->maxsize != NULL ? self->maxsize : Py_None);
}

/* How many items a maxsize allows: 0 for no bound. */
static int
as_bound(PyObject *maxsize, Py_ssize_t *out)
{
    if (PyFloat_Check(maxsize)) {
        const double bound = ceil(PyFloat_AS_DOUBLE(maxsize));

        *out = bound > 0 && bound < (double)PY_SSIZE_T_MAX ? (Py_ssize_t)bound : 0;
        return 0;
    }
    *out = PyNumber_AsSsize_t(maxsize, NULL);
    if (*out == -1 && PyErr_Occurred())
        return -1;
    if (*out < 0)
        *out = 0;
    return 0;
}

static int
set_maxsize(QueueObject *self, PyObject *maxsize, void *unused)
{
    Py_ssize_t max;

    (void)unused;
    if (maxsize == NULL) {
        PyErr_SetString(PyExc_AttributeError, "_maxsize");
        return -1;
    }
    if (as_bound(maxsize, &max) < 0)
        return -1;
    Py_XSETREF(self->maxsize, Py_NewRef(maxsize));
    self->max = max;
    return 0;
}

static PyObject *
get_container(QueueObject *self, void *unused)
{
    (void)unused;
    return make_container(self);
}

static int
set_container(QueueObject *self, PyObject *container, void *unused)
{
    (void)unused;
    iora__ring_clear(&self->ring);
    Py_XSETREF(self->container, Py_XNewRef(container));
    return 0;
}

static PyObject *
get_putters(QueueObject *self, void *unused)
{
    (void)unused;
    return iora__waiters_as_deque(self->sync.state, &self->putters);
}

static int
set_putters(QueueObject *self, PyObject *putters, void *unused)
{
    (void)unused;
    return iora__waiters_set(&self->putters, putters);
}

static PyObject *
get_finished(QueueObject *self, void *unused)
{
    (void)unused;
    return Py_XNewRef((PyObject *)finished_event(self));
}

static PyGetSetDef queue_getset[] = {
    {"maxsize", (getter)get_maxsize, NULL, PyDoc_STR("How many items are allowed."), NULL},
    {"_maxsize", (getter)get_maxsize, (setter)set_maxsize, NULL, NULL},
    {"_queue", (getter)get_container, (setter)set_container, NULL, NULL},
    {"_getters", (getter)iora__sync_get_waiters, (setter)iora__sync_set_waiters, NULL, NULL},
    {"_putters", (getter)get_putters, (setter)set_putters, NULL, NULL},
    {"_finished", (getter)get_finished, NULL, NULL, NULL},
    {0},
};

static PyMemberDef queue_members[] = {
    {"_loop", T_OBJECT, offsetof(SyncObject, loop), 0, NULL},
    {"_unfinished_tasks", T_PYSSIZET, offsetof(QueueObject, unfinished), 0, NULL},
    {"_is_shutdown", T_BOOL, offsetof(QueueObject, is_shut), 0, NULL},
    {0},
};

static PyMethodDef queue_methods[] = {
    {"put_nowait", (PyCFunction)(void (*)(void))queue_put_nowait, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("put_nowait($self, /, item)\n--\n\nPut an item if there is room, else QueueFull.")},
    {"get_nowait", (PyCFunction)queue_get_nowait, METH_NOARGS,
     PyDoc_STR("get_nowait($self, /)\n--\n\nTake an item if there is one, else QueueEmpty.")},
    {"task_done", (PyCFunction)queue_task_done, METH_NOARGS,
     PyDoc_STR("task_done($self, /)\n--\n\nSay that an item has been dealt with.")},
    {"shutdown", (PyCFunction)(void (*)(void))queue_shutdown, METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("shutdown($self, /, immediate=False)\n--\n\n"
               "Have put() raise QueueShutDown, and get() too once it is empty.")},
    {"qsize", (PyCFunction)queue_qsize, METH_NOARGS,
     PyDoc_STR("qsize($self, /)\n--\n\nHow many items there are.")},
    {"empty", (PyCFunction)queue_empty, METH_NOARGS,
     PyDoc_STR("empty($self, /)\n--\n\nWhether there is no item.")},
    {"full", (PyCFunction)queue_full, METH_NOARGS,
     PyDoc_STR("full($self, /)\n--\n\nWhether there is no room.")},
    {"_init", (PyCFunction)queue_make_empty, METH_O, NULL},
    {"_get", (PyCFunction)queue_take, METH_NOARGS, NULL},
    {"_put", (PyCFunction)queue_add, METH_O, NULL},
    {"_format", (PyCFunction)queue_format, METH_NOARGS, NULL},
    {0},
};

static const struct iora__function queue_functions[] = {
    {"put", "Queue.put", "asyncio.queues", "(self, item)", "Put an item as soon as there is room.",
     queue_put},
    {"get", "Queue.get", "asyncio.queues", "(self)", "Take an item as soon as there is one.",
     queue_get},
    {"join", "Queue.join", "asyncio.queues", "(self)",
     "Wait until task_done() was called for each item.", queue_join},
    {0},
};

/* ---- the types --------------------------------------------------------------------------------------------------- */

static PyObject *
queue_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    QueueObject *const self = (QueueObject *)iora__sync_new(type, args, keywords);

    if (self == NULL)
        return NULL;
    for (int order = IORA__LIFO; order < IORA__QUEUE_ORDERS; order++) {
        if (PyType_IsSubtype(type, self->sync.state->queue_types[order]))
            self->order = (enum iora__queue_order)order;
    }
    return (PyObject *)self;
}

/* As the last queue of this order found out, if that is still true of this one. */
static void
look_up_class(QueueObject *self)
{
    struct plain_class *const last = &self->sync.state->plain_queues[self->order];

    if (last->version == Py_TYPE(self)->tp_version_tag)
        self->known = *last;
    (void)is_plain(self);
    *last = self->known;
}

static int
queue_init(QueueObject *self, PyObject *args, PyObject *keywords)
{
    static const char *const parameters[] = {"maxsize", NULL};
    PyObject *maxsize = NULL, *zero = NULL, *answer;
    int rc;

    if (iora__take_init_args("Queue.__init__", parameters, 0, args, keywords, &maxsize) < 0)
        return -1;
    if (maxsize == NULL && (maxsize = zero = PyLong_FromLong(0)) == NULL)
        return -1;
    rc = set_maxsize(self, maxsize, NULL);
    if (rc == 0) {
        iora__waiters_clear(&self->sync.waiters);
        iora__waiters_clear(&self->putters);
        Py_CLEAR(self->finished);
        self->unfinished = 0;
        self->is_shut = false;
        look_up_class(self);
        answer = is_plain(self) ? queue_make_empty(self, maxsize)
                                : PyObject_CallMethod((PyObject *)self, "_init", "O", maxsize);
        rc = call_and_drop(answer);
    }
    Py_XDECREF(zero);
    return rc;
}

static int
queue_traverse(QueueObject *self, visitproc visit, void *arg)
{
    for (size_t i = 0; i < self->ring.count; i++)
        Py_VISIT(iora__ring_at(&self->ring, i));
    Py_VISIT(self->container);
    Py_VISIT(self->maxsize);
    Py_VISIT(self->finished);
    if (iora__waiters_traverse(&self->putters, visit, arg) != 0)
        return 1;
    return iora__sync_traverse((PyObject *)self, visit, arg);
}

static int
queue_clear(QueueObject *self)
{
    iora__ring_clear(&self->ring);
    iora__waiters_clear(&self->putters);
    Py_CLEAR(self->container);
    Py_CLEAR(self->maxsize);
    Py_CLEAR(self->finished);
    return iora__sync_clear((PyObject *)self);
}

static void
queue_dealloc(QueueObject *self)
{
    PyObject_GC_UnTrack(self);
    (void)queue_clear(self);
    iora__sync_dealloc((PyObject *)self);
}

static PyType_Slot queue_slots[] = {
    {Py_tp_new, queue_new},         {Py_tp_init, queue_init},
    {Py_tp_dealloc, queue_dealloc}, {Py_tp_traverse, queue_traverse},
    {Py_tp_clear, queue_clear},     {Py_tp_setattro, iora__sync_setattro},
    {Py_tp_repr, queue_repr},       {Py_tp_str, queue_str},
    {Py_tp_methods, queue_methods}, {Py_tp_members, queue_members},
    {Py_tp_getset, queue_getset},   {0},
};

static PyType_Slot ordered_slots[] = {
    {Py_tp_dealloc, queue_dealloc},
    {Py_tp_traverse, queue_traverse},
    {Py_tp_clear, queue_clear},
    {0},
};

#define SPEC(text, its_slots)                                                                      \
    {                                                                                              \
        .name = text, .basicsize = sizeof(QueueObject),                                            \
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,                    \
        .slots = its_slots,                                                                        \
    }

static PyType_Spec specs[IORA__QUEUE_ORDERS] = {
    SPEC("iora._c.Queue", queue_slots),
    SPEC("iora._c.LifoQueue", ordered_slots),
    SPEC("iora._c.PriorityQueue", ordered_slots),
};

int
iora__queue_add_types(PyObject *module, struct state *state)
{
    for (int order = IORA__FIFO; order < IORA__QUEUE_ORDERS; order++) {
        PyTypeObject *const type = (PyTypeObject *)PyType_FromModuleAndSpec(
            module, &specs[order], (PyObject *)state->queue_type);

        state->queue_types[order] = type;
        if (type == NULL || PyModule_AddType(module, type) < 0)
            return -1;
        if (order == IORA__FIFO) {
            state->queue_type = type;
            if (iora__function_add_to_type(type, state, queue_functions) < 0)
                return -1;
        }
    }
    return 0;
}
