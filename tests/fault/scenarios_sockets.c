/* tests/fault/scenarios_sockets.c -- descriptors of the user's own, which are never changed. */
#include "traffic.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static int left = -1, right = -1; /* what bytes go into and come out of */

static void
shut(int *fd)
{
    if (*fd >= 0)
        CHECK(close(*fd) == 0);
    *fd = -1;
}

/* ---- bytes ------------------------------------------------------------------------------------------------- */

typedef int send_fn(int fd, const void *data, size_t n);
typedef int receive_fn(int fd, void *data, size_t n);

static send_fn *send_by;
static receive_fn *receive_by;
static struct flow flow = {.name = 11, .total = 150000};

static int
sends(void)
{
    IN_TASK;
    char *const data = malloc(flow.total);
    size_t sent = 0;
    int rc = 1;

    CHECK(data != NULL);
    flow_fill(flow.name, 0, data, flow.total);
    while (sent < flow.total && rc > 0) {
        const size_t most = 1 + sent % 30000, rest = flow.total - sent;

        if ((rc = WELL(send_by(left, data + sent, most < rest ? most : rest))) > 0)
            sent += (size_t)rc;
    }
    flow.said_end = sent == flow.total;
    shut(&left);
    free(data);
    return rc < 0 ? rc : 0;
}
IORA_ASYNC(sends);

static int
receive(void)
{
    char data[7000];
    int rc;

    while ((rc = WELL(receive_by(right, data, sizeof data))) > 0)
        flow_took(&flow, data, (size_t)rc);
    flow.saw_end = rc == 0;
    return rc;
}

static int
passes_bytes(void)
{
    const int flags = fcntl(left, F_GETFL);
    const iora_task sender = SPAWN(iora_go(sends));

    if (iora_task_is_valid(sender)) {
        if (receive() < 0)
            shut(&right);
        (void)WELL(iora_await(sender));
    }
    CHECK(right < 0 || (fcntl(right, F_GETFL) & O_NONBLOCK) == (flags & O_NONBLOCK));
    return 0;
}
IORA_ASYNC(passes_bytes);

static void
pass_bytes(send_fn *by, receive_fn *to)
{
    send_by = by;
    receive_by = to;
    RUN(passes_bytes);
    shut(&left);
    shut(&right);
    flow_settle(&flow);
}

static bool
open_sockets(void)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return false;
    left = ends[0];
    right = ends[1];
    return true;
}

static int
send_plainly(int fd, const void *data, size_t n)
{
    return iora_sock_send(fd, data, n, 0);
}

static int
receive_plainly(int fd, void *data, size_t n)
{
    return iora_sock_recv(fd, data, n, 0);
}

SCENARIO(sockets, bytes, REAL)
{
    if (open_sockets())
        pass_bytes(send_plainly, receive_plainly);
}

static int
send_message(int fd, const void *data, size_t n)
{
    struct iovec halves[] = {{(void *)data, n / 2}, {(char *)data + n / 2, n - n / 2}};
    struct msghdr message = {.msg_iov = halves, .msg_iovlen = 2};

    return iora_sock_sendmsg(fd, &message, 0);
}

static int
receive_message(int fd, void *data, size_t n)
{
    struct iovec halves[] = {{data, n / 2}, {(char *)data + n / 2, n - n / 2}};
    struct msghdr message = {.msg_iov = halves, .msg_iovlen = 2};

    return iora_sock_recvmsg(fd, &message, 0);
}

SCENARIO(sockets, messages, REAL)
{
    if (open_sockets())
        pass_bytes(send_message, receive_message);
}

SCENARIO(sockets, pipe, REAL)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return;
    right = ends[0];
    left = ends[1];
    pass_bytes(iora_fd_write, iora_fd_read);
}

/* ---- a file, which is read by a thread ------------------------------------------------------------------------- */

static struct flow filed = {.name = 12, .total = 20000};

static int
reads_file(int fd)
{
    char data[6000];
    int rc;

    while ((rc = iora_fd_read(fd, data, sizeof data)) > 0)
        flow_took(&filed, data, (size_t)rc);
    (void)EXPECT(rc, 0, -EAGAIN, -EIO); /* EAGAIN: there is no thread */
    filed.saw_end = filed.said_end = rc == 0;
    return 0;
}
IORA_ASYNC(reads_file, int);

SCENARIO(sockets, file, REAL)
{
    const int fd = memfd_create("file", MFD_CLOEXEC);
    char data[20000];

    if (fd < 0)
        return;
    flow_fill(filed.name, 0, data, sizeof data);
    CHECK(write(fd, data, sizeof data) == sizeof data && lseek(fd, 0, SEEK_SET) == 0);
    RUN(reads_file, fd);
    (void)close(fd);
    flow_settle(&filed);
}

/* ---- accepting and connecting ----------------------------------------------------------------------------------- */

static iora_address listening;
static bool met;

static int
make_socket(void)
{
    return socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static int
connects(void)
{
    IN_TASK;
    int fd = make_socket(), rc;

    if (fd < 0)
        return 0;
    rc = WELL(iora_sock_connect(fd, &listening));
    for (int sent = 0; sent < 5 && rc >= 0; sent += rc > 0 ? rc : 0)
        rc = WELL(iora_sock_send(fd, "hello" + sent, (size_t)(5 - sent), 0));
    shut(&fd);
    return rc < 0 ? rc : 0;
}
IORA_ASYNC(connects);

static int
accept_hello(int listener)
{
    char data[8] = "";
    iora_address peer;
    int rc = WELL(iora_sock_accept(listener, &peer)), fd;
    size_t n = 0;

    if ((fd = rc) < 0)
        return rc;
    CHECK(iora_address_port(&peer) != 0);
    while (n < 5 && (rc = WELL(iora_sock_recv(fd, data + n, sizeof data - n, 0))) > 0)
        n += (size_t)rc;
    CHECK(memcmp(data, "hello", n) == 0);
    met = n == 5;
    shut(&fd);
    return rc < 0 ? rc : 0;
}

static int
meets(int listener)
{
    const iora_task client = SPAWN(iora_go(connects));

    if (iora_task_is_valid(client)) {
        int rc = iora_wait_for(accept_hello(listener), patience());

        (void)WELL(rc);
        (void)WELL(iora_await(client));
    }
    return 0;
}
IORA_ASYNC(meets, int);

SCENARIO(sockets, connections, REAL)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    int listener = make_socket();

    if (listener < 0)
        return;
    CHECK(bind(listener, (const struct sockaddr *)&address, length) == 0 &&
          listen(listener, 8) == 0 &&
          getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    listening.length = length;
    memcpy(listening.bytes, &address, sizeof address);
    RUN(meets, listener);
    shut(&listener);
    CHECK(met || fault_is_armed());
}
