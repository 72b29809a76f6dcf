"""A crawler: four workers, a queue, and a small site of its own to look at."""

import asyncio
import re

SITE = {
    "/": '<a href="/people">People</a> <a href="/places">Places</a>',
    "/people": '<a href="/">Home</a> <a href="/people/ada">Ada</a> <a href="/people/ben">Ben</a>',
    "/people/ada": '<a href="/places/cork">lives here</a>',
    "/people/ben": '<a href="/places/delft">lives here</a> <a href="/people/cem">a friend</a>',
    "/places": '<a href="/places/cork">Cork</a> <a href="/places/delft">Delft</a>',
    "/places/cork": '<a href="/">Home</a>',
    "/places/delft": '<a href="/">Home</a>',
}


async def serve(reader, writer):
    request = await reader.readuntil(b"\r\n\r\n")
    path = request.split()[1].decode()
    body = SITE.get(path, "nothing here").encode()
    status = "200 OK" if path in SITE else "404 Not Found"
    await asyncio.sleep(0.01)
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode())
    writer.write(body)
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def fetch(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = int(re.search(r"Content-Length: (\d+)", head)[1])
    body = (await reader.readexactly(length)).decode()
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body


async def work(port, paths, pages):
    while True:
        path = await paths.get()
        try:
            status, body = await asyncio.wait_for(fetch(port, path), 5)
            links = re.findall(r'href="([^"]+)"', body)
            pages[path] = status, len(links)
            for link in links:
                if link not in pages:
                    pages[link] = None
                    paths.put_nowait(link)
        finally:
            paths.task_done()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    paths, pages = asyncio.Queue(), {"/": None}
    paths.put_nowait("/")
    async with server:
        workers = [asyncio.create_task(work(port, paths, pages)) for _ in range(4)]
        await paths.join()
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    for path, (status, links) in sorted(pages.items()):
        print(f"{status} {path:<14} {links} link{'s' if links != 1 else ''}")
    print(f"{len(pages)} pages")


asyncio.run(main())
