/* backend/sim/ops.c -- what is done with simulated sockets: accept, connect, receive, send, close.
 *
 * An op is *performed*: it does what it can and has a result, or that is -EAGAIN. At submit it is
 * performed if nothing waits before it on its side of the socket; what can be had at once is done at
 * once, as with epoll. Else it waits in line, and is performed again whenever its socket is ready.
 *
 * A round of serving (one per wait) performs one op of each ready socket in turn. What `_done` does may
 * end any socket, so nothing of one is touched after it: who may have more to do stands in the round
 * again before. A multi op that has used up its budget comes to its next turn in the next wait.
 */
#include "backend/sim/sim.h"

#include "backend/perform.h"
#include "sys/alloc.h"
#include "sys/seam.h"

/* What a multi op may do in a wait. */
enum { ACCEPTS_PER_WAIT = 64, RECVS_PER_WAIT = 16, BYTES_PER_WAIT = 64 * 1024 };

enum { SCRATCH = 64 * 1024 };

/* ---- memory ---------------------------------------------------------------------------------------- */

/* The memory of an op: its own one piece, or those of a message. */
struct memory {
    struct iovec piece;
    const struct iovec *parts;
    size_t size; /* of all */
};

static bool
has_message(const struct iora__op *op)
{
    return op->_kind == IORA__OP_RECVMSG || op->_kind == IORA__OP_SENDMSG;
}

/* A multi recv without memory of its own: it gets the backend's, and keeps that in _base. */
static bool
borrows_scratch(const struct iora__sim *sim, const struct iora__op *op)
{
    return (op->_flags & IORA__OP_MULTI) && op->_take == NULL &&
           (op->_base == NULL || op->_base == sim->scratch);
}

static int
memory_of(const struct iora__sim *sim, struct iora__op *op, struct memory *out)
{
    if (has_message(op)) {
        const struct msghdr *const message = op->_base;

        out->parts = message->msg_iov;
        out->size = 0;
        for (size_t i = 0; i < message->msg_iovlen; i++)
            out->size += message->msg_iov[i].iov_len;
        return 0;
    }
    if (op->_take != NULL) {
        if ((op->_base = op->_take(op, &op->_size)) == NULL)
            return -ENOMEM;
    } else if (borrows_scratch(sim, op)) {
        op->_base = sim->scratch;
        op->_size = SCRATCH;
    }
    out->piece = (struct iovec){op->_base, op->_size};
    out->parts = &out->piece;
    out->size = op->_size;
    return 0;
}

static uint32_t
flags_of(const struct iora__op *op)
{
    return op->_kind == IORA__OP_READ || op->_kind == IORA__OP_WRITE ? 0 : op->_detail;
}

/* ---- performing ------------------------------------------------------------------------------------------ */

static int
take_error(struct iora__sim_socket *socket)
{
    const int error = socket->error;

    socket->error = 0;
    return -error;
}

static int
receive_arrived(struct iora__sim *sim, struct iora__sim_socket *socket, struct iora__op *op)
{
    const bool peek = flags_of(op) & MSG_PEEK;
    struct memory memory;
    size_t n;
    int rc;

    if ((rc = memory_of(sim, op, &memory)) < 0)
        return rc;
    n = memory.size < socket->in.arrived ? memory.size : socket->in.arrived;
    if (n == 0)
        return 0;
    if (!peek)
        n = iora__sim_part_of(sim, n);
    iora__sim_take(&socket->in, memory.parts, n, peek);
    if (socket->peer != NULL && !iora__list_is_empty(&socket->peer->writers))
        iora__sim_mark_ready(sim, socket->peer);
    return (int)n;
}

static int
receive(struct iora__sim *sim, struct iora__sim_socket *socket, struct iora__op *op)
{
    if (op->_kind == IORA__OP_RECVMSG) {
        struct msghdr *const message = op->_base;

        message->msg_namelen = 0;
        message->msg_controllen = 0;
        message->msg_flags = 0;
    }
    if (socket->state == IORA__SIM_CONNECTING)
        return -EAGAIN;
    if (socket->state != IORA__SIM_CONNECTED)
        return iora__sim_is_unix(socket) ? -EINVAL : -ENOTCONN;
    if (socket->in.arrived > 0)
        return receive_arrived(sim, socket, op);
    if (socket->error != 0 && (!socket->in.ended || iora__sim_is_unix(socket)))
        return take_error(socket);
    return socket->in.ended || socket->reset || socket->shut_read ? 0 : -EAGAIN;
}

/* Whether the bytes would meet nobody, and the sender knows. */
static bool
is_broken(const struct iora__sim_socket *socket)
{
    if (socket->shut_write || socket->reset)
        return true;
    return iora__sim_is_unix(socket) && (socket->peer == NULL || socket->peer->shut_read);
}

static int
send_to_peer(struct iora__sim *sim, struct iora__sim_socket *socket, struct iora__op *op)
{
    struct iora__sim_socket *const peer = socket->peer;
    const size_t room = peer != NULL ? iora__sim_room(&peer->in) : INT32_MAX;
    struct memory memory;
    size_t n;
    int rc;

    if (room == 0)
        return -EAGAIN;
    if ((rc = memory_of(sim, op, &memory)) < 0)
        return rc;
    n = memory.size < room ? memory.size : room;
    if (n == 0)
        return 0;
    if (peer == NULL) { /* TCP finds that out by sending */
        socket->in.rst = true;
        iora__sim_schedule(sim, socket);
        return (int)n;
    }
    if ((rc = iora__sim_put(&peer->in, memory.parts, n)) < 0)
        return rc;
    iora__sim_schedule(sim, peer);
    return (int)n;
}

static int
send_(struct iora__sim *sim, struct iora__sim_socket *socket, struct iora__op *op)
{
    if (op->_kind == IORA__OP_SENDMSG && ((const struct msghdr *)op->_base)->msg_controllen > 0)
        return -ENOTSUP;
    if (socket->state == IORA__SIM_CONNECTING)
        return -EAGAIN;
    if (socket->state != IORA__SIM_CONNECTED)
        return iora__sim_is_unix(socket) ? -ENOTCONN : -EPIPE;
    if (socket->error != 0)
        return take_error(socket);
    return is_broken(socket) ? -EPIPE : send_to_peer(sim, socket, op);
}

static int
connected(struct iora__sim_socket *socket)
{
    if (socket->state == IORA__SIM_CONNECTING)
        return -EAGAIN;
    return socket->state == IORA__SIM_CONNECTED ? 0 : take_error(socket);
}

static int
perform(struct iora__sim *sim, struct iora__sim_socket *socket, struct iora__op *op)
{
    switch (op->_kind) {
    case IORA__OP_ACCEPT:
        return iora__sim_accept(sim, socket, op->_base);
    case IORA__OP_CONNECT:
        return connected(socket);
    case IORA__OP_RECV:
    case IORA__OP_RECVMSG:
    case IORA__OP_READ:
        return receive(sim, socket, op);
    default:
        return send_(sim, socket, op);
    }
}

/* ---- in line ------------------------------------------------------------------------------------------------- */

static bool
is_within_budget(const struct iora__sim *sim, struct iora__sim_socket *socket,
                 const struct iora__op *op)
{
    if (!(op->_flags & IORA__OP_MULTI))
        return true;
    if (socket->budget_of != sim->waits) {
        socket->budget_of = sim->waits;
        socket->calls = socket->bytes = 0;
    }
    if (op->_kind == IORA__OP_ACCEPT)
        return socket->calls < ACCEPTS_PER_WAIT;
    return socket->calls < RECVS_PER_WAIT && socket->bytes < BYTES_PER_WAIT;
}

static bool
is_multi_and_goes_on(const struct iora__op *op, int res)
{
    if (!(op->_flags & IORA__OP_MULTI) || res < 0)
        return false;
    return op->_kind == IORA__OP_ACCEPT || res > 0;
}

static void
set_result(struct iora__op *op, int res)
{
    op->_res = res;
    iora__seam_step(IORA__STEP_RESULT, (uint64_t)op->_kind << 32 | (uint32_t)res);
}

void
iora__sim_finish(struct iora__sim *sim, struct iora__op *op, int res)
{
    set_result(op, res);
    sim->delivered = true;
    if (!is_multi_and_goes_on(op, res)) {
        iora__list_discard(&op->_link);
        op->_state = IORA__OP_IDLE;
        sim->pending--;
    }
    op->_done(op);
}

/* Perform the first op of a side: it, or NULL if it must go on waiting. */
static struct iora__op *
serve_side(struct iora__sim *sim, struct iora__sim_socket *socket, struct iora__link *side,
           int *res)
{
    struct iora__op *const op = iora__container_of(side->_next, struct iora__op, _link);

    if (iora__list_is_empty(side))
        return NULL;
    if (!is_within_budget(sim, socket, op)) {
        iora__sim_mark_ready(sim, socket);
        return NULL;
    }
    if ((*res = perform(sim, socket, op)) == -EAGAIN)
        return NULL;
    if (op->_flags & IORA__OP_MULTI) {
        socket->calls++;
        socket->bytes += op->_kind != IORA__OP_ACCEPT && *res > 0 ? (size_t)*res : 0;
    }
    return op;
}

void
iora__sim_serve(struct iora__sim *sim)
{
    struct iora__link round, *link;

    iora__list_take_all(&sim->ready, &round);
    while ((link = iora__list_pop(&round)) != NULL) {
        struct iora__sim_socket *const socket =
            iora__container_of(link, struct iora__sim_socket, in_ready);
        struct iora__op *op;
        int res;

        if ((op = serve_side(sim, socket, &socket->readers, &res)) == NULL &&
            (op = serve_side(sim, socket, &socket->writers, &res)) == NULL)
            continue;
        iora__list_discard(&socket->in_ready);
        iora__list_push_tail(&round, &socket->in_ready);
        iora__sim_finish(sim, op, res);
    }
}

/* ---- submitting and cancelling ---------------------------------------------------------------------------------- */

static int
close_(struct iora__sim *sim, struct iora__sim_socket *socket, struct iora__op *op)
{
    if (!iora__list_is_empty(&socket->readers) || !iora__list_is_empty(&socket->writers))
        return -EBUSY; /* a bug of the caller's: what waits would never end */
    iora__sim_close(sim, socket);
    op->_res = 0;
    return IORA__OP_DONE;
}

/* What can be said before it is tried. */
static int
check(struct iora__sim *sim, const struct iora__sim_socket *socket, const struct iora__op *op)
{
    const uint32_t understood = MSG_DONTWAIT | MSG_NOSIGNAL | MSG_WAITALL | MSG_PEEK | MSG_MORE;

    switch (op->_kind) {
    case IORA__OP_ACCEPT:
        return socket->state == IORA__SIM_LISTENING ? 0 : -EINVAL;
    case IORA__OP_CONNECT:
        return 0;
    default:
        if (flags_of(op) & ~understood)
            return -EOPNOTSUPP;
        if (borrows_scratch(sim, op) && sim->scratch == NULL &&
            (sim->scratch = iora__alloc(SCRATCH)) == NULL)
            return -ENOMEM;
        return 0;
    }
}

static int
done(struct iora__op *op, int res)
{
    set_result(op, res);
    return IORA__OP_DONE;
}

static int
start(struct iora__sim *sim, struct iora__sim_socket *socket, struct iora__op *op)
{
    struct iora__link *const side =
        iora__op_side(op) == IORA__SIDE_READ ? &socket->readers : &socket->writers;
    const bool multi = op->_flags & IORA__OP_MULTI;
    int rc;

    if (!multi && op->_kind != IORA__OP_CONNECT && iora__list_is_empty(side) &&
        (rc = perform(sim, socket, op)) != -EAGAIN)
        return done(op, rc);
    if (op->_flags & IORA__OP_NOWAIT)
        return done(op, -EAGAIN);
    if (op->_kind == IORA__OP_CONNECT &&
        (rc = iora__sim_connect(sim, socket, op->_base, op->_detail)) < 0)
        return rc;
    if (multi)
        iora__sim_mark_ready(sim, socket);
    iora__list_push_tail(side, &op->_link);
    op->_state = IORA__OP_SUBMITTED;
    sim->pending++;
    return IORA__OP_PENDING;
}

int
iora__sim_submit(void *state, struct iora__op *op)
{
    struct iora__sim *const sim = state;
    struct iora__sim_socket *socket;
    int rc;

    if (op->_kind == IORA__OP_POLL || (op->_flags & IORA__OP_BORROWED))
        return -ENOTSUP;
    if ((socket = iora__sim_find(sim, op->_fd)) == NULL)
        return -EBADF;
    if (op->_kind == IORA__OP_CLOSE)
        return close_(sim, socket, op);
    if ((rc = check(sim, socket, op)) < 0)
        return rc;
    return start(sim, socket, op);
}

/* A connect that was begun goes on, as in the kernel. */
int
iora__sim_cancel(void *state, struct iora__op *op)
{
    struct iora__sim *const sim = state;

    iora__list_remove(&op->_link);
    sim->pending--;
    op->_state = IORA__OP_IDLE;
    op->_res = -ECANCELED;
    return IORA__OP_DONE;
}
