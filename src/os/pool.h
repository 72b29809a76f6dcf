/* os/pool.h -- a pool of threads, and the queue they take jobs from (theory in pool.c). */
#ifndef IORA_OS_POOL_H
#define IORA_OS_POOL_H

#include <iora/executor.h>

#include "core/list.h"

/* What is done with jobs, the same for all of a pool's; in a thread. */
struct iora__pool_work {
    bool (*run)(struct iora__link *job);  /* false: there is nothing to tell, and the job is gone */
    void (*tell)(struct iora__link *job); /* that it has come to its end; takes no time */
};

/* Have a thread do the work on a job, whose link is the pool's until then. If none is there and none can
 * be started: -EAGAIN or -ENOMEM. Else 0. */
int iora__pool_submit(iora_pool *pool, struct iora__link *job, const struct iora__pool_work *work);

/* Take a job back that no thread has taken: true if it was one. */
bool iora__pool_cancel(iora_pool *pool, struct iora__link *job);

/* A job that was submitted and not cancelled uses the pool until this is said by who submitted it. */
void iora__pool_end_job(iora_pool *pool);

/* Nobody will wait for this job, which runs or has just come to its end: the thread that runs it need not be
 * joined. To be said before the job's owner lets go of it. */
void iora__pool_give_up(iora_pool *pool, const struct iora__link *job);

#ifdef IORA_SEAMS
extern int64_t iora__pool_idle_ns; /* how long an idle thread is kept, for tests that cannot wait */
#endif

#endif
