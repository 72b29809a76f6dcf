/* sys/alloc.c -- the allocation wrappers (see alloc.h). */
#include "sys/alloc.h"

#include "sys/seam.h"

#include <stdint.h>
#include <stdlib.h>

static void *
counted(void *memory)
{
    if (memory != NULL)
        iora__seam_allocated(1);
    return memory;
}

void *
iora__alloc(size_t size)
{
    return iora__seam_allocation_fails() ? NULL : counted(malloc(size));
}

void *
iora__zalloc(size_t size)
{
    return iora__seam_allocation_fails() ? NULL : counted(calloc(1, size));
}

void *
iora__alloc_array(size_t count, size_t size)
{
    if (size != 0 && count > PTRDIFF_MAX / size)
        return NULL;
    return iora__alloc(count * size);
}

void
iora__free(void *memory)
{
    if (memory == NULL)
        return;
    iora__seam_allocated(-1);
    free(memory);
}
