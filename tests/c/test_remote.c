/* tests/c/test_remote.c -- calls into a loop from other threads and from signal handlers. */
#include "real.h"
#include "test.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>

static void
count_up(void *count)
{
    (*(int *)count)++;
}

static void
trace_word(void *word)
{
    test_trace("%s", (const char *)word);
}

static iora_remote *
open_remote(void)
{
    iora_remote *remote;

    CHECK_EQ(iora_remote_open(test_loop(), &remote), 0);
    return remote;
}

static size_t
remotes_open(void)
{
    iora_census census;

    iora_loop_census(test_loop(), &census);
    return census.remotes;
}

/* ---- calls ---------------------------------------------------------------------------------------------------- */

TEST_EVERYWHERE(remote, calls_run_in_the_order_they_were_sent)
{
    iora_remote *const remote = open_remote();
    static iora_handle handles[3];

    CHECK_EQ(iora_remote_call_soon(remote, &handles[0], trace_word, "a"), 0);
    CHECK_EQ(iora_remote_call_soon(remote, &handles[1], trace_word, "b"), 0);
    CHECK_EQ(iora_remote_call_soon(remote, &handles[2], trace_word, "c"), 0);
    CHECK_EQ(iora_to_ns(iora_loop_timeout(test_loop())), 0);
    CHECK_EQ(iora_loop_run_once(test_loop(), IORA_FOREVER), 0);
    CHECK_TRACE("a b c");
    iora_remote_close(remote);
}

TEST_EVERYWHERE(remote, a_batch_costs_one_write)
{
    enum { N = 100 };
    static iora_handle handles[N];
    iora_remote *const remote = open_remote();
    int count = 0;

    for (int round = 1; round <= 3; round++) {
        iora__seam_arm_call(0, 0, false);
        for (int i = 0; i < N; i++)
            CHECK_EQ(iora_remote_call_soon(remote, &handles[i], count_up, &count), 0);
        CHECK_EQ(iora__seam_read().calls, 1);
        turn_until(test_loop(), &count, round * N);
    }
    iora_remote_close(remote);
}

static void
use_handle_again(void *arg)
{
    static int left = 3;
    void *const *const both = arg;

    test_trace("%d", left);
    if (--left > 0)
        CHECK_EQ(iora_remote_call_soon(both[0], both[1], use_handle_again, arg), 0);
}

TEST_EVERYWHERE(remote, handle_is_idle_again_in_its_callback)
{
    iora_remote *const remote = open_remote();
    iora_handle handle = {0};
    void *both[] = {remote, &handle};

    CHECK_EQ(iora_remote_call_soon(remote, &handle, use_handle_again, both), 0);
    for (int i = 0; i < 3; i++)
        CHECK(iora_loop_run_once(test_loop(), IORA_FOREVER) >= 0);
    CHECK_TRACE("3 2 1");
    iora_remote_close(remote);
}

TEST(remote, timers_run_when_they_are_due)
{
    iora_remote *const remote = open_remote();
    const iora_instant when = iora_after(iora_loop_now(test_loop()), iora_ms(5));
    static iora_timer timers[6];

    CHECK_EQ(test_ms(), 0);
    CHECK_EQ(iora_remote_call_later(remote, &timers[0], iora_ms(8), trace_word, "8"), 0);
    CHECK_EQ(iora_remote_call_at(remote, &timers[1], when, trace_word, "5"), 0);
    CHECK_EQ(iora_remote_call_later(remote, &timers[2], iora_ns(0), trace_word, "0"), 0);
    CHECK_EQ(iora_remote_call_later(remote, &timers[3], iora_s(-1), trace_word, "-1"), 0);
    CHECK_EQ(iora_remote_call_at(remote, &timers[4], (iora_instant){0}, trace_word, "past"), 0);
    CHECK_EQ(iora_remote_call_later(remote, &timers[5], IORA_FOREVER, trace_word, "never"), 0);
    CHECK_EQ(iora_loop_run_once(test_loop(), iora_ns(0)), 0);
    CHECK_TRACE("0 -1 past");
    CHECK_EQ(iora_loop_run_once(test_loop(), IORA_FOREVER), 0);
    CHECK_TRACE("0 -1 past 5");
    CHECK_EQ(test_ms(), 5);
    CHECK_EQ(iora_loop_run_once(test_loop(), IORA_FOREVER), 0);
    CHECK_TRACE("0 -1 past 5 8");
    CHECK_EQ(test_ms(), 8);
    iora_remote_close(remote);
}

/* The delay counts from when the loop takes notice. */
TEST(remote, a_delay_counts_from_when_the_loop_takes_notice)
{
    iora_remote *const remote = open_remote();
    iora_timer timer = {0}, other = {0};
    int count = 0, fired = 0;

    CHECK_EQ(test_ms(), 0);
    CHECK_EQ(iora_call_later(test_loop(), &other, iora_ms(30), count_up, &fired), 0);
    CHECK_EQ(iora_loop_run_once(test_loop(), IORA_FOREVER), 0);
    CHECK_EQ(iora_remote_call_later(remote, &timer, iora_ms(10), count_up, &count), 0);
    while (count == 0)
        CHECK(iora_loop_run_once(test_loop(), IORA_FOREVER) >= 0);
    CHECK_EQ(test_ms(), 40);
    CHECK(!iora_timer_is_pending(&timer));
    iora_remote_close(remote);
}

struct delayed {
    iora_remote *remote;
    iora_timer timer;
    int64_t sent_ns;
    int *count;
};

static void
check_not_early(void *arg)
{
    struct delayed *const it = arg;

    CHECK(real_ns() - it->sent_ns >= 3000000);
    (*it->count)++;
}

static void *
send_delayed(void *arg)
{
    struct delayed *const it = arg;

    it->sent_ns = real_ns();
    CHECK_EQ(iora_remote_call_later(it->remote, &it->timer, iora_ms(3), check_not_early, it), 0);
    return NULL;
}

TEST_REAL(remote, a_thread_s_timer_is_never_early)
{
    struct delayed it = {.remote = open_remote()};
    pthread_t thread;
    int count = 0;

    it.count = &count;
    thread = start_thread(send_delayed, &it);
    turn_until(test_loop(), &count, 1);
    join_thread(thread);
    iora_remote_close(it.remote);
}

/* What the kernel is asked to wait for then lies centuries ahead. */
static void *
call_slowly(void *arg)
{
    struct delayed *const it = arg;

    real_sleep_ms(5);
    CHECK_EQ(iora_remote_call_soon(it->remote, &it->timer._handle, count_up, it->count), 0);
    return NULL;
}

TEST_REAL(remote, wakes_a_loop_whose_next_timer_is_centuries_away)
{
    struct delayed it = {.remote = open_remote()};
    iora_timer far = {0}, farther = {0};
    pthread_t thread;
    int count = 0;

    it.count = &count;
    CHECK_EQ(iora_call_later(test_loop(), &far, iora_s(9e9), count_up, &count), 0);
    CHECK_EQ(iora_call_at(test_loop(), &farther, (iora_instant){INT64_MAX - 1}, count_up, &count),
             0);
    thread = start_thread(call_slowly, &it);
    CHECK_EQ(iora_loop_run_once(test_loop(), IORA_FOREVER), 0);
    CHECK_EQ(count, 1);
    CHECK(iora_timer_cancel(&far));
    CHECK(iora_timer_cancel(&farther));
    join_thread(thread);
    iora_remote_close(it.remote);
}
TEST_EXEMPT(remote, wakes_a_loop_whose_next_timer_is_centuries_away, TEST_SIGNALS, "a signal ends run_once")

/* ---- many threads ------------------------------------------------------------------------------------------------- */

enum { SENDERS = 4, CALLS = 3000 };

struct sender {
    iora_remote *remote;
    struct call {
        iora_handle handle;
        struct sender *sender;
        int number;
    } calls[CALLS];
    int next;
};

static int senders_done;

static void
check_order(void *arg)
{
    const struct call *const call = arg;

    CHECK_EQ(call->number, call->sender->next++);
    senders_done += call->sender->next == CALLS;
}

static void *
send_many(void *arg)
{
    struct sender *const sender = arg;

    for (int i = 0; i < CALLS; i++) {
        struct call *const call = &sender->calls[i];

        call->sender = sender;
        call->number = i;
        CHECK_EQ(iora_remote_call_soon(sender->remote, &call->handle, check_order, call), 0);
        if (i % 500 == 0)
            real_sleep_ms(1); /* let the loop fall asleep between them */
    }
    return NULL;
}

/* Each its own remote, or all the same one. */
static void
send_from_many_threads(bool one_for_all)
{
    static struct sender senders[SENDERS];
    pthread_t threads[SENDERS];

    for (int i = 0; i < SENDERS; i++)
        senders[i].remote = i > 0 && one_for_all ? senders[0].remote : open_remote();
    for (int i = 0; i < SENDERS; i++)
        threads[i] = start_thread(send_many, &senders[i]);
    turn_until(test_loop(), &senders_done, SENDERS);
    for (int i = 0; i < SENDERS; i++) {
        join_thread(threads[i]);
        if (i == 0 || !one_for_all)
            iora_remote_close(senders[i].remote);
    }
}

TEST_EVERYWHERE(remote, keeps_each_sender_s_order)
{
    send_from_many_threads(false);
}

TEST_EVERYWHERE(remote, may_be_used_by_many_threads_at_once)
{
    send_from_many_threads(true);
}

struct pinger {
    iora_remote *remote;
    iora_handle handle;
    sem_t done;
};

static void
answer(void *arg)
{
    CHECK_EQ(sem_post(&((struct pinger *)arg)->done), 0);
}

static void
stop_running(void *unused)
{
    (void)unused;
    iora_loop_stop(iora_loop_running());
}

static void *
ping_often(void *arg)
{
    struct pinger *const pinger = arg;

    for (int i = 0; i < 3000; i++) {
        CHECK_EQ(iora_remote_call_soon(pinger->remote, &pinger->handle, answer, pinger), 0);
        CHECK_EQ(TEMP_FAILURE_RETRY(sem_wait(&pinger->done)), 0);
    }
    CHECK_EQ(iora_remote_call_soon(pinger->remote, &pinger->handle, stop_running, NULL), 0);
    return NULL;
}

/* One lost wake-up, and this hangs. */
TEST_EVERYWHERE(remote, never_loses_a_wake_up)
{
    struct pinger pinger = {.remote = open_remote()};
    pthread_t thread;

    CHECK_EQ(sem_init(&pinger.done, 0, 0), 0);
    thread = start_thread(ping_often, &pinger);
    CHECK_EQ(iora_loop_run(test_loop()), 0);
    join_thread(thread);
    iora_remote_close(pinger.remote);
}

/* ---- two loops that call each other ----------------------------------------------------------------------------------- */

struct side {
    iora_remote *to_other; /* a way into the other loop */
    struct side *other;
    iora_handle *ball;
    int *left;
};

static void
hit_back(void *arg)
{
    struct side *const side = arg;

    if (--*side->left <= 0)
        iora_loop_stop(iora_loop_running());
    if (*side->left >= 0)
        CHECK_EQ(iora_remote_call_soon(side->to_other, side->ball, hit_back, side->other), 0);
}

static void *
run_loop(void *loop)
{
    CHECK_EQ(iora_loop_run(loop), 0);
    return NULL;
}

TEST_IN(remote, two_loops_play_ball, TEST_EPOLL)
{
    static iora_handle ball;
    iora_loop *const other = test_loop_with(test_options());
    struct side sides[2];
    pthread_t thread;
    int left = 5000;

    sides[1].to_other = open_remote();
    CHECK_EQ(iora_remote_open(other, &sides[0].to_other), 0);
    for (int i = 0; i < 2; i++) {
        sides[i].other = &sides[1 - i];
        sides[i].ball = &ball;
        sides[i].left = &left;
    }
    thread = start_thread(run_loop, other);
    CHECK_EQ(iora_remote_call_soon(sides[0].to_other, &ball, hit_back, &sides[1]), 0);
    CHECK_EQ(iora_loop_run(test_loop()), 0);
    join_thread(thread);
    CHECK_EQ(left, -1);
    iora_remote_close(sides[0].to_other);
    iora_remote_close(sides[1].to_other);
}

/* ---- opening and closing --------------------------------------------------------------------------------------------------- */

TEST_EVERYWHERE(remote, census_counts_the_open_ones)
{
    iora_remote *remotes[3];

    CHECK_EQ(remotes_open(), 0);
    for (int i = 0; i < 3; i++) {
        remotes[i] = open_remote();
        CHECK_EQ(remotes_open(), i + 1);
    }
    for (int i = 0; i < 3; i++) {
        iora_remote_close(remotes[i]);
        CHECK_EQ(remotes_open(), 2 - i);
    }
    iora_remote_close(NULL);
}

TEST_EVERYWHERE(remote, a_call_sent_before_the_close_still_happens)
{
    iora_remote *const remote = open_remote();
    iora_handle handle = {0};
    int count = 0;

    CHECK_EQ(iora_remote_call_soon(remote, &handle, count_up, &count), 0);
    iora_remote_close(remote);
    CHECK_EQ(iora_loop_run_once(test_loop(), IORA_FOREVER), 0);
    CHECK_EQ(count, 1);
}

static void *
call_and_close(void *arg)
{
    void **const both = arg;

    CHECK_EQ(iora_remote_call_soon(both[0], both[1], count_up, both[2]), 0);
    iora_remote_close(both[0]);
    return NULL;
}

/* F1: the wake-up and the end of what it goes through, at the same time as the loop's own end. */
TEST_IN(remote, close_may_race_with_the_end_of_the_loop, TEST_EPOLL)
{
    for (int i = 0; i < 200; i++) {
        iora_loop_options options = IORA_LOOP_OPTIONS_INIT;
        iora_handle handle = {0};
        iora_loop *loop;
        iora_remote *remote;
        pthread_t thread;
        int count = 0;
        void *arg[] = {NULL, &handle, &count};

        CHECK_EQ(iora_loop_new(&options, &loop), 0);
        CHECK_EQ(iora_remote_open(loop, &remote), 0);
        arg[0] = remote;
        thread = start_thread(call_and_close, arg);
        while (count == 0)
            CHECK(iora_loop_run_once(loop, iora_s(1)) >= 0);
        CHECK_EQ(iora_loop_free(loop), 0); /* while the thread may still be closing */
        join_thread(thread);
    }
}

TEST_EVERYWHERE(remote, outlives_its_loop_and_says_that_it_is_gone)
{
    iora_loop *const loop = test_loop_with(test_options());
    iora_remote *remote;
    static iora_handle pending, late;
    static iora_timer timer;
    static iora_future future;
    int count = 0;

    CHECK_EQ(iora_remote_open(loop, &remote), 0);
    CHECK_EQ(iora_remote_call_soon(remote, &pending, count_up, &count), 0);
    test_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    CHECK_EQ(iora_remote_call_soon(remote, &late, count_up, &count), IORA_E_CLOSED);
    CHECK_EQ(iora_remote_call_later(remote, &timer, iora_ms(1), count_up, &count), IORA_E_CLOSED);
    CHECK_EQ(iora_remote_call_at(remote, &timer, (iora_instant){0}, count_up, &count),
             IORA_E_CLOSED);
    CHECK_EQ(iora_remote_set_future(remote, &future, 0, NULL), IORA_E_CLOSED);
    CHECK(!iora_future_is_done(&future));
    CHECK(!iora_handle_is_pending(&pending));
    CHECK_EQ(count, 0);
    iora_remote_close(remote);
}

TEST_EVERYWHERE(remote, open_fails_cleanly)
{
    iora_remote *remote = NULL;
    iora_handle handle = {0};
    int count = 0, failures = 0;

    (void)test_loop();
    for (long n = 1; n <= 2; n++) {
        iora__seam_arm_call(n, 0, false);
        if (iora_remote_open(test_loop(), &remote) < 0)
            failures++;
        else
            iora_remote_close(remote);
        (void)iora__seam_disarm();
        iora__seam_arm_allocation(n, false);
        if (iora_remote_open(test_loop(), &remote) == 0)
            iora_remote_close(remote);
        (void)iora__seam_disarm();
        CHECK_EQ(remotes_open(), 0);
    }
    CHECK(failures >= 1);
    remote = open_remote(); /* and works when there is what it needs */
    CHECK_EQ(iora_remote_call_soon(remote, &handle, count_up, &count), 0);
    CHECK_EQ(iora_loop_run_once(test_loop(), IORA_FOREVER), 0);
    CHECK_EQ(count, 1);
    iora_remote_close(remote);
}

/* By a number that lies about in the program, from a descriptor long closed. */
TEST_REAL(remote, is_not_disturbed_by_a_watcher_of_the_loop_s_own_descriptor)
{
    iora_watcher watcher;
    iora_remote *remote;
    iora_handle handle = {0};
    int number, count = 0, calls = 0;

    (void)test_loop();
    CHECK((number = dup(STDERR_FILENO)) >= 0);
    (void)close(number);
    remote = open_remote(); /* its eventfd has the number now */
    CHECK_EQ(fcntl(number, F_GETFD), FD_CLOEXEC);
    iora_watcher_init(&watcher, test_loop(), number);
    CHECK_EQ(iora_watcher_on_readable(&watcher, count_up, &calls), -EBADF);
    iora_watcher_close(&watcher);
    CHECK_EQ(iora_remote_call_soon(remote, &handle, count_up, &count), 0);
    CHECK_EQ(iora_loop_run_once(test_loop(), IORA_FOREVER), 0);
    CHECK_EQ(count, 1);
    CHECK_EQ(calls, 0);
    iora_remote_close(remote);
}

/* The user closed a descriptor under its watcher, and the loop's eventfd got the number. */
static void
give_a_watched_number_to_the_loop(bool duplicate_lives)
{
    iora_watcher watcher;
    iora_remote *remote;
    iora_handle handle = {0};
    int ends[2], duplicate = -1, count = 0, calls = 0;

    (void)test_loop();
    open_pipe(ends);
    put_bytes(ends[WR], 1);
    iora_watcher_init(&watcher, test_loop(), ends[RD]);
    CHECK_EQ(iora_watcher_on_readable(&watcher, count_up, &calls), 0);
    if (duplicate_lives)
        CHECK((duplicate = dup(ends[RD])) >= 0);
    (void)close(ends[RD]);
    remote = open_remote();
    CHECK_EQ(fcntl(ends[RD], F_GETFD), FD_CLOEXEC); /* it is the eventfd */
    iora_watcher_close(&watcher);
    turn_some(test_loop());
    CHECK_EQ(iora_remote_call_soon(remote, &handle, count_up, &count), 0);
    CHECK_EQ(iora_loop_run_once(test_loop(), IORA_FOREVER), 0);
    CHECK_EQ(count, 1);
    iora_remote_close(remote);
    (void)close(ends[WR]);
    if (duplicate_lives)
        (void)close(duplicate);
}

TEST_REAL(remote, keeps_its_descriptor_when_a_watcher_had_its_number)
{
    give_a_watched_number_to_the_loop(false);
}

TEST_REAL(remote, keeps_its_descriptor_when_a_watched_duplicate_lives_on)
{
    give_a_watched_number_to_the_loop(true);
}

/* ---- tasks that wait for another thread --------------------------------------------------------------------------------------- */

struct job {
    iora_remote *remote;
    iora_future future;
    int delay_ms;
    bool sets;
};

static void *
do_job(void *arg)
{
    struct job *const job = arg;
    iora_remote *const remote = job->remote;

    real_sleep_ms(job->delay_ms);
    if (job->sets)
        CHECK_EQ(iora_remote_set_future(remote, &job->future, 42, NULL), 0);
    iora_remote_close(remote);
    return NULL;
}

static int
awaits_future(iora_future *future)
{
    return iora_future_await(future, NULL);
}
IORA_ASYNC(awaits_future, iora_future *);

static int
run_with_job(int delay_ms, bool sets)
{
    struct job job = {.remote = open_remote(), .delay_ms = delay_ms, .sets = sets};
    const pthread_t thread = start_thread(do_job, &job);
    const int rc = test_run(awaits_future, &job.future);

    join_thread(thread);
    return rc;
}

/* Also in simulation, where there is nothing to jump to and so it really waits. */
TEST_EVERYWHERE(remote, that_is_open_is_no_deadlock)
{
    CHECK_EQ(run_with_job(10, true), 42);
    CHECK_EQ(run_with_job(0, true), 42);
}

/* Set and closed at any moment: what was sent before the close is heard before the verdict. */
TEST_EVERYWHERE(remote, closed_right_after_a_call_is_no_deadlock)
{
    for (int i = 0; i < 100; i++)
        CHECK_EQ(run_with_job(0, true), 42);
}

TEST_EVERYWHERE(remote, closed_without_a_call_leaves_a_deadlock)
{
    test_expect_log();
    CHECK_EQ(run_with_job(5, false), -EDEADLK);
    CHECK(test_logged("deadlock"));
}

static int
sends_to_itself_and_closes(iora_remote *remote)
{
    static iora_future future;

    CHECK_EQ(iora_remote_set_future(remote, &future, 7, NULL), 0);
    iora_remote_close(remote);
    return iora_future_await(&future, NULL);
}
IORA_ASYNC(sends_to_itself_and_closes, iora_remote *);

/* The same without the race: after the loop has looked at its mail, and before it looks for a deadlock. */
TEST_EVERYWHERE(remote, closed_in_the_middle_of_a_turn_is_no_deadlock)
{
    CHECK_EQ(test_run(sends_to_itself_and_closes, open_remote()), 7);
}

static int
sleeps_long(void)
{
    return iora_sleep(iora_s(1000));
}
IORA_ASYNC(sleeps_long);

static void *
close_slowly(void *remote)
{
    real_sleep_ms(10);
    iora_remote_close(remote);
    return NULL;
}

/* With a timer to jump to, simulated time does not wait for threads. */
TEST(remote, that_is_open_does_not_hold_up_simulated_time)
{
    iora_remote *const remote = open_remote();
    const pthread_t thread = start_thread(close_slowly, remote);

    CHECK_EQ(test_ms(), 0);
    CHECK_EQ(test_run(sleeps_long), 0);
    CHECK_EQ(test_ms(), 1000000);
    join_thread(thread);
}

/* ---- from signal handlers --------------------------------------------------------------------------------------------------------- */

static struct {
    iora_remote *remote;
    iora_handle handle;
    int count;
} signalled;

static void
handle_signal(int number)
{
    (void)number;
    if (iora_remote_call_soon(signalled.remote, &signalled.handle, count_up, &signalled.count) != 0)
        _exit(EXIT_FAILURE);
}

static void *
send_signal(void *thread)
{
    real_sleep_ms(10);
    CHECK_EQ(pthread_kill(*(pthread_t *)thread, SIGUSR1), 0);
    return NULL;
}

TEST_EVERYWHERE(remote, may_be_called_in_a_signal_handler)
{
    const struct sigaction action = {.sa_handler = handle_signal};
    pthread_t self = pthread_self(), thread;

    signalled.remote = open_remote();
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    CHECK_EQ(raise(SIGUSR1), 0); /* outside of the loop */
    CHECK_EQ(iora_loop_run_once(test_loop(), IORA_FOREVER), 0);
    CHECK_EQ(signalled.count, 1);
    thread = start_thread(send_signal, &self); /* while the loop sleeps */
    turn_until(test_loop(), &signalled.count, 2);
    join_thread(thread);
    iora_remote_close(signalled.remote);
}

/* Signals that interrupt the sender in the middle of sending, and the loop in the middle of taking. */
enum { SIGNALS = 300 };

static struct {
    iora_remote *remote;
    iora_handle handles[SIGNALS];
    volatile sig_atomic_t sent;
    int received;
} storm;

static void
send_in_storm(int number)
{
    (void)number;
    if (storm.sent < SIGNALS)
        (void)iora_remote_call_soon(storm.remote, &storm.handles[storm.sent++], count_up,
                                    &storm.received);
}

TEST_IN(remote, survives_signals_in_the_middle_of_a_call, TEST_EPOLL)
{
    const struct sigaction action = {.sa_handler = send_in_storm};
    const struct itimerspec when = {{0, 40000}, {0, 40000}};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    timer_t timer;
    int sent = 0, received = 0;

    storm.remote = open_remote();
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    CHECK_EQ(timer_settime(timer, 0, &when, NULL), 0);
    while (storm.received < SIGNALS) {
        iora_handle handle = {0};

        sent++;
        CHECK_EQ(iora_remote_call_soon(storm.remote, &handle, count_up, &received), 0);
        while (received < sent)
            CHECK(iora_loop_run_once(test_loop(), iora_ns(0)) >= 0);
    }
    CHECK_EQ(timer_delete(timer), 0);
    CHECK_EQ(storm.received, SIGNALS);
    iora_remote_close(storm.remote);
}
