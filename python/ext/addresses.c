/* ext/addresses.c -- a table of objects that are told apart by their addresses.
 *
 * For what equals nothing but itself: coroutines, tasks. Open addressing with linear probing, at most half full. Who is
 * taken out leaves no mark: those behind him that he had pushed on move up. A set of the interpreter's takes 20 to 25 ns
 * for each addition and removal, this a few.
 */
#include "ext/addresses.h"

static size_t
home_of(const struct addresses *table, const PyObject *object)
{
    return ((uintptr_t)object >> 4) * 0x9e3779b97f4a7c15u >> 32 & (table->size - 1);
}

/* Where it is, or belongs. */
static size_t
seek(const struct addresses *table, const PyObject *object)
{
    size_t at = home_of(table, object);

    while (table->entries[at].object != NULL && table->entries[at].object != object)
        at = (at + 1) & (table->size - 1);
    return at;
}

int
iora__addresses_reserve(struct addresses *table, size_t count)
{
    struct addresses larger = {.size = 8, .count = table->count};

    if (2 * count <= table->size)
        return 0;
    while (larger.size < 2 * count)
        larger.size *= 2;
    if ((larger.entries = PyMem_Calloc(larger.size, sizeof *larger.entries)) == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < table->size; i++) {
        if (table->entries[i].object != NULL)
            larger.entries[seek(&larger, table->entries[i].object)] = table->entries[i];
    }
    PyMem_Free(table->entries);
    *table = larger;
    return 0;
}

struct address *
iora__addresses_find(const struct addresses *table, PyObject *object)
{
    const size_t at = table->size > 0 ? seek(table, object) : 0;

    return table->size > 0 && table->entries[at].object != NULL ? &table->entries[at] : NULL;
}

int
iora__addresses_add(struct addresses *table, PyObject *object, Py_ssize_t value)
{
    if (iora__addresses_reserve(table, table->count + 1) < 0)
        return -1;
    table->entries[seek(table, object)] = (struct address){object, value};
    table->count++;
    return 0;
}

bool
iora__addresses_remove(struct addresses *table, PyObject *object)
{
    const size_t mask = table->size - 1;
    size_t gap, at;

    if (table->size == 0 || table->entries[gap = seek(table, object)].object == NULL)
        return false;
    for (at = (gap + 1) & mask; table->entries[at].object != NULL; at = (at + 1) & mask) {
        const size_t home = home_of(table, table->entries[at].object);

        if (((at - home) & mask) >= ((at - gap) & mask)) { /* it may stand in the gap */
            table->entries[gap] = table->entries[at];
            gap = at;
        }
    }
    table->entries[gap].object = NULL;
    table->count--;
    return true;
}

void
iora__addresses_free(struct addresses *table)
{
    PyMem_Free(table->entries);
    *table = (struct addresses){0};
}
