"""A cluster of a run: only its own processes are found, and one GPU of several is what its workers see."""

import multiprocessing
import os

import pytest

from bench.harness.executors import ray_cluster
from bench.harness.executors.ray_cluster import MARK, Cluster, detach


@pytest.mark.parametrize(
    ("gpu", "seen", "left"), [("cuda:1", "4,7", "7"), ("cuda:1", "", "1"), ("cuda", "4,7", "4,7"), ("", "4,7", "4,7")]
)
@pytest.mark.parametrize("address", ["", "10.0.0.1:6379", "127.0.0.1:6379"])
def test_what_ray_is_told_before_it_is_imported(tmp_path, monkeypatch, gpu, seen, left, address):
    for name in ("setsid", "dup2"):
        monkeypatch.setattr(os, name, lambda *_: None)
    monkeypatch.setattr(ray_cluster.signal, "signal", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    environment = {"CUDA_VISIBLE_DEVICES": seen, "RAY_AUTH_TOKEN": "theirs"}
    monkeypatch.setattr(os, "environ", environment)
    detach(Cluster(address, 1, 1, gpu, "secret", str(tmp_path), ("/a", "/b")))
    assert environment["CUDA_VISIBLE_DEVICES"] == left
    assert environment["PYTHONPATH"] == "/a:/b"
    assert environment["RAY_AUTH_TOKEN"] == ("theirs" if address else "secret")
    assert environment.get(MARK) == (None if address else "secret")
    # Where the cluster has an address that others reach, this end has one, too.
    assert ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" in environment) == (address != "10.0.0.1:6379")


def test_only_what_carries_the_secret_is_ended():
    def sleeper(secret):
        return multiprocessing.get_context("spawn").Process(target=_sleep, daemon=True), secret

    started = []
    try:
        for process, secret in (sleeper("ours"), sleeper("ours-too"), sleeper("")):
            os.environ[MARK] = secret
            process.start()
            started.append(process)
    finally:
        del os.environ[MARK]
    ray_cluster.stop_marked("ours")
    started[0].join(20)
    alive = [process.is_alive() for process in started]
    for process in started:
        process.kill()
        process.join()
    assert alive == [False, True, True]


def _sleep():
    import time

    time.sleep(60)
