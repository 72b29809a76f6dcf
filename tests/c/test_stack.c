/* tests/c/test_stack.c -- stacks: when tasks get them, their guards, their limits, giving memory back. */
#include "child.h"
#include "test.h"
#include "waiting.h"

#include "sys/sys.h"
#include "task/task.h"

#include <pthread.h>
#include <sys/mman.h>

static iora_census
census(void)
{
    iora_census now;

    iora_loop_census(test_loop(), &now);
    return now;
}

/* The loop's stacks of its default size. */
static const struct iora__stack_class *
default_class(void)
{
    const struct iora__sched *const sched = test_loop()->sched;

    return &sched->stacks.classes[sched->default_class];
}

static void
not_under_tools(void)
{
    if (test_under_sanitizer() || test_under_valgrind())
        test_skip("a sanitizer or Valgrind has memory and limits of its own");
}

/* Else guards are mprotect's from the first on, and no more than 32,000. */
static void
needs_cheap_guards(void)
{
    const size_t size = iora__sys_page_size();
    void *page;
    bool are_there;

    CHECK_EQ(iora__sys_reserve(size, &page), 0);
    are_there = iora__sys_guard_install(page, size) == 0 && iora__sys_heeds_advice(page, size);
    iora__sys_unmap(page, size);
    if (!are_there)
        test_skip("no MADV_GUARD_INSTALL: a kernel before 6.13, or qemu's user mode, which heeds no advice");
}

static iora_event go_on;

static int
waits(void)
{
    return iora_event_wait(&go_on);
}
IORA_ASYNC(waits);

static void
start_waiting(iora_task *tasks, int n)
{
    for (int i = 0; i < n; i++) {
        tasks[i] = iora_go(waits);
        CHECK(iora_task_is_valid(tasks[i]));
    }
    let_all_run();
}

static void
end_waiting(const iora_task *tasks, int n)
{
    iora_event_set(&go_on);
    CHECK_EQ(iora_gather_n(tasks, (size_t)n), 0);
    iora_event_clear(&go_on);
}

/* Use about so many KiB of stack. */
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
    return dig(kib) == -1; /* which it never is */
}
IORA_ASYNC(digs, int);

/* ---- when a task has one ----------------------------------------------------------------------------------------- */

TEST_TASK_EVERYWHERE(stack, is_bound_when_its_task_first_runs)
{
    iora_task tasks[100];

    for (int i = 0; i < 100; i++)
        tasks[i] = iora_go(waits);
    CHECK_EQ(census().tasks, 101);
    CHECK_EQ(census().stacks, 1);
    let_all_run();
    CHECK_EQ(census().stacks, 101);
    end_waiting(tasks, 100);
    CHECK_EQ(census().stacks, 1);
}

static int
tells_where(const void **where)
{
    *where = __builtin_frame_address(0);
    return iora_event_wait(&go_on);
}
IORA_ASYNC(tells_where, const void **);

static int
tells_where_and_ends(const void **where)
{
    *where = __builtin_frame_address(0);
    return 0;
}
IORA_ASYNC(tells_where_and_ends, const void **);

TEST_TASK(stack, is_reused_last_in_first_out)
{
    const void *a, *b, *c, *d, *e;
    const iora_task ta = iora_go(tells_where, &a), tb = iora_go(tells_where, &b);
    iora_task tc, td, te;

    let_all_run();
    CHECK(a != b);
    iora_event_set(&go_on); /* a ends, then b */
    CHECK_EQ(iora_gather(ta, tb), 0);
    iora_event_clear(&go_on);
    tc = iora_go(tells_where, &c);
    td = iora_go(tells_where, &d);
    te = iora_go(tells_where, &e);
    let_all_run();
    CHECK(c == b);
    CHECK(d == a);
    CHECK(e != a && e != b);
    iora_event_set(&go_on);
    CHECK_EQ(iora_gather(tc, td, te), 0);
}

TEST_TASK(stack, of_a_task_that_ended_serves_the_next_one)
{
    const void *first = NULL;

    for (int i = 0; i < 100; i++) {
        const void *where;

        CHECK_EQ(iora_await(iora_go(tells_where_and_ends, &where)), 0);
        CHECK(first == NULL || where == first);
        first = where;
    }
}

static int
returns_at_once(void)
{
    return 0;
}
IORA_ASYNC(returns_at_once);

/* ThreadSanitizer takes 0.36 ms to make and unmake a stack: 36 s for all of them, and more beside others. */
#if defined(__SANITIZE_THREAD__)
enum { SHORT_TASKS = 10000 };
#else
enum { SHORT_TASKS = 100000 };
#endif

TEST_TASK(stack, a_hundred_thousand_short_tasks_need_few)
{
    enum { N = SHORT_TASKS };
    iora_task *const tasks = calloc(N, sizeof *tasks);

    needs_cheap_guards();
    for (int i = 0; i < N; i++)
        tasks[i] = iora_go(returns_at_once);
    CHECK_EQ(census().tasks, N + 1);
    CHECK_EQ(iora_gather_n(tasks, N), 0);
    CHECK(default_class()->fresh <= 8);
    free(tasks);
}

TEST_TASK(stack, number_of_used_ones_is_that_of_tasks_that_wait_at_once)
{
    iora_task tasks[50];

    for (int i = 0; i < 20; i++) {
        start_waiting(tasks, 50);
        end_waiting(tasks, 50);
    }
    CHECK(default_class()->fresh <= 51 + 8);
}

/* ---- what lies on it ------------------------------------------------------------------------------------------------ */

static int
keeps_its_values(int n)
{
    const double half = n / 2.0;
    long a = n, b = n + 1, c = n + 2, d = n + 3, e = n + 4, f = n + 5, g = n + 6;
    char text[64];

    for (int i = 0; i < 20; i++) {
        CHECK_EQ(iora_yield(), 0);
        a += b, b += c, c += d, d += e, e += f, f += g, g += n;
    }
    CHECK_EQ((uintptr_t)__builtin_frame_address(0) % 16, 0);
    (void)snprintf(text, sizeof text, "%.1f", half);
    CHECK_EQ(strtod(text, NULL) * 2, n);
    return (int)(a % 1000003);
}
IORA_ASYNC(keeps_its_values, int);

/* What it comes to without switching. */
static int
value_of(int n)
{
    long v[7];

    for (int i = 0; i < 7; i++)
        v[i] = n + i;
    for (int i = 0; i < 20; i++) {
        for (int j = 0; j < 6; j++)
            v[j] += v[j + 1];
        v[6] += n;
    }
    return (int)(v[0] % 1000003);
}

TEST_TASK_EVERYWHERE(stack, and_registers_are_kept_across_switches)
{
    iora_task tasks[20];

    for (int i = 0; i < 20; i++)
        tasks[i] = iora_go(keeps_its_values, i * 77 + 1);
    for (int i = 0; i < 20; i++)
        CHECK_EQ(iora_await(tasks[i]), value_of(i * 77 + 1));
}

static int
suspends_deep_down(int depth, int mark)
{
    volatile int here[16];
    int rc;

    for (int i = 0; i < 16; i++)
        here[i] = mark + depth;
    rc = depth > 0 ? suspends_deep_down(depth - 1, mark) : 0;
    if (rc == 0)
        rc = iora_yield();
    for (int i = 0; i < 16; i++)
        CHECK_EQ(here[i], mark + depth);
    return rc;
}
IORA_ASYNC(suspends_deep_down, int, int);

TEST_TASK_EVERYWHERE(stack, may_be_suspended_at_any_depth)
{
    iora_task tasks[5];

    for (int i = 0; i < 5; i++)
        tasks[i] = iora_go(suspends_deep_down, 50 * (i + 1), i * 1000);
    CHECK_EQ(iora_gather_n(tasks, 5), 0);
}

/* ---- sizes ------------------------------------------------------------------------------------------------------------ */

TEST_TASK(stack, default_bears_150_kib)
{
    CHECK_EQ(iora_await(iora_go(digs, 150)), 0);
}

TEST_TASK(stack, of_a_size_asked_for_bears_it)
{
    CHECK_EQ(iora_await(iora_go_sized((size_t)1 << 20, digs, 700)), 0);
    CHECK_EQ(iora_await(iora_go_sized((size_t)600 << 10, digs, 700)), 0); /* rounded up to 1 MiB */
    CHECK_EQ(iora_await(iora_go_sized((size_t)1 << 30, digs, 5000)), 0);
    CHECK_EQ(iora_await(iora_go_sized(16 * 1024, digs, 3)), 0);
}

TEST_TASK(stack, of_a_size_out_of_range_is_refused)
{
    CHECK_EQ(iora_await(iora_go_sized(16 * 1024 - 1, digs, 1)), -EINVAL);
    CHECK_EQ(iora_await(iora_go_sized(((size_t)1 << 30) + 1, digs, 1)), -EINVAL);
    CHECK_EQ(iora_await(iora_go_sized(SIZE_MAX, digs, 1)), -EINVAL);
    CHECK_EQ(census().tasks, 1);
}

TEST(stack, size_of_a_loop_is_that_of_its_tasks)
{
    test_options()->stack_size = (size_t)1 << 20;
    CHECK_EQ(test_run(digs, 700), 0);
}

TEST_TASK(stack, several_sizes_live_side_by_side)
{
    iora_task tasks[5];

    for (int i = 0; i < 5; i++)
        tasks[i] = iora_go_sized((size_t)16 * 1024 << i, waits);
    let_all_run();
    CHECK_EQ(census().stacks, 6);
    end_waiting(tasks, 5);
    CHECK_EQ(census().stacks, 1);
}

/* ---- guards ----------------------------------------------------------------------------------------------------------- */

static void
overflow(void)
{
    CHECK_EQ(test_run(digs, 400), 0);
}

TEST(stack, overflow_ends_the_process)
{
    const struct child child = child_run(overflow);

    child_check_segv(&child);
    CHECK(strstr(child.output, "stack overflow in task") == NULL); /* nothing was asked for */
}

static int
overflows_by_name(void)
{
    const iora_task task = iora_go(digs, 400);

    CHECK_EQ(iora_task_set_name(task, "the digger"), 0);
    return iora_await(task);
}
IORA_ASYNC(overflows_by_name);

static void
overflow_with_report(void)
{
    test_options()->overflow_report = true;
    CHECK_EQ(test_run(overflows_by_name), 0);
}

static void
overflow_in_debug_mode(void)
{
    test_options()->debug = true;
    CHECK_EQ(test_run(overflows_by_name), 0);
}

TEST(stack, overflow_names_its_task_on_request)
{
    static void (*const ways[])(void) = {overflow_with_report, overflow_in_debug_mode};

    for (int i = 0; i < 2; i++) {
        const struct child child = child_run(ways[i]);

        child_check_segv(&child);
        CHECK(strstr(child.output, "stack overflow in task \"the digger\"") != NULL);
        CHECK(strstr(child.output, "test_stack.c:") != NULL);
    }
}

/* The fault itself is what is wanted, not the sanitizer's word on a null pointer. */
__attribute__((no_sanitize("undefined"))) static int
writes_to(volatile int *address)
{
    *address = 1;
    return 0;
}
IORA_ASYNC(writes_to, volatile int *);

static volatile int *fault_at;

static void
crash_otherwise(void)
{
    test_options()->overflow_report = true;
    (void)test_run(writes_to, fault_at);
}

static void *
overflow_in_thread(void *loop)
{
    return iora_run_in((iora_loop *)loop, overflows_by_name) == 0 ? NULL : loop;
}

/* Each thread has its own place for signal handlers to run. */
static void
overflow_in_another_thread(void)
{
    pthread_t thread;

    test_options()->overflow_report = true;
    CHECK_EQ(test_run(returns_at_once), 0);
    CHECK_EQ(pthread_create(&thread, NULL, overflow_in_thread, test_loop_with(test_options())), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

TEST(stack, overflow_is_named_in_another_thread_too)
{
    const struct child child = child_run(overflow_in_another_thread);

    child_check_segv(&child);
    CHECK(strstr(child.output, "stack overflow in task \"the digger\"") != NULL);
}

/* At addresses on both sides of the stacks. */
TEST(stack, overflow_report_leaves_other_faults_alone)
{
    fault_at = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(fault_at != MAP_FAILED);
    for (int i = 0; i < 2; i++) {
        const struct child child = child_run(crash_otherwise);

        child_check_segv(&child);
        CHECK(strstr(child.output, "stack overflow in task") == NULL);
        fault_at = NULL;
    }
}

TEST(stack, overflow_report_takes_the_signal_only_while_its_loop_lives)
{
    struct sigaction before, during, after;
    stack_t alternate;

    test_options()->overflow_report = true;
    CHECK_EQ(sigaction(SIGSEGV, NULL, &before), 0);
    CHECK_EQ(test_run(returns_at_once), 0);
    CHECK_EQ(sigaction(SIGSEGV, NULL, &during), 0);
    CHECK(during.sa_sigaction != before.sa_sigaction);
    {
        iora_loop *const loop = test_loop();

        test_forget_loop(loop);
        CHECK_EQ(iora_loop_free(loop), 0);
    }
    CHECK_EQ(sigaction(SIGSEGV, NULL, &after), 0);
    CHECK(after.sa_sigaction == before.sa_sigaction);
    CHECK_EQ(sigaltstack(NULL, &alternate), 0);
    CHECK((alternate.ss_flags & SS_DISABLE) || test_under_sanitizer());
}

/* It was taken for ours, by its size, and freed. */
TEST(stack, overflow_report_leaves_the_users_alternate_stack_alone)
{
    static char memory[64 * 1024];
    const stack_t mine = {.ss_sp = memory, .ss_size = sizeof memory};
    stack_t after;

    CHECK_EQ(sigaltstack(&mine, NULL), 0);
    test_options()->overflow_report = true;
    CHECK_EQ(test_run(returns_at_once), 0);
    {
        iora_loop *const loop = test_loop();

        test_forget_loop(loop);
        CHECK_EQ(iora_loop_free(loop), 0);
    }
    CHECK_EQ(sigaltstack(NULL, &after), 0);
    CHECK(after.ss_sp == memory);
}

TEST(stack, overflow_report_of_a_second_loop_outlives_the_first)
{
    iora_loop *second;
    stack_t alternate;

    test_options()->overflow_report = true;
    test_options()->backend = IORA_BACKEND_SIM;
    second = test_loop_with(test_options());
    CHECK_EQ(iora_run_in(test_loop(), returns_at_once), 0);
    CHECK_EQ(iora_run_in(second, returns_at_once), 0);
    {
        iora_loop *const loop = test_loop();

        test_forget_loop(loop);
        CHECK_EQ(iora_loop_free(loop), 0);
    }
    CHECK_EQ(sigaltstack(NULL, &alternate), 0);
    CHECK(!(alternate.ss_flags & SS_DISABLE));
}

/* In one of the small stacks, whose guard is a page, with its neighbours in use on both sides. */
static int
the_fourth_overflows(void)
{
    iora_task tasks[6];

    for (int i = 0; i < 6; i++)
        tasks[i] = i == 3 ? iora_go_sized(16 * 1024, digs, 30) : iora_go_sized(16 * 1024, waits);
    return iora_gather_n(tasks, 6);
}
IORA_ASYNC(the_fourth_overflows);

static void
overflow_a_small_one(void)
{
    test_options()->overflow_report = true;
    CHECK_EQ(test_run(the_fourth_overflows), 0);
}

TEST(stack, small_ones_are_guarded_too)
{
    const struct child child = child_run(overflow_a_small_one);

    child_check_segv(&child);
    CHECK(strstr(child.output, "stack overflow in task \"digs\"") != NULL);
}

static void
overflow_where_no_advice_is_heeded(void)
{
    iora__seam_be_deaf();
    overflow_a_small_one();
}

/* As in qemu's user mode. */
TEST(stack, guards_work_where_no_advice_is_heeded)
{
    const struct child child = child_run(overflow_where_no_advice_is_heeded);

    child_check_segv(&child);
    CHECK(strstr(child.output, "stack overflow in task \"digs\"") != NULL);
}

/* ---- guards by mprotect ------------------------------------------------------------------------------------------------- */

/* Use up the eight slots that are guarded, so that the next task needs new guards. */
static void
use_up_guards(iora_task tasks[7])
{
    start_waiting(tasks, 7);
    CHECK_EQ(default_class()->fresh, 8);
}

static int
falls_back(int kib)
{
    iora_task tasks[7];

    use_up_guards(tasks);
    iora__seam_arm_call(1, 0, false); /* EINVAL */
    CHECK_EQ(iora_await(iora_go(digs, kib)), 0);
    CHECK_EQ(iora__seam_read().failures, 1);
    CHECK_EQ(iora__seam_disarm().last_call, IORA__CALL_MADVISE);
    CHECK(default_class()->by_mprotect);
    end_waiting(tasks, 7);
    return 0;
}
IORA_ASYNC(falls_back, int);

TEST(stack, guards_fall_back_to_mprotect)
{
    needs_cheap_guards();
    CHECK_EQ(test_run(falls_back, 150), 0);
}

static void
overflow_with_mprotect(void)
{
    test_options()->overflow_report = true;
    CHECK_EQ(test_run(falls_back, 400), 0);
}

TEST(stack, overflow_meets_the_guard_by_mprotect_too)
{
    const struct child child = child_run(overflow_with_mprotect);

    child_check_segv(&child);
    CHECK(strstr(child.output, "stack overflow in task \"digs\"") != NULL);
}

/* Claims alone tell of the limit; that mprotect itself bears so many shows when they are bound. */
static int
fills_up_with_mprotect(void)
{
    enum { CAP = 32000 };
    iora_task *const tasks = calloc(CAP, sizeof *tasks);
    iora_task one_too_many;

    CHECK_EQ(falls_back(1), 0);
    start_waiting(tasks, CAP - 1);
    CHECK_EQ(census().stacks, CAP);
    one_too_many = iora_go(returns_at_once);
    CHECK_EQ(iora_await(one_too_many), IORA_E_STACK_LIMIT);
    CHECK(test_logged("vm.max_map_count"));
    end_waiting(tasks, CAP - 1);
    CHECK_EQ(iora_await(iora_go(returns_at_once)), 0);
    free(tasks);
    return 0;
}
IORA_ASYNC(fills_up_with_mprotect);

TEST(stack, guards_by_mprotect_end_at_a_cap_that_says_so)
{
    not_under_tools();
    needs_cheap_guards();
    test_options()->stack_size = 16 * 1024;
    CHECK_EQ(test_run(fills_up_with_mprotect), 0);
}

/* Mappings are the process's, whatever the size of the stacks they guard. */
static int
two_sizes_fill_up(void)
{
    enum { HALF = 16000 };
    iora_task *const tasks = calloc(2 * HALF, sizeof *tasks);

    CHECK_EQ(falls_back(1), 0);
    start_waiting(tasks, HALF - 1);
    /* After mmap, and madvise for no huge pages: EINVAL for the guard. */
    iora__seam_arm_call(3, 0, false);
    tasks[HALF] = iora_go_sized(32 * 1024, waits);
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora__seam_disarm().last_call, IORA__CALL_MADVISE);
    for (int i = 1; i < HALF; i++)
        tasks[HALF + i] = iora_go_sized(32 * 1024, waits);
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(census().stacks, 2 * HALF);
    CHECK_EQ(iora_task_error(iora_go_sized(32 * 1024, returns_at_once)), IORA_E_STACK_LIMIT);
    CHECK_EQ(iora_task_error(iora_go(returns_at_once)), IORA_E_STACK_LIMIT);
    CHECK(test_logged("vm.max_map_count"));
    end_waiting(tasks, HALF - 1);
    end_waiting(tasks + HALF, HALF);
    free(tasks);
    return 0;
}
IORA_ASYNC(two_sizes_fill_up);

TEST(stack, sizes_share_the_cap_on_guards_by_mprotect)
{
    not_under_tools();
    needs_cheap_guards();
    test_options()->stack_size = 16 * 1024;
    CHECK_EQ(test_run(two_sizes_fill_up), 0);
}

static void
run_locked(void)
{
    test_options()->stack_size = 16 * 1024;
    if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
        _exit(42);
    CHECK_EQ(test_run(digs, 4), 0);
    CHECK(default_class()->by_mprotect);
    CHECK_EQ(test_run(digs, 30), 0);
}

TEST(stack, guards_work_in_locked_memory)
{
    struct child child;

    not_under_tools();
    child = child_run(run_locked);
    if (WIFEXITED(child.status) && WEXITSTATUS(child.status) == 42)
        test_skip("mlockall is not allowed here");
    child_check_segv(&child);
}

/* ---- guards that cannot be had now ------------------------------------------------------------------------------------------ */

static int
traces(const char *word)
{
    test_trace("%s", word);
    return iora_yield();
}
IORA_ASYNC(traces, const char *);

/* No memory for a page table: the tasks begin late, in their order, and cancelled or not. */
TEST_TASK(stack, that_cannot_be_guarded_makes_tasks_start_late)
{
    iora_task tasks[7], late[3];
    long long began_ms;

    use_up_guards(tasks);
    began_ms = test_ms();
    for (int i = 0; i < 3; i++)
        late[i] = iora_go(traces, (const char *[]){"a", "b", "c"}[i]);
    iora__seam_arm_call(1, 1, true); /* ENOMEM */
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(iora__seam_disarm().failures, 3);
    CHECK_TRACE("");
    CHECK_EQ(iora_cancel(late[1]), 0);
    CHECK_EQ(iora_await(late[0]), 0);
    CHECK_EQ(test_ms(), began_ms + 1);
    CHECK_EQ(iora_await(late[1]), IORA_E_TASK_CANCELED);
    CHECK_EQ(iora_await(late[2]), 0);
    CHECK_TRACE("a b c");
    CHECK(test_logged("tasks start late"));
    end_waiting(tasks, 7);
}

TEST_TASK(stack, that_cannot_be_guarded_is_tried_again_until_it_can)
{
    iora_task tasks[7], late;
    long long began_ms;

    use_up_guards(tasks);
    late = iora_go(traces, "late");
    began_ms = test_ms();
    iora__seam_arm_call(1, 1, true);
    CHECK_EQ(iora_sleep(iora_us(20500)), 0);
    CHECK_EQ(iora__seam_disarm().failures, 21);
    CHECK_TRACE("");
    CHECK_EQ(iora_await(late), 0);
    CHECK_EQ(test_ms(), began_ms + 21);
    CHECK(test_logged("tasks start late"));
    /* Once. */
    CHECK(strstr(strstr(test_log(), "tasks start late") + 1, "tasks start late") == NULL);
    end_waiting(tasks, 7);
}

/* ---- no address space --------------------------------------------------------------------------------------------------------- */

TEST(stack, without_address_space_a_spawn_says_so)
{
    (void)test_loop();
    iora__seam_arm_call(2, 0, true); /* the first maps control blocks */
    CHECK_EQ(test_run(returns_at_once), -ENOMEM);
    CHECK(iora__seam_disarm().failures > 1);
    CHECK(test_logged("no address space for another stack"));
    CHECK_EQ(test_run(returns_at_once), 0);
}

TEST(stack, with_little_address_space_fewer_are_mapped_at_once)
{
    (void)test_loop();
    iora__seam_arm_call(2, 0, false);
    CHECK_EQ(test_run(returns_at_once), 0);
    CHECK_EQ(iora__seam_disarm().last_call, IORA__CALL_MMAP);
    CHECK(default_class()->capacity >= 8);
    CHECK(default_class()->capacity < 1024);
}

static int
spawns_until_refused(void)
{
    static iora_task tasks[100000];
    int n = 0, rc;

    do {
        CHECK(n < 100000);
        tasks[n] = iora_go(waits);
        rc = iora_task_error(tasks[n++]);
    } while (rc == 0);
    CHECK_EQ(rc, -ENOMEM);
    CHECK(n > 8);
    CHECK(test_logged("RLIMIT_AS"));
    let_all_run(); /* those that were spawned run */
    CHECK_EQ(census().stacks, n);
    end_waiting(tasks, n - 1);
    CHECK_EQ(iora_await(iora_go(returns_at_once)), 0);
    return 0;
}
IORA_ASYNC(spawns_until_refused);

static long
pages_of_statm(int column)
{
    FILE *const file = fopen("/proc/self/statm", "re");
    long columns[2] = {0, 0};

    CHECK(file != NULL);
    CHECK_EQ(fscanf(file, "%ld %ld", &columns[0], &columns[1]), 2);
    (void)fclose(file);
    return columns[column];
}

static long
mapped_kib(void)
{
    return pages_of_statm(0) * (sysconf(_SC_PAGESIZE) / 1024);
}

static long
resident_kib(void)
{
    return pages_of_statm(1) * (sysconf(_SC_PAGESIZE) / 1024);
}

static void
spawn_under_a_limit(void)
{
    const rlim_t bytes = (rlim_t)mapped_kib() * 1024 + ((rlim_t)40 << 20);
    const struct rlimit limit = {bytes, bytes};

    CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    CHECK_EQ(test_run(spawns_until_refused), 0);
}

TEST(stack, limit_of_address_space_is_named)
{
    struct child child;

    not_under_tools();
    needs_cheap_guards(); /* else their limit comes first */
    child = child_run(spawn_under_a_limit);
    child_check_ok(&child);
}

TEST(stack, freeing_the_loop_gives_the_address_space_back)
{
    iora_loop *loop;
    long during_kib;

    not_under_tools();
    CHECK_EQ(test_run(returns_at_once), 0);
    during_kib = mapped_kib();
    loop = test_loop();
    test_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    CHECK(mapped_kib() <= during_kib - 200 * 1024);
}

/* ---- giving memory back ---------------------------------------------------------------------------------------------------------- */

static int
digs_and_waits(int kib)
{
    return dig(kib) == -1 ? -EIO : iora_event_wait(&go_on);
}
IORA_ASYNC(digs_and_waits, int);

enum { CROWD = 8000 };

static void
run_a_crowd(long *peak_kib)
{
    iora_task *const tasks = calloc(CROWD, sizeof *tasks);

    for (int i = 0; i < CROWD; i++)
        tasks[i] = iora_go(digs_and_waits, 12);
    let_all_run();
    *peak_kib = resident_kib();
    end_waiting(tasks, CROWD);
    free(tasks);
    let_all_run();
}

TEST_TASK(stack, memory_of_many_free_ones_goes_back)
{
    long before_kib, peak_kib;

    not_under_tools();
    before_kib = resident_kib();
    run_a_crowd(&peak_kib);
    CHECK(peak_kib - before_kib > CROWD * 12);
    CHECK(resident_kib() - before_kib < (peak_kib - before_kib) / 2);
    run_a_crowd(&peak_kib); /* and they are good for use again */
    CHECK_EQ(census().stacks, 1);
    CHECK(default_class()->fresh <= CROWD + 1 + 8);
}

static int
overflows_after_a_crowd(void)
{
    long peak_kib;
    iora_task *const tasks = calloc(CROWD, sizeof *tasks);

    run_a_crowd(&peak_kib);
    start_waiting(tasks, CROWD - 1000); /* what comes next was trimmed before */
    return iora_await(iora_go(digs, 400));
}
IORA_ASYNC(overflows_after_a_crowd);

static void
overflow_after_a_crowd(void)
{
    test_options()->overflow_report = true;
    CHECK_EQ(test_run(overflows_after_a_crowd), 0);
}

TEST(stack, guards_outlive_trimming)
{
    struct child child;

    not_under_tools();
    child = child_run(overflow_after_a_crowd);
    child_check_segv(&child);
    CHECK(strstr(child.output, "stack overflow in task \"digs\"") != NULL);
}
