"""A debugger finds its way on iora's stacks: in a running task, and in a suspended one."""

import platform
import re
import subprocess
from dataclasses import dataclass

import pytest

from conftest import CROSS, EMULATOR


@dataclass
class Machine:
    """Where a suspended task's registers are (src/coro/switch_*.S): the context has ip, sp and bp, and the
    others that a callee saves are kept on the stack, in words from sp."""
    frame: str  # the register that bp is for
    kept: dict[str, int]
    above: int  # how far above sp the stack goes on when the task is resumed, in bytes
    compiler: str = "gcc"
    debugger: str = "gdb"

    @property
    def registers(self):
        return [*self.kept, self.frame, "sp", "pc"]

    @property
    def to_the_sleeper(self):
        return "\n".join([
            *(f"set $saved_{name} = ${name}" for name in self.registers),
            "set $context = &sleeper._block->coro.context",
            "set $kept = (unsigned long *) $context->sp",
            *(f"set ${name} = $kept[{at}]" for name, at in self.kept.items()),
            f"set ${self.frame} = $context->bp",
            f"set $sp = (unsigned long) $context->sp + {self.above}",
            "set $pc = $context->ip"])

    @property
    def back(self):
        return "\n".join(f"set ${name} = $saved_{name}" for name in self.registers)


MACHINES = {
    "x86_64": Machine("rbp", {"rbx": -1, "r12": -2, "r13": -3, "r14": -4, "r15": -5}, 8),
    "aarch64": Machine("x29", {f"x{19 + i}": 8 + i for i in range(10)}, 144),
}
if CROSS:
    MACHINES[CROSS].compiler, MACHINES[CROSS].debugger = f"{CROSS}-linux-gnu-gcc", "gdb-multiarch"
MACHINE = MACHINES.get(CROSS or platform.machine())

pytestmark = pytest.mark.skipif(MACHINE is None,
                                reason="does not know where this machine keeps its registers")

FRAME = re.compile(r"^#\d+ +(?:0x\w+ in )?(\w+) \(([^)]*)\)", re.M)


@pytest.fixture
def gdb(run, link_program, root, tmp_path):
    """gdb(commands): what gdb says after these commands, given where stop_here() was called."""
    program = link_program(MACHINE.compiler, ["-std=c11", "-g", "-O1"],
                           root / "tests/py/programs/suspended.c")

    def debug(begin, commands):
        script = tmp_path / "commands"
        script.write_text("set confirm off\nset pagination off\nset width 0\n"
                          "set debuginfod enabled off\nset print entry-values no\n"
                          f"{begin}\n{commands}\n")
        said = run(MACHINE.debugger, "-nx", "-batch", "-x", script, program).stdout
        assert "Breakpoint 1, " in said, said
        return said[said.index("Breakpoint 1, "):]

    def gdb(commands):
        if not EMULATOR:
            return debug("break stop_here\nrun", commands)
        # Without signed return addresses: qemu 7.2 does not tell a debugger which bits are the signature.
        emulator, *options = *EMULATOR, "-cpu", "max,pauth=off"
        socket = tmp_path / "gdb"
        with subprocess.Popen([emulator, "-g", socket, *options, program], stdin=subprocess.DEVNULL) as process:
            try:
                return debug(f"target remote {socket}\nbreak stop_here\ncontinue", commands)
            finally:
                process.kill()
    return gdb


def frames(text):
    """The functions of a backtrace, innermost first."""
    return [name for name, _ in FRAME.findall(text)]


def test_running_task_unwinds_to_its_beginning(gdb):
    said = gdb("backtrace")
    names = frames(said)
    assert names[:5] == ["stop_here", "dive", "dive", "dive", "diver"], said
    assert "diver__enter" in names
    assert "amain" not in names, "the stack of one task ran into another's"
    assert not re.search(r"corrupt stack|\?\? \(\)", said), said


def test_suspended_task_unwinds_to_its_beginning(gdb):
    said = gdb(f"{MACHINE.to_the_sleeper}\nbacktrace")
    said = said[said.index("\n#0"):]
    names = frames(said)
    assert names[:3] == ["inner", "middle", "outer"], said
    assert "outer__enter" in names
    # Values that were in registers of the callee's to save are found as well.
    arguments = [given for _, given in FRAME.findall(said)][:3]
    assert arguments == ["seconds=3600", "seconds=1800", "seconds=600"], said
    assert not re.search(r"corrupt stack|\?\? \(\)", said), said


def test_program_goes_on_after_a_look_at_a_suspended_task(gdb):
    """The context is only read: with the registers put back, everything runs to its end."""
    said = gdb(f"{MACHINE.to_the_sleeper}\nbacktrace\n{MACHINE.back}\ncontinue")
    assert "exited normally" in said, said
