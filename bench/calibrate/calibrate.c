/* bench/calibrate/calibrate.c -- how fast this machine switches at all.
 *
 * Row `calibration`: two contexts that run different functions switch to each other by the bare
 * assembly of switch.S, and nothing else happens.  As in a library, both call one function,
 * switch_over(), which ends in a tail call to the switch; there is no queue, nor any other
 * bookkeeping.  The bars in rows.toml are for a machine where this takes 2.7 ns, and scale with it.
 *
 * Elsewhere than on x86-64 and AArch64 there is no such assembly, and the value is "-". */

#include "../measure.h"
#include "switch.h"

#include <stdalign.h>
#include <stdio.h>

#if defined(__x86_64__)
#define ABOUT "x86-64, leaves by an indirect jump"
#elif defined(__aarch64__)
#define ABOUT "AArch64, leaves by ret"
#else
#define ABOUT "no assembly for this architecture"
#endif

#ifdef BENCH_SWITCH_FRAME

static struct context contexts[2];
static struct context *running = &contexts[0];
static struct context *waiting = &contexts[1];

/* Read by nobody, but different: two equal functions would be merged, and their call sites too. */
static volatile uint64_t pings;
static volatile uint64_t pongs;

__attribute__((noinline)) static void
switch_over(void)
{
    struct context *from = running;
    struct context *to = waiting;

    running = to;
    waiting = from;
    bench_switch(from, to);
}

static void
pong(void)
{
    for (;;) {
        pongs++;
        switch_over();
    }
}

static void
ping(uint64_t n)
{
    bench_start();
    for (uint64_t i = 0; i < n; i += 2) {
        pings++;
        switch_over();
    }
    bench_stop();
}

static void
calibration(void)
{
    alignas(16) static char stack[16384];

    contexts[1].resume = pong;
    contexts[1].sp = stack + sizeof(stack) - BENCH_SWITCH_FRAME;
    bench_loop(ping, 2);
}

#else

static void
calibration(void)
{
    puts("calibration\tns\t-\t-");
}

#endif

int
main(int argc, char **argv)
{
    static const struct bench_row rows[] = {
        {"calibration", calibration},
        {NULL, NULL},
    };

    return bench_main(argc, argv, ABOUT, rows);
}
