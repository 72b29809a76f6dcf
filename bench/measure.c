/* bench/measure.c -- clocks, memory figures and the protocol of the bench's programs.
 *
 * Times come from CLOCK_MONOTONIC and CLOCK_PROCESS_CPUTIME_ID.  Reading the second is a system
 * call of some 200 ns, which is why only whole spans are timed, never single operations.
 *
 * Memory is VmRSS + VmPTE of /proc/self/status.  Page tables are part of what a stack costs: with
 * a stride of 256 KiB they are an eighth of it.  VmRSS is summed from per-CPU counters and may be
 * off by some 100 KiB, so what is divided by it must be a large number of tasks. */

#define _POSIX_C_SOURCE 200809L
#include "measure.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TARGET_NS 250000000
#define ENOUGH_NS 180000000 /* a call this long is the one that counts */
#define GROWTH    8         /* at most, from one call to the next: the first ones are cold */

struct span {
    int64_t wall;
    int64_t cpu;
};

static const char *row_name;
static struct span begun;
static struct span last;

static int64_t
clock_ns(clockid_t id)
{
    struct timespec t;

    if (clock_gettime(id, &t) != 0)
        bench_fail("clock_gettime: %s", strerror(errno));
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

void
bench_start(void)
{
    begun.cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    begun.wall = clock_ns(CLOCK_MONOTONIC);
}

void
bench_stop(void)
{
    last.wall = clock_ns(CLOCK_MONOTONIC) - begun.wall;
    last.cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - begun.cpu;
}

void
bench_loop(void (*body)(uint64_t n), uint64_t granule)
{
    uint64_t granules = 1;

    for (;;) {
        body(granules * granule);
        if (last.wall >= ENOUGH_NS)
            break;
        double fitting = (double)granules * TARGET_NS / (double)(last.wall + 1);
        granules = fitting < (double)granules * GROWTH ? (uint64_t)fitting + 1 : granules * GROWTH;
    }
    bench_report_span(granules * granule);
}

void
bench_report_span(uint64_t operations)
{
    printf("%s\tns\t%.3f\t%.3f\n", row_name, (double)last.wall / (double)operations,
           (double)last.cpu / (double)operations);
}

void
bench_report(const char *unit, double value)
{
    printf("%s\t%s\t%.10g\t-\n", row_name, unit, value);
}

/* A field of one of the files in /proc that hold lines like "VmRSS:   1234 kB". */
static double
proc_kib(const char *path, const char *field)
{
    char line[256];
    size_t length = strlen(field);
    double value = -1;
    FILE *file = fopen(path, "r");

    if (file == NULL)
        bench_fail("%s: %s", path, strerror(errno));
    while (value < 0 && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, field, length) == 0 && line[length] == ':')
            value = strtod(line + length + 1, NULL);
    }
    fclose(file);
    if (value < 0)
        bench_fail("%s has no %s", path, field);
    return value;
}

double
bench_memory_kib(void)
{
    return proc_kib("/proc/self/status", "VmRSS") + proc_kib("/proc/self/status", "VmPTE");
}

double
bench_peak_kib(void)
{
    return proc_kib("/proc/self/status", "VmHWM") + proc_kib("/proc/self/status", "VmPTE");
}

uint64_t
bench_mappings(void)
{
    uint64_t lines = 0;
    int c;
    FILE *maps = fopen("/proc/self/maps", "r");

    if (maps == NULL)
        bench_fail("/proc/self/maps: %s", strerror(errno));
    while ((c = getc(maps)) != EOF)
        lines += c == '\n';
    fclose(maps);
    return lines;
}

uint32_t
bench_fitting(uint32_t wanted, double kib_each)
{
    double fit = proc_kib("/proc/meminfo", "MemAvailable") / 2 / kib_each;

    return fit < wanted ? (uint32_t)fit : wanted;
}

uint32_t *
bench_shuffled(uint32_t count)
{
    uint32_t *order = malloc(count * sizeof(*order));
    uint64_t random = UINT64_C(0x9e3779b97f4a7c15);

    if (order == NULL)
        bench_fail("no memory for an order of %" PRIu32, count);
    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    for (uint32_t i = count - 1; i > 0; i--) {
        random ^= random << 13; /* xorshift64: its modulus is biased by less than 2^-32 */
        random ^= random >> 7;
        random ^= random << 17;
        uint32_t j = (uint32_t)(random % (i + 1));
        uint32_t swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    return order;
}

void
bench_fail(const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "%s: ", row_name != NULL ? row_name : "bench");
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

int
bench_main(int argc, char **argv, const char *about, const struct bench_row *rows)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s ROW | --list | --about\n", argv[0]);
        return 2;
    }
    if (strcmp(argv[1], "--about") == 0) {
        puts(about);
        return 0;
    }

    bool list = strcmp(argv[1], "--list") == 0;
    for (const struct bench_row *row = rows; row->name != NULL; row++) {
        if (list) {
            puts(row->name);
        } else if (strcmp(argv[1], row->name) == 0) {
            row_name = row->name;
            row->run();
            return 0;
        }
    }
    if (list)
        return 0;
    fprintf(stderr, "%s has no row %s\n", argv[0], argv[1]);
    return 2;
}
