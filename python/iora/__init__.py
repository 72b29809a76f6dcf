"""asyncio on a core in C: the same programs, for less CPU.

    asyncio.Runner(loop_factory=iora.new_event_loop)    the loop alone
    iora.run(main())                                    the same in short
    iora.install()                                      asyncio.run() and all makes such loops
    python -m iora program.py                           a program as it is

Everything else that asyncio has is here too, so `import iora as asyncio` works.
"""

import asyncio as _asyncio

from . import _locks, _queues, _steps, _streams, _tasks
from ._install import install, uninstall
from ._locks import *
from ._loop import EventLoop, new_event_loop
from ._queues import *
from ._streams import *
from ._tasks import *

__version__ = "0.1.0"


class Runner(_asyncio.Runner):
    """asyncio.Runner, with iora's loop unless another is asked for."""

    def __init__(self, *, debug=None, loop_factory=None):
        super().__init__(debug=debug, loop_factory=loop_factory or new_event_loop)


def run(main, *, debug=None, loop_factory=None):
    """Run a coroutine in a loop of its own, as asyncio.run() does."""
    if _asyncio._get_running_loop() is not None:
        raise RuntimeError("iora.run() cannot be called from a running event loop")
    with Runner(debug=debug, loop_factory=loop_factory) as runner:
        return runner.run(main)


_OURS = ["EventLoop", "Runner", "install", "new_event_loop", "run", "uninstall",
         *_locks.__all__, *_queues.__all__, *_streams.__all__, *_tasks.__all__]
__all__ = sorted({*_OURS, *_asyncio.__all__})


def __getattr__(name):
    return getattr(_asyncio, name)


def __dir__():
    return sorted({*globals(), *dir(_asyncio)})
