/* io/buffer.h -- bytes that have come and were not yet taken, and bytes that are still to go.
 *
 * A *window* is what a stream reads into: contiguous, so that a part of it can be handed out as it is, and with
 * room for one byte more than it holds, for a NUL. It grows by doubling. A *ring* is what a stream writes from:
 * its bytes never move while it has any, since the kernel may be reading them.
 *
 * Both are all zero when they are empty and hold no memory then. Windows of the smallest size come from and go
 * back to a *pool* of the loop's, so that a connection that is served and falls idle costs no malloc.
 */
#ifndef IORA_IO_BUFFER_H
#define IORA_IO_BUFFER_H

#include "core/loop.h"

enum { IORA__WINDOW_SIZE = 4096 }; /* the smallest */

struct iora__window_pool {
    char *first; /* each free one begins with the address of the next */
    unsigned count;
};

struct iora__window {
    char *base;
    uint32_t capacity;
    uint32_t begin, end; /* the bytes are base[begin] ... base[end - 1] */
};

struct iora__ring {
    char *base;
    uint32_t capacity;
    uint32_t head, size; /* the bytes are base[head], ... round the end */
};

static inline size_t
iora__window_size(const struct iora__window *window)
{
    return window->end - window->begin;
}

/* Room for more bytes behind those that are there: at least one, at most up to `limit` bytes in all. Moves the
 * bytes. *room: how many. NULL without memory, or if there are `limit` bytes already. `wish`: a capacity that
 * would be welcome. */
char *iora__window_room(struct iora__window *window, struct iora__window_pool *pool, size_t limit,
                        size_t wish, size_t *room);
/* Take n bytes away from the front; the memory goes with the last. */
void iora__window_drop(struct iora__window *window, struct iora__window_pool *pool, size_t n);
/* Give the memory back if no byte is in it. */
void iora__window_trim(struct iora__window *window, struct iora__window_pool *pool);
void iora__window_free(struct iora__window *window, struct iora__window_pool *pool);
void iora__window_pool_free(struct iora__window_pool *pool);

/* Append n bytes, for which there is room: 0 or -ENOMEM. `capacity`: of the ring, if it has no memory yet. */
int iora__ring_append(struct iora__ring *ring, size_t capacity, const void *data, size_t n);
/* The first bytes that lie together; then take so many away. */
char *iora__ring_front(const struct iora__ring *ring, size_t *n);
void iora__ring_drop(struct iora__ring *ring, size_t n);
void iora__ring_free(struct iora__ring *ring);

#endif
