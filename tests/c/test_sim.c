/* tests/c/test_sim.c -- the simulated system: what is its own, beside what test_ops.c asks of every backend. */
#include "ops.h"
#include "pump.h"
#include "test.h"
#include "turns.h"

#include <signal.h>
#include <sys/time.h>

/* ---- the network ----------------------------------------------------------------------------------- */

/* A line about each part in which 1000 bytes arrive: when, and how many. */
static void
trace_an_exchange(uint64_t seed)
{
    char block[1000] = "", bytes[1000];
    int ends[2], received = 0;

    test_options()->seed = seed;
    (void)test_ms();
    tcp_pair(ends);
    CHECK_EQ(perform(IORA__OP_SEND, ends[0], block, sizeof block), 1000);
    while (received < 1000) {
        const int n = perform(IORA__OP_RECV, ends[1], bytes, sizeof bytes);

        test_trace("%lld:%d", (long long)(iora_loop_now(test_loop())._ns % 1000000000), n);
        received += n;
    }
    close_ends(ends);
}

static void
trace_in_a_new_loop(uint64_t seed, char *out, size_t size)
{
    const size_t before = strlen(test_traced());
    iora_loop *loop;

    trace_an_exchange(seed);
    (void)snprintf(out, size, "%s", test_traced() + before + (before > 0));
    loop = test_loop();
    test_forget_loop(loop);
    CHECK_EQ(iora_loop_free(loop), 0);
}

TEST(simulated_network, does_the_same_again_with_the_same_seed)
{
    char first[1024], again[1024], other[1024];

    trace_in_a_new_loop(7, first, sizeof first);
    trace_in_a_new_loop(7, again, sizeof again);
    trace_in_a_new_loop(8, other, sizeof other);
    CHECK_STR(first, again);
    CHECK(strcmp(first, other) != 0);
}

TEST(simulated_network, delivers_whole_and_without_delay_if_there_is_no_seed)
{
    trace_an_exchange(0);
    CHECK_TRACE("0:1000");
}

/* What `found` says of some of twenty seeds. */
static bool
is_so_with_some_seed(bool (*found)(void))
{
    bool is_so = false;

    for (uint64_t seed = 1; seed <= 20; seed++) {
        iora_loop *loop;

        test_options()->seed = seed;
        is_so |= found();
        loop = test_loop();
        test_forget_loop(loop);
        CHECK_EQ(iora_loop_free(loop), 0);
    }
    return is_so;
}

static int64_t
now_ns(void)
{
    return iora_loop_now(test_loop())._ns;
}

static bool
bytes_are_late(void)
{
    const int64_t began_ns = now_ns();
    bool late;
    int ends[2];

    unix_pair(ends);
    CHECK_EQ(send_text(ends[0], "x"), 1);
    CHECK_EQ(receive_one(ends[1]), 1);
    late = now_ns() > began_ns;
    close_ends(ends);
    return late;
}

static bool
bytes_come_one_after_the_other(void)
{
    int64_t came_ns;
    bool apart;
    int ends[2];

    unix_pair(ends);
    CHECK_EQ(send_text(ends[0], "together"), 8);
    CHECK_EQ(receive_one(ends[1]), 1);
    came_ns = now_ns();
    expect_text(ends[1], "ogether");
    apart = now_ns() > came_ns;
    close_ends(ends);
    return apart;
}

static bool
less_is_received_than_is_there(void)
{
    char bytes[8];
    int ends[2], n;

    unix_pair(ends);
    CHECK_EQ(send_text(ends[0], "together"), 8);
    CHECK_EQ(iora_loop_run_once(test_loop(), iora_s(1)), 0);
    n = perform(IORA__OP_RECV, ends[1], bytes, sizeof bytes);
    CHECK(n >= 1);
    CHECK(n <= 8);
    close_ends(ends);
    return n < 8;
}

static bool
the_end_comes_after_the_bytes(void)
{
    int64_t came_ns;
    bool apart;
    int ends[2];

    unix_pair(ends);
    CHECK_EQ(send_text(ends[0], "x"), 1);
    CHECK_EQ(sockets()->shutdown(backend_state(), ends[0], SHUT_WR), 0);
    CHECK_EQ(receive_one(ends[1]), 1);
    came_ns = now_ns();
    CHECK_EQ(receive_one(ends[1]), 0);
    apart = now_ns() > came_ns;
    close_ends(ends);
    return apart;
}

TEST(simulated_network, cuts_and_delays_with_a_seed)
{
    CHECK(is_so_with_some_seed(bytes_are_late));
    CHECK(is_so_with_some_seed(bytes_come_one_after_the_other));
    CHECK(is_so_with_some_seed(less_is_received_than_is_there));
    CHECK(is_so_with_some_seed(the_end_comes_after_the_bytes));
}

TEST(simulated_network, resets_who_sent_to_somebody_just_closing)
{
    int ends[2];

    tcp_pair(ends);
    CHECK_EQ(send_text(ends[0], "on its way"), 10);
    close_fd(ends[1]);
    CHECK_EQ(receive_one(ends[0]), 0);
    CHECK_EQ(send_text(ends[0], "x"), -EPIPE);
    close_fd(ends[0]);
}

TEST(simulated_network, loses_and_changes_no_byte_with_any_seed)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        iora_loop *loop;
        int ends[2];

        test_options()->seed = seed;
        FOR_EACH_PAIR(ends)
        {
            pump_both_ways(ends, 200000, seed);
        }
        loop = test_loop();
        test_forget_loop(loop);
        CHECK_EQ(iora_loop_free(loop), 0);
    }
}

/* Every end is the same with every seed, whatever comes when. */
TEST(simulated_network, ends_streams_alike_with_any_seed)
{
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct collector collector = {.stops = false};
        iora_loop *loop;
        int ends[2];

        test_options()->seed = seed;
        FOR_EACH_PAIR(ends)
        {
            CHECK_EQ(begin_collecting(&collector, ends[1], NULL, 0), IORA__OP_PENDING);
            CHECK_EQ(send_text(ends[0], "some bytes, and then the end"), 28);
            CHECK_EQ(sockets()->shutdown(backend_state(), ends[0], SHUT_WR), 0);
            CHECK_EQ(settle(&collector.probe), 0);
            CHECK_EQ(collector.count, 28);
            CHECK_EQ(send_text(ends[1], "unread"), 6);
            CHECK_EQ(receive_one(ends[0]), 1);
            CHECK_EQ(iora_loop_run_once(test_loop(), iora_s(1)), 0);
            close_fd(ends[0]);
            CHECK_EQ(iora_loop_run_once(test_loop(), iora_s(1)), 0);
            CHECK_EQ(send_text(ends[1], "x"), pair_kind == 0 ? -EPIPE : -ECONNRESET);
            ends[0] = make_socket(AF_INET);
        }
        loop = test_loop();
        test_forget_loop(loop);
        CHECK_EQ(iora_loop_free(loop), 0);
    }
}

TEST(simulated_network, is_one_host_of_all_addresses)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(5432)};
    const int listener = listen_at(AF_INET, &address, sizeof address, 4);
    const int client = make_socket(AF_INET);
    int server;

    address.sin_addr.s_addr = htonl(0x0a010203);
    CHECK_EQ(connect_to(client, &address, sizeof address), 0);
    server = perform(IORA__OP_ACCEPT, listener, NULL, 0);
    CHECK_EQ(send_text(server, "row"), 3);
    expect_text(client, "row");
    close_fd(client);
    close_fd(server);
    close_fd(listener);
}

TEST(simulated_network, numbers_sockets_where_the_kernel_has_none)
{
    int first[2], second[2];

    unix_pair(first);
    CHECK(first[0] >= 1 << 30);
    CHECK_EQ(fcntl(first[0], F_GETFD), -1);
    close_fd(first[0]);
    unix_pair(second);
    CHECK_EQ(second[0], first[0]);
    CHECK(second[1] > first[1]);
    close_fd(first[1]);
    close_ends(second);
}

TEST(simulated_network, knows_when_nothing_can_come_any_more)
{
    struct probe probes[2];
    char byte;
    int ends[2];

    tcp_pair(ends);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(begin(&probes[i], IORA__OP_RECV, ends[i], &byte, 1), IORA__OP_PENDING);
    turn_some(test_loop());
    CHECK(iora__loop_is_dead(test_loop()));
    CHECK_EQ(send_text(ends[0], "x"), 1);
    CHECK(!iora__loop_is_dead(test_loop()));
    CHECK_EQ(settle(&probes[1]), 1);
    CHECK(iora__loop_is_dead(test_loop()));
    CHECK_EQ(cancel(&probes[0]), -ECANCELED);
    close_ends(ends);
}

static int
waits_for_nothing(void)
{
    static iora_event never;

    return iora_event_wait(&never);
}
IORA_ASYNC(waits_for_nothing);

TEST(simulated_network, lets_a_run_say_that_it_is_deadlocked)
{
    struct probe probe;
    char byte;
    int ends[2];

    test_expect_log();
    tcp_pair(ends);
    CHECK_EQ(begin(&probe, IORA__OP_RECV, ends[0], &byte, 1), IORA__OP_PENDING);
    CHECK_EQ(test_run(waits_for_nothing), -EDEADLK);
    CHECK_EQ(cancel(&probe), -ECANCELED);
    close_ends(ends);
}

TEST(simulated_network, frees_what_was_left_open)
{
    struct sockaddr_un name;
    struct sockaddr_in address;
    const int listener = listen_tcp(1, &address);
    const socklen_t length = abstract_name(&name, "left");
    struct iora__path_claim claim;
    int ends[2];

    CHECK(listener >= 0);
    (void)listen_at(AF_UNIX, &name, length, 1);
    (void)listen_at_path("/simulated", &claim);
    tcp_pair(ends);
    CHECK_EQ(send_text(ends[0], "bytes"), 5);
    CHECK_EQ(connect_to(make_socket(AF_INET), &address, sizeof address), 0);
}

TEST(simulated_network, refuses_to_close_under_who_waits)
{
    struct probe probe, closing;
    char byte;
    int ends[2];

    unix_pair(ends);
    CHECK_EQ(begin(&probe, IORA__OP_RECV, ends[0], &byte, 1), IORA__OP_PENDING);
    CHECK_EQ(begin(&closing, IORA__OP_CLOSE, ends[0], NULL, 0), -EBUSY);
    CHECK_EQ(cancel(&probe), -ECANCELED);
    close_ends(ends);
}

static int
exchange_without_checks(void)
{
    struct sockaddr_in address = loopback(1234);
    const struct iora__sockets *const calls = sockets();
    void *const state = backend_state();
    struct probe accepting, connecting, probe;
    const int listener = calls->socket(state, AF_INET, SOCK_STREAM);
    int client = -1, server = -1, rc = listener;
    char byte;

    if (listener < 0)
        return rc;
    if ((rc = calls->bind(state, listener, (struct sockaddr *)&address, sizeof address)) < 0 ||
        (rc = calls->listen(state, listener, 1)) < 0)
        goto done;
    if ((rc = client = calls->socket(state, AF_INET, SOCK_STREAM)) < 0)
        goto done;
    if ((rc = begin_connect(&connecting, client, &address, sizeof address)) < 0 ||
        (rc = settle(&connecting)) < 0)
        goto done;
    (void)begin(&accepting, IORA__OP_ACCEPT, listener, NULL, 0);
    if ((rc = server = settle(&accepting)) < 0)
        goto done;
    if ((rc = perform(IORA__OP_SEND, client, "x", 1)) < 0)
        goto done;
    (void)begin_with(&probe, IORA__OP_RECV, server, NULL, 0, IORA__OP_MULTI);
    if (probe.ended) {
        rc = probe.res;
        goto done;
    }
    turn_until(test_loop(), &probe.calls, 1);
    rc = probe.ended ? probe.res : 0;
    if (!probe.ended)
        (void)cancel(&probe);
    if (rc == 0)
        rc = perform(IORA__OP_SEND, server, "y", 1);
    if (rc == 1)
        rc = perform(IORA__OP_RECV, client, &byte, 1);
done:
    if (server >= 0)
        close_fd(server);
    if (client >= 0)
        close_fd(client);
    close_fd(listener);
    return rc;
}

TEST(simulated_network, survives_every_failed_allocation)
{
    long n = 0;
    int rc;

    do {
        iora_loop *loop = test_loop();

        iora__seam_arm_allocation(++n, false);
        rc = exchange_without_checks();
        CHECK(rc == -ENOMEM || rc == 1);
        CHECK_EQ(rc == -ENOMEM, iora__seam_disarm().failures > 0);
        CHECK_EQ(ops_pending(), 0);
        test_forget_loop(loop);
        CHECK_EQ(iora_loop_free(loop), 0);
    } while (rc != 1);
    CHECK(n > 6);
}

/* ---- jobs -------------------------------------------------------------------------------------------- */

struct job {
    struct iora__job job;
    int number, rc, ran, ended;
};

static int
run_job(void *arg)
{
    struct job *const job = arg;

    job->ran++;
    test_trace("%d", job->number);
    return job->rc;
}

static void
job_ended(struct iora__op *op)
{
    struct job *const job = iora__container_of(op, struct job, job.op);

    CHECK_EQ(op->_res, job->rc);
    CHECK_EQ(op->_state, IORA__OP_IDLE);
    job->ended++;
}

static void
begin_job(struct job *job, int number)
{
    *job = (struct job){.number = number, .rc = -number};
    job->job.op._kind = IORA__OP_WORK;
    job->job.op._done = job_ended;
    job->job.fn = run_job;
    job->job.arg = job;
    CHECK_EQ(iora__op_submit(test_loop(), &job->job.op), IORA__OP_PENDING);
    CHECK_EQ(job->ran, 0);
}

TEST(simulated_job, runs_within_the_next_wait)
{
    struct job jobs[3];

    for (int i = 0; i < 3; i++)
        begin_job(&jobs[i], i);
    CHECK_EQ(ops_pending(), 3);
    CHECK(!iora__loop_is_dead(test_loop()));
    turn_until(test_loop(), &jobs[2].ended, 1);
    CHECK_TRACE("0 1 2");
    CHECK_EQ(test_ms(), 0);
    CHECK_EQ(ops_pending(), 0);
}

TEST(simulated_job, that_is_cancelled_never_runs)
{
    struct job job;

    begin_job(&job, 0);
    CHECK_EQ(iora__op_cancel(test_loop(), &job.job.op), IORA__OP_DONE);
    CHECK_EQ(job.job.op._res, -ECANCELED);
    turn_some(test_loop());
    CHECK_EQ(job.ran + job.ended, 0);
    CHECK(iora__loop_is_dead(test_loop()));
}

TEST(simulated_job, takes_its_time_with_a_seed)
{
    struct job jobs[8];
    int64_t began_ns;

    test_options()->seed = 3;
    began_ns = iora_loop_now(test_loop())._ns;
    for (int i = 0; i < 8; i++)
        begin_job(&jobs[i], i);
    for (int i = 0; i < 8; i++)
        turn_until(test_loop(), &jobs[i].ended, 1);
    CHECK(iora_loop_now(test_loop())._ns > began_ns);
    CHECK(iora_loop_now(test_loop())._ns < began_ns + 10000000);
    CHECK(strcmp(test_traced(), "0 1 2 3 4 5 6 7") != 0);
}

/* ---- nothing to do -------------------------------------------------------------------------------------- */

static void
stop_the_loop(int number)
{
    (void)number;
    iora_loop_stop(test_loop());
}

TEST(simulated_loop, blocks_when_nothing_can_come)
{
    /* Again and again: what comes between the loop's look at whether to stop and its sleep wakes nobody. */
    const struct itimerval soon = {.it_value.tv_usec = 20000, .it_interval.tv_usec = 20000}, never = {0};
    struct sigaction action = {.sa_handler = stop_the_loop};

    (void)test_loop();
    CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
    CHECK_EQ(setitimer(ITIMER_REAL, &soon, NULL), 0);
    count_turns();
    CHECK_EQ(iora_loop_run(test_loop()), 0);
    CHECK_EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
    CHECK(turns_counted() <= 2);
}
