/* bench/net/load.c -- makes the echo servers work, and measures them.
 *
 *     load [-c CONNECTIONS] [-p PID] [-s SECONDS | -n REQUESTS | -i] PORT
 *
 * Each connection sends a request of 1 KiB, which is a line, waits for as many bytes, and sends the next. With -s that is
 * done for so long whenever a line comes from stdin, so that several servers can be measured in turn, a
 * moment each; a fifth of the time is warm-up and not counted. It answers by one line:
 *
 *     requests, seconds     of the span that counts
 *     cpu                   seconds of the process PID in that span, all its threads, by the
 *                           kernel's clock of that process: the server is not asked
 *     p50, p99              microseconds from a request to its answer
 *
 * -n ends after so many requests and prints only that. -i sends one on each connection, prints
 * "idle" and keeps the connections until its stdin ends, for who wants to look at the server.
 *
 * The load has to cost less than any server, or the server waits for it and is measured while it
 * goes to sleep and is woken. So answers are not copied out of the kernel (MSG_TRUNC: their length is
 * all that is verified), and sockets are watched edge-triggered. With one connection both wait for
 * each other, whatever they cost; there the load does not sleep (epoll_wait with a timeout of 0), for
 * a server that has to wake it pays for that, 7.5 us a request become 22 to 26. With many it does, as
 * asking all the time gets in the server's way: 1,000 connections took 5.5 us in place of 4.9. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE 1024
#define EVENTS  256
#define WARM_UP 5  /* a fifth */
#define FEW     8  /* connections for which it does not sleep */
#define STEPS   32 /* buckets of the latencies for each power of two: 3 % */
#define POWERS  40

struct connection {
    int fd;
    uint32_t awaited; /* bytes of the answer that have not come */
    int64_t asked_ns;
};

struct span {
    int64_t wall_ns;
    int64_t server_ns;
};

static const char request[MESSAGE] = {[0] = 'a', [MESSAGE - 1] = '\n'};
static struct connection *connections;
static int epoll_fd;
static uint64_t answers;
static uint64_t latencies[POWERS * STEPS];

static void
fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t
clock_ns(clockid_t id)
{
    struct timespec t;

    if (clock_gettime(id, &t) != 0)
        fail("clock_gettime");
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* ---- latencies: a histogram whose buckets grow with the value ---- */

static unsigned
bucket_of(int64_t ns)
{
    const uint64_t value = ns < STEPS ? STEPS : (uint64_t)ns;
    const unsigned power = 63 - (unsigned)__builtin_clzll(value) - 5;
    const unsigned bucket = power * STEPS + (unsigned)(value >> power) - STEPS;

    return bucket < POWERS * STEPS ? bucket : POWERS * STEPS - 1;
}

static double
microseconds_of(unsigned bucket)
{
    return (double)(STEPS + bucket % STEPS) * (double)(UINT64_C(1) << (bucket / STEPS)) / 1000;
}

static double
percentile(unsigned percent)
{
    uint64_t total = 0, seen = 0;

    for (unsigned i = 0; i < POWERS * STEPS; i++)
        total += latencies[i];
    for (unsigned i = 0; i < POWERS * STEPS; i++) {
        seen += latencies[i];
        if (seen > 0 && seen * 100 >= total * percent)
            return microseconds_of(i);
    }
    return 0;
}

/* ---- the connections ---- */

static void
ask(struct connection *c, int64_t now_ns)
{
    if (send(c->fd, request, MESSAGE, MSG_NOSIGNAL) != MESSAGE)
        fail("send");
    c->awaited = MESSAGE;
    c->asked_ns = now_ns;
}

static void
open_connection(struct connection *c, uint16_t port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr = {htonl(INADDR_LOOPBACK)},
    };
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {.ptr = c}};
    const int one = 1;

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        fail("socket");
    if (setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0)
        fail("setsockopt");
    if (connect(c->fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
        fail("connect");
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0)
        fail("epoll_ctl");
}

static void
open_connections(uint32_t count, uint16_t port)
{
    connections = calloc(count, sizeof(*connections));
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (connections == NULL || epoll_fd < 0)
        fail("begin");
    for (uint32_t i = 0; i < count; i++)
        open_connection(&connections[i], port);
}

/* Whether the answer is complete. */
static bool
take(struct connection *c)
{
    static char unused[MESSAGE];
    const ssize_t n = recv(c->fd, unused, MESSAGE, MSG_TRUNC | MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN)
        return false;
    if (n < 0)
        fail("recv");
    if (n == 0 || n > c->awaited) {
        fprintf(stderr, "load: an answer has the wrong length\n");
        exit(1);
    }
    c->awaited -= (uint32_t)n;
    return c->awaited == 0;
}

/* Takes what has come; asks again if wanted. Returns how many answers that were. */
static uint64_t
turn(int timeout_ms, bool again)
{
    struct epoll_event events[EVENTS];
    const int n = epoll_wait(epoll_fd, events, EVENTS, timeout_ms);
    uint64_t taken = 0;

    if (n < 0 && errno != EINTR)
        fail("epoll_wait");
    for (int i = 0; i < n; i++) {
        struct connection *c = events[i].data.ptr;

        if (!take(c))
            continue;
        const int64_t now_ns = clock_ns(CLOCK_MONOTONIC);
        latencies[bucket_of(now_ns - c->asked_ns)]++;
        taken++;
        if (again)
            ask(c, now_ns);
    }
    answers += taken;
    return taken;
}

static void
ask_all(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        ask(&connections[i], clock_ns(CLOCK_MONOTONIC));
}

/* ---- what is done with them ---- */

static struct span
now(clockid_t server)
{
    return (struct span){
        .wall_ns = clock_ns(CLOCK_MONOTONIC),
        .server_ns = clock_ns(server),
    };
}

static void
run_until(int64_t end_ns, int timeout_ms)
{
    while (clock_ns(CLOCK_MONOTONIC) < end_ns)
        turn(timeout_ms, true);
}

static double
seconds(int64_t from_ns, int64_t to_ns)
{
    return (double)(to_ns - from_ns) / 1e9;
}

/* So that nothing is under way between two spans. */
static void
take_the_rest(uint32_t asked)
{
    while (asked > 0)
        asked -= (uint32_t)turn(-1, false);
}

static void
measure(uint32_t count, clockid_t server, double span_s)
{
    const int timeout_ms = count <= FEW ? 0 : -1;

    ask_all(count);
    run_until(clock_ns(CLOCK_MONOTONIC) + (int64_t)(span_s * 1e9 / WARM_UP), timeout_ms);
    answers = 0;
    memset(latencies, 0, sizeof(latencies));
    const struct span begin = now(server);
    run_until(begin.wall_ns + (int64_t)(span_s * 1e9), timeout_ms);
    const struct span end = now(server);
    const uint64_t requests = answers;
    take_the_rest(count);

    printf("%" PRIu64 "\t%.6f\t%.6f\t%.2f\t%.2f\n", requests, seconds(begin.wall_ns, end.wall_ns),
           seconds(begin.server_ns, end.server_ns), percentile(50), percentile(99));
    fflush(stdout);
}

/* Each connection is asked again until there are enough. All have their answers at the end: a server that finds its
 * client gone has other work to do. */
static void
count_up_to(uint32_t count, uint64_t requests)
{
    ask_all(count);
    while (answers + count < requests)
        turn(-1, true);
    take_the_rest(count);
    printf("requests\t%" PRIu64 "\n", answers);
}

static void
stay_idle(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        ask(&connections[i], 0);
        while (turn(-1, false) == 0)
            continue;
    }
    puts("idle");
    fflush(stdout);
    while (getchar() != EOF)
        continue;
}

static void
usage(const char *name)
{
    fprintf(stderr, "usage: %s [-c CONNECTIONS] [-p PID] [-s SECONDS | -n REQUESTS | -i] PORT\n",
            name);
    exit(2);
}

int
main(int argc, char **argv)
{
    uint32_t count = 1;
    uint64_t requests = 0;
    clockid_t server = CLOCK_PROCESS_CPUTIME_ID;
    double span_s = 1;
    bool idle = false;
    int option;

    while ((option = getopt(argc, argv, "c:p:s:n:i")) >= 0) {
        if (option == 'c')
            count = (uint32_t)strtoul(optarg, NULL, 10);
        else if (option == 'p' && clock_getcpuclockid(atoi(optarg), &server) != 0)
            fail(optarg);
        else if (option == 's')
            span_s = strtod(optarg, NULL);
        else if (option == 'n')
            requests = strtoull(optarg, NULL, 10);
        else if (option == 'i')
            idle = true;
        else if (option == '?')
            usage(argv[0]);
    }
    if (optind + 1 != argc)
        usage(argv[0]);

    open_connections(count, (uint16_t)atoi(argv[optind]));
    if (idle)
        stay_idle(count);
    else if (requests > 0)
        count_up_to(count, requests);
    else
        for (int c; (c = getchar()) != EOF;)
            measure(count, server, span_s);
    return 0;
}
