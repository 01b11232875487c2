"""Validation images under attack: which attacks are offered, and how far one came."""

from itertools import islice

import numpy as np
import pytest
import torch

from bench.catalogue.selection import Selection
from bench.datasets.digits import digits
from bench.harness import matrix
from bench.harness.executors.local import Local
from bench.harness.pace import UNKNOWN
from bench.harness.search.ground import Validation, mean_margin
from bench.harness.search.halving import DEAREST
from bench.harness.watcher import Silent
from bench.results.outcome import Done, Kept
from bench.results.store import Store
from bench.threats import ThreatModel
from tests.harness.toy import DEFENSE


@pytest.fixture
def ground(tmp_path):
    def of(defense):
        examples = digits("validation").first(16)
        selection = Selection.of(str(defense), "fgsm", (ThreatModel.parse("Linf:0.1"),))
        (planned,) = matrix.build(selection, examples)
        return Validation(planned.cell, examples, Store(tmp_path / "store"), Local(), Silent(), UNKNOWN)

    return of


@pytest.mark.parametrize(("defense", "meaningless"), [("standard", {"bpda", "blind"}), ("ap", set())])
def test_every_attack_is_offered_once_and_none_takes_too_much(ground, defense, meaningless):
    found = list(islice(ground(defense).candidates(0, 1000), 60))

    labels = [each.label for each in found]
    assert len(set(labels)) == len(labels) == 60
    assert {each.label for each in found if each.meaningless} == meaningless
    assert all(each.usual <= DEAREST * 1000 for each in found if not each.meaningless)


def test_there_is_an_end_where_everything_takes_too_much(ground):
    """Only what is meaningless anyway costs nothing, and is named with its reason."""
    assert {each.label for each in ground("standard").candidates(0, 1)} == {"bpda", "blind"}


def test_what_was_computed_is_there_and_what_fails_says_why(ground, tmp_path):
    """The second call makes no pass; a defense that raises is a line and no number."""
    (tmp_path / "mine.py").write_text(DEFENSE)
    good, bad = (ground(f"{tmp_path / 'mine.py'}:{name}") for name in ("build", "raising"))
    (request,) = Selection.of("standard", "pgd-20[steps=2]", ()).attacks

    ((first,), (again,)) = (good.attack([good.joined([request])], 0, 16) for _ in range(2))
    (failed,) = bad.attack([bad.joined([request])], 0, 16)

    assert isinstance(first, Done)
    assert (again.verdicts.adversarial == first.verdicts.adversarial).all()
    assert "cannot" in failed


def test_the_margin_is_the_mean_over_images_in_closed_form(ground, tmp_path):
    """Of fixed templates without noise; a label that no image has does not come in by accident."""
    (tmp_path / "mine.py").write_text(DEFENSE)
    base, part = ground(f"{tmp_path / 'mine.py'}:build").base, digits("validation").first(4)
    weight = torch.randn(64, 10, generator=torch.Generator().manual_seed(0)).double()
    logits = torch.from_numpy(part.x).flatten(1).double() @ weight
    y = torch.from_numpy(part.y)[:, None]
    expected = (logits.scatter(1, y, -torch.inf).amax(1) - logits.gather(1, y)[:, 0]).mean()

    nothing = np.zeros(4, np.int64)
    found = mean_margin(base.defense, part, Kept(part.x, nothing, nothing), 3, 0, "cpu")

    assert found == pytest.approx(float(expected), rel=1e-5)
