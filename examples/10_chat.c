/* A chat, over TCP and a Unix socket at once.
 *
 *     10_chat PORT PATH         serves until Ctrl-C; join by `nc 127.0.0.1 PORT` or `nc -U PATH`
 *     10_chat                   three people chat, one of whom does not read
 *
 * The first line that a client sends is a name, the others are for everybody else. Each client has
 * two tasks, which end together: one reads lines, and puts each into the queue of every other client;
 * one takes lines from the client's own queue, and writes them. So nobody waits for a slow reader.
 *
 * His queue has a bound, and this program's choice is that lines which find it full are skipped for
 * him: once he has read what is there he is told how many he missed. Who takes nothing at all for
 * half a minute has to go.
 */
#define _POSIX_C_SOURCE 200809L
#include <iora.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_SIZE = 16, LINE_SIZE = 256, QUEUE_SIZE = 32, MEMBERS_LIMIT = 1000 };
static const iora_duration patience = IORA_S(30);

struct line {
    char text[NAME_SIZE + LINE_SIZE + 8];
};

struct member {
    struct member *next;
    iora_stream *stream;
    iora_queue lines;
    unsigned skipped;
    char name[NAME_SIZE];
};

static struct member *members;

/* ---- the room --------------------------------------------------------------------------------- */

/* Give a line to everybody but one. */
static void tell_others(const struct member *who, const struct line *line)
{
    for (struct member *m = members; m != NULL; m = m->next) {
        if (m == who)
            continue;
        if (m->skipped > 0 || iora_queue_put_nowait(&m->lines, line) < 0)
            m->skipped++;
    }
}

static void join(struct member *who)
{
    struct line line;

    who->next = members;
    members = who;
    sprintf(line.text, "* %s has joined\n", who->name);
    tell_others(who, &line);
    sprintf(line.text, "* Welcome, %s\n", who->name);
    (void)iora_queue_put_nowait(&who->lines, &line);
}

static void leave(struct member *who)
{
    struct line line;
    struct member **p = &members;

    while (*p != who)
        p = &(*p)->next;
    *p = who->next;
    sprintf(line.text, "* %s has left\n", who->name);
    tell_others(who, &line);
}

/* ---- a client --------------------------------------------------------------------------------- */

static int write_text(struct member *who, const char *text)
{
    return iora_wait_for(iora_write(who->stream, text, strlen(text)), patience);
}

/* Write what comes into the queue until that is shut down, and then tell what did not come. */
static int write_lines(struct member *who)
{
    struct line line;
    int rc;

    while ((rc = iora_queue_get(&who->lines, &line)) == 0) {
        rc = write_text(who, line.text);
        while (rc == 0 && who->skipped > 0 && iora_queue_is_empty(&who->lines)) {
            sprintf(line.text, "* you were too slow for %u lines\n", who->skipped);
            who->skipped = 0;
            rc = write_text(who, line.text);
        }
        if (rc < 0)
            return rc;
    }
    return rc == IORA_E_SHUTDOWN ? 0 : rc;
}
IORA_ASYNC(write_lines, struct member *);

/* Read a line, and cut its end off. */
static int read_text(struct member *who, char **text)
{
    int rc = iora_readline(who->stream, text);
    if (rc == IORA_E_LIMIT)
        (void)write_text(who, "* that line is too long: goodbye\n");
    if (rc > 0)
        (*text)[strcspn(*text, "\r\n")] = '\0';
    return rc;
}

static int read_lines(struct member *who)
{
    struct line line;
    char *text;
    int rc;

    while ((rc = read_text(who, &text)) > 0) {
        sprintf(line.text, "%s: %.*s\n", who->name, LINE_SIZE, text);
        tell_others(who, &line);
        rc = iora_yield(); /* a line at a time: let the others write it */
        if (rc < 0)
            break;
    }
    return rc;
}

static int ask_name(struct member *who)
{
    char *text;

    int rc = write_text(who, "* Who are you?\n");
    if (rc == 0)
        rc = iora_wait_for(read_text(who, &text), patience);
    if (rc <= 0)
        return rc;
    if (*text == '\0' || strlen(text) >= NAME_SIZE)
        return write_text(who, "* that is no name: goodbye\n");
    strcpy(who->name, text);
    return 1;
}

static int chat(struct member *who)
{
    int rc = 0;

    join(who);
    IORA_GROUP(rc, both) {
        iora_group_go(&both, write_lines, who);
        rc = read_lines(who);
        leave(who);
        iora_queue_shutdown(&who->lines, false);
    }
    (void)iora_queue_destroy(&who->lines);
    return rc;
}

static int serve(iora_stream *stream, void *arg)
{
    struct member who = {.stream = stream,
                         .lines = IORA_QUEUE_INIT(sizeof(struct line), QUEUE_SIZE)};

    (void)arg;
    int rc = ask_name(&who);
    if (rc > 0)
        rc = chat(&who);
    return rc == -ETIMEDOUT || rc == IORA_E_LIMIT ? 0 : rc; /* it is gone, and that is all */
}

/* ---- the servers ------------------------------------------------------------------------------ */

struct servers {
    iora_server *tcp, *local;
};

static int start(uint16_t port, const char *path, struct servers *servers)
{
    iora_server_options options = IORA_SERVER_OPTIONS_INIT;
    options.max_clients = MEMBERS_LIMIT;
    options.line_limit = LINE_SIZE;
    options.write_limit = 4096; /* what is kept for a slow reader is in his queue */

    int rc = iora_start_server("127.0.0.1", port, serve, NULL, &options, &servers->tcp);
    if (rc < 0)
        return iora_fail(rc, "listening on port %u", port);
    rc = iora_start_unix_server(path, serve, NULL, &options, &servers->local);
    if (rc < 0) {
        (void)iora_server_stop(servers->tcp, iora_ns(0));
        return iora_fail(rc, "listening on %s", path);
    }
    return 0;
}

static int stop(struct servers *servers)
{
    int rc = iora_server_stop(servers->tcp, iora_s(5));
    int local = iora_server_stop(servers->local, iora_s(5));
    return rc < 0 ? rc : local;
}

static int run(uint16_t port, const char *path)
{
    struct servers servers;

    int rc = start(port, path, &servers);
    if (rc < 0)
        return rc;
    printf("127.0.0.1:%u and %s\n", iora_server_port(servers.tcp), path);
    fflush(stdout);
    rc = iora_wait_signal(SIGINT, SIGTERM);
    return rc < 0 ? rc : stop(&servers);
}
IORA_ASYNC(run, uint16_t, const char *);

/* ---- three people ----------------------------------------------------------------------------- */

enum { MANY = 5000 };

/* Show what somebody reads next. */
static int hear(const char *who, iora_stream *stream)
{
    char *line;

    int rc = iora_readline(stream, &line);
    if (rc > 0)
        printf("  %s reads: %s", who, line);
    return rc < 0 ? rc : rc > 0 ? 0 : IORA_E_INCOMPLETE;
}

static int say(iora_stream *stream, const char *line)
{
    return iora_write(stream, line, strlen(line));
}

/* Answer the question for a name, and wait until it was heard. */
static int enter(const char *name, iora_stream *stream)
{
    int rc = hear(name, stream);
    if (rc == 0)
        rc = say(stream, name);
    if (rc == 0)
        rc = say(stream, "\n");
    return rc < 0 ? rc : hear(name, stream);
}

/* Ann says much, and Bob reads every line of it as it comes. */
static int talk(iora_stream *ann, iora_stream *bob)
{
    char text[LINE_SIZE];
    char *line;
    int rc = 0;

    for (int i = 1; i <= MANY && rc == 0; i++) {
        sprintf(text, "%d %0100d\n", i, 0);
        rc = say(ann, text);
        if (rc == 0)
            rc = iora_readline(bob, &line);
        if (rc > 0)
            rc = atoi(line + strlen("Ann: ")) == i ? 0 : -EBADMSG;
    }
    return rc;
}

/* Cleo, who has read nothing of it so far, now does. */
static int catch_up(iora_stream *cleo)
{
    unsigned heard = 0, missed = 0;
    char *line;
    int rc = 1;

    while (missed == 0 && (rc = iora_readline(cleo, &line)) > 0)
        if (sscanf(line, "* you were too slow for %u", &missed) == 0)
            heard++;
    printf("  Cleo has read some of it: %s; was told of the rest: %s\n", heard > 0 ? "yes" : "no",
           heard + missed == MANY ? "yes" : "no");
    return rc < 0 ? rc : 0;
}

static int three_people(const struct servers *servers, const char *path)
{
    iora_stream *ann, *bob, *cleo;

    int rc = iora_open_connection("127.0.0.1", iora_server_port(servers->tcp), NULL, &ann);
    if (rc < 0)
        return rc;
    rc = iora_open_unix_connection(path, NULL, &bob);
    if (rc < 0)
        goto close_ann;
    rc = iora_open_unix_connection(path, NULL, &cleo);
    if (rc < 0)
        goto close_bob;

    printf("Ann comes by TCP, Bob and Cleo through the Unix socket:\n");
    if ((rc = enter("Ann", ann)) < 0 || (rc = enter("Bob", bob)) < 0 ||
        (rc = hear("Ann", ann)) < 0 || (rc = say(bob, "Hello, Ann!\n")) < 0 ||
        (rc = hear("Ann", ann)) < 0 || (rc = say(ann, "Hello, Bob!\n")) < 0 ||
        (rc = hear("Bob", bob)) < 0 || (rc = enter("Cleo", cleo)) < 0 ||
        (rc = hear("Bob", bob)) < 0)
        goto close_cleo;

    printf("Ann says %d lines, Bob reads them all, Cleo does not:\n", MANY);
    if ((rc = talk(ann, bob)) < 0 || (rc = catch_up(cleo)) < 0)
        goto close_cleo;

    printf("Cleo leaves:\n");
    if ((rc = iora_write_eof(cleo)) == 0)
        rc = hear("Bob", bob);

close_cleo:
    (void)iora_stream_close(cleo);
close_bob:
    (void)iora_stream_close(bob);
close_ann:
    (void)iora_stream_close(ann);
    return rc;
}

static int self_test(void)
{
    struct servers servers;

    char *path = iora_sprintf("@iora-chat-%d", (int)getpid());
    if (path == NULL)
        return -ENOMEM;
    int rc = start(0, path, &servers);
    if (rc < 0)
        goto free_path;
    rc = three_people(&servers, path);
    int stopped = stop(&servers);
    if (rc == 0)
        rc = stopped;
free_path:
    free(path);
    return rc;
}
IORA_ASYNC(self_test);

int main(int argc, char **argv)
{
    if (argc == 1 || strcmp(argv[1], "--self-test") == 0)
        return iora_main(self_test);
    char *end;
    unsigned long port = strtoul(argv[1], &end, 10);
    if (argc != 3 || *end != '\0' || port > UINT16_MAX) {
        fprintf(stderr, "usage: 10_chat [PORT PATH]\n");
        return 2;
    }
    return iora_main(run, (uint16_t)port, argv[2]);
}
