"""The process that talks to Ray, against a stand-in for Ray: what it makes of failures and of the nodes."""

import multiprocessing
import socket
from types import SimpleNamespace

import pytest

from bench.errors import BenchError
from bench.harness.executors import ray_driver
from bench.harness.executors.ray_cluster import Cluster
from bench.harness.executors.ray_driver import Driver
from bench.harness.task import Cause

exceptions = pytest.importorskip("ray.exceptions")


def cluster(tmp_path, **fields):
    usual = {"address": "", "tasks": 2, "threads": 2, "gpu": "", "secret": "s", "folder": str(tmp_path), "paths": ()}
    return Cluster(**{**usual, **fields})


class Nodes:
    """As much of Ray as a look at the nodes needs."""

    def __init__(self, *resources):
        self.all = [
            {"NodeID": f"n{i}", "NodeName": f"host{i}", "Alive": True, "Resources": each}
            for i, each in enumerate(resources)
        ]

    def nodes(self):
        return self.all


@pytest.fixture
def driver(tmp_path):
    """A driver that sees some nodes, and what it has said."""
    ours, theirs = multiprocessing.Pipe()

    def make(*resources, **fields):
        made = Driver(theirs, cluster(tmp_path, **fields))
        made._ray = Nodes(*resources)
        made.heard = lambda: [ours.recv() for _ in iter(lambda: ours.poll(), False)]
        return made

    yield make
    ours.close()
    theirs.close()


def test_there_is_room_for_as_many_tasks_as_nodes_have_whole_places(driver):
    looks = driver({"CPU": 5.0}, {"CPU": 1.0}, {"CPU": 4.0, "GPU": 1.0})
    looks._look()
    looks._look()  # nothing new is nothing said
    assert looks.heard() == [("slots", 4)]
    looks._ray.all[0]["Alive"] = False
    looks._look()
    assert looks.heard() == [("slots", 2)]
    gpus = driver({"CPU": 8.0, "GPU": 2.0}, {"CPU": 3.0, "GPU": 4.0}, {"CPU": 8.0}, gpu="cuda")
    gpus._look()
    assert gpus.heard() == [("slots", 3)]


def test_a_strange_node_is_named_once_and_without_another_the_run_ends(driver):
    looks = driver({"CPU": 2.0}, {"CPU": 2.0})
    looks._pass_over("n1", "torch is 1, the run has 2")
    looks._pass_over("n1", "torch is 1, the run has 2")
    assert looks.heard() == [
        ("say", "note: node host1 of the Ray cluster gets no task: torch is 1, the run has 2"),
        ("slots", 1),
    ]
    with pytest.raises(BenchError, match="no node of the Ray cluster has the code of this run"):
        looks._pass_over("n0", "another harness")


@pytest.mark.parametrize(("gpu", "lack"), [("", "2 CPUs"), ("cuda", "a GPU")])
def test_nodes_that_are_too_small_for_a_task_are_an_error(driver, gpu, lack):
    with pytest.raises(BenchError, match=f"no node of the Ray cluster has {lack}"):
        driver({"CPU": 1.0}, gpu=gpu)._look()


def test_a_cluster_that_is_silent_for_long_is_given_up(driver):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        here, there = driver({"CPU": 2.0}), driver({"CPU": 2.0}, address="host:1")
        for each in (here, there):
            each._doors = (("127.0.0.1", port),)
            each._look()
    here._look()
    here._look()
    with pytest.raises(BenchError, match=rf"at 127.0.0.1:{port} does not answer any more: what is finished is stored"):
        here._look()
    for _ in range(10):  # the head of a cluster of others may be starting anew
        there._look()
    with socket.create_server(("127.0.0.1", port)):
        there._look()
    assert there._silent == 0


@pytest.mark.parametrize(
    ("error", "cause", "says"),
    [
        (exceptions.OutOfMemoryError("x\ny"), Cause.KILLED, "out of memory"),
        (exceptions.WorkerCrashedError(), Cause.LOST, "the worker process died"),
        (exceptions.NodeDiedError("gone\naway"), Cause.LOST, "its node of the Ray cluster was lost"),
        (exceptions.RuntimeEnvSetupError("no\nroom"), Cause.LOST, "Ray starts no worker"),
        (exceptions.RaySystemError(RuntimeError("a\nb")), Cause.LOST, "died"),
    ],
)
def test_what_ray_says_of_a_task_becomes_a_cause_and_a_line(error, cause, says):
    what, (done, text, seconds, kept, found) = ray_driver._failure(error)
    assert (what, done, seconds, kept, found) == ("ended", None, 0.0, None, cause)
    assert says in text
    assert "\n" not in text


def test_an_error_inside_a_task_is_told_as_that_error():
    error = exceptions.RayTaskError("enter", "a traceback\nof lines", ValueError("wrong\nshape"))
    assert ray_driver._failure(error) == ("ended", (None, "ValueError: wrong shape", 0.0, None))


@pytest.mark.parametrize("error", [exceptions.OutOfDiskError("x"), exceptions.ObjectStoreFullError("y")])
def test_a_full_store_ends_the_run(error, driver):
    with pytest.raises(BenchError, match="no room left for the images, in memory or on the disk: what is finished"):
        ray_driver._failure(error)

    def put(_what):
        raise error

    full = driver({"CPU": 2.0})
    full._ray = SimpleNamespace(put=put)
    with pytest.raises(BenchError, match="no room left for the images"):
        full._put(b"")
