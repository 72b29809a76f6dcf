/* tests/c/child.h -- parts of a test that need a process of their own: to crash, or to live under a limit. */
#ifndef IORA_TESTS_CHILD_H
#define IORA_TESTS_CHILD_H

#include "test.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct child {
    int status;        /* as from waitpid(2) */
    char output[8192]; /* what it wrote to stderr; the beginning, if that is much */
};

/* Run fn in a forked child, to its end. */
static inline struct child
child_run(void (*fn)(void))
{
    const struct rlimit no_core = {0, 0};
    struct child child = {.status = -1};
    char piece[4096];
    size_t used = 0;
    ssize_t n;
    int ends[2];
    pid_t pid;

    CHECK_EQ(pipe(ends), 0);
    fflush(NULL);
    CHECK((pid = fork()) >= 0);
    if (pid == 0) {
        (void)dup2(ends[1], STDERR_FILENO);
        (void)close(ends[0]);
        (void)close(ends[1]);
        (void)setrlimit(RLIMIT_CORE, &no_core);
        fn();
        _exit(EXIT_SUCCESS);
    }
    (void)close(ends[1]);
    while ((n = TEMP_FAILURE_RETRY(read(ends[0], piece, sizeof piece))) > 0) {
        const size_t room = sizeof child.output - 1 - used;
        const size_t taken = (size_t)n < room ? (size_t)n : room;

        memcpy(child.output + used, piece, taken);
        used += taken;
    }
    (void)close(ends[0]);
    CHECK_EQ(TEMP_FAILURE_RETRY(waitpid(pid, &child.status, 0)), pid);
    return child;
}

/* It came to its end, and no check in it failed. */
static inline void
child_check_ok(const struct child *child)
{
    if (!WIFEXITED(child->status) || WEXITSTATUS(child->status) != EXIT_SUCCESS)
        test_fail(__FILE__, __LINE__, "the child ended with status %#x and said:\n%s",
                  (unsigned)child->status, child->output);
}

/* It died of a bad memory access, or a sanitizer said so in its place. */
static inline void
child_check_segv(const struct child *child)
{
    const bool died = WIFSIGNALED(child->status) && WTERMSIG(child->status) == SIGSEGV;
    const bool told = test_under_sanitizer() && WIFEXITED(child->status) &&
                      WEXITSTATUS(child->status) != 0 && strstr(child->output, "Sanitizer") != NULL;

    if (!died && !told)
        test_fail(__FILE__, __LINE__, "the child should have crashed; status %#x, output:\n%s",
                  (unsigned)child->status, child->output);
}

#endif
