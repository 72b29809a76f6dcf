"""Objects that change things under C code while it compares, calls, or lets go of them; types made by hand; callbacks that
end what calls them. Each of these has crashed asyncio or another loop: the numbers of CPython's and uvloop's reports stand
with them, F44 and so on are classes of failures. To crash is to fail; what else must be true is asserted."""

import asyncio
import contextlib
import contextvars
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import weakref

import pytest

import iora
from iora import _c

TYPES = sorted({kind for module in (_c, iora) for kind in vars(module).values()
                if isinstance(kind, type) and kind.__module__.startswith("iora")}, key=lambda kind: kind.__qualname__)


def quiet(loop, context):
    """An exception handler."""


# ---- F44: re-entrancy ---------------------------------------------------------------------------------------------

def test_an_argument_whose_release_cancels_the_handle_that_releases_it(loop):
    """gh-125984, gh-125966: what lets go of an object is empty before."""
    class Evil:
        def __del__(self):
            handle.cancel()
            loop.call_soon(seen.append, 1)

    seen = []
    handle = loop.call_soon(lambda *args: None, Evil())
    handle.cancel()
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == [1]


def test_a_callback_that_cancels_itself_and_all_others(loop):
    seen = []

    def cancel():
        for handle in handles:
            handle.cancel()
        seen.append(len(handles))

    handles = [loop.call_soon(cancel) for _ in range(100)]
    handles += [loop.call_later(0, cancel) for _ in range(100)]
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert seen == [200]


def test_a_callback_whose_context_is_entered_already_is_told_of_and_not_called(loop, caplog):
    """gh-126405"""
    called = []
    context = contextvars.copy_context()
    loop.call_soon(called.append, 1, context=context)
    loop.call_soon(loop.stop)
    context.run(loop.run_forever)
    assert called == [] and "cannot enter context" in caplog.text


def test_a_handle_that_is_run_by_its_own_callback_keeps_its_arguments_while_that_runs(loop, caplog):
    class Argument:
        """Whose release can be seen."""

    def callback(argument):
        seen.append(weakref.ref(argument))
        del argument
        handle._run()  # is refused, since its context has been entered
        handle.cancel()
        seen.append(seen[0]() is not None)

    seen = []
    handle = loop.call_soon(callback, Argument())
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen[1:] == [True] and seen[0]() is None
    assert "cannot enter context" in caplog.text


def test_an_exception_handler_that_drops_what_it_is_told_of(loop):
    """gh-126080"""
    def handler(loop, context):
        told.append(context["message"])
        context.clear()
        gc.collect()

    told = []
    loop.set_exception_handler(handler)
    loop.call_soon(lambda: 1 / 0)
    loop.call_later(0, lambda: 1 / 0)
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert len(told) == 2


def test_a_future_whose_loop_answers_getattr_by_dropping_everything(loop, run):
    """gh-125789, gh-126138: while a waiter is woken."""
    class Evil(asyncio.Future):
        def set_result(self, result):
            event._waiters.clear()
            waiting.clear()
            gc.collect()
            super().set_result(result)

    async def main():
        loop.create_future = lambda: Evil(loop=loop)
        try:
            waiting.extend(asyncio.ensure_future(event.wait()) for _ in range(3))
            await asyncio.sleep(0)
        finally:
            del loop.create_future
        event.set()
        await asyncio.sleep(0)

    event, waiting = iora.Event(), []
    try:
        run(main())
    except AttributeError:
        pytest.skip("attributes of the loop cannot be replaced")


def test_items_whose_comparison_empties_the_queue():
    """gh-142556: a heap in C is left by its list."""
    class Evil:
        def __init__(self, number):
            self.number = number

        def __lt__(self, other):
            queue._queue.clear()
            gc.collect()
            return self.number < other.number

    queue = iora.PriorityQueue()
    for number in range(5):
        try:
            queue.put_nowait(Evil(number))
        except (IndexError, RuntimeError):
            pass
    while True:
        try:
            queue.get_nowait()
        except (asyncio.QueueEmpty, IndexError):
            break


@pytest.mark.parametrize("op, left", [("put", 41), ("get", 39)])
def test_items_whose_comparison_makes_the_queue_anew(op, left):
    """The heap in C is at its list, which must not be gone, nor another's by now."""
    class Evil:
        def __init__(self, number):
            self.number = number

        def __lt__(self, other):
            if not others:
                queue.__init__()
                others.append([*range(left)])
            return True

    others = []
    queue = iora.PriorityQueue()
    queue._queue.extend(Evil(number) for number in range(40))
    queue.put_nowait(Evil(-1)) if op == "put" else queue.get_nowait()
    assert others == [[*range(left)]]


def test_items_whose_release_uses_the_queue():
    """gh-122332"""
    class Evil:
        def __del__(self):
            with contextlib.suppress(asyncio.QueueEmpty, iora.QueueShutDown):
                queue.put_nowait(1)
                queue.get_nowait()

    for kind in iora.Queue, iora.LifoQueue:
        queue = kind()
        for _ in range(20):
            queue.put_nowait(Evil())
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(Evil())
        queue.shutdown(immediate=True)


def test_waiters_that_compare_equal_to_everything(run):
    """gh-146065: who leaves a queue of waiters is found by identity."""
    class Same(asyncio.Future):
        def __eq__(self, other):
            gc.collect()
            return True

        __hash__ = object.__hash__

    async def main():
        lock = iora.Lock()
        await lock.acquire()
        waiting = [asyncio.ensure_future(lock.acquire()) for _ in range(4)]
        await asyncio.sleep(0)
        waiting[2].cancel()
        await asyncio.sleep(0)
        lock.release()
        await waiting[0]
        lock.release()
        await waiting[1]
        lock.release()
        await waiting[3]
        done = [Same() for _ in range(3)]
        for future in done:
            future.set_result(1)
        assert await iora.gather(*done) == [1, 1, 1]
        assert len((await iora.wait(done))[0]) == 3

    run(main())


def test_gathered_things_whose_iterator_ends_the_list_they_come_from(run):
    """gh-125969"""
    class Evil:
        def __await__(self):
            everything.clear()
            gc.collect()
            yield from asyncio.sleep(0).__await__()
            return 7

    async def main():
        everything.extend(Evil() for _ in range(10))
        return await iora.gather(*everything)

    everything = []
    assert run(main()) == [7] * 10


def test_a_task_factory_that_returns_what_is_no_task(loop, run):
    """gh-105987"""
    async def main():
        for wrong in (None, 3, object()):
            loop.set_task_factory(lambda loop, coro, wrong=wrong, **kwargs: (coro.close(), wrong)[1])
            try:
                with pytest.raises((TypeError, AttributeError)):
                    async with iora.TaskGroup() as group:
                        group.create_task(asyncio.sleep(0))
            finally:
                loop.set_task_factory(None)

    run(main())


def test_a_protocol_whose_attributes_close_the_transport(run):
    """bpo-31061 and its like: each time that C looks for a method."""
    class Evil(asyncio.Protocol):
        transport = None

        def __getattribute__(self, name):
            transport = object.__getattribute__(self, "transport")
            if transport is not None:
                transport.abort()
                gc.collect()
            return object.__getattribute__(self, name)

    async def main():
        a, b = socket.socketpair()
        with b:
            transport, protocol = await asyncio.get_running_loop().create_connection(Evil, sock=a)
            object.__setattr__(protocol, "transport", transport)
            b.send(b"x")
            transport.set_protocol(protocol)
            await asyncio.sleep(0.001)

    run(main())


def test_a_buffer_that_shrinks_between_asking_and_receiving(run):
    """gh-115874: it is held while the kernel has it."""
    class Shrinks(asyncio.BufferedProtocol):
        def __init__(self):
            self.got = 0

        def get_buffer(self, sizehint):
            self.buffer = bytearray(1000)
            asyncio.get_running_loop().call_soon(self.shrink, self.buffer)
            return self.buffer

        def shrink(self, buffer):
            try:
                buffer.clear()
            except BufferError:
                pass

        def buffer_updated(self, n):
            self.got += n

    async def main():
        a, b = socket.socketpair()
        with b:
            transport, protocol = await asyncio.get_running_loop().create_connection(Shrinks, sock=a)
            for _ in range(3):
                b.send(b"x" * 10)
                await asyncio.sleep(0.001)
            transport.abort()
            assert protocol.got == 30

    run(main())


@pytest.mark.parametrize("new_event_loop", [asyncio.new_event_loop, iora.new_event_loop])
@pytest.mark.parametrize("where", ["ready", "timer", "reader"])
def test_what_is_released_as_a_loop_is_closed_finds_it_closed(new_event_loop, where):
    """A timer that it could set would outlive what keeps timers, and end the process when it is cancelled."""
    class Released:
        def __call__(self):
            """A callback that is never called."""

        def __del__(self):
            said.append(loop.is_closed())
            loop.close()
            for method, args in ((loop.call_soon, (print,)), (loop.call_later, (100, print)),
                                 (loop.call_soon_threadsafe, (print,)), (loop.call_at, (100, print)),
                                 (loop.run_in_executor, (None, print)), (loop.add_reader, (other, print))):
                try:
                    said.append(method(*args))
                except RuntimeError as exc:
                    said.append(str(exc))

    said = []
    loop = new_event_loop()
    one, other = socket.socketpair()
    with one, other:
        if where == "ready":
            loop.call_soon(Released())
        elif where == "timer":
            loop.call_later(100, Released())
        else:
            loop.add_reader(one, Released())
            loop.call_soon(print)
        loop.close()
        gc.collect()
        for handle in said:
            getattr(handle, "cancel", bool)()
        assert set(said) == {True, "Event loop is closed"}


@pytest.mark.parametrize("deep", [20_000, 100_000])
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_a_deep_chain_of_awaits_ends_in_a_recursion_error(run, deep):
    """And not the process, by the end of its stack; nor does letting go of the chain."""
    async def main():
        chain = iora.sleep(0)
        for _ in range(deep):
            chain = iora.wait_for(chain, None)
        with pytest.raises(RecursionError):
            await chain

    run(main())


# ---- F45: the end of the module; F46: cycles -----------------------------------------------------------------------

def test_objects_outlive_the_modules_at_the_end_of_the_interpreter():
    """gh-130221"""
    program = """
import asyncio, builtins, iora
loop = iora.new_event_loop()
class Late:
    def __del__(self):
        try:
            iora.Lock(); loop.call_soon(print); loop.is_closed(); iora.Queue().put_nowait(1)
        except Exception:
            pass
builtins.kept = [Late(), loop, iora.Lock(), iora.Queue(), loop.call_later(1, print), iora.sleep(1)]
builtins.kept.append(builtins.kept)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("what", ["gather", "group", "wait_for"])
def test_an_exception_is_in_no_cycle(run, what):
    """gh-98543, gh-124958, gh-128552: nothing but who caught it keeps it, and the frames it came through."""
    class Wrong(Exception):
        """One that can be referred to weakly."""

    async def fails():
        raise Wrong

    async def main():
        try:
            if what == "gather":
                await iora.gather(fails(), asyncio.sleep(0))
            elif what == "wait_for":
                await iora.wait_for(fails(), 1)
            else:
                async with iora.TaskGroup() as group:
                    group.create_task(fails())
        except Wrong as caught:
            return weakref.ref(caught)
        except BaseExceptionGroup as caught:
            return weakref.ref(caught.exceptions[0])

    gc.collect()
    gc.disable()
    try:
        left = run(main())
        assert left() is None
    finally:
        gc.enable()


# ---- F47: made by hand ----------------------------------------------------------------------------------------------

@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__qualname__)
def test_a_type_made_by_hand_constructs_or_refuses(kind):
    """uvloop #760, gh-126083: what came of it can be asked everything, made again, and dropped."""
    for args in ((), (None,), (1, 2, 3), ("x",) * 4):
        for make in (lambda: kind(*args), lambda: kind.__new__(kind), lambda: kind.__new__(kind, *args)):
            try:
                made = make()
            except Exception:
                continue
            ask_everything(made)
            for again in ((), args):
                try:
                    made.__init__(*again)
                except Exception:
                    pass
            with contextlib.suppress(AttributeError):  # some of asyncio's ask for what __init__ sets
                repr(made) if not isinstance(made, type) else None
            if hasattr(made, "close"):
                try:
                    made.close()
                except Exception:
                    pass
            del made
    gc.collect()


def ask_everything(made):
    for name in dir(made):
        try:
            value = getattr(made, name)
        except Exception:
            continue
        if callable(value) and not name.startswith("__") and name not in ("run_forever", "run_until_complete"):
            try:
                result = value()
                if asyncio.iscoroutine(result):
                    result.close()
            except BaseException:
                pass


# ---- F45c, F48, F51: callbacks and signals --------------------------------------------------------------------------

@pytest.mark.parametrize("wrong", [KeyError, asyncio.CancelledError, GeneratorExit, MemoryError])
def test_an_exception_of_a_callback_is_told_and_the_loop_goes_on(loop, wrong):
    """F45c, uvloop #94"""
    def fails():
        raise wrong

    told = []
    loop.set_exception_handler(lambda loop, context: told.append(type(context["exception"])))
    loop.call_soon(fails)
    loop.call_later(0, fails)
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert told == [wrong, wrong]


@pytest.mark.parametrize("wrong", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_leaves_the_loop_as_it_can_go_on(loop, wrong):
    """F51, bpo-39622"""
    def fails():
        raise wrong

    seen = []
    for number in range(3):
        loop.call_soon(seen.append, number)
        loop.call_soon(fails)
    for number in range(3):
        with pytest.raises(wrong):
            loop.run_forever()
        assert asyncio._get_running_loop() is None
        assert seen == list(range(number + 1))
    loop.call_soon(loop.stop)
    loop.run_forever()


@pytest.mark.parametrize("busy", [False, True])
def test_an_exception_of_a_signal_handler_leaves_the_loop_as_it_can_go_on(loop, busy):
    """F45c: whether it waits or calls."""
    class Alarm(Exception):
        pass

    def handler(number, frame):
        raise Alarm

    def again():
        loop.call_soon(again)

    before = signal.signal(signal.SIGALRM, handler)
    loop.set_exception_handler(quiet)  # within a callback it is that callback's
    try:
        for _ in range(3):
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            if busy:
                again()
                loop.call_later(0.1, loop.stop)
            with pytest.raises(Alarm) if not busy else contextlib.suppress(Alarm):
                loop.run_forever()
            assert asyncio._get_running_loop() is None
        assert loop.run_until_complete(asyncio.sleep(0, 1)) == 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_callback_cannot_close_its_loop(loop):
    raised = []

    def close():
        try:
            loop.close()
        except RuntimeError as exception:
            raised.append(str(exception))
        loop.stop()

    loop.call_soon(close)
    loop.run_forever()
    assert raised == ["Cannot close a running event loop"]


def test_a_callback_that_stops_and_a_release_that_closes(loop):
    """What is dropped as the loop closes closes it again, and schedules more."""
    class Evil:
        def __del__(self):
            loop.close()
            for call in (lambda: loop.call_soon(print), lambda: loop.call_later(1, print)):
                try:
                    call()
                except RuntimeError:
                    pass

    loop.call_soon(print, Evil())
    loop.call_later(100, print, Evil())
    loop.close()
    assert loop.is_closed()


WHERE = ["connection_made", "data_received", "eof_received", "pause_writing", "resume_writing", "connection_lost"]


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("where", WHERE)
def test_a_transport_is_ended_within_each_of_its_callbacks(run, where, how):
    """F48, uvloop #706, #649, #538, #317"""
    class Ends(asyncio.Protocol):
        def __init__(self):
            self.said = []

        def __getattribute__(self, name):
            if name not in WHERE:
                return object.__getattribute__(self, name)
            return lambda *args: self.hear(name, *args)

        def hear(self, name, *args):
            self.said.append(name)
            if name == "connection_made":
                self.transport = args[0]
            if name == where:
                getattr(self.transport, how)()
                self.transport.write(b"into nowhere")
                gc.collect()

    async def main():
        loop = asyncio.get_running_loop()
        a, b = socket.socketpair()
        b.setblocking(False)
        with b:
            transport, protocol = await loop.create_connection(Ends, sock=a)
            transport.set_write_buffer_limits(10)
            transport.write(b"x" * 1_000_000)
            for _ in range(200):
                try:
                    b.send(b"y")
                    b.recv(1_000_000)
                except OSError:
                    pass
                await asyncio.sleep(0)
            try:
                b.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            for _ in range(50):
                try:
                    b.recv(1_000_000)
                except OSError:
                    pass
                await asyncio.sleep(0)
            transport.abort()
            await asyncio.sleep(0.001)
            assert protocol.said.count("connection_made") == protocol.said.count("connection_lost") == 1
            assert protocol.said[-1] == "connection_lost"
            assert where in protocol.said or how == "abort"

    run(main())


# ---- threads, processes ----------------------------------------------------------------------------------------------

def test_a_fork_within_a_running_loop_tells_the_child(loop):
    """The child has no running loop, and what it does to ours is refused or does nothing to the parent's."""
    async def main():
        pid = os.fork()
        if pid == 0:
            said = "nothing"
            try:
                asyncio.get_running_loop()
            except RuntimeError as exception:
                said = str(exception)
            os._exit(0 if said == "no running event loop" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        return await asyncio.sleep(0.001, "goes on")

    assert loop.run_until_complete(main()) == "goes on"


def test_two_loops_in_two_threads_call_each_other():
    async def main(own, other, result):
        done = asyncio.get_running_loop().create_future()
        loops[own] = asyncio.get_running_loop()
        barrier.wait()
        for number in range(200):
            loops[other].call_soon_threadsafe(counts.__setitem__, own, number)
        back = iora.run_coroutine_threadsafe(asyncio.sleep(0, own), loops[other])
        back.add_done_callback(lambda future: loops[own].call_soon_threadsafe(done.set_result, future.result()))
        assert await done == own
        await asyncio.to_thread(barrier.wait)

    loops, counts, barrier = {}, {}, threading.Barrier(2)
    threads = [threading.Thread(target=lambda own=own: iora.run(main(own, 1 - own, counts))) for own in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == {0: 199, 1: 199}


def test_the_collector_runs_at_every_allocation():
    """S16: with a threshold of 1."""
    async def main():
        queue, lock = iora.Queue(1), iora.Lock()
        await iora.gather(queue.put(1), queue.get(), iora.sleep(0))
        async with lock, iora.timeout(10), iora.TaskGroup() as group:
            group.create_task(iora.sleep(0.0001))
        a, b = socket.socketpair()
        reader, writer = await iora.open_connection(sock=a)
        with b:
            b.send(b"line\n")
            assert await reader.readline() == b"line\n"
            writer.close()
            await writer.wait_closed()

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(5):
            iora.run(main())
    finally:
        gc.set_threshold(*before)


def test_sixty_four_threads_each_make_use_and_drop_a_loop():
    def once():
        assert iora.run(asyncio.sleep(0, 1)) == 1

    threads = [threading.Thread(target=once) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
