/* ext/transport.h -- a connected stream socket under a protocol (theory in transport.c). */
#ifndef IORA_EXT_TRANSPORT_H
#define IORA_EXT_TRANSPORT_H

#include <Python.h>

#include "ext/loop.h"

typedef struct TransportObject TransportObject;

int iora__transport_add_type(PyObject *module, struct state *state);

/* loop._make_transport(sock, protocol, waiter, extra, server) */
PyObject *iora__loop_make_transport(LoopObject *loop, PyObject *const *args, Py_ssize_t n);

/* The loop is being closed: give all descriptors back to their sockets. */
void iora__loop_drop_transports(LoopObject *loop);

/* -1 with RuntimeError if the descriptor is a transport's. */
int iora__transport_check_free(PyObject *transport, PyObject *fd);

#endif
