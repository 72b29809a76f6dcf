"""coverage.py -- which lines and branches of src/ the tests go through, all ways of running them together.

    coverage.py BUILD [--every N] [--page FILE] [--only-report]

BUILD is a build by clang with its counters in shared memory (`./run coverage` makes it): a process that is killed or
leaves by _exit() has counted all the same, and all processes of a program count into one file.

It runs what WAYS lists, merges what was counted, prints a table of the files of src/, and makes an HTML report below BUILD.
What a run prints is kept in BUILD/log, whole; of one that fails the first lines from a failure on are shown.
It fails below 95 % of the lines or 88 % of the branches, if a run fails, and if a line that nothing went through
stands in no function that reasons.toml names with a reason. --page writes docs/coverage.md: that table, and the lines
by their reasons.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REASONS = Path(__file__).resolve().with_name("reasons.toml")

SHOWN = 60  # lines of a run that fails

LEAST = {"lines": 95.0, "branches": 88.0}

# Title, and the command below BUILD. A test that is wrapped may take longer, as it does when it counts.
WAYS = [
    ("C tests, simulated, real and late", ["tests/c/iora-tests", "--wrap", "env"]),
    ("C tests, a stingy kernel", ["tests/c/iora-tests", "--wrap", "env", "--stingy"]),
    ("C tests, signals", ["tests/c/iora-tests", "--wrap", "env", "--signals"]),
    ("Fault sweeps", ["tests/fault/iora-faults", "--quiet", "--every", "EVERY"]),
]


def fuzz_targets():
    return sorted(path.name for path in (ROOT / "fuzz" / "corpus").iterdir())


def ways():
    """All ways, the fuzzers' corpora among them."""
    for title, command in WAYS:
        yield title, command
    for target in fuzz_targets():
        inputs = sorted(str(path) for path in (ROOT / "fuzz" / "corpus" / target).iterdir())
        yield f"Fuzz corpus: {target}", [f"fuzz/replay-{target}", *inputs]


# ---- Counting -----------------------------------------------------------------------------------

def run_all(build, every):
    """Run all ways; the number of those that failed."""
    raw, logs = build / "raw", build / "log"
    raw.mkdir(exist_ok=True)
    logs.mkdir(exist_ok=True)
    for path in raw.iterdir():
        path.unlink()
    environment = {**os.environ, "LLVM_PROFILE_FILE": str(raw / "%m%c.profraw")}
    failed = 0
    for title, command in ways():
        words = [str(build / command[0]), *(str(every) if word == "EVERY" else word for word in command[1:])]
        began = time.monotonic()
        log = logs / (re.sub(r"[^a-z0-9]+", "-", title.lower()) + ".log")
        with open(log, "w") as output:
            done = subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                                  stderr=subprocess.STDOUT, check=False)
        verdict = "" if done.returncode == 0 else f"  FAILED ({os.path.relpath(log)})"
        print(f"{title}: {time.monotonic() - began:.1f} s{verdict}", flush=True)
        if done.returncode != 0:
            print("\n".join(telling(log.read_text(errors="replace").splitlines())))
            failed += 1
    return failed


def telling(lines):
    """What to show of a run that failed: from the first failure on, and how it ended."""
    first = next((at for at, line in enumerate(lines) if re.search("fail", line, re.I)), 0)
    if len(lines) - first <= SHOWN:
        return lines[first:]
    return [*lines[first:first + SHOWN - 10], "...", *lines[-10:]]


def llvm_cov(build, what, *options):
    """What llvm-cov says about src/ in all programs that were run."""
    programs = sorted({command[0] for _, command in ways()})
    objects = [str(build / programs[0])]
    for program in programs[1:]:
        objects += ["-object", str(build / program)]
    command = ["llvm-cov", what, "-instr-profile", str(build / "all.profdata"),
               "-ignore-filename-regex", "/(tests|fuzz|include)/", *options, *objects]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout


def merge(build):
    raw = sorted(str(path) for path in (build / "raw").glob("*.profraw"))
    subprocess.run(["llvm-profdata", "merge", "-sparse", *raw, "-o", str(build / "all.profdata")], check=True)


# ---- What was counted ---------------------------------------------------------------------------

def name_of(path):
    """The path of a file of src/ as people know it."""
    return "src/" + path.rsplit("/src/", 1)[1]


def branches_of(text):
    """{file: (covered, all)} of llvm-cov's JSON."""
    files = json.loads(text)["data"][0]["files"]
    return {name_of(file["filename"]): (file["summary"]["branches"]["covered"], file["summary"]["branches"]["count"])
            for file in files}


def lines_of(text):
    """{file: (covered, all)}, and {file: [(line, function)]} of what nothing went through: from llvm-cov's lcov records.

    Its own sums leave out a line of a header that one of several programs goes through.
    """
    sums, missed, file, starts = {}, {}, None, []
    for record in text.splitlines():
        kind, _, value = record.partition(":")
        if kind == "SF":
            file, starts = name_of(value), []
        elif kind == "FN":
            line, name = value.split(",", 1)
            starts.append((int(line), name.rsplit(":", 1)[-1]))
        elif kind == "DA":
            line, count = (int(number) for number in value.split(",")[:2])
            covered, lines = sums.get(file, (0, 0))
            sums[file] = (covered + (count > 0), lines + 1)
            if count == 0:
                name = max((start for start in starts if start[0] <= line), default=(0, "?"))[1]
                missed.setdefault(file, []).append((line, name))
    return sums, missed


def percent(covered, count):
    return 100.0 * covered / count if count else 100.0


def totals_of(summaries):
    return {kind: tuple(map(sum, zip(*(summary[kind] for summary in summaries.values())))) for kind in LEAST}


# ---- Reasons ------------------------------------------------------------------------------------

def read_reasons(path=REASONS):
    """[(why, {"src/a.c": {function...}})] of the table."""
    with open(path, "rb") as file:
        table = tomllib.load(file)
    return [(entry["why"], {name: set(functions) for name, functions in entry["places"].items()})
            for entry in table["reason"]]


def sort_by_reason(missed, reasons):
    """([(why, [(file, function, [lines])])], the same of what has no reason)."""
    by_reason = [(why, []) for why, _ in reasons]
    left = []
    for file in sorted(missed):
        functions = {}
        for line, function in missed[file]:
            functions.setdefault(function, []).append(line)
        for function, lines in functions.items():
            for number, (_, places) in enumerate(reasons):
                if function in places.get(file, ()):
                    by_reason[number][1].append((file, function, lines))
                    break
            else:
                left.append((file, function, lines))
    return by_reason, left


def text_of(file, line):
    return (ROOT / file).read_text().splitlines()[line - 1].strip()


def describe(file, function, lines):
    """"src/a.c, f(): `return -EIO;`", by the lines that say something."""
    texts = [text_of(file, line) for line in lines]
    telling = [text for text in texts if re.search(r"\w", text)] or texts
    return f"{file}, {function}(): " + " ".join(f"`{text}`" for text in telling[:3]) + (" ..." if telling[3:] else "")


# ---- Telling ------------------------------------------------------------------------------------

def rows_of(summaries):
    """Text cells: file, and for lines and branches covered, all and per cent."""
    for name, summary in [*sorted(summaries.items()), ("all", totals_of(summaries))]:
        cells = [name]
        for kind in LEAST:
            covered, count = summary[kind]
            cells += [f"{covered}/{count}", f"{percent(covered, count):.1f} %"]
        yield cells


def print_table(summaries):
    print(f"{'file':<32} {'lines':>11} {'':>8} {'branches':>11}")
    for cells in rows_of(summaries):
        print(f"{cells[0]:<32} {cells[1]:>11} {cells[2]:>8} {cells[3]:>11} {cells[4]:>8}")


def page_of(summaries, by_reason):
    lines = ["# Coverage", "",
             "Generated by `./run coverage`: the C tests (simulated, over epoll, with every operation late, with a stingy",
             "kernel, with signals), the fault sweeps and the fuzzers' corpora, merged, by clang. Only src/ is counted.", "",
             "| file | lines | | branches | |", "|---|---:|---:|---:|---:|"]
    lines += ["| " + " | ".join(cells) + " |" for cells in rows_of(summaries)]
    lines += ["", "## Lines that nothing goes through", ""]
    for why, places in by_reason:
        if places:
            lines += [f"**{why.strip()}**", "", *(f"- {describe(*place)}" for place in places), ""]
    return "\n".join(lines).rstrip() + "\n"


def judge(summaries, left):
    """Say what falls short; the number of these."""
    failed = 0
    for kind, (covered, count) in totals_of(summaries).items():
        print(f"figure: {kind} of src = {percent(covered, count):.2f} % ({covered} of {count})")
        if percent(covered, count) < LEAST[kind]:
            print(f"FAILED  less than {LEAST[kind]:.0f} % of the {kind}")
            failed += 1
    if left:
        print("FAILED  nothing goes through these, and tests/coverage/reasons.toml has no reason:")
        for place in left:
            print(f"  {place[0]}:{','.join(map(str, place[2]))}: {describe(*place)}")
        failed += 1
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("--every", type=int, default=1, help="only one point in so many of the fault sweeps (1)")
    parser.add_argument("--page", type=Path)
    parser.add_argument("--only-report", action="store_true", help="of what was counted the last time")
    arguments = parser.parse_args()
    build = arguments.build.resolve()

    runs_failed = 0 if arguments.only_report else run_all(build, arguments.every)
    merge(build)
    branches = branches_of(llvm_cov(build, "export", "-format=text", "-summary-only"))
    lines, missed = lines_of(llvm_cov(build, "export", "-format=lcov"))
    summaries = {file: {"lines": lines[file], "branches": branches[file]} for file in lines}
    by_reason, left = sort_by_reason(missed, read_reasons())
    llvm_cov(build, "show", "-format=html", "-show-branches=count", f"-output-dir={build / 'html'}")
    print_table(summaries)
    failed = judge(summaries, left) + runs_failed
    print(f"each line: {os.path.relpath(build / 'html' / 'index.html')}")
    if arguments.page and failed == 0:
        arguments.page.write_text(page_of(summaries, by_reason))
    print(f"{len(LEAST) + 1 + len(list(ways())) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
