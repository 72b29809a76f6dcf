/* ext/loop.h -- the loop that asyncio sees (theory in loop.c). */
#ifndef IORA_EXT_LOOP_H
#define IORA_EXT_LOOP_H

#include <Python.h>

#include "core/loop.h"
#include "ext/bound.h"
#include "ext/function.h"
#include "ext/handle.h"
#include "ext/ring.h"
#include "ext/state.h"

struct watch;

/* Who has to do with a descriptor. */
struct descriptor {
    struct watch *watch;
    PyObject *transport; /* its owner; borrowed */
};

typedef struct LoopObject {
    PyObject_HEAD
    PyObject *module; /* whose state this is: it must not go before us */
    struct state *state;
    iora_loop *core; /* NULL once it is closed and has let go of everything */
    struct iora__guest guest;

    struct ring ready;
    size_t batch;                   /* so many at the head of the ring are this batch's */
    struct iora__link timers;       /* TimerObjects that are to come */
    struct iora__link transports;   /* that are open */
    struct iora__link unsent;       /* those that callbacks have written to */
    struct iora__link listeners;    /* that listen */
    uint8_t write_policy;           /* enum iora__write_policy */
    struct descriptor *descriptors; /* by number */
    size_t n_descriptors;
    struct bound_methods bound; /* while it runs */
    PyObject *kept; /* an exception that must leave the loop at the drain */

    PyThreadState *released; /* while the loop waits without the GIL */
    bool is_blocked;
    bool is_woken; /* since it blocked */
    bool is_closed;
    bool is_running;
    bool is_stopping;
    bool debug;
    bool polls_each_turn; /* as it does in debug mode anyway */
    bool is_shadowed;         /* an attribute of the object hides one of the methods in bound.c */
    struct plain_class plain; /* whether the class has ours */
    unsigned long thread_id;
    int signal_fds[2]; /* where the interpreter writes that a signal has come; -1 until needed */
    iora_watcher signal_watcher;

    double slow_callback_duration;
    PyObject *current_handle; /* in debug mode, borrowed from the drain */
    PyObject *exception_handler;
    PyObject *task_factory;
    PyObject *task_keywords, *future_keywords; /* {"loop": self, ...}, while it runs */
    PyObject *default_executor; /* NULL or None: the pool */
    PyObject *pool;             /* pool.c; NULL until needed */
    PyObject *asyncgens;
    char asyncgens_shutdown_called;
    char executor_shutdown_called;
    bool tracks_origins;
    int saved_origin_depth;
} LoopObject;

int iora__loop_add_type(PyObject *module, struct state *state);

/* An exception for a code of the core's. Returns -1. */
int iora__raise(int code);

/* -1 with RuntimeError if the loop is closed. */
int iora__loop_check_closed(LoopObject *loop);

/* Whether call_soon(), call_at(), call_soon_threadsafe() and run_in_executor() are ours, not a subclass's or another's
 * that was put in their place. */
bool iora__loop_ask_class(LoopObject *loop);

static inline bool
iora__loop_is_plain(LoopObject *loop)
{
    const unsigned version = Py_TYPE(loop)->tp_version_tag;

    return !loop->is_shadowed && (version != 0 && version == loop->plain.version
                                      ? loop->plain.is_plain
                                      : iora__loop_ask_class(loop));
}

/* A method, called again with the first parameters in their places (function.h). */
typedef PyObject *(*iora__loop_method)(LoopObject *, PyObject *const *, Py_ssize_t, PyObject *);

static inline PyObject *
iora__loop_call_in_order(LoopObject *loop, const char *name, const char *const *first, PyObject *const *args,
                         Py_ssize_t n, PyObject *names, iora__loop_method method)
{
    return iora__call_in_order(name, first, (PyObject *)loop, args, n, names,
                               (iora__keyword_call)(void (*)(void))method);
}

/* Make a handle ready; steals the reference. */
int iora__loop_push(LoopObject *loop, HandleObject *handle);

/* The same for a handle that has a promise of the ring's. Steals the reference. */
void iora__loop_push_promised(LoopObject *loop, HandleObject *handle);

/* A timer that is to come no more: the loop's reference goes. */
void iora__loop_drop_timer(LoopObject *loop, TimerObject *timer);

/* Have a place for this descriptor in the table; -1 with MemoryError. */
int iora__loop_make_room(LoopObject *loop, int fd);

/* Keep the exception that is set, to leave the loop with; the first one counts. And the other way round: -1 if
 * there was one, which is set. */
void iora__loop_keep_exception(LoopObject *loop);
int iora__loop_raise_kept(LoopObject *loop);

/* ext/run.c */
PyObject *iora__loop_run_forever(LoopObject *loop, PyObject *unused);
PyObject *iora__loop_check_running(LoopObject *loop, PyObject *unused);
PyObject *iora__loop_set_origin_tracking(LoopObject *loop, PyObject *enabled);
void iora__loop_wake(LoopObject *loop);
/* Whether that would have to; then it is as if it had been done, by who asks. */
bool iora__loop_must_wake(LoopObject *loop);
/* What the backend calls begins with this, if it touches anything of Python's. */
void iora__loop_take_gil(LoopObject *loop);
void iora__loop_close_signal_fds(LoopObject *loop);
void iora__loop_init_guest(LoopObject *loop);

/* ext/schedule.c */
PyObject *iora__loop_call_soon(LoopObject *loop, PyObject *const *args, Py_ssize_t n,
                               PyObject *names);
PyObject *iora__loop_call_soon_threadsafe(LoopObject *loop, PyObject *const *args, Py_ssize_t n,
                                          PyObject *names);
PyObject *iora__loop_call_later(LoopObject *loop, PyObject *const *args, Py_ssize_t n,
                                PyObject *names);
PyObject *iora__loop_call_at(LoopObject *loop, PyObject *const *args, Py_ssize_t n,
                             PyObject *names);
/* A handle for callback(*args), ready: a new reference. A context of NULL is a copy of the current one. */
PyObject *iora__loop_make_ready(LoopObject *loop, PyObject *const *args, Py_ssize_t n,
                                PyObject *context);
/* In debug mode: what a callback must be. */
int iora__loop_check_callback(LoopObject *loop, PyObject *callback, const char *method);

/* ext/watch.c */
PyObject *iora__loop_add_reader(LoopObject *loop, PyObject *const *args, Py_ssize_t n, PyObject *names);
PyObject *iora__loop_add_writer(LoopObject *loop, PyObject *const *args, Py_ssize_t n, PyObject *names);
PyObject *iora__loop_remove_reader(LoopObject *loop, PyObject *const *args, Py_ssize_t n, PyObject *names);
PyObject *iora__loop_remove_writer(LoopObject *loop, PyObject *const *args, Py_ssize_t n, PyObject *names);
/* -1 with RuntimeError if a transport has this descriptor. */
int iora__loop_check_free(LoopObject *loop, int fd, PyObject *object);
void iora__loop_drop_watches(LoopObject *loop);
int iora__loop_traverse_watches(LoopObject *loop, visitproc visit, void *arg);

#endif
