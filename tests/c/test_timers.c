/* tests/c/test_timers.c -- callbacks at an instant, and the wheel against a model of it. */
#include "model_timers.h"
#include "real.h"
#include "test.h"
#include "waiting.h"

static void
trace_word(void *word)
{
    test_trace("%s", (const char *)word);
}

static void
count_up(void *count)
{
    (*(int *)count)++;
}

static void
later(iora_timer *timer, iora_duration delay, iora_callback_fn *fn, void *arg)
{
    CHECK_EQ(iora_call_later(test_loop(), timer, delay, fn, arg), 0);
}

static void
turns_for(iora_duration d)
{
    const int64_t until_ns = iora_loop_now(test_loop())._ns + iora_to_ns(d);

    while (iora_loop_now(test_loop())._ns < until_ns)
        CHECK(iora_loop_run_once(test_loop(), iora_between(iora_loop_now(test_loop()),
                                                           (iora_instant){until_ns})) >= 0);
    turn_some(test_loop());
}

/* ---- order -------------------------------------------------------------------------------------------------- */

TEST_EVERYWHERE(timers, fire_in_the_order_of_their_deadlines)
{
    static iora_timer timers[5];
    static const int64_t delays_ns[] = {900000, 300000, 4000000, 100000, 300001};
    static const char *const words[] = {"d", "b", "e", "a", "c"};
    const iora_instant now = iora_loop_now(test_loop());

    for (int i = 0; i < 5; i++)
        CHECK_EQ(iora_call_at(test_loop(), &timers[i], iora_after(now, iora_ns(delays_ns[i])),
                              trace_word, (void *)words[i]),
                 0);
    turns_for(iora_ms(5));
    CHECK_TRACE("a b c d e");
}

/* Also when they were set at different times, and so came by different ways through the wheel. */
TEST_EVERYWHERE(timers, with_equal_deadlines_fire_in_the_order_they_were_set)
{
    static iora_timer timers[4];
    const iora_instant when = iora_after(iora_loop_now(test_loop()), iora_ms(8));

    CHECK_EQ(iora_call_at(test_loop(), &timers[0], when, trace_word, "a"), 0);
    CHECK_EQ(iora_call_at(test_loop(), &timers[1], when, trace_word, "b"), 0);
    turns_for(iora_ms(3));
    CHECK_EQ(iora_call_at(test_loop(), &timers[2], when, trace_word, "c"), 0);
    turns_for(iora_ms(3));
    CHECK_EQ(iora_call_at(test_loop(), &timers[3], when, trace_word, "d"), 0);
    turns_for(iora_ms(3));
    CHECK_TRACE("a b c d");
}

TEST_EVERYWHERE(timers, that_are_due_already_fire_at_the_next_turn)
{
    static iora_timer timers[5];
    int count = 0;

    later(&timers[0], iora_ns(0), count_up, &count);
    later(&timers[1], iora_s(-5), count_up, &count);
    later(&timers[2], iora_ns(INT64_MIN), count_up, &count);
    CHECK_EQ(iora_call_at(test_loop(), &timers[3], (iora_instant){0}, count_up, &count), 0);
    CHECK_EQ(iora_call_at(test_loop(), &timers[4], (iora_instant){INT64_MIN}, count_up, &count), 0);
    CHECK_EQ(count, 0);
    CHECK_EQ(iora_loop_run_once(test_loop(), iora_ns(0)), 0);
    CHECK_EQ(count, 5);
}

TEST_EVERYWHERE(timers, of_no_number_are_due_and_of_forever_never_fire)
{
    iora_timer nan = {0}, forever = {0}, overflow = {0}, nearly = {0};
    int count = 0, never = 0;

    later(&nan, iora_s(0.0 / 0.0), count_up, &count);
    later(&forever, IORA_FOREVER, count_up, &never);
    later(&overflow, iora_s(1e300), count_up, &never);
    later(&nearly, iora_ns(INT64_MAX - 1), count_up, &never); /* beyond the end of the clock */
    turn_some(test_loop());
    CHECK_EQ(count, 1);
    CHECK_EQ(never, 0);
    CHECK_EQ(iora_to_ns(iora_loop_timeout(test_loop())), INT64_MAX);
    CHECK(!iora_timer_is_pending(&forever));
}

TEST(timers, far_away_fire_in_their_order)
{
    static iora_timer timers[4];
    const double year_s = 365.25 * 86400;

    CHECK_EQ(test_ms(), 0);
    later(&timers[0], iora_s(200 * year_s), trace_word, "200-years");
    later(&timers[1], iora_s(year_s), trace_word, "year");
    later(&timers[2], iora_ns(1), trace_word, "nanosecond");
    later(&timers[3], iora_s(86400), trace_word, "day");
    for (int i = 0; i < 100 && iora_timer_is_pending(&timers[0]); i++)
        CHECK(iora_loop_run_once(test_loop(), IORA_FOREVER) >= 0);
    CHECK_TRACE("nanosecond day year 200-years");
    CHECK_EQ(test_ms(), (long long)(200 * year_s * 1000));
}

/* ---- never early -------------------------------------------------------------------------------------------------- */

struct punctual {
    iora_timer timer;
    int64_t due_ns;
    int *fired;
};

static void
check_not_early(void *arg)
{
    const struct punctual *const it = arg;

    CHECK(real_ns() >= it->due_ns);
    (*it->fired)++;
}

TEST_REAL(timers, never_fire_early)
{
    enum { N = 200 };
    static struct punctual all[N];
    int fired = 0;

    for (int i = 0; i < N; i++) {
        const iora_duration delay = iora_ns((int64_t)i * i * i % 20000000);

        all[i].fired = &fired;
        all[i].due_ns = real_ns() + iora_to_ns(delay);
        later(&all[i].timer, delay, check_not_early, &all[i]);
    }
    turn_until(test_loop(), &fired, N);
}

static int
sleeps_punctually(void)
{
    for (int i = 0; i < 60; i++) {
        const iora_duration d = iora_us(i * i);
        const int64_t due_ns = real_ns() + iora_to_ns(d);

        CHECK_EQ(iora_sleep(d), 0);
        CHECK(real_ns() >= due_ns);
    }
    return 0;
}
IORA_ASYNC(sleeps_punctually);

TEST_REAL(timers, never_wake_a_sleeper_early)
{
    CHECK_EQ(test_run(sleeps_punctually), 0);
}

/* Arming reads the clock: a callback that takes long does not make the next timer early. */
static void
work_and_set(void *arg)
{
    struct punctual *const it = arg;

    real_work_us(5000);
    it->due_ns = real_ns() + 2000000;
    later(&it->timer, iora_ms(2), check_not_early, it);
}

TEST_REAL(timers, set_late_in_a_long_turn_do_not_fire_early)
{
    static struct punctual it;
    iora_handle handle = {0};
    int fired = 0;

    it.fired = &fired;
    CHECK_EQ(iora_call_soon(test_loop(), &handle, work_and_set, &it), 0);
    turn_until(test_loop(), &fired, 1);
}

/* ---- one timer ------------------------------------------------------------------------------------------------------ */

TEST_EVERYWHERE(timers, that_are_pending_are_set_anew)
{
    iora_timer timer = {0};

    later(&timer, iora_ms(1), trace_word, "first");
    later(&timer, iora_s(3600), trace_word, "second");
    turns_for(iora_ms(2));
    CHECK_TRACE("");
    CHECK(iora_timer_is_pending(&timer));
    later(&timer, iora_us(100), trace_word, "third");
    turns_for(iora_ms(1));
    CHECK_TRACE("third");
    CHECK(!iora_timer_is_pending(&timer));
}

TEST_EVERYWHERE(timers, set_anew_with_forever_are_idle)
{
    iora_timer timer = {0};
    int count = 0;

    later(&timer, iora_ms(1), count_up, &count);
    later(&timer, IORA_FOREVER, count_up, &count);
    turns_for(iora_ms(3));
    CHECK_EQ(count, 0);
    CHECK(!iora_timer_cancel(&timer));
}

TEST_EVERYWHERE(timers, cancel_takes_them_back)
{
    iora_timer timer = {0};
    int count = 0;

    CHECK(!iora_timer_cancel(&timer));
    later(&timer, iora_ms(1), count_up, &count);
    CHECK(iora_timer_is_pending(&timer));
    CHECK(iora_timer_cancel(&timer));
    CHECK(!iora_timer_cancel(&timer));
    memset(&timer, 0xa5, sizeof timer);
    turns_for(iora_ms(3));
    CHECK_EQ(count, 0);
}

static void
cancel_other(void *other)
{
    CHECK(iora_timer_is_pending(other));
    CHECK(iora_timer_cancel(other));
    CHECK(!iora_timer_is_pending(other));
    test_trace("cancels");
}

/* The second has left the wheel for the ready queue by then, and is still to be had back. */
TEST_EVERYWHERE(timers, cancel_reaches_one_that_is_due_at_the_same_instant)
{
    iora_timer first = {0}, second = {0};
    const iora_instant when = iora_after(iora_loop_now(test_loop()), iora_ms(1));

    CHECK_EQ(iora_call_at(test_loop(), &first, when, cancel_other, &second), 0);
    CHECK_EQ(iora_call_at(test_loop(), &second, when, trace_word, "canceled"), 0);
    turns_for(iora_ms(2));
    CHECK_TRACE("cancels");
}

static void
set_other_anew(void *other)
{
    later(other, iora_ms(1), trace_word, "anew");
    test_trace("sets");
}

TEST_EVERYWHERE(timers, that_are_due_can_be_set_anew)
{
    iora_timer first = {0}, second = {0};
    const iora_instant when = iora_after(iora_loop_now(test_loop()), iora_ms(1));

    CHECK_EQ(iora_call_at(test_loop(), &first, when, set_other_anew, &second), 0);
    CHECK_EQ(iora_call_at(test_loop(), &second, when, trace_word, "old"), 0);
    while (iora_timer_is_pending(&second))
        CHECK(iora_loop_run_once(test_loop(), iora_ms(100)) >= 0);
    CHECK_TRACE("sets anew");
}

struct ticker {
    iora_timer timer;
    int ticks;
};

static void
tick(void *arg)
{
    struct ticker *const ticker = arg;

    CHECK(!iora_timer_is_pending(&ticker->timer));
    if (++ticker->ticks < 5)
        later(&ticker->timer, iora_ms(10), tick, ticker);
}

TEST(timers, may_be_set_again_in_their_own_callback)
{
    struct ticker ticker = {.ticks = 0};

    CHECK_EQ(test_ms(), 0);
    later(&ticker.timer, iora_ms(10), tick, &ticker);
    while (iora_timer_is_pending(&ticker.timer))
        CHECK(iora_loop_run_once(test_loop(), IORA_FOREVER) >= 0);
    CHECK_EQ(ticker.ticks, 5);
    CHECK_EQ(test_ms(), 50);
}

static void
set_again_at_once(void *arg)
{
    struct ticker *const ticker = arg;

    if (++ticker->ticks < 1000)
        later(&ticker->timer, iora_ns(0), set_again_at_once, ticker);
}

/* A delay of nothing still passes through a turn, so that others have theirs. */
TEST_EVERYWHERE(timers, set_again_without_delay_do_not_keep_the_turn)
{
    struct ticker ticker = {.ticks = 0};

    later(&ticker.timer, iora_ns(0), set_again_at_once, &ticker);
    CHECK(iora_loop_run_once(test_loop(), iora_ns(0)) >= 0);
    CHECK_EQ(ticker.ticks, 1);
    turn_until(test_loop(), &ticker.ticks, 1000);
}

/* ---- a million ------------------------------------------------------------------------------------------------------- */

static struct {
    struct iora__timers wheel;
    int64_t now_ns;
    int64_t last_due_ns;
    int last_order;
    int fired;
} bulk;

static uint64_t random_state;

static uint64_t
draw(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Sorted by deadline, then by when they were set. */
static void
check_sorted(struct iora__timer *timer)
{
    struct entry *const entry = iora__container_of(timer, struct entry, timer);

    CHECK(entry->live);
    CHECK(entry->due_ns <= bulk.now_ns);
    CHECK(entry->due_ns > bulk.last_due_ns ||
          (entry->due_ns == bulk.last_due_ns && entry->order > bulk.last_order));
    bulk.last_due_ns = entry->due_ns;
    bulk.last_order = entry->order;
    bulk.fired++;
    entry->live = false;
}

TEST(timers, a_million_are_set_cancelled_and_expired_in_order)
{
    const int n = test_under_valgrind() || test_under_sanitizer() ? 100000 : 1000000;
    const int64_t span_ns = INT64_C(10000000000);
    struct entry *const entries = calloc((size_t)n, sizeof *entries);
    int cancelled = 0;

    random_state = 1;
    bulk.now_ns = 1000000;
    bulk.last_due_ns = 0;
    iora__timers_init(&bulk.wheel, bulk.now_ns);
    for (int i = 0; i < n; i++) { /* coarse in part, so that many are equal */
        const int64_t grain_ns = i % 3 == 0 ? 1000000 : 1;

        entries[i].due_ns =
            bulk.now_ns + (int64_t)(draw() % (uint64_t)span_ns) / grain_ns * grain_ns;
        entries[i].order = i;
        entries[i].live = true;
        entries[i].timer._fire = check_sorted;
        iora__timer_set(&bulk.wheel, &entries[i].timer, entries[i].due_ns);
    }
    CHECK_EQ(bulk.wheel.count, n);
    for (int i = 0; i < n / 3; i++) {
        struct entry *const entry = &entries[draw() % (uint64_t)n];

        cancelled += entry->live;
        entry->live = false;
        iora__timer_clear(&bulk.wheel, &entry->timer);
    }
    CHECK_EQ(bulk.wheel.count, n - cancelled);
    while (bulk.wheel.count > 0) {
        bulk.now_ns += 1 + (int64_t)(draw() % (uint64_t)(span_ns / 1000));
        iora__timers_expire(&bulk.wheel, bulk.now_ns);
        CHECK(iora__timers_next(&bulk.wheel) > bulk.now_ns);
    }
    CHECK_EQ(bulk.fired, n - cancelled);
    for (int i = 0; i < n; i++)
        CHECK(!entries[i].live);
    free(entries);
}

/* ---- the wheel against a model ------------------------------------------------------------------------------------------ */

TEST(timers, wheel_does_what_a_sorted_list_does)
{
    const int seeds = test_under_valgrind() || test_under_sanitizer() ? 60 : 600;
    int64_t start_ns;

    for (model.seed = 1; model.seed <= (uint64_t)seeds; model.seed++) {
        random_state = model.seed;
        start_ns = (int64_t)(draw() >> (2 + draw() % 60)); /* any */
        begin_model(start_ns > INT64_MAX / 4 ? INT64_MAX / 4 : start_ns);
        for (int i = 0; i < 300; i++) {
            step();
            check_wheel();
        }
    }
    CHECK(model.fired > seeds * 20);
}

TEST(timers, clear_all_takes_those_of_one_kind)
{
    static struct iora__timers wheel;
    static struct entry mine[3], other;

    iora__timers_init(&wheel, 100);
    other.timer._fire = model_fire;
    iora__timer_set(&wheel, &other.timer, 5000);
    for (int i = 0; i < 3; i++) {
        mine[i].timer._fire = check_sorted;
        iora__timer_set(&wheel, &mine[i].timer, 100 + i * 4900);
    }
    iora__timers_clear_all(&wheel, check_sorted);
    CHECK_EQ(wheel.count, 1);
    CHECK_EQ(iora__timers_next(&wheel), 5000);
    for (int i = 0; i < 3; i++)
        CHECK(!iora__timer_is_set(&mine[i].timer));
}

/* ---- a million in a loop ----------------------------------------------------------------------------------------------- */

static void
check_due(void *arg)
{
    const struct punctual *const it = arg;

    CHECK_EQ(iora_loop_now(test_loop())._ns, it->due_ns);
    (*it->fired)++;
}

TEST(timers, many_in_a_loop_fire_at_their_instant)
{
    enum { N = 20000 };
    struct punctual *const all = calloc(N, sizeof *all);
    int fired = 0;

    random_state = 7;
    for (int i = 0; i < N; i++) {
        const int64_t delay_ns = (int64_t)(draw() % 1000000000000);

        all[i].fired = &fired;
        all[i].due_ns = iora_loop_now(test_loop())._ns + delay_ns;
        later(&all[i].timer, iora_ns(delay_ns), check_due, &all[i]);
    }
    while (fired < N)
        CHECK(iora_loop_run_once(test_loop(), IORA_FOREVER) >= 0);
    free(all);
}
