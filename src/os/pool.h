/* os/pool.h -- a pool of threads, and the queue they take jobs from (theory in pool.c). */
#ifndef IORA_OS_POOL_H
#define IORA_OS_POOL_H

#include <iora/executor.h>

#include "core/list.h"

/* Run the job of this link, in a thread, to its end. It may free the job. */
typedef void iora__pool_run(struct iora__link *job);

/* Have a thread run a job: `run`, the same for all jobs of a pool, is called with its link, which is the pool's
 * until then. 0; -EAGAIN if no thread could be started and none is there. */
int iora__pool_submit(iora_pool *pool, struct iora__link *job, iora__pool_run *run);

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
