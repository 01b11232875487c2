"""Trainings of `bench train`, reached by strings; the code is in `bench.defenses.training`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from bench.catalogue.registry import load
from bench.datasets.examples import Examples
from bench.machine.system import package_folder

# As a string, like every attack and defense: the command line must start without torch.
_ROOM = "bench.defenses.training"


class EpochProgress(Protocol):
    """The progress of a training after an epoch; `bench.defenses.training.validation` makes it."""

    @property
    def stage(self) -> str: ...
    @property
    def step(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def losses(self) -> Mapping[str, float]: ...
    @property
    def accuracy(self) -> float | None: ...
    @property
    def robust_accuracy(self) -> float | None: ...
    @property
    def seconds_left(self) -> float | None: ...


class Training(Protocol):
    """A function that trains and writes weights with their card, described at `bench.defenses.training.run.train`."""

    def __call__(
        self,
        name: str,
        train: Examples,
        validation: Examples,
        *,
        out: Path,
        checkpoints: Mapping[str, Path],
        seed: int = 0,
        overrides: Mapping[str, str] | None = None,
        device: str = "cpu",
        on_progress: Callable[[EpochProgress], None] | None = None,
        command: str = "",
        test: Examples | None = None,
        every: int = 500,
        budget: object | None = None,
        note: str = "",
    ) -> Path:
        """Train, and return the path of the weights."""
        ...


def training() -> Training:
    """Return the function that trains a defense by its recipe."""
    found: Training = load(f"{_ROOM}.run:train")
    return found


def starts_from(name: str) -> tuple[str, ...]:
    """Return the checkpoints that a training begins with.

    Raises:
        BenchError: no such training.
    """
    found: tuple[str, ...] = load(f"{_ROOM}.naming:starts_from")(name)
    return found


def training_of(name: str) -> tuple[str, str, str]:
    """Return the parts of a name: the training, the kind of purifier and the network: `("atop", "gan", "")`.

    The last two are empty where the name has no such suffix.

    Raises:
        BenchError: no such training.
    """
    found: tuple[str, str, str] = load(f"{_ROOM}.naming:training_of")(name)
    return found


def in_mixed_precision(name: str, dataset: str, overrides: Mapping[str, str]) -> bool:
    """Return whether a recipe, with some values changed, asks for forwards in bfloat16.

    Raises:
        BenchError: no such training, parameter or value.
    """
    recipe: Any = load(f"{_ROOM}.recipe:read_recipe")(name, dataset, overrides)
    return bool(recipe.amp)


def budget(seconds: float) -> object:
    """Start and return the time budget of one session of a `Training`."""
    made: object = load(f"{_ROOM}.budget:Budget")(seconds)
    return made


def recipes() -> list[str]:
    """Return the names of the committed recipes, without importing the training code."""
    # A folder of defaults, and one for each dataset with recipes of its own: a name may be found twice.
    folder = package_folder(_ROOM) / "recipes"
    return sorted({path.stem for path in folder.glob("*/*.toml")})
