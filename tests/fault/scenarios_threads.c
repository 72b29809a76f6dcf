/* tests/fault/scenarios_threads.c -- functions in threads, look-ups, and tasks for other threads. */
#include "fault.h"

#include "core/lane.h"
#include "os/resolve.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static iora_pool *pool;

static void
make_pool(unsigned threads)
{
    iora_pool_options options = IORA_POOL_OPTIONS_INIT;

    options.threads = threads;
    if (EXPECT(iora_pool_new(&options, &pool), 0) < 0)
        pool = NULL;
}

/* No task waits any more. */
static void
free_pool(void)
{
    CHECK_EQ(iora_pool_free(pool), 0);
}

/* ---- to_thread ------------------------------------------------------------------------------------------- */

static int
add_one(void *number)
{
    return ++*(int *)number;
}

static int
add_up(iora_pool *in, int times)
{
    int number = 0, rc = 0;

    for (int i = 1; i <= times && rc >= 0; i++) {
        rc = EXPECT_UNLESS_CANCELLED(iora_to_thread_in(in, add_one, &number, NULL), i);
        CHECK_EQ(number, rc < 0 ? i - 1 : i); /* not begun, or done */
    }
    return rc < 0 ? rc : 0;
}

static int
adds_up(iora_pool *in, int times)
{
    IN_TASK;

    return add_up(in, times);
}
IORA_ASYNC(adds_up, iora_pool *, int);

static int
adds_up_in_two(void)
{
    return EXPECT(iora_gather(SPAWN(iora_go(adds_up, NULL, 3)), SPAWN(iora_go(adds_up, NULL, 3))),
                  0);
}
IORA_ASYNC(adds_up_in_two);

SCENARIO(threads, to_thread, REAL)
{
    RUN(adds_up_in_two);
}

static int
adds_up_with_a_deadline(void)
{
    return EXPECT(iora_wait_for(add_up(NULL, 4), iora_s(50)), 0);
}
IORA_ASYNC(adds_up_with_a_deadline);

SCENARIO(threads, to_thread_in_time, REAL)
{
    RUN(adds_up_with_a_deadline);
}

static int
crowds_a_pool(void)
{
    iora_task tasks[5];

    for (int i = 0; i < 5; i++)
        tasks[i] = SPAWN(iora_go(adds_up, pool, 2));
    EXPECT(iora_yield(), 0);
    EXPECT(iora_cancel(tasks[4]), 0);
    EXPECT(iora_await(tasks[4]), IORA_E_TASK_CANCELED);
    return EXPECT(iora_gather_n(tasks, 4), 0);
}
IORA_ASYNC(crowds_a_pool);

SCENARIO(threads, bounded_pool, REAL)
{
    make_pool(1);
    if (pool != NULL) {
        RUN(crowds_a_pool);
        free_pool();
    }
}

/* ---- owned ------------------------------------------------------------------------------------------------ */

struct made {
    int number;
    void *memory;
};

static atomic_int kept; /* what was made and not freed */

static int
make_something(void *arg)
{
    struct made *const made = arg;

    made->memory = malloc(1);
    made->number = 7;
    atomic_fetch_add(&kept, 1);
    return 0;
}

static void
free_something(void *arg)
{
    const struct made *const made = arg;

    CHECK_EQ(made->number, 7);
    free(made->memory);
    atomic_fetch_sub(&kept, 1);
}

static int
makes(int times)
{
    IN_TASK;
    int rc = 0;

    while (times-- > 0 && rc == 0) {
        struct made made = {0, NULL};

        rc = EXPECT_UNLESS_CANCELLED(
            iora_to_thread_owned(pool, make_something, &made, sizeof made, free_something), 0);
        CHECK((rc == 0) == (made.number == 7));
        if (rc == 0)
            free_something(&made);
    }
    return rc;
}
IORA_ASYNC(makes, int);

static int
makes_and_leaves(void)
{
    const iora_task left = SPAWN(iora_go(makes, 3));
    const iora_task others[] = {SPAWN(iora_go(makes, 2)), SPAWN(iora_go(makes, 2))};

    EXPECT(iora_yield(), 0);
    EXPECT(iora_cancel(left), 0);
    EXPECT(iora_await(left), IORA_E_TASK_CANCELED);
    return EXPECT(iora_gather_n(others, 2), 0);
}
IORA_ASYNC(makes_and_leaves);

SCENARIO(threads, owned, REAL)
{
    make_pool(2);
    if (pool == NULL)
        return;
    RUN(makes_and_leaves);
    free_pool();
    for (int i = 0; i < 10000 && atomic_load(&kept) > 0; i++) /* what was given up and still runs */
        (void)usleep(100);
    CHECK_EQ(kept, 0);
}

/* ---- names ------------------------------------------------------------------------------------------------- */

static int
find_one(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    CHECK(strcmp(host, "example.org") == 0 && strcmp(service, "80") == 0);
    CHECK_EQ(getaddrinfo("192.0.2.1", "80", hints, out), 0);
    return 0;
}

static int
looks_up(const char *host, int times)
{
    IN_TASK;
    int rc = 0;

    while (times-- > 0 && rc == 0) {
        struct addrinfo *list = NULL;

        rc = EXPECT_UNLESS_CANCELLED(iora_getaddrinfo(host, "80", NULL, &list), 0);
        CHECK((rc == 0) == (list != NULL));
        if (rc == 0)
            freeaddrinfo(list);
    }
    return rc;
}
IORA_ASYNC(looks_up, const char *, int);

static int
looks_up_several(void)
{
    const iora_task tasks[] = {
        SPAWN(iora_go(looks_up, "example.org", 2)), SPAWN(iora_go(looks_up, "localhost", 2)),
        SPAWN(iora_go(looks_up, "127.0.0.1", 2)), SPAWN(iora_go(looks_up, "example.org", 1))};

    return EXPECT(iora_gather_n(tasks, 4), 0);
}
IORA_ASYNC(looks_up_several);

SCENARIO(threads, look_up, REAL)
{
    iora__resolve_instead = find_one;
    RUN(looks_up_several);
}

/* ---- files -------------------------------------------------------------------------------------------------- */

/* One that can neither be waited for nor be asked not to wait: the process's name, as it is kept in /proc. */
static int
uses_a_file(int fd)
{
    char bytes[4] = "";
    int rc;

    rc = EXPECT(iora_fd_write(fd, "name", 4), 4, -EIO, -ENOSPC);
    CHECK(rc < 0 || rc == 4);
    rc = EXPECT(iora_fd_read(fd, bytes, sizeof bytes), 4, -EIO);
    CHECK(rc < 0 || fault_is_armed() || memcmp(bytes, "name", 4) == 0);
    return 0;
}
IORA_ASYNC(uses_a_file, int);

SCENARIO(threads, file, REAL)
{
    const int fd = open("/proc/self/comm", O_RDWR | O_CLOEXEC);

    CHECK(fd >= 0);
    RUN(uses_a_file, fd);
    (void)close(fd);
}

/* ---- tasks for other threads ---------------------------------------------------------------------------------- */

static iora_remote *remote;
static iora_future heard;
static pthread_t thread;
static bool has_thread;
static int answers, begun, ended;

static int
child_of_it(void)
{
    IN_TASK;
    const int rc = EXPECT_UNLESS_CANCELLED(iora_yield(), 0);

    (void)iora_cleanup(iora_yield(), iora_s(10));
    ended++;
    return rc;
}
IORA_ASYNC(child_of_it);

static int
doubles(int number, int *out)
{
    const iora_task child = SPAWN(iora_go(child_of_it));

    begun += iora_task_is_valid(child);
    if (EXPECT_UNLESS_CANCELLED(iora_yield(), 0) < 0)
        return -ECANCELED;
    *out = 2 * number;
    return number;
}
IORA_ASYNC(doubles, int, int *);

static void *
calls_in(void *arg)
{
    for (int i = 1; i <= 3; i++) {
        int twice = 0;
        const int rc = EXPECT(iora_run_threadsafe(remote, doubles, i, &twice), i, IORA_E_CLOSED);

        CHECK(rc != i || twice == 2 * i);
        answers += rc == i;
    }
    (void)iora_remote_set_future(remote, &heard, 0, NULL);
    return arg;
}

static int
hears_calls(void)
{
    const int rc = EXPECT(iora_remote_open(iora_loop_running(), &remote), 0);

    if (rc < 0)
        return rc;
    CHECK_EQ(pthread_create(&thread, NULL, calls_in, NULL), 0);
    has_thread = true;
    return EXPECT(iora_future_await(&heard, NULL), 0);
}
IORA_ASYNC(hears_calls);

/* If the run ends before the calls have, the loop's end answers them. */
SCENARIO(threads, run_threadsafe, ANYWHERE | THREADED)
{
    iora_loop *const loop = fault_loop();

    RUN(hears_calls);
    if (loop == NULL)
        return;
    fault_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
    if (has_thread)
        CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ_UNARMED(answers, 3);
    CHECK_EQ(ended, begun);
    iora_remote_close(remote);
}
