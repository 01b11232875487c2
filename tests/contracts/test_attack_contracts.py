"""What every registered attack owes its callers, checked over the whole catalogue."""

import random
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from bench.catalogue import ATTACKS
from bench.geometry import distance
from bench.oracle import Oracle
from bench.registry import load
from bench.types import ThreatModel

# An entry without a target is the worst case of other entries, which are checked themselves.
PAIRS = [(entry.name, family) for entry in ATTACKS if entry.target for family in entry.families]
# Each family at a size that breaks some of the examples of `robust_digits`, and leaves some.
MIXED = {"Linf": "Linf:0.12", "L2": "L2:0.6", "L1": "L1:3", "stadv": "stadv:0.4"}
# At a size that breaks nearly every example of an untrained network.
LARGE = {"Linf": "Linf:0.4", "L2": "L2:12", "L1": "L1:40", "stadv": "stadv:3"}
# One batch seeds the library's global generators, so its points depend on the shard by design.
PER_BATCH = "bench.attacks.adapters."
SHAPES = {"gray 8x8": (1, 8, 8), "RGB 32x32": (3, 32, 32)}


def build(entry):
    """The attack of a catalogue entry, with few steps where it has a parameter for them."""
    attack = load(entry.target)(**entry.config)
    fewer = {"steps": 5, "queries": 40, "targets": 2, "eot": 2}
    return replace(attack, **{name: value for name, value in fewer.items() if hasattr(attack, name)})


@dataclass
class Proposal:
    x_adv: torch.Tensor
    oracle: Oracle
    faults: list


@pytest.fixture
def propose(launch, stream):
    """Run a registered attack as `evaluate` does, with its access rights; with its proof where it has one."""

    def run(entry, model, x, y, threat, *, stochastic=False, rows=None):
        attack, faults = build(entry), []

        def with_proof(oracle, x, y, threat, *, stream):
            x_adv, proof = attack.propose(oracle, x, y, threat, stream=stream)
            faults.extend(attack.violations(x, x_adv, proof, threat))
            return x_adv

        method = attack if ThreatModel.parse(threat).is_lp else with_proof
        x_adv, oracle = launch(
            method, model, x, y, threat, stochastic=stochastic, access=entry.access, scope=(entry.name,), rows=rows
        )
        return Proposal(x_adv, oracle, faults)

    return run


def assert_within(proposal, x, text):
    """Rules V01 to V05 and V07 of the verifier."""
    threat, x_adv = ThreatModel.parse(text), proposal.x_adv
    assert x_adv.dtype == torch.float32
    assert x_adv.shape == x.shape
    assert not x_adv.requires_grad
    assert torch.isfinite(x_adv).all()
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    assert proposal.faults == []
    if threat.is_lp:
        slack = 1e-6 if threat.family == "Linf" else float(threat.eps) * 1e-5
        assert distance(x_adv, x, threat.family).max().item() <= float(threat.eps) + slack


def for_every_attack(test):
    return pytest.mark.parametrize(("name", "family"), PAIRS, ids=[" ".join(pair) for pair in PAIRS])(test)


def slow_adapter(entry):
    """AutoAttack has no parameter that shortens it: it is run where it finishes soon."""
    return not hasattr(build(entry), "steps") and entry.target.startswith(PER_BATCH)


@for_every_attack
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_proposal_is_an_image_within_the_threat_model(propose, small_cnn, name, family, shape):
    """Shape, dtype, box and ball, for gray and color images that touch the edges of the box."""
    entry = ATTACKS.get(name)
    model = small_cnn(channels=shape[0])
    x = torch.rand(3, *shape, generator=torch.Generator().manual_seed(1)).mul(1.4).sub(0.2).clamp(0, 1)
    y = model(x).argmax(1)

    proposal = propose(entry, model, x, y, LARGE[family])

    assert_within(proposal, x, LARGE[family])


@for_every_attack
def test_nothing_but_the_proposal_changes(propose, small_cnn, name, family):
    """Images, labels, weights, their gradients and the global generators are as they were."""
    entry = ATTACKS.get(name)
    model, x = small_cnn(), torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    y = model(x).argmax(1)
    images, labels = x.clone(), y.clone()
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    generators = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002

    propose(entry, model, x, y, LARGE[family])

    assert torch.equal(x, images)
    assert torch.equal(y, labels)
    assert x.grad is None
    assert not x.requires_grad
    assert all(weight.grad is None for weight in model.parameters())
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert (np.random.get_state()[1] == generators[1]).all()  # noqa: NPY002
    assert random.getstate() == generators[2]


@for_every_attack
def test_the_same_stream_gives_the_same_proposal(propose, small_cnn, name, family):
    """Bit for bit, whatever the global generators held before."""
    entry = ATTACKS.get(name)
    model, x = small_cnn(), torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    y = model(x).argmax(1)

    first = propose(entry, model, x, y, LARGE[family])
    with torch.random.fork_rng():
        torch.manual_seed(1234)
        second = propose(entry, model, x, y, LARGE[family])

    assert torch.equal(first.x_adv, second.x_adv)


@for_every_attack
def test_verdicts_do_not_depend_on_the_batch(propose, robust_digits, name, family):
    """Batches of 7, 1, 2 and 3 examples give the verdicts, and all but the last bits, of one batch of 13."""
    entry = ATTACKS.get(name)
    if entry.target.startswith(PER_BATCH):
        pytest.skip("pyautoattack draws once per batch: its points depend on the shard")
    model, x, y = robust_digits[0], robust_digits[1][:13], robust_digits[2][:13]

    whole = propose(entry, model, x, y, MIXED[family]).x_adv
    parts = [
        propose(entry, model, x[part], y[part], MIXED[family], rows=part).x_adv
        for part in (list(range(7)), [7], [8, 9], [10, 11, 12])
    ]

    apart = torch.cat(parts)
    assert (model(apart).argmax(1) == model(whole).argmax(1)).all()
    same = (apart - whole).flatten(1).abs().amax(1) < 1e-4
    assert same.sum() >= 12  # rounding may turn the sign of one gradient that is nearly zero


@for_every_attack
def test_a_success_seen_is_a_success_returned(propose, robust_digits, name, family):
    """What the oracle calls broken is broken at the returned point; and something is broken at all."""
    entry = ATTACKS.get(name)
    if slow_adapter(entry):
        pytest.skip("its parts are tested one by one")
    model, x, y = robust_digits[0], robust_digits[1][:16], robust_digits[2][:16]

    proposal = propose(entry, model, x, y, MIXED[family])

    assert_within(proposal, x, MIXED[family])
    right = model(proposal.x_adv).argmax(1) == y
    still = proposal.oracle.open(torch.arange(16))
    assert set(right.nonzero().squeeze(1).tolist()) <= set(still.tolist())
    assert not right.all()


@for_every_attack
def test_examples_wrong_from_the_start_stay_wrong(propose, small_cnn, name, family):
    """An attack that is given a misclassified image must neither fail nor mend it."""
    entry = ATTACKS.get(name)
    model, x = small_cnn(), torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(4))
    y = (model(x).argmax(1) + 1) % 10

    proposal = propose(entry, model, x, y, {"Linf": "Linf:1e-5", "L2": "L2:1e-5", "stadv": "stadv:1e-5"}[family])

    assert (model(proposal.x_adv).argmax(1) != y).all()


@for_every_attack
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_few_classes_and_one_example_will_do(propose, small_cnn, name, family, classes):
    """DLR losses are not defined for so few classes and nine targets do not exist; neither is fatal."""
    entry = ATTACKS.get(name)
    model, x = small_cnn(classes=classes), torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(classes))
    y = model(x).argmax(1)

    proposal = propose(entry, model, x, y, LARGE[family])

    assert_within(proposal, x, LARGE[family])


@for_every_attack
def test_a_stochastic_defense_is_attacked_or_declined_in_the_catalogue(propose, noisy_halfspace, images, name, family):
    """Where an entry does not decline stochastic defenses, the attack finds its way through the noise."""
    entry = ATTACKS.get(name)
    if "stochastic" in entry.not_for:
        pytest.skip(entry.not_for["stochastic"])
    model, x = noisy_halfspace(noise=0.2), images(6)
    y = model.halfspace(x).argmax(1)

    proposal = propose(entry, model, x, y, LARGE[family], stochastic=True)

    assert_within(proposal, x, LARGE[family])
    if family != "stadv":  # a halfspace has no shape that moving pixels could follow
        assert (model.error_rate(proposal.x_adv, y) > 0.5).sum() >= 5


@for_every_attack
@pytest.mark.slow
def test_the_ledger_stays_within_the_catalogue(launch, halfspace, images, name, family):
    """The published cost of an example that never breaks bounds what the oracle counted, and is not idle."""
    entry = ATTACKS.get(name)
    if "deterministic" in entry.not_for:
        pytest.skip(entry.not_for["deterministic"])
    if entry.forwards > 3000 and family == "L2":
        pytest.skip("the same queries as for Linf, and a long wait")
    attack = load(entry.target)(**entry.config)
    model, x = halfspace(classes=10, shape=(1, 5, 5)), images(1, (1, 5, 5))
    threat = ThreatModel(family, Fraction(1, 10**6))

    _, oracle = launch(attack, model, x, model(x).argmax(1), threat, access=entry.access)

    assert 0.9 * entry.forwards - 1 <= oracle.forwards.item() <= entry.forwards
    assert 0.9 * entry.backwards - 1 <= oracle.backwards.item() <= entry.backwards
