"""A debugger finds its way on iora's stacks: in a running task, and in a suspended one."""

import platform
import re

import pytest

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64",
                                reason="knows where x86-64 keeps its registers")

# The context of a suspended task (src/coro/switch_x86_64.S): ip, sp and bp, and below the stack
# pointer the other registers that a callee saves.
TO_THE_SLEEPER = """
    set $context = &sleeper._block->coro.context
    set $saved_pc = $pc
    set $saved_sp = $sp
    set $saved_bp = $rbp
    set $saved_bx = $rbx
    set $kept = (unsigned long *) $context->sp
    set $rbx = $kept[-1]
    set $r12 = $kept[-2]
    set $r13 = $kept[-3]
    set $r14 = $kept[-4]
    set $r15 = $kept[-5]
    set $rbp = $context->bp
    set $sp = (unsigned long) $context->sp + 8
    set $pc = $context->ip
"""

FRAME = re.compile(r"^#\d+ +(?:0x\w+ in )?(\w+) \(([^)]*)\)", re.M)


@pytest.fixture
def gdb(run, link_program, root, tmp_path):
    """gdb(commands): what gdb says after these commands, given where stop_here() was called."""
    program = link_program("gcc", ["-std=c11", "-g", "-O1"], root / "tests/py/programs/suspended.c")

    def gdb(commands):
        script = tmp_path / "commands"
        script.write_text("set confirm off\nset pagination off\nset width 0\n"
                          "set debuginfod enabled off\nset print entry-values no\n"
                          f"break stop_here\nrun\n{commands}\n")
        return run("gdb", "-nx", "-batch", "-x", script, program).stdout
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
    said = gdb(f"{TO_THE_SLEEPER}\nbacktrace")
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
    said = gdb(TO_THE_SLEEPER.replace("set $context =", """
        set $r12_before = $r12
        set $r13_before = $r13
        set $r14_before = $r14
        set $r15_before = $r15
        set $context =""") + """
        backtrace
        set $rbx = $saved_bx
        set $r12 = $r12_before
        set $r13 = $r13_before
        set $r14 = $r14_before
        set $r15 = $r15_before
        set $rbp = $saved_bp
        set $sp = $saved_sp
        set $pc = $saved_pc
        continue""")
    assert "exited normally" in said, said
