"""Backward pass differentiable approximation (Athalye et al., ICML 2018, arXiv:1802.00420)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bench.attacks.pgd import PGD
from bench.oracle import Oracle
from bench.random import Stream
from bench.types import ThreatModel


@dataclass(frozen=True)
class BPDA:
    """PGD with momentum and EOT on the answers of the whole defense and the gradient of a stand-in.

    The stand-in is what the defense declares: its surrogate, or else the identity in place of its
    purifier (section 4.1.1). Where the true gradient is shattered this is the one to follow, and
    where BPDA does better than the true gradient, the true one is masked. The origin of the attacks
    on purifiers (attacks.md 3.9) takes 50 steps and EOT 15; here steps and draws are those of
    `pgd-eot-20`, so that the two differ in the gradient alone.

    Attributes:
        steps: gradient steps per restart.
        step_size: length of a step, in units of eps.
        eot: draws per gradient of a stochastic defense.
        momentum: as in `PGD`.
        n_restarts: independent runs; a later one attacks what the earlier ones left.
        loss: as in `PGD`.
    """

    steps: int = 20
    step_size: float = 0.25
    eot: int = 20
    momentum: float = 0.75
    n_restarts: int = 1
    loss: str = "ce"

    def __post_init__(self) -> None:
        self._method()

    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        return self._method()(oracle.through("bpda"), x, y, threat, stream=stream)

    def _method(self) -> PGD:
        return PGD(
            steps=self.steps,
            step_size=self.step_size,
            eot=self.eot,
            momentum=self.momentum,
            n_restarts=self.n_restarts,
            loss=self.loss,
        )
