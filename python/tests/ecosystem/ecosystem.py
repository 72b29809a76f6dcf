"""What other libraries say of iora: their own test suites, and scenarios with them, beside stock asyncio.

    python ecosystem.py [--out FOLDER] [--page FILE] [PATTERN...]

Everything runs three times in the same interpreter: on asyncio as it is (stock), on iora's loop alone (loop) and
with all that install() replaces (all); site/sitecustomize.py sees to that. What stock shows is right.

Suites (suites.py). A test passes here if it ends as on stock. One that failed after iora had said that it does not
have something yet is *wanting*. Any other that differs runs again, by itself: the machine may have been busy, and
many of these tests depend on time. If it differs each time, it runs once more with IORA_POLL_EVERY_TURN=1: what
then ends as on stock *counts turns* of the loop, of which iora makes several between two polls. What is left
is a failure, unless suites.py says of it why it must differ; then it is *apart*.

Scenarios (scenarios/). Each is a program of scenes, and each scene says what can be seen. A scene passes if
it says the same as on stock, and ended well there; also with them, the one that differs runs again. What
needs a server that the machine does not have is skipped.
"""

import argparse
import concurrent.futures
import contextlib
import fnmatch
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import suites

HERE = Path(__file__).resolve().parent
STOCK, LOOP, ALL = MODES = ("stock", "loop", "all")
OURS = (LOOP, ALL)
EACH_TURN = {"IORA_POLL_EVERY_TURN": "1"}

JOBS = 4  # most of the time is spent waiting
RETRIES = 2
TEST_LIMIT_S, SUITE_LIMIT_S, SCENARIO_LIMIT_S = 60, 600, 150


def environment(mode, **more):
    return {**os.environ, "IORA_ECOSYSTEM": mode, "PYTHONPATH": str(HERE / "site"), "PYTHONDONTWRITEBYTECODE": "1",
            **more}


def run(command, log, limit_s, stdout=None, **kwargs):
    """Run a command in a group of processes, of which none outlives it."""
    with open(log, "w", encoding="utf-8") as to:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout or to, stderr=to,
                                   start_new_session=True, **kwargs)
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            print(f"(ended after {limit_s} s)", file=to)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


# ---- suites -------------------------------------------------------------------------------------------

def run_suite(suite, folder, out, mode, tests=None, **more):
    """{test: (outcome, what iora said that it has not)} of all tests, or of these."""
    results, log = out / "results", out / "log"
    out.mkdir(parents=True, exist_ok=True)
    results.unlink(missing_ok=True)
    if tests is None:
        chosen = suite.tests
    else:
        (out / "tests").write_text("\n".join(tests))
        chosen = [f"@{out / 'tests'}"]
    with suite.alone, tempfile.TemporaryDirectory() as temporary:
        run([sys.executable, "-m", "pytest", "-q", "-p", "ecosystem_watch", "-p", "no:cacheprovider",
             "--rootdir", folder, "--basetemp", f"{temporary}/base", "--tb", "short",
             # A watchdog of the interpreter's reads the stack of a thread that runs, and may crash by that.
             "-o", "addopts=", "-o", "faulthandler_timeout=0", "--timeout", str(TEST_LIMIT_S),
             *suite.options, *chosen],
            log, SUITE_LIMIT_S, cwd=folder,
            env=environment(mode, IORA_ECOSYSTEM_RESULTS=str(results), **more))
    lines = results.read_text().splitlines() if results.exists() else []
    return {said["test"]: (said["outcome"], said.get("reason")) for said in map(json.loads, lines)}


def differs(stock, ours):
    """The tests whose outcome is another than stock's, and worse."""
    return [test for test, (outcome, _) in stock.items()
            if outcome != "failed" and ours.get(test, ("lost", None))[0] != outcome]


class Suite:
    """A suite's outcomes: {mode: {test: (outcome, reason)}}, and what became of those that differ."""

    def __init__(self, suite, folder, out, outcomes):
        self.suite, self.folder, self.out, self.outcomes = suite, folder, out, outcomes
        self.wanting = {mode: {} for mode in OURS}  # test: reason
        self.turns = {mode: [] for mode in OURS}
        self.apart = {mode: {} for mode in OURS}  # test: reason
        self.unsteady = {mode: [] for mode in OURS}
        self.failed = {mode: {} for mode in OURS}  # test: how it ended

    def judge(self, mode):
        """Sort those that differ."""
        ours, stock = self.outcomes[mode], self.outcomes[STOCK]
        left = []
        for test in differs(stock, ours):
            outcome, reason = ours.get(test, ("lost", None))
            if outcome == "failed" and reason is not None:
                self.wanting[mode][test] = reason
            elif why := self.suite.reason_for(test):
                self.apart[mode][test] = why
            else:
                left.append(test)
        for i in range(RETRIES):
            left = self._again(mode, left, f"again-{i}", self.unsteady[mode])
        left = self._again(mode, left, "each-turn", self.turns[mode], **EACH_TURN)
        self.failed[mode] = {test: ours.get(test, ("lost", None))[0] for test in left}

    def _again(self, mode, tests, name, good, **more):
        """Run tests again; those that now end as on stock are good, the others are given back."""
        if not tests:
            return []
        again = run_suite(self.suite, self.folder, self.out / f"{mode}-{name}", mode, tests, **more)
        stock = self.outcomes[STOCK]
        left = differs({test: stock[test] for test in tests}, again)
        good += [test for test in tests if test not in left]
        return left

    def differing(self, mode):
        return sum(len(kind[mode]) for kind in (self.wanting, self.turns, self.apart, self.failed))

    def count(self, mode, outcome):
        counted = Counter(said for said, _ in self.outcomes[mode].values())[outcome]
        if mode != STOCK and outcome == "passed":
            counted += len([test for test in self.unsteady[mode] if self.outcomes[STOCK][test][0] == "passed"])
        return counted


def tell_suite(suite):
    print(f"{suite.suite.name} {suite.suite.version}: {suite.count(STOCK, 'passed')} tests pass on stock, "
          f"{suite.count(STOCK, 'failed')} do not, {suite.count(STOCK, 'skipped')} skipped")
    for mode in OURS:
        print(f"  {mode}: {suite.count(mode, 'passed')} pass, {len(suite.wanting[mode])} wanting, "
              f"{len(suite.turns[mode])} count turns, {len(suite.apart[mode])} apart, "
              f"{len(suite.failed[mode])} differ")
        print(f"figure: {suite.suite.name}'s tests that end as on stock, mode {mode} = "
              f"{len(suite.outcomes[STOCK]) - suite.differing(mode)} of {len(suite.outcomes[STOCK])}")
        for test in suite.unsteady[mode]:
            print(f"    as on stock when it ran again: {test}")
        for test in suite.turns[mode]:
            print(f"    counts turns: {test}")
        for test, outcome in suite.failed[mode].items():
            print(f"    {outcome}: {test}")


# ---- scenarios -----------------------------------------------------------------------------------------

def run_scenario(program, out, mode, scenes=()):
    """{scene: what it said}, and what is missing for it, or None."""
    out.mkdir(parents=True, exist_ok=True)
    with open(out / f"{program.stem}-{mode}.said", "w+", encoding="utf-8") as said:
        run([sys.executable, program, *scenes], out / f"{program.stem}-{mode}.log", SCENARIO_LIMIT_S, stdout=said,
            env=environment(mode))
        said.seek(0)
        lines = list(map(json.loads, said.read().splitlines()))
    return ({line["scene"]: (line["said"], line["error"]) for line in lines if "scene" in line},
            next((line["missing"] for line in lines if "missing" in line), None))


class Scenario:
    """A program's scenes: {mode: {scene: (said, error)}}, and those that differ in the end."""

    def __init__(self, program, out, said):
        self.program, self.out = program, out
        self.missing = next((missing for _, missing in said.values() if missing), None)
        self.said = {mode: scenes for mode, (scenes, _) in said.items()}
        self.failed = {mode: [] for mode in OURS}

    def differing(self, mode):
        stock, ours = self.said[STOCK], self.said[mode]
        return [scene for scene in sorted(stock | ours)
                if stock.get(scene) != ours.get(scene) or stock[scene][1] is not None]

    def judge(self, mode):
        for i in range(RETRIES):
            differing = self.differing(mode)
            if not differing or self.missing:
                break
            for which in STOCK, mode:
                again, _ = run_scenario(self.program, self.out / f"{mode}-again-{i}", which, differing)
                self.said[which] = self.said[which] | again
        self.failed[mode] = [] if self.missing else self.differing(mode)
        if not self.said[STOCK] and not self.missing:
            self.failed[mode] = ["(all)"]


def tell_scenario(scenario):
    name = scenario.program.stem
    if scenario.missing:
        print(f"{name}: skipped, for {scenario.missing}")
        return
    print(f"{name}: {len(scenario.said[STOCK])} scenes, " +
          ", ".join(f"{len(scenario.failed[mode])} differ on {mode}" for mode in OURS))
    for mode in OURS:
        print(f"figure: scenes {name.replace('_', ' ')} that say as on stock, mode {mode} = "
              f"{len(scenario.said[STOCK]) - len(scenario.failed[mode])} of {len(scenario.said[STOCK])}")
    for mode in OURS:
        for scene in scenario.failed[mode]:
            print(f"  {scene}")
            for which in STOCK, mode:
                said, error = scenario.said[which].get(scene, ([], "was not played"))
                ended = ["ended with " + error.strip().rpartition("\n")[2]] if error else []
                print(f"    on {which}:", *said, *ended, sep="\n      ")


# ---- the page --------------------------------------------------------------------------------------------

def names(tests_of):
    """Lines for tests, each with the modes that it is about."""
    modes_of = {}
    for mode in OURS:
        for test in tests_of[mode]:
            modes_of.setdefault(test, []).append(mode)
    return [f"  - {test}" + ("" if len(modes) == len(OURS) else f" (mode {modes[0]})")
            for test, modes in sorted(modes_of.items())]


def page(all_suites, all_scenarios):
    """docs/ecosystem.md."""
    lines = [
        "# Other libraries on iora", "",
        "Test suites of libraries that stand on asyncio, and scenarios with such libraries, each run on stock",
        "asyncio, on iora's loop alone (mode loop) and with all that `install()` replaces (mode all).",
        "`./run test --ecosystem` fetches the suites, starts the servers, and writes this page.",
        f"Python {sys.version.split()[0]}.", "",
        "## Suites", "",
        "| library | version | stock: passed | failed | skipped | loop: passed | wanting | turns | apart "
        "| all: passed | wanting | turns | apart |",
        "|---|---|" + "---:|" * 11]
    for suite in all_suites:
        cells = [suite.count(STOCK, outcome) for outcome in ("passed", "failed", "skipped")]
        for mode in OURS:
            cells += [suite.count(mode, "passed"), len(suite.wanting[mode]), len(suite.turns[mode]),
                      len(suite.apart[mode])]
        lines.append(f"| {suite.suite.name} | {suite.suite.version} | " + " | ".join(map(str, cells)) + " |")
    lines += ["", "What fails on stock fails for the machine or the versions, and is not held against iora. *wanting*:",
              "failed, after iora had said that it does not have something yet. *turns*: ends as on stock when the loop",
              "polls on every turn (`IORA_POLL_EVERY_TURN=1`, or debug mode): the test counts turns of the loop, of",
              "which iora makes several between two polls. *apart*: differs, for the reason below. Everything else",
              "ends as on stock.", ""]
    for suite in all_suites:
        lines += [f"### {suite.suite.name}", ""]
        if suite.suite.left_out:
            lines.append(f"- left out: {suite.suite.left_out}")
        reasons = {mode: Counter(suite.wanting[mode].values()) for mode in OURS}
        for reason in sorted(set(reasons[LOOP]) | set(reasons[ALL])):
            in_modes = ", ".join(f"{reasons[mode][reason]} in mode {mode}" for mode in OURS)
            lines.append(f"- wanting, \"{reason}\": {in_modes}")
        if turns := names(suite.turns):
            lines += ["- turns:", *turns]
        for reason in sorted({reason for mode in OURS for reason in suite.apart[mode].values()}):
            lines += [f"- apart: {reason}:", *names({
                mode: [test for test, why in suite.apart[mode].items() if why == reason] for mode in OURS})]
        lines.append("")
    lines += ["## Scenarios", "",
              "Each is a program of scenes, which say what can be seen; on iora they say the same as on stock.", "",
              "| program | scenes | as on stock: loop | all |", "|---|---:|---:|---:|"]
    for scenario in all_scenarios:
        total = len(scenario.said[STOCK])
        lines.append(f"| python/tests/ecosystem/scenarios/{scenario.program.name} | {total} | " +
                     " | ".join(str(total - len(scenario.failed[mode])) for mode in OURS) + " |")
    lines += ["", "Their scenes:", ""]
    for scenario in all_scenarios:
        scenes = ", ".join(scene.replace("_", " ") for scene in scenario.said[STOCK])
        lines.append(f"- {scenario.program.stem}: {scenes}.")
    return "\n".join(lines) + "\n"


# ---- all of it -------------------------------------------------------------------------------------------

def chosen(name, patterns):
    return not patterns or any(fnmatch.fnmatch(name, f"*{pattern}*") for pattern in patterns)


def results_of(runs):
    return {mode: future.result() for mode, future in runs.items()}


def run_all(patterns, out):
    """The suites and scenarios, judged."""
    fetched, skipped = [], 0
    for suite in suites.SUITES:
        if chosen(suite.name, patterns):
            try:
                fetched.append((suite, suites.fetch(suite, out / "suites")))
            except suites.Unavailable as why:
                print(f"{suite.name}: skipped, for its suite cannot be had: {why}")
                skipped += 1
    programs = [path for path in sorted((HERE / "scenarios").glob("with_*.py")) if chosen(path.stem, patterns)]
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        suite_runs = [(suite, folder, {mode: pool.submit(run_suite, suite, folder, out / suite.name / mode, mode)
                                       for mode in MODES}) for suite, folder in fetched]
        scenario_runs = [(program, {mode: pool.submit(run_scenario, program, out / "scenarios", mode)
                                    for mode in MODES}) for program in programs]
        judged_suites = [Suite(suite, folder, out / suite.name, results_of(runs)) for suite, folder, runs in suite_runs]
        judged_scenarios = [Scenario(program, out / "scenarios", results_of(runs)) for program, runs in scenario_runs]
        list(pool.map(lambda what: what[0].judge(what[1]),
                      [(suite, mode) for suite in judged_suites for mode in OURS]))
        # One after another: also stock is played again, whose scenes both modes are held against.
        for scenario in judged_scenarios:
            for mode in OURS:
                scenario.judge(mode)
    return judged_suites, judged_scenarios, skipped


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("build/ecosystem"))
    parser.add_argument("--page", type=Path)
    parser.add_argument("patterns", nargs="*", help="only suites and scenarios whose name has one of these in it")
    options = parser.parse_args()

    began = time.monotonic()
    judged_suites, judged_scenarios, skipped = run_all(options.patterns, options.out.resolve())
    passed = failed = 0
    for suite in judged_suites:
        tell_suite(suite)
        for mode in OURS:
            bad = len(suite.failed[mode])
            failed += bad + (not suite.outcomes[STOCK])  # a suite of which nothing ran is no success
            passed += suite.count(mode, "passed") + len(suite.turns[mode])
            skipped += suite.count(mode, "skipped") + len(suite.wanting[mode]) + len(suite.apart[mode])
    for scenario in judged_scenarios:
        tell_scenario(scenario)
        skipped += scenario.missing is not None
        for mode in OURS:
            failed += len(scenario.failed[mode])
            passed += len(scenario.said[STOCK]) - len(scenario.failed[mode])
    complete = not options.patterns and not failed and all(not scenario.missing for scenario in judged_scenarios) \
        and len(judged_suites) == len(suites.SUITES)
    if options.page and complete:
        options.page.write_text(page(judged_suites, judged_scenarios))
    print(f"in {time.monotonic() - began:.0f} s")
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
