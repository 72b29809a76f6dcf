/* explore/models_processes.c -- models of what a process has once: signals (os/signals.c, core/listener.c,
 * io/signal.c) and forks. */
#include "kernel.h"
#include "models.h"

static struct {
    iora_loop *loop;
    struct explore__thread *other;
    int before; /* how often the handler that was there before the library's was called */
} it;

static void
begin(void)
{
    memset(&it, 0, sizeof it);
    it.loop = model_loop();
}

static void
note_before(int number)
{
    (void)number;
    it.before++;
}

static void
put_handler(void (*handler)(int number))
{
    const struct sigaction action = {.sa_handler = handler};

    CHECK_EQ(iora__sys_sigaction(SIGUSR1, &action, NULL), 0);
    CHECK_EQ(iora__sys_sigaction(SIGUSR2, &action, NULL), 0);
}

/* The handler runs in this thread. */
static void
get_signal(void *arg)
{
    explore_interrupt(explore_self(), *(const int *)arg);
}

static void
interrupt_other(void *arg)
{
    explore_interrupt(it.other, *(const int *)arg);
}

static int usr1 = SIGUSR1, usr2 = SIGUSR2;

/* ---- signals ---------------------------------------------------------------------------------------------- */

static int
waits_for_one(void (*how)(void *arg))
{
    iora_signals signals;
    struct explore__thread *thread;
    int number;

    CHECK_EQ(iora_signals_open_of(&signals, SIGUSR1, SIGUSR2), 0);
    it.other = explore_self();
    thread = explore_start("signaller", how, &usr1);
    number = iora_signals_next(&signals);
    explore_join(thread);
    iora_signals_close(&signals);
    return number;
}
IORA_ASYNC(waits_for_one, void (*)(void *));

MODEL(signals, one_that_another_thread_gets_wakes_the_loop)
{
    begin();
    CHECK_EQ(iora_run_in(it.loop, waits_for_one, get_signal), SIGUSR1);
    CHECK_EQ(iora_loop_free(it.loop), 0);
}

MODEL(signals, one_that_interrupts_the_loop_anywhere_is_heard)
{
    begin();
    CHECK_EQ(iora_run_in(it.loop, waits_for_one, interrupt_other), SIGUSR1);
    CHECK_EQ(iora_loop_free(it.loop), 0);
}

static int
waits_for_two(void)
{
    iora_signals signals;
    struct explore__thread *first, *second;
    int sum = 0;

    CHECK_EQ(iora_signals_open_of(&signals, SIGUSR1, SIGUSR2), 0);
    it.other = explore_self();
    first = explore_start("first", get_signal, &usr1);
    second = explore_start("second", interrupt_other, &usr2);
    for (int i = 0; i < 2; i++)
        sum += iora_signals_next(&signals);
    explore_join(first);
    explore_join(second);
    iora_signals_close(&signals);
    return sum;
}
IORA_ASYNC(waits_for_two);

MODEL(signals, of_two_numbers_that_come_at_once_neither_is_lost)
{
    begin();
    CHECK_EQ(iora_run_in(it.loop, waits_for_two), SIGUSR1 + SIGUSR2);
    CHECK_EQ(iora_loop_free(it.loop), 0);
}

/* The same number twice is heard once or twice, and the second time not before it came. */
static int
waits_for_the_same_twice(void)
{
    iora_signals signals;
    struct explore__thread *first, *second;

    CHECK_EQ(iora_signals_open_of(&signals, SIGUSR1), 0);
    first = explore_start("first", get_signal, &usr1);
    CHECK_EQ(iora_signals_next(&signals), SIGUSR1);
    second = explore_start("second", get_signal, &usr1);
    CHECK_EQ(iora_signals_next(&signals), SIGUSR1);
    explore_join(first);
    explore_join(second);
    iora_signals_close(&signals);
    return 0;
}
IORA_ASYNC(waits_for_the_same_twice);

MODEL(signals, one_that_comes_as_the_last_is_taken_is_heard)
{
    begin();
    CHECK_EQ(iora_run_in(it.loop, waits_for_the_same_twice), 0);
    CHECK_EQ(iora_loop_free(it.loop), 0);
}

static int
opens_and_closes(void)
{
    iora_signals signals;

    CHECK_EQ(iora_signals_open_of(&signals, SIGUSR1), 0);
    iora_signals_close(&signals);
    return 0;
}
IORA_ASYNC(opens_and_closes);

MODEL(signals, one_comes_as_who_listened_closes)
{
    begin();
    put_handler(note_before);
    it.other = explore_start("signaller", get_signal, &usr1);
    CHECK_EQ(iora_run_in(it.loop, opens_and_closes), 0);
    explore_join(it.other);
    CHECK_EQ(iora_loop_free(it.loop), 0);
    CHECK_EQ(it.before, 1); /* who was there before hears it whoever else does */
    put_handler(SIG_DFL);
}

static void
listen_for_a_moment(void *arg)
{
    iora_loop *const loop = model_loop();

    (void)arg;
    CHECK_EQ(iora_run_in(loop, opens_and_closes), 0);
    CHECK_EQ(iora_loop_free(loop), 0);
}

MODEL(signals, two_loops_begin_and_end_to_listen_while_one_comes)
{
    struct explore__thread *first, *second;

    begin();
    put_handler(note_before);
    first = explore_start("listener", listen_for_a_moment, NULL);
    second = explore_start("signaller", get_signal, &usr1);
    CHECK_EQ(iora_run_in(it.loop, opens_and_closes), 0);
    explore_join(first);
    explore_join(second);
    CHECK_EQ(iora_loop_free(it.loop), 0);
    CHECK_EQ(it.before, 1);
    put_handler(SIG_DFL); /* theirs is gone: else the last check of all finds it */
}

static void
leave_signals_open(void *arg)
{
    CHECK_EQ(iora_signals_open_of((iora_signals *)arg, SIGUSR1), 0);
    iora_loop_stop(it.loop);
}

MODEL(signals, one_comes_as_the_loop_goes_that_listened)
{
    iora_handle handle = {0};
    iora_signals signals;

    begin();
    put_handler(note_before);
    CHECK_EQ(iora_call_soon(it.loop, &handle, leave_signals_open, &signals), 0);
    CHECK_EQ(iora_loop_run(it.loop), 0);
    it.other = explore_start("signaller", get_signal, &usr1);
    CHECK_EQ(iora_loop_free(it.loop), 0);
    explore_join(it.other);
    iora_signals_close(&signals);
    CHECK_EQ(it.before, 1);
    put_handler(SIG_DFL);
}

/* ---- forks -------------------------------------------------------------------------------------------------- */

static int
return_one(void *arg)
{
    (void)arg;
    return 1;
}

static int
calls(void)
{
    return iora_to_thread(return_one, NULL);
}
IORA_ASYNC(calls);

static int
yields(void)
{
    return iora_yield();
}
IORA_ASYNC(yields);

static int
does_all_of_it(void)
{
    CHECK_EQ(opens_and_closes(), 0);
    CHECK_EQ(calls(), 1);
    return yields();
}
IORA_ASYNC(does_all_of_it);

/* In the child, whatever another thread of the parent was doing. */
static void
run_a_new_loop(void *arg)
{
    iora_loop *const loop = model_loop();

    (void)arg;
    CHECK_EQ(iora_run_in(loop, does_all_of_it), 0);
    CHECK_EQ(iora_loop_free(loop), 0);
}

static void
run_loop_that_yields(void *arg)
{
    iora_loop *const loop = model_loop();

    (void)arg;
    CHECK_EQ(iora_run_in(loop, yields), 0);
    CHECK_EQ(iora_loop_free(loop), 0);
}

/* A child waited for ever for a mutex of task/block.c, which another thread had as it was forked. */
MODEL(fork, a_child_runs_a_loop_while_the_parent_begins_and_ends_one)
{
    struct explore__thread *const other = explore_start("other", run_loop_that_yields, NULL);

    explore_fork(run_a_new_loop, NULL);
    explore_join(other);
}

MODEL(fork, a_child_runs_a_loop_while_the_parent_listens_to_a_signal)
{
    struct explore__thread *const other = explore_start("other", listen_for_a_moment, NULL);

    explore_fork(run_a_new_loop, NULL);
    explore_join(other);
}

static void
run_loop_that_calls(void *arg)
{
    iora_loop *const loop = model_loop();

    (void)arg;
    CHECK_EQ(iora_run_in(loop, calls), 1);
    CHECK_EQ(iora_loop_free(loop), 0);
}

MODEL(fork, a_child_runs_a_loop_while_the_parent_has_a_job)
{
    struct explore__thread *const other = explore_start("other", run_loop_that_calls, NULL);

    explore_fork(run_a_new_loop, NULL);
    explore_join(other);
}

static iora_pool *pool;

static void
free_all_of_the_parent_s(void *arg)
{
    (void)arg;
    CHECK_EQ(iora_loop_free(it.loop), 0);
    CHECK_EQ(iora_pool_free(pool), 0);
}

static int
calls_in(iora_pool *in)
{
    return iora_to_thread_in(in, return_one, NULL, NULL);
}
IORA_ASYNC(calls_in, iora_pool *);

static void
use_pool(void *arg)
{
    iora_loop *const loop = model_loop();

    CHECK_EQ(iora_run_in(loop, calls_in, arg), 1);
    CHECK_EQ(iora_loop_free(loop), 0);
}

MODEL(fork, a_child_frees_a_loop_and_a_pool_that_threads_of_the_parent_use)
{
    struct explore__thread *user;

    begin();
    pool = model_pool(1, 0);
    CHECK_EQ(iora_run_in(it.loop, calls), 1);
    user = explore_start("user", use_pool, pool);
    explore_fork(free_all_of_the_parent_s, NULL);
    explore_join(user);
    CHECK_EQ(iora_loop_free(it.loop), 0);
    CHECK_EQ(iora_pool_free(pool), 0);
}

static void
close_remote(void *arg)
{
    iora_remote_close(arg);
}

/* The child's close, and its posts, disturb nobody in the parent: who waits there goes on waiting. */
MODEL(fork, a_child_closes_a_remote_while_a_thread_of_the_parent_sends)
{
    iora_remote *remote;
    struct explore__thread *closer;

    begin();
    remote = model_remote(it.loop);
    closer = explore_start("closer", close_remote, model_remote(it.loop));
    explore_fork(close_remote, remote);
    explore_join(closer);
    iora_remote_close(remote);
    CHECK_EQ(iora_loop_free(it.loop), 0);
}
