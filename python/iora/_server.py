"""The server object: listening sockets, and the connections they brought."""

import asyncio
import sys
from asyncio import base_events, constants, trsock


class Server(base_events.Server):
    """What create_server() and create_unix_server() return."""

    def __init__(self, loop, sockets, protocol_factory, backlog, paths=()):
        self._loop = loop
        self._sockets = sockets
        self._protocol_factory = protocol_factory
        self._backlog = backlog
        self._ssl_context = None  # as asyncio's says that it has no TLS
        self._paths = list(paths)  # of Unix sockets, with the inode each had
        self._listeners = []
        self._active_count = 0
        self._waiters = []
        self._serving = False
        self._serving_forever = None

    def __repr__(self):
        return f"<{type(self).__name__} sockets={self.sockets!r}>"

    # ---- its connections ----------------------------------------------------------------------

    def _attach(self):
        self._active_count += 1

    def _detach(self):
        self._active_count -= 1
        self._wake_if_over()

    def _wake_if_over(self):
        if self._active_count > 0 or self._sockets is not None or self._waiters is None:
            return
        waiters, self._waiters = self._waiters, None
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def close_clients(self):
        """Close all connections, once what was written to them is sent."""
        for transport in self._loop._transports_of(self):
            transport.close()

    def abort_clients(self):
        """Close all connections now."""
        for transport in self._loop._transports_of(self):
            transport.abort()

    # ---- listening ------------------------------------------------------------------------------

    def _start(self):
        if self._serving:
            return
        self._serving = True
        for sock in self._sockets:
            sock.listen(self._backlog)
            listener = self._loop._listen(sock, self._protocol_factory, self)
            self._listeners.append(listener)
            listener.start()

    def _retry(self, listener, sock, exc):
        """By a listener that has stopped: there is no descriptor or memory for a connection."""
        self._loop.call_exception_handler({
            "message": "socket.accept() out of system resource",
            "exception": exc,
            "socket": trsock.TransportSocket(sock),
        })
        self._loop.call_later(constants.ACCEPT_RETRY_DELAY, self._resume, listener)

    def _resume(self, listener):
        if listener in self._listeners:
            listener.start()

    def _give_up(self, listener, sock, exc):
        """By a listener that has stopped: its socket is of no use any more."""
        self._listeners.remove(listener)
        self._loop.call_exception_handler({
            "message": "socket.accept() failed",
            "exception": exc,
            "socket": trsock.TransportSocket(sock),
        })

    # ---- what users call ----------------------------------------------------------------------------

    def get_loop(self):
        """The loop it belongs to."""
        return self._loop

    def is_serving(self):
        """Whether connections are accepted."""
        return self._serving

    @property
    def sockets(self):
        """The listening sockets, to look at."""
        return tuple(trsock.TransportSocket(sock) for sock in self._sockets or ())

    def close(self):
        """Accept no more. Connections stay."""
        sockets, self._sockets = self._sockets, None
        if sockets is None:
            return
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.stop()
        for sock in sockets:
            sock.close()
        for remove in self._paths:
            remove()
        self._serving = False
        if self._serving_forever is not None and not self._serving_forever.done():
            self._serving_forever.cancel()
            self._serving_forever = None
        self._wake_if_over()

    async def start_serving(self):
        """Begin to accept, if that has not begun."""
        self._start()
        await asyncio.sleep(0)

    async def serve_forever(self):
        """Accept until cancelled; then close."""
        if self._serving_forever is not None:
            raise RuntimeError(f"server {self!r} is already being awaited on serve_forever()")
        if self._sockets is None:
            raise RuntimeError(f"server {self!r} is closed")
        self._start()
        self._serving_forever = self._loop.create_future()
        try:
            await self._serving_forever
        except asyncio.CancelledError:
            self.close()
            await self.wait_closed()
            raise
        finally:
            self._serving_forever = None

    def _need_not_wait(self):
        if sys.version_info < (3, 12):
            return self._sockets is None
        return sys.version_info < (3, 12, 1) and self._active_count == 0

    async def wait_closed(self):
        """Wait until it is closed and its connections are gone. Before 3.12 that is over at once when it is closed."""
        if self._waiters is None or self._need_not_wait():
            return
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        self.close()
        await self.wait_closed()
