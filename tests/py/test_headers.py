"""Each public header compiles alone, in every dialect, without a warning."""

import pytest

from conftest import ROOT, STRICT

HEADERS = sorted(str(path.relative_to(ROOT / "include"))
                 for path in (ROOT / "include").rglob("*.h"))


@pytest.mark.parametrize("header", HEADERS)
def test_header_compiles_alone(compile_text, dialect, header):
    compiler, standard = dialect
    compile_text(compiler, f"#include <{header}>\n", f"-std={standard}", *STRICT)


@pytest.mark.parametrize("header", HEADERS)
def test_header_may_be_included_twice(compile_text, header):
    compile_text("gcc", f"#include <{header}>\n#include <{header}>\n", "-std=c11", *STRICT)


def test_umbrella_includes_every_topic_and_nothing_else(root):
    text = (root / "include" / "iora.h").read_text()
    included = [line.split("<")[1].rstrip(">") for line in text.splitlines()
                if line.startswith("#include")]
    inner = {"iora/go.h"}  # the machinery behind task.h
    assert sorted(included) == sorted(set(HEADERS) - {"iora.h"} - inner)
    assert included == sorted(included)
