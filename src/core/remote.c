/* core/remote.c -- calls that other threads send to a loop.
 *
 * A loop's *mailbox* is a stack of handles that senders push with one compare-and-swap and the loop
 * takes whole, turning it round so that each sender's calls run in the order they were sent. The
 * sender that finds the stack empty wakes the loop: one write to an eventfd for a whole batch. What was
 * *collected* from the stack and has not run yet waits in order beside it, for the loop alone.
 *
 * There is a second stack like it for ops that threads return (core/lane.c), each of which was expected.
 *
 * The mailbox lives for as long as anybody can reach it: the loop, each open remote and each thread that runs
 * a job hold a reference, and the last one frees it, eventfd included.
 * A loop that goes leaves the mark CLOSED in place of the stack; senders find it and say so. Mail that is to be
 * *delivered* (iora__remote_deliver) is so even then, since its sender waits for an answer.
 *
 *     senders:  head = h;  do h->next = head; while (!cas(&stack, head, h));
 *               if (head == 0 && wanted) wake
 *     loop:     h = exchange(&stack, 0)      (shutting: exchange(&stack, CLOSED))
 *     to wait:  wanted = 1;  if (stack == 0) wait;  wanted = 0
 *
 * Invariants:
 * (1) A push that found the stack empty is followed by a wake, or by a look at the stack. The backend sees each
 *     write to the eventfd as an edge, and its counter is the backend's, to drain or to leave, and no call waits
 *     for a later one's wake.
 * (2) Nobody touches a handle between its push and its run but the loop.
 * (3) Pushing takes no lock and is async-signal-safe.
 *
 * Rejected: a mutex (a signal handler could not post); one eventfd per remote (a descriptor each).
 */
#include "core/lane.h"

#include "os/spin.h"
#include "sys/alloc.h"
#include "sys/sys.h"
#include "sys/thread.h"

#include <stdatomic.h>

struct iora__mailbox {
    _Atomic(iora_handle *) stack;
    _Atomic(struct iora__op *) returned; /* linked by _link._prev */
    atomic_bool wake_wanted;             /* the loop waits, or may before it looks again */
    atomic_uintptr_t thread;             /* that last ran the loop; 0: none has */
    atomic_size_t references;
    atomic_size_t remotes;
    int wake_fd;
    int pid; /* a forked child has the same wake_fd */
    int64_t spin_ns;    /* the loop's, before it sleeps; 0: never, there is one processor only */
    bool has_delivered; /* since it last spun */
    iora_handle *collected;
};

struct iora_remote {
    struct iora__mailbox *mailbox;
    bool counts; /* as something that can wake the loop */
    _Atomic(int64_t) spin_ns; /* of threads that wait for an answer; as the mailbox's */
};

static iora_handle closed_mark;

static iora_handle *
closed(void)
{
    return &closed_mark;
}

/* What a sent handle asks for, in _delay_ns's place: run soon, run at once, or be a timer. */
enum { RUN_SOON = -1, DELIVER = -2 };

/* ---- the mailbox ------------------------------------------------------------------------------ */

int
iora__mailbox_make(iora_loop *loop)
{
    struct iora__mailbox *mailbox;
    int rc;

    if (loop->mailbox != NULL)
        return 0;
    if ((mailbox = iora__zalloc(sizeof *mailbox)) == NULL)
        return -ENOMEM;
    if ((rc = iora__sys_eventfd()) < 0)
        goto fail_mailbox;
    mailbox->wake_fd = rc;
    mailbox->pid = iora__sys_pid();
    mailbox->spin_ns = iora__sys_processors() > 1 ? IORA__SPIN_MAX_NS : 0;
    atomic_init(&mailbox->references, 1);
    atomic_init(&mailbox->wake_wanted, true);
    if ((rc = loop->backend->attach_wake(loop->backend_state, mailbox->wake_fd)) < 0)
        goto fail_wake_fd;
    loop->mailbox = mailbox;
    if (loop->thread_known)
        iora__mailbox_note_thread(loop);
    return 0;

fail_wake_fd:
    iora__sys_close(mailbox->wake_fd);
fail_mailbox:
    iora__free(mailbox);
    return rc;
}

void
iora__mailbox_release(struct iora__mailbox *mailbox)
{
    if (atomic_fetch_sub(&mailbox->references, 1) > 1)
        return;
    iora__sys_close(mailbox->wake_fd);
    iora__free(mailbox);
}

struct iora__mailbox *
iora__mailbox_hold(iora_loop *loop)
{
    atomic_fetch_add(&loop->mailbox->references, 1);
    return loop->mailbox;
}

void
iora__mailbox_note_thread(iora_loop *loop)
{
    if (loop->mailbox != NULL)
        atomic_store_explicit(&loop->mailbox->thread, (uintptr_t)loop->thread,
                              memory_order_relaxed);
}

void
iora__mailbox_expect_wake(iora_loop *loop, bool expected)
{
    /* That they need not may be seen late: a wake too many. That they must is to be seen before we look. */
    if (loop->mailbox != NULL)
        atomic_store_explicit(&loop->mailbox->wake_wanted, expected,
                              expected ? memory_order_seq_cst : memory_order_relaxed);
}

void
iora__mailbox_wake(iora_loop *loop)
{
    iora__mailbox_signal(loop->mailbox);
}

void
iora__mailbox_signal(struct iora__mailbox *mailbox)
{
    (void)iora__sys_eventfd_signal(mailbox->wake_fd);
}

/* After a push that found its stack empty. */
static void
wake_if_wanted(struct iora__mailbox *mailbox)
{
    if (atomic_load(&mailbox->wake_wanted))
        (void)iora__sys_eventfd_signal(mailbox->wake_fd);
}

/* The stack turned round: first sent, first run. */
static iora_handle *
in_order(iora_handle *stack)
{
    iora_handle *first = NULL;

    while (stack != NULL) {
        iora_handle *const next = stack->_next_remote;

        stack->_next_remote = first;
        first = stack;
        stack = next;
    }
    return first;
}

/* Take the stack, behind what was collected before; what is left in its place is nothing, or the mark. */
static void
collect(struct iora__mailbox *mailbox, iora_handle *left)
{
    iora_handle **end = &mailbox->collected;

    while (*end != NULL)
        end = &(*end)->_next_remote;
    *end = in_order(atomic_exchange(&mailbox->stack, left));
}

static iora_handle *
next_collected(struct iora__mailbox *mailbox)
{
    iora_handle *const first = mailbox->collected;

    if (first != NULL)
        mailbox->collected = first->_next_remote;
    return first;
}

static void
accept_call(iora_loop *loop, iora_handle *handle)
{
    if (handle->_delay_ns == DELIVER) {
        if (loop != NULL)
            loop->mailbox->has_delivered = true;
        handle->_loop = loop;
        handle->_fn(handle->_arg);
    } else if (handle->_delay_ns == RUN_SOON) {
        (void)iora_call_soon(loop, handle, handle->_fn, handle->_arg);
    } else {
        iora_timer *const timer = iora__container_of(handle, iora_timer, _handle);
        const int64_t when_ns = timer->_timer._deadline_ns;

        (void)iora_call_at(loop, timer,
                           handle->_delay_ns > 0
                               ? (iora_instant){iora__loop_deadline(
                                     loop, iora_ns(handle->_delay_ns))}
                               : (iora_instant){when_ns},
                           handle->_fn, handle->_arg);
    }
}

/* The ops that threads have returned, in the order they did. */
static void
take_returned(iora_loop *loop)
{
    struct iora__op *op = atomic_exchange(&loop->mailbox->returned, NULL);
    struct iora__link *first = NULL;

    while (op != NULL) {
        struct iora__link *const next = op->_link._prev;

        op->_link._prev = first;
        first = &op->_link;
        op = next != NULL ? iora__container_of(next, struct iora__op, _link) : NULL;
    }
    while (first != NULL) {
        struct iora__link *const next = first->_prev;

        iora__lane_finish(loop, iora__container_of(first, struct iora__op, _link));
        first = next;
    }
}

void
iora__mailbox_take(iora_loop *loop)
{
    struct iora__mailbox *const mailbox = loop->mailbox;
    iora_handle *handle;

    if (!iora__mailbox_has_mail(loop))
        return;
    take_returned(loop);
    collect(mailbox, NULL);
    while ((handle = next_collected(mailbox)) != NULL)
        accept_call(loop, handle);
}

void
iora__mailbox_take_back(iora_loop *loop, const iora_handle *handle)
{
    iora_handle **at = &loop->mailbox->collected;

    collect(loop->mailbox, NULL);
    while (*at != NULL && *at != handle)
        at = &(*at)->_next_remote;
    if (*at != NULL)
        *at = handle->_next_remote;
}

bool
iora__mailbox_has_mail(const iora_loop *loop)
{
    const struct iora__mailbox *const mailbox = loop->mailbox;

    return mailbox != NULL &&
           (atomic_load(&mailbox->stack) != NULL || atomic_load(&mailbox->returned) != NULL ||
            mailbox->collected != NULL);
}

size_t
iora__mailbox_remotes(const iora_loop *loop)
{
    return loop->mailbox == NULL ? 0 : atomic_load(&loop->mailbox->remotes);
}

void
iora__mailbox_shut(iora_loop *loop)
{
    struct iora__mailbox *const mailbox = loop->mailbox;
    iora_handle *handle;

    if (mailbox == NULL)
        return;
    loop->mailbox = NULL;
    atomic_store_explicit(&mailbox->thread, 0, memory_order_relaxed);
    collect(mailbox, closed());
    if (iora__loop_is_forked(loop))
        mailbox->collected = NULL; /* the senders are not here */
    while ((handle = next_collected(mailbox)) != NULL) {
        if (handle->_delay_ns == DELIVER)
            accept_call(NULL, handle);
    }
    iora__mailbox_release(mailbox);
}

void
iora__mailbox_return(struct iora__mailbox *mailbox, struct iora__op *op)
{
    struct iora__op *head = atomic_load(&mailbox->returned);

    do {
        op->_link._prev = head != NULL ? &head->_link : NULL;
    } while (!atomic_compare_exchange_weak(&mailbox->returned, &head, op));
    if (head == NULL)
        wake_if_wanted(mailbox);
}

/* ---- remotes ------------------------------------------------------------------------------------ */

int
iora__remote_open(iora_loop *loop, bool counts, iora_remote **out)
{
    iora_remote *remote;
    int rc;

    if (iora__loop_is_forked(loop))
        return IORA_E_FORKED;
    if ((rc = iora__mailbox_make(loop)) < 0)
        return rc;
    if ((remote = iora__alloc(sizeof *remote)) == NULL)
        return -ENOMEM;
    atomic_init(&remote->spin_ns, loop->mailbox->spin_ns);
    remote->mailbox = loop->mailbox;
    remote->counts = counts;
    atomic_fetch_add(&remote->mailbox->references, 1);
    atomic_fetch_add(&remote->mailbox->remotes, counts);
    *out = remote;
    return 0;
}

int
iora_remote_open(iora_loop *loop, iora_remote **out)
{
    const int rc = iora__loop_check(loop, "iora_remote_open");

    return rc < 0 ? rc : iora__remote_open(loop, true, out);
}

static int
post(iora_remote *remote, iora_handle *handle, iora_callback_fn *fn, void *arg, int64_t delay_ns)
{
    struct iora__mailbox *const mailbox = remote->mailbox;
    iora_handle *head = atomic_load(&mailbox->stack);

    handle->_fn = fn;
    handle->_arg = arg;
    handle->_delay_ns = delay_ns;
    do {
        if (head == closed())
            return IORA_E_CLOSED;
        handle->_next_remote = head;
    } while (!atomic_compare_exchange_weak(&mailbox->stack, &head, handle));
    if (head == NULL)
        wake_if_wanted(mailbox);
    return 0;
}

void
iora_remote_close(iora_remote *remote)
{
    struct iora__mailbox *mailbox;

    if (remote == NULL)
        return;
    mailbox = remote->mailbox;
    /* A loop that waits for nothing but this remote must look again whether anything can come. */
    if (remote->counts && atomic_fetch_sub(&mailbox->remotes, 1) == 1 &&
        mailbox->pid == iora__sys_pid())
        (void)iora__sys_eventfd_signal(mailbox->wake_fd);
    iora__mailbox_release(mailbox);
    iora__free(remote);
}

int
iora__remote_deliver(iora_remote *remote, iora_handle *handle, iora_callback_fn *fn, void *arg)
{
    return post(remote, handle, fn, arg, DELIVER);
}

bool
iora__remote_spin(iora_remote *remote, bool (*has_come)(void *arg), void *arg)
{
    int64_t span_ns = atomic_load_explicit(&remote->spin_ns, memory_order_relaxed);
    bool came;

    if (span_ns == 0)
        return false;
    came = iora__spin(&span_ns, has_come, arg);
    atomic_store_explicit(&remote->spin_ns, span_ns, memory_order_relaxed);
    return came;
}

static bool
has_mail(void *loop)
{
    return iora__mailbox_has_mail(loop);
}

void
iora__mailbox_spin(iora_loop *loop)
{
    struct iora__mailbox *const mailbox = loop->mailbox;

    if (mailbox == NULL || !mailbox->has_delivered || mailbox->spin_ns == 0)
        return;
    mailbox->has_delivered = false;
    (void)iora__spin(&mailbox->spin_ns, has_mail, loop);
}

bool
iora__remote_is_ours(const iora_remote *remote)
{
    return atomic_load_explicit(&remote->mailbox->thread, memory_order_relaxed) ==
           (uintptr_t)pthread_self();
}

int
iora_remote_call_soon(iora_remote *remote, iora_handle *handle, iora_callback_fn *fn, void *arg)
{
    return post(remote, handle, fn, arg, RUN_SOON);
}

int
iora_remote_call_later(iora_remote *remote, iora_timer *timer, iora_duration delay,
                       iora_callback_fn *fn, void *arg)
{
    if (delay._ns > 0)
        return post(remote, &timer->_handle, fn, arg, delay._ns);
    timer->_timer._deadline_ns = INT64_MIN;
    return post(remote, &timer->_handle, fn, arg, 0);
}

int
iora_remote_call_at(iora_remote *remote, iora_timer *timer, iora_instant when,
                    iora_callback_fn *fn, void *arg)
{
    timer->_timer._deadline_ns = when._ns;
    return post(remote, &timer->_handle, fn, arg, 0);
}
