"""The perceptual distance and its ball (Laidlaw, Singla and Feizi, ICLR 2021, arXiv:2006.12655).

The threat model is the set of images whose normalized activations in a network are at most eps away in L2:
LPIPS (Zhang et al., CVPR 2018, arXiv:1801.03924) without learned weights. The network is the attacked classifier
itself ("self-bounded") or AlexNet. Only the images prove the distance, so the verifier measures it again, from
scratch, at the images that an attack returns.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from bench.attacks.perceptual.alexnet import alexnet
from bench.attacks.search import Best, require_at_least, require_family
from bench.oracle.activations import Activations
from bench.oracle.direct import on_models
from bench.oracle.geometry import per_row
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import ThreatModel

# Activations as small as this are rounding errors. With the published 1e-10 they would become unit vectors.
_NOTHING = 1e-5

# In another batch a distance differs by rounding. So attacks stay inside eps by this share,
_MARGIN = 1e-5
# and the verifier allows ten times as much; the absolute part is for an eps near zero.
_TOLERANCE, _FLOOR = 1e-4, 1e-6

# The search for the bound aims at this share of eps, slightly inside, so that it ends inside.
_AIM = 0.998
# If no point inside has been found yet, the last look aims lower.
_LAST_AIM = 0.99
_STEEPEST = 30.0  # exponents beyond it, or below its inverse, come from rounding and are not used

_START = 0.01  # standard deviation of the random start, as published


class DistanceProof(NamedTuple):
    """The network that measures the distance."""

    network: Activations


def flatten(features: list[Tensor]) -> Tensor:
    """Return normalized activations, one row per image: the L2 distance of two rows is the perceptual distance.

    Each position of a layer is divided by its norm over the channels and by the root of the number of positions.
    So every layer has a norm of at most 1, whatever its size and the scale of its activations.

    Args:
        features: activations, each `[B, c, h, w]`.

    Returns:
        `[B, N]`, differentiable even at positions without any activation.
    """
    return torch.cat([_normalized(layer).flatten(1) for layer in features], 1)


def _normalized(layer: Tensor) -> Tensor:
    length = (layer.square().sum(1, keepdim=True) + _NOTHING**2).sqrt()
    return layer / (length * math.sqrt(layer.shape[2] * layer.shape[3]))


@torch.no_grad()
def distance(network: Activations, x: Tensor, x_adv: Tensor) -> Tensor:
    """Return the perceptual distance of each row, float64 `[B]`; it depends on that row alone."""
    apart = flatten(network(x_adv)).double() - flatten(network(x)).double()
    return apart.square().sum(1).sqrt()


class Ball:
    """The images within eps of each of `x` `[B, C, H, W]`; the oracle counts every pass of the network."""

    def __init__(self, oracle: Oracle, network: Activations, x: Tensor, eps: float) -> None:
        self._oracle, self._network, self._x = oracle, network, x
        self.eps = eps
        with torch.no_grad():
            self.center = self.activations(x, torch.arange(len(x), device=x.device))

    def activations(self, points: Tensor, rows: Tensor) -> Tensor:
        """Return normalized activations `[B, N]` at `points`, which belong to the rows `rows` of `x`."""
        return flatten(self._oracle.features(points, rows, self._network))

    @torch.no_grad()
    def distance(self, points: Tensor, rows: Tensor) -> Tensor:
        """Return the distance of `points` from the images `rows` of `x`, `[B]`."""
        return self.apart(self.activations(points, rows), rows)

    def apart(self, activations: Tensor, rows: Tensor) -> Tensor:
        """Return that distance from the activations at the points; its gradient is finite everywhere, zero at `x`."""
        squares = (activations - self.center[rows]).square().sum(1)
        return torch.where(squares > 0, squares.clamp_min(torch.finfo(squares.dtype).tiny).sqrt(), 0)

    def holds(self, distance: Tensor) -> Tensor:
        """Return whether each distance is within the bound, bool `[B]`, by a margin that covers rounding."""
        return distance <= self.eps * (1 - _MARGIN)

    @torch.no_grad()
    def project(self, points: Tensor, held: Tensor, rows: Tensor, looks: int) -> Tensor:
        """Return the last point within the bound on the line from `x` to each of `points`.

        Over short lines the distance grows nearly as a power of the share of the line, so the secant method in
        logarithms finds the bound in few looks. Only a point measured to be within the bound is returned.

        Args:
            points: `[B, C, H, W]` in [0, 1].
            held: points within the bound, returned in rows where no look finds one.
            rows: the rows of `x` to which the points belong.
            looks: forwards of every row, at least 1.
        """
        x = self._x[rows]
        best = held
        near = _Look.at(torch.zeros(len(rows), device=x.device))  # the last look that was inside
        far = _Look.at(torch.full_like(near.share, torch.inf))  # the nearest that was not
        share = torch.ones_like(near.share)
        slope = torch.ones_like(share)
        for look in range(looks):
            here = points if look == 0 else (x + per_row(share, x) * (points - x)).clamp(0, 1)
            seen = _Look(share, self.distance(here, rows).clamp_min(torch.finfo(x.dtype).tiny))
            inside = self.holds(seen.distance)
            better = inside & (share > near.share)
            best = torch.where(per_row(better, x), here, best)
            slope = torch.where(inside, slope, _slope(seen, far, slope))
            near, far = near.unless(better, seen), far.unless(~inside, seen)
            aim = self.eps * (_AIM if look < looks - 2 else torch.where(near.share > 0, _AIM, _LAST_AIM))
            between = near.share * (aim / near.distance).pow(_slope(near, far, slope))
            beyond = far.share * (aim / far.distance).pow(slope)
            share = torch.where(near.share > 0, between, beyond)
            share = torch.where((share > near.share) & (share < far.share), share, (near.share + far.share) / 2)
            share = share.clamp(0, 1)
        return best


class _Look(NamedTuple):
    """A share of the line, and the distance measured there; both `[B]`."""

    share: Tensor
    distance: Tensor

    @classmethod
    def at(cls, share: Tensor) -> _Look:
        """Return a look at `share` that has not been measured."""
        return cls(share, torch.ones_like(share))

    def unless(self, mask: Tensor, other: _Look) -> _Look:
        """Return these looks, with those of `other` in the rows of `mask`."""
        share, distance_ = (torch.where(mask, new, old) for new, old in zip(other, self, strict=True))
        return _Look(share, distance_)


def _slope(one: _Look, other: _Look, otherwise: Tensor) -> Tensor:
    """Return the exponent of the share as a power of the distance, between two looks; `otherwise` if implausible."""
    slope = (one.share / other.share).log() / (one.distance / other.distance).log()
    return torch.where((slope > 1 / _STEEPEST) & (slope < _STEEPEST), slope, otherwise)


@dataclass(frozen=True)
class Perceptual(ABC):
    """An attack within a perceptual distance.

    Attributes:
        steps: gradient steps per restart.
        eot: draws per gradient of a stochastic defense.
        n_restarts: independent runs; a later one attacks the examples that the earlier ones left.
        network: the network whose activations measure the distance. `"self"` is the attacked defense, or its
            classifier if it has a purifier. `"alexnet"` is torchvision's AlexNet, read from the checkpoints of
            `torch.hub`; a path names another file with the same weights. Nothing is ever downloaded.
    """

    steps: int = 40
    eot: int = 1
    n_restarts: int = 1
    network: str = "self"

    family: ClassVar[str] = "lpips"

    def __post_init__(self) -> None:
        require_at_least(self, 1, "steps", "eot", "n_restarts")

    @abstractmethod
    def _run(self, oracle: Oracle, ball: Ball, rows: Tensor, x: Tensor, y: Tensor, best: Best, start: Tensor) -> None:
        """Search once for the rows `rows` of the oracle, from `start`, which may be outside the ball."""

    @on_models
    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        return self.propose(oracle, x, y, threat, stream=stream)[0]

    def propose(
        self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream
    ) -> tuple[Tensor, DistanceProof]:
        """Return `x_adv` and its proof, the network that measures the distance.

        Raises:
            BenchError: no network can measure the distance: its file is missing, the defense exposes no
                activations, or it is stochastic and declares no deterministic part.
        """
        require_family(self, threat, (self.family,))
        network = oracle.ruler() if self.network == "self" else alexnet(self.network, x)
        ball = Ball(oracle, network, x, float(threat.eps))
        best = Best(x)
        rows = torch.arange(len(x), device=x.device)
        for restart in range(self.n_restarts):
            rows = oracle.open(rows)
            if not len(rows):
                break
            best.restart()
            noise = stream.at("start", restart).rows(rows).normal(*x.shape[1:])
            start = (x[rows] + _START * noise).clamp(0, 1)
            self._run(oracle, ball, rows, x[rows], y[rows], best, start)
        return best.x_adv, DistanceProof(network)

    def violations(self, x: Tensor, x_adv: Tensor, proof: DistanceProof, threat: ThreatModel) -> list[str]:
        """Return the reasons why `x_adv` is not within `threat` of `x`; empty if it is."""
        far = distance(proof.network, x, x_adv)
        bound = float(threat.eps) * (1 + _TOLERANCE) + _FLOOR
        count = int((~(far <= bound)).sum())  # a NaN fails `<=`, so it counts as beyond the bound
        if not count:
            return []
        return [f"{count} of {len(x)} examples are beyond {threat}: the largest distance is {far.max():.7g}"]
