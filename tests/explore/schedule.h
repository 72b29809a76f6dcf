/* explore/schedule.h -- between the explorer's own files: schedules and their threads (theory in schedule.c). */
#ifndef IORA_EXPLORE_SCHEDULE_H
#define IORA_EXPLORE_SCHEDULE_H

#include "explore.h"

#include "coro/context.h"

enum { EXPLORE_THREADS = 8, EXPLORE_CHOICES = 1 << 14, EXPLORE_SIGNALS = 64 };

enum explore__state {
    EXPLORE_RUNS,
    EXPLORE_WAITS,
    EXPLORE_ENDED,
    EXPLORE_ABSENT /* in a forked child: it is not there */
};

enum explore__wait { EXPLORE_CAME, EXPLORE_TIMED_OUT, EXPLORE_INTERRUPTED };

struct explore__thread {
    struct iora__coro coro;
    void *stack;
    char name[24];
    void *(*fn)(void *arg);
    void (*plain_fn)(void *arg); /* of a model's own thread, called by fn */
    void *arg;
    enum explore__state state;
    bool joined; /* or detached */

    bool (*has_come)(const void *arg); /* what it waits for */
    const void *wait_arg;
    int64_t deadline_ns;
    bool spins; /* that is, it may have enough of waiting at any time */
    enum explore__wait ended_by;
    const void *word; /* that it sleeps on; NULL: none, or it is woken */

    const char *what, *file; /* its last point */
    int line;
    unsigned long seen; /* how often anything had changed when it last looked at something */
    bool impatient;     /* its spinning has taken long enough */
    uint64_t pending, blocked; /* signals, number n being bit n - 1 */
    iora_loop *running;        /* in iora__running's place while others run */
};

/* A choice that was made, and among how many. */
struct explore__choice {
    unsigned short taken, count;
};

/* Shared with the process that looks on, which tells what it was if this one dies. */
struct explore__record {
    unsigned long schedules, steps;
    unsigned longest; /* schedule, in choices */
    unsigned depth;   /* choices made so far in this one */
    struct explore__choice choices[EXPLORE_CHOICES];
    bool failed;
    char message[4096];
};

struct explore__options {
    unsigned bound; /* preemptions at most */
    bool trace;     /* print each step */
    bool once;      /* the schedule that stands in the record, and no other */
};

/* Run all schedules of a model; returns if all went well, else ends the process. */
void explore__run(const struct explore__model *model, const struct explore__options *options,
                  struct explore__record *record);

/* For kernel.c. */
extern struct explore__thread *explore__current;
extern int64_t explore__now_ns;
struct explore__thread *explore__thread_new(const char *name, void *(*fn)(void *), void *arg);
enum explore__wait explore__wait(bool (*has_come)(const void *arg), const void *arg,
                                 int64_t deadline_ns, bool interruptible);
bool explore__wait_for_change(int64_t deadline_ns); /* by others; false: none in time */
void explore__changed(void);
void explore__leave_alone(void); /* all other threads are absent from now on, and no choice is recorded */
struct explore__thread *explore__thread_at(int index);
bool explore__is_repeated(void); /* all choices so far, and so what is done next, are those of the last schedule */

/* From kernel.c: to begin a schedule with nothing; what is left at its end, in words, or NULL; run the handlers of
 * what is pending. */
void explore__kernel_reset(void);
const char *explore__kernel_left(void);
void explore__deliver_signals(void);

#endif
