/* sys/sys.h -- one thin wrapper per system call: the only file that reads errno.
 *
 * Each returns what the call returns, or -errno. Descriptors are made close-on-exec. EINTR is handed
 * to the caller where he may want to act on it (waiting), and is retried nowhere in secret.
 */
#ifndef IORA_SYS_SYS_H
#define IORA_SYS_SYS_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

int iora__sys_epoll_create(void);
int iora__sys_epoll_ctl(int epoll, int operation, int fd, uint32_t events, uint64_t data);
/* Wait for timeout_ns at most (negative: for ever). Where the kernel has no epoll_pwait2 (before
 * 5.11, or a sandbox refuses it) the timeout is rounded up to milliseconds. */
int iora__sys_epoll_wait(int epoll, struct epoll_event *events, int max, int64_t timeout_ns);
/* Wait until fd is readable, for timeout_ns at most (negative: for ever). 1 if it is, 0 if not, -errno. */
int iora__sys_wait_readable(int fd, int64_t timeout_ns);

/* A non-blocking event counter; its signal and drain. Signalling is async-signal-safe. */
int iora__sys_eventfd(void);
int iora__sys_eventfd_signal(int fd);
int iora__sys_eventfd_drain(int fd);
void iora__sys_close(int fd);

/* Sockets. What these make is non-blocking; sending raises no SIGPIPE. */
int iora__sys_socket(int family, int type);
int iora__sys_socketpair(int type, int out[2]);
int iora__sys_accept(int fd, struct sockaddr *address, socklen_t *length);
int iora__sys_connect(int fd, const struct sockaddr *address, socklen_t length);
int iora__sys_bind(int fd, const struct sockaddr *address, socklen_t length);
int iora__sys_listen(int fd, int backlog);
int iora__sys_shutdown(int fd, int how);
int iora__sys_getsockname(int fd, struct sockaddr *address, socklen_t *length);
int iora__sys_getpeername(int fd, struct sockaddr *address, socklen_t *length);
int iora__sys_setsockopt(int fd, int level, int option, const void *value, socklen_t length);
int iora__sys_getsockopt(int fd, int level, int option, void *value, socklen_t *length);
int iora__sys_set_nonblocking(int fd, bool on);
bool iora__sys_is_nonblocking(int fd);

/* Bytes, without waiting for them, whatever the descriptor's flags. */
int iora__sys_recv(int fd, void *data, size_t size, int flags);
int iora__sys_send(int fd, const void *data, size_t size, int flags);
int iora__sys_recvmsg(int fd, struct msghdr *message, int flags);
int iora__sys_sendmsg(int fd, const struct msghdr *message, int flags);
/* The same for what is no socket; -EOPNOTSUPP where the kernel cannot promise not to wait. */
int iora__sys_read_nowait(int fd, void *data, size_t size);
int iora__sys_write_nowait(int fd, const void *data, size_t size);
/* These wait, unless the descriptor is non-blocking or known to be ready. */
int iora__sys_read(int fd, void *data, size_t size);
int iora__sys_write(int fd, const void *data, size_t size);

/* Names in the file system, for Unix sockets. */
int iora__sys_fstat(int fd, struct stat *out);
int iora__sys_lstat(const char *path, struct stat *out);
int iora__sys_fchmod(int fd, unsigned mode);
int iora__sys_unlink(const char *path);
/* Open (making it, mode 0600) a file for nothing but its lock, and lock it without waiting. */
int iora__sys_lock_file(const char *path);

/* Whether the number is a descriptor's at all. */
bool iora__sys_is_open(int fd);

/* Address space without backing store, readable and writable. */
int iora__sys_reserve(size_t size, void **out);
void iora__sys_unmap(void *base, size_t size);
/* No huge pages here: each would cost 2 MiB for a stack that needs one page. */
int iora__sys_no_huge_pages(void *base, size_t size);
/* Make a range fault when touched: cheap guards (Linux 6.13), and the kind that splits mappings. */
int iora__sys_guard_install(void *base, size_t size);
int iora__sys_guard_protect(void *base, size_t size);
/* Give the memory back to the kernel; the range reads as zero afterwards. */
int iora__sys_discard(void *base, size_t size);
/* Have the range zeroed in a forked child. -EINVAL where the kernel cannot, or says that it can and heeds none. */
int iora__sys_wipe_on_fork(void *base, size_t size);
/* Whether advice has an effect, or does nothing and always succeeds. qemu's user mode takes it for a hint that may
 * be ignored (linux-user/mmap.c, as of 7.2), also that which must not be. The range is only named. */
bool iora__sys_heeds_advice(void *base, size_t size);

/* How many bytes at the high end of a range have memory behind them, to the first page without. */
size_t iora__sys_touched_at_end(const void *base, size_t size);
/* Name the limit that most likely refused address space, in words. */
void iora__sys_describe_memory_limit(char *text, size_t size);

/* Nanoseconds of CLOCK_MONOTONIC. */
int64_t iora__sys_clock_ns(void);
int iora__sys_pid(void);
size_t iora__sys_page_size(void);

/* sigaction(2); `old` and `action` may be NULL. Async-signal-safe. */
int iora__sys_sigaction(int number, const struct sigaction *action, struct sigaction *old);
/* Block all signals in this thread, and set the mask again that it had before. */
void iora__sys_block_signals(sigset_t *before);
void iora__sys_restore_signals(const sigset_t *before);
/* Send this thread a signal. Async-signal-safe. */
void iora__sys_raise(int number);
/* Have functions called around each fork(2): before it, and after it in the parent and in the child. */
int iora__sys_at_fork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void));
/* Let other threads run. */
void iora__sys_give_way(void);

#endif
