"""Small programs round tasks, for comparing iora's functions with asyncio's: each gets a namespace to take them from,
and a list for what happens. How a scenario ends is part of what is compared, the chain of its exceptions too."""

import asyncio
import types

from iora import _tasks

STOCK = types.SimpleNamespace(**{name: getattr(asyncio, name) for name in _tasks.__all__})
IORA = types.SimpleNamespace(**{name: getattr(_tasks, name) for name in _tasks.__all__})

SCENARIOS = []


def scenario(function, since=(3, 11)):
    """`since` so that version asyncio does it as the newest does."""
    function.since = since
    SCENARIOS.append(function)
    return function


def since(*version):
    return lambda function: scenario(function, version)


def describe(exception, depth=4):
    """A text that is the same for the same exception: its type, arguments, cause and context."""
    if exception is None or depth == 0:
        return "-"
    text = f"{type(exception).__name__}{exception.args[:1] if exception.args else ()}"
    if isinstance(exception, BaseExceptionGroup):
        text += "[" + " ".join(describe(each, depth - 1) for each in exception.exceptions) + "]"
    return (f"{text} from {describe(exception.__cause__, depth - 1)} "
            f"in {describe(exception.__context__, depth - 1)} {exception.__suppress_context__}")


def trace_of(function, functions, loop_factory):
    """What happens in the scenario, with how it ends and what the loop is told of."""
    log = []

    def on_error(loop, context):
        log.append(("told", context["message"].split(":")[0], describe(context.get("exception"))))

    async def main():
        asyncio.get_running_loop().set_exception_handler(on_error)
        try:
            log.append(("result", await function(functions, log)))
        except BaseException as exception:
            log.append(("raised", describe(exception)))
        me = asyncio.current_task()
        log.append(("left", me.cancelling(), len(asyncio.all_tasks())))

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    return log


async def worker(log, name, turns, end=None):
    """Note each turn; then return the name, or raise."""
    try:
        for turn in range(turns):
            log.append((name, turn))
            await asyncio.sleep(0)
    except asyncio.CancelledError as exception:
        log.append((name, "cancelled", exception.args))
        raise
    if end is not None:
        raise end
    return name


async def stubborn(log, name, turns):
    """Goes on for so many turns when cancelled."""
    try:
        await asyncio.sleep(100)
    except asyncio.CancelledError:
        return await worker(log, name, turns)


# ---- sleep ---------------------------------------------------------------------------------------------

@scenario
async def sleeping_lets_others_run(f, log):
    other = asyncio.ensure_future(worker(log, "other", 3))
    for turn in range(3):
        log.append(("me", turn, await f.sleep(0, turn)))
    log.append(await f.sleep(0.001, "awake"))
    log.append(await f.sleep(-1, "at once"))
    return await other


@scenario
async def a_sleeper_can_be_cancelled(f, log):
    for delay in (0, 100):
        sleeper = f.create_task(f.sleep(delay))
        await asyncio.sleep(0)
        log.append(sleeper.cancel("why"))
        try:
            await sleeper
        except asyncio.CancelledError as exception:
            log.append(describe(exception))


@scenario
async def sleeping_for_what_is_no_number(f, log):
    for delay in (None, "1", [], 1j):
        try:
            await f.sleep(delay)
        except Exception as exception:
            log.append(type(exception).__name__)


# ---- gather --------------------------------------------------------------------------------------------

@scenario
async def gathering_keeps_the_order_given(f, log):
    return await f.gather(*(worker(log, n, 3 - n) for n in range(3)))


@scenario
async def gathering_nothing(f, log):
    nothing = f.gather()
    log.append((nothing.done(), nothing.result()))
    return await nothing


@scenario
async def gathering_one_thing_twice(f, log):
    future = asyncio.ensure_future(worker(log, "a", 1))
    coroutine = worker(log, "b", 1)
    return await f.gather(future, coroutine, future, coroutine)


@scenario
async def the_first_exception_ends_a_gather_and_the_rest_run_on(f, log):
    rest = asyncio.ensure_future(worker(log, "rest", 4))
    try:
        await f.gather(worker(log, "a", 2, KeyError("a")), rest, worker(log, "b", 3, ValueError()))
    except KeyError as exception:
        log.append(describe(exception))
    return await rest


@scenario
async def exceptions_can_be_results_of_a_gather(f, log):
    cancelled = asyncio.ensure_future(asyncio.sleep(10))
    cancelled.cancel("message")
    results = await f.gather(worker(log, "a", 1, KeyError("a")), worker(log, "b", 2), cancelled,
                             return_exceptions=True)
    return [describe(each) if isinstance(each, BaseException) else each for each in results]


@scenario
async def a_child_that_is_cancelled_is_an_exception_to_a_gather(f, log):
    child = asyncio.ensure_future(asyncio.sleep(10))
    gathering = f.gather(child, worker(log, "a", 3))
    await asyncio.sleep(0)
    child.cancel("child")
    try:
        await gathering
    except asyncio.CancelledError as exception:
        log.append(describe(exception))
    return gathering.cancelled()


@scenario
async def cancelling_a_gather_cancels_its_children(f, log):
    for keep in (False, True):
        gathering = f.gather(worker(log, "a", 5), worker(log, "b", 5), return_exceptions=keep)
        await asyncio.sleep(0)
        log.append((gathering.cancel("stop"), gathering._cancel_requested, gathering.done()))
        try:
            log.append(await gathering)
        except asyncio.CancelledError as exception:
            log.append((describe(exception), gathering.cancelled()))
        log.append(gathering.cancel())


@scenario
async def cancelling_a_gather_of_what_is_done_already(f, log):
    done = asyncio.get_running_loop().create_future()
    done.set_result(1)
    gathering = f.gather(done, asyncio.sleep(0))
    log.append(gathering.cancel())
    try:
        await gathering
    except asyncio.CancelledError as exception:
        log.append(describe(exception))


@scenario
async def a_gather_of_done_futures_is_done(f, log):
    loop = asyncio.get_running_loop()
    good, bad, gone = loop.create_future(), loop.create_future(), loop.create_future()
    good.set_result(1)
    bad.set_exception(KeyError("bad"))
    gone.cancel()
    log.append(await f.gather(good, good))
    for each in (bad, gone):
        try:
            await f.gather(good, each)
        except BaseException as exception:
            log.append(describe(exception))


@scenario
async def gathering_what_cannot_be_awaited(f, log):
    coroutine = worker(log, "a", 1)
    try:
        await f.gather(coroutine, 3)
    except TypeError as exception:
        log.append(type(exception).__name__)
    await asyncio.sleep(0)
    await asyncio.sleep(0)


@scenario
async def gathering_objects_with_await(f, log):
    class Awaitable:
        def __await__(self):
            return (yield from asyncio.sleep(0, "done").__await__())

    return await f.gather(Awaitable(), Awaitable())


# ---- groups --------------------------------------------------------------------------------------------

@scenario
async def a_group_waits_for_its_tasks(f, log):
    async with f.TaskGroup() as group:
        tasks = [group.create_task(worker(log, n, n), name=f"name {n}") for n in range(4)]
        log.append(repr(group))
    log.append(repr(group))
    return [(task.result(), task.get_name()) for task in tasks]


@scenario
async def an_empty_group_does_not_suspend(f, log):
    other = asyncio.ensure_future(worker(log, "other", 1))
    async with f.TaskGroup():
        pass
    log.append("left")
    return await other


@scenario
async def a_failing_task_cancels_its_group(f, log):
    async with f.TaskGroup() as group:
        group.create_task(worker(log, "bad", 1, KeyError("bad")))
        group.create_task(worker(log, "good", 10))
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError as exception:
            log.append(("body", describe(exception), repr(group), asyncio.current_task().cancelling()))
            raise


@scenario
async def several_errors_leave_a_group_together(f, log):
    try:
        async with f.TaskGroup() as group:
            for n in range(3):
                group.create_task(worker(log, n, 1, KeyError(n)))
            raise ValueError("body")
    except* KeyError as those:
        log.append(describe(those))


@scenario
async def a_body_that_raises_cancels_the_tasks(f, log):
    async with f.TaskGroup() as group:
        group.create_task(worker(log, "task", 10))
        await asyncio.sleep(0)
        raise KeyError("body")


@scenario
async def a_group_is_cancelled_from_outside(f, log):
    async def parent():
        async with f.TaskGroup() as group:
            group.create_task(worker(log, "task", 10))
            group.create_task(stubborn(log, "stubborn", 2))
            await asyncio.sleep(100)

    for waits in (1, 2, 3):
        task = asyncio.ensure_future(parent())
        for _ in range(waits):
            await asyncio.sleep(0)
        task.cancel("outside")
        try:
            await task
        except asyncio.CancelledError as exception:
            log.append((describe(exception), task.cancelling()))


@scenario
async def a_group_that_waits_for_its_tasks_is_cancelled(f, log):
    async def parent():
        async with f.TaskGroup() as group:
            group.create_task(stubborn(log, "stubborn", 3))

    task = asyncio.ensure_future(parent())
    for message in ("once", "twice", "thrice"):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        log.append(task.cancel(message))
    try:
        await task
    except asyncio.CancelledError as exception:
        log.append(describe(exception))
    return task.cancelling()


@scenario
async def groups_within_groups(f, log):
    async with f.TaskGroup() as outer:
        async def inner():
            async with f.TaskGroup() as group:
                group.create_task(worker(log, "inner bad", 2, KeyError("inner")))
                group.create_task(worker(log, "inner good", 10))

        outer.create_task(inner())
        outer.create_task(worker(log, "outer good", 10))
        await asyncio.sleep(100)


@scenario
async def system_exit_leaves_a_group_bare(f, log):
    async def quits():
        await asyncio.sleep(0)
        raise SystemExit(3)

    try:
        async with f.TaskGroup() as group:
            group.create_task(worker(log, "a", 3))
            await asyncio.sleep(0)
            raise SystemExit(3)
    except SystemExit as exception:
        log.append(describe(exception))


@since(3, 12)
async def a_task_is_made_out_of_time(f, log):
    group = f.TaskGroup()
    for moment in ("before", "after"):
        coroutine = worker(log, "task", 1)
        try:
            group.create_task(coroutine)
        except RuntimeError as exception:
            log.append(str(exception))
        coroutine.close()
        if moment == "before":
            async with group:
                pass
    try:
        async with group:
            pass
    except RuntimeError as exception:
        log.append(str(exception))


@scenario
async def tasks_make_tasks_in_a_group(f, log):
    async with f.TaskGroup() as group:
        async def grows(n):
            log.append(n)
            await asyncio.sleep(0)
            if n:
                group.create_task(grows(n - 1))

        group.create_task(grows(3))


# ---- timeouts ------------------------------------------------------------------------------------------

@scenario
async def a_timeout_that_is_not_reached(f, log):
    async with f.timeout(10) as timeout:
        log.append((timeout.expired(), timeout.when() > 0, timeout._state.value))
        await asyncio.sleep(0)
    log.append((timeout.expired(), repr(timeout), timeout._state.value))


@since(3, 12)
async def a_timeout_that_is_reached(f, log):
    for make in (lambda: f.timeout(0.001), lambda: f.timeout(0), lambda: f.timeout(-1), lambda: f.timeout_at(0),
                 lambda: f.timeout(False)):
        try:
            async with make() as timeout:
                await asyncio.sleep(10)
        except TimeoutError as exception:
            log.append((describe(exception), repr(timeout), asyncio.current_task().cancelling()))


@scenario
async def a_timeout_without_a_time(f, log):
    for make in (f.timeout, f.timeout_at):
        async with make(None) as timeout:
            log.append((timeout.when(), repr(timeout)))


@since(3, 12)
async def a_timeout_is_moved(f, log):
    loop = asyncio.get_running_loop()
    try:
        async with f.timeout(None) as timeout:
            timeout.reschedule(loop.time() + 10)
            timeout.reschedule(None)
            timeout.reschedule(loop.time())
            await asyncio.sleep(10)
    except TimeoutError as exception:
        log.append(describe(exception))
    for moment in (f.timeout(1), timeout):
        try:
            moment.reschedule(1)
        except RuntimeError as exception:
            log.append(str(exception))


@since(3, 12)
async def timeouts_within_timeouts(f, log):
    for outer, inner in ((0.001, 10), (10, 0.001), (0.001, 0.001), (0, 0)):
        try:
            async with f.timeout(outer) as first:
                try:
                    async with f.timeout(inner) as second:
                        await asyncio.sleep(10)
                finally:
                    log.append(second.expired())
        except TimeoutError as exception:
            log.append((describe(exception), first.expired()))


@scenario
async def an_error_that_comes_of_a_timeout(f, log):
    async with f.timeout(0):
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            log.append("cleaned up")
    await asyncio.sleep(0)


@scenario
async def a_timeout_and_a_cancellation(f, log):
    async def both():
        async with f.timeout(0):
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                asyncio.current_task().cancel("mine")
                await asyncio.sleep(10)

    task = asyncio.ensure_future(both())
    try:
        await task
    except BaseException as exception:
        log.append((type(exception).__name__, task.cancelling()))


@since(3, 12)
async def a_timeout_is_entered_twice(f, log):
    timeout = f.timeout(1)
    async with timeout:
        try:
            async with timeout:
                pass
        except RuntimeError as exception:
            log.append(str(exception))


# ---- wait, as_completed, shield --------------------------------------------------------------------------

@scenario
async def waiting_for_some_of_several(f, log):
    for when in ("FIRST_COMPLETED", "FIRST_EXCEPTION", "ALL_COMPLETED"):
        tasks = [f.create_task(worker(log, "a", 1)), f.create_task(worker(log, "b", 2, KeyError())),
                 f.create_task(worker(log, "c", 4))]
        done, pending = await f.wait(tasks, return_when=when)
        log.append(([task in done for task in tasks], [task in pending for task in tasks],
                    [len(task._callbacks or ()) for task in tasks]))
        await f.gather(*tasks, return_exceptions=True)


@scenario
async def waiting_for_a_time(f, log):
    future = asyncio.get_running_loop().create_future()
    for timeout in (0, 0.001, -1):
        done, pending = await f.wait([future], timeout=timeout)
        log.append((done, pending == {future}, future._callbacks))
    future.set_result(3)
    done, pending = await f.wait(iter([future, future]), timeout=None)
    return len(done), pending


@scenario
async def a_wait_is_cancelled(f, log):
    future = asyncio.get_running_loop().create_future()
    task = f.create_task(f.wait({future}))
    await asyncio.sleep(0)
    task.cancel("wait")
    try:
        await task
    except asyncio.CancelledError as exception:
        log.append((describe(exception), future._callbacks, future.cancelled()))


@scenario
async def waiting_for_the_wrong_things(f, log):
    coroutine = worker(log, "a", 1)
    for things, when in (([], "ALL_COMPLETED"), (coroutine, "ALL_COMPLETED"),
                         ([coroutine], "ALL_COMPLETED"), ([asyncio.sleep], "whenever"), (None, 3)):
        try:
            await f.wait(things, return_when=when)
        except (TypeError, ValueError) as exception:
            log.append((type(exception).__name__, str(exception)))
    coroutine.close()


@scenario
async def what_is_completed_comes_first(f, log):
    for each in f.as_completed([f.create_task(worker(log, n, 3 - n)) for n in range(3)]):
        log.append(await each)


@scenario
async def what_fails_comes_as_it_is(f, log):
    tasks = [f.create_task(worker(log, 1, 1, KeyError("a"))), f.create_task(worker(log, 2, 2))]
    for each in f.as_completed(tasks):
        try:
            log.append(await each)
        except KeyError as exception:
            log.append(describe(exception))


@scenario
async def what_is_not_completed_in_time(f, log):
    task = asyncio.ensure_future(worker(log, "in time", 1))
    late = asyncio.ensure_future(asyncio.sleep(100))
    for each in f.as_completed([task, late], timeout=0.005):
        try:
            log.append(await each)
        except TimeoutError as exception:
            log.append(describe(exception))
    log.append((late.done(), late._callbacks))
    late.cancel()


@scenario
async def a_shield_holds(f, log):
    inner = asyncio.ensure_future(worker(log, "inner", 3))
    outer = f.shield(inner)
    await asyncio.sleep(0)
    log.append(outer.cancel("outer"))
    try:
        await outer
    except asyncio.CancelledError as exception:
        log.append(describe(exception))
    return await inner


@scenario
async def a_shield_shows_what_is_inside(f, log):
    log.append(await f.shield(worker(log, "a", 1)))
    for inner in (worker(log, "b", 1, KeyError("b")), worker(log, "c", 1, asyncio.CancelledError())):
        try:
            await f.shield(inner)
        except BaseException as exception:
            log.append(type(exception).__name__)
    done = asyncio.get_running_loop().create_future()
    done.set_result(1)
    log.append(f.shield(done) is done)


# ---- threads, futures --------------------------------------------------------------------------------

@scenario
async def a_function_runs_in_a_thread(f, log):
    log.append(await f.to_thread(lambda *args, **names: (args, names), 1, 2, a=3))
    try:
        await f.to_thread(divmod, 1, 0)
    except ZeroDivisionError as exception:
        log.append(exception.args)
    loop = asyncio.get_running_loop()
    log.append(await f.to_thread(
        lambda: f.run_coroutine_threadsafe(worker(log, "from outside", 2), loop).result()))
    return await f.wrap_future(loop.run_in_executor(None, int))


@scenario
async def a_future_of_another_thread_is_cancelled(f, log):
    loop = asyncio.get_running_loop()
    future = f.run_coroutine_threadsafe(worker(log, "task", 10), loop)
    for _ in range(3):
        await asyncio.sleep(0)
    log.append(future.cancel())
    for _ in range(4):
        await asyncio.sleep(0)


@scenario
async def futures_are_as_they_are(f, log):
    future = asyncio.get_running_loop().create_future()
    log.append(f.ensure_future(future) is future)
    for thing in (3, None, "x"):
        try:
            f.ensure_future(thing)
        except TypeError as exception:
            log.append(str(exception))
    other = asyncio.new_event_loop()
    try:
        f.ensure_future(future, loop=other)
    except ValueError as exception:
        log.append(str(exception))
    finally:
        other.close()


@scenario
async def tasks_are_found(f, log):
    task = f.create_task(worker(log, "a", 2), name="its name")
    log.append((task in f.all_tasks(), f.current_task() is asyncio.current_task(),
                f.get_running_loop() is asyncio.get_running_loop(), task.get_name()))
    await task
    log.append(task in f.all_tasks())
