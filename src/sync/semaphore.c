/* sync/semaphore.c -- a number of permits.
 *
 * Somebody waits only while the value is 0: a permit that is released goes straight to the first who waits
 * and never shows in the value.
 */
#include "sync/sync.h"

static const struct iora__wait_class semaphore_wait = {.what = "semaphore",
                                                       .cancel = iora__wait_cancel};

static inline int
acquire(struct iora__task *self, iora_semaphore *semaphore)
{
    if (semaphore->_value > 0) {
        semaphore->_value--;
        return 0;
    }
    iora__waitq_push(&semaphore->_waiters,
                     iora__wait_begin(self, &semaphore_wait, semaphore, NULL));
    return iora__park(self);
}

static IORA__SLOW int
acquire_slowly(struct iora__task *self, iora_semaphore *semaphore)
{
    const int rc = iora__enter_slowly(self);

    return rc < 0 ? rc : acquire(self, semaphore);
}

int
iora_semaphore_acquire(iora_semaphore *semaphore)
{
    struct iora__task *const self = iora__self();

    return iora__may_enter(self) ? acquire(self, semaphore) : acquire_slowly(self, semaphore);
}

int
iora_semaphore_acquire_nowait(iora_semaphore *semaphore)
{
    if (semaphore->_value == 0)
        return -EAGAIN;
    semaphore->_value--;
    return 0;
}

int
iora_semaphore_release(iora_semaphore *semaphore)
{
    if (semaphore->_value >= SIZE_MAX - semaphore->_out_of_bounds)
        return -EOVERFLOW;
    if (semaphore->_waiters._first != NULL)
        iora__waiter_grant(semaphore->_waiters._first, 0);
    else
        semaphore->_value++;
    return 0;
}

size_t
iora_semaphore_value(const iora_semaphore *semaphore)
{
    return semaphore->_value;
}
