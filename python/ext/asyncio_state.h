/* ext/asyncio_state.h -- what one interpreter's copy of the module keeps of asyncio for the functions round tasks.
 */
#ifndef IORA_EXT_ASYNCIO_STATE_H
#define IORA_EXT_ASYNCIO_STATE_H

#include <Python.h>

/* The interned names of the attributes and keywords we use. */
#define IORA__ASYNCIO_WORDS(X)                                                                     \
    X(call_soon)                                                                                   \
    X(call_soon_threadsafe) X(call_at) X(call_later) X(create_future) X(create_task) X(time)       \
        X(cancel) X(cancelled) X(cancelling) X(uncancel) X(done) X(exception) X(result)            \
            X(set_result) X(set_exception) X(get_loop) X(_loop) X(add_done_callback)               \
                X(remove_done_callback) X(_make_cancelled_error) X(_log_destroy_pending)           \
                    X(_cancel_message) X(_asyncio_future_blocking) X(get_event_loop) X(close)      \
                        X(is_closed) X(__await__) X(call_exception_handler) X(run_in_executor)     \
                            X(set_running_or_notify_cancel) X(name)

/* The methods of exactly asyncio's Future and Task in C, called without a look-up. NULL if they are not what we
 * know: then they are looked up. */
enum { IORA__QUESTIONS = 4 };

struct future_methods {
    PyCFunction call[IORA__QUESTIONS];
    PyObject *add_done_callback; /* the descriptor */
};

struct asyncio {
    PyTypeObject *future_type, *task_type; /* of _asyncio */
    struct future_methods future_methods, task_methods;
    PyObject *log_destroy_pending; /* of Task: the descriptor */

    PyObject *events, *futures, *tasks, *coroutines; /* the modules */
    PyObject *current_tasks;                         /* up to 3.13: a dict; else NULL */
    PyObject *current_task;                          /* asyncio.current_task as it was */
    PyObject *add_awaited_by, *discard_awaited_by;   /* from 3.14; else NULL */
    PyObject *cancelled_error;
    PyObject *iscoroutine;
    PyObject *partial;           /* functools' */
    PyObject *concurrent_future; /* concurrent.futures.Future */

    unsigned long long tasks_named; /* before 3.12: so many tasks of our loops have got a name */
    PyObject *names_context;        /* ("context",) */
    PyObject *names_loop;           /* ("loop",) */
    PyObject *names_msg;            /* ("msg",) */

    /* Ours. */
    PyObject *gathering_type, *gather_done_type, *shield_type, *task_group_type, *timeout_type;
    PyObject *counter_type, *chain_type, *completed_type;
    PyObject
        *timeout_class; /* what timeout() makes: that which users see, once iora._tasks has told */
    PyObject *wake_up, *expire, *finish_chain, *start_coroutine; /* functions that loops call */
    Py_ssize_t gathering_children, gathering_requested;        /* where these lie in one */

#define IORA__WORD(word) PyObject *str_##word;
    IORA__ASYNCIO_WORDS(IORA__WORD)
#undef IORA__WORD
};

#endif
