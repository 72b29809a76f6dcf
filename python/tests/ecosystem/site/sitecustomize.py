"""Puts iora in asyncio's place in this process and in its children, before anybody has asked asyncio for anything.

IORA_ECOSYSTEM says in which mode: "stock" is asyncio as it is, "loop" has iora's loop alone, "all" has all that
install() replaces. This folder is on PYTHONPATH, so that the suites need not know of it.
"""

import asyncio
import os

mode = os.environ.get("IORA_ECOSYSTEM", "stock")
if mode != "stock":
    import iora
    from iora import _install

    if mode == "loop":
        _install._IN_PLACE_OF_ASYNCIO.clear()
    iora.install()
