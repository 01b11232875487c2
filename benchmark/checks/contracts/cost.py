"""What an attack says it costs, held against the ledger of its oracle."""

from __future__ import annotations

from bench.checks.contracts.contract import Broken, Inapplicable
from bench.checks.contracts.models import NoisyHalfspace, Steady
from bench.checks.contracts.trial import OVERLAID, Trial, halfspace, images, predicted, propose
from bench.oracle.oracle import Oracle
from bench.threats import SPARSE


def cost(trial: Trial) -> str:
    """The declared passes of an example that never breaks bound what the oracle counted, and are not idle."""
    candidate = trial.candidate
    if "deterministic" in candidate.entry.not_for:
        raise Inapplicable(candidate.entry.not_for["deterministic"])
    _require_declared(trial)
    if candidate.entry.forwards > 3000 and trial.family == "L2":
        raise Inapplicable("the same queries as for Linf, and a long wait")
    shape = trial.thin_shape
    # What even the least eps may break must not answer to it.
    steady = Steady(halfspace(shape)) if trial.family in (*OVERLAID, SPARSE) else halfspace(shape)
    model, x = trial.defended(steady), images(1, shape)

    oracle = propose(trial, model, x, predicted(model, x), trial.tiny, attack=candidate.make()).oracle

    return _compared(trial, oracle, 1, candidate.least)


def cost_stochastic(trial: Trial) -> str:
    """Per draw, too: the declared cost times the draws per query, where no draw comes near the boundary."""
    candidate = trial.candidate
    if "stochastic" in candidate.entry.not_for:
        raise Inapplicable(candidate.entry.not_for["stochastic"])
    _require_declared(trial)
    shape = trial.thin_shape
    model = NoisyHalfspace(noise=0.01, shape=shape)
    x = (0.5 + 0.1 * model.halfspace.weight[0].detach().sign()).view(1, *shape)
    y = predicted(model.halfspace, x)

    oracle = propose(trial, model, x, y, trial.tiny, stochastic=True, attack=candidate.make()).oracle

    # Two versions of a library's attack differ in cost; activations are looked at once, not once per draw.
    least = 0.0 if candidate.of_library or trial.family == "lpips" else candidate.least
    return _compared(trial, oracle, candidate.entry.eot, least)


def _require_declared(trial: Trial) -> None:
    if not trial.candidate.entry.forwards + trial.candidate.entry.backwards:
        raise Inapplicable("it does not say what it costs: give it forwards and backwards, or cost()")


def _compared(trial: Trial, oracle: Oracle, draws: int, least: float) -> str:
    """What was declared and what was counted.

    Raises:
        Broken: it took more, or next to nothing of it.
    """
    entry, told = trial.candidate.entry, []
    for kind, most, counted in (
        ("forwards", entry.forwards * draws, int(oracle.forwards.item())),
        ("backwards", entry.backwards * draws, int(oracle.backwards.item())),
    ):
        told.append(f"{counted} of {most} {kind}")
        if counted > most:
            raise Broken(f"{counted} {kind} for an image that never breaks, {most} are declared")
        if counted < least * most - 1:
            raise Broken(f"only {counted} {kind} for an image that never breaks, {most} are declared")
    return ", ".join(told)
