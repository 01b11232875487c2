"""The command `bench audit`, which examines a published number."""

from __future__ import annotations

from pathlib import Path

from bench import api
from bench.report.columns import prose, screen_width
from bench.report.plain import json_text


def audit(path: Path, as_json: bool) -> int:
    """Print the audit of a claim; return 1 if it found something."""
    result = api.audit(path)
    if as_json:
        print(json_text(result.to_json()))
    else:
        print(prose("\n".join(result.lines), screen_width()))
    return result.exit_code
