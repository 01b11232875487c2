"""The commands `bench baseline update` and `show`."""

from __future__ import annotations

from pathlib import Path

from bench import api
from bench.cli import MISTAKE
from bench.report.columns import screen_width
from bench.report.plain import flat, json_text


def update(
    baseline: Path, results: Path, dry_run: bool, allow_incomplete: bool, allow_removed: bool, as_json: bool
) -> int:
    """Print what changes, and replace the baseline unless it is only asked; then return 2 if it would be refused."""
    found = api.update_baseline(
        baseline, results, dry_run=dry_run, allow_incomplete=allow_incomplete, allow_removed=allow_removed
    )
    if as_json:
        print(json_text(found.to_json()))
        return MISTAKE if found.refused else 0
    print(found.text(screen_width()))
    print(f"{'baseline  ' if found.written else 'not written: '}{baseline}{'' if found.written else ' (--dry-run)'}")
    if found.refused:
        print(f"would be refused: {flat(found.refused)}")
    return MISTAKE if found.refused else 0


def show(baseline: Path) -> int:
    """Print what a baseline holds."""
    print(api.describe_baseline(baseline, width=screen_width()))
    return 0
