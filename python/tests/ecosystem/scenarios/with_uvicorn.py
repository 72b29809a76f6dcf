"""uvicorn with starlette; its clients are httpx, websockets and plain streams."""

import asyncio
import contextlib
import hashlib
import json
import os
import signal

import httpx
import uvicorn
import websockets
from stage import ends, play, until
from starlette.applications import Starlette
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

BIG = bytes(range(256)) * 16384  # 4 MiB


def digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


class Server(uvicorn.Server):
    @property
    def address(self):
        return "127.0.0.1:{}".format(self.servers[0].sockets[0].getsockname()[1])


@contextlib.asynccontextmanager
async def serving(*routes, lifespan=None, middleware=(), **kwargs):
    """A server with these routes in this loop; yields it, and the task that it runs in."""
    app = Starlette(routes=routes, lifespan=lifespan, middleware=middleware)
    server = Server(uvicorn.Config(app, **{"port": 0, "lifespan": "on", "log_level": "warning", **kwargs}))
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started or task.done())
    try:
        yield server, task
    finally:
        server.should_exit = True
        await task


def client(server):
    return httpx.AsyncClient(base_url=f"http://{server.address}", trust_env=False)


@contextlib.asynccontextmanager
async def raw(server):
    reader, writer = await asyncio.open_connection(*server.address.split(":"))
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


async def requests(say, http):
    async def echo(request):
        body = await request.body()
        return JSONResponse({"method": request.method, "query": str(request.query_params), "length": len(body),
                             "digest": digest(body)})

    async def fails(request):
        raise ZeroDivisionError

    methods = ["GET", "POST", "PUT", "DELETE"]
    async with serving(Route("/", echo, methods=methods), Route("/fails", fails), http=http) as (server, _), \
            client(server) as c:
        for method in methods:
            response = await c.request(method, "/", params={"a": "b"}, content=b"some" if method == "POST" else None)
            say(response.status_code, response.json())
        say((await c.post("/", content=BIG)).json())

        async def chunks():
            for i in range(50):
                yield bytes([i]) * 10_000

        say((await c.post("/", content=chunks())).json())
        say((await c.get("/none")).status_code, (await c.get("/fails")).status_code)
        got = await asyncio.gather(*(c.get("/", params={"n": n}) for n in range(100)))
        say([response.json()["query"] for response in got] == [f"n={n}" for n in range(100)])
        async with raw(server) as (reader, writer):
            writer.write(b"nonsense\r\n\r\n")
            say((await reader.readline()).split()[1], (await reader.read()) != b"")


async def requests_by_h11(say):
    await requests(say, "h11")


async def requests_by_httptools(say):
    await requests(say, "httptools")


async def requests_in_a_pipeline(say):
    async def number(request):
        await asyncio.sleep(0.001)
        return PlainTextResponse(request.path_params["n"])

    async with serving(Route("/{n}", number), http="httptools") as (server, _), raw(server) as (reader, writer):
        writer.writelines(f"GET /{n} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for n in range(20))
        bodies = []
        for _ in range(20):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            bodies.append((await reader.readexactly(length)).decode())
        say(bodies == [str(n) for n in range(20)])


async def streams_of_data(say):
    async def numbers(request):
        async def parts():
            for i in range(200):
                yield f"{i}\n"
                await asyncio.sleep(0)
        return StreamingResponse(parts())

    async def big(request):
        return StreamingResponse(BIG[i:i + 65536] for i in range(0, len(BIG), 65536))

    async with serving(Route("/numbers", numbers), Route("/big", big)) as (server, _), client(server) as c:
        async with c.stream("GET", "/numbers") as response:
            lines = [line async for line in response.aiter_lines()]
            say(len(lines), lines[-1], response.headers["transfer-encoding"])
        async with c.stream("GET", "/big") as response:
            got = bytearray()
            async for part in response.aiter_raw():
                got += part
                await asyncio.sleep(0.001)
            say(len(got), digest(got))


async def work_in_the_background(say):
    order = []

    async def note(what):
        await asyncio.sleep(0)
        order.append(what)

    async def later(request):
        tasks = BackgroundTasks()
        tasks.add_task(note, "first")
        tasks.add_task(order.append, "in a thread")
        tasks.add_task(note, "last")
        order.append("answered")
        return Response(background=tasks)

    async def fails(request):
        return Response(background=BackgroundTask(int, "no number"))

    async def threaded(request):
        return PlainTextResponse(await run_in_threadpool(lambda: "from a thread"))

    async with serving(Route("/", later), Route("/fails", fails), Route("/thread", threaded)) as (server, _), \
            client(server) as c:
        say((await c.get("/")).status_code)
        await until(lambda: len(order) == 4)
        say(order)
        async with client(server) as other:
            say((await other.get("/fails")).status_code)
        got = await asyncio.gather(*(c.get("/thread") for _ in range(50)))
        say({response.text for response in got})


async def a_life_span(say):
    @contextlib.asynccontextmanager
    async def lifespan(app):
        say("starts")
        ticks = asyncio.create_task(tick())
        yield {"greeting": "hello"}
        ticks.cancel()
        await asyncio.gather(ticks, return_exceptions=True)
        say("stops", ticks.cancelled())

    async def tick():
        while True:
            await asyncio.sleep(0.001)

    async def greet(request):
        return PlainTextResponse(request.state.greeting)

    async with serving(Route("/", greet), lifespan=lifespan) as (server, _), client(server) as c:
        say((await c.get("/")).text)
    say("stopped")


async def a_life_span_fails(say):
    @contextlib.asynccontextmanager
    async def lifespan(app):
        raise RuntimeError
        yield

    async with serving(lifespan=lifespan):
        say("does not come to this")


async def middleware_in_task_groups(say):
    class Stamp(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            response = await call_next(request)
            response.headers["x-stamp"] = request.url.path
            return response

    async def hello(request):
        return PlainTextResponse(str(len(await request.body())))

    async def fails(request):
        raise ZeroDivisionError

    async with serving(Route("/", hello, methods=["GET", "POST"]), Route("/fails", fails),
                       middleware=[Middleware(Stamp), Middleware(Stamp)]) as (server, _), client(server) as c:
        response = await c.post("/", content=b"x" * 100_000)
        say(response.status_code, response.text, response.headers["x-stamp"])
        say((await c.get("/fails")).status_code)
        got = await asyncio.gather(*(c.get("/") for _ in range(50)))
        say({(response.status_code, response.headers["x-stamp"]) for response in got})


async def a_websocket(say, ws):
    codes = asyncio.Queue()

    async def chat(socket):
        await socket.accept(subprotocol="chat" if "chat" in socket.scope["subprotocols"] else None)
        try:
            while True:
                message = await socket.receive_json()
                if message == "close":
                    await socket.close(4001, "as you like")
                    break
                await socket.send_json({"said": message})
        except WebSocketDisconnect as error:
            await codes.put(error.code)

    async def deny(socket):
        await socket.close()

    async def push(socket):
        await socket.accept()
        for i in range(500):
            await socket.send_text(f"{i}" + "x" * 1000)
        await socket.close()

    async with serving(WebSocketRoute("/", chat), WebSocketRoute("/deny", deny), WebSocketRoute("/push", push),
                       ws=ws) as (server, _):
        url = f"ws://{server.address}"
        async with websockets.connect(url, subprotocols=["chat"], proxy=None) as socket:
            for i in range(100):
                await socket.send(json.dumps(i))
            say([json.loads(await socket.recv())["said"] for _ in range(100)] == list(range(100)))
            await socket.send(json.dumps("x" * 900_000))
            say(len(await socket.recv()), socket.subprotocol)
            await (await socket.ping())
        say(await codes.get())
        async with websockets.connect(url, proxy=None) as socket:
            await socket.send('"close"')
            say(await ends(socket.recv()), socket.close_code, socket.close_reason)
        socket = await websockets.connect(url, proxy=None)
        socket.transport.abort()
        say(await codes.get())
        try:
            await websockets.connect(url + "/deny", proxy=None)
        except websockets.InvalidStatus as error:
            say(error.response.status_code)
        async with websockets.connect(url + "/push", proxy=None) as socket:
            say(len([message async for message in socket]))

        async def talk(i):
            async with websockets.connect(url, proxy=None) as socket:
                await socket.send(json.dumps(i))
                return json.loads(await socket.recv())["said"]

        say(await asyncio.gather(*(talk(i) for i in range(30))) == list(range(30)))


async def a_websocket_by_websockets(say):
    await a_websocket(say, "websockets-sansio")


async def a_websocket_by_the_older_websockets(say):
    await a_websocket(say, "websockets")


async def clients_go(say):
    events = asyncio.Queue()

    async def endless(request):
        async def parts():
            try:
                while True:
                    yield b"x" * 10_000
                    await asyncio.sleep(0)
            finally:
                events.put_nowait("stream ends")
        return StreamingResponse(parts())

    async def patient(request):
        await events.put("began")
        while not await request.is_disconnected():
            await asyncio.sleep(0.002)
        await events.put("disconnected")
        return Response()

    async def reads(request):
        try:
            await request.body()
        except Exception as error:
            await events.put(type(error).__name__)
            raise

    async with serving(Route("/endless", endless), Route("/patient", patient),
                       Route("/reads", reads, methods=["POST"])) as (server, _), client(server) as c:
        async with c.stream("GET", "/endless") as response:
            say(response.status_code, len(await anext(response.aiter_raw())) > 0)
        say(await events.get())
        async with raw(server) as (_, writer):
            writer.write(b"GET /patient HTTP/1.1\r\nHost: x\r\n\r\n")
            say(await events.get())
        say(await events.get())
        async with raw(server) as (_, writer):
            writer.write(b"POST /reads HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
            await asyncio.sleep(0.05)
        say(await events.get())


async def limits(say):
    go_on = asyncio.Event()
    waiting = []

    async def wait(request):
        waiting.append(request)
        await go_on.wait()
        return PlainTextResponse("waited")

    async with serving(Route("/", wait), limit_concurrency=3, timeout_keep_alive=1) as (server, _):
        async with client(server) as c:
            first = asyncio.create_task(c.get("/"))
            await until(lambda: len(waiting) == 1)
            async with client(server) as other:
                second = asyncio.create_task(other.get("/"))
                await until(lambda: len(waiting) == 2)
                async with client(server) as third:
                    say((await third.get("/")).status_code)
                go_on.set()
                say((await first).text, (await second).text)
        async with raw(server) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            say((await reader.readline()).split()[1], (await reader.read()).endswith(b"waited"))


async def a_graceful_end(say):
    began, go_on = asyncio.Event(), asyncio.Event()

    async def work(request):
        began.set()
        await go_on.wait()
        return PlainTextResponse("finished")

    async with serving(Route("/", work)) as (server, task), client(server) as c:
        address = server.address
        request = asyncio.create_task(c.get("/"))
        await began.wait()
        server.should_exit = True
        await until(lambda: not server.servers[0].is_serving())
        say(await ends(asyncio.open_connection(*address.split(":"))), task.done())
        go_on.set()
        response = await request
        say(response.text, response.headers.get("connection"))
        await task
        say("ended")


async def an_end_by_a_deadline(say):
    began = asyncio.Event()

    async def forever(request):
        began.set()
        await asyncio.sleep(30)

    async with serving(Route("/", forever), timeout_graceful_shutdown=1, log_level="critical") as (server, task), \
            client(server) as c:
        request = asyncio.create_task(c.get("/"))
        await began.wait()
        server.should_exit = True
        await task
        response = (await asyncio.gather(request, return_exceptions=True))[0]
        say(response.status_code if isinstance(response, httpx.Response) else type(response).__name__)


async def an_end_by_a_signal(say):
    caught = []
    before = signal.signal(signal.SIGTERM, lambda *_: caught.append("SIGTERM comes again"))

    @contextlib.asynccontextmanager
    async def lifespan(app):
        yield
        say("stops")

    try:
        async with serving(lifespan=lifespan) as (_, task):
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(task, 10)
        say(*caught)
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    play(requests_by_h11, requests_by_httptools, requests_in_a_pipeline, streams_of_data, work_in_the_background,
         a_life_span, a_life_span_fails, middleware_in_task_groups, a_websocket_by_websockets,
         a_websocket_by_the_older_websockets, clients_go, limits, a_graceful_end, an_end_by_a_deadline,
         an_end_by_a_signal)
