/* ext/asyncio.h -- asyncio's futures, tasks and loops as our functions use them (theory in asyncio.c). */
#ifndef IORA_EXT_ASYNCIO_H
#define IORA_EXT_ASYNCIO_H

#include <Python.h>

#include "ext/asyncio_state.h"
#include "ext/running.h"
#include "ext/state.h"

/* What the module's fill_state(), traverse(), clear() and free_module() do for this part of the state. */
int iora__asyncio_fill(struct asyncio *asyncio);
int iora__asyncio_traverse(struct asyncio *asyncio, visitproc visit, void *arg);
void iora__asyncio_clear(struct asyncio *asyncio);
void iora__asyncio_free(struct asyncio *asyncio);

/* ---- which loop, which task ---------------------------------------------------------------------- */

/* As asyncio.get_event_loop(). */
PyObject *iora__event_loop(struct state *state);

/* The loop's current task or None: a new reference. */
PyObject *iora__current_task(struct state *state, PyObject *loop);

/* loop.time(). -1 with an exception. */
int iora__loop_time(struct state *state, PyObject *loop, double *out);

/* loop.call_soon(function, arg), loop.call_at(when, function, arg), call_later: a handle. */
PyObject *iora__loop_soon(struct state *state, PyObject *loop, PyObject *function, PyObject *arg);
PyObject *iora__loop_at(struct state *state, PyObject *loop, PyObject *when, PyObject *function,
                        PyObject *arg);
PyObject *iora__loop_later(struct state *state, PyObject *loop, PyObject *delay, PyObject *function,
                           PyObject *arg);

/* handle.cancel(), whatever is set: an exception of its own is written off. */
void iora__cancel_handle(struct state *state, PyObject *handle);

/* ---- futures --------------------------------------------------------------------------------------- */

/* What can be asked of a future without arguments: future.done() and so on; a new reference. */
enum iora__question { IORA__ASK_DONE, IORA__ASK_CANCELLED, IORA__ASK_EXCEPTION, IORA__ASK_RESULT };
PyObject *iora__future_ask(const struct state *state, PyObject *future,
                           enum iora__question question);

/* Questions: 0, 1, or -1 with an exception. Two more are in running.h. */
int iora__future_check(struct state *state, PyObject *object);
int iora__coroutine_check(struct state *state, PyObject *object);
int iora__is_awaitable(PyObject *object); /* create.c */

/* New references. */
PyObject *iora__future_loop(struct state *state, PyObject *future);
PyObject *iora__future_cancelled_error(struct state *state, PyObject *future);

/* concurrent.futures has exceptions of its own: asyncio's in their place, by asyncio's own hand; a new reference. */
PyObject *iora__future_convert(struct state *state, PyObject *exception);

/* A callback of ours looks at no context, so all of one object's share one (NULL: a copy for each). */
int iora__future_add_callback(struct state *state, PyObject *future, PyObject *callback,
                              PyObject *context);
/* Nobody has a hold on it: it is not complained of when it is dropped before its end. */
int iora__task_disown(struct state *state, PyObject *task);

int iora__future_remove_callback(struct state *state, PyObject *future, PyObject *callback);

int iora__future_set_result(struct state *state, PyObject *future, PyObject *result);
int iora__future_set_exception(struct state *state, PyObject *future, PyObject *exception);

/* Whether it could be cancelled. No message: NULL. */
int iora__future_cancel(struct state *state, PyObject *future, PyObject *message);

/* task.cancelling(), task.uncancel(): -1 with an exception. */
long iora__task_cancelling(struct state *state, PyObject *task);
long iora__task_uncancel(struct state *state, PyObject *task);

/* create.c: asyncio.ensure_future(object, loop=loop); no loop: NULL. A coroutine that no task was made for is closed. */
PyObject *iora__ensure_future(struct state *state, PyObject *object, PyObject *loop);

/* The call graph of 3.14: a waits for b, and no longer. Nothing before that. NULL or None waits for nothing. */
int iora__note_awaited_by(struct state *state, PyObject *future, PyObject *waiter);
int iora__forget_awaited_by(struct state *state, PyObject *future, PyObject *waiter);

#endif
