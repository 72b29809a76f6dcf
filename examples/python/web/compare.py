"""hello.py under wrk, on asyncio's loop, uvloop's and iora's by turns.

CPU time is the server's own, user and system, from the kernel's books: it is what a loop can save, and depends less
than requests per second on what else the machine does.
"""

import importlib.metadata
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

HELLO = str(Path(__file__).with_name("hello.py"))
WITH_UVLOOP = """
import runpy, sys, uvloop
uvloop.install()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
LOOPS = {
    "asyncio": [HELLO],
    "uvloop": ["-c", WITH_UVLOOP, HELLO],
    "iora": ["-m", "iora", HELLO],
}
ROUNDS, SECONDS, CONNECTIONS = 3, 2, 32
START_S = 20


def versions(*packages):
    """{package: version} of those that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            print(f"{package} is not here: PyPI had none for this machine, or could not be reached")
    return found


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def wait_until_it_answers(server, port):
    deadline = time.monotonic() + START_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_wrk(port, seconds):
    """How many requests were answered, and how many a second."""
    output = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", f"http://127.0.0.1:{port}/"],
        capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        sys.exit(output)
    return (int(re.search(r"(\d+) requests in", output)[1]),
            float(re.search(r"Requests/sec: +([\d.]+)", output)[1]))


def measure(arguments):
    """Requests per second, and microseconds of CPU time for each."""
    port = free_port()
    server = subprocess.Popen([sys.executable, *arguments, str(port)], stdin=subprocess.DEVNULL)
    try:
        wait_until_it_answers(server, port)
        run_wrk(port, 1)  # caches fill up
        before = cpu_seconds(server.pid)
        requests, per_second = run_wrk(port, SECONDS)
        return per_second, (cpu_seconds(server.pid) - before) / requests * 1e6
    finally:
        server.terminate()
        server.wait()


def main():
    found = versions("aiohttp", "uvloop")
    if "aiohttp" not in found:
        return
    loops = [name for name in LOOPS if name != "uvloop" or name in found]
    print(f"Python {sys.version.split()[0]}, " + ", ".join(f"{name} {found[name]}" for name in found)
          + f"; wrk with {CONNECTIONS} connections, medians of {ROUNDS} rounds of {SECONDS} s each")
    results = {name: [] for name in loops}
    for _ in range(ROUNDS):
        for name in loops:
            results[name].append(measure(LOOPS[name]))
    print()
    print(f"{'':<10}{'requests/s':>12}{'CPU us/request':>18}{'of asyncio':>13}")
    base = None
    for name, rounds in results.items():
        per_second, cpu = (statistics.median(column) for column in zip(*rounds))
        base = base or cpu
        print(f"{name:<10}{per_second:>12,.0f}{cpu:>18.1f}{cpu / base:>12.0%}")


if __name__ == "__main__":
    main()
