/* io/net.h -- what connecting and serving share: addresses, socket options. */
#ifndef IORA_IO_NET_H
#define IORA_IO_NET_H

#include <iora/net.h>

#include "core/loop.h"

#include <string.h>

static inline int
iora__address_family(const iora_address *address)
{
    sa_family_t family = AF_UNSPEC;

    if (address->length >= sizeof family)
        memcpy(&family, address->bytes + offsetof(struct sockaddr, sa_family), sizeof family);
    return family;
}

/* Copy an address of the system's. -EINVAL if it does not fit. */
static inline int
iora__address_set(iora_address *out, const struct sockaddr *address, socklen_t length)
{
    if (length > sizeof out->bytes)
        return -EINVAL;
    *out = (iora_address){.length = length};
    memcpy(out->bytes, address, length);
    return 0;
}

/* connect.c: no Nagle's algorithm on this socket. */
int iora__no_delay(iora_loop *loop, int fd);

#endif
