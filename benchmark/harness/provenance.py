"""Who made a number: the versions, the machine and the code. Provenance is told, and enters no key."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version

from bench import __version__
from bench.catalogue import versions
from bench.results.cell import Cell


def provenance(cell: Cell, seconds: float) -> dict[str, object]:
    """Return who makes a cell in this installation, as plain data; `seconds` is what it took."""
    stages = cell.attack.stages or (cell.attack,)
    return {
        "code": {
            "harness": versions.code_of_harness(),
            "attack": "+".join(dict.fromkeys(versions.code_of(stage.source) for stage in stages)),
            "defense": versions.code_of(cell.defense.source),
        },
        "atop-bench": __version__,
        "torch": _version_of_torch(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "seconds": round(seconds, 2),
    }


@cache
def _version_of_torch() -> str:
    # Read from a file of metadata, which takes longer than all else that is written about a cell.
    return version("torch")
