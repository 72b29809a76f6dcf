/* tests/fault/driver.c -- make the nth thing fail, for every n, in every scenario.
 *
 *     iora-faults [--list] [--jobs N] [--budget SECONDS] [--every N] [--quiet] [--seed N[-M]]
 *                 [--seeds N] [--repeat N] [PATTERN...]
 *     iora-faults --scenario NAME --mode MODE --n N [--variant V]
 *
 * A *test* is a scenario in one mode (what goes wrong) on one backend; its name is "queues.fifo@late/call". It
 * is a *sweep*: one run in which nothing goes wrong, then one for n = 1, 2, 3 ... (and each errno that system
 * call may give) until a run comes to its end before the nth thing. A scenario is told its rules by fault.h.
 *
 *     this process --fork--> a worker per job, each taking the next test --fork--> a process per run
 *
 * The workers are forked before anything of the library ran, and every run from a worker, so each finds the
 * library as a new process does; no run costs an exec. What they have to say is in shared memory. Each worker has a
 * network of its own, where it may: connections that have ended keep their ports for a minute, and what two sweeps at
 * a time leave behind is all that a machine has. A run that is done again alone is in the network of who asked.
 *
 * A run fails by a check, a crash, an alarm, a spin (turns of the loop far beyond those of the run without a
 * fault). The second form above does one run again, in one process, as it is printed with each failure.
 *
 * A simulated run is its seed's. Of the seeds of the ready order each so manieth (--repeat, 20) is run twice, and
 * what was drawn, delivered and run must be the same step by step; the first that is not is printed. All traces
 * together give one number, which another process of the same build finds again.
 *
 * Before the last line come the figures: of each kind of fault the runs, those that failed, and the seconds they
 * took, of all jobs together. The last line is `N passed, N failed`; a test that a budget left out or cut short is neither.
 */
#include "../c/patterns.h"
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { JOBS_MAX = 64, TESTS_MAX = 8192, FAILURES_SHOWN = 3, FIRST_ONES = 40, NAME_MAX_ = 128 };
enum { SEEDS = 50, REPEAT = 20 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { RUN_SECONDS = 30, EVERY = 5, JOBS = 2 }; /* a fork costs ten times as much */
#else
enum { RUN_SECONDS = 5, EVERY = 1, JOBS = 3 }; /* two of three wait for a deadline or a peer */
#endif

enum state { WAITING, RUNNING, SWEPT, CUT };

struct test {
    const struct scenario *scenario;
    enum where where;
    enum mode mode;
    uint64_t seed;
    atomic_int state;
    long runs;     /* in which something went wrong */
    long failures; /* of these and of the run without a fault */
    long repeated; /* to compare the traces */
    long steps;    /* of all traces */
    uint64_t hash; /* of all traces, in whatever order */
    double seconds;
    long cut_at;   /* the n that was to come when time was up */
};

/* What the workers and their runs share with this process. */
static struct shared {
    atomic_int next;
    atomic_long runs;
    atomic_long failed;
    struct outcome outcomes[JOBS_MAX];
    struct test tests[TESTS_MAX];
} *shared;

/* Of each job two: of a run and of its repetition. */
static struct trace *traces;

static struct {
    const char *self;
    char **patterns;
    int pattern_count;
    int jobs;
    int test_count;
    double budget; /* seconds; 0: no end */
    long every;    /* only one n in so many is taken */
    bool quiet;
    uint64_t first_seed, last_seed; /* of the ready order: everything once for each */
    long seeds;
    long repeat; /* each so manieth seed is run twice */
    struct timespec began;
} driver = {.every = EVERY, .seeds = SEEDS, .repeat = REPEAT};

/* JOBS to a processor. */
static int
default_jobs(void)
{
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);

    return processors < 1 ? JOBS : processors < JOBS_MAX / JOBS ? (int)processors * JOBS : JOBS_MAX;
}

static double
seconds_since(const struct timespec *began)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - began->tv_sec) + (double)(now.tv_nsec - began->tv_nsec) / 1e9;
}

static bool
time_is_over(void)
{
    return driver.budget > 0 && seconds_since(&driver.began) > driver.budget;
}

static bool
on_terminal(void)
{
    return isatty(STDOUT_FILENO) != 0;
}

static void
name_test(const struct test *test, char name[NAME_MAX_])
{
    const int used =
        snprintf(name, NAME_MAX_, "%s.%s@%s/%s", test->scenario->topic, test->scenario->name,
                 fault_where_name(test->where), fault_mode_names[test->mode]);

    if (driver.first_seed < driver.last_seed)
        (void)snprintf(name + used, NAME_MAX_ - (size_t)used, "#%llu",
                       (unsigned long long)test->seed);
}

/* ---- one run ---------------------------------------------------------------------------------------- */

/* Byte by byte everything takes longer. */
static unsigned
seconds_for(const struct injection *injection)
{
    return injection->mode == MODE_STINGY ? 6 * RUN_SECONDS : RUN_SECONDS;
}

/* A process for the run. Returns its status as waitpid(2) tells it. */
static int
run_in_child(const struct injection *injection, struct outcome *outcome)
{
    int status;
    pid_t pid;

    outcome->counted = 0;
    outcome->turns = 0;
    outcome->ended = outcome->fired = false;
    outcome->variants = 0;
    outcome->what[0] = outcome->text[0] = '\0';
    if ((pid = fork()) == 0) {
        alarm(seconds_for(injection));
        fault_run(injection, outcome);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0) {
        perror("iora-faults");
        _exit(2);
    }
    return status;
}

static const char *
verdict_of(int status, char text[64])
{
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        return "took too long";
    if (WIFSIGNALED(status))
        (void)snprintf(text, 64, "ended by signal %d (%s)", WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
    else
        (void)snprintf(text, 64, "exit status %d", WEXITSTATUS(status));
    return text;
}

/* Print what the run's process wrote to its stderr. */
static void
copy_output(int fd, FILE *to)
{
    char buffer[4096];
    ssize_t n;

    (void)lseek(fd, 0, SEEK_SET);
    while ((n = read(fd, buffer, sizeof buffer)) > 0)
        (void)!fwrite(buffer, 1, (size_t)n, to);
    (void)lseek(fd, 0, SEEK_SET);
    (void)!ftruncate(fd, 0);
}

static void
print_command(const struct injection *injection, FILE *to)
{
    fprintf(to, "%s --scenario %s.%s@%s --mode %s --n %ld", driver.self, injection->scenario->topic,
            injection->scenario->name, fault_where_name(injection->where),
            fault_mode_names[injection->mode], injection->n);
    if (injection->variant > 0)
        fprintf(to, " --variant %d", injection->variant);
    if (injection->seed != 0)
        fprintf(to, " --seed %llu", (unsigned long long)injection->seed);
    if (injection->mode == MODE_PAIR || injection->mode == MODE_ORDER)
        fprintf(to, " --seeds %ld", injection->seeds);
    fprintf(to, "\n");
}

/* All of it in one write, since other workers print too. */
static void
tell_failure(const struct injection *injection, const struct outcome *outcome, int status,
             int output)
{
    char verdict[64], *text = NULL;
    size_t size = 0;
    FILE *const to = open_memstream(&text, &size);

    if (to == NULL)
        return;
    fprintf(to, "%sFAILED  %s.%s@%s/%s", on_terminal() ? "\r\033[K" : "",
            injection->scenario->topic, injection->scenario->name,
            fault_where_name(injection->where), fault_mode_names[injection->mode]);
    if (injection->n > 0)
        fprintf(to, ", n = %ld", injection->n);
    else
        fprintf(to, ", without a fault");
    if (outcome->what[0] != '\0')
        fprintf(to, " (%s)", outcome->what);
    fprintf(to, ": %s\n", verdict_of(status, verdict));
    if (outcome->text[0] != '\0')
        fprintf(to, "%s\n", outcome->text);
    copy_output(output, to);
    fprintf(to, "again:  ");
    print_command(injection, to);
    (void)fclose(to);
    (void)!write(STDOUT_FILENO, text, size);
    free(text);
}

/* ---- one test: a sweep --------------------------------------------------------------------------------- */

struct sweep {
    struct test *test;
    struct injection injection;
    struct outcome *outcome;
    struct trace *traces; /* two */
    int output; /* where runs write to as their stderr */
};

/* The run without a fault is the same in all modes: one that has failed so in another has told of it. */
static bool
is_told(const struct test *test)
{
    for (const struct test *other = test; other > shared->tests; other--) {
        if (other[-1].scenario != test->scenario || other[-1].where != test->where ||
            other[-1].seed != test->seed)
            return false;
        if (other[-1].failures > 0)
            return true;
    }
    return false;
}

static void
tell(struct sweep *sweep, int status)
{
    if (sweep->test->failures++ < FAILURES_SHOWN &&
        (sweep->injection.n > 0 || !is_told(sweep->test)))
        tell_failure(&sweep->injection, sweep->outcome, status, sweep->output);
}

/* True if the run went well. */
static bool
run_one(struct sweep *sweep, long n, int variant)
{
    struct timespec began;
    int status;

    (void)clock_gettime(CLOCK_MONOTONIC, &began);
    sweep->injection.n = n;
    sweep->injection.variant = variant;
    status = run_in_child(&sweep->injection, sweep->outcome);
    if (n > 0 && (sweep->outcome->fired || !sweep->outcome->ended)) {
        sweep->test->runs++;
        sweep->test->seconds += seconds_since(&began);
        atomic_fetch_add(&shared->runs, 1);
    }
    if (status != 0)
        tell(sweep, status);
    return status == 0;
}

/* ---- a seed is a run ------------------------------------------------------------------------------------ */

static void
clear_trace(struct trace *trace)
{
    trace->hash = 0;
    trace->length = 0;
}

static void
tell_difference(const struct trace *first, const struct trace *second, char *text, size_t size)
{
    char was[96], is[96];
    long at = 0;

    while (at < first->length && at < second->length && at < FAULT_STEPS &&
           first->steps[at] == second->steps[at])
        at++;
    if (at == FAULT_STEPS) {
        (void)snprintf(text, size, "run again, it differs beyond step %ld", at);
        return;
    }
    (void)snprintf(was, sizeof was, "the end");
    (void)snprintf(is, sizeof is, "the end");
    if (at < first->length)
        fault_tell_step(first->steps[at], was, sizeof was);
    if (at < second->length)
        fault_tell_step(second->steps[at], is, sizeof is);
    (void)snprintf(text, size, "run again, it differs at step %ld of %ld: %s; before: %s", at + 1,
                   first->length, is, was);
}

/* Run the same once more, and compare. */
static void
repeat(struct sweep *sweep)
{
    struct trace *const first = &sweep->traces[0], *const second = &sweep->traces[1];
    int status;

    clear_trace(second);
    sweep->injection.trace = second;
    status = run_in_child(&sweep->injection, sweep->outcome);
    sweep->injection.trace = first;
    sweep->test->repeated++;
    if (status == 0 && first->hash == second->hash && first->length == second->length)
        return;
    if (status == 0)
        tell_difference(first, second, sweep->outcome->text, sizeof sweep->outcome->text);
    tell(sweep, status);
}

/* The runs of a seed, whose trace is kept, and each so manieth of which is repeated. */
static void
run_seed(struct sweep *sweep, long n)
{
    const struct trace *const trace = &sweep->traces[0];

    clear_trace(&sweep->traces[0]);
    sweep->injection.trace = &sweep->traces[0];
    if (run_one(sweep, n, 0) && sweep->outcome->fired &&
        !(sweep->test->scenario->where & THREADED)) {
        sweep->test->steps += trace->length;
        sweep->test->hash += trace->hash;
        if (n % driver.repeat == 0)
            repeat(sweep);
    }
    sweep->injection.trace = NULL;
}

/* Inject at n, with each errno; false if the run came to its end before n. */
static bool
sweep_at(struct sweep *sweep, long n)
{
    const struct outcome *const outcome = sweep->outcome;
    int variants;

    if (sweep->injection.mode == MODE_ORDER)
        run_seed(sweep, n);
    else
        (void)run_one(sweep, n, 0);
    if (outcome->ended && outcome->counted < n)
        return false;
    variants = sweep->injection.mode == MODE_PAIR ? 0 : outcome->variants;
    for (int variant = 1; variant < variants; variant++)
        (void)run_one(sweep, n, variant);
    return true;
}

/* How far it is from n to the next. A scenario that takes only some takes the first ones all: loops are made
 * there, and tables begun; and so it does where n does not count what happens. */
static long
step_at(const struct test *test, long n)
{
    const bool takes_all = n < FIRST_ONES || test->mode >= MODE_PAIR;

    return (takes_all ? 1 : test->scenario->every) * driver.every;
}

/* Run the whole test, or until time is over. After some failures more would tell nothing new. If not every n is
 * taken, neighbouring tests begin with different ones. */
static void
sweep_all(struct test *test, int job, int output)
{
    struct outcome *const outcome = &shared->outcomes[job];
    struct sweep sweep = {
        .test = test, .outcome = outcome, .traces = traces + 2 * job, .output = output};

    sweep.injection = (struct injection){.scenario = test->scenario,
                                         .where = test->where,
                                         .mode = test->mode,
                                         .turn_limit = 1000000,
                                         .seed = test->seed,
                                         .seeds = driver.seeds};
    if (!run_one(&sweep, 0, 0))
        return;
    sweep.injection.of_plain = outcome->tally;
    sweep.injection.turn_limit = 10 * outcome->turns + 1000;
    for (long n = 1 + (test - shared->tests) % driver.every; test->failures < FAILURES_SHOWN;
         n += step_at(test, n)) {
        if (time_is_over()) {
            test->cut_at = n;
            return;
        }
        if (!sweep_at(&sweep, n))
            return; /* there was no nth */
    }
}

/* ---- workers -------------------------------------------------------------------------------------------- */

static bool
brings_loopback_up(void)
{
    struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const bool is_up = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &loopback) == 0;

    if (fd >= 0)
        (void)close(fd);
    return is_up;
}

/* Into a network of its own, or stay where it is. */
static void
leave_network(void)
{
    const int old = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

    if (old < 0)
        return;
    if (unshare(CLONE_NEWNET) == 0 && !brings_loopback_up() && setns(old, CLONE_NEWNET) < 0) {
        perror("iora-faults: back from a network without a loopback");
        _exit(2);
    }
    (void)close(old);
}

static void
work(int job)
{
    const int output = memfd_create("output", MFD_CLOEXEC);
    int at;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    leave_network();
    (void)dup2(output, STDERR_FILENO);
    while (!time_is_over() && (at = atomic_fetch_add(&shared->next, 1)) < driver.test_count) {
        struct test *const test = &shared->tests[at];

        atomic_store(&test->state, RUNNING);
        sweep_all(test, job, output);
        if (test->failures > 0)
            atomic_fetch_add(&shared->failed, 1);
        atomic_store(&test->state, test->cut_at > 0 ? CUT : SWEPT);
    }
    _exit(0);
}

static int
count_state(enum state state)
{
    int count = 0;

    for (int i = 0; i < driver.test_count; i++)
        count += atomic_load(&shared->tests[i].state) == (int)state;
    return count;
}

static void
show_progress(void)
{
    char name[NAME_MAX_] = "";
    const int at = atomic_load(&shared->next) - 1;

    if (!on_terminal())
        return;
    if (at >= 0 && at < driver.test_count)
        name_test(&shared->tests[at], name);
    printf("\r\033[K[%d/%d] %ld runs, %ld failed, %.0f s  %s", count_state(SWEPT),
           driver.test_count, atomic_load(&shared->runs), atomic_load(&shared->failed),
           seconds_since(&driver.began), name);
    fflush(stdout);
}

/* Returns whether all workers ended as they should. */
static bool
run_workers(void)
{
    const struct timespec pause = {0, 100000000};
    int left = driver.jobs;
    bool well = true;

    for (int i = 0; i < driver.jobs; i++) {
        fflush(NULL);
        const pid_t pid = fork();

        if (pid == 0)
            work(i);
        if (pid < 0) {
            perror("iora-faults");
            exit(2);
        }
    }
    while (left > 0) {
        int status;
        const pid_t pid = waitpid(-1, &status, WNOHANG);

        if (pid > 0) {
            left--;
            well &= status == 0;
            continue;
        }
        show_progress();
        (void)nanosleep(&pause, NULL);
    }
    if (on_terminal())
        printf("\r\033[K");
    return well;
}

/* ---- what came of it ---------------------------------------------------------------------------------------- */

static void
print_row(const char *name, const long runs[MODES], double seconds)
{
    long sum = 0;

    printf("%-34s", name);
    for (int mode = 0; mode < MODES; mode++) {
        printf(" %6ld", runs[mode]);
        sum += runs[mode];
    }
    printf(" %7ld %8.1f\n", sum, seconds);
}

/* A row for each scenario, its backends together. */
static void
print_table(void)
{
    long sums[MODES] = {0};
    double seconds_of_all = 0;

    printf("%-34s", "runs with a fault");
    for (int mode = 0; mode < MODES; mode++)
        printf(" %6s", fault_mode_names[mode]);
    printf(" %7s %8s\n", "sum", "seconds");
    for (const struct scenario *scenario = fault_scenarios; scenario != NULL;
         scenario = scenario->next) {
        long runs[MODES] = {0};
        double seconds = 0;
        bool any = false;
        char name[NAME_MAX_];

        for (int i = 0; i < driver.test_count; i++) {
            if (shared->tests[i].scenario == scenario) {
                any = true;
                runs[shared->tests[i].mode] += shared->tests[i].runs;
                sums[shared->tests[i].mode] += shared->tests[i].runs;
                seconds += shared->tests[i].seconds;
            }
        }
        (void)snprintf(name, sizeof name, "%s.%s%s", scenario->topic, scenario->name,
                       scenario->every > 1 ? " *" : "");
        if (any)
            print_row(name, runs, seconds);
        seconds_of_all += seconds;
    }
    print_row("sum", sums, seconds_of_all);
}

static void
print_notes(void)
{
    for (const struct scenario *scenario = fault_scenarios; scenario != NULL;
         scenario = scenario->next) {
        bool chosen = false;

        for (int i = 0; i < driver.test_count; i++)
            chosen |= shared->tests[i].scenario == scenario;
        if (scenario->every > 1 && chosen)
            printf("* %s.%s: only one n in %ld after the first %d\n", scenario->topic,
                   scenario->name, scenario->every, FIRST_ONES);
    }
    if (driver.every > 1)
        printf("only one n in %ld; --every 1 takes all\n", driver.every);
    for (int i = 0; i < driver.test_count; i++) {
        const struct test *const test = &shared->tests[i];
        char name[NAME_MAX_];

        name_test(test, name);
        if (atomic_load(&test->state) == CUT)
            printf("left out, for want of time: %s from n = %ld on\n", name, test->cut_at);
        else if (atomic_load(&test->state) == WAITING)
            printf("left out, for want of time: %s\n", name);
    }
}

/* What the modes have in common. */
static const struct kind {
    const char *name;
    enum mode first, last;
} kinds[] = {
    {"failing system calls", MODE_CALL, MODE_CALLS},
    {"failing allocations", MODE_ALLOC, MODE_ALLOCS},
    {"cancellations", MODE_ENTER, MODE_SCOPE},
    {"a failure and a cancellation", MODE_PAIR, MODE_PAIR},
    {"seeds of the ready order", MODE_ORDER, MODE_ORDER},
    {"limits of descriptors", MODE_NOFILE, MODE_NOFILE},
    {"a stingy kernel", MODE_STINGY, MODE_STINGY},
    {"signals each millisecond", MODE_SIGNALS, MODE_SIGNALS},
};

struct sum {
    long runs, failures, repeated, steps;
    double seconds;
    uint64_t hash;
};

/* Of the tests in these modes, on these backends. */
static struct sum
sum_up(enum mode first, enum mode last, unsigned where)
{
    struct sum sum = {0};

    for (int i = 0; i < driver.test_count; i++) {
        const struct test *const test = &shared->tests[i];

        if (test->mode < first || test->mode > last || !(test->where & where))
            continue;
        sum.runs += test->runs;
        sum.failures += test->failures;
        sum.repeated += test->repeated;
        sum.steps += test->steps;
        sum.seconds += test->seconds;
        sum.hash += test->hash;
    }
    return sum;
}

static void
print_sum(const char *name, const struct sum *sum)
{
    if (sum->runs == 0)
        return;
    printf("figure: %s, runs = %ld\n", name, sum->runs);
    printf("figure: %s, failed = %ld\n", name, sum->failures);
    printf("figure: %s, seconds = %.1f\n", name, sum->seconds);
    if (sum->steps > 0) {
        printf("figure: %s, run again for an equal trace = %ld\n", name, sum->repeated);
        printf("figure: %s, steps in all traces = %ld\n", name, sum->steps);
        printf("figure: %s, all traces = %016llx\n", name, (unsigned long long)sum->hash);
    }
}

static int
count_scenarios(void)
{
    int count = 0;

    for (int i = 0; i < driver.test_count; i++)
        count += i == 0 || shared->tests[i].scenario != shared->tests[i - 1].scenario;
    return count;
}

static void
print_figures(void)
{
    const struct sum late = sum_up(MODE_CALL, MODES, LATE), all = sum_up(MODE_CALL, MODES, ~0u);

    printf("figure: scenarios = %d\n", count_scenarios());
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const struct sum sum = sum_up(kinds[i].first, kinds[i].last, ~0u);

        print_sum(kinds[i].name, &sum);
    }
    if (late.runs > 0)
        printf("figure: of all these with every operation late, runs = %ld\n", late.runs);
    print_sum("all together", &(struct sum){all.runs, all.failures, 0, 0, all.seconds, 0});
}

static int
summarize(bool well)
{
    int passed = 0, failed = 0;

    for (int i = 0; i < driver.test_count; i++) {
        const struct test *const test = &shared->tests[i];
        const int state = atomic_load(&test->state);

        failed += test->failures > 0 || state == RUNNING;
        passed += test->failures == 0 && state == SWEPT;
    }
    if (!driver.quiet)
        print_table();
    print_notes();
    print_figures();
    printf("%ld runs with a fault in %.1f s\n", atomic_load(&shared->runs),
           seconds_since(&driver.began));
    printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 && passed > 0 && well ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- which tests --------------------------------------------------------------------------------------------- */

static bool
matches(const struct test *test)
{
    char name[NAME_MAX_];

    name_test(test, name);
    return is_asked_for(name, driver.patterns, driver.pattern_count);
}

static bool
exists(const struct test *test)
{
    return driver.test_count < TESTS_MAX - 1 && (test->scenario->where & test->where) &&
           (test->mode != MODE_ORDER || test->where == SIM) &&
           (test->mode < MODE_NOFILE || test->where != SIM) &&
           (test->mode != MODE_NOFILE || !(test->scenario->where & AMPLE));
}

static void *
map_shared(size_t size)
{
    void *const mapped = mmap(NULL, size, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (mapped == MAP_FAILED) {
        perror("iora-faults");
        exit(2);
    }
    return mapped;
}

static void
choose_modes(const struct scenario *scenario, enum where where, uint64_t seed)
{
    for (int mode = 0; mode < MODES; mode++) {
        struct test *const test = &shared->tests[driver.test_count];

        *test = (struct test){.scenario = scenario, .where = where, .mode = mode, .seed = seed};
        driver.test_count += exists(test) && matches(test);
    }
}

static void
choose_tests(void)
{
    shared = map_shared(sizeof *shared);
    traces = map_shared(2 * (size_t)driver.jobs * sizeof *traces);
    for (const struct scenario *scenario = fault_scenarios; scenario != NULL;
         scenario = scenario->next) {
        for (unsigned where = SIM; where <= LATE; where <<= 1) {
            for (uint64_t seed = driver.first_seed; seed <= driver.last_seed; seed++)
                choose_modes(scenario, where, seed);
        }
    }
}

static void
list_tests(void)
{
    for (int i = 0; i < driver.test_count; i++) {
        char name[NAME_MAX_];

        name_test(&shared->tests[i], name);
        printf("%s\n", name);
    }
}

/* ---- one run again --------------------------------------------------------------------------------------------- */

static struct {
    const char *scenario;
    const char *mode;
    long n;
    int variant;
} again;

static bool
find_again(struct injection *injection)
{
    for (const struct scenario *scenario = fault_scenarios; scenario != NULL;
         scenario = scenario->next) {
        for (unsigned where = SIM; where <= LATE; where <<= 1) {
            char name[NAME_MAX_];

            (void)snprintf(name, sizeof name, "%s.%s@%s", scenario->topic, scenario->name,
                           fault_where_name(where));
            if ((scenario->where & where) && strcmp(name, again.scenario) == 0) {
                injection->scenario = scenario;
                injection->where = where;
                for (int mode = 0; mode < MODES; mode++) {
                    injection->mode = mode;
                    if (again.mode == NULL || strcmp(fault_mode_names[mode], again.mode) == 0)
                        return true;
                }
            }
        }
    }
    return false;
}

/* In this process, for a debugger; a pair is drawn from what a run without a fault, in another one, has counted. */
static int
run_again(void)
{
    static struct injection injection;
    static struct outcome outcome;

    if (!find_again(&injection)) {
        fprintf(stderr, "iora-faults: no such scenario and mode; --list shows them\n");
        return 2;
    }
    injection.turn_limit = 1000000;
    injection.seed = driver.first_seed;
    injection.seeds = driver.seeds;
    if (injection.mode == MODE_PAIR) {
        struct outcome *const plain = map_shared(sizeof *plain);

        (void)run_in_child(&injection, plain);
        injection.of_plain = plain->tally;
    }
    injection.n = again.n;
    injection.variant = again.variant;
    injection.aloud = true;
    alarm(seconds_for(&injection));
    fault_run(&injection, &outcome);
}

/* ---- main -------------------------------------------------------------------------------------------------------- */

static int
usage(FILE *to, int code)
{
    fprintf(to,
            "usage: iora-faults [--list] [--jobs N] [--budget SECONDS] [--every N] [--quiet]\n"
            "                   [--seed N[-M]] [--seeds N] [--repeat N] [PATTERN...]\n"
            "       iora-faults --scenario NAME --mode MODE --n N [--variant V] [--seed N] [--seeds N]\n"
            "Makes the nth thing go wrong, for every n, in the tests whose names match a pattern (all\n"
            "without one), or once more in the one that is named. --every takes one n in N only; --seed\n"
            "draws the ready order from N in all modes (sim), N-M does all for each of these; --seeds is\n"
            "how many seeds pair and order have (50); --repeat runs each Nth of those of order twice (20).\n"
            "The modes, each a test of its own:\n");
    for (int mode = 0; mode < MODES; mode++)
        fprintf(to, "  %-7s %s\n", fault_mode_names[mode], fault_mode_texts[mode]);
    return code;
}

/* The option's argument as a number, if it is this option. */
static bool
takes_number(char **argv, int argc, int *at, const char *option, double *number)
{
    char *end;

    if (strcmp(argv[*at], option) != 0 || *at + 1 >= argc)
        return false;
    *number = strtod(argv[++*at], &end);
    if (*end != '\0' || *number < 0)
        exit(usage(stderr, 2));
    return true;
}

static bool
takes_text(char **argv, int argc, int *at, const char *option, const char **text)
{
    if (strcmp(argv[*at], option) != 0 || *at + 1 >= argc)
        return false;
    *text = argv[++*at];
    return true;
}

/* "7", or "1-9" for each of these. */
static bool
takes_range(const char *text)
{
    char *end;

    driver.first_seed = driver.last_seed = strtoull(text, &end, 10);
    if (end != text && *end == '-')
        driver.last_seed = strtoull(text = end + 1, &end, 10);
    return end != text && *end == '\0' && driver.first_seed <= driver.last_seed;
}

int
main(int argc, char **argv)
{
    const char *text;
    bool list = false;

    driver.self = argv[0];
    driver.jobs = default_jobs();
    (void)clock_gettime(CLOCK_MONOTONIC, &driver.began);
    for (int i = 1; i < argc; i++) {
        double number;

        if (strcmp(argv[i], "--list") == 0) {
            list = true;
        } else if (strcmp(argv[i], "--quiet") == 0) {
            driver.quiet = true;
        } else if (takes_number(argv, argc, &i, "--jobs", &number)) {
            driver.jobs = (int)number;
        } else if (takes_number(argv, argc, &i, "--budget", &number)) {
            driver.budget = number;
        } else if (takes_number(argv, argc, &i, "--every", &number)) {
            driver.every = (long)number;
        } else if (takes_text(argv, argc, &i, "--seed", &text)) {
            if (!takes_range(text))
                return usage(stderr, 2);
        } else if (takes_number(argv, argc, &i, "--seeds", &number)) {
            driver.seeds = (long)number;
        } else if (takes_number(argv, argc, &i, "--repeat", &number)) {
            driver.repeat = (long)number;
        } else if (takes_number(argv, argc, &i, "--n", &number)) {
            again.n = (long)number;
        } else if (takes_number(argv, argc, &i, "--variant", &number)) {
            again.variant = (int)number;
        } else if (takes_text(argv, argc, &i, "--scenario", &again.scenario) ||
                   takes_text(argv, argc, &i, "--mode", &again.mode)) {
            continue;
        } else if (strcmp(argv[i], "--help") == 0) {
            return usage(stdout, EXIT_SUCCESS);
        } else if (argv[i][0] == '-') {
            return usage(stderr, 2);
        } else {
            driver.patterns = argv + i;
            driver.pattern_count = argc - i;
            break;
        }
    }
    if (driver.jobs < 1 || driver.jobs > JOBS_MAX || driver.every < 1 ||
        driver.seeds < 1 || driver.repeat < 1)
        return usage(stderr, 2);
    if (again.scenario != NULL)
        return run_again();
    choose_tests();
    if (list) {
        list_tests();
        return EXIT_SUCCESS;
    }
    return summarize(run_workers());
}
