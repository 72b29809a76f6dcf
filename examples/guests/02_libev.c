/* iora inside libev's loop.
 *
 * Four watchers make an iora loop part of libev's. A prepare watcher asks before each sleep how long it may
 * last, and sets a timer for then; an io watcher wakes libev when the loop's descriptor has something; and a check
 * watcher gives the loop a turn after each sleep. A turn that leaves something ready is followed by the next one
 * at once, by a timer of no time, and libev's own watchers have their turn between.
 *
 * Here tasks sleep, and have a thread compute, while a timer of libev's ticks.
 */
#include <ev.h>
#include <iora.h>
#include <stddef.h>
#include <stdio.h>

struct guest {
    iora_loop *loop;
    ev_io io;
    ev_timer timer;
    ev_prepare prepare;
    ev_check check;
};

#define GUEST_OF(watcher, member) \
    ((struct guest *)(void *)((char *)(watcher)-offsetof(struct guest, member)))

static void before_sleep(struct ev_loop *outer, ev_prepare *watcher, int events)
{
    struct guest *guest = GUEST_OF(watcher, prepare);
    iora_duration timeout = iora_loop_timeout(guest->loop);

    (void)events;
    if (iora_to_ns(timeout) == iora_to_ns(IORA_FOREVER))
        return;
    ev_timer_set(&guest->timer, iora_to_s(timeout), 0);
    ev_timer_start(outer, &guest->timer);
}

static void after_sleep(struct ev_loop *outer, ev_check *watcher, int events)
{
    struct guest *guest = GUEST_OF(watcher, check);

    (void)events;
    ev_timer_stop(outer, &guest->timer);
    int rc = iora_loop_run_once(guest->loop, iora_ns(0));
    if (rc < 0)
        fprintf(stderr, "a turn of iora's loop: %s\n", iora_strerror(rc));
}

/* That libev wakes is all that they are for. */
static void wake_for_io(struct ev_loop *outer, ev_io *watcher, int events)
{
    (void)outer, (void)watcher, (void)events;
}

static void wake_for_timer(struct ev_loop *outer, ev_timer *watcher, int events)
{
    (void)outer, (void)watcher, (void)events;
}

static void move_in(struct guest *guest, struct ev_loop *outer, iora_loop *loop)
{
    guest->loop = loop;
    ev_io_init(&guest->io, wake_for_io, iora_loop_fd(loop), EV_READ);
    ev_timer_init(&guest->timer, wake_for_timer, 0, 0);
    ev_prepare_init(&guest->prepare, before_sleep);
    ev_check_init(&guest->check, after_sleep);
    ev_io_start(outer, &guest->io);
    ev_prepare_start(outer, &guest->prepare);
    ev_check_start(outer, &guest->check);
}

static void move_out(struct guest *guest, struct ev_loop *outer)
{
    ev_io_stop(outer, &guest->io);
    ev_timer_stop(outer, &guest->timer);
    ev_prepare_stop(outer, &guest->prepare);
    ev_check_stop(outer, &guest->check);
}

/* ---- what it is for ---- */

static int ticks;

static void tick(struct ev_loop *outer, ev_timer *watcher, int events)
{
    (void)outer, (void)watcher, (void)events;
    ticks++;
}

static int sum_in_thread(void *arg)
{
    long *sum = arg;

    for (long n = 1; n <= 1000000; n++)
        *sum += n;
    return 0;
}

static int say_after(iora_duration delay, const char *what)
{
    int rc = iora_sleep(delay);
    if (rc == 0)
        printf("  %s\n", what);
    return rc;
}
IORA_ASYNC(say_after, iora_duration, const char *);

static int amain(struct ev_loop *outer)
{
    long sum = 0;

    int rc = iora_gather(iora_go(say_after, iora_ms(200), "world"),
                         iora_go(say_after, iora_ms(100), "hello"));
    if (rc == 0)
        rc = iora_to_thread(sum_in_thread, &sum);
    printf("  a thread has found %ld\n", sum);
    ev_break(outer, EVBREAK_ALL);
    return rc;
}
IORA_ASYNC(amain, struct ev_loop *);

int main(void)
{
    struct ev_loop *outer = ev_default_loop(0);
    struct guest guest;
    ev_timer ticker;
    iora_loop *loop;

    if (outer == NULL || iora_loop_new(NULL, &loop) < 0)
        return 1;
    move_in(&guest, outer, loop);
    ev_timer_init(&ticker, tick, 0.01, 0.01);
    ev_timer_start(outer, &ticker);

    printf("In libev's loop:\n");
    iora_task task = iora_go_in(loop, amain, outer);
    if (iora_task_is_valid(task))
        ev_run(outer, 0);
    printf("libev's timer went on meanwhile: %s\n", ticks > 1 ? "yes" : "no");

    ev_timer_stop(outer, &ticker);
    move_out(&guest, outer);
    return iora_loop_free(loop) == 0 ? 0 : 1;
}
