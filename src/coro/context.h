/* coro/context.h -- a place in the execution of a stack, and going from one to another.
 *
 * A *context* is what the machine needs to go on where a function left off. Switching saves the caller's
 * registers in one context and continues another, which returns from its own call of switch with its own
 * `result`, an int that whoever made it continue has left there.
 *
 * The switch is reached by a tail call and leaves by a jump. What a switch costs is not the registers but
 * each return that the processor predicts wrongly on the way back, 7 ns: so no function between the user's
 * call and the switch may need to return. Measured while designing: 2.7 ns this way, 10 with push, pop and
 * ret, if the two sides call from different places.
 *
 * Floating-point control words are not saved: they are the thread's, as errno is.
 *
 * One file per machine implements this: switch_x86_64.S, switch_aarch64.S, and coro.c with ucontext
 * for the rest. Sanitizers need to be told of every switch, before and after; their builds take a second path that
 * is a call (coro.c), and so does ucontext.
 */
#ifndef IORA_CORO_CONTEXT_H
#define IORA_CORO_CONTEXT_H

#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_ADDRESS__)
#define IORA__ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IORA__ASAN 1
#endif
#endif
#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
#define IORA__MSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define IORA__TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define IORA__TSAN 1
#endif
#endif

/* Whether a switch must be a call with something to do on both sides of it. */
#if defined(IORA__ASAN) || defined(IORA__MSAN) || defined(IORA__TSAN) || defined(IORA_UCONTEXT)
#define IORA__SWITCH_IS_CALL 1
#else
#define IORA__SWITCH_IS_CALL 0
#endif

struct iora__context {
    void *ip; /* where to go on; with ucontext unused */
    void *sp; /* NULL: no stack yet */
    void *bp;
    int32_t result;
};

struct iora__coro {
    struct iora__context context;
#if IORA__SWITCH_IS_CALL
    void *fake_stack; /* ASan's */
    void *fiber;      /* TSan's */
    const void *stack_base;
    size_t stack_size;
#endif
};


/* Whether the coro has been made and not unmade. */
static inline int
iora__coro_has_stack(const struct iora__coro *coro)
{
    return coro->context.sp != NULL;
}

/* It will be gone on with soon: have what it was suspended in come nearer. */
static inline void
iora__coro_prefetch(const struct iora__coro *coro)
{
    const char *const sp = coro->context.sp;

    __builtin_prefetch(sp);
    __builtin_prefetch(sp + 64);
    __builtin_prefetch(sp + 128);
    __builtin_prefetch(sp + 192);
}

#if !defined(IORA_UCONTEXT)
int iora__context_switch(struct iora__context *from, struct iora__context *to);
void iora__context_leave(struct iora__context *to) __attribute__((noreturn));
void iora__context_entry(void);

/* How far below the top of a new stack its context's sp lies: what resuming adds back, or pops. */
#if defined(__x86_64__)
enum { IORA__CONTEXT_FRAME = 8 };
#else
enum { IORA__CONTEXT_FRAME = 144 };
#endif

static inline void
iora__context_make(struct iora__context *context, char *base, size_t size,
                   void (*fn)(struct iora__coro *))
{
    context->ip = (void *)(uintptr_t)iora__context_entry;
    context->sp = base + size - IORA__CONTEXT_FRAME;
    context->bp = (void *)(uintptr_t)fn;
}
#endif

#if IORA__SWITCH_IS_CALL

/* Make a context that begins fn(coro) at the top of a stack. fn never returns. */
void iora__coro_make(struct iora__coro *coro, char *base, size_t size,
                     void (*fn)(struct iora__coro *));
/* Forget a coro that has ended, from another one. */
void iora__coro_unmake(struct iora__coro *coro);

/* What a thread's own stack needs before it switches for the first time, and after the last. */
void iora__coro_adopt_thread(struct iora__coro *coro);
/* Go on with `to`; returns from->context.result when somebody goes on with `from`. */
int iora__coro_switch(struct iora__coro *from, struct iora__coro *to);
/* Go on with `to`, never to come back. */
void iora__coro_leave(struct iora__coro *from, struct iora__coro *to) __attribute__((noreturn));
/* The first thing that fn does. */
void iora__coro_begun(struct iora__coro *coro);

#else

/* Here the stack's memory is not touched, and a coro may be unmade as its own last act. */
static inline void
iora__coro_make(struct iora__coro *coro, char *base, size_t size, void (*fn)(struct iora__coro *))
{
    iora__context_make(&coro->context, base, size, fn);
}

static inline void
iora__coro_unmake(struct iora__coro *coro)
{
    coro->context.sp = NULL;
}

static inline void
iora__coro_adopt_thread(struct iora__coro *coro)
{
    (void)coro;
}

static inline int
iora__coro_switch(struct iora__coro *from, struct iora__coro *to)
{
    return iora__context_switch(&from->context, &to->context);
}

__attribute__((noreturn)) static inline void
iora__coro_leave(struct iora__coro *from, struct iora__coro *to)
{
    (void)from;
    iora__context_leave(&to->context);
}

static inline void
iora__coro_begun(struct iora__coro *coro)
{
    (void)coro;
}

#endif
#endif
