/* task/overflow.c -- naming the task that overflowed its stack.
 *
 * Opt-in, since it takes a signal handler: SIGSEGV on an alternate stack, for as long as a loop that asked for
 * it has tasks. A fault in the guard of the current task's stack is told on stderr, with the task's name and
 * where it was spawned; then, as for every other fault, whatever handled SIGSEGV before does so.
 *
 * Handler and count are the process's, as the signal is; each thread that makes such a loop gets an alternate
 * stack unless it has one.
 */
#include "task/task.h"

#include "sys/alloc.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { ALTERNATE_STACK_SIZE = 64 * 1024 };

static struct {
    pthread_mutex_t mutex;
    struct sigaction before;
    int users;
} watch = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void
say(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        return; /* nobody is left to tell */
}

static bool
is_in_guard(const struct iora__task *task, const char *address)
{
    const size_t guard_size = iora__stack_guard_size(task->stack_class);

    return address < task->stack_base && address >= task->stack_base - guard_size;
}

static void
handle_fault(int number, siginfo_t *info, void *context)
{
    const struct iora__task *const task = iora__self();

    (void)number;
    (void)context;
    if (task != NULL && is_in_guard(task, info->si_addr)) {
        say("iora: stack overflow in task \"");
        say(task->name);
        say("\" (spawned at ");
        say(task->site);
        say("): give it a larger stack with iora_go_sized()\n");
    }
    /* The instruction faults again, for whoever was here before. */
    (void)sigaction(SIGSEGV, &watch.before, NULL);
}

static int
give_alternate_stack(void)
{
    stack_t current, own = {.ss_size = ALTERNATE_STACK_SIZE};

    if (sigaltstack(NULL, &current) == 0 && !(current.ss_flags & SS_DISABLE))
        return 0;
    if ((own.ss_sp = iora__alloc(ALTERNATE_STACK_SIZE)) == NULL)
        return -ENOMEM;
    (void)sigaltstack(&own, NULL);
    return 0;
}

/* Give back the alternate stack if it is ours: the size tells. */
static void
take_alternate_stack(void)
{
    stack_t current, none = {.ss_flags = SS_DISABLE};

    if (sigaltstack(NULL, &current) < 0 || (current.ss_flags & SS_DISABLE) ||
        current.ss_size != ALTERNATE_STACK_SIZE)
        return;
    (void)sigaltstack(&none, NULL);
    iora__free(current.ss_sp);
}

int
iora__overflow_watch(void)
{
    struct sigaction action = {.sa_sigaction = handle_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    const int rc = give_alternate_stack();

    if (rc < 0)
        return rc;
    (void)pthread_mutex_lock(&watch.mutex);
    if (watch.users++ == 0)
        (void)sigaction(SIGSEGV, &action, &watch.before);
    (void)pthread_mutex_unlock(&watch.mutex);
    return 0;
}

void
iora__overflow_unwatch(void)
{
    (void)pthread_mutex_lock(&watch.mutex);
    if (--watch.users == 0)
        (void)sigaction(SIGSEGV, &watch.before, NULL);
    (void)pthread_mutex_unlock(&watch.mutex);
    take_alternate_stack();
}
