"""What a coroutine written in C is to those who ask, and to those who drive it by hand."""

import asyncio
import collections.abc
import copy
import gc
import inspect
import sys
import types
import warnings
import weakref
from unittest import mock

import pytest

import iora

FUNCTIONS = [iora.Event.wait, iora.Lock.acquire, iora.Semaphore.acquire, iora.Condition.wait,
             iora.Condition.wait_for, iora.Barrier.wait, iora.Barrier.reset, iora.Barrier.abort,
             iora.Queue.get, iora.Queue.put, iora.Queue.join]


class Pause:
    """What a loop would resume: yields what it is given, and returns what is sent."""

    def __init__(self, value=None):
        self.value = value

    def __await__(self):
        return (yield self.value)


class PausedLock:
    """A lock whose acquire() pauses: it lets a condition's wait() be driven without a loop."""

    def locked(self):
        return True

    async def acquire(self):
        return await Pause("acquire")

    def release(self):
        pass


@pytest.fixture
def waiting():
    """A wait for an event, begun, in a loop that does not run any more."""
    async def begin():
        event = iora.Event()
        coroutine = event.wait()
        future = coroutine.send(None)
        return event, coroutine, future

    with asyncio.Runner() as runner:
        yield runner.run(begin())


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__qualname__)
def test_a_coroutine_function_says_that_it_is_one(function):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert asyncio.iscoroutinefunction(function)
    if sys.version_info >= (3, 12):
        assert inspect.iscoroutinefunction(function)
    assert function.__doc__
    stock = getattr(getattr(asyncio, function.__qualname__.split(".")[0]), function.__name__)
    assert function.__name__ == stock.__name__
    assert function.__qualname__ == stock.__qualname__
    assert function.__module__ == stock.__module__
    assert list(inspect.signature(function).parameters) == list(inspect.signature(stock).parameters)


def test_a_method_has_the_signature_of_a_method():
    assert str(inspect.signature(iora.Queue().put)) == "(item)"
    assert iora.Queue.put.__get__(None, iora.Queue) is iora.Queue.put


def test_a_function_takes_its_arguments_by_position_or_name():
    queue = iora.Queue()
    queue.put(1).close()
    queue.put(item=1).close()
    for args, keywords, text in [((), {}, "missing"), ((1, 2), {}, "at most 1"),
                                 ((1,), {"item": 2}, "multiple values"),
                                 ((1,), {"thing": 2}, "unexpected keyword argument 'thing'")]:
        with pytest.raises(TypeError, match=text):
            queue.put(*args, **keywords)
    with pytest.raises(TypeError, match="needs an object of type"):
        iora.Queue.put(3, 4)
    with pytest.raises(TypeError, match="needs an object of type"):
        iora.Queue.put()


def test_a_function_can_have_attributes_and_weak_references():
    function = iora.Queue.put
    function.note = 1
    assert function.note == 1 and weakref.ref(function)() is function
    del function.note
    assert copy.deepcopy(function) is function


def test_a_coroutine_is_one_to_asyncio_and_collections(run):
    coroutine = iora.Event().wait()
    assert asyncio.iscoroutine(coroutine)
    assert isinstance(coroutine, collections.abc.Coroutine)
    assert inspect.isawaitable(coroutine)
    assert not isinstance(coroutine, types.CoroutineType)
    assert (coroutine.__name__, coroutine.__qualname__) == ("wait", "Event.wait")
    assert (coroutine.cr_await, coroutine.cr_frame, coroutine.cr_code) == (None, None, None)
    assert not coroutine.cr_running and not coroutine.cr_suspended
    assert "Event.wait" in repr(coroutine) and weakref.ref(coroutine)() is coroutine
    coroutine.close()


def test_a_task_runs_one(run):
    async def main():
        queue = iora.Queue()
        task = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        assert "Queue.get()" in repr(task) and not task.get_stack()
        queue.put_nowait(3)
        return await task

    assert run(main()) == 3


def test_nothing_is_done_before_the_await(run):
    async def main():
        lock, queue = iora.Lock(), iora.Queue()
        acquire, put = lock.acquire(), queue.put(1)
        assert not lock.locked() and queue.empty()
        await acquire
        await put
        assert lock.locked() and queue.qsize() == 1

    run(main())


def test_it_is_awaited_once(run):
    async def main():
        coroutine = iora.Lock().acquire()
        assert await coroutine is True
        for again in (coroutine.send, coroutine.throw):
            with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
                again(None)
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await coroutine
        coroutine.close()

    run(main())


@pytest.mark.parametrize("make", [
    lambda: iora.sleep(0, 1), lambda: iora.sleep(0.001, 1), lambda: iora.wait_for(iora.sleep(0.001, 1), 1),
    lambda: asyncio.sleep(0, 1), lambda: asyncio.sleep(0.001, 1)])
def test_two_tasks_cannot_await_the_same(run, make):
    async def wait(coroutine):
        return await coroutine

    async def main():
        coroutine = make()
        return await asyncio.gather(wait(coroutine), wait(coroutine), return_exceptions=True)

    result, refusal = run(main())
    assert result == 1
    assert type(refusal) is RuntimeError and str(refusal) == "coroutine is being awaited already"


def test_values_of_all_kinds_are_returned(run):
    class Item:
        pass

    async def main():
        queue = iora.Queue()
        for item in (None, 0, (), (1, 2), Item(), Item, ValueError("x"), StopIteration(3), [1]):
            queue.put_nowait(item)
            assert await queue.get() is item
            queue.put_nowait(item)
            with pytest.raises(StopIteration) as info:
                queue.get().send(None)
            assert info.value.value is item
            queue.put_nowait(item)
            coroutine = queue.get()
            try:
                next(coroutine)
            except StopIteration as exc:
                assert exc.value is item
            else:
                pytest.fail("no StopIteration")

    run(main())


def test_a_value_that_was_returned_is_not_kept(run):
    class Item:
        pass

    async def main():
        queue = iora.Queue()
        for _ in range(3):
            queue.put_nowait(Item())
            item = weakref.ref(await queue.get())
            assert item() is None

    run(main())


def test_one_that_was_not_awaited_warns():
    with pytest.warns(RuntimeWarning, match="coroutine 'Queue.put' was never awaited"):
        iora.Queue().put(3)
    with pytest.warns(RuntimeWarning, match="'Queue.put' was never awaited"):  # in a cycle
        items = []
        items.append(iora.Queue().put(items))
        del items
        gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        iora.Queue().put(3).close()
        coroutine = iora.Queue().put(3)
        with pytest.raises(KeyError):
            coroutine.throw(KeyError)


def test_a_warning_that_is_an_error_is_shown():
    with warnings.catch_warnings(), mock.patch("sys.unraisablehook") as hook:
        warnings.simplefilter("error")
        iora.Queue().put(3)
    assert hook.called


def test_throw_goes_to_what_is_awaited(waiting):
    event, coroutine, future = waiting
    with pytest.raises(KeyError, match="thrown"):
        coroutine.throw(KeyError("thrown"))
    assert not event._waiters
    assert coroutine.cr_await is None


@pytest.mark.parametrize("args", [(KeyError,), (KeyError, "x"), (KeyError, KeyError("x")),
                                  (KeyError("x"),), (KeyError, None, None)])
def test_throw_takes_what_a_generator_takes(waiting, args):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with pytest.raises(KeyError):
            waiting[1].throw(*args)


@pytest.mark.parametrize("args", [(), (3,), (KeyError("x"), 3), (KeyError, None, 3),
                                  (KeyError, 1, None, 2)])
def test_throw_refuses_what_a_generator_refuses(waiting, args):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with pytest.raises(TypeError):
            waiting[1].throw(*args)
    waiting[1].close()


def test_close_lets_it_clean_up(waiting):
    event, coroutine, future = waiting
    assert len(event._waiters) == 1 and coroutine.cr_suspended and coroutine.cr_await is not None
    coroutine.close()
    coroutine.close()
    assert not event._waiters and not coroutine.cr_suspended


def test_one_that_is_dropped_while_it_waits_cleans_up():
    async def main():
        event = iora.Event()
        coroutine = event.wait()
        coroutine.send(None)
        assert len(event._waiters) == 1
        del coroutine
        assert not event._waiters

    asyncio.run(main())


def test_send_of_a_value_to_one_that_has_not_begun_is_refused():
    coroutine = iora.Queue().put(3)
    with pytest.raises(TypeError, match="can't send non-None value to a just-started coroutine"):
        coroutine.send(3)
    coroutine.close()


def test_what_is_sent_reaches_the_innermost():
    async def main():
        condition = iora.Condition(PausedLock())
        coroutine = condition.wait()
        coroutine.send(None)
        condition.notify()
        await asyncio.sleep(0)
        assert coroutine.send(None) == "acquire"
        with pytest.raises(StopIteration) as info:
            coroutine.send("sent")
        assert info.value.value is True

    asyncio.run(main())


def test_one_that_ignores_close_says_so():
    async def main():
        coroutine = iora.Condition(PausedLock()).wait()
        coroutine.send(None)
        with pytest.raises(RuntimeError, match="coroutine ignored GeneratorExit"):
            coroutine.close()
        with mock.patch("sys.unraisablehook"):
            del coroutine

    asyncio.run(main())


def test_it_cannot_be_entered_while_it_runs():
    async def main():
        condition = iora.Condition()

        def predicate():
            assert coroutine.cr_running
            with pytest.raises(ValueError, match="coroutine already executing"):
                coroutine.send(None)
            with pytest.raises(ValueError, match="coroutine already executing"):
                coroutine.throw(KeyError)
            with pytest.raises(ValueError, match="coroutine already executing"):
                coroutine.close()
            return "yes"

        async with condition:
            coroutine = condition.wait_for(predicate)
            assert await coroutine == "yes"

    asyncio.run(main())


def test_a_stop_iteration_does_not_leave_it():
    def predicate():
        raise StopIteration(3)

    async def main():
        async with (condition := iora.Condition()):
            with pytest.raises(RuntimeError, match="coroutine raised StopIteration") as info:
                await condition.wait_for(predicate)
            assert isinstance(info.value.__cause__, StopIteration)

    asyncio.run(main())


def test_what_cannot_be_awaited_is_refused():
    class Lock(iora.Lock):
        def acquire(self):
            return 3

    class Wrong:
        def __await__(self):
            return 3

    class OtherLock(iora.Lock):
        def acquire(self):
            return Wrong()

    async def main():
        with pytest.raises(TypeError, match="can't be used in 'await' expression"):
            async with Lock():
                pass
        with pytest.raises(TypeError, match="__await__.. returned non-iterator"):
            async with OtherLock():
                pass

    asyncio.run(main())


@pytest.mark.parametrize("name", ["Event.wait", "Lock.acquire", "Queue.get", "Queue.put"])
def test_mock_makes_an_async_mock_of_it(name):
    class_name, method = name.split(".")
    owner = getattr(iora, class_name)
    with mock.patch.object(owner, method) as made:
        assert isinstance(made, mock.AsyncMock)
    made = mock.MagicMock(spec=owner)
    assert isinstance(getattr(made, method), mock.AsyncMock)
    made = mock.create_autospec(owner)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert asyncio.iscoroutinefunction(getattr(made.return_value, method))


def test_async_with_of_what_is_ready_does_not_suspend():
    async def main():
        async with iora.Lock() as nothing, iora.Semaphore() as neither, iora.Condition():
            assert nothing is None and neither is None
        return 3

    with pytest.raises(StopIteration) as info:
        main().send(None)
    assert info.value.value == 3


def test_what_is_ready_can_be_driven_by_hand():
    ready = iora.Lock().__aenter__()
    assert asyncio.iscoroutine(ready) and ready.close() is None
    with pytest.raises(StopIteration):
        ready.send(None)
    with pytest.raises(KeyError):
        ready.throw(KeyError("x"))


def test_many_at_once_are_apart():
    async def main():
        queue = iora.Queue()
        tasks = [asyncio.create_task(queue.get()) for _ in range(2000)]
        await asyncio.sleep(0)
        for number in range(2000):
            await queue.put(number)
        assert await asyncio.gather(*tasks) == list(range(2000))

    asyncio.run(main())
