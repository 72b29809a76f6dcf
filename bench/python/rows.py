"""The rows of the Python bench that are a loop's own: each does what it is about n times.

A row binds what it calls to local names, as a program in a hurry would, so that what is measured is
not the look-up.  Where tasks are asked in hundreds, a figure is for one of the hundred.
"""

import asyncio
import threading
import time
from contextlib import contextmanager, nullcontext

SPAN_NS = 200_000_000       # for which a row is measured
FIRST_NS = 20_000_000       # as long has to be what the number of that is reckoned from
FEW = 100                   # tasks at once


async def measure(row):
    """Wall and CPU nanoseconds for one of what it does."""
    around = AROUND.get(row.__name__, nullcontext)
    with around():
        count = 2 * FEW
        while (spent := (await clocked(row, count))[0]) < FIRST_NS:
            count *= 2
        count = max(FEW, count * SPAN_NS // spent // FEW * FEW)
        wall, cpu = await clocked(row, count)
    return wall / count, cpu / count


async def clocked(row, count):
    wall, cpu = time.perf_counter_ns(), time.process_time_ns()
    await row(count)
    return time.perf_counter_ns() - wall, time.process_time_ns() - cpu


async def nothing():
    pass


def no_op():
    pass


async def call_soon(n):
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    soon = loop.call_soon

    def step():
        nonlocal n
        n -= 1
        if n:
            soon(step)
        else:
            done.set_result(None)

    soon(step)
    await done


async def call_later_cancel(n):
    later, sleep = asyncio.get_running_loop().call_later, asyncio.sleep
    for _ in range(n // FEW):
        for _ in range(FEW):
            later(60, no_op).cancel()
        await sleep(0)          # a chance to throw the cancelled away


async def sleep0(n):
    sleep = asyncio.sleep

    async def sleeper():
        for _ in range(n // FEW):
            await sleep(0)

    await asyncio.gather(*[sleeper() for _ in range(FEW)])


async def create_task(n):
    create = asyncio.create_task
    for _ in range(n):
        await create(nothing())


async def gather(n):
    all_of = asyncio.gather
    for _ in range(n // FEW):
        await all_of(*[nothing() for _ in range(FEW)])


async def task_group(n):
    new_group = asyncio.TaskGroup
    for _ in range(n // FEW):
        async with new_group() as group:
            create = group.create_task
            for _ in range(FEW):
                create(nothing())


async def queue_ready(n):
    queue = asyncio.Queue()
    put, get = queue.put, queue.get
    for _ in range(n):
        await put(None)
        await get()


async def queue_hand_off(n):
    queue = asyncio.Queue(1)
    put, get = queue.put, queue.get

    async def produce():
        for _ in range(n):
            await put(None)

    producer = asyncio.create_task(produce())
    for _ in range(n):
        await get()
    await producer


async def lock(n):
    free = asyncio.Lock()
    for _ in range(n):
        async with free:
            pass


async def semaphore(n):
    free = asyncio.Semaphore(2)
    for _ in range(n):
        async with free:
            pass


async def timeout(n):
    within = asyncio.timeout
    for _ in range(n):
        async with within(60):
            pass


async def wait_for(n):
    wait = asyncio.wait_for
    for _ in range(n):
        await wait(nothing(), 60)


async def to_thread(n):
    run = asyncio.to_thread
    for _ in range(n):
        await run(no_op)


async def call_soon_threadsafe(n):
    loop = asyncio.get_running_loop()
    have_run, over = threading.Event(), asyncio.Event()

    def call():
        soon = loop.call_soon_threadsafe
        for _ in range(n // FEW):       # without a bound, the collector of so many handles is measured
            for _ in range(FEW - 1):
                soon(no_op)
            soon(have_run.set)
            have_run.wait()
            have_run.clear()
        soon(over.set)

    caller = threading.Thread(target=call)
    caller.start()
    await over.wait()
    caller.join()


async def turns_beside_thread(n):
    await call_soon(n)


@contextmanager
def a_thread_that_spins():
    is_over = False

    def spin():
        while not is_over:
            pass

    spinner = threading.Thread(target=spin)
    spinner.start()
    try:
        yield
    finally:
        is_over = True
        spinner.join()


AROUND = {"turns_beside_thread": a_thread_that_spins}
ROWS = {row.__name__: row for row in (
    call_soon, call_later_cancel, sleep0, create_task, gather, task_group, queue_ready,
    queue_hand_off, lock, semaphore, timeout, wait_for, to_thread, call_soon_threadsafe,
    turns_beside_thread)}
