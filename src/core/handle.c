/* core/handle.c -- callbacks that run soon, and callbacks that run at an instant.
 *
 * A handle is *pending* from when it is asked for until just before its callback is called: so the
 * callback may use its handle again at once. A timer is a handle with a place in the wheel: when it
 * is due it moves from the wheel to the ready queue, and is pending in both. So is a handle that waits for a
 * task or a future, in the ring of which it lies (task/future.c).
 */
#include "core/loop.h"

static void
run_handle(struct iora__ready *ready)
{
    iora_handle *const handle = iora__container_of(ready, iora_handle, _ready);
    iora_loop *const loop = handle->_loop;
    const int64_t began_ns = loop->debug ? iora__loop_now_ns(loop) : 0;
    iora_callback_fn *const fn = handle->_fn;

    iora__loop_count_callback(loop);
    fn(handle->_arg);
    if (loop->debug)
        iora__loop_note_duration(loop, began_ns, "a callback", (void *)(uintptr_t)fn);
}

static void
prepare(iora_loop *loop, iora_handle *handle, iora_callback_fn *fn, void *arg)
{
    handle->_ready._run = run_handle;
    handle->_fn = fn;
    handle->_arg = arg;
    handle->_loop = loop;
}

int
iora_call_soon(iora_loop *loop, iora_handle *handle, iora_callback_fn *fn, void *arg)
{
    const int rc = iora__loop_check(loop, "iora_call_soon");

    if (rc < 0)
        return rc;
    if (iora_handle_is_pending(handle))
        return -EBUSY;
    prepare(loop, handle, fn, arg);
    iora__ready_push(loop, &handle->_ready);
    return 0;
}

bool
iora_handle_cancel(iora_handle *handle)
{
    if (!iora_handle_is_pending(handle))
        return false;
    iora__list_remove(&handle->_ready._link);
    return true;
}

bool
iora_handle_is_pending(const iora_handle *handle)
{
    return iora__link_is_linked(&handle->_ready._link);
}

static void
make_ready(struct iora__timer *due)
{
    iora_timer *const timer = iora__container_of(due, iora_timer, _timer);

    iora__ready_push(timer->_handle._loop, &timer->_handle._ready);
}

static int
set_timer(iora_loop *loop, iora_timer *timer, int64_t deadline_ns, iora_callback_fn *fn, void *arg)
{
    const int rc = iora__loop_check(loop, "iora_call_later or iora_call_at");

    if (rc < 0)
        return rc;
    (void)iora_timer_cancel(timer);
    prepare(loop, &timer->_handle, fn, arg);
    timer->_timer._fire = make_ready;
    if (deadline_ns != INT64_MAX)
        iora__loop_timer_set(loop, &timer->_timer, deadline_ns);
    return 0;
}

int
iora_call_later(iora_loop *loop, iora_timer *timer, iora_duration delay, iora_callback_fn *fn,
                void *arg)
{
    return set_timer(loop, timer, iora__loop_deadline(loop, delay), fn, arg);
}

int
iora_call_at(iora_loop *loop, iora_timer *timer, iora_instant when, iora_callback_fn *fn, void *arg)
{
    return set_timer(loop, timer, when._ns, fn, arg);
}

bool
iora_timer_cancel(iora_timer *timer)
{
    if (iora__timer_is_set(&timer->_timer)) {
        iora__loop_timer_clear(timer->_handle._loop, &timer->_timer);
        return true;
    }
    return iora_handle_cancel(&timer->_handle);
}

/* The ready queue holds others than handles too, and the wheel others than timers: they stay. */
void
iora__handles_drop(iora_loop *loop)
{
    struct iora__link *at = loop->ready._link._next;

    iora__timers_clear_all(&loop->timers, make_ready);
    while (at != &loop->ready._link) {
        struct iora__ready *const ready = iora__container_of(at, struct iora__ready, _link);

        at = at->_next;
        if (ready->_run == run_handle)
            iora__list_remove(&ready->_link);
    }
}

bool
iora_timer_is_pending(const iora_timer *timer)
{
    return iora__timer_is_set(&timer->_timer) || iora_handle_is_pending(&timer->_handle);
}
