"""Check A13: a fresh instance in a fresh process judges the stored adversarial images again.

It detects a defense, or a harness, that carries state from query to query: nothing of the run remains
but the bytes on disk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.catalogue.guests import guest
from bench.catalogue.refs import DefenseRef
from bench.checks.after import copies
from bench.datasets.examples import Examples
from bench.machine.isolation import Call, Workers
from bench.results.cell import Cell
from bench.results.finding import Finding
from bench.results.outcome import Done

# Two-sided 99.9 % of the normal distribution.
_SURPRISING = 3.29


@dataclass(frozen=True)
class Stored:
    """Stored images of a cell, and the verdicts on them.

    Attributes:
        examples: the `k` clean images they were made from.
        x_adv: the adversarial images, float32 `[k, C, H, W]`.
        done: the outcome of the cell; these are its first `k` examples.
    """

    cell: Cell
    examples: Examples
    x_adv: NDArray[np.float32]
    done: Done


def replay(stored: Sequence[Stored], device: str, limit: float | None = None) -> list[int]:
    """Return per cell how many verdicts cannot be reproduced.

    A model in memory is judged again by a copy made before its first query, or not at all.
    For a deterministic defense these are the verdicts that changed, except on borderline examples. For a
    stochastic one it is all verdicts if the numbers of correct draws differ by more than chance at 99.9 %,
    else none. A process that takes longer than `limit` seconds reproduces nothing.
    """
    memory = [index for index, each in enumerate(stored) if each.cell.defense.in_memory]
    there = [index for index in range(len(stored)) if index not in memory]
    here = [index for index in memory if copies.fresh(stored[index].cell.defense.label) is not None]
    answers: dict[int, Any] = {}
    if here:  # what lives in this process can be judged nowhere else
        answers.update(zip(here, _answers([stored[index] for index in here], device), strict=True))
    if there:
        answers.update(zip(there, _elsewhere([stored[index] for index in there], device, limit), strict=True))
    asked = {*there, *here}
    return [_changed(each, answers[index]) if index in asked else 0 for index, each in enumerate(stored)]


def _elsewhere(stored: Sequence[Stored], device: str, limit: float | None) -> Sequence[list[int] | None]:
    """Return what fresh processes answer, one for each guest; nothing where one died or hung."""
    places: dict[str, list[int]] = {}
    for index, each in enumerate(stored):
        places.setdefault(guest(each.cell.defense), []).append(index)
    calls = [
        Call(_answers, ([stored[index] for index in mine], device), whose, limit, tag=mine)
        for whose, mine in places.items()
    ]
    answers: list[list[int] | None] = [None] * len(stored)
    with Workers(1, preload="torch") as fresh:
        for answer in fresh.each(calls):
            for index, counts in zip(answer.call.tag, answer.value or [None] * len(stored), strict=False):
                answers[index] = counts
    return answers


def finding(changed: Sequence[int], judged: int, defense: DefenseRef | None = None) -> Finding:
    """Return the finding of the replay for a group of cells, all of one defense."""
    in_memory = defense is not None and defense.in_memory
    if defense is not None and in_memory and copies.fresh(defense.label) is None:
        message = "A13: not checked: this model in memory cannot be copied, so nothing fresh could judge again"
        return Finding("A13", "info", "-", "0", message)
    where = "by a fresh copy" if in_memory else "in a fresh process"
    total = sum(changed)
    if total:
        message = f"A13: {total} verdicts not reproducible {where}"
        return Finding("A13", "block", f"{total} of {judged}", "0", message)
    return Finding("A13", "pass", f"0 of {judged}", "0", f"A13: every verdict came out again {where}")


def _changed(stored: Stored, counts: Any) -> int:  # noqa: ANN401  (what came through the pipe)
    k = len(stored.x_adv)
    if counts is None:
        return k
    before = stored.done.verdicts.adversarial[:k].astype(np.int64)
    draws = stored.done.verdicts.draws
    # An example that was wrong without attack counts as broken, and was never judged under attack.
    attacked = stored.done.verdicts.clean[:k] > 0
    difference = (np.asarray(counts, dtype=np.int64) - before)[attacked]
    if not stored.cell.defense.stochastic:
        steady = ~np.isin(np.flatnonzero(attacked), stored.done.evidence.borderline)
        return int((difference[steady] != 0).sum())
    share = ((np.asarray(counts) + before) / (2 * draws))[attacked]
    spread = math.sqrt(float((2 * draws * share * (1 - share)).sum()))
    return int(attacked.sum()) if abs(float(difference.sum())) > _SURPRISING * spread + 1e-9 else 0


def _answers(stored: Sequence[Stored], device: str) -> list[list[int] | None]:
    """Load each defense, verify the bytes, count correct draws."""
    import torch

    from bench.catalogue.loading import load_defense
    from bench.harness.evaluate import judge
    from bench.harness.verify import verify
    from bench.oracle.float32 import exact_float32
    from bench.oracle.randomness import preserved_generators

    answers: list[list[int] | None] = []
    for each in stored:
        try:
            if each.cell.defense.in_memory:
                model = copies.fresh(each.cell.defense.label)
                assert model is not None  # noqa: S101  (`replay` leaves out what has no copy)
            else:
                model = load_defense(each.cell.defense, each.examples.spec).model
            model = model.to(device).eval()
            x, x_adv = torch.from_numpy(each.examples.x), torch.from_numpy(each.x_adv)
            verify(x, x_adv, each.cell.threat)
            y = torch.from_numpy(each.examples.y).to(device)
            with exact_float32(), preserved_generators():
                judged = judge(model, x_adv.to(device), y, each.cell.draws, (each.cell.seed, "replay", each.cell.key))
            answers.append(judged.correct.tolist())
        except Exception:  # noqa: BLE001  (whatever goes wrong, the verdict did not come out again)
            answers.append(None)
    return answers
