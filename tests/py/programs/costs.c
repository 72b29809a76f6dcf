/* For costs.py: one thing, done so many times, for an instruction counter. */
#include <iora.h>

#include <stdlib.h>
#include <string.h>

static int
yields(int n)
{
    int rc = 0;

    while (n-- > 0 && rc == 0)
        rc = iora_yield();
    return rc;
}
IORA_ASYNC(yields, int);

static int
switch_between(int n)
{
    const iora_task other = iora_go(yields, n / 2);
    const int rc = yields(n / 2);

    return rc < 0 ? rc : iora_await(other);
}

static int
spawn(int n)
{
    int rc = 0;

    while (n-- > 0 && rc == 0)
        rc = iora_await(iora_go(yields, 0));
    return rc;
}

static int
lock(int n)
{
    iora_lock one = IORA_LOCK_INIT;
    int rc = 0;

    while (n-- > 0 && (rc = iora_lock_acquire(&one)) == 0)
        (void)iora_lock_release(&one);
    return rc;
}

static int
serve(iora_stream *stream)
{
    char *line;
    int rc;

    while ((rc = iora_readline(stream, &line)) > 0 && (rc = iora_write(stream, line, (size_t)rc)) == 0)
        continue;
    return rc;
}
IORA_ASYNC(serve, iora_stream *);

static int
echo(int n)
{
    iora_stream *ours, *theirs;
    char *line;
    iora_task server;
    int rc = iora_stream_pair(&ours, &theirs);

    if (rc < 0)
        return rc;
    server = iora_go(serve, theirs);
    while (n-- > 0 && rc >= 0) {
        if ((rc = iora_write(ours, "hello\n", 6)) == 0)
            rc = iora_readline(ours, &line);
    }
    (void)iora_stream_close(ours);
    if (rc >= 0)
        rc = iora_await(server);
    (void)iora_stream_close(theirs);
    return rc;
}

static int
amain(const char *what, int n)
{
    return strcmp(what, "switch") == 0  ? switch_between(n)
           : strcmp(what, "spawn") == 0 ? spawn(n)
           : strcmp(what, "lock") == 0  ? lock(n)
           : strcmp(what, "echo") == 0  ? echo(n)
                                        : -EINVAL;
}
IORA_ASYNC(amain, const char *, int);

int
main(int argc, char **argv)
{
    return argc == 3 ? iora_main(amain, argv[1], atoi(argv[2])) : 2;
}
