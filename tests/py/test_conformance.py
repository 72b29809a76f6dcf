"""The list of tests of the interpreter's that do not pass, and the page that is made of it and of a run."""

import json
import subprocess
import sys

import pytest

from conftest import ROOT

FOLDER = ROOT / "python/tests/conformance"


@pytest.fixture
def known(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import known
    return known


def test_the_list_can_be_read_and_names_each_test_once(known):
    patterns = [each.pattern for each in known.read()]
    assert len(patterns) == len(set(patterns))
    assert {each.word for each in known.read()} == set(known.WORDS)


@pytest.mark.parametrize("line", ["test_x.A.test_b", "test_x.A.test_b nonsense", "test_x.A.test_b tls 3.7",
                                  "test_x.A.test_b tls somewhere"])
def test_a_line_that_says_nothing_is_an_error(known, line):
    with pytest.raises(ValueError):
        known.Known(line)


def test_a_line_holds_where_it_says(known, monkeypatch):
    monkeypatch.setattr(known, "read", lambda: [known.Known(line) for line in [
        "test_x.*.test_some tls", "test_x.A.test_one pipe 3.11 all", "test_x.A.test_two udp 3.12 3.13"]])
    tests = ["test_x.A.test_some", "test_x.B.test_some", "test_x.A.test_one", "test_x.A.test_two", "test_x.A.test_else"]
    some = {"test_x.A.test_some": "tls", "test_x.B.test_some": "tls"}
    assert known.words_of(tests, "3.11", "all") == some | {"test_x.A.test_one": "pipe"}
    assert known.words_of(tests, "3.11", "loop") == some
    assert known.words_of(tests, "3.12", "loop") == some | {"test_x.A.test_two": "udp"}


def make_page(page, *folders):
    subprocess.run([sys.executable, FOLDER / "page.py", page, *folders], check=True)
    return [line for line in page.read_text().splitlines() if line.startswith("| 3.")]


def write_counts(folder, version, passed):
    folder.mkdir(exist_ok=True)
    columns = {"passed": passed, "not there yet": 2, "differs": 0, "white-box": 3, "skipped": 4, "unexpected": 0}
    (folder / "counts.json").write_text(json.dumps({"version": version, "modes": {"loop": columns, "all": columns}}))


def test_the_page_keeps_the_rows_of_versions_that_were_not_run(tmp_path):
    page, old, new = tmp_path / "page.md", tmp_path / "old", tmp_path / "new"
    write_counts(old, "3.9.1", 8)
    write_counts(new, "3.13.0", 9)
    assert make_page(page, new, old) == ["| 3.9.1 | loop | 8 | 2 | 0 | 3 | 4 |", "| 3.9.1 | all | 8 | 2 | 0 | 3 | 4 |",
                                         "| 3.13.0 | loop | 9 | 2 | 0 | 3 | 4 |", "| 3.13.0 | all | 9 | 2 | 0 | 3 | 4 |"]
    write_counts(new, "3.13.1", 10)
    assert [row[:17] for row in make_page(page, new)] == ["| 3.9.1 | loop | ", "| 3.9.1 | all | 8", "| 3.13.1 | loop |",
                                                          "| 3.13.1 | all | "]


def test_the_page_stays_as_it_is_where_not_all_was_as_expected(tmp_path):
    page, good, bad = tmp_path / "page.md", tmp_path / "good", tmp_path / "bad"
    write_counts(good, "3.12.1", 7)
    bad.mkdir()
    page.write_text("as it was")
    assert make_page(page, good, bad) == [] and page.read_text() == "as it was"


def test_the_page_in_the_repository_is_of_the_list_in_it(tmp_path):
    """What stands below the table is made of the list alone."""
    page = tmp_path / "page.md"
    page.write_text((ROOT / "docs/conformance.md").read_text())
    make_page(page)
    assert page.read_text() == (ROOT / "docs/conformance.md").read_text()
