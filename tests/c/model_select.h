/* tests/c/model_select.h -- the model of what iora_select() waits for, and workers that do what chance, or a fuzzer,
 * draws.
 *
 * The model is objects with lines of those who wait, each with the clause he waits with. Values are never used
 * twice, so that each can be followed. A worker waits in several lines, and leaves all when one lets him go.
 */
#ifndef IORA_TESTS_MODEL_SELECT_H
#define IORA_TESTS_MODEL_SELECT_H

#include "chance.h"

enum { QUEUES = 2, CHANNELS = 2, CLAUSES = 4, OPERATIONS = 25, STORE_MAX = 3 };
enum kind { ON_PUT, ON_GET, ON_SEND, ON_RECEIVE, ON_ACQUIRE, ON_LOCK, ON_EVENT, ON_NOTHING };

struct wish {
    enum kind kind;
    int object; /* which queue or channel */
    int value;  /* to put or send; what was got or received */
    int got;    /* the same as the model has it */
};

struct place {
    struct worker *worker;
    int wish;
};

struct places {
    struct place at[WORKERS_MAX * CLAUSES];
    int count;
};

static struct {
    iora_queue queues[QUEUES];
    iora_channel channels[CHANNELS];
    iora_semaphore semaphore;
    iora_lock lock;
    iora_event event;
    int stored[QUEUES][STORE_MAX], store_count[QUEUES], maxsize[QUEUES];
    int permits;
    struct worker *owner;
    bool is_set;
    struct places putters[QUEUES], getters[QUEUES], senders[CHANNELS], receivers[CHANNELS];
    struct places for_permit, for_lock, for_event;
    struct wish wishes[WORKERS_MAX][CLAUSES];
    int last_value;
} world;

static struct wish *
wish_of(struct place place)
{
    return &world.wishes[place.worker->index][place.wish];
}

static struct places *
line_of(const struct wish *wish)
{
    switch (wish->kind) {
    case ON_PUT:
        return &world.putters[wish->object];
    case ON_GET:
        return &world.getters[wish->object];
    case ON_SEND:
        return &world.senders[wish->object];
    case ON_RECEIVE:
        return &world.receivers[wish->object];
    case ON_ACQUIRE:
        return &world.for_permit;
    case ON_LOCK:
        return &world.for_lock;
    default:
        return &world.for_event;
    }
}

static void
leave_line(struct places *line, const struct worker *worker)
{
    int kept = 0;

    for (int i = 0; i < line->count; i++) {
        if (line->at[i].worker != worker)
            line->at[kept++] = line->at[i];
    }
    line->count = kept;
}

static void
leave_all_lines(struct worker *worker)
{
    for (int i = 0; i < QUEUES; i++) {
        leave_line(&world.putters[i], worker);
        leave_line(&world.getters[i], worker);
    }
    for (int i = 0; i < CHANNELS; i++) {
        leave_line(&world.senders[i], worker);
        leave_line(&world.receivers[i], worker);
    }
    leave_line(&world.for_permit, worker);
    leave_line(&world.for_lock, worker);
    leave_line(&world.for_event, worker);
}

static void
leave_select(struct worker *worker)
{
    leave_all_lines(worker);
    worker_settled(worker, -ECANCELED);
}

/* The first in a line gets what he waits for. */
static struct place
let_go(struct places *line)
{
    const struct place first = line->at[0];

    leave_all_lines(first.worker);
    worker_settled(first.worker, first.wish);
    return first;
}

static void
model_put(int queue_index, int value)
{
    if (world.getters[queue_index].count > 0)
        wish_of(let_go(&world.getters[queue_index]))->got = value;
    else
        world.stored[queue_index][world.store_count[queue_index]++] = value;
}

static int
model_get(int i)
{
    const int value = world.stored[i][0];

    world.store_count[i]--;
    memmove(&world.stored[i][0], &world.stored[i][1],
            sizeof world.stored[i] - sizeof world.stored[i][0]);
    if (world.putters[i].count > 0)
        world.stored[i][world.store_count[i]++] = wish_of(let_go(&world.putters[i]))->value;
    return value;
}

/* Do it in the model; false if it must wait. */
static bool
model_try(struct worker *worker, struct wish *wish)
{
    const int i = wish->object;

    switch (wish->kind) {
    case ON_PUT:
        if (world.store_count[i] == world.maxsize[i])
            return false;
        model_put(i, wish->value);
        return true;
    case ON_GET:
        if (world.store_count[i] == 0)
            return false;
        wish->got = model_get(i);
        return true;
    case ON_SEND:
        if (world.receivers[i].count == 0)
            return false;
        wish_of(let_go(&world.receivers[i]))->got = wish->value;
        return true;
    case ON_RECEIVE:
        if (world.senders[i].count == 0)
            return false;
        wish->got = wish_of(let_go(&world.senders[i]))->value;
        return true;
    case ON_ACQUIRE:
        return world.permits > 0 && world.permits-- > 0;
    case ON_LOCK:
        if (world.owner == NULL)
            world.owner = worker;
        return world.owner == worker;
    case ON_EVENT:
        return world.is_set;
    case ON_NOTHING:
        break;
    }
    return true;
}

static void
model_select(struct worker *worker, int n)
{
    struct wish *const wishes = world.wishes[worker->index];

    for (int i = 0; i < n; i++) {
        if (model_try(worker, &wishes[i])) {
            worker->expected = i;
            return;
        }
    }
    worker_waits(worker);
    for (int i = 0; i < n; i++) {
        struct places *const line = line_of(&wishes[i]);

        line->at[line->count++] = (struct place){worker, i};
    }
}

static iora_clause
clause_of(struct wish *wish)
{
    switch (wish->kind) {
    case ON_PUT:
        return iora_on_put(&world.queues[wish->object], &wish->value);
    case ON_GET:
        return iora_on_get(&world.queues[wish->object], &wish->value);
    case ON_SEND:
        return iora_on_send(&world.channels[wish->object], &wish->value);
    case ON_RECEIVE:
        return iora_on_receive(&world.channels[wish->object], &wish->value);
    case ON_ACQUIRE:
        return iora_on_acquire(&world.semaphore);
    case ON_LOCK:
        return iora_on_lock(&world.lock);
    case ON_EVENT:
        return iora_on_event(&world.event);
    case ON_NOTHING:
        break;
    }
    return iora_on_sleep(iora_ns(0));
}

/* The same as a plain call: these wait in the same lines. */
static int
call_of(struct wish *wish)
{
    switch (wish->kind) {
    case ON_PUT:
        return iora_queue_put(&world.queues[wish->object], &wish->value);
    case ON_GET:
        return iora_queue_get(&world.queues[wish->object], &wish->value);
    case ON_SEND:
        return iora_channel_send(&world.channels[wish->object], &wish->value);
    case ON_RECEIVE:
        return iora_channel_receive(&world.channels[wish->object], &wish->value);
    case ON_ACQUIRE:
        return iora_semaphore_acquire(&world.semaphore);
    case ON_LOCK:
        return iora_lock_acquire(&world.lock);
    case ON_EVENT:
        return iora_event_wait(&world.event);
    case ON_NOTHING:
        break;
    }
    return 0;
}

static void
model_release_lock(void)
{
    world.owner = world.for_lock.count > 0 ? let_go(&world.for_lock).worker : NULL;
}

static void
release_permit(void)
{
    if (world.for_permit.count > 0)
        (void)let_go(&world.for_permit);
    else
        world.permits++;
    MUST_EQ(iora_semaphore_release(&world.semaphore), 0);
}

/* What was won is what the model says, and goes back where it must. */
static void
check_won(struct worker *worker, struct wish *wish)
{
    switch (wish->kind) {
    case ON_GET:
    case ON_RECEIVE:
        MUST_EQ(wish->value, wish->got);
        break;
    case ON_ACQUIRE:
        if (one_in(2))
            MUST_EQ(iora_yield(), 0);
        release_permit();
        break;
    case ON_LOCK:
        MUST(world.owner == worker);
        if (one_in(2))
            MUST_EQ(iora_yield(), 0);
        model_release_lock();
        MUST_EQ(iora_lock_release(&world.lock), 0);
        break;
    default:
        break;
    }
}

static void
make_wishes(struct worker *worker, int n)
{
    for (int i = 0; i < n; i++) {
        struct wish *const wish = &world.wishes[worker->index][i];

        *wish = (struct wish){.kind = (enum kind)below(one_in(8) ? ON_NOTHING + 1 : ON_NOTHING),
                              .object = below(2)};
        if (wish->kind == ON_PUT || wish->kind == ON_SEND)
            wish->value = ++world.last_value;
    }
}

static int
select_wishes(struct worker *worker, int n)
{
    iora_clause clauses[CLAUSES];
    int index;

    for (int i = 0; i < n; i++)
        clauses[i] = clause_of(&world.wishes[worker->index][i]);
    index = iora_select(clauses, (size_t)n);
    if (index >= 0)
        MUST_EQ(clauses[index].rc, 0);
    return index;
}

static void
select_at_random(struct worker *worker)
{
    const bool plainly = one_in(4);
    const int n = plainly ? 1 : 1 + below(CLAUSES);
    struct wish *const wishes = world.wishes[worker->index];
    int index;

    make_wishes(worker, n);
    if (!plainly && one_in(10)) {
        MUST_EQ(CANCELLED(select_wishes(worker, n)), -ECANCELED);
        return;
    }
    model_select(worker, n);
    index = IN_WORKERS_SCOPE(worker, plainly ? call_of(&wishes[0]) : select_wishes(worker, n));
    MUST(!worker->waits);
    MUST_EQ(index, worker->expected);
    for (int i = 0; i < n; i++) {
        if (i != index && (wishes[i].kind == ON_GET || wishes[i].kind == ON_RECEIVE))
            MUST_EQ(wishes[i].value, 0);
    }
    if (index >= 0)
        check_won(worker, &wishes[index]);
}

static void
change_event(void)
{
    world.is_set = !world.is_set;
    while (world.is_set && world.for_event.count > 0)
        (void)let_go(&world.for_event);
    if (world.is_set)
        iora_event_set(&world.event);
    else
        iora_event_clear(&world.event);
}

static int
work_with_select(struct worker *worker)
{
    for (int i = 0; i < OPERATIONS; i++) {
        if (one_in(8))
            MUST_EQ(iora_yield(), 0);
        else if (one_in(8))
            cancel_somebody(worker, leave_select);
        else if (one_in(12))
            change_event();
        else
            select_at_random(worker);
    }
    chance.workers_live--;
    return 0;
}
IORA_ASYNC(work_with_select, struct worker *);

static void
check_world(void)
{
    for (int i = 0; i < QUEUES; i++) {
        MUST_EQ(iora_queue_size(&world.queues[i]), world.store_count[i]);
        while (world.store_count[i] > 0) {
            int value;

            MUST_EQ(iora_queue_get_nowait(&world.queues[i], &value), 0);
            MUST_EQ(value, model_get(i));
        }
        MUST_EQ(iora_queue_destroy(&world.queues[i]), 0);
    }
    for (int i = 0; i < CHANNELS; i++)
        MUST(world.channels[i]._senders._first == NULL &&
             world.channels[i]._receivers._first == NULL);
    MUST_EQ(iora_semaphore_value(&world.semaphore), world.permits);
    MUST(world.semaphore._waiters._first == NULL && world.event._waiters._first == NULL);
    MUST(!iora_lock_is_locked(&world.lock));
}

static int
try_select(void)
{
    memset(&world, 0, sizeof world);
    for (int i = 0; i < QUEUES; i++) {
        world.maxsize[i] = 1 + below(STORE_MAX);
        world.queues[i] = (iora_queue)IORA_QUEUE_INIT(sizeof(int), (size_t)world.maxsize[i]);
        world.channels[i] = (iora_channel)IORA_CHANNEL_INIT(sizeof(int));
    }
    world.permits = below(3);
    world.semaphore = (iora_semaphore)IORA_SEMAPHORE_INIT((size_t)world.permits);
    RUN_WORKERS(work_with_select, leave_select);
    check_world();
    return 0;
}
IORA_ASYNC(try_select);

#endif
