"""Nothing is left behind. After three runs, in which caches fill up, three are counted: references where the interpreter
counts them (a debug build), blocks of memory, descriptors, threads, objects of our types. What leaks does so in each run;
if any of the three leaves nothing, nothing leaks.

What is left in caches is not counted. A full collection empties the interpreter's free lists. Its cache of attributes has
to be emptied by name: it holds the last 4096 names that were looked up, among them each that C made for one call, and so
grew by fifteen blocks a run for hundreds of runs."""

import array
import asyncio
import contextlib
import gc
import os
import socket
import sys
import threading

import pytest

import iora

WARM_UPS, COUNTED = 3, 3


def handles(loop):
    for n in range(6):
        loop.call_soon(lambda *args: None, *range(n))
        loop.call_soon(print).cancel()
        loop.call_later(0, lambda *args: None, *range(n))
        loop.call_later(100, print, loop).cancel()
    loop.call_later(100, print, loop)
    loop.call_soon_threadsafe(lambda: 1 / 0)
    repr(loop.call_soon(print))
    loop.call_soon(loop.stop)
    loop.set_exception_handler(lambda loop, context: None)
    loop.run_forever()
    loop.call_soon(print, loop)


def tasks(loop):
    async def main():
        await asyncio.gather(*(asyncio.sleep(0, i) for i in range(20)))
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(asyncio.sleep(0))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.sleep(10)
        await asyncio.to_thread(lambda: None)
        await loop.create_task(asyncio.sleep(0), name="name")

    loop.run_until_complete(main())


def failures(loop):
    loop.set_debug(True)
    for call in (lambda: loop.call_soon(3), lambda: loop.call_later(None, print),
                 lambda: loop.call_soon(), lambda: loop.call_soon(print, nothing=1),
                 lambda: loop.add_reader(object(), print), lambda: loop.create_task(),
                 lambda: loop._attempt(-1, False, print), lambda: loop.call_at("x", print),
                 lambda: loop._make_transport(socket, None, None, None, None)):
        with pytest.raises((TypeError, ValueError, OSError)):
            call()


def readers(loop):
    async def main():
        a, b = socket.socketpair()
        a.setblocking(False)
        for _ in range(3):
            loop.add_reader(a, print, 1)
            loop.add_writer(a, lambda: None)
        await asyncio.sleep(0.001)
        loop.remove_reader(a)
        loop.remove_writer(a)
        receiving = asyncio.ensure_future(loop.sock_recv(a, 10))
        await asyncio.sleep(0)
        receiving.cancel()
        receiving = asyncio.ensure_future(loop.sock_recv(a, 10))
        await asyncio.sleep(0)
        b.send(b"x")
        await receiving
        asyncio.ensure_future(loop.sock_recv(a, 10))._log_destroy_pending = False
        await asyncio.sleep(0)
        loop.add_reader(b, print)
        return a, b

    for end in loop.run_until_complete(main()):
        end.close()


def connections(loop):
    class Fails(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.write(data * 1000)
            raise ZeroDivisionError

    async def main():
        loop.set_exception_handler(lambda loop, context: None)
        for protocol in (Fails, lambda: 1 / 0):
            server = await loop.create_server(protocol, "127.0.0.1", 0)
            address = server.sockets[0].getsockname()
            for _ in range(5):
                reader, writer = await asyncio.open_connection(*address)
                writer.write(b"x" * 1000)
                with contextlib.suppress(OSError):
                    await reader.read()
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
            server.close()
            await server.wait_closed()
            with contextlib.suppress(OSError):
                await asyncio.open_connection(*address)

    loop.run_until_complete(main())


def left_open(loop):
    async def main():
        a, b = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=a)
        writer.write(b"x" * 1_000_000)
        return writer, b

    writer, b = loop.run_until_complete(main())
    b.close()


def is_ours(kind):
    return any(each.__module__ == "iora._c" for each in kind.__mro__)


def measure():
    gc.collect()
    gc.collect()
    sys._clear_type_cache()
    return {
        "references": sys.gettotalrefcount() if hasattr(sys, "gettotalrefcount") else 0,
        "blocks": sys.getallocatedblocks(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "objects": sum(is_ours(type(each)) for each in gc.get_objects()),
    }


def check(once):
    """Call it, and see that not every call leaves something."""
    for _ in range(WARM_UPS):
        once()
    was = measure()
    # What is noted must not take memory run by run: a number below -5 would be a block more.
    grown = {what: array.array("q", [0] * COUNTED) for what in was}
    for run in range(COUNTED):
        once()
        now = measure()
        for what in was:
            grown[what][run] = now[what] - was[what]
        was = now
    leaks = {what: list(each) for what, each in grown.items() if min(each) > 0}
    assert not leaks


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("scenario", [handles, tasks, failures, readers, connections, left_open])
def test_nothing_is_left_behind(scenario, caplog):
    def once():
        loop = iora.new_event_loop()
        scenario(loop)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        caplog.clear()

    check(once)


uncounted = pytest.mark.skipif(sys.getallocatedblocks() == 0, reason="blocks are malloc's (PYTHONMALLOC)")


@pytest.mark.parametrize("leak", [pytest.param(object, marks=uncounted), iora.Lock, socket.socketpair])
def test_what_leaks_is_seen(leak):
    kept = []
    with pytest.raises(AssertionError):
        check(lambda: kept.extend((leak(),)))
    for each in kept:
        for end in each if isinstance(each, tuple) else ():
            end.close()
