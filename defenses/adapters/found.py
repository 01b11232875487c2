"""What an adapter finds out about a name before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bench.types import ImageSpec, ThreatModel


class Wanted(NamedTuple):
    """What was asked for.

    Attributes:
        name: within the library.
        parameters: as on the command line.
        dataset: the name of the images to be judged on.
        spec: their shape and the number of classes.
        folder: of the user's own weights, where given.
    """

    name: str
    parameters: Mapping[str, str]
    dataset: str
    spec: ImageSpec
    folder: Path | None = None


class Found(NamedTuple):
    """What will be loaded.

    Attributes:
        files: the checkpoints, by a name that is the same on every machine.
        config: everything else the loader needs, settled; no path is in it.
        trained_on: threats it counts as having seen unless the user says otherwise, `Linf:8/255`; empty
            for none, `None` where nobody knows.
        notes: what a user should know before believing a number about it.
    """

    files: Mapping[str, Path]
    config: Mapping[str, str]
    trained_on: str | None = None
    notes: tuple[str, ...] = ()


def declared(told: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a `Defense` that the user, or the library, vouches for."""
    seen = [text for text in told.get("trained_on", "").split("+") if text]
    return {"stochastic": told.get("stochastic") == "true", "trained_on": tuple(map(ThreatModel.parse, seen))}
