"""A network of a library with weights from a file, its normalization, and as many classes as the data has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from bench.defenses.adapters import normalization, pickles, timm, torchvision
from bench.defenses.adapters.normalization import Normalized
from bench.defenses.adapters.wanted import declared
from bench.errors import BenchError, unknown
from bench.types import Card, Defense, ImageSpec

_BUILDERS = {"timm": timm.build, "torchvision": torchvision.build}


def network(arch: str, spec: ImageSpec) -> nn.Module:
    """Build the untrained network `LIBRARY:NAME` for these images and classes."""
    library, _, name = arch.partition(":")
    if library not in _BUILDERS:
        raise unknown("library of networks", library, _BUILDERS)
    return _BUILDERS[library](name, spec)


def load(*, checkpoints: Mapping[str, Path], spec: ImageSpec, arch: str, mean: str, std: str, **told: str) -> Defense:
    """Load a network with the weights of the only checkpoint, after its normalization.

    Images are not resized: the user chooses the images of the training and of the evaluation.

    Args:
        checkpoints: one file.
        spec: the images and classes of the dataset.
        arch: `timm:NAME` or `torchvision:NAME`.
        mean: mean of the training images, `0.5/0.5/0.5`.
        std: standard deviation of the training images, in the same form.
        told: further facts: `trained_on` and `stochastic`, and the source of the weights.

    Raises:
        BenchError: the network is unknown, or the file is damaged or belongs to another network.
    """
    (path,) = checkpoints.values()
    found = network(arch, spec)
    pickles.load_into(found, path)
    means, stds = normalization.numbers(mean), normalization.numbers(std)
    if {len(means), len(stds)} - {1, spec.shape[0]}:
        raise BenchError(f"{arch}: mean={mean} and std={std} do not fit images of {spec.shape[0]} channels")
    # Without a wrapper if it would do nothing: its subtraction and division cost time in every pass.
    model = found if (set(means), set(stds)) == ({0.0}, {1.0}) else Normalized(found, means, stds)
    card = Card(arch, facts={"mean": mean, "std": std, **told})
    return Defense(model.eval().requires_grad_(False), card=card, **declared(told))
