"""Markdown for a comment: every cell, within the limit, and names that stay names."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from bench.report.ci.escaping import for_markdown
from bench.report.ci.markdown import LIMIT, MARKER, markdown
from bench.report.gate_report import GateReport
from tests.report.ci.reports import FELL, HOSTILE, OK, REPORTS, hostile


def table(text):
    """The rows of all tables, cell by cell."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_a_bot_finds_its_comment_and_a_reader_every_cell_the_trouble_first():
    text = markdown(REPORTS["regression"])
    head, *rows = table(text)

    assert text.startswith(f"{MARKER}\n### ❌ bench gate: 1 of 3 cells regressed\n")
    assert head == ["cell", "n", "baseline", "candidate", "change", "adjusted p", ""]
    assert rows == [
        ["<code>at x fgsm (Linf:0.2)</code>", "512", "60.0 %", "50.0 %", "-10.0", "1e-08", "❌ **regression**"],
        ["<code>at x pgd-20 (Linf:0.2)</code>", "512", "50.0 %", "50.0 %", "0.0", "1", "ok"],
        ["<code>at x fgsm (L2:1)</code>", "512", "50.0 %", "60.0 %", "+10.0", "1e-09", "⬆️ improvement"],
    ]


@pytest.mark.parametrize("kind", REPORTS)
def test_the_heading_is_the_verdict_and_rows_have_as_many_cells_as_their_head(kind):
    report = REPORTS[kind]
    text = markdown(report)

    mistake = f": {for_markdown(report.mistake)}" if report.mistake else ""
    assert text.splitlines()[1] == f"### {'❌' if report.exit_code else '✅'} bench {report.conclusion}{mistake}"
    assert len(table(text)) == len(report.rows) + len(report.floors) + bool(report.rows) + bool(report.floors)
    for row in table(text):
        assert len(row) == (7 if report.rows and not report.floors else 6 if not report.rows else len(row))


def test_a_floor_says_what_it_promises_and_whether_other_images_might_break_it():
    near = replace(REPORTS["green"].floors[0], floor=0.48)

    _, row = table(markdown(GateReport((), floors=(near,))))

    assert row[1:] == ["512", "50.0 %", "46.0 to 54.0 %", "48.0 %", "ok, but the interval contains it"]


@pytest.mark.parametrize("count", [200, 400, 2000])
def test_a_comment_is_never_longer_than_github_takes_and_counts_what_it_leaves_out(count):
    rows = [replace(OK, title=f"at x attack-{index} (Linf:0.2) {'@' * 20}") for index in range(count)]
    text = markdown(GateReport((*rows, FELL), detectable=0.02))
    shown = len(table(text)) - 1

    assert len(text) <= LIMIT == 65_536
    assert "**regression**" in text  # the trouble comes first
    if shown < count + 1:
        assert text.endswith(f"\n_{count + 1 - shown} more lines are left out: the log of the run has all of them._\n")
        assert len(text) > LIMIT - 500
    else:
        assert "left out" not in text


def test_every_limit_is_kept():
    for limit in range(200, 3000, 37):
        assert len(markdown(REPORTS["regression"], limit=limit)) <= limit


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, attrs))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_neither_markup_nor_a_cell_nor_a_mention(name):
    """As HTML there is nothing but <code>; outside of it stands nothing that a name could have brought."""
    text = markdown(hostile(name))
    parser = _Tags()
    parser.feed(text)

    assert {tag for tag, _ in parser.found} == {"code"}
    assert not any(attrs for _, attrs in parser.found)
    assert {len(row) for row in table(text)} == {6, 7}
    assert "@" not in text
    assert "](" not in text


@pytest.mark.parametrize("name", HOSTILE)
def test_rendered_by_a_markdown_library_a_name_is_text(name):
    library = pytest.importorskip("markdown")
    html = library.markdown(markdown(hostile(name)), extensions=["tables"])
    parser = _Tags()
    parser.feed(html)

    assert not {tag for tag, _ in parser.found} & {"a", "img", "script"}
    assert "onerror" not in str([attrs for _, attrs in parser.found])
