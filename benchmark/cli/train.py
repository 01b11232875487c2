"""The command `bench train`, which runs a committed recipe and shows its progress."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import api
from bench.cli.interruption import keeping
from bench.errors import BenchError
from bench.report.live.heartbeat import EVERY, Heartbeat, say, span

if TYPE_CHECKING:
    from bench.catalogue import training


def train(name: str, assignments: list[str], out: Path, **options: Any) -> int:  # noqa: ANN401  (those of `api.train`)
    """Train one defense and print where its weights are."""
    recipe, dataset = _recipe(assignments), options["dataset"]
    if _speaks():
        slow = api.slow_arithmetic(name, dataset=dataset, recipe=recipe, device=options["device"])
        for note in filter(None, (api.order_of_classes(dataset), slow)):
            print(f"note: {note}", file=sys.stderr)
    began = time.time()
    with keeping(lambda: _kept(out, name, began)), _Progress() as progress:
        path = api.train(name, recipe=recipe, out=out, watcher=progress, **options)
    if not _speaks():
        return 0
    print(f"weights  {path}\ncard     {path.with_suffix('.json')}")
    unfinished = api.unfinished(path)
    if unfinished:
        print(f"stopped  after {unfinished['done']} of {unfinished['of']} updates: the same command goes on")
    print(f"next     {api.run_of(path, dataset, out)}")
    return 0


def _kept(out: Path, name: str, began: float) -> str:
    """Return a clause with the file from which the same command resumes, or one that says that there is none."""
    # By name and time, because the folder may hold the files of other trainings, and they may go on beside this one.
    own = re.compile(rf"{re.escape(name)}(-rt[^.]+)?\.[0-9a-f]+\.unfinished")
    kept = [path for path in out.glob("*/*.unfinished") if own.fullmatch(path.name) and path.stat().st_mtime >= began]
    if not kept:
        return "nothing is kept yet"
    return f"where it stood is kept in {max(kept, key=lambda path: path.stat().st_mtime)}"


def _speaks() -> bool:
    """Return whether this is the only process, or the first of several that train together."""
    return os.environ.get("RANK", "0") == "0"


def _recipe(assignments: list[str]) -> dict[str, str]:
    """Parse the assignments that replace values of the recipe."""
    recipe: dict[str, str] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key or not value:
            raise BenchError(f"--set {assignment!r} is not key=value: write for example --set epochs=10")
        if key.strip() in recipe:
            raise BenchError(
                f"--set {key.strip()} is given twice, as {recipe[key.strip()]} and {value.strip()}: give it once"
            )
        recipe[key.strip()] = value.strip()
    return recipe


class _Progress:
    """A bar with the losses of the current step."""

    def __init__(self, every: float = EVERY, clock: Callable[[], float] = time.monotonic) -> None:
        from bench.report.live.bars import Bars

        self._screen = Bars()
        self._task = self._screen.shown.add_task("training", total=None)
        self._clock = clock
        self._started, self._last = clock(), "the first epoch"
        self._end: float | None = None
        self._trained = False
        self.heart = Heartbeat(self.told, say, every, clock)

    def __enter__(self) -> _Progress:
        if self._screen.live:
            self._screen.start()
        elif _speaks():
            self.heart.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._screen.live:
            self._screen.stop()
        elif _speaks():
            self.heart.__exit__()

    def told(self) -> str:
        """Return a line that says how long it has been training, the last progress, and how long it will take."""
        what = "measuring the accuracies of the card" if self._trained else "training"
        return f"still {what} after {span(self._clock() - self._started)}: {self._last}{self._remaining()}"

    def _remaining(self) -> str:
        left = 0.0 if self._end is None else self._end - self._clock()
        return f", about {span(left)} left" if left >= 1 else ""

    def __call__(self, step: training.EpochProgress) -> None:
        """Show the progress of the training."""
        looks = {"standard": step.accuracy, "quick robust": step.robust_accuracy}
        told = {**step.losses, **{name: value for name, value in looks.items() if value is not None}}
        losses = " ".join(f"{name} {value:.3f}" for name, value in told.items())
        description = f"{step.stage} {losses}"
        self._last = f"[{step.step}/{step.steps}] {description}"
        self._trained = step.step == step.steps
        self._end = None if step.seconds_left is None else self._clock() + step.seconds_left
        if not self._screen.live:
            # Without a bar, as in the log of a long training, each epoch gets a line.
            say(self._last + self._remaining())
            self.heart.heard()
        self._screen.shown.update(self._task, description=description, completed=step.step, total=step.steps)
