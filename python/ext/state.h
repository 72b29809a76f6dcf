/* ext/state.h -- what one interpreter's copy of the module keeps: its types, and what it needs of asyncio.
 *
 * There are no globals. A loop points to its state; a handle reaches it through its loop.
 */
#ifndef IORA_EXT_STATE_H
#define IORA_EXT_STATE_H

#include <Python.h>

#include <stdbool.h>

enum { IORA__FREE_HANDLES_MAX = 1024 };

/* Handles that were dropped, for the next ones. */
struct free_list {
    PyObject *items[IORA__FREE_HANDLES_MAX];
    int count;
};

struct state {
    PyTypeObject *handle_type;
    PyTypeObject *timer_type;
    PyTypeObject *loop_type;
    PyTypeObject *attempt_type;
    PyTypeObject *transport_type;
    PyTypeObject *listener_type;
    struct free_list handles;
    struct free_list timers;
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
    PyObject *set_result_unless_cancelled; /* asyncio.futures' */
    PyObject *transport_socket;            /* asyncio.trsock's */
    PyObject *socket_type;
    PyObject *buffered_protocol;

    PyObject *str_call_exception_handler, *str_call_at, *str_done, *str_set_result,
        *str_set_exception, *str_Task, *str_connection_lost, *str_data_received, *str_eof_received,
        *str_get_buffer, *str_buffer_updated, *str_pause_writing, *str_resume_writing,
        *str_connection_made, *str__start, *str__attach, *str__detach;
    PyObject *task_keywords; /* ("loop",) */
};

extern struct PyModuleDef iora__module;

/* The state of the module that made this type, or a type it is derived from. */
struct state *iora__state_of(PyTypeObject *type);

#endif
