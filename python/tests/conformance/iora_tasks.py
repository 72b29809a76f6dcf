"""For the conformance runner: what iora has in C round tasks, under the interpreter's own asyncio tests and loop."""

import iora
from iora import _tasks

MODE = "patch"


def exports():
    return {name: getattr(_tasks, name) for name in _tasks.__all__}


def describe():
    return f"iora {iora.__version__}, tasks only"
