/* ext/taskgroup.c -- asyncio.TaskGroup, as of 3.15 on every version.
 *
 *     made --- __aenter__ ---> entered --- __aexit__ ---> exiting --- no task is left ---> finished
 *       \                        |                           |
 *        cancel(): at entry      '--- abort ---> aborting <--'    all tasks are cancelled, none can be made
 *
 * Who aborts: a task that failed, the body by leaving with an exception, somebody who cancels the parent task, or
 * cancel(). In the first and the last case the body may still be running, so the parent is cancelled too; then
 * `parent_cancel_requested` is set, and the exit takes that one request back with uncancel(). If others are left the
 * cancellation goes on, and if there are errors it is renewed, so that whoever asked for it sees it: from 3.13 on, where
 * uncancel() can take that back. Before, a timeout round the group would leave a cancellation that nobody asked for.
 *
 * The exit acts when it is called. If no task is left it ends there, without a future and without suspending; else
 * what it returns waits for a future that the last task's done callback sets.
 *
 * What is kept for the exit (errors, the parent) is let go of as it ends: exceptions hold frames, which may hold the
 * group.
 */
#include "ext/taskgroup.h"

#include "ext/addresses.h"
#include "ext/asyncio.h"
#include "ext/awaitable.h"
#include "ext/compat.h"
#include "ext/function.h"
#include "ext/table.h"

#include <stddef.h>
#include <structmember.h>

typedef struct TaskGroup {
    PyObject_HEAD
    struct state *state;
    PyObject *loop;
    PyObject *parent;
    struct addresses tasks; /* those that are not done, with a reference to each */
    PyObject *errors;       /* a list; NULL when finished */
    PyObject *base_error;
    PyObject *on_completed; /* the future that the exit waits for */
    PyObject *on_task_done; /* the done callback of all tasks; NULL when there is none */
    PyObject *context;      /* for that */
    char is_entered, is_exiting, is_aborting, parent_cancel_requested, cancel_on_enter;
} TaskGroup;

/* A call of a method of asyncio's objects that answers nothing of interest. */
#define CHECK(call)                                                                                \
    do {                                                                                           \
        if ((call) < 0)                                                                            \
            return -1;                                                                             \
    } while (0)

static bool
is_base_error(PyObject *exception)
{
    return PyErr_GivenExceptionMatches(exception, PyExc_SystemExit) ||
           PyErr_GivenExceptionMatches(exception, PyExc_KeyboardInterrupt);
}

static void
keep_base_error(TaskGroup *group, PyObject *exception)
{
    if (group->base_error == NULL && is_base_error(exception))
        group->base_error = Py_NewRef(exception);
}

/* ---- aborting ------------------------------------------------------------------------------------------ */

static int
cancel_unless_done(struct state *state, PyObject *task)
{
    const int is_done = iora__future_is_done(state, task);

    return is_done != 0 ? is_done : iora__future_cancel(state, task, NULL);
}

/* The tasks, which may change as soon as anything of Python runs. */
static PyObject *
list_tasks(const TaskGroup *group)
{
    PyObject *const list = PyList_New(0);

    for (size_t i = 0; list != NULL && i < group->tasks.size; i++) {
        PyObject *const task = group->tasks.entries[i].object;

        if (task != NULL && PyList_Append(list, task) < 0) {
            Py_DECREF(list);
            return NULL;
        }
    }
    return list;
}

static int
abort_tasks(TaskGroup *group)
{
    PyObject *const tasks = list_tasks(group);
    int rc = 0;

    group->is_aborting = true;
    if (tasks == NULL)
        return -1;
    for (Py_ssize_t i = 0; rc >= 0 && i < PyList_GET_SIZE(tasks); i++)
        rc = cancel_unless_done(group->state, PyList_GET_ITEM(tasks, i));
    Py_DECREF(tasks);
    return rc < 0 ? -1 : 0;
}

/* Also the body, which the exit will have uncancelled. */
static int
abort_all(TaskGroup *group)
{
    CHECK(abort_tasks(group));
    if (group->parent == NULL || group->parent_cancel_requested)
        return 0;
    group->parent_cancel_requested = true;
    return iora__future_cancel(group->state, group->parent, NULL) < 0 ? -1 : 0;
}

/* ---- a task is done -------------------------------------------------------------------------------------- */

static int
report_late_error(TaskGroup *group, PyObject *task, PyObject *exception)
{
    PyObject *const message = PyUnicode_FromFormat(
        "Task %R has errored out but its parent task %R is already completed", task, group->parent);
    PyObject *const details = message != NULL ? Py_BuildValue("{s:O,s:O,s:O}", "message", message,
                                                              "exception", exception, "task", task)
                                              : NULL;
    PyObject *const result =
        details != NULL
            ? PyObject_CallMethodOneArg(group->loop,
                                        group->state->asyncio.str_call_exception_handler, details)
            : NULL;

    Py_XDECREF(message);
    Py_XDECREF(details);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static int
take_error(TaskGroup *group, PyObject *task, PyObject *exception)
{
    int is;

    if (group->errors != NULL)
        CHECK(PyList_Append(group->errors, exception));
    keep_base_error(group, exception);
    if (group->parent == NULL)
        return 0;
    CHECK(is = iora__future_is_done(group->state, group->parent));
    if (is)
        return report_late_error(group, task, exception);
    return group->is_aborting || group->parent_cancel_requested ? 0 : abort_all(group);
}

static int
let_exit_go_on(TaskGroup *group)
{
    int is;

    Py_CLEAR(group->on_task_done);
    if (group->on_completed == NULL)
        return 0;
    CHECK(is = iora__future_is_done(group->state, group->on_completed));
    return is ? 0 : iora__future_set_result(group->state, group->on_completed, Py_True);
}

static int
note_done(TaskGroup *group, PyObject *task)
{
    PyObject *exception;
    int is;

    CHECK(iora__forget_awaited_by(group->state, task, group->parent));
    if (iora__addresses_remove(&group->tasks, task))
        Py_DECREF(task); /* whoever calls us has another */
    if (group->tasks.count == 0)
        CHECK(let_exit_go_on(group));
    CHECK(is = iora__future_is_cancelled(group->state, task));
    if (is)
        return 0;
    if ((exception = iora__future_ask(group->state, task, IORA__ASK_EXCEPTION)) == NULL)
        return -1;
    is = exception == Py_None ? 0 : take_error(group, task, exception);
    Py_DECREF(exception);
    return is;
}

PyObject *
iora__taskgroup_note_done(PyObject *self, PyObject *task)
{
    TaskGroup *const group = (TaskGroup *)self;
    int rc;

    Py_INCREF(group);
    rc = note_done(group, task);
    Py_DECREF(group);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef on_task_done_method = {"_on_task_done", iora__taskgroup_note_done, METH_O, NULL};

/* ---- making tasks ------------------------------------------------------------------------------------------ */

static const char *
why_no_tasks(const TaskGroup *group)
{
    return !group->is_entered                             ? "has not been entered"
           : group->is_exiting && group->tasks.count == 0 ? "is finished"
           : group->is_aborting                           ? "is shutting down"
                                                          : NULL;
}

static int
add_task(TaskGroup *group, PyObject *task)
{
    CHECK(iora__note_awaited_by(group->state, task, group->parent));
    if (group->on_task_done == NULL &&
        (group->on_task_done = PyCFunction_New(&on_task_done_method, (PyObject *)group)) == NULL)
        return -1;
    if (group->context == NULL && (group->context = PyContext_CopyCurrent()) == NULL)
        return -1;
    CHECK(iora__addresses_add(&group->tasks, task, 0));
    Py_INCREF(task);
    /* Also of one that is done already: what it raised cancels the body only once that has seen the task. */
    return iora__future_add_callback(group->state, task, group->on_task_done, group->context);
}

/* Before 3.13 a coroutine that was refused stayed open; the tests of those versions insist. */
static int
close_refused(TaskGroup *group, PyObject *coroutine)
{
    PyObject *result;

    if (PY_VERSION_HEX < 0x030d0000)
        return 0;
    result = PyObject_CallMethodNoArgs(coroutine, group->state->asyncio.str_close);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static PyObject *
group_create_task(TaskGroup *group, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    enum { MAX = 8 };
    static const char *const first[] = {"coro", NULL};
    const Py_ssize_t n_all = n + (names == NULL ? 0 : PyTuple_GET_SIZE(names));
    PyObject *all[1 + MAX], *task;
    const char *why;

    if (n < 1)
        return iora__call_in_order("TaskGroup.create_task", first, (PyObject *)group, args, n, names,
                                   (iora__keyword_call)(void (*)(void))group_create_task);
    if (n > 1 || n_all > MAX) {
        PyErr_Format(PyExc_TypeError,
                     "TaskGroup.create_task() takes 1 positional argument but %zd were given", n);
        return NULL;
    }
    if ((why = why_no_tasks(group)) != NULL) {
        if (close_refused(group, args[0]) < 0)
            return NULL;
        PyErr_Format(PyExc_RuntimeError, "TaskGroup %R %s", group, why);
        return NULL;
    }
    all[0] = group->loop;
    for (Py_ssize_t i = 0; i < n_all; i++)
        all[1 + i] = args[i];
    task = PyObject_VectorcallMethod(group->state->asyncio.str_create_task, all,
                                     (size_t)(1 + n) | PY_VECTORCALL_ARGUMENTS_OFFSET, names);
    if (task != NULL && add_task(group, task) < 0)
        Py_CLEAR(task);
    return task;
}

static PyObject *
group_cancel(TaskGroup *group, PyObject *unused)
{
    (void)unused;
    if (!group->is_entered)
        group->cancel_on_enter = true;
    else if (!(group->is_exiting && group->tasks.count == 0) && !group->is_aborting &&
             abort_all(group) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
group_abort(TaskGroup *group, PyObject *unused)
{
    (void)unused;
    return abort_tasks(group) < 0 ? NULL : Py_NewRef(Py_None);
}

/* ---- entering -------------------------------------------------------------------------------------------- */

static int
enter(TaskGroup *group)
{
    if (group->is_entered) {
        PyErr_Format(PyExc_RuntimeError, "TaskGroup %R has already been entered", group);
        return -1;
    }
    if (group->loop == NULL && (group->loop = iora__get_running_loop(group->state)) == NULL)
        return -1;
    Py_XSETREF(group->parent, iora__current_task(group->state, group->loop));
    if (group->parent == NULL)
        return -1;
    if (group->parent == Py_None) {
        Py_CLEAR(group->parent);
        PyErr_Format(PyExc_RuntimeError, "TaskGroup %R cannot determine the parent task", group);
        return -1;
    }
    group->is_entered = true;
    return group->cancel_on_enter ? abort_all(group) : 0;
}

static enum iora__outcome
step_of_aenter(AwaitableObject *self, PyObject *value, PyObject **out)
{
    if (value == NULL || enter((TaskGroup *)self->refs[0]) < 0)
        return IORA__RAISE;
    *out = Py_NewRef(self->refs[0]);
    return IORA__RETURN;
}

static const struct iora__awaitable_kind entering = {"__aenter__", "TaskGroup.__aenter__",
                                                     step_of_aenter};

static PyObject *
group_aenter(TaskGroup *group, PyObject *unused)
{
    AwaitableObject *const awaitable = iora__awaitable_new(group->state, &entering);

    (void)unused;
    if (awaitable == NULL)
        return NULL;
    awaitable->refs[0] = Py_NewRef((PyObject *)group);
    return (PyObject *)awaitable;
}

/* ---- leaving --------------------------------------------------------------------------------------------- */

/* `raise exception`: with what is being handled as its context. */
static int
raise_object(PyObject *exception)
{
    PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
    return -1;
}

/* If the parent is being cancelled from outside, keep the count, and have it cancelled again. */
static int
renew_cancellation(TaskGroup *group)
{
    long count;

    if (PY_VERSION_HEX < 0x030d0000)
        return 0;
    if ((count = iora__task_cancelling(group->state, group->parent)) <= 0)
        return count < 0 ? -1 : 0;
    count = iora__task_uncancel(group->state, group->parent);
    return count < 0 || iora__future_cancel(group->state, group->parent, NULL) < 0 ? -1 : 0;
}

static int
raise_errors(TaskGroup *group)
{
    PyObject *const text = PyUnicode_FromString("unhandled errors in a TaskGroup");
    PyObject *const args[] = {text, group->errors};
    PyObject *error = NULL;

    if (text != NULL && renew_cancellation(group) == 0)
        error = PyObject_Vectorcall(PyExc_BaseExceptionGroup, args, 2, NULL);
    Py_XDECREF(text);
    if (error == NULL)
        return -1;
    PyException_SetCause(error, NULL); /* from None */
    (void)raise_object(error);
    Py_DECREF(error);
    return -1;
}

static bool
is_cancellation(const TaskGroup *group, PyObject *exception)
{
    return exception != NULL &&
           PyErr_GivenExceptionMatches(exception, group->state->asyncio.cancelled_error);
}

/* No task is left. `exception` is what the body left with, `cancellation` what the parent has been cancelled by; NULL
 * for neither. 1: the body's exception is dealt with; 0: it goes on; -1: another is set. */
static int
conclude(TaskGroup *group, PyObject *exception, PyObject *cancellation)
{
    if (group->base_error != NULL)
        return raise_object(group->base_error);
    if (group->parent_cancel_requested) {
        const long count = iora__task_uncancel(group->state, group->parent);

        if (count < 0)
            return -1;
        if (count == 0)
            cancellation = NULL;
    }
    if (cancellation != NULL && PyList_GET_SIZE(group->errors) == 0)
        return raise_object(cancellation);
    if (exception != NULL && !is_cancellation(group, exception)) {
        if (PyList_GET_SIZE(group->errors) == 0 &&
            PyErr_GivenExceptionMatches(exception, PyExc_GeneratorExit))
            return 0;
        CHECK(PyList_Append(group->errors, exception));
    }
    return PyList_GET_SIZE(group->errors) > 0 ? raise_errors(group) : 1;
}

static void
let_go(TaskGroup *group)
{
    Py_CLEAR(group->parent);
    Py_CLEAR(group->errors);
    Py_CLEAR(group->base_error);
    Py_CLEAR(group->context);
    Py_CLEAR(group->on_task_done);
}

static int
finish(TaskGroup *group, PyObject *exception, PyObject *cancellation)
{
    const int rc = conclude(group, exception, cancellation);
    PyObject *const raised = rc < 0 ? iora__take_exception() : NULL;

    let_go(group);
    if (raised != NULL)
        iora__raise_exception(raised);
    return rc;
}

/* The references of an exit that waits. */
enum { GROUP, EXCEPTION, CANCELLATION };

/* The future was cancelled: that means the parent, unless we did it ourselves. */
static int
take_cancellation(TaskGroup *group, AwaitableObject *self)
{
    PyObject *raised;

    if (!PyErr_ExceptionMatches(group->state->asyncio.cancelled_error))
        return -1;
    raised = iora__take_exception();
    if (group->is_aborting) {
        Py_DECREF(raised);
        return 0;
    }
    Py_XSETREF(self->refs[CANCELLATION], raised);
    return abort_tasks(group);
}

static enum iora__outcome
fail(TaskGroup *group)
{
    PyObject *const raised = iora__take_exception();

    let_go(group);
    iora__raise_exception(raised);
    return IORA__RAISE;
}

static enum iora__outcome
wait_for_tasks(AwaitableObject *self, PyObject *value, PyObject **out)
{
    TaskGroup *const group = (TaskGroup *)self->refs[GROUP];
    int rc;

    if (value == NULL && take_cancellation(group, self) < 0)
        return fail(group);
    if (self->phase == 1)
        Py_CLEAR(group->on_completed);
    self->phase = 1;
    if (group->tasks.count > 0) {
        if (group->on_completed == NULL &&
            (group->on_completed = iora__create_future(group->state, group->loop)) == NULL)
            return fail(group);
        *out = Py_NewRef(group->on_completed);
        return IORA__AWAIT;
    }
    if ((rc = finish(group, self->refs[EXCEPTION], self->refs[CANCELLATION])) < 0)
        return IORA__RAISE;
    *out = PyBool_FromLong(rc);
    return IORA__RETURN;
}

static const struct iora__awaitable_kind leaving = {"__aexit__", "TaskGroup.__aexit__",
                                                    wait_for_tasks};

static enum iora__outcome
return_true(AwaitableObject *self, PyObject *value, PyObject **out)
{
    (void)self;
    if (value == NULL)
        return IORA__RAISE;
    *out = Py_NewRef(Py_True);
    return IORA__RETURN;
}

static const struct iora__awaitable_kind left = {"__aexit__", "TaskGroup.__aexit__", return_true};

static PyObject *
leave_at_once(TaskGroup *group, PyObject *exception, PyObject *cancellation)
{
    const int rc = finish(group, exception, cancellation);

    return rc < 0                         ? NULL
           : rc == 0 || exception == NULL ? iora__awaitable_ready(group->state)
                                          : (PyObject *)iora__awaitable_new(group->state, &left);
}

static PyObject *
group_aexit(TaskGroup *group, PyObject *const *args, Py_ssize_t n)
{
    PyObject *exception, *cancellation;
    AwaitableObject *awaitable;

    if (n != 3) {
        PyErr_Format(PyExc_TypeError, "__aexit__() takes 3 arguments, got %zd", n);
        return NULL;
    }
    exception = args[1] != Py_None ? args[1] : NULL;
    cancellation = is_cancellation(group, exception) ? exception : NULL;
    if (group->errors == NULL || group->parent == NULL) {
        PyErr_Format(PyExc_RuntimeError, "TaskGroup %R has not been entered", group);
        return NULL;
    }
    group->is_exiting = true;
    if (exception != NULL) {
        keep_base_error(group, exception);
        if (!group->is_aborting && abort_tasks(group) < 0)
            return NULL;
    }
    if (group->tasks.count == 0)
        return leave_at_once(group, exception, cancellation);
    if ((awaitable = iora__awaitable_new(group->state, &leaving)) == NULL)
        return NULL;
    awaitable->refs[GROUP] = Py_NewRef((PyObject *)group);
    awaitable->refs[EXCEPTION] = Py_XNewRef(exception);
    awaitable->refs[CANCELLATION] = Py_XNewRef(cancellation);
    return (PyObject *)awaitable;
}

/* ---- the type -------------------------------------------------------------------------------------------- */

static PyObject *
group_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    TaskGroup *group = (TaskGroup *)type->tp_alloc(type, 0);

    (void)args;
    (void)keywords;
    if (group == NULL)
        return NULL;
    group->state = iora__state_of(type);
    group->errors = PyList_New(0);
    if (group->errors == NULL)
        Py_CLEAR(group);
    return (PyObject *)group;
}

static int
group_init(TaskGroup *group, PyObject *args, PyObject *keywords)
{
    static char *names[] = {NULL};

    (void)group;
    return PyArg_ParseTupleAndKeywords(args, keywords, ":TaskGroup", names) ? 0 : -1;
}

static int
group_traverse(TaskGroup *group, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(group));
    Py_VISIT(group->loop);
    Py_VISIT(group->parent);
    for (size_t i = 0; i < group->tasks.size; i++)
        Py_VISIT(group->tasks.entries[i].object);
    Py_VISIT(group->errors);
    Py_VISIT(group->base_error);
    Py_VISIT(group->on_completed);
    Py_VISIT(group->on_task_done);
    Py_VISIT(group->context);
    return 0;
}

static void
drop_tasks(TaskGroup *group)
{
    struct addresses tasks = group->tasks;

    group->tasks = (struct addresses){0};
    for (size_t i = 0; i < tasks.size; i++)
        Py_XDECREF(tasks.entries[i].object);
    iora__addresses_free(&tasks);
}

static int
group_clear(TaskGroup *group)
{
    let_go(group);
    Py_CLEAR(group->loop);
    Py_CLEAR(group->on_completed);
    drop_tasks(group);
    return 0;
}

static void
group_dealloc(TaskGroup *group)
{
    PyTypeObject *const type = Py_TYPE(group);

    PyObject_GC_UnTrack(group);
    (void)group_clear(group);
    type->tp_free((PyObject *)group);
    Py_DECREF(type);
}

/* "<TaskGroup tasks=2 errors=1 cancelling>" */
static PyObject *
group_repr(TaskGroup *group)
{
    const size_t n_tasks = group->tasks.count;
    const Py_ssize_t n_errors = group->errors != NULL ? PyList_GET_SIZE(group->errors) : 0;
    PyObject *const tasks =
        n_tasks > 0 ? PyUnicode_FromFormat(" tasks=%zu", n_tasks) : PyUnicode_FromString("");
    PyObject *const errors =
        n_errors > 0 ? PyUnicode_FromFormat(" errors=%zd", n_errors) : PyUnicode_FromString("");
    PyObject *text = NULL;

    if (tasks != NULL && errors != NULL)
        text = PyUnicode_FromFormat("<TaskGroup%U%U%s>", tasks, errors,
                                    group->is_aborting  ? " cancelling"
                                    : group->is_entered ? " entered"
                                                        : "");
    Py_XDECREF(tasks);
    Py_XDECREF(errors);
    return text;
}

/* A copy, as a set. */
static PyObject *
get_tasks(TaskGroup *group, void *unused)
{
    PyObject *const list = list_tasks(group);
    PyObject *const set = list != NULL ? PySet_New(list) : NULL;

    (void)unused;
    Py_XDECREF(list);
    return set;
}

static PyGetSetDef group_getset[] = {
    {"_tasks", (getter)get_tasks, NULL, NULL, NULL},
    {0},
};

static PyMemberDef group_members[] = {
    {"_errors", T_OBJECT, offsetof(TaskGroup, errors), READONLY, NULL},
    {"_loop", T_OBJECT, offsetof(TaskGroup, loop), READONLY, NULL},
    {"_parent_task", T_OBJECT, offsetof(TaskGroup, parent), READONLY, NULL},
    {"_base_error", T_OBJECT, offsetof(TaskGroup, base_error), READONLY, NULL},
    {"_on_completed_fut", T_OBJECT, offsetof(TaskGroup, on_completed), READONLY, NULL},
    {"_entered", T_BOOL, offsetof(TaskGroup, is_entered), READONLY, NULL},
    {"_exiting", T_BOOL, offsetof(TaskGroup, is_exiting), READONLY, NULL},
    {"_aborting", T_BOOL, offsetof(TaskGroup, is_aborting), READONLY, NULL},
    {"_parent_cancel_requested", T_BOOL, offsetof(TaskGroup, parent_cancel_requested), READONLY,
     NULL},
    {0},
};

static PyMethodDef group_methods[] = {
    METHOD("create_task", group_create_task, METH_FASTCALL | METH_KEYWORDS,
           "create_task($self, coro, **kwargs)\n--\n\nHave a coroutine run as one of the group's."),
    METHOD("cancel", group_cancel, METH_NOARGS,
           "cancel($self, /)\n--\n\nCancel all tasks and the body; the block ends without an "
           "exception."),
    METHOD("_abort", group_abort, METH_NOARGS, "_abort($self, /)\n--\n\n"),
    METHOD("_on_task_done", iora__taskgroup_note_done, METH_O,
           "_on_task_done($self, task, /)\n--\n\n"),
    METHOD("__aenter__", group_aenter, METH_NOARGS, "__aenter__($self, /)\n--\n\n"),
    METHOD("__aexit__", group_aexit, METH_FASTCALL, "__aexit__($self, et, exc, tb, /)\n--\n\n"),
    {0},
};

static PyType_Slot group_slots[] = {
    {Py_tp_new, group_new},         {Py_tp_init, group_init},
    {Py_tp_dealloc, group_dealloc}, {Py_tp_traverse, group_traverse},
    {Py_tp_clear, group_clear},     {Py_tp_repr, group_repr},
    {Py_tp_methods, group_methods}, {Py_tp_members, group_members},
    {Py_tp_getset, group_getset},   {0},
};

static PyType_Spec group_spec = {
    .name = "iora._c.TaskGroup",
    .basicsize = sizeof(TaskGroup),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = group_slots,
};

int
iora__taskgroup_add(PyObject *module, struct state *state)
{
    state->asyncio.task_group_type = PyType_FromModuleAndSpec(module, &group_spec, NULL);
    return state->asyncio.task_group_type == NULL
               ? -1
               : PyModule_AddType(module, (PyTypeObject *)state->asyncio.task_group_type);
}
