/* sys/sys.c -- the system call wrappers (see sys.h). */
#include "sys/sys.h"

#include "sys/seam.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Linux 6.13, include/uapi/asm-generic/mman-common.h; older headers do not have it. */
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

/* No advice that any kernel knows. */
enum { NO_ADVICE = -1 };

#define SEAM(call)                                                                                 \
    do {                                                                                           \
        const int injected = iora__seam_call(call);                                                \
        if (injected < 0)                                                                          \
            return injected;                                                                       \
    } while (0)

/* What the kernel has written by a call that MemorySanitizer does not know. */
#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
#include <sanitizer/msan_interface.h>
#define WRITTEN(data, size) __msan_unpoison((data), (size))
#endif
#endif
#if !defined(WRITTEN)
#define WRITTEN(data, size) ((void)(data), (void)(size))
#endif

static int
result(int rc)
{
    return rc < 0 ? -errno : rc;
}

int
iora__sys_epoll_create(void)
{
    SEAM(IORA__CALL_EPOLL_CREATE);
    return result(epoll_create1(EPOLL_CLOEXEC));
}

int
iora__sys_epoll_ctl(int epoll, int operation, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {.events = events, .data = {.u64 = data}};

    /* Removing needs no memory, so it cannot fail for want of it. */
    if (operation != EPOLL_CTL_DEL)
        SEAM(IORA__CALL_EPOLL_CTL);
    return result(epoll_ctl(epoll, operation, fd, &event));
}

static struct timespec
timespec_of(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

static int
milliseconds_up(int64_t ns)
{
    if (ns < 0)
        return -1;
    return ns > (int64_t)(INT_MAX - 1) * 1000000 ? INT_MAX : (int)((ns + 999999) / 1000000);
}

static int
epoll_wait_ns(int epoll, struct epoll_event *events, int max, int64_t timeout_ns)
{
    const struct timespec timeout = timespec_of(timeout_ns);
    int rc;

    SEAM(IORA__CALL_EPOLL_WAIT);
    rc = result(epoll_pwait2(epoll, events, max, timeout_ns < 0 ? NULL : &timeout, NULL));
    if (rc > 0)
        WRITTEN(events, (size_t)rc * sizeof *events);
    return rc;
}

int
iora__sys_epoll_wait(int epoll, struct epoll_event *events, int max, int64_t timeout_ns)
{
    const int rc = epoll_wait_ns(epoll, events, max, timeout_ns);

    if (rc != -ENOSYS && rc != -EPERM)
        return rc;
    return result(epoll_wait(epoll, events, max, milliseconds_up(timeout_ns)));
}

int
iora__sys_wait_readable(int fd, int64_t timeout_ns)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    const struct timespec timeout = timespec_of(timeout_ns);

    SEAM(IORA__CALL_POLL);
    return result(ppoll(&entry, 1, timeout_ns < 0 ? NULL : &timeout, NULL));
}

int
iora__sys_eventfd(void)
{
    SEAM(IORA__CALL_EVENTFD);
    return result(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

int
iora__sys_eventfd_signal(int fd)
{
    const uint64_t one = 1;
    int rc;

    /* EINTR cannot come from a non-blocking eventfd, but a lost wake-up would be for ever. */
    do {
        rc = iora__seam_call(IORA__CALL_WRITE);
        if (rc == 0)
            rc = result((int)write(fd, &one, sizeof one));
    } while (rc == -EINTR);
    return rc;
}

int
iora__sys_eventfd_drain(int fd)
{
    uint64_t count;

    SEAM(IORA__CALL_READ);
    return result((int)read(fd, &count, sizeof count));
}

void
iora__sys_close(int fd)
{
    (void)iora__seam_call(IORA__CALL_CLOSE);
    (void)close(fd);
}

/* ---- sockets ----------------------------------------------------------------------------------- */

int
iora__sys_socket(int family, int type)
{
    SEAM(IORA__CALL_SOCKET);
    return result(socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

int
iora__sys_socketpair(int type, int out[2])
{
    SEAM(IORA__CALL_SOCKET);
    return result(socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, out));
}

int
iora__sys_accept(int fd, struct sockaddr *address, socklen_t *length)
{
    SEAM(IORA__CALL_ACCEPT);
    return result(accept4(fd, address, length, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

int
iora__sys_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    SEAM(IORA__CALL_CONNECT);
    return result(connect(fd, address, length));
}

int
iora__sys_bind(int fd, const struct sockaddr *address, socklen_t length)
{
    SEAM(IORA__CALL_BIND);
    return result(bind(fd, address, length));
}

int
iora__sys_listen(int fd, int backlog)
{
    SEAM(IORA__CALL_LISTEN);
    return result(listen(fd, backlog));
}

int
iora__sys_shutdown(int fd, int how)
{
    SEAM(IORA__CALL_SHUTDOWN);
    return result(shutdown(fd, how));
}

int
iora__sys_getsockname(int fd, struct sockaddr *address, socklen_t *length)
{
    SEAM(IORA__CALL_GETNAME);
    return result(getsockname(fd, address, length));
}

int
iora__sys_getpeername(int fd, struct sockaddr *address, socklen_t *length)
{
    SEAM(IORA__CALL_GETNAME);
    return result(getpeername(fd, address, length));
}

int
iora__sys_setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
    SEAM(IORA__CALL_SOCKOPT);
    return result(setsockopt(fd, level, option, value, length));
}

int
iora__sys_getsockopt(int fd, int level, int option, void *value, socklen_t *length)
{
    SEAM(IORA__CALL_SOCKOPT);
    return result(getsockopt(fd, level, option, value, length));
}

int
iora__sys_set_nonblocking(int fd, bool on)
{
    const int flags = fcntl(fd, F_GETFL);

    if (flags < 0)
        return -errno;
    if (((flags & O_NONBLOCK) != 0) == on)
        return 0;
    return result(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

bool
iora__sys_is_nonblocking(int fd)
{
    const int flags = fcntl(fd, F_GETFL);

    return flags < 0 || (flags & O_NONBLOCK) != 0; /* of no descriptor the call will tell */
}

/* ---- bytes -------------------------------------------------------------------------------------- */

int
iora__sys_recv(int fd, void *data, size_t size, int flags)
{
    SEAM(IORA__CALL_RECV);
    return result((int)recv(fd, data, size, flags | MSG_DONTWAIT));
}

int
iora__sys_send(int fd, const void *data, size_t size, int flags)
{
    SEAM(IORA__CALL_SEND);
    return result((int)send(fd, data, size, flags | MSG_DONTWAIT | MSG_NOSIGNAL));
}

int
iora__sys_recvmsg(int fd, struct msghdr *message, int flags)
{
    SEAM(IORA__CALL_RECV);
    return result((int)recvmsg(fd, message, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
}

int
iora__sys_sendmsg(int fd, const struct msghdr *message, int flags)
{
    SEAM(IORA__CALL_SEND);
    return result((int)sendmsg(fd, message, flags | MSG_DONTWAIT | MSG_NOSIGNAL));
}

/* A kernel or sandbox without preadv2 cannot promise anything either. Then the caller waits until the descriptor is
 * ready, which one that is not open for that never is. */
static int
nowait_result(int fd, int not_for_that, int rc)
{
    if (rc != -ENOSYS && rc != -EINVAL && rc != -EOPNOTSUPP)
        return rc;
    return (fcntl(fd, F_GETFL) & O_ACCMODE) == not_for_that ? -EBADF : -EOPNOTSUPP;
}

static int
read_without_waiting(int fd, const struct iovec *piece)
{
    int rc;

    SEAM(IORA__CALL_PREADV2);
    rc = result((int)preadv2(fd, piece, 1, -1, RWF_NOWAIT));
    if (rc > 0)
        WRITTEN(piece->iov_base, (size_t)rc);
    return rc;
}

static int
write_without_waiting(int fd, const struct iovec *piece)
{
    SEAM(IORA__CALL_PREADV2);
    return result((int)pwritev2(fd, piece, 1, -1, RWF_NOWAIT));
}

int
iora__sys_read_nowait(int fd, void *data, size_t size)
{
    const struct iovec piece = {data, size};

    return nowait_result(fd, O_WRONLY, read_without_waiting(fd, &piece));
}

/* A write to a pipe that nobody reads raises SIGPIPE, which no flag prevents: it is blocked in this thread
 * meanwhile, and taken away if it came of this write. */
struct sigpipe {
    sigset_t before;
    bool was_pending;
};

static void
hold_sigpipe(struct sigpipe *held)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigpending(&set);
    held->was_pending = sigismember(&set, SIGPIPE) == 1;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &set, &held->before);
}

static void
let_go_of_sigpipe(const struct sigpipe *held, int rc)
{
    static const struct timespec at_once = {0, 0};
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGPIPE);
    if (rc == -EPIPE && !held->was_pending) {
        while (sigtimedwait(&set, NULL, &at_once) < 0 && errno == EINTR)
            continue;
    }
    (void)pthread_sigmask(SIG_SETMASK, &held->before, NULL);
}

int
iora__sys_write_nowait(int fd, const void *data, size_t size)
{
    const struct iovec piece = {(void *)data, size};
    struct sigpipe held;
    int rc;

    hold_sigpipe(&held);
    rc = nowait_result(fd, O_RDONLY, write_without_waiting(fd, &piece));
    let_go_of_sigpipe(&held, rc);
    return rc;
}

int
iora__sys_read(int fd, void *data, size_t size)
{
    SEAM(IORA__CALL_READ_FILE);
    return result((int)read(fd, data, size));
}

int
iora__sys_write(int fd, const void *data, size_t size)
{
    struct sigpipe held;
    int rc;

    SEAM(IORA__CALL_WRITE_FILE);
    hold_sigpipe(&held);
    rc = result((int)write(fd, data, size));
    let_go_of_sigpipe(&held, rc);
    return rc;
}

/* ---- names in the file system ------------------------------------------------------------------ */

int
iora__sys_fstat(int fd, struct stat *out)
{
    int rc;

    SEAM(IORA__CALL_STAT);
    if ((rc = result(fstat(fd, out))) == 0)
        WRITTEN(out, sizeof *out);
    return rc;
}

int
iora__sys_lstat(const char *path, struct stat *out)
{
    int rc;

    SEAM(IORA__CALL_STAT);
    if ((rc = result(lstat(path, out))) == 0)
        WRITTEN(out, sizeof *out);
    return rc;
}

int
iora__sys_fchmod(int fd, unsigned mode)
{
    SEAM(IORA__CALL_FCHMOD);
    return result(fchmod(fd, (mode_t)mode));
}

int
iora__sys_unlink(const char *path)
{
    (void)iora__seam_call(IORA__CALL_UNLINK);
    return result(unlink(path));
}

int
iora__sys_lock_file(const char *path)
{
    int fd, rc;

    SEAM(IORA__CALL_LOCK_FILE);
    if ((fd = result(open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600))) < 0)
        return fd;
    if ((rc = result(flock(fd, LOCK_EX | LOCK_NB))) == 0)
        return fd;
    (void)close(fd);
    return rc;
}

/* ---- memory ------------------------------------------------------------------------------------- */

static int
map_memory(size_t size, void **out)
{
    void *base;

    SEAM(IORA__CALL_MMAP);
    base = mmap(NULL, size, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (base == MAP_FAILED)
        return -errno;
    *out = base;
    return 0;
}

bool
iora__sys_is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

int
iora__sys_reserve(size_t size, void **out)
{
    const int rc = map_memory(size, out);

    /* After mlockall(2) beyond RLIMIT_MEMLOCK it is EAGAIN, which to our callers means another thing. */
    return rc == -EAGAIN ? -ENOMEM : rc;
}

void
iora__sys_unmap(void *base, size_t size)
{
    (void)iora__seam_call(IORA__CALL_MUNMAP);
    (void)munmap(base, size);
}

static int
advise(void *base, size_t size, int advice)
{
    SEAM(IORA__CALL_MADVISE);
    return iora__seam_is_deaf() ? 0 : result(madvise(base, size, advice));
}

bool
iora__sys_heeds_advice(void *base, size_t size)
{
    return !iora__seam_is_deaf() && madvise(base, size, NO_ADVICE) < 0;
}

int
iora__sys_no_huge_pages(void *base, size_t size)
{
    return advise(base, size, MADV_NOHUGEPAGE);
}

int
iora__sys_guard_install(void *base, size_t size)
{
    return advise(base, size, MADV_GUARD_INSTALL);
}

int
iora__sys_guard_protect(void *base, size_t size)
{
    SEAM(IORA__CALL_MPROTECT);
    return result(mprotect(base, size, PROT_NONE));
}

int
iora__sys_discard(void *base, size_t size)
{
    return advise(base, size, MADV_DONTNEED);
}

int
iora__sys_wipe_on_fork(void *base, size_t size)
{
    const int rc = advise(base, size, MADV_WIPEONFORK);

    return rc == 0 && !iora__sys_heeds_advice(base, size) ? -EINVAL : rc;
}

size_t
iora__sys_touched_at_end(const void *base, size_t size)
{
    const size_t page = iora__sys_page_size();
    size_t touched = 0;
    unsigned char resident;

    while (touched < size && mincore((char *)base + size - touched - page, page, &resident) == 0 &&
           (resident & 1) != 0)
        touched += page;
    return touched;
}

/* The first number in a file of /proc, or -1. */
static long
read_number(const char *path)
{
    char text[32];
    long number = -1;
    FILE *const file = fopen(path, "re");

    if (file == NULL)
        return -1;
    if (fgets(text, sizeof text, file) != NULL)
        number = strtol(text, NULL, 10);
    (void)fclose(file);
    return number;
}

void
iora__sys_describe_memory_limit(char *text, size_t size)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        (void)snprintf(text, size, "the limit of address space (RLIMIT_AS, ulimit -v) is %llu KiB",
                       (unsigned long long)limit.rlim_cur / 1024);
    else if (read_number("/proc/sys/vm/overcommit_memory") == 2)
        (void)snprintf(text, size, "vm.overcommit_memory is 2, which counts address space as memory");
    else
        (void)snprintf(text, size, "the kernel refused it (out of memory, or vm.max_map_count)");
}

int64_t
iora__sys_clock_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int
iora__sys_pid(void)
{
    return (int)getpid();
}

size_t
iora__sys_page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

int
iora__sys_sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    SEAM(IORA__CALL_SIGACTION);
    return result(sigaction(number, action, old));
}

void
iora__sys_block_signals(sigset_t *before)
{
    sigset_t all;

    (void)iora__seam_call(IORA__CALL_SIGMASK);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, before);
}

void
iora__sys_restore_signals(const sigset_t *before)
{
    (void)iora__seam_call(IORA__CALL_SIGMASK);
    (void)pthread_sigmask(SIG_SETMASK, before, NULL);
}

void
iora__sys_raise(int number)
{
    (void)raise(number);
}

int
iora__sys_at_fork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void))
{
    SEAM(IORA__CALL_ATFORK);
    return -pthread_atfork(before, in_parent, in_child);
}

void
iora__sys_give_way(void)
{
    (void)sched_yield();
}
