/* tests/c/test_names.c -- addresses as text, and looking up hosts. */
#include "real.h"
#include "test.h"
#include "waiting.h"

#include "core/lane.h"
#include "os/resolve.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- addresses -------------------------------------------------------------------------------------- */

static const char *
text_of(const iora_address *address)
{
    static char text[IORA_ADDRESS_TEXT];

    return iora_address_format(address, text, sizeof text);
}

static void
check_parsed(const char *host, uint16_t port, const char *text)
{
    iora_address address;

    CHECK_EQ(iora_address_parse(host, port, &address), 0);
    CHECK_STR(text_of(&address), text);
    CHECK_EQ(iora_address_port(&address), port);
}

TEST(address, numeric_hosts_are_parsed_and_written)
{
    check_parsed("127.0.0.1", 80, "127.0.0.1:80");
    check_parsed("0.0.0.0", 0, "0.0.0.0:0");
    check_parsed("::1", 65535, "[::1]:65535");
    check_parsed("2001:DB8:0:0::5", 443, "[2001:db8::5]:443");
    check_parsed("::ffff:1.2.3.4", 1, "[::ffff:1.2.3.4]:1");
    check_parsed("fe80::1%lo", 80, "[fe80::1%lo]:80");
    check_parsed("fe80::1%1", 80, "[fe80::1%lo]:80");
    check_parsed("fe80::1%4000000000", 80, "[fe80::1%4000000000]:80");
}

TEST(address, other_text_is_no_address)
{
    static const char *const texts[] = {
        "",           "localhost",     "127.1",    "1.2.3.4.5",   "256.0.0.1",       " 1.2.3.4",
        "1.2.3.4 ",   ":::",           "fe80::1%", "::1%nosuch0", "::1%12345678901", "[::1]",
        "1.2.3.4:80", "::1%4294967296"};
    iora_address address = {.length = 77};
    char longer[300];

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        CHECK_EQ(iora_address_parse(texts[i], 80, &address), IORA_E_NAME);
    memset(longer, '1', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    CHECK_EQ(iora_address_parse(longer, 80, &address), IORA_E_NAME);
    CHECK_EQ(address.length, 77); /* written on success only */
}

TEST(address, unix_paths_are_never_cut)
{
    iora_address address;
    char path[109];

    CHECK_EQ(iora_address_unix("/run/x", &address), 0);
    CHECK_STR(text_of(&address), "unix:/run/x");
    CHECK_EQ(iora_address_port(&address), 0);
    CHECK_EQ(iora_address_unix("@abstract", &address), 0);
    CHECK_STR(text_of(&address), "unix:@abstract");
    CHECK_EQ(address.length, offsetof(struct sockaddr_un, sun_path) + 9);
    memset(path, 'p', sizeof path);
    path[107] = '\0';
    CHECK_EQ(iora_address_unix(path, &address), 0);
    CHECK_EQ(strlen(text_of(&address)), 5 + 107);
    path[0] = '@';
    CHECK_EQ(iora_address_unix(path, &address), 0);
    CHECK_EQ(strlen(text_of(&address)), 5 + 107);
    path[107] = 'p';
    path[108] = '\0';
    CHECK_EQ(iora_address_unix(path, &address), -ENAMETOOLONG);
    CHECK_EQ(iora_address_unix("", &address), -EINVAL);
    CHECK_EQ(iora_address_unix("@", &address), -EINVAL);
}

TEST(address, of_none_and_of_unnamed_sockets)
{
    iora_address address = {0};
    const sa_family_t unnamed = AF_UNIX;
    char small[4];

    CHECK_STR(text_of(&address), "");
    CHECK_EQ(iora_address_port(&address), 0);
    memcpy(address.bytes, &unnamed, sizeof unnamed);
    address.length = sizeof unnamed;
    CHECK_STR(text_of(&address), "unix:");
    CHECK_STR(iora_address_format(&address, small, sizeof small), "uni");
}

/* ---- what needs no thread ------------------------------------------------------------------------------ */

static atomic_int asked;

static int
ask_nobody(const char *host, const char *service, const struct addrinfo *hints,
           struct addrinfo **out)
{
    (void)host;
    (void)service;
    (void)hints;
    (void)out;
    atomic_fetch_add(&asked, 1);
    return IORA_E_NAME_AGAIN;
}

static void
trace_callback(void *word)
{
    test_trace("%s", (const char *)word);
}

static const char *
first_of(const struct addrinfo *list)
{
    iora_address address = {.length = list->ai_addrlen};

    memcpy(address.bytes, list->ai_addr, list->ai_addrlen);
    return text_of(&address);
}

static void
check_here(const char *host, const char *service, const struct addrinfo *hints, const char *text)
{
    struct addrinfo *list;

    CHECK_EQ(iora_getaddrinfo(host, service, hints, &list), 0);
    CHECK_STR(first_of(list), text);
    freeaddrinfo(list);
}

TEST_TASK_EVERYWHERE(names, numeric_hosts_and_localhost_need_no_thread)
{
    const struct addrinfo passive = {
        .ai_family = AF_INET, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    const struct addrinfo inet = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    const struct addrinfo inet6 = {.ai_family = AF_INET6};
    iora_handle handle = {0};

    iora__resolve_instead = ask_nobody;
    CHECK_EQ(iora_call_soon(iora_loop_running(), &handle, trace_callback, "suspended"), 0);
    check_here("127.0.0.1", "80", NULL, "127.0.0.1:80");
    check_here("::1", "80", NULL, "[::1]:80");
    check_here("::1", "0065535", NULL, "[::1]:65535");
    check_here("1.2.3.4", NULL, NULL, "1.2.3.4:0");
    check_here("fe80::1%lo", "5", NULL, "[fe80::1%lo]:5");
    check_here("localhost", "80", &inet, "127.0.0.1:80");
    check_here("LocalHost", NULL, &inet, "127.0.0.1:0");
    check_here("localhost", "80", &inet6, "[::1]:80");
    check_here("localhost", "80", &passive, "127.0.0.1:80"); /* not every address */
    check_here(NULL, "80", &passive, "0.0.0.0:80");
    check_here(NULL, "80", &inet, "127.0.0.1:80");
    CHECK_TRACE("");
    CHECK_EQ(asked, 0);
    CHECK_EQ(iora_yield(), 0);
}

TEST_TASK(names, what_makes_no_sense_is_refused)
{
    const struct addrinfo bad_flags = {.ai_flags = 1 << 30};
    const struct addrinfo bad_family = {.ai_family = 77};
    const struct addrinfo numeric = {.ai_flags = AI_NUMERICHOST};
    const struct addrinfo inet6 = {.ai_family = AF_INET6};
    struct addrinfo *list = NULL;
    char longer[300];

    iora__resolve_instead = ask_nobody;
    memset(longer, 'n', sizeof longer);
    longer[254] = '\0';
    CHECK_EQ(iora_getaddrinfo(longer, "80", NULL, &list), -EINVAL);
    longer[299] = '\0';
    CHECK_EQ(iora_getaddrinfo(longer, "80", NULL, &list), -EINVAL);
    CHECK_EQ(iora_getaddrinfo("127.0.0.1", longer, NULL, &list), -EINVAL);
    CHECK_EQ(iora_getaddrinfo("127.0.0.1", "no-such-service", NULL, &list), -EINVAL);
    CHECK_EQ(iora_getaddrinfo("127.0.0.1", "65536", NULL, &list), -EINVAL); /* it was port 0 */
    CHECK_EQ(iora_getaddrinfo("example.org", "99999999999999999999999", NULL, &list), -EINVAL);
    CHECK_EQ(iora_getaddrinfo("127.0.0.1", " +99999", NULL, &list), -EINVAL);
    CHECK_EQ(iora_getaddrinfo("127.0.0.1", "-1", NULL, &list), -EINVAL);
    CHECK_EQ(iora_getaddrinfo(NULL, NULL, NULL, &list), -EINVAL);
    CHECK_EQ(iora_getaddrinfo("127.0.0.1", "80", &bad_flags, &list), -EINVAL);
    CHECK_EQ(iora_getaddrinfo("127.0.0.1", "80", &bad_family, &list), -EINVAL);
    CHECK_EQ(iora_getaddrinfo("", "80", NULL, &list), IORA_E_NAME);
    CHECK_EQ(iora_getaddrinfo("localhost", "80", &numeric, &list), IORA_E_NAME);
    CHECK_EQ(iora_getaddrinfo("example.org", "80", &numeric, &list), IORA_E_NAME);
    CHECK_EQ(CANCELLED(iora_getaddrinfo("127.0.0.1", "80", NULL, &list)), -ECANCELED);
    CHECK_EQ(iora_getaddrinfo("127.0.0.1", "80", &inet6, &list), IORA_E_NAME);
    CHECK(list == NULL);
    CHECK_EQ(asked, 0);
}

static int
call_getaddrinfo(void)
{
    struct addrinfo *list;

    return iora_getaddrinfo("127.0.0.1", "80", NULL, &list);
}

TEST(names, need_a_task)
{
    check_needs_a_task(call_getaddrinfo);
}

/* ---- what does ------------------------------------------------------------------------------------------ */

static struct {
    sem_t begun, opened;
    pthread_t thread;
    char host[300], service[40];
    int flags;
} resolver;

static void
use_resolver(int (*fn)(const char *, const char *, const struct addrinfo *, struct addrinfo **))
{
    iora__resolve_instead = fn;
    CHECK_EQ(sem_init(&resolver.begun, 0, 0), 0);
    CHECK_EQ(sem_init(&resolver.opened, 0, 0), 0);
}

static int
answer(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    resolver.thread = pthread_self();
    resolver.flags = hints != NULL ? hints->ai_flags : -1;
    (void)snprintf(resolver.host, sizeof resolver.host, "%s", host);
    (void)snprintf(resolver.service, sizeof resolver.service, "%s",
                   service != NULL ? service : "(none)");
    CHECK_EQ(getaddrinfo("192.0.2.1", "77", hints, out), 0);
    return 0;
}

TEST_TASK_REAL(names, of_hosts_are_not_asked_for_in_a_forked_child)
{
    struct addrinfo *found;
    int status;
    pid_t pid;

    if ((pid = fork()) == 0) {
        CHECK_EQ(iora_getaddrinfo("nowhere.invalid", "80", NULL, &found), IORA_E_FORKED);
        _exit(EXIT_SUCCESS);
    }
    CHECK_EQ(TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)), pid);
    CHECK_EQ(status, 0);
}

TEST_TASK_REAL(names, other_hosts_are_asked_for_in_a_thread)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_V4MAPPED};
    struct addrinfo *list;
    char name[254];

    use_resolver(answer);
    CHECK_EQ(iora_getaddrinfo("example.org", NULL, NULL, &list), 0);
    CHECK_STR(first_of(list), "192.0.2.1:77");
    freeaddrinfo(list);
    CHECK_STR(resolver.host, "example.org");
    CHECK_STR(resolver.service, "(none)");
    CHECK_EQ(resolver.flags, -1);
    CHECK(!pthread_equal(resolver.thread, pthread_self()));

    memset(name, 'n', sizeof name);
    name[253] = '\0';
    CHECK_EQ(iora_getaddrinfo(name, "443", &hints, &list), 0);
    freeaddrinfo(list);
    CHECK_STR(resolver.host, name);
    CHECK_STR(resolver.service, "443");
    CHECK_EQ(resolver.flags, AI_V4MAPPED);
}

TEST_TASK_REAL(names, an_error_comes_through)
{
    struct addrinfo *list = NULL;

    use_resolver(ask_nobody);
    CHECK_EQ(iora_getaddrinfo("example.org", "80", NULL, &list), IORA_E_NAME_AGAIN);
    CHECK(list == NULL);
}

/* Blocks until told, then finds something. */
static int
answer_late(const char *host, const char *service, const struct addrinfo *hints,
            struct addrinfo **out)
{
    (void)host;
    (void)service;
    CHECK_EQ(sem_post(&resolver.begun), 0);
    CHECK_EQ(TEMP_FAILURE_RETRY(sem_wait(&resolver.opened)), 0);
    CHECK_EQ(getaddrinfo("192.0.2.1", "77", hints, out), 0);
    atomic_fetch_add(&asked, 1);
    return 0;
}

static int
looks_up(void)
{
    struct addrinfo *list;
    const int rc = iora_getaddrinfo("example.org", "80", NULL, &list);

    if (rc == 0)
        freeaddrinfo(list);
    return rc;
}
IORA_ASYNC(looks_up);

static void
await_asked(int count)
{
    const int64_t began_ns = real_ns();

    while (atomic_load(&asked) < count) {
        CHECK(real_ns() - began_ns < (int64_t)test_patience_ms() * 1000000);
        real_sleep_ms(1);
    }
}

/* What it finds later is freed: the sanitizer's leak check sees to that. */
TEST_TASK_REAL(names, a_cancelled_look_up_returns_at_once)
{
    iora_task task;

    use_resolver(answer_late);
    task = iora_go(looks_up);
    CHECK_EQ(iora_yield(), 0);
    CHECK_EQ(TEMP_FAILURE_RETRY(sem_wait(&resolver.begun)), 0);
    CHECK_EQ(iora_cancel(task), 0);
    CHECK_EQ(iora_await(task), IORA_E_TASK_CANCELED);
    CHECK_EQ(asked, 0);
    CHECK_EQ(sem_post(&resolver.opened), 0);
    await_asked(1);
}

static int
set_flag(void *flag)
{
    *(bool *)flag = true;
    return 0;
}

/* One that can neither be waited for nor be asked not to wait: a thread reads it. */
static int
reads_a_file(void)
{
    char bytes[4];
    const int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
    const int rc = iora_fd_read(fd, bytes, sizeof bytes);

    (void)close(fd);
    return rc;
}

TEST_TASK_REAL(names, stuck_look_ups_delay_nothing_else)
{
    enum { STUCK = 64, THREADS = 4 };
    iora_task tasks[STUCK];
    bool flag = false;
    int begun;

    use_resolver(answer_late);
    for (int i = 0; i < STUCK; i++)
        tasks[i] = iora_go(looks_up);
    CHECK_EQ(iora_yield(), 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(TEMP_FAILURE_RETRY(sem_wait(&resolver.begun)), 0);
    CHECK_EQ(iora_to_thread(set_flag, &flag), 0);
    CHECK(flag);
    CHECK_EQ(reads_a_file(), 4);
    CHECK_EQ(sem_getvalue(&resolver.begun, &begun), 0);
    CHECK_EQ(begun, 0); /* and no more than four ask at once */
    CHECK_EQ(asked, 0);
    for (int i = 0; i < STUCK; i++)
        CHECK_EQ(sem_post(&resolver.opened), 0);
    CHECK_EQ(iora_gather_n(tasks, STUCK), 0);
    CHECK_EQ(asked, STUCK);
}

TEST_TASK_REAL(names, stuck_look_ups_are_cancelled_whether_begun_or_not)
{
    enum { STUCK = 64, THREADS = 4 };
    iora_task tasks[STUCK];

    use_resolver(answer_late);
    for (int i = 0; i < STUCK; i++)
        tasks[i] = iora_go(looks_up);
    CHECK_EQ(iora_yield(), 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(TEMP_FAILURE_RETRY(sem_wait(&resolver.begun)), 0);
    for (int i = 0; i < STUCK; i++)
        CHECK_EQ(iora_cancel(tasks[i]), 0);
    for (int i = 0; i < STUCK; i++)
        CHECK_EQ(iora_await(tasks[i]), IORA_E_TASK_CANCELED);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(sem_post(&resolver.opened), 0);
    await_asked(THREADS);
}
