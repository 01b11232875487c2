"""The results as lines and as a frame: their columns, their bytes."""

from __future__ import annotations

import csv
import math
import random
from dataclasses import replace

import numpy as np
import pytest

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.results.cell import Cell, Result, Slice
from bench.results.frame import COLUMNS, IN_FILES, NUMBERS, frame, rows, write_csv
from bench.results.outcome import Cost, Done, Failed, Skipped, Verdicts
from bench.threats import ThreatModel

LINF, L2 = ThreatModel.parse("Linf:8/255"), ThreatModel.parse("L2:0.5")


def _result(defense, attack, threat, outcome, *, draws=1, n=4, seed=0, trained_on=(LINF,), dataset="digits"):
    ref = DefenseRef(defense, defense, f"{defense}-digest", draws > 1, trained_on)
    part = Slice(dataset, "test", n, f"images-{n}")
    return Result(Cell(ref, AttackRef(attack, attack, f"{attack}-digest"), threat, part, seed, draws, 64), outcome)


def _done(adversarial, *, clean=None, draws=1, cost=None):
    adversarial = np.array(adversarial, dtype=np.uint8)
    clean = np.full_like(adversarial, draws) if clean is None else np.array(clean, dtype=np.uint8)
    return Done(Verdicts(draws, clean, adversarial), cost or Cost())


@pytest.fixture
def results():
    return [
        replace(_result("at", "pgd-20", LINF, _done([1, 1, 0, 0], clean=[1, 1, 1, 0], cost=Cost(84, 42))), seconds=1.5),
        _result("at", "pgd-20", L2, Failed("RuntimeError:\n out of memory")),
        _result("ap", "pgd-20", LINF, _done([10, 5, 0, 0], clean=[10, 10, 9, 0], draws=10), draws=10, trained_on=()),
        _result("ap", "pgd-20", L2, Skipped("no such attack"), draws=10, trained_on=()),
    ]


GOLDEN = """\
dataset,split,n,defense,trained_on,judged,column,attack,threat,seen,access,accuracy,low,high,rank,outcome,reason,\
draws,seed,forwards_per_example,backwards_per_example,defense_digest,attack_digest,key,checks,source
digits,test,4,at,Linf:8/255,deterministic,standard,,,,,75.00,30.06,95.44,,done,,1,0,,,at-digest,,,,
digits,test,4,at,Linf:8/255,deterministic,attack,pgd-20,L2:0.5,no,gradient,,,,,failed,RuntimeError: out of memory,\
1,0,,,at-digest,pgd-20-digest,{0},,
digits,test,4,at,Linf:8/255,deterministic,attack,pgd-20,Linf:8/255,yes,gradient,50.00,15.00,85.00,,done,,\
1,0,21.0,10.5,at-digest,pgd-20-digest,{1},,
digits,test,4,at,Linf:8/255,deterministic,worst-seen,,,yes,,50.00,15.00,85.00,,done,,1,0,21.0,10.5,at-digest,,,,
digits,test,4,at,Linf:8/255,deterministic,worst-unseen,,,no,,,,,,failed,"no cell finished, and at least one failed",\
1,0,,,at-digest,,,,
digits,test,4,at,Linf:8/255,deterministic,worst-all,,,,,50.00,15.00,85.00,,partial,\
an upper bound: 1 of 2 cells failed or missing,1,0,21.0,10.5,at-digest,,,,
"""


def test_the_file_is_golden(results, tmp_path):
    """Header, order, number formats and line ends, to the byte."""
    path = write_csv(results[:2], tmp_path / "leaderboard.csv")

    assert path.read_bytes().decode() == GOLDEN.format(results[1].cell.key, results[0].cell.key)


def test_the_same_verdicts_in_another_time_give_the_same_file(results, tmp_path):
    """A resumed run, or one on many machines, took other seconds; the data frame tells them."""
    slower = [replace(results[0], seconds=99.0), *results[1:]]
    first, second = (write_csv(part, tmp_path / f"{i}.csv") for i, part in enumerate((results, slower)))

    assert first.read_bytes() == second.read_bytes()
    assert 99.0 in set(frame(slower)["seconds"])
    assert set(IN_FILES) == set(COLUMNS) - {"seconds"}


def test_the_order_of_the_results_does_not_matter(results, tmp_path):
    """Results merged in another order give the same bytes."""
    shuffled = random.Random(3).sample(results, len(results))

    first, second = (write_csv(part, tmp_path / f"{i}.csv") for i, part in enumerate((results, shuffled)))

    assert shuffled != results
    assert first.read_bytes() == second.read_bytes()


def test_a_stochastic_defense_has_lines_for_each_judge(results):
    """Mean, worst, majority and resubmission of ten draws, each with standard, attacks and worst cases."""
    lines = [line for line in rows(results) if line["defense"] == "ap"]

    assert [line["judged"] for line in lines[::6]] == ["mean-of-10", "worst-of-10", "majority-of-10", "5-resubmission"]
    assert len(lines) == 24
    standard = [line["accuracy"] for line in lines if line["column"] == "standard"]
    robust = [line["accuracy"] for line in lines if line["column"] == "worst-all"]
    assert standard == ["72.50", "50.00", "75.00", "62.50"]
    assert robust == ["37.50", "25.00", "25.00", "25.10"]


def test_every_outcome_is_named_with_its_reason(results):
    """done, failed, skipped, missing and partial; only the first and last have a number."""
    lines = rows([*results, _result("none", "pgd-20", LINF, None)])

    outcomes = {line["outcome"] for line in lines}
    assert outcomes == {"done", "failed", "skipped", "missing", "partial"}
    for line in lines:
        assert bool(line["accuracy"]) is (line["outcome"] in ("done", "partial"))
        assert bool(line["reason"]) is (line["outcome"] != "done")


def test_a_cell_that_was_never_asked_for_has_no_key(results):
    """A column of another defense stands as missing, without the digest of a cell that is not there."""
    lines = rows([results[0], _result("ap", "other", L2, _done([1, 1, 1, 1]))])

    (gap,) = [line for line in lines if (line["defense"], line["attack"]) == ("at", "other")]
    assert (gap["outcome"], gap["key"], gap["attack_digest"], gap["threat"]) == ("missing", "", "", "L2:0.5")


@pytest.mark.parametrize("label", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_no_cell_can_be_taken_for_a_formula(label, tmp_path):
    """Spreadsheets run cells that start so; a quote before them keeps them text."""
    path = write_csv([_result(label, label, LINF, Failed(f"{label}!"))], tmp_path / "leaderboard.csv")

    with path.open(newline="") as file:
        cells = [cell for line in csv.reader(file) for cell in line]
    assert "'" + label.replace("\r", " ") in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_the_file_is_replaced_whole_or_not_at_all(results, tmp_path, monkeypatch):
    """A crash while writing leaves the old file as it was and nothing beside it."""
    path = write_csv(results[:1], tmp_path / "deep" / "leaderboard.csv")
    before = path.read_bytes()

    def full(_):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_csv(results, path)

    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["leaderboard.csv"]


def test_a_reader_never_sees_half_a_file(results, tmp_path):
    """Whoever has the old file open reads it to its end, as it was: the new one takes its name, not its place."""
    path = write_csv(results[:1], tmp_path / "leaderboard.csv")
    before = path.read_text()

    with path.open() as reader:
        write_csv(results, path)
        seen = reader.read()

    assert seen == before != path.read_text()


def test_a_frame_holds_the_same_lines_with_numbers(results):
    """pandas sees floats where there are numbers and nothing where there is none."""
    table = frame(results)

    assert list(table.columns) == list(COLUMNS)
    assert len(table) == len(rows(results))
    assert all(table[name].dtype.kind in "if" for name in NUMBERS)
    worst = table[(table["defense"] == "ap") & (table["column"] == "worst-all")]
    assert worst["accuracy"].tolist() == [37.5, 25.0, 25.0, 25.1]
    assert math.isnan(table[table["outcome"] == "failed"]["accuracy"].iloc[0])


def test_the_rank_stands_in_the_headline_line_only(results):
    """worst-of-N and majority are other questions; the ranks answer the mean."""
    lines = [line for line in rows(results) if line["rank"]]

    assert [(line["defense"], line["judged"], line["column"]) for line in lines] == [("ap", "mean-of-10", "worst-all")]


def test_seconds_of_a_worst_case_are_those_of_its_attacks_or_unknown():
    """A sum over some of them would look cheaper than it was."""
    known = replace(_result("at", "pgd-20", LINF, _done([1, 1, 0, 0])), seconds=2.0)
    other = _result("at", "fgsm", LINF, _done([1, 0, 0, 0]))

    def worst(results):
        return next(line["seconds"] for line in rows(results) if line["column"] == "worst-all")

    assert worst([known, replace(other, seconds=0.5)]) == "2.50"
    assert worst([known, other]) == ""


def test_a_worst_case_of_other_columns_is_not_paid_twice():
    """Derived from two columns it costs what they cost; one that ran by itself is paid beside them."""
    one, two = (
        replace(_result("at", name, LINF, _done([1, 1, 0, 0], cost=Cost(40, 20))), seconds=took)
        for name, took in (("apgd-ce", 1.5), ("fab-t", 2.25))
    )
    stages = (one.cell.attack, two.cell.attack)
    whole = _result("at", "autoattack", LINF, _done([1, 0, 0, 0], cost=Cost(80, 40)))
    whole = replace(whole, cell=replace(whole.cell, attack=replace(whole.cell.attack, stages=stages)), seconds=3.75)
    alone = replace(whole, outcome=_done([1, 0, 0, 0], cost=Cost(60, 30)), seconds=2.0)
    slower = replace(whole, seconds=5.0)

    def paid(*results):
        (line,) = [line for line in rows(results) if line["column"] == "worst-all"]
        return [line[name] for name in ("forwards_per_example", "backwards_per_example", "seconds")]

    assert paid(one, two, whole) == paid(one, two) == ["20.0", "10.0", "3.75"]
    assert paid(whole) == ["20.0", "10.0", "3.75"]
    assert paid(one, two, alone) == ["35.0", "17.5", "5.75"]
    assert paid(one, two, slower) == ["40.0", "20.0", "8.75"]


def test_an_attack_that_knew_the_draws_has_lines_of_its_own_kind(results):
    """Whoever filters attacks by `column` does not get it, and the worst cases are as without it."""
    known = _result(
        "ap", "known-draws", LINF, _done([2, 0, 0, 0], clean=[10, 10, 9, 0], draws=10), draws=10, trained_on=()
    )
    known = replace(known, cell=replace(known.cell, attack=replace(known.cell.attack, known_draws=True)))

    lines = rows([*results, known])

    informed = [line for line in lines if line["column"] == "known-draws"]
    assert [(line["judged"], line["attack"], line["accuracy"]) for line in informed if line["defense"] == "ap"] == [
        ("mean-of-10", "known-draws", "5.00"),
        ("worst-of-10", "known-draws", "0.00"),
        ("majority-of-10", "known-draws", "0.00"),
        ("5-resubmission", "known-draws", "0.00"),
    ]
    kept = [line for line in lines if line["column"] != "known-draws"]
    assert kept == rows(results)
