"""Nothing of the scenarios is left behind. Caches of the interpreter and of ours fill up at first, ever more slowly; what
leaks does so in each run. So the runs go in rounds, until one of them leaves fewer blocks of memory than it has runs."""

import gc
import sys

import pytest
from task_scenarios import IORA, SCENARIOS, trace_of

import iora

RUNS, ROUNDS_MAX = 10, 10


def measure():
    gc.collect()
    gc.collect()
    return sys.getallocatedblocks(), len(gc.get_objects())


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_nothing_is_left_behind(scenario):
    trace_of(scenario, IORA, iora.new_event_loop)
    before = measure()
    for _ in range(ROUNDS_MAX):
        for _ in range(RUNS):
            trace_of(scenario, IORA, iora.new_event_loop)
        after = measure()
        blocks, objects = (now - was for now, was in zip(after, before))
        if blocks < RUNS and objects < RUNS:
            return
        before = after
    pytest.fail(f"{RUNS} runs left {blocks} blocks, {objects} objects")
