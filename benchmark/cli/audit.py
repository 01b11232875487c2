"""The command `bench audit`, which examines a published number."""

from __future__ import annotations

import json
from pathlib import Path

from bench import api
from bench.report.columns import prose, screen_width


def audit(path: Path, as_json: bool) -> int:
    """Print the audit of a claim; return 1 if it found something."""
    result = api.audit(path)
    if as_json:
        print(json.dumps(result.to_json(), indent=1))
    else:
        print(prose("\n".join(result.lines), screen_width()))
    return result.exit_code
