"""What is asked for is resolved and checked before anything is computed."""

from __future__ import annotations

from bench.api.asked import resolve
from bench.catalogue.options import settled
from bench.harness.watcher import Silent


def test_a_single_cell_of_many_shards_keeps_all_processes_busy(tmp_path):
    """Work is cut by shard: the number of processes does not depend on the number of cells."""
    options = {
        "defenses": "at",
        "attacks": "fgsm",
        "threat": "Linf:0.2",
        "results": tmp_path,
        "device": "cpu",
        "jobs": 3,
        "executor": "processes",
    }
    one = resolve(settled({**options, "n": 64, "batch": 64}), Silent())
    many = resolve(settled({**options, "n": 64, "batch": 16}), Silent())

    assert [each.executor(planned.cell for planned in each.known.plan).jobs for each in (one, many)] == [1, 3]


def test_the_address_of_a_cluster_in_the_environment_stays_for_runs_that_want_it(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_RAY_ADDRESS", "head:1")
    options = settled({"results": tmp_path, "n": 2, "checks": "none", "defenses": "at", "attacks": "fgsm"})
    assert resolve(options, Silent()).options.ray_address == "head:1"
