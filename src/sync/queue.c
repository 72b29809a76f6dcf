/* sync/queue.c -- queues between tasks: first in first out, last in first out, by priority.
 *
 * The *store* holds items that nobody waits for: a ring, used from either end, or for the priority queue a
 * binary heap whose entries carry a serial number, so that equal items leave in the order they came.
 *
 * Invariants:
 * (1) Getters wait only while the store is empty, putters only while it is full: never both.
 * (2) An item goes straight to a getter who waits, without touching the store; when one leaves a full store,
 *     the first putter's takes its place at once.
 * (3) `unfinished` counts the items that were put and not yet said to be dealt with. Who joins waits only
 *     while it is not 0.
 * (4) Once shut down nobody waits to put, and nobody waits to get.
 */
#include "sync/sync.h"

#include "sys/alloc.h"

enum { CAPACITY_MIN = 8 };

static const struct iora__wait_class get_wait = {.what = "queue to get from",
                                                 .cancel = iora__wait_cancel};
static const struct iora__wait_class put_wait = {.what = "queue to put to",
                                                 .cancel = iora__wait_cancel};
static const struct iora__wait_class join_wait = {.what = "queue to be dealt with",
                                                  .cancel = iora__wait_cancel};

/* ---- the store -------------------------------------------------------------------------------------------------- */

static bool
is_heap(const iora_queue *queue)
{
    return queue->_kind == IORA__QUEUE_PRIORITY;
}

/* What an entry takes: in a heap the item is followed by its serial number, in the entry's last word. The
 * comparison sees items where they lie, so an item whose type may need 16 bytes' alignment has it. */
static size_t
entry_size(const iora_queue *queue)
{
    const size_t align = queue->_item_size % 16 == 0 ? 16 : sizeof(uint64_t);

    if (!is_heap(queue))
        return queue->_item_size;
    return (queue->_item_size + sizeof(uint64_t) + align - 1) & ~(align - 1);
}

static char *
serial_of(const iora_queue *queue, char *entry)
{
    return entry + entry_size(queue) - sizeof(uint64_t);
}

static char *
entry_at(const iora_queue *queue, size_t index)
{
    return queue->_items + index * entry_size(queue);
}

static char *
ring_at(const iora_queue *queue, size_t index)
{
    const size_t at = queue->_first + index;

    return entry_at(queue, at < queue->_capacity ? at : at - queue->_capacity);
}

static int
grow(iora_queue *queue)
{
    size_t capacity = queue->_capacity < CAPACITY_MIN ? CAPACITY_MIN : queue->_capacity * 2;
    const size_t size = entry_size(queue);
    char *items;

    if (queue->_maxsize != 0 && capacity > queue->_maxsize)
        capacity = queue->_maxsize;
    if (queue->_item_size > SIZE_MAX / 4 || capacity < queue->_capacity ||
        (items = iora__alloc_array(capacity, size != 0 ? size : 1)) == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < queue->_count; i++)
        memcpy(items + i * size, is_heap(queue) ? entry_at(queue, i) : ring_at(queue, i), size);
    iora__free(queue->_items);
    queue->_items = items;
    queue->_capacity = capacity;
    queue->_first = 0;
    return 0;
}

/* Whether the heap's entry a leaves before b. */
static bool
is_before(const iora_queue *queue, char *a, char *b)
{
    const int order = queue->_compare(a, b);
    uint64_t serial_a, serial_b;

    memcpy(&serial_a, serial_of(queue, a), sizeof serial_a);
    memcpy(&serial_b, serial_of(queue, b), sizeof serial_b);
    return order != 0 ? order < 0 : serial_a < serial_b;
}

static void
swap_entries(const iora_queue *queue, size_t i, size_t k)
{
    uint64_t *const a = (uint64_t *)(void *)entry_at(queue, i);
    uint64_t *const b = (uint64_t *)(void *)entry_at(queue, k);

    for (size_t word = 0; word < entry_size(queue) / sizeof(uint64_t); word++) {
        const uint64_t kept = a[word];

        a[word] = b[word];
        b[word] = kept;
    }
}

static void
heap_push(iora_queue *queue, const void *item)
{
    size_t at = queue->_count;
    char *const entry = entry_at(queue, at);

    memcpy(serial_of(queue, entry), &queue->_serial, sizeof queue->_serial);
    queue->_serial++;
    iora__copy_item(entry, item, queue->_item_size);
    while (at > 0 && is_before(queue, entry_at(queue, at), entry_at(queue, (at - 1) / 2))) {
        swap_entries(queue, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

/* Remove the first entry; the count is still the old one. */
static void
heap_pop(iora_queue *queue, void *item)
{
    const size_t last = queue->_count - 1;
    size_t at = 0;

    iora__copy_item(item, entry_at(queue, 0), queue->_item_size);
    swap_entries(queue, 0, last);
    for (size_t child = 1; child < last; child = 2 * at + 1) {
        if (child + 1 < last &&
            is_before(queue, entry_at(queue, child + 1), entry_at(queue, child)))
            child++;
        if (!is_before(queue, entry_at(queue, child), entry_at(queue, at)))
            break;
        swap_entries(queue, at, child);
        at = child;
    }
}

static int
store(iora_queue *queue, const void *item)
{
    if (queue->_count == queue->_capacity) {
        const int rc = grow(queue);

        if (rc < 0)
            return rc;
    }
    if (is_heap(queue))
        heap_push(queue, item);
    else
        iora__copy_item(ring_at(queue, queue->_count), item, queue->_item_size);
    queue->_count++;
    return 0;
}

static void
unstore(iora_queue *queue, void *item)
{
    if (is_heap(queue)) {
        heap_pop(queue, item);
    } else if (queue->_kind == IORA__QUEUE_LIFO) {
        iora__copy_item(item, ring_at(queue, queue->_count - 1), queue->_item_size);
    } else {
        iora__copy_item(item, entry_at(queue, queue->_first), queue->_item_size);
        if (++queue->_first == queue->_capacity)
            queue->_first = 0;
    }
    queue->_count--;
}

/* ---- put and get ------------------------------------------------------------------------------------------------ */

bool
iora_queue_is_full(const iora_queue *queue)
{
    return queue->_maxsize != 0 && queue->_count >= queue->_maxsize;
}

int
iora_queue_put_nowait(iora_queue *queue, const void *item)
{
    struct iora__waiter *const getter = queue->_getters._first;
    int rc;

    if (queue->_shut_down)
        return IORA_E_SHUTDOWN;
    if (getter != NULL) {
        iora__copy_item(getter->_slot, item, queue->_item_size);
        queue->_unfinished++;
        iora__waiter_grant(getter, 0);
        return 0;
    }
    if (iora_queue_is_full(queue))
        return -EAGAIN;
    if ((rc = store(queue, item)) < 0)
        return rc;
    queue->_unfinished++;
    return 0;
}

int
iora_queue_put(iora_queue *queue, const void *item)
{
    struct iora__task *const self = iora__self();
    int rc;

    if ((rc = iora__enter(self)) < 0)
        return rc;
    if ((rc = iora_queue_put_nowait(queue, item)) != -EAGAIN)
        return rc;
    iora__waitq_push(&queue->_putters, iora__wait_begin(self, &put_wait, queue, (void *)item));
    return iora__park(self);
}

/* There is room for one more: the first who waits to put has put (invariant 2). It cannot fail, since the
 * store held as many before. */
static void
let_one_put(iora_queue *queue)
{
    struct iora__waiter *const putter = queue->_putters._first;

    if (putter == NULL)
        return;
    (void)store(queue, putter->_slot);
    queue->_unfinished++;
    iora__waiter_grant(putter, 0);
}

int
iora_queue_get_nowait(iora_queue *queue, void *item)
{
    if (queue->_count > 0) {
        unstore(queue, item);
        let_one_put(queue);
        return 0;
    }
    return queue->_shut_down ? IORA_E_SHUTDOWN : -EAGAIN;
}

int
iora_queue_get(iora_queue *queue, void *item)
{
    struct iora__task *const self = iora__self();
    int rc;

    if ((rc = iora__enter(self)) < 0)
        return rc;
    if ((rc = iora_queue_get_nowait(queue, item)) != -EAGAIN)
        return rc;
    iora__waitq_push(&queue->_getters, iora__wait_begin(self, &get_wait, queue, item));
    return iora__park(self);
}

/* ---- dealing with items ------------------------------------------------------------------------------------------- */

int
iora_queue_task_done(iora_queue *queue)
{
    if (queue->_unfinished == 0)
        return -EINVAL;
    if (--queue->_unfinished == 0)
        iora__waitq_grant_all(&queue->_joiners, 0);
    return 0;
}

int
iora_queue_join(iora_queue *queue)
{
    struct iora__task *const self = iora__self();
    int rc;

    if ((rc = iora__enter(self)) < 0)
        return rc;
    if (queue->_unfinished == 0)
        return 0;
    iora__waitq_push(&queue->_joiners, iora__wait_begin(self, &join_wait, queue, NULL));
    return iora__park(self);
}

static void
drop_items(iora_queue *queue)
{
    queue->_unfinished -= queue->_count < queue->_unfinished ? queue->_count : queue->_unfinished;
    queue->_count = 0;
    queue->_first = 0;
    if (queue->_unfinished == 0)
        iora__waitq_grant_all(&queue->_joiners, 0);
}

void
iora_queue_shutdown(iora_queue *queue, bool immediately)
{
    queue->_shut_down = true;
    if (immediately)
        drop_items(queue);
    iora__waitq_grant_all(&queue->_putters, IORA_E_SHUTDOWN);
    iora__waitq_grant_all(&queue->_getters, IORA_E_SHUTDOWN);
}

int
iora_queue_destroy(iora_queue *queue)
{
    if (queue->_getters._first != NULL || queue->_putters._first != NULL ||
        queue->_joiners._first != NULL)
        return -EBUSY;
    drop_items(queue);
    iora__free(queue->_items);
    queue->_items = NULL;
    queue->_capacity = 0;
    return 0;
}

size_t
iora_queue_size(const iora_queue *queue)
{
    return queue->_count;
}

bool
iora_queue_is_empty(const iora_queue *queue)
{
    return queue->_count == 0;
}
