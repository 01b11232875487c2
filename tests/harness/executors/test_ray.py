"""On a Ray cluster: the same bytes, nobody else can reach it, and nothing of it is left."""

import contextlib
import ipaddress
import multiprocessing
import os
import signal
import socket
import tempfile
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pandas as pd
import pytest

from bench.api.results import Results
from bench.datasets.digits import digits
from bench.errors import BenchError
from bench.harness.agenda import Agenda
from bench.harness.executors import choose, ray
from bench.harness.executors.ray import Ray
from bench.harness.executors.ray_cluster import MARK
from bench.harness.task import Task
from bench.results.outcome import Done
from tests.harness.executors.nodes import marked
from tests.harness.toy import DEFENSE, LOCAL, PROCESSES, documents, fill


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "toy.py"
    path.write_text(DEFENSE)
    return path


@pytest.mark.slow
def test_two_nodes_give_the_bytes_of_this_process_and_of_two(tmp_path, source, ray_nodes, secret):
    defenses = (f"{source}:noisy", "at")
    executors = {"local": LOCAL, "processes": PROCESSES, "ray": Ray(1, address=ray_nodes.address, every=True)}
    found, rows = {}, {}
    for name, executor in executors.items():
        results, watcher, _, store = fill(tmp_path / name, executor, *defenses)
        assert watcher.passed > 0
        assert len(results) == 4
        found[name] = documents(tmp_path / name)
        file = Results(tuple(results), store, digits("test").first(40), None).to_csv(tmp_path / f"{name}.csv")
        rows[name] = pd.read_csv(file).drop(columns="seconds", errors="ignore").to_csv()
    assert rows["ray"] == rows["local"] == rows["processes"]
    assert found["ray"] == found["local"] == found["processes"]
    assert len(found["ray"]) >= 4


SECRET = "5ec7e7" * 10


@pytest.fixture
def secret(monkeypatch):
    """Know the secret of the clusters that are started, to find their processes."""
    monkeypatch.setattr(ray.secrets, "token_hex", lambda _size: SECRET)
    yield f"{MARK}={SECRET}"
    assert not marked(f"{MARK}={SECRET}")
    assert not list(Path(tempfile.gettempdir()).glob(f"atop-bench-{SECRET[:16]}"))


def agenda_of(folder, source):
    """The first shards of two cells."""
    _, _, plan, _ = fill(folder, LOCAL, source)
    agenda = Agenda()
    for planned in plan:
        agenda.add(Task(planned.cell, 0, digits("test").first(16)))
    return agenda


@pytest.mark.slow
def test_a_cluster_of_this_machine_is_on_loopback_leaves_the_home_alone_and_ends_with_the_run(
    tmp_path, source, monkeypatch, secret
):
    agenda = agenda_of(tmp_path / "r", f"{source}:build")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    before, folders = signal.getsignal(signal.SIGTERM), set(Path(tempfile.gettempdir()).glob("bench-ray-*"))
    reports = Ray(1).run(agenda, lambda _task, _passed: None)
    first = next(reports)
    assert first.done is not None, first.error
    processes = [*marked(secret), *(each.pid for each in multiprocessing.active_children())]
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in processes]
    assert any(b"gcs_server" in command for command in commands)
    assert any(b"raylet/raylet" in command for command in commands)
    doors = listening(processes)
    assert len(doors) >= 3  # GCS, raylet, its objects, workers, our end
    assert all(door.is_loopback for door in doors), doors
    reports.close()  # as an interruption does
    assert not multiprocessing.active_children()
    assert set(Path(tempfile.gettempdir()).glob("bench-ray-*")) == folders
    assert not list((tmp_path / "home").iterdir())
    assert signal.getsignal(signal.SIGTERM) is before


def listening(processes):
    """The addresses that processes listen at, as Linux tells them."""
    sockets = set()
    for pid in processes:
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            with contextlib.suppress(OSError):
                sockets.add(str(descriptor.readlink()))
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:  # 0A: listens
                raw = bytes.fromhex(words[1].partition(":")[0])
                address = ipaddress.ip_address(b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4)))
                found.append(getattr(address, "ipv4_mapped", None) or address)
    return found


@pytest.mark.skipif(os.environ.get("BENCH_FAULTS") != "many", reason="BENCH_FAULTS=many runs it")
@pytest.mark.slow
def test_a_node_without_this_code_is_named_and_its_tasks_go_elsewhere(tmp_path, source, ray_nodes):
    strange = tmp_path / "strange" / "bench"
    strange.mkdir(parents=True)
    (strange / "__init__.py").write_text("raise ImportError('of another time')")
    before = set(ray_nodes.raylets)
    ray_nodes.ask(f"add {strange.parent}")
    said = []
    try:
        executor = Ray(1, address=ray_nodes.address, every=True, say=said.append)
        results, *_ = fill(tmp_path / "r", executor, f"{source}:build", batch=8)
    finally:
        for pid in set(ray_nodes.raylets) - before:
            ray_nodes.ask(f"remove {pid}")
    assert all(isinstance(result.outcome, Done) for result in results)
    assert len(said) == 1
    assert "gets no task: atop-bench does not import there (of another time)" in said[0]


@pytest.mark.skipif(os.environ.get("BENCH_FAULTS") != "many", reason="BENCH_FAULTS=many runs it")
@pytest.mark.slow
def test_an_address_that_answers_but_is_no_cluster_is_given_up(tmp_path, source, monkeypatch):
    monkeypatch.setattr(ray, "_JOIN", 2.0)
    monkeypatch.setattr(ray, "_END", 1.0)
    agenda = agenda_of(tmp_path / "r", f"{source}:build")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        executor = choose("ray", "cpu", 0, 1, address)
        assert executor.describe() == f"the Ray cluster at {address} on cpu"
        began = time.monotonic()
        with pytest.raises(BenchError, match=f"the Ray cluster at {address} is not ready after 2 s"):
            next(executor.run(agenda, lambda _task, _passed: None))
    assert time.monotonic() - began < 20
    assert not multiprocessing.active_children()


def test_an_address_where_nothing_answers_is_refused_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(BenchError, match=rf"--ray-address '127.0.0.1:{port}' does not answer \(Connection refused\)"):
        choose("ray", "cpu", 0, 1, f"127.0.0.1:{port}")
    assert time.monotonic() - began < ray._ANSWER + 1
    assert choose("ray", "cpu", 0, 0, f"127.0.0.1:{port}").threads == 1  # without tasks nobody is asked


@pytest.mark.parametrize("address", ["somewhere", "ray://10.0.0.1:10001", ":6379", "host:", "host:0", "host:99999"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(BenchError, match="is no address of a Ray cluster: give HOST:PORT"):
        choose("ray", "cpu", 0, 1, address)


def test_ray_is_asked_for_by_name_and_its_absence_is_one_line(monkeypatch):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(ray, "version", absent)
    with pytest.raises(BenchError, match=r"^--executor ray needs Ray, .*: pip install 'atop-bench\[ray\]'$"):
        choose("ray", "cpu", 0, 1)
    assert choose("auto", "cpu", 2, 5).describe() == "2 processes on cpu"
    for version in ("2.51.9", "1.99.0"):
        monkeypatch.setattr(ray, "version", lambda _name, version=version: version)
        with pytest.raises(BenchError, match=f"^Ray {version} is too old, 2.52 is the oldest that fits: pip install"):
            choose("ray", "cpu", 0, 1)
    monkeypatch.setattr(ray, "version", lambda _name: "2.52.0")
    assert choose("ray", "cpu", 2, 9).describe() == "Ray with 2 tasks at once on cpu"


def test_jobs_are_the_tasks_at_once_and_a_cluster_gives_all_it_has(monkeypatch):
    monkeypatch.setattr("bench.harness.executors.ray.require_reachable", lambda _address: None)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("bench.harness.executors.cores", lambda: 8)
    assert choose("ray", "cpu", 2, 9) == Ray(2, 4)
    assert choose("ray", "cpu", 0, 3) == Ray(3, 2)
    assert choose("ray", "cpu", 0, 9, "host:1") == Ray(1, 1, address="host:1", every=True)
    assert choose("ray", "cpu", 5, 9, "host:1") == Ray(5, 1, address="host:1")
    with pytest.raises(BenchError, match="--device 'cuda:1' on a Ray cluster: give cuda"):
        choose("ray", "cuda:1", 5, 9, "host:1")
