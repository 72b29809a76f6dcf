/* tests/c/storm.h -- a signal each millisecond, so that whatever waits in the kernel is interrupted. */
#ifndef IORA_TESTS_STORM_H
#define IORA_TESTS_STORM_H

#include <signal.h>
#include <time.h>

static inline void
storm_passes(int number)
{
    (void)number;
}

/* For this process, to its end, and not for its children. 0, or -1 with errno set. */
static inline int
storm_begin(void)
{
    const struct sigaction action = {.sa_handler = storm_passes}; /* no SA_RESTART */
    const struct itimerspec each_ms = {{0, 1000000}, {0, 1000000}};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGVTALRM};
    timer_t timer;

    if (sigaction(SIGVTALRM, &action, NULL) < 0 ||
        timer_create(CLOCK_MONOTONIC, &event, &timer) < 0)
        return -1;
    return timer_settime(timer, 0, &each_ms, NULL);
}

#endif
