"""Catches what _asyncio's tasks ask a loop for, so that it is known again (ext/step.c).

A task of a loop that is none waits for a future, and is run by hand: what it asked for to begin with is a step,
what it asks for once the future is done a wake-up. It has ended before we leave. If anything is not as we know
it, everything stays with handles.
"""

import _asyncio
import os
from asyncio import events

from . import _c


class _Recorder:
    """As much of a loop as a task asks for."""

    def __init__(self):
        self.asked = []

    def call_soon(self, *call, context=None):
        self.asked.append(call)

    def get_debug(self):
        return False

    def is_running(self):
        return True

    def call_exception_handler(self, context):
        pass


async def _wait_for(future):
    await future


def _catch():
    """A task, its step, its wake-up."""
    loop = _Recorder()
    future = _asyncio.Future(loop=loop)
    waiting = _wait_for(future)
    task = _asyncio.Task(waiting, loop=loop, name="steps")  # the first number is for the program's first
    running = events._get_running_loop()
    events._set_running_loop(loop)
    try:
        (step,), = loop.asked
        step()
        future.set_result(None)
        _, (wake_up, _) = loop.asked
        wake_up(future)
    finally:
        events._set_running_loop(running)
        task._log_destroy_pending = False
        waiting.close()
    return task, step, wake_up


def _know_steps():
    if os.environ.get("IORA_NO_STEP") == "1":
        return False
    try:
        return _c._know_steps(*_catch())
    except Exception:
        return False


known = _know_steps()
