/* tests/fault/scenarios_worlds.c -- a program drawn from a seed, in which everything is used at once.
 *
 * *Actors* do one *act* after another: each drawn, each with a deadline of its own, in a scope that the others cancel
 * now and then. All share one lock, one queue, one server and so on, so they are in each other's way. With
 * another seed of the ready order it is another program.
 *
 * Nobody knows what an act comes to. What must hold: nobody else is where one alone may be; what was taken out
 * had been put in, once; a byte that comes back is the one that was sent; and at the end nothing is missing, held
 * or left.
 */
#include "traffic.h"

#include "sys/random.h"

enum { ACTORS = 12, ACTS = 60, CHILDREN_MAX = 3, ITEMS_MAX = ACTORS * ACTS * 8, ECHO_MAX = 6000 };

static iora_lock lock, guard; /* the second is the condition's */
static iora_condition condition;
static iora_event event;
static iora_semaphore permits = IORA_BOUNDED_SEMAPHORE_INIT(2);
static iora_barrier barrier = IORA_BARRIER_INIT(3);
static iora_queue queue = IORA_QUEUE_INIT(sizeof(int), 3);
static iora_channel channel = IORA_CHANNEL_INIT(sizeof(int));
static int holders, guards, permitted;
static int generators_open;

struct actor {
    int name;
    uint64_t random;
    iora_scope *scope; /* of the act it is in; NULL: none */
};

static struct actor actors[ACTORS];

static int
draw(struct actor *actor, int below)
{
    return (int)(iora__random_next(&actor->random) % (uint64_t)below);
}

/* Up to 4 ms, and often none. */
static iora_duration
a_while(struct actor *actor)
{
    return iora_us(draw(actor, 3) == 0 ? 0 : draw(actor, 4000));
}

/* What may come of an act when nothing is made to go wrong: it is late, somebody cancelled it, a child failed. */
static int
lives_with(int rc)
{
    static const int usual[] = {-ECANCELED,    -ETIMEDOUT,    IORA_E_TASK_CANCELED,
                                IORA_E_BROKEN, IORA_E_CLOSED, -EIO,
                                -EPIPE,        -ECONNRESET,   -ECONNREFUSED,
                                -ECONNABORTED, IORA_E_TORN,   IORA_E_INCOMPLETE};

    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++) {
        if (rc == usual[i])
            return rc;
    }
    return rc < 0 ? EXPECT(rc, 0) : rc;
}

static int
rests(struct actor *actor)
{
    return iora_sleep(a_while(actor));
}

/* ---- one at a time, two at a time, three together ----------------------------------------------------------- */

static int
holds_the_lock(struct actor *actor)
{
    int rc = iora_lock_acquire(&lock);

    if (rc < 0)
        return rc;
    CHECK_EQ(holders++, 0);
    rc = rests(actor);
    holders--;
    CHECK_EQ(iora_lock_release(&lock), 0);
    return rc;
}

static int
takes_a_permit(struct actor *actor)
{
    int rc = iora_semaphore_acquire(&permits);

    if (rc < 0)
        return rc;
    CHECK(++permitted <= 2);
    rc = rests(actor);
    permitted--;
    CHECK_EQ(iora_semaphore_release(&permits), 0);
    return rc;
}

static int
waits_to_be_told(struct actor *actor)
{
    int rc;

    if (draw(actor, 3) == 0)
        return (int)iora_condition_notify(&condition, (size_t)draw(actor, 3));
    if ((rc = iora_lock_acquire(&guard)) < 0)
        return rc;
    CHECK_EQ(guards++, 0);
    guards--; /* given away while it waits */
    rc = iora_condition_wait(&condition, &guard);
    CHECK_EQ(guards++, 0);
    guards--;
    CHECK_EQ(iora_lock_release(&guard), 0);
    return rc;
}

static int
minds_the_event(struct actor *actor)
{
    switch (draw(actor, 3)) {
    case 0:
        iora_event_set(&event);
        return 0;
    case 1:
        iora_event_clear(&event);
        return 0;
    default:
        return iora_event_wait(&event);
    }
}

static int
meets_two_others(struct actor *actor)
{
    (void)actor;
    return iora_barrier_wait(&barrier);
}

/* ---- things that are handed on ------------------------------------------------------------------------------- */

enum fate { UNKNOWN, OFFERED, PUT, TAKEN_BACK, GOT };

/* Each item is put in once. */
struct post {
    int items, put, got;
    unsigned char fates[ITEMS_MAX];
};

static struct post queued, channelled;

static int
offer(struct post *post)
{
    CHECK(post->items < ITEMS_MAX);
    post->fates[post->items] = OFFERED;
    return post->items++;
}

/* What came of it. Somebody may have it before who put it in knows that he did. */
static void
settle(struct post *post, int item, int rc)
{
    if (rc >= 0)
        post->put++;
    else
        CHECK_EQ(post->fates[item], OFFERED);
    if (post->fates[item] == OFFERED)
        post->fates[item] = rc >= 0 ? PUT : TAKEN_BACK;
}

static void
take(struct post *post, int item)
{
    CHECK(item >= 0 && item < post->items);
    CHECK(post->fates[item] == OFFERED || post->fates[item] == PUT);
    post->fates[item] = GOT;
    post->got++;
}

static int
puts_something(struct actor *actor)
{
    const bool on_queue = draw(actor, 2) == 0;
    struct post *const post = on_queue ? &queued : &channelled;
    const int item = offer(post);
    const int rc =
        on_queue ? iora_queue_put(&queue, &item) : iora_channel_send(&channel, &item);

    settle(post, item, rc);
    return rc;
}

static int
gets_something(struct actor *actor)
{
    const bool from_queue = draw(actor, 2) == 0;
    int item = -1;
    const int rc =
        from_queue ? iora_queue_get(&queue, &item) : iora_channel_receive(&channel, &item);

    if (rc == 0)
        take(from_queue ? &queued : &channelled, item);
    return rc;
}

/* All in one: whatever comes first. */
static int
selects(struct actor *actor)
{
    int got = -1, received = -1;
    const int put = offer(&queued), sent = offer(&channelled);
    iora_clause clauses[] = {
        iora_on_get(&queue, &got),    iora_on_receive(&channel, &received),
        iora_on_put(&queue, &put),    iora_on_send(&channel, &sent),
        iora_on_acquire(&permits),    iora_on_lock(&lock),
        iora_on_event(&event),        iora_on_sleep(a_while(actor)),
    };
    const size_t first = (size_t)draw(actor, 3), n = 8 - first;

    const int index = iora_select(clauses + first, n);
    const int rc = index < 0 ? index : clauses[first + (size_t)index].rc;
    const int happened = index < 0 ? index : index + (int)first;

    settle(&queued, put, happened == 2 ? rc : -ECANCELED);
    settle(&channelled, sent, happened == 3 ? rc : -ECANCELED);
    if (rc < 0)
        return rc;
    if (happened == 0)
        take(&queued, got);
    else if (happened == 1)
        take(&channelled, received);
    else if (happened == 4)
        CHECK_EQ(iora_semaphore_release(&permits), 0);
    else if (happened == 5)
        CHECK_EQ(iora_lock_release(&lock), 0);
    return rc;
}

/* ---- a server -------------------------------------------------------------------------------------------------- */

static iora_server *server;
static uint16_t port; /* 0: none */

static int
echoes(iora_stream *stream, void *arg)
{
    char data[1500];
    int rc;

    (void)arg;
    while ((rc = iora_read(stream, data, sizeof data)) > 0 &&
           (rc = iora_write(stream, data, (size_t)rc)) == 0)
        continue;
    return 0; /* clients leave as they like */
}

static int
exchanges(struct actor *actor, iora_stream *stream)
{
    char data[ECHO_MAX];
    size_t at = 0;
    int rc = 0;

    while (rc >= 0 && draw(actor, 4) != 0) {
        const size_t n = (size_t)draw(actor, ECHO_MAX) + 1;

        flow_fill(actor->name, at, data, n);
        if ((rc = iora_write(stream, data, n)) == 0 &&
            (rc = iora_read_exactly(stream, data, n)) >= 0)
            flow_check(actor->name, at, data, n);
        at += n;
    }
    return rc;
}

static int
calls_the_server(struct actor *actor)
{
    iora_stream *stream;
    int rc = port != 0 ? iora_open_connection("127.0.0.1", port, NULL, &stream) : IORA_E_CLOSED;

    if (rc < 0)
        return rc;
    rc = exchanges(actor, stream);
    if (draw(actor, 2) == 0)
        iora_stream_abort(stream);
    else
        (void)lives_with(iora_stream_close(stream));
    return rc;
}

/* ---- tasks of tasks ------------------------------------------------------------------------------------------------ */

static int act_simply(struct actor *actor);

/* A child does an act or two, and some fail. */
static int
is_child(struct actor *actor)
{
    IN_TASK;
    int rc = lives_with(act_simply(actor));

    if (rc >= 0 && draw(actor, 2) == 0)
        rc = lives_with(act_simply(actor));
    if (rc >= 0 && draw(actor, 4) == 0)
        return iora_fail(-EIO, "child of actor %d", actor->name);
    return rc < 0 ? rc : 0;
}
IORA_ASYNC(is_child, struct actor *);

static void
bear(struct actor *parent, struct actor children[CHILDREN_MAX])
{
    for (int i = 0; i < CHILDREN_MAX; i++)
        children[i] = (struct actor){.name = parent->name,
                                     .random = iora__random_next(&parent->random)};
}

static int
has_a_group(struct actor *actor)
{
    struct actor children[CHILDREN_MAX];
    const int count = 1 + draw(actor, CHILDREN_MAX);
    int rc = 0;

    bear(actor, children);
    IORA_GROUP(rc, group) {
        for (int i = 0; i < count; i++)
            (void)SPAWN(iora_group_go(&group, is_child, &children[i]));
        rc = draw(actor, 2) == 0 ? rests(actor) : 0;
    }
    return rc;
}

static int
gathers(struct actor *actor)
{
    struct actor children[CHILDREN_MAX];

    bear(actor, children);
    return iora_gather(SPAWN(iora_go(is_child, &children[0])),
                       SPAWN(iora_go(is_child, &children[1])),
                       SPAWN(iora_go(is_child, &children[2])));
}

static int
waits_for_the_first(struct actor *actor)
{
    struct actor children[CHILDREN_MAX];
    iora_task tasks[CHILDREN_MAX];
    int rc = 0;

    bear(actor, children);
    for (int i = 0; i < CHILDREN_MAX; i++)
        tasks[i] = SPAWN(iora_go(is_child, &children[i]));
    rc = iora_wait(tasks, CHILDREN_MAX, IORA_FIRST_COMPLETED);
    for (int i = 0; i < CHILDREN_MAX; i++) {
        if (!iora_task_is_valid(tasks[i]))
            continue;
        (void)iora_cancel(tasks[i]);
        (void)iora_await(tasks[i]);
    }
    return rc;
}

static int
numbers(int *out, struct actor *actor, int count)
{
    int rc = 0, closing;

    generators_open++;
    for (int i = 0; i < count && rc == 0; i++) {
        if ((rc = rests(actor)) == 0)
            rc = iora_emit(out, i);
    }
    closing = iora_cleanup(rests(actor), iora_ms(5));
    (void)lives_with(closing);
    generators_open--;
    return rc;
}
IORA_ASYNC(numbers, int *, struct actor *, int);

static int
follows_a_generator(struct actor *actor)
{
    struct actor of_its_own = {.name = actor->name, .random = iora__random_next(&actor->random)};
    const int enough = draw(actor, 8);
    int number, expected = 0, rc = 0;

    iora_for_each(rc, numbers, &number, &of_its_own, 5) {
        CHECK_EQ(number, expected++);
        if (number == enough)
            break;
    }
    return rc;
}

static int
twice(void *arg)
{
    int *const number = arg;

    *number *= 2;
    return *number;
}

static int
has_it_done_in_a_thread(struct actor *actor)
{
    int number = 1 + draw(actor, 1000);
    const int before = number, rc = iora_to_thread(twice, &number);

    CHECK_EQ(number, rc < 0 ? before : 2 * before);
    return rc < 0 ? rc : 0;
}

/* ---- acts ------------------------------------------------------------------------------------------------------------ */

static int
cleans_up(struct actor *actor)
{
    const int rc = rests(actor), cleaned = iora_cleanup(rests(actor), iora_ms(3));

    return rc < 0 ? rc : cleaned;
}

static int
is_impatient(struct actor *actor)
{
    return iora_wait_for(act_simply(actor), a_while(actor));
}

static int
interferes(struct actor *actor)
{
    const struct actor *const other = &actors[draw(actor, ACTORS)];

    if (other->scope != NULL && other != actor)
        iora_scope_cancel(other->scope);
    return iora_yield();
}

typedef int act_fn(struct actor *actor);

static act_fn *const simple_acts[] = {
    rests,           holds_the_lock, takes_a_permit, waits_to_be_told,       minds_the_event,
    meets_two_others, puts_something, gets_something, selects,               cleans_up,
    has_it_done_in_a_thread};
static act_fn *const other_acts[] = {
    calls_the_server,    calls_the_server,    has_a_group,  gathers,
    waits_for_the_first, follows_a_generator, is_impatient, interferes};

enum {
    SIMPLE_ACTS = sizeof simple_acts / sizeof simple_acts[0],
    OTHER_ACTS = sizeof other_acts / sizeof other_acts[0]
};

static int
act_simply(struct actor *actor)
{
    return simple_acts[draw(actor, SIMPLE_ACTS)](actor);
}

static int
act(struct actor *actor)
{
    iora_scope scope;
    int rc;

    iora_timeout_begin(&scope, iora_us(100 + draw(actor, 30000)));
    actor->scope = &scope;
    rc = draw(actor, 2) == 0 ? act_simply(actor) : other_acts[draw(actor, OTHER_ACTS)](actor);
    actor->scope = NULL;
    return iora_timeout_end(&scope, rc);
}

static int
acts(struct actor *actor)
{
    IN_TASK;

    for (int i = 0; i < ACTS && !iora_is_cancelled(); i++)
        (void)lives_with(act(actor));
    return 0;
}
IORA_ASYNC(acts, struct actor *);

static int
is_a_world(void)
{
    int rc = WELL(iora_start_server("127.0.0.1", 0, echoes, NULL, NULL, &server));

    port = rc == 0 ? iora_server_port(server) : 0;
    IORA_GROUP(rc, group) {
        for (int i = 0; i < ACTORS; i++) {
            actors[i] = (struct actor){.name = i, .random = fault_seed() * ACTORS + (uint64_t)i};
            (void)SPAWN(iora_group_go(&group, acts, &actors[i]));
        }
    }
    rc = EXPECT(rc, 0);
    if (port != 0)
        (void)WELL(iora_server_stop(server, iora_ms(50)));
    return rc;
}
IORA_ASYNC(is_a_world);

SCENARIO(worlds, drawn, SIM)
{
    int item;

    fault_expect_log("pauses accepting");
    RUN(is_a_world);
    while (iora_queue_get_nowait(&queue, &item) == 0)
        take(&queued, item);
    CHECK_EQ(queued.got, queued.put);
    CHECK_EQ(channelled.got, channelled.put);
    CHECK(!iora_lock_is_locked(&lock));
    CHECK(!iora_lock_is_locked(&guard));
    CHECK_EQ(iora_semaphore_value(&permits), 2);
    CHECK_EQ(iora_barrier_waiting(&barrier), 0);
    CHECK_EQ(generators_open, 0);
    CHECK_EQ(iora_queue_destroy(&queue), 0);
}
