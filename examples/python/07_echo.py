"""A server that echoes lines, and its clients."""

import asyncio


async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def talk(port, name):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard = []
    for word in ["one", "two", "three"]:
        writer.write(f"{name} says {word}\n".encode())
        await writer.drain()
        heard.append((await reader.readline()).decode().strip())
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    return heard


async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        for heard in await asyncio.gather(*(talk(port, name) for name in ["Ada", "Ben", "Cem"])):
            print("\n".join(heard))
    print("the server is closed")


asyncio.run(main())
