"""Transfer attacks: PGD on a part of the defense or on another defense, judged on the whole defense.

Momentum follows Dong et al. (CVPR 2018, arXiv:1710.06081).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bench.attacks.lp.pgd import PGD
from bench.errors import unknown
from bench.oracle.direct import on_models
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.oracle.variants import SAME_ANSWERS, VARIANTS
from bench.threats import ThreatModel


@dataclass(frozen=True)
class Transfer:
    """PGD with momentum on a variant of the defense; the attack never queries the defense itself.

    On `base` it is the attack by which purifiers are too often evaluated, blind to the purifier: FGSM,
    PGD and CW on the classifier alone. On `derandomized` it attacks the same purifier without its
    random transform: no noise in the gradient, and nothing to average.

    An example does not stop at the boundary of the surrogate: the attack takes every step and returns
    the point deepest in the wrong class, because depth transfers. Momentum helps (Dong et al.,
    arXiv:1710.06081), and so does the cross-entropy, which pushes away from the true class towards any
    wrong class: from derandomized purifiers on digits it left up to 10 points less accuracy than the
    margin, and up to 19 less than DLR.

    Attributes:
        path: the variant of the defense (`bench.oracle.variants`) to attack.
        steps: gradient steps per restart.
        step_size: length of a step, in units of eps.
        momentum: as in `PGD`.
        n_restarts: independent runs; the deepest point of all is returned.
        loss: as in `PGD`.
        schedule: as in `PGD`.
    """

    path: str = "base"
    steps: int = 40
    step_size: float = 0.25
    momentum: float = 0.75
    n_restarts: int = 1
    loss: str = "ce"
    schedule: str = "constant"

    def __post_init__(self) -> None:
        # Variants with the answers of the defense make a direct attack of it, and `TransferFrom` has the source.
        paths = [name for name in VARIANTS if name not in (*SAME_ANSWERS, "source")]
        if self.path not in paths:
            raise unknown("path", self.path, paths)
        self._method()

    @on_models
    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        return self._method()(oracle.through(self.path), x, y, threat, stream=stream)

    def _method(self) -> PGD:
        return PGD(
            steps=self.steps,
            step_size=self.step_size,
            momentum=self.momentum,
            n_restarts=self.n_restarts,
            loss=self.loss,
            schedule=self.schedule,
        )


@dataclass(frozen=True)
class TransferFrom:
    """PGD with momentum on another registered defense; the attack never queries the defense that is judged.

    It takes every step and returns the deepest point, as `Transfer` does. With the defense itself as
    source it is a white-box attack that does not stop at the boundary.

    Attributes:
        source: the name of a registered defense; the harness loads it along with the one under attack.
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

    @on_models
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
