"""What the threads of a loop (ext/pool.c) need of Python: to be made, to end before the interpreter does."""

import concurrent.futures
import os
import threading
import weakref

_pools = weakref.WeakSet()


def register(pool):
    """A pool that is to end with the interpreter; how many threads it may have, as concurrent.futures has it."""
    _pools.add(pool)
    count = getattr(os, "process_cpu_count", os.cpu_count)
    return min(32, (count() or 1) + 4)


def start_thread(pool, lock, threads):
    """One more among these, which runs when this returns."""
    thread = threading.Thread(target=pool._work, args=(lock,), name=f"asyncio_{len(threads)}")
    threads.append(thread)
    try:
        thread.start()
    except BaseException:
        if not thread.is_alive():
            threads.remove(thread)
        raise


def make_executor():
    """What asyncio has in the place of a pool."""
    return concurrent.futures.ThreadPoolExecutor(thread_name_prefix="asyncio")


def _end_all():
    pools = list(_pools)
    for pool in pools:
        pool.shutdown(wait=False)
    for pool in pools:
        pool.shutdown(wait=True)


# As concurrent.futures does: threads that wait for something to do would be waited for without end.
threading._register_atexit(_end_all)
