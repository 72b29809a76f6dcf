/* sys/names.c -- the wrappers for names (see names.h). */
#include "sys/names.h"

#include "sys/seam.h"

#include <errno.h>

int
iora__sys_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                      struct addrinfo **out, int *error)
{
    int rc;

    if ((*error = iora__seam_call(IORA__CALL_GETADDRINFO)) < 0)
        return EAI_SYSTEM;
    rc = getaddrinfo(host, service, hints, out);
    *error = rc == EAI_SYSTEM ? -errno : 0;
    return rc;
}

unsigned
iora__sys_interface_index(const char *name)
{
    (void)iora__seam_call(IORA__CALL_INTERFACE);
    return if_nametoindex(name);
}

const char *
iora__sys_interface_name(unsigned index, char name[IF_NAMESIZE])
{
    (void)iora__seam_call(IORA__CALL_INTERFACE);
    return if_indextoname(index, name);
}
