/* One after the other, and at the same time.
 *
 * Awaiting is calling: a function that is simply called takes its time before the next line runs.
 * iora_go() makes a task instead, which runs beside its caller until somebody awaits it. The same
 * two sleeps take three seconds in sequence and two as tasks.
 */
#include <iora.h>
#include <stdio.h>

static int say_after(iora_duration delay, const char *what)
{
    int rc = iora_sleep(delay);
    if (rc == 0)
        printf("  %s\n", what);
    return rc;
}
IORA_ASYNC(say_after, iora_duration, const char *);

static int in_sequence(void)
{
    int rc = say_after(iora_s(1), "hello");
    if (rc == 0)
        rc = say_after(iora_s(2), "world");
    return rc;
}

static int as_tasks(void)
{
    iora_task hello = iora_go(say_after, iora_s(1), "hello");
    iora_task world = iora_go(say_after, iora_s(2), "world");

    int rc = iora_await(hello);
    if (rc == 0)
        rc = iora_await(world);
    return rc;
}

static int amain(void)
{
    iora_instant began = iora_now();
    printf("In sequence:\n");
    int rc = in_sequence();
    if (rc < 0)
        return rc;
    printf("took %.1f s\n", iora_to_s(iora_between(began, iora_now())));

    began = iora_now();
    printf("As tasks:\n");
    rc = as_tasks();
    if (rc < 0)
        return rc;
    printf("took %.1f s\n", iora_to_s(iora_between(began, iora_now())));
    return 0;
}
IORA_ASYNC(amain);

int main(void) { return iora_main(amain); }
