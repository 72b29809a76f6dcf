"""The house rules that a machine can see. The rest is taste: CONTRIBUTING.md says where to look."""

import re
import shutil
import subprocess

import pytest

from conftest import ROOT

# What a folder of src/, or python/ext, may include besides itself and the public headers: arrows point down only.
BELOW = {
    "sys": [],
    "backend": ["sys", "core/list.h"],
    "os": ["sys", "core/list.h"],
    "core": ["sys", "backend", "os"],
    "coro": ["sys"],
    "task": ["sys", "core", "coro"],
    "sync": ["sys", "core", "coro", "task"],
    "io": ["sys", "core", "coro", "task", "sync", "os", "backend/backend.h"],
    "ext": ["sys", "core", "os", "backend/backend.h"],  # python/ext: Python brings its own frames
}

SOURCES = sorted(str(path.relative_to(ROOT)) for folder in ("src", "python/ext")
                 for path in (ROOT / folder).rglob("*") if path.suffix in {".c", ".h", ".S"})
HEADERS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "include").rglob("*.h"))

IGNORED = {".git", ".pytest_cache", "__pycache__", "build"}


def our_texts():
    """Every text of the repository, committed or about to be; of an unpacked archive, all."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if shutil.which("git") and (git := subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False)).returncode == 0:
        names = git.stdout.split("\0")
    else:
        names = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*")
                 if not IGNORED & set(path.relative_to(ROOT).parts)]
    return sorted(name for name in names if name and (ROOT / name).is_file()
                  and b"\0" not in (ROOT / name).read_bytes())


TEXTS = our_texts()


def folder_of(source):
    return source.split("/")[1]


@pytest.mark.parametrize("source", SOURCES)
def test_includes_point_down(source):
    allowed = BELOW[folder_of(source)] + [folder_of(source)]
    for number, line in enumerate((ROOT / source).read_text().splitlines(), 1):
        include = re.match(r'\s*#\s*include\s*"([^"]*)"', line)
        if include is None:
            continue
        path = include[1]
        assert any((ROOT / top / path).exists() for top in ("src", "python")), \
            f"{source}:{number}: write {path} as seen from src/ or python/"
        assert any(path == entry or path.startswith(entry + "/") for entry in allowed), \
            f"{source}:{number}: {folder_of(source)}/ stands below {path} (layers: see TOUR.md)"


@pytest.mark.parametrize("source", SOURCES + HEADERS)
def test_source_opens_with_its_theory(source):
    """"/* core/loop.c -- the event loop.", by the path as it is included."""
    name = re.sub(r"^(src|include|python)/", "", source)
    first = (ROOT / source).read_text().splitlines()[0]
    assert first.startswith(f"/* {name} -- "), \
        f"{source} should begin with: /* {name} -- what it is, in a sentence"


@pytest.mark.parametrize("header", HEADERS + [s for s in SOURCES if s.endswith(".h")])
def test_header_is_guarded_by_its_name(header):
    name = re.sub(r"^(src/|python/|include/iora/|include/)", "", header)
    guard = re.sub(r"\W", "_", f"iora/{name}").upper() if name != "iora.h" else "IORA_H"
    text = (ROOT / header).read_text()
    assert f"#ifndef {guard}\n#define {guard}\n" in text
    assert text.endswith("#endif\n")


# Spelled so that this file does not break its own rules.
FORBIDDEN = {
    r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b": "is either done or an issue",
    r"(?<![\w.])/(home|root|wo" r"rk|Users)/": "is a path of one machine",
    r"\t(?=\S)": "is a tab: indent with spaces",
    r"[ \t]+$": "is a blank at the end of a line",
}
TABS_ARE_RIGHT = {".go"}


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_clean(text):
    path = ROOT / text
    lines = path.read_text().splitlines()
    for pattern, why in FORBIDDEN.items():
        if "tab" in why and path.suffix in TABS_ARE_RIGHT:
            continue
        for number, line in enumerate(lines, 1):
            found = re.search(pattern, line)
            assert found is None, f"{text}:{number}: {found[0]!r} {why}"


CALLS = re.compile(r"(?<![\w>.])(malloc|calloc|realloc|free|strdup|m(?:un)?map|madvise|mprotect|"
                   r"epoll_(?:create1|ctl|wait|pwait2?)|eventfd|read|write|close|poll|"
                   r"clock_gettime|sigaction|pthread_(?:create|join|detach|setname_np|sigmask|atfork)|"
                   r"sched_yield|raise|syscall|sched_getaffinity|getaddrinfo|"
                   r"if_(?:nametoindex|indextoname)|"
                   r"socket(?:pair)?|accept4?|connect|bind|listen|shutdown|recv(?:msg)?|send(?:msg)?|"
                   r"[gs]etsockopt|get(?:sock|peer)name|preadv2|pwritev2|fstat|lstat|fchmod|unlink|"
                   r"flock|open|fcntl)\s*\(")
MAY_CALL = {
    "src/task/error.c": {"malloc"},    # iora_sprintf(): the user gives it to free()
    # From a signal handler, on the way to the process's end; and its sigaction, which cannot fail.
    "src/task/overflow.c": {"write", "sigaction"},
}


@pytest.mark.parametrize("source", [s for s in SOURCES if folder_of(s) != "sys"])
def test_system_is_reached_through_the_seams(source):
    """System calls and allocations pass sys/, where tests make the nth one fail."""
    text = re.sub(r"/\*.*?\*/", "", (ROOT / source).read_text(), flags=re.S)
    text = re.sub(r'"(?:\\.|[^"\\])*"', '""', text)
    assert set(CALLS.findall(text)) - MAY_CALL.get(source, set()) == set()
