/* backend/epoll/set.c -- operations over epoll(7): the set, its records, and the wait.
 *
 * Words. A *record* is what we know of one descriptor number: whose it is, the ops that wait on it, and what
 * we last told the kernel. Records live in chunks, found by number, and never move. The kernel is told
 * number and *generation* of the record; both come back with each event.
 *
 * Whose a descriptor is decides everything else, and each kind has a file: borrowed.c for those of the user's,
 * watched level-triggered or one-shot and never changed; owned.c for ours, edge-triggered and called first.
 *
 * epoll registers open files, not numbers, and descriptors may be closed, duplicated and their numbers used
 * again, by the user without a word to us. So:
 *
 * (1) Belief is never enough to wait on. Where we think that the kernel has an entry we MOD; ENOENT says the
 *     number is another file now: ADD, with a new generation, for a duplicate of the old file may go on
 *     reporting; EEXIST after ADD: MOD.
 * (2) An entry that nobody needs is removed at once, before anybody can close the descriptor.
 * (3) If that removal fails, the user closed first. A duplicate may keep the file registered under a
 *     number we can no longer name; then its events arrive with an old generation, or for a record
 *     nobody waits on. Such an event is *stale*; if it cannot be removed the epoll set is rebuilt from
 *     the records (as libev does; libuv #4323 and #1148 are what happens otherwise).
 * (4) A stale event of a number that we have armed again is not removed by number, which would remove
 *     the new registration: rebuild at once. Unless the record was closed during this very wait: then it is an
 *     event that the kernel had already handed out.
 * (5) A descriptor closed under its watcher may come back as our own, the one that wakes us. What
 *     waits on that number is told -EBADF, and its registration is touched by nobody.
 *
 * For embedding in another loop there is an outer epoll descriptor that holds this one, so that a
 * rebuilt set keeps its number for those who watch it.
 */
#include "backend/epoll/set.h"

#include "sys/alloc.h"

#include <string.h>

/* When to try again what the kernel had no memory for. */
static const int64_t RETRY_NS = 1000000;

enum { EVENTS_PER_WAIT = 128 };

/* Where compilers are told to zero what is not initialised (docs/design/hardening.md): the kernel fills these, and
 * says how many. Zeroing all before each poll took a fifth of its instructions. */
#if defined(__has_attribute)
#if __has_attribute(uninitialized)
#define LEFT_AS_IT_IS __attribute__((uninitialized))
#endif
#endif
#ifndef LEFT_AS_IT_IS
#define LEFT_AS_IT_IS
#endif

/* What is told the kernel for the wake-up descriptor, which has no record. */
#define WAKE_DATA UINT64_MAX

/* ---- records --------------------------------------------------------------------------------- */

struct record *
iora__epoll_find(const struct epoll *epoll, int fd)
{
    const size_t chunk = (size_t)fd >> CHUNK_BITS;

    if (fd < 0 || chunk >= epoll->chunk_count || epoll->chunks[chunk] == NULL)
        return NULL;
    return &epoll->chunks[chunk][fd & (CHUNK - 1)];
}

static int
grow_table(struct epoll *epoll, size_t chunk_count)
{
    struct record **const chunks = iora__alloc_array(chunk_count, sizeof *chunks);

    if (chunks == NULL)
        return -ENOMEM;
    memset(chunks, 0, chunk_count * sizeof *chunks);
    if (epoll->chunk_count > 0)
        memcpy(chunks, epoll->chunks, epoll->chunk_count * sizeof *chunks);
    iora__free(epoll->chunks);
    epoll->chunks = chunks;
    epoll->chunk_count = chunk_count;
    return 0;
}

int
iora__epoll_make_record(struct epoll *epoll, int fd, struct record **out)
{
    const size_t chunk = (size_t)fd >> CHUNK_BITS;

    if (chunk >= epoll->chunk_count) {
        const size_t doubled = epoll->chunk_count * 2;
        const int rc = grow_table(epoll, chunk + 1 > doubled ? chunk + 1 : doubled);

        if (rc < 0)
            return rc;
    }
    if (epoll->chunks[chunk] == NULL) {
        struct record *const records = iora__alloc_array(CHUNK, sizeof *records);

        if (records == NULL)
            return -ENOMEM;
        memset(records, 0, CHUNK * sizeof *records);
        for (int i = 0; i < CHUNK; i++) {
            iora__list_init(&records[i].ops);
            iora__list_init(&records[i].writers);
            records[i].fd = (int)(chunk << CHUNK_BITS) + i;
        }
        epoll->chunks[chunk] = records;
    }
    *out = &epoll->chunks[chunk][fd & (CHUNK - 1)];
    return 0;
}

/* ---- telling the kernel ------------------------------------------------------------------------- */

static uint32_t
kernel_events(const struct record *record)
{
    if (record->kind != IORA__FD_BORROWED)
        return iora__epoll_owned_events(record);
    return iora__epoll_borrowed_events(record);
}

static uint64_t
kernel_data(const struct record *record)
{
    return (uint64_t)record->generation << 32 | (uint32_t)record->fd;
}

/* All that is told of records goes through here. */
static int
control(const struct epoll *epoll, const struct record *record, int operation)
{
    if (record->fd == epoll->wake_fd)
        return -EBADF; /* (5) */
    return iora__sys_epoll_ctl(epoll->fd, operation, record->fd, kernel_events(record),
                               kernel_data(record));
}

int
iora__epoll_tell(struct epoll *epoll, struct record *record)
{
    int rc = -ENOENT;

    if (record->registered) {
        rc = control(epoll, record, EPOLL_CTL_MOD);
        if (rc == -ENOENT || rc == -EBADF)
            record->generation++;
    }
    if (rc == -ENOENT)
        rc = control(epoll, record, EPOLL_CTL_ADD);
    if (rc == -EEXIST)
        rc = control(epoll, record, EPOLL_CTL_MOD);
    record->registered = rc == 0;
    return rc;
}

void
iora__epoll_forget(struct epoll *epoll, struct record *record)
{
    iora__list_discard(&record->dirty);
    if (!record->registered)
        return;
    record->registered = false;
    if (control(epoll, record, EPOLL_CTL_DEL) < 0)
        record->generation++; /* a duplicate may go on reporting: what it reports is stale */
}

void
iora__epoll_mark_dirty(struct epoll *epoll, struct record *record)
{
    if (!iora__link_is_linked(&record->dirty))
        iora__list_push_tail(&epoll->dirty, &record->dirty);
}

/* ---- delivering ------------------------------------------------------------------------------- */

void
iora__epoll_finish(struct epoll *epoll, struct iora__op *op, int res)
{
    op->_res = res;
    op->_state = IORA__OP_IDLE;
    epoll->pending--;
    op->_done(op);
}

void
iora__epoll_more(struct iora__op *op, int res)
{
    op->_res = res;
    op->_done(op);
}

/* An event that belongs to nobody (3 and 4). */
static void
drop_stale(struct epoll *epoll, const struct record *record, int fd)
{
    if (record != NULL && record->left == epoll->waits)
        return;
    if ((record != NULL && record->registered) || fd == epoll->wake_fd ||
        iora__sys_epoll_ctl(epoll->fd, EPOLL_CTL_DEL, fd, 0, 0) < 0)
        epoll->rebuild = true;
}

static void
handle_event(struct epoll *epoll, const struct epoll_event *event)
{
    const uint64_t data = event->data.u64;

    if (data == WAKE_DATA)
        return; /* returning from wait is all that it is for */

    const int fd = (int)(uint32_t)data;
    struct record *const record = iora__epoll_find(epoll, fd);

    if (record == NULL || record->generation != (uint32_t)(data >> 32))
        drop_stale(epoll, record, fd);
    else if (record->kind != IORA__FD_BORROWED)
        iora__epoll_owned_event(epoll, record, event->events);
    else if (iora__list_is_empty(&record->ops))
        drop_stale(epoll, record, fd);
    else
        iora__epoll_borrowed_event(epoll, record, event->events);
}

/* ---- before the wait ---------------------------------------------------------------------------- */

static int
register_wake(struct epoll *epoll)
{
    return iora__sys_epoll_ctl(epoll->fd, EPOLL_CTL_ADD, epoll->wake_fd, EPOLLIN | EPOLLET,
                               WAKE_DATA);
}

/* Put a fresh epoll set in the place of one with entries that nobody can remove. On failure the old
 * set stays and the attempt is made again. */
static int
rebuild(struct epoll *epoll)
{
    const int old_fd = epoll->fd;
    int rc = iora__sys_epoll_create();

    if (rc < 0)
        return rc;
    epoll->fd = rc;
    if (epoll->wake_fd >= 0 && (rc = register_wake(epoll)) < 0)
        goto keep_old;
    if (epoll->outer_fd >= 0 &&
        (rc = iora__sys_epoll_ctl(epoll->outer_fd, EPOLL_CTL_ADD, epoll->fd, EPOLLIN, 0)) < 0)
        goto keep_old;

    epoll->rebuild = false;
    iora__sys_close(old_fd);
    for (size_t chunk = 0; chunk < epoll->chunk_count; chunk++) {
        for (int i = 0; epoll->chunks[chunk] != NULL && i < CHUNK; i++) {
            struct record *const record = &epoll->chunks[chunk][i];

            if (record->kind != IORA__FD_BORROWED ? record->armed != 0
                                                  : !iora__list_is_empty(&record->ops))
                iora__epoll_mark_dirty(epoll, record);
            record->registered = false;
        }
    }
    return 0;

keep_old:
    iora__sys_close(epoll->fd);
    epoll->fd = old_fd;
    return rc;
}

static void
arm_dirty(struct epoll *epoll)
{
    struct iora__link dirty, *link;

    iora__list_take_all(&epoll->dirty, &dirty);
    while ((link = iora__list_pop(&dirty)) != NULL) {
        struct record *const record = iora__container_of(link, struct record, dirty);

        if (record->kind != IORA__FD_BORROWED)
            iora__epoll_owned_arm(epoll, record);
        else
            iora__epoll_borrowed_arm(epoll, record);
    }
}

/* ---- the table's functions ---------------------------------------------------------------------- */

static int
epoll_open(void **state, uint64_t seed)
{
    struct epoll *const epoll = iora__zalloc(sizeof *epoll);
    int fd;

    (void)seed; /* the kernel's order is its own */
    if (epoll == NULL)
        return -ENOMEM;
    fd = iora__sys_epoll_create();
    if (fd < 0) {
        iora__free(epoll);
        return fd;
    }
    epoll->fd = fd;
    epoll->outer_fd = -1;
    epoll->wake_fd = -1;
    iora__list_init(&epoll->dirty);
    iora__list_init(&epoll->hot);
    iora__list_init(&epoll->retries);
    iora__list_init(&epoll->doomed);
    *state = epoll;
    return 0;
}

static void
epoll_close(void *state)
{
    struct epoll *const epoll = state;

    iora__epoll_owned_close(epoll);
    for (size_t chunk = 0; chunk < epoll->chunk_count; chunk++)
        iora__free(epoll->chunks[chunk]);
    iora__free(epoll->chunks);
    if (epoll->outer_fd >= 0)
        iora__sys_close(epoll->outer_fd);
    iora__sys_close(epoll->fd);
    iora__free(epoll);
}

static int
epoll_submit(void *state, struct iora__op *op)
{
    struct epoll *const epoll = state;
    struct record *record;

    if (op->_kind == IORA__OP_WORK)
        return -EPERM;
    if (op->_kind == IORA__OP_POLL || (op->_flags & IORA__OP_BORROWED) != 0)
        return iora__epoll_borrowed_submit(epoll, op);
    record = iora__epoll_find(epoll, op->_fd);
    if (record == NULL || record->kind == IORA__FD_BORROWED)
        return -EBADF;
    return iora__epoll_owned_submit(epoll, record, op);
}

static int
epoll_cancel(void *state, struct iora__op *op)
{
    struct epoll *const epoll = state;
    struct record *const record = iora__epoll_find(epoll, op->_fd);

    IORA__KNOWN(record != NULL); /* the op is in one of its queues */
    iora__list_remove(&op->_link);
    epoll->pending--;
    op->_state = IORA__OP_IDLE;
    op->_res = -ECANCELED;
    if (record->kind == IORA__FD_BORROWED)
        iora__epoll_borrowed_cancel(epoll, record, op);
    return IORA__OP_DONE;
}

static int
epoll_attach_wake(void *state, int wake_fd)
{
    struct epoll *const epoll = state;
    int rc;

    epoll->wake_fd = wake_fd;
    if ((rc = register_wake(epoll)) < 0)
        epoll->wake_fd = -1;
    return rc;
}

static int64_t
epoll_now(void *state)
{
    (void)state;
    return iora__sys_clock_ns();
}

static int64_t
timeout_until(int64_t until_ns)
{
    if (until_ns == INT64_MAX)
        return -1;
    if (until_ns == INT64_MIN)
        return 0;

    const int64_t left_ns = until_ns - iora__sys_clock_ns();
    return left_ns > 0 ? left_ns : 0;
}

static int64_t
earlier(int64_t a_ns, int64_t b_ns)
{
    return a_ns < b_ns ? a_ns : b_ns;
}

static int
epoll_wait_(void *state, int64_t until_ns)
{
    struct epoll *const epoll = state;
    struct epoll_event events[EVENTS_PER_WAIT] LEFT_AS_IT_IS;

    if (epoll->rebuild)
        (void)rebuild(epoll); /* a failure is tried again: the old set still works, if it spins */
    epoll->waits++;
    arm_dirty(epoll);
    if (!iora__list_is_empty(&epoll->dirty))
        until_ns = earlier(until_ns, iora__sys_clock_ns() + RETRY_NS);
    until_ns = iora__epoll_owned_until(epoll, until_ns);

    const int count =
        iora__sys_epoll_wait(epoll->fd, events, EVENTS_PER_WAIT, timeout_until(until_ns));
    if (count < 0 && count != -EINTR)
        return count;
    for (int i = 0; i < count; i++)
        handle_event(epoll, &events[i]);
    iora__epoll_owned_tend(epoll);
    return 0;
}

static size_t
epoll_pending(const void *state)
{
    return ((const struct epoll *)state)->pending;
}

static bool
epoll_is_awaiting(const void *state)
{
    return epoll_pending(state) > 0;
}

static int64_t
epoll_settled_until(const void *state)
{
    const struct epoll *const epoll = state;

    if (epoll->rebuild || !iora__list_is_empty(&epoll->dirty))
        return INT64_MIN;
    return iora__epoll_owned_until(epoll, INT64_MAX);
}

static int
epoll_descriptor(void *state)
{
    struct epoll *const epoll = state;
    int outer_fd, rc;

    if (epoll->outer_fd >= 0)
        return epoll->outer_fd;
    if ((outer_fd = iora__sys_epoll_create()) < 0)
        return outer_fd;
    if ((rc = iora__sys_epoll_ctl(outer_fd, EPOLL_CTL_ADD, epoll->fd, EPOLLIN, 0)) < 0) {
        iora__sys_close(outer_fd);
        return rc;
    }
    epoll->outer_fd = outer_fd;
    return outer_fd;
}

const struct iora__backend iora__backend_epoll = {
    .name = "epoll",
    .open = epoll_open,
    .close = epoll_close,
    .submit = epoll_submit,
    .cancel = epoll_cancel,
    .attach_wake = epoll_attach_wake,
    .wait = epoll_wait_,
    .now = epoll_now,
    .pending = epoll_pending,
    .is_awaiting = epoll_is_awaiting,
    .settled_until = epoll_settled_until,
    .descriptor = epoll_descriptor,
    .sockets = &iora__epoll_sockets,
};
