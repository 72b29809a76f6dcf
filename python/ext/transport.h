/* ext/transport.h -- a connected stream socket under a protocol (theory in transport.c).
 *
 * Three files share it: transport.c (life, protocol, what can be asked), receive.c, send.c.
 */
#ifndef IORA_EXT_TRANSPORT_H
#define IORA_EXT_TRANSPORT_H

#include <Python.h>

#include "ext/loop.h"

#include <netinet/in.h>

enum {
    IORA__FEW_PIECES = 2,

    /* transport->owning */
    IORA__FD_GONE = 0, /* closed, or somebody else's now */
    IORA__FD_ADOPTED,  /* the backend has it for us */
    IORA__FD_BARE      /* open and ours, but the loop is closed */
};

enum iora__write_policy { /* when a write is sent */
                          IORA__WRITE_AT_ONCE,
                          IORA__WRITE_PER_CALLBACK, /* when the callback that made it returns */
                          IORA__WRITE_PER_TURN      /* before the next poll */
};

union iora__name {      /* of one end; another family's are in `extra` */
    sa_family_t family; /* 0: not known */
    struct sockaddr_in ip4;
    struct sockaddr_in6 ip6;
};

typedef struct TransportObject {
    PyObject_HEAD PyObject *
        extra; /* the slot of asyncio.BaseTransport: it must be here. NULL until something is in it */
    LoopObject *loop;
    PyObject *protocol; /* NULL once lost */
    PyObject *context;      /* that of who made it, or had it read again */
    PyObject *send_context; /* that of who wrote what is being sent; NULL if nothing is */
    PyObject *sock;   /* NULL, or the socket object that closes the descriptor */
    PyObject *server; /* may be NULL */
    PyObject *dict;
    PyObject *weak_references;
    struct iora__link in_loop; /* while the backend has the descriptor */
    struct iora__op recv;
    struct iora__op send; /* of the first piece, when the kernel had no room */
    PyObject *target;     /* what is received into: the protocol's buffer, or bytes of ours */
    PyObject *exception;  /* that get_buffer() raised */
    PyObject *lost_by;    /* what connection_lost() shall be told, as soon as there is memory to call it */

    struct iora__link
        in_unsent;     /* the loop's list of those that have something to send; a reference */
    PyObject **pieces; /* bytes objects, a ring: `few`, or on the heap if there are more */
    PyObject *few[IORA__FEW_PIECES];
    uint32_t capacity, first, count;
    size_t queued; /* bytes in them that were not sent */
    size_t sent_of_first;
    size_t high, low;

    union iora__name own_name, peer_name;
    int fd;
    unsigned conn_lost;
    uint8_t owning;
    uint8_t full_reads; /* in a row */
    bool is_buffered;
    bool is_stream; /* the protocol is a stream's, and its data_received() the one of streams.c */
    bool is_receiving; /* the multi recv is pending: a reference */
    bool is_sending;   /* the send is pending: a reference */
    bool is_taking;    /* get_buffer() runs */
    bool is_paused;
    bool is_closing;
    bool has_eof; /* write_eof() was called */
    bool has_end; /* the peer has sent its end */
    bool protocol_is_paused;
} TransportObject;

int iora__transport_add_type(PyObject *module, struct state *state);

/* Make one of a connected descriptor that the backend has: its owner now, except if NULL is returned. `sock` is
 * its socket object, or NULL; `peer` may be NULL. Runs in `context`, which is the transport's from then on. */
TransportObject *iora__transport_new(LoopObject *loop, int fd, PyObject *sock, PyObject *protocol,
                                     PyObject *context, PyObject *server, const iora_address *peer);

/* loop._make_transport(sock, protocol, waiter, extra, server) */
PyObject *iora__loop_make_transport(LoopObject *loop, PyObject *const *args, Py_ssize_t n);
/* loop._transports_of(server) */
PyObject *iora__loop_transports_of(LoopObject *loop, PyObject *server);

/* The loop is being closed: take all descriptors from the backend. */
void iora__loop_drop_transports(LoopObject *loop);
int iora__loop_traverse_transports(LoopObject *loop, visitproc visit, void *arg);

/* Have the backend own the descriptor of a socket object. -1: an exception. A transport that still had the
 * number, because its socket was closed behind its back, loses it. */
int iora__loop_adopt(LoopObject *loop, PyObject *sock, int fd);

/* -1 with RuntimeError if the descriptor is a transport's. */
int iora__transport_check_free(PyObject *transport, PyObject *fd);

/* Have connection_lost() called, if that had to be put off for want of memory: false if there still is none. */
bool iora__transport_lose_at_last(TransportObject *transport);

/* Whether what is set must leave the loop. */
bool iora__must_leave(void);

/* An error code as an exception. */
PyObject *iora__os_error(int code);

/* What cannot be borne: the connection is over. Steals the exception. */
void iora__transport_fail(TransportObject *transport, PyObject *exception, const char *message);
/* The same for an exception that the protocol raised, and that is set. */
void iora__transport_fail_by_protocol(TransportObject *transport, const char *message);
/* Tell the loop's exception handler; the exception is borrowed. */
void iora__transport_report(TransportObject *transport, const char *message, PyObject *exception);
/* Have connection_lost() called soon, in a context (NULL: a copy of the caller's); -1. */
int iora__transport_lose(TransportObject *transport, PyObject *exception, PyObject *context);
int iora__transport_close(TransportObject *transport, PyObject *context);
/* Cancel an op that is pending. */
void iora__transport_stop(TransportObject *transport, struct iora__op *op, bool *is_pending);
/* In debug mode, a line for the log: "%r ..." */
int iora__transport_say(TransportObject *transport, const char *format);

/* ext/receive.c */
void iora__transport_start_reading(TransportObject *transport);
void iora__transport_stop_reading(TransportObject *transport);
/* The protocol is of another kind now. */
void iora__transport_retarget(TransportObject *transport);
/* Call a method of the protocol in the transport's context, with an argument or NULL. */
PyObject *iora__transport_call(TransportObject *transport, PyObject *name, PyObject *arg);

/* ext/send.c */
PyObject *iora__transport_write(TransportObject *transport, PyObject *data);
PyObject *iora__transport_writelines(TransportObject *transport, PyObject *pieces);
PyObject *iora__transport_write_eof(TransportObject *transport, PyObject *unused);
/* Send what is queued, as much as the kernel takes. */
void iora__transport_flush(TransportObject *transport);
void iora__transport_drop_pieces(TransportObject *transport);
void iora__transport_check_high(TransportObject *transport);
/* Send what callbacks have written. */
void iora__loop_flush(LoopObject *loop);
/* The same while an exception may be set, which stays so. */
void iora__loop_flush_within(LoopObject *loop);

/* A callback has returned, or raised, and its context is still entered: send what it wrote. */
static inline void
iora__loop_callback_returned(LoopObject *loop)
{
    if (!iora__list_is_empty(&loop->unsent) && loop->write_policy != IORA__WRITE_PER_TURN)
        iora__loop_flush_within(loop);
}

/* None, or NULL if something is to leave the loop: for a method that has called the protocol. */
PyObject *iora__transport_done(TransportObject *transport);

/* The backend has the descriptor no longer: true. In a forked child the kernel's set is the parent's too, and must not
 * hear of it: there the descriptor goes with the backend, and nobody else may close it. */
bool iora__loop_release(LoopObject *loop, int fd);

static inline const struct iora__sockets *
iora__sockets_of(const LoopObject *loop)
{
    return loop->core->backend->sockets;
}

#endif
