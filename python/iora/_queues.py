"""The queues that users see: C below, asyncio's names and classes above."""

import asyncio

from . import _c

__all__ = ["LifoQueue", "PriorityQueue", "Queue", "QueueShutDown"]

try:
    from asyncio import QueueShutDown
except ImportError:  # before 3.13

    class QueueShutDown(Exception):
        """Raised when putting into, or getting from, a queue that was shut down."""


class Queue(_c.Queue, asyncio.Queue):
    """asyncio.Queue in C."""

    __slots__ = ()


class LifoQueue(_c.LifoQueue, Queue, asyncio.LifoQueue):
    """asyncio.LifoQueue in C."""

    __slots__ = ()


class PriorityQueue(_c.PriorityQueue, Queue, asyncio.PriorityQueue):
    """asyncio.PriorityQueue in C."""

    __slots__ = ()
