"""The event loop that users see."""

import asyncio

from . import _c
from ._net import Net
from ._rare import Rare


class EventLoop(_c.Loop, Net, Rare, asyncio.AbstractEventLoop):
    """asyncio's event loop, on iora's core."""


def new_event_loop():
    """A new loop: what asyncio.Runner and others take as loop_factory."""
    return EventLoop()
