/* sync/event.c -- a flag to wait for. Nobody waits while it is up. */
#include "sync/sync.h"

static const struct iora__wait_class event_wait = {.what = "event", .cancel = iora__wait_cancel};

void
iora_event_set(iora_event *event)
{
    event->_set = true;
    iora__waitq_grant_all(&event->_waiters, 0);
}

void
iora_event_clear(iora_event *event)
{
    event->_set = false;
}

bool
iora_event_is_set(const iora_event *event)
{
    return event->_set;
}

int
iora_event_wait(iora_event *event)
{
    struct iora__task *const self = iora__self();
    int rc;

    if ((rc = iora__enter(self)) < 0)
        return rc;
    if (event->_set)
        return 0;
    iora__waitq_push(&event->_waiters, iora__wait_begin(self, &event_wait, event, NULL));
    return iora__park(self);
}
