"""The low-frequency attack on purifiers (Kassis, Hengartner and Yu, DiffBreak, NeurIPS 2025, arXiv:2411.16598).

A purifier removes changes of high frequency. So the attack learns filters that smooth what it adds to an image, one
filter for every pixel, together with the change itself. They come from UnMarker (arXiv:2405.08363), which removes
watermarks with them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.losses import LOSSES
from bench.attacks.perceptual.ball import Ball, Perceptual
from bench.attacks.perceptual.filters import Size, filtered, start
from bench.attacks.search import Best, Unbroken, direction, require_at_least, require_family, require_loss
from bench.errors import BenchError
from bench.oracle.direct import on_models
from bench.oracle.geometry import per_row, project
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import ThreatModel

# The published filters for images of up to 64 pixels, smaller ones for digits, and for larger images the published
# nine without the two widest, which would take gigabytes per image.
_KERNELS = ((16, "3+5+3"), (64, "5+7+5+3"), (10**9, "21x5+5+7+17x5+17+5+3"))

_DECAYS = (0.9, 0.999)  # of Adam's moments (arXiv:1412.6980), its defaults
_LAST = 0.1  # length of the last step, in units of the first
_VALUES = 2**26  # neighbours that are held at once: a quarter of a gigabyte of them, whatever the batch


@dataclass
class _State(Unbroken):
    x: Tensor
    y: Tensor
    latent: tuple[Tensor, ...]  # the logarithms of the filters' weights, then the change of the image
    mean: tuple[Tensor, ...]  # Adam's first moments
    square: tuple[Tensor, ...]  # Adam's second moments


class _Bound(ABC):
    """What the threat model allows."""

    @abstractmethod
    def held(self, points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return points within the bound, and where `points` lead out of it, the direction outwards, else zero."""

    @abstractmethod
    def turned(self, ahead: Tensor, outwards: Tensor) -> Tensor:
        """Return the direction of the search: that of the loss, turned back from the bound."""


@dataclass(frozen=True)
class _PerceptualBound(_Bound):
    ball: Ball
    x: Tensor
    looks: int
    weight: float

    def held(self, points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        point = points.detach().requires_grad_()
        with torch.enable_grad():
            far = self.ball.apart(self.ball.activations(point, rows), rows)
            (away,) = torch.autograd.grad(far.sum(), point)
        inside = per_row(self.ball.holds(far.detach()), away)
        outwards = torch.where(inside, 0, direction(away, "L2"))
        return self.ball.project(points, self.x[rows], rows, self.looks), outwards

    def turned(self, ahead: Tensor, outwards: Tensor) -> Tensor:
        return ahead - self.weight * outwards


@dataclass(frozen=True)
class _Cube(_Bound):
    threat: ThreatModel
    x: Tensor

    def held(self, points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        held = project(points, self.x[rows], self.threat)
        return held, (points - held).sign()

    def turned(self, ahead: Tensor, outwards: Tensor) -> Tensor:
        return torch.where(ahead * outwards > 0, 0, ahead)


@dataclass(frozen=True)
class LowFrequency(Perceptual):
    """Ascent of the margin by a change of the image and the filters that smooth it, both by Adam.

    Published are 100 steps, rates of 0.05 for the filters and 0.008 for the change, filters of 5, 7, 5 and 3 pixels on
    CIFAR-10, a color spread of 0.05, the margin, and LPIPS on VGG up to 0.05. There the loss of a point outside the
    ball is practically its distance alone. This form differs in four ways. The gradients of margin and distance have
    unit length before they are added, and each step judges the point inside the ball on the line from the image, so
    no query is lost outside. The change is in pixel values: in the published arctanh, black and white pixels never
    move. Rates fall to a tenth over a run. Gradients are scaled for each example alone, not over the batch.

    In Linf the points are projected, and what pushes a value further out of the ball is left out of the gradient.

    Attributes:
        steps: gradient steps per restart.
        step_size: Adam's rate for the change, in pixel values.
        filter_step: Adam's rate for the logarithms of the filters' weights.
        kernels: sizes of the filters in pixels, in their order: `5+7+5+3`, or `21x5` for rows x columns; empty takes
            them from the size of the image.
        spread: of the Gaussian weight of a difference in color between neighbours.
        weight: of the distance outside the ball, relative to the margin.
        looks: forwards per projection.
        loss: `"ce"`, `"margin"` or `"dlr"`.
        eot, n_restarts, network: as in `Perceptual`.
    """

    steps: int = 100
    step_size: float = 0.05
    filter_step: float = 0.2
    kernels: str = ""
    spread: float = 0.05
    weight: float = 1.0
    looks: int = 3
    loss: str = "margin"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "looks")
        require_loss(self.loss)
        for name in ("step_size", "filter_step", "spread", "weight"):
            if not getattr(self, name) > 0:
                raise BenchError(f"LowFrequency: {name}={getattr(self, name)} must be above 0")
        if self.kernels:
            _sizes(self.kernels)

    @on_models
    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        if threat.family == self.family:
            return self.propose(oracle, x, y, threat, stream=stream)[0]
        require_family(self, threat, (self.family, "Linf"))
        best, rows = Best(x), torch.arange(len(x), device=x.device)
        for restart in range(self.n_restarts):
            rows = oracle.open(rows)
            if not len(rows):
                break
            best.restart()
            noise = float(threat.eps) * (2 * stream.at("start", restart).rows(rows).uniform(*x.shape[1:]) - 1)
            # The first run starts at the image, as published.
            begin = (x[rows] + (noise if restart else 0)).clamp(0, 1)
            self._search(oracle, _Cube(threat, x), rows, x[rows], y[rows], best, begin)
        return best.x_adv

    def _run(self, oracle: Oracle, ball: Ball, rows: Tensor, x: Tensor, y: Tensor, best: Best, start: Tensor) -> None:
        images = best.x_adv.new_zeros(len(best.x_adv), *x.shape[1:]).index_copy(0, rows, x)
        self._search(oracle, _PerceptualBound(ball, images, self.looks, self.weight), rows, x, y, best, start)

    def _search(
        self, oracle: Oracle, bound: _Bound, rows: Tensor, x: Tensor, y: Tensor, best: Best, begin: Tensor
    ) -> None:
        """Search once for the rows `rows` of the oracle, whose images are `x`, from `begin`."""
        sizes = _fitting(_sizes(self.kernels or next(text for side, text in _KERNELS if min(x.shape[2:]) <= side)), x)
        latent = (*(start(x, size) for size in sizes), begin - x)
        zeros = tuple(torch.zeros_like(part) for part in latent)
        state = _State(rows, x, y, latent, zeros, zeros)
        for step in range(self.steps + 1):
            held, outwards = bound.held(self._render(state, sizes), state.rows)
            reply = oracle.gradient(held, state.y, LOSSES[self.loss], state.rows, eot=self.eot)
            best.update(oracle, held, state.rows, reply, eot=self.eot)
            if step == self.steps:  # after the last step its point is judged, too
                return
            pull = bound.turned(direction(reply.grad, "L2"), outwards)
            self._step(state, self._pulled(state, sizes, pull), step)
            state.drop_broken(oracle)
            if not len(state):
                return

    @torch.no_grad()
    def _render(self, state: _State, sizes: list[Size]) -> Tensor:
        """Return the filtered images, `[B, C, H, W]` in [0, 1]."""
        parts = [self._filtered(state, sizes, part, state.latent, part) for part in _portions(state.x, sizes)]
        return torch.cat(parts).clamp(0, 1)  # means of values up to 1 may be 1 + 2^-22

    def _pulled(self, state: _State, sizes: list[Size], pull: Tensor) -> tuple[Tensor, ...]:
        """Return the gradient of every variable, from that of the filtered images."""
        found = []
        for part in _portions(state.x, sizes):
            latent = tuple(each[part].detach().requires_grad_() for each in state.latent)
            with torch.enable_grad():
                images = self._filtered(state, sizes, part, latent, slice(None))
                found.append(torch.autograd.grad(images, latent, pull[part]))
        return tuple(torch.cat(parts) for parts in zip(*found, strict=True))

    def _filtered(self, state: _State, sizes: list[Size], part: slice, latent: tuple[Tensor, ...], of: slice) -> Tensor:
        *logs, change = (each[of] for each in latent)
        return filtered(state.x[part] + change, logs, sizes, state.x[part], self.spread)

    def _step(self, state: _State, grads: tuple[Tensor, ...], step: int) -> None:
        """Take step number `step`, counted from 0, of Adam."""
        first, second = _DECAYS
        rate = _LAST ** (step / self.steps)
        means, squares, latent = [], [], []
        for place, (part, grad) in enumerate(zip(state.latent, grads, strict=True)):
            means.append(first * state.mean[place] + (1 - first) * grad)
            squares.append(second * state.square[place] + (1 - second) * grad.square())
            size = (squares[-1] / (1 - second ** (step + 1))).sqrt()
            # Not Adam's 1e-8: the gradients of a confident model are smaller, and every step would vanish.
            ahead = means[-1] / (1 - first ** (step + 1)) / (size + torch.finfo(size.dtype).tiny)
            length = self.step_size if place == len(grads) - 1 else self.filter_step
            latent.append(part + rate * length * ahead)
        latent[-1] = (state.x + latent[-1]).clamp(0, 1) - state.x
        state.latent, state.mean, state.square = tuple(latent), tuple(means), tuple(squares)


def _portions(x: Tensor, sizes: list[Size]) -> Iterator[slice]:
    """Yield as many rows at a time as the filters have memory for."""
    neighbours = sum(rows * columns for rows, columns in sizes) * (x.shape[1] + 2) * x.shape[2] * x.shape[3]
    at_once = max(_VALUES // max(neighbours, 1), 1)
    for first in range(0, len(x), at_once):
        yield slice(first, first + at_once)


def _sizes(text: str) -> list[Size]:
    """Parse the sizes of filters: `5+7+21x5`."""
    found = []
    for part in text.split("+"):
        rows, _, columns = part.strip().partition("x")
        if not all(each.isdecimal() and int(each) % 2 for each in (rows, columns or rows)):
            raise BenchError(
                f"LowFrequency: kernels={text!r} must be odd numbers of pixels joined by +, such as 5+7+5+3 or 21x5+3"
            )
        found.append((int(rows), int(columns or rows)))
    return found


def _fitting(sizes: list[Size], x: Tensor) -> list[Size]:
    """Return the sizes, smaller where half a filter would be as long as the image is mirrored at its edges."""
    height, width = x.shape[2:]
    return [(min(rows, 2 * height - 1), min(columns, 2 * width - 1)) for rows, columns in sizes]
