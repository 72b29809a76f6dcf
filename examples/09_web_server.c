/* A web server.
 *
 *     09_web_server PORT [SECONDS]     serves on this port of 127.0.0.1 (0: any) until Ctrl-C
 *     09_web_server                    serves itself a few requests, and stops
 *
 * Each connection has a task, which reads a request, answers it, and begins again. The head of a
 * request is parsed where it was received, and an answer leaves by one write, so that in the usual
 * case nothing is allocated or copied.
 *
 * A server must bear any client. Head and body have limits, and one deadline (10 s, or SECONDS) lies
 * round each request, from the wait for it to its answer: who sends a byte now and then gets no
 * further than who sends none. What cannot be understood beyond doubt is refused, and the connection
 * ends, for nobody knows where the next request would begin.
 */
#define _POSIX_C_SOURCE 200809L
#include <iora.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/uio.h>
#include <time.h>

enum { HEAD_LIMIT = 8192, BODY_LIMIT = 16384, NAME_LIMIT = 64, SLEEP_LIMIT_MS = 5000 };
static iora_duration patience = IORA_S(10);
static bool stopping;
static unsigned long requests;

struct request {
    char *path;    /* in the stream's memory: good until the body is read */
    size_t length; /* of the body */
    bool is_get, is_head, is_post;
    bool has_host, has_length, wants_continue;
    bool close; /* no request can follow this one */
};

#define JSON "Content-Type: application/json\r\n"
#define TEXT "Content-Type: text/plain; charset=utf-8\r\n"

/* ---- parsing: each function returns NULL, or the status that says what is wrong ---------------- */

static const char *const bad = "400 Bad Request";

static const char *parse_length(struct request *request, const char *digits)
{
    size_t length = 0;

    if (request->has_length || *digits < '0' || *digits > '9')
        return bad;
    for (; *digits >= '0' && *digits <= '9'; digits++)
        if (length <= BODY_LIMIT)
            length = length * 10 + (size_t)(*digits - '0');
    if (digits[strspn(digits, " \t")] != '\0')
        return bad;
    request->has_length = true;
    request->length = length;
    return length > BODY_LIMIT ? "413 Content Too Large" : NULL;
}

static const char *parse_header(struct request *request, char *line)
{
    size_t n = strcspn(line, ": \t");
    if (n == 0 || line[n] != ':')
        return bad;
    line[n] = '\0';
    const char *value = line + n + 1;
    value += strspn(value, " \t");

    if (strcasecmp(line, "Content-Length") == 0)
        return parse_length(request, value);
    if (strcasecmp(line, "Transfer-Encoding") == 0)
        return "411 Length Required";
    if (strcasecmp(line, "Host") == 0) {
        if (request->has_host)
            return bad;
        request->has_host = true;
    } else if (strcasecmp(line, "Connection") == 0) {
        if (strncasecmp(value, "close", 5) == 0)
            request->close = true;
    } else if (strcasecmp(line, "Expect") == 0) {
        request->wants_continue = strncasecmp(value, "100-continue", 12) == 0;
    }
    return NULL;
}

static const char *parse_request_line(struct request *request, char *line)
{
    char *path = strchr(line, ' ');
    char *version = path != NULL ? strchr(path + 1, ' ') : NULL;
    if (path == line || version == NULL)
        return bad;
    *path++ = *version++ = '\0';
    if (strncmp(version, "HTTP/", 5) != 0 || *path != '/')
        return bad;
    if (strcmp(version, "HTTP/1.1") != 0) {
        if (strcmp(version, "HTTP/1.0") != 0)
            return "505 HTTP Version Not Supported";
        request->close = request->has_host = true; /* it need not name the host */
    }
    path[strcspn(path, "?")] = '\0';
    request->is_head = strcmp(line, "HEAD") == 0;
    request->is_get = request->is_head || strcmp(line, "GET") == 0;
    request->is_post = strcmp(line, "POST") == 0;
    request->path = path;
    return NULL;
}

/* Cut a line off the head. NULL if it has a control character by which others may end a line. */
static char *next_line(char **head)
{
    char *line = *head;
    char *end = strchr(line, '\n');
    if (end == NULL || end == line || strchr(line, '\r') != end - 1)
        return NULL;
    end[-1] = '\0';
    *head = end + 1;
    return line;
}

static const char *parse_head(struct request *request, char *head, size_t n)
{
    if (strlen(head) != n)
        return bad;
    while (strncmp(head, "\r\n", 2) == 0) /* an old client's, after its last body */
        head += 2;

    char *line = next_line(&head);
    const char *problem = line != NULL ? parse_request_line(request, line) : bad;
    while (problem == NULL) {
        line = next_line(&head);
        if (line == NULL)
            return bad;
        if (*line == '\0')
            return request->has_host ? NULL : bad;
        problem = parse_header(request, line);
    }
    return problem;
}

/* ---- answering -------------------------------------------------------------------------------- */

/* The time as HTTP writes it, made anew once a second. */
static const char *date(void)
{
    static char text[32];
    static time_t shown;
    time_t now = time(NULL);
    if (now != shown) {
        struct tm tm;
        gmtime_r(&now, &tm);
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        shown = now;
    }
    return text;
}

static char *put_number(char *out, size_t number)
{
    char digits[20];
    size_t n = sizeof digits;
    do
        digits[--n] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    memcpy(out, digits + n, sizeof digits - n);
    return out + (sizeof digits - n);
}

/* Send an answer; `headers` are lines of its own. A short body goes with the head, a long one beside
 * it. */
static int answer(iora_stream *client, struct request *request, const char *status,
                  const char *headers, const void *body, size_t n)
{
    char out[1024];

    requests++;
    if (stopping)
        request->close = true;
    char *end = stpcpy(stpcpy(stpcpy(out, "HTTP/1.1 "), status), "\r\nDate: ");
    end = stpcpy(stpcpy(stpcpy(end, date()), "\r\n"), headers);
    end = put_number(stpcpy(end, "Content-Length: "), n);
    end = stpcpy(end, request->close ? "\r\nConnection: close\r\n\r\n" : "\r\n\r\n");
    if (request->is_head)
        n = 0;
    if (n <= (size_t)(out + sizeof out - end)) {
        memcpy(end, body, n);
        return iora_write(client, out, (size_t)(end - out) + n);
    }
    struct iovec pieces[] = {{out, (size_t)(end - out)}, {(void *)body, n}};
    return iora_writev(client, pieces, 2);
}

static int answer_text(iora_stream *client, struct request *request, const char *status,
                       const char *text)
{
    return answer(client, request, status, TEXT, text, strlen(text));
}

static int refuse(iora_stream *client, struct request *request, const char *status)
{
    request->close = true;
    return answer_text(client, request, status, status);
}

/* ---- the pages -------------------------------------------------------------------------------- */

static int home(iora_stream *client, struct request *request, const char *rest)
{
    static const char json[] = "{\"message\":\"Hello, World!\"}\n";

    (void)rest;
    return answer(client, request, "200 OK", JSON, json, sizeof json - 1);
}

static int hello(iora_stream *client, struct request *request, const char *name)
{
    char text[NAME_LIMIT + 16];

    if (strlen(name) > NAME_LIMIT)
        return answer_text(client, request, "404 Not Found", "No name is that long.\n");
    sprintf(text, "Hello, %s!\n", *name != '\0' ? name : "world");
    return answer_text(client, request, "200 OK", text);
}

static int sleep_ms(iora_stream *client, struct request *request, const char *number)
{
    unsigned long ms = strtoul(number, NULL, 10);
    int rc = iora_sleep(iora_ms(ms < SLEEP_LIMIT_MS ? (double)ms : SLEEP_LIMIT_MS));
    return rc < 0 ? rc : answer_text(client, request, "200 OK", "Good morning!\n");
}

static int echo(iora_stream *client, struct request *request, const char *rest)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    char body[BODY_LIMIT];
    int rc = 0;

    (void)rest;
    if (!request->has_length)
        return refuse(client, request, "411 Length Required");
    if (request->wants_continue)
        rc = iora_write(client, go_on, sizeof go_on - 1);
    if (rc == 0)
        rc = iora_read_exactly(client, body, request->length);
    if (rc < 0)
        return rc;
    return answer(client, request, "200 OK", "Content-Type: application/octet-stream\r\n", body,
                  request->length);
}

static const struct page {
    const char *path;
    bool has_rest; /* more may follow the path */
    bool is_post;
    int (*serve)(iora_stream *client, struct request *request, const char *rest);
} pages[] = {
    {"/", false, false, home},       {"/hello", false, false, hello},
    {"/hello/", true, false, hello}, {"/sleep/", true, false, sleep_ms},
    {"/echo", false, true, echo},
};

static const struct page *find_page(const char *path, const char **rest)
{
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        size_t n = strlen(pages[i].path);
        if (strncmp(path, pages[i].path, n) == 0 && (path[n] == '\0' || pages[i].has_rest)) {
            *rest = path + n;
            return &pages[i];
        }
    }
    return NULL;
}

static int answer_request(iora_stream *client, struct request *request)
{
    const char *rest;
    const struct page *page = find_page(request->path, &rest);

    bool fits = page != NULL && (page->is_post ? request->is_post : request->is_get);
    if (request->length > 0 && !(fits && page->is_post))
        request->close = true; /* nobody reads the body */
    if (page == NULL)
        return answer_text(client, request, "404 Not Found", "There is no such page.\n");
    if (!fits)
        return answer(client, request, "405 Method Not Allowed",
                      page->is_post ? "Allow: POST\r\n" : "Allow: GET, HEAD\r\n", "", 0);
    return page->serve(client, request, rest);
}

/* ---- a connection ----------------------------------------------------------------------------- */

enum { AT_END = 0, MORE = 1 };

static int exchange(iora_stream *client)
{
    struct request request = {.path = NULL};
    const char *problem = "431 Request Header Fields Too Large";
    char *head;

    int rc = iora_read_until(client, "\r\n\r\n", 4, &head);
    if (rc < 0 && rc != IORA_E_LIMIT)
        return rc;
    if (rc > 0)
        problem = parse_head(&request, head, (size_t)rc);
    rc = problem == NULL ? answer_request(client, &request) : refuse(client, &request, problem);
    return rc < 0 ? rc : request.close ? AT_END : MORE;
}

/* If a socket is closed while something lies in it unread, its peer may lose the answer: so say that
 * this was all, and read on to the other's end. */
static int see_off(iora_stream *client)
{
    char dropped[1024];
    int rc = iora_write_eof(client);

    while (rc == 0 && (rc = iora_read(client, dropped, sizeof dropped)) > 0)
        rc = 0;
    return rc;
}

static int serve(iora_stream *client, void *arg)
{
    int rc;

    (void)arg;
    do
        rc = iora_wait_for(exchange(client), patience);
    while (rc == MORE);

    if (rc == -ETIMEDOUT) { /* who sent a part of a request is told, unless he does not listen */
        struct request none = {.path = NULL};
        rc = 0;
        if (iora_stream_readable(client) > 0 && iora_stream_unsent(client) == 0)
            rc = refuse(client, &none, "408 Request Timeout");
    }
    if (rc == AT_END)
        rc = iora_wait_for(see_off(client), iora_s(1));
    return rc == -ETIMEDOUT ? 0 : rc;
}

static int start(uint16_t port, iora_server **server)
{
    iora_server_options options = IORA_SERVER_OPTIONS_INIT;
    options.line_limit = HEAD_LIMIT;
    return iora_start_server("127.0.0.1", port, serve, NULL, &options, server);
}

/* What is being served is finished, for 10 s at most; idle connections end at once. */
static int stop(iora_server *server)
{
    stopping = true;
    return iora_server_stop(server, iora_s(10));
}

static int run(uint16_t port)
{
    iora_server *server;

    int rc = start(port, &server);
    if (rc < 0)
        return iora_fail(rc, "listening on port %u", port);
    printf("http://127.0.0.1:%u/\n", iora_server_port(server));
    fflush(stdout);
    rc = iora_wait_signal(SIGINT, SIGTERM);
    if (rc < 0)
        return rc;
    rc = stop(server);
    printf("stopped, after %lu requests\n", requests);
    return rc;
}
IORA_ASYNC(run, uint16_t);

/* ---- the server visits itself ----------------------------------------------------------------- */

/* Read an answer, and show its status and its body. */
static int show_answer(iora_stream *stream)
{
    char body[256];
    char *line;
    size_t length = 0;

    int rc = iora_readline(stream, &line);
    if (rc > 0)
        printf("  %.*s\n", (int)strcspn(line, "\r"), line);
    while (rc > 0 && (rc = iora_readline(stream, &line)) > 0 && strcmp(line, "\r\n") != 0)
        if (strncasecmp(line, "Content-Length: ", 16) == 0)
            length = strtoul(line + 16, NULL, 10);
    if (rc == 0 || length >= sizeof body)
        return IORA_E_INCOMPLETE;
    if (rc > 0 && (rc = iora_read_exactly(stream, body, length)) == 0 && length > 0)
        printf("    %.*s\n", (int)length - (body[length - 1] == '\n'), body);
    return rc;
}

static int visit(uint16_t port, const char *what, const char *request, int answers)
{
    iora_stream *stream;

    printf("%s:\n", what);
    int rc = iora_open_connection("127.0.0.1", port, NULL, &stream);
    if (rc < 0)
        return rc;
    rc = iora_write(stream, request, strlen(request));
    while (answers-- > 0 && rc == 0)
        rc = show_answer(stream);
    iora_stream_abort(stream);
    return rc;
}
IORA_ASYNC(visit, uint16_t, const char *, const char *, int);

#define HOST "Host: localhost\r\n\r\n"

static int self_test(void)
{
    iora_server *server;

    int rc = start(0, &server);
    if (rc < 0)
        return rc;
    uint16_t port = iora_server_port(server);

    rc = visit(port, "Three requests at once",
               "GET / HTTP/1.1\r\n" HOST
               "POST /echo HTTP/1.1\r\nContent-Length: 5\r\nHost: localhost\r\n\r\nhello"
               "GET /hello/Ada HTTP/1.1\r\n" HOST,
               3);
    if (rc == 0)
        rc = visit(port, "What is not there, or not so",
                   "GET /nowhere HTTP/1.1\r\n" HOST "GET /echo HTTP/1.1\r\n" HOST, 2);
    if (rc == 0)
        rc = visit(port, "No HTTP", "Good morning!\r\n\r\n", 1);
    if (rc < 0)
        return rc;

    iora_task last = iora_go(visit, port, "A stop while a request is served",
                             "GET /sleep/100 HTTP/1.1\r\n" HOST, 1);
    rc = iora_sleep(iora_ms(50));
    if (rc == 0)
        rc = stop(server);
    if (rc == 0)
        rc = iora_await(last);
    printf("stopped, after %lu requests\n", requests);
    return rc;
}
IORA_ASYNC(self_test);

int main(int argc, char **argv)
{
    char *end;

    if (argc == 1 || strcmp(argv[1], "--self-test") == 0)
        return iora_main(self_test);
    unsigned long port = strtoul(argv[1], &end, 10);
    bool is_wrong = argc > 3 || *end != '\0' || port > UINT16_MAX;
    if (argc == 3) {
        patience = iora_s(strtod(argv[2], &end));
        is_wrong |= *end != '\0';
    }
    if (is_wrong) {
        fprintf(stderr, "usage: 09_web_server [PORT [SECONDS]]\n");
        return 2;
    }
    return iora_main(run, (uint16_t)port);
}
