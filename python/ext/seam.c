/* ext/seam.c -- allocations that fail when a test says so; only in the build with seams.
 *
 * The core's allocations pass the core's own seam (sys/seam.h). Here the interpreter's three allocators are led
 * through the same counter, so that one number says which allocation fails, whoever makes it: the core, the
 * extension, or the interpreter on the way between them.
 *
 * Only the thread that armed the seam is counted. An interpreter whose new thread gets no memory has nobody to tell:
 * threading.Thread.start() waits for it for ever.
 *
 * The interpreter is not perfect in this. What fails in its own loop, where a function in Python makes an object, may leave
 * a frame with all it holds behind (3.11: where a coroutine is made); a future of asyncio's that cannot call its callbacks
 * is done, and has forgotten them. So failures are counted apart that hit the interpreter's loop or _asyncio, with nobody
 * of ours between: after those nobody is asked what is left, or who waits for ever.
 *
 * What fails from some point on does so for FAILURES_MAX times and no more. An interpreter that has no memory even for an
 * integer goes round and round in a frame that has an exception handler (3.11: the handler wants to know where it was).
 */
#include "ext/seam.h"

#include "ext/table.h"
#include "sys/seam.h"
#include "sys/sys.h"

#include <dlfcn.h>
#include <execinfo.h>

enum { FAILURES_MAX = 5000, DEPTH_MAX = 16 };

/* One for the process, as the allocators are. */
static struct {
    PyMemAllocatorEx plain[3];
    unsigned long thread;
    int failures, told_fd;
    bool is_armed, is_paused, in_python;
} seam;

static const PyMemAllocatorDomain domains[] = {PYMEM_DOMAIN_RAW, PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ};

static bool
is_the_interpreters(const Dl_info *where)
{
    return (where->dli_sname != NULL && strcmp(where->dli_sname, "_PyEval_EvalFrameDefault") == 0) ||
           (where->dli_fname != NULL && strstr(where->dli_fname, "/_asyncio.") != NULL);
}

/* Whether the way up from here comes to a function in Python, or to asyncio's C, before it comes to ours. */
static bool
is_in_python(void)
{
    void *addresses[DEPTH_MAX];
    const int depth = backtrace(addresses, DEPTH_MAX);
    Dl_info here, there;
    int at = 0;

    if (dladdr(addresses[0], &here) == 0)
        return false;
    while (at < depth && dladdr(addresses[at], &there) != 0 && there.dli_fbase == here.dli_fbase)
        at++; /* the seam itself */
    for (; at < depth; at++) {
        if (dladdr(addresses[at], &there) == 0)
            continue;
        if (there.dli_fbase == here.dli_fbase)
            return false;
        if (is_the_interpreters(&there))
            return true;
    }
    return false;
}

static bool
fails(void)
{
    if (PyThread_get_thread_ident() != seam.thread || seam.is_paused || !iora__seam_allocation_fails())
        return false;
    if (!seam.in_python && is_in_python()) {
        seam.in_python = true;
        (void)iora__sys_write(seam.told_fd, "!", 1); /* the process may not live to say so */
    }
    if (++seam.failures == FAILURES_MAX)
        (void)iora__seam_disarm();
    return true;
}

static void *
allocate(void *plain, size_t size)
{
    const PyMemAllocatorEx *const allocator = plain;

    return fails() ? NULL : allocator->malloc(allocator->ctx, size);
}

static void *
allocate_zeroed(void *plain, size_t n, size_t size)
{
    const PyMemAllocatorEx *const allocator = plain;

    return fails() ? NULL : allocator->calloc(allocator->ctx, n, size);
}

static void *
reallocate(void *plain, void *memory, size_t size)
{
    const PyMemAllocatorEx *const allocator = plain;

    return fails() ? NULL : allocator->realloc(allocator->ctx, memory, size);
}

static void
release(void *plain, void *memory)
{
    const PyMemAllocatorEx *const allocator = plain;

    allocator->free(allocator->ctx, memory);
}

static void
hook(void)
{
    for (size_t i = 0; i < COUNT(domains); i++) {
        PyMemAllocatorEx ours = {&seam.plain[i], allocate, allocate_zeroed, reallocate, release};

        PyMem_GetAllocator(domains[i], &seam.plain[i]);
        PyMem_SetAllocator(domains[i], &ours);
    }
}

static PyObject *
arm(PyObject *module, PyObject *args)
{
    long index;
    int persistent;

    (void)module;
    if (!PyArg_ParseTuple(args, "lpi:_arm", &index, &persistent, &seam.told_fd))
        return NULL;
    if (!seam.is_armed)
        hook();
    seam.is_armed = true;
    seam.failures = 0;
    seam.in_python = false;
    seam.thread = PyThread_get_thread_ident();
    iora__seam_arm_allocation(index, persistent);
    Py_RETURN_NONE;
}

static PyObject *
disarm(PyObject *module, PyObject *unused)
{
    const struct iora__seam_counts counts = iora__seam_disarm();

    (void)module;
    (void)unused;
    for (size_t i = 0; seam.is_armed && i < COUNT(domains); i++)
        PyMem_SetAllocator(domains[i], &seam.plain[i]);
    seam.is_armed = false;
    return Py_BuildValue("llli", counts.allocations, counts.failures, counts.alive, seam.in_python);
}

static PyObject *
pause_failing(PyObject *module, PyObject *paused)
{
    (void)module;
    seam.is_paused = paused == Py_True;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_arm", arm, METH_VARARGS,
     "_arm(index, persistent, fd)\n--\n\n"
     "Let the allocation of this number fail, counted from now on; all from there, if persistent. A failure "
     "that is the\ninterpreter's alone is told by a byte to the descriptor."},
    {"_disarm", disarm, METH_NOARGS,
     "_disarm()\n--\n\n"
     "Let all allocations succeed: how many there were, how many failed, how many of the core's live, whether "
     "many\nfailures were the interpreter's alone."},
    {"_pause", pause_failing, METH_O,
     "_pause(paused)\n--\n\nWhile True, the interpreter's allocations succeed and are not counted."},
    {0},
};

int
iora__seam_add(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
