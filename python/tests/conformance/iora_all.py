"""For the conformance runner: all that iora puts in asyncio's place, under the interpreter's own asyncio tests."""

import iora
from tidy import tidy

MODE = "install"


def install():
    tidy()
    iora.install()


def describe():
    return f"iora {iora.__version__}"
