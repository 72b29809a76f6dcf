/* ext/listener.h -- a listening socket that makes transports (theory in listener.c). */
#ifndef IORA_EXT_LISTENER_H
#define IORA_EXT_LISTENER_H

#include <Python.h>

#include "ext/loop.h"

int iora__listener_add_type(PyObject *module, struct state *state);

/* loop._listen(sock, protocol_factory, server) */
PyObject *iora__loop_listen(LoopObject *loop, PyObject *const *args, Py_ssize_t n);

/* The loop is being closed: stop all of them. */
void iora__loop_drop_listeners(LoopObject *loop);
int iora__loop_traverse_listeners(LoopObject *loop, visitproc visit, void *arg);

#endif
