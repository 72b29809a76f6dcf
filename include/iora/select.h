/* iora/select.h -- wait for one of several things, of which exactly one then happens.
 *
 *     iora_clause clauses[] = {
 *         iora_on_get(&jobs, &job),
 *         iora_on_event(&stop),
 *         iora_on_sleep(iora_s(1)),
 *     };
 *     switch (iora_select(clauses, 3)) {
 *     case 0: ...                   a job was taken, or clauses[0].rc says why not
 *     case 1: ...                   stop was set, no job was taken
 *     case 2: ...                   a second passed
 *     default: ...                  -ECANCELED: none has happened
 *     }
 *
 * What a clause did not win has not happened: no item left its queue, no permit its semaphore. If several
 * can happen at once the first of them does; a descriptor only if no other clause can. Clauses live in the caller's frame; nothing is allocated.
 */
#ifndef IORA_SELECT_H
#define IORA_SELECT_H

#include <iora/future.h>
#include <iora/queue.h>
#include <iora/sync.h>
#include <iora/task.h>

IORA_BEGIN

/* A place in a queue of waiting tasks: a task's own one, or a clause's. */
struct iora__waiter {
    struct iora__waiter *_next;
    struct iora__waiter *_prev;
    struct iora__waitq *_queue; /* NULL: in none */
    struct iora__task *_task;
    const struct iora__wait_class *_class; /* NULL: not waiting */
    void *_object;
    void *_slot;
    int32_t _rc;
    uint32_t _index;
};

typedef struct iora_clause iora_clause;

/** One thing to wait for. Made by the iora_on_...() below. */
struct iora_clause {
    int rc; /**< what the call would have returned, if this clause is the one that happened */
    const struct iora__clause_class *_class;
    void *_object;
    void *_slot;
    int64_t _when_ns;
    struct iora__waiter _waiter;
    union {
        struct iora__timer _timer;
        struct iora__op _op;
    } _u;
};

/**
 * Wait for one of n clauses.
 *
 * Returns   the index of the one that happened, its code in its rc; -ECANCELED, and none has happened;
 *           -EINVAL for n == 0 or n > 64; -EDEADLK if a clause waits for the current task itself.
 * Suspends  unless one can happen at once.
 * Cancel    none has happened.
 */
IORA_API int iora_select(iora_clause *clauses, size_t n);

/** Each as the function it is named after; a clause for a task collects it if it happens, a duration counts from
 *  each iora_select() anew. */
IORA_API iora_clause iora_on_get(iora_queue *queue, void *item);
IORA_API iora_clause iora_on_put(iora_queue *queue, const void *item);
IORA_API iora_clause iora_on_receive(iora_channel *channel, void *item);
IORA_API iora_clause iora_on_send(iora_channel *channel, const void *item);
IORA_API iora_clause iora_on_acquire(iora_semaphore *semaphore);
IORA_API iora_clause iora_on_lock(iora_lock *lock);
IORA_API iora_clause iora_on_event(iora_event *event);
IORA_API iora_clause iora_on_task(iora_task task);
IORA_API iora_clause iora_on_future(iora_future *future, void **value);
IORA_API iora_clause iora_on_readable(int fd);
IORA_API iora_clause iora_on_writable(int fd);
IORA_API iora_clause iora_on_sleep(iora_duration d);
IORA_API iora_clause iora_on_sleep_until(iora_instant when);

IORA_END

#endif
