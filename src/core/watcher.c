/* core/watcher.c -- level-triggered callbacks for the readiness of a user's descriptor.
 *
 * Each *side* of a watcher, reading and writing, is a multi poll op of its own, in memory of the
 * loop's: the watcher's memory is free for use the moment it is closed, while a backend that
 * completes late may still hold the op. A report makes the side ready; its callback runs from the
 * ready queue like any other, once per poll however often it was reported.
 *
 *   watched --- on_readable(NULL), close ---> orphaned (owner NULL) --- the op's last _done --> freed
 *      |                                                                       ^
 *      `--- the backend ends the op with an error: the callback is told by being called once ---'
 */
#include "core/loop.h"

#include "sys/alloc.h"

struct iora__side {
    struct iora__op op;
    struct iora__ready ready;
    struct iora__link in_loop; /* among the loop's `sides` */
    iora_watcher *owner;       /* NULL: orphaned */
    iora_loop *loop;
    iora_callback_fn *fn;
    void *arg;
};

static void
run_side(struct iora__ready *ready)
{
    struct iora__side *const side = iora__container_of(ready, struct iora__side, ready);
    iora_loop *const loop = side->loop;
    const int64_t began_ns = loop->debug ? iora__loop_now_ns(loop) : 0;
    iora_callback_fn *const fn = side->fn;

    iora__loop_count_callback(loop);
    fn(side->arg); /* may close the watcher: side is gone then */
    if (loop->debug)
        iora__loop_note_duration(loop, began_ns, "a watcher's callback", (void *)(uintptr_t)fn);
}

static void
free_side(struct iora__side *side)
{
    iora__list_remove(&side->in_loop);
    iora__free(side);
}

static bool
is_over(const struct iora__side *side)
{
    return side->op._state == IORA__OP_IDLE;
}

static void
side_reported(struct iora__op *op)
{
    struct iora__side *const side = iora__container_of(op, struct iora__side, op);

    if (side->owner == NULL)
        free_side(side);
    else if (!iora__link_is_linked(&side->ready._link))
        iora__ready_push(side->loop, &side->ready);
}

static void
drop_side(struct iora__side *side)
{
    side->owner = NULL;
    iora__list_discard(&side->ready._link);
    if (is_over(side) || iora__op_cancel(side->loop, &side->op) == IORA__OP_DONE)
        free_side(side);
}

static int
make_side(iora_watcher *watcher, uint8_t events, iora_callback_fn *fn, void *arg,
          struct iora__side **out)
{
    struct iora__side *const side = iora__zalloc(sizeof *side);
    int rc;

    if (side == NULL)
        return -ENOMEM;
    side->op._done = side_reported;
    side->op._fd = watcher->_fd;
    side->op._kind = IORA__OP_POLL;
    side->op._flags = IORA__OP_MULTI;
    side->op._events = events;
    side->ready._run = run_side;
    side->owner = watcher;
    side->loop = watcher->_loop;
    side->fn = fn;
    side->arg = arg;
    if ((rc = iora__op_submit(side->loop, &side->op)) < 0) {
        iora__free(side);
        return rc;
    }
    iora__list_push_tail(&side->loop->sides, &side->in_loop);
    *out = side;
    return 0;
}

static int
set_side(iora_watcher *watcher, int which, iora_callback_fn *fn, void *arg)
{
    struct iora__side *side = watcher->_sides[which];
    int rc;

    if (fn == NULL && side == NULL)
        return 0; /* also when the loop is gone */
    if (watcher->_loop == NULL)
        return IORA_E_CLOSED;
    if ((rc = iora__loop_check(watcher->_loop, "a watcher's function")) < 0)
        return rc;
    if (fn != NULL && side != NULL && !is_over(side)) {
        side->fn = fn;
        side->arg = arg;
        return 0;
    }
    watcher->_sides[which] = NULL;
    if (side != NULL)
        drop_side(side);
    if (fn == NULL)
        return 0;
    return make_side(watcher, which == 0 ? IORA__READABLE : IORA__WRITABLE, fn, arg,
                     &watcher->_sides[which]);
}

void
iora_watcher_init(iora_watcher *watcher, iora_loop *loop, int fd)
{
    *watcher = (iora_watcher){._loop = loop, ._fd = fd};
}

int
iora_watcher_on_readable(iora_watcher *watcher, iora_callback_fn *fn, void *arg)
{
    return set_side(watcher, 0, fn, arg);
}

int
iora_watcher_on_writable(iora_watcher *watcher, iora_callback_fn *fn, void *arg)
{
    return set_side(watcher, 1, fn, arg);
}

void
iora_watcher_close(iora_watcher *watcher)
{
    (void)set_side(watcher, 0, NULL, NULL);
    (void)set_side(watcher, 1, NULL, NULL);
}

void
iora__watchers_stop(iora_loop *loop)
{
    struct iora__link *at = loop->sides._next;

    while (at != &loop->sides) {
        struct iora__side *const side = iora__container_of(at, struct iora__side, in_loop);
        iora_watcher *const owner = side->owner;

        at = at->_next;
        if (owner == NULL)
            continue;
        owner->_loop = NULL;
        owner->_sides[owner->_sides[0] == side ? 0 : 1] = NULL;
        drop_side(side);
    }
}

void
iora__watchers_free(iora_loop *loop)
{
    struct iora__link *link;

    while ((link = iora__list_pop(&loop->sides)) != NULL)
        iora__free(iora__container_of(link, struct iora__side, in_loop));
}
