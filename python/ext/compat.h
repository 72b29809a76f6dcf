/* ext/compat.h -- what differs between the versions of CPython.
 */
#ifndef IORA_EXT_COMPAT_H
#define IORA_EXT_COMPAT_H

#include <Python.h>

/* The exception that is set, taken: a new reference, with its traceback. */
static inline PyObject *
iora__take_exception(void)
{
#if PY_VERSION_HEX >= 0x030c0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *traceback;

    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL)
        (void)PyException_SetTraceback(value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
#endif
}

/* Set it again; steals the reference. */
static inline void
iora__raise_exception(PyObject *exception)
{
#if PY_VERSION_HEX >= 0x030c0000
    PyErr_SetRaisedException(exception);
#else
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exception)), exception,
                  PyException_GetTraceback(exception));
#endif
}

/* What a weak reference is to: a new reference, NULL if that is gone. */
static inline PyObject *
iora__weakly_referenced(PyObject *reference)
{
#if PY_VERSION_HEX >= 0x030d0000
    PyObject *object;

    (void)PyWeakref_GetRef(reference, &object);
    return object;
#else
    PyObject *const object = PyWeakref_GET_OBJECT(reference);

    return object == Py_None ? NULL : Py_NewRef(object);
#endif
}

/* What is set came while another was handled, which is its context. Steals that. */
static inline void
iora__chain_exception(PyObject *earlier)
{
    PyObject *const later = iora__take_exception();

    if (later == earlier)
        Py_DECREF(earlier);
    else
        PyException_SetContext(later, earlier);
    iora__raise_exception(later);
}

#endif
