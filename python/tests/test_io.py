"""Descriptors, sockets, transports, servers."""

import asyncio
import contextlib
import contextvars
import gc
import os
import socket
import threading
import weakref

import pytest

import iora


def pair():
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    return ends


async def turns(n=5):
    for _ in range(n):
        await asyncio.sleep(0.001)


# ---- watched descriptors -----------------------------------------------------------------------

def test_a_reader_is_called_while_there_is_something(run, loop):
    async def main():
        a, b = pair()
        seen = []
        loop.add_reader(a, seen.append, 1)
        await turns()
        assert seen == []
        b.send(b"x")
        await turns()
        assert len(seen) > 1
        a.recv(10)
        await turns(2)
        seen.clear()
        await turns()
        assert seen == []
        assert loop.remove_reader(a) is True
        assert loop.remove_reader(a) is False
        a.close()
        b.close()

    run(main())


def test_a_new_reader_takes_the_old_ones_place(run, loop):
    async def main():
        a, b = pair()
        seen = []
        loop.add_reader(a.fileno(), seen.append, "old")
        loop.add_reader(a.fileno(), seen.append, "new")
        loop.add_writer(a.fileno(), seen.append, "writer")
        b.send(b"x")
        await turns()
        assert set(seen) == {"new", "writer"}
        assert loop.remove_writer(a.fileno())
        assert loop.remove_reader(a.fileno())
        a.close()
        b.close()

    run(main())


def test_what_cannot_be_watched_is_refused(loop, tmp_path):
    with pytest.raises(ValueError, match="Invalid file object"):
        loop.add_reader(object(), print)
    with open(tmp_path / "file", "w") as file, pytest.raises(PermissionError):
        loop.add_reader(file, print)
    fd = os.dup(0)
    os.close(fd)
    with pytest.raises(OSError):
        loop.add_reader(fd, print)


def test_a_users_descriptor_is_not_changed(run, loop):
    async def main():
        reading, writing = os.pipe()
        loop.add_reader(reading, print)
        assert os.get_blocking(reading)
        loop.remove_reader(reading)
        os.close(reading)
        os.close(writing)

    run(main())


# ---- sock_* ----------------------------------------------------------------------------------------

def test_sockets_send_and_receive(run, loop):
    async def main():
        a, b = pair()
        receiving = asyncio.ensure_future(loop.sock_recv(a, 100))
        await turns()
        await loop.sock_sendall(b, b"hello")
        assert await receiving == b"hello"
        buffer = bytearray(10)
        receiving = asyncio.ensure_future(loop.sock_recv_into(a, buffer))
        await turns()
        b.send(b"abc")
        assert await receiving == 3 and buffer[:3] == b"abc"
        a.close()
        b.close()

    run(main())


def test_sendall_goes_on_when_there_is_room(run, loop):
    async def main():
        a, b = pair()
        data = os.urandom(3_000_000)
        sending = asyncio.ensure_future(loop.sock_sendall(a, data))
        got = bytearray()
        while len(got) < len(data):
            got += await loop.sock_recv(b, 1 << 16)
        await sending
        assert got == data
        a.close()
        b.close()

    run(main())


def test_a_cancelled_receive_takes_nothing(run, loop):
    async def main():
        a, b = pair()
        receiving = asyncio.ensure_future(loop.sock_recv(a, 100))
        await turns()
        b.send(b"x")
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving
        assert await loop.sock_recv(a, 100) == b"x"
        a.close()
        b.close()

    run(main())


def test_sockets_connect_and_accept(run, loop):
    async def main():
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        client = socket.socket()
        client.setblocking(False)
        accepting = asyncio.ensure_future(loop.sock_accept(listener))
        await loop.sock_connect(client, listener.getsockname())
        server, address = await accepting
        assert address == client.getsockname()
        for sock in (listener, client, server):
            sock.close()

    run(main())


def test_datagrams(run, loop):
    async def main():
        one, other = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
        for sock in (one, other):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        receiving = asyncio.ensure_future(loop.sock_recvfrom(one, 100))
        await turns()
        await loop.sock_sendto(other, b"x", one.getsockname())
        assert await receiving == (b"x", other.getsockname())
        one.close()
        other.close()

    run(main())


# ---- transports --------------------------------------------------------------------------------------

class Recorder(asyncio.Protocol):
    """Notes what happens to it."""

    def __init__(self):
        self.events = []
        self.data = bytearray()
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.events.append("made")

    def data_received(self, data):
        assert type(data) is bytes
        self.data += data

    def eof_received(self):
        self.events.append("eof")

    def pause_writing(self):
        self.events.append("pause")

    def resume_writing(self):
        self.events.append("resume")

    def connection_lost(self, exc):
        self.events.append("lost")
        self.lost.set_result(exc)


class Echo(Recorder):
    def data_received(self, data):
        self.transport.write(data)


class Buffered(asyncio.BufferedProtocol):
    def __init__(self, size=4096):
        self.memory = bytearray(size)
        self.data = bytearray()
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def get_buffer(self, hint):
        assert hint == -1
        return self.memory

    def buffer_updated(self, n):
        self.data += self.memory[:n]

    def connection_lost(self, exc):
        self.lost.set_result(exc)


async def connected(loop, ours=Recorder, theirs=Recorder):
    a, b = socket.socketpair()
    _, protocol = await loop.create_connection(ours, sock=a)
    _, peer = await loop.create_connection(theirs, sock=b)
    return protocol, peer


def test_bytes_go_both_ways_until_the_end(run, loop):
    async def main():
        ours, theirs = await connected(loop)
        ours.transport.write(b"one")
        ours.transport.writelines([b"two", bytearray(b"three"), memoryview(b"four")])
        ours.transport.close()
        assert await theirs.lost is None and await ours.lost is None
        assert theirs.data == b"onetwothreefour"
        assert theirs.events == ["made", "eof", "lost"]
        assert ours.events == ["made", "lost"]

    run(main())


def test_much_is_sent_with_pauses_and_arrives_whole(run, loop):
    async def main():
        ours, theirs = await connected(loop)
        data = os.urandom(4_000_000)
        theirs.transport.pause_reading()
        mutable = bytearray(data)
        ours.transport.write(mutable)
        mutable[:] = bytes(len(mutable))
        assert ours.transport.get_write_buffer_size() > 0
        assert ours.events == ["made", "pause"]
        ours.transport.write_eof()
        theirs.transport.resume_reading()
        await theirs.lost
        assert theirs.data == data
        assert ours.events[:3] == ["made", "pause", "resume"]
        await ours.lost

    run(main())


def test_a_buffered_protocols_memory_is_filled(run, loop):
    async def main():
        ours, theirs = await connected(loop, Recorder, Buffered)
        data = os.urandom(100_000)
        ours.transport.write(data)
        ours.transport.close()
        await theirs.lost
        assert theirs.data == data

    run(main())


@pytest.mark.parametrize("get_buffer", [
    lambda self, hint: b"",
    lambda self, hint: b"cannot be written",
    lambda self, hint: 1 / 0,
    lambda self, hint: self.transport.close() or bytearray(10),
    lambda self, hint: self.transport.abort(),
])
def test_a_get_buffer_that_fails_ends_the_connection(run, loop, get_buffer):
    async def main():
        loop.set_exception_handler(lambda loop, context: None)
        kind = type("Kind", (Buffered,), {"get_buffer": get_buffer})
        ours, theirs = await connected(loop, Recorder, kind)
        ours.transport.write(b"x")
        await theirs.lost
        await ours.lost
        assert theirs.data == b""

    run(main())


def test_a_get_buffer_may_pause(run, loop):
    class Pausing(Buffered):
        def get_buffer(self, hint):
            if self.data == b"" and self.transport.is_reading():
                self.transport.pause_reading()
            return self.memory

    async def main():
        ours, theirs = await connected(loop, Recorder, Pausing)
        ours.transport.write(b"x")
        await turns()
        assert theirs.data == b""
        theirs.get_buffer = lambda hint: theirs.memory
        theirs.transport.resume_reading()
        ours.transport.close()
        await theirs.lost
        assert theirs.data == b"x"

    run(main())


def test_a_protocol_may_be_exchanged_while_bytes_come(run, loop):
    async def main():
        ours, theirs = await connected(loop)
        buffered = Buffered()
        ours.transport.write(b"one")
        await turns()
        theirs.transport.set_protocol(buffered)
        assert theirs.transport.get_protocol() is buffered
        ours.transport.write(b"two")
        await turns()
        theirs.transport.set_protocol(theirs)
        ours.transport.write(b"three")
        ours.transport.close()
        await theirs.lost
        assert (theirs.data, buffered.data) == (b"onethree", b"two")

    run(main())


def test_a_truthy_eof_received_keeps_the_other_half_open(run, loop):
    class KeepsOpen(Recorder):
        def eof_received(self):
            self.transport.write(b"still here")
            asyncio.get_running_loop().call_soon(self.transport.close)
            return True

    async def main():
        ours, theirs = await connected(loop, Recorder, KeepsOpen)
        ours.transport.write_eof()
        await theirs.lost
        await ours.lost
        assert ours.data == b"still here"

    run(main())


def test_what_a_protocol_raises_ends_its_connection(run, loop):
    class Fails(Recorder):
        def data_received(self, data):
            raise ZeroDivisionError

    async def main():
        seen = []
        loop.set_exception_handler(lambda loop, context: seen.append(context))
        ours, theirs = await connected(loop, Recorder, Fails)
        ours.transport.write(b"x")
        assert isinstance(await theirs.lost, ZeroDivisionError)
        assert "data_received" in seen[0]["message"] and seen[0]["protocol"] is theirs
        await ours.lost

    run(main())


def test_an_interrupt_in_a_protocol_leaves_the_loop_and_others_get_their_bytes(loop):
    class Interrupts(Recorder):
        def data_received(self, data):
            raise KeyboardInterrupt

    async def prepare():
        return await connected(loop, Recorder, Interrupts), await connected(loop)

    (ours, theirs), (well, receiver) = loop.run_until_complete(prepare())
    ours.transport.write(b"x")
    well.transport.write(b"y")
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert receiver.data == b"y"

    async def finish():
        for protocol in (ours, theirs, well, receiver):
            protocol.transport.abort()
            await protocol.lost

    loop.run_until_complete(finish())


def test_writing_after_the_end_is_dropped(run, loop):
    async def main():
        ours, theirs = await connected(loop)
        theirs.transport.abort()
        await ours.lost
        for _ in range(10):
            ours.transport.write(b"dropped")
        assert ours.transport.is_closing()
        with pytest.raises(TypeError):
            ours.transport.write("text")

    run(main())


def test_writing_after_write_eof_is_refused(run, loop):
    async def main():
        ours, theirs = await connected(loop)
        ours.transport.write_eof()
        with pytest.raises(RuntimeError):
            ours.transport.write(b"x")
        await ours.lost

    run(main())


def test_water_marks(run, loop):
    async def main():
        ours, theirs = await connected(loop)
        transport = ours.transport
        assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
        transport.set_write_buffer_limits(high=100)
        assert transport.get_write_buffer_limits() == (25, 100)
        transport.set_write_buffer_limits(low=100)
        assert transport.get_write_buffer_limits() == (100, 400)
        with pytest.raises(ValueError):
            transport.set_write_buffer_limits(high=1, low=2)
        transport.close()
        await theirs.lost

    run(main())


def test_a_transport_is_asyncios_and_owns_its_descriptor(run, loop):
    async def main():
        ours, theirs = await connected(loop)
        transport = ours.transport
        assert isinstance(transport, asyncio.Transport)
        fd = transport.get_extra_info("socket").fileno()
        with pytest.raises(RuntimeError, match="is used by transport"):
            loop.add_reader(fd, print)
        assert transport.get_extra_info("nothing", 3) == 3
        transport.close()
        await ours.lost
        await theirs.lost
        assert transport.get_extra_info("sockname") is not None

    run(main())


def test_bytes_come_in_the_context_of_the_connection(run, loop):
    variable = contextvars.ContextVar("variable", default=0)
    seen = []

    class Notes(Recorder):
        def data_received(self, data):
            seen.append(variable.get())

    async def main():
        variable.set(1)
        ours, theirs = await connected(loop, Recorder, Notes)
        variable.set(2)
        ours.transport.write(b"x")
        await turns()
        assert seen == [1]
        ours.transport.close()
        await theirs.lost

    run(main())


def test_an_open_transport_says_so_when_it_is_dropped(loop):
    loop.run_until_complete(connected(loop))
    loop.close()
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        gc.collect()


def test_a_forked_child_that_closes_the_loop_takes_nothing_from_its_parent(run, loop):
    async def main():
        ours, theirs = await connected(loop)
        pid = os.fork()
        if pid == 0:
            try:
                asyncio.events._set_running_loop(None)
                theirs.transport.abort()
                theirs.transport._call_connection_lost(None)
                os._exit(0)
            finally:
                os._exit(1)
        assert (await asyncio.to_thread(os.waitpid, pid, 0))[1] == 0
        ours.transport.write(b"still here")
        ours.transport.close()
        await theirs.lost
        assert theirs.data == b"still here"

    run(main())


# ---- connecting and listening -------------------------------------------------------------------------

def test_a_server_echoes_to_many(run, loop):
    async def one(port, i):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        data = bytes([i]) * (i * 1000 + 1)
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
        writer.close()
        await writer.wait_closed()

    async def main():
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        await asyncio.gather(*(one(port, i) for i in range(100)))
        assert server.is_serving()
        server.close()
        await server.wait_closed()
        assert server.sockets == ()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)

    run(main())


@pytest.mark.parametrize("side", ["reader", "writer"])
def test_a_socket_that_was_closed_can_still_be_removed(loop, side):
    """anyio closes a socket, and a callback removes its reader: that ended in a ValueError."""
    add, remove = getattr(loop, f"add_{side}"), getattr(loop, f"remove_{side}")
    ours, theirs = socket.socketpair()
    with theirs:
        add(ours, lambda: None)
        ours.close()
        assert remove(ours)
        with pytest.raises(ValueError):
            remove(ours)
        again, other = socket.socketpair()  # by the number that ours had
        with again, other:
            heard = []
            other.send(b"x")
            loop.add_reader(again, lambda: heard.append(again.recv(1)) or loop.stop())
            with pytest.raises(ValueError):
                remove(ours)
            loop.run_forever()
            assert heard == [b"x"] and loop.remove_reader(again)


def test_a_watched_object_goes_with_its_watch(loop):
    """The loop knows what it watches by name; it keeps none of it longer, and takes the newest of a number."""
    class File:
        def __init__(self, fd):
            self.fd = fd

        def fileno(self):
            return self.fd

    ours, theirs = socket.socketpair()
    with ours, theirs:
        first, second = File(ours.fileno()), File(ours.fileno())
        gone = [weakref.ref(first), weakref.ref(second)]
        loop.add_reader(first, lambda: None)
        loop.add_writer(second, lambda: None)
        del first
        assert gone[0]() is None
        second.fd = -1
        assert loop.remove_reader(second) and loop.remove_writer(second)
        with pytest.raises(ValueError):
            loop.remove_writer(second)
        del second
        assert gone[1]() is None


def test_a_server_without_tls_says_so_where_asyncios_does(run, loop):
    """websockets' tests read a server's _ssl_context to make their addresses."""
    async def scene():
        async with await loop.create_server(asyncio.Protocol, "127.0.0.1", 0) as server:
            return server._ssl_context

    assert run(scene()) is None


def test_a_server_waits_for_its_clients_or_closes_them(run, loop):
    async def main():
        server = await loop.create_server(Recorder, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address)
        await turns()
        waiting = asyncio.ensure_future(server.wait_closed())  # before 3.12, only who waits before the close
        await turns()
        server.close()
        await turns()
        assert not waiting.done()
        server.close_clients()
        await waiting
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    run(main())


@pytest.mark.parametrize("keep_alive", [None, False, True])
def test_a_server_may_keep_its_connections_alive(run, loop, keep_alive):
    async def main():
        server = await loop.create_server(Echo, "127.0.0.1", 0, keep_alive=keep_alive)
        option = server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        server.close()
        await server.wait_closed()
        return bool(option)

    assert run(main()) is bool(keep_alive)


def test_threads_are_waited_for_as_long_as_one_likes(loop):
    async def main(timeout):
        await loop.shutdown_default_executor(timeout)

    release = threading.Event()
    started = threading.Event()
    working = loop.run_in_executor(None, lambda: started.set() or release.wait())
    started.wait()
    with pytest.warns(RuntimeWarning, match="within 0.001 seconds"):
        loop.run_until_complete(main(0.001))
    assert not working.done()
    with pytest.raises(RuntimeError, match="shutdown"):
        loop.run_in_executor(None, int)
    release.set()
    assert loop.run_until_complete(working)
    loop.run_until_complete(main(60))


def test_unix_sockets(run, loop, tmp_path):
    async def main():
        path = tmp_path / "socket"
        for _ in range(2):  # the second finds a stale path
            server = await loop.create_unix_server(Echo, path, cleanup_socket=False)
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"x")
            assert await reader.read(1) == b"x"
            writer.close()
            server.close()
            await server.wait_closed()
        server = await loop.create_unix_server(Echo, path, cleanup_socket=True)
        server.close()
        assert not path.exists()
        with pytest.raises(FileNotFoundError):
            await asyncio.open_unix_connection(path)

    run(main())


def test_all_that_failed_is_told(run, loop):
    async def main():
        with socket.socket() as held:  # nobody listens there, and nobody else gets it
            held.bind(("127.0.0.1", 0))
            port = held.getsockname()[1]
            with pytest.raises(OSError, match="Connect call failed"):
                await loop.create_connection(Recorder, "127.0.0.1", port)
            with pytest.raises(ExceptionGroup):
                await loop.create_connection(Recorder, "127.0.0.1", port, all_errors=True)
            with pytest.raises(OSError):
                await loop.create_connection(Recorder, "localhost", port, happy_eyeballs_delay=0.01)

    run(main())


def test_a_cancelled_connect_leaves_no_descriptor(run, loop):
    """Numbers are used again: whoever gets one next must hear of nothing that was the other's."""
    async def main():
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        for i in range(50):
            connecting = asyncio.ensure_future(loop.create_connection(Recorder, *address))
            for _ in range(i % 5):
                await asyncio.sleep(0)
            connecting.cancel()
            try:
                transport, _ = await connecting
                transport.abort()
            except asyncio.CancelledError:
                pass
            a, b = pair()
            b.send(b"mine")
            assert await loop.sock_recv(a, 10) == b"mine"
            a.close()
            b.close()
        server.close()
        server.abort_clients()
        await server.wait_closed()

    run(main())


@pytest.mark.parametrize("new_event_loop", [asyncio.new_event_loop, iora.new_event_loop])
def test_the_socket_of_a_transport_is_refused(new_event_loop):
    async def main():
        loop = asyncio.get_running_loop()
        one, other = socket.socketpair()
        one.setblocking(False)
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=one)
        with other, contextlib.closing(transport):
            for waiting in loop.sock_recv(one, 1), loop.sock_recv_into(one, bytearray(1)):
                with pytest.raises(RuntimeError, match=rf"File descriptor {one.fileno()} is used by transport"):
                    await waiting

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())


@pytest.mark.parametrize("new_event_loop", [asyncio.new_event_loop, iora.new_event_loop])
def test_what_is_no_descriptor_is_refused(new_event_loop, tmp_path):
    closed = socket.socket()
    closed.close()
    with open(tmp_path / "file", "wb") as file:
        pass
    loop = new_event_loop()
    try:
        for method, args in (loop.add_reader, (print,)), (loop.add_writer, (print,)), (loop.remove_reader, ()):
            for wrong, text in ((closed, "Invalid file descriptor: -1"), (-5, "Invalid file descriptor: -5"),
                                (file, "Invalid file object: <_io.BufferedWriter"),
                                ("x", "Invalid file object: 'x'")):
                with pytest.raises(ValueError, match=text):
                    method(wrong, *args)
    finally:
        loop.close()
