/* tests/c/test.h -- writing a test.
 *
 *     TEST(lock, is_fair)
 *     {
 *         CHECK_EQ(test_run(three_tasks_take_it), 0);
 *     }
 *
 * Defining a test registers it, as "lock.is_fair". It runs alone in a process of its own, in a simulated loop
 * unless it says otherwise, and fails if a check fails, if it crashes or takes too long, if the library logs
 * something it did not expect, or if at its end anything is left: tasks, timers, operations, stacks,
 * allocations, descriptors, threads.
 *
 *     TEST            the loop of test_loop() is simulated: a virtual clock that jumps
 *     TEST_REAL       runs twice: "topic.name@epoll", and "...@late", where every operation completes late
 *     TEST_EVERYWHERE runs three times: @sim, @epoll, @late
 *     TEST_TASK       as TEST, the body being a run's main task, so that it may suspend
 *
 * What runs on real descriptors also has to pass where the kernel is stingy and where signals interrupt its calls
 * (enum test_way). A test that looks at what single calls do is exempt by a line behind it:
 *
 *     TEST_EXEMPT(stream, reads_what_is_there, TEST_STINGY, "of how much one read gives")
 */
#ifndef IORA_TESTS_TEST_H
#define IORA_TESTS_TEST_H

#include <iora.h>

#include "sys/seam.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum test_where { TEST_SIM = 1, TEST_EPOLL = 2, TEST_LATE = 4 };

/* Ways to run a test in which nothing goes wrong, and nothing may. */
enum test_way {
    TEST_PLAIN,
    TEST_STINGY, /* each call moves one byte at most, and each second call is refused */
    TEST_SIGNALS /* a signal a millisecond interrupts whatever waits */
};

struct test_exemption {
    const char *topic;
    const char *name; /* NULL: all of the topic */
    enum test_way way;
    const char *why;
    struct test_exemption *next;
};

void test_exempt(struct test_exemption *exemption);

/* A whole topic. */
#define TEST_EXEMPT_ALL(topic_, way_, why_)                                                        \
    __attribute__((constructor)) static void test_exempt_all_##topic_##_##way_(void)               \
    {                                                                                              \
        static struct test_exemption exemption = {#topic_, NULL, (way_), (why_), NULL};            \
        test_exempt(&exemption);                                                                   \
    }

#define TEST_EXEMPT(topic_, name_, way_, why_)                                                     \
    __attribute__((constructor)) static void test_exempt_##topic_##_##name_##_##way_(void)         \
    {                                                                                              \
        static struct test_exemption exemption = {#topic_, #name_, (way_), (why_), NULL};          \
        test_exempt(&exemption);                                                                   \
    }

struct test {
    const char *topic;
    const char *name;
    unsigned where;
    void (*fn)(void);
    struct test *next;
};

void test_register(struct test *test);

#define TEST_IN(topic_, name_, where_)                                                             \
    static void test_##topic_##_##name_(void);                                                     \
    __attribute__((constructor)) static void test_register_##topic_##_##name_(void)                \
    {                                                                                              \
        static struct test test = {#topic_, #name_, (where_), test_##topic_##_##name_, NULL};      \
        test_register(&test);                                                                      \
    }                                                                                              \
    static void test_##topic_##_##name_(void)

#define TEST(topic, name) TEST_IN(topic, name, TEST_SIM)
#define TEST_REAL(topic, name) TEST_IN(topic, name, TEST_EPOLL | TEST_LATE)
#define TEST_EVERYWHERE(topic, name) TEST_IN(topic, name, TEST_SIM | TEST_EPOLL | TEST_LATE)

#define TEST_TASK_IN(topic_, name_, where_)                                                        \
    static void in_task_##topic_##_##name_(void);                                                  \
    static int main_of_##topic_##_##name_(void)                                                    \
    {                                                                                              \
        (void)test_ms(); /* begins at 0 */                                                         \
        in_task_##topic_##_##name_();                                                              \
        return 0;                                                                                  \
    }                                                                                              \
    IORA_ASYNC(main_of_##topic_##_##name_);                                                        \
    TEST_IN(topic_, name_, where_)                                                                 \
    {                                                                                              \
        CHECK_EQ(test_run(main_of_##topic_##_##name_), 0);                                         \
    }                                                                                              \
    static void in_task_##topic_##_##name_(void)

#define TEST_TASK(topic, name) TEST_TASK_IN(topic, name, TEST_SIM)
#define TEST_TASK_REAL(topic, name) TEST_TASK_IN(topic, name, TEST_EPOLL | TEST_LATE)
#define TEST_TASK_EVERYWHERE(topic, name)                                                          \
    TEST_TASK_IN(topic, name, TEST_SIM | TEST_EPOLL | TEST_LATE)

/* ---- checks ----------------------------------------------------------------------------------- */

/* End the test as failed. From any thread or task. */
void test_fail(const char *file, int line, const char *format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));
/* End the test as skipped: the machine cannot do what it needs. Say what is missing. */
void test_skip(const char *why) __attribute__((noreturn));

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            test_fail(__FILE__, __LINE__, "%s", #condition);                                       \
    } while (0)

/* Compares integers and codes; prints both, with the names of errors. */
#define CHECK_EQ(a, b) test_check_eq(__FILE__, __LINE__, #a, #b, (long long)(a), (long long)(b))
#define CHECK_STR(a, b) test_check_str(__FILE__, __LINE__, #a, (a), (b))

void test_check_eq(const char *file, int line, const char *a_text, const char *b_text, long long a,
                   long long b);
void test_check_str(const char *file, int line, const char *a_text, const char *a, const char *b);

/* ---- loops ------------------------------------------------------------------------------------- */

/* The test's loop, made at the first call and freed at the end. */
iora_loop *test_loop(void);
/* The options with which test_loop() makes it: change them before, if at all. */
iora_loop_options *test_options(void);
/* A further loop, with these options but the test's hooks; freed at the end unless test_forget_loop(). */
iora_loop *test_loop_with(const iora_loop_options *options);
void test_forget_loop(iora_loop *loop);
/* Which variant runs. */
enum test_where test_where(void);

/* Run an async function, with arguments, in the test's loop. */
#define test_run(...) iora_run_in(test_loop(), __VA_ARGS__)

/* The loop's clock in milliseconds since the first call: with TEST exactly what was slept. */
long long test_ms(void);

/* ---- what the library says ------------------------------------------------------------------------ */

/* All that the log and error hooks were told so far, a line each. */
const char *test_log(void);
/* Whether that has the text; from now on reports are expected and do not fail the test. */
bool test_logged(const char *text);
void test_expect_log(void);
/* Forget what was logged. */
void test_clear_log(void);

/* ---- a trace: short words in the order things happened ----------------------------------------------- */

/* Append a word; words are joined by spaces. */
void test_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *test_traced(void);
#define CHECK_TRACE(expected) CHECK_STR(test_traced(), expected)

/* ---- the environment ------------------------------------------------------------------------------------ */

/* Milliseconds a real wait may take before a test calls it lost; longer under Valgrind and sanitizers. */
int test_patience_ms(void);
bool test_under_valgrind(void);
bool test_under_sanitizer(void);

#endif
