/* Work that would stop the others, in threads.
 *
 * A task that computes for long keeps its thread to itself: no other task runs meanwhile.
 * iora_to_thread() has a function run in a thread of a pool, and its caller waits as for anything
 * else. Here a ticker shows the difference.
 *
 * A thread cannot be cancelled from outside. A hook may ask the function to return early, in whatever
 * way it knows; the wait ends when it has.
 */
#include <iora.h>
#include <stdatomic.h>
#include <stdio.h>

enum { PARTS = 4, LIMIT = 1000000 };

static int ticks;

static int tick(void)
{
    int rc;

    while ((rc = iora_sleep(iora_ms(1))) == 0)
        ticks++;
    return rc;
}
IORA_ASYNC(tick);

/* Which number below a limit takes the most steps to 1: halve the even ones, 3n + 1 for the odd? */
struct search {
    uint64_t first, end;
    uint64_t best;
    int steps;
    atomic_bool stop;
};

static int search(void *arg)
{
    struct search *search = arg;

    for (uint64_t start = search->first; start < search->end; start++) {
        int steps = 0;
        if (atomic_load_explicit(&search->stop, memory_order_relaxed))
            return -ECANCELED;
        for (uint64_t n = start; n != 1; n = n % 2 == 0 ? n / 2 : 3 * n + 1)
            steps++;
        if (steps > search->steps) {
            search->best = start;
            search->steps = steps;
        }
    }
    return 0;
}

static void stop_search(void *arg)
{
    struct search *search = arg;
    atomic_store_explicit(&search->stop, true, memory_order_relaxed);
}

static int search_in_thread(struct search *job)
{
    return iora_to_thread_in(NULL, search, job, stop_search);
}
IORA_ASYNC(search_in_thread, struct search *);

static void show(const struct search *job)
{
    printf("  %llu takes %d steps; the ticker %s\n", (unsigned long long)job->best, job->steps,
           ticks > 0 ? "went on" : "stood still");
    ticks = 0;
}

static int in_this_thread(void)
{
    struct search job = {.first = 1, .end = LIMIT};

    printf("In the loop's thread:\n");
    int rc = search(&job);
    show(&job);
    return rc;
}

static int in_threads(void)
{
    struct search jobs[PARTS] = {{.first = 1}};
    int rc = 0;

    printf("In %d threads:\n", PARTS);
    IORA_GROUP(rc, group) {
        for (int i = 0; i < PARTS; i++) {
            jobs[i].first = i > 0 ? jobs[i - 1].end : 1;
            jobs[i].end = (uint64_t)(i + 1) * LIMIT / PARTS;
            iora_group_go(&group, search_in_thread, &jobs[i]);
        }
    }
    for (int i = 1; i < PARTS; i++)
        if (jobs[i].steps > jobs[0].steps) {
            jobs[0].best = jobs[i].best;
            jobs[0].steps = jobs[i].steps;
        }
    show(&jobs[0]);
    return rc;
}

/* All numbers there are take too long. */
static int with_deadline(void)
{
    struct search job = {.first = 1, .end = UINT64_MAX};

    printf("With a deadline:\n");
    int rc = iora_wait_for(search_in_thread(&job), iora_ms(100));
    printf("  = %s; what was found is there: %s\n", iora_err_name(rc), job.best > 1 ? "yes" : "no");
    return rc == -ETIMEDOUT ? 0 : rc;
}

static int amain(void)
{
    iora_go(tick); /* ends with this task */

    int rc = in_this_thread();
    if (rc == 0)
        rc = in_threads();
    if (rc == 0)
        rc = with_deadline();
    return rc;
}
IORA_ASYNC(amain);

int main(void) { return iora_main(amain); }
