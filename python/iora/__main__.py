"""python -m iora FILE [ARGUMENT...] | -m MODULE [ARGUMENT...]

Run a program with iora in asyncio's place. Without arguments: a prompt at which `await` works.
"""

import importlib.util
import pathlib
import runpy
import sys

import iora


def _fail(message, status):
    print(f"python -m iora: {message}", file=sys.stderr)
    sys.exit(status)


def _is_there(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError as exc:
        if not exc.name or not f"{module}.".startswith(f"{exc.name}."):
            raise  # a package on the way to it lacks something
        return False


def _run_prompt():
    sys.argv[0] = "iora"
    runpy.run_module("asyncio.__main__", run_name="__main__")


def _run_module(module, *arguments):
    sys.argv = [module, *arguments]
    sys.path[0] = ""
    if not _is_there(module):
        _fail(f"No module named {module}", 1)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _run_file(file, *arguments):
    if not pathlib.Path(file).exists():
        _fail(f"can't open file {file!r}: there is none", 2)
    sys.argv = [file, *arguments]
    sys.path[0] = str(pathlib.Path(file).resolve().parent)
    runpy.run_path(file, run_name="__main__")


def main():
    arguments = sys.argv[1:]
    if arguments and arguments[0] in {"-h", "--help"}:
        print(__doc__.strip())
        return
    if arguments[:1] == ["-m"]:
        if len(arguments) < 2:
            _fail("-m needs a module", 2)
    elif arguments and arguments[0].startswith("-"):
        _fail(f"there is no option {arguments[0]} (python's own stand before -m iora)", 2)
    iora.install()
    if not arguments:
        _run_prompt()
    elif arguments[0] == "-m":
        _run_module(*arguments[1:])
    else:
        _run_file(*arguments)


if __name__ == "__main__":
    main()
