/* ext/addresses.h -- a table of objects that are told apart by their addresses (theory in addresses.c). */
#ifndef IORA_EXT_ADDRESSES_H
#define IORA_EXT_ADDRESSES_H

#include <Python.h>

#include <stdbool.h>

struct address {
    PyObject *object; /* NULL: free */
    Py_ssize_t value; /* the user's */
};

/* Zeroed is empty. It owns no references. */
struct addresses {
    struct address *entries;
    size_t size; /* a power of two; 0 at first */
    size_t count;
};

/* Make room for so many; -1 with MemoryError. */
int iora__addresses_reserve(struct addresses *table, size_t count);

/* NULL if it is not there. What it points to stays until the next change. */
struct address *iora__addresses_find(const struct addresses *table, PyObject *object);

/* Add one that is not there; -1 with MemoryError. */
int iora__addresses_add(struct addresses *table, PyObject *object, Py_ssize_t value);

/* Whether it was there. */
bool iora__addresses_remove(struct addresses *table, PyObject *object);

void iora__addresses_free(struct addresses *table);

#endif
