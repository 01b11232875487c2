"""A rehearsal of every call for a borrowed GPU, tiny and on a pretended one, that finds faults before the loan.

    python -m gpu rehearsal [CALL ...]

Archives of a few enlarged digits stand for CIFAR and Imagenette. Each call runs in its own process, as on the GPU. The
training of CIFAR-10 is killed in the middle and started again. The results must fit the bounds of a parcel and unpack
into a repository, and the same call again must find nothing left to do.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from bench.catalogue.weights import card
from bench.datasets import imagenette
from bench.datasets.cifar import CIFARS
from bench.datasets.digits import digits
from bench.defenses.weights_file import read_state
from gpu import parcel
from gpu.calls import CALLS, Call, checkpoint
from gpu.uninstalled import ROOT

PRETENDING = ROOT / "gpu" / "pretending"
MEASURE = "measure"
KILLED = "cifar10"  # the call that is killed in the middle; it also takes the longest, so it begins first


@dataclass(frozen=True)
class Archives:
    """The archives of a dataset: what they hold, and how many images.

    Attributes:
        classes: names of their folders, in the order of the labels.
        train: training images of each class, of which a tenth becomes the validation split.
        test: test images of each class.
        scale: pixels a side for each of a digit's.
        inside: the folder that the members begin with.
        test_folder: the folder of the test images.
    """

    classes: Sequence[str]
    train: int
    test: int
    scale: int = 4
    inside: str = ""
    test_folder: str = "test"


ARCHIVES = {
    "cifar10": Archives(CIFARS["cifar10"].classes, 16, 3),
    "cifar100": Archives(CIFARS["cifar100"].classes, 2, 1),
    # A little larger than the images of the call, which are resized.
    "imagenette": Archives(tuple(imagenette.CLASSES), 4, 1, 5, "imagenette2-160/", "val"),
}


class FailedRehearsalError(RuntimeError):
    """Raised when a call would have failed on the GPU."""


def make_archives(folder: Path, dataset: str) -> None:
    """Write an archive of test images and two, `DATASET-train-N.zip`, of training images: enlarged, tinted digits."""
    images, made = digits("train"), ARCHIVES[dataset]
    for split, count in (("train", made.train), (made.test_folder, made.test)):
        halves = (
            [f"{dataset}-{split}-{half}.zip" for half in (0, 1)] if split == "train" else [f"{dataset}-{split}.zip"]
        )
        files = [zipfile.ZipFile(folder / name, "w") for name in halves]
        for label, name in enumerate(made.classes):
            of_digit = np.flatnonzero(images.y == label % 10)
            for number in range(count):
                row = of_digit[(number + label // 10 * count + (0 if split == "train" else 50)) % len(of_digit)]
                pixels = np.kron(images.x[row, 0], np.ones((made.scale, made.scale), np.float32))
                tint = 0.3 + 0.7 * np.array([label % 3, label // 3 % 3, label // 9 % 3]) / 2
                held = io.BytesIO()
                Image.fromarray((255 * pixels[..., None] * tint).astype(np.uint8)).save(held, "PNG")
                place = f"{made.inside}{split}/{name}/{number:04d}.png"
                files[number % len(files)].writestr(place, held.getvalue())
        for file in files:
            file.close()


class Rehearsal:
    """The calls of a rehearsal, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.archives = folder, folder / "archives"
        self.archives.mkdir()
        for dataset in ARCHIVES:
            make_archives(self.archives, dataset)

    def command(self, call: str, minutes: float = 30) -> list[str]:
        """Return the command of a call as on the borrowed machine, plus `--tiny` and time for a busy processor."""
        work, out = self.folder / call, self.folder / f"{call}-out"
        folders = {"archives": self.archives, "work": work, "out": out}
        words = [word for key, value in folders.items() for word in (f"--{key}", str(value))]
        return [sys.executable, "-m", "gpu", call, "--tiny", "--minutes", str(minutes), *words]

    def start(self, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a call on the pretended GPU in its own process."""
        path = os.pathsep.join([str(PRETENDING), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        with log.open("ab") as file:
            return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file)  # noqa: S603

    def call(self, call: str, *, kill: Callable[[], bool] | None = None) -> str:
        """Run a call to its end, or until `kill` returns true; return its output.

        Raises:
            FailedRehearsalError: the call failed, or it ended before it could be killed.
        """
        log = self.folder / f"{call}.txt"
        before = log.stat().st_size if log.exists() else 0
        running = self.start(self.command(call), log)
        while running.poll() is None:
            if kill is not None and kill():
                running.send_signal(signal.SIGKILL)
                running.wait()
                return log.read_text()[before:]
            time.sleep(0.02)
        said = log.read_text()[before:]
        if kill is not None:
            raise FailedRehearsalError(f"{call} ended with {running.returncode} before it was killed:\n{said[-3000:]}")
        if running.returncode:
            raise FailedRehearsalError(f"{call} ended with {running.returncode}:\n{said[-5000:]}")
        return said

    def bounded(self, call: str, most: int = parcel.MOST_FILES) -> None:
        """Check the files of a call against the bounds of a parcel.

        Raises:
            FailedRehearsalError: the files are too many or too large.
        """
        left = [path for path in (self.folder / f"{call}-out").rglob("*") if path.is_file()]
        sizes = [path.stat().st_size for path in left]
        if len(left) > most or max(sizes, default=0) > parcel.LARGEST:
            raise FailedRehearsalError(f"{call} left {len(left)} files of up to {max(sizes):,} bytes")

    def at_home(self, call: Call) -> Path:
        """Unpack a parcel, check that it holds the finished weights of every training, and return its verdicts.

        Raises:
            FailedRehearsalError: weights are unfinished, verdicts are missing, or images are included.
        """
        home = self.folder / f"{call.name}-home"
        parcel.unpack(self.folder / f"{call.name}-out", home)
        for name in call.trainings:
            path = home / "defenses" / "weights" / call.folder / f"{checkpoint(name)}.safetensors"
            read_state(path)
            if "unfinished" in card(path):
                raise FailedRehearsalError(f"{path.name} came home unfinished")
        verdicts = home / "results" / call.results
        if not list(verdicts.rglob("*.json")) or list(verdicts.rglob("*.safetensors")):
            raise FailedRehearsalError(f"{verdicts} lacks verdicts, or holds images of the dataset")
        return verdicts

    def study(self, name: str, *, killed: bool = False) -> None:
        """Run one study, killed and restarted if asked, then once more, when nothing may be left to do."""
        call = CALLS[name].rehearsed()
        if killed:
            notes = self.folder / name / "weights" / call.folder
            said = self.call(name, kill=lambda: any(notes.glob("at-*.unfinished")))
            if "at-resnet-18: " not in said:
                raise FailedRehearsalError(f"{name} was not killed in the training of at-resnet-18")
        said = self.call(name)
        if killed and "standard-resnet-18: " in said:
            raise FailedRehearsalError(f"{name} trained again what was finished:\n{said[:2000]}")
        self.bounded(name)
        self.at_home(call)
        again = self.call(name)
        lines = [line for line in again.splitlines() if "to run" in line]
        if not lines or any(" 0 to run" not in line for line in lines) or "[1/" in again:
            raise FailedRehearsalError(f"{name} typed again found something to do: {lines}")

    def measure(self) -> None:
        """Run the measurement and check that its rows and its log are in the parcel."""
        said = self.call("measure")
        self.bounded("measure")
        written = parcel.unpack(self.folder / "measure-out", self.folder / "measure-home")
        if "passed" not in said or not any(path.name == "results.json" for path in written):
            raise FailedRehearsalError(f"measure left {[path.name for path in written]}:\n{said[-3000:]}")


def main(words: Sequence[str]) -> int:
    """Run the calls that are named, or all, two at a time; a failure raises."""
    options = argparse.ArgumentParser(
        "python -m gpu rehearsal", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    every = [*CALLS, MEASURE]
    options.add_argument("calls", nargs="*", choices=[*every, "all"], default="all", help="by default all")
    asked = options.parse_args(words).calls
    wanted = every if "all" in asked else asked
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        rehearsal = Rehearsal(Path(folder))
        tasks = {name: partial(rehearsal.study, name, killed=name == KILLED) for name in CALLS}
        tasks[MEASURE] = rehearsal.measure
        with ThreadPoolExecutor(2) as pool:
            for each in [pool.submit(task) for name, task in tasks.items() if name in wanted]:
                each.result()
    told = ", ".join(f"{name} (killed once)" if name == KILLED else name for name in tasks if name in wanted)
    print(f"rehearsed {told} in {time.perf_counter() - began:.0f} s")
    return 0
