"""Each program of examples/python/ prints what stands in expected/, on asyncio and on iora, and ends well."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from summary import timeless

PROGRAMS = Path(__file__).resolve().parents[2] / "examples" / "python"
NAMES = sorted(path.stem for path in PROGRAMS.glob("[0-9]*.py"))

LATE_S = 0.5  # how late a busy machine may be


@pytest.mark.parametrize("how", [[], ["-m", "iora"]], ids=["asyncio", "iora"])
@pytest.mark.parametrize("name", NAMES)
def test_program_prints_what_is_expected(name, how):
    done = subprocess.run([sys.executable, *how, f"{name}.py"], cwd=PROGRAMS, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, check=False)
    text, seconds = timeless(done.stdout)
    expected_text, expected_seconds = timeless((PROGRAMS / "expected" / f"{name}.txt").read_text())
    assert (text, done.stderr, done.returncode) == (expected_text, "", 0)
    for actual, expected in zip(seconds, expected_seconds):
        assert expected <= actual <= expected + LATE_S


@pytest.mark.parametrize("name", NAMES)
def test_program_has_nothing_of_ioras_in_it(name):
    """And begins with its title, which ./run demo shows."""
    text = (PROGRAMS / f"{name}.py").read_text()
    assert "iora" not in text
    assert re.match(r'""".*\."""\n', text)


def test_every_expected_output_has_its_program():
    assert sorted(path.stem for path in (PROGRAMS / "expected").iterdir()) == NAMES
