/* sys/thread.c -- the wrappers for threads (see thread.h). */
#include "sys/thread.h"

#include "sys/seam.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int
start(pthread_t *out, const pthread_attr_t *attributes, void *(*fn)(void *), void *arg)
{
    sigset_t all, before;
    int error;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* a thread begins with its maker's mask */
    error = pthread_create(out, attributes, fn, arg);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error == 0 ? 0 : -EAGAIN;
}

int
iora__sys_thread_start(pthread_t *out, size_t stack_size, void *(*fn)(void *), void *arg)
{
    pthread_attr_t attributes;
    int rc = iora__seam_call(IORA__CALL_THREAD);

    if (rc < 0)
        return rc;
    if (stack_size == 0)
        return start(out, NULL, fn, arg);
    if (pthread_attr_init(&attributes) != 0)
        return -EAGAIN;
    rc = pthread_attr_setstacksize(&attributes, stack_size) == 0 ? start(out, &attributes, fn, arg)
                                                                 : -EAGAIN;
    (void)pthread_attr_destroy(&attributes);
    return rc;
}

void
iora__sys_thread_join(pthread_t thread)
{
    (void)pthread_join(thread, NULL);
}

void
iora__sys_thread_detach(pthread_t thread)
{
    (void)pthread_detach(thread);
}

void
iora__sys_thread_set_name(const char *name)
{
    (void)pthread_setname_np(pthread_self(), name);
}

size_t
iora__sys_thread_stack_min(void)
{
    return (size_t)sysconf(_SC_THREAD_STACK_MIN);
}

unsigned
iora__sys_processors(void)
{
    cpu_set_t allowed;

    /* More processors than the set has room for: how many more hardly matters. */
    if (sched_getaffinity(0, sizeof allowed, &allowed) < 0)
        return errno == EINVAL ? CPU_SETSIZE : 1;
    return (unsigned)CPU_COUNT(&allowed);
}

int
iora__sys_futex_wait(atomic_int *word, int expected, int64_t timeout_ns)
{
    const struct timespec timeout = {.tv_sec = timeout_ns / 1000000000,
                                     .tv_nsec = timeout_ns % 1000000000};
    const int injected = iora__seam_call(IORA__CALL_FUTEX_WAIT);

    if (injected < 0)
        return injected;
    return syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, timeout_ns < 0 ? NULL : &timeout,
                   NULL, 0) < 0
               ? -errno
               : 0;
}

void
iora__sys_futex_wake(atomic_int *word)
{
    (void)iora__seam_call(IORA__CALL_FUTEX_WAKE);
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
