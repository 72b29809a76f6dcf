/* iora/scope.h -- deadlines, and cleanup that a cancel does not reach.
 *
 * A *scope* is a part of a task's execution that can be cancelled as a whole: a deadline is a scope,
 * so is a group (iora/group.h), and the task itself is the outermost one. Scopes nest. A cancelled
 * scope stays cancelled: each suspending call within it returns -ECANCELED. The first of them does so
 * at once; later ones let others run first; a task that ignores a thousand is reported to the log hook
 * and slowed down to one call per millisecond.
 *
 * A deadline is not a variant of every call but a scope round any call, in three forms:
 *
 *     rc = iora_wait_for(fetch(url, &data), iora_s(5));            an expression
 *
 *     IORA_TIMEOUT(rc, iora_s(5)) {                                a block
 *         rc = fetch(url, &data);
 *     }
 *
 *     iora_scope s;                                                begin and end
 *     iora_timeout_begin(&s, iora_s(5));
 *     rc = fetch(url, &data);
 *     rc = iora_timeout_end(&s, rc);
 *
 * The end turns -ECANCELED into -ETIMEDOUT if, and only if, this scope's own deadline passed and no
 * scope outside of it is cancelled. Every other code passes as it is.
 *
 * In the block form, `break` and `continue` leave the block, not a loop round it; `goto` out of it ends
 * the scope; `return rc` ends the scope too, but returns its value as it was, unmapped. Never jump into
 * a block.
 *
 * Cleanup that must suspend runs in a *cleanup scope*: cancels and deadlines from outside do not reach
 * into it. It cannot be opened without a deadline of its own, so that no task refuses to end for longer
 * than it says; IORA_FOREVER says that its owner waits for as long as the cleanup takes.
 *
 *     rc = iora_cleanup(send_goodbye(peer), iora_ms(200));
 *
 * Outside of a task a scope does nothing, and its end passes the code on.
 *
 * Example    examples/07_timeout.c
 */
#ifndef IORA_SCOPE_H
#define IORA_SCOPE_H

#include <iora/base.h>

IORA_BEGIN

/** A scope, in the frame of the function that opens it; it must end in the task that began it. */
typedef struct iora_scope {
    struct iora_scope *_parent;
    struct iora__task *_task;
    struct iora__timer _timer;
    uint32_t _deliveries;
    bool _cancelled;
    bool _fired;
    bool _shield;
    bool _is_group;
} iora_scope;

/** Open a scope that is cancelled once d has passed: at once if d <= 0, never by IORA_FOREVER. Does not
 *  suspend, cannot fail. */
IORA_API void iora_timeout_begin(iora_scope *scope, iora_duration d);

/** The same with an instant of the loop's clock. */
IORA_API void iora_timeout_begin_at(iora_scope *scope, iora_instant when);

/** Close the scope, and those opened in it that were left open, and return rc, mapped as said above.
 *  Ending a scope twice does nothing more. */
IORA_API int iora_timeout_end(iora_scope *scope, int rc);

/** Move the scope's deadline to d from now. Once it has passed, it stays so. */
IORA_API void iora_timeout_reset(iora_scope *scope, iora_duration d);

/** Whether the scope's own deadline has passed. Also after its end. */
static inline bool
iora_timed_out(const iora_scope *scope)
{
    return scope->_fired;
}

/** Open a cleanup scope; iora_timeout_end() closes it. */
IORA_API void iora_cleanup_begin(iora_scope *scope, iora_duration d);

/** Cancel a scope by hand: as its deadline would, but its end returns -ECANCELED as it is, unless the
 *  deadline passes too before the end. From any task or callback of the loop. */
IORA_API void iora_scope_cancel(iora_scope *scope);

/** Whether the current task would be refused by the next suspending call: for long computations that
 *  want to stop early. Looks at the clock too: a deadline that has passed, of the task's own or of one that
 *  owns and awaits it, counts from then on, though the loop has not turned since. (The simulated clock
 *  stands still in a computation.) Does not count as a delivery. False outside of a task. */
IORA_API bool iora_is_cancelled(void);

/* Names that nested uses in one function do not share. */
#define IORA__SCOPE_NAME(line) IORA__SCOPE_NAME_(line)
#define IORA__SCOPE_NAME_(line) iora_scope_##line

#define IORA__IN_SCOPE(name, begin, call, d)                                                       \
    __extension__({                                                                                \
        iora_scope name;                                                                           \
        begin(&name, (d));                                                                         \
        iora_timeout_end(&name, (call));                                                           \
    })

/** int iora_wait_for(call, d): evaluate the call in the current task, for at most d. */
#define iora_wait_for(call, d)                                                                     \
    IORA__IN_SCOPE(IORA__SCOPE_NAME(__LINE__), iora_timeout_begin, call, d)

/** int iora_cleanup(call, d): evaluate the call out of reach of cancels, for at most d. */
#define iora_cleanup(call, d)                                                                      \
    IORA__IN_SCOPE(IORA__SCOPE_NAME(__LINE__), iora_cleanup_begin, call, d)

struct iora__scope_block {
    iora_scope _scope;
    int *_rc;
    bool _entered;
};

IORA_API void iora__scope_block_leave(struct iora__scope_block *block);

#define IORA__SCOPE_BLOCK(name, begin, rc, d)                                                      \
    for (struct iora__scope_block name __attribute__((cleanup(iora__scope_block_leave))) =         \
             {{NULL, NULL, {{NULL, NULL}, 0, NULL}, 0, false, false, false, false},                \
              &(rc),                                                                               \
              false};                                                                              \
         !name._entered && (begin(&name._scope, (d)), name._entered = true);)

/** IORA_TIMEOUT(rc, d) { ... }: a block for at most d; rc is mapped where the block ends. */
#define IORA_TIMEOUT(rc, d)                                                                        \
    IORA__SCOPE_BLOCK(IORA__SCOPE_NAME(__LINE__), iora_timeout_begin, rc, d)

/** IORA_CLEANUP(rc, d) { ... }: a block out of reach of cancels, for at most d. */
#define IORA_CLEANUP(rc, d)                                                                        \
    IORA__SCOPE_BLOCK(IORA__SCOPE_NAME(__LINE__), iora_cleanup_begin, rc, d)

IORA_END

#endif
