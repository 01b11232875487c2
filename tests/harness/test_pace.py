"""How long tasks take: passes times seconds, and a generous limit."""

from bench.harness.pace import UNKNOWN, Pace
from tests.harness.test_agenda import task


def test_seconds_are_passes_times_the_seconds_of_one():
    cell = task("at", 10).cell

    assert Pace({"at": 0.5}).seconds(cell, 8) == 8 * 10 * 0.5
    assert Pace({"other": 2.0, "another": 0.1}).seconds(cell, 8) == 8 * 10 * 2.0  # as slow as the slowest
    assert UNKNOWN.seconds(cell, 8) == 80


def test_a_task_is_hung_after_twenty_times_its_estimate_and_never_within_ten_minutes():
    cell = task("at", 10).cell

    assert UNKNOWN.limit(cell, 8) == 600
    assert Pace({"at": 0.5}).limit(cell, 8) == 20 * 40
    assert Pace({"at": 0.001}).limit(cell, 8) == 600
    assert Pace({"at": 1.0}).limit_of(100, "at") == 20 * 100
    assert Pace({"at": 1.0}).limit_of(100, "other") == 600


def test_a_timeout_that_is_given_outranks_every_estimate():
    pace = Pace({"at": 100.0}, timeout=3)

    assert pace.limit(task("at", 10).cell, 8) == 3
    assert pace.limit_of(10**9, "at") == 3
