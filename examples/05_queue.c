/* A producer, three workers and two permits.
 *
 * The queue holds two jobs at most, so the producer never runs far ahead: a put to a full queue
 * waits, and so does a get from an empty one. The semaphore lets two workers out of three be busy at
 * a time. When the producer has no more it shuts the queue down; the workers take what is left, are
 * told, and end.
 */
#include <iora.h>
#include <stdio.h>

enum { JOBS = 6, ROOM = 2, PERMITS = 2 };

static iora_queue jobs = IORA_QUEUE_INIT(sizeof(int), ROOM);
static iora_semaphore permits = IORA_SEMAPHORE_INIT(PERMITS);
static int busy;
static int most_busy;
static int waits_for_room;

static int produce(void)
{
    int rc = 0;

    for (int job = 1; job <= JOBS && rc == 0; job++) {
        if (iora_queue_is_full(&jobs))
            waits_for_room++;
        rc = iora_queue_put(&jobs, &job);
    }
    iora_queue_shutdown(&jobs, false);
    return rc;
}
IORA_ASYNC(produce);

static int do_job(const char *name, int job)
{
    int rc = iora_semaphore_acquire(&permits);
    if (rc < 0)
        return rc;

    if (++busy > most_busy)
        most_busy = busy;
    rc = iora_sleep(iora_ms(50));
    if (rc == 0)
        printf("%s has done job %d\n", name, job);
    busy--;

    (void)iora_semaphore_release(&permits);
    return rc;
}

static int work(const char *name)
{
    int job;
    int rc;

    while ((rc = iora_queue_get(&jobs, &job)) == 0) {
        rc = do_job(name, job);
        if (rc < 0)
            return rc;
    }
    return rc == IORA_E_SHUTDOWN ? 0 : rc;
}
IORA_ASYNC(work, const char *);

static int amain(void)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        iora_group_go(&group, produce);
        iora_group_go(&group, work, "Ann");
        iora_group_go(&group, work, "Bob");
        iora_group_go(&group, work, "Cleo");
    }
    (void)iora_queue_destroy(&jobs);
    printf("At most %d were busy at a time; the producer waited for room %d times.\n", most_busy,
           waits_for_room);
    return rc;
}
IORA_ASYNC(amain);

int main(void) { return iora_main(amain); }
