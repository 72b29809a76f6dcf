/* sys/seam.c -- the counting and failing half of the seam (see seam.h); only in the tests' build.
 *
 * The state is one global, the exception to "all state hangs from the loop": what it counts happens
 * before loops exist and after they are gone. Threads may pass it, so its counters are atomic.
 */
#include "sys/seam.h"

#include <errno.h>
#include <stdatomic.h>

static struct {
    atomic_long calls, allocations, alive, failures;
    atomic_long fail_call, fail_allocation;
    atomic_int last_call;
    atomic_long more; /* how many calls like last_call are still to fail */
    int variant;
    size_t most;
    unsigned refused;
    atomic_uint asked;
    bool deaf;
    bool calls_persistent, allocations_persistent;
    iora__moment_fn *watch;
    iora__step_fn *trace;
} seam;

enum { VARIANTS = 6 };

/* What each call can plausibly say. Those that are not listed are counted and never failed: close
 * munmap and unlink, whose answer nobody could act on; write, since an eventfd refuses one only when
 * its counter is full, which wakes the reader just as well; waking who sleeps on a word, which cannot
 * fail; the names of interfaces, for which "there is none" is an answer like any other; sigaction and
 * pthread_sigmask, which refuse nothing but numbers that are no signal's. */
static const int errnos[IORA__CALL_COUNT][VARIANTS] = {
    [IORA__CALL_EPOLL_CREATE] = {EMFILE, ENFILE, ENOMEM},
    [IORA__CALL_EPOLL_CTL] = {ENOMEM, ENOSPC},
    [IORA__CALL_EPOLL_WAIT] = {EINTR, ENOSYS},
    [IORA__CALL_POLL] = {EINTR, ENOMEM},
    [IORA__CALL_EVENTFD] = {EMFILE, ENFILE, ENOMEM},
    [IORA__CALL_READ] = {EAGAIN, EINTR},
    [IORA__CALL_MMAP] = {ENOMEM, EAGAIN},
    [IORA__CALL_MADVISE] = {EINVAL, ENOMEM, EAGAIN},
    [IORA__CALL_MPROTECT] = {ENOMEM},
    [IORA__CALL_SOCKET] = {EMFILE, ENFILE, ENOMEM, EAFNOSUPPORT},
    [IORA__CALL_ACCEPT] = {EMFILE, ENFILE, ENOMEM, ECONNABORTED, EPERM, EINTR},
    [IORA__CALL_CONNECT] = {ECONNREFUSED, ETIMEDOUT, EADDRNOTAVAIL, ENETUNREACH},
    [IORA__CALL_BIND] = {EADDRINUSE, EACCES, ENOMEM},
    [IORA__CALL_LISTEN] = {EADDRINUSE},
    [IORA__CALL_SHUTDOWN] = {ENOTCONN},
    [IORA__CALL_GETNAME] = {ENOBUFS, ENOTCONN},
    [IORA__CALL_SOCKOPT] = {ENOMEM, ENOBUFS},
    [IORA__CALL_RECV] = {ECONNRESET, ENOMEM, ETIMEDOUT, EINTR},
    [IORA__CALL_SEND] = {EPIPE, ECONNRESET, ENOBUFS, ENOMEM, EINTR},
    [IORA__CALL_PREADV2] = {ENOSYS, EIO, EINTR},
    [IORA__CALL_READ_FILE] = {EIO, EINTR},
    [IORA__CALL_WRITE_FILE] = {ENOSPC, EIO, EINTR},
    [IORA__CALL_STAT] = {ENOMEM, EACCES},
    [IORA__CALL_FCHMOD] = {EPERM},
    [IORA__CALL_LOCK_FILE] = {EACCES, EMFILE, EWOULDBLOCK},
    [IORA__CALL_THREAD] = {EAGAIN},
    [IORA__CALL_FUTEX_WAIT] = {EINTR},
    [IORA__CALL_GETADDRINFO] = {EMFILE, ENOMEM},
    [IORA__CALL_ATFORK] = {ENOMEM},
};

static const char *const names[IORA__CALL_COUNT] = {
    [IORA__CALL_EPOLL_CREATE] = "epoll_create1",
    [IORA__CALL_EPOLL_CTL] = "epoll_ctl",
    [IORA__CALL_EPOLL_WAIT] = "epoll_pwait2",
    [IORA__CALL_POLL] = "ppoll",
    [IORA__CALL_EVENTFD] = "eventfd",
    [IORA__CALL_READ] = "read",
    [IORA__CALL_WRITE] = "write",
    [IORA__CALL_CLOSE] = "close",
    [IORA__CALL_MMAP] = "mmap",
    [IORA__CALL_MUNMAP] = "munmap",
    [IORA__CALL_MADVISE] = "madvise",
    [IORA__CALL_MPROTECT] = "mprotect",
    [IORA__CALL_SOCKET] = "socket",
    [IORA__CALL_ACCEPT] = "accept4",
    [IORA__CALL_CONNECT] = "connect",
    [IORA__CALL_BIND] = "bind",
    [IORA__CALL_LISTEN] = "listen",
    [IORA__CALL_SHUTDOWN] = "shutdown",
    [IORA__CALL_GETNAME] = "getsockname",
    [IORA__CALL_SOCKOPT] = "setsockopt",
    [IORA__CALL_RECV] = "recv",
    [IORA__CALL_SEND] = "send",
    [IORA__CALL_PREADV2] = "preadv2",
    [IORA__CALL_READ_FILE] = "read",
    [IORA__CALL_WRITE_FILE] = "write",
    [IORA__CALL_STAT] = "stat",
    [IORA__CALL_FCHMOD] = "fchmod",
    [IORA__CALL_UNLINK] = "unlink",
    [IORA__CALL_LOCK_FILE] = "flock",
    [IORA__CALL_THREAD] = "pthread_create",
    [IORA__CALL_FUTEX_WAIT] = "futex (wait)",
    [IORA__CALL_FUTEX_WAKE] = "futex (wake)",
    [IORA__CALL_GETADDRINFO] = "getaddrinfo",
    [IORA__CALL_INTERFACE] = "if_nametoindex",
    [IORA__CALL_SIGACTION] = "sigaction",
    [IORA__CALL_SIGMASK] = "pthread_sigmask",
    [IORA__CALL_ATFORK] = "pthread_atfork",
};

static void
arm_call(long index, int variant, bool persistent, long more)
{
    seam.variant = variant;
    seam.calls_persistent = persistent;
    atomic_store(&seam.more, more);
    atomic_store(&seam.calls, 0);
    atomic_store(&seam.failures, 0);
    atomic_store(&seam.fail_call, index);
}

void
iora__seam_arm_call(long index, int variant, bool persistent)
{
    arm_call(index, variant, persistent, 0);
}

void
iora__seam_arm_calls(long index, int variant, long more)
{
    arm_call(index, variant, false, more);
}

void
iora__seam_arm_allocation(long index, bool persistent)
{
    seam.allocations_persistent = persistent;
    atomic_store(&seam.allocations, 0);
    atomic_store(&seam.failures, 0);
    atomic_store(&seam.fail_allocation, index);
}

struct iora__seam_counts
iora__seam_disarm(void)
{
    atomic_store(&seam.fail_call, 0);
    atomic_store(&seam.fail_allocation, 0);
    return iora__seam_read();
}

struct iora__seam_counts
iora__seam_read(void)
{
    return (struct iora__seam_counts){
        .calls = atomic_load(&seam.calls),
        .allocations = atomic_load(&seam.allocations),
        .alive = atomic_load(&seam.alive),
        .failures = atomic_load(&seam.failures),
        .last_call = (enum iora__call)atomic_load(&seam.last_call),
    };
}

int
iora__seam_variants(enum iora__call call)
{
    int n = 0;

    while (n < VARIANTS && errnos[call][n] != 0)
        n++;
    return n;
}

int
iora__seam_errno(enum iora__call call, int variant)
{
    return errnos[call][variant % iora__seam_variants(call)];
}

const char *
iora__seam_name(enum iora__call call)
{
    return names[call];
}

static bool
is_due(long index, long armed, bool persistent)
{
    return armed != 0 && (index == armed || (persistent && index > armed));
}

/* Whether it is one of those that fail after the first, as that did. */
static bool
is_one_more(enum iora__call call, long index)
{
    const long armed = atomic_load(&seam.fail_call);

    return armed != 0 && index > armed && atomic_load(&seam.failures) > 0 &&
           (int)call == atomic_load(&seam.last_call) && atomic_fetch_sub(&seam.more, 1) > 0;
}

int
iora__seam_call(enum iora__call call)
{
    const long index = atomic_fetch_add(&seam.calls, 1) + 1;

    if (iora__seam_variants(call) == 0 ||
        (!is_due(index, atomic_load(&seam.fail_call), seam.calls_persistent) &&
         !is_one_more(call, index)))
        return 0;
    atomic_store(&seam.last_call, (int)call);
    atomic_fetch_add(&seam.failures, 1);
    return -iora__seam_errno(call, seam.variant);
}

void
iora__seam_be_stingy(size_t most, unsigned refused)
{
    seam.most = most;
    seam.refused = refused;
}

size_t
iora__seam_bytes(size_t size)
{
    return seam.most != 0 && size > seam.most ? seam.most : size;
}

bool
iora__seam_refuses(void)
{
    return seam.refused != 0 && atomic_fetch_add(&seam.asked, 1) % seam.refused == 0;
}

void
iora__seam_be_deaf(void)
{
    seam.deaf = true;
}

bool
iora__seam_is_deaf(void)
{
    return seam.deaf;
}

bool
iora__seam_allocation_fails(void)
{
    const long index = atomic_fetch_add(&seam.allocations, 1) + 1;

    if (!is_due(index, atomic_load(&seam.fail_allocation), seam.allocations_persistent))
        return false;
    atomic_fetch_add(&seam.failures, 1);
    return true;
}

void
iora__seam_allocated(long difference)
{
    atomic_fetch_add(&seam.alive, difference);
}

void
iora__seam_watch(iora__moment_fn *fn)
{
    seam.watch = fn;
}

void
iora__seam_moment(enum iora__moment moment, struct iora__task *task)
{
    if (seam.watch != NULL && (task != NULL || moment == IORA__MOMENT_TURN))
        seam.watch(moment, task);
}

void
iora__seam_trace(iora__step_fn *fn)
{
    seam.trace = fn;
}

void
iora__seam_step(enum iora__step step, uint64_t value)
{
    if (seam.trace != NULL)
        seam.trace(step, value);
}
