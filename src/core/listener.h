/* core/listener.h -- signals as a loop hears them (theory in listener.c). */
#ifndef IORA_CORE_LISTENER_H
#define IORA_CORE_LISTENER_H

#include "core/loop.h"
#include "os/signals.h"

struct iora__listener;

typedef void iora__heard_fn(struct iora__listener *listener);

/* Embedded by whoever listens; zero but for what iora__listener_open() is given. */
struct iora__listener {
    struct iora__subscriber subscriber;
    _Atomic uint64_t pending; /* signals that have come and were not taken */
    atomic_bool is_posted;    /* the handle is on its way, or in the ready queue */
    iora_handle handle;
    iora_remote *remote;
    iora_loop *loop; /* NULL when it is gone */
    struct iora__link link;
    iora__heard_fn *heard; /* some may have come: runs on the loop's own stack */
};

/* Begin to listen to a set of signals (os/signals.h). A last resort (struct iora__subscriber) does not count as
 * what could wake the loop. 0; what iora_remote_open() and iora__signals_subscribe() say. */
int iora__listener_open(struct iora__listener *listener, iora_loop *loop, uint64_t numbers,
                        bool is_last_resort, iora__heard_fn *heard);

/* Listen no longer; the memory is free for use. Loop's thread, or any when the loop is gone. */
void iora__listener_close(struct iora__listener *listener);

/* The lowest number that has come, taken; 0 for none. */
int iora__listener_take(struct iora__listener *listener);

#endif
