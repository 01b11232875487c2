"""What an attack has to break, and what it must not: contracts on classifiers where the answer is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bench.checks.contracts.contract import Broken, Inapplicable
from bench.checks.contracts.form import require_within
from bench.checks.contracts.models import NoisyHalfspace, tinted_digits, undefended_digits
from bench.checks.contracts.trial import OVERLAID, Trial, images, predicted, propose
from bench.harness.ability import require_able
from bench.harness.verify import Violation
from bench.threats import FAMILIES, SPARSE, ThreatModel
from bench.types import ImageSpec

# Passes of a cell that `able` stands for: what an attack may ask there grows with them.
_ROWS = 20_000
_BY_PARTS = "its parts are tested one by one"


def able(trial: Trial) -> str:
    """It breaks an image of a linear classifier (V13), or its cells would fail before they begin."""
    exempt = trial.candidate.traits.exempt
    if exempt:
        raise Inapplicable(f"exempt: {exempt}")
    spec = ImageSpec(trial.small_shape, 10)
    threat = trial.asked or ThreatModel.parse(f"{trial.family}:{FAMILIES[trial.family].usual(spec.shape)}")
    try:
        require_able(trial.candidate.ref, trial.candidate.make, threat, spec, allowed=_ROWS)
    except Violation as violation:
        raise Broken(str(violation)) from None
    return f"{threat}: able, or it cannot be told"


def returns(trial: Trial) -> str:
    """What the oracle calls broken is broken at the returned point; and something is broken at all."""
    if trial.candidate.slow_adapter:
        raise Inapplicable(_BY_PARTS)
    model, x, y = trial.trained(16)
    threat = trial.large if trial.candidate.has_no_aim else trial.mixed

    proposal = propose(trial, model, x, y, threat)

    require_within(proposal, x, threat)
    right = predicted(model, proposal.x_adv) == y
    lost = int((right & proposal.oracle.broken).sum())
    if lost:
        raise Broken(f"{lost} of 16 images were seen broken and handed in at a point where they are right")
    if right.all():
        raise Broken(f"{threat} breaks none of 16 digits of a network that was trained for a second")
    return f"{threat}: {int((~right).sum())} of 16 broken, each handed in where it is"


def stochastic(trial: Trial) -> str:
    """Where it does not decline stochastic defenses, the attack finds its way through the noise."""
    declined = trial.candidate.entry.not_for.get("stochastic")
    if declined is not None:
        raise Inapplicable(declined)
    shape = trial.small_shape
    model, x = NoisyHalfspace(noise=0.2, shape=shape), images(6, shape)
    y = predicted(model.halfspace, x)

    proposal = propose(trial, model, x, y, trial.large, stochastic=True)

    require_within(proposal, x, trial.large)
    if not trial.large.is_lp:  # a halfspace has no shapes and no colors
        return f"{trial.large}: within it"
    found = int((model.error_rate(proposal.x_adv, y) > 0.5).sum())
    if found < 5 and not trial.candidate.traits.exempt:
        raise Broken(f"{trial.large}: only {found} of 6 images of a noisy linear classifier are mostly wrong")
    return f"{trial.large}: {found} of 6 images of a noisy linear classifier are mostly wrong"


def tiny_eps(trial: Trial) -> str:
    """With a budget of a millionth the verdicts are the clean ones."""
    if trial.family in OVERLAID:
        raise Inapplicable("its rings or shapes are there whatever eps is")
    if trial.family == SPARSE:
        raise Inapplicable("one pixel is the least")
    if trial.candidate.slow_adapter:
        raise Inapplicable(_BY_PARTS)
    model, x, y = trial.trained(8)

    proposal = propose(trial, model, x, y, trial.tiny)

    wrong = int((predicted(model, proposal.x_adv) != y).sum())
    if wrong:
        raise Broken(f"eps 1e-6 breaks {wrong} of 8 images that are far from any boundary")
    return "eps 1e-6 breaks none of 8"


def larger_eps(trial: Trial) -> str:
    """Twice the budget, the same stream: robust accuracy does not rise by more than one example."""
    if trial.candidate.slow_adapter:
        raise Inapplicable(_BY_PARTS)
    model, x, y = trial.trained(16)
    double = ThreatModel.parse(f"{trial.family}:{2 * float(trial.mixed.eps):g}")

    right = [
        int((predicted(model, propose(trial, model, x, y, threat).x_adv) == y).sum())
        for threat in (trial.mixed, double)
    ]

    told = f"{right[0]} of 16 robust at {trial.mixed}, {right[1]} at {double}"
    if right[1] > right[0] + 1:
        raise Broken(told)
    return told


def more_work(trial: Trial) -> str:
    """Three times the steps or restarts: robust accuracy does not rise by more than one example."""
    if trial.candidate.slow_adapter:
        raise Inapplicable(_BY_PARTS)
    attack: Any = trial.candidate.build()
    longer = [name for name in ("steps", "n_restarts") if name in trial.candidate.settings]
    if not longer:
        raise Inapplicable("it has no steps and no n_restarts to raise")
    model, x, y = trial.trained(16)
    told = []
    for name in longer:
        right = []
        for factor in (1, 3):
            more = replace(attack, **{name: factor * getattr(attack, name)})
            x_adv = propose(trial, model, x, y, trial.mixed, attack=more).x_adv
            right.append(int((predicted(model, x_adv) == y).sum()))
        told.append(f"{right[0]} of 16 robust, {right[1]} with three times the {name}")
        if right[1] > right[0] + 1:
            raise Broken(told[-1])
    return "; ".join(told)


def undefended(trial: Trial) -> str:
    """Every one of a dozen digits falls at a large eps, by the attack at its full length."""
    candidate = trial.candidate
    if candidate.has_no_aim:
        raise Inapplicable("it has no power there, by what is said of it")
    if candidate.entry.forwards == 1:
        raise Inapplicable("one query is no search")
    if candidate.slow_adapter:
        raise Inapplicable(_BY_PARTS)
    network, x, y = tinted_digits() if FAMILIES[trial.family].colors else undefended_digits()
    model, x, y = trial.defended(network), x[:12], y[:12]

    proposal = propose(trial, model, x, y, trial.large, attack=candidate.make())

    left = int((predicted(model, proposal.x_adv) == y).sum())
    # Weights of blocks end at one: the coarsest of 8 x 8 digits are still read now and then.
    if left > (trial.family == "pixel"):
        raise Broken(f"{trial.large} leaves {left} of {len(x)} digits of an undefended network")
    return f"{trial.large} breaks {len(x) - left} of {len(x)} digits of an undefended network"
