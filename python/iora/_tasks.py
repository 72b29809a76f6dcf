"""What asyncio has round tasks, in C; and asyncio's classes over it where users see one."""

import asyncio
import sys
from asyncio import tasks

from . import _c
from ._c import (
    all_tasks, as_completed, create_task, current_task, ensure_future, gather, get_running_loop,
    run_coroutine_threadsafe, shield, sleep, timeout, timeout_at, to_thread, wait, wait_for, wrap_future)

__all__ = [
    "TaskGroup", "Timeout", "all_tasks", "as_completed", "create_task", "current_task", "ensure_future",
    "gather", "get_running_loop", "run_coroutine_threadsafe", "shield", "sleep", "timeout", "timeout_at",
    "to_thread", "wait", "wait_for", "wrap_future"]


class TaskGroup(_c.TaskGroup, asyncio.TaskGroup):
    """asyncio.TaskGroup in C, as of 3.15."""

    __slots__ = ()


class Timeout(_c.Timeout, asyncio.Timeout):
    """asyncio.Timeout in C."""

    __slots__ = ()


_c._set_timeout_class(Timeout)


if (3, 12) <= sys.version_info < (3, 14):  # before, tasks cannot; later, asyncio's own does so
    __all__ += ["create_eager_task_factory", "eager_task_factory"]

    def create_eager_task_factory(custom_task_constructor):
        """A factory of tasks that run at once until they wait, unless create_task() says eager_start=False."""
        def factory(loop, coro, *, eager_start=True, **kwargs):
            return custom_task_constructor(coro, loop=loop, eager_start=eager_start, **kwargs)

        return factory

    eager_task_factory = create_eager_task_factory(asyncio.Task)


async def _wrap_awaitable(awaitable):
    return await awaitable


def _register_in_c():
    """Have tasks enter the WeakSets of _asyncio without a step in Python. From 3.14 on there are none."""
    for name in ("_all_tasks", "_scheduled_tasks"):
        weak_set = getattr(tasks, name, None)
        if weak_set is not None and "add" not in vars(weak_set):
            weak_set.add = _c._registrar_of(weak_set)


_register_in_c()
