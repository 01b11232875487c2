"""MALT: targets by linearized distance (Melamed, Yehudai and Shamir, NeurIPS 2024, arXiv:2407.02240)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.lp.apgd import APGDTargeted, likely
from bench.attacks.search import require_at_least, require_family
from bench.oracle.answers import Loss
from bench.oracle.direct import on_models
from bench.oracle.geometry import norm
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import LP_FAMILIES, ThreatModel

_DUAL = {"Linf": "L1", "L2": "L2", "L1": "Linf"}


@dataclass(frozen=True)
class MALT:
    """Targeted Auto-PGD towards the classes whose boundaries seem nearest, instead of those with the largest logits.

    Networks are almost linear at the scale of a perturbation. So the distance to the boundary with a
    class is about the gap of the logits over the size of its gradient, in the norm dual to that of
    the threat model. The estimate costs one gradient for each of the likeliest `candidates`; then
    `APGDTargeted` attacks `targets` of them, nearest first. The published numbers are 9 out of 100.

    With no more candidates than targets, it attacks the same classes as `apgd-t`, in another order;
    it gains with 100 classes and more, and in queries.

    Attributes:
        candidates: wrong classes, likeliest first, whose distance is estimated.
        targets: number of classes to aim at.
        steps: gradient steps per target and restart.
        n_restarts: independent runs per target.
        eot: draws per gradient of a stochastic defense.
        rho: as in `APGDTargeted`.
        large_reps: as in `APGDTargeted`.
    """

    candidates: int = 100
    targets: int = 9
    steps: int = 100
    n_restarts: int = 1
    eot: int = 1
    rho: float = 0.75
    large_reps: bool = False

    def __post_init__(self) -> None:
        require_at_least(self, 1, "candidates")
        self._targeted()  # which checks the hyper-parameters that both attacks share

    @on_models
    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        require_family(self, threat, LP_FAMILIES)
        classes, logits = likely(oracle, x, y, eot=self.eot)
        classes = classes[:, : self.candidates]
        away = self._distances(oracle, x, y, classes, logits, threat)
        nearest = classes.gather(1, away.argsort(dim=1, stable=True))
        return self._targeted().towards(nearest, oracle, x, y, threat, stream=stream)

    def _targeted(self) -> APGDTargeted:
        return APGDTargeted(
            steps=self.steps,
            targets=self.targets,
            n_restarts=self.n_restarts,
            eot=self.eot,
            rho=self.rho,
            large_reps=self.large_reps,
        )

    def _distances(
        self, oracle: Oracle, x: Tensor, y: Tensor, classes: Tensor, logits: Tensor, threat: ThreatModel
    ) -> Tensor:
        """Return the distance of each image to the boundary with each class if the network were linear, like `classes`.

        It is infinite where the gradient is zero or not a number: such a gradient says nothing about the class.
        """
        gaps = logits.gather(1, y[:, None]) - logits.gather(1, classes)
        away = torch.full_like(gaps, torch.inf, dtype=torch.float64)
        rows = oracle.open(torch.arange(len(x), device=x.device))
        if not len(rows):
            return away
        losses = [_over_true(target) for target in classes[rows].unbind(1)]
        for rank, reply in enumerate(oracle.gradients(x[rows], y[rows], losses, rows, eot=self.eot)):
            # In float64: the square of a small gradient entry vanishes in float32.
            slope = norm(reply.grad.double(), _DUAL[threat.family])
            known = gaps[rows, rank].double() / slope
            away[rows, rank] = torch.where((slope > 0) & known.isfinite(), known, torch.inf)
        return away


def _over_true(target: Tensor) -> Loss:
    """Return the loss that is the logit of the class `target` `[B]` minus that of the true one."""

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        both = logits.float().gather(1, torch.stack([target, y], 1))
        return both[:, 0] - both[:, 1]

    return loss
