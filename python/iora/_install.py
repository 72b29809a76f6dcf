"""Putting iora's loop in asyncio's place, for programs that cannot be given a loop_factory.

install() rebinds asyncio's names by identity, wherever asyncio itself holds them: in `asyncio` and in its
submodules, in no other package. What was imported from there before keeps working as it was. Up to 3.13 a
policy is set besides, which is what `asyncio.get_event_loop()` asks; from 3.14 on there is none to set.
"""

import asyncio
import sys
import threading
from asyncio import events

from . import _locks, _queues, _streams, _tasks
from ._loop import EventLoop, new_event_loop

# What each names in __all__ takes the place of what asyncio has by that name.
_IN_PLACE_OF_ASYNCIO = [_locks, _queues, _streams, _tasks]

_lock = threading.Lock()
_rebound = []  # (module's dict, name, what was there)
_policy = []  # the one that was there


def _replacements():
    replacements = {
        id(asyncio.SelectorEventLoop): EventLoop,
        id(asyncio.new_event_loop): new_event_loop,
    }
    for module in _IN_PLACE_OF_ASYNCIO:
        for name in module.__all__:
            old, new = getattr(asyncio, name, None), getattr(module, name)
            if old is not None and old is not new:
                replacements[id(old)] = new
    return replacements


def _asyncio_modules():
    return [module for name, module in list(sys.modules.items())
            if module is not None and (name == "asyncio" or name.startswith("asyncio."))]


def _make_policy():
    class Policy(asyncio.DefaultEventLoopPolicy):
        """asyncio's own, making loops of iora's."""

        _loop_factory = EventLoop

    return Policy()


def install():
    """Have asyncio make iora's loops. Twice is as good as once."""
    with _lock:
        if _rebound:
            return
        replacements = _replacements()
        for module in _asyncio_modules():
            names = vars(module)
            for name, value in list(names.items()):
                new = replacements.get(id(value))
                if new is not None:
                    _rebound.append((names, name, value))
                    names[name] = new
        if sys.version_info < (3, 14):
            _policy.append(events.get_event_loop_policy())
            asyncio.set_event_loop_policy(_make_policy())


def uninstall():
    """Undo install()."""
    with _lock:
        while _rebound:
            names, name, value = _rebound.pop()
            names[name] = value
        if _policy:
            asyncio.set_event_loop_policy(_policy.pop())
