"""The request to an adapter, and the result of its search, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bench.threats import ThreatModel
from bench.types import ImageSpec


class Wanted(NamedTuple):
    """A request for a model.

    Attributes:
        name: within the library.
        parameters: as on the command line.
        dataset: the name of the evaluated images.
        spec: the shape of the images and the number of classes.
        folder: the folder of the user's own weights, if given.
    """

    name: str
    parameters: Mapping[str, str]
    dataset: str
    spec: ImageSpec
    folder: Path | None = None


class Found(NamedTuple):
    """The model that answers a request.

    Attributes:
        files: the checkpoints, by names that are the same on every machine.
        config: all other arguments of the loader; it holds no path.
        trained_on: the threats that count as seen unless the user declares others, `Linf:8/255`; empty
            for none, `None` if unknown.
        notes: facts that a user should know before believing a number about the model.
    """

    files: Mapping[str, Path]
    config: Mapping[str, str]
    trained_on: str | None = None
    notes: tuple[str, ...] = ()


def declared(told: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a `Defense` that the user or the library declares."""
    seen = [text for text in told.get("trained_on", "").split("+") if text]
    return {"stochastic": told.get("stochastic") == "true", "trained_on": tuple(map(ThreatModel.parse, seen))}
