/* Two fetches at once.
 *
 * iora_gather() waits for several tasks and returns 0 when all have succeeded. At the first error it
 * cancels the others, waits until they have ended, and returns that error. Results come back through
 * pointers, as from any C function.
 */
#include <iora.h>
#include <stdio.h>
#include <stdlib.h>

static int fetch_url(const char *url, char **data)
{
    printf("Fetching %s...\n", url);
    int rc = iora_sleep(iora_s(1));
    if (rc < 0)
        return rc;
    *data = iora_sprintf("Data from %s", url);
    return *data ? 0 : -ENOMEM;
}
IORA_ASYNC(fetch_url, const char *, char **);

static int amain(void)
{
    char *data[2] = {NULL, NULL};
    int rc = iora_gather(iora_go(fetch_url, "http://example.com", &data[0]),
                         iora_go(fetch_url, "http://example.org", &data[1]));
    if (rc == 0)
        printf("[%s, %s]\n", data[0], data[1]);
    free(data[0]);
    free(data[1]);
    return rc;
}
IORA_ASYNC(amain);

int main(void) { return iora_main(amain); }
