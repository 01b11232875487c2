"""Appraisals: each defense is loaded and timed once; what ends its process is known before anything is computed."""

import os

import pytest

from bench.catalogue.selection import Selection
from bench.datasets.digits import digits
from bench.errors import BenchError
from bench.harness import matrix
from bench.harness.appraisal import appraised
from bench.machine.isolation import Workers, isolated
from bench.threats import ThreatModel

LINF = (ThreatModel.parse("Linf:0.1"),)

GUEST = """
import os, sys, time, torch
from torch import nn

class Net(nn.Module):
    def __init__(self, after, does):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.left, self.does = nn.Linear(64, 10), after, does
    def forward(self, x):
        self.left -= 1
        if self.left == 0:
            self.does()
        return self.layer(x.flatten(1))

def fine():
    return Net(0, None)

# Its first forwards describe it (`user_file.defense_ref`), so it gets through the planning.
def leaves():
    return Net(1 if os.environ.get("NOW") else 0, lambda: os._exit(3))

def at_once():
    sys.exit("no")
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "guest.py").write_text(GUEST)
    return tmp_path / "guest.py"


def cells(*names):
    asked = Selection.of(",".join(map(str, names)), "fgsm", LINF)
    return [each.cell for each in matrix.build(asked, digits("test").first(8))]


def test_each_defense_is_timed_once(file):
    examples = digits("test").first(8)

    found = appraised(cells("at", f"{file}:fine") * 2, examples, "cpu")

    assert list(found) == ["at", "guest:fine"]
    assert all(0 < each.speed < 0.1 and not each.broken for each in found.values())


@pytest.mark.skipif(os.name != "posix", reason="processes of POSIX")
def test_one_that_ends_its_process_is_broken_and_the_others_are_not(file, monkeypatch):
    planned = cells("at", f"{file}:leaves")
    monkeypatch.setenv("NOW", "1")

    with isolated(Workers(1, limit=60)):
        found = appraised(planned, digits("test").first(8), "cpu")

    assert found["at"].speed > 0
    assert found["guest:leaves"].broken == "it cannot be asked once: it ended its process with status 3"


@pytest.mark.skipif(os.name != "posix", reason="processes of POSIX")
def test_one_that_does_not_even_load_has_cells_that_say_so(file):
    """Whatever ends its process while it is described; an exception there is a mistake in the request."""
    with isolated(Workers(1, limit=60)):
        plan = matrix.build(Selection.of(f"at,{file}:at_once", "fgsm", LINF), digits("test").first(8))

    ours, theirs = plan
    assert not ours.broken
    assert theirs.broken.startswith("it does not load: ")
    assert theirs.broken.endswith("called sys.exit('no')")
    assert not theirs.wanted

    with pytest.raises(BenchError, match=r"called sys\.exit"):  # in this process it is no more than a mistake
        cells(f"{file}:at_once")


def test_a_checkpoint_that_does_not_load_is_a_mistake(monkeypatch):
    def broken(ref, spec):
        raise ValueError("bad checkpoint")

    monkeypatch.setattr("bench.catalogue.loading.load_defense", broken)

    with pytest.raises(BenchError, match=r"^defense 'at' does not load: ValueError: bad checkpoint; see bench doctor$"):
        appraised(cells("at"), digits("test").first(8), "cpu")
