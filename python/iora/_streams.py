"""The streams that users see: C below, asyncio's names and classes above, which keep what is done once a connection."""

import asyncio
import functools
import sys
from asyncio import coroutines

from . import _c

__all__ = ["StreamReader", "StreamReaderProtocol", "StreamWriter", "open_connection",
           "open_unix_connection", "start_server", "start_unix_server"]

_LIMIT = 1 << 16

# From 3.13 on a server's connection is closed when nobody keeps its writer.
_KEEPS_WRITERS = sys.version_info < (3, 13)


class StreamReader(_c.StreamReader, asyncio.StreamReader):
    """asyncio.StreamReader in C."""


class StreamWriter(_c.StreamWriter, asyncio.StreamWriter):
    """asyncio.StreamWriter in C."""


class StreamReaderProtocol(_c.StreamReaderProtocol, asyncio.StreamReaderProtocol):
    """asyncio.StreamReaderProtocol in C."""

    def connection_made(self, transport):
        connected, self._client_connected_cb = self._client_connected_cb, None
        super().connection_made(transport)
        self._client_connected_cb = connected
        if connected is None or self._reject_connection:
            return
        # Here, and not above, since that would make a writer of asyncio's.
        reader = self._stream_reader
        writer = StreamWriter(transport, self, reader, self._loop)
        if _KEEPS_WRITERS:
            self._stream_writer = writer
        result = connected(reader, writer)
        if coroutines.iscoroutine(result):
            self._task = self._loop.create_task(result)
            self._task.add_done_callback(functools.partial(self._handler_ended, transport))
        self._strong_reader = None

    def _handler_ended(self, transport, task):
        if task.cancelled():
            transport.close()
        elif (exc := task.exception()) is not None:
            self._loop.call_exception_handler({
                "message": "Unhandled exception in client_connected_cb",
                "exception": exc,
                "transport": transport,
            })
            transport.close()


async def _open(connect, where, limit, how):
    loop = asyncio.get_running_loop()
    reader = StreamReader(limit=limit, loop=loop)
    protocol = StreamReaderProtocol(reader, loop=loop)
    transport, _ = await getattr(loop, connect)(lambda: protocol, *where, **how)
    return reader, StreamWriter(transport, protocol, reader, loop)


async def _start(create, connected, where, limit, how):
    loop = asyncio.get_running_loop()

    def factory():
        return StreamReaderProtocol(StreamReader(limit=limit, loop=loop), connected, loop=loop)

    return await getattr(loop, create)(factory, *where, **how)


async def open_connection(host=None, port=None, *, limit=_LIMIT, **kwds):
    """Connect to a host and port: (reader, writer). Other arguments are loop.create_connection()'s."""
    return await _open("create_connection", (host, port), limit, kwds)


async def open_unix_connection(path=None, *, limit=_LIMIT, **kwds):
    """Connect to a Unix socket: (reader, writer). Other arguments are loop.create_unix_connection()'s."""
    return await _open("create_unix_connection", (path,), limit, kwds)


async def start_server(client_connected_cb, host=None, port=None, *, limit=_LIMIT, **kwds):
    """Have client_connected_cb(reader, writer) called for each connection. A coroutine becomes a task. Other
    arguments are loop.create_server()'s, and so is the result."""
    return await _start("create_server", client_connected_cb, (host, port), limit, kwds)


async def start_unix_server(client_connected_cb, path=None, *, limit=_LIMIT, **kwds):
    """The same for a Unix socket, as loop.create_unix_server()."""
    return await _start("create_unix_server", client_connected_cb, (path,), limit, kwds)
