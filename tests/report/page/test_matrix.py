"""The heat matrix: which number stands where, and why there is none."""

import re
from dataclasses import replace

import pytest

from bench.datasets.imported import ACCESS
from bench.report.page.matrix import LEVELS, RAMPS, level, matrix, shades
from bench.threats import ThreatModel
from tests.report.informed import both
from tests.report.page.simulated import L2, LINF, cells, done, result

# The colors of text in the cells, as in style.css.
INKS = {"light": "#1b1f24", "dark": "#e7e8e4"}


def lines(found):
    return {(line.label, line.judge): line for line in found.lines}


def test_columns_are_grouped_and_every_group_says_what_it_is():
    """pgd-20 under Linf was seen by `at`; what nobody has seen comes after it, the worst cases first."""
    found = matrix(cells())

    assert [(group.title, group.columns) for group in found.groups] == [
        ("", (("standard", "no attack"),)),
        ("worst case", (("seen", "attacks"), ("unseen", "attacks"), ("all", "attacks"))),
        ("seen by some", (("pgd-20", "Linf:8/255"),)),
        ("unseen by all", (("stadv", "stadv:0.4"), ("pgd-20", "L2:0.5"))),
    ]
    assert found.width == 7
    assert found.edges == {0, 1, 4, 5}


def test_every_place_holds_its_number_or_says_why_there_is_none():
    """3 of 4 right, Wilson 30.1 to 95.4; a failure, a gap and a skipped cell have no number but a reason."""
    found = matrix(cells())
    at, ap = lines(found)["at", "deterministic"], lines(found)["ap", "mean-of-10"]

    assert [entry.text for entry in at.entries] == ["75.0", "75.0", "25.0", "25.0", "75.0", "25.0", "FAIL"]
    assert at.entries[4].interval == "30.1–95.4"
    assert at.entries[4].seen
    assert not at.entries[5].seen
    assert [entry.bound for entry in at.entries] == [False, False, True, True, False, False, False]
    assert at.entries[6].reason == "RuntimeError: out of memory" == found.footnotes[at.entries[6].note - 1]
    assert [entry.text for entry in ap.entries][4:] == ["37.5", "–", "…"]
    assert [entry.state for entry in ap.entries][4:] == ["done", "skipped", "missing"]
    assert ap.entries[5].reason == "no such attack"
    assert ap.entries[4].alarmed
    assert not at.entries[4].alarmed
    assert all(entry.note for line in found.lines for entry in line.entries if not entry.interval)


def test_a_blocked_defense_has_no_number_in_any_column():
    """Its cells are finished with every image right: exactly the number that must not be seen."""
    line = lines(matrix(cells()))["masked", "deterministic"]

    assert {entry.text for entry in line.entries} == {"BLOCK"}
    assert {entry.interval for entry in line.entries} == {""}
    assert {entry.level for entry in line.entries} == {-1}
    assert {entry.reason for entry in line.entries} == {"S05: output depends on earlier queries"}


def test_a_stochastic_defense_has_two_lines_and_its_training_stands_on_the_first():
    found = matrix((result("ap", "pgd-20", LINF, done([10, 0], draws=10), draws=10, n=2),))

    assert [(line.judge, line.first, line.trained_on) for line in found.lines] == [
        ("mean-of-10", True, "Linf:8/255"),
        ("worst-of-10", False, "Linf:8/255"),
    ]


def test_each_cell_leads_to_its_key():
    found = cells()
    anchors = [entry.anchor for entry in matrix(found).lines[0].entries]

    assert anchors == ["", "", "", "", *(found[at].cell.key[:16] for at in (0, 1, 2))]


def test_corruptions_stand_apart_and_enter_no_worst_case():
    fog = ThreatModel.parse("corruption:1")
    found = matrix((result("at", "pgd-20", L2, done([1, 1])), result("at", "fog", fog, done([0, 0]))))

    assert found.groups[-1].columns == (("fog", "corruption"), ("mean", "corruption"))
    assert [entry.text for entry in found.lines[0].entries][-3:] == ["100.0", "0.0", "0.0"]


def test_archives_of_others_stand_apart_with_what_is_best_known():
    """The archive breaks the image that every attack here left; other defenses did not get it, and lack nothing."""
    archive = result("at", "import:theirs", LINF, done([0, 1, 1, 0], clean=[1, 1, 1, 0]))
    archive = replace(archive, cell=replace(archive.cell, attack=replace(archive.cell.attack, access=ACCESS)))
    found = matrix((*cells(), archive))
    group = found.groups[-1]
    at, ap = lines(found)["at", "deterministic"], lines(found)["ap", "mean-of-10"]

    assert (group.title, group.columns) == (
        "archives of others",
        (("import:theirs", "Linf:8/255"), ("best known", "Linf:8/255")),
    )
    assert [entry.text for entry in at.entries[-2:]] == ["50.0", "50.0"]
    assert [entry.text for entry in at.entries[:4]] == ["75.0", "75.0", "25.0", "25.0"]
    assert [entry.state for entry in ap.entries[-2:]] == ["skipped", "skipped"]


def test_the_notes_keep_alarms_and_leave_out_what_the_page_says_anyway():
    notes = matrix(cells()).notes

    assert any(note.startswith("! ap") and "A11" in note for note in notes)
    assert any("smoke numbers" in note for note in notes)
    assert not any("Wilson" in note or re.match(r"\[\d", note) for note in notes)


def luminance(color):
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("mode", RAMPS)
def test_text_can_be_read_on_every_shade(mode):
    """WCAG 2.1 AA: 4.5 to 1; and lightness changes in one direction, so any eye can order the shades."""
    found = shades(mode)
    ink = luminance(INKS[mode])
    contrasts = [(max(ink, luminance(each)) + 0.05) / (min(ink, luminance(each)) + 0.05) for each in found]
    order = [luminance(each) for each in found]

    assert len(set(found)) == LEVELS
    assert min(contrasts) >= 4.5
    assert order == sorted(order, reverse=mode == "light")


def test_levels_span_the_ramp():
    assert [level(share) for share in (0.0, 0.024, 0.026, 0.5, 1.0)] == [0, 0, 1, 10, 20]


def test_an_attack_that_knew_the_draws_stands_apart_and_says_why():
    found = matrix(tuple(both()))

    assert [(group.title, group.columns) for group in found.groups[-1:]] == [
        ("draws known: not comparable", (("known-draws", "Linf:8/255"),))
    ]
    assert found.lines[0].entries[-1].text == "15.6"
    assert any(note.startswith("draws known: each evaluation draw is attacked on its own") for note in found.notes)
