/* fuzz/programs.c -- programs of tasks that do anything the library can, in any order, in a simulated loop.
 *
 * The choices are the seed of the ready order, which allocation fails (0: none does), and then what each task does
 * next, as it comes to run: a task does a few *deeds*, each by a function below, and some deeds consist of others: a
 * scope, a group, a generator's loop. All tasks share one *world* of objects, whose handles may be stale, whose
 * locks may make a ring, and whose waits nobody may ever end; then the run says that it is a deadlock.
 *
 * What must be true however it goes:
 * (1) Each call returns what its header says it may (may_be()). -ECANCELED in particular only where
 *     iora_is_cancelled() says so too.
 * (2) A lock has one holder, a semaphore no more than its permits; what was put is got once, and nothing else;
 *     an echo gives back the bytes in their order.
 * (3) The run ends, in a bounded number of turns, and nothing is left (fuzz_end_loop()).
 *
 * One thing is not done, since nothing could end it: to join a task while one holds the lock that this task may have to
 * take again, after a condition.
 */
#include "fuzz.h"

#include "sys/seam.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEEDS_MAX = 1500, /* of all tasks together, and */
    DEEDS = 8,        /* of one; a deed within a deed counts for itself */
    DEPTH_MAX = 5,
    TASKS_MAX = 40,
    SCOPES_MAX = 16,
    OBJECTS = 2,
    PERMITS = 2,
    ENDS = 4,
    VALUES = 2 * DEEDS_MAX,
    TURNS_MAX = 200000
};

/* A client's end of a connection to the echo. */
struct end {
    iora_stream *stream; /* NULL: none */
    int serial;          /* of the connection */
    size_t sent, received;
    size_t sending; /* by a write that has not returned: a part may have come back before */
    bool torn;      /* what was sent is not known any more */
};

static struct {
    iora_loop *loop;
    long turns;
    int deeds;
    bool allocation_fails;
    iora_task tasks[TASKS_MAX];
    int task_count;
    iora_scope *scopes[SCOPES_MAX];

    iora_lock locks[OBJECTS];
    bool held[OBJECTS];
    iora_condition condition; /* of the first lock */
    iora_semaphore semaphore;
    int permits_taken;
    iora_event event;
    iora_barrier barrier;
    iora_queue queue;
    bool dropped; /* the queue was shut down, and what lay in it is lost */
    bool was_put[VALUES], was_got[VALUES];
    iora_channel channel;
    int last_value;
    iora_future futures[OBJECTS];
    iora_handle handle, done_handle, future_handle, remote_handle;
    bool is_remote_pending;
    iora_timer timer;
    iora_server *server;
    struct end ends[ENDS];
} world;

static int do_something(int depth);
static int do_something_alone(void);

/* ---- what may be --------------------------------------------------------------------------------------- */

static int
may_be_one_of(const char *what, int rc, const int *codes, size_t n)
{
    if (rc == -ECANCELED && iora_is_cancelled())
        return rc;
    if ((rc == -ENOMEM || rc == IORA_E_STACK_LIMIT) && world.allocation_fails)
        return rc;
    for (size_t i = 0; i < n; i++) {
        if (rc == codes[i])
            return rc;
    }
    fuzz_fail("%s: %d %s", what, rc, iora_err_name(rc));
}

/* rc, which is one of these, or says that the scope is cancelled or memory was lacking. */
#define MAY_BE(call, ...)                                                                          \
    may_be_one_of(#call, (call), (const int[]){__VA_ARGS__},                                       \
                  sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fuzz_fail("line %d: %s", __LINE__, #condition);                                        \
    } while (0)

/* What a task of this file may end with, as those see it who await it. */
#define TASKS_CODES 0, -EIO, IORA_E_TASK_CANCELED

static iora_duration
some_time(void)
{
    static const int64_t times_us[] = {100, 0, 1, 1000, 2000, 5000, 100000, 60000000};

    return iora_us((double)times_us[fuzz_choose(8)]);
}

/* ---- tasks ----------------------------------------------------------------------------------------------- */

static int
program(int depth)
{
    int rc = 0;

    for (int i = 0; i < DEEDS && !fuzz_is_over(); i++)
        rc = do_something(depth);
    return rc == -ECANCELED && iora_is_cancelled() ? rc : fuzz_choose(8) == 1 ? -EIO : 0;
}
IORA_ASYNC(program, int);

static void
remember(iora_task task)
{
    if (iora_task_is_valid(task))
        world.tasks[world.task_count++ % TASKS_MAX] = task;
    else
        (void)MAY_BE(iora_task_error(task), IORA_E_CLOSED);
}

static int
start_task(int depth)
{
    if (depth >= DEPTH_MAX || world.task_count >= TASKS_MAX)
        return iora_yield();
    switch (fuzz_choose(4)) {
    case 0:
        remember(iora_go(program, depth + 1));
        break;
    case 1:
        remember(iora_go_eager(program, depth + 1));
        break;
    case 2:
        remember(iora_go_detached(program, depth + 1));
        break;
    default:
        remember(iora_go_sized(128 * 1024, program, depth + 1));
    }
    return 0;
}

static iora_task
some_task(void)
{
    const int known = world.task_count < TASKS_MAX ? world.task_count : TASKS_MAX;

    return world.tasks[fuzz_choose(known)];
}

static int
await_task(void)
{
    return MAY_BE(iora_await(some_task()), TASKS_CODES, -ESRCH, -EDEADLK);
}

static int
shield_task(void)
{
    return MAY_BE(iora_shield(some_task()), TASKS_CODES, -ESRCH, -EDEADLK);
}

static int
gather_tasks(void)
{
    const iora_task tasks[] = {some_task(), some_task(), some_task()};
    int codes[3] = {1, 1, 1}, rc;

    if (fuzz_choose(2) == 0)
        return MAY_BE(iora_gather_n(tasks, (size_t)fuzz_choose(4)), TASKS_CODES, -ESRCH, -EDEADLK);
    rc = MAY_BE(iora_gather_all_n(codes, tasks, 3), 0, -EDEADLK);
    for (int i = 0; rc == 0 && i < 3; i++)
        (void)MAY_BE(codes[i], TASKS_CODES, -ESRCH, -EDEADLK);
    return rc;
}

static int
wait_for_tasks(void)
{
    const iora_task tasks[] = {some_task(), some_task()};
    const int rc = iora_wait(tasks, 2, (iora_wait_until)fuzz_choose(3));

    return MAY_BE(rc, 0, 1, 2, -ESRCH, -EDEADLK);
}

static int
cancel_task(void)
{
    return MAY_BE(iora_cancel(some_task()), 0, -ESRCH);
}

static void
ignore_line(void *arg, const char *line)
{
    (void)arg;
    MUST(strlen(line) > 0);
}

/* What looks, and changes nothing. */
static int
look_round(void)
{
    const iora_task task = some_task();
    iora_task all[4];
    iora_census census;
    size_t causes = 0;

    for (const iora_error *at = iora_error_last(); at != NULL; at = at->cause)
        MUST(at->code < 0 && at->what != NULL && causes++ < 64);
    MUST(iora_task_name(task) != NULL);
    MUST(iora_task_is_done(task) || iora_task_id(task) != 0);
    (void)iora_task_is_same(task, iora_current());
    (void)iora_all_tasks(all, 4);
    iora_loop_census(world.loop, &census);
    MUST(census.tasks >= 1);
    iora_dump_tasks(world.loop, ignore_line, NULL);
    return 0;
}

static int
set_things(void)
{
    static const iora_local key;

    switch (fuzz_choose(3)) {
    case 0:
        return MAY_BE(iora_task_set_name(some_task(), "another"), 0, -ESRCH);
    case 1:
        return iora_local_get(&key) == &world ? 0 : MAY_BE(iora_local_set(&key, &world), 0);
    default:
        return iora_fail(-EIO, "deed %d", world.deeds);
    }
}

/* ---- callbacks --------------------------------------------------------------------------------------------- */

static void
call_back(void *arg)
{
    (void)arg;
    switch (fuzz_choose(4)) {
    case 0:
        iora_event_set(&world.event);
        break;
    case 1:
        (void)iora_cancel(some_task());
        break;
    case 2:
        if (world.task_count < TASKS_MAX)
            remember(iora_go(program, DEPTH_MAX - 1));
        break;
    default:
        (void)iora_future_set(&world.futures[0], -EIO, NULL);
    }
}

static void
call_back_from_remote(void *arg)
{
    world.is_remote_pending = false;
    call_back(arg);
}

static int
call_by_remote(void)
{
    iora_remote *remote;
    const int rc = MAY_BE(iora_remote_open(world.loop, &remote), 0);

    if (rc < 0)
        return rc;
    if (!world.is_remote_pending)
        MUST(iora_remote_call_soon(remote, &world.remote_handle, call_back_from_remote, NULL) == 0);
    world.is_remote_pending = true;
    iora_remote_close(remote);
    return 0;
}

static int
call_later(void)
{
    switch (fuzz_choose(6)) {
    case 0:
        return MAY_BE(iora_call_soon(world.loop, &world.handle, call_back, NULL), 0, -EBUSY);
    case 1:
        return MAY_BE(iora_call_later(world.loop, &world.timer, some_time(), call_back, NULL), 0);
    case 2:
        (void)iora_timer_cancel(&world.timer);
        return 0;
    case 3:
        return MAY_BE(iora_task_on_done(some_task(), &world.done_handle, call_back, NULL), 0,
                      -ESRCH, -EBUSY);
    case 4:
        return MAY_BE(iora_future_on_done(&world.futures[fuzz_choose(OBJECTS)], world.loop,
                                          &world.future_handle, call_back, NULL),
                      0, -EBUSY);
    default:
        return call_by_remote();
    }
}

/* ---- scopes, groups, generators ------------------------------------------------------------------------------ */

/* Let others cancel the scope; where it stands, or -1. */
static int
show_scope(iora_scope *scope)
{
    for (int i = 0; i < SCOPES_MAX; i++) {
        if (world.scopes[i] == NULL) {
            world.scopes[i] = scope;
            return i;
        }
    }
    return -1;
}

static void
hide_scope(int place)
{
    if (place >= 0)
        world.scopes[place] = NULL;
}

static int
do_in_scope(int depth)
{
    const bool is_cleanup = fuzz_choose(4) == 1;
    const int deeds = 1 + fuzz_choose(3);
    iora_scope scope;
    int place, rc = 0, mapped;

    (is_cleanup ? iora_cleanup_begin : iora_timeout_begin)(&scope, some_time());
    place = show_scope(&scope);
    for (int i = 0; i < deeds; i++)
        rc = do_something(depth + 1);
    hide_scope(place);
    mapped = iora_timeout_end(&scope, rc);
    MUST(mapped == rc || (rc == -ECANCELED && mapped == -ETIMEDOUT));
    MUST(mapped != -ETIMEDOUT || (iora_timed_out(&scope) && !iora_is_cancelled()));
    MUST(iora_timeout_end(&scope, 0) == 0);
    return iora_is_cancelled() ? -ECANCELED : 0;
}

static int
touch_scope(void)
{
    iora_scope *const scope = world.scopes[fuzz_choose(SCOPES_MAX)];

    if (scope != NULL && fuzz_choose(2) == 0)
        iora_scope_cancel(scope);
    else if (scope != NULL)
        iora_timeout_reset(scope, some_time());
    return 0;
}

static int
do_in_group(int depth)
{
    static const unsigned policies[] = {IORA_GROUP_FAIL_FAST, IORA_GROUP_ISOLATE,
                                        IORA_GROUP_ISOLATE | IORA_GROUP_KEEP};
    const int members = fuzz_choose(4), how = fuzz_choose(8);
    iora_task member;
    int code = 0, rc = 0;

    IORA_GROUP_OF(rc, group, policies[fuzz_choose(3)]) {
        for (int i = 0; i < members && depth < DEPTH_MAX && world.task_count < TASKS_MAX; i++)
            remember(iora_group_go(&group, program, depth + 1));
        (void)do_something(depth + 1);
        if (how == 1)
            iora_group_cancel(&group);
        else if (how == 2)
            break;
        else if (how == 3)
            rc = -EIO;
        while (how >= 4 && MAY_BE(iora_group_next(&group, &member, &code), 0, -ENOENT, -EINVAL,
                                  IORA_E_CLOSED) == 0)
            (void)MAY_BE(code, TASKS_CODES);
    }
    return MAY_BE(rc, TASKS_CODES);
}

static int
produce(int *out, int depth)
{
    const int count = fuzz_choose(5);
    int rc = 0;

    for (int i = 0; i < count && rc == 0; i++) {
        if (fuzz_choose(3) == 1)
            (void)do_something(depth + 1);
        rc = MAY_BE(iora_emit(out, i), 0);
    }
    if (fuzz_choose(4) == 1)
        (void)iora_cleanup(do_something(depth + 1), iora_ms(1));
    return rc == 0 && fuzz_choose(4) == 1 ? -EIO : rc;
}
IORA_ASYNC(produce, int *, int);

static int
consume(int depth)
{
    const int until = fuzz_choose(5);
    int value = -1, rc, expected = 0;

    iora_for_each(rc, produce, &value, depth + 1) {
        MUST(value == expected++);
        if (value == until)
            break;
        if (fuzz_choose(3) == 1)
            (void)do_something(depth + 1);
    }
    return rc == 1 ? 0 : MAY_BE(rc, 0, -EIO);
}

/* ---- what tasks wait for ---------------------------------------------------------------------------------------- */

static void
hold(int i)
{
    MUST(!world.held[i]);
    world.held[i] = true;
}

static void
release(int i)
{
    MUST(world.held[i]);
    world.held[i] = false;
    MUST(iora_lock_release(&world.locks[i]) == 0);
}

static int
wait_for_condition(void)
{
    int rc;

    world.held[0] = false;
    rc = MAY_BE(iora_condition_wait(&world.condition, &world.locks[0]), 0);
    hold(0);
    return rc;
}

static int
use_lock(int depth)
{
    const int i = fuzz_choose(OBJECTS);
    int rc = fuzz_choose(4) == 1 ? iora_lock_acquire_nowait(&world.locks[i])
                                 : iora_lock_acquire(&world.locks[i]);

    if (MAY_BE(rc, 0, -EDEADLK, -EAGAIN) < 0)
        return rc;
    hold(i);
    if (i > 0)
        (void)do_something(depth + 1);
    else if (fuzz_choose(4) == 1)
        rc = wait_for_condition();
    else
        (void)do_something_alone();
    release(i);
    return rc;
}

static int
use_semaphore(int depth)
{
    const int rc = MAY_BE(iora_semaphore_acquire(&world.semaphore), 0);

    if (rc < 0)
        return rc;
    MUST(world.permits_taken++ < PERMITS);
    (void)do_something(depth + 1);
    world.permits_taken--;
    MUST(iora_semaphore_release(&world.semaphore) == 0);
    return 0;
}

static int
use_event(void)
{
    switch (fuzz_choose(4)) {
    case 0:
        iora_event_set(&world.event);
        return 0;
    case 1:
        iora_event_clear(&world.event);
        return 0;
    case 2:
        (void)iora_condition_notify(&world.condition, (size_t)fuzz_choose(3));
        return 0;
    default:
        return MAY_BE(iora_event_wait(&world.event), 0);
    }
}

static int
use_barrier(void)
{
    switch (fuzz_choose(6)) {
    case 0:
        iora_barrier_abort(&world.barrier);
        return 0;
    case 1:
        iora_barrier_reset(&world.barrier);
        return 0;
    default:
        return MAY_BE(iora_barrier_wait(&world.barrier), 0, 1, IORA_E_BROKEN);
    }
}

static int
use_future(void)
{
    iora_future *const future = &world.futures[fuzz_choose(OBJECTS)];
    void *value = NULL;
    int rc;

    if (fuzz_choose(3) == 1)
        return MAY_BE(iora_future_set(future, fuzz_choose(2), &world), 0, -EALREADY);
    rc = MAY_BE(iora_future_await(future, &value), 0, 1, -EIO);
    MUST(rc < 0 || value == &world);
    return rc;
}

/* ---- what goes through queue and channel ------------------------------------------------------------------------- */

static int
next_value(void)
{
    MUST(world.last_value + 1 < VALUES);
    return ++world.last_value;
}

static void
note_got(int value)
{
    MUST(value > 0 && value <= world.last_value && !world.was_got[value]);
    world.was_got[value] = true;
}

static int
use_queue(void)
{
    int value = next_value(), rc;

    switch (fuzz_choose(8)) {
    case 0:
    case 1:
        rc = MAY_BE(iora_queue_put(&world.queue, &value), 0, IORA_E_SHUTDOWN);
        world.was_put[value] = rc == 0;
        return rc;
    case 2:
        rc = MAY_BE(iora_queue_put_nowait(&world.queue, &value), 0, -EAGAIN, IORA_E_SHUTDOWN);
        world.was_put[value] = rc == 0;
        return rc;
    case 3:
        rc = MAY_BE(iora_queue_get_nowait(&world.queue, &value), 0, -EAGAIN, IORA_E_SHUTDOWN);
        break;
    case 4:
        return MAY_BE(iora_queue_task_done(&world.queue), 0, -EINVAL);
    case 5:
        return MAY_BE(iora_queue_join(&world.queue), 0);
    case 6:
        world.dropped = true;
        iora_queue_shutdown(&world.queue, fuzz_choose(2) == 1);
        return 0;
    default:
        rc = MAY_BE(iora_queue_get(&world.queue, &value), 0, IORA_E_SHUTDOWN);
    }
    if (rc == 0)
        note_got(value);
    return rc;
}

static int
use_channel(void)
{
    int value = next_value(), rc;

    switch (fuzz_choose(8)) {
    case 0:
        return MAY_BE(iora_channel_send_nowait(&world.channel, &value), 0, -EAGAIN, IORA_E_CLOSED);
    case 1:
        iora_channel_close(&world.channel);
        return 0;
    case 2:
    case 3:
    case 4:
        return MAY_BE(iora_channel_send(&world.channel, &value), 0, IORA_E_CLOSED);
    default:
        rc = MAY_BE(iora_channel_receive(&world.channel, &value), 0, IORA_E_CLOSED);
    }
    if (rc == 0)
        note_got(value);
    return rc;
}

/* ---- one of several -------------------------------------------------------------------------------------------------- */

enum clause_kind {
    GET,
    PUT,
    RECEIVE,
    SEND,
    PERMIT,
    LOCK,
    EVENT,
    TASK,
    FUTURE,
    SLEEP,
    CLAUSE_KINDS
};

struct choice {
    enum clause_kind kind;
    int value, lock;
};

static iora_clause
clause_of(struct choice *choice)
{
    switch (choice->kind) {
    case GET:
        return iora_on_get(&world.queue, &choice->value);
    case PUT:
        choice->value = next_value();
        return iora_on_put(&world.queue, &choice->value);
    case RECEIVE:
        return iora_on_receive(&world.channel, &choice->value);
    case SEND:
        choice->value = next_value();
        return iora_on_send(&world.channel, &choice->value);
    case PERMIT:
        return iora_on_acquire(&world.semaphore);
    case LOCK:
        return iora_on_lock(&world.locks[choice->lock]);
    case EVENT:
        return iora_on_event(&world.event);
    case TASK:
        return iora_on_task(some_task());
    case FUTURE:
        return iora_on_future(&world.futures[0], NULL);
    default:
        return iora_on_sleep(some_time());
    }
}

/* The clause happened: with what, and put it back where it must be. */
static void
take_choice(const struct choice *choice, int rc)
{
    switch (choice->kind) {
    case GET:
    case RECEIVE:
        if (MAY_BE(rc, 0, IORA_E_SHUTDOWN, IORA_E_CLOSED) == 0)
            note_got(choice->value);
        break;
    case PUT:
        world.was_put[choice->value] = MAY_BE(rc, 0, IORA_E_SHUTDOWN) == 0;
        break;
    case SEND:
        (void)MAY_BE(rc, 0, IORA_E_CLOSED);
        break;
    case PERMIT:
        MUST(rc == 0 && world.permits_taken < PERMITS);
        MUST(iora_semaphore_release(&world.semaphore) == 0);
        break;
    case LOCK:
        if (MAY_BE(rc, 0, -EDEADLK) == 0) {
            hold(choice->lock);
            release(choice->lock);
        }
        break;
    case TASK:
        (void)MAY_BE(rc, TASKS_CODES, -ESRCH, -EDEADLK);
        break;
    case FUTURE:
        (void)MAY_BE(rc, 0, 1, -EIO);
        break;
    default:
        MUST(rc == 0);
    }
}

static int
select_one(void)
{
    struct choice choices[4];
    iora_clause clauses[4];
    const int n = 1 + fuzz_choose(4);
    int at;

    for (int i = 0; i < n; i++) {
        choices[i].kind = (enum clause_kind)fuzz_choose(CLAUSE_KINDS);
        choices[i].lock = fuzz_choose(OBJECTS);
        clauses[i] = clause_of(&choices[i]);
    }
    at = iora_select(clauses, (size_t)n);
    if (at < 0)
        return MAY_BE(at, -EDEADLK);
    MUST(at < n);
    take_choice(&choices[at], clauses[at].rc);
    return 0;
}

/* ---- connections ------------------------------------------------------------------------------------------------------- */

static char
byte_at(size_t place)
{
    return (char)(place * 7 + place / 251);
}

/* The echo; its choices too come from the input. */
static int
serve(iora_stream *client, void *arg)
{
    char data[512];
    int rc;

    (void)arg;
    while ((rc = iora_read(client, data, 1 + fuzz_byte())) > 0) {
        if (iora_write(client, data, (size_t)rc) < 0)
            return 0;
        if (fuzz_choose(16) == 1)
            (void)iora_sleep(some_time());
    }
    return MAY_BE(rc, 0, -ECONNRESET);
}

static int
connect_end(struct end *end)
{
    iora_stream *stream = NULL;
    const int rc =
        MAY_BE(iora_open_unix_connection("@echo", NULL, &stream), 0, -ECONNREFUSED, -ETIMEDOUT);

    MUST((rc == 0) == (stream != NULL));
    if (rc == 0 && end->stream != NULL) /* somebody was faster */
        return MAY_BE(iora_stream_close(stream), 0);
    if (rc == 0)
        *end = (struct end){.stream = stream, .serial = world.deeds};
    return rc;
}

#define CONNECTIONS_CODES -EBUSY, -EPIPE, -ECONNRESET, IORA_E_CLOSED, IORA_E_TORN

static int
write_to(struct end *end)
{
    char data[255 * 64];
    const size_t n = fuzz_byte() * (fuzz_choose(4) == 1 ? 64u : 1u);
    const int serial = end->serial;
    int rc;

    for (size_t i = 0; i < n; i++)
        data[i] = byte_at(end->sent + i);
    end->sending += n;
    rc = MAY_BE(iora_write(end->stream, data, n), 0, CONNECTIONS_CODES);
    if (end->serial != serial)
        return rc;
    end->sending -= n;
    if (rc == 0)
        end->sent += n;
    else if (rc != -EBUSY && rc != -ECANCELED && rc != IORA_E_CLOSED)
        end->torn = true;
    return rc;
}

static int
read_from(struct end *end)
{
    char data[300];
    const size_t n = 1 + fuzz_byte();
    const int serial = end->serial, rc = iora_read(end->stream, data, n);

    if (rc <= 0)
        return MAY_BE(rc, 0, -EBUSY, -ECONNRESET, IORA_E_CLOSED);
    MUST((size_t)rc <= n);
    if (end->serial != serial)
        return 0;
    for (size_t i = 0; i < (size_t)rc; i++)
        MUST(data[i] == byte_at(end->received + i));
    end->received += (size_t)rc;
    MUST(end->torn || end->received <= end->sent + end->sending);
    return 0;
}

static int
close_end(struct end *end)
{
    iora_stream *const stream = end->stream;

    end->stream = NULL;
    if (fuzz_choose(3) == 1) {
        iora_stream_abort(stream);
        return 0;
    }
    return MAY_BE(iora_stream_close(stream), 0, -EPIPE, -ECONNRESET, -ETIMEDOUT, IORA_E_TORN);
}

static int
use_connection(void)
{
    struct end *const end = &world.ends[fuzz_choose(ENDS)];

    if (end->stream == NULL)
        return connect_end(end);
    switch (fuzz_choose(8)) {
    case 0:
        return close_end(end);
    case 1:
        return MAY_BE(iora_write_eof(end->stream), 0, -ENOTCONN, CONNECTIONS_CODES);
    case 2:
        return MAY_BE(iora_flush(end->stream), 0, CONNECTIONS_CODES);
    case 3:
    case 4:
        return write_to(end);
    default:
        return read_from(end);
    }
}

static int
touch_server(void)
{
    if (world.server == NULL)
        return 0;
    switch (fuzz_choose(4)) {
    case 0:
        iora_server_close_clients(world.server);
        return 0;
    case 1:
        iora_server_abort_clients(world.server);
        return 0;
    case 2:
        iora_server_close(world.server);
        return 0;
    default:
        MUST(iora_server_clients(world.server) <= DEEDS_MAX);
        return 0;
    }
}

/* ---- threads ------------------------------------------------------------------------------------------------------------ */

static int
in_thread(void *arg)
{
    return arg == NULL ? -EIO : 5;
}

static int
ask_thread(void)
{
    struct addrinfo *found;
    int rc, data = 1;

    switch (fuzz_choose(3)) {
    case 0:
        return MAY_BE(iora_to_thread(in_thread, fuzz_choose(2) == 0 ? NULL : &world), 5, -EIO);
    case 1:
        return MAY_BE(iora_to_thread_owned(NULL, in_thread, &data, sizeof data, NULL), 5);
    default:
        if ((rc = MAY_BE(iora_getaddrinfo("localhost", "80", NULL, &found), 0)) == 0)
            freeaddrinfo(found);
        return rc;
    }
}

/* ---- deeds -------------------------------------------------------------------------------------------------------------- */

/* What joins nobody. */
static int
do_something_alone(void)
{
    switch (fuzz_choose(6)) {
    case 0:
        return MAY_BE(iora_yield(), 0);
    case 1:
        return MAY_BE(iora_sleep(some_time()), 0);
    case 2:
        return use_event();
    case 3:
        return use_queue();
    case 4:
        return cancel_task();
    default:
        return use_channel();
    }
}

static int
do_something(int depth)
{
    if (world.deeds >= DEEDS_MAX || fuzz_is_over())
        return 0;
    world.deeds++;
    if (depth > 2 * DEPTH_MAX)
        return MAY_BE(iora_sleep(some_time()), 0);
    switch (fuzz_choose(28)) {
    case 0:
        return MAY_BE(iora_yield(), 0);
    case 1:
        return MAY_BE(iora_sleep(some_time()), 0);
    case 2:
    case 3:
    case 4:
        return start_task(depth);
    case 5:
        return await_task();
    case 6:
        return shield_task();
    case 7:
        return gather_tasks();
    case 8:
        return wait_for_tasks();
    case 9:
        return cancel_task();
    case 10:
        return look_round();
    case 11:
        return set_things();
    case 12:
        return call_later();
    case 13:
    case 14:
        return do_in_scope(depth);
    case 15:
        return touch_scope();
    case 16:
        return do_in_group(depth);
    case 17:
        return consume(depth);
    case 18:
        return use_lock(depth);
    case 19:
        return use_semaphore(depth);
    case 20:
        return use_event();
    case 21:
        return fuzz_choose(2) == 0 ? use_barrier() : use_future();
    case 22:
        return use_queue();
    case 23:
        return use_channel();
    case 24:
        return select_one();
    case 25:
        return use_connection();
    case 26:
        return fuzz_choose(8) == 1 ? touch_server() : use_connection();
    default:
        return ask_thread();
    }
}

/* ---- the run -------------------------------------------------------------------------------------------------------------- */

static int
run(void)
{
    const iora_task self = iora_current();

    remember(self);
    (void)MAY_BE(iora_start_unix_server("@echo", serve, NULL, NULL, &world.server), 0);
    (void)program(0);
    world.server = NULL; /* it ends with this task, its owner */
    return 0;
}
IORA_ASYNC(run);

/* What was put and not got lies in the queue, once. */
static void
empty_queue(void)
{
    int value, rc;

    while ((rc = iora_queue_get_nowait(&world.queue, &value)) == 0) {
        MUST(world.was_put[value]);
        note_got(value);
    }
    MUST(rc == (world.dropped ? IORA_E_SHUTDOWN : -EAGAIN));
    for (value = 1; value <= world.last_value && !world.dropped; value++)
        MUST(!world.was_put[value] || world.was_got[value]);
    MUST(iora_queue_destroy(&world.queue) == 0);
}

static void
count_turn(enum iora__moment moment, struct iora__task *task)
{
    (void)task;
    if (moment == IORA__MOMENT_TURN && ++world.turns > TURNS_MAX)
        fuzz_fail("the loop turns without an end");
}

static void
make_world(void)
{
    memset(&world, 0, sizeof world);
    world.semaphore = (iora_semaphore)IORA_BOUNDED_SEMAPHORE_INIT(PERMITS);
    world.barrier = (iora_barrier)IORA_BARRIER_INIT(2);
    world.queue = (iora_queue)IORA_QUEUE_INIT(sizeof(int), 2);
    world.channel = (iora_channel)IORA_CHANNEL_INIT(sizeof(int));
}

/* Nobody waits, nobody holds anything. */
static void
check_world(void)
{
    (void)iora_timer_cancel(&world.timer);
    for (int i = 0; i < ENDS; i++)
        iora_stream_abort(world.ends[i].stream);
    MUST(!iora_lock_is_locked(&world.locks[0]) && !iora_lock_is_locked(&world.locks[1]));
    MUST(iora_semaphore_value(&world.semaphore) == PERMITS);
    MUST(iora_barrier_waiting(&world.barrier) == 0);
    for (int i = 0; i < SCOPES_MAX; i++)
        MUST(world.scopes[i] == NULL);
    empty_queue();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned failing;
    int rc;

    make_world();
    fuzz_begin(data, size);
    world.loop = fuzz_loop(fuzz_byte());
    failing = fuzz_byte();
    world.allocation_fails = failing > 0;
    iora__seam_arm_allocation((long)failing, false);
    iora__seam_watch(count_turn);
    rc = iora_run_in(world.loop, run);
    iora__seam_watch(NULL);
    (void)iora__seam_disarm();
    if (rc != -ECANCELED && rc != -EDEADLK && rc != IORA_E_TASK_CANCELED)
        (void)MAY_BE(rc, 0);
    check_world();
    fuzz_end_loop(world.loop);
    return 0;
}
