/* task/interrupt.c -- Ctrl-C while iora_main() runs.
 *
 * The first SIGINT cancels the main task, which unwinds; the second does what SIGINT does by default. If the run
 * then ends because it was cancelled, so does the process, of SIGINT, so that a shell sees what it was: a script
 * that runs the program in a loop stops too.
 *
 * As a last resort (os/signals.h): a program that waits for SIGINT itself, or whose disposition was not the
 * default one, has said what SIGINT means. It listens no longer than the main task runs: while the rest is
 * cancelled and joined, SIGINT is what it was before.
 */
#include "task/task.h"

#include "core/listener.h"
#include "sys/alloc.h"

#include <signal.h>
#include <stdio.h>

struct iora__interrupt {
    struct iora__listener listener;
    iora_task main_task;
    bool came;
};

static void
cancel_main(struct iora__listener *listener)
{
    struct iora__interrupt *const interrupt =
        iora__container_of(listener, struct iora__interrupt, listener);

    if (iora__listener_take(listener) == 0)
        return;
    interrupt->came = true;
    (void)iora_cancel(interrupt->main_task);
}

int
iora__interrupt_watch(struct iora__task *task, struct iora__interrupt **out)
{
    struct iora__interrupt *interrupt;
    int rc;

    *out = NULL;
    if (!iora__signals_is_default(SIGINT))
        return 0;
    if ((interrupt = iora__zalloc(sizeof *interrupt)) == NULL)
        return -ENOMEM;
    interrupt->main_task = iora__task_handle(task);
    if ((rc = iora__listener_open(&interrupt->listener, task->loop, iora__signal_bit(SIGINT), true,
                                  cancel_main)) < 0)
        goto fail_interrupt;
    *out = interrupt;
    return 0;

fail_interrupt:
    iora__free(interrupt);
    return rc;
}

bool
iora__interrupt_unwatch(struct iora__interrupt *interrupt)
{
    const bool came = interrupt != NULL && interrupt->came;

    if (interrupt == NULL)
        return false;
    iora__listener_close(&interrupt->listener);
    iora__free(interrupt);
    return came;
}

void
iora__interrupt_die(void)
{
    (void)fflush(NULL); /* as on any way out of main() */
    iora__signals_do_default(SIGINT);
}
