"""What the report of coverage says of what llvm-cov says. `./run coverage` makes it."""

import sys

import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests" / "coverage"))

import coverage  # noqa: E402: the path comes first

RECORDS = """\
SF:build/coverage/../../src/sys/alloc.c
FN:10,first
FN:20,alloc.c:second
DA:11,5
DA:12,0
DA:21,0
DA:22,1
end_of_record
SF:build/coverage/../../src/sys/names.c
FN:3,third
DA:4,7
end_of_record
"""


def test_lines_are_counted_and_the_missed_ones_known_by_their_functions():
    sums, missed = coverage.lines_of(RECORDS)
    assert sums == {"src/sys/alloc.c": (2, 4), "src/sys/names.c": (1, 1)}
    assert missed == {"src/sys/alloc.c": [(12, "first"), (21, "second")]}


def test_a_missed_line_needs_a_reason_of_its_function():
    _, missed = coverage.lines_of(RECORDS)
    by_reason, left = coverage.sort_by_reason(missed, [("so it is", {"src/sys/alloc.c": {"second"}})])
    assert by_reason == [("so it is", [("src/sys/alloc.c", "second", [21])])]
    assert left == [("src/sys/alloc.c", "first", [12])]


@pytest.mark.parametrize("covered, failed", [(94, 1), (95, 0), (100, 0)])
def test_too_few_lines_fail(covered, failed, capsys):
    summaries = {"src/a.c": {"lines": (covered, 100), "branches": (9, 10)}}
    assert coverage.judge(summaries, []) == failed
    assert f"figure: lines of src = {covered}.00 % ({covered} of 100)" in capsys.readouterr().out


def test_of_a_run_that_fails_the_first_failure_and_the_end_are_shown():
    lines = ["said before"] * 100 + ["FAILED  this", "why"] + ["said after"] * 200 + ["4 passed, 1 failed"]
    shown = coverage.telling(lines)
    assert len(shown) <= coverage.SHOWN + 1
    assert shown[:2] == ["FAILED  this", "why"]
    assert shown[-1] == "4 passed, 1 failed"
    assert coverage.telling(["ended"]) == ["ended"]


def test_every_reason_is_of_a_function_that_there_is():
    for why, places in coverage.read_reasons():
        assert why.strip()
        for file, functions in places.items():
            text = (ROOT / file).read_text()
            for function in functions:
                assert f"\n{function}(" in text, f"{file} has no {function}()"
