/* tests/load/load.h -- what the processes of the load test share.
 *
 * A *role* is a process: the server, or some clients. The one that has started them (load.c) tells it what to do next by a
 * byte through a pipe, and is told by a byte that it is done; figures are in memory that all share, written before
 * that byte. The end of the pipe is the end of the role too.
 */
#ifndef IORA_TESTS_LOAD_LOAD_H
#define IORA_TESTS_LOAD_LOAD_H

#include <iora.h>

enum {
    ADDRESSES = 8, /* 127.0.0.1 and those behind it: one alone has ports for 28,000 connections */
    MESSAGE_MAX = 1024, /* bytes */
    AT_ONCE = 64        /* so many connect at a time */
};

struct plan {
    int connections; /* that are held */
    int slow, fast;
    double seconds; /* for which they are */
    double pause;   /* of a connection between two messages, on average */
    double idle;    /* seconds in which nothing happens */
    double window;  /* seconds for which the fast ones are measured */
    int rounds;
    double share; /* per cent of their speed that the fast ones must keep */
};

/* What a role has to say. */
struct figures {
    uint16_t port;
    int connections; /* opened; of the server, most at a time */
    uint64_t messages, bytes;
    uint64_t wrong; /* messages that came back as others */
    double seconds;
    double p50_us, p99_us, most_us;
    char problem[256]; /* why it failed; "" */
};

/* Of the server, which is the one with slow connections if there are two. */
struct ports {
    uint16_t beside, alone;
};

/* Commands; of the first two, which of their connections the fast ones are to use. */
enum { LOAD_BESIDE = 'b', LOAD_ALONE = 'a', LOAD_END = 0 };

struct role {
    int commands, answers; /* descriptors of the pipes' ends */
    const struct plan *plan;
    struct ports ports;
    struct figures *figures;
};

/* Each runs in a process of its own until it is told to end. 0, or a negative code. */
int load_serve(const struct role *role);
int load_hold(const struct role *role);
int load_be_fast(const struct role *role);
int load_be_slow(const struct role *role);

/* For roles: wait for the next command, 0 being the end; say that it is done. */
int load_next(iora_stream *commands);
int load_done(const struct role *role);
/* Keep the first problem, and return the code. */
int load_problem(struct figures *figures, int rc, const char *what, int connection);

#endif
