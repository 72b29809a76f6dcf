#!/usr/bin/env python3
"""Runs the network bench: echo servers under load, web servers under wrk, hand-offs to threads.

What is run: the contenders of net/rows.toml, programs below --programs, as serve.py says.

What is judged: for the echo rows the CPU time of the server for a request, by the kernel's clock of
that process, divided by that of the loop written by hand in the same turn, or by a peer's: the
median of the turns' ratios.  Other rows say in net/rows.toml what is judged.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import serve
from bench import number, print_table, run_as_command, yes_no
from serve import Verdict, asked, compare, times

HERE = Path(__file__).resolve().parent
UNITS = {"cpu": "us", "rate": "/s", "calls": "calls", "KiB": "KiB", "ns": "ns"}
MOST_IS_BEST = ("rate",)


# ---- What there is to run ---------------------------------------------------------------------

@dataclass(frozen=True)
class Row(serve.Row):
    direct_bar: float | None = None
    peer_bar: str | None = None
    bar: float | None = None


# ---- Running it -------------------------------------------------------------------------------

def calls(row, contender, setting):
    """System calls for a request: the difference of two runs, without what is called once."""
    texts = serve.traced(row, contender, setting, ["strace", "-f", "-qq", "-c", "-o", "FILE"])
    counts = [dict(counted(text)) for text in texts]
    each = {name: (count - counts[0].get(name, 0)) / (2 * serve.COUNTED)
            for name, count in counts[1].items()}
    listed = " ".join(f"{name} {count:.2f}" for name, count in sorted(each.items()) if count > 0.01)
    return {"calls": round(sum(each.values()), 2), "listed": listed}


def counted(table):
    """The calls and their counts in what strace -c prints."""
    for line in table.splitlines():
        words = line.split()
        if len(words) >= 5 and words[0].replace(".", "").isdigit() and words[-1] != "total":
            yield words[-1], int(words[3])


ASKS = {"http": serve.http, "calls": calls, "idle": serve.idle, "thread": serve.timed}


# ---- Judging it -------------------------------------------------------------------------------

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


# ---- Showing it -------------------------------------------------------------------------------

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


def show(rows, contenders, samples, verdicts, colour):
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


# ---- The command ------------------------------------------------------------------------------

def main(argv):
    rows, contenders = serve.load(HERE / "net" / "rows.toml", Row)
    options = serve.options_of(rows, "net", __doc__, 7).parse_args(argv)
    rows, contenders, samples = serve.run(
        rows, contenders, ASKS, options,
        lambda contender: [os.path.abspath(options.programs / contender.program)])
    return serve.finish(rows, contenders, samples, judge(rows, contenders, samples), options, show)


if __name__ == "__main__":
    run_as_command(main)
