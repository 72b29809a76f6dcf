"""Nothing of the scenarios of tasks is left behind (how that is seen: test_leaks.py)."""

import pytest
import test_leaks
from task_scenarios import IORA, SCENARIOS, trace_of

import iora


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_nothing_is_left_behind(scenario):
    test_leaks.check(lambda: trace_of(scenario, IORA, iora.new_event_loop))
