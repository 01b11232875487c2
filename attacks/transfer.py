"""Transfer: attack a part of the defense, or another one, and hope that the whole falls with it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bench.attacks.pgd import PGD
from bench.errors import unknown
from bench.oracle import Oracle
from bench.random import Stream
from bench.types import ThreatModel
from bench.variants import SAME_ANSWERS, VARIANTS


@dataclass(frozen=True)
class Transfer:
    """PGD with momentum on a variant of the defense; the defense itself is never asked.

    On `base` it is the attack that a purifier is too often evaluated with, blind to the purifier
    (attacks.md 3.2: FGSM, PGD-20 and CW on the classifier only). On `derandomized` it attacks the
    same purifier without its random transform: no noise in the gradient, and nothing to average.

    An example does not stop at the boundary of the surrogate: every step is taken, and the point
    deepest in the wrong class is the one returned, because depth is what transfers. Momentum helps
    it to (Dong et al., arXiv:1710.06081), and so does the cross-entropy, which pushes away from the
    true class whichever wrong class is next: from derandomized purifiers on digits it left up to 10
    points less accuracy than the margin, and up to 19 less than DLR.

    Attributes:
        path: the variant of the defense (`bench.variants`) that is attacked.
        steps: gradient steps per restart.
        step_size: length of a step, in units of eps.
        momentum: as in `PGD`.
        n_restarts: independent runs; the deepest point of all is returned.
        loss: as in `PGD`.
    """

    path: str = "base"
    steps: int = 40
    step_size: float = 0.25
    momentum: float = 0.75
    n_restarts: int = 1
    loss: str = "ce"

    def __post_init__(self) -> None:
        paths = [name for name in VARIANTS if name not in (*SAME_ANSWERS, "source")]
        if self.path not in paths:
            raise unknown("path", self.path, paths)
        self._method()

    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        return self._method()(oracle.through(self.path), x, y, threat, stream=stream)

    def _method(self) -> PGD:
        return PGD(
            steps=self.steps,
            step_size=self.step_size,
            momentum=self.momentum,
            n_restarts=self.n_restarts,
            loss=self.loss,
        )


@dataclass(frozen=True)
class TransferFrom:
    """PGD with momentum on another registered defense; the defense that is judged is never asked.

    Every step is taken and the deepest point is handed in, as by `Transfer`. From the defense itself
    it is a white-box attack that does not stop at the boundary.

    Attributes:
        source: the name of a registered defense; the harness puts it beside the one under attack.
        steps: gradient steps per restart.
        step_size: length of a step, in units of eps.
        momentum: as in `PGD`.
        n_restarts: independent runs; the deepest point of all is returned.
        loss: as in `PGD`.
        eot: draws per gradient where the source is stochastic.
    """

    source: str = "standard"
    steps: int = 40
    step_size: float = 0.25
    momentum: float = 0.75
    n_restarts: int = 1
    loss: str = "ce"
    eot: int = 20

    def __post_init__(self) -> None:
        self._method()

    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        return self._method()(oracle.through("source"), x, y, threat, stream=stream)

    def _method(self) -> PGD:
        return PGD(
            steps=self.steps,
            step_size=self.step_size,
            momentum=self.momentum,
            n_restarts=self.n_restarts,
            loss=self.loss,
            eot=self.eot,
        )
