/* ext/handle.h -- asyncio.Handle and asyncio.TimerHandle in C (theory in handle.c). */
#ifndef IORA_EXT_HANDLE_H
#define IORA_EXT_HANDLE_H

#include <Python.h>

#include "core/loop.h"

struct LoopObject;
struct state;

enum {
    IORA__INLINE_ARGS = 3,

    /* flags */
    IORA__CANCELLED = 1,
    IORA__QUEUED = 2,  /* in the ring */
    IORA__RUNNING = 4, /* its callback: what it needs stays until it returns */
};

typedef struct HandleObject {
    PyObject_HEAD
    struct LoopObject *loop;
    PyObject *callback;
    PyObject *context;
    PyObject *args;                         /* a tuple, if there are more than fit below */
    PyObject *slots[1 + IORA__INLINE_ARGS]; /* the first is for whom we call to use */
    PyObject *source_traceback;
    PyObject *repr; /* kept when cancelled in debug mode */
    PyObject *weak_references;
    uint8_t n_args;
    uint8_t flags;
} HandleObject;

typedef struct TimerObject {
    HandleObject handle;
    double when;
    struct iora__timer timer;
    struct iora__ready ready; /* when due, in the core's queue until the drain */
    struct iora__link
        in_loop; /* among the loop's timers, while it is to come: that is a reference */
} TimerObject;

int iora__handle_add_types(PyObject *module, struct state *state);
void iora__free_list_clear(struct state *state);

/* Make one, for callback(*args) in the context (NULL: a copy of the current). In debug mode it remembers
 * where it was made. */
HandleObject *iora__handle_new(struct LoopObject *loop, PyObject *callback, PyObject *const *args,
                               Py_ssize_t n_args, PyObject *context);
TimerObject *iora__timer_new(struct LoopObject *loop, double when, PyObject *callback,
                             PyObject *const *args, Py_ssize_t n_args, PyObject *context);

/* Call its callback. What that raises goes to the loop's exception handler: -1 only for what must leave the
 * loop, which is then set. */
int iora__handle_run(HandleObject *handle);

/* Call the loop's call_exception_handler(details) as asyncio does, while the exception is being handled: sys.exc_info()
 * in the handler, and the context of what that raises. */
PyObject *iora__loop_tell_handler(struct LoopObject *loop, PyObject *exception, PyObject *details);

/* Give the exception that is set, its callback's, to the loop's handler; returns as iora__handle_run(). */
int iora__handle_report(HandleObject *handle);

/* As cancel() does. -1 if an exception is set. */
int iora__handle_cancel(HandleObject *handle);

/* Let go of what the callback needs. */
void iora__handle_forget(HandleObject *handle);

#endif
