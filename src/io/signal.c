/* io/signal.c -- signals as tasks wait for them.
 *
 * A *subscription* is a listener (core/listener.c) with a queue of who waits. What has come stays in the
 * listener until it is taken, by who asks or for who waits: so a cancel loses nothing, and a task may find a
 * signal before the loop has been told of it.
 *
 * One task waits at most: two could not know which of them a signal is for. Several clauses of one select are
 * that task's.
 */
#include <iora/signal.h>

#include "core/listener.h"
#include "sync/select.h"
#include "sys/alloc.h"
#include "task/task.h"

struct iora__subscription {
    struct iora__listener listener;
    struct iora__waitq waiters;
};

static const struct iora__wait_class signal_wait = {.what = "signal", .cancel = iora__wait_cancel};

/* On the loop's own stack. */
static void
hand_out(struct iora__listener *listener)
{
    struct iora__subscription *const subscription =
        iora__container_of(listener, struct iora__subscription, listener);
    int number;

    while (subscription->waiters._first != NULL && (number = iora__listener_take(listener)) != 0)
        iora__waiter_grant(subscription->waiters._first, number);
}

int
iora_signals_open(iora_signals *signals, const int *numbers, size_t n)
{
    iora_loop *const loop = iora__running;
    struct iora__subscription *subscription;
    uint64_t set;
    int rc;

    if (loop == NULL)
        return IORA_E_NO_LOOP;
    if ((rc = iora__signals_make_set(numbers, n, &set)) < 0)
        return rc;
    if ((subscription = iora__zalloc(sizeof *subscription)) == NULL)
        return -ENOMEM;
    if ((rc = iora__listener_open(&subscription->listener, loop, set, false, hand_out)) < 0)
        goto fail_subscription;
    signals->_subscription = subscription;
    return 0;

fail_subscription:
    iora__free(subscription);
    return rc;
}

/* A number, -EAGAIN for none yet, or why there will be none. */
static int
take(const iora_signals *signals, const struct iora__task *self)
{
    struct iora__subscription *const subscription = signals->_subscription;
    int number;

    if (subscription == NULL || subscription->listener.loop == NULL)
        return IORA_E_CLOSED;
    if (subscription->listener.loop != self->loop)
        return IORA_E_WRONG_THREAD;
    if (subscription->waiters._first != NULL && subscription->waiters._first->_task != self)
        return -EBUSY;
    number = iora__listener_take(&subscription->listener);
    return number != 0 ? number : -EAGAIN;
}

int
iora_signals_next(iora_signals *signals)
{
    struct iora__task *const self = iora__self();
    struct iora__subscription *subscription;
    int rc;

    if ((rc = iora__enter(self)) < 0)
        return rc;
    if ((rc = take(signals, self)) != -EAGAIN)
        return rc;
    subscription = signals->_subscription;
    iora__waitq_push(&subscription->waiters,
                     iora__wait_begin(self, &signal_wait, subscription, NULL));
    return iora__park(self);
}

void
iora_signals_close(iora_signals *signals)
{
    struct iora__subscription *const subscription = signals->_subscription;

    if (subscription == NULL)
        return;
    signals->_subscription = NULL;
    iora__listener_close(&subscription->listener);
    iora__waitq_grant_all(&subscription->waiters, IORA_E_CLOSED);
    iora__free(subscription);
}

int
iora_wait_signal_of(const int *numbers, size_t n)
{
    iora_signals signals;
    int rc = iora_signals_open(&signals, numbers, n);

    if (rc < 0)
        return rc;
    rc = iora_signals_next(&signals);
    iora_signals_close(&signals);
    return rc;
}

/* ---- the clause -------------------------------------------------------------------------------- */

static enum iora__attempt
try_signal(iora_clause *clause, struct iora__task *self)
{
    return iora__attempted(clause, take(clause->_object, self));
}

static int
start_signal(iora_clause *clause, struct iora__select *select)
{
    const iora_signals *const signals = clause->_object;

    return iora__clause_start_in(&signals->_subscription->waiters, clause, select);
}

static const struct iora__clause_class signal_clause = {
    .try_now = try_signal, .start = start_signal, .stop = iora__clause_stop_in_queue};

iora_clause
iora_on_signal(iora_signals *signals)
{
    return (iora_clause){._class = &signal_clause, ._object = signals};
}
