"""The suites of other libraries that run on iora, and where each comes from.

A library is what the environment has of it, and its suite is that version's own, fetched below build/: most from
the library's source distribution. That of websockets has none of its tests for asyncio; Debian's source package has.
"""

import contextlib
import dataclasses
import fnmatch
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

DEBIAN_RELEASE = "trixie"  # whose websockets has the version that the environment is made with
FETCH_LIMIT_S = 180

BASE_TRANSPORT = "patches asyncio.BaseTransport.get_extra_info, which iora's transports have of their own"
CLASS_NAME = "has the name of the loop's class, or of its module, in what it expects or in its own name"
SUBCLASS = "hands over a subclass of socket.socket and sees whether its recv() is called; iora reads by descriptor"


@dataclasses.dataclass
class Suite:
    name: str
    tests: tuple  # what pytest is given
    options: tuple = ()
    from_debian: bool = False
    alone: contextlib.AbstractContextManager = contextlib.nullcontext()  # a lock, if no two runs go side by side
    left_out: str = ""  # what the options leave out, and why
    known: dict = dataclasses.field(default_factory=dict)  # a pattern of tests that differ: the reason

    @property
    def version(self):
        return importlib.metadata.version(self.name)

    def reason_for(self, test):
        return next((reason for pattern, reason in self.known.items() if fnmatch.fnmatchcase(test, pattern)), None)


SUITES = [
    Suite("anyio", ("tests",), options=("-k", "not trio and not uvloop"), left_out="what runs on trio and uvloop"),
    Suite("websockets", ("tests/asyncio", "tests/legacy"), from_debian=True, known={
        "*::test_local_address": BASE_TRANSPORT,
        "*::test_remote_address": BASE_TRANSPORT,
        "*::test_explicit_socket": SUBCLASS}),
    Suite("uvicorn", ("tests",), options=("--ignore=tests/benchmarks", "--ignore=tests/test_ssl.py"), left_out=
          "benchmarks, and tests/test_ssl.py, where each test waits for a server that cannot start without TLS", known={
        "tests/test_auto_detection.py::test_loop_auto": CLASS_NAME,
        "tests/test_config.py::test_get_loop_factory[[]asyncio-*": CLASS_NAME}),
    Suite("starlette", ("tests",), options=("-k", "not trio"), left_out="what runs on trio"),
    Suite("httpx", ("tests",), options=("-k", "not trio"), left_out="what runs on trio",
          alone=threading.Lock()),  # its server has always the same port
]


class Unavailable(Exception):
    """A suite could not be fetched."""


def _call(command, **kwargs):
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                              timeout=FETCH_LIMIT_S, **kwargs)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(str(error)) from None
    if done.returncode != 0:
        raise Unavailable((done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2])
    return done.stdout


def _debian_repository():
    wanted = "$(REPO_URI) $(ORIGIN) $(SUITE) $(CREATED_BY)"
    for line in _call(["apt-get", "indextargets", "--format", wanted]).splitlines():
        uri, origin, suite, created_by = line.split(" ")
        if origin == "Debian" and created_by == "Packages" and "-" not in suite:
            return uri
    raise Unavailable("the system has no repository of Debian's")


def _from_debian(suite, folder):
    sources = folder / "sources.list"
    sources.write_text(f"deb-src {_debian_repository()} {DEBIAN_RELEASE} main\n")
    (folder / "lists" / "partial").mkdir(parents=True)
    apt = ["apt-get", "-q", "-o", f"Dir::Etc::SourceList={sources}", "-o", "Dir::Etc::SourceParts=/dev/null",
           "-o", f"Dir::State::Lists={folder}/lists", "-o", "APT::Sandbox::User=root"]
    _call([*apt, "update"])
    _call([*apt, "source", "--download-only", "--tar-only", f"python-{suite.name}"], cwd=folder)
    if not list(folder.glob(f"*_{suite.version}.orig.tar.*")):
        raise Unavailable(f"Debian {DEBIAN_RELEASE} has another version than {suite.version}")


def _from_sdist(suite, folder):
    _call([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
           "--no-binary", suite.name, "--dest", folder, f"{suite.name}=={suite.version}"])


def fetch(suite, below):
    """The folder with the suite, without the library itself: it is the environment's that is tested."""
    where = below / f"{suite.name}-{suite.version}"
    if where.exists():
        return where
    below.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=below) as name:
        folder = Path(name)
        (_from_debian if suite.from_debian else _from_sdist)(suite, folder)
        archive = next(path for path in folder.iterdir() if ".tar." in path.name)
        (folder / "all").mkdir()
        _call(["tar", "--extract", "--file", archive, "--directory", folder / "all"])
        tree, = (folder / "all").iterdir()
        for library in "src", suite.name:
            shutil.rmtree(tree / library, ignore_errors=True)
        os.rename(tree, where)
    return where
