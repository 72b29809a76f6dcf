/* iora/queue.h -- queues between tasks, and the rendezvous channel.
 *
 * Items are copied in and out by value; their size is fixed when the queue is made:
 *
 *     static iora_queue jobs = IORA_QUEUE_INIT(sizeof(struct job), 16);
 *     rc = iora_queue_put(&jobs, &job);        rc = iora_queue_get(&jobs, &job);
 *
 * A queue holds up to `maxsize` items (0: no bound, as in asyncio). A put to a full one and a get from
 * an empty one wait, first come first served; an item is handed straight to who waits for it. A cancelled
 * put has not put, a cancelled get has not taken. iora_queue hands out first in first out, the LIFO form
 * last in first out, the priority form the least first by your comparison (equal ones in the order they
 * came).
 *
 * Memory     for items that lie in the queue is allocated when they come and kept until
 *            iora_queue_destroy(). Waiting allocates nothing.
 * Cancel     every function that suspends returns -ECANCELED in a cancelled scope, having done nothing.
 * Threads    the loop's.
 *
 * Example    examples/05_queue.c
 */
#ifndef IORA_QUEUE_H
#define IORA_QUEUE_H

#include <iora/base.h>

IORA_BEGIN

/** Below, at or above 0 as *a is to be handed out before, in the order of arrival with, or after *b. */
typedef int iora_compare_fn(const void *a, const void *b);

enum iora__queue_kind { IORA__QUEUE_FIFO, IORA__QUEUE_LIFO, IORA__QUEUE_PRIORITY };

typedef struct iora_queue {
    size_t _item_size;
    size_t _maxsize;
    iora_compare_fn *_compare;
    char *_items;
    size_t _capacity;
    size_t _first;
    size_t _count;
    uint64_t _serial;
    size_t _unfinished;
    struct iora__waitq _getters;
    struct iora__waitq _putters;
    struct iora__waitq _joiners;
    uint8_t _kind;
    bool _shut_down;
} iora_queue;

/* clang-format off */
#define IORA__QUEUE_INIT(kind, item_size, maxsize, compare)                                        \
    { (item_size), (maxsize), (compare), NULL, 0, 0, 0, 0, 0, {NULL, NULL}, {NULL, NULL},          \
      {NULL, NULL}, (kind), false }
#define IORA_QUEUE_INIT(item_size, maxsize)                                                        \
    IORA__QUEUE_INIT(IORA__QUEUE_FIFO, item_size, maxsize, NULL)
#define IORA_LIFO_QUEUE_INIT(item_size, maxsize)                                                   \
    IORA__QUEUE_INIT(IORA__QUEUE_LIFO, item_size, maxsize, NULL)
#define IORA_PRIORITY_QUEUE_INIT(item_size, maxsize, compare)                                      \
    IORA__QUEUE_INIT(IORA__QUEUE_PRIORITY, item_size, maxsize, compare)
/* clang-format on */

/** Free the memory of the items, which are dropped. -EBUSY if somebody waits; nothing is done then. The
 *  queue is empty afterwards and can be used on; one that was shut down stays so. */
IORA_API int iora_queue_destroy(iora_queue *queue);

/** Put a copy of *item. 0; -ENOMEM; IORA_E_SHUTDOWN. Suspends while the queue is full. */
IORA_API int iora_queue_put(iora_queue *queue, const void *item);
/** The same if there is room. 0; -EAGAIN; -ENOMEM; IORA_E_SHUTDOWN. */
IORA_API int iora_queue_put_nowait(iora_queue *queue, const void *item);

/** Take an item to *item. 0; IORA_E_SHUTDOWN once it is shut down and empty. Suspends while it is empty. */
IORA_API IORA_MUST_USE int iora_queue_get(iora_queue *queue, void *item);
/** The same if there is one. 0; -EAGAIN; IORA_E_SHUTDOWN. */
IORA_API IORA_MUST_USE int iora_queue_get_nowait(iora_queue *queue, void *item);

/** Say that an item that was taken is dealt with. 0; -EINVAL if there is none left to say it of. */
IORA_API int iora_queue_task_done(iora_queue *queue);
/** Wait until all that was put is dealt with. 0. Suspends while something is not. */
IORA_API int iora_queue_join(iora_queue *queue);

/** Refuse further puts. What lies in the queue can still be taken, or with `immediately` is dropped and
 *  counts as dealt with. All who wait and can no longer succeed get IORA_E_SHUTDOWN. */
IORA_API void iora_queue_shutdown(iora_queue *queue, bool immediately);

IORA_API size_t iora_queue_size(const iora_queue *queue);
IORA_API bool iora_queue_is_empty(const iora_queue *queue);
IORA_API bool iora_queue_is_full(const iora_queue *queue);

/* ---- rendezvous channel ------------------------------------------------------------------------------ */

/** Hands items over between two tasks that meet: it holds none, so a send that returned 0 was received. */
typedef struct iora_channel {
    size_t _item_size;
    struct iora__waitq _senders;
    struct iora__waitq _receivers;
    bool _closed;
} iora_channel;

/* clang-format off */
#define IORA_CHANNEL_INIT(item_size) { (item_size), {NULL, NULL}, {NULL, NULL}, false }
/* clang-format on */

/** Give *item to a receiver. 0; IORA_E_CLOSED. Suspends while nobody receives. */
IORA_API int iora_channel_send(iora_channel *channel, const void *item);
/** Receive from a sender to *item. 0; IORA_E_CLOSED. Suspends while nobody sends. */
IORA_API IORA_MUST_USE int iora_channel_receive(iora_channel *channel, void *item);
/** The same if the other side waits already. 0; -EAGAIN; IORA_E_CLOSED. */
IORA_API int iora_channel_send_nowait(iora_channel *channel, const void *item);
IORA_API IORA_MUST_USE int iora_channel_receive_nowait(iora_channel *channel, void *item);
/** Close it: all who wait, and all who come, get IORA_E_CLOSED. Twice is fine. */
IORA_API void iora_channel_close(iora_channel *channel);

IORA_END

#endif
