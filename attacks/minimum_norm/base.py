"""The base of minimum-norm attacks: the nearest adversarial point so far, and the proposal made from it.

A minimum-norm attack looks for the nearest misclassified point, at any distance. `nearest` runs the
search to its end and returns that distance. A proposal within a ball may stop at an example as soon as
a misclassified point lies inside, because nothing nearer could change the verdict; attacks whose
distances are of use (`measures`) continue all the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from bench.attacks.search import require_family
from bench.errors import BenchError, unknown
from bench.oracle.answers import Gradient, Loss, margin, misclassified
from bench.oracle.direct import on_models
from bench.oracle.geometry import distance, norm, per_row, project
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import ThreatModel


class Nearest:
    """The nearest misclassified point of every example, among the points at which the defense was queried.

    Until there is one, the point with the largest margin of a wrong class stands in for it.

    Attributes:
        x: the images, `[B, C, H, W]`.
        family: the norm of the distances.
        eps: an example with a misclassified point no farther than this is finished; 0 looks for the
            nearest point of all.
        x_adv: `[B, C, H, W]`; the image itself in rows that were never judged.
        distance: of `x_adv` from `x` in float64, `[B]`; infinite in rows without a misclassified point.
        margin: best wrong logit minus the true one at `x_adv`, `[B]`; -inf where never judged.
    """

    def __init__(self, x: Tensor, family: str, eps: float = 0.0) -> None:
        self.x, self.family, self.eps = x, family, eps
        self.x_adv = x.clone()
        self.distance = torch.full((len(x),), torch.inf, dtype=torch.float64, device=x.device)
        self.margin = torch.full((len(x),), -torch.inf, device=x.device)

    def gradient(self, oracle: Oracle, x_adv: Tensor, y: Tensor, loss: Loss, rows: Tensor) -> Gradient:
        """Query the gradient of one loss at `x_adv` and record whether the points are misclassified."""
        (reply,) = self.gradients(oracle, x_adv, y, (loss,), rows)
        return reply

    def gradients(
        self, oracle: Oracle, x_adv: Tensor, y: Tensor, losses: Sequence[Loss], rows: Tensor
    ) -> list[Gradient]:
        """Query the gradients of several losses at `x_adv` and record whether the points are misclassified."""
        away = distance(x_adv, self.x[rows], self.family)
        # A success outside the ball breaks nothing: the oracle must not take it for evidence.
        replies = oracle.gradients(x_adv, y, losses, rows, inside=away <= self.eps)
        self._take(x_adv, rows, replies[0].logits, replies[0].success == 1, y, away)
        return replies

    def judge(self, oracle: Oracle, x_adv: Tensor, y: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Query and record the logits at `x_adv`; return the misclassified rows, bool `[B]`, and the logits."""
        away = distance(x_adv, self.x[rows], self.family)
        logits = oracle.logits(x_adv, rows, inside=away <= self.eps)
        wrong = misclassified(logits, y)
        self._take(x_adv, rows, logits, wrong, y, away)
        return wrong, logits

    def _take(self, x_adv: Tensor, rows: Tensor, logits: Tensor, wrong: Tensor, y: Tensor, away: Tensor) -> None:
        held, lead = self.distance[rows], torch.nan_to_num(margin(logits.float(), y), nan=torch.inf)
        closer = torch.where(wrong, away < held, held.isinf() & (lead > self.margin[rows]))
        self.x_adv[rows] = torch.where(per_row(closer, x_adv), x_adv, self.x_adv[rows])
        self.distance[rows] = torch.where(closer & wrong, away, held)
        self.margin[rows] = torch.where(closer, lead, self.margin[rows])

    def open(self, rows: Tensor) -> Tensor:
        """Return whether each of these rows is unfinished, bool `[len(rows)]`."""
        return self.distance[rows] > self.eps

    def proposal(self, threat: ThreatModel) -> Tensor:
        """Return the nearest point where it lies within the ball, and its projection elsewhere."""
        inside = per_row(self.distance <= float(threat.eps), self.x)
        return torch.where(inside, self.x_adv, project(self.x_adv, self.x, threat))


class MinimumNorm(ABC):
    """An attack that looks for the nearest misclassified point; a subclass implements `search`.

    It attacks deterministic defenses only: the search follows the boundary between the predictions of
    single images, and an image of a stochastic defense has no single prediction.

    Attributes:
        families: the norms for which the attack is defined.
        measures: whether the search continues to the nearest point after it has found one within the
            ball, so that accuracy at every smaller eps can be read off its distances. FAB, as a part of
            AutoAttack, does not.
        precision: the formats in which the search may run (`bench.harness.evaluate`). It walks along the
            boundary, where rounding decides, so by default it queries the defense in no faster format.
    """

    families: ClassVar[tuple[str, ...]]
    precision: ClassVar[str] = "as given"
    measures: ClassVar[bool] = True

    @abstractmethod
    def search(self, oracle: Oracle, found: Nearest, y: Tensor, stream: Stream) -> None:
        """Query points through `found`, which keeps the nearest, until `found.open` leaves none or the steps end."""

    @on_models
    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        require_family(self, threat, self.families)
        found = Nearest(x, threat.family) if self.measures else Nearest(x, threat.family, float(threat.eps))
        self._run(oracle, found, y, stream)
        return found.proposal(threat)

    def nearest(self, oracle: Oracle, x: Tensor, y: Tensor, family: str, *, stream: Stream) -> tuple[Tensor, Tensor]:
        """Search for the nearest misclassified point of every example.

        Args:
            oracle: the only way to query the defense; row i of `x` is row i of the oracle.
            x: images, float32 `[B, C, H, W]` in [0, 1]; left untouched.
            y: labels, int64 `[B]`.
            family: the norm, one of `families`.
            stream: per-example random numbers.

        Returns:
            `x_adv`, float32 `[B, C, H, W]` in [0, 1], and its distance from `x` in float64, `[B]`: 0
            if the image itself is misclassified, infinite if no point is.

        Raises:
            BenchError: the attack is not defined for the norm, or the defense is stochastic.
        """
        if family not in self.families:
            raise unknown(f"norm of {type(self).__name__}", family, self.families)
        found = Nearest(x, family)
        self._run(oracle, found, y, stream)
        return found.x_adv, found.distance

    def _run(self, oracle: Oracle, found: Nearest, y: Tensor, stream: Stream) -> None:
        if oracle.stochastic:
            name = type(self).__name__
            raise BenchError(f"{name} is not defined for a stochastic defense: use apgd-ce or pgd-eot-20")
        if len(y):
            self.search(oracle, found, y, stream)


def farthest(x: Tensor, family: str) -> Tensor:
    """Return the largest distance from each image within the box [0, 1], `[B]`."""
    return norm(torch.maximum(x, 1 - x), family)
