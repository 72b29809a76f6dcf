"""docs/conformance.md, from what conform.py counted on each interpreter.

    python page.py FILE FOLDER...

Each FOLDER is the --out of a run of conform.py. If one holds no counts, for not all was as expected there, the page
stays as it is. Rows of versions that were not run are kept, so that a machine with fewer interpreters does not take
any away. No figure depends on a machine's speed.
"""

import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from textwrap import fill

import known

HEAD = """# Conformance

CPython's own tests of asyncio (`test.test_asyncio`), and those of async generators, async context managers,
`IsolatedAsyncioTestCase` and `AsyncMock`, run against iora by `./run test --python`, which also writes this page.

- *loop*: iora's loop alone, under asyncio's own functions; counted are the tests that made such a loop.
- *all*: all that `iora.install()` replaces; counted are all tests.

| Python | mode | passed | need what is not there yet | differ | white-box | skipped |
|---|---|---:|---:|---:|---:|---:|
"""

COLUMNS = ["passed", "not there yet", "differs", "white-box", "skipped"]

TAIL = """
Every other test passes, and none hangs. *white-box*: asks for the insides of asyncio's own loop, which another loop does
not have. *skipped*: by the test itself.
"""


def rows_of(summary):
    return [f"| {summary['version']} | {mode} | " + " | ".join(str(columns[name]) for name in COLUMNS) + " |"
            for mode, columns in summary["modes"].items()]


def minor(row):
    return re.match(r"\| (3\.\d+)", row)[1]


def rows(old, summaries):
    fresh = [row for summary in summaries for row in rows_of(summary)]
    run = {minor(row) for row in fresh}
    kept = [row for row in old.splitlines() if re.match(r"\| 3\.\d+\.\d+ \|", row) and minor(row) not in run]
    return sorted(set(kept + fresh), key=lambda row: ([int(n) for n in row.split()[1].split(".")],
                                                      list(known.MODES).index(row.split()[3])))


def name(each):
    where = [*(each.versions if each.versions != known.VERSIONS else ()),
             *(f"mode {mode}" for mode in each.modes if each.modes != list(known.MODES))]
    test = each.pattern.rpartition(".")[2]
    return f"{test} ({', '.join(where)})" if where else test


def reasons():
    """Each reason once, with its tests by class."""
    lines = []
    for word, meaning in known.WORDS.items():
        classes = defaultdict(list)
        for each in known.read():
            if each.word == word:
                classes[each.pattern.rpartition(".")[0].replace(".*", "")].append(name(each))
        if classes:
            lines += [f"## {meaning}", ""]
        for where, tests in sorted(classes.items()):
            lines += [fill(f"**{where}**: {', '.join(sorted(tests))}", width=110), ""]
    return "\n".join(lines)


def main():
    page, *folders = map(Path, sys.argv[1:])
    found = [folder / "counts.json" for folder in folders]
    if not all(path.exists() for path in found):
        return
    summaries = [json.loads(path.read_text()) for path in found]
    old = page.read_text() if page.exists() else ""
    page.write_text(HEAD + "\n".join(rows(old, summaries)) + "\n" + TAIL + "\n" + reasons())


if __name__ == "__main__":
    main()
