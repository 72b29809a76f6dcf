/* ext/state.h -- what one interpreter's copy of the module keeps: its types, and what it needs of asyncio.
 *
 * There are no globals. A loop points to its state, and holds the module; its handles reach it through the loop,
 * which they let go of last. Locks, queues and coroutines do as the loop does.
 */
#ifndef IORA_EXT_STATE_H
#define IORA_EXT_STATE_H

#include <Python.h>

#include <stdbool.h>

#include "ext/asyncio_state.h"
#include "ext/bound.h"

enum { IORA__FREE_HANDLES_MAX = 1024 };

/* Handles that were dropped, for the next ones. */
struct free_list {
    PyObject *items[IORA__FREE_HANDLES_MAX];
    int count;
};

/* What was last found out about a class, and the version of the class it is true of (sync.c). */
struct plain_class {
    unsigned version;
    bool is_plain;
};

struct state {
    PyObject *module; /* whose it is: borrowed. Who keeps the state holds the module, and lets go of it last */
    PyTypeObject *handle_type;
    PyTypeObject *timer_type;
    PyTypeObject *loop_type;
    PyTypeObject *attempt_type;
    PyTypeObject *pool_type, *job_type; /* pool.c */
    PyObject *finish_job;
    PyTypeObject *transport_type;
    PyTypeObject *listener_type;
    PyTypeObject *stream_reader_type, *stream_writer_type, *stream_protocol_type; /* streams.c */
    PyTypeObject *step_type; /* step.c; NULL: steps are not told apart */
    PyCFunction wake_up_function;
    PyObject *step_names; /* ("context",), as _asyncio has it */
    PyObject *no_args;                          /* () */
    PyObject *bound_names[IORA__BOUND_METHODS]; /* bound.c */
    struct free_list handles;
    struct free_list timers;
    PyTypeObject *awaitable_type; /* awaitable.c */
    PyTypeObject *stop_type;
    PyObject *ready;
    struct free_list awaitables;
    struct free_list stops;
    PyTypeObject *function_type; /* function.c */
    PyObject *coroutine_mark;    /* NULL where there is none */
    PyObject *mark_function;
    PyTypeObject *event_type, *lock_type, *condition_type, *semaphore_type; /* the files of these names */
    PyTypeObject *queue_type, *queue_types[3];
    PyObject *public_event, *public_lock, *public_condition, *queue_shut_down; /* once needed */
    struct plain_class plain_lock, plain_condition, plain_semaphore, plain_queues[3]; /* sync.c */
    struct plain_class plain_reader;                                                  /* streams.c */
    struct asyncio asyncio;                                                    /* asyncio.c */
    bool is_gone; /* the module is being torn down: nothing is kept any more */

    PyObject *asyncio_handle; /* what ours say they are instances of */
    PyObject *asyncio_timer;
    PyObject *asyncio_transport;
    PyObject *tasks;          /* asyncio.tasks: its Task is looked up at each call */
    PyObject *format_helpers; /* asyncio.format_helpers */
    PyObject *logger;         /* asyncio's */
    PyObject *events;         /* asyncio.events */
    PyObject *future_type;
    PyObject *is_debug_mode;
    PyObject *iscoroutine;
    PyObject *iscoroutinefunction;
    PyObject *weak_set;
    PyObject *deque, *heappush, *heappop;
    PyObject *cancelled_error, *broken_barrier_error, *invalid_state_error, *queue_empty, *queue_full;
    PyObject *set_result_unless_cancelled; /* asyncio.futures' */
    PyObject *transport_socket;            /* asyncio.trsock's */
    PyObject *buffered_protocol;
    PyObject *socket_type;
    PyObject *incomplete_read_error, *limit_overrun_error, *stock_stream_reader;
    PyObject *public_stream_reader; /* iora._streams' */

    PyObject *str_call_exception_handler, *str_call_at, *str_done, *str_set_result,
        *str_set_exception, *str_Task, *str_connection_lost, *str_data_received, *str_eof_received,
        *str_get_buffer, *str_buffer_updated, *str_pause_writing, *str_resume_writing;
    PyObject *str__get, *str__get_running_loop, *str__put, *str_acquire, *str_append, *str_cancel, *str_cancelled, *str_close,
        *str_create_future, *str_empty, *str_full, *str_get_nowait, *str_locked, *str_pop, *str_popleft,
        *str_put_nowait, *str_qsize, *str_release, *str_remove, *str_throw, *str_wait;
    PyObject *str_connection_made, *str__start, *str__attach, *str__detach, *str_feed_data, *str_is_closing,
        *str_write;
    PyObject *task_keywords; /* ("loop",) */
};

extern struct PyModuleDef iora__module;

/* The module that made this type, or a type it is derived from; borrowed. */
PyObject *iora__module_of(PyTypeObject *type);

static inline struct state *
iora__state_of(PyTypeObject *type)
{
    return PyModule_GetState(iora__module_of(type));
}

#endif
