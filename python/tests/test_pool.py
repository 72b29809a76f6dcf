"""The loop's own threads: to_thread() and run_in_executor(None, ...) (ext/pool.c)."""

import asyncio
import concurrent.futures
import contextvars
import functools
import gc
import os
import subprocess
import sys
import threading
import weakref

import pytest
from test_leaks import check
from test_tasks import without_collector

import iora

number = contextvars.ContextVar("number", default=0)
TO_THREAD = [asyncio.to_thread, iora.to_thread]


def threads():
    return {thread for thread in threading.enumerate() if thread.name.startswith("asyncio_")}


def most():
    return min(32, (os.cpu_count() or 1) + 4)


def program(text):
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60,
                          check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def in_pool(loop, *call):
    return loop.run_in_executor(None, *call)


# ---- what is called ------------------------------------------------------------------------------------

@pytest.mark.parametrize("to_thread", TO_THREAD)
def test_a_function_runs_in_a_thread_that_threading_knows(run, to_thread):
    async def main():
        thread = await to_thread(threading.current_thread)
        assert thread.name == "asyncio_0"
        assert thread in threading.enumerate()
        assert not thread.daemon
        assert await to_thread(threading.current_thread) is thread
        return await to_thread(lambda *args, **names: (args, names), 1, 2, a=3)

    assert run(main()) == ((1, 2), {"a": 3})


def test_run_in_executor_passes_its_arguments(loop, run):
    async def main():
        return [await in_pool(loop, lambda *args: args, *range(n)) for n in (0, 1, 7)]

    assert run(main()) == [(), (0,), tuple(range(7))]
    for wrong in ((), (None,)):
        with pytest.raises(TypeError):
            loop.run_in_executor(*wrong)


@pytest.mark.parametrize("to_thread", TO_THREAD)
def test_to_thread_has_a_copy_of_the_context_and_run_in_executor_has_none(loop, run, to_thread):
    def change():
        was = number.get()
        number.set(99)
        return was

    async def main():
        number.set(1)
        seen = [await to_thread(change), await to_thread(number.get), await in_pool(loop, change)]
        return seen, number.get(), await in_pool(loop, number.get)

    seen, here, left = run(main())
    assert seen == [1, 1, 0] and here == 1
    assert left == 99       # set in the thread's own context, which stays as long as the thread


class Own(BaseException):
    pass


@pytest.mark.parametrize("error, expected", [
    (ValueError("x"), ValueError), (KeyboardInterrupt(), KeyboardInterrupt), (Own(), Own),
    (concurrent.futures.CancelledError(), asyncio.CancelledError),
    (concurrent.futures.TimeoutError(), asyncio.TimeoutError)])
def test_what_it_raises_is_raised_where_it_is_awaited(loop, error, expected):
    def fail():
        raise error

    future = in_pool(loop, fail)
    future.add_done_callback(lambda future: loop.stop())
    loop.run_forever()
    with pytest.raises(expected):
        future.result()


def test_debug_mode_refuses_what_is_no_function(loop):
    async def coroutine():
        pass

    loop.set_debug(True)
    with pytest.raises(TypeError, match="run_in_executor"):
        in_pool(loop, coroutine)
    assert loop.run_until_complete(in_pool(loop, int)) == 0


# ---- threads -------------------------------------------------------------------------------------------

def test_there_are_as_many_threads_as_are_needed_and_no_more_than_the_most(loop, run):
    async def main():
        barrier = threading.Barrier(3)
        await asyncio.gather(*(in_pool(loop, barrier.wait) for _ in range(3)))
        assert len(threads()) == 3
        go = threading.Event()
        order = []
        jobs = [in_pool(loop, go.wait) for _ in range(most())]
        jobs += [in_pool(loop, order.append, i) for i in range(50)]
        assert len(threads()) == most()
        loop.call_later(0.01, go.set)
        await asyncio.gather(*jobs)
        assert len(threads()) == most()
        return order

    assert sorted(run(main())) == list(range(50))


def test_jobs_wait_for_a_thread_in_their_order(loop, run):
    async def main():
        go, gate, order = threading.Event(), threading.Event(), []
        blocked = [in_pool(loop, go.wait) for _ in range(most() - 1)]
        jobs = [in_pool(loop, gate.wait), *(in_pool(loop, order.append, i) for i in range(20))]
        gate.set()      # one thread is left for them
        await asyncio.gather(*jobs)
        go.set()
        await asyncio.gather(*blocked)
        return order

    assert run(main()) == list(range(20))


def test_a_job_that_is_cancelled_before_its_turn_does_not_run(loop, run):
    async def main():
        go, ran = threading.Event(), []
        blocked = [in_pool(loop, go.wait) for _ in range(most())]
        jobs = [in_pool(loop, ran.append, i) for i in range(3)]
        jobs[1].cancel()
        go.set()
        await asyncio.gather(*blocked, *jobs, return_exceptions=True)
        assert jobs[1].cancelled()
        return ran

    assert sorted(run(main())) == [0, 2]


def test_a_job_that_is_cancelled_while_it_runs_comes_to_nothing(loop, run):
    told = []
    loop.set_exception_handler(lambda loop, context: told.append(context))

    async def main():
        began, go = threading.Event(), threading.Event()

        def work():
            began.set()
            go.wait()
            raise ValueError

        job = asyncio.ensure_future(iora.to_thread(work))
        while not began.is_set():
            await asyncio.sleep(0.001)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        go.set()
        await loop.shutdown_default_executor()

    run(main())
    assert told == []


def test_a_thread_wakes_a_loop_that_waits_and_one_that_does_not(loop, run):
    async def main():
        for turns in range(200):
            job = in_pool(loop, int)
            for _ in range(turns % 5):
                await asyncio.sleep(0)
            assert await job == 0

    run(main())


# ---- ends ----------------------------------------------------------------------------------------------

def test_shutdown_waits_for_what_runs_and_then_nothing_may_begin(loop):
    ended = []

    async def main():
        go = threading.Event()
        job = in_pool(loop, lambda: (go.wait(), ended.append(1)))
        loop.call_later(0.01, go.set)
        await loop.shutdown_default_executor()
        assert ended == [1] and not threads()
        await job
        for begin in lambda: in_pool(loop, int), iora.to_thread(int).__await__().__next__:
            with pytest.raises(RuntimeError, match="Executor shutdown"):
                begin()

    loop.run_until_complete(main())


def test_close_does_not_wait_and_nobody_hears_of_what_ends_later():
    loop = iora.new_event_loop()
    go = threading.Event()
    job = in_pool(loop, go.wait)
    loop.run_until_complete(in_pool(loop, int))
    loop.close()
    assert not job.done()
    go.set()
    for thread in threads():
        thread.join(20)
    assert not threads() and not job.done()
    with pytest.raises(RuntimeError, match="closed"):
        in_pool(loop, int)


def test_a_loop_that_is_dropped_takes_its_threads_with_it():
    loop = iora.new_event_loop()
    loop.run_until_complete(in_pool(loop, int))
    ref = weakref.ref(loop)
    with pytest.warns(ResourceWarning):
        del loop
        gc.collect()
    assert ref() is None
    for thread in threads():
        thread.join(20)
    assert not threads()


def test_the_interpreter_ends_with_threads_that_are_idle_and_after_those_that_are_not():
    assert program("""if True:
        import iora, time, warnings
        warnings.simplefilter("ignore")
        loop, other = iora.new_event_loop(), iora.new_event_loop()
        print(loop.run_until_complete(loop.run_in_executor(None, str, "idle")))
        other.run_in_executor(None, lambda: (time.sleep(0.1), print("busy", flush=True)))
        """) == ["idle", "busy"]


def test_a_forked_child_ends_without_the_threads_of_its_parent():
    assert program("""if True:
        import iora, os, warnings
        warnings.simplefilter("ignore")
        loop = iora.new_event_loop()
        loop.run_until_complete(loop.run_in_executor(None, int))
        if (pid := os.fork()) == 0:
            own = iora.new_event_loop()
            print(own.run_until_complete(own.run_in_executor(None, str, "child")), flush=True)
            own.close()
        else:
            print(os.waitpid(pid, 0)[1], loop.run_until_complete(loop.run_in_executor(None, str, "parent")))
        """) == ["child", "0", "parent"]


def test_a_job_lets_go_of_all_it_held(loop, run):
    class Held:
        def __call__(self):
            return self

        def fail(self):
            raise ValueError

    async def main():
        refs = []
        for end in lambda held: held, lambda held: held.fail:
            held = Held()
            refs.append(weakref.ref(held))
            try:
                await in_pool(loop, end(held))
            except ValueError:
                pass
            del held
        await asyncio.sleep(0)
        return [ref() for ref in refs]

    with without_collector():
        assert run(main()) == [None, None]


# ---- in the place of an executor -------------------------------------------------------------------------

def test_who_looks_at_the_executor_sees_one_which_is_used_from_then_on(loop, run):
    async def main():
        assert loop._default_executor is None
        go = threading.Event()
        early = in_pool(loop, go.wait)
        executor = loop._default_executor
        assert isinstance(executor, concurrent.futures.ThreadPoolExecutor)
        assert loop._default_executor is executor
        thread = await iora.to_thread(threading.current_thread)
        assert thread in executor._threads
        go.set()
        assert await early is True

    run(main())


def test_an_executor_that_was_set_is_used(loop, run):
    executor = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine")

    async def main():
        early = await iora.to_thread(threading.current_thread)
        loop.set_default_executor(executor)
        names = [(await to_thread(threading.current_thread)).name for to_thread in TO_THREAD]
        early.join(20)      # it has nothing to do any more
        return names, (await loop.run_in_executor(executor, threading.current_thread)).name

    assert run(main()) == (["mine_0"] * 2, "mine_0")


@pytest.mark.parametrize("to_thread", TO_THREAD)
def test_who_overrides_a_method_is_asked(to_thread):
    asked = []

    class Loop(iora.EventLoop):
        def run_in_executor(self, executor, func, *args):
            asked.append("run_in_executor")
            return super().run_in_executor(executor, func, *args)

        def call_soon_threadsafe(self, *args, **kwargs):
            asked.append(threading.current_thread().name)
            return super().call_soon_threadsafe(*args, **kwargs)

    async def main():
        return await to_thread(functools.partial(int, "7"))

    with asyncio.Runner(loop_factory=Loop) as runner:
        assert runner.run(main()) == 7
    assert asked[:2] == ["run_in_executor", "asyncio_0"]


def test_two_loops_have_threads_of_their_own():
    loops = [iora.new_event_loop() for _ in range(2)]
    found = {loop.run_until_complete(in_pool(loop, threading.get_ident)) for loop in loops}
    assert len(found) == 2
    for loop in loops:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def test_nothing_is_left_behind():
    async def main(loop):
        await asyncio.gather(*(in_pool(loop, str, i) for i in range(20)))
        for to_thread in TO_THREAD:
            with pytest.raises(ZeroDivisionError):
                await to_thread(divmod, 1, 0)
        go = threading.Event()
        jobs = [in_pool(loop, go.wait) for _ in range(most() + 5)]
        for job in jobs:
            job.cancel()
        go.set()
        await in_pool(loop, int)

    def once():
        loop = iora.new_event_loop()
        loop.run_until_complete(main(loop))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    check(once)
