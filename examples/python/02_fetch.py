"""Two things to wait for, and the time of one."""

import asyncio


async def fetch_url(url):
    print(f"Fetching {url}...")
    await asyncio.sleep(1)
    return f"Data from {url}"


async def main():
    loop = asyncio.get_running_loop()
    began = loop.time()
    print(await asyncio.gather(fetch_url("http://example.com"), fetch_url("http://example.org")))
    print(f"took {loop.time() - began:.1f} s")


asyncio.run(main())
