"""What archives of others leave of a defense: never more than the attacks, in no rank, and with their maker."""

import numpy as np
import pytest

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.datasets.imported import ACCESS
from bench.report.leaderboard import render_ranking
from bench.report.tables import make_table
from bench.results import known
from bench.results.accuracy import WORST_CASES, defense_rows
from bench.results.cell import Cell, Result, Slice
from bench.results.finding import Finding
from bench.results.frame import rows
from bench.results.outcome import Done, Failed, Verdicts
from bench.results.ranking import ranking, ranks
from bench.threats import ThreatModel

LINF, L2 = ThreatModel.parse("Linf:0.2"), ThreatModel.parse("L2:1")
RANDOM = np.random.default_rng(3)
HOSTILE = "<img src=x onerror=alert(1)>\n=cmd|x \\input{/etc/passwd}\x1b[31m"


def result(attack, counts, *, threat=LINF, defense="at", draws=1, source="Smith 2026", findings=(), clean=None):
    n = 8 if counts is None or isinstance(counts, str) else len(counts)
    made_elsewhere = attack.startswith("import:")
    ref = AttackRef(
        attack,
        "bench.datasets.imported:Imported" if made_elsewhere else attack,
        attack,
        access=ACCESS if made_elsewhere else "gradient",
        config={"source": source, "covers": n} if made_elsewhere else {},
    )
    cell = Cell(
        DefenseRef(defense, defense, defense, draws > 1), ref, threat, Slice("digits", "test", n, "x"), 0, draws, 8
    )
    if counts is None or isinstance(counts, str):
        return Result(cell, None if counts is None else Failed(counts), findings)
    held = np.array(counts, dtype=np.uint8)
    right = np.full_like(held, draws) if clean is None else np.array(clean, dtype=np.uint8)
    return Result(cell, Done(Verdicts(draws, right, held)), findings)


ATTACKS = [result("pgd-20", [1, 1, 1, 1, 0, 0, 1, 1]), result("square", [1, 1, 1, 1, 1, 0, 0, 1])]
SMITH = result("import:smith", [0, 1, 1, 1, 1, 1, 1, 1])
OTHER = result("pgd-20", [1, 1, 1, 1, 1, 1, 1, 1], defense="ap"), result("square", [1] * 8, defense="ap")


def row_of(results, label="at"):
    return next(row for row in defense_rows(results) if row.defense.label == label)


def test_the_best_known_is_the_and_over_attacks_and_archives():
    """By hand: images 0 (Smith), 4, 5 and 6 are broken by somebody."""
    row = row_of([*ATTACKS, SMITH])

    assert known.best_known(row, row.judges[0]).accuracy.value == 4 / 8
    assert row.worst("all", row.judges[0]).accuracy.value == 5 / 8


@pytest.mark.parametrize("draws", [1, 10])
@pytest.mark.parametrize("seed", range(20))
def test_it_is_never_above_any_column_it_is_made_of(draws, seed):
    generator = np.random.default_rng(seed)
    clean = generator.integers(0, draws + 1, 30)
    names = [("a", LINF), ("b", L2), ("import:x", LINF), ("import:y", L2)]
    row = row_of(
        [
            result(
                name,
                np.minimum(generator.integers(0, draws + 1, 30), clean * draws),
                threat=at,
                draws=draws,
                clean=clean,
            )
            for name, at in names
        ]
    )

    for judge in row.judges:
        for threat in (None, LINF, L2):
            best = known.best_known(row, judge, threat).accuracy.value
            under = [each for each in row.columns if threat in (None, each.threat)]
            assert all(best <= row.score(column, judge).accuracy.value for column in under)
        assert known.best_known(row, judge).accuracy.value <= row.worst("all", judge).accuracy.value


def test_archives_are_in_no_other_worst_case_and_in_no_rank():
    """The numbers of every other column, and every place, are those without the archive."""
    without, beside = [*ATTACKS, *OTHER], [*ATTACKS, SMITH, *OTHER]
    before, after = row_of(without), row_of(beside)

    for which in WORST_CASES:
        assert before.worst(which, before.judges[0]) == after.worst(which, after.judges[0])
    places = [
        [(item.row.defense.label, item.rank, item.accuracy, item.own) for item in ranking(each)]
        for each in (without, beside)
    ]
    assert places[0] == places[1]
    assert {line["column"] for line in rows(without)} == {line["column"] for line in rows(beside)} - {
        "import",
        "best-known",
    }


def test_a_defense_without_an_archive_has_no_best_known_and_no_gap():
    other = row_of([*ATTACKS, SMITH, *OTHER], "ap")

    assert known.best_known(other, other.judges[0]).accuracy is None
    assert other.imported == ()
    assert other.worst("all", other.judges[0]).accuracy.complete
    line = next(line for line in make_table([*ATTACKS, SMITH, *OTHER]).rows if line[0].text == "ap")
    assert [cell.text for cell in line[-2:]] == ["-", "-"]


def test_a_failed_or_missing_cell_makes_it_an_upper_bound():
    for lost in ("RuntimeError: no", None):
        row = row_of([*ATTACKS, SMITH, result("fab", lost)])
        score = known.best_known(row, row.judges[0])
        assert (score.state, score.accuracy.value, score.accuracy.complete) == ("partial", 4 / 8, False)


def test_only_what_no_attack_broke_counts_as_beyond():
    row = row_of([*ATTACKS, SMITH, result("import:weak", [1, 1, 1, 1, 0, 0, 0, 1]), result("fgsm", [0] * 8, threat=L2)])

    assert [known.beyond(row, column) for column in row.imported] == [1, 0]
    assert known.lowered_by(row_of([*ATTACKS, SMITH]), row.judges[0]) == ("Smith 2026",)


def test_of_a_stochastic_defense_only_a_significant_drop_is_beyond():
    """The least of noisy counts is always lower; ten draws of the same coin are no finding, a fall to zero is one."""
    pgd, again, zero = (RANDOM.binomial(10, share, 60) for share in (0.7, 0.7, 0.1))
    row = row_of(
        [result("pgd", pgd, draws=10), result("import:again", again, draws=10), result("import:zero", zero, draws=10)]
    )

    assert known.beyond(row, row.imported[0]) == 0
    assert known.beyond(row, row.imported[1]) == round((pgd.sum() - zero.sum()) / 10) > 20


def test_a_drop_that_chance_explains_is_not_beyond():
    """Two images less in all, of twenty that go up and down by more than that."""
    pgd = np.full(20, 6)
    archive = pgd + np.tile([4, -6], 10)
    row = row_of([result("pgd", pgd, draws=10), result("import:noisy", archive, draws=10)])

    assert archive.sum() < pgd.sum() - 10
    assert known.beyond(row, row.imported[0]) == 0


def test_many_archives_of_one_defense_take_no_rank_from_the_others():
    """Ranks are made over attacks that defenses share: the more archives one has, the less it would share."""
    others = [result("pgd-20", [1] * 8, defense=name) for name in ("ap", "atop", "trades")]
    archives = [result(f"import:{name}", [1] * 8) for name in "abcdefgh"]

    ranked = ranking([*ATTACKS, *archives, *others])

    assert {item.row.defense.label: item.rank for item in ranked} == dict.fromkeys(("at", "ap", "atop", "trades"), 1)


def test_without_an_attack_there_is_nothing_to_compare_with():
    row = row_of([SMITH])

    assert known.beyond(row, row.imported[0]) is None
    assert known.best_known(row, row.judges[0]).accuracy.value == 7 / 8
    assert row.standard(row.judges[0]).accuracy.value == 1


def test_the_leaderboard_says_who_lowers_a_number():
    text = render_ranking([*ATTACKS, SMITH, *OTHER])

    assert "at, best known 50.0, by Smith 2026" in text
    assert text.count("best known") == 1
    (place,) = [each for each in ranks([*ATTACKS, SMITH, *OTHER]) if each["defense"] == "at"]
    assert (place["best_known"], place["best_known_by"]) == (50.0, ["Smith 2026"])


def test_an_archive_that_lowers_nothing_stands_on_no_leaderboard():
    assert "best known" not in render_ranking([*ATTACKS, result("import:weak", [1] * 8)])


def test_a_blocked_defense_has_no_number():
    blocked = Finding("S05", "block", "-", "-", "S05: no")
    results = [*ATTACKS, result("import:smith", [0] * 8, findings=(blocked,))]

    lines = [line for line in rows(results) if line["column"] in ("import", "best-known")]
    assert {(line["accuracy"], line["outcome"]) for line in lines} == {("", "blocked")}
    assert "best known" not in render_ranking(results)


def test_the_lines_name_threat_and_source():
    unnamed = result("import:l2", [0] * 8, threat=L2, source="")
    lines = {line["attack"]: line for line in rows([*ATTACKS, SMITH, unnamed]) if line["column"] == "import"}

    assert (lines["import:l2"]["access"], lines["import:l2"]["source"]) == (ACCESS, "import:l2")
    assert lines["import:smith"]["source"] == "Smith 2026"
    known_lines = [line for line in rows([*ATTACKS, SMITH]) if line["column"] == "best-known"]
    assert [(line["threat"], line["accuracy"], line["source"]) for line in known_lines] == [
        ("Linf:0.2", "50.00", "Smith 2026")
    ]


def test_the_table_says_what_an_archive_broke_and_stays_harmless():
    table = make_table([*ATTACKS, result("import:smith", [0] * 8, source=HOSTILE)])

    notes = "\n".join(table.notes)
    assert "! at: import:smith (Linf:0.2) broke 5 images that no attack here broke" in notes
    assert ("best known", "Linf:0.2") in table.header
    assert all(note.isprintable() for note in table.notes)
    row = row_of([result("import:a", [0], source=HOSTILE)])
    assert known.source(row, row.imported[0]).isprintable()


def test_the_label_alone_makes_no_archive():
    """A user's attack of such a name would be left out of the worst case: what counts is that it asks for nothing."""
    mine = Result(
        Cell(SMITH.cell.defense, AttackRef("import:mine", "m", "m"), LINF, SMITH.cell.slice, 0, 1, 8), SMITH.outcome
    )

    assert row_of([mine]).imported == ()
    assert row_of([mine]).worst("all", row_of([mine]).judges[0]).accuracy.value == 7 / 8
