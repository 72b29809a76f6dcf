/* task/group.c -- groups of tasks.
 *
 *   OPEN --group_end--> CLOSING (members still run, and may still start others) --none left--> CLOSED
 *
 * A group is *stopped* when its members have been cancelled: by a failure (fail-fast), by the block's own
 * failure, by leaving the block before its end, by a cancel from outside while it closes, or by
 * iora_group_cancel(). Nothing is started in a stopped group.
 *
 * The group's scope is open round the block, so that a member's failure reaches the block too. -ECANCELED in a
 * block whose scope the group has cancelled is the group's doing and no error of the block's; in another it is
 * one as any other. Stopping says nothing of that: what a block's failure stops is the members alone.
 *
 * Ended members that somebody may still ask for lie in `_ended`, in the order they ended; all the others are
 * in the owner's list. Both end with the group.
 */
#include "task/task.h"

enum { GROUP_CLOSED, GROUP_OPEN, GROUP_CLOSING };

int
iora__group_check(const iora_group *group)
{
    return group->_owner._state == GROUP_CLOSED || group->_owner._stopped ? IORA_E_CLOSED : 0;
}

static bool
keeps_ended(const iora_group *group)
{
    return !(group->_owner._flags & IORA_GROUP_ISOLATE) || (group->_owner._flags & IORA_GROUP_KEEP);
}

int
iora_group_begin(iora_group *group, unsigned flags)
{
    struct iora__task *const task = iora__self();

    iora__owner_init(&group->_owner, IORA__OWNER_GROUP);
    iora__list_init(&group->_ended);
    group->_owner._flags = (uint8_t)flags;
    group->_waiters = (struct iora__waitq){NULL, NULL};
    group->_errors = NULL;
    group->_last_error = NULL;
    group->_task = task;
    group->_rc_out = NULL;
    group->_rc = 0;
    group->_finished = false;
    iora_timeout_begin(&group->_scope, IORA_FOREVER);
    group->_scope._is_group = true;
    if (task == NULL)
        return iora__enter_slowly(NULL);
    group->_owner._state = GROUP_OPEN;
    return 0;
}

/* ---- members end ------------------------------------------------------------------------------------------- */

static void
stop(iora_group *group)
{
    if (group->_owner._stopped)
        return;
    group->_owner._stopped = true;
    iora__owner_cancel(&group->_owner);
}

static void
take_failure(iora_group *group, struct iora__task *member, int rc)
{
    if (group->_owner._flags & IORA_GROUP_ISOLATE)
        return;
    iora__error_append(&group->_errors, &group->_last_error, iora__error_of_end(member));
    member->error = NULL;
    if (group->_rc == 0)
        group->_rc = rc;
    stop(group);
    iora_scope_cancel(&group->_scope);
}

/* What iora_group_next() waits with: where to write. */
struct next_slot {
    iora_task *task;
    int *code;
};

static void
give(const struct next_slot *slot, const struct iora__task *member)
{
    if (slot->task != NULL)
        *slot->task = iora__task_handle(member);
    if (slot->code != NULL)
        *slot->code = iora__task_result(member);
}

/* True if the member, ended and nobody's, is to be collected now. */
static bool
keep_or_give(iora_group *group, struct iora__task *member, bool failed)
{
    struct iora__waiter *const waiter = group->_waiters._first;

    if (waiter != NULL) {
        give(waiter->_slot, member);
        iora__waiter_grant(waiter, 0);
        return true;
    }
    if (keeps_ended(group)) {
        iora__list_remove(&member->sibling);
        iora__list_push_tail(&group->_ended, &member->sibling);
        return false;
    }
    if (failed)
        iora__error_report(member, "in an isolating group");
    return true;
}

static void
wake_if_empty(iora_group *group)
{
    struct iora__waiter *const wait = &group->_task->wait;

    if (group->_owner._live > 0)
        return;
    iora__waitq_grant_all(&group->_waiters, -ENOENT);
    if (wait->_class != NULL && wait->_object == group)
        iora__waiter_grant(wait, 0);
}

bool
iora__group_member_done(iora_group *group, struct iora__task *member, bool awaited)
{
    const int rc = iora__task_result(member);
    const bool failed = rc < 0 && member->result != -ECANCELED;
    bool collect = awaited;

    if (failed && !(awaited && (group->_owner._flags & IORA_GROUP_ISOLATE)))
        take_failure(group, member, rc);
    if (!awaited)
        collect = keep_or_give(group, member, failed);
    wake_if_empty(group);
    return collect;
}

int
iora_group_next(iora_group *group, iora_task *task, int *code)
{
    static const struct iora__wait_class next_of_group = {.what = "the next of a group",
                                                          .cancel = iora__wait_cancel};
    struct iora__task *const self = iora__self();
    struct next_slot slot = {task, code};
    struct iora__link *link;
    int rc;

    if (self != NULL && (rc = iora__enter(self)) < 0)
        return rc;
    if (group->_owner._state == GROUP_CLOSED)
        return IORA_E_CLOSED;
    if (!keeps_ended(group))
        return -EINVAL;
    if (self == NULL)
        return iora__enter(self);
    if ((link = iora__list_pop(&group->_ended)) != NULL) {
        struct iora__task *const member = iora__container_of(link, struct iora__task, sibling);

        give(&slot, member);
        iora__task_collect(member);
        return 0;
    }
    if (group->_owner._live == 0)
        return -ENOENT;
    iora__waitq_push(&group->_waiters, iora__wait_begin(self, &next_of_group, group->_task, &slot));
    return iora__park(self);
}

void
iora_group_cancel(iora_group *group)
{
    if (group->_owner._state == GROUP_CLOSED)
        return;
    stop(group);
    iora_scope_cancel(&group->_scope);
}

/* ---- the end ------------------------------------------------------------------------------------------------- */

static void
stop_members(struct iora__waiter *waiter)
{
    stop(waiter->_object);
}

static const struct iora__wait_class group_ends = {.what = "its group to end (cancelled)",
                                                   .pass_on = stop_members};

static void
cancel_end(struct iora__waiter *waiter)
{
    waiter->_class = &group_ends;
    iora__cancel_pass_on(waiter);
}

static const struct iora__wait_class ending_group = {.what = "its group to end",
                                                     .cancel = cancel_end};

static void
join_members(iora_group *group, struct iora__task *self)
{
    if (self->cancelled)
        stop(group);
    while (group->_owner._live > 0) {
        (void)iora__wait_begin(self, self->cancelled ? &group_ends : &ending_group, group, NULL);
        (void)iora__park(self);
    }
}

static void
drop_ended(iora_group *group)
{
    struct iora__link *link;

    while ((link = iora__list_pop(&group->_ended)) != NULL) {
        struct iora__task *const member = iora__container_of(link, struct iora__task, sibling);

        if (group->_owner._flags & IORA_GROUP_ISOLATE)
            iora__task_drop(member);
        else
            iora__task_collect(member); /* its failure is in the group's list */
    }
    iora__owner_drop_members(&group->_owner);
}

/* A code of the block's that is an error of its own. */
static bool
is_blocks_error(const iora_group *group, int rc)
{
    return rc < 0 && !(rc == -ECANCELED && group->_scope._cancelled);
}

/* What the group's end returns, its scope being closed. The block's error is in _rc, if it was the first. */
static int
outcome(const iora_group *group, const struct iora__task *self, int rc)
{
    if (self->cancelled)
        return rc < 0 ? rc : -ECANCELED;
    if (group->_rc != 0)
        return group->_rc;
    return rc < 0 ? 0 : rc;
}

int
iora_group_end(iora_group *group, int rc)
{
    struct iora__task *const self = group->_task;

    if (group->_owner._state != GROUP_OPEN)
        return rc;
    iora__seam_moment(IORA__MOMENT_ENTER, self);
    group->_owner._state = GROUP_CLOSING;
    if (group->_rc == 0 && is_blocks_error(group, rc))
        group->_rc = rc;
    if (rc < 0)
        stop(group);
    join_members(group, self);
    group->_owner._state = GROUP_CLOSED;
    drop_ended(group);
    (void)iora_timeout_end(&group->_scope, rc);
    iora__error_give(self, group->_errors, rc, group->_rc);
    group->_errors = NULL;
    return outcome(group, self, rc);
}

bool
iora__group_open(iora_group *group, unsigned flags, int *rc)
{
    const int opened = iora_group_begin(group, flags);

    group->_rc_out = rc;
    if (opened < 0)
        *rc = opened;
    return opened == 0;
}

void
iora__group_leave(iora_group *group)
{
    if (!group->_finished)
        stop(group);
    *group->_rc_out = iora_group_end(group, *group->_rc_out);
}
