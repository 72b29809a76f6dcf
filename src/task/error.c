/* task/error.c -- what went wrong, for people.
 *
 * A code says what, a *record* says where and why: an iora_error with its text behind it, owning its cause
 * and its next. A task has at most one, the latest. Awaiting a task that failed makes a record of the waiter's
 * with the other's as cause, so that the chain leads from where the error shows to where it arose; a group
 * links its members' records through `next`.
 *
 * Records are told to people and never decide anything: without memory there is none.
 */
#include "task/task.h"

#include "sys/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct iora__error_record {
    iora_error error;
    char task_name[48];
    char what[];
};

static struct iora__error_record *
record_of(const iora_error *error)
{
    return iora__container_of(error, struct iora__error_record, error);
}

/* How many causes a record of iora_fail() keeps: a task that goes on failing with one code would collect them
 * for ever. */
enum { CAUSES_MAX = 32 };

/* Free a record and all it owns, without recursion: causes are put in front of the list. */
void
iora__error_free(struct iora__error_record *record)
{
    const iora_error *list = record != NULL ? &record->error : NULL;

    while (list != NULL) {
        const iora_error *const error = list;

        list = error->next;
        if (error->cause != NULL) {
            iora_error *last = &record_of(error->cause)->error;

            while (last->next != NULL)
                last = &record_of(last->next)->error;
            last->next = list;
            list = error->cause;
        }
        iora__free(record_of(error));
    }
}

static struct iora__error_record *
make_record(const struct iora__task *task, int code, const char *format, va_list args)
{
    va_list again;
    int length;
    struct iora__error_record *record;

    va_copy(again, args);
    length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0 || (record = iora__alloc(sizeof *record + (size_t)length + 1)) == NULL)
        return NULL;
    (void)vsnprintf(record->what, (size_t)length + 1, format, args);
    (void)snprintf(record->task_name, sizeof record->task_name, "%s", task->name);
    record->error = (iora_error){.code = code,
                                 .what = record->what,
                                 .task = record->task_name,
                                 .spawned = task->site,
                                 .task_id = task->id};
    return record;
}

static void
replace(struct iora__task *task, struct iora__error_record *record)
{
    iora__error_free(task->error);
    task->error = record;
}

/* Whether the task's record is of what it ended with, and not of something it got over. */
static bool
tells_its_end(const struct iora__task *task)
{
    return task->error != NULL && task->error->error.code == task->result;
}

void
iora__error_note(struct iora__task *task, int code, struct iora__task *cause, const char *format,
                 ...)
{
    struct iora__error_record *record;
    va_list args;

    va_start(args, format);
    record = make_record(task, code, format, args);
    va_end(args);
    if (record != NULL && cause != NULL && tells_its_end(cause)) {
        record->error.cause = &cause->error->error;
        cause->error = NULL;
    }
    replace(task, record);
}

/* Let go of what lies too far behind a record. */
static void
cut_causes(iora_error *error)
{
    for (int depth = 0; error->cause != NULL; depth++) {
        struct iora__error_record *const cause = record_of(error->cause);

        if (depth == CAUSES_MAX) {
            error->cause = NULL;
            iora__error_free(cause);
            return;
        }
        error = &cause->error;
    }
}

int
iora_fail(int code, const char *format, ...)
{
    struct iora__task *const task = iora__self();
    struct iora__error_record *record;
    va_list args;

    if (task == NULL)
        return code;
    va_start(args, format);
    record = make_record(task, code, format, args);
    va_end(args);
    if (record != NULL && task->error != NULL && task->error->error.code == code) {
        record->error.cause = &task->error->error;
        task->error = NULL;
        cut_causes(&record->error);
    }
    replace(task, record); /* without memory by none: the old one is of something else */
    return code;
}

const iora_error *
iora_error_last(void)
{
    const struct iora__task *const task = iora__self();

    return task != NULL && task->error != NULL ? &task->error->error : NULL;
}

/* The record with which a task ends: the one it made of this failure, or a plain one. */
struct iora__error_record *
iora__error_of_end(struct iora__task *task)
{
    if (!tells_its_end(task)) {
        replace(task, NULL);
        iora__error_note(task, task->result, NULL, "%s", iora_strerror(task->result));
    }
    return task->error;
}

/* Put a record, which may lead a list itself, behind the list's last. */
void
iora__error_append(iora_error **list, iora_error **last, struct iora__error_record *record)
{
    if (record == NULL)
        return;
    if (*list == NULL)
        *list = &record->error;
    else
        (*last)->next = &record->error;
    *last = &record->error;
    while ((*last)->next != NULL)
        *last = &record_of((*last)->next)->error;
}

/* The list without its first record if that says no more than `own`, which came of awaiting the same task. */
static iora_error *
without_what_is_told(iora_error *list, const iora_error *own)
{
    iora_error *rest;

    if (own->cause == NULL || own->cause->task_id != list->task_id || list->cause != NULL)
        return list;
    rest = list->next != NULL ? &record_of(list->next)->error : NULL;
    list->next = NULL;
    iora__error_free(record_of(list));
    return rest;
}

/* The group's end: what its members recorded becomes the task's record, in order of time with what the task
 * itself recorded of `own_code`, the block's failure. `first_code` is the group's. */
void
iora__error_give(struct iora__task *task, iora_error *list, int own_code, int first_code)
{
    const bool has_own =
        own_code < 0 && task->error != NULL && task->error->error.code == own_code;
    struct iora__error_record *const own = has_own ? task->error : NULL;
    iora_error *all = NULL, *last = NULL;

    if (list == NULL)
        return;
    if (has_own && own_code == first_code) {
        list = without_what_is_told(list, &own->error);
        iora__error_append(&all, &last, own);
        iora__error_append(&all, &last, list != NULL ? record_of(list) : NULL);
    } else {
        iora__error_append(&all, &last, record_of(list));
        iora__error_append(&all, &last, own);
    }
    if (has_own)
        task->error = NULL;
    replace(task, record_of(all));
}

/* ---- as text ------------------------------------------------------------------------------------------------- */

/* snprintf at the end of what is there. */
static void __attribute__((format(printf, 3, 4)))
append(char *text, size_t size, const char *format, ...)
{
    const size_t used = strlen(text);
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text + used, size - used, format, args);
    va_end(args);
}

static void
append_chain(char *text, size_t size, const iora_error *error)
{
    for (const char *between = ""; error != NULL; error = error->cause, between = " <- ")
        append(text, size, "%s%s", between, error->what);
}

void
iora__error_describe(const struct iora__task *task, char *text, size_t size)
{
    const iora_error *const error = task->error != NULL ? &task->error->error : NULL;

    text[0] = '\0';
    if (error != NULL && error->code == task->result &&
        (error->cause != NULL || strcmp(error->what, iora_strerror(error->code)) != 0))
        append_chain(text, size, error);
}

void
iora__error_report(struct iora__task *task, const char *how)
{
    char text[512] = "";

    append(text, sizeof text, "task %llu \"%s\" (spawned at %s) failed with %s (%s) %s",
           (unsigned long long)task->id, task->name, task->site, iora_err_name(task->result),
           iora_strerror(task->result), how);
    if (task->error != NULL) {
        append(text, sizeof text, ": ");
        append_chain(text, sizeof text, &task->error->error);
    }
    iora__loop_report_error(task->loop, task->result, text);
}

char *
iora_sprintf(const char *format, ...)
{
    va_list args, again;
    int length;
    char *text;

    va_start(args, format);
    va_copy(again, args);
    length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    /* malloc itself, since the caller gives it to free(). */
    text = length < 0 ? NULL : malloc((size_t)length + 1);
    if (text != NULL)
        (void)vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);
    return text;
}
