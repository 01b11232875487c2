"""Both CSV files are written by one hand: percent everywhere, no formula, whole or not at all."""

import csv
from pathlib import Path

import numpy as np
import pytest

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.report import curves
from bench.results import frame
from bench.results.cell import Cell, Result, Slice
from bench.results.outcome import Done, Evidence, Verdicts
from bench.threats import ThreatModel


def result(label="at", attack="fmn"):
    counts = np.array([1, 1, 1, 0], np.uint8)
    part = Slice("digits", "test", 4, "images")
    cell = Cell(
        DefenseRef(label, label, label, False, ()),
        AttackRef(attack, "a", "a"),
        ThreatModel.parse("L2:1"),
        part,
        0,
        1,
        4,
    )
    return Result(cell, Done(Verdicts(1, np.ones(4, np.uint8), counts), evidence=Evidence(distances=(2, 2, 2, 0.5))))


def of_leaderboard(results, path):
    frame.write_csv(results, path)


def of_curves(results, path):
    curves.write_csv(curves.curves(results, points=1), path)


WRITERS = pytest.mark.parametrize("write", [of_leaderboard, of_curves], ids=["leaderboard", "curves"])


def lines(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_same_accuracy_has_the_same_words_and_the_same_unit_in_both(tmp_path):
    """Three of four hold: 75 %, with the Wilson interval of 3 of 4."""
    of_leaderboard([result()], tmp_path / "leaderboard.csv")
    of_curves([result()], tmp_path / "curves.csv")

    (board,) = (line for line in lines(tmp_path / "leaderboard.csv") if line["column"] == "attack")
    (point,) = (line for line in lines(tmp_path / "curves.csv") if line["eps"] == "1")
    names = ("dataset", "split", "n", "defense", "attack", "seed", "accuracy", "low", "high")
    assert [point[name] for name in names] == [board[name] for name in names]
    assert [point[name] for name in names[-3:]] == ["75.00", "30.06", "95.44"]


@WRITERS
@pytest.mark.parametrize("label", ["=cmd|x", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_no_label_is_taken_for_a_formula_in_either_file(write, label, tmp_path):
    write([result(label, label)], tmp_path / "a.csv")

    cells = [cell for line in lines(tmp_path / "a.csv") for cell in line.values()]
    assert "'" + label.replace("\r", " ") in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


@WRITERS
def test_a_crash_leaves_the_old_file_and_nothing_beside_it(write, tmp_path, monkeypatch):
    path = tmp_path / "deep" / "a.csv"
    write([result()], path)
    before = path.read_bytes()

    def full(_):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        write([result(), result("ap")], path)

    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["a.csv"]


def test_no_other_module_writes_csv():
    """A second writer would be a second unit and a second guard."""
    source = Path(frame.__file__).resolve().parents[1]
    writers = {
        path.name
        for path in source.rglob("*.py")
        if "csv.writer(" in path.read_text() or "csv.DictWriter(" in path.read_text()
    }
    assert writers == {"csv_file.py"}
