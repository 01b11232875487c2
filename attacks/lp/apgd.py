"""Auto-PGD (Croce and Hein, ICML 2020, arXiv:2003.01690) with the hyper-parameters of AutoAttack.

In L1 the steps are sparse (Croce and Hein, ICML 2021, arXiv:2103.01208).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.losses import LOSSES, dlr_targeted
from bench.attacks.lp import apgd_l1
from bench.attacks.lp.apgd_dense import DenseState, start
from bench.attacks.lp.apgd_l1 import SparseState
from bench.attacks.search import Best, require_at_least, require_family, require_loss
from bench.errors import BenchError
from bench.oracle.answers import Loss
from bench.oracle.direct import on_models
from bench.oracle.geometry import project
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import LP_FAMILIES, ThreatModel


@dataclass
class _Search:
    """The parts of an attack that all of its runs share."""

    attack: APGD | APGDTargeted
    oracle: Oracle
    threat: ThreatModel
    loss_towards: Callable[[Tensor], Loss]
    best: Best

    def run(self, rows: Tensor, x: Tensor, y: Tensor, target: Tensor, stream: Stream) -> None:
        """Search once, from one start, for the examples `rows` of the oracle."""
        steps, eps = self.attack.steps, float(self.threat.eps)
        if self.threat.family != "L1":
            state = DenseState.at(rows, x, y, target, start(x, stream, self.threat), eps)
            self._ascend(state, self.threat, steps)
            return
        large = self.attack.large_reps
        balls = apgd_l1.radii(self.threat, steps) if large else [(self.threat, steps)]
        point = apgd_l1.start(x, stream, balls[0][0])
        for ball, some in balls:
            point = project(point, x, ball)
            found = SparseState.at(rows, x, y, target, point, float(ball.eps), resumed=large)
            self._ascend(found, ball, some)
            point = found.x_best

    def _ascend(self, state: DenseState | SparseState, ball: ThreatModel, steps: int) -> None:
        """Make `steps` moves and judge every point, the last one too; points in a larger ball count for nothing."""
        counts = ball == self.threat
        self.best.restart()
        for step in range(steps + 1):
            reply = self.oracle.gradient(
                state.x_adv,
                state.y,
                self.loss_towards(state.target),
                state.rows,
                eot=self.attack.eot,
                # A success in a larger ball is outside the threat model: it must break nothing.
                inside=None if counts else torch.zeros_like(state.rows, dtype=torch.bool),
            )
            if counts:
                self.best.update(self.oracle, state.x_adv, state.rows, reply, eot=self.attack.eot)
            state.learn(reply.loss, reply.grad)
            if counts:
                state.drop_broken(self.oracle)
            if step == steps or not len(state):
                return
            state.review(step, steps, self.attack.rho, ball)
            state.move(ball, first=step == 0)


def _require_sane(attack: APGD | APGDTargeted) -> None:
    require_at_least(attack, 1, "steps", "n_restarts", "eot")
    if not 0 < attack.rho < 1:
        raise BenchError(f"{type(attack).__name__}: rho={attack.rho} must be between 0 and 1")


def _require_defined(attack: APGD | APGDTargeted, threat: ThreatModel) -> None:
    require_family(attack, threat, LP_FAMILIES)
    if attack.large_reps and threat.family != "L1":
        raise BenchError(f"{type(attack).__name__}: large_reps is defined for L1 only, not for {threat}: leave it out")


@dataclass(frozen=True)
class APGD:
    """Untargeted Auto-PGD on the cross-entropy (`ce`), the difference of logits ratio (`dlr`), or another loss.

    In Linf and L2 the step starts at 2 eps and halves when progress stalls. In L1 it starts at eps
    and moves only a share of the pixels; both the step and the share adapt. With fewer than three
    classes the DLR loss is not defined and the margin takes its place. The defaults are those of
    AutoAttack's standard version: 100 steps and one restart.

    Attributes:
        loss: `"ce"`, `"dlr"`, `"margin"`, `"pm"` or `"mean"`.
        steps: gradient steps per restart.
        n_restarts: independent runs; a later one attacks the examples that the earlier ones left.
        eot: draws per gradient of a stochastic defense.
        rho: share of steps that must raise the loss for the step size to stay (Linf and L2).
        large_reps: in L1, take 30 % of the steps in a ball of 3 eps and 30 % in one of 2 eps first,
            as AutoAttack's standard version does in L1, with 5 restarts. Two more queries per run.
    """

    loss: str = "ce"
    steps: int = 100
    n_restarts: int = 1
    eot: int = 1
    rho: float = 0.75
    large_reps: bool = False

    def __post_init__(self) -> None:
        _require_sane(self)
        require_loss(self.loss)

    @on_models
    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        _require_defined(self, threat)
        search = _Search(self, oracle, threat, lambda _: LOSSES[self.loss], Best(x))
        rows = torch.arange(len(x), device=x.device)
        for restart in range(self.n_restarts):
            rows = oracle.open(rows)
            if len(rows):
                search.run(rows, x[rows], y[rows], y[rows], stream.at("start", restart).rows(rows))
        return search.best.x_adv


@dataclass(frozen=True)
class APGDTargeted:
    """Auto-PGD on the targeted DLR loss, once for each of the most likely wrong classes.

    Targets follow the order of the logits at the clean image. With fewer classes than targets every
    wrong class has its turn; with fewer than four the targeted DLR loss is not defined and the
    margin of the target over the true class takes its place. The defaults are those of AutoAttack's
    standard version: 9 targets, 100 steps and one restart for each.

    Attributes:
        steps: gradient steps per target and restart.
        targets: number of wrong classes to aim at.
        n_restarts: independent runs per target.
        eot: draws per gradient of a stochastic defense.
        rho: share of steps that must raise the loss for the step size to stay (Linf and L2).
        large_reps: as in `APGD`; AutoAttack's standard version uses it in L1, with 5 targets.
    """

    steps: int = 100
    targets: int = 9
    n_restarts: int = 1
    eot: int = 1
    rho: float = 0.75
    large_reps: bool = False

    def __post_init__(self) -> None:
        _require_sane(self)
        require_at_least(self, 1, "targets")

    @on_models
    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        _require_defined(self, threat)
        order, _ = likely(oracle, x, y, eot=self.eot)
        return self.towards(order, oracle, x, y, threat, stream=stream)

    def towards(
        self, order: Tensor, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream
    ) -> Tensor:
        """Attack the wrong classes of each example in the order `order` `[B, some]`."""
        _require_defined(self, threat)
        search = _Search(self, oracle, threat, dlr_targeted, Best(x))
        rows = torch.arange(len(x), device=x.device)
        for rank in range(min(self.targets, order.shape[1])):
            for restart in range(self.n_restarts):
                rows = oracle.open(rows)
                if len(rows):
                    draws = stream.at("start", rank, restart).rows(rows)
                    search.run(rows, x[rows], y[rows], order[rows, rank], draws)
        return search.best.x_adv


def likely(oracle: Oracle, x: Tensor, y: Tensor, *, eot: int) -> tuple[Tensor, Tensor]:
    """Return the wrong classes of each example, likeliest first, `[B, classes - 1]`, and the logits `[B, classes]`."""
    logits = oracle.logits(x, torch.arange(len(x), device=x.device), eot=eot)
    ranked = torch.nan_to_num(logits, nan=torch.inf).scatter(1, y[:, None], -torch.inf)
    return ranked.argsort(dim=1, descending=True, stable=True)[:, :-1], logits
