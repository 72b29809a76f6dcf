/* ext/ring.h -- a flat ring of objects, first in first out: a loop's ready queue, a Queue's items.
 *
 * It owns a reference to each. A place may be empty (NULL), for who knows by what is beside it. It grows by doubling
 * and does not shrink. A linked list of handles was measured at more than twice the time.
 *
 * A *promise* is a place that is kept for somebody who may not fail when he comes: a timer that is due, a descriptor that
 * is ready. Who has one puts without asking for memory, one item at a time.
 *
 * Invariant: what is in the ring, and the promises of those who are not, have room together.
 */
#ifndef IORA_EXT_RING_H
#define IORA_EXT_RING_H

#include <Python.h>

struct ring {
    PyObject **slots; /* a power of two of them; NULL at first */
    size_t capacity;
    size_t first;
    size_t count;
    size_t promised;
};

/* Make room for n more; -1 with MemoryError. */
int iora__ring_grow(struct ring *ring, size_t n);

/* See that there is room for n more; -1 with MemoryError. */
static inline int
iora__ring_reserve(struct ring *ring, size_t n)
{
    return ring->count + ring->promised + n <= ring->capacity ? 0 : iora__ring_grow(ring, n);
}

/* Append, where there is room or a place was promised; steals the reference. */
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

/* Keep a place; -1 with MemoryError. */
static inline int
iora__ring_promise(struct ring *ring)
{
    if (iora__ring_reserve(ring, 1) < 0)
        return -1;
    ring->promised++;
    return 0;
}

static inline void
iora__ring_release(struct ring *ring)
{
    ring->promised--;
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
