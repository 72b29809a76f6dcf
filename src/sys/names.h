/* sys/names.h -- names of hosts and interfaces: the wrappers (names.c). */
#ifndef IORA_SYS_NAMES_H
#define IORA_SYS_NAMES_H

#include <net/if.h>
#include <netdb.h>

/* getaddrinfo(3), which blocks: 0 or an EAI_ code; with EAI_SYSTEM, why is in *error as -errno. */
int iora__sys_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                          struct addrinfo **out, int *error);

/* The index of a network interface, 0 if there is none of that name; and the name of one, or NULL. */
unsigned iora__sys_interface_index(const char *name);
const char *iora__sys_interface_name(unsigned index, char name[IF_NAMESIZE]);

#endif
