/* explore/models_remote.c -- models of calls that other threads send to a loop (core/remote.c). */
#include "kernel.h"
#include "models.h"

enum { SENDERS = 2, EACH = 2, HITS = 4 };

/* What the threads of a model share; there is one model at a time. */
static struct {
    iora_loop *loop;
    iora_remote *remotes[SENDERS];
    iora_handle handles[SENDERS][EACH];
    iora_future future;
    int ran, expected;
    int last[SENDERS]; /* which of a sender's calls ran last */
    int refused;
    int set, was_set;
} it;

static void
begin(int remotes, int expected)
{
    memset(&it, 0, sizeof it);
    it.expected = expected;
    it.loop = model_loop();
    for (int i = 0; i < SENDERS; i++) {
        it.last[i] = -1;
        it.remotes[i] = i < remotes ? model_remote(it.loop) : NULL;
    }
}

static void
end(void)
{
    for (int i = 0; i < SENDERS; i++)
        iora_remote_close(it.remotes[i]);
    CHECK_EQ(iora_loop_free(it.loop), 0);
}

static int numbers[SENDERS] = {0, 1};

static void
note_call(void *arg)
{
    const iora_handle *const handle = arg;
    const int sender = handle >= it.handles[1], call = (int)(handle - it.handles[sender]);

    CHECK_EQ(it.last[sender], call - 1);
    it.last[sender] = call;
    if (++it.ran == it.expected)
        iora_loop_stop(it.loop);
}

static void
send_each(void *arg)
{
    const int sender = *(int *)arg;

    for (int i = 0; i < EACH; i++) {
        iora_handle *const handle = &it.handles[sender][i];

        CHECK_EQ(iora_remote_call_soon(it.remotes[sender], handle, note_call, handle), 0);
    }
}

MODEL(remote, a_loop_about_to_sleep_is_woken)
{
    struct explore__thread *sender;

    begin(1, EACH);
    sender = explore_start("sender", send_each, &numbers[0]);
    CHECK_EQ(iora_loop_run(it.loop), 0);
    explore_join(sender);
    end();
}

MODEL(remote, what_two_threads_send_runs_in_the_order_of_each)
{
    struct explore__thread *first, *second;

    begin(2, SENDERS * EACH);
    first = explore_start("first", send_each, &numbers[0]);
    second = explore_start("second", send_each, &numbers[1]);
    CHECK_EQ(iora_loop_run(it.loop), 0);
    explore_join(first);
    explore_join(second);
    end();
}

/* The loop stops at the first call; the others are there when it runs again. */
MODEL(remote, what_comes_as_the_loop_stops_is_there_when_it_runs_again)
{
    struct explore__thread *sender;

    begin(1, 1);
    sender = explore_start("sender", send_each, &numbers[0]);
    CHECK_EQ(iora_loop_run(it.loop), 0);
    if (it.ran < EACH) {
        it.expected = EACH;
        CHECK_EQ(iora_loop_run(it.loop), 0);
    }
    explore_join(sender);
    end();
}

/* ---- a loop within another ---------------------------------------------------------------------------- */

MODEL(remote, a_loop_within_another_tells_by_its_descriptor)
{
    const int outer = iora__sys_epoll_create();
    struct explore__thread *sender;

    begin(1, EACH);
    CHECK_EQ(iora__sys_epoll_ctl(outer, EPOLL_CTL_ADD, iora_loop_fd(it.loop), EPOLLIN, 0), 0);
    sender = explore_start("sender", send_each, &numbers[0]);
    while (it.ran < EACH) {
        struct epoll_event event;

        if (iora_to_ns(iora_loop_timeout(it.loop)) != 0)
            CHECK_EQ(iora__sys_epoll_wait(outer, &event, 1, -1), 1);
        CHECK(iora_loop_run_once(it.loop, iora_ns(0)) >= 0);
    }
    explore_join(sender);
    iora__sys_close(outer);
    end();
}

/* ---- the loop goes --------------------------------------------------------------------------------------- */

static void
send_while_it_is_there(void *arg)
{
    const int sender = *(int *)arg;

    for (int i = 0; i < EACH; i++) {
        iora_handle *const handle = &it.handles[sender][i];
        const int rc = iora_remote_call_soon(it.remotes[sender], handle, note_call, handle);

        CHECK(rc == 0 || rc == IORA_E_CLOSED);
        CHECK(rc == IORA_E_CLOSED || it.refused == 0); /* gone is gone */
        it.refused += rc == IORA_E_CLOSED;
    }
    iora_remote_close(it.remotes[sender]);
}

MODEL(remote, a_thread_sends_while_the_loop_goes)
{
    struct explore__thread *sender;

    begin(1, -1);
    sender = explore_start("sender", send_while_it_is_there, &numbers[0]);
    CHECK(iora_loop_run_once(it.loop, iora_ns(0)) >= 0);
    CHECK_EQ(iora_loop_free(it.loop), 0);
    explore_join(sender);
    CHECK(it.ran + it.refused <= EACH);
}

static void
close_remote(void *arg)
{
    iora_remote_close(it.remotes[*(int *)arg]);
}

MODEL(remote, two_threads_close_theirs_while_the_loop_goes)
{
    struct explore__thread *first, *second;

    begin(2, -1);
    first = explore_start("first", close_remote, &numbers[0]);
    second = explore_start("second", close_remote, &numbers[1]);
    CHECK_EQ(iora_loop_free(it.loop), 0);
    explore_join(first);
    explore_join(second);
}

/* One sends through the same remote through which the other does, and closes it when both have. */
static void
send_and_close_if_last(void *arg)
{
    const int sender = *(int *)arg;
    iora_handle *const handle = &it.handles[sender][0];

    CHECK_EQ(iora_remote_call_soon(it.remotes[0], handle, note_call, handle), 0);
    if (++it.was_set == SENDERS)
        iora_remote_close(it.remotes[0]);
}

MODEL(remote, the_last_of_two_who_send_through_one_closes_it)
{
    struct explore__thread *first, *second;

    begin(1, SENDERS);
    first = explore_start("first", send_and_close_if_last, &numbers[0]);
    second = explore_start("second", send_and_close_if_last, &numbers[1]);
    CHECK_EQ(iora_loop_run(it.loop), 0);
    explore_join(first);
    explore_join(second);
    it.remotes[0] = NULL;
    end();
}

/* ---- waiting for what threads may send ----------------------------------------------------------------- */

static int
awaits_future(void)
{
    return iora_future_await(&it.future, NULL);
}
IORA_ASYNC(awaits_future);

MODEL(remote, the_last_one_is_closed_while_all_wait)
{
    struct explore__thread *closer;

    begin(1, -1);
    closer = explore_start("closer", close_remote, &numbers[0]);
    CHECK_EQ(iora_run_in(it.loop, awaits_future), -EDEADLK);
    explore_join(closer);
    it.remotes[0] = NULL;
    end();
}

static void
set_future_and_close(void *arg)
{
    const int sender = *(int *)arg;
    const int rc = iora_remote_set_future(it.remotes[sender], &it.future, 5 + sender, NULL);

    CHECK(rc == 0 || rc == -EALREADY);
    if (rc == 0)
        it.set = 5 + sender;
    it.was_set += rc == 0;
    iora_remote_close(it.remotes[sender]);
    it.remotes[sender] = NULL;
}

MODEL(remote, a_future_is_set_and_the_last_one_closed_while_all_wait)
{
    struct explore__thread *setter;

    begin(1, -1);
    setter = explore_start("setter", set_future_and_close, &numbers[0]);
    CHECK_EQ(iora_run_in(it.loop, awaits_future), 5);
    explore_join(setter);
    end();
}

MODEL(remote, one_of_two_threads_sets_a_future)
{
    struct explore__thread *first, *second;
    int rc;

    begin(2, -1);
    first = explore_start("first", set_future_and_close, &numbers[0]);
    second = explore_start("second", set_future_and_close, &numbers[1]);
    rc = iora_run_in(it.loop, awaits_future);
    explore_join(first);
    explore_join(second);
    CHECK_EQ(it.was_set, 1);
    CHECK_EQ(rc, it.set);
    end();
}

static int
awaits_future_or_a_deadline(void)
{
    const int rc = iora_wait_for(awaits_future(), iora_ms(5));

    CHECK(rc == 5 || rc == -ETIMEDOUT);
    while (it.remotes[0] != NULL && iora_sleep(iora_ms(5)) == 0)
        continue;
    return iora_yield();
}
IORA_ASYNC(awaits_future_or_a_deadline);

MODEL_TIMED(remote, a_future_is_set_as_the_deadline_passes)
{
    struct explore__thread *setter;

    begin(1, -1);
    setter = explore_start("setter", set_future_and_close, &numbers[0]);
    CHECK_EQ(iora_run_in(it.loop, awaits_future_or_a_deadline), 0);
    explore_join(setter);
    CHECK_EQ(iora_run_in(it.loop, awaits_future), 5);
    end();
}

/* ---- timers ---------------------------------------------------------------------------------------------- */

static iora_timer timer;
static int64_t sent_ns;

static void
end_in_time(void *arg)
{
    (void)arg;
    CHECK(iora_loop_now(it.loop)._ns >= sent_ns + 3000000);
    iora_loop_stop(it.loop);
}

static void
send_timer(void *arg)
{
    (void)arg;
    sent_ns = iora__sys_clock_ns();
    CHECK_EQ(iora_remote_call_later(it.remotes[0], &timer, iora_ms(3), end_in_time, NULL), 0);
}

MODEL_TIMED(remote, a_timer_that_was_sent_is_not_early)
{
    struct explore__thread *sender;

    begin(1, -1);
    memset(&timer, 0, sizeof timer);
    sender = explore_start("sender", send_timer, NULL);
    CHECK_EQ(iora_loop_run(it.loop), 0);
    explore_join(sender);
    end();
}

/* ---- two loops ---------------------------------------------------------------------------------------------- */

static struct {
    iora_loop *loops[2];
    iora_remote *remotes[2]; /* to each */
    iora_handle ball;
    int hits;
} game;

static void
hit(void *arg)
{
    const int side = *(int *)arg;
    const int hits = ++game.hits;

    CHECK(iora_loop_running() == game.loops[side]);
    if (hits < HITS)
        CHECK_EQ(iora_remote_call_soon(game.remotes[1 - side], &game.ball, hit, &numbers[1 - side]), 0);
    if (hits >= HITS - 1)
        iora_loop_stop(game.loops[side]);
}

static void
play(void *arg)
{
    CHECK_EQ(iora_loop_run(game.loops[*(int *)arg]), 0);
}

MODEL(remote, two_loops_play_ball)
{
    struct explore__thread *other;

    memset(&game, 0, sizeof game);
    for (int i = 0; i < 2; i++) {
        game.loops[i] = model_loop();
        game.remotes[i] = model_remote(game.loops[i]);
    }
    CHECK_EQ(iora_remote_call_soon(game.remotes[0], &game.ball, hit, &numbers[0]), 0);
    other = explore_start("other", play, &numbers[1]);
    play(&numbers[0]);
    explore_join(other);
    CHECK_EQ(game.hits, HITS);
    for (int i = 0; i < 2; i++) {
        iora_remote_close(game.remotes[i]);
        CHECK_EQ(iora_loop_free(game.loops[i]), 0);
    }
}
