"""`bench train`: run a committed recipe and show how it goes."""

from __future__ import annotations

import shlex
from pathlib import Path

from bench.catalogue import DEFENSES
from bench.checkpoints import locate
from bench.datasets.load import load
from bench.errors import BenchError, unknown
from bench.executors import pick_device
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
) -> int:
    """Train one defense and say where its weights went."""
    if name not in DEFENSES.names():
        raise unknown("defense", name, DEFENSES.names())
    overrides = _overrides(assignments)
    device = pick_device(device)
    parts = {split: load(dataset, split, n=None, data=data) for split in ("train", "validation", "test")}
    label = parts["train"].dataset
    checkpoints = {needed: locate(needed, label, weights) for needed in DEFENSES.get(name).starts_from}
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
        )
    print(f"weights  {path}\ncard     {path.with_suffix('.json')}")
    print(f"next     bench run --dataset {shlex.quote(dataset)} --defenses {name} --weights {shlex.quote(str(out))}")
    return 0


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
        losses = " ".join(f"{name} {value:.3f}" for name, value in getattr(step, "losses", {}).items())
        self._bar.update(
            self._task,
            description=f"{getattr(step, 'stage', 'training')} {losses}",
            completed=getattr(step, "step", 0),
            total=getattr(step, "steps", None),
        )
