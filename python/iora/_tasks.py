"""What asyncio has round tasks, in C; and asyncio's classes over it where users see one."""

import asyncio
from asyncio import tasks

from . import _c
from ._c import (
    all_tasks, as_completed, create_task, current_task, ensure_future, gather, get_running_loop,
    run_coroutine_threadsafe, shield, sleep, timeout, timeout_at, to_thread, wait, wait_for, wrap_future)

__all__ = (
    "TaskGroup", "Timeout", "all_tasks", "as_completed", "create_task", "current_task", "ensure_future",
    "gather", "get_running_loop", "run_coroutine_threadsafe", "shield", "sleep", "timeout", "timeout_at",
    "to_thread", "wait", "wait_for", "wrap_future")


class TaskGroup(_c.TaskGroup, asyncio.TaskGroup):
    """asyncio.TaskGroup in C, as of 3.15."""

    __slots__ = ()


class Timeout(_c.Timeout, asyncio.Timeout):
    """asyncio.Timeout in C."""

    __slots__ = ()


_c._set_timeout_class(Timeout)


async def _wrap_awaitable(awaitable):
    return await awaitable


def _register_in_c():
    """Have tasks enter the WeakSets of _asyncio without a step in Python. From 3.14 on there are none."""
    for name in ("_all_tasks", "_scheduled_tasks"):
        weak_set = getattr(tasks, name, None)
        if weak_set is not None and "add" not in vars(weak_set):
            weak_set.add = _c._registrar_of(weak_set)


_register_in_c()
