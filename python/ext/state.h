/* ext/state.h -- what one interpreter's copy of the module keeps: its types, and what it needs of asyncio.
 *
 * There are no globals. A loop points to its state; a handle reaches it through its loop.
 */
#ifndef IORA_EXT_STATE_H
#define IORA_EXT_STATE_H

#include <Python.h>

#include <stdbool.h>

#include "ext/asyncio_state.h"

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
    PyTypeObject *event_type;
    struct asyncio asyncio; /* asyncio.c */
    bool is_gone; /* the module is being torn down: nothing is kept any more */

    PyObject *asyncio_handle; /* what ours say they are instances of */
    PyObject *asyncio_timer;
    PyObject *tasks;          /* asyncio.tasks: its Task is looked up at each call */
    PyObject *format_helpers; /* asyncio.format_helpers */
    PyObject *logger;         /* asyncio's */
    PyObject *set_running_loop;
    PyObject *get_running_loop;
    PyObject *future_type;
    PyObject *is_debug_mode;
    PyObject *iscoroutine;
    PyObject *iscoroutinefunction;
    PyObject *weak_set;
    PyObject *deque;

    PyObject *str_call_exception_handler, *str_call_at, *str_done, *str_set_result,
        *str_set_exception, *str_Task;
    PyObject *str_append, *str_cancelled, *str_close, *str_create_future, *str_popleft, *str_remove, *str_throw;
    PyObject *task_keywords; /* ("loop",) */
};

extern struct PyModuleDef iora__module;

/* The state of the module that made this type, or a type it is derived from. */
struct state *iora__state_of(PyTypeObject *type);

#endif
