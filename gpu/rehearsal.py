"""A rehearsal of every call for a borrowed GPU, tiny and on a pretended one, that finds faults before the loan.

    python -m gpu rehearsal

Archives of a few enlarged digits stand for CIFAR. Each call runs in its own process, as on the GPU. The training
of CIFAR-10 is killed in the middle and started again. The results must fit the bounds of a parcel and unpack into
a repository, and the same call again must find nothing left to do.
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
from pathlib import Path

import numpy as np
from PIL import Image

from bench.catalogue.weights import card
from bench.datasets.cifar import CIFARS
from bench.datasets.digits import digits
from bench.defenses.weights_file import read_state
from gpu import parcel, plan
from gpu.uninstalled import ROOT

# Images of each class; a tenth of the training images becomes the validation split.
TRAIN, TEST = {"cifar10": 16, "cifar100": 2}, {"cifar10": 3, "cifar100": 1}
PRETENDING = ROOT / "gpu" / "pretending"


class FailedRehearsalError(RuntimeError):
    """Raised when a call would have failed on the GPU."""


def make_archives(folder: Path, dataset: str) -> None:
    """Write `DATASET-test.zip` and two `DATASET-train-N.zip` with enlarged, tinted digits."""
    images = digits("train")
    classes = CIFARS[dataset].classes
    for split, count in (("train", TRAIN[dataset]), ("test", TEST[dataset])):
        halves = (
            [f"{dataset}-{split}-{half}.zip" for half in (0, 1)] if split == "train" else [f"{dataset}-{split}.zip"]
        )
        files = [zipfile.ZipFile(folder / name, "w") for name in halves]
        for label, name in enumerate(classes):
            of_digit = np.flatnonzero(images.y == label % 10)
            for number in range(count):
                row = of_digit[(number + label // 10 * count + (50 if split == "test" else 0)) % len(of_digit)]
                pixels = np.kron(images.x[row, 0], np.ones((4, 4), np.float32))
                tint = 0.3 + 0.7 * np.array([label % 3, label // 3 % 3, label // 9 % 3]) / 2
                held = io.BytesIO()
                Image.fromarray((255 * pixels[..., None] * tint).astype(np.uint8)).save(held, "PNG")
                files[number % len(files)].writestr(f"{split}/{name}/{number:04d}.png", held.getvalue())
        for file in files:
            file.close()


class Rehearsal:
    """The calls of a rehearsal, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.archives = folder, folder / "archives"
        self.archives.mkdir()
        for dataset in CIFARS:
            make_archives(self.archives, dataset)

    def command(self, call: str, minutes: float = 9) -> list[str]:
        """Return the command of a call as on the borrowed machine, plus `--tiny`."""
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

    def at_home(self, dataset: str) -> Path:
        """Unpack a parcel, check that it holds the finished weights of every training, and return its verdicts.

        Raises:
            FailedRehearsalError: weights are unfinished, verdicts are missing, or images are included.
        """
        home = self.folder / f"{dataset}-home"
        parcel.unpack(self.folder / f"{dataset}-out", home)
        for name in plan.SHARES:
            if name == "matrix":
                continue
            (path,) = (home / "defenses" / "weights" / dataset).glob(f"{name}*.safetensors")
            read_state(path)
            if "unfinished" in card(path):
                raise FailedRehearsalError(f"{path.name} came home unfinished")
        verdicts = home / "results" / f"{dataset}-resnet-18"
        if not list(verdicts.rglob("*.json")) or list(verdicts.rglob("*.safetensors")):
            raise FailedRehearsalError(f"{verdicts} lacks verdicts, or holds images of the dataset")
        return verdicts

    def study(self, dataset: str, *, killed: bool) -> None:
        """Run one study, killed and restarted if asked, then once more, when nothing may be left to do."""
        if killed:
            notes = self.folder / dataset / "weights" / dataset
            said = self.call(dataset, kill=lambda: any(notes.glob("at-*.unfinished")))
            if "at-resnet-18: " not in said:
                raise FailedRehearsalError(f"{dataset} was not killed in the training of at-resnet-18")
        said = self.call(dataset)
        if killed and "standard-resnet-18: " in said:
            raise FailedRehearsalError(f"{dataset} trained again what was finished:\n{said[:2000]}")
        self.bounded(dataset)
        self.at_home(dataset)
        again = self.call(dataset)
        lines = [line for line in again.splitlines() if "to run" in line]
        if not lines or any(" 0 to run" not in line for line in lines) or "[1/" in again:
            raise FailedRehearsalError(f"{dataset} typed again found something to do: {lines}")

    def measure(self) -> None:
        """Run the measurement and check that its rows and its log are in the parcel."""
        said = self.call("measure")
        self.bounded("measure")
        written = parcel.unpack(self.folder / "measure-out", self.folder / "measure-home")
        if "passed" not in said or not any(path.name == "results.json" for path in written):
            raise FailedRehearsalError(f"measure left {[path.name for path in written]}:\n{said[-3000:]}")


def main(words: Sequence[str]) -> int:
    """Run all calls, two at a time; a failure raises."""
    options = argparse.ArgumentParser(
        "python -m gpu rehearsal", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.parse_args(words)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        rehearsal = Rehearsal(Path(folder))

        def others() -> None:
            rehearsal.study("cifar100", killed=False)
            rehearsal.measure()

        with ThreadPoolExecutor(2) as pool:
            running = [pool.submit(rehearsal.study, "cifar10", killed=True), pool.submit(others)]
            for each in running:
                each.result()
    print(f"rehearsed measure, cifar10 (killed once) and cifar100 in {time.perf_counter() - began:.0f} s")
    return 0
