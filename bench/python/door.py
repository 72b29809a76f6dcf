"""One program of the Python bench: `door.py DOOR ROW` measures a row of rows.py or serves one of servers.py.

DOOR is the loop, and how a program gets it: asyncio, uvloop, rloop, loop (iora's, by loop_factory
alone) or all (iora.install() before anything else).  `door.py DOOR --about` says what that is.
"""

import asyncio
import sys
from importlib.metadata import version


def factory_of(door):
    """Opens the door; the function that makes its loops."""
    if door == "asyncio":
        return asyncio.new_event_loop
    if door in ("uvloop", "rloop"):
        return __import__(door).new_event_loop
    import iora
    if door == "all":
        iora.install()
    return iora.new_event_loop


def about(door):
    python = f"Python {sys.version.split()[0]}"
    package = {"asyncio": None, "loop": "iora", "all": "iora"}.get(door, door)
    return f"{package} {version(package)}, {python}" if package else python


def main(door, name):
    factory = factory_of(door)
    if name == "--about":
        print(about(door))
        return
    # After install(), so that they find what stands in asyncio's place.
    import rows
    import servers
    if name in rows.ROWS:
        with asyncio.Runner(loop_factory=factory) as runner:
            wall, cpu = runner.run(rows.measure(rows.ROWS[name]))
        print(f"{name}\tns\t{wall:.2f}\t{cpu:.2f}")
    else:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(servers.serve(servers.SERVERS[name]))


main(*sys.argv[1:])
