/* sync/channel.c -- the rendezvous channel.
 *
 * It holds nothing: an item goes from the sender's memory to the receiver's when both are there, and whoever
 * came second does the copying. Senders and receivers never wait at the same time.
 */
#include "sync/sync.h"

static const struct iora__wait_class send_wait = {.what = "channel to send to",
                                                  .cancel = iora__wait_cancel};
static const struct iora__wait_class receive_wait = {.what = "channel to receive from",
                                                     .cancel = iora__wait_cancel};

/* 0, IORA_E_CLOSED, or -EAGAIN: nobody is there. */
static inline int
try_send(iora_channel *channel, const void *item)
{
    struct iora__waiter *const receiver = channel->_receivers._first;

    if (receiver == NULL)
        return channel->_closed ? IORA_E_CLOSED : -EAGAIN;
    iora__copy_item(receiver->_slot, item, channel->_item_size);
    iora__waiter_grant(receiver, 0);
    return 0;
}

static inline int
try_receive(iora_channel *channel, void *item)
{
    struct iora__waiter *const sender = channel->_senders._first;

    if (sender == NULL)
        return channel->_closed ? IORA_E_CLOSED : -EAGAIN;
    iora__copy_item(item, sender->_slot, channel->_item_size);
    iora__waiter_grant(sender, 0);
    return 0;
}

static inline int
send_item(struct iora__task *self, iora_channel *channel, const void *item)
{
    const int rc = try_send(channel, item);

    if (rc != -EAGAIN)
        return rc;
    iora__waitq_push(&channel->_senders,
                     iora__wait_begin(self, &send_wait, channel, (void *)item));
    return iora__park(self);
}

static IORA__SLOW int
send_slowly(struct iora__task *self, iora_channel *channel, const void *item)
{
    const int rc = iora__enter_slowly(self);

    return rc < 0 ? rc : send_item(self, channel, item);
}

int
iora_channel_send(iora_channel *channel, const void *item)
{
    struct iora__task *const self = iora__self();

    return iora__may_enter(self) ? send_item(self, channel, item) : send_slowly(self, channel, item);
}

static inline int
receive(struct iora__task *self, iora_channel *channel, void *item)
{
    const int rc = try_receive(channel, item);

    if (rc != -EAGAIN)
        return rc;
    iora__waitq_push(&channel->_receivers, iora__wait_begin(self, &receive_wait, channel, item));
    return iora__park(self);
}

static IORA__SLOW int
receive_slowly(struct iora__task *self, iora_channel *channel, void *item)
{
    const int rc = iora__enter_slowly(self);

    return rc < 0 ? rc : receive(self, channel, item);
}

int
iora_channel_receive(iora_channel *channel, void *item)
{
    struct iora__task *const self = iora__self();

    return iora__may_enter(self) ? receive(self, channel, item)
                                 : receive_slowly(self, channel, item);
}

int
iora_channel_send_nowait(iora_channel *channel, const void *item)
{
    return try_send(channel, item);
}

int
iora_channel_receive_nowait(iora_channel *channel, void *item)
{
    return try_receive(channel, item);
}

void
iora_channel_close(iora_channel *channel)
{
    channel->_closed = true;
    iora__waitq_grant_all(&channel->_senders, IORA_E_CLOSED);
    iora__waitq_grant_all(&channel->_receivers, IORA_E_CLOSED);
}
