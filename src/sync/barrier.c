/* sync/barrier.c -- a place where a number of tasks meet.
 *
 * The last to come grants all the others, in the order they came: the barrier is empty again before any of
 * them runs, so a party can come back at once and is of the next round.
 */
#include "sync/sync.h"

static void
cancel_barrier(struct iora__waiter *waiter)
{
    iora_barrier *const barrier = waiter->_object;

    barrier->_waiting--;
    iora__waiter_grant(waiter, -ECANCELED);
}

static const struct iora__wait_class barrier_wait = {.what = "barrier", .cancel = cancel_barrier};

int
iora_barrier_wait(iora_barrier *barrier)
{
    struct iora__task *const self = iora__self();
    int rc;

    if ((rc = iora__enter(self)) < 0)
        return rc;
    if (barrier->_parties == 0)
        return -EINVAL;
    if (barrier->_broken)
        return IORA_E_BROKEN;
    if (barrier->_waiting + 1 == barrier->_parties) {
        barrier->_waiting = 0;
        for (int order = 0; barrier->_waiters._first != NULL; order++)
            iora__waiter_grant(barrier->_waiters._first, order);
        return (int)(barrier->_parties - 1);
    }
    barrier->_waiting++;
    iora__waitq_push(&barrier->_waiters, iora__wait_begin(self, &barrier_wait, barrier, NULL));
    return iora__park(self);
}

static void
send_away(iora_barrier *barrier, bool broken)
{
    barrier->_waiting = 0;
    barrier->_broken = broken;
    iora__waitq_grant_all(&barrier->_waiters, IORA_E_BROKEN);
}

void
iora_barrier_abort(iora_barrier *barrier)
{
    send_away(barrier, true);
}

void
iora_barrier_reset(iora_barrier *barrier)
{
    send_away(barrier, false);
}

size_t
iora_barrier_waiting(const iora_barrier *barrier)
{
    return barrier->_waiting;
}

bool
iora_barrier_is_broken(const iora_barrier *barrier)
{
    return barrier->_broken;
}
