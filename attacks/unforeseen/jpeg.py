"""JPEG attacks (Kang et al., arXiv:1908.08016): changes bounded in the space of JPEG's coefficients.

JPEG turns an image into a plane of luma and two planes of chroma at half the resolution, transforms
blocks of 8 x 8 pixels into cosine coefficients and divides each coefficient by its quantization step.
The adversary takes the place of the rounding that follows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench.attacks.unforeseen.rendered import Rendered, Scene, _State
from bench.errors import BenchError
from bench.oracle.geometry import norm
from bench.oracle.randomness import Stream

_SIDE = 8  # of a block
_Table = tuple[tuple[int, ...], ...]

# The quantization steps of JPEG's annex K (quality 50), in units of 1/255; row = vertical frequency.
_LUMA: _Table = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA: _Table = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)


def count(channels: int, height: int, width: int) -> int:
    """Return the number of coefficients of an image, including blocks that reach beyond it."""
    luma = _blocks(height, _SIDE) * _blocks(width, _SIDE)
    chroma = _blocks(height, 2 * _SIDE) * _blocks(width, 2 * _SIDE)
    return _SIDE**2 * (luma + (2 * chroma if channels == 3 else 0))


def decode(latent: Tensor, channels: int, height: int, width: int) -> Tensor:
    """Return the change of an image `[B, C, H, W]` for a change of its coefficients; linear, not clamped.

    Args:
        latent: `[B, count(...)]`, in halves of a quantization step: the luma blocks row by row, then
            those of Cb and those of Cr, which cover 16 x 16 pixels each.
        channels: 3 is RGB; with any other number all channels get the change of the luma.
        height: of the image.
        width: of the image.
    """
    size = _SIDE**2 * _blocks(height, _SIDE) * _blocks(width, _SIDE)
    luma = _plane(latent[:, :size], _blocks(height, _SIDE), _LUMA)[:, :height, :width]
    if channels != 3:
        return luma[:, None].expand(-1, channels, -1, -1)
    blue, red = (
        _plane(part, _blocks(height, 2 * _SIDE), _CHROMA)
        .repeat_interleave(2, 1)
        .repeat_interleave(2, 2)[:, :height, :width]
        for part in latent[:, size:].chunk(2, 1)
    )
    # The inverse of JFIF's luma and chroma.
    return torch.stack([luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], 1)


def _blocks(pixels: int, side: int) -> int:
    return math.ceil(pixels / side)


def _plane(latent: Tensor, rows: int, table: _Table) -> Tensor:
    """Return the inverse cosine transform of the blocks in `latent`, `[B, 8 * rows, 8 * columns]`."""
    half_steps = torch.tensor(table, dtype=latent.dtype, device=latent.device) / (2 * 255)
    blocks = latent.reshape(len(latent), rows, -1, _SIDE, _SIDE) * half_steps
    place = torch.arange(_SIDE, dtype=latent.dtype, device=latent.device)
    waves = torch.cos((2 * place + 1) * place[:, None] * math.pi / (2 * _SIDE)) / 2  # [frequency, pixel]
    waves[0] /= math.sqrt(2)  # which makes the transform orthonormal
    return (waves.T @ blocks @ waves).transpose(2, 3).flatten(3).flatten(1, 2)


@dataclass(frozen=True)
class _JPEG(Rendered):
    """The rendering and the defaults that the three balls share.

    The map from coefficients to pixels is linear. So the change of the coefficients is decoded by itself
    and added to the image, and zero variables give exactly the image. The source also sends the image
    itself through JPEG, which halves the resolution of its colors whatever eps is. Gray images have only
    luma. Blocks that reach beyond an image are cut off.
    """

    steps: int = 50
    step_size: float = 0.15
    n_restarts: int = 2
    loss: str = "ce+margin"

    tolerance: ClassVar[float] = 1e-5

    def start(self, x: Tensor, scene: Scene, eps: float, stream: Stream) -> Tensor:
        """Return random variables `[B, count]`: uniform in the Linf ball, else of random direction and length."""
        delta = 2 * stream.uniform(count(*x.shape[1:])) - 1
        if self.ball == "Linf":
            return eps * delta
        length = eps * stream.at("length").uniform(1)
        return length * delta / norm(delta, self.ball)[:, None].clamp_min(1e-12)

    def render(self, x: Tensor, latent: Tensor, scene: Scene) -> Tensor:
        return (x + decode(latent, *x.shape[1:])).clamp(0, 1)


@dataclass(frozen=True)
class JPEGLinf(_JPEG):
    """The worst image whose every coefficient is changed by at most eps halves of its quantization step.

    With eps 1 each coefficient may be rounded up or down. Kang et al. take eps of 0.03125 to 1 on
    CIFAR-10, Laidlaw, Singla and Feizi (PAT, arXiv:2006.12655) 0.125 and 0.25, and MultiRobustBench
    (arXiv:2302.10980) 0 to 0.2. Steps are about eps/sqrt(steps), as in these papers. One restart climbs
    the cross-entropy and one the margin: the first suits small bounds and the second large ones, and 50
    steps of each left a robust network on CIFAR-10 no more accuracy than 100 steps of either.

    Attributes:
        steps: gradient steps per restart.
        step_size: length of a step, in units of eps.
        eot: draws per gradient of a stochastic defense.
        n_restarts: independent runs; a later one attacks the examples that the earlier ones left.
        loss: as in `Rendered`.
        optimizer: as in `Rendered`.
    """

    family: ClassVar[str] = "jpeg-linf"


@dataclass(frozen=True)
class JPEGL2(_JPEG):
    """The worst change of the coefficients of L2 norm at most eps, in halves of their quantization steps.

    Kang et al. take eps of 8 to 256 on ImageNet-100 and also bound each coefficient by 2; here only the
    ball bounds them. Attributes as in `JPEGLinf`.
    """

    family: ClassVar[str] = "jpeg-l2"
    ball: ClassVar[str] = "L2"


@dataclass(frozen=True)
class JPEGL1(_JPEG):
    """The worst change of the coefficients of L1 norm at most eps, in halves of their quantization steps.

    Kang et al. take eps of 2 to 1024 on CIFAR-10 and also bound each coefficient by 2, which is left out
    here; MultiRobustBench (arXiv:2302.10980) takes 0 to 20. The source ascends by Frank-Wolfe; here a
    step moves the few coefficients with the largest gradients, all by the same amount (SLIDE, Tramer
    and Boneh, arXiv:1904.13000), and is projected onto the ball.

    Attributes:
        steps: as in `JPEGLinf`.
        step_size: likewise.
        eot: likewise.
        n_restarts: likewise.
        loss: likewise.
        optimizer: likewise.
        share: share of the coefficients that move in a step, above 0 and at most 1; at least one moves.
    """

    step_size: float = 0.3
    share: float = 0.002

    family: ClassVar[str] = "jpeg-l1"
    ball: ClassVar[str] = "L1"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise BenchError(f"JPEGL1: share={self.share} must be above 0 and at most 1: it is a share of coefficients")

    def _direction(self, state: _State, grad: Tensor, step: int) -> Tensor:
        if self.optimizer != "steepest":
            return super()._direction(state, grad, step)
        grad = torch.nan_to_num(grad, nan=0.0, posinf=0.0, neginf=0.0)
        moving = math.ceil(self.share * grad.shape[1])
        top = grad.abs().topk(moving, dim=1).indices
        return torch.zeros_like(grad).scatter(1, top, grad.gather(1, top).sign() / moving)
