/* io/address.c -- addresses as text, and back.
 *
 * Text is exact: what would be cut is refused, and what is no address gives none.
 */
#include <iora/net.h>

#include "sys/names.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

_Static_assert(sizeof(struct sockaddr_storage) <= sizeof((iora_address *)0)->bytes,
               "an address of any family has room");

enum { PATH_AT = offsetof(struct sockaddr_un, sun_path), HOST_MAX = INET6_ADDRSTRLEN };

static sa_family_t
family_of(const iora_address *address)
{
    struct sockaddr any;

    if (address->length < sizeof any.sa_family)
        return AF_UNSPEC;
    memcpy(&any.sa_family, address->bytes, sizeof any.sa_family);
    return any.sa_family;
}

/* ---- to text ---------------------------------------------------------------------------------------- */

static void
format_inet(const iora_address *address, char *text, size_t size)
{
    char host[HOST_MAX];
    struct sockaddr_in in;

    memcpy(&in, address->bytes, sizeof in);
    (void)inet_ntop(AF_INET, &in.sin_addr, host, sizeof host);
    (void)snprintf(text, size, "%s:%u", host, ntohs(in.sin_port));
}

static void
format_inet6(const iora_address *address, char *text, size_t size)
{
    char host[HOST_MAX], scope[IF_NAMESIZE + 1] = "", name[IF_NAMESIZE];
    struct sockaddr_in6 in6;

    memcpy(&in6, address->bytes, sizeof in6);
    (void)inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof host);
    if (in6.sin6_scope_id != 0 && iora__sys_interface_name(in6.sin6_scope_id, name) != NULL)
        (void)snprintf(scope, sizeof scope, "%%%s", name);
    else if (in6.sin6_scope_id != 0)
        (void)snprintf(scope, sizeof scope, "%%%u", in6.sin6_scope_id);
    (void)snprintf(text, size, "[%s%s]:%u", host, scope, ntohs(in6.sin6_port));
}

static void
format_unix(const iora_address *address, char *text, size_t size)
{
    const size_t known = address->length <= sizeof(struct sockaddr_un) ? address->length
                                                                       : sizeof(struct sockaddr_un);
    size_t length = known > PATH_AT ? known - PATH_AT : 0;
    char path[sizeof(struct sockaddr_un) + 1];

    memcpy(path, address->bytes + PATH_AT, length);
    path[length] = '\0';
    if (path[0] != '\0')
        length = strlen(path);
    for (size_t i = 0; i < length;
         i++) { /* an abstract name may have any bytes: as the kernel shows it */
        if (path[i] == '\0')
            path[i] = '@';
    }
    (void)snprintf(text, size, "unix:%s", path);
}

const char *
iora_address_format(const iora_address *address, char *text, size_t size)
{
    const sa_family_t family = family_of(address);

    if (family == AF_INET && address->length >= sizeof(struct sockaddr_in))
        format_inet(address, text, size);
    else if (family == AF_INET6 && address->length >= sizeof(struct sockaddr_in6))
        format_inet6(address, text, size);
    else if (family == AF_UNIX)
        format_unix(address, text, size);
    else
        (void)snprintf(text, size, "%s", "");
    return text;
}

uint16_t
iora_address_port(const iora_address *address)
{
    const sa_family_t family = family_of(address);
    in_port_t port = 0;

    if (family == AF_INET && address->length >= sizeof(struct sockaddr_in))
        memcpy(&port, address->bytes + offsetof(struct sockaddr_in, sin_port), sizeof port);
    else if (family == AF_INET6 && address->length >= sizeof(struct sockaddr_in6))
        memcpy(&port, address->bytes + offsetof(struct sockaddr_in6, sin6_port), sizeof port);
    return ntohs(port);
}

/* ---- from text ------------------------------------------------------------------------------------------ */

static void
set_address(iora_address *out, const void *bytes, size_t length)
{
    memset(out, 0, sizeof *out);
    memcpy(out->bytes, bytes, length);
    out->length = (uint32_t)length;
}

/* What follows the '%': an interface by name or by number. */
static int
parse_scope(const char *text, uint32_t *out)
{
    const size_t digits = strspn(text, "0123456789");
    unsigned long long number;

    if ((*out = iora__sys_interface_index(text)) != 0)
        return 0;
    if (digits == 0 || text[digits] != '\0' || digits > 10)
        return IORA_E_NAME;
    number = strtoull(text, NULL, 10);
    *out = (uint32_t)number;
    return number > UINT32_MAX ? IORA_E_NAME : 0;
}

static int
parse_inet6(const char *host, uint16_t port, iora_address *out)
{
    const char *const percent = strchr(host, '%');
    const size_t length = percent != NULL ? (size_t)(percent - host) : strlen(host);
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    char number[HOST_MAX];

    if (length >= sizeof number)
        return IORA_E_NAME;
    memcpy(number, host, length);
    number[length] = '\0';
    if (inet_pton(AF_INET6, number, &in6.sin6_addr) != 1 ||
        (percent != NULL && parse_scope(percent + 1, &in6.sin6_scope_id) < 0))
        return IORA_E_NAME;
    set_address(out, &in6, sizeof in6);
    return 0;
}

int
iora_address_parse(const char *host, uint16_t port, iora_address *out)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};

    if (inet_pton(AF_INET, host, &in.sin_addr) != 1)
        return parse_inet6(host, port, out);
    set_address(out, &in, sizeof in);
    return 0;
}

int
iora_address_unix(const char *path, iora_address *out)
{
    const size_t length = strlen(path);
    const bool is_abstract = path[0] == '@';
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    if (length == 0 || (is_abstract && length == 1))
        return -EINVAL;
    if (length >= sizeof un.sun_path)
        return -ENAMETOOLONG;
    memcpy(un.sun_path, path, length);
    if (is_abstract)
        un.sun_path[0] = '\0'; /* and its length says where it ends */
    set_address(out, &un, PATH_AT + length + !is_abstract);
    return 0;
}
