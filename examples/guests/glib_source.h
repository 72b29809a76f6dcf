/* An iora loop as a source of GLib's main loop: take this file into your program.
 *
 *     GSource *const source = iora_source_new(loop);
 *     g_source_attach(source, NULL);                 of the default context, or yours
 *     ...
 *     g_source_destroy(source);                      before iora_loop_free(loop)
 *     g_source_unref(source);
 *
 * GLib asks before it sleeps how long it may (prepare), sleeps on the loop's descriptor among others, and
 * asks afterwards whether there is something to do (check). A turn of the loop is one dispatch, so its
 * tasks take turns with all else of its priority, and g_source_set_priority() says which that is.
 */
#ifndef GLIB_SOURCE_H
#define GLIB_SOURCE_H

#include <glib.h>
#include <iora.h>

struct iora_source {
    GSource base;
    iora_loop *loop;
    gpointer fd;
};

static inline gboolean iora_source_prepare(GSource *base, gint *timeout_ms)
{
    struct iora_source *source = (struct iora_source *)base;
    int64_t ns = iora_to_ns(iora_loop_timeout(source->loop));
    int64_t ms = ns / 1000000 + (ns % 1000000 > 0); /* up: a timer is never early */

    *timeout_ms = ns == iora_to_ns(IORA_FOREVER) ? -1 : (gint)MIN(ms, G_MAXINT);
    return ns == 0;
}

static inline gboolean iora_source_check(GSource *base)
{
    struct iora_source *source = (struct iora_source *)base;

    return g_source_query_unix_fd(base, source->fd) != 0 ||
           iora_to_ns(iora_loop_timeout(source->loop)) == 0;
}

static inline gboolean iora_source_dispatch(GSource *base, GSourceFunc unused, gpointer data)
{
    struct iora_source *source = (struct iora_source *)base;
    int rc = iora_loop_run_once(source->loop, iora_ns(0));

    (void)unused;
    (void)data;
    if (rc < 0)
        g_warning("a turn of iora's loop: %s", iora_strerror(rc)); /* nothing is lost: the next may go well */
    return G_SOURCE_CONTINUE;
}

static inline GSource *iora_source_new(iora_loop *loop)
{
    static GSourceFuncs functions = {
        .prepare = iora_source_prepare,
        .check = iora_source_check,
        .dispatch = iora_source_dispatch,
    };
    GSource *base = g_source_new(&functions, sizeof(struct iora_source));
    struct iora_source *source = (struct iora_source *)base;

    source->loop = loop;
    source->fd = g_source_add_unix_fd(base, iora_loop_fd(loop), G_IO_IN);
    g_source_set_name(base, "iora");
    return base;
}

#endif
