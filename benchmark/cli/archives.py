"""The command `bench import`, which says what archives of others leave of a defense."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bench import api
from bench.report.archives import render
from bench.report.columns import prose, screen_width
from bench.report.live.progress import Progress


def import_(file: Path, defense: str, threat: str, **options: Any) -> int:  # noqa: ANN401  (of `bench.api.import_archive`)
    """Import an archive and print what it leaves; return 3 if its cell failed or a check forbids the number."""
    with Progress() as progress:
        results = api.import_archive(file, defense, threat, watcher=progress, **options)
    print(prose(render(results.cells), screen_width()))
    broken = [(cell, error) for cell, error in results.failed if cell.attack.access == "archive"]
    for cell, error in broken:
        print(prose(f"FAIL {cell.title}: {error}", screen_width()), file=sys.stderr)
    return 3 if broken or any(each.outcome is None and each.blocked for each in results) else 0
