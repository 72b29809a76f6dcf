"""The interpreter's own asyncio tests against iora, and against what is known of them.

    python conform.py [--out FOLDER] RUNNER [PATTERN...]

RUNNER is a folder with run_asyncio_tests.py in it, which runs `test.test_asyncio` of this interpreter with
another loop or package in asyncio's place. It runs twice: with iora's loop alone (mode loop: iora_loop.py),
and with all that install() replaces (mode all: iora_all.py). So do some modules beside test_asyncio that use asyncio
throughout, and these once more on asyncio itself: what fails there too says nothing of iora, and is left out.

expected.txt names the tests that do not pass, each with its reason in a word of known.py's. A test that fails and is
not named is a surprise, and so is one that is named and passes; a surprise is a failure here. Only of white-box tests
nothing is expected: when they pass it is by accident. A version that was not gone through has no surprises; its counts
are printed.

Counted are the tests that made at least one loop of iora's; in mode all, where that cannot be seen, all. Left out
are test classes that differ from another by the selector alone, which iora has no use for.

Where all is as expected, FOLDER/counts.json says how many tests ended in which way: page.py writes the page of that.
"""

import argparse
import concurrent.futures
import fnmatch
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import known

HERE = Path(__file__).resolve().parent
VERSION = "{}.{}".format(*sys.version_info)
PACKAGE = "test.test_asyncio"

SAME_BUT_FOR_THE_SELECTOR = ("Poll", "Select")  # EventLoopTests: EPoll's stay
TLS_MODULES = {"test_ssl", "test_sslproto"}
TLS_PATIENCE_S = 3
TEST_LIMIT_S, MODULE_LIMIT_S = 60, 600


def asyncio_modules():
    folder = Path(importlib.util.find_spec(PACKAGE).origin).parent
    return {path.stem for path in folder.glob("test_*.py")} - {"test_windows_events", "test_windows_utils"}


def is_package(name):
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.submodule_search_locations is not None


def further_modules():
    """The others, by their full names. Those of unittest have moved; not every installation has them."""
    names = ["test.test_asyncgen", "test.test_contextlib_async"]
    for package in "unittest.test", "test.test_unittest":
        if is_package(package):
            names += [f"{package}.test_async_case", f"{package}.testmock.testasync"]
    return {name for name in names if importlib.util.find_spec(name)}


def short(module):
    return module.rpartition(".")[2]


class Run:
    """One run of the runner: some modules in one mode."""

    def __init__(self, mode, modules, folder, seconds=None):
        self.mode = mode
        self.modules = modules
        self.folder = folder
        self.seconds = seconds

    def command(self, runner):
        command = [sys.executable, runner / "run_asyncio_tests.py", "--python", sys.executable, "--path", HERE,
                   "--only", ",".join(sorted(self.modules)), "--out", self.folder, "--jobs", "2",
                   "--extra", ",".join(sorted(further_modules())),
                   "--test-timeout", str(TEST_LIMIT_S), "--module-timeout", str(MODULE_LIMIT_S)]
        if self.mode != "stock":
            command += ["--adapter", f"iora_{self.mode}"]
        return command

    def outcomes(self, runner):
        """{test: (outcome, how many loops it made)}"""
        if not self.modules:
            return {}
        self.folder.mkdir(parents=True, exist_ok=True)
        environment = dict(os.environ)
        if self.seconds is not None:
            environment["IORA_TEST_TIMEOUT"] = str(self.seconds)
        with open(self.folder / "log.txt", "w") as log:
            subprocess.run(self.command(runner), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                           env=environment, check=False)
        outcomes = {}
        for name, module in json.loads((self.folder / "results.json").read_text()).items():
            if module["import_error"]:
                outcomes[f"{short(name)}.import"] = "error", 1
            for test, (outcome, loops, _, _) in module["out"].items():
                outcomes[test.removeprefix(name.rpartition(".")[0] + ".")] = outcome, loops
        return outcomes


def run_all(runner, folder, names):
    """{mode: {test: (outcome, loops)}}. Much of the time is spent waiting, so all goes on at the same time."""
    further = {name for name in further_modules() if short(name) in names}
    named = (names & asyncio_modules()) - TLS_MODULES | further
    runs = [Run("stock", further, folder / "stock")]
    for mode in known.MODES:
        runs.append(Run(mode, named, folder / mode))
        runs.append(Run(mode, names & TLS_MODULES, folder / f"{mode}-tls", TLS_PATIENCE_S))
    outcomes = {run.mode: {} for run in runs}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for run, found in zip(runs, pool.map(lambda run: run.outcomes(runner), runs)):
            outcomes[run.mode].update(found)
    return outcomes


def counts(mode, test, outcome, loops):
    kind = test.split(".")[1]
    if any(kind == f"{selector}EventLoopTests" for selector in SAME_BUT_FOR_THE_SELECTOR):
        return False
    return mode == "all" or loops > 0 or outcome in {"hang", "crash"}


class Result:
    """Of one mode: how each test that counts ended, and in what that differs from what is expected."""

    def __init__(self, mode, outcomes, elsewhere):
        self.mode = mode
        self.outcomes = {test: outcome for test, (outcome, loops) in sorted(outcomes.items())
                         if counts(mode, test, outcome, loops) and test not in elsewhere}
        self.words = known.words_of(self.outcomes, VERSION, mode)
        self.surprises = {test: outcome for test, outcome in self.outcomes.items()
                          if VERSION in known.VERSIONS and self._surprises(test, outcome)}

    def _surprises(self, test, outcome):
        word = self.words.get(test)
        if outcome == "skipped" or word in known.WHITE_BOX:
            return False
        return (outcome == "passed") == (word is not None)

    def columns(self):
        """How many tests ended in which way, and what keeps those from passing that do not."""
        columns = dict.fromkeys(["passed", "not there yet", "differs", "white-box", "skipped", "unexpected"], 0)
        for test, outcome in self.outcomes.items():
            word = self.words.get(test)
            if outcome not in columns:
                outcome = ("white-box" if word in known.WHITE_BOX else "not there yet" if word in known.NOT_THERE_YET
                           else "differs" if word in known.DIFFERS else "unexpected")
            columns[outcome] += 1
        return columns


def tell(result, has_list):
    for test, outcome in result.outcomes.items():
        if test in result.surprises:
            word = result.words.get(test)
            print(f"  {outcome}" + (f", and is expected not to ({word})" if word else "") + f": {test}")
        elif not has_list and outcome not in {"passed", "skipped"} and test not in result.words:
            print(f"  {outcome}: {test}")
    print(f"Mode {result.mode}: " + ", ".join(f"{n} {name}" for name, n in result.columns().items() if n))


def tell_figures(results):
    """For ./run prove."""
    for result in results:
        for name, n in result.columns().items():
            print(f"figure: {platform.python_version()}, mode {result.mode}: {name} = {n}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("runner", type=Path)
    parser.add_argument("--out", type=Path, default=Path("build/conformance"))
    parser.add_argument("patterns", nargs="*", help="only modules whose name has one of these in it")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # who starts us behind his back has it ignored; tests raise it

    every = asyncio_modules() | {short(name) for name in further_modules()}
    names = {name for name in every if not options.patterns
             or any(fnmatch.fnmatch(name, f"*{pattern}*") for pattern in options.patterns)}
    has_list = VERSION in known.VERSIONS
    if not has_list:
        print(f"Python {VERSION} was not gone through: what does not pass is shown, and is no failure")
    outcomes = run_all(options.runner, options.out, names)
    elsewhere = {test for test, (outcome, _) in outcomes.pop("stock").items() if outcome not in {"passed", "skipped"}}
    for test in sorted(elsewhere):
        print(f"  left out, for it does not pass on asyncio itself: {test}")
    results = [Result(mode, found, elsewhere) for mode, found in outcomes.items()]
    for result in results:
        if result.outcomes:
            tell(result, has_list)
    if not options.patterns:
        tell_figures(results)
    failed = sum(len(result.surprises) for result in results)
    summary = options.out / "counts.json"
    summary.unlink(missing_ok=True)
    if has_list and not options.patterns and not failed:
        summary.write_text(json.dumps({"version": platform.python_version(),
                                       "modes": {result.mode: result.columns() for result in results}}))
    tests = [(result.outcomes[test], test in result.surprises) for result in results for test in result.outcomes]
    passed = sum(outcome == "passed" and not is_surprise for outcome, is_surprise in tests)
    skipped = len(tests) - passed - failed
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
