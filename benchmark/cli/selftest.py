"""The command `bench selftest`, which checks that no attack has become weaker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench import api
from bench.report.columns import prose, screen_width
from bench.report.live.progress import Progress
from bench.report.outputs import require_files


def selftest(golden: Path | None, record: Path | None, attacks: str, **options: Any) -> int:  # noqa: ANN401
    """Compare the attacks with their golden verdicts; return 1 if one of them became weaker."""
    require_files({"--record": record})  # before anything is computed
    if record is not None:
        with Progress() as progress:
            count = api.record_golden(progress, record, **options)
        print(f"recorded {count} cells in {record}")
        return 0
    with Progress() as progress:
        found = api.compare_with_golden(progress, attacks=attacks, golden=golden, **options)
    for each in found:
        now = "failed" if each.now is None else f"{100 * each.now:.1f} %"
        mark = "WEAKER" if each.weaker_by else "ok"
        line = f"{mark:7s}{each.title}: golden {100 * each.golden:.1f} % robust, now {now}"
        print(prose(line, screen_width(), hang=" " * 7))
    weaker = sum(each.weaker_by > 0 for each in found)
    print(f"selftest: {weaker} of {len(found)} cells weaker than their golden verdicts")
    return 1 if weaker else 0
