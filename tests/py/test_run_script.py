"""./run says what it can do, and what it lacks."""

import shutil
import sys
from pathlib import Path

import pytest


@pytest.fixture
def elsewhere(tmp_path):
    """The environment of a machine with another distribution and hardly a tool on it."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ["bash", "cat", "dirname", "env", "mkdir", "sed", "tr"]:
        (tools / name).symlink_to(shutil.which(name))
    release = tmp_path / "os-release"
    release.write_text('NAME="Fedora Linux"\nID=fedora\nVERSION_ID=41\n')
    return {"PATH": str(tools), "IORA_RUN_OS_RELEASE": str(release)}


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], ["test", "--help"]])
def test_help_names_every_command(root, run, words):
    done = run(root / "run", *words)
    for command in ("demo", "test", "--asan", "--tsan", "--msan", "--explore", "--valgrind", "--python", "--python-asan",
                    "--ecosystem", "--ucontext", "--aarch64", "--hardening", "analyze", "coverage", "fuzz", "load",
                    "faults", "prove", "bench", "help"):
        assert command in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("words", [
    [], ["dance"], ["--dance"], ["test", "--dance"], ["test", "--asan", "--tsan"], ["demo", "now"], ["fuzz", "dance"]])
def test_wrong_usage_is_told_with_status_2(root, run, words):
    done = run(root / "run", *words, check=False)
    assert done.returncode == 2
    assert "run" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("words, packages", [
    (["demo"], ["gcc", "libc6-dev", "meson", "ninja-build", "pkgconf", "wrk", "curl",
               "nginx-light"]),
    (["test"], ["gcc", "meson", "g++", "clang", "gdb", "valgrind", "python3-pytest"]),
    (["test", "--asan"], ["gcc", "meson"]),
    (["test", "--aarch64"], ["gcc", "meson"]),
    (["faults", "--asan"], ["gcc", "meson"]),
    (["prove"], ["python3"]),
    (["analyze"], ["gcc", "meson", "clang", "python3-dev"]),
    (["fuzz"], ["gcc", "meson", "clang"]),
    (["coverage"], ["gcc", "meson", "clang", "llvm"]),
    (["load"], ["gcc", "meson"]),
    (["bench"], ["gcc", "meson", "golang-go", "libst-dev", "libboost-fiber-dev"]),
    (["bench", "net"], ["gcc", "meson", "golang-go", "libuv1-dev", "libevent-dev", "wrk", "strace"]),
    (["bench", "python"], ["gcc", "meson", "python3-dev", "python3-venv", "wrk", "valgrind"]),
])
def test_on_another_distribution_what_is_missing_is_named(root, run, elsewhere, words, packages):
    done = run(root / "run", *words, check=False, env=elsewhere)
    assert done.returncode == 2
    missing, = [line for line in done.stderr.splitlines() if "missing:" in line]
    for package in packages:
        assert package in missing.split()
    assert done.stdout == ""


def test_on_another_distribution_only_what_is_missing_is_named(root, run, elsewhere):
    for name in ["gcc", "g++", "clang", "meson", "ninja", "gdb", "valgrind"]:
        Path(elsewhere["PATH"], name).symlink_to(Path("/usr/bin", name))
    Path(elsewhere["PATH"], "python3").symlink_to(sys.executable)
    done = run(root / "run", "test", check=False, env=elsewhere)
    assert "run: missing: pkgconf\n" in done.stderr


def test_without_colours_where_nobody_looks(root, run):
    done = run(root / "run", "dance", check=False)
    assert "\x1b" not in done.stdout + done.stderr


@pytest.fixture
def with_tools(root, elsewhere, tmp_path):
    """A copy of run, where all its tools are there, and the environment of it. Each does nothing, but for
    meson, which makes a folder and writes down what it was asked for."""
    tools = Path(elsewhere["PATH"])
    for name in ["gcc", "g++", "clang", "gdb", "valgrind", "pkg-config", "python3"]:
        (tools / name).symlink_to(shutil.which("true"))
    (tools / "ninja").symlink_to(shutil.which("false"))
    for name in ["rm", "tail"]:
        (tools / name).symlink_to(shutil.which(name))
    (tools / "meson").write_text(f'#!{tools}/bash\nmkdir -p "$2"\nprintf "%s\\n" "$*" >>"{tmp_path}/asked"\n')
    (tools / "meson").chmod(0o755)
    shutil.copy(root / "run", tmp_path / "run")
    shutil.copytree(root / "scripts", tmp_path / "scripts")
    return tmp_path, elsewhere


@pytest.mark.parametrize("ci, is_strict", [("true", True), ("", False)])
def test_a_warning_stops_a_build_only_where_changes_are_checked(run, with_tools, ci, is_strict):
    folder, environment = with_tools
    run(folder / "run", "test", "--explore", check=False, env={**environment, "CI": ci})
    assert ("--werror" in (folder / "asked").read_text().split()) == is_strict


def test_a_folder_that_was_made_with_other_options_is_made_anew(run, with_tools):
    folder, environment = with_tools
    made, asked = folder / "build" / "explore", folder / "asked"
    made.mkdir(parents=True)
    (made / "made-by-hand").touch()
    for ci, times in ("", 1), ("", 1), ("true", 2), ("true", 2):
        run(folder / "run", "test", "--explore", check=False, env={**environment, "CI": ci})
        assert len(asked.read_text().splitlines()) == times
        assert not (made / "made-by-hand").exists()
