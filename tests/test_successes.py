"""What a search breaks counts once the defense has said so, at once or at the next look."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from bench import matrix
from bench.cascade import Stage
from bench.cell import AttackRef, Cell, DefenseRef, Slice
from bench.conversion import Engine, converted
from bench.datasets.examples import Examples
from bench.datasets.load import load
from bench.evaluate import _patience, evaluate
from bench.executors.task import Task, _engine, load_attack, load_defense
from bench.formats import Format
from bench.oracle import Oracle
from bench.random import Stream
from bench.record import Known
from bench.successes import Successes
from bench.types import Defense, ImageSpec, ThreatModel

EVERY = 4
X = torch.tensor([0.1, 0.2, 0.3])[:, None, None, None]
Y = torch.zeros(3, dtype=torch.int64)
ALL, NONE = torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)


def answers(*margins):
    return torch.tensor([[0.0, value] for value in margins])


class Asked:
    """A defense that is wrong above a threshold, and remembers the points it was asked about."""

    def __init__(self, threshold):
        self.threshold, self.points = threshold, []

    def __call__(self, x, rows):
        self.points.append((rows.tolist(), x.flatten().tolist()))
        return torch.stack([torch.zeros(len(x)), x.flatten() - self.threshold], 1)


def test_the_defense_is_asked_at_the_look_about_the_clearest_success_of_each_example():
    known, ask = Known(3), Asked(0.25)
    successes = Successes(known, ask, Y, every=3)

    for step, margins in enumerate([(1.0, -1.0, -1.0), (2.0, 0.5, -1.0), (-1.0, 0.1, -1.0)]):
        assert not ask.points
        assert not known.broken.any()
        successes.weigh(answers(*margins), X + 0.1 * step, Y, torch.arange(3), ALL)

    assert ask.points == [([0, 1], pytest.approx([0.2, 0.3]))]
    assert known.broken.tolist() == [False, True, False]
    assert torch.allclose(successes.proven(torch.zeros(3, 1, 1, 1)).flatten(), torch.tensor([0, 0.3, 0]))


def test_what_was_refuted_may_be_suspected_again():
    known, ask = Known(3), Asked(0.25)
    successes = Successes(known, ask, Y, every=2)

    for shift in (0.0, 0.1, 0.2, 0.3):
        successes.weigh(answers(1.0, 0.0, 0.0), X + shift, Y, torch.arange(3), ALL)

    assert [rows for rows, _ in ask.points] == [[0], [0]]
    assert known.broken.tolist() == [True, False, False]


def test_points_outside_the_threat_model_and_answers_of_other_networks_break_nothing():
    known = Known(3)

    Successes(known, None, Y, every=1).weigh(answers(1, 1, 1), X, Y, torch.arange(3), NONE)
    outside = Successes(known, None, Y, every=2)
    outside.weigh(answers(1, 1, 1), X, Y, torch.arange(3), NONE)
    outside.look()
    Successes(None, None, Y, every=1).weigh(answers(1, 1, 1), X, Y, torch.arange(3), ALL)

    assert not known.broken.any()


def test_an_answer_that_is_no_number_is_a_success_to_look_at():
    known, nan, inf = Known(3), float("nan"), float("inf")
    successes = Successes(known, None, Y, every=2)

    successes.weigh(torch.tensor([[nan, 0], [inf, 0], [1, 0]]), X, Y, torch.arange(3), ALL)
    successes.look()

    assert known.broken.tolist() == [True, True, False]


def test_a_look_now_and_then_takes_the_labels():
    with pytest.raises(ValueError, match="every=2 takes labels"):
        Successes(Known(3), every=2)


class Above(nn.Module):
    """Class 1 above one half."""

    def forward(self, x):
        return torch.stack([0 * x.flatten(), x.flatten() - 0.5], 1)


def test_whoever_asks_which_rows_are_open_has_them_looked_at():
    oracle = Oracle(Defense(Above()), 3, labels=Y, every=10)

    oracle.gradient(X + 0.25, Y, lambda logits, y: logits[:, 1], torch.arange(3))

    assert not oracle.due
    assert oracle.open(torch.arange(3)).tolist() == [0, 1]
    assert oracle.broken.tolist() == [False, False, True]


@pytest.mark.parametrize("every", [1, EVERY])
def test_logits_retire_nothing_unless_the_attack_says_that_it_asks_inside(every):
    """A user's attack may ask far outside; an example given up for that would look robust."""
    oracle, rows = Oracle(Defense(Above()), 3, labels=Y, every=every, access="score"), torch.arange(3)

    oracle.logits(X + 0.25, rows)
    untouched = oracle.open(rows).tolist()
    oracle.logits(X + 0.25, rows, y=Y)

    assert untouched == [0, 1, 2]
    assert oracle.open(rows).tolist() == [0, 1]


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
        evaluate(cell, Defense(Above()), Forgets(), examples, engine=Engine(Above(), every=every)).verdicts.adversarial
        for every in (1, EVERY)
    ]

    assert [verdicts.tolist() for verdicts in found] == [[1, 1, 1], [1, 1, 0]]


@pytest.mark.parametrize(
    ("name", "threat", "expected"),
    [("pgd-20", "Linf:0.1", 8), ("square", "L2:1", 8), ("fab-t", "Linf:0.1", 1), ("stadv", "stadv:0.4", 1)],
)
def test_only_attacks_that_the_judge_alone_holds_to_their_points_go_on_unseen(name, threat, expected):
    """FAB walks along the boundary; stAdv shows the flow its images come from."""
    (planned,), _ = _cell(name, threat)
    stage = Stage(planned.cell.attack, load_attack(planned.cell.attack))

    assert _patience(Engine(every=8), stage, planned.cell.threat) == expected


def test_a_gpu_is_looked_at_now_and_then_and_a_cpu_at_every_query():
    (planned,), examples = _cell("pgd-20", "Linf:0.1")
    task, defense = Task(planned.cell, 0, examples), load_defense(planned.cell.defense, examples.spec)

    assert _engine(task, defense, "cpu").every == 1
    assert _engine(task, defense, "cuda:0").every > 1


class Unlearned(nn.Module):
    """A stand-in whose logits are a little off, so that it sees successes where there are none, and misses some."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x) + torch.linspace(-0.2, 0.2, 10)


ATTACKS = "pgd-20 apgd-ce[steps=30] apgd-t[steps=10] malt[steps=10] square[queries=200] fab-t[steps=10]"


@pytest.mark.parametrize("name", ATTACKS.split())
@pytest.mark.parametrize("threat", ["Linf:0.1", "L2:0.7"])
def test_when_the_host_looks_changes_no_verdict(name, threat):
    """Random numbers belong to the example, so that the others go on as they would have."""
    (planned,), examples = _cell(name, threat)
    cell, verdicts = planned.cell, []
    defense, attack = load_defense(cell.defense, examples.spec), load_attack(cell.attack)

    for every in (1, EVERY):
        found = evaluate(cell, defense, attack, examples, engine=Engine(every=every))
        verdicts.append(found.verdicts.adversarial.tolist())

    assert verdicts[0] == verdicts[1]
    assert 0 < sum(verdicts[0]) < len(examples)


@pytest.mark.parametrize("name", ["pgd-20", "apgd-ce[steps=30]", "apgd-t[steps=10]", "malt[steps=10]"])
def test_what_follows_gradients_breaks_as_much_in_bfloat16(name):
    """Its rounding is a hundredth of a typical margin; random search, which lives on less, may not take it."""
    (planned,), examples = _cell(name, "Linf:0.1")
    cell, broken = planned.cell, []
    defense, attack = load_defense(cell.defense, examples.spec), load_attack(cell.attack)
    half = converted(defense.model, Format(half=True, channels_last=True), torch.from_numpy(examples.x[:2]))

    for search in (None, half):
        found = evaluate(cell, defense, attack, examples, engine=Engine(search))
        broken.append(found.verdicts.adversarial == 0)

    assert 0 < broken[0].sum() < len(examples)
    assert (broken[0] ^ broken[1]).sum() <= 1


@pytest.mark.parametrize("name", ["pgd-20", "apgd-ce[steps=30]", "square[queries=200]"])
def test_a_stand_in_that_is_off_breaks_as_much_where_the_host_looks_now_and_then(name):
    (planned,), examples = _cell(name, "Linf:0.1")
    cell, standing = planned.cell, []
    defense, attack = load_defense(cell.defense, examples.spec), load_attack(cell.attack)
    off = Unlearned(defense.model)

    for every in (1, EVERY):
        found = evaluate(cell, defense, attack, examples, engine=Engine(off, off, every=every))
        standing.append(int(found.verdicts.adversarial.sum()))
        assert found.evidence.silent == 0

    assert abs(standing[0] - standing[1]) <= 1


def _cell(name, threat):
    examples = load("digits", "test", n=48)
    return matrix.build(matrix.MatrixRequest("at", name, (ThreatModel.parse(threat),)), examples), examples


class Waits(TorchDispatchMode):
    """Counts the operations for which a host waits for its GPU: those whose result it needs to go on."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        index = args[1] if name in ("index", "index_put", "index_put_") else ()
        masks = any(part is not None and part.dtype in (torch.bool, torch.uint8) for part in index)
        if masks or name in ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2"):
            self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["pgd-20", "apgd-ce[steps=40]", "apgd-t[steps=20,targets=2]", "square[queries=100]"])
@pytest.mark.parametrize("search", ["as given", "stand-in"])
def test_no_step_makes_the_host_wait_for_its_gpu(name, search):
    """Until it looks, that is: an attack of a hundred queries has as few such operations as one of ten."""
    (planned,), examples = _cell(name, "Linf:0.02")
    defense, attack = load_defense(planned.cell.defense, examples.spec), load_attack(planned.cell.attack)
    model = defense.model.eval()
    x, y = torch.from_numpy(examples.x), torch.from_numpy(examples.y)
    waits = {}

    for every in (1, 1000):
        fast = Unlearned(model) if search == "stand-in" else None
        oracle = Oracle(Defense(model), len(x), labels=y, every=every, fast=fast)
        with Waits() as waits[every]:
            oracle.proven(attack(oracle, x, y, planned.cell.threat, stream=Stream.of(examples.ids, "test")))

    assert waits[1].count >= int(oracle.forwards.min())
    assert waits[1000].count <= 12
