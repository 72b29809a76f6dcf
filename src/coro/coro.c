/* coro/coro.c -- the switch that is a call: under sanitizers, and with ucontext (see context.h).
 *
 * On the fast path a new context is three words: the assembly's entry, a stack pointer at the top of the
 * stack, and the function in rbp's place. Not a byte of the stack is written, so a coroutine that ends may
 * give its stack away while it still stands on it: whoever takes it writes only once he runs there.
 *
 * On the other path that does not hold (makecontext writes to the stack; sanitizers remember what was
 * poisoned), so there a coroutine that ends always leaves to the thread's own stack, which unmakes it.
 */
#include "coro/context.h"

#if IORA__SWITCH_IS_CALL
#if defined(IORA__ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(IORA__TSAN)
#include <sanitizer/tsan_interface.h>
#endif
#endif

#if defined(IORA_UCONTEXT)
#include <ucontext.h>
#endif

#if IORA__SWITCH_IS_CALL

#if defined(IORA_UCONTEXT)

/* makecontext passes ints; a pointer goes as two of them. */
static void
enter(unsigned coro_high, unsigned coro_low, unsigned fn_high, unsigned fn_low)
{
    void (*const fn)(struct iora__coro *) =
        (void (*)(struct iora__coro *))(uintptr_t)((uint64_t)fn_high << 32 | fn_low);

    fn((struct iora__coro *)(uintptr_t)((uint64_t)coro_high << 32 | coro_low));
}

static ucontext_t *
align_down(char *p)
{
    return (ucontext_t *)((uintptr_t)p & ~(uintptr_t)63);
}

/* The ucontext_t lives at the top of the stack that it describes, or in the frame that is suspended. */
static void
make_ucontext(struct iora__coro *coro, char *base, size_t size, void (*fn)(struct iora__coro *))
{
    ucontext_t *const u = align_down(base + size - sizeof *u - 64);
    const uint64_t c = (uintptr_t)coro, f = (uintptr_t)fn;

    (void)getcontext(u);
    u->uc_stack.ss_sp = base;
    u->uc_stack.ss_size = (size_t)((char *)u - base);
    u->uc_link = NULL;
    makecontext(u, (void (*)(void))(uintptr_t)enter, 4, (unsigned)(c >> 32), (unsigned)c,
                (unsigned)(f >> 32), (unsigned)f);
    coro->context.sp = u;
}

static void
raw_switch(struct iora__coro *from, struct iora__coro *to)
{
    ucontext_t here;

    from->context.sp = &here;
    (void)swapcontext(&here, to->context.sp);
}

#else

static void
raw_switch(struct iora__coro *from, struct iora__coro *to)
{
    (void)iora__context_switch(&from->context, &to->context);
}

#endif

void
iora__coro_make(struct iora__coro *coro, char *base, size_t size, void (*fn)(struct iora__coro *))
{
#if defined(IORA__ASAN)
    __asan_unpoison_memory_region(base, size);
#endif
#if defined(IORA__TSAN)
    coro->fiber = __tsan_create_fiber(0);
#endif
    coro->fake_stack = NULL;
    coro->stack_base = base;
    coro->stack_size = size;
#if defined(IORA_UCONTEXT)
    make_ucontext(coro, base, size, fn);
#else
    iora__context_make(&coro->context, base, size, fn);
#endif
}

void
iora__coro_unmake(struct iora__coro *coro)
{
#if defined(IORA__TSAN)
    __tsan_destroy_fiber(coro->fiber);
    coro->fiber = NULL;
#endif
    coro->context.sp = NULL;
}

void
iora__coro_adopt_thread(struct iora__coro *coro)
{
#if defined(IORA__TSAN)
    coro->fiber = __tsan_get_current_fiber();
#endif
    coro->fake_stack = NULL;
    coro->stack_base = NULL;
    coro->stack_size = 0;
}

/* A coroutine has begun or goes on. The one it came from is the thread's own stack if that has never been
 * seen: then its bounds are learned here. */
static void
arrive(struct iora__coro *coro, struct iora__coro *from)
{
#if defined(IORA__ASAN)
    const void *base;
    size_t size;

    __sanitizer_finish_switch_fiber(coro->fake_stack, &base, &size);
    if (from != NULL && from->stack_base == NULL) {
        from->stack_base = base;
        from->stack_size = size;
    }
#else
    (void)coro;
    (void)from;
#endif
}

static void
depart(struct iora__coro *to, void **fake_stack)
{
#if defined(IORA__ASAN)
    __sanitizer_start_switch_fiber(fake_stack, to->stack_base, to->stack_size);
#else
    (void)fake_stack;
#endif
#if defined(IORA__TSAN)
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
    (void)to;
}

/* Which coro the thread is coming from, for the one that begins. In the coro itself there is no room for
 * it on every path, and a begun coro always comes straight from a switch. */
static __thread struct iora__coro *came_from __attribute__((tls_model("initial-exec")));

int
iora__coro_switch(struct iora__coro *from, struct iora__coro *to)
{
    came_from = from;
    depart(to, &from->fake_stack);
    raw_switch(from, to);
    arrive(from, came_from);
    return from->context.result;
}

void
iora__coro_leave(struct iora__coro *from, struct iora__coro *to)
{
    came_from = from;
    depart(to, NULL);
    raw_switch(from, to);
    __builtin_unreachable();
}

void
iora__coro_begun(struct iora__coro *coro)
{
    arrive(coro, came_from);
}

#endif
