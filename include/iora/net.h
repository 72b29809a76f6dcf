/* iora/net.h -- addresses, names, and socket calls on descriptors of your own.
 *
 * Programs that serve or fetch something want streams (iora/stream.h, iora/server.h). This is what
 * lies below: for protocols that bring their own sockets, and for code that is being moved over.
 *
 * Descriptors   The functions of iora_sock_... and iora_fd_... work on a descriptor that is and stays
 *               yours. It is never changed: no O_NONBLOCK is set, nothing is closed. One epoll set
 *               has one entry per descriptor, but any number of tasks may wait on one.
 * Names         A look-up that needs the network runs in a lane of threads of its own, so that one
 *               that is stuck delays no other thread's work. Numeric hosts and "localhost" need none.
 * Simulation    A simulated loop knows no real descriptors: iora_sock_... and iora_fd_... answer -ENOTSUP
 *               there. Streams and servers do work in it, over a simulated network, on which no host but
 *               "localhost" has a name: any other is IORA_E_NAME.
 *
 * Every function that suspends may also return IORA_E_NO_LOOP and IORA_E_NO_TASK.
 *
 * Guide         docs/guide/streams.md
 */
#ifndef IORA_NET_H
#define IORA_NET_H

#include <iora/base.h>

IORA_BEGIN

/* The system's types, whose headers a program includes if it uses them: <netdb.h>, <sys/socket.h> and
 * <sys/uio.h> bring hundreds of short names (send, bind) that would be in your way otherwise. */
struct addrinfo;
struct iovec;
struct msghdr;

/* ---- addresses --------------------------------------------------------------------------------- */
/* These functions need no loop and may be called in any thread. */

/** An address of any family, as a value: `bytes` holds a struct sockaddr_in or the like of so many bytes.
 *  All zero: no address. */
typedef struct iora_address {
    uint32_t length;
    unsigned char bytes[128] __attribute__((aligned(8)));
} iora_address;

/** Room for the longest text that iora_address_format() writes. */
enum { IORA_ADDRESS_TEXT = 128 };

/** Write the address as people know it: "127.0.0.1:80", "[::1]:80", "unix:/run/x", "unix:@abstract",
 *  "unix:" for an unnamed one, "" for none. At most `size` bytes, NUL included; returns text. */
IORA_API const char *iora_address_format(const iora_address *address, char *text, size_t size);

/** The port of an IPv4 or IPv6 address; 0 for any other. */
IORA_API uint16_t iora_address_port(const iora_address *address);

/** An address from a numeric host ("127.0.0.1", "::1", "fe80::1%eth0") and a port. 0; IORA_E_NAME for
 *  any other text. */
IORA_API int iora_address_parse(const char *host, uint16_t port, iora_address *out);

/** An address of the Unix family from a path; a leading '@' means the abstract namespace. 0; -EINVAL for an
 *  empty path, -ENAMETOOLONG for one that does not fit (107 bytes): it is never cut. */
IORA_API int iora_address_unix(const char *path, iora_address *out);

/* ---- names -------------------------------------------------------------------------------------- */

/**
 * Look up the addresses of a host: getaddrinfo(3), without blocking the loop.
 *
 * `host` NULL with AI_PASSIVE in the hints means every address of this machine. `hints` may be NULL
 * (streams, any family). *out is a list that the caller gives to freeaddrinfo(3).
 *
 * Returns   0; IORA_E_NAME (there is no such name, or none with such an address), IORA_E_NAME_AGAIN
 *           (the servers did not answer: try later); -EINVAL for a name longer than 253 bytes, a service
 *           that there is not (a number above 65,535 too), hints that make no sense, or neither host nor
 *           service; -ENOMEM; -ECANCELED; IORA_E_FORKED; for other hosts also as iora_to_thread().
 * Suspends  unless the host is numeric or "localhost".
 * Cancel    returns at once; the thread that asks goes on by itself and what it finds is dropped.
 */
IORA_API IORA_MUST_USE int iora_getaddrinfo(const char *host, const char *service,
                                            const struct addrinfo *hints, struct addrinfo **out);

/* ---- your own descriptors -------------------------------------------------------------------------- */

/**
 * Receive from, send to, accept from and connect a socket of yours, as the calls of these names do;
 * flags are those of recv(2) and send(2), to which MSG_DONTWAIT and MSG_NOSIGNAL are added.
 *
 * Returns   a count (recv: 0 at the end of the stream); accept: a new descriptor, close-on-exec and
 *           non-blocking, yours; connect: 0. -EBADF; -ENOTSOCK; -ENOTSUP in a simulated loop;
 *           IORA_E_FORKED; -EBUSY for a stream's; accept and connect: -EINVAL for a socket that lacks
 *           O_NONBLOCK; what the call itself fails with; -ECANCELED.
 * Suspends  until the call can be made without blocking: not at all if that is now. send returns what the
 *           kernel took at once, which may be less than n.
 * Cancel    nothing was received, sent or accepted. A connect that was begun goes on in the kernel:
 *           close the socket.
 * Memory    is the caller's, in use until the call returns.
 */
IORA_API IORA_MUST_USE int iora_sock_recv(int fd, void *data, size_t n, int flags);
IORA_API IORA_MUST_USE int iora_sock_send(int fd, const void *data, size_t n, int flags);
IORA_API IORA_MUST_USE int iora_sock_recvmsg(int fd, struct msghdr *message, int flags);
IORA_API IORA_MUST_USE int iora_sock_sendmsg(int fd, const struct msghdr *message, int flags);
IORA_API IORA_MUST_USE int iora_sock_accept(int fd, iora_address *peer);
IORA_API IORA_MUST_USE int iora_sock_connect(int fd, const iora_address *address);

/**
 * Read from and write to a descriptor of yours that is no socket: a pipe, a terminal, a file.
 *
 * Where the kernel can do so without blocking (RWF_NOWAIT: pipes, and files whose pages it has), it is
 * asked to; a terminal is read once it is readable. What epoll refuses (regular files, as in `prog < file`)
 * is read and written by a thread of the loop's pool, and a blocking terminal is written to by one.
 *
 * Returns   a count, which may be less than n, 0 at the end; -EBADF; -EBUSY for a stream's; -ENOTSUP in a
 *           simulated loop; IORA_E_FORKED; what read(2) or write(2) fail with, without a SIGPIPE;
 *           -EAGAIN if a thread is needed and none can be had; -ECANCELED.
 * Suspends  until something can be read, or written.
 * Cancel    nothing was read or written. In a pool thread it may have been: then the call returns its
 *           result, and only when the thread has let go of the memory.
 */
IORA_API IORA_MUST_USE int iora_fd_read(int fd, void *data, size_t n);
IORA_API IORA_MUST_USE int iora_fd_write(int fd, const void *data, size_t n);

IORA_END

#endif
