/* task/report.c -- telling people what the tasks are doing.
 *
 * A dump is the tree of all tasks, a line each. A deadlock report is a dump with a headline. In debug mode
 * there are also cycles among locks, told when the one that closes the circle begins to wait, and the use of
 * stacks per spawn site, told when the loop goes.
 */
#include "task/walk.h"

#include "sys/alloc.h"

#include <stdio.h>
#include <string.h>

enum { LINE = 512 };

struct dump {
    void (*write)(void *arg, const char *line);
    void *arg;
    int64_t now_ns;
};

/* ---- the dump -------------------------------------------------------------------------------------------------- */

struct iora__task *
iora__task_blocker(const struct iora__task *task)
{
    const struct iora__wait_class *const class = task->wait._class;

    return class != NULL && class->holder != NULL ? class->holder(&task->wait) : NULL;
}

static void
describe_wait(const struct iora__task *task, int64_t now_ns, char *text, size_t size)
{
    const struct iora__wait_class *const class = task->wait._class;
    const struct iora__task *const blocker = iora__task_blocker(task);
    const double seconds = (double)(now_ns - task->waiting_since_ns) / 1e9;
    char object[96] = "";

    if (class->names_descriptor)
        (void)snprintf(object, sizeof object, " %d", (int)(intptr_t)task->wait._slot);
    else if (blocker != NULL && blocker->state == IORA__TASK_FREE)
        (void)snprintf(object, sizeof object, " kept by a task that has ended");
    else if (blocker != NULL)
        (void)snprintf(object, sizeof object, " %s%llu \"%s\"",
                       task->wait._object == blocker ? "" : "held by task ",
                       (unsigned long long)blocker->id, blocker->name);
    else if (task->wait._object != NULL)
        (void)snprintf(object, sizeof object, " %p", task->wait._object);
    (void)snprintf(text, size, "waits for %s%s, since %.3f s", class->what, object, seconds);
}

static void
describe_state(const struct iora__task *task, int64_t now_ns, char *text, size_t size)
{
    if (task->state == IORA__TASK_DONE)
        (void)snprintf(text, size, "has ended with %s, not collected",
                       iora_err_name(iora__task_result(task)));
    else if (task->wait._class != NULL)
        describe_wait(task, now_ns, text, size);
    else if (task == task->loop->current)
        (void)snprintf(text, size, "runs");
    else
        (void)snprintf(text, size, "is ready%s",
                       task->state == IORA__TASK_READY ? ", has not begun" : "");
}

static void
dump_one(struct iora__task *task, int depth, void *arg)
{
    const struct dump *const dump = arg;
    char state[256], line[LINE];

    describe_state(task, dump->now_ns, state, sizeof state);
    (void)snprintf(line, sizeof line, "%*stask %llu \"%s\"%s%s: %s%s", depth * 2, "",
                   (unsigned long long)task->id, task->name, task->site[0] != '\0' ? " from " : "",
                   task->site, state, task->cancelled ? " [cancelled]" : "");
    dump->write(dump->arg, line);
}

static void
write_to_stderr(void *arg, const char *line)
{
    (void)arg;
    fprintf(stderr, "%s\n", line);
}

void
iora_dump_tasks(iora_loop *loop, void (*write)(void *arg, const char *line), void *arg)
{
    struct dump dump = {write != NULL ? write : write_to_stderr, arg, iora__loop_now_ns(loop)};

    if (loop->sched != NULL)
        iora__walk_tasks(loop->sched, dump_one, &dump);
}

/* ---- deadlocks -------------------------------------------------------------------------------------------------- */

static void
write_to_log(void *arg, const char *line)
{
    iora_loop *const loop = arg;

    loop->on_log(loop->hook_arg, line);
}

void
iora__report_deadlock(struct iora__sched *sched)
{
    iora__loop_log(sched->loop,
                   "deadlock: every task waits, and no timer, descriptor or other thread is left "
                   "that could wake one; all are cancelled now. They were:");
    iora_dump_tasks(sched->loop, write_to_log, sched->loop);
}

void
iora__report_lock_cycle(struct iora__task *task)
{
    const struct iora__task *at = iora__task_blocker(task);
    int length = 1;

    /* Chains end; circles that do not hold `task` were told by the one who closed them. */
    while (at != NULL && at != task && length < 1000) {
        at = iora__task_blocker(at);
        length++;
    }
    if (at != task)
        return;
    iora__loop_log(task->loop, "deadlock among %d tasks that wait for each other:", length);
    do {
        char state[256];

        describe_state(at, task->loop->turn_ns, state, sizeof state);
        iora__loop_log(task->loop, "  task %llu \"%s\" from %s: %s", (unsigned long long)at->id,
                       at->name, at->site, state);
        at = iora__task_blocker(at);
        IORA__KNOWN(at != NULL); /* once round, it has been seen */
    } while (at != task);
}

/* ---- the use of stacks ------------------------------------------------------------------------------------------- */

struct iora__site_use {
    struct iora__site_use *next;
    const char *site;
    int (*enter)(void *);
    size_t size;
    size_t used;
    size_t tasks;
    char name[48];
};

static struct iora__site_use *
use_of_site(struct iora__sched *sched, const struct iora__task *task)
{
    struct iora__site_use *use = sched->site_uses;

    while (use != NULL && (use->site != task->site || use->enter != task->enter))
        use = use->next;
    if (use == NULL && (use = iora__zalloc(sizeof *use)) != NULL) {
        use->site = task->site;
        use->enter = task->enter;
        (void)snprintf(use->name, sizeof use->name, "%s", task->name);
        use->next = sched->site_uses;
        sched->site_uses = use;
    }
    return use;
}

void
iora__note_stack_use(struct iora__task *task)
{
    struct iora__site_use *const use = use_of_site(task->loop->sched, task);
    const size_t used = iora__stack_high_water(task->stack_base, task->stack_class);

    if (use == NULL)
        return;
    use->tasks++;
    use->size = iora__stack_size(task->stack_class);
    if (used > use->used)
        use->used = used;
}

void
iora__report_stack_uses(struct iora__sched *sched)
{
    while (sched->site_uses != NULL) {
        struct iora__site_use *const use = sched->site_uses;

        iora__loop_log(sched->loop,
                       "stacks: %zu tasks \"%s\" from %s used up to %zu KiB of %zu KiB", use->tasks,
                       use->name, use->site, use->used / 1024, use->size / 1024);
        sched->site_uses = use->next;
        iora__free(use);
    }
}
