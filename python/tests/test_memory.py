"""What must go well without memory, for there is nobody whom a failure could be told: each in a process of its own, in which
the interpreter (_testcapi) refuses all memory from some point on. That every other place ends well or with MemoryError is
seen by fault/sweep.py."""

import os
import subprocess
import sys
import textwrap

import pytest

_testcapi = pytest.importorskip("_testcapi", reason="the interpreter came without its own tests' module")

BEFORE = """
    import asyncio, signal, socket, sys
    from _testcapi import remove_mem_hooks, set_nomemory
    import iora

    class Protocol(asyncio.Protocol):
        def __init__(self):
            self.lost = asyncio.get_running_loop().create_future()

        def connection_lost(self, exception):
            self.lost.set_result(exception)

    loop = iora.new_event_loop()
    seen = []
    """


def program(text, **environment):
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(BEFORE) + textwrap.dedent(text)],
                          capture_output=True, text=True, timeout=30, check=False,
                          env={**os.environ, "PYTHONPATH": ":".join(sys.path), **environment})
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_a_timer_that_is_due_finds_room_in_a_full_ring():
    assert program("""
        def fill():
            loop.call_later(0, seen.append, "timer")
            loop.call_soon(remove_mem_hooks)
            for _ in range(62):
                loop.call_soon(int)
            loop.call_soon(seen.append, "last")
            set_nomemory(0)

        loop.call_soon(fill)
        loop.call_later(0.01, loop.stop)
        loop.run_forever()
        loop.close()
        print(*seen)
        """, IORA_POLL_EVERY_TURN="1") == ["last", "timer"]


def test_a_reader_that_is_ready_finds_room_in_a_full_ring():
    assert program("""
        a, b = socket.socketpair()
        b.send(b"x")

        def read():
            seen.append("reader")
            loop.remove_reader(a)
            loop.stop()

        def fill():
            loop.add_reader(a, read)
            loop.call_soon(remove_mem_hooks)
            for _ in range(63):
                loop.call_soon(int)
            set_nomemory(0)

        loop.call_soon(fill)
        loop.run_forever()
        loop.close()
        a.close()
        b.close()
        print(*seen)
        """, IORA_POLL_EVERY_TURN="1") == ["reader"]


@pytest.mark.parametrize("end", ["abort", "close"])
def test_connection_lost_is_called_though_it_could_not_be_scheduled_at_first(end):
    assert program(f"""
        async def main():
            a, b = socket.socketpair()
            transport, protocol = await loop.create_connection(Protocol, sock=a)
            held = [loop.call_soon(int) for _ in range(1000)]  # what was kept of handles and contexts is used up
            leave = transport.{end}
            set_nomemory(0)
            try:
                leave()
            finally:
                remove_mem_hooks()
            print(await asyncio.wait_for(protocol.lost, 10), a.fileno())
            b.close()

        loop.run_until_complete(main())
        loop.close()
        """) == ["None", "-1"]


def test_a_loop_that_ends_puts_back_what_it_found():
    """However many allocations fail from stop() on."""
    assert program("""
        def leave(failures):
            loop.stop()
            set_nomemory(0, failures)

        sys.stderr = None  # that it could not be said who was running may be told there
        for failures in range(1, 20):
            loop.call_soon(leave, failures)
            try:
                loop.run_forever()
            except MemoryError:
                pass
            remove_mem_hooks()
            seen.append((*sys.get_asyncgen_hooks(), signal.set_wakeup_fd(-1),
                         loop.run_until_complete(asyncio.sleep(0, 5))))
        loop.close()
        print(set(seen))
        """) == "{(None, None, -1, 5)}".split()


def test_a_thread_hands_back_what_came_of_a_call():
    assert program("""
        import threading, time

        def works():
            is_waiting.wait()
            seen.extend([loop.call_soon(int) for _ in range(1000)])  # nothing is kept for the next
            set_nomemory(0)

        def watch():
            while not future.done():  # this asks for nothing
                time.sleep(pause)
            remove_mem_hooks()
            loop.call_soon_threadsafe(loop.stop)

        pause, is_waiting = 0.001, threading.Event()
        sys.setswitchinterval(100)  # no other thread before the loop waits
        loop.run_until_complete(loop.run_in_executor(None, int))
        watching = threading.Thread(target=watch)
        future = loop.run_in_executor(None, works)
        watching.start()
        loop.call_soon(is_waiting.set)
        loop.run_forever()
        watching.join()
        print(future.result())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        """) == ["None"]
