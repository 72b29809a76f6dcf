/* sync/lock.c -- the lock, and the condition that goes with it.
 *
 * Invariants:
 * (1) Somebody waits for the lock only while it has an owner. Releasing makes the first who waits the owner,
 *     before he runs: nobody can come between.
 * (2) A task that waits on a condition is in the condition's queue, then in the lock's, and returns only as
 *     the lock's owner. Who notifies, or cancels, moves it on; its code waits in the waiter meanwhile. In the
 *     lock's queue it is not cancelled any more.
 */
#include "sync/sync.h"

static struct iora__task *
lock_owner(const struct iora__waiter *waiter)
{
    return ((const iora_lock *)waiter->_object)->_owner;
}

static const struct iora__wait_class lock_wait = {
    .what = "lock", .cancel = iora__wait_cancel, .holder = lock_owner};
static const struct iora__wait_class relock_wait = {.what = "lock (of a condition)",
                                                    .holder = lock_owner};

static __attribute__((noinline)) int
wait_for_lock(struct iora__task *self, iora_lock *lock)
{
    if (lock->_owner == self)
        return -EDEADLK;
    iora__waitq_push(&lock->_waiters, iora__wait_begin(self, &lock_wait, lock, NULL));
    if (self->loop->debug)
        iora__report_lock_cycle(self);
    return iora__park(self);
}

static inline int
acquire(struct iora__task *self, iora_lock *lock)
{
    if (lock->_owner != NULL)
        return wait_for_lock(self, lock);
    lock->_owner = self;
    return 0;
}

static IORA__SLOW int
acquire_slowly(struct iora__task *self, iora_lock *lock)
{
    const int rc = iora__enter_slowly(self);

    return rc < 0 ? rc : acquire(self, lock);
}

int
iora_lock_acquire(iora_lock *lock)
{
    struct iora__task *const self = iora__self();

    return iora__may_enter(self) ? acquire(self, lock) : acquire_slowly(self, lock);
}

int
iora_lock_acquire_nowait(iora_lock *lock)
{
    struct iora__task *const self = iora__self();

    if (self == NULL)
        return iora__enter_slowly(NULL);
    if (lock->_owner != NULL)
        return lock->_owner == self ? -EDEADLK : -EAGAIN;
    lock->_owner = self;
    return 0;
}

static void
pass_on(iora_lock *lock)
{
    struct iora__waiter *const waiter = lock->_waiters._first;

    if (waiter == NULL) {
        lock->_owner = NULL;
        return;
    }
    lock->_owner = waiter->_task;
    iora__waiter_grant(waiter, 0);
}

int
iora_lock_release(iora_lock *lock)
{
    if (lock->_owner == NULL || lock->_owner != iora__self())
        return -EPERM;
    if (lock->_waiters._first != NULL)
        pass_on(lock);
    else
        lock->_owner = NULL;
    return 0;
}

bool
iora_lock_is_locked(const iora_lock *lock)
{
    return lock->_owner != NULL;
}

/* ---- condition -------------------------------------------------------------------------------------------------- */

/* From the condition to the lock, where the code waits with it. */
static void
move_to_lock(struct iora__waiter *waiter, int rc)
{
    iora_lock *const lock = waiter->_slot;

    iora__waitq_remove(waiter);
    waiter->_class = &relock_wait;
    waiter->_object = lock;
    waiter->_rc = rc;
    iora__waitq_push(&lock->_waiters, waiter);
    if (lock->_owner == NULL)
        pass_on(lock);
}

static void
cancel_condition(struct iora__waiter *waiter)
{
    move_to_lock(waiter, -ECANCELED);
}

static const struct iora__wait_class condition_wait = {.what = "condition",
                                                       .cancel = cancel_condition};

int
iora_condition_wait(iora_condition *condition, iora_lock *lock)
{
    struct iora__task *const self = iora__self();
    int rc;

    if ((rc = iora__enter(self)) < 0)
        return rc;
    if (lock->_owner != self)
        return -EPERM;
    iora__waitq_push(&condition->_waiters,
                     iora__wait_begin(self, &condition_wait, condition, lock));
    pass_on(lock);
    return iora__park(self);
}

size_t
iora_condition_notify(iora_condition *condition, size_t n)
{
    size_t woken = 0;

    for (; woken < n && condition->_waiters._first != NULL; woken++)
        move_to_lock(condition->_waiters._first, 0);
    return woken;
}

size_t
iora_condition_notify_all(iora_condition *condition)
{
    return iora_condition_notify(condition, SIZE_MAX);
}
