"""A file from the network: whole and not a web page, or not at all."""

from __future__ import annotations

import os
import shutil
import urllib.request
from pathlib import Path

from bench.errors import BenchError

_PATIENCE = 20  # seconds without an answer


def fetch(url: str, target: Path) -> None:
    """Download a file; `target` is there only when all of it is.

    Raises:
        BenchError: the server sent a web page instead, such as Google Drive's on too many downloads.
        OSError: there is no network, or the server refuses.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with urllib.request.urlopen(url, timeout=_PATIENCE) as answer, temporary.open("wb") as file:  # noqa: S310  (https)
            shutil.copyfileobj(answer, file)
        with temporary.open("rb") as file:
            if file.read(512).lstrip().lower().startswith((b"<!doctype", b"<html")):
                raise BenchError("the server sent a web page, not the file")
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
