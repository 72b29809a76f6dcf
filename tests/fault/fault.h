/* tests/fault/fault.h -- writing a scenario for the fault sweeps.
 *
 *     static iora_lock lock;                    state is static: every run has a process of its own
 *
 *     static int holds_it(int times)
 *     {
 *         IN_TASK;                              counts who begins and who ends
 *         int rc = 0;
 *
 *         while (times-- > 0 && rc == 0) {
 *             if ((rc = EXPECT(iora_lock_acquire(&lock), 0)) == 0)
 *                 ...
 *         }
 *         return rc;
 *     }
 *     IORA_ASYNC(holds_it, int);
 *
 *     SCENARIO(sync, lock, ANYWHERE)
 *     {
 *         RUN(two_hold_it);
 *         CHECK(!iora_lock_is_locked(&lock));   what must be true however the run went
 *     }
 *
 * Defining a scenario registers it. The driver runs it once as it is, when everything must go as it says, and
 * then for every n with one thing going wrong: the nth system call or allocation fails, the task that makes
 * the nth suspending call is cancelled, there are only so many descriptors, two things go wrong (enum mode). Then
 * codes may differ, but the scenario still ends, in time and by itself, its checks hold, and nothing is left: tasks, timers, operations, stacks, remotes,
 * allocations, descriptors, threads. It spawns through SPAWN: who was spawned also began and ended.
 *
 * A scenario is a program that handles its errors. It never waits for what nobody is left to do.
 */
#ifndef IORA_TESTS_FAULT_H
#define IORA_TESTS_FAULT_H

#include <iora.h>

#include "sys/seam.h"

#include <stdio.h>
#include <string.h>

/* ---- scenarios ---------------------------------------------------------------------------------- */

/* Where it can run: SIM if it sleeps, since nobody waits for a real clock; REAL if it needs descriptors. AMPLE
 * besides if it opens some itself that it cannot do without: then no run of it lacks them. THREADED besides if it
 * has threads of its own even in a simulation: then two runs of a seed need not be the same. */
enum where {
    SIM = 1,
    EPOLL = 2,
    LATE = 4,
    REAL = EPOLL | LATE,
    ANYWHERE = SIM | REAL,
    AMPLE = 8,
    THREADED = 16
};

struct scenario {
    const char *topic;
    const char *name;
    unsigned where;
    long every; /* 1; with thousands of everything: beyond the first, only one n in so many */
    void (*fn)(void);
    struct scenario *next;
};

void fault_register(struct scenario *scenario);

#define SCENARIO_EVERY(topic_, name_, where_, every_)                                              \
    static void scenario_##topic_##_##name_(void);                                                 \
    __attribute__((constructor)) static void register_##topic_##_##name_(void)                     \
    {                                                                                              \
        static struct scenario scenario = {                                                        \
            #topic_, #name_, (where_), (every_), scenario_##topic_##_##name_, NULL};               \
        fault_register(&scenario);                                                                 \
    }                                                                                              \
    static void scenario_##topic_##_##name_(void)

#define SCENARIO(topic, name, where) SCENARIO_EVERY(topic, name, where, 1)

/* ---- inside a scenario ------------------------------------------------------------------------------ */

/* The run's loop, made at the first call; NULL if that failed, as it may when something is to go wrong. */
iora_loop *fault_loop(void);
/* The options with which it is made: change them before, if at all. */
iora_loop_options *fault_options(void);
/* A further loop like it. Both are examined and freed at the end, unless iora_loop_free() comes before. */
iora_loop *fault_another_loop(void);
void fault_forget_loop(iora_loop *loop);
enum where fault_where(void);
/* The seed of the ready order, for a scenario that draws what it does; 1 if there is none. */
uint64_t fault_seed(void);

/* Run an async function as the main task: 0, or a code that the fault explains. */
#define RUN(...) (fault_loop() != NULL ? EXPECT(iora_run_in(fault_loop(), __VA_ARGS__), 0) : 0)

/* Whether something is to go wrong in this run, or ready things run in another order than first in, first out.
 * If not, all is to go exactly as the scenario says. */
bool fault_is_armed(void);
/* Whether that is a limit of descriptors. */
bool fault_lacks_descriptors(void);
/* Whether bytes may go one by one: on a busy machine a real deadline is missed then. */
bool fault_is_slow(void);

/* rc, which is the first of the codes or, if something is to go wrong, any of them or one that the fault can
 * lead to. */
#define EXPECT(call, ...) EXPECT_BY(fault_expect, #call, (call), __VA_ARGS__)
/* The same in a task that the scenario itself may have cancelled. */
#define EXPECT_UNLESS_CANCELLED(call, ...)                                                         \
    EXPECT_BY(fault_expect_unless_cancelled, #call, (call), __VA_ARGS__)

#define EXPECT_BY(function, text, rc, ...)                                                         \
    function(__FILE__, __LINE__, (text), (rc), (const int[]){__VA_ARGS__},                         \
             sizeof((const int[]){__VA_ARGS__}) / sizeof(int))
int fault_expect(const char *file, int line, const char *text, int rc, const int *codes,
                 size_t count);
int fault_expect_unless_cancelled(const char *file, int line, const char *text, int rc,
                                  const int *codes, size_t count);

/* End the run as failed unless the condition holds. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fault_fail(__FILE__, __LINE__, "%s", #condition);                                      \
    } while (0)

#define CHECK_EQ(a, b) fault_check_eq(__FILE__, __LINE__, #a, #b, (long long)(a), (long long)(b))
/* Only of a run in which nothing goes wrong. */
#define CHECK_EQ_UNARMED(a, b)                                                                     \
    do {                                                                                           \
        if (!fault_is_armed())                                                                     \
            CHECK_EQ(a, b);                                                                        \
    } while (0)

void fault_fail(const char *file, int line, const char *format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));
void fault_check_eq(const char *file, int line, const char *a_text, const char *b_text, long long a,
                    long long b);

/* A task that was spawned, if it was. */
#define SPAWN(...) fault_spawned(__VA_ARGS__)
iora_task fault_spawned(iora_task task);

/* Stands first in the function of each task spawned through SPAWN. */
#define IN_TASK __attribute__((cleanup(fault_left_task), unused)) int in_task_ = fault_in_task()
int fault_in_task(void);
void fault_left_task(int *in_task);

/* How many failures the error hook is to be told of, and a text that the log hook may be told. */
void fault_expect_errors(int count);
void fault_expect_log(const char *text);

/* ---- for the driver ---------------------------------------------------------------------------------- */

/* What goes wrong at n. */
enum mode {
    MODE_CALL,   /* system call n fails */
    MODE_CALLS,  /* it fails, and so do the next 50 of its kind, or 2 where time is real */
    MODE_ALLOC,  /* allocation n fails */
    MODE_ALLOCS, /* all from n on fail */
    MODE_ENTER,  /* the task that makes suspending call n is cancelled as it calls */
    MODE_WAIT,   /* the task that begins wait n is cancelled by a callback, last of all that is ready */
    MODE_NOW,    /* the same from the head of the ready queue: nothing comes between */
    MODE_SCOPE,  /* at suspending call n within a scope its deadline passes, or its group is cancelled */
    MODE_PAIR,  /* two of these, which and where drawn from seed n: a call or an allocation, and a cancel */
    MODE_ORDER,  /* nothing goes wrong, but ready things run in the order that seed n gives (sim) */
    MODE_NOFILE, /* the process may have n + 7 descriptors, 8 to 64 (not in sim) */
    MODE_STINGY, /* nothing goes wrong, but calls move few bytes and many are refused (not in sim) */
    MODE_SIGNALS, /* nothing goes wrong, but a signal comes each millisecond (not in sim) */
    MODES
};

enum { FAULT_NOFILE_MIN = 8, FAULT_NOFILE_MAX = 64, FAULT_STEPS = 1 << 20 };

extern const char *const fault_mode_names[MODES];
extern const char *const fault_mode_texts[MODES];

/* How often each thing came up in a run. */
struct tally {
    long calls, allocations, entered, scoped, waited;
};

/* The steps of a run: what was drawn, what came of it, and who ran. The hash is of all, the list of the first. */
struct trace {
    uint64_t hash;
    long length;
    uint64_t steps[FAULT_STEPS]; /* the kind above, what of it below */
};

struct injection {
    const struct scenario *scenario;
    enum where where;
    enum mode mode;
    long n;          /* 0: nothing goes wrong */
    int variant;     /* which errno */
    long turn_limit; /* more turns of the loop than this are a spin */
    uint64_t seed;   /* of the order in which ready things run (sim); 0: first in, first out */
    bool aloud;      /* say on stderr what came of it */
    struct tally of_plain;  /* the run in which nothing went wrong, from which MODE_PAIR draws */
    long seeds;             /* how many MODE_PAIR and MODE_ORDER have */
    struct trace *trace;    /* where to write the steps; NULL: nowhere */
};

/* What came of a run, in memory that the driver shares with it. */
struct outcome {
    struct tally tally;
    long counted; /* how many things of the mode's kind came up */
    long turns;
    bool ended;    /* the run got to its end, well or not */
    bool fired;    /* the fault was injected */
    int variants;  /* how many errnos that call can fail with */
    char what[96]; /* "madvise: ENOMEM" */
    char text[3072]; /* why it failed */
};

extern struct scenario *fault_scenarios;

const char *fault_where_name(enum where where);
/* A step of a trace in words. */
void fault_tell_step(uint64_t step, char *text, size_t size);

/* Run it in this process, which ends: with status 0 if all is well. */
void fault_run(const struct injection *injection, struct outcome *outcome)
    __attribute__((noreturn));

#endif
