"""What is known of the tests that do not pass: expected.txt, and the words it is written in."""

import re
from fnmatch import translate
from functools import cache
from pathlib import Path

# Versions whose tests were gone through: in another nothing is expected, and nothing is a failure.
VERSIONS = ["3.11", "3.12", "3.13"]
MODES = {"loop": "the loop alone", "all": "all that `install()` replaces"}

NOT_THERE_YET = {
    "tls": "Needs TLS",
    "udp": "Needs datagram endpoints",
    "subprocess": "Needs subprocesses",
    "pipe": "Needs pipes",
    "sendfile": "Needs sendfile",
}
DIFFERS = {
    "repr": """Looks for a task of wait_for()'s own

The test looks for a callback in the repr of a task that this version's `wait_for()` makes. iora's makes none: what is
awaited runs in the caller's task, as from 3.12 on.""",
}
WHITE_BOX = {
    "patches": """White-box: puts mocks in the place of parts of asyncio

`asyncio.base_events.socket`, `asyncio.base_events.logger`, `asyncio.unix_events.signal`, `asyncio.unix_events.socket`,
or a method of the loop that only asyncio's own calls.""",
    "private": """White-box: looks at the insides of asyncio's own objects

Private attributes or methods of its loop, transports, processes and TLS protocol.""",
}
WORDS = NOT_THERE_YET | DIFFERS | WHITE_BOX  # each a heading, and what there is to say below it


class Known:
    """A line of expected.txt: tests, by name or pattern, why they do not pass, and where that is so."""

    def __init__(self, line):
        self.pattern, self.word, *where = line.split()
        self.versions = [each for each in where if each in VERSIONS] or VERSIONS
        self.modes = [each for each in where if each in MODES] or list(MODES)
        if self.word not in WORDS or set(where) - {*VERSIONS, *MODES}:
            raise ValueError(f"expected.txt: {line!r}")
        self.matches = re.compile(translate(self.pattern)).fullmatch


@cache
def read():
    lines = (Path(__file__).parent / "expected.txt").read_text().splitlines()
    return [Known(line) for line in lines if line and not line.startswith("#")]


def words_of(tests, version, mode):
    """{test: why it does not pass}, of those of which that is known."""
    known = [each for each in read() if version in each.versions and mode in each.modes]
    exact = {each.pattern: each.word for each in known if "*" not in each.pattern}
    patterns = [each for each in known if "*" in each.pattern]
    words = {}
    for test in tests:
        word = exact.get(test) or next((each.word for each in patterns if each.matches(test)), None)
        if word is not None:
            words[test] = word
    return words
