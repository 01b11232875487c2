"""A number with its marks, or a word."""

import pytest

from bench.errors import BenchError
from bench.report.figures.places import judged, legend, place, require_judge, rows_of, title_of
from tests.report.figures.drawn import LINF, done, result, results


def rows():
    return {row.defense.label: row for row in rows_of(results())}


def test_marks_stand_beside_the_number_and_words_in_its_place():
    at = rows()["at"]
    shown = [place(at, at.score(column, at.judges[0]), seen=at.seen(column)) for column in at.attacked]

    assert [each.text for each in shown] == ["75.0*!", "50.0*!", "FAIL", "50.0"]
    assert [each.interval for each in shown] == ["[30.1, 95.4]", "[15.0, 85.0]", "", "[15.0, 85.0]"]
    assert place(at, at.worst("all", at.judges[0])).text == "<=25.0!"


def test_a_blocked_row_has_the_word_whatever_its_score():
    cheat = rows()["cheat"]
    held = place(cheat, cheat.standard(cheat.judges[0]), seen=True)

    assert (held.accuracy, held.text, held.interval) == (None, "BLOCK", "")


def test_only_what_is_used_is_explained():
    at = rows()["at"]
    plain = place(at, at.standard(at.judges[0]))
    failed = place(at, at.score(at.attacked[2], at.judges[0]))

    assert legend([plain]) == []
    assert legend([plain, failed]) == ["FAIL: the cell broke and counts as nothing."]


def test_a_deterministic_defense_keeps_its_only_judge():
    at, ap = rows()["at"], rows()["ap"]

    assert [each.name for each in judged(ap, "worst")] == ["worst-of-10"]
    assert [each.name for each in judged(at, "worst")] == ["deterministic"]
    assert [each.name for each in judged(ap, "")] == ["mean-of-10", "worst-of-10"]


def test_a_judge_that_a_stochastic_defense_cannot_have_is_an_error_and_no_other_judge():
    few = result("few", "x", LINF, done([3, 2], draws=3), draws=3, n=2)
    many = result("many", "x", LINF, done([9, 2], draws=10), draws=10, n=2)

    with pytest.raises(BenchError, match="'few' has too few draws to be judged by 'resubmission'"):
        require_judge(rows_of([few, many]), "resubmission")


def test_the_title_names_the_images_and_the_seed():
    assert title_of(rows()["at"]) == "digits test, n = 4, seed 0"
