"""Every allocation fails, at every place of every scenario: one at a time, and all from there on. Each time in a process
of its own, forked when the scenario has run and caches are warm.

However it went: the scenario ended well or with MemoryError; nothing reported a SystemError; the loop still works and
closes; nothing of ours lives on, no descriptor and no thread, unless what failed was the interpreter's alone (ext/seam.c
says why). A process that dies or waits for ever is a failure.

A program whose exception handler is told that memory ran out cannot know whom a callback would have woken. So the
handler here stops the loop. What hangs has not been told.

    python sweep.py [--every N] [PATTERN...]              # all scenarios with that in their name
    python sweep.py --scenario tasks --mode once --n 7    # one run, in this process, for a debugger
"""

import argparse
import asyncio
import faulthandler
import fnmatch
import gc
import logging
import os
import select
import signal
import sys
import threading
import time
import traceback

import scenarios

import iora
from iora import _c

WARM_UPS = 3
TICK = 0.5  # whom the interpreter forgot to wake is waited for so long
PATIENCE = 12  # and everybody else so many ticks
INTERPRETERS = "!"  # that the failure was the interpreter's alone
MODES = {"once": False, "persistent": True}


# ---- one run ------------------------------------------------------------------------------------------------------

class Hangs(BaseException):
    """Thrown into a loop that waits for ever."""


class Run:
    """A scenario in a loop of its own, with what is to fail."""

    def __init__(self, scenario, index, persistent, told=-1):
        self.scenario, self.index, self.persistent, self.told = scenario, index, persistent, told
        self.problems = []
        self.ticks = 0
        self.loop = None
        self.was_told = self.is_over = self.hangs = False

    def on_error(self, loop, context):
        _c._pause(True)
        exception = context.get("exception")
        self.see(exception, context["message"])
        if is_about(exception, MemoryError) and not self.is_over:
            self.was_told = True
            if loop.is_running():  # else the next run would end at once
                loop.stop()
        _c._pause(False)

    def on_log(self, record):
        """concurrent.futures tells its log alone that it could not wake a loop."""
        exception = record.exc_info and record.exc_info[1]
        self.on_error(self.loop, {"exception": exception, "message": record.msg})

    def on_unraisable(self, unraisable):
        _c._pause(True)
        self.see(unraisable.exc_value, f"unraisable {unraisable.err_msg}")
        _c._pause(False)

    def on_alarm(self, number, frame):
        """At each tick. Whom the interpreter forgot to wake waits for ever, and need not be waited for."""
        self.ticks += 1
        if _c._disarm()[3] or self.ticks == PATIENCE:
            self.hangs = True
            raise Hangs

    def see(self, exception, where):
        if is_about(exception, SystemError) and not is_the_interpreters(exception):
            self.problems.append(f"{where}: {text_of(exception)}")

    def go(self):
        """How many allocations there were, and whether one of them failed."""
        sys.unraisablehook = self.on_unraisable
        logging.getLogger("concurrent.futures").handle = self.on_log
        signal.signal(signal.SIGALRM, self.on_alarm)
        before = census()
        exception = None
        loop = None
        signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
        _c._arm(self.index, self.persistent, self.told)
        try:
            self.loop = loop = iora.new_event_loop()
            loop.set_exception_handler(self.on_error)
            loop.run_until_complete(self.scenario(loop))
        except BaseException as caught:
            exception = caught
        allocations, failures, _, in_python = _c._disarm()
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.is_over = True
        if self.hangs and not in_python:
            self.problems.append("hangs")
        elif not self.hangs:
            self.judge(exception)
        exception = None
        if loop is not None:
            self.use(loop, in_python)
            loop.close()
            self.loop = loop = None
        if not in_python:
            self.compare(before)
        return allocations, failures

    def judge(self, exception):
        self.see(exception, "ended")
        if exception is None or is_for_want_of_memory(exception) or is_the_interpreters(exception):
            return
        if self.was_told and str(exception) == "Event loop stopped before Future completed.":
            return
        self.problems.append(f"ended with {text_of(exception)}")

    def use(self, loop, in_python):
        """As asyncio.run() ends: the tasks that are left, then everything that may be open. Then once more. A run that
        was cut short may have left what stops the next."""
        loop.call_soon(loop.stop)
        loop.run_forever()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        try:
            loop.run_until_complete(asyncio.wait_for(self.leave(loop), TICK if in_python else 10))
        except Exception as exception:
            if in_python and isinstance(exception, TimeoutError):
                return  # an executor's thread that the interpreter lost
            self.problems.append(f"the loop works no more: {text_of(exception)}")

    async def leave(self, loop):
        for _ in range(20):
            await asyncio.sleep(0)
        await loop.shutdown_asyncgens()
        await loop.shutdown_default_executor()
        with scenarios.pair() as (a, b):
            receiving = asyncio.ensure_future(loop.sock_recv(a, 10))
            await asyncio.sleep(0.0001)
            b.send(b"x")
            assert await receiving == b"x"

    def compare(self, before):
        for what, was, now in zip(("of ours", "of the core's", "descriptors", "threads"), before, census()):
            if now != was:
                self.problems.append(f"left behind, {what}: {now}, not {was}")


def census():
    gc.collect()
    gc.collect()
    ours = sorted(type(each).__qualname__ for each in gc.get_objects() if is_ours(type(each)))
    return ours, _c._disarm()[2], len(os.listdir("/proc/self/fd")), threading.active_count()


def is_ours(kind):
    return any(each.__module__ == "iora._c" for each in kind.__mro__) and not issubclass(kind, type)


def is_for_want_of_memory(exception):
    return is_about(exception, MemoryError) or str(exception) in {"can't allocate lock", "can't start new thread"}


def is_about(exception, kind, seen=()):
    """Whether it is, was caused by, came while handling, or contains such an exception."""
    if exception is None or exception in seen:
        return False
    around = [exception.__cause__, exception.__context__, *getattr(exception, "exceptions", ())]
    return isinstance(exception, kind) or any(is_about(each, kind, (*seen, exception)) for each in around)


def is_the_interpreters(exception):
    """A SystemError that has nothing to do with us: it is about a function in Python, or came up in the library."""
    if str(exception).startswith("<function "):
        return True
    trace = exception.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = trace.tb_frame.f_code.co_filename if trace is not None else ""
    return isinstance(exception, SystemError) and not any(
        name in where for name in ("iora", "asyncio", "scenarios"))


def text_of(exception):
    return "".join(traceback.format_exception(exception)).strip()


# ---- many -----------------------------------------------------------------------------------------------------------

def in_a_child(scenario, index, persistent):
    """Fork one run: its pid, and where it will say how it went."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        run = Run(scenario, index, persistent, writing)
        _, failures = run.go()
        os.write(writing, f"{failures}\n".encode() + "\n".join(run.problems).encode()[:60_000])
        os._exit(0)
    os.close(writing)
    return pid, reading


def outcome(pid, reading):
    with open(reading, "rb") as pipe:
        if not select.select([pipe], [], [], 3 * PATIENCE * TICK)[0]:
            os.kill(pid, signal.SIGKILL)
        told = pipe.read().decode()
    _, status = os.waitpid(pid, 0)
    if told == INTERPRETERS:
        return 1, ""  # it did not survive its own failure
    told = told.removeprefix(INTERPRETERS)
    if os.WIFSIGNALED(status):
        return 1, f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    if not told:
        return 1, f"ended with exit status {os.WEXITSTATUS(status)}"
    failures, _, problems = told.partition("\n")
    return int(failures), problems


def sweep(scenario, mode, every, most):
    """Until an index is more than there are allocations: how many runs there were, and those that went wrong."""
    wrong, runs = [], 0
    for index in range(1, most, every):
        runs += 1
        failures, problems = outcome(*in_a_child(scenario, index, MODES[mode]))
        if problems:
            wrong.append((index, problems))
        elif failures == 0:
            break
    return runs, wrong


def warm_up(scenario):
    for _ in range(WARM_UPS):
        run = Run(scenario, 0, False)
        run.go()
        if run.problems:
            sys.exit(f"{scenario.__name__}: without any failure: {run.problems}")


def one_run(scenario, mode, index):
    faulthandler.enable()
    faulthandler.dump_traceback_later(PATIENCE * TICK / 2)
    run = Run(scenario, index, MODES[mode])
    print("allocations, failures:", run.go())
    print(*run.problems, sep="\n")
    return 1 if run.problems else 0


def parse():
    parser = argparse.ArgumentParser(description="Every allocation fails, at every place.")
    parser.add_argument("patterns", nargs="*", metavar="PATTERN")
    parser.add_argument("--scenario", help="one run of this one")
    parser.add_argument("--mode", choices=MODES, default="once")
    parser.add_argument("--n", type=int, default=0)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="one place of so many")
    parser.add_argument("--most", type=int, default=sys.maxsize, help="no more places than so many")
    return parser.parse_args()


def matches(name, patterns):
    return not patterns or any(fnmatch.fnmatch(name, p if set(p) & set("*?[") else f"*{p}*") for p in patterns)


def main():
    options = parse()
    gc.disable()
    logging.lastResort = logging.NullHandler()  # what a loop says when its handler has no memory
    for scenario in scenarios.SCENARIOS:
        if options.scenario == scenario.__name__:
            warm_up(scenario)
            return one_run(scenario, options.mode, options.n)
    passed = failed = 0
    all_began = time.monotonic()
    chosen = [each for each in scenarios.SCENARIOS if matches(each.__name__, options.patterns)]
    for scenario in chosen:
        warm_up(scenario)
        gc.freeze()
        for mode in MODES:
            began = time.monotonic()
            runs, wrong = sweep(scenario, mode, options.every, options.most)
            passed, failed = passed + runs - len(wrong), failed + len(wrong)
            for index, problems in wrong:
                print(f"FAILED {scenario.__name__} --mode {mode} --n {index}: {problems}")
            print(f"{scenario.__name__}, {mode}: {runs} runs, {len(wrong)} failed, {time.monotonic() - began:.1f} s", flush=True)
    print(f"figure: scenarios = {len(chosen)}")
    print(f"figure: runs = {passed + failed}")
    print(f"figure: seconds = {time.monotonic() - all_began:.0f}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
