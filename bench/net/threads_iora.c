/* bench/net/threads_iora.c -- from the loop's thread to another and back, on iora.
 *
 *     to_thread         a task has an empty function run by the loop's pool, and waits for it
 *     run_threadsafe    another thread has the loop run an empty task, and waits for it */

#include "../measure.h"

#include <iora.h>

static void
must(int rc, const char *what)
{
    if (rc < 0)
        bench_fail("%s fails: %s", what, iora_strerror(rc));
}

/* to_thread */

static int
nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int
to_thread(uint64_t n)
{
    int rc = 0;

    bench_start();
    for (uint64_t i = 0; i < n && rc == 0; i++)
        rc = iora_to_thread(nothing, NULL);
    bench_stop();
    return rc;
}
IORA_ASYNC(to_thread, uint64_t);

static void
to_thread_body(uint64_t n)
{
    must(iora_run(to_thread, n), "iora_to_thread");
}

/* run_threadsafe: the other thread is one of the pool's. */

struct calls {
    iora_remote *remote;
    uint64_t n;
};

static int
empty(void)
{
    return 0;
}
IORA_ASYNC(empty);

static int
call_in(void *arg)
{
    const struct calls *calls = arg;
    int rc = 0;

    bench_start();
    for (uint64_t i = 0; i < calls->n && rc == 0; i++)
        rc = iora_run_threadsafe(calls->remote, empty);
    bench_stop();
    return rc;
}

static int
be_called(uint64_t n)
{
    struct calls calls = {.n = n};
    int rc;

    if ((rc = iora_remote_open(iora_loop_running(), &calls.remote)) < 0)
        return rc;
    rc = iora_to_thread(call_in, &calls);
    iora_remote_close(calls.remote);
    return rc;
}
IORA_ASYNC(be_called, uint64_t);

static void
run_threadsafe_body(uint64_t n)
{
    must(iora_run(be_called, n), "iora_run_threadsafe");
}

/* The rows */

static void
row_to_thread(void)
{
    bench_loop(to_thread_body, 1);
}

static void
row_run_threadsafe(void)
{
    bench_loop(run_threadsafe_body, 1);
}

static const struct bench_row rows[] = {
    {"to_thread", row_to_thread},
    {"run_threadsafe", row_run_threadsafe},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return bench_main(argc, argv, IORA_LINKAGE, rows);
}
