/* ext/table.h -- the tables that the module, its types and its state are made of.
 *
 * A state is a struct of references. Tables say where each lies (its offset) and how it is got, so that filling the
 * state, the collector's visits and the end go over the same entries.
 */
#ifndef IORA_EXT_TABLE_H
#define IORA_EXT_TABLE_H

#include <Python.h>

#include <stddef.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* The reference at an offset of a state. */
#define AT(state, offset) ((PyObject **)(void *)((char *)(state) + (offset)))

/* An entry of a PyMethodDef table, whatever the function's type. */
#define METHOD(name, function, flags, text)                                                        \
    {                                                                                              \
        name, (PyCFunction)(void (*)(void))function, flags, PyDoc_STR(text)                        \
    }

struct import {
    const char *module, *name; /* no name: the module itself */
    size_t offset;
};

struct word {
    const char *text;
    size_t offset;
};

static inline int
iora__import(void *state, const struct import *import)
{
    PyObject *const module = PyImport_ImportModule(import->module);

    if (module == NULL)
        return -1;
    *AT(state, import->offset) =
        import->name == NULL ? Py_NewRef(module) : PyObject_GetAttrString(module, import->name);
    Py_DECREF(module);
    return *AT(state, import->offset) == NULL ? -1 : 0;
}

static inline int
iora__import_all(void *state, const struct import *imports, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (iora__import(state, &imports[i]) < 0)
            return -1;
    }
    return 0;
}

static inline int
iora__intern_all(void *state, const struct word *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((*AT(state, words[i].offset) = PyUnicode_InternFromString(words[i].text)) == NULL)
            return -1;
    }
    return 0;
}

#endif
