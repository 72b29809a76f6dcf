/* ext/ring.h -- the ready queue: a flat ring of handles, first in first out.
 *
 * It owns a reference to each. It grows by doubling and does not shrink. A linked list of handles was
 * measured at more than twice the time.
 *
 * A *promise* is a place that is kept for somebody who may not fail when he comes: a timer that is due, a descriptor that
 * is ready. Who has one pushes without asking for memory, one item at a time.
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

/* Make room for more; -1 with MemoryError. */
int iora__ring_grow(struct ring *ring);

/* Let go of all, and of the memory. */
void iora__ring_clear(struct ring *ring);

/* Append; steals the reference, but for -1 (MemoryError). */
static inline int
iora__ring_push(struct ring *ring, PyObject *item)
{
    if (ring->count + ring->promised >= ring->capacity && iora__ring_grow(ring) < 0)
        return -1;
    ring->slots[(ring->first + ring->count++) & (ring->capacity - 1)] = item;
    return 0;
}

/* Keep a place; -1 with MemoryError. */
static inline int
iora__ring_promise(struct ring *ring)
{
    if (ring->count + ring->promised >= ring->capacity && iora__ring_grow(ring) < 0)
        return -1;
    ring->promised++;
    return 0;
}

static inline void
iora__ring_release(struct ring *ring)
{
    ring->promised--;
}

/* Append where a place was promised; steals the reference. */
static inline void
iora__ring_push_promised(struct ring *ring, PyObject *item)
{
    ring->slots[(ring->first + ring->count++) & (ring->capacity - 1)] = item;
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
