"""Backward pass differentiable approximation (Athalye et al., ICML 2018, arXiv:1802.00420)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bench.attacks.lp.pgd import PGD
from bench.oracle.direct import on_models
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import ThreatModel


@dataclass(frozen=True)
class BPDA:
    """PGD with momentum and EOT that takes its answers from the whole defense and its gradient from a surrogate.

    The surrogate is the one that the defense declares, or else the identity in place of its purifier
    (section 4.1.1 of the paper). It gives a useful gradient when the true one is shattered, and if BPDA
    breaks more than the true gradient, the true one is masked. The BPDA + EOT attack on purifiers of
    Hill, Mitchell and Zhu (ICLR 2021, arXiv:2005.13525) takes 50 steps and 15 draws per gradient; here
    steps and draws are those of `pgd-eot-20`, so that the two attacks differ only in the gradient.

    Attributes:
        steps: gradient steps per restart.
        step_size: length of a step, in units of eps.
        eot: draws per gradient of a stochastic defense.
        momentum: as in `PGD`.
        n_restarts: independent runs; a later one attacks the examples that the earlier ones left.
        loss: as in `PGD`.
        schedule: as in `PGD`.
    """

    steps: int = 20
    step_size: float = 0.25
    eot: int = 20
    momentum: float = 0.75
    n_restarts: int = 1
    loss: str = "ce"
    schedule: str = "constant"

    def __post_init__(self) -> None:
        self._method()  # which checks the hyper-parameters

    @on_models
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
            schedule=self.schedule,
        )
