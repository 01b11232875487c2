"""`bench download`: the one command that needs a network."""

from __future__ import annotations

import shlex
from pathlib import Path

from bench.datasets.archives import ARCHIVES
from bench.datasets.download import download as fetch


def download(name: str, data: Path | None) -> int:
    """Download a dataset and say where it is and what to do with it."""
    folder, is_new = fetch(name, data)
    print(f"data     {folder}{'' if is_new else '   (was there; remove it to download it again)'}")
    if is_new:
        print(f"archive  {folder.parent / ARCHIVES[name].file}   (no longer needed)")
    place = "" if data is None else f" --data {shlex.quote(str(data))}"
    print(f"next     bench run --dataset {name}{place} --defenses ./mine.py:build")
    return 0
