"""`bench audit`: what a published number can bear."""

from __future__ import annotations

import json
from pathlib import Path

from bench.audit.reading import read_claim
from bench.audit.report import audit_claim


def audit(path: Path, as_json: bool) -> int:
    """Print the audit of a claim; 1 when something was found."""
    result = audit_claim(read_claim(path))
    if as_json:
        print(json.dumps(result.to_json(), indent=1))
    else:
        print("\n".join(result.lines))
    return result.exit_code
