/* sync/sync.h -- what the synchronization primitives share. */
#ifndef IORA_SYNC_SYNC_H
#define IORA_SYNC_SYNC_H

#include "task/task.h"

#include <string.h>

/* Copy an item. Most are a pointer or an integer: one move instead of a call. Items of no size have no
 * address. */
static inline void
iora__copy_item(void *to, const void *from, size_t size)
{
    if (size == sizeof(uint64_t))
        memcpy(to, from, sizeof(uint64_t));
    else if (size != 0)
        memcpy(to, from, size);
}

#endif
