"""Pages that are fetched as they are asked for."""

import asyncio
import contextlib

PAGES = [["Aachen", "Bergen"], ["Cork", "Delft"], ["Evora", "Funchal"]]


async def cities():
    try:
        for number, page in enumerate(PAGES, 1):
            await asyncio.sleep(0.01)
            print(f"  (page {number} is fetched)")
            for city in page:
                yield city
    finally:
        await asyncio.sleep(0)
        print("  (the source is closed)")


async def main():
    print("All cities:")
    async for city in cities():
        print(f"  {city}")
    print("The first with a C:")
    async with contextlib.aclosing(cities()) as source:
        async for city in source:
            if city.startswith("C"):
                print(f"  {city}")
                break


asyncio.run(main())
