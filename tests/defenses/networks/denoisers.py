"""Denoisers whose answers are known."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.defenses.networks.denoiser import Schedule

SCHEDULE = Schedule.linear()


class Tiny(nn.Module):
    """Predicts noise from the image and its level, smoothly; every example for itself."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.inner = nn.Conv2d(channels, 6, 3, padding=1)
        self.outer = nn.Conv2d(6, channels, 3, padding=1)

    def forward(self, image: Tensor, times: Tensor) -> Tensor:
        level = (times.to(image.dtype) / 1000).view(-1, 1, 1, 1)
        answer: Tensor = self.outer(torch.tanh(self.inner(image) + level))
        return answer


class Ideal(nn.Module):
    """The best prediction for images whose pixels are independent normals with a standard deviation."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, image: Tensor, times: Tensor) -> Tensor:
        kept = torch.tensor(SCHEDULE.kept, dtype=image.dtype)[times].view(-1, 1, 1, 1)
        return (1 - kept).sqrt() * image / (kept * self.deviation**2 + 1 - kept)
