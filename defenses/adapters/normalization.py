"""Normalization as a part of the network, so that its inputs are images in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from bench.errors import BenchError, unknown

# Mean and standard deviation per channel, as in the usual training recipes.
PRESETS: dict[str, tuple[str, str]] = {
    "imagenet": ("0.485/0.456/0.406", "0.229/0.224/0.225"),
    "cifar10": ("0.4914/0.4822/0.4465", "0.2471/0.2435/0.2616"),
    "cifar100": ("0.5071/0.4865/0.4409", "0.2673/0.2564/0.2762"),
    "half": ("0.5", "0.5"),
    "none": ("0", "1"),
}


class Normalized(nn.Module):
    """A module that maps images `[B, C, H, W]` in [0, 1] to the output of `network` at `(x - mean) / std`."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network((x - self.mean) / self.std)
        return logits


def asked_for(parameters: Mapping[str, str], channels: int, label: str) -> dict[str, str] | None:
    """Return `{"mean": ..., "std": ...}` from the parameters; `None` if they set neither.

    Raises:
        BenchError: the preset is unknown, one of the pair is missing, or the numbers do not fit the channels.
    """
    preset = parameters.get("norm")
    mean, std = parameters.get("mean"), parameters.get("std")
    if preset is not None:
        if mean is not None or std is not None:
            raise BenchError(f"{label}: norm={preset} brings mean and std: leave them out, or norm")
        if preset not in PRESETS:
            raise unknown("normalization", preset, PRESETS)
        mean, std = PRESETS[preset]
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise BenchError(f"{label}: mean and std go together: give both, such as mean=0.5/0.5/0.5,std=0.5/0.5/0.5")
    for key, text in (("mean", mean), ("std", std)):
        if len(numbers(text)) not in (1, channels) or (key == "std" and min(numbers(text)) <= 0):
            raise BenchError(f"{label}: {key}={text} does not fit images of {channels} channels: give one each")
    return {"mean": mean, "std": std}


def settled(
    parameters: Mapping[str, str], known: Mapping[str, str] | None, channels: int, label: str
) -> dict[str, str]:
    """Return the normalization in the parameters, else the known one of the weights.

    Raises:
        BenchError: as `asked_for`; or none is known, and a guess would evaluate another network.
    """
    chosen = asked_for(parameters, channels, label) or known
    if chosen is None:
        presets = "|".join(PRESETS)
        raise BenchError(f"{label}: say how its images were normalized: norm={presets}, or mean=A/B/C,std=A/B/C")
    return asked_for(chosen, channels, label) or dict(chosen)


def numbers(text: str) -> list[float]:
    """Parse numbers such as `0.5/0.5/0.5`."""
    try:
        values = [float(part) for part in text.split("/")]
        if not all(map(math.isfinite, values)):
            raise ValueError
        return values
    except ValueError:
        raise BenchError(f"{text!r} is no list of numbers: write it as 0.5/0.5/0.5") from None


def written(values: Sequence[float]) -> str:
    """Write numbers as text that `numbers` reads."""
    return "/".join(f"{float(value)!r}" for value in values)
