"""The examples of a training, and their random augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bench.types import ImageSpec


class LabelledImages(Protocol):
    """Images with labels, in the form of every dataset."""

    @property
    def dataset(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def ids(self) -> Sequence[str]: ...
    @property
    def x(self) -> NDArray[np.float32]: ...  # [n, C, H, W] in [0, 1]
    @property
    def y(self) -> NDArray[np.int64]: ...  # [n]
    @property
    def spec(self) -> ImageSpec: ...
    @property
    def digest(self) -> str: ...


def tensors(examples: LabelledImages, device: str, n: int | None = None) -> tuple[Tensor, Tensor]:
    """Return the first `n` images and labels, or all, on a device."""
    return torch.tensor(examples.x[:n], device=device), torch.tensor(examples.y[:n], device=device)


def shift(x: Tensor, pixels: int) -> Tensor:
    """Move each image by its own random offset of up to `pixels` along both axes and fill with zeros."""
    if pixels == 0:
        return x
    batch, _, height, width = x.shape
    padded = F.pad(x, (pixels,) * 4)
    down, right = torch.randint(0, 2 * pixels + 1, (2, batch, 1), device=x.device)
    rows = (down + torch.arange(height, device=x.device))[:, None, :, None]
    columns = (right + torch.arange(width, device=x.device))[:, None, None, :]
    image = torch.arange(batch, device=x.device)[:, None, None, None]
    channel = torch.arange(x.shape[1], device=x.device)[None, :, None, None]
    return padded[image, channel, rows, columns]


def flip(x: Tensor) -> Tensor:
    """Mirror each image left to right with a probability of one half."""
    chosen = torch.rand(len(x), device=x.device) < 0.5
    return torch.where(chosen[:, None, None, None], x.flip(3), x)
