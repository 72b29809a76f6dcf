"""What the fuzzers have found once: each input of the corpora is given to its target again."""

import pytest

from conftest import ROOT

TARGETS = sorted(path.name for path in (ROOT / "fuzz" / "corpus").iterdir())


@pytest.mark.parametrize("target", TARGETS)
def test_corpus_passes(run, build_dir, target):
    inputs = sorted((ROOT / "fuzz" / "corpus" / target).iterdir())
    assert inputs
    run(build_dir / "fuzz" / f"replay-{target}", *inputs)
