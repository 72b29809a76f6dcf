/* bench/iora/iora.c -- the bench's rows on iora.
 *
 * Built twice from this source: as `iora` against the shared library, as programs normally
 * have it, and as `iora-static`. All rows run in a loop over epoll, guards on, as iora_run() makes
 * it. The two sides of a row are different functions with different work between their calls (see
 * bench/README.md, call sites). */

#include "../measure.h"

#include <iora.h>
#include <stdlib.h>

#define CROWD   10000
#define BURST   100000
#define MILLION 1000000

static uint64_t steps;

/* Different in the two sides, lest the compiler make one function of them. */
static volatile uint64_t lefts;
static volatile uint64_t rights;

static void
must(int rc, const char *what)
{
    if (rc < 0)
        bench_fail("%s fails: %s", what, iora_strerror(rc));
}

/* Runs a main task that does n operations, inside bench_loop(). */
#define RUN(f) must(iora_run(f), #f)

/* switch_yield */

static int
left(void)
{
    for (uint64_t i = 0; i < steps; i++) {
        lefts++;
        (void)iora_yield();
    }
    return 0;
}
IORA_ASYNC(left);

static int
right(void)
{
    for (uint64_t i = 0; i < steps; i++) {
        rights += 2;
        (void)iora_yield();
    }
    return 0;
}
IORA_ASYNC(right);

static int
two_yield(void)
{
    const iora_task a = iora_go(left), b = iora_go(right);
    int rc;

    (void)iora_yield();
    bench_start();
    rc = iora_gather(a, b);
    bench_stop();
    return rc;
}
IORA_ASYNC(two_yield);

static void
switch_yield_body(uint64_t n)
{
    steps = n / 2;
    RUN(two_yield);
}

static void
switch_yield(void)
{
    bench_loop(switch_yield_body, 2);
}

/* yield_10k: made in one order, woken in another. */

static iora_event *starts;
static uint64_t rounds;

static int
one_of_the_crowd(uint32_t place)
{
    int rc = iora_event_wait(&starts[place]);

    for (uint64_t i = 0; i < rounds && rc == 0; i++)
        rc = iora_yield();
    return rc;
}
IORA_ASYNC(one_of_the_crowd, uint32_t);

static int
crowd(void)
{
    iora_task *const tasks = malloc(CROWD * sizeof *tasks);
    uint32_t *const order = bench_shuffled(CROWD);
    int rc;

    starts = calloc(CROWD, sizeof *starts);
    for (uint32_t i = 0; i < CROWD; i++)
        tasks[i] = iora_go(one_of_the_crowd, i);
    (void)iora_yield();
    for (uint32_t i = 0; i < CROWD; i++)
        iora_event_set(&starts[order[i]]);
    bench_start();
    rc = iora_gather_n(tasks, CROWD);
    bench_stop();
    free(starts);
    free(order);
    free(tasks);
    return rc;
}
IORA_ASYNC(crowd);

static void
yield_10k_body(uint64_t n)
{
    rounds = n / CROWD;
    RUN(crowd);
}

static void
yield_10k(void)
{
    bench_loop(yield_10k_body, CROWD);
}

/* spawn_await, spawn_burst */

static int
nothing(void)
{
    return 0;
}
IORA_ASYNC(nothing);

static int
spawn_and_await(void)
{
    int rc = 0;

    bench_start();
    for (uint64_t i = 0; i < steps && rc == 0; i++)
        rc = iora_await(iora_go(nothing));
    bench_stop();
    return rc;
}
IORA_ASYNC(spawn_and_await);

static void
spawn_await_body(uint64_t n)
{
    steps = n;
    RUN(spawn_and_await);
}

static void
spawn_await(void)
{
    bench_loop(spawn_await_body, 1);
}

static int
burst(void)
{
    iora_task *const tasks = malloc(BURST * sizeof *tasks);
    double before;
    int rc = 0;

    for (uint32_t i = 0; i < BURST; i++)
        tasks[i] = (iora_task){0};
    before = bench_memory_kib();
    bench_start();
    for (uint32_t i = 0; i < BURST; i++)
        tasks[i] = iora_go(nothing);
    for (uint32_t i = 0; i < BURST && rc == 0; i++)
        rc = iora_await(tasks[i]);
    bench_stop();
    bench_report_span(BURST);
    bench_report("KiB", (bench_peak_kib() - before) / BURST);
    free(tasks);
    return rc;
}
IORA_ASYNC(burst);

static void
spawn_burst(void)
{
    RUN(burst);
}

/* handoff */

static iora_channel channel = IORA_CHANNEL_INIT(sizeof(uint64_t));

static int
sender(void)
{
    int rc = 0;

    for (uint64_t i = 0; i < steps && rc == 0; i++)
        rc = iora_channel_send(&channel, &i);
    return rc;
}
IORA_ASYNC(sender);

static int
receiver(void)
{
    uint64_t item, sum = 0;
    int rc = 0;

    for (uint64_t i = 0; i < steps && rc == 0; i++) {
        rc = iora_channel_receive(&channel, &item);
        sum += item;
    }
    rights = sum;
    return rc;
}
IORA_ASYNC(receiver);

static int
hand_over(void)
{
    const iora_task a = iora_go(sender), b = iora_go(receiver);
    int rc;

    bench_start();
    rc = iora_gather(a, b);
    bench_stop();
    return rc;
}
IORA_ASYNC(hand_over);

static void
handoff_body(uint64_t n)
{
    steps = n;
    RUN(hand_over);
}

static void
handoff(void)
{
    bench_loop(handoff_body, 1);
}

/* lock_pair, sem_pair, event_set: nobody contends. */

static int
lock_and_unlock(void)
{
    iora_lock lock = IORA_LOCK_INIT;
    int rc = 0;

    bench_start();
    for (uint64_t i = 0; i < steps && rc == 0; i++) {
        rc = iora_lock_acquire(&lock);
        lefts++;
        (void)iora_lock_release(&lock);
    }
    bench_stop();
    return rc;
}
IORA_ASYNC(lock_and_unlock);

static void
lock_pair_body(uint64_t n)
{
    steps = n;
    RUN(lock_and_unlock);
}

static void
lock_pair(void)
{
    bench_loop(lock_pair_body, 1);
}

static int
acquire_and_release(void)
{
    iora_semaphore semaphore = IORA_SEMAPHORE_INIT(1);
    int rc = 0;

    bench_start();
    for (uint64_t i = 0; i < steps && rc == 0; i++) {
        rc = iora_semaphore_acquire(&semaphore);
        lefts++;
        (void)iora_semaphore_release(&semaphore);
    }
    bench_stop();
    return rc;
}
IORA_ASYNC(acquire_and_release);

static void
sem_pair_body(uint64_t n)
{
    steps = n;
    RUN(acquire_and_release);
}

static void
sem_pair(void)
{
    bench_loop(sem_pair_body, 1);
}

static int
wait_for_what_is_set(void)
{
    iora_event event = IORA_EVENT_INIT;
    int rc = 0;

    iora_event_set(&event);
    bench_start();
    for (uint64_t i = 0; i < steps && rc == 0; i++)
        rc = iora_event_wait(&event);
    bench_stop();
    return rc;
}
IORA_ASYNC(wait_for_what_is_set);

static void
event_set_body(uint64_t n)
{
    steps = n;
    RUN(wait_for_what_is_set);
}

static void
event_set(void)
{
    bench_loop(event_set_body, 1);
}

/* generator_step */

static int
counter(uint64_t *out, uint64_t to)
{
    int rc = 0;

    for (uint64_t i = 0; i < to && rc == 0; i++)
        rc = iora_emit(out, i);
    return rc;
}
IORA_ASYNC(counter, uint64_t *, uint64_t);

static int
consume(void)
{
    uint64_t item, sum = 0;
    int rc;

    bench_start();
    iora_for_each(rc, counter, &item, steps)
        sum += item;
    bench_stop();
    rights = sum;
    return rc;
}
IORA_ASYNC(consume);

static void
generator_step_body(uint64_t n)
{
    steps = n;
    RUN(consume);
}

static void
generator_step(void)
{
    bench_loop(generator_step_body, 1);
}

/* parked_million, parked_million_64k */

static iora_event never = IORA_EVENT_INIT;

static int
parked(void)
{
    return iora_event_wait(&never);
}
IORA_ASYNC(parked);

static int
park(uint32_t stack_kib)
{
    const uint32_t count = bench_fitting(MILLION, 5);
    const double before = bench_memory_kib();

    for (uint32_t i = 0; i < count; i++)
        must(iora_task_error(iora_go_sized(stack_kib * 1024, parked)), "iora_go_sized");
    (void)iora_yield();
    (void)iora_yield();
    bench_report("KiB", (bench_memory_kib() - before) / count);
    bench_report("tasks", count);
    bench_report("mappings", (double)bench_mappings());
    exit(EXIT_SUCCESS); /* unwinding them is no part of the question */
}
IORA_ASYNC(park, uint32_t);

static void
parked_million(void)
{
    must(iora_run(park, 256), "park");
}

static void
parked_million_64k(void)
{
    must(iora_run(park, 64), "park");
}

/* timers: a million live ones, an hour away and a microsecond apart. */

static iora_loop *timer_loop;
static iora_timer *timers;

static void
on_time(void *unused)
{
    (void)unused;
}

static iora_duration
due(uint64_t microseconds)
{
    return iora_us(3600e6 + (double)microseconds);
}

static void
make_timers(void)
{
    must(iora_loop_new(NULL, &timer_loop), "iora_loop_new");
    timers = calloc(MILLION, sizeof *timers);
    for (uint64_t i = 0; i < MILLION; i++)
        must(iora_call_later(timer_loop, &timers[i], due(i), on_time, NULL), "iora_call_later");
}

static void
set_and_cancel(uint64_t n)
{
    static iora_timer timer;

    bench_start();
    for (uint64_t i = 0; i < n; i++) {
        (void)iora_call_later(timer_loop, &timer, due(i % MILLION), on_time, NULL);
        (void)iora_timer_cancel(&timer);
    }
    bench_stop();
}

static void
timer_set_cancel(void)
{
    make_timers();
    bench_loop(set_and_cancel, 1);
}

static uint64_t renewed;

static void
renew(uint64_t n)
{
    bench_start();
    for (uint64_t i = 0; i < n; i++, renewed++)
        (void)iora_call_later(timer_loop, &timers[renewed % MILLION], due(MILLION + renewed),
                              on_time, NULL);
    bench_stop();
}

static void
timer_renew(void)
{
    make_timers();
    bench_loop(renew, 1);
}

static void
timer_cancel_random(void)
{
    uint32_t *const order = bench_shuffled(MILLION);

    make_timers();
    bench_start();
    for (uint32_t i = 0; i < MILLION / 4; i++)
        (void)iora_timer_cancel(&timers[order[i]]);
    bench_stop();
    bench_report_span(MILLION / 4);
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
        {"sem_pair", sem_pair},
        {"event_set", event_set},
        {"generator_step", generator_step},
        {"parked_million", parked_million},
        {"parked_million_64k", parked_million_64k},
        {"timer_set_cancel", timer_set_cancel},
        {"timer_renew", timer_renew},
        {"timer_cancel_random", timer_cancel_random},
        {NULL, NULL},
    };

    return bench_main(argc, argv, "iora " IORA_VERSION ", epoll, guards on, " IORA_LINKAGE, rows);
}
