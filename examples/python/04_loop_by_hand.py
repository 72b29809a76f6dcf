"""A loop made, used and closed by hand."""

import asyncio


def tick(loop, left):
    print(f"tick, {left} left")
    if left > 0:
        loop.call_later(0.01, tick, loop, left - 1)
    else:
        loop.stop()


async def answer():
    await asyncio.sleep(0)
    return 42


loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
try:
    loop.call_soon(tick, loop, 3)
    loop.run_forever()
    print("the answer is", loop.run_until_complete(answer()))
    print("computed by a thread:", loop.run_until_complete(loop.run_in_executor(None, sum, range(10))))
    loop.run_until_complete(loop.shutdown_default_executor())
finally:
    asyncio.set_event_loop(None)
    loop.close()
print("closed:", loop.is_closed())
