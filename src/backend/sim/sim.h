/* backend/sim/sim.h -- the simulated operating system's inside.
 *
 * sim.c is the clock, the wait and the jobs; sockets.c what sockets are and how things come to them;
 * flow.c the bytes between two of them; names.c where they are found; ops.c what is done with them.
 * Each says its part of the theory.
 */
#ifndef IORA_BACKEND_SIM_SIM_H
#define IORA_BACKEND_SIM_SIM_H

#include <iora/net.h>

#include "backend/backend.h"

#include <sys/uio.h>

enum {
    IORA__SIM_FIRST_FD = 1 << 30,
    IORA__SIM_BUFFER = 64 * 1024, /* what lies between two ends, each way, unless drawn */
    IORA__SIM_OPTIONS = 12,       /* socket options that are remembered */
    IORA__SIM_OPTION_SIZE = 16
};

struct iora__sim_socket;

struct iora__sim {
    int64_t now_ns;
    uint64_t random;
    bool seeded;
    bool delivered; /* in this wait something was */
    int wake_fd;
    size_t pending; /* ops submitted and not ended */
    uint64_t waits; /* how many so far */

    struct iora__link schedule; /* sockets to which something is on its way, the earliest first */
    struct iora__link ready;    /* sockets whose ops may have something to do */
    struct iora__link jobs;     /* the earliest first */

    struct iora__link sockets;         /* all of them */
    struct iora__link listeners;       /* those that listen */
    struct iora__link bound;           /* those that were bound, but to no path */
    struct iora__link paths;           /* names in the file system */
    struct iora__sim_socket **numbers; /* the sockets by their number; NULL: a free one */
    size_t number_count;
    size_t lowest; /* all numbers below are taken */
    uint16_t next_port;
    uint64_t next_inode;
    unsigned char
        *scratch; /* where a multi recv without memory receives; NULL until there is one */
};

enum iora__sim_state {
    IORA__SIM_FRESH,
    IORA__SIM_CONNECTING,
    IORA__SIM_CONNECTED, /* also when the peer is gone */
    IORA__SIM_LISTENING
};

/* What comes to a socket. The ring holds `arrived` bytes from `first` on, then `in_flight` ones. */
struct iora__sim_flow {
    unsigned char *ring;
    size_t size;     /* of the ring, which grows */
    size_t capacity; /* to at most this */
    size_t first, arrived, in_flight;
    bool fin, rst; /* behind the bytes in flight comes the end; behind that, a reset */
    bool ended;    /* the end has arrived */
};

struct iora__sim_option {
    int level, option;
    socklen_t length; /* 0: a free entry */
    unsigned char value[IORA__SIM_OPTION_SIZE];
};

struct iora__sim_path;

struct iora__sim_socket {
    struct iora__link in_all, in_bound, in_listeners;
    struct iora__link in_ready;
    struct iora__link in_schedule;
    int64_t at_ns;
    int fd; /* -1: nobody has accepted it yet */
    int family;
    enum iora__sim_state state;
    int error; /* an errno that the next call is told; 0: none */
    bool shut_read, shut_write;
    bool reset;                         /* no byte comes or goes any more */
    struct iora__link readers, writers; /* ops, in the order they are served */
    uint64_t budget_of;                 /* the wait whose budget these count against */
    size_t calls, bytes;

    iora_address local, remote;
    struct iora__sim_path *path; /* that it was bound to */
    struct iora__sim_option options[IORA__SIM_OPTIONS];

    struct iora__sim_socket *peer; /* NULL: none, or it was closed */
    struct iora__sim_flow in;

    struct iora__sim_socket *embryo; /* of one that connects: what will be accepted */
    size_t backlog;                  /* of a listener: how many may wait */
    size_t waiting;
    struct iora__link embryos;    /* of a listener: to be accepted */
    struct iora__link connectors; /* of a listener: for whom there is no room */
    struct iora__link in_listener;
};

/* ---- sim.c --------------------------------------------------------------------------------------- */

/* Something comes to the socket: now, or with a seed some time later. */
void iora__sim_schedule(struct iora__sim *sim, struct iora__sim_socket *socket);
/* The socket's ops may have something to do: the next wait tries them. */
void iora__sim_mark_ready(struct iora__sim *sim, struct iora__sim_socket *socket);
/* A number below `below`; 0 without a seed. */
uint64_t iora__sim_draw(struct iora__sim *sim, uint64_t below);
/* A part of n, at least 1; all of it without a seed. */
size_t iora__sim_part_of(struct iora__sim *sim, size_t n);
/* Heads or tails; without a seed, tails. */
bool iora__sim_flip(struct iora__sim *sim);

/* ---- sockets.c ------------------------------------------------------------------------------------ */

static inline bool
iora__sim_is_unix(const struct iora__sim_socket *socket)
{
    return socket->family == AF_UNIX;
}

/* The socket of a number, or NULL. */
struct iora__sim_socket *iora__sim_find(const struct iora__sim *sim, int fd);
int iora__sim_socket(void *state, int family, int type);
int iora__sim_socket_pair(void *state, int type, int out[2]);
void iora__sim_close(struct iora__sim *sim, struct iora__sim_socket *socket);
/* The end of all: nobody is left to be told. */
void iora__sim_free_all(struct iora__sim *sim);

/* Begin to connect. How it went shows in state and error. */
int iora__sim_connect(struct iora__sim *sim, struct iora__sim_socket *socket,
                      const struct sockaddr *address, socklen_t length);
/* The number of a connection taken from the listener's backlog, or -EAGAIN, -ENOMEM. */
int iora__sim_accept(struct iora__sim *sim, struct iora__sim_socket *listener, iora_address *peer);
/* What was on its way to the socket is there. */
void iora__sim_arrive(struct iora__sim *sim, struct iora__sim_socket *socket);

int iora__sim_listen(void *state, int fd, int backlog);
int iora__sim_shutdown(void *state, int fd, int how);
int iora__sim_set_option(void *state, int fd, int level, int option, const void *value,
                         socklen_t length);
int iora__sim_get_option(void *state, int fd, int level, int option, void *value,
                         socklen_t *length);
/* Whether an option that is an int is set. */
bool iora__sim_has_option(struct iora__sim_socket *socket, int level, int option);

/* ---- flow.c -------------------------------------------------------------------------------------- */

size_t iora__sim_room(const struct iora__sim_flow *flow);
/* n bytes that there is room for, in flight. 0 or -ENOMEM. */
int iora__sim_put(struct iora__sim_flow *flow, const struct iovec *parts, size_t n);
/* n bytes that have arrived into the memory; `peek` leaves them. */
void iora__sim_take(struct iora__sim_flow *flow, const struct iovec *parts, size_t n, bool peek);

/* ---- names.c ------------------------------------------------------------------------------------- */

int iora__sim_bind(void *state, int fd, const struct sockaddr *address, socklen_t length);
int iora__sim_listen_path(void *state, int fd, const char *path, unsigned mode, int backlog,
                          struct iora__path_claim *claim);
void iora__sim_unbind_path(void *state, const struct iora__path_claim *claim);
int iora__sim_name(void *state, int fd, bool peer, struct sockaddr *out, socklen_t *length);
/* Give a socket that connects, or listens unbound, a name of its own; `towards` says on which host. */
void iora__sim_name_itself(struct iora__sim *sim, struct iora__sim_socket *socket,
                           const iora_address *towards);
/* Whether another socket listens where this one is bound. */
bool iora__sim_is_taken(const struct iora__sim *sim, struct iora__sim_socket *socket);
/* Whom a connection to the address reaches: 0, -ECONNREFUSED, -ENOENT. */
int iora__sim_look_up(const struct iora__sim *sim, const iora_address *address,
                      struct iora__sim_socket **out);
/* A copy of an address that the family can have, where 0.0.0.0 and :: mean this host: 0, -errno. */
int iora__sim_copy_address(int family, const struct sockaddr *address, socklen_t length,
                           iora_address *out);
/* Forget the names that go with the socket. Its path stays, as a file would. */
void iora__sim_unname(struct iora__sim_socket *socket);
void iora__sim_free_paths(struct iora__sim *sim);

/* ---- ops.c ----------------------------------------------------------------------------------------- */

int iora__sim_submit(void *state, struct iora__op *op);
int iora__sim_cancel(void *state, struct iora__op *op);
/* End an op, or tell a multi op of one more result. */
void iora__sim_finish(struct iora__sim *sim, struct iora__op *op, int res);
/* Let the ops of all ready sockets do what they can. */
void iora__sim_serve(struct iora__sim *sim);

#endif
