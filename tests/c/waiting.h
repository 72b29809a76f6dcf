/* tests/c/waiting.h -- what the tests of things that tasks wait for share. */
#ifndef IORA_TESTS_WAITING_H
#define IORA_TESTS_WAITING_H

#include "test.h"

/* What a call returns in a scope that is cancelled. */
#define CANCELLED(call)                                                                            \
    __extension__({                                                                                \
        iora_scope cancelled_scope;                                                                \
        iora_timeout_begin(&cancelled_scope, IORA_FOREVER);                                        \
        iora_scope_cancel(&cancelled_scope);                                                       \
        iora_timeout_end(&cancelled_scope, (call));                                                \
    })

/* Go on when all others wait. */
static inline void
let_all_run(void)
{
    CHECK_EQ(iora_sleep(iora_ms(1)), 0);
}

/* ---- calls where nothing can be suspended ---------------------------------------------------------- */

struct needs_a_task {
    int (*call)(void);
    int rc;
};

static inline void
call_from_callback(void *arg)
{
    struct needs_a_task *const it = arg;

    it->rc = it->call();
}

/* The call says so outside of a loop, and in a callback. */
static inline void
check_needs_a_task(int (*call)(void))
{
    struct needs_a_task it = {call, 0};
    iora_handle handle = {0};

    CHECK_EQ(call(), IORA_E_NO_LOOP);
    CHECK_EQ(iora_call_soon(test_loop(), &handle, call_from_callback, &it), 0);
    CHECK_EQ(iora_loop_run_once(test_loop(), iora_ns(0)), 0);
    CHECK_EQ(it.rc, IORA_E_NO_TASK);
}

#endif
