"""The table of every cell, and the script that makes it sortable."""

import re
from dataclasses import replace

import pytest

from bench.errors import BenchError
from bench.report.page.cells import cell_rows, script
from bench.report.page.matrix import matrix
from bench.results.frame import rows
from tests.report.page.simulated import LINF, cells, done, result


def test_each_cell_has_a_row_for_each_judge_it_is_shown_by():
    """Three defenses with three cells, one of them stochastic, by its mean and its worst."""
    found = cell_rows(cells(), rows(cells()))

    assert len(found) == 3 + 2 * 3 + 3
    assert {row.judged for row in found} == {"deterministic", "mean-of-10", "worst-of-10"}


def test_numbers_are_those_of_the_frame_and_blocked_ones_have_none():
    lines = rows(cells())
    known = {(line["defense"], line["judged"], line["attack"], line["threat"]): line for line in lines}

    for row in cell_rows(cells(), lines):
        line = known[row.defense, row.judged, row.attack, row.threat]
        assert row.accuracy == (f"{float(line['accuracy']):.1f}" if line["accuracy"] else "")
        assert (row.order == -1) == (row.accuracy == "")
        assert row.key == line["key"]
    assert {(row.accuracy, row.outcome) for row in cell_rows(cells(), lines) if row.defense == "masked"} == {
        ("", "blocked")
    }


def test_a_number_is_rounded_once():
    """59 of 256 are 23.046875 %: 23.0, as in the matrix; by way of the 23.05 of the CSV file it would be 23.1."""
    found = (result("at", "pgd", LINF, done([1] * 59 + [0] * 197), n=256),)
    (row,) = cell_rows(found, rows(found))

    assert rows(found)[1]["accuracy"] == "23.05"
    assert row.accuracy == "23.0" == matrix(found).lines[0].entries[-1].text


def test_a_key_is_an_anchor_once():
    """Two judges of one cell have one key, and an id may stand once in a page."""
    found = cell_rows(cells(), rows(cells()))
    anchors = [row.anchor for row in found if row.anchor]

    assert sorted(anchors) == sorted(each.cell.key[:16] for each in cells())


def test_seconds_are_shown_where_they_are_stored():
    timed = (replace(cells()[0], seconds=12.34), *cells()[1:])
    found = {row.key: row.seconds for row in cell_rows(timed, rows(timed))}

    assert (found.pop(timed[0].cell.key), set(found.values())) == ("12.3", {""})


def test_the_bundle_stands_in_a_page_without_exports_and_without_an_early_end():
    found = script('const own = "</script>";')

    assert re.search(r"const ITable = [\w$]+;", found)
    assert "export{" not in found
    assert "</script" not in found.lower()
    assert found.endswith(r'const own = "<\/script>";')


def test_another_bundle_is_refused_by_name(monkeypatch, tmp_path):
    other = tmp_path / "dt_bundle.js"
    other.write_text("export{a as Table};")
    monkeypatch.setattr("itables.utils.find_package_file", lambda _: other)

    with pytest.raises(BenchError, match="itables"):
        script("")
