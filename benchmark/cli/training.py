"""`bench train`: run a committed recipe and show how it goes."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

from bench.checkpoints import card, locate
from bench.cli.notes import say_order_of_classes
from bench.datasets.load import load
from bench.errors import BenchError
from bench.executors import pick_device
from bench.memory import keep_freed
from bench.registry import load as load_target


def train(
    name: str,
    dataset: str,
    data: Path | None,
    assignments: list[str],
    seed: int,
    device: str,
    weights: Path | None,
    out: Path,
    every: int,
    minutes: float | None,
) -> int:
    """Train one defense and say where its weights went."""
    budget = _budget(minutes)
    needed = load_target("bench.defenses.training.recipe:starts_from")(name)
    overrides = _overrides(assignments)
    device = pick_device(device)
    parts = {split: load(dataset, split, n=None, data=data) for split in ("train", "validation", "test")}
    if _speaks():
        say_order_of_classes(dataset)
    label = parts["train"].dataset
    checkpoints = {start: locate(start, label, weights) for start in needed}
    keep_freed()
    with _Progress() as progress:
        path: Path = load_target("bench.defenses.training.run:train")(
            name,
            parts["train"],
            parts["validation"],
            test=parts["test"],
            out=out / label,
            checkpoints=checkpoints,
            seed=seed,
            overrides=overrides,
            device=device,
            on_progress=progress,
            command=_command(name, dataset, assignments, seed),
            every=every,
            budget=budget,
        )
    if not _speaks():
        return 0
    print(f"weights  {path}\ncard     {path.with_suffix('.json')}")
    unfinished = card(path).get("unfinished")
    if unfinished:
        print(f"stopped  after {unfinished['done']} of {unfinished['of']} updates: the same command goes on")
    print(f"next     {_next(path.stem, dataset, out)}")
    return 0


def _speaks() -> bool:
    """Whether this is the only process, or the first of several that train together."""
    return os.environ.get("RANK", "0") == "0"


def _next(weights: str, dataset: str, out: Path) -> str:
    """The command that measures what was trained: `atop-clean-rt2` is `atop[ft=clean,rt=2]`."""
    named, _, rt = weights.partition("-rt")
    training, suffix = load_target("bench.defenses.training.recipe:training_of")(named)
    name, _, fine_tuning = training.partition("-") if rt else (training, "", "")
    chosen = {"ft": fine_tuning, "network": suffix.removeprefix("-"), "rt": rt}
    inside = ",".join(f"{key}={value}" for key, value in chosen.items() if value)
    words = ["bench", "run", "--dataset", dataset, "--defenses", f"{name}[{inside}]" if inside else name]
    return shlex.join([*words, "--weights", str(out)])


def _budget(minutes: float | None) -> Any:  # noqa: ANN401  (a `Budget`; it begins to run here, images are still to be read)
    if minutes is None:
        return None
    if not 0 < minutes < float("inf"):
        raise BenchError(f"--minutes {minutes} is out of range: it must be positive")
    return load_target("bench.defenses.training.budget:Budget")(60 * minutes)


def _overrides(assignments: list[str]) -> dict[str, str]:
    overrides = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key or not value:
            raise BenchError(f"--set {assignment!r} is not key=value: write for example --set epochs=10")
        overrides[key.strip()] = value.strip()
    return overrides


def _command(name: str, dataset: str, assignments: list[str], seed: int) -> str:
    words = ["bench", "train", name, "--dataset", dataset]
    for assignment in assignments:
        words += ["--set", assignment]
    return shlex.join([*words, *(["--seed", str(seed)] if seed else [])])


class _Progress:
    """A bar with the losses of the step at hand."""

    def __init__(self) -> None:
        from rich import progress
        from rich.console import Console

        console = Console(stderr=True)
        # Where nobody watches a bar, such as in the log of a long training, each epoch gets a line.
        self._lines = not console.is_terminal
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=30),
            progress.TaskProgressColumn(),
            progress.TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=None)

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, step: object) -> None:
        """Show a `TrainingProgress`."""
        told = {**getattr(step, "losses", {})}
        for key, label in (("accuracy", "standard"), ("robust_accuracy", "quick robust")):
            if getattr(step, key, None) is not None:
                told[label] = getattr(step, key)
        losses = " ".join(f"{name} {value:.3f}" for name, value in told.items())
        description = f"{getattr(step, 'stage', 'training')} {losses}"
        done, total = getattr(step, "step", 0), getattr(step, "steps", None)
        if self._lines:
            print(f"[{done}/{total}] {description}", file=sys.stderr)
        self._bar.update(self._task, description=description, completed=done, total=total)
