/* core/lane.h -- what a loop has threads do (theory in lane.c).
 *
 * A *job* (struct iora__job, backend/backend.h) is an op of the kind IORA__OP_WORK: a function, run by a thread
 * of a pool. It is submitted and cancelled like any other op (iora__op_submit, iora__op_cancel) and ends by its
 * `_done` on the loop's thread, with what the function returned in _res. A simulated backend runs it itself, at
 * an instant of virtual time. Reading and writing what cannot be waited for (-EPERM from the backend) become
 * jobs too.
 *
 * Cancelling one that no thread has taken is done on the spot; of one that runs it is pending, `stop` is
 * called, and `_done` comes when the function has returned.
 */
#ifndef IORA_CORE_LANE_H
#define IORA_CORE_LANE_H

#include "core/loop.h"

/* For iora__op_submit and iora__op_cancel: whether an op that the backend refused is for a thread; submit such
 * a one, and cancel it. As those of the backend. */
bool iora__lane_takes(const struct iora__op *op);
int iora__lane_submit(iora_loop *loop, struct iora__op *op);
int iora__lane_cancel(iora_loop *loop, struct iora__op *op);

/* For the mailbox: the op has come back from its thread. */
void iora__lane_finish(iora_loop *loop, struct iora__op *op);

/* Let go of a job whose cancel is pending: true, and the loop knows it no longer; `gone` is called with its op,
 * in the thread that runs it, when the function has returned. False if that has returned already, or no thread
 * runs it: then `_done` comes as usual, and soon. */
bool iora__lane_give_up(iora_loop *loop, struct iora__job *job, void (*gone)(struct iora__op *op));

/* The pool for looking up names, made at the first call. */
int iora__lane_names_pool(iora_loop *loop, struct iora_pool **out);

/* Before the loop sleeps: spin for a moment if a job may come back in it. */
void iora__lane_spin(iora_loop *loop);

/* How many jobs are pending. */
size_t iora__lane_pending(const iora_loop *loop);

/* In a forked child: the thread that has the op will not return it. */
void iora__lane_forget(const struct iora__op *op);

void iora__lane_free(iora_loop *loop);

#endif
