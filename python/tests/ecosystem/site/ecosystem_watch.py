"""A plugin of pytest's: how each test ended, a line of JSON for each, in the file that IORA_ECOSYSTEM_RESULTS names.

A test is *wanting* if it failed after iora had said that it does not have something yet: while the test or its
fixtures ran, or in what the failure says. That is found out by a class of NotImplementedError's in its place in
the modules that raise it. A line is written when a test begins, too: a run that was killed shows in which.
"""

import json
import os
import sys

import pytest

SAYS_SO = "iora has no "
RANK = ("passed", "skipped", "failed")


class NotYet(NotImplementedError):
    """What iora raises for what it does not have; `reasons` holds what was said."""

    reasons = []

    def __init__(self, *args):
        super().__init__(*args)
        if args and str(args[0]).startswith(SAYS_SO):
            self.reasons.append(str(args[0]))


NotYet.__name__ = NotYet.__qualname__ = "NotImplementedError"
NotYet.__module__ = "builtins"


def reason_in(text):
    """The sentence of iora's in what a failure says, or None."""
    start = text.find(SAYS_SO)
    end = text.find(" yet", start)
    return text[start:end + len(" yet")] if 0 <= start < end else None


class Watch:
    def __init__(self, out):
        self.out = out
        self.outcome, self.reason = None, None

    def write(self, test, **what):
        print(json.dumps({"test": test, **what}), file=self.out, flush=True)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item, nextitem):
        self.outcome, self.reason = "passed", None
        NotYet.reasons.clear()
        self.write(item.nodeid, outcome="began")
        result = yield
        self.write(item.nodeid, outcome=self.outcome, reason=self.reason)
        return result

    def pytest_runtest_logreport(self, report):
        self.outcome = max(self.outcome, report.outcome, key=RANK.index)
        if report.outcome == "failed" and self.reason is None:
            said = reason_in(report.longreprtext + report.caplog + report.capstderr)
            self.reason = NotYet.reasons[0] if NotYet.reasons else said

    def pytest_collectreport(self, report):
        if report.outcome == "failed":
            self.write(report.nodeid, outcome="failed", reason=reason_in(report.longreprtext))


def pytest_configure(config):
    path = os.environ.get("IORA_ECOSYSTEM_RESULTS")
    if path is None:
        return
    for name in "iora._rare", "iora._net":
        if name in sys.modules:
            vars(sys.modules[name])["NotImplementedError"] = NotYet
    # Tests of plugins run pytest in this process once more.
    del os.environ["IORA_ECOSYSTEM_RESULTS"]
    config.pluginmanager.register(Watch(open(path, "w", encoding="utf-8")), "ecosystem-watch")
