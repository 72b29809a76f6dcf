/* coro/stack.h -- the stacks of a loop's coroutines (theory in stack.c). */
#ifndef IORA_CORO_STACK_H
#define IORA_CORO_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    IORA__STACK_BITS_MIN = 14, /* 16 KiB */
    IORA__STACK_BITS_MAX = 30, /* 1 GiB */
    IORA__STACK_CLASSES = IORA__STACK_BITS_MAX - IORA__STACK_BITS_MIN + 1,
    IORA__GUARD_SIZE = 16 * 1024,
    IORA__GUARD_SIZE_SMALL = 4096, /* of stacks up to 32 KiB, which could not spare more */
    IORA__STACK_SMALL = 32 * 1024
};

struct iora__stack_slab;

/* Stacks of one size. */
struct iora__stack_class {
    struct iora__stack_slab **slabs;
    uint32_t slab_count;
    uint32_t slab_room;
    uint32_t capacity; /* slots in all slabs */
    uint32_t limit;    /* how many may be claimed without further ado */
    uint32_t fresh;    /* slots below were used before: guarded, and free or bound */
    uint32_t claimed;  /* reserved or bound */
    uint32_t free_first;
    uint32_t warm_free; /* in the free list, and still holding memory */
    char *last_base;    /* the stack that was given back last, not in the list; NULL: none */
    uint32_t last_slot;
    uint8_t slab_bits;  /* of a slot's number that lie within a slab of the first one's size */
    bool by_mprotect;
};

struct iora__stacks {
    struct iora__stack_class classes[IORA__STACK_CLASSES];
    size_t page_size;
    size_t bound;
    void (*log)(void *arg, const char *text);
    void *log_arg;
};

static inline size_t
iora__stack_slot_size(int class_index)
{
    return (size_t)1 << (class_index + IORA__STACK_BITS_MIN);
}

static inline size_t
iora__stack_guard_size(int class_index)
{
    return iora__stack_slot_size(class_index) > IORA__STACK_SMALL ? IORA__GUARD_SIZE
                                                                  : IORA__GUARD_SIZE_SMALL;
}

/* How much of a slot may be used: what lies above the guard. */
static inline size_t
iora__stack_size(int class_index)
{
    return iora__stack_slot_size(class_index) - iora__stack_guard_size(class_index);
}

/* A stack that is bound. */
struct iora__stack {
    char *base; /* the lowest byte that may be used; see iora__stack_size() */
    uint32_t slot;
};

void iora__stacks_init(struct iora__stacks *stacks, void (*log)(void *, const char *), void *arg);
void iora__stacks_fini(struct iora__stacks *stacks);

/* The class for stacks of at least `size` bytes of address space, guard included; -EINVAL. */
int iora__stack_class_of(size_t size);

/* Claim a stack of a class, so that binding one later finds a slot. 0; -ENOMEM, IORA_E_STACK_LIMIT, with
 * the reason told to the log. */
int iora__stack_reserve_slowly(struct iora__stacks *stacks, int class_index);

static inline int
iora__stack_reserve(struct iora__stacks *stacks, int class_index)
{
    struct iora__stack_class *const class = &stacks->classes[class_index];

    if (class->claimed >= class->limit)
        return iora__stack_reserve_slowly(stacks, class_index);
    class->claimed++;
    return 0;
}

/* Turn a claim into a stack. 0, or -errno if the guard cannot be installed now: the claim remains. */
int iora__stack_bind_slowly(struct iora__stacks *stacks, int class_index, struct iora__stack *out);

static inline int
iora__stack_bind(struct iora__stacks *stacks, int class_index, struct iora__stack *out)
{
    struct iora__stack_class *const class = &stacks->classes[class_index];

    if (class->last_base == NULL)
        return iora__stack_bind_slowly(stacks, class_index, out);
    out->base = class->last_base;
    out->slot = class->last_slot;
    class->last_base = NULL;
    stacks->bound++;
    return 0;
}

void iora__stack_list_last(struct iora__stack_class *class);

/* Give a stack back, claim and all. The caller may still stand on it until it switches away. */
static inline void
iora__stack_unbind(struct iora__stacks *stacks, int class_index, char *base, uint32_t slot)
{
    struct iora__stack_class *const class = &stacks->classes[class_index];

    if (class->last_base != NULL)
        iora__stack_list_last(class);
    class->last_base = base;
    class->last_slot = slot;
    class->claimed--;
    stacks->bound--;
}

/* Return the memory of stacks that are free and have been for longest, if they are many. Not from a
 * coroutine. */
void iora__stacks_trim(struct iora__stacks *stacks);


/* Take its memory from a stack nobody stands on. */
void iora__stack_clean(char *base, int class_index);

/* How many bytes of the stack hold memory: what was ever used of it since it was last cleaned, in pages. */
size_t iora__stack_high_water(const char *base, int class_index);

#endif
