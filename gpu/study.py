"""Train a ResNet-18 and its purifier, and fill the matrix, in a few minutes of a GPU: docs/gpu.md.

    python -m gpu cifar10 --archives FOLDER --minutes 9 --out FOLDER

Finished work is kept in `build/gpu` and not repeated, so a second call continues where the first one stopped.
Before its time is up, a call packs its weights with cards, its verdicts and its log.
"""

from __future__ import annotations

import argparse
import json
import signal
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from types import FrameType

from bench.catalogue.weights import locate
from bench.cli import main as bench
from bench.datasets.examples import Examples
from bench.datasets.load import load
from bench.defenses.training.budget import Budget
from bench.defenses.training.naming import starts_from, training_of
from bench.defenses.training.recipe import KINDS
from bench.defenses.training.run import train
from bench.defenses.training.validation import TrainingProgress
from bench.errors import BenchError
from bench.harness.executors import pick_device
from bench.machine.system import keep_freed
from gpu import parcel, plan
from gpu.archives import lay_out
from gpu.call import called, options

SIZED = "[network=resnet-18]"
ALL = ",".join(f"{name}{SIZED}" for name in ("standard", "at", "ap", "atop"))
# The most important line comes first, because a call ends when its time is up. There are few lines, because a fresh
# process judges the verdicts of each again. `audit` is `core` with FAB-T and Square on a tenth of the survivors, or on
# all of them after an alarm; stochastic defenses get AutoAttack's rand version, which takes by far the longest.
MATRIX: tuple[tuple[str, str, str], ...] = (
    (ALL, "audit,pgd-20,apgd-ce,pgd-eot-20", "Linf:8/255"),
    (ALL, "stadv,recolor", "stadv:0.8,recolor:0.06"),
    (ALL, "audit,pgd-eot-20", "L2:0.5"),
    (f"ap{SIZED},atop{SIZED}", "blind,autoattack", "Linf:8/255"),
)


@dataclass(frozen=True)
class Size:
    """The size of a study: full, or so small that a CPU rehearses it in a minute.

    Attributes:
        overrides: recipe values, for the recipes that have the parameter.
        n: test images of the matrix.
        batch: images of a shard.
        matrix: lines of defenses, attacks and threat models.
        every: updates between two notes of a training.
    """

    overrides: dict[str, str]
    n: int
    batch: int
    matrix: Sequence[tuple[str, str, str]]
    every: int


FULL = Size({}, 1000, 250, MATRIX, 500)
TINY = Size(
    {"width": "8", "batch_size": "16", "epochs": "9", "steps": "2", "shift": "0"},
    8,
    4,
    (
        (ALL, "screen,pgd-20[steps=2],pgd-eot-20[steps=2]", "Linf:8/255,L2:4"),
        (ALL, "stadv[steps=2],recolor[steps=2]", "stadv:0.8,recolor:0.06"),
    ),
    2,
)


class TimeIsUp(BaseException):  # not an Exception: the harness would record it as the failure of a cell
    """Raised wherever the work is when its time is over."""


@contextmanager
def until(seconds: float) -> Iterator[None]:
    """Leave the block after so many seconds; everything it has stored is kept."""

    def over(_number: int, _frame: FrameType | None) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    except TimeIsUp:
        print("time is up: what is finished is stored, and the same command goes on", flush=True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Study:
    """One call: the unfinished trainings, then the matrix, then the parcel."""

    def __init__(self, dataset: str, given: argparse.Namespace) -> None:
        self.dataset, self.device, self.out = dataset, given.device, given.out
        self.clock = Budget(60 * given.minutes - plan.PACKING)
        self.size = TINY if given.tiny else FULL
        self.work = given.work
        self.data, self.weights = self.work / "data", self.work / "weights"
        self.results = self.work / "results" / f"{dataset}-resnet-18"
        self.archives = given.archives

    def run(self) -> int:
        """Do everything; return the exit status 0 if nothing is left to do, else 3."""
        found = lay_out(self.archives, self.data)
        print(f"images: {', '.join(f'{count:,} {name}' for name, count in found.items()) or 'none'}")
        device, status = pick_device(self.device), 3
        keep_freed()
        try:
            self.train_all(device)
            status = self.fill(device)
        except BenchError:
            raise
        except Exception:  # noqa: BLE001  (the parcel with what is finished must be packed in any case)
            traceback.print_exc()
        finally:
            self.pack()
        return status

    def unfinished(self) -> list[str]:
        """Return the trainings whose weights are missing or not final."""
        return [name for name in plan.SHARES if name != "matrix" and not self._is_final(name)]

    def _is_final(self, name: str) -> bool:
        try:
            card = json.loads(self._file(name).with_suffix(".json").read_text(encoding="utf-8"))
        except OSError:
            return False
        return "unfinished" not in card

    def _file(self, name: str) -> Path:
        written = f"{name}-rt1" if name.startswith("atop") else name
        return self.weights / self.dataset / f"{written}.safetensors"

    def train_all(self, device: str) -> None:
        """Run the unfinished trainings, each in its share of the time left."""
        todo = self.unfinished()
        if not todo:
            return
        began = time.perf_counter()
        parts = {split: load(self.dataset, split, data=self.data) for split in ("train", "validation", "test")}
        sizes = ", ".join(f"{len(part)} {split}" for split, part in parts.items())
        print(f"read {sizes} in {time.perf_counter() - began:.1f} s")
        for name in todo:
            # A training that was late continues at once, because the next ones start from its weights.
            while not self._is_final(name) and self.clock.left > 0:
                self._train(name, parts, device)

    def _train(self, name: str, parts: Mapping[str, Examples], device: str) -> None:
        later = [each for each in plan.SHARES if each == "matrix" or not self._is_final(each)]
        seconds = plan.seconds_for(later, self.clock.left)[name]
        print(f"{name}: {seconds:.0f} s of {self.clock.left:.0f} s", flush=True)
        train(
            name,
            parts["train"],
            parts["validation"],
            test=parts["test"],
            out=self.weights / self.dataset,
            checkpoints={start: locate(start, self.dataset, self.weights) for start in starts_from(name)},
            overrides=overrides(name, self.size),
            device=device,
            on_progress=said,
            command=f"bench train {name} --dataset {self.dataset}",
            every=self.size.every,
            budget=Budget(seconds),
        )

    def fill(self, device: str) -> int:
        """Fill the matrix until time is up; the next call does the rest."""
        status = 3
        if self.unfinished():
            print(f"no verdicts yet: {', '.join(self.unfinished())} go on in the next call")
            return status
        with until(self.clock.left):
            status = max(self._line(device, *line) for line in self.size.matrix)
        if self.results.is_dir():
            with until(5):
                bench(["table", "--results", str(self.results)])
                bench(["leaderboard", "--results", str(self.results), "--csv", str(self.results / "leaderboard.csv")])
        return status

    def _line(self, device: str, defenses: str, attacks: str, threat: str) -> int:
        words = {
            "dataset": self.dataset,
            "data": str(self.data),
            "weights": str(self.weights),
            "defenses": defenses,
            "attacks": attacks,
            "threat": threat,
            "n": str(self.size.n),
            "batch": str(self.size.batch),
            "device": device,
            "executor": "local",
            # Time is short, and a faster format gains most on such a device; the keys of the cells name it.
            "precision": "auto",
            "results": str(self.results),
        }
        command = ["run", *(word for key, value in words.items() for word in (f"--{key}", value))]
        print(f"bench {' '.join(command)}", flush=True)
        return bench(command)

    def pack(self) -> None:
        """Write the parcel."""
        folders = {f"weights/{self.dataset}": self.weights / self.dataset, f"results/{self.results.name}": self.results}
        for path in parcel.pack(self.dataset, folders, self.out):
            print(f"{path}  {path.stat().st_size / 2**20:.1f} MiB")


def overrides(name: str, size: Size) -> dict[str, str]:
    """Return the recipe values that a size changes in a training."""
    known = {field.name for field in fields(KINDS[training_of(name).training])}
    return {key: value for key, value in size.overrides.items() if key in known}


def said(step: TrainingProgress) -> None:
    """Print one line about an epoch."""
    losses = " ".join(f"{name} {value:.3f}" for name, value in step.losses.items())
    robust = "" if step.robust_accuracy is None else f" quick robust {step.robust_accuracy:.3f}"
    print(f"[{step.step}/{step.steps}] {step.stage} {losses} standard {step.accuracy:.3f}{robust}", flush=True)


def main(words: Sequence[str]) -> int:
    """Run one call, whose first word is the dataset, and return its exit status."""
    dataset, *rest = words
    given = options(f"gpu {dataset}", __doc__).parse_args(rest)
    return called(given, dataset, Study(dataset, given).run)
