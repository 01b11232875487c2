"""The unit of work: one shard of one cell, computed from plain data alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.cell import AttackRef, Cell, DefenseRef, Done
from bench.datasets.examples import Examples
from bench.registry import load
from bench.types import Attack, Defense, ImageSpec

_MOST_KEPT = 32
_KEPT_BYTES = 1 << 20


@dataclass(frozen=True)
class Task:
    """Shard `index` of a cell, with its images."""

    cell: Cell
    index: int
    shard: Examples

    @property
    def cost(self) -> int:
        """Upper bound of its passes, a backward counted as two forwards."""
        return passes(self.cell, len(self.shard))


@dataclass(frozen=True)
class Report:
    """What became of a task: `done`, or the one-line `error` that stopped it.

    Attributes:
        x_adv: the first judged images of a cell, float32 `[k, C, H, W]`, to be kept as evidence;
            only its first shard brings them.
    """

    task: Task
    done: Done | None
    error: str = ""
    seconds: float = 0.0
    x_adv: NDArray[np.float32] | None = None


class Executor(Protocol):
    """Computes tasks somewhere; every executor gives the same verdicts."""

    def run(self, tasks: Sequence[Task], on_pass: Callable[[Task, int], None]) -> Iterator[Report]:
        """Yield a report per task as they end, in any order.

        Args:
            tasks: what to compute.
            on_pass: called with a task and the number of examples that passed forward since.
        """
        ...


def passes(cell: Cell, n: int) -> int:
    """Upper bound of the passes of `n` examples, a backward counted as two forwards."""
    draws = cell.attack.eot if cell.defense.stochastic else 1
    return n * draws * (cell.attack.forwards + 2 * cell.attack.backwards)


def compute(task: Task, device: str, on_pass: Callable[[int], None]) -> Report:
    """Evaluate a task here and now; whatever goes wrong becomes its error."""
    from bench.evaluate import evaluate

    began = time.perf_counter()
    try:
        defense = _faced(task.cell, task.shard.spec, device)
        attack = load_attack(task.cell.attack)
        result = evaluate(task.cell, defense, attack, task.shard, device=device, on_pass=on_pass)
    except Exception as error:  # noqa: BLE001  (a crash of anybody's code is a failed cell, never a verdict)
        return Report(task, None, one_line(error), time.perf_counter() - began)
    seconds = time.perf_counter() - began
    kept = result.x_adv[: kept_images(task.shard.spec)] if task.index == 0 else None
    return Report(task, Done(result.verdicts, result.cost, result.evidence), "", seconds, kept)


def _faced(cell: Cell, spec: ImageSpec, device: str) -> Defense:
    """The defense of a cell, beside the one that its attack transfers from."""
    from bench.variants import beside

    defense = load_defense(cell.defense, spec)
    if cell.attack.surrogate is None:
        return defense
    source = load_defense(cell.attack.surrogate, spec)
    source.model.to(device).eval()
    return beside(defense, source)


def kept_images(spec: ImageSpec) -> int:
    """How many adversarial images of a cell are kept: 32, or what fits into a megabyte, but 4."""
    return max(4, min(_MOST_KEPT, _KEPT_BYTES // (4 * math.prod(spec.shape))))


def load_defense(ref: DefenseRef, spec: ImageSpec) -> Defense:
    """The defense a reference names, loaded once per process; a variant shares its modules."""
    from bench.variants import variant

    whole = _load_defense(ref.source, tuple(sorted(ref.config.items())), tuple(sorted(ref.checkpoints.items())), spec)
    return variant(whole, ref.variant) if ref.variant else whole


@lru_cache(maxsize=8)
def _load_defense(
    source: str, config: tuple[tuple[str, str], ...], checkpoints: tuple[tuple[str, str], ...], spec: ImageSpec
) -> Defense:
    if source.partition(":")[0].endswith(".py"):
        from bench import custom

        return custom.as_defense(custom.build(source), source, spec)
    files = {name: Path(path) for name, path in checkpoints}
    defense: Defense = load(source)(checkpoints=files, spec=spec, **dict(config))
    return defense


def load_attack(ref: AttackRef) -> Attack:
    """The attack a reference names."""
    attack: Any
    if ref.source.partition(":")[0].endswith(".py"):
        from bench import custom

        attack = custom.build(ref.source)
    else:
        attack = load(ref.source)(**ref.config)
    return attack  # type: ignore[no-any-return]


def one_line(error: BaseException) -> str:
    """An error as one line of text without control characters: it goes into tables and files."""
    text = "".join(character if character.isprintable() else " " for character in str(error))
    text = " ".join(text.split())
    name = type(error).__name__
    return text if text[:1] in "SV" and text[1:3].isdigit() else f"{name}: {text[:300]}".rstrip(": ")
