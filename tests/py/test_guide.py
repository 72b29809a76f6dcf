"""Each listing of docs/guide/ and of README.md compiles without a warning, and prints what stands behind it.

A listing is a fenced block. What it is follows from how it begins:

    ```c       with an #include and a main(): a program. It is run.
               else with a line at the margin that begins a function: functions
               else: statements of an async function, in which the names of PRELUDE are known
    ```c libuv     a program for libuv; skipped where that is not installed
    ```python      a program for asyncio

A program is to end well within a minute, say nothing on stderr, and print what stands in the block
```text behind it, if there is one. One that waits for a signal which it does not raise is only built.
Other blocks are not looked at.
"""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

import pytest

from conftest import ROOT

GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]

FENCED = re.compile(r"^```([^\n]*)\n(.*?)^```$(?:\n+^```text\n(.*?)^```$)?", re.M | re.S)

WARNINGS = ["-Wall", "-Wextra", "-Werror"]
# A part of a program need not use all that it defines.
OF_A_PART = ["-Wno-unused-function", "-Wno-unused-variable", "-Wno-unused-but-set-variable"]

PRELUDE = """
#include <iora.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

extern int rc, fd;
extern uint16_t port;
extern char *line, *name;
extern char buffer[4096];
extern iora_stream *stream, *client;
extern iora_server *server;
extern iora_lock lock;
extern iora_event stopping;
extern int serve(iora_stream *client, void *arg);
extern int fetch(const char *url, char **data);
"""


@dataclass
class Listing:
    where: str
    kind: str
    text: str
    expected: str | None

    @property
    def is_program(self):
        return self.kind != "c" or (self.text.startswith("#include")
                                    and re.search(r"\bmain\(", self.text) is not None)

    @property
    def ends_by_itself(self):
        return "iora_wait_signal(" not in self.text or "raise(" in self.text

    @property
    def whole_text(self):
        if self.is_program or self.text.startswith("#include"):
            return self.text
        if re.search(r"^(static|struct|typedef|int main)\b", self.text, re.M):
            return PRELUDE + self.text
        return f"{PRELUDE}\nint part(void);\nint part(void)\n{{\n    {{\n{self.text}\n    }}\n    return rc;\n}}\n"


def listings_of(path):
    text = path.read_text()
    for found in FENCED.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        if found[1] in ("c", "c libuv", "python"):
            yield Listing(f"{path.stem}:{line}", found[1], found[2], found[3])


LISTINGS = [listing for path in GUIDES for listing in listings_of(path)]
PROGRAMS = [listing for listing in LISTINGS if listing.is_program]
PARTS = [listing for listing in LISTINGS if not listing.is_program]


def flags_of_libuv():
    done = subprocess.run(["pkg-config", "--cflags", "--libs", "libuv"], capture_output=True,
                          text=True, check=False) if shutil.which("pkg-config") else None
    if done is None or done.returncode != 0:
        pytest.skip("libuv is not installed")
    return done.stdout.split()


def build(listing, run, link_program, tmp_path):
    """The command that runs the program."""
    if listing.kind == "python":
        source = tmp_path / "program.py"
        source.write_text(listing.text)
        return [sys.executable, source]
    source = tmp_path / "program.c"
    source.write_text(listing.text)
    if listing.kind == "c":
        return [link_program("gcc", WARNINGS, source)]
    program = tmp_path / "program"
    run("gcc", *WARNINGS, source, *flags_of_libuv(), "-o", program)
    return [program]


@pytest.mark.parametrize("listing", PROGRAMS, ids=lambda listing: listing.where)
def test_program_prints_what_stands_behind_it(run, link_program, tmp_path, listing):
    command = build(listing, run, link_program, tmp_path)
    if not listing.ends_by_itself:
        return
    done = run(*command, timeout=60)
    assert done.stderr == ""
    if listing.expected is not None:
        assert done.stdout == listing.expected


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("listing", PARTS, ids=lambda listing: listing.where)
def test_part_compiles(compile_text, compiler, listing):
    compile_text(compiler, listing.whole_text, *WARNINGS, *OF_A_PART)


PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def anchor_of(heading):
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", [str(path.relative_to(ROOT)) for path in PAGES])
def test_links_lead_somewhere(root, page):
    path = root / page
    for target, anchor in re.findall(r"\]\((?!\w+:)([^)#]*)(?:#([^)]*))?\)", path.read_text()):
        file = path.parent / target if target else path
        assert file.exists(), f"{page}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.M)
            assert anchor in map(anchor_of, headings), f"{page}: {target}#{anchor}"
