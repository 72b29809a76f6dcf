/* iora inside GLib's main loop.
 *
 * The program's thread is GLib's, as in anything with GTK. glib_source.h makes a source of GLib's of an iora
 * loop; from then on tasks run between all else that GLib does, and nothing of either waits for the other.
 * Here a server and its client are tasks, and a timeout of GLib's ticks beside them. iora_go_in() starts the
 * first task, for no task is there yet that could.
 */
#include "glib_source.h"

#include <stdio.h>
#include <string.h>

static int ticks;

static gboolean tick(gpointer unused)
{
    (void)unused;
    ticks++;
    return G_SOURCE_CONTINUE;
}

static int echo(iora_stream *client, void *arg)
{
    char *line;
    int rc;

    (void)arg;
    while ((rc = iora_readline(client, &line)) > 0 && (rc = iora_write(client, line, rc)) == 0)
        continue;
    return rc;
}

static int talk(uint16_t port)
{
    const char *words[] = {"hello\n", "from\n", "GLib\n"};
    iora_stream *stream;
    char *line;

    int rc = iora_open_connection("127.0.0.1", port, NULL, &stream);
    if (rc < 0)
        return rc;
    for (int i = 0; i < 3 && rc >= 0; i++) {
        rc = iora_sleep(iora_ms(100));
        if (rc == 0)
            rc = iora_write(stream, words[i], strlen(words[i]));
        if (rc == 0)
            rc = iora_readline(stream, &line);
        if (rc > 0)
            printf("  echo: %s", line);
    }
    iora_stream_close(stream);
    return rc < 0 ? rc : 0;
}

static int serve_and_talk(GMainLoop *main_loop)
{
    iora_server *server;

    int rc = iora_start_server("127.0.0.1", 0, echo, NULL, NULL, &server);
    if (rc == 0) {
        rc = talk(iora_server_port(server));
        iora_server_stop(server, iora_s(1));
    }
    g_main_loop_quit(main_loop);
    return rc;
}
IORA_ASYNC(serve_and_talk, GMainLoop *);

int main(void)
{
    iora_loop *loop;
    if (iora_loop_new(NULL, &loop) < 0)
        return 1;
    GMainLoop *main_loop = g_main_loop_new(NULL, FALSE);
    GSource *source = iora_source_new(loop);
    g_source_attach(source, NULL);
    g_timeout_add(10, tick, NULL);

    printf("In GLib's main loop:\n");
    iora_task task = iora_go_in(loop, serve_and_talk, main_loop);
    if (iora_task_is_valid(task))
        g_main_loop_run(main_loop);
    printf("GLib's timeout went on meanwhile: %s\n", ticks > 1 ? "yes" : "no");

    g_source_destroy(source);
    g_source_unref(source);
    g_main_loop_unref(main_loop);
    return iora_loop_free(loop) == 0 ? 0 : 1;
}
