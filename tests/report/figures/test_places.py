"""A number with its marks, or a word."""

import pytest

from bench.errors import BenchError
from bench.report.figures.forest import forest
from bench.report.figures.matrix import matrix
from bench.report.figures.places import judged, known_below, legend, place, require_judge, rows_of, title_of
from bench.results.outcome import Failed
from tests.report.figures.drawn import BLOCK, LINF, archive, done, result, results, texts


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


@pytest.mark.parametrize("draw", [matrix, forest])
def test_archives_that_leave_less_than_the_worst_case_are_told(draw):
    """By hand: at keeps images 0 and 3, and Smith leaves 3; of image 1 ap keeps 9 draws of 10, and Smith leaves 2."""
    attacked = [
        result("at", "pgd-20", LINF, done([1, 0, 0, 1])),
        result("ap", "pgd-20", LINF, done([10, 9, 0, 10], draws=10), draws=10),
        result("same", "pgd-20", LINF, done([1, 0, 0, 1])),
        result("cheat", "pgd-20", LINF, done([1, 1, 1, 1]), findings=[BLOCK]),
    ]
    theirs = [archive("at", [0, 1, 1, 1]), archive("ap", [10, 2, 10, 10], draws=10), archive("same", [1, 0, 1, 1])]
    theirs += [archive("cheat", [0, 0, 0, 0])]

    told = " ".join(texts(draw([*attacked, *theirs], width=20))).replace("\n", " ")

    # Of ap the strictest judge loses nothing more: image 1 was lost already, and so was image 2.
    assert "Archives of others leave less of: at (25.0), ap (55.0 mean-of-10); see the table." in told
    assert "Archives" not in " ".join(texts(draw(attacked, width=20)))


def test_a_bound_is_told_as_one_and_names_of_others_are_text():
    cells = [
        result("at\x1b[31m\nx", "pgd-20", LINF, done([1, 1, 1, 1])),
        result("at\x1b[31m\nx", "fgsm", LINF, Failed("RuntimeError: out of memory")),
        archive("at\x1b[31m\nx", [0, 1, 1, 1]),
    ]
    told, (place_,) = known_below(rows_of(cells), "")

    assert "(<=75.0)" in told
    assert place_.marks == ["<="]
    assert told.isprintable()
