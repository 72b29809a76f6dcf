"""What the benches of servers share, net.py's and python.py's: to start, load and judge programs.

A contender is a program by which one thing is done; servers keep to the rules in net/server.h: the
first line ends with their port, and they serve until their stdin ends.  A row is asked of all
contenders in rounds, one after another; which one is first changes from round to round.  The echo
servers of a row are started together and then measured in turn, a tenth of a second each, again and
again: whatever else the machine does meets all alike.  The server that is measured has one processor
for itself and the load another.
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

from bench import Failure, Progress, figures_of, machine, median, positive, writable

TURN_S = 0.1            # for which an echo server is measured before the next one is
PATIENCE_S = 60         # for a server to begin, and to end: under Valgrind it is slow
COUNTED = 1000          # requests of the shorter of two runs that a tracer counts in


# ---- What there is to run ---------------------------------------------------------------------

@dataclass
class Contender:
    """A program that is asked; what the fields are stands in net/rows.toml."""
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
    command: list[str] = field(default_factory=list)
    about: str = ""
    absent: str = ""                # why it is not run at all

    def name(self):
        return f"{self.title}, {self.label}" if self.label else self.title


@dataclass(frozen=True)
class Row:
    """What both benches say of a row; each adds its bars."""
    id: str
    question: str
    kind: str
    judged: str
    connections: int = 0
    rounds: int | None = None
    one_cpu: bool = False
    program_row: str | None = None


def load(path, row_type):
    with open(path, "rb") as file:
        table = tomllib.load(file)
    return [row_type(**r) for r in table["row"]], [Contender(**c) for c in table["contender"]]


def find(contender, command):
    """Asks the program what it is."""
    contender.command = command
    if not os.access(command[0], os.X_OK):
        contender.absent = "not built"
        return
    try:
        if contender.stop is None:  # a program of the bench's own
            contender.about = output_of([*command, "--about"], contender.program).strip()
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
def serving(row, contender, setting, wrapper=()):
    """A server and its port; the server's own account is in server.account afterwards."""
    arguments = [*contender.arguments, *([row.program_row] if row.program_row else [])]
    command = on([setting.server_cpu], [*wrapper, *contender.command, *arguments])
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
            self.server, port = stack.enter_context(serving(row, contender, setting))
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
        account = self.server.account[0]
        if account and int(account) < self.served:
            raise Failure(f"says it served {account} requests of {self.served:.0f}")


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
    with serving(row, contender, setting) as (server, port):
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


def traced(row, contender, setting, tracer):
    """What a tracer writes into FILE about a run of COUNTED requests, and of three times as many."""
    texts = []
    for requests in COUNTED, 3 * COUNTED:
        with tempfile.NamedTemporaryFile() as file:
            wrapper = [word.replace("FILE", file.name) for word in tracer]
            with serving(row, contender, setting, wrapper) as (_, port):
                command = [setting.folder / "load", "-c", row.connections, "-n", requests, port]
                output_of([str(word) for word in command], "load")
            texts.append(Path(file.name).read_text(encoding="utf-8"))
    return texts


def idle(row, contender, setting):
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(row.connections, limit - 100)
    with serving(row, contender, setting) as (server, port):
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


def timed(row, contender, setting):
    """The program measures itself."""
    name = row.program_row or row.id
    cpus = [setting.server_cpu] if row.one_cpu else [setting.server_cpu, setting.load_cpu]
    environment = [f"{key}={value}" for key, value in contender.environment.items()]
    text = output_of(on(cpus, ["env", *environment, *contender.command, name]), contender.program)
    wall, cpu = figures_of(name, text)["ns"]
    return {"ns": wall, "cpu": cpu / 1000}


def one_by_one(ask, row, contenders, number_, setting, samples):
    """One after another, each once."""
    for contender in rotated(contenders, number_):
        with samples.failing(row, contender):
            figures = ask(row, contender, setting)
            samples.add(row, contender, (number_, 0), figures)


def rotated(items, by):
    by %= len(items)
    return items[by:] + items[:by]


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


def run_all(rows, contenders, asks, options, setting, samples):
    """`asks` has a function for each kind of row but "echo"."""
    rounds, progress = options.rounds, Progress(sys.stderr)
    for number_ in range(rounds):
        for row in rows:
            ready = [c for c in asked(row, contenders)
                     if not c.absent and (row.id, c.id) not in samples.failures]
            if not ready or number_ >= (row.rounds or rounds):
                continue
            progress.show(f"round {number_ + 1} of {rounds}: {row.id}")
            if row.kind == "echo":
                echo_round(row, ready, number_, setting, samples)
            else:
                one_by_one(asks[row.kind], row, ready, number_, setting, samples)
    progress.clear()


# ---- Judging and showing it -------------------------------------------------------------------

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


def compare(row, one, value, other, bar, samples):
    ratio = samples.ratio(row, one, other)
    met = None
    if ratio is not None and bar != "-":
        limit = float(Fraction(bar.lstrip("<>=")))
        met = (ratio > limit if bar.startswith(">")
               else ratio <= limit if bar.startswith("<=") else ratio < limit)
    shown = re.sub(r"^([<>=]+)", r"\1 ", bar)
    return Verdict(row, one, value, other.name(), samples.median(row, other, row.judged), ratio,
                   shown, met)


def times(ratio):
    return "-" if ratio is None else f"{ratio:.3f}"


def reasons(contenders, samples):
    names = {c.id: c.name() for c in contenders}
    said = {f"{c.program}: {c.absent}": None for c in contenders if c.absent}
    return [*said, *(f"{names[c]}, {row}: FAILED, {why}"
                     for (row, c), why in samples.failures.items())]


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

def options_of(rows, name, description, rounds):
    """The options that both have, as a parser."""
    parser = argparse.ArgumentParser(
        prog=f"{name}.py", formatter_class=argparse.RawDescriptionHelpFormatter,
        description=description,
        epilog="Rows: " + " ".join(row.id for row in rows) + "\n\n"
               "Exit code: 0, also where a bar is missed (the table says so); 1 if a program "
               "failed; 2 for\nbad usage.")
    parser.add_argument("--programs", metavar="FOLDER", type=Path, required=True,
                        help="where the programs were built")
    parser.add_argument("--rounds", type=positive, default=rounds, metavar="N",
                        help=f"how many rounds (default {rounds}); a few rows have fewer of their own")
    parser.add_argument("--seconds", type=float, default=0.5, metavar="S",
                        help="how long a server is measured in a round (default 0.5)")
    parser.add_argument("--row", action="append", metavar="NAME", choices=[row.id for row in rows],
                        help="run this row only; may be given more than once")
    parser.add_argument("--only", action="append", metavar="ID",
                        help=f"run this contender of {name}/rows.toml only; as --row")
    parser.add_argument("--json", metavar="FILE", type=writable,
                        help="write everything, with the figures of all turns, to FILE")
    return parser


def run(rows, contenders, asks, options, command_of):
    """Measures the rows and contenders that the options leave; these and the samples."""
    if options.row:
        rows = [row for row in rows if row.id in options.row]
    if options.only:
        contenders = [c for c in contenders if c.id in options.only]
    contenders = [c for c in contenders if any(row.kind in c.tasks for row in rows)]
    for contender in contenders:
        find(contender, command_of(contender))

    cpus = sorted(os.sched_getaffinity(0))
    setting = Setting(options.programs, options.seconds, server_cpu=cpus[-1], load_cpu=cpus[0])
    allow_descriptors()
    samples = Samples()
    run_all(rows, contenders, asks, options, setting, samples)
    return rows, contenders, samples


def finish(rows, contenders, samples, verdicts, options, show):
    """Writes and shows the result; the exit code."""
    if options.json:
        text = json.dumps(as_json(rows, contenders, samples, verdicts, options), indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")
    print(f"{machine()}; medians of {options.rounds} round(s), {options.seconds:g} s each")
    show(rows, contenders, samples, verdicts, sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
    missing = reasons(contenders, samples)
    if missing:
        print("\nWhy there is a \"-\"")
        print("\n".join(missing))
    broken = any(c.absent.startswith("FAILED") for c in contenders)
    return 1 if samples.failures or broken else 0


def allow_descriptors():
    """For whoever is started from here: one for each connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
