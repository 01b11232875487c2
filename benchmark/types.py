"""Contracts that every package shares. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.threats import ThreatModel

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Card:
    """A description of a defense: recipe, data, seed, accuracies, source.

    Attributes:
        name: of the weights.
        summary: one line.
        facts: whatever is known. Entries for RobustBench take `title`, `link`, `authors`, `venue`, `architecture`,
            `reported` and `footnote` (text), `additional_data` (true or false) and `number_forward_passes` from it.
    """

    name: str = ""
    summary: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Defense:
    """A defense under evaluation: a record, not a base class.

    Attributes:
        model: maps float32 images `[B, C, H, W]` in [0, 1] to logits `[B, classes]`; normalisation,
            purifier and noise are all inside.
        stochastic: whether two forwards of one image may differ.
        trained_on: the threat models seen in training; an attack is *seen* when one of them covers it.
        surrogate: a differentiable stand-in for attacks that cannot differentiate `model` (BPDA).
        base: the classifier behind a purifier, without it.
        purifier: maps images `[B, C, H, W]` in [0, 1] to purified ones that `base` takes, with the
            same random numbers as `model`; with `base` it makes BPDA with the identity possible.
        derandomized: the same defense without its random transform.
        transfer_source: another defense that attacks transfer from; the harness adds it for such an attack.
        card: what is known about it, for people to read.
    """

    model: nn.Module
    stochastic: bool = False
    trained_on: tuple[ThreatModel, ...] = ()
    surrogate: nn.Module | None = None
    base: nn.Module | None = None
    purifier: nn.Module | None = None
    derandomized: nn.Module | None = None
    card: Card = field(default_factory=Card)
    transfer_source: Defense | None = None


@dataclass(frozen=True)
class ImageSpec:
    """The images a dataset holds: `(channels, height, width)` and the number of classes."""

    shape: tuple[int, int, int]
    classes: int
