/* os/resolve.c -- addresses of hosts, by the system's getaddrinfo(3).
 *
 * The system's, because it is what every other program on the machine asks: /etc/hosts, nsswitch.conf, the
 * names of a company. It blocks, for a minute if no server answers; so it is for a thread, but for what it
 * knows by itself: numeric hosts, "localhost", and no host at all.
 *
 * "localhost" is this machine and nothing else (RFC 6761, 6.3), and what getaddrinfo makes of no host: the
 * loopback addresses of both families. Its canonical name alone must be looked up.
 *
 * A name that is too long is refused, here and before it is copied: cut, it would be another host's. So is a number
 * that is no port's, of which the C library takes the lower 16 bits.
 */
#include "os/resolve.h"

#include "sys/names.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#ifdef IORA_SEAMS
int (*iora__resolve_instead)(const char *host, const char *service, const struct addrinfo *hints,
                             struct addrinfo **out);
#endif

static const struct addrinfo no_hints = {.ai_socktype = SOCK_STREAM};

static int
code_of(int eai, int error)
{
    switch (eai) {
    case 0:
        return 0;
    case EAI_AGAIN:
        return IORA_E_NAME_AGAIN;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_SYSTEM:
        return error < 0 ? error : -EIO;
    case EAI_BADFLAGS:
    case EAI_FAMILY:
    case EAI_SOCKTYPE:
    case EAI_SERVICE:
    case EAI_OVERFLOW:
        return -EINVAL;
    default: /* EAI_NONAME, EAI_FAIL, and with glibc EAI_NODATA, EAI_ADDRFAMILY */
        return IORA_E_NAME;
    }
}

static int
ask_system(const char *host, const char *service, const struct addrinfo *hints,
           struct addrinfo **out)
{
    int error;
    const int eai =
        iora__sys_getaddrinfo(host, service, hints != NULL ? hints : &no_hints, out, &error);

    return code_of(eai, error);
}

/* Whether a service is a number, as the C library reads it, beyond the last port's. */
static bool
is_no_port(const char *service)
{
    char *end;

    return strtoul(service, &end, 10) > UINT16_MAX && *end == '\0';
}

static int
check(const char *host, const char *service)
{
    if (host == NULL && service == NULL)
        return -EINVAL;
    if (host != NULL && strlen(host) > IORA__HOST_MAX)
        return -EINVAL;
    if (service != NULL && (strlen(service) > IORA__SERVICE_MAX || is_no_port(service)))
        return -EINVAL;
    return host != NULL && host[0] == '\0' ? IORA_E_NAME : 0;
}

int
iora__resolve(const char *host, const char *service, const struct addrinfo *hints,
              struct addrinfo **out)
{
    const int rc = check(host, service);

    if (rc < 0)
        return rc;
#ifdef IORA_SEAMS
    if (iora__resolve_instead != NULL)
        return iora__resolve_instead(host, service, hints, out);
#endif
    return ask_system(host, service, hints, out);
}

static bool
is_localhost(const char *host, const struct addrinfo *hints)
{
    return strcasecmp(host, "localhost") == 0 &&
           (hints->ai_flags & (AI_CANONNAME | AI_NUMERICHOST)) == 0;
}

/* No name of a host has a colon in it, or is taken for a number. */
static bool
is_numeric(const char *host)
{
    struct in_addr address;

    return strchr(host, ':') != NULL || inet_aton(host, &address) != 0;
}

int
iora__resolve_here(const char *host, const char *service, const struct addrinfo *hints,
                   struct addrinfo **out)
{
    struct addrinfo here = hints != NULL ? *hints : no_hints;
    const int rc = check(host, service);

    if (rc < 0)
        return rc;
    if (host == NULL)
        return ask_system(NULL, service, &here, out);
    if (is_localhost(host, &here)) {
        here.ai_flags &= ~AI_PASSIVE;
        return ask_system(NULL, service != NULL ? service : "0", &here, out);
    }
    if ((here.ai_flags & AI_NUMERICHOST) == 0 && !is_numeric(host))
        return IORA__RESOLVE_ASK;
    here.ai_flags |= AI_NUMERICHOST;
    return ask_system(host, service, &here, out);
}
