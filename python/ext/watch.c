/* ext/watch.c -- add_reader, add_writer, and what removes them.
 *
 * One *watch* for each descriptor that has a reader or a writer, in the loop's table of descriptors. It is a watcher of
 * the core's, which never changes the descriptor; its callback makes the handle ready, unless it already is. Each side
 * that is watched has a promise of the ring's for that.
 * A side that the kernel ends with an error has its handle called once more, which then finds the error.
 *
 * An object that was closed while it was watched has no descriptor any more, and can be removed all the same: the
 * watch knows it.
 */
#include "ext/loop.h"
#include "ext/state.h"
#include "ext/transport.h"

enum { READER, WRITER };

struct watch {
    iora_watcher watcher;
    LoopObject *loop; /* it owns us */
    PyObject *file;   /* what was given for the descriptor, if not its number */
    HandleObject *handles[2];
};

static void
push_handle(const struct watch *watch, int side)
{
    HandleObject *const handle = watch->handles[side];

    if (handle == NULL || handle->flags & IORA__QUEUED)
        return;
    iora__loop_push_promised(watch->loop, (HandleObject *)Py_NewRef((PyObject *)handle));
}

static void
on_readable(void *arg)
{
    push_handle(arg, READER);
}

static void
on_writable(void *arg)
{
    push_handle(arg, WRITER);
}

static int
set_side(struct watch *watch, int side, bool wanted)
{
    return side == READER
               ? iora_watcher_on_readable(&watch->watcher, wanted ? on_readable : NULL, watch)
               : iora_watcher_on_writable(&watch->watcher, wanted ? on_writable : NULL, watch);
}

int
iora__loop_make_room(LoopObject *loop, int fd)
{
    size_t n = loop->n_descriptors == 0 ? 64 : loop->n_descriptors;
    struct descriptor *descriptors = loop->descriptors;

    while (n <= (size_t)fd)
        n *= 2;
    if (n == loop->n_descriptors)
        return 0;
    if (PyMem_Resize(descriptors, struct descriptor, n) == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = loop->n_descriptors; i < n; i++)
        descriptors[i] = (struct descriptor){0};
    loop->descriptors = descriptors;
    loop->n_descriptors = n;
    return 0;
}

/* The watch of a descriptor, made if need be; NULL with an exception. */
static struct watch *
get_watch(LoopObject *loop, int fd)
{
    if (iora__loop_make_room(loop, fd) < 0)
        return NULL;
    if (loop->descriptors[fd].watch == NULL) {
        struct watch *const watch = PyMem_Calloc(1, sizeof *watch);

        if (watch == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        iora_watcher_init(&watch->watcher, loop->core, fd);
        watch->loop = loop;
        loop->descriptors[fd].watch = watch;
    }
    return loop->descriptors[fd].watch;
}

static void
free_watch(LoopObject *loop, int fd)
{
    struct watch *const watch = loop->descriptors[fd].watch;

    PyObject *const file = watch->file;

    loop->descriptors[fd].watch = NULL;
    iora_watcher_close(&watch->watcher);
    PyMem_Free(watch);
    Py_XDECREF(file);
}

/* The descriptor that is watched by this object's name; -1 if there is none. */
static int
find_by_object(const LoopObject *loop, const PyObject *file)
{
    for (size_t fd = 0; fd < loop->n_descriptors; fd++) {
        if (loop->descriptors[fd].watch != NULL && loop->descriptors[fd].watch->file == file)
            return (int)fd;
    }
    return -1;
}

/* Say of what is no descriptor what asyncio says: that its number is none, as that of a closed socket, or that it has
 * none. */
static void
say_no_descriptor(PyObject *object)
{
    PyObject *const number =
        PyLong_Check(object) ? Py_NewRef(object) : PyObject_CallMethod(object, "fileno", NULL);

    if (number != NULL && PyLong_Check(number)) {
        PyErr_Format(PyExc_ValueError, "Invalid file descriptor: %S", number);
    } else if (number != NULL || !PyErr_ExceptionMatches(PyExc_MemoryError)) {
        PyErr_Clear();
        PyErr_Format(PyExc_ValueError, "Invalid file object: %R", object);
    }
    Py_XDECREF(number);
}

/* What asyncio takes for a descriptor: a number, or something with fileno(). */
static int
as_descriptor(PyObject *object)
{
    const int fd = PyObject_AsFileDescriptor(object);

    if (fd < 0 && (PyErr_ExceptionMatches(PyExc_TypeError) || PyErr_ExceptionMatches(PyExc_ValueError))) {
        PyErr_Clear();
        say_no_descriptor(object);
    }
    return fd;
}

int
iora__loop_check_free(LoopObject *loop, int fd, PyObject *object)
{
    if ((size_t)fd >= loop->n_descriptors)
        return 0;
    return iora__transport_check_free(loop->descriptors[fd].transport, object);
}

static PyObject *
add(LoopObject *loop, PyObject *const *args, Py_ssize_t n, int side)
{
    struct watch *watch;
    HandleObject *handle, *before;
    PyObject *file_before = NULL;
    int fd, rc;

    if ((fd = as_descriptor(args[0])) < 0 || iora__loop_check_closed(loop) < 0)
        return NULL;
    if (iora__loop_check_free(loop, fd, args[0]) < 0 ||
        (handle = iora__handle_new(loop, args[1], args + 2, n - 2, NULL)) == NULL)
        return NULL;
    if ((watch = get_watch(loop, fd)) == NULL)
        goto fail_handle;
    if ((rc = set_side(watch, side, true)) < 0) {
        (void)iora__raise(rc);
        goto fail_watch;
    }
    if (!PyLong_Check(args[0])) {
        file_before = watch->file;
        watch->file = Py_NewRef(args[0]);
    }
    before = watch->handles[side];
    if (iora__ring_promise(&loop->ready) < 0) {
        if (before == NULL)
            (void)set_side(watch, side, false);
        goto fail_watch;
    }
    watch->handles[side] = (HandleObject *)Py_NewRef((PyObject *)handle);
    Py_XDECREF(file_before); /* who may do anything: the watch may be gone */
    if (before != NULL) {
        iora__ring_release(&loop->ready); /* it may be in the ring still: so it had one of its own */
        rc = iora__handle_cancel(before);
        Py_DECREF(before);
        if (rc < 0)
            goto fail_handle;
    }
    return (PyObject *)handle;

fail_watch:
    if (watch->handles[READER] == NULL && watch->handles[WRITER] == NULL)
        free_watch(loop, fd);
fail_handle:
    Py_DECREF(handle);
    return NULL;
}

static PyObject *
remove_side(LoopObject *loop, PyObject *object, int side)
{
    int fd = as_descriptor(object);
    struct watch *watch;
    HandleObject *handle;
    int rc;

    if (fd < 0) {
        if ((fd = find_by_object(loop, object)) < 0)
            return NULL;
        PyErr_Clear();
    } else if (iora__loop_check_free(loop, fd, object) < 0) {
        return NULL;
    }
    if ((size_t)fd >= loop->n_descriptors || (watch = loop->descriptors[fd].watch) == NULL ||
        (handle = watch->handles[side]) == NULL)
        Py_RETURN_FALSE;
    watch->handles[side] = NULL;
    iora__ring_release(&loop->ready);
    if (watch->handles[!side] == NULL)
        free_watch(loop, fd);
    else
        (void)set_side(watch, side, false);
    rc = iora__handle_cancel(handle);
    Py_DECREF(handle);
    return rc < 0 ? NULL : Py_NewRef(Py_True);
}

static const char *const add_first[] = {"fd", "callback", NULL};
static const char *const remove_parameters[] = {"fd", NULL};

PyObject *
iora__loop_add_reader(LoopObject *loop, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    if (n < 2)
        return iora__loop_call_in_order(loop, "add_reader", add_first, args, n, names, iora__loop_add_reader);
    return iora__refuse_names("add_reader", names) < 0 ? NULL : add(loop, args, n, READER);
}

PyObject *
iora__loop_add_writer(LoopObject *loop, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    if (n < 2)
        return iora__loop_call_in_order(loop, "add_writer", add_first, args, n, names, iora__loop_add_writer);
    return iora__refuse_names("add_writer", names) < 0 ? NULL : add(loop, args, n, WRITER);
}

PyObject *
iora__loop_remove_reader(LoopObject *loop, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    PyObject *fd;

    return iora__take_args("remove_reader", remove_parameters, 1, args, n, names, &fd) < 0
               ? NULL
               : remove_side(loop, fd, READER);
}

PyObject *
iora__loop_remove_writer(LoopObject *loop, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    PyObject *fd;

    return iora__take_args("remove_writer", remove_parameters, 1, args, n, names, &fd) < 0
               ? NULL
               : remove_side(loop, fd, WRITER);
}

void
iora__loop_drop_watches(LoopObject *loop)
{
    for (size_t fd = 0; fd < loop->n_descriptors; fd++) {
        if (loop->descriptors[fd].watch == NULL)
            continue;

        HandleObject *const handles[] = {loop->descriptors[fd].watch->handles[READER],
                                         loop->descriptors[fd].watch->handles[WRITER]};
        free_watch(loop, (int)fd);
        for (int side = READER; side <= WRITER; side++) {
            if (handles[side] == NULL)
                continue;
            iora__ring_release(&loop->ready);
            Py_DECREF(handles[side]);
        }
    }
    PyMem_Free(loop->descriptors);
    loop->descriptors = NULL;
    loop->n_descriptors = 0;
}

int
iora__loop_traverse_watches(LoopObject *loop, visitproc visit, void *arg)
{
    for (size_t fd = 0; fd < loop->n_descriptors; fd++) {
        if (loop->descriptors[fd].watch != NULL) {
            Py_VISIT(loop->descriptors[fd].watch->file);
            Py_VISIT(loop->descriptors[fd].watch->handles[READER]);
            Py_VISIT(loop->descriptors[fd].watch->handles[WRITER]);
        }
    }
    return 0;
}
