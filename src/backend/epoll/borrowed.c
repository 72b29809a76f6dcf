/* backend/epoll/borrowed.c -- descriptors that are the user's.
 *
 * He may close one, keep duplicates and have its number used again, all without telling us (set.c says what
 * follows); and nothing of it is changed, not even a flag. So an op on it is a call that never waits
 * (MSG_DONTWAIT, RWF_NOWAIT), made at once and made again when the kernel says that the descriptor is ready.
 *
 *   armed      the events the kernel watches for us now; 0: none
 *   mode       level-triggered while a multi op (a watcher) waits on the record, else one-shot: the
 *              kernel disarms the registration when it reports, and a disarmed one reports nothing,
 *              not even a hang-up, so it can stay and never spins
 *   dirty      armed is not what the ops want; put right before the next wait
 *
 * Invariants:
 * (1) Submitting an op that waits tells the kernel anew.
 * (2) The last op that leaves an armed record is removed from the kernel at once.
 *
 * EPOLLIN is all that readers ask for: the end of a stream shows as that too, while EPOLLPRI would
 * stay up, and have a level-triggered watcher spin, until somebody reads the urgent byte.
 *
 * Files that are always ready (regular files, directories, /dev/null) cannot be watched: EPERM. Terminals, and
 * pipes of old kernels, cannot be asked not to wait: EOPNOTSUPP. These are read once they are reported ready, and
 * are so still: of two readers one takes the line, and the other would wait for the next, with the whole loop. A
 * write is another thing: a blocking terminal that is ready has room for a byte, and waits until it has taken all.
 * So that is for a thread: EPERM too.
 */
#include "backend/epoll/set.h"

#include "backend/perform.h"
#include "sys/seam.h"

/* Of an op for bytes, in `_events`: what it waits for; and that only readiness will tell whether it may go. */
enum { ONLY_WHEN_READY = 4 };

/* ---- what the ops of a record want ---------------------------------------------------------------- */

static uint8_t
wanted_events(const struct record *record)
{
    uint8_t events = 0;

    for (struct iora__link *at = record->ops._next; at != &record->ops; at = at->_next)
        events |= iora__epoll_op(at)->_events & (IORA__READABLE | IORA__WRITABLE);
    return events;
}

static bool
wants_level_triggered(const struct record *record)
{
    for (struct iora__link *at = record->ops._next; at != &record->ops; at = at->_next) {
        if (iora__epoll_op(at)->_flags & IORA__OP_MULTI)
            return true;
    }
    return false;
}

uint32_t
iora__epoll_borrowed_events(const struct record *record)
{
    return (record->armed & IORA__READABLE ? EPOLLIN : 0u) |
           (record->armed & IORA__WRITABLE ? EPOLLOUT : 0u) |
           (record->level_triggered ? 0u : EPOLLONESHOT);
}

static int
arm(struct epoll *epoll, struct record *record)
{
    record->armed = wanted_events(record);
    record->level_triggered = wants_level_triggered(record);
    iora__list_discard(&record->dirty);
    return iora__epoll_tell(epoll, record);
}

static void
disarm(struct epoll *epoll, struct record *record)
{
    record->armed = 0;
    iora__epoll_forget(epoll, record);
}

/* ---- delivering ------------------------------------------------------------------------------------- */

/* Whether a read, if it can wait, will not, though the report is some time old: another op may have taken what came,
 * and so may another process. 1 or 0, or -errno. */
static int
has_something_still(const struct iora__op *op)
{
    int rc;

    if (op->_kind != IORA__OP_READ || !(op->_events & ONLY_WHEN_READY))
        return 1;
    do {
        rc = iora__sys_wait_readable(op->_fd, 0);
    } while (rc == -EINTR);
    return rc;
}

/* Make the call of an op for bytes: false if it has to wait on. */
static bool
attempt(struct iora__op *op, bool is_ready)
{
    size_t asked;
    int rc;

    if (op->_kind != IORA__OP_CONNECT && iora__seam_refuses()) {
        op->_res = -EAGAIN; /* to be armed again, and reported again: the kernel looks at the level */
        return false;
    }
    if (is_ready && (rc = has_something_still(op)) <= 0) {
        op->_res = rc < 0 ? rc : -EAGAIN;
        return rc < 0;
    }
    rc = iora__op_perform(op, is_ready && (op->_events & ONLY_WHEN_READY), &asked);
    if (rc == -EOPNOTSUPP && !(op->_events & ONLY_WHEN_READY) &&
        (op->_kind == IORA__OP_READ || op->_kind == IORA__OP_WRITE)) {
        op->_events |= ONLY_WHEN_READY;
        return false;
    }
    op->_res = rc;
    return rc != -EAGAIN && rc != -EINPROGRESS;
}

/* Move the ops that the events concern to `concerned`: what is done may add and remove any op. */
static void
pick_concerned(struct record *record, uint8_t events, struct iora__link *concerned)
{
    struct iora__link rest, *link;

    iora__list_init(concerned);
    iora__list_take_all(&record->ops, &rest);
    while ((link = iora__list_pop(&rest)) != NULL)
        iora__list_push_tail(iora__epoll_op(link)->_events & events ? concerned : &record->ops,
                             link);
}

static void
deliver_one(struct epoll *epoll, struct record *record, struct iora__op *op, uint8_t events)
{
    if (op->_kind == IORA__OP_POLL && (op->_flags & IORA__OP_MULTI)) {
        iora__list_push_tail(&record->ops, &op->_link);
        iora__epoll_more(op, op->_events & events);
    } else if (op->_kind == IORA__OP_POLL) {
        iora__epoll_finish(epoll, op, op->_events & events);
    } else if (op->_kind == IORA__OP_CONNECT) {
        iora__epoll_finish(epoll, op, iora__op_connected(op));
    } else if (attempt(op, true)) {
        iora__epoll_finish(epoll, op, op->_res);
    } else {
        iora__list_push_tail(&record->ops, &op->_link);
    }
}

static uint8_t
events_of(uint32_t kernel)
{
    uint8_t events = 0;

    if (kernel & (EPOLLIN | EPOLLHUP | EPOLLERR))
        events |= IORA__READABLE;
    if (kernel & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        events |= IORA__WRITABLE;
    return events;
}

void
iora__epoll_borrowed_event(struct epoll *epoll, struct record *record, uint32_t kernel)
{
    const uint8_t events = events_of(kernel);
    struct iora__link concerned, *link;

    pick_concerned(record, events, &concerned);
    while ((link = iora__list_pop(&concerned)) != NULL)
        deliver_one(epoll, record, iora__epoll_op(link), events);
    if (record->kind != IORA__FD_BORROWED)
        return; /* what was done has closed it, and the number is ours by now */
    if (iora__list_is_empty(&record->ops)) {
        if (record->level_triggered)
            disarm(epoll, record);
    } else if (!record->level_triggered || wanted_events(record) != record->armed) {
        iora__epoll_mark_dirty(epoll, record);
    }
}

static void
fail_all(struct epoll *epoll, struct record *record, int error)
{
    struct iora__link failed, *link;

    iora__list_take_all(&record->ops, &failed);
    while ((link = iora__list_pop(&failed)) != NULL)
        iora__epoll_finish(epoll, iora__epoll_op(link), error);
}

void
iora__epoll_borrowed_arm(struct epoll *epoll, struct record *record)
{
    const int rc = arm(epoll, record);

    /* ENOMEM may pass: the ops stay and the next turn tries again. Anything else is an answer:
     * the descriptor is closed, or not one that can be watched. */
    if (rc == -ENOMEM || rc == -ENOSPC)
        iora__epoll_mark_dirty(epoll, record);
    else if (rc < 0)
        fail_all(epoll, record, rc);
}

/* ---- submitting --------------------------------------------------------------------------------------- */

/* The record of a user's descriptor. A number that is no descriptor's gets no room, however large it is. */
static int
record_of(struct epoll *epoll, int fd, struct record **out)
{
    if (fd < 0)
        return -EBADF;
    if ((*out = iora__epoll_find(epoll, fd)) != NULL)
        return (*out)->kind == IORA__FD_BORROWED ? 0 : -EBUSY;
    return iora__sys_is_open(fd) ? iora__epoll_make_record(epoll, fd, out) : -EBADF;
}

/* Whether the call itself would wait, whatever the kernel reports. */
static bool
is_for_a_thread(const struct iora__op *op)
{
    return op->_kind == IORA__OP_WRITE && (op->_events & ONLY_WHEN_READY) != 0 &&
           !iora__sys_is_nonblocking(op->_fd);
}

static int
wait_for_it(struct epoll *epoll, struct record *record, struct iora__op *op)
{
    int rc;

    iora__list_push_tail(&record->ops, &op->_link);
    if ((rc = arm(epoll, record)) < 0) {
        iora__list_remove(&op->_link);
        if (!iora__list_is_empty(&record->ops))
            iora__epoll_mark_dirty(epoll, record); /* the others' turn to learn what became of it */
        return rc;
    }
    op->_state = IORA__OP_SUBMITTED;
    epoll->pending++;
    return IORA__OP_PENDING;
}

/* Accepting and connecting cannot be told not to wait by a flag of the call. */
static bool
might_block(const struct iora__op *op)
{
    return (op->_kind == IORA__OP_ACCEPT || op->_kind == IORA__OP_CONNECT) &&
           !iora__sys_is_nonblocking(op->_fd);
}

int
iora__epoll_borrowed_submit(struct epoll *epoll, struct iora__op *op)
{
    struct record *record;
    int rc;

    if ((rc = record_of(epoll, op->_fd, &record)) < 0)
        return rc;
    if (op->_kind == IORA__OP_POLL)
        return wait_for_it(epoll, record, op);
    if (might_block(op))
        return -EINVAL;
    op->_events = iora__op_side(op) == IORA__SIDE_WRITE ? IORA__WRITABLE : IORA__READABLE;
    if (attempt(op, false))
        return IORA__OP_DONE;
    if (op->_flags & IORA__OP_NOWAIT) {
        op->_res = -EAGAIN;
        return IORA__OP_DONE;
    }
    if (is_for_a_thread(op))
        return -EPERM;
    if (op->_kind == IORA__OP_CONNECT && op->_res == -EAGAIN)
        return iora__epoll_retry(epoll, op);
    return wait_for_it(epoll, record, op);
}

void
iora__epoll_borrowed_cancel(struct epoll *epoll, struct record *record, struct iora__op *op)
{
    (void)op;
    if (iora__list_is_empty(&record->ops))
        disarm(epoll, record);
    else
        iora__epoll_mark_dirty(epoll, record);
}
