/* iora/gen.h -- async generators.
 *
 * An async generator is an async function whose first parameters are pointers to what it produces, run
 * in lock step with its consumer:
 *
 *     static int counter(int *out, int from, int to)
 *     {
 *         int rc = 0;
 *         for (int i = from; i < to && rc == 0; i++)
 *             rc = iora_emit(out, i);          suspends until the consumer asks for the next
 *         return rc;
 *     }
 *     IORA_ASYNC(counter, int *, int, int);
 *
 *     int x, rc;
 *     iora_for_each(rc, counter, &x, 0, 10)
 *         printf("%d\n", x);                   a real loop: break, continue, return and goto work
 *     if (rc < 0) ...                          the generator's error
 *
 * A generator is a task of its own with its own scopes: a deadline that it opens is never the
 * consumer's. It runs only while its consumer waits for it. Leaving the loop in any way closes it: its
 * emit returns -ECANCELED, its cleanup runs, may suspend, and is waited for. The variable it writes to
 * must outlive the loop.
 *
 * Example    examples/06_generator.c
 */
#ifndef IORA_GEN_H
#define IORA_GEN_H

#include <iora/task.h>

IORA_BEGIN

/** int iora_emit(out, value): *out = value, and hand over to the consumer until he asks for more.
 *  Returns 0; -ECANCELED when the generator is being closed or its own scope is cancelled, -EINVAL in a
 *  task that is no generator, and nothing is written then. Suspends. */
#define iora_emit(out, value)                                                                      \
    __extension__({                                                                                \
        __typeof__(*(out)) _iora_value = (value);                                                  \
        int _iora_rc = iora__emit_begin();                                                         \
        if (_iora_rc == 0) {                                                                       \
            *(out) = _iora_value;                                                                  \
            _iora_rc = iora__emit_end();                                                           \
        }                                                                                          \
        _iora_rc;                                                                                  \
    })

/** The hand-over alone, for generators that have filled in several values themselves. */
IORA_API int iora_emit_ready(void);

IORA_API int iora__emit_begin(void);
IORA_API int iora__emit_end(void);

/** A generator in use, for loops that iora_for_each() does not fit. */
typedef struct iora_gen {
    iora_task _task;
} iora_gen;

/** iora_gen iora_gen_open(f, args...): make a generator, owned by the current task; it runs from the first
 *  next on. If it cannot be made, next says why: IORA_E_NO_TASK in a callback, and in what is called when a
 *  task has returned, the destructor of a task-local for one; else as iora_go(). */
#define iora_gen_open(...) iora__gen_open(IORA__SITE, IORA__MAKE(__VA_ARGS__))

/** Let it produce. Returns 1 and its variables are filled; 0 at its end; its error, and it is closed then;
 *  -EBUSY from a task that is not its owner; -ESRCH after the end. Suspends. Cancel: closes the
 *  generator, waits for its cleanup, returns -ECANCELED. */
IORA_API int iora_gen_next(iora_gen gen);

/** Close it: cancel it where it stands and wait until its cleanup has ended, cancelled or not. Returns 0,
 *  or the error with which its cleanup failed; 0 too if it was closed. Suspends. */
IORA_API int iora_gen_close(iora_gen gen);

IORA_API iora_gen iora__gen_open(const char *site, iora_task task);

struct iora__gen_loop {
    iora_gen _gen;
    int *_rc;
    bool _entered;
};

IORA_API void iora__gen_leave(struct iora__gen_loop *loop);

#define IORA__GEN_NAME(line) IORA__GEN_NAME_(line)
#define IORA__GEN_NAME_(line) iora_gen_loop_##line
#define IORA__FOR_EACH(name, rc, ...)                                                              \
    for (struct iora__gen_loop name __attribute__((cleanup(iora__gen_leave))) =                    \
             {iora_gen_open(__VA_ARGS__), &(rc), false};                                           \
         !name._entered; name._entered = true)                                                     \
        while (((rc) = iora_gen_next(name._gen)) > 0)

/** iora_for_each(rc, f, out, args...) { ... }: run the body for all that f(out, args...) emits. Afterwards rc
 *  is 0, or the generator's error. */
#define iora_for_each(rc, ...) IORA__FOR_EACH(IORA__GEN_NAME(__LINE__), rc, __VA_ARGS__)

IORA_END

#endif
