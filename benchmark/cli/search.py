"""The command `bench search-attack`, which shows what was found on validation images, and what that does on others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bench import api
from bench.cli.interruption import keeping
from bench.report.columns import PAGE, prose, screen_width
from bench.report.live.progress import Progress
from bench.report.plain import json_text


def search_attack(defense: str, budget: int, as_json: bool, **options: Any) -> int:  # noqa: ANN401  (of `bench.api.search_attack`)
    """Search, and print what was found; return 3 if an attack failed on the test images or a check blocks them."""
    results: Path = options["results"]
    with keeping(lambda: f"what is computed stays in {results}, and the same command goes on"), Progress() as progress:
        found = api.search_attack(defense, budget, watcher=progress, **options)
    print(json_text(found.to_json()) if as_json else found.summary(width=screen_width(PAGE)))
    for cell, error in found.results.failed:
        print(prose(f"FAIL {cell.title}: {error}", screen_width()), file=sys.stderr)
    return 3 if found.results.failed or any(each.outcome is None and each.blocked for each in found.results) else 0
