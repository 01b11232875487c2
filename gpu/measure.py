"""Run the tests marked `cuda`, then time a ResNet-18 against other libraries, in a few minutes of a GPU.

    python -m gpu measure --archives FOLDER --minutes 9 --out FOLDER

The rows are those of `performance/`, the least known ones first; each is written as soon as it is done. The
network is `at-resnet-18` if `python -m gpu cifar10` has trained it, else this call trains one for a minute.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from collections.abc import Sequence

from bench.catalogue.weights import locate
from bench.datasets.load import load
from bench.defenses.training.budget import Budget
from bench.defenses.training.run import train
from bench.errors import BenchError
from bench.harness.executors import pick_device
from gpu import parcel, plan
from gpu.archives import lay_out
from gpu.call import called, options
from gpu.calls import CALLS
from gpu.study import overrides, said
from gpu.uninstalled import ROOT

NETWORK = "at-resnet-18"
# The least known rows first. P6 needs weights from elsewhere, and P8 is about verdicts, not about time.
ROWS, TINY_ROWS = "P9,P4,P3,P2,P5,P7,P1", "P4,P3"
# Shares of the time left: of the whole call for the tests, then of the rest for the network.
TESTS, TRAINING = 0.35, 0.25


class Measurement:
    """One call: the tests, a network to measure, the rows, the parcel."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.device, self.out, self.archives, self.tiny = given.device, given.out, given.archives, given.tiny
        self.clock = Budget(60 * given.minutes - plan.PACKING)
        self.data, self.weights = given.work / "data", given.work / "weights"
        self.measured = given.work / "performance"

    def run(self) -> int:
        """Do everything; return 0, or 1 if a test or a script failed, or 3 if time was up before the last row."""
        found = lay_out(self.archives, self.data)
        print(f"images: {', '.join(f'{count:,} {name}' for name, count in found.items()) or 'none'}")
        device = pick_device(self.device)
        try:
            statuses = [self.test()]
            statuses.append(self.time(self.network(device)))
            return max(statuses)
        finally:
            for path in parcel.pack("measure", {"performance/gpu": self.measured}, self.out):
                print(f"{path}  {path.stat().st_size / 2**20:.1f} MiB")

    def test(self) -> int:
        """Run the tests marked `cuda`, if pytest is installed, and return their exit status."""
        if importlib.util.find_spec("pytest") is None:
            print("tests: pytest is not installed here, so none were run")
            return 0
        command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "tests/gpu", "-p", "no:cacheprovider"]
        if self.tiny:
            command += ["-k", "determin or memory"]
        if importlib.util.find_spec("xdist") is not None:
            # With small batches a GPU is idle most of the time, so several processes share it well.
            command += ["-n", "2" if self.tiny else "6"]
        return self._call(command, TESTS * self.clock.left)

    def network(self, device: str) -> str:
        """Return the network that the rows measure, and train it first if there is none yet."""
        try:
            locate(NETWORK, "cifar10", self.weights)
        except BenchError:
            try:
                parts = {split: load("cifar10", split, data=self.data) for split in ("train", "validation")}
            except BenchError as error:
                print(f"{error}: the rows are about the shipped small network")
                return "small"
            train(
                NETWORK,
                parts["train"],
                parts["validation"],
                out=self.weights / "cifar10",
                checkpoints={},
                overrides=overrides(NETWORK, CALLS["cifar10"].tiny) if self.tiny else {},
                device=device,
                on_progress=said,
                command=f"bench train {NETWORK} --dataset cifar10",
                budget=Budget(TRAINING * self.clock.left),
            )
        return "resnet-18"

    def time(self, network: str) -> int:
        """Time the rows until time is up and return the exit status."""
        choices = {
            "device": self.device,
            "network": network,
            "data": str(self.data),
            "trained": str(self.weights),
            "only": TINY_ROWS if self.tiny else ROWS,
            "jobs": "1",
            "out": str(self.measured / "results.json"),
            **({"n": "4", "repetitions": "1"} if self.tiny else {}),
        }
        words = [word for key, value in choices.items() for word in (f"--{key}", value)]
        return self._call([sys.executable, str(ROOT / "performance" / "run.py"), *words], self.clock.left)

    def _call(self, command: Sequence[str], seconds: float) -> int:
        """Run a command for at most `seconds`, print its output into the log, and return 0, 1 or 3."""
        print(" ".join(["python", *command[1:]]), flush=True)
        running = subprocess.Popen(  # noqa: S603  (our own scripts)
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            said, _ = running.communicate(timeout=max(seconds, 1))
            status = 1 if running.returncode else 0
        except subprocess.TimeoutExpired:
            running.terminate()
            said, _ = running.communicate()
            said, status = f"{said}\nstopped after {seconds:.0f} s: time is up", 3
        print(said, flush=True)
        return status


def main(words: Sequence[str]) -> int:
    """Run one measurement and return its exit status."""
    given = options("gpu measure", __doc__).parse_args(words)
    return called(given, "measure", Measurement(given).run)
