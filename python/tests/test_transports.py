"""Transports and servers: the same scenarios on asyncio's loop and on ours, and what only ours has to bear."""

import array
import asyncio
import contextvars
import errno
import gc
import logging
import mmap
import os
import resource
import socket
import sys
import weakref

import pytest

import iora

BIG = 1 << 20


class Tracing:
    """A protocol that writes down what it hears. What it does then is in `on`: {event: function(self, *args)}."""

    def __init__(self, trace, name="", **on):
        self.trace, self.name, self.on = trace, name, on
        self.lost = asyncio.get_running_loop().create_future()

    def note(self, event, *args):
        shown = [type(arg).__name__ if isinstance(arg, BaseException) else arg for arg in args
                 if not isinstance(arg, asyncio.BaseTransport)]
        self.trace.append((self.name + event, *shown))
        if event in self.on:
            return self.on[event](self, *args)

    def connection_made(self, transport):
        self.transport = transport
        self.note("made", transport)

    def eof_received(self):
        return self.note("eof")

    def pause_writing(self):
        self.note("pause")

    def resume_writing(self):
        self.note("resume")

    def connection_lost(self, exc):
        try:
            self.note("lost", exc)
        finally:
            if not self.lost.done():
                self.lost.set_result(None)


class Plain(Tracing, asyncio.Protocol):
    def data_received(self, data):
        self.note("data", data)


class Buffered(Tracing, asyncio.BufferedProtocol):
    def get_buffer(self, hint):
        self.buffer = bytearray(64)
        given = self.on["get"](self) if "get" in self.on else None
        return self.buffer if given is None else given

    def buffer_updated(self, n):
        self.note("data", bytes(self.buffer[:n]))


async def connect(protocol):
    """A transport with the protocol, and the socket at the other end."""
    loop = asyncio.get_running_loop()
    a, b = socket.socketpair()
    b.setblocking(False)
    transport, _ = await loop.create_connection(lambda: protocol, sock=a)
    return transport, b


async def settle():
    for _ in range(5):
        await asyncio.sleep(0.002)


def both(scenario):
    """Run scenario(trace) on asyncio's loop and on ours: the traces must be the same."""
    traces = []
    for factory in asyncio.SelectorEventLoop, iora.new_event_loop:
        trace = []

        async def main():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: trace.append(
                ("handler", context["message"], repr(context.get("exception")))))
            await asyncio.wait_for(scenario(trace), 20)

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())
        gc.collect()
        traces.append(trace)
    assert traces[1] == traces[0]
    assert traces[0]
    return traces[0]


# ---- as on asyncio -------------------------------------------------------------------------------------------

def test_a_connection_lives_as_on_asyncio():
    async def scenario(trace):
        protocol = Plain(trace, data=lambda self, data: self.transport.write(b"<" + data + b">"))
        transport, peer = await connect(protocol)
        with peer:
            for word in b"one", b"two":
                peer.send(word)
                await settle()
                trace.append(peer.recv(100))
            peer.shutdown(socket.SHUT_WR)
            await protocol.lost
            trace.append((transport.is_closing(), transport.get_protocol()))
            transport.close()
            transport.abort()
            trace.append(peer.recv(100))

    both(scenario)


@pytest.mark.parametrize("how", ["close", "abort", "write_eof", "pause_reading"])
@pytest.mark.parametrize("when", ["made", "data", "eof", "lost", "get"])
@pytest.mark.parametrize("kind", [Plain, Buffered])
def test_a_transport_bears_its_methods_in_its_own_callbacks(how, when, kind):
    if kind is Buffered and when == "get" and how == "pause_reading":
        pytest.skip("asyncio receives once more")
    if when == "made" and how == "pause_reading" and sys.version_info < (3, 12):
        pytest.skip("asyncio before 3.12 reads all the same")

    async def scenario(trace):
        def act(self, *args):
            if how == "abort" and self.transport.is_closing():
                return
            getattr(self.transport, how)()

        protocol = kind(trace, **{when: act})
        transport, peer = await connect(protocol)
        with peer:
            await settle()
            try:
                peer.send(b"data")
                await settle()
                peer.shutdown(socket.SHUT_WR)
            except OSError as exc:
                trace.append(exc.errno)
            await settle()
            trace.append((transport.is_closing(), transport.is_reading()))
            transport.abort()
            await protocol.lost

    if how == "close" and when == "get" and kind is Buffered:
        # asyncio receives what had come, and tells nobody; we leave it with the kernel.
        trace = []
        iora.run(scenario(trace))
        assert trace[0] == ("made",) and ("lost", None) in trace
        return
    if how == "abort" and when == "get" and kind is Buffered:
        trace = []
        iora.run(scenario(trace))
        assert ("lost", None) in trace
        return
    both(scenario)


@pytest.mark.parametrize("when", ["made", "data", "eof", "lost", "pause", "resume", "get"])
@pytest.mark.parametrize("kind", [Plain, Buffered])
def test_what_a_callback_raises_is_told_as_on_asyncio(when, kind):
    if when == "get":
        pytest.skip("ours may ask for memory before there is something to receive")

    async def scenario(trace):
        def fail(self, *args):
            raise ZeroDivisionError(when)

        protocol = kind(trace, **{when: fail})
        transport, peer = await connect(protocol)
        with peer:
            transport.write(bytes(BIG))
            await settle()
            try:
                while peer.recv(BIG):
                    await settle()
            except BlockingIOError:
                pass
            peer.send(b"data")
            await settle()
            peer.shutdown(socket.SHUT_WR)
            await settle()
            transport.abort()
            await protocol.lost
            await settle()
        # Callbacks are shown with what they belong to, which is named otherwise.
        trace[:] = [("callback", *entry[2:]) if entry[:1] == ("handler",) and "callback" in entry[1]
                    else entry for entry in trace]

    both(scenario)


def seen_exception():
    """What is being handled, and the exceptions that it came from, from sys.exc_info()."""
    exc, chain = sys.exc_info()[1], []
    while exc is not None:
        chain.append(repr(exc))
        exc = exc.__context__
    return chain


def test_an_exception_handler_handles_the_exception():
    async def scenario(trace):
        loop = asyncio.get_running_loop()
        heard = []

        def fail(error):
            raise error

        def handler(_, context):
            heard.append((context["message"].split(" <")[0], seen_exception()))

        loop.set_exception_handler(handler)
        loop.call_soon(fail, ValueError("callback"))
        loop.call_later(0, fail, ValueError("timer"))
        future = loop.create_future()
        future.add_done_callback(lambda _: fail(ValueError("done callback")))
        future.set_result(None)
        await settle()
        for event in "data", "eof", "pause":
            protocol = Plain([], **{event: lambda self, *_: fail(KeyError("of the protocol"))})
            transport, peer = await connect(protocol)
            with peer:
                if event == "pause":
                    transport.set_write_buffer_limits(0)
                    transport.write(b"x" * BIG)
                    transport.abort()
                elif event == "data":
                    peer.send(b"x")
                else:
                    peer.shutdown(socket.SHUT_WR)
                await protocol.lost
        trace.append(sorted(heard))
        trace.append(seen_exception())
        try:
            raise KeyError("before")
        except KeyError:
            transport, peer = await connect(Plain([], pause=lambda self: fail(KeyError("inner"))))
            transport.set_write_buffer_limits(0)
            transport.write(b"x" * BIG)
            transport.abort()
            peer.close()
            trace.append(seen_exception())
        trace.append(seen_exception())

    both(scenario)


def test_what_an_exception_handler_raises_says_what_it_was_told_of(caplog):
    async def scenario(trace):
        def fail():
            raise ValueError("told")

        def handler(loop, context):
            raise RuntimeError("in the handler")

        caplog.clear()
        asyncio.get_running_loop().set_exception_handler(handler)
        asyncio.get_running_loop().call_soon(fail)
        await settle()
        exc = caplog.records[-1].exc_info[1]
        trace.append((repr(exc), repr(exc.__context__)))

    both(scenario)


def test_water_marks_may_be_any_numbers():
    async def scenario(trace):
        transport, peer = await connect(Plain([]))
        with peer:
            for marks in ({"high": 1.5}, {"high": 9.9, "low": 1.1}, {"low": 2.5}, {"high": float("inf"), "low": 1},
                          {"high": 1 << 70}, {"high": 1, "low": 2.5}, {"high": -0.5}, {"high": "x"}, {"high": []}):
                try:
                    transport.set_write_buffer_limits(**marks)
                except (TypeError, ValueError) as exc:
                    trace.append(type(exc))
                else:
                    trace.append("set")
            transport.abort()

    both(scenario)


def test_lines_may_be_any_buffers():
    async def scenario(trace):
        transport, peer = await connect(Plain([]))
        with peer:
            transport.writelines([b"<", array.array("B", b"one"), bytearray(b"two"), memoryview(b"four"),
                                  mmap.mmap(-1, 2)])
            await settle()
            trace.append(peer.recv(100))
            for wrong in [5], ["text"], [b"", None], 5, [[1, 2]]:
                with pytest.raises(TypeError):
                    transport.writelines(wrong)
            transport.abort()

    both(scenario)


def test_what_is_written_arrives_in_order_and_counts_as_on_asyncio():
    async def scenario(trace):
        protocol = Plain(trace)
        transport, peer = await connect(protocol)
        with peer:
            changing = bytearray(b"bytearray")
            transport.write(changing)
            changing[:] = b"*" * len(changing)
            transport.write(memoryview(b"memoryview")[3:])
            transport.write(memoryview(b"12345678").cast("I"))
            transport.writelines([b"a", bytearray(b"b"), b"", memoryview(b"c")])
            transport.writelines([])
            transport.write(b"")
            trace.append(transport.get_write_buffer_size())
            await settle()
            trace.append(peer.recv(1000))
            for what in "text", None, [b"x"]:
                with pytest.raises(TypeError) as caught:
                    transport.write(what)
                trace.append(type(caught.value))
            transport.write(b"last")
            transport.write_eof()
            with pytest.raises(RuntimeError) as caught:
                transport.write(b"after")
            trace.append(str(caught.value))
            transport.write_eof()
            await settle()
            trace.append((peer.recv(100), peer.recv(100)))
            transport.close()
            await protocol.lost

    both(scenario)


def test_pausing_means_the_same():
    async def scenario(trace):
        protocol = Plain(trace)
        transport, peer = await connect(protocol)
        with peer:
            trace.append(transport.get_write_buffer_limits())
            for high, low in (None, None), (100, None), (None, 10), (0, None), (10, 10):
                transport.set_write_buffer_limits(high, low)
                trace.append(transport.get_write_buffer_limits())
            for high, low in (1, 2), (-1, -2):
                with pytest.raises(ValueError) as caught:
                    transport.set_write_buffer_limits(high=high, low=low)
                trace.append(str(caught.value))
            transport.set_write_buffer_limits()
            transport.write(b"x" * 1000)
            trace.append("small")
            transport.write(bytes(BIG))
            trace.append("big")
            rest = BIG + 1000
            while rest:
                try:
                    rest -= len(peer.recv(BIG))
                except BlockingIOError:
                    await asyncio.sleep(0.001)
            await settle()
            trace.append(transport.get_write_buffer_size())
            transport.close()
            await protocol.lost

    trace = both(scenario)
    assert trace.index(("pause",)) > trace.index("small") and ("resume",) in trace


def test_what_is_queued_is_sent_before_a_close_and_dropped_by_an_abort():
    async def scenario(trace):
        for how in "close", "abort":
            protocol = Plain(trace)
            transport, peer = await connect(protocol)
            with peer:
                transport.write(b"first")
                transport.write(bytes(BIG))
                getattr(transport, how)()
                got = 0
                while True:
                    try:
                        if not (data := peer.recv(BIG)):
                            break
                        got += len(data)
                    except BlockingIOError:
                        await asyncio.sleep(0.001)
                await protocol.lost
                trace.append(got == BIG + 5)

    assert True in both(scenario)


def test_writing_to_a_lost_connection_is_dropped_and_told_after_five(caplog):
    async def scenario(trace):
        caplog.clear()
        protocol = Plain(trace)
        transport, peer = await connect(protocol)
        peer.close()
        await protocol.lost
        for _ in range(4):
            transport.write(b"x")
        trace.append(len(caplog.records))
        for _ in range(4):
            transport.write(b"x")
        trace.append([(record.levelname, record.message) for record in caplog.records
                      if record.levelno >= logging.WARNING])

    both(scenario)


def test_a_peer_that_resets_the_connection_is_told_as_on_asyncio():
    async def scenario(trace):
        loop = asyncio.get_running_loop()
        listener = socket.create_server(("127.0.0.1", 0))
        protocol = Plain(trace)
        with listener:
            transport, _ = await loop.create_connection(lambda: protocol, *listener.getsockname())
            peer, _ = listener.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        await protocol.lost

    assert both(scenario)[-1] == ("lost", "ConnectionResetError")


def test_the_protocol_is_exchanged_in_its_own_callback():
    async def scenario(trace):
        last = Plain(trace, "last ")
        middle = Buffered(trace, "middle ", data=lambda self, data: transport.set_protocol(last))
        first = Plain(trace, "first ", data=lambda self, data: transport.set_protocol(middle))
        transport, peer = await connect(first)
        middle.transport = last.transport = transport
        with peer:
            for word in b"one", b"two", b"three":
                peer.send(word)
                await settle()
            trace.append(transport.get_protocol() is last)
            transport.close()
            await last.lost

    both(scenario)


def test_a_server_tells_and_waits():
    async def scenario(trace):
        loop = asyncio.get_running_loop()
        inside = []

        def factory():
            inside.append(Plain(trace, "server "))
            return inside[-1]

        server = await loop.create_server(factory, "127.0.0.1", 0, start_serving=False)
        trace.append((server.is_serving(), len(server.sockets), isinstance(server, asyncio.Server)))
        await server.start_serving()
        await server.start_serving()
        trace.append((server.is_serving(), server.get_loop() is loop))
        address = server.sockets[0].getsockname()
        client = Plain(trace, "client ")
        transport, _ = await loop.create_connection(lambda: client, *address)
        trace.append(transport.get_extra_info("peername") == address)
        await settle()
        with_server = inside[0].transport
        trace.append(with_server.get_extra_info("peername") == transport.get_extra_info("sockname"))
        trace.append(with_server.get_extra_info("sockname") == address)
        trace.append(with_server.get_extra_info("nothing", 5))
        server.close()
        trace.append((server.is_serving(), server.sockets))
        transport.close()
        await inside[0].lost
        await server.wait_closed()
        with pytest.raises(OSError) as caught:
            await loop.create_connection(asyncio.Protocol, *address)
        trace.append(caught.value.errno)
        with pytest.raises(RuntimeError):
            await server.serve_forever()

    both(scenario)


@pytest.mark.parametrize("clients", [0, 1])
@pytest.mark.parametrize("first", ["wait", "close"])
def test_a_server_waits_for_its_end_as_long_as_the_versions_own(clients, first):
    async def scenario(trace):
        loop = asyncio.get_running_loop()
        inside = Plain([], "server ")
        server = await loop.create_server(lambda: inside, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        if clients:
            transport, _ = await loop.create_connection(asyncio.Protocol, *address)
            await settle()
        if first == "close":
            server.close()
        waiting = asyncio.ensure_future(server.wait_closed())
        await settle()
        trace.append(waiting.done())
        server.close()
        await settle()
        trace.append(waiting.done())
        if clients:
            transport.close()
            await inside.lost
        await waiting

    both(scenario)


def test_contexts_are_those_of_who_began():
    variable = contextvars.ContextVar("variable", default="none")

    async def scenario(trace):
        loop = asyncio.get_running_loop()

        def note(self, *args):
            trace.append(variable.get())

        variable.set("serving")
        server = await loop.create_server(
            lambda: Plain(trace, "server ", made=note, data=note, lost=note), "127.0.0.1", 0)
        variable.set("connecting")
        client = Plain(trace, "client ", made=note, lost=note)
        transport, _ = await loop.create_connection(lambda: client, *server.sockets[0].getsockname())
        variable.set("later")
        await settle()
        transport.write(b"x")
        await settle()
        transport.close()
        await client.lost
        await settle()
        server.close()
        await server.wait_closed()

    both(scenario)


def test_a_reader_of_the_users_is_fed_in_the_connections_context():
    variable = contextvars.ContextVar("variable", default="none")

    async def scenario(trace):
        streams = iora if isinstance(asyncio.get_running_loop(), iora.EventLoop) else asyncio

        class Reader(streams.StreamReader):
            def feed_data(self, data):
                trace.append((bytes(data), variable.get()))
                super().feed_data(data)

        reader = Reader()
        variable.set("maker")
        transport, peer = await connect(streams.StreamReaderProtocol(reader))
        variable.set("later")
        with peer:
            peer.send(b"x")
            assert await reader.read(1) == b"x"
        transport.close()
        await settle()

    assert both(scenario) == [(b"x", "maker")]


def test_a_writers_context_goes_with_the_connection_though_the_transport_is_kept():
    variable = contextvars.ContextVar("variable")

    class Held:
        pass

    async def scenario(trace):
        transport, peer = await connect(Plain([]))

        def write(held):
            variable.set(held)
            transport.write(b"x" * BIG)

        held = Held()
        kept = weakref.ref(held)
        contextvars.copy_context().run(write, held)
        del held
        with peer:
            transport.abort()
            await settle()
        gc.collect()
        trace.append(kept() is None)

    assert both(scenario) == [True]


def test_what_the_peer_said_last_is_delivered_though_get_buffer_writes():
    async def scenario(trace):
        protocol = Buffered(trace, get=lambda self: self.transport.write(b"more room"))
        _, peer = await connect(protocol)
        await settle()
        peer.send(b"last words")
        peer.close()
        await protocol.lost
        trace[:] = [event for event in trace if event[0] == "data"]

    assert both(scenario) == [("data", b"last words")]


def test_writelines_with_a_bad_piece_sends_none():
    async def scenario(trace):
        transport, peer = await connect(Plain([]))
        gone = memoryview(b"gone")
        gone.release()
        with peer:
            with pytest.raises((TypeError, ValueError)):
                transport.writelines([b"first", gone])
            transport.write(b"next")
            await settle()
            trace.append(peer.recv(100))
        transport.close()
        await settle()

    assert both(scenario) == [b"next"]


def test_a_send_that_fails_as_the_loop_is_closed_is_no_error_of_the_loops(monkeypatch):
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    loop = iora.new_event_loop()
    a, b = socket.socketpair()
    transport, _ = loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=a))

    def leave(*_):
        b.close()
        transport.write(b"to nobody")
        raise KeyboardInterrupt

    loop.set_exception_handler(leave)
    loop.call_soon(lambda: 1 / 0)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    loop.close()
    assert unraisable == []


def test_flow_is_told_in_the_context_of_who_writes_and_reads():
    variable = contextvars.ContextVar("variable", default="none")

    async def within(name, function):
        async def do():
            variable.set(name)
            return await function()
        return await asyncio.create_task(do())

    async def scenario(trace):
        loop = asyncio.get_running_loop()

        def note(event):
            return lambda *_: trace.append((event, variable.get()))

        async def write():
            for _ in range(20):
                transport.write(b"x" * 1000)
            await asyncio.sleep(0.01)

        async def close():
            transport.write(b"x" * BIG)
            transport.close()

        async def pause_and_resume():
            transport.pause_reading()
            transport.resume_reading()

        async def receive(size):
            while size > 0:
                size -= len(await loop.sock_recv(peer, size))
            await settle()

        events = {event: note(event) for event in ("data", "pause", "resume", "eof", "lost")}
        variable.set("made")
        for how in write, close:
            protocol = Plain([], **events)
            transport, peer = await connect(protocol)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            transport.set_write_buffer_limits(8000, 0)
            variable.set("later")
            with peer:
                peer.send(b"1")
                await settle()
                await within("reader", pause_and_resume)
                peer.send(b"2")
                await settle()
                await within("writer", how)
                if how is write:
                    await receive(20 * 1000)
                    await within("another", how)
                    await receive(20 * 1000)
                else:
                    await receive(BIG)
            await protocol.lost

    both(scenario)


def test_addresses_are_those_of_the_socket_module(tmp_path):
    async def scenario(trace):
        loop = asyncio.get_running_loop()
        path = str(tmp_path / "socket")
        kinds = [lambda f: loop.create_server(f, "127.0.0.1", 0), lambda f: loop.create_unix_server(f, path),
                 lambda f: loop.create_unix_server(f, b"\0iora-test-%d" % os.getpid())]
        if socket.has_ipv6:
            kinds.append(lambda f: loop.create_server(f, "::1", 0))
        for kind in kinds:
            inside = []
            server = await kind(lambda: inside.append(Plain([], "")) or inside[-1])
            listening = server.sockets[0]
            with socket.socket(listening.family, socket.SOCK_STREAM) as client:
                client.setblocking(False)
                await loop.sock_connect(client, listening.getsockname())
                await settle()
                transport = inside[0].transport
                asked = [transport.get_extra_info(key) for key in ("sockname", "peername")]
                trace.append(asked == [client.getpeername(), client.getsockname()])
                if isinstance(asked[0], tuple):
                    trace.append([len(asked[0]), asked[0][0], asked[0][2:]])
                else:
                    trace.append(asked)
                sock = transport.get_extra_info("socket")
                trace.append((sock.family, sock.type, sock.gettimeout(), sock.getsockname() == asked[0]))
            await inside[0].lost
            await settle()
            trace.append((sock.fileno(), transport.get_extra_info("sockname") == asked[0]))
            server.close()
            await server.wait_closed()
            if os.path.exists(path):
                os.unlink(path)

    both(scenario)


def test_errors_of_connecting_are_as_on_asyncio():
    async def scenario(trace):
        loop = asyncio.get_running_loop()

        async def attempt(*args, **kwargs):
            try:
                await loop.create_connection(asyncio.Protocol, *args, **kwargs)
            except Exception as exc:
                trace.append((type(exc).__name__, str(exc).replace(str(port), "PORT")))
            else:
                trace.append("connected")

        with socket.socket() as held:  # and does not listen; else who is given this port connects to himself
            held.bind(("127.0.0.1", 0))
            port = held.getsockname()[1]
            await attempt("127.0.0.1", port)
            await attempt("127.0.0.1", port, happy_eyeballs_delay=0.01)
            await attempt("127.0.0.1", port, local_addr=("127.0.0.1", 0))
            await attempt()
            with socket.socket() as sock:
                await attempt("127.0.0.1", port, sock=sock)
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            with pytest.raises(ValueError):
                await loop.create_connection(asyncio.Protocol, sock=sock)

    both(scenario)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("port", [65536, 99999, -1, 1 << 40, "99999", b"99999", "x"])
def test_a_port_that_is_none_is_not_taken_for_another(host, port):
    async def scenario(trace):
        loop = asyncio.get_running_loop()
        for attempt in loop.create_server, loop.create_connection:
            try:
                await attempt(asyncio.Protocol, host, port)
            except Exception as exc:
                trace.append((type(exc).__name__, str(exc)))
            else:
                trace.append("done")

    both(scenario)


async def answer_to(host, port):
    try:
        return await asyncio.get_running_loop().getaddrinfo(host, port)
    except Exception as exc:
        return type(exc).__name__


def test_a_port_of_another_kind_is_looked_up_as_on_asyncio():
    async def scenario(trace):
        for port in 80, "80", b"80", "http", 80.5, [], [1], object:
            trace.append(await answer_to("127.0.0.1", port))

    both(scenario)


# ---- descriptors -------------------------------------------------------------------------------------------------

def open_descriptors():
    return set(os.listdir("/proc/self/fd"))


def test_a_socket_closed_behind_our_back_takes_nobody_elses_number(run, loop):
    """The class of bugs behind uvloop's #645, #738 and #763."""
    async def main():
        trace = []
        a, b = socket.socketpair()
        old = Plain(trace, "old ")
        transport, _ = await loop.create_connection(lambda: old, sock=a)
        number = a.fileno()
        a.close()
        # Somebody else gets the number.
        c, d = socket.socketpair()
        assert number in (c.fileno(), d.fileno())
        mine, other = (c, d) if c.fileno() == number else (d, c)
        new = Plain(trace, "new ", data=lambda self, data: self.transport.write(data))
        fresh, _ = await loop.create_connection(lambda: new, sock=mine)
        await old.lost
        assert ("old lost", "OSError") in trace
        transport.close()
        transport.abort()
        other.send(b"still there")
        await settle()
        assert other.recv(100) == b"still there"
        fresh.close()
        await new.lost
        b.close()
        other.close()

    run(main())


def test_a_number_that_an_accept_takes_over_is_lost_to_who_had_it(run, loop):
    async def main():
        trace = []
        a, b = socket.socketpair()
        old = Plain(trace, "old ")
        transport, _ = await loop.create_connection(lambda: old, sock=a)
        inside = []
        server = await loop.create_server(
            lambda: inside.append(Plain(trace, "new ")) or inside[-1], "127.0.0.1", 0)
        number = a.fileno()
        client = socket.socket()
        a.close()
        client.setblocking(False)
        await loop.sock_connect(client, server.sockets[0].getsockname())
        await settle()
        assert inside[0].transport.get_extra_info("socket").fileno() == number
        await old.lost
        transport.abort()
        client.send(b"x")
        await settle()
        assert ("new data", b"x") in trace
        client.close()
        await inside[0].lost
        server.close()
        await server.wait_closed()
        b.close()

    run(main())


def test_cancelled_connects_and_reads_leave_the_numbers_to_others(run, loop):
    async def main():
        before = open_descriptors()
        server = await loop.create_server(lambda: Plain([]), "127.0.0.1", 0)
        address = server.sockets[0].getsockname()

        async def probe():
            """Whoever gets a number that is not his closes this pair."""
            a, b = socket.socketpair()
            with a, b:
                a.setblocking(False)
                b.setblocking(False)
                receiving = asyncio.ensure_future(loop.sock_recv(a, 10))
                await asyncio.sleep(0)
                b.send(b"x")
                assert await receiving == b"x"
                b.send(b"y")
                assert a.recv(10) == b"y"

        for turns in range(6):
            for _ in range(20):
                task = asyncio.ensure_future(loop.create_connection(asyncio.Protocol, *address))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await probe()
                try:
                    transport, _ = await task
                except asyncio.CancelledError:
                    pass
                else:
                    transport.abort()
                await probe()
        server.close()
        server.abort_clients()
        await server.wait_closed()
        await settle()
        assert open_descriptors() == before

    run(main())


def test_a_users_socket_is_his_object_until_the_end(run, loop):
    async def main():
        a, b = socket.socketpair()
        protocol = Plain([])
        with b:
            transport, _ = await loop.create_connection(lambda: protocol, sock=a)
            assert transport.get_extra_info("socket")._sock is a
            with pytest.raises(RuntimeError, match="used by transport"):
                await loop.create_connection(lambda: Plain([]), sock=a)
            for method in loop.add_reader, loop.add_writer:
                with pytest.raises(RuntimeError, match="used by transport"):
                    method(a, print)
            transport.close()
            await protocol.lost
            await settle()
            assert a.fileno() == -1

    run(main())


def test_a_detached_socket_is_not_closed(run, loop):
    async def main():
        a, b = socket.socketpair()
        protocol = Plain([])
        transport, _ = await loop.create_connection(lambda: protocol, sock=a)
        number = a.detach()
        transport.abort()
        await protocol.lost
        await settle()
        with socket.socket(fileno=number) as again, b:
            again.send(b"x")
            assert b.recv(10) == b"x"

    run(main())


def test_a_thousand_connections_leave_nothing(run, loop):
    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.write(data)

    class Client(Echo):
        def connection_made(self, transport):
            super().connection_made(transport)
            self.lost = loop.create_future()
            transport.write(b"x" * 100)

        def data_received(self, data):
            self.transport.close()

        def connection_lost(self, exc):
            self.lost.set_result(None)

    async def connections(n):
        for _ in range(n):
            _, client = await loop.create_connection(Client, *address)
            await client.lost
        await settle()

    async def main():
        nonlocal address
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        await connections(300)
        gc.collect()
        counts = []
        for _ in range(3):
            await connections(1000)
            gc.collect()
            counts.append((len(gc.get_objects()), len(open_descriptors()), sys.getallocatedblocks()))
        server.close()
        await server.wait_closed()
        return counts

    address = None
    counts = run(main(), 60)
    assert counts[0][1] == counts[1][1] == counts[2][1]
    for count in 0, 2:
        assert counts[2][count] - counts[1][count] < 100  # of a thousand connections


# ---- how it is done -------------------------------------------------------------------------------------------------

def seen_by(write, policy, run, loop):
    """What `write` sees."""
    async def main():
        loop._write_policy = policy
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        protocol = Plain([])
        transport, _ = await loop.create_connection(lambda: protocol, sock=a)
        seen = []
        with b:
            b.setblocking(False)
            write(transport, b, seen)
            await settle()
            transport.close()
            await protocol.lost
            return seen

    return run(main())


def waiting(peer):
    try:
        return peer.recv(1000, socket.MSG_PEEK)
    except BlockingIOError:
        return b""


@pytest.mark.parametrize("policy", [0, 1, 2])
def test_what_a_callback_writes_is_sent_when_it_returns(policy, run, loop):
    def write(transport, peer, seen):
        def look():
            seen.append(waiting(peer))

        def first():
            transport.write(b"header")
            look()
            transport.write(b" body")
            look()

        loop.call_soon(first)
        loop.call_soon(look)

    seen = seen_by(write, policy, run, loop)
    assert seen == {0: [b"header", b"header body", b"header body"],
                    1: [b"", b"", b"header body"],
                    2: [b"", b"", b""]}[policy]


def test_asking_for_the_size_of_the_buffer_sends_first(run, loop):
    def write(transport, peer, seen):
        transport.write(b"x")
        seen.append(transport.get_write_buffer_size())
        seen.append(waiting(peer))

    assert seen_by(write, 1, run, loop) == [0, b"x"]


def test_a_loop_that_does_not_run_sends_at_once(loop):
    a, b = socket.socketpair()
    with b:
        transport, _ = loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=a))
        transport.write(b"x")
        assert b.recv(10) == b"x"
        transport.abort()
        loop.run_until_complete(settle())


@pytest.mark.parametrize("kind", [Plain, Buffered])
def test_large_reads_arrive_whole_and_do_not_keep_others_waiting(kind, run, loop):
    async def main():
        size = 8 * BIG
        got, others = bytearray(), []

        def take(self, data):
            got.extend(data)
            if len(got) >= size:
                done.set_result(None)

        done = loop.create_future()
        protocol = kind([], data=take)
        protocol.note = lambda event, *args: take(protocol, *args) if event == "data" else None
        if kind is Buffered:
            buffer = bytearray(300000)
            protocol.get_buffer = lambda hint: buffer
            protocol.buffer_updated = lambda n: take(protocol, buffer[:n])
        transport, peer = await connect(protocol)
        other = Plain(others)
        other_transport, other_peer = await connect(other)
        pattern = os.urandom(997) * (size // 997 + 1)
        with peer, other_peer:
            sending = asyncio.ensure_future(loop.sock_sendall(peer, pattern[:size]))
            other_peer.send(b"me too")
            await done
            await sending
            assert ("data", b"me too") in others
            assert got == pattern[:size]
            transport.close()
            other_transport.close()
            await protocol.lost
            await other.lost

    run(main())


def test_accepting_pauses_for_a_second_when_there_are_no_descriptors(run, loop):
    async def main():
        told = []
        loop.set_exception_handler(lambda _, context: told.append(
            (context["message"], context["exception"].errno)))
        inside = []
        server = await loop.create_server(
            lambda: inside.append(Plain([])) or inside[-1], "127.0.0.1", 0)
        client = socket.socket()
        client.setblocking(False)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, open_descriptors())), hard))
        fillers = []
        try:
            try:
                while True:
                    fillers.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                pass
            await loop.sock_connect(client, server.sockets[0].getsockname())
            await settle()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for filler in fillers:
                os.close(filler)
        assert told == [("socket.accept() out of system resource", errno.EMFILE)]
        assert not inside
        began = loop.time()
        while not inside:
            await asyncio.sleep(0.01)
        assert 0.5 < loop.time() - began < 3
        client.close()
        await settle()
        server.close()
        await server.wait_closed()

    run(main())


def test_a_loop_that_is_dropped_with_a_connection_is_collected():
    loop = iora.new_event_loop()
    a, b = socket.socketpair()
    with b:
        protocol = type("Held", (asyncio.Protocol,), {})()
        protocol.transport = loop.run_until_complete(
            loop.create_connection(lambda: protocol, sock=a))[0]
        gone = weakref.ref(protocol)
        with pytest.warns(ResourceWarning):
            del protocol, loop
            gc.collect()
        assert gone() is None
        assert a.fileno() == -1


def test_a_transport_outlives_its_loop(loop):
    a, b = socket.socketpair()
    with b:
        transport, _ = loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=a))
        loop.close()
        assert a.fileno() >= 0
        transport.write(b"x")
        assert transport.get_extra_info("socket").fileno() == a.fileno()
        with pytest.raises(RuntimeError, match="closed"):
            transport.close()
        with pytest.warns(ResourceWarning, match="unclosed transport"):
            del transport
            gc.collect()
        assert a.fileno() == -1


def test_a_server_closes_or_aborts_its_clients(run, loop):
    async def main():
        for how in "close_clients", "abort_clients":
            trace = []
            server = await loop.create_server(lambda: Plain(trace, "server "), "127.0.0.1", 0)
            client = Plain(trace, "client ")
            await loop.create_connection(lambda: client, *server.sockets[0].getsockname())
            await settle()
            waiting = asyncio.ensure_future(server.wait_closed())  # before 3.12, only who waits before the close
            await settle()
            server.close()
            await settle()
            assert not waiting.done()
            getattr(server, how)()
            await waiting
            await client.lost

    run(main())


def test_tls_is_refused_in_words(run, loop):
    async def main():
        import ssl
        context = ssl.create_default_context()
        for attempt in (loop.create_connection(asyncio.Protocol, "127.0.0.1", 1, ssl=context),
                        loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=context)):
            with pytest.raises(NotImplementedError, match="TLS"):
                await attempt

    run(main())
