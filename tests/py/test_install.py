"""What `meson install` leaves is all that a program needs: header, library, pkg-config file.

The library is built once, as a distribution would, and installed into an empty folder.
"""

import os
import re

import pytest

from conftest import ROOT


class Installed:
    """An installed iora, and a way to build programs with it as a user does."""

    def __init__(self, prefix, run):
        self.prefix = prefix
        self.run = run
        self.pc = next(prefix.rglob("iora.pc"))
        self.libdir = self.pc.parent.parent
        self.shared = self.libdir / "libiora.so"
        self.static = self.libdir / "libiora.a"

    def pkg_config(self, *words):
        done = self.run("pkg-config", *words, "iora",
                        env={**os.environ, "PKG_CONFIG_PATH": str(self.pc.parent)})
        return done.stdout.split()

    def program(self, source, folder, *, static):
        program = folder / source.stem
        flags = self.pkg_config("--cflags", "--libs", *["--static"] * static)
        self.run("gcc", *["-static"] * static, source, *flags, "-o", program, cwd=folder)
        return program

    def output_of(self, program):
        return self.run(program, env={**os.environ, "LD_LIBRARY_PATH": str(self.libdir)}).stdout


@pytest.fixture(scope="module")
def installed(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("install")
    run("meson", "setup", folder / "build", ROOT, f"--prefix={folder}/usr", "--buildtype=release",
        "-Dseams=false", "-Dexamples=false", timeout=300)
    run("meson", "install", "-C", folder / "build", timeout=600)
    return Installed(folder / "usr", run)


@pytest.fixture(scope="module")
def readme_program(root):
    """The first whole C program of README.md."""
    blocks = re.findall(r"^```c\n(.*?)^```$", (root / "README.md").read_text(), re.M | re.S)
    return next(block for block in blocks if "int main(" in block)


FETCHED = (ROOT / "examples/expected/03_fetch.txt").read_text()


@pytest.mark.parametrize("static", [False, True], ids=["shared", "static"])
def test_readme_program_builds_and_runs(installed, readme_program, run, tmp_path, static):
    source = tmp_path / "fetch.c"
    source.write_text(readme_program)
    program = installed.program(source, tmp_path, static=static)
    needed = run("readelf", "-dW", program).stdout
    assert ("libiora.so" in needed) == (not static)
    assert installed.output_of(program) == FETCHED


def test_readme_program_is_the_example(readme_program, root):
    example = (root / "examples/03_fetch.c").read_text()
    assert example.endswith(readme_program)


def test_every_public_header_is_installed(installed, root):
    def headers(folder):
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.h"))
    assert headers(installed.prefix / "include") == headers(root / "include")


def test_nothing_else_is_installed(installed):
    """No tests, no examples, no internal headers: just the parts of a library."""
    assert {path.name for path in installed.prefix.iterdir()} in ({"include", "lib"},
                                                                  {"include", "lib64"})
    libraries = [path.name for path in installed.libdir.iterdir() if path.name != "pkgconfig"]
    assert all(re.fullmatch(r"libiora\.(a|so[.\d]*)", name) for name in libraries), libraries


def test_version_is_the_same_everywhere(installed, run, tmp_path):
    source = tmp_path / "version.c"
    source.write_text('#include <iora.h>\n#include <stdio.h>\n'
                      'int main(void) { printf("%s %s", IORA_VERSION, iora_version()); }\n')
    version, = installed.pkg_config("--modversion")
    assert installed.output_of(installed.program(source, tmp_path, static=False)) \
        == f"{version} {version}"


# ---- The shared object ---------------------------------------------------------------------------

def exported(installed):
    lines = installed.run("nm", "-D", "--defined-only", installed.shared).stdout.splitlines()
    return sorted(line.split()[-1].split("@")[0] for line in lines)


def test_exported_symbols_are_those_on_the_list(installed, root):
    """src/iora.symbols is the ABI: a symbol a line, sorted. What changes it is seen in review."""
    listed = (root / "src/iora.symbols").read_text().split()
    actual = exported(installed)
    assert listed == sorted(set(listed)), "the list is not sorted, or has something twice"
    assert {"exported, but not on the list": sorted(set(actual) - set(listed)),
            "on the list, but not exported": sorted(set(listed) - set(actual))} \
        == {"exported, but not on the list": [], "on the list, but not exported": []}


def test_exported_symbols_begin_with_the_librarys_name(installed):
    assert [name for name in exported(installed) if not name.startswith("iora_")] == []


def test_exported_symbols_are_those_the_headers_declare(installed, root):
    text = "".join(path.read_text() for path in (root / "include").rglob("*.h"))
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    declared = set(re.findall(r"^IORA_API\b[^;]*?\b(iora_\w+)\(", text, re.M))
    assert exported(installed) == sorted(declared)


def test_library_has_one_thread_local(installed, run):
    """A pointer to the running loop, in the initial-exec model: others cost 2 ns a call."""
    lines = [line.split() for line in run("readelf", "-sW", installed.shared).stdout.splitlines()]
    thread_locals = {words[-1] for words in lines if len(words) == 8 and words[3] == "TLS"}
    assert thread_locals == {"iora__running"}
    assert "__tls_get_addr" not in run("nm", "-D", installed.shared).stdout


def test_library_is_bound_at_load_and_has_no_executable_stack(installed, run):
    dynamic = run("readelf", "-dW", installed.shared).stdout
    assert re.search(r"\(FLAGS_1\).*\bNOW\b", dynamic), dynamic
    assert "(TEXTREL)" not in dynamic
    segments = run("readelf", "-lW", installed.shared).stdout
    stack, = [line.split() for line in segments.splitlines() if "GNU_STACK" in line]
    assert "RW" in stack and "RWE" not in stack
    for _, *flags in re.findall(r"^\s+(LOAD)\s.*?\s(R?\s?W?\s?E?)\s+0x\d+$", segments, re.M):
        assert not ("W" in flags[0] and "E" in flags[0])


def test_library_needs_nothing_but_libc(installed, run):
    dynamic = run("readelf", "-dW", installed.shared).stdout
    needed = set(re.findall(r"\(NEEDED\).*\[(.*?)\]", dynamic))
    assert needed <= {"libc.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
