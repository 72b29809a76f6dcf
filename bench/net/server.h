/* bench/net/server.h -- what the servers of the network bench written in C and C++ share.
 *
 * A server prints the address it listens on as its first line, serves until its stdin ends, and then
 * prints what it did: "REQUESTS <tab> user seconds <tab> system seconds", its own count and its
 * own clocks, so that what the load generator says about it can be held against what it says itself.
 * `SERVER --about` prints one line that says what was built, and nothing is served.
 *
 * All listen the same way, so that no peer is held against another's socket options: on a port
 * that the kernel chooses, with a backlog for any number of connections here, and without Nagle's
 * algorithm, which accepted sockets inherit from the one that listens. */

#ifndef BENCH_NET_SERVER_H
#define BENCH_NET_SERVER_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    SERVER_MESSAGE = 1024, /* bytes of a request, and of its answer */
    SERVER_BACKLOG = 4096
};

/* Prints `about` and ends the program if that is what argv asks for. */
void server_about(int argc, char **argv, const char *about);

/* A listening socket that does not block. Its address is printed. */
int server_listen(void);

/* The last line. */
void server_report(uint64_t requests);

/* Ends the program as failed, saying what and, if errno has it, why. */
void server_fail(const char *what) __attribute__((noreturn));

#ifdef __cplusplus
}
#endif

#endif
