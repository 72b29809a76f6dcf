/* iora/base.h -- what every other header stands on: version, errors, durations.
 *
 * One error idiom everywhere: a function returns 0 or a count, or a negative code. A code is either
 * `-errno` as the kernel knows it, or one of the IORA_E_* below, which lie outside errno's range so
 * that the two never meet. Results leave by out-parameters, which are written once, on success.
 *
 * A duration is a type and not a number, so that nobody has to guess its unit: iora_s(1.5),
 * iora_ms(20). A point in time (iora_instant) is another type. Both count nanoseconds of the
 * loop's monotonic clock.
 *
 * Example      examples/01_hello.c
 */
#ifndef IORA_BASE_H
#define IORA_BASE_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IORA_VERSION_MAJOR 0
#define IORA_VERSION_MINOR 1
#define IORA_VERSION_PATCH 0
#define IORA_VERSION "0.1.0"

#ifdef __cplusplus
#define IORA_BEGIN extern "C" {
#define IORA_END }
#define IORA__CONSTEXPR constexpr
#else
#define IORA_BEGIN
#define IORA_END
#define IORA__CONSTEXPR
#endif

/* IORA_API: part of the library's interface.  IORA_MUST_USE: what it returns is data, a permit,
 * ownership or a task, and dropping it unread is a bug the compiler should name. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__)
#define IORA_API __attribute__((visibility("default"), noplt)) /* a call without the jump through the PLT */
#else
#define IORA_API __attribute__((visibility("default")))
#endif
#define IORA_MUST_USE __attribute__((warn_unused_result))

IORA_BEGIN

/** The version of the library that is linked, as "MAJOR.MINOR.PATCH". Any thread; static text. */
IORA_API const char *iora_version(void);

/* ---- errors -------------------------------------------------------------------------------- */

/* Codes that have no errno. All of them lie below -4095, the lowest value a kernel error can take. */
enum iora_error_code {
    IORA_E_NO_LOOP = -4101,       /* no loop is running in this thread */
    IORA_E_NO_TASK = -4102,       /* the call can suspend, and no task is running to be suspended */
    IORA_E_TASK_CANCELED = -4103, /* the task that was awaited had been cancelled by somebody else */
    IORA_E_CLOSED = -4104,        /* the object was closed, before the call or under it */
    IORA_E_SHUTDOWN = -4105,      /* the queue was shut down and has nothing (more) for the caller */
    IORA_E_BROKEN = -4106,        /* the barrier was broken while or before the caller waited */
    IORA_E_FORKED = -4107,        /* the loop belongs to the parent process of this one */
    IORA_E_WRONG_THREAD = -4108,  /* the loop or object belongs to another thread */
    IORA_E_STACK_LIMIT = -4109,   /* no further stack can be guarded on this kernel; the log says why */
    IORA_E_LIMIT = -4110,         /* what was to be read is longer than its limit; it is still there */
    IORA_E_INCOMPLETE = -4111,    /* the stream ended before all of it had come; that much is still there */
    IORA_E_TORN = -4112,          /* a write was cancelled half-way: the stream takes no more */
    IORA_E_NAME = -4113,          /* there is no such host, or none with such an address */
    IORA_E_NAME_AGAIN = -4114     /* the look-up of a host failed for now: the servers did not answer */
};

/** The code's name, "EAGAIN" or "IORA_E_CLOSED"; "OK" for values >= 0, "UNKNOWN" for no code of
 *  ours or errno's. Static text. Any thread. */
IORA_API const char *iora_err_name(int code);

/** A sentence without a full stop that says what the code means. Static text. Any thread. */
IORA_API const char *iora_strerror(int code);

/* ---- durations and instants ---------------------------------------------------------------- */

/** A span of time. Negative means "already due"; IORA_FOREVER is never due. */
typedef struct iora_duration {
    int64_t _ns;
} iora_duration;

/** A point on the loop's monotonic clock. Instants of different loops do not compare. */
typedef struct iora_instant {
    int64_t _ns;
} iora_instant;

/* A count of seconds (or milliseconds, ...) as nanoseconds: NaN is 0, overflow saturates. */
#define IORA__NS(x, unit)                                                                          \
    ((x) != (x) ? 0                                                                                \
     : (double)(x) * (unit) >= 9223372036854775807.0  ? INT64_MAX                                  \
     : (double)(x) * (unit) <= -9223372036854775808.0 ? INT64_MIN                                  \
                                                      : (int64_t)((double)(x) * (unit)))

/* Initialisers for objects of static duration, where a function call is no constant:
 *     static const iora_duration patience = IORA_S(1.5);                                        */
/* clang-format off */
#define IORA_S(x)  { IORA__NS(x, 1e9) }
#define IORA_MS(x) { IORA__NS(x, 1e6) }
#define IORA_US(x) { IORA__NS(x, 1e3) }
#define IORA_NS(x) { (x) }
/* clang-format on */

#ifdef __cplusplus
#define IORA__DURATION(ns) iora_duration{ns}
#else
#define IORA__DURATION(ns) ((iora_duration){ns})
#endif

static inline IORA__CONSTEXPR iora_duration
iora__duration(double x, double unit)
{
    return IORA__DURATION(IORA__NS(x, unit));
}

/** Seconds, milliseconds, microseconds (fractions welcome) and nanoseconds as a duration. */
static inline IORA__CONSTEXPR iora_duration
iora_s(double s)
{
    return iora__duration(s, 1e9);
}

static inline IORA__CONSTEXPR iora_duration
iora_ms(double ms)
{
    return iora__duration(ms, 1e6);
}

static inline IORA__CONSTEXPR iora_duration
iora_us(double us)
{
    return iora__duration(us, 1e3);
}

static inline IORA__CONSTEXPR iora_duration
iora_ns(int64_t ns)
{
    return IORA__DURATION(ns);
}

/** No deadline at all. */
#define IORA_FOREVER (iora_ns(INT64_MAX))

/** The duration in seconds. */
static inline IORA__CONSTEXPR double
iora_to_s(iora_duration d)
{
    return (double)d._ns / 1e9;
}

/** The duration in nanoseconds. */
static inline IORA__CONSTEXPR int64_t
iora_to_ns(iora_duration d)
{
    return d._ns;
}

/** Below, at or above 0 as a is shorter than, equal to or longer than b. */
static inline IORA__CONSTEXPR int
iora_duration_cmp(iora_duration a, iora_duration b)
{
    return (a._ns > b._ns) - (a._ns < b._ns);
}

/* a + b, staying at the end of the range that it would leave. */
static inline IORA__CONSTEXPR int64_t
iora__add_saturating(int64_t a, int64_t b)
{
    return b > 0 && a > INT64_MAX - b   ? INT64_MAX
           : b < 0 && a < INT64_MIN - b ? INT64_MIN
                                        : a + b;
}

/** a + b. Saturates; forever and anything is forever. */
static inline IORA__CONSTEXPR iora_duration
iora_duration_add(iora_duration a, iora_duration b)
{
    return IORA__DURATION(a._ns == INT64_MAX || b._ns == INT64_MAX
                              ? INT64_MAX
                              : iora__add_saturating(a._ns, b._ns));
}

/** The instant that lies d after t (before it, for a negative d). Saturates. */
static inline iora_instant
iora_after(iora_instant t, iora_duration d)
{
    iora_instant later;

    later._ns = d._ns == INT64_MAX ? INT64_MAX : iora__add_saturating(t._ns, d._ns);
    return later;
}

/** How long it is from `from` to `to`; negative if `to` lies before `from`. Saturates. */
static inline iora_duration
iora_between(iora_instant from, iora_instant to)
{
    int64_t ns;

    if (__builtin_sub_overflow(to._ns, from._ns, &ns))
        ns = to._ns > from._ns ? INT64_MAX : INT64_MIN;
    return iora_ns(ns);
}

/* ---- what objects that users embed are made of ---------------------------------------------- */
/* Fields that begin with `_` belong to the library. The structs are here so that they have a size:
 * a lock is a member of your struct, and waiting for it allocates nothing.                      */

struct iora__task;
struct iora__waiter;

/* A place in a doubly linked ring. All zero: not in a ring. */
struct iora__link {
    struct iora__link *_next;
    struct iora__link *_prev;
};

/* Something the loop can run from its ready queue. */
struct iora__ready {
    struct iora__link _link;
    void (*_run)(struct iora__ready *);
};

/* Something the loop calls at an instant. */
struct iora__timer {
    struct iora__link _link;
    int64_t _deadline_ns;
    void (*_fire)(struct iora__timer *);
};

/* Something the backend does or waits for (src/backend/backend.h). */
struct iora__op {
    struct iora__link _link;
    void (*_done)(struct iora__op *);
    int32_t _fd;
    int32_t _res;
    uint8_t _kind;
    uint8_t _state;
    uint8_t _flags;
    uint8_t _events;
    uint32_t _detail; /* flags of a call, or the length of an address */
    void *_base;      /* bytes, a message, an address */
    size_t _size;     /* of the bytes */
    void *(*_take)(struct iora__op *, size_t *size);
};

/* A queue of waiting tasks, first in first out. All zero: empty. */
struct iora__waitq {
    struct iora__waiter *_first;
    struct iora__waiter *_last;
};

IORA_END

#endif
