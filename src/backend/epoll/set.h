/* backend/epoll/set.h -- the epoll set and its records, for the files of this folder (theory in set.c). */
#ifndef IORA_BACKEND_EPOLL_SET_H
#define IORA_BACKEND_EPOLL_SET_H

#include "backend/backend.h"

#include "sys/sys.h"

/* What stands behind a descriptor number: whose it is, and what a short read of it means. */
enum {
    IORA__FD_BORROWED, /* the user's, or nobody's */
    IORA__FD_TCP,      /* owned: a short read has emptied it */
    IORA__FD_SOCKET,   /* owned: any other socket; only EAGAIN says that it is empty */
    IORA__FD_PIPE      /* owned: no socket, so read(2) and write(2) */
};

enum { CHUNK_BITS = 6, CHUNK = 1 << CHUNK_BITS }; /* so many records are allocated together */

struct record {
    struct iora__link ops;     /* borrowed: all that wait; owned: what reads */
    struct iora__link writers; /* owned: what writes */
    struct iora__link dirty;
    struct iora__link hot;
    int fd;
    uint32_t generation;
    uint32_t left; /* the wait during which it was last closed: its events of that one are no surprise */
    uint32_t served; /* owned: the last wait that reported it */
    uint8_t kind;
    uint8_t armed;
    bool level_triggered;
    bool registered; /* as far as we know, the kernel has an entry, armed or not */
    uint8_t ready;   /* owned: the sides that the next call may find ready */
    bool was_blocking; /* owned: before it was adopted */
    bool is_marked;  /* owned: a hang-up, an error or urgent data was told: short reads mean nothing */
};

struct epoll {
    int fd;
    int outer_fd; /* -1: nobody asked for it */
    int wake_fd;  /* -1: none */
    bool rebuild;
    uint32_t waits;  /* how often was waited */
    size_t pending;  /* ops submitted and not ended */
    struct iora__link dirty;
    struct iora__link hot;
    struct iora__link retries; /* connects whose listener had no room */
    struct iora__link doomed;  /* ops of descriptors that were closed behind our back */
    int64_t retry_ns;          /* when to try those again */
    int64_t retry_pause_ns;
    struct record **chunks;
    size_t chunk_count;
    char *buffer; /* what a multi recv without memory receives into; NULL until there is one */
};

/* ---- set.c: records ---------------------------------------------------------------------------- */

/* The record of a number; NULL if there is none yet. */
struct record *iora__epoll_find(const struct epoll *epoll, int fd);
int iora__epoll_make_record(struct epoll *epoll, int fd, struct record **out);

/* Tell the kernel of the record as it stands, whatever the kernel knows of its number; take it back. */
int iora__epoll_tell(struct epoll *epoll, struct record *record);
void iora__epoll_forget(struct epoll *epoll, struct record *record);
void iora__epoll_mark_dirty(struct epoll *epoll, struct record *record);

/* End an op: its _res, and _done. A multi op that goes on stays pending. */
void iora__epoll_finish(struct epoll *epoll, struct iora__op *op, int res);
void iora__epoll_more(struct iora__op *op, int res);

/* An op that waits, or no longer does, in whatever queue. */
static inline int
iora__epoll_pend(struct epoll *epoll, struct iora__link *queue, struct iora__op *op)
{
    iora__list_push_tail(queue, &op->_link);
    op->_state = IORA__OP_SUBMITTED;
    epoll->pending++;
    return IORA__OP_PENDING;
}

static inline struct iora__op *
iora__epoll_op(struct iora__link *link)
{
    return iora__container_of(link, struct iora__op, _link);
}

/* ---- borrowed.c: descriptors of the user's -------------------------------------------------------- */

uint32_t iora__epoll_borrowed_events(const struct record *record);
int iora__epoll_borrowed_submit(struct epoll *epoll, struct iora__op *op);
void iora__epoll_borrowed_cancel(struct epoll *epoll, struct record *record, struct iora__op *op);
void iora__epoll_borrowed_event(struct epoll *epoll, struct record *record, uint32_t events);
/* Arm the record before the wait. */
void iora__epoll_borrowed_arm(struct epoll *epoll, struct record *record);

/* ---- owned.c: descriptors of ours ------------------------------------------------------------------- */

uint32_t iora__epoll_owned_events(const struct record *record);
int iora__epoll_owned_submit(struct epoll *epoll, struct record *record, struct iora__op *op);
void iora__epoll_owned_event(struct epoll *epoll, struct record *record, uint32_t events);
/* A descriptor becomes ours, of a kind; it goes on as the user's, or is closed. */
int iora__epoll_own(struct epoll *epoll, int fd, uint8_t kind, uint8_t ready);
void iora__epoll_disown(struct epoll *epoll, struct record *record);
/* Register the record before the wait. */
void iora__epoll_owned_arm(struct epoll *epoll, struct record *record);
/* A connect for which a Unix listener had no room: the kernel will not tell when it has. */
int iora__epoll_retry(struct epoll *epoll, struct iora__op *op);
/* Serve what is ready and was left over, try connects again, tell the doomed. */
void iora__epoll_owned_tend(struct epoll *epoll);
/* Whether the next wait must not sleep, or not beyond an instant. */
int64_t iora__epoll_owned_until(const struct epoll *epoll, int64_t until_ns);
/* What owned.c has of its own, and the descriptors that were left open. */
void iora__epoll_owned_close(struct epoll *epoll);

/* sockets.c */
extern const struct iora__sockets iora__epoll_sockets;

#endif
