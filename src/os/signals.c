/* os/signals.c -- who in this process listens to which signals.
 *
 * While a number has a *subscriber*, the library has a handler for it: installed with the number's first and
 * taken away with its last, when the action that was there before, the *previous* one, comes back. The handler
 * calls each subscriber of the number, and then the previous action, if that is a function. What "previous"
 * masked stays masked meanwhile.
 *
 * This is state outside of any loop (core/loop.c, invariant 4), since signals are the process's.
 *
 * Invariants:
 * (1) The handler takes no lock and keeps errno. It walks a list of atomic links, which the mutex guards
 *     against those who change it.
 * (2) A subscriber is unlinked first and given back when no handler has been in flight: one that begins later
 *     does not find it. The previous action is called when the handler is in flight no more, since it need not
 *     return (siglongjmp).
 * (3) Who has the mutex has all signals blocked: no handler interrupts him, not even one that forks.
 * (4) A child of fork(2) begins as if the library had never been there: the list is empty and the previous
 *     actions are back before a signal can come. (What fork(2) is not: after vfork(2) or clone(2) the handler
 *     sees another pid and delivers nothing.)
 *
 * If somebody has put his own handler in the place of ours, it is his to keep: the last subscriber leaves it
 * there. He may call ours, as we call those before us, or put it back when he is done: then it has nobody to
 * deliver to, goes on calling the function that was before it, and serves again with the next subscriber. What
 * is lost in that case is a default action; nobody can take it back from him without taking his handler.
 *
 * Rejected: signalfd(2), which needs the signal blocked in all threads, and children inherit that; a thread
 * that waits in sigwait(3), for the same reason; one subscriber for each number (an allocation each).
 */
#include "os/signals.h"

#include "sys/sys.h"

#include <errno.h>
#include <pthread.h>

enum { NUMBERS = 64 };

typedef void handler_fn(int number, siginfo_t *info, void *context);
typedef void plain_handler_fn(int number);

/* A number's. The previous handler stands in one of the two last ones, for the handler to read. */
struct disposition {
    size_t users;
    struct sigaction previous;
    _Atomic(handler_fn *) previous_with_info;
    _Atomic(plain_handler_fn *) previous_plain;
};

static struct {
    pthread_mutex_t mutex;
    sigset_t mask; /* that the thread which has the mutex had before */
    bool knows_forks;
    _Atomic(struct iora__subscriber *) first;
    atomic_int in_flight; /* handlers that may look at a subscriber */
    atomic_int pid;       /* whose the subscribers are */
    struct disposition dispositions[NUMBERS];
} table = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static struct disposition *
disposition_of(int number)
{
    return &table.dispositions[number - 1];
}

/* ---- the handler -------------------------------------------------------------------------------- */

/* True if somebody heard it. */
static bool
deliver_to_all(int number)
{
    bool heard = false;

    for (struct iora__subscriber *at = atomic_load(&table.first); at != NULL;
         at = atomic_load(&at->next)) {
        if ((at->numbers & iora__signal_bit(number)) && !at->is_last_resort) {
            at->deliver(at, number);
            heard = true;
        }
    }
    return heard;
}

static void
deliver_as_last_resort(int number)
{
    for (struct iora__subscriber *at = atomic_load(&table.first); at != NULL;
         at = atomic_load(&at->next)) {
        if (!(at->numbers & iora__signal_bit(number)) || !at->is_last_resort)
            continue;
        if (!atomic_exchange(&at->has_heard, true))
            at->deliver(at, number);
        else
            iora__signals_do_default(number);
    }
}

static void
call_previous(int number, siginfo_t *info, void *context)
{
    const struct disposition *const disposition = disposition_of(number);
    handler_fn *const with_info = atomic_load(&disposition->previous_with_info);
    plain_handler_fn *const plain = atomic_load(&disposition->previous_plain);

    if (with_info != NULL)
        with_info(number, info, context);
    else if (plain != NULL)
        plain(number);
}

static void
handle(int number, siginfo_t *info, void *context)
{
    const int kept_errno = errno;

    atomic_fetch_add(&table.in_flight, 1);
    if (atomic_load(&table.pid) == iora__sys_pid() && !deliver_to_all(number))
        deliver_as_last_resort(number);
    atomic_fetch_sub(&table.in_flight, 1);
    call_previous(number, info, context);
    errno = kept_errno;
}

static bool
is_ours(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) != 0 && action->sa_sigaction == handle;
}

/* ---- installing ------------------------------------------------------------------------------------ */

static void
remember(struct disposition *disposition, const struct sigaction *action)
{
    const bool has_info = (action->sa_flags & SA_SIGINFO) != 0;
    const bool is_function =
        has_info || (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);

    disposition->previous = *action;
    atomic_store(&disposition->previous_with_info, has_info ? action->sa_sigaction : NULL);
    atomic_store(&disposition->previous_plain,
                 is_function && !has_info ? action->sa_handler : NULL);
}

/* What was there is remembered before our handler can run. */
static int
install(int number)
{
    struct disposition *const disposition = disposition_of(number);
    struct sigaction current;
    int rc = iora__sys_sigaction(number, NULL, &current);

    if (rc < 0)
        return rc;
    if (is_ours(&current)) /* somebody had put it back */
        return 0;
    remember(disposition, &current);
    return iora__sys_sigaction(
        number,
        &(struct sigaction){.sa_sigaction = handle,
                            .sa_mask = current.sa_mask,
                            .sa_flags = SA_RESTART | SA_SIGINFO | SA_ONSTACK},
        NULL);
}

static void
uninstall(int number)
{
    struct sigaction current;

    if (iora__sys_sigaction(number, NULL, &current) == 0 && is_ours(&current))
        (void)iora__sys_sigaction(number, &disposition_of(number)->previous, NULL);
}

static void
release_numbers(uint64_t numbers)
{
    for (int number = 1; number <= NUMBERS; number++) {
        if ((numbers & iora__signal_bit(number)) && --disposition_of(number)->users == 0)
            uninstall(number);
    }
}

static int
claim_numbers(uint64_t numbers)
{
    for (int number = 1; number <= NUMBERS; number++) {
        int rc;

        if (!(numbers & iora__signal_bit(number)))
            continue;
        if (disposition_of(number)->users == 0 && (rc = install(number)) < 0) {
            release_numbers(numbers & (iora__signal_bit(number) - 1));
            return rc;
        }
        disposition_of(number)->users++;
    }
    return 0;
}

/* ---- the mutex, and forks -------------------------------------------------------------------------- */

static void
lock(void)
{
    sigset_t mask;

    iora__sys_block_signals(&mask);
    (void)pthread_mutex_lock(&table.mutex);
    table.mask = mask;
}

static void
unlock(void)
{
    const sigset_t mask = table.mask;

    (void)pthread_mutex_unlock(&table.mutex);
    iora__sys_restore_signals(&mask);
}

static void
forget_parent(void)
{
    for (int number = 1; number <= NUMBERS; number++) {
        if (disposition_of(number)->users > 0)
            uninstall(number);
        disposition_of(number)->users = 0;
    }
    atomic_store(&table.first, NULL);
    atomic_store(&table.in_flight, 0); /* handlers of threads that are not here */
    unlock();
}

static int
notice_forks(void)
{
    int rc = 0;

    if (!table.knows_forks && (rc = iora__sys_at_fork(lock, unlock, forget_parent)) == 0)
        table.knows_forks = true;
    return rc;
}

/* ---- subscribers ------------------------------------------------------------------------------------- */

static uint64_t
refused_numbers(void)
{
    return iora__signal_bit(SIGKILL) | iora__signal_bit(SIGSTOP) | iora__signal_bit(SIGSEGV) |
           iora__signal_bit(SIGBUS) | iora__signal_bit(SIGFPE) | iora__signal_bit(SIGILL) |
           iora__signal_bit(SIGABRT) | iora__signal_bit(SIGTRAP) | iora__signal_bit(SIGSYS);
}

int
iora__signals_make_set(const int *numbers, size_t n, uint64_t *set)
{
    uint64_t all = 0;

    for (size_t i = 0; i < n; i++) {
        if (numbers[i] < 1 || numbers[i] > NUMBERS)
            return -EINVAL;
        all |= iora__signal_bit(numbers[i]);
    }
    if (all == 0 || (all & refused_numbers()) != 0)
        return -EINVAL;
    *set = all;
    return 0;
}

/* The link that leads to it; NULL if none does. */
static _Atomic(struct iora__subscriber *) *
link_to(const struct iora__subscriber *subscriber)
{
    _Atomic(struct iora__subscriber *) *at = &table.first;
    struct iora__subscriber *next;

    while ((next = atomic_load(at)) != NULL && next != subscriber)
        at = &next->next;
    return next != NULL ? at : NULL;
}

static void
unlink_from(_Atomic(struct iora__subscriber *) *link, struct iora__subscriber *subscriber)
{
    atomic_store(link, atomic_load(&subscriber->next));
    while (atomic_load(&table.in_flight) > 0)
        iora__sys_give_way();
}

/* It is in the list for as long as the handler is installed for it, so that no signal falls in between. */
int
iora__signals_subscribe(struct iora__subscriber *subscriber)
{
    int rc;

    lock();
    if ((rc = notice_forks()) < 0)
        goto out;
    atomic_store(&table.pid, iora__sys_pid());
    atomic_store(&subscriber->next, atomic_load(&table.first));
    atomic_store(&table.first, subscriber);
    if ((rc = claim_numbers(subscriber->numbers)) < 0)
        unlink_from(&table.first, subscriber);
out:
    unlock();
    return rc;
}

void
iora__signals_unsubscribe(struct iora__subscriber *subscriber)
{
    _Atomic(struct iora__subscriber *) *link;

    lock();
    if ((link = link_to(subscriber)) != NULL) {
        release_numbers(subscriber->numbers);
        unlink_from(link, subscriber);
    }
    unlock();
}

/* ---- default actions ------------------------------------------------------------------------------------ */

bool
iora__signals_is_default(int number)
{
    struct sigaction current;

    return iora__sys_sigaction(number, NULL, &current) == 0 &&
           (current.sa_flags & SA_SIGINFO) == 0 && current.sa_handler == SIG_DFL;
}

void
iora__signals_do_default(int number)
{
    (void)iora__sys_sigaction(number, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    iora__sys_raise(number);
}
