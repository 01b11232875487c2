"""Which columns a table has, and how a user names them."""

from dataclasses import replace

import numpy as np
import pytest

from bench.catalogue.refs import AttackRef
from bench.errors import BenchError
from bench.report.choice import chosen, places
from bench.report.tables import make_table
from bench.results.accuracy import defense_rows
from bench.results.finding import Finding
from bench.results.frame import rows
from bench.results.outcome import Evidence, Failed
from bench.threats import ThreatModel
from tests.report.informed import both
from tests.report.simulated import L2, LINF, done, matrix, result

ATTACKS = ("pgd-20", "apgd-ce[steps=5,n_restarts=2]")
ALL = (
    "standard",
    *(f"{attack}@{threat}" for attack in ATTACKS for threat in ("Linf:8/255", "L2:0.5", "stadv:0.8")),
    "worst-seen",
    "worst-unseen",
    "worst-all",
)


@pytest.fixture
def every():
    return places(defense_rows(matrix(["standard", "at"], ATTACKS))[0])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ALL),
        ("worst-all,standard", ["worst-all", "standard"]),
        ("pgd-20", ALL[1:4]),
        ("pgd-20@L2", ALL[2:3]),
        ("pgd-20@Linf:8/255, pgd-20", ALL[1:4]),
        ("apgd-ce[steps=5,n_restarts=2]@stadv,worst", [ALL[6], *ALL[7:]]),
    ],
)
def test_columns_are_chosen_by_name_in_the_order_of_the_list(every, text, names):
    """The name of an attack takes all of its threats, and commas within brackets do not end a name."""
    assert [place.names[-1] if place.attacked else place.name for place in chosen(every, text)] == list(names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("standart", "unknown column 'standart': did you mean standard"),
        ("pgd-20@L1", "unknown column 'pgd-20@L1': did you mean pgd-20"),
        (" , ", "names no column"),
    ],
)
def test_a_name_of_no_column_is_an_error_that_names_the_nearest(every, text, message):
    """A typo must not look like a missing result."""
    with pytest.raises(BenchError, match=message):
        chosen(every, text)


def test_a_choice_says_that_the_worst_case_is_over_all_attacks():
    """The worst case does not change when its columns are left out, and the notes say so; unused notes go."""
    results = [*matrix(["standard", "at"], ATTACKS), result("standard", "other", LINF, Failed("no"))]

    whole, part = make_table(results), make_table(results, "standard,worst-all")

    assert [cell.text for cell in part.rows[0][2:]] == [whole.rows[0][2].text, whole.rows[0][-1].text]
    assert part.rows[0][-1].bound
    assert "The worst cases are over attacks without a column here, too." in part.notes
    assert not any(note.startswith("* seen") for note in part.notes)
    assert any(note.startswith("* seen") for note in whole.notes)


def test_corruptions_are_columns_of_their_own():
    """Each by its name over its severities, then the mean; their counts are summed over severities."""
    mild, hard = (ThreatModel.parse(f"corruption:{severity}") for severity in (1, 5))
    results = [result("at", "fog", mild, done(40)), result("at", "fog", hard, done(20)), result("at", outcome=done(5))]
    row = defense_rows(results)[0]

    fog, mean = chosen(places(row), "fog,corruption-mean")

    assert fog.score(row, row.judges[0]).accuracy.value == pytest.approx(60 / 128)
    assert fog.counts(row).sum() == mean.counts(row).sum() == 60


def test_the_best_is_bold_with_all_that_the_images_do_not_separate_from_it():
    """60 and 57 of 64 are not separated, 20 are; an upper bound, a flagged number and a lone one are never bold."""
    results = [
        result("a", outcome=done(60)),
        result("b", outcome=done(57)),
        result("c", outcome=done(20)),
        result("a", "fgsm", L2, done(60)),
        result("b", "fgsm", L2, Failed("broke")),
        result("c", "fgsm", L2, Failed("broke")),
    ]

    table = make_table(results, "pgd-20,fgsm,worst-all", best=True)

    bold = [[cell.best for cell in row[2:]] for row in table.rows]
    assert bold == [[True, False, False], [True, False, False], [False, False, False]]
    assert table.rows[1][4].bound
    assert any(note.startswith("bold: ") for note in table.notes)
    assert not any(cell.best for row in make_table(results).rows for cell in row)


def test_only_the_headline_row_of_a_stochastic_defense_is_compared():
    """worst-of-N is another question: it is not bold even where it is higher than another defense's mean."""
    even = np.full(64, 9, np.uint8)
    tenth = replace(done(0, draws=10), verdicts=replace(done(0, draws=10).verdicts, clean=even, adversarial=even))
    table = make_table([result("atop", outcome=tenth, draws=10), result("at", outcome=done(1))], "pgd-20", best=True)

    assert [(row[0].detail, row[2].best) for row in table.rows] == [
        ("(mean-of-10)", True),
        ("(worst-of-10)", False),
        ("(deterministic)", False),
    ]


def test_without_intervals_the_accuracies_stand_alone():
    """And the notes no longer explain what is not there."""
    table = make_table([result(outcome=done(5))], intervals=False)

    assert {cell.detail for row in table.rows for cell in row[1:]} == {""}
    assert not any("Wilson" in note for note in table.notes)


def test_the_attack_of_a_column_may_be_called_like_a_worst_case():
    """Both are columns, and the name takes both: nothing is left out in silence."""
    row = defense_rows(
        [replace(result(outcome=done(5)), cell=replace(result().cell, attack=AttackRef("worst-all", "w", "w")))]
    )[0]

    assert len(chosen(places(row), "worst-all")) == 2


def test_no_column_has_a_best_whose_attack_found_no_gradient():
    lost = replace(done(60), evidence=Evidence(unable=("apgd-ce",)))
    found = [result("masked", outcome=lost), result("at", outcome=done(20)), result("ap", outcome=done(1))]

    table = make_table(found, "pgd-20,worst-all", best=True)

    assert [[cell.best for cell in row[2:]] for row in table.rows] == [[False] * 2, [True] * 2, [False] * 2]
    assert [[cell.bound for cell in row[2:]] for row in table.rows] == [[True] * 2, [False] * 2, [False] * 2]


def test_an_attack_that_knew_the_draws_stands_behind_the_worst_cases_and_is_explained():
    """Its header says it, and so does a note that no comparison is meant; without such a column there is no note."""
    table = make_table(both())

    assert table.header[-1] == ("known-draws", "Linf:8/255", "draws known")
    assert table.groups[-1] == "draws known"
    assert [cell.text for cell in table.rows[0][-3:]] == ["62.5", "62.5", "15.6"]
    assert any(
        "not comparable with the other columns, in no worst case, rank, claim or gate" in note for note in table.notes
    )
    assert not any("draws known" in note for note in make_table(both()[:1]).notes)
    assert [place.name for place in chosen(places(defense_rows(both())[0]), "known-draws")] == ["known-draws"]


def test_a_blocked_defense_has_no_number_under_known_draws_either():
    blocks = (Finding("A13", "block", "-", "-", "A13: no"),)
    results = both(findings=blocks)

    assert {cell.text for cell in make_table(results, strict=True).rows[0][2:]} == {"BLOCK"}
    assert not [line for line in rows(results) if line["accuracy"]]
