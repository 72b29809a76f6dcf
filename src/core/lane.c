/* core/lane.c -- jobs: what a loop has threads do.
 *
 *   submit            a thread takes it      fn returns           the loop takes its mail
 *   ------> QUEUED -----------------> runs -------------> FINISHED -----------------> IDLE, _done
 *             |                        |
 *             | cancel: taken back     | cancel: stop(arg), and it goes on as above; unless it is
 *             '-> IDLE                 '-- given up --> GIVEN_UP --- fn returns ---> gone, in the thread
 *
 * Loop and thread meet at three points. The pool's mutex says whether a job was taken. The exchange of the op's
 * `_detail`, FINISHED by the thread, GIVEN_UP by the loop, says whose it is at its end: who comes second finds
 * what the first has put there. And the mailbox brings it back, with its result.
 *
 * A thread that runs a job holds a reference to the mailbox, in the op's `_base`: it writes to the eventfd of a
 * loop that may have taken the op meanwhile, and have been freed.
 *
 * The loop's own pool and the one for names are made when first needed. Names have one of their own: 64 look-ups
 * that get no answer for a minute shall delay no other job.
 *
 * A loop that would sleep while a job is pending spins for a moment before (os/spin.h): a job that takes less
 * than waking the loop does comes back without waking it.
 *
 * A read or write that cannot be waited for is done by a job that is made around it (a *file job*). The op is
 * pending without being in any list; who cancels it looks for its job.
 *
 * In a forked child no thread is left. Ops are forgotten (core/loop.c), with the reference that a thread had to the
 * mailbox; unless the job had come to its end, for then the thread may have given it back before.
 */
#include "core/lane.h"

#include "os/pool.h"
#include "os/spin.h"
#include "sys/alloc.h"
#include "sys/sys.h"
#include "sys/thread.h"

enum { NAME_THREADS = 4 };

enum phase { UNDECIDED, FINISHED, GIVEN_UP }; /* an op's _detail */

struct iora__lane {
    iora_pool *pool; /* the loop's own; NULL: none yet */
    iora_pool *names;
    size_t pending; /* jobs that the loop waits for */
    int64_t
        spin_ns; /* before it sleeps while jobs are pending; 0: never, there is one processor only */
    struct iora__link files;
};

struct file_job {
    struct iora__job job;
    struct iora__link in_lane;
    struct iora__op *op;
};

static struct iora__job *
job_of(struct iora__op *op)
{
    return iora__container_of(op, struct iora__job, op);
}

/* ---- the lane and its pools ----------------------------------------------------------------------- */

static int
make_lane(iora_loop *loop)
{
    struct iora__lane *lane;

    if (loop->lane != NULL)
        return 0;
    if ((lane = iora__zalloc(sizeof *lane)) == NULL)
        return -ENOMEM;
    iora__list_init(&lane->files);
    lane->spin_ns = iora__sys_processors() > 1 ? IORA__SPIN_MAX_NS : 0;
    loop->lane = lane;
    return 0;
}

static int
own_pool(iora_loop *loop, iora_pool **out)
{
    struct iora__lane *const lane = loop->lane;
    int rc;

    if (lane->pool == NULL && (rc = iora_pool_new(NULL, &lane->pool)) < 0)
        return rc;
    *out = lane->pool;
    return 0;
}

int
iora__lane_names_pool(iora_loop *loop, iora_pool **out)
{
    iora_pool_options options = IORA_POOL_OPTIONS_INIT;
    int rc;

    if (iora__loop_is_forked(loop))
        return IORA_E_FORKED;
    if ((rc = make_lane(loop)) < 0)
        return rc;
    options.threads = NAME_THREADS;
    options.name = "iora-names";
    if (loop->lane->names == NULL && (rc = iora_pool_new(&options, &loop->lane->names)) < 0)
        return rc;
    *out = loop->lane->names;
    return 0;
}

size_t
iora__lane_pending(const iora_loop *loop)
{
    return loop->lane != NULL ? loop->lane->pending : 0;
}

/* In a forked child. */
static void
forget_thread(const struct iora__op *job_op)
{
    if (job_op->_detail == UNDECIDED)
        iora__mailbox_release(job_op->_base);
}

void
iora__lane_forget(const struct iora__op *op)
{
    if (op->_kind == IORA__OP_WORK)
        forget_thread(op);
}

/* What is still pending belongs to tasks that could not be ended, and works on memory that goes with them: what
 * it needs of ours stays. */
void
iora__lane_free(iora_loop *loop)
{
    struct iora__lane *const lane = loop->lane;
    struct iora__link *link;

    if (lane == NULL || (lane->pending > 0 && !iora__loop_is_forked(loop)))
        return;
    while ((link = iora__list_pop(&lane->files)) != NULL) { /* in a forked child */
        struct file_job *const file = iora__container_of(link, struct file_job, in_lane);

        forget_thread(&file->job.op);
        iora__free(file);
    }
    (void)iora_pool_free(lane->pool);
    (void)iora_pool_free(lane->names);
    iora__free(lane);
    loop->lane = NULL;
}

static bool
has_mail(void *loop)
{
    return iora__mailbox_has_mail(loop);
}

void
iora__lane_spin(iora_loop *loop)
{
    if (iora__lane_pending(loop) > 0 && loop->lane->spin_ns > 0)
        (void)iora__spin(&loop->lane->spin_ns, has_mail, loop);
}

/* ---- jobs ---------------------------------------------------------------------------------------------- */

/* In a thread. */
static bool
run(struct iora__link *link)
{
    struct iora__op *const op = iora__container_of(link, struct iora__op, _link);
    struct iora__mailbox *const mailbox = op->_base;
    const struct iora__job *const job = job_of(op);

    op->_res = job->fn(job->arg);
    if (__atomic_exchange_n(&op->_detail, FINISHED, __ATOMIC_ACQ_REL) != GIVEN_UP)
        return true;
    op->_done(op);
    iora__mailbox_release(mailbox);
    return false;
}

/* In a thread. */
static void
tell(struct iora__link *link)
{
    struct iora__op *const op = iora__container_of(link, struct iora__op, _link);
    struct iora__mailbox *const mailbox = op->_base;

    iora__mailbox_return(mailbox, op);
    iora__mailbox_release(mailbox);
}

static const struct iora__pool_work work = {run, tell};

static void
end_job(iora_loop *loop, const struct iora__job *job)
{
    loop->lane->pending--;
    iora__pool_end_job(job->pool);
}

static int
submit_job(iora_loop *loop, struct iora__job *job)
{
    struct iora__op *const op = &job->op;
    int rc;

    if ((rc = make_lane(loop)) < 0 || (rc = iora__mailbox_make(loop)) < 0 ||
        (job->pool == NULL && (rc = own_pool(loop, &job->pool)) < 0))
        return rc;
    op->_base = iora__mailbox_hold(loop);
    op->_detail = UNDECIDED;
    op->_state = IORA__OP_IN_THREAD;
    if ((rc = iora__pool_submit(job->pool, &op->_link, &work)) < 0) {
        op->_state = IORA__OP_IDLE;
        iora__mailbox_release(op->_base);
        return rc;
    }
    loop->lane->pending++;
    return IORA__OP_PENDING;
}

static int
cancel_job(iora_loop *loop, struct iora__job *job)
{
    struct iora__op *const op = &job->op;

    if (iora__pool_cancel(job->pool, &op->_link)) {
        iora__mailbox_release(op->_base);
        loop->lane->pending--;
        op->_state = IORA__OP_IDLE;
        op->_res = -ECANCELED;
        return IORA__OP_DONE;
    }
    if (job->stop != NULL)
        job->stop(job->arg);
    return IORA__OP_PENDING;
}

void
iora__lane_finish(iora_loop *loop, struct iora__op *op)
{
    end_job(loop, job_of(op));
    op->_state = IORA__OP_IDLE;
    op->_done(op);
}

bool
iora__lane_give_up(iora_loop *loop, struct iora__job *job, void (*gone)(struct iora__op *op))
{
    struct iora__op *const op = &job->op;
    void (*const done)(struct iora__op *) = op->_done;
    iora_pool *const pool = job->pool;

    if (op->_state != IORA__OP_IN_THREAD)
        return false;
    iora__pool_give_up(pool, &op->_link);
    op->_done = gone; /* the thread reads it if it finds what we leave it, and only then */
    if (__atomic_exchange_n(&op->_detail, GIVEN_UP, __ATOMIC_ACQ_REL) == FINISHED) {
        op->_done = done;
        return false;
    }
    loop->lane->pending--;
    iora__pool_end_job(pool);
    return true;
}

/* ---- files ---------------------------------------------------------------------------------------------- */

/* In a thread. */
static int
read_or_write(void *arg)
{
    const struct iora__op *const op = arg;
    int rc;

    do {
        rc = op->_kind == IORA__OP_READ ? iora__sys_read(op->_fd, op->_base, op->_size)
                                        : iora__sys_write(op->_fd, op->_base, op->_size);
    } while (rc == -EINTR);
    return rc;
}

static void
end_file_job(struct file_job *file)
{
    file->op->_state = IORA__OP_IDLE;
    file->op->_res = file->job.op._res;
    iora__list_remove(&file->in_lane);
    iora__free(file);
}

static void
file_done(struct iora__op *job_op)
{
    struct file_job *const file = iora__container_of(job_op, struct file_job, job.op);
    struct iora__op *const op = file->op;

    end_file_job(file);
    op->_done(op);
}

static int
take_memory(struct iora__op *op)
{
    if (op->_take == NULL)
        return 0;
    op->_base = op->_take(op, &op->_size);
    return op->_base != NULL ? 0 : -ENOMEM;
}

static int
submit_file(iora_loop *loop, struct iora__op *op)
{
    struct file_job *const file = iora__zalloc(sizeof *file);
    int rc;

    if (file == NULL)
        return -ENOMEM;
    file->op = op;
    file->job = (struct iora__job){
        .op = {._done = file_done, ._kind = IORA__OP_WORK}, .fn = read_or_write, .arg = op};
    if ((rc = take_memory(op)) < 0 || (rc = submit_job(loop, &file->job)) < 0) {
        iora__free(file);
        return rc;
    }
    op->_state = IORA__OP_IN_THREAD;
    iora__list_push_tail(&loop->lane->files, &file->in_lane);
    return IORA__OP_PENDING;
}

static int
cancel_file(iora_loop *loop, struct iora__op *op)
{
    struct iora__link *at = loop->lane->files._next;
    struct file_job *file;

    while ((file = iora__container_of(at, struct file_job, in_lane))->op != op)
        at = at->_next;
    if (cancel_job(loop, &file->job) == IORA__OP_PENDING)
        return IORA__OP_PENDING;
    end_file_job(file);
    return IORA__OP_DONE;
}

/* ---- ops -------------------------------------------------------------------------------------------------- */

bool
iora__lane_takes(const struct iora__op *op)
{
    return op->_kind == IORA__OP_WORK || op->_kind == IORA__OP_READ || op->_kind == IORA__OP_WRITE;
}

int
iora__lane_submit(iora_loop *loop, struct iora__op *op)
{
    return op->_kind == IORA__OP_WORK ? submit_job(loop, job_of(op)) : submit_file(loop, op);
}

int
iora__lane_cancel(iora_loop *loop, struct iora__op *op)
{
    return op->_kind == IORA__OP_WORK ? cancel_job(loop, job_of(op)) : cancel_file(loop, op);
}
