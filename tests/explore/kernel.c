/* explore/kernel.c -- what threads of a model wait for (intercept.h), and what they do to one another.
 *
 * Mutexes, sleeping on words, threads and signals are the explorer's own. Descriptors are the system's: a wait is
 * done without waiting, and while it says "not yet" the thread waits in the explorer.
 */
#include "kernel.h"

#include "schedule.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOCKED_MAX = 16, FORKERS = 4 };

static const int64_t spin_ns = 16000; /* as long as anything spins (os/spin.h) */

struct forker {
    void (*before)(void);
    void (*in_parent)(void);
    void (*in_child)(void);
};

static struct {
    struct {
        const pthread_mutex_t *mutex;
        const struct explore__thread *owner;
    } locked[LOCKED_MAX];
    struct sigaction actions[EXPLORE_SIGNALS];
    struct forker forkers[FORKERS]; /* for ever, as those of pthread_atfork(3) */
    int forker_count;
    unsigned processors;
} kernel;

void
explore__kernel_reset(void)
{
    memset(kernel.locked, 0, sizeof kernel.locked);
    memset(kernel.actions, 0, sizeof kernel.actions);
    kernel.processors = 1;
}

static bool
is_default(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) == 0 && action->sa_handler == SIG_DFL;
}

const char *
explore__kernel_left(void)
{
    for (int i = 0; i < LOCKED_MAX; i++) {
        if (kernel.locked[i].mutex != NULL)
            return "a mutex that is locked";
    }
    for (int i = 0; i < EXPLORE_SIGNALS; i++) {
        if (!is_default(&kernel.actions[i]))
            return "a handler for a signal";
    }
    return NULL;
}

/* ---- mutexes -------------------------------------------------------------------------------------------- */

static int
find_locked(const pthread_mutex_t *mutex)
{
    for (int i = 0; i < LOCKED_MAX; i++) {
        if (kernel.locked[i].mutex == mutex)
            return i;
    }
    return -1;
}

static bool
is_unlocked(const void *mutex)
{
    return find_locked(mutex) < 0;
}

static int
take(const pthread_mutex_t *mutex)
{
    const int place = find_locked(NULL);

    if (place < 0)
        explore__fail(__FILE__, __LINE__, "too many mutexes are locked");
    kernel.locked[place].mutex = mutex;
    kernel.locked[place].owner = explore__current;
    return 0;
}

int
explore__mutex_lock(pthread_mutex_t *mutex)
{
    const int at = find_locked(mutex);

    if (at >= 0 && kernel.locked[at].owner == explore__current)
        explore__fail(__FILE__, __LINE__, "locks a mutex that it has locked");
    (void)explore__wait(is_unlocked, mutex, INT64_MAX, false);
    return take(mutex);
}

int
explore__mutex_trylock(pthread_mutex_t *mutex)
{
    return is_unlocked(mutex) ? take(mutex) : EBUSY;
}

int
explore__mutex_unlock(pthread_mutex_t *mutex)
{
    const int at = find_locked(mutex);

    if (at < 0 || kernel.locked[at].owner != explore__current)
        explore__fail(__FILE__, __LINE__, "unlocks a mutex that it has not locked");
    kernel.locked[at].mutex = NULL;
    return 0;
}

int
explore__mutex_destroy(pthread_mutex_t *mutex)
{
    const struct explore__thread *thread;

    if (!is_unlocked(mutex))
        explore__fail(__FILE__, __LINE__, "destroys a mutex that is locked");
    for (int i = 0; (thread = explore__thread_at(i)) != NULL; i++) {
        if (thread->state == EXPLORE_WAITS && thread->has_come == is_unlocked && thread->wait_arg == mutex)
            explore__fail(__FILE__, __LINE__, "destroys a mutex that %s waits for", thread->name);
    }
    return pthread_mutex_destroy(mutex);
}

/* ---- threads --------------------------------------------------------------------------------------------- */

static struct explore__thread *
thread_of(pthread_t id)
{
    return (struct explore__thread *)(uintptr_t)id;
}

pthread_t
explore__thread_self(void)
{
    return (pthread_t)(uintptr_t)explore__current;
}

struct explore__thread *
explore_self(void)
{
    return explore__current;
}

int
explore__thread_start(pthread_t *out, size_t stack_size, void *(*fn)(void *), void *arg)
{
    struct explore__thread *const thread = explore__thread_new("thread", fn, arg);

    (void)stack_size;
    thread->blocked = UINT64_MAX;
    *out = (pthread_t)(uintptr_t)thread;
    return 0;
}

static bool
has_ended(const void *thread)
{
    return ((const struct explore__thread *)thread)->state == EXPLORE_ENDED;
}

static void
claim_end(struct explore__thread *thread)
{
    if (thread->joined)
        explore__fail(__FILE__, __LINE__, "%s was joined or detached already", thread->name);
    thread->joined = true;
}

void
explore_join(struct explore__thread *thread)
{
    (void)explore__wait(has_ended, thread, INT64_MAX, false);
    claim_end(thread);
}

void
explore__thread_join(pthread_t thread)
{
    explore_join(thread_of(thread));
}

void
explore__thread_detach(pthread_t thread)
{
    claim_end(thread_of(thread));
}

void
explore__thread_set_name(const char *name)
{
    (void)snprintf(explore__current->name, sizeof explore__current->name, "%s", name);
}

static void *
run_plain(void *arg)
{
    struct explore__thread *const self = explore__current;

    self->plain_fn(arg);
    return NULL;
}

struct explore__thread *
explore_start(const char *name, void (*fn)(void *arg), void *arg)
{
    struct explore__thread *const thread = explore__thread_new(name, run_plain, arg);

    thread->plain_fn = fn;
    return thread;
}

unsigned
explore__processors(void)
{
    return kernel.processors;
}

void
explore_set_processors(unsigned processors)
{
    kernel.processors = processors;
}

/* ---- waiting ---------------------------------------------------------------------------------------------- */

int64_t
explore__clock_ns(void)
{
    if (explore__current != NULL)
        explore__current->impatient = false;
    return explore__now_ns;
}

static int64_t
deadline_of(int64_t timeout_ns)
{
    return timeout_ns < 0 || timeout_ns > INT64_MAX - explore__now_ns ? INT64_MAX
                                                                      : explore__now_ns + timeout_ns;
}

void
explore__relax(void)
{
    struct explore__thread *const me = explore__current;

    if (!me->impatient && !explore__wait_for_change(deadline_of(spin_ns)))
        me->impatient = true; /* until it looks at the clock */
}

void
explore__give_way(void)
{
    (void)explore__wait_for_change(INT64_MAX);
}

static bool
is_woken(const void *thread)
{
    return ((const struct explore__thread *)thread)->word == NULL;
}

static int
code_of(enum explore__wait ended_by)
{
    return ended_by == EXPLORE_CAME ? 0 : ended_by == EXPLORE_TIMED_OUT ? -ETIMEDOUT : -EINTR;
}

int
explore__futex_wait(atomic_int *word, int expected, int64_t timeout_ns)
{
    struct explore__thread *const me = explore__current;
    int rc;

    if (atomic_load(word) != expected)
        return -EAGAIN;
    me->word = word;
    rc = code_of(explore__wait(is_woken, me, deadline_of(timeout_ns), true));
    me->word = NULL;
    return rc;
}

void
explore__futex_wake(atomic_int *word)
{
    struct explore__thread *thread;

    for (int i = 0; (thread = explore__thread_at(i)) != NULL; i++) {
        if (thread->word == word) {
            thread->word = NULL;
            return;
        }
    }
}

static bool
is_readable(const void *fd)
{
    return iora__sys_wait_readable(*(const int *)fd, 0) != 0;
}

int
explore__epoll_wait(int epoll, struct epoll_event *events, int max, int64_t timeout_ns)
{
    enum explore__wait ended_by;
    int rc;

    if ((rc = iora__sys_epoll_wait(epoll, events, max, 0)) != 0 || timeout_ns == 0)
        return rc;
    ended_by = explore__wait(is_readable, &epoll, deadline_of(timeout_ns), true);
    return ended_by == EXPLORE_INTERRUPTED ? -EINTR : iora__sys_epoll_wait(epoll, events, max, 0);
}

int
explore__eventfd_signal(int fd)
{
    return iora__sys_eventfd_signal(fd);
}

/* ---- signals ----------------------------------------------------------------------------------------------- */

static uint64_t
bit(int number)
{
    return UINT64_C(1) << (number - 1);
}

static uint64_t
bits_of(const sigset_t *set)
{
    uint64_t bits = 0;

    for (int number = 1; number < EXPLORE_SIGNALS; number++)
        bits |= sigismember(set, number) == 1 ? bit(number) : 0;
    return bits;
}

static sigset_t
set_of(uint64_t bits)
{
    sigset_t set;

    (void)sigemptyset(&set);
    for (int number = 1; number < EXPLORE_SIGNALS; number++) {
        if (bits & bit(number))
            (void)sigaddset(&set, number);
    }
    return set;
}

int
explore__sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    if (old != NULL)
        *old = kernel.actions[number];
    if (action != NULL)
        kernel.actions[number] = *action;
    return 0;
}

void
explore__block_signals(sigset_t *before)
{
    *before = set_of(explore__current->blocked);
    explore__current->blocked = UINT64_MAX;
}

void
explore__restore_signals(const sigset_t *before)
{
    explore__current->blocked = bits_of(before);
    explore__deliver_signals();
}

static void
call_handler(int number)
{
    const struct sigaction action = kernel.actions[number];
    siginfo_t info = {.si_signo = number};

    if ((action.sa_flags & SA_SIGINFO) != 0)
        action.sa_sigaction(number, &info, NULL);
    else if (action.sa_handler == SIG_DFL)
        explore__fail(__FILE__, __LINE__, "dies of signal %d", number);
    else if (action.sa_handler != SIG_IGN)
        action.sa_handler(number);
}

/* To who runs. A handler may wait, and be left at its points. */
void
explore__deliver_signals(void)
{
    struct explore__thread *const me = explore__current;
    const uint64_t blocked = me->blocked;
    uint64_t due;

    while ((due = me->pending & ~blocked) != 0) {
        const int number = __builtin_ctzll(due) + 1;
        const struct explore__thread interrupted = *me;

        me->pending &= ~bit(number);
        me->blocked |= bit(number) | bits_of(&kernel.actions[number].sa_mask);
        call_handler(number);
        me->blocked = blocked;
        me->seen = interrupted.seen;
        me->ended_by = interrupted.ended_by;
        me->word = interrupted.word;
    }
}

void
explore_interrupt(struct explore__thread *thread, int number)
{
    thread->pending |= bit(number);
    explore__after();
}

/* ---- forks -------------------------------------------------------------------------------------------------- */

int
explore__at_fork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void))
{
    if (kernel.forker_count == FORKERS)
        return -ENOMEM;
    kernel.forkers[kernel.forker_count++] = (struct forker){before, in_parent, in_child};
    return 0;
}

static __attribute__((noreturn)) void
be_child(void (*fn)(void *arg), void *arg)
{
    explore__leave_alone();
    for (int i = 0; i < kernel.forker_count; i++)
        kernel.forkers[i].in_child();
    fn(arg);
    _exit(EXIT_SUCCESS);
}

static void
fork_once(void (*fn)(void *arg), void *arg)
{
    int status;
    const pid_t pid = fork();

    if (pid == 0)
        be_child(fn, arg);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        explore__fail(__FILE__, __LINE__, "cannot fork: %s", strerror(errno));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_SUCCESS)
        explore__fail(__FILE__, __LINE__, "the child ended with status %#x", (unsigned)status);
}

void
explore_fork(void (*fn)(void *arg), void *arg)
{
    explore_point("fork");
    for (int i = kernel.forker_count - 1; i >= 0; i--)
        kernel.forkers[i].before();
    if (!explore__is_repeated())
        fork_once(fn, arg);
    for (int i = 0; i < kernel.forker_count; i++)
        kernel.forkers[i].in_parent();
}
