/* tests/c/chance.h -- the frame of the randomized tests.
 *
 * Each seed is one run in a simulated loop of its own: a few workers do random operations, and a *model* is
 * told of each just before it is done. Nothing runs in between, so the model can say at once what the
 * operation returns, or that it waits, and whom it ends the waiting of. A worker that waited compares what it
 * got. Cancels are told to the model too. When all wait, the main task cancels them.
 *
 * With an even seed the ready order is first in first out, with an odd one it is drawn from the seed.
 * IORA_TEST_SEED=N in the environment runs that seed alone. A fuzzer's target draws from its input (fuzz/fuzz.h).
 */
#ifndef IORA_TESTS_CHANCE_H
#define IORA_TESTS_CHANCE_H

#include "waiting.h"

enum { WORKERS_MAX = 6 };

struct worker {
    int index;
    iora_scope *scope; /* of the operation it is in; NULL: none */
    bool waits;        /* as far as the model knows */
    bool cancellable;  /* whether a cancel would end the waiting */
    int expected;      /* what the model says the operation returns */
    int got;           /* the item the model says it gets */
    int item;          /* the item it waits to put */
};

static struct {
    uint64_t seed, random;
    int (*choose)(int n); /* what to draw from; NULL: from `random` */
    struct worker workers[WORKERS_MAX];
    int workers_live;
} chance;

/* Checks that name the seed. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            test_fail(__FILE__, __LINE__, "with IORA_TEST_SEED=%llu: %s",                          \
                      (unsigned long long)chance.seed, #condition);                                \
    } while (0)
#define MUST_EQ(a, b)                                                                              \
    do {                                                                                           \
        const long long must_a = (long long)(a), must_b = (long long)(b);                          \
        if (must_a != must_b)                                                                      \
            test_fail(__FILE__, __LINE__, "with IORA_TEST_SEED=%llu: %s is %lld and not %s, %lld", \
                      (unsigned long long)chance.seed, #a, must_a, #b, must_b);                    \
    } while (0)

/* splitmix64, if nobody chooses. */
static inline int
below(int n)
{
    uint64_t z;

    if (chance.choose != NULL)
        return chance.choose(n);
    z = chance.random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (int)((z ^ (z >> 31)) % (uint64_t)n);
}

static inline bool
one_in(int n)
{
    return below(n) == 0;
}

/* A list of those who wait for something in the model, in order. */
struct line {
    struct worker *who[WORKERS_MAX];
    int count;
};

static inline void
line_add(struct line *line, struct worker *worker)
{
    line->who[line->count++] = worker;
}

static inline bool
line_remove(struct line *line, const struct worker *worker)
{
    for (int i = 0; i < line->count; i++) {
        if (line->who[i] == worker) {
            line->count--;
            memmove(&line->who[i], &line->who[i + 1],
                    (size_t)(line->count - i) * sizeof line->who[0]);
            return true;
        }
    }
    return false;
}

static inline struct worker *
line_pop(struct line *line)
{
    struct worker *const first = line->count > 0 ? line->who[0] : NULL;

    if (first != NULL)
        (void)line_remove(line, first);
    return first;
}

static inline void
worker_waits(struct worker *worker)
{
    worker->waits = true;
    worker->cancellable = true;
}

static inline void
worker_settled(struct worker *worker, int rc)
{
    worker->waits = false;
    worker->expected = rc;
}

/* Run `call`, told to the model, with the worker's scope open so that others can cancel it. */
#define IN_WORKERS_SCOPE(worker, call)                                                             \
    __extension__({                                                                                \
        iora_scope worker_scope;                                                                   \
        iora_timeout_begin(&worker_scope, IORA_FOREVER);                                           \
        (worker)->scope = &worker_scope;                                                           \
        const int worker_rc = (call);                                                              \
        (worker)->scope = NULL;                                                                    \
        iora_timeout_end(&worker_scope, worker_rc);                                                \
    })

/* Cancel the operation of a worker; `leave` takes it out of the model's lines. */
static inline void
cancel_worker(struct worker *worker, void (*leave)(struct worker *))
{
    if (worker->scope == NULL)
        return;
    if (worker->waits && worker->cancellable)
        leave(worker);
    iora_scope_cancel(worker->scope);
}

static inline void
cancel_somebody(const struct worker *self, void (*leave)(struct worker *))
{
    struct worker *const other = &chance.workers[below(WORKERS_MAX)];

    if (other != self)
        cancel_worker(other, leave);
}

/* The main task's part: start all, free those who wait when nothing else happens, until all have ended. */
#define RUN_WORKERS(work, leave)                                                                   \
    do {                                                                                           \
        for (int i = 0; i < chance.workers_live; i++)                                              \
            MUST_EQ(iora_task_error(iora_go(work, &chance.workers[i])), 0);                        \
        while (chance.workers_live > 0) {                                                          \
            MUST_EQ(iora_sleep(iora_ms(1)), 0);                                                    \
            for (int i = 0; i < WORKERS_MAX; i++)                                                  \
                cancel_worker(&chance.workers[i], leave);                                          \
        }                                                                                          \
    } while (0)

/* Begin anew, with a seed or with somebody who chooses. */
static inline void
begin_chance(uint64_t seed, int (*choose)(int n))
{
    memset(&chance, 0, sizeof chance);
    chance.seed = chance.random = seed;
    chance.choose = choose;
    chance.workers_live = 2 + below(WORKERS_MAX - 1);
    for (int i = 0; i < WORKERS_MAX; i++)
        chance.workers[i].index = i;
}

static inline iora_loop *
loop_for_seed(uint64_t seed)
{
    iora_loop_options options = IORA_LOOP_OPTIONS_INIT;

    options.backend = IORA_BACKEND_SIM;
    options.seed = seed % 2 != 0 ? seed : 0;
    return test_loop_with(&options);
}

/* Run `main_fn` with `count` seeds: fewer where all is slower. */
#define RUN_SEEDS(count, main_fn)                                                                  \
    do {                                                                                           \
        const char *const only = getenv("IORA_TEST_SEED");                                         \
        const uint64_t first_seed = only != NULL ? strtoull(only, NULL, 0) : 1;                    \
        const uint64_t seeds = only != NULL                                      ? 1               \
                               : test_under_sanitizer() || test_under_valgrind() ? (count) / 10    \
                                                                                 : (count);        \
        for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++) {                      \
            iora_loop *const seeds_loop = loop_for_seed(seed);                                     \
            begin_chance(seed, NULL);                                                              \
            MUST_EQ(iora_run_in(seeds_loop, main_fn), 0);                                          \
            test_forget_loop(seeds_loop);                                                          \
            MUST_EQ(iora_loop_free(seeds_loop), 0);                                                \
        }                                                                                          \
    } while (0)

#endif
