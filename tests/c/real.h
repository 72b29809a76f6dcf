/* tests/c/real.h -- descriptors and time as the kernel has them, for tests whose point they are. */
#ifndef IORA_TESTS_REAL_H
#define IORA_TESTS_REAL_H

#include "test.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { RD = 0, WR = 1 }; /* the ends of a pipe */

static inline int64_t
real_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline void
real_sleep_ms(int ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};

    while (nanosleep(&pause, &pause) < 0)
        continue;
}

/* Keep the processor for as long. */
static inline void
real_work_us(int us)
{
    const int64_t until_ns = real_ns() + (int64_t)us * 1000;

    while (real_ns() < until_ns)
        continue;
}

static inline pthread_t
start_thread(void *(*fn)(void *), void *arg)
{
    pthread_t thread;

    CHECK_EQ(pthread_create(&thread, NULL, fn, arg), 0);
    return thread;
}

static inline void
join_thread(pthread_t thread)
{
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

static inline void
open_pipe(int ends[2])
{
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
}

static inline void
open_pair(int ends[2])
{
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
}

static inline void
close_both(const int ends[2])
{
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static inline void
put_bytes(int fd, size_t n)
{
    static const char bytes[64];

    CHECK_EQ(write(fd, bytes, n), n);
}

static inline void
take_bytes(int fd, size_t n)
{
    char bytes[64];

    CHECK_EQ(read(fd, bytes, n), n);
}

/* Write until the descriptor takes no more, leaving its flags as they are. */
static inline void
fill(int fd)
{
    static const char block[4096];

    while (send(fd, block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        continue;
}

/* Turn a loop as often as it takes for *count to come to n; the test fails if it never does. */
static inline void
turn_until(iora_loop *loop, const int *count, int n)
{
    const int64_t patience_ns = (int64_t)test_patience_ms() * 1000000;
    const int64_t began_ns = real_ns();

    while (*count < n) {
        CHECK(iora_loop_run_once(loop, iora_ms(100)) >= 0);
        CHECK(real_ns() - began_ns < patience_ns);
    }
}

/* Turn it some times without waiting: what comes that should not, comes now. */
static inline void
turn_some(iora_loop *loop)
{
    for (int i = 0; i < 5; i++)
        CHECK(iora_loop_run_once(loop, iora_ns(0)) >= 0);
}

#endif
