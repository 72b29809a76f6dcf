"""What asyncio's tasks ask a loop for runs without handles, and nobody can tell (ext/step.c, ext/bound.c)."""

import asyncio
import contextvars
import gc
import os
import subprocess
import sys
import weakref

import pytest
from test_tasks import without_collector

import iora
from iora import _c, _steps

number = contextvars.ContextVar("number", default=0)


def in_python(program, **environment):
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, **environment},
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_steps_are_known_unless_they_are_not_wanted():
    say = "import iora._steps; print(iora._steps.known)"
    assert in_python(say, IORA_NO_STEP="") == ["True"]
    assert in_python(say, IORA_NO_STEP="1") == ["False"]


def test_what_is_no_step_is_not_taken_for_one():
    task, step, wake_up = _steps._catch()
    for others in (print, wake_up), (step, print), (step, task.cancel), (test_steps_are_known_unless_they_are_not_wanted,
                                                                         wake_up):
        assert _c._know_steps(task, *others) is False
    other, _, _ = _steps._catch()
    assert _c._know_steps(other, step, wake_up) is False


def test_steps_are_caught_where_a_task_runs():
    assert in_python("""if True:
        import asyncio
        async def main():
            import iora._steps
            print(iora._steps.known, asyncio.current_task() is not None, asyncio.get_running_loop() is not None)
        asyncio.run(main())""", IORA_NO_STEP="")[1:] == ["True", "True"]


# ---- order, context, cancellation ---------------------------------------------------------------------

async def a_mixture(log, functions):
    """Steps, wake-ups, done callbacks and callbacks of the program's, all in one batch."""
    loop = asyncio.get_running_loop()

    async def work(name, turns):
        number.set(name)
        for turn in range(turns):
            log.append((name, turn, number.get()))
            await functions.sleep(0)
        future = loop.create_future()
        loop.call_soon(future.set_result, name)
        log.append((await future, number.get()))
        return name

    def note(*what):
        log.append((*what, number.get()))

    number.set("main")
    for turn in range(3):
        loop.call_soon(note, "soon", turn)
        task = loop.create_task(work(turn, turn + 1))
        task.add_done_callback(lambda task: note("done", task.result()))
        loop.call_soon(note, "after", turn)
    log.append(await functions.gather(*(work(f"g{i}", i) for i in range(3)), return_exceptions=True))
    async with functions.TaskGroup() as group:
        for i in range(3):
            group.create_task(work(f"t{i}", i))
    cancelled = [loop.create_task(work(f"c{i}", 9)) for i in range(3)]
    cancelled[0].cancel()
    await asyncio.sleep(0)
    cancelled[1].cancel("reason")
    await asyncio.sleep(0)
    cancelled[2].cancel()
    for task in cancelled:
        try:
            await task
        except asyncio.CancelledError as exc:
            log.append((exc.args, task.cancelled()))
    log.append(number.get())


def trace(factory, functions=asyncio, debug=False):
    log = []
    with asyncio.Runner(loop_factory=factory, debug=debug) as runner:
        runner.run(a_mixture(log, functions))
    return log


@pytest.mark.parametrize("functions", [asyncio, iora])
@pytest.mark.parametrize("debug", [False, True])
def test_all_run_in_the_order_and_the_context_they_were_asked_for(functions, debug):
    assert trace(iora.new_event_loop, functions, debug) == trace(asyncio.SelectorEventLoop)


def test_debug_mode_may_begin_and_end_while_steps_wait(loop):
    async def main():
        for turn in range(40):
            loop.set_debug(turn % 4 > 1)
            await asyncio.sleep(0)
        return "end"

    others = [loop.create_task(asyncio.sleep(0)) for _ in range(5)]
    assert loop.run_until_complete(main()) == "end"
    assert all(task.done() for task in others)


# ---- errors --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_must_leave_the_loop_leaves_it_from_a_step(loop, error):
    async def fail(turns):
        for _ in range(turns):
            await asyncio.sleep(0)
        raise error

    for turns in 0, 1:
        ran = []
        loop.call_soon(ran.append, "before")
        task = loop.create_task(fail(turns))
        with pytest.raises(error):
            loop.run_forever()
        assert ran == ["before"]
        assert isinstance(task.exception(), error)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="asyncio refuses to have another task entered")
@pytest.mark.parametrize("debug", [False, True])
def test_a_step_that_fails_is_told_with_a_handle(loop, debug):
    told = []
    loop.set_exception_handler(lambda loop, context: told.append(context))
    loop.set_debug(debug)

    async def nothing():
        pass

    async def wait(future):
        await future

    def occupy(future):
        asyncio.tasks._enter_task(loop, other)
        loop.call_soon(leave)
        future.set_result(None)     # the wake-up comes after `leave`
        loop.call_soon(again)

    def leave():
        asyncio.tasks._leave_task(loop, other)

    def again():
        asyncio.tasks._enter_task(loop, other)
        loop.call_soon(leave)
        loop.call_soon(loop.stop)

    future = loop.create_future()
    other = loop.create_task(nothing())
    waiting = loop.create_task(wait(future))
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.call_soon(occupy, future)
    stuck = loop.create_task(nothing())
    loop.run_forever()
    context, = told
    assert isinstance(context["exception"], RuntimeError)
    assert isinstance(context["handle"], asyncio.Handle)
    assert "TaskStepMethWrapper" in context["message"]
    assert waiting.done() and not stuck.done()
    stuck._log_destroy_pending = False
    stuck.get_coro().close()


# ---- nobody sees that there is no handle ---------------------------------------------------------------

async def some_turns():
    async def work():
        await asyncio.sleep(0)
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, None)
        await future

    for functions in asyncio, iora:
        await functions.gather(work(), work())
        async with functions.TaskGroup() as group:
            group.create_task(work())


def test_a_subclass_that_asks_our_call_soon_gets_handles():
    seen = []

    class Loop(iora.EventLoop):
        def call_soon(self, *args, **kwargs):
            seen.append(super().call_soon(*args, **kwargs))
            return seen[-1]

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(some_turns())
    assert len(seen) > 10
    assert all(isinstance(handle, asyncio.Handle) for handle in seen)


def test_an_attribute_that_hides_call_soon_is_asked_and_gets_handles(loop):
    seen = []
    ours = loop.call_soon

    def call_soon(*args, **kwargs):
        seen.append(ours(*args, **kwargs))
        return seen[-1]

    async def main():
        await some_turns()
        loop.call_soon = call_soon
        await some_turns()
        del loop.call_soon
        seen.append(None)
        await some_turns()

    loop.run_until_complete(main())
    assert seen.index(None) > 10
    assert seen[-1] is None
    assert all(isinstance(handle, asyncio.Handle) for handle in seen[:-1])


def test_a_class_that_changes_is_asked_again(loop, monkeypatch):
    seen = []
    ours = iora.EventLoop.call_soon

    def call_soon(self, *args, **kwargs):
        seen.append(ours(self, *args, **kwargs))
        return seen[-1]

    async def main():
        await some_turns()
        with monkeypatch.context() as patch:
            patch.setattr(iora.EventLoop, "call_soon", call_soon)
            await some_turns()
        seen.append(None)
        await some_turns()

    loop.run_until_complete(main())
    assert seen.index(None) > 10
    assert seen[-1] is None
    assert all(isinstance(handle, asyncio.Handle) for handle in seen[:-1])


def test_call_later_asks_a_call_at_that_was_put_in_the_way(loop):
    seen = []
    ours = loop.call_at

    def call_at(when, callback, *args, context=None):
        seen.append(callback)
        return ours(when, callback, *args, context=context)

    loop.call_later(0, int)
    loop.call_at = call_at
    loop.call_later(0, loop.stop)
    loop.run_forever()
    assert seen == [loop.stop]


@pytest.mark.parametrize("name", ["create_future", "create_task", "call_later", "time", "call_soon_threadsafe"])
def test_a_method_that_was_bound_is_not_used_once_it_is_hidden(loop, name):
    seen = []

    async def main():
        ours = getattr(loop, name)
        assert getattr(loop, name) == ours

        def hides(*args, **kwargs):
            seen.append(name)
            return ours(*args, **kwargs)

        setattr(loop, name, hides)
        if name == "create_task":
            await loop.create_task(asyncio.sleep(0))
        else:
            getattr(loop, name)(*{"call_later": [0, int], "call_soon_threadsafe": [int]}.get(name, []))
        assert seen
        delattr(loop, name)
        assert getattr(loop, name) == ours

    loop.run_until_complete(main())


# ---- what is held ------------------------------------------------------------------------------------------

class Held:
    pass


def test_a_step_lets_go_of_its_task_and_its_context(loop):
    held = contextvars.ContextVar("held")

    def ask():
        held.set(Held())
        future = loop.create_future()

        async def wait():
            await future

        loop.create_task(wait())
        loop.call_soon(future.set_result, None)
        return weakref.ref(held.get())

    with without_collector():
        refs = [contextvars.copy_context().run(ask) for _ in range(3)]
        assert all(ref() for ref in refs)
        for _ in range(4):
            loop.call_soon(loop.stop)
            loop.run_forever()
        assert [ref() for ref in refs] == [None] * 3


def test_steps_that_never_run_go_with_their_loop():
    def ask(loop):
        task = loop.create_task(asyncio.sleep(0))
        task._log_destroy_pending = False
        coroutine = task.get_coro()
        coroutine.close()
        return weakref.ref(task)

    closed = iora.new_event_loop()
    one = ask(closed)
    closed.close()
    assert one() is None
    dropped = iora.new_event_loop()
    two = ask(dropped)
    with pytest.warns(ResourceWarning):
        del dropped
        gc.collect()
    assert two() is None


def test_a_loop_that_has_run_goes_when_it_is_dropped():
    loop = iora.new_event_loop()
    loop.run_until_complete(some_turns())
    loop.close()
    ref = weakref.ref(loop)
    with without_collector():
        del loop
        assert ref() is None


def test_the_ring_keeps_steps_in_order_as_it_grows(loop):
    seen = []

    async def note(i):
        seen.append(i)

    async def main():
        for i in range(0, 1000, 2):
            loop.create_task(note(i))
            loop.call_soon(seen.append, i + 1)
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert seen == list(range(1000))
