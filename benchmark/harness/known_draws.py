"""The verdict under known draws: each evaluation draw is attacked on its own, by somebody who knows its numbers.

Liu et al. (ICLR 2025, arXiv:2404.14309), where it is called deterministic white-box (DW-box). With its random numbers
fixed a stochastic defense is deterministic; the attack sees exactly that defense, and the judge uses the same numbers.
So the attacker is stronger than any real one, who has to submit an image before the defense draws. What is left of the
accuracy is what a defense owes to anything but its randomness; the difference to the other columns is what it owes to
numbers that nobody foresees. Liu et al. evaluate one draw; here every evaluation draw is one, and counts are stored.

The draws are those in which the clean images were judged: an example that a draw gets wrong without attack is broken
in this draw, and under attack no example has more correct draws than without.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bench.datasets.examples import Examples
from bench.errors import NoGradient, StageError, one_line
from bench.harness.cascade import Cascade, Stage
from bench.harness.evaluate import BORDERLINE, propose
from bench.oracle.answers import FaultyDefense, check_logits, margin, misclassified, predicted
from bench.oracle.geometry import per_row
from bench.oracle.known_draws import FixedDraw, KnownDraw
from bench.oracle.randomness import Stream
from bench.results.cell import Cell
from bench.results.outcome import Component, Cost, Done, Evidence, Kept, Ledger, Verdicts
from bench.types import Defense

# The largest difference of two answers to one question with the same random numbers, relative to the largest answer:
# kernels of a GPU may add in another order.
_SAME = 1e-3


def evaluate_known_draws(
    cell: Cell,
    defense: Defense,
    cascade: Cascade,
    shard: Examples,
    x: Tensor,
    y: Tensor,
    on_pass: Callable[[int], None] | None = None,
) -> tuple[Done, Kept]:
    """Attack one shard of a stochastic defense once for each evaluation draw, whose random numbers the attack knows.

    Only `bench.harness.evaluate.evaluate` calls it, which preserves the caller's generators.

    Args:
        cell: the question to answer; its attack has `known_draws`.
        defense: the stochastic defense, in eval mode.
        cascade: the attacks of each draw, one after the other.
        shard: the examples.
        x: their images `[B, C, H, W]`, on the device of the defense.
        y: their labels `[B]`.
        on_pass: as in `bench.oracle.oracle.Oracle`.

    Returns:
        The counts of draws in which the defense was right, and the images of the first draw.

    Raises:
        FaultyDefense: the same seed does not give the same answers, so that nobody can know a draw.
        Violation: the attack left its threat model.
    """
    tally, kept = _Tally(cell.draws, len(y)), None
    for draw in range(cell.draws):
        one = _OneDraw(cell, defense, shard, x, y, draw, tally, on_pass)
        cascade.run(one)
        tally.clean += one.clean.cpu()
        tally.adversarial += one.correct.cpu()
        if kept is None:
            kept = Kept(one.x_adv.cpu().numpy(), one.answered[0].cpu().numpy(), one.answered[1].cpu().numpy())
    assert kept is not None  # noqa: S101  (there is a first draw)
    counts = (each.numpy().astype("uint8") for each in (tally.clean, tally.adversarial))
    forwards, backwards, _ = tally.passes.tolist()
    ledger = Ledger(tally.components, tuple(forwards), tuple(backwards))
    cost = sum((part.cost for part in tally.components.values()), Cost())
    evidence = Evidence(int(tally.silent.sum()), int(tally.nonfinite.sum()), unable=tuple(tally.unable))
    return Done(Verdicts(cell.draws, *counts), cost, evidence, ledger), kept


@dataclass
class _Tally:
    """What is summed over the draws; every tensor is on the CPU."""

    draws: int
    size: int
    unable: dict[str, NoGradient] = field(default_factory=dict)
    components: dict[str, Component] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clean, self.adversarial = (torch.zeros(self.size, dtype=torch.int64) for _ in range(2))
        self.passes = torch.zeros(3, self.size, dtype=torch.int64)
        self.silent, self.nonfinite = (torch.zeros(self.size, dtype=torch.bool) for _ in range(2))

    def book(self, label: str, oracle: KnownDraw, rows: Tensor, broken: int) -> None:
        """Add the passes of an attack on the examples `rows`, and those of the images that only filled its batches."""
        forwards, backwards = oracle.beside
        passes = torch.tensor([forwards, backwards, forwards + backwards])[:, None].repeat(1, self.size)
        passes[:, rows.cpu()] = torch.stack([oracle.forwards, oracle.backwards, oracle.wasted])
        self.passes += passes
        part = Component(Cost(*passes.sum(1).tolist()), len(rows), broken)
        self.components[label] = self.components.get(label, Component()) + part


class _OneDraw:
    """A shard under attack in one draw (`bench.harness.cascade.Attacked`).

    Attributes:
        clean: whether the defense is right without attack, bool `[B]`.
        correct: whether it is right under every attack so far.
        x_adv: the images it is judged on, `[B, C, H, W]`.
        answered: the classes that it answers without attack and under it, int64 `[2, B]`; -1 if not finite.
    """

    def __init__(
        self,
        cell: Cell,
        defense: Defense,
        shard: Examples,
        x: Tensor,
        y: Tensor,
        draw: int,
        tally: _Tally,
        on_pass: Callable[[int], None] | None,
    ) -> None:
        self._cell, self._defense, self._shard, self._x, self._y = cell, defense, shard, x, y
        self._draw, self._tally, self._on_pass = draw, tally, on_pass
        # The scope in which `evaluate` judges clean images, so that these numbers are those of every column.
        self._seed = (cell.seed, shard.digest, "clean", draw)
        self._model = FixedDraw(defense.model, self._seed).eval()
        logits = self._ask(x)
        if draw == 0:
            _require_same(logits, self._ask(x))
        self.clean = ~misclassified(logits, y)
        self.correct, self.x_adv = self.clean.clone(), x.clone()
        classes = predicted(logits)
        self.answered = torch.stack([classes, classes])

    def standing(self) -> Tensor:
        return self.correct.nonzero().squeeze(1)

    def attack(self, stage: Stage, rows: Tensor) -> None:
        """Run an attack on the examples `rows` in this draw; each keeps the first proposal that breaks it."""
        if not len(rows):
            return
        cell, label = self._cell, stage.ref.label
        ids = [self._shard.ids[row] for row in rows.tolist()]
        place = (label, str(cell.threat), "known draw", self._draw)
        stream = Stream.of(ids, cell.seed, self._shard.dataset, *place, device=rows.device)
        oracle = KnownDraw(self._defense, self._seed, self._x, rows, self._on_pass)
        try:
            proposed = propose(stage.attack, oracle, self._x[rows], self._y[rows], cell.threat, stream)
        except NoGradient as error:
            self._tally.unable[label] = error
            return
        except Exception as error:
            raise StageError(f"{label}: {one_line(error)}") from error
        self._judge(stage, oracle, rows, proposed)

    def _judge(self, stage: Stage, oracle: KnownDraw, rows: Tensor, proposed: Tensor) -> None:
        # All images at once, in the place and with the numbers that the attack saw.
        logits = self._ask(self.x_adv.index_copy(0, rows, proposed))[rows]
        wrong, y = misclassified(logits, self._y[rows]), self._y[rows]
        self._tally.book(stage.ref.label, oracle, rows, int(wrong.sum()))
        self.x_adv[rows] = torch.where(per_row(wrong, proposed), proposed, self.x_adv[rows])
        self.answered[1, rows] = torch.where(wrong, predicted(logits), self.answered[1, rows])
        self.correct[rows] &= ~wrong
        here = rows.cpu()
        # A silent success (A05), as in `evaluate`: the attack broke the example on its way and returned another image.
        sure = (margin(logits, y).abs() >= BORDERLINE).cpu()
        self._tally.silent[here] |= ~wrong.cpu() & oracle.broken & sure
        self._tally.nonfinite[here] |= ~logits.isfinite().all(1).cpu()

    def require_attacked(self) -> None:
        if self._tally.unable and not self._tally.components:
            raise next(iter(self._tally.unable.values()))

    def gaps(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        raise NotImplementedError("no attack under known draws has a reserve")

    def misled(self, rows: Tensor) -> bool:
        raise NotImplementedError("no attack under known draws has a reserve")

    def held(self, rows: Tensor) -> Tensor:
        raise NotImplementedError("no attack under known draws has a sample")

    def draw(self, rows: Tensor) -> Tensor:
        raise NotImplementedError("no attack under known draws has a sample")

    @torch.no_grad()
    def _ask(self, x: Tensor) -> Tensor:
        logits: Tensor = self._model(x.clone())
        check_logits(logits, len(x))
        return logits


def _require_same(one: Tensor, two: Tensor) -> None:
    """Raise unless two answers to one question with the same random numbers are the same."""
    finite = one.isfinite() & two.isfinite()
    apart = (one - two).abs()[finite].amax() if finite.any() else one.new_zeros(())
    large = one[finite].abs().amax() if finite.any() else one.new_zeros(())
    if bool((one.isfinite() != two.isfinite()).any()) or float(apart) > _SAME * float(large):
        raise FaultyDefense(
            "S03: seeds of torch, numpy and Python do not make its answers repeat, so nobody can know its draws: "
            "draw from their global generators"
        )
