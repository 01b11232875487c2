"""Files of a gate: each is what its function returns, whole, or one line says why not."""

from __future__ import annotations

import errno

import pytest

from bench.errors import BenchError
from bench.report.ci.badge import badge_json, badge_svg
from bench.report.ci.files import require_badge, write_files
from bench.report.ci.junit import junit
from bench.report.ci.markdown import markdown
from tests.report.ci.reports import REPORTS

REPORT = REPORTS["regression"]


def test_each_file_holds_what_it_is_named_for(tmp_path):
    write_files(
        REPORT, junit_file=tmp_path / "deep" / "gate.xml", markdown_file=tmp_path / "a.md", badge=tmp_path / "b.svg"
    )
    write_files(REPORT, badge=tmp_path / "b.json")

    assert (tmp_path / "deep" / "gate.xml").read_text() == junit(REPORT)
    assert (tmp_path / "a.md").read_text() == markdown(REPORT)
    assert (tmp_path / "b.svg").read_text() == badge_svg(REPORT)
    assert (tmp_path / "b.json").read_text() == badge_json(REPORT)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_summary_is_added_to_what_other_steps_wrote(tmp_path):
    summary = tmp_path / "summary.md"
    summary.write_text("# Before\n")

    write_files(REPORT, summary=summary)

    assert summary.read_text() == f"# Before\n{markdown(REPORT)}"


def test_a_badge_is_told_by_its_suffix(tmp_path):
    with pytest.raises(BenchError, match=r"name a file \.svg, or \.json for shields\.io"):
        require_badge(tmp_path / "badge.png")
    with pytest.raises(BenchError):
        write_files(REPORT, junit_file=tmp_path / "gate.xml", badge=tmp_path / "badge.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["junit_file", "markdown_file", "badge", "summary"])
def test_a_file_that_cannot_be_written_is_one_line(tmp_path, kind):
    (tmp_path / "file").touch()

    with pytest.raises(BenchError, match="cannot be written"):
        write_files(REPORT, **{kind: tmp_path / "file" / "inside.svg"})


def test_a_full_disk_is_no_mistake_of_the_user(tmp_path, monkeypatch):
    """It has an exit status of its own."""

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bench.report.ci.files.write_whole", full)

    with pytest.raises(OSError, match="No space left"):
        write_files(REPORT, junit_file=tmp_path / "gate.xml")
