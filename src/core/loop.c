/* core/loop.c -- the event loop.
 *
 * A *turn* is: poll, take mail, fire timers, drain.
 *
 *   poll     ask the backend, which delivers what has finished. If something is ready the poll does
 *            not wait, and if moreover no op is pending and no mail has come it is left out.
 *   mail     callbacks that other threads sent (remote.c)
 *   timers   those that are due make their owners ready
 *   drain    run what is ready, first in first out, until nothing is or the *slice* is used up. A
 *            task that suspends switches straight to the next ready task (task/sched.c) and does not
 *            come back here; it counts the slice down itself.
 *
 * Invariants:
 * (1) With work always ready the loop still polls once per slice: 256 resumptions of tasks, or 61
 *     callbacks, or callbacks that took 50 us together.
 * (2) Callbacks run here, on the loop's own stack, with no current task.
 * (3) A thread runs at most one loop at a time; `iora__running` says which. run_once() of another
 *     loop from within a callback is refused, since the outer one's ready queue would stand still.
 * (4) Everything hangs from the loop. The exceptions are that thread-local, the list of blocks in
 *     task/block.c, the handler in task/overflow.c, and the table of signals in os/signals.c.
 *
 * Seeded order (sim): the slice is kept below zero, so that no task switches straight to another, and drain
 * picks a random one of the first 16 that are ready.
 *
 * Late completion: an op that finishes on the spot is put on `late` instead, and delivered at the
 * next poll, as a completion queue would. The code above must bear both; tests run it in both.
 *
 * Fork: a page that the kernel zeroes in children (MADV_WIPEONFORK, Linux 4.14) costs one load per
 * turn and op to see that we are in a child; elsewhere getpid() is asked. What the backend holds in
 * the kernel is shared with the parent: a child cancels its ops without touching it.
 */
#include "core/lane.h"

#include "sys/alloc.h"
#include "sys/random.h"
#include "sys/seam.h"
#include "sys/sys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__thread iora_loop *iora__running __attribute__((tls_model("initial-exec")));

enum {
    SHUFFLE_AMONG = 16,
    STACK_SIZE_DEFAULT = 256 * 1024,
    STACK_SIZE_MIN = 16 * 1024,
    STACK_SIZE_MAX = 1 << 30
};

/* ---- hooks -------------------------------------------------------------------------------------- */

static void
log_to_stderr(void *arg, const char *text)
{
    (void)arg;
    fprintf(stderr, "iora: %s\n", text);
}

static void
error_to_stderr(void *arg, int code, const char *text)
{
    (void)arg;
    (void)code;
    fprintf(stderr, "iora: %s\n", text);
}

void
iora_loop_set_hooks(iora_loop *loop, iora_error_hook *on_error, iora_log_hook *on_log, void *arg)
{
    loop->on_error = on_error != NULL ? on_error : error_to_stderr;
    loop->on_log = on_log != NULL ? on_log : log_to_stderr;
    loop->hook_arg = arg;
}

void
iora__loop_log(iora_loop *loop, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    loop->on_log(loop->hook_arg, text);
}

void
iora__loop_report_error(iora_loop *loop, int code, const char *text)
{
    loop->on_error(loop->hook_arg, code, text);
}

/* ---- making and freeing --------------------------------------------------------------------------- */

static int
check_options(const iora_loop_options *options)
{
    if (options->size != sizeof *options)
        return -EINVAL;
    if (options->backend != IORA_BACKEND_EPOLL && options->backend != IORA_BACKEND_SIM)
        return -EINVAL;
    if (options->seed != 0 && options->backend != IORA_BACKEND_SIM)
        return -EINVAL;
    if (options->stack_size != 0 && options->stack_size < STACK_SIZE_MIN)
        return -EINVAL;
    if (options->stack_size > STACK_SIZE_MAX)
        return -EINVAL;
    return 0;
}

static bool
environment_says_debug(void)
{
    const char *const value = secure_getenv("IORA_DEBUG"); /* not for who runs with rights of others */

    return value != NULL && value[0] != '\0' && strcmp(value, "0") != 0;
}

static void
take_options(iora_loop *loop, const iora_loop_options *options)
{
    loop->options = *options;
    if (loop->options.stack_size == 0)
        loop->options.stack_size = STACK_SIZE_DEFAULT;
    loop->debug = options->debug || environment_says_debug();
    loop->complete_late = options->complete_late;
    loop->shuffled = options->seed != 0;
    loop->random = options->seed;
    iora_loop_set_hooks(loop, options->on_error, options->on_log, options->hook_arg);
}

static int
make_fork_canary(iora_loop *loop)
{
    void *page;
    int rc = iora__sys_reserve(iora__sys_page_size(), &page);

    if (rc < 0)
        return rc;
    if (iora__sys_wipe_on_fork(page, iora__sys_page_size()) < 0)
        loop->pid = iora__sys_pid();
    loop->fork_canary = page;
    loop->fork_canary[0] = 1;
    return 0;
}

int
iora_loop_new(const iora_loop_options *options, iora_loop **out)
{
    static const iora_loop_options defaults = IORA_LOOP_OPTIONS_INIT;
    iora_loop *loop;
    int rc;

    if (options == NULL)
        options = &defaults;
    if (out == NULL || check_options(options) < 0)
        return -EINVAL;
    if ((loop = iora__zalloc(sizeof *loop)) == NULL)
        return -ENOMEM;
    take_options(loop, options);
    iora__list_init(&loop->ready._link);
    iora__list_init(&loop->late);
    iora__list_init(&loop->sides);
    iora__list_init(&loop->listeners);
    if ((rc = make_fork_canary(loop)) < 0)
        goto fail_loop;
    loop->backend =
        options->backend == IORA_BACKEND_SIM ? &iora__backend_sim : &iora__backend_epoll;
    if ((rc = loop->backend->open(&loop->backend_state, options->seed)) < 0)
        goto fail_canary;
    iora__timers_init(&loop->timers, iora__loop_now_ns(loop));
    *out = loop;
    return 0;

fail_canary:
    iora__sys_unmap(loop->fork_canary, iora__sys_page_size());
fail_loop:
    iora__free(loop);
    return rc;
}

int
iora_loop_free(iora_loop *loop)
{
    if (loop == NULL)
        return 0;
    if (loop->running)
        return -EBUSY;
    loop->running = true; /* what ends in it can neither run nor free it */
    iora__watchers_stop(loop);
    iora__handles_drop(loop);
    if (loop->sched != NULL)
        loop->sched_free(loop->sched);
    if (loop->io != NULL)
        loop->io_free(loop->io);
    iora__watchers_free(loop);
    iora__handles_drop(loop); /* those that the tasks asked for while they ended */
    iora__lane_free(loop);
    iora__listeners_close(loop);
    iora__mailbox_shut(loop);
    loop->backend->close(loop->backend_state);
    iora__sys_unmap(loop->fork_canary, iora__sys_page_size());
    iora__free(loop);
    return 0;
}

/* ---- who may ---------------------------------------------------------------------------------------- */

bool
iora__loop_is_forked(const iora_loop *loop)
{
    return loop->fork_canary[0] == 0 || (loop->pid != 0 && loop->pid != iora__sys_pid());
}

bool
iora__thread_is_busy(void)
{
    return iora__running != NULL && !iora__loop_is_forked(iora__running);
}

int
iora__loop_check(iora_loop *loop, const char *what)
{
    if (!loop->debug || !loop->thread_known || pthread_equal(loop->thread, pthread_self()))
        return 0;
    iora__loop_log(loop,
                   "%s was called from another thread than the loop's; use an iora_remote there",
                   what);
    return IORA_E_WRONG_THREAD;
}

int
iora__loop_enter(iora_loop *loop)
{
    int rc;

    if (iora__loop_is_forked(loop))
        return IORA_E_FORKED;
    if ((rc = iora__loop_check(loop, "running the loop")) < 0)
        return rc;
    if (loop->running || iora__thread_is_busy())
        return -EBUSY;
    loop->running = true;
    loop->thread = pthread_self();
    loop->thread_known = true;
    iora__running = loop;
    iora__mailbox_note_thread(loop);
    return 0;
}

void
iora__loop_leave(iora_loop *loop)
{
    iora__mailbox_expect_wake(loop, true);
    if (iora__mailbox_has_mail(loop))
        iora__mailbox_wake(loop); /* for who watches the loop's descriptor */
    loop->running = false;
    iora__running = NULL;
}

/* ---- operations --------------------------------------------------------------------------------------- */

/* Hold back a completion until the next poll. */
static int
complete_late(iora_loop *loop, struct iora__op *op)
{
    op->_state = IORA__OP_LATE;
    iora__list_push_tail(&loop->late, &op->_link);
    return IORA__OP_PENDING;
}

int
iora__op_submit(iora_loop *loop, struct iora__op *op)
{
    int rc;

    if (iora__loop_is_forked(loop))
        return IORA_E_FORKED;
    rc = loop->backend->submit(loop->backend_state, op);
    if (rc == -EPERM && iora__lane_takes(op))
        return iora__lane_submit(loop, op);
    return rc == IORA__OP_DONE && loop->complete_late ? complete_late(loop, op) : rc;
}

/* In a forked child, end an op without a word to the kernel, or to threads that are not there. */
static int
forget(struct iora__op *op)
{
    if (op->_state == IORA__OP_IN_THREAD)
        iora__lane_forget(op);
    else
        iora__list_discard(&op->_link);
    op->_state = IORA__OP_IDLE;
    op->_res = -ECANCELED;
    return IORA__OP_DONE;
}

int
iora__op_cancel(iora_loop *loop, struct iora__op *op)
{
    if (iora__loop_is_forked(loop))
        return forget(op);
    if (op->_state == IORA__OP_LATE)
        return IORA__OP_PENDING;

    const int rc = op->_state == IORA__OP_IN_THREAD
                       ? iora__lane_cancel(loop, op)
                       : loop->backend->cancel(loop->backend_state, op);
    return rc == IORA__OP_DONE && loop->complete_late ? complete_late(loop, op) : rc;
}

static void
deliver_late(iora_loop *loop)
{
    struct iora__link late, *link;

    iora__list_take_all(&loop->late, &late);
    while ((link = iora__list_pop(&late)) != NULL) {
        struct iora__op *const op = iora__container_of(link, struct iora__op, _link);

        op->_state = IORA__OP_IDLE;
        op->_done(op);
    }
}

/* ---- the turn ------------------------------------------------------------------------------------------ */

static bool
is_ready(const iora_loop *loop)
{
    if (!iora__list_is_empty(&loop->ready._link) || !iora__list_is_empty(&loop->late))
        return true;
    return loop->guest != NULL && loop->guest->is_ready((iora_loop *)loop, loop->guest->arg);
}

/* Wait, unless mail has come: from here on senders wake us, until we look ourselves again. What came before
 * woke nobody, and the poll is left out if nothing else is awaited. */
static int
block(iora_loop *loop, int64_t until_ns)
{
    int rc = 0;

    iora__lane_spin(loop);
    iora__mailbox_spin(loop);
    iora__mailbox_expect_wake(loop, true);
    if (!iora__mailbox_has_mail(loop))
        rc = loop->backend->wait(loop->backend_state, until_ns);
    else if (loop->backend->is_awaiting(loop->backend_state))
        rc = loop->backend->wait(loop->backend_state, INT64_MIN);
    iora__mailbox_expect_wake(loop, false);
    return rc;
}

/* Even with no op pending the kernel may have something to tell: of a registration that outlived its op, which
 * would keep the loop's descriptor readable. So only a loop that is busy leaves the poll out. */
static int
poll_backend(iora_loop *loop, int64_t until_ns, bool busy)
{
    const struct iora__guest *const guest = loop->guest;
    const bool blocks = until_ns != INT64_MIN;
    int rc;

    if (busy && !loop->backend->is_awaiting(loop->backend_state) && !iora__mailbox_has_mail(loop))
        return 0;
    if (blocks && guest != NULL)
        guest->before_block(loop, guest->arg);
    rc = blocks ? block(loop, until_ns) : loop->backend->wait(loop->backend_state, until_ns);
    if (blocks && guest != NULL)
        guest->after_block(loop, guest->arg);
    return rc;
}

/* The next thing to run: the first, or with a seeded order one of the first few. */
static struct iora__ready *
next_ready(iora_loop *loop)
{
    struct iora__link *at = loop->ready._link._next;

    if (loop->pinned > 0) {
        loop->pinned--;
    } else if (loop->shuffled) {
        for (uint64_t skip = iora__loop_random(loop) % SHUFFLE_AMONG; skip > 0; skip--)
            at = at->_next != &loop->ready._link ? at->_next : loop->ready._link._next;
    }
    iora__list_remove(at);
    return iora__container_of(at, struct iora__ready, _link);
}

void
iora__loop_count_callback(iora_loop *loop)
{
    loop->slice -= IORA__COST_CALLBACK;
    if (loop->callbacks_run++ % 8 != 0)
        return;

    const int64_t now_ns = iora__loop_now_ns(loop);
    if (loop->callbacks_began_ns == 0)
        loop->callbacks_began_ns = now_ns;
    else if (now_ns - loop->callbacks_began_ns > IORA__CALLBACK_TIME_NS)
        loop->slice = 0;
}

void
iora__loop_note_duration(iora_loop *loop, int64_t began_ns, const char *what, const void *at)
{
    const int64_t took_ns = iora__loop_now_ns(loop) - began_ns;

    if (took_ns > IORA__SLOW_NS)
        iora__loop_log(loop, "%s (%p) ran for %.3f s without giving way", what, at,
                       (double)took_ns / 1e9);
}

/* With a seeded order, and in debug mode to time each, every task comes back to the loop: the slice stays
 * below zero, and what runs is counted here. Callbacks that have taken too long raise it to zero. */
static void
drain_one_by_one(iora_loop *loop)
{
    int32_t left = IORA__SLICE;

    loop->slice = INT32_MIN / 2;
    while (left > 0 && loop->slice < 0 && !iora__list_is_empty(&loop->ready._link)) {
        const unsigned callbacks_run = loop->callbacks_run;
        struct iora__ready *const ready = next_ready(loop);

        ready->_run(ready);
        left -= loop->callbacks_run != callbacks_run ? IORA__COST_CALLBACK : IORA__COST_RESUMPTION;
    }
}

void
iora__loop_begin_slice(iora_loop *loop)
{
    loop->callbacks_began_ns = 0;
    loop->callbacks_run = 0;
    loop->slice = IORA__SLICE;
}

static void
drain(iora_loop *loop)
{
    iora__loop_begin_slice(loop);
    if (loop->shuffled || loop->debug) {
        drain_one_by_one(loop);
        return;
    }
    while (!iora__list_is_empty(&loop->ready._link) && loop->slice > 0) {
        struct iora__ready *const ready = next_ready(loop);

        ready->_run(ready);
    }
}

int
iora__loop_turn(iora_loop *loop, int64_t until_ns)
{
    bool busy;
    int rc;

    iora__seam_moment(IORA__MOMENT_TURN, NULL);
    if (iora__loop_is_forked(loop))
        return IORA_E_FORKED;
    if ((busy = is_ready(loop))) {
        until_ns = INT64_MIN;
    } else {
        const int64_t first_ns = iora__timers_next(&loop->timers);

        until_ns = first_ns < until_ns ? first_ns : until_ns;
    }
    rc = poll_backend(loop, until_ns, busy); /* if it fails, what is due and ready still goes on */
    if (!iora__list_is_empty(&loop->late))
        deliver_late(loop);
    if (loop->mailbox != NULL)
        iora__mailbox_take(loop);
    loop->turn_ns = iora__loop_now_ns(loop);
    if (loop->timers.count > 0)
        iora__timers_expire(&loop->timers, loop->turn_ns);
    if (loop->guest != NULL)
        loop->guest->drain(loop, loop->guest->arg);
    else
        drain(loop);
    return rc;
}

bool
iora__loop_is_dead(const iora_loop *loop)
{
    return !is_ready(loop) && loop->timers.count == 0 &&
           !loop->backend->is_awaiting(loop->backend_state) && iora__lane_pending(loop) == 0 &&
           iora__mailbox_remotes(loop) == 0 &&
           !iora__mailbox_has_mail(loop); /* asked last: who closes a remote has sent before */
}

/* ---- running ------------------------------------------------------------------------------------------- */

int
iora_loop_run(iora_loop *loop)
{
    int rc = iora__loop_enter(loop);

    if (rc < 0)
        return rc;
    do {
        rc = iora__loop_turn(loop, loop->stopping ? INT64_MIN : INT64_MAX);
    } while (rc >= 0 && !loop->stopping);
    loop->stopping = false;
    iora__loop_leave(loop);
    return rc;
}

int
iora_loop_run_once(iora_loop *loop, iora_duration max_wait)
{
    int rc = iora__loop_enter(loop);

    if (rc < 0)
        return rc;
    rc = iora__loop_turn(loop,
                         max_wait._ns <= 0 ? INT64_MIN : iora__loop_deadline(loop, max_wait));
    iora__loop_leave(loop);
    return rc < 0 ? rc : is_ready(loop);
}

void
iora_loop_stop(iora_loop *loop)
{
    loop->stopping = true;
}

iora_loop *
iora_loop_running(void)
{
    return iora__running;
}

iora_instant
iora_loop_now(iora_loop *loop)
{
    return (iora_instant){iora__loop_now_ns(loop)};
}

int64_t
iora__loop_deadline(iora_loop *loop, iora_duration d)
{
    return d._ns == INT64_MAX ? INT64_MAX
                              : iora__add_saturating(iora__loop_now_ns(loop), d._ns);
}

int
iora_loop_fd(iora_loop *loop)
{
    return loop->backend->descriptor(loop->backend_state);
}

iora_duration
iora_loop_timeout(iora_loop *loop)
{
    const int64_t timer_ns = iora__timers_next(&loop->timers);
    const int64_t settled_ns = loop->backend->settled_until(loop->backend_state);
    const int64_t first_ns = timer_ns < settled_ns ? timer_ns : settled_ns;

    if (is_ready(loop) || iora__mailbox_has_mail(loop) || settled_ns == INT64_MIN)
        return iora_ns(0);
    if (first_ns == INT64_MAX)
        return IORA_FOREVER;

    const int64_t left_ns = first_ns - iora__loop_now_ns(loop);
    return iora_ns(left_ns > 0 ? left_ns : 0);
}

uint64_t
iora__loop_random(iora_loop *loop)
{
    const uint64_t drawn = iora__random_next(&loop->random);

    iora__seam_step(IORA__STEP_ORDER, drawn);
    return drawn;
}
