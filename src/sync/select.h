/* sync/select.h -- what a clause is made of, for things that can be selected (theory in select.c). */
#ifndef IORA_SYNC_SELECT_H
#define IORA_SYNC_SELECT_H

#include "task/task.h"

struct iora__select;

/* What came of a try. A code could not say it: tasks and futures may end with any. */
enum iora__attempt {
    IORA__NOT_NOW,
    IORA__HAPPENED,        /* the clause's rc is its code */
    IORA__WAITS_FOR_ITSELF /* it could never happen: a deadlock */
};

struct iora__clause_class {
    /* Do it now if possible. */
    enum iora__attempt (*try_now)(iora_clause *clause, struct iora__task *self);
    /* Begin to wait for it: 0, or the code with which it happens after all. */
    int (*start)(iora_clause *clause, struct iora__select *select);
    /* Stop waiting for it. */
    void (*stop)(iora_clause *clause, struct iora__select *select);
};

static inline enum iora__attempt
iora__happened(iora_clause *clause, int rc)
{
    clause->rc = rc;
    return IORA__HAPPENED;
}

/* What came of a call that says -EAGAIN if it would have to wait. */
static inline enum iora__attempt
iora__attempted(iora_clause *clause, int rc)
{
    return rc == -EAGAIN ? IORA__NOT_NOW : iora__happened(clause, rc);
}

/* Start and stop of clauses that wait in a queue, where a grant is what happens. */
int iora__clause_start_in(struct iora__waitq *queue, iora_clause *clause,
                          struct iora__select *select);
void iora__clause_stop_in_queue(iora_clause *clause, struct iora__select *select);

#endif
