/* tests/fault/fault.c -- one run of a scenario, with at most one thing going wrong in it (see fault.h).
 *
 * The driver has forked this process for it, so that all state is fresh: also the library's, which keeps the
 * memory of control blocks for the process's next loop.
 */
#include "fault.h"

#include "../c/storm.h"
#include "core/loop.h"
#include "sys/random.h"
#include "task/task.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOOPS_MAX = 8, DESCRIPTORS = 256, LOG_MAX = 2048, TEXTS_MAX = 4 };

/* How many more calls of a kind fail after the first. Some are tried again each millisecond, an accept after 50,
 * then 100, then 200. */
enum { FAILURES_MORE = 50, FAILURES_MORE_REAL = 2 };

struct scenario *fault_scenarios;

const char *const fault_mode_names[MODES] = {
    [MODE_CALL] = "call",     [MODE_CALLS] = "calls", [MODE_ALLOC] = "alloc",
    [MODE_ALLOCS] = "allocs", [MODE_ENTER] = "enter", [MODE_WAIT] = "wait",
    [MODE_NOW] = "now",       [MODE_SCOPE] = "scope", [MODE_PAIR] = "pair",
    [MODE_ORDER] = "order",   [MODE_NOFILE] = "nofile", [MODE_STINGY] = "stingy",
    [MODE_SIGNALS] = "signals",
};

const char *const fault_mode_texts[MODES] = {
    [MODE_CALL] = "system call n fails, with each errno it may give",
    [MODE_CALLS] = "system call n fails, and the next 50 of its kind, or 2 where time is real",
    [MODE_ALLOC] = "allocation n fails",
    [MODE_ALLOCS] = "all allocations from n on fail",
    [MODE_ENTER] = "who makes suspending call n is cancelled as it calls",
    [MODE_WAIT] = "who begins wait n is cancelled by a callback, after all that is ready",
    [MODE_NOW] = "the same, before anything else runs",
    [MODE_SCOPE] =
        "at suspending call n within a scope its deadline passes, or its group is cancelled",
    [MODE_PAIR] =
        "a call or an allocation fails and somebody is cancelled, where and who drawn from seed n",
    [MODE_ORDER] = "nothing goes wrong, but ready things run in the order of seed n (sim)",
    [MODE_NOFILE] = "the process may have n + 7 descriptors, 8 to 64 (not in sim)",
    [MODE_STINGY] =
        "nothing goes wrong, but calls move few bytes and many are refused (not in sim)",
    [MODE_SIGNALS] = "nothing goes wrong, but a signal comes each millisecond (not in sim)",
};

/* The ways to be stingy: so many bytes a call, and each so manieth refused. */
static const struct {
    size_t most;
    unsigned refused;
} stingy_ways[] = {{1, 2}, {7, 3}, {1000, 2}, {0, 2}};

enum { STINGY_WAYS = sizeof stingy_ways / sizeof stingy_ways[0] };

void
fault_register(struct scenario *scenario)
{
    struct scenario **at = &fault_scenarios;

    /* By topic and name, whatever order the linker chose. */
    while (*at != NULL && (strcmp((*at)->topic, scenario->topic) < 0 ||
                           (strcmp((*at)->topic, scenario->topic) == 0 &&
                            strcmp((*at)->name, scenario->name) < 0)))
        at = &(*at)->next;
    scenario->next = *at;
    *at = scenario;
}

const char *
fault_where_name(enum where where)
{
    return where == SIM ? "sim" : where == EPOLL ? "epoll" : "late";
}

/* ---- the run -------------------------------------------------------------------------------------- */

static struct {
    const struct injection *injection;
    struct outcome *outcome;
    enum mode fault, cancel; /* what goes wrong: the mode, or the two of a pair */
    long fault_n, cancel_n;
    int variant;
    long entered, scoped, waited, turns;
    iora_loop_options options;
    long spawned, begun, left; /* tasks */
    bool fired;
    iora_task victim;
    iora_handle cancels; /* the callback that cancels it */
    iora_loop *first;
    bool first_failed;
    iora_loop *loops[LOOPS_MAX];
    int errors, errors_expected;
    char log[LOG_MAX];
    const char *texts[TEXTS_MAX]; /* that the log may have */
    bool said_more;               /* than these */
} run = {.options = IORA_LOOP_OPTIONS_INIT};

/* What failed and, of a pair, whom it hit besides. */
static void
note_failure(struct outcome *outcome, const struct iora__seam_counts *counts)
{
    char *const what = outcome->what;
    const size_t size = sizeof outcome->what;
    int used = 0;

    if (counts->failures > 0 && (run.fault == MODE_CALL || run.fault == MODE_CALLS)) {
        outcome->variants = iora__seam_variants(counts->last_call);
        used = snprintf(what, size, "%s: %s", iora__seam_name(counts->last_call),
                        iora_err_name(-iora__seam_errno(counts->last_call, run.variant)));
    } else if (counts->failures > 0 && run.injection->mode == MODE_PAIR) {
        used = snprintf(what, size, "allocation %ld", run.fault_n);
    }
    if (run.fired && run.injection->mode == MODE_PAIR)
        (void)snprintf(what + used, size - (size_t)used, "%s%s %ld", used > 0 ? ", " : "",
                       fault_mode_names[run.cancel], run.cancel_n);
}

/* How many n there are. */
static long
count_of(const struct tally *tally)
{
    switch (run.injection->mode) {
    case MODE_CALL:
    case MODE_CALLS:
        return tally->calls;
    case MODE_ALLOC:
    case MODE_ALLOCS:
        return tally->allocations;
    case MODE_ENTER:
        return tally->entered;
    case MODE_SCOPE:
        return tally->scoped;
    case MODE_WAIT:
    case MODE_NOW:
        return tally->waited;
    case MODE_PAIR:
    case MODE_ORDER:
        return run.injection->seeds;
    case MODE_NOFILE:
        return FAULT_NOFILE_MAX - FAULT_NOFILE_MIN + 1;
    case MODE_STINGY:
        return STINGY_WAYS;
    case MODE_SIGNALS:
        return 1;
    case MODES:
        break;
    }
    return 0;
}

static void
note_outcome(void)
{
    const struct iora__seam_counts counts = iora__seam_read();
    struct outcome *const outcome = run.outcome;
    const long n = run.injection->n;

    outcome->ended = true;
    outcome->turns = run.turns;
    outcome->tally = (struct tally){.calls = counts.calls,
                                    .allocations = counts.allocations,
                                    .entered = run.entered,
                                    .scoped = run.scoped,
                                    .waited = run.waited};
    outcome->counted = count_of(&outcome->tally);
    outcome->fired = run.fired || counts.failures > 0 ||
                     (run.injection->mode > MODE_PAIR && n > 0 && n <= outcome->counted);
    note_failure(outcome, &counts);
}

static void end_run(int status) __attribute__((noreturn));

static void
end_run(int status)
{
    const struct outcome *const outcome = run.outcome;

    note_outcome();
    if (run.injection->aloud)
        fprintf(stderr, "%s%s%s%s: %s; %ld turns\n", outcome->text,
                outcome->text[0] != '\0' ? "\n" : "",
                outcome->fired ? "the fault was injected " : "no fault was injected", outcome->what,
                status == 0 ? "all is well" : "FAILED", outcome->turns);
    _exit(status);
}

void
fault_fail(const char *file, int line, const char *format, ...)
{
    char *const text = run.outcome->text;
    const size_t size = sizeof run.outcome->text;
    const char *const slash = strrchr(file, '/');
    va_list args;
    int used = snprintf(text, size, "%s:%d: ", slash != NULL ? slash + 1 : file, line);

    va_start(args, format);
    used += vsnprintf(text + used, size - (size_t)used, format, args);
    va_end(args);
    if (run.log[0] != '\0' && (size_t)used < size)
        (void)snprintf(text + used, size - (size_t)used, "\nthe library had said:\n%s", run.log);
    end_run(EXIT_FAILURE);
}

static const char *
name_of(long long value)
{
    return value < 0 && value >= -5000 ? iora_err_name((int)value) : "";
}

void
fault_check_eq(const char *file, int line, const char *a_text, const char *b_text, long long a,
               long long b)
{
    if (a != b)
        fault_fail(file, line, "%s == %s: %lld %s, not %lld %s", a_text, b_text, a, name_of(a), b,
                   name_of(b));
}

bool
fault_is_armed(void)
{
    return (run.injection->n != 0 && run.injection->mode != MODE_STINGY &&
            run.injection->mode != MODE_SIGNALS) ||
           run.injection->seed != 0;
}

bool
fault_lacks_descriptors(void)
{
    return run.injection->mode == MODE_NOFILE && run.injection->n > 0;
}

bool
fault_is_slow(void)
{
    return run.injection->mode == MODE_STINGY && run.injection->n > 0;
}

enum where
fault_where(void)
{
    return run.injection->where;
}

/* Whether the system call that was made to fail failed so. */
static bool
is_injected(int rc)
{
    const struct iora__seam_counts counts = iora__seam_read();

    return counts.failures > 0 && rc == -iora__seam_errno(counts.last_call, run.variant);
}

/* Whether what goes wrong in this mode can have led to this code, here or with somebody on whom we depend. */
static bool
explains(enum mode mode, int rc)
{
    switch (mode) {
    case MODE_NOFILE:
        return rc == -EMFILE;
    case MODE_CALL:
    case MODE_CALLS:
        return is_injected(rc) || rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE || rc == -ENOSPC ||
               rc == -EAGAIN || rc == IORA_E_STACK_LIMIT;
    case MODE_ALLOC:
    case MODE_ALLOCS:
        return rc == -ENOMEM;
    case MODE_SCOPE:
        return rc == -ETIMEDOUT;
    case MODE_ENTER:
    case MODE_WAIT:
    case MODE_NOW:
    case MODE_PAIR:
    case MODE_ORDER:
    case MODE_STINGY:
    case MODE_SIGNALS:
    case MODES:
        break;
    }
    return false;
}

static bool
is_explained(int rc)
{
    if (rc == -ECANCELED || rc == IORA_E_TASK_CANCELED)
        return true; /* who fails cancels others */
    return explains(run.fault, rc) || explains(run.cancel, rc);
}

int
fault_expect(const char *file, int line, const char *text, int rc, const int *codes, size_t count)
{
    size_t at = 0;

    if (rc == codes[0] || (fault_is_armed() && is_explained(rc)))
        return rc;
    while (fault_is_armed() && at < count && codes[at] != rc)
        at++;
    if (!fault_is_armed() || at == count)
        fault_fail(file, line, "%s returned %d %s, not %d %s", text, rc, name_of(rc), codes[0],
                   name_of(codes[0]));
    return rc;
}

int
fault_expect_unless_cancelled(const char *file, int line, const char *text, int rc,
                              const int *codes, size_t count)
{
    return rc == -ECANCELED ? rc : fault_expect(file, line, text, rc, codes, count);
}

/* ---- tasks that come and go ------------------------------------------------------------------------- */

iora_task
fault_spawned(iora_task task)
{
    run.spawned += iora_task_is_valid(task);
    return task;
}

int
fault_in_task(void)
{
    run.begun++;
    return 0;
}

void
fault_left_task(int *in_task)
{
    (void)in_task;
    run.left++;
}

/* ---- the trace ----------------------------------------------------------------------------------------- */

enum { KIND_BITS = 4, MOMENTS = IORA__MOMENT_WAIT + 1 };

/* What is told to on_step() comes after the moments. */
static const char *const step_texts[MOMENTS + IORA__STEPS] = {
    [IORA__MOMENT_TURN] = "a turn begins",
    [IORA__MOMENT_ENTER] = "a task makes a call that may suspend",
    [IORA__MOMENT_WAIT] = "a task waits",
    [MOMENTS + IORA__STEP_ORDER] = "drawn, for what runs next",
    [MOMENTS + IORA__STEP_SIM] = "drawn, by the simulation",
    [MOMENTS + IORA__STEP_CLOCK] = "the clock jumps",
    [MOMENTS + IORA__STEP_RESULT] = "an operation's kind and result",
};

void
fault_tell_step(uint64_t step, char *text, size_t size)
{
    (void)snprintf(text, size, "%s: %llu", step_texts[step & ((1u << KIND_BITS) - 1)],
                   (unsigned long long)(step >> KIND_BITS));
}

static void
trace(int kind, uint64_t value)
{
    struct trace *const to = run.injection->trace;
    const uint64_t step = value << KIND_BITS | (uint64_t)kind;
    uint64_t mixed = to->hash + step;

    to->hash = iora__random_next(&mixed);
    if (to->length < FAULT_STEPS)
        to->steps[to->length] = step;
    to->length++;
}

static void
trace_moment(enum iora__moment moment, const struct iora__task *task)
{
    if (run.injection->trace != NULL)
        trace((int)moment, task != NULL ? task->id : 0);
}

static void
on_step(enum iora__step step, uint64_t value)
{
    trace(MOMENTS + (int)step, value);
}

/* ---- interfering -------------------------------------------------------------------------------------- */

static void
cancel_victim(void *arg)
{
    (void)arg;
    (void)iora_cancel(run.victim);
}

static void
cancel_when_it_waits(struct iora__task *task)
{
    run.victim = iora__task_handle(task);
    (void)iora_call_soon(task->loop, &run.cancels, cancel_victim, NULL);
    if (run.cancel == MODE_NOW) {
        iora__list_remove(&run.cancels._ready._link);
        iora__list_insert_before(task->loop->ready._link._next, &run.cancels._ready._link);
    }
}

static void
end_scope(iora_scope *scope)
{
    if (scope->_is_group)
        iora_group_cancel(iora__container_of(scope, iora_group, _scope));
    else
        iora_timeout_reset(scope, iora_ns(0));
}

static void
fire(struct iora__task *task)
{
    run.fired = run.outcome->fired = true;
    switch (run.cancel) {
    case MODE_ENTER:
        iora__task_cancel(task);
        break;
    case MODE_SCOPE:
        end_scope(task->scope);
        break;
    default:
        cancel_when_it_waits(task);
        break;
    }
}

static void
on_moment(enum iora__moment moment, struct iora__task *task)
{
    const enum mode mode = run.cancel;
    const long n = run.cancel_n;

    trace_moment(moment, task);
    switch (moment) {
    case IORA__MOMENT_TURN:
        if (++run.turns > run.injection->turn_limit && mode != MODE_STINGY)
            fault_fail(__FILE__, __LINE__, "the loop has turned %ld times: it spins", run.turns);
        break;
    case IORA__MOMENT_ENTER:
        if (++run.entered == n && mode == MODE_ENTER)
            fire(task);
        if (task->scope != NULL && ++run.scoped == n && mode == MODE_SCOPE)
            fire(task);
        break;
    case IORA__MOMENT_WAIT:
        if (++run.waited == n && (mode == MODE_WAIT || mode == MODE_NOW))
            fire(task);
        break;
    }
}

static void
limit_descriptors(rlim_t most)
{
    const struct rlimit limit = {most, most};

    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static long
draw(uint64_t *random, long below)
{
    return below > 0 ? (long)(iora__random_next(random) % (uint64_t)below) + 1 : 0;
}

/* Of each seed other two: where among all that came up when nothing went wrong. */
static void
draw_pair(void)
{
    static const enum mode cancels[] = {MODE_ENTER, MODE_WAIT, MODE_NOW, MODE_SCOPE};
    const struct tally *const plain = &run.injection->of_plain;
    uint64_t random = (uint64_t)run.injection->n;

    run.fault = draw(&random, 2) == 1 ? MODE_ALLOC : MODE_CALL;
    run.fault_n = draw(&random, run.fault == MODE_ALLOC ? plain->allocations : plain->calls);
    run.variant = (int)draw(&random, 6);
    run.cancel = cancels[draw(&random, plain->scoped > 0 ? 4 : 3) - 1];
    run.cancel_n = draw(&random, run.cancel == MODE_ENTER   ? plain->entered
                                 : run.cancel == MODE_SCOPE ? plain->scoped
                                                            : plain->waited);
}

static void
make_plan(void)
{
    const struct injection *const injection = run.injection;

    run.fault = run.cancel = injection->mode;
    run.fault_n = run.cancel_n = injection->n;
    run.variant = injection->variant;
    if (injection->mode == MODE_PAIR && injection->n > 0 && injection->n <= injection->seeds)
        draw_pair();
}

static void
arm(void)
{
    const long n = run.fault_n;

    iora__seam_watch(on_moment);
    if (run.injection->trace != NULL)
        iora__seam_trace(on_step);
    switch (run.fault) {
    case MODE_CALL:
        iora__seam_arm_call(n, run.variant, false);
        break;
    case MODE_CALLS:
        iora__seam_arm_calls(n, run.variant,
                             run.injection->where == SIM ? FAILURES_MORE : FAILURES_MORE_REAL);
        break;
    case MODE_ALLOC:
    case MODE_ALLOCS:
        iora__seam_arm_allocation(n, run.fault == MODE_ALLOCS);
        break;
    case MODE_NOFILE:
        if (n > 0)
            limit_descriptors((rlim_t)(n - 1 + FAULT_NOFILE_MIN));
        break;
    case MODE_STINGY:
        if (n > 0 && n <= STINGY_WAYS)
            iora__seam_be_stingy(stingy_ways[n - 1].most, stingy_ways[n - 1].refused);
        break;
    case MODE_SIGNALS:
        if (n > 0)
            CHECK_EQ(storm_begin(), 0);
        break;
    default: /* what is told to on_moment() */
        break;
    }
}

/* ---- what the library says ------------------------------------------------------------------------------ */

static void
on_error(void *arg, int code, const char *text)
{
    const size_t used = strlen(run.log);

    (void)arg;
    (void)code;
    run.errors++;
    (void)snprintf(run.log + used, sizeof run.log - used, "%s\n", text);
}

static bool
is_allowed(const char *text)
{
    for (int i = 0; i < TEXTS_MAX && run.texts[i] != NULL; i++) {
        if (strstr(text, run.texts[i]) != NULL)
            return true;
    }
    if (getenv("IORA_DEBUG") != NULL &&
        (strstr(text, "stacks: ") != NULL || strstr(text, "without giving way") != NULL))
        return true;
    return fault_is_armed() && (strstr(text, "no address space for another stack") != NULL ||
                                strstr(text, "a stack cannot be guarded") != NULL);
}

static void
on_log(void *arg, const char *text)
{
    const size_t used = strlen(run.log);

    (void)arg;
    (void)snprintf(run.log + used, sizeof run.log - used, "%s\n", text);
    run.said_more |= !is_allowed(text);
}

void
fault_expect_errors(int count)
{
    run.errors_expected = count;
}

void
fault_expect_log(const char *text)
{
    int at = 0;

    while (run.texts[at] != NULL)
        at++;
    CHECK(at < TEXTS_MAX);
    run.texts[at] = text;
}

/* ---- loops ---------------------------------------------------------------------------------------------- */

iora_loop_options *
fault_options(void)
{
    return &run.options;
}

/* The order in which ready things run; every other pair has one of its own. */
static uint64_t
seed_of(const struct injection *injection)
{
    if (injection->mode == MODE_ORDER || (injection->mode == MODE_PAIR && injection->n % 2 != 0))
        return (uint64_t)injection->n;
    return injection->seed;
}

uint64_t
fault_seed(void)
{
    const uint64_t seed = seed_of(run.injection);

    return seed != 0 ? seed : 1;
}

iora_loop *
fault_another_loop(void)
{
    const enum where where = run.injection->where;
    iora_loop_options options = run.options;
    iora_loop *loop;
    int at = 0;

    options.backend = where == SIM ? IORA_BACKEND_SIM : IORA_BACKEND_EPOLL;
    if (where == SIM)
        options.seed = seed_of(run.injection);
    options.complete_late = where == LATE;
    options.on_error = on_error;
    options.on_log = on_log;
    if (EXPECT(iora_loop_new(&options, &loop), 0) < 0)
        return NULL;
    while (at < LOOPS_MAX && run.loops[at] != NULL)
        at++;
    CHECK(at < LOOPS_MAX);
    return run.loops[at] = loop;
}

void
fault_forget_loop(iora_loop *loop)
{
    for (int i = 0; i < LOOPS_MAX; i++) {
        if (run.loops[i] == loop)
            run.loops[i] = NULL;
    }
}

iora_loop *
fault_loop(void)
{
    if (run.first == NULL && !run.first_failed) {
        run.first = fault_another_loop();
        run.first_failed = run.first == NULL;
    }
    return run.first;
}

static void
examine(const iora_loop *loop)
{
    iora_census left;

    iora_loop_census(loop, &left);
    if (left.tasks != 0 || left.stacks != 0 || left.timers != 0 || left.ops != 0 ||
        left.remotes != 0 || left.ready != 0)
        fault_fail(__FILE__, __LINE__,
                   "left in the loop: %zu tasks, %zu stacks, %zu timers, %zu operations, "
                   "%zu remotes, %zu ready",
                   left.tasks, left.stacks, left.timers, left.ops, left.remotes, left.ready);
}

static void
free_loops(void)
{
    for (int i = 0; i < LOOPS_MAX; i++) {
        if (run.loops[i] != NULL) {
            examine(run.loops[i]);
            CHECK_EQ(iora_loop_free(run.loops[i]), 0);
        }
    }
}

/* ---- before and after -------------------------------------------------------------------------------------- */

struct census {
    long allocations;
    int descriptors;
    int threads;
};

static struct census
take_census(void)
{
    struct census census = {.allocations = iora__seam_read().alive};
    struct stat tasks;

    for (int fd = 0; fd < DESCRIPTORS; fd++)
        census.descriptors += fcntl(fd, F_GETFD) >= 0;
#if !defined(__SANITIZE_THREAD__) /* which has one of its own, from when it likes */
    if (stat("/proc/self/task", &tasks) == 0)
        census.threads = (int)tasks.st_nlink - 2;
#else
    (void)tasks;
#endif
    return census;
}

static void
compare(const struct census *before)
{
    struct census after = take_census();

    /* A thread that was joined is in the kernel's list for a moment more; one that was left to itself may be
     * about to free what it has. */
    for (int tries = 0; tries < 1000 && (after.threads > before->threads ||
                                         after.allocations > before->allocations);
         tries++) {
        (void)usleep(100);
        after = take_census();
    }
    CHECK_EQ(after.allocations, before->allocations);
    CHECK_EQ(after.descriptors, before->descriptors);
    CHECK_EQ(after.threads, before->threads);
}

/* What keeps a run that did not end: the second alarm ends it if it cannot even be told. */
static void
time_is_up(int number)
{
    (void)number;
    alarm(2);
    for (int i = 0; i < LOOPS_MAX; i++) {
        if (run.loops[i] != NULL)
            iora_dump_tasks(run.loops[i], NULL, NULL);
    }
    fault_fail(__FILE__, __LINE__, "it took too long; it has turned %ld times", run.turns);
}

void
fault_run(const struct injection *injection, struct outcome *outcome)
{
    const struct sigaction at_alarm = {.sa_handler = time_is_up,
                                       .sa_flags = SA_RESETHAND | SA_NODEFER};
    struct census before;

    run.injection = injection;
    run.outcome = outcome;
    (void)sigaction(SIGALRM, &at_alarm, NULL);
    before = take_census();
    make_plan();
    arm();
    injection->scenario->fn();
    (void)iora_handle_cancel(&run.cancels);
    free_loops();
    compare(&before);
    CHECK_EQ(run.begun, run.spawned);
    CHECK_EQ(run.left, run.begun);
    CHECK_EQ_UNARMED(run.errors, run.errors_expected);
    if (run.said_more)
        fault_fail(__FILE__, __LINE__, "the library said what it had no cause to say");
    end_run(EXIT_SUCCESS);
}
