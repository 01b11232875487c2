"""Train a defense's networks and fill its matrix, in a few minutes of a GPU: docs/gpu.md.

    python -m gpu cifar10 --archives FOLDER --minutes 9 --out FOLDER

Finished work is kept in `build/gpu` and not repeated, so a second call continues where the first one stopped. On
another machine it continues from what was unpacked into the checkout. Before its time is up, a call packs its weights
with cards, its verdicts and its log.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import signal
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import FrameType

from bench.catalogue.training import starts_from
from bench.catalogue.weights import card, locate
from bench.cli import main as bench
from bench.datasets.examples import Examples
from bench.datasets.load import load
from bench.defenses import diffpure
from bench.defenses.training.budget import Budget
from bench.defenses.training.recipe import read_recipe
from bench.defenses.training.run import train
from bench.defenses.training.validation import TrainingProgress
from bench.errors import BenchError
from bench.harness.executors import pick_device
from bench.machine.system import keep_freed
from gpu import parcel, plan
from gpu.archives import lay_out
from gpu.call import called, options
from gpu.calls import CALLS, MATRIX, Call, Line, Size, checkpoint
from gpu.uninstalled import ROOT


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
    """One call: the unfinished trainings, then the matrix, then the parcel.

    Args:
        call: what is trained and attacked.
        given: the options of the call.
        home: the checkout, whose weights and verdicts of earlier calls are taken as done.
    """

    def __init__(self, call: Call, given: argparse.Namespace, home: Path = ROOT) -> None:
        self.call = call.rehearsed() if given.tiny else call
        self.size, self.device, self.out = self.call.full, given.device, given.out
        self.clock = Budget(60 * given.minutes - plan.PACKING)
        # A rehearsal is about the calls themselves, so it does everything anew.
        self.home = None if given.tiny else home
        self.data, self.weights = given.work / "data", given.work / "weights"
        self.results = given.work / "results" / call.results
        self.archives = given.archives

    def run(self) -> int:
        """Do everything; return the exit status 0 if nothing is left to do, else 3."""
        if "diffusers" in self.call.requires:
            diffpure.build(diffpure.architecture(self.call.spec, diffpure.GROUPS), self.call.spec)  # or a line why not
        found = lay_out(self.archives, self.data)
        print(f"images: {', '.join(f'{count:,} {name}' for name, count in found.items()) or 'none'}")
        self.bring()
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

    def bring(self) -> None:
        """Copy verdicts of earlier calls on other machines, which were unpacked into the checkout."""
        self.weights.mkdir(parents=True, exist_ok=True)
        kept = self.home / "results" / self.call.results if self.home is not None else None
        if kept is not None and kept.is_dir() and not self.results.exists():
            shutil.copytree(kept, self.results)
            print(f"verdicts of earlier calls: {kept}")

    def unfinished(self) -> list[str]:
        """Return the trainings whose weights are missing or not final."""
        return [name for name in self.call.trainings if not self._is_final(name)]

    def _is_final(self, name: str) -> bool:
        try:
            return "unfinished" not in card(self._file(name))
        except BenchError:
            return False

    def _file(self, name: str) -> Path:
        """Return the file of a training's weights: that of this machine, else that of the checkout, if there is one."""
        own = self.weights / self.call.folder / f"{checkpoint(name)}.safetensors"
        return own if own.is_file() or self.home is None else locate(own.stem, self.call.folder, self.weights)

    def train_all(self, device: str) -> None:
        """Run the unfinished trainings, each in its share of the time left."""
        todo = self.unfinished()
        if not todo:
            return
        began = time.perf_counter()
        parts = {split: load(self.call.dataset, split, data=self.data) for split in ("train", "validation", "test")}
        if self.size.judged is not None:
            parts["test"] = parts["test"].first(min(self.size.judged, len(parts["test"])))
        sizes = ", ".join(f"{len(part)} {split}" for split, part in parts.items())
        print(f"read {sizes} in {time.perf_counter() - began:.1f} s")
        for name in todo:
            # A training that was late continues at once, because the next ones start from its weights.
            while not self._is_final(name) and self.clock.left > 0:
                self._train(name, parts, device)

    def _train(self, name: str, parts: Mapping[str, Examples], device: str) -> None:
        later = [each for each in self.call.shares if each == MATRIX or not self._is_final(each)]
        seconds = plan.seconds_for(self.call.shares, later, self.clock.left)[name]
        print(f"{name}: {seconds:.0f} s of {self.clock.left:.0f} s", flush=True)
        train(
            name,
            parts["train"],
            parts["validation"],
            test=parts["test"],
            out=self.weights / self.call.folder,
            checkpoints={start: self._file(start) for start in starts_from(name)},
            overrides=overrides(name, self.size),
            device=device,
            on_progress=said,
            command=f"bench train {name} --dataset {shlex.quote(self.call.dataset)}",
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
            status = max(self._line(device, line) for line in self.size.matrix)
        if self.results.is_dir():
            with until(5):
                bench(["table", "--results", str(self.results)])
                bench(["leaderboard", "--results", str(self.results), "--csv", str(self.results / "leaderboard.csv")])
        return status

    def _line(self, device: str, line: Line) -> int:
        words = {
            "dataset": self.call.dataset,
            "data": str(self.data),
            "weights": str(self.weights),
            "defenses": line.defenses,
            "attacks": line.attacks,
            "threat": line.threats,
            "n": str(line.n),
            "batch": str(self.size.batch),
            "device": device,
            "executor": "local",
            # Time is short, and a faster format gains most on such a device; the keys of the cells name it.
            "precision": "auto",
            "results": str(self.results),
        }
        command = ["run", *(word for key, value in words.items() for word in (f"--{key}", value))]
        print(f"bench {shlex.join(command)}", flush=True)
        return bench(command)

    def pack(self) -> None:
        """Write the parcel: the weights of this call's trainings, and its verdicts."""
        place = f"weights/{self.call.folder}"
        own = {f"{place}/{checkpoint(name)}{end}" for name in self.call.trainings for end in (".safetensors", ".json")}
        folders = {place: self.weights / self.call.folder, f"results/{self.results.name}": self.results}
        # Another call may have left its weights in the same folder, and has packed them itself.
        written = parcel.pack(
            self.call.name, folders, self.out, keep=lambda member: member in own or not member.startswith("weights/")
        )
        for path in written:
            print(f"{path}  {path.stat().st_size / 2**20:.1f} MiB")


def overrides(name: str, size: Size) -> dict[str, str]:
    """Return the recipe values that a size changes in a training."""
    known = {field.name for field in fields(read_recipe(name, "default", {}))}
    return {key: value for key, value in (size.overrides or {}).items() if key in known}


def said(step: TrainingProgress) -> None:
    """Print one line about an epoch."""
    losses = " ".join(f"{name} {value:.3f}" for name, value in step.losses.items())
    robust = "" if step.robust_accuracy is None else f" quick robust {step.robust_accuracy:.3f}"
    print(f"[{step.step}/{step.steps}] {step.stage} {losses} standard {step.accuracy:.3f}{robust}", flush=True)


def main(words: Sequence[str]) -> int:
    """Run one call, whose first word is its name, and return its exit status."""
    name, *rest = words
    given = options(f"gpu {name}", __doc__).parse_args(rest)
    return called(given, name, lambda: Study(CALLS[name], given).run())
