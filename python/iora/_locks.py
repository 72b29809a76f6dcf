"""The locks that users see: C below, asyncio's names and classes above."""

import asyncio

from . import _c

__all__ = ["Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "Semaphore"]


class Lock(_c.Lock, asyncio.Lock):
    """asyncio.Lock in C."""

    __slots__ = ()


class Event(_c.Event, asyncio.Event):
    """asyncio.Event in C."""

    __slots__ = ()


class Condition(_c.Condition, asyncio.Condition):
    """asyncio.Condition in C."""

    __slots__ = ()


class Semaphore(_c.Semaphore, asyncio.Semaphore):
    """asyncio.Semaphore in C."""

    __slots__ = ()


class BoundedSemaphore(_c.BoundedSemaphore, Semaphore, asyncio.BoundedSemaphore):
    """asyncio.BoundedSemaphore in C."""

    __slots__ = ()


class Barrier(_c.Barrier, asyncio.Barrier):
    """asyncio.Barrier in C."""

    __slots__ = ()
