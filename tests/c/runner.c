/* tests/c/runner.c -- runs the tests, each in a process of its own (test.h says how to write one).
 *
 *     iora-tests [--list] [--jobs N] [-v] [--slow N] [--stingy | --signals] [--wrap COMMAND] [--run NAME]
 *                [PATTERN...]
 *
 * A pattern is a shell pattern for the name, or a part of it. The child's output goes to a memory file and is
 * shown only if it fails. --run runs one test in this process, for a debugger; --wrap puts a command before
 * `iora-tests --run NAME`, valgrind for one. --stingy and --signals run the tests on real descriptors, in one of
 * the ways of enum test_way. --slow gives each test so many times the time, where the machine is emulated. The last line is `N passed, N failed`, with `, N skipped` if any.
 */
#include "patterns.h"
#include "storm.h"
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef IORA_UCONTEXT
#include <ucontext.h>
#endif

enum { EXIT_SKIPPED = 77, JOBS_MAX = 64, LOOPS_MAX = 16, TIMEOUT_S = 30 };

static struct test *tests, **tests_end = &tests;

void
test_register(struct test *test)
{
    *tests_end = test;
    tests_end = &test->next;
}

static struct test_exemption *exemptions;

void
test_exempt(struct test_exemption *exemption)
{
    exemption->next = exemptions;
    exemptions = exemption;
}

/* ---- inside a test ------------------------------------------------------------------------------ */

static struct {
    enum test_where where;
    iora_loop *loop;
    iora_loop *loops[LOOPS_MAX];
    iora_loop_options options;
    char log[65536];
    bool log_expected;
    char trace[16384];
    int64_t began_ns;
} run = {.options = IORA_LOOP_OPTIONS_INIT, .began_ns = -1};

void
test_fail(const char *file, int line, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s:%d: ", file, line);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    if (run.log[0] != '\0')
        fprintf(stderr, "the library had said:\n%s", run.log);
    if (run.trace[0] != '\0')
        fprintf(stderr, "the trace was: %s\n", run.trace);
    _exit(EXIT_FAILURE);
}

void
test_skip(const char *why)
{
    fprintf(stderr, "%s\n", why);
    _exit(EXIT_SKIPPED);
}

static const char *
name_of(long long value)
{
    return value < 0 && value >= -5000 ? iora_err_name((int)value) : "";
}

void
test_check_eq(const char *file, int line, const char *a_text, const char *b_text, long long a,
              long long b)
{
    if (a != b)
        test_fail(file, line, "%s == %s: %lld %s, not %lld %s", a_text, b_text, a, name_of(a), b,
                  name_of(b));
}

void
test_check_str(const char *file, int line, const char *a_text, const char *a, const char *b)
{
    if (strcmp(a, b) != 0)
        test_fail(file, line, "%s is\n  \"%s\", not\n  \"%s\"", a_text, a, b);
}

static void
append_log(const char *text)
{
    const size_t used = strlen(run.log);

    (void)snprintf(run.log + used, sizeof run.log - used, "%s\n", text);
}

static void
on_error(void *arg, int code, const char *text)
{
    (void)arg;
    (void)code;
    append_log(text);
}

static void
on_log(void *arg, const char *text)
{
    (void)arg;
    append_log(text);
}

const char *
test_log(void)
{
    return run.log;
}

bool
test_logged(const char *text)
{
    run.log_expected = true;
    return strstr(run.log, text) != NULL;
}

void
test_expect_log(void)
{
    run.log_expected = true;
}

void
test_clear_log(void)
{
    run.log[0] = '\0';
}

void
test_trace(const char *format, ...)
{
    const size_t used = strlen(run.trace);
    va_list args;

    if (used > 0)
        strcat(run.trace, " ");
    va_start(args, format);
    (void)vsnprintf(run.trace + strlen(run.trace), sizeof run.trace - used - 2, format, args);
    va_end(args);
}

const char *
test_traced(void)
{
    return run.trace;
}

enum test_where
test_where(void)
{
    return run.where;
}

iora_loop_options *
test_options(void)
{
    return &run.options;
}

iora_loop *
test_loop_with(const iora_loop_options *options)
{
    iora_loop_options with_hooks = *options;
    iora_loop *loop;
    int rc, at = 0;

    with_hooks.on_error = on_error;
    with_hooks.on_log = on_log;
    if ((rc = iora_loop_new(&with_hooks, &loop)) < 0)
        test_fail(__FILE__, __LINE__, "no loop: %s", iora_err_name(rc));
    while (run.loops[at] != NULL)
        at++;
    run.loops[at] = loop;
    return loop;
}

void
test_forget_loop(iora_loop *loop)
{
    for (int i = 0; i < LOOPS_MAX; i++) {
        if (run.loops[i] == loop)
            run.loops[i] = NULL;
    }
    if (run.loop == loop)
        run.loop = NULL;
}

iora_loop *
test_loop(void)
{
    if (run.loop == NULL) {
        if (run.where == TEST_SIM)
            run.options.backend = IORA_BACKEND_SIM;
        run.options.complete_late = run.where == TEST_LATE;
        run.loop = test_loop_with(&run.options);
    }
    return run.loop;
}

long long
test_ms(void)
{
    const int64_t now_ns = iora_loop_now(test_loop())._ns;

    if (run.began_ns < 0)
        run.began_ns = now_ns;
    return (now_ns - run.began_ns) / 1000000;
}

bool
test_under_valgrind(void)
{
    const char *const preload = getenv("LD_PRELOAD");

    return preload != NULL && strstr(preload, "vgpreload") != NULL;
}

bool
test_under_sanitizer(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#elif defined(__has_feature)
    return __has_feature(address_sanitizer) || __has_feature(memory_sanitizer) ||
           __has_feature(thread_sanitizer);
#else
    return false;
#endif
}

/* ---- the census ----------------------------------------------------------------------------------- */

struct census {
    long allocations;
    int descriptors;
    int threads;
};

static int
count_entries(const char *path)
{
    DIR *const directory = opendir(path);
    int count = 0;

    if (directory == NULL)
        return -1;
    while (readdir(directory) != NULL)
        count++;
    (void)closedir(directory);
    return count;
}

static struct census
take_census(void)
{
    return (struct census){
        .allocations = iora__seam_read().alive,
        .descriptors = count_entries("/proc/self/fd"),
        .threads = count_entries("/proc/self/task"),
    };
}

/* A loop at the end of a test has nothing alive but what the test's own memory still holds, armed. */
static void
free_loop(iora_loop *loop)
{
    iora_census left;

    iora_loop_census(loop, &left);
    if (left.tasks != 0 || left.stacks != 0 || left.ops != 0 || left.remotes != 0 ||
        left.timers != 0)
        test_fail(__FILE__, __LINE__,
                  "left in the loop: %zu tasks, %zu stacks, %zu timers, %zu operations, %zu remotes",
                  left.tasks, left.stacks, left.timers, left.ops, left.remotes);
    CHECK_EQ(iora_loop_free(loop), 0);
}

/* ---- ways to run ------------------------------------------------------------------------------------ */

static const char *const way_options[] = {
    [TEST_PLAIN] = "", [TEST_STINGY] = "--stingy", [TEST_SIGNALS] = "--signals"};

static void
begin_way(enum test_way way)
{
    if (way == TEST_STINGY)
        iora__seam_be_stingy(1, 2);
    else if (way == TEST_SIGNALS && storm_begin() < 0)
        test_fail(__FILE__, __LINE__, "no timer for signals: %s", strerror(errno));
}

static int
run_in_this_process(const struct test *test, enum test_where where, enum test_way way)
{
    const struct census before = take_census();
    struct census after;

    run.where = where;
    begin_way(way);
    test->fn();
    for (int i = 0; i < LOOPS_MAX; i++) {
        if (run.loops[i] != NULL)
            free_loop(run.loops[i]);
    }
    after = take_census();
    /* A thread that was joined, or that told of its end, is in the kernel's list for a moment more. */
    for (int tries = 0; tries < 1000 && (after.threads > before.threads ||
                                         after.allocations > before.allocations); tries++) {
        (void)usleep(100);
        after = take_census();
    }
    if (!run.log_expected && run.log[0] != '\0')
        test_fail(__FILE__, __LINE__, "the library said what the test does not expect");
    CHECK_EQ(after.allocations, before.allocations);
    CHECK_EQ(after.descriptors, before.descriptors);
    if (!test_under_sanitizer())
        CHECK_EQ(after.threads, before.threads);
    return EXIT_SUCCESS;
}

/* ---- processes -------------------------------------------------------------------------------------- */

struct job {
    pid_t pid; /* 0: free */
    int output;
    struct timespec began;
    char name[256];
};

static struct {
    const char *self;
    const char *wrap;
    char **patterns;
    int pattern_count;
    int jobs;
    int slow; /* so many times slower than usual is fine */
    enum test_way way;
    bool verbose;
    struct job running[JOBS_MAX];
    int passed, failed, skipped, total, finished;
} runner = {.jobs = 2, .slow = 1};

int
test_patience_ms(void)
{
    return runner.slow * (test_under_valgrind() || test_under_sanitizer() ? 20000 : 5000);
}

static const char *
suffix(const struct test *test, enum test_where where)
{
    if (test->where == TEST_SIM)
        return "";
    return where == TEST_SIM ? "@sim" : where == TEST_EPOLL ? "@epoll" : "@late";
}

static bool
matches(const char *name)
{
    return is_asked_for(name, runner.patterns, runner.pattern_count);
}

static void
exec_wrapped(const char *name)
{
    char command[4096];

    (void)snprintf(command, sizeof command, "exec %s '%s' %s --run '%s'", runner.wrap, runner.self,
                   way_options[runner.way], name);
    (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

static void
start(struct job *job, const struct test *test, enum test_where where)
{
    job->output = memfd_create("output", MFD_CLOEXEC);
    (void)clock_gettime(CLOCK_MONOTONIC, &job->began);
    fflush(NULL);
    job->pid = fork();
    if (job->pid != 0)
        return;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that hangs does not outlive its runner */
    (void)dup2(job->output, STDOUT_FILENO);
    (void)dup2(job->output, STDERR_FILENO);
    (void)close(job->output);
    for (int i = 0; i < JOBS_MAX; i++) {
        if (runner.running[i].pid > 0 && &runner.running[i] != job)
            (void)close(runner.running[i].output);
    }
    if (runner.wrap != NULL)
        exec_wrapped(job->name);
    exit(run_in_this_process(test, where, runner.way));
}

static void
show_output(int fd)
{
    char buffer[4096];
    ssize_t n;

    (void)lseek(fd, 0, SEEK_SET);
    while ((n = read(fd, buffer, sizeof buffer)) > 0)
        (void)!fwrite(buffer, 1, (size_t)n, stdout);
}

static double
seconds_since(const struct timespec *began)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - began->tv_sec) + (double)(now.tv_nsec - began->tv_nsec) / 1e9;
}

static void
finish(struct job *job, int status)
{
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    const char *const verdict = code == 0 ? "ok" : code == EXIT_SKIPPED ? "SKIPPED" : "FAILED";

    runner.finished++;
    runner.passed += code == 0;
    runner.skipped += code == EXIT_SKIPPED;
    runner.failed += code != 0 && code != EXIT_SKIPPED;
    if (isatty(STDOUT_FILENO))
        printf("\r\033[K");
    if (code != 0 || runner.verbose)
        printf("%-7s %s%s%s (%.2f s)\n", verdict, job->name, runner.way != TEST_PLAIN ? " " : "",
               way_options[runner.way], seconds_since(&job->began));
    if (WIFSIGNALED(status))
        printf("        ended by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
    if (code != 0)
        show_output(job->output);
    if (isatty(STDOUT_FILENO))
        printf("[%d/%d] ", runner.finished, runner.total);
    fflush(stdout);
    (void)close(job->output);
    job->pid = 0;
}

static int
timeout_s(void)
{
    const bool is_slow = test_under_sanitizer() || runner.way == TEST_STINGY; /* a call for each byte */

    return runner.slow * (runner.wrap != NULL ? TIMEOUT_S * 10 : is_slow ? TIMEOUT_S * 4 : TIMEOUT_S);
}

static void
end_overdue(void)
{
    for (int i = 0; i < runner.jobs; i++) {
        struct job *const job = &runner.running[i];

        if (job->pid > 0 && seconds_since(&job->began) > timeout_s()) {
            (void)!write(job->output, "it took too long\n", 17);
            (void)kill(job->pid, SIGKILL);
        }
    }
}

/* Wait for one to finish; false if none runs. */
static bool
reap(void)
{
    const struct timespec pause = {0, 2000000};

    for (;;) {
        int status;
        const pid_t pid = waitpid(-1, &status, WNOHANG);

        if (pid < 0)
            return false;
        for (int i = 0; pid > 0 && i < runner.jobs; i++) {
            if (runner.running[i].pid == pid) {
                finish(&runner.running[i], status);
                return true;
            }
        }
        end_overdue();
        (void)nanosleep(&pause, NULL);
    }
}

static struct job *
free_job(void)
{
    for (;;) {
        for (int i = 0; i < runner.jobs; i++) {
            if (runner.running[i].pid == 0)
                return &runner.running[i];
        }
        (void)reap();
    }
}

static bool
is_exempt(const struct test *test)
{
    for (const struct test_exemption *at = exemptions; at != NULL; at = at->next) {
        if (at->way == runner.way && strcmp(at->topic, test->topic) == 0 &&
            (at->name == NULL || strcmp(at->name, test->name) == 0))
            return true;
    }
    return false;
}

/* What a simulated loop runs makes no calls that could be refused or interrupted. */
static bool
runs_in_this_way(const struct test *test, enum test_where where)
{
    return runner.way == TEST_PLAIN || (where != TEST_SIM && !is_exempt(test));
}

typedef void visit_fn(const struct test *test, enum test_where where, const char *name);

static void
for_each_test(visit_fn *visit)
{
    for (const struct test *test = tests; test != NULL; test = test->next) {
        for (unsigned where = TEST_SIM; where <= TEST_LATE; where <<= 1) {
            char name[256];

            if (!(test->where & where) || !runs_in_this_way(test, where))
                continue;
            (void)snprintf(name, sizeof name, "%s.%s%s", test->topic, test->name,
                           suffix(test, where));
            if (matches(name))
                visit(test, where, name);
        }
    }
}

static void
list_one(const struct test *test, enum test_where where, const char *name)
{
    (void)test;
    (void)where;
    printf("%s\n", name);
}

static void
count_one(const struct test *test, enum test_where where, const char *name)
{
    (void)test;
    (void)where;
    (void)name;
    runner.total++;
}

static void
start_one(const struct test *test, enum test_where where, const char *name)
{
    struct job *const job = free_job();

    (void)snprintf(job->name, sizeof job->name, "%s", name);
    start(job, test, where);
}

static void
run_one(const struct test *test, enum test_where where, const char *name)
{
    if (strcmp(name, runner.patterns[0]) == 0)
        exit(run_in_this_process(test, where, runner.way));
}

static int
usage(FILE *to, int code)
{
    fprintf(to,
            "usage: iora-tests [--list] [--jobs N] [-v] [--slow N] [--stingy | --signals]\n"
            "                  [--wrap COMMAND] [--run NAME] [PATTERN...]\n"
            "Runs the tests whose names match a pattern (all without one), each in its own process.\n"
            "--stingy: those on real descriptors, with one byte a call and each second call refused.\n"
            "--signals: the same, with a signal each millisecond.\n"
            "--slow: give each test so many times the time that it has.\n");
    return code;
}

/* AddressSanitizer warns of ucontext once a process: here, and not where a test looks at what is printed. */
static void
hear_the_sanitizer_out(void)
{
#ifdef IORA_UCONTEXT
    static volatile bool has_been_here;
    ucontext_t here, before;

    (void)getcontext(&here);
    if (!has_been_here) {
        has_been_here = true;
        (void)swapcontext(&before, &here);
    }
#endif
}

int
main(int argc, char **argv)
{
    visit_fn *what = start_one;

    hear_the_sanitizer_out();
    runner.self = argv[0];
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--list") == 0) {
            what = list_one;
        } else if (strcmp(argv[i], "-v") == 0) {
            runner.verbose = true;
        } else if (strcmp(argv[i], "--stingy") == 0) {
            runner.way = TEST_STINGY;
        } else if (strcmp(argv[i], "--signals") == 0) {
            runner.way = TEST_SIGNALS;
        } else if (strcmp(argv[i], "--jobs") == 0 && i + 1 < argc) {
            runner.jobs = atoi(argv[++i]);
        } else if (strcmp(argv[i], "--slow") == 0 && i + 1 < argc) {
            runner.slow = atoi(argv[++i]);
        } else if (strcmp(argv[i], "--wrap") == 0 && i + 1 < argc) {
            runner.wrap = argv[++i];
        } else if (strcmp(argv[i], "--run") == 0) {
            what = run_one; /* its name comes next, as the pattern */
        } else if (strcmp(argv[i], "--help") == 0) {
            return usage(stdout, EXIT_SUCCESS);
        } else if (argv[i][0] == '-') {
            return usage(stderr, 2);
        } else {
            runner.patterns = argv + i;
            runner.pattern_count = argc - i;
            break;
        }
    }
    if (runner.jobs < 1 || runner.jobs > JOBS_MAX || runner.slow < 1)
        return usage(stderr, 2);
    if (what == start_one)
        for_each_test(count_one);
    for_each_test(what);
    if (what == list_one)
        return EXIT_SUCCESS;
    if (what == run_one) {
        fprintf(stderr, "no such test\n");
        return 2;
    }
    while (reap())
        continue;
    if (isatty(STDOUT_FILENO))
        printf("\r\033[K");
    printf("%d passed, %d failed", runner.passed, runner.failed);
    if (runner.skipped > 0)
        printf(", %d skipped", runner.skipped);
    printf("\n");
    return runner.failed == 0 && runner.passed > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
