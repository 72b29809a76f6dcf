/* ext/ring.h -- a flat ring of objects, first in first out: a loop's ready queue, a Queue's items.
 *
 * It owns a reference to each. A place may be empty (NULL), for who knows by what is beside it. It grows by doubling
 * and does not shrink. A linked list of handles was measured at more than twice the time.
 */
#ifndef IORA_EXT_RING_H
#define IORA_EXT_RING_H

#include <Python.h>

struct ring {
    PyObject **slots; /* a power of two of them; NULL at first */
    size_t capacity;
    size_t first;
    size_t count;
};

/* Make room for more; -1 with MemoryError. */
int iora__ring_grow(struct ring *ring);

/* See that there is room for so many. */
static inline int
iora__ring_reserve(struct ring *ring, size_t n)
{
    return ring->capacity - ring->count >= n ? 0 : iora__ring_grow(ring);
}

/* Append, where there is room; steals the reference. */
static inline void
iora__ring_put(struct ring *ring, PyObject *item)
{
    ring->slots[(ring->first + ring->count++) & (ring->capacity - 1)] = item;
}

/* Let go of all, and of the memory. */
void iora__ring_clear(struct ring *ring);

/* Append; steals the reference, but for -1 (MemoryError). */
static inline int
iora__ring_push(struct ring *ring, PyObject *item)
{
    if (iora__ring_reserve(ring, 1) < 0)
        return -1;
    iora__ring_put(ring, item);
    return 0;
}

/* The first, which there must be: the reference is the caller's. */
static inline PyObject *
iora__ring_pop(struct ring *ring)
{
    PyObject *const item = ring->slots[ring->first];

    ring->first = (ring->first + 1) & (ring->capacity - 1);
    ring->count--;
    return item;
}

static inline PyObject *
iora__ring_at(const struct ring *ring, size_t index)
{
    return ring->slots[(ring->first + index) & (ring->capacity - 1)];
}

#endif
