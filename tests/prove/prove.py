#!/usr/bin/env python3
"""Runs the sections of sections.toml, and writes docs/evidence.md from what came of them.

    ./run prove                   every section that has no good result for this tree yet, one after another
    ./run prove NAME...           these, whatever there is
    ./run prove --again           all of them anew
    ./run prove --page            nothing: only write the page
    ./run prove --list            what there is, and what came of it last

A *section* is a command that proves something: its exit status says whether all was well, and its *figures* are
the lines `figure: NAME = VALUE` of what it prints. A *result* is what came of its last run; it is kept in
build/prove/NAME.json with the commit, so that the page can be put together from sections that were run hours apart,
and a run that was broken off goes on where it was. What the command printed is beside it in NAME.log.

 1. A result belongs to a *tree*: a hash over all files that git has, with their changes, but for pages that nothing
    runs (the README's listings and the guide's are run) and for folders that its section is `apart_from`, since
    nothing of them goes into it. Committing this page therefore makes no result old. Results of other trees stay on
    the page and are marked there, until the section is run again.
 2. Nothing on the page was written by hand but the texts of sections.toml: each number stands beside the command
    that gives it.
 3. There are three levels of claim: what a section measured; what is compiled only; what is not claimed. The
    latter two are the [[claim]] entries.
 4. The page names no host, user or path.

The last line is `N passed, N failed`, counted in sections. Exit status: 0 all were well; 1 one failed; 2 it could not
begin.
"""

import argparse
import datetime
import hashlib
import json
import os
import platform
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:
    print("prove: needs Python 3.11 or later, which can read sections.toml", file=sys.stderr)
    sys.exit(2)

ROOT = Path(__file__).resolve().parents[2]
LEVELS = {"compiled": "Compiled only", "none": "Not claimed"}
GENERATED = ("docs/evidence.md", "docs/conformance.md", "docs/coverage.md", "docs/ecosystem.md")
FIGURE = re.compile(r"^\s*figure: (.+?) = (.+?)\s*$")
SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$")
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r")


class Mistake(Exception):
    """Something that the one who typed the command, or wrote sections.toml, must see to."""


# ---- Sections ---------------------------------------------------------------------------------

@dataclass(frozen=True)
class Section:
    name: str
    title: str
    command: tuple
    text: str
    apart_from: tuple = ()  # how paths begin


@dataclass(frozen=True)
class Claim:
    level: str
    text: str


def read_sections(path):
    """The sections and the claims of the file, or a Mistake that says what is wrong with it."""
    try:
        content = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Mistake(f"{path.name}: {error}") from error
    sections = [read_entry(path, Section, entry) for entry in content.pop("section", [])]
    claims = [read_entry(path, Claim, entry) for entry in content.pop("claim", [])]
    if content:
        raise Mistake(f"{path.name}: neither [[section]] nor [[claim]]: {', '.join(content)}")
    names = [section.name for section in sections]
    for section in sections:
        if not re.fullmatch(r"[a-z0-9-]+", section.name) or names.count(section.name) > 1:
            raise Mistake(f"{path.name}: {section.name!r} is no name, or twice there")
        if not section.command or not all(isinstance(word, str) for word in section.command):
            raise Mistake(f"{path.name}: {section.name}: a command is a list of words")
    for claim in claims:
        if claim.level not in LEVELS:
            raise Mistake(f"{path.name}: a claim's level is {' or '.join(LEVELS)}, not {claim.level!r}")
    return sections, claims


def read_entry(path, kind, entry):
    known = {of.name for of in fields(kind)}
    needed = {of.name for of in fields(kind) if of.default is MISSING}
    if not needed <= set(entry) <= known:
        raise Mistake(f"{path.name}: a {kind.__name__.lower()} has {', '.join(sorted(needed))}; "
                      f"may have {', '.join(sorted(known - needed)) or 'nothing else'}; "
                      f"here are {', '.join(sorted(entry))}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()})


# ---- Where and when ---------------------------------------------------------------------------

def git(*words):
    """What git says, or None if there is none or this is no checkout of it."""
    try:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def commit_now():
    """The commit, with a mark if files differ from it."""
    commit = git("rev-parse", "--short=12", "HEAD")
    changed = git("status", "--porcelain", "--", ".", *(f":!{name}" for name in GENERATED))
    return "unknown" if commit is None else commit.decode().strip() + (" with changes" if changed else "")


class Tree:
    """The files as they are now."""

    def __init__(self):
        names = git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
        self.sums = None if names is None else {
            name: sum_of(ROOT / name)
            for name in sorted(set(names.decode().split("\0"))) if name and not is_only_read(name)}

    def of(self, section):
        """A hash of what goes into the section."""
        if self.sums is None:
            return "unknown"
        sum_of_all = hashlib.sha256()
        for name, content in self.sums.items():
            if not name.startswith(section.apart_from):
                sum_of_all.update(name.encode() + b"\0" + content)
        return sum_of_all.hexdigest()[:16]


def sum_of(path):
    return hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b""


def is_only_read(name):
    return name.endswith(".md") and name != "README.md" and not name.startswith("docs/guide/")


def machine():
    """CPU, kernel, cores, memory, distribution and compilers; no names of hosts."""
    cpu = re.search(r"^model name\s*:\s*(.+)$", read("/proc/cpuinfo"), re.M)
    memory = re.search(r"^MemTotal:\s*(\d+) kB", read("/proc/meminfo"), re.M)
    system = re.search(r'^PRETTY_NAME="?([^"\n]+)', read("/etc/os-release"), re.M)
    parts = [
        cpu[1] if cpu else platform.machine(),
        f"{len(os.sched_getaffinity(0))} cores",
        f"{int(memory[1]) / 2**20:.1f} GiB" if memory else None,
        f"{platform.system()} {platform.release().partition('-')[0]}",
        system[1] if system else None,
        *(version for compiler in ("gcc", "clang") if (version := version_of(compiler))),
        f"Python {platform.python_version()}",
    ]
    return ", ".join(part for part in parts if part)


def read(path):
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def version_of(compiler):
    try:
        said = subprocess.run([compiler, "-dumpfullversion", "-dumpversion"], capture_output=True, text=True,
                              check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{compiler} {said.split()[0]}"


# ---- Results ----------------------------------------------------------------------------------

@dataclass
class Result:
    name: str
    command: list
    commit: str
    tree: str
    date: str
    machine: str
    seconds: float = 0.0
    status: int = -1
    summary: str = ""
    figures: list = field(default_factory=list)  # of [name, value]

    def was_well(self):
        return self.status == 0


class Results:
    """The folder of results."""

    def __init__(self, folder):
        self.folder = folder

    def load(self, section):
        """The section's last result; None if there is none, or of another command."""
        try:
            result = Result(**json.loads((self.folder / f"{section.name}.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return result if result.command == list(section.command) else None

    def save(self, result):
        path = self.folder / f"{result.name}.json"
        path.with_suffix(".new").write_text(json.dumps(asdict(result), indent=1) + "\n")
        path.with_suffix(".new").replace(path)


# ---- Running ----------------------------------------------------------------------------------

def on_terminal():
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Progress:
    """One line on a terminal that says what goes on; elsewhere nothing."""

    def __init__(self, title):
        self.title, self.began, self.shown = title, time.monotonic(), 0.0

    def show(self, news):
        now = time.monotonic()
        if on_terminal() and now - self.shown > 0.1:
            self.shown = now
            line = f"{self.title} ... {now - self.began:.0f} s  {news.strip()}"
            print("\r\x1b[K" + line[:os.get_terminal_size().columns - 1], end="", flush=True)

    def end(self):
        if on_terminal():
            print("\r\x1b[K", end="", flush=True)


def run_section(section, results):
    """Run the command, keep what it prints, and return its result."""
    result = Result(section.name, list(section.command), commit_now(), Tree().of(section),
                    datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M"), machine())
    progress = Progress(section.name)
    began = time.monotonic()
    with open(results.folder / f"{section.name}.log", "w") as log:
        try:
            process = subprocess.Popen(section.command, cwd=ROOT, stdin=subprocess.DEVNULL, text=True,
                                       errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       start_new_session=True)
        except OSError as error:
            raise Mistake(f"{section.name}: {shlex.join(section.command)}: {error.strerror}") from error
        try:
            for line in process.stdout:
                log.write(line)
                log.flush()
                note(result, ESCAPES.sub("", line).rstrip("\n"), progress)
            result.status = process.wait()
        except BaseException:
            end_group(process)
            raise
        finally:
            progress.end()
    result.seconds = round(time.monotonic() - began, 1)
    results.save(result)
    return result


def note(result, line, progress):
    figure, summary = FIGURE.match(line), SUMMARY.match(line)
    if figure:
        result.figures = [f for f in result.figures if f[0] != figure[1]] + [[figure[1], figure[2]]]
    if summary:
        result.summary = line
    progress.show(line)


def end_group(process):
    """The command and what it has started, which a session of their own holds together."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(5)
            return
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            return


def run_sections(sections, results):
    """Run them all; how many were well."""
    well = 0
    for at, section in enumerate(sections, 1):
        print(f"[{at}/{len(sections)}] {section.name}: {shlex.join(section.command)}", flush=True)
        result = run_section(section, results)
        well += result.was_well()
        for name, value in result.figures:
            print(f"    {name}: {value}")
        verdict = "well" if result.was_well() else f"FAILED with exit status {result.status}"
        said = f"; {result.summary}" if result.summary else ""
        print(f"    {verdict}, {duration(result.seconds)}{said}", flush=True)
        if not result.was_well():
            tail = (results.folder / f"{section.name}.log").read_text(errors="replace").splitlines()[-20:]
            print("\n".join("    | " + line for line in tail))
    return well


# ---- The page ---------------------------------------------------------------------------------

def duration(seconds):
    minutes = int(seconds) // 60
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {int(seconds) % 60} s" if minutes else f"{seconds:.1f} s"


def grouped(value):
    """1234567 as 1,234,567."""
    return f"{int(value):,}" if re.fullmatch(r"\d{5,}", value) else value


def cell(text):
    return text.replace("|", "\\|")


def page(sections, claims, results):
    tree = Tree()
    found = [(section, results.load(section)) for section in sections]
    return "\n".join([
        *page_head(found, tree),
        *(line for section, result in found for line in page_section(section, result, tree)),
        *(line for level, title in LEVELS.items() for line in page_claims(title, claims, level)),
    ])


def page_head(found, tree):
    there = [(section, result) for section, result in found if result is not None]
    machines = list(dict.fromkeys(result.machine for _, result in there))
    strangers = [result for section, result in there if result.tree != tree.of(section)]
    yield "# Evidence"
    yield ""
    yield "What was tested how often, and what came of it. This page is written by `./run prove`: each number in it was"
    yield "printed by the command that stands above it, on the day and the commit that stand there."
    yield "`./run prove NAME` runs one section again, `./run prove --help` tells more."
    yield ""
    yield "There are three levels of claim: what was *measured here*, section by section; what is"
    yield "[compiled only](#compiled-only); what is [not claimed](#not-claimed)."
    yield ""
    yield f"Commit {commit_now()}."
    yield from (f"Machine: {text}." for text in machines)
    yield ""
    if strangers:
        yield (f"**Measured on another state of the files than this commit's: {len(strangers)} of {len(there)} "
               "results**; they are marked.")
        yield ""
    yield "| section | | last run (UTC) | took | summary |"
    yield "|---|---|---|---:|---|"
    for section, result in found:
        title = f"[{cell(section.title)}](#{anchor(section.title)})"
        if result is None:
            yield f"| {title} | not run | | | |"
        else:
            yield (f"| {title} | {verdict(section, result, tree)} | {result.date} | {duration(result.seconds)} "
                   f"| {result.summary} |")
    yield ""


def verdict(section, result, tree):
    words = "well" if result.was_well() else "**failed**"
    return words if result.tree == tree.of(section) else f"{words}, at {result.commit}"


def anchor(title):
    """As the forges make it of a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def page_section(section, result, tree):
    yield f"## {section.title}"
    yield ""
    yield from section.text.strip().splitlines()
    yield ""
    yield "```sh"
    yield f"./run prove {section.name}"
    yield f"# {shlex.join(section.command)}"
    yield "```"
    yield ""
    if result is None:
        yield "Not run yet."
        yield ""
        return
    yield (f"{'Well' if result.was_well() else f'**Failed** with exit status {result.status}'}, "
           f"{result.date} UTC, commit {result.commit}, {duration(result.seconds)}"
           f"{'; ' + result.summary if result.summary else ''}.")
    yield ""
    if result.tree != tree.of(section):
        yield "**Measured on another state of the files than this page's commit.**"
        yield ""
    if result.figures:
        yield "| figure | value |"
        yield "|---|---:|"
        yield from (f"| {cell(name)} | {cell(grouped(value))} |" for name, value in result.figures)
        yield ""


def page_claims(title, claims, level):
    yield f"## {title}"
    yield ""
    yield from [f"- {' '.join(claim.text.split())}" for claim in claims if claim.level == level] or ["Nothing."]
    yield ""


# ---- The command ------------------------------------------------------------------------------

def list_sections(sections, results):
    tree = Tree()
    for section in sections:
        result = results.load(section)
        state = "not run" if result is None else f"{verdict(section, result, tree).strip('*')}, {result.date}"
        print(f"{section.name:20} {section.title} ({state})")


def choose(sections, names, again, results):
    known = {section.name: section for section in sections}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise Mistake(f"no such section: {', '.join(unknown)} (there are {', '.join(known)})")
    if names:
        return [known[name] for name in names]
    tree = Tree()
    return [section for section in sections if again or not is_proved(results.load(section), tree.of(section))]


def is_proved(result, tree_now):
    return result is not None and result.was_well() and result.tree == tree_now != "unknown"


def prove(options):
    sections, claims = read_sections(options.sections)
    results = Results(options.results)
    results.folder.mkdir(parents=True, exist_ok=True)
    if options.list:
        list_sections(sections, results)
        return 0
    chosen = [] if options.page else choose(sections, options.names, options.again, results)
    try:
        well = run_sections(chosen, results)
    finally:
        options.out.write_text(page(sections, claims, results).rstrip("\n") + "\n")
    if not options.page:
        if not chosen:
            print("every section was well for this tree before (--again runs them all the same)")
        print(f"{well} passed, {len(chosen) - well} failed")
    return 0 if well == len(chosen) else 1


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="./run prove", description="Run what proves something, and write docs/evidence.md from what came of it. "
        "Without a name: every section that has no good result for this tree yet.")
    parser.add_argument("names", nargs="*", metavar="SECTION", help="a section of tests/prove/sections.toml")
    parser.add_argument("--list", action="store_true", help="the sections, and what came of each last")
    parser.add_argument("--page", action="store_true", help="run nothing, only write the page")
    parser.add_argument("--again", action="store_true", help="run also what was well before")
    parser.add_argument("--sections", type=Path, default=ROOT / "tests" / "prove" / "sections.toml",
                        metavar="FILE", help="another list of sections")
    parser.add_argument("--results", type=Path, default=ROOT / "build" / "prove", metavar="FOLDER",
                        help="where results are kept")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "evidence.md", metavar="FILE",
                        help="another page than docs/evidence.md")
    return parser.parse_args(arguments)


def be_interrupted(*_):
    raise KeyboardInterrupt


def main():
    signal.signal(signal.SIGTERM, be_interrupted)
    try:
        status = prove(parse(sys.argv[1:]))
        sys.stdout.flush()
        return status
    except Mistake as mistake:
        print(f"prove: {mistake}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read this has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("prove: broken off; ./run prove goes on with what is left", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
