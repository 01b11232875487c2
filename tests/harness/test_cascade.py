"""Attacks one after the other, and when the expensive ones are called for."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch import nn

from bench.catalogue import resolve
from bench.catalogue.loading import load_defense
from bench.catalogue.refs import AttackRef, DefenseRef
from bench.catalogue.request import Request, parse_list
from bench.catalogue.selection import Selection
from bench.datasets.examples import Examples
from bench.datasets.load import load
from bench.harness import matrix
from bench.harness.cascade import Cascade, Stage, attack_of, fell, masked
from bench.harness.evaluate import evaluate
from bench.harness.task import Task, compute
from bench.oracle.geometry import project
from bench.results.cell import Cell, Slice
from bench.results.outcome import worst_case
from bench.threats import ThreatModel
from bench.types import Defense, ImageSpec
from tests.harness.test_foretold import HalfDetached

LINF = ThreatModel.parse("Linf:0.2")


@dataclass
class Shard:
    """Examples 0 to 99, of which each attack breaks those its label names."""

    breaks: dict[str, set[int]]
    gap: float = 1.0
    slope: float = 1.0
    certain: bool = False
    astray: bool = False
    left: list[int] = field(default_factory=lambda: list(range(100)))
    runs: list[tuple[str, list[int]]] = field(default_factory=list)

    def attack(self, stage, rows):
        self.runs.append((stage.ref.label, rows.tolist()))
        self.left = [row for row in self.left if row not in self.breaks[stage.ref.label] & set(rows.tolist())]

    def standing(self):
        return torch.tensor(self.left, dtype=torch.int64)

    def gaps(self, rows):
        sure = torch.full((len(rows),), self.certain)
        return torch.full((len(rows),), self.gap), torch.full((len(rows),), self.slope), sure

    def misled(self, rows):
        return self.astray

    def held(self, rows):
        return torch.isin(rows, self.standing()).float()

    def require_attacked(self):
        pass

    def draw(self, rows):
        return (rows * 37 % 101).float() / 101


def stage(label):
    return Stage(AttackRef(label, "", ""), None)


def run(shard, audited=0.0):
    return Cascade([stage("one"), stage("two")], [stage("late")], audited).run(shard)


def test_each_attack_gets_what_the_ones_before_it_left():
    shard = Shard({"one": set(range(60)), "two": set(range(50, 70)), "late": set()})

    told = run(shard)

    assert shard.runs == [("one", list(range(100))), ("two", list(range(60, 100)))]
    assert shard.left == list(range(70, 100))
    assert told == (0, 0)


@pytest.mark.parametrize("kind", [{"gap": 20.0}, {"slope": 0.0}, {"slope": float("nan")}, {"astray": True}], ids=str)
def test_a_masked_gradient_calls_the_reserve_on_every_survivor(kind):
    """A gradient of zero, none at all, or a softmax that is one: what searches by gradient saw nothing."""
    shard = Shard({"one": set(range(60)), "two": set(), "late": {99}}, **kind)

    told = run(shard)

    assert shard.runs[-1] == ("late", list(range(60, 100)))
    assert 99 not in shard.left
    assert told == (0, 40)


def test_an_audit_tries_the_reserve_on_a_tenth_of_the_survivors():
    shard = Shard({"one": set(), "two": set(), "late": set()})

    told = run(shard, 0.1)

    label, rows = shard.runs[-1]
    assert label == "late"
    assert rows == sorted(sorted(range(100), key=lambda row: row * 37 % 101)[:10])
    assert told == (10, 0)


def test_an_audit_asks_eight_at_least():
    shard = Shard({"one": set(range(70)), "two": set(), "late": set()})

    assert run(shard, 0.1) == (8, 0)


def test_one_break_in_the_sample_calls_the_reserve_on_all():
    """Each survivor is attacked once, none twice."""
    shard = Shard({"one": set(), "two": set(), "late": set(range(100))})

    told = run(shard, 0.1)

    first, second = (set(rows) for label, rows in shard.runs if label == "late")
    assert first | second == set(range(100))
    assert not first & second
    assert told == (10, 90)
    assert shard.left == []


def test_one_masked_gradient_is_an_alarm():
    no = torch.zeros(2, dtype=torch.bool)
    assert masked(torch.tensor([1.0, 18.0]), torch.ones(2), no)
    assert masked(torch.ones(2), torch.tensor([1.0, 0.0]), no)
    assert not masked(torch.tensor([1.0, 16.0]), torch.tensor([1e-30, 1.0]), no)


def test_what_is_flat_because_it_is_certain_is_no_alarm():
    """The certified example is the second; that the first is flat stays one."""
    slope, second = torch.tensor([1.0, 0.0]), torch.tensor([False, True])

    assert not masked(torch.ones(2), slope, second)
    assert masked(torch.ones(2), slope.flip(0), second)


SHORT = ("apgd-ce[steps=5]", "apgd-t[steps=5,targets=2]", "fab-t[steps=5,targets=2]", "square[queries=40]")


def cells(names, defense="at", n=48):
    examples = load("digits", "test", n=n)
    request = Selection.of(defense, names, (LINF,))
    return [planned.cell for planned in matrix.build(request, examples, batch=n)], examples


def refs(*names):
    return tuple(resolve.attack(request)[1] for request in parse_list(",".join(names), "attack"))


def test_a_cascade_gives_the_verdicts_of_the_worst_case_of_its_parts():
    """Example by example, for fewer passes."""
    parts, examples = cells(",".join(SHORT))
    cell = replace(parts[0], attack=AttackRef("cascade", "", "", stages=refs(*SHORT)))

    alone = [compute(Task(part, 0, examples), "cpu", lambda _: None).done for part in parts]
    together = compute(Task(cell, 0, examples), "cpu", lambda _: None)

    assert together.error == ""
    expected = worst_case(alone)
    assert together.done.verdicts.adversarial.tolist() == expected.verdicts.adversarial.tolist()
    assert together.done.cost.forwards < expected.cost.forwards
    entered = [part.entered for part in together.done.ledger.components.values()]
    broken = [part.broken for part in together.done.ledger.components.values()]
    assert entered[1:] == [before - fell for before, fell in zip(entered, broken, strict=True)][:-1]


def test_the_ledger_of_a_cell_adds_up():
    """Components, examples and totals tell the same passes."""
    (cell,), examples = cells("pgd-20[steps=3]")

    done = compute(Task(cell, 0, examples), "cpu", lambda _: None).done

    (part,) = done.ledger.components.values()
    assert part.cost == done.cost
    assert sum(done.ledger.forwards) == done.cost.forwards
    assert sum(done.ledger.backwards) == done.cost.backwards
    assert len(done.ledger.forwards) == len(examples)
    assert all(count == 0 for count, right in zip(done.ledger.forwards, done.verdicts.clean, strict=True) if not right)
    assert part.broken == int((done.verdicts.clean > done.verdicts.adversarial).sum())
    assert done.cost.wasted == 0


def test_a_cascade_that_breaks_says_where():
    """The error names the attack; no number stands in for the cell."""
    (cell,), examples = cells("fgsm", n=8)
    later = refs("fgsm", "pgd-20[steps=2]")
    later = (later[0], replace(later[1], access="score"))

    cell = replace(cell, attack=replace(cell.attack, label="both", stages=later))

    report = compute(Task(cell, 0, examples), "cpu", lambda _: None)

    assert report.done is None
    assert report.error.startswith("pgd-20[steps=2]: PermissionError: this attack is registered as score-based")


class Stepped(nn.Module):
    """A robust network behind eight gray levels: no gradient."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model((x * 7).round() / 7)


class Confident(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return 200 * self.model(x)


@pytest.mark.parametrize("disguise", [Stepped, Confident])
@pytest.mark.parametrize("name", ["screen", "core"])
def test_a_defense_that_hides_its_gradient_meets_the_whole_of_autoattack(name, disguise):
    """The alarm is raised, and what is left is no more than APGD alone leaves."""
    (cell, strong), examples = cells(f"{name},apgd-ce[steps=30]", n=8)
    cell = replace(
        cell, attack=replace(cell.attack, stages=cell.attack.stages[:1], reserve=refs(*SHORT[:1], *SHORT[2:]))
    )
    model = disguise(load_defense(cell.defense, examples.spec).model).eval()

    found, _ = evaluate(cell, Defense(model), attack_of(cell.attack), examples)

    by_gradient, _ = evaluate(strong, Defense(model), attack_of(strong.attack), examples)
    assert found.evidence.escalated > 0
    assert "square[queries=40]" in found.ledger.components
    assert (found.verdicts.adversarial <= by_gradient.verdicts.adversarial).all()
    honest, _ = evaluate(cell, load_defense(cell.defense, examples.spec), attack_of(cell.attack), examples)
    assert honest.evidence.escalated == 0
    assert "square[queries=40]" not in honest.ledger.components


@pytest.mark.parametrize(
    ("before", "after", "alarm"),
    [
        ([1.0, 1.0, 0.0], [1.0, 0.0, 0.0], True),  # without randomness one example is enough
        ([1.0, 1.0, 0.0], [1.0, 1.0, 0.0], False),
        ([0.9, 0.5, 0.7, 0.3], [0.8, 0.6, 0.6, 0.4], False),  # up and down
        ([0.9, 0.8, 0.7, 0.9], [0.6, 0.4, 0.5, 0.5], True),
        ([0.9, 0.8, 0.7, 0.9], [0.9, 0.8, 0.7, 0.9], False),
        ([0.9], [0.5], True),  # of one survivor there is no spread: a fall must not be missed
        ([0.9], [0.9], False),
    ],
)
def test_a_sample_fell_if_it_did_beyond_chance(before, after, alarm):
    assert fell(torch.tensor(before), torch.tensor(after)) is alarm


def test_a_fall_by_chance_is_rarely_an_alarm():
    """Two independent looks at the same images: about 1 % of the samples, and not 3 %."""
    generator = torch.Generator().manual_seed(0)
    rate = torch.rand(2000, 16, generator=generator)
    looks = [torch.binomial(torch.full_like(rate, 10.0), rate, generator=generator) / 10 for _ in range(2)]

    assert sum(fell(*pair) for pair in zip(*looks, strict=True)) / 2000 < 0.03


@pytest.mark.parametrize("preset", ["screen", "core", "audit"])
def test_a_stochastic_defense_with_half_a_gradient_raises_the_alarm(preset, halfspace, images):
    """The gradient knows half of the pixels; the truth under the best attack is known in closed form."""
    base, x, threat = halfspace(), images(48), ThreatModel.parse("Linf:0.03")
    y = base(x).argmax(1)
    uphill = (base.weight[1 - y] - base.weight[y]).detach().view_as(x).sign()
    model = HalfDetached(base, 0.5).eval()
    ref = chosen(preset, stochastic=True)
    examples = Examples("toy", "test", [f"toy-{i}" for i in range(48)], x.numpy(), y.numpy(), ImageSpec((1, 8, 8), 2))
    cell = Cell(DefenseRef("d", "d", "d", stochastic=True), ref, threat, Slice("toy", "test", 48, "x"), 0, 10, 48)

    found, _ = evaluate(cell, Defense(model, stochastic=True), attack_of(ref), examples)

    worst = project(x + float(threat.eps) * uphill, x, threat)
    truth = torch.stack([model(worst).argmax(1) == y for _ in range(200)]).float().mean()
    assert found.evidence.escalated > 0
    assert abs(found.verdicts.adversarial.mean() / 10 - truth) < 0.03


class PointCoin(nn.Module):
    """Right in half of the draws, independently at every point: a coin whose side depends on noise and image."""

    def forward(self, x):
        side = (torch.randn_like(x) * (x - 0.5)).flatten(1).sum(1)
        return torch.stack([side, -side], 1)


@dataclass(frozen=True)
class Elsewhere:
    """Proposes a point of its own."""

    seed: int

    def __call__(self, oracle, x, y, threat, *, stream):
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(self.seed))
        return project(x + noise, x, threat)


def test_what_several_attacks_chose_is_judged_in_draws_that_chose_nothing(images):
    """At every point half of the draws are right; the least of five counts would say 34 %."""
    x = images(400)
    examples = Examples(
        "toy",
        "test",
        [f"toy-{i}" for i in range(400)],
        x.numpy(),
        np.zeros(400, dtype=np.int64),
        ImageSpec((1, 8, 8), 2),
    )
    refs_ = [AttackRef(f"a{seed}", "", "") for seed in range(5)]
    ref = AttackRef("some", "some", "some", stages=tuple(refs_))
    threat = ThreatModel.parse("Linf:0.3")
    cell = Cell(DefenseRef("d", "d", "d", stochastic=True), ref, threat, Slice("toy", "test", 400, "x"), 0, 10, 400)
    cascade = Cascade([Stage(each, Elsewhere(seed)) for seed, each in enumerate(refs_)])

    found, _ = evaluate(cell, Defense(PointCoin().eval(), stochastic=True), cascade, examples)

    # Four standard errors of 4,000 draws.
    assert abs(found.verdicts.adversarial.mean() / 10 - 0.5) < 0.032


def chosen(preset, stochastic):
    """The reference of a cascade, as `bench run` resolves it."""
    kind = "stochastic" if stochastic else "deterministic"
    return resolve.composite(resolve.entry(Request(preset, {})), kind, lambda each: kind not in each.not_for, "Linf")[0]
