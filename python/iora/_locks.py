"""The locks that users see: C below, asyncio's names and classes above."""

import asyncio

from . import _c


class Event(_c.Event, asyncio.Event):
    """asyncio.Event in C."""

    __slots__ = ()
