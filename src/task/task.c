/* task/task.c -- what can be asked of one task, and of all.
 *
 * All tasks of a loop are a tree: the run owns the main task and the detached ones, each task its children,
 * each group its members. Groups lie in their owners' frames and are reached through the open scopes.
 */
#include "task/task.h"

#include "task/walk.h"

#include "core/lane.h"
#include "sys/alloc.h"

#include <string.h>

iora_task
iora_current(void)
{
    const struct iora__task *const task = iora__self();

    if (task != NULL)
        return iora__task_handle(task);
    return iora__task_null(iora__running != NULL ? IORA_E_NO_TASK : IORA_E_NO_LOOP);
}

bool
iora_task_is_done(iora_task handle)
{
    int rc;
    const struct iora__task *const task = iora__task_find(handle, &rc);

    return task == NULL || task->state == IORA__TASK_DONE;
}

const char *
iora_task_name(iora_task handle)
{
    int rc;
    const struct iora__task *const task = iora__task_find(handle, &rc);

    return task != NULL ? task->name : "";
}

int
iora_task_set_name(iora_task handle, const char *name)
{
    int rc;
    struct iora__task *const task = iora__task_find(handle, &rc);
    const size_t size = strlen(name) + 1;
    char *copy;

    if (task == NULL)
        return rc;
    if ((copy = iora__alloc(size)) == NULL)
        return -ENOMEM;
    memcpy(copy, name, size);
    if (task->name_is_ours)
        iora__free((char *)task->name);
    task->name = copy;
    task->name_is_ours = true;
    return 0;
}

int
iora_task_on_done(iora_task handle, iora_handle *callback, iora_callback_fn *fn, void *arg)
{
    int rc;
    struct iora__task *const task = iora__task_find(handle, &rc);

    if (task == NULL)
        return rc;
    if (task->state == IORA__TASK_DONE)
        return iora_call_soon(task->loop, callback, fn, arg);
    return iora__callbacks_add(&task->on_done, task->loop, callback, fn, arg);
}

/* ---- walking the tree ------------------------------------------------------------------------------------------ */

/* The next group below `scope` in a task's chain; NULL if there is none. */
static iora_group *
group_at(iora_scope *scope)
{
    for (; scope != NULL; scope = scope->_parent) {
        if (scope->_is_group)
            return iora__container_of(scope, iora_group, _scope);
    }
    return NULL;
}

/* The first of a task's owners, from `owner` on, that has members: its children, then its groups. */
static struct iora__owner *
owner_with_members(struct iora__task *task, struct iora__owner *owner)
{
    while (iora__list_is_empty(&owner->_members)) {
        iora_group *const group =
            group_at(owner == &task->children
                         ? task->scope
                         : iora__container_of(owner, iora_group, _owner)->_scope._parent);

        if (group == NULL)
            return NULL;
        owner = &group->_owner;
    }
    return owner;
}

static struct iora__owner *
owner_after(struct iora__task *task, const struct iora__owner *owner)
{
    iora_group *const group =
        group_at(owner == &task->children
                     ? task->scope
                     : iora__container_of(owner, iora_group, _owner)->_scope._parent);

    return group != NULL ? owner_with_members(task, &group->_owner) : NULL;
}

static struct iora__task *
task_that_has(struct iora__owner *owner)
{
    switch ((enum iora__owner_kind)owner->_kind) {
    case IORA__OWNER_TASK:
        return iora__container_of(owner, struct iora__task, children);
    case IORA__OWNER_GROUP:
        return iora__container_of(owner, iora_group, _owner)->_task;
    case IORA__OWNER_RUN:
        break;
    }
    return NULL;
}

struct iora__task *
iora__task_owner(const struct iora__task *task)
{
    return task_that_has(task->owner);
}

static struct iora__task *
first_member(struct iora__owner *owner)
{
    return iora__container_of(owner->_members._next, struct iora__task, sibling);
}

/* The task after this one in the tree, and its depth. */
static struct iora__task *
next_task(struct iora__task *task, int *depth)
{
    struct iora__owner *below = owner_with_members(task, &task->children);

    if (below != NULL) {
        (*depth)++;
        return first_member(below);
    }
    for (; task != NULL; task = task_that_has(task->owner), (*depth)--) {
        struct iora__owner *const owner = task->owner;
        struct iora__task *const parent = task_that_has(owner);

        if (task->sibling._next != &owner->_members)
            return iora__container_of(task->sibling._next, struct iora__task, sibling);
        if (parent != NULL && (below = owner_after(parent, owner)) != NULL)
            return first_member(below);
    }
    return NULL;
}

void
iora__walk_tasks(struct iora__sched *sched, iora__walk_fn *visit, void *arg)
{
    int depth = 0;

    if (iora__list_is_empty(&sched->run._members))
        return;
    for (struct iora__task *task = first_member(&sched->run); task != NULL;
         task = next_task(task, &depth))
        visit(task, depth, arg);
}

struct collection {
    iora_task *tasks;
    size_t max, count;
};

static void
collect_one(struct iora__task *task, int depth, void *arg)
{
    struct collection *const collection = arg;

    (void)depth;
    if (task->state == IORA__TASK_DONE)
        return;
    if (collection->count < collection->max)
        collection->tasks[collection->count] = iora__task_handle(task);
    collection->count++;
}

size_t
iora_all_tasks(iora_task *tasks, size_t max)
{
    struct collection collection = {tasks, max, 0};

    if (iora__running != NULL && iora__running->sched != NULL)
        iora__walk_tasks(iora__running->sched, collect_one, &collection);
    return collection.count;
}

void
iora_loop_census(const iora_loop *loop, iora_census *out)
{
    const struct iora__sched *const sched = loop->sched;
    size_t ready = 0;

    for (const struct iora__link *at = loop->ready._link._next; at != &loop->ready._link;
         at = at->_next)
        ready++;
    *out = (iora_census){
        .tasks = sched != NULL ? sched->alive : 0,
        .stacks = sched != NULL ? sched->stacks.bound : 0,
        .timers = loop->timers.count,
        .ops = loop->backend->pending(loop->backend_state) + iora__lane_pending(loop),
        .remotes = iora__mailbox_remotes(loop),
        .ready = ready,
    };
}
