/* core/listener.c -- signals as a loop hears them.
 *
 * A *listener* is a subscriber (os/signals.c) with a remote. The signal handler sets the number's bit in
 * `pending`, and unless that is under way already has the loop call `heard`. Whoever takes a number clears its
 * bit: so those of one number that come before it is taken are one, and the lowest number is taken first.
 *
 *     handler:  pending |= bit;  if (!exchange(is_posted, true)) send the handle
 *     loop:     is_posted = false;  heard: take from pending
 *
 * Invariants:
 * (1) The handle is in one place at most: the mailbox, the ready queue, or none. is_posted is false only in
 *     none.
 * (2) A bit that is set is followed by a `heard`, or seen by whoever looks before that.
 * (3) All listeners of a loop are in its list. When it goes they listen no longer, and have no loop.
 */
#include "core/listener.h"

static void
call_heard(void *arg)
{
    struct iora__listener *const listener = arg;

    atomic_store(&listener->is_posted, false); /* first: what comes now is told again */
    listener->heard(listener);
}

/* In a signal handler. The loop is there for as long as we are subscribed, so sending cannot fail. */
static void
deliver(struct iora__subscriber *subscriber, int number)
{
    struct iora__listener *const listener =
        iora__container_of(subscriber, struct iora__listener, subscriber);

    atomic_fetch_or(&listener->pending, iora__signal_bit(number));
    if (!atomic_exchange(&listener->is_posted, true))
        (void)iora_remote_call_soon(listener->remote, &listener->handle, call_heard, listener);
}

int
iora__listener_open(struct iora__listener *listener, iora_loop *loop, uint64_t numbers,
                    bool is_last_resort, iora__heard_fn *heard)
{
    int rc;

    listener->heard = heard;
    listener->subscriber.numbers = numbers;
    listener->subscriber.deliver = deliver;
    listener->subscriber.is_last_resort = is_last_resort;
    if ((rc = iora__remote_open(loop, !is_last_resort, &listener->remote)) < 0)
        return rc;
    if ((rc = iora__signals_subscribe(&listener->subscriber)) < 0)
        goto fail_remote;
    listener->loop = loop;
    iora__list_push_tail(&loop->listeners, &listener->link);
    return 0;

fail_remote:
    iora_remote_close(listener->remote);
    return rc;
}

/* The handle may be on its way, or have arrived. */
void
iora__listener_close(struct iora__listener *listener)
{
    if (listener->loop == NULL)
        return;
    iora__signals_unsubscribe(&listener->subscriber);
    iora__mailbox_take_back(listener->loop, &listener->handle);
    (void)iora_handle_cancel(&listener->handle);
    iora_remote_close(listener->remote);
    iora__list_remove(&listener->link);
    listener->loop = NULL;
}

void
iora__listeners_close(iora_loop *loop)
{
    while (!iora__list_is_empty(&loop->listeners))
        iora__listener_close(
            iora__container_of(loop->listeners._next, struct iora__listener, link));
}

int
iora__listener_take(struct iora__listener *listener)
{
    const uint64_t pending = atomic_load(&listener->pending);
    int number;

    if (pending == 0)
        return 0;
    number = __builtin_ctzll(pending) + 1;
    atomic_fetch_and(&listener->pending, ~iora__signal_bit(number));
    return number;
}
