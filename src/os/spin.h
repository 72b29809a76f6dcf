/* os/spin.h -- spinning for a moment before sleeping.
 *
 * Where another processor may bring what is waited for, being woken takes longer than many a job does. How long
 * to spin adapts itself: who has spun in vain spins half as long the next time, who has not, twice as long. So
 * jobs that take long cost half a microsecond each.
 */
#ifndef IORA_OS_SPIN_H
#define IORA_OS_SPIN_H

#include "sys/sys.h"
#include "sys/thread.h"

enum { IORA__SPIN_MIN_NS = 500, IORA__SPIN_MAX_NS = 16000, IORA__SPIN_RELAXES = 16 };

/* Spin for *span_ns at most, until has_come(arg) says so; and adapt the span. */
static inline bool
iora__spin(int64_t *span_ns, bool (*has_come)(void *arg), void *arg)
{
    const int64_t until_ns = iora__sys_clock_ns() + *span_ns;

    do {
        for (int i = 0; i < IORA__SPIN_RELAXES; i++) {
            if (has_come(arg)) {
                *span_ns = *span_ns < IORA__SPIN_MAX_NS / 2 ? *span_ns * 2 : IORA__SPIN_MAX_NS;
                return true;
            }
            iora__sys_relax();
        }
    } while (iora__sys_clock_ns() < until_ns);
    *span_ns = *span_ns / 2 > IORA__SPIN_MIN_NS ? *span_ns / 2 : IORA__SPIN_MIN_NS;
    return false;
}

#endif
