"""One shard: which engine its attack gets, and that no verdict depends on when the host looks."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from bench.catalogue.loading import load_defense
from bench.catalogue.selection import Selection
from bench.datasets.load import load
from bench.harness import matrix
from bench.harness.cascade import attack_of
from bench.harness.conversion import SearchModels, converted
from bench.harness.evaluate import evaluate
from bench.harness.formats import Format
from bench.harness.task import Task, _search_models
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import ThreatModel
from bench.types import Defense

EVERY = 4


def test_a_gpu_is_looked_at_now_and_then_and_a_cpu_at_every_query():
    (planned,), examples = _cell("pgd-20", "Linf:0.1")
    task, defense = Task(planned.cell, 0, examples), load_defense(planned.cell.defense, examples.spec)

    assert _search_models(task, defense, "cpu").every == 1
    assert _search_models(task, defense, "cuda:0").every > 1


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
    defense, attack = load_defense(cell.defense, examples.spec), attack_of(cell.attack)

    for every in (1, EVERY):
        found, _ = evaluate(cell, defense, attack, examples, search_models=SearchModels(every=every))
        verdicts.append(found.verdicts.adversarial.tolist())

    assert verdicts[0] == verdicts[1]
    assert 0 < sum(verdicts[0]) < len(examples)


@pytest.mark.parametrize("name", ["pgd-20", "apgd-ce[steps=30]", "apgd-t[steps=10]", "malt[steps=10]"])
def test_what_follows_gradients_breaks_as_much_in_bfloat16(name):
    """Its rounding is a hundredth of a typical margin; random search, which lives on less, may not take it."""
    (planned,), examples = _cell(name, "Linf:0.1")
    cell, broken = planned.cell, []
    defense, attack = load_defense(cell.defense, examples.spec), attack_of(cell.attack)
    half = converted(defense.model, Format(half=True, channels_last=True), torch.from_numpy(examples.x[:2]))

    for search in (None, half):
        found, _ = evaluate(cell, defense, attack, examples, search_models=SearchModels(search))
        broken.append(found.verdicts.adversarial == 0)

    assert 0 < broken[0].sum() < len(examples)
    assert (broken[0] ^ broken[1]).sum() <= 1


@pytest.mark.parametrize("name", ["pgd-20", "apgd-ce[steps=30]", "square[queries=200]"])
def test_a_stand_in_that_is_off_breaks_as_much_where_the_host_looks_now_and_then(name):
    (planned,), examples = _cell(name, "Linf:0.1")
    cell, standing = planned.cell, []
    defense, attack = load_defense(cell.defense, examples.spec), attack_of(cell.attack)
    off = Unlearned(defense.model)

    for every in (1, EVERY):
        found, _ = evaluate(cell, defense, attack, examples, search_models=SearchModels(off, off, every=every))
        standing.append(int(found.verdicts.adversarial.sum()))
        assert found.evidence.silent == 0

    assert abs(standing[0] - standing[1]) <= 1


def _cell(name, threat):
    examples = load("digits", "test", n=48)
    return matrix.build(Selection.of("at", name, (ThreatModel.parse(threat),)), examples), examples


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
    defense, attack = load_defense(planned.cell.defense, examples.spec), attack_of(planned.cell.attack)
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
