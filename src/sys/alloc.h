/* sys/alloc.h -- memory from the heap, through the allocation seam.
 *
 * All of the library's heap memory comes from here and goes back here. Sizes that come from outside
 * are multiplied by iora__alloc_array(), which refuses what does not fit.
 */
#ifndef IORA_SYS_ALLOC_H
#define IORA_SYS_ALLOC_H

#include <stddef.h>

/* Uninitialised memory, or NULL. */
void *iora__alloc(size_t size);
/* Zeroed memory, or NULL. */
void *iora__zalloc(size_t size);
/* Room for count objects of a size, uninitialised; NULL also if the product overflows. */
void *iora__alloc_array(size_t count, size_t size);
/* Give memory back. NULL is allowed. */
void iora__free(void *memory);

#endif
