"""What every registered attack owes its callers, checked over the whole catalogue."""

import random
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from bench.catalogue import ATTACKS
from bench.datasets.digits import digits
from bench.executors.task import load_defense
from bench.families import FAMILIES
from bench.geometry import distance
from bench.oracle import Oracle
from bench.registry import load
from bench.request import Request
from bench.selection import defense
from bench.types import Defense, ThreatModel
from bench.variants import beside

# An entry without a target is the worst case of other entries, which are checked themselves.
PAIRS = [(entry.name, family) for entry in ATTACKS if entry.target for family in entry.families]
# Each family at a size that breaks some of the examples of `robust_digits`, and leaves some.
MIXED = {
    **{name: f"{name}:{family.eps[0]}" for name, family in FAMILIES.items()},
    "Linf": "Linf:0.12",
    "L2": "L2:0.6",
    "L1": "L1:3",
}
# What has no aim breaks hardly any of them at that size.
FLOOR = ("noise",)
# At a size that breaks nearly every example of an untrained network.
LARGE = {
    **{name: f"{name}:{5 * float(family.eps[0]):g}" for name, family in FAMILIES.items()},
    "Linf": "Linf:0.4",
    "L2": "L2:12",
    "L1": "L1:40",
    "stadv": "stadv:3",
}
# What they lay over an image is there whatever eps is; eps bounds how it may be bent.
OVERLAID = ("wood", "kaleidoscope")
# Descents that stall are given up, which on a plane is soon.
GIVES_UP = ("cw-l2",)
# One batch seeds the library's global generators, so its points depend on the shard by design.
PER_BATCH = "bench.attacks.adapters."
SHAPES = {"gray 8x8": (1, 8, 8), "RGB 32x32": (3, 32, 32), "RGB 40x24": (3, 40, 24), "RGB 224x224": (3, 224, 224)}


def small(family):
    """The smallest images a family is defined for, of the sizes tested."""
    return (1, 8, 8) if FAMILIES[family].refuses((1, 8, 8)) is None else (3, 8, 8)


def thin(family):
    """Images with as few pixels as the family allows, so that thousands of queries are quick."""
    return (1, 5, 5) if FAMILIES[family].refuses((1, 5, 5)) is None else small(family)


def installed(entry):
    """Skip an attack of a library that is not there."""
    for name in entry.requires:
        pytest.importorskip(name)


def build(entry, **fewer):
    """The attack of a catalogue entry, with few steps where it has a parameter for them."""
    installed(entry)
    attack = load(entry.target)(**entry.config)
    fewer = {"steps": 5, "queries": 40, "targets": 2, "eot": 2, "n_draws": 40, **fewer}
    return replace(attack, **{name: value for name, value in fewer.items() if hasattr(attack, name)})


@dataclass
class Proposal:
    x_adv: torch.Tensor
    oracle: Oracle
    faults: list


class Steady(torch.nn.Module):
    """A model with a gradient and always the same answer."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return 1e-3 * self.model(x) + 50 * torch.eye(10)[0]


class Contrast(torch.nn.Module):
    """A purifier that takes a tenth of the contrast."""

    def forward(self, x):
        return 0.5 + 0.9 * (x - 0.5)


class Purified(torch.nn.Module):
    """A model behind a purifier."""

    def __init__(self, base):
        super().__init__()
        self.purifier, self.base = Contrast(), base

    def forward(self, x):
        return self.base(self.purifier(x))


def defended(entry, model):
    """The model as the entry meets it: behind a purifier if it attacks through a variant of the defense."""
    return Purified(model).eval() if entry.needs else model


def eye(entry, model):
    """What a distance between activations is measured by, for a model that shows none."""
    if "lpips" not in entry.families or isinstance(model, torch.nn.Sequential):
        return None
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.LazyConv2d(4, 3, padding=1), torch.nn.Flatten()).eval()


def declared(entry, model, stochastic):
    """A defense that offers what the entry needs; what holds no randomness may be declared random."""
    if not entry.needs:
        return Defense(model, stochastic=stochastic, base=eye(entry, model))
    if entry.needs == "source":
        source = model.base if isinstance(model, Purified) else model.halfspace
        return beside(Defense(model, stochastic=stochastic), Defense(source))
    stochastic = stochastic or entry.needs == "derandomized"
    if isinstance(model, Purified):
        return Defense(
            model, stochastic=stochastic, base=model.base, purifier=model.purifier, derandomized=Purified(model.base)
        )
    still = model.halfspace
    return Defense(model, stochastic=stochastic, base=still, surrogate=still, derandomized=still)


@pytest.fixture
def propose(stream):
    """Run a registered attack as `evaluate` does, with its access rights; with its proof where it has one."""

    def run(entry, model, x, y, threat, *, stochastic=False, rows=None, attack=None):
        attack, faults, threat = attack or build(entry), [], ThreatModel.parse(threat)
        oracle = Oracle(declared(entry, model, stochastic), len(x), scope=("test", entry.name), access=entry.access)
        rows = torch.arange(len(x)) if rows is None else torch.tensor(rows)
        streams = stream(int(rows.max()) + 1, entry.name).rows(rows)
        if threat.is_lp:
            x_adv = attack(oracle, x, y, threat, stream=streams)
        else:
            x_adv, proof = attack.propose(oracle, x, y, threat, stream=streams)
            faults.extend(attack.violations(x, x_adv, proof, threat))
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


def once_for_every_attack(test):
    """Where the norm makes no difference: each attack under the first of its families."""
    once = list({name: (name, family) for name, family in reversed(PAIRS)}.values())[::-1]
    return pytest.mark.parametrize(("name", "family"), once, ids=[name for name, _ in once])(test)


def for_every_attack(test):
    return pytest.mark.parametrize(("name", "family"), PAIRS, ids=[" ".join(pair) for pair in PAIRS])(test)


@pytest.fixture
def trained(robust_digits, tinted_digits):
    """A trained network and `n` of its examples that a family is defined for."""

    def choose(family, n):
        model, x, y = tinted_digits if FAMILIES[family].colors else robust_digits
        return model, x[:n], y[:n]

    return choose


@pytest.fixture(scope="session")
def undefended(tinted_digits):
    """The shipped network that was trained on clean digits, or one of colored ones, with a dozen examples."""
    data = digits("test").first(16)
    ref = defense(Request("standard", {}), "digits", None)
    model = load_defense(ref, data.spec).model
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    right = (model(x).argmax(1) == y).nonzero().squeeze(1)[:12]

    def choose(family):
        if FAMILIES[family].colors:
            return tinted_digits[0], tinted_digits[1][:12], tinted_digits[2][:12]
        return model, x[right], y[right]

    return choose


def slow_adapter(entry):
    """AutoAttack has no parameter that shortens it: it is run where it finishes soon."""
    return not hasattr(build(entry), "steps") and entry.target.startswith(PER_BATCH)


@for_every_attack
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_proposal_is_an_image_within_the_threat_model(propose, small_cnn, name, family, shape):
    """Shape, dtype, box and ball, for gray and color images that touch the edges of the box."""
    entry, refused = ATTACKS.get(name), FAMILIES[family].refuses(shape)
    if refused:
        pytest.skip(refused)
    large = shape[1] > 100
    if large and family != entry.families[0]:
        pytest.skip("its size matters whatever the norm: once is enough")
    model = defended(entry, small_cnn(channels=shape[0]))
    x = torch.rand(1 if large else 3, *shape, generator=torch.Generator().manual_seed(1))
    x = x.mul(1.4).sub(0.2).clamp(0, 1)
    y = model(x).argmax(1)
    if large and slow_adapter(entry):
        pytest.skip("it has no parameter that shortens it")
    attack = build(entry, steps=2, queries=10, n_draws=5) if large else None

    proposal = propose(entry, model, x, y, LARGE[family], attack=attack)

    assert_within(proposal, x, LARGE[family])


@once_for_every_attack
def test_nothing_but_the_proposal_changes(propose, small_cnn, name, family):
    """Images, labels, weights, their gradients and the global generators are as they were."""
    entry = ATTACKS.get(name)
    shape = small(family)
    model = defended(entry, small_cnn(channels=shape[0]))
    x = torch.rand(3, *shape, generator=torch.Generator().manual_seed(2))
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


@once_for_every_attack
def test_the_same_stream_gives_the_same_proposal(propose, small_cnn, name, family):
    """Bit for bit, whatever the global generators held before."""
    entry = ATTACKS.get(name)
    shape = small(family)
    model = defended(entry, small_cnn(channels=shape[0]))
    x = torch.rand(3, *shape, generator=torch.Generator().manual_seed(3))
    y = model(x).argmax(1)

    first = propose(entry, model, x, y, LARGE[family])
    with torch.random.fork_rng():
        torch.manual_seed(1234)
        second = propose(entry, model, x, y, LARGE[family])

    assert torch.equal(first.x_adv, second.x_adv)


@for_every_attack
def test_verdicts_do_not_depend_on_the_batch(propose, trained, name, family):
    """Batches of 7, 1, 2 and 3 examples give the verdicts, and all but the last bits, of one batch of 13."""
    entry = ATTACKS.get(name)
    if entry.target.startswith(PER_BATCH):
        pytest.skip("pyautoattack draws once per batch: its points depend on the shard")
    model, x, y = trained(family, 13)
    model = defended(entry, model)

    whole = propose(entry, model, x, y, MIXED[family]).x_adv
    parts = [
        propose(entry, model, x[part], y[part], MIXED[family], rows=part).x_adv
        for part in (list(range(7)), [7], [8, 9], [10, 11, 12])
    ]

    apart = torch.cat(parts)
    assert (model(apart).argmax(1) == model(whole).argmax(1)).all()
    same = (apart - whole).flatten(1).abs().amax(1) < 1e-4
    if hasattr(build(entry), "measures"):
        # What walks along the boundary turns a last bit into another point there; how far that is stays the same.
        far = [distance(each, x, family) for each in (apart, whole)]
        same |= (far[0] - far[1]).abs() < 1e-4
    assert same.sum() >= 12  # rounding may turn the sign of one gradient that is nearly zero


@for_every_attack
def test_a_success_seen_is_a_success_returned(propose, trained, name, family):
    """What the oracle calls broken is broken at the returned point; and something is broken at all."""
    entry = ATTACKS.get(name)
    if slow_adapter(entry):
        pytest.skip("its parts are tested one by one")
    model, x, y = trained(family, 16)
    model = defended(entry, model)
    threat = LARGE[family] if name in FLOOR or entry.powerless else MIXED[family]

    proposal = propose(entry, model, x, y, threat)

    assert_within(proposal, x, threat)
    right = model(proposal.x_adv).argmax(1) == y
    still = proposal.oracle.open(torch.arange(16))
    assert set(right.nonzero().squeeze(1).tolist()) <= set(still.tolist())
    assert not right.all()


@once_for_every_attack
def test_examples_wrong_from_the_start_stay_wrong(propose, small_cnn, name, family):
    """An attack that is given a misclassified image must neither fail nor mend it."""
    entry = ATTACKS.get(name)
    shape = small(family)
    model = defended(entry, small_cnn(channels=shape[0]))
    x = torch.rand(4, *shape, generator=torch.Generator().manual_seed(4))
    y = (model(x).argmax(1) + 1) % 10

    if family in OVERLAID:
        pytest.skip("its rings or shapes are there whatever eps is")

    proposal = propose(entry, model, x, y, f"{family}:1e-5")

    assert (model(proposal.x_adv).argmax(1) != y).all()


@once_for_every_attack
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_few_classes_and_one_example_will_do(propose, small_cnn, name, family, classes):
    """DLR losses are not defined for so few classes and nine targets do not exist; neither is fatal."""
    entry = ATTACKS.get(name)
    shape = small(family)
    model = defended(entry, small_cnn(channels=shape[0], classes=classes))
    x = torch.rand(1, *shape, generator=torch.Generator().manual_seed(classes))
    y = model(x).argmax(1)

    proposal = propose(entry, model, x, y, LARGE[family])

    assert_within(proposal, x, LARGE[family])


@for_every_attack
def test_a_stochastic_defense_is_attacked_or_declined_in_the_catalogue(propose, noisy_halfspace, images, name, family):
    """Where an entry does not decline stochastic defenses, the attack finds its way through the noise."""
    entry = ATTACKS.get(name)
    if "stochastic" in entry.not_for:
        pytest.skip(entry.not_for["stochastic"])
    shape = small(family)
    model, x = noisy_halfspace(noise=0.2, shape=shape), images(6, shape)
    y = model.halfspace(x).argmax(1)

    proposal = propose(entry, model, x, y, LARGE[family], stochastic=True)

    assert_within(proposal, x, LARGE[family])
    if ThreatModel.parse(LARGE[family]).is_lp:  # a halfspace has no shapes and no colors
        assert (model.error_rate(proposal.x_adv, y) > 0.5).sum() >= 5


@for_every_attack
@pytest.mark.slow
def test_the_ledger_stays_within_the_catalogue(propose, halfspace, images, name, family):
    """The published cost of an example that never breaks bounds what the oracle counted, and is not idle."""
    entry = ATTACKS.get(name)
    if "deterministic" in entry.not_for:
        pytest.skip(entry.not_for["deterministic"])
    if entry.forwards > 3000 and family == "L2":
        pytest.skip("the same queries as for Linf, and a long wait")
    installed(entry)
    attack = load(entry.target)(**entry.config)
    shape = thin(family)
    steady = Steady(halfspace(classes=10, shape=shape)) if family in OVERLAID else halfspace(classes=10, shape=shape)
    model, x = defended(entry, steady), images(1, shape)

    oracle = propose(entry, model, x, model(x).argmax(1), f"{family}:1e-6", attack=attack).oracle

    least = 0.1 if name in GIVES_UP else 0.9
    assert least * entry.forwards - 1 <= oracle.forwards.item() <= entry.forwards
    assert least * entry.backwards - 1 <= oracle.backwards.item() <= entry.backwards


@for_every_attack
@pytest.mark.slow
def test_the_ledger_of_a_stochastic_defense_stays_within_the_catalogue(propose, noisy_halfspace, name, family):
    """Per draw, too: the published cost times the draws per query, where no draw comes near the boundary."""
    entry = ATTACKS.get(name)
    if "stochastic" in entry.not_for:
        pytest.skip(entry.not_for["stochastic"])
    installed(entry)
    attack = load(entry.target)(**entry.config)
    shape = thin(family)
    model = noisy_halfspace(noise=0.01, shape=shape)
    x = (0.5 + 0.1 * model.halfspace.weight[0].sign()).view(1, *shape)
    y = model.halfspace(x).argmax(1)

    oracle = propose(entry, model, x, y, f"{family}:1e-6", stochastic=True, attack=attack).oracle

    draws = entry.eot
    assert oracle.forwards.item() <= entry.forwards * draws
    assert oracle.backwards.item() <= entry.backwards * draws
    # Two versions of a library's attack differ in cost; activations are looked at once, not once per draw.
    if not entry.target.startswith(PER_BATCH) and family != "lpips":
        assert oracle.forwards.item() >= 0.9 * entry.forwards * draws - 1
        assert oracle.backwards.item() >= 0.9 * entry.backwards * draws - 1


@for_every_attack
def test_nearly_no_eps_changes_nearly_nothing(propose, trained, name, family):
    """With a budget of a millionth the verdicts are the clean ones."""
    entry = ATTACKS.get(name)
    if family in OVERLAID:
        pytest.skip("its rings or shapes are there whatever eps is")
    if slow_adapter(entry):
        pytest.skip("its parts are tested one by one")
    model, x, y = trained(family, 8)
    model = defended(entry, model)

    proposal = propose(entry, model, x, y, f"{family}:1e-6")

    assert (model(proposal.x_adv).argmax(1) == y).all()


@for_every_attack
def test_a_larger_ball_breaks_no_fewer(propose, trained, name, family):
    """Twice the budget, the same stream: robust accuracy does not rise by more than one example."""
    entry = ATTACKS.get(name)
    if slow_adapter(entry):
        pytest.skip("its parts are tested one by one")
    model, x, y = trained(family, 16)
    model = defended(entry, model)
    threat = ThreatModel.parse(MIXED[family])

    small_, large = (propose(entry, model, x, y, f"{family}:{factor * float(threat.eps):g}").x_adv for factor in (1, 2))

    right = [int((model(x_adv).argmax(1) == y).sum()) for x_adv in (small_, large)]
    assert right[1] <= right[0] + 1


@once_for_every_attack
@pytest.mark.parametrize("more", ["steps", "n_restarts"])
def test_more_work_breaks_no_fewer(propose, trained, name, family, more):
    """Three times the steps or restarts: robust accuracy does not rise by more than one example."""
    entry = ATTACKS.get(name)
    if slow_adapter(entry):
        pytest.skip("its parts are tested one by one")
    attack = build(entry)
    if not hasattr(attack, more):
        pytest.skip(f"it has no {more}")
    model, x, y = trained(family, 16)
    model = defended(entry, model)

    little, much = (
        propose(
            entry, model, x, y, MIXED[family], attack=replace(attack, **{more: factor * getattr(attack, more)})
        ).x_adv
        for factor in (1, 3)
    )

    right = [int((model(x_adv).argmax(1) == y).sum()) for x_adv in (little, much)]
    assert right[1] <= right[0] + 1


@once_for_every_attack
def test_an_undefended_model_falls_at_a_large_eps(undefended, propose, name, family):
    """Every one of a dozen digits, by the attack as published; unless the catalogue says it has no power."""
    entry = ATTACKS.get(name)
    if name in (*FLOOR, "fgsm", "fgsm-rs") or entry.powerless or slow_adapter(entry):
        pytest.skip("without a search, without power there, or tested by its parts")
    installed(entry)
    model, x, y = undefended(family)
    model = defended(entry, model)

    proposal = propose(entry, model, x, y, LARGE[family], attack=load(entry.target)(**entry.config))

    # Weights of blocks end at one: the coarsest of 8 x 8 digits are still read now and then.
    assert (model(proposal.x_adv).argmax(1) == y).sum() <= (name == "pixel")
