"""Ladders: attacks in order of strength on one defense, each compared with the one before.

A robust defense keeps its accuracy when the attacker learns more. If its robustness was a mistake of
the evaluation, the accuracy drops at the rung that corrects the mistake: where the purifier is no longer
skipped, or the randomness is averaged over. Drops are paired, image by image, with an exact test,
Holm-adjusted per ladder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bench.catalogue.study import CONTROL, Rung, Study
from bench.report.columns import PAGE, draw_table, prose, screen_width
from bench.results.accuracy import DefenseRow, defense_rows
from bench.results.cell import Cell, Result
from bench.results.judging import Accuracy, Judge, accuracy_of, judges
from bench.results.outcome import Done, Outcome
from bench.results.stats import holm, sign_flip
from bench.threats import ThreatModel

_SETTLED = 0.05

ABOUT = (
    "Each rung is compared with the one before, image by image (exact sign-flip test, Holm-adjusted within a ladder). "
    "A rung may add nothing, but none should lose much: where a weaker rung breaks more, the gradient of the stronger "
    "one is masked. The worst case of all rungs is what to quote."
)


@dataclass(frozen=True)
class Step:
    """A rung that was measured.

    Attributes:
        mean: mean-of-N robust accuracy; of a deterministic defense, the accuracy in its one draw.
        worst: worst-of-N, if the defense is stochastic.
        drop: how far it is below the rung before, in [-1, 1]; `None` on the first.
        p: two-sided exact paired p-value of that drop, adjusted.
    """

    name: str
    attack: str
    mean: Accuracy
    worst: Accuracy | None
    drop: float | None = None
    p: float = 1.0


@dataclass(frozen=True)
class Ladder:
    """One defense under one threat model.

    Attributes:
        steps: the rungs that were measured, weakest first.
        missing: rungs that were not measured, and why.
        union: the per-example worst case of all rungs.
        clean: standard accuracy, judged as the steps are; the control of worst-of-N.
        base: the accuracy of the undefended classifier under the same threat; `None` if there is none.
        blocks: the messages of the checks that forbid a number of this defense; then none of these may be shown.
    """

    title: str
    steps: tuple[Step, ...]
    missing: tuple[str, ...]
    union: Step | None
    clean: Step
    base: Accuracy | None
    blocks: tuple[str, ...] = ()


def ladders(results: Sequence[Result], study: Study, base: Callable[[Cell], Outcome | None]) -> list[Ladder]:
    """Return one ladder per defense and threat model, in the order of the results.

    Args:
        results: of one run.
        study: names the rungs.
        base: returns the outcome of a cell's control: its undefended base under `bench.catalogue.study.CONTROL`.
    """
    found = []
    for row in defense_rows(results):
        for threat in dict.fromkeys(column.threat for column in row.columns):
            ladder = _ladder(row, threat, study.rungs, base)
            if ladder is not None:
                found.append(ladder)
    return found


def _ladder(
    row: DefenseRow, threat: ThreatModel, rungs: Sequence[Rung], base: Callable[[Cell], Outcome | None]
) -> Ladder | None:
    by_attack = {column.attack: result for column, result in row.results.items() if column.threat == threat}
    mean, worst = _judges(row)
    steps: list[Step] = []
    missing = []
    counted: list[NDArray[np.uint8]] = []
    clean = None
    for rung in rungs:
        result = by_attack.get(rung.attack)
        if result is None or not isinstance(result.outcome, Done):
            score = next((row.score(column, mean) for column in row.columns if column.attack == rung.attack), None)
            missing.append(f"{rung.name}: {score.reason if score else 'not run'}")
            continue
        verdicts = result.outcome.verdicts
        counted.append(verdicts.adversarial)
        clean = clean or _step("no attack", "", verdicts.clean, mean, worst)
        # An example that is wrong without attack is broken on every rung.
        steps.append(_step(rung.name, rung.attack, np.minimum(verdicts.adversarial, verdicts.clean), mean, worst))
    if clean is None:
        return None
    union = _step("worst case of all", "", np.stack(counted).min(axis=0), mean, worst)
    cell = next(iter(by_attack.values())).cell
    return Ladder(
        f"{row.defense.label} under {threat}, {row.slice.dataset} {row.slice.split}, n={row.slice.n}",
        _compared(steps, counted, row.draws),
        tuple(missing),
        union,
        clean,
        _base(cell, base),
        row.blocks,
    )


def _judges(row: DefenseRow) -> tuple[Judge, Judge | None]:
    found = judges(row.defense.stochastic, row.draws)
    return found[0], next((judge for judge in found if judge.rule == "worst"), None)


def _step(name: str, attack: str, counts: NDArray[np.uint8], mean: Judge, worst: Judge | None) -> Step:
    return Step(name, attack, accuracy_of(counts, mean), accuracy_of(counts, worst) if worst else None)


def _compared(steps: Sequence[Step], counted: Sequence[NDArray[np.uint8]], draws: int) -> tuple[Step, ...]:
    """Return the steps with their drops."""
    lost = [before.astype(np.int64) - after for before, after in pairwise(counted)]
    # Two-sided, because a rung that breaks less than the one before is news, too: its gradient is masked.
    p_values = holm([min(1.0, 2 * min(sign_flip(each), sign_flip(-each))) for each in lost])
    drops = [float(each.mean()) / draws for each in lost]
    rest = [replace(step, drop=drop, p=p) for step, drop, p in zip(steps[1:], drops, p_values, strict=True)]
    return (*steps[:1], *rest)


def _base(cell: Cell, base: Callable[[Cell], Outcome | None]) -> Accuracy | None:
    # Whether a defense declares a base is not stored with its cells: without one, no such outcome is stored either.
    outcome = base(cell)
    if not isinstance(outcome, Done):
        return None
    return accuracy_of(outcome.verdicts.adversarial, judges(False, 1)[0])


def render(found: Sequence[Ladder]) -> str:
    """Return the ladders as text for the screen."""
    return "\n\n".join([*map(_render, found), prose(ABOUT, screen_width(PAGE), hang="")])


def _render(ladder: Ladder) -> str:
    if ladder.blocks:
        width = screen_width()
        return "\n".join(prose(line, width) for line in (ladder.title, "", f"BLOCK: {'; '.join(ladder.blocks)}"))
    stochastic = ladder.clean.worst is not None
    header = ["rung", "attack", ladder.clean.mean.judged, "drop", "p"]
    header += [ladder.clean.worst.judged] if ladder.clean.worst else []
    lines = [ladder.clean, *ladder.steps, *([ladder.union] if ladder.union else [])]
    body = [_line(step, stochastic) for step in lines]
    if ladder.base is not None:
        body.append(["undefended base", CONTROL, _shown(ladder.base), "", "", *([""] if stochastic else [])])
    width = screen_width()
    text = draw_table(header, body, width, right=range(2, len(header)))
    told = [*(f"left out: {reason}" for reason in ladder.missing), verdict(ladder)]
    return "\n".join([prose(ladder.title, width), "", text, *(prose(line, width) for line in told)])


def _line(step: Step, stochastic: bool) -> list[str]:
    drop = "" if step.drop is None else f"{100 * step.drop:+.1f}"
    p = "" if step.drop is None else f"{step.p:.2g}"
    worst = [_shown(step.worst)] if stochastic and step.worst else []
    return [step.name, step.attack, _shown(step.mean), drop, p, *worst]


def _shown(accuracy: Accuracy) -> str:
    low, high = accuracy.interval
    return f"{100 * accuracy.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def verdict(ladder: Ladder) -> str:
    """Return in words whether a stronger rung than the last could still break more."""
    last = ladder.steps[-1]
    if last.drop is None:
        return "one rung only: nothing to compare"
    if last.drop > 0 and last.p < _SETTLED:
        return f"not settled: the last rung still takes {100 * last.drop:.1f} points; climb on"
    if last.drop < 0 and last.p < _SETTLED:
        return f"masked: the last rung breaks {-100 * last.drop:.1f} points less than the one before"
    return "settled: the last rung takes nothing significant"
