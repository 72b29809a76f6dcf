"""python -m iora FILE [ARGUMENT...] | -m MODULE [ARGUMENT...]

Run a program with iora in asyncio's place. Without arguments: a prompt at which `await` works.
"""

# The program is __main__ as python would have it, to its last thread and exit handler: runpy's functions for others take
# theirs away when its last line has run.

import builtins
import importlib.machinery
import importlib.util
import io
import os
import pathlib
import pkgutil
import runpy
import sys
import types

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


def _make_main():
    """A new __main__ in the place of ours; its names."""
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    main.__builtins__ = builtins
    if sys.version_info < (3, 14):
        main.__annotations__ = {}
    return vars(main)


def _read(file):
    """The code in a file, compiled already or not, and its loader."""
    with io.open_code(file) as opened:
        text = opened.read()  # once: a pipe has no second time
    if text.startswith(importlib.util.MAGIC_NUMBER):
        code = pkgutil.read_code(io.BytesIO(text))
        return code, importlib.machinery.SourcelessFileLoader("__main__", file)
    code = compile(text, file, "exec", dont_inherit=True)
    return code, importlib.machinery.SourceFileLoader("__main__", file)


def _run_prompt():
    sys.argv[0] = "iora"
    runpy.run_module("asyncio.__main__", run_name="__main__")


def _run_module(module, *arguments):
    sys.argv = [module, *arguments]
    sys.path[0] = os.getcwd()
    if not _is_there(module):
        _fail(f"No module named {module}", 1)
    _make_main()
    runpy._run_module_as_main(module)


def _run_file(file, *arguments):
    if not pathlib.Path(file).exists():
        _fail(f"can't open file {file!r}: there is none", 2)
    sys.argv = [file, *arguments]
    path = os.path.abspath(file)
    if pkgutil.get_importer(path) is not None:  # a directory or an archive, with a __main__ in it
        sys.path[0] = path
        _make_main()
        runpy._run_module_as_main("__main__", alter_argv=False)
        return
    sys.path[0] = str(pathlib.Path(file).resolve().parent)
    code, loader = _read(path)
    names = _make_main()
    names.update(__file__=path, __loader__=loader, __cached__=None)
    exec(code, names)


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
