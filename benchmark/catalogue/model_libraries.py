"""Libraries of networks that serve as defenses: `robustbench:NAME`, `timm:NAME`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

from bench.catalogue.registry import load
from bench.errors import unknown
from bench.types import ImageSpec


class FoundModel(Protocol):
    """The files and settings an adapter will load; `bench.defenses.adapters.wanted.Found` describes each field."""

    @property
    def files(self) -> Mapping[str, Path]: ...
    @property
    def config(self) -> Mapping[str, str]: ...
    @property
    def trained_on(self) -> str | None: ...
    @property
    def notes(self) -> tuple[str, ...]: ...


class ModelAdapter(Protocol):
    """The module behind a library of networks; it resolves names before anything is loaded."""

    def find(self, wanted: Any) -> FoundModel:  # noqa: ANN401  (what `ModelLibrary.wanted` makes)
        """Find the files and settings of a model; fetch a missing file, or raise an error that says where to put it."""
        ...

    def facts(self, name: str, parameters: Mapping[str, str]) -> Mapping[str, str]:
        """Return what the library says about one of its models."""
        ...


@dataclass(frozen=True)
class ModelLibrary:
    """A library of networks.

    Attributes:
        distribution: the name it is installed under.
        adapter: the module that is the `ModelAdapter`.
        target: the loader.
        example: how a model of it is named.
        install: the command that installs it.
        parameters: what can be set in brackets, with a description of each.
        choices: the values a parameter may take, where they are few.
        version: of the adapter, raised where its models answer otherwise (`bench.catalogue.versions`).
        wanted: builds the argument of `ModelAdapter.find` from name, parameters, dataset, image spec and user's folder.
    """

    distribution: str
    adapter: str
    target: str
    cite: str
    summary: str
    example: str
    install: str
    parameters: Mapping[str, str]
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    version: int = 1
    # A string like the targets: listing libraries must not import torch.
    wanted: str = "bench.defenses.adapters.wanted:Wanted"

    def find(
        self, name: str, parameters: Mapping[str, str], dataset: str, spec: ImageSpec, folder: Path | None
    ) -> FoundModel:
        """Find the files and settings of one of its models through the adapter."""
        return self._adapter().find(load(self.wanted)(name, parameters, dataset, spec, folder))

    def facts(self, name: str, parameters: Mapping[str, str]) -> Mapping[str, str]:
        """Return what the library says about one of its models, through the adapter."""
        return self._adapter().facts(name, parameters)

    def _adapter(self) -> ModelAdapter:
        return cast(ModelAdapter, importlib.import_module(self.adapter))


_ADAPTERS = "bench.defenses.adapters"
_PRETRAINED = f"{_ADAPTERS}.pretrained:load"

_ANY = {
    "trained_on": "the threats it has seen in training, Linf:8/255+L2:0.5, or none; seen and unseen follow from it",
    "stochastic": "true where its answers are random; found out when it is loaded, and refused if it is not so",
}
_NORMALIZED = {
    "norm": "imagenet, cifar10, cifar100, half or none: what its images were normalized with",
    "mean": "the same in numbers, one or one per channel: 0.485/0.456/0.406",
    "std": "the standard deviations that go with mean",
}

LIBRARIES: Mapping[str, ModelLibrary] = {
    "robustbench": ModelLibrary(
        "robustbench",
        f"{_ADAPTERS}.robustbench",
        f"{_ADAPTERS}.robustbench:load",
        "2010.09670",
        "RobustBench's zoo; files are fetched, or named with the place they belong to",
        "robustbench:Wang2023Better_WRN-28-10[threat=Linf]",
        "pip install 'atop-bench[robustbench]'",
        {
            "threat": "whose leaderboard: Linf (default), L2 or corruptions",
            "dataset": "whose models: cifar10, cifar100 or imagenet; by default that of --dataset",
            **_ANY,
        },
        {"threat": ("Linf", "L2", "corruptions"), "dataset": ("cifar10", "cifar100", "imagenet")},
        version=2,
    ),
    "torchvision": ModelLibrary(
        "torchvision",
        f"{_ADAPTERS}.torchvision",
        _PRETRAINED,
        "github.com/pytorch/vision",
        "a network of torchvision with its own weights, or yours",
        "torchvision:resnet18[weights=FILE,norm=cifar10]",
        "pip install torchvision",
        {"weights": "a file of yours, safetensors or torch; else torchvision's, from its cache", **_NORMALIZED, **_ANY},
    ),
    "timm": ModelLibrary(
        "timm",
        f"{_ADAPTERS}.timm",
        _PRETRAINED,
        "Wightman, Zenodo 4414861",
        "a network of timm with its own weights, or yours",
        "timm:resnet18.a1_in1k",
        "pip install 'atop-bench[timm]'",
        {
            "weights": "a file of yours, safetensors or torch; else timm's, from the Hugging Face hub",
            "revision": "of timm's weights on the hub",
            **_NORMALIZED,
            **_ANY,
        },
    ),
    "hf": ModelLibrary(
        "huggingface_hub",
        f"{_ADAPTERS}.hub",
        _PRETRAINED,
        "huggingface.co",
        "weights of a repository on the Hugging Face hub, for a network of timm or torchvision",
        "hf:OWNER/REPO[arch=timm:resnet18,norm=cifar10]",
        "pip install 'atop-bench[hf]'",
        {
            "arch": "timm:NAME or torchvision:NAME; by default what config.json of the repository says",
            "file": "the file of weights, model.safetensors by default",
            "revision": "a branch, tag or commit; the commit is recorded",
            **_NORMALIZED,
            **_ANY,
        },
        version=2,
    ),
}


def library(name: str) -> tuple[str, ModelLibrary]:
    """Return the prefix of a `PREFIX:NAME` and the library it stands for.

    Raises:
        BenchError: there is no such library.
    """
    prefix = name.partition(":")[0]
    if prefix not in LIBRARIES:
        raise unknown("library of defenses", prefix, LIBRARIES)
    return prefix, LIBRARIES[prefix]
