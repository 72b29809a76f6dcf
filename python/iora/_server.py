"""The server object: listening sockets, and the connections they brought."""

import asyncio
import errno
import weakref
from asyncio import constants, events, trsock

# What a process or the system has run out of, and what may come back.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Server(events.AbstractServer):
    """What create_server() and create_unix_server() return."""

    def __init__(self, loop, sockets, protocol_factory, backlog, paths=()):
        self._loop = loop
        self._sockets = sockets
        self._protocol_factory = protocol_factory
        self._backlog = backlog
        self._paths = list(paths)  # of Unix sockets, with the inode each had
        self._clients = weakref.WeakSet()
        self._active_count = 0
        self._waiters = []
        self._serving = False
        self._serving_forever = None

    def __repr__(self):
        return f"<{type(self).__name__} sockets={self.sockets!r}>"

    # ---- its connections ----------------------------------------------------------------------

    def _attach(self, transport):
        self._active_count += 1
        self._clients.add(transport)

    def _detach(self, transport):
        self._clients.discard(transport)
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
        for transport in list(self._clients):
            transport.close()

    def abort_clients(self):
        """Close all connections now."""
        for transport in list(self._clients):
            transport.abort()

    # ---- listening ------------------------------------------------------------------------------

    def _start(self):
        if self._serving:
            return
        self._serving = True
        for sock in self._sockets:
            sock.listen(self._backlog)
            self._loop.add_reader(sock, self._accept, sock)

    def _accept(self, sock):
        for _ in range(self._backlog + 1):
            try:
                connection, address = sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as exc:
                if exc.errno not in _EXHAUSTED:
                    raise
                self._pause_accepting(sock, exc)
                return
            self._begin(connection, address)

    def _pause_accepting(self, sock, exc):
        self._loop.call_exception_handler({
            "message": "socket.accept() out of system resource",
            "exception": exc,
            "socket": trsock.TransportSocket(sock),
        })
        self._loop.remove_reader(sock)
        self._loop.call_later(constants.ACCEPT_RETRY_DELAY, self._resume_accepting, sock)

    def _resume_accepting(self, sock):
        if self._sockets is not None and sock in self._sockets:
            self._loop.add_reader(sock, self._accept, sock)

    def _begin(self, connection, address):
        protocol = None
        try:
            connection.setblocking(False)
            protocol = self._protocol_factory()
            self._loop._make_transport(connection, protocol, None, {"peername": address}, self)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            connection.close()
            if self._loop.get_debug():
                context = {"message": "Error on transport creation for incoming connection",
                           "exception": exc}
                if protocol is not None:
                    context["protocol"] = protocol
                self._loop.call_exception_handler(context)

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
        for sock in sockets:
            if not self._loop.is_closed():
                self._loop.remove_reader(sock)
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

    async def wait_closed(self):
        """Wait until it is closed and its connections are gone."""
        if self._waiters is None:
            return
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        self.close()
        await self.wait_closed()
