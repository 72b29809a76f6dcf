/* io/names.c -- looking up hosts, for tasks.
 *
 * What a look-up is about is copied into the job, so that a cancelled one can be left behind in its thread. It
 * runs in the loop's pool for names.
 */
#include "core/lane.h"
#include "os/resolve.h"
#include "task/task.h"

#include <string.h>

struct lookup {
    char host[IORA__HOST_MAX + 1];
    char service[IORA__SERVICE_MAX + 1];
    struct addrinfo hints;
    bool has_service, has_hints;
    struct addrinfo *found;
};

static int
look_up(void *arg)
{
    struct lookup *const lookup = arg;

    return iora__resolve(lookup->host, lookup->has_service ? lookup->service : NULL,
                         lookup->has_hints ? &lookup->hints : NULL, &lookup->found);
}

static void
drop(void *copy)
{
    const struct lookup *const lookup = copy;

    if (lookup->found != NULL)
        freeaddrinfo(lookup->found);
}

/* Of texts whose lengths were found right. */
static void
make_lookup(struct lookup *lookup, const char *host, const char *service,
            const struct addrinfo *hints)
{
    memset(lookup, 0, sizeof *lookup);
    memcpy(lookup->host, host, strlen(host) + 1);
    if ((lookup->has_service = service != NULL))
        memcpy(lookup->service, service, strlen(service) + 1);
    if ((lookup->has_hints = hints != NULL))
        lookup->hints = *hints;
}

int
iora_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                 struct addrinfo **out)
{
    struct iora__task *const task = iora__self();
    struct lookup lookup;
    iora_pool *pool;
    int rc;

    if ((rc = iora__enter(task)) < 0 ||
        (rc = iora__resolve_here(host, service, hints, out)) != IORA__RESOLVE_ASK)
        return rc;
    if (!task->loop->backend->sockets->has_names)
        return IORA_E_NAME;
    if ((rc = iora__lane_names_pool(task->loop, &pool)) < 0)
        return rc;
    make_lookup(&lookup, host, service, hints);
    if ((rc = iora_to_thread_owned(pool, look_up, &lookup, sizeof lookup, drop)) == 0)
        *out = lookup.found;
    return rc;
}
