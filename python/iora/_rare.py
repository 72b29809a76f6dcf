"""What a loop does once for each program, look-up or connection: in Python, mixed into the loop in C.

Everything that happens for each callback, timer or readiness is in ext/. A method here that waits is a
coroutine that tries first, and otherwise awaits a future that C completes.
"""

import asyncio
import collections
import concurrent.futures
import errno
import signal
import socket
import ssl
import sys
import threading
import traceback
import warnings
from asyncio import base_events, coroutines, events, futures, tasks
from asyncio.log import logger

_AGAIN = (BlockingIOError, InterruptedError)


def _later(what):
    raise NotImplementedError(f"iora has no {what} yet")


def _is_numeric(host):
    """Whether a host is an address already, so that nobody need be asked."""
    if host is None:
        return True
    if isinstance(host, bytes):
        try:
            host = host.decode("ascii")
        except UnicodeDecodeError:
            return False
    if not isinstance(host, str):
        return False
    for family, text in (socket.AF_INET, host), (socket.AF_INET6, host.partition("%")[0]):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return True
    return False


def _is_plain_port(port):
    return port is None or isinstance(port, int) or (
        isinstance(port, (bytes, str)) and (not port or port.isdigit()))


class Rare:
    """The part of the loop that need not be fast."""

    def __repr__(self):
        return (f"<{type(self).__name__} running={self.is_running()} "
                f"closed={self.is_closed()} debug={self.get_debug()}>")

    # ---- running ----------------------------------------------------------------------------

    def run_until_complete(self, future):
        """Run until the future or coroutine is done; its result, or its exception."""
        self._check_closed()
        self._check_running()
        is_new = not futures.isfuture(future)
        future = tasks.ensure_future(future, loop=self)
        if is_new:
            future._log_destroy_pending = False  # not reaching its end is an error here
        # asyncio's own function: libraries look for it among a task's callbacks.
        future.add_done_callback(base_events._run_until_complete_cb)
        try:
            self.run_forever()
        except BaseException:
            if is_new and future.done() and not future.cancelled():
                future.exception()  # the caller gets what left the loop, and has no task to ask
            raise
        finally:
            future.remove_done_callback(base_events._run_until_complete_cb)
        if not future.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return future.result()

    def _create_task_by_factory(self, coro, **kwargs):
        if sys.version_info >= (3, 14):
            return self._task_factory(self, coro, **kwargs)
        name = kwargs.pop("name", None)
        if kwargs.get("context", False) is None:
            del kwargs["context"]
        task = self._task_factory(self, coro, **kwargs)
        if name is not None:
            tasks._set_task_name(task, name) if hasattr(tasks, "_set_task_name") \
                else task.set_name(name)
        return task

    # ---- asynchronous generators ----------------------------------------------------------------

    def _asyncgen_firstiter_hook(self, agen):
        if self._asyncgens_shutdown_called:
            warnings.warn(f"asynchronous generator {agen!r} was scheduled after "
                          "loop.shutdown_asyncgens() call", ResourceWarning, source=self)
        self._asyncgens.add(agen)

    def _asyncgen_finalizer_hook(self, agen):
        self._asyncgens.discard(agen)
        if not self.is_closed():
            self.call_soon_threadsafe(self.create_task, agen.aclose())

    async def shutdown_asyncgens(self):
        """Close all asynchronous generators that are being iterated."""
        self._asyncgens_shutdown_called = True
        agens = list(self._asyncgens)
        if not agens:
            return
        self._asyncgens.clear()
        results = await tasks.gather(*(agen.aclose() for agen in agens), return_exceptions=True)
        for agen, result in zip(agens, results):
            if isinstance(result, Exception):
                self.call_exception_handler({
                    "message": "an error occurred during closing of asynchronous generator "
                               f"{agen!r}",
                    "exception": result,
                    "asyncgen": agen,
                })

    # ---- errors -----------------------------------------------------------------------------------

    def get_exception_handler(self):
        """The handler, or None for the default one."""
        return self._exception_handler

    def set_exception_handler(self, handler):
        """Have handler(loop, context) called for errors that nobody can be given; None: the default."""
        if handler is not None and not callable(handler):
            raise TypeError(f"A callable object or None is expected, got {handler!r}")
        self._exception_handler = handler

    def default_exception_handler(self, context):
        """Log an error with what is known about it."""
        message = context.get("message") or "Unhandled exception in event loop"
        exception = context.get("exception")
        origin = getattr(self._current_handle, "_source_traceback", None)
        if origin and "source_traceback" not in context:
            context["handle_traceback"] = origin
        lines = [message]
        for key in sorted(context.keys() - {"message", "exception"}):
            value = context[key]
            if key in {"source_traceback", "handle_traceback"}:
                kind = "Object" if key == "source_traceback" else "Handle"
                stack = "".join(traceback.format_list(value)).rstrip()
                lines.append(f"{key}: {kind} created at (most recent call last):\n{stack}")
            else:
                lines.append(f"{key}: {value!r}")
        info = exception is not None and (type(exception), exception, exception.__traceback__)
        logger.error("\n".join(lines), exc_info=info)

    def call_exception_handler(self, context):
        """Give an error to the loop's handler, in the context of the task it came from."""
        handler = self._exception_handler
        try:
            if handler is None:
                self.default_exception_handler(context)
            else:
                self._run_exception_handler(handler, context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            if handler is None:
                logger.error("Exception in default exception handler", exc_info=True)
            else:
                self._note_failed_handler(exc, context)

    def _run_exception_handler(self, handler, context):
        source = context.get("task") or context.get("future") or context.get("handle")
        where = source.get_context() if hasattr(source, "get_context") else None
        if hasattr(where, "run"):
            where.run(handler, self, context)
        else:
            handler(self, context)

    def _note_failed_handler(self, exc, context):
        try:
            self.default_exception_handler({
                "message": "Unhandled error in exception handler",
                "exception": exc,
                "context": context,
            })
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            logger.error("Exception in default exception handler while handling an unexpected "
                         "error in custom exception handler", exc_info=True)

    # ---- threads ------------------------------------------------------------------------------------

    def _run_by_executor(self, executor, args):
        return futures.wrap_future(executor.submit(*args), loop=self)

    def set_default_executor(self, executor):
        """Set what run_in_executor(None, ...) uses: a ThreadPoolExecutor."""
        if not isinstance(executor, concurrent.futures.ThreadPoolExecutor):
            raise TypeError("executor must be ThreadPoolExecutor instance")
        self._default_executor = executor

    async def shutdown_default_executor(self, timeout=None):
        """Wait until the threads of the default executor have ended."""
        self._executor_shutdown_called = True
        if not self._executors:
            return
        future = self.create_future()
        thread = threading.Thread(target=self._join_executors, args=(future,))
        thread.start()
        try:
            async with asyncio.timeout(timeout):
                await future
        except TimeoutError:
            warnings.warn("The executor did not finishing joining its threads within "
                          f"{timeout} seconds.", RuntimeWarning, stacklevel=2)
            for executor in self._executors:
                executor.shutdown(wait=False)
        else:
            thread.join()

    def _join_executors(self, future):
        try:
            for executor in self._executors:
                executor.shutdown(wait=True)
        except Exception as exc:
            finish, value = future.set_exception, exc
        else:
            finish, value = self._set_result_unless_done, future
        if not self.is_closed():
            self.call_soon_threadsafe(finish, value)

    @staticmethod
    def _set_result_unless_done(future):
        if not future.done():
            future.set_result(None)

    # ---- names ----------------------------------------------------------------------------------------

    async def getaddrinfo(self, host, port, *, family=0, type=0, proto=0, flags=0):
        """socket.getaddrinfo(), in a thread if a name must be looked up."""
        look_up = self._getaddrinfo_debug if self._debug else socket.getaddrinfo
        if _is_numeric(host) and _is_plain_port(port):
            return look_up(host, port, family, type, proto, flags)
        return await self.run_in_executor(None, look_up, host, port, family, type, proto, flags)

    def _getaddrinfo_debug(self, host, port, family, type, proto, flags):
        named = {"family": family, "type": type, "proto": proto, "flags": flags}
        what = ", ".join([f"{host}:{port!r}"] + [f"{k}={v!r}" for k, v in named.items() if v])
        logger.debug("Get address info %s", what)
        began = self.time()
        result = socket.getaddrinfo(host, port, family, type, proto, flags)
        took = self.time() - began
        say = logger.info if took >= self.slow_callback_duration else logger.debug
        say(f"Getting address info {what} took {took * 1e3:.3f}ms: {result!r}")
        return result

    async def getnameinfo(self, sockaddr, flags=0):
        """socket.getnameinfo(), in a thread unless numbers are asked for."""
        numbers = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
        if flags & numbers == numbers:
            return socket.getnameinfo(sockaddr, flags)
        return await self.run_in_executor(None, socket.getnameinfo, sockaddr, flags)

    # ---- sockets of the user's ----------------------------------------------------------------------

    @staticmethod
    def _refuse_ssl_socket(sock):
        if isinstance(sock, ssl.SSLSocket):
            raise TypeError("Socket cannot be of type SSLSocket")

    def _check_socket(self, sock):
        self._refuse_ssl_socket(sock)
        if self._debug and sock.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking")

    async def sock_recv(self, sock, nbytes):
        """Receive up to nbytes; b"" at the end."""
        self._check_socket(sock)
        try:
            return sock.recv(nbytes)
        except _AGAIN:
            return await self._attempt(sock, False, lambda: sock.recv(nbytes))

    async def sock_recv_into(self, sock, buf):
        """Receive into a buffer; how many bytes."""
        self._check_socket(sock)
        try:
            return sock.recv_into(buf)
        except _AGAIN:
            return await self._attempt(sock, False, lambda: sock.recv_into(buf))

    async def sock_recvfrom(self, sock, bufsize):
        """Receive a datagram: its bytes, and the sender's address."""
        self._check_socket(sock)
        try:
            return sock.recvfrom(bufsize)
        except _AGAIN:
            return await self._attempt(sock, False, lambda: sock.recvfrom(bufsize))

    async def sock_recvfrom_into(self, sock, buf, nbytes=0):
        """Receive a datagram into a buffer: how many bytes, and the sender's address."""
        self._check_socket(sock)
        nbytes = nbytes or len(buf)
        try:
            return sock.recvfrom_into(buf, nbytes)
        except _AGAIN:
            return await self._attempt(sock, False, lambda: sock.recvfrom_into(buf, nbytes))

    async def sock_sendall(self, sock, data):
        """Send all of the data."""
        self._check_socket(sock)
        try:
            sent = sock.send(data)
        except _AGAIN:
            sent = 0
        if sent == len(data):
            return
        rest = memoryview(data).cast("B")[sent:]

        def send_more():
            nonlocal rest
            rest = rest[sock.send(rest):]
            if rest:
                raise BlockingIOError

        await self._attempt(sock, True, send_more)

    async def sock_sendto(self, sock, data, address):
        """Send a datagram."""
        self._check_socket(sock)
        try:
            return sock.sendto(data, address)
        except _AGAIN:
            return await self._attempt(sock, True, lambda: sock.sendto(data, address))

    async def sock_connect(self, sock, address):
        """Connect a socket; the host in the address may be a name."""
        self._check_socket(sock)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            infos = await self._resolve(address, family=sock.family, type=sock.type,
                                        proto=sock.proto)
            address = infos[0][4]
        await self._connect(sock, address)

    async def _connect(self, sock, address):
        try:
            sock.connect(address)
            return
        except _AGAIN:
            pass

        def finish():
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, f"Connect call failed {address}")

        await self._attempt(sock, True, finish)

    async def sock_accept(self, sock):
        """Accept a connection: a new socket, and the peer's address."""
        self._check_socket(sock)

        def accept():
            connection, address = sock.accept()
            connection.setblocking(False)
            return connection, address

        try:
            return accept()
        except _AGAIN:
            return await self._attempt(sock, False, accept)

    async def _resolve(self, address, *, family=0, type=socket.SOCK_STREAM, proto=0, flags=0):
        """What getaddrinfo() says of an address, with what it has beyond host and port."""
        host, port = address[:2]
        # Not for its speed: socket.getaddrinfo() takes a port that is none for another.
        info = base_events._ipaddr_info(host, port, family, type, proto, *address[2:])
        if info is not None:
            return [info]
        infos = await self.getaddrinfo(host, port, family=family, type=type, proto=proto,
                                       flags=flags)
        if len(address) > 2 and infos and infos[0][0] == socket.AF_INET6:
            infos = [(*info[:4], (*info[4][:2], *address[2:])) for info in infos]
        return infos

    # ---- signals ----------------------------------------------------------------------------------------
    #
    # The interpreter runs our handler in the main thread, between two bytecodes or when the loop asks for it;
    # while the loop waits, its wake-up descriptor brings it there. So no signal can be lost to a full pipe.

    #
    # asyncio has nothing but the bytes that come by that descriptor, and so calls its handler even while the
    # interpreter's is another: uvicorn puts its own in the place of ours while it serves. So a byte for which ours
    # was not called counts as well.

    _signal_handlers = None  # number: handle, which is run each time and never queued
    _signals_taken = collections.Counter()  # by ours, of which the bytes are still to come

    @staticmethod
    def _check_signal(sig):
        if not isinstance(sig, int):
            raise TypeError(f"sig must be an int, not {sig!r}")
        if sig not in signal.valid_signals():
            raise ValueError(f"invalid signal number {sig}")

    def add_signal_handler(self, sig, callback, *args):
        """Call callback(*args) from the loop whenever the signal comes. Main thread only."""
        if asyncio.iscoroutine(callback) or coroutines.iscoroutinefunction(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        self._check_signal(sig)
        self._check_closed()
        if self._signal_handlers is None:
            self._signal_handlers = {}
            self._signals_taken = collections.Counter()
        before = self._signal_handlers.get(sig)
        self._signal_handlers[sig] = events.Handle(callback, args, self, None)
        try:
            signal.signal(sig, self._on_signal)
            signal.siginterrupt(sig, False)
        except (OSError, ValueError) as exc:
            if before is None:
                del self._signal_handlers[sig]
            else:
                self._signal_handlers[sig] = before
            if getattr(exc, "errno", None) == errno.EINVAL:
                raise RuntimeError(f"sig {sig} cannot be caught") from None
            if isinstance(exc, ValueError):
                raise RuntimeError(str(exc)) from None
            raise

    def _on_signal(self, sig, frame):
        if self.is_running():
            self._signals_taken[sig] += 1
        self._call_signal_handler(sig)

    def _on_wake_up(self, numbers):
        """What the interpreter wrote: by now it has called its handlers, as before each function in Python."""
        for sig in numbers:
            if self._signals_taken[sig] > 0:
                self._signals_taken[sig] -= 1
            else:
                self._call_signal_handler(sig)

    def _call_signal_handler(self, sig):
        if self._signal_handlers and sig in self._signal_handlers and not self.is_closed():
            self.call_soon_threadsafe(self._run_signal_handler, sig)

    def _run_signal_handler(self, sig):
        handle = self._signal_handlers.get(sig)
        if handle is not None:  # nobody has removed it since the signal came
            handle._run()

    def remove_signal_handler(self, sig):
        """Whether there was one."""
        self._check_signal(sig)
        if not self._signal_handlers or self._signal_handlers.pop(sig, None) is None:
            return False
        default = signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL
        try:
            signal.signal(sig, default)
        except OSError as exc:
            if exc.errno == errno.EINVAL:
                raise RuntimeError(f"sig {sig} cannot be caught") from None
            raise
        return True

    def _before_close(self):
        for sig in list(self._signal_handlers or ()):
            self.remove_signal_handler(sig)

    # ---- what is to come --------------------------------------------------------------------------------

    async def create_datagram_endpoint(self, protocol_factory, local_addr=None, remote_addr=None,
                                       **kwargs):
        _later("datagram endpoints")

    async def start_tls(self, transport, protocol, sslcontext, **kwargs):
        _later("TLS")

    async def sendfile(self, transport, file, offset=0, count=None, *, fallback=True):
        _later("sendfile()")

    async def sock_sendfile(self, sock, file, offset=0, count=None, *, fallback=True):
        _later("sock_sendfile()")

    async def connect_read_pipe(self, protocol_factory, pipe):
        _later("pipes")

    async def connect_write_pipe(self, protocol_factory, pipe):
        _later("pipes")

    async def subprocess_exec(self, protocol_factory, *args, **kwargs):
        _later("subprocesses")

    async def subprocess_shell(self, protocol_factory, cmd, **kwargs):
        _later("subprocesses")
