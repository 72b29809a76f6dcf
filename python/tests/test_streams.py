"""Streams: the same scenarios with asyncio's on its loop and with ours, and how ours keep their bytes."""

import asyncio
import fractions
import gc
import socket
import unittest.mock
from collections import deque

import pytest

import iora


def both(scenario):
    """Run scenario(module, trace) with asyncio and with iora: the traces must be the same."""
    traces = []
    for module, factory in (asyncio, asyncio.SelectorEventLoop), (iora, iora.new_event_loop):
        trace = []
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(scenario(module, trace), 20))
        traces.append(trace)
    assert traces[1] == traces[0]
    assert traces[0]


async def attempt(trace, awaitable):
    """Write down what comes of it."""
    try:
        trace.append(await awaitable)
    except (Exception, asyncio.CancelledError) as exc:
        known = [getattr(exc, name, None) for name in ("partial", "expected", "consumed")]
        trace.append((type(exc).__name__, str(exc), *known))


def fed(module, *pieces, limit=16):
    reader = module.StreamReader(limit=limit, loop=asyncio.get_running_loop())
    for piece in pieces:
        reader.feed_data(piece)
    return reader


READS = [
    ("readline",), ("readuntil",), ("readuntil", b"lf"), ("readuntil", b""), ("readexactly", 0),
    ("readexactly", 5), ("readexactly", 30), ("readexactly", -1), ("read", 0), ("read", 3),
    ("read", 100), ("read",), ("read", -1),
]
FEEDS = [
    [], [b"one\n"], [b"one\ntwo\n"], [b"o", b"ne\nhalf"], [b"half"], [b"x" * 40], [b"x" * 40 + b"\n"],
    [b"x" * 16 + b"\n"], [b"x" * 17 + b"\n", b"next\n"], [bytearray(b"one\n"), memoryview(b"two\n")],
]


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("feed", FEEDS)
def test_a_read_gives_the_same_before_and_after_the_end(read, feed):
    method, *args = read

    async def scenario(module, trace):
        reader = fed(module, *feed)
        task = asyncio.ensure_future(getattr(reader, method)(*args))
        for piece in b"la", b"ter\n":
            await asyncio.sleep(0.001)
            trace.append((task.done(), bytes(reader._buffer) if task.done() else None))
            reader.feed_data(piece)
        await asyncio.sleep(0.001)
        reader.feed_eof()
        await attempt(trace, task)
        trace.append((bytes(reader._buffer), reader.at_eof()))
        for _ in range(3):
            await attempt(trace, getattr(reader, method)(*args))
        trace.append((bytes(reader._buffer), reader.at_eof()))

    both(scenario)


def test_a_readers_errors_are_the_same():
    async def scenario(module, trace):
        reader = fed(module, b"half")
        first = asyncio.ensure_future(reader.readline())
        await asyncio.sleep(0)
        await attempt(trace, reader.readline())
        await attempt(trace, reader.readexactly(100))
        first.cancel()
        await attempt(trace, first)
        second = asyncio.ensure_future(reader.readline())
        await asyncio.sleep(0)
        reader.set_exception(ValueError("broken"))
        await attempt(trace, second)
        for read in reader.read(), reader.readline(), reader.readexactly(1), reader.readuntil():
            await attempt(trace, read)
        trace.append(repr(reader.exception()))
        reader = fed(module)
        reader.feed_eof()
        with pytest.raises(AssertionError):
            reader.feed_data(b"x")
        for limit in 0, -1:
            with pytest.raises(ValueError) as caught:
                fed(module, limit=limit)
            trace.append(str(caught.value))

    both(scenario)


def test_a_reader_pauses_its_transport_and_has_it_go_on():
    async def scenario(module, trace):
        transport = unittest.mock.Mock()
        reader = fed(module, b"x" * 10)
        reader.set_transport(transport)

        def note():
            trace.append((transport.pause_reading.call_count, transport.resume_reading.call_count,
                          reader._paused, len(reader._buffer)))

        for size in 20, 3, 3, 3:
            reader.feed_data(b"y" * size)
            note()
        for size in 10, 10, 10:
            await reader.read(size)
            note()
        reader.feed_data(b"z" * 100)
        note()
        task = asyncio.ensure_future(reader.readexactly(200))
        await asyncio.sleep(0)
        note()
        reader.feed_data(b"z" * 100)
        await task
        note()

    both(scenario)


def test_lines_are_iterated():
    async def scenario(module, trace):
        reader = fed(module, b"one\ntwo\nhalf")
        reader.feed_eof()
        async for line in reader:
            trace.append(line)

    both(scenario)


def test_a_server_and_a_client_talk(tmp_path):
    async def scenario(module, trace):
        async def serve(reader, writer):
            trace.append([isinstance(reader, asyncio.StreamReader), isinstance(writer, asyncio.StreamWriter)])
            async for line in reader:
                writer.write(b"<" + line[:-1] + b">")
                writer.writelines([b"\n"])
                await writer.drain()
            writer.close()

        path = str(tmp_path / module.__name__)
        servers = [(await module.start_server(serve, "127.0.0.1", 0), "open_connection"),
                   (await module.start_unix_server(serve, path), "open_unix_connection")]
        for server, opening in servers:
            address = server.sockets[0].getsockname()
            where = address if isinstance(address, tuple) else (address,)
            reader, writer = await getattr(module, opening)(*where)
            for line in b"one\n", b"two\n":
                writer.write(line)
                await writer.drain()
                trace.append(await reader.readline())
            writer.write(b"three\nfour\n")
            writer.write_eof()
            trace.append(await reader.read())
            trace.append((writer.can_write_eof(), writer.is_closing()))
            writer.close()
            await writer.wait_closed()
            await attempt(trace, writer.drain())
            server.close()
            await server.wait_closed()

    both(scenario)


def test_drain_waits_while_the_other_side_does_not_read():
    async def scenario(module, trace):
        a, b = socket.socketpair()
        reader, writer = await module.open_connection(sock=a)
        with b:
            b.setblocking(False)
            writer.write(bytes(1 << 20))
            task = asyncio.ensure_future(writer.drain())
            await asyncio.sleep(0.01)
            trace.append(task.done())
            got = 0
            while got < 1 << 20:
                try:
                    got += len(b.recv(1 << 20))
                except BlockingIOError:
                    await asyncio.sleep(0.001)
            await attempt(trace, task)
            writer.write(bytes(1 << 21))
            task = asyncio.ensure_future(writer.drain())
            await asyncio.sleep(0.01)
        await attempt(trace, task)
        writer.close()
        await attempt(trace, writer.wait_closed())

    both(scenario)


def test_a_handler_that_closes_its_writer_may_fail_or_be_cancelled(run):
    """Its connection is gone before its task ends."""
    async def cancelled():
        asyncio.current_task().cancel()
        await asyncio.sleep(1)

    async def fails():
        raise ValueError

    async def told_of(ending):
        told = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["message"]))

        async def handler(reader, writer):
            writer.close()
            await asyncio.sleep(0.01)
            await ending()

        server = await iora.start_server(handler, "127.0.0.1", 0)
        reader, writer = await iora.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        await asyncio.sleep(0.02)
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return told

    assert run(told_of(cancelled)) == []
    assert run(told_of(fails)) == ["Unhandled exception in client_connected_cb"]


@pytest.mark.filterwarnings("ignore:unclosed <StreamWriter:ResourceWarning")
def test_a_connection_whose_writer_nobody_keeps_is_as_the_versions_own():
    """From 3.13 on that closes it."""
    async def scenario(module, trace):
        server = await module.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        reader, writer = await module.open_connection(*server.sockets[0].getsockname())
        reading = asyncio.ensure_future(reader.read())
        await asyncio.sleep(0.02)
        gc.collect()
        await asyncio.wait([reading], timeout=0.05)
        trace.append(reading.done())
        writer.close()
        server.close()
        await asyncio.wait([reading])

    both(scenario)


# ---- how ours keep their bytes ---------------------------------------------------------------------------------

def test_a_stream_has_no_deque_of_those_who_drain_until_somebody_does(run):
    async def main():
        ours, theirs = socket.socketpair()
        with theirs:
            _, writer = await iora.open_connection(sock=ours)
            protocol = writer.transport.get_protocol()
            assert not [held for held in gc.get_referents(protocol) if isinstance(held, deque)]
            protocol.pause_writing()
            draining = asyncio.ensure_future(writer.drain())
            await asyncio.sleep(0)
            assert len(protocol._drain_waiters) == 1
            protocol.resume_writing()
            await draining
            assert protocol._drain_waiters == deque()
            protocol._drain_waiters = waiters = deque([1])
            assert protocol._drain_waiters is waiters
            waiters.clear()
            writer.close()
            await writer.wait_closed()

    run(main())


def test_a_line_that_came_alone_is_the_object_that_came(run):
    async def main():
        for read in (lambda reader: reader.readline()), (lambda reader: reader.readexactly(100)), \
                (lambda reader: reader.read(500)):
            data = b"x" * 99 + b"\n"
            reader = fed(iora, data, limit=1000)
            assert await read(reader) is data

    run(main())


def test_the_buffer_is_a_bytearray_once_it_is_looked_at(run):
    async def main():
        reader = fed(iora, b"one\ntwo\n")
        assert await reader.readline() == b"one\n"
        buffer = reader._buffer
        assert buffer == bytearray(b"two\n")
        reader.feed_data(b"three\n")
        assert reader._buffer is buffer and buffer == b"two\nthree\n"
        assert await reader.readline() == b"two\n"
        del buffer[:2]
        assert await reader.readline() == b"ree\n"
        assert reader._buffer is buffer and not buffer
        buffer.extend(b"by hand\n")
        assert await reader.readline() == b"by hand\n"
        reader._buffer = bytearray(b"anew\n")
        assert await reader.readline() == b"anew\n"
        with pytest.raises(TypeError):
            reader._buffer = b"bytes"

    run(main())


def test_reads_are_coroutines_that_begin_when_they_are_awaited(run):
    async def main():
        reader = fed(iora, b"one\ntwo\n")
        with pytest.warns(RuntimeWarning, match="never awaited"):
            reader.readline()
            gc.collect()
        later = reader.readline()
        assert asyncio.iscoroutine(later)
        assert await reader.readline() == b"one\n"
        assert await later == b"two\n"
        with pytest.raises(RuntimeError, match="already awaited"):
            await later
        assert isinstance(unittest.mock.MagicMock(spec=iora.StreamReader).readline, unittest.mock.AsyncMock)

    run(main())


def test_a_readers_methods_may_be_overridden(run):
    class Reader(iora.StreamReader):
        def feed_data(self, data):
            super().feed_data(data.upper())

    async def main():
        loop = asyncio.get_running_loop()
        a, b = socket.socketpair()
        reader = Reader(loop=loop)
        protocol = iora.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.create_connection(lambda: protocol, sock=a)
        with b:
            b.send(b"text\n")
            assert await reader.readline() == b"TEXT\n"
            transport.close()
            await asyncio.sleep(0.01)

    run(main())


def test_a_writer_that_was_not_initialized_lacks_its_fields():
    async def scenario(module, trace):
        class Writer(module.StreamWriter):
            def __init__(self, **fields):
                for name, field in fields.items():
                    setattr(self, name, field)

            def __del__(self):
                """asyncio's, from 3.12 on, asks the transport."""

        closing = unittest.mock.Mock(is_closing=lambda: True)
        for fields in ({}, {"_reader": None}, {"_reader": None, "_transport": closing},
                       {"_reader": None, "_transport": unittest.mock.Mock(is_closing=lambda: False)}):
            writer = Writer(**fields)
            for method in "drain", "wait_closed":
                with pytest.raises(AttributeError):
                    await getattr(writer, method)()
            if "_transport" not in fields:
                for method in "close", "is_closing", "write_eof", "can_write_eof":
                    with pytest.raises(AttributeError):
                        getattr(writer, method)()
                with pytest.raises(AttributeError):
                    writer.write(b"x")
            trace.append([name for name in ("_reader", "_transport", "_protocol", "_loop") if hasattr(writer, name)])

    both(scenario)


@pytest.mark.parametrize("read", READS)
def test_a_reader_that_was_not_initialized_lacks_its_fields(read):
    method, *args = read

    async def scenario(module, trace):
        class Reader(module.StreamReader):
            def __init__(self):
                pass

        reader = Reader()
        trace.append([name for name in ("_exception", "_loop") if hasattr(reader, name)])
        with pytest.raises((AttributeError, ValueError)) as caught:
            await getattr(reader, method)(*args)
        trace.append(caught.type)
        with pytest.raises(AttributeError):
            async for _ in reader:
                pass

    both(scenario)


def test_a_reader_that_has_lost_its_loop_cannot_wait():
    async def scenario(module, trace):
        for method, *args in READS:
            reader = fed(module)
            del reader._loop
            await attempt(trace, wait_briefly(getattr(reader, method)(*args)))
        reader = fed(module, b"12345678")
        reader._paused = True
        with pytest.raises(AttributeError):
            await reader.readexactly(9)

    async def wait_briefly(read):
        try:
            return await read
        except AttributeError:
            return "AttributeError"

    both(scenario)


@pytest.mark.parametrize("limit", [1.25, 7.4, 8.0, float("inf"), float("nan"), 1 << 70, (1 << 63) - 1, True,
                                   0.5, fractions.Fraction(17, 2), None, "8", -1.5, float("-inf")])
def test_a_limit_may_be_any_number(limit):
    async def scenario(module, trace):
        transport = unittest.mock.Mock()
        try:
            reader = fed(module, limit=limit)
        except (TypeError, ValueError) as exc:
            trace.append(type(exc))
            return
        reader.set_transport(transport)
        for data in b"ab\n", b"defghijkl\n", b"defghij\nk":
            reader.feed_data(data)
            trace.append((transport.pause_reading.call_count, reader._paused))
            await attempt(trace, reader.readline())
        reader.feed_eof()
        await attempt(trace, reader.read(3))
        await attempt(trace, reader.readuntil(b"j"))
        if limit == 1 << 70:
            await attempt(trace, reader.read())

    both(scenario)


def test_a_read_may_ask_for_any_number():
    async def scenario(module, trace):
        for n in 1 << 70, -1 << 70, (1 << 63) - 1:
            reader = fed(module, b"some")
            reader.feed_eof()
            await attempt(trace, reader.read(n))
            try:
                await fed(module, b"some").readexactly(min(n, -1))
            except ValueError as exc:
                trace.append(str(exc))
        reader = fed(module, b"some")
        reader.feed_eof()
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await reader.readexactly(1 << 70)
        trace.append(caught.value.partial)

    both(scenario)


def test_a_limit_of_nothing_ends_a_read_of_all(run):
    async def main():
        for limit in 0, 0.5, -1:
            reader = fed(iora, b"some")
            reader.feed_eof()
            reader._limit = limit
            assert await reader.read() == b"some"
        with pytest.raises(TypeError):
            del reader._limit

    run(main())


def test_arguments_may_be_given_by_name():
    async def scenario(module, trace):
        loop = asyncio.get_running_loop()
        a, b = socket.socketpair()
        reader = module.StreamReader(loop=loop)
        protocol = module.StreamReaderProtocol(stream_reader=reader, loop=loop)
        transport, _ = await loop.create_connection(lambda: protocol, sock=a)
        writer = module.StreamWriter(transport=transport, protocol=protocol, reader=reader, loop=loop)
        with b:
            trace.append(reader.feed_data(data=b"fed "))
            trace.append(protocol.data_received(data=b"received"))
            trace.append(await reader.readexactly(n=12))
            trace.append(writer.write(data=b"one "))
            trace.append(writer.writelines(data=[b"two "]))
            trace.append(transport.write(data=b"three "))
            trace.append(transport.writelines(list_of_data=[b"four"]))
            await asyncio.sleep(0.01)
            trace.append(b.recv(100))
            trace.append(transport.set_protocol(protocol=protocol))
            trace.append(transport.get_extra_info(name="nothing", default=1))
            trace.append(transport.get_extra_info("nothing", default=2))
            trace.append(transport.get_extra_info(default=3, name="nothing"))
            trace.append(transport.get_extra_info(name="nothing"))
            async with module.timeout(1) as timeout:
                trace.append(timeout.reschedule(when=None))
            for method in (reader.feed_data, protocol.data_received, writer.write, transport.write,
                           transport.writelines, transport.set_protocol, transport.get_extra_info,
                           timeout.reschedule):
                for args, names in ((), {}), ((), {"nothing": 1}), ((1, 2, 3), {}), ((1,), {"data": 1, "when": 1}):
                    with pytest.raises(TypeError):
                        method(*args, **names)
            transport.abort()
            await asyncio.sleep(0.01)

    both(scenario)


def test_reads_go_by_the_methods_that_they_are_made_of():
    async def scenario(module, trace):
        class Reader(module.StreamReader):
            async def readuntil(self, separator=b"\n"):
                trace.append(("readuntil", separator))
                return (await super().readuntil(separator)).upper()

            async def read(self, n=-1):
                trace.append(("read", n))
                return (await super().read(n)).upper()

        reader = Reader(limit=10)
        for data in b"one\n", b"half", b"":
            reader.feed_data(data)
        await attempt(trace, reader.readline())
        reader.feed_data(b"x" * 20 + b"\n")
        await attempt(trace, reader.readline())
        reader.feed_data(b"x" * 20)
        await attempt(trace, reader.readline())
        reader.feed_data(b"line\nrest" + b"y" * 20)
        reader.feed_eof()
        async for line in reader:
            trace.append(line)
            break
        await attempt(trace, reader.read())

    both(scenario)


def test_a_reader_class_that_is_changed_after_use_is_seen(run, monkeypatch):
    class Reader(iora.StreamReader):
        """Has nothing of its own."""

    async def patched(self, separator=b"\n"):
        return b"patched"

    async def main():
        reader = Reader()
        reader.feed_data(b"one\ntwo\n")
        assert await reader.readline() == b"one\n"
        monkeypatch.setattr(Reader, "readuntil", patched, raising=False)
        assert await reader.readline() == b"patched"
        monkeypatch.undo()
        assert await reader.readline() == b"two\n"

    run(main())


def test_drain_asks_a_reader_that_has_its_own_exception():
    async def scenario(module, trace):
        class Reader(module.StreamReader):
            def exception(self):
                return ValueError("its own")

        loop = asyncio.get_running_loop()
        transport = unittest.mock.Mock()
        reader = Reader(loop=loop)
        writer = module.StreamWriter(transport, module.StreamReaderProtocol(reader, loop=loop), reader, loop)
        transport.is_closing.return_value = True
        await attempt(trace, writer.drain())

    both(scenario)


def test_streams_are_asyncios_after_install():
    iora.install()
    try:
        for name in "StreamReader", "StreamWriter", "StreamReaderProtocol", "open_connection", "start_server":
            assert getattr(asyncio, name) is getattr(iora, name) is getattr(asyncio.streams, name)
    finally:
        iora.uninstall()
    assert asyncio.StreamReader is not iora.StreamReader
