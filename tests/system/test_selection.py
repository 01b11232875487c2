"""What draws say that have chosen an attack: `performance/selection.py`, the worst cases of `results.accuracy`."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.results.accuracy import defense_rows
from bench.results.cell import Cell, Result, Slice
from bench.results.outcome import Done, Verdicts
from bench.threats import ThreatModel
from performance import selection

ROOT = Path(__file__).resolve().parents[2]
N_EXAMPLES = 20_000


def expected(chances, draws):
    """The mean of the least of independent binomial counts, exactly: the sum over t of P(all are above t)."""
    return np.mean([binom.sf(t, draws, chances).prod(axis=1) for t in range(draws)], axis=0)


@pytest.mark.parametrize("world", [selection.coins, selection.alike, selection.unlike])
@pytest.mark.parametrize(("draws", "proposals"), [(1, 2), (10, 3), (20, 8)])
def test_the_least_of_several_counts_is_too_low_as_the_exact_sum_says(world, draws, proposals):
    rng = np.random.default_rng((draws, proposals))
    chances = world(N_EXAMPLES, proposals, rng)
    exact = expected(chances, draws)

    found = selection.select(chances, draws, rng)

    assert abs(found.reported - exact.mean()) < 4 * 0.5 / N_EXAMPLES**0.5
    assert -selection.bound(draws, proposals) < exact.mean() - found.best < 0


@pytest.mark.parametrize(("draws", "proposals"), [(1, 2), (1, 8), (2, 2), (10, 3), (255, 8)])
def test_the_bound_holds_for_every_chance(draws, proposals):
    """Alike under all proposals, where nothing but luck tells them apart."""
    chances = np.linspace(0.001, 0.999, 999)[:, None].repeat(proposals, axis=1)

    bias = expected(chances, draws) - chances[:, 0]

    assert (bias <= 1e-12).all()
    assert (bias >= -selection.bound(draws, proposals)).all()


@pytest.mark.parametrize("shared", [0.0, 0.5])
@pytest.mark.parametrize("world", [selection.coins, selection.alike, selection.unlike])
def test_fresh_draws_are_unbiased_for_what_was_chosen(world, shared):
    """Within four standard errors of its accuracy, which is no lower than that of the best proposal."""
    rng = np.random.default_rng(7)

    found = selection.select(world(N_EXAMPLES, 4, rng), 5, rng, shared)

    assert abs(found.fresh - found.chosen) < 4 * (0.25 / 5 / N_EXAMPLES) ** 0.5
    assert found.chosen >= found.best
    assert found.reported < found.best


def test_shared_draws_have_the_same_chances_and_less_bias():
    """The correlation between two proposals lowers the spread between them, and nothing else."""
    rng = np.random.default_rng(3)
    chances = selection.alike(N_EXAMPLES, 3, rng)
    counts = selection.count(chances, 10, rng, shared=0.5)

    assert abs(counts.mean() / 10 - chances.mean()) < 4 * (0.25 / N_EXAMPLES) ** 0.5
    assert selection.select(chances, 10, rng).bias < selection.select(chances, 10, rng, shared=0.5).bias < 0


def test_one_proposal_has_no_bias():
    rng = np.random.default_rng(5)

    found = selection.select(selection.alike(N_EXAMPLES, 1, rng), 10, rng)

    assert selection.bound(10, 1) == 0
    assert abs(found.bias) < 4 * (0.25 / 10 / N_EXAMPLES) ** 0.5


def test_the_worst_case_of_a_table_is_that_minimum():
    """Three attacks that leave every draw a fair coin: each column reads 50 %, the worst case as the exact sum says."""
    n, draws, rng = 4000, 10, np.random.default_rng(1)
    chances = selection.coins(n, 3, rng)
    counts = selection.count(chances, draws, rng).astype(np.uint8)
    clean = np.full(n, draws, dtype=np.uint8)
    defense, part = DefenseRef("ap", "ap", "d", stochastic=True), Slice("digits", "test", n, "x")
    cells = [
        Cell(defense, AttackRef(f"a{k}", "a", f"a{k}"), ThreatModel.parse("L2:1"), part, 0, draws, 64) for k in range(3)
    ]
    (row,) = defense_rows([Result(cell, Done(Verdicts(draws, clean, counts[:, k]))) for k, cell in enumerate(cells)])
    mean = row.judges[0]

    assert [round(row.score(column, mean).accuracy.value, 1) for column in row.columns] == [0.5] * 3
    worst = row.worst("all", mean).accuracy.value
    assert abs(worst - expected(chances, draws).mean()) < 4 * (0.25 / 10 / n) ** 0.5
    assert worst < 0.4


def test_the_table_of_the_documentation_is_what_the_script_prints():
    """Bounds to the digit, and the column of coins as the exact sum has it, up to the error of the simulation."""
    text = (ROOT / "docs/soundness.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (\d) \| (-[\d.]+) \| (-[\d.]+) \|.* \| ([-+]?[\d.]+) \|$", text, re.MULTILINE)
    printed = {tuple(line.split(" | ")[:3]): line for line in selection.table(200, 0)[2:]}

    assert len(rows) == 8
    for draws, proposals, bound, coins, afresh in rows:
        assert printed[f"| {draws}", proposals, bound]
        exact = expected(np.full((1, int(proposals)), 0.5), int(draws)).mean() - 0.5
        assert abs(100 * exact - float(coins)) < 0.3
        assert abs(float(afresh)) < 0.5


def test_the_script_prints_its_table(capsys):
    assert selection.main(["--examples", "50"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 + 2 + len(selection.DRAWS) * len(selection.PROPOSALS)
    assert "is true" in lines[0]
