"""./run prove: sections, their figures, and the page that is put together from what came of them."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from conftest import ROOT

PROVE = ROOT / "tests" / "prove" / "prove.py"

COUNTS = """
[[section]]
name = "counts"
title = "What counts"
command = ["sh", "-c", "echo 'figure: injected runs = 123456'; echo '3 passed, 0 failed'"]
text = "It counts."
"""
FAILS = """
[[section]]
name = "fails"
title = "What fails"
command = ["sh", "-c", "echo '1 passed, 2 failed'; exit 1"]
text = "It does not hold."
"""
CLAIM = """
[[claim]]
level = "compiled"
text = "The other machine."
"""


@pytest.fixture
def prove(run, tmp_path):
    """prove(sections, words...): prove.py with this list of sections; `prove.page()` is the page."""
    def prove(sections, *words, **options):
        (tmp_path / "sections.toml").write_text(sections)
        return run(sys.executable, PROVE, "--sections", tmp_path / "sections.toml", "--results", tmp_path / "results",
                   "--out", tmp_path / "page.md", *words, **options)
    prove.page = lambda: (tmp_path / "page.md").read_text()
    return prove


def test_a_figure_stands_on_the_page_with_its_command(prove):
    done = prove(COUNTS)
    assert done.stdout.splitlines()[-1] == "1 passed, 0 failed"
    page = prove.page()
    assert "| injected runs | 123,456 |" in page
    assert "./run prove counts\n" in page and "3 passed, 0 failed" in page
    assert re.search(r"Well, \d{4}-\d\d-\d\d \d\d:\d\d UTC, commit ", page)


def test_a_section_that_fails_is_told_and_does_not_keep_others_from_running(prove):
    done = prove(FAILS + COUNTS, check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "1 passed, 1 failed"
    assert "**Failed** with exit status 1" in prove.page()
    assert "| injected runs | 123,456 |" in prove.page()


def test_what_was_well_is_not_run_again_unless_it_is_named(prove):
    prove(COUNTS + FAILS, check=False)
    assert "counts" not in prove(COUNTS + FAILS, check=False).stdout
    assert "1 passed, 0 failed" in prove(COUNTS + FAILS, "counts").stdout
    assert "1 passed, 1 failed" in prove(COUNTS + FAILS, "--again", check=False).stdout


def test_a_page_is_put_together_from_sections_run_one_by_one(prove):
    prove(COUNTS + FAILS, "counts")
    assert "Not run yet." in prove.page()
    prove(COUNTS + FAILS, "fails", check=False)
    assert "Not run yet." not in prove.page()
    assert "| injected runs | 123,456 |" in prove.page()


def test_a_result_of_other_files_is_marked_and_run_again(prove, tmp_path):
    prove(COUNTS)
    kept = tmp_path / "results" / "counts.json"
    kept.write_text(re.sub(r'"tree": "\w+"', '"tree": "another"', kept.read_text()))
    prove(COUNTS, "--page")
    assert "another state of the files than this commit's: 1 of 1" in prove.page()
    assert "counts" in prove(COUNTS).stdout
    assert "another state" not in prove.page()


def test_a_result_is_not_old_by_what_its_section_is_apart_from(run, tmp_path):
    copy = tmp_path / "tests" / "prove"
    copy.mkdir(parents=True)
    shutil.copy(PROVE, copy)
    for name, text in [("tests/prove/sections.toml", COUNTS + 'apart_from = ["bench/"]\n'), ("main.c", "1"),
                       ("bench/main.c", "1")]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "docs").mkdir()
    (tmp_path / ".gitignore").write_text("build/\n")
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "."]):
        run("git", *words, cwd=tmp_path)
    run(sys.executable, copy / "prove.py")
    (tmp_path / "bench" / "main.c").write_text("2")
    assert "every section was well" in run(sys.executable, copy / "prove.py").stdout
    (tmp_path / "main.c").write_text("2")
    assert "counts: sh" in run(sys.executable, copy / "prove.py").stdout


def test_a_result_of_another_command_is_none(prove):
    prove(COUNTS)
    prove(COUNTS.replace("123456", "7"), "--page")
    assert "Not run yet." in prove.page()


def test_claims_stand_under_their_level(prove):
    prove(COUNTS + CLAIM, "--page")
    assert "## Compiled only\n\n- The other machine.\n" in prove.page()
    assert "## Not claimed\n\nNothing.\n" in prove.page()


def test_list_runs_nothing(prove):
    assert prove(COUNTS, "--list").stdout == f"{'counts':20} What counts (not run)\n"


def test_a_reader_who_has_seen_enough_of_the_list_is_no_error(tmp_path):
    (tmp_path / "sections.toml").write_text(COUNTS)
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, PROVE, "--list", "--sections", tmp_path / "sections.toml", "--results",
                           tmp_path / "results"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode == 1
    assert done.stderr == ""


@pytest.mark.parametrize("sections, words, complaint", [
    (COUNTS, ["dance"], "no such section: dance"),
    (COUNTS + COUNTS, [], "twice"),
    (COUNTS.replace("text", "texts"), [], "a section has command, name, text, title"),
    (COUNTS.replace('"sh"', "7"), [], "a list of words"),
    (CLAIM.replace("compiled", "guessed"), [], "level"),
    ("[[", [], "sections.toml"),
    (COUNTS.replace('"sh"', '"no-such-command"'), [], "no-such-command"),
])
def test_a_mistake_is_told_with_status_2(prove, sections, words, complaint):
    done = prove(sections, *words, check=False)
    assert done.returncode == 2
    assert complaint in done.stderr


def is_gone_soon(group):
    """Who has been killed takes a moment to end, and then somebody has to see it."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_breaking_it_off_ends_the_command(prove, tmp_path):
    """Also what the command has started."""
    alive = tmp_path / "alive"
    sections = COUNTS.replace("echo '3", f"(echo $$ >{alive}; sleep 60); echo '3")
    (tmp_path / "sections.toml").write_text(sections)
    process = subprocess.Popen([sys.executable, PROVE, "--sections", tmp_path / "sections.toml", "--results",
                                tmp_path / "results", "--out", tmp_path / "page.md"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (alive.exists() and alive.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    assert is_gone_soon(int(alive.read_text()))


def test_the_repositorys_own_sections_can_be_read(run):
    assert "The tests" in run(sys.executable, PROVE, "--list").stdout
