/* ext/ring.c -- a ring's growth and end (theory in ring.h). */
#include "ext/ring.h"

enum { FIRST_CAPACITY = 64 };

int
iora__ring_grow(struct ring *ring, size_t n)
{
    size_t capacity = ring->capacity == 0 ? FIRST_CAPACITY : ring->capacity * 2;
    PyObject **slots;

    while (capacity < ring->count + ring->promised + n) /* it was cleared meanwhile */
        capacity *= 2;
    if ((slots = PyMem_New(PyObject *, capacity)) == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < ring->count; i++)
        slots[i] = iora__ring_at(ring, i);
    PyMem_Free(ring->slots);
    ring->slots = slots;
    ring->capacity = capacity;
    ring->first = 0;
    return 0;
}

void
iora__ring_clear(struct ring *ring)
{
    while (ring->count > 0)
        Py_XDECREF(iora__ring_pop(ring));
    PyMem_Free(ring->slots);
    ring->slots = NULL;
    ring->capacity = ring->first = 0;
}
