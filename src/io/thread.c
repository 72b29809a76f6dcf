/* io/thread.c -- functions in threads, for tasks; and tasks for other threads.
 *
 * A *call* is a job (core/lane.h) and the task that waits for it. It lies in the waiting frame: rule 9, the task
 * goes on only when the thread has let go. A cancel takes the job back or, once it has begun, waits as if there
 * had been none; the task's next call sees it.
 *
 * An *owned* call works on a copy, so that it may be left behind. It lies on the heap, the copy behind it, and
 * belongs to the task, or once that has given it up to the thread that runs it. Of one that was not begun nothing is
 * copied back: others may have written to the data since. The thread notes that it has begun, since -ECANCELED and
 * -EAGAIN may also be what the function says.
 *
 *            submitted ---> runs ---> returned: copied back, freed by the task
 *                |            |
 *                | cancel     | cancel: the task goes on at once
 *                v            v
 *              freed       given up ---> returned: drop(copy), freed by the thread
 *
 * iora_run_threadsafe(). The thread *delivers* a call to the loop: that starts a task of the run, which has f run as
 * its child, so that all f has started has ended before the thread goes on. The thread sleeps on a word of the call,
 * which lies in its frame; whoever sets it touches the call no more.
 */
#include "sys/thread.h"
#include "core/lane.h"
#include "sys/alloc.h"
#include "task/task.h"

#include <string.h>

struct call {
    struct iora__job job;
    struct iora__task *task;
};

struct owned {
    struct call call;
    iora_thread_fn *fn;
    void (*drop)(void *copy);
    bool begun;
    char copy[] __attribute__((aligned(16)));
};

/* ---- calls ------------------------------------------------------------------------------------------ */

static void
returned(struct iora__op *op)
{
    const struct call *const call = iora__container_of(op, struct call, job.op);

    iora__waiter_grant(&call->task->wait, op->_res);
}

static void
make_call(struct call *call, iora_pool *pool, iora_thread_fn *fn, void *arg,
          void (*stop)(void *arg))
{
    *call = (struct call){
        .job = {.op = {._done = returned, ._kind = IORA__OP_WORK},
                .fn = fn,
                .stop = stop,
                .arg = arg,
                .pool = pool},
        .task = iora__self(),
    };
}

static const struct iora__wait_class call_ends = {.what = "thread (cancelled)"};

/* Cancel the call that the waiter waits for; true if that has ended the wait. */
static bool
cancel_call(struct iora__waiter *waiter, struct call *call)
{
    if (iora__op_cancel(waiter->_task->loop, &call->job.op) != IORA__OP_DONE)
        return false;
    iora__waiter_grant(waiter, call->job.op._res);
    return true;
}

static void
cancel_in_frame(struct iora__waiter *waiter)
{
    if (!cancel_call(waiter, waiter->_slot))
        waiter->_class = &call_ends;
}

static const struct iora__wait_class in_thread = {.what = "thread", .cancel = cancel_in_frame};

int
iora_to_thread_in(iora_pool *pool, iora_thread_fn *fn, void *arg, void (*stop)(void *arg))
{
    struct iora__task *const task = iora__self();
    struct call call;
    int rc;

    if ((rc = iora__enter(task)) < 0)
        return rc;
    make_call(&call, pool, fn, arg, stop);
    rc = iora__op_submit(task->loop, &call.job.op);
    if (rc != IORA__OP_PENDING)
        return rc < 0 ? rc : call.job.op._res;
    (void)iora__wait_begin(task, &in_thread, NULL, &call);
    return iora__park(task);
}

int
iora_to_thread(iora_thread_fn *fn, void *arg)
{
    return iora_to_thread_in(NULL, fn, arg, NULL);
}

/* ---- owned calls ---------------------------------------------------------------------------------------- */

/* In the thread. */
static int
run_owned(void *arg)
{
    struct owned *const owned = arg;

    owned->begun = true;
    return owned->fn(owned->copy);
}

/* In the thread: the task has gone. */
static void
left_behind(struct iora__op *op)
{
    struct owned *const owned = iora__container_of(op, struct owned, call.job.op);

    if (owned->drop != NULL)
        owned->drop(owned->copy);
    iora__free(owned);
}

/* The slot leads to the frame's pointer, which is NULL once the call is no longer the task's. */
static void
cancel_owned(struct iora__waiter *waiter)
{
    struct owned **const owned = waiter->_slot;

    if (cancel_call(waiter, &(*owned)->call))
        return;
    if (iora__lane_give_up(waiter->_task->loop, &(*owned)->call.job, left_behind)) {
        *owned = NULL;
        iora__waiter_grant(waiter, -ECANCELED);
    } else {
        waiter->_class = &call_ends;
    }
}

static const struct iora__wait_class in_thread_owned = {.what = "thread", .cancel = cancel_owned};

static int
wait_for_owned(struct iora__task *task, struct owned **owned)
{
    const int rc = iora__op_submit(task->loop, &(*owned)->call.job.op);

    if (rc != IORA__OP_PENDING)
        return rc < 0 ? rc : (*owned)->call.job.op._res;
    (void)iora__wait_begin(task, &in_thread_owned, NULL, owned);
    return iora__park(task);
}

int
iora_to_thread_owned(iora_pool *pool, iora_thread_fn *fn, void *data, size_t size,
                     void (*drop)(void *copy))
{
    struct iora__task *const task = iora__self();
    struct owned *owned;
    int rc;

    if ((rc = iora__enter(task)) < 0)
        return rc;
    if (size > PTRDIFF_MAX - sizeof *owned || (owned = iora__alloc(sizeof *owned + size)) == NULL)
        return -ENOMEM;
    make_call(&owned->call, pool, run_owned, owned, NULL);
    owned->fn = fn;
    owned->begun = false;
    owned->drop = drop;
    if (size > 0)
        memcpy(owned->copy, data, size);
    rc = wait_for_owned(task, &owned);
    if (owned == NULL)
        return rc;
    if (owned->begun && size > 0)
        memcpy(data, owned->copy, size);
    iora__free(owned);
    return rc;
}

/* ---- run_threadsafe ------------------------------------------------------------------------------------------ */

struct sent {
    iora_handle mail;
    int (*enter)(void *);
    void *arguments;
    const char *name;
    int rc;
    bool returned; /* f has, and rc is what */
    atomic_int word;
};

/* Its word: the thread spins, or sleeps, or may go on. */
enum { SPINS, SLEEPS, IS_OVER };

static void
end_sent(struct sent *sent, int rc)
{
    sent->rc = rc == -ECANCELED ? IORA_E_TASK_CANCELED : rc;
    if (atomic_exchange(&sent->word, IS_OVER) == SLEEPS)
        iora__sys_futex_wake(&sent->word);
}

static bool
is_over(void *arg)
{
    struct sent *const sent = arg;

    return atomic_load_explicit(&sent->word, memory_order_acquire) == IS_OVER;
}

/* The thread waits for its answer. */
static void
await_sent(iora_remote *remote, struct sent *sent)
{
    int expected = SPINS;

    if (iora__remote_spin(remote, is_over, sent) ||
        !atomic_compare_exchange_strong(&sent->word, &expected, SLEEPS))
        return;
    while (!is_over(sent))
        (void)iora__sys_futex_wait(&sent->word, SLEEPS, -1);
}

static int
run_sent(void *arg)
{
    struct sent *const sent = arg;

    sent->rc = sent->enter(sent->arguments);
    sent->returned = true;
    return sent->rc;
}

/* If it is cancelled itself, so was f: what that returned all the same is the answer. */
static int
serve(void *arg)
{
    struct sent *const sent = *(struct sent **)arg;
    const int rc = iora_await(iora_go_fn(run_sent, sent, sent->name));

    end_sent(sent, sent->returned ? sent->rc : rc);
    return 0;
}

/* From within the poll; or, without a loop, as the loop's mailbox is shut. */
static void
accept_sent(void *arg)
{
    struct sent *sent = arg;
    iora_task task;

    if (sent->mail._loop == NULL) {
        end_sent(sent, IORA_E_CLOSED);
        return;
    }
    task = iora__task_start(IORA__GO_DETACHED, NULL, 0, "iora_run_threadsafe",
                            iora__task_make(serve, "iora_run_threadsafe", &sent, sizeof sent));
    if (!iora_task_is_valid(task))
        end_sent(sent, iora_task_error(task));
}

int
iora__run_threadsafe(iora_remote *remote, int (*enter)(void *), void *arguments, const char *name)
{
    struct sent sent = {.enter = enter, .arguments = arguments, .name = name};
    int rc;

    if (iora__remote_is_ours(remote))
        return -EDEADLK;
    if ((rc = iora__remote_deliver(remote, &sent.mail, accept_sent, &sent)) < 0)
        return rc;
    await_sent(remote, &sent);
    return sent.rc;
}
