/* tests/c/turns.h -- how many turns the loop makes while nothing should happen. */
#ifndef IORA_TESTS_TURNS_H
#define IORA_TESTS_TURNS_H

#include "test.h"

static long turns_made;

static inline void
count_turn(enum iora__moment moment, struct iora__task *task)
{
    (void)task;
    turns_made += moment == IORA__MOMENT_TURN;
}

/* From here on, from 0. */
static inline void
count_turns(void)
{
    turns_made = 0;
    iora__seam_watch(count_turn);
}

static inline long
turns_counted(void)
{
    iora__seam_watch(NULL);
    return turns_made;
}

#endif
