"""The leaderboard: its lines, its bytes, its ranks."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.report.leaderboard import render_ranking
from bench.results.cell import Cell, Result, Slice
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
        _result("at", "pgd-20", LINF, _done([1, 1, 0, 0], clean=[1, 1, 1, 0], cost=Cost(84, 42))),
        _result("at", "pgd-20", L2, Failed("RuntimeError:\n out of memory")),
        _result("ap", "pgd-20", LINF, _done([10, 5, 0, 0], clean=[10, 10, 9, 0], draws=10), draws=10, trained_on=()),
        _result("ap", "pgd-20", L2, Skipped("no such attack"), draws=10, trained_on=()),
    ]


def test_importing_what_reads_verdicts_is_cheap():
    """No torch, pandas, scipy or tabulate until a function needs one: commands start at once."""
    code = (
        "import sys; from bench.results import stats; from bench.report import gate, leaderboard, tables; "
        "from bench.results import accuracy; print({'torch', 'pandas', 'scipy', 'tabulate'} & {*sys.modules})"
    )

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert loaded.strip() == "set()"


def test_ranks_can_be_read_on_a_screen(results):
    """One block per slice and seed, bounds marked and unranked."""
    text = render_ranking(results)

    assert text.split("\n")[:6] == [
        "digits test, n=4, seed 0",
        "rank   worst case over all  judged",
        "   1      37.5 [9.2, 78.1]  mean-of-10      ap",
        "   -  <= 50.0 [15.0, 85.0]  deterministic   at",
        "ap: 10 evaluation draws decide each image: mean-of-10 37.5 (72.5 without attack), worst-of-10 25.0 "
        "(50.0 without attack), majority-of-10 25.0 (75.0 without attack), 5-resubmission (estimated from 10) 25.1 "
        "(62.5 without attack)",
        "n=4: too few images to separate any two defenses (paired test, alpha 0.05)",
    ]
    assert " ".join(text.split()).endswith("were never asked for.")
