/* tests/c/test_report.c -- what people are told: dumps, deadlocks, and what debug mode notices. */
#include "real.h"
#include "test.h"
#include "waiting.h"

/* A site as it stands in reports: what IORA__SITE is on the line of a spawn. */
static char site[256];

#define SPAWN(...)                                                                                 \
    __extension__({                                                                                \
        (void)snprintf(site, sizeof site, "%s", IORA__SITE);                                       \
        iora_go(__VA_ARGS__);                                                                      \
    })

/* ---- the dump --------------------------------------------------------------------------------------------------- */

static char dumped[16384];

static void
append_line(void *arg, const char *line)
{
    char *const text = arg;

    CHECK(strchr(line, '\n') == NULL);
    (void)snprintf(text + strlen(text), sizeof dumped - strlen(text), "%s\n", line);
}

static const char *
dump(void)
{
    dumped[0] = '\0';
    iora_dump_tasks(test_loop(), append_line, dumped);
    return dumped;
}

/* A line's expectation: printf's format with a task's number first. */
__attribute__((format(printf, 1, 2))) static void
check_dumped(const char *format, ...)
{
    char line[512];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (strstr(dumped, line) == NULL)
        test_fail(__FILE__, __LINE__, "no line\n%s\nin\n%s", line, dumped);
}

static unsigned long long
id_of(iora_task task)
{
    return iora_task_id(task);
}

static int
sleeps(iora_duration d)
{
    return iora_sleep(d);
}
IORA_ASYNC(sleeps, iora_duration);

static int
has_a_child_that_sleeps(iora_task *child)
{
    *child = SPAWN(sleeps, iora_s(10));
    return iora_await(*child);
}
IORA_ASYNC(has_a_child_that_sleeps, iora_task *);

TEST(report, dump_of_a_loop_without_tasks_is_empty)
{
    iora_loop *const loop = test_loop();

    CHECK_STR(dump(), "");
    CHECK_EQ(iora_run_in(loop, sleeps, iora_ns(0)), 0);
    CHECK_STR(dump(), ""); /* nor when it has had some */
}

/* Owners before what they own, two blanks deeper; who, from where, what for, since when. */
TEST_TASK(report, dump_is_the_tree_of_tasks)
{
    iora_task child, parent, fresh, ended;
    char parent_site[256], child_site[256], fresh_site[256], ended_site[256], expected[4096];
    const unsigned long long self = id_of(iora_current());

    parent = SPAWN(has_a_child_that_sleeps, &child);
    (void)snprintf(parent_site, sizeof parent_site, "%s", site);
    ended = SPAWN(sleeps, iora_ns(0));
    (void)snprintf(ended_site, sizeof ended_site, "%s", site);
    CHECK_EQ(iora_task_set_name(parent, "the parent"), 0);
    CHECK_EQ(iora_sleep(iora_ms(1500)), 0);
    (void)snprintf(child_site, sizeof child_site, "%s", site);
    fresh = SPAWN(sleeps, iora_s(1));
    (void)snprintf(fresh_site, sizeof fresh_site, "%s", site);
    (void)snprintf(
        expected, sizeof expected,
        "task %llu \"main_of_report_dump_is_the_tree_of_tasks\" from iora_run: runs\n"
        "  task %llu \"the parent\" from %s: waits for task %llu \"sleeps\", since 1.500 s\n"
        "    task %llu \"sleeps\" from %s: waits for sleep, since 1.500 s\n"
        "  task %llu \"sleeps\" from %s: has ended with OK, not collected\n"
        "  task %llu \"sleeps\" from %s: is ready, has not begun\n",
        self, id_of(parent), parent_site, id_of(child), id_of(child), child_site, id_of(ended),
        ended_site, id_of(fresh), fresh_site);
    CHECK_STR(dump(), expected);
    CHECK_EQ(iora_cancel(parent), 0);
    (void)dump();
    check_dumped("\"sleeps\" from %s: is ready [cancelled]\n", child_site);
    CHECK_EQ(iora_await(parent), IORA_E_TASK_CANCELED);
}

static int
dumps(void)
{
    iora_dump_tasks(iora_loop_running(), NULL, NULL);
    return 0;
}
IORA_ASYNC(dumps);

TEST(report, dump_goes_to_stderr_by_default)
{
    FILE *const file = tmpfile();
    const int stderr_fd = dup(STDERR_FILENO);
    char line[256] = "";

    fflush(stderr);
    CHECK(dup2(fileno(file), STDERR_FILENO) >= 0);
    CHECK_EQ(test_run(dumps), 0);
    fflush(stderr);
    CHECK(dup2(stderr_fd, STDERR_FILENO) >= 0);
    (void)close(stderr_fd);
    rewind(file);
    CHECK(fgets(line, sizeof line, file) != NULL);
    CHECK(strstr(line, "\"dumps\" from iora_run: runs\n") != NULL);
    (void)fclose(file);
}

/* ---- what each waits for ------------------------------------------------------------------------------------------- */

static struct {
    iora_lock lock;
    iora_event event;
    iora_condition condition;
    iora_semaphore semaphore;
    iora_barrier barrier;
    iora_queue queue;
    iora_queue full;
    iora_channel channel;
    iora_future future;
} all = {
    .semaphore = IORA_SEMAPHORE_INIT(0),
    .barrier = IORA_BARRIER_INIT(2),
    .queue = IORA_QUEUE_INIT(sizeof(int), 1),
    .full = IORA_QUEUE_INIT(sizeof(int), 1),
    .channel = IORA_CHANNEL_INIT(sizeof(int)),
};

static int
waits_for_lock(void)
{
    return iora_lock_acquire(&all.lock);
}
IORA_ASYNC(waits_for_lock);

static int
waits_for_event(void)
{
    return iora_event_wait(&all.event);
}
IORA_ASYNC(waits_for_event);

static iora_lock own_lock;

static int
waits_for_condition(void)
{
    CHECK_EQ(iora_lock_acquire(&own_lock), 0);
    (void)iora_condition_wait(&all.condition, &own_lock);
    return iora_lock_release(&own_lock);
}
IORA_ASYNC(waits_for_condition);

static int
waits_for_semaphore(void)
{
    return iora_semaphore_acquire(&all.semaphore);
}
IORA_ASYNC(waits_for_semaphore);

static int
waits_for_barrier(void)
{
    return iora_barrier_wait(&all.barrier);
}
IORA_ASYNC(waits_for_barrier);

static int
waits_to_get(void)
{
    int item;

    return iora_queue_get(&all.queue, &item);
}
IORA_ASYNC(waits_to_get);

static int
waits_to_put(void)
{
    const int item = 1;

    return iora_queue_put(&all.full, &item);
}
IORA_ASYNC(waits_to_put);

static int
waits_to_receive(void)
{
    int item;

    return iora_channel_receive(&all.channel, &item);
}
IORA_ASYNC(waits_to_receive);

static int
waits_for_future(void)
{
    return iora_future_await(&all.future, NULL);
}
IORA_ASYNC(waits_for_future);

static int
waits_for_several(void)
{
    return iora_gather(iora_go(sleeps, iora_s(1)), iora_go(sleeps, iora_s(1)));
}
IORA_ASYNC(waits_for_several);

static int
waits_for_group(void)
{
    int rc = 0;

    IORA_GROUP(rc, group)
        (void)iora_group_go(&group, sleeps, iora_s(1));
    return rc;
}
IORA_ASYNC(waits_for_group);

static int
waits_in_select(void)
{
    iora_clause clauses[] = {iora_on_event(&all.event), iora_on_future(&all.future, NULL)};

    return iora_select(clauses, 2);
}
IORA_ASYNC(waits_in_select);

TEST_TASK(report, dump_tells_what_each_waits_for)
{
    const unsigned long long self = id_of(iora_current());
    const int item = 0;
    iora_task tasks[12];
    int codes[12];

    CHECK_EQ(iora_lock_acquire(&all.lock), 0);
    CHECK_EQ(iora_queue_put(&all.full, &item), 0);
    tasks[0] = iora_go(waits_for_lock);
    tasks[1] = iora_go(waits_for_event);
    tasks[2] = iora_go(waits_for_condition);
    tasks[3] = iora_go(waits_for_semaphore);
    tasks[4] = iora_go(waits_for_barrier);
    tasks[5] = iora_go(waits_to_get);
    tasks[6] = iora_go(waits_to_put);
    tasks[7] = iora_go(waits_to_receive);
    tasks[8] = iora_go(waits_for_future);
    tasks[9] = iora_go(waits_for_several);
    tasks[10] = iora_go(waits_for_group);
    tasks[11] = iora_go(waits_in_select);
    CHECK_EQ(iora_sleep(iora_ms(250)), 0);
    (void)dump();
    check_dumped("waits for lock held by task %llu \"main_of_", self);
    check_dumped("waits for event %p, since 0.250 s", (void *)&all.event);
    check_dumped("waits for condition %p, since 0.250 s", (void *)&all.condition);
    check_dumped("waits for semaphore %p, since 0.250 s", (void *)&all.semaphore);
    check_dumped("waits for barrier %p, since 0.250 s", (void *)&all.barrier);
    check_dumped("waits for future %p, since 0.250 s", (void *)&all.future);
    check_dumped("waits for queue to get from %p, since 0.250 s", (void *)&all.queue);
    check_dumped("waits for queue to put to %p, since 0.250 s", (void *)&all.full);
    check_dumped("waits for channel to receive from %p, since 0.250 s", (void *)&all.channel);
    check_dumped("waits for tasks ");
    check_dumped("waits for its group to end ");
    check_dumped("waits for one of several things ");
    CHECK_EQ(iora_lock_release(&all.lock), 0);
    for (int i = 0; i < 12; i++)
        CHECK_EQ(iora_cancel(tasks[i]), 0);
    CHECK_EQ(iora_gather_all_n(codes, tasks, 12), 0);
    iora_queue_destroy(&all.full);
}

static int
waits_readable(int fd)
{
    return iora_wait_readable(fd);
}
IORA_ASYNC(waits_readable, int);

static int
waits_writable(int fd)
{
    return iora_wait_writable(fd);
}
IORA_ASYNC(waits_writable, int);

TEST_TASK_REAL(report, dump_names_the_descriptors_waited_for)
{
    int ends[2];

    open_pair(ends);
    fill(ends[0]);
    (void)iora_go(waits_readable, ends[0]);
    (void)iora_go(waits_writable, ends[0]);
    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    (void)dump();
    check_dumped("waits for descriptor to read %d, since 0.0", ends[0]);
    check_dumped("waits for descriptor to write %d, since 0.0", ends[0]);
    close_both(ends);
}

/* ---- deadlocks --------------------------------------------------------------------------------------------------------- */

static int
takes_both(iora_lock *first, iora_lock *second)
{
    int rc;

    CHECK_EQ(iora_lock_acquire(first), 0);
    CHECK_EQ(iora_sleep(iora_ms(10)), 0);
    rc = iora_lock_acquire(second);
    if (rc == 0)
        CHECK_EQ(iora_lock_release(second), 0);
    CHECK_EQ(iora_lock_release(first), 0);
    return rc;
}
IORA_ASYNC(takes_both, iora_lock *, iora_lock *);

static int
lock_each_other_out(void)
{
    static iora_lock a, b;
    const iora_task one = iora_go(takes_both, &a, &b), two = iora_go(takes_both, &b, &a);
    int codes[2];

    CHECK_EQ(iora_task_set_name(one, "one"), 0);
    CHECK_EQ(iora_task_set_name(two, "two"), 0);
    CHECK_EQ(iora_gather_all(codes, one, two), -ECANCELED);
    return 7; /* what a task that is cancelled returns is not the run's result */
}
IORA_ASYNC(lock_each_other_out);

TEST(report, deadlock_tells_who_waits_for_whom)
{
    CHECK_EQ(test_run(lock_each_other_out), -EDEADLK);
    CHECK(test_logged("deadlock: every task waits"));
    CHECK(test_logged("task 1 \"lock_each_other_out\" from iora_run: waits for tasks"));
    CHECK(test_logged("  task 2 \"one\" from "));
    CHECK(test_logged(": waits for lock held by task 3 \"two\", since 0.000 s"));
    CHECK(test_logged(": waits for lock held by task 2 \"one\", since 0.000 s"));
    CHECK(!test_logged("deadlock among")); /* which is debug mode's */
}

static iora_lock held;
static iora_condition never;

static int
hold_for_ever(void)
{
    int rc;

    CHECK_EQ(iora_lock_acquire(&held), 0);
    rc = iora_sleep(IORA_FOREVER);
    CHECK_EQ(iora_lock_release(&held), 0);
    return rc;
}
IORA_ASYNC(hold_for_ever);

static int
wait_for_condition_with_a_child(void)
{
    CHECK_EQ(iora_lock_acquire(&held), 0);
    CHECK_EQ(iora_task_error(iora_go(hold_for_ever)), 0);
    CHECK_EQ(iora_condition_wait(&never, &held), -ECANCELED);
    return iora_lock_release(&held);
}
IORA_ASYNC(wait_for_condition_with_a_child);

/* The main task cannot end before it has the lock again, and its child is cancelled only when it has ended. */
TEST(report, deadlock_cancels_also_who_is_owned_by_one_that_waits_for_him)
{
    CHECK_EQ(test_run(wait_for_condition_with_a_child), -EDEADLK);
    CHECK(test_logged("deadlock: every task waits"));
    CHECK(!test_logged("would not end"));
    CHECK(!iora_lock_is_locked(&held));
}

/* Owned by the run, so that it may await the main task; that needs the lock again before it can end. */
static int
join_while_holding(iora_task main_task)
{
    CHECK_EQ(iora_lock_acquire(&held), 0);
    return iora_await(main_task);
}
IORA_ASYNC(join_while_holding, iora_task);

static int
wait_for_condition_at_last(void)
{
    CHECK_EQ(iora_lock_acquire(&held), 0);
    CHECK_EQ(iora_task_error(iora_go_detached(join_while_holding, iora_current())), 0);
    return iora_condition_wait(&never, &held);
}
IORA_ASYNC(wait_for_condition_at_last);

TEST(report, a_ring_that_no_cancel_breaks_ends_the_run_all_the_same)
{
    iora_loop *const loop = test_loop();
    iora_census left;

    CHECK_EQ(iora_run_in(loop, wait_for_condition_at_last), -EDEADLK);
    CHECK(test_logged("deadlock: every task waits"));
    CHECK(test_logged("2 tasks would not end: "));
    iora_loop_census(loop, &left);
    CHECK_EQ(left.tasks, 2);
    test_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
}

/* ---- debug mode: locks in a circle ---------------------------------------------------------------------------------------- */

static int
lock_out_while_others_run(void)
{
    static iora_lock locks[3];
    iora_task tasks[3];
    int codes[3];

    for (int i = 0; i < 3; i++) {
        char name[8];

        (void)snprintf(name, sizeof name, "no. %d", i);
        tasks[i] = iora_go(takes_both, &locks[i], &locks[(i + 1) % 3]);
        CHECK_EQ(iora_task_set_name(tasks[i], name), 0);
    }
    CHECK_EQ(iora_sleep(iora_ms(5)), 0);
    CHECK_STR(test_log(), "");
    /* A timer is left: the run as a whole is not deadlocked. */
    CHECK_EQ(iora_sleep(iora_ms(50)), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(iora_cancel(tasks[i]), 0);
    return iora_gather_all_n(codes, tasks, 3);
}
IORA_ASYNC(lock_out_while_others_run);

TEST(report, debug_mode_tells_a_circle_of_locks)
{
    test_options()->debug = true;
    CHECK_EQ(test_run(lock_out_while_others_run), 0);
    CHECK(test_logged("deadlock among 3 tasks"));
    CHECK(test_logged("\"no. 0\" from "));
    CHECK(test_logged("waits for lock held by task 2 \"no. 0\""));
    CHECK(test_logged("waits for lock held by task 3 \"no. 1\""));
    CHECK(test_logged("waits for lock held by task 4 \"no. 2\""));
    CHECK(!test_logged("deadlock: every task waits"));
}

static int
waits_in_line(iora_lock *lock)
{
    const int rc = iora_lock_acquire(lock);

    return rc < 0 ? rc : iora_lock_release(lock);
}
IORA_ASYNC(waits_in_line, iora_lock *);

static int
stand_in_line(void)
{
    static iora_lock lock;
    const iora_task one = iora_go(waits_in_line, &lock), two = iora_go(waits_in_line, &lock);

    CHECK_EQ(iora_lock_acquire(&lock), 0);
    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
    CHECK_EQ(iora_lock_release(&lock), 0);
    return iora_gather(one, two);
}
IORA_ASYNC(stand_in_line);

TEST(report, debug_mode_is_silent_about_locks_without_a_circle)
{
    test_options()->debug = true;
    CHECK_EQ(test_run(stand_in_line), 0);
    CHECK_STR(test_log(), "");
    test_expect_log(); /* the use of stacks, when the loop goes */
}

/* ---- debug mode: what takes long ------------------------------------------------------------------------------------------- */

static void
be_slow(void *unused)
{
    (void)unused;
    real_sleep_ms(110);
}

static int
is_slow(void)
{
    real_sleep_ms(110);
    CHECK_EQ(iora_yield(), 0);
    return 0;
}
IORA_ASYNC(is_slow);

static int
is_quick(bool *was_held_up)
{
    for (int i = 0; i < 12; i++) {
        const int64_t began_ns = real_ns();

        real_sleep_ms(10);
        *was_held_up |= real_ns() - began_ns > 90 * 1000000; /* by the machine */
        CHECK_EQ(iora_yield(), 0);
    }
    return iora_sleep(iora_ms(110)); /* waiting is not running */
}
IORA_ASYNC(is_quick, bool *);

TEST_REAL(report, debug_mode_names_a_slow_callback)
{
    iora_handle handle = {0};
    iora_timer timer = {0};
    char expected[64];

    test_options()->debug = true;
    (void)snprintf(expected, sizeof expected, "a callback (%p) ran for ",
                   (void *)(uintptr_t)be_slow);
    CHECK_EQ(iora_call_soon(test_loop(), &handle, be_slow, NULL), 0);
    CHECK_EQ(iora_loop_run_once(test_loop(), iora_ns(0)), 0);
    CHECK(test_logged(expected));
    test_clear_log();
    CHECK_EQ(iora_call_later(test_loop(), &timer, iora_ns(0), be_slow, NULL), 0);
    CHECK_EQ(iora_loop_run_once(test_loop(), iora_ns(0)), 0);
    CHECK(test_logged(expected));
}

TEST_REAL(report, debug_mode_names_a_slow_watcher)
{
    iora_watcher watcher;
    int ends[2];

    test_options()->debug = true;
    open_pipe(ends);
    put_bytes(ends[WR], 1);
    iora_watcher_init(&watcher, test_loop(), ends[RD]);
    CHECK_EQ(iora_watcher_on_readable(&watcher, be_slow, NULL), 0);
    CHECK(iora_loop_run_once(test_loop(), iora_ns(0)) >= 0);
    iora_watcher_close(&watcher);
    CHECK(test_logged("a watcher's callback ("));
    CHECK(test_logged(" s without giving way"));
    close_both(ends);
}

TEST_REAL(report, debug_mode_names_a_slow_task)
{
    test_options()->debug = true;
    CHECK_EQ(test_run(is_slow), 0);
    CHECK(test_logged("task 1 \"is_slow\" (0x"));
    CHECK(test_logged(" s without giving way"));
}

TEST_REAL(report, debug_mode_is_silent_about_a_task_that_gives_way)
{
    bool was_held_up = false;

    test_options()->debug = true;
    CHECK_EQ(test_run(is_quick, &was_held_up), 0);
    if (was_held_up)
        test_skip("the machine is too busy to tell what is slow");
    CHECK_STR(test_log(), "");
    test_expect_log();
}

TEST_REAL(report, without_debug_mode_nothing_is_timed)
{
    CHECK_EQ(test_run(is_slow), 0);
    CHECK_STR(test_log(), "");
}

/* ---- errors nobody collected -------------------------------------------------------------------------------------------------- */

static int
fails(void)
{
    return iora_fail(-EIO, "reading the tape");
}
IORA_ASYNC(fails);

static int
succeeds(void)
{
    return 3;
}
IORA_ASYNC(succeeds);

static int
collects_nothing(void)
{
    (void)SPAWN(fails);
    (void)iora_go(succeeds);
    (void)iora_go(sleeps, iora_s(1));
    return iora_yield();
}
IORA_ASYNC(collects_nothing);

TEST(report, an_error_nobody_collected_is_told_with_its_origin)
{
    char expected[512];

    CHECK_EQ(test_run(collects_nothing), 0);
    (void)snprintf(
        expected, sizeof expected,
        "task 2 \"fails\" (spawned at %s) failed with EIO (Input/output error) and nobody "
        "awaited it: reading the tape\n",
        site);
    CHECK_STR(test_log(), expected); /* and nothing of the others */
    test_expect_log();
}

/* ---- debug mode: the use of stacks ---------------------------------------------------------------------------------------------- */

static int dig(int kib);
static int (*volatile dig_deeper)(int kib) = dig; /* no compiler makes this a loop */

static int
dig(int kib)
{
    volatile char block[1024];

    block[kib % 1024] = (char)kib;
    return kib > 0 ? dig_deeper(kib - 1) + block[kib % 1024] : 0;
}

static int
digs(int kib)
{
    return dig(kib) == -1;
}
IORA_ASYNC(digs, int);

static char other_site[sizeof site];

static int
dig_thrice(void)
{
    char first[sizeof site];

    for (int i = 1; i <= 3; i++)
        CHECK_EQ(iora_await(SPAWN(digs, 40 * i)), 0);
    (void)strcpy(first, site);
    CHECK_EQ(iora_await(SPAWN(digs, 1)), 0); /* on the same stack */
    (void)strcpy(other_site, site);
    (void)strcpy(site, first);
    return 0;
}
IORA_ASYNC(dig_thrice);

/* How many KiB a line of the log says were used; -1 for no such line. */
static int
use_told(int tasks, const char *at)
{
    char begin[512];
    const char *line;
    int used = -1;

    (void)snprintf(begin, sizeof begin, "stacks: %d tasks \"digs\" from %s used up to ", tasks, at);
    if ((line = strstr(test_log(), begin)) != NULL)
        (void)sscanf(line + strlen(begin), "%d KiB of 240 KiB", &used);
    return used;
}

TEST(report, debug_mode_tells_the_use_of_stacks_per_spawn_site)
{
    iora_loop *loop;
    int most;

    test_options()->debug = true;
    loop = test_loop();
    CHECK_EQ(iora_run_in(loop, dig_thrice), 0);
    CHECK_STR(test_log(), "");
    test_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    CHECK(test_logged("stacks: 1 tasks \"dig_thrice\" from iora_run used up to "));
    most = use_told(3, site);
    CHECK(most >= 120 && most < 240);
    most = use_told(1, other_site);
    CHECK(most >= 1 && most < 40);
}

/* ---- the environment ------------------------------------------------------------------------------------------------------------- */

TEST(report, iora_debug_in_the_environment_is_debug_mode)
{
    static const struct {
        const char *value;
        bool debug;
    } cases[] = {{"1", true}, {"yes", true}, {"0", false}, {"", false}};

    for (int i = 0; i < 4; i++) {
        iora_loop *loop;

        CHECK_EQ(setenv("IORA_DEBUG", cases[i].value, 1), 0);
        loop = test_loop_with(test_options());
        CHECK_EQ(iora_run_in(loop, succeeds), 3);
        test_forget_loop(loop);
        CHECK_EQ(iora_loop_free(loop), 0);
        CHECK_EQ(test_logged("stacks: 1 tasks"), cases[i].debug);
        test_clear_log();
    }
}
