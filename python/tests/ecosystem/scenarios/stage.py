"""What the scenarios share: a stage for scenes. Each runs in a loop of its own, and says what a program would see.

A scenario is a program. It gives its scenes, which are coroutine functions that take `say`, to play(), and prints a
line of JSON for each: what was said, then what was logged, warned of or left over. The run (../ecosystem.py)
plays it on asyncio and on iora and compares these lines, so nothing in them may depend on time, on addresses or
on who of two comes first where asyncio leaves that open.

A scenario for which the machine has no server says so instead: skipping_if_missing().
"""

import asyncio
import contextlib
import gc
import json
import logging
import re
import sys
import traceback
import warnings

SCENE_LIMIT_S = 40


class Missing(Exception):
    """Something that the machine does not have."""


@contextlib.contextmanager
def skipping_if_missing():
    try:
        yield
    except Missing as missing:
        print(json.dumps({"missing": str(missing)}), flush=True)


def _without_addresses(text):
    """What is before the first thing that another run would name otherwise."""
    return re.split(r"[<\[{(:\n]|0x", text)[0].strip()


class _Ear(logging.Handler):
    """Hears what is logged, and what is warned of; both come in any order."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.heard = []

    def emit(self, record):
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        self.heard.append(f"logged {record.name} {_without_addresses(record.getMessage())} {error}".rstrip())

    def warned(self, message, category, filename, lineno, file=None, line=None):
        self.heard.append(f"warned {category.__name__} {_without_addresses(str(message))}")

    def unraisable(self, what):
        self.heard.append(f"unraisable {type(what.exc_value).__name__}")


def _play(scene, ear):
    said = []
    error = None

    def say(*what):
        said.append(" ".join(map(str, what)))

    async def limited():
        await asyncio.wait_for(scene(say), SCENE_LIMIT_S)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        said.extend(sorted(f"left over {task.get_coro().__qualname__}" for task in left))

    try:
        asyncio.run(limited())
    except SystemExit as exit:
        said.append(f"exits with {exit.code}")
    except BaseException:
        error = traceback.format_exc()
    gc.collect()
    said += sorted(ear.heard)
    ear.heard.clear()
    print(json.dumps({"scene": scene.__name__, "said": said, "error": error}), flush=True)


def play(*scenes):
    """Play each scene that is named on the command line, or all."""
    ear = _Ear()
    logging.getLogger().addHandler(ear)
    warnings.simplefilter("always", ResourceWarning)
    warnings.showwarning = ear.warned
    sys.unraisablehook = ear.unraisable
    for scene in scenes:
        if not sys.argv[1:] or scene.__name__ in sys.argv[1:]:
            _play(scene, ear)


async def ends(awaitable):
    """How something ends, in a word: its result, or its exception's name."""
    try:
        return await awaitable
    except Exception as error:
        return type(error).__name__


async def until(condition, limit_s=10):
    """Wait until the condition holds, asking now and then: for what no event tells."""
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.005)
