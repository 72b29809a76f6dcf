/* task/overflow.c -- naming the task that overflowed its stack.
 *
 * Opt-in, since it takes a signal handler: SIGSEGV on an alternate stack, for as long as a loop that asked for
 * it has tasks. A fault in the guard of the current task's stack is told on stderr, with the task's name and
 * where it was spawned; then, as for every other fault, whatever handled SIGSEGV before does so.
 *
 * Handler and count are the process's, as the signal is. A thread that makes such a loop gets an alternate stack
 * unless it has one. When the last of the loops goes, its thread's is taken back if it is ours; one that another
 * thread still has stays, since only that thread could put it away. Who forks has the mutex, so that the child finds
 * it free.
 */
#include "task/task.h"

#include "sys/alloc.h"
#include "sys/sys.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

struct iora__alternate_stack {
    struct iora__alternate_stack *next;
    char memory[64 * 1024];
};

static struct {
    pthread_mutex_t mutex;
    struct sigaction before;
    bool knows_forks;
    int users;
    struct iora__alternate_stack *given_up; /* no loop's any more, but still their threads' */
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
give_alternate_stack(struct iora__sched *sched)
{
    struct iora__alternate_stack *own;
    stack_t current;

    if (sigaltstack(NULL, &current) == 0 && !(current.ss_flags & SS_DISABLE))
        return 0;
    if ((own = iora__alloc(sizeof *own)) == NULL)
        return -ENOMEM;
    (void)sigaltstack(&(stack_t){.ss_sp = own->memory, .ss_size = sizeof own->memory}, NULL);
    sched->alternate_stack = own;
    return 0;
}

/* Free the alternate stack that this thread has, if it is one of ours. */
static void
take_alternate_stack(void)
{
    stack_t current;

    if (sigaltstack(NULL, &current) < 0 || (current.ss_flags & SS_DISABLE))
        return;
    for (struct iora__alternate_stack **at = &watch.given_up; *at != NULL; at = &(*at)->next) {
        struct iora__alternate_stack *const own = *at;

        if (own->memory != current.ss_sp)
            continue;
        (void)sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL);
        *at = own->next;
        iora__free(own);
        return;
    }
}

static void
lock(void)
{
    (void)pthread_mutex_lock(&watch.mutex);
}

static void
unlock(void)
{
    (void)pthread_mutex_unlock(&watch.mutex);
}

static int
notice_forks(void)
{
    int rc = 0;

    if (!watch.knows_forks && (rc = iora__sys_at_fork(lock, unlock, unlock)) == 0)
        watch.knows_forks = true;
    return rc;
}

int
iora__overflow_watch(struct iora__sched *sched)
{
    const struct sigaction action = {.sa_sigaction = handle_fault,
                                     .sa_flags = SA_SIGINFO | SA_ONSTACK};
    int rc;

    lock();
    if ((rc = notice_forks()) < 0 || (rc = give_alternate_stack(sched)) < 0)
        goto out;
    if (watch.users++ == 0)
        (void)sigaction(SIGSEGV, &action, &watch.before);
out:
    unlock();
    return rc;
}

void
iora__overflow_unwatch(struct iora__sched *sched)
{
    struct iora__alternate_stack *const own = sched->alternate_stack;

    lock();
    if (own != NULL) {
        own->next = watch.given_up;
        watch.given_up = own;
    }
    if (--watch.users == 0) {
        (void)sigaction(SIGSEGV, &watch.before, NULL);
        take_alternate_stack();
    }
    unlock();
}
