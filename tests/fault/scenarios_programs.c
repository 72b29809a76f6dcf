/* tests/fault/scenarios_programs.c -- small programs in which everything comes together, in simulated time. */
#include "fault.h"

/* ---- a service ------------------------------------------------------------------------------------------- */

enum { CLIENTS = 4, REQUESTS = 3 };

static iora_semaphore connections = IORA_BOUNDED_SEMAPHORE_INIT(2);
static iora_queue answers = IORA_QUEUE_INIT(sizeof(int), 2);
static iora_lock journal;
static int served, given_up, journalled, delivered, answered;

static int
note_in_journal(void)
{
    int rc = EXPECT_UNLESS_CANCELLED(iora_lock_acquire(&journal), 0);

    if (rc < 0)
        return rc;
    rc = EXPECT_UNLESS_CANCELLED(iora_sleep(iora_ms(2)), 0);
    journalled++;
    CHECK_EQ(iora_lock_release(&journal), 0);
    return rc;
}

static int
serve(int client, int request)
{
    const int answer = client * REQUESTS + request;
    int rc = 0, noted;

    IORA_TIMEOUT(rc, iora_ms(20)) {
        rc = EXPECT_UNLESS_CANCELLED(iora_sleep(iora_ms(request == 1 ? 100 : 5)), 0);
        if (rc == 0 && (rc = EXPECT_UNLESS_CANCELLED(iora_queue_put(&answers, &answer), 0)) == 0)
            answered++;
    }
    served += rc == 0;
    given_up += rc == -ETIMEDOUT;
    noted = iora_cleanup(note_in_journal(), iora_ms(500));
    EXPECT(noted, 0);
    return rc == -ETIMEDOUT ? noted : rc;
}

static int
handle_client(int client)
{
    IN_TASK;
    int rc = 0;

    for (int request = 0; request < REQUESTS && rc == 0; request++) {
        if ((rc = EXPECT_UNLESS_CANCELLED(iora_semaphore_acquire(&connections), 0)) < 0)
            return rc;
        rc = serve(client, request);
        CHECK_EQ(iora_semaphore_release(&connections), 0);
    }
    return client == 2 ? iora_fail(-EIO, "client %d hung up", client) : rc;
}
IORA_ASYNC(handle_client, int);

static int
delivers(void)
{
    IN_TASK;
    int answer, rc;

    while ((rc = iora_queue_get(&answers, &answer)) == 0) {
        delivered++;
        CHECK_EQ(iora_queue_task_done(&answers), 0);
    }
    return rc == IORA_E_SHUTDOWN ? 0 : EXPECT_UNLESS_CANCELLED(rc, 0);
}
IORA_ASYNC(delivers);

static int
runs_a_service(void)
{
    const iora_task deliverer = SPAWN(iora_go(delivers));
    int rc = iora_task_error(deliverer);

    if (rc < 0)
        return rc;
    IORA_GROUP_OF(rc, clients, IORA_GROUP_ISOLATE) {
        for (int i = 0; i < CLIENTS; i++) {
            (void)SPAWN(iora_group_go(&clients, handle_client, i));
            rc = EXPECT(iora_sleep(iora_ms(1)), 0);
        }
    }
    EXPECT(rc, 0);
    iora_queue_shutdown(&answers, false);
    return EXPECT(iora_await(deliverer), 0);
}
IORA_ASYNC(runs_a_service);

SCENARIO(programs, service, SIM)
{
    int answer;

    fault_expect_errors(1);
    RUN(runs_a_service);
    while (iora_queue_get_nowait(&answers, &answer) == 0)
        delivered++;
    CHECK_EQ(delivered, answered);
    CHECK_EQ(iora_semaphore_value(&connections), 2);
    CHECK(!iora_lock_is_locked(&journal));
    CHECK_EQ(iora_queue_destroy(&answers), 0);
    CHECK_EQ_UNARMED(served, CLIENTS * (REQUESTS - 1));
    CHECK_EQ_UNARMED(given_up, CLIENTS);
    CHECK_EQ_UNARMED(journalled, CLIENTS * REQUESTS);
}

/* ---- a pipeline -------------------------------------------------------------------------------------------- */

static iora_channel raw = IORA_CHANNEL_INIT(sizeof(int)), cooked = IORA_CHANNEL_INIT(sizeof(int));
static int pages_open, pages_closed, cooks;

static int
pages(int *item, int count)
{
    int rc = 0, closing = 0;

    pages_open++;
    for (int i = 1; i <= count && rc == 0; i++) {
        rc = EXPECT_UNLESS_CANCELLED(iora_sleep(iora_ms(3)), 0);
        if (rc == 0)
            rc = EXPECT_UNLESS_CANCELLED(iora_emit(item, i), 0);
    }
    closing = iora_cleanup(iora_sleep(iora_ms(1)), iora_ms(10));
    EXPECT(closing, 0);
    pages_closed++;
    return rc;
}
IORA_ASYNC(pages, int *, int);

static int
fetches(int count)
{
    IN_TASK;
    int item, rc = 0, sent = 0;

    iora_for_each(rc, pages, &item, count) {
        if ((sent = EXPECT_UNLESS_CANCELLED(iora_channel_send(&raw, &item), 0, IORA_E_CLOSED)) < 0)
            break;
    }
    iora_channel_close(&raw);
    return rc < 0 ? rc : sent;
}
IORA_ASYNC(fetches, int);

static int
cooks_items(iora_duration each)
{
    IN_TASK;
    int item, rc;

    while ((rc = iora_channel_receive(&raw, &item)) == 0) {
        if ((rc = EXPECT_UNLESS_CANCELLED(iora_sleep(each), 0)) < 0)
            break;
        item *= item;
        if ((rc = iora_channel_send(&cooked, &item)) < 0)
            break;
    }
    if (--cooks == 0)
        iora_channel_close(&cooked);
    return rc == IORA_E_CLOSED ? 0 : EXPECT_UNLESS_CANCELLED(rc, 0);
}
IORA_ASYNC(cooks_items, iora_duration);

static int
runs_a_pipeline(int *sum)
{
    int rc = 0;

    IORA_GROUP(rc, group) {
        int item;

        for (int i = 0; i < 2 && rc == 0; i++) {
            cooks++;
            rc = iora_task_error(SPAWN(iora_group_go(&group, cooks_items, iora_ms(4 + i))));
        }
        if (rc == 0)
            rc = iora_task_error(SPAWN(iora_group_go(&group, fetches, 6)));
        for (;;) {
            iora_clause clauses[] = {iora_on_receive(&cooked, &item), iora_on_sleep(iora_ms(100))};

            if (rc < 0 || (rc = iora_select(clauses, 2)) < 0)
                break;
            CHECK(rc == 0);
            if ((rc = clauses[0].rc) < 0)
                break;
            *sum += item;
        }
        iora_channel_close(&raw);
        rc = rc == IORA_E_CLOSED ? 0 : rc;
    }
    return EXPECT(rc, 0, IORA_E_CLOSED);
}
IORA_ASYNC(runs_a_pipeline, int *);

SCENARIO(programs, pipeline, SIM)
{
    int sum = 0;

    if (fault_loop() == NULL)
        return;
    EXPECT(iora_run_in(fault_loop(), runs_a_pipeline, &sum), 0, IORA_E_CLOSED);
    CHECK_EQ(pages_closed, pages_open);
    CHECK_EQ_UNARMED(sum, 1 + 4 + 9 + 16 + 25 + 36);
}

/* ---- impatient ones --------------------------------------------------------------------------------------------- */

static iora_lock lock;
static iora_condition condition;
static iora_semaphore permits = IORA_SEMAPHORE_INIT(1);
static iora_barrier barrier = IORA_BARRIER_INIT(3);
static iora_queue queue = IORA_QUEUE_INIT(sizeof(int), 1);
static iora_event event;
static int put, got;

/* Each thing there is to wait for, and too little time for it. */
static int
tries_everything(int patience_ms)
{
    IN_TASK;
    int item = 0, rc = 0;

    IORA_TIMEOUT(rc, iora_ms(patience_ms)) {
        if ((rc = iora_lock_acquire(&lock)) == 0) {
            rc = iora_condition_wait(&condition, &lock);
            CHECK_EQ(iora_lock_release(&lock), 0);
        }
    }
    EXPECT_UNLESS_CANCELLED(rc < 0 ? rc : -ETIMEDOUT, -ETIMEDOUT);
    IORA_TIMEOUT(rc, iora_ms(patience_ms)) {
        if ((rc = iora_semaphore_acquire(&permits)) == 0) {
            rc = iora_sleep(iora_ms(3));
            CHECK_EQ(iora_semaphore_release(&permits), 0);
        }
    }
    EXPECT_UNLESS_CANCELLED(rc < 0 ? rc : -ETIMEDOUT, -ETIMEDOUT);
    rc = iora_wait_for(iora_barrier_wait(&barrier), iora_ms(patience_ms));
    EXPECT_UNLESS_CANCELLED(rc < 0 ? rc : -ETIMEDOUT, -ETIMEDOUT);
    rc = iora_wait_for(iora_queue_put(&queue, &item), iora_ms(patience_ms));
    put += rc == 0;
    EXPECT_UNLESS_CANCELLED(rc < 0 ? rc : -ETIMEDOUT, -ETIMEDOUT);
    rc = iora_wait_for(iora_sleep(iora_ms(1)), iora_ms(patience_ms));
    EXPECT_UNLESS_CANCELLED(rc < 0 ? rc : -ETIMEDOUT, -ETIMEDOUT);
    rc = iora_wait_for(iora_queue_get(&queue, &item), iora_ms(patience_ms));
    got += rc == 0;
    EXPECT_UNLESS_CANCELLED(rc < 0 ? rc : -ETIMEDOUT, -ETIMEDOUT);
    rc = iora_wait_for(iora_event_wait(&event), iora_ms(patience_ms));
    return EXPECT_UNLESS_CANCELLED(rc, -ETIMEDOUT) == -ETIMEDOUT ? 0 : rc;
}
IORA_ASYNC(tries_everything, int);

static int
notifies(void)
{
    IN_TASK;
    int rc = 0;

    for (int i = 0; i < 4 && rc == 0; i++) {
        rc = EXPECT_UNLESS_CANCELLED(iora_sleep(iora_ms(2)), 0);
        (void)iora_condition_notify(&condition, 1);
    }
    return rc;
}
IORA_ASYNC(notifies);

static int
is_impatient(void)
{
    iora_task tasks[5];

    for (int i = 0; i < 4; i++)
        tasks[i] = SPAWN(iora_go(tries_everything, 4 + i));
    tasks[4] = SPAWN(iora_go(notifies));
    return EXPECT(iora_gather_n(tasks, 5), 0);
}
IORA_ASYNC(is_impatient);

SCENARIO(programs, impatience, SIM)
{
    int item;

    RUN(is_impatient);
    while (iora_queue_get_nowait(&queue, &item) == 0)
        got++;
    CHECK_EQ(got, put);
    CHECK(!iora_lock_is_locked(&lock));
    CHECK_EQ(iora_semaphore_value(&permits), 1);
    CHECK_EQ(iora_barrier_waiting(&barrier), 0);
    CHECK_EQ(iora_condition_notify_all(&condition), 0);
    CHECK_EQ(iora_queue_destroy(&queue), 0);
}
