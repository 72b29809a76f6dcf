/* ext/queue.h -- asyncio.Queue, LifoQueue and PriorityQueue in C (theory in queue.c). */
#ifndef IORA_EXT_QUEUE_H
#define IORA_EXT_QUEUE_H

#include "ext/event.h"
#include "ext/state.h"

enum iora__queue_order { IORA__FIFO, IORA__LIFO, IORA__HEAP, IORA__QUEUE_ORDERS };

typedef struct {
    SyncObject sync; /* its waiters are the getters */
    struct waiters putters;
    struct ring ring; /* the items, first in first out, while there is no container */
    PyObject
        *container;    /* `_queue`: a deque, a list, or what a subclass has put there; else NULL */
    PyObject *maxsize; /* as it was given */
    Py_ssize_t max;    /* 0: no bound */
    Py_ssize_t unfinished;
    EventObject *finished; /* NULL until somebody asks */
    struct plain_class known;
    enum iora__queue_order order;
    char is_shut;
} QueueObject;

int iora__queue_add_types(PyObject *module, struct state *state);

#endif
