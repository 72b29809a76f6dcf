/* tests/c/ops.h -- operations as the backend has them, on whichever backend the test runs.
 *
 * A *probe* is an op and what became of it. Whether it ends at once or later is the backend's, so `begin`
 * only starts it, and `settle` turns the loop until it has ended; `perform` is both. Where operations complete
 * late (@late) nothing ever ends at once.
 */
#ifndef IORA_TESTS_OPS_H
#define IORA_TESTS_OPS_H

#include "core/loop.h"
#include "real.h"
#include "test.h"

#include <netinet/in.h>
#include <sys/un.h>

struct probe {
    struct iora__op op;
    int calls;   /* of _done */
    int results; /* those that were no end */
    int res;     /* the last one */
    int ended;   /* 1 when it has */
    void (*then)(struct probe *);
};

static inline const struct iora__sockets *
sockets(void)
{
    return test_loop()->backend->sockets;
}

static inline void *
backend_state(void)
{
    return test_loop()->backend_state;
}

static inline bool
completes_late(void)
{
    return test_where() == TEST_LATE;
}

static inline size_t
ops_pending(void)
{
    return test_loop()->backend->pending(backend_state());
}

static inline void
probe_done(struct iora__op *op)
{
    struct probe *const probe = iora__container_of(op, struct probe, op);

    probe->calls++;
    probe->res = op->_res;
    if (op->_state == IORA__OP_IDLE)
        probe->ended++;
    else
        probe->results++;
    if (probe->then != NULL)
        probe->then(probe);
}

static inline void
note_end(struct probe *probe)
{
    probe->ended++;
    probe->res = probe->op._res;
}

/* Submit the probe's op as it is: what submit said. An error is an end too. */
static inline int
submit(struct probe *probe)
{
    const int rc = iora__op_submit(test_loop(), &probe->op);

    if (rc < 0)
        probe->op._res = rc;
    if (rc != IORA__OP_PENDING)
        note_end(probe);
    return rc;
}

static inline void
prepare(struct probe *probe, enum iora__op_kind kind, int fd, const void *base, size_t size)
{
    *probe = (struct probe){.op = {._done = probe_done,
                                   ._fd = fd,
                                   ._kind = (uint8_t)kind,
                                   ._base = (void *)(uintptr_t)base,
                                   ._size = size}};
}

static inline int
begin(struct probe *probe, enum iora__op_kind kind, int fd, const void *base, size_t size)
{
    prepare(probe, kind, fd, base, size);
    return submit(probe);
}

static inline int
begin_with(struct probe *probe, enum iora__op_kind kind, int fd, const void *base, size_t size,
           uint8_t flags)
{
    prepare(probe, kind, fd, base, size);
    probe->op._flags = flags;
    return submit(probe);
}

static inline int
settle(struct probe *probe)
{
    turn_until(test_loop(), &probe->ended, 1);
    return probe->res;
}

static inline int
perform(enum iora__op_kind kind, int fd, const void *base, size_t size)
{
    struct probe probe;

    (void)begin(&probe, kind, fd, base, size);
    return settle(&probe);
}

/* The result of an op that can be had at once. */
static inline int
at_once(struct probe *probe, enum iora__op_kind kind, int fd, const void *base, size_t size,
        uint8_t flags)
{
    const int rc = begin_with(probe, kind, fd, base, size, flags);

    if (!completes_late()) {
        CHECK(rc != IORA__OP_PENDING);
        return probe->res;
    }
    CHECK(iora_loop_run_once(test_loop(), iora_ns(0)) >= 0);
    CHECK_EQ(probe->ended, 1);
    return probe->res;
}

/* Cancel what is pending: -ECANCELED, or the result that came before. */
static inline int
cancel(struct probe *probe)
{
    if (iora__op_cancel(test_loop(), &probe->op) == IORA__OP_DONE)
        note_end(probe);
    return settle(probe);
}

static inline int
send_text(int fd, const char *text)
{
    return perform(IORA__OP_SEND, fd, text, strlen(text));
}

/* Receive until there are as many bytes, and compare. */
static inline void
expect_text(int fd, const char *text)
{
    const size_t length = strlen(text);
    char bytes[256] = "";

    for (size_t have = 0; have < length;) {
        const int n = perform(IORA__OP_RECV, fd, bytes + have, length - have);

        CHECK(n > 0);
        have += (size_t)n;
    }
    CHECK_STR(bytes, text);
}

static inline int
receive_one(int fd)
{
    char byte;

    return perform(IORA__OP_RECV, fd, &byte, 1);
}

static inline void
close_fd(int fd)
{
    CHECK_EQ(perform(IORA__OP_CLOSE, fd, NULL, 0), 0);
}

static inline void
close_ends(const int ends[2])
{
    close_fd(ends[0]);
    close_fd(ends[1]);
}

/* ---- making connections --------------------------------------------------------------------------- */

static inline struct sockaddr_in
loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* A name of this process's own in the abstract namespace. */
static inline socklen_t
abstract_name(struct sockaddr_un *name, const char *text)
{
    *name = (struct sockaddr_un){.sun_family = AF_UNIX};
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                       (size_t)snprintf(name->sun_path + 1, sizeof name->sun_path - 1, "iora-%d-%s",
                                        (int)getpid(), text));
}

static inline int
make_socket(int family)
{
    const int fd = sockets()->socket(backend_state(), family, SOCK_STREAM);

    CHECK(fd >= 0);
    return fd;
}

static inline int
listen_at(int family, const void *address, socklen_t length, int backlog)
{
    const int fd = make_socket(family);

    CHECK_EQ(sockets()->bind(backend_state(), fd, address, length), 0);
    CHECK_EQ(sockets()->listen(backend_state(), fd, backlog), 0);
    return fd;
}

/* A TCP listener on a port of the system's choice, and its address. */
static inline int
listen_tcp(int backlog, struct sockaddr_in *address)
{
    socklen_t length = sizeof *address;
    int fd;

    *address = loopback(0);
    fd = listen_at(AF_INET, address, sizeof *address, backlog);
    CHECK_EQ(sockets()->name(backend_state(), fd, false, (struct sockaddr *)address, &length), 0);
    CHECK_EQ(length, sizeof *address);
    CHECK(address->sin_port != 0);
    return fd;
}

static inline int
listen_at_path(const char *path, struct iora__path_claim *claim)
{
    const int fd = make_socket(AF_UNIX);

    CHECK_EQ(sockets()->listen_path(backend_state(), fd, path, 0600, 4, claim), 0);
    return fd;
}

static inline int
begin_connect(struct probe *probe, int fd, const void *address, socklen_t length)
{
    prepare(probe, IORA__OP_CONNECT, fd, address, 0);
    probe->op._detail = length;
    return submit(probe);
}

static inline int
connect_to(int fd, const void *address, socklen_t length)
{
    struct probe probe;

    (void)begin_connect(&probe, fd, address, length);
    return settle(&probe);
}

/* Two ends of one TCP connection: [0] connected, [1] accepted. */
static inline void
tcp_pair(int ends[2])
{
    struct sockaddr_in address;
    const int listener = listen_tcp(1, &address);

    ends[0] = make_socket(AF_INET);
    CHECK_EQ(connect_to(ends[0], &address, sizeof address), 0);
    ends[1] = perform(IORA__OP_ACCEPT, listener, NULL, 0);
    CHECK(ends[1] >= 0);
    close_fd(listener);
}

static inline void
unix_pair(int ends[2])
{
    CHECK_EQ(sockets()->socket_pair(backend_state(), SOCK_STREAM, ends), 0);
}

/* A body for each kind of connection; `ends` are closed behind it. */
#define FOR_EACH_PAIR(ends)                                                                        \
    for (int pair_kind = 0; pair_kind < 2; pair_kind++, close_ends(ends))                          \
        if (pair_kind == 0 ? tcp_pair(ends) : unix_pair(ends), true)

/* ---- a multi recv that keeps all it gets ----------------------------------------------------------- */

struct collector {
    struct probe probe;
    char bytes[256];
    size_t count;
    bool stops;
};

static inline void
collect(struct probe *probe)
{
    struct collector *const collector = iora__container_of(probe, struct collector, probe);

    if (probe->res <= 0)
        return;
    CHECK(collector->count + (size_t)probe->res <= sizeof collector->bytes);
    memcpy(collector->bytes + collector->count, probe->op._base, (size_t)probe->res);
    collector->count += (size_t)probe->res;
    if (collector->stops && iora__op_cancel(test_loop(), &probe->op) == IORA__OP_DONE)
        note_end(probe);
}

static inline int
begin_collecting(struct collector *collector, int fd, void *base, size_t size)
{
    collector->count = 0;
    prepare(&collector->probe, IORA__OP_RECV, fd, base, size);
    collector->probe.then = collect;
    collector->probe.op._flags = IORA__OP_MULTI;
    return submit(&collector->probe);
}

#endif
