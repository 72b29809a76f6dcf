/* iora/future.h -- a result that will be set once.
 *
 * What joins callbacks to straight-line code: a callback sets it, any number of tasks await it. The memory
 * is the caller's and zeroed memory is a future; it must stay until nobody waits for it.
 *
 * Threads    the loop's; another thread sets it through iora_remote_set_future().
 */
#ifndef IORA_FUTURE_H
#define IORA_FUTURE_H

#include <iora/loop.h>

IORA_BEGIN

typedef struct iora_future {
    struct iora__waitq _waiters;
    struct iora__link _callbacks;
    iora_handle _remote;
    void *_sent_value;
    void *_value;
    int _sent_rc;
    int _rc;
    bool _done;
    bool _sent;
} iora_future;

/* clang-format off */
#define IORA_FUTURE_INIT                                                                           \
    { {NULL, NULL}, {NULL, NULL}, {{{NULL, NULL}, NULL}, NULL, NULL, NULL, NULL, 0}, NULL, NULL,   \
      0, 0, false, false }
/* clang-format on */

/** Set code and value, wake all who wait. 0; -EALREADY if it was set before (nothing changes); -EINVAL for the
 *  code -ECANCELED, which would tell those who wait that they are cancelled. Does not suspend. */
IORA_API int iora_future_set(iora_future *future, int rc, void *value);

/** Wait until it is set; any number of times. Returns its code, and its value in *value (may be NULL) if the
 *  code is not negative; -ECANCELED, the future unaffected. Suspends unless it is set. */
IORA_API int iora_future_await(iora_future *future, void **value);

IORA_API bool iora_future_is_done(const iora_future *future);

/** Have fn(arg) called from loop's ready queue once it is set (soon, if it is). The handle is pending from here
 *  on: iora_handle_cancel() takes it back. 0; -EBUSY for a handle that is pending. */
IORA_API int iora_future_on_done(iora_future *future, iora_loop *loop, iora_handle *handle,
                                 iora_callback_fn *fn, void *arg);

/** Set it from another thread; if the loop's thread has set it meanwhile, nothing changes. 0; -EALREADY if some
 *  thread has sent it before; -EINVAL for -ECANCELED; IORA_E_CLOSED if the loop is gone (it is not set then). */
IORA_API int iora_remote_set_future(iora_remote *remote, iora_future *future, int rc, void *value);

IORA_END

#endif
