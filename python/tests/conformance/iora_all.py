"""For the conformance runner: all that iora puts in asyncio's place, under the interpreter's own asyncio tests."""

import iora

MODE = "install"
install = iora.install


def describe():
    return f"iora {iora.__version__}"
