/* coro/stack.c -- address space for a million stacks.
 *
 * Words. A *slab* is one mapping of up to 1,024 *slots* of one size; a slot is a stack with its *guard*,
 * 16 KiB (4 KiB of stacks up to 32 KiB) at the low end that faults when it is touched. A slot is *claimed* when a task is spawned and
 * *bound* when the task first runs; most tasks that return at once share a few slots this way, and those
 * that wait cost a page each.
 *
 *     never used (fresh) --bind--> bound --unbind--> free --bind--> bound ...
 *                                                     |
 *                                                     `--trim: the memory goes back, the slot stays free
 *
 * Free slots are reused last in, first out, the warmest first. The very last one is kept beside the list:
 * tasks that come and go one by one never touch it.
 *
 * Guards are installed in eights, just before the first of the eight is used: eight 256 KiB slots share one
 * page of page tables, which the guard costs. MADV_GUARD_INSTALL (Linux 6.13) needs no mapping of its own,
 * so a million guarded stacks are a handful of mappings. Where it is missing (older kernels; EINVAL also
 * after mlockall), or says yes and does nothing, mprotect is used, two mappings a stack, up to a cap below the
 * kernel's default limit of 65,530, so that the program's other mappings still find room.
 *
 * Invariants:
 * (1) claimed <= capacity: who has claimed finds a slot.
 * (2) Slots below `fresh` are guarded; each is bound, the last given back, or in the free list. Those above were never
 *     touched.
 * (3) Nothing is written to a stack by this file.
 *
 * Limits and how they show: RLIMIT_AS and vm.overcommit_memory=2 bound the address space (mmap: ENOMEM, a
 * smaller slab is tried first); the cap on mprotect. Each is named in the log.
 *
 * Rejected: a mapping per stack (the kernel's limit of mappings ends it at 32,754); guards for a whole slab
 * (1,024 us at once, and page tables for slots nobody uses); colouring the tops (measured: no effect).
 */
#include "coro/stack.h"

#include <iora/base.h>

#include "sys/alloc.h"
#include "sys/sys.h"

#include <stdio.h>
#include <string.h>

#if defined(IORA_VALGRIND)
#include <valgrind/memcheck.h>
#include <valgrind/valgrind.h>
#endif

enum {
    SLAB_SLOTS = 1024,
    SLAB_SLOTS_MIN = 8,
    GUARD_SLOTS = 8,          /* slots that are guarded together */
    MPROTECT_CAP = 32000,
    TRIM_KEEP = 1024,         /* free stacks that stay warm */
    NO_SLOT = 0xffffffff
};

#define SLAB_BYTES_MAX ((size_t)256 << 20)

/* Whether a slot holds memory; chosen: is about to lose it. */
enum slot_state { COLD, WARM, CHOSEN };

/* Slots are numbered through all slabs of a class, and a slab that had to be
 * mapped smaller than the first just has fewer. */
struct iora__stack_slab {
    char *base;
    uint32_t slots;
    uint32_t first; /* the number of its first slot */
    uint32_t next_free[SLAB_SLOTS];
    uint8_t state[SLAB_SLOTS]; /* enum slot_state */
};

void
iora__stacks_init(struct iora__stacks *stacks, void (*log)(void *, const char *), void *arg)
{
    memset(stacks, 0, sizeof *stacks);
    stacks->page_size = iora__sys_page_size();
    stacks->log = log;
    stacks->log_arg = arg;
    for (int i = 0; i < IORA__STACK_CLASSES; i++)
        stacks->classes[i].free_first = NO_SLOT;
}

void
iora__stacks_fini(struct iora__stacks *stacks)
{
    for (int i = 0; i < IORA__STACK_CLASSES; i++) {
        struct iora__stack_class *const class = &stacks->classes[i];

        for (uint32_t s = 0; s < class->slab_count; s++) {
            iora__sys_unmap(class->slabs[s]->base, class->slabs[s]->slots * iora__stack_slot_size(i));
            iora__free(class->slabs[s]);
        }
        iora__free(class->slabs);
    }
}

int
iora__stack_class_of(size_t size)
{
    int class_index = 0;

    if (size < (size_t)1 << IORA__STACK_BITS_MIN || size > (size_t)1 << IORA__STACK_BITS_MAX)
        return -EINVAL;
    while (iora__stack_slot_size(class_index) < size)
        class_index++;
    return class_index;
}

/* ---- slabs ---------------------------------------------------------------------------------------- */

static int
map_slab(int class_index, void **base, uint32_t *slots)
{
    const size_t size = iora__stack_slot_size(class_index);
    int rc = -ENOMEM;

    *slots = SLAB_BYTES_MAX / size > SLAB_SLOTS      ? SLAB_SLOTS
             : SLAB_BYTES_MAX / size < SLAB_SLOTS_MIN ? SLAB_SLOTS_MIN
                                                      : (uint32_t)(SLAB_BYTES_MAX / size);
    for (; *slots >= SLAB_SLOTS_MIN; *slots /= 4) {
        if ((rc = iora__sys_reserve(*slots * size, base)) == 0)
            return 0;
    }
    return rc;
}

static int
grow_table(struct iora__stack_class *class)
{
    const uint32_t room = class->slab_room == 0 ? 8 : class->slab_room * 2;
    struct iora__stack_slab **const slabs = iora__alloc_array(room, sizeof *slabs);

    if (slabs == NULL)
        return -ENOMEM;
    if (class->slab_count > 0)
        memcpy(slabs, class->slabs, class->slab_count * sizeof *slabs);
    iora__free(class->slabs);
    class->slabs = slabs;
    class->slab_room = room;
    return 0;
}

static void
tell_limit(struct iora__stacks *stacks, const struct iora__stack_class *class)
{
    char text[256], limit[128];

    iora__sys_describe_memory_limit(limit, sizeof limit);
    (void)snprintf(text, sizeof text,
                   "no address space for another stack, with %u of them mapped: %s",
                   class->capacity, limit);
    stacks->log(stacks->log_arg, text);
}

static int
add_slab(struct iora__stacks *stacks, int class_index)
{
    struct iora__stack_class *const class = &stacks->classes[class_index];
    struct iora__stack_slab *slab;
    void *base;
    uint32_t slots;
    int rc;

    if (class->slab_count == class->slab_room && (rc = grow_table(class)) < 0)
        return rc;
    if ((slab = iora__alloc(sizeof *slab)) == NULL)
        return -ENOMEM;
    if ((rc = map_slab(class_index, &base, &slots)) < 0) {
        tell_limit(stacks, class);
        iora__free(slab);
        return rc;
    }
    (void)iora__sys_no_huge_pages(base, slots * iora__stack_slot_size(class_index));
    class->by_mprotect |= !iora__sys_heeds_advice(base, stacks->page_size);
    slab->base = base;
    slab->slots = slots;
    slab->first = class->capacity;
    if (class->slab_count == 0)
        class->slab_bits = (uint8_t)__builtin_ctz(slots);
    memset(slab->state, COLD, sizeof slab->state);
    class->slabs[class->slab_count++] = slab;
    class->capacity += slots;
    return 0;
}

/* The slab of a slot. All but the last few slabs are full-sized, so the first guess is nearly always
 * right. */
static struct iora__stack_slab *
slab_of(const struct iora__stack_class *class, uint32_t slot)
{
    uint32_t at = slot >> class->slab_bits;

    if (at >= class->slab_count)
        at = class->slab_count - 1;
    while (slot < class->slabs[at]->first)
        at--;
    while (slot >= class->slabs[at]->first + class->slabs[at]->slots)
        at++;
    return class->slabs[at];
}

static char *
slot_base(const struct iora__stack_slab *slab, int class_index, uint32_t slot)
{
    return slab->base + (size_t)(slot - slab->first) * iora__stack_slot_size(class_index);
}

/* ---- guards --------------------------------------------------------------------------------------- */

static int
guard_slot(struct iora__stack_class *class, int class_index, char *base)
{
    if (!class->by_mprotect) {
        const int rc = iora__sys_guard_install(base, iora__stack_guard_size(class_index));

        if (rc != -EINVAL)
            return rc;
        class->by_mprotect = true; /* this kernel, or this process, has no cheap guards */
        class->limit = 0;          /* to be worked out anew at the next claim */
    }
    return iora__sys_guard_protect(base, iora__stack_guard_size(class_index));
}

static void
tell_valgrind(int class_index, char *base)
{
#if defined(IORA_VALGRIND)
    (void)VALGRIND_STACK_REGISTER(base + iora__stack_guard_size(class_index), base + iora__stack_slot_size(class_index));
#else
    (void)class_index;
    (void)base;
#endif
}

/* Guard the eight slots that begin with `slot`. Doing it again after a failure half-way is harmless. */
static int
guard_eight(struct iora__stack_class *class, int class_index, uint32_t slot)
{
    const struct iora__stack_slab *const slab = slab_of(class, slot);

    for (uint32_t i = 0; i < GUARD_SLOTS; i++) {
        const int rc = guard_slot(class, class_index, slot_base(slab, class_index, slot + i));

        if (rc < 0)
            return rc;
    }
    for (uint32_t i = 0; i < GUARD_SLOTS; i++)
        tell_valgrind(class_index, slot_base(slab, class_index, slot + i));
    return 0;
}

/* ---- claims and stacks ---------------------------------------------------------------------------- */

/* How many slots of all classes are guarded by mprotect, or are claimed and will be. */
static uint32_t
count_protected(const struct iora__stacks *stacks)
{
    uint32_t count = 0;

    for (int i = 0; i < IORA__STACK_CLASSES; i++) {
        const struct iora__stack_class *const class = &stacks->classes[i];

        if (class->by_mprotect)
            count += class->fresh > class->claimed ? class->fresh : class->claimed;
    }
    return count;
}

int
iora__stack_reserve_slowly(struct iora__stacks *stacks, int class_index)
{
    struct iora__stack_class *const class = &stacks->classes[class_index];
    int rc;

    if (class->claimed == class->capacity && (rc = add_slab(stacks, class_index)) < 0)
        return rc;
    /* With mprotect only slots that are guarded already are claimed without being counted. */
    class->limit = class->by_mprotect ? class->fresh : class->capacity;
    if (class->by_mprotect && class->claimed >= class->fresh &&
        count_protected(stacks) >= MPROTECT_CAP) {
        stacks->log(stacks->log_arg,
                    "no further stack can be guarded: this kernel has no MADV_GUARD_INSTALL (Linux "
                    "6.13), and its limit of mappings (vm.max_map_count) ends mprotect guards at "
                    "32000 stacks");
        return IORA_E_STACK_LIMIT;
    }
    class->claimed++;
    return 0;
}

static int
take_slot(struct iora__stack_class *class, int class_index, uint32_t *slot)
{
    struct iora__stack_slab *slab;

    if (class->free_first != NO_SLOT) {
        *slot = class->free_first;
        slab = slab_of(class, *slot);
        class->free_first = slab->next_free[*slot - slab->first];
        class->warm_free -= slab->state[*slot - slab->first] == WARM;
    } else {
        if (class->fresh % GUARD_SLOTS == 0) {
            const int rc = guard_eight(class, class_index, class->fresh);

            if (rc < 0)
                return rc;
        }
        *slot = class->fresh++;
        slab = slab_of(class, *slot);
    }
    slab->state[*slot - slab->first] = WARM;
    return 0;
}

int
iora__stack_bind_slowly(struct iora__stacks *stacks, int class_index, struct iora__stack *out)
{
    struct iora__stack_class *const class = &stacks->classes[class_index];
    const int rc = take_slot(class, class_index, &out->slot);

    if (rc < 0)
        return rc;
    out->base = slot_base(slab_of(class, out->slot), class_index, out->slot) +
                iora__stack_guard_size(class_index);
    stacks->bound++;
    return 0;
}

/* The stack that was given back last makes room for another. */
void
iora__stack_list_last(struct iora__stack_class *class)
{
    struct iora__stack_slab *const slab = slab_of(class, class->last_slot);

    slab->next_free[class->last_slot - slab->first] = class->free_first;
    class->free_first = class->last_slot;
    class->warm_free++;
}

/* ---- giving memory back --------------------------------------------------------------------------- */

/* Choose all free slots that are warm, but the first TRIM_KEEP of the list, which are used next. */
static void
choose_cold(struct iora__stack_class *class)
{
    uint32_t position = 0;

    for (uint32_t slot = class->free_first; slot != NO_SLOT; position++) {
        struct iora__stack_slab *const slab = slab_of(class, slot);
        const uint32_t at = slot - slab->first;

        if (position >= TRIM_KEEP && slab->state[at] == WARM) {
            slab->state[at] = CHOSEN;
            class->warm_free--;
        }
        slot = slab->next_free[at];
    }
}

/* Give back the memory of the chosen ones, neighbours together. */
static void
discard_chosen(struct iora__stack_slab *slab, int class_index)
{
    for (uint32_t i = 0; i < slab->slots; i++) {
        const uint32_t begin = i;

        for (; i < slab->slots && slab->state[i] == CHOSEN; i++)
            slab->state[i] = COLD;
        if (i > begin)
            (void)iora__sys_discard(slab->base + begin * iora__stack_slot_size(class_index),
                                    (i - begin) * iora__stack_slot_size(class_index));
    }
}

void
iora__stacks_trim(struct iora__stacks *stacks)
{
    for (int i = 0; i < IORA__STACK_CLASSES; i++) {
        struct iora__stack_class *const class = &stacks->classes[i];
        const uint32_t in_use = class->claimed > TRIM_KEEP ? class->claimed : TRIM_KEEP;

        if (class->warm_free <= 2 * in_use)
            continue;
        choose_cold(class);
        for (uint32_t s = 0; s < class->slab_count; s++)
            discard_chosen(class->slabs[s], i);
    }
}

void
iora__stack_clean(char *base, int class_index)
{
    (void)iora__sys_discard(base, iora__stack_size(class_index));
}

size_t
iora__stack_high_water(const char *base, int class_index)
{
    return iora__sys_touched_at_end(base, iora__stack_size(class_index));
}
