/* iora/sync.h -- lock, event, condition, semaphore, barrier: for the tasks of one loop.
 *
 * Objects are embedded where you like; zeroed memory or the static initialiser makes one, and nothing
 * needs to be destroyed while nobody waits. All are fair: who waited first is served first, and nobody
 * overtakes. What is granted is handed over at once, to the one who waited: a cancel that comes after
 * that is seen by his next call, so no permit is ever lost. Waiting allocates nothing.
 *
 * Every function that suspends returns -ECANCELED in a cancelled scope, having done nothing, unless its
 * line says more. Threads: all of it the loop's.
 */
#ifndef IORA_SYNC_H
#define IORA_SYNC_H

#include <iora/base.h>

IORA_BEGIN

/* ---- lock ------------------------------------------------------------------------------------------ */

/** Mutual exclusion between tasks, across suspensions. Not recursive. */
typedef struct iora_lock {
    struct iora__task *_owner;
    struct iora__waitq _waiters;
} iora_lock;

/* clang-format off */
#define IORA_LOCK_INIT { NULL, {NULL, NULL} }
/* clang-format on */

/** Take the lock. 0; -EDEADLK if the current task holds it. Suspends while another holds it. */
IORA_API IORA_MUST_USE int iora_lock_acquire(iora_lock *lock);
/** Take it if it is free. 0; -EAGAIN; -EDEADLK. Does not suspend, and does not look at the scope. */
IORA_API IORA_MUST_USE int iora_lock_acquire_nowait(iora_lock *lock);
/** Give it to the first who waits, or free it. 0; -EPERM if the current task does not hold it. */
IORA_API int iora_lock_release(iora_lock *lock);
IORA_API bool iora_lock_is_locked(const iora_lock *lock);

/* ---- event ----------------------------------------------------------------------------------------- */

/** A flag to wait for. */
typedef struct iora_event {
    struct iora__waitq _waiters;
    bool _set;
} iora_event;

/* clang-format off */
#define IORA_EVENT_INIT { {NULL, NULL}, false }
/* clang-format on */

/** Raise the flag: all who wait return, later waits return at once. */
IORA_API void iora_event_set(iora_event *event);
IORA_API void iora_event_clear(iora_event *event);
IORA_API bool iora_event_is_set(const iora_event *event);
/** Wait for the flag. 0. Suspends unless it is up. */
IORA_API int iora_event_wait(iora_event *event);

/* ---- condition ------------------------------------------------------------------------------------- */

/** A condition to wait for, together with a lock. */
typedef struct iora_condition {
    struct iora__waitq _waiters;
} iora_condition;

/* clang-format off */
#define IORA_CONDITION_INIT { {NULL, NULL} }
/* clang-format on */

/** Release the lock, wait to be notified, take the lock again. 0; -EPERM if the current task does not hold
 *  the lock. Always returns with the lock held, cancelled too, and then takes no notification with it.
 *  Check what you wait for again: it may have changed. Suspends. */
IORA_API int iora_condition_wait(iora_condition *condition, iora_lock *lock);
/** Wake the first n who wait, or all; holding the lock is not required. Returns how many. */
IORA_API size_t iora_condition_notify(iora_condition *condition, size_t n);
IORA_API size_t iora_condition_notify_all(iora_condition *condition);

/* ---- semaphore ------------------------------------------------------------------------------------- */

/** A number of permits. A bounded one refuses to be released above its initial value. */
typedef struct iora_semaphore {
    struct iora__waitq _waiters;
    size_t _value;
    size_t _out_of_bounds; /* how far below the largest number the bound lies; 0: no bound */
} iora_semaphore;

/* clang-format off */
#define IORA_SEMAPHORE_INIT(value)         { {NULL, NULL}, (value), 0 }
#define IORA_BOUNDED_SEMAPHORE_INIT(value) { {NULL, NULL}, (value), SIZE_MAX - (value) }
/* clang-format on */

/** Take a permit. 0. Suspends while there is none or others wait. */
IORA_API IORA_MUST_USE int iora_semaphore_acquire(iora_semaphore *semaphore);
/** Take one if there is one. 0; -EAGAIN. */
IORA_API IORA_MUST_USE int iora_semaphore_acquire_nowait(iora_semaphore *semaphore);
/** Give one back. 0; -EOVERFLOW above the bound. */
IORA_API int iora_semaphore_release(iora_semaphore *semaphore);
/** How many permits there are to take. */
IORA_API size_t iora_semaphore_value(const iora_semaphore *semaphore);

/* ---- barrier --------------------------------------------------------------------------------------- */

/** A place where a number of tasks meet. */
typedef struct iora_barrier {
    struct iora__waitq _waiters;
    size_t _parties;
    size_t _waiting;
    bool _broken;
} iora_barrier;

/* clang-format off */
#define IORA_BARRIER_INIT(parties) { {NULL, NULL}, (parties), 0, false }
/* clang-format on */

/** Wait until all parties have come. Returns the order of arrival, 0 for the first, parties - 1 for the
 *  last; IORA_E_BROKEN if it was broken; -EINVAL for a barrier of no parties. A cancelled waiter leaves
 *  and the others go on waiting. Suspends, but for the last. */
IORA_API int iora_barrier_wait(iora_barrier *barrier);
/** Break it: who waits, and who comes from now on, gets IORA_E_BROKEN until it is reset. */
IORA_API void iora_barrier_abort(iora_barrier *barrier);
/** Make it whole and empty; who waits gets IORA_E_BROKEN. */
IORA_API void iora_barrier_reset(iora_barrier *barrier);
IORA_API size_t iora_barrier_waiting(const iora_barrier *barrier);
IORA_API bool iora_barrier_is_broken(const iora_barrier *barrier);

IORA_END

#endif
