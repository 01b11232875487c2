"""Threads that wait give up their core soon, and nobody gets more of them than the user asked for."""

import os

import pytest

from bench.harness.executors import choose
from bench.machine.isolation import Call, Workers
from bench.machine.threads import ROUNDS, asked, wait_briefly


@pytest.fixture
def untold(monkeypatch):
    """An environment that says nothing of threads."""
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    yield monkeypatch
    os.environ.pop("GOMP_SPINCOUNT", None)  # set by the code itself, which monkeypatch does not see


@pytest.mark.usefixtures("untold")
def test_a_thread_waits_briefly_where_nobody_says_otherwise():
    wait_briefly()

    assert os.environ["GOMP_SPINCOUNT"] == ROUNDS


@pytest.mark.parametrize(("name", "value"), [("GOMP_SPINCOUNT", "7"), ("OMP_WAIT_POLICY", "ACTIVE")])
def test_what_the_user_says_of_waiting_stays(untold, name, value):
    untold.setenv(name, value)

    wait_briefly()

    assert {key: os.environ.get(key) for key in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")} == {
        "GOMP_SPINCOUNT": None,
        "OMP_WAIT_POLICY": None,
        name: value,
    }


@pytest.mark.usefixtures("untold")
def test_a_worker_has_its_threads_and_their_way_to_wait_before_it_loads_torch():
    with Workers(1, 3, limit=60) as workers:
        found = [workers.each([Call("os:getenv", (name,))])[0].value for name in ("OMP_NUM_THREADS", "GOMP_SPINCOUNT")]

    assert found == ["3", ROUNDS]


@pytest.mark.parametrize(
    ("text", "threads"), [("1", 1), (" 2", 2), ("4,2", 4), ("", None), ("0", None), ("-1", None), ("abc", None)]
)
def test_the_number_that_is_asked_for_is_read_as_openmp_reads_it(untold, text, threads):
    untold.setenv("OMP_NUM_THREADS", text)

    assert asked() == threads


@pytest.mark.parametrize(("text", "threads"), [(None, 4), ("1", 1), ("3", 3), ("16", 4), ("abc", 4)])
def test_a_worker_has_its_share_of_the_cores_and_no_more_threads_than_asked_for(untold, text, threads):
    untold.setattr("bench.harness.executors.cores", lambda: 8)
    if text is not None:
        untold.setenv("OMP_NUM_THREADS", text)

    assert choose("auto", "cpu", 2, 9).threads == threads
