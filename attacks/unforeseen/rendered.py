"""Attacks outside the Lp balls: examples rendered from variables that have their own bound.

Each method (moving pixels, changing colors, snow) defines its variables, their bound and the image
that they make of another one. All of them share the search for the worst variables, which is here:
ascent of a loss through the rendering and the defense. The search judges every point and returns the
best one, together with the variables that prove it is within the bound.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor

from bench.attacks.losses import LOSSES
from bench.attacks.search import Best, Unbroken, direction, require_at_least, require_family, require_loss
from bench.errors import BenchError, unknown
from bench.oracle.answers import Gradient
from bench.oracle.direct import on_models
from bench.oracle.geometry import norm, onto_ball
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import ThreatModel

# Random choices that are made once per example, before the search: where the flakes fall, where the shapes lie.
Scene = tuple[Tensor, ...]
Number = TypeVar("Number", int, float)

_DECAYS = (0.9, 0.999)  # of Adam's moments (arXiv:1412.6980), its defaults
_SLACK = 1e-6  # for rounding, relative and absolute, in the size of the variables


def by_side(x: Tensor, values: tuple[Number, Number, Number]) -> Number:
    """Return one of three values by the size of the images: up to 16 pixels a side, up to 64, larger."""
    side = min(x.shape[2:])
    return values[0 if side <= 16 else 1 if side <= 64 else 2]


class Proof(NamedTuple):
    """The variables and the scene from which `x_adv` was rendered; every tensor is `[B, ...]`."""

    latent: Tensor
    scene: Scene


@dataclass
class _State(Unbroken):
    x: Tensor
    y: Tensor
    latent: Tensor
    mean: Tensor  # Adam's first moment
    square: Tensor  # Adam's second moment
    scene: Scene


@dataclass(frozen=True)
class Rendered(ABC):
    """An attack on the variables of a rendering.

    A method is a subclass with `family`, `start` and `render`, and with `ball` and `scene` if they
    differ from the defaults here. Row i of any tensor depends on example i alone.

    Attributes:
        steps: gradient steps per restart.
        step_size: length of a step, in units of eps; with Adam its learning rate.
        eot: draws per gradient of a stochastic defense.
        n_restarts: independent runs, each with its own scene; a later one attacks the examples that
            the earlier ones left.
        loss: `"ce"`, `"margin"` or `"dlr"`; or several joined by `+`, which the restarts use in turn.
        optimizer: `"steepest"`, steps of fixed length in the norm of the ball, or `"adam"`.
    """

    steps: int = 100
    step_size: float = 0.1
    eot: int = 1
    n_restarts: int = 1
    loss: str = "margin"
    optimizer: str = "steepest"

    family: ClassVar[str]
    ball: ClassVar[str] = "Linf"  # the norm in which the variables are bounded by eps
    tolerance: ClassVar[float] = 1e-6  # how far a second rendering may be from the first

    def __post_init__(self) -> None:
        require_at_least(self, 1, "steps", "eot", "n_restarts")
        for loss in self.loss.split("+"):
            require_loss(loss)
        if self.optimizer not in ("steepest", "adam"):
            raise unknown("optimizer", self.optimizer, ("steepest", "adam"))
        if not self.step_size > 0:
            raise BenchError(f"{type(self).__name__}: step_size={self.step_size} must be above 0")

    def scene(self, x: Tensor, stream: Stream) -> Scene:
        """Draw what stays fixed for each of the images `x` `[B, C, H, W]` during a run; nothing by default."""
        return ()

    @abstractmethod
    def start(self, x: Tensor, scene: Scene, eps: float, stream: Stream) -> Tensor:
        """Return the variables at the start, float32 `[B, ...]`, within the bound."""

    @abstractmethod
    def render(self, x: Tensor, latent: Tensor, scene: Scene) -> Tensor:
        """Render images `[B, C, H, W]` in [0, 1], differentiable in the variables."""

    def within(self, latent: Tensor, eps: float) -> Tensor:
        """Return the variables nearest to `latent` inside the bound."""
        return onto_ball(latent, eps, self.ball)

    def size(self, latent: Tensor) -> Tensor:
        """Return the size of the variables, which eps bounds, `[B]`, in float64."""
        return norm(latent.double(), self.ball)

    @on_models
    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        return self.propose(oracle, x, y, threat, stream=stream)[0]

    def propose(
        self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream
    ) -> tuple[Tensor, Proof]:
        """Return `x_adv` and its proof, the variables and the scene from which it was rendered."""
        require_family(self, threat, (self.family,))
        eps = float(threat.eps)
        best = Best(x)
        rows = torch.arange(len(x), device=x.device)
        proof: Proof | None = None
        losses = self.loss.split("+")
        for restart in range(self.n_restarts):
            rows = oracle.open(rows)
            if not len(rows):
                break
            draws = stream.at("start", restart).rows(rows)
            scene = self.scene(x[rows], draws)
            latent = self.start(x[rows], scene, eps, draws)
            if proof is None:  # in the first run, where every row is open, so the proof has all rows
                proof = Proof(latent.clone(), tuple(part.clone() for part in scene))
            state = _State(rows, x[rows], y[rows], latent, torch.zeros_like(latent), torch.zeros_like(latent), scene)
            turn = replace(self, loss=losses[restart % len(losses)])
            turn._run(oracle, state, eps, best, proof)  # noqa: SLF001  (a copy of this one)
        return best.x_adv, proof or Proof(x.new_zeros(len(x), 0), ())

    def violations(self, x: Tensor, x_adv: Tensor, proof: Proof, threat: ThreatModel) -> list[str]:
        """Return the reasons why `proof` does not turn `x` into `x_adv` within `threat`; empty if it does."""
        if not torch.isfinite(proof.latent).all():
            return [f"the {self.family} variables are not finite"]
        wrong = []
        largest = self.size(proof.latent).max().item()
        if largest > float(threat.eps) * (1 + _SLACK) + _SLACK:
            wrong.append(f"the {self.family} variables have size {largest:.7g}, more than {float(threat.eps):g}")
        gap = (self.render(x, proof.latent, proof.scene).double() - x_adv.double()).abs().max().item()
        if not gap <= self.tolerance:  # written so that a NaN fails, too
            wrong.append(f"the {self.family} variables give an image that differs from x_adv by {gap:.3g}")
        return wrong

    def _run(self, oracle: Oracle, state: _State, eps: float, best: Best, proof: Proof) -> None:
        best.restart()
        for step in range(self.steps + 1):
            latent = state.latent.requires_grad_()
            with torch.enable_grad():
                x_adv = self.render(state.x, latent, state.scene)
            reply = self._judge(oracle, state, x_adv.detach(), best, proof)
            if step == self.steps:  # after the last step its point is judged, too
                return
            pull = torch.nan_to_num(reply.grad, nan=0.0, posinf=0.0, neginf=0.0)
            (grad,) = torch.autograd.grad(x_adv, latent, pull)
            state.latent = latent.detach()
            ahead = state.latent + self.step_size * eps * self._direction(state, grad, step + 1)
            state.latent = self.within(ahead, eps)
            state.drop_broken(oracle)
            if not len(state):
                return

    def _judge(self, oracle: Oracle, state: _State, x_adv: Tensor, best: Best, proof: Proof) -> Gradient:
        """Query the gradient at `x_adv`, rendered from the state, and keep better points with their proofs."""
        reply = oracle.gradient(x_adv, state.y, LOSSES[self.loss], state.rows, eot=self.eot)
        kept = best.update(oracle, x_adv, state.rows, reply, eot=self.eot)
        winners = state.rows[kept]
        proof.latent[winners] = state.latent.detach()[kept]
        for held, part in zip(proof.scene, state.scene, strict=True):
            held[winners] = part[kept]
        return reply

    def _direction(self, state: _State, grad: Tensor, step: int) -> Tensor:
        """Return the direction of step number `step`, counted from 1; `state` has Adam's moments."""
        if self.optimizer == "steepest":
            return direction(grad, self.ball)
        grad = torch.nan_to_num(grad, nan=0.0, posinf=0.0, neginf=0.0)
        first, second = _DECAYS
        state.mean = first * state.mean + (1 - first) * grad
        state.square = second * state.square + (1 - second) * grad.square()
        mean, square = state.mean / (1 - first**step), state.square / (1 - second**step)
        # Not Adam's 1e-8: the gradients of a confident model are smaller, and every step would vanish.
        return mean / (square.sqrt() + torch.finfo(grad.dtype).tiny)
