"""Purification by diffusion: DiffPure (Nie et al., ICML 2022, arXiv:2205.07460).

The forward process adds noise up to a level t*, which drowns small perturbations, and a denoising
diffusion model (Ho et al., NeurIPS 2020, arXiv:2006.11239) removes it again. The reverse process may skip
levels (Song et al., ICLR 2021, arXiv:2010.02502, with eta = 1: the DDPM posterior between any two levels).

Everything is differentiable and nothing is clamped, as in the authors' code: a clamp would only hide
the gradient of nearly black or white pixels from an attack. Purified images can therefore leave [0, 1]
slightly.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True)
class Schedule:
    """The noise levels of a variance-preserving process.

    Attributes:
        kept: the image's share of the variance at levels 1, 2, ..., alpha bar in the literature. Level 0
            is the image itself, with a share of 1.
    """

    kept: tuple[float, ...]

    @classmethod
    def linear(cls, levels: int = 1000, first: float = 1e-4, last: float = 0.02) -> Schedule:
        """Return a schedule whose variances of the noise per level grow linearly, as in DDPM and in DiffPure."""
        betas = torch.linspace(first, last, levels, dtype=torch.float64)
        return cls(tuple((1 - betas).cumprod(0).tolist()))

    @property
    def levels(self) -> int:
        return len(self.kept)

    def at(self, level: int) -> float:
        """Return the image's share of the variance at a level, counted from 0."""
        return self.kept[level - 1] if level else 1.0

    def add_noise(self, x: Tensor, level: int | Tensor, noise: Tensor) -> Tensor:
        """Return the images at a noise level: `sqrt(kept) x + sqrt(1 - kept) noise`.

        Args:
            x: `[B, C, H, W]` in [-1, 1].
            level: one level for all, counted from 0, or one for each image, int64 `[B]`.
            noise: standard normal, of the shape of `x`.
        """
        if isinstance(level, int):
            return math.sqrt(self.at(level)) * x + math.sqrt(1 - self.at(level)) * noise
        kept = torch.tensor((1.0, *self.kept), dtype=x.dtype, device=x.device)[level].view(-1, 1, 1, 1)
        return kept.sqrt() * x + (1 - kept).sqrt() * noise

    def remove_noise(self, x: Tensor, predicted: Tensor, noise: Tensor, level: int, lower: int) -> Tensor:
        """Draw the image at the level `lower`, given the image at `level` and the noise predicted in it."""
        kept, target = self.at(level), self.at(lower)
        clean = (x - math.sqrt(1 - kept) * predicted) / math.sqrt(kept)
        # Equation 16 of arXiv:2010.02502 with eta = 1; at level 0 it is zero, and so is the noise.
        variance = (1 - target) / (1 - kept) * (1 - kept / target)
        direction = math.sqrt(max(0.0, 1 - target - variance))
        return math.sqrt(target) * clean + direction * predicted + math.sqrt(variance) * noise


class Diffusion(nn.Module):
    """A purifier that adds noise to images up to t* and denoises them.

    Randomness comes from torch's global generator, anew in every forward: `steps` normal draws of the
    shape of the images, the first one for the forward process. Gradients are those of the whole process.
    The backward pass recomputes each reverse step, so that the memory of an attack grows by two images a
    step, not by the activations of the network.

    Args:
        denoiser: maps images `[B, C, H, W]` in [-1, 1] at a noise level, given as an int64 `[B]` that is 0
            at level 1, to the noise in them.
        schedule: the schedule of the denoiser's training.
        t: t* in [0, 1], as a share of the levels; 0 leaves images unchanged.
        steps: of the reverse process, at most the number of levels up to t*.
        draw: returns noise of the shape and type of its argument.
        checkpointed: whether the backward pass recomputes the steps.
    """

    def __init__(
        self,
        denoiser: nn.Module,
        schedule: Schedule,
        *,
        t: float,
        steps: int,
        draw: Callable[[Tensor], Tensor] = torch.randn_like,
        checkpointed: bool = True,
    ) -> None:
        super().__init__()
        self.denoiser, self.schedule = denoiser, schedule
        self.levels = descent(round(t * schedule.levels), steps)
        self.draw, self.checkpointed = draw, checkpointed

    def forward(self, x: Tensor) -> Tensor:
        """Purify images.

        Args:
            x: images `[B, C, H, W]` in [0, 1].

        Returns:
            Purified images of the same shape, which may leave [0, 1] slightly.
        """
        top = self.levels[0]
        if top == 0:
            return x
        image = self.schedule.add_noise(2 * x - 1, top, self.draw(x))
        again = self.checkpointed and torch.is_grad_enabled()
        for level, lower in itertools.pairwise(self.levels):
            # Drawn outside of the step, so that a recomputed step sees the same noise. The step to
            # level 0 adds none.
            noise = self.draw(x) if lower else torch.zeros_like(x)
            if again:
                # A step draws nothing itself, so torch need not save and restore the generators for it.
                image = checkpoint(
                    self._step, image, noise, level, lower, use_reentrant=False, preserve_rng_state=False
                )
            else:
                image = self._step(image, noise, level, lower)
        return (image + 1) / 2

    def _step(self, image: Tensor, noise: Tensor, level: int, lower: int) -> Tensor:
        times = torch.full((len(image),), level - 1, dtype=torch.int64, device=image.device)
        return self.schedule.remove_noise(image, self.denoiser(image, times), noise, level, lower)


def descent(top: int, steps: int) -> Sequence[int]:
    """Return the levels from `top` down to 0 in `steps` nearly equal strides, or in `top` if that is fewer."""
    count = max(1, min(steps, top))
    return tuple(round(top * (count - done) / count) for done in range(count + 1)) if top else (0,)


class Denoiser(nn.Module):
    """A `UNet2DModel` of `diffusers` that predicts noise, for images of any height and width.

    Such a network halves its input several times, so its sides must be multiples of a power of two. Other
    images are extended by their border pixels, and the prediction is cropped.

    Args:
        network: called with images and times, it returns a record with the noise as `sample`.
        multiple: number of which both sides must be a multiple.
    """

    def __init__(self, network: nn.Module, multiple: int) -> None:
        super().__init__()
        self.network, self.multiple = network, multiple

    def forward(self, image: Tensor, times: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        margin = (0, -width % self.multiple, 0, -height % self.multiple)
        padded = F.pad(image, margin, mode="replicate") if any(margin) else image
        noise: Tensor = self.network(padded, times).sample
        return noise[..., :height, :width]
