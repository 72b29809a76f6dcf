"""Locks, queues and coroutines in C leave nothing behind (how that is seen: test_leaks.py)."""

import asyncio
import warnings

import pytest
import test_leaks
import test_sync_model as model

import iora


def coroutines_by_hand():
    for coroutine in (iora.Queue().put([1]), iora.Lock().acquire(), iora.Condition().wait()):
        coroutine.close()
        for call in (lambda c=coroutine: c.throw(KeyError, "x"), lambda c=coroutine: c.send(3)):
            with pytest.raises((RuntimeError, TypeError)):
                call()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        iora.Queue().put([1])
    with pytest.raises(TypeError):
        iora.Queue().put(1, 2)
    with pytest.raises(TypeError):
        iora.Lock(loop=None)


def dropped_waits():
    async def main():
        event, condition, queue = iora.Event(), iora.Condition(), iora.Queue(1)
        await condition.acquire()
        queue.put_nowait([1])
        for coroutine in (event.wait(), condition.wait(), queue.put([2]), iora.Queue().get()):
            coroutine.send(None)

    asyncio.run(main())


def items():
    async def main():
        for kind in (iora.Queue, iora.LifoQueue, iora.PriorityQueue):
            queue = kind(2)
            for number in range(3):
                await queue.put([number])
                queue.put_nowait([number])
                putters = [asyncio.create_task(queue.put([3])) for _ in range(2)]
                await asyncio.sleep(0)
                putters[1].cancel()
                await queue.get()
                await putters[0]
                getters = [asyncio.create_task(queue.get()) for _ in range(3)]
                await asyncio.sleep(0)
                getters[2].cancel()
                await asyncio.gather(*getters, *putters, return_exceptions=True)
            queue.put_nowait([5])
            assert queue._queue
            queue.shutdown(immediate=True)

    iora.run(main())


def cycles():
    for kind in (iora.Lock, iora.Event, iora.Condition, iora.Semaphore, iora.Queue):
        one = kind()
        one.itself = one
        if kind is iora.Queue:
            one.put_nowait(one)
            one._queue.append([one])
            one.put(one).close()


@pytest.mark.parametrize("once", [coroutines_by_hand, dropped_waits, items, cycles])
def test_nothing_is_left_behind(once):
    test_leaks.check(once)


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, iora.new_event_loop])
@pytest.mark.parametrize("scenario", dict.fromkeys([*model.SCENARIOS, model.ShutQueues]))
def test_a_scenario_leaves_nothing_behind(scenario, loop_factory):
    test_leaks.check(lambda: model.trace_of(scenario, model.IORA, 1, loop_factory))
