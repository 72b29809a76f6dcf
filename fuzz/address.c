/* fuzz/address.c -- texts as addresses and addresses as texts: what is taken comes back, and nothing is cut in silence.
 *
 * The first choice says what the rest is: a host ("fe80::1%lo"), a path of a Unix socket, a host to be looked up, or
 * the bytes of an address. What is to be written to has just the size it says, so that a byte too much is seen.
 */
#include "fuzz.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

enum { TEXT_MAX = 300 };

static struct {
    char text[TEXT_MAX + 1];
    uint16_t port;
} fuzz;

static void
require(bool condition, const char *what)
{
    if (!condition)
        fuzz_fail("%s, of \"%s\" and port %u", what, fuzz.text, fuzz.port);
}

static bool
is_same(const iora_address *a, const iora_address *b)
{
    return a->length == b->length && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/* ---- hosts ------------------------------------------------------------------------------------------- */

/* "[host]:port" or "host:port" as a host alone. */
static const char *
host_of(char *text)
{
    char *const end = strrchr(text, ':');
    const bool is_bracketed = text[0] == '[';

    require(end != NULL && strtoul(end + 1, NULL, 10) == fuzz.port, "the port's text");
    require(!is_bracketed || end[-1] == ']', "the bracket behind a host");
    end[is_bracketed ? -1 : 0] = '\0';
    return text + is_bracketed;
}

/* Without a scope a host is what inet_pton(3) takes for one. */
static bool
is_number(const char *host)
{
    struct in6_addr any;

    return inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1;
}

static void
parse_host(void)
{
    iora_address address = {0}, again;
    char text[IORA_ADDRESS_TEXT];
    const int rc = iora_address_parse(fuzz.text, fuzz.port, &address);

    require(rc == 0 || rc == IORA_E_NAME, "a code");
    if (strchr(fuzz.text, '%') == NULL)
        require((rc == 0) == is_number(fuzz.text), "what is a host");
    if (rc < 0) {
        require(address.length == 0, "an address in spite of the code");
        return;
    }
    require(iora_address_port(&address) == fuzz.port, "the port");
    require(iora_address_format(&address, text, sizeof text) == text, "the text's place");
    require(iora_address_parse(host_of(text), fuzz.port, &again) == 0, "the text read again");
    require(is_same(&address, &again), "the address of the text");
}

/* ---- Unix sockets ------------------------------------------------------------------------------------ */

static void
parse_path(void)
{
    const size_t length = strlen(fuzz.text);
    const bool is_none = length == 0 || strcmp(fuzz.text, "@") == 0;
    iora_address address = {0};
    char text[IORA_ADDRESS_TEXT];
    const int rc = iora_address_unix(fuzz.text, &address);

    require(rc == (is_none                                               ? -EINVAL
                   : length >= sizeof((struct sockaddr_un *)0)->sun_path ? -ENAMETOOLONG
                                                                         : 0),
            "a code");
    if (rc < 0)
        return;
    require(iora_address_port(&address) == 0, "a port");
    (void)iora_address_format(&address, text, sizeof text);
    require(strncmp(text, "unix:", 5) == 0 && strcmp(text + 5, fuzz.text) == 0, "the path's text");
}

/* ---- bytes ------------------------------------------------------------------------------------------- */

/* Whatever they are they have a text, which is cut where there is no room for it. */
static void
format_bytes(size_t size)
{
    iora_address address = {0};
    char whole[IORA_ADDRESS_TEXT];
    char *const part = malloc(size);

    address.length = fuzz_byte() % (sizeof address.bytes + 1);
    for (size_t i = 0; i < address.length; i++)
        address.bytes[i] = (unsigned char)fuzz_byte();
    (void)iora_address_port(&address);
    (void)iora_address_format(&address, whole, sizeof whole);
    (void)iora_address_format(&address, part, size);
    require(strlen(whole) < sizeof whole - 1, "a text that just fits");
    require(strncmp(part, whole, size - 1) == 0 && strlen(part) < size, "a part of the text");
    free(part);
}

/* ---- names ------------------------------------------------------------------------------------------- */

static int
look_up(const char *service, int family)
{
    const struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int rc = iora_getaddrinfo(fuzz.text[0] != '\0' ? fuzz.text : NULL, service, &hints, &found);

    require(rc == 0 || rc == IORA_E_NAME || rc == -EINVAL, "a look-up's code");
    require((rc == 0) == (found != NULL), "what a look-up finds");
    for (const struct addrinfo *at = found; at != NULL; at = at->ai_next)
        require(family == AF_UNSPEC || at->ai_family == family, "the family that was asked for");
    if (rc == 0)
        freeaddrinfo(found);
    return 0;
}
IORA_ASYNC(look_up, const char *, int);

static void
look_up_name(void)
{
    static const char *const services[] = {NULL, "80", "65536", "http?"};
    static const int families[] = {AF_UNSPEC, AF_INET, AF_INET6};
    const unsigned choice = fuzz.port;
    iora_loop *const loop = fuzz_loop(0);

    require(iora_run_in(loop, look_up, services[choice % 4], families[choice / 4 % 3]) == 0,
            "the run");
    fuzz_end_loop(loop);
}

/* ---- the input --------------------------------------------------------------------------------------- */

static void
take_text(void)
{
    size_t length = 0;

    while (!fuzz_is_over() && length < TEXT_MAX)
        fuzz.text[length++] = (char)fuzz_byte();
    fuzz.text[length] = '\0';
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned what;

    memset(&fuzz, 0, sizeof fuzz);
    fuzz_begin(data, size);
    what = fuzz_byte() % 4;
    fuzz.port = (uint16_t)(fuzz_byte() * 257);
    if (what == 0) {
        format_bytes(1 + fuzz_byte() % IORA_ADDRESS_TEXT);
        return 0;
    }
    take_text();
    if (what == 1)
        parse_host();
    else if (what == 2)
        parse_path();
    else
        look_up_name();
    return 0;
}
