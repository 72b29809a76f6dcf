/* Hello, after a pause.
 *
 * An async function is an ordinary C function that may suspend: it returns 0 or a negative code, and
 * what it calls may suspend too. While this one sleeps the thread is free for other tasks.
 *
 * IORA_ASYNC() makes a function one that can be run as a task. iora_main() runs it, tells an error
 * on stderr, and returns an exit status.
 */
#include <iora.h>
#include <stdio.h>

static int hello(void)
{
    printf("Hello ...\n");
    int rc = iora_sleep(iora_ms(200));
    if (rc < 0)
        return rc;
    printf("... world!\n");
    return 0;
}
IORA_ASYNC(hello);

int main(void) { return iora_main(hello); }
