"""The command that writes the page of stored results."""

from __future__ import annotations

from pathlib import Path

from bench.api.results import Results
from bench.report import outputs


def require_page(html: Path, results: Path, study: str) -> None:
    """Raise a BenchError unless a page can be written there, before anything is read."""
    outputs.require_files({"--html": html}, [results])
    outputs.require_page(html)


def report(results: Results, path: Path, study: str) -> int:
    """Write the page and print where it is; return 3 if a cell is missing or failed."""
    written = results.report(path, study)
    print(f"report  {written}  ({written.stat().st_size / 1e6:.1f} MB)")
    return 3 if results.missing or results.failed else 0
