"""The servers of the Python bench: each says its address, and serves until its stdin ends.

They are what a program would be that is written for asyncio: nothing here knows which loop it runs on.
"""

import asyncio
import os
import socket
import threading

BACKLOG = 4096


async def serve(start):
    """Listens as the bench's other servers do (net/server.c), and serves by what `start` starts."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        listener.setblocking(False)
        address, port = listener.getsockname()
        stop = await start(listener)        # some loops take the descriptor away
        print(f"listening on {address}:{port}", flush=True)
        threading.Thread(target=wait_for_end, args=(loop, over), daemon=True).start()
        await over.wait()
        await stop()


def wait_for_end(loop, over):
    while os.read(0, 100):
        pass
    loop.call_soon_threadsafe(over.set)


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.write = transport.write

    def data_received(self, data):
        self.write(data)


async def protocol(listener):
    server = await asyncio.get_running_loop().create_server(Echo, sock=listener, backlog=BACKLOG)
    return stop_of(server)


async def streams(listener):
    async def echo(reader, writer):
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
        writer.close()

    return stop_of(await asyncio.start_server(echo, sock=listener, backlog=BACKLOG))


def stop_of(server):
    async def stop():
        server.close()

    return stop


async def aiohttp(listener):
    from aiohttp import web

    async def hello(request):
        return web.Response(text="Hello, world")

    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.SockSite(runner, listener, backlog=BACKLOG).start()
    return runner.cleanup


async def uvicorn(listener):
    import uvicorn as package

    headers = [(b"content-type", b"text/plain"), (b"content-length", b"12")]

    async def hello(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"Hello, world"})

    config = package.Config(hello, http="httptools", ws="none", lifespan="off", loop="none",
                            log_level="warning", access_log=False, backlog=BACKLOG)
    server = package.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)

    async def stop():
        server.should_exit = True
        await serving

    return stop


SERVERS = {"protocol": protocol, "streams": streams, "aiohttp": aiohttp, "uvicorn": uvicorn}
