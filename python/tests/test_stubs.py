"""The stubs say what is there at run time."""

import ast
import asyncio
import inspect
import sys
from pathlib import Path

import pytest

import iora

STUB = ast.parse(Path(iora.__file__).with_name("__init__.pyi").read_text())
CLASSES = {node.name: node for node in STUB.body
           if isinstance(node, ast.ClassDef) and not node.name.startswith("_")}
FUNCTIONS = [("", node) for node in STUB.body if isinstance(node, ast.FunctionDef)]
METHODS = [(name, node) for name, parent in CLASSES.items() for node in parent.body
           if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
# What is passed on as asyncio's; under `if` stands what only some versions have.
PASSED_ON = [alias.name for node in STUB.body if isinstance(node, ast.ImportFrom)
             for alias in node.names if alias.asname]
KNOWN = {alias.asname for node in ast.walk(STUB) if isinstance(node, ast.ImportFrom) for alias in node.names}
TAKEN_OVER = sorted(KNOWN & set(iora._OURS))
# asyncio's own classes do not say what they take in C, and type checkers know it from elsewhere.
WITHOUT_A_SIGNATURE = {("EventLoop", "__init__")}


# Before 3.12 what is not made by `async def` can only be marked for asyncio.
is_coroutine_function = (
    inspect.iscoroutinefunction if sys.version_info >= (3, 12) else asyncio.iscoroutinefunction)


def parameters(signature):
    """[(name, kind, whether there is a default)], all that a caller may see; the object itself is not."""
    kinds = inspect.Parameter
    return [(p.name, "positional" if p.kind in {kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD}
             else p.kind.name, p.default is not p.empty)
            for p in signature.parameters.values() if p.name != "self"]


def stub_parameters(node):
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    first_default = len(positional) - len(arguments.defaults)
    found = [(a.arg, "positional", n >= first_default) for n, a in enumerate(positional)]
    if arguments.vararg:
        found.append((arguments.vararg.arg, "VAR_POSITIONAL", False))
    found += [(a.arg, "KEYWORD_ONLY", default is not None)
              for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults)]
    if arguments.kwarg:
        found.append((arguments.kwarg.arg, "VAR_KEYWORD", False))
    return [parameter for parameter in found if parameter[0] != "self"]


def takes_what(real, model):
    """Whether those parameters are the model's; **kwargs may stand for what is given by keyword only."""
    if any(kind == "VAR_KEYWORD" for _, kind, _ in real):
        real, model = ([p for p in some if p[1] not in {"VAR_KEYWORD", "KEYWORD_ONLY"}] for some in (real, model))
    return real == model


def stub_defaults(node):
    positional = [*node.args.posonlyargs, *node.args.args]
    pairs = [*zip(positional[::-1], node.args.defaults[::-1]), *zip(node.args.kwonlyargs, node.args.kw_defaults)]
    return {a.arg: default.value for a, default in pairs
            if isinstance(default, ast.Constant) and default.value is not ...}


@pytest.mark.parametrize("owner, node", FUNCTIONS + METHODS,
                         ids=[".".join(filter(None, (o, n.name))) for o, n in FUNCTIONS + METHODS])
def test_function_is_as_the_stub_says(owner, node):
    real = getattr(getattr(iora, owner) if owner else iora, node.name)
    if (owner, node.name) in WITHOUT_A_SIGNATURE:
        return
    signature = inspect.signature(real)
    assert takes_what(parameters(signature), stub_parameters(node))
    for name, default in stub_defaults(node).items():
        if name in signature.parameters:
            assert signature.parameters[name].default == default
    assert is_coroutine_function(real) == isinstance(node, ast.AsyncFunctionDef)


def test_every_name_of_ours_is_in_the_stub_and_no_other():
    ours = {*CLASSES, *(node.name for _, node in FUNCTIONS), *TAKEN_OVER}
    assert ours == set(iora._OURS)


def test_all_that_is_passed_on_is_asyncios():
    assert {name for name in PASSED_ON if not hasattr(asyncio, name)} == set()
    assert set(asyncio.__all__) - set(iora._OURS) <= KNOWN


def test_every_method_of_the_loop_is_in_the_stub():
    there = {name for name in dir(iora.EventLoop) if not name.startswith("_")}
    stubbed = {node.name for owner, node in METHODS if owner == "EventLoop" and node.name != "__init__"}
    assert there - {"slow_callback_duration"} == stubbed


@pytest.mark.parametrize("name", sorted({*CLASSES} - {"EventLoop", "Runner", "QueueShutDown"}))
def test_class_derives_from_asyncios_and_has_its_methods(name):
    """Which is all that the .pyi says of it."""
    ours, asyncios = getattr(iora, name), getattr(asyncio, name)
    assert issubclass(ours, asyncios)
    for method in [method for method in dir(asyncios) if not method.startswith("_")]:
        real, model = getattr(ours, method), getattr(asyncios, method)
        if inspect.isfunction(model):
            if not callable(real):  # set at construction, from another object
                continue
            assert takes_what(parameters(inspect.signature(real)), parameters(inspect.signature(model))), \
                method
            assert is_coroutine_function(real) == is_coroutine_function(model), method


@pytest.mark.parametrize("name", TAKEN_OVER)
def test_function_has_asyncios_signature(name):
    model = getattr(asyncio, name)
    if inspect.isfunction(model):  # what asyncio has in C says nothing
        assert takes_what(parameters(inspect.signature(getattr(iora, name))),
                          parameters(inspect.signature(model)))
