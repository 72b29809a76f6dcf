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

/* A copy of an address of the system's, which has room, as one of any family does (address.c). */
static inline iora_address
iora__address_of(const struct sockaddr *address, socklen_t length)
{
    iora_address copy = {.length = length};

    memcpy(copy.bytes, address, length);
    return copy;
}

/* connect.c: no Nagle's algorithm on this socket. */
int iora__no_delay(iora_loop *loop, int fd);

#endif
