/* backend/epoll/owned.c -- descriptors that are ours: completion over edge-triggered readiness.
 *
 * The kernel is told of a descriptor when the first op has to wait, edge-triggered and once for all that can be
 * read of it; and a second time when the first op waits to write, which few ever do: otherwise each connection
 * would begin with a report that it can be written. One whose ops never wait costs no epoll_ctl. What it reports
 * is remembered:
 *
 *   ready      the sides that may be ready. An op whose side is ready is tried at once; only one that is
 *              refused (EAGAIN) waits, and clears the bit. A report sets it again.
 *   drained    on TCP a call that moves fewer bytes than were asked for has emptied (or filled) its side: the
 *              bit is cleared without another call to hear EAGAIN. A quarter of a request's time.
 *   marked     but a descriptor that has shown RDHUP, HUP, ERR or PRI is never drained by a short call: the
 *              end may be queued behind the bytes with no further report (a request and its FIN in one
 *              edge), and an urgent byte splits a read. tokio #4840 and netty #6199 learned it likewise.
 *              Nor is any other kind of socket: a read of a Unix socket ends where descriptors were passed.
 *   hot        a record with ready sides and ops that were not served to the end: a multi op whose budget is
 *              used up, or one that was just submitted. No edge will come for it; the next wait does not
 *              sleep.
 *
 *   submit: ready? -- call --> DONE
 *             |        `-EAGAIN: ready cleared-.
 *             `--no--> in its queue, registered <'      report: ready set --> first in queue: call --> done
 *
 * Invariants:
 * (1) An op waits in a queue only if its side's bit is clear, or its record is hot.
 * (2) A clear bit of a side that the kernel was told of means: since the last call on this side it owes us an
 *     edge. Being told anew it reports what is ready now.
 * (3) A queue is served from its head; nobody is overtaken.
 * (4) A record is not used after an op's `_done` without looking whether it is still the same (generation):
 *     that may have closed it.
 *
 * Connecting. The call comes first and the registration after it, since an unconnected socket reports OUT and HUP
 * at once. A Unix listener with a full backlog says EAGAIN, and nothing ever tells when it has room: such
 * connects are made again after 1 ms, then 2, up to 32.
 *
 * A descriptor that was closed behind our back may come back to us as a new one with ops still queued on its
 * number. They are *doomed*: the next wait tells them -EBADF, and the new descriptor sees none of them.
 */
#include "backend/epoll/set.h"

#include "backend/perform.h"
#include "sys/alloc.h"
#include "sys/seam.h"

enum {
    SERVED_PER_REPORT = 16,       /* ops of one side, before the others have their turn */
    ACCEPTS_PER_WAIT = 64,        /* of a multi op */
    RECEIVES_PER_WAIT = 16,
    RECEIVED_PER_WAIT = 64 * 1024, /* and so is the buffer for those without memory */
    CONNECT_PAUSE_MAX_NS = 32 * 1000 * 1000
};

static const int64_t CONNECT_PAUSE_NS = 1000 * 1000;

uint32_t
iora__epoll_owned_events(const struct record *record)
{
    return EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLET |
           (record->armed & IORA__WRITABLE ? EPOLLOUT : 0u);
}

static struct iora__link *
queue_of(struct record *record, uint8_t side)
{
    return side == IORA__WRITABLE ? &record->writers : &record->ops;
}

static uint8_t
side_of(const struct iora__op *op)
{
    return iora__op_side(op) == IORA__SIDE_WRITE ? IORA__WRITABLE : IORA__READABLE;
}

static void
make_hot(struct epoll *epoll, struct record *record)
{
    if (!iora__link_is_linked(&record->hot))
        iora__list_push_tail(&epoll->hot, &record->hot);
}

/* ---- whose it is ------------------------------------------------------------------------------------ */

static void
doom(struct epoll *epoll, struct iora__link *queue)
{
    struct iora__link *link;

    while ((link = iora__list_pop(queue)) != NULL)
        iora__list_push_tail(&epoll->doomed, link);
}

static void
forget(struct epoll *epoll, struct record *record)
{
    iora__epoll_forget(epoll, record);
    iora__list_discard(&record->hot);
    record->generation++;
    record->left = epoll->waits;
    record->kind = IORA__FD_BORROWED;
    record->armed = 0;
}

int
iora__epoll_own(struct epoll *epoll, int fd, uint8_t kind, uint8_t ready)
{
    struct record *record = iora__epoll_find(epoll, fd);
    int rc;

    if (record == NULL && (rc = iora__epoll_make_record(epoll, fd, &record)) < 0)
        return rc;
    doom(epoll, &record->ops);
    doom(epoll, &record->writers);
    forget(epoll, record);
    record->kind = kind;
    record->ready = ready;
    record->is_marked = false;
    record->was_blocking = false;
    return 0;
}

void
iora__epoll_disown(struct epoll *epoll, struct record *record)
{
    doom(epoll, &record->ops);
    doom(epoll, &record->writers);
    forget(epoll, record);
}

static int
close_it(struct epoll *epoll, struct record *record, struct iora__op *op)
{
    iora__epoll_disown(epoll, record);
    iora__sys_close(op->_fd);
    op->_res = 0;
    return IORA__OP_DONE;
}

/* ---- one call ---------------------------------------------------------------------------------------- */

/* An accepted descriptor is ours as its listener is. */
static int
own_accepted(struct epoll *epoll, const struct record *listener, int fd)
{
    const int rc =
        iora__epoll_own(epoll, fd, listener->kind, IORA__READABLE | IORA__WRITABLE);

    if (rc == 0)
        return fd;
    iora__sys_close(fd);
    return rc;
}

static bool
has_drained(const struct record *record, int rc, size_t asked)
{
    return record->kind == IORA__FD_TCP && !record->is_marked && rc > 0 && (size_t)rc < asked;
}

/* Make the call: true if the op has ended, its result in _res. */
static bool
attempt(struct epoll *epoll, struct record *record, struct iora__op *op)
{
    const uint8_t side = side_of(op);
    size_t asked;
    int rc;

    if (iora__seam_refuses()) {
        make_hot(epoll, record); /* the kernel refused nothing, and will tell nothing */
        return false;
    }
    rc = iora__op_perform(op, true, &asked);
    if (rc == -EAGAIN || rc == -EINPROGRESS) {
        record->ready &= (uint8_t)~side;
        op->_res = rc;
        return false;
    }
    if (has_drained(record, rc, asked))
        record->ready &= (uint8_t)~side;
    if (op->_kind == IORA__OP_ACCEPT && rc >= 0)
        rc = own_accepted(epoll, record, rc);
    if (op->_kind == IORA__OP_CONNECT && rc == 0)
        record->ready = IORA__READABLE | IORA__WRITABLE;
    op->_res = rc;
    return true;
}

/* ---- multi ops ----------------------------------------------------------------------------------------- */

/* A multi recv without memory receives into the loop's buffer. */
static bool
lend_buffer(struct epoll *epoll, struct iora__op *op)
{
    if (epoll->buffer == NULL && (epoll->buffer = iora__alloc(RECEIVED_PER_WAIT)) == NULL)
        return false;
    op->_base = epoll->buffer;
    op->_size = RECEIVED_PER_WAIT;
    return true;
}

static bool
wants_buffer(const struct epoll *epoll, const struct iora__op *op)
{
    return op->_kind == IORA__OP_RECV && op->_take == NULL &&
           (op->_base == NULL || op->_base == epoll->buffer);
}

static bool
ends_multi(const struct iora__op *op)
{
    return op->_res < 0 || (op->_res == 0 && op->_kind != IORA__OP_ACCEPT);
}

/* Serve the first of a queue, a multi op, for as long as it is that, its side ready, and its budget left. */
static void
serve_multi(struct epoll *epoll, struct record *record, struct iora__link *queue, struct iora__op *op)
{
    const uint32_t generation = record->generation;
    const uint8_t side = side_of(op);
    size_t bytes = 0;
    int calls = op->_kind == IORA__OP_ACCEPT ? ACCEPTS_PER_WAIT : RECEIVES_PER_WAIT;

    while (calls-- > 0 && bytes < RECEIVED_PER_WAIT) {
        if (wants_buffer(epoll, op) && !lend_buffer(epoll, op))
            op->_res = -ENOMEM;
        else if (!attempt(epoll, record, op))
            return;
        if (ends_multi(op)) {
            iora__list_remove(&op->_link);
            iora__epoll_finish(epoll, op, op->_res);
            return;
        }
        if (op->_kind != IORA__OP_ACCEPT)
            bytes += (size_t)op->_res;
        iora__epoll_more(op, op->_res);
        if (record->generation != generation || !(record->ready & side))
            return;
        if (queue->_next != &op->_link)
            break; /* it was cancelled; others may stand behind it */
    }
    make_hot(epoll, record);
}

/* ---- serving what waits ---------------------------------------------------------------------------------- */

static void
serve_one(struct epoll *epoll, struct record *record, struct iora__op *op)
{
    if (op->_kind == IORA__OP_CONNECT)
        op->_res = iora__op_connected(op);
    else if (!attempt(epoll, record, op))
        return;
    iora__list_remove(&op->_link);
    iora__epoll_finish(epoll, op, op->_res);
}

static void
serve_side(struct epoll *epoll, struct record *record, uint8_t side)
{
    const uint32_t generation = record->generation;
    struct iora__link *const queue = queue_of(record, side);

    for (int served = 0; served < SERVED_PER_REPORT; served++) {
        struct iora__link *const first = queue->_next;
        struct iora__op *const op = iora__epoll_op(first);

        if (first == queue || !(record->ready & side))
            return;
        if (op->_flags & IORA__OP_MULTI) {
            serve_multi(epoll, record, queue, op);
            return;
        }
        serve_one(epoll, record, op);
        if (record->generation != generation)
            return;
        if (queue->_next == first)
            return; /* refused: it waits on */
    }
    make_hot(epoll, record);
}

static void
serve(struct epoll *epoll, struct record *record)
{
    const uint32_t generation = record->generation;

    if (!iora__list_is_empty(&record->ops))
        serve_side(epoll, record, IORA__READABLE);
    if (record->generation == generation && !iora__list_is_empty(&record->writers))
        serve_side(epoll, record, IORA__WRITABLE);
}

void
iora__epoll_owned_event(struct epoll *epoll, struct record *record, uint32_t events)
{
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI))
        record->is_marked = true;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI))
        record->ready |= IORA__READABLE;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        record->ready |= IORA__WRITABLE;
    record->served = epoll->waits;
    serve(epoll, record);
}

/* ---- submitting -------------------------------------------------------------------------------------------- */

/* What waits needs the kernel's word. */
static int
register_side(struct epoll *epoll, struct record *record, uint8_t side)
{
    const uint8_t armed = record->armed;
    int rc;

    record->armed |= side | IORA__READABLE;
    if ((rc = iora__epoll_tell(epoll, record)) < 0)
        record->armed = armed;
    return rc;
}

static bool
is_watched(const struct record *record, uint8_t side)
{
    return (record->armed & side) != 0 &&
           (record->registered || iora__link_is_linked(&record->dirty));
}

static int
wait_for_it(struct epoll *epoll, struct record *record, struct iora__op *op)
{
    const uint8_t side = side_of(op);
    int rc;

    if (!is_watched(record, side) && (rc = register_side(epoll, record, side)) < 0)
        return rc;
    return iora__epoll_pend(epoll, queue_of(record, side), op);
}

static int
submit_multi(struct epoll *epoll, struct record *record, struct iora__op *op)
{
    const int rc = wait_for_it(epoll, record, op);

    if (rc == IORA__OP_PENDING && (record->ready & side_of(op)))
        make_hot(epoll, record);
    return rc;
}

/* Of a descriptor that the kernel was not told of no report will come: who must not wait asks again. */
static bool
may_be_ready(const struct record *record, const struct iora__op *op, uint8_t side)
{
    const bool is_told = record->registered && (record->armed & side) != 0;

    return (record->ready & side) != 0 || ((op->_flags & IORA__OP_NOWAIT) && !is_told);
}

int
iora__epoll_owned_submit(struct epoll *epoll, struct record *record, struct iora__op *op)
{
    const uint8_t side = side_of(op);

    if (op->_kind == IORA__OP_CLOSE)
        return close_it(epoll, record, op);
    if (op->_flags & IORA__OP_MULTI)
        return submit_multi(epoll, record, op);
    if (op->_kind == IORA__OP_CONNECT ||
        (may_be_ready(record, op, side) && iora__list_is_empty(queue_of(record, side)))) {
        if (attempt(epoll, record, op))
            return IORA__OP_DONE;
        if (op->_kind == IORA__OP_CONNECT && op->_res == -EAGAIN)
            return iora__epoll_retry(epoll, op);
    }
    if (op->_flags & IORA__OP_NOWAIT) {
        op->_res = -EAGAIN;
        return IORA__OP_DONE;
    }
    return wait_for_it(epoll, record, op);
}

void
iora__epoll_owned_arm(struct epoll *epoll, struct record *record)
{
    const int rc = iora__epoll_tell(epoll, record);

    if (rc == -ENOMEM || rc == -ENOSPC)
        iora__epoll_mark_dirty(epoll, record);
}

/* ---- what no report will come for ---------------------------------------------------------------------------- */

int
iora__epoll_retry(struct epoll *epoll, struct iora__op *op)
{
    if (iora__list_is_empty(&epoll->retries)) {
        epoll->retry_pause_ns = CONNECT_PAUSE_NS;
        epoll->retry_ns = iora__sys_clock_ns() + epoll->retry_pause_ns;
    }
    return iora__epoll_pend(epoll, &epoll->retries, op);
}

static void
retry_connects(struct epoll *epoll)
{
    struct iora__link due, *link;

    if (iora__list_is_empty(&epoll->retries) || iora__sys_clock_ns() < epoll->retry_ns)
        return;
    if (epoll->retry_pause_ns < CONNECT_PAUSE_MAX_NS)
        epoll->retry_pause_ns *= 2;
    epoll->retry_ns = iora__sys_clock_ns() + epoll->retry_pause_ns;
    iora__list_take_all(&epoll->retries, &due);
    while ((link = iora__list_pop(&due)) != NULL) {
        struct iora__op *const op = iora__epoll_op(link);
        struct record *const record = iora__epoll_find(epoll, op->_fd);
        size_t asked;
        const int rc = iora__op_perform(op, true, &asked);

        if (rc == -EAGAIN) {
            iora__list_push_tail(&epoll->retries, link);
            continue;
        }
        if (rc == 0)
            record->ready = IORA__READABLE | IORA__WRITABLE;
        iora__epoll_finish(epoll, op, rc);
    }
}

static void
serve_hot(struct epoll *epoll)
{
    struct iora__link hot, *link;

    iora__list_take_all(&epoll->hot, &hot);
    while ((link = iora__list_pop(&hot)) != NULL) {
        struct record *const record = iora__container_of(link, struct record, hot);

        if (record->served == epoll->waits)
            make_hot(epoll, record); /* it had its share of this wait */
        else
            serve(epoll, record);
    }
}

static void
tell_doomed(struct epoll *epoll)
{
    struct iora__link doomed, *link;

    iora__list_take_all(&epoll->doomed, &doomed);
    while ((link = iora__list_pop(&doomed)) != NULL)
        iora__epoll_finish(epoll, iora__epoll_op(link), -EBADF);
}

void
iora__epoll_owned_tend(struct epoll *epoll)
{
    serve_hot(epoll);
    retry_connects(epoll);
    tell_doomed(epoll);
}

int64_t
iora__epoll_owned_until(const struct epoll *epoll, int64_t until_ns)
{
    if (!iora__list_is_empty(&epoll->hot) || !iora__list_is_empty(&epoll->doomed))
        return INT64_MIN;
    if (!iora__list_is_empty(&epoll->retries) && epoll->retry_ns < until_ns)
        return epoll->retry_ns;
    return until_ns;
}

void
iora__epoll_owned_close(struct epoll *epoll)
{
    for (size_t i = 0; i < epoll->chunk_count * CHUNK; i++) {
        const struct record *const record = iora__epoll_find(epoll, (int)i);

        if (record != NULL && record->kind != IORA__FD_BORROWED)
            iora__sys_close(record->fd);
    }
    iora__free(epoll->buffer);
}
