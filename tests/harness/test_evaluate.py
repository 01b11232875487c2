"""Verdicts: made here alone, never by the attack, never in favor of a defense that misbehaves."""

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.catalogue.selection import Selection
from bench.datasets.examples import Examples
from bench.datasets.load import load
from bench.harness import matrix
from bench.harness.cascade import Stage, attack_of
from bench.harness.conversion import SearchModels
from bench.harness.evaluate import _patience, evaluate
from bench.harness.verify import Violation
from bench.oracle.answers import FaultyDefense
from bench.results.cell import Cell, Slice
from bench.threats import ThreatModel
from bench.types import Defense, ImageSpec

LINF = ThreatModel("Linf", Fraction("0.1"))
SPEC = ImageSpec((1, 2, 2), 2)


class Threshold(nn.Module):
    """Class 1 exactly when the first pixel is above one half."""

    def forward(self, x):
        first = x.flatten(1)[:, 0]
        return torch.stack([0.5 - first, first - 0.5], 1)


class Coin(nn.Module):
    """Right half of the time, whatever it sees: drawn from torch's global generator."""

    def forward(self, x):
        heads = torch.rand(len(x)) < 0.5
        return torch.stack([heads.float(), 1 - heads.float()], 1) + 0 * x.flatten(1)[:, :2]


@dataclass(frozen=True)
class Shift:
    """Moves every pixel by a fixed amount: an attack that may or may not keep to its threat model."""

    by: float = 0.0

    def __call__(self, oracle, x, y, threat, *, stream):
        return x + self.by


def examples(first, y=None):
    first = np.asarray(first, dtype=np.float32)
    x = np.full((len(first), 1, 2, 2), 0.5, dtype=np.float32)
    x[:, 0, 0, 0] = first
    y = (first > 0.5).astype(np.int64) if y is None else np.asarray(y, dtype=np.int64)
    return Examples("toy", "test", [f"toy-{i}" for i in range(len(first))], x, y, SPEC)


def cell(n, draws=1, threat=LINF, access="gradient", seed=0):
    return Cell(
        DefenseRef("d", "d", "d", stochastic=draws > 1),
        AttackRef("a", "a", "a", access=access),
        threat,
        Slice("toy", "test", n, "x"),
        seed,
        draws,
        batch=n,
    )


def judge(model, attack, shard, draws=1, **more):
    return evaluate(cell(len(shard), draws, **more), Defense(model, stochastic=draws > 1), attack, shard)[0].verdicts


def test_an_example_is_broken_when_the_stored_point_is_misclassified():
    verdicts = judge(Threshold(), Shift(0.09), examples([0.45, 0.2, 0.7]))

    assert verdicts.clean.tolist() == [1, 1, 1]
    assert verdicts.adversarial.tolist() == [0, 1, 1]


def test_an_example_misclassified_without_attack_counts_as_broken():
    """Shifting makes the second example right: an attack must not repair a defense."""
    verdicts = judge(Threshold(), Shift(0.09), examples([0.2, 0.45], y=[0, 1]))

    assert verdicts.clean.tolist() == [1, 0]
    assert verdicts.adversarial.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("by", "rule"),
    [(0.1001, "V04"), (0.9, "V03"), (-0.6, "V03"), (float("nan"), "V02")],
)
def test_leaving_the_threat_model_is_the_attacks_fault(by, rule):
    with pytest.raises(Violation, match=rule):
        judge(Threshold(), Shift(by), examples([0.2, 0.7]))


def test_an_attack_that_returns_another_type_or_shape_is_at_fault():
    with pytest.raises(Violation, match="V01"):
        judge(Threshold(), lambda oracle, x, y, threat, *, stream: x.double(), examples([0.2]))
    with pytest.raises(Violation, match="V02"):
        judge(Threshold(), lambda oracle, x, y, threat, *, stream: x[:, :, :1], examples([0.2]))


def test_a_non_lp_attack_without_proof_is_at_fault():
    with pytest.raises(Violation, match="V07"):
        judge(Threshold(), Shift(0), examples([0.2]), threat=ThreatModel.parse("stadv:0.4"))


def test_an_attack_cannot_reach_the_images_that_are_judged():
    class Vandal:
        def __call__(self, oracle, x, y, threat, *, stream):
            answer = x.clone()
            x.fill_(0.9)
            y.fill_(0)
            return answer

    verdicts = judge(Threshold(), Vandal(), examples([0.7, 0.8]))

    assert verdicts.adversarial.tolist() == [1, 1]


def test_a_coin_is_right_half_the_time_and_never_ten_times_of_ten():
    verdicts = judge(Coin(), Shift(0), examples(np.linspace(0.1, 0.9, 400), y=[0] * 400), draws=10)

    assert abs(verdicts.clean.mean() / 10 - 0.5) < 0.03
    assert abs(verdicts.adversarial.mean() / 10 - 0.5) < 0.03
    assert (verdicts.adversarial == 10).mean() < 0.02
    assert not np.array_equal(verdicts.clean, verdicts.adversarial)


def test_judging_draws_are_not_those_the_attack_has_seen():
    """An attack that hands back the image on which its own query was wrong gains nothing by it."""

    class Lucky:
        def __call__(self, oracle, x, y, threat, *, stream):
            rows = torch.arange(len(x))
            self.wrong = oracle.logits(x, rows).argmax(1) != y
            return x

    attack = Lucky()
    verdicts = judge(Coin(), attack, examples(np.linspace(0.1, 0.9, 400), y=[0] * 400), draws=10)

    survived = verdicts.adversarial[verdicts.clean > 0] / 10
    assert abs(survived[attack.wrong.numpy()].mean() - 0.5) < 0.05


def test_the_same_cell_gives_the_same_counts_and_another_seed_others():
    shard = examples(np.linspace(0.1, 0.9, 100), y=[0] * 100)

    first, again = judge(Coin(), Shift(0), shard, draws=10), judge(Coin(), Shift(0), shard, draws=10)
    other = judge(Coin(), Shift(0), shard, draws=10, seed=1)

    assert np.array_equal(first.adversarial, again.adversarial)
    assert not np.array_equal(first.adversarial, other.adversarial)


def test_global_generators_of_the_caller_are_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)

    judge(Coin(), Shift(0), examples([0.2, 0.7]), draws=10)

    assert torch.equal(torch.rand(4), expected)


def test_an_answer_that_is_not_finite_is_wrong():
    class Nan(nn.Module):
        def forward(self, x):
            return torch.stack([torch.full((len(x),), torch.nan), torch.ones(len(x))], 1)

    verdicts = judge(Nan(), Shift(0), examples([0.2, 0.7], y=[0, 1]))

    assert verdicts.clean.tolist() == [0, 0]


@pytest.mark.parametrize("answer", [lambda x: (x,), lambda x: x.flatten(1)[:1], lambda x: x.flatten(1).long()])
def test_a_defense_that_gives_no_logits_is_refused(answer):
    class Odd(nn.Module):
        def forward(self, x):
            return answer(x)

    with pytest.raises(FaultyDefense, match="S02"):
        judge(Odd(), Shift(0), examples([0.2, 0.7, 0.8]))


def test_a_layer_left_in_train_mode_is_refused():
    class Stubborn(nn.Module):
        def __init__(self):
            super().__init__()
            self.dropout = nn.Dropout()

        def eval(self):
            return self

        def forward(self, x):
            return self.dropout(x).flatten(1)[:, :2]

    with pytest.raises(FaultyDefense, match="S07: dropout"):
        judge(Stubborn(), Shift(0), examples([0.2]))


def test_a_score_based_attack_that_asks_for_a_gradient_is_an_error():
    class Greedy:
        def __call__(self, oracle, x, y, threat, *, stream):
            oracle.gradient(x, y, lambda logits, labels: logits[:, 0], torch.arange(len(x)))
            return x

    with pytest.raises(PermissionError):
        judge(Threshold(), Greedy(), examples([0.2]), access="score")


def test_an_attack_is_not_called_when_nothing_is_right():
    def never(oracle, x, y, threat, *, stream):
        raise AssertionError("nothing to attack")

    verdicts = judge(Threshold(), never, examples([0.2, 0.7], y=[1, 0]))

    assert verdicts.adversarial.tolist() == [0, 0]


class Deaf(nn.Module):
    """A stand-in that calls every image class 0."""

    def forward(self, x):
        return torch.tensor([[9.0, 0.0]]) + 0 * x.flatten(1)[:, :2]


@dataclass(frozen=True)
class Asks:
    """Tells by which network its queries were answered."""

    precision: str

    def __call__(self, oracle, x, y, threat, *, stream):
        rows = torch.arange(len(x))
        told.append(oracle.logits(x, rows, inside=rows < 0) if oracle.access == "score" else oracle.labels(x, rows))
        return x


@dataclass(frozen=True)
class Unaware(Asks):
    """Says nothing of formats, as the attacks of our users."""

    precision: str = field(init=False)


told = []


@pytest.mark.parametrize(
    ("precision", "access", "expected"),
    [
        ("any", "score", "search"),
        ("float32", "score", "float32"),
        ("as given", "score", "given"),
        (None, "score", "float32"),
        ("any", "decision", "given"),
        (None, "decision", "given"),
    ],
)
def test_an_attack_searches_in_no_format_that_it_does_not_bear(precision, access, expected):
    """FAB walks along the boundary, random search lives on small gains; labels alone are asked of the defense."""
    shard = examples([0.45, 0.7])
    networks = {"search": Deaf(), "float32": nn.Sequential(Deaf(), nn.Softmax(1)), "given": Threshold()}
    search_models = SearchModels(networks["search"], networks["float32"])
    told.clear()

    attack = Unaware() if precision is None else Asks(precision)
    evaluate(cell(2, access=access), Defense(networks["given"]), attack, shard, search_models=search_models)

    answer = networks[expected](torch.from_numpy(shard.x))
    assert torch.allclose(told[0], answer.argmax(1) if access == "decision" else answer)


def test_the_judge_asks_the_defense_as_it_is():
    """Whatever a stand-in calls broken, or not: its answers are no verdicts."""
    search_models = SearchModels(Deaf(), Deaf())

    found, _ = evaluate(cell(2), Defense(Threshold()), Shift(0.09), examples([0.45, 0.2]), search_models=search_models)

    assert found.verdicts.clean.tolist() == [1, 1]
    assert found.verdicts.adversarial.tolist() == [0, 1]


EVERY = 4
X = torch.tensor([0.1, 0.2, 0.3])[:, None, None, None]
Y = torch.zeros(3, dtype=torch.int64)


class Above(nn.Module):
    """Class 1 above one half."""

    def forward(self, x):
        return torch.stack([0 * x.flatten(), x.flatten() - 0.5], 1)


def test_a_proof_takes_the_place_of_what_an_attack_proposes():
    """A stand-in may have crowned another point since."""

    class Forgets:
        def __call__(self, oracle, x, y, threat, *, stream):
            oracle.gradient(x + 0.25, y, lambda logits, y: logits[:, 1], torch.arange(3))
            return x

    examples = Examples("toy", "test", list("abc"), X.numpy(), Y.numpy(), ImageSpec((1, 1, 1), 2))
    ref = AttackRef("a", "a", "a", access="gradient")
    cell = Cell(
        DefenseRef("d", "d", "d"), ref, ThreatModel.parse("Linf:0.25"), Slice("toy", "test", 3, "x"), 0, 1, batch=3
    )

    found = [
        evaluate(cell, Defense(Above()), Forgets(), examples, search_models=SearchModels(Above(), every=every))[0]
        for every in (1, EVERY)
    ]

    assert [done.verdicts.adversarial.tolist() for done in found] == [[1, 1, 1], [1, 1, 0]]


@pytest.mark.parametrize(
    ("name", "threat", "expected"),
    [("pgd-20", "Linf:0.1", 8), ("square", "L2:1", 8), ("fab-t", "Linf:0.1", 1), ("stadv", "stadv:0.4", 1)],
)
def test_only_attacks_that_the_judge_alone_holds_to_their_points_go_on_unseen(name, threat, expected):
    """FAB walks along the boundary; stAdv shows the flow its images come from."""
    (planned,), _ = _cell(name, threat)
    stage = Stage(planned.cell.attack, attack_of(planned.cell.attack))

    assert _patience(SearchModels(every=8), stage, planned.cell.threat) == expected


def _cell(name, threat):
    examples = load("digits", "test", n=48)
    return matrix.build(Selection.of("at", name, (ThreatModel.parse(threat),)), examples), examples
