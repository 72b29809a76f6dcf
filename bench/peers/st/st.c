/* bench/peers/st/st.c -- the bench's rows on State Threads.
 *
 * State Threads has threads, mutexes and condition variables on one kernel thread; what it has
 * no word for is said with those:
 *
 *   yield       Its only yield is a sleep of zero, which polls the kernel each time (150 ns).
 *               Nine times cheaper, and so what is measured: a mutex that every task wants.
 *               st_mutex_unlock() gives it to the first in line, and the st_mutex_lock() that
 *               follows gets in line and switches.
 *   hand-off    One slot, and a condition variable for each of "filled" and "emptied".
 *   generator   The same with producer and consumer in lock step: a step is two switches.
 *
 * It has no semaphore, no event and no timer apart from a sleeping thread: those rows are left
 * out.  Settings: the distribution's library linked statically, which is the faster way, epoll,
 * and stacks of the size that the library chooses, without guard pages. */

#include "../../measure.h"

#include <st.h>
#include <stdbool.h>
#include <stdlib.h>

#define CROWD   10000
#define BURST   100000
#define MILLION 1000000

static uint64_t steps;

static st_thread_t
spawn(void *(*function)(void *), void *argument)
{
    st_thread_t thread = st_thread_create(function, argument, true, 0);

    if (thread == NULL)
        bench_fail("st_thread_create fails");
    return thread;
}

static st_cond_t
new_condition(void)
{
    st_cond_t condition = st_cond_new();

    if (condition == NULL)
        bench_fail("st_cond_new fails");
    return condition;
}

static st_mutex_t
new_mutex(void)
{
    st_mutex_t mutex = st_mutex_new();

    if (mutex == NULL)
        bench_fail("st_mutex_new fails");
    return mutex;
}

/* Lets every thread run that can, until each waits for something. */
static void
settle(void)
{
    st_usleep(0);
}

/* switch_yield: two threads pass a mutex to and fro from different functions. */

static st_mutex_t baton;

/* Different in the two threads, lest the compiler make one function of them. */
static volatile uint64_t lefts;
static volatile uint64_t rights;

static void *
left(void *unused)
{
    for (uint64_t i = 0; i < steps; i++) {
        lefts++;
        st_mutex_lock(baton);
        st_mutex_unlock(baton);
    }
    return unused;
}

static void *
right(void *unused)
{
    for (uint64_t i = 0; i < steps; i++) {
        rights++;
        st_mutex_lock(baton);
        st_mutex_unlock(baton);
    }
    return unused;
}

static void
switch_between_two(uint64_t n)
{
    steps = n / 2;
    st_mutex_lock(baton);
    st_thread_t a = spawn(left, NULL);
    st_thread_t b = spawn(right, NULL);
    settle();

    bench_start();
    st_mutex_unlock(baton);
    st_thread_join(a, NULL);
    st_thread_join(b, NULL);
    bench_stop();
}

static void
switch_yield(void)
{
    baton = new_mutex();
    bench_loop(switch_between_two, 2);
}

/* yield_10k: the same mutex, passed round among 10,000 threads which were woken, and so stand in
 * line, in shuffled order. */

static uint32_t *shuffled;
static st_cond_t wake[CROWD];

static void *
one_of_many(void *argument)
{
    st_cond_wait(*(st_cond_t *)argument);
    for (uint64_t i = 0; i < steps; i++) {
        st_mutex_lock(baton);
        st_mutex_unlock(baton);
    }
    return NULL;
}

static void
yield_in_a_crowd(uint64_t n)
{
    static st_thread_t threads[CROWD];

    steps = n / CROWD;
    for (uint32_t i = 0; i < CROWD; i++)
        threads[i] = spawn(one_of_many, &wake[i]);
    settle();
    st_mutex_lock(baton);
    for (uint32_t i = 0; i < CROWD; i++)
        st_cond_signal(wake[shuffled[i]]);
    settle();

    bench_start();
    st_mutex_unlock(baton);
    for (uint32_t i = 0; i < CROWD; i++)
        st_thread_join(threads[i], NULL);
    bench_stop();
}

static void
yield_10k(void)
{
    baton = new_mutex();
    shuffled = bench_shuffled(CROWD);
    for (uint32_t i = 0; i < CROWD; i++)
        wake[i] = new_condition();
    bench_loop(yield_in_a_crowd, CROWD);
}

/* spawn_await: create and join a thread that returns at once. */

static void *
nothing(void *unused)
{
    return unused;
}

static void
spawn_and_join(uint64_t n)
{
    bench_start();
    for (uint64_t i = 0; i < n; i++)
        st_thread_join(spawn(nothing, NULL), NULL);
    bench_stop();
}

static void
spawn_await(void)
{
    bench_loop(spawn_and_join, 1);
}

/* spawn_burst: 100,000 detached threads at once, the first that this process makes. */

static uint32_t burst_left = BURST;
static st_cond_t burst_over;

static void *
one_of_burst(void *unused)
{
    if (--burst_left == 0)
        st_cond_signal(burst_over);
    return unused;
}

static void
spawn_burst(void)
{
    burst_over = new_condition();
    double before = bench_memory_kib();

    bench_start();
    for (uint32_t i = 0; i < BURST; i++) {
        if (st_thread_create(one_of_burst, NULL, false, 0) == NULL)
            bench_fail("st_thread_create fails");
    }
    st_cond_wait(burst_over);
    bench_stop();

    bench_report_span(BURST);
    bench_report("KiB", (bench_peak_kib() - before) / BURST);
}

/* handoff: one slot between a producer and a consumer. */

static struct {
    bool full;
    uint64_t item;
    st_cond_t filled;
    st_cond_t emptied;
} slot;

static void *
produce(void *unused)
{
    for (uint64_t i = 0; i < steps; i++) {
        while (slot.full)
            st_cond_wait(slot.emptied);
        slot.item = i;
        slot.full = true;
        st_cond_signal(slot.filled);
    }
    return unused;
}

static void
consume(uint64_t n)
{
    uint64_t sum = 0;

    steps = n;
    st_thread_t producer = spawn(produce, NULL);
    bench_start();
    for (uint64_t i = 0; i < n; i++) {
        while (!slot.full)
            st_cond_wait(slot.filled);
        sum += slot.item;
        slot.full = false;
        st_cond_signal(slot.emptied);
    }
    bench_stop();
    st_thread_join(producer, NULL);
    if (sum != n * (n - 1) / 2)
        bench_fail("items were lost");
}

static void
handoff(void)
{
    slot.filled = new_condition();
    slot.emptied = new_condition();
    bench_loop(consume, 1);
}

/* lock_pair: a mutex that nobody else wants. */

static void
lock_and_unlock(uint64_t n)
{
    bench_start();
    for (uint64_t i = 0; i < n; i++) {
        st_mutex_lock(baton);
        st_mutex_unlock(baton);
    }
    bench_stop();
}

static void
lock_pair(void)
{
    baton = new_mutex();
    bench_loop(lock_and_unlock, 1);
}

/* generator_step: the generator runs only when asked, and the consumer only when answered. */

static void *
generate(void *unused)
{
    for (uint64_t i = 0; i < steps; i++) {
        slot.item = i;
        st_cond_signal(slot.filled);
        st_cond_wait(slot.emptied);
    }
    return unused;
}

static void
step_generator(uint64_t n)
{
    uint64_t sum = 0;

    steps = n;
    bench_start();
    st_thread_t generator = spawn(generate, NULL);
    for (uint64_t i = 0; i < n; i++) {
        st_cond_wait(slot.filled);
        sum += slot.item;
        st_cond_signal(slot.emptied);
    }
    st_thread_join(generator, NULL);
    bench_stop();
    if (sum != n * (n - 1) / 2)
        bench_fail("items were lost");
}

static void
generator_step(void)
{
    slot.filled = new_condition();
    slot.emptied = new_condition();
    bench_loop(step_generator, 1);
}

/* parked_million: threads that wait for a condition which never comes. */

static void *
park(void *condition)
{
    st_cond_wait(condition);
    return NULL;
}

static void
parked_million(void)
{
    uint32_t count = bench_fitting(MILLION, 5);
    st_cond_t never = new_condition();
    double before = bench_memory_kib();

    for (uint32_t i = 0; i < count; i++)
        spawn(park, never);
    settle();
    bench_report("KiB", (bench_memory_kib() - before) / count);
    bench_report("tasks", count);
    bench_report("mappings", (double)bench_mappings());
}

int
main(int argc, char **argv)
{
    static const struct bench_row rows[] = {
        {"switch_yield", switch_yield},
        {"yield_10k", yield_10k},
        {"spawn_await", spawn_await},
        {"spawn_burst", spawn_burst},
        {"handoff", handoff},
        {"lock_pair", lock_pair},
        {"generator_step", generator_step},
        {"parked_million", parked_million},
        {NULL, NULL},
    };

    if (st_set_eventsys(ST_EVENTSYS_ALT) != 0 || st_init() != 0)
        bench_fail("st_init fails");
    return bench_main(argc, argv, "State Threads " ST_VERSION ", epoll", rows);
}
