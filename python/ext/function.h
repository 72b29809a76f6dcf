/* ext/function.h -- coroutine functions and methods written in C (theory in function.c). */
#ifndef IORA_EXT_FUNCTION_H
#define IORA_EXT_FUNCTION_H

#include <Python.h>

struct state;

struct iora__function {
    const char *name, *qualname;
    const char *module;    /* asyncio's, whose name it has: "asyncio.tasks" */
    const char *signature; /* "(self, item)" */
    const char *doc;
    /* args[0] of a method is an object of the type that it was added to. */
    PyObject *(*call)(struct state *state, PyObject *const *args, Py_ssize_t n, PyObject *names);
};

int iora__function_add_type(PyObject *module, struct state *state);

/* Add coroutine functions, up to one without a name, to the module, or as methods to a type that can be changed. */
int iora__function_add_to_module(PyObject *module, struct state *state,
                                 const struct iora__function *functions);
int iora__function_add_to_type(PyTypeObject *type, struct state *state,
                               const struct iora__function *functions);

/* Put the arguments of a vectorcall in the places of named parameters (the list ends with NULL), which may all be
 * given by position or by name. What was not given is left as it is; -1 with TypeError if fewer than n_required
 * were. */
int iora__take_args(const char *function, const char *const *parameters, Py_ssize_t n_required,
                    PyObject *const *args, Py_ssize_t n, PyObject *names, PyObject **out);

/* The only argument of what takes one, given by position or by this name: borrowed. NULL with TypeError. */
static inline PyObject *
iora__only_arg(const char *function, const char *name, PyObject *const *args, Py_ssize_t n,
               PyObject *names)
{
    const char *const parameters[] = {name, NULL};
    PyObject *given = NULL;

    if (n == 1 && names == NULL)
        return args[0];
    return iora__take_args(function, parameters, 1, args, n, names, &given) < 0 ? NULL : given;
}

/* A call with keywords, of which fewer are positional than the function has first parameters (the list ends with NULL):
 * make it again, with those that were given by name in their places. Other names stay such. TypeError if one is
 * missing. */
typedef PyObject *(*iora__keyword_call)(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names);
PyObject *iora__call_in_order(const char *function, const char *const *first, PyObject *self, PyObject *const *args,
                              Py_ssize_t n, PyObject *names, iora__keyword_call call);

/* -1 with TypeError if there are names. */
int iora__refuse_names(const char *function, PyObject *names);

/* The same as iora__take_args() for the arguments of __init__. */
int iora__take_init_args(const char *function, const char *const *parameters, Py_ssize_t n_required,
                         PyObject *args, PyObject *keywords, PyObject **out);

/* A number as a size: of a float what is whole in it. What is too large, or not a number, is as large as can be. -1 with
 * an exception for what is no number. */
int iora__take_size(PyObject *given, Py_ssize_t *out);

#endif
