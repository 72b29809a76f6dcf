/* explore/explore.h -- writing a model for the explorer of interleavings (theory in schedule.c).
 *
 *     MODEL(remote, a_post_is_not_lost)
 *     {
 *         struct explore__thread *const sender = explore_start("sender", post, &shared);
 *
 *         CHECK_EQ(iora_loop_run(loop), 0);
 *         explore_join(sender);
 *     }
 *
 * A model is a program of two or three threads over the library. Its body is one of them, "main". It runs once
 * for each schedule, so it begins and ends with nothing: everything it makes is freed, and every thread has been
 * joined, or detached and ended. It may decide nothing by what is not the same each time (addresses, real time).
 *
 * Only one thread runs at a time and it is left only at points (intercept.h), so what threads of a model share
 * between them may be plain variables.
 *
 *     MODEL        nobody waits until a time runs out: if all wait it is a deadlock, deadline or not
 *     MODEL_TIMED  any wait with a deadline may also end by it, at any moment: that costs a preemption, or nothing
 *                  when nobody else can go on
 */
#ifndef IORA_EXPLORE_EXPLORE_H
#define IORA_EXPLORE_EXPLORE_H

#include <iora.h>

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct explore__thread;

struct explore__model {
    const char *topic;
    const char *name;
    void (*fn)(void);
    bool timed;
    struct explore__model *next;
};

void explore__register(struct explore__model *model);

#define EXPLORE_MODEL(topic_, name_, timed_)                                                       \
    static void model_##topic_##_##name_(void);                                                    \
    __attribute__((constructor)) static void register_##topic_##_##name_(void)                     \
    {                                                                                              \
        static struct explore__model model = {#topic_, #name_, model_##topic_##_##name_, (timed_), \
                                              NULL};                                               \
        explore__register(&model);                                                                 \
    }                                                                                              \
    static void model_##topic_##_##name_(void)

#define MODEL(topic, name) EXPLORE_MODEL(topic, name, false)
#define MODEL_TIMED(topic, name) EXPLORE_MODEL(topic, name, true)

/* A further thread, and its end. */
struct explore__thread *explore_start(const char *name, void (*fn)(void *arg), void *arg);
void explore_join(struct explore__thread *thread);

/* A point of the model's own: in the middle of what a thread does. */
#define explore_point(what) explore__before(what, __FILE__, __LINE__)
void explore__before(const char *what, const char *file, int line);

/* How many processors there seem to be: 1, where nothing spins, unless it is said before they are counted. */
void explore_set_processors(unsigned processors);

/* Have a signal interrupt the thread at its next point, or when it blocks it no longer; if it waits, at once. */
void explore_interrupt(struct explore__thread *thread, int number);
struct explore__thread *explore_self(void);

/* Fork. The child has this thread only, runs fn(arg), and ends; it takes the first of all choices. What led here
 * in the last schedule too is not forked again. */
void explore_fork(void (*fn)(void *arg), void *arg);

/* End the schedule as failed. */
void explore__fail(const char *file, int line, const char *format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            explore__fail(__FILE__, __LINE__, "%s", #condition);                                   \
    } while (0)

#define CHECK_EQ(a, b)                                                                             \
    do {                                                                                           \
        const long long check_a = (long long)(a), check_b = (long long)(b);                        \
        if (check_a != check_b)                                                                    \
            explore__fail(__FILE__, __LINE__, "%s == %s: %lld, not %lld", #a, #b, check_a,         \
                          check_b);                                                                \
    } while (0)

#endif
