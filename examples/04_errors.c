/* What goes wrong, and who hears of it.
 *
 * Every function returns 0 or a negative code, so a failure is handled where it is met. For people
 * there is more: iora_fail() records what was being done, and an await adds which task it was, so
 * that the end of the chain is where it all began.
 *
 * Several tasks can fail in two ways. iora_gather_all() cancels nothing and collects each one's
 * code. A group ends at the first failure: it cancels the others, waits for them, and returns it.
 */
#include <iora.h>
#include <stdio.h>

static void print_last_error(void)
{
    for (const iora_error *error = iora_error_last(); error != NULL; error = error->cause)
        printf("  in task %s: %s: %s\n", error->task, error->what, iora_strerror(error->code));
}

static int read_config(const char *path)
{
    int rc = iora_sleep(iora_ms(10));
    if (rc < 0)
        return rc;
    return iora_fail(-ENOENT, "reading %s", path);
}
IORA_ASYNC(read_config, const char *);

/* Work for some time, then succeed or fail as told. */
static int work(const char *name, iora_duration time, int result)
{
    int rc = iora_sleep(time);
    if (rc == -ECANCELED)
        printf("  %s was cancelled\n", name);
    if (rc < 0)
        return rc;
    printf("  %s returns %s\n", name, iora_err_name(result));
    return result < 0 ? iora_fail(result, "doing the %s job", name) : result;
}
IORA_ASYNC(work, const char *, iora_duration, int);

static int one_that_fails(void)
{
    printf("A function that fails:\n");
    int rc = iora_await(iora_go(read_config, "app.conf"));
    if (rc == -ENOENT) {
        print_last_error();
        printf("so the defaults it is\n");
        rc = 0;
    }
    return rc;
}

static int all_of_them(void)
{
    int codes[3];

    printf("gather_all, which cancels nothing:\n");
    int rc = iora_gather_all(codes, iora_go(work, "first", iora_ms(10), 0),
                             iora_go(work, "second", iora_ms(30), -ECONNREFUSED),
                             iora_go(work, "third", iora_ms(50), 0));
    if (rc < 0)
        return rc;
    printf("codes: %s, %s, %s\n", iora_err_name(codes[0]), iora_err_name(codes[1]),
           iora_err_name(codes[2]));
    return 0;
}

static int all_or_nothing(void)
{
    int rc = 0;

    printf("A group, which fails fast:\n");
    IORA_GROUP(rc, group) {
        iora_group_go(&group, work, "first", iora_s(10), 0);
        iora_group_go(&group, work, "second", iora_ms(10), -EIO);
        iora_group_go(&group, work, "third", iora_s(10), 0);
    }
    print_last_error();
    printf("the group returns %s\n", iora_err_name(rc));
    return rc == -EIO ? 0 : rc;
}

static int amain(void)
{
    int rc = one_that_fails();
    if (rc == 0)
        rc = all_of_them();
    if (rc == 0)
        rc = all_or_nothing();
    return rc;
}
IORA_ASYNC(amain);

int main(void) { return iora_main(amain); }
