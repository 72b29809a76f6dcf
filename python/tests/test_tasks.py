"""What asyncio has round tasks: as asyncio's own in scenarios, newest semantics, and what only we have."""

import asyncio
import concurrent.futures
import contextlib
import gc
import inspect
import sys
import threading
import weakref
from unittest import mock

import pytest
from task_scenarios import IORA, SCENARIOS, STOCK, trace_of

import iora
from iora import _tasks

LOOPS = [pytest.param(asyncio.new_event_loop, id="asyncio"), pytest.param(iora.new_event_loop, id="iora")]
COROUTINE_FUNCTIONS = ["sleep", "to_thread", "wait", "wait_for"]


@pytest.fixture(params=LOOPS)
def run_in(request):
    """Run a coroutine in asyncio's loop, and in ours."""
    def run(coroutine):
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(coroutine)
    return run


@pytest.mark.parametrize("factory", LOOPS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_does_as_asyncio(scenario, factory):
    if sys.version_info < scenario.since:
        pytest.skip(f"asyncio does so since {scenario.since}")
    assert trace_of(scenario, IORA, factory) == trace_of(scenario, STOCK, asyncio.new_event_loop)


# ---- newer than some stock asyncio ---------------------------------------------------------------------

def test_waiting_for_runs_in_the_callers_task(run_in):
    async def main():
        async def who():
            await asyncio.sleep(0)
            return asyncio.current_task()
        return await iora.wait_for(who(), 1) is asyncio.current_task()

    assert run_in(main())


def test_what_has_no_time_left_does_not_begin(run_in):
    async def main():
        begun = []

        async def begins():
            begun.append(1)

        for timeout in (0, -1, 0.0):
            with pytest.raises(TimeoutError) as caught:
                await iora.wait_for(begins(), timeout)
            assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        done = asyncio.get_running_loop().create_future()
        done.set_result(3)
        assert await iora.wait_for(done, 0) == 3
        return begun

    assert run_in(main()) == []


def test_who_waits_too_long_gets_a_timeout_error_of_the_cancellation(run_in):
    async def main():
        future = asyncio.get_running_loop().create_future()
        with pytest.raises(TimeoutError) as caught:
            await iora.wait_for(future, 0.001)
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        assert caught.value.__context__ is caught.value.__cause__
        return future.cancelled(), asyncio.current_task().cancelling()

    assert run_in(main()) == (True, 0)


def test_a_wait_for_that_is_cancelled_cancels(run_in):
    async def main():
        future = asyncio.get_running_loop().create_future()
        waiting = asyncio.ensure_future(iora.wait_for(future, 10))
        await asyncio.sleep(0)
        waiting.cancel("mine")
        with pytest.raises(asyncio.CancelledError, match="mine"):
            await waiting
        return future.cancelled()

    assert run_in(main())


@pytest.mark.parametrize("wait_for", [asyncio.wait_for, iora.wait_for])
def test_a_cancellation_after_the_time_is_up_meets_what_ignores_both(run_in, wait_for):
    """On 3.11 wait_for() is cancelled all the same; from 3.12 on what is awaited has the last word."""
    async def ignores():
        for _ in range(2):
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                pass
        await asyncio.sleep(0.001)
        return 42

    async def main():
        inner = asyncio.ensure_future(ignores())
        waiting = asyncio.ensure_future(wait_for(inner, 0.001))
        await asyncio.sleep(0.01)
        waiting.cancel()
        ended, = await asyncio.gather(waiting, return_exceptions=True)
        inner.cancel()
        return type(ended), await inner

    assert run_in(main()) == (asyncio.CancelledError if sys.version_info < (3, 12) else int, 42)


def test_a_group_is_cancelled_without_an_exception(run_in):
    async def main():
        for moment in ("before", "within", "after the body"):
            ended = []

            async def child():
                try:
                    await asyncio.sleep(100)
                finally:
                    ended.append("child")

            group = iora.TaskGroup()
            if moment == "before":
                group.cancel()
            async with group:
                if moment != "before":
                    group.create_task(child())
                    await asyncio.sleep(0)
                if moment == "within":
                    group.cancel()
                    group.cancel()
                if moment == "after the body":
                    asyncio.get_running_loop().call_soon(group.cancel)
                else:
                    await asyncio.sleep(100)
                ended.append("body")
            group.cancel()
            assert ended == {"before": [], "within": ["child"], "after the body": ["body", "child"]}[moment]
            assert asyncio.current_task().cancelling() == 0
            await asyncio.sleep(0)

    run_in(main())


def test_cancelling_a_group_does_not_hide_a_cancellation_from_outside(run_in):
    async def main():
        async def parent():
            async with iora.TaskGroup() as group:
                group.cancel()
                asyncio.current_task().cancel("outside")
                await asyncio.sleep(100)

        task = asyncio.ensure_future(parent())
        with pytest.raises(asyncio.CancelledError):
            await task
        return task.cancelling()

    assert run_in(main()) == 1


@pytest.mark.skipif(sys.version_info < (3, 13), reason="uncancel() cannot take it back")
def test_a_group_renews_a_cancellation_that_met_an_error(run_in):
    async def main():
        async def parent():
            try:
                async with iora.TaskGroup() as group:
                    async def fails():
                        try:
                            await asyncio.sleep(100)
                        finally:
                            raise KeyError

                    group.create_task(fails())
            except* KeyError:
                pass
            await asyncio.sleep(0)

        task = asyncio.ensure_future(parent())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_in(main())


def test_closing_a_body_without_errors_closes_it(run_in):
    async def main():
        async def generator():
            async with iora.TaskGroup():
                yield 1

        agen = generator()
        assert await agen.__anext__() == 1
        await agen.aclose()

    run_in(main())


def test_a_timeout_error_is_put_behind_what_a_cancellation_became(run_in):
    async def main():
        with pytest.raises(KeyError) as caught:
            async with iora.timeout(0):
                try:
                    await asyncio.sleep(10)
                except asyncio.CancelledError:
                    raise KeyError
        between = caught.value.__context__
        assert isinstance(between, TimeoutError)
        assert isinstance(between.__cause__, asyncio.CancelledError)
        with pytest.raises(ExceptionGroup) as caught:
            async with iora.timeout(0):
                async with iora.TaskGroup() as group:
                    async def fails():
                        try:
                            await asyncio.sleep(10)
                        except asyncio.CancelledError:
                            raise KeyError
                    group.create_task(fails())
        return isinstance(caught.value.exceptions[0].__context__, TimeoutError)

    assert run_in(main())


def test_entering_a_timeout_goes_by_reschedule(run_in):
    class Timeout(iora.Timeout):
        def reschedule(self, when):
            seen.append(when)
            super().reschedule(when)

    async def main():
        async with Timeout(None):
            pass
        async with Timeout(later):
            pass
        Timeout.reschedule = refuse
        try:
            async with Timeout(later):
                pass
        except ValueError:
            seen.append("refused")

    def refuse(self, when):
        raise ValueError

    seen, later = [], 1e9
    run_in(main())
    assert seen == [None, later, "refused"]


def test_not_a_number_is_no_time_to_sleep(run_in):
    async def main():
        with pytest.raises(ValueError):
            await iora.sleep(float("nan"))

    run_in(main())


def test_futures_come_themselves_as_they_are_completed(run_in):
    async def main():
        tasks = [asyncio.ensure_future(asyncio.sleep(n / 1000, n)) for n in (3, 1, 2)]
        seen = []
        async for task in iora.as_completed(tasks):
            assert task in tasks
            seen.append(await task)
        with pytest.raises(TimeoutError):
            async for _ in iora.as_completed([asyncio.sleep(10)], timeout=0.001):
                pass
        return seen

    assert run_in(main()) == [1, 2, 3]


def test_a_step_that_is_cancelled_loses_nothing(run_in):
    async def main():
        future = asyncio.get_running_loop().create_future()
        iterator = iora.as_completed([future])
        step = asyncio.ensure_future(anext(iterator))
        await asyncio.sleep(0)
        future.set_result(3)
        await asyncio.sleep(0)  # the step is woken; it has not run
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
        assert [await each async for each in iterator] == [3]

    run_in(main())


def test_what_a_shield_has_let_go_of_is_reported_once_it_is_dropped(run_in):
    async def main():
        told = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["message"]))

        async def fails():
            await asyncio.sleep(0)
            raise KeyError

        inner = asyncio.ensure_future(fails())
        outer = iora.shield(inner)
        await asyncio.sleep(0)
        outer.cancel()
        await asyncio.wait([inner])
        del inner, outer
        await asyncio.sleep(0)
        gc.collect()
        return told

    assert run_in(main()) == ["Task exception was never retrieved"]


# ---- what they are --------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", _tasks.__all__)
def test_each_has_the_parameters_of_asyncios(name):
    ours, stock = getattr(iora, name), getattr(asyncio, name)
    if name in {"create_task", "eager_task_factory", "TaskGroup", "Timeout"}:  # newer; classes
        return
    assert [(p.name, p.kind, p.default is p.empty) for p in inspect.signature(ours).parameters.values()] == [
        (p.name, p.kind, p.default is p.empty) for p in inspect.signature(stock).parameters.values()]


@pytest.mark.parametrize("name", COROUTINE_FUNCTIONS)
def test_coroutine_functions_are_patched_by_asynchronous_mocks(name):
    assert asyncio.iscoroutinefunction(getattr(iora, name))
    with mock.patch.object(_tasks, name) as patched:
        assert isinstance(patched, mock.AsyncMock)


@pytest.mark.parametrize("make", [lambda: iora.sleep(1), lambda: iora.wait_for(None, 1), lambda: iora.wait([]),
                                  lambda: iora.to_thread(int)])
def test_what_is_never_awaited_does_nothing_and_warns(make):
    with pytest.warns(RuntimeWarning, match="never awaited"):
        make()


def test_classes_are_asyncios_too():
    assert isinstance(iora.TaskGroup(), asyncio.TaskGroup)
    assert isinstance(iora.timeout_at(1), asyncio.Timeout) and type(iora.timeout_at(1)) is iora.Timeout
    for make in (iora.TaskGroup, lambda: iora.timeout_at(1)):
        one = make()
        one.attribute = one
        gone = weakref.ref(one)
        del one
        gc.collect()
        assert gone() is None


def test_a_gathering_future_is_one_of_asyncios(run_in):
    async def main():
        child = asyncio.ensure_future(asyncio.sleep(0))
        outer = iora.gather(child)
        assert isinstance(outer, asyncio.Future) and type(outer).__name__ == "_GatheringFuture"
        assert outer._children == [child] and outer._cancel_requested is False
        await outer

    run_in(main())


def test_ours_stand_in_the_place_of_asyncios_after_install():
    iora.install()
    try:
        for name in _tasks.__all__:
            assert getattr(asyncio, name) is getattr(iora, name)
        assert asyncio.tasks.gather is iora.gather and asyncio.base_events.tasks.ensure_future is iora.ensure_future
    finally:
        iora.uninstall()
    for name in _tasks.__all__:
        assert getattr(asyncio, name) is getattr(STOCK, name)


def test_without_a_loop_there_is_an_error():
    for call in (iora.get_running_loop, iora.current_task, iora.all_tasks, lambda: iora.timeout(1)):
        with pytest.raises(RuntimeError, match="no running event loop"):
            call()
    coroutine = asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="no running event loop"):
        iora.create_task(coroutine)
    coroutine.close()


def test_outside_of_a_task_there_is_an_error():
    async def enter(thing):
        async with thing:
            pass

    async def main():
        loop = asyncio.get_running_loop()
        for thing in (iora.TaskGroup(), iora.timeout(1)):
            caught = []

            def step(coroutine=enter(thing)):
                try:
                    coroutine.send(None)
                except RuntimeError as exception:
                    caught.append(str(exception))

            loop.call_soon(step)
            await asyncio.sleep(0)
            assert "task" in caught[0]

    iora.run(main())


# ---- that nothing is kept --------------------------------------------------------------------------------

@contextlib.contextmanager
def without_collector():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_exceptions_leave_no_cycles(run_in):
    async def fails():
        raise KeyError

    async def group():
        async with iora.TaskGroup() as one:
            one.create_task(fails())

    async def late():
        async with iora.timeout(0):
            await asyncio.sleep(10)

    async def main():
        for make in (group, late, lambda: iora.wait_for(asyncio.sleep(10), 0.001), lambda: iora.gather(fails()),
                     lambda: iora.shield(fails())):
            with without_collector():
                try:
                    await make()
                except (ExceptionGroup, TimeoutError, KeyError) as exception:
                    caught = exception
                assert gc.get_referrers(caught) == [] or not any(
                    isinstance(each, (iora.TaskGroup, iora.Timeout)) for each in gc.get_referrers(caught))
                del caught

    run_in(main())


def test_futures_of_threads_leave_no_cycles(run_in):
    async def fails():
        raise KeyError

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
        gone = []

        def ask(coroutine):
            future = iora.run_coroutine_threadsafe(coroutine, loop)
            gone.append(weakref.ref(future))
            try:
                future.result()
            except KeyError:
                pass
            finally:
                del future  # which the exception's traceback would lead back to

        with without_collector():
            for coroutine in (asyncio.sleep(0), fails()):
                await asyncio.to_thread(ask, coroutine)
            future = loop._default_executor.submit(int)
            gone.append(weakref.ref(future))
            await iora.wrap_future(future)
            del future
            await asyncio.sleep(0)
            await asyncio.to_thread(int)  # the only thread has let go of what it did before
            return [ref() for ref in gone]

    assert run_in(main()) == [None] * 3


def test_many_waits_leave_nothing_at_a_future(run_in):
    async def main():
        future = asyncio.get_running_loop().create_future()
        for _ in range(3):
            await iora.wait([future, asyncio.ensure_future(asyncio.sleep(0))],
                            return_when=asyncio.FIRST_COMPLETED)
            shield = iora.shield(future)
            shield.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return future._callbacks

    assert not run_in(main())


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="the registers are asyncio's own from 3.14 on")
def test_tasks_are_registered_as_ever():
    async def main():
        tasks = [asyncio.ensure_future(asyncio.sleep(0)) for _ in range(100)]
        assert set(tasks) < STOCK.all_tasks() == iora.all_tasks()
        register = getattr(asyncio.tasks, "_all_tasks", None) or asyncio.tasks._scheduled_tasks
        some = iter(register)  # removals are put off
        next(some)
        await asyncio.gather(*tasks)
        await asyncio.sleep(0)  # gather() is no longer what woke us
        tasks.clear()
        gc.collect()
        del some
        gc.collect()
        asyncio.ensure_future(asyncio.sleep(0))
        assert len(register) < 50

    asyncio.run(main())
    iora.run(main())


def test_all_tasks_can_be_asked_for_from_another_thread(run_in):
    async def main():
        loop, stop = asyncio.get_running_loop(), threading.Event()

        def ask():
            while not stop.is_set():
                assert all(isinstance(task, asyncio.Task) for task in iora.all_tasks(loop))

        thread = threading.Thread(target=ask)
        thread.start()
        for _ in range(100):
            await iora.gather(*(asyncio.sleep(0) for _ in range(20)))
        stop.set()
        thread.join()

    run_in(main())


def test_wait_for_what_is_no_future_raises_and_says_nothing_else(run, monkeypatch):
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)

    async def main():
        future = asyncio.get_running_loop().create_future()
        with pytest.raises(AttributeError, match="'int' object has no attribute 'add_done_callback'"):
            await iora.wait([future, 5, asyncio.get_running_loop().create_future()])
        return future._callbacks

    assert not run(main())
    assert unraisable == []
