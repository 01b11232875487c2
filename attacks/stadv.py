"""Spatially transformed adversarial examples (Xiao et al., ICLR 2018, arXiv:1801.02612), bounded.

The threat model is a flow: every pixel of `x_adv` is read from a place of `x` at most eps pixels
away along either axis. That is the bounded form of Laidlaw et al. (PAT, arXiv:2006.12655) and of the
DiffPure evaluation, where the bound 0.05 is in grid units of [-1, 1]: 0.05 * 32 / 2 = 0.8 pixels of
a 32 x 32 image. No Lp distance is claimed; the flow itself is the proof, and `verify` checks it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.losses import margin
from bench.attacks.trajectory import Best, Unbroken, require_at_least, require_family
from bench.errors import BenchError
from bench.geometry import per_row
from bench.oracle import Oracle
from bench.random import Stream
from bench.types import ThreatModel

_FAMILIES = ("stadv",)
_DECAYS = (0.9, 0.999)  # of Adam's moments (arXiv:1412.6980), its defaults
_TOLERANCE = 1e-6


def render(x: Tensor, flow: Tensor) -> Tensor:
    """Move the pixels of `x` by bilinear sampling.

    The whole and the fractional part of the flow are taken apart before anything is added to them,
    so a zero flow gives exactly `x`; `grid_sample` rounds its way to normalized coordinates and back.

    Args:
        x: images `[B, C, H, W]` in [0, 1].
        flow: `[B, H, W, 2]`, in pixels: output pixel (i, j) is read at (i + flow[i, j, 0],
            j + flow[i, j, 1]). Beyond the edge the nearest edge pixel is read.

    Returns:
        Images in [0, 1], differentiable in `flow`.
    """
    height, width = x.shape[2:]
    whole = flow.detach().floor()
    part = (flow - whole)[:, None]
    below, right = part[..., 0], part[..., 1]
    top = whole[..., 0].long() + torch.arange(height, device=x.device)[:, None]
    left = whole[..., 1].long() + torch.arange(width, device=x.device)
    flat = x.flatten(2)

    def pixel(row: Tensor, column: Tensor) -> Tensor:
        index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
        return flat.gather(2, index.flatten(1)[:, None].expand(-1, x.shape[1], -1)).view_as(x)

    upper = pixel(top, left) * (1 - right) + pixel(top, left + 1) * right
    lower = pixel(top + 1, left) * (1 - right) + pixel(top + 1, left + 1) * right
    return (upper * (1 - below) + lower * below).clamp(0, 1)


def verify(x: Tensor, x_adv: Tensor, flow: Tensor, threat: ThreatModel) -> list[str]:
    """What is wrong with the claim that `flow` turns `x` into `x_adv` within `threat`; empty if nothing."""
    wrong = []
    if not torch.isfinite(flow).all():
        return ["the flow is not finite"]
    longest = flow.double().abs().max().item()
    if longest > float(threat.eps) + _TOLERANCE:
        wrong.append(f"the flow moves a pixel by {longest:.7g} pixels along an axis, more than {float(threat.eps):g}")
    gap = (render(x, flow).double() - x_adv.double()).abs().max().item()
    if not gap <= _TOLERANCE:
        wrong.append(f"the flow gives an image that differs from x_adv by {gap:.3g}")
    return wrong


@dataclass
class _State(Unbroken):
    x: Tensor
    y: Tensor
    flow: Tensor
    mean: Tensor  # Adam's first moment
    square: Tensor  # and its second


@dataclass(frozen=True)
class StAdv:
    """Ascent of the margin in the flow by Adam; after each step the flow is clamped to the bound.

    Every flow is judged, the start and the last one too, and the best one is returned.

    Attributes:
        steps: gradient steps per restart.
        lr: Adam's learning rate in units of eps, so that an attack is as fast for any bound. The
            published setting, 0.01 at a bound of 0.05, is 0.2.
        eot: draws per gradient of a stochastic defense.
        n_restarts: independent runs; a later one attacks what the earlier ones left.
        start: the random start is uniform within this share of the bound; 0 starts at the image.
    """

    steps: int = 100
    lr: float = 0.2
    eot: int = 1
    n_restarts: int = 1
    start: float = 0.5

    def __post_init__(self) -> None:
        require_at_least(self, 1, "steps", "eot", "n_restarts")
        if not 0 <= self.start <= 1:
            raise BenchError(f"StAdv: start={self.start} must be between 0 and 1: it is a share of the bound")

    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        return self.propose(oracle, x, y, threat, stream=stream)[0]

    def propose(
        self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream
    ) -> tuple[Tensor, Tensor]:
        """The attack with its proof: `x_adv` and the flow `[B, H, W, 2]` that renders it from `x`."""
        require_family(self, threat, _FAMILIES)
        eps = float(threat.eps)
        best, flows = Best(x), x.new_zeros(len(x), *x.shape[2:], 2)
        rows = torch.arange(len(x), device=x.device)
        for restart in range(self.n_restarts):
            rows = oracle.open(rows)
            if len(rows):
                uniform = stream.at("start", restart).rows(rows).uniform(*x.shape[2:], 2)
                flow = self.start * eps * (2 * uniform - 1)
                state = _State(rows, x[rows], y[rows], flow, torch.zeros_like(flow), torch.zeros_like(flow))
                self._run(oracle, state, eps, best, flows)
        return best.x_adv, flows

    def violations(self, x: Tensor, x_adv: Tensor, proof: Tensor, threat: ThreatModel) -> list[str]:
        """What is wrong with a proposal and its proof; empty if nothing."""
        return verify(x, x_adv, proof, threat)

    def _run(self, oracle: Oracle, state: _State, eps: float, best: Best, flows: Tensor) -> None:
        best.restart()
        for step in range(self.steps + 1):
            flow = state.flow.requires_grad_()
            with torch.enable_grad():
                x_adv = render(state.x, flow)
            reply = oracle.gradient(x_adv.detach(), state.y, margin, state.rows, eot=self.eot)
            kept = best.update(oracle, x_adv.detach(), state.rows, reply, eot=self.eot)
            flows[state.rows] = torch.where(per_row(kept, flow), flow.detach(), flows[state.rows])
            if step == self.steps:  # the last flow is judged, too
                return
            (grad,) = torch.autograd.grad(x_adv, flow, torch.nan_to_num(reply.grad, nan=0.0, posinf=0.0, neginf=0.0))
            state.flow = (flow.detach() + self.lr * eps * _adam(state, grad, step + 1)).clamp(-eps, eps)
            state.drop_broken(oracle)
            if not len(state):
                return


def _adam(state: _State, grad: Tensor, step: int) -> Tensor:
    """The direction of Adam's step number `step`, counted from 1; its moments live in `state`."""
    first, second = _DECAYS
    state.mean = first * state.mean + (1 - first) * grad
    state.square = second * state.square + (1 - second) * grad.square()
    mean, square = state.mean / (1 - first**step), state.square / (1 - second**step)
    return mean / (square.sqrt() + torch.finfo(grad.dtype).tiny)
