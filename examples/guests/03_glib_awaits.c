/* A GLib program whose callbacks await.
 *
 * A callback of GLib's must return at once, so whatever takes time goes on in another callback, and that in
 * another. Here a callback starts a task and returns, and the task is written straight down: it sleeps, and it
 * awaits what GIO does asynchronously, by a future that GIO's callback sets. A second callback, a button to cancel
 * for one, cancels the task, which cancels what GIO does for it.
 */
#include "glib_source.h"

#include <gio/gio.h>
#include <stdio.h>
#include <string.h>

/* ---- awaiting GIO ---- */

/* What GIO's callback leaves for the task that waits. */
struct gio_wait {
    iora_future done;
    GCancellable *stop;
    GAsyncResult *result;
};

static void on_gio_done(GObject *source, GAsyncResult *result, gpointer arg)
{
    struct gio_wait *wait = arg;

    (void)source;
    wait->result = g_object_ref(result);
    iora_future_set(&wait->done, 0, NULL);
}

/* GIO calls back in any case, and what it then writes to is the task's: so also a cancelled task waits for it. */
static int gio_await(struct gio_wait *wait)
{
    int rc = iora_future_await(&wait->done, NULL);
    if (rc < 0) {
        g_cancellable_cancel(wait->stop);
        (void)iora_cleanup(iora_future_await(&wait->done, NULL), IORA_FOREVER);
    }
    return rc;
}

static int rc_of(GError *error)
{
    int rc = iora_fail(-EIO, "%s", error->message);
    g_error_free(error);
    return rc;
}

/* The text of a file, to be freed by g_free(). */
static int read_file(GFile *file, char **text)
{
    struct gio_wait wait = {.stop = g_cancellable_new()};
    GError *error = NULL;

    g_file_load_contents_async(file, wait.stop, on_gio_done, &wait);
    int rc = gio_await(&wait);
    if (!g_file_load_contents_finish(file, wait.result, text, NULL, NULL, &error))
        rc = rc < 0 ? (g_error_free(error), rc) : rc_of(error);
    else if (rc < 0)
        g_free(*text); /* cancelled, and yet it was read */
    g_object_unref(wait.result);
    g_object_unref(wait.stop);
    return rc;
}

static int write_file(GFile *file, const char *text)
{
    struct gio_wait wait = {.stop = g_cancellable_new()};
    GError *error = NULL;

    g_file_replace_contents_async(file, text, strlen(text), NULL, FALSE, G_FILE_CREATE_NONE, wait.stop,
                                  on_gio_done, &wait);
    int rc = gio_await(&wait);
    if (!g_file_replace_contents_finish(file, wait.result, NULL, &error))
        rc = rc < 0 ? (g_error_free(error), rc) : rc_of(error);
    g_object_unref(wait.result);
    g_object_unref(wait.stop);
    return rc;
}

/* ---- the program ---- */

struct app {
    iora_loop *loop;
    GMainLoop *main_loop;
    GFile *notes;
    iora_task counting;
    int status;
};

static int save_and_load(struct app *app)
{
    char *text;

    int rc = write_file(app->notes, "written by one callback, and read by it");
    if (rc == 0) {
        printf("  saved\n");
        rc = iora_sleep(iora_ms(100));
    }
    if (rc == 0)
        rc = read_file(app->notes, &text);
    if (rc == 0) {
        printf("  loaded: %s\n", text);
        g_free(text);
    }
    app->status = rc < 0;
    return rc;
}

static int count_for_ever(void)
{
    int n = 0, rc;

    while ((rc = iora_sleep(iora_ms(10))) == 0)
        n++;
    printf("  counting was cancelled, %s\n", n > 0 ? "after a while" : "at once");
    return rc;
}
IORA_ASYNC(count_for_ever);

static gboolean on_count_clicked(gpointer arg)
{
    struct app *app = arg;

    app->counting = iora_go_in(app->loop, count_for_ever);
    return G_SOURCE_REMOVE;
}

static gboolean on_cancel_clicked(gpointer arg)
{
    struct app *app = arg;

    iora_cancel(app->counting);
    return G_SOURCE_REMOVE;
}

static int notes_clicked(struct app *app)
{
    int rc = save_and_load(app);
    if (rc == 0) {
        g_idle_add(on_count_clicked, app); /* in a program with windows these are clicks */
        g_timeout_add(200, on_cancel_clicked, app);
        rc = iora_sleep(iora_ms(500));
    }
    g_main_loop_quit(app->main_loop);
    return rc;
}
IORA_ASYNC(notes_clicked, struct app *);

static gboolean on_notes_clicked(gpointer arg)
{
    struct app *app = arg;

    if (!iora_task_is_valid(iora_go_in(app->loop, notes_clicked, app)))
        g_main_loop_quit(app->main_loop);
    printf("  the callback has returned\n");
    return G_SOURCE_REMOVE;
}

int main(void)
{
    struct app app = {.status = 1};
    GFileIOStream *stream;

    if (iora_loop_new(NULL, &app.loop) < 0 ||
        (app.notes = g_file_new_tmp("notes-XXXXXX", &stream, NULL)) == NULL)
        return 1;
    g_object_unref(stream);
    app.main_loop = g_main_loop_new(NULL, FALSE);
    GSource *source = iora_source_new(app.loop);
    g_source_attach(source, NULL);

    printf("In callbacks of GLib's:\n");
    g_idle_add(on_notes_clicked, &app);
    g_main_loop_run(app.main_loop);

    g_source_destroy(source);
    g_source_unref(source);
    g_file_delete(app.notes, NULL, NULL);
    g_object_unref(app.notes);
    g_main_loop_unref(app.main_loop);
    return iora_loop_free(app.loop) == 0 ? app.status : 1;
}
