"""Locks and queues: what a scenario at random does not meet (test_sync_model.py has those)."""

import asyncio
import gc
import heapq
import math
import subprocess
import sys
import types
import weakref
from collections import deque
from unittest import mock

import pytest

import iora
from iora import _locks, _queues

CLASSES = [getattr(module, name) for module in (_locks, _queues) for name in module.__all__
           if name != "QueueShutDown"]
LOCKS = [iora.Lock, iora.Semaphore, iora.BoundedSemaphore, iora.Condition]
QUEUES = [iora.Queue, iora.LifoQueue, iora.PriorityQueue]


def make(kind):
    return kind(2) if kind is iora.Barrier else kind()


# ---- classes -------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", CLASSES)
def test_ours_is_an_instance_of_asyncios(kind):
    stock = getattr(asyncio, kind.__name__)
    assert issubclass(kind, stock) and isinstance(make(kind), stock)
    for ancestor in stock.__mro__[1:-1]:
        if ancestor.__name__ in iora.__all__:
            assert issubclass(kind, getattr(iora, ancestor.__name__))


@pytest.mark.parametrize("kind", CLASSES)
def test_one_can_be_subclassed_referenced_weakly_and_have_attributes(kind):
    class Derived(kind):
        def __init__(self):
            self.before = 1
            super().__init__(*([2] if kind is iora.Barrier else []))

    one = Derived()
    one.after = 2
    assert (one.before, one.after) == (1, 2) and "Derived" in repr(one)
    assert weakref.ref(one)() is one and one in {one}


@pytest.mark.parametrize("kind", CLASSES)
def test_one_in_a_cycle_is_collected(kind):
    one = make(kind)
    one.itself = one
    gone = weakref.ref(one)
    del one
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("kind", CLASSES)
def test_one_that_was_not_initialized_does_no_harm(kind):
    one = kind.__new__(kind)

    async def use():
        for name in dir(one):
            attribute = getattr(one, name, None)
            if callable(attribute) and not name.startswith("__"):
                try:
                    result = attribute()
                    if asyncio.iscoroutine(result):
                        async with asyncio.timeout(0):
                            await result
                except (TypeError, AttributeError, RuntimeError, ValueError, TimeoutError,
                        IndexError, asyncio.QueueEmpty, iora.QueueShutDown):
                    pass

    asyncio.run(use())
    if kind is iora.Condition:
        with pytest.raises(AttributeError):
            repr(one)
    else:
        repr(one)


@pytest.mark.parametrize("kind", CLASSES)
def test_one_can_be_initialized_twice(kind):
    one = make(kind)
    args = [2] if kind is iora.Barrier else []
    one.__init__(*args)
    one.__init__(*args)
    with pytest.raises(TypeError, match=r"__init__\(\) got an unexpected keyword argument 'loop'"):
        one.__init__(loop=None)


def test_wrong_arguments_are_refused():
    for call in (lambda: iora.Semaphore(-1), lambda: iora.BoundedSemaphore(-1),
                 lambda: iora.Barrier(0)):
        with pytest.raises(ValueError):
            call()
    for call in (lambda: iora.Semaphore("1"), lambda: iora.Barrier("x"), lambda: iora.Barrier(),
                 lambda: iora.Lock(1), lambda: iora.Queue("x"), lambda: iora.Queue(1, 2)):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(AttributeError):
        iora.Condition(3)


def test_queues_can_be_parametrized():
    assert isinstance(iora.Queue[int], types.GenericAlias)


def test_install_puts_them_in_asyncios_place():
    code = """
import asyncio
from asyncio import Lock as before
import asyncio.locks, asyncio.queues
import iora
stock = asyncio.Queue
iora.install()
assert asyncio.Lock is asyncio.locks.Lock is iora.Lock is not before
assert asyncio.Queue is asyncio.queues.Queue is iora.Queue
assert isinstance(asyncio.Lock(), before)
iora.uninstall()
assert asyncio.Lock is before and asyncio.Queue is asyncio.queues.Queue is stock
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# ---- loops ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", [*LOCKS[:3], iora.Queue])
def test_one_is_bound_to_a_loop_when_somebody_waits(kind):
    one = make(kind)

    async def use():
        if kind is iora.Queue:
            await one.put(1)
            await one.get()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(one.get(), 0.001)
        else:
            async with one:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(one.acquire(), 0.001)

    async def use_alone():
        if kind is iora.Queue:
            await one.put(1)
            await one.get()
        else:
            async with one:
                pass

    assert one._loop is None
    asyncio.run(use_alone())
    assert one._loop is None
    asyncio.run(use())
    assert one._loop is not None
    asyncio.run(use_alone())
    with pytest.raises(RuntimeError, match="is bound to a different event loop"):
        asyncio.run(use())


def test_waiting_without_a_loop_is_an_error():
    with pytest.raises(RuntimeError, match="no running event loop"):
        iora.Event().wait().send(None)


# ---- methods that somebody else has ------------------------------------------------------------------

@pytest.mark.parametrize("kind", LOCKS[:3])
def test_async_with_goes_by_the_methods_of_a_subclass(kind):
    calls = []

    class Derived(kind):
        async def acquire(self):
            calls.append("acquire")
            return await super().acquire()

        def release(self):
            calls.append("release")
            super().release()

    async def main():
        async with Derived() as nothing:
            assert nothing is None
            calls.append("in")

    asyncio.run(main())
    assert calls == ["acquire", "in", "release"]


@pytest.mark.parametrize("kind", LOCKS)
def test_async_with_goes_by_methods_that_were_set_on_the_object(kind):
    async def main():
        one = kind()
        async with one:
            pass
        one.acquire, one.release = mock.AsyncMock(), mock.Mock()
        async with one:
            assert one.acquire.await_count == 1 and not one.release.called
        assert one.release.call_count == 1

    asyncio.run(main())


def test_a_class_that_is_changed_after_use_is_seen():
    class Derived(iora.Lock):
        pass

    async def main():
        async with Derived():
            pass
        with mock.patch.object(Derived, "acquire") as acquire:
            async with (lock := Derived()):
                lock._locked = True
        assert acquire.await_count == 1
        async with Derived() as lock:
            pass
        assert acquire.await_count == 1

    asyncio.run(main())


def test_notify_all_goes_by_notify():
    class Condition(iora.Condition):
        def notify(self, n=1):
            notified.append(n)
            super().notify(n)

    async def wait(condition):
        async with condition:
            await condition.wait()

    async def main(condition):
        waiters = [asyncio.create_task(wait(condition)) for _ in range(3)]
        await asyncio.sleep(0)
        async with condition:
            assert condition.notify_all() is None
        await asyncio.gather(*waiters)

    notified = []
    asyncio.run(main(Condition()))
    hidden = iora.Condition()
    hidden.notify = lambda n=1: (notified.append(n), iora.Condition.notify(hidden, n))
    asyncio.run(main(hidden))
    assert notified == [3, 3]


@pytest.mark.parametrize("lock", [asyncio.Lock, iora.Lock, iora.Semaphore])
def test_a_condition_takes_any_lock(lock):
    async def main():
        condition = iora.Condition(own := lock())
        assert condition._lock is own and condition.acquire.__self__ is own

        async def wait():
            async with condition:
                return await condition.wait()

        waiter = asyncio.create_task(wait())
        await asyncio.sleep(0)
        async with condition:
            assert condition.locked()
            condition.notify()
        assert await waiter is True
        assert not condition.locked()

    asyncio.run(main())


# ---- exceptions ------------------------------------------------------------------------------------------

def test_a_cancel_while_a_condition_takes_its_lock_again_is_kept():
    async def main():
        condition = iora.Condition()

        async def wait():
            async with condition:
                await condition.wait()

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        await condition.acquire()
        task.cancel("first")
        await asyncio.sleep(0)
        for message in ("second", "third"):
            task.cancel(message)
            await asyncio.sleep(0)
        assert not task.done()
        condition.release()
        with pytest.raises(asyncio.CancelledError) as info:
            await task
        chain, error = [], info.value
        while error is not None:
            chain.extend(error.args)
            error = error.__context__
        assert "third" in chain
        assert not condition.locked()

    asyncio.run(main())


def test_who_was_notified_and_is_cancelled_passes_it_on():
    async def main():
        condition = iora.Condition()
        woken = []

        async def wait(who):
            async with condition:
                await condition.wait()
                woken.append(who)

        tasks = [asyncio.create_task(wait(who)) for who in range(3)]
        await asyncio.sleep(0)
        async with condition:
            condition.notify()
            tasks[0].cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert woken == [1] and tasks[0].cancelled() and not tasks[2].done()
        tasks[2].cancel()

    asyncio.run(main())


def test_an_exception_is_not_kept():
    async def main():
        event = iora.Event()
        task = asyncio.create_task(event.wait())
        await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as exc:
            return weakref.ref(task), event, len(gc.get_referrers(exc))

    gone, event, referrers = asyncio.run(main())
    assert referrers <= 1
    gc.disable()
    try:
        assert gone() is None
    finally:
        gc.enable()


def test_a_waker_whose_loop_fails_says_so():
    class Loop(asyncio.SelectorEventLoop):
        fails = False

        def call_soon(self, *args, **keywords):
            if self.fails:
                self.fails = False
                raise ZeroDivisionError
            return super().call_soon(*args, **keywords)

    async def main():
        loop = asyncio.get_running_loop()
        event, lock, queue, semaphore = iora.Event(), iora.Lock(), iora.Queue(), iora.Semaphore(0)
        await lock.acquire()
        waits = [event.wait(), lock.acquire(), queue.get(), semaphore.acquire()]
        for wait in waits:
            wait.send(None).add_done_callback(print)
        for call in (event.set, lock.release, lambda: queue.put_nowait(1), semaphore.release):
            loop.fails = True
            with pytest.raises(ZeroDivisionError):
                call()
            assert not loop.fails
        for wait in waits:
            wait.close()

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main())


# ---- what may change what is being walked through -----------------------------------------------------

def test_waiters_that_are_changed_while_they_are_woken():
    class Loop(asyncio.SelectorEventLoop):
        meddle = None

        def call_soon(self, *args, **keywords):
            if self.meddle:
                self.meddle()
            return super().call_soon(*args, **keywords)

    async def main(kind):
        loop = asyncio.get_running_loop()
        event = iora.Event()
        waits = [event.wait() for _ in range(40)]
        futures = [wait.send(None) for wait in waits]
        for future in futures:
            future._asyncio_future_blocking = False
            future.add_done_callback(lambda future: None)

        def close():
            for wait in waits[5:]:
                wait.close()

        def replace():
            event._waiters = deque()

        loop.meddle = {"close": close, "replace": replace}[kind]
        event.set()
        loop.meddle = None
        for wait in waits:
            wait.close()

    for kind in ("close", "replace"):
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(main(kind))


def test_private_names_can_be_read_and_set():
    async def main():
        lock, event, semaphore = iora.Lock(), iora.Event(), iora.Semaphore()
        assert lock._waiters is None and semaphore._waiters is None
        assert event._waiters == deque()
        semaphore._waiters = deque()
        semaphore._waiters.append(mock.Mock())
        assert "waiters:1" in repr(semaphore)
        semaphore._waiters = None
        assert "waiters" not in repr(semaphore)
        with pytest.raises(AttributeError):
            del semaphore._waiters
        event._value = True
        assert event.is_set()
        lock._locked = True
        assert lock.locked()
        semaphore._value = 0
        assert semaphore.locked()
        queue = iora.Queue()
        queue._unfinished_tasks = 2
        assert queue._format() == "maxsize=0 tasks=2"
        queue._maxsize = 1
        queue.put_nowait(1)
        assert queue.full() and not queue._finished.is_set()

    asyncio.run(main())


# ---- queues -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("maxsize, full_at", [(0, None), (-3, None), (2, 2), (1.5, 2),
                                              (math.inf, None), (True, 1), (2**70, None)])
def test_a_queue_has_the_size_that_it_is_given(maxsize, full_at):
    queue = iora.Queue(maxsize)
    assert queue.maxsize is maxsize
    for number in range(5):
        if number == full_at:
            assert queue.full()
            with pytest.raises(asyncio.QueueFull):
                queue.put_nowait(number)
            break
        assert not queue.full()
        queue.put_nowait(number)


@pytest.mark.parametrize("kind", QUEUES)
def test_items_come_out_in_order_wherever_they_lie(kind):
    numbers = [5, 3, 9, 1, 7, 0, 8]
    order = {iora.Queue: numbers, iora.LifoQueue: numbers[::-1],
             iora.PriorityQueue: sorted(numbers)}[kind]
    queue = kind()
    for number in numbers:
        queue.put_nowait(number)
    assert queue.qsize() == 7 and str(numbers[0]) in repr(queue)
    first = [queue.get_nowait() for _ in range(3)]
    assert isinstance(queue._queue, deque if kind is iora.Queue else list)
    assert len(queue._queue) == 4
    rest = [queue.get_nowait() for _ in range(4)]
    assert first + rest == order
    assert queue.empty()
    queue.put_nowait(1)
    assert list(queue._queue) == [1]
    queue._queue.clear()
    assert queue.empty()


def test_a_long_queue_gives_its_memory_back():
    queue = iora.Queue()
    for number in range(100_000):
        queue.put_nowait(number)
    assert [queue.get_nowait() for _ in range(100_000)] == list(range(100_000))


def test_a_queue_goes_by_what_a_subclass_overrides():
    class Sorted(iora.Queue):
        def _init(self, maxsize):
            self.heap = []

        def _put(self, item):
            heapq.heappush(self.heap, item)

        def _get(self):
            return heapq.heappop(self.heap)

        def qsize(self):
            return len(self.heap)

        def empty(self):
            return not self.heap

    async def main():
        queue = Sorted(2)
        await queue.put(2)
        await queue.put(1)
        assert queue.full()
        putter = asyncio.create_task(queue.put(0))
        await asyncio.sleep(0)
        assert await queue.get() == 1
        await putter
        assert [await queue.get(), queue.get_nowait()] == [0, 2]

    asyncio.run(main())


def test_a_queue_may_put_its_items_where_it_likes():
    class Unique(iora.Queue):
        def _init(self, maxsize):
            self._queue = set()

        def _put(self, item):
            self._queue.add(item)

        def _get(self):
            return self._queue.pop()

    async def main():
        queue = Unique()
        for _ in range(3):
            await queue.put(1)
        assert queue.qsize() == 1 and await queue.get() == 1 and queue.empty()

    asyncio.run(main())


@pytest.mark.parametrize("name", ["put_nowait", "get_nowait", "full", "empty"])
def test_put_and_get_go_by_the_methods_that_they_are_made_of(name):
    async def main(queue):
        await queue.put(1)
        assert await queue.get() == 1

    calls = []
    method = getattr(iora.Queue, name)
    derived = type("Derived", (iora.Queue,),
                   {name: lambda self, *args: calls.append(name) or method(self, *args)})
    asyncio.run(main(derived()))
    assert calls
    queue = iora.Queue()
    with mock.patch.object(queue, name, wraps=getattr(queue, name)) as wrapped:
        asyncio.run(main(queue))
    assert wrapped.called


def test_an_item_that_cannot_be_compared_is_refused():
    queue = iora.PriorityQueue()
    queue.put_nowait((1, "a"))
    with pytest.raises(TypeError):
        queue.put_nowait("x")


def test_a_queue_can_be_shut_down():
    async def main():
        queue = iora.Queue(1)
        await queue.put(1)
        putter = asyncio.create_task(queue.put(2))
        await asyncio.sleep(0)
        queue.shutdown()
        with pytest.raises(iora.QueueShutDown):
            await putter
        with pytest.raises(iora.QueueShutDown):
            queue.put_nowait(3)
        assert await queue.get() == 1
        with pytest.raises(iora.QueueShutDown):
            queue.get_nowait()
        with pytest.raises(iora.QueueShutDown):
            await queue.get()
        assert "shutdown" in repr(queue)

        queue = iora.Queue()
        queue.put_nowait(1)
        join = asyncio.create_task(queue.join())
        await asyncio.sleep(0)
        queue.shutdown(immediate=True)
        await join
        with pytest.raises(iora.QueueShutDown):
            await queue.get()

    asyncio.run(main())


def test_join_waits_for_all_to_be_done():
    async def main():
        queue = iora.Queue()
        await queue.join()
        queue.put_nowait(1)
        queue.put_nowait(2)
        join = asyncio.create_task(queue.join())
        await asyncio.sleep(0)
        queue.task_done()
        await asyncio.sleep(0)
        assert not join.done()
        queue.task_done()
        await join
        with pytest.raises(ValueError, match="too many times"):
            queue.task_done()

    asyncio.run(main())
