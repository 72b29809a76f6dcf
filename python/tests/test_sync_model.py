"""Locks and queues do, step by step, what asyncio's own do. A scenario drawn from a seed runs on both: some tasks use the
object, another releases, notifies and cancels at random, and everything that happens is written down. On the stock loop
and on ours."""

import asyncio
import random
import sys
import types

import pytest

import iora
from iora import _locks, _queues

TURNS, WORKERS = 60, 5

ASYNCIO = types.SimpleNamespace(**{name: getattr(asyncio, name) for module in (_locks, _queues)
                                   for name in module.__all__ if hasattr(asyncio, name)})
IORA = types.SimpleNamespace(**{name: getattr(module, name) for module in (_locks, _queues)
                                for name in module.__all__})


class Scenario:
    """One object, its users, and a trace."""

    def __init__(self, kinds, seed):
        self.seed = seed
        self.trace = []
        self.make(kinds)

    def note(self, who, *what):
        self.trace.append((who, *what, self.state()))

    async def attempt(self, who, what, awaitable):
        try:
            self.note(who, what, await awaitable)
        except (asyncio.CancelledError, Exception) as exc:
            self.note(who, what, type(exc).__name__, str(exc))
            if isinstance(exc, asyncio.CancelledError):
                raise
            return False
        return True

    async def work(self, who):
        dice = random.Random(f"{self.seed} {who}")
        while True:
            await self.use(who, dice)
            for _ in range(dice.randrange(3)):
                await asyncio.sleep(0)

    async def main(self):
        dice = random.Random(self.seed)
        tasks = [asyncio.create_task(self.work(who)) for who in range(WORKERS)]
        for _ in range(TURNS):
            self.meddle(dice)
            if dice.random() < 0.3:
                who = dice.randrange(WORKERS)
                self.note("main", "cancel", who, tasks[who].cancel())
            for who, task in enumerate(tasks):
                if task.done() and dice.random() < 0.5:
                    tasks[who] = asyncio.create_task(self.work(who))
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        self.note("main", "end", [type(result).__name__ for result in results])

    def meddle(self, dice):
        pass

    def call(self, what, *args):
        try:
            self.note("main", what, getattr(self.object, what)(*args))
        except Exception as exc:
            self.note("main", what, type(exc).__name__, str(exc))


class Locks(Scenario):
    def make(self, kinds):
        self.object = kinds.Lock()

    def state(self):
        return self.object.locked(), len(self.object._waiters or ())

    async def use(self, who, dice):
        if dice.random() < 0.5:
            async with self.object:
                self.note(who, "in")
                await asyncio.sleep(0)
                self.note(who, "out")
        elif await self.attempt(who, "acquire", self.object.acquire()):
            try:
                for _ in range(dice.randrange(3)):
                    await asyncio.sleep(0)
            finally:
                self.object.release()
                self.note(who, "release")


class Semaphores(Locks):
    def make(self, kinds):
        self.object = kinds.Semaphore(2)

    def state(self):
        return self.object.locked(), self.object._value, len(self.object._waiters or ())

    def meddle(self, dice):
        if dice.random() < 0.1:
            self.call("release")


class BoundedSemaphores(Semaphores):
    def make(self, kinds):
        self.object = kinds.BoundedSemaphore(2)


class Events(Scenario):
    def make(self, kinds):
        self.object = kinds.Event()

    def state(self):
        return self.object.is_set(), len(self.object._waiters)

    async def use(self, who, dice):
        await self.attempt(who, "wait", self.object.wait())

    def meddle(self, dice):
        self.call(dice.choice(["set", "clear", "is_set", "is_set"]))


class Conditions(Scenario):
    def make(self, kinds):
        self.object = kinds.Condition()

    def state(self):
        return self.object.locked(), len(self.object._waiters), len(self.object._lock._waiters or ())

    async def use(self, who, dice):
        async with self.object:
            self.note(who, "in")
            if dice.random() < 0.3:
                self.object.notify(dice.randrange(3))
            elif dice.random() < 0.5:
                await self.attempt(who, "wait", self.object.wait())
            else:
                limit = dice.randrange(3)
                answers = iter(range(100))
                await self.attempt(who, "wait_for",
                                   self.object.wait_for(lambda: next(answers) > limit))
        self.note(who, "out")

    def meddle(self, dice):
        if dice.random() < 0.5:
            self.call(dice.choice(["notify", "notify_all"]))


class Barriers(Scenario):
    def make(self, kinds):
        self.object = kinds.Barrier(3)

    def state(self):
        return self.object.n_waiting, self.object.broken, self.object._count

    async def use(self, who, dice):
        what = dice.choices(["wait", "reset", "abort"], [20, 2, 1])[0]
        await self.attempt(who, what, getattr(self.object, what)())


class Queues(Scenario):
    kind = "Queue"

    def make(self, kinds):
        self.object = getattr(kinds, self.kind)(2)

    def state(self):
        queue = self.object
        return queue.qsize(), len(queue._getters), len(queue._putters), queue._unfinished_tasks

    async def use(self, who, dice):
        what = dice.choice(["get", "put", "put", "get", "join"])
        args = (dice.randrange(100),) if what == "put" else ()
        await self.attempt(who, what, getattr(self.object, what)(*args))

    def meddle(self, dice):
        what = dice.choice(["put_nowait", "get_nowait", "task_done", "full", "empty", "qsize"])
        self.call(what, *((dice.randrange(100),) if what == "put_nowait" else ()))


class LifoQueues(Queues):
    kind = "LifoQueue"


class PriorityQueues(Queues):
    kind = "PriorityQueue"


class ShutQueues(Queues):
    """From 3.13 on asyncio's can be shut down, too."""

    def meddle(self, dice):
        super().meddle(dice)
        if dice.random() < 0.05:
            self.call("shutdown", dice.random() < 0.5)


SCENARIOS = [Locks, Semaphores, BoundedSemaphores, Events, Conditions, Barriers, Queues, LifoQueues,
             PriorityQueues]
if sys.version_info >= (3, 13):
    SCENARIOS.append(ShutQueues)
# These were corrected since (a barrier by its condition): ours are as the newest.
CORRECTED = {Semaphores, BoundedSemaphores, Conditions, Barriers} if sys.version_info < (3, 13) else set()


def trace_of(scenario, kinds, seed, loop_factory):
    run = scenario(kinds, seed)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.get_loop().set_exception_handler(lambda loop, context: None)
        runner.run(run.main())
    assert len(run.trace) > TURNS / 2
    return run.trace


@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if s not in CORRECTED])
@pytest.mark.parametrize("seed", range(20))
def test_does_as_asyncio_does(scenario, seed):
    expected = trace_of(scenario, ASYNCIO, seed, asyncio.new_event_loop)
    assert trace_of(scenario, IORA, seed, asyncio.new_event_loop) == expected


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("seed", range(10))
def test_does_the_same_on_our_loop(scenario, seed):
    expected = trace_of(scenario, IORA, seed, asyncio.new_event_loop)
    assert trace_of(scenario, IORA, seed, iora.new_event_loop) == expected
