/* ext/function.c -- coroutine functions and methods written in C.
 *
 * What asyncio has as `async def` and we have in C is an object of this type, not a built-in function: a call gives
 * an awaitable, and whoever asks beforehand (asyncio.iscoroutinefunction, from 3.12 on inspect's too, and with
 * them unittest.mock, which makes an AsyncMock of it) must learn that. The mark they look for is an attribute,
 * which built-in functions cannot have.
 *
 * It binds to an object as a function does, and as a function it is called without a bound method in between
 * (Py_TPFLAGS_METHOD_DESCRIPTOR). inspect.signature() reads __text_signature__.
 */
#include "ext/function.h"

#include "ext/state.h"

#include <math.h>
#include <stddef.h>
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    const struct iora__function *function;
    PyTypeObject *owner; /* whose method it is: borrowed, for it holds us; NULL for a function */
    struct state *state;
    PyObject *dict;
    PyObject *weak_references;
} FunctionObject;

static PyObject *
function_call(PyObject *object, PyObject *const *args, size_t n, PyObject *names)
{
    const FunctionObject *const self = (FunctionObject *)object;
    const Py_ssize_t n_args = PyVectorcall_NARGS(n);

    if (self->owner != NULL && (n_args < 1 || !PyObject_TypeCheck(args[0], self->owner))) {
        PyErr_Format(PyExc_TypeError, "%s() needs an object of type %s", self->function->qualname,
                     self->owner->tp_name);
        return NULL;
    }
    return self->function->call(self->state, args, n_args, names);
}

static PyObject *
function_get(PyObject *self, PyObject *object, PyObject *type)
{
    (void)type;
    return object == NULL || object == Py_None ? Py_NewRef(self) : PyMethod_New(self, object);
}

/* ---- arguments ------------------------------------------------------------------------------------- */

static Py_ssize_t
find_parameter(const char *const *parameters, PyObject *name)
{
    for (Py_ssize_t i = 0; parameters[i] != NULL; i++) {
        if (PyUnicode_CompareWithASCIIString(name, parameters[i]) == 0)
            return i;
    }
    return -1;
}

/* The argument of this name, after n that have been given by position. */
static int
take_name(const char *function, const char *const *parameters, Py_ssize_t n, PyObject *name,
          PyObject *value, PyObject **out)
{
    const Py_ssize_t at = find_parameter(parameters, name);

    if (at < 0) {
        PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", function,
                     name);
        return -1;
    }
    if (at < n) {
        PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'", function, name);
        return -1;
    }
    out[at] = value;
    return 0;
}

static int
take_positional(const char *function, const char *const *parameters, Py_ssize_t n_required,
                PyObject *const *args, Py_ssize_t n, PyObject **out)
{
    Py_ssize_t n_all = 0;

    while (parameters[n_all] != NULL)
        n_all++;
    if (n > n_all) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %zd positional arguments (%zd given)",
                     function, n_all, n);
        return -1;
    }
    for (Py_ssize_t i = n; i < n_required; i++)
        out[i] = NULL;
    for (Py_ssize_t i = 0; i < n; i++)
        out[i] = args[i];
    return 0;
}

static int
check_given(const char *function, const char *const *parameters, Py_ssize_t n_required,
            PyObject *const *out)
{
    for (Py_ssize_t i = 0; i < n_required; i++) {
        if (out[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s() missing 1 required positional argument: '%s'",
                         function, parameters[i]);
            return -1;
        }
    }
    return 0;
}

int
iora__take_args(const char *function, const char *const *parameters, Py_ssize_t n_required,
                PyObject *const *args, Py_ssize_t n, PyObject *names, PyObject **out)
{
    const Py_ssize_t n_names = names != NULL ? PyTuple_GET_SIZE(names) : 0;

    if (take_positional(function, parameters, n_required, args, n, out) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < n_names; i++) {
        if (take_name(function, parameters, n, PyTuple_GET_ITEM(names, i), args[n + i], out) < 0)
            return -1;
    }
    return check_given(function, parameters, n_required, out);
}

int
iora__take_init_args(const char *function, const char *const *parameters, Py_ssize_t n_required,
                     PyObject *args, PyObject *keywords, PyObject **out)
{
    PyObject *name, *value;
    Py_ssize_t at = 0;

    if (take_positional(function, parameters, n_required, &PyTuple_GET_ITEM(args, 0),
                        PyTuple_GET_SIZE(args), out) < 0)
        return -1;
    while (keywords != NULL && PyDict_Next(keywords, &at, &name, &value)) {
        if (take_name(function, parameters, PyTuple_GET_SIZE(args), name, value, out) < 0)
            return -1;
    }
    return check_given(function, parameters, n_required, out);
}

int
iora__take_size(PyObject *given, Py_ssize_t *out)
{
    double number;

    if (PyIndex_Check(given)) {
        *out = PyNumber_AsSsize_t(given, NULL);
        return *out == -1 && PyErr_Occurred() ? -1 : 0;
    }
    if ((number = floor(PyFloat_AsDouble(given))) == -1 && PyErr_Occurred())
        return -1;
    if (number < (double)PY_SSIZE_T_MIN)
        *out = PY_SSIZE_T_MIN;
    else
        *out = number < (double)PY_SSIZE_T_MAX ? (Py_ssize_t)number : PY_SSIZE_T_MAX;
    return 0;
}

/* The arguments of the first parameters from the n-th on, by name. */
static int
take_first(const char *function, const char *const *first, PyObject *const *args, Py_ssize_t n, PyObject *names,
           PyObject **out)
{
    const Py_ssize_t n_names = names != NULL ? PyTuple_GET_SIZE(names) : 0;
    Py_ssize_t n_first = 0;

    for (; first[n_first] != NULL; n_first++)
        out[n_first] = n_first < n ? args[n_first] : NULL;
    for (Py_ssize_t i = 0; i < n_names; i++) {
        PyObject *const name = PyTuple_GET_ITEM(names, i);

        if (find_parameter(first, name) >= 0 && take_name(function, first, n, name, args[n + i], out) < 0)
            return -1;
    }
    return check_given(function, first, n_first, out);
}

PyObject *
iora__call_in_order(const char *function, const char *const *first, PyObject *self, PyObject *const *args,
                    Py_ssize_t n, PyObject *names, iora__keyword_call call)
{
    enum { FIRST_MAX = 2 };
    const Py_ssize_t n_names = names != NULL ? PyTuple_GET_SIZE(names) : 0;
    PyObject **const all = PyMem_New(PyObject *, (size_t)(FIRST_MAX + n_names));
    PyObject *others = NULL, *result = NULL;
    Py_ssize_t n_first = 0, n_others = 0;

    if (all == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if (take_first(function, first, args, n, names, all) < 0)
        goto done;
    while (first[n_first] != NULL)
        n_first++;
    if ((others = PyTuple_New(n_names - (n_first - n))) == NULL)
        goto done;
    for (Py_ssize_t i = 0; i < n_names; i++) {
        PyObject *const name = PyTuple_GET_ITEM(names, i);

        if (find_parameter(first, name) >= 0)
            continue;
        all[n_first + n_others] = args[n + i];
        PyTuple_SET_ITEM(others, n_others++, Py_NewRef(name));
    }
    result = call(self, all, n_first, n_others > 0 ? others : NULL);
done:
    Py_XDECREF(others);
    PyMem_Free(all);
    return result;
}

int
iora__refuse_names(const char *function, PyObject *names)
{
    if (names == NULL || PyTuple_GET_SIZE(names) == 0)
        return 0;
    PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", function, PyTuple_GET_ITEM(names, 0));
    return -1;
}

/* ---- making and ending ------------------------------------------------------------------------------- */

static int
mark(PyObject *function, struct state *state)
{
    PyObject *result;

    if (state->coroutine_mark != NULL &&
        PyObject_SetAttrString(function, "_is_coroutine", state->coroutine_mark) < 0)
        return -1;
    if (state->mark_function == NULL)
        return 0;
    result = PyObject_CallOneArg(state->mark_function, function);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static PyObject *
make(struct state *state, const struct iora__function *function, PyTypeObject *owner)
{
    FunctionObject *const self = PyObject_GC_New(FunctionObject, state->function_type);

    if (self == NULL)
        return NULL;
    self->vectorcall = function_call;
    self->function = function;
    self->owner = owner;
    self->state = state;
    Py_INCREF(state->module);
    self->weak_references = NULL;
    self->dict = PyDict_New();
    PyObject_GC_Track((PyObject *)self);
    if (self->dict == NULL || mark((PyObject *)self, state) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

int
iora__function_add_to_module(PyObject *module, struct state *state,
                             const struct iora__function *functions)
{
    for (; functions->name != NULL; functions++) {
        PyObject *const made = make(state, functions, NULL);
        const int rc = made != NULL ? PyModule_AddObjectRef(module, functions->name, made) : -1;

        Py_XDECREF(made);
        if (rc < 0)
            return -1;
    }
    return 0;
}

int
iora__function_add_to_type(PyTypeObject *type, struct state *state,
                           const struct iora__function *functions)
{
    for (; functions->name != NULL; functions++) {
        PyObject *const made = make(state, functions, type);
        const int rc =
            made != NULL ? PyObject_SetAttrString((PyObject *)type, functions->name, made) : -1;

        Py_XDECREF(made);
        if (rc < 0)
            return -1;
    }
    return 0;
}

static int
function_traverse(FunctionObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->state->module);
    Py_VISIT(self->dict);
    return 0;
}

static int
function_clear(FunctionObject *self)
{
    Py_CLEAR(self->dict);
    return 0;
}

static void
function_dealloc(FunctionObject *self)
{
    PyTypeObject *const type = Py_TYPE(self);
    PyObject *const module = self->state->module;

    PyObject_GC_UnTrack(self);
    if (self->weak_references != NULL)
        PyObject_ClearWeakRefs((PyObject *)self);
    (void)function_clear(self);
    PyObject_GC_Del(self);
    Py_DECREF(type);
    Py_DECREF(module);
}

/* ---- what Python sees ------------------------------------------------------------------------------------ */

static PyObject *
function_repr(FunctionObject *self)
{
    return PyUnicode_FromFormat("<coroutine function %s at %p>", self->function->qualname, self);
}

/* As functions do: found again by its name. */
static PyObject *
function_reduce(FunctionObject *self, PyObject *unused)
{
    (void)unused;
    return PyUnicode_FromString(self->function->qualname);
}

#define TEXT(field)                                                                                \
    static PyObject *get_##field(FunctionObject *self, void *unused)                               \
    {                                                                                              \
        (void)unused;                                                                              \
        return PyUnicode_FromString(self->function->field);                                        \
    }
TEXT(name)
TEXT(qualname)
TEXT(module)
TEXT(signature)
TEXT(doc)

static PyGetSetDef function_getset[] = {
    {"__name__", (getter)get_name, NULL, NULL, NULL},
    {"__qualname__", (getter)get_qualname, NULL, NULL, NULL},
    {"__module__", (getter)get_module, NULL, NULL, NULL},
    {"__text_signature__", (getter)get_signature, NULL, NULL, NULL},
    {"__doc__", (getter)get_doc, NULL, NULL, NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {0},
};

static PyMemberDef function_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(FunctionObject, vectorcall), READONLY, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(FunctionObject, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(FunctionObject, weak_references), READONLY, NULL},
    {0},
};

static PyMethodDef function_methods[] = {
    {"__reduce__", (PyCFunction)function_reduce, METH_NOARGS, NULL},
    {0},
};

static PyType_Slot function_slots[] = {
    {Py_tp_dealloc, function_dealloc}, {Py_tp_traverse, function_traverse},
    {Py_tp_clear, function_clear},     {Py_tp_repr, function_repr},
    {Py_tp_call, PyVectorcall_Call},   {Py_tp_descr_get, function_get},
    {Py_tp_methods, function_methods}, {Py_tp_members, function_members},
    {Py_tp_getset, function_getset},   {0},
};

static PyType_Spec function_spec = {
    .name = "iora._c.coroutine_function",
    .basicsize = sizeof(FunctionObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_METHOD_DESCRIPTOR | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = function_slots,
};

/* An attribute that not every version has: NULL then. */
static int
find(const char *module, const char *name, PyObject **out)
{
    PyObject *const found = PyImport_ImportModule(module);

    if (found == NULL)
        return -1;
    *out = PyObject_GetAttrString(found, name);
    Py_DECREF(found);
    if (*out == NULL && !PyErr_ExceptionMatches(PyExc_AttributeError))
        return -1;
    PyErr_Clear();
    return 0;
}

int
iora__function_add_type(PyObject *module, struct state *state)
{
    state->function_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &function_spec, NULL);
    if (state->function_type == NULL)
        return -1;
    return find("asyncio.coroutines", "_is_coroutine", &state->coroutine_mark) < 0
               ? -1
               : find("inspect", "markcoroutinefunction", &state->mark_function);
}
