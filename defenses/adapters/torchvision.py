"""Networks of torchvision by their names there."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench import _compat
from bench.defenses.adapters import normalization
from bench.defenses.adapters.wanted import Found, Wanted
from bench.errors import BenchError, unknown
from bench.oracle.randomness import preserved_generators
from bench.types import ImageSpec


def build(name: str, spec: ImageSpec) -> nn.Module:
    """Build the untrained classifier of this name for the classes of the dataset."""
    models = _models(name)
    with preserved_generators(), warnings.catch_warnings():
        # Some warn that their initialization will change; the weights come from a file anyway.
        warnings.simplefilter("ignore")
        built: nn.Module = models.get_model(name, weights=None, num_classes=spec.classes)
    return built


def find(wanted: Wanted) -> Found:
    """Find the user's weights, else those in torchvision's cache."""
    label = f"torchvision:{wanted.name}"
    channels = wanted.spec.shape[0]
    given = wanted.parameters.get("weights")
    if given is not None:
        norm = normalization.settled(wanted.parameters, None, channels, label)
        return Found({wanted.name: users_file(given, label)}, {"arch": label, **norm})
    weights = _weights(wanted.name)
    if weights is None:
        raise BenchError(f"torchvision has no weights for {wanted.name}: name a file of yours, {label}[weights=FILE]")
    path = _cached(weights.url)
    if not path.is_file():
        raise BenchError(
            f"no weights of {label} at {path}: put there the file of {weights.url}, or name one with [weights=FILE]"
        )
    norm = normalization.settled(wanted.parameters, _normalization(weights), channels, label)
    size = _size(weights)
    return Found({wanted.name: path}, {"arch": label, **norm}, trained_on="", notes=other_size(size, wanted.spec))


def facts(name: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """Return what torchvision publishes about a network."""
    del parameters
    weights = _weights(name)
    if weights is None:
        return {"weights": "none published: name a file of yours with weights=FILE"}
    norm, size = _normalization(weights), _size(weights)
    path = _cached(weights.url)
    return {
        "weights": f"{weights}: {weights.meta['num_params']:,} parameters, {len(weights.meta['categories'])} classes",
        "file": f"{path} ({'there' if path.is_file() else 'missing'})",
        "from": str(weights.url),
        "norm": f"mean={norm['mean']} std={norm['std']}",
        "trained at": f"{size} pixels a side",
    }


def users_file(text: str, label: str) -> Path:
    """Return the path of the user's file of weights.

    Raises:
        BenchError: there is no such file.
    """
    path = Path(text).expanduser()
    if not path.is_file():
        raise BenchError(f"{label}: no file of weights {text!r}: check the path")
    return path


def other_size(size: int, spec: ImageSpec) -> tuple[str, ...]:
    """Return a note if the images have another size than those of the weights' training."""
    if size in (0, spec.shape[1]):
        return ()
    return (f"its weights were trained at {size} pixels a side, these images have {spec.shape[1]}; nothing is resized",)


def _models(name: str) -> Any:  # noqa: ANN401  (an untyped module)
    """Return `torchvision.models` after a check that it has a classifier of this name."""
    models = _compat.torchvision().models
    known = models.list_models(module=models)
    if name not in known:
        raise unknown("network of torchvision", name, known)
    return models


def _weights(name: str) -> Any:  # noqa: ANN401  (a member of an untyped enumeration)
    """Return torchvision's default weights of a network; `None` if it has none."""
    kinds = list(_models(name).get_model_weights(name))
    return _models(name).get_model_weights(name).DEFAULT if kinds else None


def _cached(url: str) -> Path:
    return Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])


def _normalization(weights: Any) -> dict[str, str]:  # noqa: ANN401
    transforms = weights.transforms()
    return {"mean": normalization.written(transforms.mean), "std": normalization.written(transforms.std)}


def _size(weights: Any) -> int:  # noqa: ANN401
    return int(weights.transforms().crop_size[0])
