"""Make this checkout importable as `bench` without installing it: on a borrowed machine there may be no network.

The three folders of the repository are one import root once they are installed (setup.cfg). Links in
`build/gpu/path` stand for that here, for this process and for those it starts.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What is made here stays between calls: data, weights, results.
BUILD = ROOT / "build" / "gpu"


def importable() -> None:
    """Put the checkout on the path, before any other `bench`."""
    path = BUILD / "path"
    package = path / "bench"
    package.mkdir(parents=True, exist_ok=True)
    wanted = {each.name: each for each in (ROOT / "benchmark").iterdir() if each.name != "__pycache__"}
    wanted |= {name: ROOT / name for name in ("attacks", "defenses")}
    for link in package.iterdir():
        if link.name not in wanted:
            link.unlink()
    for name, target in wanted.items():
        link = package / name
        if not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(target)
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))
    others = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each and each != str(path)]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(path), *others])
