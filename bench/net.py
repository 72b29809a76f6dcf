#!/usr/bin/env python3
"""Runs the network bench: echo servers under load, web servers under wrk, hand-offs to threads.

What is run: the contenders of net/rows.toml, programs below --programs.  Servers keep to the rules
in net/server.h: the first line ends with their port, and they serve until their stdin ends.

How it is run: in rounds.  In each round every row is run once with every contender, one after
another; which one is first changes from round to round.  The echo servers of a row are started
together and then measured in turn, a tenth of a second each, again and again: whatever else the
machine does meets all alike.  The server that is measured has one processor for itself and the load
another.

What is judged: for the echo rows the CPU time of the server for a request, by the kernel's clock of
that process, divided by that of the loop written by hand in the same turn, or by a peer's: the
median of the turns' ratios.  Other rows say in net/rows.toml what is judged.
"""

import argparse
import json
import os
import re
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from bench import (Failure, Progress, figures_of, machine, median, number, positive, print_table,
                   writable, yes_no)

HERE = Path(__file__).resolve().parent
TURN_S = 0.1            # for which an echo server is measured before the next one is
PATIENCE_S = 20         # for a server to begin, and to end
UNITS = {"cpu": "us", "rate": "/s", "calls": "calls", "KiB": "KiB", "ns": "ns"}
MOST_IS_BEST = ("rate",)
COUNTED = 1000          # requests of the shorter of two runs whose system calls are counted


# ---- What there is to run ---------------------------------------------------------------------

@dataclass
class Contender:
    id: str
    kind: str
    title: str
    program: str
    tasks: list[str]
    label: str = ""
    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    stop: str | None = None
    shown: bool = False
    path: str = ""
    about: str = ""
    absent: str = ""                # why it is not run at all

    def name(self):
        return f"{self.title}, {self.label}" if self.label else self.title


@dataclass(frozen=True)
class Row:
    id: str
    question: str
    kind: str
    judged: str
    connections: int = 0
    direct_bar: float | None = None
    peer_bar: str | None = None
    bar: float | None = None
    rounds: int | None = None
    one_cpu: bool = False
    program_row: str | None = None


def load(path):
    with open(path, "rb") as file:
        table = tomllib.load(file)
    return [Row(**r) for r in table["row"]], [Contender(**c) for c in table["contender"]]


def find(contender, folder):
    contender.path = os.path.abspath(folder / contender.program)
    if not os.access(contender.path, os.X_OK):
        contender.absent = "not built"
        return
    try:
        if contender.stop is None:  # a program of the bench's own
            contender.about = output_of([contender.path, "--about"], contender.program).strip()
    except Failure as failure:
        contender.absent = f"FAILED, {failure}"


# ---- Running it -------------------------------------------------------------------------------

@dataclass(frozen=True)
class Setting:
    """What the runs have in common."""
    folder: Path
    seconds: float
    server_cpu: int
    load_cpu: int


def on(cpus, command):
    """The command, kept to those processors."""
    return ["taskset", "-c", ",".join(map(str, cpus)), *command]


def output_of(command, what):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        raise Failure(f"{what} took more than 300 s") from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise Failure(f"{what}: {said[-1] if said else f'exit code {done.returncode}'}")
    return done.stdout


@contextmanager
def serving(contender, setting, wrapper=()):
    """A server and its port; the server's own account is in server.account afterwards."""
    command = on([setting.server_cpu], [*wrapper, contender.path, *contender.arguments])
    with tempfile.TemporaryFile("w+") as errors, subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            env={**os.environ, **contender.environment}) as server:
        try:
            yield server, port_of(server, errors)
            end(server, contender)
        finally:
            server.kill()
        if server.returncode != 0:
            raise Failure(f"ended with {server.returncode}: {last_line(errors)}")


def port_of(server, errors):
    ready, _, _ = select.select([server.stdout], [], [], PATIENCE_S)
    line = server.stdout.readline() if ready else ""
    port = re.search(r":(\d+)\D*$", line)
    if port is None:
        raise Failure(f"did not say where it listens: {line.strip() or last_line(errors)}")
    return int(port[1])


def end(server, contender):
    """Ends it as it wants to be ended, and reads its account."""
    if contender.stop is not None:
        server.send_signal(signal.Signals[contender.stop])
    try:
        said, _ = server.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise Failure("did not end") from None
    server.account = said.strip().split("\t")


def last_line(file):
    file.seek(0)
    lines = file.read().strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def cpu_seconds(pid):
    """The CPU clock of a process: its identifier is made so, see clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


class Loaded:
    """An echo server and its load, which wait until they are to be measured."""

    def __init__(self, row, contender, setting):
        self.served = 0
        with ExitStack() as stack:
            self.server, port = stack.enter_context(serving(contender, setting))
            command = [setting.folder / "load", "-c", row.connections, "-p", self.server.pid,
                       "-s", TURN_S, port]
            self.load = stack.enter_context(subprocess.Popen(
                on([setting.load_cpu], map(str, command)), stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, text=True))
            stack.callback(self.load.kill)
            self.stack = stack.pop_all()

    def measure(self):
        self.load.stdin.write("\n")
        self.load.stdin.flush()
        ready, _, _ = select.select([self.load.stdout], [], [], PATIENCE_S)
        line = self.load.stdout.readline() if ready else ""
        if not line:
            raise Failure("left a request without its answer")
        requests, seconds, cpu, p50, p99 = map(float, line.split())
        if requests == 0:           # the machine was elsewhere
            return None
        self.served += requests
        return {"cpu": 1e6 * cpu / requests, "rate": requests / seconds,
                "busy": 100 * cpu / seconds, "p50": p50, "p99": p99}

    def end(self):
        self.load.stdin.close()
        self.load.wait(timeout=PATIENCE_S)
        self.stack.close()
        if int(self.server.account[0]) < self.served:
            raise Failure(f"says it served {self.server.account[0]} requests of {self.served:.0f}")


def echo_round(row, contenders, number_, setting, samples):
    """All the servers in turn."""
    running = {}
    for contender in contenders:
        with samples.failing(row, contender):
            running[contender.id] = Loaded(row, contender, setting)
    for turn in range(max(1, round(setting.seconds / TURN_S))):
        for contender in rotated(contenders, number_ + turn):
            with samples.failing(row, contender):
                if (row.id, contender.id) not in samples.failures:
                    samples.add(row, contender, (number_, turn), running[contender.id].measure())
    for contender in contenders:
        with samples.failing(row, contender):
            if contender.id in running:
                running[contender.id].end()


def http(row, contender, setting):
    with serving(contender, setting) as (server, port):
        command = ["wrk", "-t1", f"-c{row.connections}", f"-d{max(2, round(setting.seconds))}s",
                   "--latency", f"http://127.0.0.1:{port}/"]
        begin = cpu_seconds(server.pid)
        text = output_of(on([setting.load_cpu], command), "wrk")
        cpu = cpu_seconds(server.pid) - begin
    if re.search(r"Socket errors|Non-2xx", text):
        raise Failure(f"wrk found {re.search(r'(Socket errors|Non-2xx).*', text)[0]}")
    requests = int(re.search(r"(\d+) requests in", text)[1])
    rate = float(re.search(r"Requests/sec:\s*([\d.]+)", text)[1])
    return {"rate": rate, "cpu": 1e6 * cpu / requests, "busy": 100 * cpu * rate / requests,
            "p50": microseconds(text, 50), "p99": microseconds(text, 99)}


def microseconds(text, percent):
    value, unit = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)", text).groups()
    return float(value) * {"us": 1, "ms": 1000, "s": 1e6}[unit]


def calls(row, contender, setting):
    """System calls for a request: the difference of two runs, without what is called once."""
    counts = []
    for requests in COUNTED, 3 * COUNTED:
        with tempfile.NamedTemporaryFile("r") as file:
            wrapper = ["strace", "-f", "-qq", "-c", "-o", file.name]
            with serving(contender, setting, wrapper) as (_, port):
                command = [setting.folder / "load", "-c", row.connections, "-n", requests, port]
                output_of([str(word) for word in command], "load")
            counts.append(dict(counted(file.read())))
    each = {name: (count - counts[0].get(name, 0)) / (2 * COUNTED)
            for name, count in counts[1].items()}
    listed = " ".join(f"{name} {count:.2f}" for name, count in sorted(each.items()) if count > 0.01)
    return {"calls": round(sum(each.values()), 2), "listed": listed}


def counted(table):
    """The calls and their counts in what strace -c prints."""
    for line in table.splitlines():
        words = line.split()
        if len(words) >= 5 and words[0].replace(".", "").isdigit() and words[-1] != "total":
            yield words[-1], int(words[3])


def idle(row, contender, setting):
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(row.connections, limit - 100)
    with serving(contender, setting) as (server, port):
        before = memory_kib(server.pid)
        command = [str(setting.folder / "load"), "-c", str(count), "-i", str(port)]
        with subprocess.Popen(on([setting.load_cpu], command), stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True) as clients:
            if clients.stdout.readline() != "idle\n":
                raise Failure("load could not open its connections")
            after = memory_kib(server.pid)
            clients.stdin.close()
    return {"KiB": (after - before) / count, "connections": count}


def memory_kib(pid):
    """Resident memory and page tables."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return sum(int(re.search(rf"{name}:\s*(\d+)", status)[1]) for name in ("VmRSS", "VmPTE"))


def thread(row, contender, setting):
    name = row.program_row or row.id
    cpus = [setting.server_cpu] if row.one_cpu else [setting.server_cpu, setting.load_cpu]
    environment = [f"{key}={value}" for key, value in contender.environment.items()]
    text = output_of(on(cpus, ["env", *environment, contender.path, name]), contender.program)
    wall, cpu = figures_of(name, text)["ns"]
    return {"ns": wall, "cpu": cpu / 1000}


def single(row, contenders, number_, setting, samples):
    """One after another, each once."""
    for contender in rotated(contenders, number_):
        with samples.failing(row, contender):
            figures = ONE_BY_ONE[row.kind](row, contender, setting)
            samples.add(row, contender, (number_, 0), figures)


def rotated(items, by):
    by %= len(items)
    return items[by:] + items[:by]


ONE_BY_ONE = {"http": http, "calls": calls, "idle": idle, "thread": thread}


class Samples:
    """What was measured: (row, contender) -> (round, turn) -> figures."""

    def __init__(self):
        self.figures = {}
        self.failures = {}          # (row, contender) -> why

    @contextmanager
    def failing(self, row, contender):
        """What fails within is remembered, and the contender is asked no more."""
        try:
            yield
        except Failure as failure:
            self.failures.setdefault((row.id, contender.id), str(failure))

    def add(self, row, contender, when, figures):
        if figures is not None:
            self.figures.setdefault((row.id, contender.id), {})[when] = figures

    def of(self, row, contender):
        if (row.id, contender.id) in self.failures:
            return {}
        return self.figures.get((row.id, contender.id), {})

    def median(self, row, contender, figure):
        return median([f[figure] for f in self.of(row, contender).values() if figure in f])

    def ratio(self, row, one, other):
        """Median of the ratios of the turns that have both."""
        ones, others = self.of(row, one), self.of(row, other)
        # A turn in which somebody got no time of the machine's tells nothing.
        return median([ones[t][row.judged] / others[t][row.judged] for t in ones
                       if t in others and ones[t][row.judged] and others[t][row.judged]])


def asked(row, contenders):
    return [c for c in contenders if row.kind in c.tasks]


def run_all(rows, contenders, rounds, setting, samples, progress):
    for number_ in range(rounds):
        for row in rows:
            ready = [c for c in asked(row, contenders)
                     if not c.absent and (row.id, c.id) not in samples.failures]
            if not ready or number_ >= (row.rounds or rounds):
                continue
            progress.show(f"round {number_ + 1} of {rounds}: {row.id}")
            run = echo_round if row.kind == "echo" else single
            run(row, ready, number_, setting, samples)
    progress.clear()


# ---- Judging it -------------------------------------------------------------------------------

@dataclass
class Verdict:
    """iora held against one other contender, or against a figure."""
    row: Row
    contender: Contender
    value: float | None
    against: str
    other: float | None
    ratio: float | None
    bar: str
    met: bool | None


def judge(rows, contenders, samples):
    verdicts = []
    for row in rows:
        runners = asked(row, contenders)
        for one in runners:
            if one.kind == "iora" and not one.shown:
                verdicts += judge_one(row, one, runners, samples)
    return verdicts


def judge_one(row, one, runners, samples):
    value = samples.median(row, one, row.judged)
    if row.bar is not None:
        met = None if value is None else value <= row.bar
        yield Verdict(row, one, value, "-", None, None, f"<= {row.bar:g}", met)
    if row.direct_bar is not None:
        direct, = [c for c in runners if c.kind == "direct"]
        yield compare(row, one, value, direct, f"<={row.direct_bar}", samples)
    if row.peer_bar is not None:
        for title in dict.fromkeys(c.title for c in runners if c.kind == "peer"):
            peer = best_variant(row, [c for c in runners if c.title == title], samples)
            yield compare(row, one, value, peer, row.peer_bar, samples)


def best_variant(row, variants, samples):
    sign = -1 if row.judged in MOST_IS_BEST else 1
    found = [(samples.median(row, v, row.judged), v) for v in variants]
    found = [(sign * value, i, v) for i, (value, v) in enumerate(found) if value is not None]
    return min(found)[2] if found else variants[0]


def compare(row, one, value, other, bar, samples):
    ratio = samples.ratio(row, one, other)
    met = None
    if ratio is not None:
        limit = float(Fraction(bar.lstrip("<>=")))
        met = (ratio > limit if bar.startswith(">")
               else ratio <= limit if bar.startswith("<=") else ratio < limit)
    shown = re.sub(r"^([<>=]+)", r"\1 ", bar)
    return Verdict(row, one, value, other.name(), samples.median(row, other, row.judged), ratio,
                   shown, met)


# ---- Showing it -------------------------------------------------------------------------------

def times(ratio):
    return "-" if ratio is None else f"{ratio:.3f}"


def verdict_table(verdicts):
    head = ["row", "unit", "iora", "figure", "against", "its figure", "ratio", "bar", "met"]
    body = [[v.row.id, UNITS[v.row.judged], v.contender.title.removeprefix("iora, "),
             number(v.value), v.against, number(v.other), times(v.ratio), v.bar, yes_no(v.met)]
            for v in verdicts]
    return head, body


def figure_table(rows, contenders, samples):
    head = ["row", "contender", "requests/s", "cpu us", "x direct", "least", "most",
            "busy %", "p50 us", "p99 us"]
    body = []
    for row in rows:
        if row.kind not in ("echo", "http"):
            continue
        runners = asked(row, contenders)
        direct = next((c for c in runners if c.kind == "direct"), None)
        for one in runners:
            figures = {f: samples.median(row, one, f)
                       for f in ("rate", "cpu", "busy", "p50", "p99")}
            cpus = [found["cpu"] for found in samples.of(row, one).values()]
            rate = figures["rate"]
            body.append([row.id, one.name(), "-" if rate is None else f"{rate:.0f}",
                         number(figures["cpu"]),
                         times(samples.ratio(row, one, direct) if direct else None),
                         number(min(cpus, default=None)), number(max(cpus, default=None)),
                         *(number(figures[f]) for f in ("busy", "p50", "p99"))])
    return head, body


def other_table(rows, contenders, samples):
    head = ["row", "contender", "unit", "figure", "note"]
    body = []
    for row in rows:
        if row.kind in ("echo", "http"):
            continue
        for one in asked(row, contenders):
            note = next((found.get("listed", "") for found in samples.of(row, one).values()), "")
            body.append([row.id, one.name(), UNITS[row.judged],
                         number(samples.median(row, one, row.judged)), note])
    return head, body


def reasons(contenders, samples):
    names = {c.id: c.name() for c in contenders}
    said = {f"{c.program}: {c.absent}": None for c in contenders if c.absent}
    return [*said, *(f"{names[c]}, {row}: FAILED, {why}"
                     for (row, c), why in samples.failures.items())]


def show(rows, contenders, samples, verdicts, options, colour):
    print(f"{machine()}; medians of {options.rounds} round(s), {options.seconds:g} s each")
    for title, table in [
            ("Judged", verdict_table(verdicts)),
            ("Servers", figure_table(rows, contenders, samples)),
            ("Others", other_table(rows, contenders, samples))]:
        if table[1]:
            print(f"\n{title}")
            print_table(*table, colour)
    print("\nPrograms")
    for line in dict.fromkeys(f"{c.program}: {c.about}" for c in contenders if c.about):
        print(line)
    missing = reasons(contenders, samples)
    if missing:
        print("\nWhy there is a \"-\"")
        print("\n".join(missing))


def as_json(rows, contenders, samples, verdicts, options):
    """Everything, each round's figures included."""
    return {
        "machine": machine(),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "programs": {c.id: {"about": c.about, "absent": c.absent or None} for c in contenders},
        "verdicts": [
            {"row": v.row.id, "figure": v.row.judged, "contender": v.contender.id, "value": v.value,
             "against": v.against, "other": v.other, "ratio": v.ratio, "bar": v.bar, "met": v.met}
            for v in verdicts],
        "samples": [
            {"row": row.id, "contender": c.id, "turns": list(samples.of(row, c).values())}
            for row in rows for c in asked(row, contenders)],
        "missing": reasons(contenders, samples),
    }


# ---- The command ------------------------------------------------------------------------------

def arguments_of(argv, rows):
    parser = argparse.ArgumentParser(
        prog="net.py", formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__,
        epilog="Rows: " + " ".join(row.id for row in rows) + "\n\n"
               "Exit code: 0, also where a bar is missed (the table says so); 1 if a program "
               "failed; 2 for\nbad usage.")
    parser.add_argument("--programs", metavar="FOLDER", type=Path, required=True,
                        help="where the programs were built")
    parser.add_argument("--rounds", type=positive, default=7, metavar="N",
                        help="how many rounds (default 7); a few rows have fewer of their own")
    parser.add_argument("--seconds", type=float, default=0.5, metavar="S",
                        help="how long a server is measured in a round (default 0.5)")
    parser.add_argument("--row", action="append", metavar="NAME", choices=[row.id for row in rows],
                        help="run this row only; may be given more than once")
    parser.add_argument("--only", action="append", metavar="ID",
                        help="run this contender of net/rows.toml only; as --row")
    parser.add_argument("--json", metavar="FILE", type=writable,
                        help="write everything, with the figures of all turns, to FILE")
    return parser.parse_args(argv)


def allow_descriptors():
    """For whoever is started from here: one for each connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(argv):
    rows, contenders = load(HERE / "net" / "rows.toml")
    options = arguments_of(argv, rows)
    if options.row:
        rows = [row for row in rows if row.id in options.row]
    if options.only:
        contenders = [c for c in contenders if c.id in options.only]
    contenders = [c for c in contenders if any(row.kind in c.tasks for row in rows)]
    for contender in contenders:
        find(contender, options.programs)

    cpus = sorted(os.sched_getaffinity(0))
    setting = Setting(options.programs, options.seconds, server_cpu=cpus[-1], load_cpu=cpus[0])
    allow_descriptors()
    samples = Samples()
    run_all(rows, contenders, options.rounds, setting, samples, Progress(sys.stderr))

    verdicts = judge(rows, contenders, samples)
    if options.json:
        text = json.dumps(as_json(rows, contenders, samples, verdicts, options), indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")
    show(rows, contenders, samples, verdicts, options,
         sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
    broken = any(c.absent.startswith("FAILED") for c in contenders)
    return 1 if samples.failures or broken else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BrokenPipeError:     # whoever read the table has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        sys.exit(130)
