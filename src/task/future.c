/* task/future.c -- results that are set once. */
#include "task/task.h"

/* Callbacks are kept last in, first out, by the link that also carries handles between threads; a handle is
 * either in a future or in a mailbox. */
static void
call_callbacks(iora_future *future)
{
    iora_handle *first = NULL;

    for (iora_handle *at = future->_callbacks; at != NULL;) {
        iora_handle *const next = at->_next_remote;

        at->_next_remote = first;
        first = at;
        at = next;
    }
    future->_callbacks = NULL;
    while (first != NULL) {
        iora_handle *const next = first->_next_remote;

        (void)iora_call_soon(first->_loop, first, first->_fn, first->_arg);
        first = next;
    }
}

int
iora_future_set(iora_future *future, int rc, void *value)
{
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
    call_callbacks(future);
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
    if (iora_handle_is_pending(handle))
        return -EBUSY;
    handle->_loop = loop;
    handle->_fn = fn;
    handle->_arg = arg;
    handle->_next_remote = future->_callbacks;
    future->_callbacks = handle;
    return 0;
}

/* In the loop's thread. Until then the result lies where it will be. */
static void
set_sent(void *arg)
{
    iora_future *const future = arg;

    (void)iora_future_set(future, future->_rc, future->_value);
}

int
iora_remote_set_future(iora_remote *remote, iora_future *future, int rc, void *value)
{
    future->_rc = rc;
    future->_value = value;
    return iora_remote_call_soon(remote, &future->_remote, set_sent, future);
}
