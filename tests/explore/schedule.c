/* explore/schedule.c -- every way in which the threads of a model may take turns.
 *
 * A *thread* here is a coroutine of coro/, and one runs at a time. It may be left only at *points*: before an
 * operation that others could see or wait for, and behind one that they could see (intercept.h). At each point
 * there is a *choice* of who goes on; a *schedule* is the list of all choices of one run, of which the first option
 * is to go on as before. The explorer runs a model once for each schedule, depth first: it does the last one again
 * up to the last choice that has an option left, takes that, and from there on the first of each.
 *
 * A *preemption* is a choice of another thread where the one that ran could have gone on. There may be two in a
 * schedule, whatever their place; going on with any other when one waits, or has ended, costs nothing. Most bugs
 * between threads need one or two at the right place (Musuvathi and Qadeer, PLDI 2007: CHESS), and so few leave a
 * number of schedules that can be run: all of them, and the same each time.
 *
 * What is found: checks that fail; all threads waiting (a wake-up that was lost is seen as that, since by default
 * no time passes); a thread that never comes to its end; use of freed memory, by AddressSanitizer; memory,
 * descriptors, mutexes, threads and handlers that are left.
 *
 * What it means: memory is sequentially consistent here, so weaker orders that the sources ask for are not explored,
 * and plain accesses are not points. Both are ThreadSanitizer's part (./run test --tsan): it says whether plain
 * accesses are ordered at all, and in programs where they are, points at the operations that order them are enough.
 * compare_exchange_weak does not fail without cause, as on x86-64.
 *
 * Spinning costs no schedules: a thread that says so waits until something has changed since it last looked, or,
 * for a preemption or when nobody else can go on, until it has had enough.
 *
 * Invariants:
 * (1) The same choices make the same run. A run that offers other choices than the last one had is an error.
 * (2) Schedules do not touch: each begins with no thread but main, the clock at its start, nothing allocated.
 *     What the library keeps for ever (task/block.c) it gets in a run before the first, which is not counted.
 *
 * Rejected: threads of the system that hand a baton round (the switch alone takes longer than most schedules);
 * partial-order reduction (the models are small enough without).
 */
#include "schedule.h"

#include "kernel.h"

#include "core/list.h"
#include "sys/seam.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STACK = 256 * 1024, STEPS_MAX = 20000, MAIN = 0 };

static const int64_t clock_start_ns = INT64_C(1000) * 1000 * 1000 * 1000;

struct explore__thread *explore__current;
int64_t explore__now_ns;
extern __thread iora_loop *iora__running __attribute__((tls_model("initial-exec")));

static struct explore__thread threads[EXPLORE_THREADS];
static int thread_count;
static struct iora__coro host;
static const struct explore__options *options;
static struct explore__record *record;

static struct {
    const struct explore__model *model;
    unsigned preemptions;   /* so far */
    unsigned long steps;    /* the same */
    unsigned long changes;  /* that threads can see */
    unsigned prescribed;    /* so many choices stand in the record already */
    bool alone;             /* the first option of each choice, unrecorded */
} now;

/* ---- failing ---------------------------------------------------------------------------------------- */

static __attribute__((noreturn)) void
fail(const char *format, va_list args)
{
    if (!record->failed) {
        (void)vsnprintf(record->message, sizeof record->message, format, args);
        record->failed = true;
    }
    _exit(EXIT_FAILURE);
}

static __attribute__((noreturn, format(printf, 1, 2))) void
failed(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fail(format, args);
}

void
explore__fail(const char *file, int line, const char *format, ...)
{
    char text[2048];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    failed("%s:%d: in %s: %s", file, line,
           explore__current != NULL ? explore__current->name : "no thread", text);
}

static const char *
describe(const struct explore__thread *thread)
{
    switch (thread->state) {
    case EXPLORE_ENDED: return "has ended";
    case EXPLORE_ABSENT: return "is not in this process";
    case EXPLORE_WAITS: return "waits";
    default: return "runs";
    }
}

/* What each thread does, for the message of who can tell no more. */
static void
fail_with_threads(const char *what)
{
    char text[2048];
    size_t used = 0;

    text[0] = '\0';
    for (int i = 0; i < thread_count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "\n  %s %s, last point: %s (%s:%d)",
                                 threads[i].name, describe(&threads[i]),
                                 threads[i].what != NULL ? threads[i].what : "none",
                                 threads[i].file != NULL ? threads[i].file : "-", threads[i].line);
    failed("%s:%s", what, text);
}

/* ---- choices ----------------------------------------------------------------------------------------- */

static unsigned
take_choice(unsigned count)
{
    struct explore__choice *choice;

    if (count <= 1 || now.alone)
        return 0;
    if (record->depth == EXPLORE_CHOICES)
        failed("it has too many choices");
    choice = &record->choices[record->depth];
    if (record->depth >= now.prescribed)
        *choice = (struct explore__choice){0, (unsigned short)count};
    else if (choice->count == 0) /* somebody typed it */
        choice->count = (unsigned short)count;
    if (choice->count != count || choice->taken >= count)
        failed("not the same each time: choice %u is among %u, and was among %u", record->depth,
               count, choice->count);
    record->depth++;
    return choice->taken;
}

/* On to the next schedule, if there is one. */
static bool
next_schedule(void)
{
    for (now.prescribed = record->depth; now.prescribed > 0; now.prescribed--) {
        struct explore__choice *const last = &record->choices[now.prescribed - 1];

        if (last->taken + 1 < last->count) {
            last->taken++;
            return true;
        }
    }
    return false;
}

static bool
is_interrupted(const struct explore__thread *thread)
{
    return (thread->pending & ~thread->blocked) != 0;
}

static bool
can_go_on(const struct explore__thread *thread)
{
    return thread->state == EXPLORE_RUNS ||
           (thread->state == EXPLORE_WAITS &&
            (is_interrupted(thread) || thread->has_come(thread->wait_arg)));
}

static bool
may_time_out(const struct explore__thread *thread)
{
    return thread->state == EXPLORE_WAITS && thread->deadline_ns != INT64_MAX &&
           (now.model->timed || thread->spins || now.alone);
}

struct option {
    struct explore__thread *thread;
    bool costs; /* a preemption */
};

/* Who may be next: the one that runs, the others in turn, and then those whose time may run out. */
static unsigned
list_options(struct option out[])
{
    const int me = (int)(explore__current - threads);
    const bool may_preempt = now.preemptions < options->bound && !now.alone;
    const bool i_run = explore__current->state == EXPLORE_RUNS;
    struct explore__thread *first_due = NULL;
    bool somebody_can;
    unsigned count = 0;

    if (i_run)
        out[count++] = (struct option){explore__current, false};
    for (int i = 1; i <= thread_count && (!i_run || may_preempt); i++) {
        struct explore__thread *const thread = &threads[(me + i) % thread_count];

        if (can_go_on(thread) && !(i_run && thread == explore__current))
            out[count++] = (struct option){thread, i_run};
    }
    somebody_can = count > 0;
    for (int i = 0; i < thread_count; i++) {
        struct explore__thread *const thread = &threads[i];

        if (!may_time_out(thread) || can_go_on(thread))
            continue;
        if (somebody_can && may_preempt)
            out[count++] = (struct option){thread, true};
        else if (!somebody_can && (first_due == NULL || thread->deadline_ns < first_due->deadline_ns))
            first_due = thread;
    }
    if (first_due != NULL)
        out[count++] = (struct option){first_due, false};
    return count;
}

static void
go_on_with(struct explore__thread *thread)
{
    struct explore__thread *const me = explore__current;

    if (thread == me)
        return;
    me->running = iora__running;
    explore__current = thread;
#if IORA__SWITCH_IS_CALL
    me->coro.stack_base = NULL; /* it may be on a task's stack: to be learned anew */
#endif
    if (me->state == EXPLORE_ENDED)
        iora__coro_leave(&me->coro, &thread->coro);
    (void)iora__coro_switch(&me->coro, &thread->coro);
    iora__running = me->running;
}

/* Why the thread that is chosen may end its wait. */
static void
end_wait(struct explore__thread *thread)
{
    if (thread->state != EXPLORE_WAITS)
        return;
    thread->state = EXPLORE_RUNS;
    if (thread->has_come(thread->wait_arg)) {
        thread->ended_by = EXPLORE_CAME;
    } else if (is_interrupted(thread)) {
        thread->ended_by = EXPLORE_INTERRUPTED;
    } else {
        thread->ended_by = EXPLORE_TIMED_OUT;
        if (thread->deadline_ns > explore__now_ns)
            explore__now_ns = thread->deadline_ns;
    }
}

/* Have somebody go on; returns when that is the caller. */
static void
choose(void)
{
    struct option among[EXPLORE_THREADS];
    const unsigned count = list_options(among);
    unsigned taken;

    if (count == 0)
        fail_with_threads("all wait, for ever");
    taken = take_choice(count);
    now.preemptions += among[taken].costs;
    end_wait(among[taken].thread);
    go_on_with(among[taken].thread);
    explore__deliver_signals();
}

/* ---- points ------------------------------------------------------------------------------------------- */

void
explore__before(const char *what, const char *file, int line)
{
    struct explore__thread *const me = explore__current;

    if (me == NULL || me->impatient)
        return;
    me->what = what;
    me->file = file;
    me->line = line;
    if (++now.steps > STEPS_MAX)
        fail_with_threads("it does not come to an end");
    choose();
    me->seen = now.changes;
    if (options->trace)
        fprintf(stderr, "%-12s %-16s %s:%d\n", me->name, what, file, line);
}

void
explore__changed(void)
{
    now.changes++;
}

void
explore__after(void)
{
    explore__changed();
    if (explore__current != NULL && !explore__current->impatient)
        choose();
}

/* A handler that ran meanwhile has not ended the wait of who is not interruptible. */
static enum explore__wait
wait_until(bool (*has_come)(const void *arg), const void *arg, int64_t deadline_ns, bool interruptible)
{
    struct explore__thread *const me = explore__current;

    do {
        if (has_come(arg))
            return EXPLORE_CAME;
        me->has_come = has_come;
        me->wait_arg = arg;
        me->deadline_ns = deadline_ns;
        me->state = EXPLORE_WAITS;
        choose();
    } while (me->ended_by == EXPLORE_INTERRUPTED && !interruptible);
    return me->ended_by;
}

enum explore__wait
explore__wait(bool (*has_come)(const void *arg), const void *arg, int64_t deadline_ns,
              bool interruptible)
{
    explore__current->spins = false;
    return wait_until(has_come, arg, deadline_ns, interruptible);
}

static bool
has_changed(const void *thread)
{
    return now.changes != ((const struct explore__thread *)thread)->seen;
}

bool
explore__wait_for_change(int64_t deadline_ns)
{
    explore__current->spins = true;
    return wait_until(has_changed, explore__current, deadline_ns, false) == EXPLORE_CAME;
}

/* ---- threads --------------------------------------------------------------------------------------------- */

static void
enter(struct iora__coro *coro)
{
    struct explore__thread *const self = iora__container_of(coro, struct explore__thread, coro);
    bool others = false;

    iora__coro_begun(coro);
    iora__running = NULL;
    explore__deliver_signals();
    (void)self->fn(self->arg);
    self->state = EXPLORE_ENDED;
    explore__changed();
    for (int i = 0; i < thread_count; i++)
        others |= threads[i].state == EXPLORE_RUNS || threads[i].state == EXPLORE_WAITS;
    if (others)
        choose();
    explore__current = NULL;
    iora__coro_leave(coro, &host);
}

static void *
make_stack(void)
{
    void *const stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (stack == MAP_FAILED || mprotect(stack, 4096, PROT_NONE) < 0)
        failed("no stack for a thread: %s", strerror(errno));
    return stack;
}

struct explore__thread *
explore__thread_new(const char *name, void *(*fn)(void *), void *arg)
{
    struct explore__thread *thread;
    void *stack;
    int at = 0;

    while (at < thread_count && !(threads[at].state == EXPLORE_ENDED && threads[at].joined))
        at++;
    if (at == EXPLORE_THREADS)
        failed("it has too many threads");
    if (at == thread_count)
        thread_count++;
    thread = &threads[at];
    stack = thread->stack != NULL ? thread->stack : make_stack();
    *thread = (struct explore__thread){.stack = stack, .fn = fn, .arg = arg};
    (void)snprintf(thread->name, sizeof thread->name, "%s", name);
    iora__coro_make(&thread->coro, (char *)stack + 4096, STACK - 4096, enter);
    return thread;
}

bool
explore__is_repeated(void)
{
    return !options->once && record->depth < now.prescribed;
}

struct explore__thread *
explore__thread_at(int index)
{
    return index < thread_count ? &threads[index] : NULL;
}

void
explore__leave_alone(void)
{
    now.alone = true;
    for (int i = 0; i < thread_count; i++) {
        if (&threads[i] != explore__current)
            threads[i].state = EXPLORE_ABSENT;
    }
}

/* ---- schedules -------------------------------------------------------------------------------------------- */

static void *
body(void *arg)
{
    (void)arg;
    now.model->fn();
    return NULL;
}

/* The lowest number that no descriptor has. */
static int
free_descriptor(void)
{
    const int fd = eventfd(0, EFD_CLOEXEC);

    (void)close(fd);
    return fd;
}

static void
check_what_is_left(long allocations, int descriptor)
{
    const char *const left = explore__kernel_left();

    for (int i = MAIN + 1; i < thread_count; i++) {
        if (!threads[i].joined)
            failed("%s was neither joined nor detached", threads[i].name);
    }
    if (left != NULL)
        failed("at the end there is still %s", left);
    if (iora__seam_read().alive != allocations)
        failed("at the end %ld allocations are left", iora__seam_read().alive - allocations);
    if (free_descriptor() != descriptor)
        failed("at the end a descriptor is left, or one too many was closed");
}

static void
run_schedule(void)
{
    record->depth = 0;
    now.preemptions = 0;
    now.steps = 0;
    now.changes = 0;
    now.alone = false;
    thread_count = 0;
    explore__now_ns = clock_start_ns;
    explore__kernel_reset();
    explore__current = explore__thread_new("main", body, NULL);
    (void)iora__coro_switch(&host, &explore__current->coro);
}

void
explore__run(const struct explore__model *model, const struct explore__options *options_,
             struct explore__record *record_)
{
    static const struct explore__options first = {0};
    long allocations;
    int descriptor;

    record = record_;
    now.model = model;
    iora__coro_adopt_thread(&host);
    now.prescribed = options_->once ? record->depth : 0;
    if (!options_->once) {
        options = &first;
        run_schedule();
    }
    options = options_;
    allocations = iora__seam_read().alive;
    descriptor = free_descriptor();
    do {
        run_schedule();
        check_what_is_left(allocations, descriptor);
        record->schedules++;
        record->steps += now.steps;
        record->longest = record->depth > record->longest ? record->depth : record->longest;
    } while (!options->once && next_schedule());
}
