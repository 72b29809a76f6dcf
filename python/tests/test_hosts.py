"""Doors of others: who else runs a program's loop, and how he is given ours. One that is not installed is skipped."""

import http.client
import importlib.util
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest


def needs(module):
    return pytest.mark.skipif(importlib.util.find_spec(module) is None,
                              reason=f"{module} is not to be had for this Python")


def python(*arguments, folder):
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=120,
                          check=False)


def write(path, text):
    path.write_text(textwrap.dedent(text))


class UnixConnection(http.client.HTTPConnection):
    """To a server that has just been started: there is no path yet, and then nobody who listens."""

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        deadline = time.monotonic() + 60
        while True:
            try:
                return self.sock.connect(self.host)
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.01)


def answer_of(folder, *command):
    """What a server that listens on folder/socket answers; it is stopped by Ctrl-C, and must end well."""
    path = str(folder / "socket")
    log = folder / "log"
    with open(log, "w") as output, subprocess.Popen([sys.executable, *command], cwd=folder, stdout=output,
                                                   stderr=output) as server:
        try:
            connection = UnixConnection(path)
            connection.request("GET", "/")
            body = connection.getresponse().read().decode()
            connection.close()
            server.send_signal(signal.SIGINT)
            server.wait(60)
        except BaseException:
            server.kill()
            print(log.read_text())
            raise
    assert "Traceback" not in log.read_text()
    return body


@needs("uvicorn")
def test_uvicorn_is_given_a_loop_by_name(tmp_path):
    write(tmp_path / "app.py", """
        import asyncio
        async def app(scope, receive, send):
            if scope["type"] == "http":
                body = type(asyncio.get_running_loop()).__module__.encode()
                await send({"type": "http.response.start", "status": 200,
                            "headers": [(b"content-length", str(len(body)).encode())]})
                await send({"type": "http.response.body", "body": body})
        """)
    assert answer_of(tmp_path, "-m", "uvicorn", "--loop", "iora:new_event_loop", "--uds", "socket",
                     "--lifespan", "off", "app:app") == "iora._loop"
    assert answer_of(tmp_path, "-m", "iora", "-m", "uvicorn", "--loop", "asyncio", "--uds", "socket",
                     "--lifespan", "off", "app:app") == "iora._loop"


@needs("aiohttp")
def test_aiohttp_is_given_a_loop(tmp_path):
    write(tmp_path / "server.py", """
        import asyncio
        import sys
        import iora
        from aiohttp import web
        async def hello(request):
            return web.Response(text=type(asyncio.get_running_loop()).__module__)
        app = web.Application()
        app.router.add_get("/", hello)
        web.run_app(app, path="socket", loop=iora.new_event_loop() if "loop" in sys.argv else None)
        """)
    assert answer_of(tmp_path, "server.py", "loop") == "iora._loop"
    (tmp_path / "socket").unlink(missing_ok=True)
    assert answer_of(tmp_path, "-m", "iora", "server.py") == "iora._loop"


@needs("anyio")
def test_anyio_is_given_a_factory(tmp_path):
    write(tmp_path / "program.py", """
        import anyio, asyncio, iora, sys
        async def main():
            async with anyio.create_task_group() as group:
                with anyio.move_on_after(0.001):
                    await anyio.sleep(10)
                group.start_soon(anyio.to_thread.run_sync, int)
            print(type(asyncio.get_running_loop()).__module__)
        anyio.run(main, backend_options={"loop_factory": iora.new_event_loop} if "factory" in sys.argv else {})
        """)
    for arguments in ("program.py", "factory"), ("-m", "iora", "program.py"):
        done = python(*arguments, folder=tmp_path)
        assert done.stdout == "iora._loop\n", done.stderr


@needs("pytest_asyncio")
def test_pytest_asyncio_finds_what_is_installed(tmp_path):
    write(tmp_path / "conftest.py", "import iora; iora.install()")
    write(tmp_path / "test_it.py", """
        import asyncio, iora, pytest, pytest_asyncio

        @pytest_asyncio.fixture
        async def loop_of_fixture():
            yield asyncio.get_running_loop()

        @pytest.mark.asyncio
        async def test_loop(loop_of_fixture):
            assert type(loop_of_fixture) is iora.EventLoop and asyncio.get_running_loop() is loop_of_fixture
            assert asyncio.sleep is iora.sleep
            await asyncio.sleep(0.001)
        """)
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", folder=tmp_path)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


CASE = """
    import asyncio, sys, unittest, iora
    if "install" in sys.argv:
        iora.install()
    class Case(unittest.IsolatedAsyncioTestCase):
        if "install" not in sys.argv:
            loop_factory = iora.EventLoop  # a function would become a method
        async def asyncSetUp(self):
            self.loop = asyncio.get_running_loop()
        async def test_loop(self):
            self.assertIs(type(self.loop), iora.EventLoop)
            self.assertIs(asyncio.get_running_loop(), self.loop)
            await asyncio.sleep(0)
    unittest.main(argv=["case"])
    """


@pytest.mark.parametrize("door", [
    "install",
    pytest.param("loop_factory", marks=pytest.mark.skipif(sys.version_info < (3, 13), reason="came with 3.13"))])
def test_a_test_case_of_unittest_runs_in_our_loop(tmp_path, door):
    write(tmp_path / "case.py", CASE)
    done = python("case.py", door, folder=tmp_path)
    assert done.returncode == 0 and "Ran 1 test" in done.stderr, done.stderr
