/* sys/seam.h -- where tests make things fail.
 *
 * Every system call of the library passes through sys/sys.c and every allocation through
 * sys/alloc.c, and both ask the seam first. In the library as shipped the question is a constant
 * and costs nothing; in the build the tests link (-DIORA_SEAMS) it counts, and fails the nth.
 *
 *   index    calls are numbered from 1 in the order they are made, system calls and allocations
 *            apart
 *   armed    a number that shall fail, and with what; `persistent` fails all from there on
 *   stingy   the kernel gives and takes few bytes at a time, and refuses every so many calls for bytes
 *            with EAGAIN: nothing is wrong, and nothing may go wrong
 *   deaf     the kernel says that it has taken each advice (madvise), and has not
 *   moment   a point where a driver may want to count or to interfere: to cancel the task that makes
 *            its nth suspending call, to end a run that polls without getting anywhere
 *   step     a point of a simulated run at which it could have gone another way: what was drawn, where the
 *            clock jumped, what an operation came to. Two runs of one seed have the same steps.
 */
#ifndef IORA_SYS_SEAM_H
#define IORA_SYS_SEAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum iora__call {
    IORA__CALL_EPOLL_CREATE,
    IORA__CALL_EPOLL_CTL,
    IORA__CALL_EPOLL_WAIT,
    IORA__CALL_POLL,
    IORA__CALL_EVENTFD,
    IORA__CALL_READ,
    IORA__CALL_WRITE,
    IORA__CALL_CLOSE,
    IORA__CALL_MMAP,
    IORA__CALL_MUNMAP,
    IORA__CALL_MADVISE,
    IORA__CALL_MPROTECT,
    IORA__CALL_SOCKET,
    IORA__CALL_ACCEPT,
    IORA__CALL_CONNECT,
    IORA__CALL_BIND,
    IORA__CALL_LISTEN,
    IORA__CALL_SHUTDOWN,
    IORA__CALL_GETNAME,
    IORA__CALL_SOCKOPT,
    IORA__CALL_RECV,
    IORA__CALL_SEND,
    IORA__CALL_PREADV2,
    IORA__CALL_READ_FILE,
    IORA__CALL_WRITE_FILE,
    IORA__CALL_STAT,
    IORA__CALL_FCHMOD,
    IORA__CALL_UNLINK,
    IORA__CALL_LOCK_FILE,
    IORA__CALL_THREAD,
    IORA__CALL_FUTEX_WAIT,
    IORA__CALL_FUTEX_WAKE,
    IORA__CALL_GETADDRINFO,
    IORA__CALL_INTERFACE,
    IORA__CALL_SIGACTION,
    IORA__CALL_SIGMASK,
    IORA__CALL_ATFORK,
    IORA__CALL_COUNT
};

enum iora__moment {
    IORA__MOMENT_TURN,  /* a turn of a loop begins; there is no task */
    IORA__MOMENT_ENTER, /* the task makes a call that may suspend, and has not looked at its scope */
    IORA__MOMENT_WAIT   /* the task is about to give the processor away */
};

enum iora__step {
    IORA__STEP_ORDER,   /* drawn: which ready thing is next */
    IORA__STEP_SIM,     /* drawn: a latency, a part of what is sent, the room between two ends */
    IORA__STEP_CLOCK,   /* the simulated clock jumps to this instant */
    IORA__STEP_RESULT,  /* an operation's result */
    IORA__STEPS
};

struct iora__task;

#ifdef IORA_SEAMS

struct iora__seam_counts {
    long calls;         /* system calls made so far */
    long allocations;   /* allocations asked for so far */
    long alive;         /* allocations not yet freed */
    long failures;      /* how often the seam failed something */
    enum iora__call last_call; /* which call the latest failure hit */
};

/* Fail system call number `index` (0: none) with each call's errno number `variant` (wrapping
 * round); the counting starts anew. */
void iora__seam_arm_call(long index, int variant, bool persistent);
/* The same, and of the calls after it fail the next `more` of its kind, in the same way. */
void iora__seam_arm_calls(long index, int variant, long more);
/* The same for allocations, which can only fail for want of memory. */
void iora__seam_arm_allocation(long index, bool persistent);
/* Let everything succeed again, and report what was counted. */
struct iora__seam_counts iora__seam_disarm(void);
/* What was counted so far. */
struct iora__seam_counts iora__seam_read(void);
/* How many errnos the call can be made to fail with, which they are, and the call's name. */
int iora__seam_variants(enum iora__call call);
int iora__seam_errno(enum iora__call call, int variant);
const char *iora__seam_name(enum iora__call call);

/* From now on no call receives or sends more than `most` bytes (0: as many as there are), and each
 * `refused`th is refused (0: none). */
void iora__seam_be_stingy(size_t most, unsigned refused);

/* From now on no advice on memory has any effect. */
void iora__seam_be_deaf(void);

/* Have fn told of every moment (NULL: nobody), on whatever stack it comes. */
typedef void iora__moment_fn(enum iora__moment moment, struct iora__task *task);
void iora__seam_watch(iora__moment_fn *fn);

/* Have fn told of every step (NULL: nobody). */
typedef void iora__step_fn(enum iora__step step, uint64_t value);
void iora__seam_trace(iora__step_fn *fn);

/* For sys/: 0 to go on, or the -errno to fail with. */
int iora__seam_call(enum iora__call call);
/* For backend/: how many of so many bytes to ask for; whether to take the call for refused, though the kernel
 * would have done it (and will tell of no change). */
size_t iora__seam_bytes(size_t size);
bool iora__seam_refuses(void);
/* For sys/: whether to take advice as taken. */
bool iora__seam_is_deaf(void);
/* For alloc: whether this one fails; and the balance of what is alive. */
bool iora__seam_allocation_fails(void);
void iora__seam_allocated(long difference);
/* For core/ and task/: a moment has come. */
void iora__seam_moment(enum iora__moment moment, struct iora__task *task);
/* For core/ and backend/sim/: a step was taken. */
void iora__seam_step(enum iora__step step, uint64_t value);

#else

static inline int
iora__seam_call(enum iora__call call)
{
    (void)call;
    return 0;
}

static inline size_t
iora__seam_bytes(size_t size)
{
    return size;
}

static inline bool
iora__seam_refuses(void)
{
    return false;
}

static inline bool
iora__seam_is_deaf(void)
{
    return false;
}

static inline bool
iora__seam_allocation_fails(void)
{
    return false;
}

static inline void
iora__seam_allocated(long difference)
{
    (void)difference;
}

static inline void
iora__seam_moment(enum iora__moment moment, struct iora__task *task)
{
    (void)moment;
    (void)task;
}

static inline void
iora__seam_step(enum iora__step step, uint64_t value)
{
    (void)step;
    (void)value;
}

#endif
#endif
