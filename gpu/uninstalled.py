"""Make this checkout importable as `bench` without installing it, because a borrowed machine may have no network.

An installation maps three folders of the repository to one import root (setup.cfg). Links in `build/gpu/path`
do the same here, for this process and for the processes it starts.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The results of calls stay here between them: data, weights, verdicts.
BUILD = ROOT / "build" / "gpu"


def importable() -> None:
    """Put the checkout on the import path, before any other `bench`."""
    path = BUILD / "path"
    package = path / "bench"
    package.mkdir(parents=True, exist_ok=True)
    wanted = {each.name: each for each in (ROOT / "benchmark").iterdir() if each.name != "__pycache__"}
    wanted |= {name: ROOT / name for name in ("attacks", "defenses")}
    # Links of an earlier checkout would keep modules importable that have moved since.
    for link in package.iterdir():
        if link.name not in wanted:
            link.unlink(missing_ok=True)
    for name, target in wanted.items():
        link = package / name
        if not link.exists():
            if link.is_symlink():  # to a file that has moved
                link.unlink(missing_ok=True)
            # Two calls may begin at once on a fresh checkout: whoever comes second finds it done.
            with suppress(FileExistsError):
                link.symlink_to(target)
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))
    others = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each and each != str(path)]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(path), *others])
