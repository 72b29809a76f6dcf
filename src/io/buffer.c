/* io/buffer.c -- windows and rings (see buffer.h).
 *
 * Sizes are 32 bits: limits are checked against IORA__LIMIT_MAX when a stream is made, and what is added never
 * goes beyond a limit (libevent's CVE-2014-6272 is what happens when buffers add without looking).
 */
#include "io/buffer.h"

#include "sys/alloc.h"

#include <string.h>

enum { POOLED_MAX = 64 };

/* ---- windows ------------------------------------------------------------------------------------- */

static char *
take_pooled(struct iora__window_pool *pool)
{
    char *const base = pool->first;

    if (base == NULL)
        return iora__alloc(IORA__WINDOW_SIZE);
    memcpy(&pool->first, base, sizeof pool->first);
    pool->count--;
    return base;
}

static void
give_memory(struct iora__window_pool *pool, char *base, size_t capacity)
{
    if (capacity != IORA__WINDOW_SIZE || pool->count == POOLED_MAX) {
        iora__free(base);
        return;
    }
    memcpy(base, &pool->first, sizeof pool->first);
    pool->first = base;
    pool->count++;
}

/* A window of this capacity with the same bytes in it. */
static int
set_capacity(struct iora__window *window, struct iora__window_pool *pool, size_t capacity)
{
    const size_t size = iora__window_size(window);
    char *const base =
        capacity == IORA__WINDOW_SIZE ? take_pooled(pool) : iora__alloc(capacity);

    if (base == NULL)
        return -ENOMEM;
    if (window->base != NULL) {
        memcpy(base, window->base + window->begin, size);
        give_memory(pool, window->base, window->capacity);
    }
    *window = (struct iora__window){base, (uint32_t)capacity, 0, (uint32_t)size};
    return 0;
}

/* The capacity to have: what is wished, or twice what is full, with a byte for the NUL; never more than the
 * limit needs. */
static size_t
next_capacity(const struct iora__window *window, size_t limit, size_t wish)
{
    size_t capacity = window->base == NULL ? IORA__WINDOW_SIZE : (size_t)window->capacity * 2;

    while (capacity < wish)
        capacity *= 2;
    return capacity > limit + 1 && limit + 1 > IORA__WINDOW_SIZE ? limit + 1 : capacity;
}

static void
move_to_front(struct iora__window *window)
{
    const size_t size = iora__window_size(window);

    if (window->begin == 0)
        return;
    memmove(window->base, window->base + window->begin, size);
    window->begin = 0;
    window->end = (uint32_t)size;
}

char *
iora__window_room(struct iora__window *window, struct iora__window_pool *pool, size_t limit,
                  size_t wish, size_t *room)
{
    const size_t size = iora__window_size(window);
    size_t left;

    if (size >= limit)
        return NULL;
    if (window->begin >= size)
        move_to_front(window); /* no more bytes than were taken away since the last time */
    if ((window->base == NULL || window->end + 1 >= window->capacity) &&
        set_capacity(window, pool, next_capacity(window, limit, wish)) < 0)
        return NULL;
    left = window->capacity - 1 - window->end;
    *room = left < limit - size ? left : limit - size;
    return window->base + window->end;
}

void
iora__window_trim(struct iora__window *window, struct iora__window_pool *pool)
{
    if (window->begin == window->end)
        iora__window_free(window, pool);
}

void
iora__window_drop(struct iora__window *window, struct iora__window_pool *pool, size_t n)
{
    window->begin += (uint32_t)n;
    iora__window_trim(window, pool);
}

void
iora__window_free(struct iora__window *window, struct iora__window_pool *pool)
{
    if (window->base != NULL)
        give_memory(pool, window->base, window->capacity);
    *window = (struct iora__window){0};
}

void
iora__window_pool_free(struct iora__window_pool *pool)
{
    while (pool->first != NULL)
        iora__free(take_pooled(pool));
}

/* ---- rings ---------------------------------------------------------------------------------------- */

int
iora__ring_append(struct iora__ring *ring, size_t capacity, const void *data, size_t n)
{
    uint32_t tail;
    size_t first;

    if (ring->base == NULL) {
        if ((ring->base = iora__alloc(capacity)) == NULL)
            return -ENOMEM;
        ring->capacity = (uint32_t)capacity;
        ring->head = 0;
    }
    tail = (uint32_t)(((uint64_t)ring->head + ring->size) % ring->capacity);
    first = n < ring->capacity - tail ? n : ring->capacity - tail;
    memcpy(ring->base + tail, data, first);
    memcpy(ring->base, (const char *)data + first, n - first);
    ring->size += (uint32_t)n;
    return 0;
}

char *
iora__ring_front(const struct iora__ring *ring, size_t *n)
{
    const uint32_t to_end = ring->capacity - ring->head;

    *n = ring->size < to_end ? ring->size : to_end;
    return ring->base + ring->head;
}

void
iora__ring_drop(struct iora__ring *ring, size_t n)
{
    ring->size -= (uint32_t)n;
    ring->head = (uint32_t)(((uint64_t)ring->head + n) % ring->capacity);
    if (ring->size == 0)
        iora__ring_free(ring);
}

void
iora__ring_free(struct iora__ring *ring)
{
    iora__free(ring->base);
    *ring = (struct iora__ring){0};
}
