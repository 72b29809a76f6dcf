"""What all of iora's tests in Python share, those of the package too: choosing tests by ./run's patterns, the last
line, and times in what a program prints."""

import re
from fnmatch import fnmatch

TIME = re.compile(r"\b(\d+(?:\.\d)?) (s|ms)\b")


def timeless(text):
    """The text with its times taken out, and these in seconds."""
    return TIME.sub("...", text), [float(figure) / (1000 if unit == "ms" else 1)
                                   for figure, unit in TIME.findall(text)]


def pytest_addoption(parser):
    parser.addoption("--matching", action="append", default=[], metavar="PATTERN",
                     help="only tests whose name contains PATTERN (with * or ?: matches it)")


def pytest_collection_modifyitems(config, items):
    patterns = [p if set(p) & set("*?[") else f"*{p}*" for p in config.getoption("--matching")]
    if patterns:
        chosen = [item for item in items if any(fnmatch(item.nodeid, p) for p in patterns)]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen


def pytest_unconfigure(config):
    """End with the line that all of iora's test runners end with."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    passed, failed, errors, skipped = (len(reporter.stats.get(outcome, ()))
                                       for outcome in ("passed", "failed", "error", "skipped"))
    rest = f", {skipped} skipped" if skipped else ""
    print(f"{passed} passed, {failed + errors} failed{rest}")
