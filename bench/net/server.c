/* bench/net/server.c -- listening, and the account at the end. server.h says what for. */

#define _GNU_SOURCE
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

void
server_fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, errno != 0 ? strerror(errno) : "failed");
    exit(1);
}

void
server_about(int argc, char **argv, const char *about)
{
    if (argc == 2 && strcmp(argv[1], "--about") == 0) {
        puts(about);
        exit(0);
    }
}

int
server_listen(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof(address);
    const int one = 1;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        server_fail("socket");
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0)
        server_fail("setsockopt");
    if (bind(fd, (struct sockaddr *)&address, length) != 0)
        server_fail("bind");
    if (listen(fd, SERVER_BACKLOG) != 0)
        server_fail("listen");
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        server_fail("getsockname");
    printf("127.0.0.1:%" PRIu16 "\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static double
seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

void
server_report(uint64_t requests)
{
    struct rusage used;

    if (getrusage(RUSAGE_SELF, &used) != 0)
        server_fail("getrusage");
    printf("%" PRIu64 "\t%.6f\t%.6f\n", requests, seconds(used.ru_utime), seconds(used.ru_stime));
}
