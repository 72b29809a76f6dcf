"""Each program of examples/ prints what stands in examples/expected/, and ends well."""

import re

import pytest

from conftest import ROOT
from summary import timeless

EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.c"))

LATE_S = 0.5  # how late a busy machine may be


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_prints_what_is_expected(run, build_dir, root, example):
    done = run(build_dir / "examples" / example)
    text, seconds = timeless(done.stdout)
    expected_text, expected_seconds = timeless(
        (root / "examples" / "expected" / f"{example}.txt").read_text())
    assert text == expected_text
    assert done.stderr == ""
    for actual, expected in zip(seconds, expected_seconds):
        assert expected <= actual <= expected + LATE_S


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_begins_with_its_title(root, example):
    """./run demo shows it."""
    first = (root / "examples" / f"{example}.c").read_text().splitlines()[0]
    assert re.fullmatch(r"/\* .*\.", first)


def test_every_expected_output_has_its_program(root):
    expected = sorted(path.stem for path in (root / "examples" / "expected").iterdir())
    assert expected == EXAMPLES
