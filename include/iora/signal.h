/* iora/signal.h -- waiting for signals.
 *
 *     int rc = iora_wait_signal(SIGINT, SIGTERM);              which one came, or a negative code
 *
 * The numbers' names are in <signal.h>.
 *
 * Waiting for a signal is asking for it, and nothing else is: while something in any loop of the process
 * waits for a signal, the library has a handler for it (SA_RESTART); with the last who waits the handler
 * that was there before comes back, unless somebody has put another in the place of ours: that stays. A handler
 * that was there is called too. A signal goes to everything that waits for it, in every loop. Those of one
 * number that arrive before they are asked for count as one; of several numbers the lowest is told first.
 *
 * SIGKILL and SIGSTOP cannot be waited for; those that say that the program is broken (SIGSEGV, SIGBUS,
 * SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS) are refused.
 *
 * Fork          A forked child begins with the handlers that were there before; what its parent waits for does
 *               not hear of the child's signals.
 * Ctrl-C        A program that runs by iora_main() and waits for SIGINT decides itself what it does
 *               (iora/task.h).
 * Simulation    A simulated loop hears of real signals; to simulate one, call raise(3).
 *
 * Guide         docs/guide/cancellation.md
 */
#ifndef IORA_SIGNAL_H
#define IORA_SIGNAL_H

#include <iora/select.h>

IORA_BEGIN

/** A subscription to some signals, from open to close: what comes in between is not missed. */
typedef struct iora_signals {
    struct iora__subscription *_subscription;
} iora_signals;

/**
 * Begin to listen. Does not suspend. The number of signals is `n`; iora_signals_open_of(&s, SIGINT, SIGTERM)
 * counts them itself.
 *
 * Returns 0; -EINVAL for a number that is none or cannot be waited for, or no number at all; -ENOMEM, -EMFILE;
 * IORA_E_NO_LOOP; IORA_E_FORKED. Until it is closed the loop counts as something that can still be woken.
 */
IORA_API IORA_MUST_USE int iora_signals_open(iora_signals *signals, const int *numbers, size_t n);
#define iora_signals_open_of(signals, ...)                                                         \
    __extension__({                                                                                \
        const int _iora_numbers[] = {__VA_ARGS__};                                                 \
        iora_signals_open((signals), _iora_numbers, sizeof _iora_numbers / sizeof(int));           \
    })

/** Wait for the next one. Returns its number; -ECANCELED, and it is kept for the next call; IORA_E_CLOSED;
 *  -EBUSY while another task waits here; IORA_E_WRONG_THREAD in another loop's task. Suspends, unless one has
 *  come. */
IORA_API IORA_MUST_USE int iora_signals_next(iora_signals *signals);

/** The same for iora_select(): the clause's rc is the number. */
IORA_API iora_clause iora_on_signal(iora_signals *signals);

/** Listen no longer. A task that waits gets IORA_E_CLOSED. Twice is fine, and so is after the loop has gone. Does
 *  not suspend. */
IORA_API void iora_signals_close(iora_signals *signals);

/** int iora_wait_signal(numbers...): open, wait for one, close. Returns its number, or as the functions above. */
IORA_API IORA_MUST_USE int iora_wait_signal_of(const int *numbers, size_t n);
#define iora_wait_signal(...)                                                                      \
    __extension__({                                                                                \
        const int _iora_numbers[] = {__VA_ARGS__};                                                 \
        iora_wait_signal_of(_iora_numbers, sizeof _iora_numbers / sizeof(int));                    \
    })

IORA_END

#endif
