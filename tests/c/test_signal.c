/* tests/c/test_signal.c -- waiting for signals, and Ctrl-C. */
#include "child.h"
#include "real.h"
#include "waiting.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>

static iora_signals
open_signals(const int *numbers, size_t n)
{
    iora_signals signals;

    CHECK_EQ(iora_signals_open(&signals, numbers, n), 0);
    return signals;
}

#define OPEN(...)                                                                                  \
    open_signals((const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

static struct sigaction
action_of(int number)
{
    struct sigaction action;

    CHECK_EQ(sigaction(number, NULL, &action), 0);
    return action;
}

static void
set_handler(int number, void (*handler)(int))
{
    CHECK_EQ(sigaction(number, &(struct sigaction){.sa_handler = handler}, NULL), 0);
}

static void
check_handler(int number, void (*handler)(int))
{
    CHECK(action_of(number).sa_handler == handler);
}

static volatile sig_atomic_t handled;

static void
count_it(int number)
{
    (void)number;
    handled++;
}

static void *
kill_soon(void *number)
{
    real_sleep_ms(20);
    CHECK_EQ(kill(getpid(), (int)(intptr_t)number), 0);
    return NULL;
}

/* ---- what comes ----------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(signal, that_came_before_it_was_asked_for_is_there)
{
    iora_signals signals;

    CHECK_EQ(iora_signals_open_of(&signals, SIGUSR1, SIGTERM), 0);
    CHECK_EQ(raise(SIGTERM), 0);
    CHECK_EQ(iora_signals_next(&signals), SIGTERM);
    CHECK_EQ(iora_wait_for(iora_signals_next(&signals), iora_ms(1)), -ETIMEDOUT);
    iora_signals_close(&signals);
}

TEST_TASK_EVERYWHERE(signal, wakes_who_waits_for_it)
{
    const pthread_t thread = start_thread(kill_soon, (void *)(intptr_t)SIGUSR2);

    CHECK_EQ(iora_wait_signal(SIGUSR1, SIGUSR2), SIGUSR2);
    join_thread(thread);
    check_handler(SIGUSR2, SIG_DFL);
}

static int
raise_after_a_while(int number)
{
    CHECK_EQ(iora_sleep(iora_ms(3)), 0);
    return raise(number);
}
IORA_ASYNC(raise_after_a_while, int);

TEST_TASK_EVERYWHERE(signal, of_the_own_thread_wakes_who_waits_for_it)
{
    const iora_task task = iora_go(raise_after_a_while, SIGHUP);

    CHECK_EQ(iora_wait_signal(SIGHUP), SIGHUP);
    CHECK_EQ(iora_await(task), 0);
}

TEST_TASK_EVERYWHERE(signal, that_comes_twice_counts_once_and_the_lowest_is_first)
{
    const int highest = test_under_valgrind() ? SIGRTMAX - 1 : SIGRTMAX; /* Valgrind has the last */
    iora_signals signals = OPEN(SIGTERM, SIGUSR1, SIGINT, SIGRTMIN, highest);

    if (raise(highest) < 0) { /* it has a host's signals, and keeps a few of them for itself */
        iora_signals_close(&signals);
        test_skip("qemu's user mode cannot send SIGRTMAX");
    }
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(raise(highest), 0);
        CHECK_EQ(raise(SIGTERM), 0);
        CHECK_EQ(raise(SIGINT), 0);
        CHECK_EQ(raise(SIGRTMIN), 0);
    }
    CHECK_EQ(iora_signals_next(&signals), SIGINT);
    CHECK_EQ(iora_signals_next(&signals), SIGTERM);
    CHECK_EQ(raise(SIGINT), 0);
    CHECK_EQ(iora_signals_next(&signals), SIGINT);
    CHECK_EQ(iora_signals_next(&signals), SIGRTMIN);
    CHECK_EQ(iora_signals_next(&signals), highest);
    CHECK_EQ(iora_wait_for(iora_signals_next(&signals), iora_ms(1)), -ETIMEDOUT);
    iora_signals_close(&signals);
}

TEST_TASK(signal, goes_to_every_subscription)
{
    iora_signals one = OPEN(SIGUSR1), other = OPEN(SIGUSR2, SIGUSR1, SIGUSR1);

    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(iora_signals_next(&one), SIGUSR1);
    CHECK_EQ(iora_signals_next(&other), SIGUSR1);
    iora_signals_close(&one);
    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(iora_signals_next(&other), SIGUSR1);
    iora_signals_close(&other);
}

static pthread_barrier_t both_listen;

static int
listen_in_step(void)
{
    iora_signals signals = OPEN(SIGUSR1);
    int rc;

    (void)pthread_barrier_wait(&both_listen);
    rc = iora_signals_next(&signals);
    iora_signals_close(&signals);
    return rc;
}
IORA_ASYNC(listen_in_step);

static void *
run_a_loop(void *rc)
{
    *(int *)rc = iora_run(listen_in_step);
    return NULL;
}

TEST(signal, is_heard_by_two_loops_in_two_threads)
{
    int rcs[2] = {0};
    pthread_t threads[2];

    CHECK_EQ(pthread_barrier_init(&both_listen, NULL, 3), 0);
    for (int i = 0; i < 2; i++)
        threads[i] = start_thread(run_a_loop, &rcs[i]);
    (void)pthread_barrier_wait(&both_listen);
    CHECK_EQ(kill(getpid(), SIGUSR1), 0);
    for (int i = 0; i < 2; i++) {
        join_thread(threads[i]);
        CHECK_EQ(rcs[i], SIGUSR1);
    }
    check_handler(SIGUSR1, SIG_DFL);
}

TEST_TASK_REAL(signal, storm_of_a_thousand_a_second_keeps_nobody_from_running)
{
    const struct itimerval storm = {{0, 1000}, {0, 1000}}, calm = {{0, 0}, {0, 0}};
    const int64_t until_ns = real_ns() + 300 * 1000000;
    iora_signals signals = OPEN(SIGALRM);
    int heard = 0, turns = 0;

    CHECK_EQ(setitimer(ITIMER_REAL, &storm, NULL), 0);
    while (real_ns() < until_ns) {
        iora_clause clauses[] = {iora_on_signal(&signals), iora_on_sleep(iora_us(100))};
        const int rc = iora_select(clauses, 2);

        CHECK(rc == 0 || rc == 1);
        if (rc == 0)
            CHECK_EQ(clauses[0].rc, SIGALRM);
        heard += rc == 0;
        turns++;
        CHECK_EQ(iora_yield(), 0);
    }
    CHECK_EQ(setitimer(ITIMER_REAL, &calm, NULL), 0);
    CHECK(heard > 20 && heard < 350);
    CHECK(turns > heard);
    iora_signals_close(&signals);
}

/* ---- handlers that were there --------------------------------------------------------------------- */

static siginfo_t seen;

static void
look_at_it(int number, siginfo_t *info, void *context)
{
    CHECK(context != NULL);
    CHECK_EQ(info->si_signo, number);
    seen = *info;
    errno = EXDEV;
}

TEST_TASK(signal, handler_that_was_there_is_called_and_comes_back)
{
    iora_signals signals;

    set_handler(SIGUSR1, count_it);
    signals = OPEN(SIGUSR1);
    CHECK(action_of(SIGUSR1).sa_flags & SA_RESTART);
    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(handled, 1);
    CHECK_EQ(iora_signals_next(&signals), SIGUSR1);
    iora_signals_close(&signals);
    check_handler(SIGUSR1, count_it);
    CHECK_EQ(action_of(SIGUSR1).sa_flags & (SA_SIGINFO | SA_RESTART), 0);
    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(handled, 2);
}

TEST_TASK(signal, handler_that_was_there_is_told_what_it_asked_for_under_its_mask)
{
    struct sigaction before = {.sa_sigaction = look_at_it, .sa_flags = SA_SIGINFO}, ours;
    iora_signals signals;

    CHECK_EQ(sigaddset(&before.sa_mask, SIGUSR2), 0);
    CHECK_EQ(sigaction(SIGUSR1, &before, NULL), 0);
    signals = OPEN(SIGUSR1);
    ours = action_of(SIGUSR1);
    CHECK(sigismember(&ours.sa_mask, SIGUSR2));
    errno = EDOM;
    CHECK_EQ(kill(getpid(), SIGUSR1), 0);
    CHECK_EQ(iora_signals_next(&signals), SIGUSR1);
    CHECK_EQ(errno, EDOM);
    CHECK_EQ(seen.si_pid, getpid());
    iora_signals_close(&signals);
    CHECK(action_of(SIGUSR1).sa_sigaction == look_at_it);
}

TEST_TASK(signal, handler_comes_back_with_the_last_who_listens)
{
    iora_signals one, other;

    set_handler(SIGUSR1, count_it);
    set_handler(SIGUSR2, SIG_IGN);
    one = OPEN(SIGUSR1, SIGUSR2);
    other = OPEN(SIGUSR1);
    iora_signals_close(&one);
    CHECK(action_of(SIGUSR1).sa_handler != count_it);
    check_handler(SIGUSR2, SIG_IGN);
    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(iora_signals_next(&other), SIGUSR1);
    iora_signals_close(&other);
    check_handler(SIGUSR1, count_it);
}

TEST_TASK(signal, handler_that_somebody_puts_over_ours_is_left_to_him)
{
    iora_signals signals = OPEN(SIGUSR1);

    set_handler(SIGUSR1, count_it);
    iora_signals_close(&signals);
    check_handler(SIGUSR1, count_it);
}

TEST_TASK(signal, our_handler_put_back_by_somebody_serves_again)
{
    struct sigaction ours;
    iora_signals signals;

    set_handler(SIGUSR1, count_it);
    signals = OPEN(SIGUSR1);
    ours = action_of(SIGUSR1);
    set_handler(SIGUSR1, SIG_IGN);
    iora_signals_close(&signals);
    check_handler(SIGUSR1, SIG_IGN);
    CHECK_EQ(sigaction(SIGUSR1, &ours, NULL), 0);
    CHECK_EQ(raise(SIGUSR1), 0); /* nobody listens, but he that was before is called */
    CHECK_EQ(handled, 1);

    signals = OPEN(SIGUSR1);
    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(handled, 2);
    CHECK_EQ(iora_signals_next(&signals), SIGUSR1);
    iora_signals_close(&signals);
    check_handler(SIGUSR1, count_it);
}

/* ---- waiting ---------------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(signal, is_kept_for_the_next_call_by_a_cancel)
{
    iora_signals signals = OPEN(SIGUSR1);

    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(CANCELLED(iora_signals_next(&signals)), -ECANCELED);
    CHECK_EQ(iora_signals_next(&signals), SIGUSR1);
    CHECK_EQ(iora_wait_for(iora_signals_next(&signals), iora_ms(1)), -ETIMEDOUT);
    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(iora_signals_next(&signals), SIGUSR1);
    iora_signals_close(&signals);
}

static int
wait_for_next(iora_signals *signals)
{
    const int rc = iora_signals_next(signals);

    test_trace("%s", rc > 0 ? strsignal(rc) : iora_err_name(rc));
    return rc;
}
IORA_ASYNC(wait_for_next, iora_signals *);

TEST_TASK(signal, that_was_handed_over_survives_a_later_cancel)
{
    iora_signals signals = OPEN(SIGUSR1);
    const iora_task task = iora_go(wait_for_next, &signals);

    let_all_run();
    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(iora_sleep(iora_ns(1)), 0);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), SIGUSR1);
    iora_signals_close(&signals);
}

TEST_TASK(signal, is_waited_for_by_one_task_at_a_time)
{
    iora_signals signals = OPEN(SIGUSR1);
    const iora_task task = iora_go(wait_for_next, &signals);
    iora_clause clause = iora_on_signal(&signals);

    let_all_run();
    CHECK_EQ(iora_signals_next(&signals), -EBUSY);
    CHECK_EQ(iora_select(&clause, 1), 0);
    CHECK_EQ(clause.rc, -EBUSY);
    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(iora_await(task), SIGUSR1);
    iora_signals_close(&signals);
}

TEST_TASK(signal, closed_under_who_waits_says_so)
{
    iora_signals signals = OPEN(SIGUSR1);
    const iora_task task = iora_go(wait_for_next, &signals);
    iora_clause clause = iora_on_signal(&signals);

    let_all_run();
    iora_signals_close(&signals);
    CHECK_EQ(iora_await(task), IORA_E_CLOSED);
    iora_signals_close(&signals);
    CHECK_EQ(iora_signals_next(&signals), IORA_E_CLOSED);
    CHECK_EQ(iora_select(&clause, 1), 0);
    CHECK_EQ(clause.rc, IORA_E_CLOSED);
}

TEST_TASK_EVERYWHERE(signal, on_its_way_when_it_is_closed_is_forgotten)
{
    for (int i = 0; i < 3; i++) {
        iora_signals signals = OPEN(SIGUSR1);

        CHECK_EQ(raise(SIGUSR1), 0);
        if (i == 2)
            CHECK_EQ(iora_yield(), 0);
        iora_signals_close(&signals);
    }
    let_all_run();
}

TEST_TASK(signal, numbers_that_cannot_be_waited_for_are_refused)
{
    static const int refused[] = {0,       -1,      65,     1000,   SIGKILL,
                                  SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL,
                                  SIGABRT, SIGTRAP, SIGSYS, 32 /* libc's */};
    iora_signals signals;

    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        CHECK_EQ(iora_signals_open_of(&signals, SIGUSR1, refused[i]), -EINVAL);
        CHECK_EQ(iora_wait_signal(refused[i]), -EINVAL);
        check_handler(SIGUSR1, SIG_DFL);
    }
    CHECK_EQ(iora_signals_open(&signals, NULL, 0), -EINVAL);
}

static int
wait_for_hangup(void)
{
    return iora_wait_signal(SIGHUP);
}
IORA_ASYNC(wait_for_hangup);

TEST(signal, needs_a_task)
{
    check_needs_a_task(wait_for_hangup);
}

static int
wait_elsewhere(iora_signals *signals)
{
    return iora_signals_next(signals);
}
IORA_ASYNC(wait_elsewhere, iora_signals *);

static void *
wait_in_another_loop(void *signals)
{
    CHECK_EQ(iora_run(wait_elsewhere, signals), IORA_E_WRONG_THREAD);
    return NULL;
}

TEST_TASK(signal, belongs_to_the_loop_in_which_it_was_opened)
{
    iora_signals signals = OPEN(SIGUSR1);

    join_thread(start_thread(wait_in_another_loop, &signals));
    iora_signals_close(&signals);
}

static int
listen_no_more_and_wait(void)
{
    iora_signals signals = OPEN(SIGUSR1);
    iora_event never = IORA_EVENT_INIT;
    iora_census census;

    iora_loop_census(iora_loop_running(), &census);
    CHECK_EQ(census.remotes, 1);
    iora_signals_close(&signals);
    return iora_event_wait(&never);
}
IORA_ASYNC(listen_no_more_and_wait);

TEST(signal, closed_subscription_is_nothing_to_wait_for)
{
    test_expect_log();
    CHECK_EQ(test_run(listen_no_more_and_wait), -EDEADLK);
    CHECK(test_logged("event"));
}

TEST_TASK(signal, open_subscription_hears_of_no_deadlock)
{
    const pthread_t thread = start_thread(kill_soon, (void *)(intptr_t)SIGUSR1);
    iora_signals signals = OPEN(SIGUSR1);

    CHECK_EQ(iora_signals_next(&signals), SIGUSR1); /* and not -EDEADLK of the run */
    join_thread(thread);
    iora_signals_close(&signals);
}

/* ---- select --------------------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(signal, can_be_selected)
{
    iora_signals signals = OPEN(SIGUSR1, SIGUSR2);
    const iora_task task = iora_go(raise_after_a_while, SIGUSR2);
    iora_event never = IORA_EVENT_INIT;
    iora_clause clauses[] = {iora_on_event(&never), iora_on_signal(&signals),
                             iora_on_signal(&signals)};

    CHECK_EQ(iora_select(clauses, 3), 1);
    CHECK_EQ(clauses[1].rc, SIGUSR2);
    CHECK_EQ(iora_await(task), 0);

    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(iora_select(clauses, 3), 1);
    CHECK_EQ(clauses[1].rc, SIGUSR1);
    iora_signals_close(&signals);
}

TEST_TASK_EVERYWHERE(signal, is_kept_if_another_clause_happens)
{
    iora_signals signals = OPEN(SIGUSR1);
    iora_event event = IORA_EVENT_INIT;
    iora_clause clauses[] = {iora_on_event(&event), iora_on_signal(&signals)};
    iora_clause timed[] = {iora_on_signal(&signals), iora_on_sleep(iora_ms(1))};

    CHECK_EQ(iora_select(timed, 2), 1);
    iora_event_set(&event);
    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(iora_select(clauses, 2), 0);
    CHECK_EQ(iora_signals_next(&signals), SIGUSR1);
    iora_signals_close(&signals);
}

/* ---- loops and threads that go ------------------------------------------------------------------------------ */

static iora_signals left_open;

static int
leave_open(void)
{
    left_open = OPEN(SIGUSR1);
    return raise(SIGUSR1);
}
IORA_ASYNC(leave_open);

TEST_EVERYWHERE(signal, is_not_delivered_to_a_loop_that_is_gone)
{
    iora_loop *const loop = test_loop_with(test_options());

    set_handler(SIGUSR1, count_it);
    CHECK_EQ(iora_run_in(loop, leave_open), 0);
    test_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    check_handler(SIGUSR1, count_it);
    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(test_run(wait_elsewhere, &left_open), IORA_E_CLOSED);
    iora_signals_close(&left_open);
    iora_signals_close(&left_open);
}

static atomic_bool enough;

static void *
kill_all_the_time(void *arg)
{
    (void)arg;
    while (!atomic_load(&enough)) {
        CHECK_EQ(raise(SIGUSR1), 0);
        CHECK_EQ(raise(SIGUSR2), 0);
    }
    return NULL;
}

static void
ignore_it(int number)
{
    (void)number;
}

TEST_TASK_REAL(signal, subscriptions_may_go_while_handlers_run_in_other_threads)
{
    pthread_t threads[3];

    set_handler(SIGUSR1, ignore_it);
    set_handler(SIGUSR2, ignore_it);
    for (int i = 0; i < 3; i++)
        threads[i] = start_thread(kill_all_the_time, NULL);
    for (int i = 0; i < 300; i++) {
        iora_signals one = OPEN(SIGUSR1, SIGUSR2), other = OPEN(SIGUSR1), third = OPEN(SIGUSR2);

        CHECK_EQ(iora_signals_next(&other), SIGUSR1);
        CHECK_EQ(iora_signals_next(&third), SIGUSR2);
        iora_signals_close(&other);
        CHECK(iora_signals_next(&one) > 0);
        iora_signals_close(&one);
        iora_signals_close(&third);
    }
    atomic_store(&enough, true);
    for (int i = 0; i < 3; i++)
        join_thread(threads[i]);
}

/* ---- forked children ------------------------------------------------------------------------------------------- */

static iora_signals of_the_parent;
static bool open_while_forking;

static int
wait_for_own_signal(void)
{
    iora_signals signals = OPEN(SIGUSR1);
    int rc;

    CHECK_EQ(raise(SIGUSR1), 0);
    rc = iora_signals_next(&signals);
    iora_signals_close(&signals);
    return rc;
}
IORA_ASYNC(wait_for_own_signal);

static void
be_a_child(void)
{
    sigset_t mask;

    check_handler(SIGUSR1, count_it);
    check_handler(SIGUSR2, SIG_DFL);
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    CHECK_EQ(sigismember(&mask, SIGUSR1), 0);
    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(handled, 1);
    CHECK_EQ(iora_run(wait_for_own_signal), SIGUSR1);
    CHECK_EQ(handled, 2);
    iora_signals_close(&of_the_parent);
    check_handler(SIGUSR1, count_it);
}

/* Whether the loop has been told something that it has not heard yet. */
static bool
is_told_something(void)
{
    struct pollfd entry = {.fd = iora_loop_fd(test_loop()), .events = POLLIN};

    return poll(&entry, 1, 0) > 0;
}

static void
be_killed(void)
{
    (void)raise(SIGUSR2);
}

static int
listen_for_both(void)
{
    of_the_parent = OPEN(SIGUSR1, SIGUSR2);
    return 0;
}
IORA_ASYNC(listen_for_both);

static int
hear_only_ones_own(void)
{
    CHECK_EQ(iora_wait_for(iora_signals_next(&of_the_parent), iora_ms(1)), -ETIMEDOUT);
    CHECK_EQ(raise(SIGUSR2), 0);
    CHECK_EQ(iora_signals_next(&of_the_parent), SIGUSR2);
    iora_signals_close(&of_the_parent);
    return 0;
}
IORA_ASYNC(hear_only_ones_own);

/* The children are forked outside of tasks: there ThreadSanitizer delivers them no signals. */
TEST_EVERYWHERE(signal, of_a_forked_child_is_none_of_the_parents)
{
    struct child child;

    set_handler(SIGUSR1, count_it);
    CHECK_EQ(test_run(listen_for_both), 0);
    child = child_run(be_a_child);
    child_check_ok(&child);
    CHECK(test_where() == TEST_SIM || !is_told_something());
    child = child_run(be_killed); /* as if nobody had ever listened */
    CHECK(WIFSIGNALED(child.status) && WTERMSIG(child.status) == SIGUSR2);
    CHECK_EQ(test_run(hear_only_ones_own), 0);
}

/* Called between the library's own, since it was asked for before them. */
static void
check_all_is_blocked(void)
{
    sigset_t mask;

    CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    CHECK(!open_while_forking || sigismember(&mask, SIGUSR2));
}

static void
raise_as_a_child(void)
{
    CHECK(!open_while_forking || raise(SIGUSR2) == 0);
}

static void
do_nothing(void)
{
}

TEST_EVERYWHERE(signal, that_a_child_gets_at_its_birth_finds_what_was_there_before)
{
    struct child child;

    CHECK_EQ(pthread_atfork(check_all_is_blocked, NULL, raise_as_a_child), 0);
    CHECK_EQ(test_run(listen_for_both), 0);
    open_while_forking = true;
    child = child_run(do_nothing);
    CHECK(WIFSIGNALED(child.status) && WTERMSIG(child.status) == SIGUSR2);
    iora_signals_close(&of_the_parent);
}

/* A child that the library's handlers of fork(2) know nothing of. */
TEST_TASK_REAL(signal, of_a_child_by_the_bare_system_call_does_not_wake_the_parent)
{
    iora_signals signals = OPEN(SIGUSR1);
    int status;
    pid_t pid;

    CHECK((pid = _Fork()) >= 0);
    if (pid == 0) {
        (void)kill(getpid(), SIGUSR1);
        _exit(iora_wait_signal(SIGUSR2) != IORA_E_FORKED);
    }
    CHECK_EQ(TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)), pid);
    CHECK_EQ(status, 0);
    CHECK(!is_told_something());
    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK(is_told_something());
    CHECK_EQ(iora_signals_next(&signals), SIGUSR1);
    iora_signals_close(&signals);
}

/* ---- Ctrl-C -------------------------------------------------------------------------------------------------------- */

static void
interrupt(void)
{
    CHECK_EQ(kill(getpid(), SIGINT), 0);
}

/* How a child ends whose main() is iora_main(f), with SIGINT's disposition as it was set before. */
#define ENDS(f, handler) end_of(main_of_##f, (handler))
#define MAIN(f)                                                                                    \
    IORA_ASYNC(f);                                                                                 \
    static void main_of_##f(void)                                                                  \
    {                                                                                              \
        _exit(iora_main(f));                                                                       \
    }                                                                                              \
    struct child /* eats the semicolon */

static struct child
end_of(void (*fn)(void), void (*handler)(int))
{
    set_handler(SIGINT, handler);
    return child_run(fn);
}

static bool
died_of_interrupt(const struct child *child)
{
    return WIFSIGNALED(child->status) && WTERMSIG(child->status) == SIGINT;
}

static int
sleep_interrupted(void)
{
    interrupt();
    return iora_sleep(iora_s(100));
}
MAIN(sleep_interrupted);

TEST(signal, interrupt_ends_a_main_that_unwinds_as_the_signal_would)
{
    const struct child child = ENDS(sleep_interrupted, SIG_DFL);

    CHECK(died_of_interrupt(&child));
    CHECK_STR(child.output, "");
}

static int
clean_up(void)
{
    (void)iora_sleep(iora_s(100));
    fprintf(stderr, "cleaned up");
    return -ECANCELED;
}
IORA_ASYNC(clean_up);

static int
own_a_child(void)
{
    iora_go(clean_up);
    CHECK_EQ(iora_yield(), 0);
    return sleep_interrupted();
}
MAIN(own_a_child);

TEST(signal, interrupt_unwinds_all_there_is)
{
    const struct child child = ENDS(own_a_child, SIG_DFL);

    CHECK(died_of_interrupt(&child));
    CHECK_STR(child.output, "cleaned up");
}

static int
write_to_a_buffer(void)
{
    FILE *const file = fdopen(dup(STDERR_FILENO), "w");

    fprintf(file, "said before");
    return sleep_interrupted();
}
MAIN(write_to_a_buffer);

TEST(signal, interrupt_loses_nothing_that_was_printed)
{
    const struct child child = ENDS(write_to_a_buffer, SIG_DFL);

    CHECK(died_of_interrupt(&child));
    CHECK_STR(child.output, "said before");
}

static int
handle_the_cancel(void)
{
    return sleep_interrupted() == -ECANCELED ? 0 : -EIO;
}
MAIN(handle_the_cancel);

static int
fail_otherwise(void)
{
    return sleep_interrupted() == -ECANCELED ? -EIO : 0;
}
MAIN(fail_otherwise);

TEST(signal, interrupt_that_main_handles_leaves_its_result)
{
    const struct child well = ENDS(handle_the_cancel, SIG_DFL);
    const struct child badly = ENDS(fail_otherwise, SIG_DFL);

    CHECK(WIFEXITED(well.status) && WEXITSTATUS(well.status) == EXIT_SUCCESS);
    CHECK(WIFEXITED(badly.status) && WEXITSTATUS(badly.status) == EXIT_FAILURE);
}

static int
keep_the_thread(void)
{
    interrupt();
    real_sleep_ms(10);
    fprintf(stderr, "still here");
    interrupt();
    real_sleep_ms(test_patience_ms());
    return 0;
}
MAIN(keep_the_thread);

TEST(signal, second_interrupt_kills)
{
    const struct child child = ENDS(keep_the_thread, SIG_DFL);

    CHECK(died_of_interrupt(&child));
    CHECK_STR(child.output, "still here");
}

static int
interrupted_for_nothing(void)
{
    interrupt();
    interrupt();
    return iora_sleep(iora_ms(5));
}
MAIN(interrupted_for_nothing);

TEST(signal, interrupt_that_was_ignored_stays_ignored)
{
    const struct child child = ENDS(interrupted_for_nothing, SIG_IGN);

    CHECK(WIFEXITED(child.status) && WEXITSTATUS(child.status) == EXIT_SUCCESS);
}

TEST(signal, interrupt_that_had_a_handler_goes_there)
{
    const struct child child = ENDS(interrupted_for_nothing, count_it);

    CHECK(WIFEXITED(child.status) && WEXITSTATUS(child.status) == EXIT_SUCCESS);
}

static int
wait_for_interrupts(void)
{
    iora_signals signals = OPEN(SIGINT);

    for (int i = 0; i < 3; i++) {
        interrupt();
        CHECK_EQ(iora_signals_next(&signals), SIGINT);
        CHECK_EQ(iora_yield(), 0);
    }
    iora_signals_close(&signals);
    fprintf(stderr, "and now for the rest");
    return sleep_interrupted();
}
MAIN(wait_for_interrupts);

TEST(signal, interrupt_that_the_program_waits_for_cancels_nothing)
{
    const struct child child = ENDS(wait_for_interrupts, SIG_DFL);

    CHECK(died_of_interrupt(&child));
    CHECK_STR(child.output, "and now for the rest");
}

static int
run_interrupted(void)
{
    interrupt();
    return 0;
}
IORA_ASYNC(run_interrupted);

static void
run_without_main(void)
{
    (void)iora_run(run_interrupted);
}

TEST(signal, interrupt_of_a_plain_run_is_not_touched)
{
    set_handler(SIGINT, SIG_DFL);

    const struct child child = child_run(run_without_main);
    CHECK(died_of_interrupt(&child));
}

static int
wait_for_what_never_comes(void)
{
    iora_event never = IORA_EVENT_INIT;

    return iora_event_wait(&never);
}
MAIN(wait_for_what_never_comes);

TEST(signal, interrupt_being_possible_hides_no_deadlock)
{
    const struct child child = ENDS(wait_for_what_never_comes, SIG_DFL);

    CHECK(WIFEXITED(child.status) && WEXITSTATUS(child.status) == EXIT_FAILURE);
    CHECK(strstr(child.output, "EDEADLK") != NULL);
}

static int
return_at_once(void)
{
    return 0;
}
IORA_ASYNC(return_at_once);

static void
run_main_and_look(void)
{
    CHECK_EQ(iora_main(return_at_once), EXIT_SUCCESS);
    check_handler(SIGINT, SIG_DFL);
    CHECK_EQ(iora_main(return_at_once), EXIT_SUCCESS);
}

TEST(signal, interrupt_is_as_before_after_main)
{
    set_handler(SIGINT, SIG_DFL);

    const struct child child = child_run(run_main_and_look);
    child_check_ok(&child);
}
