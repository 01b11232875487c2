"""F19, F20: parts of a Ray cluster die, or a run changes its executor: nothing is lost, and the bytes are the same."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from bench.catalogue.selection import Selection
from bench.datasets.digits import digits
from bench.datasets.examples import Examples
from bench.errors import BenchError
from bench.harness import matrix
from bench.harness.executors import ray
from bench.harness.executors.ray import Ray
from bench.harness.executors.ray_cluster import MARK
from bench.harness.run import run
from bench.harness.task import Cause
from bench.results.outcome import Done
from bench.results.store import Store
from bench.threats import ThreatModel
from bench.types import ImageSpec
from tests.harness.executors.nodes import marked
from tests.harness.toy import DEFENSE, LOCAL, PROCESSES, Quiet, documents

MANY = os.environ.get("BENCH_FAULTS") == "many"
many = pytest.mark.skipif(not MANY, reason="BENCH_FAULTS=many runs it")

# Only a batch of five does harm: a defense is described, and recognized, by other batches.
HARMFUL = (
    DEFENSE
    + """
import signal, time

class Harmful(Pixels):
    def __init__(self, folder, raylet):
        super().__init__(0.2)
        self.folder, self.raylet = folder, raylet
    def forward(self, x):
        if len(x) == 5:
            self.harm()
        return super().forward(x)
    def harm(self):
        if os.path.exists(self.folder + "/slow"):
            time.sleep(0.4)
        if os.path.exists(self.folder + "/worker"):
            self.once("worker", os.getpid())
        if os.getppid() == self.raylet:
            self.once("node", self.raylet, os.getpid())
        elif self.raylet:
            # The other node leaves it a task, however fast it is.
            until = time.monotonic() + 30
            while os.path.exists(self.folder + "/node") and time.monotonic() < until:
                time.sleep(0.05)
    def once(self, name, *victims):
        try:
            os.rename(f"{self.folder}/{name}", f"{self.folder}/{name}-killed")
        except OSError:
            return
        for victim in victims:
            os.kill(victim, signal.SIGKILL)

def harmful(folder: str, raylet: int = 0):
    return Harmful(folder, raylet)
"""
)


class Watched:
    """An executor that keeps the reports, and does something after the first."""

    def __init__(self, inner, then=lambda: None):
        self.inner, self.then, self.reports = inner, then, []
        self.device, self.jobs, self.threads = inner.device, inner.jobs, inner.threads

    def describe(self):
        return self.inner.describe()

    def run(self, agenda, on_pass):
        for report in self.inner.run(agenda, on_pass):
            self.reports.append(report)
            yield report
            if len(self.reports) == 1:
                self.then()


@pytest.fixture
def place(tmp_path):
    """A folder with the harmful defense; what lies there tells it what to do."""
    (tmp_path / "toy.py").write_text(HARMFUL)
    return tmp_path


def fill(place, results, executor, raylet=0, examples=None, name="harmful"):
    examples = digits("test").first(40) if examples is None else examples
    arguments = f"[folder={place},raylet={raylet}]" if name == "harmful" else ""
    request = Selection.of(f"{place}/toy.py:{name}{arguments}", "fgsm", (ThreatModel.parse("Linf:0.1"),))
    plan = matrix.build(request, examples, batch=5)
    executor = Watched(executor) if not isinstance(executor, Watched) else executor
    found = run(plan, examples, Store(place / results), executor, Quiet())
    assert all(isinstance(result.outcome, Done) for result in found), [result.outcome for result in found]
    return executor.reports


def same(place, a, b, record_property):
    here, there = documents(place / a), documents(place / b)
    assert here
    assert here == there
    record_property("lost", 0)
    record_property("digests", f"{len(here)}/{len(there)}")


@pytest.mark.slow
@pytest.mark.fault("F19")
def test_a_killed_worker_and_a_lost_node_cost_their_shards(place, ray_nodes, record_property):
    record_property("injections", 2)
    for name in ("worker", "node"):
        (place / name).touch()
    executor, raylet = Ray(1, address=ray_nodes.address, every=True), ray_nodes.raylets[1]
    try:
        reports = fill(place, "ray", executor, raylet)
    finally:
        ray_nodes.ask(f"remove {raylet}")
        ray_nodes.ask("add")
    assert (place / "worker-killed").exists()
    assert (place / "node-killed").exists()
    lost = [report for report in reports if report.done is None]
    assert [report.cause for report in lost] == [Cause.LOST] * 2
    assert len(reports) == 8 + len(lost)
    fill(place, "local", LOCAL, raylet)
    same(place, "ray", "local", record_property)


SECRET = "0dd5ec7e7" * 7


@pytest.mark.slow
@pytest.mark.fault("F19")
@pytest.mark.parametrize(
    "victim", [pytest.param(name, marks=many) for name in ("gcs_server", "raylet/raylet")] + ["everything"]
)
def test_a_cluster_that_dies_ends_the_run_with_a_line_and_any_executor_goes_on(
    place, victim, monkeypatch, record_property
):
    monkeypatch.setattr(ray.secrets, "token_hex", lambda _size: SECRET)
    (place / "slow").touch()
    began = []

    def kill():
        began.append(time.monotonic())
        for pid in marked(f"{MARK}={SECRET}"):  # everything: as `ray stop --force` does
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if victim == "everything" or victim.encode() in command.split(b"\0")[0]:
                os.kill(pid, signal.SIGKILL)

    executor = Watched(Ray(1), kill)
    with pytest.raises(BenchError, match="what is finished is stored") as error:
        fill(place, "r", executor)
    assert "\n" not in str(error.value)
    assert time.monotonic() - began[0] < 30
    assert not marked(f"{MARK}={SECRET}")
    (place / "slow").unlink()
    stored = [report.task.index for report in executor.reports if report.done is not None]
    assert 1 <= len(stored) < 8
    again = fill(place, "r", LOCAL)
    assert sorted([*stored, *(report.task.index for report in again)]) == list(range(8))
    fill(place, "local", LOCAL)
    same(place, "r", "local", record_property)


@many
@pytest.mark.slow
@pytest.mark.fault("F19")
def test_images_beyond_the_memory_of_a_node_are_put_on_its_disk(place, ray_nodes, record_property):
    (place / "toy.py").write_text(
        DEFENSE
        + """
class Large(Pixels):
    def forward(self, x):
        return super().forward(nn.functional.adaptive_avg_pool2d(x, 8))

def large():
    return Large(0.0)
"""
    )
    n, shape = 30, (1, 1024, 1024)  # 4 MiB each
    x = np.random.default_rng(0).random((n, *shape), dtype=np.float32)
    y = np.arange(n, dtype=np.int64) % 10
    examples = Examples("large", "test", [f"large-{i}" for i in range(n)], x, y, ImageSpec(shape, 10))
    assert x.nbytes > ray_nodes.store
    fill(place, "ray", Ray(1, address=ray_nodes.address, every=True), examples=examples, name="large")
    fill(place, "local", LOCAL, examples=examples, name="large")
    same(place, "ray", "local", record_property)


class Enough(Exception):
    """The run is stopped here."""


@pytest.mark.slow
@many
@pytest.mark.fault("F20")
def test_a_run_that_changes_its_executor_twice_has_the_same_bytes(place, ray_nodes, record_property):
    def stop():
        raise Enough

    computed = []
    for executor in (LOCAL, PROCESSES, Ray(1, address=ray_nodes.address, every=True)):
        part = Watched(executor, stop)
        with pytest.raises(Enough):
            fill(place, "r", part)
        computed += part.reports
    computed += fill(place, "r", Ray(1, address=ray_nodes.address, every=True))
    assert sorted(report.task.index for report in computed) == list(range(8))
    fill(place, "local", LOCAL)
    same(place, "r", "local", record_property)


@pytest.fixture
def short():
    """A folder for temporary files with a short name, for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="b", dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.slow
@many
@pytest.mark.fault("F19")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_command_leaves_no_process_and_no_folder(place, signum, short, record_property):
    (place / "slow").touch()
    mark = f"BENCH_TEST_STOPPED={place}"
    command = [sys.executable, "-m", "bench", "run", "--executor", "ray", "--jobs", "1", "--checks", "none"]
    command += ["--defenses", f"{place}/toy.py:harmful[folder={place}]", "--attacks", "fgsm", "--threat", "Linf:0.1"]
    command += ["--n", "40", "--batch", "5", "--results", str(place / "r")]
    environment = {**os.environ, "BENCH_TEST_STOPPED": str(place), "TMPDIR": str(short)}
    with subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            wait(lambda: process.poll() is not None or list((place / "r").rglob("*shard*")), 100)
            os.killpg(process.pid, signum)
            said, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == (130 if signum == signal.SIGINT else -signum), said
    assert "Traceback" not in said
    if signum == signal.SIGINT:
        assert "resume with:" in said
    wait(lambda: not marked(mark) and not list(short.glob("bench-ray-*")), 30)
    record_property("lost", 0)


def wait(until, seconds):
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
