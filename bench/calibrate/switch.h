/* bench/calibrate/switch.h -- the switch between two contexts, in assembly.
 *
 * BENCH_SWITCH_FRAME is what a suspended context has on its stack: a new one starts with as many
 * zeroes.  It is not defined where there is no such assembly. */

#ifndef BENCH_SWITCH_H
#define BENCH_SWITCH_H

#if defined(__x86_64__)
#define BENCH_SWITCH_FRAME 48
#elif defined(__aarch64__)
#define BENCH_SWITCH_FRAME 160
#endif

/* A context that is not running: where it goes on, and on which stack.  x86-64 keeps two of the
 * saved registers here too; everything else lies on the stack.  switch.S knows the offsets. */
struct context {
    void (*resume)(void);
    void *sp;
    void *rbp;
    void *rbx;
};

/* Saves the running context in `from` and continues `to`.  Returns when a later switch continues
 * `from`. */
void bench_switch(struct context *from, struct context *to);

#endif
