/* os/signals.h -- who in this process listens to which signals (theory in signals.c). */
#ifndef IORA_OS_SIGNALS_H
#define IORA_OS_SIGNALS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A set of signals: number n is bit n - 1. */
static inline uint64_t
iora__signal_bit(int number)
{
    return UINT64_C(1) << (number - 1);
}

/* One who listens. Zeroed memory of whoever wants to, until iora__signals_unsubscribe() has returned. */
struct iora__subscriber {
    _Atomic(struct iora__subscriber *) next;
    uint64_t numbers;
    /* A signal has come. Runs in a signal handler, of any thread: async-signal-safe. */
    void (*deliver)(struct iora__subscriber *subscriber, int number);
    /* Hears only what nobody else hears, and of that the first; at the second the signal is done what it does
     * by default. */
    bool is_last_resort;
    atomic_bool has_heard;
};

/* Put the numbers into a set. 0; -EINVAL for none at all, for what is no signal's and for what nobody can, or
 * should, wait for. */
int iora__signals_make_set(const int *numbers, size_t n, uint64_t *set);

/* Begin to listen, with numbers, deliver and is_last_resort filled in. 0; -EINVAL for a signal that is libc's
 * own; -ENOMEM. */
int iora__signals_subscribe(struct iora__subscriber *subscriber);

/* Listen no longer: `deliver` runs nowhere when this has returned. In a forked child of the one who subscribed
 * there is nothing left to undo. */
void iora__signals_unsubscribe(struct iora__subscriber *subscriber);

/* Whether the signal does in this process what it does by default. */
bool iora__signals_is_default(int number);

/* Have the signal do here and now what it does by default. Async-signal-safe. */
void iora__signals_do_default(int number);

#endif
