"""Mistakes that other harnesses have made, one test each: here they must stay impossible.

Others of the same list are held elsewhere: batches in which everything is wrong already (contracts over
every attack), gradients that grow with the batch (oracle), perturbations that are printed but not
checked (violations), verdicts that depend on batch companions or on train mode (canaries), Square that
beats AutoAttack's white-box part unnoticed (checks A03 and A12), resumed restarts (determinism).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bench.attacks.lp.pgd import PGD
from bench.catalogue.loading import load_defense
from bench.catalogue.refs import AttackRef, DefenseRef
from bench.catalogue.request import Request
from bench.catalogue.resolve import attack, defense
from bench.catalogue.selection import Selection
from bench.datasets.digits import digits
from bench.datasets.examples import Examples
from bench.harness.evaluate import evaluate, judge
from bench.harness.executors.local import Local
from bench.harness.matrix import build
from bench.harness.run import run
from bench.results.cell import Cell, Planned, Slice
from bench.results.outcome import Skipped
from bench.results.store import Store
from bench.threats import ThreatModel
from bench.types import Defense, ImageSpec

LINF = ThreatModel.parse("Linf:0.2")


class Quiet:
    def begin(self, cells, stored, beside=()): ...
    def advance(self, cell, passed): ...
    def end(self, cell, outcome): ...


class Killed(Exception):
    pass


class KilledAfterOne:
    """An executor whose machine dies after the first shard."""

    def run(self, agenda, on_pass):
        for index, report in enumerate(Local().run(agenda, on_pass)):
            if index:
                raise Killed
            yield report


def cell_of(examples, *, batch=64, name="pgd-20", of="at", stochastic=False):
    part = Slice(examples.dataset, examples.split, len(examples), examples.digest)
    ref = defense(Request(of, {}), "digits", None)
    return Cell(ref, attack(Request(name, {}))[1], LINF, part, 0, 10 if stochastic else 1, batch)


def shard(x, y):
    x = x.float().numpy()
    return Examples("toy", "test", [str(i) for i in range(len(x))], x, y.numpy(), ImageSpec(x.shape[1:], 2))


def evaluated(model, tried, examples, *, draws=1, threat=LINF, label="odd"):
    part = Slice("toy", "test", len(examples), examples.digest)
    ref = DefenseRef("toy", "toy", "toy", stochastic=draws > 1)
    cell = Cell(ref, AttackRef(label, label, label), threat, part, 0, draws, 64)
    return evaluate(cell, Defense(model, stochastic=draws > 1), tried, examples)


def test_what_was_finished_is_on_disk_at_once_with_its_images(tmp_path):
    """fra31/auto-attack recorded a finished attack only if 60 s had passed, and lost x_adv on resume."""
    examples = digits("test").first(8)
    plan = [Planned(cell_of(examples, batch=4))]

    with pytest.raises(Killed):
        run(plan, examples, Store(tmp_path), KilledAfterOne(), Quiet())

    store = Store(tmp_path)
    assert list(store.shards(plan[0].cell)) == [0]
    assert store.images(plan[0].cell).x_adv.shape == (4, 1, 8, 8)


def test_the_number_is_that_of_the_stored_images(tmp_path):
    """fra31/auto-attack #74, RobustBench #7: 49 % reported, 54 % when the stored x_adv were judged again."""
    examples = digits("test").first(32)
    plan = [Planned(cell_of(examples))]
    (result,) = run(plan, examples, Store(tmp_path), Local(), Quiet())
    x_adv = torch.from_numpy(Store(tmp_path).images(plan[0].cell).x_adv)

    again = judge(
        load_defense(plan[0].cell.defense, examples.spec).model, x_adv, torch.from_numpy(examples.y), 1, ("x",)
    )

    attacked = result.outcome.verdicts.clean == 1
    np.testing.assert_array_equal(again.correct.numpy()[attacked], result.outcome.verdicts.adversarial[attacked])
    assert 0 < again.correct.sum() < 32


def test_a_lucky_success_does_not_make_a_stronger_attack_look_weaker(noisy_halfspace, images):
    """fra31/auto-attack #104: on random models the attack that stops at its first lucky draw loses."""
    model = noisy_halfspace(noise=4.0).eval()
    x = images(32)
    y = model.halfspace(x).argmax(1)
    threat = ThreatModel.parse("Linf:0.05")

    weak, _ = evaluated(model, PGD(steps=1, eot=20), shard(x, y), draws=50, threat=threat, label="weak")
    strong, images = evaluated(model, PGD(steps=20, eot=20), shard(x, y), draws=50, threat=threat, label="strong")

    assert strong.verdicts.adversarial.sum() <= weak.verdicts.adversarial.sum()
    x_adv = torch.from_numpy(images.x_adv)
    assert (model.error_rate(x_adv, y) >= model.error_rate(x, y)).all()


def test_a_constant_added_to_the_logits_changes_nothing(robust_digits, launch):
    """advertorch #63: it moved PGD accuracy from .79 to .90 by cancellation in float32."""
    model, x, y = robust_digits

    class Lifted(nn.Module):
        def forward(self, images):
            return model(images) + 1000.0

    plain, _ = launch(PGD(steps=10), model, x, y, "Linf:0.15")
    lifted, _ = launch(PGD(steps=10), Lifted().eval(), x, y, "Linf:0.15")

    broken, still = model(plain).argmax(1) != y, model(lifted).argmax(1) != y
    assert int((broken != still).sum()) <= 1
    assert 0 < int(broken.sum()) < len(x)


def test_fab_is_not_run_on_random_models():
    """Its prediction is recomputed between calls, and the indices no longer match."""
    examples = digits("test").first(4)

    (planned,) = build(Selection.of("atop", "fab-t", (LINF,)), examples)

    assert planned.skip is not None
    assert "not for stochastic defenses" in planned.skip
    assert Skipped(planned.skip).reason


def test_an_example_on_the_boundary_is_marked(images):
    """foolbox #243: batch and single prediction disagree there, and nobody could tell."""

    class Edge(nn.Module):
        """A margin of 1e-6 on the first image, of 1 on the others."""

        def forward(self, x):
            margin = torch.ones(len(x))
            margin[0] = 1e-6
            return torch.stack([margin, torch.zeros(len(x))], 1) + 0 * x.flatten(1).sum(1, keepdim=True)

    examples = shard(images(4), torch.zeros(4, dtype=torch.int64))

    found, _ = evaluated(Edge().eval(), lambda oracle, x, y, threat, *, stream: x, examples)

    assert found.evidence.borderline == (0,)
    assert found.verdicts.adversarial.tolist() == [1, 1, 1, 1]
