"""Everything that was built is hardened as docs/design/hardening.md says: libraries, programs, the extension.

What shows in an object is looked for there; what does not, in the command that the compiler was given. It looks at
the plain build, or that of IORA_BUILD; `./run test --hardening` at a release, with the Python package.
"""

import json
import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from conftest import CROSS, ROOT

BUILD = Path(os.environ.get("IORA_BUILD", ROOT / "build" / "plain")).resolve()
MACHINE = CROSS or os.uname().machine


@dataclass(frozen=True)
class Thing:
    """What a target of the build has left."""
    path: Path
    kind: str  # as meson calls it

    @property
    def name(self):
        return str(self.path.relative_to(BUILD))

    @property
    def is_archive(self):
        return self.kind == "static library"


def things_of(build):
    """What is built by default and is a compiler's: of the rest there is no promise."""
    if not (build / "build.ninja").exists():
        return []
    done = subprocess.run(["meson", "introspect", "--targets", build], capture_output=True, text=True, check=True)
    return [Thing(Path(name), target["type"]) for target in json.loads(done.stdout)
            for name in target["filename"]
            if target["build_by_default"] and target["type"] != "custom" and Path(name).exists()]


THINGS = things_of(BUILD)
LINKED = [thing for thing in THINGS if not thing.is_archive]
ARCHIVES = [thing for thing in THINGS if thing.is_archive]
SHARED = [thing for thing in LINKED if thing.kind != "executable"]
PROGRAMS = [thing for thing in LINKED if thing.kind == "executable"]


def each(things):
    return pytest.mark.parametrize("thing", things, ids=lambda thing: thing.name)


@cache
def readelf(path, words):
    return subprocess.run(["readelf", words, path], capture_output=True, text=True, check=True,
                          env={**os.environ, "LC_ALL": "C"}).stdout


@cache
def members(path):
    """What readelf says of each object of an archive, by its name."""
    pieces = re.split(rf"^File: {re.escape(str(path))}[(\[](.*)[)\]]$", readelf(path, "-SnW"), flags=re.M)
    return dict(zip(pieces[1::2], pieces[2::2]))


def segments(thing):
    """(type, flags) of each: flags of R, W, E."""
    return [(words[0], "".join(words[6:-1])) for line in readelf(thing.path, "-lW").splitlines()
            if (words := line.split()) and len(words) >= 7 and words[1].startswith("0x")]


def dynamic(thing):
    return readelf(thing.path, "-dW")


def imports(thing):
    return set(re.findall(r" UND ([\w.]+)", readelf(thing.path, "-sDW")))


def exports(thing):
    """Names that others may link with, but for those that the linker gives every program."""
    done = subprocess.run(["nm", "-D", "--defined-only", thing.path], capture_output=True, text=True, check=True)
    return sorted(line.split()[-1].split("@")[0] for line in done.stdout.splitlines())


def is_under_sanitizer():
    return any(name.startswith(("__asan", "__tsan", "__msan", "__ubsan"))
               for thing in LINKED for name in imports(thing))


def test_there_is_something_to_look_at():
    names = {thing.path.name.split(".")[0] for thing in THINGS}
    assert {"libiora", "01_hello"} <= names, f"{BUILD} is not built: ./run test makes it"
    assert ARCHIVES and SHARED and PROGRAMS


# ---- What is linked -------------------------------------------------------------------------------

@each(LINKED)
def test_can_be_loaded_anywhere(thing):
    assert "DYN" in re.search(r"Type: +(\w+)", readelf(thing.path, "-hW"))[1]
    if thing.kind == "executable":
        assert re.search(r"\(FLAGS_1\).*\bPIE\b", dynamic(thing)), "not a position-independent executable"


@each(LINKED)
def test_addresses_are_bound_at_load_and_then_read_only(thing):
    assert re.search(r"\(FLAGS_1\).*\bNOW\b", dynamic(thing))
    assert "GNU_RELRO" in dict(segments(thing))


@each(LINKED)
def test_nothing_is_both_writable_and_executable(thing):
    assert dict(segments(thing))["GNU_STACK"] == "RW"
    assert [flags for kind, flags in segments(thing) if {"W", "E"} <= set(flags)] == []
    assert "TEXTREL" not in dynamic(thing)


@each(LINKED)
def test_printing_is_fortified(thing):
    """Of other functions only those calls can be that know the size of what they write to."""
    assert imports(thing) & {"printf", "fprintf", "vprintf", "vfprintf"} == set() or is_under_sanitizer()


@each(SHARED)
def test_library_is_fortified_and_has_stack_protectors(thing):
    assert "__stack_chk_fail" in imports(thing)
    assert "__vsnprintf_chk" in imports(thing)


@each(SHARED)
def test_library_shows_what_is_on_its_list(thing):
    if thing.path.name.startswith("libiora"):
        assert exports(thing) == (ROOT / "src/iora.symbols").read_text().split()
    else:
        assert exports(thing) == ["PyInit_" + thing.path.name.split(".")[0]]


@each(PROGRAMS)
def test_program_shows_nothing_of_ours(thing):
    assert [name for name in exports(thing) if name.startswith("iora")] == []


@each(LINKED)
def test_no_shadow_stack_is_claimed(thing):
    """A switch changes stacks and not the shadow stack, so a program with this in it must run without one: that
    is what the loader makes of a library that lacks the mark."""
    assert "SHSTK" not in readelf(thing.path, "-nW")


# ---- What others link -----------------------------------------------------------------------------

@each(ARCHIVES)
def test_every_object_asks_for_no_executable_stack(thing):
    for name, said in members(thing.path).items():
        note = re.search(r"\.note\.GNU-stack\s+PROGBITS(.*)", said)
        assert note and "X" not in note[1], name


@each(ARCHIVES)
def test_no_object_has_writable_code(thing):
    for name, said in members(thing.path).items():
        assert not re.search(r"\s(WAX|WXA|AXW)\w*\s", said), name


@each(ARCHIVES)
def test_every_object_bears_branch_tracking(thing):
    """What is linked of them has the mark where the distribution's startup objects have it too: not Debian's."""
    mark = {"x86_64": "x86 feature: IBT", "aarch64": "AArch64 feature: BTI"}.get(MACHINE)
    if mark is None:
        pytest.skip("nothing of the kind on this machine")
    assert [name for name, said in members(thing.path).items() if mark not in said] == []


@each(ARCHIVES)
def test_archive_has_every_object(thing):
    """So that the tests above have seen them."""
    assert len(members(thing.path)) > 10 or "iora" not in thing.path.name


# ---- What does not show ---------------------------------------------------------------------------

WANTED = ["-fstack-protector-strong", "-fstack-clash-protection", "-fno-strict-overflow",
          "-fno-delete-null-pointer-checks", "-fcf-protection=branch", "-mbranch-protection=standard"]


@cache
def accepts(compiler, flag):
    return subprocess.run([*compiler, "-Werror", flag, "-fsyntax-only", "-x", "c", "/dev/null"],
                          capture_output=True, check=False).returncode == 0


def commands():
    entries = json.loads((BUILD / "compile_commands.json").read_text()) if THINGS else []
    return [(entry["file"], shlex.split(entry["command"])) for entry in entries if entry["file"].endswith(".c")]


def test_every_file_was_compiled_with_what_the_compiler_has():
    is_release = "-g" not in commands()[0][1]
    for file, command in commands():
        compiler = command[:next(i for i, word in enumerate(command) if word.startswith("-"))]
        wanted = [*WANTED, *["-ftrivial-auto-var-init=zero"] * is_release]
        missing = [flag for flag in wanted if accepts(tuple(compiler), flag) and flag not in command]
        assert missing == [], file
        assert any(word.startswith("-D_FORTIFY_SOURCE=") for word in command) or is_under_sanitizer(), file
