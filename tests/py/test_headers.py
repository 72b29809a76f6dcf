"""Each public header compiles alone, in every dialect, without a warning; and so do the examples in it."""

import re

import pytest

from conftest import ROOT, STRICT

HEADERS = sorted(str(path.relative_to(ROOT / "include"))
                 for path in (ROOT / "include").rglob("*.h"))


@pytest.mark.parametrize("header", HEADERS)
def test_header_compiles_alone(compile_text, dialect, header):
    compiler, standard = dialect
    compile_text(compiler, f"#include <{header}>\n", f"-std={standard}", *STRICT)


@pytest.mark.parametrize("header", HEADERS)
def test_header_may_be_included_twice(compile_text, header):
    compile_text("gcc", f"#include <{header}>\n#include <{header}>\n", "-std=c11", *STRICT)


def test_umbrella_includes_every_topic_and_nothing_else(root):
    text = (root / "include" / "iora.h").read_text()
    included = [line.split("<")[1].rstrip(">") for line in text.splitlines()
                if line.startswith("#include")]
    inner = {"iora/go.h"}  # the machinery behind task.h
    assert sorted(included) == sorted(set(HEADERS) - {"iora.h"} - inner)
    assert included == sorted(included)


# ---- The examples with which headers begin --------------------------------------------------------

# What stands before each header's: what it speaks of without saying what that is.
ANY = "#include <iora.h>\n#include <signal.h>\n#include <stdio.h>\n#include <string.h>\n"
JOBS = "struct job { const char *path; }; static struct job job; static int rc;\n"
FETCH = "static const char *url; static char *data; int fetch(const char *, char **);\n"
SPOKEN_OF = {
    "iora/executor.h": JOBS + FETCH + "IORA_ASYNC(fetch, const char *, char **);\n"
                       "static const char *path; static iora_remote *remote;",
    "iora/gen.h": "",
    "iora/go.h": "int apply(int (*)(int), int);",
    "iora/group.h": "static int a, b; int serve(int); IORA_ASYNC(serve, int);",
    "iora/queue.h": JOBS,
    "iora/scope.h": FETCH + "static int rc, peer; int send_goodbye(int);",
    "iora/select.h": JOBS + "static iora_queue jobs; static iora_event stop;",
    "iora/server.h": "",
    "iora/signal.h": "",
    "iora/stream.h": "static const char *request;",
    "iora/task.h": "static char *data;",
}


def example_of(header):
    """The lines, five columns in, in the comment with which a header begins."""
    lines, inside = [], False
    for line in (ROOT / "include" / header).read_text().split("*/")[0].splitlines():
        inside = re.match(r" \*     \S", line) is not None or (inside and not re.match(r" \* ? ?\S", line))
        if inside:
            lines.append(line[7:])
    return lines


def program_of(lines):
    """Functions as they stand, and one with all that stands between them. Behind four spaces is prose, unless it
    ends as a statement does; dots stand for anything."""
    functions, statements, into = [], [], None
    for line in lines:
        line = re.sub(r"(?<=\S) {4,}\S.*(?<!;)$", "", line)
        line = line.replace("{ ... }", "{ return 0; }").replace("...", ";")
        if re.match(r"static int \w+\(|IORA_ASYNC", line):
            into = functions
        (statements if into is None else into).append(line)
        if line.endswith("}") and not line.startswith(" ") or line.startswith("IORA_ASYNC"):
            into = None
    return "\n".join([*functions, "int example(void);", "int example(void) {", *statements, "}", ""])


def test_headers_with_examples_are_known():
    assert {header for header in HEADERS if example_of(header)} == set(SPOKEN_OF)


@pytest.mark.parametrize("header", sorted(SPOKEN_OF))
def test_example_compiles(compile_text, header):
    compile_text("gcc", ANY + SPOKEN_OF[header] + program_of(example_of(header)), "-std=gnu11", "-Wall", "-Werror",
                 "-Wno-unused", "-Wno-return-type")
