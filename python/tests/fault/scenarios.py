"""Small programs for sweep.py: each goes once through a part of iora, and leaves nothing open however it ends.

A scenario is a coroutine function, run in a loop of its own. What it takes of the interpreter's (sockets, threads) it lets
go of in `finally`."""

import asyncio
import contextlib
import socket
import threading

import iora

SCENARIOS = []


def scenario(function):
    SCENARIOS.append(function)
    return function


@contextlib.contextmanager
def pair():
    a, b = socket.socketpair()
    with a, b:
        a.setblocking(False)
        b.setblocking(False)
        yield a, b


async def nothing(result=None):
    return result


async def fails():
    raise KeyError("on purpose")


# ---- callbacks and timers ----------------------------------------------------------------------------------

@scenario
async def callbacks(loop):
    done = loop.create_future()
    seen = []
    for n in range(6):
        loop.call_soon(lambda *args: seen.append(args), *range(n))
    loop.call_soon(print).cancel()
    loop.call_soon_threadsafe(seen.append, 1)
    loop.call_later(0, seen.append, 2)
    loop.call_later(0.001, done.set_result, 3)
    loop.call_at(loop.time() + 100, print, 1, 2, 3, 4, 5).cancel()
    repr(loop.call_later(100, print))
    await done
    assert len(seen) == 8


@scenario
async def arguments_by_name(loop):
    loop.call_soon(callback=nothing.__code__.__hash__, context=None)
    loop.call_later(callback=nothing.__code__.__hash__, delay=0)
    await loop.create_task(coro=nothing(), name="named")
    with pair() as (one, _):
        try:
            loop.add_writer(fd=one, callback=nothing.__code__.__hash__)
        finally:
            loop.remove_writer(fd=one)


@scenario
async def many_callbacks_and_timers(loop):
    for n in range(200):
        loop.call_soon(abs, n)
        loop.call_later(0, abs, n)
    await iora.sleep(0.001)


@scenario
async def callbacks_that_fail(loop):
    loop.call_soon(lambda: 1 / 0)
    loop.call_later(0, lambda: 1 / 0)
    loop.create_task(fails())
    future = loop.create_future()
    future.set_exception(KeyError("nobody asks"))
    del future
    await iora.sleep(0)
    await iora.sleep(0)


# ---- tasks ----------------------------------------------------------------------------------------------------

@scenario
async def tasks(loop):
    assert await iora.create_task(nothing(1), name="name") == 1
    sleeper = iora.create_task(iora.sleep(100))
    await iora.sleep(0)
    assert sleeper in asyncio.all_tasks() or sleeper.done()
    sleeper.cancel("enough")
    with contextlib.suppress(asyncio.CancelledError):
        await sleeper
    with contextlib.suppress(KeyError):
        await iora.ensure_future(fails())


@scenario
async def gathering(loop):
    assert await iora.gather(iora.sleep(0, 1), nothing(2), iora.create_task(nothing(3))) == [1, 2, 3]
    await iora.gather(fails(), nothing(), return_exceptions=True)
    with contextlib.suppress(KeyError):
        await iora.gather(fails(), iora.sleep(0))


@scenario
async def groups(loop):
    async with iora.TaskGroup() as group:
        done = [group.create_task(iora.sleep(0, n)) for n in range(5)]
    assert [each.result() for each in done] == list(range(5))
    try:
        async with iora.TaskGroup() as group:
            group.create_task(iora.sleep(100))
            group.create_task(fails())
    except* KeyError:
        pass


@scenario
async def waiting_for_several(loop):
    sleeper = iora.create_task(iora.sleep(100))
    try:
        quick = iora.create_task(nothing(1))
        done, pending = await iora.wait([sleeper, quick], return_when=asyncio.FIRST_COMPLETED)
        assert quick.result() == 1 and quick in done
        for each in iora.as_completed([nothing(1), iora.sleep(0, 1)]):
            assert await each == 1
        await iora.shield(nothing())
        with contextlib.suppress(TimeoutError):
            await iora.wait_for(iora.shield(sleeper), 0.001)
    finally:
        sleeper.cancel()


@scenario
async def timeouts(loop):
    with contextlib.suppress(TimeoutError):
        async with iora.timeout(0.001):
            await iora.sleep(100)
    async with iora.timeout(100) as scope:
        scope.reschedule(loop.time() + 50)
    with contextlib.suppress(TimeoutError):
        await iora.wait_for(iora.sleep(100), 0.001)
    assert await iora.wait_for(nothing(1), 100) == 1


@scenario
async def generators(loop):
    async def numbers():
        for n in range(100):
            await iora.sleep(0)
            yield n

    async for n in numbers():
        if n == 3:
            break
    await iora.sleep(0)
    await iora.sleep(0)


# ---- locks and queues --------------------------------------------------------------------------------------------

@scenario
async def locks(loop):
    for kind in (iora.Lock, iora.Semaphore, iora.BoundedSemaphore):
        lock = kind()
        async with lock:
            others = [iora.create_task(lock.acquire()) for _ in range(2)]
            await iora.sleep(0)
            others[1].cancel()
        await others[0]
        lock.release()


@scenario
async def events_and_conditions(loop):
    event, condition, barrier = iora.Event(), iora.Condition(), iora.Barrier(2)

    async def waits():
        await event.wait()
        async with condition:
            await condition.wait()
        await barrier.wait()

    async with asyncio.TaskGroup() as group:
        group.create_task(waits())
        await iora.sleep(0)
        event.set()
        await iora.sleep(0)
        await iora.sleep(0)
        async with condition:
            condition.notify_all()
        await barrier.wait()


@scenario
async def queues(loop):
    for kind in (iora.Queue, iora.LifoQueue, iora.PriorityQueue):
        queue = kind(2)
        async with asyncio.TaskGroup() as group:
            group.create_task(queue.get())
            await iora.sleep(0)
            for n in range(3):
                await queue.put(n)
        await queue.get()
        await queue.get()
        for _ in range(3):
            queue.task_done()
        await queue.join()
        queue.shutdown()


# ---- descriptors -----------------------------------------------------------------------------------------------------

@scenario
async def readers(loop):
    with pair() as (a, b):
        seen = loop.create_future()
        loop.add_reader(a, lambda: seen.done() or seen.set_result(a.recv(10)))
        loop.add_writer(b, lambda: loop.remove_writer(b))
        try:
            b.send(b"x")
            assert await seen == b"x"
        finally:
            loop.remove_reader(a)
            loop.remove_writer(b)


@scenario
async def sockets(loop):
    with socket.socket() as listening, socket.socket() as client:
        listening.setblocking(False)
        client.setblocking(False)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        accepting = iora.create_task(loop.sock_accept(listening))
        try:
            await loop.sock_connect(client, listening.getsockname())
            peer, _ = await accepting
        finally:
            accepting.cancel()
        with peer:
            await loop.sock_sendall(client, b"hello")
            assert await loop.sock_recv(peer, 10) == b"hello"
            buffer = bytearray(10)
            receiving = iora.create_task(loop.sock_recv_into(peer, buffer))
            try:
                await iora.sleep(0)
                await loop.sock_sendall(client, b"there")
                assert await receiving == 5
            finally:
                receiving.cancel()
                await iora.sleep(0)


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Counts(asyncio.BufferedProtocol):
    def __init__(self, expected, done):
        self.buffer, self.expected, self.done = bytearray(1000), expected, done

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, n):
        self.expected -= n
        if self.expected == 0 and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, exception):
        if not self.done.done():
            self.done.set_exception(exception or EOFError())
            self.done.exception()


@contextlib.contextmanager
def closing(transport):
    try:
        yield transport
    finally:
        transport.abort()


@scenario
async def transports(loop):
    with contextlib.ExitStack() as stack:
        a, b = stack.enter_context(pair())
        done = loop.create_future()
        echo, _ = await loop.create_connection(Echo, sock=a)
        stack.enter_context(closing(echo))
        counts, _ = await loop.create_connection(lambda: Counts(300_008, done), sock=b)
        stack.enter_context(closing(counts))
        counts.set_write_buffer_limits(100)
        counts.write(b"x" * 300_000)
        counts.writelines([b"12", bytearray(b"34"), memoryview(b"5678")])
        counts.pause_reading()
        counts.resume_reading()
        counts.get_extra_info("peername")
        await done
        counts.write_eof()
        counts.close()
        await iora.sleep(0.001)


@scenario
async def streams(loop):
    with pair() as (a, b):
        reader, writer = await iora.open_connection(sock=a)
        try:
            other_reader, other_writer = await iora.open_connection(sock=b)
            try:
                writer.write(b"a line\nanother\n" + b"x" * 100_000)
                await writer.drain()
                assert await other_reader.readline() == b"a line\n"
                assert await other_reader.readuntil(b"r\n") == b"another\n"
                assert len(await other_reader.readexactly(100_000)) == 100_000
                reading = iora.create_task(reader.read())
                await iora.sleep(0)
                other_writer.write(b"end")
                other_writer.write_eof()
                assert await reading == b"end"
            finally:
                other_writer.transport.abort()
        finally:
            writer.transport.abort()


@scenario
async def overridden_methods(loop):
    class Reader(iora.StreamReader):
        async def readuntil(self, separator=b"\n"):
            return await super().readuntil(separator)

    class Condition(iora.Condition):
        def notify(self, n=1):
            super().notify(n)

    class Timeout(iora.Timeout):
        def reschedule(self, when):
            super().reschedule(when)

    reader, condition = Reader(limit=1e3), Condition()
    reader.feed_data(data=b"a line\nthe rest")
    reader.feed_eof()
    async with Timeout(loop.time() + 100):
        assert await reader.readline() == b"a line\n"
        assert await reader.read() == b"the rest"
        async with condition:
            condition.notify_all()


@scenario
async def servers(loop):
    async def serve(reader, writer):
        try:
            writer.write(await reader.readline())
            await writer.drain()
        finally:
            writer.close()

    server = await iora.start_server(serve, "127.0.0.1", 0)
    try:
        reader, writer = await iora.open_connection(*server.sockets[0].getsockname())
        try:
            writer.write(b"hello\n")
            # A connection that cannot be taken in is closed: asyncio tells of that in debug mode alone.
            assert await reader.read() in (b"hello\n", b"")
        finally:
            writer.transport.abort()
    finally:
        server.close()
        server.abort_clients()
    await server.wait_closed()


# ---- threads ------------------------------------------------------------------------------------------------------------

@scenario
async def threads(loop):
    assert await iora.to_thread(abs, -1) == 1
    assert await loop.run_in_executor(None, abs, -1) == 1


@scenario
async def other_threads(loop):
    done = loop.create_future()

    def elsewhere():
        loop.call_soon_threadsafe(lambda: done.done() or done.set_result(1))
        return iora.run_coroutine_threadsafe(nothing(2), loop).result(3)

    assert await iora.to_thread(elsewhere) == 2
    assert await done == 1


@scenario
async def names(loop):
    assert await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
    assert await loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
