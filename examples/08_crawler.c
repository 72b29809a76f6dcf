/* A web crawler.
 *
 *     08_crawler [--jobs N | --sequential] URL     fetches all pages of a site, 20 at a time
 *     08_crawler                                   does so with a small site that it serves itself
 *
 * Workers take paths from a queue, fetch them, and put the links they find into the queue. So the
 * number of workers is the number of fetches at a time, and all is done when everything that was put
 * into the queue is dealt with: iora_queue_join() waits for that.
 *
 * Each fetch has a deadline round all of it. One that fails is tried again after a pause that doubles.
 * A worker keeps its connection for the next page if the server does.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <iora.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { JOBS = 20, ATTEMPTS = 4, PATH_LIMIT = 2000, BODY_LIMIT = 16 << 20, PAGES_LIMIT = 100000 };
static const iora_duration patience = IORA_S(10);

struct crawl {
    char authority[300]; /* HOST or HOST:PORT, as links say it */
    char host[256];
    uint16_t port;
    iora_queue paths; /* of what has to be fetched */
    void *seen;       /* a tree of all paths that were ever put there: it owns them */
    size_t found, pages, retried, failed;
    unsigned long long bytes;
};

/* A worker, with the page it has fetched last. */
struct worker {
    struct crawl *crawl;
    iora_stream *stream; /* NULL: not connected */
    int status;
    bool is_html, is_last;
    char location[PATH_LIMIT];
    char *body; /* followed by a NUL */
    size_t size, room;
};

/* ---- HTTP ------------------------------------------------------------------------------------- */

/* Read a line, without its end. */
static int read_line(iora_stream *stream, char **line)
{
    int n = iora_readline(stream, line);
    if (n < 0)
        return n;
    if (n == 0 || (*line)[n - 1] != '\n')
        return IORA_E_INCOMPLETE;
    (*line)[n > 1 && (*line)[n - 2] == '\r' ? n - 2 : n - 1] = '\0';
    return 0;
}

static int make_room(struct worker *w, unsigned long long n)
{
    if (n > BODY_LIMIT || w->size + n > BODY_LIMIT)
        return -EFBIG;
    if (w->size + n < w->room)
        return 0;
    size_t room = 2 * (w->size + (size_t)n) + 1;
    char *body = realloc(w->body, room);
    if (body == NULL)
        return -ENOMEM;
    w->body = body;
    w->room = room;
    return 0;
}

/* Read n bytes more of the body. */
static int read_piece(struct worker *w, unsigned long long n)
{
    int rc = make_room(w, n);
    if (rc == 0)
        rc = iora_read_exactly(w->stream, w->body + w->size, (size_t)n);
    if (rc == 0)
        w->size += (size_t)n;
    return rc;
}

/* Each chunk has its size in a line before it and an empty line behind it; lines may follow the last. */
static int read_chunks(struct worker *w)
{
    unsigned long long n;
    char *line, *end;
    int rc;

    do {
        if ((rc = read_line(w->stream, &line)) < 0)
            return rc;
        n = strtoull(line, &end, 16);
        if (!isxdigit((unsigned char)*line) || (*end != '\0' && *end != ';' && *end != ' '))
            return -EPROTO;
        if (n > 0 && ((rc = read_piece(w, n)) < 0 || (rc = read_line(w->stream, &line)) < 0))
            return rc;
        if (n > 0 && *line != '\0')
            return -EPROTO;
    } while (n > 0);
    do
        rc = read_line(w->stream, &line);
    while (rc == 0 && *line != '\0');
    return rc;
}

static int read_to_end(struct worker *w)
{
    int rc;

    w->is_last = true;
    while ((rc = make_room(w, 4096)) == 0 &&
           (rc = iora_read(w->stream, w->body + w->size, w->room - w->size - 1)) > 0)
        w->size += (size_t)rc;
    return rc;
}

/* The value of a header, if the line is of that name, else NULL. */
static char *value_of(char *line, const char *name)
{
    size_t n = strlen(name);
    if (strncasecmp(line, name, n) != 0 || line[n] != ':')
        return NULL;
    return line + n + 1 + strspn(line + n + 1, " \t");
}

static int read_answer(struct worker *w)
{
    unsigned long long length = 0;
    bool has_length = false, is_chunked = false;
    char *line, *value;

    int rc = read_line(w->stream, &line);
    if (rc == 0 && sscanf(line, "HTTP/1.%*1[01] %3d", &w->status) != 1)
        return -EPROTO;
    w->is_last = rc == 0 && line[7] == '0';
    while (rc == 0 && (rc = read_line(w->stream, &line)) == 0 && *line != '\0') {
        if ((value = value_of(line, "Content-Length")) != NULL) {
            has_length = true;
            length = strtoull(value, NULL, 10);
        } else if ((value = value_of(line, "Transfer-Encoding")) != NULL) {
            is_chunked = strcasestr(value, "chunked") != NULL;
        } else if ((value = value_of(line, "Connection")) != NULL) {
            w->is_last = strcasecmp(value, "keep-alive") != 0;
        } else if ((value = value_of(line, "Content-Type")) != NULL) {
            w->is_html = strncasecmp(value, "text/html", 9) == 0;
        } else if ((value = value_of(line, "Location")) != NULL && strlen(value) < PATH_LIMIT) {
            strcpy(w->location, value);
        }
    }
    if (rc < 0 || w->status < 200 || w->status == 204 || w->status == 304)
        return rc;
    return is_chunked ? read_chunks(w) : has_length ? read_piece(w, length) : read_to_end(w);
}

static void hang_up(struct worker *w)
{
    if (w->stream != NULL)
        iora_stream_abort(w->stream);
    w->stream = NULL;
}

/* Fetch a page into the worker, whatever its status. */
static int fetch(struct worker *w, const char *path)
{
    char request[PATH_LIMIT + 512];
    int rc = 0;

    w->status = 0;
    w->size = 0;
    w->is_html = false;
    w->location[0] = '\0';
    if (w->stream == NULL)
        rc = iora_open_connection(w->crawl->host, w->crawl->port, NULL, &w->stream);
    if (rc < 0)
        return rc;
    int n = sprintf(request,
                    "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: iora-crawler\r\n"
                    "Accept: text/html\r\n\r\n",
                    path, w->crawl->authority);
    rc = iora_write(w->stream, request, (size_t)n);
    while (rc == 0 && w->status < 200) /* before the answer there may be others: 103 Early Hints */
        rc = read_answer(w);
    if (rc == 0)
        rc = make_room(w, 0);
    if (rc == 0)
        w->body[w->size] = '\0';
    if (rc < 0 || w->is_last)
        hang_up(w);
    return rc;
}

/* The same, several times if need be. */
static int fetch_patiently(struct worker *w, const char *path)
{
    for (int attempt = 1;; attempt++) {
        bool was_kept = w->stream != NULL;
        int rc = iora_wait_for(fetch(w, path), patience);
        bool try_again = rc < 0 ? rc != -ECANCELED && rc != -EFBIG && rc != -ENOMEM
                                : w->status >= 500 || w->status == 429;
        if (!try_again || attempt == ATTEMPTS)
            return rc;
        if (rc < 0 && was_kept)
            continue; /* the server has closed it meanwhile, as it may */
        w->crawl->retried++;
        rc = iora_sleep(iora_ms(50 << attempt));
        if (rc < 0)
            return rc;
    }
}

/* ---- links ------------------------------------------------------------------------------------ */

#define BLANKS " \t\r\n\f"

/* Take the dots out of a path: "/a/./b/../c" is "/a/c". */
static void remove_dots(char *path)
{
    char *out = path;
    const char *in = path;

    while (*in == '/') {
        size_t n = 1 + strcspn(in + 1, "/?");
        bool is_dot = n == 2 && in[1] == '.';
        bool is_two = n == 3 && in[1] == '.' && in[2] == '.';
        if (is_two)
            while (out > path && *--out != '/')
                continue;
        if (!is_dot && !is_two) {
            memmove(out, in, n);
            out += n;
        } else if (in[n] != '/') {
            *out++ = '/';
        }
        in += n;
    }
    memmove(out, in, strlen(in) + 1);
}

/* Write to `path` where a link leads to that stands on the page `base`. False if that is not a page of
 * this site. */
static bool resolve(const struct crawl *crawl, const char *base, const char *link, char *path)
{
    link += strspn(link, BLANKS);
    size_t scheme =
        strspn(link, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-.0123456789");
    size_t base_length = 0;

    if (link[scheme] == ':') {
        if (strncasecmp(link, "http://", 7) != 0)
            return false;
        link += 5;
    }
    if (strncmp(link, "//", 2) == 0) {
        size_t n = strcspn(link + 2, "/?#");
        if (n != strlen(crawl->authority) || strncasecmp(link + 2, crawl->authority, n) != 0)
            return false;
        link += 2 + n;
        base = "/"; /* if nothing follows */
    }
    size_t length = strcspn(link, "#" BLANKS);
    if (link[length + strspn(link + length, BLANKS)] != '\0' && link[length] != '#')
        return false; /* a blank within would end the request's line */
    if (*link == '?')
        base_length = strcspn(base, "?");
    else if (*link != '/')
        for (size_t i = 0; base[i] != '\0' && base[i] != '?'; i++)
            if (base[i] == '/')
                base_length = i + 1;
    if (length == 0 && strcmp(base, "/") != 0)
        return false; /* a place on the same page */
    if (base_length + length >= PATH_LIMIT)
        return false;
    sprintf(path, "%.*s%.*s", (int)base_length, base, (int)length, link);
    remove_dots(path);
    return true;
}

static int compare_paths(const void *a, const void *b) { return strcmp(a, b); }

/* Have a path fetched, unless it was found before. */
static int add(struct crawl *crawl, const char *path)
{
    if (crawl->found == PAGES_LIMIT || tfind(path, &crawl->seen, compare_paths) != NULL)
        return 0;
    char *copy = strdup(path);
    if (copy == NULL || tsearch(copy, &crawl->seen, compare_paths) == NULL) {
        free(copy);
        return -ENOMEM;
    }
    crawl->found++;
    return iora_queue_put_nowait(&crawl->paths, &copy);
}

static int add_link(struct crawl *crawl, const char *base, const char *link)
{
    char path[PATH_LIMIT];
    return resolve(crawl, base, link, path) ? add(crawl, path) : 0;
}

/* Find the value of an attribute, whose name ends at `p`. Returns what follows it. */
static const char *find_value(const char *p, const char **value, size_t *length)
{
    *value = NULL;
    p += strspn(p, BLANKS);
    if (*p != '=')
        return p;
    p += 1 + strspn(p + 1, BLANKS);
    const char quote[] = {*p, '\0'};
    bool is_quoted = *p == '"' || *p == '\'';
    *value = p += is_quoted;
    *length = strcspn(p, is_quoted ? quote : BLANKS ">");
    p += *length;
    return is_quoted && *p != '\0' ? p + 1 : p;
}

/* Add the link that a value is. Of the entities only &amp; stands in links. */
static int add_value(struct crawl *crawl, const char *base, const char *value, size_t length)
{
    char link[PATH_LIMIT];
    char *out = link;

    if (length >= sizeof link)
        return 0;
    for (size_t i = 0; i < length; i++) {
        *out++ = value[i];
        if (strncmp(value + i, "&amp;", 5) == 0)
            i += 4;
    }
    *out = '\0';
    return add_link(crawl, base, link);
}

/* Add the links of all <a href=...> of a page. */
static int add_links(struct crawl *crawl, const char *base, const char *p)
{
    const char *value;
    size_t length;
    int rc = 0;

    while (rc == 0 && (p = strchr(p, '<')) != NULL) {
        if (strncmp(p, "<!--", 4) == 0 && (p = strstr(p, "-->")) == NULL)
            break;
        bool is_link = strncasecmp(p, "<a", 2) == 0 && strspn(p + 2, BLANKS) > 0;
        p++;
        if (!is_link)
            continue;
        p++;
        while (rc == 0 && *(p += strspn(p, BLANKS "/=\"'")) != '>' && *p != '\0') {
            const char *name = p;
            p += strcspn(p, BLANKS "/=>");
            bool is_href = p - name == 4 && strncasecmp(name, "href", 4) == 0;
            p = find_value(p, &value, &length);
            if (is_href && value != NULL && *p != '\0')
                rc = add_value(crawl, base, value, length);
        }
    }
    return rc;
}

/* ---- the crawl -------------------------------------------------------------------------------- */

static void say_failed(struct crawl *crawl, const char *path, const char *why)
{
    crawl->failed++;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
    printf("  %s: %s\n", path, why);
}

static int visit(struct worker *w, const char *path)
{
    char status[32];

    int rc = fetch_patiently(w, path);
    if (rc == -ECANCELED || rc == -ENOMEM)
        return rc;
    if (rc < 0) {
        say_failed(w->crawl, path, iora_strerror(rc));
        return 0;
    }
    if (w->status / 100 == 3 && w->location[0] != '\0')
        return add_link(w->crawl, path, w->location);
    if (w->status != 200) {
        sprintf(status, "status %d", w->status);
        say_failed(w->crawl, path, status);
        return 0;
    }
    w->crawl->pages++;
    w->crawl->bytes += w->size;
    return w->is_html ? add_links(w->crawl, path, w->body) : 0;
}

static int work(struct crawl *crawl)
{
    struct worker w = {.crawl = crawl};
    char *path;
    int rc;

    while ((rc = iora_queue_get(&crawl->paths, &path)) == 0) {
        rc = visit(&w, path);
        (void)iora_queue_task_done(&crawl->paths);
        if (rc < 0)
            break;
    }
    hang_up(&w);
    free(w.body);
    return rc == IORA_E_SHUTDOWN ? 0 : rc;
}
IORA_ASYNC(work, struct crawl *);

static int show_progress(struct crawl *crawl)
{
    int rc;

    if (!isatty(STDERR_FILENO))
        return 0;
    while ((rc = iora_sleep(iora_ms(100))) == 0)
        fprintf(stderr, "\r\033[K%zu pages, %zu in the queue, %llu bytes", crawl->pages,
                iora_queue_size(&crawl->paths), crawl->bytes);
    fprintf(stderr, "\r\033[K");
    return rc;
}
IORA_ASYNC(show_progress, struct crawl *);

/* Fetch a page and all that can be reached from it. */
static int fetch_all(struct crawl *crawl, const char *path, int jobs)
{
    int rc = add_link(crawl, "/", path);
    if (rc < 0)
        return rc;
    IORA_GROUP(rc, workers) {
        for (int i = 0; i < jobs; i++)
            iora_group_go(&workers, work, crawl);
        rc = iora_queue_join(&crawl->paths);
        iora_queue_shutdown(&crawl->paths, false);
    }
    return rc;
}

static int crawl_site(struct crawl *crawl, const char *path, int jobs)
{
    iora_instant began = iora_now();
    iora_task progress = iora_go(show_progress, crawl);

    int rc = fetch_all(crawl, path, jobs);
    (void)iora_cancel(progress);
    (void)iora_await(progress);
    double s = iora_to_s(iora_between(began, iora_now()));
    printf("%zu pages, %llu bytes, %zu retried, %zu failed, ", crawl->pages, crawl->bytes,
           crawl->retried, crawl->failed);
    printf(s < 1 ? "%.0f ms\n" : "%.1f s\n", s < 1 ? s * 1000 : s);
    (void)iora_queue_destroy(&crawl->paths);
    tdestroy(crawl->seen, free);
    if (rc == 0 && crawl->pages == 0)
        return iora_fail(-EIO, "fetching any page of %s", crawl->authority);
    return rc;
}

/* Begin a crawl of the site of a URL, http://HOST[:PORT][/PATH]. Returns the path, or NULL. */
static const char *begin(struct crawl *crawl, const char *url)
{
    *crawl = (struct crawl){.port = 80, .paths = IORA_QUEUE_INIT(sizeof(char *), 0)};
    if (strncasecmp(url, "http://", 7) != 0)
        return NULL;
    url += 7;
    size_t n = strcspn(url, "/?#");
    if (n == 0 || n >= sizeof crawl->host)
        return NULL;
    sprintf(crawl->authority, "%.*s", (int)n, url);

    char *port = strrchr(crawl->authority, ':');
    if (port != NULL && strchr(port, ']') == NULL) { /* an IPv6 address has its own colons, in [] */
        char *end;
        unsigned long number = strtoul(port + 1, &end, 10);
        if (number == 0 || number > UINT16_MAX || *end != '\0')
            return NULL;
        crawl->port = (uint16_t)number;
        *port = '\0';
    }
    bool is_ipv6 = crawl->authority[0] == '[';
    strcpy(crawl->host, crawl->authority + is_ipv6);
    if (is_ipv6)
        crawl->host[strcspn(crawl->host, "]")] = '\0';
    if (crawl->port != 80)
        sprintf(crawl->authority + strlen(crawl->authority), ":%u", crawl->port);
    return url[n] == '/' ? url + n : "/";
}

static int crawl_url(const char *url, int jobs)
{
    struct crawl crawl;
    const char *path = begin(&crawl, url);
    if (path == NULL)
        return iora_fail(-EINVAL, "crawling %s, which is not http://HOST[:PORT][/PATH]", url);
    return crawl_site(&crawl, path, jobs);
}
IORA_ASYNC(crawl_url, const char *, int);

/* ---- a small site ------------------------------------------------------------------------------ */

enum { SITE_PAGES = 31 };

/* Page n links to pages 2n and 2n + 1, so that the site is a tree. Pages come in the three ways in which
 * HTTP says where a body ends. One of them fails every second time, and one is linked but not there. */
static int serve_page(iora_stream *client, int n)
{
    static bool fails;
    char body[512], answer[1024];

    if (n == 0)
        strcpy(answer,
               "HTTP/1.1 301 Moved Permanently\r\nLocation: 1\r\nContent-Length: 0\r\n\r\n");
    else if (n > SITE_PAGES)
        strcpy(answer, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    else if (n == 3 && (fails = !fails))
        strcpy(answer, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    else {
        int length = sprintf(body, "<title>Page %d</title> <a href='mailto:me'>Write to me</a>", n);
        if (2 * n <= SITE_PAGES + 1)
            length +=
                sprintf(body + length, "<a href=\"/%d\">one</a> <A class=x HREF=%d#top>two</A>",
                        2 * n, 2 * n + (2 * n < SITE_PAGES));
        int head = sprintf(answer, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n");
        if (n % 3 == 0)
            sprintf(answer + head, "Content-Length: %d\r\n\r\n%s", length, body);
        else if (n % 3 == 1)
            sprintf(answer + head,
                    "Transfer-Encoding: chunked\r\n\r\n8\r\n%.8s\r\n%x\r\n%s\r\n0\r\n\r\n", body,
                    (unsigned)length - 8, body + 8);
        else
            sprintf(answer + head, "Connection: close\r\n\r\n%s", body);
    }
    int rc = iora_write(client, answer, strlen(answer));
    return rc < 0 ? rc : strstr(answer, "Connection: close") == NULL;
}

static int serve(iora_stream *client, void *arg)
{
    char *head;
    int rc = 1;

    (void)arg;
    while (rc > 0 && (rc = iora_read_until(client, "\r\n\r\n", 4, &head)) > 0) {
        int n = atoi(head + strlen("GET /"));
        rc = iora_sleep(iora_ms(10));
        if (rc == 0)
            rc = serve_page(client, n);
    }
    return rc;
}

static int crawl_itself(void)
{
    iora_server *server;
    char *url;

    int rc = iora_start_server("127.0.0.1", 0, serve, NULL, NULL, &server);
    if (rc < 0)
        return rc;
    url = iora_sprintf("http://127.0.0.1:%u/", iora_server_port(server));
    if (url == NULL)
        return -ENOMEM;
    printf("20 at a time:\n");
    rc = crawl_url(url, JOBS);
    if (rc == 0) {
        printf("One after another:\n");
        rc = crawl_url(url, 1);
    }
    free(url);
    return rc < 0 ? rc : iora_server_stop(server, iora_s(1));
}
IORA_ASYNC(crawl_itself);

int main(int argc, char **argv)
{
    int jobs = JOBS;
    int i = 1;

    if (argc == 1)
        return iora_main(crawl_itself);
    if (strcmp(argv[i], "--sequential") == 0) {
        jobs = 1;
        i++;
    } else if (strcmp(argv[i], "--jobs") == 0 && argc > 2) {
        jobs = atoi(argv[i + 1]);
        i += 2;
    }
    if (i != argc - 1 || jobs < 1 || jobs > 10000) {
        fprintf(stderr, "usage: 08_crawler [--jobs N | --sequential] URL\n");
        return 2;
    }
    return iora_main(crawl_url, argv[i], jobs);
}
