"""What goes wrong, and who hears of it."""

import asyncio


async def work(name, seconds, error=None):
    try:
        await asyncio.sleep(seconds)
        if error is not None:
            raise error
        print(f"  {name} is done")
        return name
    except asyncio.CancelledError:
        print(f"  {name} was cancelled")
        raise


async def main():
    print("One that is awaited:")
    try:
        await work("first", 0.01, ValueError("no such thing"))
    except ValueError as exc:
        print(f"  {type(exc).__name__}: {exc}")

    print("gather(return_exceptions=True), which cancels nothing:")
    print(" ", await asyncio.gather(work("first", 0.01), work("second", 0.02, OSError("unplugged")),
                                    work("third", 0.03), return_exceptions=True))

    print("A deadline:")
    try:
        async with asyncio.timeout(0.01):
            await work("first", 1)
    except TimeoutError:
        print("  too late")

    print("A group, which fails fast:")
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(work("first", 1))
            group.create_task(work("second", 0.01, OSError("unplugged")))
    except* OSError as caught:
        print(f"  {caught.exceptions}")


asyncio.run(main())
