/* ext/module.c -- iora._c: the types in C, for iora's Python files to build on.
 *
 * Made in two phases, with a state for each interpreter (state.h) and no globals: each subinterpreter has a
 * module of its own, also under a GIL of its own (3.12). A free-threaded interpreter is told to keep the GIL.
 */
#include "ext/asyncio.h"
#include "ext/attempt.h"
#include "ext/awaitable.h"
#include "ext/barrier.h"
#include "ext/chain.h"
#include "ext/completed.h"
#include "ext/condition.h"
#include "ext/create.h"
#include "ext/event.h"
#include "ext/function.h"
#include "ext/gather.h"
#include "ext/handle.h"
#include "ext/listener.h"
#include "ext/lock.h"
#include "ext/loop.h"
#include "ext/pool.h"
#include "ext/queue.h"
#include "ext/seam.h"
#include "ext/semaphore.h"
#include "ext/shield.h"
#include "ext/sleep.h"
#include "ext/state.h"
#include "ext/step.h"
#include "ext/streams.h"
#include "ext/table.h"
#include "ext/taskgroup.h"
#include "ext/thread.h"
#include "ext/timeout.h"
#include "ext/transport.h"
#include "ext/wait.h"

#include <stddef.h>

static struct state *
state_of_module(PyObject *module)
{
    return PyModule_GetState(module);
}

/* The first class on the way up that we made knows its module. */
PyObject *
iora__module_of(PyTypeObject *type)
{
    return PyType_GetModuleByDef(type, &iora__module);
}

#define IMPORT(module, name, field)                                                                \
    {                                                                                              \
        module, name, offsetof(struct state, field)                                                \
    }

static const struct import imports[] = {
    IMPORT("asyncio.events", "Handle", asyncio_handle),
    IMPORT("asyncio.events", "TimerHandle", asyncio_timer),
    IMPORT("asyncio.events", NULL, events),
    IMPORT("asyncio.tasks", NULL, tasks),
    IMPORT("asyncio.format_helpers", NULL, format_helpers),
    IMPORT("asyncio.log", "logger", logger),
    IMPORT("asyncio.futures", "Future", future_type),
    IMPORT("asyncio.coroutines", "_is_debug_mode", is_debug_mode),
    IMPORT("asyncio.coroutines", "iscoroutine", iscoroutine),
    IMPORT("asyncio.coroutines", "iscoroutinefunction", iscoroutinefunction),
    IMPORT("asyncio.futures", "_set_result_unless_cancelled", set_result_unless_cancelled),
    IMPORT("asyncio.protocols", "BufferedProtocol", buffered_protocol),
    IMPORT("asyncio.transports", "Transport", asyncio_transport),
    IMPORT("asyncio.trsock", "TransportSocket", transport_socket),
    IMPORT("socket", "socket", socket_type),
    IMPORT("asyncio.exceptions", "IncompleteReadError", incomplete_read_error),
    IMPORT("asyncio.exceptions", "LimitOverrunError", limit_overrun_error),
    IMPORT("asyncio.streams", "StreamReader", stock_stream_reader),
    IMPORT("weakref", "WeakSet", weak_set),
    IMPORT("collections", "deque", deque),
    IMPORT("heapq", "heappush", heappush),
    IMPORT("heapq", "heappop", heappop),
    IMPORT("asyncio.exceptions", "CancelledError", cancelled_error),
    IMPORT("asyncio.exceptions", "BrokenBarrierError", broken_barrier_error),
    IMPORT("asyncio.exceptions", "InvalidStateError", invalid_state_error),
    IMPORT("asyncio.queues", "QueueEmpty", queue_empty),
    IMPORT("asyncio.queues", "QueueFull", queue_full),
};

#define NAME(text)                                                                                 \
    {                                                                                              \
#text, offsetof(struct state, str_##text)                                                  \
    }

static const struct word names[] = {
    NAME(call_exception_handler),
    NAME(call_at),
    NAME(done),
    NAME(set_result),
    NAME(set_exception),
    NAME(Task),
    NAME(connection_lost),
    NAME(data_received),
    NAME(eof_received),
    NAME(get_buffer),
    NAME(buffer_updated),
    NAME(pause_writing),
    NAME(resume_writing),
    NAME(_get),
    NAME(_get_running_loop),
    NAME(_put),
    NAME(acquire),
    NAME(append),
    NAME(cancel),
    NAME(cancelled),
    NAME(close),
    NAME(create_future),
    NAME(empty),
    NAME(full),
    NAME(get_nowait),
    NAME(locked),
    NAME(pop),
    NAME(popleft),
    NAME(put_nowait),
    NAME(qsize),
    NAME(release),
    NAME(remove),
    NAME(throw),
    NAME(wait),
    NAME(connection_made),
    NAME(_start),
    NAME(_attach),
    NAME(_detach),
    NAME(feed_data),
    NAME(is_closing),
    NAME(write),
};

static int
fill_state(struct state *state)
{
    if (iora__import_all(state, imports, COUNT(imports)) < 0 ||
        iora__intern_all(state, names, COUNT(names)) < 0)
        return -1;
    state->task_keywords = Py_BuildValue("(s)", "loop");
    return state->task_keywords == NULL ? -1 : 0;
}

static int
execute(PyObject *module)
{
    struct state *const state = state_of_module(module);

    state->module = module;
    if (fill_state(state) < 0 || iora__bound_fill(state) < 0 || iora__handle_add_types(module, state) < 0 ||
        iora__attempt_add_type(module, state) < 0 || iora__pool_add_type(module, state) < 0 || iora__transport_add_type(module, state) < 0 ||
        iora__listener_add_type(module, state) < 0 || iora__loop_add_type(module, state) < 0 ||
        iora__awaitable_add_types(module, state) < 0 ||
        iora__function_add_type(module, state) < 0 ||
        iora__event_add_type(module, state) < 0 || iora__lock_add_type(module, state) < 0 ||
        iora__condition_add_type(module, state) < 0 ||
        iora__semaphore_add_types(module, state) < 0 ||
        iora__barrier_add_type(module, state) < 0 || iora__queue_add_types(module, state) < 0 ||
        iora__asyncio_fill(&state->asyncio) < 0 || iora__create_add(module, state) < 0 ||
        iora__gather_add(module, state) < 0 || iora__taskgroup_add(module, state) < 0 ||
        iora__sleep_add(module, state) < 0 || iora__timeout_add(module, state) < 0 ||
        iora__wait_add(module, state) < 0 || iora__shield_add(module, state) < 0 ||
        iora__chain_add(module, state) < 0 || iora__completed_add(module, state) < 0 ||
        iora__thread_add(module, state) < 0 || iora__step_add(module, state) < 0 ||
        iora__seam_add(module) < 0 ||
        iora__streams_add_types(module, state) < 0 ||
        PyModule_AddType(module, state->handle_type) < 0 ||
        PyModule_AddType(module, state->timer_type) < 0)
        return -1;
    return 0;
}

/* What else the state holds. */
#define HELD(field) offsetof(struct state, field)

static const size_t held[] = {
    HELD(handle_type),
    HELD(timer_type),
    HELD(loop_type),
    HELD(attempt_type),
    HELD(pool_type),
    HELD(job_type),
    HELD(finish_job),
    HELD(transport_type),
    HELD(listener_type),
    HELD(stream_reader_type),
    HELD(stream_writer_type),
    HELD(stream_protocol_type),
    HELD(public_stream_reader),
    HELD(awaitable_type),
    HELD(stop_type),
    HELD(ready),
    HELD(function_type),
    HELD(coroutine_mark),
    HELD(mark_function),
    HELD(event_type),
    HELD(lock_type),
    HELD(condition_type),
    HELD(semaphore_type),
    HELD(queue_types[0]),
    HELD(queue_types[1]),
    HELD(queue_types[2]),
    HELD(public_event),
    HELD(public_lock),
    HELD(public_condition),
    HELD(queue_shut_down),
    HELD(step_type),
    HELD(step_names),
};

static int
traverse(PyObject *module, visitproc visit, void *arg)
{
    struct state *const state = state_of_module(module);

    for (size_t i = 0; i < COUNT(held); i++)
        Py_VISIT(*AT(state, held[i]));
    for (size_t i = 0; i < COUNT(imports); i++)
        Py_VISIT(*AT(state, imports[i].offset));
    return iora__asyncio_traverse(&state->asyncio, visit, arg);
}

static int
clear(PyObject *module)
{
    struct state *const state = state_of_module(module);

    state->is_gone = true;
    iora__free_list_clear(state); /* while there are types to ask how */
    iora__awaitable_free_list_clear(state);
    for (size_t i = 0; i < COUNT(held); i++)
        Py_CLEAR(*AT(state, held[i]));
    for (size_t i = 0; i < COUNT(imports); i++)
        Py_CLEAR(*AT(state, imports[i].offset));
    iora__asyncio_clear(&state->asyncio);
    return 0;
}

static void
free_module(void *module)
{
    struct state *const state = state_of_module(module);

    (void)clear(module);
    for (size_t i = 0; i < COUNT(names); i++)
        Py_CLEAR(*AT(state, names[i].offset));
    Py_CLEAR(state->task_keywords);
    Py_CLEAR(state->no_args);
    for (int i = 0; i < IORA__BOUND_METHODS; i++)
        Py_CLEAR(state->bound_names[i]);
    iora__asyncio_free(&state->asyncio);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
#if PY_VERSION_HEX >= 0x030c0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030d0000
    {Py_mod_gil, Py_MOD_GIL_USED},
#endif
    {0},
};

struct PyModuleDef iora__module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "iora._c",
    .m_doc = PyDoc_STR("What iora has in C."),
    .m_size = sizeof(struct state),
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = free_module,
};

PyMODINIT_FUNC PyInit__c(void);

PyMODINIT_FUNC
PyInit__c(void)
{
    return PyModuleDef_Init(&iora__module);
}
