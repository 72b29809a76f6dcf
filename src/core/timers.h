/* core/timers.h -- a loop's timers: a hierarchical wheel of nanoseconds (theory in timers.c). */
#ifndef IORA_CORE_TIMERS_H
#define IORA_CORE_TIMERS_H

#include "core/list.h"

enum {
    IORA__WHEEL_BITS = 6,
    IORA__WHEEL_SLOTS = 1 << IORA__WHEEL_BITS,
    IORA__WHEEL_LEVELS = 11 /* 11 * 6 bits cover the 63 of a deadline */
};

struct iora__timers {
    int64_t reached_ns; /* the wheel's own time: everything before it has fired */
    size_t count;
    unsigned occupied_levels;
    uint64_t occupied[IORA__WHEEL_LEVELS]; /* a bit per slot that is not empty */
    struct iora__link slots[IORA__WHEEL_LEVELS][IORA__WHEEL_SLOTS];
};

void iora__timers_init(struct iora__timers *timers, int64_t now_ns);

/* Arm an idle timer. Never fails, allocates nothing. */
void iora__timer_set(struct iora__timers *timers, struct iora__timer *timer, int64_t deadline_ns);

/* Disarm; an idle timer is left alone. */
void iora__timer_clear(struct iora__timers *timers, struct iora__timer *timer);

/* Disarm all that would call `fire`. */
void iora__timers_clear_all(struct iora__timers *timers, void (*fire)(struct iora__timer *));

static inline bool
iora__timer_is_set(const struct iora__timer *timer)
{
    return iora__link_is_linked(&timer->_link);
}

/* An instant at or before the first deadline, at most a cascade away from it; INT64_MAX if no timer
 * is armed. */
int64_t iora__timers_next(const struct iora__timers *timers);

/* Disarm and fire, in order of their deadlines, all that are due at now_ns. `_fire` may set and
 * clear timers. */
void iora__timers_expire(struct iora__timers *timers, int64_t now_ns);

#endif
