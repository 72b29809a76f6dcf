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

static inline int
wait_for_event(struct iora__task *self, iora_event *event)
{
    if (event->_set)
        return 0;
    iora__waitq_push(&event->_waiters, iora__wait_begin(self, &event_wait, event, NULL));
    return iora__park(self);
}

static IORA__SLOW int
wait_slowly(struct iora__task *self, iora_event *event)
{
    const int rc = iora__enter_slowly(self);

    return rc < 0 ? rc : wait_for_event(self, event);
}

int
iora_event_wait(iora_event *event)
{
    struct iora__task *const self = iora__self();

    return iora__may_enter(self) ? wait_for_event(self, event) : wait_slowly(self, event);
}
