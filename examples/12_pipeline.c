/* A pipeline of generators over the lines of a socket.
 *
 * iora_lines() makes lines of what comes in; entries() lets pass those that say something;
 * readings() makes values of them; sum() adds these up. Each asks the one before it for one more when
 * it is asked itself, so nothing is kept but one line, and the sender goes no faster than the sums.
 *
 * Leaving the last loop ends them all: each is closed, and closes the one before it.
 */
#include <iora.h>
#include <stdio.h>
#include <string.h>

struct reading {
    char place[16];
    double value;
};

/* The lines without their ends, and without the empty ones and the comments. A line is the stream's
 * memory, good until the next one is read: which is when the consumer asks for it. */
static int entries(char **entry, iora_stream *stream)
{
    char *line;
    int rc;

    iora_for_each(rc, iora_lines, &line, stream) {
        line[strcspn(line, "\r\n")] = '\0';
        if (*line == '\0' || *line == '#')
            continue;
        int emitted = iora_emit(entry, line);
        if (emitted < 0)
            return emitted;
    }
    return rc;
}
IORA_ASYNC(entries, char **, iora_stream *);

static int readings(struct reading *out, iora_stream *stream)
{
    struct reading reading;
    char *entry;
    int rc;

    iora_for_each(rc, entries, &entry, stream) {
        if (sscanf(entry, "%15s %lf", reading.place, &reading.value) != 2)
            return iora_fail(-EBADMSG, "reading \"%s\"", entry);
        int emitted = iora_emit(out, reading);
        if (emitted < 0)
            return emitted;
    }
    return rc;
}
IORA_ASYNC(readings, struct reading *, iora_stream *);

/* Add up the readings of each place, as far as the first of a place named "end". */
static int sum(iora_stream *stream)
{
    struct {
        char place[16];
        double sum;
        int count;
    } sums[8];
    struct reading reading;
    int places = 0;
    int rc;

    iora_for_each(rc, readings, &reading, stream) {
        int i = 0;
        if (strcmp(reading.place, "end") == 0)
            break;
        while (i < places && strcmp(sums[i].place, reading.place) != 0)
            i++;
        if (i == 8)
            return -ENOSPC;
        if (i == places) {
            strcpy(sums[places].place, reading.place);
            sums[places].sum = sums[places].count = 0;
            places++;
        }
        sums[i].sum += reading.value;
        sums[i].count++;
    }
    if (rc < 0)
        return rc;
    for (int i = 0; i < places; i++)
        printf("  %-8s %.1f on average, measured %d times\n", sums[i].place,
               sums[i].sum / sums[i].count, sums[i].count);
    return 0;
}

/* Somebody who measures, and sends as it comes: not by lines. */
static int send_in_pieces(iora_stream *stream, const char *text)
{
    size_t size = strlen(text);
    int rc = 0;

    for (size_t at = 0; at < size && rc == 0; at += 7) {
        rc = iora_write(stream, text + at, size - at < 7 ? size - at : 7);
        if (rc == 0)
            rc = iora_yield();
    }
    return rc < 0 ? rc : iora_write_eof(stream);
}
IORA_ASYNC(send_in_pieces, iora_stream *, const char *);

static int run_pipeline(const char *title, const char *text)
{
    iora_stream *from, *to;

    printf("%s:\n", title);
    int rc = iora_stream_pair(&from, &to);
    if (rc < 0)
        return rc;
    iora_task sender = iora_go(send_in_pieces, to, text);
    rc = sum(from);
    if (rc < 0)
        (void)iora_cancel(sender);
    int sent = iora_await(sender);
    (void)iora_stream_close(to);
    (void)iora_stream_close(from);
    return rc < 0 ? rc : sent;
}

static int amain(void)
{
    int rc = run_pipeline("To the end", "# place, degrees\n"
                                        "kitchen 20.5\n\ncellar 11\nkitchen 21.5\r\n"
                                        "attic 26\nattic 27\ncellar 12");
    if (rc == 0)
        rc = run_pipeline("As far as is wanted", "cellar 10\ncellar 15\nend 0\ncellar 1000000\n");
    if (rc == 0)
        rc = run_pipeline("With a mistake", "cellar 10\ncellar is cold\n");
    if (rc == -EBADMSG) {
        const iora_error *error = iora_error_last();
        while (error->cause != NULL)
            error = error->cause;
        printf("  %s: %s\n", error->what, iora_strerror(rc));
        rc = 0;
    }
    return rc;
}
IORA_ASYNC(amain);

int main(void) { return iora_main(amain); }
