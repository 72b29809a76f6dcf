"""Old and new side by side: what a program imported from asyncio before install(), and what it finds there after."""

import asyncio
import socket

import pytest

import iora
from iora import _locks, _queues, _streams, _tasks

CLASSES = [name for module in (_locks, _queues, _streams, _tasks) for name in module.__all__
           if isinstance(getattr(module, name), type)
           and getattr(asyncio, name, getattr(iora, name)) is not getattr(iora, name)]
OLD_AND_NEW = [pytest.param(asyncio, id="old"), pytest.param(iora, id="new")]
LOOPS = [pytest.param(asyncio.SelectorEventLoop, id="on_old_loop"), pytest.param(iora.new_event_loop, id="on_new_loop")]


@pytest.fixture(params=LOOPS)
def run(request):
    def run(coroutine):
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(asyncio.wait_for(coroutine, 20))
    return run


def for_each(*names):
    """Each of the names is in turn asyncio's module and ours, in all combinations."""
    def mark(test):
        for name in names:
            test = pytest.mark.parametrize(name, OLD_AND_NEW)(test)
        return test
    return mark


@pytest.mark.parametrize("name", CLASSES)
def test_a_new_class_is_below_what_the_old_one_is_below(name):
    new, old = getattr(iora, name), getattr(asyncio, name)
    assert issubclass(new, old) and not issubclass(old, new)
    for other in CLASSES:
        is_below = issubclass(old, getattr(asyncio, other))
        assert issubclass(new, getattr(asyncio, other)) == issubclass(new, getattr(iora, other)) == is_below


@for_each("locks", "conditions", "groups", "timeouts")
def test_locks_conditions_groups_and_timeouts_of_both(run, locks, conditions, groups, timeouts):
    async def main():
        lock = locks.Lock()
        condition = conditions.Condition(lock)
        state = []

        async def wait():
            async with condition:
                await condition.wait_for(lambda: state)
                return lock.locked()

        async with timeouts.timeout(10):
            async with groups.TaskGroup() as group:
                waiting = group.create_task(wait())
                await asyncio.sleep(0)
                async with lock:
                    state.append(1)
                    condition.notify()
        assert waiting.result() and not lock.locked()
        with pytest.raises(TimeoutError):
            async with timeouts.timeout(0):
                async with groups.TaskGroup() as group:
                    group.create_task(condition.acquire())
                    group.create_task(condition.acquire())
        return asyncio.current_task().cancelling()

    assert run(main()) == 0


@for_each("queues", "events", "functions")
def test_queues_events_and_functions_of_both(run, queues, events, functions):
    async def main():
        seen = []
        for kind in "Queue", "LifoQueue", "PriorityQueue":
            queue, filled = getattr(queues, kind)(2), events.Event()

            async def put():
                for item in 1, 2, 3:
                    await queue.put(item)
                filled.set()

            putting = functions.create_task(put())
            await functions.sleep(0)
            got = [await functions.wait_for(queue.get(), 10) for _ in range(3)]
            await functions.gather(filled.wait(), functions.shield(putting))
            for _ in got:
                queue.task_done()
            await functions.wait_for(queue.join(), None)
            seen.append(sorted(got))
            with pytest.raises(TimeoutError):
                await functions.wait_for(queue.get(), 0.001)
            with pytest.raises(asyncio.QueueEmpty):
                queue.get_nowait()
        return seen

    assert run(main()) == [[1, 2, 3]] * 3


@for_each("semaphores", "barriers", "functions")
def test_semaphores_barriers_and_functions_of_both(run, semaphores, barriers, functions):
    async def main():
        for kind in "Semaphore", "BoundedSemaphore":
            semaphore, barrier = getattr(semaphores, kind)(1), barriers.Barrier(3)

            async def one_of_three():
                async with semaphore:
                    await functions.sleep(0)
                return await barrier.wait()

            tasks = [asyncio.create_task(one_of_three()) for _ in range(3)]
            done, pending = await functions.wait(tasks, timeout=10)
            assert not pending and sorted(task.result() for task in done) == [0, 1, 2]
            barrier = barriers.Barrier(2)
            waiting = asyncio.create_task(barrier.wait())
            await functions.sleep(0)
            await barrier.abort()
            with pytest.raises(asyncio.BrokenBarrierError):
                await waiting

    run(main())


@for_each("readers", "protocols", "writers")
def test_readers_protocols_and_writers_of_both(run, readers, protocols, writers):
    async def main():
        loop = asyncio.get_running_loop()
        here, there = socket.socketpair()
        reader = readers.StreamReader(limit=64, loop=loop)
        protocol = protocols.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.create_connection(lambda: protocol, sock=here)
        writer = writers.StreamWriter(transport, protocol, reader, loop)
        theirs = await asyncio.open_connection(sock=there)
        for line in b"one\n", b"two\n":
            writer.write(line)
            await writer.drain()
            theirs[1].write(await theirs[0].readline())
            assert await reader.readuntil() == line
        theirs[1].close()
        assert await reader.read() == b"" and reader.at_eof()
        writer.close()
        await writer.wait_closed()
        await theirs[1].wait_closed()

    run(main())


@for_each("servers", "clients")
def test_servers_and_clients_of_both(run, tmp_path, servers, clients):
    async def echo(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    async def main():
        unix = str(tmp_path / "socket")
        for server, address, opening in [
                (await servers.start_server(echo, "127.0.0.1", 0), None, clients.open_connection),
                (await servers.start_unix_server(echo, unix), (unix,), clients.open_unix_connection)]:
            async with server:
                reader, writer = await opening(*(address or server.sockets[0].getsockname()))
                writer.write(b"line\n")
                assert await reader.read() == b"line\n"
                writer.close()
                await writer.wait_closed()

    run(main())


@for_each("outer", "inner")
def test_a_function_of_one_awaits_what_the_other_made(run, outer, inner):
    async def main():
        seen = [await outer.wait_for(inner.sleep(0, 1), 10),
                await outer.shield(inner.ensure_future(inner.sleep(0, 2))),
                *await outer.gather(inner.sleep(0, 3), inner.gather(inner.sleep(0, 4), inner.to_thread(int, 5))),
                [await each for each in outer.as_completed([inner.create_task(inner.sleep(0, 6))])],
                await outer.create_task(inner.wait_for(inner.sleep(0, 7), 10))]
        assert inner.current_task() is outer.current_task() and inner.all_tasks() == outer.all_tasks()
        assert inner.get_running_loop() is outer.get_running_loop()
        with pytest.raises(TimeoutError):
            async with outer.timeout(10):
                async with inner.timeout(0.001):
                    await outer.sleep(10)
        return seen

    assert run(main()) == [1, 2, 3, [4, 5], [6], 7]
