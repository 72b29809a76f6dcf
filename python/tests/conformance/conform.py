"""The interpreter's own asyncio tests against iora, and against what is known of them.

    python conform.py [--out FOLDER] [--page FILE] RUNNER [PATTERN...]

RUNNER is a folder with run_asyncio_tests.py in it, which runs `test.test_asyncio` of this interpreter with
another loop or package in asyncio's place. It runs twice: with iora's loop alone (mode loop: iora_loop.py),
and with all that install() replaces (mode all: iora_all.py). Each result is held against
expected-X.Y.txt, which names the tests that do not pass, each with its reason in a word:

    tls udp subprocess pipe sendfile    needs what iora does not have yet
    newer       iora does as a later version of Python does
    grey-box    overrides a public method or patches a module that another loop need not use
    white-box   reads or patches the private parts of asyncio's own loop

A test that fails and is not named is a surprise, and so is one that is named and passes; a surprise is a
failure here. Only of white-box tests nothing is expected: when they pass it is by accident. A version without a
list has no surprises; its table is printed.

Counted are the tests that made at least one loop of iora's; in mode all, where that cannot be seen, all. Left out
are test classes that differ from another by the selector alone, which iora has no use for. Some tests of TLS
hang without it, so those modules have a short limit for each test.
"""

import argparse
import concurrent.futures
import fnmatch
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODES = {"loop": "the loop alone", "all": "all that install() replaces"}
PREFIX = "test.test_asyncio."

SAME_BUT_FOR_THE_SELECTOR = ("Poll", "Select")  # EventLoopTests: EPoll's stay
MAY_HANG = {"test_ssl", "test_sslproto"}
TEST_LIMIT_S, MAY_HANG_LIMIT_S, MODULE_LIMIT_S = 30, 3, 150

WORDS = {
    "tls": "needs TLS",
    "udp": "needs datagram endpoints",
    "subprocess": "needs subprocesses",
    "pipe": "needs pipes",
    "sendfile": "needs sendfile",
    "newer": "iora does as a later version of Python does, whose own test says so",
    "grey-box": "overrides a public method, or patches a module that another loop need not use",
    "white-box": "reads or patches private parts of asyncio's own loop",
}
NO_MATTER = "white-box"


def version():
    return "{}.{}".format(*sys.version_info)


def read_expected():
    """{(mode, test): word}, or None for a version without a list."""
    path = HERE / f"expected-{version()}.txt"
    if not path.exists():
        return None
    expected = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            test, word, *modes = line.split()
            assert word in WORDS, line
            for mode in modes or MODES:
                expected[mode, test] = word
    return expected


def modules():
    import test.test_asyncio
    folder = Path(test.test_asyncio.__file__).parent
    return {path.stem for path in folder.glob("test_*.py")} - {"test_windows_events", "test_windows_utils"}


def run(runner, out, mode, names, jobs, limit_s):
    """{test: (outcome, how many loops it made)}"""
    if not names:
        return {}
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "log.txt", "w") as log:
        subprocess.run(
            [sys.executable, runner / "run_asyncio_tests.py", "--python", sys.executable, "--path", HERE,
             "--adapter", f"iora_{mode}", "--only", ",".join(sorted(names)), "--out", out,
             "--jobs", str(jobs), "--test-timeout", str(limit_s),
             "--module-timeout", str(MODULE_LIMIT_S)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
    outcomes = {}
    for name, module in json.loads((out / "results.json").read_text()).items():
        if module["import_error"]:
            outcomes[f"{name.removeprefix(PREFIX)}.import"] = "error", 1
        for test, (outcome, loops, _, _) in module["out"].items():
            outcomes[test.removeprefix(PREFIX)] = outcome, loops
    return outcomes


def run_all(runner, out, names):
    """{mode: {test: (outcome, loops)}}. Most of the time is spent waiting, so all goes on at the same time."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = [(mode, pool.submit(run, runner, out / f"{mode}{suffix}", mode, some, jobs, limit_s))
                for mode in MODES
                for suffix, some, jobs, limit_s in [("", names - MAY_HANG, 2, TEST_LIMIT_S),
                                                    ("-short", names & MAY_HANG, 1, MAY_HANG_LIMIT_S)]]
        outcomes = {mode: {} for mode in MODES}
        for mode, future in runs:
            outcomes[mode].update(future.result())
    return outcomes


def counts(mode, test, outcome, loops):
    kind = test.split(".")[1]
    if any(kind == f"{selector}EventLoopTests" for selector in SAME_BUT_FOR_THE_SELECTOR):
        return False
    return mode == "all" or loops > 0 or outcome in {"hang", "crash"}


class Result:
    """Of one mode: how each test that counts ended, and in what that differs from what is expected."""

    def __init__(self, mode, outcomes, expected):
        self.mode = mode
        self.outcomes = {test: outcome for test, (outcome, loops) in sorted(outcomes.items())
                         if counts(mode, test, outcome, loops)}
        self.words = {test: (expected or {}).get((mode, test)) for test in self.outcomes}
        self.surprises = {} if expected is None else {
            test: outcome for test, outcome in self.outcomes.items() if self._surprises(test, outcome)}

    def _surprises(self, test, outcome):
        word = self.words[test]
        if outcome == "skipped" or word == NO_MATTER:
            return False
        return (outcome == "passed") == (word is not None)

    def tests(self, *outcomes):
        return [test for test, outcome in self.outcomes.items() if outcome in outcomes]

    def row(self, module):
        """Of a module: passed, wanting, white-box, skipped."""
        row = {"passed": 0, "wanting": 0, "white-box": 0, "skipped": 0}
        for test, outcome in self.outcomes.items():
            if module is None or test.split(".")[0] == module:
                if outcome not in row:
                    outcome = NO_MATTER if self.words[test] == NO_MATTER else "wanting"
                row[outcome] += 1
        return row


COLUMNS = ("passed", "wanting", "white-box", "skipped")


def tell(result):
    print(f"Mode {result.mode}: {MODES[result.mode]}")
    for test, outcome in result.surprises.items():
        known = f", and is expected not to ({result.words[test]})" if result.words[test] else ""
        print(f"  {outcome}{known}: {test}")
    total = result.row(None)
    print("  " + ", ".join(f"{total[column]} {column}" for column in COLUMNS))


def page(results):
    """docs/conformance.md: no figure in it depends on the machine's speed."""
    lines = [
        "# Conformance", "",
        "CPython's own `test.test_asyncio`, run against iora by `./run test --python`, which also writes this page.",
        f"Python {sys.version.split()[0]}.", "",
        "*wanting*: does not pass; the reason stands below. *white-box*: does not pass, but reads or patches",
        "private parts of asyncio's own loop, which another loop does not have. *skipped*: by the test itself.", ""]
    for result in results:
        lines += [f"## Mode {result.mode}: {MODES[result.mode]}", "",
                  "| module | " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * len(COLUMNS)]
        for module in sorted({test.split(".")[0] for test in result.outcomes}):
            lines.append(f"| {module} | " + " | ".join(str(n) for n in result.row(module).values()) + " |")
        lines += ["| **all** | " + " | ".join(f"**{n}**" for n in result.row(None).values()) + " |", ""]
    lines += ["## What does not pass", ""]
    for word, meaning in WORDS.items():
        modes_of = {}
        for result in results:
            for test, outcome in result.outcomes.items():
                if result.words[test] == word and outcome not in {"passed", "skipped"}:
                    modes_of.setdefault(test, []).append(result.mode)
        if modes_of:
            lines += [f"### {word}: {meaning}", ""]
            for test, modes in sorted(modes_of.items()):
                only = "" if len(modes) == len(results) else f" (mode {modes[0]} only)"
                lines.append(f"- {test}{only}")
            lines.append("")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("runner", type=Path)
    parser.add_argument("--out", type=Path, default=Path("build/conformance"))
    parser.add_argument("--page", type=Path)
    parser.add_argument("patterns", nargs="*", help="only modules whose name has one of these in it")
    options = parser.parse_args()

    names = {name for name in modules() if not options.patterns
             or any(fnmatch.fnmatch(name, f"*{pattern}*") for pattern in options.patterns)}
    expected = read_expected()
    if expected is None:
        print(f"There is no list for Python {version()}: what does not pass is shown, and is no failure")
    results = [Result(mode, outcomes, expected)
               for mode, outcomes in run_all(options.runner, options.out, names).items()]
    for result in results:
        tell(result)
    failed = sum(len(result.surprises) for result in results)
    if options.page and expected is not None and not options.patterns and not failed:
        options.page.write_text(page(results))
    passed = sum(len(result.tests("passed")) for result in results)
    passed -= sum(outcome == "passed" for result in results for outcome in result.surprises.values())
    skipped = sum(len(result.outcomes) for result in results) - passed - failed
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
