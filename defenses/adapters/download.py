"""Downloads that end with a complete file, or with none; a web page in its place is refused."""

from __future__ import annotations

import shutil
import urllib.request
from pathlib import Path

from bench._system import whole
from bench.errors import BenchError

_PATIENCE = 20  # seconds without an answer


def fetch(url: str, target: Path) -> None:
    """Download a file to `target`, which appears only when it is complete.

    Raises:
        BenchError: the server sent a web page, such as Google Drive's after too many downloads.
        OSError: there is no network, or the server refuses.
    """
    with urllib.request.urlopen(url, timeout=_PATIENCE) as answer, whole(target) as file:  # noqa: S310  (https)
        shutil.copyfileobj(answer, file)
        file.seek(0)
        if file.read(512).lstrip().lower().startswith((b"<!doctype", b"<html")):
            raise BenchError("the server sent a web page, not the file")
