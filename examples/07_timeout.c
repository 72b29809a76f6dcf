/* Timeouts in three forms, and cleanup.
 *
 * A deadline is not a variant of every call but a scope round any call: as an expression, as a block,
 * or between a begin and an end. When it passes, what runs inside is cancelled, unwinds, and the end
 * of the scope makes -ETIMEDOUT of it.
 *
 * Unwinding may take some time of its own. A cleanup scope gives it that: no cancel from outside
 * reaches in, and its own deadline sees to it that no task can refuse to end.
 */
#include <iora.h>
#include <stdio.h>

static int step(const char *name, iora_duration time)
{
    int rc = iora_sleep(time);
    printf("  %s: %s\n", name, rc == 0 ? "done" : iora_strerror(rc));
    return rc;
}

static int as_expression(void)
{
    printf("An expression:\n");
    int rc = iora_wait_for(step("a long step", iora_s(60)), iora_ms(50));
    printf("  = %s\n", iora_err_name(rc));
    return rc == -ETIMEDOUT ? 0 : rc;
}

static int as_block(void)
{
    int rc = 0;

    printf("A block:\n");
    IORA_TIMEOUT(rc, iora_ms(200)) {
        rc = step("a short step", iora_ms(10));
        if (rc < 0)
            break;
        rc = step("a long step", iora_s(60));
    }
    printf("  = %s\n", iora_err_name(rc));
    return rc == -ETIMEDOUT ? 0 : rc;
}

/* A deadline that moves on with every step: half a second without progress is too long. */
static int with_begin_and_end(void)
{
    iora_scope idle;
    int rc = 0;

    printf("Begin and end:\n");
    iora_timeout_begin(&idle, iora_ms(500));
    for (int i = 0; i < 3 && rc == 0; i++) {
        rc = step("a short step", iora_ms(50));
        iora_timeout_reset(&idle, iora_ms(500));
    }
    if (rc == 0)
        rc = step("a long step", iora_s(60));
    rc = iora_timeout_end(&idle, rc);
    printf("  = %s, timed out: %s\n", iora_err_name(rc), iora_timed_out(&idle) ? "yes" : "no");
    return rc == -ETIMEDOUT ? 0 : rc;
}

/* Says goodbye however it ends, and takes 200 ms at most over it. */
static int session(void)
{
    int rc = step("talking", iora_s(60));
    (void)iora_cleanup(step("saying goodbye", iora_ms(20)), iora_ms(200));
    return rc;
}

static int with_cleanup(void)
{
    printf("Cleanup:\n");
    int rc = iora_wait_for(session(), iora_ms(50));
    printf("  = %s\n", iora_err_name(rc));
    return rc == -ETIMEDOUT ? 0 : rc;
}

static int amain(void)
{
    int rc = as_expression();
    if (rc == 0)
        rc = as_block();
    if (rc == 0)
        rc = with_begin_and_end();
    if (rc == 0)
        rc = with_cleanup();
    return rc;
}
IORA_ASYNC(amain);

int main(void) { return iora_main(amain); }
