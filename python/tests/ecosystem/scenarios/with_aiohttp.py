"""aiohttp, its server and its client."""

import asyncio
import contextlib
import hashlib
import os
import pathlib
import tempfile

import aiohttp
from aiohttp import web
from stage import ends, play, until

BIG = bytes(range(256)) * 32768  # 8 MiB


def digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


@contextlib.asynccontextmanager
async def serving(*routes, shutdown_timeout=5, unix=None, **kwargs):
    """A server with these routes; yields its runner and its address."""
    app = web.Application(client_max_size=2**20)
    app.add_routes(routes)
    runner = web.AppRunner(app, shutdown_timeout=shutdown_timeout, **kwargs)
    await runner.setup()
    site = web.UnixSite(runner, unix) if unix else web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner, "http://local" if unix else "http://127.0.0.1:{}".format(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def keep_alive(say):
    connections = set()

    async def hello(request):
        connections.add(request.transport)
        return web.json_response({"path": request.path, "said": await request.text()})

    async with serving(web.route("*", "/{any:.*}", hello)) as (_, url), aiohttp.ClientSession() as session:
        for i in range(5):
            async with session.post(f"{url}/{i}", data=f"body {i}") as response:
                say(response.status, await response.json(), response.headers["Content-Type"])
        say(len(connections))
        async with session.get(url, headers={"Connection": "close"}) as response:
            say(response.status, (await response.json())["path"])
        async with session.get(url) as response:
            say(response.status, len(connections))


async def bodies_in_chunks(say):
    async def echo(request):
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        async for chunk in request.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response

    async def chunks(n, size):
        for i in range(n):
            yield bytes([i % 256]) * size
            await asyncio.sleep(0)

    async with serving(web.post("/", echo)) as (_, url), aiohttp.ClientSession() as session:
        for n, size in (3, 1), (100, 10_000), (20, 300_000):
            async with session.post(url, data=chunks(n, size)) as response:
                got = await response.read()
                say(response.headers["Transfer-Encoding"], len(got), digest(got))


async def a_slow_reader_and_a_fast_writer(say):
    async def stream(request):
        response = web.StreamResponse(headers={"Content-Length": str(len(BIG))})
        await response.prepare(request)
        for start in range(0, len(BIG), 65536):
            await response.write(BIG[start:start + 65536])
        return response

    async with serving(web.get("/", stream)) as (_, url), aiohttp.ClientSession(read_bufsize=4096) as session:
        async with session.get(url) as response:
            got = bytearray()
            while chunk := await response.content.read(100_000):
                got += chunk
                await asyncio.sleep(0.0005)
            say(len(got), digest(got))


async def uploads(say):
    async def upload(request):
        fields = []
        async for part in await request.multipart():
            data = await part.read()
            fields.append((part.name, part.filename, len(data), digest(data)))
        return web.json_response(fields)

    async def raw(request):
        return web.Response(text=digest(await request.read()))

    async with serving(web.post("/form", upload), web.post("/raw", raw)) as (_, url), \
            aiohttp.ClientSession() as session:
        form = aiohttp.FormData({"text": "some"})
        form.add_field("file", BIG[:500_000], filename="big.bin")
        async with session.post(url + "/form", data=form) as response:
            say(response.status, await response.text())
        async with session.post(url + "/raw", data=BIG[:1_000_000], expect100=True) as response:
            say(response.status, await response.text())
        async with session.post(url + "/raw", data=BIG) as response:
            say(response.status, response.reason)


async def files(say):
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "big.bin").write_bytes(BIG)
        pathlib.Path(folder, "small.txt").write_text("small")
        async with serving(web.static("/", folder)) as (_, url), aiohttp.ClientSession() as session:
            for name, headers in ("small.txt", {}), ("big.bin", {}), ("big.bin", {"Range": "bytes=1000-1999"}), \
                    ("none", {}):
                async with session.get(f"{url}/{name}", headers=headers) as response:
                    got = await response.read()
                    say(name, response.status, len(got), digest(got))


async def websockets(say):
    closed = asyncio.Queue()

    async def chat(request):
        ws = web.WebSocketResponse(heartbeat=5)
        await ws.prepare(request)
        async for message in ws:
            if message.type == aiohttp.WSMsgType.TEXT:
                if message.data == "close":
                    await ws.close(code=4000, message=b"as you like")
                else:
                    await ws.send_str(message.data.upper())
            elif message.type == aiohttp.WSMsgType.BINARY:
                await ws.send_bytes(message.data[::-1])
        await closed.put(ws.close_code)
        return ws

    async with serving(web.get("/", chat)) as (_, url), aiohttp.ClientSession() as session:
        async with session.ws_connect(url) as ws:
            await ws.send_str("hello")
            say((await ws.receive()).data)
            await ws.send_bytes(BIG[:1_000_000])
            say(digest((await ws.receive()).data))
            await ws.ping(b"there?")
            for i in range(500):
                await ws.send_str(f"message {i}")
            say([(await ws.receive()).data for _ in range(500)] == [f"MESSAGE {i}" for i in range(500)])
        say(ws.close_code, await closed.get())
        async with session.ws_connect(url, compress=15) as ws:
            await ws.send_str("close")
            message = await ws.receive()
            say(message.type.name, message.data, message.extra, ws.close_code, await closed.get())
        ws = await session.ws_connect(url)
        ws._response.connection.transport.abort()
        say("dropped", await asyncio.wait_for(closed.get(), 5))
        await ws.close()

        async def talk(i):
            async with session.ws_connect(url) as ws:
                for j in range(10):
                    await ws.send_str(f"{i} {j}")
                return [(await ws.receive()).data for _ in range(10)] == [f"{i} {j}" for j in range(10)]

        say(all(await asyncio.gather(*(talk(i) for i in range(40)))))


async def a_client_goes(say):
    events = asyncio.Queue()

    async def slow(request):
        try:
            await events.put("began")
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            await events.put("handler cancelled")
            raise

    async def endless(request):
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        except BaseException:
            events.put_nowait("writing ends")
            raise

    async def half(request):
        try:
            await request.read()
        except BaseException:
            events.put_nowait("reading ends")
            raise

    routes = web.get("/slow", slow), web.get("/endless", endless), web.post("/half", half)
    async with serving(*routes, handler_cancellation=True) as (runner, url), aiohttp.ClientSession() as session:
        request = asyncio.create_task(session.get(url + "/slow"))
        say(await events.get())
        request.cancel()
        say(await events.get(), [type(e).__name__ for e in await asyncio.gather(request, return_exceptions=True)])
        async with session.get(url + "/endless") as response:
            say(len(await response.content.readexactly(300_000)))
        say(await events.get())
        _, writer = await asyncio.open_connection("127.0.0.1", runner.addresses[0][1])
        writer.write(b"POST /half HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        await writer.wait_closed()
        say(await asyncio.wait_for(events.get(), 5))


async def a_server_goes(say):
    async def server(reader, writer):
        request = await reader.readuntil(b"\r\n\r\n")
        if b"/none" in request:
            writer.transport.abort()
        elif b"/half" in request:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        elif b"/chunk" in request:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        elif b"/nonsense" in request:
            writer.write(b"nonsense\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(server, "127.0.0.1", 0) as listening, aiohttp.ClientSession() as session:
        url = "http://127.0.0.1:{}".format(listening.sockets[0].getsockname()[1])

        async def fetch(path):
            async with session.get(url + path) as response:
                return await response.read()

        for path in "/none", "/half", "/chunk", "/nonsense", "/empty":
            say(path, await ends(fetch(path)))
    say(await refused())


async def refused():
    async with aiohttp.ClientSession() as session:
        try:
            await session.get("http://127.0.0.1:1/")
        except aiohttp.ClientConnectorError as error:
            return error.errno, str(error)


async def timeouts(say):
    async def slow(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun")
        await asyncio.sleep(30)

    async def silent(request):
        await asyncio.sleep(30)

    async with serving(web.get("/slow", slow), web.get("/silent", silent), shutdown_timeout=0.1) as (_, url), \
            aiohttp.ClientSession() as session:
        async def fetch(path, **limits):
            async with session.get(url + path, timeout=aiohttp.ClientTimeout(**limits)) as response:
                return await response.read()

        say(await ends(fetch("/silent", total=0.05)))
        say(await ends(fetch("/slow", total=0.1)))
        say(await ends(fetch("/slow", total=None, sock_read=0.05)))
        say(await ends(asyncio.wait_for(fetch("/slow"), 0.05)))
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=connector) as one, one.get(url + "/slow"):
            say(await ends(one.get(url + "/slow", timeout=aiohttp.ClientTimeout(connect=0.05))))


async def a_server_waits_for_its_last_requests(say):
    began, go_on = asyncio.Event(), asyncio.Event()

    async def work(request):
        began.set()
        await go_on.wait()
        return web.Response(text="finished")

    async with aiohttp.ClientSession() as session:
        async with serving(web.get("/", work)) as (runner, url):
            request = asyncio.create_task(session.get(url))
            await began.wait()
            stopping = asyncio.create_task(runner.cleanup())
            await asyncio.sleep(0.02)
            say(await ends(refuses(url)), stopping.done())
            go_on.set()
            async with await request as response:
                say(response.status, await response.text())
            await stopping
    say("stopped")


async def refuses(url):
    async with aiohttp.ClientSession() as other, other.get(url) as response:
        return response.status


async def a_server_gives_up_on_its_last_requests(say):
    began = asyncio.Event()
    sockets = set()

    async def forever(request):
        began.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            say("cancelled")
            raise

    async def chat(request):
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        sockets.add(ws)
        async for _ in ws:
            pass
        return ws

    async def send_away():
        for ws in sockets:
            await ws.close(code=aiohttp.WSCloseCode.GOING_AWAY)

    async with aiohttp.ClientSession() as session:
        async with serving(web.get("/", forever), web.get("/chat", chat), shutdown_timeout=0.1) as (_, url):
            ws = await session.ws_connect(url + "/chat")
            request = asyncio.create_task(ends(session.get(url)))
            await began.wait()
            await until(lambda: sockets)
            closing = asyncio.create_task(send_away())
            message = await ws.receive()
            await closing
            say(message.type.name, message.data)
        say(await request)


async def a_hundred_clients_and_ten_connections(say):
    connections = set()

    async def square(request):
        connections.add(request.transport)
        await asyncio.sleep(0.001)
        return web.Response(text=str(int(request.match_info["n"]) ** 2))

    connector = aiohttp.TCPConnector(limit=10)
    async with serving(web.get("/{n}", square)) as (_, url), aiohttp.ClientSession(connector=connector) as session:
        async def fetch(n):
            async with session.get(f"{url}/{n}") as response:
                return int(await response.text())

        say(await asyncio.gather(*(fetch(n) for n in range(100))) == [n * n for n in range(100)])
        say(len(connections) <= 10)


async def answers_go_to_whom_they_belong(say):
    async def echo(request):
        await asyncio.sleep(0)
        return web.Response(text=request.match_info["n"])

    async with serving(web.get("/{n}", echo)) as (_, url), aiohttp.ClientSession() as session:
        async def fetch(n):
            async with session.get(f"{url}/{n}") as response:
                text = await response.text()
                assert text == str(n), (n, text)

        for i in range(200):
            task = asyncio.create_task(fetch(i))
            for _ in range(i % 12):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await fetch(1000 + i)
        say("all of them")


async def by_a_unix_socket(say):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")

        async def hello(request):
            return web.Response(text=str(request.remote))

        async with serving(web.get("/", hello), unix=path) as (_, url), \
                aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session:
            async with session.get(url) as response:
                say(response.status, repr(await response.text()))
        say(os.path.exists(path))


async def handlers_fail(say):
    async def fails(request):
        raise ZeroDivisionError

    async def late(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"some")
        raise ZeroDivisionError

    async def forbidden(request):
        raise web.HTTPForbidden(text="no")

    routes = web.get("/fails", fails), web.get("/late", late), web.get("/forbidden", forbidden)
    async with serving(*routes) as (_, url), aiohttp.ClientSession() as session:
        async def fetch(path):
            async with session.get(url + path) as response:
                return response.status, len(await response.read())

        for path in "/fails", "/late", "/forbidden", "/nowhere":
            say(path, await ends(fetch(path)))
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"nonsense\r\n\r\n")
        say(await reader.readline())
        writer.close()
        await writer.wait_closed()


async def requests_in_a_pipeline(say):
    async def number(request):
        await asyncio.sleep(0.001)
        return web.Response(text=request.path[1:])

    async with serving(web.get("/{n}", number)) as (_, url):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.writelines(f"GET /{n} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for n in range(20))
        bodies = []
        for _ in range(20):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            bodies.append((await reader.readexactly(length)).decode())
        say(bodies == [str(n) for n in range(20)])
        writer.close()
        await writer.wait_closed()


if __name__ == "__main__":
    play(keep_alive, bodies_in_chunks, a_slow_reader_and_a_fast_writer, uploads, files, websockets, a_client_goes,
         a_server_goes, timeouts, a_server_waits_for_its_last_requests, a_server_gives_up_on_its_last_requests,
         a_hundred_clients_and_ten_connections, answers_go_to_whom_they_belong, by_a_unix_socket, handlers_fail,
         requests_in_a_pipeline)
