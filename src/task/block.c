/* task/block.c -- the memory of control blocks.
 *
 * Blocks come from dense slabs, so that switching among many tasks touches few cache lines, and so that a
 * handle can be checked long after its task is gone: a handle is a block's address and the id the task had,
 * ids are never used twice, and a free block's id is 0. For that promise slabs are never unmapped. When a
 * loop goes, its slabs are kept for the next loop, in a list of the process.
 *
 * Blocks are prepared a few at a time, so that memory is touched when it is needed. Rejected: huge pages for the
 * slabs. A burst of 100,000 tasks took 105 to 160 ns each with them instead of 165 where the machine had such a
 * page at hand, and 1,000 where it had to find one; taking turns among 10,000 gained nothing.
 *
 * That list, with the counter of ids, is a mutable global, one of those that core/loop.c names. It is touched when
 * a loop needs a slab or goes. Who takes from the list takes all of it and gives back what he does not need, so that
 * nobody reads a link that another changes; who finds it empty meanwhile maps a slab that he could have done without.
 * Rejected: a mutex, which a forked child would find locked for ever if another thread had it.
 */
#include "task/task.h"

#include "sys/sys.h"

#include <stdatomic.h>

enum {
    SMALL_SLAB = 192 * 1024,      /* a loop's first: 511 blocks */
    LARGE_SLAB = 2 * 1024 * 1024, /* further ones: 5,461 */
    PREPARED_AT_ONCE = 32,
    IDS_AT_ONCE = 1 << 16
};

struct iora__block_slab {
    struct iora__block_slab *next;
    uint32_t count;
    uint32_t fresh; /* blocks from here on have not been used in this loop */
    struct iora__task blocks[] __attribute__((aligned(64)));
};

static struct {
    _Atomic(struct iora__block_slab *) slabs; /* of loops that are gone; all their blocks are free */
    _Atomic uint64_t next_id;
} shared = {.next_id = 1};

static void
share_slabs(struct iora__block_slab *first)
{
    struct iora__block_slab *last = first, *others = atomic_load(&shared.slabs);

    if (first == NULL)
        return;
    while (last->next != NULL)
        last = last->next;
    do {
        last->next = others;
    } while (!atomic_compare_exchange_weak(&shared.slabs, &others, first));
}

static struct iora__block_slab *
take_shared_slab(void)
{
    struct iora__block_slab *const slab = atomic_exchange(&shared.slabs, NULL);

    if (slab != NULL)
        share_slabs(slab->next);
    return slab;
}

static uint64_t
take_ids(void)
{
    return atomic_fetch_add(&shared.next_id, IDS_AT_ONCE);
}

/* What is the same for every task of the block, and is so again at each one's end. */
static void
prepare(struct iora__task *task, iora_loop *loop)
{
    task->coro.context.sp = NULL;
    task->ready._link._next = NULL;
    task->ready._run = iora__task_resume;
    task->wait._class = NULL;
    task->wait._queue = NULL;
    task->wait._task = task;
    task->loop = loop;
    iora__owner_init(&task->children, IORA__OWNER_TASK);
}

static int
map_slab(bool large, struct iora__block_slab **out)
{
    const size_t size = large ? LARGE_SLAB : SMALL_SLAB;
    struct iora__block_slab *slab;
    void *base;
    const int rc = iora__sys_reserve(size, &base);

    if (rc < 0)
        return rc;
    slab = base;
    slab->count = (uint32_t)((size - sizeof *slab) / sizeof slab->blocks[0]);
    *out = slab;
    return 0;
}

static int
add_slab(struct iora__sched *sched)
{
    struct iora__block_slab *slab = take_shared_slab();
    int rc;

    if (slab == NULL && (rc = map_slab(sched->slabs != NULL, &slab)) < 0)
        return rc;
    slab->fresh = 0;
    slab->next = sched->slabs;
    sched->slabs = slab;
    return 0;
}

/* Prepare the next few blocks of the newest slab: all would touch memory that nobody may need. */
static int
add_blocks(struct iora__sched *sched)
{
    struct iora__block_slab *slab = sched->slabs;
    int rc;

    if (slab == NULL || slab->fresh == slab->count) {
        if ((rc = add_slab(sched)) < 0)
            return rc;
        slab = sched->slabs;
    }

    const uint32_t left = slab->count - slab->fresh;
    const uint32_t first = slab->fresh;
    slab->fresh += left < PREPARED_AT_ONCE ? left : PREPARED_AT_ONCE;
    for (uint32_t i = slab->fresh; i-- > first;) { /* the first shall be taken first */
        prepare(&slab->blocks[i], sched->loop);
        iora__block_free(sched, &slab->blocks[i]);
    }
    return 0;
}

int
iora__blocks_refill(struct iora__sched *sched)
{
    int rc;

    if (sched->free_blocks == NULL && (rc = add_blocks(sched)) < 0)
        return rc;
    if (sched->next_id == sched->last_id) {
        sched->next_id = take_ids();
        sched->last_id = sched->next_id + IDS_AT_ONCE;
    }
    return 0;
}

void
iora__blocks_release(struct iora__sched *sched)
{
    for (struct iora__block_slab *slab = sched->slabs; slab != NULL; slab = slab->next) {
        for (uint32_t i = 0; i < slab->fresh; i++) {
            slab->blocks[i].id = 0;
            slab->blocks[i].loop = NULL;
        }
    }
    share_slabs(sched->slabs);
    sched->slabs = NULL;
}
