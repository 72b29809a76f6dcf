/* core/remote.c -- calls that other threads send to a loop.
 *
 * A loop's *mailbox* is a stack of handles that senders push with one compare-and-swap and the loop
 * takes whole, turning it round so that each sender's calls run in the order they were sent. The
 * sender that finds the stack empty wakes the loop: one write to an eventfd for a whole batch.
 *
 * The mailbox lives for as long as anybody can reach it: the loop and each open remote hold a
 * reference, and the last one frees it, eventfd included.
 * A loop that goes leaves the mark CLOSED in place of the stack; senders find it and say so.
 *
 *     senders:  head = h;  do h->next = head; while (!cas(&stack, head, h));  if (head == 0) wake
 *     loop:     h = exchange(&stack, 0)      (shutting: exchange(&stack, CLOSED))
 *
 * Invariants:
 * (1) A push that found the stack empty is followed by a wake. The backend sees each write to the
 *     eventfd as an edge, and its counter is the backend's, to drain or to leave, and no call waits for a later one's wake.
 * (2) Nobody touches a handle between its push and its run but the loop.
 * (3) Pushing takes no lock and is async-signal-safe.
 *
 * Rejected: a mutex (a signal handler could not post); one eventfd per remote (a descriptor each).
 */
#include "core/loop.h"

#include "sys/alloc.h"
#include "sys/sys.h"

#include <stdatomic.h>

struct iora__mailbox {
    _Atomic(iora_handle *) stack;
    atomic_size_t references;
    atomic_size_t remotes;
    int wake_fd;
    int pid; /* a forked child has the same wake_fd */
};

struct iora_remote {
    struct iora__mailbox *mailbox;
    bool counts; /* as something that can wake the loop */
};

static iora_handle closed_mark;

static iora_handle *
closed(void)
{
    return &closed_mark;
}

/* What a sent handle asks for, in _delay_ns's place: run soon, or be a timer. */
enum { RUN_SOON = -1 };

/* ---- the mailbox ------------------------------------------------------------------------------ */

static int
make_mailbox(iora_loop *loop)
{
    struct iora__mailbox *const mailbox = iora__zalloc(sizeof *mailbox);
    int rc;

    if (mailbox == NULL)
        return -ENOMEM;
    if ((rc = iora__sys_eventfd()) < 0)
        goto fail_mailbox;
    mailbox->wake_fd = rc;
    mailbox->pid = iora__sys_pid();
    atomic_init(&mailbox->references, 1);
    if ((rc = loop->backend->attach_wake(loop->backend_state, mailbox->wake_fd)) < 0)
        goto fail_wake_fd;
    loop->mailbox = mailbox;
    return 0;

fail_wake_fd:
    iora__sys_close(mailbox->wake_fd);
fail_mailbox:
    iora__free(mailbox);
    return rc;
}

static void
release_mailbox(struct iora__mailbox *mailbox)
{
    if (atomic_fetch_sub(&mailbox->references, 1) > 1)
        return;
    iora__sys_close(mailbox->wake_fd);
    iora__free(mailbox);
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

static void
accept_call(iora_loop *loop, iora_handle *handle)
{
    if (handle->_delay_ns == RUN_SOON) {
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

void
iora__mailbox_take(iora_loop *loop)
{
    struct iora__mailbox *const mailbox = loop->mailbox;
    iora_handle *handle;

    if (!iora__mailbox_has_mail(loop))
        return;
    handle = in_order(atomic_exchange(&mailbox->stack, NULL));
    while (handle != NULL) {
        iora_handle *const next = handle->_next_remote;

        accept_call(loop, handle);
        handle = next;
    }
}

bool
iora__mailbox_has_mail(const iora_loop *loop)
{
    return loop->mailbox != NULL && atomic_load(&loop->mailbox->stack) != NULL;
}

size_t
iora__mailbox_remotes(const iora_loop *loop)
{
    return loop->mailbox == NULL ? 0 : atomic_load(&loop->mailbox->remotes);
}

void
iora__mailbox_shut(iora_loop *loop)
{
    if (loop->mailbox == NULL)
        return;
    (void)atomic_exchange(&loop->mailbox->stack, closed());
    release_mailbox(loop->mailbox);
    loop->mailbox = NULL;
}

/* ---- remotes ------------------------------------------------------------------------------------ */

int
iora__remote_open(iora_loop *loop, bool counts, iora_remote **out)
{
    iora_remote *remote;
    int rc;

    if (iora__loop_is_forked(loop))
        return IORA_E_FORKED;
    if (loop->mailbox == NULL && (rc = make_mailbox(loop)) < 0)
        return rc;
    if ((remote = iora__alloc(sizeof *remote)) == NULL)
        return -ENOMEM;
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
        (void)iora__sys_eventfd_signal(mailbox->wake_fd);
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
    release_mailbox(mailbox);
    iora__free(remote);
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
