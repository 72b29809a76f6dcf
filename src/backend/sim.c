/* backend/sim.c -- the simulated operating system: a clock that jumps.
 *
 * Time stands still while anything is ready. When the loop waits until an instant and nothing else
 * can happen, the clock is set to that instant at once: a program that sleeps for a year ends in
 * microseconds, in the same order of events as it would have had in a year. The clock begins at
 * 1,000 s, so that an instant of 0 is recognisably none.
 *
 * The simulation knows no real descriptors: polling one is -ENOTSUP. The one real thing in it is the
 * wake-up from other threads. With no timer to jump to, waiting really waits for that; with one, time
 * jumps and threads are heard between the jumps.
 */
#include "backend/backend.h"

#include "sys/alloc.h"
#include "sys/sys.h"

struct sim {
    int64_t now_ns;
    int wake_fd;
};

static int
sim_open(void **state, uint64_t seed)
{
    struct sim *const sim = iora__alloc(sizeof *sim);

    (void)seed;
    if (sim == NULL)
        return -ENOMEM;
    sim->now_ns = INT64_C(1000) * 1000000000;
    sim->wake_fd = -1;
    *state = sim;
    return 0;
}

static void
sim_close(void *state)
{
    iora__free(state);
}

static int
sim_submit(void *state, struct iora__op *op)
{
    (void)state;
    (void)op;
    return -ENOTSUP;
}

static int
sim_cancel(void *state, struct iora__op *op)
{
    (void)state;
    op->_res = -ECANCELED;
    return IORA__OP_DONE;
}

static int
sim_attach_wake(void *state, int wake_fd)
{
    struct sim *const sim = state;

    sim->wake_fd = wake_fd;
    return 0;
}

static int
sim_wait(void *state, int64_t until_ns)
{
    struct sim *const sim = state;
    const bool really = until_ns == INT64_MAX;

    if (sim->wake_fd >= 0) {
        const int rc = iora__sys_wait_readable(sim->wake_fd, really ? -1 : 0);

        if (rc > 0)
            (void)iora__sys_eventfd_drain(sim->wake_fd);
        if (rc != 0)
            return rc < 0 && rc != -EINTR ? rc : 0;
    }
    if (!really && until_ns > sim->now_ns)
        sim->now_ns = until_ns;
    return 0;
}

static int64_t
sim_now(void *state)
{
    return ((const struct sim *)state)->now_ns;
}

static size_t
sim_pending(const void *state)
{
    (void)state;
    return 0;
}

static bool
sim_is_awaiting(const void *state)
{
    (void)state;
    return false;
}

static bool
sim_is_settled(const void *state)
{
    (void)state;
    return true;
}

static int
sim_descriptor(void *state)
{
    (void)state;
    return -ENOTSUP;
}

const struct iora__backend iora__backend_sim = {
    .name = "sim",
    .open = sim_open,
    .close = sim_close,
    .submit = sim_submit,
    .cancel = sim_cancel,
    .attach_wake = sim_attach_wake,
    .wait = sim_wait,
    .now = sim_now,
    .pending = sim_pending,
    .is_awaiting = sim_is_awaiting,
    .is_settled = sim_is_settled,
    .descriptor = sim_descriptor,
};
