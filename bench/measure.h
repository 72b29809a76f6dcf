/* bench/measure.h -- what every program of the bench written in C or C++ shares.
 *
 * A program measures *rows*.  It is called once for each: `prog ROW` runs that row in a process
 * of its own, so that no row inherits another's memory, and prints one line for each *figure*:
 *
 *     ROW <tab> unit <tab> wall value <tab> CPU value
 *
 * The unit tells the figures of one row apart.  "ns" is the time of one operation by the wall's
 * clock and by the process's CPU clock; what is no time ("KiB", "tasks", "mappings") has "-" for
 * its CPU value.  `prog --list` prints the names of its rows, `prog --about` a line that says what
 * was built: version and settings.  An exit code other than 0 means that the row failed, and
 * stderr says why.
 *
 * A body under test does n operations, with bench_start() and bench_stop() round the part that
 * counts.  bench_loop() calls it with growing n until a call takes about a quarter of a second:
 * that one is reported, and those before it were the warm-up. */

#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bench_row {
    const char *name;
    void (*run)(void);
};

/* The program: does what argv asks.  `about` is one line, `rows` ends with a null name.  Returns
 * main's exit code. */
int bench_main(int argc, char **argv, const char *about, const struct bench_row *rows);

/* Measures `body` as told above and prints the row's figure in ns.  n is always a multiple of
 * `granule`, for bodies that can only do so many operations at once. */
void bench_loop(void (*body)(uint64_t n), uint64_t granule);

/* The span that is measured: the last one counts. */
void bench_start(void);
void bench_stop(void);

/* Prints the last span, divided by the operations done in it, in ns. */
void bench_report_span(uint64_t operations);

/* Prints a figure that is no time. */
void bench_report(const char *unit, double value);

/* What the process holds in KiB: resident pages and page tables, now and at its peak.  The
 * kernel keeps no peak of page tables: those are as of now in both. */
double bench_memory_kib(void);
double bench_peak_kib(void);

/* How many of `wanted` tasks of so many KiB fit into half of the memory that is available. */
uint32_t bench_fitting(uint32_t wanted, double kib_each);

/* How many mappings the kernel keeps for the process. */
uint64_t bench_mappings(void);

/* 0 ... count-1 in an order without pattern, the same in every run.  The caller frees it. */
uint32_t *bench_shuffled(uint32_t count);

/* Ends the program as failed, saying why. */
void bench_fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#ifdef __cplusplus
}
#endif

#endif
