"""explore/mutants.py -- puts bugs into the library, one at a time, and sees that the explorer finds each.

    mutants.py BUILD [PATTERN...]

BUILD is a build folder in which iora-explore has been built. For each bug of mutants.toml the file is compiled
with it, as the build did without, and linked before the library that has the right one. The last line is
`N passed, N failed`.
"""

import json
import shlex
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PROGRAM = "tests/explore/iora-explore"
SECONDS = 600  # for one model: most need a moment


def compile_command(build, source):
    """The words with which the build compiles a file of src/ for the explorer."""
    for entry in json.loads((build / "compile_commands.json").read_text()):
        if (build / entry["file"]).resolve() == source and "iora-explored" in entry["output"]:
            return shlex.split(entry["command"])
    raise LookupError(f"the explorer is not built from {source.relative_to(ROOT)}")


def link_command(build):
    done = subprocess.run(["ninja", "-C", build, "-t", "commands", PROGRAM],
                          capture_output=True, text=True, check=True)
    command, = [line for line in done.stdout.splitlines() if f" -o {PROGRAM} " in line]
    return shlex.split(command)


def with_output(words, output):
    words = list(words)
    words[words.index("-o") + 1] = str(output)
    return words


def build_mutant(build, mutant, folder):
    """Compile the file with the bug in it, and link; the program's path."""
    source = ROOT / "src" / mutant["file"]
    text = source.read_text()
    if text.count(mutant["from"]) != 1:
        raise LookupError(f"src/{mutant['file']} has {text.count(mutant['from'])} times: {mutant['from']}")
    copy, compiled, program = folder / source.name, folder / "mutant.o", folder / "iora-explore"
    copy.write_text(text.replace(mutant["from"], mutant["to"]))
    words = with_output(compile_command(build, source), compiled)
    words[words.index("-c") + 1] = str(copy)
    subprocess.run(words, cwd=build, check=True)
    words = with_output(link_command(build), program)
    library = next(at for at, word in enumerate(words) if word.endswith("libiora-explored.a"))
    subprocess.run(words[:library] + [str(compiled)] + words[library:], cwd=build, check=True)
    return program


def explore(program, model):
    """What the explorer said, and whether it failed."""
    try:
        done = subprocess.run([program, model], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return "it took too long", False
    return done.stdout, done.returncode == 1


def is_found(build, mutant):
    with tempfile.TemporaryDirectory() as folder:
        try:
            program = build_mutant(build, mutant, Path(folder))
        except (LookupError, subprocess.CalledProcessError) as error:
            print(f"        {error}")
            return False
        said, failed = explore(program, mutant["model"])
    if failed and mutant["finds"] in said:
        return True
    print(said)
    return False


def main(build, patterns):
    mutants = tomllib.loads((HERE / "mutants.toml").read_text())["mutant"]
    chosen = [mutant for mutant in mutants
              if not patterns or any(pattern in mutant["what"] or pattern in mutant["model"] for pattern in patterns)]
    found = 0
    for mutant in chosen:
        verdict = is_found(build, mutant)
        found += verdict
        print(f"{'ok     ' if verdict else 'FAILED '} {mutant['what']}: {mutant['finds']}", flush=True)
    print(f"figure: deliberate bugs that the explorer finds = {found} of {len(chosen)}")
    print(f"{found} passed, {len(chosen) - found} failed")
    return 0 if found == len(chosen) else 1


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2:]))
