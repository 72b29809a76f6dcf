/* task/waiter.c -- how a task waits: one protocol for everything.
 *
 * A *waiter* says who waits, for what object, in which queue, and where a result goes (`slot`). A task has
 * one in its control block, for all that waits for a single thing; a select or a gather has more, in its
 * caller's frame. Waiting allocates nothing
 * (but for more than 16 tasks at once, await.c).
 *
 *             iora__wait_begin, iora__waitq_push
 *   no class ------------------------------------> waiting --- iora__waiter_grant(rc) ---> no class
 *                                                     |                                        ^
 *                                                     | class->cancel: one of                  |
 *                                                     |   grant -ECANCELED at once ------------+
 *                                                     |   remember -ECANCELED in _rc and let --+
 *                                                     |   what was begun come to its end
 *
 * Invariants:
 * (1) A waiter with a class is settled exactly once, by a grant. Result and cancel meet here and nowhere
 *     else: the first one settles, and the task runs later, in the ready queue's order.
 * (2) Between grant and resumption what was granted is the waiter's. A cancel in that window is seen by the
 *     task's next call. So nothing that is handed over is ever lost.
 * (3) Who grants has done everything the waiter needs: stored the item, changed the owner, unlinked.
 * (4) A queue of waiters is first in, first out.
 *
 * Rejected: waking all and letting them try again (unfair, a wake-up each); passing on a grant whose waiter
 * was cancelled meanwhile, as asyncio must (a second place where the two meet).
 */
#include "task/task.h"

void
iora__wait_cancel(struct iora__waiter *waiter)
{
    iora__waiter_grant(waiter, -ECANCELED);
}

void
iora__waitq_grant_all(struct iora__waitq *queue, int rc)
{
    while (queue->_first != NULL)
        iora__waiter_grant(queue->_first, rc);
}
