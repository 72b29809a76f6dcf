"""For the conformance runner: everything that iora.install() puts in asyncio's place, the loop too."""

import iora

MODE = "install"
install = iora.install


def describe():
    return f"iora {iora.__version__}, installed"
