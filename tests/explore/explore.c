/* explore/explore.c -- runs the models, each in a process of its own (explore.h says how to write one).
 *
 *     iora-explore [--list] [-v] [--preemptions N] [--schedule CHOICES] [PATTERN...]
 *
 * A pattern is a part of a model's name, or a shell pattern for it. Of each model all schedules are run, up to the
 * first that fails. That one is printed as its CHOICES, "12:1,40:2": choice 12 took option 1, choice 40 option 2,
 * and all others the first; --schedule runs it again and prints each step. The last line is `N passed, N failed`.
 */
#include "../c/patterns.h"
#include "schedule.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct explore__model *models, **models_end = &models;

void
explore__register(struct explore__model *model)
{
    *models_end = model;
    models_end = &model->next;
}

static struct {
    char **patterns;
    int pattern_count;
    bool verbose;
    const char *schedule; /* NULL: all of them */
    struct explore__options options;
    struct explore__record *record;
    int passed, failed;
    unsigned long schedules, steps;
} runner = {.options = {.bound = 2}};

static bool
matches(const char *name)
{
    return is_asked_for(name, runner.patterns, runner.pattern_count);
}

/* ---- schedules as text --------------------------------------------------------------------------------- */

/* False if that is no list of choices. */
static bool
read_schedule(const char *text, struct explore__record *record)
{
    while (*text != '\0') {
        unsigned at, taken;
        int length = 0;

        if (sscanf(text, "%u:%u%n", &at, &taken, &length) != 2 || at >= EXPLORE_CHOICES)
            return false;
        record->choices[at].taken = (unsigned short)taken;
        if (at >= record->depth)
            record->depth = at + 1;
        text += length;
        if (*text == ',')
            text++;
    }
    return true;
}

static void
print_schedule(const struct explore__record *record)
{
    const char *comma = "";

    for (unsigned i = 0; i < record->depth; i++) {
        if (record->choices[i].taken == 0)
            continue;
        printf("%s%u:%u", comma, i, record->choices[i].taken);
        comma = ",";
    }
}

/* ---- models ---------------------------------------------------------------------------------------------- */

static void
report_failure(const char *name, int status)
{
    const struct explore__record *const record = runner.record;

    printf("FAILED  %s, schedule %lu\n", name, record->schedules + 1);
    if (record->failed)
        printf("        %s\n", record->message);
    else if (WIFSIGNALED(status))
        printf("        ended by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        printf("        ended with exit status %d\n", WEXITSTATUS(status));
    printf("        again: iora-explore --preemptions %u --schedule '", runner.options.bound);
    print_schedule(record);
    printf("' %s\n", name);
}

static double
seconds_since(const struct timespec *began)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - began->tv_sec) + (double)(now.tv_nsec - began->tv_nsec) / 1e9;
}

static int
run_in_child(const struct explore__model *model)
{
    int status = 0;
    pid_t pid;

    (void)fflush(NULL);
    if ((pid = fork()) == 0) {
        explore__run(model, &runner.options, runner.record);
        _exit(EXIT_SUCCESS);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        fprintf(stderr, "iora-explore: no process: %s\n", strerror(errno));
        exit(2);
    }
    return status;
}

static void
run_model(const struct explore__model *model, const char *name)
{
    struct explore__record *const record = runner.record;
    struct timespec began;
    int status;

    memset(record, 0, sizeof *record);
    if (runner.schedule != NULL && !read_schedule(runner.schedule, record)) {
        fprintf(stderr, "iora-explore: not a list of choices (12:1,40:2): %s\n", runner.schedule);
        exit(2);
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &began);
    status = run_in_child(model);
    runner.schedules += record->schedules;
    runner.steps += record->steps;
    if (status != 0) {
        runner.failed++;
        report_failure(name, status);
        return;
    }
    runner.passed++;
    printf("ok      %s: %lu schedules", name, record->schedules);
    if (runner.verbose)
        printf(", %lu steps, %u choices at most, %.2f s", record->steps, record->longest,
               seconds_since(&began));
    printf("\n");
}

static int
usage(FILE *to, int code)
{
    fprintf(to,
            "usage: iora-explore [--list] [-v] [--preemptions N] [--schedule CHOICES] [PATTERN...]\n"
            "Runs all schedules of the models whose names match a pattern (all models without one).\n"
            "--preemptions: at most so many in a schedule (2).\n"
            "--schedule: that one only, as it was printed with a failure, and print its steps.\n");
    return code;
}

static bool
parse(int argc, char **argv, bool *list)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--list") == 0) {
            *list = true;
        } else if (strcmp(argv[i], "-v") == 0) {
            runner.verbose = true;
        } else if (strcmp(argv[i], "--preemptions") == 0 && i + 1 < argc) {
            runner.options.bound = (unsigned)strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--schedule") == 0 && i + 1 < argc) {
            runner.schedule = argv[++i];
        } else if (argv[i][0] == '-') {
            return false;
        } else {
            runner.patterns = argv + i;
            runner.pattern_count = argc - i;
            break;
        }
    }
    runner.options.trace = runner.options.once = runner.schedule != NULL;
    return true;
}

int
main(int argc, char **argv)
{
    bool list = false;
    int count = 0;

    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return usage(stdout, EXIT_SUCCESS);
    if (!parse(argc, argv, &list))
        return usage(stderr, 2);
    runner.record = mmap(NULL, sizeof *runner.record, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                         -1, 0);
    if (runner.record == MAP_FAILED) {
        fprintf(stderr, "iora-explore: no memory\n");
        return 2;
    }
    for (const struct explore__model *model = models; model != NULL; model = model->next) {
        char name[256];

        (void)snprintf(name, sizeof name, "%s.%s", model->topic, model->name);
        if (!matches(name))
            continue;
        count++;
        if (list)
            printf("%s\n", name);
        else
            run_model(model, name);
    }
    if (list)
        return EXIT_SUCCESS;
    printf("figure: models of threads = %d\n", count);
    printf("figure: schedules = %lu\n", runner.schedules);
    printf("figure: steps = %lu\n", runner.steps);
    printf("figure: preemptions in a schedule, at most = %u\n", runner.options.bound);
    printf("%d passed, %d failed\n", runner.passed, runner.failed);
    return runner.failed == 0 && runner.passed > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
