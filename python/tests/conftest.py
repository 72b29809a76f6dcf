"""What the tests of the Python face share."""

import asyncio
import gc
import os
import signal

import pytest

import iora
from summary import pytest_addoption, pytest_collection_modifyitems, pytest_unconfigure

# Who runs us in the background has Ctrl-C ignored, also by the programs we start; some tests raise it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def loop():
    """A loop of ours; closed at the end, with every descriptor back."""
    gc.collect()
    before = set(os.listdir("/proc/self/fd"))
    loop = iora.new_event_loop()
    yield loop
    if not loop.is_closed():
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    gc.collect()
    assert set(os.listdir("/proc/self/fd")) <= before


@pytest.fixture
def run(loop):
    """Run a coroutine in the loop."""
    def run(coroutine, timeout=20):
        return loop.run_until_complete(asyncio.wait_for(coroutine, timeout))
    return run
