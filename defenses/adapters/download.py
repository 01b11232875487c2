"""Downloads that end with a complete file, or with none; a web page in its place is refused."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from bench.errors import BenchError
from bench.machine.reading import MOST_WEIGHTS
from bench.machine.system import whole

_PATIENCE = 20  # seconds without an answer


def fetch(url: str, target: Path) -> None:
    """Download a file to `target`, which appears only when it is complete.

    Raises:
        BenchError: the server sent a web page, such as Google Drive's after too many downloads, or more than any
            weights have, or leads to an address that is not encrypted.
        OSError: there is no network, or the server refuses.
    """
    with urllib.request.urlopen(url, timeout=_PATIENCE) as answer, whole(target) as file:  # noqa: S310  (https)
        if url.startswith("https:") and not answer.geturl().startswith("https:"):
            raise BenchError(f"it leads to {answer.geturl()}, which is not encrypted (https)")
        left = MOST_WEIGHTS
        while piece := answer.read(1 << 20):
            left -= len(piece)
            if left < 0:
                raise BenchError(f"it has more than {MOST_WEIGHTS:,} bytes")
            file.write(piece)
        file.seek(0)
        if file.read(512).lstrip().lower().startswith((b"<!doctype", b"<html")):
            raise BenchError("the server sent a web page, not the file")
