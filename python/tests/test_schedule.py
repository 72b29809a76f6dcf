"""Callbacks and timers."""

import asyncio
import contextvars
import gc
import math
import socket
import threading
import time
import weakref

import pytest

import iora


def stop_after(loop, *callbacks):
    for callback in callbacks:
        loop.call_soon(callback)
    loop.call_soon(loop.stop)
    loop.run_forever()


def test_callbacks_run_in_the_order_they_were_asked_for(loop):
    seen = []
    for i in range(200):
        loop.call_soon(seen.append, i)
    stop_after(loop)
    assert seen == list(range(200))


def test_stop_ends_the_batch_and_no_more(loop):
    seen = []

    def first():
        loop.stop()
        loop.call_soon(seen.append, "next batch")

    loop.call_soon(first)
    loop.call_soon(seen.append, "same batch")
    loop.run_forever()
    assert seen == ["same batch"]
    loop.stop()
    loop.run_forever()
    assert seen == ["same batch", "next batch"]


def test_a_batch_longer_than_a_slice_ends_whole(loop):
    seen = []
    loop.call_soon(loop.stop)
    for i in range(500):
        loop.call_soon(seen.append, i)
    loop.run_forever()
    assert len(seen) == 500


@pytest.mark.parametrize("n", [0, 1, 3, 4, 9])
def test_a_callback_gets_all_its_arguments(loop, n):
    seen = []
    handle = loop.call_soon(lambda *args: seen.append(args), *range(n))
    assert handle._args == tuple(range(n))
    stop_after(loop)
    assert seen == [tuple(range(n))]


def test_a_callback_runs_in_its_context(loop):
    variable = contextvars.ContextVar("variable", default=0)
    context = contextvars.copy_context()
    context.run(variable.set, 1)
    seen = []
    loop.call_soon(lambda: seen.append(variable.get()), context=context)
    variable.set(2)
    loop.call_soon(lambda: seen.append(variable.get()))
    variable.set(3)
    handle = loop.call_soon(lambda: None, context=context)
    assert handle.get_context() is context
    stop_after(loop)
    assert seen == [1, 2]


def test_a_cancelled_handle_lets_go_of_what_it_holds(loop):
    class Thing:
        pass

    thing = Thing()
    watched = weakref.ref(thing)
    handle = loop.call_soon(print, thing)
    timer = loop.call_later(100, print, thing)
    del thing
    handle.cancel()
    timer.cancel()
    gc.collect()
    assert watched() is None
    assert handle.cancelled() and timer.cancelled()
    assert handle._callback is None and handle._args is None


def test_a_callback_may_cancel_its_own_handle(loop):
    handles, seen = [], []

    def callback(thing):
        handles[0].cancel()
        seen.append(thing)

    handles.append(loop.call_soon(callback, object()))
    stop_after(loop)
    assert len(seen) == 1


def test_handles_answer_for_asyncios(loop):
    handle, timer = loop.call_soon(print), loop.call_later(9, print)
    assert isinstance(handle, asyncio.Handle) and not isinstance(handle, asyncio.TimerHandle)
    assert isinstance(timer, asyncio.TimerHandle)
    assert weakref.ref(handle)() is handle
    timer.cancel()
    with pytest.raises(TypeError):
        type(handle)()


def test_timers_compare_as_asyncios_do(loop):
    early, late = loop.call_at(1e9, print), loop.call_at(2e9, print)
    assert early < late and late > early and early <= late and late >= early and early != late
    assert hash(early) == hash(1e9)
    assert loop.call_at(1e9, print) == early
    theirs = asyncio.TimerHandle(1.5e9, print, (), loop)
    assert early < theirs < late
    assert (early == 3) is False


def test_timers_run_in_the_order_of_their_times_and_never_early(run, loop):
    async def main():
        seen = []

        def note(when):
            assert loop.time() >= when
            seen.append(when)

        whens = [loop.time() + i / 1000 for i in (5, 1, 3, 2, 4)]
        for when in whens:
            assert loop.call_at(when, note, when).when() == when
        await asyncio.sleep(0.02)
        assert seen == sorted(whens)

    run(main())


def test_a_timer_of_no_delay_is_a_timer(run, loop):
    async def main():
        done = loop.create_future()
        handle = loop.call_later(0, done.set_result, 1)
        assert isinstance(handle, asyncio.TimerHandle)
        loop.call_later(-5, lambda: None)
        assert await done == 1

    run(main())


def test_times_that_are_none_are_refused(loop):
    with pytest.raises(ValueError):
        loop.call_later(math.nan, print)
    with pytest.raises(TypeError):
        loop.call_later(None, print)
    with pytest.raises(TypeError):
        loop.call_at(None, print)
    never = loop.call_later(math.inf, print)
    assert never.when() == math.inf
    never.cancel()


def test_call_later_of_a_subclass_goes_through_its_call_at():
    class Loop(iora.EventLoop):
        calls = 0

        def call_at(self, when, callback, *args, context=None):
            self.calls += 1
            return super().call_at(when, callback, *args, context=context)

    loop = Loop()
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert loop.calls == 1
    loop.close()


def test_another_thread_wakes_the_loop(run, loop):
    async def main():
        done = loop.create_future()
        threading.Timer(0.05, loop.call_soon_threadsafe, (done.set_result, 7)).start()
        began = time.monotonic()
        assert await done == 7
        assert time.monotonic() - began < 5

    run(main())


def test_threads_lose_no_call(run, loop):
    async def main():
        n_threads, each = 4, 500
        left, done = n_threads * each, loop.create_future()

        def count():
            nonlocal left
            left -= 1
            if left == 0:
                done.set_result(None)

        def send():
            for i in range(each):
                loop.call_soon_threadsafe(count)
                if i % 50 == 0:
                    time.sleep(0.0005)

        for _ in range(n_threads):
            threading.Thread(target=send).start()
        await done

    run(main())


def test_a_thread_that_computes_does_not_keep_the_loop_from_turning(loop):
    stop = threading.Event()

    def spin():
        while not stop.is_set():
            sum(range(100))

    thread = threading.Thread(target=spin)
    thread.start()
    turns = 0

    def turn():
        nonlocal turns
        turns += 1
        if time.monotonic() < until:
            loop.call_soon(turn)
        else:
            loop.stop()

    until = time.monotonic() + 0.3
    loop.call_soon(turn)
    loop.run_forever()
    stop.set()
    thread.join()
    assert turns > 5000  # handing the GIL over at each poll allows some 60 turns


@pytest.mark.parametrize("by", ["debug mode", "the environment"])
def test_two_turns_are_enough_to_read_what_was_sent(by, monkeypatch):
    """websockets' tests sent a frame, slept twice for nothing, and found none: no turn had polled meanwhile."""
    if by == "the environment":
        monkeypatch.setenv("IORA_POLL_EVERY_TURN", "1")
    loop = iora.new_event_loop()
    loop.set_debug(by == "debug mode")

    async def count():
        received = []
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.setblocking(False)
            loop.add_reader(theirs, lambda: received.append(theirs.recv(1)))
            await asyncio.sleep(0)
            for _ in range(100):
                ours.send(b"x")
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            loop.remove_reader(theirs)
        return len(received)

    try:
        assert loop.run_until_complete(count()) == 100
    finally:
        loop.close()


def test_a_closed_loop_refuses(loop):
    timer = loop.call_later(10, print)
    loop.call_soon(print)
    loop.close()
    loop.close()
    for call in (lambda: loop.call_soon(print), lambda: loop.call_later(1, print),
                 lambda: loop.call_soon_threadsafe(print), loop.run_forever,
                 lambda: loop.run_in_executor(None, print), lambda: loop.add_reader(0, print)):
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            call()
    timer.cancel()
    assert loop.is_closed() and loop.time() > 0 and "closed=True" in repr(loop)


def test_a_loop_that_is_dropped_open_says_so():
    loop = iora.new_event_loop()
    loop.call_soon(print, loop)
    loop.call_later(100, print, loop)
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        del loop
        gc.collect()


def test_exceptions_of_callbacks_go_to_the_handler(loop):
    seen = []
    loop.set_exception_handler(lambda loop, context: seen.append(context))
    stop_after(loop, lambda: 1 / 0)
    assert isinstance(seen[0]["exception"], ZeroDivisionError)
    assert "Exception in callback" in seen[0]["message"]
    assert isinstance(seen[0]["handle"], asyncio.Handle)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_must_leave_the_loop_does_and_the_rest_runs_later(loop, kind):
    seen = []

    def leave():
        raise kind

    loop.call_soon(leave)
    loop.call_soon(seen.append, 1)
    with pytest.raises(kind):
        loop.run_forever()
    assert not loop.is_running() and seen == []
    stop_after(loop)
    assert seen == [1]


def test_debug_mode_finds_misuse(loop, caplog):
    async def coroutine():
        pass

    loop.set_debug(True)
    with pytest.raises(TypeError, match="coroutines cannot be used"):
        loop.call_soon(coroutine)
    with pytest.raises(TypeError, match="callable object was expected"):
        loop.call_soon(3)
    loop.slow_callback_duration = 0.01
    stop_after(loop, lambda: time.sleep(0.02))
    assert "Executing <Handle" in caplog.text and "created at" in caplog.text

    failures = []

    def from_another_thread():
        try:
            loop.call_soon(print)
        except RuntimeError as exc:
            failures.append(exc)

    def start():
        thread = threading.Thread(target=from_another_thread)
        thread.start()
        thread.join()

    stop_after(loop, start)
    assert "Non-thread-safe" in str(failures[0])


def test_attributes_and_hashes(loop):
    loop.anything = 1
    loop.time = time.monotonic
    assert {loop: 1}[loop] == 1
    assert weakref.ref(loop)() is loop
    assert isinstance(loop, asyncio.AbstractEventLoop)
    for name in ("_default_executor", "_executor_shutdown_called", "_asyncgens", "_debug",
                 "_exception_handler", "_task_factory"):
        getattr(loop, name)


def test_tasks_come_from_the_factory(run, loop):
    made = []

    def factory(loop, coroutine, **kwargs):
        made.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **kwargs)

    async def main():
        loop.set_task_factory(factory)
        assert loop.get_task_factory() is factory
        task = loop.create_task(asyncio.sleep(0, 5), name="named")
        assert task.get_name() == "named" and await task == 5
        loop.set_task_factory(None)

    run(main())
    assert len(made) == 1


def test_two_loops_run_in_two_threads():
    def work():
        iora.run(asyncio.sleep(0.01))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_no_loop_runs_inside_another(run):
    async def main():
        other = iora.new_event_loop()
        with pytest.raises(RuntimeError, match="another loop is running"):
            other.run_forever()
        other.close()

    run(main())


@pytest.mark.parametrize("new_event_loop", [asyncio.new_event_loop, iora.new_event_loop])
def test_arguments_can_be_given_by_name(new_event_loop):
    async def main():
        loop = asyncio.get_running_loop()
        called = []
        here = contextvars.copy_context()
        loop.call_soon(callback=lambda: called.append("soon"))
        loop.call_soon(context=here, callback=lambda: called.append("soon in a context"))
        loop.call_soon_threadsafe(callback=lambda: called.append("threadsafe"))
        loop.call_later(delay=0, callback=lambda: called.append("later"))
        loop.call_later(0, context=here, callback=lambda: called.append("later in a context"))
        loop.call_at(callback=lambda: called.append("at"), when=0)
        one, other = socket.socketpair()
        with one, other:
            loop.add_writer(fd=one, callback=lambda: called.append("writer"))
            loop.add_reader(one, callback=print)
            await asyncio.sleep(0.01)
            removed = [loop.remove_writer(fd=one), loop.remove_reader(fd=one)]
        loop.set_debug(enabled=False)
        loop.set_task_factory(factory=None)
        results = [await loop.run_in_executor(executor=None, func=lambda: 1),
                   await loop.run_in_executor(None, func=lambda: 2),
                   await loop.create_task(coro=nothing(3)), await loop.create_task(name="x", coro=nothing(4)),
                   await iora.create_task(coro=nothing(5)), await iora.create_task(context=here, coro=nothing(6))]
        async with iora.TaskGroup() as group:
            results.append(await group.create_task(coro=nothing(7)))
            results.append(await group.create_task(name="x", coro=nothing(8)))
        return set(called), removed, results

    async def nothing(result):
        return result

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        called, removed, results = runner.run(main())
    assert called == {"soon", "soon in a context", "threadsafe", "later", "later in a context", "at", "writer"}
    assert removed == [True, True] and results == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("new_event_loop", [asyncio.new_event_loop, iora.new_event_loop])
@pytest.mark.parametrize("method, args, keywords", [
    ("call_soon", (), {}), ("call_soon", (), {"context": None}), ("call_soon", (print,), {"callback": print}),
    ("call_soon", (), {"callback": print, "delay": 0}), ("call_later", (0,), {"delay": 0, "callback": print}),
    ("call_later", (), {"delay": 0}), ("call_at", (0,), {}), ("call_soon_threadsafe", (), {}),
    ("add_reader", (0,), {}), ("add_reader", (0,), {"callback": print, "context": None}),
    ("add_writer", (0, print), {"context": None}), ("remove_reader", (), {}), ("remove_writer", (0,), {"fd": 0}),
    ("run_in_executor", (None,), {}), ("run_in_executor", (None, print), {"context": None}),
    ("create_task", (), {}), ("create_task", (), {"name": "x"}), ("set_debug", (), {}), ("set_debug", (), {"on": 1}),
    ("set_task_factory", (), {})])
def test_arguments_that_are_missing_or_too_many_are_refused(new_event_loop, method, args, keywords):
    loop = new_event_loop()
    try:
        with pytest.raises(TypeError):
            getattr(loop, method)(*args, **keywords)
    finally:
        loop.close()
