"""Run the tests marked `cuda`, then time a ResNet-18 beside the peers, in the minutes that a GPU is at hand.

    python -m gpu measure --archives FOLDER --minutes 9 --out FOLDER

The rows are those of `performance/`, in the order of what is least known; each is written when it is done. The
network is `at-resnet-18` where `python -m gpu cifar10` has trained it, else one that is trained here for a minute.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from collections.abc import Sequence

from bench.checkpoints import locate
from bench.datasets.load import load
from bench.defenses.training.budget import Budget
from bench.defenses.training.run import train
from bench.errors import BenchError
from bench.executors import pick_device
from gpu import parcel, plan
from gpu.archives import lay_out
from gpu.call import called, options
from gpu.study import TINY, overrides, said
from gpu.uninstalled import ROOT

NETWORK = "at-resnet-18"
ROWS, TINY_ROWS = "P9,P4,P3,P2,P5,P7,P1", "P4,P3"
# Shares of what is left: of the whole call for the tests, of the rest for the network.
TESTS, TRAINING = 0.35, 0.25


class Measurement:
    """One call: tests, a network to measure, the rows, the parcel."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.device, self.out, self.archives, self.tiny = given.device, given.out, given.archives, given.tiny
        self.clock = Budget(60 * given.minutes - plan.PACKING)
        self.data, self.weights = given.work / "data", given.work / "weights"
        self.measured = given.work / "performance"

    def run(self) -> int:
        """Do all of it; 1 where a test or a script failed, 3 where time was up before the last row."""
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
        """The tests marked `cuda`, where pytest is there."""
        if importlib.util.find_spec("pytest") is None:
            print("tests: pytest is not installed here, so none were run")
            return 0
        command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "tests/gpu", "-p", "no:cacheprovider"]
        if self.tiny:
            command += ["-k", "determin or memory"]
        if importlib.util.find_spec("xdist") is not None:
            # A GPU waits for small batches most of the time: several processes share it well.
            command += ["-n", "2" if self.tiny else "6"]
        return self._call(command, TESTS * self.clock.left)

    def network(self, device: str) -> str:
        """Which network the rows are about, trained here if it is not there yet."""
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
                overrides=overrides(NETWORK, TINY) if self.tiny else {},
                device=device,
                on_progress=said,
                command=f"bench train {NETWORK} --dataset cifar10",
                budget=Budget(TRAINING * self.clock.left),
            )
        return "resnet-18"

    def time(self, network: str) -> int:
        """The rows, until time is up."""
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
        """Run a command for so long; what it says goes into the log."""
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
    """Run one call."""
    given = options("gpu measure", __doc__).parse_args(words)
    return called(given, "measure", Measurement(given).run)
