"""Check A13: the stored adversarial images, judged again by a fresh instance in a fresh process.

A defense that carries state from query to query, or a harness that does, gives itself away here:
nothing of the run is left but the bytes on disk.
"""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.cell import Cell
from bench.checks.finding import Finding
from bench.datasets.examples import Examples
from bench.outcome import Done
from bench.spawning import safe_path

# Two-sided 99.9 % of the normal distribution.
_SURPRISING = 3.29


@dataclass(frozen=True)
class Stored:
    """Images of a cell as they lie on disk, and what was said of them.

    Attributes:
        examples: the clean images they were made from, `k` of them.
        x_adv: float32 `[k, C, H, W]`.
        done: the outcome of the cell; its first `k` examples are these.
    """

    cell: Cell
    examples: Examples
    x_adv: NDArray[np.float32]
    done: Done


def replay(stored: Sequence[Stored], device: str) -> list[int]:
    """Per cell, how many verdicts cannot be reproduced.

    For a deterministic defense those that changed, borderline examples aside. For a stochastic one all
    of them where the numbers of correct draws differ by more than chance allows at 99.9 %, else none.
    """
    if not stored:
        return []
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_judge_anew, args=(theirs, list(stored), device), daemon=True)
    with safe_path():
        process.start()
    theirs.close()
    try:
        answers = ours.recv()
    except EOFError:
        answers = [None] * len(stored)
    process.join()
    return [_changed(each, counts) for each, counts in zip(stored, answers, strict=True)]


def finding(changed: Sequence[int], judged: int) -> Finding:
    """What the replay says of a group of cells."""
    total = sum(changed)
    if total:
        message = f"A13: {total} verdicts not reproducible in a fresh process"
        return Finding("A13", "block", f"{total} of {judged}", "0", message)
    return Finding("A13", "pass", f"0 of {judged}", "0", "A13: every verdict came out again in a fresh process")


def _changed(stored: Stored, counts: Any) -> int:  # noqa: ANN401  (what came through the pipe)
    k = len(stored.x_adv)
    if counts is None:
        return k
    before = stored.done.verdicts.adversarial[:k].astype(np.int64)
    draws = stored.done.verdicts.draws
    # An example that was wrong without attack counts as broken, whatever is said of it now.
    attacked = stored.done.verdicts.clean[:k] > 0
    difference = (np.asarray(counts, dtype=np.int64) - before)[attacked]
    if not stored.cell.defense.stochastic:
        steady = ~np.isin(np.flatnonzero(attacked), stored.done.evidence.borderline)
        return int((difference[steady] != 0).sum())
    share = ((np.asarray(counts) + before) / (2 * draws))[attacked]
    spread = math.sqrt(float((2 * draws * share * (1 - share)).sum()))
    return int(attacked.sum()) if abs(float(difference.sum())) > _SURPRISING * spread + 1e-9 else 0


def _judge_anew(pipe: Connection, stored: Sequence[Stored], device: str) -> None:
    """In the fresh process: load each defense, verify the bytes, count correct draws."""
    import torch

    from bench.checks.threat import verify
    from bench.evaluate import judge
    from bench.executors.task import load_defense
    from bench.float32 import exact_float32

    answers: list[list[int] | None] = []
    for each in stored:
        try:
            model = load_defense(each.cell.defense, each.examples.spec).model.to(device).eval()
            x, x_adv = torch.from_numpy(each.examples.x), torch.from_numpy(each.x_adv)
            verify(x, x_adv, each.cell.threat)
            y = torch.from_numpy(each.examples.y).to(device)
            with exact_float32():
                judged = judge(model, x_adv.to(device), y, each.cell.draws, (each.cell.seed, "replay", each.cell.key))
            answers.append(judged.correct.tolist())
        except Exception:  # noqa: BLE001  (whatever goes wrong, the verdict did not come out again)
            answers.append(None)
    pipe.send(answers)
