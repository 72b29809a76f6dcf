/* For test_gdb.py: a task that is suspended deep in a chain of calls, whose frames a debugger shall find,
 * and another that runs into a breakpoint. */
#include <iora.h>

iora_task sleeper; /* where the debugger finds the suspended task */
volatile int seconds_slept;
volatile int depth_reached;

#define FRAME __attribute__((noinline))

FRAME static int
inner(int seconds)
{
    int rc = iora_sleep(iora_s(seconds));
    seconds_slept += seconds; /* no tail call, then; and `seconds` lives on in a register */
    return rc;
}

FRAME static int
middle(int seconds)
{
    int rc = inner(seconds * 2);
    seconds_slept += seconds;
    return rc;
}

FRAME static int
outer(int seconds)
{
    int rc = middle(seconds * 3);
    seconds_slept += seconds;
    return rc;
}
IORA_ASYNC(outer, int);

FRAME void stop_here(int depth);

FRAME void
stop_here(int depth)
{
    depth_reached = depth;
}

FRAME static int
dive(int depth)
{
    if (depth < 3)
        dive(depth + 1);
    else
        stop_here(depth);
    return depth_reached - depth;
}

static int
diver(void)
{
    return dive(1) == 2 ? 0 : -EIO;
}
IORA_ASYNC(diver);

static int
amain(void)
{
    sleeper = iora_go(outer, 600);
    int rc = iora_yield(); /* lets it run until it sleeps */
    if (rc == 0)
        rc = iora_await(iora_go(diver));
    iora_cancel(sleeper);
    (void)iora_await(sleeper);
    return rc;
}
IORA_ASYNC(amain);

int
main(void)
{
    return iora_main(amain);
}
