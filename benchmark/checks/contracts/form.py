"""What an attack hands in and what it leaves alone: the contracts that say nothing of its strength."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor

from bench.checks.contracts.contract import Broken, Inapplicable
from bench.checks.contracts.models import Counting, Steady, small_cnn
from bench.checks.contracts.trial import OVERLAID, Proposal, Trial, noise, predicted, propose, touching
from bench.harness.verify import Violation, verify
from bench.oracle.attack import misunderstood
from bench.oracle.geometry import distance
from bench.threats import FAMILIES, SPARSE, ThreatModel

SHAPES = {"gray 8x8": (1, 8, 8), "RGB 32x32": (3, 32, 32), "RGB 40x24": (3, 40, 24), "RGB 224x224": (3, 224, 224)}
_LARGE_SIDE = 100
# Two computations of one point in float32 differ by less.
_ROUNDING = 1e-4


def understood(trial: Trial) -> str:
    """What it says of itself is what the harness knows."""
    traits = trial.candidate.traits
    faults = misunderstood(traits)
    if faults:
        raise Broken("; ".join(faults))
    entry = trial.candidate.entry
    return f"{entry.access} access, {', '.join(entry.families)}"


def within(trial: Trial) -> str:
    """Shape, dtype, box and ball, for gray and color images that touch the edges of the box."""
    threats = [trial.large, *([trial.asked] if trial.asked is not None else [])]
    tried = [name for name, shape in SHAPES.items() if _within_at(trial, shape, threats)]
    if not tried:
        raise Inapplicable(f"none of {', '.join(SHAPES)} is for it")
    told = f"{' and '.join(map(str, threats))} of {', '.join(tried)}"
    if trial.candidate.slow_adapter:
        return told
    _within_to_the_end(trial, [trial.mixed, *threats[1:]])
    return f"{told}, and of images that never break"


def _within_to_the_end(trial: Trial, threats: list[ThreatModel]) -> None:
    """An attack that stops at what is broken shows where it would go only where nothing breaks."""
    model = trial.defended(Steady(small_cnn(channels=trial.small_shape[0])))
    x = touching(3, trial.small_shape, seed=6)
    for threat in threats:
        require_within(propose(trial, model, x, predicted(model, x), threat), x, threat)


def _within_at(trial: Trial, shape: tuple[int, int, int], threats: list[ThreatModel]) -> bool:
    large = shape[1] > _LARGE_SIDE
    if FAMILIES[trial.family].refuses(shape) or (large and not trial.first):  # its size matters whatever the norm
        return False
    if large and trial.candidate.slow_adapter:
        return False
    model = trial.defended(small_cnn(channels=shape[0]))
    x = touching(1 if large else 3, shape, seed=1)
    attack = trial.candidate.build(steps=2, queries=10, n_draws=5) if large else None
    for threat in threats:
        proposal = propose(trial, model, x, predicted(model, x), threat, attack=attack)
        require_within(proposal, x, threat)
    return True


def require_within(proposal: Proposal, x: Tensor, threat: ThreatModel) -> None:
    """Rules V01 to V05 and V07 of the verifier.

    Raises:
        Broken: one of them does not hold.
    """
    x_adv: object = proposal.x_adv
    if not isinstance(x_adv, Tensor):
        raise Broken(f"it returned {type(x_adv).__name__}, not a tensor of images")
    if x_adv.requires_grad:
        raise Broken("x_adv requires a gradient: return x_adv.detach()")
    try:
        verify(x, x_adv, threat)
    except Violation as violation:
        raise Broken(str(violation)) from None
    faults = proposal.faults()
    if faults:
        raise Broken(f"V07: {'; '.join(faults)}")


def untouched(trial: Trial) -> str:
    """Images, labels, weights, their gradients and the global generators are as they were."""
    shape = trial.small_shape
    model = trial.defended(small_cnn(channels=shape[0]))
    x = noise(3, shape, seed=2)
    y = predicted(model, x)
    images, labels = x.clone(), y.clone()
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002

    propose(trial, model, x, y, trial.large).faults()

    kept = {
        "the images x": torch.equal(x, images),
        "the labels y": torch.equal(y, labels),
        "the gradient of the images": x.grad is None and not x.requires_grad,
        "the gradients of the weights": all(weight.grad is None for weight in model.parameters()),
        "the weights": all(torch.equal(value, weights[key]) for key, value in model.state_dict().items()),
        "torch's global generator": torch.equal(torch.get_rng_state(), torch_state),
        "numpy's global generator": _same_state(numpy_state, np.random.get_state()),  # noqa: NPY002
        "random's global generator": random.getstate() == python_state,
    }
    changed = [name for name, same in kept.items() if not same]
    if changed:
        raise Broken(f"changed: {', '.join(changed)}")
    return "images, labels, weights and generators as they were"


def _same_state(before: object, after: object) -> bool:
    """Whether two states of numpy's generator are the same, the place in its table too."""
    assert isinstance(before, tuple)  # noqa: S101  (the legacy form)
    assert isinstance(after, tuple)  # noqa: S101
    return all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


def repeats(trial: Trial) -> str:
    """The same stream gives the same proposal bit for bit, whatever the global generators held before."""
    shape = trial.small_shape
    model = trial.defended(small_cnn(channels=shape[0]))
    x = noise(3, shape, seed=3)
    y = predicted(model, x)

    first = propose(trial, model, x, y, trial.large).x_adv
    torch.manual_seed(1234)
    np.random.seed(1234)  # noqa: NPY002  (an attack may draw from the legacy generator)
    random.seed(1234)
    second = propose(trial, model, x, y, trial.large).x_adv

    apart = int((first != second).flatten(1).any(1).sum())
    if apart:
        raise Broken(f"{apart} of 3 proposals are others when it is run again with the same stream")
    return "two runs agree to the last bit"


def batches(trial: Trial) -> str:
    """Batches of 7, 1, 2 and 3 examples give the verdicts, and all but the last bits, of one batch of 13."""
    if trial.candidate.of_library:
        raise Inapplicable("the library draws once per batch: its points depend on the shard")
    model, x, y = trial.trained(13)

    whole = propose(trial, model, x, y, trial.mixed).x_adv
    parts = [
        propose(trial, model, x[part], y[part], trial.mixed, rows=part).x_adv
        for part in (list(range(7)), [7], [8, 9], [10, 11, 12])
    ]

    apart = torch.cat(parts)
    differing = int((predicted(model, apart) != predicted(model, whole)).sum())
    if differing:
        raise Broken(f"{differing} of 13 verdicts depend on which images share a batch")
    same = (apart - whole).flatten(1).abs().amax(1) < _ROUNDING
    traits = trial.candidate.traits
    if traits.measures or not traits.follows:
        # What walks along the boundary turns a last bit into another point there; how far that is stays the same.
        far = [distance(each, x, trial.family) for each in (apart, whole)]
        same |= (far[0] - far[1]).abs() < _ROUNDING
    if same.sum() < len(x) - 1:  # rounding may turn the sign of one gradient that is nearly zero
        raise Broken(f"{int((~same).sum())} of 13 proposals depend on which images share a batch")
    return "one batch of 13, and batches of 7, 1, 2 and 3"


def stays_wrong(trial: Trial) -> str:
    """An attack that is given a misclassified image must neither fail nor mend it."""
    if trial.family in OVERLAID:
        raise Inapplicable("its rings or shapes are there whatever eps is")
    shape = trial.small_shape
    model = trial.defended(small_cnn(channels=shape[0]))
    x = noise(4, shape, seed=4)
    y = (predicted(model, x) + 1) % 10

    proposal = propose(trial, model, x, y, ThreatModel.parse(f"{trial.family}:{1 if trial.family == SPARSE else 1e-5}"))

    mended = int((predicted(model, proposal.x_adv) == y).sum())
    if mended:
        raise Broken(f"{mended} of 4 images that were wrong from the start are right where it hands them in")
    spent = int((proposal.oracle.forwards + proposal.oracle.backwards).sum())
    return f"4 of 4 stay wrong; {int(proposal.oracle.wasted.sum())} of {spent} passes came after that was known"


def few_classes(trial: Trial) -> str:
    """DLR losses are not defined for so few classes and nine targets do not exist; neither is fatal."""
    shape = trial.small_shape
    for classes in (2, 3, 4):
        model = trial.defended(small_cnn(channels=shape[0], classes=classes))
        x = noise(1, shape, seed=classes)
        proposal = propose(trial, model, x, predicted(model, x), trial.large)
        require_within(proposal, x, trial.large)
    return "one image of 2, 3 and 4 classes"


def access(trial: Trial) -> str:
    """All that it asks goes through the oracle, with the access that it declares."""
    shape = trial.small_shape
    model = trial.defended(small_cnn(channels=shape[0]))
    x = noise(3, shape, seed=5)
    y = predicted(model, x)
    watched: list[Counting] = []

    def watch(model: torch.nn.Module) -> Counting:
        watched.append(Counting(model).eval())
        return watched[0]

    oracle = propose(trial, model, x, y, trial.large, watch=watch).oracle

    seen, declared = watched[0], trial.candidate.entry.access
    if declared != "gradient" and seen.backwards:
        raise Broken(f"it is {declared}-based, and {seen.backwards} images were differentiated")
    for kind, passes in (("forwards", seen.forwards), ("backwards", seen.backwards)):
        booked = int(oracle.passes.of(kind).sum())
        # A library's passes are spread evenly over the examples; what does not divide is booked later.
        if passes > booked + len(x) - 1:
            raise Broken(f"the defense has seen {passes} {kind} that the oracle knows {booked} of")
    return f"{seen.forwards} forwards and {seen.backwards} backwards, all by way of the oracle"
