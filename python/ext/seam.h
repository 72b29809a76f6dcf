/* ext/seam.h -- allocations that fail when a test says so (theory in seam.c). */
#ifndef IORA_EXT_SEAM_H
#define IORA_EXT_SEAM_H

#include <Python.h>

#ifdef IORA_SEAMS
int iora__seam_add(PyObject *module);
#else
static inline int
iora__seam_add(PyObject *module)
{
    (void)module;
    return 0;
}
#endif
#endif
