"""An alarm in one shard calls the reserve for all of them, however the examples were divided."""

import re

import numpy as np
import pytest

from bench.catalogue import ATTACKS
from bench.catalogue.refs import AttackRef, DefenseRef
from bench.catalogue.registry import AttackEntry
from bench.catalogue.selection import Selection
from bench.datasets.digits import digits
from bench.harness import matrix
from bench.harness.alarm import at_the_cost_of, raised, unaware
from bench.harness.executors.local import Local
from bench.harness.run import leaves, run
from bench.harness.share import Share
from bench.results.cell import Cell, Slice
from bench.results.merging import merge
from bench.results.outcome import Component, Cost, Done, Evidence, Ledger, Verdicts
from bench.results.store import Store
from bench.threats import ThreatModel

LINF = ThreatModel.parse("Linf:0.2")
LOCAL = Local()
# Logits a thousand times as large for one image alone: the softmax of that one is exactly one, and
# what searches along its gradient sees nothing.
DEFENSE = """
import torch
from bench.catalogue.weights import locate
from bench.defenses.at import load
from bench.types import ImageSpec

class Masked(torch.nn.Module):
    def __init__(self, at):
        super().__init__()
        self.at = at
    def forward(self, x):
        # The brightest image of the test, under any perturbation.
        bright = (x > 0.5).flatten(1).sum(1) >= {pixels}
        return self.at(x) * torch.where(bright, 1000.0, 1.0)[:, None]

def build():
    weights = {{"at": locate("at", "digits", None)}}
    return Masked(load(checkpoints=weights, spec=ImageSpec((1, 8, 8), 10)).model)
"""


class Quiet:
    def __init__(self):
        self.ended = []
        self.left = []

    def begin(self, cells, stored, beside=()):
        pass

    def advance(self, cell, passed):
        pass

    def end(self, cell, outcome):
        self.ended.append(cell.title)

    def leave(self, cell, shards):
        self.left.append((cell.title, shards))


class Stops:
    """Is killed after some shards."""

    def __init__(self, after):
        self.left = after

    def run(self, agenda, on_pass):
        for report in LOCAL.run(agenda, on_pass):
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            yield report


@pytest.fixture
def early(monkeypatch):
    """One step, and twenty in reserve."""
    entry = AttackEntry(
        "early", "", "", "", ("Linf",), parts={"deterministic": ("fgsm",)}, reserve={"deterministic": ("pgd-20",)}
    )
    monkeypatch.setitem(ATTACKS._entries, "early", entry)


@pytest.fixture
def source(tmp_path):
    """Masks the gradient of few images: of those with the most bright pixels."""
    path = tmp_path / "masked.py"
    path.write_text(DEFENSE.format(pixels=np.sort((digits("test").first(48).x > 0.5).sum((1, 2, 3)))[-2]))
    return path


def fill(root, source, *, batch, executor=LOCAL, attacks="early", share=None):
    examples = digits("test").first(48)
    request = Selection.of(str(source), attacks, (LINF,))
    watcher, plan = Quiet(), matrix.build(request, examples, batch=batch)
    portion = share and share.portion(leaves(plan))
    results = run(plan, examples, Store(root), executor, watcher, portion=portion)
    assert len(watcher.ended) == len(set(watcher.ended))
    return [result.outcome for result in results]


def documents(root):
    return {
        path.relative_to(root): [line for line in path.read_text().splitlines() if not re.search("seconds|seal", line)]
        for path in sorted(root.rglob("*.json"))
        if path.parent.name != "runs"  # named for the time
    }


def test_the_verdicts_are_those_of_one_large_batch(tmp_path, source, early):
    """Alone, most shards would never have called the reserve."""
    (whole,) = fill(tmp_path / "whole", source, batch=48)
    (parts,) = fill(tmp_path / "parts", source, batch=8)
    one_step, all_of_it = fill(tmp_path / "apart", source, batch=8, attacks="fgsm,pgd-20")

    left = one_step.verdicts.adversarial.astype(bool)
    assert np.array_equal(parts.verdicts.adversarial, whole.verdicts.adversarial)
    assert np.array_equal(parts.verdicts.adversarial, one_step.verdicts.adversarial & all_of_it.verdicts.adversarial)
    assert parts.evidence.escalated == whole.evidence.escalated == left.sum()
    assert parts.verdicts.adversarial.sum() < left.sum()


def test_the_passes_of_both_times_are_counted(tmp_path, source, early):
    (whole,) = fill(tmp_path / "whole", source, batch=48)
    (parts,) = fill(tmp_path / "parts", source, batch=8)

    assert parts.cost.forwards > whole.cost.forwards
    assert parts.cost == sum((part.cost for part in parts.ledger.components.values()), Cost())
    assert sum(parts.ledger.forwards) == parts.cost.forwards
    entered = {label: (part.entered, part.broken) for label, part in whole.ledger.components.items()}
    assert {label: (part.entered, part.broken) for label, part in parts.ledger.components.items()} == entered


@pytest.mark.parametrize("after", [1, 5, 6, 7, 9])
def test_a_run_that_was_killed_ends_with_the_same_documents(tmp_path, source, early, after):
    """Before the alarm is known of, and while shards are computed once more."""
    fill(tmp_path / "whole", source, batch=8)
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "cut", source, batch=8, executor=Stops(after))

    fill(tmp_path / "cut", source, batch=8)

    assert documents(tmp_path / "cut") == documents(tmp_path / "whole")


def test_shares_know_of_an_alarm_when_they_are_brought_together(tmp_path, source, early):
    """None of them calls the reserve for the others; a merge leaves the cell open, and the next run calls it."""
    fill(tmp_path / "whole", source, batch=8)
    folders = [tmp_path / f"part-{index}" for index in (1, 2, 3)]
    for index, folder in enumerate(folders, 1):
        fill(folder, source, batch=8, share=Share(index, 3))

    merged = merge(folders, tmp_path / "all", unaware)

    assert (merged.alarmed, merged.cells) == (1, 0)
    fill(tmp_path / "all", source, batch=8)
    assert documents(tmp_path / "all") == documents(tmp_path / "whole")


def test_the_last_share_of_one_folder_leaves_an_alarm_to_the_run_that_follows(tmp_path, source, early):
    """It sees the shards of all, but the tasks of an alarm are of no share: another call could compute them, too."""
    fill(tmp_path / "whole", source, batch=8)
    for index in (1, 2, 3):
        outcomes = fill(tmp_path / "all", source, batch=8, share=Share(index, 3))
        assert outcomes == [None]
    assert len(list((tmp_path / "all").rglob("*.shard-*.json"))) == 6

    fill(tmp_path / "all", source, batch=8)

    assert documents(tmp_path / "all") == documents(tmp_path / "whole")


def shard(adversarial, *, escalated=0, sampled=0, late_broken=None):
    components = {"early": Component(Cost(5, 3, 1), 4, 1)}
    if late_broken is not None:
        components["late"] = Component(Cost(7, 7), max(sampled, escalated), late_broken)
    count = np.array(adversarial, dtype=np.uint8)
    evidence = Evidence(sampled=sampled, escalated=escalated)
    return Done(Verdicts(1, np.ones_like(count), count), Cost(12, 10, 1), evidence, Ledger(components, (6, 6), (5, 5)))


CASCADE = AttackRef("c", "", "", stages=(AttackRef("early", "", ""),), reserve=(AttackRef("late", "", ""),))
CELL = Cell(DefenseRef("d", "d", "d"), CASCADE, LINF, Slice("digits", "test", 6, "s"), 0, 1, 2)


def test_an_alarm_is_an_escalation_or_a_break_in_the_sample():
    """Where the sample was all that stood, nothing was left to escalate to."""
    assert raised(CASCADE, shard([1, 0], escalated=2, late_broken=0))
    assert raised(CASCADE, shard([1, 0], sampled=2, late_broken=1))
    assert not raised(CASCADE, shard([1, 1], sampled=2, late_broken=0))
    assert not raised(CASCADE, shard([0, 0]))


def test_shards_with_survivors_are_unaware_of_an_alarm_elsewhere():
    calm, broken, sampled = shard([1, 1]), shard([0, 0]), shard([1, 0], sampled=1, late_broken=0)
    alarmed = shard([1, 0], escalated=1, late_broken=0)

    assert unaware(CELL, {0: calm, 1: broken, 2: sampled}) == []
    assert unaware(CELL, {0: calm, 1: alarmed, 2: broken, 3: sampled}) == [0, 3]
    assert unaware(CELL, {0: alarmed, 1: alarmed}) == []


def test_a_shard_computed_twice_costs_both_times_and_counts_once():
    before, after = shard([1, 1], sampled=1, late_broken=0), shard([1, 0], escalated=2, late_broken=1)

    both = at_the_cost_of(before, after)

    assert both.verdicts is after.verdicts
    assert both.cost == Cost(24, 20, 2)
    assert both.ledger.components["late"] == Component(Cost(14, 14), 2, 1)
    assert both.ledger.components["early"] == Component(Cost(10, 6, 2), 4, 1)
    assert both.ledger.forwards == (12, 12)
