"""Nine jobs, and never more than three at a time."""

import asyncio


class Workshop:
    def __init__(self, places):
        self.places = asyncio.Semaphore(places)
        self.busy = self.busy_max = 0

    async def job(self, number):
        async with self.places:
            self.busy += 1
            self.busy_max = max(self.busy_max, self.busy)
            await asyncio.sleep(0.05)
            self.busy -= 1
        return number * number


async def main():
    workshop = Workshop(3)
    results = await asyncio.gather(*(workshop.job(number) for number in range(9)))
    print(f"results: {results}")
    print(f"at most {workshop.busy_max} at a time")


asyncio.run(main())
