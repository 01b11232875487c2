"""Gabor noise (Kang et al., arXiv:1908.08016, after Co et al., arXiv:1810.00470) with adversarial weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.attacks.unforeseen.rendered import Rendered, Scene
from bench.errors import BenchError
from bench.oracle.geometry import per_row
from bench.oracle.randomness import Stream

_SIDE = 23  # of the kernel, in pixels, as in the source
_WAVES = 10  # of one kernel, at most
_SHARPNESS = 4.0  # slope of the tanh, in standard deviations of the noise: steep, so that it is nearly a sign


def kernels(stream: Stream) -> Tensor:
    """Draw a Gabor kernel per image, `[B, 23, 23]`: waves under a Gaussian.

    As in the source there are one to ten waves at equal angles to each other, with 3 to 5.75 periods,
    the first at a random angle, under a Gaussian whose standard deviation is 0.1 to 0.4 of the side.
    """
    waves = 1 + stream.at("waves").integers(_WAVES, 1)
    deviation = 0.101 + 0.3 * stream.at("deviation").uniform(1)[..., None]
    periods = 3 + (_SIDE / 4 - 3) * stream.at("periods").uniform(1)[..., None, None]
    number = torch.arange(_WAVES, device=waves.device)
    angle = (math.pi * (stream.at("angle").uniform(1) + number / waves))[..., None, None]
    place = torch.linspace(-0.5, 0.5, _SIDE, device=waves.device)
    along = place * angle.cos() + place[:, None] * angle.sin()
    wave = torch.cos(2 * math.pi * periods * along) * (number < waves)[..., None, None]
    return wave.sum(1) * torch.exp(-0.5 * (place.square() + place[:, None].square()) / deviation.square())


def noise(weights: Tensor, places: Tensor, kernel: Tensor, height: int, width: int) -> Tensor:
    """Return noise `[B, H, W]` between 0 and 1, of mean about a half: nearly two-valued, with smooth edges.

    Scaling all weights does not change it; if all are zero it is a half.

    Args:
        weights: `[B, n]`, of the kernels.
        places: int64 `[B, n]`, the pixels of the kernels, counted row by row; all different.
        kernel: `[B, side, side]` for an odd side.
        height: of the image.
        width: of the image.
    """
    sparse = weights.new_zeros(len(weights), height * width).scatter(1, places, weights)
    kernel = kernel.to(weights.dtype)[:, None]
    # Every image has a kernel of its own: as channels in groups, all of them take one convolution.
    sums = F.conv2d(sparse.view(1, -1, height, width), kernel, groups=len(weights), padding=kernel.shape[-1] // 2)[0]
    sums = sums - sums.mean((1, 2), keepdim=True)
    power = sums.square().mean((1, 2), keepdim=True)
    deviation = torch.where(power > 0, power, 1).sqrt()
    return (1 + torch.tanh(_SHARPNESS * sums / deviation)) / 2


@dataclass(frozen=True)
class Gabor(Rendered):
    """The worst noise from a Gabor kernel at random places: x_adv = x + weight * noise, the same on all channels.

    The variables are the weights of the kernels. Their scale does not change the noise, so it carries
    the weight of the noise: that is the largest variable in absolute value. So the noises of a smaller
    eps are among those of a larger one, and zero variables give exactly the image. The source divides
    the noise by its deviation at each pixel, which leaves hardly more than its sign, and treats that
    deviation as a constant; here a hyperbolic tangent has this effect, with its true gradient.

    Kang et al. take eps of 6.25/255 to 1600/255 on ImageNet-100, their second version (Kaufmann et
    al., arXiv:1908.08016 v4) a density of 0.1, and MultiRobustBench (arXiv:2302.10980) 0 to 10/255.

    Attributes:
        steps: gradient steps per restart.
        step_size: learning rate or length of a step, in units of eps.
        eot: draws per gradient of a stochastic defense.
        n_restarts: independent runs, each with its own kernel and places; a later one attacks the
            examples that the earlier ones left.
        loss: as in `Rendered`.
        optimizer: as in `Rendered`.
        density: kernels per pixel, above 0 and at most 1.
    """

    steps: int = 50
    step_size: float = 0.2
    n_restarts: int = 2
    loss: str = "ce+margin"
    optimizer: str = "adam"
    density: float = 0.5

    family: ClassVar[str] = "gabor"
    tolerance: ClassVar[float] = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.density <= 1:
            raise BenchError(f"Gabor: density={self.density} must be above 0 and at most 1: it is kernels per pixel")

    def scene(self, x: Tensor, stream: Stream) -> Scene:
        """Draw the places `[B, n]` and the kernels `[B, 23, 23]`."""
        pixels = x.shape[2] * x.shape[3]
        order = stream.at("places").uniform(pixels).argsort(dim=1, stable=True)
        return order[:, : math.ceil(self.density * pixels)], kernels(stream)

    def start(self, x: Tensor, scene: Scene, eps: float, stream: Stream) -> Tensor:
        """Return random weights `[B, n]`."""
        return eps * (2 * stream.uniform(scene[0].shape[1]) - 1)

    def render(self, x: Tensor, latent: Tensor, scene: Scene) -> Tensor:
        places, kernel = scene
        weight = per_row(latent.abs().amax(1), x)
        return (x + weight * noise(latent, places, kernel, *x.shape[2:])[:, None]).clamp(0, 1)
