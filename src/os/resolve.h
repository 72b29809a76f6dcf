/* os/resolve.h -- addresses of hosts (theory in resolve.c). */
#ifndef IORA_OS_RESOLVE_H
#define IORA_OS_RESOLVE_H

#include <iora/base.h>

#include <netdb.h>

enum {
    IORA__HOST_MAX = 253,   /* bytes of a name, in the DNS's way of writing it */
    IORA__SERVICE_MAX = 31, /* of a service's (NI_MAXSERV) */
    IORA__RESOLVE_ASK = 1
};

/* getaddrinfo(3): 0 and a list for freeaddrinfo(3), or a code of ours. Blocks. */
int iora__resolve(const char *host, const char *service, const struct addrinfo *hints,
                  struct addrinfo **out);

/* The same where nobody need be asked, without blocking; IORA__RESOLVE_ASK for any other host. */
int iora__resolve_here(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **out);

#ifdef IORA_SEAMS
/* For tests: what iora__resolve() calls; NULL: the system's. */
extern int (*iora__resolve_instead)(const char *host, const char *service,
                                    const struct addrinfo *hints, struct addrinfo **out);
#endif

#endif
