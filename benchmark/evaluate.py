"""The only place where verdicts are made.

An attack proposes; here its proposal is held against the threat model and judged again by the
defense itself, in eval mode, on draws the attack has never seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.cell import Cell, Cost, Evidence, Verdicts
from bench.checks.answers import check_logits, require_eval_mode
from bench.checks.threat import Violation, verify
from bench.datasets.examples import Examples
from bench.geometry import distance
from bench.oracle import Oracle, margin, misclassified
from bench.random import Stream
from bench.seeding import preserved_generators, seed_everything
from bench.types import Attack, Defense, ThreatModel

# Below this margin rounding may decide; 100 times what float32 networks were seen to differ by.
BORDERLINE = 1e-4


@dataclass(frozen=True)
class ShardVerdicts:
    """What became of one shard.

    Attributes:
        x_adv: float32 `[B, C, H, W]`, exactly the images that were judged; the clean image where
            an example was wrong without attack.
    """

    verdicts: Verdicts
    cost: Cost
    evidence: Evidence
    x_adv: NDArray[np.float32]


@dataclass(frozen=True)
class Judgement:
    """What N evaluation draws say of some images; every field is `[B]`.

    Attributes:
        correct: in how many draws the label came out, int64; an answer that is not finite is wrong.
        nonfinite: whether any answer was not finite.
        borderline: whether the margin of any draw was below `BORDERLINE` in absolute value.
    """

    correct: Tensor
    nonfinite: Tensor
    borderline: Tensor


def evaluate(
    cell: Cell,
    defense: Defense,
    attack: Attack,
    shard: Examples,
    *,
    device: torch.device | str = "cpu",
    on_pass: Callable[[int], None] | None = None,
) -> ShardVerdicts:
    """Attack one shard of a cell and count, per example, the draws in which the defense was right.

    Every example is judged without attack first; one that no draw gets right counts as broken and
    is not attacked (rule V12). The randomness of attack and defense depends on the cell and the shard
    alone, and the caller's random generators are left as they were.

    Raises:
        Violation: the attack left its threat model.
        FaultyDefense: the defense gave no logits of the right shape, or is in train mode.
    """
    model = defense.model.to(device).eval()
    require_eval_mode(model)
    x = torch.from_numpy(shard.x).to(device)
    y = torch.from_numpy(shard.y).to(device)
    scope = (cell.seed, shard.digest)
    with preserved_generators():
        if cell.threat.is_shift:
            return _shifted(cell, model, attack, shard, x, y)
        clean = judge(model, x, y, cell.draws, (*scope, "clean")).correct
        rows = clean.nonzero().squeeze(1)
        adversarial, x_adv = torch.zeros_like(clean), x.clone()
        cost, evidence = Cost(), Evidence()
        if len(rows):
            ids = [shard.ids[row] for row in rows.tolist()]
            stream = Stream.of(ids, cell.seed, shard.dataset, cell.attack.label, str(cell.threat), device=device)
            oracle = Oracle(
                defense,
                len(rows),
                scope=(*scope, cell.attack.label, str(cell.threat)),
                access=cell.attack.access,
                on_pass=on_pass,
            )
            x_adv[rows] = _propose(attack, oracle, x[rows], y[rows], cell.threat, stream)
            judged = judge(model, x_adv[rows], y[rows], cell.draws, (*scope, "judge"))
            adversarial[rows] = judged.correct
            cost = Cost(int(oracle.forwards.sum()), int(oracle.backwards.sum()))
            evidence = _evidence(oracle, judged, rows, cell.draws)
        if getattr(attack, "measures", False):
            evidence = replace(evidence, distances=_distances(x, x_adv, clean, adversarial, cell.threat))
    verdicts = Verdicts(cell.draws, _as_counts(clean), _as_counts(adversarial))
    return ShardVerdicts(verdicts, cost, evidence, x_adv.cpu().numpy())


def _shifted(cell: Cell, model: nn.Module, shift: Any, shard: Examples, x: Tensor, y: Tensor) -> ShardVerdicts:  # noqa: ANN401  (it has `images`)
    """What the defense says of the same examples after a shift of the data; nobody attacks, all are asked."""
    moved = torch.from_numpy(shift.images(shard, int(cell.threat.eps))).to(x.device)
    verify(x, moved, cell.threat)
    scope = (cell.seed, shard.digest)
    clean = judge(model, x, y, cell.draws, (*scope, "clean")).correct
    judged = judge(model, moved, y, cell.draws, (*scope, "judge"))
    borderline = () if cell.defense.stochastic else tuple(judged.borderline.nonzero().flatten().tolist())
    evidence = Evidence(0, int(judged.nonfinite.sum()), borderline)
    verdicts = Verdicts(cell.draws, _as_counts(clean), _as_counts(judged.correct))
    return ShardVerdicts(verdicts, Cost(), evidence, moved.cpu().numpy())


def _propose(attack: Attack, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, stream: Stream) -> Tensor:
    """The attack's proposal, held against the threat model; the attack works on copies."""
    given, labels = x.clone(), y.clone()
    if threat.is_lp:
        x_adv = attack(oracle, given, labels, threat, stream=stream).detach()
    else:
        x_adv = _with_proof(attack, oracle, given, labels, threat, stream).detach()
    verify(x, x_adv, threat)
    return x_adv


def _with_proof(attack: Any, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, stream: Stream) -> Tensor:  # noqa: ANN401  (an attack with `propose` and `violations`)
    """A non-Lp attack shows the parameters its examples were rendered from (rule V07)."""
    if not hasattr(attack, "propose"):
        raise Violation(f"V07: the attack brings no proof that its examples are within {threat}")
    x_adv, proof = attack.propose(oracle, x.clone(), y, threat, stream=stream)
    faults = attack.violations(x, x_adv, proof, threat)
    if faults:
        raise Violation(f"V07: {'; '.join(faults)}")
    result: Tensor = x_adv
    return result


@torch.no_grad()
def judge(model: nn.Module, x: Tensor, y: Tensor, draws: int, scope: tuple[object, ...]) -> Judgement:
    """Ask the model `draws` times about each image, seeded by `scope` and the number of the draw."""
    correct = torch.zeros_like(y)
    nonfinite = torch.zeros_like(y, dtype=torch.bool)
    borderline = torch.zeros_like(nonfinite)
    for draw in range(draws):
        seed_everything(*scope, draw)
        logits = model(x.clone())
        check_logits(logits, len(x))
        correct += ~misclassified(logits, y)
        nonfinite |= ~logits.isfinite().all(1)
        borderline |= margin(logits, y).abs() < BORDERLINE
    return Judgement(correct, nonfinite, borderline)


def _evidence(oracle: Oracle, judged: Judgement, rows: Tensor, draws: int) -> Evidence:
    # What the attack saw broken in all its draws must not look robust to the judge, either.
    silent = (2 * judged.correct > draws) & oracle.broken.to(rows.device) & ~judged.borderline
    borderline = () if oracle.stochastic else tuple(rows[judged.borderline].tolist())
    return Evidence(int(silent.sum()), int(judged.nonfinite.sum()), borderline)


def _distances(
    x: Tensor, x_adv: Tensor, clean: Tensor, adversarial: Tensor, threat: ThreatModel
) -> tuple[float | None, ...]:
    """How far each example had to go to be broken, to 7 digits: what accuracy at any smaller eps follows from."""
    far = distance(x_adv, x, threat.family)
    found = torch.where(clean == 0, 0.0, torch.where(adversarial == 0, far, torch.inf))
    return tuple(None if value == float("inf") else float(f"{value:.7g}") for value in found.tolist())


def _as_counts(correct: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return correct.cpu().numpy().astype(np.uint8)
