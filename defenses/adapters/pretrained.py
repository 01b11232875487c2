"""A network of a library with weights from a file: normalization inside, as many classes as the data has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from bench.defenses.adapters import normalization, pickles, timm, torchvision
from bench.defenses.adapters.found import declared
from bench.defenses.adapters.normalization import Normalized
from bench.errors import BenchError, unknown
from bench.types import Card, Defense, ImageSpec

_BUILDERS = {"timm": timm.build, "torchvision": torchvision.build}


def network(arch: str, spec: ImageSpec) -> nn.Module:
    """The untrained network that `LIBRARY:NAME` names, for these images and classes."""
    library, _, name = arch.partition(":")
    if library not in _BUILDERS:
        raise unknown("library of networks", library, _BUILDERS)
    return _BUILDERS[library](name, spec)


def load(*, checkpoints: Mapping[str, Path], spec: ImageSpec, arch: str, mean: str, std: str, **told: str) -> Defense:
    """The network with the only checkpoint's weights, behind its normalization.

    Images are not resized: what the network was trained on and what it is shown are the user's choice.

    Args:
        checkpoints: one file.
        spec: the images and classes of the dataset.
        arch: `timm:NAME` or `torchvision:NAME`.
        mean: of the images it was trained on, `0.5/0.5/0.5`.
        std: the same for the standard deviation.
        told: what else is settled: `trained_on` and `stochastic`, and where the weights are from.

    Raises:
        BenchError: an unknown network, or a file that is damaged or of another network.
    """
    (path,) = checkpoints.values()
    found = network(arch, spec)
    pickles.load_into(found, path)
    means, stds = normalization.numbers(mean), normalization.numbers(std)
    if {len(means), len(stds)} - {1, spec.shape[0]}:
        raise BenchError(f"{arch}: mean={mean} and std={std} do not fit images of {spec.shape[0]} channels")
    model = found if (set(means), set(stds)) == ({0.0}, {1.0}) else Normalized(found, means, stds)
    card = Card(arch, facts={"mean": mean, "std": std, **told})
    return Defense(model.eval().requires_grad_(False), card=card, **declared(told))
