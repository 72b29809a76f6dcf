"""For the conformance runner: iora's loop under the interpreter's own asyncio tests."""

import iora

MODE = "loop"
LOOP_TYPE = iora.EventLoop
new_event_loop = iora.new_event_loop


def describe():
    return f"iora {iora.__version__}"
