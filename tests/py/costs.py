"""What the hardening of the build costs, in instructions, which no other load of the machine changes.

    costs.py HARDENED PLAIN

Links tests/py/programs/costs.c with the static library of either build, has Valgrind count what one more
thousand of each thing takes, and prints it. Fails if hardening takes more than a tenth more.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WHAT = {"switch": "a switch between two tasks", "spawn": "a task that is spawned and awaited",
        "lock": "an acquire and a release of a lock", "echo": "a line there and back"}
FEW, MANY = 1000, 2000
MOST = 1.10


def run(*command):
    return subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=True, timeout=300)


def link(build, folder):
    program = folder / f"costs-{build.name}"
    run("gcc", "-O2", "-I", ROOT / "include", ROOT / "tests/py/programs/costs.c",
        build / "src" / "libiora.a", "-pthread", "-o", program)
    return program


def instructions(program, what, times):
    said = run("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, what, times).stderr
    return int(re.search(r"Collected : (\d+)", said)[1])


def cost(program, what):
    return (instructions(program, what, MANY) - instructions(program, what, FEW)) / (MANY - FEW)


def main():
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        hardened, plain = (link(Path(build).resolve(), Path(folder)) for build in sys.argv[1:])
        for what, words in WHAT.items():
            with_it, without = cost(hardened, what), cost(plain, what)
            print(f"figure: instructions of {words} = {with_it:.0f}, without hardening {without:.0f}")
            passed += with_it <= without * MOST
            failed += with_it > without * MOST
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
