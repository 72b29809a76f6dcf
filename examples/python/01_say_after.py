"""One after the other, and at the same time."""

import asyncio
import time


async def say_after(delay, what):
    await asyncio.sleep(delay)
    print(f"  {what}", flush=True)


async def in_sequence():
    await say_after(0.5, "hello")
    await say_after(1, "world")


async def as_tasks():
    hello = asyncio.create_task(say_after(0.5, "hello"))
    world = asyncio.create_task(say_after(1, "world"))
    await hello
    await world


async def as_a_group():
    async with asyncio.TaskGroup() as group:
        group.create_task(say_after(0.5, "hello"))
        group.create_task(say_after(1, "world"))


async def main():
    for title, way in [("In sequence", in_sequence), ("As tasks", as_tasks), ("As a group", as_a_group)]:
        print(f"{title}:")
        began = time.monotonic()
        await way()
        print(f"took {time.monotonic() - began:.1f} s")


asyncio.run(main())
