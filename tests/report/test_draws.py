"""What the draws of a stochastic defense come to, judge by judge."""

from dataclasses import replace

import numpy as np

from bench.report.draws import verdicts_of
from bench.report.leaderboard import render_ranking
from bench.results.accuracy import defense_rows
from bench.results.finding import Finding
from bench.results.outcome import Done, Failed, Verdicts
from bench.results.ranking import ranks
from tests.report.simulated import LINF, done, result


def counted(clean, held, draws, **more):
    verdicts = Verdicts(draws, np.array(clean, dtype=np.uint8), np.array(held, dtype=np.uint8))
    outcome = Done(verdicts)
    return result("ap", "pgd-20", LINF, outcome, draws=draws, n=len(held), **more)


TEN = counted([10, 10, 6, 4], [10, 5, 6, 0], 10)


def told(*results):
    return verdicts_of(defense_rows(results)[0])


def test_every_judge_has_its_number_its_draws_and_its_number_without_attack():
    """10, 5, 6, 0 of 10 under attack and 10, 10, 6, 4 without; of the subsets of five, 1 and C(6,5)/C(10,5) = 6/252."""
    assert told(TEN) == (
        "ap: 10 evaluation draws decide each image: mean-of-10 52.5 (75.0 without attack), "
        "worst-of-10 25.0 (50.0 without attack), majority-of-10 50.0 (75.0 without attack), "
        "5-resubmission (estimated from 10) 25.7 (50.6 without attack)"
    )


def test_one_draw_is_said_to_be_one():
    ref = replace(result("ap", outcome=done(2, n=4), n=4).cell.defense, stochastic=True)
    one = result("ap", outcome=done(2, n=4), n=4)

    assert told(replace(one, cell=replace(one.cell, defense=ref))) == (
        "ap: one draw decides each image: one-shot 50.0 (100.0 without attack)"
    )


def test_no_draws_decide_a_deterministic_defense_and_a_blocked_one_has_no_number():
    blocked = counted([10] * 4, [10] * 4, 10, findings=(Finding("A13", "block", "-", "-", "A13: no"),))

    assert told(result("at", outcome=done(2, n=4), n=4)) == ""
    assert told(blocked) == ""
    assert "100.0" not in render_ranking([blocked])


def test_a_bound_and_a_flag_stay_what_they_are():
    flagged = replace(TEN, findings=(Finding("A11", "flag", "-", "-", "A11: no gain"),))
    failed = result("ap", "fgsm", LINF, Failed("no"), draws=10, n=4)

    assert "mean-of-10 <= 52.5! (75.0 without attack)" in told(flagged, failed)


def test_a_hostile_name_stays_on_its_line():
    named = replace(TEN, cell=replace(TEN.cell, defense=replace(TEN.cell.defense, label="=cmd|x \x1b[31mred\nnext")))

    assert "\n" not in told(named)
    assert "\x1b" not in told(named)


def test_the_leaderboard_shows_the_line_and_plain_data_the_draws(monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")

    assert told(TEN) in render_ranking([TEN])
    (row,) = ranks([TEN])
    assert (row["judged"], row["draws"], row["accuracy"], row["standard"]) == ("mean-of-10", 10, 52.5, 75.0)
