#!/usr/bin/env python3
"""Runs the rows of the bench, compares iora with its bars and its peers, and prints the result.

What is run: programs, each given by its path (a missing one is shown as "-").  `PROGRAM --list`
prints the names of its rows, `PROGRAM --about` one line about itself, and `PROGRAM ROW` the
figures of a row, a line each:

    ROW <tab> unit <tab> wall value <tab> CPU value

How it is run: in rounds.  In each round every row is run once in every program that has it, one
after another, so that whatever else the machine does meets all of them alike; which program is
first changes from round to round.  A figure is the median of its rounds.

What is judged: iora's wall time, against the bars in rows.toml.  Bars in ns are for a machine
whose bare context switch, the row `calibration`, takes 2.7 ns, and move with it.
"""

import argparse
import json
import mmap
import os
import platform
import signal
import statistics
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

HERE = Path(__file__).resolve().parent
TIMEOUT_S = 300         # for one run of one row: parking a million tasks can take a minute
COMPARED = ("ns", "KiB")
TEXT_COLUMNS = ("row", "unit", "iora", "best peer", "contender", "against", "note")


# ---- What there is to run ---------------------------------------------------------------------

@dataclass(frozen=True)
class Figure:
    unit: str
    bar: float | None = None
    static_bar: float | None = None
    scales: bool = False
    peer_bar: str | None = None


@dataclass(frozen=True)
class Row:
    id: str
    question: str
    peers: list[str]
    figures: list[Figure]
    without: dict[str, str] = field(default_factory=dict)
    rounds: int | None = None
    warm_mib: int = 0


@dataclass(frozen=True)
class Variant:
    """One way to run a program."""
    label: str
    environment: dict[str, str]


@dataclass
class Program:
    id: str
    title: str
    kind: str
    variants: list[Variant]
    path: str | None = None
    about: str = ""
    rows: set[str] = field(default_factory=set)
    absent: str = ""                # why it is not run at all
    broken: bool = False            # it is there, and could not even say which rows it has


def load(path):
    """Rows, programs and the reference calibration from rows.toml."""
    with open(path, "rb") as file:
        table = tomllib.load(file)
    programs = []
    for entry in table["program"]:
        variants = [Variant(**v) for v in entry.pop("variants", [{"label": "", "environment": {}}])]
        programs.append(Program(variants=variants, **entry))
    rows = []
    for entry in table["row"]:
        figures = [Figure(**f) for f in entry.pop("figure")]
        rows.append(Row(figures=figures, **entry))
    return rows, programs, table["reference"]


def find(program, path):
    """Asks the program at `path` what it is and which rows it has."""
    program.path = path
    if path is None:
        program.absent = f"not given (--{program.id})"
    elif not os.access(path, os.X_OK) or os.path.isdir(path):
        program.absent = "not built"
    else:
        try:
            program.rows = set(output_of(path, ["--list"]).split())
            program.about = output_of(path, ["--about"]).strip()
        except Failure as failure:
            program.absent = f"FAILED, {failure}"
            program.broken = True


# ---- Running it -------------------------------------------------------------------------------

class Failure(Exception):
    """A program did not do what it was asked; the text says how."""


def output_of(path, arguments, environment=None):
    try:
        done = subprocess.run([os.path.abspath(path), *arguments], capture_output=True, text=True,
                              timeout=TIMEOUT_S, env={**os.environ, **(environment or {})})
    except subprocess.TimeoutExpired:
        raise Failure(f"took more than {TIMEOUT_S} s") from None
    except OSError as error:
        raise Failure(str(error)) from None
    if done.returncode != 0:
        code = done.returncode
        ended = f"exit code {code}" if code > 0 else f"killed by {signal.Signals(-code).name}"
        said = done.stderr.strip().splitlines()
        raise Failure(f"{ended}: {said[-1]}" if said else ended)
    return done.stdout


def figures_of(row_id, text):
    """The figures in a program's output: unit -> (wall, CPU), either None for "-"."""
    figures = {}
    for line in text.splitlines():
        try:
            name, unit, *values = line.split("\t")
            wall, cpu = (None if value == "-" else float(value) for value in values)
        except ValueError:
            raise Failure(f"printed {line!r}") from None
        if name != row_id:
            raise Failure(f"printed a figure of {name}")
        figures[unit] = (wall, cpu)
    if not figures:
        raise Failure("printed no figure")
    return figures


def warm_memory(mib):
    """Touches memory and gives it back, so that the next to take it finds it lent by the host."""
    available = os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE
    size = min(mib << 20, available // 2)
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as pages:
        for offset in range(0, size, mmap.PAGESIZE):
            pages[offset] = 1


class Samples:
    """What was measured: (program, variant, row, unit) -> a pair of wall and CPU for each round."""

    def __init__(self):
        self.pairs = {}
        self.failures = {}          # (program, row) -> why

    def add(self, program, variant, row_id, figures):
        for unit, pair in figures.items():
            self.pairs.setdefault((program.id, variant.label, row_id, unit), []).append(pair)

    def medians(self, program, variant, row_id, unit):
        """Median wall and CPU, each None if it was not measured."""
        pairs = self.pairs.get((program.id, variant.label, row_id, unit), [])
        if (program.id, row_id) in self.failures:
            pairs = []
        return tuple(median([p[i] for p in pairs if p[i] is not None]) for i in (0, 1))

    def best(self, program, row_id, unit):
        """Wall, CPU and variant of the program's best variant."""
        measured = [(*self.medians(program, v, row_id, unit), v) for v in program.variants]
        return min(measured, key=lambda m: (m[0] is None, m[0]))


def median(values):
    return statistics.median(values) if values else None


def run_all(rows, programs, rounds, samples, progress):
    calibration = [p for p in programs if p.kind == "calibration" and not p.absent]
    contenders = [(p, v) for p in programs if p.kind != "calibration" for v in p.variants]
    runs = []
    for number in range(rounds):
        runs += [(number, "calibration", 0, p, p.variants[0]) for p in calibration]
        for row in rows:
            if row.rounds is not None and number >= row.rounds:
                continue
            first = number % len(contenders)
            for program, variant in contenders[first:] + contenders[:first]:
                if row.id in program.rows:
                    runs.append((number, row.id, row.warm_mib, program, variant))

    for done, (number, row_id, warm_mib, program, variant) in enumerate(runs):
        if (program.id, row_id) in samples.failures:
            continue
        progress.show(f"{100 * done // len(runs):3} %  round {number + 1} of {rounds}: {row_id}, "
                      f"{program.title} {variant.label}")
        try:
            if warm_mib:
                warm_memory(warm_mib)
            text = output_of(program.path, [row_id], variant.environment)
            samples.add(program, variant, row_id, figures_of(row_id, text))
        except Failure as failure:
            samples.failures[program.id, row_id] = str(failure)
    progress.clear()


class Progress:
    """One line that is rewritten, where somebody can see it: on a terminal only."""

    def __init__(self, stream):
        self.stream = stream if stream.isatty() else None

    def show(self, text):
        if self.stream:
            self.stream.write(f"\r\033[K{text[:100]}")
            self.stream.flush()

    def clear(self):
        if self.stream:
            self.stream.write("\r\033[K")
            self.stream.flush()


# ---- Judging it -------------------------------------------------------------------------------

@dataclass
class Line:
    """One line of the result: a figure of one build of iora, with its bars."""
    row: Row
    unit: str
    program: Program
    wall: float | None
    cpu: float | None
    bar: float | None               # scaled
    met: bool | None                # None: there is no bar, or nothing to hold against it
    best_peer: str
    best: float | None
    ratio: float | None             # iora / best peer
    peer_bar: str | None
    peer_met: bool | None


def judge(rows, programs, samples, scale):
    lines = []
    peers = [p for p in programs if p.kind == "peer"]
    for row in rows:
        for figure in row.figures:
            best_peer, best = best_of(peers, row, figure, samples)
            for program in programs:
                if program.kind == "iora":
                    lines.append(judge_one(row, figure, program, samples, scale, best_peer, best))
    return lines


def best_of(peers, row, figure, samples):
    if figure.unit not in COMPARED:
        return "", None
    walls = [(samples.best(p, row.id, figure.unit)[0], p.title) for p in peers]
    walls = [w for w in walls if w[0] is not None]
    if not walls:
        return "", None
    wall, title = min(walls)
    return title, wall


def judge_one(row, figure, program, samples, scale, best_peer, best):
    wall, cpu, _ = samples.best(program, row.id, figure.unit)
    bar = figure.bar
    if program.id == "iora-static" and figure.static_bar is not None:
        bar = figure.static_bar
    if bar is not None and figure.scales:
        bar *= scale
    met = wall <= bar if wall is not None and bar is not None else None
    ratio = wall / best if wall is not None and best else None
    peer_met = None
    if ratio is not None and figure.peer_bar is not None:
        limit = Fraction(figure.peer_bar.removeprefix("<"))
        peer_met = ratio < limit if figure.peer_bar.startswith("<") else ratio <= limit
    return Line(row, figure.unit, program, wall, cpu, bar, met, best_peer, best, ratio,
                figure.peer_bar, peer_met)


def calibration_of(programs, samples):
    """Median, least and greatest of the calibration's rounds, or None."""
    walls = [wall for key, pairs in samples.pairs.items() if key[2] == "calibration"
             for wall, _ in pairs if wall is not None]
    return (median(walls), min(walls), max(walls)) if walls else None


def reasons(rows, programs, samples):
    """Why there is a "-", a line each."""
    said = [f"{p.title}: {p.absent}" for p in programs if p.absent]
    for program in programs:
        if program.kind == "calibration" or program.absent:
            continue
        for row in rows:
            if program.kind == "peer" and program.id not in row.peers:
                why = row.without.get(program.id, "has no equivalent")
            elif row.id not in program.rows:
                why = "the program has no such row"
            else:
                continue
            said.append(f"{program.title}, {row.id}: {why}")
    by_id = {p.id: p.title for p in programs}
    said += [f"{by_id[p]}, {row}: FAILED, {why}" for (p, row), why in samples.failures.items()]
    return said


# ---- Showing it -------------------------------------------------------------------------------

def number(value, unit="ns"):
    if value is None:
        return "-"
    if unit not in COMPARED:
        return f"{value:.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def yes_no(value):
    return {True: "yes", False: "NO", None: "-"}[value]


def main_table(lines):
    head = ["row", "unit", "iora", "wall", "cpu", "bar", "met",
            "best peer", "", "ratio", "peer bar", "met"]
    body = []
    for line in lines:
        build = line.program.title.removeprefix("iora, ")
        body.append([line.row.id, line.unit, build, number(line.wall, line.unit), number(line.cpu),
                     number(line.bar, line.unit), yes_no(line.met), line.best_peer or "-",
                     number(line.best), number(line.ratio), line.peer_bar or "-",
                     yes_no(line.peer_met)])
    return head, body


def peer_table(rows, programs, samples):
    peers = [p for p in programs if p.kind == "peer"]
    head = ["row", "unit"]
    for peer in peers:
        head += [peer.title, "cpu"]
    body = []
    for row in rows:
        for figure in row.figures:
            cells = [row.id, figure.unit]
            for peer in peers:
                wall, cpu, _ = samples.best(peer, row.id, figure.unit)
                cells += [number(wall, figure.unit), number(cpu)]
            body.append(cells)
    return head, body


def variant_notes(rows, programs, samples):
    """Which variant was the best, for the programs that have several."""
    notes = []
    for program in programs:
        if len(program.variants) < 2:
            continue
        for variant in program.variants:
            best = [row.id for row in rows
                    if (found := samples.best(program, row.id, row.figures[0].unit))[0] is not None
                    and found[2] is variant]
            if best:
                notes.append(f"{program.title} with {variant.label} in {', '.join(best)}")
    return notes


def calibration_text(calibration, reference):
    if calibration is None:
        return f"Calibration: not measured, so the bars are those for {reference} ns."
    middle, least, most = calibration
    text = (f"Calibration: {middle:.2f} ns a bare switch ({least:.2f} to {most:.2f}); "
            f"bars in ns are times {middle / reference:.2f}.")
    if most > 1.3 * least:
        text += " The machine was noisy."
    return text


def machine():
    """The processor by its name (AArch64's /proc/cpuinfo has none), CPUs and kernel."""
    names = [line.split(":")[1].strip()
             for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
             if line.startswith("model name")]
    processor = names[0] if names else platform.machine()
    return f"{processor}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}"


def print_table(head, body, colour):
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    text = {i for i, name in enumerate(head) if name in TEXT_COLUMNS}
    for cells in [head, *body]:
        padded = [c.ljust(w) if i in text else c.rjust(w)
                  for i, (c, w) in enumerate(zip(cells, widths))]
        line = "  ".join(paint(cell, colour) for cell in padded)
        print(line.rstrip())


def paint(cell, colour):
    code = {"yes": "32", "NO": "31"}.get(cell.strip())
    return f"\033[{code}m{cell}\033[0m" if colour and code else cell


def markdown_table(head, body):
    lines = ["| " + " | ".join(cells) + " |" for cells in [head, *body]]
    lines.insert(1, "|" + "---|" * len(head))
    return "\n".join(lines)


@dataclass
class Result:
    rows: list[Row]
    programs: list[Program]
    samples: Samples
    lines: list[Line]
    rounds: int
    reference: float
    calibration: tuple[float, float, float] | None

    def about(self):
        return [f"{p.title}: {p.about}" for p in self.programs if p.about]


def show(result, colour):
    print(f"{machine()}; medians of {result.rounds} round(s)")
    print(calibration_text(result.calibration, result.reference))
    if any(p.kind == "iora" and not p.absent for p in result.programs):
        print()
        print_table(*main_table(result.lines), colour)
    print("\nPeers")
    print_table(*peer_table(result.rows, result.programs, result.samples), colour)
    for note in variant_notes(result.rows, result.programs, result.samples):
        print(note)
    print("\nPrograms")
    for line in result.about():
        print(line)
    missing = reasons(result.rows, result.programs, result.samples)
    if missing:
        print("\nWhy there is a \"-\"")
        print("\n".join(missing))


def page(result):
    """The result as a page of Markdown."""
    questions = [[f"`{row.id}`", row.question] for row in result.rows]
    parts = [
        "# The bench's latest page",
        "Written by `./run bench`. [README.md](README.md) says how to read it, what each program "
        "does and what is not comparable.",
        f"{machine()}. Medians of {result.rounds} round(s), all programs in one run, interleaved. "
        f"{calibration_text(result.calibration, result.reference)}",
        "Time is ns for one operation, by the wall's clock (judged) and the process's CPU clock. "
        "The two parties of every row that switches run different functions, so their call sites "
        "differ. \"shared\" is iora as a shared library, its thread-local in the initial-exec "
        "model; \"static\" is the same linked statically. \"ratio\" is iora divided by the best "
        "peer.",
        "## iora",
        markdown_table(*main_table(result.lines)),
        "## Peers",
        markdown_table(*peer_table(result.rows, result.programs, result.samples)),
        "\n".join(f"- {n}" for n in variant_notes(result.rows, result.programs, result.samples)),
        "## Questions",
        markdown_table(["row", "question"], questions),
        "## Programs",
        "\n".join(f"- {line}" for line in result.about()),
    ]
    missing = reasons(result.rows, result.programs, result.samples)
    if missing:
        parts += ["## Why there is a \"-\"", "\n".join(f"- {line}" for line in missing)]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_json(result):
    """Everything, each round's samples included."""
    samples = [
        {"program": key[0], "variant": key[1], "row": key[2], "unit": key[3],
         "wall": [pair[0] for pair in pairs], "cpu": [pair[1] for pair in pairs]}
        for key, pairs in result.samples.pairs.items()
    ]
    verdicts = [
        {"row": l.row.id, "unit": l.unit, "program": l.program.id, "wall": l.wall, "cpu": l.cpu,
         "bar": l.bar, "met": l.met, "best_peer": l.best_peer or None, "best_peer_wall": l.best,
         "ratio": l.ratio, "peer_bar": l.peer_bar, "peer_met": l.peer_met}
        for l in result.lines
    ]
    calibration = result.calibration
    return {
        "machine": machine(),
        "rounds": result.rounds,
        "reference": result.reference,
        "calibration": dict(zip(("median", "min", "max"), calibration)) if calibration else None,
        "programs": {p.id: {"about": p.about, "absent": p.absent or None} for p in result.programs},
        "verdicts": verdicts,
        "samples": samples,
        "missing": reasons(result.rows, result.programs, result.samples),
    }


# ---- The command ------------------------------------------------------------------------------

def arguments_of(argv, rows, programs):
    parser = argparse.ArgumentParser(
        prog="bench.py", formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__,
        epilog="Rows: " + " ".join(row.id for row in rows) + "\n\n"
               "Exit code: 0, also where a bar is missed (the table says so); 1 if a program "
               "failed; 2 for\nbad usage.")
    for program in programs:
        parser.add_argument(f"--{program.id}", metavar="PROG",
                            help=f"path of the program of: {program.title}")
    parser.add_argument("--rounds", type=positive, default=7, metavar="N",
                        help="how many rounds (default 7); a few rows have fewer of their own")
    parser.add_argument("--row", action="append", metavar="NAME", choices=[row.id for row in rows],
                        help="run this row only; may be given more than once")
    parser.add_argument("--json", metavar="FILE", type=writable,
                        help="write everything, with all samples, to FILE")
    parser.add_argument("--markdown", metavar="FILE", type=writable, help="write the page to FILE")
    options = parser.parse_args(argv)
    if not any(path_of(program, options) for program in programs):
        parser.error("no program given")
    return options


def path_of(program, options):
    return getattr(options, program.id.replace("-", "_"))


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def writable(text):
    """Asked before the run, which is too long to find out at its end."""
    path = Path(text)
    if not os.access(path if path.exists() else path.parent, os.W_OK) or path.is_dir():
        raise argparse.ArgumentTypeError(f"cannot write {text}")
    return path


def main(argv):
    rows, programs, reference = load(HERE / "rows.toml")
    options = arguments_of(argv, rows, programs)
    if options.row:
        rows = [row for row in rows if row.id in options.row]
    for program in programs:
        find(program, path_of(program, options))

    samples = Samples()
    run_all(rows, programs, options.rounds, samples, Progress(sys.stderr))

    calibration = calibration_of(programs, samples)
    scale = calibration[0] / reference if calibration else 1
    lines = judge(rows, programs, samples, scale)
    result = Result(rows, programs, samples, lines, options.rounds, reference, calibration)

    if options.json:
        options.json.write_text(json.dumps(as_json(result), indent=1) + "\n", encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(page(result), encoding="utf-8")
    show(result, sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
    return 1 if samples.failures or any(p.broken for p in programs) else 0

def run_as_command(main):
    """Runs it to its end, and ends with its exit code."""
    try:
        sys.exit(main(sys.argv[1:]))
    except BrokenPipeError:     # whoever read the table has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run_as_command(main)
