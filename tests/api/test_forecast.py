"""`bench.plan`: what `bench.run` then does, and nothing is done yet."""

from __future__ import annotations

import pytest

import bench
from bench.api.forecast import Forecast, span
from tests.api.nets import Watcher

OPTIONS = {
    "defenses": "at",
    "attacks": "fgsm,stadv",
    "threat": "Linf:0.2,L2:0.5",
    "n": 16,
    "checks": "none",
    "executor": "local",
}


def test_what_it_says_is_run_is_run_and_is_stored_then(tmp_path):
    """A cell of another threat is skipped both times; nothing is written before."""
    options = {**OPTIONS, "attacks": "fgsm,noise,cw-l2", "results": tmp_path / "kept"}
    before = bench.plan(**options)
    assert not (tmp_path / "kept").exists()
    watcher = Watcher()

    found = bench.run(watcher, **options)
    after = bench.plan(**options)

    assert before.count("run") == watcher.begun > 0
    assert before.count("run", "skip", "derive") == before.cells == len(found)
    assert after.count("run", "retry") == 0
    assert after.count("stored") == before.count("run")
    assert after.count("skip") == before.count("skip")
    assert (after.passes, after.seconds) == (0, 0)


def test_the_passes_are_those_of_the_cells_and_an_upper_bound(tmp_path):
    """A step of fgsm is a forward and a backward beside the judge's two; a backward counts as two forwards."""
    options = {**OPTIONS, "attacks": "fgsm", "threat": "Linf:0.2", "results": tmp_path}
    forecast = bench.plan(**options)
    (cell,) = bench.run(Watcher(), **options)

    assert forecast.passes == cell.cell.passes()
    cost = cell.outcome.cost
    assert 0 < cost.forwards + 2 * cost.backwards <= forecast.passes
    assert forecast.images == 16
    assert forecast.seconds > 0


def test_it_is_told_in_lines(tmp_path):
    lines = str(bench.plan(**{**OPTIONS, "attacks": "fgsm", "results": tmp_path})).splitlines()

    assert [line.split()[0] for line in lines[:2]] == ["run", "run"]
    assert lines[3].startswith("2 cells on 16 images: 2 to run, 0 to derive, 0 stored, 0 skipped")
    assert lines[4].startswith("at most ")


def test_rows_are_counted_by_their_kind():
    rows = (("run", "a", ""), ("retry", "b", ""), ("skip", "c", "why"))
    forecast = Forecast(rows, 3, 16, 1000, 100.0, "one process")

    assert (forecast.count("run", "retry"), forecast.count("skip"), forecast.count("stored")) == (2, 1, 0)
    assert str(forecast).splitlines() == [
        "run     a",
        "retry   b",
        "skip    c: why",
        "",
        "3 cells on 16 images: 2 to run, 0 to derive, 0 stored, 1 skipped",
        "at most 1,000 passes (a backward counted as two), about 2 min at most on one process",
    ]


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h")]
)
def test_a_span_has_one_unit(seconds, told):
    assert span(seconds) == told
