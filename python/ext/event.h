/* ext/event.h -- asyncio.Event in C (theory in event.c). */
#ifndef IORA_EXT_EVENT_H
#define IORA_EXT_EVENT_H

#include "ext/sync.h"

typedef struct {
    SyncObject sync;
    char is_set;
} EventObject;

int iora__event_add_type(PyObject *module, struct state *state);

int iora__event_set(EventObject *event);
void iora__event_clear(EventObject *event);
/* What wait() gives. */
PyObject *iora__event_wait(EventObject *event);

#endif
