"""Networks of timm (Wightman, PyTorch Image Models) by their names there."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from torch import nn

from bench import _compat
from bench.attacks.adapters.library import imported
from bench.defenses.adapters import normalization, snapshots
from bench.defenses.adapters.torchvision import other_size, users_file
from bench.defenses.adapters.wanted import Found, Wanted
from bench.errors import BenchError, unknown
from bench.oracle.randomness import preserved_generators
from bench.types import ImageSpec

INSTALL = "pip install 'atop-bench[timm]'"


def build(name: str, spec: ImageSpec) -> nn.Module:
    """Build the untrained network of this name for the channels and classes of the dataset."""
    timm = _timm(name)
    with preserved_generators():  # building draws initial weights, which a file replaces
        try:
            built: nn.Module = timm.create_model(
                name, pretrained=False, num_classes=spec.classes, in_chans=spec.shape[0]
            )
        except TypeError as error:
            raise BenchError(f"timm:{name} cannot be built for {spec.shape[0]} channels ({error})") from error
    return built


def find(wanted: Wanted) -> Found:
    """Find the user's weights, else those that timm publishes for this name on the Hugging Face hub."""
    label = f"timm:{wanted.name}"
    channels = wanted.spec.shape[0]
    given = wanted.parameters.get("weights")
    if given is not None:
        norm = normalization.settled(wanted.parameters, None, channels, label)
        arch = wanted.name.partition(".")[0]  # the part after a dot names timm's own weights
        return Found({arch: users_file(given, label)}, {"arch": f"timm:{arch}", **norm})
    published = _published(wanted.name)
    if published is None or not published.hf_hub_id:
        raise BenchError(f"timm publishes no weights for {wanted.name}: name a file of yours, {label}[weights=FILE]")
    file = published.hf_hub_filename or "model.safetensors"
    path, revision = snapshots.fetch(published.hf_hub_id, file, wanted.parameters.get("revision"))
    norm = normalization.settled(wanted.parameters, _normalization(published), channels, label)
    config = {"arch": label, "repo": published.hf_hub_id, "revision": revision, **norm}
    return Found({wanted.name: path}, config, trained_on="", notes=other_size(published.input_size[-1], wanted.spec))


def facts(name: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """Return what timm publishes about a network."""
    del parameters
    published = _published(name)
    if published is None or not published.hf_hub_id:
        return {"weights": "none published: name a file of yours with weights=FILE"}
    norm = _normalization(published)
    return {
        "weights": f"{published.hf_hub_id} on the Hugging Face hub, {published.num_classes} classes",
        "norm": f"mean={norm['mean']} std={norm['std']}",
        "trained at": f"{published.input_size[-1]} pixels a side",
    }


def _timm(name: str) -> Any:  # noqa: ANN401  (an untyped library)
    """Import `timm` and check that it has a network of this name."""
    _compat.torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        timm = imported("timm", INSTALL)
    if not timm.is_model(name):
        raise unknown("network of timm", name, timm.list_models())
    arch, _, tag = name.partition(".")
    if tag and name not in timm.list_pretrained(f"{arch}.*"):
        raise unknown("weights of timm", name, timm.list_pretrained(f"{arch}.*"))
    return timm


def _published(name: str) -> Any:  # noqa: ANN401  (a record of an untyped library)
    """Return timm's record of the weights of a network; `None` if there are none."""
    return _timm(name).models.get_pretrained_cfg(name)


def _normalization(published: Any) -> dict[str, str]:  # noqa: ANN401
    return {"mean": normalization.written(published.mean), "std": normalization.written(published.std)}
