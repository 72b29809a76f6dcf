"""Two interpreters at once in one process, each in a thread with a loop that runs and a GIL of its own.

asyncio itself does not do so everywhere. Up to 3.11, where they share a GIL, its cache of the running loop is one for all
interpreters, and one is told that the other's loop runs; there we skip. 3.12.1 dies when an interpreter that has
imported it ends; there none ends.
"""

import subprocess
import sys

import pytest

HOST = """
import os, sys, threading
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

def run():
    made = interpreters.create()
    failure = interpreters.run_string(made, guest, dict(at_start=at_start, meet=meet))
    if failure is not None:
        print(failure)
    if sys.version_info >= (3, 13):
        interpreters.destroy(made)

guest = sys.argv[1]
at_start, meet = os.pipe()
threads = [threading.Thread(target=run) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if sys.version_info < (3, 13):
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
"""

PATH = f"import sys\nsys.path[:] = {sys.path!r}\n"

GUEST = PATH + """
import asyncio, os
import iora

async def serve(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()

async def talk(address, n):
    reader, writer = await iora.open_connection(*address)
    for each in range(50):
        writer.write(b"%d %d\\n" % (n, each))
        assert await reader.readline() == b"%d %d\\n" % (n, each)
        await iora.sleep(0)
    writer.close()
    await writer.wait_closed()

async def both_run(loop):
    # Each says so to itself and to the other, and reads both: about as long as both run.
    os.write(meet, b"xx")
    for _ in range(2):
        assert await loop.run_in_executor(None, os.read, at_start, 1) == b"x"

async def main():
    loop = asyncio.get_running_loop()
    assert type(loop).__module__.startswith("iora")
    await both_run(loop)
    server = await iora.start_server(serve, "127.0.0.1", 0)
    async with iora.TaskGroup() as group:
        for n in range(10):
            group.create_task(talk(server.sockets[0].getsockname(), n))
    async with iora.timeout(100):
        assert await iora.gather(*(iora.to_thread(abs, -n) for n in range(10))) == list(range(10))
    server.close()
    await server.wait_closed()
    return "well"

for _ in range(3):
    os.write(1, (iora.run(main()) + "\\n").encode())
"""


def python(*arguments):
    return subprocess.run([sys.executable, "-c", HOST, *arguments], capture_output=True, text=True, timeout=120,
                          check=False)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio's running loop is one for all interpreters")
def test_two_interpreters_run_loops_at_once():
    usual = python(PATH + "import asyncio; asyncio.run(asyncio.sleep(0.1))")
    if usual.returncode != 0 or usual.stdout or usual.stderr:
        pytest.skip(f"asyncio fails in two interpreters at once: {usual.stderr or usual.stdout or usual.returncode}")
    done = python(GUEST)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["well"] * 6, "")
