/* tests/load/load.c -- many connections: held, idle, slow (roles.c has what they do).
 *
 *     iora-load [OPTION...] [PART...]
 *
 *     hold   so many connections talk for so long, and every message is verified; then nothing is said for a while,
 *            and the processor time of both sides is what the kernel says it is
 *     slow   fast connections alone and beside many slow ones, in turn; what share of their speed they keep is the
 *            middle one of all rounds
 *
 * Server and clients are processes of their own, each with its own limit of descriptors. Figures come as lines
 * "figure: NAME = VALUE"; the last line is "N passed, N failed", a part each. All ends by itself.
 */
#include "load.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    ROUNDS_MAX = 10000,
    PATIENCE_S = 120,   /* beyond what a role is told to take */
    SETTLE_US = 300000, /* until what was just done is over */
    SPARE_DESCRIPTORS = 64
};

static struct plan plan = {.connections = 19000,
                           .slow = 5000,
                           .fast = 100,
                           .seconds = 300,
                           .pause = 5,
                           .idle = 10,
                           .window = 0.1,
                           .rounds = 150,
                           .share = 95};

struct process {
    const char *name;
    pid_t pid;
    int commands, answers; /* this side's ends */
    struct figures *figures;
};

/* ---- processes ---------------------------------------------------------------------------------------- */

static void
give_up(const char *what)
{
    fprintf(stderr, "iora-load: %s: %s\n", what, strerror(errno));
    exit(2);
}

typedef int role_fn(const struct role *role);

static int
play(role_fn *fn, const struct role *role)
{
    return fn(role);
}
IORA_ASYNC(play, role_fn *, const struct role *);

static void
run_role(role_fn *fn, const struct role *role)
{
    struct figures *const figures = role->figures;
    int rc;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* no role outlives who has started it */
    rc = iora_run(play, fn, role);
    if (rc < 0 && figures->problem[0] == '\0')
        (void)snprintf(figures->problem, sizeof figures->problem, "%s", iora_err_name(rc));
    fflush(NULL);
    _exit(rc < 0);
}

static struct process
start(const char *name, role_fn *fn, struct ports ports)
{
    struct process process = {.name = name};
    int to[2], from[2];

    process.figures = mmap(NULL, sizeof *process.figures, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (process.figures == MAP_FAILED || pipe(to) < 0 || pipe(from) < 0)
        give_up("starting a process");
    fflush(NULL);
    if ((process.pid = fork()) < 0)
        give_up("fork");
    if (process.pid == 0) {
        const struct role role = {to[0], from[1], &plan, ports, process.figures};

        (void)close(to[1]);
        (void)close(from[0]);
        run_role(fn, &role);
    }
    (void)close(to[0]);
    (void)close(from[1]);
    process.commands = to[1];
    process.answers = from[0];
    return process;
}

static void
command(const struct process *process, char what)
{
    if (write(process->commands, &what, 1) != 1 &&
        errno != EPIPE) /* that one ended too early is seen elsewhere */
        give_up("telling a process what to do");
}

/* Until the role says that it is done; false if it ended instead or is not done in time. */
static bool
is_done(const struct process *process, double seconds)
{
    struct pollfd answer = {.fd = process->answers, .events = POLLIN};
    char byte;

    return poll(&answer, 1, (int)((seconds + PATIENCE_S) * 1000)) == 1 &&
           read(process->answers, &byte, 1) == 1;
}

/* End the role; false if it had a problem, which is told. */
static bool
end(struct process *process)
{
    struct pollfd answer = {.fd = process->answers, .events = 0};
    int status;

    command(process, LOAD_END);
    (void)close(process->commands);
    if (poll(&answer, 1, PATIENCE_S * 1000) == 0) {
        fprintf(stderr, "%s does not end\n", process->name);
        (void)kill(process->pid, SIGKILL);
    }
    (void)close(process->answers);
    if (waitpid(process->pid, &status, 0) < 0)
        give_up("waitpid");
    if (process->figures->problem[0] != '\0')
        fprintf(stderr, "%s: %s\n", process->name, process->figures->problem);
    else if (status != 0)
        fprintf(stderr, "%s: wait status %d\n", process->name, status);
    return status == 0 && process->figures->problem[0] == '\0';
}

/* ---- what the kernel says of them ------------------------------------------------------------------------ */

/* Nanoseconds that the process's only thread has run. */
static int64_t
ran_ns(const struct process *process)
{
    char path[64];
    int64_t ns = -1;
    FILE *file;

    (void)snprintf(path, sizeof path, "/proc/%d/schedstat", (int)process->pid);
    if ((file = fopen(path, "r")) == NULL || fscanf(file, "%" SCNd64, &ns) != 1)
        give_up(path);
    (void)fclose(file);
    return ns;
}

/* Kilobytes in memory, page tables included. */
static long
resident_kb(const struct process *process)
{
    char path[64], line[256];
    long sum = 0, kb;
    FILE *file;

    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)process->pid);
    if ((file = fopen(path, "r")) == NULL)
        give_up(path);
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "VmRSS: %ld kB", &kb) == 1 || sscanf(line, "VmPTE: %ld kB", &kb) == 1)
            sum += kb;
    }
    (void)fclose(file);
    return sum;
}

/* ---- what is printed --------------------------------------------------------------------------------------- */

static void figure(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void
figure(const char *name, const char *format, ...)
{
    va_list args;

    printf("figure: %s = ", name);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
}

static int failures; /* of the part */

/* True if it is so; else it is told, and counts. */
static bool
holds(bool condition, const char *what)
{
    if (condition)
        return true;
    printf("FAILED  %s\n", what);
    failures++;
    return false;
}

/* ---- hold ---------------------------------------------------------------------------------------------------- */

static void
measure_idle(const struct process *server, const struct process *clients)
{
    int64_t server_ran_ns, clients_ran_ns;

    (void)usleep(SETTLE_US);
    server_ran_ns = ran_ns(server);
    clients_ran_ns = ran_ns(clients);
    (void)usleep((useconds_t)(plan.idle * 1e6));
    server_ran_ns = ran_ns(server) - server_ran_ns;
    clients_ran_ns = ran_ns(clients) - clients_ran_ns;
    figure("processor time of the idle server", "%.3f ms in %.0f s", (double)server_ran_ns / 1e6,
           plan.idle);
    figure("processor time of the idle clients", "%.3f ms in %.0f s", (double)clients_ran_ns / 1e6,
           plan.idle);
    (void)holds(server_ran_ns == 0 && clients_ran_ns == 0, "idle connections take no time");
}

static void
check_held(const struct process *server, const struct process *clients)
{
    const struct figures *const told = clients->figures;

    figure("messages", "%" PRIu64, told->messages);
    figure("messages that came back as others", "%" PRIu64, told->wrong);
    figure("half of the answers within", "%.0f us", told->p50_us);
    figure("99 % of the answers within", "%.0f us", told->p99_us);
    figure("the slowest answer", "%.1f ms", told->most_us / 1000);
    (void)holds(told->messages > 0 && told->wrong == 0, "every message comes back as it was");
    (void)holds(server->figures->connections == plan.connections, "the server held them all");
    (void)holds(server->figures->bytes == told->bytes, "the server saw every byte once");
}

static void
measure_held(const struct process *server, const struct process *clients, long before_kb)
{
    figure("connections", "%d", clients->figures->connections);
    figure("seconds to connect", "%.1f", clients->figures->seconds);
    if (!holds(is_done(clients, plan.seconds), "the clients have all their answers"))
        return;
    figure("seconds held", "%.0f", plan.seconds);
    figure("the server's memory for a connection", "%.1f KiB",
           (double)(resident_kb(server) - before_kb) / plan.connections);
    check_held(server, clients);
    measure_idle(server, clients);
}

static void
test_hold(void)
{
    struct process server = start("the server", load_serve, (struct ports){0, 0}), clients;

    if (holds(is_done(&server, 0), "the server listens")) {
        const long before_kb = resident_kb(&server);

        clients = start("the clients", load_hold, (struct ports){server.figures->port, 0});
        if (holds(is_done(&clients, 0), "the clients are connected"))
            measure_held(&server, &clients, before_kb);
        (void)holds(end(&clients), "the clients end well");
    }
    (void)holds(end(&server), "the server ends well");
}

/* ---- slow ---------------------------------------------------------------------------------------------------- */

/* Two servers, of which one has the slow connections. The fast ones of either run in turn, for moments, so that what
 * else the machine does meets both. While those without slow ones run, the slow ones stand still.
 *
 * There are two speeds. Messages a second are what people see; on a machine that does other things as well they say
 * more of these. So the middle share of the rounds must be right by messages a second of the server's processor time,
 * which those have no part in, and of the others a quarter of the rounds. */
struct speed {
    double wall, server; /* messages a second, and a second of the server's processor time */
};

struct contest {
    struct process beside_server, alone_server, slow, fast;
    struct speed beside[ROUNDS_MAX], alone[ROUNDS_MAX];
};

/* The fast ones' speed in a window; false if they had a problem. */
static bool
measure_fast(const struct contest *contest, const struct process *server, char which,
             struct speed *out)
{
    const int64_t began_ns = ran_ns(server);
    const struct figures *const told = contest->fast.figures;

    command(&contest->fast, which);
    if (!is_done(&contest->fast, plan.window) || told->messages == 0)
        return holds(false, "the fast ones run");
    out->wall = (double)told->messages / told->seconds;
    out->server = (double)told->messages * 1e9 / (double)(ran_ns(server) - began_ns);
    return true;
}

static bool
measure_beside(struct contest *contest, int round)
{
    return measure_fast(contest, &contest->beside_server, LOAD_BESIDE, &contest->beside[round]);
}

static bool
measure_alone(struct contest *contest, int round)
{
    bool well;

    if (kill(contest->slow.pid, SIGSTOP) < 0)
        give_up("stopping the slow clients");
    well = measure_fast(contest, &contest->alone_server, LOAD_ALONE, &contest->alone[round]);
    (void)kill(contest->slow.pid, SIGCONT);
    return well;
}

static int
compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Sort, and say what stands behind so many per cent of them. */
static double
percentile(double *values, int percent)
{
    qsort(values, (size_t)plan.rounds, sizeof *values, compare_doubles);
    return values[plan.rounds * percent / 100];
}

static bool
measure_rounds(struct contest *contest)
{
    for (int i = 0; i < plan.rounds; i++) {
        const bool well = i % 2 == 0 ? measure_alone(contest, i) && measure_beside(contest, i)
                                     : measure_beside(contest, i) && measure_alone(contest, i);

        if (!well)
            return false;
    }
    return true;
}

static void
judge_speed(const struct contest *contest)
{
    static double wall[ROUNDS_MAX], server[ROUNDS_MAX], alone[ROUNDS_MAX], beside[ROUNDS_MAX];
    double share, quarter;

    for (int i = 0; i < plan.rounds; i++) {
        alone[i] = contest->alone[i].wall;
        beside[i] = contest->beside[i].wall;
        wall[i] = 100 * beside[i] / alone[i];
        server[i] = 100 * contest->beside[i].server / contest->alone[i].server;
    }
    share = percentile(server, 50);
    quarter = percentile(wall, 75);
    figure("messages a second of the fast ones alone", "%.0f", percentile(alone, 50));
    figure("messages a second beside the slow ones", "%.0f", percentile(beside, 50));
    figure("share of their speed that the fast ones keep",
           "%.1f %% (half of %d rounds: %.1f to %.1f %%)", percentile(wall, 50), plan.rounds,
           percentile(wall, 25), quarter);
    figure("the same by the server's processor time", "%.1f %% (half of them: %.1f to %.1f %%)",
           share, percentile(server, 25), percentile(server, 75));
    (void)holds(share >= plan.share && quarter >= plan.share, "the fast ones keep their speed");
}

static void
judge(const struct contest *contest)
{
    const struct figures *const fast = contest->fast.figures, *const slow = contest->slow.figures;

    figure("slow and fast peers", "%d and %d", plan.slow, plan.fast);
    figure("bytes that the slow ones got back", "%" PRIu64, slow->messages);
    judge_speed(contest);
    (void)holds(fast->wrong == 0 && slow->wrong == 0, "every message comes back as it was");
    (void)holds(slow->connections == plan.slow, "the slow ones are all there");
}

static void
test_slow(void)
{
    static struct contest contest;
    struct ports ports = {0, 0};

    contest.beside_server = start("the server", load_serve, ports);
    contest.alone_server = start("the other server", load_serve, ports);
    if (holds(is_done(&contest.beside_server, 0) && is_done(&contest.alone_server, 0),
              "the servers listen")) {
        ports.beside = contest.beside_server.figures->port;
        ports.alone = contest.alone_server.figures->port;
        contest.slow = start("the slow clients", load_be_slow, ports);
        contest.fast = start("the fast clients", load_be_fast, ports);
        if (holds(is_done(&contest.slow, 0) && is_done(&contest.fast, 0),
                  "the clients are connected") &&
            measure_rounds(&contest))
            judge(&contest);
        (void)holds(end(&contest.fast), "the fast clients end well");
        (void)holds(end(&contest.slow), "the slow clients end well");
    }
    (void)holds(end(&contest.beside_server), "the server ends well");
    (void)holds(end(&contest.alone_server), "the other server ends well");
}

/* ---- the command --------------------------------------------------------------------------------------------- */

static const struct option {
    const char *name;
    double *real;
    int *whole;
    double least, most;
    const char *text;
} options[] = {
    {"--connections", NULL, &plan.connections, 1, 1000000, "that are held"},
    {"--seconds", &plan.seconds, NULL, 0.1, 86400, "for which they talk"},
    {"--pause", &plan.pause, NULL, 0.001, 3600, "seconds between two messages of one"},
    {"--idle", &plan.idle, NULL, 0.1, 3600, "seconds in which nothing is said"},
    {"--slow", NULL, &plan.slow, 1, 1000000, "slow connections"},
    {"--fast", NULL, &plan.fast, 1, 10000, "fast ones beside them"},
    {"--window", &plan.window, NULL, 0.05, 60, "seconds for which these are measured"},
    {"--rounds", NULL, &plan.rounds, 1, ROUNDS_MAX, "of that"},
    {"--share", &plan.share, NULL, 0, 100, "per cent of their speed that they must keep"},
};

static int
usage(FILE *to, int code)
{
    fprintf(to, "usage: iora-load [OPTION N]... [hold] [slow]\n");
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        fprintf(to, "  %-14s %-45s (%g)\n", options[i].name, options[i].text,
                options[i].real != NULL ? *options[i].real : *options[i].whole);
    return code;
}

static bool
take_option(const char *name, const char *value)
{
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        char *rest;
        double number;

        if (strcmp(options[i].name, name) != 0)
            continue;
        number = strtod(value, &rest);
        if (rest == value || *rest != '\0' || !(number >= options[i].least) ||
            number > options[i].most)
            return false;
        if (options[i].real != NULL)
            *options[i].real = number;
        else
            *options[i].whole = (int)number;
        return true;
    }
    return false;
}

/* As many descriptors as there may be; whether that is enough for the largest process. */
static bool
have_descriptors(void)
{
    const rlim_t wanted =
        (rlim_t)((plan.connections > plan.slow + plan.fast ? plan.connections
                                                           : plan.slow + plan.fast) +
                 SPARE_DESCRIPTORS);
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        give_up("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < wanted)
        fprintf(stderr, "iora-load: a process may have %ju descriptors here, and %ju are needed\n",
                (uintmax_t)limit.rlim_max, (uintmax_t)wanted);
    return limit.rlim_max >= wanted;
}

int
main(int argc, char **argv)
{
    bool parts[2] = {false, false};
    int passed = 0, failed = 0;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0)
            return usage(stdout, EXIT_SUCCESS);
        if (strcmp(argv[i], "hold") == 0)
            parts[0] = true;
        else if (strcmp(argv[i], "slow") == 0)
            parts[1] = true;
        else if (i + 1 < argc && take_option(argv[i], argv[i + 1]))
            i++;
        else
            return usage(stderr, 2);
    }
    if (!have_descriptors())
        return 2;
    (void)signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < 2; i++) {
        if (!parts[i] && (parts[0] || parts[1]))
            continue;
        failures = 0;
        (i == 0 ? test_hold : test_slow)();
        passed += failures == 0;
        failed += failures > 0;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
