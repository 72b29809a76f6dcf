/* task/walk.h -- visiting every task of a loop, owners before what they own. */
#ifndef IORA_TASK_WALK_H
#define IORA_TASK_WALK_H

#include "task/task.h"

typedef void iora__walk_fn(struct iora__task *task, int depth, void *arg);

/* `visit` must not start, end or collect any. However deep the tree, the walk needs no stack of its own. */
void iora__walk_tasks(struct iora__sched *sched, iora__walk_fn *visit, void *arg);

#endif
