/* iora/group.h -- a group of tasks that ends as one.
 *
 *     int rc = 0;
 *     IORA_GROUP(rc, group) {
 *         iora_group_go(&group, serve, a);
 *         iora_group_go(&group, serve, b);
 *     }                                       here both have ended; rc is 0 or the first error
 *
 * A group owns what iora_group_go() starts and does not close before all of it has ended.
 *
 * Policies   IORA_GROUP_FAIL_FAST (0, the default): the first member that fails cancels the others and
 *            the block, and its code is what the group's end returns.
 *            IORA_GROUP_ISOLATE: a member's failure goes to the loop's error hook and the others go on;
 *            members are collected as they end, so that a server keeps nothing of past clients.
 *            IORA_GROUP_KEEP with it: members are kept until iora_group_next() takes them or the group
 *            ends; what next took is not told the error hook.
 *
 * All errors are kept: after the end, iora_error_last() has the first, and its `next` the others.
 *
 * A group is a scope as well (iora/scope.h). The way out of a block is the same as there: break, goto
 * and return all wait until the members, cancelled, have ended. (`continue` goes to the block's end.)
 *
 * Example    examples/04_errors.c
 */
#ifndef IORA_GROUP_H
#define IORA_GROUP_H

#include <iora/scope.h>
#include <iora/task.h>

IORA_BEGIN

enum iora_group_flags { IORA_GROUP_FAIL_FAST = 0, IORA_GROUP_ISOLATE = 1, IORA_GROUP_KEEP = 2 };

/** A group, in the frame of the function that opens it. */
typedef struct iora_group {
    iora_scope _scope;
    struct iora__owner {
        struct iora__link _members;
        uint32_t _live;
        uint8_t _kind;
        uint8_t _flags;
        uint8_t _state;
        bool _stopped;
    } _owner;
    struct iora__link _ended;
    struct iora__waitq _waiters;
    iora_error *_errors;
    iora_error *_last_error;
    struct iora__task *_task;
    int *_rc_out;
    int _rc;
    bool _finished; /* the block came to its end */
} iora_group;

/** Open a group in the current task. Returns 0; IORA_E_NO_TASK, IORA_E_NO_LOOP (the group is closed then,
 *  and everything asked of it says so). Does not suspend. */
IORA_API int iora_group_begin(iora_group *group, unsigned flags);

/** iora_task iora_group_go(group, f, args...): start a member. For a group that is closed, or whose
 *  members were cancelled, the handle is null and answers IORA_E_CLOSED. May be called by members too. */
#define iora_group_go(group, ...) IORA__START(IORA__GO_GROUP, (group), 0, __VA_ARGS__)

/**
 * Wait until all members have ended, and close the group. If rc, the block's own result, is an error the
 * members are cancelled first.
 *
 * Returns   if a scope outside the group was cancelled, the block's own error or else -ECANCELED; otherwise
 *           the first error of block and members (-ECANCELED of a scope inside the block is one);
 *           else 0, also after iora_group_cancel().
 * Suspends  while members run. Always completes: a cancel cancels the members.
 */
IORA_API int iora_group_end(iora_group *group, int rc);

/**
 * Wait for the next member to end, in the order they end (asyncio's as_completed).
 *
 * Writes the member to *task (collected by this, so good for comparing) and its result to *code; either
 * may be NULL. Returns 0; -ENOENT when no member is left; IORA_E_CLOSED; -EINVAL for an isolating group
 * without IORA_GROUP_KEEP; -ECANCELED, with nothing taken.
 * Suspends  while no member has ended.
 */
IORA_API int iora_group_next(iora_group *group, iora_task *task, int *code);

/** Cancel the members and the block. Does not wait. */
IORA_API void iora_group_cancel(iora_group *group);

/** How many members have not ended. */
static inline size_t
iora_group_live(const iora_group *group)
{
    return group->_owner._live;
}

struct iora__group_block {
    int *_rc;
    bool _entered;
};

IORA_API void iora__group_leave(iora_group *group);

#define IORA__GROUP_NAME(line) IORA__GROUP_NAME_(line)
#define IORA__GROUP_NAME_(line) iora_group_block_##line
#define IORA__GROUP(block, rc, group, flags)                                                       \
    for (struct iora__group_block block = {&(rc), false}; !block._entered;)                        \
        for (iora_group group __attribute__((cleanup(iora__group_leave)));                         \
             !block._entered &&                                                                    \
             (block._entered = true, iora__group_open(&group, (flags), block._rc));                \
             group._finished = true)

IORA_API bool iora__group_open(iora_group *group, unsigned flags, int *rc);

/** IORA_GROUP(rc, name) { ... }: a fail-fast group for a block; IORA_GROUP_OF(rc, name, flags) for any. */
#define IORA_GROUP(rc, group) IORA_GROUP_OF(rc, group, IORA_GROUP_FAIL_FAST)
#define IORA_GROUP_OF(rc, group, flags)                                                            \
    IORA__GROUP(IORA__GROUP_NAME(__LINE__), rc, group, flags)

IORA_END

#endif
