"""The gate's two promises, over thousands of runs: alpha is the chance of a false alarm, and a real drop is seen.

Nothing is attacked here: verdicts are drawn, as often as it takes. Seeds are fixed, so a test passes or fails for good;
what is asserted is the exact (Clopper-Pearson) bound of what was counted, so it stands for other seeds, too.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from bench.report.gate import compare
from bench.results.outcome import Done, Verdicts
from bench.results.stats import clopper_pearson, smallest_detectable_drop
from tests.report.test_gate import _result

RUNS, N, CELLS, ALPHA = 2000, 64, 3, 0.05


def run(clean, attacked, draws):
    """The results of one defense: counts of correct draws without attack `[n]`, and under each attack `[cells, n]`."""
    n = len(clean)
    return [
        _result(Done(Verdicts(draws, clean, counts)), attack=f"a{index}", draws=draws, n=n)
        for index, counts in enumerate(attacked)
    ]


def flipped(generator, counts, share):
    """Verdicts after a share of the images has flipped each way, by chance: as many fall as rise, on average."""
    drawn = generator.random(counts.shape)
    fall, rise = (counts == 1) & (drawn < share / counts.mean()), (counts == 0) & (drawn < share / (1 - counts.mean()))
    return np.where(fall, 0, np.where(rise, 1, counts)).astype(np.uint8)


def deterministic(generator, share):
    """Two sides of one set of verdicts, each with flips of its own."""
    true = (generator.random((CELLS + 1, N)) < 0.5).astype(np.uint8)
    sides = []
    for _ in range(2):
        clean, *attacked = (flipped(generator, each, share) for each in true)
        sides.append(run(clean, np.minimum(attacked, clean), 1))
    return sides


def stochastic(generator, chances, draws=10):
    """Two sides that draw from one chance per image."""
    sides = []
    for _ in range(2):
        clean, *attacked = (generator.binomial(draws, each).astype(np.uint8) for each in chances)
        sides.append(run(clean, attacked, draws))
    return sides


def alarms(pairs):
    """How many of the runs fail, and in how many something is called an improvement."""
    fell = rose = 0
    for before, after in pairs:
        report = compare(before, after, alpha=ALPHA, min_effect=0, allow_underpowered=True)
        assert report.exit_code in (0, 1)
        fell += report.exit_code
        rose += bool(report.improvements)
    return fell, rose


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.02, 0.1], ids=["2 % flip each way", "10 % flip each way"])
def test_an_unchanged_deterministic_defense_fails_no_more_often_than_alpha(share, tally):
    generator = np.random.default_rng(21)

    fell, rose = alarms(deterministic(generator, share) for _ in range(RUNS))

    tally("false alarms", fell, RUNS, f"at alpha {ALPHA:.0%}")
    assert clopper_pearson(fell, RUNS).high <= ALPHA
    assert clopper_pearson(rose, RUNS).high <= ALPHA


@pytest.mark.slow
def test_an_unchanged_stochastic_defense_fails_no_more_often_than_alpha(tally):
    """The counts of every image are drawn anew, on both sides, from the same chance."""
    generator = np.random.default_rng(22)
    chances = generator.beta(1.0, 0.7, size=(CELLS + 1, N))

    fell, rose = alarms(stochastic(generator, chances) for _ in range(RUNS))

    tally("false alarms", fell, RUNS, f"at alpha {ALPHA:.0%}")
    assert clopper_pearson(fell, RUNS).high <= ALPHA
    assert clopper_pearson(rose, RUNS).high <= ALPHA


def test_the_count_of_alarms_can_fail():
    """The same runs without the correction for the number of cells: more than alpha."""
    generator = np.random.default_rng(22)
    chances = generator.beta(1.0, 0.7, size=(CELLS + 1, N))
    found = 0
    for _ in range(400):
        before, after = stochastic(generator, chances)
        report = compare(before, after, alpha=ALPHA, min_effect=0, allow_underpowered=True)
        found += any(row.p <= ALPHA for row in report.rows)

    assert clopper_pearson(found, 400).low > ALPHA


@pytest.mark.slow
@pytest.mark.parametrize(("n", "cells", "drop"), [(128, 4, 0.15), (256, 10, 0.05)])
def test_a_drop_of_must_detect_is_caught_at_least_as_often_as_promised(n, cells, drop, tally):
    """Images are lost independently, each with the chance `drop`, in one cell; the gate says that it could see that."""
    generator = np.random.default_rng(23)
    clean, runs = np.ones(n, np.uint8), 800
    # The closed form: so many losses have p = 2^-k <= alpha / cells, and are binomial.
    exact = float(binom.sf(math.ceil(-math.log2(0.01 / cells)) - 1, n, drop))
    assert smallest_detectable_drop(n, 0.01 / cells, min_effect=0.01) <= drop
    caught = 0
    for _ in range(runs):
        # Robust before wherever it matters, so that a lost image was one to lose.
        robust = [np.ones(n, np.uint8) for _ in range(cells - 1)]
        lost = [(generator.random(n) >= drop).astype(np.uint8), *robust[1:]]
        report = compare(run(clean, robust, 1), run(clean, lost, 1), must_detect=drop)
        assert not report.underpowered
        assert len(report.gated) == cells
        caught += [row.title for row in report.regressions] == ["at x a0 (Linf:0.2)"]

    tally("drops caught", caught, runs, "of must_detect")
    bound = clopper_pearson(caught, runs, 0.999)
    assert bound.low <= exact <= bound.high
    assert min(exact, caught / runs) >= 0.8


@pytest.mark.slow
def test_a_drop_of_a_stochastic_defense_is_caught_as_often_as_promised(tally):
    """Every image withstands less often, by 15 points on average."""
    generator = np.random.default_rng(24)
    chances = generator.beta(1.0, 0.7, size=(CELLS + 1, 128))
    lower, runs = chances.copy(), 200
    lower[1] *= 1 - 0.15 / chances[1].mean()
    caught = 0
    for _ in range(runs):
        before, _ = stochastic(generator, chances)
        after, _ = stochastic(generator, lower)
        report = compare(before, after, must_detect=0.15)
        assert not report.underpowered
        caught += report.exit_code

    tally("drops caught", caught, runs, "of must_detect")
    assert clopper_pearson(caught, runs).low >= 0.8
