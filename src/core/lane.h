/* core/lane.h -- what a loop has threads do (theory in lane.c).
 *
 * A *job* (struct iora__job, backend/backend.h) is an op of the kind IORA__OP_WORK: a function, run by a
 * thread of a pool. It is submitted and cancelled like any other op (iora__op_submit, iora__op_cancel) and
 * ends by its `_done` on the loop's thread, with what the function returned in _res. A simulated backend
 * runs it itself, at an instant of virtual time.
 *
 * Cancelling one that no thread has taken is done on the spot; of one that runs it is pending, `stop` is
 * called, and `_done` comes when the function has returned.
 */
#ifndef IORA_CORE_LANE_H
#define IORA_CORE_LANE_H

#include "core/loop.h"

#endif
