"""Tasks that begin at once (3.12): the same with asyncio's functions on its loop and with ours, and 3.14's eager_start."""

import asyncio
import contextvars
import inspect
import sys

import pytest

import iora

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="before 3.12 a task cannot begin at once")

VARIABLE = contextvars.ContextVar("variable", default="none")
SCENARIOS = []


def scenario(function, since=(3, 12)):
    """`since` so that version asyncio does it as the newest does."""
    function.since = since
    SCENARIOS.append(function)
    return function


def since(*version):
    return lambda function: scenario(function, version)


def note(log, *what):
    task = asyncio.current_task()
    log.append((*what, task.get_name() if task else None, VARIABLE.get()))


async def worker(log, name, waits=0, ending=None):
    note(log, name, "begins")
    VARIABLE.set(name)
    try:
        for _ in range(waits):
            await asyncio.sleep(0)
            note(log, name, "goes on")
    except asyncio.CancelledError:
        note(log, name, "is cancelled")
        raise
    if ending is not None:
        raise ending
    return name


@scenario
async def a_task_runs_until_it_waits(f, log):
    for waits in range(3):
        task = f.create_task(worker(log, "task", waits), name="its name")
        note(log, task.done(), task in f.all_tasks())
        log.append(await task)


@scenario
async def a_task_has_the_context_it_is_given(f, log):
    context = contextvars.copy_context()
    context.run(VARIABLE.set, "given")
    for waits in 0, 1:
        await f.create_task(worker(log, "task", waits), name="task", context=context)
        note(log, context[VARIABLE])


@scenario
async def tasks_begin_within_one_another(f, log):
    async def outer():
        note(log, "outer")
        inner = f.create_task(worker(log, "inner", 1), name="inner")
        note(log, "outer again")
        return await inner

    log.append(await f.create_task(outer(), name="outer"))


@scenario
async def what_is_gathered_begins_at_once(f, log):
    results = await f.gather(worker(log, "a"), worker(log, "b", 1), worker(log, "c", 0, ValueError("c")),
                             return_exceptions=True)
    log.append([repr(result) for result in results])
    log.append(await f.gather(worker(log, "a"), worker(log, "b")))


@scenario
async def a_group_of_tasks_that_begin_at_once(f, log):
    async with f.TaskGroup() as group:
        tasks = [group.create_task(worker(log, name, waits), name=name) for name, waits in [("a", 0), ("b", 1)]]
        note(log, [task.done() for task in tasks])


@since(3, 14)
async def a_task_fails_at_once_in_a_group(f, log):
    """Earlier versions end the group's tasks within create_task(); now that is left to the next turn."""
    try:
        async with f.TaskGroup() as group:
            group.create_task(worker(log, "waits", 9), name="waits")
            group.create_task(worker(log, "fails", 0, ValueError("fails")), name="fails")
            note(log, "body")
            await asyncio.sleep(0)
            note(log, "body goes on")
    except* ValueError as error:
        log.append(repr(error.exceptions))


@scenario
async def a_task_is_cancelled_while_it_begins(f, log):
    async def cancels_itself():
        asyncio.current_task().cancel("by itself")
        note(log, "cancelled")
        await asyncio.sleep(0)

    task = f.create_task(cancels_itself(), name="task")
    note(log, task.done(), task.cancelling())
    try:
        await task
    except asyncio.CancelledError as error:
        log.append(repr(error))


@scenario
async def time_runs_out_in_what_began_at_once(f, log):
    for make in (lambda: f.wait_for(worker(log, "a"), 10), lambda: f.wait_for(f.create_task(worker(log, "b")), 10),
                 lambda: f.shield(worker(log, "c", 1))):
        log.append(await make())
    done, pending = await f.wait([f.create_task(worker(log, "d")), f.create_task(worker(log, "e", 5))],
                                 return_when=asyncio.FIRST_COMPLETED)
    log.append((len(done), len(pending)))
    for task in pending:
        task.cancel()
    await f.wait(pending)


def trace_of(scenario, functions, loop_factory, factory):
    log = []

    async def main():
        asyncio.current_task().set_name("main")
        asyncio.get_running_loop().set_task_factory(factory)
        await scenario(functions, log)
        log.append(sorted(task.get_name() for task in asyncio.all_tasks()))

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    return [tuple(map(nameless, entry)) if isinstance(entry, tuple) else entry for entry in log]


def nameless(name):
    """Tasks are numbered in one row for all loops; those of 3.13.0's factory are called None."""
    return "a task" if name == "None" or str(name).startswith("Task-") else name


@pytest.mark.parametrize("functions", [asyncio, iora], ids=["functions of asyncio", "functions of iora"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_eager_tasks_are_asyncios(scenario, functions):
    if functions is iora and sys.version_info < scenario.since:
        pytest.skip("this version's own differs")
    expected = trace_of(scenario, asyncio, asyncio.SelectorEventLoop, asyncio.eager_task_factory)
    assert trace_of(scenario, functions, iora.new_event_loop, functions.eager_task_factory) == expected
    assert trace_of(scenario, functions, asyncio.SelectorEventLoop, functions.eager_task_factory) == expected


class Task(asyncio.Task):
    pass


@pytest.mark.parametrize("factory", [None, "asyncio", "iora", "of a class"])
def test_create_task_says_whether_a_task_begins_at_once(factory):
    """As from 3.14 on: by the loop without a factory, and by a factory of ours."""
    factories = {None: None, "iora": iora.eager_task_factory, "of a class": iora.create_eager_task_factory(Task),
                 "asyncio": asyncio.eager_task_factory if sys.version_info >= (3, 14) else iora.eager_task_factory}

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_task_factory(factories[factory])
        for create_task in loop.create_task, iora.create_task:
            for eager_start in True, False:
                task = create_task(worker([], "task"), name="named", eager_start=eager_start)
                assert task.done() == eager_start and task.get_name() == "named"
                assert (type(task) is Task) == (factory == "of a class")
                assert await task == "task"
            assert create_task(worker([], "task")).done() == (factory is not None)
        async with iora.TaskGroup() as group:
            assert group.create_task(worker([], "task"), eager_start=True).done()
            assert not group.create_task(worker([], "task"), eager_start=False).done()

    iora.run(main())


def test_a_task_that_ended_at_once_has_let_go_of_its_coroutine():
    async def main():
        coroutine = worker([], "task")
        task = iora.create_task(coroutine, eager_start=True)
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
        return task.get_coro() if sys.version_info >= (3, 13) else None

    assert iora.run(main()) is None


def test_a_loop_that_does_not_run_begins_no_task(loop):
    loop.set_task_factory(iora.eager_task_factory)
    log = []
    task = loop.create_task(worker(log, "task"))
    assert not log
    assert loop.run_until_complete(task) == "task"
