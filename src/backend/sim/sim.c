/* backend/sim/sim.c -- the simulated operating system: a clock that jumps, and what comes with time.
 *
 * Time stands still while anything is ready. When the loop waits until an instant and nothing else
 * can happen, the clock is set to that instant at once: a program that sleeps for a year ends in
 * microseconds, in the same order of events as it would have had in a year. The clock begins at
 * 1,000 s, so that an instant of 0 is recognisably none.
 *
 * What is yet to come stands in two lists, the earliest first: the *schedule* of sockets that something
 * is on its way to (sockets.c), and the jobs. Without a seed all of it comes at the instant at which it
 * was sent, but still through wait, in the order it was sent. With one the latency of each is drawn, up
 * to 2 ms and for jobs 5 ms, and with it what comes first; so are the parts in which bytes arrive, the room between
 * the ends, and the order in which sockets are served. The same seed gives the same run.
 *
 * A job is run here, on the loop's thread: a simulation has no other, and what it does is to come at the
 * same point of every run.
 *
 * Nobody outside acts, so it is known whether anything can come: with an empty schedule, no job and
 * no ready socket, whoever waits waits for ever (is_awaiting). Waiting then really blocks, as with
 * any other backend: for a wake-up from another thread, which is the one real thing here, or a signal.
 * With something to jump to, threads are heard between the jumps.
 */
#include "backend/sim/sim.h"

#include "sys/alloc.h"
#include "sys/random.h"
#include "sys/seam.h"
#include "sys/sys.h"

enum { LATENCY_MAX_NS = 2000000, JOB_MAX_NS = 5000000 };

/* ---- drawing ------------------------------------------------------------------------------------- */

uint64_t
iora__sim_draw(struct iora__sim *sim, uint64_t below)
{
    uint64_t drawn;

    if (!sim->seeded)
        return 0;
    drawn = iora__random_next(&sim->random) % below;
    iora__seam_step(IORA__STEP_SIM, drawn);
    return drawn;
}

bool
iora__sim_flip(struct iora__sim *sim)
{
    return iora__sim_draw(sim, 2) != 0;
}

size_t
iora__sim_part_of(struct iora__sim *sim, size_t n)
{
    return iora__sim_flip(sim) ? (size_t)iora__sim_draw(sim, n) + 1 : n;
}

/* ---- what is yet to come --------------------------------------------------------------------------- */

void
iora__sim_schedule(struct iora__sim *sim, struct iora__sim_socket *socket)
{
    struct iora__link *at = sim->schedule._prev;

    if (iora__link_is_linked(&socket->in_schedule))
        return;
    socket->at_ns = sim->now_ns + (int64_t)iora__sim_draw(sim, LATENCY_MAX_NS);
    while (at != &sim->schedule &&
           iora__container_of(at, struct iora__sim_socket, in_schedule)->at_ns > socket->at_ns)
        at = at->_prev;
    iora__list_insert_before(at->_next, &socket->in_schedule);
}

void
iora__sim_mark_ready(struct iora__sim *sim, struct iora__sim_socket *socket)
{
    if (iora__link_is_linked(&socket->in_ready))
        return;
    iora__list_insert_before(iora__sim_flip(sim) ? sim->ready._next : &sim->ready,
                             &socket->in_ready);
}

/* A job's op has no descriptor and no call's flags: its instant stands there. */
static int64_t
instant_of(const struct iora__link *link)
{
    const struct iora__op *const op = iora__container_of(link, const struct iora__op, _link);

    return (int64_t)((uint64_t)(uint32_t)op->_fd << 32 | op->_detail);
}

static int
submit_job(struct iora__sim *sim, struct iora__op *op)
{
    const int64_t at_ns = sim->now_ns + (int64_t)iora__sim_draw(sim, JOB_MAX_NS);
    struct iora__link *at = sim->jobs._prev;

    op->_fd = (int32_t)(at_ns >> 32);
    op->_detail = (uint32_t)at_ns;
    while (at != &sim->jobs && instant_of(at) > at_ns)
        at = at->_prev;
    iora__list_insert_before(at->_next, &op->_link);
    op->_state = IORA__OP_SUBMITTED;
    sim->pending++;
    return IORA__OP_PENDING;
}

static void
let_arrive(struct iora__sim *sim)
{
    while (!iora__list_is_empty(&sim->schedule)) {
        struct iora__sim_socket *const socket =
            iora__container_of(sim->schedule._next, struct iora__sim_socket, in_schedule);

        if (socket->at_ns > sim->now_ns)
            return;
        iora__list_remove(&socket->in_schedule);
        iora__sim_arrive(sim, socket);
    }
}

static void
run_jobs(struct iora__sim *sim)
{
    struct iora__link due, *link;

    iora__list_init(&due); /* those that are due now: one may submit the next */
    while ((link = sim->jobs._next) != &sim->jobs && instant_of(link) <= sim->now_ns) {
        iora__list_remove(link);
        iora__list_push_tail(&due, link);
    }
    while ((link = iora__list_pop(&due)) != NULL) {
        struct iora__op *const op = iora__container_of(link, struct iora__op, _link);
        const struct iora__job *const job = iora__container_of(op, struct iora__job, op);

        iora__sim_finish(sim, op, job->fn(job->arg));
    }
}

/* ---- the wait -------------------------------------------------------------------------------------- */

static bool
sim_is_awaiting(const void *state)
{
    const struct iora__sim *const sim = state;

    return !iora__list_is_empty(&sim->ready) || !iora__list_is_empty(&sim->schedule) ||
           !iora__list_is_empty(&sim->jobs);
}

static int64_t
sim_settled_until(const void *state)
{
    return sim_is_awaiting(state) ? INT64_MIN : INT64_MAX;
}

/* Hear the other threads. 1 if there was one. */
static int
hear_wake(const struct iora__sim *sim, bool forever)
{
    int rc;

    if (sim->wake_fd < 0 && !forever)
        return 0;
    rc = iora__sys_wait_readable(sim->wake_fd, forever ? -1 : 0);
    if (rc > 0)
        (void)iora__sys_eventfd_drain(sim->wake_fd);
    return rc == -EINTR ? 1 : rc;
}

/* Set the clock to what comes first, of `until_ns` and all that is yet to come. */
static void
jump(struct iora__sim *sim, int64_t until_ns)
{
    if (!iora__list_is_empty(&sim->ready))
        return;
    if (!iora__list_is_empty(&sim->jobs) && instant_of(sim->jobs._next) < until_ns)
        until_ns = instant_of(sim->jobs._next);
    if (!iora__list_is_empty(&sim->schedule)) {
        const struct iora__sim_socket *const first =
            iora__container_of(sim->schedule._next, const struct iora__sim_socket, in_schedule);

        until_ns = first->at_ns < until_ns ? first->at_ns : until_ns;
    }
    if (until_ns > sim->now_ns) {
        sim->now_ns = until_ns;
        iora__seam_step(IORA__STEP_CLOCK, (uint64_t)until_ns);
    }
}

static int
sim_wait(void *state, int64_t until_ns)
{
    struct iora__sim *const sim = state;
    const bool forever = until_ns == INT64_MAX && !sim_is_awaiting(sim);
    const int rc = hear_wake(sim, forever);

    if (rc < 0 || forever)
        return rc < 0 ? rc : 0;
    if (rc > 0)
        until_ns = INT64_MIN;
    sim->waits++;
    sim->delivered = false;
    do {
        jump(sim, until_ns);
        let_arrive(sim);
        iora__sim_serve(sim);
        run_jobs(sim);
    } while (!sim->delivered && sim->now_ns < until_ns && sim_is_awaiting(sim));
    return 0;
}

/* ---- the table's functions ---------------------------------------------------------------------------- */

static int
sim_open(void **state, uint64_t seed)
{
    struct iora__sim *const sim = iora__zalloc(sizeof *sim);

    if (sim == NULL)
        return -ENOMEM;
    sim->now_ns = INT64_C(1000) * 1000000000;
    sim->wake_fd = -1;
    sim->seeded = seed != 0;
    sim->random = ~seed; /* the loop draws from the seed itself */
    iora__list_init(&sim->schedule);
    iora__list_init(&sim->ready);
    iora__list_init(&sim->jobs);
    iora__list_init(&sim->sockets);
    iora__list_init(&sim->listeners);
    iora__list_init(&sim->bound);
    iora__list_init(&sim->paths);
    *state = sim;
    return 0;
}

static void
sim_close(void *state)
{
    struct iora__sim *const sim = state;

    iora__sim_free_paths(sim);
    iora__sim_free_all(sim);
    iora__free(sim->numbers);
    iora__free(sim->scratch);
    iora__free(sim);
}

static int
sim_submit(void *state, struct iora__op *op)
{
    return op->_kind == IORA__OP_WORK ? submit_job(state, op) : iora__sim_submit(state, op);
}

static int
sim_attach_wake(void *state, int wake_fd)
{
    struct iora__sim *const sim = state;

    sim->wake_fd = wake_fd;
    return 0;
}

static int64_t
sim_now(void *state)
{
    return ((const struct iora__sim *)state)->now_ns;
}

static size_t
sim_pending(const void *state)
{
    return ((const struct iora__sim *)state)->pending;
}

static int
sim_descriptor(void *state)
{
    (void)state;
    return -ENOTSUP;
}

static int
sim_adopt(void *state, int fd)
{
    (void)state;
    (void)fd;
    return -ENOTSUP;
}

/* A simulated socket is of no use outside: it stays, until the backend ends. */
static void
sim_release(void *state, int fd)
{
    (void)state;
    (void)fd;
}

static void
sim_close_socket(void *state, int fd)
{
    struct iora__sim *const sim = state;

    iora__sim_close(sim, iora__sim_find(sim, fd));
}

static const struct iora__sockets sockets = {
    .socket = iora__sim_socket,
    .socket_pair = iora__sim_socket_pair,
    .adopt = sim_adopt,
    .release = sim_release,
    .close = sim_close_socket,
    .close_forked = sim_close_socket,
    .bind = iora__sim_bind,
    .listen_path = iora__sim_listen_path,
    .unbind_path = iora__sim_unbind_path,
    .listen = iora__sim_listen,
    .shutdown = iora__sim_shutdown,
    .name = iora__sim_name,
    .set_option = iora__sim_set_option,
    .get_option = iora__sim_get_option,
};

const struct iora__backend iora__backend_sim = {
    .name = "sim",
    .open = sim_open,
    .close = sim_close,
    .submit = sim_submit,
    .cancel = iora__sim_cancel,
    .attach_wake = sim_attach_wake,
    .wait = sim_wait,
    .now = sim_now,
    .pending = sim_pending,
    .is_awaiting = sim_is_awaiting,
    .settled_until = sim_settled_until,
    .descriptor = sim_descriptor,
    .sockets = &sockets,
};
