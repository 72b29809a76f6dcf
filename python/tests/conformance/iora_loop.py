"""For the conformance runner: iora's loop under the interpreter's own asyncio tests."""

import iora
from tidy import tidy

MODE = "loop"
LOOP_TYPE = iora.EventLoop
new_event_loop = iora.new_event_loop
install = tidy


def describe():
    return f"iora {iora.__version__}"
