"""The files that a gate leaves for CI, each whole or not at all."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import BenchError
from bench.machine.system import write_whole
from bench.report.ci.badge import badge_json, badge_svg
from bench.report.ci.junit import junit
from bench.report.ci.markdown import markdown
from bench.report.gate_report import GateReport

_BADGES = (".svg", ".json")


def require_badge(path: Path | None) -> None:
    """Raise a BenchError unless the name of a badge says what it is."""
    if path is not None and path.suffix not in _BADGES:
        raise BenchError(f"--badge {str(path)!r} is neither: name a file .svg, or .json for shields.io")


def write_files(
    report: GateReport,
    *,
    junit_file: Path | None = None,
    markdown_file: Path | None = None,
    summary: Path | None = None,
    badge: Path | None = None,
) -> None:
    """Write a report to the files that are named.

    Args:
        report: what to tell.
        junit_file: JUnit XML.
        markdown_file: Markdown for a comment.
        summary: the same Markdown is added at the end of this file, which other steps may have begun.
        badge: SVG, or JSON for shields.io, by its suffix.

    Raises:
        BenchError: a file cannot be written.
    """
    require_badge(badge)
    if junit_file is not None:
        _write(junit_file, junit(report))
    if markdown_file is not None:
        _write(markdown_file, markdown(report))
    if badge is not None:
        _write(badge, badge_svg(report) if badge.suffix == ".svg" else badge_json(report))
    if summary is not None:
        with _told(summary), summary.open("a", encoding="utf-8", newline="\n") as file:
            file.write(markdown(report))


def _write(path: Path, text: str) -> None:
    with _told(path):
        write_whole(path, text.encode())


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what keeps a file from being written into one line; a full disk has an exit status of its own."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise BenchError(f"{str(path)!r} cannot be written ({error.strerror}): name a file that can") from error
