"""python -m iora FILE [ARGUMENT...] | -m MODULE [ARGUMENT...]

Run a program with iora in asyncio's place. Without arguments: a prompt at which `await` works.
"""

import pathlib
import runpy
import sys

import iora


def _run_prompt():
    sys.argv[0] = "iora"
    runpy.run_module("asyncio.__main__", run_name="__main__")


def main():
    arguments = sys.argv[1:]
    if arguments and arguments[0] in {"-h", "--help"}:
        print(__doc__.strip())
        return
    iora.install()
    if not arguments:
        _run_prompt()
    elif arguments[0] == "-m":
        if len(arguments) < 2:
            sys.exit("python -m iora: -m needs a module")
        sys.argv = arguments[1:]
        sys.path[0] = ""
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path[0] = str(pathlib.Path(arguments[0]).resolve().parent)
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main()
