"""The commands `bench list`, `bench show` and `bench example`."""

from __future__ import annotations

import sys
from pathlib import Path

from bench import api
from bench.report.plain import json_text


def list_(kind: str, as_json: bool) -> int:
    """Print the registered entries."""
    print(json_text(api.registered(kind)) if as_json else api.listing(kind))
    return 0


def show(name: str, dataset: str) -> int:
    """Print a description of a defense or an attack, or the ledger of a finished cell."""
    print(api.spent(Path(name)) if name.endswith(".json") else api.about(name, dataset))
    return 0


def example(kind: str) -> int:
    """Print a complete example file, which can be saved and run."""
    # Not printed, which would add a line: the saved file must be the shipped one, byte for byte.
    sys.stdout.write(api.example(kind))
    return 0
