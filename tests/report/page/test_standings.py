"""The leaderboard of the page: its ranks are those of `ranking`, and what has no number says why."""

from dataclasses import replace

from bench.datasets.imported import ACCESS
from bench.report.page.standings import standings
from bench.results.ranking import ranking
from tests.report.page.simulated import LINF, cells, done, many, result


def test_ranks_and_numbers_are_those_of_the_ranking():
    found, expected = standings(many()), ranking(many())

    assert [(place.label, place.rank) for place in found.places] == [
        (item.row.defense.label, item.rank) for item in expected
    ]
    assert [place.value for place in found.places] == [f"{100 * item.accuracy.value:.1f}" for item in expected]


def test_equal_ranks_stand_together_under_one_head():
    """Two defenses with the same verdicts share rank 1; a third that is far below has rank 3."""
    n = 64
    rows = [(f"d{at}", [1] * n if at < 2 else [0] * n) for at in range(3)]
    found = standings(tuple(result(name, "pgd-20", LINF, done(held), n=n) for name, held in rows)).places

    assert [(place.rank, place.shared, place.heads) for place in found] == [(1, 2, True), (1, 2, False), (3, 1, True)]


def test_a_blocked_defense_comes_last_with_its_reason_and_no_number():
    found = standings(cells()).places
    last = found[-1]

    assert (last.label, last.rank, last.value, last.interval, last.standard) == ("masked", 0, "", "", "")
    assert last.reason == "S05: output depends on earlier queries"
    assert [place.label for place in found] == ["ap", "at", "masked"]


def test_an_upper_bound_is_marked_and_has_no_rank():
    """`at` failed under L2: its worst case is over fewer attacks."""
    (at,) = [place for place in standings(cells()).places if place.label == "at"]

    assert (at.rank, at.bound, at.value) == (0, True, "25.0")


def test_the_strip_is_the_interval():
    place = standings((result("at", "pgd-20", LINF, done([1, 1, 1, 0])),)).places[0]

    assert (place.low, place.middle, place.high) == (30.06, 75.0, 95.44)


def test_what_archives_of_others_leave_is_said_and_ranks_nobody():
    """The attack leaves three of four images, the archive breaks one more."""
    archive = result("at", "import:theirs", LINF, done([0, 1, 1, 0]))
    archive = replace(archive, cell=replace(archive.cell, attack=replace(archive.cell.attack, access=ACCESS)))
    (place,) = standings((result("at", "pgd-20", LINF, done([1, 1, 1, 0])), archive)).places

    assert (place.rank, place.value, place.known) == (1, "75.0", "50.0, by import:theirs")


def test_the_draws_of_a_stochastic_defense_are_told_with_every_judge():
    found = standings(cells())

    assert [line.partition(":")[0] for line in found.draws] == ["ap"]
    assert "5-resubmission (estimated from 10)" in found.draws[0]
