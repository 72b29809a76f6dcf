#!/usr/bin/env python3
"""Runs the Python bench: the same asyncio programs on stock asyncio, uvloop, rloop and iora.

What is run: the rows of python/rows.toml by python/door.py, which opens each contender's door and
then runs a row of python/rows.py or a server of python/servers.py, in the interpreter --python.

How it is run: in rounds, each row once by each loop, one after another; which one is first changes.
serve.py says how the servers are measured.

What is judged: iora's figure divided by uvloop's of the same round, or of the same tenth of a second
of the echo; the median of these ratios is held against the bar.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import serve
from bench import number, print_table, run_as_command, yes_no
from serve import asked, times

HERE = Path(__file__).resolve().parent
DOOR = HERE / "python" / "door.py"


@dataclass(frozen=True)
class Row(serve.Row):
    bar: dict[str, float] = field(default_factory=dict)
    asyncio_bar: dict[str, float] = field(default_factory=dict)


# ---- Running it -------------------------------------------------------------------------------

def instructions(row, contender, setting):
    """Those in user mode for a request: the difference of two runs, without what is done once."""
    texts = serve.traced(row, contender, setting, [
        "valgrind", "-q", "--tool=callgrind", "--callgrind-out-file=FILE"])
    first, second = (int(re.search(r"^(?:summary|totals): (\d+)", text, re.M)[1]) for text in texts)
    return {"instructions": (second - first) / (2 * serve.COUNTED)}


ASKS = {"timed": serve.timed, "http": serve.http, "idle": serve.idle, "instructions": instructions}


# ---- Judging it -------------------------------------------------------------------------------

def judge(rows, contenders, samples):
    by_id = {c.id: c for c in contenders}
    for row in rows:
        for one in asked(row, contenders):
            if one.kind != "iora" or one.shown:
                continue
            value = samples.median(row, one, row.judged)
            for peer, bars in ("uvloop", row.bar), ("asyncio", row.asyncio_bar):
                if peer in by_id and (bars or peer == "uvloop"):
                    bar = f"<={bars[one.id]:g}" if one.id in bars else "-"
                    yield serve.compare(row, one, value, by_id[peer], bar, samples)


# ---- Showing it -------------------------------------------------------------------------------

def wall_ns(row, contender, samples):
    """For one: of what a server serves in parallel, its share."""
    rate = samples.median(row, contender, "rate")
    return 1e9 / rate if rate else samples.median(row, contender, "ns")


def cpu_ns(row, contender, samples):
    cpu = samples.median(row, contender, "cpu")
    return None if cpu is None else 1000 * cpu


def figure(row, contender, samples):
    """What is judged, in the unit that is shown."""
    if row.judged == "cpu":
        return cpu_ns(row, contender, samples)
    return samples.median(row, contender, row.judged)


def verdict_table(verdicts, contenders, samples):
    head = ["row", "unit", "iora", "wall", "cpu", "judged", "against", "its", "ratio", "bar", "met"]
    body = []
    for v in verdicts:
        unit = "ns" if v.row.judged in ("cpu", "ns") else v.row.judged
        against, = [c for c in contenders if c.name() == v.against]
        body.append([v.row.id, unit, v.contender.id,
                     number(wall_ns(v.row, v.contender, samples)),
                     number(cpu_ns(v.row, v.contender, samples)),
                     number(figure(v.row, v.contender, samples)), v.against,
                     number(figure(v.row, against, samples)), times(v.ratio), v.bar, yes_no(v.met)])
    return head, body


def figure_table(rows, contenders, samples):
    """Every loop's figure, and in how many of uvloop's that is."""
    head = ["row", "judged"]
    for one in contenders:
        head += [one.id] if one.id == "uvloop" else [one.id, "x"]
    uvloop = next((c for c in contenders if c.id == "uvloop"), None)
    body = []
    for row in rows:
        cells = [row.id, row.judged]
        for one in contenders:
            cells.append(number(figure(row, one, samples)))
            if one is not uvloop:
                cells.append(times(samples.ratio(row, one, uvloop) if uvloop else None))
        body.append(cells)
    return head, body


def polling_table(rows, contenders, samples):
    """Each of iora's doors where every turn polls: its figure, how often the usual one's, and uvloop's."""
    by_id = {c.id: c for c in contenders}
    pairs = [(by_id[c.id.removesuffix("_polling")], c) for c in contenders
             if c.shown and c.id.removesuffix("_polling") in by_id]
    head = ["row", "judged"]
    for usual, polling in pairs:
        head += [usual.id, "polling", "x", "of uvloop's"]
    body = []
    for row in rows:
        cells = [row.id, row.judged]
        for usual, polling in pairs:
            if row.kind in polling.tasks:
                uvloop = samples.ratio(row, polling, by_id["uvloop"]) if "uvloop" in by_id else None
                cells += [number(figure(row, usual, samples)), number(figure(row, polling, samples)),
                          times(samples.ratio(row, polling, usual)), times(uvloop)]
        if len(cells) == len(head) > 2:
            body.append(cells)
    return head, body


def show(rows, contenders, samples, verdicts, colour):
    print("\nJudged")
    print_table(*verdict_table(verdicts, contenders, samples), colour)
    print("\nEvery loop, and its ratio to uvloop")
    usual = [c for c in contenders if not c.shown]
    print_table(*figure_table(rows, usual, samples), colour)
    head, body = polling_table(rows, contenders, samples)
    if body:
        print("\niora's polling on every turn")
        print_table(head, body, colour)
    print("\nLoops")
    for contender in contenders:
        print(f"{contender.id}: {contender.about or contender.absent}")


# ---- The command ------------------------------------------------------------------------------

def main(argv):
    rows, contenders = serve.load(HERE / "python" / "rows.toml", Row)
    parser = serve.options_of(rows, "python", __doc__, 5)
    parser.add_argument("--python", metavar="FILE", required=True,
                        help="the interpreter that has the packages")
    options = parser.parse_args(argv)
    rows, contenders, samples = serve.run(
        rows, contenders, ASKS, options,
        lambda contender: [os.path.abspath(options.python), str(DOOR), contender.program])
    verdicts = list(judge(rows, contenders, samples))
    return serve.finish(rows, contenders, samples, verdicts, options, show)


if __name__ == "__main__":
    run_as_command(main)
