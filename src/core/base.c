/* core/base.c -- the version, and the names of errors. */
#include <iora/base.h>

#include <string.h>

const char *
iora_version(void)
{
    return IORA_VERSION;
}

static const struct {
    int code;
    const char *name;
    const char *text;
} own_errors[] = {
    {IORA_E_NO_LOOP, "IORA_E_NO_LOOP", "no event loop is running in this thread"},
    {IORA_E_NO_TASK, "IORA_E_NO_TASK", "only a task can wait, and none is running here"},
    {IORA_E_TASK_CANCELED, "IORA_E_TASK_CANCELED", "the awaited task was cancelled"},
    {IORA_E_CLOSED, "IORA_E_CLOSED", "the object is closed"},
    {IORA_E_SHUTDOWN, "IORA_E_SHUTDOWN", "the queue is shut down"},
    {IORA_E_BROKEN, "IORA_E_BROKEN", "the barrier is broken"},
    {IORA_E_FORKED, "IORA_E_FORKED", "the event loop belongs to the parent process"},
    {IORA_E_WRONG_THREAD, "IORA_E_WRONG_THREAD", "the object belongs to another thread's event loop"},
    {IORA_E_STACK_LIMIT, "IORA_E_STACK_LIMIT", "no further stack can be guarded on this kernel"},
    {IORA_E_LIMIT, "IORA_E_LIMIT", "what was to be read is longer than its limit"},
    {IORA_E_INCOMPLETE, "IORA_E_INCOMPLETE", "the stream ended too early"},
    {IORA_E_TORN, "IORA_E_TORN", "a write was cancelled half-way"},
    {IORA_E_NAME, "IORA_E_NAME", "there is no such host"},
    {IORA_E_NAME_AGAIN, "IORA_E_NAME_AGAIN", "the host could not be looked up for now"},
};

enum { OWN_ERRORS = sizeof own_errors / sizeof own_errors[0] };

const char *
iora_err_name(int code)
{
    const char *name;

    if (code >= 0)
        return "OK";
    for (int i = 0; i < OWN_ERRORS; i++) {
        if (own_errors[i].code == code)
            return own_errors[i].name;
    }
    name = code >= -4095 ? strerrorname_np(-code) : NULL;
    return name != NULL ? name : "UNKNOWN";
}

const char *
iora_strerror(int code)
{
    const char *text;

    if (code >= 0)
        return "success";
    for (int i = 0; i < OWN_ERRORS; i++) {
        if (own_errors[i].code == code)
            return own_errors[i].text;
    }
    text = code >= -4095 ? strerrordesc_np(-code) : NULL;
    return text != NULL ? text : "unknown error";
}
