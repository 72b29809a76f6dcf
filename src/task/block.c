/* task/block.c -- the memory of control blocks.
 *
 * Blocks come from dense slabs, so that switching among many tasks touches few cache lines, and so that a
 * handle can be checked long after its task is gone: a handle is a block's address and the id the task had,
 * ids are never used twice, and a free block's id is 0. For that promise slabs are never unmapped. When a
 * loop goes, its slabs are kept for the next loop, in a list of the process.
 *
 * That list, with the counter of ids, is the one mutable global of the library beside the running loop's
 * thread-local. It is touched when a loop needs a slab or goes, under a mutex.
 */
#include "task/task.h"

#include "sys/sys.h"

#include <pthread.h>

enum { SLAB_BLOCKS = 512 };

struct iora__block_slab {
    struct iora__block_slab *next;
    struct iora__task blocks[SLAB_BLOCKS] __attribute__((aligned(64)));
};

static struct {
    pthread_mutex_t mutex;
    struct iora__block_slab *slabs; /* of loops that are gone; all their blocks are free */
    uint64_t next_id;
} shared = {.mutex = PTHREAD_MUTEX_INITIALIZER, .next_id = 1};

enum { IDS_AT_ONCE = 1 << 16 };

static struct iora__block_slab *
take_shared_slab(void)
{
    struct iora__block_slab *slab;

    (void)pthread_mutex_lock(&shared.mutex);
    if ((slab = shared.slabs) != NULL)
        shared.slabs = slab->next;
    (void)pthread_mutex_unlock(&shared.mutex);
    return slab;
}

static uint64_t
take_ids(void)
{
    uint64_t first;

    (void)pthread_mutex_lock(&shared.mutex);
    first = shared.next_id;
    shared.next_id += IDS_AT_ONCE;
    (void)pthread_mutex_unlock(&shared.mutex);
    return first;
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
add_slab(struct iora__sched *sched)
{
    struct iora__block_slab *slab = take_shared_slab();

    if (slab == NULL) {
        void *base;
        const int rc = iora__sys_reserve(sizeof *slab, &base);

        if (rc < 0)
            return rc;
        slab = base;
    }
    slab->next = sched->slabs;
    sched->slabs = slab;
    for (int i = SLAB_BLOCKS - 1; i >= 0; i--) {
        prepare(&slab->blocks[i], sched->loop);
        iora__block_free(sched, &slab->blocks[i]);
    }
    return 0;
}

struct iora__task *
iora__block_alloc(struct iora__sched *sched)
{
    struct iora__task *task;

    if (sched->free_blocks == NULL && add_slab(sched) < 0)
        return NULL;
    if (sched->next_id == sched->last_id) {
        sched->next_id = take_ids();
        sched->last_id = sched->next_id + IDS_AT_ONCE;
    }
    task = sched->free_blocks;
    sched->free_blocks = task->consumer;
    task->id = sched->next_id++;
    return task;
}

void
iora__block_free(struct iora__sched *sched, struct iora__task *task)
{
    task->id = 0;
    task->state = IORA__TASK_FREE;
    task->consumer = sched->free_blocks;
    sched->free_blocks = task;
}

void
iora__blocks_release(struct iora__sched *sched)
{
    (void)pthread_mutex_lock(&shared.mutex);
    while (sched->slabs != NULL) {
        struct iora__block_slab *const slab = sched->slabs;

        sched->slabs = slab->next;
        for (int i = 0; i < SLAB_BLOCKS; i++) {
            slab->blocks[i].id = 0;
            slab->blocks[i].loop = NULL;
        }
        slab->next = shared.slabs;
        shared.slabs = slab;
    }
    (void)pthread_mutex_unlock(&shared.mutex);
}
