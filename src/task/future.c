/* task/future.c -- results that are set once.
 *
 * Callbacks that are asked for lie in a ring by the link that also puts a handle in the ready queue: so a handle
 * is pending in either, and is taken back from either in the same way. Those that wait for a task do the same.
 * Zeroed memory is a future, so the ring's head is made when the first one is asked for.
 *
 * What another thread sets lies beside the result until the loop takes notice: who set it first in the loop's
 * own thread is not overtaken.
 */
#include "task/task.h"

/* ---- callbacks ------------------------------------------------------------------------------------------------ */

int
iora__callbacks_add(struct iora__link *callbacks, iora_loop *loop, iora_handle *handle,
                    iora_callback_fn *fn, void *arg)
{
    if (iora_handle_is_pending(handle))
        return -EBUSY;
    handle->_loop = loop;
    handle->_fn = fn;
    handle->_arg = arg;
    if (!iora__link_is_linked(callbacks))
        iora__list_init(callbacks);
    iora__list_push_tail(callbacks, &handle->_ready._link);
    return 0;
}

IORA__SLOW void
iora__callbacks_call_linked(struct iora__link *callbacks)
{
    struct iora__link *link;

    while ((link = iora__list_pop(callbacks)) != NULL) {
        iora_handle *const handle = iora__container_of(link, iora_handle, _ready._link);

        (void)iora_call_soon(handle->_loop, handle, handle->_fn, handle->_arg);
    }
}

void
iora__callbacks_drop(struct iora__link *callbacks)
{
    while (iora__link_is_linked(callbacks) && iora__list_pop(callbacks) != NULL)
        continue;
}

/* ---- futures -------------------------------------------------------------------------------------------------- */

int
iora_future_set(iora_future *future, int rc, void *value)
{
    if (rc == -ECANCELED)
        return -EINVAL;
    if (future->_done)
        return -EALREADY;
    future->_done = true;
    future->_rc = rc;
    future->_value = value;
    while (future->_waiters._first != NULL) {
        struct iora__waiter *const waiter = future->_waiters._first;

        if (rc >= 0 && waiter->_slot != NULL)
            *(void **)waiter->_slot = value;
        iora__waiter_grant(waiter, rc);
    }
    iora__callbacks_call(&future->_callbacks);
    return 0;
}

int
iora_future_await(iora_future *future, void **value)
{
    static const struct iora__wait_class future_wait = {.what = "future",
                                                        .cancel = iora__wait_cancel};
    struct iora__task *const self = iora__self();
    int rc;

    if ((rc = iora__enter(self)) < 0)
        return rc;
    if (future->_done) {
        if (future->_rc >= 0 && value != NULL)
            *value = future->_value;
        return future->_rc;
    }
    iora__waitq_push(&future->_waiters, iora__wait_begin(self, &future_wait, future, value));
    return iora__park(self);
}

bool
iora_future_is_done(const iora_future *future)
{
    return future->_done;
}

int
iora_future_on_done(iora_future *future, iora_loop *loop, iora_handle *handle,
                    iora_callback_fn *fn, void *arg)
{
    if (future->_done)
        return iora_call_soon(loop, handle, fn, arg);
    return iora__callbacks_add(&future->_callbacks, loop, handle, fn, arg);
}

/* In the loop's thread. */
static void
set_sent(void *arg)
{
    iora_future *const future = arg;

    (void)iora_future_set(future, future->_sent_rc, future->_sent_value);
}

int
iora_remote_set_future(iora_remote *remote, iora_future *future, int rc, void *value)
{
    if (rc == -ECANCELED)
        return -EINVAL;
    if (__atomic_exchange_n(&future->_sent, true, __ATOMIC_ACQ_REL))
        return -EALREADY;
    future->_sent_rc = rc;
    future->_sent_value = value;
    return iora_remote_call_soon(remote, &future->_remote, set_sent, future);
}
