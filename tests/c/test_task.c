/* tests/c/test_task.c -- tasks: spawn, await, owners, handles. */
#include "test.h"

static int
add(int a, int b, int *sum)
{
    (void)iora_yield();
    *sum = a + b;
    return 0;
}
IORA_ASYNC(add, int, int, int *);

static int
awaits_a_sum(void)
{
    int sum = 0;
    const int rc = iora_await(iora_go(add, 2, 3, &sum));

    CHECK_EQ(sum, 5);
    return rc;
}
IORA_ASYNC(awaits_a_sum);

TEST_EVERYWHERE(task, await_returns_when_the_function_has)
{
    CHECK_EQ(test_run(awaits_a_sum), 0);
}
