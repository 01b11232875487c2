"""What the perceptual attacks share (Laidlaw, Singla and Feizi, ICLR 2021, arXiv:2006.12655): the distance.

The threat model is the images whose normalized activations in a network are at most eps away in L2: LPIPS
(Zhang et al., CVPR 2018, arXiv:1801.03924) without learned weights. The network is the attacked classifier
itself, "self-bounded", or AlexNet. Nothing stands for the distance but the images themselves, so what an
attack returns is measured again, from scratch, before anybody believes it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from bench.attacks.alexnet import alexnet
from bench.attacks.trajectory import Best, require_at_least, require_family
from bench.features import Activations
from bench.geometry import per_row
from bench.oracle import Oracle
from bench.random import Stream
from bench.types import ThreatModel

# Activations as small as this are rounding. The published 1e-10 would blow them up to unit vectors.
_NOTHING = 1e-5

# Measured in another batch a distance differs by rounding: attacks keep that far inside of eps,
_MARGIN = 1e-5
# and the verifier grants ten times as much; the absolute part is for an eps near zero.
_TOLERANCE, _FLOOR = 1e-4, 1e-6

# Where on the way from x the bound is looked for: a hair inside, so that the search ends inside.
_AIM = 0.998
# If none has been found inside yet, the last look aims lower.
_LAST_AIM = 0.99
_STEEPEST = 30.0

_START = 0.01  # standard deviation of the random start, as published


class Proof(NamedTuple):
    """What the distance is measured by."""

    network: Activations


def flatten(features: list[Tensor]) -> Tensor:
    """Normalized activations, one row per image: the L2 distance of two rows is the perceptual distance.

    Each place of a layer is divided by its norm over the channels and by the root of the number of places.
    So every layer has a norm of at most 1, whatever its size and the scale of its activations.

    Args:
        features: activations, each `[B, c, h, w]`.

    Returns:
        `[B, N]`, differentiable, at places without any activation, too.
    """
    return torch.cat([_normalized(layer).flatten(1) for layer in features], 1)


def _normalized(layer: Tensor) -> Tensor:
    length = (layer.square().sum(1, keepdim=True) + _NOTHING**2).sqrt()
    return layer / (length * math.sqrt(layer.shape[2] * layer.shape[3]))


@torch.no_grad()
def distance(network: Activations, x: Tensor, x_adv: Tensor) -> Tensor:
    """The perceptual distance of each row, float64 `[B]`; it depends on that row alone."""
    apart = flatten(network(x_adv)).double() - flatten(network(x)).double()
    return apart.square().sum(1).sqrt()


class Ball:
    """The images within eps of each of `x` `[B, C, H, W]`; what is asked of the network is booked by the oracle."""

    def __init__(self, oracle: Oracle, network: Activations, x: Tensor, eps: float) -> None:
        self._oracle, self._network, self._x = oracle, network, x
        self.eps = eps
        with torch.no_grad():
            self.center = self.activations(x, torch.arange(len(x), device=x.device))

    def activations(self, points: Tensor, rows: Tensor) -> Tensor:
        """Normalized activations `[B, N]` at `points`, which belong to the rows `rows` of `x`."""
        return flatten(self._oracle.features(points, rows, self._network))

    @torch.no_grad()
    def distance(self, points: Tensor, rows: Tensor) -> Tensor:
        """How far `points` are from the images `rows` of `x`, `[B]`."""
        return self.apart(self.activations(points, rows), rows)

    def apart(self, activations: Tensor, rows: Tensor) -> Tensor:
        """The same from the activations at the points; its slope is finite everywhere, zero at `x`."""
        squares = (activations - self.center[rows]).square().sum(1)
        return torch.where(squares > 0, squares.clamp_min(torch.finfo(squares.dtype).tiny).sqrt(), 0)

    def holds(self, distance: Tensor) -> Tensor:
        """Which distances are within the bound, bool `[B]`, by a margin that covers rounding."""
        return distance <= self.eps * (1 - _MARGIN)

    @torch.no_grad()
    def project(self, points: Tensor, held: Tensor, rows: Tensor, looks: int) -> Tensor:
        """The last point within the bound on the way from `x` to each of `points`.

        Over short ways the distance grows nearly as a power of the way, so the secant in logarithms finds the
        bound in few looks. A point is returned only if it has been measured to be within the bound.

        Args:
            points: `[B, C, H, W]` in [0, 1].
            held: what to return where no look finds a point within the bound: points inside of it.
            rows: which rows of `x` these belong to.
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
    """How far along the way somebody looked, and the distance found there; both `[B]`."""

    share: Tensor
    distance: Tensor

    @classmethod
    def at(cls, share: Tensor) -> _Look:
        """A place where nobody has looked yet."""
        return cls(share, torch.ones_like(share))

    def unless(self, mask: Tensor, other: _Look) -> _Look:
        """These looks, and others where `mask` says so."""
        share, distance_ = (torch.where(mask, new, old) for new, old in zip(other, self, strict=True))
        return _Look(share, distance_)


def _slope(one: _Look, other: _Look, otherwise: Tensor) -> Tensor:
    """The exponent of the way as a power of the distance, between two looks."""
    slope = (one.share / other.share).log() / (one.distance / other.distance).log()
    return torch.where((slope > 1 / _STEEPEST) & (slope < _STEEPEST), slope, otherwise)


@dataclass(frozen=True)
class Perceptual(ABC):
    """An attack within a perceptual distance.

    Attributes:
        steps: gradient steps per restart.
        eot: draws per gradient of a stochastic defense.
        n_restarts: independent runs; a later one attacks what the earlier ones left.
        network: whose activations measure the distance. `"self"`: those of the attacked defense, behind a
            purifier those of its classifier. `"alexnet"`: those of torchvision's AlexNet, read from the
            checkpoints of `torch.hub`; a path names another file with the same weights. Nothing is ever
            downloaded.
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
        """One run for the rows `rows` of the oracle, from `start`, which may be outside of the ball."""

    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        return self.propose(oracle, x, y, threat, stream=stream)[0]

    def propose(
        self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream
    ) -> tuple[Tensor, Proof]:
        """The attack with its proof: `x_adv` and the network that measures how far it is.

        Raises:
            BenchError: there is no network to measure by: its file is missing, the defense shows no activations,
                or it is stochastic and declares no part that is not.
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
        return best.x_adv, Proof(network)

    def violations(self, x: Tensor, x_adv: Tensor, proof: Proof, threat: ThreatModel) -> list[str]:
        """What is wrong with the claim that `x_adv` is within `threat` of `x`; empty if nothing."""
        far = distance(proof.network, x, x_adv)
        bound = float(threat.eps) * (1 + _TOLERANCE) + _FLOOR
        count = int((~(far <= bound)).sum())  # which a NaN is not
        if not count:
            return []
        return [f"{count} of {len(x)} examples are beyond {threat}: the largest distance is {far.max():.7g}"]
