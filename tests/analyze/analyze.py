"""analyze/analyze.py -- gcc's and clang's static analyzers over the sources, with nothing open.

    analyze.py [--jobs N] [PATTERN...]

Each file of src/ and python/ext/ whose path contains a PATTERN is given to `gcc -fanalyzer` and to `clang --analyze`,
those of python/ext/ with the headers of the Python that this runs in. What they report fails, unless it stands in
alarms.toml as a false alarm, with its reason. An alarm is recognized by analyzer, file, check and the text of its
line, wherever that has moved; one that nobody raises any more fails too, so that the list stays true. The last line
is `N passed, N failed`: files, each once for either analyzer.
"""

import argparse
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FOLDERS = ["src", "python/ext"]
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-DIORA_ANALYZE", "-Iinclude", "-Isrc"]
SEAMS = ["-DIORA_SEAMS"]  # for the file that only the tests' build has

ANALYZERS = {
    # not optimized: an optimizer duplicates ways that cannot be gone, which the analyzer then goes
    "gcc": ["gcc", "-fanalyzer", "-O0", "-fdiagnostics-plain-output", "-c", "-o", os.devnull],
    "clang": ["clang", "--analyze", "--analyzer-output", "text", "-o", os.devnull],
}
FINDING = re.compile(r"^(?P<file>[^:\n]+):(?P<line>\d+):\d+: warning: (?P<text>.*) \[(?P<check>[^\]]+)\]$", re.M)


def command(analyzer, source):
    words = ANALYZERS[analyzer] + FLAGS
    if source.startswith("python/"):
        words += ["-Ipython", f"-I{sysconfig.get_path('include')}"]
    if source.endswith("seam.c"):
        words += SEAMS
    return words + [source]


def findings(analyzer, source):
    """What an analyzer says of a file: a set of (file, line, check, text); or why it could not."""
    done = subprocess.run(command(analyzer, source), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    if done.returncode != 0:
        return {(source, 0, "does not compile", done.stdout.strip())}
    return {(os.path.relpath(ROOT / found["file"], ROOT), int(found["line"]), found["check"], found["text"])
            for found in FINDING.finditer(done.stdout)
            if not found["check"].startswith("-W") or "analyzer" in found["check"]}


def text_of(file, line):
    lines = (ROOT / file).read_text().splitlines()
    return lines[line - 1].strip() if 0 < line <= len(lines) else ""


def is_alarm(alarm, analyzer, finding):
    file, line, check, _ = finding
    return (alarm["analyzer"] == analyzer and alarm["file"] == file and alarm["check"] in check
            and alarm["line"] == text_of(file, line))


def main(arguments):
    alarms = tomllib.loads((HERE / "alarms.toml").read_text()).get("alarm", [])
    sources = [str(path.relative_to(ROOT)) for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.c"))]
    sources = [source for source in sources
               if not arguments.patterns or any(pattern in source for pattern in arguments.patterns)]
    work = [(analyzer, source) for source in sources for analyzer in ANALYZERS]
    raised, told = set(), set()
    failed = 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for (analyzer, source), found in zip(work, pool.map(lambda one: findings(*one), work)):
            opened = []
            for finding in sorted(found):
                known = [at for at, alarm in enumerate(alarms) if is_alarm(alarm, analyzer, finding)]
                raised.update(known)
                if not known:
                    opened.append(finding)
            failed += bool(opened)
            for finding in opened:
                if (analyzer, finding) not in told:
                    told.add((analyzer, finding))
                    file, line, check, text = finding
                    print(f"{analyzer}: {file}:{line}: {text} [{check}] (in {source})\n    {text_of(file, line)}",
                          flush=True)
    stale = [] if arguments.patterns else [alarm for at, alarm in enumerate(alarms) if at not in raised]
    for alarm in stale:
        print(f"alarms.toml: {alarm['analyzer']} does not say so any more: {alarm['file']}: {alarm['line']}")
    print(f"figure: files given to two analyzers = {len(sources)}")
    print(f"figure: open findings = {len(told)}")
    print(f"figure: false alarms, each with its reason = {len(raised)}")
    print(f"{len(work) - failed} passed, {failed + len(stale)} failed")
    return 0 if failed + len(stale) == 0 and work else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="so many files at a time")
    parser.add_argument("patterns", nargs="*", metavar="PATTERN")
    sys.exit(main(parser.parse_args()))
