"""What the Python tests share: where things are, compilers, running things, the summary.

These tests look at iora from outside, as a user's compiler, linker, debugger and shell see it. Run
them by `./run test`, or alone, once that has built: `/usr/bin/python3 -m pytest tests/py`.
"""

import os
import subprocess
from pathlib import Path

import pytest

from summary import pytest_addoption, pytest_collection_modifyitems, pytest_unconfigure

ROOT = Path(__file__).resolve().parents[2]

# The machine that was built for, if it is another one, and what runs its programs (./run test --aarch64).
CROSS = os.environ.get("IORA_CROSS")
EMULATOR = [f"qemu-{CROSS}", "-L", f"/usr/{CROSS}-linux-gnu"] if CROSS else []

STRICT = ["-pedantic", "-Wall", "-Wextra", "-Werror"]

# Every way in which a user's program may be compiled that we promise to bear.
DIALECTS = [
    ("gcc", "c11"), ("gcc", "c17"), ("clang", "c11"), ("clang", "c17"),
    ("g++", "c++11"), ("g++", "c++17"), ("clang++", "c++11"), ("clang++", "c++17"),
]


# ---- Places -------------------------------------------------------------------------------------

@pytest.fixture(scope="session")
def root():
    """The top of the source tree."""
    return ROOT


@pytest.fixture(scope="session")
def build_dir():
    """The plain build, which `./run test` has made."""
    path = Path(os.environ.get("IORA_BUILD", ROOT / "build" / "plain"))
    if not (path / "build.ninja").exists():
        pytest.fail(f"{path} is not there: ./run test makes it", pytrace=False)
    return path


# ---- Running and compiling ----------------------------------------------------------------------

@pytest.fixture(scope="session")
def run():
    """run(command...): run to the end and return the process, with its output as text.

    A failure fails the test and shows the output, unless `check` is False.
    """
    def run(*command, check=True, timeout=120, **options):
        done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=timeout, **options)
        if check and done.returncode != 0:
            pytest.fail(f"exit status {done.returncode}: {' '.join(map(str, command))}\n"
                        f"{done.stdout}{done.stderr}", pytrace=False)
        return done
    return run


@pytest.fixture
def compile_text(run, tmp_path):
    """compile_text(compiler, text, flags...): compile the text of a file, and do not link.

    Returns the process; `check` as for run().
    """
    def compile_text(compiler, text, *flags, check=True):
        source = tmp_path / ("source.cpp" if "++" in compiler else "source.c")
        source.write_text(text)
        return run(compiler, "-I", ROOT / "include", *flags, "-c", source, "-o",
                   tmp_path / "source.o", check=check, env={**os.environ, "LC_ALL": "C"})
    return compile_text


@pytest.fixture
def link_program(run, tmp_path, build_dir):
    """link_program(compiler, flags, sources...): the path of a program with the plain static
    library in it."""
    def link_program(compiler, flags, *sources):
        program = tmp_path / "program"
        language = ["-x", "c++" if "++" in compiler else "c"]
        run(compiler, "-I", ROOT / "include", *flags, *language, *sources, "-x", "none",
            build_dir / "src" / "libiora.a", "-pthread", "-o", program)
        return program
    return link_program


@pytest.fixture(params=DIALECTS, ids="-".join)
def dialect(request):
    """A compiler and a language standard."""
    return request.param
