"""The command that writes the page of stored results."""

from __future__ import annotations

from pathlib import Path

from bench.api.results import Results


def report(results: Results, path: Path, study: str) -> int:
    """Write the page and print where it is; return 3 if a cell is missing or failed."""
    written = results.report(path, study)
    print(f"report  {written}  ({written.stat().st_size / 1e6:.1f} MB)")
    return 3 if results.missing or results.failed else 0
