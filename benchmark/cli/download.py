"""The command `bench download`, the only one that needs a network."""

from __future__ import annotations

import shlex
from pathlib import Path

from bench import api


def download(name: str, data: Path | None) -> int:
    """Download a dataset; print where it is and what to do with it."""
    folder, is_new = api.download(name, data)
    print(f"data     {folder}{'' if is_new else '   (was there; remove it to download it again)'}")
    if is_new:
        print(f"archive  {api.archive_of(name, folder)}   (no longer needed)")
    place = "" if data is None else f" --data {shlex.quote(str(data))}"
    print(f"next     bench run --dataset {name}{place} --defenses ./mine.py:build")
    return 0
